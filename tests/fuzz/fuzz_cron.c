/* Cron expressions: what is taken has slots that grow, and names the same ones from anywhere. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cron.h"

#define START 1770000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), why[512];
	struct base_cron cron;
	int64_t at = START;

	assert(text);
	memcpy(text, data, size);
	text[size] = '\0';
	memset(why, 'x', sizeof why);
	if (!base_cron_parse(text, &cron, why, sizeof why)) {
		assert(memchr(why, '\0', sizeof why) && why[0]);
		free(text);
		return 0;
	}
	for (int i = 0; i < 5; i++) {
		int64_t next = base_cron_next(&cron, NULL, at);

		assert(next > at);
		assert(next == BASE_CRON_NEVER || base_cron_next(&cron, NULL, next - 1) == next);
		if (next == BASE_CRON_NEVER)
			break;
		at = next;
	}
	free(text);
	return 0;
}
