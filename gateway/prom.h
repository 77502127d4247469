/* Prometheus's text format (0.0.4), out of figures from everywhere: this process's own,
 * and those of brokers and workers that came through the brokers, each with an
 * instance label. Samples are gathered first and sorted, because all lines of a metric
 * must stand together, whoever they came from.
 *
 * What peers send is UNTRUSTED: a name or a label that the format forbids, a type that
 * is not the first one's, and a series that is there already are left out and counted.
 * Histograms are folded to one bucket a doubling.
 */
#ifndef GATEWAY_PROM_H
#define GATEWAY_PROM_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/stats.h"
#include "proto/pirn.pb-c.h"

#define GW_PROM_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct gw_prom_sample;

struct gw_prom {
	struct base_arena arena;
	struct gw_prom_sample *samples;
	size_t n, room;
	size_t refused;
	bool failed; /* out of memory: what there is, is not all */
};

void gw_prom_init(struct gw_prom *p);
void gw_prom_fini(struct gw_prom *p);

/* One of ours; instance as any text. Everything is copied. */
void gw_prom_add(struct gw_prom *p, const char *instance, const struct base_stat_sample *sample);

/* A peer's; instance is the label's value. UNTRUSTED. */
void gw_prom_instance(struct gw_prom *p, const char *instance, const Pirn__Instance *from);

/* NOMEM: nothing that can be used was written. */
BASE_MUSTUSE enum base_err gw_prom_print(struct gw_prom *p, struct base_buf *out);

#endif
