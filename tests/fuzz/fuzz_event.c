/* What comes with events: Prefer, Idempotency-Key, times, and the parameters of a query.
 * What is taken is within its bounds, and a time that is printed is taken again.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/when.h"
#include "gateway/key.h"
#include "gateway/params.h"
#include "gateway/prefer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_key(struct gw_slice s)
{
	uint8_t key[GW_KEY_MAX];
	size_t n = gw_key_read(s, key);

	assert(n <= GW_KEY_MAX && n <= s.size);
	for (size_t i = 0; i < n; i++)
		assert(key[i] >= ' ' && key[i] <= '~');
}

static void check_time(struct gw_slice s)
{
	char text[BASE_WHEN_TEXT + 1];
	uint64_t ms, again;

	if (!base_when_parse(s.data, s.size, &ms))
		return;
	base_when_print(ms, text);
	assert(base_when_parse(text, BASE_WHEN_TEXT, &again) || ms > 253402300799999u);
	assert(ms > 253402300799999u || again == ms);
}

static void check_params(struct gw_slice s)
{
	struct gw_param params[] = { { .name = "a" }, { .name = "limit" }, { 0 } };
	char why[GW_PARAM_WHY] = "";
	uint32_t n;

	if (gw_params_read(s, params, why)) {
		assert(strlen(params[0].text) <= GW_PARAM_MAX);
		if (gw_params_u32(&params[1], 7, 1, 1000, &n, why))
			assert(n >= 1 && n <= 1000);
	} else {
		assert(why[0] && memchr(why, '\0', sizeof why));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy that ends where it ends, so that one byte too far is seen. */
	char *copy = malloc(size ? size : 1);
	struct gw_slice s = { copy, size };

	if (!copy)
		return 0;
	if (size)
		memcpy(copy, data, size);
	(void)gw_prefer_async(s);
	check_key(s);
	check_time(s);
	check_params(s);
	free(copy);
	return 0;
}
