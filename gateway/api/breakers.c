/* GET /v1/breakers, GET and POST /v1/breakers/{service}: what the brokers' circuit breakers
 * do. Each broker has its own breaker for a service, so all are asked, and each one's word
 * is shown; a service's own state is the worst of them. Answers are UNTRUSTED.
 *
 * POST forces them: {"force":"open"}, {"force":"closed"}, or "auto", which gives them back
 * to their machines. It goes to every broker that is linked and answers what each does
 * then. A broker that did not answer learns of it through the registry: "answered" says
 * how many of "asked" have, and one is enough.
 */
#include <stdlib.h>

#include "base/json.h"
#include "gateway/gw.h"
#include "gateway/jsonout.h"

#define TIMEOUT_MS 2000
#define NO_STATE   UINT32_MAX

struct told {
	char name[BASE_MANIFEST_NAME_MAX + 1];
	uint32_t state; /* a BreakerState, or NO_STATE */
	uint32_t force; /* a BreakerForce: not AUTO when any is forced */
	uint64_t last;  /* the answer that told of it */
	struct base_buf rows;
	struct gw_json j; /* on rows, within [ */
	UT_hash_handle hh;
};

struct poll {
	struct gw *gw;
	struct gw_request *r;
	char service[BASE_MANIFEST_NAME_MAX + 1]; /* "": all */
	struct told *told;
	size_t asked, answered;
	bool failed; /* out of memory */
};

/* ---- what the brokers say ------------------------------------------------------- */

static const char *state_name(uint32_t state)
{
	static const char *const names[] = { [PIRN__BREAKER_STATE__CLOSED] = "closed",
		[PIRN__BREAKER_STATE__OPEN] = "open",
		[PIRN__BREAKER_STATE__HALF_OPEN] = "half-open" };

	return state < sizeof names / sizeof names[0] ? names[state] : NULL;
}

static const char *const force_names[] = { [PIRN__BREAKER_FORCE__AUTO] = "auto",
	[PIRN__BREAKER_FORCE__FORCED_OPEN] = "open",
	[PIRN__BREAKER_FORCE__FORCED_CLOSED] = "closed" };

#define N_FORCES (sizeof force_names / sizeof force_names[0])

static const char *force_name(uint32_t force)
{
	return force < N_FORCES ? force_names[force] : NULL;
}

/* What a call meets: the machine goes on beneath a force, and is not heard. */
static uint32_t state_of(const Pirn__Breaker *b)
{
	switch (b->force) {
	case PIRN__BREAKER_FORCE__FORCED_OPEN:
		return PIRN__BREAKER_STATE__OPEN;
	case PIRN__BREAKER_FORCE__FORCED_CLOSED:
		return PIRN__BREAKER_STATE__CLOSED;
	default:
		return b->state;
	}
}

/* Open before half-open before closed. */
static unsigned badness(uint32_t state)
{
	switch (state) {
	case PIRN__BREAKER_STATE__OPEN:
		return 3;
	case PIRN__BREAKER_STATE__HALF_OPEN:
		return 2;
	case PIRN__BREAKER_STATE__CLOSED:
		return 1;
	default:
		return 0;
	}
}

static struct told *told_of(struct poll *p, const char *name)
{
	struct told *t;

	HASH_FIND_STR(p->told, name, t);
	if (t)
		return t;
	/* What no registry has is not shown: no peer can make us hold more than there are services. */
	if ((p->service[0] && strcmp(name, p->service) != 0) ||
		!gw_routes_service(p->gw->routes, gw_slice_of(name)))
		return NULL;
	t = calloc(1, sizeof *t);
	if (!t) {
		p->failed = true;
		return NULL;
	}
	(void)stpncpy(t->name, name, sizeof t->name - 1);
	t->state = NO_STATE;
	base_buf_init(&t->rows);
	t->j = gw_json_on(&t->rows);
	gw_json_open(&t->j, NULL, '[');
	HASH_ADD_STR(p->told, name, t);
	if (!t->hh.tbl) {
		base_buf_fini(&t->rows);
		free(t);
		p->failed = true;
		return NULL;
	}
	return t;
}

static void put_row(struct gw_json *j, const char *broker, const Pirn__Breaker *b)
{
	gw_json_open(j, NULL, '{');
	gw_json_str(j, "broker", broker);
	gw_json_str(j, "state", state_name(state_of(b)));
	gw_json_str(j, "force", force_name(b->force));
	gw_json_u64(j, "wait_ms", b->wait_ms);
	gw_json_u64(j, "openings", b->openings);
	gw_json_u64(j, "ok", b->ok);
	gw_json_u64(j, "failed", b->failed);
	gw_json_u64(j, "probing", b->probing);
	gw_json_u64(j, "opened_total", b->opened_total);
	gw_json_u64(j, "refused_total", b->refused_total);
	gw_json_open(j, "ejected", '[');
	for (size_t i = 0; i < b->n_ejected; i++)
		gw_json_str(j, NULL, b->ejected[i]);
	gw_json_close(j, ']');
	gw_json_close(j, '}');
}

/* One row a broker, whatever it says twice. */
static void take_breaker(struct poll *p, const char *broker, const Pirn__Breaker *b)
{
	struct told *t = told_of(p, b->service);

	if (!t || t->last == p->answered)
		return;
	t->last = p->answered;
	if (badness(state_of(b)) > badness(t->state))
		t->state = state_of(b);
	if (b->force)
		t->force = b->force;
	put_row(&t->j, broker, b);
}

/* ---- the answer ----------------------------------------------------------------- */

static void put_service(struct gw_json *j, struct poll *p, const char *name)
{
	struct told *t;

	HASH_FIND_STR(p->told, name, t);
	gw_json_str(j, "service", name);
	gw_json_str(j, "state", t ? state_name(t->state) : NULL);
	gw_json_str(j, "force", t ? force_name(t->force) : NULL);
	if (t)
		gw_json_close(&t->j, ']');
	if (t && base_buf_check(&t->rows) != BASE_OK)
		p->failed = true;
	gw_json_raw(j, "brokers", t && !p->failed ? (const char *)t->rows.data : "[]");
}

static void put_all(struct gw_json *j, struct poll *p)
{
	gw_json_open(j, "services", '[');
	for (size_t i = 0; i < gw_routes_services(p->gw->routes); i++) {
		gw_json_open(j, NULL, '{');
		put_service(j, p, gw_routes_service_at(p->gw->routes, i)->name);
		gw_json_close(j, '}');
	}
	gw_json_close(j, ']');
}

static void answer(struct poll *p)
{
	struct base_buf out;
	struct gw_json j;

	base_buf_init(&out);
	j = gw_json_on(&out);
	gw_json_open(&j, NULL, '{');
	gw_json_u64(&j, "asked", p->asked > p->answered ? p->asked : p->answered);
	gw_json_u64(&j, "answered", p->answered);
	if (p->service[0])
		put_service(&j, p, p->service);
	else
		put_all(&j, p);
	gw_json_close(&j, '}');
	base_buf_chr(&out, '\n');
	if (p->failed)
		gw_http_problem(p->r, &gw_no_memory);
	else
		gw_answer_json(p->r, 200, &out);
	base_buf_fini(&out);
}

static void end(struct poll *p)
{
	struct told *t, *next;

	HASH_ITER (hh, p->told, t, next) {
		HASH_DEL(p->told, t);
		base_buf_fini(&t->rows);
		free(t);
	}
	free(p);
}

static void on_answer(void *arg, const Pirn__Answer *a)
{
	struct poll *p = arg;

	if (!a) {
		if (p->answered == 0)
			gw_answer_later(p->r, "No broker is reachable.");
		else
			answer(p);
		end(p);
		return;
	}
	if (a->reason != PIRN__REASON__NONE) /* it knows no breakers, or not this one yet */
		return;
	p->answered++;
	for (size_t i = 0; i < a->n_breakers; i++)
		take_breaker(p, a->broker, a->breakers[i]);
}

/* ---- the question --------------------------------------------------------------- */

static void ask(struct gw *gw, struct gw_request *r, const char *service, Pirn__Query *query)
{
	struct poll *p = calloc(1, sizeof *p);

	query->has_what = true;
	if (p) {
		p->gw = gw;
		p->r = r;
		p->asked = client_engine_brokers(gw->engine);
		(void)strcpy(p->service, service);
	}
	if (*service)
		query->service = p ? p->service : NULL;
	if (!p || client_engine_query(gw->engine, query, TIMEOUT_MS, on_answer, p) != BASE_OK) {
		free(p);
		gw_answer_later(r, "The brokers cannot be asked now.");
	}
}

void gw_api_breakers(struct gw *gw, struct gw_request *r)
{
	Pirn__Query query = PIRN__QUERY__INIT;

	query.what = PIRN__QUERY_KIND__BREAKERS;
	ask(gw, r, "", &query);
}

/* The service of the path. False: it was answered. */
static bool find_service(
	struct gw *gw, struct gw_request *r, char service[BASE_MANIFEST_NAME_MAX + 1])
{
	const struct gw_service *s;

	gw_serve_target(gw, r);
	s = gw_routes_service(gw->routes, gw->target.segments[2]);
	if (s) {
		(void)strcpy(service, s->name);
		return true;
	}
	gw_answer_not_found(gw, r, "No service of this name is known.");
	return false;
}

/* UNTRUSTED: the body has one member, and it is one of the words. */
static bool read_force(const struct gw_request *r, uint32_t *force)
{
	struct base_json body, key, word, other;
	struct base_json_walk walk;
	const char *why;
	size_t at;

	if (!base_json_check((const char *)r->payload.data + r->body_at,
		    r->payload.size - r->body_at, 1, &body, &why, &at) ||
		body.kind != BASE_JSON_OBJECT)
		return false;
	walk = base_json_walk(&body);
	if (!base_json_next(&walk, &key, &word) || !base_json_is(&key, "force") ||
		base_json_next(&walk, &key, &other))
		return false;
	for (*force = 0; *force < N_FORCES; ++*force)
		if (base_json_is(&word, force_names[*force]))
			return true;
	return false;
}

void gw_api_breaker(struct gw *gw, struct gw_request *r)
{
	Pirn__Query query = PIRN__QUERY__INIT;
	char service[BASE_MANIFEST_NAME_MAX + 1];

	if (!find_service(gw, r, service))
		return;
	query.what = PIRN__QUERY_KIND__BREAKERS;
	if (gw_errand_of(r)->method == GW_METHOD_POST) {
		if (!read_force(r, &query.force)) {
			gw_http_refuse(r, 400,
				"The body is one of {\"force\":\"open\"}, {\"force\":\"closed\"} and {\"force\":\"auto\"}.");
			return;
		}
		query.has_force = true;
		query.what = PIRN__QUERY_KIND__BREAKER_SET;
	}
	ask(gw, r, service, &query);
}
