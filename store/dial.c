/* From a URL to a link: addresses are dialled one after another, a name is resolved
 * in libuv's thread pool first, anew for every round.
 */
#include "store/redis_parts.h"

#include <stdlib.h>
#include <string.h>

static void dial(struct store_redis *r)
{
	const struct store_link_events events = store_redis_link_events(r);
	const char *address = r->url.local ? r->url.host : r->addresses[r->address];
	char why[128];
	r->phase = STORE_CONNECTING;
	r->heard_at = store_redis_now_ms(r);
	r->phase_due_at = store_redis_now_ms(r) + r->conf.connect_ms;
	if (store_link_new(r->loop, address, r->url.port, &events, &r->link, why, sizeof why))
		store_redis_drop(r, "cannot reach Redis: %s", why);
	else
		store_redis_plan(r);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct store_lookup *lookup = request->data;
	struct store_redis *r = lookup->owner;
	free(lookup);
	if (r) {
		r->lookup = NULL;
		for (const struct addrinfo *a = found; a && r->n_addresses < STORE_MAX_ADDRESSES;
			a = a->ai_next) {
			if (uv_ip_name(a->ai_addr, r->addresses[r->n_addresses],
				    sizeof r->addresses[0]) == 0)
				r->n_addresses++;
		}
		if (r->n_addresses)
			dial(r);
		else
			store_redis_drop(r, "cannot resolve the host of Redis, %s: %s", r->url.host,
				status ? uv_strerror(status) : "it has no address");
	}
	uv_freeaddrinfo(found);
}

static void resolve(struct store_redis *r)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct store_lookup *lookup = calloc(1, sizeof *lookup);
	r->phase = STORE_RESOLVING;
	r->phase_due_at = store_redis_now_ms(r) + r->conf.connect_ms;
	if (lookup) {
		lookup->request.data = lookup;
		lookup->owner = r;
	}
	if (!lookup || uv_getaddrinfo(net_loop_uv(r->loop), &lookup->request, on_resolved,
			       r->url.host, NULL, &hints) != 0) {
		free(lookup);
		store_redis_drop(r, "cannot resolve the host of Redis, %s", r->url.host);
		return;
	}
	r->lookup = lookup;
	store_redis_plan(r);
}

static bool is_address(const char *host)
{
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	return uv_ip4_addr(host, 0, &v4) == 0 || uv_ip6_addr(host, 0, &v6) == 0;
}

void store_redis_attempt(struct store_redis *r)
{
	if (!r->url.local && !r->n_addresses && is_address(r->url.host) &&
		strlen(r->url.host) < sizeof r->addresses[0]) {
		strcpy(r->addresses[0], r->url.host);
		r->n_addresses = 1;
	}
	if (r->url.local || r->n_addresses)
		dial(r);
	else
		resolve(r);
}

void store_redis_forget_lookup(struct store_redis *r)
{
	if (!r->lookup)
		return;
	r->lookup->owner = NULL; /* its callback comes either way, and frees it */
	uv_cancel((uv_req_t *)&r->lookup->request);
	r->lookup = NULL;
}
