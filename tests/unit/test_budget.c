/* Retries: a fixed share of what is done, and what was saved up. */
#include "base/budget.h"
#include "tests/unit/unit.h"

static void test_a_share(void **state)
{
	struct base_budget b = { .held = 0, .most = 5000, .share = 100 };
	unsigned spent = 0;

	(void)state;
	assert_false(base_budget_spend(&b));
	for (int i = 0; i < 1000; i++) {
		base_budget_earn(&b);
		spent += base_budget_spend(&b);
	}
	assert_int_equal(spent, 100);
}

static void test_saved_up(void **state)
{
	struct base_budget b = { .held = 2000, .most = 5000, .share = 300 };
	unsigned spent = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		base_budget_earn(&b);
	assert_int_equal(b.held, 5000);
	while (base_budget_spend(&b))
		spent++;
	assert_int_equal(spent, 5);
	assert_int_equal(b.held, 0);
}

static void test_what_it_begins_with(void **state)
{
	struct base_budget b = { .held = 1999, .most = 5000, .share = 1 };

	(void)state;
	assert_true(base_budget_spend(&b));
	assert_false(base_budget_spend(&b));
	assert_int_equal(b.held, 999); /* what does not suffice stays */
	base_budget_earn(&b);
	assert_true(base_budget_spend(&b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_share),
		cmocka_unit_test(test_saved_up),
		cmocka_unit_test(test_what_it_begins_with),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
