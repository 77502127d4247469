/* A request becomes a call or an event (event.h): its head is packed when it is there, its
 * body follows behind it in the same buffer, and the whole is handed to the engine. The
 * reply becomes the answer. What is UNTRUSTED here: the client's headers, and everything
 * in the reply.
 */
#include "base/conf.h"
#include "base/log.h"
#include "gateway/event.h"
#include "gateway/key.h"
#include "gateway/meta.h"

#define MAX_FIELDS 128 /* of an answer: as many as a worker lets a service set */

/* ---- the way out ---------------------------------------------------------------- */

/* Belongs to the connection, not to the request. */
static bool is_hop_by_hop(enum gw_known known)
{
	switch (known) {
	case GW_HEADER_CONNECTION:
	case GW_HEADER_KEEP_ALIVE:
	case GW_HEADER_PROXY_CONNECTION:
	case GW_HEADER_TE:
	case GW_HEADER_TRAILER:
	case GW_HEADER_TRANSFER_ENCODING:
	case GW_HEADER_UPGRADE:
		return true;
	default:
		return false;
	}
}

/* Connection names further headers that end here. Somebody who names more of them than this means
 * no good (to look each header up in a list of 16,000 takes its time): then all end here. */
#define LISTED_MOST 32

struct listed {
	struct gw_slice names[LISTED_MOST];
	size_t n;
	bool all;
};

static void gather(struct listed *l, struct gw_slice rest)
{
	while (rest.size && !l->all) {
		struct gw_slice name = gw_slice_trim(gw_slice_cut(&rest, ','));
		if (name.size && l->n == LISTED_MOST)
			l->all = true;
		else if (name.size)
			l->names[l->n++] = name;
	}
}

static void gather_all(struct listed *l, const struct gw_request *r)
{
	l->n = 0;
	l->all = false;
	for (size_t i = 0; r->known[GW_HEADER_CONNECTION] && i < r->n_headers; i++)
		if (r->headers[i].known == GW_HEADER_CONNECTION)
			gather(l, r->headers[i].value);
}

static bool is_listed(const struct listed *l, struct gw_slice name)
{
	for (size_t i = 0; i < l->n; i++)
		if (gw_slice_like(l->names[i], name))
			return true;
	return l->all;
}

static bool says_forwarded(enum gw_known known)
{
	return known == GW_HEADER_FORWARDED || known == GW_HEADER_X_FORWARDED_FOR ||
	       known == GW_HEADER_X_FORWARDED_HOST || known == GW_HEADER_X_FORWARDED_PROTO;
}

/* trusted: the peer may say who the client is. traced: the client's traceparent was a valid one. */
struct passing {
	bool trusted, traced;
};

static bool passes(const struct listed *listed, const struct gw_header *h, struct passing p)
{
	enum gw_known known = h->known;

	if (is_hop_by_hop(known) || known == GW_HEADER_CONTENT_LENGTH || known == GW_HEADER_EXPECT)
		return false;
	if (known == GW_HEADER_X_REQUEST_ID || known == GW_HEADER_TRACEPARENT)
		return false; /* said anew */
	if (known == GW_HEADER_TRACESTATE && !p.traced)
		return false;
	if (says_forwarded(known) && !p.trusted)
		return false;
	return known == GW_HEADER_HOST || !is_listed(listed, h->name);
}

static void pack_headers(struct gw_request *r, struct passing p)
{
	char trace[GW_TRACE_TEXT + 1];
	struct listed listed;

	gather_all(&listed, r);
	for (size_t i = 0; i < r->n_headers; i++) {
		const struct gw_header *h = &r->headers[i];
		if (passes(&listed, h, p))
			gw_meta_header(&r->payload, h->name, h->value);
	}
	gw_trace_print(gw_errand_of(r)->trace, trace);
	gw_meta_header(&r->payload, GW_SLICE("X-Request-Id"), gw_slice_of(r->id_text));
	gw_meta_header(
		&r->payload, GW_SLICE("traceparent"), (struct gw_slice){ trace, GW_TRACE_TEXT });
}

static void pack_params(struct gw *gw, struct gw_request *r, const struct gw_match *match)
{
	for (size_t i = 0; match && i < match->route->n_params; i++) {
		struct gw_slice name = match->route->params[i], value = match->values[i];
		char *rest;
		if (match->rest_from != SIZE_MAX && i + 1 == match->route->n_params) {
			rest = base_arena_alloc(&gw->arena, gw->target.path.size);
			if (!rest) {
				r->payload.failed = true;
				return;
			}
			value = (struct gw_slice){ rest, gw_match_rest(match, &gw->target, rest) };
		}
		gw_meta_param(&r->payload, name, value);
	}
}

/* Who the client is; true: the peer is a proxy that may say so. */
static bool find_client(struct gw *gw, struct gw_request *r)
{
	struct gw_slice values[2][32];
	size_t n[2] = { 0, 0 };
	uint8_t addr[GW_ADDR_SIZE];
	struct gw_errand *e = gw_errand_of(r);

	if (gw->trusted.n == 0 || !gw_nets_have(&gw->trusted, r->peer)) {
		(void)stpncpy(e->remote, r->peer_text, sizeof e->remote - 1);
		return false;
	}
	for (size_t i = 0; i < r->n_headers; i++) {
		enum gw_known known = r->headers[i].known;
		unsigned which = known == GW_HEADER_X_FORWARDED_FOR;
		if ((known != GW_HEADER_FORWARDED && !which) || n[which] == 32)
			continue;
		values[which][n[which]++] = r->headers[i].value;
	}
	memcpy(addr, r->peer, sizeof addr);
	gw_forwarded_walk(&gw->trusted, (struct gw_hops){ values[0], n[0] },
		(struct gw_hops){ values[1], n[1] }, addr);
	gw_addr_print(addr, e->remote);
	return true;
}

/* Continues the client's trace or starts one; true: continued. */
static bool set_trace(struct gw *gw, struct gw_request *r)
{
	const struct gw_header *h = r->known[GW_HEADER_TRACEPARENT];
	uint8_t *trace = gw_errand_of(r)->trace;

	if (!h || !gw_trace_parse(h->value, trace)) {
		gw_trace_start(&gw->rand, trace);
		return false;
	}
	gw_trace_step(&gw->rand, trace);
	return true;
}

void gw_invoke_trace(struct gw *gw, struct gw_request *r)
{
	(void)set_trace(gw, r);
	(void)find_client(gw, r);
}

static bool read_ms(struct gw_slice value, uint64_t *ms)
{
	char text[24];

	if (value.size >= sizeof text)
		return false;
	memcpy(text, value.data, value.size);
	text[value.size] = '\0';
	return base_conf_ms(text, ms);
}

/* Pirn-Timeout is how long the client waits in all; a run of it has the manifest's timeout all the
 * same, and what is left is for waiting and for another run. For an event it is how long its
 * acceptance may take. False: it is no duration, and that was answered. */
bool gw_invoke_timeout(struct gw_request *r, uint32_t of_call)
{
	const struct gw_header *h = r->known[GW_HEADER_PIRN_TIMEOUT];
	struct gw_errand *e = gw_errand_of(r);
	uint32_t most = e->event ? GW_EVENT_DECISION_MOST_MS : GW_CALL_MOST_MS;
	uint64_t ms;

	e->timeout_ms = e->event ? GW_EVENT_DECISION_MS : of_call;
	if (!h)
		return true;
	if (!read_ms(h->value, &ms) || ms == 0) {
		gw_http_refuse(r, 400, "Pirn-Timeout is not a duration such as 500ms, 5s or 2m.");
		return false;
	}
	e->timeout_ms = ms < most ? (uint32_t)ms : most;
	return true;
}

/* False: there is a key, and it is not one. */
static bool find_key(struct gw_request *r)
{
	const struct gw_header *h = r->known[GW_HEADER_IDEMPOTENCY_KEY];
	uint8_t key[GW_KEY_MAX];

	if (!h)
		return true;
	for (size_t i = 0; i < r->n_headers; i++)
		if (&r->headers[i] != h && r->headers[i].known == h->known)
			return false;
	gw_errand_of(r)->keyed = gw_key_read(h->value, key) > 0;
	return gw_errand_of(r)->keyed;
}

static bool is_idempotent(const struct gw_request *r)
{
	switch (gw_errand_of(r)->method) {
	case GW_METHOD_GET:
	case GW_METHOD_HEAD:
	case GW_METHOD_PUT:
	case GW_METHOD_DELETE:
	case GW_METHOD_OPTIONS:
		return true;
	default:
		return gw_errand_of(r)->keyed;
	}
}

static void run_call(struct gw *gw, struct gw_request *r);

/* Of the calls that may be under way the service has more than its share: a slow one shall not take
 * the others' room. So one alone gets three quarters of all, two get three sevenths each, and so
 * on; the brokers share out theirs in the same way. */
static bool has_its_share(const struct gw *gw, const struct gw_served *s)
{
	size_t open = client_engine_open(gw->engine);

	return gw->max_calls && s->calls > 0 &&
	       s->calls / GW_SHARE >= (gw->max_calls > open ? gw->max_calls - open : 0);
}

static void refuse_share(struct gw_request *r)
{
	gw_http_problem(r,
		&(struct gw_problem){ .status = 503,
			.detail =
				"Too many calls of this service are under way here. Ask again after Retry-After, and less often.",
			.retry_after_s = 1 });
}

void gw_invoke_head(struct gw *gw, struct gw_request *r, const struct gw_service *s,
	const struct gw_match *match)
{
	struct gw_errand *e = gw_errand_of(r);
	struct passing p;

	if (!s->user) { /* memory was out when it became known */
		gw_http_problem(r, &gw_no_memory);
		return;
	}
	gw_metrics_move(&gw->metrics, &e->served, s->user);
	if (has_its_share(gw, e->served)) {
		refuse_share(r);
		return;
	}
	if (!gw_event_head(r, match))
		return;
	if (!gw_invoke_timeout(r, s->timeout_ms ? s->timeout_ms : GW_DEFAULT_TIMEOUT_MS))
		return;
	if (!find_key(r)) {
		gw_http_refuse(r, 400,
			"Idempotency-Key is not one text of 1 to 255 visible characters, in quotes or without.");
		return;
	}
	if (s->max_body && s->max_body < r->max_body)
		r->max_body = s->max_body;
	e->head_by_get = match && match->head_by_get;
	e->idempotent = is_idempotent(r);
	p.traced = set_trace(gw, r);
	p.trusted = find_client(gw, r);
	gw_meta_method(&r->payload, e->head_by_get ? GW_SLICE("GET") : r->method);
	gw_meta_target(&r->payload, gw->target.origin);
	pack_headers(r, p);
	gw_meta_remote(&r->payload, gw_slice_of(e->remote));
	pack_params(gw, r, match);
	base_arena_reset(&gw->arena);
	e->run = run_call;
}

/* ---- the way back --------------------------------------------------------------- */

static unsigned seconds_up(uint32_t ms)
{
	return ms / 1000 + (ms % 1000 != 0);
}

/* A sentence out of "no worker is there for the service". */
static void write_sentence(char *out, size_t room, const char *text)
{
	char *end;

	if (!text || !*text)
		return;
	end = stpncpy(out, text, room - 2);
	if (out[0] >= 'a' && out[0] <= 'z')
		out[0] = (char)(out[0] - 'a' + 'A');
	if (end[-1] != '.')
		*end = '.';
}

/* Where a client can do something, the detail says what; NULL: the reason's own text is enough. */
static const char *advice(enum _Pirn__Reason reason)
{
	switch (reason) {
	case PIRN__REASON__BREAKER_OPEN:
		return "The service fails too often: its circuit breaker is open, and calls do not reach it. Ask again after Retry-After.";
	case PIRN__REASON__BREAKER_FORCED:
		return "An operator has opened the service's circuit breaker: calls do not reach it until it is closed. Ask again after Retry-After.";
	case PIRN__REASON__OVERLOADED:
		return "There is more work than can be done in time. Ask again after Retry-After, and less often.";
	case PIRN__REASON__QUEUE_FULL:
		return "As much waits for the service as may. Ask again after Retry-After, and less often.";
	default:
		return NULL;
	}
}

void gw_answer_reason(
	struct gw_request *r, enum _Pirn__Reason reason, unsigned status, uint32_t retry_after_ms)
{
	struct gw_problem p = {
		.status = status >= 400 && status <= 599 ? status : client_reason_status(reason),
		.detail = advice(reason),
		.retry_after_s = seconds_up(retry_after_ms)
	};
	char detail[160] = "";

	if (!p.detail) {
		write_sentence(detail, sizeof detail, client_reason_text(reason));
		p.detail = detail;
	}
	if (p.retry_after_s == 0 && (p.status == 503 || p.status == 429 || p.status == 409))
		p.retry_after_s = 1;
	gw_http_problem(r, &p);
}

/* What the service must not say, because it is the connection's or ours. */
static bool is_dropped(struct gw_slice name)
{
	enum gw_known known = gw_header_known(name);

	return is_hop_by_hop(known) || known == GW_HEADER_CONTENT_LENGTH ||
	       known == GW_HEADER_X_REQUEST_ID || gw_slice_like(name, GW_SLICE("Date"));
}

static const char *keep_text(struct gw *gw, struct gw_slice s)
{
	return memchr(s.data, '\0', s.size) ? NULL : base_arena_dup(&gw->arena, s.data, s.size);
}

/* Copies the reply's headers into fields. False: they are not headers. */
static bool read_fields(
	struct gw *gw, const struct net_payload *payload, struct gw_field *fields, size_t *n)
{
	struct gw_meta_reader reader = { payload->meta, payload->meta + payload->meta_size };
	struct gw_slice name, value;
	int more;

	while ((more = gw_meta_next(&reader, &name, &value)) > 0) {
		if (name.size == 0)
			return false;
		if (is_dropped(name))
			continue;
		if (*n == MAX_FIELDS)
			return false;
		fields[*n] = (struct gw_field){ keep_text(gw, name), keep_text(gw, value) };
		if (!fields[*n].name || !fields[*n].value)
			return false;
		++*n;
	}
	return more == 0;
}

static void answer_service(struct gw *gw, struct gw_request *r, const struct client_reply *reply)
{
	struct gw_field fields[MAX_FIELDS + 1];
	struct gw_answer a = { .status = reply->status,
		.fields = fields,
		.body = reply->payload.data,
		.size = reply->payload.data_size,
		.block = reply->payload.block };
	enum base_err err = BASE_INVALID;

	if (a.size > gw->max_response) {
		gw_http_refuse(r, 502, "The service's response is larger than this gateway takes.");
		return;
	}
	if (a.status >= 200 && a.status <= 599 &&
		read_fields(gw, &reply->payload, fields, &a.n_fields)) {
		if (reply->replayed)
			fields[a.n_fields++] = (struct gw_field){ GW_REPLAYED, "true" };
		err = gw_http_answer(r, &a);
	} else if (gw->arena.starved) {
		err = BASE_NOMEM;
	}
	base_arena_reset(&gw->arena);
	if (!err)
		return;
	if (err != BASE_INVALID) {
		gw_http_problem(r, &gw_no_memory);
		return;
	}
	base_log(BASE_WARN, "response_refused", LOG_STR("service", gw_errand_of(r)->served->name),
		LOG_STR("request", r->id_text), LOG_U64("status", reply->status));
	gw_http_refuse(r, 502, "The service's response is not one that HTTP can carry.");
}

static void count_event(const struct gw_errand *e, bool accepted)
{
	if (e->event && accepted)
		e->served->events_accepted++;
	else if (e->event)
		e->served->events_refused++;
}

static void on_reply(void *arg, const struct client_reply *reply)
{
	struct gw_request *r = arg;
	const struct gw_errand *e = gw_errand_of(r);

	e->served->calls--;
	count_event(e, reply->reason == PIRN__REASON__NONE);
	if (reply->reason != PIRN__REASON__NONE)
		gw_answer_reason(r, reply->reason, reply->status, reply->retry_after_ms);
	else if (e->event)
		gw_event_accepted(r, reply);
	else
		answer_service(e->gw, r, reply);
}

static void refuse_call(struct gw_request *r, enum base_err err)
{
	struct gw_problem p = gw_no_memory;

	count_event(gw_errand_of(r), false);
	if (err == BASE_TOO_LARGE)
		p = (struct gw_problem){ .status = 413,
			.detail = "The request is larger than a message may be." };
	else if (err == BASE_FULL)
		p.detail = "Too many calls and events are under way.";
	gw_http_problem(r, &p);
}

static struct gw_slice body_of(const struct gw_request *r)
{
	return (struct gw_slice){ (const char *)r->payload.data + r->body_at,
		r->payload.size - r->body_at };
}

static void hash_request(const struct gw_request *r, uint8_t hash[GW_KEY_HASH])
{
	const struct gw_header *type = r->known[GW_HEADER_CONTENT_TYPE];
	struct gw_key_request k = { .method = r->method,
		.target = r->target,
		.content_type = type ? type->value : GW_SLICE(""),
		.body = body_of(r),
		.event = gw_errand_of(r)->event };

	gw_key_hash(&k, hash);
}

static void run_call(struct gw *gw, struct gw_request *r)
{
	const struct gw_errand *e = gw_errand_of(r);
	struct client_request call = { .service = e->served->name,
		.trace = e->trace,
		.timeout_ms = e->timeout_ms,
		.idempotent = e->idempotent };
	uint8_t key[GW_KEY_MAX], hash[GW_KEY_HASH];
	struct gw_slice body = body_of(r);
	enum base_err err = base_buf_check(&r->payload);

	memcpy(call.id, r->id, sizeof call.id);
	call.payload = (struct net_payload){ .meta = r->payload.data,
		.meta_size = (uint32_t)r->body_at,
		.data = (const uint8_t *)body.data,
		.data_size = (uint32_t)body.size };
	gw_event_fill(e, &call);
	if (e->keyed && !err) {
		call.key = key;
		call.key_size = gw_key_read(r->known[GW_HEADER_IDEMPOTENCY_KEY]->value, key);
		call.hash = hash;
		hash_request(r, hash);
	}
	if (!err && has_its_share(gw, e->served)) {
		count_event(e, false);
		refuse_share(r);
		return;
	}
	if (!err)
		err = client_engine_call(gw->engine, &call, on_reply, r, NULL);
	if (err)
		refuse_call(r, err);
	else
		e->served->calls++;
}
