#include "tests/unit/unit.h"

#include "base/rand.h"

/* The algorithm's own known answers: xoshiro256** from the state 1, 2, 3, 4. */
static void it_is_xoshiro256starstar(void **state)
{
	static const uint64_t expected[] = {
		11520u,
		0u,
		1509978240u,
		1215971899390074240u,
		1216172134540287360u,
	};
	struct base_rand r = { { 1, 2, 3, 4 } };

	(void)state;
	for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
		assert_true(base_rand_next(&r) == expected[i]);
}

static void a_seed_replays_and_seeds_differ(void **state)
{
	struct base_rand a, b, c;
	unsigned same = 0;

	(void)state;
	base_rand_init(&a, 42);
	base_rand_init(&b, 42);
	base_rand_init(&c, 43);
	for (int i = 0; i < 1000; i++) {
		uint64_t x = base_rand_next(&a);
		assert_true(x == base_rand_next(&b));
		same += x == base_rand_next(&c);
	}
	assert_int_equal(same, 0);
}

static void seed_0_is_a_seed(void **state)
{
	struct base_rand r;

	(void)state;
	base_rand_init(&r, 0);
	assert_true(r.s[0] | r.s[1] | r.s[2] | r.s[3]);
	assert_true(base_rand_next(&r) != base_rand_next(&r));
}

static void below_stays_below(void **state)
{
	static const uint64_t bounds[] = { 1, 2, 3, 7, 1000, (uint64_t)1 << 63, UINT64_MAX };
	struct base_rand r;

	(void)state;
	base_rand_init(&r, 7);
	for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++)
		for (int j = 0; j < 2000; j++)
			assert_true(base_rand_below(&r, bounds[i]) < bounds[i]);
}

static void below_is_even(void **state)
{
	unsigned counts[6] = { 0 };
	struct base_rand r;

	(void)state;
	base_rand_init(&r, 1);
	for (int i = 0; i < 60000; i++)
		counts[base_rand_below(&r, 6)]++;
	for (int i = 0; i < 6; i++) {
		assert_true(counts[i] > 9500); /* five standard deviations, and the seed is fixed */
		assert_true(counts[i] < 10500);
	}
}

/* Of 2^64 numbers, 2^62 are too many for this bound: taken as they come, the first third of the
 * results would be half of them. */
static void below_is_even_for_bounds_that_do_not_divide(void **state)
{
	uint64_t bound = (uint64_t)3 << 62;
	unsigned first_third = 0;
	struct base_rand r;

	(void)state;
	base_rand_init(&r, 6);
	for (int i = 0; i < 30000; i++)
		first_third += base_rand_below(&r, bound) < bound / 3;
	assert_in_range(first_third, 9500, 10500);
}

static void the_system_fills_all_of_it(void **state)
{
	uint8_t a[300] = { 0 };
	uint8_t b[300] = { 0 };
	unsigned zeros = 0;

	(void)state;
	base_rand_system(a, sizeof a - 1);
	base_rand_system(b, sizeof b - 1);
	assert_memory_not_equal(a, b, sizeof a);
	assert_int_equal(a[299], 0);
	for (int i = 0; i < 299; i++)
		zeros += a[i] == 0;
	assert_true(zeros < 30);
	base_rand_system(a, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_xoshiro256starstar),
		cmocka_unit_test(a_seed_replays_and_seeds_differ),
		cmocka_unit_test(seed_0_is_a_seed),
		cmocka_unit_test(below_stays_below),
		cmocka_unit_test(below_is_even),
		cmocka_unit_test(below_is_even_for_bounds_that_do_not_divide),
		cmocka_unit_test(the_system_fills_all_of_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
