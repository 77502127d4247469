#include "unit.h"

#include <jansson.h>

#include "gateway/problem.h"

static void is_what_rfc_9457_says(void **state)
{
	struct base_buf b;
	json_t *root;
	json_error_t error;

	(void)state;
	base_buf_init(&b);
	gw_problem_write(&b, 404, "No \"service\" of this\nname.", "id-1");
	root = json_loadb((const char *)b.data, b.size, JSON_REJECT_DUPLICATES, &error);
	assert_non_null(root);
	assert_string_equal(json_string_value(json_object_get(root, "type")), "about:blank");
	assert_string_equal(json_string_value(json_object_get(root, "title")), "Not Found");
	assert_int_equal(json_integer_value(json_object_get(root, "status")), 404);
	assert_string_equal(json_string_value(json_object_get(root, "detail")),
		"No \"service\" of this\nname.");
	assert_string_equal(json_string_value(json_object_get(root, "request_id")), "id-1");
	json_decref(root);
	base_buf_fini(&b);
}

static void goes_without_an_id(void **state)
{
	struct base_buf b;

	(void)state;
	base_buf_init(&b);
	gw_problem_write(&b, 408, "x", NULL);
	assert_null(strstr((char *)b.data, "request_id"));
	base_buf_fini(&b);
}

static void a_status_has_its_phrase(void **state)
{
	static const unsigned ours[] = { 400, 404, 405, 408, 413, 414, 417, 429, 431, 501, 502, 503,
		504 };

	(void)state;
	for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
		assert_string_not_equal(gw_status_phrase(ours[i]), "Error");
	assert_string_equal(gw_status_phrase(200), "OK");
	assert_string_equal(gw_status_phrase(202), "Accepted");
	assert_string_equal(gw_status_phrase(511), "Network Authentication Required");
	assert_string_equal(gw_status_phrase(299), "Unknown");
	assert_string_equal(gw_status_phrase(499), "Error");
	assert_string_equal(gw_status_phrase(599), "Error");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_what_rfc_9457_says),
		cmocka_unit_test(goes_without_an_id),
		cmocka_unit_test(a_status_has_its_phrase),
	};

	return cmocka_run_group_tests_name("problem", tests, NULL, NULL);
}
