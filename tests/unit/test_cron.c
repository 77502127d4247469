/* Cron expressions: what is taken, what is refused and why, and the tricky dates. The zones here have
 * no file; tests/integration/test_calendar.c compares with another implementation. */
#include "base/cron.h"
#include "tests/unit/unit.h"
#include "tests/unit/zone_bytes.h"

/* "2026-03-29 01:00" of UTC. */
static int64_t moment(const char *text)
{
	int year, month, day, hour, minute;

	assert_int_equal(sscanf(text, "%d-%d-%d %d:%d", &year, &month, &day, &hour, &minute), 5);
	return base_zone_days(year, (unsigned)month, (unsigned)day) * 86400 + hour * 3600 + minute * 60;
}

static const char *show(int64_t at, char out[32])
{
	int64_t days = at / 86400, year;
	unsigned month, day;

	if (at == BASE_CRON_NEVER)
		return strcpy(out, "never");
	base_zone_date(days, &year, &month, &day);
	snprintf(out, 32, "%04d-%02u-%02u %02d:%02d", (int)year, month, day,
		(int)(at % 86400 / 3600), (int)(at % 3600 / 60));
	return out;
}

/* All times of UTC; the slots that follow `after`, with commas. */
static const struct {
	const char *what, *expression, *rule, *after, *slots;
} rows[] = {
	{ "every minute", "* * * * *", NULL, "2026-01-01 00:00", "2026-01-01 00:01,2026-01-01 00:02" },
	{ "the next year", "0 0 1 1 *", NULL, "2026-01-01 00:00", "2027-01-01 00:00,2028-01-01 00:00" },
	{ "the last of a month", "0 0 31 * *", NULL, "2026-01-31 00:00", "2026-03-31 00:00,2026-05-31 00:00" },
	{ "day 30, february has none", "0 12 30 * *", NULL, "2026-01-30 12:00", "2026-03-30 12:00" },
	{ "leap day", "0 0 29 2 *", NULL, "2026-01-01 00:00", "2028-02-29 00:00,2032-02-29 00:00" },
	{ "leap day, over 2100, which has none", "0 0 29 2 *", NULL, "2096-02-29 00:00", "2104-02-29 00:00" },
	{ "either day", "0 0 13 * 5", NULL, "2026-02-06 00:00", "2026-02-13 00:00,2026-02-20 00:00,2026-02-27 00:00,2026-03-06 00:00,2026-03-13 00:00" },
	{ "a star makes both necessary", "0 0 */2 * mon", NULL, "2026-02-01 00:00", "2026-02-09 00:00,2026-02-23 00:00,2026-03-09 00:00" },
	{ "sunday as 0", "0 0 * * 0", NULL, "2026-11-21 00:00", "2026-11-22 00:00,2026-11-29 00:00" },
	{ "sunday as 7", "0 0 * * 7", NULL, "2026-11-21 00:00", "2026-11-22 00:00,2026-11-29 00:00" },
	{ "friday to sunday", "0 0 * * 5-7", NULL, "2026-11-19 00:00", "2026-11-20 00:00,2026-11-21 00:00,2026-11-22 00:00,2026-11-27 00:00" },
	{ "names", "30 8 * JAN,mar Mon-wed", NULL, "2026-01-28 09:00", "2026-03-02 08:30,2026-03-03 08:30,2026-03-04 08:30,2026-03-09 08:30" },
	{ "steps", "7-40/15 */7 * * *", NULL, "2026-05-05 14:08", "2026-05-05 14:22,2026-05-05 14:37,2026-05-05 21:07" },
	{ "a list of all kinds", "1,5-7,*/30 3 * * *", NULL, "2026-05-05 00:00", "2026-05-05 03:00,2026-05-05 03:01,2026-05-05 03:05,2026-05-05 03:06,2026-05-05 03:07,2026-05-05 03:30,2026-05-06 03:00" },
	{ "@hourly", "@hourly", NULL, "2026-12-31 23:00", "2027-01-01 00:00,2027-01-01 01:00" },
	{ "@weekly", "@weekly", NULL, "2026-11-21 12:00", "2026-11-22 00:00,2026-11-29 00:00" },
	{ "@yearly", "@yearly", NULL, "2026-11-21 12:00", "2027-01-01 00:00" },
	{ "white space", "\t 0  0 \t1 1 * ", NULL, "2026-11-21 12:00", "2027-01-01 00:00" },
	{ "before 1970", "0 0 1 1 *", NULL, "1960-06-01 00:00", "1961-01-01 00:00" },

	{ "Berlin in winter and summer", "0 3 * * *", BERLIN, "2026-03-27 12:00", "2026-03-28 02:00,2026-03-29 01:00,2026-03-30 01:00" },
	{ "Berlin, leaped over", "30 2 * * *", BERLIN, "2026-03-28 00:00", "2026-03-28 01:30,2026-03-29 01:00,2026-03-30 00:30" },
	{ "Berlin, several leaped over: once", "15,45 2 * * *", BERLIN, "2026-03-28 02:00", "2026-03-29 01:00,2026-03-30 00:15,2026-03-30 00:45" },
	{ "Berlin, leaped over, and due right after it", "30 2,3 * * *", BERLIN, "2026-03-29 00:00", "2026-03-29 01:00,2026-03-29 01:30,2026-03-30 00:30" },
	{ "Berlin, leaped over on a day that does not match", "30 2 28 3 *", BERLIN, "2026-03-28 12:00", "2027-03-28 01:00" },
	{ "Berlin, twice", "30 2 * * *", BERLIN, "2026-10-24 12:00", "2026-10-25 00:30,2026-10-26 01:30" },
	{ "Berlin, twice: both minutes, the first time", "0,30 2 * * *", BERLIN, "2026-10-24 12:00", "2026-10-25 00:00,2026-10-25 00:30,2026-10-26 01:00" },
	{ "Berlin, begun between the two", "30 2 * * *", BERLIN, "2026-10-25 00:45", "2026-10-26 01:30" },
	{ "Berlin, the hour after both", "0 3 * * *", BERLIN, "2026-10-24 12:00", "2026-10-25 02:00,2026-10-26 02:00" },
	{ "Berlin, so often: no leap", "*/30 * * * *", BERLIN, "2026-03-29 00:15", "2026-03-29 00:30,2026-03-29 01:00,2026-03-29 01:30" },
	{ "Berlin, so often: goes on in the hour that comes again", "0 * * * *", BERLIN, "2026-10-24 23:30", "2026-10-25 00:00,2026-10-25 01:00,2026-10-25 02:00,2026-10-25 03:00" },
	{ "Berlin, a star in the minute follows the clock", "* 2 * * *", BERLIN, "2026-10-25 00:58", "2026-10-25 00:59,2026-10-25 01:00,2026-10-25 01:01" },
	{ "Berlin, a star in the minute, leaped over", "* 2 * * *", BERLIN, "2026-03-29 00:00", "2026-03-30 00:00" },
	{ "New York, leaped over", "30 2 * * *", NEW_YORK, "2026-03-07 12:00", "2026-03-08 07:00,2026-03-09 06:30" },
	{ "New York, twice", "30 1 * * *", NEW_YORK, "2026-10-31 12:00", "2026-11-01 05:30,2026-11-02 06:30" },
	{ "Lord Howe, half an hour leaped over", "15 2 * * *", LORD_HOWE, "2026-10-02 16:00", "2026-10-03 15:30,2026-10-04 15:15" },
	{ "Lord Howe, half an hour twice", "45 1 * * *", LORD_HOWE, "2026-04-03 14:50", "2026-04-04 14:45,2026-04-05 15:15" },
	{ "Dublin, whose winter is the exception", "30 1 * * *", DUBLIN, "2026-03-28 12:00", "2026-03-29 01:00,2026-03-30 00:30" },
	{ "Cairo, midnight leaped over", "0 0 * * *", CAIRO, "2026-04-22 23:00", "2026-04-23 22:00,2026-04-24 21:00" },
	{ "Cairo, midnight of a date leaped over", "0 0 24 4 *", CAIRO, "2026-01-01 00:00", "2026-04-23 22:00" },
	{ "a change of three hours is a correction", "30 2 * * *", "AAA0BBB-3,J100/1,J200/1", "2026-04-09 20:00", "2026-04-10 23:30" },
};

static void test_slots(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct base_zone *zone = rows[i].rule ? zone_of(rows[i].rule) : NULL;
		int64_t at = moment(rows[i].after);
		struct base_cron cron;
		char why[256] = "", text[32], found[512] = "";

		if (!base_cron_parse(rows[i].expression, &cron, why, sizeof why))
			fail_msg("%s: %s", rows[i].what, why);
		while (strlen(found) < strlen(rows[i].slots)) {
			at = base_cron_next(&cron, zone, at);
			snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s",
				found[0] ? "," : "", show(at, text));
		}
		if (strcmp(found, rows[i].slots) != 0)
			fail_msg("%s: expected %s, got %s", rows[i].what, rows[i].slots, found);
		base_zone_free(&zone);
	}
}

static const struct {
	const char *expression, *why;
} refused[] = {
	{ "", "expected five fields (minute, hour, day of month, month, day of week) or a word such as @hourly, got 0 fields" },
	{ "*", "expected five fields (minute, hour, day of month, month, day of week) or a word such as @hourly, got 1 field" },
	{ "0 0 1 1 * root", "expected five fields (minute, hour, day of month, month, day of week) or a word such as @hourly, got 6 fields" },
	{ "60 0 * * *", "minute: expected 0 to 59, got \"60\"" },
	{ "0 24 * * *", "hour: expected 0 to 23, got \"24\"" },
	{ "0 0 0 * *", "day of month: expected 1 to 31, got \"0\"" },
	{ "0 0 1 13 *", "month: expected 1 to 12 or a name such as feb, got \"13\"" },
	{ "0 0 1 january *", "month: expected 1 to 12 or a name such as feb, got \"january\"" },
	{ "0 0 * * 8", "day of week: expected 0 to 7 or a name such as mon, got \"8\"" },
	{ "0 0 * mon *", "month: expected 1 to 12 or a name such as feb, got \"mon\"" },
	{ "5/10 * * * *", "minute: a step needs a range or * before it, got \"/10\"" },
	{ "*/0 * * * *", "minute: expected a step of 1 or more within the field's range, got \"0\"" },
	{ "*/99 * * * *", "minute: expected a step of 1 or more within the field's range, got \"99\"" },
	{ "*/ * * * *", "minute: expected a step of 1 or more within the field's range, got \"\"" },
	{ "30-10 * * * *", "minute: a range goes upwards, got \"30-10\"" },
	{ "1- * * * *", "minute: expected 0 to 59, got \"\"" },
	{ "1,,2 * * * *", "minute: expected 0 to 59, got \",2\"" },
	{ "1, * * * *", "minute: expected 0 to 59, got \"\"" },
	{ "-1 * * * *", "minute: expected 0 to 59, got \"-1\"" },
	{ "** * * * *", "minute: expected a comma or the field's end, got \"*\"" },
	{ "0 0 L * *", "day of month: expected 1 to 31, got \"L\"" },
	{ "0 0 ? * *", "day of month: expected 1 to 31, got \"?\"" },
	{ "0 0 30 2 *", "day of month: none of the months has such a day" },
	{ "0 0 31 4,6,9,11 *", "day of month: none of the months has such a day" },
	{ "99999999999999999999 * * * *", "minute: expected 0 to 59, got \"99999999999999999999\"" },
	{ "@reboot", "expected @yearly, @annually, @monthly, @weekly, @daily, @midnight or @hourly, got \"@reboot\"" },
	{ "@every 5m", "expected @yearly, @annually, @monthly, @weekly, @daily, @midnight or @hourly, got \"@every 5m\"" },
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		struct base_cron cron;
		char why[256] = "";

		assert_false(base_cron_parse(refused[i].expression, &cron, why, sizeof why));
		assert_string_equal(why, refused[i].why);
	}
}

static void test_every(void **state)
{
	struct base_cron cron = base_cron_every(30);

	(void)state;
	assert_int_equal(base_cron_next(&cron, NULL, 0), 30);
	assert_int_equal(base_cron_next(&cron, NULL, 29), 30);
	assert_int_equal(base_cron_next(&cron, NULL, 30), 60);
	assert_int_equal(base_cron_next(&cron, NULL, -31), -30);
	assert_int_equal(base_cron_next(&cron, NULL, INT64_MAX - 5), BASE_CRON_NEVER);
}

static void test_latest(void **state)
{
	struct base_cron minutely, yearly, thirty = base_cron_every(30);
	struct base_zone *zone = zone_of(BERLIN);
	char why[256];
	int64_t now = moment("2026-11-21 12:34") + 5;

	(void)state;
	assert_true(base_cron_parse("* * * * *", &minutely, why, sizeof why));
	assert_true(base_cron_parse("30 2 29 3 *", &yearly, why, sizeof why));
	assert_int_equal(base_cron_latest(&minutely, zone, moment("2020-01-01 00:00"), now), now - 5);
	assert_int_equal(base_cron_latest(&minutely, zone, now - 5, now), BASE_CRON_NEVER);
	assert_int_equal(base_cron_latest(&minutely, zone, now - 6, now - 5), now - 5);
	assert_int_equal(base_cron_latest(&minutely, zone, now, now - 500), BASE_CRON_NEVER);
	assert_int_equal(base_cron_latest(&yearly, zone, moment("2020-01-01 00:00"), now), moment("2026-03-29 01:00"));
	assert_int_equal(base_cron_latest(&yearly, zone, moment("2026-03-29 01:00"), now), BASE_CRON_NEVER);
	assert_int_equal(base_cron_latest(&thirty, zone, 0, 95), 90);
	assert_int_equal(base_cron_latest(&thirty, zone, 90, 95), BASE_CRON_NEVER);
	assert_int_equal(base_cron_latest(&thirty, zone, 89, 90), 90);
	base_zone_free(&zone);
}

/* Slots grow, and the one after the moment before a slot is that slot: no gateway sees another chain,
 * whenever it asks. */
static void test_chain_is_the_same_from_anywhere(void **state)
{
	static const char *const expressions[] = { "*/7 * * * *", "15,45 1-3 * * *", "30 2 * * sun", "0 0 29 2 *" };
	static const char *const rules[] = { BERLIN, NEW_YORK, LORD_HOWE, CAIRO };

	(void)state;
	for (size_t e = 0; e < 4; e++)
		for (size_t z = 0; z < 4; z++) {
			struct base_zone *zone = zone_of(rules[z]);
			int64_t at = moment("2026-03-01 00:00");
			struct base_cron cron;
			char why[256];

			assert_true(base_cron_parse(expressions[e], &cron, why, sizeof why));
			for (int i = 0; i < 300; i++) {
				int64_t next = base_cron_next(&cron, zone, at);

				if (next == BASE_CRON_NEVER)
					break;
				assert_true(next > at);
				assert_int_equal(base_cron_next(&cron, zone, next - 1), next);
				assert_int_equal(base_cron_next(&cron, zone, at + (next - at) / 2), next);
				at = next;
			}
			base_zone_free(&zone);
		}
}

/* Against the slots one by one, over both changes of the clock. */
static void test_latest_ones_are_counted(void **state)
{
	static const char *const expressions[] = { "*/7 * * * *", "15,45 1-3 * * *", "30 2 * * *", "0 */5 * * *" };
	static const char *const rules[] = { BERLIN, LORD_HOWE };
	const int64_t from = moment("2026-03-01 00:00"), until = moment("2026-12-01 00:00") + 17;

	(void)state;
	for (size_t i = 0; i < 8; i++) {
		static int64_t slots[100000];
		struct base_zone *zone = zone_of(rules[i % 2]);
		struct base_cron cron;
		char why[256];
		size_t n = 0;

		assert_true(base_cron_parse(expressions[i / 2], &cron, why, sizeof why));
		for (int64_t at = base_cron_next(&cron, zone, from); at <= until;
			at = base_cron_next(&cron, zone, at))
			slots[n++] = at;
		assert_true(n > 250);
		for (size_t k = 0; k < n; k += 1 + k / 3)
			assert_int_equal(base_cron_nth_latest(&cron, zone, from, until, (uint32_t)k), slots[n - 1 - k]);
		assert_int_equal(base_cron_nth_latest(&cron, zone, from, until, (uint32_t)n - 1), slots[0]);
		assert_int_equal(base_cron_nth_latest(&cron, zone, from, until, (uint32_t)n), BASE_CRON_NEVER);
		for (size_t k = 1; k < n; k++) {
			int64_t half = (slots[k] - slots[k - 1]) / 2;

			assert_int_equal(base_cron_latest(&cron, zone, from, slots[k] - 1), slots[k - 1]);
			assert_int_equal(base_cron_latest(&cron, zone, slots[k - 1] - 1, slots[k - 1] + half), slots[k - 1]);
		}
		base_zone_free(&zone);
	}
}

static void test_every_ones_are_counted(void **state)
{
	struct base_cron thirty = base_cron_every(30);

	(void)state;
	assert_int_equal(base_cron_nth_latest(&thirty, NULL, 0, 95, 0), 90);
	assert_int_equal(base_cron_nth_latest(&thirty, NULL, 0, 95, 2), 30);
	assert_int_equal(base_cron_nth_latest(&thirty, NULL, 0, 95, 3), BASE_CRON_NEVER);
	assert_int_equal(base_cron_nth_latest(&thirty, NULL, 95, 95, 0), BASE_CRON_NEVER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_every),
		cmocka_unit_test(test_latest),
		cmocka_unit_test(test_chain_is_the_same_from_anywhere),
		cmocka_unit_test(test_latest_ones_are_counted),
		cmocka_unit_test(test_every_ones_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
