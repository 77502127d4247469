/* For tests of the gateway: its two listeners over real sockets, with an engine that is
 * this file. It keeps what it was asked, and replies when told to.
 */
#ifndef GATEWAY_RIG_H
#define GATEWAY_RIG_H

#include "http_fixture.h"

#include <jansson.h>

#include "client/invocation.h"
#include "gateway/gw.h"
#include "gateway/timer.h"

#define MAX_CALLS 16

/* ---- the engine ------------------------------------------------------------------- */

struct asked {
	struct client_request request;
	char service[64];
	char type[64], source[64], subject[64];
	uint8_t trace[GW_TRACE_SIZE];
	Pirn__HttpRequest *http;
	char data[256];
	uint8_t key[256], hash[16];
	client_reply_fn *fn;
	void *arg;
};

enum { QUESTION_ASK = 1, QUESTION_CANCEL, QUESTION_LIST };

/* The last question about invocations. */
struct client_question {
	unsigned kind; /* 0: none is open */
	uint8_t id[16];
	uint32_t wait_ms, state, limit;
	char service[64];
	bool has_after;
	uint8_t after[16];
	client_invocation_fn *fn;
	void *arg;
};

/* A question to any one broker. */
struct probed {
	uint32_t what, limit;
	char service[64], cursor[32];
	uint8_t id[16], ids[16][16];
	size_t n_ids;
	client_answer_fn *fn;
	void *arg;
};

static struct {
	struct asked calls[MAX_CALLS];
	size_t n_calls, n_brokers;
	client_batch_fn *batch_fn; /* of the last batch, whose events are calls of their own here */
	void *batch_arg;
	enum base_err next; /* what the next call is refused with */
	const Pirn__Answer *answers[4];
	size_t n_answers;
	client_answer_fn *answer_fn;
	void *answer_arg;
	uint32_t asked_what, asked_force;
	char asked_service[64];
	struct client_question question;
	unsigned n_questions, n_forgotten;
	struct probed probe;
	unsigned n_probes;
	uint64_t now_ms; /* the brokers' clock; 0: none has told */
	unsigned n_cancelled;
} engine;

enum base_err client_engine_call(struct client_engine *e, const struct client_request *request,
	client_reply_fn *fn, void *arg, uint64_t *handle)
{
	struct asked *a = &engine.calls[engine.n_calls];
	const struct net_payload *p = &request->payload;

	(void)e;
	if (handle)
		*handle = 0;
	if (engine.next)
		return engine.next;
	assert_true(engine.n_calls < MAX_CALLS);
	engine.n_calls++;
	a->request = *request;
	snprintf(a->service, sizeof a->service, "%s", request->service ? request->service : "");
	snprintf(a->type, sizeof a->type, "%s", request->type ? request->type : "");
	snprintf(a->source, sizeof a->source, "%s", request->source ? request->source : "");
	snprintf(a->subject, sizeof a->subject, "%s", request->subject ? request->subject : "");
	memcpy(a->trace, request->trace, sizeof a->trace);
	if (request->key_size) {
		memcpy(a->key, request->key, request->key_size);
		memcpy(a->hash, request->hash, sizeof a->hash);
	}
	a->http = NULL;
	if (p->meta_size) { /* a timer's skipped slot has none */
		a->http = pirn__http_request__unpack(NULL, p->meta_size, p->meta);
		assert_non_null(a->http);
	}
	assert_true(p->data_size < sizeof a->data);
	if (p->data_size)
		memcpy(a->data, p->data, p->data_size);
	a->data[p->data_size] = '\0';
	a->fn = fn;
	a->arg = arg;
	return BASE_OK;
}

static inline void forget_calls(void)
{
	while (engine.n_calls > 0)
		pirn__http_request__free_unpacked(engine.calls[--engine.n_calls].http, NULL);
}

enum base_err client_engine_batch(struct client_engine *e, const struct client_request *requests,
	size_t n, client_batch_fn *fn, void *arg)
{
	enum base_err err = engine.next;

	for (size_t i = 0; !err && i < n; i++)
		err = client_engine_call(e, &requests[i], NULL, NULL, NULL);
	engine.batch_fn = fn;
	engine.batch_arg = arg;
	return err;
}

enum base_err client_engine_query(struct client_engine *e, const Pirn__Query *query,
	uint32_t timeout_ms, client_answer_fn *fn, void *arg)
{
	(void)e;
	(void)timeout_ms;
	if (engine.next)
		return engine.next;
	engine.asked_what = query->what;
	engine.asked_force = query->has_force ? query->force : UINT32_MAX;
	snprintf(engine.asked_service, sizeof engine.asked_service, "%s",
		query->service ? query->service : "");
	engine.answer_fn = fn;
	engine.answer_arg = arg;
	return BASE_OK;
}

static inline struct client_question *question(
	unsigned kind, client_invocation_fn *fn, void *arg, struct client_question **out)
{
	engine.n_questions++;
	engine.question = (struct client_question){ .kind = kind, .fn = fn, .arg = arg };
	if (out)
		*out = &engine.question;
	return &engine.question;
}

enum base_err client_invocation_ask(struct client_engine *e, const uint8_t id[16], uint32_t wait_ms,
	client_invocation_fn *fn, void *arg, struct client_question **out)
{
	struct client_question *q;

	(void)e;
	if (engine.next)
		return engine.next;
	q = question(QUESTION_ASK, fn, arg, out);
	q->wait_ms = wait_ms;
	memcpy(q->id, id, 16);
	return BASE_OK;
}

enum base_err client_invocation_cancel(struct client_engine *e, const uint8_t id[16],
	uint32_t wait_ms, client_invocation_fn *fn, void *arg, struct client_question **out)
{
	struct client_question *q;

	(void)e;
	if (engine.next)
		return engine.next;
	q = question(QUESTION_CANCEL, fn, arg, out);
	q->wait_ms = wait_ms;
	memcpy(q->id, id, 16);
	return BASE_OK;
}

enum base_err client_invocation_list(struct client_engine *e,
	const struct client_invocation_filter *filter, client_invocation_fn *fn, void *arg,
	struct client_question **out)
{
	struct client_question *q;

	(void)e;
	if (engine.next)
		return engine.next;
	q = question(QUESTION_LIST, fn, arg, out);
	q->state = filter->state;
	q->limit = filter->limit;
	snprintf(q->service, sizeof q->service, "%s", filter->service ? filter->service : "");
	q->has_after = filter->after != NULL;
	if (filter->after)
		memcpy(q->after, filter->after, 16);
	return BASE_OK;
}

void client_question_forget(struct client_question **q)
{
	if (*q) {
		engine.n_forgotten++;
		(*q)->kind = 0;
	}
	*q = NULL;
}

/* As the real ones have it. */
const char *client_invocation_state_name(uint32_t state)
{
	static const char *const names[] = { "unknown", "ready", "running", "waiting", "ending",
		"done", "dead", "expired", "cancelled" };

	return names[state < 9 ? state : 0];
}

bool client_invocation_has_ended(uint32_t state)
{
	return state >= PIRN__INVOCATION_STATE__DONE;
}

enum base_err client_engine_ask(struct client_engine *e, const Pirn__Query *query,
	uint32_t timeout_ms, client_answer_fn *fn, void *arg)
{
	struct probed *p = &engine.probe;

	(void)e;
	(void)timeout_ms;
	if (engine.next)
		return engine.next;
	*p = (struct probed){ .what = query->what, .limit = query->limit, .fn = fn, .arg = arg };
	snprintf(p->service, sizeof p->service, "%s", query->service ? query->service : "");
	snprintf(p->cursor, sizeof p->cursor, "%s", query->cursor ? query->cursor : "");
	if (query->has_id)
		memcpy(p->id, query->id.data, 16);
	assert_true(query->n_ids <= 16);
	p->n_ids = query->n_ids;
	for (size_t i = 0; i < query->n_ids; i++)
		memcpy(p->ids[i], query->ids[i].data, 16);
	engine.n_probes++;
	return BASE_OK;
}

size_t client_engine_open(const struct client_engine *e)
{
	(void)e;
	return engine.n_calls;
}

bool client_engine_now_ms(const struct client_engine *e, uint64_t *now_ms)
{
	(void)e;
	*now_ms = engine.now_ms;
	return engine.now_ms > 0;
}

void client_engine_cancel(struct client_engine *e, uint64_t handle)
{
	(void)e;
	(void)handle;
	engine.n_cancelled++;
}

size_t client_engine_brokers(const struct client_engine *e)
{
	(void)e;
	return engine.n_brokers;
}

const char *client_reason_text(enum _Pirn__Reason reason)
{
	return reason == PIRN__REASON__NO_WORKER ? "no worker is there" : "it went wrong";
}

unsigned client_reason_status(enum _Pirn__Reason reason)
{
	switch (reason) {
	case PIRN__REASON__UNKNOWN_SERVICE:
		return 404;
	case PIRN__REASON__QUEUE_FULL:
		return 429;
	case PIRN__REASON__KEY_BUSY:
		return 409;
	case PIRN__REASON__KEY_BODY:
		return 422;
	case PIRN__REASON__DEADLINE:
		return 504;
	case PIRN__REASON__WORKER_LOST:
	case PIRN__REASON__CRASHED:
		return 502;
	default:
		return 503;
	}
}

/* ---- the gateway ------------------------------------------------------------------ */

static struct gw gw;

static inline struct gw_http *listener(bool admin)
{
	struct gw_http_conf conf = { .address = "127.0.0.1:0",
		.listen_fd = -1,
		.max_head = 32768,
		.max_body = 65536,
		.max_connections = 64,
		.head_ms = 60000,
		.body_ms = 60000,
		.idle_ms = 60000,
		.user_bytes = sizeof(struct gw_errand),
		.rand = &gw.rand,
		.ulids = &gw.ulids };
	struct gw_http_events events = admin ? gw_admin_events(&gw) : gw_users_events(&gw);
	struct gw_http *h;
	char *why;

	assert_int_equal(gw_http_new(gw.loop, &conf, &events, &h, &why), BASE_OK);
	return h;
}

struct offered {
	const char *service, *method, *path;
	bool async;
	uint32_t timeout_ms, max_body;
	uint64_t first_ms;
};

static inline void push_registry(const struct offered *offers, size_t n)
{
	Pirn__Registry registry = PIRN__REGISTRY__INIT;
	Pirn__Entry entries[8], *entry_list[8];
	Pirn__Manifest manifests[8];
	Pirn__Route routes[8], *route_list[8];

	for (size_t i = 0; i < n; i++) {
		pirn__entry__init(&entries[i]);
		pirn__manifest__init(&manifests[i]);
		pirn__route__init(&routes[i]);
		manifests[i].service = (char *)(uintptr_t)offers[i].service;
		manifests[i].timeout_ms = offers[i].timeout_ms;
		manifests[i].max_body_bytes = offers[i].max_body;
		manifests[i].version = (char *)(uintptr_t) "v1";
		routes[i].method = (char *)(uintptr_t)offers[i].method;
		routes[i].path = (char *)(uintptr_t)offers[i].path;
		routes[i].async = offers[i].async;
		routes[i].ack_memory = strcmp(offers[i].path, "/quick") == 0;
		route_list[i] = &routes[i];
		manifests[i].n_routes = 1;
		manifests[i].routes = &route_list[i];
		entries[i].manifest = &manifests[i];
		entries[i].first_ms = offers[i].first_ms;
		entry_list[i] = &entries[i];
	}
	registry.n_entries = n;
	registry.entries = entry_list;
	gw_serve_registry(&gw, &registry);
}

static const struct offered usual[] = {
	{ "users", "GET", "/u/{id}/{rest*}", false, 5000, 0, 1 },
	{ "posts", "POST", "/p", false, 5000, 20, 2 },
	{ "later", "POST", "/later", true, 5000, 0, 3 },
	{ "plain", "PUT", "/plain", false, 0, 0, 4 },
};

static inline int setup(void **state)
{
	Pirn__Registry none = PIRN__REGISTRY__INIT;
	char why[64];

	(void)state;
	memset(&gw, 0, sizeof gw);
	memset(&engine, 0, sizeof engine);
	engine.n_brokers = 1;
	base_log_init(BASE_ERROR + 1, BASE_LOG_TEXT, 2);
	base_rand_init(&gw.rand, 5);
	base_arena_init(&gw.arena, 4096, 1 << 20);
	base_arena_init(&gw.reading, 4096, 8 << 20);
	gw_metrics_init(&gw.metrics);
	gw.name = "gw-1";
	gw.max_response = 1000;
	assert_int_equal(gw_routes_new(&none, &gw.routes), BASE_OK);
	assert_int_equal(gw_nets_parse(NULL, &gw.trusted, why, sizeof why), BASE_OK);
	assert_int_equal(net_loop_new(&gw.loop), BASE_OK);
	assert_non_null(gw.timers = gw_timers_new(&gw));
	gw.users = listener(false);
	gw.admin = listener(true);
	push_registry(usual, sizeof usual / sizeof *usual);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	gw_timers_free(&gw.timers);
	gw_http_free(&gw.users);
	gw_http_free(&gw.admin);
	gw_access_free(&gw.access);
	net_loop_free(&gw.loop);
	gw_serve_fini(&gw);
	gw_metrics_fini(&gw.metrics);
	gw_nets_fini(&gw.trusted);
	base_arena_fini(&gw.arena);
	base_arena_fini(&gw.reading);
	forget_calls();
	return 0;
}

/* Sends a request and waits until it is answered, or until the engine has its call or question. */
static inline struct client ask_on(const struct gw_http *h, const char *request)
{
	struct client c = client_open(gw_http_address(h));
	size_t calls = engine.n_calls;
	unsigned questions = engine.n_questions, probes = engine.n_probes;
	bool bodiless = strncmp(request, "HEAD", 4) == 0;

	engine.answer_fn = NULL;
	client_say(gw.loop, &c, request);
	until(gw.loop, &c,
		response_whole(&c, bodiless) || engine.n_calls > calls || engine.answer_fn ||
			engine.n_questions > questions || engine.n_probes > probes);
	return c;
}

static inline struct client ask(const char *request)
{
	return ask_on(gw.users, request);
}

static inline struct asked *last(void)
{
	assert_true(engine.n_calls > 0);
	return &engine.calls[engine.n_calls - 1];
}

struct said {
	unsigned status;
	const char *headers[8][2];
	const char *body;
};

static inline void reply(struct client *c, const struct said *s)
{
	Pirn__HttpResponse response = PIRN__HTTP_RESPONSE__INIT;
	Pirn__Header headers[8], *list[8];
	uint8_t meta[1024];
	struct client_reply r = { .status = s->status };

	for (size_t i = 0; i < 8 && s->headers[i][0]; i++) {
		pirn__header__init(&headers[i]);
		headers[i].name = (ProtobufCBinaryData){ strlen(s->headers[i][0]),
			(uint8_t *)(uintptr_t)s->headers[i][0] };
		headers[i].value = (ProtobufCBinaryData){ strlen(s->headers[i][1]),
			(uint8_t *)(uintptr_t)s->headers[i][1] };
		list[i] = &headers[i];
		response.n_headers = i + 1;
	}
	response.headers = list;
	r.payload.meta = meta;
	r.payload.meta_size = (uint32_t)pirn__http_response__pack(&response, meta);
	r.payload.data = (const uint8_t *)(s->body ? s->body : "");
	r.payload.data_size = s->body ? (uint32_t)strlen(s->body) : 0;
	last()->fn(last()->arg, &r);
	until(gw.loop, c, response_whole(c, false));
}

static inline void reply_reason(
	struct client *c, enum _Pirn__Reason reason, uint32_t retry_after_ms)
{
	struct client_reply r = { .reason = reason,
		.status = client_reason_status(reason),
		.retry_after_ms = retry_after_ms };

	last()->fn(last()->arg, &r);
	until(gw.loop, c, response_whole(c, false));
}

static inline bool holds(ProtobufCBinaryData data, const char *text)
{
	return data.len == strlen(text) && memcmp(data.data, text, data.len) == 0;
}

/* The value of a header that the service sees; NULL: it does not see it. */
static inline const char *seen(const char *name)
{
	static char value[512];
	const Pirn__HttpRequest *r = last()->http;

	for (size_t i = 0; i < r->n_headers; i++)
		if (holds(r->headers[i]->name, name)) {
			snprintf(value, sizeof value, "%.*s", (int)r->headers[i]->value.len,
				(char *)r->headers[i]->value.data);
			return value;
		}
	return NULL;
}

static inline void expect_retry_after(const struct client *c, const char *seconds)
{
	char value[16];

	assert_true(response_header(c, "Retry-After", value, sizeof value));
	assert_string_equal(value, seconds);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
