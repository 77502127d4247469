/* Sources: other people's Redis, out of which events come. A manifest's `redis` entry is a
 * stream (source_stream.c: through a consumer group, nothing is lost) or a pattern of
 * keys (source_keys.c: notifications, heard by one gateway at a time, lost while nobody
 * listens). This file has the sources of the registry, and what the two have in common.
 *
 * A change of the registry leaves alone what did not change. What goes wrong with a
 * source (its server is away, its key is no stream, an ACL forbids it) is told once, with
 * what to do about it, and tried again for as long as the manifest has it.
 *
 * A manifest travels and is shown, so it has no passwords: url: $NAME stands for what this
 * process has in the variable PIRN_SOURCE_NAME, or in the file that PIRN_SOURCE_NAME_FILE
 * names: the whole URL, so that no manifest can have somebody's password sent to a host
 * of its choice. A gateway without it leaves the source to those that have it.
 */
#ifndef GATEWAY_SOURCE_H
#define GATEWAY_SOURCE_H

#include <stdbool.h>

#include "base/stats.h"
#include "proto/pirn.pb-c.h"

#define GW_SOURCES_MAX     256u /* more are not served */
#define GW_SOURCE_VARIABLE "PIRN_SOURCE_"

struct gw;
struct gw_sources;

struct gw_sources_conf {
	uint32_t claim_ms; /* a stream's entries that nobody acknowledged for so long are taken over */
	uint64_t max_body; /* larger events are refused */
};

/* NULL: no memory. */
struct gw_sources *gw_sources_new(struct gw *gw, const struct gw_sources_conf *conf);
void gw_sources_free(struct gw_sources **s); /* takes NULL; before the loop goes, and before the engine */

/* registry is UNTRUSTED. */
void gw_sources_follow(struct gw_sources *s, const Pirn__Registry *registry);

/* What was read and will be settled soon: a gateway that ends waits for it. */
size_t gw_sources_open(const struct gw_sources *s);

/* How one fares at this gateway; what it points to is for the call only. */
struct gw_source_view {
	const char *service, *name, *url; /* url: as the manifest has it, without a password */
	const char *stream, *group;       /* NULL: it is keys; group: NULL: the service's name */
	const char *keys;                 /* NULL: it is a stream */
	const char *const *ops;
	size_t n_ops;
	bool here;        /* false: this gateway has no URL for it, and leaves it to others */
	bool up;          /* it works now */
	bool listens;     /* of keys: this gateway is the one that hears them */
	const char *fault; /* what was last wrong; NULL: nothing is */
	size_t unsettled;
	uint64_t accepted, refused, taken, lost;
};

typedef void gw_source_fn(void *arg, const struct gw_source_view *v);

/* All of them, by service and name. */
void gw_sources_each(struct gw_sources *s, gw_source_fn *fn, void *arg);

void gw_sources_walk(const struct gw_sources *s, base_stat_sink *sink, void *arg);

#endif
