#include "tests/unit/unit.h"

#include "base/rand.h"
#include "base/ulid.h"

static void text_and_bytes_are_one(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text;
		uint8_t id[BASE_ULID_SIZE];
	} rows[] = {
		{ "00000000000000000000000000", { 0 } },
		{ "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
		  { 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255 } },
		{ "00000000000000000000000001", { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 } },
		{ "01ARZ3NDEKTSV4RRFFQ69G5FAV",
		  { 0x01, 0x56, 0x3e, 0x3a, 0xb5, 0xd3, 0xd6, 0x76, 0x4c, 0x61, 0xef, 0xb9, 0x93, 0x02, 0xbd, 0x5b } },
	};
	/* clang-format on */
	char text[BASE_ULID_TEXT + 1];
	uint8_t id[BASE_ULID_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		base_ulid_print(rows[i].id, text);
		assert_string_equal(text, rows[i].text);
		assert_true(base_ulid_parse(rows[i].text, id));
		assert_memory_equal(id, rows[i].id, sizeof id);
	}
}

static void lower_case_is_read(void **state)
{
	uint8_t a[BASE_ULID_SIZE];
	uint8_t b[BASE_ULID_SIZE];

	(void)state;
	assert_true(base_ulid_parse("01ARZ3NDEKTSV4RRFFQ69G5FAV", a));
	assert_true(base_ulid_parse("01arz3ndektsv4rrffq69g5fav", b));
	assert_memory_equal(a, b, sizeof a);
}

static void what_is_no_ulid_is_refused(void **state)
{
	/* clang-format off */
	static const char *const rows[] = {
		"",
		"0",
		"01ARZ3NDEKTSV4RRFFQ69G5FA",   /* one short */
		"01ARZ3NDEKTSV4RRFFQ69G5FAVV", /* one long */
		"81ARZ3NDEKTSV4RRFFQ69G5FAV",  /* over 128 bits */
		"01ARZ3NDEKTSV4RRFFQ69G5FAU",  /* U, I, L and O are no digits */
		"01ARZ3NDEKTSV4RRFFQ69G5FAI",
		"01ARZ3NDEKTSV4RRFFQ69G5FAo",
		"01ARZ3NDEKTSV4RRFFQ69G5FA\xff",
		"01ARZ3NDEKTSV4RRFFQ69G5FA ",
		"01ARZ3NDEK-SV4RRFFQ69G5FAV",
	};
	/* clang-format on */
	uint8_t id[BASE_ULID_SIZE] = { 0xAA };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_false(base_ulid_parse(rows[i], id));
	assert_int_equal(id[0], 0xAA);
}

static void random_ids_come_back(void **state)
{
	struct base_rand r;

	(void)state;
	base_rand_init(&r, 5);
	for (int i = 0; i < 2000; i++) {
		uint64_t parts[2] = { base_rand_next(&r), base_rand_next(&r) };
		uint8_t id[BASE_ULID_SIZE], back[BASE_ULID_SIZE];
		char text[BASE_ULID_TEXT + 1];
		memcpy(id, parts, sizeof id);
		base_ulid_print(id, text);
		assert_int_equal(strlen(text), BASE_ULID_TEXT);
		assert_true(base_ulid_parse(text, back));
		assert_memory_equal(id, back, sizeof id);
	}
}

static uint64_t ms_of(const uint8_t id[BASE_ULID_SIZE])
{
	uint64_t ms = 0;

	for (int i = 0; i < 6; i++)
		ms = ms << 8 | id[i];
	return ms;
}

static void ids_grow(void **state)
{
	struct base_ulid_maker maker = { 0 };
	struct base_rand r;
	uint8_t last[BASE_ULID_SIZE] = { 0 };
	uint8_t id[BASE_ULID_SIZE];
	/* the clock stands, goes on, and goes back */
	static const uint64_t times[] = { 1000, 1000, 1000, 1001, 1001, 900, 900, 1002, 5000,
		4999 };
	static const uint64_t expected[] = { 1000, 1000, 1000, 1001, 1001, 1001, 1001, 1002, 5000,
		5000 };

	(void)state;
	base_rand_init(&r, 1);
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		base_ulid_make(&maker, &r, times[i], id);
		assert_true(memcmp(id, last, sizeof id) > 0);
		assert_true(ms_of(id) == expected[i]);
		memcpy(last, id, sizeof id);
	}
}

static void within_a_millisecond_they_grow_by_one(void **state)
{
	struct base_ulid_maker maker = { 0 };
	struct base_rand r;
	uint8_t a[BASE_ULID_SIZE], b[BASE_ULID_SIZE];

	(void)state;
	base_rand_init(&r, 1);
	base_ulid_make(&maker, &r, 77, a);
	maker.last[15] = a[15] = 0xFF;
	maker.last[14] = a[14] = 0x10;
	base_ulid_make(&maker, &r, 77, b);
	assert_memory_equal(a, b, 14);
	assert_int_equal(b[14], 0x11);
	assert_int_equal(b[15], 0);
}

static void a_full_millisecond_borrows_the_next(void **state)
{
	struct base_ulid_maker maker = { 0 };
	struct base_rand r;
	uint8_t id[BASE_ULID_SIZE];

	(void)state;
	base_rand_init(&r, 1);
	base_ulid_make(&maker, &r, 77, id);
	memset(maker.last + 6, 0xFF, 10);
	base_ulid_make(&maker, &r, 77, id);
	assert_true(ms_of(id) == 78);
	base_ulid_make(&maker, &r, 77, id);
	assert_true(ms_of(id) == 78);
}

static void a_time_beyond_48_bits_is_the_last_one(void **state)
{
	struct base_ulid_maker maker = { 0 };
	struct base_rand r;
	uint8_t id[BASE_ULID_SIZE];

	(void)state;
	base_rand_init(&r, 1);
	base_ulid_make(&maker, &r, UINT64_MAX, id);
	assert_true(ms_of(id) == ((uint64_t)1 << 48) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_and_bytes_are_one),
		cmocka_unit_test(lower_case_is_read),
		cmocka_unit_test(what_is_no_ulid_is_refused),
		cmocka_unit_test(random_ids_come_back),
		cmocka_unit_test(ids_grow),
		cmocka_unit_test(within_a_millisecond_they_grow_by_one),
		cmocka_unit_test(a_full_millisecond_borrows_the_next),
		cmocka_unit_test(a_time_beyond_48_bits_is_the_last_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
