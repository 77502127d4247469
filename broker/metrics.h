/* The shell's figures (network, Redis, process) as the wire's metrics, for the answer
 * to a QUERY METRICS; the core adds its own. Names, types and help texts stand in one
 * table. Filling allocates nothing.
 */
#ifndef BROKER_METRICS_H
#define BROKER_METRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/hist.h"
#include "net/router.h"
#include "store/redis.h"

#define BRK_METRICS_MAX 32

struct brk_metrics_sources {
	const struct net_router *router;
	const struct store_redis *redis; /* NULL: a broker without one */
	const struct base_hist *commits; /* from a STORE or SETTLE to its answer */
	size_t unsaved;                  /* of the registry */
	size_t asks;                     /* of the core, under way */
	bool durable;
};

struct brk_metrics {
	Pirn__Metric metrics[BRK_METRICS_MAX];
	Pirn__Metric *list[BRK_METRICS_MAX];
	size_t n;
};

/* What it points at must live until the answer was packed. */
void brk_metrics_fill(struct brk_metrics *m, const struct brk_metrics_sources *sources);

#endif
