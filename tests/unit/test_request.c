/* What a handler sees of its request, and what becomes of its response: query,
 * worker/request.c, worker/response.c.
 */
#include "tests/unit/unit.h"

#include "base/clock.h"
#include "worker/query.h"
#include "worker/request.h"
#include "worker/request_read.h"

/* ---- query ------------------------------------------------------------------ */

struct expected {
	const char *name, *value;
};

static void reads_as(const char *query, const struct expected *expected)
{
	struct base_arena arena;
	struct pirn_pair *pairs;
	size_t n, i;

	base_arena_init(&arena, 256, 1 << 20);
	assert_int_equal(wrk_query_parse(&arena, query, strlen(query), &pairs, &n), BASE_OK);
	for (i = 0; expected[i].name; i++) {
		assert_true(i < n);
		assert_string_equal(pairs[i].name, expected[i].name);
		assert_string_equal(pairs[i].value, expected[i].value);
		assert_int_equal(pairs[i].name_size, strlen(expected[i].name));
		assert_int_equal(pairs[i].value_size, strlen(expected[i].value));
	}
	assert_int_equal(n, i);
	base_arena_fini(&arena);
}

#define READS_AS(query, ...) reads_as(query, (const struct expected[]){ __VA_ARGS__, { NULL, NULL } })
#define READS_NOTHING(query) reads_as(query, (const struct expected[]){ { NULL, NULL } })

static void query_is_cut_and_decoded(void **state)
{
	(void)state;
	READS_NOTHING("");
	READS_NOTHING("&&&");
	READS_AS("a=1", { "a", "1" });
	READS_AS("a=1&b=2&a=3", { "a", "1" }, { "b", "2" }, { "a", "3" });
	READS_AS("&a=1&&b=&c&=d&", { "a", "1" }, { "b", "" }, { "c", "" }, { "", "d" });
	READS_AS("a=b=c", { "a", "b=c" });
	READS_AS("a+b=c%20d%2B", { "a b", "c d+" });
	READS_AS("%41%5a=%c3%BC", { "AZ", "\xc3\xbc" });
	READS_AS("a=%&b=%4&c=%zz&d=%%41", { "a", "%" }, { "b", "%4" }, { "c", "%zz" }, { "d", "%A" });
	READS_AS("a=%26%3D", { "a", "&=" });
}

static void query_takes_any_bytes(void **state)
{
	struct base_arena arena;
	struct pirn_pair *pairs;
	size_t n;

	(void)state;
	base_arena_init(&arena, 256, 1 << 20);
	assert_int_equal(wrk_query_parse(&arena, "a=x%00y", 7, &pairs, &n), BASE_OK);
	assert_int_equal(pairs[0].value_size, 3);
	assert_memory_equal(pairs[0].value, "x\0y", 4);
	assert_int_equal(wrk_query_parse(&arena, "a=%4\0b", 4, &pairs, &n), BASE_OK); /* does not read on */
	assert_string_equal(pairs[0].value, "%4");
	base_arena_fini(&arena);
}

static void query_is_bounded(void **state)
{
	struct base_arena arena;
	struct pirn_pair *pairs;
	char *many = malloc(2 * 5000);
	size_t n;

	(void)state;
	for (size_t i = 0; i < 5000; i++)
		memcpy(many + 2 * i, "a&", 2);
	base_arena_init(&arena, 256, 1 << 20);
	assert_int_equal(wrk_query_parse(&arena, many, 10000, &pairs, &n), BASE_OK);
	assert_int_equal(n, WRK_QUERY_MAX);
	base_arena_fini(&arena);
	base_arena_init(&arena, 256, 256);
	assert_int_equal(wrk_query_parse(&arena, many, 10000, &pairs, &n), BASE_NOMEM);
	base_arena_fini(&arena);
	free(many);
}

/* ---- requests --------------------------------------------------------------- */

struct fixture {
	struct wrk_run run;
	struct pirn_request req;
	struct pirn_response res;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	base_buf_init(&f->run.in);
	base_buf_init(&f->run.meta);
	base_buf_init(&f->run.body);
	base_arena_init(&f->req.arena, 1024, 1 << 20);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	base_buf_fini(&f->run.in);
	base_buf_fini(&f->run.meta);
	base_buf_fini(&f->run.body);
	base_arena_fini(&f->req.arena);
	free(f);
	return 0;
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

static Pirn__Header header(const char *name, const char *value)
{
	Pirn__Header h = PIRN__HEADER__INIT;

	h.name = bytes(name);
	h.value = bytes(value);
	return h;
}

static enum base_err give(struct fixture *f, const Pirn__HttpRequest *http, const char *body)
{
	base_buf_reset(&f->run.in);
	f->run.meta_size = http ? pirn__http_request__get_packed_size(http) : 0;
	if (http)
		base_buf_grew(&f->run.in, pirn__http_request__pack(http, base_buf_room(&f->run.in, f->run.meta_size)));
	base_buf_str(&f->run.in, body);
	f->run.data_size = strlen(body);
	return wrk_request_open(&f->req, &f->run, NULL);
}

static void attributes_are_decoded(void **state)
{
	static const struct {
		const char *raw, *value;
	} rows[] = {
		{ "plain+text", "plain+text" },
		{ "Z%C3%BCrich%201%25", "Z\xc3\xbcrich 1%" },
		{ "%e2%82%ac", "\xe2\x82\xac" },
		{ "\"a \\\"b\\\" %41\"", "a \"b\" A" },
		{ "100%", "100%" },
		{ "%4", "%4" },
		{ "%zz", "%zz" },
		{ "\"", "\"" },
		{ "", "" },
		{ "a%00b", "a%00b" }, /* as they came */
		{ "%ff", "%ff" },
	};
	struct fixture *f = *state;
	Pirn__HttpRequest http = PIRN__HTTP_REQUEST__INIT;

	http.method = bytes("POST");
	http.target = bytes("/v1/events");
	http.n_headers = 2;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		Pirn__Header h[] = { header("subject", "no"), header("CE-Subject", rows[i].raw) };
		Pirn__Header *headers[] = { &h[0], &h[1] };

		http.headers = headers;
		assert_int_equal(give(f, &http, ""), BASE_OK);
		assert_string_equal(pirn_request_attribute(&f->req, "subject"), rows[i].value);
		assert_string_equal(pirn_request_attribute(&f->req, "SUBJECT"), rows[i].value);
		assert_null(pirn_request_attribute(&f->req, "type"));
		wrk_request_close(&f->req);
	}
}

static void http_request_is_told(void **state)
{
	struct fixture *f = *state;
	Pirn__HttpRequest http = PIRN__HTTP_REQUEST__INIT;
	Pirn__Header h[] = { header("Content-Type", "text/plain"), header("X-A", "1"), header("x-a", "2"), header("Empty", "") };
	Pirn__Header p[] = { header("id", "a/b"), header("rest", "c") };
	Pirn__Header *headers[] = { &h[0], &h[1], &h[2], &h[3] }, *params[] = { &p[0], &p[1] };
	struct pirn_pair pair;
	size_t size = 99;

	http.method = bytes("PUT");
	http.target = bytes("/orders/a%2Fb/c?x=1&y=a+b");
	http.n_headers = 4;
	http.headers = headers;
	http.n_params = 2;
	http.params = params;
	http.has_remote = true;
	http.remote = bytes("192.0.2.7");
	assert_int_equal(give(f, &http, "the body"), BASE_OK);
	assert_string_equal(pirn_request_method(&f->req), "PUT");
	assert_string_equal(pirn_request_target(&f->req), "/orders/a%2Fb/c?x=1&y=a+b");
	assert_string_equal(pirn_request_path(&f->req), "/orders/a%2Fb/c");
	assert_string_equal(pirn_request_query(&f->req, "y", &size), "a b");
	assert_int_equal(size, 3);
	assert_null(pirn_request_query(&f->req, "z", NULL));
	assert_string_equal(pirn_request_param(&f->req, "id", &size), "a/b");
	assert_null(pirn_request_param(&f->req, "none", NULL));
	assert_string_equal(pirn_request_header(&f->req, "content-TYPE"), "text/plain");
	assert_string_equal(pirn_request_header(&f->req, "X-A"), "1");
	assert_string_equal(pirn_request_header(&f->req, "empty"), "");
	assert_null(pirn_request_header(&f->req, "none"));
	assert_true(pirn_request_header_at(&f->req, 2, &pair));
	assert_string_equal(pair.value, "2");
	assert_false(pirn_request_header_at(&f->req, 4, &pair));
	assert_true(pirn_request_query_at(&f->req, 1, &pair));
	assert_false(pirn_request_query_at(&f->req, 2, &pair));
	assert_string_equal(pirn_request_remote(&f->req), "192.0.2.7");
	assert_string_equal(pirn_request_body(&f->req, &size), "the body");
	assert_int_equal(size, 8);
}

static void request_without_http_has_defaults(void **state)
{
	struct fixture *f = *state;
	struct pirn_pair pair;

	assert_int_equal(give(f, NULL, "x"), BASE_OK);
	assert_string_equal(pirn_request_method(&f->req), "POST");
	assert_string_equal(pirn_request_path(&f->req), "/");
	assert_string_equal(pirn_request_target(&f->req), "/");
	assert_null(pirn_request_query(&f->req, "a", NULL));
	assert_null(pirn_request_header(&f->req, "a"));
	assert_null(pirn_request_param(&f->req, "a", NULL));
	assert_false(pirn_request_param_at(&f->req, 0, &pair));
	assert_string_equal(pirn_request_remote(&f->req), "");
	assert_string_equal(pirn_request_traceparent(&f->req), "");
	assert_string_equal(pirn_request_body(&f->req, NULL), "x");
}

static void broken_meta_is_refused(void **state)
{
	struct fixture *f = *state;

	base_buf_str(&f->run.in, "this is no protobuf");
	f->run.meta_size = f->run.in.size;
	assert_int_equal(wrk_request_open(&f->req, &f->run, NULL), BASE_PROTOCOL);
}

/* What is read by straight code, and what is left to protobuf-c, which knows better. */
static void unusual_meta_is_read_too(void **state)
{
	static const char usual[] = "\x0a\x03GET\x12\x02/a\x1a\x08\x0a\x01h\x12\x03one\x2a\x06\x0a\x01p\x12\x01" "2";
	static const char unknown[] = "\x32\x01x", again[] = "\x0a\x03PUT";
	struct fixture *f = *state;
	struct base_arena *arena = &f->req.arena;
	const Pirn__HttpRequest *read = wrk_request_read(arena, (const uint8_t *)usual, sizeof usual - 1);

	assert_non_null(read);
	assert_string_equal((char *)read->target.data, "/a");
	assert_int_equal(read->n_headers + read->n_params, 2);
	assert_string_equal((char *)read->headers[0]->value.data, "one");
	assert_string_equal((char *)read->params[0]->value.data, "2");
	base_buf_add(&f->run.in, usual, sizeof usual - 1);
	base_buf_add(&f->run.in, unknown, sizeof unknown - 1);
	base_buf_add(&f->run.in, again, sizeof again - 1);
	f->run.meta_size = f->run.in.size;
	assert_null(wrk_request_read(arena, f->run.in.data, f->run.meta_size));
	assert_int_equal(wrk_request_open(&f->req, &f->run, NULL), BASE_OK);
	assert_string_equal(pirn_request_method(&f->req), "PUT");
	assert_string_equal(pirn_request_header(&f->req, "h"), "one");
	assert_null(wrk_request_read(arena, (const uint8_t *)usual, 5)); /* no target */
	assert_null(wrk_request_read(arena, (const uint8_t *)usual, 12)); /* cut */
}

static void identity_is_printed(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < WRK_TRACE_SIZE; i++)
		f->run.trace[i] = (uint8_t)(i + 1);
	f->run.has_trace = true;
	f->run.attempt = 3;
	f->run.deadline_us = base_clock_us() + UINT64_C(3600000000);
	assert_int_equal(give(f, NULL, ""), BASE_OK);
	assert_string_equal(pirn_request_id(&f->req), "00000000000000000000000000");
	assert_string_equal(pirn_request_traceparent(&f->req), "00-0102030405060708090a0b0c0d0e0f10-1112131415161718-19");
	assert_int_equal(pirn_request_attempt(&f->req), 3);
	assert_in_range(pirn_request_left_ms(&f->req), 3500000, 3600000);
	f->run.deadline_us = 1;
	assert_int_equal(pirn_request_left_ms(&f->req), 0);
}

static void scratch_is_bounded(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(give(f, NULL, ""), BASE_OK);
	assert_non_null(pirn_scratch(&f->req, 0));
	memset(pirn_scratch(&f->req, 1000), 7, 1000);
	assert_false(f->req.failed);
	assert_null(pirn_scratch(&f->req, 2 << 20));
	assert_true(f->req.failed);
}

/* ---- responses -------------------------------------------------------------- */

static struct pirn_response *respond(struct fixture *f, size_t max_bytes)
{
	assert_int_equal(give(f, NULL, ""), BASE_OK);
	wrk_response_open(&f->res, &f->req.arena, &f->run, max_bytes);
	return &f->res;
}

static Pirn__HttpResponse *sealed(struct fixture *f)
{
	Pirn__HttpResponse *out;

	assert_int_equal(wrk_response_seal(&f->res, &f->run), WRK_FAULT_NONE);
	out = pirn__http_response__unpack(NULL, f->run.meta.size, f->run.meta.data);
	assert_non_null(out);
	return out;
}

static void header_is(const Pirn__HttpResponse *r, size_t i, const char *name, const char *value)
{
	assert_true(i < r->n_headers);
	assert_int_equal(r->headers[i]->name.len, strlen(name));
	assert_memory_equal(r->headers[i]->name.data, name, strlen(name));
	assert_int_equal(r->headers[i]->value.len, strlen(value));
	assert_memory_equal(r->headers[i]->value.data, value, strlen(value));
}

static void status_has_defaults(void **state)
{
	struct fixture *f = *state;

	(void)respond(f, 100);
	pirn__http_response__free_unpacked(sealed(f), NULL);
	assert_int_equal(f->run.status, 204);
	pirn_respond_text(respond(f, 100), "x");
	pirn__http_response__free_unpacked(sealed(f), NULL);
	assert_int_equal(f->run.status, 200);
	assert_int_equal(f->run.meta.size, 0);
}

static void headers_are_set_and_added(void **state)
{
	struct fixture *f = *state;
	struct pirn_response *res = respond(f, 100);
	Pirn__HttpResponse *r;

	pirn_respond_header_add(res, "Set-Cookie", "a=1");
	pirn_respond_header(res, "X-One", "first");
	pirn_respond_header_add(res, "Set-Cookie", "b=2");
	pirn_respond_header(res, "x-one", "second");
	pirn_respond_header(res, "Content-Length", "12"); /* the gateway's */
	pirn_respond_header(res, "transfer-encoding", "chunked");
	pirn_respond_status(res, 201);
	r = sealed(f);
	assert_int_equal(r->n_headers, 3);
	header_is(r, 0, "Set-Cookie", "a=1");
	header_is(r, 1, "Set-Cookie", "b=2");
	header_is(r, 2, "x-one", "second");
	assert_int_equal(f->run.status, 201);
	pirn__http_response__free_unpacked(r, NULL);
}

static void fault_is(struct fixture *f, enum wrk_fault fault)
{
	assert_int_equal(wrk_response_seal(&f->res, &f->run), fault);
}

static void what_breaks_the_contract_is_kept(void **state)
{
	static const char *const names[] = { "", "a b", "a:", "a\r\nb", "\xc3\xbc", "a\x01" };
	static const char *const values[] = { "a\r\nSet-Cookie: b", "a\nb", "a\x01", "\x7f" };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		pirn_respond_header(respond(f, 100), names[i], "v");
		fault_is(f, WRK_FAULT_HEADER);
	}
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		pirn_respond_header(respond(f, 100), "A", values[i]);
		fault_is(f, WRK_FAULT_HEADER);
	}
	for (unsigned status = 0; status < 700; status += 10) {
		pirn_respond_status(respond(f, 100), status);
		fault_is(f, status < 200 || status > 599 ? WRK_FAULT_STATUS : WRK_FAULT_NONE);
	}
	for (int i = 0; i <= WRK_HEADERS_MAX; i++)
		pirn_respond_header_add(i == 0 ? respond(f, 100) : &f->res, "A", "b");
	fault_is(f, WRK_FAULT_HEADER);
}

static void body_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct pirn_response *res = respond(f, 10);

	pirn_respond_write(res, "12345", 5);
	pirn_respond_printf(res, "%d", 67890);
	fault_is(f, WRK_FAULT_NONE);
	assert_string_equal((char *)f->run.body.data, "1234567890");
	pirn_respond_text(res, "x");
	fault_is(f, WRK_FAULT_TOO_LARGE);
	assert_int_equal(pirn_respond_json(respond(f, 10), 200, "%s", "123456789012"), 0);
	fault_is(f, WRK_FAULT_TOO_LARGE);
	pirn_respond_reset(res);
	fault_is(f, WRK_FAULT_NONE);
}

static void problem_replaces_what_was_there(void **state)
{
	struct fixture *f = *state;
	struct pirn_response *res = respond(f, 1000);
	Pirn__HttpResponse *r;

	pirn_respond_text(res, "half an answer");
	pirn_respond_header(res, "X-A", "b");
	assert_int_equal(pirn_respond_problem(res, 409, NULL, "a \"%s\"\n", "quote"), 0);
	r = sealed(f);
	assert_int_equal(r->n_headers, 1);
	header_is(r, 0, "Content-Type", "application/problem+json");
	assert_int_equal(f->run.status, 409);
	assert_string_equal((char *)f->run.body.data,
	                    "{\"type\":\"about:blank\",\"title\":\"Conflict\",\"status\":409,\"detail\":\"a \\\"quote\\\"\\n\"}");
	pirn__http_response__free_unpacked(r, NULL);
	assert_int_equal(pirn_respond_problem(respond(f, 1000), 499, "Own", NULL), 0);
	assert_string_equal((char *)f->run.body.data, "{\"type\":\"about:blank\",\"title\":\"Own\",\"status\":499}");
}

static void json_texts_are_quoted(void **state)
{
	struct fixture *f = *state;

	(void)respond(f, 100);
	assert_string_equal(pirn_json_string(&f->req, "a\"\\\x01\n", 5), "\"a\\\"\\\\\\u0001\\n\"");
	assert_string_equal(pirn_json_string(&f->req, "\xff", 1), "\"\xef\xbf\xbd\"");
	assert_string_equal(pirn_json_string(&f->req, "", 0), "\"\"");
	assert_true(pirn_utf8_valid("\xf0\x9f\x98\x80", 4));
	assert_false(pirn_utf8_valid("\xed\xa0\x80", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(query_is_cut_and_decoded),
		cmocka_unit_test(query_takes_any_bytes),
		cmocka_unit_test(query_is_bounded),
		cmocka_unit_test_setup_teardown(http_request_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(attributes_are_decoded, setup, teardown),
		cmocka_unit_test_setup_teardown(request_without_http_has_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(broken_meta_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(unusual_meta_is_read_too, setup, teardown),
		cmocka_unit_test_setup_teardown(identity_is_printed, setup, teardown),
		cmocka_unit_test_setup_teardown(scratch_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(status_has_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(headers_are_set_and_added, setup, teardown),
		cmocka_unit_test_setup_teardown(what_breaks_the_contract_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(body_is_bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(problem_replaces_what_was_there, setup, teardown),
		cmocka_unit_test_setup_teardown(json_texts_are_quoted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
