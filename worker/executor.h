/* The threads that run services.
 *
 * The loop hands over batches and collects what is done; between the two stands
 * one queue under one mutex. A thread takes one task at a time, and says that a
 * task is done under the same lock under which it takes the next, so a task costs
 * one lock.
 *
 * The loop is woken for a batch rather than for its first task: by the last active
 * thread, when that has nothing more to do. That another computes for long meanwhile
 * costs what is done at most late_us: the loop looks by itself for so long after it
 * has set somebody going, and while it does not, it is woken at once.
 *
 * A handler of 5 µs must not pay for a thread's wake-up of 10 µs, and one that
 * sleeps for a second must not hold up others. Both are served by waking late:
 *
 *   - a batch that arrives while a thread is active wakes nobody: that thread
 *     takes the tasks one after another;
 *   - a thread that is about to block, and says so, lets another go on at once;
 *   - one that sleeps without a word (the kernel knows) in a run that the look before saw
 *     already is found out, and is reckoned among those that said so until that run ends: what
 *     comes behind a slow service's runs is not held up by them;
 *   - when the queue's head has waited for late_us and no task was taken since
 *     the last look, the active threads are stuck. If they all sleep, one thread more
 *     is woken or started, and at the second such look as many as tasks wait. If one
 *     computes, or was denied a processor, more threads only help while they are fewer
 *     than the processors; after ten looks in vain they are doubled all the same,
 *     because somebody may compute for seconds.
 *
 * The look is wrk_executor_watch, which the loop calls at the end of each turn.
 * Idle threads are used last in, first out, so that the surplus ends by itself.
 *
 * How many tasks of one service run at once is not decided here: the session
 * hands over no more than a service's concurrency.
 */
#ifndef WRK_EXECUTOR_H
#define WRK_EXECUTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct wrk_executor;

/* Embedded in what is to be run. */
struct wrk_task {
	struct wrk_task *prev, *next;
	uint64_t queued_us;
	bool queued; /* guarded by the executor's lock */
};

struct wrk_executor_conf {
	uint32_t min_threads; /* kept when idle; at least 1 */
	uint32_t max_threads;
	uint32_t processors; /* 0: as many as the machine has */
	uint32_t idle_ms;    /* 0: 10,000 */
	uint32_t late_us;    /* 0: 1,000 */
	void *(*enter)(void *arg,
		struct wrk_executor
			*e); /* a thread's own things; NULL: out of memory, the thread ends */
	void (*leave)(void *arg, void *local);
	void (*run)(void *arg, void *local, struct wrk_task *task);
	void (*wake)(void *arg); /* from any thread, without a lock held: something is done */
	void *arg;
};

/* Starts min_threads. UNAVAILABLE when the system gives none. */
BASE_MUSTUSE enum base_err wrk_executor_new(
	const struct wrk_executor_conf *conf, struct wrk_executor **out);

/* Runs what is queued, waits for all threads to end. What is done and not collected is dropped. */
void wrk_executor_free(struct wrk_executor **e);

/* At most this many threads from now on; surplus ones end when idle. */
void wrk_executor_bound(struct wrk_executor *e, uint32_t max_threads);

/* Queues a chain of n tasks, linked by next, the last one's NULL. Loop thread, like all that follows
 * up to wrk_executor_block. */
void wrk_executor_push(struct wrk_executor *e, struct wrk_task *first, uint64_t now_us);

/* What was done since the last call, in that order, linked by next; NULL: nothing. */
struct wrk_task *wrk_executor_done(struct wrk_executor *e);

/* Takes a task back that has not started; false: too late, it will be done. */
bool wrk_executor_withdraw(struct wrk_executor *e, struct wrk_task *task);

/* Takes back everything that has not started, as a chain. */
struct wrk_task *wrk_executor_withdraw_all(struct wrk_executor *e);

/* Wakes and starts threads as told above, at a turn's end. Returns whether the loop has to look again
 * in late_us: something waits still, the threads rely on it for what they will have done, or what was set
 * going last was not looked at yet. */
bool wrk_executor_watch(struct wrk_executor *e, uint64_t now_us);

/* At a turn's beginning: what is owed so far is looked at in this turn. */
void wrk_executor_listen(struct wrk_executor *e);

/* Around a blocking call, from within run. */
void wrk_executor_block(struct wrk_executor *e);
void wrk_executor_unblock(struct wrk_executor *e);

/* Who is about to wake a blocked thread may say so: it counts as active from then on, and nobody else
 * is woken for what it will take. */
struct wrk_runner;
struct wrk_runner *wrk_executor_self(void); /* NULL: not one of an executor's threads */
void wrk_executor_resume(struct wrk_executor *e, struct wrk_runner *thread);

/* From within run: there is something for the loop. True: the caller wakes it now. */
bool wrk_executor_owe(struct wrk_executor *e);

struct wrk_executor_figures {
	uint32_t threads; /* that exist */
	uint32_t active;  /* that neither sleep nor block */
	uint32_t waiting; /* tasks that have not started */
	uint64_t started; /* tasks, ever */
	uint64_t spawned; /* threads, ever */
};
void wrk_executor_figures(struct wrk_executor *e, struct wrk_executor_figures *out);

#endif
