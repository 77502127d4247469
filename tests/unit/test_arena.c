#include "tests/unit/unit.h"

#include "base/arena.h"
#include "tests/unit/count_alloc.h"

static void pieces_are_aligned_and_apart(void **state)
{
	struct base_arena a;
	uint8_t *pieces[200];

	(void)state;
	base_arena_init(&a, 256, 1 << 20);
	for (size_t i = 0; i < 200; i++) {
		pieces[i] = base_arena_alloc(&a, i);
		assert_non_null(pieces[i]);
		assert_int_equal((uintptr_t)pieces[i] % 16, 0);
		memset(pieces[i], (int)i, i);
	}
	for (size_t i = 0; i < 200; i++)
		for (size_t j = 0; j < i; j++)
			assert_int_equal(pieces[i][j], i);
	base_arena_fini(&a);
}

static void copies_are_terminated(void **state)
{
	struct base_arena a;
	char *copy;

	(void)state;
	base_arena_init(&a, 64, 1024);
	copy = base_arena_dup(&a, "hello, world", 5);
	assert_string_equal(copy, "hello");
	assert_string_equal(base_arena_dup(&a, NULL, 0), "");
	assert_null(base_arena_dup(&a, "", SIZE_MAX));
	base_arena_fini(&a);
}

static void the_bound_holds_and_is_free_again_after_reset(void **state)
{
	struct base_arena a;
	size_t n = 0;

	(void)state;
	base_arena_init(&a, 128, 1000);
	while (base_arena_alloc(&a, 16))
		n++;
	assert_int_equal(n, 62); /* 62 × 16 = 992 */
	assert_int_equal(a.used, 992);
	assert_null(base_arena_alloc(&a, 1));
	assert_null(base_arena_alloc(&a, 1001));
	assert_null(base_arena_alloc(&a, SIZE_MAX));
	assert_null(base_arena_alloc(&a, SIZE_MAX - 14));
	base_arena_reset(&a);
	assert_int_equal(a.used, 0);
	assert_non_null(base_arena_alloc(&a, 992));
	assert_null(base_arena_alloc(&a, 16));
	base_arena_fini(&a);
}

static void a_steady_state_allocates_nothing(void **state)
{
	struct base_arena a;

	(void)state;
	base_arena_init(&a, 4096, 1 << 20);
	assert_non_null(base_arena_alloc(&a, 100000)); /* one large head in the first turn */
	base_arena_reset(&a);
	count_alloc_start();
	for (int turn = 0; turn < 1000; turn++) {
		for (int i = 0; i < 36; i++)
			assert_non_null(base_arena_alloc(&a, 100));
		base_arena_reset(&a);
	}
	assert_int_equal(count_alloc_stop(), 0);
	base_arena_fini(&a);
}

static void fini_leaves_one_that_can_be_used(void **state)
{
	struct base_arena a;

	(void)state;
	base_arena_init(&a, 64, 4096);
	base_arena_fini(&a);
	assert_non_null(base_arena_alloc(&a, 100));
	base_arena_fini(&a);
	base_arena_reset(&a);
	base_arena_fini(&a);
}

static void no_memory_is_null_and_changes_nothing(void **state)
{
	struct base_arena a;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	base_arena_init(&a, 64, 4096);
	count_alloc_fail_at(1);
	assert_null(base_arena_alloc(&a, 10));
	count_alloc_fail_at(0);
	assert_int_equal(a.used, 0);
	assert_non_null(base_arena_alloc(&a, 10));
	count_alloc_fail_at(1);
	assert_null(base_arena_alloc(&a, 1000));
	count_alloc_fail_at(0);
	assert_int_equal(a.used, 16);
	assert_non_null(base_arena_alloc(&a, 10));
	base_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_are_aligned_and_apart),
		cmocka_unit_test(copies_are_terminated),
		cmocka_unit_test(the_bound_holds_and_is_free_again_after_reset),
		cmocka_unit_test(a_steady_state_allocates_nothing),
		cmocka_unit_test(fini_leaves_one_that_can_be_used),
		cmocka_unit_test(no_memory_is_null_and_changes_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
