/* The core's durable events when Redis, or another broker, comes between: lost replies, a
 * fence, lost data, adoption, paging, leaving, rewriting.
 */
#include "tests/unit/core_events.h"

enum { CLIENT = 1, A = 5 };

static struct tiny *new_tiny(struct rig *r, uint64_t granted)
{
	struct tiny *t = tiny_new(r, NULL);

	rig_client(r, CLIENT);
	rig_worker(r, A, "hello", granted);
	return t;
}

static Pirn__Item run_next(struct tiny *t)
{
	for (;;) {
		const struct brk_action *a = rig_nth(t->rig, PIRN__KIND__DISPATCH, 0);

		if (a)
			return a->item;
		tiny_step(t);
	}
}

static void submit(struct tiny *t, uint32_t first, uint32_t last)
{
	for (uint32_t i = first; i <= last; i++)
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = i });
}

static bool is_idle(struct tiny *t)
{
	return rig_figures(t->rig).events_running + rig_figures(t->rig).events_ready == 0 &&
	       t->first == t->last && !brk_core_pending(t->rig->core);
}

/* All that runs is done, until nothing is left. */
static void finish(struct tiny *t)
{
	static Pirn__Item runs[BRK_MAX_ITEMS];

	while (!is_idle(t)) {
		size_t n = rig_count(t->rig, PIRN__KIND__DISPATCH);

		for (size_t i = 0; i < n; i++)
			runs[i] = rig_nth(t->rig, PIRN__KIND__DISPATCH, i)->item;
		for (size_t i = 0; i < n; i++)
			tiny_result(t, A, &runs[i], (struct rig_item){ .status = 200 });
		if (n == 0)
			tiny_step(t);
	}
}

/* ---- replies that are lost -------------------------------------------------------- */

static void test_a_store_that_happened(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	submit(t, 1, 3);
	tiny_turn(t);
	tiny_cut(t);
	assert_int_equal(rig_count(&r, PIRN__KIND__ACCEPTED), 0);
	tiny_connect(t, true);
	tiny_run(t);
	assert_int_equal(t->n_asks[BRK_ASK_STORE], 1);
	assert_int_equal(rig_figures(&r).accepted, 3);
	assert_int_equal(rig_figures(&r).events_ready, 3);
	assert_int_equal(rig_figures(&r).opened, 2);
	tiny_free(t);
}

static void test_a_store_that_did_not_happen(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	submit(t, 1, 3);
	t->next = STORE_LOST;
	tiny_turn(t);
	tiny_cut(t);
	tiny_connect(t, true);
	tiny_run(t);
	assert_int_equal(t->n_asks[BRK_ASK_STORE], 2);
	assert_int_equal(rig_figures(&r).accepted, 3);
	assert_int_equal(tiny_living(t, 1), 1);
	tiny_free(t);
}

/* What it says of duplicates was lost, too: they are stored again, to learn why. */
static void test_a_store_with_duplicates_that_happened(void **state)
{
	static const char hash[] = "hashhashhashhash", other[] = "otherotherother!";
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 1, .key = "k", .hash = hash });
	tiny_run(t);
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 2 });
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 3, .key = "k", .hash = other });
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 4, .key = "k", .hash = hash });
	tiny_turn(t);
	tiny_cut(t);
	tiny_connect(t, true);
	while (rig_count(&r, PIRN__KIND__REFUSED) == 0)
		tiny_step(t);
	rig_is_refused(&r, 3, PIRN__REASON__KEY_BODY);
	assert_int_equal(rig_one(&r, PIRN__KIND__ACCEPTED)->item.flags, PIRN__ITEM_FLAG__REPLAYED);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).accepted, 2);
	tiny_free(t);
}

static void test_a_settle_that_is_lost(void **state)
{
	(void)state;
	for (int happened = 0; happened < 2; happened++) {
		struct rig r;
		struct tiny *t = new_tiny(&r, 10);
		Pirn__Item run;

		submit(t, 1, 1);
		run = run_next(t);
		tiny_result(t, A, &run, (struct rig_item){ .status = 200 });
		t->next = happened ? STORE_DONE : STORE_LOST;
		tiny_turn(t);
		tiny_cut(t);
		assert_int_equal(rig_figures(&r).events_done, 0);
		tiny_connect(t, true);
		tiny_run(t);
		assert_int_equal(t->n_asks[BRK_ASK_SETTLE], happened ? 1 : 2);
		assert_int_equal(rig_figures(&r).events_done, 1);
		assert_int_equal(tiny_living(t, 1), 0);
		tiny_free(t);
	}
}

static void test_a_move_that_is_lost(void **state)
{
	(void)state;
	for (int happened = 0; happened < 2; happened++) {
		struct rig r;
		struct tiny *t = new_tiny(&r, 10);
		Pirn__Item run;

		submit(t, 1, 1);
		run = run_next(t);
		tiny_result(t, A, &run, (struct rig_item){ .status = 500 });
		t->next = happened ? STORE_DONE : STORE_LOST;
		tiny_turn(t);
		tiny_cut(t);
		tiny_connect(t, true);
		run = run_next(t);
		assert_int_equal(run.attempt, 2);
		tiny_result(t, A, &run, (struct rig_item){ .status = 200 });
		tiny_run(t);
		assert_int_equal(rig_figures(&r).events_done, 1);
		assert_int_equal(tiny_living(t, 1), 0);
		tiny_free(t);
	}
}

static void test_a_repeated_turn(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	submit(t, 1, 1);
	t->next = STORE_REPEATED;
	tiny_turn(t);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).accepted, 0);
	tiny_pass(t, 2000);
	assert_int_equal(rig_figures(&r).opened, 2);
	assert_int_equal(rig_figures(&r).accepted, 1);
	tiny_free(t);
}

/* Against all rules one of three has ended before: the others are settled all the same. */
static void test_one_that_had_ended(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 3);
	Pirn__Item runs[3];

	(void)state;
	submit(t, 1, 3);
	runs[0] = run_next(t);
	for (size_t i = 0; i < 3; i++)
		runs[i] = rig_nth(&r, PIRN__KIND__DISPATCH, i)->item;
	tiny_set(&t->entries[0], 1);
	for (size_t i = 0; i < 3; i++)
		tiny_result(t, A, &runs[i], (struct rig_item){ .status = 200 });
	tiny_run(t);
	assert_int_equal(t->ends, 2);
	assert_int_equal(rig_figures(&r).events_done, 2);
	assert_int_equal(rig_figures(&r).entries, 0);
	tiny_free(t);
}

/* ---- the fence ---------------------------------------------------------------------- */

static void test_fenced(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);

	(void)state;
	submit(t, 1, 3);
	run_next(t);
	t->beats[1] = 0; /* somebody adopted it */
	t->owner[1] = 9;
	t->epoch = 9;
	submit(t, 4, 4);
	tiny_submit(
		t, CLIENT, (struct tiny_event){ .slot = 5, .flags = PIRN__ITEM_FLAG__ACK_MEMORY });
	tiny_turn(t);
	tiny_tell(t);
	rig_is_refused(&r, 4, PIRN__REASON__MOVED);
	assert_int_equal(rig_one(&r, PIRN__KIND__CANCEL)->peer, A);
	assert_int_equal(rig_figures(&r).events_ready + rig_figures(&r).events_running, 0);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).fenced, 1);
	assert_int_equal(r.core->owner.epoch, 10);
	/* What was accepted and never stored is: under the new epoch. */
	assert_int_equal(rig_figures(&r).accepted, 4);
	assert_int_equal(rig_figures(&r).events_ready + rig_figures(&r).events_running, 1);
	tiny_free(t);
}

static void test_redis_lost_its_data(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 2);
	Pirn__Item first, second;

	(void)state;
	submit(t, 1, 5);
	tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 6, .delay_ms = 60000 });
	first = run_next(t);
	second = rig_nth(&r, PIRN__KIND__DISPATCH, 1)->item;
	tiny_run(t);
	tiny_result(t, A, &first, (struct rig_item){ .status = 200 });
	for (size_t i = 0; i < t->n; i++)
		t->entries[i].journal = 0;
	memset(t->beats, 0, sizeof t->beats);
	memset(t->owner, 0, sizeof t->owner);
	t->epoch = 0;
	t->n_numbers = 0;
	tiny_turn(t);
	tiny_tell(t); /* FENCED by a Redis that knows no epoch */
	assert_int_equal(rig_acts(&r, BRK_LOG), 1);
	tiny_result(t, A, &second, (struct rig_item){ .status = 200 });
	rig_credit(&r, A, "hello", 10);
	tiny_take(t);
	finish(t);
	assert_int_equal(rig_figures(&r).events_done, 5);
	assert_int_equal(rig_figures(&r).events_waiting, 1);
	assert_int_equal(rig_figures(&r).fenced, 0);
	assert_int_equal(tiny_living(t, 1), 1);
	tiny_free(t);
}

/* Redis began anew, and another broker opened first: it has our epoch's number, and beats under it. */
static void test_an_epoch_that_is_given_twice(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	submit(t, 1, 5);
	tiny_run(t);
	for (int i = 0; i < 4; i++) {
		rig_tick(&r, 1000);
		tiny_take(t);
		tiny_run(t);
	}
	assert_true(t->beats[1] > 3);
	for (size_t i = 0; i < t->n; i++)
		t->entries[i].journal = 0;
	t->beats[1] = 1;
	t->epoch = 1;
	t->n_numbers = 0;
	rig_tick(&r, 1000);
	tiny_take(t);
	tiny_run(t);
	assert_int_equal(r.core->owner.epoch, 2);
	rig_credit(&r, A, "hello", 10);
	tiny_take(t);
	finish(t);
	assert_int_equal(rig_figures(&r).events_done, 5);
	assert_int_equal(rig_figures(&r).fenced, 0);
	tiny_free(t);
}

/* ---- adoption ------------------------------------------------------------------------- */

/* Another broker's journal, made by a core of its own. */
static void leave_behind(struct tiny *t, uint32_t n)
{
	struct rig *mine = t->rig, other;
	struct brk_conf conf = tiny_conf();

	t->rig = &other;
	other = rig_new(&conf);
	other.now_ms = mine->now_ms;
	rig_look(&other, brk_core_durable(other.core, other.now_ms, true, NULL, 0));
	tiny_connect(t, true);
	tiny_run(t);
	rig_client(&other, CLIENT);
	rig_worker(&other, A, "hello", 0);
	for (uint32_t i = 1; i <= n; i++) {
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 500 + i });
		if (i % 3 == 0)
			tiny_run(t);
	}
	tiny_run(t);
	rig_free(&other);
	t->rig = mine;
}

static void test_a_stalled_broker_is_adopted(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 100);
	Pirn__Item run;

	(void)state;
	leave_behind(t, 30);
	assert_int_equal(tiny_living(t, 2), 10);
	tiny_set(&t->entries[0], 0); /* one of them has ended */
	tiny_pass(t, 2500);
	assert_int_equal(rig_figures(&r).adoptions, 0);
	run = run_next(t);
	assert_int_equal(run.attempt, 1);
	assert_int_equal(run.epoch, 1);
	assert_int_equal(rig_figures(&r).adoptions, 1);
	finish(t);
	assert_int_equal(rig_figures(&r).events_done, 29);
	assert_int_equal(rig_figures(&r).accepted, 0);
	assert_false(t->last_end.no_records || t->last_end.only_run);
	tiny_pass(t, 2000);
	assert_int_equal(t->owner[2], 0); /* dropped */
	assert_true(brk_owner_is_loaded(r.core));
	tiny_free(t);
}

static void test_who_left_is_adopted_at_once(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	leave_behind(t, 3);
	t->left[2] = true;
	tiny_pass(t, 1100);
	assert_int_equal(rig_figures(&r).adoptions, 1);
	assert_int_equal(rig_figures(&r).events_ready, 3);
	tiny_free(t);
}

static void test_who_beats_is_not_adopted(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	leave_behind(t, 3);
	for (int i = 0; i < 10; i++) {
		tiny_pass(t, 2000);
		t->beats[2]++;
	}
	assert_int_equal(rig_figures(&r).adoptions, 0);
	tiny_free(t);
}

/* Each reconnect has a beat of its own: those do not make another broker look stalled. */
static void test_beats_in_a_row_count_once(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	leave_behind(t, 3);
	for (int i = 0; i < 10; i++) {
		tiny_cut(t);
		tiny_connect(t, true);
		tiny_pass(t, 200);
	}
	assert_int_equal(rig_figures(&r).adoptions, 0);
	tiny_pass(t, 4000);
	assert_int_equal(rig_figures(&r).adoptions, 1);
	tiny_free(t);
}

/* A journal that is larger than what may be loaded is read as what was loaded ends. */
static void test_paging(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct rig r;
	struct tiny *t;

	(void)state;
	conf.max_events = 40;
	t = tiny_new(&r, &conf);
	rig_client(&r, CLIENT);
	rig_worker(&r, A, "hello", 0);
	leave_behind(t, 90);
	tiny_pass(t, 8000);
	assert_int_equal(rig_figures(&r).events_ready, 30);
	assert_false(brk_owner_is_loaded(r.core));
	rig_credit(&r, A, "hello", 1000);
	tiny_take(t);
	finish(t);
	for (int i = 0; i < 10; i++) {
		tiny_tick(t, 300);
		finish(t);
	}
	assert_int_equal(rig_figures(&r).events_done, 90);
	tiny_pass(t, 2000);
	assert_int_equal(t->owner[2], 0);
	tiny_free(t);
}

static void test_an_entry_that_is_none(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	leave_behind(t, 6);
	t->entries[0].head[0] ^= 0xff;
	tiny_pass(t, 6000);
	assert_int_equal(rig_figures(&r).events_ready, 3);
	assert_int_equal(t->owner[2], 1); /* it stays: it is not empty */
	tiny_free(t);
}

/* The run that the broker before may have sent is fenced, too, when the event ends without another one. */
static void test_a_run_that_nobody_saw(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	leave_behind(t, 1);
	tiny_pass(t, 6000);
	assert_int_equal(rig_figures(&r).events_ready, 1);
	tiny_tick(t, 6u * 3600 * 1000);
	tiny_run(t);
	assert_int_equal(rig_figures(&r).events_expired, 1);
	assert_int_equal(t->last_end.how, STORE_ENDED);
	assert_int_equal(t->last_end.attempt, 1);
	assert_false(t->last_end.no_records || t->last_end.only_run);
	tiny_free(t);
}

/* Its service lets it grow as old as it may: its next run can be far away, and replays all the same. */
static void test_records_of_any_age(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);
	Pirn__Item run;

	(void)state;
	brk_service_find(r.core, "hello")->retry.age_ms = 0;
	submit(t, 1, 1);
	run = run_next(t);
	assert_true(run.keep_until_ms > run.lease_end_ms + 24u * 3600 * 1000);
	tiny_free(t);
}

/* A letter that went back: it may fail again as others may. Alone it runs still. */
static void test_poison_that_was_redriven(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);
	Pirn__JournalEntry *head;
	Pirn__Item run;

	(void)state;
	leave_behind(t, 1);
	head = pirn__journal_entry__unpack(NULL, t->entries[0].head_size, t->entries[0].head);
	head->events[0]->deliveries[0]->has_deaths = true;
	head->events[0]->deliveries[0]->deaths = BRK_DEATHS_POISON;
	head->events[0]->deliveries[0]->has_end = true;
	head->events[0]->deliveries[0]->end = PIRN__JOURNAL_END__END_DEAD;
	free(t->entries[0].head);
	t->entries[0].head_size = pirn__journal_entry__get_packed_size(head);
	t->entries[0].head = malloc(t->entries[0].head_size);
	pirn__journal_entry__pack(head, t->entries[0].head);
	pirn__journal_entry__free_unpacked(head, NULL);
	run = run_next(t);
	assert_true(run.flags & PIRN__ITEM_FLAG__ALONE);
	tiny_result(t, A, &run, (struct rig_item){ .status = 503 });
	tiny_run(t);
	assert_int_equal(t->dead, 0);
	assert_int_equal(t->moved, 1);
	tiny_free(t);
}

/* What was sent first may come to Redis when the run is long done: its record must be there. */
static void test_a_doubted_write(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);
	Pirn__Item run;

	(void)state;
	submit(t, 1, 1);
	run = run_next(t);
	tiny_result(t, A, &run,
		(struct rig_item){ .status = 200,
			.flags = PIRN__ITEM_FLAG__RECORDED | PIRN__ITEM_FLAG__DOUBTED });
	tiny_run(t);
	assert_int_equal(t->ends, 1);
	assert_false(t->last_end.no_records || t->last_end.only_run);
	assert_int_equal(t->last_end.attempt, 1);
	assert_int_equal(t->last_end.fence_ms, run.lease_end_ms);
	tiny_free(t);
}

/* As large as a head can be: each event of a full entry has failed ten times, and every time at length. */
static void make_long(struct tiny_entry *e, uint32_t n)
{
	Pirn__JournalEntry head = PIRN__JOURNAL_ENTRY__INIT;
	Pirn__JournalEvent event = PIRN__JOURNAL_EVENT__INIT, *events[STORE_ENTRY_DELIVERIES];
	Pirn__JournalDelivery delivery = PIRN__JOURNAL_DELIVERY__INIT, *deliveries = &delivery;
	Pirn__JournalAttempt attempt = PIRN__JOURNAL_ATTEMPT__INIT, *history[STORE_HISTORY_MAX];
	char error[STORE_HISTORY_TEXT];
	uint8_t id[16] = { 9 };

	memset(error, 'x', sizeof error - 1);
	error[sizeof error - 1] = 0;
	attempt.error = error;
	attempt.has_started_ms = true;
	attempt.started_ms = TINY_MS;
	for (size_t i = 0; i < STORE_HISTORY_MAX; i++)
		history[i] = &attempt;
	delivery.service = (char *)(uintptr_t) "hello";
	delivery.has_attempt = true;
	delivery.attempt = STORE_HISTORY_MAX + 1;
	delivery.history = history;
	delivery.n_history = STORE_HISTORY_MAX;
	event.has_id = true;
	event.id = (ProtobufCBinaryData){ sizeof id, id };
	event.deliveries = &deliveries;
	event.n_deliveries = 1;
	for (uint32_t i = 0; i < n; i++)
		events[i] = &event;
	head.events = events;
	head.n_events = e->n = n;
	free(e->head);
	e->head_size = pirn__journal_entry__get_packed_size(&head);
	e->head = malloc(e->head_size);
	assert_non_null(e->head);
	pirn__journal_entry__pack(&head, e->head);
	e->body_size = 0;
}

static void test_the_longest_entry(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 0);

	(void)state;
	leave_behind(t, 1);
	make_long(&t->entries[0], STORE_ENTRY_DELIVERIES);
	assert_true(t->entries[0].head_size > 2u << 20);
	tiny_pass(t, 6000);
	assert_int_equal(rig_figures(&r).events_ready, STORE_ENTRY_DELIVERIES);
	tiny_free(t);
}

/* ---- leaving --------------------------------------------------------------------------- */

static void test_leaving(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1);
	Pirn__Item run;

	(void)state;
	submit(t, 1, 3);
	run = run_next(t);
	rig_look(&r, brk_core_drain(r.core, r.now_ms));
	rig_send(&r, CLIENT, PIRN__KIND__DRAIN);
	tiny_pass(t, 1000);
	assert_int_equal(t->n_asks[BRK_ASK_LEAVE], 0); /* it still runs */
	assert_false(brk_core_drained(r.core));
	tiny_result(t, A, &run, (struct rig_item){ .status = 200 });
	tiny_pass(t, 1000);
	assert_int_equal(t->n_asks[BRK_ASK_LEAVE], 1);
	assert_true(t->left[1]);
	assert_true(brk_core_drained(r.core));
	assert_int_equal(rig_figures(&r).events_ready, 0);
	assert_int_equal(tiny_living(t, 1), 1);
	tiny_free(t);
}

/* ---- rewriting --------------------------------------------------------------------------- */

static void test_rewriting(void **state)
{
	struct rig r;
	struct tiny *t = new_tiny(&r, 1000);
	struct brk_figures f;

	(void)state;
	for (uint32_t i = 1; i <= 20; i++) {
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = i, .delay_ms = 60000 });
		submit(t, 100 + i * 10, 108 + i * 10);
		finish(t);
	}
	assert_int_equal(rig_figures(&r).entries, 20);
	tiny_pass(t, 9000);
	assert_int_equal(rig_figures(&r).entries, 20);
	tiny_pass(t, 4000);
	f = rig_figures(&r);
	assert_int_equal(f.entries, 1);
	assert_int_equal(f.moved, 20);
	assert_int_equal(f.events_waiting, 20);
	assert_int_equal(tiny_living(t, 1), 1);
	tiny_pass(t, 20000);
	assert_int_equal(rig_figures(&r).moved, 20); /* once is enough */
	tiny_free(t);
}

/* ---- anything, in any order ----------------------------------------------------------------- */

#define RANDOM_SEEDS 150
#define RANDOM_STEPS 250
#define RUNS         64

struct chaos {
	struct tiny *t;
	struct base_rand rand;
	Pirn__Item runs[RUNS]; /* dispatched, and not answered */
	size_t n_runs;
	uint32_t submitted;
	uint64_t granted;
};

static uint32_t pick(struct chaos *c, uint32_t n)
{
	return (uint32_t)base_rand_below(&c->rand, n);
}

static void note_runs(struct chaos *c)
{
	const struct brk_action *a;

	for (size_t i = 0; (a = rig_nth(c->t->rig, PIRN__KIND__DISPATCH, i)); i++)
		if (c->n_runs < RUNS)
			c->runs[c->n_runs++] = a->item;
}

static void submit_any(struct chaos *c)
{
	tiny_submit(c->t, CLIENT,
		(struct tiny_event){ .slot = ++c->submitted,
			.number = 1 + pick(c, c->submitted),
			.flags = pick(c, 4) ? PIRN__ITEM_FLAG__WANT_RESULT
					    : PIRN__ITEM_FLAG__ACK_MEMORY,
			.left_ms = 1 + pick(c, 3000),
			.delay_ms = pick(c, 3) ? 0 : pick(c, 2000) });
}

static void answer_any(struct chaos *c)
{
	static const uint32_t statuses[] = { 200, 200, 200, 404, 500, 503, 0 };
	Pirn__Item run;

	if (c->n_runs == 0)
		return;
	run = c->runs[pick(c, (uint32_t)c->n_runs)];
	tiny_result(c->t, A, &run,
		(struct rig_item){ .status = statuses[pick(c, 7)],
			.reason = pick(c, 8) ? 0 : PIRN__REASON__DRAINING,
			.flags = pick(c, 2) ? PIRN__ITEM_FLAG__RECORDED : 0 });
}

static void restart_worker(struct chaos *c)
{
	rig_look(c->t->rig, brk_core_gone(c->t->rig->core, c->t->rig->now_ms, A));
	tiny_take(c->t);
	rig_worker(c->t->rig, A, "hello", 0);
	tiny_take(c->t);
	c->granted = 0;
	c->n_runs = 0;
}

static void grant(struct chaos *c)
{
	c->granted += pick(c, 4);
	rig_credit(c->t->rig, A, "hello", c->granted);
	tiny_take(c->t);
}

static void cut_and_come_back(struct chaos *c)
{
	if (pick(c, 2)) {
		tiny_cut(c->t);
	} else { /* told late: after the next connection was made */
		tiny_connect(c->t, false);
		while (c->t->first < c->t->last)
			tiny_tell_as(c->t, STORE_LOST);
	}
	if (pick(c, 3))
		tiny_tick(c->t, pick(c, 3000));
	tiny_connect(c->t, true);
}

static void lose_data(struct chaos *c)
{
	struct tiny *t = c->t;

	for (size_t i = 0; i < t->n; i++)
		t->entries[i].journal = 0;
	memset(t->beats, 0, sizeof t->beats);
	memset(t->owner, 0, sizeof t->owner);
	t->epoch = 0;
	t->n_numbers = 0;
}

static void fence(struct chaos *c)
{
	memset(c->t->beats, 0, sizeof c->t->beats);
	memset(c->t->owner, 0, sizeof c->t->owner);
	c->t->epoch++;
}

static void cancel_any(struct chaos *c)
{
	uint8_t id[16] = { 1, 0, (uint8_t)(1 + pick(c, c->submitted + 1)) };
	struct brk_delivery *d = brk_delivery_first(c->t->rig->core, id);

	if (d)
		brk_event_cancel(c->t->rig->core, d);
	tiny_tick(c->t, 0);
}

static void one_step(struct chaos *c)
{
	struct tiny *t = c->t;

	switch (pick(c, 40)) {
	case 0:
		cut_and_come_back(c);
		break;
	case 1:
		t->next = STORE_LOST;
		break;
	case 2:
		t->next = (enum store_code[]){ STORE_OOM, STORE_AWAY, STORE_REPEATED,
			STORE_BROKEN }[pick(c, 4)];
		break;
	case 3:
		if (pick(c, 4) == 0)
			lose_data(c);
		break;
	case 4:
		if (pick(c, 4) == 0)
			fence(c);
		break;
	case 5:
		restart_worker(c);
		break;
	case 6:
		cancel_any(c);
		break;
	default:
		if (pick(c, 4) == 0)
			submit_any(c);
		else if (pick(c, 3) == 0)
			answer_any(c);
		else if (pick(c, 3) == 0)
			grant(c);
		else
			tiny_step(t);
	}
	note_runs(c);
}

/* Then everything goes well, until nothing is left: no record, no byte, no entry. */
static void come_to_rest(struct chaos *c)
{
	struct rig *r = c->t->rig;

	c->t->next = STORE_DONE;
	tiny_cut(c->t);
	tiny_connect(c->t, true);
	restart_worker(c);
	rig_credit(r, A, "hello", 1000);
	tiny_take(c->t);
	for (int i = 0; i < 200 && r->core->deliveries.n_used > 0; i++) {
		finish(c->t);
		tiny_tick(c->t, 1000);
	}
	assert_int_equal(r->core->deliveries.n_used, 0);
	assert_int_equal(rig_figures(r).entries, 0);
	assert_true(brk_ledger_is_empty(r->core));
}

static void test_anything(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= RANDOM_SEEDS; seed++) {
		struct rig r;
		struct chaos c = { .t = new_tiny(&r, 0) };

		base_rand_init(&c.rand, seed);
		for (int i = 0; i < RANDOM_STEPS && c.t->epoch < 24 && c.t->n < 100 &&
				c.submitted < 100 && c.t->last - c.t->first < 20;
			i++)
			one_step(&c);
		come_to_rest(&c);
		tiny_free(c.t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_store_that_happened),
		cmocka_unit_test(test_a_store_that_did_not_happen),
		cmocka_unit_test(test_a_store_with_duplicates_that_happened),
		cmocka_unit_test(test_a_settle_that_is_lost),
		cmocka_unit_test(test_a_move_that_is_lost),
		cmocka_unit_test(test_a_repeated_turn),
		cmocka_unit_test(test_one_that_had_ended),
		cmocka_unit_test(test_fenced),
		cmocka_unit_test(test_redis_lost_its_data),
		cmocka_unit_test(test_an_epoch_that_is_given_twice),
		cmocka_unit_test(test_a_stalled_broker_is_adopted),
		cmocka_unit_test(test_who_left_is_adopted_at_once),
		cmocka_unit_test(test_who_beats_is_not_adopted),
		cmocka_unit_test(test_beats_in_a_row_count_once),
		cmocka_unit_test(test_paging),
		cmocka_unit_test(test_an_entry_that_is_none),
		cmocka_unit_test(test_a_run_that_nobody_saw),
		cmocka_unit_test(test_a_doubted_write),
		cmocka_unit_test(test_records_of_any_age),
		cmocka_unit_test(test_poison_that_was_redriven),
		cmocka_unit_test(test_the_longest_entry),
		cmocka_unit_test(test_leaving),
		cmocka_unit_test(test_rewriting),
		cmocka_unit_test(test_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
