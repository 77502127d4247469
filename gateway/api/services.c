/* GET /v1/services: what the registry knows of each service, and what all brokers
 * together say of its work. A broker's figures are its own, so they are added up;
 * workers are known to several brokers, so their boot ids are united. Answers come one
 * by one, are UNTRUSTED, and are summed up as they come; a broker that does not answer
 * in time is missing from the sums, and "brokers" says how many are in them.
 */
#include <stdlib.h>

#include "gateway/gw.h"
#include "gateway/jsonout.h"

#define TIMEOUT_MS  2000
#define MAX_WORKERS 100000 /* of one service that are told apart */

struct tally {
	char name[BASE_MANIFEST_NAME_MAX + 1];
	uint64_t running, waiting, done, failed;
	struct base_hist latency;
	struct {
		uint64_t ready, running, waiting, oldest_ms;
		uint64_t accepted, done, dead, expired, cancelled, retried;
	} events;
	char breaker[32];
	uint8_t (*workers)[BASE_ULID_SIZE]; /* with repetitions, until the end */
	size_t n_workers, room;
	UT_hash_handle hh;
};

struct survey {
	struct gw *gw;
	struct gw_request *r;
	struct tally *tallies;
	size_t n_brokers;
	bool failed; /* out of memory */
};

static struct tally *tally_for(struct survey *s, const char *name)
{
	struct tally *t;

	HASH_FIND_STR(s->tallies, name, t);
	if (t)
		return t;
	/* What no registry has is not shown: and no peer can make us hold more than there are services. */
	if (!gw_routes_service(s->gw->routes, gw_slice_of(name)))
		return NULL;
	t = calloc(1, sizeof *t);
	if (!t) {
		s->failed = true;
		return NULL;
	}
	(void)stpncpy(t->name, name, sizeof t->name - 1);
	HASH_ADD_STR(s->tallies, name, t);
	if (!t->hh.tbl) {
		free(t);
		s->failed = true;
		return NULL;
	}
	return t;
}

static bool add_worker(struct tally *t, ProtobufCBinaryData boot)
{
	if (boot.len != BASE_ULID_SIZE || t->n_workers == MAX_WORKERS)
		return true;
	if (t->n_workers == t->room) {
		size_t room = t->room ? t->room * 2 : 16;
		void *grown = realloc(t->workers, room * sizeof *t->workers);
		if (!grown)
			return false;
		t->workers = grown;
		t->room = room;
	}
	memcpy(t->workers[t->n_workers++], boot.data, BASE_ULID_SIZE);
	return true;
}

/* Each delivery is in one broker's hands. */
static void add_events(struct tally *t, const Pirn__ServiceState *from)
{
	t->events.ready += from->events_ready;
	t->events.running += from->events_running;
	t->events.waiting += from->events_waiting;
	if (from->oldest_ms > t->events.oldest_ms)
		t->events.oldest_ms = from->oldest_ms;
	t->events.accepted += from->events_accepted;
	t->events.done += from->events_done;
	t->events.dead += from->events_dead;
	t->events.expired += from->events_expired;
	t->events.cancelled += from->events_cancelled;
	t->events.retried += from->events_retried;
}

/* Each broker has a breaker of its own: the worst is shown. */
static unsigned badness(const char *breaker)
{
	if (*breaker == '\0')
		return 0;
	if (strstr(breaker, "half"))
		return 2;
	return strstr(breaker, "open") ? 3 : 1;
}

static void add_breaker(struct tally *t, const char *breaker)
{
	if (!breaker || badness(breaker) <= badness(t->breaker))
		return;
	memset(t->breaker, 0, sizeof t->breaker);
	(void)stpncpy(t->breaker, breaker, sizeof t->breaker - 1);
}

static void add_state(struct survey *s, const Pirn__ServiceState *from)
{
	struct tally *t = tally_for(s, from->service);

	if (!t)
		return;
	t->running += from->running;
	t->waiting += from->waiting;
	t->done += from->done;
	t->failed += from->failed;
	add_events(t, from);
	base_hist_merge(&t->latency, from->latency, from->n_latency);
	add_breaker(t, from->breaker);
	for (size_t i = 0; i < from->n_workers; i++)
		if (!add_worker(t, from->workers[i]))
			s->failed = true;
}

static int by_boot(const void *a, const void *b)
{
	return memcmp(a, b, BASE_ULID_SIZE);
}

static size_t count_workers(const struct tally *t)
{
	size_t n = 0;

	if (t->n_workers)
		qsort(t->workers, t->n_workers, sizeof *t->workers, by_boot);
	for (size_t i = 0; i < t->n_workers; i++)
		n += i == 0 || by_boot(t->workers[i - 1], t->workers[i]) != 0;
	return n;
}

/* ---- the answer ----------------------------------------------------------------- */

static void put_routes(struct gw_json *j, const struct gw_routes *routes, const char *service)
{
	gw_json_open(j, "routes", '[');
	for (size_t i = 0; i < gw_routes_count(routes); i++) {
		const struct gw_route *route = gw_routes_at(routes, i);
		if (strcmp(route->service->name, service) != 0)
			continue;
		gw_json_open(j, NULL, '{');
		gw_json_str(j, "method", gw_method_name(route->method));
		gw_json_str(j, "path", route->path);
		if (route->async)
			gw_json_bool(j, "async", true);
		if (route->ack_memory)
			gw_json_str(j, "ack", "memory");
		gw_json_close(j, '}');
	}
	gw_json_close(j, ']');
	gw_json_open(j, "refused_routes", '[');
	for (size_t i = 0; i < gw_routes_refusals(routes); i++) {
		const struct gw_refusal *refusal = gw_routes_refusal_at(routes, i);
		if (strcmp(refusal->service, service) != 0)
			continue;
		gw_json_open(j, NULL, '{');
		gw_json_str(j, "method", refusal->method);
		gw_json_str(j, "path", refusal->path);
		gw_json_str(j, "owner", refusal->owner);
		gw_json_str(j, "why", refusal->why);
		gw_json_close(j, '}');
	}
	gw_json_close(j, ']');
}

static void put_ms(struct gw_json *j, const char *key, const struct base_hist *h, double q)
{
	if (h->n)
		gw_json_f64(j, key, (double)base_hist_quantile_us(h, q) / 1000);
	else
		gw_json_str(j, key, NULL);
}

static void put_tally(struct gw_json *j, const struct tally *t)
{
	gw_json_u64(j, "workers", count_workers(t));
	gw_json_u64(j, "running", t->running);
	gw_json_u64(j, "waiting", t->waiting);
	gw_json_u64(j, "done", t->done);
	gw_json_u64(j, "failed", t->failed);
	put_ms(j, "p50_ms", &t->latency, 0.5);
	put_ms(j, "p99_ms", &t->latency, 0.99);
	gw_json_str(j, "breaker", t->breaker[0] ? t->breaker : NULL);
}

static void put_events(struct gw_json *j, const struct tally *t)
{
	gw_json_open(j, "events", '{');
	gw_json_u64(j, "ready", t->events.ready);
	gw_json_u64(j, "running", t->events.running);
	gw_json_u64(j, "waiting", t->events.waiting);
	gw_json_u64(j, "oldest_ms", t->events.oldest_ms);
	gw_json_u64(j, "accepted", t->events.accepted);
	gw_json_u64(j, "done", t->events.done);
	gw_json_u64(j, "dead", t->events.dead);
	gw_json_u64(j, "expired", t->events.expired);
	gw_json_u64(j, "cancelled", t->events.cancelled);
	gw_json_u64(j, "retried", t->events.retried);
	gw_json_close(j, '}');
}

static void put_service(struct gw_json *j, const struct survey *s, const struct gw_service *service)
{
	static const struct tally nothing;
	const struct tally *t;

	HASH_FIND_STR(s->tallies, service->name, t);
	gw_json_open(j, NULL, '{');
	gw_json_str(j, "service", service->name);
	gw_json_str(j, "version", service->version[0] ? service->version : NULL);
	gw_json_str(j, "description", service->description[0] ? service->description : NULL);
	put_tally(j, t ? t : &nothing);
	put_events(j, t ? t : &nothing);
	gw_json_u64(
		j, "timeout_ms", service->timeout_ms ? service->timeout_ms : GW_DEFAULT_TIMEOUT_MS);
	gw_json_u64(j, "concurrency", service->concurrency);
	put_routes(j, s->gw->routes, service->name);
	gw_json_close(j, '}');
}

static void answer(const struct survey *s)
{
	struct base_buf out;
	struct gw_json j;

	base_buf_init(&out);
	j = gw_json_on(&out);
	gw_json_open(&j, NULL, '{');
	gw_json_u64(&j, "brokers", s->n_brokers);
	gw_serve_show_events(s->gw, &j);
	gw_json_open(&j, "services", '[');
	for (size_t i = 0; i < gw_routes_services(s->gw->routes); i++)
		put_service(&j, s, gw_routes_service_at(s->gw->routes, i));
	gw_json_close(&j, ']');
	gw_json_close(&j, '}');
	base_buf_chr(&out, '\n');
	gw_answer_json(s->r, 200, &out);
	base_buf_fini(&out);
}

static void end_survey(struct survey *s)
{
	struct tally *t, *next;

	HASH_ITER (hh, s->tallies, t, next) {
		HASH_DEL(s->tallies, t);
		free(t->workers);
		free(t);
	}
	free(s);
}

static void on_answer(void *arg, const Pirn__Answer *a)
{
	struct survey *s = arg;

	if (a) {
		s->n_brokers++;
		for (size_t i = 0; i < a->n_services; i++)
			add_state(s, a->services[i]);
		return;
	}
	if (s->failed)
		gw_http_problem(s->r, &gw_no_memory);
	else if (s->n_brokers == 0)
		gw_http_problem(s->r, &(struct gw_problem){ .status = 503,
					      .detail = "No broker is reachable.",
					      .retry_after_s = 1 });
	else
		answer(s);
	end_survey(s);
}

void gw_api_services(struct gw *gw, struct gw_request *r)
{
	Pirn__Query query = PIRN__QUERY__INIT;
	struct survey *s = calloc(1, sizeof *s);

	query.has_what = true;
	query.what = PIRN__QUERY_KIND__SERVICES;
	if (s) {
		s->gw = gw;
		s->r = r;
	}
	if (!s || client_engine_query(gw->engine, &query, TIMEOUT_MS, on_answer, s) != BASE_OK) {
		free(s);
		gw_http_problem(r, &(struct gw_problem){ .status = 503,
					   .detail = "The brokers cannot be asked now.",
					   .retry_after_s = 1 });
	}
}
