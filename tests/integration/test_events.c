/* Events over HTTP, on real processes: 202 and what became of it, retries, dead letters,
 * delays, cancelling, keys, and that all of it outlives kill -9 of everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/fabric.h"

#define ASYNC       "Prefer: respond-async"
#define ID_TEXT     26

static struct fabric f = { .n_brokers = 2 };

static int set_up(void **state)
{
	(void)state;
	fabric_start(&f);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "flaky") == 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

/* ---- asking ------------------------------------------------------------------------------ */

static struct harness_answer request(
	const char *method, const char *target, const char *body, const char *const *headers)
{
	return harness_call(&(struct harness_call){ .base = f.http,
		.method = method,
		.target = target,
		.body = body,
		.headers = headers });
}

#define HEADERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static json_t *document(struct harness_answer a, unsigned status)
{
	json_t *d = json_loadb(a.body, a.size, JSON_DECODE_ANY, NULL);

	if (a.status != status || !d)
		print_error("expected %u, got %u %s %s\n", status, a.status, a.body, a.error);
	assert_int_equal(a.status, status);
	assert_non_null(d);
	harness_answer_free(&a);
	return d;
}

static const char *text(const json_t *o, const char *key)
{
	const char *value = json_string_value(json_object_get(o, key));

	return value ? value : "(none)";
}

static json_int_t number(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

/* The id of an event that must be accepted. */
static void accepted(struct harness_answer a, char id[ID_TEXT + 1])
{
	const char *location = harness_answer_header(&a, "location");
	char expected[64];
	json_t *d;

	snprintf(expected, sizeof expected, "%s", location ? location : "");
	d = document(a, 202);
	snprintf(id, ID_TEXT + 1, "%s", text(d, "id"));
	assert_int_equal(strlen(id), ID_TEXT);
	assert_int_equal(strncmp(expected, "/v1/invocations/", 16), 0);
	assert_string_equal(expected + 16, id);
	json_decref(d);
}

static void send_event(const char *target, const char *body, char id[ID_TEXT + 1])
{
	accepted(request("POST", target, body, HEADERS(ASYNC)), id);
}

static json_t *invocation(const char *id, const char *query)
{
	char target[128];

	snprintf(target, sizeof target, "/v1/invocations/%s%s", id, query);
	return document(harness_get(f.http, target), 200);
}

/* What became of it, after its end. */
static json_t *outcome(const char *id, const char *state)
{
	json_t *d = invocation(id, "?wait=30s");

	if (strcmp(text(d, "state"), state) != 0)
		print_error("expected %s: %s\n", state, json_dumps(d, 0));
	assert_string_equal(text(d, "state"), state);
	return d;
}

static bool is_in_state(const char *id, const char *state)
{
	json_t *d = invocation(id, "");
	bool is = strcmp(text(d, "state"), state) == 0;

	json_decref(d);
	return is;
}

static json_int_t counted(const char *key)
{
	char target[64];
	json_t *d;
	json_int_t n;

	snprintf(target, sizeof target, "/flaky/%s", key);
	d = document(harness_get(f.http, target), 200);
	n = json_integer_value(d);
	json_decref(d);
	return n;
}

static void mend(const char *key)
{
	char target[64];

	snprintf(target, sizeof target, "/flaky/%s", key);
	/* a worker may still be on its way back to Redis */
	wait_until(PATIENCE_MS, harness_status(f.http, "PUT", target, "") / 100 == 2);
}

static json_t *dead(const char *query)
{
	char target[128];

	snprintf(target, sizeof target, "/v1/dead/flaky%s", query);
	return document(harness_get(f.admin, target), 200);
}

static size_t count_dead(const char *query)
{
	json_t *d = dead(query);
	size_t n = json_array_size(json_object_get(d, "letters"));

	json_decref(d);
	return n;
}

static json_int_t move(const char *action, const char *which)
{
	char target[64], key[16];
	json_int_t n;
	json_t *d;

	snprintf(target, sizeof target, "/v1/dead/flaky/%s", action);
	d = document(harness_post(f.admin, target, which), 200);
	snprintf(key, sizeof key, "%s", strcmp(action, "purge") == 0 ? "purged" : "redriven");
	n = number(d, key);
	json_decref(d);
	return n;
}

/* ---- accepted, run, told ------------------------------------------------------------------- */

static void test_an_event_runs_and_its_result_is_kept(void **state)
{
	char id[ID_TEXT + 1];
	const json_t *result, *attempts;
	json_t *d;

	(void)state;
	mend("runs");
	send_event("/flaky/runs?a=b", "{}", id);
	d = outcome(id, "done");
	result = json_object_get(d, "result");
	attempts = json_object_get(d, "attempts");
	assert_string_equal(text(d, "id"), id);
	assert_string_equal(text(d, "service"), "flaky");
	assert_int_equal(number(result, "status"), 200);
	assert_string_equal(text(result, "body_encoding"), "text");
	assert_string_equal(
		text(result, "body"), "{\"attempt\":1,\"of\":3,\"counted\":1,\"event\":true}");
	assert_int_equal(json_array_size(attempts), 1);
	assert_string_equal(text(json_array_get(attempts, 0), "worker"), "worker-1");
	assert_int_equal(number(json_array_get(attempts, 0), "status"), 200);
	assert_int_equal(counted("runs"), 1);
	json_decref(d);
}

static void test_a_route_may_be_async_by_its_manifest(void **state)
{
	char id[ID_TEXT + 1];

	(void)state;
	mend("route");
	accepted(request("POST", "/flaky/route/later", "", NULL), id);
	json_decref(outcome(id, "done"));
	accepted(request("POST", "/flaky/route/quick", "", NULL), id);
	json_decref(outcome(id, "done"));
	assert_int_equal(counted("route"), 2);
}

static void test_an_unknown_service_is_404(void **state)
{
	(void)state;
	json_decref(document(request("POST", "/v1/invoke/nobody", "", HEADERS(ASYNC)), 404));
	json_decref(
		document(harness_get(f.http, "/v1/invocations/01ARZ3NDEKTSV4RRFFQ69G5FAV"), 404));
}

/* ---- failing ------------------------------------------------------------------------------- */

static void test_attempts_are_shown_and_effects_happen_once(void **state)
{
	char id[ID_TEXT + 1], path[64];
	const json_t *attempts;
	json_t *d;

	(void)state;
	send_event("/flaky/broken", "payload", id);
	d = outcome(id, "dead");
	attempts = json_object_get(d, "attempts");
	assert_string_equal(text(d, "reason"), "exhausted");
	assert_int_equal(number(d, "attempt"), 3);
	assert_int_equal(json_array_size(attempts), 3);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(number(json_array_get(attempts, i), "attempt"), i + 1);
		assert_int_equal(number(json_array_get(attempts, i), "status"), 500);
	}
	json_decref(d);
	assert_int_equal(counted("broken"), 1);

	/* the letter has it all */
	snprintf(path, sizeof path, "/%s", id);
	d = dead(path);
	assert_string_equal(text(d, "reason"), "exhausted");
	assert_int_equal(number(d, "status"), 500);
	assert_int_equal(json_array_size(json_object_get(d, "attempts")), 3);
	assert_string_equal(text(json_object_get(d, "request"), "target"), "/flaky/broken");
	assert_string_equal(text(json_object_get(d, "request"), "body"), "payload");
	json_decref(d);

	/* mended and redriven it goes on from there */
	assert_int_equal(count_dead("?reason=exhausted&status=500"), 1);
	assert_int_equal(count_dead("?reason=poison"), 0);
	mend("broken");
	assert_int_equal(move("redrive", "{\"status\":501}"), 0);
	assert_int_equal(move("redrive", "{\"all\":true}"), 1);
	d = outcome(id, "done");
	assert_int_equal(number(d, "attempt"), 4);
	json_decref(d);
	assert_int_equal(counted("broken"), 1);
	assert_int_equal(count_dead(""), 0);
}

static void test_the_senders_mistake_is_dead_at_once(void **state)
{
	char id[ID_TEXT + 1];
	json_t *d;

	(void)state;
	accepted(request("GET", "/trouble/status/418", NULL, HEADERS(ASYNC)), id);
	d = outcome(id, "dead");
	assert_int_equal(json_array_size(json_object_get(d, "attempts")), 1);
	assert_int_equal(number(json_array_get(json_object_get(d, "attempts"), 0), "status"), 418);
	json_decref(d);
}

static void test_letters_are_purged(void **state)
{
	char first[ID_TEXT + 1], second[ID_TEXT + 1], body[128];

	(void)state;
	send_event("/flaky/purge", "1", first);
	send_event("/flaky/purge", "2", second);
	json_decref(outcome(first, "dead"));
	json_decref(outcome(second, "dead"));
	assert_int_equal(count_dead(""), 2);
	snprintf(body, sizeof body, "{\"ids\":[\"%s\"]}", first);
	assert_int_equal(move("purge", body), 1);
	assert_int_equal(move("purge", body), 0);
	assert_int_equal(move("redrive", body), 0);
	assert_int_equal(count_dead(""), 1);
	assert_int_equal(move("purge", "{\"all\":true}"), 1);
	assert_int_equal(count_dead(""), 0);
}

/* More than one page of Redis's, and more than one batch. */
static void test_many_letters_are_redriven_and_none_is_lost(void **state)
{
	enum { MANY = 1500 };
	static char ids[MANY][ID_TEXT + 1];
	char target[64];

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(target, sizeof target, "/flaky/many-%u/later", i % 10);
		accepted(request("POST", target, "", NULL), ids[i]);
	}
	for (unsigned i = 0; i < MANY; i++)
		json_decref(outcome(ids[i], "dead"));
	for (unsigned i = 0; i < 10; i++) {
		snprintf(target, sizeof target, "many-%u", i);
		mend(target);
	}
	assert_int_equal(move("redrive", "{\"all\":true}"), MANY);
	for (unsigned i = 0; i < MANY; i++)
		json_decref(outcome(ids[i], "done"));
	assert_int_equal(count_dead(""), 0);
	for (unsigned i = 0; i < 10; i++) {
		snprintf(target, sizeof target, "many-%u", i);
		assert_int_equal(counted(target), MANY / 10);
	}
}

/* ---- later, or never ------------------------------------------------------------------------- */

static void test_a_delayed_event_waits_and_then_runs(void **state)
{
	uint64_t before_ms = harness_now_ms();
	char id[ID_TEXT + 1];

	(void)state;
	mend("delay");
	accepted(request("POST", "/flaky/delay", "", HEADERS(ASYNC, "Pirn-Delay: 1500ms")), id);
	json_decref(outcome(id, "done"));
	assert_true(harness_now_ms() - before_ms >= 1400); /* two clocks */
	accepted(request("POST", "/flaky/delay", "",
			 HEADERS(ASYNC, "Pirn-Not-Before: 2020-01-01T00:00:00Z")),
		id);
	json_decref(outcome(id, "done"));
}

static bool is_listed(const char *query, const char *id)
{
	json_t *d = document(harness_get(f.http, query), 200);
	const json_t *item;
	bool is = false;
	size_t i;

	json_array_foreach(json_object_get(d, "invocations"), i, item) is =
		is || strcmp(text(item, "id"), id) == 0;
	json_decref(d);
	return is;
}

static void test_what_waits_is_listed_and_can_be_cancelled(void **state)
{
	char id[ID_TEXT + 1], target[64];
	json_t *d;

	(void)state;
	accepted(request("POST", "/flaky/cancel", "", HEADERS(ASYNC, "Pirn-Delay: 1h")), id);
	d = invocation(id, "?wait=100ms");
	assert_string_equal(text(d, "state"), "waiting");
	assert_string_not_equal(text(d, "not_before"), "(none)");
	json_decref(d);
	assert_true(is_listed("/v1/invocations", id));
	assert_true(is_listed("/v1/invocations?service=flaky&state=waiting", id));
	assert_false(is_listed("/v1/invocations?service=hello", id));
	assert_false(is_listed("/v1/invocations?state=running", id));
	snprintf(target, sizeof target, "/v1/invocations/%s", id);
	d = document(request("DELETE", target, NULL, NULL), 200);
	assert_string_equal(text(d, "state"), "cancelled");
	json_decref(d);
	json_decref(document(request("DELETE", target, NULL, NULL), 200));
	json_decref(outcome(id, "cancelled"));
	assert_false(is_listed("/v1/invocations", id));
	assert_int_equal(counted("cancel"), 0);
}

static void test_what_has_ended_cannot_be_cancelled(void **state)
{
	char id[ID_TEXT + 1], target[64];

	(void)state;
	mend("ended");
	send_event("/flaky/ended", "", id);
	json_decref(outcome(id, "done"));
	snprintf(target, sizeof target, "/v1/invocations/%s", id);
	json_decref(document(request("DELETE", target, NULL, NULL), 409));
	json_decref(document(
		request("DELETE", "/v1/invocations/01ARZ3NDEKTSV4RRFFQ69G5FAV", NULL, NULL), 404));
}

static void test_what_runs_is_cancelled_without_a_result(void **state)
{
	char id[ID_TEXT + 1], target[64];

	(void)state;
	send_event("/trouble/sleep/3000", "", id);
	wait_until(PATIENCE_MS, is_in_state(id, "running"));
	snprintf(target, sizeof target, "/v1/invocations/%s", id);
	json_decref(document(request("DELETE", target, NULL, NULL), 200));
	json_decref(outcome(id, "cancelled"));
}

/* ---- keys -------------------------------------------------------------------------------------- */

static void expect_replayed(struct harness_answer *a)
{
	const char *replayed = harness_answer_header(a, "idempotency-replayed");

	assert_non_null(replayed);
	assert_string_equal(replayed, "true");
}

static void test_an_events_key_gives_its_first_id(void **state)
{
	const char *const *headers = HEADERS(ASYNC, "Idempotency-Key: \"event 1\"");
	char id[ID_TEXT + 1], again[ID_TEXT + 1];
	struct harness_answer a;

	(void)state;
	mend("keyed");
	accepted(request("POST", "/flaky/keyed", "x", headers), id);
	json_decref(outcome(id, "done"));
	a = request("POST", "/flaky/keyed", "x", headers);
	expect_replayed(&a);
	accepted(a, again);
	assert_string_equal(id, again);
	json_decref(document(request("POST", "/flaky/keyed", "y", headers), 422));
	assert_int_equal(counted("keyed"), 1);
}

static void test_a_calls_key_gives_its_first_answer(void **state)
{
	const char *const *headers = HEADERS("Idempotency-Key: call-1");
	struct harness_answer first, second;

	(void)state;
	mend("called");
	first = request("POST", "/flaky/called", "x", headers);
	assert_int_equal(first.status, 200);
	assert_null(harness_answer_header(&first, "idempotency-replayed"));
	second = request("POST", "/flaky/called", "x", headers);
	assert_int_equal(second.status, 200);
	expect_replayed(&second);
	assert_string_equal(first.body, second.body);
	harness_answer_free(&first);
	harness_answer_free(&second);
	json_decref(document(request("POST", "/flaky/called", "y", headers), 422));
	assert_int_equal(counted("called"), 1);
}

static void test_a_key_whose_call_runs_is_409(void **state)
{
	static const char line[] =
		"POST /trouble/sleep/3000 HTTP/1.1\r\nHost: x\r\nIdempotency-Key: "
		"busy\r\nConnection: close\r\n\r\n";
	int fd = harness_raw_connect(f.http);
	struct harness_answer a;
	char *first;

	(void)state;
	harness_raw_text(fd, line);
	wait_until(PATIENCE_MS,
		harness_metric(f.admin, "pirn_worker_running", "service=\"trouble\"") >= 1);
	a = request("POST", "/trouble/sleep/3000", NULL, HEADERS("Idempotency-Key: busy"));
	assert_int_equal(a.status, 409);
	assert_non_null(harness_answer_header(&a, "retry-after"));
	harness_answer_free(&a);
	first = harness_raw_read(fd, PATIENCE_MS);
	assert_non_null(strstr(first, "HTTP/1.1 200 "));
	free(first);
}

/* ---- the commands --------------------------------------------------------------------------------- */

/* Runs pirn with these words; its exit status, and what it wrote, without the last newline. */
static int pirn(const char *const *words, char *out, size_t room)
{
	struct harness_process *p;
	const char *argv[16] = { "pirn" };
	char *all;
	int status;

	for (size_t i = 0; words[i]; i++)
		argv[i + 1] = words[i];
	status = harness_run("pirn", f.dir, argv, NULL, &p);
	all = harness_output(p);
	snprintf(out, room, "%s", all);
	out[strcspn(out, "\n")] = '\0';
	free(all);
	harness_free(&p);
	return status;
}
#define PIRN(out, ...) pirn(HEADERS(__VA_ARGS__), out, sizeof(out))

static void test_the_commands(void **state)
{
	char id[64], later[64], out[4096];

	(void)state;
	assert_int_equal(
		PIRN(id, "invoke", "flaky", "--async", "--data", "x", "--gateway", f.http), 0);
	assert_int_equal(strlen(id), ID_TEXT);
	assert_int_equal(PIRN(out, "status", id, "--wait", "--gateway", f.http), 1);
	assert_int_equal(PIRN(later, "invoke", "flaky", "--async", "--delay", "1h", "--key", "cli",
				 "--gateway", f.http),
		0);
	assert_int_equal(PIRN(out, "status", later, "--gateway", f.http), 75);
	assert_int_equal(
		PIRN(out, "status", later, "--wait", "--timeout", "200ms", "--gateway", f.http),
		75);
	assert_int_equal(
		PIRN(out, "queue", "flaky", "--interval", "10ms", "--json", "--admin", f.admin), 0);
	assert_non_null(strstr(out, "\"waiting\":1"));
	assert_int_equal(PIRN(out, "queue", "--interval", "10ms", "--admin", f.admin), 0);
	assert_int_equal(PIRN(out, "dead", "list", "flaky", "--json", "--admin", f.admin), 0);
	assert_non_null(strstr(out, id));
	assert_int_equal(PIRN(out, "dead", "show", "flaky", id, "--admin", f.admin), 0);
	mend("none");
	assert_int_equal(PIRN(out, "dead", "redrive", "flaky", id, "--admin", f.admin), 0);
	assert_string_equal(out, "1 redriven");
	assert_int_equal(PIRN(out, "status", id, "--wait", "--gateway", f.http), 0);
	assert_int_equal(PIRN(out, "dead", "redrive", "flaky", id, "--admin", f.admin), 1);
	assert_int_equal(PIRN(out, "dead", "purge", "flaky", "--all", "--admin", f.admin), 0);
	assert_string_equal(out, "0 purged");
	assert_int_equal(harness_status(f.http, "DELETE", "/v1/invocations/x", NULL), 400);
	snprintf(out, sizeof out, "/v1/invocations/%s", later);
	assert_int_equal(harness_status(f.http, "DELETE", out, NULL), 200);
	assert_int_equal(PIRN(out, "status", later, "--gateway", f.http), 1);
}

/* ---- figures, warnings --------------------------------------------------------------------------- */

static void test_events_are_counted(void **state)
{
	double before =
		harness_metric(f.admin, "pirn_gateway_events_accepted_total", "service=\"flaky\"");
	char id[ID_TEXT + 1];

	(void)state;
	mend("figure");
	send_event("/flaky/figure", "", id);
	json_decref(outcome(id, "done"));
	assert_true(harness_metric(f.admin, "pirn_gateway_events_accepted_total",
			    "service=\"flaky\"") == before + 1);
	assert_true(harness_log_count(f.gateways[0], "access", "invocation", id) == 1);
}

/* ---- Redis is away ---------------------------------------------------------------------------------- */

static bool says_events(bool wanted)
{
	struct harness_answer a = harness_get(f.http, "/readyz");
	json_t *d = json_loadb(a.body, a.size, 0, NULL);
	bool is = a.status == 200 && json_is_true(json_object_get(d, "events")) == wanted;

	json_decref(d);
	harness_answer_free(&a);
	return is;
}

static void test_without_redis_events_are_refused_and_calls_go_on(void **state)
{
	char id[ID_TEXT + 1];
	struct harness_answer a;

	(void)state;
	harness_redis_kill(f.redis);
	a = request("POST", "/v1/invoke/hello", "", HEADERS(ASYNC, "Pirn-Timeout: 5s"));
	assert_int_equal(a.status, 503);
	assert_non_null(harness_answer_header(&a, "retry-after"));
	harness_answer_free(&a);
	wait_until(PATIENCE_MS, says_events(false));
	assert_int_equal(harness_status(f.http, "POST", "/v1/invoke/hello", ""), 200);
	harness_redis_restart(f.redis);
	wait_until(PATIENCE_MS, says_events(true));
	send_event("/v1/invoke/hello", "", id);
	json_decref(outcome(id, "done"));
}

static void restart_brokers(void)
{
	for (unsigned i = 0; i < f.n_brokers; i++) {
		harness_kill_hard(f.brokers[i]);
		harness_again(f.brokers[i]);
	}
}

static bool says_warnings(void)
{
	struct harness_answer a = harness_get(f.http, "/readyz");
	json_t *d = json_loadb(a.body, a.size, 0, NULL);
	bool is = a.status == 200 && json_array_size(json_object_get(d, "warnings")) > 0;

	json_decref(d);
	harness_answer_free(&a);
	return is;
}

static void test_a_redis_that_forgets_is_not_relied_on(void **state)
{
	char out[4096];
	struct harness_answer a;

	(void)state;
	assert_true(harness_redis_says(f.redis, "OK", "CONFIG SET appendfsync everysec"));
	restart_brokers();
	wait_until(PATIENCE_MS, says_warnings() && says_events(false));
	a = request("POST", "/v1/invoke/hello", "", HEADERS(ASYNC));
	assert_int_equal(a.status, 503);
	assert_non_null(harness_answer_header(&a, "retry-after"));
	harness_answer_free(&a);
	wait_until(PATIENCE_MS, harness_status(f.http, "POST", "/v1/invoke/hello", "") == 200);
	assert_int_equal(PIRN(out, "services", "--admin", f.admin), 0);
	assert_non_null(strstr(out, "warning: "));
	assert_true(harness_redis_says(f.redis, "OK", "CONFIG SET appendfsync always"));
	restart_brokers();
	wait_until(PATIENCE_MS, !says_warnings() && says_events(true));
}

/* A broker may still be on its way back to Redis: it says 503, and the same key may come again. */
static struct harness_answer asked_until_served(
	const char *target, const char *body, const char *const *headers)
{
	uint64_t end = harness_wait_end(PATIENCE_MS);
	struct harness_answer a = request("POST", target, body, headers);

	while (a.status == 503) {
		harness_answer_free(&a);
		harness_wait_pause(end, "the call is served", __FILE__, __LINE__);
		a = request("POST", target, body, headers);
	}
	assert_int_equal(a.status, 200);
	return a;
}

/* ---- everything dies ----------------------------------------------------------------------------------- */

static void kill_all(void)
{
	harness_kill_hard(f.gateways[0]);
	harness_kill_hard(f.brokers[0]);
	harness_kill_hard(f.brokers[1]);
	harness_redis_kill(f.redis);
}

static void start_all(void)
{
	harness_redis_restart(f.redis);
	harness_again(f.brokers[0]);
	harness_again(f.brokers[1]);
	harness_again(f.gateways[0]);
	wait_until(PATIENCE_MS, says_events(true));
}

/* Between the 202 and the run nothing stays alive. */
static void test_accepted_events_outlive_everything(void **state)
{
	enum { N = 20 };
	const char *const *headers = HEADERS(ASYNC, "Idempotency-Key: outlives");
	char ids[N][ID_TEXT + 1], keyed[ID_TEXT + 1], again[ID_TEXT + 1];
	struct harness_answer a, call;
	const char *const *of_call = HEADERS("Idempotency-Key: call-outlives");

	(void)state;
	mend("outlives");
	call = asked_until_served("/flaky/outlives", "c", of_call);
	harness_kill_hard(f.workers[0]);
	for (size_t i = 0; i < N; i++)
		send_event("/flaky/outlives", "", ids[i]);
	accepted(request("POST", "/flaky/outlives", "k", headers), keyed);
	kill_all();
	start_all();
	harness_again(f.workers[0]);
	for (size_t i = 0; i < N; i++)
		json_decref(outcome(ids[i], "done"));
	json_decref(outcome(keyed, "done"));
	assert_int_equal(counted("outlives"), N + 2);
	a = request("POST", "/flaky/outlives", "k", headers);
	expect_replayed(&a);
	accepted(a, again);
	assert_string_equal(keyed, again);
	a = asked_until_served("/flaky/outlives", "c", of_call);
	expect_replayed(&a);
	assert_string_equal(a.body, call.body);
	harness_answer_free(&a);
	harness_answer_free(&call);
	assert_int_equal(counted("outlives"), N + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_event_runs_and_its_result_is_kept),
		cmocka_unit_test(test_a_route_may_be_async_by_its_manifest),
		cmocka_unit_test(test_an_unknown_service_is_404),
		cmocka_unit_test(test_attempts_are_shown_and_effects_happen_once),
		cmocka_unit_test(test_the_senders_mistake_is_dead_at_once),
		cmocka_unit_test(test_letters_are_purged),
		cmocka_unit_test(test_many_letters_are_redriven_and_none_is_lost),
		cmocka_unit_test(test_a_delayed_event_waits_and_then_runs),
		cmocka_unit_test(test_what_waits_is_listed_and_can_be_cancelled),
		cmocka_unit_test(test_what_has_ended_cannot_be_cancelled),
		cmocka_unit_test(test_what_runs_is_cancelled_without_a_result),
		cmocka_unit_test(test_an_events_key_gives_its_first_id),
		cmocka_unit_test(test_a_calls_key_gives_its_first_answer),
		cmocka_unit_test(test_a_key_whose_call_runs_is_409),
		cmocka_unit_test(test_the_commands),
		cmocka_unit_test(test_events_are_counted),
		cmocka_unit_test(test_without_redis_events_are_refused_and_calls_go_on),
		cmocka_unit_test(test_a_redis_that_forgets_is_not_relied_on),
		cmocka_unit_test(test_accepted_events_outlive_everything),
	};

	return harness_finish(cmocka_run_group_tests_name("events", tests, set_up, tear_down));
}
