/* Requests that become events, and Idempotency-Keys. */
#include "gateway_rig.h"

#include "gateway/event.h"

#define HOST  "Host: x\r\n"
#define ASYNC HOST "Prefer: respond-async\r\n"

static const uint8_t some_id[16] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

static void accept_event(struct client *c, bool replayed)
{
	struct client_reply r = { .status = 202, .replayed = replayed };

	memcpy(r.id, some_id, sizeof r.id);
	last()->fn(last()->arg, &r);
	until(gw.loop, c, response_whole(c, false));
}

static void expect_header(const struct client *c, const char *name, const char *expected)
{
	char value[128];
	bool there = response_header(c, name, value, sizeof value);

	assert_int_equal(there, expected != NULL);
	if (expected)
		assert_string_equal(value, expected);
}

static void expect_accepted(struct client *c)
{
	char id[BASE_ULID_TEXT + 1], location[64];
	json_t *body = json_loads(response_body(c), JSON_REJECT_DUPLICATES, NULL);

	base_ulid_print(some_id, id);
	snprintf(location, sizeof location, "/v1/invocations/%s", id);
	assert_int_equal(response_status(c), 202);
	expect_header(c, "Location", location);
	expect_header(c, "Content-Type", "application/json");
	assert_string_equal(json_string_value(json_object_get(body, "id")), id);
	assert_string_equal(json_string_value(json_object_get(body, "location")), location);
	assert_string_equal(json_string_value(json_object_get(body, "service")), last()->service);
	json_decref(body);
}

/* ---- what becomes an event --------------------------------------------------------- */

static void prefer_makes_an_event_of_any_route(void **state)
{
	struct client c = ask("POST /p HTTP/1.1\r\n" ASYNC "Content-Length: 2\r\n\r\nhi");

	(void)state;
	assert_true(last()->request.event);
	assert_true(last()->request.want_result);
	assert_false(last()->request.ack_memory);
	assert_int_equal(last()->request.timeout_ms, GW_EVENT_DECISION_MS);
	assert_int_equal(last()->request.delay_ms, 0);
	assert_int_equal(last()->request.not_before_ms, 0);
	assert_string_equal(last()->data, "hi");
	accept_event(&c, false);
	expect_accepted(&c);
	expect_header(&c, "Preference-Applied", "respond-async");
	expect_header(&c, "Idempotency-Replayed", NULL);
	client_close(&c);
}

static void prefer_works_at_invoke_too_and_in_any_header(void **state)
{
	struct client c = ask("POST /v1/invoke/users HTTP/1.1\r\n" HOST
			      "Prefer: return=minimal\r\nprefer: wait=5, Respond-Async\r\n\r\n");

	(void)state;
	assert_true(last()->request.event);
	accept_event(&c, false);
	expect_accepted(&c);
	expect_header(&c, "Preference-Applied", "respond-async");
	client_close(&c);
}

static void other_preferences_leave_it_a_call(void **state)
{
	struct client c = ask("GET /u/1/x HTTP/1.1\r\n" HOST "Prefer: wait=5\r\n\r\n");

	(void)state;
	assert_false(last()->request.event);
	assert_false(last()->request.want_result);
	client_close(&c);
}

static void an_async_route_needs_no_header(void **state)
{
	struct client c = ask("POST /later HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	assert_true(last()->request.event);
	assert_false(last()->request.ack_memory);
	accept_event(&c, false);
	expect_accepted(&c);
	expect_header(&c, "Preference-Applied", NULL);
	client_close(&c);
}

static void a_route_may_be_acknowledged_from_memory(void **state)
{
	static const struct offered quick[] = { { "quick", "POST", "/quick", true, 5000, 0, 1 } };
	struct client c;

	(void)state;
	push_registry(quick, 1);
	c = ask("POST /quick HTTP/1.1\r\n" HOST "\r\n");
	assert_true(last()->request.ack_memory);
	client_close(&c);
	c = ask("POST /v1/invoke/quick HTTP/1.1\r\n" ASYNC "\r\n");
	assert_true(last()->request.event);
	assert_false(last()->request.ack_memory);
	client_close(&c);
}

static void the_decision_is_waited_for_as_long_as_the_sender_says(void **state)
{
	struct client c = ask("POST /later HTTP/1.1\r\n" HOST "Pirn-Timeout: 45s\r\n\r\n");

	(void)state;
	assert_int_equal(last()->request.timeout_ms, 45000);
	client_close(&c);
	c = ask("POST /later HTTP/1.1\r\n" HOST "Pirn-Timeout: 10m\r\n\r\n");
	assert_int_equal(last()->request.timeout_ms, GW_EVENT_DECISION_MOST_MS);
	client_close(&c);
}

static void runs_are_put_off(void **state)
{
	struct client c = ask("POST /later HTTP/1.1\r\n" HOST "Pirn-Delay: 10m\r\n"
			      "Pirn-Not-Before: 2026-11-21T10:15:02.5+01:00\r\n\r\n");

	(void)state;
	assert_int_equal(last()->request.delay_ms, 600000);
	assert_int_equal(last()->request.not_before_ms, 1795252502500);
	client_close(&c);
}

static void outcomes_go_where_they_are_wanted(void **state)
{
	static const char url[] = "https://app.example:8443/done?for=a%20b";
	struct client c = ask("POST /later HTTP/1.1\r\n" HOST "Pirn-Callback: "
			      "https://app.example:8443/done?for=a%20b\r\n\r\n");

	(void)state;
	assert_int_equal(last()->request.callback_size, sizeof url - 1);
	assert_memory_equal(last()->request.callback, url, sizeof url - 1);
	client_close(&c);
	c = ask("POST /later HTTP/1.1\r\n" HOST "\r\n");
	assert_int_equal(last()->request.callback_size, 0);
	client_close(&c);
}

/* ---- refusals ---------------------------------------------------------------------- */

static void wrong_headers_are_400(void **state)
{
	static const struct {
		const char *headers, *word;
	} rows[] = {
		{ ASYNC "Pirn-Delay: soon\r\n", "Pirn-Delay" },
		{ ASYNC "Pirn-Delay: 10\r\n", "Pirn-Delay" },
		{ ASYNC "Pirn-Delay: 367d\r\n", "Pirn-Delay" },
		{ ASYNC "Pirn-Delay: \r\n", "Pirn-Delay" },
		{ ASYNC "Pirn-Delay: 1000000000000000000000000s\r\n", "Pirn-Delay" },
		{ ASYNC "Pirn-Not-Before: tomorrow\r\n", "Pirn-Not-Before" },
		{ ASYNC "Pirn-Not-Before: 9999-01-01T00:00:00Z\r\n", "Pirn-Not-Before" },
		{ ASYNC "Pirn-Timeout: 0s\r\n", "Pirn-Timeout" },
		{ ASYNC "Pirn-Callback: \r\n", "Pirn-Callback" },
		{ ASYNC "Pirn-Callback: app\r\n", "Pirn-Callback" },
		{ ASYNC "Pirn-Callback: ftp://app/\r\n", "Pirn-Callback" },
		{ ASYNC "Pirn-Callback: http://me:too@app/\r\n", "Pirn-Callback" },
		{ ASYNC "Pirn-Callback: http://app/ x\r\n", "Pirn-Callback" },
		{ HOST "Pirn-Callback: http://app/\r\n", "Prefer: respond-async" },
		{ ASYNC "Idempotency-Key: a b\r\n", "Idempotency-Key" },
		{ HOST "Idempotency-Key: \"\"\r\n", "Idempotency-Key" },
		{ HOST "Idempotency-Key: a\r\nIdempotency-Key: a\r\n", "Idempotency-Key" },
		{ HOST "Pirn-Delay: 10m\r\n", "Prefer: respond-async" },
		{ HOST "Pirn-Not-Before: 2026-11-21T10:15:02Z\r\n", "Prefer: respond-async" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char request[512];
		struct client c;
		snprintf(request, sizeof request, "POST /p HTTP/1.1\r\n%s\r\n", rows[i].headers);
		c = ask(request);
		expect_problem(&c, 400);
		assert_non_null(strstr(response_body(&c), rows[i].word));
		client_close(&c);
	}
	assert_int_equal(engine.n_calls, 0);
}

static void an_unknown_service_is_404_and_never_202(void **state)
{
	struct client c = ask("POST /v1/invoke/nobody HTTP/1.1\r\n" ASYNC "\r\n");

	(void)state;
	expect_problem(&c, 404);
	client_close(&c);
	/* and when it is the broker that does not know it any more */
	c = ask("POST /later HTTP/1.1\r\n" HOST "\r\n");
	reply_reason(&c, PIRN__REASON__UNKNOWN_SERVICE, 0);
	expect_problem(&c, 404);
	client_close(&c);
}

static void refusals_say_when_to_come_again(void **state)
{
	static const struct {
		enum _Pirn__Reason reason;
		uint32_t after_ms;
		unsigned status;
		const char *after;
	} rows[] = {
		{ PIRN__REASON__QUEUE_FULL, 0, 429, "1" },
		{ PIRN__REASON__QUEUE_FULL, 2500, 429, "3" },
		{ PIRN__REASON__NOT_DURABLE, 0, 503, "1" },
		{ PIRN__REASON__OVERLOADED, 5000, 503, "5" },
		{ PIRN__REASON__UNDECIDED, 0, 503, "1" },
		{ PIRN__REASON__KEYS_FULL, 0, 503, "1" },
		{ PIRN__REASON__KEY_BUSY, 0, 409, "1" },
		{ PIRN__REASON__KEY_BUSY, 4001, 409, "5" },
		{ PIRN__REASON__KEY_BODY, 0, 422, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct client c = ask("POST /later HTTP/1.1\r\n" HOST "Idempotency-Key: k\r\n\r\n");
		reply_reason(&c, rows[i].reason, rows[i].after_ms);
		expect_problem(&c, rows[i].status);
		expect_header(&c, "Retry-After", rows[i].after);
		client_close(&c);
	}
}

/* ---- keys -------------------------------------------------------------------------- */

static void a_key_goes_with_events_and_calls(void **state)
{
	uint8_t hash[16];
	struct client c =
		ask("POST /p HTTP/1.1\r\n" HOST
		    "Idempotency-Key: \"one \\\"key\\\"\"\r\nContent-Length: 2\r\n\r\nhi");

	(void)state;
	assert_int_equal(last()->request.key_size, 9);
	assert_memory_equal(last()->key, "one \"key\"", 9);
	assert_true(last()->request.idempotent);
	memcpy(hash, last()->hash, sizeof hash);
	client_close(&c);
	/* the same request has the same fingerprint */
	c = ask("POST /p HTTP/1.1\r\nX-More: 1\r\n" HOST
		"Idempotency-Key: other\r\nContent-Length: 2\r\n\r\nhi");
	assert_memory_equal(last()->hash, hash, sizeof hash);
	client_close(&c);
	/* another body has another one, and so has the same as an event */
	c = ask("POST /p HTTP/1.1\r\n" HOST "Idempotency-Key: k\r\nContent-Length: 2\r\n\r\nho");
	assert_memory_not_equal(last()->hash, hash, sizeof hash);
	client_close(&c);
	c = ask("POST /p HTTP/1.1\r\n" ASYNC "Idempotency-Key: k\r\nContent-Length: 2\r\n\r\nhi");
	assert_memory_not_equal(last()->hash, hash, sizeof hash);
	assert_int_equal(last()->request.key_size, 1);
	client_close(&c);
}

static void without_a_key_there_is_none(void **state)
{
	struct client c = ask("POST /p HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	assert_int_equal(last()->request.key_size, 0);
	assert_false(last()->request.idempotent);
	client_close(&c);
}

static void replayed_answers_say_so(void **state)
{
	struct client c = ask("POST /later HTTP/1.1\r\n" HOST "Idempotency-Key: k\r\n\r\n");
	struct client_reply r = { .status = 201, .replayed = true };

	(void)state;
	accept_event(&c, true);
	expect_accepted(&c);
	expect_header(&c, "Idempotency-Replayed", "true");
	client_close(&c);
	c = ask("POST /p HTTP/1.1\r\n" HOST "Idempotency-Key: k\r\n\r\n");
	r.payload.data = (const uint8_t *)"first";
	r.payload.data_size = 5;
	last()->fn(last()->arg, &r);
	until(gw.loop, &c, response_whole(&c, false));
	assert_int_equal(response_status(&c), 201);
	assert_string_equal(response_body(&c), "first");
	expect_header(&c, "Idempotency-Replayed", "true");
	client_close(&c);
}

/* ---- what is counted and logged ------------------------------------------------------ */

static double counted(const char *name)
{
	struct client c;
	char wanted[128];
	const char *at;
	double value = -1;

	c = ask_on(gw.admin, "GET /metrics HTTP/1.1\r\n" HOST "\r\n");
	engine.answer_fn(engine.answer_arg, NULL);
	until(gw.loop, &c, response_whole(&c, false));
	snprintf(wanted, sizeof wanted, "\n%s{service=\"later\"", name);
	at = strstr(response_body(&c), wanted);
	if (at)
		value = atof(strchr(at, '}') + 1);
	client_close(&c);
	return value;
}

static void events_are_counted_by_service(void **state)
{
	struct client c = ask("POST /later HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	accept_event(&c, false);
	client_close(&c);
	c = ask("POST /later HTTP/1.1\r\n" HOST "\r\n");
	reply_reason(&c, PIRN__REASON__NOT_DURABLE, 0);
	client_close(&c);
	engine.next = BASE_FULL;
	c = ask("POST /later HTTP/1.1\r\n" HOST "\r\n");
	expect_problem(&c, 503);
	client_close(&c);
	engine.next = BASE_OK;
	assert_true(counted("pirn_gateway_events_accepted_total") == 1);
	assert_true(counted("pirn_gateway_events_refused_total") == 2);
}

static void the_access_log_has_the_events_id(void **state)
{
	char log[1024] = "", wanted[64], id[BASE_ULID_TEXT + 1];
	int fds[2];
	struct client c;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(gw_access_new(gw.loop, BASE_LOG_TEXT, fds[1], &gw.access), BASE_OK);
	c = ask("POST /later HTTP/1.1\r\n" HOST "X-Request-Id: mine\r\n\r\n");
	accept_event(&c, false);
	assert_true(read(fds[0], log, sizeof log - 1) > 0);
	base_ulid_print(some_id, id);
	snprintf(wanted, sizeof wanted, " invocation=%s\n", id);
	assert_non_null(strstr(log, " status=202 "));
	assert_non_null(strstr(log, " id=mine "));
	assert_non_null(strstr(log, wanted));
	client_close(&c);
	gw_access_free(&gw.access);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(prefer_makes_an_event_of_any_route),
		TEST(prefer_works_at_invoke_too_and_in_any_header),
		TEST(other_preferences_leave_it_a_call),
		TEST(an_async_route_needs_no_header),
		TEST(a_route_may_be_acknowledged_from_memory),
		TEST(the_decision_is_waited_for_as_long_as_the_sender_says),
		TEST(runs_are_put_off),
		TEST(outcomes_go_where_they_are_wanted),
		TEST(wrong_headers_are_400),
		TEST(an_unknown_service_is_404_and_never_202),
		TEST(refusals_say_when_to_come_again),
		TEST(a_key_goes_with_events_and_calls),
		TEST(without_a_key_there_is_none),
		TEST(replayed_answers_say_so),
		TEST(events_are_counted_by_service),
		TEST(the_access_log_has_the_events_id),
	};

	return cmocka_run_group_tests_name("http_event", tests, NULL, NULL);
}
