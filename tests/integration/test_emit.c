/* What services send from their runs, on real processes: each event once, however often its sender ran and
 * whoever died meanwhile; and a service that feeds itself comes to an end. In calls: the answer comes when it is
 * stored, and what becomes of it without Redis. The services `sender` and `taker`.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/fabric.h"

#define SENDERS 40
#define EACH    10

static struct fabric f = { .n_brokers = 2, .n_workers = 2 };

static int set_up(void **state)
{
	(void)state;
	fabric_start(&f);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "sender") == 2);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "taker") == 2);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

/* A broker that is about to go may not take it: then it is sent again. */
static void send(const char *body)
{
	const char *const headers[] = { "Prefer: respond-async", "Content-Type: text/plain", NULL };
	const struct harness_call call = { .base = f.http,
		.method = "POST",
		.target = "/v1/invoke/sender",
		.body = body,
		.headers = headers };
	struct harness_answer a = harness_call(&call);

	if (a.status != 202)
		print_error("%u %s %s\n", a.status, a.body, a.error);
	assert_int_equal(a.status, 202);
	harness_answer_free(&a);
}

static uint64_t count(const char *command)
{
	char *said = harness_redis_command(f.redis, "%s", command);
	uint64_t n = strtoull(said, NULL, 10);

	free(said);
	return n;
}

static uint64_t taken(void)
{
	return count("HLEN pirn:{0}:state:taker:taken");
}

static void each_once(size_t wanted)
{
	char *said = harness_redis_command(f.redis, "HVALS pirn:{0}:state:taker:taken");
	char *save = NULL;
	size_t n = 0;

	for (const char *c = strtok_r(said, "\n", &save); c; c = strtok_r(NULL, "\n", &save), n++)
		assert_string_equal(c, "1");
	assert_int_equal(n, wanted);
	free(said);
}

static uint64_t journals(void)
{
	return (uint64_t)(harness_metric(f.admin, "pirn_broker_events_ready", NULL) +
			  harness_metric(f.admin, "pirn_broker_events_running", NULL) +
			  harness_metric(f.admin, "pirn_broker_events_waiting", NULL) +
			  harness_metric(f.admin, "pirn_broker_events_ending", NULL));
}

/* Runs that fail once when they have sent, and a broker and a worker that die in the middle. */
static void test_once(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SENDERS; i++)
		send(i % 2 ? "n=10 fail=1" : "n=10");
	wait_until(PATIENCE_MS, taken() > SENDERS * EACH / 8);
	harness_kill_hard(f.brokers[0]);
	harness_kill_hard(f.workers[0]);
	harness_again(f.brokers[0]);
	harness_again(f.workers[0]);
	wait_until(PATIENCE_MS, taken() == SENDERS * EACH);
	wait_until(PATIENCE_MS, journals() == 0);
	each_once(SENDERS * EACH);
}

static void test_a_circle_ends(void **state)
{
	struct harness_answer a;
	json_t *d;
	const json_t *letters;

	(void)state;
	send("loop");
	wait_until(PATIENCE_MS, count("HLEN pirn:{0}:dead:sender") == 1);
	a = harness_get(f.admin, "/v1/dead/sender");
	d = json_loadb(a.body, a.size, 0, NULL);
	letters = json_object_get(d, "letters");
	assert_int_equal(json_array_size(letters), 1);
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(letters, 0), "reason")), "hops");
	json_decref(d);
	harness_answer_free(&a);
	assert_int_equal(count("GET pirn:{0}:state:sender:loops"), 17); /* the first, and 16 hops */
}

/* ---- calls -------------------------------------------------------------------- */

static struct harness_answer call(const char *body, const char *key, const char *timeout)
{
	char key_line[64], timeout_line[64];
	const char *headers[] = { "Content-Type: text/plain", timeout_line, key ? key_line : NULL, NULL };
	const struct harness_call call = { .base = f.http,
		.method = "POST",
		.target = "/v1/invoke/sender",
		.body = body,
		.headers = headers };

	snprintf(key_line, sizeof key_line, "Idempotency-Key: \"%s\"", key ? key : "");
	snprintf(timeout_line, sizeof timeout_line, "Pirn-Timeout: %s", timeout);
	return harness_call(&call);
}

static unsigned status_of(const char *body, const char *key, const char *timeout)
{
	struct harness_answer a = call(body, key, timeout);
	unsigned status = a.status;

	harness_answer_free(&a);
	return status;
}

/* 503 says when to come again, and why. */
static void is_answered(const char *body, const char *timeout, unsigned status, const char *why)
{
	struct harness_answer a = call(body, NULL, timeout);

	if (a.status != status || !strstr(a.body, why))
		print_error("%u %s %s\n", a.status, a.body, a.error);
	assert_int_equal(a.status, status);
	assert_non_null(strstr(a.body, why));
	assert_int_equal(harness_answer_header(&a, "Retry-After") != NULL, status == 503);
	harness_answer_free(&a);
}

static uint64_t sending(void)
{
	return (uint64_t)harness_metric(f.admin, "pirn_broker_sending", NULL);
}

static void test_a_call_sends(void **state)
{
	uint64_t before = taken();

	(void)state;
	is_answered("n=10", "10s", 200, "\"sent\":10");
	is_answered("n=10 fail=1", "10s", 500, "");
	is_answered("to=nobody-has-this-name", "10s", 502, "The service ran");
	assert_true(harness_log_count(f.brokers[0], "sent_refused", "service", "sender") +
			    harness_log_count(f.brokers[1], "sent_refused", "service", "sender") ==
		    1);
	wait_until(PATIENCE_MS, taken() == before + EACH);
	wait_until(PATIENCE_MS, journals() == 0);
	each_once(before + EACH);
}

/* Nothing is sent, and that is nobody's failure: when Redis is back, so is the service. (Until its brokers have
 * found out, they say 503, and send nothing either.) */
static void test_a_call_without_redis(void **state)
{
	uint64_t before = taken();

	(void)state;
	harness_redis_kill(f.redis);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_store_up", NULL) == 0);
	for (int i = 0; i < 25; i++)
		is_answered("n=10", "5s", 503, "The service ran");
	is_answered("n=0", "5s", 200, "\"sent\":0");
	harness_redis_restart(f.redis);
	wait_until(PATIENCE_MS, status_of("n=10", NULL, "10s") == 200);
	wait_until(PATIENCE_MS, taken() == before + EACH);
	wait_until(PATIENCE_MS, journals() == 0);
	each_once(before + EACH);
	assert_int_equal(sending(), 0);
}

static void *call_in_thread(void *answer)
{
	*(struct harness_answer *)answer = call("n=10", NULL, "25s");
	return NULL;
}

/* Redis does not say: the caller hears that in time; it is all there, or nothing is. */
static void test_silent_redis(void **state)
{
	uint64_t before = taken(), after;

	(void)state;
	harness_redis_pause(f.redis);
	is_answered("n=10", "1500ms", 503, "not known whether");
	harness_redis_resume(f.redis);
	wait_until(PATIENCE_MS, sending() == 0);
	send("n=1"); /* it is taken behind the others */
	wait_until(PATIENCE_MS, taken() == before + 1 || taken() == before + 1 + EACH);
	wait_until(PATIENCE_MS, journals() == 0);
	after = taken();
	assert_true(after == before + 1 || after == before + 1 + EACH);
	each_once(after);
}

/* A broker that is told to go waits for Redis. */
static void test_drain(void **state)
{
	uint64_t before = taken();
	struct harness_answer answer;
	pthread_t thread;

	(void)state;
	harness_redis_pause(f.redis);
	assert_int_equal(pthread_create(&thread, NULL, call_in_thread, &answer), 0);
	wait_until(PATIENCE_MS, sending() == 1);
	harness_signal(f.brokers[0], SIGTERM);
	harness_signal(f.brokers[1], SIGTERM);
	wait_until(PATIENCE_MS, harness_logged(f.brokers[0], "drain_started") &&
					harness_logged(f.brokers[1], "drain_started"));
	harness_redis_resume(f.redis);
	assert_int_equal(pthread_join(thread, NULL), 0);
	if (answer.status != 200)
		print_error("%u %s %s\n", answer.status, answer.body, answer.error);
	assert_int_equal(answer.status, 200);
	harness_answer_free(&answer);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(harness_wait(f.brokers[i], PATIENCE_MS), 0);
		harness_again(f.brokers[i]);
	}
	wait_until(PATIENCE_MS, taken() == before + EACH);
	wait_until(PATIENCE_MS, journals() == 0);
	each_once(before + EACH);
}

/* ---- under keys, while everything dies --------------------------------------------- */

#define CALLERS 4
#define KEYS    25

static _Atomic(unsigned) n_answered;

/* Until it is answered: whatever was heard before, each event is there once. */
static void *call_with_keys(void *arg)
{
	char key[64];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof key, "caller %u, key %u", *(unsigned *)arg, i);
		wait_until(PATIENCE_MS, status_of("n=10", key, "2s") == 200);
		n_answered++;
	}
	return NULL;
}

static void test_once_under_a_key(void **state)
{
	uint64_t before = taken();
	pthread_t threads[CALLERS];
	unsigned numbers[CALLERS];

	(void)state;
	for (unsigned i = 0; i < CALLERS; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, call_with_keys, &numbers[i]), 0);
	}
	wait_until(PATIENCE_MS, n_answered > CALLERS * KEYS / 5);
	harness_kill_hard(f.brokers[0]);
	harness_kill_hard(f.workers[0]);
	harness_again(f.brokers[0]);
	harness_again(f.workers[0]);
	wait_until(PATIENCE_MS, n_answered > CALLERS * KEYS / 2);
	harness_redis_kill(f.redis);
	harness_redis_restart(f.redis);
	harness_kill_hard(f.brokers[1]);
	harness_again(f.brokers[1]);
	for (unsigned i = 0; i < CALLERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	wait_until(PATIENCE_MS, taken() == before + CALLERS * KEYS * EACH);
	wait_until(PATIENCE_MS, journals() == 0);
	each_once(before + CALLERS * KEYS * EACH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_a_circle_ends),
		cmocka_unit_test(test_a_call_sends),
		cmocka_unit_test(test_a_call_without_redis),
		cmocka_unit_test(test_silent_redis),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_once_under_a_key),
	};

	return harness_finish(cmocka_run_group_tests(tests, set_up, tear_down));
}
