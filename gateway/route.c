#include "gateway/route.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"

/* Bounds what a hostile registry can make us hold. */
#define MAX_TABLE_BYTES (256u * 1024 * 1024)

struct node {
	struct gw_slice literal;
	struct node *next;            /* sibling, while the tree is built */
	struct node *first;           /* literal children, while the tree is built */
	struct node **literals;       /* the same, sorted, once it is sealed */
	size_t n_literals;
	struct node *param;
	struct node *rest;            /* a leaf */
	const struct gw_route *routes[GW_METHOD__N];
	uint32_t allow;
};

struct gw_routes {
	struct base_arena arena;
	struct node *root;
	struct gw_service **services; /* by name */
	size_t n_services;
	struct gw_route *routes;
	size_t n_routes;
	struct gw_refusal *refusals;
	size_t n_refusals;
};

static const char *const method_names[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE",
	"OPTIONS", "OTHER" };

enum gw_method gw_method_of(struct gw_slice method)
{
	for (unsigned m = 0; m < GW_METHOD__N; m++)
		if (gw_slice_equal(method, gw_slice_of(method_names[m])))
			return (enum gw_method)m;
	return GW_METHOD_OTHER;
}

const char *gw_method_name(enum gw_method method)
{
	return method_names[method < GW_METHOD_OTHER ? method : GW_METHOD_OTHER];
}

void gw_allow_print(uint32_t methods, char out[GW_ALLOW_ROOM])
{
	size_t n = 0;

	if (methods & GW_ALLOW(GET))
		methods |= GW_ALLOW(HEAD);
	methods |= GW_ALLOW(OPTIONS);
	for (unsigned m = 0; m < GW_METHOD__N; m++)
		if (methods & 1u << m)
			n += (size_t)snprintf(
				out + n, GW_ALLOW_ROOM - n, "%s%s", n ? ", " : "", method_names[m]);
}

/* ---- building -------------------------------------------------------------- */

/* Zeroed; NULL: out of memory. */
static void *make(struct gw_routes *t, size_t size)
{
	void *p = base_arena_alloc(&t->arena, size ? size : 1);

	return p ? memset(p, 0, size) : NULL;
}

static const char *keep(struct gw_routes *t, const char *text)
{
	return text ? base_arena_dup(&t->arena, text, strlen(text)) : "";
}

static int by_age(const void *a, const void *b)
{
	const Pirn__Entry *x = *(Pirn__Entry *const *)a, *y = *(Pirn__Entry *const *)b;

	if (x->first_ms != y->first_ms)
		return x->first_ms < y->first_ms ? -1 : 1;
	return strcmp(x->manifest->service, y->manifest->service);
}

static int by_service_name(const void *a, const void *b)
{
	return strcmp(
		(*(struct gw_service *const *)a)->name, (*(struct gw_service *const *)b)->name);
}

static int by_literal(const void *a, const void *b)
{
	struct gw_slice x = (*(struct node *const *)a)->literal,
			y = (*(struct node *const *)b)->literal;
	int order = memcmp(x.data, y.data, x.size < y.size ? x.size : y.size);

	return order ? order : (x.size > y.size) - (x.size < y.size);
}

static struct node *literal_child(struct gw_routes *t, struct node *n, struct gw_slice literal)
{
	struct node *c = n->first;

	while (c && !gw_slice_equal(c->literal, literal))
		c = c->next;
	if (c || !(c = make(t, sizeof *c)))
		return c;
	c->literal = literal;
	c->next = n->first;
	n->first = c;
	n->n_literals++;
	return c;
}

/* The node below n for one segment of a route's path, made when it is new. */
static struct node *child_of(
	struct gw_routes *t, struct node *n, struct gw_slice segment, struct gw_route *route)
{
	struct node **place = &n->param;

	if (segment.size < 2 || segment.data[0] != '{')
		return literal_child(t, n, segment);
	segment = (struct gw_slice){ segment.data + 1, segment.size - 2 };
	if (segment.size && segment.data[segment.size - 1] == '*') {
		segment.size--;
		place = &n->rest;
	}
	route->params[route->n_params++] = segment;
	if (!*place)
		*place = make(t, sizeof **place);
	return *place;
}

/* Walks the (checked) path of route from the root; NULL: out of memory. */
static struct node *node_for(struct gw_routes *t, struct gw_route *route)
{
	struct node *n = t->root;
	const char *at = route->path + 1;

	for (;;) {
		const char *end = strchrnul(at, '/');
		n = child_of(t, n, (struct gw_slice){ at, (size_t)(end - at) }, route);
		if (!n || !*end)
			return n;
		at = end + 1;
	}
}

static enum base_err refuse(struct gw_routes *t, const struct gw_service *s,
	const Pirn__Route *from, const char *owner, const char *why)
{
	struct gw_refusal *r = &t->refusals[t->n_refusals];

	r->service = s->name;
	r->owner = owner;
	r->method = keep(t, from->method);
	r->path = keep(t, from->path);
	r->why = keep(t, why);
	if (!r->method || !r->path || !r->why)
		return BASE_NOMEM;
	t->n_refusals++;
	return BASE_OK;
}

static enum base_err add_route(struct gw_routes *t, struct gw_service *s, const Pirn__Route *from)
{
	struct gw_route *r = &t->routes[t->n_routes];
	char why[160] = "the method is unknown";
	struct node *n;

	memset(r, 0, sizeof *r);
	r->service = s;
	r->async = from->async;
	r->ack_memory = from->ack_memory;
	r->method = gw_method_of(gw_slice_of(from->method));
	if (r->method == GW_METHOD_OTHER ||
		base_manifest_path_check(from->path, why, sizeof why) != BASE_OK)
		return refuse(t, s, from, NULL, why);
	r->path = keep(t, from->path);
	n = r->path ? node_for(t, r) : NULL;
	if (!n)
		return BASE_NOMEM;
	if (n->routes[r->method])
		return refuse(t, s, from, n->routes[r->method]->service->name,
			"the route is another service's");
	n->routes[r->method] = r;
	n->allow |= 1u << r->method;
	t->n_routes++;
	return BASE_OK;
}

static struct gw_service *add_service(struct gw_routes *t, const Pirn__Entry *e)
{
	const Pirn__Manifest *m = e->manifest;
	struct gw_service *s = make(t, sizeof *s);

	if (!s)
		return NULL;
	s->name = keep(t, m->service);
	s->version = keep(t, m->version);
	s->description = keep(t, m->description);
	s->timeout_ms = m->timeout_ms;
	s->max_body = m->max_body_bytes;
	s->concurrency = m->concurrency;
	s->workers = e->workers;
	s->first_ms = e->first_ms;
	s->announced_ms = e->announced_ms;
	if (!s->name || !s->version || !s->description)
		return NULL;
	t->services[t->n_services++] = s;
	return s;
}

static enum base_err add_entry(struct gw_routes *t, const Pirn__Entry *e)
{
	struct gw_service *s;

	if (!base_manifest_is_service(e->manifest->service))
		return BASE_OK;
	s = add_service(t, e);
	if (!s)
		return BASE_NOMEM;
	for (size_t i = 0; i < e->manifest->n_routes; i++) {
		enum base_err err = add_route(t, s, e->manifest->routes[i]);
		if (err)
			return err;
	}
	return BASE_OK;
}

/* Turns the lists of literals below n into sorted arrays. Paths are short: it may recurse. */
static bool seal(struct gw_routes *t, struct node *n)
{
	size_t i = 0;

	n->literals = make(t, n->n_literals * sizeof *n->literals);
	if (!n->literals)
		return false;
	for (struct node *c = n->first; c; c = c->next) {
		n->literals[i++] = c;
		if (!seal(t, c))
			return false;
	}
	qsort(n->literals, n->n_literals, sizeof *n->literals, by_literal);
	return !n->param || seal(t, n->param);
}

/* Room for all, whether granted or refused. */
static bool reserve(struct gw_routes *t, const Pirn__Registry *registry)
{
	size_t n = 0;

	for (size_t i = 0; i < registry->n_entries; i++)
		n += registry->entries[i]->manifest->n_routes;
	t->root = make(t, sizeof *t->root);
	t->services = make(t, registry->n_entries * sizeof *t->services);
	t->routes = make(t, (n + 1) * sizeof *t->routes);
	t->refusals = make(t, (n + 1) * sizeof *t->refusals);
	return t->root && t->services && t->routes && t->refusals;
}

static enum base_err fill(struct gw_routes *t, const Pirn__Registry *registry)
{
	Pirn__Entry **entries;

	if (!reserve(t, registry))
		return BASE_NOMEM;
	entries = make(t, registry->n_entries * sizeof *entries);
	if (!entries)
		return BASE_NOMEM;
	if (registry->n_entries)
		memcpy(entries, registry->entries, registry->n_entries * sizeof *entries);
	qsort(entries, registry->n_entries, sizeof *entries, by_age);
	for (size_t i = 0; i < registry->n_entries; i++) {
		enum base_err err = add_entry(t, entries[i]);
		if (err)
			return err;
	}
	qsort(t->services, t->n_services, sizeof *t->services, by_service_name);
	return seal(t, t->root) ? BASE_OK : BASE_NOMEM;
}

enum base_err gw_routes_new(const Pirn__Registry *registry, struct gw_routes **out)
{
	struct gw_routes *t = calloc(1, sizeof *t);
	enum base_err err;

	if (!t)
		return BASE_NOMEM;
	base_arena_init(&t->arena, 16 * 1024, MAX_TABLE_BYTES);
	err = fill(t, registry);
	if (err == BASE_NOMEM && !t->arena.starved)
		err = BASE_FULL;
	if (err) {
		gw_routes_free(&t);
		return err;
	}
	*out = t;
	return BASE_OK;
}

void gw_routes_free(struct gw_routes **t)
{
	if (!*t)
		return;
	base_arena_fini(&(*t)->arena);
	free(*t);
	*t = NULL;
}

size_t gw_routes_services(const struct gw_routes *t)
{
	return t->n_services;
}

struct gw_service *gw_routes_service_at(const struct gw_routes *t, size_t i)
{
	return t->services[i];
}

struct gw_service *gw_routes_service(const struct gw_routes *t, struct gw_slice name)
{
	size_t low = 0, high = t->n_services;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		struct gw_service *s = t->services[middle];
		int order = strncmp(name.data, s->name, name.size);
		if (order == 0 && s->name[name.size] == '\0')
			return s;
		if (order > 0)
			low = middle + 1;
		else
			high = middle; /* equal so far: the service's name is the longer one */
	}
	return NULL;
}

size_t gw_routes_count(const struct gw_routes *t)
{
	return t->n_routes;
}

const struct gw_route *gw_routes_at(const struct gw_routes *t, size_t i)
{
	return &t->routes[i];
}

size_t gw_routes_refusals(const struct gw_routes *t)
{
	return t->n_refusals;
}

const struct gw_refusal *gw_routes_refusal_at(const struct gw_routes *t, size_t i)
{
	return &t->refusals[i];
}

/* ---- matching -------------------------------------------------------------- */

struct search {
	const struct gw_target *target;
	enum gw_method method;
	struct gw_match *out;
	size_t n_values;
};

static struct node *find_literal(const struct node *n, struct gw_slice literal)
{
	struct node key = { .literal = literal }, *wanted = &key;
	struct node **found =
		bsearch(&wanted, n->literals, n->n_literals, sizeof *n->literals, by_literal);

	return found ? *found : NULL;
}

/* All segments are used up at n. True ends the search. */
static bool arrive(struct search *s, const struct node *n)
{
	const struct gw_route *route = s->method < GW_METHOD__N ? n->routes[s->method] : NULL;
	bool by_get = !route && s->method == GW_METHOD_HEAD;

	s->out->allow |= n->allow;
	if (by_get)
		route = n->routes[GW_METHOD_GET];
	if (!route)
		return false;
	s->out->route = route;
	s->out->head_by_get = by_get;
	return true;
}

/* {rest*} takes the segments from depth on, unless they are one empty segment. */
static bool take_rest(struct search *s, const struct node *n, size_t depth)
{
	const struct gw_target *t = s->target;

	if (!n->rest || (depth + 1 == t->n_segments && t->segments[depth].size == 0))
		return false;
	s->out->rest_from = depth;
	s->out->values[s->n_values] = (struct gw_slice){ "", 0 };
	if (arrive(s, n->rest))
		return true;
	s->out->rest_from = SIZE_MAX;
	return false;
}

static bool descend(struct search *s, const struct node *n, size_t depth)
{
	struct gw_slice segment;
	const struct node *literal;

	if (depth == s->target->n_segments)
		return arrive(s, n);
	segment = s->target->segments[depth];
	literal = find_literal(n, segment);
	if (literal && descend(s, literal, depth + 1))
		return true;
	if (n->param && segment.size) {
		s->out->values[s->n_values++] = segment;
		if (descend(s, n->param, depth + 1))
			return true;
		s->n_values--;
	}
	return take_rest(s, n, depth);
}

enum gw_found gw_routes_match(const struct gw_routes *t, const struct gw_target *target,
	enum gw_method method, struct gw_match *out)
{
	struct search s = { .target = target, .method = method, .out = out };

	out->route = NULL;
	out->head_by_get = false;
	out->allow = 0;
	out->rest_from = SIZE_MAX;
	if (!target->asterisk && descend(&s, t->root, 0))
		return GW_FOUND;
	return out->allow ? GW_NO_METHOD : GW_NO_PATH;
}

size_t gw_match_rest(const struct gw_match *m, const struct gw_target *target, char *out)
{
	size_t n = 0;

	for (size_t i = m->rest_from; i < target->n_segments; i++) {
		if (i > m->rest_from)
			out[n++] = '/';
		if (target->segments[i].size)
			memcpy(out + n, target->segments[i].data, target->segments[i].size);
		n += target->segments[i].size;
	}
	return n;
}
