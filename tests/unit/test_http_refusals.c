/* The HTTP layer, over real sockets: each kind of bad input, in heads and in bodies.
 */
#include "http_responder.h"

/* ---- heads ---------------------------------------------------------------------- */

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
		until(f->loop, &c, f->done == i + 1);
		assert_string_equal(f->last_first, "GET /a");
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
	assert_string_equal(f->last_first, " ");
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

/* ---- bodies --------------------------------------------------------------------- */

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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests_name("http: refusals", tests, NULL, NULL);
}
