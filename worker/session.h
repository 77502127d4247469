/* The worker's side of the brokers: takes dispatches, hands them to the executor,
 * sends results and credit. Everything here is the loop's thread.
 *
 * A run belongs to a broker's number and epoch; the epoch grows when the link
 * falls, so a result of an older epoch finds nobody and is dropped, while its
 * unit of concurrency comes back all the same.
 *
 * A turn: messages are read, and each DISPATCH is one push to the executor; then
 * (RUN) all that is done becomes RESULT items, and what changed of the credit
 * rides with them, one number a service and broker however many runs it sums up.
 *
 * A run ends at its deadline, whatever its handler does. One that has not started is
 * answered DEADLINE unrun. One whose handler runs on is *given up*: it is answered
 * DEADLINE, and nothing that the handler says later is heard; but its unit of
 * concurrency stays taken until the handler returns, because the thread is. It may have
 * an operation on its way to Redis, so its answer says RECORDED and DOUBTED when it
 * records (the broker keeps its fence), and later ones fail (worker/service_state.c).
 *
 * When given-up runs hold all that a service may run at once, or all threads, or the
 * one that is to be alone is such a run, the worker can do less than it promises. After
 * stuck_ms of that on_stuck is called, once; what has not started of what is stuck is
 * handed back. Only a new process helps: a thread cannot be ended.
 *
 * No service may hold all threads: each other one has at least one left. So what is
 * called `slots` is a service's concurrency, or less where there are few threads.
 *
 * A service that is not native is run by a carrier (worker/carrier.h): it needs none of the
 * threads, its runs end at their deadline by themselves, and what nobody wants any more is
 * stopped.
 *
 * A run with the flag ALONE waits until all runs that came before it have ended or were given up. What
 * comes while it waits or runs is handed back unrun, and no credit is told until it has
 * ended. Cancelling and the end go on as ever.
 *
 * The end: wrk_session_drain tells the brokers and grants nothing any more. When
 * each has answered and every run's result has left (given-up ones' have), on_drained is called. When
 * the time for that is over, wrk_session_cut hands back what has not started.
 */
#ifndef WRK_SESSION_H
#define WRK_SESSION_H

#include "net/links.h"
#include "worker/carrier.h"
#include "worker/executor.h"
#include "worker/service.h"

struct wrk_session;

struct wrk_session_conf {
	struct net_loop *loop;
	struct wrk_executor *executor;
	const char *brokers, *name;
	uint8_t boot[16];
	wrk_run_fn *run;             /* what a native service's runs are run by */
	const struct wrk_carrier *carrier; /* who runs the others'; NULL: there are none */
	void (*on_ready)(void *arg); /* the first broker is there */
	void (*on_drained)(void *arg);
	void (*on_job)(void *arg,
		struct wrk_run
			*run); /* a task of the executor's that is not a run of ours is done */
	const Pirn__Beat *(*on_beat)(void *arg);
	uint32_t max_threads; /* that the executor may have at most; 0: as many as services want */
	uint32_t stuck_ms;    /* 0: never */
	/* All slots of a service (NULL: all threads) have been held by given-up runs for so long. */
	void (*on_stuck)(void *arg, const char *service);
	void *arg;
};

BASE_MUSTUSE enum base_err wrk_session_new(
	const struct wrk_session_conf *conf, struct wrk_session **out);
void wrk_session_leave(struct wrk_session *s); /* says BYE */
/* Says BYE. The executor is gone before. Frees the services. */
void wrk_session_free(struct wrk_session **s);

/* The session's from now on, and announced once there are links. EXISTS: another one has that name;
 * UNAVAILABLE: so it is, but that one was removed. Then it stays the caller's. */
BASE_MUSTUSE enum base_err wrk_session_add(struct wrk_session *s, struct wrk_service **service);
/* The brokers hear that it is not here any more; what they have sent already is run. Its code stays. */
void wrk_session_remove(struct wrk_session *s, struct wrk_service *service);
struct wrk_service *wrk_session_services(
	struct wrk_session *s); /* uthash, in order of arrival; NULL: none */

/* Opens the links. CONFIG with *why (heap) when the brokers' list is wrong. */
BASE_MUSTUSE enum base_err wrk_session_start(struct wrk_session *s, char **why);

/* Collects what is done; a RUN hook does that each turn. Something from outside may have woken the loop for it. */
void wrk_session_drain(struct wrk_session *s);
void wrk_session_cut(struct wrk_session *s);

struct wrk_session_figures {
	uint64_t dispatched, results, cancelled, expired, lost, refused, diverged;
	size_t brokers, under_way; /* overdue ones are under way, too */
	size_t overdue;            /* given up, and the handler has not returned */
};
void wrk_session_figures(const struct wrk_session *s, struct wrk_session_figures *out);

#endif
