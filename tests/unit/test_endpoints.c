/* Where a broker listens. */
#include "tests/unit/unit.h"

#include "broker/endpoints.h"

static void good(void **state)
{
	static const struct {
		const char *bind, *endpoints;
	} rows[] = {
		{ "127.0.0.1:7400", "tcp://127.0.0.1:7400" },
		{ "tcp://*:7400", "tcp://*:7400" },
		{ "[::1]:65535", "tcp://[::1]:65535" },
		{ "ipc:///run/pirn.sock", "ipc:///run/pirn.sock" },
		{ "a:1,ipc://b,tcp://c:2", "tcp://a:1,ipc://b,tcp://c:2" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *out = NULL, *why = NULL;
		assert_int_equal(brk_endpoints_make(rows[i].bind, &out, &why), BASE_OK);
		assert_string_equal(out, rows[i].endpoints);
		assert_null(why);
		free(out);
	}
}

static void bad(void **state)
{
	static const char *const binds[] = { "", "7400", "host", "host:", "host:0", "host:65536",
		"host:99999", ":7400", "ipc://", "udp://host:1", "a:1,", ",a:1", "a:1,,b:2",
		"host:7400x", "host:-1" };
	(void)state;
	for (size_t i = 0; i < sizeof binds / sizeof *binds; i++) {
		char *out = (char *)1, *why = NULL;
		assert_int_equal(brk_endpoints_make(binds[i], &out, &why), BASE_CONFIG);
		assert_null(out);
		assert_non_null(strstr(why, "cannot listen on"));
		free(why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(good), cmocka_unit_test(bad) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
