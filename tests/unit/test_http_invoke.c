/* From a request to a call and back: the gateway's two listeners over real sockets. */
#include "gateway_rig.h"

/* ---- the way out -------------------------------------------------------------------- */

static void a_request_becomes_a_call(void **state)
{
	struct client c = ask(
		"GET /u/a%2Fb/x/y%20z?q=%2F HTTP/1.1\r\nHost: example.org\r\nX-Request-Id: req-1\r\n"
		"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=b\r\n"
		"Accept: */*\r\nAccept: text/html\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
		"Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nUpgrade: h2c\r\n"
		"Pirn-Timeout: 1s\r\n\r\n");
	struct asked *a = last();

	(void)state;
	assert_string_equal(a->service, "users");
	assert_int_equal(a->request.timeout_ms, 1000);
	assert_true(a->request.idempotent);
	assert_true(holds(a->http->method, "GET"));
	assert_true(holds(a->http->target, "/u/a%2Fb/x/y%20z?q=%2F"));
	assert_true(holds(a->http->remote, "127.0.0.1"));
	assert_int_equal(a->http->n_params, 2);
	assert_true(holds(a->http->params[0]->name, "id"));
	assert_true(holds(a->http->params[0]->value, "a/b"));
	assert_true(holds(a->http->params[1]->name, "rest"));
	assert_true(holds(a->http->params[1]->value, "x/y z"));
	assert_string_equal(seen("Host"), "example.org");
	assert_string_equal(seen("X-Request-Id"), "req-1");
	assert_string_equal(seen("tracestate"), "a=b");
	assert_memory_equal(seen("traceparent"), "00-4bf92f3577b34da6a3ce929d0e0e4736-", 36);
	assert_memory_not_equal(seen("traceparent") + 36, "00f067aa0ba902b7", 16);
	assert_memory_equal(a->trace, "\x4b\xf9\x2f\x35", 4);
	assert_string_equal(seen("Accept"), "*/*");
	assert_null(seen("X-Forwarded-For"));
	assert_null(seen("Forwarded"));
	assert_null(seen("Connection"));
	assert_null(seen("X-Hop"));
	assert_null(seen("Keep-Alive"));
	assert_null(seen("TE"));
	assert_null(seen("Upgrade"));
	reply(&c, &(struct said){ .status = 200, .body = "ok" });
	assert_string_equal(response_body(&c), "ok");
	client_close(&c);
}

/* Who lists more than anybody would: none of it passes, and that is soon known. */
static void headers_that_end_here(void **state)
{
	static char request[4096];
	size_t n = 0;
	struct client c;

	(void)state;
	c = ask("GET /u/a/x HTTP/1.1\r\nHost: x\r\nConnection: X-A\r\nX-A: 1\r\nX-B: 2\r\n"
		"connection: ,,\tX-B ,host\r\nX-C: 3\r\n\r\n");
	assert_null(seen("X-A"));
	assert_null(seen("X-B"));
	assert_string_equal(seen("X-C"), "3");
	assert_string_equal(seen("Host"), "x");
	reply(&c, &(struct said){ .status = 200 });
	client_close(&c);
	n = (size_t)sprintf(request, "GET /u/a/x HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nConnection: close");
	for (unsigned i = 0; i < 40; i++)
		n += (size_t)sprintf(request + n, ", X-%u", i);
	sprintf(request + n, "\r\nX-39: 1\r\nX-B: 2\r\n\r\n");
	c = ask(request);
	assert_null(seen("X-A"));
	assert_null(seen("X-B"));
	assert_null(seen("X-39"));
	assert_string_equal(seen("Host"), "x");
	assert_non_null(seen("X-Request-Id"));
	reply(&c, &(struct said){ .status = 200 });
	client_close(&c);
}

static void bodies_and_idempotence(void **state)
{
	static const struct {
		const char *request;
		bool idempotent;
	} cases[] = {
		{ "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", false },
		{ "POST /p HTTP/1.1\r\nHost: x\r\nIdempotency-Key: \"1\"\r\nContent-Length: 4\r\n\r\nbody",
			true },
		{ "PUT /plain HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
			true },
		{ "POST /v1/invoke/users?a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
			false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = ask(cases[i].request);
		assert_string_equal(last()->data, "body");
		assert_int_equal(last()->request.idempotent, cases[i].idempotent);
		assert_null(seen("Content-Length"));
		assert_null(seen("Transfer-Encoding"));
		reply(&c, &(struct said){ .status = 200 });
		assert_int_equal(response_status(&c), 200);
		client_close(&c);
	}
	assert_string_equal(engine.calls[3].service, "users");
	assert_true(holds(engine.calls[3].http->target, "/v1/invoke/users?a"));
	assert_int_equal(engine.calls[2].request.timeout_ms, GW_DEFAULT_TIMEOUT_MS);
}

/* How long the client waits in all: longer than a run may take, too. */
static void timeouts_are_the_clients(void **state)
{
	static const struct {
		const char *text;
		uint32_t ms;
	} cases[] = { { "1ms", 1 }, { "45s", 45000 }, { "10m", 600000 }, { "1h", 3600000 },
		{ "2d", 3600000 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char request[128];
		struct client c;

		snprintf(request, sizeof request,
			"GET /u/1/x HTTP/1.1\r\nHost: x\r\nPirn-Timeout: %s\r\n\r\n",
			cases[i].text);
		c = ask(request);
		assert_int_equal(last()->request.timeout_ms, cases[i].ms);
		reply(&c, &(struct said){ .status = 200 });
		assert_int_equal(response_status(&c), 200);
		client_close(&c);
	}
}

static void head_is_served_by_get(void **state)
{
	struct client c = ask("HEAD /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
	char length[16];

	(void)state;
	assert_true(holds(last()->http->method, "GET"));
	last()->fn(last()->arg, &(struct client_reply){ .status = 200,
					.payload = { .data = (const uint8_t *)"abc",
						.data_size = 3,
						.meta = (const uint8_t *)"" } });
	until(gw.loop, &c, response_whole(&c, true));
	assert_true(response_header(&c, "Content-Length", length, sizeof length));
	assert_string_equal(length, "3");
	assert_string_equal(response_body(&c), "");
	client_close(&c);
}

static void a_trace_is_made_when_none_is_valid(void **state)
{
	struct client c = ask(
		"GET /u/1/x HTTP/1.1\r\nHost: x\r\ntraceparent: 00-4BF9-01\r\ntracestate: a=b\r\n\r\n");
	uint8_t trace[GW_TRACE_SIZE];
	char id[64];

	(void)state;
	assert_true(gw_trace_parse(gw_slice_of(seen("traceparent")), trace));
	assert_memory_equal(trace, last()->trace, sizeof trace);
	assert_null(seen("tracestate"));
	reply(&c, &(struct said){ .status = 200 });
	assert_true(response_header(&c, "X-Request-Id", id, sizeof id));
	assert_string_equal(seen("X-Request-Id"), id);
	client_close(&c);
}

static void a_trusted_proxy_names_the_client(void **state)
{
	struct client c;
	char why[64];

	(void)state;
	assert_int_equal(gw_nets_parse("127.0.0.0/8", &gw.trusted, why, sizeof why), BASE_OK);
	c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 203.0.113.9, 127.0.0.5\r\n\r\n");
	assert_true(holds(last()->http->remote, "203.0.113.9"));
	assert_string_equal(seen("X-Forwarded-For"), "1.1.1.1");
	reply(&c, &(struct said){ .status = 200 });
	client_close(&c);
}

/* ---- what no service sees ------------------------------------------------------------- */

static void refusals_of_paths_and_methods(void **state)
{
	static const struct {
		const char *request;
		unsigned status;
		const char *allow;
	} cases[] = {
		{ "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL },
		{ "GET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL },
		{ "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL },
		{ "POST /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET, HEAD, OPTIONS" },
		{ "GET /p HTTP/1.1\r\nHost: x\r\n\r\n", 405, "POST, OPTIONS" },
		{ "BREW /p HTTP/1.1\r\nHost: x\r\n\r\n", 405, "POST, OPTIONS" },
		{ "GET /v1/invoke/users HTTP/1.1\r\nHost: x\r\n\r\n", 405, "POST, OPTIONS" },
		{ "POST /v1/invoke/nobody HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL },
		{ "POST /v1/invoke/users/x HTTP/1.1\r\nHost: x\r\n\r\n", 404, NULL },
		{ "POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405, "GET, HEAD, OPTIONS" },
		{ "GET /u/../x HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "GET /u/%zz/x HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "GET /u/a\tb/x HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400, NULL },
		{ "GET /u/1/x HTTP/1.1\r\nHost: x\r\nPirn-Timeout: soon\r\n\r\n", 400, NULL },
		{ "GET /u/1/x HTTP/1.1\r\nHost: x\r\nPirn-Timeout: 0s\r\n\r\n", 400, NULL },
		{ "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 21\r\n\r\n", 413, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = ask(cases[i].request);
		char allow[GW_ALLOW_ROOM];
		expect_problem(&c, cases[i].status);
		assert_int_equal(
			response_header(&c, "Allow", allow, sizeof allow), cases[i].allow != NULL);
		if (cases[i].allow)
			assert_string_equal(allow, cases[i].allow);
		client_close(&c);
	}
	assert_int_equal(engine.n_calls, 0);
}

/* Never a redirect to what might have been meant. */
static void a_space_in_the_target_is_400(void **state)
{
	static const char *const requests[] = {
		"GET /u/a b/x HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /u/1/x?a b HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET //example.org/ x HTTP/1.1\r\nHost: x\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
		struct client c = ask(requests[i]);
		char location[64];
		expect_problem(&c, 400);
		assert_false(response_header(&c, "Location", location, sizeof location));
		client_close(&c);
	}
	assert_int_equal(engine.n_calls, 0);
}

static void options_are_answered_here(void **state)
{
	static const struct {
		const char *request, *allow;
	} cases[] = {
		{ "OPTIONS /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n", "GET, HEAD, OPTIONS" },
		{ "OPTIONS /v1/invoke/users HTTP/1.1\r\nHost: x\r\n\r\n", "POST, OPTIONS" },
		{ "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = ask(cases[i].request);
		char allow[GW_ALLOW_ROOM];
		assert_int_equal(response_status(&c), 204);
		assert_true(response_header(&c, "Allow", allow, sizeof allow));
		assert_string_equal(allow, cases[i].allow);
		client_close(&c);
	}
}

/* ---- the way back --------------------------------------------------------------------- */

static void a_reply_becomes_the_answer(void **state)
{
	struct client c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
	char value[64];
	const char *text;

	(void)state;
	reply(&c, &(struct said){ 418,
			  { { "Set-Cookie", "a=1" }, { "Set-Cookie", "b=2" },
				  { "content-type", "text/x" }, { "Content-Length", "999" },
				  { "Transfer-Encoding", "chunked" }, { "Connection", "close" },
				  { "X-Request-Id", "no" }, { "Date", "never" } },
			  "tea" });
	text = (const char *)c.in.data;
	assert_int_equal(response_status(&c), 418);
	assert_non_null(strstr(text, "Set-Cookie: a=1\r\n"));
	assert_non_null(strstr(text, "Set-Cookie: b=2\r\n"));
	assert_non_null(strstr(text, "content-type: text/x\r\n"));
	assert_true(response_header(&c, "Content-Length", value, sizeof value));
	assert_string_equal(value, "3");
	assert_null(strstr(text, "chunked"));
	assert_null(strstr(text, "close"));
	assert_null(strstr(text, "X-Request-Id: no"));
	assert_null(strstr(text, "never"));
	assert_string_equal(response_body(&c), "tea");
	client_close(&c);
}

static void what_http_cannot_carry_is_502(void **state)
{
	static const struct said cases[] = {
		{ 200, { { "X-A", "b\r\nInjected: 1" } }, "x" },
		{ 200, { { "X A", "b" } }, "x" },
		{ 200, { { "", "b" } }, "x" },
		{ 99, { { NULL } }, "x" },
		{ 600, { { NULL } }, "x" },
		{ 101, { { NULL } }, "x" },
	};
	struct client c;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
		reply(&c, &cases[i]);
		expect_problem(&c, 502);
		assert_null(strstr((char *)c.in.data, "Injected"));
		client_close(&c);
	}
	c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
	last()->fn(last()->arg, &(struct client_reply){ .status = 200,
					.payload = { .meta = (const uint8_t *)"\x0a\x7f",
						.meta_size = 2,
						.data = (const uint8_t *)"" } });
	until(gw.loop, &c, response_whole(&c, false));
	expect_problem(&c, 502);
	client_close(&c);
}

static void a_response_over_the_limit_is_502(void **state)
{
	struct client c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
	char large[1002];

	(void)state;
	memset(large, 'x', 1001);
	large[1001] = '\0';
	reply(&c, &(struct said){ .status = 200, .body = large });
	expect_problem(&c, 502);
	client_close(&c);
}

static void reasons_have_their_statuses(void **state)
{
	static const struct {
		enum _Pirn__Reason reason;
		uint32_t retry_after_ms;
		unsigned status;
		const char *seconds;
	} cases[] = {
		{ PIRN__REASON__UNKNOWN_SERVICE, 0, 404, NULL },
		{ PIRN__REASON__NO_WORKER, 0, 503, "1" },
		{ PIRN__REASON__NO_WORKER, 2001, 503, "3" },
		{ PIRN__REASON__QUEUE_FULL, 500, 429, "1" },
		{ PIRN__REASON__BREAKER_OPEN, 4001, 503, "5" },
		{ PIRN__REASON__BREAKER_OPEN, 5000, 503, "5" },
		{ PIRN__REASON__BREAKER_FORCED, 0, 503, "1" },
		{ PIRN__REASON__OVERLOADED, 0, 503, "1" },
		{ PIRN__REASON__DEADLINE, 0, 504, NULL },
		{ PIRN__REASON__WORKER_LOST, 0, 502, NULL },
		{ PIRN__REASON__CRASHED, 0, 502, NULL },
		{ PIRN__REASON__DRAINING, 1000, 503, "1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
		char value[16];
		reply_reason(&c, cases[i].reason, cases[i].retry_after_ms);
		expect_problem(&c, cases[i].status);
		if (cases[i].seconds)
			expect_retry_after(&c, cases[i].seconds);
		else
			assert_false(response_header(&c, "Retry-After", value, sizeof value));
		client_close(&c);
	}
}

/* What a client can do about it stands in the detail. */
static void a_refusal_says_what_to_do(void **state)
{
	static const struct {
		enum _Pirn__Reason reason;
		const char *says;
	} cases[] = {
		{ PIRN__REASON__BREAKER_OPEN, "circuit breaker is open" },
		{ PIRN__REASON__BREAKER_FORCED, "An operator has opened the service's circuit breaker" },
		{ PIRN__REASON__OVERLOADED, "more work than can be done in time" },
		{ PIRN__REASON__QUEUE_FULL, "As much waits for the service as may" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
		reply_reason(&c, cases[i].reason, 1000);
		assert_non_null(strstr(response_body(&c), cases[i].says));
		assert_non_null(strstr(response_body(&c), "Retry-After"));
		client_close(&c);
	}
}

/* max_calls 8: a service may have 3 times as many as are left to all, so one alone has 6, and the next
 * one still finds room. */
static void a_service_does_not_take_all_the_room(void **state)
{
	static const char users[] = "GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n";
	struct client calls[6], late, other;

	(void)state;
	gw.max_calls = 8;
	for (size_t i = 0; i < 6; i++)
		calls[i] = ask(users);
	assert_int_equal(engine.n_calls, 6);
	late = ask(users);
	expect_problem(&late, 503);
	expect_retry_after(&late, "1");
	client_close(&late);
	late = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
		   "Content-Length: 1000\r\n\r\n"); /* before its body comes */
	expect_problem(&late, 503);
	client_close(&late);
	assert_int_equal(engine.n_calls, 6);
	other = ask("PUT /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(engine.n_calls, 7);
	reply(&other, &(struct said){ .status = 204 });
	engine.n_calls = 6;
	pirn__http_request__free_unpacked(engine.calls[6].http, NULL);
	reply(&calls[5], &(struct said){ .status = 204 }); /* the last one: */
	engine.n_calls = 5;
	pirn__http_request__free_unpacked(engine.calls[5].http, NULL);
	late = ask(users); /* there is room again */
	assert_int_equal(engine.n_calls, 6);
	for (size_t i = 0; i < 5; i++)
		client_close(&calls[i]);
	client_close(&calls[5]);
	client_close(&late);
	client_close(&other);
}

static void the_engines_own_refusals(void **state)
{
	struct client c;

	(void)state;
	engine.next = BASE_FULL;
	c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
	expect_problem(&c, 503);
	expect_retry_after(&c, "1");
	client_close(&c);
	engine.next = BASE_TOO_LARGE;
	c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
	expect_problem(&c, 413);
	client_close(&c);
}

static void the_registry_changes_under_a_request(void **state)
{
	struct client c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n"), d;

	(void)state;
	push_registry(&(const struct offered){ "other", "GET", "/o", false, 1, 0, 1 }, 1);
	d = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
	expect_problem(&d, 404);
	reply(&c, &(struct said){ .status = 200, .body = "still" });
	assert_string_equal(response_body(&c), "still");
	client_close(&c);
	client_close(&d);
}

/* ---- health, services, metrics, log ------------------------------------------------------ */

static void health_and_readiness(void **state)
{
	const struct gw_http *both[2] = { gw.users, gw.admin };
	struct client c;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		engine.n_brokers = 2;
		gw.draining = false;
		c = ask_on(both[i], "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
		assert_int_equal(response_status(&c), 200);
		client_close(&c);
		c = ask_on(both[i], "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
		assert_int_equal(response_status(&c), 200);
		assert_non_null(strstr(response_body(&c), "\"brokers\":2"));
		client_close(&c);
		engine.n_brokers = 0;
		c = ask_on(both[i], "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
		expect_problem(&c, 503);
		assert_non_null(strstr(response_body(&c), "\"brokers\":0"));
		client_close(&c);
		engine.n_brokers = 1;
		gw.draining = true;
		c = ask_on(both[i], "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
		expect_problem(&c, 503);
		assert_non_null(strstr(response_body(&c), "draining"));
		client_close(&c);
	}
	c = ask_on(gw.admin, "GET /u/1/x HTTP/1.1\r\nHost: x\r\n\r\n");
	expect_problem(&c, 404);
	client_close(&c);
	c = ask_on(gw.admin, "POST /v1/invoke/users HTTP/1.1\r\nHost: x\r\n\r\n");
	expect_problem(&c, 404);
	client_close(&c);
}

static Pirn__ServiceState state_of(
	const char *service, ProtobufCBinaryData *workers, size_t n, uint64_t *latency)
{
	Pirn__ServiceState s = PIRN__SERVICE_STATE__INIT;

	s.service = (char *)(uintptr_t)service;
	s.workers = workers;
	s.n_workers = n;
	s.running = 2;
	s.waiting = 1;
	s.done = 10;
	s.failed = 3;
	s.latency = latency;
	s.n_latency = BASE_HIST_BUCKETS;
	return s;
}

static void services_are_united_over_brokers(void **state)
{
	uint8_t boots[3][16] = { { 1 }, { 2 }, { 3 } };
	ProtobufCBinaryData one[2] = { { 16, boots[0] }, { 16, boots[1] } },
			    two[3] = { { 16, boots[1] }, { 16, boots[2] }, { 3, boots[0] } };
	uint64_t latency[BASE_HIST_BUCKETS] = { [20] = 10 };
	Pirn__ServiceState a = state_of("users", one, 2, latency),
			   b = state_of("users", two, 3, latency);
	Pirn__ServiceState ghost = state_of("not-in-the-registry", one, 2, latency);
	Pirn__ServiceState *lists[2][2] = { { &a, &ghost }, { &b, NULL } };
	Pirn__Answer answers[2] = { PIRN__ANSWER__INIT, PIRN__ANSWER__INIT };
	struct client c = ask_on(gw.admin, "GET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n");
	json_t *root, *list, *service = NULL;

	(void)state;
	assert_int_equal(engine.asked_what, PIRN__QUERY_KIND__SERVICES);
	a.breaker = (char *)(uintptr_t) "open";
	b.breaker = (char *)(uintptr_t) "half-open"; /* the worst is shown */
	answers[0].n_services = 2;
	answers[0].services = lists[0];
	answers[1].n_services = 1;
	answers[1].services = lists[1];
	engine.answer_fn(engine.answer_arg, &answers[0]);
	engine.answer_fn(engine.answer_arg, &answers[1]);
	engine.answer_fn(engine.answer_arg, NULL);
	until(gw.loop, &c, response_whole(&c, false));
	assert_int_equal(response_status(&c), 200);
	root = json_loads(response_body(&c), JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	assert_int_equal(json_integer_value(json_object_get(root, "brokers")), 2);
	list = json_object_get(root, "services");
	assert_int_equal(json_array_size(list), 4);
	for (size_t i = 0; i < 4; i++)
		if (strcmp(json_string_value(json_object_get(json_array_get(list, i), "service")),
			    "users") == 0)
			service = json_array_get(list, i);
	assert_non_null(service);
	assert_int_equal(json_integer_value(json_object_get(service, "workers")), 3);
	assert_int_equal(json_integer_value(json_object_get(service, "running")), 4);
	assert_int_equal(json_integer_value(json_object_get(service, "waiting")), 2);
	assert_int_equal(json_integer_value(json_object_get(service, "done")), 20);
	assert_int_equal(json_integer_value(json_object_get(service, "failed")), 6);
	assert_true(json_number_value(json_object_get(service, "p50_ms")) > 0);
	assert_string_equal(json_string_value(json_object_get(service, "breaker")), "open");
	assert_true(json_is_null(json_object_get(json_array_get(list, 0), "breaker")));
	assert_string_equal(json_string_value(json_object_get(service, "version")), "v1");
	assert_int_equal(json_array_size(json_object_get(service, "routes")), 1);
	json_decref(root);
	client_close(&c);
}

static void services_without_a_broker_are_503(void **state)
{
	struct client c = ask_on(gw.admin, "GET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n");

	(void)state;
	engine.answer_fn(engine.answer_arg, NULL);
	until(gw.loop, &c, response_whole(&c, false));
	expect_problem(&c, 503);
	client_close(&c);
}

static void refused_routes_are_shown(void **state)
{
	static const struct offered offers[] = { { "old", "GET", "/same/{a}", false, 1, 0, 1 },
		{ "young", "GET", "/same/{b}", false, 1, 0, 2 } };
	Pirn__Answer answer = PIRN__ANSWER__INIT;
	struct client c;
	json_t *root, *refused;

	(void)state;
	push_registry(offers, 2);
	c = ask_on(gw.admin, "GET /v1/services HTTP/1.1\r\nHost: x\r\n\r\n");
	engine.answer_fn(engine.answer_arg, &answer);
	engine.answer_fn(engine.answer_arg, NULL);
	until(gw.loop, &c, response_whole(&c, false));
	root = json_loads(response_body(&c), 0, NULL);
	refused = json_object_get(
		json_array_get(json_object_get(root, "services"), 1), "refused_routes");
	assert_int_equal(json_array_size(refused), 1);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(refused, 0), "owner")), "old");
	assert_string_equal(json_string_value(json_object_get(json_array_get(refused, 0), "path")),
		"/same/{b}");
	json_decref(root);
	client_close(&c);
}

static void metrics_are_everybodys(void **state)
{
	uint8_t boots[3][16] = { { 1 }, { 2 }, { 3 } };
	Pirn__Metric m = PIRN__METRIC__INIT, *list[1] = { &m };
	Pirn__Instance w[3] = { PIRN__INSTANCE__INIT, PIRN__INSTANCE__INIT, PIRN__INSTANCE__INIT },
		       *first[2] = { &w[0], &w[1] }, *second[2] = { &w[0], &w[2] };
	Pirn__Answer answers[2] = { PIRN__ANSWER__INIT, PIRN__ANSWER__INIT };
	struct client c = ask("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
	const char *text;

	(void)state;
	client_close(&c);
	m.name = (char *)(uintptr_t) "pirn_worker_runs_total";
	m.value = 7;
	for (size_t i = 0; i < 3; i++) {
		w[i].name =
			(char *)(uintptr_t)(i == 2 ? "worker-b" : "worker-a"); /* two of one name */
		w[i].boot = (ProtobufCBinaryData){ 16, boots[i] };
		w[i].n_metrics = 1;
		w[i].metrics = list;
	}
	answers[0].n_instances = answers[1].n_instances = 2;
	answers[0].instances = first;
	answers[1].instances = second;
	c = ask_on(gw.admin, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_int_equal(engine.asked_what, PIRN__QUERY_KIND__METRICS);
	engine.answer_fn(engine.answer_arg, &answers[0]);
	engine.answer_fn(engine.answer_arg, &answers[1]);
	engine.answer_fn(engine.answer_arg, NULL);
	until(gw.loop, &c, response_whole(&c, false));
	text = response_body(&c);
	assert_non_null(strstr(text, "pirn_worker_runs_total{instance=\"worker-a\"} 7\n"));
	assert_non_null(strstr(text, "pirn_worker_runs_total{instance=\"worker-a-0"));
	assert_non_null(strstr(text, "pirn_worker_runs_total{instance=\"worker-b\"} 7\n"));
	assert_null(strstr(strstr(text, "# TYPE pirn_worker_runs_total") + 1,
		"# TYPE pirn_worker_runs_total"));
	assert_non_null(strstr(text,
		"pirn_gateway_requests_total{service=\"\",code=\"404\",method=\"GET\",instance=\"gw-1\"} 1\n"));
	assert_non_null(strstr(text, "pirn_gateway_brokers{instance=\"gw-1\"} 1\n"));
	assert_non_null(strstr(text, "process_cpu_seconds_total{instance=\"gw-1\"}"));
	client_close(&c);
}

static void read_log(int fd, char *out, size_t room, unsigned lines)
{
	size_t n = 0;
	unsigned seen_lines = 0;
	uint64_t end = base_clock_ms() + PATIENCE_MS;

	while (seen_lines < lines && base_clock_ms() < end) {
		ssize_t got = recv(fd, out + n, room - 1 - n, MSG_DONTWAIT);
		for (ssize_t i = 0; i < got; i++)
			seen_lines += out[n + (size_t)i] == '\n';
		n += got > 0 ? (size_t)got : 0;
		turn(gw.loop);
	}
	out[n] = '\0';
	assert_int_equal(seen_lines, lines);
}

static void each_request_has_its_line(void **state)
{
	int fds[2];
	char log[4096];
	struct client c;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(gw_access_new(gw.loop, BASE_LOG_TEXT, fds[1], &gw.access), BASE_OK);
	c = ask("GET /u/1/x HTTP/1.1\r\nHost: x\r\nX-Request-Id: abc\r\n\r\n");
	reply(&c, &(struct said){ .status = 201, .body = "four" });
	client_close(&c);
	c = ask("GET /nowhere?a=\"b HTTP/1.1\r\nHost: x\r\nX-Request-Id: def\r\n\r\n");
	client_close(&c);
	read_log(fds[0], log, sizeof log, 2);
	assert_non_null(
		strstr(log, " info access method=GET target=/u/1/x status=201 bytes=4 ms="));
	assert_non_null(strstr(log, " service=users id=abc remote=127.0.0.1\n"));
	assert_non_null(strstr(log, " target=\"/nowhere?a=\\\"b\" status=404 "));
	assert_non_null(strstr(log, " service=- id=def "));
	gw_access_free(&gw.access);
	close(fds[0]);
	close(fds[1]);
}

static void json_lines_are_json(void **state)
{
	int fds[2];
	char log[8192];
	struct gw_access_line line = { .method = GW_SLICE("G\x01T"),
		.target = GW_SLICE("/\xff\"\\\n\x7f\xe2\x80\xa8"),
		.status = 200,
		.bytes = 12345678901,
		.us = 7,
		.service = NULL,
		.id = "x",
		.remote = "::1" };
	json_t *root;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(gw_access_new(gw.loop, BASE_LOG_JSON, fds[1], &gw.access), BASE_OK);
	gw_access_add(gw.access, &line);
	read_log(fds[0], log, sizeof log, 1);
	root = json_loads(log, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	assert_string_equal(json_string_value(json_object_get(root, "id")), "access");
	assert_string_equal(json_string_value(json_object_get(root, "request_id")), "x");
	assert_int_equal(json_integer_value(json_object_get(root, "bytes")), 12345678901);
	assert_true(json_number_value(json_object_get(root, "ms")) > 0.0069 &&
		    json_number_value(json_object_get(root, "ms")) < 0.0071);
	assert_true(json_is_null(json_object_get(root, "service")));
	json_decref(root);
	gw_access_free(&gw.access);
	close(fds[0]);
	close(fds[1]);
}

static void a_reader_that_stops_costs_lines_and_no_waiting(void **state)
{
	int fds[2];
	char target[900], *log = malloc(4 * 1024 * 1024);
	struct gw_access_line line = { .method = GW_SLICE("GET"),
		.target = { target, sizeof target },
		.id = "x",
		.remote = "y" };
	size_t n = 0, lines = 0;

	(void)state;
	assert_non_null(log);
	memset(target, 'a', sizeof target);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(gw_access_new(gw.loop, BASE_LOG_TEXT, fds[1], &gw.access), BASE_OK);
	for (unsigned i = 0; i < 3000; i++) {
		line.status = i;
		gw_access_add(gw.access, &line);
		if (i % 100 == 0)
			turn(gw.loop); /* would hang here if a write waited */
	}
	assert_true(gw_access_dropped(gw.access) > 0);
	while (lines + gw_access_dropped(gw.access) < 3000) {
		ssize_t got = read(fds[0], log + n, 65536);
		assert_true(got > 0);
		for (ssize_t i = 0; i < got; i++)
			lines += log[n + (size_t)i] == '\n';
		n += (size_t)got;
		turn(gw.loop);
	}
	log[n] = '\0';
	assert_int_equal(lines, 3000 - gw_access_dropped(gw.access));
	for (char *at = log, wanted[32]; lines-- > 0;
		at = strchr(at, '\n') + 1) { /* whole, and in order */
		static unsigned next;
		snprintf(wanted, sizeof wanted, " status=%u ", next++);
		assert_ptr_equal(strstr(at, " status="), strstr(at, wanted));
	}
	gw_access_free(&gw.access);
	close(fds[0]);
	close(fds[1]);
	free(log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_becomes_a_call),
		TEST(headers_that_end_here),
		TEST(bodies_and_idempotence),
		TEST(timeouts_are_the_clients),
		TEST(head_is_served_by_get),
		TEST(a_trace_is_made_when_none_is_valid),
		TEST(a_trusted_proxy_names_the_client),
		TEST(refusals_of_paths_and_methods),
		TEST(a_space_in_the_target_is_400),
		TEST(options_are_answered_here),
		TEST(a_reply_becomes_the_answer),
		TEST(what_http_cannot_carry_is_502),
		TEST(a_response_over_the_limit_is_502),
		TEST(reasons_have_their_statuses),
		TEST(a_refusal_says_what_to_do),
		TEST(a_service_does_not_take_all_the_room),
		TEST(the_engines_own_refusals),
		TEST(the_registry_changes_under_a_request),
		TEST(health_and_readiness),
		TEST(services_are_united_over_brokers),
		TEST(services_without_a_broker_are_503),
		TEST(refused_routes_are_shown),
		TEST(metrics_are_everybodys),
		TEST(each_request_has_its_line),
		TEST(json_lines_are_json),
		TEST(a_reader_that_stops_costs_lines_and_no_waiting),
	};

	return cmocka_run_group_tests_name("http_invoke", tests, NULL, NULL);
}
