/* worker/http_target.c and http_request.c: URLs taken apart, and what goes to an endpoint. */
#include "tests/unit/unit.h"

#include <strings.h>

#include "base/clock.h"
#include "proto/pirn.pb-c.h"
#include "worker/http_request.h"
#include "worker/http_target.h"

/* ---- URLs ------------------------------------------------------------------------------ */

static void urls(void **state)
{
	static const struct {
		const char *url, *own, *host, *path;
		uint16_t port;
		bool literal;
	} rows[] = {
		{ "http://app", "http://app:80", "app", NULL, 80, false },
		{ "http://app/", "http://app:80", "app", "/", 80, false },
		{ "https://app.example/a/b?c=d", "https://app.example:443", "app.example", "/a/b?c=d",
			443, false },
		{ "http://app:3000?x=1", "http://app:3000", "app", "/?x=1", 3000, false },
		{ "http://10.1.2.3:81/x", "http://10.1.2.3:81", "10.1.2.3", "/x", 81, true },
		{ "http://[::1]:81/x", "http://[::1]:81", "::1", "/x", 81, true },
		{ "http://0x7f000001/", "http://127.0.0.1:80", "127.0.0.1", "/", 80, true },
		{ "http://2130706433/", "http://127.0.0.1:80", "127.0.0.1", "/", 80, true },
		{ "http://127.1/", "http://127.0.0.1:80", "127.0.0.1", "/", 80, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct wrk_target t;
		char why[256] = "";

		if (wrk_target_parse(rows[i].url, &t, why, sizeof why) != BASE_OK)
			fail_msg("%s: %s", rows[i].url, why);
		assert_string_equal(t.url, rows[i].own);
		assert_string_equal(t.host, rows[i].host);
		assert_int_equal(t.port, rows[i].port);
		assert_int_equal(t.literal, rows[i].literal);
		if (rows[i].path)
			assert_string_equal(t.path, rows[i].path);
		else
			assert_null(t.path);
		wrk_target_fini(&t);
	}
}

static void wrong_urls(void **state)
{
	static const char *const urls[] = { "", "app", "ftp://app/", "file:///etc/passwd",
		"HTTP//app", "http://", "http:///x", "http://app:0/", "http://app:65536/",
		"http://app:x/", "http://a@b/", "http://a:b@c/", "http://app/#f", "http://[::1/",
		"http://[fe80::1%25eth0]/", "http://a b/", "http://app/\r\nX: y", "http://*/",
		"http://a,b/", "http://+app/", "http://%61pp,x/" };
	char long_one[3000];

	(void)state;
	for (size_t i = 0; i <= sizeof urls / sizeof *urls; i++) {
		const char *url = i < sizeof urls / sizeof *urls ? urls[i] : long_one;
		struct wrk_target t = { 0 };
		char why[256] = "";

		memset(long_one, 'a', sizeof long_one);
		memcpy(long_one, "http://app/", 11);
		long_one[sizeof long_one - 1] = '\0';
		if (wrk_target_parse(url, &t, why, sizeof why) != BASE_INVALID)
			fail_msg("%s", url);
		assert_ptr_equal(strstr(why, "expected "), why);
		assert_null(t.url);
	}
}

/* ---- requests ---------------------------------------------------------------------------- */

static struct base_arena arena;
static struct wrk_run run;
static struct wrk_http_request made;

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)text };
}

/* headers: name and value in turns, NULL at the end. */
static enum base_err make(const char *method, const char *target, const char *path,
	const char *const *headers)
{
	Pirn__HttpRequest http = PIRN__HTTP_REQUEST__INIT;
	Pirn__Header rows[16], *list[16];
	uint8_t *room;

	http.method = bytes(method);
	http.target = bytes(target);
	http.has_remote = true;
	http.remote = bytes("192.0.2.7");
	http.headers = list;
	for (; headers && headers[2 * http.n_headers]; http.n_headers++) {
		list[http.n_headers] = &rows[http.n_headers];
		pirn__header__init(list[http.n_headers]);
		list[http.n_headers]->name = bytes(headers[2 * http.n_headers]);
		list[http.n_headers]->value = bytes(headers[2 * http.n_headers + 1]);
	}
	base_buf_reset(&run.in);
	run.meta_size = pirn__http_request__get_packed_size(&http);
	room = base_buf_room(&run.in, run.meta_size);
	assert_non_null(room);
	base_buf_grew(&run.in, pirn__http_request__pack(&http, room));
	run.attempt = 3;
	run.deadline_us = base_clock_us() + 5000000;
	base_arena_reset(&arena);
	return wrk_http_request_make(&arena, &run, "svc", path, &made);
}

static const char *line(const char *begin)
{
	for (const struct curl_slist *at = made.headers; at; at = at->next)
		if (strncmp(at->data, begin, strlen(begin)) == 0)
			return at->data;
	return NULL;
}

#define HEADERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void targets(void **state)
{
	static const struct {
		const char *path, *came_to, *goes_to;
	} rows[] = {
		{ NULL, "/a%20b/../c?x=1", "/a%20b/../c?x=1" },
		{ NULL, "*", "/" },
		{ NULL, "", "/" },
		{ "/hook", "/a", "/hook" },
		{ "/hook", "/a?", "/hook" },
		{ "/hook", "/a?x=1&y=?", "/hook?x=1&y=?" },
		{ "/hook?k=v", "/a?x=1", "/hook?k=v&x=1" },
		{ "/hook?k=v", "/a", "/hook?k=v" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(make("POST", rows[i].came_to, rows[i].path, NULL), BASE_OK);
		assert_string_equal(made.method, "POST");
		assert_string_equal(made.target, rows[i].goes_to);
	}
	assert_int_equal(make("POST", "/a b", NULL, NULL), BASE_PROTOCOL);
	assert_int_equal(make("POST", "/a\r\nX: y", NULL, NULL), BASE_PROTOCOL);
	assert_int_equal(make("PO ST", "/", NULL, NULL), BASE_PROTOCOL);
	assert_int_equal(make("", "/", NULL, NULL), BASE_PROTOCOL);
}

static void headers_that_go_along(void **state)
{
	(void)state;
	run.flags = 0;
	assert_int_equal(make("GET", "/x", NULL,
				 HEADERS("Host", "front", "X-A", "1", "X-A", "2", "Empty", "", "TE", "x",
					 "Transfer-Encoding", "chunked", "content-length", "5", "Pirn-Attempt",
					 "9", "pirn-callback-url", "http://cb/", "Expect", "100-continue",
					 "Prefer", "wait=1", "Bad Name", "x", "X-Bad", "a\r\nX-In: jected")),
		BASE_OK);
	assert_string_equal(line("X-A"), "X-A: 1");
	assert_string_equal(line("X-A: 2"), "X-A: 2");
	assert_string_equal(line("Empty"), "Empty;");
	assert_string_equal(line("Prefer"), "Prefer: wait=1");
	assert_null(line("TE"));
	assert_null(line("Host"));
	assert_null(line("Transfer"));
	assert_null(line("content-length"));
	assert_null(line("pirn-"));
	assert_null(line("Bad"));
	assert_null(line("X-Bad"));
	assert_string_equal(line("Accept"), "Accept:"); /* libcurl's own is struck out */
	assert_null(line("Expect"));
	assert_null(line("Content-Type"));
	assert_false(made.has_body);
	assert_non_null(strstr(line("User-Agent"), "User-Agent: Pirn/"));
	assert_string_equal(line("X-Forwarded-For"), "X-Forwarded-For: 192.0.2.7");
	assert_string_equal(line("X-Forwarded-Host"), "X-Forwarded-Host: front");
	assert_string_equal(line("X-Forwarded-Proto"), "X-Forwarded-Proto: http");
	assert_string_equal(line("Pirn-Attempt"), "Pirn-Attempt: 3");
	assert_string_equal(line("Pirn-Service"), "Pirn-Service: svc");
	assert_string_equal(line("Pirn-Target"), "Pirn-Target: /x");
	assert_non_null(line("Pirn-Call-Id"));
	assert_null(line("Pirn-Event-Id"));
	assert_string_equal(made.callback, "http://cb/");
}

static void of_trusted_proxies_and_events(void **state)
{
	(void)state;
	run.flags = PIRN__ITEM_FLAG__EVENT;
	run.has_trace = true;
	memset(run.trace, 0xab, sizeof run.trace);
	assert_int_equal(make("POST", "/x", NULL,
				 HEADERS("X-Forwarded-For", "1.2.3.4, 5.6.7.8", "x-forwarded-proto", "https",
					 "X-Forwarded-Host", "shop", "Host", "inner", "Prefer",
					 "respond-async", "ce-id", "7")),
		BASE_OK);
	assert_string_equal(line("X-Forwarded-For"), "X-Forwarded-For: 1.2.3.4, 5.6.7.8");
	assert_string_equal(line("X-Forwarded-Host"), "X-Forwarded-Host: shop");
	assert_string_equal(line("x-forwarded-proto"), "x-forwarded-proto: https");
	assert_null(line("X-Forwarded-Proto"));
	assert_null(line("Prefer"));
	assert_null(line("Pirn-Call-Id"));
	assert_string_equal(line("ce-id"), "ce-id: 7");
	assert_string_equal(line("Expect"), "Expect:");
	assert_string_equal(line("Content-Type"), "Content-Type:");
	assert_true(made.has_body);
	assert_string_equal(line("Pirn-Event-Id"), "Pirn-Event-Id: 00000000000000000000000000");
	assert_string_equal(line("traceparent"),
		"traceparent: 00-abababababababababababababababab-abababababababab-ab");
	assert_int_equal(make("POST", "/x", NULL, HEADERS("traceparent", "00-said")), BASE_OK);
	assert_string_equal(line("traceparent"), "traceparent: 00-said");
}

static void what_did_not_come_over_http(void **state)
{
	(void)state;
	run.meta_size = 0;
	run.flags = 0;
	base_arena_reset(&arena);
	assert_int_equal(wrk_http_request_make(&arena, &run, "svc", "/hook", &made), BASE_OK);
	assert_string_equal(made.method, "POST");
	assert_string_equal(made.target, "/hook");
	base_buf_reset(&run.in);
	base_buf_str(&run.in, "\xff\xff\xff no message");
	run.meta_size = run.in.size;
	assert_int_equal(
		wrk_http_request_make(&arena, &run, "svc", "/hook", &made), BASE_PROTOCOL);
}

static void a_header_in_place_of_others(void **state)
{
	unsigned n = 0;

	(void)state;
	assert_int_equal(make("POST", "/x", "/hook", HEADERS("authorization", "a", "Authorization-Not", "b", "AUTHORIZATION", "c")), BASE_OK);
	assert_int_equal(wrk_http_request_set(&arena, &made, "Authorization", "mine"), BASE_OK);
	assert_int_equal(wrk_http_request_set(&arena, &made, "User-Agent", "me"), BASE_OK);
	assert_int_equal(wrk_http_request_set(&arena, &made, "Accept", ""), BASE_OK);
	for (const struct curl_slist *at = made.headers; at; at = at->next)
		n += strncasecmp(at->data, "authorization:", 14) == 0 || strncmp(at->data, "User-Agent", 10) == 0 || strncmp(at->data, "Accept", 6) == 0;
	assert_int_equal(n, 3);
	assert_string_equal(line("Authorization:"), "Authorization: mine");
	assert_string_equal(line("Authorization-Not:"), "Authorization-Not: b");
	assert_string_equal(line("User-Agent:"), "User-Agent: me");
	assert_string_equal(line("Accept"), "Accept;");
}

static int set_up(void **state)
{
	(void)state;
	base_arena_init(&arena, 1024, (size_t)1 << 20);
	base_buf_init(&run.in);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	base_arena_fini(&arena);
	base_buf_fini(&run.in);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls),
		cmocka_unit_test(wrong_urls),
		cmocka_unit_test(targets),
		cmocka_unit_test(headers_that_go_along),
		cmocka_unit_test(of_trusted_proxies_and_events),
		cmocka_unit_test(what_did_not_come_over_http),
		cmocka_unit_test(a_header_in_place_of_others),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
