/* A worker whose services do not do as they should, in a fabric: handlers that outlive their
 * deadlines, hold what it has, leak, depend on what fails; and a Redis that is silent.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/fabric.h"

static struct fabric f;

/* ---- a fabric with worker_late.c ---------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
	char command[4 * PATH_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command, sizeof command, format, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

/* Of that source, under that name; more: lines of its manifest. */
static void add_service_of(const char *source, const char *name, const char *more)
{
	const char *dir = f.services_dir;

	shell("mkdir -p '%s/%s' && ${CC:-cc} -std=c17 -D_GNU_SOURCE -Iinclude -fPIC -shared -o '%s/%s/part' "
	      "%s && mv '%s/%s/part' '%s/%s/it.so'",
	      dir, name, dir, name, source, dir, name, dir, name);
	shell("printf 'service: %s\\nhandler: it.so\\n%s' >'%s/%s/part' && mv '%s/%s/part' '%s/%s/service.yaml'",
	      name, more, dir, name, dir, name, dir, name);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, name) == 1);
}

static void add_service(const char *name, const char *more)
{
	add_service_of("tests/integration/worker_late.c", name, more);
}

static void begin(const char *const *worker_flags)
{
	f = (struct fabric){ .worker_flags = worker_flags };
	fabric_start(&f);
}

static int end(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

static unsigned invoke(const char *service, const char *body)
{
	char target[128];

	(void)snprintf(target, sizeof target, "/v1/invoke/%s", service);
	return harness_status(f.http, "POST", target, body);
}

static double figure(const char *name, const char *service)
{
	char labels[64];

	(void)snprintf(labels, sizeof labels, "service=\"%s\"", service);
	return harness_metric(f.admin, name, labels);
}

static unsigned logged(const char *id, const char *key, const char *value)
{
	return harness_log_count(f.workers[0], id, key, value);
}

/* ---- deadlines ------------------------------------------------------------------------ */

static void test_a_handler_that_ignores_its_deadline(void **state)
{
	(void)state;
	begin(NULL);
	add_service("late", "timeout: 300ms\\nconcurrency: 2\\n");
	assert_int_equal(invoke("late", "sleep 3600000"), 504);
	wait_until(PATIENCE_MS, figure("pirn_worker_overdue", "late") == 1);
	assert_true(figure("pirn_worker_given_up_total", "late") == 1);
	assert_true(figure("pirn_worker_running", "late") == 1);
	assert_int_equal(logged("run_given_up", "service", "late"), 1);
	/* The other place is free, the first is not: two more that sleep, and only one of them starts. */
	for (int i = 0; i < 20; i++)
		assert_int_equal(invoke("late", ""), 200);
	assert_int_equal(invoke("late", "sleep 3600000"), 504);
	wait_until(PATIENCE_MS, figure("pirn_worker_overdue", "late") == 2);
	assert_int_equal(invoke("late", "sleep 3600000"), 504); /* waits for a place, in vain */
	assert_int_equal(logged("run_given_up", NULL, NULL), 2);
	assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	/* What was given up is not waited for. */
	harness_signal(f.workers[0], SIGTERM);
	assert_int_equal(harness_wait(f.workers[0], PATIENCE_MS), 0);
	assert_int_equal(logged("drain_cut", NULL, NULL), 0);
}

/* It is run again, and what it changes is changed once (G3); what it does when its time is over, never. */
static void test_an_event_that_is_given_up(void **state)
{
	static const char *const headers[] = { "Prefer: respond-async", NULL };
	struct harness_call call = { .method = "POST", .target = "/v1/invoke/late", .body = "add", .headers = headers };
	struct harness_answer a;
	char said[64] = "";

	(void)state;
	begin(NULL);
	add_service("late", "timeout: 500ms\\nretry: { attempts: 3, base: 100ms, max: 100ms }\\n");
	call.base = f.http;
	a = harness_call(&call);
	assert_int_equal(a.status, 202);
	harness_answer_free(&a);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_broker_events_done_total", NULL) == 1);
	wait_until(PATIENCE_MS, harness_log_field(f.workers[0], "service_log", "text", said, sizeof said));
	assert_string_equal(said, "after its time: ERR_TIMEOUT");
	assert_int_equal(logged("run_given_up", "service", "late"), 1);
	assert_true(harness_metric(f.admin, "pirn_broker_events_retried_total", NULL) == 1);
	assert_true(harness_redis_says(f.redis, "1", "GET pirn:{0}:state:late:before"));
	assert_true(harness_redis_says(f.redis, "1", "GET pirn:{0}:state:late:after"));
}

/* ---- stuck ---------------------------------------------------------------------------- */

static struct harness_process *sleeper(const char *ms)
{
	char url[256];
	const char *argv[] = { "curl", "-sS", "-w", "|%{http_code}", "-X", "POST", url, NULL };

	(void)snprintf(url, sizeof url, "%s/trouble/sleep/%s", f.http, ms);
	return harness_spawn("curl", NULL, argv, NULL);
}

static void test_a_worker_that_is_stuck(void **state)
{
	static const char *const flags[] = { "--stuck-after", "200ms", "--drain", "60s", NULL };
	struct harness_process *client;

	(void)state;
	begin(flags);
	add_service("late", "timeout: 200ms\\nconcurrency: 1\\n");
	client = sleeper("5000");
	wait_until(PATIENCE_MS, figure("pirn_worker_running", "trouble") == 1);
	assert_int_equal(invoke("late", "sleep 3600000"), 504);
	assert_int_equal(harness_wait(f.workers[0], PATIENCE_MS), 4);
	assert_int_equal(logged("worker_stuck", "service", "late"), 1);
	assert_int_equal(logged("drain_cut", NULL, NULL), 0);
	/* What it could still do, it did. */
	assert_int_equal(harness_wait(client, PATIENCE_MS), 0);
	assert_true(harness_wrote(client, "{\"slept\":5000}|200"));
	harness_free(&client);
	harness_again(f.workers[0]);
	wait_until(PATIENCE_MS, invoke("late", "") == 200);
}

/* ---- a crash --------------------------------------------------------------------------- */

/* A full stack leaves no room for last words; they have a stack of their own. */
static void test_a_stack_that_is_full(void **state)
{
	char said[64] = "";

	(void)state;
	begin(NULL);
	add_service("deep", "");
	assert_int_equal(invoke("deep", "fall"), 502);
	assert_int_equal(harness_wait(f.workers[0], PATIENCE_MS), 128 + SIGSEGV);
	assert_true(harness_log_field(f.workers[0], "worker_crashed", "service", said, sizeof said));
	assert_string_equal(said, "deep");
}

/* ---- a drain's end ----------------------------------------------------------------------- */

/* Its handler runs for the n-th time, says its log; that, and no more, is what is known of the event. A
 * gauge says less: for a while it is still that of the worker before. */
static void runs_again(const char *location, unsigned attempt, bool died)
{
	struct harness_answer a;
	char expected[32];

	wait_until(PATIENCE_MS, logged("service_log", "text", "sleeps") == attempt);
	a = harness_get(f.http, location);
	(void)snprintf(expected, sizeof expected, "\"attempt\":%u,", attempt);
	if (a.status != 200 || !strstr(a.body, expected) || (strstr(a.body, "\"deaths\":1") != NULL) != died)
		fail_msg("attempt %u, died %d: %u %s", attempt, died, a.status, a.body);
	harness_answer_free(&a);
}

/* What it could not end is tried again, and nobody is blamed for it; that is for those who are killed. */
static void test_a_drain_that_is_cut_is_no_death(void **state)
{
	static const char *const flags[] = { "--drain", "100ms", NULL };
	static const char *const headers[] = { "Prefer: respond-async", NULL };
	struct harness_call call = { .method = "POST", .target = "/v1/invoke/late", .body = "sleep 3600000", .headers = headers };
	struct harness_answer a;
	char location[128];

	(void)state;
	begin(flags);
	add_service("late", "timeout: 10m\\nretry: { base: 10ms, max: 10ms }\\n");
	call.base = f.http;
	a = harness_call(&call);
	assert_int_equal(a.status, 202);
	(void)snprintf(location, sizeof location, "%s", harness_answer_header(&a, "Location"));
	harness_answer_free(&a);
	runs_again(location, 1, false);
	harness_signal(f.workers[0], SIGTERM);
	assert_int_equal(harness_wait(f.workers[0], PATIENCE_MS), 0);
	assert_int_equal(logged("drain_cut", "runs", "1"), 1);
	harness_again(f.workers[0]);
	runs_again(location, 2, false);
	harness_kill_hard(f.workers[0]);
	harness_again(f.workers[0]);
	runs_again(location, 3, true);
}

/* ---- one service and the others ---------------------------------------------------------- */

/* The calls of one sleep; those of the other are answered meanwhile. */
static void test_slow_runs_hold_up_nobody(void **state)
{
	struct harness_call call = { .method = "POST", .target = "/trouble/sleep/19000" };
	struct harness_load *load;

	(void)state;
	begin(NULL);
	call.base = f.http;
	load = harness_load_start(&call, 32);
	wait_until(PATIENCE_MS, figure("pirn_worker_running", "trouble") == 32);
	for (int i = 0; i < 50; i++)
		assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	assert_true(harness_load_ok(load) == 0);
	harness_kill_hard(f.workers[0]);
	(void)harness_load_stop(&load);
}

/* Not even when they are as many as there are threads. */
static void test_few_threads_are_shared(void **state)
{
	static const char *const flags[] = { "--max-threads", "16", NULL };
	struct harness_call call = { .method = "POST", .target = "/trouble/sleep/19000" };
	struct harness_load *load;

	(void)state;
	begin(flags);
	call.base = f.http;
	load = harness_load_start(&call, 32);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_service_waiting", "service=\"trouble\"") >= 16);
	for (int i = 0; i < 50; i++)
		assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	assert_true(harness_load_ok(load) == 0);
	assert_true(logged("threads_few", NULL, NULL) == 1);
	harness_kill_hard(f.workers[0]);
	(void)harness_load_stop(&load);
}

/* ---- memory ---------------------------------------------------------------------------- */

static void test_a_worker_that_leaks(void **state)
{
	static const char *const flags[] = { "--max-memory", "300m", NULL };
	pid_t pid;

	(void)state;
	begin(flags);
	add_service("leaky", "");
	pid = harness_pid(f.workers[0]);
	assert_int_equal(invoke("leaky", "leak 100"), 200);
	assert_int_equal(logged("worker_memory", NULL, NULL), 0);
	assert_int_equal(invoke("leaky", "leak 300"), 200);
	wait_until(PATIENCE_MS, logged("worker_restarts", NULL, NULL) == 1);
	assert_int_equal(logged("worker_memory", NULL, NULL), 1);
	wait_until(PATIENCE_MS, logged("worker_ready", NULL, NULL) == 2);
	assert_int_equal(kill(pid, 0), 0); /* the same process */
	wait_until(PATIENCE_MS, invoke("leaky", "leak 400") == 200);
	/* Again so soon: its bound is wrong, not the service. It says so and goes on. */
	wait_until(PATIENCE_MS, logged("worker_memory_low", NULL, NULL) == 1);
	assert_int_equal(invoke("leaky", ""), 200);
	assert_int_equal(logged("worker_restarts", NULL, NULL), 1);
}

/* ---- what services depend on -------------------------------------------------------------- */

static double bank(const char *name)
{
	return harness_metric(f.admin, name, "service=\"trouble\",breaker=\"bank\"");
}

static unsigned ask_bank(const char *how, bool *again)
{
	char target[64];
	struct harness_answer a;
	unsigned status;

	/* One that goes well before each, or the broker's breaker of the service opens, too. */
	assert_int_equal(harness_status(f.http, "POST", "/trouble/sleep/0", NULL), 200);
	(void)snprintf(target, sizeof target, "/trouble/bank/%s", how);
	a = harness_get(f.http, target);
	status = a.status;
	if (again)
		*again = harness_answer_header(&a, "Retry-After") != NULL;
	harness_answer_free(&a);
	return status;
}

static void test_a_breaker_of_a_service(void **state)
{
	bool again;

	(void)state;
	begin(NULL);
	wait_until(PATIENCE_MS, bank("pirn_worker_breaker_state") == 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ask_bank("fails", NULL), 500);
	wait_until(PATIENCE_MS, logged("service_breaker", "state", "open") == 1);
	wait_until(PATIENCE_MS, bank("pirn_worker_breaker_opened_total") == 1);
	/* Should the time be over by now, a probe fails, and it is open again. */
	wait_until(PATIENCE_MS, ask_bank("fails", &again) == 503 && again);
	wait_until(PATIENCE_MS, bank("pirn_worker_breaker_refused_total") >= 1);
	wait_until(PATIENCE_MS, bank("pirn_worker_breaker_state") == 2);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ask_bank("ok", NULL), 200);
	assert_int_equal(logged("service_breaker", "state", "closed"), 1);
	wait_until(PATIENCE_MS, bank("pirn_worker_breaker_state") == 0);
}

/* The documentation's example, with a server that is down, then silent, then well. */

static int server; /* what listens */

static unsigned server_port(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof at;

	server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server, (struct sockaddr *)&at, size), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&at, &size), 0);
	return ntohs(at.sin_port);
}

static void *serve(void *arg)
{
	int fd;

	while ((fd = accept(server, NULL, NULL)) >= 0) {
		(void)!write(fd, "fine\n", 5);
		close(fd);
	}
	return arg;
}

static bool is_open(void)
{
	struct harness_answer a = harness_post(f.http, "/v1/invoke/upstream", "");
	bool open = a.status == 503 && strstr(a.body, "a breaker is open");

	assert_true(open || a.status == 502);
	harness_answer_free(&a);
	return open;
}

static unsigned said(const char *state)
{
	return logged("service_breaker", "state", state);
}

static void test_the_example_with_a_breaker(void **state)
{
	char manifest[256];
	pthread_t thread;

	(void)state;
	begin(NULL);
	(void)snprintf(manifest, sizeof manifest,
	               "timeout: 400ms\\nconcurrency: 4\\nbreaker: { consecutive: 1000, calls: 10000 }\\n"
	               "env: { HOST: 127.0.0.1, PORT: \"%u\" }\\n", server_port());
	add_service_of("doc/examples/upstream.c", "upstream", manifest);
	for (int i = 0; i < 3; i++)
		assert_int_equal(invoke("upstream", ""), 502);
	wait_until(PATIENCE_MS, is_open());
	assert_true(said("open") >= 1);
	/* It listens, and says nothing: the probe ends all the same. */
	assert_int_equal(listen(server, 64), 0);
	wait_until(PATIENCE_MS, said("half-open") >= 1 && is_open() && said("open") >= 2);
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	wait_until(PATIENCE_MS, invoke("upstream", "") == 200 && said("closed") == 1);
	(void)shutdown(server, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(server);
}

/* ---- a Redis that is silent --------------------------------------------------------------- */

static double operations(void)
{
	return harness_metric(f.admin, "pirn_worker_state_operations_total", NULL);
}

static bool answers(const char *what)
{
	struct harness_answer a = harness_post(f.http, "/state", "[[\"count\",\"c\"]]");
	bool does = strstr(a.body, what) != NULL;

	harness_answer_free(&a);
	return does;
}

/* Figures come with a beat; when this call has been counted, so has all that was before it. */
static double operations_by_now(unsigned n)
{
	assert_int_equal(harness_status(f.http, "POST", "/trouble/sleep/0", NULL), 200);
	wait_until(PATIENCE_MS, figure("pirn_worker_runs_total", "trouble") == n);
	return operations();
}

/* Of many that ask at once none waits for long, and when that is known nobody waits. */
static void test_a_redis_that_is_silent(void **state)
{
	struct harness_call call = { .method = "POST", .target = "/state", .body = "[[\"add\",\"c\",1]]" };
	struct harness_load *load;
	double before;

	(void)state;
	begin(NULL);
	call.base = f.http;
	load = harness_load_start(&call, 64);
	wait_until(PATIENCE_MS, harness_load_ok(load) >= 200);
	harness_redis_pause(f.redis);
	wait_until(PATIENCE_MS, logged("redis_breaker", "state", "open") >= 1);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_worker_redis_up", NULL) == 0);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_worker_redis_breaker_state", NULL) > 0);
	(void)harness_load_stop(&load);
	/* They end before they are operations at all. */
	before = operations_by_now(1);
	for (int i = 0; i < 50; i++)
		assert_true(answers("ERR_UNAVAILABLE"));
	assert_true(operations_by_now(2) == before);
	harness_redis_resume(f.redis);
	wait_until(PATIENCE_MS, !answers("ERR_") && logged("redis_breaker", "state", "closed") >= 1);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_worker_redis_breaker_state", NULL) == 0);
}

#define WITH(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(test_a_handler_that_ignores_its_deadline),
		WITH(test_an_event_that_is_given_up),
		WITH(test_a_worker_that_is_stuck),
		WITH(test_a_stack_that_is_full),
		WITH(test_a_drain_that_is_cut_is_no_death),
		WITH(test_slow_runs_hold_up_nobody),
		WITH(test_few_threads_are_shared),
		WITH(test_a_worker_that_leaks),
		WITH(test_a_breaker_of_a_service),
		WITH(test_the_example_with_a_breaker),
		WITH(test_a_redis_that_is_silent),
	};

	return harness_main("a worker whose services do not do as they should", tests);
}
