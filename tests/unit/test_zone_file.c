/* Names of time zones: which are opened at all, and from where. The files are this test's own. */
#include "tests/unit/unit.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/zone_file.h"
#include "tests/unit/zone_bytes.h"

static char folder[] = "/tmp/pirn-zones-XXXXXX";

static void put(const char *name, const void *bytes, size_t size)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
	uint8_t bytes[512];
	size_t size = zone_bytes(bytes, sizeof bytes, BERLIN);
	char path[256];

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/Europe", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	put("Europe/Berlin", bytes, size);
	put("Etc-GMT+5", bytes, size);
	put("broken", "TZif", 4);
	put("empty", "", 0);
	put(".hidden", bytes, size);
	assert_int_equal(setenv("TZDIR", folder, 1), 0);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const files[] = { "Europe/Berlin", "Etc-GMT+5", "broken", "empty",
		".hidden", "large", "Europe", "" };
	char path[256];

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, files[i]);
		(void)remove(path);
	}
	return 0;
}

static void zones_are_found(void **state)
{
	struct base_zone *zone = NULL;

	(void)state;
	assert_int_equal(base_zone_load("Europe/Berlin", &zone), BASE_OK);
	assert_int_equal(base_zone_at(zone, 1752000000).offset_s, 7200);
	base_zone_free(&zone);
	assert_int_equal(base_zone_load("Etc-GMT+5", &zone), BASE_OK);
	base_zone_free(&zone);
}

static void utc_needs_no_file(void **state)
{
	static const char *const names[] = { "UTC", "Etc/UTC", "GMT", "Zulu" };
	struct base_zone *zone = (struct base_zone *)folder; /* anything but NULL */

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		assert_int_equal(base_zone_load(names[i], &zone), BASE_OK);
		assert_null(zone);
	}
}

static void what_is_none(void **state)
{
	struct base_zone *zone = NULL;
	char path[256];

	(void)state;
	assert_int_equal(base_zone_load("Europe/Berlni", &zone), BASE_NOT_FOUND);
	assert_int_equal(base_zone_load("broken/Berlin", &zone), BASE_NOT_FOUND);
	assert_int_equal(base_zone_load("Europe", &zone), BASE_INVALID); /* a folder */
	assert_int_equal(base_zone_load("broken", &zone), BASE_INVALID);
	assert_int_equal(base_zone_load("empty", &zone), BASE_INVALID);
	put("large", "", 0);
	snprintf(path, sizeof path, "%s/large", folder);
	assert_int_equal(truncate(path, BASE_ZONE_BYTES_MAX + 1), 0);
	assert_int_equal(base_zone_load("large", &zone), BASE_INVALID);
	assert_null(zone);
}

/* Nothing outside the folder is opened, whatever it is called. UNTRUSTED. */
static void names_have_rules(void **state)
{
	static const char *const bad[] = { "", "/", "/etc/passwd", "../zoneinfo/UTC",
		"Europe/../broken", "Europe//Berlin", "Europe/", "./broken", ".hidden", "Europe/.",
		"a b", "a\nb", "a\\b", "\xc3\xbc",
		"a0123456789012345678901234567890123456789012345678901234567890123" };
	struct base_zone *zone = NULL;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_false(base_zone_is_name(bad[i]));
		assert_int_equal(base_zone_load(bad[i], &zone), BASE_INVALID);
	}
	assert_true(base_zone_is_name("America/Argentina/ComodRivadavia"));
	assert_true(base_zone_is_name(
		"a012345678901234567890123456789012345678901234567890123456789.2"));
	assert_true(base_zone_is_name("Etc/GMT+5"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(zones_are_found),
		cmocka_unit_test(utc_needs_no_file),
		cmocka_unit_test(what_is_none),
		cmocka_unit_test(names_have_rules),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
