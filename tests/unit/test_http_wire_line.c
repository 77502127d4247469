/* HTTP/1.1 on the wire: request lines. RFC 9112 2.2, 2.3, 3.
 *
 * Where we are stricter than others: Node 20 serves HTTP/0.9 and 2.0, and lines without a version,
 * as if they were 1.1, and a CR before a request; nginx 1.22 serves HTTP/1.10, bare LFs and blanks
 * at the line's end. Both know a list of methods, and refuse others; ours are the routes'.
 */
#include "wire_fixture.h"

#define HOST "\r\nHost: x\r\n\r\n"

static void targets(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("GET / HTTP/1.1" HOST), "200", KEPT, "GET / [Host=x]" },
		{ RAW("GET /a?b=c&d=/e?f HTTP/1.1" HOST), "200", KEPT, "GET /a?b=c&d=/e?f [Host=x]" },
		{ RAW("GET /%61%2Fb//../. HTTP/1.1" HOST), "200", KEPT,
			"GET /%61%2Fb//../. [Host=x]" }, /* raw: routes are not looked up here */
		{ RAW("GET /%zz HTTP/1.1" HOST), "200|400", KEPT, "GET /%zz [Host=x]" },
		{ RAW("GET http://y:80/a?b HTTP/1.1" HOST), "200", KEPT,
			"GET http://y:80/a?b [Host=x]" },
		{ RAW("GET HTTPS://y HTTP/1.1" HOST), "200", KEPT, "GET HTTPS://y [Host=x]" },
		{ RAW("OPTIONS * HTTP/1.1" HOST), "200", KEPT, "OPTIONS * [Host=x]" },
		{ RAW("GET * HTTP/1.1" HOST), "200|400", KEPT, "GET * [Host=x]" },
		{ RAW("GET x HTTP/1.1" HOST), "200|400", KEPT, "GET x [Host=x]" },
		{ RAW("CONNECT y:80 HTTP/1.1" HOST), "405|400|501", KEPT, "" },
		{ RAW("GET /a#b HTTP/1.1" HOST), "200|400", KEPT, "GET /a#b [Host=x]" },
		{ RAW("GET /\xc3\xa4\xff HTTP/1.1" HOST), "200|400", KEPT,
			"GET /\\xc3\\xa4\\xff [Host=x]" },
	};

	WIRE_TABLE(state, rows);
}

/* A log, a header or a service downstream would read them as something else. */
static void bytes_that_no_target_has(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("GET /a\0b HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET /a\0 HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET \0/a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET /a\x01"
		      "b HTTP/1.1" HOST),
			"400", CLOSED, "" },
		{ RAW("GET /a\x1b[2J HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET /a\x7f HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET /a\rb HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET /a HTTP/1.1\r\r\nHost: x\r\n\r\n"), "400", CLOSED, "" },
		{ RAW("GET /a\r HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET /a\x0b HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET /a\x0cHTTP/1.1" HOST), "400", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

/* "SHOULD process as the highest minor version within that major version that it conforms to":
 * so does nginx; others, Node's parser among them, refuse. */
static void versions(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("GET /a HTTP/1.2" HOST), "200|505|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET /a HTTP/1.9" HOST), "200|505|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET /a HTTP/0.9" HOST), "505|400", CLOSED, "" },
		{ RAW("GET /a HTTP/2.0" HOST), "505|400", CLOSED, "" },
		{ RAW("GET /a HTTP/3.1" HOST), "505|400", CLOSED, "" },
		{ RAW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), "505|400", CLOSED, "" },
		{ RAW("GET /a http/1.1" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/1" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/1." HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/.1" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/11" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/1.10" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/01.1" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/+1.1" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/1,1" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/1.1x" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/1.\xb1" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTPS/1.1" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP1.1" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a HTTP/1.1\0" HOST), "400|505", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

static void no_version(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("GET /a" HOST), "400|505", CLOSED, "" },
		{ RAW("GET /a \r\n\r\n"), "400|505", CLOSED, "" },
		{ RAW("GET\r\n\r\n"), "400|-", CLOSED, "" },
		{ RAW("GET \r\n\r\n"), "400|-", CLOSED, "" },
		{ RAW("GET HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "400", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

static void http_1_0(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("GET /a HTTP/1.0\r\n\r\n"), "200", CLOSED, "GET /a" },
		{ RAW("GET /a HTTP/1.0" HOST), "200", CLOSED, "GET /a [Host=x]" },
		{ RAW("POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nok"), "200", CLOSED,
			"POST /a [Content-Length=2] {ok}" },
		{ RAW("GET /a HTTP/1.0\r\nHost: x\r\nHost: x\r\n\r\n"), "400", CLOSED, "" },
		/* What follows the request that was the last one is nobody's. */
		{ RAW("GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.0\r\n\r\n"), "200", CLOSED, "GET /a" },
	};

	WIRE_TABLE(state, rows);
}

/* Staying is ours to choose, but who stays has to say so. */
static void http_1_0_that_would_stay(void **state)
{
	static const char *const asks[] = {
		"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET /a HTTP/1.0\r\nHost: x\r\nConnection: Keep-Alive\r\n\r\n",
	};
	struct wire *w = *state;

	for (size_t i = 0; i < sizeof asks / sizeof *asks; i++) {
		struct client c = client_open(gw_http_address(w->http));
		char said[64];

		client_say(w->loop, &c, asks[i]);
		until(w->loop, &c, response_whole(&c, false));
		assert_int_equal(response_status(&c), 200);
		if (response_header(&c, "Connection", said, sizeof said) &&
			strcasecmp(said, "keep-alive") == 0) {
			wire_forget(w);
			assert_true(wire_is_kept(w, &c));
		} else {
			until(w->loop, &c, c.closed);
		}
		client_close(&c);
	}
}

/* RFC 9112 3 lets us be strict or lenient about blanks, but not half: a target never has one. */
static void blanks(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("GET  /a HTTP/1.1" HOST), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET /a  HTTP/1.1" HOST), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET /a HTTP/1.1 " HOST), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW(" GET /a HTTP/1.1" HOST), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET\t/a\tHTTP/1.1" HOST), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET /a\tHTTP/1.1" HOST), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET /a\tb HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET /a b HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET /a HTTP/1.1 HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET  HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW(" /a HTTP/1.1" HOST), "400", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

static void methods(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("FROB /a HTTP/1.1" HOST), "200|501", KEPT, "FROB /a [Host=x]" },
		{ RAW("get /a HTTP/1.1" HOST), "200|501", KEPT, "get /a [Host=x]" },
		{ RAW("!#$%&'*+-.^_`|~09Az /a HTTP/1.1" HOST), "200|501", KEPT,
			"!#$%&'*+-.^_`|~09Az /a [Host=x]" },
		{ RAW("G(T /a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("GET: /a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("\"GET\" /a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("G\xc3\x84T /a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("G\x01T /a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("G\0T /a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("G\rT /a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n"), "400|-", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

static void a_method_without_end(void **state)
{
	static char text[4000];
	struct wire_outcome out;
	struct wire_row row = { text, 0, "200|400|414|501|431", KEPT, NULL };
	static char saw[3000];

	memset(text, 'M', 2000);
	row.size = 2000 + (size_t)sprintf(text + 2000, " /a HTTP/1.1" HOST);
	sprintf(saw, "%.2000s /a [Host=x]", text);
	row.saw = saw;
	wire_run(*state, &row, row.size, &out);
	assert_true(wire_check(&row, 0, &out));
	wire_run(*state, &row, 1000, &out);
	assert_true(wire_check(&row, 1, &out));
}

/* RFC 9112 2.2: a bare LF may be taken for the end of a line; of all of them, or none. */
static void lines_that_end_in_a_bare_lf(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("GET /a HTTP/1.1\nHost: x\n\n"), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET /a HTTP/1.1\nHost: x\r\n\r\n"), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET /a HTTP/1.1\r\nHost: x\n\r\n"), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("GET /a HTTP/1.1\r\nHost: x\r\n\n"), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("POST /a HTTP/1.1\nHost: x\nContent-Length: 2\n\nok"), "200|400", KEPT,
			"POST /a [Host=x] [Content-Length=2] {ok}" },
		{ RAW("GET /a HTTP/1.1\rHost: x\r\r"
		      "GET /b HTTP/1.1" HOST),
			"400", CLOSED, "" },
		{ RAW("GET /a HTTP/1.1\n\rHost: x\n\r\n\r"), "400", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

/* "SHOULD ignore at least one empty line received prior to the request-line" */
static void empty_lines_before(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW("\r\nGET /a HTTP/1.1" HOST), "200", KEPT, "GET /a [Host=x]" },
		{ RAW("\r\n\r\nGET /a HTTP/1.1" HOST), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("\nGET /a HTTP/1.1" HOST), "200|400", KEPT, "GET /a [Host=x]" },
		{ RAW("POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok\r\nGET /b HTTP/1.1" HOST),
			"200 200", KEPT,
			"POST /a [Host=x] [Content-Length=2] {ok}\nGET /b [Host=x]" },
		{ RAW("\rGET /a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW(" \r\nGET /a HTTP/1.1" HOST), "400", CLOSED, "" },
		{ RAW("\0\r\nGET /a HTTP/1.1" HOST), "400|-", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, wire_setup, wire_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(targets),
		TEST(bytes_that_no_target_has),
		TEST(versions),
		TEST(no_version),
		TEST(http_1_0),
		TEST(http_1_0_that_would_stay),
		TEST(blanks),
		TEST(methods),
		TEST(a_method_without_end),
		TEST(lines_that_end_in_a_bare_lf),
		TEST(empty_lines_before),
	};

	return cmocka_run_group_tests_name("http on the wire: lines", tests, NULL, NULL);
}
