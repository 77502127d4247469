/* GET /v1/tail: what has passed since the cursor of the last answer, and the next cursor;
 * without one, nothing yet, and a cursor from which on. ?service= and ?type= (a pattern, as a
 * subscription's) choose. Whoever wants to look on asks again every now and then: he who does
 * not any more is forgotten by the brokers after 10 s, and they note nothing.
 *
 * Each broker tells of its own; what several say is put in the order of their clocks. A cursor
 * is the brokers' cursors, one behind the other: each finds its own.
 */
#include <stdlib.h>
#include <string.h>

#include "gateway/gw.h"
#include "gateway/jsonout.h"
#include "gateway/params.h"
#include "gateway/show.h"

#define PATTERN_MAX 255 /* as a subscription's */
#define TIMEOUT_MS  2000
#define LIMIT       256
#define CURSOR_PART 64 /* longest of a broker's */
#define CURSORS     64

struct note {
	uint64_t at_ms;
	size_t order;
	char *json;
};

struct poll {
	struct gw_request *r;
	struct note *notes;
	size_t n, room;
	uint64_t missed;
	char cursors[CURSORS][CURSOR_PART + 1];
	size_t n_cursors;
	size_t asked, answered;
	bool failed; /* out of memory */
};

/* ---- what the brokers say -------------------------------------------------------------- */

static const char *word_of(uint32_t what)
{
	static const char *const words[] = {
		[PIRN__NOTE_KIND__NOTE_CALL] = "call",
		[PIRN__NOTE_KIND__NOTE_ACCEPTED] = "accepted",
		[PIRN__NOTE_KIND__NOTE_FAILED] = "failed",
		[PIRN__NOTE_KIND__NOTE_DONE] = "done",
		[PIRN__NOTE_KIND__NOTE_DEAD] = "dead",
		[PIRN__NOTE_KIND__NOTE_EXPIRED] = "expired",
		[PIRN__NOTE_KIND__NOTE_CANCELLED] = "cancelled",
	};

	return what < sizeof words / sizeof words[0] ? words[what] : NULL;
}

static void put_text(struct gw_json *j, const char *key, const char *text)
{
	if (text && *text)
		gw_json_str(j, key, text);
}

static void put_note(struct gw_json *j, const char *broker, const Pirn__Note *n)
{
	char reason[GW_REASON_ROOM];

	gw_json_open(j, NULL, '{');
	gw_show_time(j, "at", n->at_ms);
	gw_json_str(j, "what", word_of(n->what));
	gw_show_id(j, "id", n->id);
	put_text(j, "service", n->service);
	put_text(j, "type", n->type);
	put_text(j, "source", n->source);
	put_text(j, "subject", n->subject);
	if (n->status)
		gw_json_u64(j, "status", n->status);
	if (n->reason) {
		gw_reason_print(n->reason, reason);
		gw_json_str(j, "reason", reason);
	}
	if (n->attempt)
		gw_json_u64(j, "attempt", n->attempt);
	if (n->has_took_us)
		gw_json_f64(j, "took_ms", (double)n->took_us / 1000);
	gw_json_str(j, "broker", broker);
	gw_json_close(j, '}');
}

static void take_note(struct poll *p, const char *broker, const Pirn__Note *n)
{
	struct base_buf text;
	struct gw_json j;

	if (p->n == p->room) {
		size_t room = p->room ? 2 * p->room : LIMIT;
		struct note *grown = realloc(p->notes, room * sizeof *grown);

		p->failed |= !grown;
		if (!grown)
			return;
		p->notes = grown;
		p->room = room;
	}
	base_buf_init(&text);
	j = gw_json_on(&text);
	put_note(&j, broker, n);
	p->notes[p->n] = (struct note){ n->at_ms, p->n, (char *)base_buf_take(&text) };
	if (!p->notes[p->n].json)
		p->failed = true;
	else
		p->n++;
}

/* Each broker tells of at most LIMIT, so it is bounded. UNTRUSTED. */
static void take_answer(struct poll *p, const Pirn__Answer *a)
{
	p->answered++;
	p->missed += a->count;
	if (a->cursor && strlen(a->cursor) <= CURSOR_PART && p->n_cursors < CURSORS)
		strcpy(p->cursors[p->n_cursors++], a->cursor);
	for (size_t i = 0; i < a->n_notes && i < LIMIT; i++)
		take_note(p, a->broker, a->notes[i]);
}

/* ---- the answer ------------------------------------------------------------------------ */

static int by_time(const void *a, const void *b)
{
	const struct note *x = a, *y = b;

	if (x->at_ms != y->at_ms)
		return x->at_ms < y->at_ms ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void answer(struct poll *p)
{
	char cursor[CURSORS * (CURSOR_PART + 1) + 1] = "", *end = cursor;
	struct base_buf out;
	struct gw_json j;

	qsort(p->notes, p->n, sizeof p->notes[0], by_time);
	for (size_t i = 0; i < p->n_cursors; i++)
		end = stpcpy(stpcpy(end, i ? "," : ""), p->cursors[i]);
	base_buf_init(&out);
	j = gw_json_on(&out);
	gw_json_open(&j, NULL, '{');
	gw_json_u64(&j, "asked", p->asked > p->answered ? p->asked : p->answered);
	gw_json_u64(&j, "answered", p->answered);
	gw_json_u64(&j, "missed", p->missed);
	gw_json_str(&j, "cursor", cursor);
	gw_json_open(&j, "notes", '[');
	for (size_t i = 0; i < p->n; i++)
		gw_json_raw(&j, NULL, p->notes[i].json);
	gw_json_close(&j, ']');
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
	for (size_t i = 0; i < p->n; i++)
		free(p->notes[i].json);
	free(p->notes);
	free(p);
}

static void on_answer(void *arg, const Pirn__Answer *a)
{
	struct poll *p = arg;

	if (a) {
		if (a->reason == PIRN__REASON__NONE)
			take_answer(p, a);
		return;
	}
	if (p->answered == 0)
		gw_answer_later(p->r, "No broker is reachable.");
	else
		answer(p);
	end(p);
}

/* ---- the question ---------------------------------------------------------------------- */

void gw_api_tail(struct gw *gw, struct gw_request *r)
{
	struct gw_param params[] = { { .name = "service" }, { .name = "type" },
		{ .name = "cursor" }, { 0 } };
	Pirn__Query query = PIRN__QUERY__INIT;
	char why[GW_PARAM_WHY];
	struct poll *p;

	gw_serve_target(gw, r);
	if (!gw_params_read(gw->target.query, params, why)) {
		gw_http_refuse(r, 400, why);
		return;
	}
	if (params[0].text[0] && !base_manifest_is_service(params[0].text)) {
		gw_http_refuse(r, 400, "The parameter service is no service's name.");
		return;
	}
	if (strlen(params[1].text) > PATTERN_MAX) {
		gw_http_refuse(r, 400, "The parameter type is longer than 255 bytes.");
		return;
	}
	query.has_what = query.has_limit = true;
	query.what = PIRN__QUERY_KIND__TAIL;
	query.limit = LIMIT;
	query.service = params[0].text[0] ? params[0].text : NULL;
	query.type = params[1].text[0] ? params[1].text : NULL;
	query.cursor = params[2].text[0] ? params[2].text : NULL;
	p = calloc(1, sizeof *p);
	if (p) {
		p->r = r;
		p->asked = client_engine_brokers(gw->engine);
	}
	if (!p || client_engine_query(gw->engine, &query, TIMEOUT_MS, on_answer, p) != BASE_OK) {
		free(p);
		gw_answer_later(r, "The brokers cannot be asked now.");
	}
}
