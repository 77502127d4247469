/* Circuit breakers as a user sees them: a service that fails is refused at once, with
 * Retry-After, and `pirn breaker` and /v1/breakers show and force it, in every broker.
 */
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

#define BROKERS     2
#define BAD         "/trouble/status/500"
#define GOOD        "/trouble/status/200"
#define ONE         "/v1/breakers/trouble"

static struct fabric f = { .n_brokers = BROKERS };

/* ---- what there is to see ------------------------------------------------------------ */

/* The exit status of `pirn breaker ACTION [SERVICE] --admin …`; what it wrote. */
static int breaker(
	const char *action, const char *service, const char *flag, char *out, size_t room)
{
	const char *argv[] = { "pirn", "breaker", action, "--admin", f.admin, NULL, NULL, NULL };
	struct harness_process *p;
	size_t n = 5;
	char *text;
	int status;

	if (service)
		argv[n++] = service;
	if (flag)
		argv[n++] = flag;
	status = harness_run("breaker", NULL, argv, NULL, &p);
	text = harness_output(p);
	(void)snprintf(out, room, "%s", text);
	free(text);
	harness_free(&p);
	return status;
}

static json_t *ask(const char *target)
{
	struct harness_answer answer = harness_get(f.admin, target);
	json_t *root = json_loads(answer.body, JSON_REJECT_DUPLICATES, NULL);

	assert_int_equal(answer.status, 200);
	assert_non_null(root);
	harness_answer_free(&answer);
	return root;
}

static bool is_text(const json_t *object, const char *key, const char *wanted)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text && strcmp(text, wanted) == 0;
}

/* Every broker says so of trouble. */
static bool all_say(const char *key, const char *wanted)
{
	json_t *root = ask(ONE), *rows = json_object_get(root, "brokers"), *row;
	bool all = json_array_size(rows) == BROKERS;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		all = all && is_text(row, key, wanted);
	}
	json_decref(root);
	return all;
}

static double refused(void)
{
	json_t *root = ask(ONE), *row;
	double n = 0;
	size_t i;

	json_array_foreach(json_object_get(root, "brokers"), i, row)
	{
		n += json_number_value(json_object_get(row, "refused_total"));
	}
	json_decref(root);
	return n;
}

static void expect_open_refusal(void)
{
	struct harness_answer answer = harness_get(f.http, GOOD);
	const char *after;

	assert_int_equal(answer.status, 503);
	assert_non_null(strstr(answer.body, "An operator has opened"));
	after = harness_answer_header(&answer, "Retry-After");
	assert_non_null(after);
	assert_true(atoi(after) >= 1);
	harness_answer_free(&answer);
}

/* ---- tests ---------------------------------------------------------------------------- */

static void test_forced_open_and_back(void **state)
{
	char out[8192];
	double before;

	(void)state;
	assert_int_equal(harness_status(f.http, NULL, GOOD, NULL), 200);
	assert_true(all_say("state", "closed") && all_say("force", "auto"));
	before = refused();
	assert_int_equal(breaker("open", "trouble", NULL, out, sizeof out), 0);
	assert_non_null(strstr(out, "forced open"));
	assert_true(all_say("state", "open") && all_say("force", "open"));
	for (unsigned i = 0; i < 4; i++)
		expect_open_refusal();
	assert_true(refused() >= before + 4);
	assert_int_equal(
		harness_status(f.http, NULL, "/hello", NULL), 200); /* nobody else's matter */
	assert_int_equal(breaker("list", NULL, NULL, out, sizeof out), 0);
	assert_non_null(strstr(out, "trouble"));
	assert_non_null(strstr(out, "open"));
	assert_int_equal(breaker("list", "trouble", "--json", out, sizeof out), 0);
	assert_non_null(strstr(out, "\"force\":\"open\""));
	assert_int_equal(breaker("auto", "trouble", NULL, out, sizeof out), 0);
	wait_until(PATIENCE_MS, harness_status(f.http, NULL, GOOD, NULL) == 200);
	assert_true(all_say("force", "auto"));
}

static void test_forced_closed_stays_closed(void **state)
{
	char out[8192];

	(void)state;
	assert_int_equal(breaker("close", "trouble", NULL, out, sizeof out), 0);
	assert_true(all_say("state", "closed") && all_say("force", "closed"));
	for (unsigned i = 0; i < 30; i++)
		assert_int_equal(harness_status(f.http, NULL, BAD, NULL), 500);
	assert_true(all_say("state", "closed"));
	assert_int_equal(breaker("auto", "trouble", NULL, out, sizeof out), 0);
	assert_true(all_say("force", "auto"));
}

static void test_the_state_is_shown_with_the_services(void **state)
{
	char out[8192];
	json_t *root, *entry;
	size_t i, n = 0;

	(void)state;
	assert_int_equal(breaker("open", "trouble", NULL, out, sizeof out), 0);
	root = ask("/v1/services");
	json_array_foreach(json_object_get(root, "services"), i, entry)
	{
		const char *text = json_string_value(json_object_get(entry, "breaker"));
		if (!is_text(entry, "service", "trouble"))
			continue;
		assert_non_null(text);
		assert_non_null(strstr(text, "open"));
		n++;
	}
	assert_int_equal(n, 1);
	json_decref(root);
	assert_int_equal(breaker("auto", "trouble", NULL, out, sizeof out), 0);
}

static void test_what_cannot_be(void **state)
{
	char out[8192];

	(void)state;
	assert_int_equal(breaker("open", NULL, NULL, out, sizeof out), 2);
	assert_int_equal(breaker("shut", "trouble", NULL, out, sizeof out), 2);
	assert_int_equal(breaker("open", "No/Name", NULL, out, sizeof out), 2);
	assert_int_equal(breaker("open", "nobody", NULL, out, sizeof out), 1);
	assert_non_null(strstr(out, "404"));
	assert_int_equal(harness_status(f.admin, "POST", ONE, "{\"force\":\"ajar\"}"), 400);
	assert_int_equal(harness_status(f.admin, "GET", "/v1/breakers/nobody", NULL), 404);
	assert_int_equal(harness_status(f.http, "GET", "/v1/breakers", NULL), 404);
}

static void test_some_brokers_are_away(void **state)
{
	char out[8192];
	json_t *root;

	(void)state;
	harness_pause(f.brokers[1]);
	assert_int_equal(breaker("open", "trouble", NULL, out, sizeof out), 0);
	assert_non_null(strstr(out, "1 of 2 brokers did not answer"));
	harness_resume(f.brokers[1]);
	/* It learns of it through the registry. */
	wait_until(PATIENCE_MS, all_say("force", "open"));
	root = ask(ONE);
	assert_int_equal(json_integer_value(json_object_get(root, "answered")), BROKERS);
	json_decref(root);
	assert_int_equal(breaker("auto", "trouble", NULL, out, sizeof out), 0);
	wait_until(PATIENCE_MS, all_say("force", "auto"));
}

static int start(void **state)
{
	(void)state;
	fabric_start(&f);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forced_open_and_back),
		cmocka_unit_test(test_forced_closed_stays_closed),
		cmocka_unit_test(test_the_state_is_shown_with_the_services),
		cmocka_unit_test(test_what_cannot_be),
		cmocka_unit_test(test_some_brokers_are_away),
	};

	return harness_finish(cmocka_run_group_tests_name("breakers", tests, start, stop));
}
