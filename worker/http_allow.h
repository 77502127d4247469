/* Which hosts HTTP endpoints may be called at: the setting http-allow.
 *
 * A manifest, and with callbacks any sender of an event, names URLs that this worker
 * then calls from within its own network. So without more only public addresses are
 * called. An address that is not public (private, loopback, link-local, shared,
 * multicast, documentation, and whatever embeds one of these) is called when the list
 * names it, or the host that stands for it:
 *
 *   app, app:3000            that host, at any port or at this one
 *   *.internal:8080          every host below a domain
 *   10.1.2.3, 10.0.0.0/8, [fd00::1]:80, fd00::/8   addresses
 *
 * A host that is named may have any address: whoever names it trusts its name server.
 * What is judged is always the very address that is about to be connected to, never
 * an earlier answer of a name server.
 */
#ifndef WRK_HTTP_ALLOW_H
#define WRK_HTTP_ALLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

#define WRK_HOST_MAX 254 /* with the NUL */

struct wrk_allow_rule {
	char host[WRK_HOST_MAX]; /* lower case; "" for addresses. ".internal": below it */
	uint8_t address[16];     /* IPv4 as ::ffff:a.b.c.d */
	unsigned bits;           /* of the 128 */
	uint16_t port;           /* 0: any */
};

struct wrk_allow {
	struct wrk_allow_rule *rules;
	size_t n;
	bool named_only; /* public addresses have to be named, too */
};

/* NULL or "" names nobody. CONFIG: why holds a sentence. */
BASE_MUSTUSE enum base_err wrk_allow_parse(
	const char *text, struct wrk_allow *out, char *why, size_t why_room);
void wrk_allow_fini(struct wrk_allow *a);

/* Whether host may be called at that address and port. host is as in the URL, without brackets. UNTRUSTED. */
bool wrk_allow_has(
	const struct wrk_allow *a, const char *host, uint16_t port, const struct sockaddr *address);

/* Whether the whole Internet reaches it. False for what is no IP address. */
bool wrk_allow_is_public(const struct sockaddr *address);

#endif
