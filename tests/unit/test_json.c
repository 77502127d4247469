/* JSON as it stands: the grammar, what is refused and where, and walking without a change of a byte. */
#include "base/json.h"
#include "tests/unit/unit.h"

#define DEPTH 16

static bool check(const char *text, size_t size, struct base_json *out, const char **why, size_t *at)
{
	char *exact = malloc(size + 1); /* so that a sanitizer sees a read beyond the end */
	bool ok;

	memcpy(exact, text, size);
	ok = base_json_check(exact, size, DEPTH, out, why, at);
	if (ok) {
		size_t offset = (size_t)(out->text - exact);

		out->text = text + offset;
	}
	free(exact);
	return ok;
}

static const char *const good[] = { "null", "true", "false", "0", "-0", "1", "-12.5e+10", "1E5", "12345678901234567890123",
	"0.1", "\"\"", "\"a\"", "\" \\\"\\\\\\/\\b\\f\\n\\r\\t \"", "\"\\u00e9\\u20AC\"", "\"\\ud83d\\ude00\"", "\"é€😀\"",
	"[]", "[ ]", "{}", "{ }", "[1]", "[1,2,[3,{}]]", "{\"a\":1}", "{\"a\":{\"b\":[]},\"c\":null}", " \t\r\n[ 1 , 2 ] \n",
	"{\"a\":1,\"a\":2}", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", "\"\x7f\"" };

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		struct base_json json;
		const char *why = NULL;
		size_t at;

		if (!check(good[i], strlen(good[i]), &json, &why, &at))
			fail_msg("%s: %s at %zu", good[i], why, at);
		/* No part of it is a text of that kind, but numbers' beginnings. */
		for (size_t n = 0; n < strlen(good[i]) && json.kind != BASE_JSON_NUMBER; n++)
			assert_false(n < (size_t)(json.text - good[i]) + json.size &&
				     check(good[i], n, &json, &why, &at));
	}
}

static const struct {
	const char *text, *why;
	size_t at;
} bad[] = {
	{ "", "it ends too early", 0 },
	{ "  ", "it ends too early", 2 },
	{ "nul", "expected a value", 0 },
	{ "nulll", "something follows the value", 4 },
	{ "True", "expected a value", 0 },
	{ "NaN", "expected a value", 0 },
	{ "01", "something follows the value", 1 },
	{ "+1", "expected a value", 0 },
	{ "-", "expected a digit", 1 },
	{ "1.", "expected a digit", 2 },
	{ ".5", "expected a value", 0 },
	{ "1e", "expected a digit", 2 },
	{ "1 2", "something follows the value", 2 },
	{ "\"a", "a string does not end", 2 },
	{ "\"\\", "a string does not end", 2 },
	{ "\"\\x\"", "there is no such escape", 2 },
	{ "\"\\u12\"", "expected four hexadecimal digits", 2 },
	{ "\"a\nb\"", "a control character stands in a string", 2 },
	{ "\"\xff\"", "that is not UTF-8", 1 },
	{ "\"\xc0\xaf\"", "that is not UTF-8", 1 },
	{ "\"\xed\xa0\x80\"", "that is not UTF-8", 1 },
	{ "\"\\ud800\"", "half of a surrogate pair", 7 },
	{ "\"\\udc00\"", "half of a surrogate pair", 2 },
	{ "\"\\ud800\\ud800\"", "half of a surrogate pair", 7 },
	{ "\"\\ud800x\"", "half of a surrogate pair", 7 },
	{ "'a'", "expected a value", 0 },
	{ "[", "it ends too early", 1 },
	{ "[1", "it ends too early", 2 },
	{ "[1,]", "expected a value", 3 },
	{ "[1 2]", "expected a comma or ]", 3 },
	{ "[1}", "expected a comma or ]", 2 },
	{ "{", "expected a member's name", 1 },
	{ "{a:1}", "expected a member's name", 1 },
	{ "{\"a\"}", "expected a colon", 4 },
	{ "{\"a\":}", "expected a value", 5 },
	{ "{\"a\":1,}", "expected a member's name", 7 },
	{ "{\"a\":1]", "expected a comma or }", 6 },
	{ "{\"a\":1}}", "something follows the value", 7 },
	{ "]", "expected a value", 0 },
	{ "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", "it is nested too deeply", 16 },
	{ "// a\n1", "expected a value", 0 },
	{ "\xef\xbb\xbf{}", "expected a value", 0 },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct base_json json;
		const char *why = NULL;
		size_t at = 0;

		if (check(bad[i].text, strlen(bad[i].text), &json, &why, &at))
			fail_msg("%s was taken", bad[i].text);
		assert_string_equal(why, bad[i].why);
		assert_int_equal(at, bad[i].at);
	}
	{
		struct base_json json;
		const char *why = NULL;
		size_t at = 0;

		assert_false(check("\"a\0b\"", 5, &json, &why, &at));
		assert_false(check("\"\\\0\"", 4, &json, &why, &at));
	}
}

static void test_walk(void **state)
{
	static const char text[] = " { \"a\" : 12345678901234567890 ,\"b\\u0063\":[ 1,\"],\" , {} ,[]],"
				   "\"e\":{},\"s\":\"x\\\\\",\"z\":0.10 } ";
	static const char *const names[] = { "a", "bc", "e", "s", "z" };
	static const char *const values[] = { "12345678901234567890", "[ 1,\"],\" , {} ,[]]", "{}", "\"x\\\\\"", "0.10" };
	static const char *const elements[] = { "1", "\"],\"", "{}", "[]" };
	struct base_json json, key, value, list;
	struct base_json_walk walk;
	const char *why;
	size_t at, i = 0;

	(void)state;
	assert_true(base_json_check(text, sizeof text - 1, DEPTH, &json, &why, &at));
	walk = base_json_walk(&json);
	while (base_json_next(&walk, &key, &value)) {
		assert_true(base_json_is(&key, names[i]));
		assert_int_equal(value.size, strlen(values[i]));
		assert_memory_equal(value.text, values[i], value.size);
		i++;
	}
	assert_int_equal(i, 5);
	assert_true(base_json_get(&json, "bc", &list));
	assert_int_equal(list.kind, BASE_JSON_ARRAY);
	walk = base_json_walk(&list);
	for (i = 0; base_json_next(&walk, NULL, &value); i++) {
		assert_int_equal(value.size, strlen(elements[i]));
		assert_memory_equal(value.text, elements[i], value.size);
	}
	assert_int_equal(i, 4);
	assert_false(base_json_get(&json, "c", &value));
	assert_true(base_json_get(&json, "e", &value));
	walk = base_json_walk(&value);
	assert_false(base_json_next(&walk, &key, &value));
}

static void test_unescape(void **state)
{
	static const char text[] = "\"a\\n\\\"\\/\\u00e9\\u20ac\\ud83d\\ude00\\u0000z\"";
	static const char expected[] = "a\n\"/é€😀\0z";
	struct base_json json;
	struct base_buf buf;
	const char *why;
	size_t at;

	(void)state;
	assert_true(base_json_check(text, sizeof text - 1, DEPTH, &json, &why, &at));
	base_buf_init(&buf);
	base_json_unescape(&json, &buf);
	assert_int_equal(buf.size, sizeof expected - 1);
	assert_memory_equal(buf.data, expected, buf.size);
	base_buf_fini(&buf);
	assert_false(base_json_is(&json, "a"));
	assert_false(base_json_is(&json, "a\n\"/é€😀")); /* a NUL follows */
}

static void test_text(void **state)
{
	static const char text[] = "\"a\\n\\u00e9\\ud83d\\ude00z\"", nul[] = "\"a\\u0000\"";
	struct base_json json;
	const char *why;
	char out[16];
	size_t at;

	(void)state;
	assert_true(base_json_check(text, sizeof text - 1, DEPTH, &json, &why, &at));
	assert_true(base_json_is(&json, "a\né😀z"));
	assert_false(base_json_is(&json, "a\né😀"));
	assert_false(base_json_is(&json, "a\né😀zz"));
	assert_false(base_json_is(&json, ""));
	assert_true(base_json_text(&json, out, 10));
	assert_string_equal(out, "a\né😀z");
	assert_false(base_json_text(&json, out, 9));
	assert_true(base_json_check(nul, sizeof nul - 1, DEPTH, &json, &why, &at));
	assert_false(base_json_text(&json, out, sizeof out));
	assert_true(base_json_check("\"\"", 2, DEPTH, &json, &why, &at));
	assert_true(base_json_is(&json, ""));
	assert_true(base_json_text(&json, out, 1));
	assert_false(base_json_text(&json, out, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_walk),
		cmocka_unit_test(test_unescape),
		cmocka_unit_test(test_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
