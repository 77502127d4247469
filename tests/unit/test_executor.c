/* worker/executor.c with real threads. Facts only: what was run, how often, in which
 * order, by how many threads; the clock that the watchdog sees is the test's.
 */
#include "tests/unit/unit.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/rand.h"
#include "worker/executor.h"

enum how { QUICK, WAITS, BLOCKS };

struct job {
	struct wrk_task task; /* first */
	enum how how;
	unsigned number;
	atomic_uint runs;
};

struct fixture {
	struct wrk_executor *executor;
	_Atomic(struct wrk_runner *) runner; /* the last that entered */
	sem_t entered; /* a WAITS or BLOCKS job runs */
	sem_t go;      /* lets one of them end */
	sem_t woken;   /* the loop was woken */
	atomic_uint wakes, locals;
};

static void *enter(void *arg, struct wrk_executor *e)
{
	struct fixture *f = arg;

	(void)e;
	atomic_fetch_add(&f->locals, 1);
	return f;
}

static void leave(void *arg, void *local)
{
	struct fixture *f = arg;

	assert(local == f);
	atomic_fetch_sub(&f->locals, 1);
}

static void run(void *arg, void *local, struct wrk_task *task)
{
	struct job *job = (struct job *)task;
	struct fixture *f = arg;

	assert(local == f);
	atomic_fetch_add(&job->runs, 1);
	if (job->how == QUICK)
		return;
	f->runner = wrk_executor_self();
	sem_post(&f->entered);
	if (job->how == BLOCKS)
		wrk_executor_block(f->executor);
	sem_wait(&f->go);
	if (job->how == BLOCKS)
		wrk_executor_unblock(f->executor);
}

static void wake(void *arg)
{
	struct fixture *f = arg;

	atomic_fetch_add(&f->wakes, 1);
	sem_post(&f->woken);
}

static void open_fixture(struct fixture *f, struct wrk_executor_conf conf)
{
	memset(f, 0, sizeof *f);
	sem_init(&f->entered, 0, 0);
	sem_init(&f->go, 0, 0);
	sem_init(&f->woken, 0, 0);
	conf.enter = enter;
	conf.leave = leave;
	conf.run = run;
	conf.wake = wake;
	conf.arg = f;
	assert_int_equal(wrk_executor_new(&conf, &f->executor), BASE_OK);
}

static void close_fixture(struct fixture *f)
{
	wrk_executor_free(&f->executor);
	assert_null(f->executor);
	assert_int_equal(f->locals, 0);
}

static struct wrk_task *chain(struct job *jobs, size_t n, enum how how)
{
	for (size_t i = 0; i < n; i++) {
		jobs[i].how = how;
		jobs[i].number = (unsigned)i;
		jobs[i].task.next = i + 1 < n ? &jobs[i + 1].task : NULL;
	}
	return n ? &jobs[0].task : NULL;
}

/* Collects until n are done, in the order they were done. */
static void collect(struct fixture *f, struct job **out, size_t n)
{
	size_t at = 0;

	while (at < n) {
		struct wrk_task *task;

		sem_wait(&f->woken);
		for (task = wrk_executor_done(f->executor); task; task = task->next) {
			assert_true(at < n);
			out[at++] = (struct job *)task;
		}
	}
}

static void enters(struct fixture *f, unsigned n)
{
	while (n-- > 0)
		sem_wait(&f->entered);
}

static void lets_go(struct fixture *f, unsigned n)
{
	while (n-- > 0)
		sem_post(&f->go);
}

static struct wrk_executor_figures figures(struct fixture *f)
{
	struct wrk_executor_figures out;

	wrk_executor_figures(f->executor, &out);
	return out;
}

/* ---- tests ------------------------------------------------------------------ */

static void one_thread_keeps_the_order(void **state)
{
	struct job jobs[300] = { 0 }, *done[300];
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 1 });
	wrk_executor_push(f.executor, chain(jobs, 100, QUICK), 0);
	wrk_executor_push(f.executor, chain(jobs + 100, 200, QUICK), 0);
	collect(&f, done, 300);
	for (size_t i = 0; i < 300; i++) {
		assert_ptr_equal(done[i], &jobs[i]);
		assert_int_equal(jobs[i].runs, 1);
	}
	assert_int_equal(figures(&f).started, 300);
	assert_int_equal(figures(&f).threads, 1);
	close_fixture(&f);
}

/* The loop is woken for the first that is done, not for each. */
static void wakes_once_until_collected(void **state)
{
	struct job blocker = { .how = WAITS }, jobs[50] = { 0 }, last = { .how = WAITS };
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 1 });
	wrk_executor_push(f.executor, &blocker.task, 0);
	wrk_executor_push(f.executor, chain(jobs, 50, QUICK), 0);
	wrk_executor_push(f.executor, &last.task, 0);
	enters(&f, 1);
	lets_go(&f, 1);
	enters(&f, 1); /* the last one runs: 51 are done */
	assert_int_equal(f.wakes, 1);
	assert_non_null(wrk_executor_done(f.executor));
	lets_go(&f, 1);
	close_fixture(&f);
	assert_int_equal(f.wakes, 2);
}

/* Nobody is woken for work that an active thread can take. */
static void batch_wakes_one_thread(void **state)
{
	struct job first = { .how = WAITS }, jobs[10] = { 0 }, *done[11];
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 8, .processors = 8 });
	wrk_executor_push(f.executor, &first.task, 0);
	enters(&f, 1);
	wrk_executor_push(f.executor, chain(jobs, 10, QUICK), 0);
	assert_int_equal(figures(&f).threads, 1);
	assert_int_equal(figures(&f).waiting, 10);
	lets_go(&f, 1);
	collect(&f, done, 11);
	assert_int_equal(figures(&f).spawned, 1);
	close_fixture(&f);
}

/* A stuck thread holds nobody up for longer than the watchdog takes. */
static void watchdog_goes_round_stuck_threads(void **state)
{
	struct job stuck[3] = { 0 }, quick[20] = { 0 };
	struct wrk_task *t;
	struct fixture f;
	size_t n = 0;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 8 });
	wrk_executor_push(f.executor, chain(stuck, 3, WAITS), 0);
	wrk_executor_push(f.executor, chain(quick, 20, QUICK), 0);
	enters(&f, 1);
	assert_true(wrk_executor_watch(f.executor, 500)); /* too early */
	assert_int_equal(figures(&f).threads, 1);
	for (uint64_t now_us = 2000; figures(&f).threads < 3; now_us += 2000)
		assert_true(wrk_executor_watch(f.executor, now_us));
	enters(&f, 2);
	for (uint64_t now_us = 20000; n < 20; now_us += 2000) { /* while the three are stuck */
		(void)wrk_executor_watch(f.executor, now_us);
		for (t = wrk_executor_done(f.executor); t; t = t->next)
			n++;
		sched_yield();
	}
	lets_go(&f, 3);
	close_fixture(&f);
}

/* Who sleeps for long without a word is found out: from then on nothing waits for him, and what is done meanwhile is
 * told at once. */
static void long_sleepers_hold_nobody_up(void **state)
{
	struct job sleepers[12] = { 0 }, quick[3] = { 0 }, *done[12];
	uint64_t now_us = 0;
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 14 });
	wrk_executor_push(f.executor, chain(sleepers, 12, WAITS), now_us);
	while (figures(&f).started < 12 || figures(&f).active > 0)
		(void)wrk_executor_watch(f.executor, now_us += 1000);
	enters(&f, 12);
	while (wrk_executor_watch(f.executor, now_us += 1000)) /* nothing goes on: it stops looking */
		;
	for (size_t i = 0; i < 3; i++) {
		wrk_executor_push(f.executor, chain(&quick[i], 1, QUICK), now_us);
		(void)wrk_executor_watch(f.executor, now_us); /* no time passes */
		collect(&f, done, 1);
		assert_ptr_equal(done[0], &quick[i]);
	}
	lets_go(&f, 12);
	collect(&f, done, 12);
	while (figures(&f).active > 0) /* each is counted as it was before */
		sched_yield();
	close_fixture(&f);
}

static void never_more_threads_than_the_bound(void **state)
{
	struct job stuck[20] = { 0 };
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 3 });
	wrk_executor_push(f.executor, chain(stuck, 20, WAITS), 0);
	for (uint64_t now_us = 2000; figures(&f).started < 3; now_us += 2000)
		assert_true(wrk_executor_watch(f.executor, now_us));
	enters(&f, 3);
	for (uint64_t now_us = UINT64_C(1) << 40; now_us < (UINT64_C(1) << 40) + 100000; now_us += 2000)
		assert_true(wrk_executor_watch(f.executor, now_us));
	assert_int_equal(figures(&f).threads, 3);
	assert_int_equal(figures(&f).started, 3);
	wrk_executor_bound(f.executor, 5);
	for (uint64_t now_us = UINT64_C(1) << 41; figures(&f).started < 5; now_us += 2000)
		assert_true(wrk_executor_watch(f.executor, now_us));
	enters(&f, 2);
	assert_int_equal(figures(&f).threads, 5);
	lets_go(&f, 20);
	close_fixture(&f);
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(stuck[i].runs, 1);
}

/* Who says that it blocks lets the next one go on without a watchdog. */
static void blocking_thread_hands_over(void **state)
{
	struct job blocked = { .how = BLOCKS }, quick[5] = { 0 }, *done[6];
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 4 });
	wrk_executor_push(f.executor, &blocked.task, 0);
	wrk_executor_push(f.executor, chain(quick, 5, QUICK), 0);
	enters(&f, 1);
	collect(&f, done, 5);
	assert_int_equal(figures(&f).spawned, 2);
	lets_go(&f, 1);
	collect(&f, done, 1);
	assert_ptr_equal(done[0], &blocked);
	close_fixture(&f);
}

/* Who is about to be woken will come for what waits. */
static void resumed_thread_is_reckoned_with(void **state)
{
	struct job blocked = { .how = BLOCKS }, quick[5] = { 0 }, *done[6];
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 4 });
	wrk_executor_push(f.executor, &blocked.task, 0);
	enters(&f, 1);
	while (figures(&f).active > 0)
		sched_yield();
	wrk_executor_resume(f.executor, f.runner);
	wrk_executor_resume(f.executor, f.runner); /* said twice, as the thread itself will */
	assert_int_equal(figures(&f).active, 1);
	wrk_executor_push(f.executor, chain(quick, 5, QUICK), 0);
	assert_int_equal(figures(&f).waiting, 5);
	lets_go(&f, 1);
	collect(&f, done, 6);
	assert_ptr_equal(done[0], &blocked);
	assert_int_equal(figures(&f).spawned, 1);
	close_fixture(&f);
}

/* A loop that ticks is woken for the batch, by the last. */
static void batch_wakes_the_loop_once(void **state)
{
	struct job first = { .how = WAITS }, quick[5] = { 0 }, *done[6];
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 4 });
	wrk_executor_push(f.executor, &first.task, 0);
	enters(&f, 1);
	wrk_executor_push(f.executor, chain(quick, 5, QUICK), 0);
	assert_true(wrk_executor_watch(f.executor, 0));
	lets_go(&f, 1);
	collect(&f, done, 6);
	assert_int_equal(f.wakes, 1);
	close_fixture(&f);
}

/* One that has ticked in vain is told at once; until then it goes on ticking for what is owed. */
static void quiet_loop_is_woken_at_once(void **state)
{
	struct job jobs[4] = { { .how = WAITS }, { .how = QUICK }, { .how = WAITS },
		{ .how = WAITS } };
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 1 });
	wrk_executor_push(f.executor, &jobs[0].task, 0);
	enters(&f, 1);
	for (int i = 1; i < 4; i++)
		wrk_executor_push(f.executor, &jobs[i].task, 0);
	assert_true(wrk_executor_watch(f.executor, 1000)); /* something waits */
	lets_go(&f, 1);
	enters(&f, 1); /* two are done, the third runs */
	assert_int_equal(f.wakes, 0);
	assert_true(wrk_executor_withdraw(f.executor, &jobs[3].task));
	assert_true(wrk_executor_watch(f.executor, 2000)); /* nothing waits, but it is owed two */
	wrk_executor_listen(f.executor);
	assert_non_null(wrk_executor_done(f.executor));
	assert_false(wrk_executor_watch(f.executor, 3000));
	wrk_executor_push(f.executor, &jobs[3].task, 0);
	lets_go(&f, 1);
	enters(&f, 1); /* the fourth runs */
	assert_int_equal(f.wakes, 1);
	lets_go(&f, 1);
	close_fixture(&f);
}

static void withdraws_what_has_not_started(void **state)
{
	struct job running = { .how = WAITS }, jobs[5] = { 0 }, *done[4];
	struct wrk_task *rest;
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 1 });
	wrk_executor_push(f.executor, &running.task, 0);
	enters(&f, 1);
	wrk_executor_push(f.executor, chain(jobs, 5, QUICK), 0);
	assert_false(wrk_executor_withdraw(f.executor, &running.task));
	assert_true(wrk_executor_withdraw(f.executor, &jobs[0].task));
	assert_true(wrk_executor_withdraw(f.executor, &jobs[4].task));
	assert_true(wrk_executor_withdraw(f.executor, &jobs[2].task));
	assert_false(wrk_executor_withdraw(f.executor, &jobs[2].task));
	rest = wrk_executor_withdraw_all(f.executor);
	assert_ptr_equal(rest, &jobs[1].task);
	assert_ptr_equal(rest->next, &jobs[3].task);
	assert_null(rest->next->next);
	assert_true(wrk_executor_watch(f.executor, 100000)); /* once more, for the one that runs */
	assert_false(wrk_executor_watch(f.executor, 200000));
	wrk_executor_push(f.executor, rest, 0);
	lets_go(&f, 1);
	collect(&f, done, 3);
	assert_int_equal(jobs[0].runs + jobs[2].runs + jobs[4].runs, 0);
	assert_int_equal(jobs[1].runs + jobs[3].runs, 2);
	close_fixture(&f);
}

static void surplus_threads_end(void **state)
{
	struct job stuck[4] = { 0 }, *done[4];
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .min_threads = 2, .max_threads = 6, .idle_ms = 1 });
	wrk_executor_push(f.executor, chain(stuck, 4, WAITS), 0);
	for (uint64_t now_us = 2000; figures(&f).threads < 4; now_us += 2000)
		(void)wrk_executor_watch(f.executor, now_us);
	lets_go(&f, 4);
	collect(&f, done, 4);
	while (figures(&f).threads > 2)
		sched_yield();
	close_fixture(&f);
}

static void end_runs_what_is_queued(void **state)
{
	struct job first = { .how = WAITS }, jobs[100] = { 0 };
	struct fixture f;

	(void)state;
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 2 });
	wrk_executor_push(f.executor, &first.task, 0);
	wrk_executor_push(f.executor, chain(jobs, 100, QUICK), 0);
	lets_go(&f, 1);
	close_fixture(&f);
	for (size_t i = 0; i < 100; i++)
		assert_int_equal(jobs[i].runs, 1);
}

/* Everything at once; what went in comes out once, done or withdrawn. */
static void nothing_is_lost_or_run_twice(void **state)
{
	enum { N = 20000, BATCH = 37 };
	struct job *jobs = calloc(N, sizeof *jobs);
	size_t pushed = 0, out = 0, withdrawn = 0;
	struct base_rand rand;
	struct fixture f;

	(void)state;
	base_rand_init(&rand, 7);
	open_fixture(&f, (struct wrk_executor_conf){ .max_threads = 6, .idle_ms = 1, .late_us = 1 });
	lets_go(&f, N);
	while (out < N) {
		size_t n = pushed + BATCH <= N ? BATCH : N - pushed;

		if (n > 0) {
			wrk_executor_push(f.executor, chain(jobs + pushed, n, QUICK), pushed);
			for (size_t i = 0; i < n; i += 5)
				if (wrk_executor_withdraw(f.executor, &jobs[pushed + base_rand_below(&rand, n)].task))
					withdrawn++, out++;
			pushed += n;
		}
		(void)wrk_executor_watch(f.executor, pushed + out * 3);
		for (struct wrk_task *t = wrk_executor_done(f.executor); t; t = t->next)
			out++;
	}
	close_fixture(&f);
	for (size_t i = 0; i < N; i++) {
		assert_true(jobs[i].runs <= 1);
		withdrawn -= jobs[i].runs == 0;
	}
	assert_int_equal(withdrawn, 0);
	free(jobs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_thread_keeps_the_order),
		cmocka_unit_test(wakes_once_until_collected),
		cmocka_unit_test(batch_wakes_one_thread),
		cmocka_unit_test(watchdog_goes_round_stuck_threads),
		cmocka_unit_test(long_sleepers_hold_nobody_up),
		cmocka_unit_test(never_more_threads_than_the_bound),
		cmocka_unit_test(blocking_thread_hands_over),
		cmocka_unit_test(resumed_thread_is_reckoned_with),
		cmocka_unit_test(batch_wakes_the_loop_once),
		cmocka_unit_test(quiet_loop_is_woken_at_once),
		cmocka_unit_test(withdraws_what_has_not_started),
		cmocka_unit_test(surplus_threads_end),
		cmocka_unit_test(end_runs_what_is_queued),
		cmocka_unit_test(nothing_is_lost_or_run_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
