/* The registry in Redis: what serves what, so that brokers learn of each other's
 * services and a restart of everything forgets none. (The core's own registry.c
 * decides what is true; this keeps a copy of it where it lasts.)
 *
 * A hash, service → packed Entry without the number of workers, and a version that
 * grows with each change. Every second the version is read; when it is not the
 * one we know, the whole hash is. Of two entries for a service the one that was
 * announced last counts, the first sight that is older, and of what they say of its
 * breaker whatever was said later (broker/core/note.h), each for itself; what is better
 * here than in Redis is written back.
 *
 * Without Redis everything goes on from memory; what changed meanwhile is written
 * when it is back. A version that went down, or an entry that is gone after a new
 * connection, means that Redis lost data: then ours is written again. An entry that
 * vanishes while we look on was dropped by another broker, and stays away.
 *
 * What stands in Redis is UNTRUSTED: bounded, unpacked in an arena, and an entry that
 * is not one is overwritten by ours, or left alone.
 */
#ifndef BROKER_CATALOG_H
#define BROKER_CATALOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "proto/pirn.pb-c.h"
#include "store/redis.h"

struct brk_catalog;

struct brk_catalog_conf {
	uint32_t max_services;
	uint32_t poll_ms; /* 0: 1,000: another broker's opening is worth little later */
	void (*on_read)(void *arg); /* the whole hash was read, its entries are told; NULL: nobody asks */
};

/* An entry of Redis that is new, or better than ours; borrowed. May call brk_catalog_keep and
 * _drop. */
typedef void brk_catalog_fn(void *arg, const Pirn__Entry *entry);

BASE_MUSTUSE enum base_err brk_catalog_new(struct net_loop *loop, const struct brk_catalog_conf *conf,
	brk_catalog_fn *on_entry, void *arg, struct brk_catalog **out);
/* After the connection was freed: its open commands end in the catalog. Takes NULL. */
void brk_catalog_free(struct brk_catalog **c);

/* The connection was made, is up (store_redis_events.on_up), or has fallen. */
void brk_catalog_up(struct brk_catalog *c, struct store_redis *redis);
void brk_catalog_down(struct brk_catalog *c);

/* The core's KEEP_SERVICE and DROP_SERVICE. NOMEM or FULL: it is not kept, nothing else changed. */
BASE_MUSTUSE enum base_err brk_catalog_keep(struct brk_catalog *c, const Pirn__Entry *entry);
void brk_catalog_drop(struct brk_catalog *c, const char *service);

size_t brk_catalog_unsaved(const struct brk_catalog *c); /* entries that Redis has not acknowledged */

#endif
