#include "worker/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "worker/breakers.h"

const struct base_stat_def wrk_figure_defs[WRK_FIGURE__N] = {
#define X(name, type, help) [WRK_FIGURE_##name] = { "pirn_worker_" #name, BASE_STAT_##type, help },
	WRK_FIGURES(X)
#undef X
};

/* ---- walking --------------------------------------------------------------- */

struct walk {
	base_stat_sink *sink;
	void *arg;
	const char *labels;
};

static void say(const struct walk *w, enum wrk_figure figure, double value)
{
	struct base_stat_sample sample = { &wrk_figure_defs[figure], w->labels, value, NULL };

	w->sink(w->arg, &sample);
}

/* Names need no escapes, a breaker's neither. */
static void say_breaker(void *arg, const struct wrk_breaker_figures *f)
{
	const struct walk *of = arg;
	char labels[BASE_MANIFEST_NAME_MAX + WRK_BREAKER_NAME_MAX + 32];
	struct walk w = { of->sink, of->arg, labels };

	snprintf(labels, sizeof labels, "%s,breaker=\"%s\"", of->labels, f->name);
	say(&w, WRK_FIGURE_breaker_state, f->state);
	say(&w, WRK_FIGURE_breaker_opened_total, (double)f->opened);
	say(&w, WRK_FIGURE_breaker_refused_total, (double)f->refused);
}

static void walk_service(struct walk *w, const struct wrk_service *service)
{
	struct base_stat_sample took = { &wrk_figure_defs[WRK_FIGURE_run_seconds], NULL, 0,
		&service->took };
	char labels[BASE_MANIFEST_NAME_MAX + 16];

	snprintf(labels, sizeof labels, "service=\"%s\"",
		service->manifest->service); /* a name needs no escapes */
	w->labels = took.labels = labels;
	say(w, WRK_FIGURE_runs_total, (double)service->runs);
	say(w, WRK_FIGURE_failures_total, (double)service->failures);
	say(w, WRK_FIGURE_running, service->credit.running);
	say(w, WRK_FIGURE_overdue, service->overdue);
	say(w, WRK_FIGURE_given_up_total, (double)service->given_up);
	w->sink(w->arg, &took);
	if (service->native)
		wrk_breakers_walk(
			wrk_native_breakers(service->native), base_clock_ms(), say_breaker, w);
	w->labels = "";
}

static void walk_session(const struct walk *w, const struct wrk_session *session)
{
	struct wrk_session_figures f;

	wrk_session_figures(session, &f);
	say(w, WRK_FIGURE_dispatched_total, (double)f.dispatched);
	say(w, WRK_FIGURE_cancelled_total, (double)f.cancelled);
	say(w, WRK_FIGURE_expired_total, (double)f.expired);
	say(w, WRK_FIGURE_diverged_total, (double)f.diverged);
	say(w, WRK_FIGURE_results_lost_total, (double)f.lost);
	say(w, WRK_FIGURE_brokers, (double)f.brokers);
}

static void walk_executor(const struct walk *w, struct wrk_executor *executor)
{
	struct wrk_executor_figures f;

	wrk_executor_figures(executor, &f);
	say(w, WRK_FIGURE_threads, f.threads);
	say(w, WRK_FIGURE_threads_active, f.active);
	say(w, WRK_FIGURE_queue, f.waiting);
}

static void walk_state(const struct walk *w, const struct wrk_sources *from)
{
	struct wrk_state_figures f;

	wrk_state_figures(from->state, &f);
	say(w, WRK_FIGURE_state_operations_total, (double)f.operations);
	say(w, WRK_FIGURE_state_failures_total, (double)f.failures);
	say(w, WRK_FIGURE_redis_up, store_redis_up(from->redis));
	say(w, WRK_FIGURE_redis_breaker_state, f.breaker);
}

static void walk_http(const struct walk *w, const struct wrk_http *http)
{
	struct wrk_http_figures f = { 0 };

	if (http)
		wrk_http_figures(http, &f);
	say(w, WRK_FIGURE_http_running, f.running);
	say(w, WRK_FIGURE_http_connections, f.connections);
	say(w, WRK_FIGURE_http_connects_total, (double)f.connects);
	say(w, WRK_FIGURE_http_denied_total, (double)f.denied);
}

void wrk_figures_walk(const struct wrk_sources *from, base_stat_sink *sink, void *arg)
{
	struct walk w = { sink, arg, "" };

	for (struct wrk_service *s = wrk_session_services(from->session); s; s = s->hh.next)
		walk_service(&w, s);
	walk_session(&w, from->session);
	walk_executor(&w, from->executor);
	walk_state(&w, from);
	walk_http(&w, from->http);
	base_stat_process(sink, arg);
}

/* ---- the beat -------------------------------------------------------------- */

struct wrk_beat {
	struct base_arena arena;
	Pirn__Beat message;
	Pirn__Metric **metrics;
	size_t n, capacity;
	bool failed;
};

struct wrk_beat *wrk_beat_new(void)
{
	struct wrk_beat *b = calloc(1, sizeof *b);

	if (b) {
		base_arena_init(&b->arena, 16384, (size_t)4 << 20);
		pirn__beat__init(&b->message);
	}
	return b;
}

void wrk_beat_free(struct wrk_beat **b)
{
	if (!*b)
		return;
	base_arena_fini(&(*b)->arena);
	free((*b)->metrics);
	free(*b);
	*b = NULL;
}

static Pirn__Metric *metric_new(struct wrk_beat *b)
{
	Pirn__Metric *m = base_arena_alloc(&b->arena, sizeof *m);

	if (b->n == b->capacity) {
		size_t capacity = b->capacity ? b->capacity * 2 : 64;
		Pirn__Metric **metrics = realloc(b->metrics, capacity * sizeof *metrics);

		if (!metrics)
			return NULL;
		b->metrics = metrics;
		b->capacity = capacity;
	}
	if (m) {
		pirn__metric__init(m);
		b->metrics[b->n++] = m;
	}
	return m;
}

static char *text_in(struct wrk_beat *b, const char *text)
{
	char *copy = base_arena_dup(&b->arena, text, strlen(text));

	if (!copy)
		b->failed = true;
	return copy;
}

/* Without the empty buckets at the end. */
static void set_histogram(struct wrk_beat *b, Pirn__Metric *m, const struct base_hist *hist)
{
	size_t n = BASE_HIST_BUCKETS;

	while (n > 0 && hist->counts[n - 1] == 0)
		n--;
	m->buckets = base_arena_alloc(&b->arena, n * sizeof *m->buckets);
	if (!m->buckets)
		return;
	memcpy(m->buckets, hist->counts, n * sizeof *m->buckets);
	m->n_buckets = n;
	m->has_sum = true;
	m->sum = (double)hist->sum_us / 1e6;
}

static void add(void *arg, const struct base_stat_sample *sample)
{
	struct wrk_beat *b = arg;
	Pirn__Metric *m = b->failed ? NULL : metric_new(b);

	if (!m) {
		b->failed = true;
		return;
	}
	m->name = text_in(b, sample->def->name);
	m->help = text_in(b, sample->def->help);
	m->labels = text_in(b, sample->labels);
	m->has_type = true;
	m->type = (uint32_t)sample->def->type;
	if (sample->hist) {
		set_histogram(b, m, sample->hist);
	} else {
		m->has_value = true;
		m->value = sample->value;
	}
}

const Pirn__Beat *wrk_beat_fill(struct wrk_beat *b, const struct wrk_sources *from)
{
	base_arena_reset(&b->arena);
	b->n = 0;
	b->failed = false;
	wrk_figures_walk(from, add, b);
	b->message.n_metrics = b->failed ? 0 : b->n; /* a beat without figures is a beat */
	b->message.metrics = b->metrics;
	return &b->message;
}
