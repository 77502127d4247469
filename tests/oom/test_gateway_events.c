/* What comes in as events, without memory: CloudEvents by POST /v1/events, entries of a stream and changes of keys in
 * another Redis (a real one), and the feed that takes these on.
 *
 * What a client was told is true: an event is handed on whole, and once for each 202; what was refused may be sent
 * again. An entry is acknowledged after it was accepted, however often that took; a notification is
 * handed on once, whole, or is counted as lost.
 */
#include "gateway/entry.h"
#include "gateway/feed.h"
#include "gateway/meta.h"
#include "gateway/source.h"
#include "tests/harness/redis.h"
#include "tests/oom/gateway.h"

#define ARMED_MS 1500u /* then there is memory again */
#define NOW_MS   1900000000500u

static struct harness_redis *server;

static const char *header_of(const struct asked *a, const char *name)
{
	static char value[128];

	for (size_t i = 0; i < a->http->n_headers; i++) {
		const Pirn__Header *h = a->http->headers[i];

		if (h->name.len != strlen(name) || strncasecmp((char *)h->name.data, name, h->name.len) != 0)
			continue;
		assert_true(h->value.len < sizeof value);
		memcpy(value, h->value.data, h->value.len);
		value[h->value.len] = '\0';
		return value;
	}
	return NULL;
}

/* ---- POST /v1/events ----------------------------------------------------------------------- */

#define EVENTS "POST /v1/events HTTP/1.1\r\n" HOST

/* A request with these, whose subjects are long: what is read into has to grow. */
static const char *many(const char *const *ids, const char *type)
{
	static char body[8192], out[sizeof body + 256];
	bool list = strstr(type, "batch") != NULL;
	size_t at = 0;

	for (size_t i = 0; ids[i]; i++)
		at += (size_t)snprintf(body + at, sizeof body - at,
			"%s{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/shop\","
			"\"type\":\"order.p\\u0061id\",\"subject\":\"s%s%0900d\",\"data\":\"d%s\"}",
			list ? i > 0 ? "," : "[" : "", ids[i], ids[i], 0, ids[i]);
	at += (size_t)snprintf(body + at, sizeof body - at, list ? "]" : "");
	snprintf(out, sizeof out, EVENTS "Content-Type: application/%s\r\nContent-Length: %zu\r\n\r\n%s",
		type, at, body);
	return out;
}

/* All of it as it was sent. */
static void see_event(const struct asked *a, const char *id)
{
	char text[16];

	assert_true(a->request.event && !a->request.service);
	assert_string_equal(a->type, "order.paid");
	assert_string_equal(a->source, "/shop");
	snprintf(text, sizeof text, "s%s", id);
	assert_memory_equal(a->subject, text, 2);
	assert_memory_equal(a->subject + 2, "0000", 4);
	snprintf(text, sizeof text, "\"d%s\"", id);
	assert_string_equal(a->data, text);
	assert_true(a->request.key_size > 0);
	assert_true(holds(a->http->target, "/v1/events"));
	assert_string_equal(header_of(a, "ce-id"), id);
	assert_string_equal(header_of(a, "ce-type"), "order.paid");
	assert_string_equal(header_of(a, "Content-Type"), "application/json");
	assert_non_null(header_of(a, "traceparent"));
}

/* ids: of the batch's events, NULL at the end. refused: with that reason, all of them. */
static void batch(unsigned slot, const char *request, const char *const *ids, uint32_t refused)
{
	struct client_reply replies[8];
	size_t calls = engine.n_calls, n = 0;
	struct client c;

	memset(replies, 0, sizeof replies);
	if (say(gw.users, request, &c)) {
		for (; ids[n]; n++) {
			see_event(&engine.calls[calls + n], ids[n]);
			replies[n].status = refused ? 429 : 202;
			replies[n].reason = refused;
			replies[n].id[15] = (uint8_t)n;
		}
		assert_int_equal(engine.n_calls, calls + n);
		REPLY_TO(engine.batch_fn, engine.batch_arg, replies, n);
		await(&c);
	}
	see_end(&c, slot);
}

static void one(unsigned slot, const char *request)
{
	struct client_reply reply = { .status = 202, .id = { 1 } };
	size_t calls = engine.n_calls;
	struct client c;

	if (say(gw.users, request, &c)) {
		assert_int_equal(engine.n_calls, calls + 1);
		see_event(last(), "5");
		REPLY_TO(last()->fn, last()->arg, &reply);
		await(&c);
	}
	see_end(&c, slot);
}

static void refused(unsigned slot, const char *request)
{
	size_t calls = engine.n_calls;
	struct client c;

	(void)say(gw.users, request, &c);
	assert_int_equal(engine.n_calls, calls);
	see_end(&c, slot);
}

static void posted_path(void)
{
	static const char *const three[] = { "1", "2", "3", NULL }, *const two[] = { "4", "5", NULL };

	setup(NULL);
	batch(0, many(three, "cloudevents-batch+json"), three, PIRN__REASON__NONE);
	batch(1, many(two, "cloudevents-batch+json"), two, PIRN__REASON__QUEUE_FULL);
	one(2, many(two + 1, "cloudevents+json"));
	one(3,
		EVENTS "ce-specversion: 1.0\r\nce-id: 5\r\nce-source: /shop\r\nce-type: order.paid\r\n"
		       "ce-subject: s50000\r\nContent-Type: application/json\r\n"
		       "Content-Length: 4\r\n\r\n\"d5\"");
	refused(4,
		EVENTS "Content-Type: application/cloudevents+json\r\n"
		       "Content-Length: 21\r\n\r\n{\"specversion\":\"1.0\"}");
	refused(5,
		EVENTS "Content-Type: application/cloudevents-batch+json\r\n"
		       "Content-Length: 2\r\n\r\n[]");
	teardown(NULL);
}

/* ---- the feed ------------------------------------------------------------------------------- */

static unsigned ended[8];

static void on_end(void *arg, const struct gw_feed_item *item, enum gw_feed_end end)
{
	(void)arg;
	assert_int_equal(end, GW_FEED_ACCEPTED);
	ended[item->name[0] - '0']++;
}

/* The second one is refused for now, and comes again. */
static void turn_until_ended(struct gw_feed *feed)
{
	struct client_reply no = { .reason = PIRN__REASON__QUEUE_FULL }, yes = { .status = 202 };
	size_t seen = 0;

	for (;;) {
		for (; seen < engine.n_calls; seen++) {
			struct asked *a = &engine.calls[seen];

			assert_string_equal(a->service, "gleaner");
			assert_true(holds(a->http->method, "POST"));
			assert_string_equal(a->data + 3, "\":\"value\"}");
			REPLY_TO(a->fn, a->arg, seen == 1 ? &no : &yes);
		}
		if (gw_feed_count(feed) == 0)
			return;
		armed = true;
		(void)uv_run(net_loop_uv(gw.loop), UV_RUN_ONCE);
		armed = false;
	}
}

/* What is in ends once, whatever it took; what is not in was said to be not. */
static void feed_path(void)
{
	static const uint8_t id[BASE_ULID_SIZE] = { 1 };
	struct base_buf meta, data;
	struct gw_feed *feed;
	bool is_in[4] = { false };

	setup(NULL);
	memset(ended, 0, sizeof ended);
	feed = OOM_GET(gw_feed_new(&gw, "gleaner", on_end, NULL));
	if (!feed) {
		teardown(NULL);
		return;
	}
	base_buf_init(&meta);
	base_buf_init(&data);
	for (unsigned i = 0; i < 4; i++) {
		const struct gw_slice name = { (const char[]){ "0123" } + i, 1 };
		struct gw_entry_field field = { name, { "value", 5 } };
		char text[2] = { name.data[0], '\0' };
		struct gw_feed_put put = { .name = text, .id = id, .meta = &meta, .data = &data };

		base_buf_reset(&meta);
		base_buf_reset(&data);
		OOM({
			gw_meta_method(&meta, GW_SLICE("POST"));
			gw_meta_target(&meta, GW_SLICE("/v1/redis/x"));
			gw_entry_json(&data, &field, 1);
			is_in[i] = gw_feed_put(feed, &put) == BASE_OK;
		});
	}
	turn_until_ended(feed);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(ended[i], is_in[i]);
	gw_feed_free(&feed);
	base_buf_fini(&meta);
	base_buf_fini(&data);
	teardown(NULL);
}

/* ---- entries --------------------------------------------------------------------------------- */

static struct gw_sources *sources;
static uint64_t began_ms;

/* Names of this process alone: several share the server. */
static const char *own_name(const char *what)
{
	static char name[64];

	snprintf(name, sizeof name, "%s-%d", what, (int)getpid());
	return name;
}

static void follow(Pirn__Source *source)
{
	const struct gw_sources_conf conf = { .claim_ms = 60000, .max_body = 65536 };
	Pirn__Registry registry = PIRN__REGISTRY__INIT;
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Entry entry = PIRN__ENTRY__INIT, *entries[] = { &entry };

	engine.now_ms = NOW_MS;
	gw.event_dedupe_ms = 600000;
	setenv(GW_SOURCE_VARIABLE "SHOP", harness_redis_url(server), 1);
	source->name = (char *)(uintptr_t) "main";
	source->url = (char *)(uintptr_t) "$SHOP";
	manifest.service = (char *)(uintptr_t) "gleaner";
	manifest.sources = &source;
	manifest.n_sources = 1;
	entry.manifest = &manifest;
	registry.entries = entries;
	registry.n_entries = 1;
	began_ms = base_clock_ms();
	sources = OOM_GET(gw_sources_new(&gw, &conf));
	if (!sources)
		sources = gw_sources_new(&gw, &conf);
	assert_non_null(sources);
	OOM(gw_sources_follow(sources, &registry));
}

static void turn_once(void)
{
	armed = base_clock_ms() < began_ms + ARMED_MS;
	(void)uv_run(net_loop_uv(gw.loop), UV_RUN_ONCE);
	armed = false;
}

static void leave(void)
{
	gw_sources_free(&sources);
	teardown(NULL);
}

static bool is_acknowledged(const char *stream, const char *entries)
{
	return harness_redis_says(server, "0", "EVAL return(redis.call('XPENDING',KEYS[1],'gleaner')[1]) 1 %s",
		       stream) &&
	       harness_redis_says(server, entries,
		       "EVAL return(redis.call('XINFO','GROUPS',KEYS[1])[1][8]) 1 %s", stream);
}

/* Each is handed on whole, under one key; all are acknowledged in the end, and then all were accepted. */
static void stream_path(void)
{
	static const char *const data[] = { "{\"a\":\"1\"}", "{\"b\":\"2\"}", "{\"c\":[\"3\",\"4\"]}" };
	struct client_reply yes = { .status = 202 };
	Pirn__Source source = PIRN__SOURCE__INIT;
	uint8_t keys[3][GW_ENTRY_KEY];
	unsigned accepted[3] = { 0 };
	char stream[64];
	bool over = false, waited = false, seen[3] = { false };
	uint64_t end_ms;

	setup(NULL);
	snprintf(stream, sizeof stream, "%s", own_name("stream"));
	free(harness_redis_command(server, "DEL %s", stream));
	free(harness_redis_command(server, "XADD %s 1-1 a 1", stream));
	free(harness_redis_command(server, "XADD %s 1-2 b 2", stream));
	free(harness_redis_command(server, "XADD %s 1-3 c 3 c 4", stream));
	source.stream = stream;
	follow(&source);
	end_ms = base_clock_ms() + PATIENCE_MS;
	do {
		assert_true(base_clock_ms() < end_ms);
		turn_once();
		for (size_t i = 0; i < engine.n_calls; i++) {
			const struct asked *a = &engine.calls[i];
			size_t n = (size_t)(header_of(a, "ce-id")[2] - '1');

			assert_true(n < 3);
			assert_string_equal(a->data, data[n]);
			assert_string_equal(a->service, "gleaner");
			assert_int_equal(a->request.key_size, GW_ENTRY_KEY);
			if (!seen[n])
				memcpy(keys[n], a->key, sizeof keys[n]);
			assert_memory_equal(keys[n], a->key, sizeof keys[n]);
			seen[n] = true;
		}
		over = is_acknowledged(stream, "1-3");
		assert_true(!over || (accepted[0] && accepted[1] && accepted[2]));
		if (!waited) { /* with no answer to any of them there is time to acknowledge too early */
			waited = seen[0] && seen[1] && seen[2];
			continue;
		}
		for (size_t i = 0; i < engine.n_calls; i++) {
			accepted[header_of(&engine.calls[i], "ce-id")[2] - '1']++;
			REPLY_TO(engine.calls[i].fn, engine.calls[i].arg, &yes);
		}
		forget_calls();
	} while (!over);
	leave();
}

/* ---- keys ------------------------------------------------------------------------------------- */

#define CHANGES 2000u

static unsigned heard[CHANGES];

/* Says yes to the lease, and to what is handed on. */
static void answer_all(const char *key)
{
	struct client_reply yes = { .status = 202 };
	char got[64], rest[64];
	unsigned number;

	for (size_t i = 0; i < engine.n_calls; i++) {
		const struct asked *a = &engine.calls[i];

		if (!a->request.timer) {
			assert_int_equal(sscanf(a->data, "{\"key\":\"%63[^:]:%u\",\"op\":\"%63s", got,
						 &number, rest),
				3);
			assert_string_equal(got, key);
			assert_string_equal(rest, "set\",\"db\":0}");
			assert_true(number < CHANGES);
			heard[number]++;
		}
		REPLY_TO(a->fn, a->arg, &yes);
	}
	forget_calls();
}

/* Each change is handed on once at most; with memory, those that come while somebody listens are. */
static void keys_path(void)
{
	static char set[] = "set", *ops[] = { set };
	Pirn__Source source = PIRN__SOURCE__INIT;
	unsigned n = 0, with_memory = 0;
	uint64_t end_ms, next_ms = 0;
	char key[64], pattern[72];
	bool over = false;

	setup(NULL);
	memset(heard, 0, sizeof heard);
	snprintf(key, sizeof key, "%s", own_name("key"));
	snprintf(pattern, sizeof pattern, "%s:*", key);
	source.keys = pattern;
	source.ops = ops;
	source.n_ops = 1;
	follow(&source);
	end_ms = base_clock_ms() + PATIENCE_MS;
	while (!over) {
		uint64_t now = base_clock_ms();

		assert_true(now < end_ms && n < CHANGES);
		engine.now_ms = NOW_MS + (now - began_ms);
		if (now < began_ms + ARMED_MS)
			with_memory = n;
		if (now >= next_ms) {
			free(harness_redis_command(server, "SET %s:%u x", key, n++));
			next_ms = now + 50;
		}
		turn_once();
		answer_all(key);
		for (unsigned i = with_memory; i < n; i++)
			over |= heard[i] > 0;
	}
	for (unsigned i = 0; i < n; i++)
		assert_in_range(heard[i], 0, 1);
	leave();
}

/* ------------------------------------------------------------------------------------------- */

static int begin(void **state)
{
	static const char *const options[] = { "--notify-keyspace-events", "K$", NULL };

	(void)state;
	server = harness_redis_start(false, options);
	return 0;
}

static int end(void **state)
{
	(void)state;
	harness_redis_stop(&server);
	return 0;
}

#define SWEEP(name, path, flags) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, flags); \
	}

SWEEP("gateway: POST /v1/events", posted_path, 0)
SWEEP("gateway: a feed", feed_path, OOM_SLOW)
SWEEP("gateway: entries of a stream", stream_path, OOM_MAY_ABORT | OOM_LOSES | OOM_SLOW)
SWEEP("gateway: changes of keys", keys_path, OOM_MAY_ABORT | OOM_LOSES | OOM_SLOW)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_posted_path),
		cmocka_unit_test(test_feed_path),
		cmocka_unit_test(test_stream_path),
		cmocka_unit_test(test_keys_path),
	};

	return cmocka_run_group_tests_name("gateway, events, out of memory", tests, begin, end);
}
