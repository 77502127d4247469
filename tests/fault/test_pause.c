/* SIGSTOP, then SIGCONT. Past the lease: the zombie that wakes changes nothing any more. For
 * 1, 5 and 15 s, under calls as well as events: every call is answered in its time,
 * memory stays bounded, and afterwards all is as before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <jansson.h>

#include "tests/fault/calls.h"
#include "tests/fault/memory.h"
#include "tests/fault/scene.h"

#define FLOW        100
#define SLEEP_MS    300  /* between the two operations: some run is always half done */
#define LEASE_MS    5000 /* 3 s, the time of a run (1 s), 1 s: nobody's lease is longer */
#define ERR_TIMEOUT 10   /* PIRN_ERR_TIMEOUT: the worker itself sees that the time is over */
#define ERR_LEASE   13   /* PIRN_ERR_LEASE: Redis does */

#define CALLS     50 /* a second */
#define CALL_MS   500
#define MARGIN_MS 2000  /* both together are less than 3 beats: who waits for a link to fall is found out */
#define BOUND_KB  65536 /* each process's PSS */

static struct calls *calls;
static struct memory *memory;

static int tear_down(void **state)
{
	(void)calls_stop(&calls);
	(void)memory_stop(&memory);
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

/* ---- for 1, 5 and 15 s ------------------------------------------------------------------ */

static const unsigned pauses_ms[] = { 1000, 5000, 15000 };

/* Stops or wakes one of the scene's processes. */
typedef void stop_fn(struct scene *s, unsigned i);

/* None fails by itself: whatever a breaker says is of the pauses. */
static void sound_runs(unsigned serial, char *out, size_t room)
{
	(void)snprintf(out, room, "e%u sleep=%u", serial, 5 + serial * 37 % 150);
}

static const char *gateway_of(void *arg, unsigned serial)
{
	const struct scene *s = arg;

	return s->f.urls[serial / 2 % s->f.n_gateways];
}

static bool breakers_are_closed(const struct scene *s)
{
	struct harness_answer a = harness_get(s->f.admin, "/v1/breakers");
	json_t *d = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);
	const json_t *list = json_object_get(d, "services");
	bool closed = json_array_size(list) > 0;
	const json_t *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const char *is = json_string_value(json_object_get(one, "state"));

		closed = closed && is && strcmp(is, "closed") == 0;
	}
	json_decref(d);
	harness_answer_free(&a);
	return closed;
}

static void pause_for(struct scene *s, unsigned i, stop_fn *stop, stop_fn *wake)
{
	uint64_t ok;

	scene_flow(s, FLOW);
	scene_fault(s);
	stop(s, i);
	wait_until(SCENE_MS, harness_now_ms() >= s->fault_at + pauses_ms[i]); /* the fault itself */
	wake(s, i);
	scene_recovered(s);
	wait_until(SCENE_MS, fabric_workers_of(&s->f, EFFECTS_SERVICE) == 2);
	wait_until(SCENE_MS, breakers_are_closed(s));
	ok = calls_ok(calls);
	wait_until(SCENE_MS, calls_ok(calls) >= ok + CALLS);
}

static void judge_calls(const struct calls_counts *n)
{
	print_message(
		"calls: %llu sent, %llu ok, %llu refused, %llu expired, %llu lost; worst %llu ms\n",
		(unsigned long long)n->sent, (unsigned long long)n->ok,
		(unsigned long long)n->refused, (unsigned long long)n->expired,
		(unsigned long long)n->lost, (unsigned long long)n->worst_ms);
	assert_int_equal(n->ok + n->refused + n->expired + n->lost, n->sent);
	assert_int_equal(n->none + n->other, 0);
	assert_int_equal(n->late, 0);
}

static void judge_memory(const struct memory_peaks *p)
{
	print_message("PSS at most: broker %llu, worker %llu, gateway %llu, Redis %llu KB\n",
		(unsigned long long)p->broker_kb, (unsigned long long)p->worker_kb,
		(unsigned long long)p->gateway_kb, (unsigned long long)p->redis_kb);
	assert_true(p->broker_kb > 0 && p->broker_kb < BOUND_KB);
	assert_true(p->worker_kb > 0 && p->worker_kb < BOUND_KB);
	assert_true(p->gateway_kb > 0 && p->gateway_kb < BOUND_KB);
	assert_true(p->redis_kb > 0 && p->redis_kb < BOUND_KB);
}

/* Whatever the pauses cost is counted in *out. */
static void all_pauses(
	struct scene *s, stop_fn *stop, stop_fn *wake, unsigned call_ms, struct calls_counts *out)
{
	struct memory_peaks peaks;

	scene_begin(s);
	memory = memory_start(&s->f);
	calls = calls_start(&(struct calls_conf){ .url = gateway_of,
		.arg = s,
		.per_second = CALLS,
		.timeout_ms = call_ms,
		.margin_ms = MARGIN_MS });
	for (unsigned i = 0; i < sizeof pauses_ms / sizeof pauses_ms[0]; i++)
		pause_for(s, i, stop, wake);
	*out = calls_stop(&calls);
	judge_calls(out);
	peaks = memory_stop(&memory);
	judge_memory(&peaks);
}

static void stop_worker(struct scene *s, unsigned i)
{
	harness_pause(s->f.workers[i % 2]);
}

static void wake_worker(struct scene *s, unsigned i)
{
	harness_resume(s->f.workers[i % 2]);
}

static void test_a_worker_for_a_time(void **state)
{
	static struct scene s = { .name = "SIGSTOP a worker for 1, 5 and 15 s",
		.body = sound_runs };
	struct calls_counts counts;

	*state = &s;
	all_pauses(&s, stop_worker, wake_worker, CALL_MS, &counts);
	assert_int_equal(scene_broker_lines(&s, "breaker_opened"), 0);
	scene_end(&s);
}

static void stop_broker(struct scene *s, unsigned i)
{
	harness_pause(s->f.brokers[i % 2]);
}

static void wake_broker(struct scene *s, unsigned i)
{
	harness_resume(s->f.brokers[i % 2]);
}

static void test_a_broker_for_a_time(void **state)
{
	static struct scene s = { .name = "SIGSTOP a broker for 1, 5 and 15 s",
		.body = sound_runs };
	struct calls_counts counts;

	*state = &s;
	all_pauses(&s, stop_broker, wake_broker, CALL_MS, &counts);
	assert_int_equal(scene_broker_lines(&s, "breaker_opened"), 0);
	scene_end(&s);
}

static void stop_redis(struct scene *s, unsigned i)
{
	(void)i;
	harness_redis_pause(s->f.redis);
}

static void wake_redis(struct scene *s, unsigned i)
{
	(void)i;
	harness_redis_resume(s->f.redis);
}

/* Past every lease and three beats: brokers that wait for Redis too adopt nobody. And calls of services
 * that keep no state need no Redis: not one fails, though the last pause is longer than they would wait. */
static void test_redis_for_a_time(void **state)
{
	static struct scene s = { .name = "SIGSTOP redis-server for 1, 5 and 15 s",
		.body = sound_runs };
	struct calls_counts counts;

	*state = &s;
	all_pauses(&s, stop_redis, wake_redis, 10000, &counts);
	assert_int_equal(counts.ok, counts.sent);
	assert_int_equal(scene_broker_lines(&s, "journal_adopted"), 0);
	scene_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_a_worker, tear_down),
		cmocka_unit_test_teardown(test_a_broker, tear_down),
		cmocka_unit_test_teardown(test_a_worker_for_a_time, tear_down),
		cmocka_unit_test_teardown(test_a_broker_for_a_time, tear_down),
		cmocka_unit_test_teardown(test_redis_for_a_time, tear_down),
	};

	return harness_main("pause", tests);
}
