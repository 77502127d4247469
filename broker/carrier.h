/* Carries the core's asks (broker/core/ask.h) to Redis, in the words of store/journal.h
 * and store/ops.h, and each reply back as what the core is told. One connection and the
 * order of the calls: store, settle and beat stay in order, which the protocol leans on
 * (doc/delivery.md); pages and questions ride along.
 *
 * Every ask is told about exactly once, and never from within brk_carrier_ask, because
 * the core must not be entered while its actions are being carried out:
 *
 *   a reply                          as it is, from the loop
 *   the connection fell, or time out LOST, from within store_redis's fall
 *   it could not be sent             AWAY, a few milliseconds later: a pause, so that a
 *                                    core which asks again does not spin while Redis's
 *                                    bounds are full
 *
 * An ask costs a record of a slab; there is none on the heap (what store/ needs to make
 * a command of it is its own).
 */
#ifndef BROKER_CARRIER_H
#define BROKER_CARRIER_H

#include "base/hist.h"
#include "broker/core/ask.h"
#include "net/loop.h"
#include "store/redis.h"

struct brk_carrier;

/* told is borrowed. May call brk_carrier_ask. */
typedef void brk_carrier_fn(void *arg, const struct brk_told *told);

BASE_MUSTUSE enum base_err brk_carrier_new(struct net_loop *loop, const struct store_bounds *bounds,
	brk_carrier_fn *fn, void *arg, struct brk_carrier **out);
/* After the connection was freed: its open commands end here. Nothing is told any more. Takes NULL. */
void brk_carrier_free(struct brk_carrier **c);
/* From now on nothing is told: the broker ends. */
void brk_carrier_mute(struct brk_carrier *c);

/* redis may be NULL: no Redis, all is AWAY. ask is borrowed until this returns. */
void brk_carrier_ask(struct brk_carrier *c, struct store_redis *redis, const struct brk_ask *ask);

/* From a STORE or SETTLE to its reply, as Redis was there to give it. */
const struct base_hist *brk_carrier_commits(const struct brk_carrier *c);

size_t brk_carrier_open(const struct brk_carrier *c); /* asks that are not told yet */

#endif
