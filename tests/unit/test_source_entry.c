/* What a service gets of another Redis: any bytes as JSON, the head of a CloudEvent, and
 * keys that tell entries apart. */
#include "gateway/entry.h"
#include "proto/pirn.pb-c.h"
#include "tests/unit/unit.h"

#define F(n, v) { GW_SLICE(n), GW_SLICE(v) }

static void expect_json(const struct gw_entry_field *fields, size_t n, const char *expected)
{
	struct base_buf out;

	base_buf_init(&out);
	gw_entry_json(&out, fields, n);
	assert_int_equal(base_buf_check(&out), BASE_OK);
	assert_string_equal((const char *)out.data, expected);
	base_buf_fini(&out);
}

#define EXPECT_JSON(expected, ...) \
	expect_json((const struct gw_entry_field[]){ __VA_ARGS__ }, \
		sizeof((const struct gw_entry_field[]){ __VA_ARGS__ }) / sizeof(struct gw_entry_field), \
		expected)

static void test_fields_become_an_object(void **state)
{
	(void)state;
	expect_json(NULL, 0, "{}");
	EXPECT_JSON("{\"a\":\"1\"}", F("a", "1"));
	EXPECT_JSON("{\"b\":\"\",\"\":\"x\",\"a\":\"\xE2\x82\xAC\"}", F("b", ""), F("", "x"),
		F("a", "\xE2\x82\xAC"));
	EXPECT_JSON("{\"a\\\"\\n\":\"\\u0000\\\\\"}", F("a\"\n", "\0\\"));
}

static void test_bytes_that_are_no_text(void **state)
{
	(void)state;
	EXPECT_JSON("{\"a\":{\"base64\":\"/w==\"},\"b\":\"c\"}", F("a", "\xFF"), F("b", "c"));
	EXPECT_JSON("{\"a\":{\"base64\":\"7aCA\"}}", F("a", "\xED\xA0\x80")); /* half a surrogate pair */
	EXPECT_JSON("{\"base64:gA==\":\"b\"}", F("\x80", "b"));
}

static void test_a_field_that_is_there_several_times(void **state)
{
	(void)state;
	EXPECT_JSON("{\"a\":[\"3\",\"1\",\"2\"],\"b\":\"x\"}", F("a", "3"), F("b", "x"), F("a", "1"),
		F("a", "2"));
	EXPECT_JSON("{\"aa\":\"1\",\"a\":[\"2\",{\"base64\":\"/w==\"}]}", F("aa", "1"), F("a", "2"),
		F("a", "\xFF"));
}

static void test_a_changed_key(void **state)
{
	struct base_buf out;

	(void)state;
	base_buf_init(&out);
	gw_entry_key_json(&out, GW_SLICE("user:\"7\""), GW_SLICE("set"), 3);
	assert_string_equal((const char *)out.data, "{\"key\":\"user:\\\"7\\\"\",\"op\":\"set\",\"db\":3}");
	base_buf_reset(&out);
	gw_entry_key_json(&out, GW_SLICE("\xFE"), GW_SLICE("del"), 0);
	assert_string_equal((const char *)out.data, "{\"key\":{\"base64\":\"/g==\"},\"op\":\"del\",\"db\":0}");
	base_buf_fini(&out);
}

static const char *header(const Pirn__HttpRequest *r, const char *name)
{
	static char value[4096];

	for (size_t i = 0; i < r->n_headers; i++) {
		if (r->headers[i]->name.len != strlen(name) ||
			memcmp(r->headers[i]->name.data, name, strlen(name)) != 0)
			continue;
		snprintf(value, sizeof value, "%.*s", (int)r->headers[i]->value.len,
			(const char *)r->headers[i]->value.data);
		return value;
	}
	return NULL;
}

static Pirn__HttpRequest *made(const struct gw_entry_head *head)
{
	struct base_buf out;
	Pirn__HttpRequest *r;

	base_buf_init(&out);
	gw_entry_meta(&out, head);
	assert_int_equal(base_buf_check(&out), BASE_OK);
	r = pirn__http_request__unpack(NULL, out.size, out.data);
	assert_non_null(r);
	base_buf_fini(&out);
	return r;
}

static bool is_bytes(ProtobufCBinaryData b, const char *text)
{
	return b.len == strlen(text) && memcmp(b.data, text, b.len) == 0;
}

static void test_the_head_of_an_entry(void **state)
{
	Pirn__HttpRequest *r = made(&(struct gw_entry_head){ .where = "shop:6379/2",
		.what = GW_SLICE("orders/eu \xC3\xA9"),
		.type = "pirn.redis.entry",
		.op = { "", 0 },
		.id = "1770000000000-0",
		.subject = { "", 0 },
		.time_ms = 1770000000000 });

	(void)state;
	assert_true(is_bytes(r->method, "POST"));
	assert_true(is_bytes(r->target, "/v1/redis/orders%2Feu%20%C3%A9"));
	assert_string_equal(header(r, "Content-Type"), "application/json");
	assert_string_equal(header(r, "ce-specversion"), "1.0");
	assert_string_equal(header(r, "ce-id"), "1770000000000-0");
	assert_string_equal(header(r, "ce-type"), "pirn.redis.entry");
	assert_string_equal(header(r, "ce-source"), "redis:shop:6379/2/orders%2Feu%20%C3%A9");
	assert_string_equal(header(r, "ce-time"), "2026-02-02T02:40:00.000Z");
	assert_null(header(r, "ce-subject"));
	pirn__http_request__free_unpacked(r, NULL);
}

static void test_the_head_of_a_key(void **state)
{
	static char long_key[8192];
	struct gw_entry_head head = { .where = "/run/r.sock",
		.what = GW_SLICE("user:*"),
		.type = "pirn.redis.key.",
		.op = GW_SLICE("set"),
		.id = "x",
		.subject = GW_SLICE("user:a \"%\xFF\r\n") };
	Pirn__HttpRequest *r = made(&head);

	(void)state;
	assert_true(is_bytes(r->target, "/v1/redis/user:*"));
	assert_string_equal(header(r, "ce-type"), "pirn.redis.key.set");
	assert_string_equal(header(r, "ce-source"), "redis:/run/r.sock/user:*");
	assert_string_equal(header(r, "ce-subject"), "user:a%20%22%25%FF%0D%0A");
	assert_null(header(r, "ce-time"));
	pirn__http_request__free_unpacked(r, NULL);
	memset(long_key, ' ', sizeof long_key);
	head.subject = (struct gw_slice){ long_key, sizeof long_key };
	r = made(&head);
	assert_true(strlen(header(r, "ce-subject")) % 3 == 0 && strlen(header(r, "ce-subject")) < 2100);
	pirn__http_request__free_unpacked(r, NULL);
}

static void test_ids(void **state)
{
	static const char *const wrong[] = { "", "-", "1", "1-", "-1", "1-1-1", "a-1", "1-a", "1-1 ",
		"123456789012345678901-0", "1-123456789012345678901" };
	uint64_t ms;

	(void)state;
	assert_true(gw_entry_is_id(GW_SLICE("1770000000000-5"), &ms));
	assert_true(ms == 1770000000000);
	assert_true(gw_entry_is_id(GW_SLICE("18446744073709551615-18446744073709551615"), &ms));
	assert_true(ms == 0); /* no time */
	assert_true(gw_entry_is_id(GW_SLICE("1-1"), &ms));
	assert_true(ms == 0);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		assert_false(gw_entry_is_id(gw_slice_of(wrong[i]), &ms));
}

static void test_keys_tell_entries_apart(void **state)
{
	static const char *const scopes[][2] = { { "a", "b" }, { "ab", "" }, { "", "ab" }, { "a", "c" } };
	uint8_t keys[7][GW_ENTRY_KEY], again[GW_ENTRY_KEY];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < 4; i++)
		gw_entry_key(scopes[i], 2, GW_SLICE("1-1"), GW_SLICE("{}"), keys[n++]);
	gw_entry_key(scopes[0], 1, GW_SLICE("1-1"), GW_SLICE("{}"), keys[n++]);
	gw_entry_key(scopes[0], 2, GW_SLICE("1-2"), GW_SLICE("{}"), keys[n++]);
	gw_entry_key(scopes[0], 2, GW_SLICE("1-1"), GW_SLICE("{ }"), keys[n++]);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(keys[i], keys[k], GW_ENTRY_KEY);
	gw_entry_key(scopes[0], 2, GW_SLICE("1-1"), GW_SLICE("{}"), again);
	assert_memory_equal(again, keys[0], GW_ENTRY_KEY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields_become_an_object),
		cmocka_unit_test(test_bytes_that_are_no_text),
		cmocka_unit_test(test_a_field_that_is_there_several_times),
		cmocka_unit_test(test_a_changed_key),
		cmocka_unit_test(test_the_head_of_an_entry),
		cmocka_unit_test(test_the_head_of_a_key),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_keys_tell_entries_apart),
	};

	return cmocka_run_group_tests_name("source_entry", tests, NULL, NULL);
}
