/* POST /v1/dead/{service}/redrive and …/purge: dead letters go back into the queue, or
 * away. Which ones: {"ids": […]}, {"all": true}, or a filter ({"reason": …, "status": …,
 * "before": …, "after": …}); a body that names none is refused.
 *
 * The letters are walked here, page by page, and moved in batches of at most BATCH. A
 * batch moves whole or in part, but each letter in one step of Redis: it is in the queue
 * or among the dead, never both and never neither. So whatever breaks in the middle can
 * be asked again; brokers that cannot answer are, some times, before the client hears of
 * it. A redriven event that dies again while the walk goes on may be moved again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "gateway/gw.h"
#include "gateway/letters.h"
#include "gateway/problem.h"
#include "gateway/show.h"

#define TIMEOUT_MS 30000
#define BATCH      1000u
#define TRIES      5u
#define PAUSE_MS   500u
#define CURSOR_MAX 31
#define DEPTH_MAX  2 /* of what is asked for */

struct move {
	struct gw *gw;
	struct gw_request *r;
	uv_timer_t timer;
	bool purge;
	bool starved; /* what was asked for could not be kept */
	char service[BASE_MANIFEST_NAME_MAX + 1];
	struct gw_letter_filter filter;
	uint8_t (*ids)[BASE_ULID_SIZE]; /* the batch is at ids + at */
	size_t n_ids, room, at;
	char cursor[CURSOR_MAX + 1]; /* of the next page; "": there is none */
	unsigned tries;              /* in vain, since something worked */
	uint64_t moved, missing;
};

static void step(struct move *m);

/* ---- ending -------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void end(struct move *m)
{
	free(m->ids);
	m->ids = NULL;
	uv_close((uv_handle_t *)&m->timer, on_closed);
}

static void show_counts(const struct move *m, struct gw_json *j)
{
	gw_json_str(j, "service", m->service);
	gw_json_u64(j, m->purge ? "purged" : "redriven", m->moved);
	gw_json_u64(j, "not_found", m->missing);
}

static void finish(struct move *m)
{
	struct base_buf out;
	struct gw_json j;

	base_buf_init(&out);
	j = gw_json_on(&out);
	gw_json_open(&j, NULL, '{');
	show_counts(m, &j);
	gw_json_close(&j, '}');
	base_buf_chr(&out, '\n');
	gw_answer_json(m->r, 200, &out);
	base_buf_fini(&out);
	end(m);
}

/* A problem that says how far it came. */
static void stop(struct move *m, const char *detail)
{
	struct gw_field again = { "Retry-After", "1" };
	struct gw_answer a = {
		.status = 503, .content_type = GW_PROBLEM_TYPE, .fields = &again, .n_fields = 1
	};
	struct base_buf out;
	struct gw_json j;

	base_buf_init(&out);
	j = gw_json_on(&out);
	gw_json_open(&j, NULL, '{');
	gw_json_str(&j, "type", "about:blank");
	gw_json_str(&j, "title", gw_status_phrase(503));
	gw_json_u64(&j, "status", 503);
	gw_json_str(&j, "detail", detail);
	gw_json_str(&j, "request_id", m->r->id_text);
	show_counts(m, &j);
	gw_json_close(&j, '}');
	base_buf_chr(&out, '\n');
	a.body = out.data;
	a.size = out.size;
	if (base_buf_check(&out) != BASE_OK || gw_http_answer(m->r, &a) != BASE_OK)
		gw_answer_later(m->r, detail);
	base_buf_fini(&out);
	end(m);
}

/* ---- failing ------------------------------------------------------------------------- */

static void on_pause_over(uv_timer_t *timer)
{
	step(timer->data);
}

static void try_again(struct move *m)
{
	if (++m->tries < TRIES && !m->gw->draining)
		(void)uv_timer_start(&m->timer, on_pause_over, PAUSE_MS, 0);
	else
		stop(m, "No broker can move dead letters now. What is left is where it was: ask again.");
}

/* False: the answer is none. */
static bool is_answer(struct move *m, const Pirn__Answer *a)
{
	if (a && a->reason == PIRN__REASON__NONE) {
		m->tries = 0;
		return true;
	}
	if (a && a->reason == PIRN__REASON__UNSUPPORTED)
		stop(m, "The broker keeps no events: it has no Redis.");
	else
		try_again(m);
	return false;
}

/* ---- one batch ------------------------------------------------------------------------ */

static size_t batch_size(const struct move *m)
{
	return m->n_ids - m->at < BATCH ? m->n_ids - m->at : BATCH;
}

/* Takes what moved out of the batch. Both lists are in the same order, as a rule. */
static void strike_out(struct move *m, const Pirn__Answer *a, size_t n)
{
	size_t kept = m->n_ids - m->at - n, next = 0;
	uint8_t(*batch)[BASE_ULID_SIZE] = m->ids + m->at;
	size_t left = 0;

	for (size_t i = 0; i < n; i++) {
		size_t k = 0;
		while (k < a->n_ids) {
			const ProtobufCBinaryData *id = &a->ids[(next + k) % a->n_ids];
			if (id->len == BASE_ULID_SIZE && memcmp(id->data, batch[i], id->len) == 0)
				break;
			k++;
		}
		if (k < a->n_ids)
			next += k + 1;
		else
			memmove(batch[left++], batch[i], BASE_ULID_SIZE);
	}
	memmove(batch + left, batch + n, kept * BASE_ULID_SIZE);
	m->moved += n - left;
	m->n_ids -= n - left;
}

static void on_redriven(void *arg, const Pirn__Answer *a)
{
	struct move *m = arg;
	size_t n = batch_size(m), before = m->n_ids;

	if (!is_answer(m, a))
		return;
	strike_out(m, a, n);
	if (m->n_ids == before) { /* none of them is there */
		m->missing += n;
		m->at += n;
	}
	step(m);
}

static void on_purged(void *arg, const Pirn__Answer *a)
{
	struct move *m = arg;
	size_t n = batch_size(m), gone;

	if (!is_answer(m, a))
		return;
	gone = a->count < n ? a->count : n;
	m->moved += gone;
	m->missing += n - gone;
	m->at += n;
	step(m);
}

static void move_batch(struct move *m)
{
	Pirn__Query query = PIRN__QUERY__INIT;
	ProtobufCBinaryData ids[BATCH];

	query.has_what = true;
	query.what = m->purge ? PIRN__QUERY_KIND__DEAD_PURGE : PIRN__QUERY_KIND__DEAD_REDRIVE;
	query.service = m->service;
	query.n_ids = batch_size(m);
	query.ids = ids;
	for (size_t i = 0; i < query.n_ids; i++)
		ids[i] = (ProtobufCBinaryData){ BASE_ULID_SIZE, m->ids[m->at + i] };
	if (client_engine_ask(m->gw->engine, &query, TIMEOUT_MS, m->purge ? on_purged : on_redriven,
		    m) != BASE_OK)
		try_again(m);
}

/* ---- the walk ------------------------------------------------------------------------- */

static bool add_id(struct move *m, const uint8_t id[BASE_ULID_SIZE])
{
	if (m->n_ids == m->room) {
		size_t room = m->room ? 2 * m->room : 256;
		void *grown = realloc(m->ids, room * sizeof *m->ids);
		if (!grown)
			return false;
		m->ids = grown;
		m->room = room;
	}
	memcpy(m->ids[m->n_ids++], id, BASE_ULID_SIZE);
	return true;
}

static void on_page(void *arg, const Pirn__Answer *a)
{
	struct move *m = arg;

	if (!is_answer(m, a))
		return;
	m->n_ids = m->at = 0;
	for (size_t i = 0; i < a->n_letters; i++) {
		const Pirn__Letter *letter = a->letters[i];
		if (letter->id.len != BASE_ULID_SIZE || !gw_letters_match(&m->filter, letter))
			continue;
		if (!add_id(m, letter->id.data)) {
			stop(m, gw_no_memory.detail);
			return;
		}
	}
	if (a->cursor && strlen(a->cursor) <= CURSOR_MAX && strcmp(a->cursor, "0") != 0)
		(void)strcpy(m->cursor, a->cursor);
	else
		m->cursor[0] = '\0';
	step(m);
}

static void ask_page(struct move *m)
{
	Pirn__Query query = PIRN__QUERY__INIT;

	query.has_what = query.has_limit = true;
	query.what = PIRN__QUERY_KIND__DEAD_LIST;
	query.limit = BATCH;
	query.service = m->service;
	query.cursor = m->cursor;
	if (client_engine_ask(m->gw->engine, &query, TIMEOUT_MS, on_page, m) != BASE_OK)
		try_again(m);
}

static void step(struct move *m)
{
	if (gw_http_is_gone(m->r))
		stop(m, "The client has left.");
	else if (m->at < m->n_ids)
		move_batch(m);
	else if (m->cursor[0])
		ask_page(m);
	else
		finish(m);
}

/* ---- what is asked for ------------------------------------------------------------------ */

static const char usage[] =
	"The body says which letters: {\"ids\": [...]}, {\"all\": true}, or a filter of reason, status, before and after.";

static bool read_ids(struct move *m, const struct base_json *list, char why[GW_PARAM_WHY])
{
	struct base_json_walk walk = base_json_walk(list);
	struct base_json item;

	for (size_t i = 0; base_json_next(&walk, NULL, &item); i++) {
		char text[BASE_ULID_TEXT + 1];
		uint8_t id[BASE_ULID_SIZE];
		if (item.kind != BASE_JSON_STRING || !base_json_text(&item, text, sizeof text) ||
			!base_ulid_parse(text, id)) {
			(void)snprintf(why, GW_PARAM_WHY, "ids[%zu] is no event's id.", i);
			return false;
		}
		if (!add_id(m, id)) {
			m->starved = true;
			return false;
		}
	}
	return true;
}

/* A text, or a whole number as one. */
static bool read_member(
	struct gw_param *params, const struct base_json *key, const struct base_json *value)
{
	struct gw_param *p = params;

	while (p->name && !base_json_is(key, p->name))
		p++;
	if (!p->name || p->text[0])
		return false;
	if (value->kind == BASE_JSON_STRING)
		return base_json_text(value, p->text, sizeof p->text) && p->text[0];
	if (value->kind != BASE_JSON_NUMBER || value->size >= sizeof p->text)
		return false;
	memcpy(p->text, value->text, value->size);
	p->text[value->size] = '\0';
	return strspn(p->text, "-0123456789") == value->size;
}

static bool read_filter(struct move *m, const struct base_json *body, char why[GW_PARAM_WHY])
{
	struct gw_param params[] = { GW_LETTER_PARAMS, { 0 } };
	struct base_json_walk walk = base_json_walk(body);
	struct base_json key, value;

	while (base_json_next(&walk, &key, &value))
		if (!read_member(params, &key, &value))
			return false;
	(void)strcpy(m->cursor, "0");
	return gw_letters_filter(params, &m->filter, why);
}

static bool read_body(struct move *m, const struct base_json *body, char why[GW_PARAM_WHY])
{
	struct base_json_walk walk;
	struct base_json key, first, other;

	if (body->kind != BASE_JSON_OBJECT)
		return false;
	walk = base_json_walk(body);
	if (!base_json_next(&walk, &key, &first))
		return false;
	if (base_json_is(&key, "ids"))
		return first.kind == BASE_JSON_ARRAY && !base_json_next(&walk, &key, &other) &&
		       read_ids(m, &first, why);
	if (base_json_is(&key, "all")) {
		(void)strcpy(m->cursor, "0");
		return first.kind == BASE_JSON_TRUE && !base_json_next(&walk, &key, &other);
	}
	return read_filter(m, body, why);
}

/* UNTRUSTED. False: why says what is wrong with it, unless m is starved. */
static bool read_request(struct move *m, struct gw_request *r, char why[GW_PARAM_WHY])
{
	struct gw_slice s = m->gw->target.segments[2];
	struct base_json body;
	const char *fault;
	size_t at;

	if (s.size <= BASE_MANIFEST_NAME_MAX && !memchr(s.data, '\0', s.size))
		memcpy(m->service, s.data, s.size);
	if (!base_manifest_is_service(m->service)) {
		(void)snprintf(why, GW_PARAM_WHY, "This is no service's name.");
		return false;
	}
	(void)snprintf(why, GW_PARAM_WHY, "%s", usage);
	return base_json_check((const char *)r->payload.data + r->body_at,
		       r->payload.size - r->body_at, DEPTH_MAX, &body, &fault, &at) &&
	       read_body(m, &body, why);
}

static void start(struct gw *gw, struct gw_request *r, bool purge)
{
	struct move *m = calloc(1, sizeof *m);
	char why[GW_PARAM_WHY];

	if (!m || uv_timer_init(net_loop_uv(gw->loop), &m->timer)) {
		free(m);
		gw_http_problem(r, &gw_no_memory);
		return;
	}
	m->gw = gw;
	m->r = r;
	m->timer.data = m;
	m->purge = purge;
	gw_serve_target(gw, r);
	if (!read_request(m, r, why)) {
		if (m->starved)
			gw_http_problem(r, &gw_no_memory);
		else
			gw_http_refuse(r, 400, why);
		end(m);
		return;
	}
	step(m);
}

void gw_api_dead_redrive(struct gw *gw, struct gw_request *r)
{
	start(gw, r, false);
}

void gw_api_dead_purge(struct gw *gw, struct gw_request *r)
{
	start(gw, r, true);
}
