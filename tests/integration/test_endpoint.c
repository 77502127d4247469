/* Services that are HTTP endpoints, on real processes, with an endpoint that does whatever a
 * bad one may do (tests/harness/endpoint.h). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dirent.h>
#include <pthread.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/endpoint.h"
#include "tests/harness/fabric.h"

#define ASYNC       "Prefer: respond-async"
#define LIMIT       65536

static struct fabric f;
static struct endpoint *app, *hidden; /* one that may be called, and one that may not */
static char services[PATH_MAX], allow[160];
static struct harness_process *webhook; /* the example's endpoint */

/* ---- a fabric with such services ---------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void add_service(
	const char *name, const char *format, ...)
{
	char path[PATH_MAX + 64], part[PATH_MAX + 64];
	va_list args;
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", services, name);
	assert_int_equal(mkdir(path, 0777), 0);
	snprintf(path, sizeof path, "%s/%s/service.yaml", services, name);
	snprintf(part, sizeof part, "%s/%s/part", services, name);
	file = fopen(part, "w");
	assert_non_null(file);
	fprintf(file, "service: %s\nbreaker: { calls: 1000000, consecutive: 1000000, slow: 100%% }\n",
		name);
	va_start(args, format);
	vfprintf(file, format, args);
	va_end(args);
	assert_int_equal(fclose(file), 0);
	snprintf(path, sizeof path, "%s/%s/shop.key", services, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("open-sesame-1917\n", file);
	assert_int_equal(fclose(file), 0);
	snprintf(path, sizeof path, "%s/%s/service.yaml", services, name);
	assert_int_equal(rename(part, path), 0);
}

/* services/webhook with its own program, on another port. */
static void lay_example(void)
{
	char folder[PATH_MAX], from[PATH_MAX], command[6 * PATH_MAX];
	unsigned port = 0;
	char *said;

	assert_non_null(realpath("services/webhook", from));
	snprintf(folder, sizeof folder, "%.2000s/webhook", services);
	webhook = harness_spawn("webhook", from,
		(const char *const[]){ "/usr/bin/env", "python3", "webhook.py", "0", NULL }, NULL);
	wait_until(PATIENCE_MS, harness_wrote(webhook, "listening on "));
	said = harness_output(webhook);
	assert_int_equal(sscanf(strstr(said, "listening on "), "listening on %u", &port), 1);
	free(said);
	snprintf(command, sizeof command,
		"rm -rf '%s' && mkdir '%s' && sed 's/localhost:9000/localhost:%u/' '%s/service.yaml' >'%s/service.yaml'",
		folder, folder, port, from, folder);
	assert_int_equal(system(command), 0);
	snprintf(allow + strlen(allow), sizeof allow - strlen(allow), ",localhost:%u", port);
}

static void lay_services(unsigned closed)
{
	fabric_link_services(services, sizeof services);
	lay_example();
	add_service("hook",
		"handler: http://localhost:%u/hook?own=1\n"
		"events:\n"
		"  - http: { method: POST, path: /hook }\n"
		"  - http: { method: GET, path: /hook }\n"
		"timeout: 60s\nconcurrency: 128\n"
		"retry: { attempts: 3, base: 10ms, max: 20ms }\n",
		endpoint_port(app));
	add_service("patient",
		"handler: http://localhost:%u/\nretry: { base: 300ms, max: 600ms }\ntimeout: 60s\n",
		endpoint_port(app));
	add_service("whole",
		"handler: http://localhost:%u\n"
		"events:\n"
		"  - http: { method: GET, path: '/whole/{rest*}' }\n"
		"  - http: { method: PUT, path: '/whole/{rest*}' }\n"
		"  - http: { method: DELETE, path: '/whole/{rest*}' }\n"
		"timeout: 60s\n",
		endpoint_port(app));
	add_service("brief",
		"handler: http://localhost:%u/\nretry: { attempts: 1 }\ntimeout: 400ms\n",
		endpoint_port(app));
	add_service("closed", "handler: http://localhost:%u/\nretry: { attempts: 1 }\n", closed);
	add_service("nowhere", "handler: http://nowhere.invalid/\nretry: { attempts: 1 }\ntimeout: 30s\n");
	add_service("keyed",
		"handler: http://localhost:%u/keyed\n"
		"secrets: { SHOP_KEY: shop.key }\n"
		"headers: { Authorization: 'Bearer ${SHOP_KEY}', X-Tenant: '${TENANT}' }\n",
		endpoint_port(app));
	add_service("secret", "handler: http://localhost:%u/\nretry: { attempts: 1 }\n",
		endpoint_port(hidden));
}

static int set_up(void **state)
{
	static char limit[16];
	static const char *flags[] = { "--http-allow", allow, "--max-response", limit,
		"--log-level", "debug", NULL };
	static const char *const environment[] = { "PIRN_ENDPOINT_TENANT=blue-1918", NULL };
	unsigned closed = harness_free_port();

	(void)state;
	app = endpoint_start();
	hidden = endpoint_start();
	snprintf(allow, sizeof allow, "localhost:%u,localhost:%u", endpoint_port(app), closed);
	snprintf(limit, sizeof limit, "%u", LIMIT);
	lay_services(closed);
	f = (struct fabric){ .services = services,
		.worker_flags = flags,
		.worker_environment = environment };
	fabric_start(&f);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "secret") == 1);
	wait_until(PATIENCE_MS, harness_status(f.http, "POST", "/hook", "x") == 200);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fabric_stop(&f);
	endpoint_stop(&app);
	endpoint_stop(&hidden);
	harness_free(&webhook);
	return 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct harness_answer ask(
	const char *method, const char *target, const char *body, const char *const *headers)
{
	struct harness_call call = { .base = f.http,
		.method = method,
		.target = target,
		.body = body,
		.headers = headers,
		.timeout_ms = PATIENCE_MS };

	return harness_call(&call);
}

#define HEADERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void expect_header(const struct harness_answer *a, const char *name, const char *value)
{
	const char *is = harness_answer_header(a, name);

	if (!value ? is != NULL : !is || strcmp(is, value) != 0)
		fail_msg("%s is %s and not %s", name, is ? is : "missing", value ? value : "missing");
}

/* Its id. */
static void send_event(const char *target, char id[32])
{
	struct harness_answer a = ask("POST", target, "it", HEADERS(ASYNC));
	const char *location = harness_answer_header(&a, "Location");

	assert_int_equal(a.status, 202);
	assert_non_null(location);
	snprintf(id, 32, "%s", strrchr(location, '/') + 1);
	harness_answer_free(&a);
}

/* What is known of it when it has ended. */
static json_t *outcome(const char *id)
{
	char target[96];
	json_t *found = NULL;

	snprintf(target, sizeof target, "/v1/invocations/%s?wait=5s", id);
	for (uint64_t end = harness_wait_end(PATIENCE_MS);;) {
		struct harness_answer a = harness_get(f.http, target);
		const char *state;

		found = a.status == 200 ? json_loads(a.body, 0, NULL) : NULL;
		harness_answer_free(&a);
		state = json_string_value(json_object_get(found, "state"));
		if (state && (strcmp(state, "done") == 0 || strcmp(state, "dead") == 0 ||
				     strcmp(state, "cancelled") == 0))
			return found;
		json_decref(found);
		harness_wait_pause(end, "the event has ended", __FILE__, __LINE__);
	}
}

/* attempts 0: however many. */
static void expect_outcome(const char *id, const char *state, unsigned attempts, const char *error)
{
	json_t *o = outcome(id), *list = json_object_get(o, "attempts");
	const char *said = json_string_value(
		json_object_get(json_array_get(list, json_array_size(list) - 1), "error"));

	assert_string_equal(json_string_value(json_object_get(o, "state")), state);
	if (attempts)
		assert_int_equal(json_array_size(list), attempts);
	if (error && (!said || !strstr(said, error)))
		fail_msg("\"%s\" is not in \"%s\"", error, said);
	json_decref(o);
}

/* ---- what goes there, and what comes back ------------------------------------------------------ */

static void a_call_and_its_answer(void **state)
{
	struct harness_answer a = ask("POST", "/hook?do=echo&x=%20y", "a body \x01\xff",
		HEADERS("Content-Type: text/odd", "X-Mine: v\xc3\xa4lue", "Cookie: a=b", "Pirn-Attempt: 7",
			"Connection: X-Gone", "X-Gone: 1", "X-Forwarded-For: 1.2.3.4", "Accept: a/b",
			"User-Agent: me", "Host: front.example"));
	char *seen = endpoint_last(app, "a body");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_int_equal(a.size, 9);
	assert_memory_equal(a.body, "a body \x01\xff", 9);
	assert_non_null(seen);
	assert_ptr_equal(strstr(seen, "POST /hook?own=1&do=echo&x=%20y HTTP/1.1\r\n"), seen);
	expect_header(&a, "X-Got-Content-Type", "text/odd");
	expect_header(&a, "X-Got-X-Mine", "v\xc3\xa4lue");
	expect_header(&a, "X-Got-Cookie", "a=b");
	expect_header(&a, "X-Got-Accept", "a/b");
	expect_header(&a, "X-Got-User-Agent", "me");
	expect_header(&a, "X-Got-X-Gone", NULL);
	expect_header(&a, "X-Got-Expect", NULL);
	expect_header(&a, "X-Got-X-Forwarded-For", "127.0.0.1");
	expect_header(&a, "X-Got-X-Forwarded-Host", "front.example");
	expect_header(&a, "X-Got-X-Forwarded-Proto", "http");
	expect_header(&a, "X-Got-Pirn-Attempt", "1");
	expect_header(&a, "X-Got-Pirn-Service", "hook");
	expect_header(&a, "X-Got-Pirn-Target", "/hook?do=echo&x=%20y");
	expect_header(&a, "X-Got-Pirn-Event-Id", NULL);
	assert_int_equal(strlen(harness_answer_header(&a, "X-Got-Pirn-Call-Id")), 26);
	assert_int_equal(strlen(harness_answer_header(&a, "X-Got-traceparent")), 55);
	assert_non_null(strstr(harness_answer_header(&a, "X-Got-Pirn-Timeout"), "ms"));
	assert_non_null(strstr(harness_answer_header(&a, "X-Got-Host"), "localhost:"));
	free(seen);
	harness_answer_free(&a);
}

static void a_whole_app_keeps_its_paths(void **state)
{
	struct harness_answer a =
		ask("PUT", "/whole/a%20b//c;d?do=echo", "0", HEADERS("Accept: */*"));
	char *seen = endpoint_last(app, "PUT /whole");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "0");
	assert_non_null(seen);
	assert_ptr_equal(strstr(seen, "PUT /whole/a%20b//c;d?do=echo HTTP/1.1\r\n"), seen);
	free(seen);
	harness_answer_free(&a);
	a = ask("DELETE", "/whole/x?do=echo", NULL, NULL);
	assert_int_equal(a.status, 200);
	expect_header(&a, "X-Got-Content-Length", NULL);
	expect_header(&a, "X-Got-Content-Type", NULL);
	harness_answer_free(&a);
	a = ask("HEAD", "/whole/x?do=echo", NULL, NULL);
	assert_int_equal(a.status, 200);
	harness_answer_free(&a);
	assert_int_equal(harness_status(f.http, "GET", "/whole/y", NULL), 200);
}

/* An API key: it comes in place of what a client says, and nobody but the endpoint is told it. */
static void headers_of_the_manifest(void **state)
{
	struct harness_answer a = ask("POST", "/v1/invoke/keyed?do=echo", "key?",
		HEADERS("Authorization: Bearer none", "X-Tenant: red"));
	char *seen = endpoint_last(app, "key?");

	(void)state;
	assert_int_equal(a.status, 200);
	expect_header(&a, "X-Got-Authorization", "Bearer open-sesame-1917");
	expect_header(&a, "X-Got-X-Tenant", "blue-1918");
	assert_non_null(seen);
	assert_null(strstr(seen, "none"));
	assert_null(strstr(seen, "red\r\n"));
	free(seen);
	harness_answer_free(&a);
	a = harness_get(f.admin, "/v1/services");
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.body, "keyed"));
	assert_null(strstr(a.body, "1917"));
	harness_answer_free(&a);
	assert_false(harness_wrote(f.workers[0], "1917"));
	assert_false(harness_wrote(f.workers[0], "1918"));
}

static void headers_of_the_connection_end_here(void **state)
{
	struct harness_answer a = ask("POST", "/hook?do=hops", "x", NULL);

	(void)state;
	assert_int_equal(a.status, 200);
	expect_header(&a, "X-Hop-1", NULL);
	expect_header(&a, "X-Hop-2", NULL);
	expect_header(&a, "X-Hop-3", NULL);
	expect_header(&a, "X-End", "4");
	assert_string_equal(a.body, "ok");
	harness_answer_free(&a);
}

static void its_errors_are_its_own(void **state)
{
	struct harness_answer a = ask("POST", "/hook?do=status&code=418", "x", NULL);

	(void)state;
	assert_int_equal(a.status, 418);
	assert_string_equal(a.body, "00418");
	harness_answer_free(&a);
	a = ask("POST", "/hook?do=status&code=503&after=7", "x", NULL);
	assert_int_equal(a.status, 503);
	expect_header(&a, "Retry-After", "7");
	harness_answer_free(&a);
	a = ask("POST", "/hook?do=redirect", "x", NULL);
	assert_int_equal(a.status, 302);
	expect_header(&a, "Location", "/elsewhere");
	harness_answer_free(&a);
	assert_int_equal(endpoint_seen(app, "/elsewhere"), 0);
}

static void the_example(void **state)
{
	struct harness_answer a = ask("POST", "/webhook", "{\"name\":\"World\"}", NULL);
	char id[32];

	(void)state;
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body, "{\"hello\": \"World\", \"attempt\": 1}");
	harness_answer_free(&a);
	a = ask("POST", "/webhook", "{\"name\":\"later\"}", HEADERS(ASYNC));
	assert_int_equal(a.status, 202);
	snprintf(id, sizeof id, "%s", strrchr(harness_answer_header(&a, "Location"), '/') + 1);
	harness_answer_free(&a);
	expect_outcome(id, "done", 1, NULL);
	assert_true(harness_wrote(webhook, "hello later\n"));
	send_event("/webhook", id); /* "it" */
	expect_outcome(id, "dead", 1, "expected {\"name\": ...}");
}

/* ---- what goes wrong ------------------------------------------------------------------------------ */

static void calls_that_fail(void **state)
{
	static const struct {
		const char *target;
		unsigned status;
		const char *detail;
	} rows[] = {
		{ "/hook?do=reset", 502, "closed the connection" },
		{ "/hook?do=close", 502, "closed the connection" },
		{ "/hook?do=half", 502, "closed the connection" },
		{ "/hook?do=garbage", 502, "not HTTP" },
		{ "/hook?do=headers", 502, "headers" },
		{ "/hook?do=line", 502, "headers" },
		{ "/hook?do=early", 502, "headers" },
		{ "/hook?do=fold", 502, "not HTTP" },
		{ "/hook?do=odd", 502, "status" },
		{ "/hook?do=huge", 502, "too large" },
		{ "/hook?do=flood", 502, "too large" },
		{ "/v1/invoke/closed", 502, "could not be reached" },
		{ "/v1/invoke/nowhere", 502, "could not be resolved" },
		{ "/v1/invoke/secret", 502, "not one that this worker may call" },
		{ "/v1/invoke/brief?do=hold", 504, "" },
		{ "/v1/invoke/brief?do=drip", 504, "" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct harness_answer a = ask("POST", rows[i].target, "x", NULL);

		if (a.status != rows[i].status || !strstr(a.body, rows[i].detail))
			fail_msg("%s: %u %s", rows[i].target, a.status, a.body);
		harness_answer_free(&a);
		assert_int_equal(harness_status(f.http, "POST", "/hook", "x"), 200); /* nobody else */
	}
	assert_int_equal(endpoint_connects(hidden), 0);
	wait_until(PATIENCE_MS, endpoint_holding(app) == 0); /* its exchange ended with its time */
}

/* The endpoint saw the request of a call that may not be repeated, and it alone. */
static void what_may_not_be_repeated_is_not(void **state)
{
	unsigned before = endpoint_seen(app, "POST /hook?own=1&do=close&n=1 ");

	(void)state;
	assert_int_equal(harness_status(f.http, "POST", "/hook", "warm"), 200);
	assert_int_equal(harness_status(f.http, "POST", "/hook?do=close&n=1", "x"), 502);
	assert_int_equal(endpoint_seen(app, "POST /hook?own=1&do=close&n=1 "), before + 1);
	assert_int_equal(harness_status(f.http, "GET", "/hook", NULL), 200);
	assert_int_equal(harness_status(f.http, "GET", "/hook?do=close&n=2", NULL), 502);
	assert_true(endpoint_seen(app, "GET /hook?own=1&do=close&n=2 ") > 1);
}

/* A connection that the endpoint has left behind is no reason to fail. */
static void kept_connections(void **state)
{
	unsigned before;

	(void)state;
	assert_int_equal(harness_status(f.http, "POST", "/hook", "x"), 200);
	before = endpoint_connects(app);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(harness_status(f.http, "POST", "/hook", "x"), 200);
	assert_int_equal(endpoint_connects(app), before);
	for (unsigned i = 0; i < 5; i++) {
		unsigned open = endpoint_open(app);

		assert_int_equal(harness_status(f.http, "POST", "/hook?do=leave", "x"), 200);
		wait_until(PATIENCE_MS, endpoint_open(app) < open || open == 0);
		assert_int_equal(harness_status(f.http, "POST", "/hook", "x"), 200);
	}
}

/* ---- events --------------------------------------------------------------------------------------- */

static void events_and_their_ends(void **state)
{
	static const struct {
		const char *target, *state;
		unsigned attempts;
		const char *error;
	} rows[] = {
		{ "/hook", "done", 1, NULL },
		{ "/hook?do=status&code=404", "dead", 1, "00404" },
		{ "/hook?do=status&code=500", "dead", 3, "00500" },
		{ "/hook?do=redirect", "dead", 3, "redirects are not followed" },
		{ "/hook?do=reset", "dead", 3, "closed the connection" },
		{ "/hook?do=huge", "dead", 3, "over 65536 bytes" },
		{ "/v1/invoke/closed", "dead", 1, "could not be reached" },
		{ "/v1/invoke/nowhere", "dead", 1, "could not be resolved" },
		{ "/v1/invoke/secret", "dead", 1, "named by --http-allow" },
		{ "/v1/invoke/brief?do=hold", "dead", 1, "s: the endpoint had not answered" },
		{ "/v1/invoke/brief?do=drip", "dead", 1, "answer had not ended" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char id[32], line[64];

		send_event(rows[i].target, id);
		expect_outcome(id, rows[i].state, rows[i].attempts, rows[i].error);
		snprintf(line, sizeof line, "Pirn-Event-Id: %s\r\n", id);
		if (strncmp(rows[i].target, "/hook", 5) == 0)
			assert_true(endpoint_seen(app, line) >= rows[i].attempts);
	}
	assert_int_equal(endpoint_connects(hidden), 0);
}

static void an_event_as_it_came(void **state)
{
	char id[32];
	char *seen;

	(void)state;
	send_event("/hook?who=me", id);
	expect_outcome(id, "done", 1, NULL);
	seen = endpoint_last(app, id);
	assert_non_null(seen);
	assert_ptr_equal(strstr(seen, "POST /hook?own=1&who=me HTTP/1.1\r\n"), seen);
	assert_non_null(strstr(seen, "\r\nPirn-Attempt: 1\r\n"));
	assert_null(strstr(seen, "\r\nPrefer:"));
	assert_string_equal(seen + strlen(seen) - 4, "\r\nit");
	free(seen);
}

static void retry_after_is_heard(void **state)
{
	char id[32], target[64];
	json_t *found;

	(void)state;
	send_event("/hook?do=status&code=503&after=600", id);
	snprintf(target, sizeof target, "/v1/invocations/%s", id);
	for (uint64_t end = harness_wait_end(PATIENCE_MS);;) {
		struct harness_answer a = harness_get(f.http, target);
		bool waits = strstr(a.body, "\"state\":\"waiting\"") != NULL;

		found = waits ? json_loads(a.body, 0, NULL) : NULL;
		harness_answer_free(&a);
		if (waits)
			break;
		harness_wait_pause(end, "it waits", __FILE__, __LINE__);
	}
	/* Its own pause is 20 ms at most. */
	assert_int_equal(json_integer_value(json_object_get(found, "attempt")), 1);
	json_decref(found);
	assert_int_equal(harness_status(f.http, "DELETE", target, NULL), 200);
}

static void each_event_at_least_once(void **state)
{
	char ids[100][32];

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		send_event("/hook", ids[i]);
		if (i == 50) {
			endpoint_kill(app);
			endpoint_revive(app);
		}
	}
	for (size_t i = 0; i < 100; i++) {
		json_t *o = outcome(ids[i]);

		if (strcmp(json_string_value(json_object_get(o, "state")), "done") != 0 ||
			endpoint_seen(app, ids[i]) < 1)
			fail_msg("event %zu", i);
		json_decref(o);
	}
}

/* ---- what runs, and is ended ------------------------------------------------------------------------ */

struct asking {
	pthread_t thread;
	const char *target;
	unsigned status;
};

static void *ask_alone(void *arg)
{
	struct asking *a = arg;

	a->status = harness_status(f.http, "POST", a->target, "x");
	return NULL;
}

static unsigned threads_of(pid_t pid)
{
	char path[64];
	unsigned n = 0;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static void a_hundred_at_once(void **state)
{
	struct asking all[100];
	unsigned threads = threads_of(harness_pid(f.workers[0]));

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		all[i].target = "/hook?do=hold";
		assert_int_equal(pthread_create(&all[i].thread, NULL, ask_alone, &all[i]), 0);
	}
	wait_until(PATIENCE_MS, endpoint_holding(app) == 100);
	assert_true(threads_of(harness_pid(f.workers[0])) <= threads + 1); /* a look-up */
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_worker_http_running", NULL) == 100);
	assert_int_equal(harness_status(f.http, "GET", "/hello", NULL), 200);
	assert_int_equal(harness_status(f.http, "POST", "/hook", "x"), 200);
	endpoint_release(app);
	for (size_t i = 0; i < 100; i++) {
		pthread_join(all[i].thread, NULL);
		assert_int_equal(all[i].status, 200);
	}
	assert_true(endpoint_open(app) <= 128); /* kept, and no more than may run at once */
}

static void what_is_cancelled_ends_there(void **state)
{
	char id[32], target[64];

	(void)state;
	send_event("/hook?do=hold", id);
	wait_until(PATIENCE_MS, endpoint_holding(app) == 1);
	snprintf(target, sizeof target, "/v1/invocations/%s", id);
	assert_true(harness_status(f.http, "DELETE", target, NULL) / 100 == 2);
	expect_outcome(id, "cancelled", 0, NULL);
	wait_until(PATIENCE_MS, endpoint_holding(app) == 0);
}

static void an_endpoint_that_dies(void **state)
{
	struct asking call = { .target = "/hook?do=hold" };
	char id[32];
	unsigned failures;

	(void)state;
	assert_int_equal(pthread_create(&call.thread, NULL, ask_alone, &call), 0);
	wait_until(PATIENCE_MS, endpoint_holding(app) == 1);
	send_event("/v1/invoke/patient?do=hold", id);
	wait_until(PATIENCE_MS, endpoint_holding(app) == 2);
	endpoint_kill(app);
	endpoint_revive(app);
	pthread_join(call.thread, NULL);
	assert_int_equal(call.status, 502);
	wait_until(PATIENCE_MS, endpoint_holding(app) == 1); /* the event, once more */
	endpoint_release(app);
	expect_outcome(id, "done", 0, NULL);
	assert_int_equal(endpoint_seen(app, id), 2);
	/* An event may be sent twice, so libcurl may have done that itself (a connection used before that
	 * ended without an answer); else the run failed and the log says both: that, and the recovery. */
	failures = harness_log_count(f.workers[0], "endpoint_fails", "service", "patient");
	assert_int_equal(harness_log_count(f.workers[0], "endpoint_answers", "service", "patient"),
	                 failures > 0);
}

static void a_worker_that_drains(void **state)
{
	struct asking call = { .target = "/hook?do=hold" };
	char id[32];

	(void)state;
	send_event("/hook?do=hold", id);
	assert_int_equal(pthread_create(&call.thread, NULL, ask_alone, &call), 0);
	wait_until(PATIENCE_MS, endpoint_holding(app) == 2);
	harness_signal(f.workers[0], SIGTERM);
	wait_until(PATIENCE_MS, harness_logged(f.workers[0], "worker_drains"));
	endpoint_release(app);
	pthread_join(call.thread, NULL);
	assert_int_equal(call.status, 200);
	assert_int_equal(harness_wait(f.workers[0], PATIENCE_MS), 0);
	expect_outcome(id, "done", 1, NULL);
	assert_int_equal(endpoint_seen(app, id), 1);
}

static void a_new_one(void **state)
{
	char dir[PATH_MAX], built[PATH_MAX], url[64], folder[PATH_MAX];
	struct stat there;

	(void)state;
	harness_new_dir("new", dir, sizeof dir);
	snprintf(url, sizeof url, "http://localhost:%u/mine", endpoint_port(app));
	snprintf(folder, sizeof folder, "%.2000s/mine", dir);
	snprintf(built, sizeof built, "%.2000s/mine", services);
	assert_int_equal(harness_run("new", dir,
				 (const char *const[]){ "pirn", "new", "mine", "--dir", dir, "--http", url, NULL },
				 NULL, NULL),
		0);
	assert_int_equal(harness_run("new", dir,
				 (const char *const[]){ "pirn", "new", "other", "--dir", dir, "--http", "app:3000", NULL },
				 NULL, NULL),
		2);
	assert_int_equal(harness_run("build", dir,
				 (const char *const[]){ "pirn", "build", folder, "--out", built, NULL }, NULL,
				 NULL),
		0);
	assert_int_equal(stat(built, &there), 0);
	wait_until(PATIENCE_MS, harness_status(f.http, "POST", "/mine", "x") == 200);
	assert_int_equal(endpoint_seen(app, "POST /mine HTTP"), 1);
}

/* What a manifest must not say. */
static void manifests_that_are_refused(void **state)
{
	static const struct {
		const char *handler, *why;
	} rows[] = {
		{ "http://127.0.0.1:9/", "127.0.0.1 is not a public address" },
		{ "http://[::1]:9/", "::1 is not a public address" },
		{ "http://0x7f.1/", "127.0.0.1 is not a public address" },
		{ "http://169.254.169.254/", "169.254.169.254 is not a public address" },
		{ "http://[::ffff:10.0.0.1]/", "is not a public address" },
		{ "http://[fe80::1%25lo]/", "without a zone" },
		{ "http://a:b@app/", "no user" },
		{ "http://app/#x", "fragment" },
		{ "http:///x", "a host" },
		{ "http://app:99999/", "a URL such as" },
		{ "'http://a b/'", "visible ASCII" },
		{ "http://app/\nheaders: { X: '${NONE}' }", "headers.X: NONE is neither in secrets" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct harness_process *worker;

		snprintf(services, sizeof services, "%.2000s/refused%zu", f.dir, i);
		assert_int_equal(mkdir(services, 0777), 0);
		add_service("it", "handler: %s\n", rows[i].handler);
		assert_int_equal(harness_run("worker", f.dir,
					 (const char *const[]){ "pirn-worker", "--services", services,
						 "--brokers", f.worker_list, "--redis", f.worker_redis, NULL },
					 NULL, &worker),
			1);
		if (!harness_wrote(worker, rows[i].why))
			fail_msg("%s: %s", rows[i].handler, harness_output(worker));
		harness_free(&worker);
	}
	assert_int_equal(harness_run("worker", f.dir,
				 (const char *const[]){ "pirn-worker", "--http-allow", "app,http://x", NULL },
				 NULL, NULL),
		2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_and_its_answer),
		cmocka_unit_test(a_whole_app_keeps_its_paths),
		cmocka_unit_test(headers_of_the_manifest),
		cmocka_unit_test(headers_of_the_connection_end_here),
		cmocka_unit_test(its_errors_are_its_own),
		cmocka_unit_test(the_example),
		cmocka_unit_test(calls_that_fail),
		cmocka_unit_test(what_may_not_be_repeated_is_not),
		cmocka_unit_test(kept_connections),
		cmocka_unit_test(events_and_their_ends),
		cmocka_unit_test(an_event_as_it_came),
		cmocka_unit_test(retry_after_is_heard),
		cmocka_unit_test(each_event_at_least_once),
		cmocka_unit_test(a_hundred_at_once),
		cmocka_unit_test(what_is_cancelled_ends_there),
		cmocka_unit_test(an_endpoint_that_dies),
		cmocka_unit_test(a_new_one),
		cmocka_unit_test(a_worker_that_drains),
		cmocka_unit_test(manifests_that_are_refused),
	};

	return harness_finish(cmocka_run_group_tests_name("endpoint", tests, set_up, tear_down));
}
