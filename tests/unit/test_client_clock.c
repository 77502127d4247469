/* What time the brokers say it is: the nearest of what was heard, and not for ever. */
#include "tests/unit/unit.h"

#include "client/clock.h"

#define REDIS 1900000000000u

static uint64_t now(const struct client_clock *c, uint64_t local_ms)
{
	uint64_t ms;

	assert_true(client_clock_now(c, local_ms, &ms));
	return ms;
}

static void nothing_was_said(void **state)
{
	struct client_clock c = { 0 };
	uint64_t ms = 7;

	(void)state;
	assert_false(client_clock_now(&c, 5, &ms));
	client_clock_hear(&c, 5, 0);
	client_clock_hear(&c, 5, UINT64_MAX);
	client_clock_hear(&c, 5, 253402300800000);
	assert_false(client_clock_now(&c, 5, &ms));
	assert_int_equal(ms, 7);
}

static void it_goes_on_by_itself(void **state)
{
	struct client_clock c = { 0 };

	(void)state;
	client_clock_hear(&c, 1000, REDIS);
	assert_true(now(&c, 1000) == REDIS);
	assert_true(now(&c, 31000) == REDIS + 30000);
}

/* Beats come late, each a little differently. */
static void the_quickest_counts(void **state)
{
	struct client_clock c = { 0 };

	(void)state;
	client_clock_hear(&c, 1300, REDIS + 1000); /* 300 ms on its way */
	client_clock_hear(&c, 2020, REDIS + 2000); /* 20 */
	client_clock_hear(&c, 9500, REDIS + 3000); /* lay in the socket */
	assert_true(now(&c, 10020) == REDIS + 10000);
	client_clock_hear(&c, 15900, REDIS + 15000);
	assert_true(now(&c, 20020) == REDIS + 20000);
}

static void a_clock_that_is_set_back_is_believed_in_time(void **state)
{
	struct client_clock c = { 0 };
	uint64_t local = 5000, ms;

	(void)state;
	client_clock_hear(&c, local, REDIS);
	for (unsigned i = 1; i <= 70; i++)
		client_clock_hear(&c, local + i * 1000u, REDIS - 3600000 + i * 1000u);
	local += 70000;
	assert_true(now(&c, local) == REDIS - 3600000 + 70000);
	assert_true(client_clock_now(&c, local + 49000, &ms));
	assert_false(client_clock_now(&c, local + 70000, &ms));
}

static void set_forward_at_once(void **state)
{
	struct client_clock c = { 0 };

	(void)state;
	client_clock_hear(&c, 5000, REDIS);
	client_clock_hear(&c, 6000, REDIS + 86400000);
	assert_true(now(&c, 6000) == REDIS + 86400000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_was_said),
		cmocka_unit_test(it_goes_on_by_itself),
		cmocka_unit_test(the_quickest_counts),
		cmocka_unit_test(a_clock_that_is_set_back_is_believed_in_time),
		cmocka_unit_test(set_forward_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
