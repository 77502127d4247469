/* What a call's run sends: stored before its caller hears that the run went well, all of it or nothing, once
 * for a call that is repeated under its id or key. */
#include "tests/unit/core_sent.h"

struct call {
	uint32_t slot, id, flags, left_ms, size; /* 0: the slot's id, ten seconds, seven bytes */
	bool keyed, no_id;
};

/* Of "hello"; it runs, or claims its key. */
static void submit(struct asked *k, struct call c)
{
	static uint8_t key[] = "a key", hash[] = ASKED_HASH;
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t trace[25] = { 7 };

	item.service = (char *)"hello";
	item.has_slot = item.has_generation = item.has_left_ms = true;
	item.slot = c.slot;
	item.generation = 1;
	item.flags = c.flags;
	item.left_ms = c.left_ms ? c.left_ms : 10000;
	item.has_id = !c.no_id;
	item.id = asked_id(c.id ? c.id : c.slot);
	item.has_trace = true;
	item.trace = (ProtobufCBinaryData){ sizeof trace, trace };
	item.has_key = item.has_hash = c.keyed;
	item.key = (ProtobufCBinaryData){ sizeof key - 1, key };
	item.hash = (ProtobufCBinaryData){ sizeof hash - 1, hash };
	item.data_size = c.size ? c.size : 7;
	head.kind = PIRN__KIND__SUBMIT;
	head.items = &list;
	head.n_items = 1;
	rig_head(&k->rig, CLIENT, &head, (const uint8_t *)"request",
		item.data_size);
	tiny_take(k->t);
}

static Pirn__Item run(struct asked *k, struct call c)
{
	submit(k, c);
	if (c.keyed)
		tiny_tell(k->t);
	return sent_run(k, "hello");
}

/* The call in that slot has run, and sends one order: its STORE is on the way. */
static void sending(struct asked *k, struct call c)
{
	sent_say(k, run(k, c), 200, &sent_order, 1);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
	assert_int_equal(rig_figures(&k->rig).sending, 1);
	tiny_turn(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
}

/* The one answer among what comes while everything is told; nothing is dispatched before it. */
static const struct brk_action *answer(struct asked *k)
{
	while (rig_count(&k->rig, PIRN__KIND__REPLY) == 0)
		tiny_step(k->t);
	return rig_one(&k->rig, PIRN__KIND__REPLY);
}

static void is_told(struct asked *k, uint32_t slot, uint32_t reason, uint32_t status)
{
	const struct brk_action *a = answer(k);

	rig_is_replied(&k->rig, slot, reason, status);
	assert_int_equal(a->item.retry_after_ms > 0, status == 503);
	assert_int_equal(a->payload.data_size, reason ? 0 : 6);
	if (!reason)
		assert_memory_equal(a->payload.bytes, "answer", 6);
	assert_int_equal(rig_figures(&k->rig).sending, 0);
}

static size_t orders(struct asked *k)
{
	size_t n = 0;

	tiny_run(k->t);
	for (size_t i = 0; i < k->t->n; i++)
		for (uint32_t bit = 0; bit < k->t->entries[i].n; bit++)
			n += !store_entry_ended(k->t->entries[i].ended, 128, bit);
	return n;
}

static uint32_t open_events(const struct asked *k)
{
	return k->rig.core->deliveries.n_used;
}

/* ---- the way through -------------------------------------------------------------- */

static void test_answered_when_stored(void **state)
{
	struct asked *k = sent_shop(NULL);
	struct said said[] = { sent_order, { .service = "hello", .data = "two" },
		{ .type = "nobody", .data = "" } };
	Pirn__JournalEntry *entry;

	(void)state;
	sent_say(k, run(k, (struct call){ .slot = 1 }), 201, said, 3);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
	assert_int_equal(rig_figures(&k->rig).sending, 1);
	assert_int_equal(rig_figures(&k->rig).running, 0);
	assert_int_equal(rig_figures(&k->rig).waiting_bytes, 6); /* the answer, not the request */
	tiny_turn(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 0);
	assert_int_equal(k->t->n_asks[BRK_ASK_STORE], 1);
	entry = pirn__journal_entry__unpack(NULL, k->t->entries[0].head_size, k->t->entries[0].head);
	assert_non_null(entry);
	assert_int_equal(entry->n_events, 2);
	assert_string_equal(entry->events[0]->deliveries[0]->service, "bill");
	assert_string_equal(entry->events[1]->deliveries[0]->service, "hello");
	assert_int_equal(entry->events[1]->hops, 1);
	assert_int_equal(entry->events[1]->trace.data[0], 7);
	assert_false(entry->events[1]->has_lane);
	pirn__journal_entry__free_unpacked(entry, NULL);
	assert_memory_equal(k->t->entries[0].body, "meta1metatwo", 12);
	tiny_tell(k->t);
	is_told(k, 1, PIRN__REASON__NONE, 201);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 2);
	assert_int_equal(rig_figures(&k->rig).events_emitted, 2);
	assert_int_equal(rig_figures(&k->rig).accepted, 0);
	assert_int_equal(rig_figures(&k->rig).events_unrouted, 1);
	assert_int_equal(rig_figures(&k->rig).waiting_bytes, 0);
	asked_free(k);
}

static void test_a_failed_run_sends_nothing(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	sent_say(k, run(k, (struct call){ .slot = 1 }), 500, &sent_order, 1);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 500);
	sent_say(k, run(k, (struct call){ .slot = 2 }), 404, &sent_order, 1);
	rig_is_replied(&k->rig, 2, PIRN__REASON__NONE, 404);
	assert_int_equal(orders(k), 0);
	asked_free(k);
}

static void test_nobody_subscribes(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	sent_say(k, run(k, (struct call){ .slot = 1 }), 200,
		&(struct said){ .type = "nobody", .data = "" }, 1);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 200);
	assert_int_equal(rig_figures(&k->rig).events_unrouted, 1);
	assert_int_equal(rig_figures(&k->rig).sending, 0);
	asked_free(k);
}

/* ---- not taken -------------------------------------------------------------------- */

/* None of its good neighbours is stored either. */
static void refused(struct asked *k, const struct said *bad, uint32_t reason, uint32_t status)
{
	uint32_t before = open_events(k);

	sent_say(k, run(k, (struct call){ .slot = 1 }), 200, (struct said[]){ sent_order, *bad }, 2);
	rig_is_replied(&k->rig, 1, reason, status);
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__REPLY)->item.retry_after_ms > 0, status == 503);
	assert_int_equal(rig_acts(&k->rig, BRK_LOG), status == 502);
	assert_int_equal(open_events(k), before);
	assert_int_equal(rig_figures(&k->rig).unsent, 1);
	asked_free(k);
}

static void test_not_taken(void **state)
{
	static char large[BRK_EMITS_BYTES];
	struct brk_conf strict = tiny_conf();

	(void)state;
	strict.strict = true;
	refused(sent_shop(NULL), &(struct said){ .service = "nobody", .data = "" },
		PIRN__REASON__UNSENT, 502);
	refused(sent_shop(NULL), &(struct said){ .data = "" }, PIRN__REASON__UNSENT, 502);
	refused(sent_shop(NULL), &(struct said){ .type = "order.x", .data = large, .size = sizeof large },
		PIRN__REASON__UNSENT, 502);
	refused(sent_shop(&strict), &(struct said){ .type = "nobody", .data = "" },
		PIRN__REASON__UNSENT, 502);
}

static void test_bad_bytes(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	sent_result(k, run(k, (struct call){ .slot = 1 }), 200, (const uint8_t *)"\x0a\xff", 2, 2);
	rig_is_replied(&k->rig, 1, PIRN__REASON__UNSENT, 502);
	sent_result(k, run(k, (struct call){ .slot = 2 }), 200, NULL, 0, 4000000000u);
	rig_is_replied(&k->rig, 2, PIRN__REASON__MALFORMED, 400);
	sent_say(k, run(k, (struct call){ .slot = 3, .no_id = true }), 200, &sent_order, 1);
	rig_is_replied(&k->rig, 3, PIRN__REASON__UNSENT, 502);
	assert_int_equal(orders(k), 0);
	asked_free(k);
}

/* The bounds are those of what clients send; and a run that could not send is no failure of its service. */
static void test_no_room(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k;

	(void)state;
	conf.max_events = 1;
	k = sent_shop(&conf);
	for (uint32_t slot = 1; slot < 10; slot++) {
		sent_say(k, run(k, (struct call){ .slot = slot, .flags = PIRN__ITEM_FLAG__IDEMPOTENT }),
			200, (struct said[]){ sent_order, sent_order }, 2);
		rig_is_replied(&k->rig, slot, PIRN__REASON__UNSENT, 503);
	}
	assert_int_equal(rig_figures(&k->rig).unsent, 9);
	assert_int_equal(rig_figures(&k->rig).retried, 0);
	assert_int_equal(open_events(k), 0);
	sending(k, (struct call){ .slot = 10 });
	is_told(k, 10, PIRN__REASON__NONE, 200);
	asked_free(k);
}

/* The answer takes the request's place; it must not take others'. */
static void test_no_room_for_the_answer(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k;
	Pirn__Item first;

	(void)state;
	conf.max_bytes = 10;
	k = sent_shop(&conf);
	first = run(k, (struct call){ .slot = 1, .size = 1 });
	submit(k, (struct call){ .slot = 2 });
	sent_say(k, first, 200, &sent_order, 1);
	rig_is_replied(&k->rig, 1, PIRN__REASON__UNSENT, 503);
	assert_int_equal(open_events(k), 0);
	assert_int_equal(rig_figures(&k->rig).waiting_bytes, 7);
	asked_free(k);
}

static void test_without_redis(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k = sent_shop(NULL);

	(void)state;
	{
		Pirn__Item one = run(k, (struct call){ .slot = 1 });

		tiny_cut(k->t);
		sent_say(k, one, 200, &sent_order, 1);
	}
	rig_is_replied(&k->rig, 1, PIRN__REASON__UNSENT, 503);
	asked_free(k);
	conf.events = false;
	k = calloc(1, sizeof *k);
	assert_non_null(k);
	k->t = calloc(1, sizeof *k->t);
	assert_non_null(k->t);
	k->t->rig = &k->rig;
	k->rig = rig_new(&conf);
	rig_client(&k->rig, CLIENT);
	rig_worker(&k->rig, A, "hello", 10);
	sent_say(k, run(k, (struct call){ .slot = 1 }), 200, &sent_order, 1);
	rig_is_replied(&k->rig, 1, PIRN__REASON__UNSUPPORTED, 501);
	asked_free(k);
}

/* ---- what Redis says, or does not --------------------------------------------------- */

static void test_redis_refuses(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	k->t->next = STORE_OOM;
	sending(k, (struct call){ .slot = 1 });
	is_told(k, 1, PIRN__REASON__UNSENT, 503);
	assert_int_equal(orders(k), 0);
	assert_int_equal(open_events(k), 0);
	assert_true(brk_ledger_is_empty(k->rig.core));
	asked_free(k);
}

static void lost(bool happened)
{
	struct asked *k = sent_shop(NULL);

	if (!happened)
		k->t->next = STORE_LOST;
	sending(k, (struct call){ .slot = 1 });
	tiny_cut(k->t);
	assert_int_equal(k->t->n, happened);
	tiny_connect(k->t, true);
	is_told(k, 1, PIRN__REASON__NONE, 200);
	assert_int_equal(orders(k), 1);
	assert_int_equal(open_events(k), 1);
	asked_free(k);
}

static void test_the_reply_is_lost(void **state)
{
	(void)state;
	lost(true);
	lost(false);
}

/* Its caller hears it in time; what Redis has is there, what it has not got it never gets. */
static void silent(bool happened)
{
	struct asked *k = sent_shop(NULL);

	if (!happened)
		k->t->next = STORE_LOST;
	sending(k, (struct call){ .slot = 1, .left_ms = 8000 });
	tiny_cut(k->t);
	tiny_tick(k->t, 7499);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
	tiny_tick(k->t, 1);
	is_told(k, 1, PIRN__REASON__UNDECIDED, 503);
	tiny_connect(k->t, true);
	tiny_pass(k->t, 2000);
	assert_int_equal(orders(k), happened);
	assert_int_equal(open_events(k), happened);
	asked_free(k);
}

/* One that is behind another one, and was never sent. */
static void test_silent(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	silent(true);
	silent(false);
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 43 });
	tiny_turn(k->t);
	assert_int_equal(k->t->n_asks[BRK_ASK_STORE], 1);
	sending(k, (struct call){ .slot = 1, .left_ms = 400 });
	tiny_tick(k->t, 350);
	rig_is_replied(&k->rig, 1, PIRN__REASON__UNSENT, 503);
	assert_int_equal(orders(k), 1); /* the event before */
	asked_free(k);
}

static void test_fenced(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	k->t->beats[1] = 0;
	sending(k, (struct call){ .slot = 1 });
	is_told(k, 1, PIRN__REASON__UNDECIDED, 503);
	assert_int_equal(open_events(k), 0);
	asked_free(k);
	k = sent_shop(NULL);
	sending(k, (struct call){ .slot = 1 });
	tiny_tell_as(k->t, STORE_FENCED); /* by nobody: it has lost its data */
	is_told(k, 1, PIRN__REASON__NONE, 200);
	asked_free(k);
}

/* ---- who goes ----------------------------------------------------------------------- */

/* The run went well: what it sends goes on, also when it must be sent again. */
static void unheard(void (*go)(struct asked *))
{
	struct asked *k = sent_shop(NULL);

	k->t->next = STORE_LOST;
	sending(k, (struct call){ .slot = 1 });
	go(k);
	assert_int_equal(rig_figures(&k->rig).sending, 0);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__CANCEL), 0);
	tiny_cut(k->t);
	tiny_connect(k->t, true);
	for (int i = 0; i < 50; i++) {
		tiny_step(k->t);
		assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
	}
	assert_int_equal(orders(k), 1);
	asked_free(k);
}

static void cancel(struct asked *k)
{
	rig_item(&k->rig, CLIENT, PIRN__KIND__CANCEL, (struct rig_item){ .slot = 1, .generation = 1 });
	tiny_take(k->t);
	assert_int_equal(rig_figures(&k->rig).cancelled, 1);
}

static void leave(struct asked *k)
{
	rig_look(&k->rig, brk_core_gone(k->rig.core, k->rig.now_ms, CLIENT));
	tiny_take(k->t);
}

static void test_nobody_waits(void **state)
{
	(void)state;
	unheard(cancel);
	unheard(leave);
}

static void test_the_worker_goes(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	sending(k, (struct call){ .slot = 1, .flags = PIRN__ITEM_FLAG__IDEMPOTENT });
	rig_look(&k->rig, brk_core_gone(k->rig.core, k->rig.now_ms, A));
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
	is_told(k, 1, PIRN__REASON__NONE, 200);
	assert_int_equal(rig_figures(&k->rig).lost, 0);
	assert_int_equal(orders(k), 1);
	asked_free(k);
}

static void test_drain(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	sending(k, (struct call){ .slot = 1 });
	rig_look(&k->rig, brk_core_drain(k->rig.core, k->rig.now_ms));
	tiny_take(k->t);
	assert_false(brk_core_drained(k->rig.core));
	is_told(k, 1, PIRN__REASON__NONE, 200);
	asked_free(k);
	k = sent_shop(NULL);
	{ /* the run ends while the broker drains */
		Pirn__Item one = run(k, (struct call){ .slot = 1 });

		rig_look(&k->rig, brk_core_drain(k->rig.core, k->rig.now_ms));
		tiny_take(k->t);
		sent_say(k, one, 200, &sent_order, 1);
	}
	is_told(k, 1, PIRN__REASON__NONE, 200);
	assert_int_equal(orders(k), 1);
	asked_free(k);
	k = sent_shop(NULL);
	sending(k, (struct call){ .slot = 1 });
	rig_look(&k->rig, brk_core_end(k->rig.core, k->rig.now_ms));
	rig_is_replied(&k->rig, 1, PIRN__REASON__UNDECIDED, 503);
	asked_free(k);
}

/* ---- again ---------------------------------------------------------------------------- */

/* By another broker, as far as Redis can tell. */
static size_t twice(struct call c)
{
	struct asked *k = sent_shop(NULL);
	size_t n;

	c.slot = c.id = 1;
	sending(k, c);
	is_told(k, 1, PIRN__REASON__NONE, 200);
	c.slot = 2;
	sending(k, c);
	is_told(k, 2, PIRN__REASON__NONE, 200);
	n = orders(k);
	assert_int_equal(open_events(k), n);
	asked_free(k);
	return n;
}

static void test_repeated(void **state)
{
	(void)state;
	assert_int_equal(twice((struct call){ .flags = PIRN__ITEM_FLAG__IDEMPOTENT }), 1);
	assert_int_equal(twice((struct call){ .flags = 0 }), 2); /* nobody sends such a one again */
}

/* ---- with a key ------------------------------------------------------------------------- */

static void test_kept_after_it_is_stored(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	sending(k, (struct call){ .slot = 1, .keyed = true });
	assert_int_equal(k->t->n_asks[BRK_ASK_ANSWER], 0);
	tiny_tell(k->t);
	assert_int_equal(k->t->n_asks[BRK_ASK_ANSWER], 1);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
	tiny_tell(k->t);
	is_told(k, 1, PIRN__REASON__NONE, 200);
	submit(k, (struct call){ .slot = 2, .keyed = true });
	is_told(k, 2, PIRN__REASON__NONE, 200);
	assert_int_equal(rig_figures(&k->rig).dispatched, 2); /* the call, and the order */
	assert_int_equal(orders(k), 1);
	asked_free(k);
}

/* The key is free again, and the next run under it sends what this one could not. */
static void test_not_kept(void **state)
{
	struct asked *k = sent_shop(NULL);

	(void)state;
	k->t->next = STORE_OOM;
	sending(k, (struct call){ .slot = 1, .keyed = true });
	is_told(k, 1, PIRN__REASON__UNSENT, 503);
	assert_null(k->key.response);
	sending(k, (struct call){ .slot = 2, .keyed = true });
	is_told(k, 2, PIRN__REASON__NONE, 200);
	assert_int_equal(orders(k), 1);
	asked_free(k);
}

/* It was stored, and its broker died: the next run under the key sends it again, for nothing. */
static void test_again_under_its_key(void **state)
{
	struct asked *k = sent_shop(NULL);
	struct said said[] = { sent_order, sent_order };

	(void)state;
	sending(k, (struct call){ .slot = 1, .keyed = true });
	cancel(k);
	tiny_run(k->t);
	assert_null(k->key.response);
	sent_say(k, run(k, (struct call){ .slot = 2, .keyed = true }), 200, said, 2);
	is_told(k, 2, PIRN__REASON__NONE, 200);
	assert_non_null(k->key.response);
	assert_int_equal(orders(k), 2); /* the first's, and what this one has beyond it */
	assert_int_equal(rig_figures(&k->rig).duplicates, 1);
	asked_free(k);
}

static void test_no_room_for_keys(void **state)
{
	struct asked *k = sent_shop(NULL);
	struct said said[] = { sent_order, sent_order };

	(void)state;
	k->t->full = true;
	sent_say(k, run(k, (struct call){ .slot = 1, .keyed = true }), 200, said, 2);
	is_told(k, 1, PIRN__REASON__UNSENT, 503);
	assert_null(k->key.response);
	assert_int_equal(orders(k), 0);
	k->t->full = false;
	sent_say(k, run(k, (struct call){ .slot = 2, .keyed = true }), 200, said, 2);
	is_told(k, 2, PIRN__REASON__NONE, 200);
	assert_string_equal(k->t->keys[0].scope, BRK_SCOPE_SENT);
	assert_int_equal(orders(k), 2);
	asked_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answered_when_stored),
		cmocka_unit_test(test_a_failed_run_sends_nothing),
		cmocka_unit_test(test_nobody_subscribes),
		cmocka_unit_test(test_not_taken),
		cmocka_unit_test(test_bad_bytes),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_no_room_for_the_answer),
		cmocka_unit_test(test_without_redis),
		cmocka_unit_test(test_redis_refuses),
		cmocka_unit_test(test_the_reply_is_lost),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_fenced),
		cmocka_unit_test(test_nobody_waits),
		cmocka_unit_test(test_the_worker_goes),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_repeated),
		cmocka_unit_test(test_kept_after_it_is_stored),
		cmocka_unit_test(test_not_kept),
		cmocka_unit_test(test_again_under_its_key),
		cmocka_unit_test(test_no_room_for_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
