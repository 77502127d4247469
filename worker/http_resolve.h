/* Names of endpoints to addresses, for one loop.
 *
 * Each name is looked up by a thread of its own, and by one at a time, whoever waits:
 * a name server that is slow for one name holds up nobody else (libuv's own look-ups
 * share a few threads with the whole process). What is known is used for 5 s, and for
 * a minute more while it is looked up anew, so that in steady use nobody ever waits.
 * Whoever could not connect says so, and the next one waits for a fresh answer.
 *
 * What comes out are addresses as the system orders them. Whether they may be called
 * is not judged here.
 */
#ifndef WRK_HTTP_RESOLVE_H
#define WRK_HTTP_RESOLVE_H

#include <netinet/in.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

#define WRK_ADDRESSES_MAX 16

struct wrk_addresses {
	struct sockaddr_storage items[WRK_ADDRESSES_MAX];
	size_t n;
};

/* Embedded in who waits. fn is called from the loop, once: found NULL and why (static) when there is none. */
struct wrk_lookup {
	struct wrk_lookup *prev, *next;
	struct wrk_host *host; /* NULL: does not wait */
	void (*fn)(struct wrk_lookup *l, const struct wrk_addresses *found, const char *why);
};

struct wrk_resolver;

BASE_MUSTUSE enum base_err wrk_resolver_new(uv_loop_t *loop, struct wrk_resolver **out);
/* Nobody waits any more. Look-ups that go on end by themselves. The loop has to run once more. */
void wrk_resolver_free(struct wrk_resolver **r);

/* What is known of the name and fit for use; good until the loop goes on. NULL: ask. */
const struct wrk_addresses *wrk_resolver_known(struct wrk_resolver *r, const char *name);
/* l->fn is set. NOMEM: it does not wait. */
BASE_MUSTUSE enum base_err wrk_resolver_ask(
	struct wrk_resolver *r, const char *name, struct wrk_lookup *l);
void wrk_resolver_forget(struct wrk_lookup *l); /* waits no longer; nothing when it does not */
void wrk_resolver_doubt(struct wrk_resolver *r, const char *name); /* it led nowhere */

#endif
