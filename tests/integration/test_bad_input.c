/* Bad input over HTTP is answered with a clear error, changes nothing, and costs
 * the other users nothing (G8). One fabric for all; after each test the counter is
 * what it was and hello answers. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/fabric.h"

#define HEAD_MS     "1500ms"

static struct fabric f = {
	.gateway_flags =
		(const char *const[]){ "--head-timeout", HEAD_MS, "--body-timeout", HEAD_MS, NULL },
};

static int set_up(void **state)
{
	(void)state;
	fabric_start(&f);
	assert_int_equal(harness_status(f.http, "POST", "/counter", "{\"increment\":7}"), 200);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

static int nobody_was_harmed(void **state)
{
	struct harness_answer a = harness_get(f.http, "/counter");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "{\"counter\":7}");
	harness_answer_free(&a);
	assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	return 0;
}

/* A problem of RFC 9457 with that status. */
static void is_problem(struct harness_answer *a, unsigned status)
{
	json_t *problem;

	if (a->status != status)
		print_error("expected %u, got %u %s %s\n", status, a->status, a->error, a->body);
	assert_int_equal(a->status, status);
	assert_non_null(harness_answer_header(a, "content-type"));
	assert_string_equal(harness_answer_header(a, "content-type"), "application/problem+json");
	problem = json_loadb(a->body, a->size, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(problem);
	assert_int_equal(json_integer_value(json_object_get(problem, "status")), status);
	assert_true(json_is_string(json_object_get(problem, "title")));
	json_decref(problem);
}

static void refused(unsigned status, const char *method, const char *target, const char *body)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	struct harness_answer a = harness_call(&(struct harness_call){ .base = f.http,
		.method = method,
		.target = target,
		.body = body,
		.headers = headers });

	is_problem(&a, status);
	harness_answer_free(&a);
}

/* ---- what the service refuses -------------------------------------------------------- */

static void test_broken_json(void **state)
{
	static const char *const bodies[] = {
		"",
		"{",
		"}",
		"{\"increment\":}",
		"{\"increment\":1",
		"[1]",
		"1",
		"null",
		"nonsense",
		"{\"increment\":1}x",
		"{\"increment\":01}",
		"\xFF\xFE",
		"{'increment':1}",
		"{\"increment\":1,}",
		"{\"increment\":1,\"increment\":2}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		refused(400, "POST", "/counter", bodies[i]);
}

static void test_wrong_types(void **state)
{
	static const char *const bodies[] = {
		"{\"increment\":\"1\"}",
		"{\"increment\":1.5}",
		"{\"increment\":1e3}",
		"{\"increment\":true}",
		"{\"increment\":null}",
		"{\"increment\":[1]}",
		"{\"increment\":{}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		refused(400, "POST", "/counter", bodies[i]);
}

static void test_an_increment_that_overflows(void **state)
{
	(void)state;
	refused(400, "POST", "/counter",
		"{\"increment\":9223372036854775807}"); /* 7 are there already */
	refused(400, "POST", "/counter", "{\"increment\":9223372036854775808}");
	refused(400, "POST", "/counter", "{\"increment\":-9223372036854775809}");
	refused(400, "POST", "/counter", "{\"increment\":99999999999999999999999999}");
}

/* ---- what the gateway refuses ---------------------------------------------------------- */

static void test_unknown_routes(void **state)
{
	(void)state;
	refused(404, NULL, "/nowhere", NULL);
	refused(404, NULL, "/", NULL);
	refused(404, NULL, "/hello/", NULL);
	refused(404, NULL, "//hello", NULL);
	refused(404, NULL, "/Hello", NULL);
	refused(404, NULL, "/hello%2F", NULL);
	refused(404, "POST", "/nowhere", "{}");
	refused(404, NULL, "/v1/nowhere", NULL);
}

static void test_unknown_services(void **state)
{
	(void)state;
	refused(404, "POST", "/v1/invoke/nobody", "{}");
	refused(404, "POST", "/v1/invoke/", "{}");
	refused(404, "POST", "/v1/invoke/UPPER", "{}");
	refused(404, "POST", "/v1/invoke/..%2Fhello", "{}");
	refused(404, "POST",
		"/v1/invoke/"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		"{}");
}

static void method_refused(const char *method, const char *target, const char *allow)
{
	struct harness_answer a = harness_call(
		&(struct harness_call){ .base = f.http, .method = method, .target = target });

	is_problem(&a, 405);
	assert_non_null(harness_answer_header(&a, "allow"));
	assert_non_null(strstr(harness_answer_header(&a, "allow"), allow));
	harness_answer_free(&a);
}

static void test_wrong_methods(void **state)
{
	(void)state;
	method_refused("DELETE", "/hello", "GET");
	method_refused("PUT", "/counter", "POST");
	method_refused("PUT", "/counter", "GET");
	method_refused("GET", "/v1/invoke/hello", "POST");
	method_refused("DELETE", "/healthz", "GET");
}

static void test_head_and_options(void **state)
{
	struct harness_answer a = harness_call(
		&(struct harness_call){ .base = f.http, .method = "HEAD", .target = "/hello" });

	(void)state;
	assert_int_equal(a.status, 200);
	assert_int_equal(a.size, 0);
	assert_string_equal(
		harness_answer_header(&a, "content-length"), "26"); /* as GET would say */
	harness_answer_free(&a);
	a = harness_call(&(struct harness_call){
		.base = f.http, .method = "OPTIONS", .target = "/counter" });
	assert_int_equal(a.status, 204);
	assert_non_null(strstr(harness_answer_header(&a, "allow"), "GET"));
	assert_non_null(strstr(harness_answer_header(&a, "allow"), "POST"));
	assert_non_null(strstr(harness_answer_header(&a, "allow"), "HEAD"));
	assert_non_null(strstr(harness_answer_header(&a, "allow"), "OPTIONS"));
	harness_answer_free(&a);
}

static void body_of(size_t size, bool chunked, unsigned status)
{
	char *body = malloc(size);
	struct harness_answer a;

	assert_non_null(body);
	memset(body, 'x', size);
	a = harness_call(&(struct harness_call){ .base = f.http,
		.target = "/v1/invoke/echo",
		.body = body,
		.size = size,
		.chunked = chunked });
	if (status == 200) {
		assert_int_equal(a.status, 200);
		assert_int_equal(a.size, size);
		assert_memory_equal(a.body, body, size);
	} else {
		is_problem(&a, status);
	}
	harness_answer_free(&a);
	free(body);
}

static void test_bodies_over_the_limit(void **state)
{
	(void)state;
	body_of(1u << 20, false, 200);
	body_of(1u << 20, true, 200);
	body_of((1u << 20) + 1, false, 413);
	body_of((1u << 20) + 1, true, 413);
	body_of(100u << 20, false, 413); /* refused before it is read */
}

static void test_headers_over_the_limit(void **state)
{
	char *header = malloc(33 * 1024);
	const char *headers[] = { header, NULL };
	struct harness_answer a;

	(void)state;
	assert_non_null(header);
	(void)snprintf(header, 33 * 1024, "X-Long: %032769d", 0);
	a = harness_call(
		&(struct harness_call){ .base = f.http, .target = "/hello", .headers = headers });
	is_problem(&a, 431);
	harness_answer_free(&a);
	(void)snprintf(header, 33 * 1024, "X-Long: %031000d", 0);
	a = harness_call(
		&(struct harness_call){ .base = f.http, .target = "/hello", .headers = headers });
	assert_int_equal(a.status, 200);
	harness_answer_free(&a);
	free(header);
}

/* A whole answer as it came; frees it. */
static void is_raw_problem(char *answer, unsigned status)
{
	char *body = strstr(answer, "\r\n\r\n");
	struct harness_answer a = { .headers = answer };

	if (!body || strncmp(answer, "HTTP/1.1 ", 9) != 0)
		fail_msg("expected %u, got \"%s\"", status, answer);
	a.status = (unsigned)strtoul(answer + 9, NULL, 10);
	a.body = body + 4;
	a.size = strlen(a.body);
	is_problem(&a, status);
	assert_non_null(harness_answer_header(&a, "x-request-id"));
	free(answer);
}

static void raw_refused(const char *request, unsigned status)
{
	char *answer = harness_raw(f.http, request);

	assert_non_null(answer);
	is_raw_problem(answer, status);
}

#define END  "Connection: close\r\n\r\n"
#define ECHO "POST /v1/invoke/echo HTTP/1.1\r\nHost: a\r\n"

static void test_lengths_that_contradict(void **state)
{
	char *answer;

	(void)state;
	raw_refused(
		ECHO "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n", 400);
	raw_refused(
		ECHO "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" END "0\r\n\r\n", 400);
	raw_refused(ECHO "Content-Length: 5\r\nContent-Length: 6\r\n" END "hello!", 400);
	raw_refused(ECHO "Content-Length: 5\r\nContent-Length: 5\r\n" END "hello", 400);
	raw_refused(ECHO "Content-Length: 5\r\n 0\r\n" END "hello", 400);
	raw_refused(ECHO "Transfer-Encoding:\r\n chunked\r\n" END "0\r\n\r\n", 400);
	answer = harness_raw(f.http, ECHO "Content-Length: 5\r\n" END "hello");
	assert_int_equal(strncmp(answer, "HTTP/1.1 200 ", 13), 0);
	free(answer);
}

static void test_what_is_no_http(void **state)
{
	(void)state;
	raw_refused("GET /hello HTTP/1.1\r\n" END, 400); /* no Host */
	raw_refused("GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n" END, 400);
	raw_refused("GET /hello HTTP/1.1\r\nHost: a\r\nno colon\r\n" END, 400);
	raw_refused("GET /hello HTTP/1.1\r\nHost : a\r\n" END, 400);
	raw_refused("GET /hello HTTP/1.1\r\nHost: a\r\nX-Long: a\r\n b\r\n" END, 400);
	raw_refused("GET /hello there HTTP/1.1\r\nHost: a\r\n" END, 400);
	raw_refused("GET /hello\r\n\r\n", 400);
	raw_refused("GET /hello FTP/1.0\r\n\r\n", 400);
	raw_refused("GET /hello HTTP/2.0\r\nHost: a\r\n" END, 505);
	raw_refused(ECHO "Content-Length: five\r\n" END, 400);
	raw_refused(ECHO "Content-Length: -5\r\n" END, 400);
	raw_refused(ECHO "Content-Length: 99999999999999999999999\r\n" END, 413);
	raw_refused(ECHO "Transfer-Encoding: chunked\r\n" END "zz\r\nab\r\n0\r\n\r\n", 400);
	raw_refused(ECHO "Transfer-Encoding: chunked\r\n" END "1\r\nabc\r\n0\r\n\r\n", 400);
	raw_refused("\x16\x03\x01\x02 \x01\xfc\x03\x03 tls hello\r\n\r\n", 400);
	raw_refused("nonsense\r\n\r\n", 400);
}

/* Head, then one letter for as long as nobody objects. */
static void endless(const char *head, unsigned status)
{
	int fd = harness_raw_connect(f.http);
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	uint64_t end = harness_wait_end(PATIENCE_MS);
	char part[1025], *answer;

	memset(part, 'a', sizeof part - 1);
	part[sizeof part - 1] = '\0';
	harness_raw_text(fd, head);
	while (poll(&wait, 1, 1) == 0 && harness_now_ms() < end)
		harness_raw_text(fd, part);
	answer = harness_raw_read(fd, PATIENCE_MS);
	assert_non_null(answer);
	is_raw_problem(answer, status);
	close(fd);
}

static void test_what_has_no_end(void **state)
{
	(void)state;
	endless("GET /", 414);
	endless("GET /hello HTTP/1.1\r\nHost: a\r\nX-Long: ", 431);
}

/* One byte at a time, slower than the limit allows in all, faster than "inactive": the connection
 * must end by a deadline, not by silence. */
static void trickle(const char *head, const char *drop)
{
	int fd = harness_raw_connect(f.http);
	uint64_t end = harness_wait_end(PATIENCE_MS);
	struct pollfd wait = { .fd = fd, .events = POLLIN };

	harness_raw_text(fd, head);
	while (poll(&wait, 1, 100) == 0) {
		if (harness_now_ms() > end)
			fail_msg("a byte each 100 ms keeps a connection open");
		harness_raw_text(fd, drop);
	}
	close(fd);
}

static void test_slow_requests_time_out(void **state)
{
	(void)state;
	trickle("GET /hello HTTP/1.1\r\nHost: a\r\nX-Slow: ", "x");
	trickle("POST /v1/invoke/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", "x");
	trickle("POST /v1/invoke/echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
		"1\r\nx\r\n");
}

static void half_sent(const char *text)
{
	int fd = harness_raw_connect(f.http);
	char *answer;

	harness_raw_text(fd, text);
	answer = harness_raw_read(fd, PATIENCE_MS);
	assert_non_null(answer); /* it was ended */
	free(answer);
	close(fd);
}

static void test_half_sent_requests_time_out(void **state)
{
	(void)state;
	half_sent("GET /hello HT");
	half_sent("GET /hello HTTP/1.1\r\nHost: a\r\n");
	half_sent("POST /v1/invoke/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
}

static void test_a_client_that_leaves_early(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++) {
		int fd = harness_raw_connect(f.http);

		harness_raw_text(fd,
			i % 2 ? "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
			      : "POST /v1/invoke/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nha");
		close(fd);
	}
}

static void test_request_ids_and_traces(void **state)
{
	static const char trace[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
	const char *headers[] = { "X-Request-Id: my-id-7", NULL };
	struct harness_answer a = harness_call(
		&(struct harness_call){ .base = f.http, .target = "/hello", .headers = headers });

	(void)state;
	(void)trace;
	assert_string_equal(harness_answer_header(&a, "x-request-id"), "my-id-7");
	harness_answer_free(&a);
	a = harness_get(f.http, "/hello");
	assert_int_equal(strlen(harness_answer_header(&a, "x-request-id")), 26);
	harness_answer_free(&a);
	headers[0] = "X-Request-Id: bad\x01id";
	a = harness_call(
		&(struct harness_call){ .base = f.http, .target = "/hello", .headers = headers });
	if (a.status == 200)
		assert_int_equal(strlen(harness_answer_header(&a, "x-request-id")), 26);
	else
		assert_int_equal(a.status, 400);
	harness_answer_free(&a);
}

static void field_is(const char *key, const char *expected)
{
	char field[1024] = "";

	assert_true(harness_log_field(f.gateways[0], "access", key, field, sizeof field));
	assert_string_equal(field, expected);
}

/* "null": it was refused before its first line was whole. */
static void stands_in_the_log(
	const char *request, const char *status, const char *method, const char *target)
{
	char *answer = harness_raw(f.http, request);
	struct harness_answer a = { .headers = answer };
	char id[64];

	assert_non_null(answer);
	if (strncmp(answer, "HTTP/1.1 ", 9) != 0 || strncmp(answer + 9, status, 3) != 0)
		fail_msg("expected %s, got \"%s\"", status, answer);
	assert_non_null(harness_answer_header(&a, "x-request-id"));
	(void)snprintf(id, sizeof id, "%s", harness_answer_header(&a, "x-request-id"));
	wait_until(PATIENCE_MS, harness_log_count(f.gateways[0], "access", "request_id", id) == 1);
	field_is("request_id", id);
	field_is("status", status);
	field_is("method", method);
	field_is("target", target);
	field_is("remote", "127.0.0.1");
	free(answer);
}

/* Whoever refused it, and however early. */
static void test_every_refusal_is_logged(void **state)
{
	static const char echo[] = "/v1/invoke/echo";
	char many[4096] = "GET /hello HTTP/1.1\r\nHost: a\r\n";

	(void)state;
	stands_in_the_log("GET /nowhere HTTP/1.1\r\nHost: a\r\n" END, "404", "GET", "/nowhere");
	stands_in_the_log("BREW /hello HTTP/1.1\r\nHost: a\r\n" END, "405", "BREW", "/hello");
	stands_in_the_log("GET /../x HTTP/1.1\r\nHost: a\r\n" END, "400", "GET", "/../x");
	stands_in_the_log("GET /hello HTTP/1.1\r\n" END, "400", "GET", "/hello");
	stands_in_the_log("GET /hello HTTP/2.0\r\nHost: a\r\n" END, "505", "GET", "/hello");
	stands_in_the_log(ECHO "Content-Length: 9999999\r\n" END, "413", "POST", echo);
	stands_in_the_log(ECHO "Transfer-Encoding: chunked\r\n" END "zz\r\n", "400", "POST", echo);
	stands_in_the_log(ECHO "Transfer-Encoding: gzip\r\n" END, "501", "POST", echo);
	stands_in_the_log(ECHO "Expect: tea\r\nContent-Length: 1\r\n" END, "417", "POST", echo);
	for (int i = 0; i < 300; i++)
		strcat(many, "X: x\r\n");
	strcat(many, END);
	stands_in_the_log(many, "431", "GET", "/hello");
	stands_in_the_log("\x16\x03\x01", "400", "null", "null");
	stands_in_the_log("GET /hello\nHost: a\n", "400", "null", "null");
	stands_in_the_log("GET /hel", "408", "null", "null");
	stands_in_the_log("GET /hello HTTP/1.1\r\nHost", "408", "GET", "/hello");
	stands_in_the_log(ECHO "Content-Length: 5\r\n\r\nhel", "408", "POST", echo);
}

static void test_flags_of_the_programs(void **state)
{
	static const char *const programs[] = { "pirn-gateway", "pirn-broker", "pirn-worker" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct harness_process *p = NULL;

		assert_int_equal(
			harness_run("flags", NULL,
				(const char *const[]){ programs[i], "--no-such-flag", NULL }, NULL,
				&p),
			2);
		assert_true(harness_wrote(p, "no-such-flag"));
		assert_int_equal(
			harness_run("flags", NULL,
				(const char *const[]){ programs[i], "--drain", "5 parsecs", NULL },
				NULL, &p),
			2);
		assert_true(harness_wrote(p, "5 parsecs"));
		assert_int_equal(harness_run("flags", NULL,
					 (const char *const[]){ programs[i], "--log", "xml", NULL },
					 NULL, &p),
			2);
		assert_int_equal(
			harness_run("flags", NULL,
				(const char *const[]){ programs[i], "--help", NULL }, NULL, &p),
			0);
		assert_true(harness_wrote(p, "--drain"));
		assert_int_equal(
			harness_run("flags", NULL,
				(const char *const[]){ programs[i], "--check", NULL }, NULL, &p),
			0);
	}
}

/* What only the program itself can judge is judged by --check too, and is a wrong option. */
static void test_checked_settings(void **state)
{
	static const char *const wrong[][4] = {
		{ "pirn-broker", "--redis", "http://there", "--redis: " },
		{ "pirn-broker", "--bind", "tcp://*:99999", "--bind: " },
		{ "pirn-worker", "--redis", "redis://:secret@there:99999", "--redis: " },
		{ "pirn-worker", "--brokers", "there:7400", "--brokers: \"there:7400\": " },
		{ "pirn-gateway", "--brokers", "tcp://there:7400,there", "--brokers: \"there\": " },
		{ "pirn", "--redis", "http://there", "--redis: " },
		{ "pirn-gateway", "--trusted-proxies", "10.0.0.0/33", "--trusted-proxies: " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		for (int check = 0; check < 2; check++) {
			bool up = strcmp(wrong[i][0], "pirn") == 0;
			const char *const argv[] = { wrong[i][0], up ? "up" : "--log-level=info",
				wrong[i][1], wrong[i][2], check ? "--check" : NULL, NULL };
			struct harness_process *p = NULL;
			assert_int_equal(harness_run("checked", NULL, argv, NULL, &p), 2);
			assert_true(harness_wrote(p, wrong[i][3]));
			assert_false(harness_wrote(p, "secret"));
		}
}

/* Told once, at its place, and the worker does not start. */
static void bad_manifest(const char *text, const char *place)
{
	char services[PATH_MAX];
	char path[PATH_MAX + 64];
	struct harness_process *p = NULL;
	FILE *file;

	harness_new_dir("bad", services, sizeof services);
	(void)snprintf(path, sizeof path, "%s/bad", services);
	assert_int_equal(mkdir(path, 0755), 0);
	(void)snprintf(path, sizeof path, "%s/bad/service.yaml", services);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_not_equal(harness_run("bad-manifest", NULL,
				     (const char *const[]){ "pirn-worker", "--brokers",
					     f.brokers_list, "--redis", f.redis_url, "--services",
					     services, "--log", "json", NULL },
				     NULL, &p),
		0);
	if (!harness_wrote(p, place))
		print_error("expected \"%s\"\n", place);
	assert_true(harness_wrote(p, place));
}

static void test_bad_manifests(void **state)
{
	(void)state;
	bad_manifest("service: bad\nhandler: bad.so\ntimeout: 5 parsecs\n",
		"service.yaml:3:10: timeout: expected a duration");
	bad_manifest("service: bad\nhandler: bad.so\ntimeuot: 5s\n", "service.yaml:3:1: ");
	bad_manifest("service: Bad\nhandler: bad.so\n", "service.yaml:1:10: ");
	bad_manifest(
		"service: bad\nhandler: bad.so\nevents:\n  - http: { method: GTE, path: /x }\n",
		"service.yaml:4:21: ");
	bad_manifest("service: bad\nservice: bad\nhandler: bad.so\n", "service.yaml:2:1: ");
	bad_manifest("service: bad\n", "service.yaml:");
	bad_manifest("service: bad\nhandler: bad.so\n", "bad.so"); /* which is not there */
}

static void test_a_port_in_use(void **state)
{
	struct harness_process *p = NULL;

	(void)state;
	assert_int_not_equal(
		harness_run("second", NULL,
			(const char *const[]){ "pirn-gateway", "--brokers", f.brokers_list,
				"--http", f.http + 7, "--admin", "127.0.0.1:0", NULL },
			NULL, &p),
		0);
	assert_true(harness_wrote(p, f.http + 7));
}

#define BAD(name) cmocka_unit_test_setup_teardown(name, NULL, nobody_was_harmed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BAD(test_broken_json),
		BAD(test_wrong_types),
		BAD(test_an_increment_that_overflows),
		BAD(test_unknown_routes),
		BAD(test_unknown_services),
		BAD(test_wrong_methods),
		BAD(test_head_and_options),
		BAD(test_bodies_over_the_limit),
		BAD(test_headers_over_the_limit),
		BAD(test_lengths_that_contradict),
		BAD(test_what_is_no_http),
		BAD(test_what_has_no_end),
		BAD(test_slow_requests_time_out),
		BAD(test_half_sent_requests_time_out),
		BAD(test_a_client_that_leaves_early),
		BAD(test_request_ids_and_traces),
		BAD(test_every_refusal_is_logged),
		BAD(test_flags_of_the_programs),
		BAD(test_checked_settings),
		BAD(test_bad_manifests),
		BAD(test_a_port_in_use),
	};

	return harness_finish(cmocka_run_group_tests_name("bad input", tests, set_up, tear_down));
}
