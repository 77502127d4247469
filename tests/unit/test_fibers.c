/* worker/fibers.c with its real thread, and operations of state in it. Facts only: what was run, in which
 * order, by which thread, how often the loop was woken.
 */
#include "tests/unit/unit.h"

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/rand.h"
#include "worker/fibers.h"
#include "worker/state.h"

#define NEVER_US 4000000000u
#define FOREVER  UINT64_MAX

enum how { QUICK, SLEEPS, WAKES_ITSELF, LATE, BLOCKS, TAKES_TIME, ASKS, ASKS_LATE, MIXED };

struct job {
	struct wrk_task task; /* first */
	enum how how;
	unsigned number, sleeps;
	_Atomic(struct wrk_fiber *) fiber;
	pthread_t thread;
	uintptr_t stack;
	bool in_time;
	enum base_err err;
	int64_t answer;
	unsigned runs;
};

struct fixture {
	struct wrk_fibers *fibers;
	const struct wrk_carrier *carrier;
	struct wrk_state *state;
	sem_t entered; /* a job that does not end by itself runs */
	sem_t go;      /* lets one that BLOCKS end */
	sem_t woken;   /* the loop was woken */
	atomic_uint wakes, locals, refusals;
	store_op_fn *fn; /* the operation that was started last */
	void *fn_arg;
};

static void *enter(void *arg)
{
	struct fixture *f = arg;

	if (f->refusals > 0 && f->refusals--)
		return NULL;
	atomic_fetch_add(&f->locals, 1);
	return malloc(1); /* one each, so that a double leave is seen */
}

static void leave(void *arg, void *local)
{
	struct fixture *f = arg;

	free(local);
	atomic_fetch_sub(&f->locals, 1);
}

static void ask(struct fixture *f, struct job *job)
{
	const struct store_op op = { .kind = STORE_COUNTER_ADD, .key = STORE_ARG("k"), .number = job->number };
	const struct wrk_state_result *result = NULL;
	struct wrk_state_call *call = NULL;

	job->err = wrk_state_do(f->state, &call, &op, job->how == ASKS ? FOREVER : base_clock_us() + 1, &result);
	if (!job->err)
		job->answer = result->number;
	wrk_state_call_free(&call);
}

static void run(void *arg, void *local, struct wrk_task *task)
{
	struct job *job = (struct job *)task;
	struct fixture *f = arg;
	struct wrk_fiber_chain chain = { 0 };
	uint64_t start_us = base_clock_us();

	assert(local && wrk_fiber_self());
	job->thread = pthread_self();
	job->stack = (uintptr_t)&chain;
	job->fiber = wrk_fiber_self();
	job->runs++;
	switch (job->how) {
	case QUICK:
		break;
	case SLEEPS:
		for (unsigned i = 0; i < job->sleeps; i++) {
			sem_post(&f->entered);
			job->in_time = wrk_fiber_sleep(FOREVER);
			assert(job->in_time);
		}
		break;
	case WAKES_ITSELF:
		wrk_fiber_chain_add(&chain, wrk_fiber_self());
		wrk_fiber_wake(&chain);
		job->in_time = wrk_fiber_sleep(0);
		break;
	case LATE:
		job->in_time = wrk_fiber_sleep(base_clock_us() + 1);
		break;
	case BLOCKS:
		sem_post(&f->entered);
		sem_wait(&f->go);
		break;
	case TAKES_TIME:
		while (base_clock_us() < start_us + 2)
			;
		break;
	case ASKS:
	case ASKS_LATE:
		ask(f, job);
		break;
	case MIXED:
		assert(false);
	}
}

static void wake(void *arg)
{
	struct fixture *f = arg;

	atomic_fetch_add(&f->wakes, 1);
	sem_post(&f->woken);
}

static enum base_err start(void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg)
{
	struct fixture *f = arg;

	(void)op;
	f->fn = fn;
	f->fn_arg = fn_arg;
	return BASE_OK;
}

static void open_fixture(struct fixture *f, uint32_t late_us, unsigned refusals)
{
	struct wrk_fibers_conf conf = {
		.late_us = late_us, .enter = enter, .leave = leave, .run = run, .wake = wake, .arg = f
	};
	struct wrk_state_conf state = { .start = start, .wake = wake, .arg = f };

	memset(f, 0, sizeof *f);
	f->refusals = refusals;
	sem_init(&f->entered, 0, 0);
	sem_init(&f->go, 0, 0);
	sem_init(&f->woken, 0, 0);
	assert_int_equal(wrk_state_new(&state, &f->state), BASE_OK);
	wrk_state_set_up(f->state, true);
	assert_int_equal(wrk_fibers_new(&conf, &f->fibers), BASE_OK);
	f->carrier = wrk_fibers_carrier(f->fibers);
}

static void close_fixture(struct fixture *f)
{
	wrk_fibers_free(&f->fibers);
	assert_null(f->fibers);
	assert_int_equal(f->locals, 0);
	wrk_state_free(&f->state);
}

/* MIXED: each as it says. */
static void push(struct fixture *f, struct job *jobs, size_t n, enum how how)
{
	for (size_t i = 0; i < n; i++) {
		if (how != MIXED)
			jobs[i].how = how;
		jobs[i].number = (unsigned)i;
		jobs[i].task.next = i + 1 < n ? &jobs[i + 1].task : NULL;
	}
	f->carrier->push(f->carrier->arg, &jobs->task);
}

/* Collects until n are done, in the order they were done. */
static void collect(struct fixture *f, struct job **out, size_t n)
{
	size_t at = 0;

	while (at < n) {
		struct wrk_task *task;

		sem_wait(&f->woken);
		for (task = f->carrier->done(f->carrier->arg); task; task = task->next) {
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

static void wakes(struct job *job)
{
	struct wrk_fiber_chain chain = { 0 };

	wrk_fiber_chain_add(&chain, job->fiber);
	wrk_fiber_wake(&chain);
}

/* ---- tests ----------------------------------------------------------------- */

static void runs_share_a_thread(void **state)
{
	struct job jobs[3] = { { .sleeps = 1 }, { .sleeps = 1 }, { .sleeps = 1 } }, *done[3];
	struct fixture f;

	(void)state;
	open_fixture(&f, NEVER_US, 0);
	push(&f, jobs, 3, SLEEPS);
	enters(&f, 3);
	for (unsigned i = 3; i-- > 0;) {
		wakes(&jobs[i]);
		collect(&f, &done[i], 1);
		assert_ptr_equal(done[i], &jobs[i]);
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_true(pthread_equal(jobs[i].thread, jobs[0].thread));
		assert_false(pthread_equal(jobs[i].thread, pthread_self()));
		assert_true(i == 0 || jobs[i].stack != jobs[0].stack);
	}
	assert_int_equal(f.locals, 3);
	push(&f, jobs, 1, QUICK); /* in one of the three, again */
	collect(&f, done, 1);
	assert_int_equal(f.locals, 3);
	close_fixture(&f);
}

static void batch_wakes_the_loop_once(void **state)
{
	struct job jobs[100] = { 0 }, *done[100];
	struct fixture f;

	(void)state;
	open_fixture(&f, NEVER_US, 0);
	push(&f, jobs, 100, QUICK);
	collect(&f, done, 100);
	assert_int_equal(f.wakes, 1);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(done[i]->number, i);
	close_fixture(&f);
}

static void what_is_owed_for_long_is_told_within_a_batch(void **state)
{
	struct job jobs[3] = { { .how = TAKES_TIME }, { .how = TAKES_TIME }, { .how = BLOCKS } }, *done[3];
	struct fixture f;

	(void)state;
	open_fixture(&f, 1, 0);
	push(&f, jobs, 3, MIXED);
	collect(&f, done, 2); /* the third is not over */
	enters(&f, 1);
	sem_post(&f.go);
	collect(&f, done, 1);
	close_fixture(&f);
}

static void deadlines_pass(void **state)
{
	struct job jobs[2] = { { .in_time = true }, { .in_time = false } }, *done[1];
	struct fixture f;

	(void)state;
	open_fixture(&f, 0, 0);
	push(&f, jobs, 1, LATE);
	collect(&f, done, 1);
	assert_false(jobs[0].in_time);
	push(&f, &jobs[1], 1, WAKES_ITSELF); /* before it slept: that counts, late as it is */
	collect(&f, done, 1);
	assert_true(jobs[1].in_time);
	close_fixture(&f);
}

static void withdraws_what_has_not_begun(void **state)
{
	struct job busy = { 0 }, waiting[2] = { 0 }, *done[2];
	struct fixture f;

	(void)state;
	open_fixture(&f, 0, 0);
	push(&f, &busy, 1, BLOCKS);
	enters(&f, 1);
	push(&f, waiting, 2, QUICK);
	assert_true(f.carrier->withdraw(f.carrier->arg, &waiting[0].task));
	assert_false(f.carrier->withdraw(f.carrier->arg, &waiting[0].task));
	assert_false(f.carrier->withdraw(f.carrier->arg, &busy.task));
	sem_post(&f.go);
	collect(&f, done, 2);
	assert_ptr_equal(done[1], &waiting[1]);
	assert_int_equal(waiting[0].runs, 0);
	close_fixture(&f);
}

/* Only what nobody comes for: a thread that goes on keeps its runs. */
static void takes_what_waits_behind_a_block(void **state)
{
	struct job busy[2] = { 0 }, waiting[2] = { 0 }, *done[2];
	struct fixture f;

	(void)state;
	open_fixture(&f, 0, 0);
	assert_false(wrk_fibers_waits(f.fibers));
	push(&f, busy, 2, BLOCKS);
	enters(&f, 1);
	push(&f, waiting, 2, QUICK);
	assert_null(wrk_fibers_take_stuck(f.fibers)); /* it has just come there */
	sem_post(&f.go);
	enters(&f, 1);
	assert_null(wrk_fibers_take_stuck(f.fibers));
	assert_true(wrk_fibers_waits(f.fibers));
	assert_ptr_equal(wrk_fibers_take_stuck(f.fibers), &waiting[0].task);
	assert_ptr_equal(waiting[0].task.next, &waiting[1].task);
	assert_null(waiting[1].task.next);
	assert_false(f.carrier->withdraw(f.carrier->arg, &waiting[0].task));
	assert_false(wrk_fibers_waits(f.fibers));
	sem_post(&f.go);
	collect(&f, done, 2);
	assert_int_equal(waiting[0].runs + waiting[1].runs, 0);
	close_fixture(&f);
}

static void end_runs_what_is_queued(void **state)
{
	struct job busy = { 0 }, waiting[2] = { 0 }, late = { 0 };
	struct fixture f;

	(void)state;
	open_fixture(&f, 0, 0);
	push(&f, &busy, 1, BLOCKS);
	enters(&f, 1);
	push(&f, waiting, 2, QUICK);
	push(&f, &late, 1, LATE);
	sem_post(&f.go);
	close_fixture(&f);
	assert_int_equal(waiting[0].runs + waiting[1].runs + late.runs, 3);
}

static void waits_for_memory(void **state)
{
	struct job jobs[2] = { 0 }, *done[2];
	struct fixture f;

	(void)state;
	open_fixture(&f, 0, 3);
	push(&f, jobs, 2, QUICK);
	collect(&f, done, 2);
	assert_int_equal(f.refusals, 0);
	close_fixture(&f);
}

/* ---- operations of state in fibers -------------------------------------------- */

static void turn_until_started(struct fixture *f)
{
	while (!f->fn) {
		sem_wait(&f->woken);
		wrk_state_turn(f->state);
	}
}

static void answers(struct fixture *f, int64_t number)
{
	f->fn(f->fn_arg, &(struct store_result){ .number = number });
	f->fn = NULL;
	wrk_state_flush(f->state);
}

static void operations_leave_the_thread_to_others(void **state)
{
	struct job asks = { 0 }, other = { 0 }, *done[1];
	struct fixture f;

	(void)state;
	open_fixture(&f, 0, 0);
	push(&f, &asks, 1, ASKS);
	turn_until_started(&f);
	push(&f, &other, 1, QUICK);
	collect(&f, done, 1);
	assert_ptr_equal(done[0], &other);
	answers(&f, 7);
	collect(&f, done, 1);
	assert_ptr_equal(done[0], &asks);
	assert_int_equal(asks.err, BASE_OK);
	assert_int_equal(asks.answer, 7);
	close_fixture(&f);
}

static void late_answer_finds_nobody(void **state)
{
	struct job asks = { 0 }, *done[1];
	struct fixture f;

	(void)state;
	open_fixture(&f, 0, 0);
	push(&f, &asks, 1, ASKS_LATE);
	turn_until_started(&f);
	collect(&f, done, 1);
	assert_int_equal(asks.err, BASE_TIMEOUT);
	answers(&f, 7); /* its record goes with it */
	close_fixture(&f);
}

/* ---- many ------------------------------------------------------------------- */

#define MANY  500u
#define STEPS 8u

/* In any order, and several at once. */
static void nothing_is_lost_or_run_twice(void **state)
{
	static struct job jobs[MANY];
	static struct job *asleep[MANY];
	struct job *done[MANY];
	struct base_rand rand;
	struct fixture f;
	unsigned n;

	(void)state;
	memset(jobs, 0, sizeof jobs);
	base_rand_init(&rand, 11);
	open_fixture(&f, 0, 0);
	for (unsigned i = 0; i < MANY; i++)
		jobs[i].sleeps = STEPS;
	push(&f, jobs, MANY, SLEEPS);
	for (unsigned step = 0; step < STEPS; step++) {
		enters(&f, MANY);
		for (n = 0; n < MANY; n++)
			asleep[n] = &jobs[n];
		while (n > 0) {
			struct wrk_fiber_chain chain = { 0 };
			unsigned batch = 1 + (unsigned)base_rand_below(&rand, n < 20 ? n : 20);

			while (batch-- > 0) {
				unsigned i = (unsigned)base_rand_below(&rand, n);

				wrk_fiber_chain_add(&chain, asleep[i]->fiber);
				asleep[i] = asleep[--n];
			}
			wrk_fiber_wake(&chain);
		}
	}
	collect(&f, done, MANY);
	for (unsigned i = 0; i < MANY; i++)
		assert_int_equal(jobs[i].runs, 1);
	assert_in_range(f.locals, 1, 64); /* the others' stacks were given back */
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_share_a_thread),
		cmocka_unit_test(batch_wakes_the_loop_once),
		cmocka_unit_test(what_is_owed_for_long_is_told_within_a_batch),
		cmocka_unit_test(deadlines_pass),
		cmocka_unit_test(withdraws_what_has_not_begun),
		cmocka_unit_test(takes_what_waits_behind_a_block),
		cmocka_unit_test(end_runs_what_is_queued),
		cmocka_unit_test(waits_for_memory),
		cmocka_unit_test(operations_leave_the_thread_to_others),
		cmocka_unit_test(late_answer_finds_nobody),
		cmocka_unit_test(nothing_is_lost_or_run_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
