#include "gateway/prom.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define MAX_BYTES (64u * 1024 * 1024) /* of all samples: what hostile peers can make us hold */
#define FOLD 4                        /* base_hist has four buckets a doubling */
#define FIRST_FOLD 22                 /* the first bucket that is shown ends at some 100 µs */
#define N_FOLDS ((BASE_HIST_BUCKETS - 1 - FIRST_FOLD) / FOLD)

struct gw_prom_sample {
	const char *name, *help, *labels; /* labels with instance, escaped */
	enum base_stat_type type;
	double value;            /* a histogram's sum */
	const uint64_t *folded;  /* a histogram's buckets, cumulative; one more is its count */
	size_t order;
};

void gw_prom_init(struct gw_prom *p)
{
	memset(p, 0, sizeof *p);
	base_arena_init(&p->arena, 16 * 1024, MAX_BYTES);
}

void gw_prom_fini(struct gw_prom *p)
{
	base_arena_fini(&p->arena);
	free(p->samples);
}

/* ---- gathering ------------------------------------------------------------- */

static struct gw_prom_sample *new_sample(struct gw_prom *p)
{
	if (p->n == p->room) {
		size_t room = p->room ? p->room * 2 : 256;
		struct gw_prom_sample *grown = realloc(p->samples, room * sizeof *grown);
		if (!grown)
			return NULL;
		p->samples = grown;
		p->room = room;
	}
	memset(&p->samples[p->n], 0, sizeof p->samples[p->n]);
	p->samples[p->n].order = p->n;
	return &p->samples[p->n];
}

static const char *keep(struct gw_prom *p, const char *text)
{
	return base_arena_dup(&p->arena, text, strlen(text));
}

/* labels and instance="…" behind them. */
static const char *join_labels(struct gw_prom *p, const char *labels, const char *instance)
{
	size_t size = strlen(labels),
	       room = size + 2 * strlen(instance) + sizeof ",instance=\"\"" + 1;
	char *out = base_arena_alloc(&p->arena, room), *at = out;

	if (!out)
		return NULL;
	memcpy(at, labels, size);
	at += size;
	if (size)
		*at++ = ',';
	at = stpcpy(at, "instance=\"");
	base_stat_escape(at, room - (size_t)(at - out) - 1, instance);
	strcat(at, "\"");
	return out;
}

static const uint64_t *fold(struct gw_prom *p, const uint64_t *counts)
{
	uint64_t *folded = base_arena_alloc(&p->arena, (N_FOLDS + 1) * sizeof *folded), sum = 0;
	size_t at = 0;

	if (!folded)
		return NULL;
	for (size_t f = 0; f < N_FOLDS; f++) {
		for (; at <= FIRST_FOLD + f * FOLD; at++)
			sum += counts[at];
		folded[f] = sum;
	}
	for (; at < BASE_HIST_BUCKETS; at++)
		sum += counts[at];
	folded[N_FOLDS] = sum;
	return folded;
}

struct figure {
	const char *name, *help, *labels, *instance;
	enum base_stat_type type;
	double value;
	const uint64_t *counts; /* BASE_HIST_BUCKETS of them, or NULL */
};

static void add(struct gw_prom *p, const struct figure *f)
{
	struct gw_prom_sample *s = new_sample(p);

	if (s) {
		s->name = keep(p, f->name);
		s->help = keep(p, f->help);
		s->labels = join_labels(p, f->labels, f->instance);
		s->type = f->type;
		s->value = f->value;
		s->folded = f->counts ? fold(p, f->counts) : NULL;
	}
	if (!s || !s->name || !s->help || !s->labels || (f->counts && !s->folded)) {
		p->failed = true;
		return;
	}
	p->n++;
}

void gw_prom_add(struct gw_prom *p, const char *instance, const struct base_stat_sample *sample)
{
	struct figure f = { sample->def->name, sample->def->help, sample->labels, instance,
		sample->def->type, sample->value, NULL };

	if (sample->hist) {
		f.counts = sample->hist->counts;
		f.value = (double)sample->hist->sum_us / 1e6;
	}
	add(p, &f);
}

static bool is_name(const char *text, size_t size, bool colon)
{
	for (size_t i = 0; i < size; i++) {
		char c = text[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
			      (colon && c == ':');
		if (!letter && (i == 0 || c < '0' || c > '9'))
			return false;
	}
	return size > 0;
}

/* Behind the closing quote of an escaped value that begins at text; NULL: it is none. */
static const char *skip_value(const char *text)
{
	for (; *text && *text != '\n'; text++) {
		if (*text == '"')
			return text + 1;
		if (*text == '\\' && !strchr("\\\"n", *++text))
			return NULL;
		if (!*text)
			return NULL;
	}
	return NULL;
}

/* name="value",name="value"; an instance of its own would clash with ours. */
static bool are_labels(const char *text)
{
	if (!*text)
		return true;
	if (!base_text_is_utf8(text, strlen(text)))
		return false;
	for (;;) {
		size_t size = strcspn(text, "=");
		if (!is_name(text, size, false) || (size == 8 && memcmp(text, "instance", 8) == 0))
			return false;
		text += size;
		if (text[0] != '=' || text[1] != '"')
			return false;
		text = skip_value(text + 2);
		if (!text || (*text && *text != ','))
			return false;
		if (!*text++)
			return true;
	}
}

static bool ends_with(const char *text, const char *end)
{
	size_t size = strlen(text), wanted = strlen(end);

	return size >= wanted && strcmp(text + size - wanted, end) == 0;
}

/* A peer's metric must not collide with a histogram's own series either. */
static bool is_metric(const Pirn__Metric *m)
{
	return m->name && is_name(m->name, strlen(m->name), true) &&
	       m->type <= BASE_STAT_HISTOGRAM && !ends_with(m->name, "_bucket") &&
	       !ends_with(m->name, "_sum") && !ends_with(m->name, "_count") &&
	       (!m->labels || are_labels(m->labels)) &&
	       (!m->help || base_text_is_utf8(m->help, strlen(m->help)));
}

void gw_prom_instance(struct gw_prom *p, const char *instance, const Pirn__Instance *from)
{
	for (size_t i = 0; i < from->n_metrics; i++) {
		const Pirn__Metric *m = from->metrics[i];
		struct figure f = { m->name, m->help ? m->help : "", m->labels ? m->labels : "",
			instance, (enum base_stat_type)m->type, m->value, NULL };
		struct base_hist hist = { 0 };

		if (!is_metric(m)) {
			p->refused++;
			continue;
		}
		if (f.type == BASE_STAT_HISTOGRAM) {
			base_hist_merge(&hist, m->buckets, m->n_buckets);
			f.counts = hist.counts;
			f.value = m->sum;
		}
		add(p, &f);
	}
}

/* ---- printing -------------------------------------------------------------- */

static int by_series(const void *a, const void *b)
{
	const struct gw_prom_sample *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	if (!order)
		order = strcmp(x->labels, y->labels);
	return order ? order : (x->order > y->order) - (x->order < y->order);
}

static void put_help(struct base_buf *out, const char *help)
{
	for (; *help; help++) {
		if (*help == '\n')
			base_buf_str(out, "\\n");
		else if (*help == '\\')
			base_buf_str(out, "\\\\");
		else
			base_buf_chr(out, *help);
	}
}

static void put_value(struct base_buf *out, double value)
{
	if (isnan(value))
		base_buf_str(out, " NaN\n");
	else if (isinf(value))
		base_buf_str(out, value > 0 ? " +Inf\n" : " -Inf\n");
	else if (value == floor(value) && fabs(value) < 9e15)
		base_buf_fmt(out, " %.0f\n", value);
	else
		base_buf_fmt(out, " %.9g\n", value);
}

static void put_head(struct base_buf *out, const struct gw_prom_sample *s)
{
	static const char *const types[] = { "counter", "gauge", "histogram" };

	if (*s->help) {
		base_buf_fmt(out, "# HELP %s ", s->name);
		put_help(out, s->help);
		base_buf_chr(out, '\n');
	}
	base_buf_fmt(out, "# TYPE %s %s\n", s->name, types[s->type]);
}

static void put_histogram(struct base_buf *out, const struct gw_prom_sample *s)
{
	for (size_t f = 0; f < N_FOLDS; f++)
		base_buf_fmt(out, "%s_bucket{%s,le=\"%.9g\"} %" PRIu64 "\n", s->name, s->labels,
		             (double)base_hist_bound_us(FIRST_FOLD + f * FOLD) / 1e6, s->folded[f]);
	base_buf_fmt(out, "%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", s->name, s->labels,
		s->folded[N_FOLDS]);
	base_buf_fmt(out, "%s_sum{%s}", s->name, s->labels);
	put_value(out, s->value);
	base_buf_fmt(out, "%s_count{%s} %" PRIu64 "\n", s->name, s->labels, s->folded[N_FOLDS]);
}

static void put_sample(struct base_buf *out, const struct gw_prom_sample *s)
{
	if (s->type == BASE_STAT_HISTOGRAM) {
		put_histogram(out, s);
		return;
	}
	base_buf_fmt(out, "%s{%s}", s->name, s->labels);
	put_value(out, s->value);
}

enum base_err gw_prom_print(struct gw_prom *p, struct base_buf *out)
{
	const struct gw_prom_sample *head = NULL, *last = NULL;

	if (p->failed)
		return BASE_NOMEM;
	if (p->n)
		qsort(p->samples, p->n, sizeof *p->samples, by_series);
	for (size_t i = 0; i < p->n; i++) {
		const struct gw_prom_sample *s = &p->samples[i];
		bool first = !head || strcmp(head->name, s->name) != 0;
		if (!first &&
			(s->type != head->type || (last && strcmp(last->labels, s->labels) == 0))) {
			p->refused++;
			continue;
		}
		if (first) {
			put_head(out, s);
			head = s;
		}
		put_sample(out, s);
		last = s;
	}
	return base_buf_check(out);
}
