/* Time zones: the rule of a footer, bad files, the calendar. tests/integration/test_calendar.c
 * compares all zones of the system with zdump. */
#include "tests/unit/unit.h"
#include "tests/unit/zone_bytes.h"

static int64_t utc(int64_t year, unsigned month, unsigned day, int hour, int minute)
{
	return base_zone_days(year, month, day) * 86400 + hour * 3600 + minute * 60;
}

static void test_calendar(void **state)
{
	int64_t year;
	unsigned month, day;

	(void)state;
	assert_int_equal(base_zone_days(1970, 1, 1), 0);
	assert_int_equal(base_zone_days(2000, 2, 29), 11016);
	assert_int_equal(base_zone_days(1600, 1, 1), -135140);
	assert_int_equal(base_zone_weekday(0), 4);
	assert_int_equal(base_zone_weekday(base_zone_days(2026, 11, 21)), 6);
	assert_int_equal(base_zone_weekday(-5), 6);
	for (int64_t days = -800000; days < 800000; days += 17) {
		base_zone_date(days, &year, &month, &day);
		assert_int_equal(base_zone_days(year, month, day), days);
		assert_true(month >= 1 && month <= 12 && day >= 1 && day <= 31);
	}
}

/* One change: the moment before has one offset, the moment itself another. */
static const struct {
	const char *rule;
	int64_t year;
	unsigned month, day;
	int hour, minute;
	int before, after; /* minutes */
} changes[] = {
	{ BERLIN, 2026, 3, 29, 1, 0, 60, 120 },
	{ BERLIN, 2026, 10, 25, 1, 0, 120, 60 },
	{ BERLIN, 2096, 3, 25, 1, 0, 60, 120 },
	{ NEW_YORK, 2026, 3, 8, 7, 0, -300, -240 },
	{ NEW_YORK, 2026, 11, 1, 6, 0, -240, -300 },
	{ LORD_HOWE, 2026, 4, 4, 15, 0, 660, 630 },
	{ LORD_HOWE, 2026, 10, 3, 15, 30, 630, 660 },
	{ DUBLIN, 2026, 3, 29, 1, 0, 0, 60 },
	{ DUBLIN, 2026, 10, 25, 1, 0, 60, 0 },
	{ CAIRO, 2026, 4, 23, 22, 0, 120, 180 },
	{ CAIRO, 2026, 10, 29, 21, 0, 180, 120 },
	{ "AAA3BBB,J60/0,J300/0", 2024, 3, 1, 3, 0, -180, -120 },  /* J knows no leap day */
	{ "AAA3BBB,59/0,299/0", 2024, 2, 29, 3, 0, -180, -120 },   /* the number from 0 does */
	{ "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", 2026, 3, 29, 1, 0, -120, -60 },
};

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
		struct base_zone *zone = zone_of(changes[i].rule);
		int64_t at = utc(changes[i].year, changes[i].month, changes[i].day, changes[i].hour,
			changes[i].minute);
		struct base_zone_period before, after;

		assert_non_null(zone);
		before = base_zone_at(zone, at - 1);
		after = base_zone_at(zone, at);
		assert_int_equal(before.offset_s, changes[i].before * 60);
		assert_int_equal(after.offset_s, changes[i].after * 60);
		assert_int_equal(before.until_s, at);
		assert_int_equal(after.from_s, at);
		base_zone_free(&zone);
	}
}

static void test_periods_follow_one_another(void **state)
{
	struct base_zone *zone = zone_of(NEW_YORK);
	int64_t at = utc(2020, 1, 1, 0, 0);

	(void)state;
	for (int i = 0; i < 200; i++) {
		struct base_zone_period p = base_zone_at(zone, at);

		assert_true(p.from_s <= at && at < p.until_s);
		assert_int_equal(base_zone_at(zone, p.until_s - 1).from_s, p.from_s);
		assert_int_equal(base_zone_at(zone, p.until_s).from_s, p.until_s);
		at = p.until_s;
	}
	assert_int_equal(base_zone_at(zone, at).from_s, at);
	base_zone_free(&zone);
}

static void test_no_zone_is_utc(void **state)
{
	struct base_zone_period p = base_zone_at(NULL, 1234567890);
	struct base_zone *zone = zone_of("");

	(void)state;
	assert_int_equal(p.offset_s, 0);
	assert_int_equal(p.until_s, INT64_MAX);
	assert_non_null(zone);
	assert_int_equal(base_zone_at(zone, 0).offset_s, 0);
	base_zone_free(&zone);
	base_zone_free(&zone);
}

static void test_bad_rules(void **state)
{
	static const char *const bad[] = { "C", "CET", "CET-25", "CET-1CEST,M3.5.0", "CET-1CEST,M13.1.0,M10.5.0",
		"CET-1CEST,M3.0.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0",
		"CET-1CEST,J0,J5", "CET-1CEST,366,5", "CET-1CEST,M3.5.0,M10.5.0/168", "CET-1CEST",
		"<+01-1", "CET-1CEST,M3.5.0,M10.5.0 ", "CET-1:60", ":Europe/Berlin" };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_null(zone_of(bad[i]));
}

static void test_bad_files(void **state)
{
	uint8_t bytes[512], changed[512];
	size_t size = zone_bytes(bytes, sizeof bytes, BERLIN);
	struct base_zone *zone = NULL;

	(void)state;
	for (size_t n = 0; n < size; n++) {
		uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees a read beyond it */

		memcpy(exact, bytes, n);
		assert_int_equal(base_zone_new(exact, n, &zone), BASE_INVALID);
		free(exact);
	}
	/* Counts of the header: each larger than what is there, or than is sensible. */
	for (size_t at = 20; at < 44; at += 4) {
		memcpy(changed, bytes, size);
		changed[54 + at] = 0xff;
		assert_int_equal(base_zone_new(changed, size, &zone), BASE_INVALID);
		changed[54 + at] = 0;
		changed[54 + at + 3] = (uint8_t)(changed[54 + at + 3] + 100);
		assert_int_equal(base_zone_new(changed, size, &zone), BASE_INVALID);
	}
	memcpy(changed, bytes, size);
	changed[0] = 'X';
	assert_int_equal(base_zone_new(changed, size, &zone), BASE_INVALID);
	memcpy(changed, bytes, size);
	memset(changed + 54 + 44, 0x7f, 4); /* an offset of 68 years */
	assert_int_equal(base_zone_new(changed, size, &zone), BASE_INVALID);
	assert_null(zone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calendar),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_periods_follow_one_another),
		cmocka_unit_test(test_no_zone_is_utc),
		cmocka_unit_test(test_bad_rules),
		cmocka_unit_test(test_bad_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
