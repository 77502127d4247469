#include "tests/unit/unit.h"

#include <ctype.h>
#include <errno.h>

#include "base/err.h"

static void every_error_has_a_name_a_text_and_a_class(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BASE_ERR__N; i++) {
		enum base_err err = (enum base_err)i;
		assert_true(strlen(base_err_name(err)) >= 2);
		for (const char *c = base_err_name(err); *c; c++)
			assert_true(isupper((unsigned char)*c) || *c == '_');
		assert_true(strlen(base_err_text(err)) > 3);
		assert_true(base_err_class(err) <= BASE_CLASS_BUG);
		assert_int_equal(base_err_class(err) == BASE_CLASS_NONE, err == BASE_OK);
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(
				base_err_name(err), base_err_name((enum base_err)j));
	}
}

static void classes_are_what_retry_logic_needs(void **state)
{
	(void)state;
	assert_int_equal(BASE_OK, 0);
	assert_int_equal(base_err_class(BASE_NOMEM), BASE_CLASS_RETRY);
	assert_int_equal(base_err_class(BASE_UNAVAILABLE), BASE_CLASS_RETRY);
	assert_int_equal(base_err_class(BASE_INVALID), BASE_CLASS_PERMANENT);
	assert_int_equal(base_err_class(BASE_OVERFLOW), BASE_CLASS_PERMANENT);
	assert_int_equal(base_err_class(BASE_BUG), BASE_CLASS_BUG);
	assert_string_equal(base_err_name(BASE_NOMEM), "NOMEM");
	assert_string_equal(base_err_text(BASE_NOMEM), "out of memory");
}

static void an_unknown_code_is_a_bug(void **state)
{
	(void)state;
	assert_string_equal(base_err_name((enum base_err)BASE_ERR__N), "BUG");
	assert_string_equal(base_err_text((enum base_err)9999), base_err_text(BASE_BUG));
	assert_int_equal(base_err_class((enum base_err) - 1), BASE_CLASS_BUG);
}

static void errno_is_translated(void **state)
{
	static const struct {
		int errnum;
		enum base_err err;
	} rows[] = {
		{ 0, BASE_OK },
		{ ENOENT, BASE_NOT_FOUND },
		{ ENOMEM, BASE_NOMEM },
		{ EACCES, BASE_DENIED },
		{ EADDRINUSE, BASE_EXISTS },
		{ ECONNREFUSED, BASE_UNAVAILABLE },
		{ ECONNRESET, BASE_GONE },
		{ ETIMEDOUT, BASE_TIMEOUT },
		{ ENOSPC, BASE_FULL },
		{ EMSGSIZE, BASE_TOO_LARGE },
		{ EIO, BASE_IO },
		{ 123456, BASE_IO },
		{ -1, BASE_IO },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(base_err_from_errno(rows[i].errnum), rows[i].err);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_error_has_a_name_a_text_and_a_class),
		cmocka_unit_test(classes_are_what_retry_logic_needs),
		cmocka_unit_test(an_unknown_code_is_a_bug),
		cmocka_unit_test(errno_is_translated),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
