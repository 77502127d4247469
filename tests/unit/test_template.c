/* What `pirn new` writes is a service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/manifest.h"
#include "cli/ready.h"
#include "cli/template.h"
#include "cli/term.h"
#include "cli/words.h"
#include "worker/yaml.h"

static const char longest[] = "a23456789-123456789-123456789-123456789-123456789-123456789-123";

static void test_the_manifest_is_one(void **state)
{
	const char *const names[] = { "greet", "a", "my-greet", "double", longest };

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct base_manifest *m = NULL;
		struct base_buf text;
		char why[WRK_YAML_WHY] = "";
		char path[128];

		assert_true(base_manifest_is_service(names[i]));
		base_buf_init(&text);
		cli_template_manifest(names[i], &text);
		assert_int_equal(wrk_yaml_read("service.yaml", (const char *)text.data, text.size,
					 &m, why, sizeof why),
			BASE_OK);
		assert_string_equal(m->service, names[i]);
		assert_int_equal(m->n_routes, 1);
		assert_string_equal(m->routes[0].method, "GET");
		(void)snprintf(path, sizeof path, "/%s", names[i]);
		assert_string_equal(m->routes[0].path, path);
		(void)snprintf(path, sizeof path, "%s.so", names[i]);
		assert_string_equal(m->handler, path);
		base_manifest_free(&m);
		base_buf_fini(&text);
	}
}

static void test_an_endpoint_is_one(void **state)
{
	struct base_manifest *m = NULL;
	struct base_buf text;
	char why[WRK_YAML_WHY] = "";

	(void)state;
	base_buf_init(&text);
	cli_template_endpoint("my-hook", "https://app:3000/hook?a=1,2&b=*", &text);
	assert_int_equal(wrk_yaml_read("service.yaml", (const char *)text.data, text.size, &m, why,
				 sizeof why),
		BASE_OK);
	assert_string_equal(m->service, "my-hook");
	assert_string_equal(m->handler, "https://app:3000/hook?a=1,2&b=*");
	assert_int_equal(m->n_routes, 2);
	base_manifest_free(&m);
	base_buf_fini(&text);
}

static void test_the_handler_has_a_name_of_its_own(void **state)
{
	struct base_buf text;

	(void)state;
	base_buf_init(&text);
	cli_template_identifier("my-greet", &text);
	assert_string_equal((const char *)text.data, "handle_my_greet");
	base_buf_reset(&text);
	cli_template_source("double", &text);
	assert_non_null(
		strstr((const char *)text.data, "static int handle_double(struct pirn_request"));
	assert_non_null(strstr((const char *)text.data, "PIRN_SERVICE(.handler = handle_double);"));
	assert_null(strchr((const char *)text.data, '$'));
	base_buf_fini(&text);
}

static void test_words_are_split_at_blanks(void **state)
{
	struct cli_words w;

	(void)state;
	cli_words_init(&w);
	cli_words_split(&w, "  ccache \t gcc\n");
	cli_words_split(&w, "   ");
	cli_words_add(&w, "a b");
	assert_int_equal(w.n, 3);
	assert_string_equal(w.items[0], "ccache");
	assert_string_equal(w.items[1], "gcc");
	assert_string_equal(w.items[2], "a b");
	assert_null(w.items[3]);
	for (int i = 0; i < 200; i++)
		cli_words_add(&w, "x");
	assert_int_equal(w.n, 203);
	assert_null(w.items[203]);
	assert_false(w.failed);
	cli_words_fini(&w);
}

static void test_width_counts_characters(void **state)
{
	(void)state;
	assert_int_equal(cli_term_width(""), 0);
	assert_int_equal(cli_term_width("abc"), 3);
	assert_int_equal(cli_term_width("größe ×"), 7);
}

static void check_services(const char *json, char *const *names, size_t n, const char *missing)
{
	const char *first = "untouched";
	bool all = cli_ready_has_services(json, strlen(json), names, n, &first);

	assert_int_equal(all, missing == NULL);
	if (missing)
		assert_string_equal(first, missing);
}

static void test_services_are_there_with_a_worker(void **state)
{
	char hello[] = "hello";
	char echo[] = "echo";
	char *names[] = { hello, echo };

	(void)state;
	check_services(
		"{\"services\":[{\"service\":\"echo\",\"workers\":1},{\"service\":\"hello\",\"workers\":2}]}",
		names, 2, NULL);
	check_services(
		"{\"services\":[{\"service\":\"echo\",\"workers\":0},{\"service\":\"hello\",\"workers\":2}]}",
		names, 2, "echo");
	check_services("{\"services\":[{\"service\":\"hello\",\"workers\":2}]}", names, 2, "echo");
	check_services("{\"services\":[]}", names, 0, NULL);
	/* whatever may answer at that port */
	check_services("", names, 2, "hello");
	check_services("[]", names, 2, "hello");
	check_services("{\"services\":5}", names, 2, "hello");
	check_services(
		"{\"services\":[1,null,{}, {\"service\":5,\"workers\":\"x\"}]}", names, 2, "hello");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_manifest_is_one),
		cmocka_unit_test(test_an_endpoint_is_one),
		cmocka_unit_test(test_the_handler_has_a_name_of_its_own),
		cmocka_unit_test(test_words_are_split_at_blanks),
		cmocka_unit_test(test_width_counts_characters),
		cmocka_unit_test(test_services_are_there_with_a_worker),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
