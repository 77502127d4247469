/* From a request to a call and back: the gateway's two listeners over real sockets, with
 * an engine that is this file. It keeps what it was asked, and replies when told to.
 */
#include "http_fixture.h"

#include <jansson.h>
#include <microhttpd.h>

#include "gateway/gw.h"

#define MAX_CALLS 16

/* ---- the engine ------------------------------------------------------------------- */

struct asked {
	struct client_request request;
	char service[64];
	uint8_t trace[GW_TRACE_SIZE];
	Pirn__HttpRequest *http;
	char data[256];
	client_reply_fn *fn;
	void *arg;
};

static struct {
	struct asked calls[MAX_CALLS];
	size_t n_calls, n_brokers;
	enum base_err next; /* what the next call is refused with */
	const Pirn__Answer *answers[4];
	size_t n_answers;
	client_answer_fn *answer_fn;
	void *answer_arg;
	uint32_t asked_what;
} engine;

enum base_err client_engine_call(struct client_engine *e, const struct client_request *request,
	client_reply_fn *fn, void *arg, uint64_t *handle)
{
	struct asked *a = &engine.calls[engine.n_calls];
	const struct net_payload *p = &request->payload;

	(void)e;
	(void)handle;
	if (engine.next)
		return engine.next;
	assert_true(engine.n_calls < MAX_CALLS);
	engine.n_calls++;
	a->request = *request;
	snprintf(a->service, sizeof a->service, "%s", request->service);
	memcpy(a->trace, request->trace, sizeof a->trace);
	a->http = pirn__http_request__unpack(NULL, p->meta_size, p->meta);
	assert_non_null(a->http);
	assert_true(p->data_size < sizeof a->data);
	memcpy(a->data, p->data, p->data_size);
	a->data[p->data_size] = '\0';
	a->fn = fn;
	a->arg = arg;
	return BASE_OK;
}

enum base_err client_engine_query(struct client_engine *e, const Pirn__Query *query,
	uint32_t timeout_ms, client_answer_fn *fn, void *arg)
{
	(void)e;
	(void)timeout_ms;
	engine.asked_what = query->what;
	engine.answer_fn = fn;
	engine.answer_arg = arg;
	return BASE_OK;
}

size_t client_engine_open(const struct client_engine *e)
{
	(void)e;
	return engine.n_calls;
}

size_t client_engine_brokers(const struct client_engine *e)
{
	(void)e;
	return engine.n_brokers;
}

const char *client_reason_text(enum _Pirn__Reason reason)
{
	return reason == PIRN__REASON__NO_WORKER ? "no worker is there" : "it went wrong";
}

unsigned client_reason_status(enum _Pirn__Reason reason)
{
	switch (reason) {
	case PIRN__REASON__UNKNOWN_SERVICE:
		return 404;
	case PIRN__REASON__QUEUE_FULL:
		return 429;
	case PIRN__REASON__DEADLINE:
		return 504;
	case PIRN__REASON__WORKER_LOST:
	case PIRN__REASON__CRASHED:
		return 502;
	default:
		return 503;
	}
}

/* ---- the gateway ------------------------------------------------------------------ */

static struct gw gw;

static struct gw_http *listener(bool admin)
{
	struct gw_http_conf conf = { .address = "127.0.0.1:0",
		.listen_fd = -1,
		.max_head = 32768,
		.max_body = 65536,
		.max_connections = 64,
		.head_ms = 60000,
		.body_ms = 60000,
		.idle_ms = 60000,
		.user_bytes = sizeof(struct gw_errand),
		.rand = &gw.rand,
		.ulids = &gw.ulids };
	struct gw_http_events events = admin ? gw_admin_events(&gw) : gw_users_events(&gw);
	struct gw_http *h;
	char *why;

	assert_int_equal(gw_http_new(gw.loop, &conf, &events, &h, &why), BASE_OK);
	return h;
}

struct offered {
	const char *service, *method, *path;
	bool async;
	uint32_t timeout_ms, max_body;
	uint64_t first_ms;
};

static void push_registry(const struct offered *offers, size_t n)
{
	Pirn__Registry registry = PIRN__REGISTRY__INIT;
	Pirn__Entry entries[8], *entry_list[8];
	Pirn__Manifest manifests[8];
	Pirn__Route routes[8], *route_list[8];

	for (size_t i = 0; i < n; i++) {
		pirn__entry__init(&entries[i]);
		pirn__manifest__init(&manifests[i]);
		pirn__route__init(&routes[i]);
		manifests[i].service = (char *)(uintptr_t)offers[i].service;
		manifests[i].timeout_ms = offers[i].timeout_ms;
		manifests[i].max_body_bytes = offers[i].max_body;
		manifests[i].version = (char *)(uintptr_t) "v1";
		routes[i].method = (char *)(uintptr_t)offers[i].method;
		routes[i].path = (char *)(uintptr_t)offers[i].path;
		routes[i].async = offers[i].async;
		route_list[i] = &routes[i];
		manifests[i].n_routes = 1;
		manifests[i].routes = &route_list[i];
		entries[i].manifest = &manifests[i];
		entries[i].first_ms = offers[i].first_ms;
		entry_list[i] = &entries[i];
	}
	registry.n_entries = n;
	registry.entries = entry_list;
	gw_serve_registry(&gw, &registry);
}

static const struct offered usual[] = {
	{ "users", "GET", "/u/{id}/{rest*}", false, 5000, 0, 1 },
	{ "posts", "POST", "/p", false, 5000, 20, 2 },
	{ "later", "POST", "/later", true, 5000, 0, 3 },
	{ "plain", "PUT", "/plain", false, 0, 0, 4 },
};

static int setup(void **state)
{
	Pirn__Registry none = PIRN__REGISTRY__INIT;
	char why[64];

	(void)state;
	memset(&gw, 0, sizeof gw);
	memset(&engine, 0, sizeof engine);
	engine.n_brokers = 1;
	base_log_init(BASE_ERROR + 1, BASE_LOG_TEXT, 2);
	base_rand_init(&gw.rand, 5);
	base_arena_init(&gw.arena, 4096, 1 << 20);
	gw_metrics_init(&gw.metrics);
	gw.name = "gw-1";
	gw.max_response = 1000;
	assert_int_equal(gw_routes_new(&none, &gw.routes), BASE_OK);
	assert_int_equal(gw_nets_parse(NULL, &gw.trusted, why, sizeof why), BASE_OK);
	assert_int_equal(net_loop_new(&gw.loop), BASE_OK);
	gw.users = listener(false);
	gw.admin = listener(true);
	push_registry(usual, sizeof usual / sizeof *usual);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	gw_http_free(&gw.users);
	gw_http_free(&gw.admin);
	gw_access_free(&gw.access);
	net_loop_free(&gw.loop);
	gw_routes_free(&gw.routes);
	gw_metrics_fini(&gw.metrics);
	gw_nets_fini(&gw.trusted);
	base_arena_fini(&gw.arena);
	for (size_t i = 0; i < engine.n_calls; i++)
		pirn__http_request__free_unpacked(engine.calls[i].http, NULL);
	return 0;
}

/* Sends a request and waits until it is answered, or until the engine has its call or question. */
static struct client ask_on(const struct gw_http *h, const char *request)
{
	struct client c = client_open(gw_http_address(h));
	size_t calls = engine.n_calls;
	bool bodiless = strncmp(request, "HEAD", 4) == 0;

	engine.answer_fn = NULL;
	client_say(gw.loop, &c, request);
	until(gw.loop, &c,
		response_whole(&c, bodiless) || engine.n_calls > calls || engine.answer_fn);
	return c;
}

static struct client ask(const char *request)
{
	return ask_on(gw.users, request);
}

static struct asked *last(void)
{
	assert_true(engine.n_calls > 0);
	return &engine.calls[engine.n_calls - 1];
}

struct said {
	unsigned status;
	const char *headers[8][2];
	const char *body;
};

static void reply(struct client *c, const struct said *s)
{
	Pirn__HttpResponse response = PIRN__HTTP_RESPONSE__INIT;
	Pirn__Header headers[8], *list[8];
	uint8_t meta[1024];
	struct client_reply r = { .status = s->status };

	for (size_t i = 0; i < 8 && s->headers[i][0]; i++) {
		pirn__header__init(&headers[i]);
		headers[i].name = (ProtobufCBinaryData){ strlen(s->headers[i][0]),
			(uint8_t *)(uintptr_t)s->headers[i][0] };
		headers[i].value = (ProtobufCBinaryData){ strlen(s->headers[i][1]),
			(uint8_t *)(uintptr_t)s->headers[i][1] };
		list[i] = &headers[i];
		response.n_headers = i + 1;
	}
	response.headers = list;
	r.payload.meta = meta;
	r.payload.meta_size = (uint32_t)pirn__http_response__pack(&response, meta);
	r.payload.data = (const uint8_t *)(s->body ? s->body : "");
	r.payload.data_size = s->body ? (uint32_t)strlen(s->body) : 0;
	last()->fn(last()->arg, &r);
	until(gw.loop, c, response_whole(c, false));
}

static void reply_reason(struct client *c, enum _Pirn__Reason reason, uint32_t retry_after_ms)
{
	struct client_reply r = { .reason = reason,
		.status = client_reason_status(reason),
		.retry_after_ms = retry_after_ms };

	last()->fn(last()->arg, &r);
	until(gw.loop, c, response_whole(c, false));
}

static bool holds(ProtobufCBinaryData data, const char *text)
{
	return data.len == strlen(text) && memcmp(data.data, text, data.len) == 0;
}

/* The value of a header that the service sees; NULL: it does not see it. */
static const char *seen(const char *name)
{
	static char value[512];
	const Pirn__HttpRequest *r = last()->http;

	for (size_t i = 0; i < r->n_headers; i++)
		if (holds(r->headers[i]->name, name)) {
			snprintf(value, sizeof value, "%.*s", (int)r->headers[i]->value.len,
				(char *)r->headers[i]->value.data);
			return value;
		}
	return NULL;
}

static void expect_retry_after(const struct client *c, const char *seconds)
{
	char value[16];

	assert_true(response_header(c, "Retry-After", value, sizeof value));
	assert_string_equal(value, seconds);
}

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
		{ "POST /later HTTP/1.1\r\nHost: x\r\n\r\n", 501, NULL },
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

/* 400 from either, never its redirect; libmicrohttpd 1.0 says so itself, in HTML, before anybody here
 * sees the request. */
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
		if (MHD_VERSION < 0x01000000)
			expect_problem(&c, 400);
		assert_int_equal(response_status(&c), 400);
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
	assert_true(json_is_null(json_object_get(service, "breaker")));
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_request_becomes_a_call),
		TEST(bodies_and_idempotence),
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
