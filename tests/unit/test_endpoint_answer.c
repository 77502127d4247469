/* worker/http_answer.c: answers of endpoints from their bytes, whichever pieces these come in. */
#include "tests/unit/unit.h"

#include <time.h>

#include "worker/http_answer.h"

#define MOST 64u

static struct base_arena arena;
static struct wrk_answer answer;
static struct wrk_run run;

static int set_up(void **state)
{
	(void)state;
	base_arena_init(&arena, 256, (size_t)1 << 20);
	wrk_answer_init(&answer);
	base_buf_init(&run.meta);
	base_buf_init(&run.body);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	wrk_answer_fini(&answer);
	base_buf_fini(&run.meta);
	base_buf_fini(&run.body);
	base_arena_fini(&arena);
	return 0;
}

static void begin(bool to_head)
{
	base_arena_reset(&arena);
	wrk_answer_open(&answer, &arena, &run, MOST, to_head);
}

/* In pieces of so many bytes; then, if it is not whole, the connection ends. */
static void read_all(const char *text, size_t size, size_t piece)
{
	bool more = true;

	for (size_t at = 0; more && at < size; at += piece)
		more = wrk_answer_take(&answer, text + at, size - at < piece ? size - at : piece);
	if (more)
		wrk_answer_cut(&answer);
}

/* ---- sound ones -------------------------------------------------------------------------- */

#define NO_HEADER "", ""

static void answers(void **state)
{
	static const struct {
		const char *text;
		unsigned status;
		const char *body, *name, *value; /* of one of its headers */
		bool to_head, keeps;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: \t b c \r\n\r\nhello", 200, "hello",
			"X-A", "b c", false, true },
		{ "HTTP/1.1 200\nContent-Length: 2\nX-A:\n\nok", 200, "ok", "X-A", "", false, true },
		{ "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, "", NO_HEADER, false, true },
		{ "HTTP/1.1 204 \r\n\r\n", 204, "", NO_HEADER, false, true },
		{ "HTTP/1.1 304 x\r\nContent-Length: 7\r\nETag: \"1\"\r\n\r\n", 304, "", "etag", "\"1\"",
			false, true },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", 200, "", NO_HEADER, true, true },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", NO_HEADER, true, true },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0b ; a=b\r\n, my "
		  "world \r\n0\r\nX-T: 1\r\nContent-Length: 3\r\n\r\n",
			200, "hello, my world ", NO_HEADER, false, true },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\n\n0000\n\n", 200, "", NO_HEADER, false, true },
		{ "HTTP/1.1 200 OK\r\n\r\nto the end", 200, "to the end", NO_HEADER, false, false },
		{ "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", NO_HEADER, false, false },
		{ "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nok", 200, "ok",
			"Connection", NULL, false, false },
		{ "HTTP/1.1 200 OK\r\nConnection: x-a ,closed\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok", 200,
			"ok", "X-A", NULL, false, true },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", 200, "ok", NO_HEADER, false, false },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, "ok",
			"Content-Length", NULL, false, true },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
			200, "x", NO_HEADER, false, false },
		{ "HTTP/1.1 100 Go on\r\nX-A: 1\r\nConnection: close\r\n\r\nHTTP/1.1 103 Early\r\n\r\n"
		  "HTTP/1.1 201 Made\r\nContent-Length: 1\r\n\r\nx",
			201, "x", "X-A", NULL, false, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t piece = 1; piece <= strlen(rows[i].text); piece++) {
			const char *value;

			begin(rows[i].to_head);
			read_all(rows[i].text, strlen(rows[i].text), piece);
			if (answer.end != WRK_HTTP_OK || answer.part != WRK_ANSWER_WHOLE)
				fail_msg("%s, by %zu: end %u", rows[i].text, piece, answer.end);
			assert_int_equal(wrk_answer_seal(&answer, &run), WRK_HTTP_OK);
			assert_int_equal(run.status, rows[i].status);
			assert_string_equal((const char *)run.body.data, rows[i].body);
			value = wrk_response_header(&answer.res, rows[i].name);
			if (rows[i].value && *rows[i].name)
				assert_string_equal(value, rows[i].value);
			else
				assert_null(value);
			/* What comes behind it may not have come yet. */
			if (strstr(rows[i].text, "ok!") == NULL || piece == strlen(rows[i].text))
				assert_int_equal(answer.keeps, rows[i].keeps);
		}
}

/* ---- others ---------------------------------------------------------------------------------- */

#define OK "HTTP/1.1 200 OK\r\n"
#define CHUNKS OK "Transfer-Encoding: chunked\r\n\r\n"
#define BYTES(text) text, sizeof(text) - 1

static void what_is_wrong(void **state)
{
	static const struct {
		const char *text;
		size_t size;
		enum wrk_http_end end;
	} rows[] = {
		{ BYTES(""), WRK_HTTP_CUT },
		{ BYTES("HTTP/1.1 200 OK"), WRK_HTTP_CUT },
		{ BYTES(OK "Content-Length: 5\r\n\r\nhell"), WRK_HTTP_CUT },
		{ BYTES(CHUNKS "5\r\nhello\r\n"), WRK_HTTP_CUT },
		{ BYTES(CHUNKS "5\r\nhello\r\n0\r\nX-T: 1\r\n"), WRK_HTTP_CUT },
		{ BYTES("hello\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES("\r\n" OK "\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES("HTTP/2 200 OK\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES("HTTP/1.1  200 OK\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES("HTTP/1.1 20 OK\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES("HTTP/1.1 2000\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES("HTTP/1.1 999 Odd\r\n\r\n"), WRK_HTTP_STATUS },
		{ BYTES("HTTP/1.1 101 Switch\r\n\r\n"), WRK_HTTP_STATUS },
		{ BYTES(OK "X-A: b\r\n c\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "X-A: b\r\n c: d\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "X-A : b\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK ": b\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "what?\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "X-A: b\0c\r\n\r\n"), WRK_HTTP_HEAD },
		{ BYTES(OK "X-A: b\rc\r\n\r\n"), WRK_HTTP_HEAD },
		{ BYTES(OK "X A: b\r\n\r\n"), WRK_HTTP_HEAD },
		{ BYTES(OK "Content-Length: five\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "Content-Length: -5\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "Content-Length: \r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "Content-Length: 5, 5\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "Content-Length: 99999999999999999999\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "Transfer-Encoding: gzip, chunked\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
			WRK_HTTP_GARBAGE },
		{ BYTES(CHUNKS "x\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(CHUNKS "\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(CHUNKS "5 hello\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(CHUNKS "0x5\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(CHUNKS "2\r\nhello\r\n0\r\n\r\n"), WRK_HTTP_GARBAGE },
		{ BYTES(OK "Content-Length: 65\r\n\r\n"), WRK_HTTP_TOO_LARGE },
		{ BYTES(CHUNKS "41\r\n"), WRK_HTTP_TOO_LARGE },
		{ BYTES(CHUNKS "fffffffffffffffff\r\n"), WRK_HTTP_TOO_LARGE },
		{ BYTES(CHUNKS "40\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n1\r\nx"),
			WRK_HTTP_TOO_LARGE },
		{ BYTES(OK "\r\n0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdefx"),
			WRK_HTTP_TOO_LARGE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t piece = 1; piece <= rows[i].size + 1; piece++) {
			begin(false);
			read_all(rows[i].text, rows[i].size, piece);
			if (answer.end != rows[i].end)
				fail_msg("%s, by %zu: end %u", rows[i].text, piece, answer.end);
			assert_false(answer.keeps && answer.part == WRK_ANSWER_WHOLE);
			assert_int_equal(wrk_answer_seal(&answer, &run), rows[i].end);
		}
}

/* ---- bounds --------------------------------------------------------------------------------------- */

static bool take(const char *text)
{
	return wrk_answer_take(&answer, text, strlen(text));
}

/* first, then the same again and again: how many bytes it took to be refused. */
static size_t refused_after(const char *first, const char *again, enum wrk_http_end end)
{
	size_t bytes = strlen(first);

	begin(false);
	assert_true(take(first));
	while (take(again) && bytes < 4 * WRK_ANSWER_HEAD_MAX)
		bytes += strlen(again);
	assert_int_equal(answer.end, end);
	return bytes;
}

static void heads_are_bounded(void **state)
{
	(void)state;
	/* Lines of chunks do not count. */
	assert_true(refused_after(OK, "x", WRK_HTTP_HEAD) <= WRK_ANSWER_HEAD_MAX);
	assert_true(refused_after(OK, "X-A: 1\r\n", WRK_HTTP_HEAD) <= WRK_ANSWER_HEAD_MAX);
	assert_true(refused_after("HTTP/1.1 103 Early\r\n\r\n", "HTTP/1.1 103 Early\r\nX: y\r\n\r\n",
			    WRK_HTTP_HEAD) <= WRK_ANSWER_HEAD_MAX);
	assert_true(refused_after(CHUNKS "0\r\n", "X-T: 1\r\n", WRK_HTTP_HEAD) <= WRK_ANSWER_HEAD_MAX + 3);
	assert_true(refused_after(CHUNKS "1;", "x", WRK_HTTP_GARBAGE) <= WRK_ANSWER_HEAD_MAX);
}

/* A body of many chunks is no head, however many lines they have. */
static void chunks_are_no_head(void **state)
{
	(void)state;
	begin(false);
	answer.res.max_bytes = WRK_ANSWER_HEAD_MAX;
	assert_true(take(CHUNKS));
	for (size_t i = 0; i < WRK_ANSWER_HEAD_MAX / 4; i++)
		assert_true(take("1;and more\r\nx\r\n"));
	assert_false(take("0\r\n\r\n"));
	assert_int_equal(answer.end, WRK_HTTP_OK);
	assert_int_equal(run.body.size, WRK_ANSWER_HEAD_MAX / 4);
}

/* ---- Retry-After ------------------------------------------------------------------------------------- */

static uint32_t retry_after(const char *value)
{
	begin(false);
	assert_true(take("HTTP/1.1 503 Busy\r\nRetry-After: "));
	assert_true(take(value));
	assert_false(take("\r\nContent-Length: 0\r\n\r\n"));
	return wrk_answer_retry_after_ms(&answer);
}

static void when_to_come_again(void **state)
{
	time_t then = time(NULL) + 1000;
	char date[64];
	uint32_t ms;

	(void)state;
	assert_int_equal(retry_after("7"), 7000);
	assert_int_equal(retry_after("0"), 0);
	assert_int_equal(retry_after("99999999999999999999999"), 86400000);
	assert_int_equal(retry_after("soon"), 0);
	assert_int_equal(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), 0);
	assert_int_equal(retry_after("Fri, 31 Dec 2100 23:59:59 GMT"), 86400000);
	assert_true(strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&then)) > 0);
	ms = retry_after(date);
	assert_true(ms > 0 && ms <= 1000000);
	begin(false);
	assert_false(take("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"));
	assert_int_equal(wrk_answer_retry_after_ms(&answer), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers),
		cmocka_unit_test(what_is_wrong),
		cmocka_unit_test(heads_are_bounded),
		cmocka_unit_test(chunks_are_no_head),
		cmocka_unit_test(when_to_come_again),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
