/* Questions that one broker answers, and questions that take all of them. */
#include "tests/unit/engine_rig.h"

#include "base/ulid.h"
#include "client/invocation.h"

static struct {
	unsigned ended;
	enum client_verdict verdict;
	enum _Pirn__Reason reason;
	size_t n, cancelled;
	bool partial;
	uint32_t state[4], attempt[4];
	uint8_t id[4];
	char service[4][16], body[16];
} told;

static const uint8_t some_id[16] = { 1, 2, 3 };

static int set_up(void **state)
{
	memset(&told, 0, sizeof told);
	return rig_set_up(state);
}

static void on_told(void *arg, const struct client_invocations *what)
{
	assert_ptr_equal(arg, &told);
	told.ended++;
	told.verdict = what->verdict;
	told.reason = what->reason;
	told.n = what->n;
	told.cancelled = what->cancelled;
	told.partial = what->partial;
	for (size_t i = 0; i < what->n && i < 4; i++) {
		const Pirn__Invocation *one = what->list[i];
		told.state[i] = one->state;
		told.attempt[i] = one->attempt;
		told.id[i] = one->id.data[0];
		snprintf(told.service[i], sizeof told.service[i], "%s", one->service);
		snprintf(told.body, sizeof told.body, "%.*s", (int)one->data.len,
			one->has_data ? (const char *)one->data.data : "");
	}
}

static void ask(uint32_t wait_ms)
{
	memset(&told, 0, sizeof told);
	assert_int_equal(
		client_invocation_ask(engine, some_id, wait_ms, on_told, &told, NULL), BASE_OK);
	assert_int_equal(told.ended, 0);
}

/* ---- what a broker says ------------------------------------------------------------ */

struct words {
	uint32_t epoch;
	uint32_t owners[4];
	size_t n_owners;
	bool not_loaded;
	enum _Pirn__Reason reason;
	uint32_t count;
	struct {
		uint8_t id; /* 0: the one that was asked for */
		const char *service;
		uint32_t state, attempt;
	} found[4];
};

static Pirn__Query *last_query(struct fake_broker *broker)
{
	const struct fake_item *item = fake_last(broker);

	assert_int_equal(item->kind, PIRN__KIND__QUERY);
	assert_true(item->data_size <= sizeof item->first); /* what the fixture keeps of it */
	return pirn__query__unpack(NULL, item->data_size, item->first);
}

static void say(struct fake_broker *broker, const struct words *w)
{
	const struct fake_item *to = fake_last(broker);
	Pirn__Answer answer = PIRN__ANSWER__INIT;
	Pirn__Invocation found[4], *list[4];
	uint8_t ids[4][16], bytes[1024];

	answer.has_epoch = answer.has_loaded = 1;
	answer.epoch = w->epoch;
	answer.loaded = !w->not_loaded;
	answer.owners = (uint32_t *)(uintptr_t)w->owners;
	answer.n_owners = w->n_owners;
	answer.has_reason = w->reason > 0;
	answer.reason = (uint32_t)w->reason;
	answer.has_count = 1;
	answer.count = w->count;
	answer.invocations = list;
	for (size_t i = 0; i < 4 && w->found[i].service; i++) {
		pirn__invocation__init(&found[i]);
		memcpy(ids[i], some_id, 16);
		if (w->found[i].id)
			ids[i][0] = w->found[i].id;
		found[i].id.data = ids[i];
		found[i].id.len = 16;
		found[i].service = (char *)(uintptr_t)w->found[i].service;
		found[i].state = w->found[i].state;
		found[i].has_attempt = 1;
		found[i].attempt = w->found[i].attempt;
		found[i].has_data = 1;
		found[i].data.data = (uint8_t *)(uintptr_t) "body";
		found[i].data.len = 4;
		list[answer.n_invocations++] = &found[i];
	}
	assert_int_equal(fake_send(broker, to->peer, PIRN__KIND__ANSWER, to->slot, to->generation,
				 0, 0, bytes, pirn__answer__pack(&answer, bytes)),
		BASE_OK);
}

static void both_asked(size_t times)
{
	UNTIL(&f, b[0]->n_items == times && b[1]->n_items == times);
}

static void assert_told(enum client_verdict verdict, size_t n)
{
	UNTIL(&f, told.ended);
	assert_int_equal(told.ended, 1);
	assert_int_equal(told.verdict, verdict);
	assert_int_equal(told.n, n);
}

#define RUNNING PIRN__INVOCATION_STATE__RUNNING
#define DONE    PIRN__INVOCATION_STATE__DONE
#define DEAD    PIRN__INVOCATION_STATE__DEAD

/* ---- what became of one -------------------------------------------------------------- */

static void the_owner_tells(void **state)
{
	(void)state;
	rig_start(2, 0);
	ask(0);
	both_asked(1);
	say(b[0], &(struct words){ .epoch = 1, .owners = { 1, 2 }, .n_owners = 2 });
	say(b[1], &(struct words){ .epoch = 2,
			  .owners = { 1, 2 },
			  .n_owners = 2,
			  .found = { { 0, "hello", RUNNING, 3 } } });
	assert_told(CLIENT_FOUND, 1);
	assert_int_equal(told.state[0], RUNNING);
	assert_int_equal(told.attempt[0], 3);
	assert_string_equal(told.service[0], "hello");
	assert_string_equal(told.body, "body");
	assert_false(told.partial);
}

static void the_later_word_holds(void **state)
{
	static const struct {
		uint32_t epoch[2], state[2], attempt[2], holds;
	} cases[] = {
		{ { 1, 2 }, { RUNNING, DONE }, { 1, 1 }, DONE },
		{ { 1, 2 }, { DONE, RUNNING }, { 1, 1 }, DONE },
		{ { 1, 2 }, { DEAD, RUNNING }, { 3, 4 }, RUNNING }, /* it was put back */
		{ { 1, 2 }, { RUNNING, DEAD }, { 4, 3 }, RUNNING },
		{ { 2, 1 }, { PIRN__INVOCATION_STATE__WAITING, RUNNING }, { 1, 1 },
			PIRN__INVOCATION_STATE__WAITING }, /* the other was adopted */
		{ { 1, 2 }, { PIRN__INVOCATION_STATE__WAITING, RUNNING }, { 1, 1 }, RUNNING },
	};

	(void)state;
	rig_start(2, 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ask(0);
		both_asked(i + 1);
		for (int k = 0; k < 2; k++)
			say(b[k], &(struct words){ .epoch = cases[i].epoch[k],
					  .owners = { 1, 2 },
					  .n_owners = 2,
					  .found = { { 0, "hello", cases[i].state[k],
						  cases[i].attempt[k] } } });
		assert_told(CLIENT_FOUND, 1);
		assert_int_equal(told.state[0], cases[i].holds);
	}
}

static void deliveries_come_by_service(void **state)
{
	(void)state;
	rig_start(2, 0);
	ask(0);
	both_asked(1);
	say(b[0], &(struct words){ .epoch = 1,
			  .found = { { 0, "b", RUNNING, 1 }, { 0, "c", DONE, 1 },
				  { 9, "a", DONE, 1 } } }); /* nobody asked for that one */
	say(b[1], &(struct words){
			  .epoch = 2, .found = { { 0, "a", RUNNING, 1 }, { 0, "c", DONE, 1 } } });
	assert_told(CLIENT_FOUND, 3);
	assert_string_equal(told.service[0], "a");
	assert_string_equal(told.service[1], "b");
	assert_string_equal(told.service[2], "c");
}

/* ---- unknown, or not to be said --------------------------------------------------------- */

static void unknown_takes_every_owner(void **state)
{
	static const struct {
		struct words a, z;
		enum client_verdict verdict;
		enum _Pirn__Reason reason;
	} cases[] = {
		{ { .epoch = 1, .owners = { 1, 2 }, .n_owners = 2 },
			{ .epoch = 2, .owners = { 1, 2 }, .n_owners = 2 }, CLIENT_UNKNOWN, 0 },
		/* one has not read all its journals */
		{ { .epoch = 1, .owners = { 1, 2 }, .n_owners = 2, .not_loaded = true },
			{ .epoch = 2, .owners = { 1, 2 }, .n_owners = 2 }, CLIENT_CANNOT_SAY,
			PIRN__REASON__UNDECIDED },
		/* an owner that did not answer, known to one of them only */
		{ { .epoch = 1, .owners = { 1, 2 }, .n_owners = 2 },
			{ .epoch = 2, .owners = { 1, 2, 3 }, .n_owners = 3 }, CLIENT_CANNOT_SAY,
			PIRN__REASON__UNDECIDED },
		/* no owner, so nobody who would have it */
		{ { .epoch = 1 }, { .epoch = 2 }, CLIENT_CANNOT_SAY, PIRN__REASON__UNDECIDED },
		/* one without an epoch has nothing to say; the other owns all there is */
		{ { .epoch = 0, .owners = { 7 }, .n_owners = 1 },
			{ .epoch = 2, .owners = { 2 }, .n_owners = 1 }, CLIENT_UNKNOWN, 0 },
		{ { .epoch = 1, .owners = { 1, 2 }, .n_owners = 2 },
			{ .epoch = 2,
				.owners = { 1, 2 },
				.n_owners = 2,
				.reason = PIRN__REASON__NOT_DURABLE },
			CLIENT_CANNOT_SAY, PIRN__REASON__NOT_DURABLE },
	};

	(void)state;
	rig_start(2, 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		ask(0);
		both_asked(i + 1);
		say(b[0], &cases[i].a);
		say(b[1], &cases[i].z);
		assert_told(cases[i].verdict, 0);
		assert_int_equal(told.reason, cases[i].reason);
	}
}

static void a_broker_that_falls_leaves_a_doubt(void **state)
{
	(void)state;
	rig_start(2, 0);
	ask(0);
	both_asked(1);
	say(b[0], &(struct words){ .epoch = 1, .owners = { 1, 2 }, .n_owners = 2 });
	fake_free(&b[1]);
	assert_told(CLIENT_CANNOT_SAY, 0);
	assert_int_equal(told.reason, PIRN__REASON__UNDECIDED);
	assert_true(told.partial);
	fake_free(&b[0]);
	UNTIL(&f, client_engine_brokers(engine) == 0);
	ask(0);
	assert_told(CLIENT_CANNOT_SAY, 0);
	assert_int_equal(told.reason, PIRN__REASON__NO_BROKER);
}

/* ---- waiting ------------------------------------------------------------------------------ */

static void without_a_wait_it_is_as_it_is_now(void **state)
{
	(void)state;
	rig_start(1, 0);
	ask(0);
	UNTIL(&f, b[0]->n_items == 1);
	say(b[0], &(struct words){ .epoch = 1, .found = { { 0, "hello", RUNNING, 1 } } });
	assert_told(CLIENT_FOUND, 1);
	assert_int_equal(b[0]->n_items, 1);
}

/* Its owner is gone, and nobody has adopted it yet: asked again until somebody has. */
static void while_there_is_time_it_is_asked_again(void **state)
{
	(void)state;
	rig_start(2, 0);
	ask(10000);
	both_asked(1);
	say(b[0], &(struct words){ .epoch = 1, .owners = { 1, 2, 3 }, .n_owners = 3 });
	say(b[1], &(struct words){ .epoch = 2, .owners = { 1, 2, 3 }, .n_owners = 3 });
	both_asked(2);
	assert_int_equal(told.ended, 0);
	say(b[0], &(struct words){ .epoch = 1, .owners = { 1, 2 }, .n_owners = 2 });
	say(b[1], &(struct words){ .epoch = 2,
			  .owners = { 1, 2 },
			  .n_owners = 2,
			  .found = { { 0, "hello", RUNNING, 1 } } });
	both_asked(3); /* it has not ended either */
	say(b[0], &(struct words){ .epoch = 1, .owners = { 1, 2 }, .n_owners = 2 });
	say(b[1], &(struct words){ .epoch = 2,
			  .owners = { 1, 2 },
			  .n_owners = 2,
			  .found = { { 0, "hello", DONE, 2 } } });
	assert_told(CLIENT_FOUND, 1);
	assert_int_equal(told.state[0], DONE);
}

static void what_was_found_stays_found(void **state)
{
	(void)state;
	rig_start(2, 0);
	ask(400);
	both_asked(1);
	say(b[0], &(struct words){ .epoch = 1, .owners = { 1, 2 }, .n_owners = 2 });
	say(b[1], &(struct words){ .epoch = 2,
			  .owners = { 1, 2 },
			  .n_owners = 2,
			  .found = { { 0, "hello", RUNNING, 1 } } });
	fake_free(&b[1]);
	UNTIL(&f, b[0]->n_items == 2);
	say(b[0], &(struct words){ .epoch = 1, .owners = { 1, 2 }, .n_owners = 2 });
	assert_told(CLIENT_FOUND, 1);
	assert_int_equal(told.state[0], RUNNING);
}

static void a_question_can_be_forgotten(void **state)
{
	struct client_question *q = NULL;

	(void)state;
	rig_start(1, 0);
	assert_int_equal(client_invocation_ask(engine, some_id, 1000, on_told, &told, &q), BASE_OK);
	assert_non_null(q);
	client_question_forget(&q);
	assert_null(q);
	client_question_forget(&q);
	UNTIL(&f, b[0]->n_items == 1);
	say(b[0], &(struct words){ .epoch = 1, .found = { { 0, "hello", RUNNING, 1 } } });
	ask(0);
	UNTIL(&f, b[0]->n_items == 2);
	say(b[0], &(struct words){ .epoch = 1, .owners = { 1 }, .n_owners = 1 });
	assert_told(CLIENT_UNKNOWN, 0); /* once: the first one is silent */
}

static void the_end_ends_questions(void **state)
{
	(void)state;
	rig_start(1, 0);
	ask(10000);
	client_engine_free(&engine);
	assert_int_equal(told.ended, 1);
	assert_int_equal(told.verdict, CLIENT_CANNOT_SAY);
	assert_int_equal(told.reason, PIRN__REASON__CANCELLED);
}

/* ---- cancelling ------------------------------------------------------------------------------ */

static void cancelling_tells_what_became_of_it(void **state)
{
	(void)state;
	rig_start(2, 0);
	assert_int_equal(
		client_invocation_cancel(engine, some_id, 0, on_told, &told, NULL), BASE_OK);
	both_asked(1);
	assert_int_equal(fake_last(b[0])->first[1], PIRN__QUERY_KIND__CANCEL_INVOCATION);
	say(b[0], &(struct words){ .epoch = 1 });
	say(b[1], &(struct words){ .epoch = 2, .count = 1 });
	both_asked(2);
	assert_int_equal(fake_last(b[0])->first[1], PIRN__QUERY_KIND__INVOCATION);
	say(b[0], &(struct words){ .epoch = 1 });
	say(b[1], &(struct words){ .epoch = 2,
			  .found = { { 0, "hello", PIRN__INVOCATION_STATE__CANCELLED_END, 0 } } });
	assert_told(CLIENT_FOUND, 1);
	assert_int_equal(told.cancelled, 1);
	assert_int_equal(told.state[0], PIRN__INVOCATION_STATE__CANCELLED_END);
}

static void nothing_to_cancel(void **state)
{
	(void)state;
	rig_start(1, 0);
	assert_int_equal(
		client_invocation_cancel(engine, some_id, 0, on_told, &told, NULL), BASE_OK);
	for (size_t i = 1; i <= 2; i++) {
		UNTIL(&f, b[0]->n_items == i);
		say(b[0], &(struct words){ .epoch = 1, .owners = { 1 }, .n_owners = 1 });
	}
	assert_told(CLIENT_UNKNOWN, 0);
	assert_int_equal(told.cancelled, 0);
}

/* ---- lists -------------------------------------------------------------------------------------- */

static void list(uint32_t limit)
{
	const struct client_invocation_filter filter = { .limit = limit };

	memset(&told, 0, sizeof told);
	assert_int_equal(client_invocation_list(engine, &filter, on_told, &told, NULL), BASE_OK);
}

static void lists_are_merged(void **state)
{
	(void)state;
	rig_start(2, 0);
	for (size_t round = 1; round <= 2; round++) {
		list(round == 1 ? 0 : 3);
		both_asked(round);
		say(b[0], &(struct words){ .epoch = 1,
				  .found = { { 2, "x", RUNNING, 1 }, { 5, "x", RUNNING, 1 } } });
		say(b[1], &(struct words){ .epoch = 2,
				  .found = { { 1, "x", RUNNING, 1 }, { 3, "x", RUNNING, 1 } } });
		assert_told(CLIENT_FOUND, round == 1 ? 4 : 3);
		assert_int_equal(told.id[0], 1);
		assert_int_equal(told.id[1], 2);
		assert_int_equal(told.id[2], 3);
		assert_false(told.partial);
	}
	list(0);
	both_asked(3);
	say(b[0], &(struct words){ .epoch = 1 });
	rig_refuse(b[1], fake_last(b[1]), PIRN__REASON__UNSUPPORTED);
	assert_told(CLIENT_FOUND, 0);
	assert_true(told.partial);
	list(0);
	both_asked(4);
	for (int i = 0; i < 2; i++)
		say(b[i], &(struct words){ .epoch = 1, .reason = PIRN__REASON__NOT_DURABLE });
	assert_told(CLIENT_CANNOT_SAY, 0);
	assert_int_equal(told.reason, PIRN__REASON__NOT_DURABLE);
}

static void a_filter_travels(void **state)
{
	const struct client_invocation_filter filter = {
		.service = "s", .state = RUNNING, .limit = 5000
	};
	Pirn__Query *query;

	(void)state;
	rig_start(1, 0);
	assert_int_equal(client_invocation_list(engine, &filter, on_told, &told, NULL), BASE_OK);
	UNTIL(&f, b[0]->n_items == 1);
	query = last_query(b[0]);
	assert_non_null(query);
	assert_int_equal(query->what, PIRN__QUERY_KIND__INVOCATIONS);
	assert_string_equal(query->service, "s");
	assert_int_equal(query->state, RUNNING);
	assert_int_equal(query->limit, 1000);
	assert_null(query->cursor);
	pirn__query__free_unpacked(query, NULL);
	say(b[0], &(struct words){ .epoch = 1 });
	assert_told(CLIENT_FOUND, 0);
}

/* ---- one broker ---------------------------------------------------------------------------------- */

static struct {
	unsigned ended, empty;
	uint32_t epoch;
} one;

static void on_one(void *arg, const Pirn__Answer *answer)
{
	assert_ptr_equal(arg, &one);
	one.ended++;
	one.empty += answer == NULL;
	one.epoch = answer ? answer->epoch : 0;
}

static void ask_one(uint32_t timeout_ms)
{
	Pirn__Query query = PIRN__QUERY__INIT;

	memset(&one, 0, sizeof one);
	query.has_what = 1;
	query.what = PIRN__QUERY_KIND__DEAD_LIST;
	assert_int_equal(client_engine_ask(engine, &query, timeout_ms, on_one, &one), BASE_OK);
	assert_int_equal(one.ended, 0);
}

static void one_broker_is_asked(void **state)
{
	int who;

	(void)state;
	rig_start(2, 0);
	ask_one(10000);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	who = rig_who();
	say(b[who], &(struct words){ .epoch = 8 });
	UNTIL(&f, one.ended);
	assert_int_equal(one.epoch, 8);
	say(b[who], &(struct words){ .epoch = 9 }); /* nobody asks any more */
	ask_one(10000);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 2);
	assert_int_equal(b[0]->n_items, 1); /* in turn */
	assert_int_equal(one.ended, 0);
}

static void another_one_when_it_is_lost_or_will_not(void **state)
{
	int who;

	(void)state;
	rig_start(2, 0);
	ask_one(10000);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	who = rig_who();
	rig_refuse(b[who], fake_last(b[who]), PIRN__REASON__DRAINING);
	UNTIL(&f, b[1 - who]->n_items == 1);
	rig_refuse(b[1 - who], fake_last(b[1 - who]), PIRN__REASON__DRAINING);
	UNTIL(&f, one.ended); /* once each */
	assert_int_equal(one.empty, 1);
	b[0]->n_items = b[1]->n_items = 0;
	ask_one(10000);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	who = rig_who();
	fake_free(&b[who]);
	UNTIL(&f, b[1 - who]->n_items == 1);
	say(b[1 - who], &(struct words){ .epoch = 5 });
	UNTIL(&f, one.ended);
	assert_int_equal(one.epoch, 5);
}

static void or_nobody(void **state)
{
	(void)state;
	rig_start(1, 0);
	ask_one(20);
	UNTIL(&f, one.ended);
	assert_int_equal(one.empty, 1);
	fake_free(&b[0]);
	UNTIL(&f, client_engine_brokers(engine) == 0);
	ask_one(10000);
	UNTIL(&f, one.ended);
	assert_int_equal(one.empty, 1);
}

/* More than a batch's share: it travels alone and by reference. */
static void a_thousand_ids(void **state)
{
	static uint8_t ids[1000][16];
	static ProtobufCBinaryData list_of_ids[1000];
	Pirn__Query query = PIRN__QUERY__INIT;

	(void)state;
	rig_start(1, 0);
	for (int i = 0; i < 1000; i++)
		list_of_ids[i] = (ProtobufCBinaryData){ .data = ids[i], .len = 16 };
	query.has_what = 1;
	query.what = PIRN__QUERY_KIND__DEAD_REDRIVE;
	query.ids = list_of_ids;
	query.n_ids = 1000;
	memset(&one, 0, sizeof one);
	assert_int_equal(client_engine_ask(engine, &query, 10000, on_one, &one), BASE_OK);
	UNTIL(&f, b[0]->n_items == 1);
	assert_int_equal(fake_last(b[0])->data_size, 2 + 1000 * 18);
	say(b[0], &(struct words){ .epoch = 1 });
	UNTIL(&f, one.ended);
	assert_int_equal(one.empty, 0);
}

static void states_have_names(void **state)
{
	(void)state;
	assert_string_equal(client_invocation_state_name(PIRN__INVOCATION_STATE__READY), "ready");
	assert_string_equal(client_invocation_state_name(DEAD), "dead");
	assert_string_equal(client_invocation_state_name(0), "unknown");
	assert_string_equal(client_invocation_state_name(9), "unknown");
	for (uint32_t i = 0; i < 12; i++)
		assert_int_equal(client_invocation_has_ended(i), i >= 5 && i <= 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, rig_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_owner_tells),
		TEST(the_later_word_holds),
		TEST(deliveries_come_by_service),
		TEST(unknown_takes_every_owner),
		TEST(a_broker_that_falls_leaves_a_doubt),
		TEST(without_a_wait_it_is_as_it_is_now),
		TEST(while_there_is_time_it_is_asked_again),
		TEST(what_was_found_stays_found),
		TEST(a_question_can_be_forgotten),
		TEST(the_end_ends_questions),
		TEST(cancelling_tells_what_became_of_it),
		TEST(nothing_to_cancel),
		TEST(lists_are_merged),
		TEST(a_filter_travels),
		TEST(one_broker_is_asked),
		TEST(another_one_when_it_is_lost_or_will_not),
		TEST(or_nobody),
		TEST(a_thousand_ids),
		TEST(states_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
