/* The shell's figures (network, Redis, process) as the wire's metrics, for the answer
 * to a QUERY METRICS; the core adds its own. Names, types and help texts stand in one
 * table. Filling allocates nothing.
 */
#ifndef BROKER_METRICS_H
#define BROKER_METRICS_H

#include <stddef.h>

#include "net/router.h"
#include "store/redis.h"

#define BRK_METRICS_MAX 32

struct brk_metrics {
	Pirn__Metric metrics[BRK_METRICS_MAX];
	Pirn__Metric *list[BRK_METRICS_MAX];
	size_t n;
};

/* redis may be NULL: a broker without one. */
void brk_metrics_fill(struct brk_metrics *m, const struct net_router *router,
	const struct store_redis *redis, size_t unsaved);

#endif
