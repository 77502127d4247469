/* SIGSTOP past the lease, then SIGCONT: the zombie that wakes changes nothing any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fault/scene.h"

#define FLOW        100
#define SLEEP_MS    300  /* between the two operations: some run is always half done */
#define LEASE_MS    5000 /* 3 s, the time of a run (1 s), 1 s: nobody's lease is longer */
#define ERR_TIMEOUT 10   /* PIRN_ERR_TIMEOUT: the worker itself sees that the time is over */
#define ERR_LEASE   13   /* PIRN_ERR_LEASE: Redis does */

static int tear_down(void **state)
{
	scene_abort(*state);
	return 0;
}

static void long_runs(unsigned serial, char *out, size_t room)
{
	(void)snprintf(out, room, "e%u sleep=%u fail=%d", serial, SLEEP_MS, serial % 10 == 3);
}

/* Runs that ended so. */
static unsigned ended_with(const struct scene *s, int err)
{
	size_t n;
	struct run *runs = effects_runs(s->runs, &n);
	unsigned count = 0;

	for (size_t i = 0; i < n; i++)
		count += runs[i].what == '-' && runs[i].err == err;
	free(runs);
	return count;
}

/* Runs that have begun in a process and not ended; and those of them whose event has begun again elsewhere. */
struct halves {
	unsigned open, overtaken;
};

static bool begins_later(const struct run *runs, size_t n, size_t i)
{
	for (size_t j = i + 1; j < n; j++)
		if (runs[j].what == '+' && strcmp(runs[j].name, runs[i].name) == 0)
			return true;
	return false;
}

static bool ends_later(const struct run *runs, size_t n, size_t i)
{
	for (size_t j = i + 1; j < n; j++)
		if (runs[j].what == '-' && runs[j].pid == runs[i].pid &&
			runs[j].attempt == runs[i].attempt &&
			strcmp(runs[j].name, runs[i].name) == 0)
			return true;
	return false;
}

static struct halves halves_of(const struct scene *s, pid_t pid)
{
	size_t n;
	struct run *runs = effects_runs(s->runs, &n);
	struct halves h = { 0 };

	for (size_t i = 0; i < n; i++) {
		if (runs[i].what != '+' || runs[i].pid != pid || ends_later(runs, n, i))
			continue;
		h.open++;
		h.overtaken += begins_later(runs, n, i);
	}
	free(runs);
	return h;
}

static bool all_overtaken(const struct scene *s, pid_t pid)
{
	struct halves h = halves_of(s, pid);

	return h.open > 0 && h.open == h.overtaken;
}

static void test_a_worker(void **state)
{
	static struct scene s = { .name = "SIGSTOP a worker past the lease, SIGCONT",
		.per_second = 60,
		.body = long_runs };

	*state = &s;
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		struct harness_process *victim = s.f.workers[i % 2];
		pid_t pid = harness_pid(victim);
		const int err = i % 2 ? ERR_TIMEOUT : ERR_LEASE;
		unsigned before = ended_with(&s, err);

		scene_flow(&s, FLOW);
		wait_until(SCENE_MS, halves_of(&s, pid).open > 0);
		scene_fault(&s);
		harness_pause(victim);
		wait_until(SCENE_MS, all_overtaken(&s, pid));
		/* In turn: its time goes on, yet a later run has begun; all has ended, and its time is over. */
		if (i % 2) {
			scene_drain(&s);
			wait_until(SCENE_MS, harness_now_ms() > s.fault_at + LEASE_MS);
		}
		harness_resume(victim);
		wait_until(SCENE_MS, ended_with(&s, err) > before);
		scene_resume(&s);
		scene_recovered(&s);
		wait_until(SCENE_MS, fabric_workers_of(&s.f, EFFECTS_SERVICE) == 2);
	}
	scene_end(&s);
	assert_true(s.verdict.redelivered > 0);
}

static void test_a_broker(void **state)
{
	static struct scene s = { .name = "SIGSTOP a broker past its lease, SIGCONT" };

	*state = &s;
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		struct harness_process *victim = s.f.brokers[i % 2];
		struct harness_process *other = s.f.brokers[1 - i % 2];
		unsigned adopted = harness_log_count(other, "journal_adopted", NULL, NULL);
		unsigned fenced = harness_log_count(victim, "fenced", NULL, NULL);

		scene_flow(&s, FLOW);
		scene_fault(&s);
		harness_pause(victim);
		wait_until(SCENE_MS,
			harness_log_count(other, "journal_adopted", NULL, NULL) > adopted);
		/* In turn: while the other still reads what it took over; all has ended, and each lease. */
		if (i % 2) {
			scene_drain(&s);
			wait_until(SCENE_MS, harness_now_ms() > s.fault_at + LEASE_MS);
		}
		harness_resume(victim);
		wait_until(SCENE_MS, harness_log_count(victim, "fenced", NULL, NULL) > fenced);
		scene_resume(&s);
		scene_recovered(&s);
		wait_until(SCENE_MS, fabric_workers_of(&s.f, EFFECTS_SERVICE) == 2);
	}
	scene_end(&s);
}

/* Past every lease and three beats: brokers that wait for Redis too adopt nobody. */
static void test_redis(void **state)
{
	static struct scene s = { .name = "SIGSTOP redis-server for 6 s, SIGCONT" };

	*state = &s;
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		uint64_t until;

		scene_flow(&s, FLOW);
		scene_fault(&s);
		harness_redis_pause(s.f.redis);
		until = harness_now_ms() + 6000;
		wait_until(SCENE_MS, harness_now_ms() >= until); /* the pause itself is the fault */
		harness_redis_resume(s.f.redis);
		scene_recovered(&s);
	}
	assert_int_equal(scene_broker_lines(&s, "journal_adopted"), 0);
	scene_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_a_worker, tear_down),
		cmocka_unit_test_teardown(test_a_broker, tear_down),
		cmocka_unit_test_teardown(test_redis, tear_down),
	};

	return harness_main("pause", tests);
}
