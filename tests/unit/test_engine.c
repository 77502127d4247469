/* Calls through brokers: placed, answered, refused, lost, out of time. */
#include "tests/unit/net_fixture.h"

#include "client/engine.h"
#include "tests/unit/count_alloc.h"

static struct fixture f;
static struct fake_broker *b[2];
static struct client_engine *engine;

#define CALLS 2048

static struct call {
	unsigned ended;
	enum _Pirn__Reason reason;
	uint32_t status, retry_after_ms;
	size_t size;
	char first[32];
	uint64_t handle;
} calls[CALLS];

static struct {
	unsigned times;
	size_t n;
	char names[4][32];
	uint32_t workers[4];
	uint64_t first_ms[4];
	char version[4][8];
} registry;

static void on_registry(void *arg, const Pirn__Registry *r)
{
	(void)arg;
	registry.times++;
	registry.n = r->n_entries;
	for (size_t i = 0; i < r->n_entries && i < 4; i++) {
		snprintf(registry.names[i], sizeof registry.names[i], "%s",
			r->entries[i]->manifest->service);
		registry.workers[i] = r->entries[i]->workers;
		registry.first_ms[i] = r->entries[i]->first_ms;
		snprintf(registry.version[i], sizeof registry.version[i], "%s",
			r->entries[i]->manifest->version ? r->entries[i]->manifest->version : "");
	}
}

static void start_conf(struct client_engine_conf conf)
{
	const struct client_engine_events events = { .on_registry = on_registry };
	char *why = NULL;

	conf.name = "test";
	assert_int_equal(client_engine_new(f.loop, &conf, &events, &engine, &why), BASE_OK);
}

static void start(unsigned n_brokers)
{
	char both[256];

	b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 1);
	if (n_brokers > 1)
		b[1] = fake_new(f.loop, fixture_ipc(&f, "two"), 2);
	snprintf(both, sizeof both, "%s,%s", fixture_ipc(&f, "one"), fixture_ipc(&f, "two"));
	start_conf((struct client_engine_conf){
		.brokers = n_brokers > 1 ? both : fixture_ipc(&f, "one") });
	UNTIL(&f, client_engine_brokers(engine) == n_brokers);
}

static int set_up(void **state)
{
	(void)state;
	memset(calls, 0, sizeof calls);
	memset(&registry, 0, sizeof registry);
	fixture_init(&f);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	client_engine_free(&engine);
	for (int i = 0; i < 2; i++)
		if (b[i])
			fake_free(&b[i]);
	fixture_fini(&f);
	return 0;
}

static void on_reply(void *arg, const struct client_reply *reply)
{
	struct call *c = arg;

	c->ended++;
	c->reason = reply->reason;
	c->status = reply->status;
	c->retry_after_ms = reply->retry_after_ms;
	c->size = (size_t)reply->payload.meta_size + reply->payload.data_size;
	if (reply->payload.data_size)
		memcpy(c->first, reply->payload.data,
			reply->payload.data_size < sizeof c->first ? reply->payload.data_size
								   : sizeof c->first);
}

static struct client_request request_of(const char *service, const char *data)
{
	return (struct client_request){ .service = service,
		.timeout_ms = 10000,
		.payload = { .data = (const uint8_t *)data, .data_size = (uint32_t)strlen(data) } };
}

static enum base_err call_with(struct call *c, const struct client_request *request)
{
	return client_engine_call(engine, request, on_reply, c, &c->handle);
}

static void call(struct call *c, const char *service, const char *data)
{
	struct client_request request = request_of(service, data);

	assert_int_equal(call_with(c, &request), BASE_OK);
	assert_int_equal(c->ended, 0); /* never from within */
}

static void call_idempotent(struct call *c, const char *service)
{
	struct client_request request = request_of(service, "again");

	request.idempotent = true;
	assert_int_equal(call_with(c, &request), BASE_OK);
}

static enum base_err reply(
	struct fake_broker *broker, const struct fake_item *to, uint32_t status, const char *data)
{
	return fake_send(broker, to->peer, PIRN__KIND__REPLY, to->slot, to->generation, status, 0,
		data, strlen(data));
}

static void refuse(
	struct fake_broker *broker, const struct fake_item *to, enum _Pirn__Reason reason)
{
	assert_int_equal(fake_send(broker, to->peer, PIRN__KIND__REFUSED, to->slot, to->generation,
				 0, (uint32_t)reason, NULL, 0),
		BASE_OK);
}

static void push_registry(struct fake_broker *broker, const char *service, uint32_t workers,
	uint64_t first_ms, uint64_t announced_ms, const char *version)
{
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Entry entry = PIRN__ENTRY__INIT;
	Pirn__Entry *entries[] = { &entry };
	Pirn__Registry message = PIRN__REGISTRY__INIT;
	unsigned times = registry.times;

	manifest.service = (char *)(uintptr_t)service;
	manifest.version = (char *)(uintptr_t)version;
	entry.manifest = &manifest;
	entry.has_workers = entry.has_first_ms = entry.has_announced_ms = 1;
	entry.workers = workers;
	entry.first_ms = first_ms;
	entry.announced_ms = announced_ms;
	message.entries = entries;
	message.n_entries = service ? 1 : 0;
	assert_int_equal(net_router_control(broker->router, broker->peers[broker->n_peers - 1],
				 PIRN__KIND__REGISTRY, &message.base),
		BASE_OK);
	UNTIL(&f, registry.times > times);
}

/* ---- answers ---------------------------------------------------------------------- */

static void a_call_is_answered(void **state)
{
	uint8_t trace[25] = { 1, 2, 3 };
	struct client_request request = request_of("hello", "in");

	(void)state;
	start(1);
	request.trace = trace;
	request.idempotent = true;
	request.payload.meta = (const uint8_t *)"meta";
	request.payload.meta_size = 4;
	assert_int_equal(call_with(&calls[0], &request), BASE_OK);
	assert_int_equal(client_engine_open(engine), 1);
	UNTIL(&f, b[0]->n_items == 1);
	assert_string_equal(fake_last(b[0])->service, "hello");
	assert_int_equal(fake_last(b[0])->kind, PIRN__KIND__SUBMIT);
	assert_int_equal(fake_last(b[0])->flags, PIRN__ITEM_FLAG__IDEMPOTENT);
	assert_int_equal(fake_last(b[0])->meta_size, 4);
	assert_memory_equal(fake_last(b[0])->first, "metain", 6);
	assert_true(fake_last(b[0])->left_ms > 9000 && fake_last(b[0])->left_ms <= 10000);
	assert_int_equal(reply(b[0], fake_last(b[0]), 201, "out"), BASE_OK);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].reason, PIRN__REASON__NONE);
	assert_int_equal(calls[0].status, 201);
	assert_string_equal(calls[0].first, "out");
	assert_int_equal(client_engine_open(engine), 0);
}

static void many_calls_go_in_few_messages(void **state)
{
	(void)state;
	start(1);
	b[0]->echo = true;
	for (int i = 0; i < CALLS; i++) {
		char text[24];
		snprintf(text, sizeof text, "call %d", i);
		call(&calls[i], "echo", text);
	}
	UNTIL(&f, client_engine_open(engine) == 0);
	for (int i = 0; i < CALLS; i++) {
		char text[24];
		snprintf(text, sizeof text, "call %d", i);
		assert_int_equal(calls[i].ended, 1);
		assert_int_equal(calls[i].status, 200);
		assert_string_equal(calls[i].first, text);
	}
	assert_int_equal(b[0]->messages, 1 + CALLS / NET_MAX_ITEMS); /* HELLO, and full batches */
}

/* Both ends and libzmq between them: a few allocations for each message, none for a call. */
static void a_call_allocates_nothing(void **state)
{
	(void)state;
	if (!COUNT_ALLOC)
		skip();
	start(1);
	b[0]->echo = true;
	for (int round = 0; round < 20; round++) {
		if (round == 10)
			count_alloc_start();
		for (int i = 0; i < NET_MAX_ITEMS; i++)
			call(&calls[i], "echo", "a payload of some forty bytes, or so");
		UNTIL(&f, client_engine_open(engine) == 0);
		memset(calls, 0, sizeof calls);
	}
	assert_true(count_alloc_stop() < 10 * 32);
}

static void large_calls_and_replies(void **state)
{
	static uint8_t large[2 * 1024 * 1024];
	struct client_request request = request_of("echo", "");

	(void)state;
	memset(large, 'L', sizeof large);
	start(1);
	b[0]->echo = true;
	request.payload.data = large;
	request.payload.data_size = sizeof large;
	assert_int_equal(call_with(&calls[0], &request), BASE_OK);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].size, sizeof large);
	assert_int_equal(calls[0].first[31], 'L');
}

/* UNTRUSTED: what a broker may not say changes nothing, or ends as an error. */
static void strange_answers(void **state)
{
	struct fake_item *to;

	(void)state;
	start(1);
	call(&calls[0], "a", "x");
	UNTIL(&f, b[0]->n_items == 1);
	to = fake_last(b[0]);
	assert_int_equal(fake_send(b[0], to->peer, PIRN__KIND__REPLY, to->slot, to->generation + 2,
				 200, 0, "no", 2),
		BASE_OK);
	assert_int_equal(fake_send(b[0], to->peer, PIRN__KIND__REPLY, 4000000, to->generation, 200,
				 0, "no", 2),
		BASE_OK);
	assert_int_equal(
		fake_send(b[0], to->peer, PIRN__KIND__REPLY, 0, 0, 200, 0, "no", 2), BASE_OK);
	assert_int_equal(reply(b[0], to, 7, "what?"), BASE_OK);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].reason, PIRN__REASON__CRASHED);
	assert_int_equal(calls[0].status, 502);
	assert_int_equal(reply(b[0], to, 200, "twice"), BASE_OK);

	call(&calls[1], "a", "x");
	UNTIL(&f, b[0]->n_items == 2);
	to = fake_last(b[0]);
	assert_int_equal(fake_send(b[0], to->peer, PIRN__KIND__REFUSED, to->slot, to->generation, 0,
				 77, NULL, 0),
		BASE_OK);
	UNTIL(&f, calls[1].ended == 1);
	assert_int_equal(calls[1].status, 503);
	assert_int_equal(calls[0].ended, 1);
}

/* ---- bounds ------------------------------------------------------------------------ */

static void beyond_the_bounds_a_call_is_refused(void **state)
{
	struct client_request request = request_of("a", "0123456789");
	char name[65];

	(void)state;
	b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 1);
	start_conf((struct client_engine_conf){
		.brokers = fixture_ipc(&f, "one"), .max_calls = 3, .max_bytes = 25 });
	UNTIL(&f, client_engine_brokers(engine) == 1);
	call(&calls[0], "a", "0123456789");
	call(&calls[1], "a", "0123456789");
	assert_int_equal(call_with(&calls[2], &request), BASE_FULL); /* bytes */
	call(&calls[2], "a", "01234");
	request.payload.data_size = 0;
	assert_int_equal(call_with(&calls[3], &request), BASE_FULL); /* calls */
	b[0]->echo = true;
	client_engine_cancel(engine, calls[1].handle);
	request.payload.data_size = 10;
	assert_int_equal(call_with(&calls[3], &request), BASE_OK);
	UNTIL(&f, calls[3].ended == 1);
	request.payload.data_size = NET_MAX_ITEM + 1;
	assert_int_equal(call_with(&calls[4], &request), BASE_TOO_LARGE);
	request = request_of("", "x");
	assert_int_equal(call_with(&calls[4], &request), BASE_INVALID);
	memset(name, 'n', 64);
	name[64] = '\0';
	request = request_of(name, "x");
	assert_int_equal(call_with(&calls[4], &request), BASE_INVALID);
	assert_int_equal(calls[4].ended, 0);
}

/* ---- time -------------------------------------------------------------------------- */

static void a_hanging_broker_does_not_hold_a_call(void **state)
{
	struct client_request request = request_of("slow", "x");
	struct fake_item sent;

	(void)state;
	start(1);
	request.timeout_ms = 30;
	assert_int_equal(call_with(&calls[0], &request), BASE_OK);
	UNTIL(&f, b[0]->n_items == 1);
	sent = *fake_last(b[0]);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].reason, PIRN__REASON__DEADLINE);
	assert_int_equal(calls[0].status, 504);
	UNTIL(&f, b[0]->n_items == 2); /* and the broker is told */
	assert_int_equal(fake_last(b[0])->kind, PIRN__KIND__CANCEL);
	assert_int_equal(fake_last(b[0])->slot, sent.slot);
	assert_int_equal(fake_last(b[0])->generation, sent.generation);
	assert_int_equal(reply(b[0], &sent, 200, "late"), BASE_OK);
	call(&calls[1], "slow", "x");
	UNTIL(&f, b[0]->n_items == 3);
	assert_int_equal(reply(b[0], fake_last(b[0]), 200, "in time"), BASE_OK);
	UNTIL(&f, calls[1].ended == 1);
	assert_int_equal(calls[0].ended, 1);
	assert_string_equal(calls[1].first, "in time");
}

static void deadlines_in_any_order(void **state)
{
	static const uint32_t timeouts[] = { 40, 10, 30, 20 };

	(void)state;
	start(1);
	for (int i = 0; i < 4; i++) {
		struct client_request request = request_of("slow", "x");
		request.timeout_ms = timeouts[i];
		assert_int_equal(call_with(&calls[i], &request), BASE_OK);
	}
	UNTIL(&f, calls[1].ended);
	UNTIL(&f, calls[3].ended);
	UNTIL(&f, calls[2].ended);
	UNTIL(&f, calls[0].ended);
	assert_int_equal(client_engine_open(engine), 0);
}

static void a_cancelled_call_is_not_answered(void **state)
{
	(void)state;
	start(1);
	call(&calls[0], "a", "x");
	UNTIL(&f, b[0]->n_items == 1);
	client_engine_cancel(engine, calls[0].handle);
	client_engine_cancel(engine, calls[0].handle); /* stale: ignored */
	client_engine_cancel(engine, 0);
	assert_int_equal(client_engine_open(engine), 0);
	UNTIL(&f, b[0]->n_items == 2);
	assert_int_equal(fake_last(b[0])->kind, PIRN__KIND__CANCEL);
	assert_int_equal(reply(b[0], &b[0]->items[0], 200, "late"), BASE_OK);
	call(&calls[1], "a", "x");
	UNTIL(&f, b[0]->n_items == 3);
	assert_int_equal(reply(b[0], fake_last(b[0]), 200, "y"), BASE_OK);
	UNTIL(&f, calls[1].ended == 1);
	assert_int_equal(calls[0].ended, 0);
}

/* ---- several brokers ----------------------------------------------------------------- */

static void calls_spread_over_brokers(void **state)
{
	(void)state;
	start(2);
	for (int i = 0; i < 100; i++)
		call(&calls[i], "a", "x");
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 100);
	assert_int_equal(b[0]->n_items, 50);
	assert_int_equal(b[1]->n_items, 50);
}

static void a_call_goes_where_the_workers_are(void **state)
{
	(void)state;
	start(2);
	push_registry(b[0], "here", 0, 1, 1, "");
	push_registry(b[1], "here", 2, 1, 1, "");
	for (int i = 0; i < 10; i++)
		call(&calls[i], "here", "x");
	UNTIL(&f, b[1]->n_items == 10);
	assert_int_equal(b[0]->n_items, 0);
}

static void without_a_worker_another_broker_is_asked_once(void **state)
{
	int first;

	(void)state;
	start(2);
	call(&calls[0], "a", "x");
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	first = b[0]->n_items ? 0 : 1;
	refuse(b[first], fake_last(b[first]), PIRN__REASON__NO_WORKER);
	UNTIL(&f, b[1 - first]->n_items == 1);
	assert_memory_equal(fake_last(b[1 - first])->first, "x", 1);
	assert_int_equal(calls[0].ended, 0);
	refuse(b[1 - first], fake_last(b[1 - first]), PIRN__REASON__NO_WORKER);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].reason, PIRN__REASON__NO_WORKER);
	assert_int_equal(calls[0].status, 503);
	assert_int_equal(b[0]->n_items + b[1]->n_items, 2);
}

/* The broker that has just started knows nothing; who knows the service knows better. */
static void unknown_to_one_broker_is_not_unknown(void **state)
{
	int first;

	(void)state;
	start(2);
	call(&calls[0], "a", "x");
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	first = b[0]->n_items ? 0 : 1;
	refuse(b[first], fake_last(b[first]), PIRN__REASON__NO_WORKER);
	UNTIL(&f, b[1 - first]->n_items == 1);
	refuse(b[1 - first], fake_last(b[1 - first]), PIRN__REASON__UNKNOWN_SERVICE);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].status, 503);
	call(&calls[1], "a", "y");
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 3);
	first = b[0]->n_items == 2 ? 0 : 1;
	refuse(b[first], fake_last(b[first]), PIRN__REASON__UNKNOWN_SERVICE);
	UNTIL(&f, b[1 - first]->n_items == 2);
	refuse(b[1 - first], fake_last(b[1 - first]), PIRN__REASON__UNKNOWN_SERVICE);
	UNTIL(&f, calls[1].ended == 1);
	assert_int_equal(calls[1].reason, PIRN__REASON__UNKNOWN_SERVICE);
	assert_int_equal(calls[1].status, 404);
}

static void other_refusals_stand(void **state)
{
	(void)state;
	start(2);
	call(&calls[0], "a", "x");
	UNTIL(&f, b[0]->n_items + b[1]->n_items == 1);
	refuse(b[b[0]->n_items ? 0 : 1], fake_last(b[b[0]->n_items ? 0 : 1]),
		PIRN__REASON__QUEUE_FULL);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].status, 429);
	assert_int_equal(b[0]->n_items + b[1]->n_items, 1);
}

static void a_draining_broker_gets_nothing_new(void **state)
{
	(void)state;
	start(2);
	assert_int_equal(
		net_router_control(b[0]->router, b[0]->peers[0], PIRN__KIND__DRAIN, NULL), BASE_OK);
	UNTIL(&f, client_engine_brokers(engine) == 1);
	for (int i = 0; i < 10; i++)
		call(&calls[i], "a", "x");
	UNTIL(&f, b[1]->n_items == 10);
	assert_int_equal(b[0]->n_items, 0);
}

/* The only broker is on its way out: its successor gets the call. */
static void a_call_refused_by_a_draining_broker_waits_for_the_next(void **state)
{
	(void)state;
	start(1);
	call(&calls[0], "a", "x");
	UNTIL(&f, b[0]->n_items == 1);
	refuse(b[0], fake_last(b[0]), PIRN__REASON__DRAINING);
	assert_int_equal(
		net_router_control(b[0]->router, b[0]->peers[0], PIRN__KIND__DRAIN, NULL), BASE_OK);
	UNTIL(&f, client_engine_brokers(engine) == 0);
	assert_int_equal(calls[0].ended, 0);
	fake_free(&b[0]);
	b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 3);
	UNTIL(&f, b[0]->n_items == 1);
	assert_int_equal(reply(b[0], fake_last(b[0]), 200, "new"), BASE_OK);
	UNTIL(&f, calls[0].ended == 1);
	assert_string_equal(calls[0].first, "new");
}

/* One that says that it goes is waited for longer than one of which nothing is known. */
static void who_leaves_is_waited_for(void **state)
{
	struct client_request request = request_of("a", "x");

	(void)state;
	b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 1);
	start_conf((struct client_engine_conf){
		.brokers = fixture_ipc(&f, "one"), .connect_wait_ms = 1000 });
	UNTIL(&f, client_engine_brokers(engine) == 1);
	assert_int_equal(
		net_router_control(b[0]->router, b[0]->peers[0], PIRN__KIND__DRAIN, NULL), BASE_OK);
	UNTIL(&f, client_engine_brokers(engine) == 0);
	fake_free(&b[0]);
	request.timeout_ms = 1500;
	assert_int_equal(call_with(&calls[0], &request), BASE_OK);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].reason, PIRN__REASON__DEADLINE);
}

/* ---- loss ------------------------------------------------------------------------------ */

static void only_idempotent_calls_outlive_their_broker(void **state)
{
	int lost, kept;

	(void)state;
	start(2);
	call(&calls[0], "a", "x");
	call(&calls[1], "a", "x");
	call_idempotent(&calls[2], "a");
	call_idempotent(&calls[3], "a");
	UNTIL(&f, b[0]->n_items == 2 && b[1]->n_items == 2);
	lost = 0;
	kept = 1;
	fake_free(&b[lost]);
	UNTIL(&f, b[kept]->n_items == 3);
	UNTIL(&f, calls[0].ended + calls[1].ended == 1);
	lost = calls[0].ended ? 0 : 1;
	assert_int_equal(calls[lost].reason, PIRN__REASON__WORKER_LOST);
	assert_int_equal(calls[lost].status, 502);
	assert_int_equal(calls[2].ended + calls[3].ended, 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(reply(b[kept], &b[kept]->items[i], 200, "y"), BASE_OK);
	UNTIL(&f, client_engine_open(engine) == 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(calls[i].ended, 1);
}

/* Twice; the third broker that dies under it takes it along. */
static void resending_has_an_end(void **state)
{
	(void)state;
	start(1);
	call_idempotent(&calls[0], "a");
	for (uint8_t i = 1; i <= 3; i++) {
		UNTIL(&f, b[0]->n_items == 1);
		assert_int_equal(calls[0].ended, 0);
		fake_free(&b[0]);
		b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), (uint8_t)(10 + i));
	}
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].reason, PIRN__REASON__WORKER_LOST);
}

/* A thousand from the start, and no more are saved up: the others may have run, and are lost. */
static void resends_are_under_a_budget(void **state)
{
	unsigned n = 0;

	(void)state;
	start(1);
	for (int i = 0; i < 1100; i++)
		call_idempotent(&calls[i], "a");
	UNTIL(&f, b[0]->n_items == 1100);
	fake_free(&b[0]);
	UNTIL(&f, client_engine_brokers(engine) == 0);
	for (int i = 0; i < 1100; i++)
		n += calls[i].ended && calls[i].reason == PIRN__REASON__WORKER_LOST;
	assert_int_equal(n, 100);
	assert_int_equal(client_engine_open(engine), 1000);
	b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 9);
	UNTIL(&f, b[0]->n_items == 1000);
	/* Those earn nothing: a second loss takes them all. */
	fake_free(&b[0]);
	UNTIL(&f, client_engine_open(engine) == 0);
}

/* What was refused did not run: that is no resend. */
static void refused_calls_go_on_freely(void **state)
{
	(void)state;
	start(2);
	for (int i = 0; i < 300; i++)
		call(&calls[i], "a", "x");
	UNTIL(&f, b[0]->n_items == 150 && b[1]->n_items == 150);
	for (size_t i = 0; i < 150; i++)
		refuse(b[0], &b[0]->items[i], PIRN__REASON__NO_WORKER);
	UNTIL(&f, b[1]->n_items == 300);
	for (int i = 0; i < 300; i++)
		assert_int_equal(calls[i].ended, 0);
}

static void nothing_is_sent_without_time(void **state)
{
	struct client_request request = request_of("a", "x");

	(void)state;
	start(1);
	request.timeout_ms = 0;
	assert_int_equal(call_with(&calls[0], &request), BASE_OK);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].reason, PIRN__REASON__DEADLINE);
	call(&calls[1], "a", "y");
	UNTIL(&f, b[0]->n_items == 1);
	assert_memory_equal(b[0]->items[0].first, "y", 1);
}

static void a_call_waits_for_a_broker(void **state)
{
	(void)state;
	start_conf((struct client_engine_conf){ .brokers = fixture_ipc(&f, "one") });
	call(&calls[0], "a", "early");
	assert_int_equal(client_engine_brokers(engine), 0);
	b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 1);
	b[0]->echo = true;
	UNTIL(&f, calls[0].ended == 1);
	assert_string_equal(calls[0].first, "early");
}

static void but_not_for_ever(void **state)
{
	struct client_request request = request_of("a", "x");

	(void)state;
	start_conf((struct client_engine_conf){
		.brokers = fixture_ipc(&f, "none"), .connect_wait_ms = 30 });
	call(&calls[0], "a", "x");
	request.timeout_ms = 10;
	assert_int_equal(call_with(&calls[1], &request), BASE_OK);
	UNTIL(&f, calls[1].ended == 1);
	assert_int_equal(calls[1].reason, PIRN__REASON__DEADLINE);
	UNTIL(&f, calls[0].ended == 1);
	assert_int_equal(calls[0].reason, PIRN__REASON__NO_BROKER);
	assert_int_equal(calls[0].status, 503);
}

static void on_reply_call_again(void *arg, const struct client_reply *answer)
{
	struct client_request request = request_of("a", "next");
	struct call *c = arg;

	on_reply(c, answer);
	if (c + 1 < calls + 50)
		assert_int_equal(
			client_engine_call(engine, &request, on_reply_call_again, c + 1, NULL),
			BASE_OK);
}

static void a_callback_may_call(void **state)
{
	struct client_request request = request_of("a", "first");

	(void)state;
	start(1);
	b[0]->echo = true;
	assert_int_equal(client_engine_call(engine, &request, on_reply_call_again, &calls[0], NULL),
		BASE_OK);
	UNTIL(&f, calls[49].ended == 1);
}

static void on_reply_cancel_next(void *arg, const struct client_reply *answer)
{
	struct call *c = arg;

	on_reply(c, answer);
	client_engine_cancel(engine, (c + 1)->handle);
}

/* Every callback of a link's fall takes its neighbour with it. */
static void a_callback_may_cancel(void **state)
{
	struct client_request request = request_of("a", "x");

	(void)state;
	start(1);
	for (int i = 0; i < 10; i++)
		assert_int_equal(client_engine_call(engine, &request, on_reply_cancel_next,
					 &calls[i], &calls[i].handle),
			BASE_OK);
	UNTIL(&f, b[0]->n_items == 10);
	fake_free(&b[0]);
	UNTIL(&f, client_engine_open(engine) == 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(calls[i].ended, i % 2 == 0);
}

static void the_end_cancels_what_is_open(void **state)
{
	(void)state;
	start(1);
	call(&calls[0], "a", "x");
	UNTIL(&f, b[0]->n_items == 1);
	call(&calls[1], "a", "not even sent");
	client_engine_free(&engine);
	assert_null(engine);
	assert_int_equal(calls[0].reason, PIRN__REASON__CANCELLED);
	assert_int_equal(calls[1].reason, PIRN__REASON__CANCELLED);
	UNTIL(&f, b[0]->byes == 1);
}

/* ---- the registry ------------------------------------------------------------------------ */

static void registries_are_united(void **state)
{
	(void)state;
	start(2);
	push_registry(b[0], "hello", 2, 100, 500, "old");
	assert_int_equal(registry.n, 1);
	assert_int_equal(registry.workers[0], 2);
	push_registry(b[1], "hello", 3, 90, 600, "new");
	assert_int_equal(registry.n, 1);
	assert_int_equal(registry.workers[0], 5);
	assert_int_equal(registry.first_ms[0], 90);
	assert_string_equal(registry.version[0], "new");
	push_registry(b[0], "counter", 1, 100, 500, "");
	assert_int_equal(registry.n, 2);
	assert_string_equal(registry.names[0], "counter");
	assert_string_equal(registry.names[1], "hello");
	assert_int_equal(registry.workers[1], 3);
}

static void a_service_is_known_while_no_broker_is_there(void **state)
{
	(void)state;
	start(1);
	push_registry(b[0], "hello", 2, 100, 500, "v");
	fake_free(&b[0]);
	UNTIL(&f, registry.times == 2);
	assert_int_equal(registry.n, 1);
	assert_int_equal(registry.workers[0], 0);
	b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 5);
	UNTIL(&f, client_engine_brokers(engine) == 1);
	push_registry(b[0], NULL, 0, 0, 0, NULL); /* the new one knows better */
	assert_int_equal(registry.n, 0);
}

static void a_mangled_registry_changes_nothing(void **state)
{
	Pirn__Beat beat = PIRN__BEAT__INIT; /* field 1 holds a metric, which lacks a manifest */
	Pirn__Metric metric = PIRN__METRIC__INIT;
	Pirn__Metric *metrics[] = { &metric };

	(void)state;
	start(1);
	push_registry(b[0], "hello", 2, 100, 500, "v");
	metric.name = (char *)(uintptr_t) "x";
	beat.metrics = metrics;
	beat.n_metrics = 1;
	assert_int_equal(
		net_router_control(b[0]->router, b[0]->peers[0], PIRN__KIND__REGISTRY, &beat.base),
		BASE_OK);
	call(&calls[0], "hello", "x");
	UNTIL(&f, b[0]->n_items == 1);
	assert_int_equal(reply(b[0], fake_last(b[0]), 200, "y"), BASE_OK);
	UNTIL(&f, calls[0].ended == 1); /* sent after it, so it was read */
	assert_int_equal(registry.times, 1);
}

/* ---- questions ----------------------------------------------------------------------------- */

static struct {
	unsigned answers, ends;
	char broker[2][32];
} asked;

static void on_answer(void *arg, const Pirn__Answer *answer)
{
	assert_ptr_equal(arg, &asked);
	if (!answer) {
		asked.ends++;
		return;
	}
	assert_int_equal(asked.ends, 0);
	snprintf(asked.broker[asked.answers++ % 2], sizeof asked.broker[0], "%s", answer->broker);
}

static void ask(uint32_t timeout_ms)
{
	Pirn__Query query = PIRN__QUERY__INIT;

	memset(&asked, 0, sizeof asked);
	query.has_what = 1;
	query.what = PIRN__QUERY_KIND__SERVICES;
	assert_int_equal(
		client_engine_query(engine, &query, timeout_ms, on_answer, &asked), BASE_OK);
	assert_int_equal(asked.ends, 0);
}

static void answer_query(struct fake_broker *broker)
{
	const struct fake_item *to = fake_last(broker);
	Pirn__Answer answer = PIRN__ANSWER__INIT;
	uint8_t bytes[64];

	assert_int_equal(to->kind, PIRN__KIND__QUERY);
	answer.broker = broker->name;
	assert_int_equal(fake_send(broker, to->peer, PIRN__KIND__ANSWER, to->slot, to->generation,
				 0, 0, bytes, pirn__answer__pack(&answer, bytes)),
		BASE_OK);
}

static void every_broker_is_asked(void **state)
{
	(void)state;
	start(2);
	ask(10000);
	UNTIL(&f, b[0]->n_items == 1 && b[1]->n_items == 1);
	answer_query(b[0]);
	UNTIL(&f, asked.answers == 1);
	assert_int_equal(asked.ends, 0);
	answer_query(b[1]);
	UNTIL(&f, asked.ends == 1);
	assert_int_equal(asked.answers, 2);
	assert_string_not_equal(asked.broker[0], asked.broker[1]);
	answer_query(b[1]); /* nobody asks any more */
	ask(10000);
	UNTIL(&f, b[0]->n_items == 2 && b[1]->n_items == 2);
	answer_query(b[0]);
	fake_free(&b[1]);
	UNTIL(&f, asked.ends == 1); /* a broker that falls answers nothing */
	assert_int_equal(asked.answers, 1);
}

static void questions_end(void **state)
{
	(void)state;
	start(1);
	ask(20);
	UNTIL(&f, asked.ends == 1);
	assert_int_equal(asked.answers, 0);
	ask(10000);
	UNTIL(&f, b[0]->n_items == 2);
	refuse(b[0], fake_last(b[0]), PIRN__REASON__UNSUPPORTED);
	UNTIL(&f, asked.ends == 1);
	fake_free(&b[0]);
	UNTIL(&f, client_engine_brokers(engine) == 0);
	ask(10000);
	UNTIL(&f, asked.ends == 1); /* nobody there to ask */
	assert_int_equal(asked.answers, 0);
}

static void reasons_have_texts(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= PIRN__REASON__NO_BROKER + 1; i++) {
		assert_non_null(client_reason_text((enum _Pirn__Reason)i));
		assert_true(client_reason_status((enum _Pirn__Reason)i) >= 200);
	}
	assert_int_equal(client_reason_status(PIRN__REASON__UNKNOWN_SERVICE), 404);
	assert_int_equal(client_reason_status(PIRN__REASON__DEADLINE), 504);
}

static void wrong_brokers_are_told(void **state)
{
	const struct client_engine_conf conf = { .brokers = "nonsense" };
	char *why = NULL;

	(void)state;
	assert_int_equal(client_engine_new(f.loop, &conf, NULL, &engine, &why), BASE_CONFIG);
	assert_non_null(strstr(why, "nonsense"));
	assert_null(engine);
	free(why);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_call_is_answered),
		TEST(many_calls_go_in_few_messages),
		TEST(a_call_allocates_nothing),
		TEST(large_calls_and_replies),
		TEST(strange_answers),
		TEST(beyond_the_bounds_a_call_is_refused),
		TEST(a_hanging_broker_does_not_hold_a_call),
		TEST(deadlines_in_any_order),
		TEST(a_cancelled_call_is_not_answered),
		TEST(calls_spread_over_brokers),
		TEST(a_call_goes_where_the_workers_are),
		TEST(without_a_worker_another_broker_is_asked_once),
		TEST(unknown_to_one_broker_is_not_unknown),
		TEST(other_refusals_stand),
		TEST(a_draining_broker_gets_nothing_new),
		TEST(a_call_refused_by_a_draining_broker_waits_for_the_next),
		TEST(who_leaves_is_waited_for),
		TEST(only_idempotent_calls_outlive_their_broker),
		TEST(resending_has_an_end),
		TEST(resends_are_under_a_budget),
		TEST(refused_calls_go_on_freely),
		TEST(nothing_is_sent_without_time),
		TEST(a_call_waits_for_a_broker),
		TEST(but_not_for_ever),
		TEST(a_callback_may_call),
		TEST(a_callback_may_cancel),
		TEST(the_end_cancels_what_is_open),
		TEST(registries_are_united),
		TEST(a_service_is_known_while_no_broker_is_there),
		TEST(a_mangled_registry_changes_nothing),
		TEST(every_broker_is_asked),
		TEST(questions_end),
		TEST(reasons_have_texts),
		TEST(wrong_brokers_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
