#include "tests/unit/unit.h"

#include "base/rand.h"
#include "base/slab.h"
#include "tests/unit/count_alloc.h"

struct record {
	uint64_t number;
	char text[21];
};

static void a_record_is_found_by_its_pair_only(void **state)
{
	struct base_slab s;
	struct record *r;
	uint32_t slot, generation;

	(void)state;
	base_slab_init(&s, sizeof(struct record), 10);
	r = base_slab_take(&s, &slot, &generation);
	assert_non_null(r);
	assert_int_equal((uintptr_t)r % 16, 0);
	assert_true(r->number == 0);
	assert_int_equal(s.n_used, 1);
	assert_ptr_equal(base_slab_get(&s, slot, generation), r);
	assert_null(base_slab_get(&s, slot, generation + 1));
	assert_null(base_slab_get(&s, slot, generation - 1));
	assert_null(base_slab_get(&s, slot, 0));
	assert_null(base_slab_get(&s, slot + 1, generation));
	base_slab_fini(&s);
}

static void hostile_numbers_find_nothing(void **state)
{
	static const uint32_t numbers[] = { 0, 1, 2, 9, 10, 1023, 1024, 1025, 65535, 1u << 31,
		UINT32_MAX - 1, UINT32_MAX };
	struct base_slab s;
	uint32_t slot, generation;

	(void)state;
	base_slab_init(&s, 8, 10);
	for (size_t i = 0; i < 12; i++)
		for (size_t j = 0; j < 12; j++)
			assert_null(
				base_slab_get(&s, numbers[i], numbers[j])); /* of an empty one */
	assert_non_null(base_slab_take(&s, &slot, &generation));
	for (size_t i = 0; i < 12; i++)
		for (size_t j = 0; j < 12; j++)
			if (numbers[i] != slot || numbers[j] != generation)
				assert_null(base_slab_get(&s, numbers[i], numbers[j]));
	base_slab_fini(&s);
}

static void a_late_answer_is_stale(void **state)
{
	struct base_slab s;
	struct record *r;
	uint32_t slot, generation, slot2, generation2;

	(void)state;
	base_slab_init(&s, sizeof(struct record), 1);
	r = base_slab_take(&s, &slot, &generation);
	r->number = 5;
	base_slab_give(&s, slot);
	assert_int_equal(s.n_used, 0);
	assert_null(base_slab_get(&s, slot, generation));
	assert_null(base_slab_get(
		&s, slot, generation + 1)); /* nor is a free one found by any number */
	r = base_slab_take(&s, &slot2, &generation2);
	assert_int_equal(slot, slot2);
	assert_int_not_equal(generation, generation2);
	assert_true(r->number == 0);
	assert_null(base_slab_get(&s, slot, generation));
	assert_ptr_equal(base_slab_get(&s, slot2, generation2), r);
	base_slab_fini(&s);
}

/* What comes for it under its old name finds nothing; the record stays. */
static void a_renewed_record_has_another_name(void **state)
{
	struct base_slab s;
	struct record *r;
	uint32_t slot, generation, next;

	(void)state;
	base_slab_init(&s, sizeof(struct record), 10);
	r = base_slab_take(&s, &slot, &generation);
	r->number = 7;
	next = base_slab_renew(&s, slot);
	assert_null(base_slab_get(&s, slot, generation));
	assert_ptr_equal(base_slab_get(&s, slot, next), r);
	assert_true(r->number == 7 && s.n_used == 1);
	base_slab_give(&s, slot);
	assert_null(base_slab_get(&s, slot, next));
	r = base_slab_take(&s, &slot, &generation);
	assert_true(generation != next);
	assert_ptr_equal(base_slab_get(&s, slot, generation), r);
	base_slab_fini(&s);
}

static void the_bound_holds(void **state)
{
	static const uint32_t bounds[] = { 0, 1, 1000, 1024, 1025, 3000 };

	(void)state;
	for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
		struct base_slab s;
		uint32_t slot, generation;
		base_slab_init(&s, 100, bounds[i]);
		for (uint32_t n = 0; n < bounds[i]; n++) {
			assert_non_null(base_slab_take(&s, &slot, &generation));
			assert_true(slot < bounds[i]);
		}
		assert_null(base_slab_take(&s, &slot, &generation));
		if (bounds[i] > 0) {
			base_slab_give(&s, bounds[i] / 2);
			assert_non_null(base_slab_take(&s, &slot, &generation));
			assert_int_equal(slot, bounds[i] / 2);
		}
		base_slab_fini(&s);
	}
}

/* Random takes and gives against a plain array that remembers everything. */
static void it_does_what_an_array_would(void **state)
{
	enum { N = 2500 };
	static struct {
		struct record *r;
		uint32_t slot, generation;
		uint64_t number;
	} live[N];
	struct base_slab s;
	struct base_rand rand;
	uint32_t n = 0;

	(void)state;
	base_slab_init(&s, sizeof(struct record), N);
	base_rand_init(&rand, 3);
	for (int step = 0; step < 60000; step++) {
		if (n < N && base_rand_below(&rand, 100) < (step < 30000 ? 60u : 40u)) {
			live[n].r = base_slab_take(&s, &live[n].slot, &live[n].generation);
			assert_non_null(live[n].r);
			live[n].number = live[n].r->number = base_rand_next(&rand);
			n++;
		} else if (n > 0) {
			uint32_t i = (uint32_t)base_rand_below(&rand, n);
			assert_ptr_equal(
				base_slab_get(&s, live[i].slot, live[i].generation), live[i].r);
			assert_true(live[i].r->number == live[i].number);
			base_slab_give(&s, live[i].slot);
			assert_null(base_slab_get(&s, live[i].slot, live[i].generation));
			live[i] = live[--n];
		}
		assert_int_equal(s.n_used, n);
	}
	for (uint32_t i = 0; i < n; i++)
		assert_true(((struct record *)base_slab_get(&s, live[i].slot, live[i].generation))
				    ->number == live[i].number);
	base_slab_fini(&s);
}

static void a_steady_state_allocates_nothing(void **state)
{
	struct base_slab s;
	uint32_t slots[2000], generation;

	(void)state;
	base_slab_init(&s, sizeof(struct record), 5000);
	for (int round = 0; round < 3; round++) {
		if (round == 1)
			count_alloc_start();
		for (int i = 0; i < 2000; i++)
			assert_non_null(base_slab_take(&s, &slots[i], &generation));
		for (int i = 0; i < 2000; i++)
			base_slab_give(&s, slots[i]);
	}
	assert_int_equal(count_alloc_stop(), 0);
	base_slab_fini(&s);
}

static void no_memory_is_null_and_can_be_tried_again(void **state)
{
	struct base_slab s;
	uint32_t slot, generation;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	base_slab_init(&s, 64, 100);
	for (unsigned long nth = 1; nth <= 2; nth++) {
		count_alloc_fail_at(nth);
		assert_null(base_slab_take(&s, &slot, &generation));
		count_alloc_fail_at(0);
		assert_int_equal(s.n_used, 0);
	}
	assert_non_null(base_slab_take(&s, &slot, &generation));
	base_slab_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_record_is_found_by_its_pair_only),
		cmocka_unit_test(hostile_numbers_find_nothing),
		cmocka_unit_test(a_late_answer_is_stale),
		cmocka_unit_test(a_renewed_record_has_another_name),
		cmocka_unit_test(the_bound_holds),
		cmocka_unit_test(it_does_what_an_array_would),
		cmocka_unit_test(a_steady_state_allocates_nothing),
		cmocka_unit_test(no_memory_is_null_and_can_be_tried_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
