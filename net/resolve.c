#include "net/resolve.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf.h"
#include "base/log.h"

#define EVERY_MS 2000

struct net_resolver {
	uv_timer_t timer;
	uv_getaddrinfo_t request;
	struct net_endpoint endpoint;
	net_resolved_fn *fn; /* NULL: freed, waiting for its callbacks */
	void *arg;
	bool asking, failed, timer_closed;
};

/* ---- endpoints ------------------------------------------------------------ */

static bool is_port(const char *text)
{
	uint64_t port;

	return base_conf_u64(text, &port) && port > 0 && port < 65536;
}

static bool is_literal(const char *host)
{
	uint8_t address[16];

	return host[0] == '[' || inet_pton(AF_INET, host, address) == 1;
}

static bool is_bracketed_v6(const char *host)
{
	char inner[256];
	uint8_t address[16];
	size_t size = strlen(host);

	if (size < 4 || host[0] != '[' || host[size - 1] != ']')
		return false;
	memcpy(inner, host + 1, size - 2);
	inner[size - 2] = '\0';
	return inet_pton(AF_INET6, inner, address) == 1;
}

static bool is_name(const char *host)
{
	return host[0] != '\0' && host[0] != '-' &&
	       host[strspn(host,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._")] ==
		       '\0';
}

static const char *parse_tcp(struct net_endpoint *e)
{
	const char *rest = e->text + strlen("tcp://");
	const char *colon = strrchr(rest, ':');

	if (!colon || strlen(colon + 1) >= sizeof e->port || !is_port(colon + 1))
		return "a port from 1 to 65535 is missing at its end";
	if (colon == rest || (size_t)(colon - rest) >= sizeof e->host)
		return "the host is missing, or too long";
	memcpy(e->host, rest, (size_t)(colon - rest));
	strcpy(e->port, colon + 1);
	if (!is_literal(e->host)) {
		e->kind = NET_ENDPOINT_NAME;
		return is_name(e->host) ? NULL : "the host is neither a name nor an address";
	}
	return e->host[0] != '[' || is_bracketed_v6(e->host) ? NULL : "the IPv6 address is wrong";
}

enum base_err net_endpoint_parse(
	const char *text, size_t size, struct net_endpoint *out, const char **why)
{
	struct net_endpoint e = { .kind = NET_ENDPOINT_LITERAL };

	*why = "an endpoint is tcp://HOST:PORT or ipc://PATH";
	if (size == 0 || size >= sizeof e.text || memchr(text, '\0', size))
		return BASE_INVALID;
	memcpy(e.text, text, size);
	if (strncmp(e.text, "ipc://", 6) == 0) {
		if (e.text[6] == '\0')
			return BASE_INVALID;
	} else {
		if (strncmp(e.text, "tcp://", 6) != 0)
			return BASE_INVALID;
		*why = parse_tcp(&e);
		if (*why)
			return BASE_INVALID;
	}
	*out = e;
	return BASE_OK;
}

char *net_endpoints_fault(const char *list)
{
	for (const char *at = list;; at++) {
		size_t size = strcspn(at, ",");
		struct net_endpoint e;
		const char *why;
		char *fault;

		if (net_endpoint_parse(at, size, &e, &why))
			return asprintf(&fault, "\"%.*s\": %s", (int)size, at, why) < 0 ? NULL : fault;
		at += size;
		if (*at == '\0')
			return NULL;
	}
}

/* ---- looking up ----------------------------------------------------------- */

static void drop_if_done(struct net_resolver *r)
{
	if (!r->fn && !r->asking && r->timer_closed)
		free(r);
}

static bool print_address(const struct addrinfo *a, const char *port, char *out, size_t room)
{
	char text[INET6_ADDRSTRLEN];

	if (a->ai_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)a->ai_addr;
		if (!inet_ntop(AF_INET, &in->sin_addr, text, sizeof text))
			return false;
		snprintf(out, room, "tcp://%s:%s", text, port);
		return true;
	}
	if (a->ai_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const void *)a->ai_addr;
		if (!inet_ntop(AF_INET6, &in->sin6_addr, text, sizeof text))
			return false;
		snprintf(out, room, "tcp://[%s]:%s", text, port);
		return true;
	}
	return false;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void tell(struct net_resolver *r, const struct addrinfo *answer)
{
	char texts[NET_RESOLVE_MAX][NET_ENDPOINT_MAX];
	const char *list[NET_RESOLVE_MAX] = { NULL };
	size_t n = 0, kept = 0;

	for (const struct addrinfo *a = answer; a && n < NET_RESOLVE_MAX; a = a->ai_next)
		if (print_address(a, r->endpoint.port, texts[n], sizeof texts[n])) {
			list[n] = texts[n];
			n++;
		}
	qsort(list, n, sizeof *list, compare);
	for (size_t i = 0; i < n; i++)
		if (kept == 0 || strcmp(list[kept - 1], list[i]) != 0)
			list[kept++] = list[i];
	if (kept > 0)
		r->fn(r->arg, list, kept);
}

static void on_time(uv_timer_t *timer);

static void ask_later(struct net_resolver *r)
{
	uv_timer_start(&r->timer, on_time, EVERY_MS, 0);
}

static void complain(struct net_resolver *r, int status)
{
	if (r->failed)
		return;
	r->failed = true;
	base_log(BASE_WARN, "resolve_failed", LOG_STR("endpoint", r->endpoint.text),
		LOG_STR("error", uv_strerror(status)));
}

static void on_answer(uv_getaddrinfo_t *request, int status, struct addrinfo *answer)
{
	struct net_resolver *r = request->data;

	r->asking = false;
	if (r->fn) {
		if (status == 0) {
			r->failed = false;
			tell(r, answer);
		} else {
			complain(r, status);
		}
	}
	uv_freeaddrinfo(answer);
	if (r->fn)
		ask_later(r);
	else
		drop_if_done(r);
}

static void ask(struct net_resolver *r)
{
	const struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
	int rc;

	r->request.data = r;
	rc = uv_getaddrinfo(r->timer.loop, &r->request, on_answer, r->endpoint.host, NULL, &hints);
	r->asking = rc == 0;
	if (rc == 0)
		return;
	complain(r, rc);
	ask_later(r);
}

static void on_time(uv_timer_t *timer)
{
	ask(timer->data);
}

enum base_err net_resolver_new(struct net_loop *loop, const struct net_endpoint *e,
	net_resolved_fn *fn, void *arg, struct net_resolver **out)
{
	struct net_resolver *r = calloc(1, sizeof *r);

	if (!r)
		return BASE_NOMEM;
	r->endpoint = *e;
	r->fn = fn;
	r->arg = arg;
	uv_timer_init(net_loop_uv(loop), &r->timer);
	r->timer.data = r;
	ask(r);
	*out = r;
	return BASE_OK;
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct net_resolver *r = handle->data;

	r->timer_closed = true;
	drop_if_done(r);
}

void net_resolver_free(struct net_resolver **rp)
{
	struct net_resolver *r = *rp;

	if (!r)
		return;
	*rp = NULL;
	r->fn = NULL;
	if (r->asking)
		uv_cancel((uv_req_t *)&r->request); /* one that runs already ends when it ends */
	uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}
