/* Which service answers which request: built from a registry, then never changed.
 * A new registry makes a new table, and the pointer is swapped between two requests.
 *
 * Routes lie in a tree of path segments. At each step a literal is tried before a
 * {parameter}, and a {rest*} last; a branch that leads nowhere is left again, so
 * /a/{x}/c is found beside /a/b/d. A node is looked at once a request: the work is
 * bounded by the size of the tree. When a path is there but not for this method, the
 * search goes on, so POST /a/b does not hide GET /a/{x}; what Allow lists is the
 * union of all nodes that fit.
 *
 * Two services that claim the same method and shape ({names} do not tell shapes
 * apart): the one known longest keeps it (first_ms, then name), so that nobody takes
 * a route away by announcing it; the other's claim is a refusal, kept for
 * /v1/services and the log. Paths are checked here again: the registry is UNTRUSTED.
 *
 * HEAD is answered by a GET route unless a HEAD route is there: the service then
 * sees a GET, and the body stays here. OPTIONS that no route claims is answered by
 * the gateway.
 */
#ifndef GATEWAY_ROUTE_H
#define GATEWAY_ROUTE_H

#include <stdint.h>

#include "base/err.h"
#include "base/manifest.h"
#include "gateway/slice.h"
#include "gateway/target.h"
#include "proto/pirn.pb-c.h"

/* Methods as bits of Allow. GW_METHOD_OTHER stands for all that no route can have. */
enum gw_method {
	GW_METHOD_GET,
	GW_METHOD_HEAD,
	GW_METHOD_POST,
	GW_METHOD_PUT,
	GW_METHOD_PATCH,
	GW_METHOD_DELETE,
	GW_METHOD_OPTIONS,
	GW_METHOD__N,
	GW_METHOD_OTHER = GW_METHOD__N
};

#define GW_ALLOW(method) (1u << GW_METHOD_##method)
#define GW_ALLOW_ROOM    64 /* for the text of any set */

enum gw_method gw_method_of(struct gw_slice method);
const char *gw_method_name(enum gw_method method); /* "OTHER" for the rest */
void gw_allow_print(uint32_t methods,
	char out[GW_ALLOW_ROOM]); /* "GET, HEAD"; HEAD and OPTIONS as they follow */

struct gw_service {
	const char *name;
	const char *version;     /* "" when it has none */
	const char *description; /* "" when it has none */
	uint32_t timeout_ms;     /* 0: not said */
	uint32_t max_body;       /* bytes; 0: the gateway's bound */
	uint32_t concurrency;
	uint32_t workers; /* over all brokers */
	uint64_t first_ms;
	uint64_t announced_ms;
	void *user; /* whoever built the table; NULL at first */
};

struct gw_route {
	struct gw_service *service;
	enum gw_method method;
	bool async;
	bool ack_memory;
	const char *path;                                 /* as in the manifest */
	struct gw_slice params[BASE_MANIFEST_PARAMS_MAX]; /* their names, in order; into path */
	size_t n_params;
};

/* A claim that was not granted. */
struct gw_refusal {
	const char *service;
	const char *owner; /* who has the route; NULL when the path itself is at fault */
	const char *method;
	const char *path;
	const char *why; /* for people */
};

struct gw_routes;

/* The registry may go afterwards. An empty registry makes an empty table. */
BASE_MUSTUSE enum base_err gw_routes_new(const Pirn__Registry *registry, struct gw_routes **out);
void gw_routes_free(struct gw_routes **t);

/* Sorted by name. */
size_t gw_routes_services(const struct gw_routes *t);
struct gw_service *gw_routes_service_at(const struct gw_routes *t, size_t i);
struct gw_service *gw_routes_service(
	const struct gw_routes *t, struct gw_slice name); /* NULL: not known */

/* Those in force, and those refused; both grouped by service, in the order of age. */
size_t gw_routes_count(const struct gw_routes *t);
const struct gw_route *gw_routes_at(const struct gw_routes *t, size_t i);
size_t gw_routes_refusals(const struct gw_routes *t);
const struct gw_refusal *gw_routes_refusal_at(const struct gw_routes *t, size_t i);

enum gw_found { GW_FOUND, GW_NO_PATH, GW_NO_METHOD };

struct gw_match {
	const struct gw_route *route; /* FOUND */
	bool head_by_get;             /* FOUND: a HEAD that a GET route answers */
	uint32_t allow;               /* FOUND and NO_METHOD: methods of all nodes that fit */
	/* FOUND: the parameters' values, decoded; a rest is its decoded segments joined by /, from
	 * rest_from on, so its slice is empty here (see gw_match_rest). */
	struct gw_slice values[BASE_MANIFEST_PARAMS_MAX];
	size_t rest_from; /* index of a segment; SIZE_MAX: the route has no rest */
};

enum gw_found gw_routes_match(const struct gw_routes *t, const struct gw_target *target,
	enum gw_method method, struct gw_match *out);

/* Writes the rest's value into out, which has room for the path's size; returns its size. */
size_t gw_match_rest(const struct gw_match *m, const struct gw_target *target, char *out);

#endif
