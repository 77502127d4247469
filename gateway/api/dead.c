/* GET /v1/dead, /v1/dead/{service} and /v1/dead/{service}/{id}: what lies among the dead
 * letters. Redis keeps them in no order and gives them page by page; any broker can ask
 * it. A filter looks at whole pages here, so a page of the answer may take many of
 * Redis's, up to PAGES_MOST: then the answer ends early, with a cursor to go on with.
 */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/gw.h"
#include "gateway/letters.h"
#include "gateway/show.h"

#define TIMEOUT_MS 10000
#define LIMIT      100
#define LIMIT_MOST 1000
#define PAGES_MOST 100
#define CURSOR_MAX 31

enum { LIMIT_ = GW_LETTER__N, CURSOR, N_PARAMS };

struct reading {
	struct gw *gw;
	struct gw_request *r;
	char service[BASE_MANIFEST_NAME_MAX + 1];
	char cursor[CURSOR_MAX + 1];
	struct gw_letter_filter filter;
	uint32_t limit, n, pages;
	struct base_buf out;
	struct gw_json j;
	/* of the list of services: */
	char (*names)[BASE_MANIFEST_NAME_MAX + 1];
	size_t n_names, next_name;
};

/* Takes the place of the service's segment; "" when it is none. */
static void copy_service(const struct gw *gw, char out[BASE_MANIFEST_NAME_MAX + 1])
{
	struct gw_slice s = gw->target.segments[2];

	out[0] = '\0';
	if (s.size > BASE_MANIFEST_NAME_MAX || memchr(s.data, '\0', s.size))
		return;
	memcpy(out, s.data, s.size);
	out[s.size] = '\0';
	if (!base_manifest_is_service(out))
		out[0] = '\0';
}

static struct reading *start(struct gw *gw, struct gw_request *r)
{
	struct reading *d = calloc(1, sizeof *d);

	if (!d) {
		gw_http_problem(r, &gw_no_memory);
		return NULL;
	}
	d->gw = gw;
	d->r = r;
	base_buf_init(&d->out);
	d->j = gw_json_on(&d->out);
	(void)strcpy(d->cursor, "0");
	return d;
}

static void end(struct reading *d)
{
	base_buf_fini(&d->out);
	free(d->names);
	free(d);
}

static void give_up(struct reading *d, const Pirn__Answer *a)
{
	if (a)
		gw_answer_reason(d->r, (enum _Pirn__Reason)a->reason, 0, 0);
	else
		gw_answer_later(d->r, "No broker can say now what is among the dead letters.");
	end(d);
}

static bool is_answer(const Pirn__Answer *a)
{
	return a && a->reason == PIRN__REASON__NONE;
}

/* "0" in the place of what is no cursor ends the list. */
static bool has_more(const Pirn__Answer *a)
{
	return a->cursor && strlen(a->cursor) <= CURSOR_MAX && strcmp(a->cursor, "0") != 0;
}

static void ask_page(struct reading *d, uint32_t limit, client_answer_fn *fn)
{
	Pirn__Query query = PIRN__QUERY__INIT;

	query.has_what = query.has_limit = true;
	query.what = PIRN__QUERY_KIND__DEAD_LIST;
	query.limit = limit;
	query.service = d->service;
	query.cursor = d->cursor;
	if (client_engine_ask(d->gw->engine, &query, TIMEOUT_MS, fn, d) != BASE_OK)
		give_up(d, NULL);
}

/* ---- the letters of a service -------------------------------------------------------- */

static void finish_letters(struct reading *d, bool more)
{
	gw_json_close(&d->j, ']');
	gw_json_str(&d->j, "cursor", more ? d->cursor : NULL);
	gw_json_close(&d->j, '}');
	base_buf_chr(&d->out, '\n');
	gw_answer_json(d->r, 200, &d->out);
	end(d);
}

static void on_letters(void *arg, const Pirn__Answer *a)
{
	struct reading *d = arg;
	bool more;

	if (!is_answer(a)) {
		give_up(d, a);
		return;
	}
	for (size_t i = 0; i < a->n_letters; i++)
		if (gw_letters_match(&d->filter, a->letters[i])) {
			gw_show_letter(&d->j, a->letters[i], false);
			d->n++;
		}
	more = has_more(a);
	if (more)
		(void)strcpy(d->cursor, a->cursor);
	if (more && d->n < d->limit && ++d->pages < PAGES_MOST)
		ask_page(d, d->limit, on_letters);
	else
		finish_letters(d, more);
}

static bool read_list(struct reading *d, struct gw_slice query, char why[GW_PARAM_WHY])
{
	struct gw_param params[N_PARAMS + 1] = {
		GW_LETTER_PARAMS, [LIMIT_] = { .name = "limit" }, [CURSOR] = { .name = "cursor" }
	};
	const char *cursor = params[CURSOR].text;

	if (!gw_params_read(query, params, why) || !gw_letters_filter(params, &d->filter, why) ||
		!gw_params_u32(&params[LIMIT_], LIMIT, 1, LIMIT_MOST, &d->limit, why))
		return false;
	if (strlen(cursor) > CURSOR_MAX || strspn(cursor, "0123456789") < strlen(cursor)) {
		(void)snprintf(
			why, GW_PARAM_WHY, "The parameter cursor is not one that an answer gave.");
		return false;
	}
	if (*cursor)
		(void)strcpy(d->cursor, cursor);
	return true;
}

void gw_api_dead_of(struct gw *gw, struct gw_request *r)
{
	struct reading *d = start(gw, r);
	char why[GW_PARAM_WHY] = "This is no service's name.";

	if (!d)
		return;
	gw_serve_target(gw, r);
	copy_service(gw, d->service);
	if (!d->service[0] || !read_list(d, gw->target.query, why)) {
		gw_http_refuse(r, 400, why);
		end(d);
		return;
	}
	gw_json_open(&d->j, NULL, '{');
	gw_json_str(&d->j, "service", d->service);
	gw_json_open(&d->j, "letters", '[');
	ask_page(d, d->limit, on_letters);
}

/* ---- one letter ---------------------------------------------------------------------- */

static void on_letter(void *arg, const Pirn__Answer *a)
{
	struct reading *d = arg;

	if (!is_answer(a)) {
		give_up(d, a);
		return;
	}
	if (a->n_letters == 0) {
		gw_http_refuse(d->r, 404, "No dead letter of this service has this id.");
	} else {
		gw_show_letter(&d->j, a->letters[0], true);
		base_buf_chr(&d->out, '\n');
		gw_answer_json(d->r, 200, &d->out);
	}
	end(d);
}

void gw_api_dead_letter(struct gw *gw, struct gw_request *r)
{
	Pirn__Query query = PIRN__QUERY__INIT;
	struct reading *d = start(gw, r);
	char text[BASE_ULID_TEXT + 1] = "";
	uint8_t id[BASE_ULID_SIZE];

	if (!d)
		return;
	gw_serve_target(gw, r);
	copy_service(gw, d->service);
	if (gw->target.segments[3].size == BASE_ULID_TEXT)
		memcpy(text, gw->target.segments[3].data, BASE_ULID_TEXT);
	if (!d->service[0] || !base_ulid_parse(text, id)) {
		gw_http_refuse(r, 400, "A dead letter is at /v1/dead/{service}/{id}.");
		end(d);
		return;
	}
	query.has_what = query.has_id = true;
	query.what = PIRN__QUERY_KIND__DEAD_GET;
	query.service = d->service;
	query.id = (ProtobufCBinaryData){ sizeof id, id };
	if (client_engine_ask(gw->engine, &query, TIMEOUT_MS, on_letter, d) != BASE_OK)
		give_up(d, NULL);
}

/* ---- which services have any --------------------------------------------------------- */

static void count_next(struct reading *d);

static void on_count(void *arg, const Pirn__Answer *a)
{
	struct reading *d = arg;

	if (!is_answer(a)) {
		give_up(d, a);
		return;
	}
	if (a->n_letters) {
		gw_json_open(&d->j, NULL, '{');
		gw_json_str(&d->j, "service", d->service);
		gw_json_u64(&d->j, "letters", a->n_letters);
		gw_json_bool(&d->j, "more", has_more(a));
		gw_json_close(&d->j, '}');
	}
	count_next(d);
}

/* One page each: a count that is cheap says how many there are at least. */
static void count_next(struct reading *d)
{
	if (d->next_name < d->n_names) {
		(void)strcpy(d->service, d->names[d->next_name++]);
		ask_page(d, LIMIT_MOST, on_count);
		return;
	}
	gw_json_close(&d->j, ']');
	gw_json_close(&d->j, '}');
	base_buf_chr(&d->out, '\n');
	gw_answer_json(d->r, 200, &d->out);
	end(d);
}

void gw_api_dead(struct gw *gw, struct gw_request *r)
{
	struct reading *d = start(gw, r);

	if (!d)
		return;
	d->n_names = gw_routes_services(gw->routes);
	d->names = calloc(d->n_names + 1, sizeof *d->names);
	if (!d->names) {
		gw_http_problem(r, &gw_no_memory);
		end(d);
		return;
	}
	for (size_t i = 0; i < d->n_names; i++)
		(void)stpncpy(d->names[i], gw_routes_service_at(gw->routes, i)->name,
			sizeof d->names[i] - 1);
	gw_json_open(&d->j, NULL, '{');
	gw_json_open(&d->j, "services", '[');
	count_next(d);
}
