/* One connection to Redis: hiredis in our loop. This is the only module that
 * includes hiredis; redis.c builds on it what a connection lacks (reconnecting,
 * logging in, deadlines, bounds).
 *
 * The adapter is our own, because hiredis 0.14's swallows connect errors: a poll
 * handle on the context's descriptor for reading and for a write that did not fit,
 * and a FLUSH hook for all other writes, so that what a turn gathered leaves in one
 * write(2) and an idle turn costs nothing.
 *
 * hiredis frees its context by itself when a connection breaks, and must not be
 * freed from within its own callbacks. So a link outlives both: its owner may free
 * it anywhere, hears nothing more, and the context goes when hiredis has returned.
 */
#ifndef STORE_LINK_H
#define STORE_LINK_H

#include "store/redis.h"

struct store_link;

struct store_link_events {
	void (*on_open)(void *arg);
	/* One for each send, in order. */
	void (*on_reply)(void *arg, const struct store_reply *reply);
	/* Once: it could not connect, or it broke. What was sent has no known result. The owner
	 * frees the link. */
	void (*on_lost)(void *arg, const char *why);
	void *arg;
};

/* Begins to connect to an address (no name: that would block), or to a unix socket's path when
 * port is 0. UNAVAILABLE with a sentence in why when that fails at once; no event is called from
 * within. */
BASE_MUSTUSE enum base_err store_link_new(struct net_loop *loop, const char *address, uint16_t port,
                                          const struct store_link_events *events, struct store_link **out,
                                          char *why, size_t why_room);
/* Safe in every callback; takes NULL. */
void store_link_free(struct store_link **l);

/* UNAVAILABLE: it broke; NOMEM. May be called in every callback, but not in a FLUSH hook. */
BASE_MUSTUSE enum base_err store_link_send(struct store_link *l, const struct store_arg *args, size_t n_args);

#endif
