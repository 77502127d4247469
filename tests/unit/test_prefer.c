/* Prefer and Idempotency-Key: what is read out of a header, and what is not. */
#include "tests/unit/unit.h"

#include "gateway/key.h"
#include "gateway/prefer.h"

static void respond_async_is_found(void **state)
{
	static const char *const values[] = { "respond-async", "Respond-Async", " respond-async ",
		"respond-async, wait=10", "wait=10,respond-async", "respond-async; x=1",
		"foo=\"a,b\", respond-async", "foo=\"\\\"\",respond-async", "respond-async=\"\"",
		"respond-async =", ",,respond-async,", "return=minimal;a=\";\", respond-async" };

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		if (!gw_prefer_async(gw_slice_of(values[i])))
			fail_msg("not found in: %s", values[i]);
}

static void nothing_else_is(void **state)
{
	static const char *const values[] = { "", ",", "wait=10", "respond-sync", "respond-asyncs",
		"respond", "foo=\"respond-async\"", "foo=\", respond-async", "x; respond-async",
		"respond-async=no", "\"respond-async\"", "=respond-async", "foo=\"\\",
		"respond async" };

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		if (gw_prefer_async(gw_slice_of(values[i])))
			fail_msg("found in: %s", values[i]);
}

static void keys_are_read(void **state)
{
	static const struct {
		const char *value, *key;
	} rows[] = {
		{ "\"8e03978e-40d5\"", "8e03978e-40d5" },
		{ "8e03978e-40d5", "8e03978e-40d5" },
		{ " x ", "x" },
		{ "\"a b\"", "a b" },
		{ "\"a,b\"", "a,b" },
		{ "\"a\\\"b\\\\c\"", "a\"b\\c" },
		{ "a/b+c=;d", "a/b+c=;d" },
	};
	uint8_t key[GW_KEY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = gw_key_read(gw_slice_of(rows[i].value), key);
		assert_int_equal(n, strlen(rows[i].key));
		assert_memory_equal(key, rows[i].key, n);
	}
}

static void what_is_no_key_is_refused(void **state)
{
	static const char *const values[] = { "", " ", "\"\"", "\"", "a b", "a,b", "\"a", "a\"",
		"a\"b", "\"a\"b\"", "\"a\\b\"", "\"a\\\"", "\xc3\xa4", "\"\xc3\xa4\"", "\"a\tb\"",
		"\"a\", \"b\"" };
	uint8_t key[GW_KEY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++)
		if (gw_key_read(gw_slice_of(values[i]), key))
			fail_msg("taken for a key: %s", values[i]);
}

static void a_key_has_255_bytes_at_most(void **state)
{
	char text[GW_KEY_MAX + 4];
	uint8_t key[GW_KEY_MAX];

	(void)state;
	memset(text, 'k', sizeof text);
	assert_int_equal(gw_key_read((struct gw_slice){ text, GW_KEY_MAX }, key), GW_KEY_MAX);
	assert_int_equal(gw_key_read((struct gw_slice){ text, GW_KEY_MAX + 1 }, key), 0);
	text[0] = text[GW_KEY_MAX + 1] = '"';
	assert_int_equal(gw_key_read((struct gw_slice){ text, GW_KEY_MAX + 2 }, key), GW_KEY_MAX);
	text[GW_KEY_MAX + 1] = 'k';
	text[GW_KEY_MAX + 2] = '"';
	assert_int_equal(gw_key_read((struct gw_slice){ text, GW_KEY_MAX + 3 }, key), 0);
}

static void hash(struct gw_key_request r, uint8_t out[GW_KEY_HASH])
{
	gw_key_hash(&r, out);
}

/* Every part counts, and where one ends and the next begins. */
static void requests_that_differ_have_other_fingerprints(void **state)
{
#define S GW_SLICE
	static const struct gw_key_request rows[] = {
		{ S("POST"), S("/a"), S("text/plain"), S("body"), false },
		{ S("PUT"), S("/a"), S("text/plain"), S("body"), false },
		{ S("POST"), S("/b"), S("text/plain"), S("body"), false },
		{ S("POST"), S("/a"), S("text/css"), S("body"), false },
		{ S("POST"), S("/a"), S("text/plain"), S("BODY"), false },
		{ S("POST"), S("/a"), S("text/plain"), S("body"), true },
		{ S("POST/"), S("a"), S("text/plain"), S("body"), false },
		{ S("POST"), S("/a"), S("text/plainb"), S("ody"), false },
		{ S("POST"), S("/a"), S(""), S("text/plainbody"), false },
	};
#undef S
	uint8_t sums[sizeof rows / sizeof *rows][GW_KEY_HASH], again[GW_KEY_HASH];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		hash(rows[i], sums[i]);
		for (size_t k = 0; k < i; k++)
			assert_memory_not_equal(sums[i], sums[k], GW_KEY_HASH);
		hash(rows[i], again);
		assert_memory_equal(sums[i], again, GW_KEY_HASH);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(respond_async_is_found),
		cmocka_unit_test(nothing_else_is),
		cmocka_unit_test(keys_are_read),
		cmocka_unit_test(what_is_no_key_is_refused),
		cmocka_unit_test(a_key_has_255_bytes_at_most),
		cmocka_unit_test(requests_that_differ_have_other_fingerprints),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
