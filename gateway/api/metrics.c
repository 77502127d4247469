/* GET /metrics: this process's figures, and those of every broker and worker, gathered
 * through the brokers. A worker is known to each of them; the first answer that has it
 * counts. Instances of one name are told apart by the beginning of their boot ids.
 */
#include <stdlib.h>

#include "gateway/gw.h"
#include "gateway/source.h"
#include "gateway/timer.h"

#define TIMEOUT_MS 2000
#define MAX_INSTANCES 10000
#define INSTANCE_ROOM 160

static const struct base_stat_def own_defs[] = {
	{ "pirn_gateway_connections", BASE_STAT_GAUGE, "Open connections, by listener." },
	{ "pirn_gateway_connections_cut_total", BASE_STAT_COUNTER,
		"Connections that a deadline ended, by listener." },
	{ "pirn_gateway_connections_evicted_total", BASE_STAT_COUNTER,
		"Connections that were closed to make room, by listener." },
	{ "pirn_gateway_held_bytes", BASE_STAT_GAUGE,
		"Bytes that connections, bodies and answers hold, by listener." },
	{ "pirn_gateway_calls_in_flight", BASE_STAT_GAUGE,
		"Calls that the brokers have not answered yet." },
	{ "pirn_gateway_brokers", BASE_STAT_GAUGE, "Brokers that are reachable and take work." },
	{ "pirn_gateway_services", BASE_STAT_GAUGE, "Services that the registry knows." },
	{ "pirn_gateway_routes", BASE_STAT_GAUGE, "Routes in force." },
	{ "pirn_gateway_routes_refused", BASE_STAT_GAUGE,
		"Routes that were claimed and not granted." },
	{ "pirn_gateway_access_lines_dropped_total", BASE_STAT_COUNTER,
		"Lines of the access log that nobody took in time." },
	{ "pirn_gateway_metrics_refused", BASE_STAT_GAUGE,
		"Figures in this answer that were left out, because the format forbids them." },
	{ "pirn_timers", BASE_STAT_GAUGE, "Timers that this gateway serves." },
	{ "pirn_timers_refused", BASE_STAT_GAUGE, "Timers that this gateway cannot serve." },
	{ "pirn_timer_fired_total", BASE_STAT_COUNTER,
		"Slots that this gateway was the first to fire; over all gateways, each once." },
	{ "pirn_timer_skipped_total", BASE_STAT_COUNTER,
		"Times that this gateway moved a timer on without a run: its beginning, slots left out." },
	{ "pirn_timer_beaten_total", BASE_STAT_COUNTER,
		"Slots of timers for which another gateway was first." },
	{ "pirn_timer_failed_total", BASE_STAT_COUNTER,
		"Slots of timers that were not taken, and are tried again." },
	{ "pirn_timer_lateness_seconds", BASE_STAT_HISTOGRAM,
		"From a slot's time to its acceptance, of those that were fired." },
};

enum own {
	CONNECTIONS,
	CUT,
	EVICTED,
	HELD,
	CALLS,
	BROKERS,
	SERVICES,
	ROUTES,
	ROUTES_REFUSED,
	LINES_DROPPED,
	METRICS_REFUSED,
	TIMERS,
	TIMERS_REFUSED,
	TIMER_FIRED,
	TIMER_SKIPPED,
	TIMER_BEATEN,
	TIMER_FAILED,
	TIMER_LATENESS
};

struct seen {
	uint8_t boot[BASE_ULID_SIZE];
	UT_hash_handle hh;
};

struct named {
	char name[INSTANCE_ROOM];
	UT_hash_handle hh;
};

struct scrape {
	struct gw *gw;
	struct gw_request *r;
	struct gw_prom prom;
	struct seen *seen;
	struct named *names;
	size_t n_instances;
	char instance[INSTANCE_ROOM]; /* our own */
};

/* ---- this process ---------------------------------------------------------------- */

static void sink(void *arg, const struct base_stat_sample *sample)
{
	struct scrape *s = arg;

	gw_prom_add(&s->prom, s->instance, sample);
}

static void put(struct scrape *s, enum own which, const char *labels, double value)
{
	sink(s, &(struct base_stat_sample){ .def = &own_defs[which], .labels = labels, .value = value });
}

static void put_listener(struct scrape *s, const struct gw_http *h, const char *labels)
{
	if (!h)
		return;
	put(s, CONNECTIONS, labels, (double)gw_http_connections(h));
	put(s, CUT, labels, (double)gw_http_cut(h));
	put(s, EVICTED, labels, (double)gw_http_evicted(h));
	put(s, HELD, labels, (double)gw_http_held(h));
}

static void put_timers(struct scrape *s)
{
	const struct gw_timer_figures *f = gw_timers_figures(s->gw->timers);

	put(s, TIMERS, "", (double)f->served);
	put(s, TIMERS_REFUSED, "", (double)f->refused);
	put(s, TIMER_FIRED, "", (double)f->fired);
	put(s, TIMER_SKIPPED, "", (double)f->skipped);
	put(s, TIMER_BEATEN, "", (double)f->beaten);
	put(s, TIMER_FAILED, "", (double)f->failed);
	sink(s, &(struct base_stat_sample){
			.def = &own_defs[TIMER_LATENESS], .labels = "", .hist = &f->lateness });
}

static void put_own(struct scrape *s)
{
	struct gw *gw = s->gw;

	put_listener(s, gw->users, "listener=\"users\"");
	put_listener(s, gw->admin, "listener=\"admin\"");
	put(s, CALLS, "", (double)client_engine_open(gw->engine));
	put(s, BROKERS, "", (double)client_engine_brokers(gw->engine));
	put(s, SERVICES, "", (double)gw_routes_services(gw->routes));
	put(s, ROUTES, "", (double)gw_routes_count(gw->routes));
	put(s, ROUTES_REFUSED, "", (double)gw_routes_refusals(gw->routes));
	put(s, LINES_DROPPED, "", gw->access ? (double)gw_access_dropped(gw->access) : 0);
	put_timers(s);
	gw_metrics_walk(&gw->metrics, sink, s);
	if (gw->sources)
		gw_sources_walk(gw->sources, sink, s);
	base_stat_process(sink, s);
}

/* ---- the others ------------------------------------------------------------------ */

/* True the first time; also false when memory is out, so that nothing is counted twice. */
static bool is_new(struct scrape *s, const uint8_t boot[BASE_ULID_SIZE])
{
	struct seen *found;

	HASH_FIND(hh, s->seen, boot, BASE_ULID_SIZE, found);
	if (found || s->n_instances == MAX_INSTANCES || !(found = calloc(1, sizeof *found)))
		return false;
	memcpy(found->boot, boot, BASE_ULID_SIZE);
	HASH_ADD(hh, s->seen, boot, BASE_ULID_SIZE, found);
	if (!found->hh.tbl) {
		free(found);
		return false;
	}
	s->n_instances++;
	return true;
}

/* The label's value: the name as far as it is text, and the boot id when another one has that name.
 * The end of a boot id is random, its beginning is the time. */
static void name_instance(struct scrape *s, const char *name, const uint8_t boot[BASE_ULID_SIZE],
	char out[INSTANCE_ROOM])
{
	struct named *n;
	char text[BASE_ULID_TEXT + 1];
	struct base_buf clean;

	base_buf_init(&clean);
	base_buf_json(&clean, name, strnlen(name, 100)); /* broken UTF-8 is mended there */
	out[0] = '\0';
	if (clean.size > 2)
		(void)stpncpy(out, (const char *)clean.data + 1, INSTANCE_ROOM - 1);
	out[clean.size > 2 && clean.size - 2 < INSTANCE_ROOM ? clean.size - 2 : INSTANCE_ROOM - 1] =
		'\0';
	base_buf_fini(&clean);
	HASH_FIND_STR(s->names, out, n);
	if (n) {
		base_ulid_print(boot, text);
		out[INSTANCE_ROOM - BASE_ULID_TEXT - 2] = '\0';
		strcat(strcat(out, "-"), text);
	}
	n = calloc(1, sizeof *n);
	if (!n)
		return;
	memcpy(n->name, out, sizeof n->name);
	HASH_ADD_STR(s->names, name, n);
	if (!n->hh.tbl)
		free(n);
}

static void add_instance(struct scrape *s, const Pirn__Instance *i)
{
	char instance[INSTANCE_ROOM];

	if (i->boot.len != BASE_ULID_SIZE || !is_new(s, i->boot.data))
		return;
	name_instance(s, i->name, i->boot.data, instance);
	gw_prom_instance(&s->prom, instance, i);
}

static void answer(struct scrape *s)
{
	struct gw_answer a = { .status = 200, .content_type = GW_PROM_TYPE };
	struct base_buf out;

	base_buf_init(&out);
	put(s, METRICS_REFUSED, "", (double)s->prom.refused);
	if (gw_prom_print(&s->prom, &out) == BASE_OK) {
		a.body = out.data;
		a.size = out.size;
		if (gw_http_answer(s->r, &a) == BASE_OK)
			goto done;
	}
	gw_http_problem(s->r, &gw_no_memory);
done:
	base_buf_fini(&out);
}

static void end_scrape(struct scrape *s)
{
	struct seen *seen, *next_seen;
	struct named *named, *next_named;

	HASH_ITER(hh, s->seen, seen, next_seen) {
		HASH_DEL(s->seen, seen);
		free(seen);
	}
	HASH_ITER(hh, s->names, named, next_named) {
		HASH_DEL(s->names, named);
		free(named);
	}
	gw_prom_fini(&s->prom);
	free(s);
}

static void on_answer(void *arg, const Pirn__Answer *a)
{
	struct scrape *s = arg;

	if (a) {
		for (size_t i = 0; i < a->n_instances; i++)
			add_instance(s, a->instances[i]);
		return;
	}
	answer(s);
	end_scrape(s);
}

/* Without brokers there are our own figures: they say so. */
void gw_api_metrics(struct gw *gw, struct gw_request *r)
{
	Pirn__Query query = PIRN__QUERY__INIT;
	struct scrape *s = calloc(1, sizeof *s);

	if (!s) {
		gw_http_problem(r, &gw_no_memory);
		return;
	}
	s->gw = gw;
	s->r = r;
	gw_prom_init(&s->prom);
	name_instance(s, gw->name, gw->boot, s->instance);
	(void)is_new(s, gw->boot);
	put_own(s);
	query.has_what = true;
	query.what = PIRN__QUERY_KIND__METRICS;
	if (client_engine_query(gw->engine, &query, TIMEOUT_MS, on_answer, s) != BASE_OK)
		on_answer(s, NULL);
}
