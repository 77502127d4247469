/* What a worker counts, as the metrics of its beats: the brokers keep the last
 * beat of each worker, and the gateway's /metrics shows them. The table of names
 * is here, and in doc/operations.md.
 */
#ifndef WRK_FIGURES_H
#define WRK_FIGURES_H

#include "base/stats.h"
#include "store/redis.h"
#include "worker/executor.h"
#include "worker/session.h"
#include "worker/state.h"

/* name, type, help */
#define WRK_FIGURES(X) \
	X(runs_total, COUNTER, "Runs that were answered, by service") \
	X(failures_total, COUNTER, \
		"Runs that failed: 408, 425, 429, 5xx, past their deadline, broken answers") \
	X(run_seconds, HISTOGRAM, "How long a handler ran") \
	X(running, GAUGE, "Runs that were dispatched and have not ended, by service") \
	X(dispatched_total, COUNTER, "Runs that brokers sent") \
	X(cancelled_total, COUNTER, "Runs that were cancelled before they started") \
	X(expired_total, COUNTER, "Runs whose time was over before they started") \
	X(diverged_total, COUNTER, \
		"Runs that did not ask for all that earlier runs of their event had changed") \
	X(results_lost_total, COUNTER, "Results whose broker was gone") \
	X(brokers, GAUGE, "Brokers that are linked") \
	X(threads, GAUGE, "Threads that run services") \
	X(threads_active, GAUGE, "Threads of these that neither sleep nor wait for state") \
	X(queue, GAUGE, "Runs that wait for a thread") \
	X(state_operations_total, COUNTER, "Operations on services' state") \
	X(state_failures_total, COUNTER, "Operations that Redis did not answer") \
	X(redis_up, GAUGE, "1 while Redis is connected") \
	X(redis_breaker_state, GAUGE, \
		"The breaker before Redis: 0 closed, 1 open (operations fail at once), 2 half-open") \
	X(overdue, GAUGE, \
		"Runs that were given up at their deadline and whose handler has not returned, by service") \
	X(given_up_total, COUNTER, "Runs that were given up at their deadline, by service") \
	X(breaker_state, GAUGE, \
		"A service's own breaker: 0 closed, 1 open, 2 half-open; by service and breaker") \
	X(breaker_opened_total, COUNTER, "Times that a service's own breaker opened") \
	X(breaker_refused_total, COUNTER, "Passes that a service's own breaker refused") \
	X(http_running, GAUGE, "Requests to HTTP endpoints that are under way") \
	X(http_connections, GAUGE, "Connections to HTTP endpoints, idle ones included") \
	X(http_connects_total, COUNTER, "Connections to HTTP endpoints that were begun") \
	X(http_denied_total, COUNTER, "Runs whose endpoint's address may not be called")

enum wrk_figure {
#define X(name, type, help) WRK_FIGURE_##name,
	WRK_FIGURES(X)
#undef X
		WRK_FIGURE__N
};

extern const struct base_stat_def wrk_figure_defs[WRK_FIGURE__N]; /* pirn_worker_<name> */

struct wrk_sources {
	struct wrk_session *session;
	struct wrk_executor *executor;
	struct wrk_state *state;
	const struct store_redis *redis;
	const struct wrk_http *http; /* NULL: none */
};

/* Hands every series to sink. */
void wrk_figures_walk(const struct wrk_sources *from, base_stat_sink *sink, void *arg);

/* All of them as a Beat; good until the next call. */
struct wrk_beat;
struct wrk_beat *wrk_beat_new(void); /* NULL: out of memory */
void wrk_beat_free(struct wrk_beat **b);
const Pirn__Beat *wrk_beat_fill(struct wrk_beat *b, const struct wrk_sources *from);

#endif
