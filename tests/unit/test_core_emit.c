/* What a run sends: it is stored by the settle that ends the run's delivery, and only by that. */
#include "tests/unit/core_sent.h"

/* Event 42 of "hello" runs. */
static Pirn__Item parent(struct asked *k, uint32_t flags, uint32_t hops)
{
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t trace[25] = { 7 };

	item.service = (char *)"hello";
	item.has_slot = item.has_generation = item.has_id = item.has_lane = item.has_number = true;
	item.slot = 42;
	item.generation = 1;
	item.id = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)asked_id(42).data };
	item.flags = PIRN__ITEM_FLAG__EVENT | flags;
	item.lane = 77;
	item.number = 42;
	item.has_trace = true;
	item.trace = (ProtobufCBinaryData){ sizeof trace, trace };
	item.has_hops = true;
	item.hops = hops;
	head.kind = PIRN__KIND__SUBMIT;
	head.items = &list;
	head.n_items = 1;
	rig_head(&k->rig, CLIENT, &head, NULL, 0);
	tiny_take(k->t);
	tiny_turn(k->t);
	tiny_tell(k->t);
	return sent_run(k, "hello");
}

/* ---- with the end --------------------------------------------------------------- */

static void test_with_the_end(void **state)
{
	struct asked *k = sent_shop(NULL);
	Pirn__Item run = parent(k, PIRN__ITEM_FLAG__WANT_RESULT, 0);
	struct said said[] = { sent_order, { .service = "hello", .data = "two" },
		{ .type = "nobody", .data = "" } };
	Pirn__JournalEntry *entry;
	const Pirn__Answer *a;

	(void)state;
	assert_int_equal(k->t->n_asks[BRK_ASK_STORE], 1);
	sent_say(k, run, 200, said, 3);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 0);
	tiny_turn(k->t);
	assert_int_equal(k->t->n_asks[BRK_ASK_STORE], 1);
	assert_int_equal(k->t->n_asks[BRK_ASK_SETTLE], 1);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 0);
	assert_int_equal(k->t->n, 2);
	entry = pirn__journal_entry__unpack(NULL, k->t->entries[1].head_size, k->t->entries[1].head);
	assert_non_null(entry);
	assert_int_equal(entry->n_events, 2);
	assert_string_equal(entry->events[0]->deliveries[0]->service, "bill");
	assert_string_equal(entry->events[1]->deliveries[0]->service, "hello");
	assert_int_equal(entry->events[1]->hops, 1);
	assert_int_equal(entry->events[1]->trace.data[0], 7);
	assert_int_equal(entry->events[1]->n_deliveries, 1);
	assert_false(entry->events[1]->has_lane);
	assert_memory_not_equal(entry->events[0]->id.data, entry->events[1]->id.data, 16);
	pirn__journal_entry__free_unpacked(entry, NULL);
	assert_memory_equal(k->t->entries[1].body, "meta1metatwo", 12);
	tiny_tell(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 2);
	assert_int_equal(rig_figures(&k->rig).events_done, 1);
	assert_int_equal(rig_figures(&k->rig).events_emitted, 2);
	assert_int_equal(rig_figures(&k->rig).events_unrouted, 1);
	a = asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 42));
	assert_int_equal(a->n_invocations, 1);
	assert_int_equal(a->invocations[0]->data.len, 6); /* what is sent is no part of the answer */
	asked_free(k);
}

static void test_a_failed_run_sends_nothing(void **state)
{
	struct asked *k = sent_shop(NULL);
	Pirn__Item run = parent(k, 0, 0);

	(void)state;
	sent_say(k, run, 500, &sent_order, 1);
	tiny_run(k->t);
	assert_int_equal(k->t->moved, 1);
	assert_int_equal(rig_figures(&k->rig).events_emitted, 0);
	run = asked_run_next(k);
	assert_int_equal(run.attempt, 2);
	sent_say(k, run, 404, &sent_order, 1);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_dead, 1);
	assert_int_equal(rig_figures(&k->rig).events_emitted, 0);
	assert_int_equal(k->rig.core->deliveries.n_used, 0);
	asked_free(k);
}

/* ---- again ------------------------------------------------------------------------ */

static void test_the_reply_is_lost(void **state)
{
	struct asked *k = sent_shop(NULL);
	Pirn__Item run = parent(k, 0, 0);
	uint8_t id[16];

	(void)state;
	sent_say(k, run, 200, &sent_order, 1);
	tiny_turn(k->t);
	tiny_cut(k->t); /* it had happened */
	tiny_connect(k->t, true);
	tiny_pass(k->t, 2000);
	assert_int_equal(k->t->n, 2);
	assert_int_equal(rig_figures(&k->rig).events_done, 1);
	assert_int_equal(rig_figures(&k->rig).events_emitted, 1);
	asked_free(k);
	k = sent_shop(NULL);
	run = parent(k, 0, 0);
	k->t->next = STORE_LOST; /* it had not */
	sent_say(k, run, 200, &sent_order, 1);
	{
		const struct brk_delivery *d = k->rig.core->ledger.settles.list->deliveries[0];

		memcpy(id, d->id, 16);
	}
	tiny_turn(k->t);
	tiny_cut(k->t);
	assert_int_equal(k->t->n, 1);
	tiny_connect(k->t, true);
	tiny_pass(k->t, 2000);
	assert_int_equal(k->t->n, 2);
	assert_int_equal(rig_figures(&k->rig).events_done, 1);
	assert_int_equal(rig_figures(&k->rig).events_emitted, 1);
	assert_non_null(brk_delivery_first(k->rig.core, id));
	asked_free(k);
}

/* Out of memory: what sends nothing ends, what sends waits, and nobody hears of its end. */
static bool is_full(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	if (ask->kind != BRK_ASK_SETTLE)
		return asked_do(t, ask, told);
	assert_int_equal(ask->settle.emits, ask->settle.turn.head.data != NULL);
	if (!ask->settle.emits)
		return false;
	told->says.code = STORE_OOM;
	return true;
}

static void test_out_of_memory(void **state)
{
	struct asked *k = sent_shop(NULL);
	Pirn__Item run = parent(k, 0, 0), other;

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 43 });
	tiny_turn(k->t);
	tiny_tell(k->t);
	other = sent_run(k, "hello");
	k->t->more = is_full;
	sent_say(k, run, 200, &sent_order, 1);
	tiny_result(k->t, A, &other, (struct rig_item){ .status = 200, .data = "" });
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_done, 1);
	assert_int_equal(rig_figures(&k->rig).events_ending, 1);
	tiny_pass(k->t, 5000);
	assert_int_equal(rig_figures(&k->rig).events_ending, 1);
	assert_int_equal(rig_figures(&k->rig).events_emitted, 0);
	assert_false(brk_ledger_is_empty(k->rig.core));
	k->t->more = asked_do;
	tiny_pass(k->t, 1000);
	assert_int_equal(rig_figures(&k->rig).events_done, 2);
	assert_int_equal(rig_figures(&k->rig).events_emitted, 1);
	assert_true(brk_ledger_is_empty(k->rig.core));
	asked_free(k);
}

/* Somebody else has its journals: what was not settled goes with them. */
static void test_fenced(void **state)
{
	struct asked *k = sent_shop(NULL);
	Pirn__Item run = parent(k, 0, 0);

	(void)state;
	k->t->more = is_full;
	sent_say(k, run, 200, &sent_order, 1);
	tiny_run(k->t);
	assert_int_equal(k->rig.core->ledger.n_held, 1);
	brk_ledger_forget(k->rig.core, PIRN__REASON__MOVED);
	assert_int_equal(k->rig.core->ledger.n_held, 0);
	assert_int_equal(k->rig.core->deliveries.n_used, 0);
	asked_free(k);
}

/* ---- what is not taken -------------------------------------------------------------- */

static void fails(const struct said *said, size_t n, uint32_t reason)
{
	struct asked *k = sent_shop(NULL);
	Pirn__Item run = parent(k, PIRN__ITEM_FLAG__WANT_RESULT, 0);
	const Pirn__Answer *a;

	sent_say(k, run, 200, said, n);
	assert_int_equal(k->rig.core->deliveries.n_used, 1);
	tiny_run(k->t);
	assert_int_equal(k->t->moved, 1);
	a = asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 42));
	assert_int_equal(a->n_invocations, 1);
	assert_int_equal(a->invocations[0]->n_history, 1);
	assert_int_equal(a->invocations[0]->history[0]->reason, reason);
	asked_free(k);
}

static void test_not_taken(void **state)
{
	static char large[BRK_EMITS_BYTES];
	static struct said many[BRK_EMITS_MAX + 1];
	const struct said unknown[] = { sent_order, { .service = "nobody", .data = "" } };
	const struct said both = { .type = "a", .service = "hello", .data = "" };
	const struct said none = { .data = "" };
	const struct said too_large = { .type = "order.created", .data = large, .size = sizeof large };

	(void)state;
	for (size_t i = 0; i <= BRK_EMITS_MAX; i++)
		many[i] = sent_order;
	fails(unknown, 2, PIRN__REASON__UNKNOWN_SERVICE);
	fails(&both, 1, PIRN__REASON__MALFORMED);
	fails(&none, 1, PIRN__REASON__MALFORMED);
	fails(&too_large, 1, PIRN__REASON__TOO_LARGE);
	fails(many, BRK_EMITS_MAX + 1, PIRN__REASON__TOO_LARGE);
}

static void test_bad_bytes(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
		uint32_t emit_size;
	} bad[] = { { "\x0a\xff", 2, 2 }, { "\x0a\x02\x2a\x00", 4, 4 }, { "", 0, 7 }, { "ab", 2, 4000000000u } };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct asked *k = sent_shop(NULL);
		Pirn__Item run = parent(k, 0, 0);

		sent_result(k, run, 200, (const uint8_t *)bad[i].bytes, bad[i].size, bad[i].emit_size);
		tiny_run(k->t);
		assert_int_equal(rig_figures(&k->rig).events_done, 0);
		assert_int_equal(k->t->moved, 1);
		asked_free(k);
	}
}

/* Runs may send beyond what clients may: otherwise none of them could end. */
static void test_no_room(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k;
	Pirn__Item run;

	(void)state;
	conf.max_events = 1;
	k = sent_shop(&conf);
	run = parent(k, 0, 0);
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 43 });
	rig_is_refused(&k->rig, 43, PIRN__REASON__QUEUE_FULL);
	sent_say(k, run, 200, (const struct said[]){ sent_order, sent_order }, 2);
	tiny_run(k->t);
	assert_int_equal(k->t->moved, 1); /* twice as many are there with the first */
	run = asked_run_next(k);
	sent_say(k, run, 200, &sent_order, 1);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_done, 1);
	assert_int_equal(rig_figures(&k->rig).events_emitted, 1);
	asked_free(k);
}

/* ---- hops -------------------------------------------------------------------------- */

static void test_hops(void **state)
{
	struct asked *k = sent_shop(NULL);
	Pirn__Item run = parent(k, 0, BRK_HOPS_MAX - 1);
	struct said self = { .service = "hello", .data = "x" };
	const Pirn__JournalDelivery *d;
	Pirn__JournalEntry *letter;

	(void)state;
	sent_say(k, run, 200, &self, 1);
	tiny_turn(k->t);
	tiny_tell(k->t);
	run = sent_run(k, "hello"); /* the last that runs */
	sent_say(k, run, 200, &self, 1);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_done, 2);
	assert_int_equal(rig_figures(&k->rig).events_dead, 1);
	assert_int_equal(k->rig.core->deliveries.n_used, 0);
	letter = pirn__journal_entry__unpack(NULL, k->t->letter_size, k->t->letter);
	assert_non_null(letter);
	d = letter->events[0]->deliveries[0];
	assert_int_equal(letter->events[0]->hops, BRK_HOPS_MAX + 1);
	assert_int_equal(d->reason, PIRN__REASON__HOPS);
	assert_int_equal(d->n_history, 0);
	pirn__journal_entry__free_unpacked(letter, NULL);
	asked_free(k);
}

/* Whoever adopts it does not run it either. */
static void test_adopted_hops(void **state)
{
	struct asked *k = sent_shop(NULL);
	struct brk_conf conf = tiny_conf();

	(void)state;
	(void)parent(k, 0, BRK_HOPS_MAX);
	brk_ledger_forget(k->rig.core, PIRN__REASON__NONE);
	k->t->left[1] = true;
	rig_free(&k->rig);
	k->rig = rig_new(&conf);
	rig_look(&k->rig, brk_core_durable(k->rig.core, k->rig.now_ms, true, NULL, 0));
	tiny_connect(k->t, true);
	tiny_pass(k->t, 5000);
	assert_int_equal(rig_figures(&k->rig).adoptions, 1);
	assert_int_equal(rig_figures(&k->rig).events_dead, 0);
	{
		const struct brk_delivery *d = brk_delivery_first(k->rig.core, asked_id(42).data);

		assert_non_null(d);
		assert_int_equal(d->hops, BRK_HOPS_MAX);
	}
	asked_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_with_the_end),
		cmocka_unit_test(test_a_failed_run_sends_nothing),
		cmocka_unit_test(test_the_reply_is_lost),
		cmocka_unit_test(test_out_of_memory),
		cmocka_unit_test(test_fenced),
		cmocka_unit_test(test_not_taken),
		cmocka_unit_test(test_bad_bytes),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_hops),
		cmocka_unit_test(test_adopted_hops),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
