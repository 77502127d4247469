/* The broker's core: which failed calls run again before their clients hear of it, where, and how
 * many; and how much time a run has. */
#include "tests/unit/core_events.h"

enum { CLIENT = 1, A = 5, B = 6, C = 7, AGAIN = PIRN__ITEM_FLAG__IDEMPOTENT };

/* Breakers are not this file's matter, unless a test says so. */
static void announce(struct rig *r, uint32_t worker, uint32_t timeout_ms, uint64_t granted)
{
	Pirn__Manifest m = rig_manifest("hello");
	Pirn__BreakerConf breaker = PIRN__BREAKER_CONF__INIT;

	breaker.has_consecutive = true; /* 0: never */
	breaker.has_calls = true;
	breaker.calls = 1000000;
	m.breaker = &breaker;
	m.has_timeout_ms = timeout_ms > 0;
	m.timeout_ms = timeout_ms;
	rig_hello(r, worker, worker, PIRN__ROLE__WORKER, &m, 1);
	if (granted > 0)
		rig_credit(r, worker, "hello", granted);
}

static struct rig new_rig(uint32_t timeout_ms, uint64_t granted)
{
	struct rig r = rig_new(NULL);

	rig_client(&r, CLIENT);
	announce(&r, A, timeout_ms, granted);
	return r;
}

static struct brk_service *hello(const struct rig *r)
{
	return brk_service_find(r->core, "hello");
}

static Pirn__Item submit(struct rig *r, uint32_t slot, uint32_t flags, uint32_t left_ms)
{
	rig_item(r, CLIENT, PIRN__KIND__SUBMIT,
		(struct rig_item){ .service = "hello",
			.data = "request",
			.slot = slot,
			.flags = flags,
			.left_ms = left_ms });
	return rig_one(r, PIRN__KIND__DISPATCH)->item;
}

static void answer(struct rig *r, uint32_t worker, const Pirn__Item *run, uint32_t status,
	uint32_t reason, uint32_t retry_after_ms)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;

	item.slot = run->slot;
	item.generation = run->generation;
	item.status = status;
	item.reason = reason;
	item.has_retry_after_ms = retry_after_ms > 0;
	item.retry_after_ms = retry_after_ms;
	head.kind = PIRN__KIND__RESULT;
	head.items = &list;
	head.n_items = 1;
	rig_head(r, worker, &head, NULL, 0);
}

/* ---- which ------------------------------------------------------------------------- */

static void test_which(void **state)
{
	static const struct {
		uint32_t status, reason, retry_after_ms, flags;
		bool again;
	} rows[] = {
		{ 502, 0, 0, AGAIN, true },
		{ 503, 0, 0, AGAIN, true },
		{ 504, 0, 0, AGAIN, true },
		{ 0, PIRN__REASON__CRASHED, 0, AGAIN, true },
		{ 0, PIRN__REASON__OVERLOADED, 0, AGAIN, true },
		{ 0, PIRN__REASON__DEADLINE, 0, AGAIN, true },
		{ 100, 0, 0, AGAIN, true },  /* is none, so: crashed */
		{ 503, 0, 1, AGAIN, false }, /* it says itself that this is too early */
		{ 0, PIRN__REASON__OVERLOADED, 1000, AGAIN, false },
		{ 502, 0, 0, 0, false },
		{ 0, PIRN__REASON__CRASHED, 0, 0, false },
		{ 200, 0, 0, AGAIN, false },
		{ 404, 0, 0, AGAIN, false },
		{ 408, 0, 0, AGAIN, false },
		{ 429, 0, 0, AGAIN, false },
		{ 500, 0, 0, AGAIN, false },
		{ 501, 0, 0, AGAIN, false },
		{ 505, 0, 0, AGAIN, false },
		{ 0, PIRN__REASON__TOO_LARGE, 0, AGAIN, false },
		{ 0, PIRN__REASON__CANCELLED, 0, AGAIN, false },
		{ 0, PIRN__REASON__MALFORMED, 0, AGAIN, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct rig r = new_rig(0, 10);
		Pirn__Item run = submit(&r, 1, rows[i].flags, 10000);

		answer(&r, A, &run, rows[i].status, rows[i].reason, rows[i].retry_after_ms);
		assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), rows[i].again);
		assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), !rows[i].again);
		assert_int_equal(hello(&r)->retries, rows[i].again);
		if (rows[i].again) {
			run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
			assert_int_equal(run.attempt, 2);
			rig_result(&r, A, &run, 200, 0);
			rig_is_replied(&r, 1, 0, 200); /* its client never hears of it */
			assert_int_equal(rig_one(&r, PIRN__KIND__REPLY)->item.attempt, 2);
		}
		rig_free(&r);
	}
}

static void test_three_runs(void **state)
{
	struct rig r = new_rig(0, 10);
	Pirn__Item run = submit(&r, 1, AGAIN, 10000);

	(void)state;
	for (uint32_t attempt = 1; attempt <= BRK_MAX_RUNS; attempt++) {
		assert_int_equal(run.attempt, attempt);
		rig_result(&r, A, &run, 503, 0);
		if (attempt < BRK_MAX_RUNS)
			run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	}
	rig_is_replied(&r, 1, 0, 503);
	assert_int_equal(rig_one(&r, PIRN__KIND__REPLY)->payload.data_size, 8);
	rig_free(&r);
}

/* ---- where --------------------------------------------------------------------------- */

static void test_elsewhere(void **state)
{
	struct rig r = new_rig(0, 10);
	Pirn__Item run = submit(&r, 1, AGAIN, 10000);

	(void)state;
	announce(&r, B, 0, 1);
	announce(&r, C, 0, 2);
	answer(&r, A, &run, 0, PIRN__REASON__CRASHED, 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, C); /* A has nine */
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	answer(&r, C, &run, 0, PIRN__REASON__CRASHED, 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, A);
	run = submit(&r, 2, AGAIN, 10000); /* only the one that failed there goes elsewhere */
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, A);
	rig_free(&r);
}

static void test_not_elsewhere(void **state)
{
	struct rig r = new_rig(0, 10);
	Pirn__Item run = submit(&r, 1, AGAIN, 10000);

	(void)state;
	announce(&r, B, 0, 0); /* has no place */
	rig_result(&r, A, &run, 502, 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, A);
	rig_free(&r);
}

static void test_a_lost_worker(void **state)
{
	struct rig r = new_rig(0, 10);
	Pirn__Item run;

	(void)state;
	submit(&r, 1, AGAIN, 10000);
	submit(&r, 2, 0, 10000);
	announce(&r, B, 0, 1);
	rig_look(&r, brk_core_gone(r.core, r.now_ms, A));
	rig_is_replied(&r, 2, PIRN__REASON__WORKER_LOST, 502);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, B);
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	assert_int_equal(run.attempt, 2);
	rig_result(&r, B, &run, 200, 0);
	rig_is_replied(&r, 1, 0, 200);
	rig_free(&r);
}

/* A run again stands behind those who wait, not before them; one that was lost with its worker before. */
static void test_its_place(void **state)
{
	struct rig r = new_rig(0, 2);
	Pirn__Item first = submit(&r, 1, AGAIN, 10000);

	(void)state;
	submit(&r, 2, AGAIN, 10000);
	rig_submit(&r, CLIENT, 3, "hello", 0);
	rig_result(&r, A, &first, 502, 0);
	assert_int_equal(hello(&r)->queue.n, 2);
	assert_int_equal(brk_queue_first(&hello(&r)->queue)->client_slot, 3);
	assert_int_equal(brk_queue_newest(&hello(&r)->queue)->client_slot, 1);
	rig_look(&r, brk_core_gone(r.core, r.now_ms, A));
	assert_int_equal(brk_queue_first(&hello(&r)->queue)->client_slot, 2);
	assert_int_equal(brk_queue_last_back(&hello(&r)->queue)->client_slot, 2);
	assert_int_equal(hello(&r)->queue.oldest->client_slot, 3);
	rig_free(&r);
}

/* ---- how many ------------------------------------------------------------------------ */

/* Everything fails, for long: retries stay a tenth, and what a new service has. */
static void test_a_storm(void **state)
{
	enum { CALLS = 2000 };
	struct rig r = new_rig(0, UINT32_MAX);
	uint64_t attempts;

	(void)state;
	for (uint32_t i = 0; i < CALLS; i++) {
		Pirn__Item run = submit(&r, i, AGAIN, 10000);

		rig_result(&r, A, &run, 503, 0);
		while (rig_count(&r, PIRN__KIND__DISPATCH) > 0) {
			run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
			rig_result(&r, A, &run, 503, 0);
		}
		rig_is_replied(&r, i, 0, 503);
	}
	attempts = rig_figures(&r).dispatched;
	assert_int_equal(attempts, CALLS + CALLS / 10 + BRK_AGAIN_FIRST);
	assert_true(attempts * 10 <= 12u * CALLS);
	assert_int_equal(hello(&r)->retries, attempts - CALLS);
	assert_true(hello(&r)->retries_refused >= CALLS - 300);
	rig_free(&r);
}

/* In quiet times it saves up, but not for ever. */
static void test_what_is_saved(void **state)
{
	struct rig r = new_rig(0, UINT32_MAX);
	uint32_t retries = 0;

	(void)state;
	for (uint32_t i = 0; i < 10 * BRK_AGAIN_SAVED; i++) {
		Pirn__Item run = submit(&r, i, 0, 10000);

		rig_result(&r, A, &run, 200, 0);
	}
	assert_int_equal(hello(&r)->budget.held, BRK_AGAIN_SAVED * BASE_BUDGET_ONE);
	for (uint32_t i = 0; i < BRK_AGAIN_SAVED; i++) {
		Pirn__Item run = submit(&r, i, AGAIN, 10000);

		for (;;) {
			rig_result(&r, A, &run, 503, 0);
			if (rig_count(&r, PIRN__KIND__DISPATCH) == 0)
				break;
			run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
			retries++;
		}
	}
	/* It earns a tenth on the way, but for what it cannot hold at first. */
	assert_in_range(retries, BRK_AGAIN_SAVED + BRK_AGAIN_SAVED / 10 - 1,
		BRK_AGAIN_SAVED + BRK_AGAIN_SAVED / 10);
	rig_free(&r);
}

/* Each service has its own. */
static void test_budgets_are_apart(void **state)
{
	struct rig r = new_rig(0, 1000);
	Pirn__Item run;

	(void)state;
	rig_worker(&r, B, "other", 10);
	hello(&r)->budget.held = 0;
	run = submit(&r, 1, AGAIN, 10000);
	rig_result(&r, A, &run, 502, 0);
	rig_is_replied(&r, 1, 0, 502);
	assert_int_equal(hello(&r)->retries_refused, 1);
	rig_submit(&r, CLIENT, 2, "other", AGAIN);
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	rig_result(&r, B, &run, 502, 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
	rig_free(&r);
}

/* What is handed back never ran: that costs nothing. */
static void test_handed_back_is_no_retry(void **state)
{
	struct rig r = new_rig(0, 10);
	Pirn__Item run = submit(&r, 1, 0, 10000);

	(void)state;
	hello(&r)->budget.held = 0;
	rig_result(&r, A, &run, 0, PIRN__REASON__NO_WORKER);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->item.attempt, 1);
	assert_int_equal(hello(&r)->retries + hello(&r)->retries_refused, 0);
	rig_free(&r);
}

/* ---- never ------------------------------------------------------------------------------ */

static void test_never_into_an_open_breaker(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Item run;
	uint32_t n = 0;

	(void)state;
	rig_client(&r, CLIENT);
	rig_worker(&r, A, "hello", 100); /* five failures in a row open it */
	for (uint32_t i = 0; rig_count(&r, PIRN__KIND__REFUSED) == 0; i++) {
		rig_submit(&r, CLIENT, i, "hello", AGAIN);
		while (rig_count(&r, PIRN__KIND__DISPATCH) > 0) {
			run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
			rig_result(&r, A, &run, 503, 0);
			n++;
		}
	}
	assert_int_equal(n, 5);
	assert_int_equal(rig_one(&r, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__BREAKER_OPEN);
	assert_int_equal(rig_figures(&r).dispatched, 5);
	rig_free(&r);
}

/* The failures that open it are other calls': what fails then is not sent again either. */
static void test_not_once_it_has_opened(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Item runs[6];

	(void)state;
	rig_client(&r, CLIENT);
	rig_worker(&r, A, "hello", 100);
	rig_worker(&r, B, "hello", 100);
	for (uint32_t i = 0; i < 6; i++) {
		rig_submit(&r, CLIENT, i, "hello", i == 5 ? AGAIN : 0);
		runs[i] = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	}
	for (uint32_t i = 0; i < 6; i++) {
		const struct brk_call *call =
			base_slab_get(&r.core->slab, runs[i].slot, runs[i].generation);

		rig_result(&r, call->link->peer->id, &runs[i], 503, 0);
		rig_is_replied(&r, i, 0, 503);
	}
	rig_free(&r);
}

/* A service that has more than it can do gets no second tries; lost runs were let in before. */
static void test_not_while_overloaded(void **state)
{
	struct rig r = new_rig(0, 3);
	Pirn__Item run = submit(&r, 1, AGAIN, 10000);

	(void)state;
	submit(&r, 2, AGAIN, 10000);
	hello(&r)->run_us = 1000;
	rig_submit(&r, CLIENT, 3, "hello", 0);
	rig_result(&r, A, &run, 503, 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0); /* not yet */
	for (int i = 0; i < 101; i++) {
		rig_tick(&r, 1);
		rig_send(&r, A, PIRN__KIND__BEAT);
	}
	rig_submit(&r, CLIENT, 4, "hello", 0);
	rig_submit(&r, CLIENT, 5, "hello", 0);
	rig_credit(&r, A, "hello", 4);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
	for (int i = 0; i < 150; i++) {
		rig_submit(&r, CLIENT, 6 + (uint32_t)i % 50, "hello", 0);
		rig_tick(&r, 1);
	}
	assert_true(hello(&r)->overload.is_on);
	run = (Pirn__Item)PIRN__ITEM__INIT;
	for (const struct brk_call *call = hello(&r)->links->running; call; call = call->next) {
		if (!(call->flags & AGAIN))
			continue;
		run.slot = call->slot;
		run.generation = call->generation;
	}
	rig_result(&r, A, &run, 503, 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__REPLY)->item.status, 503);
	rig_free(&r);
}

static void test_not_into_a_full_queue(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Manifest m = rig_manifest("hello");
	Pirn__Item run;

	(void)state;
	m.has_queue_items = true;
	m.queue_items = 1;
	rig_client(&r, CLIENT);
	rig_hello(&r, A, A, PIRN__ROLE__WORKER, &m, 1);
	rig_credit(&r, A, "hello", 1);
	run = submit(&r, 1, AGAIN, 10000);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_result(&r, A, &run, 502, 0);
	rig_is_replied(&r, 1, 0, 502);
	rig_free(&r);
}

/* ---- time --------------------------------------------------------------------------------- */

/* Both ends of it: the call's own, and the run's. */
static void test_a_run_has_its_time(void **state)
{
	struct rig r = new_rig(3000, 1);
	Pirn__Item run;

	(void)state;
	run = submit(&r, 1, 0, 10000);
	assert_int_equal(run.left_ms, 3000);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_item(&r, CLIENT, PIRN__KIND__SUBMIT,
		(struct rig_item){ .service = "hello", .slot = 3, .left_ms = 1000 });
	rig_tick(&r, 700);
	rig_result(&r, A, &run, 200, 0);
	rig_credit(&r, A, "hello", 3);
	assert_int_equal(rig_nth(&r, PIRN__KIND__DISPATCH, 0)->item.left_ms, 3000);
	assert_int_equal(rig_nth(&r, PIRN__KIND__DISPATCH, 1)->item.left_ms, 300);
	rig_free(&r);
}

static void test_a_run_ends_with_its_time(void **state)
{
	struct rig r = new_rig(1500, 1);
	Pirn__Item run = submit(&r, 1, 0, 10000);

	(void)state;
	rig_send(&r, CLIENT, PIRN__KIND__BEAT);
	rig_tick(&r, 1499);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	rig_tick(&r, 1);
	rig_is_replied(&r, 1, PIRN__REASON__DEADLINE, 504);
	assert_int_equal(rig_one(&r, PIRN__KIND__CANCEL)->item.slot, run.slot);
	assert_int_equal(rig_figures(&r).expired, 1);
	rig_free(&r);
}

/* Its worker may be stuck: there is time for another one. */
static void test_again_after_its_time(void **state)
{
	struct rig r = new_rig(1500, 1);
	Pirn__Item run;
	const struct brk_action *a;

	(void)state;
	submit(&r, 1, AGAIN, 4000);
	announce(&r, B, 1500, 1);
	rig_tick(&r, 1500);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__CANCEL)->peer, A);
	a = rig_one(&r, PIRN__KIND__DISPATCH);
	run = a->item;
	assert_int_equal(a->peer, B);
	assert_int_equal(run.attempt, 2);
	assert_int_equal(run.left_ms, 1500);
	rig_send(&r, B, PIRN__KIND__BEAT);
	rig_send(&r, CLIENT, PIRN__KIND__BEAT);
	rig_tick(&r, 1500); /* a thousand are left: less than a run takes, by what is known */
	rig_is_replied(&r, 1, PIRN__REASON__DEADLINE, 504);
	rig_free(&r);
}

/* Where there is no other worker, the next run goes to where the one before still is. What that brings now
 * is not the next one's. */
static void test_a_late_end_of_the_run_before(void **state)
{
	struct rig r = new_rig(1500, 10);
	Pirn__Item first = submit(&r, 1, AGAIN, 10000), second;

	(void)state;
	rig_tick(&r, 1500);
	assert_int_equal(rig_one(&r, PIRN__KIND__CANCEL)->item.generation, first.generation);
	second = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	assert_int_equal(second.attempt, 2);
	rig_result(&r, A, &first, 504, PIRN__REASON__DEADLINE);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	rig_result(&r, A, &first, 200, 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	assert_int_equal(rig_figures(&r).stale, 2);
	rig_result(&r, A, &second, 201, 0);
	rig_is_replied(&r, 1, 0, 201);
	rig_free(&r);
}

/* A retry has what is left, and no more. */
static void test_a_retry_has_what_is_left(void **state)
{
	struct rig r = new_rig(0, 5);
	Pirn__Item run = submit(&r, 1, AGAIN, 1000);

	(void)state;
	hello(&r)->run_us = 1000;
	rig_tick(&r, 400);
	rig_result(&r, A, &run, 502, 0);
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	assert_int_equal(run.left_ms, 600);
	rig_tick(&r, 599);
	rig_result(&r, A, &run, 502, 0); /* one is left: no run ends in that */
	rig_is_replied(&r, 1, 0, 502);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which),
		cmocka_unit_test(test_three_runs),
		cmocka_unit_test(test_elsewhere),
		cmocka_unit_test(test_not_elsewhere),
		cmocka_unit_test(test_a_lost_worker),
		cmocka_unit_test(test_its_place),
		cmocka_unit_test(test_a_storm),
		cmocka_unit_test(test_what_is_saved),
		cmocka_unit_test(test_budgets_are_apart),
		cmocka_unit_test(test_handed_back_is_no_retry),
		cmocka_unit_test(test_never_into_an_open_breaker),
		cmocka_unit_test(test_not_once_it_has_opened),
		cmocka_unit_test(test_not_while_overloaded),
		cmocka_unit_test(test_not_into_a_full_queue),
		cmocka_unit_test(test_a_run_has_its_time),
		cmocka_unit_test(test_a_run_ends_with_its_time),
		cmocka_unit_test(test_again_after_its_time),
		cmocka_unit_test(test_a_late_end_of_the_run_before),
		cmocka_unit_test(test_a_retry_has_what_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
