#include "tests/unit/unit.h"

#include <math.h>

#include "base/hist.h"
#include "base/rand.h"

static size_t only_bucket(uint64_t us)
{
	struct base_hist h = { 0 };
	size_t found = BASE_HIST_BUCKETS;

	base_hist_add(&h, us);
	for (size_t i = 0; i < BASE_HIST_BUCKETS; i++)
		if (h.counts[i]) {
			assert_int_equal(found, BASE_HIST_BUCKETS);
			found = i;
		}
	assert_true(found < BASE_HIST_BUCKETS);
	return found;
}

static void bounds_grow_from_1_us_to_over_1000_s(void **state)
{
	(void)state;
	assert_true(base_hist_bound_us(0) == 1);
	for (size_t i = 1; i < BASE_HIST_BUCKETS; i++)
		assert_true(base_hist_bound_us(i) > base_hist_bound_us(i - 1));
	assert_true(base_hist_bound_us(BASE_HIST_BUCKETS - 2) > 1000000000u);
	assert_true(base_hist_bound_us(BASE_HIST_BUCKETS - 1) == UINT64_MAX);
	assert_true(base_hist_bound_us(100000) == UINT64_MAX);
}

static void a_bound_belongs_to_its_bucket_and_the_next_number_does_not(void **state)
{
	(void)state;
	assert_int_equal(only_bucket(0), 0);
	assert_int_equal(only_bucket(UINT64_MAX), BASE_HIST_BUCKETS - 1);
	for (size_t i = 0; i + 1 < BASE_HIST_BUCKETS; i++) {
		assert_int_equal(only_bucket(base_hist_bound_us(i)), i);
		assert_int_equal(only_bucket(base_hist_bound_us(i) + 1), i + 1);
	}
}

static void a_bucket_is_off_by_at_most_19_percent(void **state)
{
	struct base_rand r;

	(void)state;
	base_rand_init(&r, 2);
	for (int i = 0; i < 100000; i++) {
		uint64_t us = 1 + base_rand_below(&r, (uint64_t)1 << (1 + base_rand_below(&r, 30)));
		uint64_t bound = base_hist_bound_us(only_bucket(us));
		assert_true(bound >= us);
		assert_true((double)bound <= (double)us * 1.19);
	}
}

static void quantiles(void **state)
{
	struct base_hist h = { 0 };

	(void)state;
	assert_true(base_hist_quantile_us(&h, 0.5) == 0);
	for (uint64_t i = 0; i < 99; i++)
		base_hist_add(&h, 4);
	base_hist_add(&h, 1024);
	assert_true(h.n == 100);
	assert_true(h.sum_us == 99 * 4 + 1024);
	assert_true(base_hist_quantile_us(&h, 0.0) == 4);
	assert_true(base_hist_quantile_us(&h, 0.5) == 4);
	assert_true(base_hist_quantile_us(&h, 0.99) == 4);
	assert_true(base_hist_quantile_us(&h, 0.991) == 1024);
	assert_true(base_hist_quantile_us(&h, 1.0) == 1024);
	assert_true(base_hist_quantile_us(&h, 7.0) == 1024);
	assert_true(base_hist_quantile_us(&h, -1.0) == 4);
	assert_true(base_hist_quantile_us(&h, (double)NAN) == 4);
}

static void processes_add_up(void **state)
{
	struct base_hist a = { 0 }, b = { 0 }, both = { 0 };
	struct base_rand r;

	(void)state;
	base_rand_init(&r, 4);
	for (int i = 0; i < 5000; i++) {
		uint64_t us = base_rand_below(&r, 1000000);
		base_hist_add(i % 2 ? &a : &b, us);
		base_hist_add(&both, us);
	}
	base_hist_merge(&a, b.counts, BASE_HIST_BUCKETS);
	assert_memory_equal(a.counts, both.counts, sizeof a.counts);
	assert_true(a.n == both.n);
	assert_true(base_hist_quantile_us(&a, 0.99) == base_hist_quantile_us(&both, 0.99));
}

static void a_peers_counts_may_be_anything(void **state)
{
	static uint64_t counts[BASE_HIST_BUCKETS + 50];
	struct base_hist h = { 0 };

	(void)state;
	for (size_t i = 0; i < BASE_HIST_BUCKETS + 50; i++)
		counts[i] = UINT64_MAX - i;
	base_hist_merge(&h, counts, BASE_HIST_BUCKETS + 50);
	base_hist_merge(&h, counts, BASE_HIST_BUCKETS);
	assert_true(h.counts[0] == UINT64_MAX);
	assert_true(h.n == UINT64_MAX);
	assert_true(base_hist_quantile_us(&h, 0.5) >= 1);
	base_hist_merge(&h, NULL, 0);

	struct base_hist shorter = { 0 };
	counts[2] = 3;
	base_hist_merge(&shorter, counts + 2, 1);
	assert_true(shorter.n == 3);
	assert_true(shorter.counts[0] == 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounds_grow_from_1_us_to_over_1000_s),
		cmocka_unit_test(a_bound_belongs_to_its_bucket_and_the_next_number_does_not),
		cmocka_unit_test(a_bucket_is_off_by_at_most_19_percent),
		cmocka_unit_test(quantiles),
		cmocka_unit_test(processes_add_up),
		cmocka_unit_test(a_peers_counts_may_be_anything),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
