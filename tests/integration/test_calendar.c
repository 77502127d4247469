/* Our calendar beside others': every time zone of this system with zdump, and thousands of random cron
 * expressions with python3-croniter (calendar_peer.py says what is not comparable, and why). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cron.h"
#include "tests/harness/process.h"
#include "tests/harness/wait.h"

#define ZONES       "/usr/share/zoneinfo"
#define EXPRESSIONS 3000
#define FAR_S       (6 * 3600)

/* NULL: there is no such file. */
static struct base_zone *load(const char *name)
{
	static uint8_t bytes[BASE_ZONE_BYTES_MAX];
	struct base_zone *zone = NULL;
	char path[512];
	size_t size;
	FILE *file;

	snprintf(path, sizeof path, ZONES "/%s", name);
	file = fopen(path, "r");
	if (!file)
		return NULL;
	size = fread(bytes, 1, sizeof bytes, file);
	fclose(file);
	if (base_zone_new(bytes, size, &zone))
		fail_msg("%s is no time zone to us", path);
	return zone;
}

static int64_t utc_of(const char *month, int day, int hour, int minute, int second, int year)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	const char *at = strstr(months, month);

	assert_non_null(at);
	return base_zone_days(year, (unsigned)((at - months) / 3 + 1), (unsigned)day) * 86400 +
	       hour * 3600 + minute * 60 + second;
}

/* "ZONE  Sun Mar 29 01:00:00 2026 UT = Sun Mar 29 03:00:00 2026 CEST isdst=1 gmtoff=7200" */
static unsigned compare_zone(const char *name)
{
	struct base_zone *zone = load(name);
	char command[600], line[512];
	unsigned n = 0;
	FILE *dump;

	if (!zone)
		return 0;
	snprintf(command, sizeof command, "zdump -V -c 1880,2080 " ZONES "/%s", name);
	dump = popen(command, "r");
	assert_non_null(dump);
	while (fgets(line, sizeof line, dump)) {
		const char *offset = strstr(line, "gmtoff="), *at = strchr(line, ' ');
		int day, hour, minute, second, year;
		char month[8];

		if (!offset || sscanf(at, " %*s %7s %d %d:%d:%d %d UT", month, &day, &hour, &minute,
				       &second, &year) != 6)
			continue;
		if (base_zone_at(zone, utc_of(month, day, hour, minute, second, year)).offset_s !=
			atoi(offset + 7))
			fail_msg("zdump says otherwise: %s", line);
		n++;
	}
	pclose(dump);
	base_zone_free(&zone);
	return n;
}

static void test_zones_as_zdump(void **state)
{
	FILE *table = fopen(ZONES "/zone1970.tab", "r");
	unsigned zones = 0, lines = 0;
	char line[512], name[128];

	(void)state;
	assert_non_null(table);
	while (fgets(line, sizeof line, table))
		if (line[0] != '#' && sscanf(line, "%*s %*s %127s", name) == 1) {
			unsigned n = compare_zone(name);

			zones += n > 0;
			lines += n;
		}
	fclose(table);
	print_message("%u moments of %u zones\n", lines, zones);
	assert_true(zones > 250 && lines > 20000);
}

static bool is_far(const struct base_zone *zone, int64_t at)
{
	int32_t offset = base_zone_at(zone, at).offset_s;

	return base_zone_at(zone, at - FAR_S).offset_s == offset &&
	       base_zone_at(zone, at + FAR_S).offset_s == offset;
}

struct zone_of_name {
	char name[64];
	struct base_zone *zone;
};

static const struct base_zone *cached(struct zone_of_name *cache, const char *name)
{
	while (cache->name[0] && strcmp(cache->name, name) != 0)
		cache++;
	if (!cache->name[0]) {
		snprintf(cache->name, sizeof cache->name, "%s", name);
		cache->zone = load(name);
		assert_non_null(cache->zone);
	}
	return cache->zone;
}

/* One line of the peer's. How many slots were compared. */
static unsigned compare_slots(const struct base_zone *zone, const char *line, const char *expression,
	int64_t at, char *slots)
{
	struct base_cron cron;
	char why[256], *rest;
	unsigned n = 0;

	if (!base_cron_parse(expression, &cron, why, sizeof why)) {
		if (strcmp(slots, "never") != 0)
			fail_msg("%s (%s)", line, why);
		return 1;
	}
	for (char *slot = strtok_r(slots, " ", &rest); slot; slot = strtok_r(NULL, " ", &rest)) {
		at = base_cron_next(&cron, zone, at);
		if (!is_far(zone, at))
			return n;
		if (at != strtoll(slot, NULL, 10))
			fail_msg("%s, got %lld for %s", line, (long long)at, slot);
		n++;
	}
	return n;
}

static void test_slots_as_croniter(void **state)
{
	struct zone_of_name cache[16] = { 0 };
	char command[600], line[1024], copy[1024];
	const char *seed = getenv("SEED");
	unsigned n = 0, lines = 0;
	FILE *peer;

	(void)state;
	snprintf(command, sizeof command, "/usr/bin/python3 tests/integration/calendar_peer.py %s %d",
		seed ? seed : "7", EXPRESSIONS);
	peer = popen(command, "r");
	assert_non_null(peer);
	while (fgets(line, sizeof line, peer)) {
		char *zone, *start, *expression, *slots, *rest;

		line[strcspn(line, "\n")] = '\0';
		strcpy(copy, line);
		zone = strtok_r(copy, "\t", &rest);
		start = strtok_r(NULL, "\t", &rest);
		expression = strtok_r(NULL, "\t", &rest);
		slots = strtok_r(NULL, "\t", &rest);
		assert_non_null(slots);
		n += compare_slots(
			cached(cache, zone), line, expression, strtoll(start, NULL, 10), slots);
		lines++;
	}
	assert_int_equal(pclose(peer), 0);
	print_message("%u slots of %u expressions\n", n, lines);
	assert_int_equal(lines, EXPRESSIONS);
	assert_true(n > 2 * EXPRESSIONS);
	for (size_t i = 0; i < 16; i++)
		base_zone_free(&cache[i].zone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_zones_as_zdump),
		cmocka_unit_test(test_slots_as_croniter),
	};

	return harness_main("calendar", tests);
}
