/* One thread for the runs of services that let theirs share one (include/pirn/service.h).
 *
 * Each run has a stack of its own, a fiber. One that waits for an operation of state leaves the
 * thread to the others and is gone back to when its answer is there: that costs a fifth of a
 * microsecond, where a thread that is put to sleep and woken costs five or more, twice a run. For
 * a handler of a few microseconds between two answers of Redis that is most of what it costs.
 *
 * The price is that nobody but the handlers themselves sees to it that all go on: one that
 * computes for long, or blocks in another way, holds up those that have begun. (Those that have not are
 * taken to the executor.) So a service has to ask for it, and all others run in the executor's
 * threads. What records its operations (worker/replay.h) does so too, as it may have to wait for Redis
 * to come back.
 *
 * The thread goes on with what was answered before it begins something new. It wakes the loop when
 * it has nothing more to do, or owes it something for late_us: so a batch that comes leaves as one.
 *
 * A fiber stays in its thread for good. Deadlines are looked at every few milliseconds.
 */
#ifndef WRK_FIBERS_H
#define WRK_FIBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "worker/carrier.h"
#include "worker/executor.h"

struct wrk_fibers;
struct wrk_fiber;

struct wrk_fibers_conf {
	uint32_t late_us;         /* 0: 250 */
	void *(*enter)(void *arg); /* a fiber's own things; NULL: out of memory. In the thread, as leave and run */
	void (*leave)(void *arg, void *local);
	void (*run)(void *arg, void *local, struct wrk_task *task);
	void (*wake)(void *arg); /* from the thread: there is something for the loop */
	void *arg;
};

/* UNAVAILABLE when the system gives no thread, NOMEM. */
BASE_MUSTUSE enum base_err wrk_fibers_new(
	const struct wrk_fibers_conf *conf, struct wrk_fibers **out);

/* Runs what is queued, and waits for all that has begun. Takes NULL. */
void wrk_fibers_free(struct wrk_fibers **f);

/* How the session gives it runs. What has started cannot be stopped. */
const struct wrk_carrier *wrk_fibers_carrier(struct wrk_fibers *f);

/* From the loop. Whether runs wait to begin; and those that do, as a chain to be run elsewhere, when the thread
 * has been in one and the same place since the call before: somebody computes there, or blocks. */
bool wrk_fibers_waits(struct wrk_fibers *f);
struct wrk_task *wrk_fibers_take_stuck(struct wrk_fibers *f);

/* The fiber that calls; NULL: none, it is a thread. */
struct wrk_fiber *wrk_fiber_self(void);

/* From within a fiber: the others go on, until somebody wakes this one. False: deadline_us (monotonic) came
 * first. UINT64_MAX: it never does. */
bool wrk_fiber_sleep(uint64_t deadline_us);

/* A chain of fibers that sleep or are about to, once each; from any thread. first may be NULL. */
struct wrk_fiber_chain {
	struct wrk_fiber *first, *last;
};
void wrk_fiber_chain_add(struct wrk_fiber_chain *chain, struct wrk_fiber *fiber);
void wrk_fiber_wake(struct wrk_fiber_chain *chain);

#endif
