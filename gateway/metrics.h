/* What the gateway counts of its requests, by service: how many by method and status,
 * how long they took, how many are under way. Requests that reached no service are
 * counted under the service "".
 *
 * A service's figures live from its first request until the registry has forgotten it
 * and none of its requests is under way; a request holds on to them meanwhile.
 */
#ifndef GATEWAY_METRICS_H
#define GATEWAY_METRICS_H

#include <stdbool.h>

#define HASH_FUNCTION     HASH_FNV /* uthash's own default makes clang warn of its switch */
#define HASH_NONFATAL_OOM 1        /* an element that was not added has hh.tbl NULL */
#include <uthash.h>

#include "base/err.h"
#include "base/manifest.h"
#include "base/stats.h"
#include "gateway/route.h"

struct gw_count {
	uint64_t n;
	uint16_t code;
	uint8_t method; /* enum gw_method */
};

struct gw_served {
	char name[BASE_MANIFEST_NAME_MAX + 1];
	uint32_t in_flight;
	uint32_t calls; /* of them: in the engine */
	bool known; /* in the registry of now */
	struct base_hist latency;
	uint64_t events_accepted, events_refused;
	struct gw_count *counts; /* few: the ones that happened */
	size_t n_counts, room;
	UT_hash_handle hh;
};

struct gw_metrics {
	struct gw_served none;
	struct gw_served *services; /* hash by name */
};

void gw_metrics_init(struct gw_metrics *m);
void gw_metrics_fini(struct gw_metrics *m);

/* Gives every service of the new table its figures (service->user), and forgets those that are in
 * no table any more and have no request. NOMEM: some services have none; their requests count as "". */
BASE_MUSTUSE enum base_err gw_metrics_follow(struct gw_metrics *m, const struct gw_routes *routes);

/* A request begins with a service, or with none: s NULL. What comes back is for gw_metrics_end. */
struct gw_served *gw_metrics_begin(struct gw_metrics *m, struct gw_served *s);
/* Its service is known now: *held changes to s (not when that is NULL). */
void gw_metrics_move(struct gw_metrics *m, struct gw_served **held, struct gw_served *s);
void gw_metrics_end(struct gw_metrics *m, struct gw_served *s, enum gw_method method, unsigned code,
	uint64_t us);

/* In no order; gateway/prom.h puts them in theirs. */
void gw_metrics_walk(const struct gw_metrics *m, base_stat_sink *sink, void *arg);

#endif
