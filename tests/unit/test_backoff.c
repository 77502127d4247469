/* Exponential pauses: their bound, and that they spread from 0 to it. */
#include "base/backoff.h"
#include "tests/unit/unit.h"

static void test_bounds(void **state)
{
	static const struct {
		uint64_t base, max;
		uint32_t nth;
		uint64_t bound;
	} rows[] = {
		{ 1000, 300000, 1, 1000 },
		{ 1000, 300000, 2, 2000 },
		{ 1000, 300000, 9, 256000 },
		{ 1000, 300000, 10, 300000 },
		{ 1000, 300000, 64, 300000 },
		{ 1000, 300000, 65, 300000 },
		{ 1000, 300000, UINT32_MAX, 300000 },
		{ 1000, 300000, 0, 1000 },
		{ 500, 100, 1, 100 },
		{ 0, 100, 7, 0 },
		{ 1, UINT64_MAX - 1, 64, UINT64_C(1) << 63 },
		{ 3, UINT64_MAX - 1, 64, UINT64_MAX - 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(
			base_backoff_bound(rows[i].base, rows[i].max, rows[i].nth), rows[i].bound);
}

static void test_full_jitter(void **state)
{
	struct base_rand rand;
	unsigned counts[5] = { 0 };

	(void)state;
	base_rand_init(&rand, 3);
	for (int i = 0; i < 1000; i++)
		counts[base_backoff_ms(&rand, 2, 4, 5)]++;
	for (int i = 0; i < 5; i++)
		assert_in_range(counts[i], 150, 250);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_full_jitter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
