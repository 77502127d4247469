/* The core's durable events: from SUBMIT by way of Redis to an end. */
#include "tests/unit/core_events.h"
#include "tests/unit/count_alloc.h"

enum { CLIENT = 1, OTHER = 2, A = 5, B = 6 };

static struct tiny *new_tiny(struct rig *r, uint64_t granted)
{
	struct tiny *t = tiny_new(r, NULL);

	rig_client(r, CLIENT);
	rig_worker(r, A, "hello", granted);
	return t;
}

/* The next DISPATCH among what the core says while everything is answered, and time passes. */
static Pirn__Item run_next(struct tiny *t)
{
	for (;;) {
		const struct brk_action *a = rig_nth(t->rig, PIRN__KIND__DISPATCH, 0);

		if (a)
			return a->item;
		tiny_step(t);
	}
}

static Pirn__Item submit_and_run(struct tiny *t, uint32_t slot, uint32_t flags)
{
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = slot, .flags = flags });
	return run_next(t);
}

/* ---- the way through ---------------------------------------------------------- */

static void test_an_event(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 10);
	const struct brk_action *a;
	struct brk_figures f;
	Pirn__Item run;

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 42, .data = "payload" });
	assert_int_equal(r.out->n, 0);
	tiny_turn(t);
	assert_int_equal(rig_count(&r, PIRN__KIND__ACCEPTED), 0);
	tiny_tell(t);
	a = rig_one(&r, PIRN__KIND__ACCEPTED);
	assert_int_equal(a->peer, CLIENT);
	assert_int_equal(a->item.slot, 42);
	assert_int_equal(a->item.id.data[2], 42);
	a = rig_one(&r, PIRN__KIND__DISPATCH);
	run = a->item;
	assert_int_equal(run.attempt, 1);
	assert_int_equal(run.attempts, 10);
	assert_int_equal(run.epoch, 1);
	assert_int_equal(run.flags, PIRN__ITEM_FLAG__EVENT | PIRN__ITEM_FLAG__RECORD);
	assert_int_equal(run.left_ms, 30000);
	assert_int_equal(run.lease_end_ms, tiny_ms(t) + 31000);
	assert_true(run.keep_until_ms > run.lease_end_ms);
	assert_memory_equal(a->payload.bytes, "payload", 7);
	tiny_result(t, A, &run, (struct rig_item){ .status = 200, .data = "response" });
	assert_int_equal(rig_figures(&r).events_done, 0);
	assert_int_equal(rig_figures(&r).events_ending, 1);
	tiny_run(t);
	f = rig_figures(&r);
	assert_int_equal(f.accepted, 1);
	assert_int_equal(f.events_done, 1);
	assert_int_equal(f.settled, 1);
	assert_int_equal(f.events_ready + f.events_running + f.events_ending + f.events_bytes, 0);
	assert_int_equal(f.entries, 0);
	assert_int_equal(t->ends, 1);
	assert_true(t->last_end.no_records);
	assert_int_equal(tiny_living(t, 1), 0);
	tiny_free(t);
}

static void test_a_turn_is_one_entry(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 5);

	(void)state;
	for (uint32_t i = 1; i <= 20; i++)
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = i });
	tiny_run(t);
	assert_int_equal(t->n_asks[BRK_ASK_STORE], 1);
	assert_int_equal(t->entries[0].n, 20);
	assert_int_equal(rig_figures(&r).entries, 1);
	assert_int_equal(rig_figures(&r).events_running, 5);
	assert_int_equal(rig_figures(&r).events_ready, 15);
	assert_int_equal(rig_figures(&r).events_bytes, 100);
	tiny_free(t);
}

static void test_under_load_commits_grow(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	for (uint32_t i = 1; i <= 40; i++) {
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = i });
		tiny_turn(t);
	}
	assert_int_equal(t->n_asks[BRK_ASK_STORE], 1);
	tiny_run(t);
	assert_int_equal(t->n_asks[BRK_ASK_STORE], 2);
	assert_int_equal(t->entries[1].n, 39);
	assert_int_equal(rig_figures(&r).accepted, 40);
	tiny_free(t);
}

static void test_a_full_commit_does_not_wait(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_turn(t);
	for (uint32_t i = 2; i <= STORE_ENTRY_DELIVERIES + 6; i++)
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = i });
	tiny_turn(t);
	assert_int_equal(t->n_asks[BRK_ASK_STORE], 2);
	assert_false(brk_core_pending(r.core));
	tiny_run(t);
	assert_int_equal(t->n_asks[BRK_ASK_STORE], 3);
	assert_int_equal(t->entries[1].n, STORE_ENTRY_DELIVERIES);
	assert_int_equal(t->entries[2].n, 5);
	tiny_free(t);
}

static void test_a_settle_waits_for_a_store(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 5);
	Pirn__Item run;

	(void)state;
	r.core->conf.settle_ms = 20;
	for (uint32_t i = 1; i <= 2; i++) {
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = i });
		tiny_turn(t);
		assert_int_equal(
			t->n_asks[BRK_ASK_SETTLE], i - 1); /* the first goes with the second */
		tiny_tell(t);
		run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
		tiny_result(t, A, &run, (struct rig_item){ .status = 200 });
		assert_false(brk_core_pending(r.core));
		assert_in_range(brk_core_due(r.core), r.now_ms + 1, r.now_ms + 20);
		if (i == 1)
			continue;
		tiny_tell(t); /* the first has ended */
		tiny_tick(t, 20);
		tiny_turn(t);
		assert_int_equal(t->n_asks[BRK_ASK_SETTLE], 2);
	}
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_done, 2);
	tiny_free(t);
}

/* Stores it, and runs it to that answer; all in the same millisecond. */
static void run_through(struct rig *r, struct tiny *t, uint32_t slot, uint32_t status)
{
	Pirn__Item run;

	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = slot });
	tiny_turn(t);
	tiny_tell(t);
	run = rig_one(r, PIRN__KIND__DISPATCH)->item;
	tiny_result(t, A, &run, (struct rig_item){ .status = status });
}

static struct tiny *new_patient(struct rig *r, uint64_t credit)
{
	struct tiny *t = new_tiny(r, credit);

	r->core->conf.settle_ms = 20;
	r->core->conf.ends_ms = 50;
	return t;
}

static void test_few_ends_let_stores_go_first(void **state)
{
	struct rig r;
	struct tiny *t = new_patient(&r, 20);

	(void)state;
	for (uint32_t i = 1; i <= 5; i++) {
		run_through(&r, t, i, 200);
		tiny_tick(t, 10); /* stores come all the time: it does not go by itself either */
		assert_false(brk_core_pending(r.core));
	}
	assert_int_equal(t->n_asks[BRK_ASK_SETTLE], 0);
	run_through(&r, t, 6, 200); /* the first is old enough */
	assert_int_equal(t->n_asks[BRK_ASK_SETTLE], 1);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_done, 5);
	tiny_tick(t, 19);
	assert_false(brk_core_pending(r.core));
	assert_in_range(brk_core_due(r.core), r.now_ms, r.now_ms + 1);
	tiny_tick(t, 1); /* no store for 20 ms */
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_done, 6);
	tiny_free(t);
}

static void test_many_ends_go_with_a_store(void **state)
{
	struct rig r;
	struct tiny *t = new_patient(&r, 200);
	uint32_t n = 0;

	(void)state;
	while (t->n_asks[BRK_ASK_SETTLE] == 0)
		run_through(&r, t, ++n, 200);
	assert_in_range(n, 10, 100);
	tiny_free(t);
}

static void test_a_retry_takes_ends_with_it(void **state)
{
	struct rig r;
	struct tiny *t = new_patient(&r, 20);

	(void)state;
	run_through(&r, t, 1, 200);
	run_through(&r, t, 2, 503);
	assert_int_equal(t->n_asks[BRK_ASK_SETTLE], 0);
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 3 });
	tiny_turn(t);
	assert_int_equal(t->n_asks[BRK_ASK_SETTLE], 1);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_done, 1);
	assert_int_equal(rig_figures(&r).events_waiting, 1);
	tiny_free(t);
}

static void test_a_drain_waits_for_no_store(void **state)
{
	struct rig r;
	struct tiny *t = new_patient(&r, 20);

	(void)state;
	run_through(&r, t, 1, 200);
	rig_look(&r, brk_core_drain(r.core, r.now_ms));
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_done, 1);
	tiny_free(t);
}

static void test_refusals(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1, .service = "nobody" });
	rig_is_refused(&r, 1, PIRN__REASON__UNKNOWN_SERVICE);
	tiny_submit(
		t, CLIENT, (struct tiny_event){ .slot = 2, .key = "", .hash = "0123456789abcdef" });
	rig_is_refused(&r, 2, PIRN__REASON__MALFORMED);
	rig_submit(&r, CLIENT, 3, "hello", PIRN__ITEM_FLAG__EVENT); /* no id, no lane */
	rig_is_refused(&r, 3, PIRN__REASON__MALFORMED);
	rig_look(&r, brk_core_durable(r.core, r.now_ms, false, NULL, 0));
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 4 });
	rig_is_refused(&r, 4, PIRN__REASON__NOT_DURABLE);
	assert_int_equal(rig_one(&r, PIRN__KIND__REFUSED)->item.retry_after_ms, 1000);
	rig_look(&r, brk_core_durable(r.core, r.now_ms, true, NULL, 0));
	tiny_connect(t, false);
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 5 });
	rig_is_refused(&r, 5, PIRN__REASON__NOT_DURABLE);
	tiny_connect(t, true);
	tiny_run(t);
	rig_look(&r, brk_core_drain(r.core, r.now_ms));
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 6 });
	rig_is_refused(&r, 6, PIRN__REASON__DRAINING);
	assert_int_equal(rig_figures(&r).events_refused, 6);
	tiny_free(t);
}

static void test_bounds(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct rig r;
	struct tiny *t;

	(void)state;
	conf.max_events = 3;
	conf.max_event_bytes = 12;
	t = tiny_new(&r, &conf);
	rig_client(&r, CLIENT);
	rig_worker(&r, A, "hello", 0);
	for (uint32_t i = 1; i <= 2; i++)
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = i });
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 3 });
	rig_is_refused(&r, 3, PIRN__REASON__OVERLOADED);
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 4, .data = "ab" });
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 5, .data = "" });
	rig_is_refused(&r, 5, PIRN__REASON__QUEUE_FULL);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).accepted, 3);
	tiny_free(t);
}

static void test_a_number_counts_once(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1, .number = 9 });
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 2, .number = 9 });
	tiny_turn(t);
	tiny_tell(t);
	assert_int_equal(rig_count(&r, PIRN__KIND__ACCEPTED), 2);
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 3, .number = 9 });
	tiny_turn(t);
	tiny_tell(t);
	assert_int_equal(rig_one(&r, PIRN__KIND__ACCEPTED)->item.slot, 3);
	assert_int_equal(rig_figures(&r).accepted, 1);
	assert_int_equal(rig_figures(&r).duplicates, 2);
	assert_int_equal(rig_figures(&r).events_ready, 1);
	tiny_free(t);
}

static void test_keys(void **state)
{
	static const char hash[] = "hashhashhashhash", other[] = "otherotherother!";
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);
	const struct brk_action *a;

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1, .key = "k", .hash = hash });
	tiny_run(t);
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 2, .key = "k", .hash = hash });
	tiny_turn(t);
	tiny_tell(t);
	a = rig_one(&r, PIRN__KIND__ACCEPTED);
	assert_int_equal(a->item.id.data[2], 1);
	assert_int_equal(a->item.flags, PIRN__ITEM_FLAG__REPLAYED);
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 3, .key = "k", .hash = other });
	tiny_turn(t);
	tiny_tell(t);
	rig_is_refused(&r, 3, PIRN__REASON__KEY_BODY);
	assert_int_equal(rig_figures(&r).events_ready, 1);
	tiny_free(t);
}

static void test_ack_memory(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);

	(void)state;
	tiny_submit(
		t, CLIENT, (struct tiny_event){ .slot = 1, .flags = PIRN__ITEM_FLAG__ACK_MEMORY });
	assert_int_equal(rig_one(&r, PIRN__KIND__ACCEPTED)->item.slot, 1);
	tiny_turn(t);
	tiny_tell(t);
	assert_int_equal(rig_count(&r, PIRN__KIND__ACCEPTED), 0);
	rig_one(&r, PIRN__KIND__DISPATCH);
	tiny_free(t);
}

static void test_redis_refuses(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);

	(void)state;
	t->next = STORE_OOM;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_submit(
		t, CLIENT, (struct tiny_event){ .slot = 2, .flags = PIRN__ITEM_FLAG__ACK_MEMORY });
	tiny_turn(t);
	tiny_tell(t);
	rig_is_refused(&r, 1, PIRN__REASON__NOT_DURABLE);
	assert_false(brk_core_pending(r.core)); /* not at once */
	tiny_pass(t, 1000);
	assert_int_equal(rig_figures(&r).accepted, 1);
	tiny_free(t);
}

static void test_who_waits_too_long(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1, .left_ms = 400 });
	tiny_turn(t);
	tiny_tick(t, 400);
	rig_is_refused(&r, 1, PIRN__REASON__UNDECIDED);
	tiny_run(t); /* it may be stored still */
	assert_int_equal(rig_figures(&r).accepted, 1);
	tiny_connect(t, false);
	tiny_connect(t, true); /* and is not answered */
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 2, .left_ms = 300 });
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 3, .left_ms = 5000 });
	tiny_tick(t, 300);
	rig_is_refused(&r, 2, PIRN__REASON__NOT_DURABLE);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).accepted, 2);
	tiny_free(t);
}

/* ---- what follows a run --------------------------------------------------------- */

static void test_a_retry_waits_for_its_settle(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 10);
	Pirn__Item run = submit_and_run(t, 1, 0);

	(void)state;
	tiny_result(t, A, &run, (struct rig_item){ .status = 503 });
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	tiny_pass(t, 3000);
	assert_int_equal(rig_figures(&r).moved, 1);
	assert_int_equal(rig_figures(&r).events_retried, 1);
	assert_int_equal(rig_figures(&r).events_running, 1);
	assert_int_equal(t->moved, 1);
	assert_true(t->entries[0].gone);
	tiny_free(t);
}

static void test_an_end_by_its_status(void **state)
{
	static const struct {
		uint32_t status, reason;
		int done, dead, retried;
	} rows[] = {
		{ 200, 0, 1, 0, 0 },
		{ 302, 0, 1, 0, 0 },
		{ 404, 0, 0, 1, 0 },
		{ 408, 0, 0, 0, 1 },
		{ 425, 0, 0, 0, 1 },
		{ 429, 0, 0, 0, 1 },
		{ 500, 0, 0, 0, 1 },
		{ 0, PIRN__REASON__DEADLINE, 0, 0, 1 },
		{ 0, PIRN__REASON__LEASE, 0, 0, 1 },
		{ 77, 0, 0, 0, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct rig r;
		struct tiny *t = new_tiny(&r, 10);
		Pirn__Item run = submit_and_run(t, 1, 0);
		struct brk_figures f;

		tiny_result(t, A, &run,
			(struct rig_item){ .status = rows[i].status, .reason = rows[i].reason });
		tiny_run(t);
		f = rig_figures(&r);
		assert_int_equal(f.events_done, rows[i].done);
		assert_int_equal(f.events_dead, rows[i].dead);
		assert_int_equal(f.events_retried, rows[i].retried);
		tiny_free(t);
	}
}

/* Runs it until it is dead; gives its letter. */
static Pirn__JournalEntry *kill(struct tiny *t, uint32_t status)
{
	while (t->dead == 0) {
		const struct brk_action *a = rig_nth(t->rig, PIRN__KIND__DISPATCH, 0);

		if (a) {
			Pirn__Item run = a->item;
			tiny_result(t, A, &run, (struct rig_item){ .status = status });
		} else {
			tiny_step(t);
		}
	}
	tiny_run(t);
	return pirn__journal_entry__unpack(NULL, t->letter_size, t->letter);
}

static void test_a_budget_ends(void **state)
{
	struct rig r;
	struct tiny *t = tiny_new(&r, NULL);
	Pirn__Manifest m = rig_manifest("hello");
	Pirn__Retry retry = PIRN__RETRY__INIT;
	Pirn__JournalEntry *letter;
	Pirn__JournalDelivery *d;

	(void)state;
	retry.has_attempts = true;
	retry.attempts = 3;
	m.retry = &retry;
	rig_client(&r, CLIENT);
	rig_hello(&r, A, A, PIRN__ROLE__WORKER, &m, 1);
	rig_credit(&r, A, "hello", 10);
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1 });
	letter = kill(t, 500);
	assert_int_equal(letter->n_events, 1);
	d = letter->events[0]->deliveries[0];
	assert_int_equal(d->attempt, 4);
	assert_int_equal(d->budget, 4);
	assert_int_equal(d->end, PIRN__JOURNAL_END__END_DEAD);
	assert_int_equal(d->reason, PIRN__REASON__EXHAUSTED);
	assert_int_equal(d->not_after_ms, 0);
	assert_int_equal(d->n_history, 3);
	assert_int_equal(d->history[2]->attempt, 3);
	assert_int_equal(d->history[2]->status, 500);
	assert_string_equal(d->history[2]->worker, "peer-5");
	assert_int_equal(rig_figures(&r).events_dead, 1);
	assert_int_equal(rig_figures(&r).events_bytes, 0);
	pirn__journal_entry__free_unpacked(letter, NULL);
	tiny_free(t);
}

static void test_poison(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1 });
	for (uint32_t deaths = 0; deaths < 5; deaths++) {
		uint32_t worker = B + deaths;
		Pirn__Item run;

		rig_worker(&r, worker, "hello", 0);
		tiny_take(t);
		rig_credit(&r, worker, "hello", 1);
		run = run_next(t);
		assert_int_equal(run.attempt, deaths + 1);
		assert_int_equal((run.flags & PIRN__ITEM_FLAG__ALONE) != 0, deaths >= 2);
		assert_int_equal(t->dead, 0);
		rig_look(&r, brk_core_gone(r.core, r.now_ms, worker));
		tiny_take(t);
	}
	tiny_run(t);
	assert_int_equal(t->dead, 1);
	assert_int_equal(rig_figures(&r).events_redelivered, 5);
	tiny_free(t);
}

/* A worker that says BYE has not died of what it leaves. */
static void test_a_bye_is_no_death(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);

	(void)state;
	submit_and_run(t, 1, 0);
	rig_send(&r, A, PIRN__KIND__BYE);
	tiny_take(t);
	for (uint32_t worker = B; worker < B + 3; worker++) {
		rig_worker(&r, worker, "hello", 0);
		rig_credit(&r, worker, "hello", 1);
		assert_int_equal(run_next(t).flags & PIRN__ITEM_FLAG__ALONE, 0);
		rig_send(&r, worker, PIRN__KIND__BYE);
		tiny_take(t);
	}
	tiny_free(t);
}

static void test_an_unrun_event_comes_back_free_of_charge(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 10);
	Pirn__Item run = submit_and_run(t, 1, 0);
	const struct brk_action *a;

	(void)state;
	rig_worker(&r, B, "hello", 10);
	tiny_result(t, A, &run, (struct rig_item){ .reason = PIRN__REASON__DRAINING });
	a = rig_one(&r, PIRN__KIND__DISPATCH);
	assert_int_equal(a->peer, B);
	assert_int_equal(a->item.attempt, 1);
	assert_int_equal(t->n_asks[BRK_ASK_SETTLE], 0);
	tiny_free(t);
}

/* As from a worker in which another run is alone: it goes on working. */
static void test_an_event_that_could_not_start_goes_anywhere(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 10);
	Pirn__Item run = submit_and_run(t, 1, 0);
	const struct brk_action *a;

	(void)state;
	tiny_result(t, A, &run, (struct rig_item){ .reason = PIRN__REASON__NO_WORKER });
	a = rig_one(&r, PIRN__KIND__DISPATCH);
	assert_int_equal(a->peer, A);
	assert_int_equal(a->item.attempt, 1);
	assert_int_equal(t->n_asks[BRK_ASK_SETTLE], 0);
	tiny_free(t);
}

static void test_a_delay(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 10);

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1, .delay_ms = 5000 });
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_waiting, 1);
	tiny_pass(t, 4500);
	assert_int_equal(rig_figures(&r).events_waiting, 1);
	tiny_pass(t, 1000);
	assert_int_equal(rig_figures(&r).events_running, 1);
	tiny_free(t);
}

static void test_too_old(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(t);
	r.now_ms += 6 * 3600 * 1000;
	tiny_tick(t, 0);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_expired, 1);
	assert_true(t->last_end.no_records);
	assert_int_equal(tiny_living(t, 1), 0);
	tiny_free(t);
}

static void test_cancel(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);
	Pirn__Item run = submit_and_run(t, 1, 0);
	struct brk_delivery *d;
	uint8_t id[16] = { 1, 0, 1 };

	(void)state;
	d = brk_delivery_first(r.core, id);
	assert_non_null(d);
	assert_true(brk_event_cancel(r.core, d));
	assert_false(brk_event_cancel(r.core, d));
	assert_int_equal(rig_one(&r, PIRN__KIND__CANCEL)->peer, A);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_cancelled, 1);
	assert_false(t->last_end.no_records);
	assert_false(t->last_end.only_run);
	assert_true(t->last_end.fence_ms >= run.lease_end_ms);
	tiny_result(t, A, &run, (struct rig_item){ .status = 200 });
	assert_int_equal(rig_figures(&r).stale, 1);
	tiny_free(t);
}

static void test_records(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 10);
	Pirn__Item run = submit_and_run(t, 1, PIRN__ITEM_FLAG__WANT_RESULT);

	(void)state;
	tiny_result(t, A, &run,
		(struct rig_item){
			.status = 200, .flags = PIRN__ITEM_FLAG__RECORDED, .data = "x" });
	tiny_run(t);
	assert_true(t->last_end.only_run);
	assert_int_equal(t->results, 1);
	run = submit_and_run(t, 2, 0);
	tiny_result(
		t, A, &run, (struct rig_item){ .status = 500, .flags = PIRN__ITEM_FLAG__RECORDED });
	run = run_next(t);
	assert_int_equal(run.attempt, 2);
	tiny_result(t, A, &run, (struct rig_item){ .status = 200 });
	tiny_run(t);
	assert_false(t->last_end.no_records || t->last_end.only_run);
	assert_int_equal(t->last_end.attempt, 2);
	assert_int_equal(t->last_end.fence_ms, run.lease_end_ms);
	tiny_free(t);
}

/* ---- dispatch ------------------------------------------------------------------- */

static void test_no_run_on_an_old_beat(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(t);
	for (int i = 0; i < 8; i++)
		tiny_tick(t, 500); /* beats are asked, and not answered */
	rig_credit(&r, A, "hello", 1);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	tiny_run(t); /* late: asked four seconds ago */
	assert_int_equal(rig_figures(&r).events_running, 0);
	tiny_pass(t, 1000);
	assert_int_equal(rig_figures(&r).events_running, 1);
	tiny_free(t);
}

static void test_one_in_eight_is_an_event(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);
	unsigned events = 0, calls = 0;

	(void)state;
	for (uint32_t i = 1; i <= 40; i++) {
		rig_submit(&r, CLIENT, 1000 + i, "hello", 0);
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = i });
	}
	tiny_run(t);
	rig_credit(&r, A, "hello", 16);
	for (size_t i = 0; i < 16; i++) {
		bool event =
			rig_nth(&r, PIRN__KIND__DISPATCH, i)->item.flags & PIRN__ITEM_FLAG__EVENT;

		events += event;
		calls += !event;
	}
	assert_int_equal(events, 2);
	assert_int_equal(calls, 14);
	tiny_free(t);
}

static Pirn__Item call_with_id(struct tiny *t, uint32_t slot, uint32_t flags)
{
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t id[16] = { 9 };

	item.service = (char *)(uintptr_t) "hello";
	item.has_slot = item.has_generation = item.has_id = item.has_left_ms = true;
	item.slot = slot;
	item.flags = flags;
	item.left_ms = 5000;
	item.id = (ProtobufCBinaryData){ sizeof id, id };
	head.kind = PIRN__KIND__SUBMIT;
	head.items = &list;
	head.n_items = 1;
	rig_head(t->rig, CLIENT, &head, NULL, 0);
	return rig_one(t->rig, PIRN__KIND__DISPATCH)->item;
}

static void test_calls_that_may_run_again_record(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 10);
	Pirn__Item run = call_with_id(t, 1, PIRN__ITEM_FLAG__IDEMPOTENT);

	(void)state;
	assert_int_equal(run.flags, PIRN__ITEM_FLAG__IDEMPOTENT | PIRN__ITEM_FLAG__RECORD);
	assert_int_equal(run.epoch, 0);
	assert_int_equal(run.attempt, 1);
	assert_int_equal(run.lease_end_ms, tiny_ms(t) + 6000);
	assert_int_equal(run.keep_until_ms, run.lease_end_ms + 60000);
	run = call_with_id(t, 2, 0);
	assert_false(run.has_lease_end_ms || run.has_flags);
	tiny_free(t);
}

/* ---- memory --------------------------------------------------------------------- */

/* A turn of 8 events, from SUBMIT to settled; the bench's own Redis is not counted. */
static unsigned long allocs_of_a_turn(struct tiny *t, uint32_t first)
{
	Pirn__Item runs[8];
	unsigned long n = 0;

	count_alloc_start();
	for (uint32_t i = 0; i < 8; i++)
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = first + i });
	n += count_alloc_stop();
	rig_look(t->rig, brk_core_turn(t->rig->core, t->rig->now_ms));
	tiny_take(t);
	count_alloc_start();
	tiny_tell(t);
	for (size_t i = 0; i < 8; i++)
		runs[i] = rig_nth(t->rig, PIRN__KIND__DISPATCH, i)->item;
	for (size_t i = 0; i < 8; i++)
		tiny_result(t, A, &runs[i], (struct rig_item){ .status = 200 });
	n += count_alloc_stop();
	rig_look(t->rig, brk_core_turn(t->rig->core, t->rig->now_ms));
	tiny_take(t);
	count_alloc_start();
	tiny_tell(t);
	return n + count_alloc_stop();
}

static void test_a_steady_state_allocates_nothing(void **state)
{
	struct rig r;
	struct tiny *t;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	t = new_tiny(&r, 100);
	allocs_of_a_turn(t, 1);
	allocs_of_a_turn(t, 11);
	assert_int_equal(allocs_of_a_turn(t, 21), 0);
	assert_int_equal(rig_figures(&r).events_done, 24);
	tiny_free(t);
}

/* A million of them must fit; see bench for the whole. */
static void test_a_delivery_is_small(void **state)
{
	(void)state;
	assert_in_range(sizeof(struct brk_delivery), 1, 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_event),
		cmocka_unit_test(test_a_turn_is_one_entry),
		cmocka_unit_test(test_under_load_commits_grow),
		cmocka_unit_test(test_a_full_commit_does_not_wait),
		cmocka_unit_test(test_a_settle_waits_for_a_store),
		cmocka_unit_test(test_few_ends_let_stores_go_first),
		cmocka_unit_test(test_many_ends_go_with_a_store),
		cmocka_unit_test(test_a_retry_takes_ends_with_it),
		cmocka_unit_test(test_a_drain_waits_for_no_store),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_a_number_counts_once),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_ack_memory),
		cmocka_unit_test(test_redis_refuses),
		cmocka_unit_test(test_who_waits_too_long),
		cmocka_unit_test(test_a_retry_waits_for_its_settle),
		cmocka_unit_test(test_an_end_by_its_status),
		cmocka_unit_test(test_a_budget_ends),
		cmocka_unit_test(test_poison),
		cmocka_unit_test(test_a_bye_is_no_death),
		cmocka_unit_test(test_an_unrun_event_comes_back_free_of_charge),
		cmocka_unit_test(test_an_event_that_could_not_start_goes_anywhere),
		cmocka_unit_test(test_a_delay),
		cmocka_unit_test(test_too_old),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_records),
		cmocka_unit_test(test_no_run_on_an_old_beat),
		cmocka_unit_test(test_one_in_eight_is_an_event),
		cmocka_unit_test(test_calls_that_may_run_again_record),
		cmocka_unit_test(test_a_steady_state_allocates_nothing),
		cmocka_unit_test(test_a_delivery_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
