/* What a service sees and says, and what becomes of a call when the service
 * misbehaves: too late, too large, dead. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/fabric.h"

static struct fabric f = { .n_workers = 2 };

static int set_up(void **state)
{
	(void)state;
	fabric_start(&f);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

static void expect(struct harness_answer a, unsigned status, const char *body)
{
	if (a.status != status || (body && strcmp(a.body, body) != 0))
		print_error("expected %u %s, got %u %s %s\n", status, body ? body : "", a.status,
			a.body, a.error);
	assert_int_equal(a.status, status);
	if (body)
		assert_string_equal(a.body, body);
	harness_answer_free(&a);
}

static struct harness_answer with_header(const char *method, const char *target, const char *header)
{
	const char *headers[] = { header, NULL };

	return harness_call(&(struct harness_call){
		.base = f.http, .method = method, .target = target, .headers = headers });
}

static const char *text(const json_t *answer, const char *key)
{
	const char *value = json_string_value(json_object_get(answer, key));

	return value ? value : "(none)";
}

/* ---- what it sees ---------------------------------------------------------------------- */

static void test_a_request_arrives_as_it_was_sent(void **state)
{
	static const char *const headers[] = { "X-Test: a b", "Cookie: k=v", "X-Request-Id: req-1",
		"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", NULL };
	struct harness_answer a = harness_call(&(struct harness_call){ .base = f.http,
		.target = "/trouble/mirror/a%2Fb/c%20d?q=x%26y&z",
		.body = "12345",
		.headers = headers });
	json_t *answer = json_loadb(a.body, a.size, 0, NULL);
	const char *trace;

	(void)state;
	assert_int_equal(a.status, 200);
	assert_non_null(answer);
	assert_string_equal(text(answer, "method"), "POST");
	assert_string_equal(text(answer, "target"), "/trouble/mirror/a%2Fb/c%20d?q=x%26y&z");
	assert_string_equal(text(answer, "path"), "/trouble/mirror/a%2Fb/c%20d");
	assert_string_equal(text(answer, "query"), "x&y");
	assert_string_equal(text(answer, "header"), "a b");
	assert_string_equal(text(answer, "cookie"), "k=v");
	assert_string_equal(text(answer, "remote"), "127.0.0.1");
	assert_int_equal(json_integer_value(json_object_get(answer, "size")), 5);
	assert_int_equal(json_integer_value(json_object_get(answer, "attempt")), 1);
	assert_true(json_is_true(json_object_get(answer, "left")));
	assert_int_equal(strlen(text(answer, "id")), 26);
	trace = text(
		answer, "traceparent"); /* the client's trace goes on, with a span of its own */
	assert_int_equal(strncmp(trace, "00-4bf92f3577b34da6a3ce929d0e0e4736-", 36), 0);
	assert_int_not_equal(strncmp(trace + 36, "00f067aa0ba902b7", 16), 0);
	assert_string_equal(harness_answer_header(&a, "x-request-id"), "req-1");
	assert_string_equal(harness_answer_header(&a, "x-answer"), "new");
	assert_non_null(strstr(a.headers, "et-Cookie: a=1\r\n"));
	assert_non_null(strstr(a.headers, "et-Cookie: b=2\r\n"));
	json_decref(answer);
	harness_answer_free(&a);
}

/* Anybody may claim to be a proxy: only those that were named are believed. */
static void test_the_clients_address(void **state)
{
	struct harness_answer a =
		with_header("GET", "/trouble/mirror/x", "X-Forwarded-For: 192.0.2.7");
	json_t *answer = json_loadb(a.body, a.size, 0, NULL);
	struct harness_process *trusting;
	char url[64];

	(void)state;
	assert_string_equal(text(answer, "remote"), "127.0.0.1");
	json_decref(answer);
	harness_answer_free(&a);
	(void)snprintf(url, sizeof url, "http://127.0.0.1:%u", harness_free_port());
	trusting = harness_spawn("trusting", f.dir,
		(const char *const[]){ "pirn-gateway", "--brokers", f.brokers_list, "--http",
			url + 7, "--admin", "off", "--log", "json", "--trusted-proxies",
			"127.0.0.0/8", NULL },
		NULL);
	wait_until(PATIENCE_MS, harness_status(url, NULL, "/hello", NULL) == 200);
	a = harness_call(&(struct harness_call){ .base = url,
		.target = "/trouble/mirror/x",
		.headers = (const char *const[]){
			"X-Forwarded-For: 198.51.100.1, 192.0.2.7", NULL } });
	answer = json_loadb(a.body, a.size, 0, NULL);
	assert_string_equal(text(answer, "remote"), "192.0.2.7");
	json_decref(answer);
	harness_answer_free(&a);
	harness_free(&trusting);
}

static void test_settings_and_secrets(void **state)
{
	(void)state;
	expect(harness_get(f.http, "/trouble/settings"), 200,
		"{\"env\":\"good morning\",\"secret\":\"open sesame\",\"none\":null}");
}

static void test_keys(void **state)
{
	(void)state;
	expect(harness_get(f.http, "/trouble/key/color"), 404, NULL);
	expect(harness_call(&(struct harness_call){ .base = f.http,
		       .method = "PUT",
		       .target = "/trouble/key/color",
		       .body = "blue" }),
		204, "");
	expect(harness_get(f.http, "/trouble/key/color"), 200, "blue");
	expect(harness_call(&(struct harness_call){
		       .base = f.http, .method = "DELETE", .target = "/trouble/key/color" }),
		204, "");
	expect(harness_call(&(struct harness_call){
		       .base = f.http, .method = "DELETE", .target = "/trouble/key/color" }),
		404, NULL);
}

static void test_statuses_and_errors(void **state)
{
	(void)state;
	expect(harness_get(f.http, "/trouble/status/201"), 201, "");
	expect(harness_get(f.http, "/trouble/status/302"), 302, "");
	expect(harness_get(f.http, "/trouble/status/418"), 418, "");
	expect(harness_get(f.http, "/trouble/status/500"), 500, "");
	expect(harness_get(f.http, "/trouble/status/599"), 599, "");
	expect(harness_get(f.http, "/trouble/status/700"), 502,
		NULL); /* no status: the service broke its contract */
	expect(harness_get(f.http, "/trouble/error/1"), 500, NULL);
	expect(harness_get(f.http, "/trouble/error/2"), 400, NULL);
	expect(harness_get(f.http, "/trouble/error/3"), 404, NULL);
	expect(harness_get(f.http, "/trouble/error/8"), 503, NULL);
}

static void test_large_answers(void **state)
{
	struct harness_answer a = harness_get(f.http, "/trouble/bytes/1048576");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_int_equal(a.size, 1048576);
	harness_answer_free(&a);
	a = harness_get(f.http, "/trouble/bytes/1048577");
	assert_int_equal(a.status, 502);
	assert_string_equal(harness_answer_header(&a, "content-type"), "application/problem+json");
	harness_answer_free(&a);
	expect(harness_get(f.http, "/trouble/bytes/0"), 204, "");
}

/* ---- too late ----------------------------------------------------------------------------- */

static void test_a_deadline_that_passes(void **state)
{
	(void)state;
	expect(with_header("GET", "/trouble/sleep/3000", "Pirn-Timeout: 100ms"), 504, NULL);
	expect(with_header("POST", "/trouble/sleep/3000", "Pirn-Timeout: 100ms"), 504, NULL);
	expect(with_header("GET", "/trouble/sleep/0", "Pirn-Timeout: 10s"), 200, "{\"slept\":0}");
	expect(with_header("GET", "/trouble/sleep/0", "Pirn-Timeout: soon"), 400, NULL);
	expect(with_header("GET", "/trouble/sleep/0", "Pirn-Timeout: 0ms"), 400, NULL);
}

static void test_many_that_wait_do_not_hold_up_others(void **state)
{
	const struct harness_call slow = { .base = f.http, .target = "/trouble/sleep/200" };
	struct harness_load *load = harness_load_start(&slow, 16);
	struct harness_load_counts counts;

	(void)state;
	wait_until(PATIENCE_MS, harness_load_ok(load) > 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	counts = harness_load_stop(&load);
	assert_int_equal(counts.failed, 0);
}

/* ---- dead ------------------------------------------------------------------------------------ */

/* A request of its own thread. */
static struct harness_process *curl(const char *method, const char *target, const char *header)
{
	char url[512];
	const char *argv[] = { "curl", "-sS", "-w", "|%{http_code}", "-X", method, url,
		header ? "-H" : NULL, header, NULL };

	(void)snprintf(url, sizeof url, "%s%s", f.http, target);
	return harness_spawn("curl", NULL, argv, NULL);
}

/* The worker that has begun with the key, as soon as it is told. */
static struct harness_process *worker_with(const char *key)
{
	char target[128];
	pid_t pid = 0;

	(void)snprintf(target, sizeof target, "/trouble/who/%s", key);
	wait_until(PATIENCE_MS, harness_status(f.http, NULL, target, NULL) == 200);
	struct harness_answer a = harness_get(f.http, target);
	pid = (pid_t)atol(a.body);
	harness_answer_free(&a);
	for (unsigned i = 0; i < f.n_workers; i++)
		if (harness_pid(f.workers[i]) == pid)
			return f.workers[i];
	fail_msg("%d is no worker", (int)pid);
	return NULL;
}

static void heal(struct harness_process *worker)
{
	harness_again(worker);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "hello") == (int)f.n_workers);
}

static void test_a_worker_killed_in_mid_call(void **state)
{
	struct harness_process *client = curl("POST", "/trouble/once/post", NULL);
	struct harness_process *worker = worker_with("post");

	(void)state;
	harness_kill_hard(worker);
	assert_int_equal(harness_wait(client, PATIENCE_MS), 0);
	assert_true(harness_wrote(client, "|502"));
	heal(worker);
}

static void retried(const char *method, const char *key, const char *header)
{
	char target[128];
	struct harness_process *client;
	struct harness_process *worker;

	(void)snprintf(target, sizeof target, "/trouble/once/%s", key);
	client = curl(method, target, header);
	worker = worker_with(key);
	harness_kill_hard(worker);
	assert_int_equal(harness_wait(client, PATIENCE_MS), 0);
	assert_true(harness_wrote(client, "|200"));
	assert_true(harness_wrote(client, "{\"attempt\":2,"));
	heal(worker);
}

static void test_an_idempotent_call_is_run_elsewhere(void **state)
{
	(void)state;
	retried("GET", "get", NULL);
	retried("POST", "with-a-key", "Idempotency-Key: 7");
}

/* No connection breaks: only silence tells. */
static void test_a_worker_that_hangs(void **state)
{
	struct harness_process *client = curl("GET", "/trouble/once/hang", NULL);
	struct harness_process *worker = worker_with("hang");

	(void)state;
	harness_pause(worker);
	assert_int_equal(harness_wait(client, PATIENCE_MS), 0);
	assert_true(harness_wrote(client, "|200"));
	harness_resume(worker);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "hello") == (int)f.n_workers);
}

static void test_a_service_that_crashes(void **state)
{
	unsigned dead = 0;

	(void)state;
	expect(harness_call(&(struct harness_call){
		       .base = f.http, .method = "POST", .target = "/trouble/crash" }),
		502, NULL);
	wait_until(PATIENCE_MS,
		!harness_is_running(f.workers[0]) || !harness_is_running(f.workers[1]));
	expect(harness_get(f.http, "/hello"), 200, NULL);
	for (unsigned i = 0; i < f.n_workers; i++)
		if (!harness_is_running(f.workers[i])) {
			dead++;
			heal(f.workers[i]);
		}
	assert_int_equal(dead, 1);
}

static void test_no_worker_at_all(void **state)
{
	struct harness_answer a;

	(void)state;
	for (unsigned i = 0; i < f.n_workers; i++)
		harness_kill_hard(f.workers[i]);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "hello") == 0);
	a = harness_get(f.http, "/hello");
	assert_int_equal(a.status, 503);
	assert_non_null(harness_answer_header(&a, "retry-after"));
	assert_true(atoi(harness_answer_header(&a, "retry-after")) > 0);
	harness_answer_free(&a);
	expect(harness_get(f.http, "/nowhere"), 404, NULL); /* still known from unknown */
	harness_again(f.workers[0]);
	heal(f.workers[1]);
	expect(harness_get(f.http, "/hello"), 200, NULL);
}

static void test_figures(void **state)
{
	double before = harness_metric(f.admin, "pirn_gateway_requests_total", "service=\"hello\"");

	(void)state;
	assert_true(before > 0);
	expect(harness_get(f.http, "/hello"), 200, NULL);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_gateway_requests_total",
					"service=\"hello\"") > before);
	/* those of brokers and workers come through the brokers */
	wait_until(PATIENCE_MS, harness_metric(f.admin, "process_resident_memory_bytes",
					"instance=\"worker-1\"") > 0);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "process_resident_memory_bytes",
					"instance=\"broker-1\"") > 0);
	assert_true(harness_metric(f.admin, "process_resident_memory_bytes",
			    "instance=\"gateway-1\"") > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request_arrives_as_it_was_sent),
		cmocka_unit_test(test_the_clients_address),
		cmocka_unit_test(test_settings_and_secrets),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_statuses_and_errors),
		cmocka_unit_test(test_large_answers),
		cmocka_unit_test(test_a_deadline_that_passes),
		cmocka_unit_test(test_many_that_wait_do_not_hold_up_others),
		cmocka_unit_test(test_a_worker_killed_in_mid_call),
		cmocka_unit_test(test_an_idempotent_call_is_run_elsewhere),
		cmocka_unit_test(test_a_worker_that_hangs),
		cmocka_unit_test(test_a_service_that_crashes),
		cmocka_unit_test(test_no_worker_at_all),
		cmocka_unit_test(test_figures),
	};

	return harness_finish(cmocka_run_group_tests_name("calls", tests, set_up, tear_down));
}
