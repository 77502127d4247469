/* The public library: several threads, many calls, one client. The broker is a
 * thread of its own here, because calls wait.
 */
#include "tests/unit/net_fixture.h"

#include <pthread.h>

#include "base/ulid.h"
#include "client/key.h"
#include "client/topic.h"
#include "pirn/client.h"

/* ---- a broker in a thread ------------------------------------------------------- */

static struct {
	struct fixture f;
	struct fake_broker *b;
	pthread_t thread;
	uv_async_t stop;
	char endpoint[128];
} server;

static struct pirn_client *client;

static void on_stop(uv_async_t *async)
{
	(void)async;
	net_loop_stop(server.f.loop);
}

static void *serve(void *arg)
{
	(void)arg;
	net_loop_run(server.f.loop);
	return NULL;
}

static int set_up_with(bool silent, void (*on_item)(struct fake_broker *, const struct fake_item *))
{
	memset(&server, 0, sizeof server);
	fixture_init(&server.f);
	strcpy(server.endpoint, fixture_ipc(&server.f, "broker"));
	server.b = fake_new(server.f.loop, server.endpoint, 1);
	server.b->echo = !silent;
	server.b->on_item = on_item;
	uv_async_init(net_loop_uv(server.f.loop), &server.stop, on_stop);
	return pthread_create(&server.thread, NULL, serve, NULL);
}

static int set_up(void **state)
{
	(void)state;
	return set_up_with(false, NULL);
}

static int set_up_silent(void **state)
{
	(void)state;
	return set_up_with(true, NULL);
}

static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(pirn_client_close(&client), PIRN_CLIENT_OK);
	uv_async_send(&server.stop);
	pthread_join(server.thread, NULL);
	fake_free(&server.b);
	uv_close((uv_handle_t *)&server.stop, NULL);
	fixture_fini(&server.f);
	return 0;
}

static void open_client(uint32_t max_calls, uint64_t max_bytes)
{
	char why[128] = "untouched";

	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = server.endpoint, .name = "test",
						  .max_calls = max_calls, .max_bytes = max_bytes),
				 &client, why, sizeof why),
		PIRN_CLIENT_OK);
	assert_string_equal(why, "");
}

/* ---- counting callbacks ----------------------------------------------------------- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

struct counter {
	unsigned n, good;
	enum pirn_client_err last;
};

static void on_reply(void *arg, const struct pirn_reply *reply)
{
	struct counter *c = arg;

	pthread_mutex_lock(&lock);
	c->n++;
	c->good += reply->err == PIRN_CLIENT_OK && reply->status == 200;
	c->last = reply->err;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void await(struct counter *c, unsigned n)
{
	pthread_mutex_lock(&lock);
	while (c->n < n)
		pthread_cond_wait(&changed, &lock);
	pthread_mutex_unlock(&lock);
}

/* ---- calls -------------------------------------------------------------------------- */

static void a_call_waits_for_its_reply(void **state)
{
	struct pirn_reply *reply;

	(void)state;
	open_client(0, 0);
	assert_int_equal(
		pirn_client_call(client,
			&PIRN_CALL(.service = "echo", .body = "hello", .body_size = 5), &reply),
		PIRN_CLIENT_OK);
	assert_int_equal(reply->err, PIRN_CLIENT_OK);
	assert_int_equal(reply->status, 200);
	assert_int_equal(reply->body_size, 5);
	assert_string_equal(reply->body, "hello");
	pirn_reply_free(&reply);
	assert_null(reply);
	pirn_reply_free(&reply);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = "echo"), &reply), PIRN_CLIENT_OK);
	assert_int_equal(reply->body_size, 0);
	assert_string_equal(reply->body, "");
	pirn_reply_free(&reply);
}

static void bodies_of_all_sizes(void **state)
{
	static const size_t sizes[] = { 1, 511, 512, 513, 16 * 1024, 16 * 1024 + 1, 1024 * 1024,
		16 * 1024 * 1024 };
	uint8_t *body = malloc(16 * 1024 * 1024 + 1);
	struct pirn_reply *reply;

	(void)state;
	assert_non_null(body);
	for (size_t i = 0; i < 16 * 1024 * 1024; i++)
		body[i] = (uint8_t)(i * 31);
	open_client(0, 0);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		assert_int_equal(
			pirn_client_call(client,
				&PIRN_CALL(.service = "echo", .body = body, .body_size = sizes[i]),
				&reply),
			PIRN_CLIENT_OK);
		assert_int_equal(reply->body_size, sizes[i]);
		assert_memory_equal(reply->body, body, sizes[i]);
		pirn_reply_free(&reply);
	}
	assert_int_equal(pirn_client_call(client,
				 &PIRN_CALL(.service = "echo", .body = body,
					 .body_size = 16 * 1024 * 1024 + 1),
				 &reply),
		PIRN_CLIENT_TOO_LARGE);
	assert_null(reply);
	free(body);
}

#define THREADS 4
#define EACH    2000

static void *call_and_wait(void *arg)
{
	unsigned *good = arg;

	for (unsigned i = 0; i < EACH / 10; i++) {
		struct pirn_reply *reply;
		char text[32];
		int size = snprintf(text, sizeof text, "%p %u", arg, i);

		if (!pirn_client_call(client,
			    &PIRN_CALL(.service = "echo", .body = text, .body_size = (size_t)size),
			    &reply) &&
			reply->body_size == (size_t)size &&
			memcmp(reply->body, text, (size_t)size) == 0)
			(*good)++;
		pirn_reply_free(&reply);
	}
	return NULL;
}

static void *call_and_go_on(void *arg)
{
	struct counter *c = arg;

	for (unsigned i = 0; i < EACH; i++)
		if (pirn_client_call_async(client,
			    &PIRN_CALL(.service = "echo", .body = &i, .body_size = sizeof i),
			    on_reply, c))
			abort();
	return NULL;
}

static void many_threads_share_a_client(void **state)
{
	pthread_t waiting[THREADS], going[THREADS];
	unsigned good[THREADS] = { 0 };
	struct counter c = { 0 };

	(void)state;
	open_client(0, 0);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_create(&waiting[i], NULL, call_and_wait, &good[i]), 0);
		assert_int_equal(pthread_create(&going[i], NULL, call_and_go_on, &c), 0);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(waiting[i], NULL);
		pthread_join(going[i], NULL);
		assert_int_equal(good[i], EACH / 10);
	}
	await(&c, THREADS * EACH);
	assert_int_equal(c.good, THREADS * EACH);
}

struct chain {
	struct counter c;
	unsigned left;
	enum pirn_client_err waited, closed;
};

static void on_chain(void *arg, const struct pirn_reply *reply)
{
	struct chain *chain = arg;
	struct pirn_client *same = client;
	struct pirn_reply *none;

	if (chain->left > 0) {
		chain->left--;
		if (pirn_client_call_async(client, &PIRN_CALL(.service = "echo"), on_chain, chain))
			abort();
	} else {
		chain->waited = pirn_client_call(client, &PIRN_CALL(.service = "echo"), &none);
		chain->closed = pirn_client_close(&same);
	}
	on_reply(&chain->c, reply);
}

static void a_callback_may_call_but_not_wait(void **state)
{
	struct chain chain = { .left = 1000 };

	(void)state;
	open_client(1, 0); /* one at a time: the place of the call that ended is free already */
	assert_int_equal(
		pirn_client_call_async(client, &PIRN_CALL(.service = "echo"), on_chain, &chain),
		PIRN_CLIENT_OK);
	await(&chain.c, 1001);
	assert_int_equal(chain.c.good, 1001);
	assert_int_equal(chain.waited, PIRN_CLIENT_WRONG_THREAD);
	assert_int_equal(chain.closed, PIRN_CLIENT_WRONG_THREAD);
}

/* ---- events --------------------------------------------------------------------------- */

/* What the broker's thread saw and does; under the lock. */
static struct {
	struct fake_item event; /* the last one */
	uint32_t refuse;        /* a reason; 0: accepts */
	const uint8_t *first;   /* the id of the key's first event; NULL: this is it */
	uint32_t state;         /* of what is asked for; 0: nobody knows of it */
} events;

#define SET(field, value) \
	do { \
		pthread_mutex_lock(&lock); \
		events.field = (value); \
		pthread_mutex_unlock(&lock); \
	} while (false)

static struct fake_item last_event(void)
{
	struct fake_item item;

	pthread_mutex_lock(&lock);
	item = events.event;
	pthread_mutex_unlock(&lock);
	return item;
}

static void answer_query(struct fake_broker *b, const struct fake_item *item)
{
	Pirn__Query *query = pirn__query__unpack(NULL, item->data_size, item->first);
	Pirn__Invocation found = PIRN__INVOCATION__INIT, *list[] = { &found };
	Pirn__Answer answer = PIRN__ANSWER__INIT;
	uint32_t owners[] = { 7 };
	uint8_t bytes[256];

	assert_non_null(query);
	answer.has_epoch = answer.has_loaded = answer.has_count = 1;
	answer.epoch = 7;
	answer.loaded = 1;
	answer.owners = owners;
	answer.n_owners = 1;
	if (query->what == PIRN__QUERY_KIND__CANCEL_INVOCATION) {
		events.state = PIRN__INVOCATION_STATE__CANCELLED_END;
		answer.count = 1;
	} else if (events.state) {
		answer.invocations = list;
		answer.n_invocations = 1;
	}
	found.id = query->id;
	found.service = (char *)(uintptr_t) "echo";
	found.state = events.state;
	found.has_status = found.has_attempt = found.has_attempts = found.has_data = 1;
	found.status = 200;
	found.attempt = 2;
	found.attempts = 5;
	found.data.data = (uint8_t *)(uintptr_t) "the answer";
	found.data.len = 10;
	assert_int_equal(fake_send(b, item->peer, PIRN__KIND__ANSWER, item->slot, item->generation,
				 0, 0, bytes, pirn__answer__pack(&answer, bytes)),
		BASE_OK);
	pirn__query__free_unpacked(query, NULL);
}

static void answer_item(struct fake_broker *b, const struct fake_item *item)
{
	events.event = *item;
	if (item->number == 0)
		fake_send(b, item->peer, PIRN__KIND__REPLY, item->slot, item->generation, 200, 0,
			"", 0);
	else if (events.refuse)
		fake_send(b, item->peer, PIRN__KIND__REFUSED, item->slot, item->generation, 0,
			events.refuse, NULL, 0);
	else
		fake_accept(b, item, events.first);
}

static void on_item(struct fake_broker *b, const struct fake_item *item)
{
	pthread_mutex_lock(&lock);
	if (item->kind == PIRN__KIND__QUERY)
		answer_query(b, item);
	else
		answer_item(b, item);
	pthread_mutex_unlock(&lock);
}

static int set_up_events(void **state)
{
	(void)state;
	memset(&events, 0, sizeof events);
	return set_up_with(true, on_item);
}

static void an_event_is_accepted(void **state)
{
	char id[PIRN_ID_SIZE] = "x", expected[PIRN_ID_SIZE];
	struct fake_item got;

	(void)state;
	open_client(0, 0);
	assert_int_equal(pirn_client_send(client,
				 &PIRN_EVENT(.service = "echo", .body = "hello", .body_size = 5,
					 .key = "k 1", .delay_ms = 60000, .not_before_ms = 123,
					 .want_result = true, .ack_memory = true),
				 id),
		PIRN_CLIENT_OK);
	got = last_event();
	base_ulid_print(got.id, expected);
	assert_string_equal(id, expected);
	assert_string_equal(got.service, "echo");
	assert_memory_equal(got.first, "hello", 5);
	assert_int_equal(got.flags, PIRN__ITEM_FLAG__EVENT | PIRN__ITEM_FLAG__WANT_RESULT |
					    PIRN__ITEM_FLAG__ACK_MEMORY);
	assert_int_equal(got.key_size, 3);
	assert_memory_equal(got.key, "k 1", 3);
	assert_int_equal(got.not_before_ms, 123);
	assert_true(got.delay_ms > 50000 && got.delay_ms <= 60000);
	assert_true(got.left_ms > 20000 && got.left_ms <= 30000);
	assert_int_equal(
		pirn_client_send(client, &PIRN_EVENT(.service = "echo"), NULL), PIRN_CLIENT_OK);
	got = last_event();
	assert_int_equal(got.flags, PIRN__ITEM_FLAG__EVENT);
	assert_int_equal(got.key_size, 0);
	assert_int_equal(got.number, 2);
}

static void hash_of(const char *service, const char *body, uint8_t hash[16])
{
	struct fake_item got;

	assert_int_equal(pirn_client_send(client,
				 &PIRN_EVENT(.service = service, .body = body,
					 .body_size = strlen(body), .key = "k"),
				 NULL),
		PIRN_CLIENT_OK);
	got = last_event();
	memcpy(hash, got.hash, 16);
}

static void the_same_request_has_the_same_hash(void **state)
{
	uint8_t a[16], z[16];
	struct pirn_reply *reply;
	struct fake_item got;

	(void)state;
	open_client(0, 0);
	hash_of("echo", "body", a);
	hash_of("echo", "body", z);
	assert_memory_equal(a, z, 16);
	hash_of("echo", "bodY", z);
	assert_memory_not_equal(a, z, 16);
	hash_of("echob", "ody", z); /* where one ends and the other begins counts */
	assert_memory_not_equal(a, z, 16);
	assert_int_equal(
		pirn_client_call(client,
			&PIRN_CALL(.service = "echo", .body = "body", .body_size = 4, .key = "k"),
			&reply),
		PIRN_CLIENT_OK);
	pirn_reply_free(&reply);
	got = last_event();
	assert_memory_equal(a, got.hash, 16);
	assert_int_equal(got.flags, 0);
}

struct sent {
	struct counter c;
	struct pirn_sent last;
};

static void on_sent(void *arg, const struct pirn_sent *sent)
{
	struct sent *s = arg;

	pthread_mutex_lock(&lock);
	s->c.n++;
	s->c.good += sent->err == PIRN_CLIENT_OK && sent->status == 202;
	s->last = *sent;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void many_events(void **state)
{
	struct sent s = { 0 };

	(void)state;
	open_client(0, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(
			pirn_client_send_async(client,
				&PIRN_EVENT(.service = "echo", .body = &i, .body_size = sizeof i),
				on_sent, &s),
			PIRN_CLIENT_OK);
	await(&s.c, 1000);
	assert_int_equal(s.c.good, 1000);
	assert_int_equal(last_event().number, 1000);
}

static void a_known_key_is_said(void **state)
{
	static const uint8_t first[16] = { 1, 2, 3 };
	char expected[PIRN_ID_SIZE];
	struct sent s = { 0 };

	(void)state;
	SET(first, first);
	open_client(0, 0);
	assert_int_equal(pirn_client_send_async(
				 client, &PIRN_EVENT(.service = "echo", .key = "k"), on_sent, &s),
		PIRN_CLIENT_OK);
	await(&s.c, 1);
	assert_int_equal(s.c.good, 1);
	assert_true(s.last.replayed);
	base_ulid_print(first, expected);
	assert_string_equal(s.last.id, expected);
}

static void refused_events(void **state)
{
	static const struct {
		enum _Pirn__Reason reason;
		enum pirn_client_err err;
	} all[] = {
		{ PIRN__REASON__UNKNOWN_SERVICE, PIRN_CLIENT_UNKNOWN_SERVICE },
		{ PIRN__REASON__NOT_DURABLE, PIRN_CLIENT_NOT_DURABLE },
		{ PIRN__REASON__KEY_BODY, PIRN_CLIENT_KEY_BODY },
		{ PIRN__REASON__KEYS_FULL, PIRN_CLIENT_KEYS_FULL },
		{ PIRN__REASON__UNSUPPORTED, PIRN_CLIENT_UNSUPPORTED },
		{ PIRN__REASON__QUEUE_FULL, PIRN_CLIENT_QUEUE_FULL },
	};

	(void)state;
	open_client(0, 0);
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
		SET(refuse, (uint32_t)all[i].reason);
		assert_int_equal(
			pirn_client_send(client, &PIRN_EVENT(.service = "echo"), NULL), all[i].err);
	}
}

static void an_undecided_event_has_an_id(void **state)
{
	char id[PIRN_ID_SIZE] = "", expected[PIRN_ID_SIZE];
	struct fake_item got;

	(void)state;
	SET(refuse, PIRN__REASON__MOVED);
	open_client(0, 0);
	assert_int_equal(
		pirn_client_send(client, &PIRN_EVENT(.service = "echo", .timeout_ms = 100), id),
		PIRN_CLIENT_UNDECIDED);
	got = last_event();
	base_ulid_print(got.id, expected);
	assert_string_equal(id, expected);
	assert_true(pirn_client_err_retryable(PIRN_CLIENT_UNDECIDED));
}

static void an_event_goes_to_all_who_subscribe(void **state)
{
	static const uint8_t none[16];
	uint8_t key[CLIENT_KEY_EVENT];
	char id[PIRN_ID_SIZE];
	struct fake_item got;

	(void)state;
	open_client(0, 0);
	assert_int_equal(pirn_client_send(client,
				 &PIRN_EVENT(.type = "order.created", .source = "/shop",
					 .subject = "7", .body = "{}", .body_size = 2),
				 id),
		PIRN_CLIENT_OK);
	got = last_event();
	assert_string_equal(got.service, "");
	assert_string_equal(got.type, "order.created");
	assert_string_equal(got.source, "/shop");
	assert_string_equal(got.subject, "7");
	assert_int_equal(got.key_size, 0);
	assert_int_equal(got.data_size, 2);
	assert_memory_equal(got.first, "\x0a\x04POST\x12\x0a/v1/events", 18);
	assert_int_equal(pirn_client_send(client,
				 &PIRN_EVENT(.type = "order.created", .source = "/shop",
					 .event_id = "a 1"),
				 id),
		PIRN_CLIENT_OK);
	got = last_event();
	client_key_event("/shop", 5, "a 1", 3, key);
	assert_int_equal(got.key_size, sizeof key);
	assert_memory_equal(got.key, key, sizeof key);
	assert_memory_equal(got.hash, none, sizeof none);
	assert_string_equal(got.subject, "");
}

static void what_they_get_is_a_cloudevent(void **state)
{
	struct pirn_event event = PIRN_EVENT(.type = "caf\xc3\xa9 100%", .source = "/shop?a=b",
		.subject = "\"x\"", .content_type = "text/plain; charset=utf-8");
	struct client_topic *topic = NULL;
	Pirn__HttpRequest *r;
	struct base_buf meta;

	(void)state;
	assert_int_equal(client_topic_new(&event, &topic), PIRN_CLIENT_OK);
	base_buf_init(&meta);
	client_topic_meta(topic, "the-id", &meta);
	r = pirn__http_request__unpack(NULL, meta.size, meta.data);
	assert_non_null(r);
	assert_int_equal(r->n_headers, 6);
	assert_memory_equal(r->headers[0]->name.data, "ce-specversion", 14);
	assert_memory_equal(r->headers[1]->value.data, "the-id", 6);
	assert_int_equal(r->headers[2]->value.len, 9);
	assert_memory_equal(r->headers[2]->value.data, "/shop?a=b", 9);
	assert_int_equal(r->headers[3]->value.len, strlen("caf%C3%A9%20100%25"));
	assert_memory_equal(r->headers[3]->value.data, "caf%C3%A9%20100%25", r->headers[3]->value.len);
	assert_memory_equal(r->headers[4]->value.data, "%22x%22", 7);
	assert_memory_equal(r->headers[5]->value.data, "text/plain; charset=utf-8", 25);
	pirn__http_request__free_unpacked(r, NULL);
	base_buf_fini(&meta);
	free(topic);
}

static void topics_of_wrong_arguments(void **state)
{
	static const struct pirn_event wrong[] = {
		PIRN_EVENT(.type = "t"),
		PIRN_EVENT(.source = "s"),
		PIRN_EVENT(.type = "t", .source = ""),
		PIRN_EVENT(.type = "t", .source = "a b"),
		PIRN_EVENT(.type = "t\n", .source = "s"),
		PIRN_EVENT(.type = "\xff", .source = "s"),
		PIRN_EVENT(.type = "t", .source = "s", .subject = ""),
		PIRN_EVENT(.type = "t", .source = "s", .event_id = ""),
		PIRN_EVENT(.type = "t", .source = "s", .key = "k"),
		PIRN_EVENT(.type = "t", .source = "s", .service = "both"),
		PIRN_EVENT(.type = "t", .source = "s", .content_type = "a\r\nb: c"),
	};

	(void)state;
	open_client(0, 0);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_int_equal(pirn_client_send(client, &wrong[i], NULL), PIRN_CLIENT_INVALID);
}

static void events_of_wrong_arguments(void **state)
{
	char key[257] = "", id[PIRN_ID_SIZE] = "before";
	struct pirn_event half = { .size = 4, .service = "x" };

	(void)state;
	memset(key, 'k', 256);
	open_client(0, 0);
	assert_int_equal(pirn_client_send(client, &PIRN_EVENT(.service = "x", .key = key), id),
		PIRN_CLIENT_INVALID);
	assert_string_equal(id, "");
	assert_int_equal(pirn_client_send(client, &PIRN_EVENT(.service = "x", .key = ""), id),
		PIRN_CLIENT_INVALID);
	assert_int_equal(
		pirn_client_send(client, &PIRN_EVENT(.body_size = 0), id), PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_send(client, &half, id), PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_send(client, NULL, id), PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_send_async(client, &PIRN_EVENT(.service = "x"), NULL, NULL),
		PIRN_CLIENT_INVALID);
	key[255] = '\0';
	assert_int_equal(pirn_client_send(client, &PIRN_EVENT(.service = "x", .key = key), id),
		PIRN_CLIENT_OK);
}

static void what_became_of_an_event(void **state)
{
	static const char id[] = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
	struct pirn_result *result;

	(void)state;
	open_client(0, 0);
	assert_int_equal(pirn_client_send(client, &PIRN_EVENT(.service = "echo"), NULL),
		PIRN_CLIENT_OK); /* the connection is up */
	assert_int_equal(pirn_client_result(client, id, 0, &result), PIRN_CLIENT_NOT_FOUND);
	assert_null(result);
	SET(state, PIRN_STATE_DONE);
	assert_int_equal(pirn_client_result(client, id, 1000, &result), PIRN_CLIENT_OK);
	assert_int_equal(result->state, PIRN_STATE_DONE);
	assert_int_equal(result->status, 200);
	assert_int_equal(result->attempt, 2);
	assert_int_equal(result->attempts, 5);
	assert_string_equal(result->service, "echo");
	assert_string_equal(result->body, "the answer");
	assert_int_equal(result->body_size, 10);
	pirn_result_free(&result);
	assert_null(result);
	pirn_result_free(&result);
	SET(state, PIRN_STATE_RUNNING);
	assert_int_equal(pirn_client_cancel(client, id, &result), PIRN_CLIENT_OK);
	assert_int_equal(result->state, PIRN_STATE_CANCELLED);
	pirn_result_free(&result);
	assert_int_equal(pirn_client_result(client, "no id", 0, &result), PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_result(client, NULL, 0, &result), PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_result(client, id, 0, NULL), PIRN_CLIENT_INVALID);
}

static void on_result(void *arg, const struct pirn_result *result)
{
	struct counter *c = arg;

	pthread_mutex_lock(&lock);
	c->n++;
	c->last = result->err;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

/* Asked again until its time is up, or the client is closed. */
static void a_question_ends_with_the_client(void **state)
{
	struct counter c = { 0 };

	(void)state;
	SET(state, PIRN_STATE_RUNNING);
	open_client(0, 0);
	assert_int_equal(
		pirn_client_send(client, &PIRN_EVENT(.service = "echo"), NULL), PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_result_async(
				 client, "01ARZ3NDEKTSV4RRFFQ69G5FAV", 60000, on_result, &c),
		PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_close(&client), PIRN_CLIENT_OK);
	assert_int_equal(c.n, 1);
}

static void states_have_names(void **state)
{
	(void)state;
	assert_string_equal(pirn_state_name(PIRN_STATE_DONE), "done");
	assert_string_equal(pirn_state_name((enum pirn_state)77), "unknown");
}

/* ---- ends that are no answers -------------------------------------------------------- */

static void bounds_are_told_at_once(void **state)
{
	struct pirn_call ten = PIRN_CALL(.service = "slow", .body = "0123456789", .body_size = 10);
	struct counter c = { 0 };

	(void)state;
	open_client(3, 25);
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_FULL);
	ten.body_size = 0;
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_call_async(client, &ten, on_reply, &c), PIRN_CLIENT_FULL);
	assert_true(pirn_client_err_retryable(PIRN_CLIENT_FULL));
	assert_int_equal(pirn_client_close(&client), PIRN_CLIENT_OK);
	assert_null(client);
	assert_int_equal(c.n, 3);
	assert_int_equal(c.last, PIRN_CLIENT_CLOSED);
}

static void a_call_has_a_deadline(void **state)
{
	struct pirn_reply *reply;

	(void)state;
	open_client(0, 0);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = "slow", .timeout_ms = 20), &reply),
		PIRN_CLIENT_DEADLINE);
	assert_int_equal(reply->err, PIRN_CLIENT_DEADLINE);
	assert_int_equal(reply->status, 504);
	pirn_reply_free(&reply);
}

static void *wait_for_ever(void *arg)
{
	struct pirn_reply *reply;
	enum pirn_client_err *err = arg;

	*err = pirn_client_call(client, &PIRN_CALL(.service = "slow"), &reply);
	pirn_reply_free(&reply);
	return NULL;
}

static void closing_ends_what_is_open(void **state)
{
	struct counter c = { 0 };

	(void)state;
	open_client(0, 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(
			pirn_client_call_async(client, &PIRN_CALL(.service = "slow"), on_reply, &c),
			PIRN_CLIENT_OK);
	assert_int_equal(pirn_client_close(&client), PIRN_CLIENT_OK);
	assert_int_equal(c.n, 100);
	assert_int_equal(c.last, PIRN_CLIENT_CLOSED);
}

static void without_a_broker(void **state)
{
	enum pirn_client_err err = PIRN_CLIENT_OK;
	struct pirn_client *alone;
	pthread_t thread;
	char nowhere[160];

	(void)state;
	snprintf(nowhere, sizeof nowhere, "%s.none", server.endpoint);
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = nowhere, .connect_wait_ms = 20),
				 &alone, NULL, 0),
		PIRN_CLIENT_OK);
	client = alone;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_ever, &err), 0);
	pthread_join(thread, NULL);
	assert_int_equal(err, PIRN_CLIENT_NO_BROKER);
}

static void wrong_arguments(void **state)
{
	struct pirn_call half = { .size = 4, .service = "x" };
	struct pirn_reply *reply;
	struct counter c = { 0 };
	char name[80], why[64];

	(void)state;
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.name = "x"), &client, why, sizeof why),
		PIRN_CLIENT_INVALID);
	assert_string_equal(why, "no brokers are given");
	assert_int_equal(
		pirn_client_open(&PIRN_OPTIONS(.brokers = "http://x"), &client, why, sizeof why),
		PIRN_CLIENT_INVALID);
	assert_non_null(strstr(why, "http://x"));
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = "http://x"), &client, why, 5),
		PIRN_CLIENT_INVALID);
	assert_int_equal(strlen(why), 4);
	assert_null(client);
	open_client(0, 0);
	memset(name, 'n', sizeof name);
	name[64] = '\0';
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = name), &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = ""), &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.body_size = 0), &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(
		pirn_client_call(client, &PIRN_CALL(.service = "x", .body_size = 3), &reply),
		PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_call(client, &half, &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_call(client, NULL, &reply), PIRN_CLIENT_INVALID);
	assert_int_equal(pirn_client_call_async(client, &PIRN_CALL(.service = "x"), NULL, &c),
		PIRN_CLIENT_INVALID);
	assert_null(reply);
}

static void errors_have_names(void **state)
{
	(void)state;
	assert_string_equal(pirn_client_err_name(PIRN_CLIENT_NO_WORKER), "NO_WORKER");
	assert_string_equal(pirn_client_err_name((enum pirn_client_err)1000), "?");
	for (int i = PIRN_CLIENT_OK; i <= PIRN_CLIENT_UNSUPPORTED; i++)
		assert_true(strlen(pirn_client_err_text((enum pirn_client_err)i)) > 5);
	assert_false(pirn_client_err_retryable((enum pirn_client_err)1000));
	assert_int_equal(pirn_client_close(&(struct pirn_client *){ NULL }), PIRN_CLIENT_OK);
}

#define TEST(name)        cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define TEST_EVENT(name)  cmocka_unit_test_setup_teardown(name, set_up_events, tear_down)
#define TEST_SILENT(name) cmocka_unit_test_setup_teardown(name, set_up_silent, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_waits_for_its_reply),
		TEST(bodies_of_all_sizes),
		TEST(many_threads_share_a_client),
		TEST(a_callback_may_call_but_not_wait),
		TEST_EVENT(an_event_is_accepted),
		TEST_EVENT(the_same_request_has_the_same_hash),
		TEST_EVENT(many_events),
		TEST_EVENT(an_event_goes_to_all_who_subscribe),
		TEST_EVENT(what_they_get_is_a_cloudevent),
		TEST_EVENT(topics_of_wrong_arguments),
		TEST_EVENT(a_known_key_is_said),
		TEST_EVENT(refused_events),
		TEST_EVENT(an_undecided_event_has_an_id),
		TEST_EVENT(events_of_wrong_arguments),
		TEST_EVENT(what_became_of_an_event),
		TEST_EVENT(a_question_ends_with_the_client),
		TEST(states_have_names),
		TEST_SILENT(bounds_are_told_at_once),
		TEST_SILENT(a_call_has_a_deadline),
		TEST_SILENT(closing_ends_what_is_open),
		TEST(without_a_broker),
		TEST(wrong_arguments),
		cmocka_unit_test(errors_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
