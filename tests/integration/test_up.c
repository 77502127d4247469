/* `pirn up` from outside: one clear line for what is wrong, no orphan whatever
 * happens, children that come back, several of it side by side. */
#include <errno.h>
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
#include <jansson.h>

#include "tests/harness/http.h"
#include "tests/harness/up.h"
#include "tests/harness/wait.h"

/* The one child of that name; fails when there is none. */
static pid_t child(const struct up *u, const char *name)
{
	pid_t pid = harness_child_named(harness_pid(u->process), name);

	assert_true(pid > 0);
	return pid;
}

static void test_processes_are_named_for_what_they_are(void **state)
{
	struct up u = { 0 };

	(void)state;
	up_start(&u, (const char *const[]){
			     "--workers", "3", "--brokers", "2", "--gateways", "2", NULL });
	child(&u, "redis-server");
	child(&u, "pirn-broker");
	child(&u, "pirn-worker");
	child(&u, "pirn-gateway");
	assert_int_equal(harness_children(harness_pid(u.process)), 1 + 2 + 3 + 2);
	for (int i = 0; i < 20; i++) /* ready are all of them, whoever accepts */
		assert_int_equal(harness_status(u.http, NULL, "/hello", NULL), 200);
	assert_int_equal(harness_status(u.admin, NULL, "/metrics", NULL), 200);
	up_stop(&u);
}

/* Nobody can ask them from outside, but `pirn up` waits for each, and for the services, all the same. */
static void test_several_gateways_without_administration(void **state)
{
	struct up u = { 0 };
	char text[100], url[128];

	(void)state;
	up_spawn(&u, (const char *const[]){ "--admin", "off", "--gateways", "3", NULL });
	wait_until(UP_MS, harness_logged(u.process, "up_ready"));
	assert_int_equal(harness_log_count(u.process, "service_missing", NULL, NULL), 0);
	assert_int_equal(harness_log_count(u.process, "gateway_ready", NULL, NULL), 3);
	assert_true(harness_log_field(u.process, "up_ready", "admin", text, sizeof text));
	assert_string_equal(text, "null");
	assert_true(harness_log_field(u.process, "up_ready", "http", text, sizeof text));
	(void)snprintf(url, sizeof url, "http://%s", text);
	for (int i = 0; i < 30; i++)
		assert_int_equal(harness_status(url, NULL, "/hello", NULL), 200);
	up_stop(&u);
}

static uint64_t line_of(const struct harness_process *p, const char *id, const char *child_name)
{
	char *output = harness_output(p);
	uint64_t at = 0;
	uint64_t line = 0;
	char *rest = NULL;

	for (char *text = strtok_r(output, "\n", &rest); text; text = strtok_r(NULL, "\n", &rest)) {
		json_t *entry = json_loads(text, 0, NULL);
		const char *entry_id = json_string_value(json_object_get(entry, "id"));
		const char *name = json_string_value(json_object_get(entry, "child"));

		line++;
		if (entry_id && name && strcmp(entry_id, id) == 0 && strcmp(name, child_name) == 0)
			at = line;
		json_decref(entry);
	}
	free(output);
	assert_true(at > 0);
	return at;
}

static void test_sigterm_ends_all_in_order(void **state)
{
	struct up u = { 0 };

	(void)state;
	up_start(&u, NULL);
	harness_signal(u.process, SIGTERM);
	assert_int_equal(harness_wait(u.process, UP_MS), 0);
	assert_int_equal(harness_working_in(u.data), 0);
	assert_true(line_of(u.process, "child_started", "redis") <
		    line_of(u.process, "child_started", "broker-1"));
	assert_true(line_of(u.process, "child_started", "broker-1") <
		    line_of(u.process, "child_started", "worker-1"));
	assert_true(line_of(u.process, "child_started", "worker-2") <
		    line_of(u.process, "child_started", "gateway-1"));
	assert_true(line_of(u.process, "child_ended", "gateway-1") <
		    line_of(u.process, "child_ended", "worker-1"));
	assert_true(line_of(u.process, "child_ended", "worker-2") <
		    line_of(u.process, "child_ended", "broker-1"));
	assert_true(line_of(u.process, "child_ended", "broker-1") <
		    line_of(u.process, "child_ended", "redis"));
	assert_false(harness_logged(u.process, "child_killed"));
	assert_int_equal(harness_log_count(u.process, "child_ended", "exit", "0"), 5);
}

static void test_ctrl_c_ends_it_too(void **state)
{
	struct up u = { 0 };

	(void)state;
	up_start(&u, NULL);
	harness_signal(u.process, SIGINT);
	assert_int_equal(harness_wait(u.process, UP_MS), 0);
	assert_int_equal(harness_working_in(u.data), 0);
}

static void test_a_second_signal_ends_it_at_once(void **state)
{
	struct up u = { 0 };
	pid_t gateway;

	(void)state;
	up_start(&u, (const char *const[]){ "--drain", "10m", NULL });
	gateway = child(&u, "pirn-gateway");
	assert_int_equal(kill(gateway, SIGSTOP), 0); /* it will not end by itself */
	harness_signal(u.process, SIGTERM);
	wait_until(UP_MS, harness_logged(u.process, "up_stopping"));
	harness_signal(u.process, SIGTERM);
	assert_int_equal(harness_wait(u.process, UP_MS), 0);
	assert_int_equal(harness_working_in(u.data), 0);
	assert_int_equal(harness_log_count(u.process, "child_killed", "child", "gateway-1"), 1);
}

static void test_a_child_that_hangs_is_killed_within_the_drain(void **state)
{
	struct up u = { 0 };
	pid_t gateway;

	(void)state;
	up_start(&u, (const char *const[]){ "--drain", "1600ms", NULL });
	gateway = child(&u, "pirn-gateway");
	assert_int_equal(kill(gateway, SIGSTOP), 0);
	harness_signal(u.process, SIGTERM);
	assert_int_equal(harness_wait(u.process, UP_MS), 0);
	assert_int_equal(harness_log_count(u.process, "child_killed", "child", "gateway-1"), 1);
	assert_int_equal(harness_working_in(u.data), 0);
}

static void test_a_killed_supervisor_leaves_no_orphan(void **state)
{
	struct up u = { 0 };

	(void)state;
	up_start(&u, (const char *const[]){ "--gateways", "2", NULL });
	harness_kill_hard(u.process);
	wait_until(UP_MS, harness_working_in(u.data) == 0);
	/* and the same data can be used again at once */
	harness_again(u.process);
	up_wait_ready(&u, 2);
	assert_int_equal(harness_status(u.http, NULL, "/hello", NULL), 200);
	up_stop(&u);
}

static void comes_back(struct up *u, const char *program, const char *name)
{
	pid_t before = child(u, program);
	unsigned starts = harness_log_count(u->process, "child_started", "child", name);

	assert_int_equal(kill(before, SIGKILL), 0);
	wait_until(
		UP_MS, harness_log_count(u->process, "child_started", "child", name) == starts + 1);
	assert_int_equal(harness_log_count(u->process, "child_died", "child", name), starts);
	wait_until(UP_MS, harness_status(u->http, NULL, "/hello", NULL) == 200);
	wait_until(UP_MS, harness_status(u->http, "POST", "/counter", "{\"increment\":0}") == 200);
}

static void test_a_child_that_dies_comes_back(void **state)
{
	struct up u = { 0 };

	(void)state;
	up_start(&u, (const char *const[]){ "--workers", "1", NULL });
	comes_back(&u, "pirn-gateway", "gateway-1");
	comes_back(&u, "pirn-worker", "worker-1");
	comes_back(&u, "pirn-broker", "broker-1");
	comes_back(&u, "redis-server", "redis");
	assert_int_equal(harness_log_count(u.process, "child_died", "signal", "9"), 4);
	up_stop(&u);
}

static void test_two_run_side_by_side(void **state)
{
	struct up one = { 0 };
	struct up two = { 0 };
	struct harness_answer a;

	(void)state;
	up_spawn(&one, NULL);
	up_spawn(&two, NULL);
	up_wait_ready(&one, 1);
	up_wait_ready(&two, 1);
	assert_string_not_equal(one.http, two.http);
	for (int i = 1; i <= 2; i++) {
		a = harness_post(one.http, "/counter", "{\"increment\":1}");
		assert_int_equal(a.status, 200);
		harness_answer_free(&a);
	}
	a = harness_post(two.http, "/counter", "{\"increment\":1}");
	assert_string_equal(a.body, "{\"counter\":1}");
	harness_answer_free(&a);
	up_stop(&one);
	assert_int_equal(harness_status(two.http, NULL, "/counter", NULL), 200);
	up_stop(&two);
}

/* ---- what is wrong is one line --------------------------------------------------- */

static unsigned count_lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

/* Runs it to its end: that exit status, one line, which holds the words. */
static void refuses(const char *const *argv, int status, const char *words)
{
	struct harness_process *p = NULL;
	char *output;

	assert_int_equal(harness_run("refused", NULL, argv, NULL, &p), status);
	output = harness_output(p);
	if (count_lines(output) != 1 || !strstr(output, words))
		print_error("expected one line with \"%s\", got: %s\n", words, output);
	assert_int_equal(count_lines(output), 1);
	assert_non_null(strstr(output, words));
	free(output);
}

static void test_a_port_in_use(void **state)
{
	struct up u = { 0 };
	char data[PATH_MAX];
	char redis[PATH_MAX + 16];

	(void)state;
	up_start(&u, NULL);
	harness_new_dir("data", data, sizeof data);
	refuses((const char *const[]){ "pirn", "up", "--data", data, "--http", u.http + 7,
			"--admin", "127.0.0.1:0", NULL },
		1, "in use");
	refuses((const char *const[]){ "pirn", "up", "--data", data, "--admin", u.admin + 7,
			"--http", "127.0.0.1:0", NULL },
		1, "in use");
	(void)snprintf(redis, sizeof redis, "%s/run/redis.sock", data);
	assert_int_equal(access(redis, F_OK), -1); /* nothing was started */
	up_stop(&u);
}

static void test_data_in_use(void **state)
{
	struct up u = { 0 };
	char pid[32];

	(void)state;
	up_start(&u, NULL);
	(void)snprintf(pid, sizeof pid, "(pid %d)", (int)harness_pid(u.process));
	refuses((const char *const[]){ "pirn", "up", "--data", u.data, "--http", "127.0.0.1:0",
			"--admin", "127.0.0.1:0", NULL },
		1, pid);
	assert_int_equal(harness_status(u.http, NULL, "/hello", NULL), 200);
	up_stop(&u);
}

static void write_file(const char *folder, const char *name, const char *text)
{
	char path[2 * PATH_MAX];
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void test_wrong_settings(void **state)
{
	char data[PATH_MAX];
	char deep[PATH_MAX] = "";
	char services[PATH_MAX];
	char folder[PATH_MAX + 8];

	(void)state;
	harness_new_dir("data", data, sizeof data);
	refuses((const char *const[]){ "pirn", "up", "--workerz", "2", NULL }, 2, "workers");
	refuses((const char *const[]){ "pirn", "up", "--workers", "many", NULL }, 2, "many");
	refuses((const char *const[]){ "pirn", "up", "--workers", "0", NULL }, 2, "--workers");
	refuses((const char *const[]){ "pirn", "up", "--http", "nonsense", NULL }, 2, "nonsense");
	refuses((const char *const[]){ "pirn", "up", "--admin", "nonsense", NULL }, 2, "nonsense");
	refuses((const char *const[]){ "pirn", "up", "extra", NULL }, 2, "extra");
	refuses((const char *const[]){ "pirn", "up", "--data", data, "--services",
			"/nowhere/at/all", NULL },
		1, "/nowhere/at/all");
	refuses((const char *const[]){ "pirn", "up", "--data", data, "--redis-server",
			"no-such-redis", NULL },
		1, "no-such-redis");
	refuses((const char *const[]){ "pirn", "up", "--data", "/proc/pirn", NULL }, 1,
		"/proc/pirn");
	refuses((const char *const[]){ "pirn", "up", "--data", data, "--http", "127.0.0.1:0",
			"--admin", "127.0.0.1:0", "--redis", "redis://127.0.0.1:1", NULL },
		1, "--redis");
	refuses((const char *const[]){ "pirn", "up", "--data", data, "--http", "127.0.0.1:0",
			"--admin", "127.0.0.1:0", "--redis", "http://127.0.0.1", NULL },
		2, "--redis");
	(void)snprintf(deep, sizeof deep, "%.200s/%0120d", data, 0);
	refuses((const char *const[]){ "pirn", "up", "--data", deep, "--http", "127.0.0.1:0",
			"--admin", "127.0.0.1:0", NULL },
		1, "too long");
	harness_new_dir("services", services, sizeof services);
	(void)snprintf(folder, sizeof folder, "%s/bad", services);
	assert_int_equal(mkdir(folder, 0755), 0);
	write_file(folder, "service.yaml", "service: bad\nhandler: bad.so\ntimeout: 5 parsecs\n");
	refuses((const char *const[]){ "pirn", "up", "--data", data, "--http", "127.0.0.1:0",
			"--admin", "127.0.0.1:0", "--services", services, NULL },
		1, "/bad/service.yaml:3:10: ");
}

/* What only shows when it runs: all is ended again, and it is said who was to blame. */
static void fails_to_start(struct up *u, const char *words)
{
	up_spawn(u, NULL);
	assert_int_equal(harness_wait(u->process, UP_MS), 1);
	if (!harness_wrote(u->process, words))
		print_error("expected \"%s\"\n", words);
	assert_true(harness_wrote(u->process, words));
	assert_int_equal(harness_working_in(u->data), 0);
}

static void test_a_service_that_cannot_be_loaded(void **state)
{
	struct up u = { 0 };
	char folder[PATH_MAX + 8];

	(void)state;
	harness_new_dir("services", u.services, sizeof u.services);
	(void)snprintf(folder, sizeof folder, "%s/bad", u.services);
	assert_int_equal(mkdir(folder, 0755), 0);
	write_file(folder, "service.yaml", "service: bad\nhandler: bad.so\n");
	write_file(folder, "bad.so", "not a shared object\n");
	fails_to_start(&u, "pirn up: worker-");
}

/* Several that cannot be started: none of them is there to be signalled, and pid 0 would be everybody in
 * our own group, whoever started us included. */
static void test_programs_that_cannot_be_started(void **state)
{
	static const char script[] =
		"trap 'echo somebody-signalled-the-group' TERM\n"
		"mkdir bin && cp \"$1\"/pirn* bin && echo none >bin/pirn-gateway || exit 9\n"
		"bin/pirn up --http 127.0.0.1:0 --admin 127.0.0.1:0 --data data --services \"$2\" "
		"--gateways 3\n"
		"echo it-ended-with-$?\n";
	char folder[PATH_MAX], services[PATH_MAX], pirn[PATH_MAX];
	struct harness_process *p;

	(void)state;
	harness_new_dir("broken", folder, sizeof folder);
	harness_program("pirn", pirn, sizeof pirn);
	*strrchr(pirn, '/') = '\0';
	p = harness_spawn("broken", folder,
		(const char *const[]){ "/bin/sh", "-c", script, "sh", pirn,
			harness_build("services", services, sizeof services), NULL },
		NULL);
	assert_int_equal(harness_wait(p, UP_MS), 0);
	assert_true(harness_wrote(p, "child_not_started"));
	assert_true(harness_wrote(p, "it-ended-with-1"));
	assert_false(harness_wrote(p, "somebody-signalled-the-group"));
	assert_int_equal(harness_working_in(folder), 0);
}

static void test_a_redis_that_refuses_its_files(void **state)
{
	struct up u = { 0 };
	char folder[PATH_MAX + 32];

	(void)state;
	harness_new_dir("data", u.data, sizeof u.data);
	(void)snprintf(folder, sizeof folder, "%s/redis", u.data);
	assert_int_equal(mkdir(folder, 0755), 0);
	(void)snprintf(folder, sizeof folder, "%s/redis/appendonlydir", u.data);
	assert_int_equal(mkdir(folder, 0755), 0);
	write_file(folder, "appendonly.aof.manifest", "nonsense\n");
	fails_to_start(&u, "pirn up: redis-server ended with exit status 1");
}

static void test_a_redis_of_somebody_elses(void **state)
{
	struct up first = { 0 };
	struct up u = { 0 };
	char url[PATH_MAX + 32];
	struct harness_answer a;

	(void)state;
	up_start(&first, NULL);
	(void)snprintf(url, sizeof url, "unix://%s/run/redis.sock", first.data);
	up_start(&u, (const char *const[]){ "--redis", url, NULL });
	assert_int_equal(harness_child_named(harness_pid(u.process), "redis-server"), 0);
	a = harness_post(first.http, "/counter", "{\"increment\":5}");
	assert_string_equal(a.body, "{\"counter\":5}");
	harness_answer_free(&a);
	a = harness_get(u.http, "/counter");
	assert_string_equal(a.body, "{\"counter\":5}");
	harness_answer_free(&a);
	up_stop(&u);
	up_stop(&first);
}

static void test_people_get_three_lines_to_paste(void **state)
{
	char data[PATH_MAX];
	struct harness_process *p;

	(void)state;
	harness_new_dir("data", data, sizeof data);
	p = harness_spawn("people", NULL,
		(const char *const[]){ "pirn", "up", "--data", data, "--http", "127.0.0.1:0",
			"--admin", "127.0.0.1:0", NULL },
		NULL);
	wait_until(UP_MS, harness_wrote(p, "Ctrl-C"));
	assert_true(harness_wrote(p, "Pirn is up."));
	assert_true(harness_wrote(p, "/hello?name=World'"));
	assert_true(harness_wrote(
		p, "/counter -H 'Content-Type: application/json' -d '{\"increment\":1}'"));
	assert_true(harness_wrote(p, "/v1/invoke/echo"));
	assert_false(harness_wrote(p, "\033["));
	harness_signal(p, SIGTERM);
	assert_int_equal(harness_wait(p, UP_MS), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_processes_are_named_for_what_they_are),
		cmocka_unit_test(test_several_gateways_without_administration),
		cmocka_unit_test(test_sigterm_ends_all_in_order),
		cmocka_unit_test(test_ctrl_c_ends_it_too),
		cmocka_unit_test(test_a_second_signal_ends_it_at_once),
		cmocka_unit_test(test_a_child_that_hangs_is_killed_within_the_drain),
		cmocka_unit_test(test_a_killed_supervisor_leaves_no_orphan),
		cmocka_unit_test(test_a_child_that_dies_comes_back),
		cmocka_unit_test(test_two_run_side_by_side),
		cmocka_unit_test(test_a_port_in_use),
		cmocka_unit_test(test_data_in_use),
		cmocka_unit_test(test_wrong_settings),
		cmocka_unit_test(test_a_service_that_cannot_be_loaded),
		cmocka_unit_test(test_programs_that_cannot_be_started),
		cmocka_unit_test(test_a_redis_that_refuses_its_files),
		cmocka_unit_test(test_a_redis_of_somebody_elses),
		cmocka_unit_test(test_people_get_three_lines_to_paste),
	};

	return harness_main("up", tests);
}
