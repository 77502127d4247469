/* What the two listeners say, and where each request goes. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "gateway/gw.h"
#include "gateway/jsonout.h"
#include "gateway/source.h"
#include "gateway/timer.h"

#define GET_ONLY           (GW_ALLOW(GET) | GW_ALLOW(HEAD))
#define STATUS_CLIENT_LEFT 499

static const struct gw_resource users_resources[] = {
	{ { "/healthz", 8 }, GET_ONLY, gw_api_healthz },
	{ { "/readyz", 7 }, GET_ONLY, gw_api_readyz },
	{ { "/v1/events", 10 }, GW_ALLOW(POST), gw_api_events },
	{ { "/v1/invocations", 15 }, GET_ONLY, gw_api_invocations },
	{ { "/v1/invocations/*", 17 }, GET_ONLY | GW_ALLOW(DELETE), gw_api_invocation },
	{ { NULL, 0 }, 0, NULL },
};

static const struct gw_resource admin_resources[] = {
	{ { "/healthz", 8 }, GET_ONLY, gw_api_healthz },
	{ { "/readyz", 7 }, GET_ONLY, gw_api_readyz },
	{ { "/v1/services", 12 }, GET_ONLY, gw_api_services },
	{ { "/v1/breakers", 12 }, GET_ONLY, gw_api_breakers },
	{ { "/v1/breakers/*", 14 }, GET_ONLY | GW_ALLOW(POST), gw_api_breaker },
	{ { "/v1/dead", 8 }, GET_ONLY, gw_api_dead },
	{ { "/v1/dead/*", 10 }, GET_ONLY, gw_api_dead_of },
	{ { "/v1/dead/*/redrive", 18 }, GW_ALLOW(POST), gw_api_dead_redrive },
	{ { "/v1/dead/*/purge", 16 }, GW_ALLOW(POST), gw_api_dead_purge },
	{ { "/v1/dead/*/*", 12 }, GET_ONLY, gw_api_dead_letter },
	{ { "/v1/tail", 8 }, GET_ONLY, gw_api_tail },
	{ { "/v1/timers", 10 }, GET_ONLY, gw_api_timers },
	{ { "/v1/timers/*/*/fire", 19 }, GW_ALLOW(POST), gw_api_timer_fire },
	{ { "/v1/sources", 11 }, GET_ONLY, gw_api_sources },
	{ { "/metrics", 8 }, GET_ONLY, gw_api_metrics },
	{ { NULL, 0 }, 0, NULL },
};

/* ---- answers that need no service -------------------------------------------- */

void gw_answer_with(struct gw_request *r, struct gw_answer *a, const struct base_buf *json)
{
	a->content_type = "application/json";
	a->body = json->data;
	a->size = json->size;
	if (base_buf_check(json) != BASE_OK || gw_http_answer(r, a) != BASE_OK)
		gw_http_problem(r, &gw_no_memory);
}

void gw_answer_json(struct gw_request *r, unsigned status, const struct base_buf *json)
{
	gw_answer_with(r, &(struct gw_answer){ .status = status }, json);
}

void gw_answer_later(struct gw_request *r, const char *detail)
{
	gw_http_problem(
		r, &(struct gw_problem){ .status = 503, .detail = detail, .retry_after_s = 1 });
}

/* A gateway that has just started knows nothing yet: that is no reason to call a path unknown. */
void gw_answer_not_found(struct gw *gw, struct gw_request *r, const char *detail)
{
	if (gw->informed)
		gw_http_refuse(r, 404, detail);
	else
		gw_answer_later(r, "No broker has said yet what is served here.");
}

static void answer_options(struct gw_request *r, uint32_t methods)
{
	char allow[GW_ALLOW_ROOM];
	struct gw_field field = { "Allow", allow };
	struct gw_answer a = { .status = 204, .fields = &field, .n_fields = 1 };

	gw_allow_print(methods, allow);
	if (gw_http_answer(r, &a) != BASE_OK)
		gw_http_problem(r, &gw_no_memory);
}

static void answer_not_allowed(struct gw_request *r, uint32_t methods)
{
	char allow[GW_ALLOW_ROOM], detail[128];

	gw_allow_print(methods, allow);
	(void)snprintf(detail, sizeof detail, "This path takes %s.", allow);
	gw_http_problem(r, &(struct gw_problem){ .status = 405, .detail = detail, .allow = allow });
}

/* False: the method may go on. */
static bool refuse_method(struct gw_request *r, uint32_t allow)
{
	enum gw_method method = gw_errand_of(r)->method;

	if (method < GW_METHOD__N && (allow & 1u << method))
		return false;
	if (method == GW_METHOD_OPTIONS)
		answer_options(r, allow);
	else
		answer_not_allowed(r, allow);
	return true;
}

/* ---- heads -------------------------------------------------------------------- */

static bool is_at(const struct gw_target *t, struct gw_slice path)
{
	size_t n = 0;

	for (size_t at = 1; at <= path.size; n++) {
		const char *slash = memchr(path.data + at, '/', path.size - at);
		size_t end = slash ? (size_t)(slash - path.data) : path.size;
		struct gw_slice wanted = { path.data + at, end - at };
		if (n == t->n_segments || t->segments[n].size == 0)
			return false;
		if (!gw_slice_equal(wanted, GW_SLICE("*")) &&
			!gw_slice_equal(wanted, t->segments[n]))
			return false;
		at = end + 1;
	}
	return n == t->n_segments;
}

static bool serve_resource(const struct gw_resource *resources, struct gw *gw, struct gw_request *r)
{
	const struct gw_resource *found = resources;

	while (found->run && !is_at(&gw->target, found->path))
		found++;
	if (!found->run)
		return false;
	if (!refuse_method(r, found->allow))
		gw_errand_of(r)->run = found->run;
	return true;
}

/* What pirn-callback is given it signs: that is for brokers only. */
static bool is_reserved(struct gw_slice name)
{
	size_t size = strlen(BASE_MANIFEST_RESERVED);

	return name.size >= size && memcmp(name.data, BASE_MANIFEST_RESERVED, size) == 0;
}

/* /v1/invoke/{service} */
static bool serve_invoke(struct gw *gw, struct gw_request *r)
{
	const struct gw_target *t = &gw->target;
	const struct gw_service *s;

	if (t->n_segments != 3 || !gw_slice_equal(t->segments[0], GW_SLICE("v1")) ||
		!gw_slice_equal(t->segments[1], GW_SLICE("invoke")))
		return false;
	if (refuse_method(r, GW_ALLOW(POST)))
		return true;
	s = is_reserved(t->segments[2]) ? NULL : gw_routes_service(gw->routes, t->segments[2]);
	if (s)
		gw_invoke_head(gw, r, s, NULL);
	else
		gw_answer_not_found(gw, r, "No service of this name is known.");
	return true;
}

static void serve_route(struct gw *gw, struct gw_request *r)
{
	struct gw_errand *e = gw_errand_of(r);
	struct gw_match match;

	switch (gw_routes_match(gw->routes, &gw->target, e->method, &match)) {
	case GW_FOUND:
		gw_invoke_head(gw, r, match.route->service, &match);
		break;
	case GW_NO_METHOD:
		(void)refuse_method(r, match.allow);
		break;
	case GW_NO_PATH:
		gw_answer_not_found(gw, r, "Nothing is at this path.");
		break;
	}
}

void gw_serve_target(struct gw *gw, const struct gw_request *r)
{
	const char *why;
	enum base_err err = gw_target_parse(
		&gw->target, r->target.data, r->target.size, gw->segment_room, &why);

	assert(err == BASE_OK); /* it was when its head came */
}

/* False: it was answered. */
static bool open_errand(struct gw *gw, struct gw_request *r)
{
	struct gw_errand *e = gw_errand_of(r);
	const char *why;

	e->gw = gw;
	e->method = gw_method_of(r->method);
	e->served = gw_metrics_begin(&gw->metrics, NULL);
	if (r->target.size > GW_SEGMENT_ROOM ||
		gw_target_parse(&gw->target, r->target.data, r->target.size, gw->segment_room,
			&why) != BASE_OK) {
		gw_http_refuse(r, r->target.size > GW_SEGMENT_ROOM ? 414 : 400,
			r->target.size > GW_SEGMENT_ROOM ? "The request target is too long." : why);
		return false;
	}
	if (!gw->target.asterisk)
		return true;
	if (e->method == GW_METHOD_OPTIONS)
		answer_options(r, (1u << GW_METHOD__N) - 1);
	else
		gw_http_refuse(r, 400, "The target * is for OPTIONS only.");
	return false;
}

static void on_users_head(void *arg, struct gw_request *r)
{
	struct gw *gw = arg;

	if (!open_errand(gw, r))
		return;
	if (!serve_resource(users_resources, gw, r) && !serve_invoke(gw, r))
		serve_route(gw, r);
}

static void on_admin_head(void *arg, struct gw_request *r)
{
	struct gw *gw = arg;

	if (open_errand(gw, r) && !serve_resource(admin_resources, gw, r))
		gw_http_refuse(r, 404, "Nothing is at this path.");
}

/* ---- the rest of a request's life --------------------------------------------- */

static void on_request(void *arg, struct gw_request *r)
{
	gw_errand_of(r)->run(arg, r);
}

static void on_done(void *arg, const struct gw_request *r)
{
	struct gw *gw = arg;
	const struct gw_errand *e = gw_errand_of(r);
	unsigned status = r->status ? r->status : STATUS_CLIENT_LEFT;
	uint64_t us = net_loop_now_us(gw->loop) - r->started_us;
	const char *service = e->served && e->served->name[0] ? e->served->name : NULL;
	bool read = r->method.size > 0; /* its first line */
	char invocation[BASE_ULID_TEXT + 1];

	if (e->has_invocation)
		base_ulid_print(e->invocation, invocation);
	if (gw->access)
		gw_access_add(gw->access,
			&(struct gw_access_line){
				.method = read ? r->method : (struct gw_slice){ NULL, 0 },
				.target = read ? r->target : (struct gw_slice){ NULL, 0 },
				.status = status,
				.bytes = r->bytes,
				.us = us,
				.service = service,
				.id = r->id_text[0] ? r->id_text : NULL,
				.remote = e->remote[0] ? e->remote : r->peer_text,
				.invocation = e->has_invocation ? invocation : NULL });
	gw_metrics_end(&gw->metrics, e->served ? e->served : gw_metrics_begin(&gw->metrics, NULL),
		gw_method_of(r->method), status, us);
}

struct gw_http_events gw_users_events(struct gw *gw)
{
	return (struct gw_http_events){ on_users_head, on_request, on_done, gw };
}

struct gw_http_events gw_admin_events(struct gw *gw)
{
	return (struct gw_http_events){ on_admin_head, on_request, on_done, gw };
}

/* ---- routes ------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool was_refused(const struct gw_routes *t, const struct gw_refusal *r)
{
	for (size_t i = 0; i < gw_routes_refusals(t); i++) {
		const struct gw_refusal *old = gw_routes_refusal_at(t, i);
		if (same_text(old->service, r->service) && same_text(old->owner, r->owner) &&
			same_text(old->method, r->method) && same_text(old->path, r->path))
			return true;
	}
	return false;
}

/* Each refusal is logged when it is new, not at every push. */
static void tell_refusals(const struct gw_routes *old, const struct gw_routes *new)
{
	for (size_t i = 0; i < gw_routes_refusals(new); i++) {
		const struct gw_refusal *r = gw_routes_refusal_at(new, i);
		if (!was_refused(old, r))
			base_log(BASE_ERROR, "route_refused", LOG_STR("service", r->service),
				LOG_STR("owner", r->owner), LOG_STR("method", r->method),
				LOG_STR("path", r->path), LOG_STR("why", r->why));
	}
}

#define MAX_WARNINGS 64 /* a broker has a handful */

/* As one text for all who ask; without memory the last one stays. */
static void keep_warnings(struct gw *gw, const Pirn__Registry *registry)
{
	struct base_buf out;
	struct gw_json j;
	char *text;

	base_buf_init(&out);
	j = gw_json_on(&out);
	gw_json_open(&j, NULL, '[');
	for (size_t i = 0; i < registry->n_warnings && i < MAX_WARNINGS; i++)
		gw_json_str(&j, NULL, registry->warnings[i]);
	gw_json_close(&j, ']');
	text = (char *)base_buf_take(&out);
	if (!text)
		return;
	free(gw->warnings);
	gw->warnings = text;
}

void gw_serve_show_events(const struct gw *gw, struct gw_json *j)
{
	gw_json_bool(j, "events", gw->events);
	gw_json_raw(j, "warnings", gw->warnings ? gw->warnings : "[]");
}

void gw_serve_fini(struct gw *gw)
{
	gw_routes_free(&gw->routes);
	free(gw->warnings);
	gw->warnings = NULL;
}

void gw_serve_registry(struct gw *gw, const Pirn__Registry *registry)
{
	struct gw_routes *fresh;
	enum base_err err = gw_routes_new(registry, &fresh);

	if (err == BASE_NOMEM)
		base_no_memory("routes"); /* with the old ones, new services would be denied to their users */
	gw->events = registry->events;
	keep_warnings(gw, registry);
	gw_timers_follow(gw->timers, registry);
	if (gw->sources)
		gw_sources_follow(gw->sources, registry);
	if (!err) {
		tell_refusals(gw->routes, fresh);
		base_log(BASE_INFO, "routes_changed",
			LOG_U64("services", gw_routes_services(fresh)),
			LOG_U64("routes", gw_routes_count(fresh)),
			LOG_U64("refused", gw_routes_refusals(fresh)));
		gw_routes_free(&gw->routes);
		gw->routes = fresh;
		gw->informed = true;
		err = gw_metrics_follow(&gw->metrics, fresh);
	}
	if (err)
		base_log(BASE_ERROR, "routes_not_taken", LOG_ERR(err));
}
