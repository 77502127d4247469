/* What stands in doc/examples, run as it stands there: curl, Python, Node, C against an installed Pirn; and the official
 * JavaScript SDK of CloudEvents. `hearer` hears heard.*, and keeps what it heard in Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/fabric.h"

#define SDK    "cloudevents"
#define SDK_IS "cloudevents-10.0.0.tgz"
#define SDK_SHA512 \
	"bb2cc2f8fa4c3116b06e8b873bede6962b2bdd07c40ce6e6a36a4de284d317a7599dc660a48cdd6ac671d2d441148d5d32ca822d965732dcfc714baf62a1dd6f"

static const char *const allowed[] = { "--http-allow", "127.0.0.1", NULL };
static struct fabric f = { .n_brokers = 2, .worker_flags = allowed };

static int start(void **state)
{
	(void)state;
	fabric_start(&f);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "hearer") == 1);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

static unsigned long heard(void)
{
	char *text = harness_redis_command(f.redis, "HLEN pirn:{0}:state:hearer:ids");
	unsigned long n = strtoul(text, NULL, 10);

	free(text);
	return n;
}

static bool there(const char *program)
{
	char command[128];

	snprintf(command, sizeof command, "command -v %s >/dev/null", program);
	return system(command) == 0;
}

/* Runs argv, which must end well, and returns what it wrote; free() it. */
static char *run(const char *const *argv, const char *const *environment)
{
	struct harness_process *p = NULL;
	char here[PATH_MAX], *text;
	int status;

	assert_non_null(getcwd(here, sizeof here));
	status = harness_run("example", here, argv, environment, &p);
	text = harness_output(p);

	if (status != 0)
		print_error("%s: %d: %s\n", argv[1], status, text);
	assert_int_equal(status, 0);
	harness_free(&p);
	return text;
}

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (const char *at = text; (at = strstr(at, word)); at++)
		n++;
	return n;
}

static void run_example(const char *program, const char *file, const char *name, unsigned events)
{
	unsigned long before = heard();
	char greeting[64], *text;

	if (!there(program) && !getenv("CI"))
		skip();
	text = run((const char *const[]){ program, file, f.http, "heard.example", NULL }, NULL);
	snprintf(greeting, sizeof greeting, "Hello, %s!", name);
	assert_int_equal(count(text, "accepted: /v1/invocations/"), events);
	assert_int_equal(count(text, "\"done\""), events);
	assert_non_null(strstr(text, greeting));
	free(text);
	assert_int_equal(heard(), before + events);
}

static void test_curl(void **state)
{
	(void)state;
	run_example("sh", "doc/examples/events.sh", "curl", 1);
}

static void test_python(void **state)
{
	(void)state;
	run_example("python3", "doc/examples/events.py", "Python", 1);
}

static void test_node(void **state)
{
	(void)state;
	run_example("node", "doc/examples/events.mjs", "Node", 3);
}

/* ---- a program of a user's, against what `make install` leaves ------------------------------- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const bool is_sanitized = true;
#else
static const bool is_sanitized = false;
#endif

static char prefix[PATH_MAX - 256];

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
	char command[8 * PATH_MAX];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(command, sizeof command, format, args);
	va_end(args);
	status = system(command);
	if (status != 0)
		print_error("%d: %s\n", status, command);
	assert_int_equal(status, 0);
}

/* The build that is tested, installed elsewhere; nothing is built for it. */
static void install(void)
{
	char build[PATH_MAX], *slash;

	if (prefix[0])
		return;
	harness_build("", build, sizeof build);
	while (*build && build[strlen(build) - 1] == '/')
		build[strlen(build) - 1] = '\0';
	slash = strrchr(build, '/');
	assert_non_null(slash);
	*slash = '\0';
	harness_new_dir("installed", prefix, sizeof prefix);
	shell("make -s -o all BUILD='%s' MODE='%s' PREFIX='%s' install", build, slash + 1, prefix);
}

static void build_and_run(const char *name, const char *flags)
{
	char program[PATH_MAX], library[PATH_MAX], *text;
	const char *environment[] = { library, NULL };

	if (is_sanitized)
		skip();
	install();
	snprintf(program, sizeof program, "%s/%s", prefix, name);
	snprintf(library, sizeof library, "LD_LIBRARY_PATH=%s/lib", prefix);
	shell("cd '%s' && cc -std=c11 -Wall -Wextra -Werror -o %s \"$OLDPWD/doc/examples/topic.c\" "
	      "$(PKG_CONFIG_PATH=lib/pkgconfig pkg-config --cflags pirn) %s -pthread",
		prefix, name, flags);
	text = run((const char *const[]){ program, f.brokers_list, "heard.c", "1000", NULL },
		environment);
	assert_non_null(strstr(text, "1000 of 1000 accepted"));
	assert_non_null(strstr(text, " is done"));
	free(text);
}

static void test_c_and_the_shared_library(void **state)
{
	(void)state;
	build_and_run("shared", "$(PKG_CONFIG_PATH=lib/pkgconfig pkg-config --libs pirn)");
	shell("ldd '%s/shared' | grep -q libpirn.so.0", prefix);
}

static void test_c_and_the_static_library(void **state)
{
	(void)state;
	build_and_run("static",
		"$(PKG_CONFIG_PATH=lib/pkgconfig pkg-config --static --libs pirn | sed 's/-lpirn/-l:libpirn.a/')");
	shell("! ldd '%s/static' | grep -q libpirn", prefix);
}

/* ---- the SDK ------------------------------------------------------------------------------------ */

/* By npm, or from where npm's own variable says that packages are. False: it cannot be got here. What comes is what it was when this was written, or the test fails. */
static bool get_sdk(const char *dir)
{
	static const char by_npm[] = "npm pack --silent " SDK "@10.0.0";
	static const char by_curl[] =
		"curl -sSfO \"${NPM_CONFIG_REGISTRY%/}/" SDK "/-/" SDK_IS "\"";
	char command[3 * PATH_MAX];

	if (!there("npm") && !getenv("NPM_CONFIG_REGISTRY"))
		return false;
	snprintf(command, sizeof command, "cd '%s' && %s >/dev/null 2>&1", dir,
		there("npm") ? by_npm : by_curl);
	if (system(command) != 0)
		return false;
	shell("cd '%s' && echo '" SDK_SHA512 "  " SDK_IS
	      "' | sha512sum --quiet -c && tar xzf " SDK_IS,
		dir);
	return true;
}

static bool body_is(const char *id, const char *body)
{
	return harness_redis_says(f.redis, body, "HGET pirn:{0}:state:hearer:bodies %s", id);
}

static bool head_has(const char *id, const char *line)
{
	char *text = harness_redis_command(f.redis, "HGET pirn:{0}:state:hearer:heads %s", id);
	bool has = strstr(text, line) != NULL;

	if (!has)
		print_error("%s: no '%s' in:\n%s\n", id, line, text);
	free(text);
	return has;
}

static void check_events(const char *mode)
{
	static const char *const kinds[] = { "json", "text", "bytes" };
	char id[64];

	for (size_t i = 0; i < 3; i++) {
		snprintf(id, sizeof id, "%s-%s", mode, kinds[i]);
		wait_until(PATIENCE_MS,
			harness_redis_says(f.redis, "1", "HGET pirn:{0}:state:hearer:ids %s", id));
	}
	snprintf(id, sizeof id, "%s-json", mode);
	assert_true(body_is(id, "{\"n\":1,\"text\":\"caf\xc3\xa9\"}"));
	assert_true(head_has(id, "ce-source: /sdk\n"));
	assert_true(head_has(id, "ce-subject: 17\n"));
	assert_true(head_has(id, "ce-rank: 7\n"));
	assert_true(head_has(id, "ce-time: 2026-11-21T09:15:02.123Z\n"));
	assert_true(head_has(id, "ce-dataschema: https://example.com/schema\n"));
	assert_true(head_has(id, "ce-type: heard.sdk\n"));
	snprintf(id, sizeof id, "%s-text", mode);
	assert_true(head_has(id, "Content-Type: text/plain"));
	assert_true(body_is(id, "plain"));
	snprintf(id, sizeof id, "%s-bytes", mode);
	assert_true(
		harness_redis_says(f.redis, "3", "HSTRLEN pirn:{0}:state:hearer:bodies %s", id));
}

/* What the SDK has read so far; free() it. */
static json_t *callback_of(struct harness_process *reader, const char *id)
{
	char *text = harness_output(reader), *rest = text, *line;
	json_t *event = NULL;

	while (!event && (line = strtok_r(rest, "\n", &rest)))
		if (strstr(line, id) || strstr(line, "refused"))
			event = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	return event;
}

static const char *text_in(const json_t *event, const char *name)
{
	const char *text = json_string_value(json_object_get(event, name));

	if (!text)
		fail_msg("no %s in %s", name, json_dumps(event, 0));
	return text;
}

static unsigned port_of(struct harness_process *reader)
{
	char *text = harness_output(reader);
	unsigned port = 0;

	if (strchr(text, '\n'))
		(void)sscanf(text, "listening %u", &port);
	free(text);
	return port;
}

static void send_with_callback(unsigned port, char id[32])
{
	char callback[64];
	const char *const headers[] = { "Prefer: respond-async", callback, NULL };
	struct harness_call call = {
		.base = f.http, .target = "/v1/invoke/echo", .body = "back", .headers = headers
	};
	struct harness_answer a;

	snprintf(callback, sizeof callback, "Pirn-Callback: http://127.0.0.1:%u/done", port);
	a = harness_call(&call);
	assert_int_equal(a.status, 202);
	snprintf(id, 32, "%s", strrchr(harness_answer_header(&a, "Location"), '/') + 1);
	harness_answer_free(&a);
}

/* An event's outcome is a CloudEvent as the SDK reads them. */
static void check_callback(const char *package)
{
	struct harness_process *reader;
	char here[PATH_MAX], id[32], source[64];
	json_t *event = NULL;
	unsigned port = 0;

	assert_non_null(getcwd(here, sizeof here));
	reader = harness_spawn("callbacks", here,
		(const char *const[]){
			"node", "tests/integration/cloudevents_callback.js", package, NULL },
		NULL);
	wait_until(PATIENCE_MS, (port = port_of(reader)) > 0);
	send_with_callback(port, id);
	wait_until(PATIENCE_MS, (event = callback_of(reader, id)) != NULL);
	snprintf(source, sizeof source, "/v1/invocations/%s", id);
	assert_string_equal(text_in(event, "specversion"), "1.0");
	assert_string_equal(text_in(event, "type"), "pirn.invocation.done");
	assert_string_equal(text_in(event, "source"), source);
	assert_string_equal(text_in(event, "subject"), "echo");
	assert_string_equal(text_in(json_object_get(event, "data"), "state"), "done");
	json_decref(event);
	harness_free(&reader);
}

static void test_javascript_sdk(void **state)
{
	char dir[PATH_MAX], package[PATH_MAX + 16], url[128], *text;

	(void)state;
	harness_new_dir("sdk", dir, sizeof dir);
	if (!there("node") || !get_sdk(dir)) {
		print_message(
			"the SDK is not to be had here: no node, no npm, or no way to its registry\n");
		skip();
	}
	snprintf(package, sizeof package, "%s/package", dir);
	snprintf(url, sizeof url, "%s/v1/events", f.http);
	text = run((const char *const[]){ "node", "tests/integration/cloudevents_sdk.js", package,
			   url, "heard.sdk", NULL },
		NULL);
	assert_int_equal(count(text, "\"location\":\"/v1/invocations/"), 3 + 4 + 4 + 1);
	assert_int_equal(count(text, "{\"how\":\"bad\",\"answer\":{\"status\":400"), 1);
	assert_int_equal(count(text, "{\"how\":\"batch\",\"answer\":{\"status\":202"), 1);
	free(text);
	check_events("binary");
	check_events("structured");
	check_events("batch");
	check_callback(package);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_curl),
		cmocka_unit_test(test_python),
		cmocka_unit_test(test_node),
		cmocka_unit_test(test_c_and_the_shared_library),
		cmocka_unit_test(test_c_and_the_static_library),
		cmocka_unit_test(test_javascript_sdk),
	};

	return harness_finish(cmocka_run_group_tests_name("examples", tests, start, stop));
}
