/* /v1/dead: the letters of a service, one of them, and how they are moved. */
#include "gateway_rig.h"

#define HOST      "Host: x\r\n"
#define GET(path) "GET /v1/dead" path " HTTP/1.1\r\n" HOST "\r\n"
#define LETTERS       8

static struct {
	Pirn__Letter letters[LETTERS], *list[LETTERS];
	Pirn__JournalEvent events[LETTERS];
	Pirn__JournalDelivery deliveries[LETTERS], *delivery_list[LETTERS];
	Pirn__JournalAttempt attempts[LETTERS], *attempt_list[LETTERS];
	uint8_t ids[LETTERS][16];
} dead;

/* Letters 1 to n: number i died at i seconds, of what reasons say, after an answer 500 + i. */
static void make_letters(const enum _Pirn__Reason *reasons, size_t n)
{
	memset(&dead, 0, sizeof dead);
	for (size_t i = 0; i < n; i++) {
		pirn__letter__init(&dead.letters[i]);
		pirn__journal_event__init(&dead.events[i]);
		pirn__journal_delivery__init(&dead.deliveries[i]);
		pirn__journal_attempt__init(&dead.attempts[i]);
		dead.ids[i][15] = (uint8_t)(i + 1);
		dead.letters[i].id = (ProtobufCBinaryData){ 16, dead.ids[i] };
		dead.letters[i].event = &dead.events[i];
		dead.events[i].n_deliveries = 1;
		dead.events[i].deliveries = &dead.delivery_list[i];
		dead.events[i].data_size = 12;
		dead.delivery_list[i] = &dead.deliveries[i];
		dead.deliveries[i].service = (char *)(uintptr_t) "posts";
		dead.deliveries[i].has_reason = dead.deliveries[i].has_ended_ms = true;
		dead.deliveries[i].reason = reasons[i];
		dead.deliveries[i].ended_ms = 1000 * (i + 1);
		dead.deliveries[i].n_history = 1;
		dead.deliveries[i].history = &dead.attempt_list[i];
		dead.attempt_list[i] = &dead.attempts[i];
		dead.attempts[i].has_status = true;
		dead.attempts[i].status = (uint32_t)(501 + i);
		dead.list[i] = &dead.letters[i];
	}
}

static const enum _Pirn__Reason mixed[] = { PIRN__REASON__EXHAUSTED, PIRN__REASON__POISON,
	PIRN__REASON__EXHAUSTED };

/* Answers the open question; the next one, or the answer, is then there. */
static void answer(struct client *c, const Pirn__Answer *a)
{
	unsigned probes = engine.n_probes;
	client_answer_fn *fn = engine.probe.fn;

	engine.probe.fn = NULL;
	fn(engine.probe.arg, a);
	until(gw.loop, c, engine.n_probes > probes || response_whole(c, false));
}

/* Letters from to to (counted from 1), and the cursor to go on with. */
static void answer_page(struct client *c, size_t from, size_t to, const char *cursor)
{
	Pirn__Answer a = PIRN__ANSWER__INIT;

	a.n_letters = to + 1 - from;
	a.letters = &dead.list[from - 1];
	a.cursor = (char *)(uintptr_t)cursor;
	answer(c, &a);
}

static void answer_moved(struct client *c, size_t from, size_t to)
{
	Pirn__Answer a = PIRN__ANSWER__INIT;
	ProtobufCBinaryData ids[LETTERS];

	for (size_t i = from; i <= to; i++)
		ids[i - from] = (ProtobufCBinaryData){ 16, dead.ids[i - 1] };
	a.n_ids = to + 1 - from;
	a.ids = ids;
	answer(c, &a);
}

static void answer_reason(struct client *c, enum _Pirn__Reason reason)
{
	Pirn__Answer a = PIRN__ANSWER__INIT;

	a.has_reason = true;
	a.reason = reason;
	answer(c, &a);
}

static struct client post(const char *action, const char *body)
{
	char request[1024];

	snprintf(request, sizeof request,
		"POST /v1/dead/posts/%s HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n%s", action,
		strlen(body), body);
	return ask_on(gw.admin, request);
}

static void expect_asked(uint32_t what, const char *cursor)
{
	assert_int_equal(engine.probe.what, what);
	assert_string_equal(engine.probe.service, "posts");
	assert_string_equal(engine.probe.cursor, cursor);
}

static void expect_ids(size_t n, const uint8_t *last_bytes)
{
	assert_int_equal(engine.probe.n_ids, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(engine.probe.ids[i][15], last_bytes[i]);
}

static void expect_body(const struct client *c, const char *body)
{
	assert_int_equal(response_status(c), 200);
	assert_string_equal(response_body(c), body);
}

/* ---- reading --------------------------------------------------------------------------- */

static json_t *letters_of(const struct client *c, json_t **body)
{
	assert_int_equal(response_status(c), 200);
	*body = json_loads(response_body(c), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(*body);
	return json_object_get(*body, "letters");
}

static void letters_are_listed_page_by_page(void **state)
{
	struct client c = ask_on(gw.admin, GET("/posts?limit=3"));
	json_t *body, *letters;

	(void)state;
	make_letters(mixed, 3);
	expect_asked(PIRN__QUERY_KIND__DEAD_LIST, "0");
	assert_int_equal(engine.probe.limit, 3);
	answer_page(&c, 1, 2, "17");
	expect_asked(PIRN__QUERY_KIND__DEAD_LIST, "17");
	answer_page(&c, 3, 3, "23");
	letters = letters_of(&c, &body);
	assert_int_equal(json_array_size(letters), 3);
	assert_string_equal(json_string_value(json_object_get(body, "cursor")), "23");
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(letters, 1), "reason")), "poison");
	assert_string_equal(json_string_value(json_object_get(json_array_get(letters, 1), "died")),
		"1970-01-01T00:00:02.000Z");
	assert_int_equal(
		json_integer_value(json_object_get(json_array_get(letters, 1), "status")), 502);
	json_decref(body);
	client_close(&c);
}

static void the_last_page_has_no_cursor(void **state)
{
	struct client c = ask_on(gw.admin, GET("/posts?cursor=23"));
	json_t *body, *letters;

	(void)state;
	make_letters(mixed, 3);
	expect_asked(PIRN__QUERY_KIND__DEAD_LIST, "23");
	assert_int_equal(engine.probe.limit, 100);
	answer_page(&c, 1, 3, "0");
	letters = letters_of(&c, &body);
	assert_int_equal(json_array_size(letters), 3);
	assert_true(json_is_null(json_object_get(body, "cursor")));
	json_decref(body);
	client_close(&c);
}

static void a_filter_looks_at_each_letter(void **state)
{
	static const struct {
		const char *query;
		unsigned letters;
	} rows[] = {
		{ "reason=exhausted", 2 },
		{ "reason=POISON", 1 },
		{ "reason=worker_lost", 0 },
		{ "status=503", 1 },
		{ "before=1970-01-01T00:00:02Z", 1 },
		{ "after=1970-01-01T00:00:02Z", 2 },
		{ "after=1970-01-01T00:00:02Z&reason=exhausted", 1 },
		{ "after=1970-01-01T00:00:00.5%2B00:00&before=1970-01-01T00:00:09Z", 3 },
	};

	(void)state;
	make_letters(mixed, 3);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char request[256];
		struct client c;
		json_t *body;
		snprintf(request, sizeof request, "GET /v1/dead/posts?%s HTTP/1.1\r\n" HOST "\r\n",
			rows[i].query);
		c = ask_on(gw.admin, request);
		answer_page(&c, 1, 3, "0");
		assert_int_equal(json_array_size(letters_of(&c, &body)), rows[i].letters);
		json_decref(body);
		client_close(&c);
	}
}

static void one_letter_has_its_request(void **state)
{
	struct client c = ask_on(gw.admin, GET("/posts/01ARZ3NDEKTSV4RRFFQ69G5FAV"));
	Pirn__HttpRequest http = PIRN__HTTP_REQUEST__INIT;
	uint8_t meta[256], id[16];
	json_t *body, *request;

	(void)state;
	make_letters(mixed, 1);
	assert_int_equal(engine.probe.what, PIRN__QUERY_KIND__DEAD_GET);
	assert_true(base_ulid_parse("01ARZ3NDEKTSV4RRFFQ69G5FAV", id));
	assert_memory_equal(engine.probe.id, id, 16);
	http.method = (ProtobufCBinaryData){ 4, (uint8_t *)(uintptr_t) "POST" };
	http.target = (ProtobufCBinaryData){ 2, (uint8_t *)(uintptr_t) "/p" };
	dead.letters[0].has_meta = dead.letters[0].has_data = true;
	dead.letters[0].meta = (ProtobufCBinaryData){ pirn__http_request__pack(&http, meta), meta };
	dead.letters[0].data = (ProtobufCBinaryData){ 5, (uint8_t *)(uintptr_t) "hello" };
	answer_page(&c, 1, 1, "0");
	assert_int_equal(response_status(&c), 200);
	body = json_loads(response_body(&c), JSON_REJECT_DUPLICATES, NULL);
	request = json_object_get(body, "request");
	assert_string_equal(json_string_value(json_object_get(request, "method")), "POST");
	assert_string_equal(json_string_value(json_object_get(request, "target")), "/p");
	assert_string_equal(json_string_value(json_object_get(request, "body")), "hello");
	assert_int_equal(json_array_size(json_object_get(body, "attempts")), 1);
	json_decref(body);
	client_close(&c);
	c = ask_on(gw.admin, GET("/posts/01ARZ3NDEKTSV4RRFFQ69G5FAV"));
	answer_page(&c, 1, 0, "0");
	expect_problem(&c, 404);
	client_close(&c);
}

/* What a client that speaks no HTTP sent, or somebody broke. */
static void a_letter_that_is_no_request_is_shown_all_the_same(void **state)
{
	struct client c = ask_on(gw.admin, GET("/posts/01ARZ3NDEKTSV4RRFFQ69G5FAV"));
	json_t *body, *request;

	(void)state;
	make_letters(mixed, 1);
	dead.events[0].n_deliveries = 0;
	dead.letters[0].has_meta = dead.letters[0].has_data = true;
	dead.letters[0].meta = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t) "\xff\xff\xff" };
	dead.letters[0].data = (ProtobufCBinaryData){ 1, (uint8_t *)(uintptr_t) "\xff" };
	answer_page(&c, 1, 1, "0");
	assert_int_equal(response_status(&c), 200);
	body = json_loads(response_body(&c), JSON_REJECT_DUPLICATES, NULL);
	request = json_object_get(body, "request");
	assert_null(json_object_get(request, "method"));
	assert_string_equal(json_string_value(json_object_get(request, "body_encoding")), "base64");
	json_decref(body);
	client_close(&c);
}

static void services_with_dead_letters_are_counted(void **state)
{
	static const struct offered two[] = { { "posts", "POST", "/p", false, 0, 0, 1 },
		{ "users", "GET", "/u", false, 0, 0, 2 }, { "zero", "GET", "/z", false, 0, 0, 3 } };
	struct client c;

	(void)state;
	push_registry(two, 3);
	make_letters(mixed, 3);
	c = ask_on(gw.admin, GET(""));
	assert_string_equal(engine.probe.service, "posts");
	answer_page(&c, 1, 3, "5");
	assert_string_equal(engine.probe.service, "users");
	assert_string_equal(engine.probe.cursor, "0");
	answer_page(&c, 1, 0, "0");
	assert_string_equal(engine.probe.service, "zero");
	answer_page(&c, 1, 1, "0");
	expect_body(&c, "{\"services\":[{\"service\":\"posts\",\"letters\":3,\"more\":true},"
			"{\"service\":\"zero\",\"letters\":1,\"more\":false}]}\n");
	client_close(&c);
}

static void what_cannot_be_read_is_503(void **state)
{
	struct client c = ask_on(gw.admin, GET("/posts"));

	(void)state;
	answer_reason(&c, PIRN__REASON__NOT_DURABLE);
	expect_problem(&c, 503);
	client_close(&c);
	c = ask_on(gw.admin, GET("/posts"));
	answer(&c, NULL);
	expect_problem(&c, 503);
	client_close(&c);
	engine.next = BASE_FULL;
	c = ask_on(gw.admin, GET("/posts"));
	expect_problem(&c, 503);
	client_close(&c);
}

/* ---- moving ---------------------------------------------------------------------------- */

static void all_letters_are_redriven(void **state)
{
	struct client c = post("redrive", "{\"all\":true}");

	(void)state;
	make_letters(mixed, 3);
	expect_asked(PIRN__QUERY_KIND__DEAD_LIST, "0");
	assert_int_equal(engine.probe.limit, 1000);
	answer_page(&c, 1, 2, "9");
	expect_asked(PIRN__QUERY_KIND__DEAD_REDRIVE, "");
	expect_ids(2, (const uint8_t[]){ 1, 2 });
	answer_moved(&c, 1, 2);
	expect_asked(PIRN__QUERY_KIND__DEAD_LIST, "9");
	answer_page(&c, 3, 3, "0");
	expect_ids(1, (const uint8_t[]){ 3 });
	answer_moved(&c, 3, 3);
	expect_body(&c, "{\"service\":\"posts\",\"redriven\":3,\"not_found\":0}\n");
	client_close(&c);
}

static void what_a_batch_left_is_asked_again(void **state)
{
	struct client c = post("redrive", "{\"all\":true}");

	(void)state;
	make_letters(mixed, 3);
	answer_page(&c, 1, 3, "0");
	expect_ids(3, (const uint8_t[]){ 1, 2, 3 });
	answer_moved(&c, 2, 2); /* as much as fitted */
	expect_ids(2, (const uint8_t[]){ 1, 3 });
	answer_moved(&c, 1, 1);
	expect_ids(1, (const uint8_t[]){ 3 });
	answer_moved(&c, 1, 0); /* and that one is gone */
	expect_body(&c, "{\"service\":\"posts\",\"redriven\":2,\"not_found\":1}\n");
	client_close(&c);
}

static void some_are_redriven_by_filter(void **state)
{
	struct client c = post("redrive", "{\"reason\":\"exhausted\",\"status\":503}");

	(void)state;
	make_letters(mixed, 3);
	answer_page(&c, 1, 2, "9");
	expect_asked(PIRN__QUERY_KIND__DEAD_LIST, "9");
	answer_page(&c, 3, 3, "0");
	expect_ids(1, (const uint8_t[]){ 3 });
	answer_moved(&c, 3, 3);
	expect_body(&c, "{\"service\":\"posts\",\"redriven\":1,\"not_found\":0}\n");
	client_close(&c);
}

static void single_ones_are_purged(void **state)
{
	Pirn__Answer a = PIRN__ANSWER__INIT;
	struct client c = post("purge",
		"{\"ids\":[\"00000000000000000000000001\",\"00000000000000000000000002\"]}");

	(void)state;
	expect_asked(PIRN__QUERY_KIND__DEAD_PURGE, "");
	expect_ids(2, (const uint8_t[]){ 1, 2 });
	a.has_count = true;
	a.count = 1;
	answer(&c, &a);
	expect_body(&c, "{\"service\":\"posts\",\"purged\":1,\"not_found\":1}\n");
	client_close(&c);
}

static void a_broker_that_fails_is_asked_again_and_then_said(void **state)
{
	struct client c = post("redrive", "{\"all\":true}");

	(void)state;
	make_letters(mixed, 3);
	answer(&c, NULL);
	expect_asked(PIRN__QUERY_KIND__DEAD_LIST, "0");
	answer_page(&c, 1, 3, "0");
	answer_moved(&c, 1, 1);
	for (unsigned i = 0; i < 4; i++) {
		expect_ids(2, (const uint8_t[]){ 2, 3 });
		answer_reason(&c, PIRN__REASON__NOT_DURABLE);
	}
	expect_ids(2, (const uint8_t[]){ 2, 3 });
	answer_reason(&c, PIRN__REASON__MOVED);
	expect_problem(&c, 503);
	expect_retry_after(&c, "1");
	assert_non_null(strstr(response_body(&c), "\"redriven\":1"));
	client_close(&c);
}

static void a_client_that_leaves_ends_the_walk(void **state)
{
	struct client c = post("redrive", "{\"all\":true}");
	Pirn__Answer a = PIRN__ANSWER__INIT;

	(void)state;
	make_letters(mixed, 3);
	client_close(&c);
	turn(gw.loop);
	a.n_letters = 3;
	a.letters = dead.list;
	engine.probe.fn(engine.probe.arg, &a);
	until(gw.loop, NULL, gw_http_requests(gw.admin) == 0);
	assert_int_equal(engine.n_probes, 1);
}

static void a_body_that_names_none_moves_none(void **state)
{
	static const char *const bodies[] = { "", "{}", "[]", "all", "{\"all\":false}",
		"{\"all\":true,\"reason\":\"poison\"}", "{\"ids\":\"x\"}", "{\"ids\":[1]}",
		"{\"ids\":[\"x\"]}", "{\"ids\":[],\"all\":true}", "{\"reason\":\"\"}",
		"{\"reason\":\"nonsense\"}", "{\"status\":\"x\"}", "{\"status\":1.5}",
		"{\"staus\":500}", "{\"before\":\"yesterday\"}", "{\"all\":true,\"all\":true}",
		"{\"reason\":null}" };

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
		struct client c = post("purge", bodies[i]);
		expect_problem(&c, 400);
		client_close(&c);
	}
	assert_int_equal(engine.n_probes, 0);
}

static void paths_and_methods_are_checked(void **state)
{
	static const struct {
		const char *line;
		unsigned status;
	} rows[] = {
		{ "GET /v1/dead/UPPER", 400 },
		{ "GET /v1/dead/a%00b", 400 },
		{ "GET /v1/dead/posts/x", 400 },
		{ "GET /v1/dead/posts/redrive", 405 },
		{ "POST /v1/dead/posts", 405 },
		{ "DELETE /v1/dead/posts/01ARZ3NDEKTSV4RRFFQ69G5FAV", 405 },
		{ "GET /v1/dead/posts/x/y", 404 },
		{ "GET /v1/dead/posts?limit=x", 400 },
		{ "GET /v1/dead/posts?cursor=x", 400 },
		{ "GET /v1/dead/posts?cursor=11111111112222222222333333333344", 400 },
		{ "GET /v1/dead/posts?reason=nonsense", 400 },
		{ "GET /v1/dead/posts?status=99", 400 },
		{ "GET /v1/dead/posts?before=x", 400 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char request[256];
		struct client c;
		snprintf(request, sizeof request, "%s HTTP/1.1\r\n" HOST "\r\n", rows[i].line);
		c = ask_on(gw.admin, request);
		expect_problem(&c, rows[i].status);
		client_close(&c);
	}
	assert_int_equal(engine.n_probes, 0);
}

static void users_do_not_reach_it(void **state)
{
	struct client c = ask(GET("/posts"));

	(void)state;
	expect_problem(&c, 404);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(letters_are_listed_page_by_page),
		TEST(the_last_page_has_no_cursor),
		TEST(a_filter_looks_at_each_letter),
		TEST(one_letter_has_its_request),
		TEST(a_letter_that_is_no_request_is_shown_all_the_same),
		TEST(services_with_dead_letters_are_counted),
		TEST(what_cannot_be_read_is_503),
		TEST(all_letters_are_redriven),
		TEST(what_a_batch_left_is_asked_again),
		TEST(some_are_redriven_by_filter),
		TEST(single_ones_are_purged),
		TEST(a_broker_that_fails_is_asked_again_and_then_said),
		TEST(a_client_that_leaves_ends_the_walk),
		TEST(a_body_that_names_none_moves_none),
		TEST(paths_and_methods_are_checked),
		TEST(users_do_not_reach_it),
	};

	return cmocka_run_group_tests_name("http_dead", tests, NULL, NULL);
}
