/* A worker by itself: what it loads and what it refuses, services that come and
 * change while it runs; then in a fabric: state, lone credits, ways to end.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/fabric.h"

static char services[PATH_MAX];

/* ---- services made here ---------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
	char command[4 * PATH_MAX];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(command, sizeof command, format, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

static void write_manifest(const char *name, const char *more)
{
	shell("mkdir -p '%s/%s' && printf 'service: %s\\nhandler: it.so\\n%s' >'%s/%s/part' && mv '%s/%s/part' '%s/%s/service.yaml'",
	      services, name, name, more, services, name, services, name, services, name);
}

/* Compiled beside, then moved there, as pirn build does. */
static void write_object(const char *name, const char *flags)
{
	shell("mkdir -p '%s/%s' && ${CC:-cc} -std=c17 -D_GNU_SOURCE -Iinclude %s -fPIC -shared -o '%s/%s/part' "
	      "tests/integration/worker_variant.c && mv '%s/%s/part' '%s/%s/it.so'",
	      services, name, flags, services, name, services, name, services, name);
}

static void write_service(const char *name, const char *flags)
{
	write_object(name, flags);
	write_manifest(name, "");
}

static int new_services(void **state)
{
	(void)state;
	harness_new_dir("services", services, sizeof services);
	return 0;
}

/* A worker without broker or Redis. */
static struct harness_process *worker(void)
{
	return harness_spawn("worker", harness_dir(), (const char *const[]){ "pirn-worker", "--brokers", "ipc://none",
	        "--redis", "unix:///nonexistent", "--services", services, "--log", "json", NULL }, NULL);
}

static bool loaded(const struct harness_process *p, const char *service)
{
	return harness_log_count(p, "service_loaded", "service", service) > 0;
}

static void ends_well(struct harness_process **p)
{
	harness_signal(*p, SIGTERM);
	assert_int_equal(harness_wait(*p, PATIENCE_MS), 0);
	harness_free(p);
}

/* ---- what is refused at the start ------------------------------------------------- */

static void refuses(const char *why)
{
	struct harness_process *p = worker();
	char said[1024] = "";

	assert_int_equal(harness_wait(p, PATIENCE_MS), 1);
	(void)harness_log_field(p, "service_refused", "why", said, sizeof said);
	if (!strstr(said, why))
		print_error("expected a refusal with \"%s\", got \"%s\"\n", why, said);
	assert_non_null(strstr(said, why));
	harness_free(&p);
}

static void test_another_abi(void **state)
{
	(void)state;
	write_service("other", "-DVARIANT_OTHER_ABI");
	refuses("it.so: built for version 99 of <pirn/service.h>, this worker has version 1: build it anew");
}

static void test_no_service(void **state)
{
	(void)state;
	write_service("none", "-DVARIANT_NO_SERVICE");
	refuses("has no PIRN_SERVICE");
}

static void test_a_symbol_that_is_not_there(void **state)
{
	(void)state;
	write_service("undefined", "-DVARIANT_UNDEFINED");
	refuses("function_of_another_version");
}

static void test_no_shared_object(void **state)
{
	(void)state;
	write_manifest("text", "");
	refuses("it.so: ");
	shell("echo 'this is a text' >'%s/text/it.so'", services);
	refuses("it.so: not a shared object for this machine");
	shell(": >'%s/text/it.so'", services);
	refuses("it.so: an empty file");
}

/* Each would be a SIGBUS in the dynamic linker. */
static void test_half_a_shared_object(void **state)
{
	(void)state;
	write_service("half", "");
	shell("cd '%s/half' && size=$(stat -c %%s it.so) && truncate -s $((size - 100)) it.so", services);
	refuses("it.so: a shared object that is cut short");
	shell("cd '%s/half' && truncate -s 5000 it.so", services);
	refuses("it.so: a shared object that is cut short");
	shell("cd '%s/half' && truncate -s 40 it.so", services);
	refuses("it.so: not a shared object for this machine");
}

static void test_an_init_that_fails(void **state)
{
	(void)state;
	write_service("unwilling", "-DVARIANT_INIT_FAILS");
	refuses("init returned 1");
}

static void test_a_missing_secret(void **state)
{
	(void)state;
	write_object("secretive", "");
	write_manifest("secretive", "secrets:\\n  KEY: key.txt\\n");
	refuses("secretive/key.txt: not found");
}

static void test_a_bad_manifest(void **state)
{
	(void)state;
	write_object("bad", "");
	write_manifest("bad", "timeuot: 5s\\n");
	refuses("bad/service.yaml:3:1: ");
}

static void test_two_of_a_name(void **state)
{
	(void)state;
	write_service("twin", "");
	shell("cp -r '%s/twin' '%s/zwin'", services, services);
	refuses("service twin is carried already");
}

/* ---- what comes and changes while it runs ------------------------------------------- */

static void test_services_that_come_later(void **state)
{
	struct harness_process *p;

	(void)state;
	write_service("first", "");
	p = worker();
	wait_until(PATIENCE_MS, loaded(p, "first"));
	write_service("second", "");
	wait_until(PATIENCE_MS, loaded(p, "second"));
	write_manifest("third", "concurrency: many\\n");
	wait_until(PATIENCE_MS, harness_logged(p, "service_refused"));
	write_manifest("third", "");
	wait_until(PATIENCE_MS, harness_log_count(p, "service_refused", NULL, NULL) == 2); /* no object yet */
	write_object("third", "");
	wait_until(PATIENCE_MS, loaded(p, "third"));
	assert_int_equal(harness_log_count(p, "service_loaded", NULL, NULL), 3);
	assert_int_equal(harness_log_count(p, "worker_restarts", NULL, NULL), 0);
	ends_well(&p);
}

static void test_a_folder_that_comes_later(void **state)
{
	struct harness_process *p;

	(void)state;
	shell("rmdir '%s'", services);
	p = worker();
	wait_until(PATIENCE_MS, harness_logged(p, "services_missing"));
	write_service("late", "");
	wait_until(PATIENCE_MS, loaded(p, "late"));
	ends_well(&p);
}

static void test_a_service_that_changes(void **state)
{
	char before[64], after[64];
	struct harness_process *p;
	pid_t pid;

	(void)state;
	write_service("changing", "-DANSWER='\"one\"'");
	p = worker();
	pid = harness_pid(p);
	wait_until(PATIENCE_MS, loaded(p, "changing"));
	assert_true(harness_log_field(p, "service_loaded", "version", before, sizeof before));
	write_object("changing", "-DANSWER='\"two\"'");
	wait_until(PATIENCE_MS, harness_wrote(p, "init of two"));
	assert_true(harness_wrote(p, "fini of one"));
	wait_until(PATIENCE_MS, harness_log_count(p, "service_loaded", NULL, NULL) == 2);
	assert_true(harness_log_field(p, "service_loaded", "version", after, sizeof after));
	assert_string_not_equal(before, after);
	assert_int_equal(harness_log_count(p, "worker_restarts", NULL, NULL), 1);
	assert_int_equal(kill(pid, 0), 0); /* the same process */
	ends_well(&p);
}

/* What cannot be loaded does not end what runs. */
static void test_a_change_for_the_worse(void **state)
{
	struct harness_process *p;

	(void)state;
	write_service("steady", "");
	p = worker();
	wait_until(PATIENCE_MS, loaded(p, "steady"));
	write_manifest("steady", "concurrency: 0\\n");
	wait_until(PATIENCE_MS, harness_log_count(p, "service_refused", NULL, NULL) == 1);
	write_manifest("steady", "");
	shell("cd '%s/steady' && cp it.so part && truncate -s 6000 part && mv part it.so", services);
	wait_until(PATIENCE_MS, harness_log_count(p, "service_refused", NULL, NULL) == 2);
	assert_int_equal(harness_log_count(p, "worker_restarts", NULL, NULL), 0);
	assert_true(harness_is_running(p));
	ends_well(&p);
}

static void test_carry(void **state)
{
	struct harness_process *p;

	(void)state;
	write_service("one", "");
	write_service("two", "");
	write_service("three", "-DVARIANT_OTHER_ABI");
	p = harness_spawn("worker", harness_dir(), (const char *const[]){ "pirn-worker", "--brokers", "ipc://none", "--redis",
	        "unix:///nonexistent", "--services", services, "--carry", "one, two,four", "--log", "json", NULL }, NULL);
	wait_until(PATIENCE_MS, loaded(p, "one") && loaded(p, "two"));
	assert_int_equal(harness_log_count(p, "service_missing", "service", "four"), 1);
	assert_false(harness_logged(p, "service_refused"));
	ends_well(&p);
}

/* Whether this system lets a process be of that kind, and we are what a worker takes for usual. */
static bool may_give_way(void)
{
	struct sched_param none = { 0 };
	bool may = sched_getscheduler(0) == SCHED_OTHER && sched_setscheduler(0, SCHED_BATCH, &none) == 0;

	if (may)
		assert_int_equal(sched_setscheduler(0, SCHED_OTHER, &none), 0);
	return may;
}

static void test_its_threads_give_way(void **state)
{
	struct harness_process *p;

	(void)state;
	if (!may_give_way())
		skip();
	write_service("one", "");
	p = worker();
	wait_until(PATIENCE_MS, loaded(p, "one"));
	assert_int_equal(sched_getscheduler(harness_pid(p)), SCHED_BATCH);
	ends_well(&p);
}

static void test_wrong_settings(void **state)
{
	static const char *const wrong[][2] = { { "--brokers", "udp://x" }, { "--redis", "http://x" }, { "--threads", "0" },
		{ "--drain", "soon" }, { "--nonsense", "1" } };

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		const char *argv[] = { "pirn-worker", "--services", services, wrong[i][0], wrong[i][1], NULL };

		assert_int_equal(harness_run("worker", harness_dir(), argv, NULL, NULL), 2);
	}
}

/* ---- in a fabric -------------------------------------------------------------------- */

static struct fabric f = { .n_brokers = 2, .n_workers = 1 };

static int set_up(void **state)
{
	static const char *const flags[] = { "--drain", "60s", NULL };

	(void)state;
	f.worker_flags = flags;
	fabric_start(&f);
	(void)snprintf(services, sizeof services, "%s", f.services_dir);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

static void expect(const char *target, const char *body, unsigned status, const char *answer)
{
	struct harness_answer a = body ? harness_post(f.http, target, body) : harness_get(f.http, target);

	assert_int_equal(a.status, status);
	if (answer)
		assert_string_equal(a.body, answer);
	harness_answer_free(&a);
}

static void test_state(void **state)
{
	(void)state;
	expect("/state", "[[\"count\",\"c\"],[\"add\",\"c\",5],[\"add\",\"c\",-7],[\"count\",\"c\"]]", 200, "[0,5,-2,-2]");
	expect("/state", "[[\"add\",\"m\",9223372036854775807],[\"add\",\"m\",1],[\"count\",\"m\"]]", 200,
	       "[9223372036854775807,{\"error\":\"ERR_OVERFLOW\"},9223372036854775807]");
	expect("/state", "[[\"get\",\"k\"],[\"set\",\"k\",\"v\"],[\"get\",\"k\"],[\"drop\",\"k\"],[\"drop\",\"k\"],[\"get\",\"k\"]]", 200,
	       "[{\"error\":\"ERR_NOT_FOUND\"},null,\"v\",true,false,{\"error\":\"ERR_NOT_FOUND\"}]");
	expect("/state", "[[\"swap\",\"s\",null,\"a\"],[\"swap\",\"s\",null,\"b\"],[\"swap\",\"s\",\"x\",\"b\"],[\"swap\",\"s\",\"a\",\"b\"],[\"get\",\"s\"]]",
	       200, "[null,{\"error\":\"ERR_MISMATCH\"},{\"error\":\"ERR_MISMATCH\"},null,\"b\"]");
	expect("/state", "[[\"hset\",\"h\",\"a\",\"1\"],[\"hadd\",\"h\",\"n\",4],[\"hget\",\"h\",\"a\"],[\"hget\",\"h\",\"z\"],[\"hall\",\"h\"],"
	                 "[\"hdrop\",\"h\",\"a\"],[\"hdrop\",\"h\",\"a\"],[\"hall\",\"h\"],[\"hall\",\"none\"]]", 200,
	       "[null,4,\"1\",{\"error\":\"ERR_NOT_FOUND\"},{\"a\":\"1\",\"n\":\"4\"},true,false,{\"n\":\"4\"},{}]");
	expect("/state", "[[\"add\",\"h\",1],[\"add\",\"\",1],[\"count\",\"k2\"],[\"set\",\"k2\",\"x\"],[\"count\",\"k2\"],[\"nonsense\"]]", 200,
	       "[{\"error\":\"ERR_TYPE\"},{\"error\":\"ERR_INVALID\"},0,null,{\"error\":\"ERR_TYPE\"},{\"error\":\"ERR_INVALID\"}]");
	expect("/state", "[[\"set\",\"brief\",\"x\",1]]", 200, "[null]");
	wait_until(PATIENCE_MS, harness_status(f.http, NULL, "/state", "[[\"drop\",\"brief\"]]") == 200);
	expect("/state", "[[\"drop\",\"brief\"]]", 200, "[false]");
}

/* One run at a time, two brokers that both have callers: nobody starves, and never two at once. */
static void test_a_lone_credit_serves_two_brokers(void **state)
{
	const struct harness_call call = { .base = f.http, .method = "POST", .target = "/v1/invoke/lone" };
	struct harness_load *load;
	struct harness_load_counts counts;
	struct harness_answer a;

	(void)state;
	write_object("lone", "");
	write_manifest("lone", "concurrency: 1\\nqueue: { target: 1m }\\n"); /* nobody is to be refused for waiting */
	wait_until(PATIENCE_MS, harness_status(f.http, "POST", "/v1/invoke/lone", NULL) == 200);
	load = harness_load_start(&call, 8);
	wait_until(PATIENCE_MS, harness_load_ok(load) >= 200);
	counts = harness_load_stop(&load);
	if (counts.failed)
		print_error("%llu failed; the first: %s\n", (unsigned long long)counts.failed, counts.first);
	assert_int_equal(counts.failed, 0);
	a = harness_post(f.http, "/v1/invoke/lone", "");
	assert_string_equal(a.body, "{\"answer\":\"one\",\"most\":1}");
	harness_answer_free(&a);
}

static struct harness_process *sleeper(const char *ms)
{
	char url[256];
	const char *argv[] = { "curl", "-sS", "-w", "|%{http_code}", "-X", "POST", url, NULL };

	(void)snprintf(url, sizeof url, "%s/trouble/sleep/%s", f.http, ms);
	return harness_spawn("curl", NULL, argv, NULL);
}

static double running(void)
{
	return harness_metric(f.admin, "pirn_worker_running", "service=\"trouble\"");
}

static void back_again(void)
{
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "trouble") == 0);
	harness_again(f.workers[0]);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "trouble") == 1);
}

static unsigned logged(const char *id, const char *service)
{
	return harness_log_count(f.workers[0], id, service ? "service" : NULL, service);
}

/* Withdrawn, without a restart; it may come back. */
static void test_a_service_that_goes(void **state)
{
	unsigned restarts = logged("worker_restarts", NULL);

	(void)state;
	write_service("passing", "");
	wait_until(PATIENCE_MS, harness_status(f.http, "POST", "/v1/invoke/passing", NULL) == 200);
	shell("rm -r '%s/passing'", services);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "passing") == 0);
	/* Calls wait for a while for one that might be back at once. */
	wait_until(PATIENCE_MS, harness_status(f.http, "POST", "/v1/invoke/passing", NULL) == 503);
	assert_int_equal(logged("service_withdrawn", "passing"), 1);
	assert_int_equal(logged("service_withdrawn", NULL), 1);
	assert_int_equal(harness_status(f.http, NULL, "/hello", NULL), 200);
	assert_int_equal(logged("worker_restarts", NULL), restarts);
	write_service("passing", "");
	wait_until(PATIENCE_MS, harness_status(f.http, "POST", "/v1/invoke/passing", NULL) == 200);
	assert_int_equal(logged("worker_restarts", NULL), restarts + 1);
}

/* What runs of it ends; the same service in another folder takes its place. */
static void test_a_folder_of_another_name(void **state)
{
	struct harness_process *client = sleeper("4000");
	char renamed[PATH_MAX + 16];

	(void)state;
	wait_until(PATIENCE_MS, running() == 1);
	(void)snprintf(renamed, sizeof renamed, "%s/renamed", services);
	shell("mv '%s/trouble' '%s'", services, renamed);
	assert_int_equal(harness_wait(client, PATIENCE_MS), 0);
	assert_true(harness_wrote(client, "{\"slept\":4000}|200"));
	harness_free(&client);
	wait_until(PATIENCE_MS, harness_log_count(f.workers[0], "service_loaded", "folder", renamed) == 1);
	assert_int_equal(logged("service_withdrawn", "trouble"), 1);
	wait_until(PATIENCE_MS, harness_status(f.http, "POST", "/trouble/sleep/1", NULL) == 200);
	shell("mv '%s' '%s/trouble'", renamed, services);
	wait_until(PATIENCE_MS, logged("service_withdrawn", "trouble") == 2);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "trouble") == 1);
	wait_until(PATIENCE_MS, harness_status(f.http, "POST", "/trouble/sleep/1", NULL) == 200);
}

static void test_a_drain_finishes_what_runs(void **state)
{
	struct harness_process *client;

	(void)state;
	client = sleeper("3000");
	wait_until(PATIENCE_MS, running() == 1);
	harness_signal(f.workers[0], SIGTERM);
	assert_int_equal(harness_wait(f.workers[0], PATIENCE_MS), 0);
	assert_int_equal(harness_wait(client, PATIENCE_MS), 0);
	assert_true(harness_wrote(client, "{\"slept\":3000}|200"));
	harness_free(&client);
	back_again();
}

static void test_a_second_signal_ends_at_once(void **state)
{
	unsigned before = harness_log_count(f.workers[0], "worker_drains", NULL, NULL);
	struct harness_process *client;

	(void)state;
	client = sleeper("15000");
	wait_until(PATIENCE_MS, running() == 1);
	harness_signal(f.workers[0], SIGTERM);
	wait_until(PATIENCE_MS, harness_log_count(f.workers[0], "worker_drains", NULL, NULL) > before);
	harness_signal(f.workers[0], SIGTERM);
	assert_int_equal(harness_wait(f.workers[0], 10000), 1);
	assert_int_equal(harness_wait(client, PATIENCE_MS), 0);
	assert_true(harness_wrote(client, "|502"));
	harness_free(&client);
	back_again();
}

static void test_a_crash_is_told(void **state)
{
	char service[64];

	(void)state;
	expect("/trouble/crash", "", 502, NULL);
	assert_true(harness_wait(f.workers[0], PATIENCE_MS) > 128);
	assert_true(harness_log_field(f.workers[0], "worker_crashed", "service", service, sizeof service));
	assert_string_equal(service, "trouble");
	back_again();
}

static void test_a_drain_has_an_end(void **state)
{
	static const char *const flags[] = { "--drain", "100ms", NULL };
	struct harness_process *client;

	(void)state;
	harness_kill_hard(f.workers[0]);
	harness_free(&f.workers[0]);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "trouble") == 0);
	f.worker_flags = flags;
	fabric_add_worker(&f, 0);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "trouble") == 1);
	client = sleeper("15000");
	wait_until(PATIENCE_MS, running() == 1);
	harness_signal(f.workers[0], SIGTERM);
	assert_int_equal(harness_wait(f.workers[0], 10000), 0); /* as it was told */
	assert_true(harness_logged(f.workers[0], "drain_cut"));
	assert_int_equal(harness_wait(client, PATIENCE_MS), 0);
	assert_true(harness_wrote(client, "|502"));
	harness_free(&client);
}

#define ALONE(name) cmocka_unit_test_setup(name, new_services)

int main(void)
{
	const struct CMUnitTest alone[] = {
		ALONE(test_another_abi),
		ALONE(test_no_service),
		ALONE(test_a_symbol_that_is_not_there),
		ALONE(test_no_shared_object),
		ALONE(test_half_a_shared_object),
		ALONE(test_an_init_that_fails),
		ALONE(test_a_missing_secret),
		ALONE(test_a_bad_manifest),
		ALONE(test_two_of_a_name),
		ALONE(test_services_that_come_later),
		ALONE(test_a_folder_that_comes_later),
		ALONE(test_a_service_that_changes),
		ALONE(test_a_change_for_the_worse),
		ALONE(test_carry),
		ALONE(test_its_threads_give_way),
		ALONE(test_wrong_settings),
	};
	const struct CMUnitTest together[] = {
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_a_lone_credit_serves_two_brokers),
		cmocka_unit_test(test_a_service_that_goes),
		cmocka_unit_test(test_a_folder_of_another_name),
		cmocka_unit_test(test_a_drain_finishes_what_runs),
		cmocka_unit_test(test_a_second_signal_ends_at_once),
		cmocka_unit_test(test_a_crash_is_told),
		cmocka_unit_test(test_a_drain_has_an_end),
	};
	int failed = cmocka_run_group_tests_name("a worker alone", alone, NULL, NULL);

	return harness_finish(failed + cmocka_run_group_tests_name("a worker in a fabric", together, set_up, tear_down));
}
