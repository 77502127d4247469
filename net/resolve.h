/* Endpoints, and the brokers behind a name. A list of endpoints is tcp://HOST:PORT
 * or ipc://PATH, comma-separated. A HOST that is a literal address needs nothing;
 * a name is looked up every 2 s without blocking the loop, because it may stand
 * for several brokers and they come and go. A look-up that fails keeps what was
 * known: a name server that is down takes no broker away.
 */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "net/loop.h"

#define NET_ENDPOINT_MAX 300 /* with the NUL */
#define NET_RESOLVE_MAX  64  /* addresses of one name; more are ignored */

enum net_endpoint_kind { NET_ENDPOINT_LITERAL, NET_ENDPOINT_NAME };

struct net_endpoint {
	enum net_endpoint_kind kind;
	char text[NET_ENDPOINT_MAX]; /* the whole, as libzmq takes it */
	char host[256];              /* NAME */
	char port[6];
};

/* INVALID, with *why a static sentence. UNTRUSTED text. */
BASE_MUSTUSE enum base_err net_endpoint_parse(const char *text, size_t size, struct net_endpoint *out, const char **why);

/* What is wrong with a list of endpoints, as a sentence that names the one (heap); NULL: nothing is, or
 * there is no memory to say it. UNTRUSTED text. */
char *net_endpoints_fault(const char *list);

struct net_resolver;

/* The addresses that stand behind the name now, as endpoints; sorted, without duplicates, n > 0. */
typedef void net_resolved_fn(void *arg, const char *const *endpoints, size_t n);

/* Looks up at once and then every 2 s. e is copied. */
BASE_MUSTUSE enum base_err net_resolver_new(struct net_loop *loop, const struct net_endpoint *e, net_resolved_fn *fn, void *arg, struct net_resolver **out);
void net_resolver_free(struct net_resolver **r); /* takes NULL; fn is not called after it */

#endif
