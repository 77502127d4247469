/* Losing a part, and scaling, while calls run: what callers see is what the design
 * promises. Two brokers, two workers. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/harness/fabric.h"

#define THREADS     8

static struct fabric f = { .n_brokers = 2, .n_workers = 2 };

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

static struct harness_load *load_of(const char *method, const char *target, const char *body)
{
	static struct harness_call call;

	call = (struct harness_call){
		.base = f.http, .method = method, .target = target, .body = body
	};
	return harness_load_start(&call, THREADS);
}

/* So many more calls have gone well from here on. */
static void goes_on(struct harness_load *load, uint64_t n)
{
	uint64_t before = harness_load_ok(load);

	wait_until(PATIENCE_MS, harness_load_ok(load) >= before + n);
}

static void none_failed(struct harness_load_counts counts)
{
	if (counts.failed)
		print_error("%llu of %llu failed; the first: %s\n",
			(unsigned long long)counts.failed,
			(unsigned long long)(counts.ok + counts.failed), counts.first);
	assert_int_equal(counts.failed, 0);
	assert_true(counts.ok > 0);
}

static unsigned links_of(const struct harness_process *p)
{
	return harness_log_count(p, "link_up", NULL, NULL);
}

/* The broker is started again, and everybody has found it. */
static void broker_back(unsigned i)
{
	unsigned before[] = { links_of(f.gateways[0]), links_of(f.workers[0]),
		links_of(f.workers[1]) };

	harness_again(f.brokers[i]);
	wait_until(PATIENCE_MS, links_of(f.gateways[0]) > before[0] &&
					links_of(f.workers[0]) > before[1] &&
					links_of(f.workers[1]) > before[2]);
}

static void test_a_broker_that_dies_under_idempotent_calls(void **state)
{
	struct harness_load *load = load_of("GET", "/hello", NULL);

	(void)state;
	for (unsigned i = 0; i < f.n_brokers; i++) {
		goes_on(load, 200);
		harness_kill_hard(f.brokers[i]);
		goes_on(load, 200);
		broker_back(i);
	}
	goes_on(load, 200);
	none_failed(harness_load_stop(&load));
}

static void test_a_broker_that_dies_costs_only_the_calls_in_it(void **state)
{
	struct harness_load *load = load_of("POST", "/v1/invoke/echo", "x");
	struct harness_load_counts counts;

	(void)state;
	goes_on(load, 200);
	harness_kill_hard(f.brokers[0]);
	goes_on(load, 200);
	counts = harness_load_stop(&load);
	/* A thread has one call under way: none of them can lose two. */
	assert_true(counts.failed <= THREADS);
	if (counts.failed)
		assert_int_equal(strncmp(counts.first, "502", 3), 0);
	broker_back(0);
}

static void test_a_broker_that_ends_in_order_costs_nothing(void **state)
{
	struct harness_load *load = load_of("POST", "/v1/invoke/echo", "x");

	(void)state;
	for (unsigned i = 0; i < f.n_brokers; i++) {
		goes_on(load, 200);
		harness_signal(f.brokers[i], SIGTERM);
		assert_int_equal(harness_wait(f.brokers[i], PATIENCE_MS), 0);
		goes_on(load, 200);
		broker_back(i);
	}
	none_failed(harness_load_stop(&load));
}

static void test_a_broker_that_hangs(void **state)
{
	struct harness_load *load = load_of("GET", "/hello", NULL);

	(void)state;
	goes_on(load, 200);
	harness_pause(f.brokers[1]);
	goes_on(load, 200);
	wait_until(PATIENCE_MS,
		harness_log_count(f.gateways[0], "link_down", "broker", "broker-2") > 0);
	harness_resume(f.brokers[1]);
	goes_on(load, 200);
	none_failed(harness_load_stop(&load));
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "hello") == (int)f.n_workers);
}

/* ---- workers ------------------------------------------------------------------------- */

static void wait_workers(int n)
{
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "hello") == n);
}

static void end_worker(unsigned i)
{
	harness_signal(f.workers[i], SIGTERM);
	assert_int_equal(harness_wait(f.workers[i], PATIENCE_MS), 0);
	harness_free(&f.workers[i]);
}

static void test_scaling_loses_no_call(void **state)
{
	struct harness_load *load = load_of("POST", "/v1/invoke/echo", "x");

	(void)state;
	for (unsigned i = 2; i < 6; i++)
		fabric_add_worker(&f, i);
	wait_workers(6);
	goes_on(load, 200);
	for (unsigned i = 5; i > 0; i--) {
		end_worker(i);
		goes_on(load, 50);
	}
	wait_workers(1);
	fabric_add_worker(&f, 1);
	wait_workers(2);
	goes_on(load, 200);
	end_worker(0); /* the one that had been there from the beginning */
	goes_on(load, 200);
	fabric_add_worker(&f, 0);
	wait_workers(2);
	none_failed(harness_load_stop(&load));
}

static void test_a_drained_worker_finishes_what_it_has(void **state)
{
	struct harness_load *load = load_of("POST", "/trouble/sleep/300", "");

	(void)state;
	goes_on(load, THREADS);
	for (unsigned i = 0; i < 2; i++) {
		end_worker(i);
		goes_on(load, THREADS);
		fabric_add_worker(&f, i);
		wait_workers(2);
	}
	none_failed(harness_load_stop(&load));
}

static void test_workers_killed_under_idempotent_calls(void **state)
{
	struct harness_load *load = load_of("GET", "/hello", NULL);

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		goes_on(load, 200);
		harness_kill_hard(f.workers[i]);
		goes_on(load, 200);
		harness_again(f.workers[i]);
		wait_workers(2);
	}
	none_failed(harness_load_stop(&load));
}

static void test_the_gateway_drains(void **state)
{
	struct harness_process *client;
	char url[256];

	(void)state;
	(void)snprintf(url, sizeof url, "%s/trouble/sleep/1000", f.http);
	client = harness_spawn("curl", NULL,
		(const char *const[]){
			"curl", "-sS", "-w", "|%{http_code}", "-X", "POST", url, NULL },
		NULL);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_gateway_requests_in_flight",
					"service=\"trouble\"") >= 1);
	harness_signal(f.gateways[0], SIGTERM);
	assert_int_equal(harness_wait(f.gateways[0], PATIENCE_MS), 0);
	assert_int_equal(harness_wait(client, PATIENCE_MS), 0);
	assert_true(harness_wrote(client, "{\"slept\":1000}|200"));
	harness_again(f.gateways[0]);
	wait_until(PATIENCE_MS, harness_status(f.http, NULL, "/readyz", NULL) == 200);
}

/* ---- Redis ---------------------------------------------------------------------------- */

/* A worker that had waited for Redis for too long may still be without its new connection. */
static bool counter_reads(const char *body)
{
	struct harness_answer a = harness_get(f.http, "/counter");
	bool same = a.status == 200 && strcmp(a.body, body) == 0;

	harness_answer_free(&a);
	return same;
}

/* Each broker's breaker may be open, and has to find out; calls go to the brokers in turn. */
static bool counter_is_well(void)
{
	for (int i = 0; i < 12; i++)
		if (harness_status(f.http, NULL, "/counter", NULL) != 200)
			return false;
	return true;
}

static void counter_is(const char *body)
{
	struct harness_answer a = harness_get(f.http, "/counter");

	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, body);
	harness_answer_free(&a);
}

static unsigned redis_ups(unsigned worker)
{
	return harness_log_count(f.workers[worker], "redis_up", NULL, NULL);
}

static void test_redis_gone_while_running(void **state)
{
	unsigned before[] = { redis_ups(0), redis_ups(1) };
	struct harness_answer a;

	(void)state;
	assert_int_equal(harness_status(f.http, "POST", "/counter", "{\"increment\":3}"), 200);
	counter_is("{\"counter\":3}");
	harness_redis_kill(f.redis);
	for (int i = 0; i < 5; i++) {
		a = harness_post(f.http, "/counter", "{\"increment\":1}");
		assert_int_equal(a.status, 503);
		assert_string_equal(
			harness_answer_header(&a, "content-type"), "application/problem+json");
		assert_non_null(harness_answer_header(&a, "retry-after"));
		harness_answer_free(&a);
		assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	}
	harness_redis_restart(f.redis);
	wait_until(PATIENCE_MS, redis_ups(0) > before[0] && redis_ups(1) > before[1]);
	wait_until(PATIENCE_MS, counter_is_well());
	counter_is("{\"counter\":3}"); /* nothing lost, nothing added */
	assert_int_equal(harness_status(f.http, "POST", "/counter", "{\"increment\":1}"), 200);
	counter_is("{\"counter\":4}");
	for (unsigned i = 0; i < 2; i++) {
		assert_true(harness_is_running(f.brokers[i]));
		assert_true(harness_is_running(f.workers[i]));
	}
}

static void test_redis_that_hangs(void **state)
{
	(void)state;
	harness_redis_pause(f.redis);
	assert_int_equal(harness_status(f.http, "POST", "/counter", "{\"increment\":0}") / 100, 5);
	assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	harness_redis_resume(f.redis);
	wait_until(PATIENCE_MS, counter_reads("{\"counter\":4}"));
	wait_until(PATIENCE_MS, counter_is_well());
}

/* The registry is in Redis: brokers that start anew know the services, before any worker is there. */
static void test_everything_is_killed_and_comes_back(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		harness_kill_hard(f.workers[i]);
		harness_kill_hard(f.brokers[i]);
	}
	harness_kill_hard(f.gateways[0]);
	harness_redis_kill(f.redis);
	harness_redis_restart(f.redis);
	for (unsigned i = 0; i < 2; i++)
		harness_again(f.brokers[i]);
	harness_again(f.gateways[0]);
	wait_until(PATIENCE_MS,
		harness_status(f.http, NULL, "/hello", NULL) == 503); /* known, and nobody there */
	for (unsigned i = 0; i < 2; i++)
		harness_again(f.workers[i]);
	wait_workers(2);
	wait_until(PATIENCE_MS, counter_reads("{\"counter\":4}"));
}

/* ---- starting in any order ---------------------------------------------------------------- */

static void test_without_redis_at_all(void **state)
{
	struct fabric lonely = { .no_redis = true };

	(void)state;
	fabric_start(&lonely);
	assert_int_equal(harness_status(lonely.http, NULL, "/hello", NULL), 200);
	assert_int_equal(harness_status(lonely.http, "POST", "/counter", "{\"increment\":1}"), 503);
	fabric_stop(&lonely);
}

static void test_no_broker(void **state)
{
	struct harness_answer a;

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		harness_kill_hard(f.brokers[i]);
	wait_until(PATIENCE_MS, harness_status(f.http, NULL, "/readyz", NULL) == 503);
	assert_int_equal(harness_status(f.http, NULL, "/healthz", NULL), 200);
	a = harness_get(f.http, "/hello");
	assert_int_equal(a.status, 503);
	assert_non_null(harness_answer_header(&a, "retry-after"));
	harness_answer_free(&a);
	for (unsigned i = 0; i < 2; i++)
		harness_again(f.brokers[i]);
	wait_until(PATIENCE_MS, harness_status(f.http, NULL, "/hello", NULL) == 200);
	wait_workers(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_broker_that_dies_under_idempotent_calls),
		cmocka_unit_test(test_a_broker_that_dies_costs_only_the_calls_in_it),
		cmocka_unit_test(test_a_broker_that_ends_in_order_costs_nothing),
		cmocka_unit_test(test_a_broker_that_hangs),
		cmocka_unit_test(test_scaling_loses_no_call),
		cmocka_unit_test(test_a_drained_worker_finishes_what_it_has),
		cmocka_unit_test(test_workers_killed_under_idempotent_calls),
		cmocka_unit_test(test_the_gateway_drains),
		cmocka_unit_test(test_redis_gone_while_running),
		cmocka_unit_test(test_redis_that_hangs),
		cmocka_unit_test(test_everything_is_killed_and_comes_back),
		cmocka_unit_test(test_without_redis_at_all),
		cmocka_unit_test(test_no_broker),
	};

	return harness_finish(cmocka_run_group_tests_name("faults", tests, set_up, tear_down));
}
