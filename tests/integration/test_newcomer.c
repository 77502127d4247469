/* What a newcomer does, and sees: the lines of the README, against `pirn up`. */
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

static struct up u;

static int set_up(void **state)
{
	(void)state;
	harness_new_dir("services", u.services, sizeof u.services);
	return 0;
}

/* The program's own services, copied: the test adds to them. */
static void copy_services(void)
{
	char from[PATH_MAX];
	char command[3 * PATH_MAX];

	harness_build("services", from, sizeof from);
	(void)snprintf(command, sizeof command, "cp -r '%s/.' '%s'", from, u.services);
	assert_int_equal(system(command), 0);
}

static void test_it_starts(void **state)
{
	(void)state;
	copy_services();
	up_start(&u, NULL);
}

static void expect(struct harness_answer a, unsigned status, const char *body)
{
	if (a.status != status || strcmp(a.body, body) != 0)
		print_error(
			"expected %u %s, got %u %s %s\n", status, body, a.status, a.body, a.error);
	assert_int_equal(a.status, status);
	assert_string_equal(a.body, body);
	harness_answer_free(&a);
}

static void test_hello(void **state)
{
	struct harness_answer a;

	(void)state;
	a = harness_get(u.http, "/hello?name=World");
	assert_string_equal(harness_answer_header(&a, "content-type"), "application/json");
	expect(a, 200, "{\"message\":\"Hello, World!\"}");
	expect(harness_get(u.http, "/hello"), 200, "{\"message\":\"Hello, Pirn!\"}");
	expect(harness_get(u.http, "/hello?name=a+b%20c"), 200, "{\"message\":\"Hello, a b c!\"}");
}

static void greeted_as(const char *query, const char *name)
{
	struct harness_answer a = harness_get(u.http, query);
	json_t *answer = json_loadb(a.body, a.size, JSON_REJECT_DUPLICATES, NULL);
	char expected[512];

	(void)snprintf(expected, sizeof expected, "Hello, %s!", name);
	assert_int_equal(a.status, 200);
	assert_non_null(answer); /* it is JSON */
	assert_string_equal(json_string_value(json_object_get(answer, "message")), expected);
	json_decref(answer);
	harness_answer_free(&a);
}

static void test_hello_in_any_script(void **state)
{
	(void)state;
	greeted_as("/hello?name=J%C3%B6rg", "J\xC3\xB6rg");
	greeted_as("/hello?name=%E4%B8%96%E7%95%8C", "\xE4\xB8\x96\xE7\x95\x8C");
	greeted_as("/hello?name=%F0%9F%A7%B5", "\xF0\x9F\xA7\xB5");
	greeted_as("/hello?name=%22%5C%0A%09%3C/script%3E", "\"\\\n\t</script>");
	greeted_as("/hello?name=%01%7F", "\x01\x7F");
}

static void test_counter(void **state)
{
	(void)state;
	expect(harness_post(u.http, "/counter", "{\"increment\":1}"), 200, "{\"counter\":1}");
	expect(harness_post(u.http, "/counter", "{\"increment\":1}"), 200, "{\"counter\":2}");
	expect(harness_get(u.http, "/counter"), 200, "{\"counter\":2}");
	expect(harness_post(u.http, "/counter", "{\"increment\":-5}"), 200, "{\"counter\":-3}");
	expect(harness_post(u.http, "/counter", "{\"increment\":5}"), 200, "{\"counter\":2}");
}

static void test_any_service_by_its_name(void **state)
{
	static const char bytes[] = "any\0bytes\xFF\x80";
	struct harness_answer a;

	(void)state;
	a = harness_call(&(struct harness_call){
		.base = u.http, .target = "/v1/invoke/echo", .body = bytes, .size = sizeof bytes });
	assert_int_equal(a.status, 200);
	assert_int_equal(a.size, sizeof bytes);
	assert_memory_equal(a.body, bytes, sizeof bytes);
	harness_answer_free(&a);
	expect(harness_post(u.http, "/v1/invoke/counter", "{\"increment\":0}"), 200,
		"{\"counter\":2}");
}

static bool shipping_says(const char *expected)
{
	struct harness_answer a = harness_get(u.http, "/shipping");
	bool same = strcmp(a.body, expected) == 0;

	harness_answer_free(&a);
	return same;
}

/* The same event twice is one; and what its run sends is one, too. */
static void test_an_event_for_all_who_subscribe(void **state)
{
	static const char *const headers[] = { "ce-specversion: 1.0", "ce-type: order.created",
		"ce-source: /shop", "ce-id: 1001", "ce-subject: 1001",
		"Content-Type: application/json", NULL };
	struct harness_call send = { .base = u.http,
		.target = "/v1/events",
		.body = "{\"total\":12}",
		.headers = headers };

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct harness_answer a = harness_call(&send);

		assert_int_equal(a.status, 202);
		harness_answer_free(&a);
	}
	wait_until(PATIENCE_MS, shipping_says("{\"order.created\":1,\"shipment.requested\":1}"));
}

/* What a call sends is kept when its caller hears 201; a key makes it one, however often it is asked. */
static void test_a_call_that_sends(void **state)
{
	static const char *const headers[] = { "Idempotency-Key: \"cart-7\"", NULL };
	struct harness_call place = {
		.base = u.http, .target = "/orders", .body = "{\"total\":12}", .headers = headers
	};
	char first[64] = "";

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct harness_answer a = harness_call(&place);

		assert_int_equal(a.status, 201);
		if (i == 0)
			snprintf(first, sizeof first, "%s", a.body);
		assert_string_equal(a.body, first);
		harness_answer_free(&a);
	}
	place.body = "12";
	place.headers = NULL;
	{
		struct harness_answer a = harness_call(&place);

		assert_int_equal(a.status, 422);
		harness_answer_free(&a);
	}
	wait_until(PATIENCE_MS, shipping_says("{\"order.created\":2,\"shipment.requested\":2}"));
}

static const json_t *find(const json_t *list, const char *service)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i,
		entry) if (strcmp(json_string_value(json_object_get(entry, "service")), service) ==
			   0) return entry;
	fail_msg("%s is not in the list", service);
	return NULL;
}

static void test_the_list_of_services(void **state)
{
	struct harness_answer a = harness_get(u.admin, "/v1/services");
	json_t *answer = json_loadb(a.body, a.size, JSON_REJECT_DUPLICATES, NULL);
	const json_t *list = json_object_get(answer, "services");

	(void)state;
	assert_int_equal(a.status, 200);
	assert_true(json_is_array(list));
	for (size_t i = 0; i < 3; i++) {
		static const char *const names[] = { "hello", "counter", "echo" };
		const json_t *entry = find(list, names[i]);

		assert_int_equal(json_integer_value(json_object_get(entry, "workers")), 2);
		assert_int_equal(json_integer_value(json_object_get(entry, "running")), 0);
		assert_int_equal(json_integer_value(json_object_get(entry, "waiting")), 0);
		assert_true(json_is_number(json_object_get(entry, "p50_ms")));
		assert_true(json_is_number(json_object_get(entry, "p99_ms")));
	}
	json_decref(answer);
	harness_answer_free(&a);
}

static struct harness_process *pirn(int status, const char *const *argv)
{
	struct harness_process *p = NULL;

	assert_int_equal(harness_run("pirn", NULL, argv, NULL, &p), status);
	return p;
}

static void test_the_list_on_the_command_line(void **state)
{
	struct harness_process *p =
		pirn(0, (const char *const[]){ "pirn", "services", "--admin", u.admin, NULL });

	(void)state;
	assert_true(harness_wrote(p, "SERVICE"));
	assert_true(harness_wrote(p, "\ncounter "));
	assert_true(harness_wrote(p, "\necho "));
	assert_true(harness_wrote(p, "\nhello "));
	p = pirn(
		0, (const char *const[]){ "pirn", "services", "--json", "--admin", u.admin, NULL });
	assert_true(harness_wrote(p, "\"service\":\"counter\""));
}

static void output_is(struct harness_process *p, const char *text)
{
	char *output = harness_output(p);

	assert_string_equal(output, text);
	free(output);
}

static void test_invoke_on_the_command_line(void **state)
{
	char path[PATH_MAX];
	char at[PATH_MAX + 8];
	FILE *file;

	(void)state;
	output_is(pirn(0, (const char *const[]){ "pirn", "invoke", "counter", "--data",
				  "{\"increment\":0}", "--gateway", u.http, NULL }),
		"{\"counter\":2}");
	(void)snprintf(path, sizeof path, "%s/body", harness_dir());
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs("from a file", file) >= 0);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(at, sizeof at, "@%s", path);
	output_is(pirn(0, (const char *const[]){ "pirn", "invoke", "echo", "--data", at,
				  "--gateway", u.http, NULL }),
		"from a file");
	/* a problem is one line on stderr, and the status says so */
	assert_true(harness_wrote(pirn(1, (const char *const[]){ "pirn", "invoke", "nobody",
						  "--gateway", u.http, NULL }),
		"pirn invoke: 404 "));
	assert_true(harness_wrote(pirn(1, (const char *const[]){ "pirn", "invoke", "counter",
						  "--data", "{", "--gateway", u.http, NULL }),
		"pirn invoke: 400 "));
	pirn(2, (const char *const[]){ "pirn", "invoke", NULL });
	pirn(2, (const char *const[]){ "pirn", "invoke", "Not A Name", "--gateway", u.http, NULL });
	pirn(69, (const char *const[]){
			 "pirn", "invoke", "echo", "--gateway", "http://127.0.0.1:1", NULL });
	pirn(69,
		(const char *const[]){ "pirn", "services", "--admin", "http://127.0.0.1:1", NULL });
}

static void test_health_checks(void **state)
{
	char url[256];
	char broker[PATH_MAX + 64];

	(void)state;
	(void)snprintf(url, sizeof url, "%s/readyz", u.http);
	(void)snprintf(broker, sizeof broker, "ipc://%s/run/broker-1.sock", u.data);
	pirn(0, (const char *const[]){ "pirn", "health", "--url", url, NULL });
	pirn(0, (const char *const[]){
			"pirn", "health", "--broker", broker, "--timeout", "20s", NULL });
	pirn(0, (const char *const[]){ "pirn", "health", "--worker", "--brokers", broker,
			"--timeout", "20s", NULL });
	(void)snprintf(url, sizeof url, "%s/no-such-route", u.http);
	pirn(1, (const char *const[]){ "pirn", "health", "--url", url, NULL });
	pirn(69, (const char *const[]){ "pirn", "health", "--url", "http://127.0.0.1:1", NULL });
	pirn(69, (const char *const[]){ "pirn", "health", "--broker", "ipc:///nowhere/broker.sock",
			 "--timeout", "100ms", NULL });
	pirn(2, (const char *const[]){ "pirn", "health", NULL });
}

/* A compiler for services: the headers are the tree's own. */
static void build_service(const char *dir, const char *name)
{
	char folder[PATH_MAX];
	char out[PATH_MAX + 64];
	char include[PATH_MAX];

	(void)snprintf(folder, sizeof folder, "%.2000s/%s", dir, name);
	(void)snprintf(out, sizeof out, "%s/%s", u.services, name);
	assert_non_null(realpath("include", include));
	pirn(0, (const char *const[]){
			"pirn", "build", folder, "--out", out, "--include", include, NULL });
}

static void test_a_new_service_is_there_by_itself(void **state)
{
	char dir[PATH_MAX];
	pid_t gateway = harness_child_named(harness_pid(u.process), "pirn-gateway");
	pid_t broker = harness_child_named(harness_pid(u.process), "pirn-broker");

	(void)state;
	harness_new_dir("new", dir, sizeof dir);
	assert_int_equal(harness_status(u.http, NULL, "/my-greet", NULL), 404);
	pirn(0, (const char *const[]){ "pirn", "new", "my-greet", "--dir", dir, NULL });
	pirn(1, (const char *const[]){ "pirn", "new", "my-greet", "--dir", dir, NULL });
	pirn(2, (const char *const[]){ "pirn", "new", "../evil", "--dir", dir, NULL });
	build_service(dir, "my-greet");
	wait_until(UP_MS, harness_status(u.http, NULL, "/my-greet", NULL) == 200);
	expect(harness_get(u.http, "/my-greet?name=Ada"), 200,
		"{\"service\":\"my-greet\",\"hello\":\"Ada\"}");
	expect(harness_get(u.http, "/my-greet"), 200,
		"{\"service\":\"my-greet\",\"hello\":\"World\"}");
	assert_int_equal(harness_child_named(harness_pid(u.process), "pirn-gateway"), gateway);
	assert_int_equal(harness_child_named(harness_pid(u.process), "pirn-broker"), broker);
}

/* A mistake in one manifest while everything runs: what ran goes on running. */
static void test_a_broken_change_stops_nothing(void **state)
{
	char path[PATH_MAX + 64];
	char old[PATH_MAX + 64];
	FILE *file;

	(void)state;
	(void)snprintf(path, sizeof path, "%s/my-greet/service.yaml", u.services);
	(void)snprintf(old, sizeof old, "%s/my-greet.yaml", harness_dir());
	assert_int_equal(rename(path, old), 0);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs("service: my-greet\nhandler: 5: 6\n", file) >= 0);
	assert_int_equal(fclose(file), 0);
	wait_until(UP_MS, harness_wrote(u.process, "my-greet/service.yaml:2:"));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(harness_status(u.http, NULL, "/hello", NULL), 200);
		assert_int_equal(harness_status(u.http, NULL, "/my-greet", NULL), 200);
	}
	assert_int_equal(rename(old, path), 0);
}

static void test_the_parts_outside_a_tree(void **state)
{
	char dir[PATH_MAX];
	char path[PATH_MAX + 64];
	char include[PATH_MAX];
	struct harness_process *p = NULL;

	(void)state;
	harness_new_dir("outside", dir, sizeof dir);
	assert_non_null(realpath("include", include));
	assert_int_equal(harness_run("new", dir,
				 (const char *const[]){ "pirn", "new", "greet", NULL }, NULL, &p),
		0);
	assert_true(harness_wrote(p, "pirn build greet"));
	assert_int_equal(harness_run("build", dir,
				 (const char *const[]){
					 "pirn", "build", "greet", "--include", include, NULL },
				 NULL, NULL),
		0);
	(void)snprintf(path, sizeof path, "%s/build/services/greet/greet.so", dir);
	assert_int_equal(access(path, R_OK), 0);
	(void)snprintf(path, sizeof path, "%s/build/services/greet/service.yaml", dir);
	assert_int_equal(access(path, R_OK), 0);
}

static void test_what_does_not_build_changes_nothing(void **state)
{
	char dir[PATH_MAX];
	char path[2 * PATH_MAX];
	struct harness_process *p;
	FILE *file;

	(void)state;
	harness_new_dir("new", dir, sizeof dir);
	pirn(0, (const char *const[]){ "pirn", "new", "broken", "--dir", dir, NULL });
	(void)snprintf(path, sizeof path, "%s/broken/broken.c", dir);
	file = fopen(path, "ae");
	assert_non_null(file);
	assert_true(fputs("this is not C\n", file) >= 0);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(path, sizeof path, "%s/broken", dir);
	pirn(1, (const char *const[]){
			"pirn", "build", path, "--out", dir, "--include", "include", NULL });
	(void)snprintf(path, sizeof path, "%s/broken.so", dir);
	assert_int_equal(access(path, F_OK), -1);
	/* a manifest's mistake is told with its place, before anything is compiled */
	(void)snprintf(path, sizeof path, "%s/broken/service.yaml", dir);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs("service: broken\nhandler: broken.so\ntimeuot: 5s\n", file) >= 0);
	assert_int_equal(fclose(file), 0);
	(void)snprintf(path, sizeof path, "%s/broken", dir);
	p = pirn(1, (const char *const[]){ "pirn", "build", path, NULL });
	assert_true(harness_wrote(p, "service.yaml:3:1: "));
	assert_true(harness_wrote(p, "timeout"));
	pirn(1, (const char *const[]){ "pirn", "build", "/nowhere", NULL });
}

static void test_the_counter_survives_a_restart_of_everything(void **state)
{
	(void)state;
	harness_signal(u.process, SIGTERM);
	assert_int_equal(harness_wait(u.process, UP_MS), 0);
	assert_int_equal(harness_working_in(u.data), 0);
	harness_again(u.process);
	up_wait_ready(&u, 2);
	expect(harness_get(u.http, "/counter"), 200, "{\"counter\":2}");
	/* and one that nobody was told of */
	harness_kill_hard(u.process);
	wait_until(UP_MS, harness_working_in(u.data) == 0);
	harness_again(u.process);
	up_wait_ready(&u, 3);
	expect(harness_get(u.http, "/counter"), 200, "{\"counter\":2}");
}

static void test_version_and_help(void **state)
{
	struct harness_process *p;

	(void)state;
	assert_true(
		harness_wrote(pirn(0, (const char *const[]){ "pirn", "version", NULL }), "pirn "));
	p = pirn(0, (const char *const[]){ "pirn", "version", "--json", NULL });
	assert_true(harness_wrote(p, "{\"version\":\""));
	p = pirn(0, (const char *const[]){ "pirn", "help", NULL });
	assert_true(harness_wrote(p, "  invoke "));
	p = pirn(0, (const char *const[]){ "pirn", "help", "up", NULL });
	assert_true(harness_wrote(p, "--gateways"));
	p = pirn(2, (const char *const[]){ "pirn", "invok", NULL });
	assert_true(harness_wrote(p, "did you mean \"invoke\"?"));
	pirn(2, (const char *const[]){ "pirn", NULL });
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_starts),
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_hello_in_any_script),
		cmocka_unit_test(test_counter),
		cmocka_unit_test(test_any_service_by_its_name),
		cmocka_unit_test(test_an_event_for_all_who_subscribe),
		cmocka_unit_test(test_a_call_that_sends),
		cmocka_unit_test(test_the_list_of_services),
		cmocka_unit_test(test_the_list_on_the_command_line),
		cmocka_unit_test(test_invoke_on_the_command_line),
		cmocka_unit_test(test_health_checks),
		cmocka_unit_test(test_a_new_service_is_there_by_itself),
		cmocka_unit_test(test_a_broken_change_stops_nothing),
		cmocka_unit_test(test_the_parts_outside_a_tree),
		cmocka_unit_test(test_what_does_not_build_changes_nothing),
		cmocka_unit_test(test_the_counter_survives_a_restart_of_everything),
		cmocka_unit_test(test_version_and_help),
	};

	set_up(NULL);
	return harness_main("newcomer", tests);
}
