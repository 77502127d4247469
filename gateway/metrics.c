#include "gateway/metrics.h"

#include <stdio.h>
#include <stdlib.h>

static const struct base_stat_def requests_def = {
	"pirn_gateway_requests_total", BASE_STAT_COUNTER,
	"Requests that were answered, by service, status and method; service is empty when none was reached."
};
static const struct base_stat_def duration_def = { "pirn_gateway_request_duration_seconds",
	BASE_STAT_HISTOGRAM, "From a request's head to the end of its answer." };
static const struct base_stat_def accepted_def = { "pirn_gateway_events_accepted_total",
	BASE_STAT_COUNTER,
	"Events that were accepted, by service; one again under its key counts again." };
static const struct base_stat_def refused_def = {
	"pirn_gateway_events_refused_total", BASE_STAT_COUNTER,
	"Events that were refused, or of which it is not known whether they were accepted, by service."
};
static const struct base_stat_def in_flight_def = { "pirn_gateway_requests_in_flight",
	BASE_STAT_GAUGE, "Requests that have no answer yet." };

void gw_metrics_init(struct gw_metrics *m)
{
	memset(m, 0, sizeof *m);
	m->none.known = true;
}

static void free_served(struct gw_metrics *m, struct gw_served *s)
{
	HASH_DEL(m->services, s);
	free(s->counts);
	free(s);
}

void gw_metrics_fini(struct gw_metrics *m)
{
	struct gw_served *s, *next;

	HASH_ITER (hh, m->services, s, next)
		free_served(m, s);
	free(m->none.counts);
	m->none.counts = NULL;
}

static struct gw_served *served(struct gw_metrics *m, const char *name)
{
	struct gw_served *s;

	HASH_FIND_STR(m->services, name, s);
	if (s || !(s = calloc(1, sizeof *s)))
		return s;
	(void)snprintf(s->name, sizeof s->name, "%s", name);
	HASH_ADD_STR(m->services, name, s);
	if (!s->hh.tbl) {
		free(s);
		return NULL;
	}
	return s;
}

enum base_err gw_metrics_follow(struct gw_metrics *m, const struct gw_routes *routes)
{
	enum base_err err = BASE_OK;
	struct gw_served *s, *next;

	HASH_ITER (hh, m->services, s, next)
		s->known = false;
	for (size_t i = 0; i < gw_routes_services(routes); i++) {
		struct gw_service *service = gw_routes_service_at(routes, i);
		service->user = s = served(m, service->name);
		if (s)
			s->known = true;
		else
			err = BASE_NOMEM;
	}
	HASH_ITER (hh, m->services, s, next)
		if (!s->known && s->in_flight == 0)
			free_served(m, s);
	return err;
}

struct gw_served *gw_metrics_begin(struct gw_metrics *m, struct gw_served *s)
{
	if (!s)
		s = &m->none;
	s->in_flight++;
	return s;
}

static void let_go(struct gw_metrics *m, struct gw_served *s)
{
	s->in_flight--;
	if (!s->known && s->in_flight == 0)
		free_served(m, s);
}

void gw_metrics_move(struct gw_metrics *m, struct gw_served **held, struct gw_served *s)
{
	if (!s)
		return;
	s->in_flight++;
	let_go(m, *held);
	*held = s;
}

static void count(struct gw_served *s, enum gw_method method, unsigned code)
{
	size_t i = 0;

	while (i < s->n_counts && (s->counts[i].code != code || s->counts[i].method != method))
		i++;
	if (i == s->room) {
		size_t room = s->room ? s->room * 2 : 8;
		struct gw_count *grown = realloc(s->counts, room * sizeof *grown);
		if (!grown)
			return;
		s->counts = grown;
		s->room = room;
	}
	if (i == s->n_counts)
		s->counts[s->n_counts++] =
			(struct gw_count){ .code = (uint16_t)code, .method = (uint8_t)method };
	s->counts[i].n++;
}

void gw_metrics_end(struct gw_metrics *m, struct gw_served *s, enum gw_method method, unsigned code,
	uint64_t us)
{
	count(s, method, code);
	base_hist_add(&s->latency, us);
	let_go(m, s);
}

static void walk_counts(const struct gw_served *s, base_stat_sink *sink, void *arg)
{
	for (size_t i = 0; i < s->n_counts; i++) {
		const struct gw_count *c = &s->counts[i];
		char labels[160];
		struct base_stat_sample sample = {
			.def = &requests_def, .labels = labels, .value = (double)c->n
		};
		(void)snprintf(labels, sizeof labels, "service=\"%s\",code=\"%u\",method=\"%s\"",
			s->name, c->code, gw_method_name((enum gw_method)c->method));
		sink(arg, &sample);
	}
}

static void walk_events(
	const struct gw_served *s, const char *labels, base_stat_sink *sink, void *arg)
{
	struct base_stat_sample accepted = {
		.def = &accepted_def, .labels = labels, .value = (double)s->events_accepted
	};
	struct base_stat_sample refused = {
		.def = &refused_def, .labels = labels, .value = (double)s->events_refused
	};

	sink(arg, &accepted);
	sink(arg, &refused);
}

static void walk_one(const struct gw_served *s, base_stat_sink *sink, void *arg)
{
	char labels[96];
	struct base_stat_sample in_flight = {
		.def = &in_flight_def, .labels = labels, .value = s->in_flight
	};
	struct base_stat_sample duration = {
		.def = &duration_def, .labels = labels, .hist = &s->latency
	};

	(void)snprintf(labels, sizeof labels, "service=\"%s\"", s->name);
	walk_counts(s, sink, arg);
	walk_events(s, labels, sink, arg);
	sink(arg, &duration);
	sink(arg, &in_flight);
}

void gw_metrics_walk(const struct gw_metrics *m, base_stat_sink *sink, void *arg)
{
	const struct gw_served *s;

	walk_one(&m->none, sink, arg);
	for (s = m->services; s; s = s->hh.next)
		walk_one(s, sink, arg);
}
