/* The HTTP layer, over real sockets, against a responder in this process: each kind of
 * bad input, deadlines, limits, draining. The path says what the responder does.
 */
#include "http_fixture.h"

#include "gateway/http.h"

#define MAX_LATER   16
#define MAX_HEAD    (32u * 1024)
#define MAX_BODY    (64u * 1024)
#define LARGE_BYTES (32u * 1024 * 1024) /* more than any socket's buffers take */

struct fixture {
	struct net_loop *loop;
	struct gw_http *http;
	struct base_rand rand;
	struct base_ulid_maker ulids;
	struct gw_request *later[MAX_LATER]; /* /later: not answered yet */
	size_t n_later;
	unsigned heads, requests, done;
	unsigned last_status; /* of on_done */
	uint64_t last_bytes;
};

static void answer_text(struct gw_request *r, const char *text, size_t size)
{
	struct gw_answer a = {
		.status = 200, .content_type = "text/plain", .body = text, .size = size
	};

	assert_int_equal(gw_http_answer(r, &a), BASE_OK);
}

static bool is_path(const struct gw_request *r, const char *path)
{
	return gw_slice_equal(r->target, gw_slice_of(path));
}

static bool is_later(const struct gw_request *r)
{
	return r->target.size >= 6 && memcmp(r->target.data, "/later", 6) == 0;
}

static void on_head(void *arg, struct gw_request *r)
{
	struct fixture *f = arg;

	f->heads++;
	if (is_path(r, "/refused"))
		gw_http_refuse(r, 404, "Nothing is at this path.");
	if (is_path(r, "/small"))
		r->max_body = 10;
}

static void answer_odd(struct gw_request *r)
{
	struct gw_field cookies[] = { { "Set-Cookie", "a=1" }, { "Set-Cookie", "b=2" },
		{ "X-Empty", "" } };
	struct gw_answer bad = { .status = 200,
		.fields = &(struct gw_field){ "X-Bad", "a\r\nX-Injected: 1" },
		.n_fields = 1 };
	struct gw_answer good = { .status = 201, .fields = cookies, .n_fields = 3 };

	assert_int_equal(gw_http_answer(r, &bad), BASE_INVALID);
	assert_false(gw_http_is_answered(r));
	assert_int_equal(gw_http_answer(r, &good), BASE_OK);
}

static void on_request(void *arg, struct gw_request *r)
{
	struct fixture *f = arg;

	f->requests++;
	if (is_later(r)) {
		assert_true(f->n_later < MAX_LATER);
		f->later[f->n_later++] = r;
	} else if (is_path(r, "/echo") || is_path(r, "/small")) {
		answer_text(r, (const char *)r->payload.data + r->body_at,
			r->payload.size - r->body_at);
	} else if (is_path(r, "/odd")) {
		answer_odd(r);
	} else if (is_path(r, "/id")) {
		answer_text(r, r->id_text, strlen(r->id_text));
	} else if (is_path(r, "/empty")) {
		assert_int_equal(
			gw_http_answer(
				r, &(struct gw_answer){ .status = 204, .body = "x", .size = 1 }),
			BASE_OK);
	} else if (is_path(r, "/large")) {
		size_t size = LARGE_BYTES;
		char *bytes = calloc(1, size);
		assert_non_null(bytes);
		answer_text(r, bytes, size);
		free(bytes);
	} else {
		answer_text(r, (const char *)r->target.data, r->target.size);
	}
}

static void on_done(void *arg, const struct gw_request *r)
{
	struct fixture *f = arg;

	f->done++;
	f->last_status = r->status;
	f->last_bytes = r->bytes;
}

static struct gw_http_conf plain_conf(struct fixture *f)
{
	return (struct gw_http_conf){ .address = "127.0.0.1:0",
		.listen_fd = -1,
		.max_head = MAX_HEAD,
		.max_body = MAX_BODY,
		.max_connections = 64,
		.head_ms = 60000,
		.body_ms = 60000,
		.idle_ms = 60000,
		.user_bytes = 64,
		.rand = &f->rand,
		.ulids = &f->ulids };
}

static void open_server(struct fixture *f, const struct gw_http_conf *conf)
{
	struct gw_http_events events = { on_head, on_request, on_done, f };
	char *why;

	if (gw_http_new(f->loop, conf, &events, &f->http, &why) != BASE_OK)
		fail_msg("%s", why);
}

static int setup_loop(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_non_null(f);
	base_rand_init(&f->rand, 1);
	assert_int_equal(net_loop_new(&f->loop), BASE_OK);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	struct gw_http_conf conf;

	setup_loop(state);
	conf = plain_conf(*state);
	open_server(*state, &conf);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gw_http_free(&f->http);
	net_loop_free(&f->loop);
	free(f);
	return 0;
}

static struct client ask(struct fixture *f, const char *request)
{
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c, request);
	until(f->loop, &c, c.closed || response_whole(&c, strncmp(request, "HEAD", 4) == 0));
	return c;
}

/* ---- good requests ------------------------------------------------------------- */

static void serves_keep_alive_and_pipelines(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	char id[64];

	assert_int_equal(response_status(&c), 200);
	assert_memory_equal(c.in.data, "HTTP/1.1 200 OK\r\n", 17);
	assert_string_equal(response_body(&c), "/a");
	assert_true(response_header(&c, "X-Request-Id", id, sizeof id));
	assert_int_equal(strlen(id), BASE_ULID_TEXT);
	response_forget(&c);
	client_say(f->loop, &c,
		"GET /b HTTP/1.1\r\nHost: x\r\n\r\nGET /c?d=%2F HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, strstr((char *)c.in.data, "/c?d=%2F"));
	assert_non_null(strstr((char *)c.in.data, "/b"));
	until(f->loop, &c, f->done == 3);
	assert_int_equal(gw_http_requests(f->http), 0);
	assert_int_equal(gw_http_connections(f->http), 1);
	client_close(&c);
}

static void answers_later(void **state)
{
	struct fixture *f = *state;
	struct client a = client_open(gw_http_address(f->http)),
		      b = client_open(gw_http_address(f->http));

	client_say(f->loop, &a, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	client_say(f->loop, &b, "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
	until(f->loop, &a, f->n_later == 2);
	answer_text(f->later[1], "second", 6);
	until(f->loop, &b, response_whole(&b, false));
	assert_string_equal(response_body(&b), "second");
	assert_int_equal(a.in.size, 0);
	answer_text(f->later[0], "first", 5);
	until(f->loop, &a, response_whole(&a, false));
	assert_string_equal(response_body(&a), "first");
	client_close(&a);
	client_close(&b);
}

/* One that is idle is no reason to stay awake, from its answer on. */
static void the_loop_sleeps_beside_an_idle_connection(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	unsigned asleep = 0;

	for (unsigned i = 0; i < 20; i++) {
		turn(f->loop);
		asleep += uv_backend_timeout(net_loop_uv(f->loop)) != 0;
	}
	assert_int_equal(gw_http_connections(f->http), 1);
	assert_true(asleep > 0);
	client_close(&c);
}

static void reads_bodies_of_both_kinds(void **state)
{
	struct fixture *f = *state;
	struct client c =
		ask(f, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello");

	assert_string_equal(response_body(&c), "hello");
	response_forget(&c);
	client_say(f->loop, &c,
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
	until(f->loop, &c, response_whole(&c, false));
	assert_string_equal(response_body(&c), "abcde");
	client_close(&c);
}

static void says_continue(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c,
		"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
	until(f->loop, &c, strstr((char *)c.in.data, "100 Continue\r\n\r\n"));
	response_forget(&c);
	client_say(f->loop, &c, "ok");
	until(f->loop, &c, response_whole(&c, false));
	assert_string_equal(response_body(&c), "ok");
	client_close(&c);
}

static void head_and_204_have_no_body(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "HEAD /abc HTTP/1.1\r\nHost: x\r\n\r\n");
	char length[16];

	assert_int_equal(response_status(&c), 200);
	assert_true(response_header(&c, "Content-Length", length, sizeof length));
	assert_string_equal(length, "4");
	assert_string_equal(response_body(&c), "");
	response_forget(&c);
	client_say(f->loop, &c, "GET /empty HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, response_whole(&c, true));
	assert_int_equal(response_status(&c), 204);
	assert_string_equal(response_body(&c), "");
	until(f->loop, &c, f->done == 2);
	assert_int_equal(f->last_bytes, 0);
	client_close(&c);
}

static void fields_are_repeated_or_refused(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "GET /odd HTTP/1.1\r\nHost: x\r\n\r\n");

	assert_int_equal(response_status(&c), 201);
	assert_non_null(strstr((char *)c.in.data, "Set-Cookie: a=1\r\n"));
	assert_non_null(strstr((char *)c.in.data, "Set-Cookie: b=2\r\n"));
	assert_null(strstr((char *)c.in.data, "X-Injected"));
	assert_null(strstr((char *)c.in.data, "X-Empty"));
	client_close(&c);
}

static void request_ids_are_checked(void **state)
{
	static const struct {
		const char *given;
		bool kept;
	} cases[] = { { "abc-123", true }, { "a/b:c=d@e", true }, { "two words", false },
		{ "quote\"", false } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char request[256], id[200];
		struct client c;
		snprintf(request, sizeof request,
			"GET /id HTTP/1.1\r\nHost: x\r\nX-Request-Id: %s\r\n\r\n", cases[i].given);
		c = ask(*state, request);
		assert_true(response_header(&c, "X-Request-Id", id, sizeof id));
		assert_int_equal(strcmp(id, cases[i].given) == 0, cases[i].kept);
		assert_string_equal(response_body(&c), id);
		client_close(&c);
	}
}

static void http_1_0_closes(void **state)
{
	struct client c = ask(*state, "GET /a HTTP/1.0\r\n\r\n");
	struct fixture *f = *state;

	assert_int_equal(response_status(&c) ? 200 : 0, 200);
	until(f->loop, &c, c.closed);
	client_close(&c);
}

/* ---- heads that are refused ------------------------------------------------------ */

/* As expect_problem, and what every answer has besides. */
static void expect_refusal(struct client *c, unsigned wanted)
{
	char id[64];

	expect_problem(c, wanted);
	assert_true(response_header(c, "X-Request-Id", id, sizeof id));
	assert_int_equal(strlen(id), BASE_ULID_TEXT);
	assert_non_null(strstr(response_body(c), id));
	assert_non_null(strstr((const char *)c->in.data, "\r\nConnection: close\r\n"));
}

static void refuses_bad_heads(void **state)
{
	static const struct {
		const char *request;
		unsigned wanted;
	} cases[] = {
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
			400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
			400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
			400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			400 },
		{ "POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
			501 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
			501 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc", 400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", 400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400 },
		{ "GET /a HTTP/1.1\r\n\r\n", 400 },
		{ "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400 },
		{ "GET /a HTTP/1.1\r\nHost: x\r\nX-A: b\x01z\r\n\r\n", 400 },
		{ "GET /a HTTP/1.1\r\nHost: x\r\nX(A): b\r\n\r\n", 400 },
		{ "GET /a HTTP/1.1\r\nHost: x\r\nX-A\r\n\r\n", 400 },
		{ "GET /a HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n\r\n", 400 },
		{ "GET /a HTTP/1.1\r\nHost: x\r\nX-A: b\r\n\tc\r\n d\r\nX-B: e\r\n\r\n", 400 },
		{ "GET /a HTTP/1.1\r\nHost: x\r\nX-A:\r\n \r\n\r\n", 400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
			400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nContent-: 3\r\n Length\r\n\r\nabc", 400 },
		{ "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: miracles\r\n\r\nab",
			417 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = ask(f, cases[i].request);
		expect_refusal(&c, cases[i].wanted);
		until(f->loop, &c, c.closed);
		client_close(&c);
	}
	assert_int_equal(f->heads, 0);
	assert_int_equal(f->requests, 0);
}

static void refuses_large_heads(void **state)
{
	static const size_t sizes[] = { MAX_HEAD + 100, 48 * 1024, 200 * 1024 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct client c = client_open(gw_http_address(f->http));
		char *head = malloc(sizes[i] + 100);
		size_t n = (size_t)sprintf(head, "GET /a HTTP/1.1\r\nHost: x\r\nX-Large: ");
		memset(head + n, 'a', sizes[i]);
		memcpy(head + n + sizes[i], "\r\n\r\n", 4);
		client_send(f->loop, &c, head, n + sizes[i] + 4);
		until(f->loop, &c, c.closed || response_whole(&c, false));
		expect_refusal(&c, 431);
		client_close(&c);
		free(head);
	}
	assert_int_equal(f->heads, 0);
}

/* on_done comes for each all the same. */
static void refuses_bad_request_lines(void **state)
{
	static const struct {
		const char *request;
		unsigned wanted;
	} cases[] = {
		{ "GET /a\r\n\r\n", 400 },
		{ "GET /a FTP/1.1\r\nHost: x\r\n\r\n", 400 },
		{ "GET /a HTTP/2.0\r\nHost: x\r\n\r\n", 505 },
		{ "\x16\x03\x01\x02 \x01\xfc tls\r\n\r\n", 400 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = ask(f, cases[i].request);
		expect_refusal(&c, cases[i].wanted);
		until(f->loop, &c, c.closed && f->done == i + 1);
		assert_int_equal(f->last_status, cases[i].wanted);
		assert_int_equal(f->last_bytes, strlen(response_body(&c)));
		client_close(&c);
	}
	assert_int_equal(f->heads, 0);
	assert_int_equal(gw_http_requests(f->http), 0);
}

static void refuses_a_long_request_line(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));
	char part[1024];

	memset(part, 'a', sizeof part);
	client_say(f->loop, &c, "GET /");
	while (!c.closed && c.in.size == 0)
		(void)client_send(f->loop, &c, part, sizeof part);
	until(f->loop, &c, c.closed && f->done == 1);
	expect_refusal(&c, 414);
	assert_int_equal(f->last_status, 414);
	client_close(&c);
}

static void refuses_what_follows_a_good_request(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");

	assert_int_equal(response_status(&c), 200);
	response_forget(&c);
	client_say(f->loop, &c, "GET /a HTTP/7.0\r\nHost: x\r\n\r\n");
	until(f->loop, &c, c.closed && f->done == 2);
	expect_refusal(&c, 505);
	client_close(&c);
}

static void a_head_just_within_the_limit_is_served(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));
	char head[MAX_HEAD + 1];
	size_t n = (size_t)sprintf(head, "GET /a HTTP/1.1\r\nHost: x\r\nX-Large: ");

	memset(head + n, 'a', MAX_HEAD - n - 4);
	memcpy(head + MAX_HEAD - 4, "\r\n\r\n", 4);
	client_send(f->loop, &c, head, MAX_HEAD);
	until(f->loop, &c, response_whole(&c, false));
	assert_int_equal(response_status(&c), 200);
	client_close(&c);
}

/* Its notes of the headers, a body and the answer find room beside such a head. */
static void a_large_head_of_many_headers_is_served(void **state)
{
	enum { HEADERS = 128, EACH = MAX_HEAD / HEADERS - 2 };
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));
	char head[MAX_HEAD + 100];
	size_t n = (size_t)sprintf(head, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n");

	for (int i = 0; i < HEADERS - 1; i++)
		n += (size_t)sprintf(head + n, "X-Header-%d: %0*d\r\n", 100 + i, EACH - 16, i);
	n += (size_t)sprintf(head + n, "\r\n");
	assert_in_range(n, MAX_HEAD - 1024, MAX_HEAD);
	client_send(f->loop, &c, head, n);
	client_say(f->loop, &c, "body");
	until(f->loop, &c, response_whole(&c, false));
	assert_int_equal(response_status(&c), 200);
	client_close(&c);
}

static void a_refused_head_keeps_the_connection_when_it_can(void **state)
{
	struct fixture *f = *state;
	struct client c = ask(f, "GET /refused HTTP/1.1\r\nHost: x\r\n\r\n");

	expect_problem(&c, 404);
	response_forget(&c);
	client_say(
		f->loop, &c, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
	until(f->loop, &c, response_whole(&c, false));
	expect_problem(&c, 404);
	response_forget(&c);
	client_say(f->loop, &c, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, response_whole(&c, false));
	assert_int_equal(response_status(&c), 200);
	response_forget(&c);
	client_say(f->loop, &c,
		"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n");
	until(f->loop, &c, c.closed);
	expect_problem(&c, 404);
	client_close(&c);
	assert_int_equal(f->requests, 1);
}

/* ---- bodies that are refused ------------------------------------------------------ */

static void refuses_a_large_body_before_it_is_read(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n");
	until(f->loop, &c, c.closed);
	expect_problem(&c, 413);
	client_close(&c);
	c = client_open(gw_http_address(f->http));
	client_say(f->loop, &c,
		"POST /small HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n");
	until(f->loop, &c, c.closed);
	expect_problem(&c, 413);
	client_close(&c);
	assert_int_equal(f->requests, 0);
}

static bool send_chunks(struct fixture *f, struct client *c, size_t bytes)
{
	static char chunk[4096 + 8];
	int head = sprintf(chunk, "1000\r\n");

	memset(chunk + head, 'x', 4096);
	memcpy(chunk + head + 4096, "\r\n", 2);
	for (size_t sent = 0; sent < bytes; sent += 4096)
		if (!client_send(f->loop, c, chunk, (size_t)head + 4096 + 2))
			return false;
	return true;
}

static void drains_a_large_chunked_body(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c,
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	assert_true(send_chunks(f, &c, MAX_BODY + 8192));
	client_say(f->loop, &c, "0\r\n\r\n");
	until(f->loop, &c, c.closed);
	expect_problem(&c, 413);
	client_close(&c);
	assert_int_equal(f->requests, 0);
}

static void cuts_an_endless_chunked_body(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c,
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
	(void)send_chunks(f, &c, 64 * 1024 * 1024);
	until(f->loop, &c, c.closed);
	until(f->loop, &c, f->done == 1);
	assert_int_equal(f->last_status, 413);
	client_close(&c);
	assert_int_equal(f->requests, 0);
}

static void refuses_a_broken_chunk(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c,
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n");
	until(f->loop, &c, c.closed && f->done == 1);
	expect_refusal(&c, 400);
	assert_int_equal(f->last_status, 400);
	assert_int_equal(f->requests, 0);
	client_close(&c);
}

/* ---- one after the other ------------------------------------------------------------ */

/* The request that waits is answered, and its answer is there. */
static void answer_waiting(struct fixture *f, struct client *c, const char *text)
{
	until(f->loop, c, f->n_later == 1);
	answer_text(f->later[0], text, strlen(text));
	f->n_later = 0;
	until(f->loop, c, response_whole(c, false));
	assert_string_equal(response_body(c), text);
	response_forget(c);
}

#define LATER "GET /later HTTP/1.1\r\nHost: x\r\n\r\n"

/* What comes in pieces, and what comes while nobody reads. */
static void nothing_that_came_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c, LATER);
	answer_waiting(f, &c, "one");
	client_say(f->loop, &c, LATER LATER);
	answer_waiting(f, &c, "two");
	answer_waiting(f, &c, "three");
	client_say(f->loop, &c, LATER);
	until(f->loop, &c, f->n_later == 1);
	client_say(f->loop, &c, LATER); /* while the one before waits */
	answer_waiting(f, &c, "four");
	answer_waiting(f, &c, "five");
	client_say(f->loop, &c, "POST /later HTTP/1.1\r\nHost: x\r\nConte");
	client_say(f->loop, &c, "nt-Length: 6\r\n\r\n");
	client_say(f->loop, &c, "abc");
	client_say(f->loop, &c, "def");
	answer_waiting(f, &c, "six");
	client_say(f->loop, &c, LATER);
	until(f->loop, &c, f->n_later == 1);
	assert_int_equal(shutdown(c.fd, SHUT_WR), 0); /* its end is what comes */
	turn(f->loop);
	answer_waiting(f, &c, "seven");
	until(f->loop, &c, c.closed);
	assert_int_equal(f->done, 7);
	client_close(&c);
}

/* What was left in the socket is no edge any more. */
static void a_row_of_requests_is_read_to_its_end(void **state)
{
	static char all[40 * 1100];
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));
	unsigned n = 0;
	size_t size = 0;

	client_say(f->loop, &c, LATER);
	answer_waiting(f, &c, "first");
	for (; n < 40; n++)
		size += (size_t)snprintf(all + size, sizeof all - size,
			"GET /later?n=%01000u HTTP/1.1\r\nHost: x\r\n\r\n", n);
	client_say(f->loop, &c, all);
	for (unsigned i = 0; i < n; i++)
		answer_waiting(f, &c, "again");
	until(f->loop, &c, f->done == n + 1);
	assert_int_equal(gw_http_connections(f->http), 1);
	client_close(&c);
}

static void open_hasty(struct fixture *f, uint32_t head_ms, uint32_t body_ms, uint32_t idle_ms)
{
	struct gw_http_conf conf = plain_conf(f);

	conf.head_ms = head_ms;
	conf.body_ms = body_ms;
	conf.idle_ms = idle_ms;
	open_server(f, &conf);
}

/* ---- deadlines -------------------------------------------------------------------- */

/* One byte at a time, never still for as long as the limit: it is cut all the same. */
static void drip(struct fixture *f, struct client *c, const char *text)
{
	while (!c->closed) {
		uint64_t next = base_clock_ms() + 10;
		if (!client_send(f->loop, c, text, 1))
			break;
		while (!c->closed && base_clock_ms() < next) {
			turn(f->loop);
			client_read(c);
		}
	}
	until(f->loop, c, c->closed);
}

static void cuts_a_slow_head(void **state)
{
	struct fixture *f = *state;
	struct client c;

	open_hasty(f, 100, 60000, 60000);
	c = client_open(gw_http_address(f->http));
	client_say(f->loop, &c, "GET /a HTTP/1.1\r\nHost: x\r\nX-Slow: ");
	drip(f, &c, "a");
	expect_problem(&c, 408);
	until(f->loop, &c, f->done == 1);
	assert_int_equal(f->last_status, 408);
	assert_int_equal(gw_http_cut(f->http), 1);
	until(f->loop, &c, gw_http_connections(f->http) == 0);
	client_close(&c);
}

static void cuts_half_a_request_line_and_silence(void **state)
{
	struct fixture *f = *state;
	struct client a, b;

	open_hasty(f, 100, 60000, 60000);
	a = client_open(gw_http_address(f->http));
	b = client_open(gw_http_address(f->http));
	client_say(f->loop, &a, "GET /a");
	until(f->loop, &a, a.closed);
	until(f->loop, &b, b.closed);
	expect_problem(&a, 408);
	assert_non_null(strstr((const char *)a.in.data, "\r\nX-Request-Id: "));
	assert_int_equal(b.in.size, 0); /* it never asked */
	until(f->loop, &a, gw_http_connections(f->http) == 0);
	assert_int_equal(f->done, 1);
	assert_int_equal(f->last_status, 408);
	client_close(&a);
	client_close(&b);
}

static void cuts_a_slow_body(void **state)
{
	struct fixture *f = *state;
	struct client c;

	open_hasty(f, 60000, 100, 60000);
	c = client_open(gw_http_address(f->http));
	client_say(f->loop, &c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n");
	drip(f, &c, "a");
	expect_problem(&c, 408);
	until(f->loop, &c, f->done == 1);
	assert_int_equal(f->last_status, 408);
	assert_int_equal(f->requests, 0);
	client_close(&c);
}

static void closes_an_idle_connection_without_a_word(void **state)
{
	struct fixture *f = *state;
	struct client c;

	open_hasty(f, 60000, 60000, 100);
	c = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	response_forget(&c);
	until(f->loop, &c, c.closed);
	assert_int_equal(c.in.size, 0);
	until(f->loop, &c, gw_http_connections(f->http) == 0);
	client_close(&c);
}

static void cuts_a_reader_that_does_not_read(void **state)
{
	struct fixture *f = *state;
	struct gw_http_conf conf = plain_conf(f);
	struct client c;

	conf.idle_ms = 100;
	conf.slowest_bytes_per_s = 1000 * 1000 * 1000;
	open_server(f, &conf);
	c = client_open(gw_http_address(f->http));
	assert_int_equal(send(c.fd, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n", 32, 0), 32);
	until(f->loop, (struct client *)NULL, gw_http_cut(f->http) == 1);
	until(f->loop, (struct client *)NULL, gw_http_connections(f->http) == 0);
	assert_int_equal(f->done, 1);
	until(f->loop, &c, c.closed);
	assert_true(c.in.size < LARGE_BYTES);
	client_close(&c);
}

static void a_waiting_request_has_no_deadline_here(void **state)
{
	struct fixture *f = *state;
	struct client c, other;

	open_hasty(f, 50, 50, 50);
	c = client_open(gw_http_address(f->http));
	client_say(f->loop, &c, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, f->n_later == 1);
	other = client_open(
		gw_http_address(f->http)); /* its time passes, and so the first one's would have */
	until(f->loop, &other, other.closed);
	answer_text(f->later[0], "yes", 3);
	until(f->loop, &c, response_whole(&c, false));
	assert_string_equal(response_body(&c), "yes");
	client_close(&c);
	client_close(&other);
}

/* ---- limits, losses, ends ---------------------------------------------------------- */

static void open_narrow(struct fixture *f, uint32_t connections, uint64_t held)
{
	struct gw_http_conf conf = plain_conf(f);

	conf.max_connections = connections;
	conf.max_held = held;
	conf.max_body = 1024 * 1024;
	open_server(f, &conf);
}

static void ask_again(struct fixture *f, struct client *c, const char *target)
{
	char request[128];

	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
	response_forget(c);
	client_say(f->loop, c, request);
	until(f->loop, c, response_whole(c, false));
	assert_string_equal(response_body(c), target);
}

/* Sends the head of a body and the first part of it. */
static struct client post_part(struct fixture *f, const char *target, size_t size, size_t part)
{
	struct client c = client_open(gw_http_address(f->http));
	char head[128];
	char *body = calloc(1, part + 1);

	assert_non_null(body);
	snprintf(head, sizeof head, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
		target, size);
	client_say(f->loop, &c, head);
	assert_true(client_send(f->loop, &c, body, part));
	free(body);
	return c;
}

static void expect_refused_for_room(struct fixture *f, struct client *c)
{
	char after[8];

	until(f->loop, c, c->closed);
	expect_problem(c, 503);
	assert_true(response_header(c, "Retry-After", after, sizeof after));
	assert_string_equal(after, "1");
}

static void the_longest_idle_makes_room(void **state)
{
	struct fixture *f = *state;
	struct client a, b, c;

	open_narrow(f, 2, 0);
	a = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	b = ask(f, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
	ask_again(f, &a, "/again"); /* now b has been idle longer */
	c = ask(f, "GET /c HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_string_equal(response_body(&c), "/c");
	response_forget(&b);
	until(f->loop, &b, b.closed);
	assert_int_equal(b.in.size, 0); /* it had not asked */
	ask_again(f, &a, "/still-here");
	assert_int_equal(gw_http_evicted(f->http), 1);
	assert_int_equal(gw_http_cut(f->http), 0);
	until(f->loop, &a, gw_http_connections(f->http) == 2);
	client_close(&a);
	client_close(&b);
	client_close(&c);
}

static void one_whose_request_has_come_is_not_idle(void **state)
{
	static const char request[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
	struct fixture *f = *state;
	struct client a, b, c;

	open_narrow(f, 2, 0);
	a = ask(f, request);
	b = ask(f, request);
	response_forget(&a);
	c = client_open(gw_http_address(f->http));
	/* Both lie in the kernel when the server looks: it takes connections first. */
	assert_int_equal(send(a.fd, request, sizeof request - 1, 0), sizeof request - 1);
	until(f->loop, &a, response_whole(&a, false));
	ask_again(f, &c, "/c");
	until(f->loop, &b, b.closed);
	assert_false(a.closed);
	client_close(&a);
	client_close(&b);
	client_close(&c);
}

static void slow_heads_make_room(void **state)
{
	struct fixture *f = *state;
	struct client slow, silent, b, c;

	open_narrow(f, 2, 0);
	slow = client_open(gw_http_address(f->http));
	client_say(f->loop, &slow, "GET /a HTTP/1.1\r\nX: ");
	silent = client_open(gw_http_address(f->http));
	until(f->loop, &slow, gw_http_connections(f->http) == 2);
	b = client_open(gw_http_address(f->http));
	client_say(f->loop, &b, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	expect_refused_for_room(f, &slow);
	until(f->loop, &b, f->n_later == 1);
	assert_false(silent.closed);
	c = client_open(gw_http_address(f->http));
	ask_again(f, &c, "/c");
	until(f->loop, &silent, silent.closed);
	assert_int_equal(silent.in.size, 0); /* it never asked */
	answer_text(f->later[0], "yes", 3);
	until(f->loop, &b, response_whole(&b, false));
	client_close(&slow);
	client_close(&silent);
	client_close(&b);
	client_close(&c);
}

static void who_waits_for_an_answer_stays(void **state)
{
	struct fixture *f = *state;
	struct client waiting[2], late;

	open_narrow(f, 2, 0);
	for (unsigned i = 0; i < 2; i++) {
		waiting[i] = client_open(gw_http_address(f->http));
		client_say(f->loop, &waiting[i], "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
		until(f->loop, &waiting[i], f->n_later == i + 1);
	}
	late = client_open(gw_http_address(f->http));
	expect_refused_for_room(f, &late);
	for (unsigned i = 0; i < 2; i++) {
		answer_text(f->later[i], "yes", 3);
		until(f->loop, &waiting[i], response_whole(&waiting[i], false));
		assert_string_equal(response_body(&waiting[i]), "yes");
	}
	client_close(&late);
	client_close(&waiting[0]);
	client_close(&waiting[1]);
}

static void slow_bodies_make_room(void **state)
{
	struct fixture *f = *state;
	struct client slow, quick;

	open_narrow(f, 64, 1100 * 1000);
	slow = post_part(f, "/echo", 700 * 1000, 600 * 1000);
	until(f->loop, &slow, gw_http_held(f->http) >= 600 * 1000);
	quick = post_part(f, "/echo", 600 * 1000, 600 * 1000);
	until(f->loop, &quick, response_whole(&quick, false));
	assert_int_equal(response_status(&quick), 200);
	expect_refused_for_room(f, &slow);
	assert_int_equal(gw_http_evicted(f->http), 1);
	until(f->loop, &quick, gw_http_held(f->http) == 0);
	client_close(&slow);
	client_close(&quick);
}

static void a_body_without_room_is_refused(void **state)
{
	struct fixture *f = *state;
	struct client first, second;

	open_narrow(f, 64, 1100 * 1000);
	first = post_part(f, "/later", 600 * 1000, 600 * 1000);
	until(f->loop, &first, f->n_later == 1);
	second = post_part(f, "/echo", 600 * 1000, 600 * 1000);
	until(f->loop, &second, response_whole(&second, false));
	expect_problem(&second, 503);
	assert_int_equal(f->requests, 1);
	answer_text(f->later[0], "yes", 3);
	until(f->loop, &first, response_whole(&first, false));
	assert_string_equal(response_body(&first), "yes");
	assert_int_equal(gw_http_evicted(f->http), 0);
	client_close(&first);
	client_close(&second);
}

static void who_does_not_read_makes_room(void **state)
{
	struct fixture *f = *state;
	struct client deaf, other;

	open_narrow(f, 64, 3 * LARGE_BYTES / 2);
	deaf = client_open(gw_http_address(f->http));
	assert_int_equal(send(deaf.fd, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n", 32, 0), 32);
	until(f->loop, (struct client *)NULL, gw_http_held(f->http) >= LARGE_BYTES);
	other = ask(f, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_true(response_whole(&other, false));
	assert_int_equal(gw_http_evicted(f->http), 1);
	until(f->loop, (struct client *)NULL, gw_http_held(f->http) < 100 * 1000);
	until(f->loop, &deaf, deaf.closed);
	assert_false(response_whole(&deaf, false));
	client_close(&deaf);
	client_close(&other);
}

/* Only what came of the next request is held. */
static void an_idle_connection_holds_nothing(void **state)
{
	struct fixture *f = *state;
	struct client c;

	open_narrow(f, 64, 0);
	c = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	assert_string_equal(response_body(&c), "/a");
	until(f->loop, &c, f->done == 1);
	assert_int_equal(gw_http_held(f->http), 0);
	response_forget(&c);
	client_say(f->loop, &c, "GET /b HT");
	until(f->loop, &c, gw_http_held(f->http) > 0);
	client_say(f->loop, &c, "TP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, response_whole(&c, false));
	assert_string_equal(response_body(&c), "/b");
	until(f->loop, &c, gw_http_held(f->http) == 0);
	client_close(&c);
	until(f->loop, (struct client *)NULL, gw_http_connections(f->http) == 0);
}

static void a_client_that_left_while_waiting(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, f->n_later == 1);
	client_close(&c);
	turn(f->loop);
	answer_text(f->later[0], "too late", 8);
	until(f->loop, (struct client *)NULL, gw_http_connections(f->http) == 0);
	assert_int_equal(f->done, 1);
}

static void a_client_that_left_in_its_body(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(
		f->loop, &c, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
	until(f->loop, &c, f->heads == 1);
	client_close(&c);
	until(f->loop, (struct client *)NULL, f->done == 1);
	assert_int_equal(f->last_status, 0);
	assert_int_equal(f->requests, 0);
	until(f->loop, (struct client *)NULL, gw_http_connections(f->http) == 0);
}

static void draining_finishes_what_is_under_way(void **state)
{
	struct fixture *f = *state;
	struct client idle = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	struct client waiting = client_open(gw_http_address(f->http)), late,
		      silent = client_open(gw_http_address(f->http));
	char connection[16], address[64];
	struct sockaddr_in sa = { .sin_family = AF_INET };
	int fd;

	client_say(f->loop, &waiting, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &waiting, f->n_later == 1);
	late = client_open(gw_http_address(f->http)); /* in the backlog, with a request */
	send(late.fd, "GET /late HTTP/1.1\r\nHost: x\r\n\r\n", 31, 0);
	snprintf(address, sizeof address, "%s", gw_http_address(f->http));
	gw_http_drain(f->http);
	until(f->loop, &idle, idle.closed);
	until(f->loop, &silent, silent.closed); /* its time for a head is a minute */
	assert_int_equal(silent.in.size, 0);
	until(f->loop, &late, response_whole(&late, false));
	assert_int_equal(response_status(&late), 200);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	sa.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), -1);
	close(fd);
	answer_text(f->later[0], "done", 4);
	until(f->loop, &waiting, waiting.closed);
	assert_string_equal(response_body(&waiting), "done");
	assert_true(response_header(&waiting, "Connection", connection, sizeof connection));
	assert_string_equal(connection, "close");
	until(f->loop, &late, gw_http_connections(f->http) == 0);
	client_close(&idle);
	client_close(&silent);
	client_close(&waiting);
	client_close(&late);
}

static void ending_with_requests_under_way(void **state)
{
	struct fixture *f = *state;
	struct client a = client_open(gw_http_address(f->http)),
		      b = client_open(gw_http_address(f->http));

	client_say(f->loop, &a, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	client_say(
		f->loop, &b, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf");
	until(f->loop, &a, f->n_later == 1 && f->heads == 2);
	gw_http_free(&f->http);
	assert_int_equal(f->done, 2);
	client_close(&a);
	client_close(&b);
}

static void what_was_answered_last_is_sent(void **state)
{
	struct fixture *f = *state;
	struct client c = client_open(gw_http_address(f->http));

	client_say(f->loop, &c, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &c, f->n_later == 1);
	gw_http_refuse(f->later[0], 503, "The call was given up.");
	gw_http_free(&f->http);
	client_read(&c);
	expect_problem(&c, 503);
	client_close(&c);
}

static void a_port_in_use_is_one_clear_line(void **state)
{
	struct fixture *f = *state;
	struct gw_http_conf conf = plain_conf(f);
	struct gw_http_events events = { on_head, on_request, on_done, f };
	struct gw_http *second = NULL;
	char *why = NULL;

	conf.address = gw_http_address(f->http);
	assert_int_not_equal(gw_http_new(f->loop, &conf, &events, &second, &why), BASE_OK);
	assert_null(second);
	assert_non_null(strstr(why, gw_http_address(f->http)));
	assert_non_null(strstr(why, "Address already in use"));
	assert_null(strchr(why, '\n'));
	free(why);
	conf.address = "nonsense";
	assert_int_equal(gw_http_new(f->loop, &conf, &events, &second, &why), BASE_CONFIG);
	assert_non_null(strstr(why, "nonsense"));
	free(why);
}

static void random_bytes_cost_nobody_else(void **state)
{
	struct fixture *f = *state;
	struct base_rand rand;
	struct client good;

	open_hasty(f, 100, 60000, 60000);
	good = ask(f, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
	base_rand_init(&rand, 7);
	for (int i = 0; i < 50; i++) {
		struct client c = client_open(gw_http_address(f->http));
		char bytes[512];
		for (size_t k = 0; k < sizeof bytes; k++)
			bytes[k] = (char)base_rand_next(&rand);
		if (i % 2)
			memcpy(bytes, "GET / HTTP/1.1\r\n", 16);
		(void)client_send(f->loop, &c, bytes, sizeof bytes);
		client_close(&c);
	}
	response_forget(&good);
	client_say(f->loop, &good, "GET /b HTTP/1.1\r\nHost: x\r\n\r\n");
	until(f->loop, &good, response_whole(&good, false));
	assert_string_equal(response_body(&good), "/b");
	until(f->loop, &good, gw_http_connections(f->http) == 1);
	assert_int_equal(gw_http_requests(f->http), 0);
	client_close(&good);
}

#define TEST(name)     cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_OWN(name) cmocka_unit_test_setup_teardown(name, setup_loop, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(serves_keep_alive_and_pipelines),
		TEST(answers_later),
		TEST(the_loop_sleeps_beside_an_idle_connection),
		TEST(reads_bodies_of_both_kinds),
		TEST(says_continue),
		TEST(head_and_204_have_no_body),
		TEST(fields_are_repeated_or_refused),
		TEST(request_ids_are_checked),
		TEST(http_1_0_closes),
		TEST(refuses_bad_heads),
		TEST(refuses_large_heads),
		TEST(refuses_bad_request_lines),
		TEST(refuses_a_long_request_line),
		TEST(refuses_what_follows_a_good_request),
		TEST(a_head_just_within_the_limit_is_served),
		TEST(a_large_head_of_many_headers_is_served),
		TEST(a_refused_head_keeps_the_connection_when_it_can),
		TEST(refuses_a_large_body_before_it_is_read),
		TEST(drains_a_large_chunked_body),
		TEST(cuts_an_endless_chunked_body),
		TEST(refuses_a_broken_chunk),
		TEST(nothing_that_came_is_forgotten),
		TEST(a_row_of_requests_is_read_to_its_end),
		TEST_OWN(cuts_a_slow_head),
		TEST_OWN(cuts_half_a_request_line_and_silence),
		TEST_OWN(cuts_a_slow_body),
		TEST_OWN(closes_an_idle_connection_without_a_word),
		TEST_OWN(cuts_a_reader_that_does_not_read),
		TEST_OWN(a_waiting_request_has_no_deadline_here),
		TEST_OWN(the_longest_idle_makes_room),
		TEST_OWN(one_whose_request_has_come_is_not_idle),
		TEST_OWN(slow_heads_make_room),
		TEST_OWN(who_waits_for_an_answer_stays),
		TEST_OWN(slow_bodies_make_room),
		TEST_OWN(a_body_without_room_is_refused),
		TEST_OWN(who_does_not_read_makes_room),
		TEST_OWN(an_idle_connection_holds_nothing),
		TEST(a_client_that_left_while_waiting),
		TEST(a_client_that_left_in_its_body),
		TEST(draining_finishes_what_is_under_way),
		TEST(ending_with_requests_under_way),
		TEST(what_was_answered_last_is_sent),
		TEST(a_port_in_use_is_one_clear_line),
		TEST_OWN(random_bytes_cost_nobody_else),
	};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
