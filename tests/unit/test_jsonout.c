#include "unit.h"

#include <math.h>

#include "gateway/jsonout.h"

static void commas_stand_where_they_belong(void **state)
{
	struct base_buf b;
	struct gw_json j;

	(void)state;
	base_buf_init(&b);
	j = gw_json_on(&b);
	gw_json_open(&j, NULL, '{');
	gw_json_str(&j, "a", "b");
	gw_json_open(&j, "empty", '[');
	gw_json_close(&j, ']');
	gw_json_open(&j, "list", '[');
	gw_json_u64(&j, NULL, 1);
	gw_json_open(&j, NULL, '{');
	gw_json_bool(&j, "yes", true);
	gw_json_close(&j, '}');
	gw_json_str(&j, NULL, NULL);
	gw_json_close(&j, ']');
	gw_json_u64(&j, "n", UINT64_MAX);
	gw_json_close(&j, '}');
	assert_string_equal((char *)b.data,
		"{\"a\":\"b\",\"empty\":[],\"list\":[1,{\"yes\":true},null],\"n\":18446744073709551615}");
	assert_int_equal(j.depth, 0);
	base_buf_fini(&b);
}

static void texts_and_keys_are_quoted(void **state)
{
	struct base_buf b;
	struct gw_json j;

	(void)state;
	base_buf_init(&b);
	j = gw_json_on(&b);
	gw_json_open(&j, NULL, '{');
	gw_json_str(&j, "k\"", "a\nb\"c\\");
	gw_json_close(&j, '}');
	assert_string_equal((char *)b.data, "{\"k\\\"\":\"a\\nb\\\"c\\\\\"}");
	base_buf_fini(&b);
}

static void numbers_that_are_none_become_null(void **state)
{
	struct base_buf b;
	struct gw_json j;

	(void)state;
	base_buf_init(&b);
	j = gw_json_on(&b);
	gw_json_open(&j, NULL, '[');
	gw_json_f64(&j, NULL, 0.362);
	gw_json_f64(&j, NULL, (double)NAN);
	gw_json_f64(&j, NULL, (double)INFINITY);
	gw_json_close(&j, ']');
	assert_string_equal((char *)b.data, "[0.362,null,null]");
	base_buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commas_stand_where_they_belong),
		cmocka_unit_test(texts_and_keys_are_quoted),
		cmocka_unit_test(numbers_that_are_none_become_null),
	};

	return cmocka_run_group_tests_name("jsonout", tests, NULL, NULL);
}
