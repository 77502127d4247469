/* /v1/invocations: what is asked of the brokers, and how their answers look. */
#include "gateway_rig.h"

#include <assert.h>

#define HOST       "Host: x\r\n"
#define ID         "01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define AT(suffix) "/v1/invocations/" ID suffix

static uint8_t id[16];

static Pirn__Invocation delivery(const char *service, uint32_t state)
{
	Pirn__Invocation i = PIRN__INVOCATION__INIT;

	assert_true(base_ulid_parse(ID, id));
	i.id = (ProtobufCBinaryData){ sizeof id, id };
	i.service = (char *)(uintptr_t)service;
	i.state = state;
	i.has_attempt = i.has_attempts = i.has_accepted_ms = true;
	i.attempt = 2;
	i.attempts = 10;
	i.accepted_ms = 1795252502123;
	return i;
}

static void tell(struct client *c, const struct client_invocations *told)
{
	assert_true(engine.question.kind != 0);
	engine.question.kind = 0;
	engine.question.fn(engine.question.arg, told);
	until(gw.loop, c, response_whole(c, false));
}

static void tell_one(struct client *c, Pirn__Invocation *i, size_t cancelled)
{
	Pirn__Invocation *list[] = { i };

	tell(c, &(struct client_invocations){
			.verdict = CLIENT_FOUND, .list = list, .n = 1, .cancelled = cancelled });
}

static json_t *body_of(const struct client *c)
{
	json_t *body = json_loads(response_body(c), JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(body);
	return body;
}

static const char *text(const json_t *o, const char *key)
{
	return json_string_value(json_object_get(o, key));
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* ---- one event ----------------------------------------------------------------------- */

static void an_event_that_waits_for_its_next_attempt(void **state)
{
	Pirn__Invocation i = delivery("posts", PIRN__INVOCATION_STATE__WAITING);
	Pirn__JournalAttempt first = PIRN__JOURNAL_ATTEMPT__INIT, *history[] = { &first };
	struct client c = ask("GET " AT("") " HTTP/1.1\r\n" HOST "\r\n");
	const json_t *a;
	json_t *body;

	(void)state;
	assert_int_equal(engine.question.kind, QUESTION_ASK);
	assert_int_equal(engine.question.wait_ms, 0);
	i.has_not_before_ms = true;
	i.not_before_ms = 1795252503000;
	first.has_took_ms = first.has_status = true;
	first.attempt = 1;
	first.started_ms = 1795252502200;
	first.took_ms = 17;
	first.status = 500;
	first.worker = (char *)(uintptr_t) "w-1";
	first.error = (char *)(uintptr_t) "it \"broke\"";
	i.n_history = 1;
	i.history = history;
	tell_one(&c, &i, 0);
	assert_memory_equal(engine.question.id, id, sizeof id);
	assert_int_equal(response_status(&c), 200);
	body = body_of(&c);
	assert_string_equal(text(body, "id"), ID);
	assert_string_equal(text(body, "service"), "posts");
	assert_string_equal(text(body, "state"), "waiting");
	assert_string_equal(text(body, "accepted"), "2026-11-21T09:15:02.123Z");
	assert_string_equal(text(body, "not_before"), "2026-11-21T09:15:03.000Z");
	assert_int_equal(number(body, "attempt"), 2);
	assert_int_equal(number(body, "max_attempts"), 10);
	assert_null(json_object_get(body, "result"));
	assert_null(json_object_get(body, "ended"));
	a = json_array_get(json_object_get(body, "attempts"), 0);
	assert_int_equal(number(a, "attempt"), 1);
	assert_string_equal(text(a, "started"), "2026-11-21T09:15:02.200Z");
	assert_int_equal(number(a, "took_ms"), 17);
	assert_int_equal(number(a, "status"), 500);
	assert_string_equal(text(a, "worker"), "w-1");
	assert_string_equal(text(a, "error"), "it \"broke\"");
	json_decref(body);
	client_close(&c);
}

static json_t *result_of(const void *data, size_t size, struct client *c)
{
	Pirn__Invocation i = delivery("posts", PIRN__INVOCATION_STATE__DONE);
	Pirn__HttpResponse response = PIRN__HTTP_RESPONSE__INIT;
	Pirn__Header header = PIRN__HEADER__INIT, *headers[] = { &header, &header };
	uint8_t meta[256];

	*c = ask("GET " AT("") " HTTP/1.1\r\n" HOST "\r\n");
	header.name = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t) "X-A" };
	header.value = (ProtobufCBinaryData){ 2, (uint8_t *)(uintptr_t) "b\"" };
	response.n_headers = 2;
	response.headers = headers;
	i.has_ended_ms = i.has_status = i.has_meta = i.has_data = true;
	i.ended_ms = 1795252504000;
	i.status = 201;
	i.meta = (ProtobufCBinaryData){ pirn__http_response__pack(&response, meta), meta };
	i.data = (ProtobufCBinaryData){ size, (uint8_t *)(uintptr_t)data };
	tell_one(c, &i, 0);
	assert_int_equal(response_status(c), 200);
	return body_of(c);
}

static void results_are_shown_as_text_or_base64(void **state)
{
	static const struct {
		const char *data;
		size_t size;
		const char *body, *encoding;
	} rows[] = {
		{ "{\"a\":1}", 7, "{\"a\":1}", "text" },
		{ "", 0, "", "text" },
		{ "\xc3\xbc", 2, "\xc3\xbc", "text" },
		{ "\xff", 1, "/w==", "base64" },
		{ "\xff\xfe", 2, "//4=", "base64" },
		{ "\xff\xfe\xfd", 3, "//79", "base64" },
		{ "a\0b", 3, "YQBi", "base64" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct client c;
		json_t *body = result_of(rows[i].data, rows[i].size, &c), *header;
		const json_t *result = json_object_get(body, "result");
		assert_string_equal(text(body, "state"), "done");
		assert_string_equal(text(body, "ended"), "2026-11-21T09:15:04.000Z");
		assert_int_equal(number(result, "status"), 201);
		assert_string_equal(text(result, "body"), rows[i].body);
		assert_string_equal(text(result, "body_encoding"), rows[i].encoding);
		assert_int_equal(json_array_size(json_object_get(result, "headers")), 2);
		header = json_array_get(json_object_get(result, "headers"), 1);
		assert_string_equal(json_string_value(json_array_get(header, 0)), "X-A");
		assert_string_equal(json_string_value(json_array_get(header, 1)), "b\"");
		json_decref(body);
		client_close(&c);
	}
}

static void several_deliveries_are_a_list(void **state)
{
	Pirn__Invocation a = delivery("posts", PIRN__INVOCATION_STATE__DEAD);
	Pirn__Invocation b = delivery("users", PIRN__INVOCATION_STATE__READY);
	Pirn__Invocation *list[] = { &a, &b };
	struct client c = ask("GET " AT("") " HTTP/1.1\r\n" HOST "\r\n");
	const json_t *deliveries;
	json_t *body;

	(void)state;
	a.has_reason = true;
	a.reason = PIRN__REASON__EXHAUSTED;
	tell(&c, &(struct client_invocations){ .verdict = CLIENT_FOUND, .list = list, .n = 2 });
	body = body_of(&c);
	assert_string_equal(text(body, "id"), ID);
	assert_null(json_object_get(body, "state"));
	deliveries = json_object_get(body, "deliveries");
	assert_int_equal(json_array_size(deliveries), 2);
	assert_string_equal(text(json_array_get(deliveries, 0), "service"), "posts");
	assert_string_equal(text(json_array_get(deliveries, 0), "state"), "dead");
	assert_string_equal(text(json_array_get(deliveries, 0), "reason"), "exhausted");
	assert_string_equal(text(json_array_get(deliveries, 1), "state"), "ready");
	json_decref(body);
	client_close(&c);
}

static void unknown_is_404_and_not_known_is_503(void **state)
{
	struct client c = ask("GET " AT("") " HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	tell(&c, &(struct client_invocations){ .verdict = CLIENT_UNKNOWN });
	expect_problem(&c, 404);
	client_close(&c);
	c = ask("GET " AT("") " HTTP/1.1\r\n" HOST "\r\n");
	tell(&c, &(struct client_invocations){
			 .verdict = CLIENT_CANNOT_SAY, .reason = PIRN__REASON__NO_BROKER });
	expect_problem(&c, 503);
	expect_retry_after(&c, "1");
	client_close(&c);
	engine.next = BASE_FULL;
	c = ask("GET " AT("") " HTTP/1.1\r\n" HOST "\r\n");
	expect_problem(&c, 503);
	client_close(&c);
}

static void what_is_badly_asked_is_refused(void **state)
{
	static const struct {
		const char *line;
		unsigned status;
	} rows[] = {
		{ "GET /v1/invocations/1", 400 },
		{ "GET /v1/invocations/81ARZ3NDEKTSV4RRFFQ69G5FAV", 400 },
		{ "GET /v1/invocations/01ARZ3NDEKTSV4RRFFQ69G5FA%00", 400 },
		{ "GET " AT("?wait=soon"), 400 },
		{ "GET " AT("?wait="), 400 },
		{ "GET " AT("?wiat=1s"), 400 },
		{ "GET " AT("?wait=1s&wait=2s"), 400 },
		{ "POST " AT(""), 405 },
		{ "GET " AT("/x"), 404 },
		{ "GET /v1/invocations/", 404 },
		{ "GET /v1/invocations?state=done", 400 },
		{ "GET /v1/invocations?service=%00", 400 },
		{ "GET /v1/invocations?service=A", 400 },
		{ "GET /v1/invocations?limit=0", 400 },
		{ "GET /v1/invocations?limit=1001", 400 },
		{ "GET /v1/invocations?after=x", 400 },
		{ "GET /v1/invocations?x=%zz", 400 },
		{ "DELETE /v1/invocations", 405 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char request[256];
		struct client c;
		snprintf(request, sizeof request, "%s HTTP/1.1\r\n" HOST "\r\n", rows[i].line);
		c = ask(request);
		expect_problem(&c, rows[i].status);
		client_close(&c);
	}
	assert_int_equal(engine.n_questions, 0);
}

/* ---- waiting ---------------------------------------------------------------------------- */

static void the_end_is_waited_for(void **state)
{
	Pirn__Invocation i = delivery("posts", PIRN__INVOCATION_STATE__RUNNING);
	struct client c = ask("GET " AT("?wait=30s") " HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	assert_int_equal(engine.question.wait_ms, 30000);
	tell_one(&c, &i, 0);
	assert_int_equal(response_status(&c), 200);
	client_close(&c);
	c = ask("GET " AT("?wait=1h") " HTTP/1.1\r\n" HOST "\r\n");
	assert_int_equal(engine.question.wait_ms, 60000);
	tell_one(&c, &i, 0);
	client_close(&c);
}

static void a_client_that_leaves_frees_its_question(void **state)
{
	struct client c = ask("GET " AT("?wait=30s") " HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	client_close(&c);
	until(gw.loop, NULL, engine.n_forgotten == 1);
	until(gw.loop, NULL, gw_http_requests(gw.users) == 0);
}

static void a_gateway_that_ends_lets_nobody_wait(void **state)
{
	Pirn__Invocation i = delivery("posts", PIRN__INVOCATION_STATE__READY);
	struct client c = ask("GET " AT("?wait=30s") " HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	gw.draining = true;
	until(gw.loop, &c, engine.n_questions == 2);
	assert_int_equal(engine.n_forgotten, 1);
	assert_int_equal(engine.question.wait_ms, 0);
	tell_one(&c, &i, 0);
	assert_int_equal(response_status(&c), 200);
	client_close(&c);
}

/* ---- cancelling ------------------------------------------------------------------------- */

static void cancelling_says_what_happened(void **state)
{
	static const struct {
		uint32_t state;
		size_t cancelled;
		unsigned status;
	} rows[] = {
		{ PIRN__INVOCATION_STATE__CANCELLED_END, 1, 200 },
		{ PIRN__INVOCATION_STATE__CANCELLED_END, 0, 200 },
		{ PIRN__INVOCATION_STATE__ENDING, 1, 202 },
		{ PIRN__INVOCATION_STATE__ENDING, 0, 409 },
		{ PIRN__INVOCATION_STATE__DONE, 0, 409 },
		{ PIRN__INVOCATION_STATE__DEAD, 0, 409 },
		{ PIRN__INVOCATION_STATE__EXPIRED_END, 0, 409 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		Pirn__Invocation inv = delivery("posts", rows[i].state);
		struct client c = ask("DELETE " AT("") " HTTP/1.1\r\n" HOST "\r\n");
		assert_int_equal(engine.question.kind, QUESTION_CANCEL);
		tell_one(&c, &inv, rows[i].cancelled);
		assert_int_equal(response_status(&c), rows[i].status);
		client_close(&c);
	}
}

static void what_is_unknown_cannot_be_cancelled(void **state)
{
	struct client c = ask("DELETE " AT("") " HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	tell(&c, &(struct client_invocations){ .verdict = CLIENT_UNKNOWN });
	expect_problem(&c, 404);
	client_close(&c);
}

/* ---- lists ------------------------------------------------------------------------------ */

static void lists_go_by_service_state_and_page(void **state)
{
	Pirn__Invocation a = delivery("posts", PIRN__INVOCATION_STATE__READY);
	Pirn__Invocation b = delivery("users", PIRN__INVOCATION_STATE__READY);
	Pirn__Invocation *list[] = { &a, &b, NULL };
	uint8_t other[16] = { 9 };
	Pirn__Invocation third = b;
	struct client c = ask("GET /v1/invocations?service=posts&state=running&limit=7&after=" ID
			      " HTTP/1.1\r\n" HOST "\r\n");
	json_t *body, *items;

	(void)state;
	assert_int_equal(engine.question.kind, QUESTION_LIST);
	assert_string_equal(engine.question.service, "posts");
	assert_int_equal(engine.question.state, PIRN__INVOCATION_STATE__RUNNING);
	assert_int_equal(engine.question.limit, 7);
	assert_true(engine.question.has_after);
	assert_memory_equal(engine.question.after, id, sizeof id);
	third.id.data = other;
	list[2] = &third;
	tell(&c, &(struct client_invocations){
			 .verdict = CLIENT_FOUND, .list = list, .n = 3, .partial = true });
	body = body_of(&c);
	items = json_object_get(body, "invocations");
	assert_int_equal(json_array_size(items), 2);
	assert_int_equal(
		json_array_size(json_object_get(json_array_get(items, 0), "deliveries")), 2);
	assert_string_equal(text(json_array_get(items, 1), "service"), "users");
	assert_true(json_is_true(json_object_get(body, "partial")));
	json_decref(body);
	client_close(&c);
}

static void an_empty_list_is_one_and_no_broker_is_503(void **state)
{
	struct client c = ask("GET /v1/invocations HTTP/1.1\r\n" HOST "\r\n");

	(void)state;
	assert_string_equal(engine.question.service, "");
	assert_int_equal(engine.question.state, 0);
	assert_int_equal(engine.question.limit, 100);
	assert_false(engine.question.has_after);
	tell(&c, &(struct client_invocations){ .verdict = CLIENT_FOUND });
	assert_string_equal(response_body(&c), "{\"invocations\":[],\"partial\":false}\n");
	client_close(&c);
	c = ask("GET /v1/invocations HTTP/1.1\r\n" HOST "\r\n");
	tell(&c, &(struct client_invocations){ .verdict = CLIENT_CANNOT_SAY });
	expect_problem(&c, 503);
	client_close(&c);
}

/* ---- what is wrong with Redis ------------------------------------------------------------ */

static void expect_events(
	const char *request, const struct gw_http *h, bool events, size_t warnings)
{
	struct client c = ask_on(h, request);
	json_t *body;

	if (engine.answer_fn) {
		const Pirn__Answer none = PIRN__ANSWER__INIT;
		engine.answer_fn(engine.answer_arg, &none);
		engine.answer_fn(engine.answer_arg, NULL);
		until(gw.loop, &c, response_whole(&c, false));
	}
	assert_int_equal(response_status(&c), 200);
	body = body_of(&c);
	assert_int_equal(json_is_true(json_object_get(body, "events")), events);
	assert_int_equal(json_array_size(json_object_get(body, "warnings")), warnings);
	if (warnings)
		assert_string_equal(
			json_string_value(json_array_get(json_object_get(body, "warnings"), 0)),
			"Redis has no \"append-only\" file.");
	json_decref(body);
	client_close(&c);
}

static void a_wrong_redis_is_told_and_calls_go_on(void **state)
{
	static char *const warnings[] = { (
		char *)(uintptr_t) "Redis has no \"append-only\" file." };
	Pirn__Registry registry = PIRN__REGISTRY__INIT;

	(void)state;
	registry.n_warnings = 1;
	registry.warnings = (char **)(uintptr_t)warnings;
	gw_serve_registry(&gw, &registry);
	expect_events("GET /readyz HTTP/1.1\r\n" HOST "\r\n", gw.users, false, 1);
	expect_events("GET /v1/services HTTP/1.1\r\n" HOST "\r\n", gw.admin, false, 1);
	registry.n_warnings = 0;
	registry.has_events = registry.events = true;
	gw_serve_registry(&gw, &registry);
	expect_events("GET /readyz HTTP/1.1\r\n" HOST "\r\n", gw.users, true, 0);
	expect_events("GET /v1/services HTTP/1.1\r\n" HOST "\r\n", gw.admin, true, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_event_that_waits_for_its_next_attempt),
		TEST(results_are_shown_as_text_or_base64),
		TEST(several_deliveries_are_a_list),
		TEST(unknown_is_404_and_not_known_is_503),
		TEST(what_is_badly_asked_is_refused),
		TEST(the_end_is_waited_for),
		TEST(a_client_that_leaves_frees_its_question),
		TEST(a_gateway_that_ends_lets_nobody_wait),
		TEST(cancelling_says_what_happened),
		TEST(what_is_unknown_cannot_be_cancelled),
		TEST(lists_go_by_service_state_and_page),
		TEST(an_empty_list_is_one_and_no_broker_is_503),
		TEST(a_wrong_redis_is_told_and_calls_go_on),
	};

	assert(base_ulid_parse(ID, id));
	return cmocka_run_group_tests_name("http_invocation", tests, NULL, NULL);
}
