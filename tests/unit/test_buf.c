#include "tests/unit/unit.h"

#include "base/buf.h"
#include "tests/unit/count_alloc.h"

static void an_empty_one_is_an_empty_text(void **state)
{
	struct base_buf b;

	(void)state;
	base_buf_init(&b);
	assert_string_equal((char *)b.data, "");
	assert_int_equal(b.size, 0);
	assert_int_equal(base_buf_check(&b), BASE_OK);
	base_buf_add(&b, NULL, 0);
	base_buf_str(&b, "");
	base_buf_reset(&b);
	base_buf_fini(&b);
	base_buf_fini(&b);
}

static void it_grows_and_stays_terminated(void **state)
{
	struct base_buf b;

	(void)state;
	base_buf_init(&b);
	for (size_t i = 0; i < 5000; i++) {
		base_buf_chr(&b, (char)('a' + i % 26));
		assert_int_equal(b.size, i + 1);
		assert_int_equal(b.data[b.size], '\0');
	}
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(b.data[i], 'a' + i % 26);
	base_buf_reset(&b);
	assert_string_equal((char *)b.data, "");
	base_buf_fmt(&b, "%s=%d", "answer", 42);
	base_buf_fmt(&b, "%s", "");
	assert_string_equal((char *)b.data, "answer=42");
	base_buf_fini(&b);
}

static void room_is_filled_by_hand(void **state)
{
	struct base_buf b;
	uint8_t *room;

	(void)state;
	base_buf_init(&b);
	room = base_buf_room(&b, 100);
	assert_non_null(room);
	memcpy(room, "hello", 5);
	base_buf_grew(&b, 5);
	assert_string_equal((char *)b.data, "hello");
	base_buf_grew(&b, 0);
	base_buf_fini(&b);
	base_buf_grew(&b, 0);
}

static void reset_keeps_the_memory(void **state)
{
	struct base_buf b;
	uint8_t *data;

	(void)state;
	base_buf_init(&b);
	base_buf_fmt(&b, "%1000d", 1);
	data = b.data;
	count_alloc_start();
	for (int i = 0; i < 100; i++) {
		base_buf_reset(&b);
		base_buf_add(&b, "0123456789", 10);
		base_buf_json(&b, "text", 4);
	}
	assert_int_equal(count_alloc_stop(), 0);
	assert_ptr_equal(b.data, data);
	base_buf_fini(&b);
}

static void take_hands_the_memory_over(void **state)
{
	struct base_buf b;
	uint8_t *data;

	(void)state;
	base_buf_init(&b);
	base_buf_str(&b, "mine");
	data = base_buf_take(&b);
	assert_string_equal((char *)data, "mine");
	free(data);
	assert_int_equal(b.size, 0);
	assert_string_equal((char *)b.data, "");
	data = base_buf_take(&b); /* of an empty one, too */
	assert_string_equal((char *)data, "");
	free(data);
	base_buf_fini(&b);
}

static void what_cannot_be_allocated_is_an_error_that_stays(void **state)
{
	struct base_buf b;

	(void)state;
	base_buf_init(&b);
	base_buf_str(&b, "kept");
	assert_null(base_buf_room(&b, SIZE_MAX));
	assert_int_equal(base_buf_check(&b), BASE_NOMEM);
	assert_string_equal((char *)b.data, "kept");
	base_buf_str(&b, "ignored");
	base_buf_json(&b, "ignored", 7);
	base_buf_fmt(&b, "%d", 1);
	assert_string_equal((char *)b.data, "kept");
	assert_null(base_buf_take(&b));
	base_buf_reset(&b);
	assert_int_equal(base_buf_check(&b), BASE_OK);
	assert_null(base_buf_room(&b, SIZE_MAX - 4));
	base_buf_fini(&b);
}

static void out_of_memory_is_seen_at_the_end(void **state)
{
	struct base_buf b;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	base_buf_init(&b);
	count_alloc_fail_at(2);
	base_buf_str(&b, "first");
	for (int i = 0; i < 20; i++)
		base_buf_str(&b, "and then some more");
	count_alloc_fail_at(0);
	assert_int_equal(base_buf_check(&b), BASE_NOMEM);
	assert_int_equal(b.data[b.size], '\0');
	assert_memory_equal(b.data, "firstand", 8);
	base_buf_fini(&b);
	count_alloc_fail_at(1);
	assert_null(base_buf_take(&b));
	count_alloc_fail_at(0);
	assert_int_equal(base_buf_check(&b), BASE_NOMEM);
	base_buf_fini(&b);
}

static void json_strings(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text;
		size_t size;
		const char *json;
	} rows[] = {
		{ "", 0, "\"\"" },
		{ "World", 5, "\"World\"" },
		{ "a\"b\\c/", 6, "\"a\\\"b\\\\c/\"" },
		{ "\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\"" },
		{ "\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\x7f\"" },
		{ "J\xc3\xbcrgen \xe2\x82\xac \xf0\x9f\x98\x80", 16, "\"J\xc3\xbcrgen \xe2\x82\xac \xf0\x9f\x98\x80\"" },
		{ "\xff", 1, "\"\xef\xbf\xbd\"" },
		{ "\xc3", 1, "\"\xef\xbf\xbd\"" },                                     /* cut short */
		{ "\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\"" },                     /* overlong / */
		{ "\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" },     /* a surrogate */
		{ "\xf4\x90\x80\x80", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"" }, /* over U+10FFFF */
		{ "ok\x80ok", 5, "\"ok\xef\xbf\xbdok\"" },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct base_buf b;
		base_buf_init(&b);
		base_buf_json(&b, rows[i].text, rows[i].size);
		assert_int_equal(base_buf_check(&b), BASE_OK);
		assert_string_equal((char *)b.data, rows[i].json);
		base_buf_fini(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_one_is_an_empty_text),
		cmocka_unit_test(it_grows_and_stays_terminated),
		cmocka_unit_test(room_is_filled_by_hand),
		cmocka_unit_test(reset_keeps_the_memory),
		cmocka_unit_test(take_hands_the_memory_over),
		cmocka_unit_test(what_cannot_be_allocated_is_an_error_that_stays),
		cmocka_unit_test(out_of_memory_is_seen_at_the_end),
		cmocka_unit_test(json_strings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
