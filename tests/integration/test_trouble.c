/* When things go wrong, end to end: services that fail, hang, are slow or are asked for
 * too much, in real processes. What is counted is what happened in the services (the
 * board of tests/services/sick), beside what callers were told. One broker, because its
 * bounds are each broker's; two workers. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>
#include <pirn/client.h>

#include "tests/harness/fabric.h"
#include "tests/harness/up.h"
#include "tests/services/sick/sick.h"

#define STATUSES    600
#define MAX_THREADS 64
#define EVENTS      40

static struct fabric f = { .n_workers = 2 };
static char boards[PATH_MAX], services[PATH_MAX];

/* ---- services that are told how to be ------------------------------------------------- */

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void shell(const char *format, ...)
{
	char command[4 * PATH_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command, sizeof command, format, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

/* The service "sick" once more, under another name, with a board, a route and settings of its own. */
static struct sick_board *variant(const char *name, const char *settings)
{
	struct sick_board *board;
	char path[PATH_MAX + 32];
	int fd;

	shell("mkdir '%s/%s' && cp '%s/sick/sick.so' '%s/%s/' && "
	      "printf 'service: %s\\nhandler: sick.so\\nenv: { BOARD: %s }\\n"
	      "events: [ http: { method: GET, path: /%s } ]\\n%s' >'%s/%s/service.yaml'",
		services, name, services, services, name, name, name, name, settings, services,
		name);
	(void)snprintf(path, sizeof path, "%s/%s", boards, name);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof *board), 0);
	board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(board, MAP_FAILED);
	close(fd);
	return board;
}

static struct sick_board *shut, *frail, *storm, *full, *single, *narrow, *half;

static int set_up(void **state)
{
	(void)state;
	harness_new_dir("boards", boards, sizeof boards);
	setenv("SICK_BOARDS", boards, 1);
	fabric_link_services(services, sizeof services);
	shut = variant("shut", "breaker: { open: 1h, max: 1h }\\n");
	frail = variant("frail",
		"breaker: { open: 300ms, max: 300ms }\\nretry: { attempts: 100, base: 10ms, max: 20ms }\\n");
	storm = variant("storm", "");
	full = variant("full", "timeout: 40s\\nconcurrency: 2\\nqueue: { items: 10 }\\n");
	single = variant("single", "timeout: 40s\\nconcurrency: 1\\n");
	narrow = variant("narrow", "concurrency_total: 4\\nqueue: { items: 1000 }\\n");
	half = variant("half", "breaker: { calls: 1000000, consecutive: 1000000 }\\n");
	f.services = services;
	fabric_start(&f);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

/* ---- asking ------------------------------------------------------------------------------ */

static const char *const async[] = { "Prefer: respond-async", NULL };

/* idempotent: by its route, with GET. */
static struct harness_answer invoke(
	const char *service, bool idempotent, const char *const *headers)
{
	char target[64];

	(void)snprintf(target, sizeof target, "%s/%s", idempotent ? "" : "/v1/invoke", service);
	return harness_call(&(struct harness_call){ .base = f.http,
		.method = idempotent ? "GET" : "POST",
		.target = target,
		.headers = headers,
		.timeout_ms = PATIENCE_MS });
}

static unsigned call(const char *service)
{
	struct harness_answer a = invoke(service, false, NULL);
	unsigned status = a.status;

	harness_answer_free(&a);
	return status;
}

static json_t *json_of(struct harness_answer a)
{
	json_t *d = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);

	if (!d)
		print_error("no JSON: %u %s %s\n", a.status, a.error, a.body);
	assert_non_null(d);
	harness_answer_free(&a);
	return d;
}

static void send_event(const char *service, char id[PIRN_ID_SIZE])
{
	struct harness_answer a = invoke(service, false, async);
	json_t *d;

	assert_int_equal(a.status, 202);
	d = json_of(a);
	(void)snprintf(id, PIRN_ID_SIZE, "%s", json_string_value(json_object_get(d, "id")));
	json_decref(d);
}

/* The state of an event, and how many attempts it took so far. */
static unsigned attempts_of(const char *id, const char *wait, char state[16])
{
	char target[96];
	json_t *d;
	unsigned n;

	(void)snprintf(target, sizeof target, "/v1/invocations/%s%s", id, wait);
	d = json_of(harness_get(f.http, target));
	(void)snprintf(state, 16, "%s", json_string_value(json_object_get(d, "state")));
	n = (unsigned)json_integer_value(json_object_get(d, "attempt"));
	json_decref(d);
	return n;
}

/* ---- breakers ----------------------------------------------------------------------------- */

static json_t *breaker(const char *service)
{
	char target[96];
	json_t *d;
	json_t *row;

	(void)snprintf(target, sizeof target, "/v1/breakers/%s", service);
	d = json_of(harness_get(f.admin, target));
	row = json_incref(json_array_get(json_object_get(d, "brokers"), 0));
	json_decref(d);
	return row;
}

static bool breaker_is(const char *service, const char *state)
{
	json_t *row = breaker(service);
	const char *is = json_string_value(json_object_get(row, "state"));
	bool same = is && strcmp(is, state) == 0;

	json_decref(row);
	return same;
}

static unsigned breaker_count(const char *service, const char *what)
{
	json_t *row = breaker(service);
	unsigned n = (unsigned)json_integer_value(json_object_get(row, what));

	json_decref(row);
	return n;
}

static unsigned ejected(const char *service)
{
	json_t *row = breaker(service);
	unsigned n = (unsigned)json_array_size(json_object_get(row, "ejected"));

	json_decref(row);
	return n;
}

static void force(const char *service, const char *how)
{
	char target[96];
	char body[64];
	struct harness_answer a;

	(void)snprintf(target, sizeof target, "/v1/breakers/%s", service);
	(void)snprintf(body, sizeof body, "{\"force\":\"%s\"}", how);
	a = harness_post(f.admin, target, body);
	assert_int_equal(a.status, 200);
	harness_answer_free(&a);
}

/* ---- many calls at once ---------------------------------------------------------------------- */

/* threads callers share n calls among them. */
struct crowd {
	const char *service;
	bool idempotent;
	const char *const *headers;
	unsigned threads;
	atomic_uint left, answered,
		hasty; /* hasty: 429 and 503 that do not say when to come again */
	atomic_uint of[STATUSES];
	pthread_t all[MAX_THREADS];
};

static void *call_on(void *arg)
{
	struct crowd *c = arg;
	unsigned left = c->left;

	while (left > 0) {
		struct harness_answer a;

		if (!atomic_compare_exchange_weak(&c->left, &left, left - 1))
			continue;
		a = invoke(c->service, c->idempotent, c->headers);
		if ((a.status == 503 || a.status == 429) &&
			!strcasestr(a.headers, "\nRetry-After: "))
			c->hasty++;
		c->of[a.status < STATUSES ? a.status : 0]++;
		c->answered++;
		harness_answer_free(&a);
		left = c->left;
	}
	return NULL;
}

static void crowd_start(struct crowd *c, unsigned n)
{
	c->left = n;
	assert_true(c->threads <= MAX_THREADS);
	for (unsigned i = 0; i < c->threads; i++)
		assert_int_equal(pthread_create(&c->all[i], NULL, call_on, c), 0);
}

static void crowd_join(struct crowd *c)
{
	for (unsigned i = 0; i < c->threads; i++)
		pthread_join(c->all[i], NULL);
}

static void crowd_run(struct crowd *c, unsigned n)
{
	crowd_start(c, n);
	crowd_join(c);
	assert_int_equal(c->answered, n);
}

static void hellos(unsigned n)
{
	struct crowd c = { .service = "hello", .threads = 4 };

	crowd_run(&c, n);
	assert_int_equal(c.of[200], n);
}

/* ---- the breaker ------------------------------------------------------------------------------- */

static void test_an_open_breaker_lets_nothing_through(void **state)
{
	char ids[EVENTS][PIRN_ID_SIZE];
	char is[16];
	struct crowd c = { .service = "shut", .threads = 4 };

	(void)state;
	shut->status = 500;
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(call("shut"), 500);
	assert_true(breaker_is("shut", "open"));

	crowd_run(&c, 100);
	assert_int_equal(c.of[503], 100);
	assert_int_equal(c.hasty, 0);
	assert_int_equal(shut->n, 5);
	assert_int_equal(breaker_count("shut", "refused_total"), 100);

	for (unsigned i = 0; i < EVENTS; i++)
		send_event("shut", ids[i]);
	hellos(100);
	for (unsigned i = 0; i < EVENTS; i++)
		assert_int_equal(attempts_of(ids[i], "", is), 0);
	assert_int_equal(shut->n, 5);

	shut->status = 0;
	force("shut", "closed");
	force("shut", "auto");
	for (unsigned i = 0; i < EVENTS; i++) {
		assert_int_equal(attempts_of(ids[i], "?wait=30s", is), 1);
		assert_string_equal(is, "done");
	}
	assert_int_equal(shut->n, 5 + EVENTS);
	assert_int_equal(call("shut"), 200);
}

/* Fails, heals: what it had taken on meanwhile gets done. While it fails only probes reach it: three at
 * once, and none after one of them has failed. */
static void test_a_breaker_probes_and_closes(void **state)
{
	char ids[EVENTS][PIRN_ID_SIZE];
	char is[16];
	unsigned before;
	unsigned openings;

	(void)state;
	frail->status = 500;
	frail->sleep_ms = 20;
	for (unsigned i = 0; i < EVENTS; i++)
		send_event("frail", ids[i]);
	wait_until(PATIENCE_MS, breaker_count("frail", "opened_total") > 0);
	wait_until(PATIENCE_MS, frail->running == 0);
	/* Those that were under way when it opened have ended; from here on it is open or half-open. */
	frail->most = 0;
	openings = breaker_count("frail", "opened_total");
	before = frail->n;
	wait_until(PATIENCE_MS, breaker_count("frail", "opened_total") >= openings + 3);
	assert_true(frail->most <= 3);
	openings = breaker_count("frail", "opened_total") - openings;
	assert_true(frail->n > before);
	assert_true(frail->n - before <=
		    3 * (openings + 2)); /* those that are counted a little later, too */

	frail->status = 0;
	wait_until(PATIENCE_MS, breaker_is("frail", "closed"));
	for (unsigned i = 0; i < EVENTS; i++) {
		assert_true(attempts_of(ids[i], "?wait=30s", is) >= 1);
		assert_string_equal(is, "done");
	}
	assert_int_equal(call("frail"), 200);
	/* A run is an attempt, and nothing else is: while it was open none was burnt. */
	before = 0;
	for (unsigned i = 0; i < EVENTS; i++)
		before += attempts_of(ids[i], "", is);
	assert_int_equal(frail->n, before + 1);
}

/* ---- retries ------------------------------------------------------------------------------------- */

static void test_retries_are_no_storm(void **state)
{
	struct crowd c = { .service = "storm", .idempotent = true, .threads = 8 };
	const unsigned n = 2000;

	(void)state;
	storm->status = 503;
	force("storm", "closed");
	crowd_run(&c, n);
	assert_int_equal(c.of[503], n);
	print_message("%u requests, %u runs\n", n, (unsigned)storm->n);
	assert_true(storm->n > n); /* they are tried again … */
	assert_true(storm->n <= n * 12 / 10);
}

/* ---- isolation ------------------------------------------------------------------------------------ */

static void test_others_go_on(void **state)
{
	struct crowd stuck = { .service = "full", .threads = 40 };
	struct crowd failing = { .service = "storm", .threads = 4 };
	unsigned told;

	(void)state;
	full->hold = 1;
	crowd_start(&stuck, 40);
	wait_until(PATIENCE_MS, full->running == 4);
	wait_until(PATIENCE_MS, stuck.answered > 0); /* it is full, and refuses */
	crowd_start(&failing, 400);
	hellos(400);
	crowd_join(&failing);
	assert_int_equal(failing.of[200], 0);
	assert_int_equal(failing.answered, 400);
	assert_int_equal(full->n, 4); /* the same four all the while */
	assert_int_equal(full->running, 4);
	full->hold = 0;
	crowd_join(&stuck);
	told = stuck.of[200] + stuck.of[429] + stuck.of[503];
	assert_int_equal(told, 40);
	assert_true(stuck.of[200] >= 4);
	assert_int_equal(stuck.hasty, 0);
}

/* ---- deadlines ----------------------------------------------------------------------------------- */

/* Runs of one process, one after the other: none began before the one before it had ended. */
static void one_at_a_time(const struct sick_board *b)
{
	for (unsigned i = 0; i < b->n; i++)
		for (unsigned k = i + 1; k < b->n; k++)
			if (b->runs[k].pid == b->runs[i].pid)
				assert_true(b->runs[i].ended_us > 0 &&
					    b->runs[k].began_us >= b->runs[i].ended_us);
}

static void test_a_deadline(void **state)
{
	static const char *const headers[] = { "Pirn-Timeout: 300ms", NULL };
	struct crowd hasty = { .service = "single", .headers = headers, .threads = 6 };
	struct crowd patient = { .service = "single", .threads = 2 };

	(void)state;
	single->hold = 1;
	crowd_run(&hasty, 6);
	/* Two ran into it in the service, one in each worker; the others' time was over before they began. */
	assert_int_equal(hasty.of[504] + hasty.of[503], 6);
	assert_true(hasty.of[504] >= 2);
	assert_int_equal(single->n, 2);
	assert_int_equal(single->running, 2);
	crowd_start(&patient, 2);
	hellos(100);
	assert_int_equal(
		single->n, 2); /* nobody waits for those runs, but they have their places */
	assert_int_equal(patient.answered, 0);
	single->hold = 0;
	crowd_join(&patient);
	assert_int_equal(patient.of[200], 2);
	assert_int_equal(single->n, 4);
	one_at_a_time(single);
}

/* ---- overload ------------------------------------------------------------------------------------- */

struct flood {
	atomic_uint done, refused, others, hasty;
};

static void on_reply(void *arg, const struct pirn_reply *reply)
{
	struct flood *flood = arg;

	if (reply->err == PIRN_CLIENT_OK && reply->status == 200) {
		flood->done++;
	} else if (reply->status == 503 || reply->status == 429) {
		flood->refused++;
		flood->hasty += reply->retry_after_ms == 0;
	} else {
		flood->others++;
		print_error("%s %u\n", pirn_client_err_name(reply->err), reply->status);
	}
}

/* Three times what it can do, and callers who do not wait for one another. */
static void test_overload(void **state)
{
	const unsigned per_second = 600, seconds = 4, n = per_second * seconds;
	struct flood flood = { 0 };
	struct pirn_client *client;
	uint64_t start;
	char why[256];

	(void)state;
	narrow->sleep_ms = 20;
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = f.brokers_list), &client, why,
				 sizeof why),
		PIRN_CLIENT_OK);
	start = harness_now_ms();
	for (unsigned i = 0; i < n; i++) {
		wait_until(PATIENCE_MS, harness_now_ms() >= start + i * 1000 / per_second);
		assert_int_equal(pirn_client_call_async(
					 client, &PIRN_CALL(.service = "narrow"), on_reply, &flood),
			PIRN_CLIENT_OK);
	}
	wait_until(PATIENCE_MS, flood.done + flood.refused + flood.others == n);
	print_message(
		"%u done, %u refused of %u\n", (unsigned)flood.done, (unsigned)flood.refused, n);
	assert_int_equal(flood.others, 0);
	assert_int_equal(flood.hasty, 0);
	assert_true(flood.refused > 0);
	assert_int_equal(narrow->most, 4);
	assert_int_equal(narrow->n, flood.done); /* nothing was run for nobody */
	/* It was at work all the while: 200 a second where nothing else runs. */
	assert_true(flood.done >= seconds * 200 / 3);
	assert_int_equal(pirn_client_close(&client), PIRN_CLIENT_OK);
	assert_int_equal(call("narrow"), 200);
}

/* ---- ejection --------------------------------------------------------------------------------------- */

/* True: for as long as it was out, so many calls were answered and none went to it. */
static bool goes_without_it(void)
{
	struct crowd c = { .service = "half", .idempotent = true, .threads = 4 };
	unsigned failed;

	wait_until(PATIENCE_MS, call("half") > 0 && ejected("half") == 1);
	failed = half->failed;
	crowd_run(&c, 50);
	if (ejected("half") == 0)
		return false; /* this machine is slow: it came back meanwhile */
	assert_int_equal(c.of[200], 50);
	assert_int_equal(half->failed, failed);
	return true;
}

static void test_a_worker_that_fails_alone_is_left_out(void **state)
{
	struct crowd c = { .service = "half", .idempotent = true, .threads = 8 };

	(void)state;
	half->sick_pid = (unsigned)harness_pid(f.workers[1]);
	half->status = 503;
	half->sleep_ms = 2;
	crowd_run(&c, 100);
	assert_true(half->failed >= 5);
	wait_until(PATIENCE_MS, goes_without_it());
	half->status = 0;
	wait_until(PATIENCE_MS, ejected("half") == 0);
	assert_int_equal(call("half"), 200);
}

/* ---- a worker that is stuck ---------------------------------------------------------------------------- */

static void test_a_stuck_worker_is_replaced(void **state)
{
	static const char *const environment[] = { "PIRN_STUCK_AFTER=300ms", NULL };
	static const char *const headers[] = { "Pirn-Timeout: 200ms", NULL };
	struct crowd c = { .service = "single", .headers = headers, .threads = 2 };
	struct up u = { .environment = environment };
	pid_t before;

	(void)state;
	(void)snprintf(u.services, sizeof u.services, "%s", services);
	up_start(&u, (const char *const[]){ "--workers", "1", NULL });
	before = harness_child_named(harness_pid(u.process), "pirn-worker");
	(void)snprintf(f.http, sizeof f.http, "%.63s", u.http);
	single->hang = 1;
	crowd_run(&c, 2);
	single->hang = 0;
	assert_int_equal(c.of[504] + c.of[503], 2);
	assert_true(c.of[504] >= 1);
	wait_until(
		PATIENCE_MS, harness_child_named(harness_pid(u.process), "pirn-worker") != before);
	wait_until(PATIENCE_MS, call("single") == 200);
	up_stop(&u);
	(void)snprintf(f.http, sizeof f.http, "%s", f.urls[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_open_breaker_lets_nothing_through),
		cmocka_unit_test(test_a_breaker_probes_and_closes),
		cmocka_unit_test(test_retries_are_no_storm),
		cmocka_unit_test(test_others_go_on),
		cmocka_unit_test(test_a_deadline),
		cmocka_unit_test(test_overload),
		cmocka_unit_test(test_a_worker_that_fails_alone_is_left_out),
		cmocka_unit_test(test_a_stuck_worker_is_replaced),
	};

	return harness_finish(cmocka_run_group_tests_name("trouble", tests, set_up, tear_down));
}
