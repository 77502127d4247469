/* One connection to Redis in our loop: hiredis's context and its parser. This is the only
 * module that includes hiredis; redis.c builds on it what a connection lacks (reconnecting,
 * logging in, deadlines, bounds).
 *
 * Not hiredis's asynchronous half: 0.14's aborts the process when a server says something
 * that was not asked for, and swallows connect errors. Here a poll handle watches the
 * context's descriptor for reading and for a write that did not fit, and a FLUSH hook does
 * all other writes, so that what a turn gathered leaves in one write(2) and an idle turn
 * costs nothing.
 *
 * The owner may free a link anywhere, also in its callbacks, and hears nothing more.
 */
#ifndef STORE_LINK_H
#define STORE_LINK_H

#include "store/redis.h"

struct store_link;

struct store_link_events {
	void (*on_open)(void *arg);
	/* What came, in order: the answers to what was sent, and what the server says by itself (to a
	 * subscriber, or because it is no Redis). */
	void (*on_reply)(void *arg, const struct store_reply *reply);
	/* Once: it could not connect, or it broke. What was sent has no known result. The owner
	 * frees the link. */
	void (*on_lost)(void *arg, const char *why);
	void *arg;
	size_t max_reply; /* one of more bytes ends the connection; 0: no bound */
};

#define STORE_LINK_TOO_LARGE "a reply is larger than what is taken" /* on_lost's why then */

/* Begins to connect to an address (no name: that would block), or to a unix socket's path when
 * port is 0. UNAVAILABLE with a sentence in why when that fails at once; no event is called from
 * within. */
BASE_MUSTUSE enum base_err store_link_new(struct net_loop *loop, const char *address, uint16_t port,
                                          const struct store_link_events *events, struct store_link **out,
                                          char *why, size_t why_room);
/* Safe in every callback; takes NULL. */
void store_link_free(struct store_link **l);

/* UNAVAILABLE: it broke; NOMEM: nothing was sent. May be called in every callback, but not in a FLUSH hook. */
BASE_MUSTUSE enum base_err store_link_send(struct store_link *l, const struct store_arg *args, size_t n_args);

#endif
