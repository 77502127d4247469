/* The gateway without memory: over real sockets, with the engine of the unit tests, which has some.
 * What a client gets is the answer that it would get with all the memory there is; or a 503, which it may
 * take for what it is; or the end of its connection. Never another one's words, a 4xx for what is sound,
 * a 200 with something missing.
 */
#include "gateway/cloudevent.h"
#include "gateway/jsonout.h"
#include "gateway/meta.h"
#include "tests/oom/gateway.h"

/* ---- requests of users -------------------------------------------------------------------- */

static void served(unsigned slot, const char *request)
{
	static const char bytes[] = "{\"a\":1}";
	Pirn__HttpResponse response = PIRN__HTTP_RESPONSE__INIT;
	Pirn__Header headers[6], *list[6];
	uint8_t meta[1024];
	struct client_reply r = { .status = 201 };
	struct client c;

	for (size_t i = 0; i < 6; i++) {
		static const char *const names[] = { "Content-Type", "X-A", "X-B", "ETag",
			"Cache-Control", "X-C" };

		pirn__header__init(&headers[i]);
		headers[i].name =
			(ProtobufCBinaryData){ strlen(names[i]), (uint8_t *)(uintptr_t)names[i] };
		headers[i].value = (ProtobufCBinaryData){ 5, (uint8_t *)(uintptr_t) "value" };
		list[i] = &headers[i];
	}
	response.n_headers = 6;
	response.headers = list;
	r.payload.meta = meta;
	r.payload.meta_size = (uint32_t)pirn__http_response__pack(&response, meta);
	r.payload.data = (const uint8_t *)bytes;
	r.payload.data_size = sizeof bytes - 1;
	if (say(gw.users, request, &c)) {
		struct asked *a = last();

		if (a->request.event)
			memcpy(r.id, "an event's id...", 16);
		REPLY_TO(a->fn, a->arg, &r);
		await(&c);
	}
	see_end(&c, slot);
}

static void refused(unsigned slot, const char *request)
{
	struct client_reply r = { .reason = PIRN__REASON__DEADLINE, .status = 504 };
	struct client c;

	if (say(gw.users, request, &c)) {
		REPLY_TO(last()->fn, last()->arg, &r);
		await(&c);
	}
	see_end(&c, slot);
}

/* What the service is given is what was sent, or nothing is. */
static void see_request(size_t calls, const char *data, size_t n_headers)
{
	if (engine.n_calls == calls)
		return;
	assert_int_equal(engine.n_calls, calls + 1);
	assert_string_equal(last()->data, data);
	assert_int_equal(last()->http->n_headers, n_headers);
}

static void users_path(void)
{
	size_t calls;

	setup(NULL);
	calls = engine.n_calls;
	served(0, "GET /u/1/a/b%20c?x=1 HTTP/1.1\r\n" HOST
		  "X-Forwarded-For: 10.0.0.1\r\nAccept: text/plain\r\nCookie: a=b\r\n\r\n");
	see_request(calls, "", 5);
	if (engine.n_calls > calls) {
		assert_int_equal(last()->http->n_params, 2);
		assert_true(holds(last()->http->params[1]->value, "a/b c"));
	}
	calls = engine.n_calls;
	served(1,
		"POST /p HTTP/1.1\r\n" HOST
		"Content-Length: 11\r\nIdempotency-Key: \"k 1\"\r\nPirn-Timeout: 2s\r\n\r\nhello there");
	see_request(calls, "hello there", 5);
	if (engine.n_calls > calls)
		assert_true(last()->request.key_size == 3 && last()->request.timeout_ms == 2000);
	served(2, "POST /later HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi");
	served(3,
		"PUT /plain HTTP/1.1\r\n" HOST
		"Prefer: respond-async, wait=1\r\nPirn-Delay: 5s\r\nTransfer-Encoding: chunked\r\n\r\n"
		"5\r\nhello\r\n6\r\n there\r\n0\r\n\r\n");
	served(4, "POST /v1/invoke/users HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi");
	refused(5, "GET /u/2/a HTTP/1.1\r\n" HOST "\r\n");
	refused(6, "GET /nothing HTTP/1.1\r\n" HOST "\r\n");
	refused(7, "PUT /p HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
	refused(8, "POST /p HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\n");
	refused(9, "PUT /plain HTTP/1.1\r\n" HOST "Pirn-Delay: 1s\r\nContent-Length: 0\r\n\r\n");
	refused(10, "POST /v1/invoke/nobody HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
	refused(11, "OPTIONS /p HTTP/1.1\r\n" HOST "\r\n");
	refused(12, "GET /healthz HTTP/1.1\r\n" HOST "\r\n");
	refused(13, "GET /readyz HTTP/1.1\r\n" HOST "\r\n");
	refused(14, "GET / HTTP/9.9\r\n\r\n");
	served(15,
		"GET /u/1/a HTTP/1.1\r\n" HOST
		"A: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\nF: 1\r\nG: 1\r\nH: 1\r\nI: 1\r\nJ: 1\r\n"
		"K: 1\r\nL: 1\r\nM: 1\r\nN: 1\r\nO: 1\r\nP: 1\r\nQ: 1\r\nR: 1\r\nS: 1\r\nT: 1\r\n"
		"U: 1\r\nV: 1\r\nW: 1\r\nX: 1\r\nY: 1\r\nZ: 1\r\nAA: 1\r\nAB: 1\r\nAC: 1\r\nAD: 1\r\n"
		"AE: 1\r\nAF: 1\r\nAG: 1\r\nAH: 1\r\nAI: 1\r\nAJ: 1\r\n\r\n");
	teardown(NULL);
}

/* ---- invocations ---------------------------------------------------------------------------- */

static void tell(unsigned slot, const char *request, size_t cancelled)
{
	Pirn__Invocation i = PIRN__INVOCATION__INIT, *list[] = { &i };
	Pirn__JournalAttempt first = PIRN__JOURNAL_ATTEMPT__INIT, *history[] = { &first };
	Pirn__HttpResponse response = PIRN__HTTP_RESPONSE__INIT;
	Pirn__Header header = PIRN__HEADER__INIT, *headers[] = { &header, &header };
	static uint8_t id[16],
		data[] = "\xff\0\xfe not text, and long enough to be more than a word or two";
	uint8_t meta[256];
	struct client_invocations told = {
		.verdict = CLIENT_FOUND, .list = list, .n = 1, .cancelled = cancelled
	};
	struct client c;

	assert_true(base_ulid_parse(ID, id));
	header.name = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t) "X-A" };
	header.value = (ProtobufCBinaryData){ 2, (uint8_t *)(uintptr_t) "b\"" };
	response.n_headers = 2;
	response.headers = headers;
	i.id = (ProtobufCBinaryData){ sizeof id, id };
	i.service = (char *)(uintptr_t) "posts";
	i.state = PIRN__INVOCATION_STATE__DONE;
	i.has_attempt = i.has_attempts = i.has_accepted_ms = true;
	i.attempt = 2;
	i.attempts = 10;
	i.accepted_ms = 1795252502123;
	first.worker = (char *)(uintptr_t) "w-1";
	first.error = (char *)(uintptr_t) "it \"broke\"";
	i.n_history = 1;
	i.history = history;
	i.has_ended_ms = i.has_status = i.has_meta = i.has_data = true;
	i.meta = (ProtobufCBinaryData){ pirn__http_response__pack(&response, meta), meta };
	i.data = (ProtobufCBinaryData){ sizeof data, data };
	if (say(gw.users, request, &c)) {
		assert_true(engine.question.kind != 0);
		engine.question.kind = 0;
		REPLY_TO(engine.question.fn, engine.question.arg, &told);
		await(&c);
	}
	see_end(&c, slot);
}

static void invocations_path(void)
{
	setup(NULL);
	tell(20, "GET /v1/invocations/" ID " HTTP/1.1\r\n" HOST "\r\n", 0);
	tell(21, "GET /v1/invocations/" ID "?wait=3s HTTP/1.1\r\n" HOST "\r\n", 0);
	tell(22, "DELETE /v1/invocations/" ID " HTTP/1.1\r\n" HOST "\r\n", 1);
	tell(23, "GET /v1/invocations?service=posts&state=ready HTTP/1.1\r\n" HOST "\r\n", 0);
	tell(24, "GET /v1/invocations?colour=red HTTP/1.1\r\n" HOST "\r\n", 0);
	teardown(NULL);
}

/* ---- administration -------------------------------------------------------------------------- */

/* Both brokers' answers, and that there are no more. */
static void surveyed(
	unsigned slot, const char *request, const Pirn__Answer *one, const Pirn__Answer *two)
{
	struct client c;

	if (say(gw.admin, request, &c)) {
		assert_non_null(engine.answer_fn);
		if (one)
			REPLY_TO(engine.answer_fn, engine.answer_arg, one);
		if (two)
			REPLY_TO(engine.answer_fn, engine.answer_arg, two);
		REPLY_TO(engine.answer_fn, engine.answer_arg, NULL);
		await(&c);
	}
	see_end(&c, slot);
}

static void surveys_path(void)
{
	Pirn__Breaker breakers[] = { PIRN__BREAKER__INIT, PIRN__BREAKER__INIT },
		      *list[] = { &breakers[0], &breakers[1] };
	Pirn__ServiceState states[] = { PIRN__SERVICE_STATE__INIT, PIRN__SERVICE_STATE__INIT },
			   *services[] = { &states[0], &states[1] };
	Pirn__Answer one = PIRN__ANSWER__INIT, two = PIRN__ANSWER__INIT;
	uint8_t boots[2][16] = { { 1 }, { 2 } };
	ProtobufCBinaryData workers[] = { { 16, boots[0] }, { 16, boots[1] } };
	uint64_t latency[BASE_HIST_BUCKETS] = { [20] = 10 };
	char worker[] = "w\"1", *ejected[] = { worker };

	setup(NULL);
	for (size_t i = 0; i < 2; i++) {
		breakers[i].service = states[i].service =
			(char *)(uintptr_t)(i ? "users" : "posts");
		breakers[i].state = PIRN__BREAKER_STATE__OPEN;
		breakers[i].n_ejected = 1;
		breakers[i].ejected = ejected;
		states[i].workers = workers;
		states[i].n_workers = 2;
		states[i].done = 10;
		states[i].latency = latency;
		states[i].n_latency = BASE_HIST_BUCKETS;
	}
	one.broker = (char *)(uintptr_t) "b-1";
	two.broker = (char *)(uintptr_t) "b-2";
	one.breakers = two.breakers = list;
	one.services = two.services = services;
	one.n_breakers = two.n_services = 2;
	two.n_breakers = one.n_services = 1;
	surveyed(30, "GET /v1/breakers HTTP/1.1\r\n" HOST "\r\n", &one, &two);
	surveyed(31, "GET /v1/breakers/posts HTTP/1.1\r\n" HOST "\r\n", &one, &two);
	surveyed(32,
		"POST /v1/breakers/posts HTTP/1.1\r\n" HOST
		"Content-Length: 16\r\n\r\n{\"force\":\"open\"}",
		&one, &two);
	surveyed(33, "GET /v1/services HTTP/1.1\r\n" HOST "\r\n", &one, &two);
	surveyed(34,
		"POST /v1/breakers/posts HTTP/1.1\r\n" HOST
		"Content-Length: 16\r\n\r\n{\"force\":\"shut\"}",
		NULL, NULL);
	surveyed(35, "GET /v1/breakers/nobody HTTP/1.1\r\n" HOST "\r\n", NULL, NULL);
	teardown(NULL);
}

/* The figures are others each time: that they are whole is what is looked at. */
static void metrics_path(void)
{
	struct client c;

	setup(NULL);
	if (say(gw.admin, "GET /metrics HTTP/1.1\r\n" HOST "\r\n", &c) && engine.answer_fn) {
		REPLY_TO(engine.answer_fn, engine.answer_arg, NULL);
		await(&c);
	}
	if (response_status(&c) == 200 && response_whole(&c, false)) {
		assert_non_null(strstr(response_body(&c), "pirn_gateway_"));
		assert_string_equal(response_body(&c) + strlen(response_body(&c)) - 1, "\n");
	} else if (response_status(&c)) {
		assert_int_equal(response_status(&c), 503);
		expect_retry_after(&c, "1");
	} else {
		assert_true(c.closed);
	}
	client_close(&c);
	teardown(NULL);
}

/* ---- dead letters ---------------------------------------------------------------------------- */

#define LETTERS 300

static struct {
	Pirn__Letter letters[LETTERS], *list[LETTERS];
	Pirn__JournalEvent events[LETTERS];
	Pirn__JournalDelivery deliveries[LETTERS], *delivery_list[LETTERS];
	Pirn__JournalAttempt attempts[LETTERS], *attempt_list[LETTERS];
	uint8_t ids[LETTERS][16];
	ProtobufCBinaryData id_list[LETTERS];
	uint8_t meta[256];
} dead;

static void make_letters(void)
{
	static const char data[] = "a body";
	Pirn__HttpRequest request = PIRN__HTTP_REQUEST__INIT;
	Pirn__Header header = PIRN__HEADER__INIT, *headers[] = { &header, &header, &header };
	size_t size;

	request.method = (ProtobufCBinaryData){ 4, (uint8_t *)(uintptr_t) "POST" };
	request.target = (ProtobufCBinaryData){ 2, (uint8_t *)(uintptr_t) "/p" };
	header.name = header.value = (ProtobufCBinaryData){ 3, (uint8_t *)(uintptr_t) "X-A" };
	request.n_headers = 3;
	request.headers = headers;
	size = pirn__http_request__pack(&request, dead.meta);
	for (size_t i = 0; i < LETTERS; i++) {
		Pirn__Letter *l = dead.list[i] = &dead.letters[i];
		Pirn__JournalEvent *e = l->event = &dead.events[i];
		Pirn__JournalDelivery *d = dead.delivery_list[i] = &dead.deliveries[i];
		Pirn__JournalAttempt *a = dead.attempt_list[i] = &dead.attempts[i];

		pirn__letter__init(l);
		pirn__journal_event__init(e);
		pirn__journal_delivery__init(d);
		pirn__journal_attempt__init(a);
		dead.ids[i][14] = (uint8_t)(i >> 8);
		dead.ids[i][15] = (uint8_t)i;
		l->event = e;
		l->id = dead.id_list[i] = (ProtobufCBinaryData){ 16, dead.ids[i] };
		l->has_meta = l->has_data = true;
		l->meta = (ProtobufCBinaryData){ size, dead.meta };
		l->data = (ProtobufCBinaryData){ sizeof data - 1, (uint8_t *)(uintptr_t)data };
		e->n_deliveries = 1;
		e->deliveries = &dead.delivery_list[i];
		d->service = (char *)(uintptr_t) "posts";
		d->has_reason = d->has_ended_ms = true;
		d->reason = PIRN__REASON__EXHAUSTED;
		d->ended_ms = 1000 * (i + 1);
		d->n_history = 1;
		d->history = &dead.attempt_list[i];
		a->has_status = true;
		a->status = 501;
	}
}

/* Redis's part: pages of letters, and what moves. */
static void answer_probe(size_t n_letters)
{
	Pirn__Answer a = PIRN__ANSWER__INIT;
	struct probed *p = &engine.probe;
	client_answer_fn *fn = p->fn;

	p->fn = NULL;
	if (p->what == PIRN__QUERY_KIND__DEAD_LIST || p->what == PIRN__QUERY_KIND__DEAD_GET) {
		a.letters = dead.list;
		a.n_letters = n_letters;
		a.cursor = (char *)(uintptr_t) "0";
	} else {
		a.ids = dead.id_list;
		a.n_ids = p->n_ids;
		a.count = (uint32_t)p->n_ids;
		a.has_count = true;
	}
	REPLY_TO(fn, p->arg, &a);
}

static void probed(unsigned slot, const char *request, size_t n_letters)
{
	struct client c;

	if (say(gw.admin, request, &c)) {
		while (engine.probe.fn)
			answer_probe(n_letters);
		await(&c);
	}
	see_end(&c, slot);
}

#define POST(action, size, body) \
	"POST /v1/dead/posts/" action " HTTP/1.1\r\n" HOST "Content-Length: " size "\r\n\r\n" body
#define TWO_IDS "{\"ids\":[\"" ID "\",\"" ID "\"]}"

static void letters_path(void)
{
	setup(NULL);
	make_letters();
	probed(40, "GET /v1/dead HTTP/1.1\r\n" HOST "\r\n", 2);
	probed(41, "GET /v1/dead/posts?reason=exhausted HTTP/1.1\r\n" HOST "\r\n", 4);
	probed(42, "GET /v1/dead/posts/" ID " HTTP/1.1\r\n" HOST "\r\n", 1);
	probed(43, POST("redrive", "65", TWO_IDS), 0);
	probed(44, POST("purge", "65", TWO_IDS), 0);
	probed(45, POST("purge", "26", "{\"reason\":\"exhausted\"}    "), 2);
	probed(46, POST("redrive", "2", "{}"), 0);
	teardown(NULL);
}

/* ---- routes ----------------------------------------------------------------------------------- */

#define SERVICES 300

static struct {
	Pirn__Entry entries[SERVICES], *list[SERVICES];
	Pirn__Manifest manifests[SERVICES];
	Pirn__Route routes[2 * SERVICES], *route_list[2 * SERVICES];
	char names[SERVICES][16], paths[2 * SERVICES][40];
} many;

static Pirn__Registry many_services(void)
{
	static char warning[] = "a \"warning\"", *warnings[] = { warning };
	Pirn__Registry r = PIRN__REGISTRY__INIT;

	for (unsigned i = 0; i < SERVICES; i++) {
		Pirn__Manifest *m = &many.manifests[i];

		pirn__entry__init(&many.entries[i]);
		pirn__manifest__init(m);
		(void)snprintf(many.names[i], sizeof many.names[i], "service-%u", i);
		m->service = many.names[i];
		m->version = (char *)(uintptr_t) "v1";
		m->n_routes = 2;
		m->routes = &many.route_list[2 * i];
		for (unsigned k = 2 * i; k < 2 * i + 2; k++) {
			pirn__route__init(&many.routes[k]);
			many.routes[k].method = (char *)(uintptr_t)(k % 2 ? "GET" : "POST");
			(void)snprintf(many.paths[k], sizeof many.paths[k],
				k % 2 ? "/s/%u/{name}" : "/s/%u", i == 7 ? 6 : i);
			many.routes[k].path = many.paths[k];
			many.route_list[k] = &many.routes[k];
		}
		many.entries[i].manifest = m;
		many.entries[i].first_ms = i + 1;
		many.list[i] = &many.entries[i];
	}
	r.n_warnings = 1;
	r.warnings = warnings;
	r.n_entries = SERVICES;
	r.entries = many.list;
	return r;
}

static const char *name_at(const char *path)
{
	static char room[GW_SEGMENT_ROOM];
	static struct gw_target target;
	struct gw_match match;
	const char *why;

	assert_int_equal(gw_target_parse(&target, path, strlen(path), room, &why), BASE_OK);
	return gw_routes_match(gw.routes, &target, GW_METHOD_GET, &match) == GW_FOUND
		       ? match.route->service->name
		       : "";
}

/* With all of them; a gateway that cannot hold them ends. Of those that cannot be counted, calls are
 * refused with 503. */
static void routes_path(void)
{
	Pirn__Registry r = many_services();
	struct client c;

	setup(NULL);
	OOM(gw_serve_registry(&gw, &r));
	assert_int_equal(gw_routes_services(gw.routes), SERVICES);
	assert_int_equal(gw_routes_refusals(gw.routes), 2);
	assert_string_equal(name_at("/s/6/x"), "service-6");
	assert_string_equal(name_at("/s/299/x"), "service-299");
	c = client_open(gw_http_address(gw.users));
	(void)client_say(gw.loop, &c, "GET /s/299/x HTTP/1.1\r\n" HOST "\r\n");
	until(gw.loop, &c, engine.n_calls > 0 || response_whole(&c, false));
	if (engine.n_calls > 0)
		assert_string_equal(last()->service, "service-299");
	else
		expect_problem(&c, 503);
	client_close(&c);
	OOM(gw_serve_registry(&gw, &r));
	assert_string_equal(name_at("/s/9/x"), "service-9");
	teardown(NULL);
}

/* ---- timers ----------------------------------------------------------------------------------- */

#define NOW 1900000000500u /* half a second after a slot of ten seconds */

static void serve_timers(void)
{
	static Pirn__Timer timers[3], *list[3];
	Pirn__Registry registry = PIRN__REGISTRY__INIT;
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Entry entry = PIRN__ENTRY__INIT, *entries[] = { &entry };

	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = { "often", "seldom", "never" };

		pirn__timer__init(list[i] = &timers[i]);
		timers[i].name = (char *)(uintptr_t)names[i];
	}
	timers[0].has_every_ms = timers[0].has_data = timers[0].has_overlap = true;
	timers[0].every_ms = 10000;
	timers[0].overlap = true;
	timers[0].data = (ProtobufCBinaryData){ 7, (uint8_t *)(uintptr_t) "{\"a\":1}" };
	timers[1].cron = (char *)(uintptr_t) "0 3 * * mon";
	timers[1].zone = (char *)(uintptr_t) "Europe/Berlin";
	timers[2].cron = (char *)(uintptr_t) "0 3 * *";
	manifest.service = (char *)(uintptr_t) "users";
	manifest.n_timers = 3;
	manifest.timers = list;
	entry.manifest = &manifest;
	registry.n_entries = 1;
	registry.entries = entries;
	registry.has_events = registry.events = true;
	OOM(gw_serve_registry(&gw, &registry));
}

static void turn_until_called(size_t n_calls)
{
	uint64_t failed = gw_timers_figures(gw.timers)->failed;

	armed = true;
	until(gw.loop, NULL,
		engine.n_calls >= n_calls || gw_timers_figures(gw.timers)->failed > failed);
	armed = false;
	if (engine.n_calls < n_calls)
		engine.now_ms += GW_PLAN_AGAIN_MS; /* it is tried again, with memory */
	until(gw.loop, NULL, engine.n_calls >= n_calls);
}

/* All that can be served are, or the gateway ends; a slot's event is whole, or is made again. */
static void timers_path(void)
{
	const struct gw_timer_figures *figures;
	struct client_reply r = { .status = 202 };
	struct client c;

	setup(NULL);
	engine.now_ms = NOW;
	serve_timers();
	figures = gw_timers_figures(gw.timers);
	assert_true(figures->served == 2 && figures->refused == 1);
	turn_until_called(2);
	for (size_t i = 0; i < 2; i++)
		REPLY_TO(engine.calls[i].fn, engine.calls[i].arg, &r);
	engine.now_ms = NOW + 9500;
	turn_until_called(3);
	assert_string_equal(last()->request.timer, "often");
	assert_string_equal(last()->data, "{\"a\":1}");
	assert_int_equal(last()->http->n_headers, 7);
	REPLY_TO(last()->fn, last()->arg, &r);
	engine.now_ms = NOW + 9500;
	assert_false(say(gw.admin, "GET /v1/timers HTTP/1.1\r\n" HOST "\r\n", &c));
	if (response_status(&c) == 200 && response_whole(&c, false))
		assert_non_null(strstr(response_body(&c), "\"every_ms\":10000"));
	else if (response_status(&c))
		assert_int_equal(response_status(&c), 503);
	else
		assert_true(c.closed);
	client_close(&c);
	if (say(gw.admin,
		    "POST /v1/timers/users/seldom/fire HTTP/1.1\r\n" HOST
		    "Content-Length: 0\r\n\r\n",
		    &c)) {
		assert_null(last()->request.timer);
		assert_string_equal(last()->data, "null");
		REPLY_TO(last()->fn, last()->arg,
			&(struct client_reply){ .reason = PIRN__REASON__QUEUE_FULL, .status = 429 });
		await(&c);
	}
	see_end(&c, SLOTS - 1);
	teardown(NULL);
}

/* ---- pieces ------------------------------------------------------------------------------------ */

static void json_path(void)
{
	struct base_buf out;
	struct gw_json j;

	base_buf_init(&out);
	j = gw_json_on(&out);
	OOM({
		gw_json_open(&j, NULL, '{');
		for (unsigned i = 0; i < 50; i++) {
			gw_json_str(&j, "a", "\"text\"");
			gw_json_u64(&j, "b", INT64_MAX);
			gw_json_f64(&j, "c", 1.5);
			gw_json_open(&j, "d", '[');
			gw_json_bool(&j, NULL, true);
			gw_json_close(&j, ']');
		}
		gw_json_close(&j, '}');
	});
	if (base_buf_check(&out) == BASE_OK) {
		json_t *root = json_loadb((const char *)out.data, out.size, 0, NULL);

		assert_non_null(root);
		json_decref(root);
	}
	base_buf_fini(&out);
}

#define EVENT \
	"{\"specversion\":\"1.0\",\"id\":\"n-1\",\"source\":\"/s\",\"type\":\"t\",\"subj\\u0065ct\":\"x\"," \
	"\"datacontenttype\":\"text/plain\",\"ext\":5,\"\\u0064ata\":\"w\\u00f6rd\"}"

static void expect_event(const struct gw_ce *ce, const char *data)
{
	struct base_buf meta;

	assert_true(gw_slice_equal(ce->id, GW_SLICE("n-1")));
	assert_true(gw_slice_equal(ce->type, GW_SLICE("t")));
	assert_true(gw_slice_equal(ce->subject, GW_SLICE("x")));
	assert_true(gw_slice_equal(ce->content_type, GW_SLICE("text/plain")));
	assert_true(gw_slice_equal(ce->data, gw_slice_of(data)));
	assert_int_equal(ce->n_attributes, 6);
	base_buf_init(&meta);
	gw_meta_method(&meta, GW_SLICE("POST"));
	gw_meta_target(&meta, GW_SLICE("/"));
	OOM(gw_ce_pack(ce, &meta));
	if (base_buf_check(&meta) == BASE_OK) {
		Pirn__HttpRequest *r = pirn__http_request__unpack(NULL, meta.size, meta.data);

		assert_non_null(r);
		assert_int_equal(r->n_headers, 7);
		assert_true(holds(r->headers[6]->value, "text/plain"));
		pirn__http_request__free_unpacked(r, NULL);
	}
	base_buf_fini(&meta);
}

/* What is sound is not called wrong: the arena says that memory was out. */
static void cloudevents_path(void)
{
	static const struct gw_header headers[] = {
		{ .name = { "ce-specversion", 14 }, .value = { "1.0", 3 } },
		{ .name = { "ce-id", 5 }, .value = { "n%2d1", 5 } },
		{ .name = { "ce-source", 9 }, .value = { "/s", 2 } },
		{ .name = { "ce-type", 7 }, .value = { "t", 1 } },
		{ .name = { "Ce-Subject", 10 }, .value = { "x", 1 } },
		{ .name = { "ce-ext", 6 }, .value = { "5", 1 } },
		{ .name = { "Content-Type", 12 }, .value = { "text/plain", 10 } },
	};
	struct base_arena arena;
	static struct gw_ce ce;
	struct gw_ce *list;
	char why[GW_CE_WHY] = "";
	size_t n;

	base_arena_init(&arena, 64, 1u << 20);
	if (OOM_GET(gw_ce_binary(headers, 7, GW_SLICE("body"), &arena, &ce, why)))
		expect_event(&ce, "body");
	else if (!arena.starved)
		fail_msg("%s", why);
	base_arena_reset(&arena);
	if (OOM_GET(gw_ce_structured(GW_SLICE(EVENT), &arena, &ce, why)))
		expect_event(&ce, "w\xc3\xb6rd");
	else if (!arena.starved)
		fail_msg("%s", why);
	base_arena_reset(&arena);
	if (OOM_GET(gw_ce_batch(
		    GW_SLICE("[" EVENT "," EVENT "," EVENT "]"), 10, &arena, &list, &n, why))) {
		assert_int_equal(n, 3);
		for (size_t i = 0; i < 3; i++)
			expect_event(&list[i], "w\xc3\xb6rd");
	} else if (!arena.starved) {
		fail_msg("%s", why);
	}
	base_arena_fini(&arena);
}

/* ------------------------------------------------------------------------------------------- */

#define SWEEP(name, path, flags) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, flags); \
	}

SWEEP("gateway: calls and events", users_path, OOM_MAY_ABORT)
SWEEP("gateway: invocations", invocations_path, 0)
SWEEP("gateway: breakers and services", surveys_path, 0)
SWEEP("gateway: metrics", metrics_path, 0)
SWEEP("gateway: dead letters", letters_path, 0)
SWEEP("gateway: many services", routes_path, OOM_MAY_ABORT)
SWEEP("gateway: timers", timers_path, OOM_MAY_ABORT)
SWEEP("gateway: JSON", json_path, 0)
SWEEP("gateway: CloudEvents", cloudevents_path, 0)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_users_path),
		cmocka_unit_test(test_invocations_path),
		cmocka_unit_test(test_surveys_path),
		cmocka_unit_test(test_metrics_path),
		cmocka_unit_test(test_letters_path),
		cmocka_unit_test(test_routes_path),
		cmocka_unit_test(test_timers_path),
		cmocka_unit_test(test_json_path),
		cmocka_unit_test(test_cloudevents_path),
	};

	return cmocka_run_group_tests_name("gateway, out of memory", tests, NULL, NULL);
}
