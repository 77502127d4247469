/* Times as text, held against the C library's calendar. */
#include "tests/unit/unit.h"

#include <time.h>

#include "base/rand.h"
#include "base/when.h"

static const struct {
	const char *text;
	uint64_t ms;
} good[] = {
	{ "1970-01-01T00:00:00Z", 0 },
	{ "1970-01-01T00:00:00.001Z", 1 },
	{ "2000-02-29T12:00:00z", 951825600000 },
	{ "2026-11-21t09:15:02.123Z", 1795252502123 },
	{ "2026-11-21 09:15:02.5Z", 1795252502500 },
	{ "2026-11-21T10:15:02.1239+01:00", 1795252502123 },
	{ "2026-11-21T03:45:02-05:30", 1795252502000 },
	{ "2016-12-31T23:59:60Z", 1483228800000 },
	{ "9999-12-31T23:59:59.999Z", 253402300799999 },
};

static const char *const bad[] = { "", "2026", "2026-11-21", "2026-11-21T09:15Z",
	"2026-11-21T09:15:02", "2026-11-21T09:15:02.Z", "2026-13-01T00:00:00Z",
	"2026-00-01T00:00:00Z", "2026-11-31T00:00:00Z", "2025-02-29T00:00:00Z",
	"1900-02-29T00:00:00Z", "2026-11-00T00:00:00Z", "2026-11-21T24:00:00Z",
	"2026-11-21T00:60:00Z", "2026-11-21T00:00:61Z", "2026-11-21T00:00:00+24:00",
	"2026-11-21T00:00:00+01:60", "2026-11-21T00:00:00+0100", "2026-11-21T00:00:00ZZ",
	" 2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z ", "1969-12-31T23:59:59Z",
	"1970-01-01T00:59:59+01:00", "0000-01-01T00:00:00Z", "+026-11-21T00:00:00Z",
	"2026/11/21T00:00:00Z", "20261121T000000Z", "10m", "1795252502" };

static void times_are_read(void **state)
{
	uint64_t ms;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_true(base_when_parse(good[i].text, strlen(good[i].text), &ms));
		assert_int_equal(ms, good[i].ms);
	}
}

static void what_is_no_time_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		uint64_t ms = 77;
		if (base_when_parse(bad[i], strlen(bad[i]), &ms))
			fail_msg("taken for a time: %s", bad[i]);
		assert_int_equal(ms, 77);
	}
}

static void print_by_libc(uint64_t ms, char out[BASE_WHEN_TEXT + 1])
{
	time_t seconds = (time_t)(ms / 1000);
	char stamp[32];
	struct tm tm;

	assert_non_null(gmtime_r(&seconds, &tm));
	assert_true(strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm) == 19);
	snprintf(out, BASE_WHEN_TEXT + 1, "%.19s.%03uZ", stamp, (unsigned)(ms % 1000));
}

static void what_is_printed_is_right_and_comes_back(void **state)
{
	char text[BASE_WHEN_TEXT + 1], expected[BASE_WHEN_TEXT + 1];
	struct base_rand r;
	uint64_t back;

	(void)state;
	base_rand_init(&r, 3);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t ms = base_rand_below(&r, 253402300800000);
		base_when_print(ms, text);
		print_by_libc(ms, expected);
		assert_string_equal(text, expected);
		assert_true(base_when_parse(text, strlen(text), &back));
		assert_int_equal(back, ms);
	}
}

static void beyond_the_last_year_it_is_the_last_moment(void **state)
{
	char text[BASE_WHEN_TEXT + 1];

	(void)state;
	base_when_print(UINT64_MAX, text);
	assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(what_is_no_time_is_refused),
		cmocka_unit_test(what_is_printed_is_right_and_comes_back),
		cmocka_unit_test(beyond_the_last_year_it_is_the_last_moment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
