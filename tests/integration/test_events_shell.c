/* Durable events through a real broker, worker and Redis, seen from the wire: a
 * peer of our own submits them. Whether they are accepted, run and settled;
 * whether another life of the broker goes on with them; what a Redis that does
 * not keep them is told. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <zmq.h>

#include "proto/pirn.pb-c.h"
#include "tests/harness/fabric.h"
#include "tests/harness/up.h"

#define BEAT_MS      500
#define DELAY_MS     1500 /* longer than it takes to kill a broker */
#define MAX_JOURNALS 24
#define SERVICE      "counter"

/* ---- a client of the broker, in as few words as possible
 * ---------------------------- */

struct peer {
	void *zmq, *socket;
	uint64_t lane, number; /* of the last event */
	uint64_t beat_at;
	bool welcome;
	size_t n_warnings; /* of the last REGISTRY */
	char warning[256];
	/* the last answer to an item */
	uint32_t kind, slot, reason;
	char id[17];
};

static void say(struct peer *p, uint32_t kind, Pirn__Item *item, const void *body, size_t size)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t packed[1024];

	head.kind = kind;
	head.items = &item;
	head.n_items = item ? 1 : 0;
	assert_true(pirn__head__get_packed_size(&head) <= sizeof packed);
	assert_true(zmq_send(p->socket, packed, pirn__head__pack(&head, packed), ZMQ_SNDMORE) > 0);
	assert_int_equal(zmq_send(p->socket, body, size, 0), (int)size);
}

static void say_hello(struct peer *p)
{
	Pirn__Hello hello = PIRN__HELLO__INIT;
	char name[] = "tester";
	uint8_t boot[16] = { 0 };
	uint8_t packed[256];

	memcpy(boot, &p->lane, sizeof p->lane);
	hello.version = 1;
	hello.role = PIRN__ROLE__CLIENT;
	hello.name = name;
	hello.boot = (ProtobufCBinaryData){ sizeof boot, boot };
	hello.has_registry = hello.registry = true;
	assert_true(pirn__hello__get_packed_size(&hello) <= sizeof packed);
	say(p, PIRN__KIND__HELLO, NULL, packed, pirn__hello__pack(&hello, packed));
}

static void heed_registry(struct peer *p, const uint8_t *body, size_t size)
{
	Pirn__Registry *registry = pirn__registry__unpack(NULL, size, body);

	assert_non_null(registry);
	p->n_warnings = registry->n_warnings;
	(void)snprintf(p->warning, sizeof p->warning, "%s",
		registry->n_warnings ? registry->warnings[0] : "");
	pirn__registry__free_unpacked(registry, NULL);
}

static void heed_item(struct peer *p, uint32_t kind, const Pirn__Item *item)
{
	p->kind = kind;
	p->slot = item->slot;
	p->reason = item->reason;
	if (item->id.len == 16)
		memcpy(p->id, item->id.data, 16);
}

static void heed(struct peer *p, const uint8_t *packed, size_t n, const uint8_t *body, size_t size)
{
	Pirn__Head *head = pirn__head__unpack(NULL, n, packed);

	assert_non_null(head);
	if (head->kind == PIRN__KIND__WELCOME)
		p->welcome = true;
	else if (head->kind == PIRN__KIND__RESYNC)
		say_hello(p);
	else if (head->kind == PIRN__KIND__DRAIN)
		say(p, PIRN__KIND__DRAIN, NULL, NULL, 0);
	else if (head->kind == PIRN__KIND__REGISTRY)
		heed_registry(p, body, size);
	else if (head->n_items)
		heed_item(p, head->kind, head->items[0]);
	pirn__head__free_unpacked(head, NULL);
}

static bool hear(struct peer *p, int wait_ms)
{
	zmq_pollitem_t poll = { .socket = p->socket, .events = ZMQ_POLLIN };
	zmq_msg_t head, body;

	if (zmq_poll(&poll, 1, wait_ms) != 1)
		return false;
	zmq_msg_init(&head);
	zmq_msg_init(&body);
	assert_true(zmq_msg_recv(&head, p->socket, 0) >= 0);
	assert_true(zmq_msg_recv(&body, p->socket, 0) >= 0);
	heed(p, zmq_msg_data(&head), zmq_msg_size(&head), zmq_msg_data(&body), zmq_msg_size(&body));
	zmq_msg_close(&head);
	zmq_msg_close(&body);
	return true;
}

/* Hears what there is, and beats. */
static bool listen_once(struct peer *p)
{
	if (harness_now_ms() >= p->beat_at) {
		say(p, PIRN__KIND__BEAT, NULL, NULL, 0);
		p->beat_at = harness_now_ms() + BEAT_MS;
	}
	return hear(p, 20);
}

/* wait_until, with an ear at the socket. */
#define hear_until(p, fact) \
	do { \
		uint64_t end_ = harness_wait_end(PATIENCE_MS); \
		while (!(fact)) \
			if (!listen_once(p)) \
				harness_wait_pause(end_, #fact, __FILE__, __LINE__); \
	} while (0)

static void peer_open(struct peer *p, const char *endpoint)
{
	static uint64_t lanes = UINT64_C(0x5ca1ab1e00000000);
	const int linger = 0;

	*p = (struct peer){ .lane = ++lanes };
	p->zmq = zmq_ctx_new();
	p->socket = zmq_socket(p->zmq, ZMQ_DEALER);
	assert_non_null(p->socket);
	assert_int_equal(zmq_setsockopt(p->socket, ZMQ_LINGER, &linger, sizeof linger), 0);
	assert_int_equal(zmq_connect(p->socket, endpoint), 0);
	say_hello(p);
	p->beat_at = harness_now_ms() + BEAT_MS;
	hear_until(p, p->welcome);
}

static void peer_close(struct peer *p)
{
	zmq_close(p->socket);
	zmq_ctx_term(p->zmq);
}

/* POST /counter {"increment":1}, as an event. */
static void submit(struct peer *p, uint64_t delay_ms)
{
	static const char data[] = "{\"increment\":1}";
	Pirn__HttpRequest request = PIRN__HTTP_REQUEST__INIT;
	Pirn__Item item = PIRN__ITEM__INIT;
	char service[] = SERVICE;
	uint8_t id[16] = "an event";
	uint8_t payload[256];
	size_t meta;

	request.method = (ProtobufCBinaryData){ 4, (uint8_t *)"POST" };
	request.target = (ProtobufCBinaryData){ 8, (uint8_t *)"/counter" };
	meta = pirn__http_request__pack(&request, payload);
	memcpy(payload + meta, data, sizeof data - 1);
	p->number++;
	memcpy(id + 8, &p->number, 4);
	memcpy(id + 12, &p->lane, 4);
	item.service = service;
	item.has_id = item.has_slot = item.has_generation = item.has_flags = item.has_left_ms =
		item.has_lane = item.has_number = item.has_meta_size = item.has_data_size = true;
	item.id = (ProtobufCBinaryData){ sizeof id, id };
	item.slot = item.generation = (uint32_t)p->number;
	item.flags = PIRN__ITEM_FLAG__EVENT;
	item.left_ms = 60000;
	item.lane = p->lane;
	item.number = p->number;
	item.has_delay_ms = delay_ms > 0;
	item.delay_ms = delay_ms;
	item.meta_size = (uint32_t)meta;
	item.data_size = sizeof data - 1;
	p->kind = p->reason = 0;
	say(p, PIRN__KIND__SUBMIT, &item, payload, meta + sizeof data - 1);
}

static void await_answer(struct peer *p, uint32_t kind, uint32_t reason)
{
	hear_until(p, p->kind != 0 && p->slot == (uint32_t)p->number);
	assert_int_equal(p->reason, reason);
	assert_int_equal(p->kind, kind);
}

static void accepted(struct peer *p, uint64_t delay_ms)
{
	submit(p, delay_ms);
	await_answer(p, PIRN__KIND__ACCEPTED, 0);
}

/* ---- what there is to see
 * ------------------------------------------------------------ */

static long counter(struct fabric *f)
{
	struct harness_answer a = harness_get(f->http, "/counter");
	json_t *answer = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);
	long value =
		a.status == 200 ? (long)json_integer_value(json_object_get(answer, "counter")) : -1;

	json_decref(answer);
	harness_answer_free(&a);
	return value;
}

static uint64_t entries_of(struct fabric *f, unsigned journal)
{
	char *n = harness_redis_command(f->redis, "XLEN pirn:{0}:journal:%u", journal);
	uint64_t entries = strtoull(n, NULL, 10);

	free(n);
	return entries;
}

/* No journal holds an entry: all that was accepted has ended. */
static bool nothing_is_left(struct fabric *f)
{
	for (unsigned journal = 1; journal <= MAX_JOURNALS; journal++)
		if (entries_of(f, journal) > 0)
			return false;
	return true;
}

/* The broker looks at the settings of each new connection. */
static void set_redis(struct fabric *f, const char *settings)
{
	unsigned ups = harness_log_count(f->brokers[0], "store_up", NULL, NULL);

	assert_true(harness_redis_says(f->redis, "OK", "CONFIG SET %s", settings));
	free(harness_redis_command(f->redis, "CLIENT KILL TYPE normal"));
	wait_until(PATIENCE_MS, harness_log_count(f->brokers[0], "store_up", NULL, NULL) > ups);
}

/* ---- with settings as they should be
 * ------------------------------------------------- */

static struct fabric good = { .n_workers = 1 };
static struct peer peer;

static int start_good(void **state)
{
	(void)state;
	fabric_start(&good);
	wait_until(PATIENCE_MS, fabric_workers_of(&good, SERVICE) == 1);
	return 0;
}

static int stop_good(void **state)
{
	(void)state;
	fabric_stop(&good);
	return 0;
}

static int link_good(void **state)
{
	(void)state;
	peer_open(&peer, good.endpoints[0]);
	return 0;
}

static int unlink_peer(void **state)
{
	(void)state;
	peer_close(&peer);
	return 0;
}

static void test_accepted_run_and_settled(void **state)
{
	long before = counter(&good);

	(void)state;
	for (int i = 0; i < 20; i++)
		accepted(&peer, 0);
	hear_until(&peer, counter(&good) == before + 20);
	hear_until(&peer, nothing_is_left(&good));
	assert_int_equal(counter(&good), before + 20);
}

static void test_a_killed_broker_s_next_life_goes_on(void **state)
{
	long before = counter(&good);

	(void)state;
	for (int i = 0; i < 10; i++)
		accepted(&peer, DELAY_MS);
	harness_kill_hard(good.brokers[0]);
	assert_false(nothing_is_left(&good));
	harness_again(good.brokers[0]);
	wait_until(PATIENCE_MS, counter(&good) == before + 10);
	wait_until(PATIENCE_MS, nothing_is_left(&good));
	assert_int_equal(counter(&good), before + 10);
}

/* What waits does not hold the end up: it is left to others, who need not wait
 * for missed beats. */
static void test_a_broker_leaves(void **state)
{
	long before = counter(&good);
	char *owners;

	(void)state;
	for (int i = 0; i < 10; i++)
		accepted(&peer, DELAY_MS);
	harness_signal(good.brokers[0], SIGTERM);
	hear_until(&peer, !harness_is_running(good.brokers[0]));
	assert_int_equal(harness_wait(good.brokers[0], PATIENCE_MS), 0);
	owners = harness_redis_command(good.redis, "HVALS pirn:{0}:owners");
	assert_string_equal(owners, "0"); /* a beat of 0: it left */
	free(owners);
	harness_again(good.brokers[0]);
	wait_until(PATIENCE_MS, counter(&good) == before + 10);
	wait_until(PATIENCE_MS, nothing_is_left(&good));
	assert_int_equal(counter(&good), before + 10);
}

static void test_a_pause_of_redis_is_waited_for(void **state)
{
	long before = counter(&good);
	unsigned downs = harness_log_count(good.brokers[0], "store_down", NULL, NULL);

	(void)state;
	harness_redis_pause(good.redis);
	submit(&peer, 0);
	assert_int_equal(harness_status(good.http, NULL, "/hello", NULL), 200); /* calls go on */
	assert_false(listen_once(&peer) && peer.kind != 0);
	harness_redis_resume(good.redis);
	await_answer(&peer, PIRN__KIND__ACCEPTED, 0);
	hear_until(&peer, counter(&good) == before + 1);
	assert_int_equal(harness_log_count(good.brokers[0], "store_down", NULL, NULL), downs);
}

/* Then nothing can be given up, and the end does not wait for it. */
static void test_a_broker_ends_beside_a_silent_redis(void **state)
{
	(void)state;
	accepted(&peer, DELAY_MS);
	harness_redis_pause(good.redis);
	harness_signal(good.brokers[0], SIGTERM);
	hear_until(&peer, !harness_is_running(good.brokers[0]));
	assert_int_equal(harness_wait(good.brokers[0], PATIENCE_MS), 0);
	harness_redis_resume(good.redis);
	harness_again(good.brokers[0]);
	wait_until(PATIENCE_MS, nothing_is_left(&good));
}

static void test_a_killed_redis_s_next_life_has_them_all(void **state)
{
	long before = counter(&good);

	(void)state;
	for (int i = 0; i < 10; i++)
		accepted(&peer, DELAY_MS);
	harness_redis_kill(good.redis);
	submit(&peer, 0);
	assert_int_equal(harness_status(good.http, NULL, "/hello", NULL), 200);
	hear_until(&peer, peer.n_warnings > 0); /* that it cannot be reached */
	harness_redis_restart(good.redis);
	hear_until(&peer, peer.n_warnings == 0);
	hear_until(&peer, peer.kind != 0 && nothing_is_left(&good));
	assert_int_equal(counter(&good), before + 10 + (peer.kind == PIRN__KIND__ACCEPTED ? 1 : 0));
}

static void test_a_redis_that_does_not_fsync_gets_no_events(void **state)
{
	(void)state;
	hear_until(&peer, peer.n_warnings == 0);
	set_redis(&good, "appendfsync everysec");
	hear_until(&peer, strstr(peer.warning, "appendfsync always") != NULL);
	assert_true(harness_log_count(good.brokers[0], "store_unsafe", "level", "error") > 0);
	submit(&peer, 0);
	await_answer(&peer, PIRN__KIND__REFUSED, PIRN__REASON__NOT_DURABLE);
	assert_int_equal(harness_status(good.http, NULL, "/hello", NULL), 200);

	set_redis(&good, "appendfsync always");
	hear_until(&peer, peer.n_warnings == 0);
	accepted(&peer, 0);
	hear_until(&peer, nothing_is_left(&good));
}

static void test_nor_does_one_that_evicts(void **state)
{
	(void)state;
	set_redis(&good, "maxmemory-policy allkeys-lru");
	hear_until(&peer, strstr(peer.warning, "noeviction") != NULL);
	submit(&peer, 0);
	await_answer(&peer, PIRN__KIND__REFUSED, PIRN__REASON__NOT_DURABLE);
	set_redis(&good, "maxmemory-policy noeviction");
	hear_until(&peer, peer.n_warnings == 0);
}

/* ---- told to take whatever Redis does; and to be impatient with it
 * --------------------- */

static struct fabric told = { .n_workers = 1,
	.broker_flags = (const char *const[]){
		"--durability", "everysec", "--redis-timeout", "1s", NULL } };

static int start_told(void **state)
{
	(void)state;
	fabric_start(&told);
	wait_until(PATIENCE_MS, fabric_workers_of(&told, SERVICE) == 1);
	return 0;
}

static int stop_told(void **state)
{
	(void)state;
	fabric_stop(&told);
	return 0;
}

static int link_told(void **state)
{
	(void)state;
	peer_open(&peer, told.endpoints[0]);
	return 0;
}

static void test_everysec_is_taken_knowingly(void **state)
{
	(void)state;
	set_redis(&told, "appendfsync everysec");
	hear_until(&peer, strstr(peer.warning, "appendfsync always") != NULL);
	assert_true(harness_log_count(told.brokers[0], "store_unsafe", "level", "warn") > 0);
	accepted(&peer, 0);
	hear_until(&peer, nothing_is_left(&told));
}

/* The connection is given up with an event under way: it is looked up, and
 * stored once. */
static void test_a_connection_that_was_given_up(void **state)
{
	long before = counter(&told);
	unsigned downs = harness_log_count(told.brokers[0], "store_down", NULL, NULL);

	(void)state;
	harness_redis_pause(told.redis);
	submit(&peer, 0);
	hear_until(&peer, harness_log_count(told.brokers[0], "store_down", NULL, NULL) > downs);
	harness_redis_resume(told.redis);
	await_answer(&peer, PIRN__KIND__ACCEPTED, 0);
	hear_until(&peer, nothing_is_left(&told));
	assert_int_equal(counter(&told), before + 1);
}

/* ---- without Redis ---------------------------------------------------------------------- */

static void test_no_redis_no_events(void **state)
{
	struct fabric f = { .no_redis = true };

	(void)state;
	fabric_start(&f);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, SERVICE) == 1);
	peer_open(&peer, f.endpoints[0]);
	hear_until(&peer, strstr(peer.warning, "cannot be reached") != NULL);
	submit(&peer, 0);
	await_answer(&peer, PIRN__KIND__REFUSED, PIRN__REASON__NOT_DURABLE);
	assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	peer_close(&peer);
	fabric_stop(&f);
}

/* ---- pirn up on a Redis of one's own
 * ------------------------------------------------------ */

static void up_on(struct harness_redis *redis, const char *durability, const char *level)
{
	struct up u = { .data = "" };

	up_start(&u, (const char *const[]){ "--redis", harness_redis_url(redis), "--durability",
			     durability, NULL });
	wait_until(PATIENCE_MS, harness_log_count(u.process, "store_unsafe", "level", level) == 1);
	up_stop(&u);
}

static void test_up_hands_it_on(void **state)
{
	struct harness_redis *redis = harness_redis_start(
		false, (const char *const[]){ "--appendfsync", "everysec", NULL });

	(void)state;
	up_on(redis, "always", "error");
	up_on(redis, "everysec", "warn");
	harness_redis_stop(&redis);
}

#define GOOD(name) cmocka_unit_test_setup_teardown(name, link_good, unlink_peer)
#define TOLD(name) cmocka_unit_test_setup_teardown(name, link_told, unlink_peer)

int main(void)
{
	const struct CMUnitTest with_good[] = {
		GOOD(test_accepted_run_and_settled),
		GOOD(test_a_pause_of_redis_is_waited_for),
		GOOD(test_a_killed_broker_s_next_life_goes_on),
		GOOD(test_a_broker_leaves),
		GOOD(test_a_broker_ends_beside_a_silent_redis),
		GOOD(test_a_killed_redis_s_next_life_has_them_all),
		GOOD(test_a_redis_that_does_not_fsync_gets_no_events),
		GOOD(test_nor_does_one_that_evicts),
	};
	const struct CMUnitTest with_told[] = {
		TOLD(test_everysec_is_taken_knowingly),
		TOLD(test_a_connection_that_was_given_up),
	};
	const struct CMUnitTest alone[] = {
		cmocka_unit_test(test_no_redis_no_events),
		cmocka_unit_test(test_up_hands_it_on),
	};
	int failed = cmocka_run_group_tests_name(
		"events, Redis as it should be", with_good, start_good, stop_good);

	failed += cmocka_run_group_tests_name(
		"events, --durability everysec", with_told, start_told, stop_told);
	failed += cmocka_run_group_tests_name(
		"events, Redis that is not there, or not ours", alone, NULL, NULL);
	return harness_finish(failed);
}
