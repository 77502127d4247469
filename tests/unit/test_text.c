#include "tests/unit/unit.h"

#include "base/text.h"

static void utf8_is_told_from_what_is_not(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text;
		size_t size, length;
		uint32_t code;
	} rows[] = {
		{ "a", 1, 1, 'a' },
		{ "\0", 1, 1, 0 },
		{ "\x7f", 1, 1, 0x7f },
		{ "\xc2\x80", 2, 2, 0x80 },
		{ "\xdf\xbf", 2, 2, 0x7ff },
		{ "\xe0\xa0\x80", 3, 3, 0x800 },
		{ "\xed\x9f\xbf", 3, 3, 0xd7ff },
		{ "\xee\x80\x80", 3, 3, 0xe000 },
		{ "\xef\xbf\xbf", 3, 3, 0xffff },
		{ "\xf0\x90\x80\x80", 4, 4, 0x10000 },
		{ "\xf4\x8f\xbf\xbf", 4, 4, 0x10ffff },
		{ "\x80", 1, 0, 0 },
		{ "\xc0\x80", 2, 0, 0 },
		{ "\xc1\xbf", 2, 0, 0 },
		{ "\xc2", 1, 0, 0 },
		{ "\xc2g", 2, 0, 0 },
		{ "\xe0\x9f\xbf", 3, 0, 0 },
		{ "\xed\xa0\x80", 3, 0, 0 },
		{ "\xe2\x82", 2, 0, 0 },
		{ "\xf0\x8f\xbf\xbf", 4, 0, 0 },
		{ "\xf4\x90\x80\x80", 4, 0, 0 },
		{ "\xf5\x80\x80\x80", 4, 0, 0 },
		{ "\xff", 1, 0, 0 },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		uint32_t code = 0;
		assert_int_equal(base_text_utf8(rows[i].text, rows[i].size, &code), rows[i].length);
		assert_int_equal(code, rows[i].code);
		assert_int_equal(base_text_is_utf8(rows[i].text, rows[i].size), rows[i].length > 0);
	}
	assert_true(base_text_is_utf8("", 0));
	assert_true(base_text_is_utf8("J\xc3\xbcrgen", 7));
	assert_false(base_text_is_utf8("J\xc3\xbcrgen\xc3", 8));
}

static void every_code_point_comes_back(void **state)
{
	(void)state;
	for (uint32_t code = 0x10000; code <= 0x10ffff; code += 0x111) {
		char text[4] = { (char)(0xf0 | code >> 18), (char)(0x80 | (code >> 12 & 0x3f)),
			(char)(0x80 | (code >> 6 & 0x3f)), (char)(0x80 | (code & 0x3f)) };
		uint32_t back = 0;
		assert_int_equal(base_text_utf8(text, 4, &back), 4);
		assert_int_equal(back, code);
	}
}

static void quotations(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text;
		size_t size;
		const char *quoted;
	} rows[] = {
		{ "", 0, "\"\"" },
		{ "5 parsecs", 9, "\"5 parsecs\"" },
		{ "a\"b\\c", 5, "\"a\\\"b\\\\c\"" },
		{ "a\nb\tc", 5, "\"a\\nb\\u0009c\"" },
		{ "\0\x1b[31m", 6, "\"\\u0000\\u001b[31m\"" },
		{ "\xff\xc3", 2, "\"\\xff\\xc3\"" },
		{ "\xe2\x80\xae" "abc", 6, "\"\\u202eabc\"" },
		{ "\xc3\xbc", 2, "\"\xc3\xbc\"" },
	};
	/* clang-format on */
	char out[BASE_TEXT_QUOTED];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		base_text_quote(out, sizeof out, rows[i].text, rows[i].size);
		assert_string_equal(out, rows[i].quoted);
	}
}

static void long_quotations_are_cut_and_fit(void **state)
{
	char text[1000];
	char out[BASE_TEXT_QUOTED + 1];

	(void)state;
	memset(text, 'a', sizeof text);
	base_text_quote(out, BASE_TEXT_QUOTED, text, sizeof text);
	assert_int_equal(strlen(out), 60 + 2 + 3);
	assert_string_equal(out + 61, "\"\xe2\x80\xa6");
	memset(text, 0xff, sizeof text);
	for (size_t room = 0; room <= BASE_TEXT_QUOTED; room++) {
		memset(out, 'x', sizeof out);
		base_text_quote(out, room, text, sizeof text);
		assert_int_equal(out[room], 'x');
		if (room > 0)
			assert_true(strlen(out) < room);
	}
}

static void words_have_quotes_only_when_they_need_them(void **state)
{
	char out[BASE_TEXT_QUOTED];

	(void)state;
	assert_string_equal(base_text_word(out, sizeof out, "--lease-ms"), "--lease-ms");
	assert_string_equal(base_text_word(out, sizeof out, ""), "\"\"");
	assert_string_equal(base_text_word(out, sizeof out, "a b"), "\"a b\"");
	assert_string_equal(base_text_word(out, sizeof out, "a\nb"), "\"a\\nb\"");
	assert_string_equal(base_text_word(out, sizeof out, "a\"b"), "\"a\\\"b\"");
}

static const char *guess(const char *word)
{
	static const char *const names[] = { "timeout", "concurrency", "concurrency_total", "retry",
		"env", "http", "max" };
	struct base_text_guess g = { .word = word };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		base_text_offer(&g, names[i]);
	return g.best ? g.best : "-";
}

static void the_nearest_name_is_guessed(void **state)
{
	/* clang-format off */
	static const struct {
		const char *word, *best;
	} rows[] = {
		{ "timeot", "timeout" },   { "tiemout", "timeout" },  { "timeouts", "timeout" }, { "concurency", "concurrency" },
		{ "htpp", "http" },        { "https", "http" },       { "evn", "env" },          { "time", "timeout" },
		{ "concurrency-total", "concurrency_total" },         { "colour", "-" },         { "x", "-" },
		{ "", "-" },               { "zzz", "-" },            { "ma", "max" },
	};
	/* clang-format on */
	char long_word[200];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_string_equal(guess(rows[i].word), rows[i].best);
	memset(long_word, 'a', sizeof long_word);
	long_word[199] = '\0';
	assert_string_equal(guess(long_word), "-");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(utf8_is_told_from_what_is_not),
		cmocka_unit_test(every_code_point_comes_back),
		cmocka_unit_test(quotations),
		cmocka_unit_test(long_quotations_are_cut_and_fit),
		cmocka_unit_test(words_have_quotes_only_when_they_need_them),
		cmocka_unit_test(the_nearest_name_is_guessed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
