/* POST /v1/events: CloudEvents in, each for every service that subscribes to it. One in
 * binary or structured mode is answered with its id, a batch with a list of them.
 *
 * What the services get is the event in binary mode, as a POST to /v1/events: its attributes
 * as ce- headers, its data as it came, and of the request's own headers none but its trace:
 * what a client shows to the door (cookies, passwords) is not for all who subscribe.
 *
 * Source and id say which event it is (client/key.h): one that was accepted before is
 * answered as then, and goes nowhere. A batch has one fate, and stays a message for that;
 * how much that is bounds it.
 */
#include "base/clock.h"
#include "client/key.h"
#include "gateway/cloudevent.h"
#include "gateway/event.h"
#include "gateway/jsonout.h"
#include "gateway/key.h"
#include "gateway/meta.h"

#define TARGET   "/v1/events"
#define ID_WORDS "its CloudEvents' source and id say what is the same."
#define TOO_LARGE \
	"The batch is more than one message takes: 1 MiB of data and attributes, and fewer events than 512 when their types, sources and subjects are long. Send it in parts."
#define TOO_MANY "The event, or the batch, has more than 1024 deliveries. Send it in parts."

/* While a request is turned into events. */
struct posting {
	struct gw *gw;
	struct gw_request *r;
	struct gw_ce *list;
	size_t n;
	bool batch;
	struct client_request *requests;
	struct extra *extras; /* as many */
	struct base_buf meta; /* of all, one behind the other */
};

/* What a client_request points to. */
struct extra {
	uint8_t key[CLIENT_KEY_EVENT], trace[GW_TRACE_SIZE];
	size_t meta_at;
};

static const uint8_t same[GW_KEY_HASH]; /* the key says it all */

/* ---- reading ------------------------------------------------------------------------- */

static struct gw_slice body_of(const struct gw_request *r)
{
	return (struct gw_slice){ (const char *)r->payload.data + r->body_at,
		r->payload.size - r->body_at };
}

static void refuse_unread(struct posting *p, const char *why)
{
	if (p->gw->reading.starved)
		gw_http_problem(p->r, &gw_no_memory);
	else if (p->n > GW_CE_BATCH_MAX)
		gw_http_refuse(p->r, 413, why);
	else
		gw_http_refuse(p->r, 400, why);
}

/* False: it was answered. */
static bool read_events(struct posting *p)
{
	struct gw_request *r = p->r;
	const struct gw_header *type = r->known[GW_HEADER_CONTENT_TYPE];
	struct base_arena *arena = &p->gw->reading;
	char why[GW_CE_WHY];
	bool good = false;

	switch (gw_ce_mode(type ? gw_slice_trim(type->value) : (struct gw_slice){ NULL, 0 })) {
	case GW_CE_UNSUPPORTED:
		gw_http_refuse(r, 415,
			"CloudEvents are taken in binary mode, as application/cloudevents+json and as application/cloudevents-batch+json.");
		return false;
	case GW_CE_BATCH:
		p->batch = true;
		good = gw_ce_batch(body_of(r), GW_CE_BATCH_MAX, arena, &p->list, &p->n, why);
		break;
	case GW_CE_STRUCTURED:
	case GW_CE_BINARY:
		p->list = base_arena_alloc(arena, sizeof *p->list);
		p->n = 1;
		if (!p->list)
			arena->starved = true;
		else if (type && gw_ce_mode(gw_slice_trim(type->value)) == GW_CE_STRUCTURED)
			good = gw_ce_structured(body_of(r), arena, p->list, why);
		else
			good = gw_ce_binary(
				r->headers, r->n_headers, body_of(r), arena, p->list, why);
		break;
	}
	if (!good)
		refuse_unread(p, why);
	return good;
}

/* ---- an event ------------------------------------------------------------------------ */

static struct gw_slice attribute(const struct gw_ce *ce, struct gw_slice name)
{
	for (size_t i = 0; i < ce->n_attributes; i++)
		if (gw_slice_equal(ce->attributes[i].name, name))
			return ce->attributes[i].value;
	return (struct gw_slice){ "", 0 };
}

/* The request's trace when it has one, otherwise the one that the event itself belongs to. */
static void set_trace(struct posting *p, const struct gw_ce *ce, uint8_t out[GW_TRACE_SIZE])
{
	memcpy(out, gw_errand_of(p->r)->trace, GW_TRACE_SIZE);
	if (!p->r->known[GW_HEADER_TRACEPARENT])
		(void)gw_trace_parse(attribute(ce, GW_SLICE("traceparent")), out);
	gw_trace_step(&p->gw->rand, out);
}

static void put_meta(struct posting *p, const struct gw_ce *ce, const uint8_t trace[GW_TRACE_SIZE])
{
	const struct gw_header *state = p->r->known[GW_HEADER_TRACESTATE];
	char text[GW_TRACE_TEXT + 1];

	gw_trace_print(trace, text);
	gw_meta_method(&p->meta, GW_SLICE("POST"));
	gw_meta_target(&p->meta, GW_SLICE(TARGET));
	gw_ce_pack(ce, &p->meta);
	gw_meta_header(&p->meta, GW_SLICE("X-Request-Id"), gw_slice_of(p->r->id_text));
	gw_meta_header(&p->meta, GW_SLICE("traceparent"), (struct gw_slice){ text, GW_TRACE_TEXT });
	if (state && p->r->known[GW_HEADER_TRACEPARENT])
		gw_meta_header(&p->meta, GW_SLICE("tracestate"), state->value);
	gw_meta_remote(&p->meta, gw_slice_of(gw_errand_of(p->r)->remote));
}

/* NUL-terminated; NULL: there is none, or no memory (then the arena is starved). */
static const char *text_of(struct posting *p, struct gw_slice s)
{
	const char *copy = s.size ? base_arena_dup(&p->gw->reading, s.data, s.size) : NULL;

	p->gw->reading.starved |= s.size && !copy;
	return copy;
}

static void fill(struct posting *p, size_t i)
{
	const struct gw_ce *ce = &p->list[i];
	struct client_request *q = &p->requests[i];
	struct extra *x = &p->extras[i];

	client_key_event(ce->source.data, ce->source.size, ce->id.data, ce->id.size, x->key);
	set_trace(p, ce, x->trace);
	x->meta_at = p->meta.size;
	put_meta(p, ce, x->trace);
	*q = (struct client_request){ .type = text_of(p, ce->type),
		.source = text_of(p, ce->source),
		.subject = text_of(p, ce->subject),
		.trace = x->trace,
		.timeout_ms = gw_errand_of(p->r)->timeout_ms,
		.key = x->key,
		.key_size = sizeof x->key,
		.hash = same,
		.key_ttl_ms = p->gw->event_dedupe_ms };
	gw_event_fill(gw_errand_of(p->r), q);
	if (p->n == 1 && !p->batch)
		memcpy(q->id, p->r->id, sizeof q->id);
	else
		base_ulid_make(&p->gw->ulids, &p->gw->rand, base_clock_unix_ms(), q->id);
	q->payload = (struct net_payload){ .meta_size = (uint32_t)(p->meta.size - x->meta_at),
		.data = (const uint8_t *)ce->data.data,
		.data_size = (uint32_t)ce->data.size };
}

static enum base_err fill_all(struct posting *p)
{
	struct base_arena *arena = &p->gw->reading;

	p->requests = base_arena_alloc(arena, p->n * sizeof *p->requests);
	p->extras = base_arena_alloc(arena, p->n * sizeof *p->extras);
	if (!p->requests || !p->extras)
		return BASE_NOMEM;
	for (size_t i = 0; i < p->n; i++)
		fill(p, i);
	for (size_t i = 0; i < p->n; i++) /* it has stopped growing */
		p->requests[i].payload.meta = p->meta.data + p->extras[i].meta_at;
	return arena->starved ? BASE_NOMEM : base_buf_check(&p->meta);
}

/* ---- answers ------------------------------------------------------------------------- */

static void count(struct gw_request *r, bool accepted, size_t n)
{
	struct gw_served *served = gw_errand_of(r)->served;

	*(accepted ? &served->events_accepted : &served->events_refused) += n;
}

static void refuse_reason(
	struct gw_request *r, enum _Pirn__Reason reason, unsigned status, uint32_t retry_after_ms)
{
	if (reason == PIRN__REASON__TOO_LARGE)
		gw_http_refuse(r, 413, TOO_MANY);
	else
		gw_answer_reason(r, reason, status, retry_after_ms);
}

static void on_reply(void *arg, const struct client_reply *reply)
{
	struct gw_request *r = arg;

	count(r, reply->reason == PIRN__REASON__NONE, 1);
	if (reply->reason == PIRN__REASON__NONE)
		gw_event_accepted(r, reply);
	else
		refuse_reason(r, reply->reason, reply->status, reply->retry_after_ms);
}

static void put_one(struct gw_json *j, const struct client_reply *reply)
{
	char location[sizeof GW_INVOCATIONS + BASE_ULID_TEXT] = GW_INVOCATIONS;

	base_ulid_print(reply->id, location + sizeof GW_INVOCATIONS - 1);
	gw_json_open(j, NULL, '{');
	gw_json_str(j, "id", location + sizeof GW_INVOCATIONS - 1);
	gw_json_str(j, "location", location);
	if (reply->replayed)
		gw_json_bool(j, "replayed", true);
	gw_json_close(j, '}');
}

static void answer_list(struct gw_request *r, const struct client_reply *replies, size_t n)
{
	struct gw_answer a = { .status = 202, .content_type = "application/json" };
	struct base_buf body;
	struct gw_json j;

	base_buf_init(&body);
	j = gw_json_on(&body);
	gw_json_open(&j, NULL, '[');
	for (size_t i = 0; i < n; i++)
		put_one(&j, &replies[i]);
	gw_json_close(&j, ']');
	base_buf_chr(&body, '\n');
	a.body = body.data;
	a.size = body.size;
	if (base_buf_check(&body) || gw_http_answer(r, &a)) /* as one alone: they are accepted */
		gw_answer_reason(r, PIRN__REASON__UNDECIDED, 0, 0);
	base_buf_fini(&body);
}

/* What was accepted of it, if anything, is known when it comes again. */
static void on_replies(void *arg, const struct client_reply *replies, size_t n)
{
	const struct client_reply *refused = NULL;
	struct gw_request *r = arg;
	size_t accepted = 0;

	for (size_t i = 0; i < n; i++) {
		if (replies[i].reason == PIRN__REASON__NONE)
			accepted++;
		else if (!refused)
			refused = &replies[i];
	}
	count(r, true, accepted);
	count(r, false, n - accepted);
	if (!refused)
		answer_list(r, replies, n);
	else if (accepted > 0)
		gw_answer_reason(r, PIRN__REASON__UNDECIDED, 0, refused->retry_after_ms);
	else
		refuse_reason(r, refused->reason, refused->status, refused->retry_after_ms);
}

/* ---- the resource --------------------------------------------------------------------- */

static void refuse_err(struct posting *p, enum base_err err)
{
	count(p->r, false, p->n);
	if (err == BASE_TOO_LARGE)
		gw_http_refuse(p->r, 413,
			p->batch ? TOO_LARGE : "The event is larger than a message may be.");
	else if (err == BASE_FULL)
		gw_answer_later(p->r, "Too many calls and events are under way.");
	else
		gw_http_problem(p->r, &gw_no_memory);
}

static void submit(struct posting *p)
{
	enum base_err err = fill_all(p);

	if (!err && p->batch)
		err = client_engine_batch(p->gw->engine, p->requests, p->n, on_replies, p->r);
	else if (!err)
		err = client_engine_call(p->gw->engine, p->requests, on_reply, p->r, NULL);
	if (err)
		refuse_err(p, err);
}

void gw_api_events(struct gw *gw, struct gw_request *r)
{
	struct posting p = { .gw = gw, .r = r };

	if (r->known[GW_HEADER_IDEMPOTENCY_KEY]) {
		gw_http_refuse(r, 400, "Idempotency-Key is not for this path: " ID_WORDS);
		return;
	}
	if (!gw_event_posted(r))
		return;
	gw_invoke_trace(gw, r);
	base_buf_init(&p.meta);
	if (!read_events(&p))
		;
	else if (p.n == 0)
		answer_list(r, NULL, 0);
	else
		submit(&p);
	base_buf_fini(&p.meta);
	base_arena_reset(&gw->reading);
}
