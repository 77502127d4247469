/* POST /v1/events: what becomes of CloudEvents in the three modes, and how they are answered. */
#include "gateway_rig.h"

#include "client/key.h"
#include "gateway/cloudevent.h"
#include "gateway/event.h"

#define HEAD "POST /v1/events HTTP/1.1\r\nHost: x\r\n"
#define BINARY \
	HEAD "ce-specversion: 1.0\r\nce-id: 7\r\nce-source: /shop\r\nce-type: order.created\r\n"
#define ONE(id) \
	"{\"specversion\":\"1.0\",\"id\":\"" id \
	"\",\"source\":\"/shop\",\"type\":\"order.created\"}"

static char request[8u << 20];

static struct client post(const char *type, const char *body)
{
	int size = snprintf(request, sizeof request,
		HEAD "Content-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", type, strlen(body), body);

	assert_true(size > 0 && (size_t)size < sizeof request);
	return ask(request);
}

static struct client post_batch(const char *body)
{
	return post("application/cloudevents-batch+json", body);
}

static void expect_refusal(struct client *c, unsigned status, const char *word)
{
	assert_int_equal(response_status(c), status);
	if (!strstr(response_body(c), word))
		print_error("no '%s' in %s\n", word, response_body(c));
	assert_non_null(strstr(response_body(c), word));
	client_close(c);
}

static void accept_one(struct client *c, bool replayed)
{
	struct client_reply r = { .status = 202, .replayed = replayed, .id = { 1, 2, 3 } };

	last()->fn(last()->arg, &r);
	until(gw.loop, c, response_whole(c, false));
}

/* Answers the last batch; the refused one, if there is one, with reason. */
static void decide_batch(struct client *c, size_t n, size_t refused, enum _Pirn__Reason reason)
{
	struct client_reply replies[MAX_CALLS];

	memset(replies, 0, sizeof replies);
	for (size_t i = 0; i < n; i++) {
		replies[i].status = 202;
		replies[i].id[0] = (uint8_t)i;
		if (i == refused || refused == SIZE_MAX) {
			replies[i].reason = reason;
			replies[i].status = client_reason_status(reason);
		}
	}
	engine.batch_fn(engine.batch_arg, replies, n);
	until(gw.loop, c, response_whole(c, false));
}

/* ---- one ------------------------------------------------------------------------------ */

static void a_binary_one_goes_to_its_subscribers(void **state)
{
	struct client c = ask(BINARY
		"ce-subject: caf%C3%A9\r\nce-rank: 3\r\nAuthorization: secret\r\nContent-Type: text/x\r\nContent-Length: 4\r\n\r\n\"a\" ");
	uint8_t key[CLIENT_KEY_EVENT];
	char location[64], header[64];
	json_t *body;

	(void)state;
	assert_true(last()->request.event && last()->request.want_result);
	assert_false(last()->request.idempotent);
	assert_null(last()->request.service);
	assert_string_equal(last()->type, "order.created");
	assert_string_equal(last()->source, "/shop");
	assert_string_equal(last()->subject, "caf\xc3\xa9");
	assert_string_equal(last()->data, "\"a\" ");
	assert_int_equal(last()->request.timeout_ms, GW_EVENT_DECISION_MS);
	client_key_event("/shop", 5, "7", 1, key);
	assert_int_equal(last()->request.key_size, sizeof key);
	assert_memory_equal(last()->key, key, sizeof key);
	assert_true(holds(last()->http->method, "POST"));
	assert_true(holds(last()->http->target, "/v1/events"));
	assert_string_equal(seen("ce-id"), "7");
	assert_string_equal(seen("ce-subject"), "caf%C3%A9");
	assert_string_equal(seen("ce-rank"), "3");
	assert_string_equal(seen("Content-Type"), "text/x");
	assert_null(seen("Authorization"));
	assert_non_null(seen("traceparent"));
	assert_non_null(seen("X-Request-Id"));
	accept_one(&c, false);
	assert_int_equal(response_status(&c), 202);
	assert_true(response_header(&c, "Location", location, sizeof location));
	assert_false(response_header(&c, "Idempotency-Replayed", header, sizeof header));
	body = json_loads(response_body(&c), JSON_REJECT_DUPLICATES, NULL);
	assert_string_equal(json_string_value(json_object_get(body, "location")), location);
	assert_string_equal(
		json_string_value(json_object_get(body, "id")), location + strlen(GW_INVOCATIONS));
	assert_null(json_object_get(body, "service"));
	json_decref(body);
	client_close(&c);
}

static void a_structured_one_is_the_same(void **state)
{
	struct client c = post("application/cloudevents+json; charset=utf-8",
		"{\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/shop\",\"type\":\"order.created\",\"data\":{\"n\": 12345678901234567890}}");
	char header[64];

	(void)state;
	assert_string_equal(last()->type, "order.created");
	assert_string_equal(last()->data, "{\"n\": 12345678901234567890}");
	assert_string_equal(seen("Content-Type"), "application/json");
	accept_one(&c, true);
	assert_true(response_header(&c, "Idempotency-Replayed", header, sizeof header));
	assert_string_equal(header, "true");
	client_close(&c);
}

static void its_own_trace_is_continued_unless_the_request_has_one(void **state)
{
	static const char trace[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	static const char other[] = "00-11111111111111111111111111111111-2222222222222222-00";
	char text[1024];
	struct client c;

	(void)state;
	snprintf(text, sizeof text, BINARY "ce-traceparent: %s\r\n\r\n", trace);
	c = ask(text);
	assert_memory_equal(seen("traceparent"), trace, 35);
	assert_memory_not_equal(seen("traceparent"), trace, 55);
	assert_string_equal(seen("ce-traceparent"), trace);
	client_close(&c);
	snprintf(text, sizeof text,
		BINARY "ce-traceparent: %s\r\ntraceparent: %s\r\ntracestate: a=1\r\n\r\n", trace,
		other);
	c = ask(text);
	assert_memory_equal(seen("traceparent"), other, 35);
	assert_string_equal(seen("tracestate"), "a=1");
	client_close(&c);
}

static void they_may_be_put_off(void **state)
{
	struct client c = ask(BINARY "Pirn-Delay: 10m\r\nPirn-Timeout: 2s\r\n\r\n");

	(void)state;
	assert_int_equal(last()->request.delay_ms, 600000);
	assert_int_equal(last()->request.timeout_ms, 2000);
	client_close(&c);
	c = ask(BINARY "Pirn-Delay: soon\r\n\r\n");
	expect_refusal(&c, 400, "Pirn-Delay");
	c = ask(BINARY "Pirn-Timeout: soon\r\n\r\n");
	expect_refusal(&c, 400, "Pirn-Timeout");
}

/* ---- batches ---------------------------------------------------------------------------- */

static void a_batch_has_one_fate(void **state)
{
	struct client c = post_batch("[" ONE("1") "," ONE("2") "," ONE("1") "]");
	json_t *body;

	(void)state;
	assert_int_equal(engine.n_calls, 3);
	assert_memory_not_equal(engine.calls[0].key, engine.calls[1].key, CLIENT_KEY_EVENT);
	assert_memory_equal(engine.calls[0].key, engine.calls[2].key, CLIENT_KEY_EVENT);
	assert_memory_not_equal(engine.calls[0].request.id, engine.calls[1].request.id, 16);
	decide_batch(&c, 3, 3, PIRN__REASON__NONE);
	assert_int_equal(response_status(&c), 202);
	body = json_loads(response_body(&c), JSON_REJECT_DUPLICATES, NULL);
	assert_int_equal(json_array_size(body), 3);
	assert_non_null(json_object_get(json_array_get(body, 1), "location"));
	assert_null(json_object_get(json_array_get(body, 1), "replayed"));
	json_decref(body);
	client_close(&c);
	assert_int_equal(gw.metrics.none.events_accepted, 3);
}

static void a_refused_batch_says_why_and_a_mixed_one_that_nobody_knows(void **state)
{
	struct client c = post_batch("[" ONE("1") "," ONE("2") "]");

	(void)state;
	decide_batch(&c, 2, SIZE_MAX, PIRN__REASON__QUEUE_FULL);
	expect_refusal(&c, 429, "");
	forget_calls();
	c = post_batch("[" ONE("1") "," ONE("2") "]");
	decide_batch(&c, 2, 1, PIRN__REASON__KEYS_FULL);
	expect_refusal(&c, 503, "");
	forget_calls();
	c = post_batch("[" ONE("1") "," ONE("2") "]");
	decide_batch(&c, 2, SIZE_MAX, PIRN__REASON__TOO_LARGE);
	expect_refusal(&c, 413, "deliveries");
	assert_int_equal(gw.metrics.none.events_accepted, 1);
	assert_int_equal(gw.metrics.none.events_refused, 5);
}

static void an_empty_batch_is_one(void **state)
{
	struct client c = post_batch("[]");

	(void)state;
	assert_int_equal(response_status(&c), 202);
	assert_string_equal(response_body(&c), "[]\n");
	assert_int_equal(engine.n_calls, 0);
	client_close(&c);
}

static void a_batch_is_bounded(void **state)
{
	static char body[4u << 20];
	char *end = body;
	struct client c;

	(void)state;
	*end++ = '[';
	for (int i = 0; i <= GW_CE_BATCH_MAX; i++)
		end = stpcpy(end, i ? "," ONE("1") : ONE("1"));
	stpcpy(end, "]");
	c = post_batch(body);
	expect_refusal(&c, 413, "at most 512 events");
	engine.next = BASE_TOO_LARGE;
	c = post_batch("[" ONE("1") "]");
	expect_refusal(&c, 413, "1 MiB");
	assert_int_equal(engine.n_calls, 0);
}

/* ---- what is wrong ------------------------------------------------------------------------ */

static void wrong_ones_are_400_with_the_attributes_name(void **state)
{
	static const struct {
		const char *type, *body, *word;
	} rows[] = {
		{ "application/json", "{}", "specversion" },
		{ "application/cloudevents+json",
			"{\"specversion\":\"1.0\",\"id\":\"7\",\"type\":\"t\"}", "source" },
		{ "application/cloudevents+json",
			"{\"specversion\":\"1.0\",\"id\":\"7\",\"id\":\"7\",\"source\":\"s\",\"type\":\"t\"}",
			"id" },
		{ "application/cloudevents+json",
			"{\"specversion\":\"1.0\",\"id\":\"\\ud800\",\"source\":\"s\",\"type\":\"t\"}",
			"not JSON" },
		{ "application/cloudevents+json", "[[[[", "not JSON" },
		{ "application/cloudevents-batch+json",
			"[" ONE("1") ",{\"specversion\":\"1.0\",\"id\":\"2\",\"source\":\"s\",\"type\":\"\"}]",
			"event 1: type" },
		{ "application/cloudevents-batch+json", ONE("1"), "array" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct client c = post(rows[i].type, rows[i].body);

		expect_refusal(&c, 400, rows[i].word);
	}
	assert_int_equal(engine.n_calls, 0);
}

static void other_formats_and_keys_are_refused(void **state)
{
	struct client c = post("application/cloudevents+avro", "x");

	(void)state;
	expect_refusal(&c, 415, "cloudevents+json");
	c = ask(BINARY "Idempotency-Key: a\r\n\r\n");
	expect_refusal(&c, 400, "Idempotency-Key");
	c = ask("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
	expect_refusal(&c, 405, "POST");
	assert_int_equal(engine.n_calls, 0);
}

static void a_refusal_is_told(void **state)
{
	struct client c = ask(BINARY "\r\n");

	(void)state;
	reply_reason(&c, PIRN__REASON__NOT_DURABLE, 1000);
	expect_retry_after(&c, "1");
	expect_refusal(&c, 503, "");
	engine.next = BASE_FULL;
	c = ask(BINARY "\r\n");
	expect_refusal(&c, 503, "under way");
	assert_int_equal(gw.metrics.none.events_refused, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_binary_one_goes_to_its_subscribers),
		TEST(a_structured_one_is_the_same),
		TEST(its_own_trace_is_continued_unless_the_request_has_one),
		TEST(they_may_be_put_off),
		TEST(a_batch_has_one_fate),
		TEST(a_refused_batch_says_why_and_a_mixed_one_that_nobody_knows),
		TEST(an_empty_batch_is_one),
		TEST(a_batch_is_bounded),
		TEST(wrong_ones_are_400_with_the_attributes_name),
		TEST(other_formats_and_keys_are_refused),
		TEST(a_refusal_is_told),
	};

	return cmocka_run_group_tests_name("http_events", tests, NULL, NULL);
}
