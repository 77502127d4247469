/* Timers in the gateway, and /v1/timers: what is said to the brokers, and what their answers change. */
#include "gateway_rig.h"

#define HOST "Host: x\r\n"
#define LIST "GET /v1/timers HTTP/1.1\r\n" HOST "\r\n"
#define NOW  1900000000500u /* a half past 17:46:40 */

static Pirn__Timer timers[4], *timer_list[4];
static Pirn__Route route, *route_list[] = { &route };

static Pirn__Timer *timer_at(size_t i, const char *name, const char *cron, uint32_t every_ms)
{
	Pirn__Timer *t = timer_list[i] = &timers[i];

	pirn__timer__init(t);
	t->name = (char *)(uintptr_t)name;
	t->cron = (char *)(uintptr_t)cron;
	t->has_every_ms = every_ms > 0;
	t->every_ms = every_ms;
	return t;
}

/* A registry of one service, users, with the first n timers. */
static void push(size_t n)
{
	Pirn__Registry registry = PIRN__REGISTRY__INIT;
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Entry entry = PIRN__ENTRY__INIT, *entries[] = { &entry };

	pirn__route__init(&route);
	route.method = (char *)(uintptr_t) "GET";
	route.path = (char *)(uintptr_t) "/u";
	manifest.service = (char *)(uintptr_t) "users";
	manifest.n_routes = 1;
	manifest.routes = route_list;
	manifest.n_timers = n;
	manifest.timers = timer_list;
	entry.manifest = &manifest;
	registry.n_entries = 1;
	registry.entries = entries;
	registry.has_events = registry.events = true;
	gw_serve_registry(&gw, &registry);
}

static void until_calls(size_t n_calls)
{
	until(gw.loop, NULL, engine.n_calls == n_calls);
}

/* As long as it takes to serve a request: what would have been said by then is said. */
static json_t *list_now(void)
{
	struct client c = ask_on(gw.admin, LIST);
	json_t *root = json_loads(response_body(&c), JSON_REJECT_DUPLICATES, NULL);

	assert_int_equal(response_status(&c), 200);
	assert_non_null(root);
	client_close(&c);
	return root;
}

static void list_now_and_forget(void)
{
	json_decref(list_now());
}

static json_t *first_of(const json_t *root)
{
	return json_array_get(json_object_get(root, "timers"), 0);
}

static const char *text(const json_t *o, const char *key)
{
	const char *value = json_string_value(json_object_get(o, key));

	return value ? value : "(none)";
}

static void accept_last(void)
{
	struct client_reply r = { .status = 202 };

	memcpy(r.id, last()->request.id, sizeof r.id);
	last()->fn(last()->arg, &r);
}

static void refuse_slot(uint64_t last_ms, const uint8_t *running)
{
	struct client_reply r = { .reason = PIRN__REASON__SLOT, .status = 409, .slot_ms = last_ms };

	r.has_running = running != NULL;
	if (running)
		memcpy(r.id, running, sizeof r.id);
	last()->fn(last()->arg, &r);
}

static void assert_slot(const char *name, uint64_t previous_ms, uint64_t slot_ms, bool skip)
{
	const struct client_request *r = &last()->request;

	assert_string_equal(last()->service, "users");
	assert_string_equal(r->timer, name);
	assert_true(r->event && r->previous_ms == previous_ms && r->slot_ms == slot_ms);
	assert_int_equal(r->skip, skip);
	assert_int_equal(r->key_size, 0);
}

static const char *header(const char *name)
{
	const Pirn__HttpRequest *http = last()->http;
	static char value[128];

	for (size_t i = 0; i < http->n_headers; i++) {
		if (!holds(http->headers[i]->name, name))
			continue;
		snprintf(value, sizeof value, "%.*s", (int)http->headers[i]->value.len,
			(const char *)http->headers[i]->value.data);
		return value;
	}
	return NULL;
}

/* ---- the chain ------------------------------------------------------------------------ */

static void it_learns_and_fires(void **state)
{
	Pirn__Timer *t = timer_at(0, "often", NULL, 10000);
	char id[BASE_ULID_TEXT + 1];
	json_t *root;

	(void)state;
	t->has_data = true;
	t->data = (ProtobufCBinaryData){ 7, (uint8_t *)(uintptr_t) "{\"a\":1}" };
	push(1);
	root = list_now(); /* no broker has told the time: nothing is said */
	assert_int_equal(engine.n_calls, 0);
	assert_string_equal(text(first_of(root), "name"), "often");
	assert_true(json_is_null(json_object_get(first_of(root), "next")));
	json_decref(root);
	engine.now_ms = NOW;
	until_calls(1);
	assert_slot("often", 0, NOW - 500, true);
	assert_int_equal(last()->request.payload.data_size + last()->request.payload.meta_size, 0);
	accept_last();
	root = list_now();
	assert_string_equal(text(first_of(root), "last"), "2030-03-17T17:46:40.000Z");
	assert_string_equal(text(first_of(root), "next"), "2030-03-17T17:46:50.000Z");
	json_decref(root);
	engine.now_ms = NOW + 9500;
	until_calls(2);
	assert_slot("often", NOW - 500, NOW + 9500, false);
	assert_string_equal(last()->data, "{\"a\":1}");
	assert_true(holds(last()->http->method, "POST"));
	assert_true(holds(last()->http->target, "/v1/timers/often"));
	base_ulid_print(last()->request.id, id);
	assert_string_equal(header("ce-id"), id);
	assert_string_equal(header("ce-specversion"), "1.0");
	assert_string_equal(header("ce-type"), "pirn.timer");
	assert_string_equal(header("ce-source"), "/timers/users");
	assert_string_equal(header("ce-subject"), "often");
	assert_string_equal(header("ce-time"), "2030-03-17T17:46:50.000Z");
	assert_string_equal(header("Content-Type"), "application/json");
	refuse_slot(NOW + 9500, (const uint8_t *)"another one's id");
	root = list_now();
	assert_string_equal(text(first_of(root), "last"), "2030-03-17T17:46:50.000Z");
	assert_int_equal(json_string_length(json_object_get(first_of(root), "running")), 26);
	json_decref(root);
}

/* The run before is asked for; while it goes on, the slot passes. */
static void it_does_not_overlap(void **state)
{
	static const uint8_t id[16] = "the run before's";
	Pirn__Invocation run = PIRN__INVOCATION__INIT, *list[] = { &run };
	struct client_invocations told = { .verdict = CLIENT_FOUND, .list = list, .n = 1 };
	struct client c;

	(void)state;
	timer_at(0, "often", NULL, 10000);
	push(1);
	engine.now_ms = NOW;
	until_calls(1);
	refuse_slot(NOW - 10500, id);
	c = client_open(gw_http_address(gw.admin));
	until(gw.loop, &c, engine.n_questions == 1);
	assert_memory_equal(engine.question.id, id, 16);
	assert_int_equal(engine.question.wait_ms, 0);
	run.state = PIRN__INVOCATION_STATE__WAITING;
	engine.question.fn(engine.question.arg, &told);
	until_calls(2);
	assert_slot("often", NOW - 10500, NOW - 500, true);
	accept_last();
	engine.now_ms = NOW + 9500;
	until(gw.loop, &c, engine.n_questions == 2);
	assert_memory_equal(engine.question.id, id, 16);
	run.state = PIRN__INVOCATION_STATE__DEAD;
	engine.question.fn(engine.question.arg, &told);
	until_calls(3);
	assert_slot("often", NOW - 500, NOW + 9500, false);
	assert_string_equal(last()->data, "null");
	client_close(&c);
}

static void what_did_not_change_is_left_alone(void **state)
{
	json_t *root;

	(void)state;
	timer_at(0, "a", NULL, 10000);
	timer_at(1, "b", NULL, 10000);
	push(2);
	engine.now_ms = NOW;
	until_calls(2);
	accept_last(); /* b; a is not answered */
	push(2);
	root = list_now();
	json_decref(root);
	assert_int_equal(engine.n_calls, 2);
	assert_int_equal(engine.n_cancelled, 0);
	timers[0].every_ms = 20000;
	push(2);
	until_calls(3);
	assert_int_equal(engine.n_cancelled, 1);
	assert_slot("a", 0, NOW - 500, true);
	push(0);
	root = list_now();
	assert_int_equal(json_array_size(json_object_get(root, "timers")), 0);
	json_decref(root);
	assert_int_equal(engine.n_cancelled, 2);
}

/* The times it would have had by the new ones are nobody's. */
static void other_times_begin_now(void **state)
{
	(void)state;
	timer_at(0, "a", "0 0 1 1 *", 0)->has_missed = true;
	timers[0].missed = GW_MISSED_ALL;
	push(1);
	engine.now_ms = NOW;
	until_calls(1);
	refuse_slot(NOW - 100000500, NULL);
	timers[0].cron = NULL;
	timers[0].has_every_ms = true;
	timers[0].every_ms = 10000;
	push(1);
	until_calls(2);
	assert_slot("a", 0, NOW - 500, true);
	refuse_slot(NOW - 100000500, NULL);
	until_calls(3);
	assert_slot("a", NOW - 100000500, NOW - 10500, true);
	accept_last();
	until_calls(4);
	assert_slot("a", NOW - 10500, NOW - 500, false); /* just due */
	/* Other data, and it goes on where it was. */
	timers[0].has_data = true;
	timers[0].data = (ProtobufCBinaryData){ 1, (uint8_t *)(uintptr_t) "5" };
	push(1);
	until_calls(5);
	refuse_slot(NOW - 100000500, NULL);
	until_calls(6);
	assert_slot("a", NOW - 100000500, NOW - 100000500 + 10000, false);
}

/* What waited for a time of the clock that was wrong waits no more. */
static void the_clock_is_set_back(void **state)
{
	(void)state;
	timer_at(0, "a", NULL, 10000);
	push(1);
	engine.now_ms = NOW + 86400000;
	until_calls(1);
	last()->fn(last()->arg, &(struct client_reply){ .reason = PIRN__REASON__NOT_DURABLE });
	list_now_and_forget();
	engine.now_ms = NOW;
	until_calls(2);
	assert_slot("a", 0, NOW - 500, true);
}

static void it_counts(void **state)
{
	const struct gw_timer_figures *f;

	(void)state;
	timer_at(0, "a", NULL, 10000)->has_overlap = true;
	timers[0].overlap = true;
	timer_at(1, "b", "nonsense", 0);
	push(2);
	engine.now_ms = NOW;
	until_calls(1);
	accept_last();
	engine.now_ms = NOW + 9600;
	until_calls(2);
	last()->fn(last()->arg, &(struct client_reply){ .reason = PIRN__REASON__QUEUE_FULL });
	f = gw_timers_figures(gw.timers);
	assert_true(f->served == 1 && f->refused == 1 && f->skipped == 1 && f->failed == 1);
	assert_int_equal(f->fired, 0);
	list_now_and_forget();
	assert_int_equal(engine.n_calls, 2); /* not at once */
	engine.now_ms += GW_PLAN_AGAIN_MS;
	until_calls(3);
	accept_last();
	engine.now_ms = NOW + 19500;
	until_calls(4);
	refuse_slot(NOW + 19500, NULL);
	f = gw_timers_figures(gw.timers);
	assert_true(f->fired == 1 && f->beaten == 1 && f->skipped == 1 && f->failed == 1);
	assert_true(f->lateness.n == 1 && f->lateness.sum_us == 1100000);
	engine.now_ms = NOW + 29500;
	until_calls(5);
	last()->fn(last()->arg, &(struct client_reply){ .reason = PIRN__REASON__TOO_LARGE });
	engine.now_ms += GW_PLAN_AGAIN_MS;
	list_now_and_forget();
	assert_int_equal(engine.n_calls, 5); /* nothing would be better so soon */
	push(0);
	f = gw_timers_figures(gw.timers);
	assert_true(f->served == 0 && f->refused == 0);
}

/* UNTRUSTED: what a registry may have. */
static void what_it_cannot_serve_it_says(void **state)
{
	json_t *root, *row;
	size_t i;

	(void)state;
	timer_at(0, "a", "0 24 * * *", 0);
	timer_at(1, "b", "@daily", 0)->zone = (char *)(uintptr_t) "Nowhere/Town";
	timer_at(2, "c", NULL, 1500);
	timer_at(3, "No name", NULL, 1000);
	engine.now_ms = NOW;
	push(4);
	root = list_now();
	assert_int_equal(json_array_size(json_object_get(root, "timers")), 3);
	json_array_foreach(json_object_get(root, "timers"), i, row)
	{
		assert_true(json_is_string(json_object_get(row, "fault")));
		assert_true(json_is_null(json_object_get(row, "next")));
	}
	assert_string_equal(text(first_of(root), "fault"), "hour: expected 0 to 23, got \"24\"");
	json_decref(root);
	assert_int_equal(engine.n_calls, 0);
}

static void who_drains_begins_nothing(void **state)
{
	json_t *root;

	(void)state;
	timer_at(0, "a", NULL, 10000);
	engine.now_ms = NOW;
	gw.draining = true;
	push(1);
	root = list_now();
	json_decref(root);
	assert_int_equal(engine.n_calls, 0);
}

/* ---- by hand ---------------------------------------------------------------------------- */

static void one_is_fired(void **state)
{
	struct client c;

	(void)state;
	timer_at(0, "a", "0 0 1 1 *", 0);
	push(1);
	c = ask_on(gw.admin,
		"POST /v1/timers/users/a/fire HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
	assert_null(last()->request.timer);
	assert_true(last()->request.event && last()->request.want_result);
	assert_string_equal(header("ce-subject"), "a");
	accept_last();
	until(gw.loop, &c, response_whole(&c, false));
	assert_int_equal(response_status(&c), 202);
	client_close(&c);
	c = ask_on(gw.admin,
		"POST /v1/timers/users/b/fire HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
	assert_int_equal(response_status(&c), 404);
	client_close(&c);
	c = ask_on(gw.admin,
		"POST /v1/timers/users/a/fire HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
	reply_reason(&c, PIRN__REASON__QUEUE_FULL, 2000);
	assert_int_equal(response_status(&c), 429);
	client_close(&c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(it_learns_and_fires),
		TEST(it_does_not_overlap),
		TEST(what_did_not_change_is_left_alone),
		TEST(other_times_begin_now),
		TEST(the_clock_is_set_back),
		TEST(it_counts),
		TEST(what_it_cannot_serve_it_says),
		TEST(who_drains_begins_nothing),
		TEST(one_is_fired),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
