/* What services send from their runs, on real processes: each event once, however often its sender ran and
 * whoever died meanwhile; and a service that feeds itself comes to an end. The services `sender` and `taker`.
 */
#include <setjmp.h>
#include <stdarg.h>
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

static void each_once(void)
{
	char *said = harness_redis_command(f.redis, "HVALS pirn:{0}:state:taker:taken");
	char *save = NULL;
	size_t n = 0;

	for (const char *c = strtok_r(said, "\n", &save); c; c = strtok_r(NULL, "\n", &save), n++)
		assert_string_equal(c, "1");
	assert_int_equal(n, SENDERS * EACH);
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
	each_once();
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_once),
		cmocka_unit_test(test_a_circle_ends),
	};

	return harness_finish(cmocka_run_group_tests(tests, set_up, tear_down));
}
