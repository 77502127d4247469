/* Questions about events: what became of one, who waits for its end, the list, cancelling,
 * dead letters. */
#include "tests/unit/core_asked.h"
#include "tests/unit/count_alloc.h"

#include "base/ulid.h"

static Pirn__Query wait_for(uint32_t event, uint32_t ms)
{
	Pirn__Query query = asked_query(PIRN__QUERY_KIND__INVOCATION, event);

	query.has_wait_ms = true;
	query.wait_ms = ms;
	return query;
}

static void result(struct asked *k, const Pirn__Item *run, uint32_t status)
{
	tiny_result(k->t, A, run, (struct rig_item){ .status = status, .data = "response" });
}

/* ---- one event, alive ---------------------------------------------------------- */

static void test_waiting_ready_running(void **state)
{
	struct asked *k = asked_new(NULL, 0);
	const Pirn__Invocation *one;

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1, .delay_ms = 5000 });
	tiny_run(k->t);
	one = asked_one(k, 1);
	assert_int_equal(one->state, PIRN__INVOCATION_STATE__WAITING);
	assert_int_equal(one->not_before_ms, tiny_ms(k->t) + 5000);
	assert_int_equal(one->accepted_ms, tiny_ms(k->t));
	assert_string_equal(one->service, "hello");
	assert_int_equal(one->attempt, 0);
	assert_int_equal(one->attempts, 10);
	tiny_pass(k->t, 5000);
	one = asked_one(k, 1);
	assert_int_equal(one->state, PIRN__INVOCATION_STATE__READY);
	assert_false(one->has_not_before_ms);
	assert_int_equal(k->t->n_asks[BRK_ASK_RESULT], 0);
	rig_credit(&k->rig, A, "hello", 1);
	tiny_pass(k->t, 1000);
	one = asked_one(k, 1);
	assert_int_equal(one->state, PIRN__INVOCATION_STATE__RUNNING);
	assert_int_equal(one->attempt, 1);
	assert_int_equal(one->n_history, 1);
	assert_int_equal(one->history[0]->attempt, 1);
	assert_int_equal(one->history[0]->started_ms, tiny_ms(k->t) - 1000);
	assert_false(one->history[0]->has_took_ms);
	assert_true(k->answer->loaded);
	assert_int_equal(k->answer->epoch, 1);
	asked_free(k);
}

static void test_between_attempts_and_ending(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, 0);
	const Pirn__Invocation *one;

	(void)state;
	result(k, &run, 500);
	one = asked_one(k, 1); /* MOVING */
	assert_int_equal(one->state, PIRN__INVOCATION_STATE__WAITING);
	assert_int_equal(one->attempt, 1);
	assert_int_equal(one->n_history, 1);
	assert_int_equal(one->history[0]->status, 500);
	assert_true(one->history[0]->has_took_ms);
	run = asked_run_next(k);
	one = asked_one(k, 1);
	assert_int_equal(one->state, PIRN__INVOCATION_STATE__RUNNING);
	assert_int_equal(one->n_history, 2);
	assert_int_equal(one->history[1]->attempt, 2);
	result(k, &run, 200);
	one = asked_one(k, 1);
	assert_int_equal(one->state, PIRN__INVOCATION_STATE__ENDING);
	asked_free(k);
}

/* A few ends let stores go without them, but for those that somebody waits for. */
static void test_an_end_that_is_waited_for_goes_with_a_store(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	struct tiny *t = k->t;

	(void)state;
	k->rig.core->conf.settle_ms = 20;
	k->rig.core->conf.ends_ms = 50;
	for (uint32_t i = 0; i < 3; i++) {
		Pirn__Item run = asked_event(k, 2 * i + 1, 0);

		if (i == 1)
			asked_ask(k, 77, wait_for(2 * i + 1, 1000));
		result(k, &run, 200);
		if (i == 2) /* it has ended, and is not settled */
			asked_ask(k, 77, wait_for(2 * i + 1, 1000));
		tiny_submit(t, CLIENT, (struct tiny_event){ .slot = 2 * i + 2 });
		tiny_turn(t);
		assert_int_equal(t->n_asks[BRK_ASK_SETTLE], i == 0 ? 0 : i + 1);
		tiny_tick(t, 100);
		tiny_run(t);
	}
	asked_free(k);
}

/* ---- one event that is not here -------------------------------------------------- */

static void test_ended_with_a_result(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, PIRN__ITEM_FLAG__WANT_RESULT);
	const Pirn__Invocation *one;

	(void)state;
	result(k, &run, 201);
	tiny_run(k->t);
	one = asked_one(k, 1);
	assert_int_equal(one->state, PIRN__INVOCATION_STATE__DONE);
	assert_int_equal(one->status, 201);
	assert_int_equal(one->attempt, 1);
	assert_string_equal(one->service, "hello");
	assert_int_equal(one->data.len, 8);
	assert_memory_equal(one->data.data, "response", 8);
	assert_int_equal(k->t->n_asks[BRK_ASK_DEAD_GET], 0);
	asked_free(k);
}

/* Its letter lies with one of two services, and nothing else is known of it. */
static void test_a_dead_letter(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	const Pirn__Invocation *one;

	(void)state;
	rig_worker(&k->rig, B, "other", 1);
	asked_die(k, 1);
	one = asked_one(k, 1);
	assert_int_equal(one->state, PIRN__INVOCATION_STATE__DEAD);
	assert_string_equal(one->service, "hello");
	assert_int_equal(one->attempt, 1);
	assert_int_equal(one->status, 404);
	assert_int_equal(one->n_history, 1);
	assert_int_equal(k->t->n_asks[BRK_ASK_DEAD_GET], 2);
	tiny_run(k->t); /* the other place's answer changes nothing */
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), 0);
	asked_free(k);
}

static void test_unknown(void **state)
{
	struct asked *k = asked_new(NULL, 0);
	const Pirn__Answer *answer;

	(void)state;
	tiny_pass(k->t, 2000);
	answer = asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 9));
	assert_int_equal(answer->n_invocations, 0);
	assert_int_equal(answer->reason, PIRN__REASON__NONE);
	assert_int_equal(answer->epoch, 1);
	assert_int_equal(answer->n_owners, 1);
	assert_int_equal(answer->owners[0], 1);
	assert_true(answer->loaded);
	/* Without a beat for too long this broker cannot say what it owns. */
	for (int i = 0; i < 10; i++) {
		rig_tick(&k->rig, 500);
		tiny_take(k->t);
	}
	k->t->first = k->t->last; /* nothing of that is told */
	answer = asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 9));
	assert_false(answer->loaded);
	asked_free(k);
}

/* One that arrives is nobody's to know yet. */
static void test_arriving(void **state)
{
	struct asked *k = asked_new(NULL, 0);

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
	asked_ask(k, 2, asked_query(PIRN__QUERY_KIND__INVOCATION, 1));
	assert_int_equal(k->t->n_asks[BRK_ASK_RESULT], 1);
	tiny_run(k->t);
	assert_int_equal(asked_one(k, 1)->state, PIRN__INVOCATION_STATE__READY);
	asked_free(k);
}

static void test_what_redis_cannot_tell(void **state)
{
	static const struct {
		enum store_code code;
		uint32_t reason;
	} cases[] = { { STORE_LOST, PIRN__REASON__UNDECIDED },
		{ STORE_BROKEN, PIRN__REASON__UNDECIDED },
		{ STORE_AWAY, PIRN__REASON__NOT_DURABLE } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct asked *k = asked_new(NULL, 0);

		k->next[BRK_ASK_RESULT] = cases[i].code;
		assert_int_equal(asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 9))->reason,
			cases[i].reason);
		asked_free(k);
	}
}

/* Of several asks for one question the first that fails answers it. */
static void test_a_letters_place_fails(void **state)
{
	struct asked *k = asked_new(NULL, 0);
	const Pirn__Answer *answer;

	(void)state;
	rig_worker(&k->rig, B, "other", 1);
	k->next[BRK_ASK_DEAD_GET] = STORE_AWAY;
	answer = asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 9));
	assert_int_equal(answer->reason, PIRN__REASON__NOT_DURABLE);
	tiny_run(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), 0);
	asked_free(k);
}

/* ---- waiting for the end ---------------------------------------------------------- */

static void test_wait_for_a_result(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, PIRN__ITEM_FLAG__WANT_RESULT);
	const Pirn__Answer *answer;

	(void)state;
	asked_ask(k, 7, wait_for(1, 60000));
	asked_ask(k, 8, wait_for(1, 60000));
	assert_int_equal(k->rig.out->n, 0);
	result(k, &run, 200);
	tiny_turn(k->t);
	tiny_tell(k->t); /* the settle: now it has ended, and its result is asked for twice */
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), 0);
	tiny_tell(k->t);
	answer = asked_look(k, 7);
	assert_int_equal(answer->invocations[0]->state, PIRN__INVOCATION_STATE__DONE);
	assert_memory_equal(answer->invocations[0]->data.data, "response", 8);
	tiny_tell(k->t);
	asked_look(k, 8);
	asked_free(k);
}

static void test_wait_without_a_result(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, 0);
	const Pirn__Invocation *one;

	(void)state;
	asked_ask(k, 7, wait_for(1, 60000));
	result(k, &run, 404);
	tiny_turn(k->t);
	tiny_tell(k->t);
	one = asked_look(k, 7)->invocations[0];
	assert_int_equal(one->state, PIRN__INVOCATION_STATE__DEAD);
	assert_int_equal(one->status, 404);
	assert_int_equal(one->attempt, 1);
	assert_true(one->ended_ms >= one->accepted_ms);
	asked_free(k);
}

/* A failed attempt is no end. */
static void test_wait_until_its_time(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, 0);

	(void)state;
	asked_ask(k, 7, wait_for(1, 2000));
	assert_true(brk_core_due(k->rig.core) <= k->rig.now_ms + 2000);
	result(k, &run, 500);
	tiny_turn(k->t);
	tiny_tell(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), 0);
	rig_tick(&k->rig, 1999);
	tiny_take(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), 0);
	rig_tick(&k->rig, 1);
	assert_int_equal(asked_look(k, 7)->n_invocations, 1);
	tiny_take(k->t);
	asked_free(k);
}

static void test_wait_is_bounded(void **state)
{
	struct asked *k = asked_new(NULL, 0);

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(k->t);
	asked_ask(k, 7, wait_for(1, UINT32_MAX));
	for (uint32_t ms = 0; ms + 500 < BRK_MAX_WAIT_MS; ms += 500) {
		tiny_tick(k->t, 500);
		assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), 0);
		tiny_run(k->t);
	}
	tiny_tick(k->t, 500);
	asked_look(k, 7);
	asked_free(k);
}

/* Another broker has it now: the asker shall ask that one. */
static void test_wait_for_one_that_is_taken(void **state)
{
	struct asked *k = asked_new(NULL, 0);

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(k->t);
	asked_ask(k, 7, wait_for(1, 60000));
	k->t->epoch = 5;
	k->t->beats[1] = 0;
	tiny_tick(k->t, 1000); /* a beat */
	while (rig_count(&k->rig, PIRN__KIND__ANSWER) == 0)
		tiny_tell(k->t);
	assert_int_equal(asked_look(k, 7)->reason, PIRN__REASON__MOVED);
	tiny_run(k->t);
	asked_free(k);
}

static void test_wait_and_drain(void **state)
{
	struct asked *k = asked_new(NULL, 0);

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(k->t);
	asked_ask(k, 7, wait_for(1, 60000));
	rig_look(&k->rig, brk_core_drain(k->rig.core, k->rig.now_ms));
	assert_int_equal(asked_look(k, 7)->invocations[0]->state, PIRN__INVOCATION_STATE__READY);
	asked_ask(k, 8, wait_for(1, 60000));
	asked_look(k, 8); /* at once */
	asked_free(k);
}

static void test_end_with_questions_open(void **state)
{
	struct asked *k = asked_new(NULL, 0);

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(k->t);
	asked_ask(k, 7, wait_for(1, 60000));
	asked_ask(k, 8, wait_for(9, 60000));
	rig_look(&k->rig, brk_core_end(k->rig.core, k->rig.now_ms));
	assert_int_equal(asked_look(k, 7)->reason, PIRN__REASON__MOVED);
	asked_free(k);
}

static void test_the_asker_is_gone(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, PIRN__ITEM_FLAG__WANT_RESULT);
	Pirn__Query query = wait_for(1, 60000);

	(void)state;
	rig_client(&k->rig, OTHER);
	asked_ask_many(k, OTHER, 7, 1, &query);
	query = wait_for(9, 0);
	asked_ask_many(k, OTHER, 8, 1, &query);
	rig_send(&k->rig, OTHER, PIRN__KIND__BYE);
	tiny_tell(k->t);
	assert_int_equal(k->rig.out->n, 0);
	rig_client(&k->rig, OTHER);
	query = wait_for(1, 60000);
	asked_ask_many(k, OTHER, 9, 1, &query);
	result(k, &run, 200);
	tiny_turn(k->t);
	tiny_tell(k->t); /* it ended, and its result is asked for */
	rig_send(&k->rig, OTHER, PIRN__KIND__BYE);
	tiny_run(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), 0);
	assert_int_equal(brk_core_due(k->rig.core) > k->rig.now_ms, true);
	asked_free(k);
}

static void test_cancel_of_a_question(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, 0);

	(void)state;
	asked_ask(k, 7, wait_for(1, 60000));
	asked_ask(k, 8, wait_for(1, 60000));
	rig_item(&k->rig, CLIENT, PIRN__KIND__CANCEL,
		(struct rig_item){ .slot = 7, .generation = 1 });
	rig_item(&k->rig, CLIENT, PIRN__KIND__CANCEL,
		(struct rig_item){ .slot = 8, .generation = 2 });
	result(k, &run, 200);
	tiny_turn(k->t);
	tiny_tell(k->t);
	asked_look(k, 8); /* alone */
	asked_free(k);
}

/* ---- cancelling events -------------------------------------------------------------- */

static void test_cancel_waiting(void **state)
{
	struct asked *k = asked_new(NULL, 0);
	const Pirn__Answer *answer;

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1, .delay_ms = 5000 });
	tiny_run(k->t);
	asked_ask(k, 7, wait_for(1, 60000));
	answer = asked_get(k, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 1));
	assert_int_equal(answer->count, 1);
	assert_int_equal(answer->invocations[0]->state, PIRN__INVOCATION_STATE__ENDING);
	tiny_turn(k->t);
	tiny_tell(k->t);
	assert_int_equal(
		asked_look(k, 7)->invocations[0]->state, PIRN__INVOCATION_STATE__CANCELLED_END);
	assert_int_equal(rig_figures(&k->rig).events_cancelled, 1);
	asked_free(k);
}

static void test_cancel_running(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, PIRN__ITEM_FLAG__WANT_RESULT);

	(void)state;
	asked_ask(k, 7, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 1));
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__CANCEL)->peer, A);
	assert_int_equal(asked_look(k, 7)->count, 1);
	result(k, &run, 200); /* crossed: nobody's any more */
	assert_int_equal(rig_figures(&k->rig).stale, 1);
	tiny_run(k->t);
	assert_int_equal(asked_one(k, 1)->state, PIRN__INVOCATION_STATE__CANCELLED_END);
	assert_int_equal(rig_figures(&k->rig).events_done, 0);
	/* It has ended: there is nothing left to cancel. */
	assert_int_equal(
		asked_get(k, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 1))->count, 0);
	assert_int_equal(k->answer->invocations[0]->state, PIRN__INVOCATION_STATE__CANCELLED_END);
	asked_free(k);
}

/* On its way into another entry: it is cancelled there. */
static void test_cancel_between_attempts(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, 0);

	(void)state;
	result(k, &run, 500);
	asked_ask(k, 7, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 1));
	assert_int_equal(asked_look(k, 7)->count, 1);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_cancelled, 1);
	assert_int_equal(tiny_living(k->t, 1), 0);
	asked_free(k);
}

/* Redis lost it, and it is stored anew: what was promised to be cancelled does not run. */
static void test_cancel_while_it_is_restored(void **state)
{
	struct asked *k = asked_new(NULL, 0);

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(k->t);
	k->t->epoch = 0;
	k->t->beats[1] = k->t->owner[1] = 0;
	k->t->n_numbers = 0;
	k->t->entries[0].gone = true;
	k->t->entries[0].journal = 0;
	tiny_tick(k->t, 1000);
	while (rig_figures(&k->rig).events_ready > 0)
		tiny_tell(k->t);
	asked_ask(k, 7, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 1));
	assert_int_equal(asked_look(k, 7)->count, 1);
	rig_credit(&k->rig, A, "hello", 1);
	tiny_pass(k->t, 3000);
	assert_int_equal(rig_figures(&k->rig).dispatched, 0);
	assert_int_equal(rig_figures(&k->rig).events_cancelled, 1);
	asked_free(k);
}

/* ---- the list ------------------------------------------------------------------------- */

static void test_list(void **state)
{
	struct asked *k = asked_new(NULL, 0);
	Pirn__Query query = asked_query(PIRN__QUERY_KIND__INVOCATIONS, 0);
	const Pirn__Answer *answer;

	(void)state;
	rig_worker(&k->rig, B, "other", 0);
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 3 });
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 2, .service = "other" });
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1, .delay_ms = 1000 });
	tiny_run(k->t);
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 4 }); /* arrives */
	answer = asked_get(k, query);
	assert_int_equal(answer->n_invocations, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(answer->invocations[i]->id.data[2], i + 1);
	query.service = (char *)(uintptr_t) "other";
	answer = asked_get(k, query);
	assert_int_equal(answer->n_invocations, 1);
	assert_string_equal(answer->invocations[0]->service, "other");
	query.service = NULL;
	query.has_state = true;
	query.state = PIRN__INVOCATION_STATE__WAITING;
	answer = asked_get(k, query);
	assert_int_equal(answer->n_invocations, 1);
	assert_int_equal(answer->invocations[0]->id.data[2], 1);
	assert_int_equal(k->t->n_asks[BRK_ASK_RESULT], 0);
	asked_free(k);
}

/* Pages follow one another, whatever the order of arrival, and each is there once. */
static void test_pages(void **state)
{
	enum { N = 500, PAGE = 30 };
	struct brk_conf conf = tiny_conf();
	struct asked *k = asked_new(&conf, 0);
	Pirn__Query query = asked_query(PIRN__QUERY_KIND__INVOCATIONS, 0);
	char cursor[BASE_ULID_TEXT + 1];
	uint32_t next = 1;

	(void)state;
	for (uint32_t i = 0; i < N; i++) {
		uint32_t slot = i * 7 % N + 1; /* in no order */

		tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = slot });
		if (i % 50 == 49)
			tiny_run(k->t);
		k->t->n_numbers = 0;
	}
	query.has_limit = true;
	query.limit = PAGE;
	for (;;) {
		const Pirn__Answer *answer = asked_get(k, query);

		for (size_t i = 0; i < answer->n_invocations; i++, next++)
			assert_memory_equal(
				answer->invocations[i]->id.data, asked_id(next).data, 16);
		if (answer->n_invocations < PAGE)
			break;
		base_ulid_print(answer->invocations[PAGE - 1]->id.data, cursor);
		query.cursor = cursor;
	}
	assert_int_equal(next, N + 1);
	query.has_limit = false;
	query.cursor = NULL;
	assert_int_equal(asked_get(k, query)->n_invocations, 100);
	asked_free(k);
}

/* ---- dead letters ------------------------------------------------------------------------ */

static void test_dead_list_and_get(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Query query = asked_dead(PIRN__QUERY_KIND__DEAD_LIST);
	const Pirn__Answer *answer;

	(void)state;
	asked_die(k, 1);
	asked_die(k, 2);
	answer = asked_get(k, query);
	assert_int_equal(answer->n_letters, 2);
	assert_string_equal(answer->cursor, "17");
	assert_string_equal(k->cursor, "0");
	assert_int_equal(k->about, 100);
	assert_false(answer->letters[0]->has_data);
	assert_int_equal(
		answer->letters[0]->event->deliveries[0]->end, PIRN__JOURNAL_END__END_DEAD);
	query.cursor = (char *)(uintptr_t) "17";
	query.has_limit = true;
	query.limit = 5000;
	asked_get(k, query);
	assert_string_equal(k->cursor, "17");
	assert_int_equal(k->about, BRK_MAX_LISTED);
	query = asked_dead(PIRN__QUERY_KIND__DEAD_GET);
	query.has_id = true;
	query.id = asked_id(2);
	answer = asked_get(k, query);
	assert_int_equal(answer->n_letters, 1);
	assert_memory_equal(answer->letters[0]->id.data, asked_id(2).data, 16);
	assert_int_equal(answer->letters[0]->data.len, 5);
	assert_memory_equal(answer->letters[0]->data.data, "event", 5);
	query.id = asked_id(3);
	assert_int_equal(asked_get(k, query)->n_letters, 0);
	asked_free(k);
}

static Pirn__Query about_ids(uint32_t what, ProtobufCBinaryData *ids, size_t n)
{
	Pirn__Query query = asked_dead(what);

	query.ids = ids;
	query.n_ids = n;
	return query;
}

static void test_redrive(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	ProtobufCBinaryData ids[3] = { asked_id(1), asked_id(2), asked_id(3) };
	Pirn__Query query = about_ids(PIRN__QUERY_KIND__DEAD_REDRIVE, ids, 3);
	const Pirn__Answer *answer;
	Pirn__Item run;

	(void)state;
	asked_die(k, 1);
	asked_die(k, 2);
	answer = asked_get(k, query);
	assert_int_equal(answer->count, 2);
	assert_int_equal(answer->n_ids, 2);
	assert_memory_equal(answer->ids[0].data, ids[0].data, 16);
	/* Until they are read this broker does not know what it has. */
	assert_false(brk_owner_is_loaded(k->rig.core));
	run = asked_run_next(k);
	assert_int_equal(run.attempt, 2);
	assert_int_equal(run.attempts, 11);
	result(k, &run, 200);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_running, 1);
	assert_int_equal(rig_figures(&k->rig).events_done, 1);
	answer = asked_get(k, query); /* nothing is left */
	assert_int_equal(answer->count, 0);
	assert_int_equal(asked_one(k, 2)->state, PIRN__INVOCATION_STATE__RUNNING);
	asked_free(k);
}

static void test_redrive_is_lost(void **state)
{
	for (int asker_gone = 0; asker_gone < 2; asker_gone++) {
		struct asked *k = asked_new(NULL, 10);
		ProtobufCBinaryData id = asked_id(1);
		Pirn__Query query = about_ids(PIRN__QUERY_KIND__DEAD_REDRIVE, &id, 1);

		(void)state;
		asked_die(k, 1);
		rig_client(&k->rig, OTHER);
		asked_ask_many(k, OTHER, 7, 1, &query);
		if (asker_gone)
			rig_send(&k->rig, OTHER, PIRN__KIND__BYE);
		tiny_tell_as(k->t, STORE_LOST); /* it happened */
		assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), !asker_gone);
		tiny_connect(k->t, false);
		tiny_connect(k->t, true);
		assert_int_equal(asked_run_next(k).attempt, 2);
		asked_free(k);
	}
}

static void test_redrive_did_not_happen(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	ProtobufCBinaryData id = asked_id(1);
	Pirn__Query query = about_ids(PIRN__QUERY_KIND__DEAD_REDRIVE, &id, 1);

	(void)state;
	asked_die(k, 1);
	k->next[BRK_ASK_REDRIVE] = STORE_LOST;
	assert_int_equal(asked_get(k, query)->reason, PIRN__REASON__UNDECIDED);
	tiny_connect(k->t, false);
	tiny_connect(k->t, true);
	tiny_pass(k->t, 3000);
	assert_int_equal(rig_figures(&k->rig).dispatched, 1);
	assert_true(brk_owner_is_loaded(k->rig.core));
	k->next[BRK_ASK_REDRIVE] = STORE_OOM;
	assert_int_equal(asked_get(k, query)->reason, PIRN__REASON__NOT_DURABLE);
	assert_int_equal(asked_get(k, query)->count, 1);
	asked_free(k);
}

static void test_redrive_by_a_broker_that_is_fenced(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	ProtobufCBinaryData id = asked_id(1);
	Pirn__Query query = about_ids(PIRN__QUERY_KIND__DEAD_REDRIVE, &id, 1);

	(void)state;
	asked_die(k, 1);
	k->t->epoch = 5;
	k->t->beats[1] = 0;
	assert_int_equal(asked_get(k, query)->reason, PIRN__REASON__NOT_DURABLE);
	assert_int_equal(rig_figures(&k->rig).fenced, 1);
	tiny_run(k->t); /* a new epoch */
	assert_int_equal(asked_get(k, query)->count, 1);
	assert_int_equal(asked_run_next(k).epoch, 6);
	asked_free(k);
}

/* There is no epoch to write under, or there will be none soon. */
static void test_redrive_needs_an_epoch(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	ProtobufCBinaryData id = asked_id(1);
	Pirn__Query query = about_ids(PIRN__QUERY_KIND__DEAD_REDRIVE, &id, 1);

	(void)state;
	asked_die(k, 1);
	tiny_connect(k->t, false);
	tiny_connect(k->t, true); /* OPEN is not answered yet */
	asked_ask(k, 7, query);
	assert_int_equal(asked_look(k, 7)->reason, PIRN__REASON__NOT_DURABLE);
	tiny_run(k->t);
	rig_look(&k->rig, brk_core_drain(k->rig.core, k->rig.now_ms));
	tiny_take(k->t);
	asked_ask(k, 8, query);
	assert_int_equal(asked_look(k, 8)->reason, PIRN__REASON__NOT_DURABLE);
	assert_int_equal(k->t->n_asks[BRK_ASK_REDRIVE], 0);
	asked_free(k);
}

static void test_purge(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	ProtobufCBinaryData ids[2] = { asked_id(1), asked_id(3) };
	Pirn__Query query = about_ids(PIRN__QUERY_KIND__DEAD_PURGE, ids, 2);

	(void)state;
	asked_die(k, 1);
	asked_die(k, 2);
	assert_int_equal(asked_get(k, query)->count, 1);
	assert_int_equal(asked_get(k, query)->count, 0);
	assert_int_equal(asked_get(k, asked_dead(PIRN__QUERY_KIND__DEAD_LIST))->n_letters, 1);
	k->next[BRK_ASK_PURGE] = STORE_LOST;
	assert_int_equal(asked_get(k, query)->reason, PIRN__REASON__UNDECIDED);
	asked_free(k);
}

/* UNTRUSTED: it was in Redis. */
static void test_what_is_no_letter(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Query get = asked_dead(PIRN__QUERY_KIND__DEAD_GET);

	(void)state;
	asked_die(k, 1);
	asked_die(k, 2);
	k->letters[0].head[0] ^= 0x55;
	assert_int_equal(asked_get(k, asked_dead(PIRN__QUERY_KIND__DEAD_LIST))->n_letters, 1);
	get.has_id = true;
	get.id = asked_id(1);
	assert_int_equal(asked_get(k, get)->n_letters, 0);
	get.id = asked_id(2);
	k->letters[1].body_size--; /* not what the head says */
	assert_int_equal(asked_get(k, get)->n_letters, 1);
	assert_false(k->answer->letters[0]->has_data);
	asked_free(k);
}

static void test_what_is_no_result(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = asked_event(k, 1, PIRN__ITEM_FLAG__WANT_RESULT);

	(void)state;
	result(k, &run, 200);
	tiny_run(k->t);
	k->results[0].head_size--;
	asked_ask(k, 7, asked_query(PIRN__QUERY_KIND__INVOCATION, 1));
	tiny_tell(k->t);
	rig_is_refused(&k->rig, 7, PIRN__REASON__OVERLOADED);
	asked_free(k);
}

/* ---- refused ------------------------------------------------------------------------------ */

static void is_refused(struct asked *k, Pirn__Query query, uint32_t reason)
{
	size_t open = k->t->last;

	asked_ask(k, 7, query);
	rig_is_refused(&k->rig, 7, reason);
	assert_int_equal(k->t->last, open);
}

static void test_malformed(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	ProtobufCBinaryData ids[BRK_MAX_LISTED + 1], id;
	Pirn__Query query;

	(void)state;
	for (size_t i = 0; i <= BRK_MAX_LISTED; i++)
		ids[i] = asked_id(1);
	is_refused(k, asked_query(0, 1), PIRN__REASON__MALFORMED);
	is_refused(k, asked_query(99, 1), PIRN__REASON__MALFORMED);
	is_refused(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 0), PIRN__REASON__MALFORMED);
	is_refused(k, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 0), PIRN__REASON__MALFORMED);
	is_refused(k, asked_query(PIRN__QUERY_KIND__DEAD_LIST, 1), PIRN__REASON__MALFORMED);
	is_refused(k, asked_dead(PIRN__QUERY_KIND__DEAD_GET), PIRN__REASON__MALFORMED);
	is_refused(k, asked_dead(PIRN__QUERY_KIND__DEAD_REDRIVE), PIRN__REASON__MALFORMED);
	is_refused(k, asked_dead(PIRN__QUERY_KIND__DEAD_PURGE), PIRN__REASON__MALFORMED);
	is_refused(k, about_ids(PIRN__QUERY_KIND__DEAD_PURGE, ids, BRK_MAX_LISTED + 1),
		PIRN__REASON__MALFORMED);
	id = (ProtobufCBinaryData){ 15, asked_id(1).data };
	is_refused(k, about_ids(PIRN__QUERY_KIND__DEAD_REDRIVE, &id, 1), PIRN__REASON__MALFORMED);
	query = asked_query(PIRN__QUERY_KIND__INVOCATION, 1);
	query.id.len = 15;
	is_refused(k, query, PIRN__REASON__MALFORMED);
	query = asked_dead(PIRN__QUERY_KIND__DEAD_LIST);
	query.service = (char *)(uintptr_t) "no/service";
	is_refused(k, query, PIRN__REASON__MALFORMED);
	query = asked_dead(PIRN__QUERY_KIND__DEAD_LIST);
	query.cursor = (char *)(uintptr_t) "12x";
	is_refused(k, query, PIRN__REASON__MALFORMED);
	query.cursor = (char *)(uintptr_t) "123456789012345678901";
	is_refused(k, query, PIRN__REASON__MALFORMED);
	query = asked_query(PIRN__QUERY_KIND__INVOCATIONS, 0);
	query.cursor = (char *)(uintptr_t) "12";
	is_refused(k, query, PIRN__REASON__MALFORMED);
	asked_free(k);
}

static void test_redis_is_away(void **state)
{
	struct asked *k = asked_new(NULL, 0);

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(k->t);
	tiny_connect(k->t, false);
	is_refused(k, asked_dead(PIRN__QUERY_KIND__DEAD_LIST), PIRN__REASON__NOT_DURABLE);
	assert_int_equal(asked_one(k, 1)->state, PIRN__INVOCATION_STATE__READY);
	assert_false(k->answer->loaded);
	assert_int_equal(
		asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATIONS, 0))->n_invocations, 1);
	asked_ask(k, 7, wait_for(9, 60000)); /* Redis may know it */
	assert_int_equal(asked_look(k, 7)->reason, PIRN__REASON__NOT_DURABLE);
	asked_free(k);
}

static void test_no_events_here(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct rig r;

	(void)state;
	conf.events = false;
	r = rig_new(&conf);
	rig_client(&r, CLIENT);
	struct asked k = { .rig = r, .t = &(struct tiny){ .rig = &r } };
	k.t->rig = &k.rig;
	asked_ask(&k, 7, asked_query(PIRN__QUERY_KIND__INVOCATION, 1));
	rig_is_refused(&k.rig, 7, PIRN__REASON__UNSUPPORTED);
	rig_free(&k.rig);
}

static void test_too_large(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k;

	(void)state;
	conf.max_item_bytes = 100;
	k = asked_new(&conf, 0);
	for (uint32_t i = 1; i <= 5; i++)
		tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = i });
	tiny_run(k->t);
	asked_ask(k, 7, asked_query(PIRN__QUERY_KIND__INVOCATIONS, 0));
	rig_is_refused(&k->rig, 7, PIRN__REASON__TOO_LARGE);
	asked_free(k);
}

static void test_bound(void **state)
{
	struct asked *k = asked_new(NULL, 0);
	Pirn__Query query = wait_for(1, 60000);

	(void)state;
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(k->t);
	for (uint32_t i = 0; i < BRK_MAX_QUESTIONS; i += BRK_MAX_ITEMS)
		asked_ask_many(k, CLIENT, i, BRK_MAX_ITEMS, &query);
	asked_ask(k, 7, query);
	rig_is_refused(&k->rig, 7, PIRN__REASON__OVERLOADED);
	rig_look(&k->rig, brk_core_drain(k->rig.core, k->rig.now_ms));
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), BRK_MAX_QUESTIONS);
	asked_free(k);
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Whichever allocation fails, a question gets one answer, and nothing stays behind. */
static void question_without_memory(struct asked *k, Pirn__Query query)
{
	size_t answers;
	unsigned long at = 0, used;

	do {
		count_alloc_start();
		count_alloc_fail_at(++at);
		asked_ask(k, 7, query);
		used = count_alloc_stop();
		count_alloc_fail_at(0);
		answers = rig_count(&k->rig, PIRN__KIND__ANSWER) +
			  rig_count(&k->rig, PIRN__KIND__REFUSED);
		while (k->t->first < k->t->last) {
			tiny_tell(k->t);
			answers += rig_count(&k->rig, PIRN__KIND__ANSWER) +
				   rig_count(&k->rig, PIRN__KIND__REFUSED);
		}
		if (query.wait_ms > 0 && answers == 0) {
			rig_item(&k->rig, CLIENT, PIRN__KIND__CANCEL,
				(struct rig_item){ .slot = 7, .generation = 1 });
			answers = 1;
		}
		assert_int_equal(answers, 1);
	} while (used >= at);
}

static void test_without_memory(void **state)
{
	ProtobufCBinaryData id = asked_id(9);
	struct asked *k;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	k = asked_new(NULL, 0);
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
	tiny_run(k->t);
	asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 9));
	question_without_memory(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 1));
	question_without_memory(k, wait_for(1, 60000));
	question_without_memory(k, asked_query(PIRN__QUERY_KIND__INVOCATION, 9));
	question_without_memory(k, asked_query(PIRN__QUERY_KIND__INVOCATIONS, 0));
	question_without_memory(k, asked_dead(PIRN__QUERY_KIND__DEAD_LIST));
	question_without_memory(k, about_ids(PIRN__QUERY_KIND__DEAD_REDRIVE, &id, 1));
	question_without_memory(k, about_ids(PIRN__QUERY_KIND__DEAD_PURGE, &id, 1));
	asked_free(k);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waiting_ready_running),
		cmocka_unit_test(test_between_attempts_and_ending),
		cmocka_unit_test(test_an_end_that_is_waited_for_goes_with_a_store),
		cmocka_unit_test(test_ended_with_a_result),
		cmocka_unit_test(test_a_dead_letter),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_arriving),
		cmocka_unit_test(test_what_redis_cannot_tell),
		cmocka_unit_test(test_a_letters_place_fails),
		cmocka_unit_test(test_wait_for_a_result),
		cmocka_unit_test(test_wait_without_a_result),
		cmocka_unit_test(test_wait_until_its_time),
		cmocka_unit_test(test_wait_is_bounded),
		cmocka_unit_test(test_wait_for_one_that_is_taken),
		cmocka_unit_test(test_wait_and_drain),
		cmocka_unit_test(test_end_with_questions_open),
		cmocka_unit_test(test_the_asker_is_gone),
		cmocka_unit_test(test_cancel_of_a_question),
		cmocka_unit_test(test_cancel_waiting),
		cmocka_unit_test(test_cancel_running),
		cmocka_unit_test(test_cancel_between_attempts),
		cmocka_unit_test(test_cancel_while_it_is_restored),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_dead_list_and_get),
		cmocka_unit_test(test_redrive),
		cmocka_unit_test(test_redrive_is_lost),
		cmocka_unit_test(test_redrive_did_not_happen),
		cmocka_unit_test(test_redrive_by_a_broker_that_is_fenced),
		cmocka_unit_test(test_redrive_needs_an_epoch),
		cmocka_unit_test(test_purge),
		cmocka_unit_test(test_what_is_no_letter),
		cmocka_unit_test(test_what_is_no_result),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_redis_is_away),
		cmocka_unit_test(test_no_events_here),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
