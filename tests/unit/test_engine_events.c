/* Events through brokers: accepted, refused, moved, in doubt, and never twice. */
#include "tests/unit/engine_rig.h"

#include "base/clock.h"

#define EVENTS 64

static struct sent {
	unsigned ended;
	struct client_reply reply;
	uint64_t handle;
} sent[EVENTS];

static int set_up(void **state)
{
	memset(sent, 0, sizeof sent);
	return rig_set_up(state);
}

static void on_reply(void *arg, const struct client_reply *reply)
{
	struct sent *s = arg;

	s->ended++;
	s->reply = *reply;
}

static struct client_request event_of(uint32_t timeout_ms)
{
	static uint8_t next;
	struct client_request request = { .service = "a",
		.timeout_ms = timeout_ms,
		.event = true,
		.payload = { .data = (const uint8_t *)"event", .data_size = 5 } };

	memset(request.id, ++next, sizeof request.id);
	return request;
}

static void submit_with(struct sent *s, const struct client_request *request)
{
	assert_int_equal(client_engine_call(engine, request, on_reply, s, &s->handle), BASE_OK);
	assert_int_equal(s->ended, 0);
}

static void submit(struct sent *s)
{
	struct client_request request = event_of(10000);

	submit_with(s, &request);
}

static void assert_decided(const struct sent *s, enum _Pirn__Reason reason, uint32_t status)
{
	assert_int_equal(s->ended, 1);
	assert_int_equal(s->reply.reason, reason);
	assert_int_equal(s->reply.status, status);
}

static void assert_same_event(const struct fake_item *a, const struct fake_item *z)
{
	assert_int_equal(a->kind, PIRN__KIND__SUBMIT);
	assert_int_equal(z->kind, PIRN__KIND__SUBMIT);
	assert_true(a->lane == z->lane);
	assert_int_equal(a->number, z->number);
	assert_memory_equal(a->id, z->id, 16);
	assert_memory_equal(a->first, z->first, 5);
	assert_int_equal(z->flags, a->flags);
}

/* ---- one broker ----------------------------------------------------------------- */

static void an_event_is_accepted(void **state)
{
	static const uint8_t hash[16] = "sixteen bytes...";
	struct client_request request = event_of(10000);
	const struct fake_item *item;

	(void)state;
	rig_start(1, 0);
	request.want_result = request.ack_memory = true;
	request.not_before_ms = 1234567890123;
	request.delay_ms = 86400000;
	request.key = (const uint8_t *)"the key";
	request.key_size = 7;
	request.hash = hash;
	submit_with(&sent[0], &request);
	UNTIL(&f, b[0]->n_items == 1);
	item = fake_last(b[0]);
	assert_int_equal(item->flags, PIRN__ITEM_FLAG__EVENT | PIRN__ITEM_FLAG__WANT_RESULT |
					      PIRN__ITEM_FLAG__ACK_MEMORY);
	assert_int_equal(item->number, 1);
	assert_memory_equal(item->id, request.id, 16);
	assert_int_equal(item->key_size, 7);
	assert_memory_equal(item->key, "the key", 7);
	assert_memory_equal(item->hash, hash, 16);
	assert_int_equal(item->not_before_ms, 1234567890123);
	assert_true(item->delay_ms > 86300000 && item->delay_ms <= 86400000);
	assert_true(item->left_ms > 9000 && item->left_ms <= 10000);
	fake_accept(b[0], item, NULL);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
	assert_memory_equal(sent[0].reply.id, request.id, 16);
	assert_false(sent[0].reply.replayed);
	assert_int_equal(client_engine_open(engine), 0);
}

static void events_are_numbered_in_one_lane(void **state)
{
	(void)state;
	rig_start(2, 0);
	for (int i = 0; i < EVENTS; i++)
		submit(&sent[i]);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == EVENTS);
	assert_int_equal(b[0]->n_items, EVENTS / 2); /* by fewest under way */
	assert_true(b[0]->items[0].lane == b[1]->items[0].lane);
	assert_true(b[0]->items[0].lane != 0);
	for (uint64_t i = 1; i <= EVENTS; i++) {
		unsigned seen = 0;
		for (int k = 0; k < EVENTS; k++)
			seen += b[k % 2]->items[k / 2].number == i;
		assert_int_equal(seen, 1);
	}
}

static void a_known_key_brings_the_first_id(void **state)
{
	static const uint8_t first[16] = "the first one's";

	(void)state;
	rig_start(1, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items == 1);
	fake_accept(b[0], fake_last(b[0]), first);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
	assert_true(sent[0].reply.replayed);
	assert_memory_equal(sent[0].reply.id, first, 16);
}

/* It was stored before its link fell: its key is known, by itself. */
static void ones_own_key_is_no_replay(void **state)
{
	struct fake_item item;

	(void)state;
	rig_start(1, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items == 1);
	rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__MOVED);
	UNTIL(&f, b[0]->n_items == 2);
	item = *fake_last(b[0]);
	fake_accept(b[0], &item, item.id);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
	assert_false(sent[0].reply.replayed);
	assert_memory_equal(sent[0].reply.id, item.id, 16);
}

static void keys_have_bounds(void **state)
{
	static const uint8_t key[256], hash[16];
	struct client_request request = event_of(10000);

	(void)state;
	rig_start(1, 0);
	request.key = key;
	request.key_size = 255;
	assert_int_equal(
		client_engine_call(engine, &request, on_reply, &sent[0], NULL), BASE_INVALID);
	request.hash = hash;
	request.key_size = 256;
	assert_int_equal(
		client_engine_call(engine, &request, on_reply, &sent[0], NULL), BASE_INVALID);
	request.key_size = 255;
	submit_with(&sent[0], &request);
	UNTIL(&f, b[0]->n_items == 1);
	assert_int_equal(fake_last(b[0])->key_size, 255);
}

static void refusals_stand(void **state)
{
	static const struct {
		enum _Pirn__Reason reason;
		uint32_t status;
	} all[] = {
		{ PIRN__REASON__UNKNOWN_SERVICE, 404 },
		{ PIRN__REASON__QUEUE_FULL, 429 },
		{ PIRN__REASON__OVERLOADED, 503 },
		{ PIRN__REASON__NOT_DURABLE, 503 },
		{ PIRN__REASON__KEY_BODY, 422 },
		{ PIRN__REASON__KEYS_FULL, 503 },
		{ PIRN__REASON__UNSUPPORTED, 501 },
	};

	(void)state;
	rig_start(1, 0);
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		submit(&sent[i]);
		UNTIL(&f, b[0]->n_items == i + 1);
		rig_refuse(b[0], fake_last(b[0]), all[i].reason);
		UNTIL(&f, sent[i].ended);
		assert_decided(&sent[i], all[i].reason, all[i].status);
	}
}

/* UNTRUSTED: only ACCEPTED takes an event, and only an event is accepted. */
static void answers_of_the_wrong_kind(void **state)
{
	struct client_request call = event_of(10000);
	const struct fake_item *item;

	(void)state;
	rig_start(1, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items == 1);
	item = fake_last(b[0]);
	assert_int_equal(fake_send(b[0], item->peer, PIRN__KIND__REPLY, item->slot,
				 item->generation, 200, 0, NULL, 0),
		BASE_OK);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__OVERLOADED, 503);
	call.event = false;
	submit_with(&sent[1], &call);
	UNTIL(&f, b[0]->n_items == 2);
	item = fake_last(b[0]);
	assert_int_equal(item->number, 0);
	fake_accept(b[0], item, NULL);
	assert_int_equal(fake_send(b[0], item->peer, PIRN__KIND__REPLY, item->slot,
				 item->generation, 200, 0, NULL, 0),
		BASE_OK);
	UNTIL(&f, sent[1].ended);
	assert_decided(&sent[1], PIRN__REASON__NONE, 200);
}

/* ---- versions --------------------------------------------------------------------- */

/* What an older broker would take for something else goes to the newer one, or waits for one. */
static void an_older_broker_gets_nothing_that_it_does_not_know(void **state)
{
	struct client_request requests[4];
	static const char url[] = "https://app.example/done";

	(void)state;
	rig_brokers(2);
	b[0]->older = true;
	rig_engine(2, 50);
	for (size_t i = 0; i < 4; i++)
		requests[i] = event_of(10000);
	requests[0].timer = "hello/often";
	requests[0].slot_ms = 1000;
	requests[1].service = NULL;
	requests[1].type = "order.created";
	requests[2].callback = url;
	requests[2].callback_size = strlen(url);
	for (size_t i = 0; i < 3; i++) {
		submit_with(&sent[i], &requests[i]);
		UNTIL(&f, b[1]->n_items == i + 1);
		fake_accept(b[1], fake_last(b[1]), NULL);
		UNTIL(&f, sent[i].ended);
		assert_decided(&sent[i], PIRN__REASON__NONE, 202);
	}
	assert_int_equal(b[0]->n_items, 0);
	submit_with(&sent[3], &requests[3]); /* any of them knows this */
	submit_with(&sent[4], &requests[3]);
	UNTIL(&f, b[0]->n_items == 1 && b[1]->n_items == 4);
	fake_free(&b[1]);
	UNTIL(&f, client_engine_brokers(engine) == 1);
	submit_with(&sent[5], &requests[0]);
	UNTIL(&f, sent[5].ended);
	assert_decided(&sent[5], PIRN__REASON__NO_BROKER, 503);
	for (size_t i = 0; i < b[0]->n_items; i++)
		assert_string_equal(b[0]->items[i].timer, "");
}

/* ---- resubmission ---------------------------------------------------------------- */

static void after_moved_it_goes_to_another(void **state)
{
	int first;

	(void)state;
	rig_start(2, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	first = rig_who();
	rig_refuse(b[first], fake_last(b[first]), PIRN__REASON__MOVED);
	UNTIL(&f, b[1 - first]->n_items == 1);
	assert_same_event(fake_last(b[first]), fake_last(b[1 - first]));
	fake_accept(b[1 - first], fake_last(b[1 - first]), NULL);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
}

static void or_comes_back_after_a_pause(void **state)
{
	(void)state;
	rig_start(1, 0);
	submit(&sent[0]);
	for (size_t i = 1; i <= 3; i++) {
		UNTIL(&f, b[0]->n_items == i);
		assert_same_event(&b[0]->items[0], fake_last(b[0]));
		rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__MOVED);
	}
	UNTIL(&f, b[0]->n_items == 4);
	fake_accept(b[0], fake_last(b[0]), NULL);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
}

static void a_lost_link_is_no_end(void **state)
{
	struct fake_item item;
	int first;

	(void)state;
	rig_start(2, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	first = rig_who();
	item = *fake_last(b[first]);
	fake_free(&b[first]);
	UNTIL(&f, b[1 - first]->n_items == 1);
	assert_same_event(&item, fake_last(b[1 - first]));
	fake_accept(b[1 - first], fake_last(b[1 - first]), NULL);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
}

/* Longer than a call would wait, and more often than one would be sent. */
static void an_event_outlives_many_brokers(void **state)
{
	struct fake_item item;

	(void)state;
	rig_start(1, 1);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items == 1);
	item = *fake_last(b[0]);
	for (uint8_t i = 1; i <= 4; i++) {
		fake_free(&b[0]);
		UNTIL(&f, client_engine_brokers(engine) == 0);
		b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), (uint8_t)(10 + i));
		UNTIL(&f, b[0]->n_items == 1);
		assert_same_event(&item, fake_last(b[0]));
	}
	fake_accept(b[0], fake_last(b[0]), NULL);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
}

static void the_delay_does_not_begin_anew(void **state)
{
	struct client_request request = event_of(10000);
	uint64_t started;

	(void)state;
	rig_start(1, 0);
	request.delay_ms = 5000;
	submit_with(&sent[0], &request);
	UNTIL(&f, b[0]->n_items == 1);
	assert_int_equal(fake_last(b[0])->delay_ms, 5000);
	started = net_loop_now_ms(f.loop);
	rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__MOVED);
	UNTIL(&f, b[0]->n_items == 2); /* a pause of 50 ms at least */
	assert_true(fake_last(b[0])->delay_ms <= 5000 - 50);
	assert_true(fake_last(b[0])->delay_ms + (net_loop_now_ms(f.loop) - started) >= 4900);
}

static void what_one_lacks_another_may_have(void **state)
{
	static const enum _Pirn__Reason lacks[] = { PIRN__REASON__NOT_DURABLE,
		PIRN__REASON__UNKNOWN_SERVICE };
	int first;

	(void)state;
	rig_start(2, 0);
	for (size_t i = 0; i < 2; i++) {
		b[0]->n_items = b[1]->n_items = 0;
		submit(&sent[i]);
		UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
		first = rig_who();
		rig_refuse(b[first], fake_last(b[first]), lacks[i]);
		UNTIL(&f, b[1 - first]->n_items == 1);
		rig_refuse(b[1 - first], fake_last(b[1 - first]), lacks[i]);
		UNTIL(&f, sent[i].ended); /* once each */
		assert_int_equal(sent[i].reply.reason, lacks[i]);
		assert_int_equal(b[0]->n_items + b[1]->n_items, 2);
	}
}

/* 503 rather than 404: one of them knows the service. */
static void who_knows_the_service_knows_better(void **state)
{
	int first;

	(void)state;
	rig_start(2, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	first = rig_who();
	rig_refuse(b[first], fake_last(b[first]), PIRN__REASON__NOT_DURABLE);
	UNTIL(&f, b[1 - first]->n_items == 1);
	rig_refuse(b[1 - first], fake_last(b[1 - first]), PIRN__REASON__UNKNOWN_SERVICE);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NOT_DURABLE, 503);
}

static void a_draining_broker_sends_it_on(void **state)
{
	(void)state;
	rig_start(1, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items == 1);
	rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__DRAINING);
	assert_int_equal(
		net_router_control(b[0]->router, b[0]->peers[0], PIRN__KIND__DRAIN, NULL), BASE_OK);
	UNTIL(&f, client_engine_brokers(engine) == 0);
	fake_free(&b[0]);
	b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 3);
	UNTIL(&f, b[0]->n_items == 1);
	/* It was refused before it was in anybody's hands: a refusal is the whole truth. */
	rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__QUEUE_FULL);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__QUEUE_FULL, 429);
}

/* ---- doubt ------------------------------------------------------------------------- */

/* The first broker may have stored it: no refusal of the second says that it did not. */
static void in_doubt_a_refusal_is_no_answer(void **state)
{
	(void)state;
	rig_start(1, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items == 1);
	rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__MOVED);
	UNTIL(&f, b[0]->n_items == 2);
	rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__QUEUE_FULL);
	UNTIL(&f, b[0]->n_items == 3);
	rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__NOT_DURABLE);
	UNTIL(&f, b[0]->n_items == 4);
	assert_int_equal(sent[0].ended, 0);
	fake_accept(b[0], fake_last(b[0]), NULL);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
}

static void but_another_body_is(void **state)
{
	(void)state;
	rig_start(1, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items == 1);
	rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__UNDECIDED);
	UNTIL(&f, b[0]->n_items == 2);
	rig_refuse(b[0], fake_last(b[0]), PIRN__REASON__KEY_BODY);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__KEY_BODY, 422);
}

static void without_a_decision_it_is_undecided(void **state)
{
	struct client_request request = event_of(30);

	(void)state;
	rig_start(1, 0);
	submit_with(&sent[0], &request); /* never answered */
	UNTIL(&f, b[0]->n_items == 1);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__UNDECIDED, 503);
	assert_memory_equal(sent[0].reply.id, request.id, 16);
	request = event_of(200);
	submit_with(&sent[1], &request); /* lost with its link */
	UNTIL(&f, b[0]->n_items == 2);
	fake_free(&b[0]);
	UNTIL(&f, sent[1].ended);
	assert_decided(&sent[1], PIRN__REASON__UNDECIDED, 503);
}

static void what_never_left_is_not_in_doubt(void **state)
{
	struct client_request request = event_of(20);

	(void)state;
	rig_start(0, 40);
	submit_with(&sent[0], &request);
	request = event_of(10000);
	submit_with(&sent[1], &request);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__DEADLINE, 504);
	UNTIL(&f, sent[1].ended);
	assert_decided(&sent[1], PIRN__REASON__NO_BROKER, 503);
}

static void nobody_waits_longer_than_a_minute(void **state)
{
	struct client_request request = event_of(3600000);

	(void)state;
	rig_start(1, 0);
	submit_with(&sent[0], &request);
	request = event_of(0);
	submit_with(&sent[1], &request);
	UNTIL(&f, b[0]->n_items == 2);
	for (int i = 0; i < 2; i++)
		assert_true(b[0]->items[i].left_ms > 59000 && b[0]->items[i].left_ms <= 60000);
}

static void hanging_up_does_not_recall_an_event(void **state)
{
	(void)state;
	rig_start(1, 0);
	submit(&sent[0]);
	UNTIL(&f, b[0]->n_items == 1);
	client_engine_cancel(engine, sent[0].handle);
	assert_int_equal(client_engine_open(engine), 0);
	fake_accept(b[0], fake_last(b[0]), NULL);
	submit(&sent[1]);
	UNTIL(&f, b[0]->n_items == 2);
	assert_int_equal(fake_last(b[0])->kind, PIRN__KIND__SUBMIT); /* no CANCEL between them */
	assert_int_equal(sent[0].ended, 0);
}

/* ---- the late one is oneself --------------------------------------------------------- */

/* As SIGSTOP does: time goes by and the loop does not turn. */
static void stand_still(uint64_t ms)
{
	uint64_t until = base_clock_ms() + ms;

	while (base_clock_ms() < until)
		(void)!poll(NULL, 0, 5);
}

static void a_late_timer_reads_first(void **state)
{
	struct client_request request = event_of(100);

	(void)state;
	rig_start(1, 0);
	submit_with(&sent[0], &request);
	UNTIL(&f, b[0]->n_items == 1);
	fake_accept(b[0], fake_last(b[0]), NULL);
	fixture_turn(&f); /* it leaves the broker, and is not read yet */
	stand_still(400);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
}

/* What was under way may need the network's own thread, which stood still, too; or the broker gave us up. */
static void and_gives_the_news_time_to_come(void **state)
{
	struct client_request request = event_of(100);

	(void)state;
	rig_start(2, 0);
	submit_with(&sent[0], &request);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	stand_still(400);
	fixture_turn(&f);
	fixture_turn(&f);
	assert_int_equal(sent[0].ended, 0);
	rig_refuse(b[rig_who()], fake_last(b[rig_who()]), PIRN__REASON__MOVED);
	UNTIL(&f, b[0]->n_items == 1 && b[1]->n_items == 1);
	for (int i = 0; i < 2; i++)
		fake_accept(b[i], fake_last(b[i]), NULL); /* one of them is stale */
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
}

static void but_only_once(void **state)
{
	struct client_request request = event_of(100);

	(void)state;
	rig_start(1, 0);
	submit_with(&sent[0], &request);
	UNTIL(&f, b[0]->n_items == 1);
	stand_still(400);
	fixture_turn(&f);
	fixture_turn(&f);
	assert_int_equal(sent[0].ended, 0);
	stand_still(2400); /* until long after that, too */
	fixture_turn(&f);
	fixture_turn(&f);
	assert_decided(&sent[0], PIRN__REASON__UNDECIDED, 503);
}

/* ---- keys of calls -------------------------------------------------------------------- */

static void a_call_with_a_key_is_sent_again(void **state)
{
	static const uint8_t hash[16] = "h", first[16] = "of the first run";
	struct client_request request = event_of(10000);
	struct fake_item *item;
	int lost;

	(void)state;
	rig_start(2, 0);
	request.event = false;
	request.key = (const uint8_t *)"k";
	request.key_size = 1;
	request.hash = hash;
	submit_with(&sent[0], &request);
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	lost = rig_who();
	assert_int_equal(fake_last(b[lost])->flags, 0);
	fake_free(&b[lost]);
	UNTIL(&f, b[1 - lost]->n_items == 1);
	item = fake_last(b[1 - lost]);
	assert_memory_equal(item->key, "k", 1);
	assert_memory_equal(item->id, request.id, 16);
	{
		Pirn__Item reply = PIRN__ITEM__INIT;
		struct net_payload body = { .data = (const uint8_t *)"kept", .data_size = 4 };

		reply.has_slot = reply.has_generation = reply.has_status = reply.has_flags =
			reply.has_id = 1;
		reply.slot = item->slot;
		reply.generation = item->generation;
		reply.status = 201;
		reply.flags = PIRN__ITEM_FLAG__REPLAYED;
		reply.id.data = (uint8_t *)(uintptr_t)first;
		reply.id.len = 16;
		assert_int_equal(net_router_item(b[1 - lost]->router, item->peer, PIRN__KIND__REPLY,
					 &reply, &body),
			BASE_OK);
	}
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 201);
	assert_true(sent[0].reply.replayed);
	assert_memory_equal(sent[0].reply.id, first, 16);
}

/* ---- the registry --------------------------------------------------------------------- */

static void push(struct fake_broker *broker, const char *service, bool events, char **warnings,
	size_t n_warnings)
{
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Entry entry = PIRN__ENTRY__INIT;
	Pirn__Entry *entries[] = { &entry };
	Pirn__Registry message = PIRN__REGISTRY__INIT;
	unsigned times = rig_registry.times;

	manifest.service = (char *)(uintptr_t)service;
	entry.manifest = &manifest;
	message.entries = entries;
	message.n_entries = service ? 1 : 0;
	message.warnings = warnings;
	message.n_warnings = n_warnings;
	message.has_events = 1;
	message.events = events;
	assert_int_equal(net_router_control(broker->router, broker->peers[broker->n_peers - 1],
				 PIRN__KIND__REGISTRY, &message.base),
		BASE_OK);
	UNTIL(&f, rig_registry.times > times);
}

static void warnings_are_united(void **state)
{
	char same[] = "Redis evicts", other[] = "Redis is full", text[100][12];
	char *two[] = { same, other }, *one[] = { other }, *many[100];

	(void)state;
	rig_start(2, 0);
	push(b[0], NULL, false, two, 2);
	assert_false(rig_registry.events);
	assert_int_equal(rig_registry.n_warnings, 2);
	push(b[1], NULL, true, one, 1);
	assert_true(rig_registry.events);
	assert_int_equal(rig_registry.n_warnings, 2);
	assert_string_equal(rig_registry.first, "Redis evicts");
	assert_string_equal(rig_registry.last, "Redis is full");
	for (int i = 0; i < 100; i++) {
		snprintf(text[i], sizeof text[i], "%d", i);
		many[i] = text[i];
	}
	push(b[0], NULL, false, many, 100);
	assert_int_equal(rig_registry.n_warnings, 64);
	push(b[0], NULL, false, NULL, 0);
	assert_int_equal(rig_registry.n_warnings, 1);
	fake_free(&b[1]);
	UNTIL(&f, client_engine_brokers(engine) == 1);
	assert_int_equal(rig_registry.n_warnings, 0);
	assert_false(rig_registry.events);
}

/* No worker is needed, but a broker that takes events and knows the service. */
static void events_go_where_they_are_taken(void **state)
{
	(void)state;
	rig_start(2, 0);
	push(b[0], "a", false, NULL, 0);
	push(b[1], "a", true, NULL, 0);
	for (int i = 0; i < 10; i++)
		submit(&sent[i]);
	UNTIL(&f, b[1]->n_items == 10);
	assert_int_equal(b[0]->n_items, 0);
	push(b[0], "a", true, NULL, 0);
	push(b[1], NULL, true, NULL, 0);
	for (int i = 10; i < 20; i++)
		submit(&sent[i]);
	UNTIL(&f, b[0]->n_items == 10);
	assert_int_equal(b[1]->n_items, 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, rig_tear_down)

/* ---- timers ------------------------------------------------------------------------- */

static struct client_request slot_of(bool skip)
{
	struct client_request request = event_of(10000);

	request.timer = "nightly";
	request.previous_ms = 1000;
	request.slot_ms = 2000;
	request.skip = skip;
	if (skip)
		request.payload = (struct net_payload){ 0 };
	return request;
}

static void a_slot_is_accepted_or_says_the_last_one(void **state)
{
	static const uint8_t running[16] = "a run that is on";
	struct client_request request = slot_of(false), skip = slot_of(true);
	const struct fake_item *item;

	(void)state;
	rig_start(1, 0);
	submit_with(&sent[0], &request);
	UNTIL(&f, b[0]->n_items == 1);
	item = fake_last(b[0]);
	assert_int_equal(item->flags, PIRN__ITEM_FLAG__EVENT);
	assert_string_equal(item->timer, "nightly");
	assert_int_equal(item->previous_ms, 1000);
	assert_int_equal(item->slot_ms, 2000);
	assert_int_equal(item->key_size, 0);
	fake_accept(b[0], item, NULL);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__NONE, 202);
	submit_with(&sent[1], &skip);
	UNTIL(&f, b[0]->n_items == 2);
	item = fake_last(b[0]);
	assert_int_equal(item->flags, PIRN__ITEM_FLAG__EVENT | PIRN__ITEM_FLAG__SKIP_SLOT);
	fake_refuse_slot(b[0], item, 5000, running);
	UNTIL(&f, sent[1].ended);
	assert_decided(&sent[1], PIRN__REASON__SLOT, 409);
	assert_int_equal(sent[1].reply.slot_ms, 5000);
	assert_true(sent[1].reply.has_running);
	assert_memory_equal(sent[1].reply.id, running, 16);
	submit_with(&sent[2], &skip);
	UNTIL(&f, b[0]->n_items == 3);
	fake_refuse_slot(b[0], fake_last(b[0]), 0, NULL);
	UNTIL(&f, sent[2].ended);
	assert_int_equal(sent[2].reply.slot_ms, 0);
	assert_false(sent[2].reply.has_running);
}

/* It may be stored; wherever the chain stands now, that is an answer. */
static void in_doubt_a_slot_is_settled(void **state)
{
	struct client_request request = slot_of(false);
	struct fake_item first;

	(void)state;
	rig_start(1, 0);
	submit_with(&sent[0], &request);
	UNTIL(&f, b[0]->n_items == 1);
	first = *fake_last(b[0]);
	rig_refuse(b[0], &first, PIRN__REASON__UNDECIDED);
	UNTIL(&f, b[0]->n_items == 2);
	assert_same_event(&first, fake_last(b[0]));
	assert_string_equal(fake_last(b[0])->timer, "nightly");
	assert_int_equal(fake_last(b[0])->slot_ms, 2000);
	fake_refuse_slot(b[0], fake_last(b[0]), 2000, first.id);
	UNTIL(&f, sent[0].ended);
	assert_decided(&sent[0], PIRN__REASON__SLOT, 409);
}

static void slots_have_rules(void **state)
{
	struct client_request bad[5];

	(void)state;
	rig_start(1, 0);
	for (size_t i = 0; i < 5; i++)
		bad[i] = slot_of(false);
	bad[0].event = false;
	bad[1].timer = "";
	bad[2].slot_ms = 1000;
	bad[3].timer = "a-name-of-64-bytes-----------------------------------------------";
	bad[4].key = bad[4].hash = (const uint8_t *)"sixteen bytes...";
	bad[4].key_size = 7;
	for (size_t i = 0; i < 5; i++)
		assert_int_equal(client_engine_call(engine, &bad[i], on_reply, &sent[0], NULL),
			BASE_INVALID);
	assert_int_equal(client_engine_open(engine), 0);
}

static void beats_tell_the_time(void **state)
{
	uint64_t ms = 0;

	(void)state;
	rig_start(1, 0);
	assert_false(client_engine_now_ms(engine, &ms));
	fake_tell_time(b[0], b[0]->peers[0], 1900000000000);
	UNTIL(&f, client_engine_now_ms(engine, &ms));
	assert_in_range(ms, 1900000000000, 1900000000000 + 60000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_event_is_accepted),
		TEST(events_are_numbered_in_one_lane),
		TEST(a_known_key_brings_the_first_id),
		TEST(ones_own_key_is_no_replay),
		TEST(keys_have_bounds),
		TEST(refusals_stand),
		TEST(answers_of_the_wrong_kind),
		TEST(an_older_broker_gets_nothing_that_it_does_not_know),
		TEST(after_moved_it_goes_to_another),
		TEST(or_comes_back_after_a_pause),
		TEST(a_lost_link_is_no_end),
		TEST(an_event_outlives_many_brokers),
		TEST(the_delay_does_not_begin_anew),
		TEST(what_one_lacks_another_may_have),
		TEST(who_knows_the_service_knows_better),
		TEST(a_draining_broker_sends_it_on),
		TEST(in_doubt_a_refusal_is_no_answer),
		TEST(but_another_body_is),
		TEST(without_a_decision_it_is_undecided),
		TEST(what_never_left_is_not_in_doubt),
		TEST(nobody_waits_longer_than_a_minute),
		TEST(hanging_up_does_not_recall_an_event),
		TEST(a_late_timer_reads_first),
		TEST(and_gives_the_news_time_to_come),
		TEST(but_only_once),
		TEST(a_call_with_a_key_is_sent_again),
		TEST(warnings_are_united),
		TEST(events_go_where_they_are_taken),
		TEST(a_slot_is_accepted_or_says_the_last_one),
		TEST(in_doubt_a_slot_is_settled),
		TEST(slots_have_rules),
		TEST(beats_tell_the_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
