/* The query of a request on any bytes: every parameter lies within what was given,
 * is NUL-terminated, and no longer than what it was read from.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "worker/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t check(const struct pirn_pair *pairs, size_t n)
{
	size_t sum = 0;

	assert(n <= WRK_QUERY_MAX);
	for (size_t i = 0; i < n; i++) {
		assert(pairs[i].name[pairs[i].name_size] == '\0');
		assert(pairs[i].value[pairs[i].value_size] == '\0');
		sum += pairs[i].name_size + pairs[i].value_size;
	}
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct base_arena arena;
	struct pirn_pair *pairs;
	size_t n;
	char *out;

	base_arena_init(&arena, 1024, 1 << 20);
	if (wrk_query_parse(&arena, (const char *)data, size, &pairs, &n) == BASE_OK)
		assert(check(pairs, n) <= size);
	out = base_arena_alloc(&arena, size + 1);
	if (out) {
		size_t decoded = wrk_query_decode(out, (const char *)data, size);

		assert(decoded <= size && out[decoded] == '\0');
		assert(memchr(data, '%', size) || decoded == size);
	}
	base_arena_fini(&arena);
	return 0;
}
