/* HTTP/1.1 on the wire: header lines. RFC 9110 5, RFC 9112 2.2, 3.2, 5.
 *
 * Where we are stricter than others: nginx 1.22 drops lines whose names are no tokens, or that have
 * no colon, and serves the rest, and overlooks a CR before CR LF; what one drops the next one may
 * read, so that we refuse, as Node 20 does. Both serve most of the Hosts that are none; Node serves
 * two of them.
 */
#include "wire_fixture.h"

#define GET   "GET /a HTTP/1.1\r\n"
#define HOST  "Host: x\r\n"
#define SAW   "GET /a [Host=x]"
#define PROBE "GET /b HTTP/1.1\r\nHost: x\r\n\r\n"

static void values(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW(GET HOST "X-A:b\r\n\r\n"), "200", KEPT, SAW " [X-A=b]" },
		{ RAW(GET HOST "X-A: \t b c\td \t\r\n\r\n"), "200", KEPT, SAW " [X-A=b c\\x09d]" },
		{ RAW(GET HOST "X-A:\r\nX-B: \t \r\n\r\n"), "200", KEPT, SAW " [X-A=] [X-B=]" },
		{ RAW(GET HOST "X-A: :b: c:\r\n\r\n"), "200", KEPT, SAW " [X-A=:b: c:]" },
		{ RAW(GET HOST "X-A: \x80\xff\xc3\xa4\r\n\r\n"), "200", KEPT,
			SAW " [X-A=\\x80\\xff\\xc3\\xa4]" },
		{ RAW(GET "hOsT: x\r\n\r\n"), "200", KEPT, "GET /a [hOsT=x]" },
		{ RAW(GET HOST "X-A: 1\r\nX-B: 2\r\nx-a: 3\r\nX-A: 1\r\n\r\n"), "200", KEPT,
			SAW " [X-A=1] [X-B=2] [x-a=3] [X-A=1]" },
		{ RAW(GET HOST "!#$%&'*+-.^_`|~09Az: y\r\n\r\n"), "200", KEPT,
			SAW " [!#$%&'*+-.^_`|~09Az=y]" },
		{ RAW(GET HOST "Content_Length: 5\r\nContent-Length-: 5\r\n\r\n" PROBE), "200 200",
			KEPT, SAW " [Content_Length=5] [Content-Length-=5]\nGET /b [Host=x]" },
		{ RAW(GET HOST "Transfer_Encoding: chunked\r\n\r\n" PROBE), "200 200", KEPT,
			SAW " [Transfer_Encoding=chunked]\nGET /b [Host=x]" },
	};

	WIRE_TABLE(state, rows);
}

/* "If a server receives … NUL or CR in a value it MUST reject or replace"; we reject. */
static void bytes_that_no_value_has(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW(GET HOST "X-A: b\0c\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\0\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A:\0\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\rc\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\r\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\r\rX-B: c\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\rContent-Length: 28\r\n\r\n" PROBE), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: \x0b"
			       "b\r\n\r\n"),
			"400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\x0c\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\x7f\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\x1f\r\n\r\n"), "400", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

/* No blank between name and colon, ever: "Content-Length :" is what others read as none, or one. */
static void names(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW(GET HOST "X-A : b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A\t: b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X A: b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST ": b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST ":\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X\0A: b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A\0: b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X\rA: b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "\rX-A: b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-\xc3\xa4: b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "\"X\": b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X/A: b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X{}: b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW("POST /a HTTP/1.1\r\n" HOST "Content-Length\x0b: 2\r\n\r\nok"), "400", CLOSED, "" },
		{ RAW("POST /a HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"), "400",
			CLOSED, "" },
		{ RAW("POST /a HTTP/1.1\r\n" HOST "\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "400",
			CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

/* Lines that go on (RFC 9112 5.2), and blanks before the first header (2.2): refused. */
static void folds(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW(GET " X-A: b\r\n" HOST "\r\n"), "400", CLOSED, "" },
		{ RAW(GET "\tHost: x\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET " \r\n" HOST "\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\r\n\tc\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\r\n \r\nX-B: c\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET HOST "X-A: b\n c\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host:\r\n x\r\n\r\n"), "400", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

/* RFC 9112 3.2: 400 "to any request message that contains … a Host header field with an invalid
 * field value". What may stand there: host[:port] of RFC 3986. */
static void hosts(void **state)
{
	static const struct wire_row rows[] = {
		{ RAW(GET "\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: x\r\nHost: x\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: x\r\nX-A: b\r\nhost: y\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host:\r\n\r\n"), "200|400", KEPT, "GET /a [Host=]" },
		{ RAW(GET "Host: x:8080\r\n\r\n"), "200", KEPT, "GET /a [Host=x:8080]" },
		{ RAW(GET "Host: a-b.c_d.example.\r\n\r\n"), "200", KEPT,
			"GET /a [Host=a-b.c_d.example.]" },
		{ RAW(GET "Host: 127.0.0.1:1\r\n\r\n"), "200", KEPT, "GET /a [Host=127.0.0.1:1]" },
		{ RAW(GET "Host: [::1]:8080\r\n\r\n"), "200", KEPT, "GET /a [Host=[::1]:8080]" },
		{ RAW(GET "Host: x:\r\n\r\n"), "200|400", KEPT, "GET /a [Host=x:]" },
		{ RAW(GET "Host: %61b\r\n\r\n"), "200|400", KEPT, "GET /a [Host=%61b]" },
		{ RAW(GET "Host: a b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: a\tb\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: a/b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: a?b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: a#b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: u@a\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: a\\b\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: \"a\"\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: <a>\r\n\r\n"), "400", CLOSED, "" },
		{ RAW(GET "Host: http://a\r\n\r\n"), "400", CLOSED, "" },
		{ RAW("GET http://y/a HTTP/1.1\r\n\r\n"), "400", CLOSED, "" },
	};

	WIRE_TABLE(state, rows);
}

/* ---- as many as fit -------------------------------------------------------------------- */

/* A head of n bytes in all, its end included; each header has `each` bytes. */
static char *head_of(size_t n, size_t each)
{
	char *text = malloc(n + 1);
	size_t at;

	assert_non_null(text);
	at = (size_t)sprintf(text, GET HOST);
	while (n - 2 - at >= 2 * each) {
		memset(text + at, 'v', each);
		memcpy(text + at, "X: ", 3);
		memcpy(text + at + each - 2, "\r\n", 2);
		at += each;
	}
	memset(text + at, 'v', n - 2 - at);
	memcpy(text + at, "X: ", 3);
	memcpy(text + n - 4, "\r\n\r\n", 5);
	return text;
}

/* What is answered to a head, sent in pieces, twice on the connection when it is kept. */
static void head_gets(struct wire *w, const char *head, size_t size, size_t piece, unsigned status)
{
	struct client c = client_open(gw_http_address(w->http));
	unsigned times = status == 200 ? 2 : 1;
	struct answers a;

	wire_forget(w);
	for (unsigned i = 1; i <= times; i++) {
		for (size_t at = 0; at < size && !c.closed; at += piece)
			if (!wire_put(w, &c, head + at, size - at < piece ? size - at : piece))
				break;
		until(w->loop, &c, wire_over(w, &c, &a, i));
		assert_null(a.wrong);
		assert_int_equal(a.n, i);
		assert_int_equal(a.status[i - 1], status);
	}
	assert_int_equal(c.closed, status != 200);
	assert_int_equal(w->heads, status == 200 ? 2 : 0);
	client_close(&c);
}

/* To the byte, whatever the head is made of, and for each request anew. */
static void the_limit_of_a_head(void **state)
{
	static const size_t sizes[] = { 200, WIRE_MAX_HEAD / 2 }, pieces[] = { 1021, 65536 };
	struct wire *w = *state;

	for (size_t i = 0; i < 2; i++) {
		char *fits = head_of(WIRE_MAX_HEAD, sizes[i]);
		char *over = head_of(WIRE_MAX_HEAD + 1, sizes[i]);
		for (size_t k = 0; k < 2; k++) {
			head_gets(w, fits, WIRE_MAX_HEAD, pieces[k], 200);
			head_gets(w, over, WIRE_MAX_HEAD + 1, pieces[k], 431);
		}
		free(fits);
		free(over);
	}
}

/* It counts for a head that came in one segment with what was before it, too. */
static void the_limit_of_a_head_behind_another(void **state)
{
	struct wire *w = *state;
	struct client c = client_open(gw_http_address(w->http));
	char *fits = head_of(WIRE_MAX_HEAD, 1000), *over = head_of(WIRE_MAX_HEAD + 1, 1000);
	struct answers a;

	wire_forget(w);
	assert_true(client_say(w->loop, &c, PROBE));
	assert_true(client_send(w->loop, &c, fits, WIRE_MAX_HEAD));
	assert_true(client_say(w->loop, &c, PROBE));
	(void)client_send(w->loop, &c, over, WIRE_MAX_HEAD + 1);
	until(w->loop, &c, wire_over(w, &c, &a, 4));
	assert_null(a.wrong);
	assert_int_equal(a.n, 4);
	assert_int_equal(a.status[2], 200);
	assert_int_equal(a.status[3], 431);
	assert_int_equal(w->requests, 3);
	until(w->loop, &c, c.closed);
	client_close(&c);
	free(fits);
	free(over);
}

/* As many as there may be, and one more; small ones, that a bound in bytes would let through. */
static void the_number_of_headers(void **state)
{
	struct wire *w = *state;

	for (unsigned more = 0; more < 2; more++) {
		struct client c = client_open(gw_http_address(w->http));
		char text[WIRE_MAX_HEAD];
		size_t n = (size_t)sprintf(text, GET HOST);
		struct answers a;

		for (unsigned i = 1; i < GW_HEADERS_MOST + more; i++)
			n += (size_t)sprintf(text + n, "A:\r\n");
		n += (size_t)sprintf(text + n, "\r\n");
		wire_forget(w);
		assert_true(client_send(w->loop, &c, text, n));
		until(w->loop, &c, wire_over(w, &c, &a, 1));
		assert_null(a.wrong);
		assert_int_equal(a.n, 1);
		assert_int_equal(a.status[0], more ? 431 : 200);
		assert_int_equal(w->requests, !more);
		client_close(&c);
	}
}

/* An endless head, of lines rather than of one line. */
static void headers_without_end(void **state)
{
	struct wire *w = *state;
	struct client c = client_open(gw_http_address(w->http));
	unsigned sent = 0;
	struct answers a;

	wire_forget(w);
	client_say(w->loop, &c, GET HOST);
	while (!c.closed && sent < 100000 && client_say(w->loop, &c, "X-Another: one\r\n"))
		sent++;
	until(w->loop, &c, c.closed);
	wire_read(w, &c, &a);
	assert_null(a.wrong);
	assert_int_equal(a.n, 1);
	assert_int_equal(a.status[0], 431);
	assert_true(sent * 16 < 4 * WIRE_MAX_HEAD);
	assert_int_equal(w->heads, 0);
	client_close(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, wire_setup, wire_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(values),
		TEST(bytes_that_no_value_has),
		TEST(names),
		TEST(folds),
		TEST(hosts),
		TEST(the_limit_of_a_head),
		TEST(the_limit_of_a_head_behind_another),
		TEST(the_number_of_headers),
		TEST(headers_without_end),
	};

	return cmocka_run_group_tests_name("http on the wire: headers", tests, NULL, NULL);
}
