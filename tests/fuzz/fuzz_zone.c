/* TZif files: what is taken has periods that hold the moment asked for, and follow one another. */
#include <assert.h>
#include <stdint.h>

#include "base/cron.h"

#define STEPS 50

static void walk(const struct base_zone *zone, int64_t at)
{
	for (int i = 0; i < STEPS; i++) {
		struct base_zone_period p = base_zone_at(zone, at);

		assert(p.from_s <= at && at < p.until_s);
		if (p.until_s == INT64_MAX)
			return;
		at = p.until_s;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct base_zone *zone = NULL;
	struct base_cron cron;
	char why[256];
	int64_t at = 1770000000;

	if (base_zone_new(data, size, &zone)) {
		assert(!zone);
		return 0;
	}
	walk(zone, -5000000000);
	walk(zone, 0);
	walk(zone, 1900000000);
	assert(base_cron_parse("30 2 * * *", &cron, why, sizeof why));
	for (int i = 0; i < STEPS; i++) {
		int64_t next = base_cron_next(&cron, zone, at);

		assert(next > at);
		if (next == BASE_CRON_NEVER)
			break;
		at = next;
	}
	base_zone_free(&zone);
	return 0;
}
