/* HTTP/1.1 on the wire: connections. Pipelines, Expect, HEAD, who closes and when (RFC 9110 10.1.1,
 * RFC 9112 9).
 */
#include "wire_fixture.h"

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"
#define POST(path) "POST " path " HTTP/1.1\r\nHost: x\r\n"
#define TWO        "Content-Length: 2\r\n\r\nok"
#define CODED      "Transfer-Encoding: chunked\r\n\r\n"
#define SAW(path)  "GET " path " [Host=x]"

/* ---- one after the other ---------------------------------------------------------------- */

static void pipelines(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW(GET("/a") GET("/b") GET("/c")), "200 200 200", KEPT,
			SAW("/a") "\n" SAW("/b") "\n" SAW("/c") },
		{ RAW(POST("/a") TWO POST("/b") CODED "2\r\nko\r\n0\r\n\r\n" GET("/c")), "200 200 200",
			KEPT,
			"POST /a [Host=x] [Content-Length=2] {ok}\n"
			"POST /b [Host=x] [Transfer-Encoding=chunked] {ko}\n" SAW("/c") },
		{ RAW(GET("/refused") GET("/a")), "404 200", KEPT, SAW("/a") },
		{ RAW(POST("/refused") TWO GET("/a")), "404 200", KEPT, SAW("/a") },
	};

	WIRE_TABLE(state, rows);
}

/* Those before it are answered; it closes the connection, and what follows is not looked at. */
static void a_bad_one_among_good_ones(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW(GET("/a") "GET /b HTTP/1.1\r\n\r\n" GET("/c")), "200 400", CLOSED, SAW("/a") },
		{ RAW(GET("/a") GET("/b") "bad\r\n" GET("/c")), "200 200 400|-", CLOSED,
			SAW("/a") "\n" SAW("/b") },
		{ RAW(GET("/a") POST("/b") "Content-Length: x\r\n\r\n" GET("/c")), "200 400", CLOSED,
			SAW("/a") },
		{ RAW(GET("/a") POST("/b") CODED "x\r\n" GET("/c")), "200 400", CLOSED, SAW("/a") },
		{ RAW(GET("/a") POST("/small") "Content-Length: 11\r\n\r\n0123456789a" GET("/c")),
			"200 413", CLOSED, SAW("/a") },
		{ RAW(POST("/a") "Content-Length: 5\r\n\r\nok" GET("/c")), "200 400", CLOSED,
			"POST /a [Host=x] [Content-Length=5] {okGET}" },
	};

	WIRE_TABLE(state, rows);
}

/* Never two at the handler at once, so that answers come in the order of the requests. */
static void pipelined_ones_wait_for_each_other(void **state)
{
	struct wire *w = *state;
	struct client c = client_open(gw_http_address(w->http)), other;

	client_say(w->loop, &c, GET("/later") GET("/a") GET("/later"));
	until(w->loop, &c, w->n_later == 1);
	other = client_open(gw_http_address(w->http));
	client_say(w->loop, &other, GET("/b")); /* when this is answered all of the others have been read */
	until(w->loop, &other, response_whole(&other, false));
	assert_int_equal(c.in.size, 0);
	assert_int_equal(w->requests, 2);
	wire_answer(w->later[0], 200, "first", 5);
	until(w->loop, &c, w->n_later == 1 && w->requests == 4);
	assert_non_null(strstr((char *)c.in.data, "first"));
	assert_non_null(strstr(strstr((char *)c.in.data, "first"), "GET /a"));
	client_close(&c);
	client_close(&other);
	wire_answer(w->later[0], 200, "gone", 4);
	until(w->loop, (struct client *)NULL, gw_http_connections(w->http) == 0);
	assert_int_equal(w->done, 4);
}

/* ---- Expect ----------------------------------------------------------------------------- */

static void expectations(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW(POST("/a") "Expect: 100-continue\r\n" TWO GET("/b")), "200 200", KEPT,
			"POST /a [Host=x] [Expect=100-continue] [Content-Length=2] {ok}\n" SAW("/b") },
		{ RAW(POST("/a") "expect: 100-Continue\r\n" CODED "2\r\nok\r\n0\r\n\r\n"), "200", KEPT,
			"POST /a [Host=x] [expect=100-Continue] [Transfer-Encoding=chunked] {ok}" },
		{ RAW("GET /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n"), "200", KEPT,
			SAW("/a") " [Expect=100-continue]" },
		{ RAW(POST("/a") "Expect: 200-ok\r\n" TWO), "417", CLOSED, "" },
		{ RAW(POST("/a") "Expect: 100-continue, more\r\n" TWO), "417", CLOSED, "" },
		{ RAW(POST("/a") "Expect:\r\n" TWO), "417|200", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

/* Sent by itself, before the body: 100 comes, once, and nothing else. */
static void a_100_comes_before_the_body(void **state)
{
	struct wire *w = *state;
	struct client c = client_open(gw_http_address(w->http));
	struct answers a;

	client_say(w->loop, &c, POST("/a") "Expect: 100-continue\r\n" CODED);
	until(w->loop, &c, wire_over(w, &c, &a, 1) || a.continues == 1);
	assert_int_equal(a.n, 0);
	client_say(w->loop, &c, "2\r\nok\r\n");
	client_say(w->loop, &c, "0\r\n\r\n");
	until(w->loop, &c, wire_over(w, &c, &a, 1));
	assert_int_equal(a.continues, 1);
	assert_int_equal(a.status[0], 200);
	client_close(&c);
}

/* No 100, the final answer at once, and the end: whether a body follows nobody could tell. */
static void refused_before_the_body(void **state)
{
	static const struct {
		const char *request;
		unsigned status;
	} cases[] = {
		{ POST("/refused") "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n", 404 },
		{ POST("/refused") "Expect: 100-continue\r\n" CODED, 404 },
		{ POST("/refused") CODED, 404 },
		{ POST("/refused") "Content-Length: 10000000\r\n\r\n", 404 },
		{ POST("/small") "Expect: 100-continue\r\nContent-Length: 11\r\n\r\n", 413 },
		{ POST("/a") "Expect: 100-continue\r\nContent-Length: 65537\r\n\r\n", 413 },
		{ POST("/a") "Expect: 100-continue\r\nContent-Length: 2\r\nX:\x01\r\n\r\n", 400 },
		{ POST("/a") "Expect: 100-continue\r\nTransfer-Encoding: gzip\r\n\r\n", 501 },
	};
	struct wire *w = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = client_open(gw_http_address(w->http));
		struct answers a;
		wire_forget(w);
		client_say(w->loop, &c, cases[i].request);
		until(w->loop, &c, c.closed);
		wire_read(w, &c, &a);
		assert_null(a.wrong);
		assert_int_equal(a.continues, 0);
		assert_int_equal(a.n, 1);
		if (a.status[0] != cases[i].status || !a.last)
			fail_msg("%u, Connection: close %d for %s", a.status[0], a.last,
				cases[i].request);
		client_close(&c);
	}
	assert_int_equal(w->requests, 0);
}

/* "MUST ignore that expectation" of HTTP/1.0, which has no 100. */
static void no_100_for_http_1_0(void **state)
{
	struct wire *w = *state;
	struct client c = client_open(gw_http_address(w->http));
	struct answers a;

	client_say(w->loop, &c,
		"POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
	client_say(w->loop, &c, "ok");
	until(w->loop, &c, wire_over(w, &c, &a, 1));
	assert_int_equal(a.continues, 0);
	assert_int_equal(a.status[0], 200);
	client_close(&c);
}

/* ---- answers without a body ---------------------------------------------------------------- */

static void bodiless(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n" GET("/b")), "200 200", KEPT,
			"HEAD /a [Host=x]\n" SAW("/b") },
		{ RAW("HEAD /refused HTTP/1.1\r\nHost: x\r\n\r\n" GET("/b")), "404 200", KEPT, SAW("/b") },
		{ RAW(GET("/204") GET("/304") GET("/b")), "204 304 200", KEPT,
			SAW("/204") "\n" SAW("/304") "\n" SAW("/b") },
	};

	WIRE_TABLE(state, rows);
}

static void head_says_what_get_would(void **state)
{
	struct wire *w = *state;
	struct client c = client_open(gw_http_address(w->http));
	struct answers a;

	client_say(w->loop, &c, "HEAD /abcdef HTTP/1.1\r\nHost: x\r\n\r\n" GET("/abcdefg"));
	until(w->loop, &c, wire_over(w, &c, &a, 2));
	assert_int_equal(a.n, 2);
	assert_int_equal(a.sizes[0], strlen("HEAD /abcdef"));
	assert_int_equal(a.sizes[1], strlen("GET /abcdefg"));
	client_close(&c);
}

/* Its client would take a body for the next answer. */
static void a_head_that_is_refused_has_no_body(void **state)
{
	static const char *const cases[] = { "HEAD /a HTTP/1.1\r\n\r\n",
		"HEAD /a HTTP/1.1\r\nHost: x\r\nX\r\n\r\n",
		"HEAD /a HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n" };
	struct wire *w = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client c = client_open(gw_http_address(w->http));
		client_say(w->loop, &c, cases[i]);
		until(w->loop, &c, c.closed);
		assert_int_equal(response_status(&c), i < 2 ? 400 : 413);
		assert_string_equal(response_body(&c), "");
		client_close(&c);
	}
}

/* ---- who closes ------------------------------------------------------------------------------ */

#define SAID(value) "GET /a HTTP/1.1\r\nHost: x\r\nConnection: " value "\r\n\r\n"
#define SAW_1(value) SAW("/a") " [Connection=" value "]"

static void connection_tokens(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW(SAID("close") GET("/b")), "200", CLOSED, SAW_1("close") },
		{ RAW(SAID("Close")), "200", CLOSED, SAW_1("Close") },
		{ RAW(SAID("x,\tclose , y")), "200", CLOSED, SAW_1("x,\\x09close , y") },
		{ RAW(SAID("keep-alive, close")), "200", CLOSED, SAW_1("keep-alive, close") },
		{ RAW(SAID(",,close,")), "200", CLOSED, SAW_1(",,close,") },
		{ RAW(SAID("x\r\nConnection: close")), "200", CLOSED, SAW_1("x") " [Connection=close]" },
		{ RAW(SAID("keep-alive") GET("/b")), "200 200", KEPT, SAW_1("keep-alive") "\n" SAW("/b") },
		{ RAW(SAID("closed")), "200", KEPT, SAW_1("closed") },
		{ RAW(SAID("enclose, x-close, close-x")), "200", KEPT, SAW_1("enclose, x-close, close-x") },
		{ RAW(SAID("Upgrade\r\nUpgrade: h2c")), "200", KEPT, SAW_1("Upgrade") " [Upgrade=h2c]" },
		{ RAW("GET /a HTTP/1.1\r\nHost: x\r\nProxy-Connection: close\r\n\r\n"), "200", KEPT,
			SAW("/a") " [Proxy-Connection=close]" },
		{ RAW(POST("/a") "Connection: close\r\n" TWO GET("/b")), "200", CLOSED,
			"POST /a [Host=x] [Connection=close] [Content-Length=2] {ok}" },
	};

	WIRE_TABLE(state, rows);
}

/* It has said all that it had to say, and waits. */
static void half_closed(struct wire *w, const char *requests, unsigned n)
{
	struct client c = client_open(gw_http_address(w->http));
	struct answers a;

	wire_forget(w);
	assert_int_equal(send(c.fd, requests, strlen(requests), 0), strlen(requests));
	assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
	until(w->loop, &c, c.closed);
	wire_read(w, &c, &a);
	assert_null(a.wrong);
	assert_false(a.partial);
	assert_int_equal(a.n, n);
	assert_int_equal(w->requests, n);
	client_close(&c);
	until(w->loop, (struct client *)NULL, gw_http_connections(w->http) == 0);
	assert_int_equal(w->done, n);
}

static void who_closes_its_end_is_answered(void **state)
{
	half_closed(*state, GET("/a"), 1);
	half_closed(*state, POST("/a") TWO, 1);
	half_closed(*state, POST("/a") CODED "0\r\n\r\n", 1);
	half_closed(*state, GET("/a") POST("/b") TWO GET("/c"), 3);
}

static void who_closes_its_end_waits_for_its_answer(void **state)
{
	struct wire *w = *state;
	struct client c = client_open(gw_http_address(w->http)), other;
	struct answers a;

	client_say(w->loop, &c, GET("/later"));
	until(w->loop, &c, w->n_later == 1);
	assert_false(gw_http_is_gone(w->later[0]));
	assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
	other = client_open(gw_http_address(w->http));
	client_say(w->loop, &other, GET("/a"));
	until(w->loop, &other, response_whole(&other, false)); /* its end has been seen, too */
	assert_true(gw_http_is_gone(w->later[0]));
	wire_answer(w->later[0], 200, "still", 5);
	until(w->loop, &c, c.closed);
	wire_read(w, &c, &a);
	assert_int_equal(a.status[0], 200);
	assert_string_equal(response_body(&c), "still");
	client_close(&c);
	client_close(&other);
}

/* What was promised and does not come is no request; 400 may be said, or nothing. */
static void an_end_in_the_middle(void **state)
{
	static const char *const parts[] = { "G", "GET /a HTTP/1.1\r\nHos", POST("/a") "Content-Length: 3\r\n\r\nok",
		POST("/a") CODED "2\r\nok\r\n0\r\n", POST("/a") CODED "5\r\nok", POST("/a") CODED };
	struct wire *w = *state;

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		struct client c = client_open(gw_http_address(w->http));
		struct answers a;
		wire_forget(w);
		client_say(w->loop, &c, GET("/first"));
		client_say(w->loop, &c, parts[i]);
		assert_int_equal(shutdown(c.fd, SHUT_WR), 0);
		until(w->loop, &c, c.closed);
		wire_read(w, &c, &a);
		assert_null(a.wrong);
		assert_true(a.n == 1 || (a.n == 2 && a.status[1] == 400));
		assert_int_equal(w->requests, 1);
		client_close(&c);
		until(w->loop, (struct client *)NULL, gw_http_connections(w->http) == 0);
		assert_int_equal(gw_http_requests(w->http), 0);
	}
}

/* Gone, with a bang, at each place of its life. */
static void resets(void **state)
{
	static const char *const parts[] = { "", "GET /a", POST("/a") "Content-Length: 3\r\n\r\nok",
		GET("/later") GET("/a"), GET("/a") "GET /b" };
	struct wire *w = *state;

	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		struct client c = client_open(gw_http_address(w->http));
		client_say(w->loop, &c, parts[i]);
		if (i == 3)
			until(w->loop, &c, w->n_later == 1);
		client_reset(&c);
		turn(w->loop);
		if (i == 3)
			wire_answer(w->later[0], 200, "gone", 4);
		until(w->loop, (struct client *)NULL, gw_http_connections(w->http) == 0);
		assert_int_equal(gw_http_requests(w->http), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, wire_setup, wire_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pipelines),
		TEST(a_bad_one_among_good_ones),
		TEST(pipelined_ones_wait_for_each_other),
		TEST(expectations),
		TEST(a_100_comes_before_the_body),
		TEST(refused_before_the_body),
		TEST(no_100_for_http_1_0),
		TEST(bodiless),
		TEST(head_says_what_get_would),
		TEST(a_head_that_is_refused_has_no_body),
		TEST(connection_tokens),
		TEST(who_closes_its_end_is_answered),
		TEST(who_closes_its_end_waits_for_its_answer),
		TEST(an_end_in_the_middle),
		TEST(resets),
	};

	return cmocka_run_group_tests_name("http on the wire", tests, NULL, NULL);
}
