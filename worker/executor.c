/* See executor.h for the rules. Everything in struct wrk_executor below the lock
 * is guarded by it.
 *
 * A thread is counted as active from the moment it is signalled or started, not
 * from when it gets going: otherwise every batch that arrives in between would
 * wake one more.
 */
#include "worker/executor.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOKS_AT   8u  /* threads whose state a look asks for */
#define BUSY_LOOKS 10u /* so many looks in vain, and threads that compute get company */

struct wrk_runner {
	struct wrk_executor *executor;
	pthread_t id;
	pid_t tid; /* 0: has not begun */
	sem_t wake;
	atomic_bool posted; /* with wake: sanitizers do not know sem_clockwait */
	bool woken, idle;
	bool runs;                         /* a task */
	atomic_bool blocks;                /* it said so, or was found asleep in a long run */
	atomic_bool seen;                  /* by a look, since it began to run or to go on */
	struct wrk_runner *next;           /* among the idle, or the ended */
	struct wrk_runner *before, *after; /* among all */
};

static _Thread_local struct wrk_runner *self;

struct wrk_executor {
	struct wrk_executor_conf conf;
	pthread_mutex_t lock;
	struct wrk_task *first, *last; /* waiting */
	struct wrk_task *done_first, *done_last;
	struct wrk_runner *all;
	struct wrk_runner *idle;   /* last in, first out */
	struct wrk_runner *chosen; /* to be woken when the lock is given back */
	struct wrk_runner *ended;  /* to be joined */
	pthread_cond_t quiet;      /* a thread ended */
	uint32_t max_threads;
	uint32_t n_threads, n_waiting;
	uint64_t started, spawned;
	uint64_t look_us, started_at_look; /* when the last look was, and what `started` was then */
	uint32_t stuck_looks, asleep_looks; /* in a row */
	bool stopping;
	/* Not guarded: blocking and unblocking would otherwise cost each state operation two locks that
	 * all threads want at once. Who brings it to 0 looks at the queue afterwards; who queues looks
	 * at it afterwards; so one of the two sees the other. */
	atomic_uint n_active;
	/* Nor these. */
	atomic_bool owed;    /* the loop has to look */
	atomic_bool ticks;   /* it does so by itself within late_us */
	atomic_bool stirred; /* since the last watch somebody was set going */
};

/* ---- the queue, under the lock --------------------------------------------- */

static void queue_remove(struct wrk_executor *e, struct wrk_task *t)
{
	assert(t->queued);
	*(t->prev ? &t->prev->next : &e->first) = t->next;
	*(t->next ? &t->next->prev : &e->last) = t->prev;
	t->prev = t->next = NULL;
	t->queued = false;
	e->n_waiting--;
}

static void queue_append(struct wrk_executor *e, struct wrk_task *t, uint64_t now_us)
{
	assert(!t->queued);
	t->queued = true;
	t->queued_us = now_us;
	t->prev = e->last;
	t->next = NULL;
	*(e->last ? &e->last->next : &e->first) = t;
	e->last = t;
	e->n_waiting++;
}

static struct wrk_task *queue_take(struct wrk_executor *e)
{
	struct wrk_task *t = e->first;

	if (t) {
		queue_remove(e, t);
		e->started++;
	}
	return t;
}

/* Returns whether it is the first since the last collection. */
static bool done_append(struct wrk_executor *e, struct wrk_task *t)
{
	bool first = !e->done_first;

	t->next = NULL;
	*(first ? &e->done_first : &e->done_last->next) = t;
	e->done_last = t;
	return first;
}

/* ---- threads --------------------------------------------------------------- */

static void all_add(struct wrk_executor *e, struct wrk_runner *t)
{
	t->after = e->all;
	if (t->after)
		t->after->before = t;
	e->all = t;
}

static void all_remove(struct wrk_executor *e, struct wrk_runner *t)
{
	*(t->before ? &t->before->after : &e->all) = t->after;
	if (t->after)
		t->after->before = t->before;
}

static void idle_remove(struct wrk_executor *e, struct wrk_runner *t)
{
	struct wrk_runner **at = &e->idle;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
}

/* False: the time was up. Who was chosen to be woken is posted for sure, so it waits again. */
static bool doze(struct wrk_runner *t, uint32_t ms)
{
	struct timespec until;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	do
		rc = sem_clockwait(&t->wake, CLOCK_MONOTONIC, &until);
	while (rc < 0 && errno == EINTR);
	return rc == 0 && atomic_exchange(&t->posted, false);
}

/* Whether the loop is owed something, and the caller has to wake it. */
static bool pays(struct wrk_executor *e)
{
	return atomic_load(&e->owed) && atomic_exchange(&e->owed, false);
}

/* The loop has to look. False: nobody need wake it yet, as it ticks; the last active thread will. */
static bool owe(struct wrk_executor *e)
{
	atomic_store(&e->owed, true);
	return (!atomic_load(&e->ticks) || atomic_load(&e->n_active) == 0) && pays(e);
}

/* Sleeps until woken; false: the time was up and the thread is one too many. Lock held. */
static bool thread_sleep(struct wrk_executor *e, struct wrk_runner *t)
{
	bool wake = atomic_fetch_sub(&e->n_active, 1) == 1 && pays(e);

	t->woken = false;
	t->idle = true;
	t->next = e->idle;
	e->idle = t;
	for (;;) {
		bool posted;

		pthread_mutex_unlock(&e->lock);
		if (wake)
			e->conf.wake(e->conf.arg);
		wake = false;
		posted = doze(t, e->conf.idle_ms);
		pthread_mutex_lock(&e->lock);
		if (posted)
			return true;
		if (!t->woken && e->n_threads > e->conf.min_threads)
			break;
	}
	idle_remove(e, t);
	t->idle = false;
	e->n_active++; /* as if woken: it goes once more through its end */
	return false;
}

static void run_begin(struct wrk_runner *t)
{
	t->runs = true;
	atomic_store_explicit(&t->seen, false, memory_order_relaxed);
}

static void run_end(struct wrk_executor *e, struct wrk_runner *t)
{
	t->runs = false;
	if (atomic_load_explicit(&t->blocks, memory_order_relaxed))
		wrk_executor_resume(e, t);
}

/* Runs tasks until there are none. Lock held at entry and exit. */
static void thread_work(struct wrk_executor *e, struct wrk_runner *by, void *local)
{
	struct wrk_task *t = queue_take(e);
	bool owes = false;

	while (t) {
		run_begin(by);
		pthread_mutex_unlock(&e->lock);
		if (owes)
			e->conf.wake(e->conf.arg);
		e->conf.run(e->conf.arg, local, t);
		pthread_mutex_lock(&e->lock);
		run_end(e, by);
		owes = done_append(e, t) && owe(e);
		t = queue_take(e);
	}
	if (owes) {
		pthread_mutex_unlock(&e->lock);
		e->conf.wake(e->conf.arg);
		pthread_mutex_lock(&e->lock);
	}
}

static void *thread_main(void *arg)
{
	struct wrk_runner *t = arg;
	struct wrk_executor *e = t->executor;
	void *local = e->conf.enter ? e->conf.enter(e->conf.arg, e) : t;

	self = t;
	pthread_mutex_lock(&e->lock);
	t->tid = gettid();
	while (local) {
		thread_work(e, t, local);
		if (e->first)
			continue;
		if (e->stopping || !thread_sleep(e, t))
			break;
	}
	pthread_mutex_unlock(&e->lock);
	if (local && e->conf.leave)
		e->conf.leave(e->conf.arg, local);
	if (atomic_fetch_sub(&e->n_active, 1) == 1 && pays(e))
		e->conf.wake(e->conf.arg);
	pthread_mutex_lock(&e->lock);
	e->n_threads--;
	all_remove(e, t);
	t->next = e->ended;
	e->ended = t;
	pthread_cond_signal(&e->quiet);
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

static bool thread_spawn(struct wrk_executor *e)
{
	struct wrk_runner *t = calloc(1, sizeof *t);

	if (!t)
		return false;
	t->executor = e;
	sem_init(&t->wake, 0, 0);
	e->n_threads++;
	e->n_active++;
	if (pthread_create(&t->id, NULL, thread_main, t) != 0) {
		e->n_threads--;
		e->n_active--;
		sem_destroy(&t->wake);
		free(t);
		return false;
	}
	e->spawned++;
	all_add(e, t);
	return true;
}

/* One thread more: a sleeping one, or a new one. Lock held. */
static bool thread_wake(struct wrk_executor *e)
{
	struct wrk_runner *t = e->idle;

	if (!t)
		return e->n_threads < e->max_threads && thread_spawn(e);
	e->idle = t->next;
	t->woken = true;
	t->idle = false;
	t->next = e->chosen;
	e->chosen = t;
	e->n_active++;
	return true;
}

/* Whether tasks wait that nobody will come for by himself. Lock held. */
static bool is_forsaken(struct wrk_executor *e)
{
	return e->first && atomic_load(&e->n_active) == 0;
}

/* Unlocks, and wakes those that were chosen: under the lock they would run into it, and each
 * wake-up would cost two. */
static void unlock_and_wake(struct wrk_executor *e)
{
	struct wrk_runner *t = e->chosen;

	e->chosen = NULL;
	pthread_mutex_unlock(&e->lock);
	while (t) {
		struct wrk_runner *next = t->next;

		atomic_store(&t->posted, true);
		sem_post(&t->wake);
		t = next;
	}
}

/* Joins the threads of a chain of ended ones. Lock not held. */
static void threads_reap(struct wrk_runner *t)
{
	while (t) {
		struct wrk_runner *next = t->next;

		pthread_join(t->id, NULL);
		sem_destroy(&t->wake);
		free(t);
		t = next;
	}
}

static struct wrk_runner *ended_take(struct wrk_executor *e)
{
	struct wrk_runner *t = e->ended;

	e->ended = NULL;
	return t;
}

/* ---- the loop's side ------------------------------------------------------- */

enum base_err wrk_executor_new(const struct wrk_executor_conf *conf, struct wrk_executor **out)
{
	struct wrk_executor *e = calloc(1, sizeof *e);

	if (!e)
		return BASE_NOMEM;
	e->conf = *conf;
	if (e->conf.min_threads == 0)
		e->conf.min_threads = 1;
	if (e->conf.idle_ms == 0)
		e->conf.idle_ms = 10000;
	if (e->conf.late_us == 0)
		e->conf.late_us = 1000;
	if (e->conf.processors == 0)
		e->conf.processors = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->quiet, NULL);
	wrk_executor_bound(e, conf->max_threads);
	pthread_mutex_lock(&e->lock);
	while (e->n_threads < e->conf.min_threads && thread_spawn(e))
		;
	pthread_mutex_unlock(&e->lock);
	if (e->spawned < e->conf.min_threads) {
		wrk_executor_free(&e);
		return BASE_UNAVAILABLE;
	}
	*out = e;
	return BASE_OK;
}

void wrk_executor_free(struct wrk_executor **ep)
{
	struct wrk_executor *e = *ep;

	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->stopping = true;
	while (e->idle)
		(void)thread_wake(e);
	unlock_and_wake(e);
	pthread_mutex_lock(&e->lock);
	while (e->n_threads > 0)
		pthread_cond_wait(&e->quiet, &e->lock);
	pthread_mutex_unlock(&e->lock);
	threads_reap(ended_take(e));
	pthread_cond_destroy(&e->quiet);
	pthread_mutex_destroy(&e->lock);
	free(e);
	*ep = NULL;
}

void wrk_executor_bound(struct wrk_executor *e, uint32_t max_threads)
{
	pthread_mutex_lock(&e->lock);
	e->max_threads = max_threads > e->conf.min_threads ? max_threads : e->conf.min_threads;
	pthread_mutex_unlock(&e->lock);
}

void wrk_executor_push(struct wrk_executor *e, struct wrk_task *first, uint64_t now_us)
{
	struct wrk_runner *ended;

	pthread_mutex_lock(&e->lock);
	for (struct wrk_task *next; first; first = next) {
		next = first->next;
		queue_append(e, first, now_us);
	}
	atomic_store(&e->stirred, true);
	if (is_forsaken(e))
		(void)thread_wake(e);
	ended = ended_take(e);
	unlock_and_wake(e);
	threads_reap(ended);
}

struct wrk_task *wrk_executor_done(struct wrk_executor *e)
{
	struct wrk_task *first;

	pthread_mutex_lock(&e->lock);
	first = e->done_first;
	e->done_first = e->done_last = NULL;
	pthread_mutex_unlock(&e->lock);
	return first;
}

bool wrk_executor_withdraw(struct wrk_executor *e, struct wrk_task *task)
{
	bool queued;

	pthread_mutex_lock(&e->lock);
	queued = task->queued;
	if (queued)
		queue_remove(e, task);
	pthread_mutex_unlock(&e->lock);
	return queued;
}

struct wrk_task *wrk_executor_withdraw_all(struct wrk_executor *e)
{
	struct wrk_task *first;

	pthread_mutex_lock(&e->lock);
	first = e->first;
	for (struct wrk_task *t = first; t; t = t->next)
		t->queued = false;
	e->first = e->last = NULL;
	e->n_waiting = 0;
	pthread_mutex_unlock(&e->lock);
	return first;
}

/* Whether the kernel has the thread waiting for something, rather than for a processor. */
static bool is_asleep(const struct wrk_runner *t)
{
	char path[64], text[128], *end;
	ssize_t n = -1;
	int fd;

	(void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)t->tid);
	fd = t->tid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd >= 0) {
		n = read(fd, text, sizeof text - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	end = strrchr(text, ')'); /* "4711 (name) S …" */
	return end && end[1] == ' ' && end[2] != 'R';
}

/* A little less than late_us: the loop's ticks come that far apart, but not to the microsecond. */
static uint32_t almost_late_us(const struct wrk_executor *e)
{
	return e->conf.late_us - e->conf.late_us / 4;
}

/* Whether to ask for the thread's state: it was in this run already at the look before. */
static bool is_long(struct wrk_runner *t, bool *again)
{
	if (!t->runs || atomic_load_explicit(&t->blocks, memory_order_relaxed))
		return false;
	if (atomic_exchange_explicit(&t->seen, true, memory_order_relaxed))
		return true;
	*again = true;
	return false;
}

/* Threads that sleep in a run for long are reckoned among those that said so, until the run ends: whatever came
 * behind would otherwise wait for them. A few are asked; if they all sleep, so do the others. Returns whether the
 * next look may find more. Lock held. */
static bool find_sleepers(struct wrk_executor *e)
{
	unsigned asked = 0, awake = 0;
	bool again = false;

	for (struct wrk_runner *t = e->all; t && e->n_active > awake; t = t->after) {
		if (!is_long(t, &again))
			continue;
		if (asked++ >= LOOKS_AT && awake > 0)
			break;
		if (asked <= LOOKS_AT && !is_asleep(t))
			awake++;
		else if (!atomic_exchange(&t->blocks, true))
			atomic_fetch_sub(&e->n_active, 1);
	}
	return again;
}

/* How many threads more the queue needs. Lock held. */
static uint32_t look(struct wrk_executor *e, uint64_t now_us)
{
	bool stuck = e->started == e->started_at_look;

	e->started_at_look = e->started;
	e->stuck_looks = stuck ? e->stuck_looks + 1 : 0;
	if (now_us < e->first->queued_us + almost_late_us(e))
		return 0;
	if (stuck && e->n_active == 0) /* the next ones may be of the same kind */
		return e->asleep_looks++ > 0 ? e->n_waiting : 1;
	e->asleep_looks = 0;
	if (e->n_active < e->conf.processors)
		return 1;
	return e->stuck_looks > 0 && e->stuck_looks % BUSY_LOOKS == 0 ? e->n_active : 0;
}

void wrk_executor_listen(struct wrk_executor *e)
{
	atomic_store(&e->owed, false);
}

/* A thread says what it owes, then looks whether the loop ticks; here it is the other way round, so
 * one of the two sees the other. While a thread is active it ticks until a look has come after what was
 * set going last. */
static bool tick(struct wrk_executor *e, bool waits, bool looked)
{
	bool ticks = waits;

	if (looked)
		ticks |= atomic_exchange(&e->stirred, false);
	else if (atomic_load(&e->n_active) > 0)
		ticks |= atomic_load(&e->stirred) || atomic_load(&e->ticks);
	atomic_store(&e->ticks, ticks);
	if (!ticks && atomic_load(&e->owed)) {
		ticks = true;
		atomic_store(&e->ticks, true);
	}
	return ticks;
}

bool wrk_executor_watch(struct wrk_executor *e, uint64_t now_us)
{
	struct wrk_runner *ended;
	uint32_t wanted = 0;
	bool waits, looks, again = false;

	pthread_mutex_lock(&e->lock);
	looks = now_us >= e->look_us + almost_late_us(e);
	waits = e->first != NULL;
	if (looks) {
		e->look_us = now_us;
		again = find_sleepers(e);
		wanted = waits ? look(e, now_us) : 0;
		if (wanted == 0 && is_forsaken(e))
			wanted = 1;
	}
	while (wanted > 0 && thread_wake(e))
		wanted--;
	ended = ended_take(e);
	unlock_and_wake(e);
	threads_reap(ended);
	return tick(e, waits || again, looks);
}

void wrk_executor_figures(struct wrk_executor *e, struct wrk_executor_figures *out)
{
	pthread_mutex_lock(&e->lock);
	*out = (struct wrk_executor_figures){ e->n_threads, e->n_active, e->n_waiting, e->started,
		e->spawned };
	pthread_mutex_unlock(&e->lock);
}

/* ---- the threads' side ----------------------------------------------------- */

struct wrk_runner *wrk_executor_self(void)
{
	return self;
}

bool wrk_executor_owe(struct wrk_executor *e)
{
	return owe(e);
}

void wrk_executor_block(struct wrk_executor *e)
{
	bool wake = false;

	if (atomic_exchange(&self->blocks, true) || atomic_fetch_sub(&e->n_active, 1) > 1)
		return;
	pthread_mutex_lock(&e->lock);
	if (!is_forsaken(e) || !thread_wake(e))
		wake = pays(e);
	unlock_and_wake(e);
	if (wake)
		e->conf.wake(e->conf.arg);
}

void wrk_executor_unblock(struct wrk_executor *e)
{
	wrk_executor_resume(e, self);
}

void wrk_executor_resume(struct wrk_executor *e, struct wrk_runner *t)
{
	atomic_store_explicit(&t->seen, false, memory_order_relaxed);
	if (!atomic_exchange(&t->blocks, false))
		return;
	atomic_store(&e->stirred, true);
	atomic_fetch_add(&e->n_active, 1);
}
