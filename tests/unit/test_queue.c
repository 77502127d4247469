#include "broker/core/queue.h"
#include "tests/unit/unit.h"

static void test_first_in_first_out(void **state)
{
	struct brk_queue q = { 0 };
	struct brk_call calls[3] = { 0 };

	(void)state;
	assert_null(brk_queue_first(&q));
	for (int i = 0; i < 3; i++)
		brk_queue_push(&q, &calls[i]);
	assert_int_equal(q.n, 3);
	for (int i = 0; i < 3; i++) {
		assert_ptr_equal(brk_queue_first(&q), &calls[i]);
		brk_queue_remove(&q, &calls[i]);
	}
	assert_int_equal(q.n, 0);
	assert_null(brk_queue_first(&q));
}

static void test_what_comes_back_is_first(void **state)
{
	struct brk_queue q = { 0 };
	struct brk_call calls[3] = { 0 };

	(void)state;
	brk_queue_push(&q, &calls[1]);
	brk_queue_push_front(&q, &calls[0]);
	brk_queue_push(&q, &calls[2]);
	assert_ptr_equal(brk_queue_first(&q), &calls[0]);
}

static void test_out_of_the_middle(void **state)
{
	struct brk_queue q = { 0 };
	struct brk_call calls[3] = { 0 };

	(void)state;
	for (int i = 0; i < 3; i++)
		brk_queue_push(&q, &calls[i]);
	brk_queue_remove(&q, &calls[1]);
	assert_null(calls[1].next);
	assert_ptr_equal(brk_queue_first(&q), &calls[0]);
	brk_queue_remove(&q, &calls[0]);
	assert_ptr_equal(brk_queue_first(&q), &calls[2]);
	assert_int_equal(q.n, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_in_first_out),
		cmocka_unit_test(test_what_comes_back_is_first),
		cmocka_unit_test(test_out_of_the_middle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
