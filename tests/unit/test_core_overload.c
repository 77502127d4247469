/* The broker's core: what may wait for a service, and who waits no longer. The rules one by one, and
 * then the whole of it in virtual time: more is asked for than can be done, and what is admitted
 * stays fast. */
#include "tests/unit/core_events.h"

enum { CLIENT = 1, A = 5, B = 6 };

/* ---- bounds ------------------------------------------------------------------------- */

/* A worker of "hello" with such a queue, and credit. */
static void announce(struct rig *r, uint32_t worker, const Pirn__QueueConf *queue, uint64_t granted)
{
	Pirn__Manifest m = rig_manifest("hello");

	m.queue = (Pirn__QueueConf *)(uintptr_t)queue;
	rig_hello(r, worker, worker, PIRN__ROLE__WORKER, &m, 1);
	if (granted > 0)
		rig_credit(r, worker, "hello", granted);
}

static struct rig new_rig(const Pirn__QueueConf *queue, uint64_t granted)
{
	struct rig r = rig_new(NULL);

	rig_client(&r, CLIENT);
	announce(&r, A, queue, granted);
	return r;
}

static struct brk_overload *overload(const struct rig *r)
{
	return &brk_service_find(r->core, "hello")->overload;
}

static void is_refused_for_now(const struct rig *r, uint32_t slot, uint32_t reason)
{
	rig_is_refused(r, slot, reason);
	assert_in_range(rig_one(r, PIRN__KIND__REFUSED)->item.retry_after_ms, 500, 1500);
}

static void test_items(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Manifest m = rig_manifest("hello");

	(void)state;
	m.has_queue_items = true;
	m.queue_items = 2;
	rig_client(&r, CLIENT);
	rig_hello(&r, A, A, PIRN__ROLE__WORKER, &m, 1);
	rig_credit(&r, A, "hello", 1);
	for (uint32_t i = 0; i < 3; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	assert_int_equal(rig_figures(&r).waiting, 2);
	rig_submit(&r, CLIENT, 3, "hello", 0);
	is_refused_for_now(&r, 3, PIRN__REASON__QUEUE_FULL);
	rig_credit(&r, A, "hello", 4); /* who need not wait is not refused */
	rig_submit(&r, CLIENT, 4, "hello", 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
	rig_free(&r);
}

static void test_bytes(void **state)
{
	Pirn__QueueConf queue = PIRN__QUEUE_CONF__INIT;
	struct rig r;

	(void)state;
	queue.has_bytes = true;
	queue.bytes = 20;
	r = new_rig(&queue, 0);
	for (uint32_t i = 0; i < 2; i++) /* of 7 each */
		rig_submit(&r, CLIENT, i, "hello", 0);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	is_refused_for_now(&r, 2, PIRN__REASON__QUEUE_FULL);
	rig_item(&r, CLIENT, PIRN__KIND__SUBMIT,
		(struct rig_item){ .service = "hello", .data = "123456", .slot = 3 });
	assert_int_equal(rig_figures(&r).waiting, 3);
	rig_item(&r, CLIENT, PIRN__KIND__CANCEL, (struct rig_item){ .slot = 0 });
	rig_submit(&r, CLIENT, 4, "hello", 0);
	assert_int_equal(rig_figures(&r).waiting, 3);
	rig_credit(&r, A, "hello", 4);
	rig_item(&r, CLIENT, PIRN__KIND__SUBMIT,
		(struct rig_item){ .service = "hello",
			.data = "more than twenty bytes, which need not wait",
			.slot = 5 });
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
	rig_free(&r);
}

/* One that asks without end leaves room for the others. */
static void test_one_service_does_not_fill_the_broker(void **state)
{
	struct rig r = new_rig(NULL, 0);
	uint32_t n = 0;

	(void)state;
	rig_worker(&r, B, "other", 1);
	do {
		rig_submit(&r, CLIENT, n, "hello", 0);
	} while (rig_count(&r, PIRN__KIND__REFUSED) == 0 && ++n < 100);
	is_refused_for_now(&r, n, PIRN__REASON__OVERLOADED);
	assert_int_equal(n, 75);
	for (uint32_t i = 0; i < 10; i++)
		rig_submit(&r, CLIENT, 100 + i, "other", 0);
	assert_int_equal(rig_figures(&r).running, 1);
	assert_int_equal(rig_figures(&r).waiting, n + 9);
	rig_free(&r);
}

static void test_one_service_does_not_fill_the_memory(void **state)
{
	static char large[9001];
	struct rig r = new_rig(NULL, 0);
	uint32_t n = 0;

	(void)state;
	memset(large, 'x', sizeof large - 1);
	do {
		rig_item(&r, CLIENT, PIRN__KIND__SUBMIT,
			(struct rig_item){ .service = "hello", .data = large, .slot = n });
	} while (rig_count(&r, PIRN__KIND__REFUSED) == 0 && ++n < 12);
	is_refused_for_now(&r, n, PIRN__REASON__OVERLOADED);
	assert_int_equal(n, 9); /* of 100,000 bytes: 81,000 are more than thrice 19,000 */
	rig_free(&r);
}

/* ---- time ---------------------------------------------------------------------------- */

/* Peers live on, and every millisecond has its tick. */
static void pass(struct rig *r, uint64_t ms)
{
	while (ms-- > 0) {
		if (r->now_ms % 1000 == 0) {
			rig_send(r, CLIENT, PIRN__KIND__BEAT);
			rig_send(r, A, PIRN__KIND__BEAT);
		}
		rig_tick(r, 1);
		if (rig_count(r, PIRN__KIND__REPLY) > 0)
			return; /* for the test to look at */
	}
}

/* So that the mean of its runs is known. */
static void run_once(struct rig *r, uint32_t slot, uint64_t us)
{
	Pirn__Item run;

	brk_core_clock(r->core, r->now_ms * 1000);
	rig_submit(r, CLIENT, slot, "hello", 0);
	run = rig_one(r, PIRN__KIND__DISPATCH)->item;
	brk_core_clock(r->core, r->now_ms * 1000 + us);
	rig_result(r, A, &run, 200, 0);
	brk_core_clock(r->core, 0);
}

static enum brk_call_state state_of(const struct rig *r, uint32_t slot)
{
	const struct brk_call *call =
		brk_call_find(r->core, brk_roster_find(r->core, CLIENT), slot, 0);

	assert_non_null(call);
	return call->state;
}

static void is_given_up(const struct rig *r, size_t nth, uint32_t slot)
{
	const struct brk_action *a = rig_nth(r, PIRN__KIND__REPLY, nth);

	assert_int_equal(a->item.slot, slot);
	assert_int_equal(a->item.reason, PIRN__REASON__OVERLOADED);
	assert_int_equal(a->item.status, 503);
	assert_in_range(a->item.retry_after_ms, 500, 1500);
}

static void test_age(void **state)
{
	Pirn__QueueConf queue = PIRN__QUEUE_CONF__INIT;
	struct rig r;
	Pirn__Item run;

	(void)state;
	queue.has_age_ms = true;
	queue.age_ms = 50;
	r = new_rig(&queue, 1);
	rig_submit(&r, CLIENT, 0, "hello", 0);
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	pass(&r, 10);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	pass(&r, 10);
	rig_result(&r, A, &run, 0, PIRN__REASON__DRAINING);
	pass(&r, 39);
	assert_int_equal(rig_figures(&r).waiting, 2);
	pass(&r, 1);
	is_given_up(&r, 0, 1); /* the newest, too */
	pass(&r, 9);
	assert_int_equal(rig_figures(&r).waiting, 1);
	pass(&r, 1);
	is_given_up(&r, 0, 0); /* and what came back, since it did */
	assert_int_equal(rig_figures(&r).waiting, 0);
	assert_int_equal(overload(&r)->shed, 2);
	rig_free(&r);
}

static void test_newest_first_when_overloaded(void **state)
{
	struct rig r = new_rig(NULL, 2);

	(void)state;
	run_once(&r, 99, 1000);
	rig_submit(&r, CLIENT, 0, "hello", 0);
	for (uint32_t i = 1; i <= 4; i++) {
		rig_submit(&r, CLIENT, i, "hello", 0);
		pass(&r, 24);
	}
	assert_false(overload(&r)->is_on);
	assert_int_equal(rig_figures(&r).waiting, 4);
	pass(&r, 4); /* the hundredth */
	assert_true(overload(&r)->is_on);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 3);
	for (uint32_t i = 0; i < 3; i++)
		is_given_up(&r, i, i + 1);
	pass(&r, 10);
	assert_int_equal(rig_figures(&r).waiting, 1); /* the newest stays */
	rig_submit(&r, CLIENT, 5, "hello", 0);
	pass(&r, 1);
	is_given_up(&r, 0, 4);
	rig_submit(&r, CLIENT, 6, "hello", 0);
	rig_submit(&r, CLIENT, 7, "hello", 0);
	for (uint32_t i = 7; i >= 5; i--) {
		rig_credit(&r, A, "hello", 10 - i);
		assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
		assert_int_equal(state_of(&r, i), BRK_CALL_RUNNING);
	}
	rig_free(&r);
}

/* Not yet overloaded: nobody waits for too long, first come first served. */
static void test_short_waits_are_none(void **state)
{
	struct rig r = new_rig(NULL, 2);

	(void)state;
	run_once(&r, 99, 1000);
	rig_submit(&r, CLIENT, 0, "hello", 0);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	for (uint32_t i = 2; i < 152; i++) {
		pass(&r, 2);
		rig_submit(&r, CLIENT, i, "hello", 0);
		pass(&r, 1);
		rig_credit(&r, A, "hello", i + 1); /* for the one that waits for 4 ms */
		assert_int_equal(state_of(&r, i - 1), BRK_CALL_RUNNING);
		assert_int_equal(rig_figures(&r).waiting, 1);
		if (i >= 90) /* open calls are bounded */
			rig_item(&r, CLIENT, PIRN__KIND__CANCEL,
				(struct rig_item){ .slot = i - 90 });
	}
	assert_false(overload(&r)->is_on);
	assert_int_equal(overload(&r)->shed, 0);
	rig_free(&r);
}

/* As long as none has ended it may be a service of long runs: its timeout is what they may take. */
static void test_unknown_runs_may_be_long(void **state)
{
	struct rig r = new_rig(NULL, 1);

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	pass(&r, 9000);
	assert_int_equal(rig_figures(&r).waiting, 4);
	assert_false(overload(&r)->is_on);
	rig_free(&r);
}

static void test_long_runs_have_longer_limits(void **state)
{
	struct rig r = new_rig(NULL, 2);

	(void)state;
	run_once(&r, 99, 300000);
	r.now_ms += 300;
	for (uint32_t i = 0; i < 4; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	pass(&r, 599);
	assert_int_equal(rig_figures(&r).waiting, 3);
	pass(&r, 1);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 2);
	rig_submit(&r, CLIENT, 5, "hello", 0); /* and now for 300 ms */
	pass(&r, 1);
	is_given_up(&r, 0, 3);
	rig_submit(&r, CLIENT, 6, "hello", 0);
	pass(&r, 298);
	assert_int_equal(rig_figures(&r).waiting, 2);
	pass(&r, 1);
	is_given_up(&r, 0, 5);
	rig_free(&r);
}

static void test_manifest_says_the_limits(void **state)
{
	Pirn__QueueConf queue = PIRN__QUEUE_CONF__INIT;
	struct rig r;

	(void)state;
	queue.has_target_ms = queue.has_interval_ms = true;
	queue.target_ms = 40;
	queue.interval_ms = 200;
	r = new_rig(&queue, 2);
	run_once(&r, 99, 1000);
	for (uint32_t i = 0; i < 3; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	pass(&r, 199);
	assert_int_equal(rig_figures(&r).waiting, 2);
	pass(&r, 1);
	is_given_up(&r, 0, 1);
	rig_submit(&r, CLIENT, 3, "hello", 0);
	pass(&r, 1);
	is_given_up(&r, 0, 2);
	rig_submit(&r, CLIENT, 4, "hello", 0);
	pass(&r, 38);
	assert_int_equal(rig_figures(&r).waiting, 2);
	pass(&r, 1);
	is_given_up(&r, 0, 3);
	rig_free(&r);
}

/* A drain hands back what it does not run: that is not given up, and goes first. */
static void test_what_came_back_is_kept(void **state)
{
	struct rig r = new_rig(NULL, 4);
	Pirn__Item runs[3];

	(void)state;
	run_once(&r, 99, 1000);
	for (uint32_t i = 0; i < 3; i++) {
		rig_submit(&r, CLIENT, i, "hello", 0);
		runs[i] = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	}
	rig_worker(&r, B, "hello", 1);
	rig_credit(&r, B, "hello", 0);
	for (uint32_t i = 3; i < 6; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	pass(&r, 50);
	for (size_t i = 3; i-- > 0;)
		rig_result(&r, A, &runs[i], 0, PIRN__REASON__DRAINING);
	assert_int_equal(rig_figures(&r).waiting, 6);
	pass(&r, 50);
	assert_true(overload(&r)->is_on);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 2); /* 3 and 4 */
	pass(&r, 500);
	assert_int_equal(rig_figures(&r).waiting, 4);
	rig_credit(&r, B, "hello", 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(state_of(&r, i), BRK_CALL_RUNNING);
	rig_free(&r);
}

/* The last worker left: who waits then waits for the next one. */
static void test_no_worker_is_no_overload(void **state)
{
	struct rig r = new_rig(NULL, 2);

	(void)state;
	run_once(&r, 99, 1000);
	for (uint32_t i = 0; i < 5; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	rig_send(&r, A, PIRN__KIND__DRAIN);
	pass(&r, 2000);
	assert_int_equal(rig_figures(&r).waiting, 4);
	rig_worker(&r, B, "hello", 4);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 4);
	rig_free(&r);
}

/* One that has come, and has granted nothing yet, is no worker either; and when it has, nobody has waited for it
 * for too long already: those it has no place for have as long as if they had just come. */
static void test_a_worker_that_has_just_come(void **state)
{
	struct rig r = new_rig(NULL, 2);

	(void)state;
	run_once(&r, 99, 1000);
	for (uint32_t i = 0; i < 7; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	rig_send(&r, A, PIRN__KIND__DRAIN);
	pass(&r, 199); /* an interval, and all but the end of another one */
	rig_worker(&r, B, "hello", 0);
	pass(&r, 2000);
	assert_int_equal(rig_figures(&r).waiting, 6);
	rig_credit(&r, B, "hello", 2);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 2);
	pass(&r, 99);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	assert_false(overload(&r)->is_on);
	rig_free(&r);
}

/* This process stood still: so did its reading of results and credit. */
static void test_a_late_tick_is_no_overload(void **state)
{
	struct rig r = new_rig(NULL, 2);

	(void)state;
	run_once(&r, 99, 1000);
	for (uint32_t i = 0; i < 5; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	rig_tick(&r, 2000);
	assert_int_equal(rig_figures(&r).waiting, 4);
	pass(&r, 99);
	assert_int_equal(rig_figures(&r).waiting, 4);
	pass(&r, 1);
	assert_int_equal(rig_figures(&r).waiting, 1); /* it was none of ours alone */
	rig_free(&r);
}

/* The newest may wait for long; that it has is noticed when another comes, and is not taken for a pause of
 * the broker's. */
static void test_who_was_the_newest_for_long(void **state)
{
	struct rig r = new_rig(NULL, 2);

	(void)state;
	run_once(&r, 99, 1000);
	for (uint32_t i = 0; i < 3; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	pass(&r, 100);
	is_given_up(&r, 0, 1);
	pass(&r, 60); /* 2 has waited for more than target and interval together */
	assert_int_equal(rig_figures(&r).waiting, 1);
	rig_submit(&r, CLIENT, 3, "hello", 0);
	pass(&r, 1);
	assert_true(overload(&r)->is_on);
	is_given_up(&r, 0, 2);
	rig_free(&r);
}

/* Nobody is given up any more: it is over after an interval, even if nothing comes or ends. */
static void test_it_ends(void **state)
{
	struct rig r = new_rig(NULL, 2);

	(void)state;
	run_once(&r, 99, 1000);
	for (uint32_t i = 0; i < 5; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	pass(&r, 100);
	assert_true(overload(&r)->is_on);
	rig_credit(&r, A, "hello", 10);
	assert_int_equal(rig_figures(&r).waiting, 0);
	pass(&r, 100);
	assert_true(overload(&r)->is_on); /* three were given up, one ended */
	pass(&r, 100);
	assert_false(overload(&r)->is_on);
	assert_int_equal(brk_overload_due(r.core), UINT64_MAX);
	rig_free(&r);
}

/* So many come in an interval that one of them is given up; all others are answered. */
static bool goes_on_after(uint32_t n_answered)
{
	struct rig r = new_rig(NULL, 3);
	uint64_t granted = 3;
	bool is_on;

	run_once(&r, 99, 1000);
	rig_submit(&r, CLIENT, 90, "hello", 0); /* it stays */
	rig_submit(&r, CLIENT, 91, "hello", 0);
	rig_submit(&r, CLIENT, 92, "hello", 0);
	rig_submit(&r, CLIENT, 93, "hello", 0);
	pass(&r, 100);
	assert_true(overload(&r)->is_on);
	is_given_up(&r, 0, 92);
	rig_credit(&r, A, "hello", ++granted);
	assert_int_equal(rig_figures(&r).waiting, 0);
	for (uint32_t i = 0; i < n_answered; i++) {
		Pirn__Item run;

		rig_credit(&r, A, "hello", ++granted);
		rig_submit(&r, CLIENT, i, "hello", 0);
		run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
		rig_result(&r, A, &run, 200, 0);
	}
	pass(&r, 100);
	is_on = overload(&r)->is_on;
	rig_free(&r);
	return is_on;
}

static void test_its_balance(void **state)
{
	(void)state;
	assert_true(goes_on_after(0));
	assert_true(goes_on_after(4));
	assert_false(goes_on_after(5));
}

/* Who waits longer than three times what those did who were dispatched has little hope. */
static void test_its_limit_follows_what_is_dispatched(void **state)
{
	struct rig r = new_rig(NULL, 2);

	(void)state;
	run_once(&r, 99, 300000);
	r.now_ms += 300;
	for (uint32_t i = 0; i < 3; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	pass(&r, 600);
	is_given_up(&r, 0, 1);
	rig_item(&r, CLIENT, PIRN__KIND__CANCEL, (struct rig_item){ .slot = 2 });
	rig_submit(&r, CLIENT, 3, "hello", 0);
	rig_submit(&r, CLIENT, 4, "hello", 0);
	pass(&r, 20);
	rig_credit(
		&r, A, "hello", 3); /* the newest, after 20 ms: the only one of this interval */
	assert_int_equal(state_of(&r, 4), BRK_CALL_RUNNING);
	rig_submit(&r, CLIENT, 5, "hello", 0);
	pass(&r, 279);
	assert_int_equal(rig_figures(&r).waiting, 2);
	pass(&r, 1);
	is_given_up(&r, 0, 3); /* after 300 ms */
	pass(&r, 300);         /* the second interval */
	assert_true(overload(&r)->is_on);
	rig_submit(&r, CLIENT, 6, "hello", 0);
	pass(&r, 1);
	is_given_up(&r, 0, 5);
	rig_submit(&r, CLIENT, 7, "hello", 0);
	pass(&r, 58);
	assert_int_equal(rig_figures(&r).waiting, 2);
	pass(&r, 1);
	is_given_up(&r, 0, 6); /* after 60 */
	rig_free(&r);
}

/* More are given up than the list of actions takes: the rest follow with the next tick. */
static void test_many_are_given_up(void **state)
{
	enum { N = 6000 };
	struct brk_conf conf = rig_conf();
	static struct rig_item items[1000];
	struct rig r;
	size_t n = 0;

	(void)state;
	conf.max_calls = 10000;
	conf.max_bytes = 10000000;
	r = rig_new(&conf);
	rig_client(&r, CLIENT);
	announce(&r, A, NULL, 2);
	run_once(&r, 9999, 1000);
	for (uint32_t i = 0; i < N; i++) {
		items[i % 1000] =
			(struct rig_item){ .service = "hello", .slot = i, .left_ms = 60000 };
		if (i % 1000 == 999)
			rig_items(&r, CLIENT, PIRN__KIND__SUBMIT, items, 1000);
	}
	rig_tick(&r, 100);
	n += rig_count(&r, PIRN__KIND__REPLY);
	assert_in_range(n, BRK_VOLUNTARY_ACTIONS - 1, BRK_VOLUNTARY_ACTIONS);
	assert_true(brk_core_due(r.core) <= r.now_ms);
	rig_tick(&r, 0);
	n += rig_count(&r, PIRN__KIND__REPLY);
	assert_int_equal(n, N - 2); /* one runs, and the newest stays */
	rig_free(&r);
}

/* ---- events ------------------------------------------------------------------------------ */

static void refuse_event(struct tiny *t, uint32_t slot, const char *data)
{
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = slot, .data = data });
	is_refused_for_now(t->rig, slot, PIRN__REASON__QUEUE_FULL);
}

static void take_event(struct tiny *t, uint32_t slot, const char *data)
{
	uint64_t before = rig_figures(t->rig).accepted;

	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = slot, .data = data });
	assert_int_equal(rig_count(t->rig, PIRN__KIND__REFUSED), 0);
	tiny_turn(t);
	tiny_tell(t);
	assert_int_equal(rig_figures(t->rig).accepted, before + 1);
}

/* Whatever they do: one of them runs. */
static void test_events_by_number(void **state)
{
	Pirn__QueueConf queue = PIRN__QUEUE_CONF__INIT;
	struct rig r;
	struct tiny *t = tiny_new(&r, NULL);
	Pirn__Item run = PIRN__ITEM__INIT;

	(void)state;
	queue.has_events = true;
	queue.events = 3;
	rig_client(&r, CLIENT);
	announce(&r, A, &queue, 1);
	for (uint32_t i = 1; i <= 3; i++)
		take_event(t, i, "event");
	assert_int_equal(rig_figures(&r).events_running, 1);
	refuse_event(t, 4, "event");
	for (const struct brk_call *call = brk_service_find(r.core, "hello")->links->running; call;
		call = call->next) {
		run.slot = call->slot;
		run.generation = call->generation;
	}
	tiny_result(t, A, &run, (struct rig_item){ .status = 200 });
	refuse_event(t, 5, "event"); /* its end is not in Redis */
	tiny_run(t);
	take_event(t, 6, "event");
	tiny_free(t);
}

static void test_events_by_bytes(void **state)
{
	Pirn__QueueConf queue = PIRN__QUEUE_CONF__INIT;
	struct rig r;
	struct tiny *t = tiny_new(&r, NULL);

	(void)state;
	queue.has_event_bytes = true;
	queue.event_bytes = 10;
	rig_client(&r, CLIENT);
	announce(&r, A, &queue, 0);
	take_event(t, 1, "seven b");
	refuse_event(t, 2, "four");
	take_event(t, 3, "for");
	refuse_event(t, 4, "1");
	tiny_free(t);
}

static void test_events_by_age(void **state)
{
	Pirn__QueueConf queue = PIRN__QUEUE_CONF__INIT;
	struct rig r;
	struct tiny *t = tiny_new(&r, NULL);

	(void)state;
	queue.has_event_age_ms = true;
	queue.event_age_ms = 1500;
	rig_client(&r, CLIENT);
	announce(&r, A, &queue, 0);
	tiny_pass(t, 20); /* Redis's clock is known */
	take_event(t, 1, "event");
	rig_send(&r, A, PIRN__KIND__BEAT);
	tiny_pass(t, 1400);
	take_event(t, 2, "event");
	tiny_pass(t, 200);
	refuse_event(t, 3, "event");
	rig_credit(&r, A, "hello", 1); /* the oldest runs; the next one is younger */
	take_event(t, 4, "event");
	tiny_free(t);
}

/* ---- open loop, in virtual time ---------------------------------------------------- */

#define MAX_CALLS (1u << 20)
#define MAX_SLOTS 64u
#define BATCH     1000u
#define SLOW_RUNS 10u

/* Calls that come by chance, at so many times what the slots can do; they do not wait for one another's
 * answers. Runs take run_us, a fifth more or less. */
struct loop {
	struct rig rig;
	struct base_rand rand;
	uint32_t n_slots;
	uint64_t run_us, step_us, now_us;
	uint64_t granted;
	double load;
	uint32_t n_calls; /* submitted so far: the next one's slot */
	uint64_t *came_us;
	struct {
		uint64_t end_us;
		uint32_t slot, generation; /* of the broker's */
	} runs[MAX_SLOTS];
	uint32_t n_runs;
	struct rig_item items[BATCH];
	/* What became of them, since loop_begin. */
	uint64_t begin_us;
	uint64_t done, refused, longest_wait_us, longest_refusal_us;
	uint64_t waits_us;
	uint64_t slow; /* waited for longer than the slots take for SLOW_RUNS calls */
};

static void loop_begin(struct loop *l)
{
	l->begin_us = l->now_us;
	l->done = l->refused = l->longest_wait_us = l->longest_refusal_us = l->waits_us = l->slow =
		0;
}

static uint64_t more(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The client's number of a call is where its payload says so: a DISPATCH has the broker's own slot only. */
static void see_dispatch(struct loop *l, const struct brk_action *a)
{
	uint32_t call;
	uint64_t wait_us, steps = l->run_us / l->step_us; /* whole ones, a fifth more or less */
	uint64_t run_us =
		l->step_us * (steps - steps / 5 + base_rand_below(&l->rand, 2 * (steps / 5) + 1));

	assert_int_equal(a->payload.data_size, sizeof call);
	memcpy(&call, a->payload.bytes, sizeof call);
	wait_us = l->now_us - l->came_us[call];
	l->longest_wait_us = more(l->longest_wait_us, wait_us);
	l->waits_us += wait_us;
	l->slow += wait_us > SLOW_RUNS * l->run_us / l->n_slots;
	assert_true(l->n_runs < l->n_slots);
	l->runs[l->n_runs].end_us = l->now_us + run_us;
	l->runs[l->n_runs].slot = a->item.slot;
	l->runs[l->n_runs++].generation = a->item.generation;
}

static void see(struct loop *l, const struct brk_actions *out)
{
	l->rig.out = out;
	for (size_t i = 0; i < out->n; i++) {
		const struct brk_action *a = &out->list[i];

		if (a->kind != BRK_SEND_ITEM)
			continue;
		if (a->message == PIRN__KIND__DISPATCH)
			see_dispatch(l, a);
		if (a->message != PIRN__KIND__REPLY && a->message != PIRN__KIND__REFUSED)
			continue;
		if (a->item.reason == PIRN__REASON__NONE) {
			l->done++;
			continue;
		}
		assert_int_equal(a->item.reason, PIRN__REASON__OVERLOADED);
		assert_in_range(a->item.retry_after_ms, 500, 1500);
		l->refused++;
		l->longest_refusal_us =
			more(l->longest_refusal_us, l->now_us - l->came_us[a->item.slot]);
	}
}

static void feed(struct loop *l, uint32_t peer, uint32_t kind, size_t n, Pirn__Credit *credit)
{
	static Pirn__Item pb[BATCH];
	static Pirn__Item *list[BATCH];
	static uint8_t body[BATCH * sizeof(uint32_t)];
	Pirn__Head head = PIRN__HEAD__INIT;
	struct brk_message m = { .peer = peer, .head = &head, .body = body };

	for (size_t i = 0; i < n; i++) {
		const struct rig_item *item = &l->items[i];
		pirn__item__init(&pb[i]);
		list[i] = &pb[i];
		pb[i].service = (char *)(uintptr_t)item->service;
		pb[i].slot = item->slot;
		pb[i].generation = item->generation;
		pb[i].status = item->status;
		pb[i].has_left_ms = item->left_ms > 0;
		pb[i].left_ms = item->left_ms;
		if (kind != PIRN__KIND__SUBMIT)
			continue;
		memcpy(body + m.body_size, &item->slot, sizeof item->slot);
		pb[i].data_size = sizeof item->slot;
		m.body_size += sizeof item->slot;
	}
	head.kind = kind;
	head.items = list;
	head.n_items = n;
	head.credits = &credit;
	head.n_credits = credit ? 1 : 0;
	see(l, brk_core_message(l->rig.core, l->rig.now_ms, &m));
}

/* As many as come in a step, by chance: the sum of many rare ones. */
static size_t arrivals(struct loop *l)
{
	double mean = l->load * (double)l->n_slots * (double)l->step_us / (double)l->run_us;
	size_t n = (size_t)mean;

	/* A hundred tries with a hundredth of the mean's rest each; the whole part comes for sure. */
	for (int i = 0; i < 100; i++)
		n += (double)(base_rand_next(&l->rand) >> 11) / 9007199254740992.0 <
		     (mean - (double)(size_t)mean) / 100;
	return n;
}

static void submit_some(struct loop *l)
{
	size_t n = arrivals(l);

	assert_true(n <= BATCH && l->n_calls + n < MAX_CALLS);
	for (size_t i = 0; i < n; i++, l->n_calls++) {
		l->items[i] = (struct rig_item){
			.service = "hello", .slot = l->n_calls, .left_ms = 3600000
		};
		l->came_us[l->n_calls] = l->now_us;
	}
	if (n > 0)
		feed(l, CLIENT, PIRN__KIND__SUBMIT, n, NULL);
}

static void end_some(struct loop *l)
{
	Pirn__Credit credit = PIRN__CREDIT__INIT;
	size_t n = 0;

	for (uint32_t i = 0; i < l->n_runs;) {
		if (l->runs[i].end_us > l->now_us) {
			i++;
			continue;
		}
		l->items[n++] = (struct rig_item){
			.slot = l->runs[i].slot, .generation = l->runs[i].generation, .status = 200
		};
		l->runs[i] = l->runs[--l->n_runs];
	}
	if (n == 0)
		return;
	l->granted += n;
	credit.service = (char *)(uintptr_t) "hello";
	credit.has_granted = true;
	credit.granted = l->granted;
	feed(l, A, PIRN__KIND__RESULT, n, &credit);
}

static void loop_step(struct loop *l)
{
	l->now_us += l->step_us;
	l->rig.now_ms = l->now_us / 1000;
	brk_core_clock(l->rig.core, l->now_us);
	end_some(l);
	submit_some(l);
	if (brk_core_due(l->rig.core) <= l->rig.now_ms)
		see(l, brk_core_tick(l->rig.core, l->rig.now_ms, RIG_UNIX_MS + l->rig.now_ms));
}

static void loop_run(struct loop *l, double load, uint64_t us)
{
	uint64_t end = l->now_us + us;

	l->load = load;
	loop_begin(l);
	while (l->now_us < end)
		loop_step(l);
	brk_core_check(l->rig.core);
}

static struct loop *loop_new(uint64_t run_us, uint32_t n_slots)
{
	struct loop *l = calloc(1, sizeof *l);
	struct brk_conf conf = rig_conf();
	Pirn__Manifest m = rig_manifest("hello");

	assert_non_null(l);
	conf.max_calls = 100000;
	conf.max_bytes = 100000000;
	conf.missed_beats = 1000000;
	l->rig = rig_new(&conf);
	l->came_us = calloc(MAX_CALLS, sizeof *l->came_us);
	assert_non_null(l->came_us);
	base_rand_init(&l->rand, run_us + n_slots);
	l->now_us = l->rig.now_ms * 1000;
	l->run_us = run_us;
	l->step_us = run_us / 10 > 1000 ? 1000 : run_us / 10;
	l->n_slots = n_slots;
	rig_client(&l->rig, CLIENT);
	m.has_concurrency = true;
	m.concurrency = n_slots;
	rig_hello(&l->rig, A, A, PIRN__ROLE__WORKER, &m, 1);
	rig_credit(&l->rig, A, "hello", l->granted = n_slots);
	return l;
}

static void loop_free(struct loop *l)
{
	rig_free(&l->rig);
	free(l->came_us);
	free(l);
}

static double goodput(const struct loop *l)
{
	return (double)l->done * (double)l->run_us /
	       ((double)(l->now_us - l->begin_us) * l->n_slots);
}

static bool is_on(const struct loop *l)
{
	return overload(&l->rig)->is_on;
}

static void print(const struct loop *l)
{
	print_message(
		"%6.1f ms x %2u, load %.1f: goodput %.3f, refused %.3f, waits to %.1f ms (mean "
		"%.1f), refusals to %.1f ms%s\n",
		(double)l->run_us / 1e3, l->n_slots, l->load, goodput(l),
		(double)l->refused / (double)(l->refused + l->done + 1),
		(double)l->longest_wait_us / 1e3, (double)l->waits_us / 1e3 / (double)(l->done + 1),
		(double)l->longest_refusal_us / 1e3, is_on(l) ? ", overloaded" : "");
}

/* Three times what can be done: what can be done is done, in good time, and the others hear it soon. When
 * the load is gone it is over. */
static void play(uint64_t run_us, uint32_t n_slots, uint32_t n_intervals)
{
	struct loop *l = loop_new(run_us, n_slots);
	uint64_t target_us = more(run_us * 6 / 5, 5000), interval_us = more(2 * target_us, 100000);
	uint64_t patience_us = run_us * BRK_OVERLOAD_CHANCE / n_slots;

	loop_run(l, 0.5, interval_us);
	assert_int_equal(l->refused, 0);
	loop_run(l, 3, 2 * interval_us + 2 * patience_us);
	assert_true(is_on(l));
	loop_run(l, 3, n_intervals * interval_us);
	print(l);
	assert_true(is_on(l));
	assert_true(goodput(l) >= 0.9);
	assert_true(l->refused > l->done);
	if (n_slots > 1) /* the one slot's overload may end by chance, and begin anew */
		assert_in_range(l->longest_wait_us, 0, target_us + run_us);
	assert_true(l->waits_us <= l->done * target_us);
	if (n_slots > 1)
		assert_in_range(l->longest_refusal_us, 0, target_us + 2000);
	loop_run(l, 0.5, 3 * interval_us);
	for (int i = 0; i < 10 && is_on(l) && n_slots == 1; i++)
		loop_run(l, 0.5, interval_us);
	assert_false(is_on(l));
	loop_run(l, 0.5, n_intervals * interval_us);
	print(l);
	if (n_slots > 1)
		assert_int_equal(l->refused, 0);
	assert_in_range((int)(100 * goodput(l)), 40, 60);
	loop_free(l);
}

static void test_overload(void **state)
{
	(void)state;
	play(200, 1, 10);
	play(200, 8, 5);
	play(200, 64, 1);
	play(5000, 1, 50);
	play(5000, 8, 20);
	play(5000, 64, 10);
	play(50000, 1, 50);
	play(50000, 8, 20);
	play(50000, 64, 10);
	play(1000000, 1, 20);
	play(1000000, 8, 10);
	play(1000000, 64, 10);
}

/* Few places, and nearly as much as they can do: then many wait, by chance, and are served. */
static void test_few_places_are_no_overload(void **state)
{
	static const uint32_t n_slots[] = { 1, 2, 4, 8 };

	(void)state;
	for (size_t i = 0; i < sizeof n_slots / sizeof n_slots[0]; i++) {
		struct loop *l = loop_new(20000, n_slots[i]);

		loop_run(l, 0.8, 100 * 1000 * 1000);
		print(l);
		assert_true(l->done > 3500 * (uint64_t)n_slots[i]);
		assert_int_equal(l->refused, 0);
		assert_true(l->longest_wait_us > 20000);
		loop_free(l);
	}
}

/* As the load grows to three times what they can do, not many wait for long before that is seen. */
static void test_few_places_are_overloaded_soon(void **state)
{
	static const uint32_t n_slots[] = { 1, 2, 4 };

	(void)state;
	for (size_t i = 0; i < sizeof n_slots / sizeof n_slots[0]; i++) {
		struct loop *l = loop_new(20000, n_slots[i]);

		loop_run(l, 0.6, 10 * 1000 * 1000);
		loop_run(l, 3, 30 * 1000 * 1000);
		print(l);
		assert_true(goodput(l) >= 0.95);
		assert_true(l->slow * 100 <= l->done);
		loop_free(l);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_one_service_does_not_fill_the_broker),
		cmocka_unit_test(test_one_service_does_not_fill_the_memory),
		cmocka_unit_test(test_age),
		cmocka_unit_test(test_newest_first_when_overloaded),
		cmocka_unit_test(test_short_waits_are_none),
		cmocka_unit_test(test_unknown_runs_may_be_long),
		cmocka_unit_test(test_long_runs_have_longer_limits),
		cmocka_unit_test(test_manifest_says_the_limits),
		cmocka_unit_test(test_what_came_back_is_kept),
		cmocka_unit_test(test_no_worker_is_no_overload),
		cmocka_unit_test(test_a_worker_that_has_just_come),
		cmocka_unit_test(test_a_late_tick_is_no_overload),
		cmocka_unit_test(test_who_was_the_newest_for_long),
		cmocka_unit_test(test_it_ends),
		cmocka_unit_test(test_its_balance),
		cmocka_unit_test(test_its_limit_follows_what_is_dispatched),
		cmocka_unit_test(test_many_are_given_up),
		cmocka_unit_test(test_events_by_number),
		cmocka_unit_test(test_events_by_bytes),
		cmocka_unit_test(test_events_by_age),
		cmocka_unit_test(test_overload),
		cmocka_unit_test(test_few_places_are_no_overload),
		cmocka_unit_test(test_few_places_are_overloaded_soon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
