/* Thousands of peers that come back at once. 200 worker links and 5,000 client links, the
 * most impatient there are (swarm.h), at one of two brokers: they come, the broker is
 * killed and comes back, their connections are cut. Each time all of them are welcome
 * again and each one's call is answered; the other broker's clients notice nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "tests/fault/memory.h"
#include "tests/fault/swarm.h"

#define CLIENTS     5000u
#define WORKERS     200u
#define FILES       (CLIENTS + WORKERS + 500) /* that this process needs; the broker needs no more */
#define BROKER_KB   (400u * 1024) /* 5,200 connections, of which libzmq buffers some 30 KiB each */
#define FEW         60u

static struct fabric f;
static struct swarm *swarm;
static struct memory *memory;
static struct harness_load *load;

static int tear_down(void **state)
{
	(void)state;
	if (load)
		(void)harness_load_stop(&load);
	swarm_stop(&swarm);
	(void)memory_stop(&memory);
	fabric_stop(&f);
	return 0;
}

/* False: this machine does not let a process have so many. */
static bool has_files(rlim_t n)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return false;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max >= n;
}

static void goes_on(uint64_t n)
{
	uint64_t before = harness_load_ok(load);

	wait_until(PATIENCE_MS, harness_load_ok(load) >= before + n);
}

/* Calls through the gateway, which has both brokers. They are patient: how long the one that is
 * stormed takes is the machine's affair, that it answers is ours. */
static void start_load(void)
{
	static const char *const patient[] = { "Pirn-Timeout: 60s", NULL };
	static struct harness_call call;

	call = (struct harness_call){ .base = f.http, .target = "/hello", .headers = patient,
		.timeout_ms = PATIENCE_MS };
	load = harness_load_start(&call, 4);
	goes_on(20);
}

static void none_failed(void)
{
	struct harness_load_counts counts = harness_load_stop(&load);

	if (counts.failed)
		print_error("%llu failed; the first: %s\n", (unsigned long long)counts.failed,
			counts.first);
	assert_int_equal(counts.failed, 0);
}

/* All are there, and have been welcomed so often; then each client's call is answered. */
static void all_are_served(uint64_t welcomes)
{
	uint64_t called = swarm_called(swarm);
	uint64_t failed = swarm_failed(swarm);

	wait_until(PATIENCE_MS,
		swarm_welcomes(swarm) >= welcomes && swarm_welcome(swarm) == CLIENTS + WORKERS);
	swarm_call(swarm);
	wait_until(PATIENCE_MS, swarm_called(swarm) >= called + CLIENTS);
	wait_until(
		PATIENCE_MS, swarm_answered(swarm) + swarm_failed(swarm) + swarm_cut_off(swarm) >=
				     swarm_called(swarm));
	assert_int_equal(swarm_failed(swarm), failed);
	assert_int_equal(swarm_cut_off(swarm), 0);
	goes_on(20);
}

static void start_storm(void)
{
	f = (struct fabric){ .tcp = true, .n_brokers = 2 };
	fabric_start(&f);
	memory = memory_start(&f);
	start_load();
	swarm = swarm_start(f.endpoints[0], CLIENTS, WORKERS);
}

static double first_broker(const char *metric)
{
	return harness_metric(f.admin, metric, "broker-1");
}

static void test_all_come_back_at_once(void **state)
{
	struct memory_peaks peaks;
	uint64_t welcomes;

	(void)state;
	if (!has_files(FILES))
		skip();
	start_storm();
	all_are_served(CLIENTS + WORKERS);
	assert_true(first_broker("pirn_broker_clients") >= CLIENTS);
	assert_true(first_broker("pirn_broker_workers") >= WORKERS);

	welcomes = swarm_welcomes(swarm);
	harness_kill_hard(f.brokers[0]);
	harness_again(f.brokers[0]);
	all_are_served(welcomes + CLIENTS + WORKERS);

	welcomes = swarm_welcomes(swarm);
	swarm_cut(swarm);
	all_are_served(welcomes + CLIENTS + WORKERS);

	assert_true(harness_is_running(f.brokers[0]) && harness_is_running(f.brokers[1]));
	assert_int_equal(swarm_turned_away(swarm), 0);
	none_failed();
	peaks = memory_stop(&memory);
	print_message("PSS at most: broker %llu KB\n", (unsigned long long)peaks.broker_kb);
	assert_true(peaks.broker_kb > 0 && peaks.broker_kb < BROKER_KB);
}

/* A broker that has all the peers it may have says so to the next, and serves those it has. */
static void test_too_many(void **state)
{
	static const char *const flags[] = { "--max-peers", "20", "--log-level", "error", NULL };

	(void)state;
	f = (struct fabric){ .tcp = true, .broker_flags = flags };
	fabric_start(&f);
	start_load();
	swarm = swarm_start(f.endpoints[0], FEW, 1);
	wait_until(PATIENCE_MS, swarm_turned_away(swarm) > 2 * FEW);
	wait_until(PATIENCE_MS, swarm_welcome(swarm) > 10);
	assert_true(
		swarm_welcome(swarm) <= 20 - 2); /* the gateway and the worker were there before */
	assert_true(first_broker("pirn_broker_peers_refused_total") > 0);
	goes_on(20);
	swarm_stop(&swarm);
	goes_on(20);
	none_failed();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_all_come_back_at_once, tear_down),
		cmocka_unit_test_teardown(test_too_many, tear_down),
	};

	return harness_main("storm", tests);
}
