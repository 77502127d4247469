/* See fibers.h. The thread's own context is the scheduler: it goes into a fiber, and comes back when
 * that sleeps or its run is over. Fibers never go to one another.
 *
 * What the loop and the thread share stands under one lock, which the thread gives back while it
 * is in a fiber.
 */
#include "worker/fibers.h"

#include <assert.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>
#include <utlist.h>

#include "base/clock.h"
#include "worker/context.h"
#include "worker/crash.h"

#define KEPT_FIBERS 64u
#define LATE_US     250u
#define LOOK_US     5000u /* between two looks at deadlines */

struct wrk_fiber {
	struct wrk_fibers *of;
	struct wrk_context context;
	void *local;
	struct wrk_task *task; /* NULL: its run is over */
	uint64_t deadline_us;
	bool in_time;
	bool awake;                        /* under the lock: somebody woke it */
	struct wrk_fiber *next;            /* in a chain, or among the free ones */
	struct wrk_fiber *before, *after;  /* among the sleeping ones */
};

static _Thread_local struct wrk_fiber *self;

struct wrk_fibers {
	struct wrk_fibers_conf conf;
	struct wrk_carrier carrier;
	pthread_t thread;
	sem_t wake;
	/* The thread's. */
	struct wrk_context scheduler;
	struct wrk_fiber *free;
	uint32_t n_free;
	struct wrk_fiber *sleeping;
	uint64_t look_us; /* when deadlines are due to be looked at */
	uint64_t owed_us; /* since when there is something for the loop; 0: there is nothing */
	/* Under the lock. */
	pthread_mutex_t lock;
	struct wrk_fiber_chain woken;
	struct wrk_task *first; /* waiting */
	struct wrk_task *done_first, *done_last;
	uint64_t steps, steps_seen; /* into fibers; what they were at the last look of the loop's */
	bool asleep, stopping;
};

/* ---- fibers ---------------------------------------------------------------- */

static void fiber_free(struct wrk_fiber *fiber)
{
	fiber->of->conf.leave(fiber->of->conf.arg, fiber->local);
	wrk_context_fini(&fiber->context);
	free(fiber);
}

/* One run after another; the scheduler comes back to it for each. */
static void fiber_main(void)
{
	struct wrk_fiber *fiber = self;
	struct wrk_fibers *f = fiber->of;

	wrk_context_arrive(&f->scheduler);
	for (;;) {
		f->conf.run(f->conf.arg, fiber->local, fiber->task);
		fiber->task = NULL;
		wrk_context_switch(&fiber->context, &f->scheduler);
	}
}

static struct wrk_fiber *fiber_new(struct wrk_fibers *f)
{
	struct wrk_fiber *fiber = calloc(1, sizeof *fiber);

	if (!fiber)
		return NULL;
	fiber->of = f;
	fiber->local = f->conf.enter(f->conf.arg);
	if (fiber->local && wrk_context_init(&fiber->context, fiber_main))
		return fiber;
	if (fiber->local)
		f->conf.leave(f->conf.arg, fiber->local);
	free(fiber);
	return NULL;
}

static struct wrk_fiber *fiber_get(struct wrk_fibers *f)
{
	struct wrk_fiber *fiber = f->free;

	if (!fiber)
		return fiber_new(f);
	f->free = fiber->next;
	f->n_free--;
	return fiber;
}

static void fiber_put(struct wrk_fibers *f, struct wrk_fiber *fiber)
{
	if (f->n_free == KEPT_FIBERS) {
		fiber_free(fiber);
		return;
	}
	fiber->next = f->free;
	f->free = fiber;
	f->n_free++;
}

/* ---- the thread ------------------------------------------------------------ */

static void done_append(struct wrk_fibers *f, struct wrk_task *task)
{
	task->next = NULL;
	*(f->done_first ? &f->done_last->next : &f->done_first) = task;
	f->done_last = task;
}

/* Wakes the loop. Lock held at entry and exit. */
static void pay(struct wrk_fibers *f)
{
	f->owed_us = 0;
	pthread_mutex_unlock(&f->lock);
	f->conf.wake(f->conf.arg);
	pthread_mutex_lock(&f->lock);
}

/* Into the fiber, until it sleeps or its run is over: either way there is something for the loop. Lock held at
 * entry and exit. */
static void go_into(struct wrk_fibers *f, struct wrk_fiber *fiber)
{
	struct wrk_task *task = fiber->task;
	uint64_t now_us;

	f->steps++;
	pthread_mutex_unlock(&f->lock);
	self = fiber;
	wrk_context_switch(&f->scheduler, &fiber->context);
	self = NULL;
	now_us = base_clock_us();
	pthread_mutex_lock(&f->lock);
	if (fiber->task) {
		DL_APPEND2(f->sleeping, fiber, before, after);
	} else {
		fiber_put(f, fiber);
		done_append(f, task);
	}
	if (f->owed_us == 0)
		f->owed_us = now_us;
	else if (now_us - f->owed_us >= f->conf.late_us)
		pay(f);
}

static void go_on(struct wrk_fibers *f, struct wrk_fiber *fiber, bool in_time)
{
	DL_DELETE2(f->sleeping, fiber, before, after);
	fiber->awake = false;
	fiber->in_time = in_time;
	go_into(f, fiber);
}

/* Each of these does one thing of its kind, and returns false when there was none. Lock held. */

static bool answered(struct wrk_fibers *f)
{
	struct wrk_fiber *fiber = f->woken.first;

	if (!fiber)
		return false;
	f->woken.first = fiber->next;
	go_on(f, fiber, true);
	return true;
}

static bool late(struct wrk_fibers *f)
{
	uint64_t now_us = base_clock_us();
	struct wrk_fiber *fiber;

	if (now_us < f->look_us)
		return false;
	DL_FOREACH2 (f->sleeping, fiber, after)
		if (fiber->deadline_us <= now_us && !fiber->awake) {
			go_on(f, fiber, false);
			return true;
		}
	f->look_us = now_us + LOOK_US;
	return false;
}

static bool fresh(struct wrk_fibers *f)
{
	struct wrk_task *task = f->first;
	struct wrk_fiber *fiber = task ? fiber_get(f) : NULL;

	if (!fiber)
		return false;
	DL_DELETE(f->first, task);
	task->queued = false;
	fiber->task = task;
	go_into(f, fiber);
	return true;
}

/* What waits for memory or for its deadline is looked at again without being called. Lock held. */
static void doze(struct wrk_fibers *f)
{
	uint64_t until_us = base_clock_us() + LOOK_US;
	struct timespec until = { (time_t)(until_us / 1000000), (long)(until_us % 1000000 * 1000) };
	bool looks = f->sleeping || f->first;

	f->asleep = true;
	pthread_mutex_unlock(&f->lock);
	if (looks)
		(void)sem_clockwait(&f->wake, CLOCK_MONOTONIC, &until);
	else
		(void)sem_wait(&f->wake);
	pthread_mutex_lock(&f->lock);
	f->asleep = false;
}

static void *thread_main(void *arg)
{
	struct wrk_fibers *f = arg;

	wrk_crash_enter();
	wrk_context_init_thread(&f->scheduler);
	pthread_mutex_lock(&f->lock);
	for (;;) {
		while (answered(f) || late(f) || fresh(f))
			;
		if (f->owed_us)
			pay(f);
		else if (f->stopping && !f->first && !f->sleeping)
			break;
		else
			doze(f);
	}
	pthread_mutex_unlock(&f->lock);
	for (struct wrk_fiber *fiber; (fiber = f->free);) {
		f->free = fiber->next;
		fiber_free(fiber);
	}
	wrk_crash_leave();
	return NULL;
}

static void unlock_and_wake(struct wrk_fibers *f)
{
	bool asleep = f->asleep;

	f->asleep = false;
	pthread_mutex_unlock(&f->lock);
	if (asleep)
		sem_post(&f->wake);
}

/* ---- from within a fiber, and for one ---------------------------------------- */

struct wrk_fiber *wrk_fiber_self(void)
{
	return self;
}

bool wrk_fiber_sleep(uint64_t deadline_us)
{
	struct wrk_fiber *fiber = self;

	fiber->deadline_us = deadline_us;
	wrk_context_switch(&fiber->context, &fiber->of->scheduler);
	return fiber->in_time;
}

void wrk_fiber_chain_add(struct wrk_fiber_chain *chain, struct wrk_fiber *fiber)
{
	fiber->next = NULL;
	*(chain->first ? &chain->last->next : &chain->first) = fiber;
	chain->last = fiber;
}

void wrk_fiber_wake(struct wrk_fiber_chain *chain)
{
	struct wrk_fibers *f;

	if (!chain->first)
		return;
	f = chain->first->of;
	pthread_mutex_lock(&f->lock);
	for (struct wrk_fiber *fiber = chain->first; fiber; fiber = fiber->next)
		fiber->awake = true;
	*(f->woken.first ? &f->woken.last->next : &f->woken.first) = chain->first;
	f->woken.last = chain->last;
	unlock_and_wake(f);
	*chain = (struct wrk_fiber_chain){ 0 };
}

/* ---- the loop's side --------------------------------------------------------- */

static void push(void *arg, struct wrk_task *first)
{
	struct wrk_fibers *f = arg;

	pthread_mutex_lock(&f->lock);
	for (struct wrk_task *next; first; first = next) {
		next = first->next;
		first->queued = true;
		DL_APPEND(f->first, first);
	}
	unlock_and_wake(f);
}

static bool withdraw(void *arg, struct wrk_task *task)
{
	struct wrk_fibers *f = arg;
	bool queued;

	pthread_mutex_lock(&f->lock);
	queued = task->queued;
	if (queued)
		DL_DELETE(f->first, task);
	task->queued = false;
	pthread_mutex_unlock(&f->lock);
	return queued;
}

static void stop(void *arg, struct wrk_run *run)
{
	(void)arg, (void)run; /* a handler cannot be stopped */
}

static struct wrk_task *done(void *arg)
{
	struct wrk_fibers *f = arg;
	struct wrk_task *first;

	pthread_mutex_lock(&f->lock);
	first = f->done_first;
	f->done_first = f->done_last = NULL;
	pthread_mutex_unlock(&f->lock);
	return first;
}

bool wrk_fibers_waits(struct wrk_fibers *f)
{
	bool waits;

	pthread_mutex_lock(&f->lock);
	waits = f->first != NULL;
	pthread_mutex_unlock(&f->lock);
	return waits;
}

struct wrk_task *wrk_fibers_take_stuck(struct wrk_fibers *f)
{
	struct wrk_task *first = NULL;

	pthread_mutex_lock(&f->lock);
	if (f->steps == f->steps_seen) {
		first = f->first;
		f->first = NULL;
	}
	f->steps_seen = f->steps;
	pthread_mutex_unlock(&f->lock);
	for (struct wrk_task *task = first; task; task = task->next) {
		task->queued = false;
		task->prev = NULL;
	}
	return first;
}

const struct wrk_carrier *wrk_fibers_carrier(struct wrk_fibers *f)
{
	return &f->carrier;
}

enum base_err wrk_fibers_new(const struct wrk_fibers_conf *conf, struct wrk_fibers **out)
{
	struct wrk_fibers *f = calloc(1, sizeof *f);

	if (!f)
		return BASE_NOMEM;
	f->conf = *conf;
	if (f->conf.late_us == 0)
		f->conf.late_us = LATE_US;
	f->carrier = (struct wrk_carrier){ push, withdraw, stop, done, f };
	pthread_mutex_init(&f->lock, NULL);
	sem_init(&f->wake, 0, 0);
	if (pthread_create(&f->thread, NULL, thread_main, f) != 0) {
		free(f);
		return BASE_UNAVAILABLE;
	}
	*out = f;
	return BASE_OK;
}

void wrk_fibers_free(struct wrk_fibers **fp)
{
	struct wrk_fibers *f = *fp;

	if (!f)
		return;
	*fp = NULL;
	pthread_mutex_lock(&f->lock);
	f->stopping = true;
	unlock_and_wake(f);
	pthread_join(f->thread, NULL);
	sem_destroy(&f->wake);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
