/* The tables of a call's states, and of a delivery's: every pair of state and event, and
 * nothing beside what is listed. */
#include "broker/core/call.h"
#include "broker/core/delivery.h"
#include "tests/unit/unit.h"

static enum brk_call_state expected(enum brk_call_state from, enum brk_call_event event)
{
	switch (from) {
	case BRK_CALL_NEW:
		if (event == BRK_CALL_EV_QUEUE)
			return BRK_CALL_WAITING;
		if (event == BRK_CALL_EV_DISPATCH)
			return BRK_CALL_RUNNING;
		if (event == BRK_CALL_EV_CLAIM)
			return BRK_CALL_CLAIMING;
		break;
	case BRK_CALL_CLAIMING:
		if (event == BRK_CALL_EV_QUEUE)
			return BRK_CALL_WAITING;
		if (event == BRK_CALL_EV_DISPATCH)
			return BRK_CALL_RUNNING;
		break;
	case BRK_CALL_SENDING:
		if (event == BRK_CALL_EV_ANSWER)
			return BRK_CALL_ANSWERING;
		break;
	case BRK_CALL_ANSWERING:
		break;
	case BRK_CALL_WAITING:
		if (event == BRK_CALL_EV_ANSWER)
			return BRK_CALL_ANSWERING;
		if (event == BRK_CALL_EV_DISPATCH)
			return BRK_CALL_RUNNING;
		break;
	case BRK_CALL_RUNNING:
		if (event == BRK_CALL_EV_ANSWER)
			return BRK_CALL_ANSWERING;
		if (event == BRK_CALL_EV_HAND_BACK || event == BRK_CALL_EV_LOSE ||
			event == BRK_CALL_EV_RETRY)
			return BRK_CALL_WAITING;
		if (event == BRK_CALL_EV_SEND)
			return BRK_CALL_SENDING;
		break;
	default:
		return BRK_CALL_ILLEGAL;
	}
	return event == BRK_CALL_EV_END ? BRK_CALL_ENDED : BRK_CALL_ILLEGAL;
}

static void test_every_edge(void **state)
{
	(void)state;
	for (int from = 0; from < BRK_CALL_STATE__N; from++)
		for (int event = 0; event < BRK_CALL_EV__N; event++)
			assert_int_equal(brk_call_next((enum brk_call_state)from,
						 (enum brk_call_event)event),
				expected((enum brk_call_state)from, (enum brk_call_event)event));
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(brk_call_state_name(BRK_CALL_WAITING), "WAITING");
	for (int s = 0; s < BRK_CALL_STATE__N; s++)
		assert_non_null(brk_call_state_name((enum brk_call_state)s));
}

/* ---- deliveries ----------------------------------------------------------------- */

/* Rows by state, columns by event: the state after it, or - where there is none. */
static const char *const after[BRK_DELIVERY_STATE__N] = {
	/*                          STORED DUE RUN UNRUN MOVE END GONE FORGET */
	[BRK_DELIVERY_ILLEGAL] = "--------",
	[BRK_DELIVERY_ARRIVING] = "r------g",
	[BRK_DELIVERY_READY] = "--u-me-g",
	[BRK_DELIVERY_RUNNING] = "---rme-g",
	[BRK_DELIVERY_WAITING] = "-r--me-g",
	[BRK_DELIVERY_MOVING] = "r------g",
	[BRK_DELIVERY_ENDING] = "------gg",
	[BRK_DELIVERY_GONE] = "--------",
};

static char letter_of(enum brk_delivery_state state)
{
	switch (state) {
	case BRK_DELIVERY_READY:
		return 'r';
	case BRK_DELIVERY_RUNNING:
		return 'u';
	case BRK_DELIVERY_MOVING:
		return 'm';
	case BRK_DELIVERY_ENDING:
		return 'e';
	case BRK_DELIVERY_GONE:
		return 'g';
	case BRK_DELIVERY_ILLEGAL:
		return '-';
	default:
		return '?';
	}
}

static void test_every_edge_of_a_delivery(void **state)
{
	(void)state;
	assert_int_equal(BRK_DELIVERY_EV__N, 8);
	for (int from = 0; from < BRK_DELIVERY_STATE__N; from++) {
		assert_non_null(brk_delivery_state_name((enum brk_delivery_state)from));
		for (int event = 0; event < BRK_DELIVERY_EV__N; event++)
			assert_int_equal(
				letter_of(brk_delivery_state_after((enum brk_delivery_state)from,
					(enum brk_delivery_event)event)),
				after[from][event]);
	}
	assert_string_equal(brk_delivery_state_name(BRK_DELIVERY_MOVING), "MOVING");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_edge),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_every_edge_of_a_delivery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
