/* worker/failure.c: the one line that a failed run leaves in its event's history. */
#include "tests/unit/unit.h"

#include "proto/pirn.pb-c.h"
#include "worker/failure.h"

static const char *say(uint32_t flags, uint32_t status, uint32_t reason, const char *body)
{
	static char out[WRK_FAILURE_SIZE];
	struct wrk_run run = { .flags = flags, .status = status, .reason = reason };
	bool said;

	base_buf_init(&run.body);
	base_buf_str(&run.body, body);
	memset(out, 'x', sizeof out);
	said = wrk_failure_say(&run, out);
	base_buf_fini(&run.body);
	return said ? out : NULL;
}

static const char *say_body(const char *body)
{
	return say(PIRN__ITEM_FLAG__EVENT, 500, 0, body);
}

static void only_failed_events_say_something(void **state)
{
	(void)state;
	assert_null(say(0, 500, 0, "no"));
	assert_null(say(PIRN__ITEM_FLAG__EVENT, 200, 0, "no"));
	assert_null(say(PIRN__ITEM_FLAG__EVENT, 304, 0, "no"));
	assert_string_equal(say(PIRN__ITEM_FLAG__EVENT, 404, 0, "no"), "no");
}

static void what_the_body_says(void **state)
{
	static const char *const rows[][2] = {
		{ "", "status 500" },
		{ "\n \r\n", "status 500" },
		{ "no paper", "no paper" },
		{ "\n  no paper\nin tray 2", "no paper" },
		{ "a\tb\x1b[1mc\xff\xe2\x80\xae!", "ab[1mc!" },
		{ "{\"title\":\"T\",\"detail\":\"D\"}", "D" },
		{ "{\"title\":\"T\",\"detail\":\"\"}", "T" },
		{ "{\"error\":\"E\\nF\"}", "E" },
		{ "{\"message\":{\"not\":\"text\"}}", "{\"message\":{\"not\":\"text\"}}" },
		{ "{ half", "{ half" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_string_equal(say_body(rows[i][0]), rows[i][1]);
}

static void long_ones_are_cut_between_characters(void **state)
{
	char text[400], json[16384] = "{\"detail\":\"D\",\"more\":\"";

	(void)state;
	memset(text, 'a', sizeof text);
	memcpy(text + 199, "\xc3\xa4", 2); /* would end behind the last byte */
	text[300] = '\0';
	assert_int_equal(strlen(say_body(text)), 199);
	memset(text, 'a', 300);
	assert_int_equal(strlen(say_body(text)), 200);
	memset(json + strlen(json), 'b', 10000);
	strcat(json, "\"}");
	assert_int_equal(strlen(say_body(json)), 200);
	assert_memory_equal(say_body(json), "{\"detail\"", 9);
}

static void what_the_worker_knows(void **state)
{
	char out[WRK_FAILURE_SIZE];
	struct wrk_run run = {
		.flags = PIRN__ITEM_FLAG__EVENT, .status = 504, .took_us = 5047000, .late = true
	};

	(void)state;
	base_buf_init(&run.body);
	assert_true(wrk_failure_say(&run, out));
	assert_string_equal(out, "timed out after 5.0 s");
	assert_string_equal(say(PIRN__ITEM_FLAG__EVENT, 503, PIRN__REASON__LEASE, ""),
		"its lease was over, or a later run had begun");
	assert_string_equal(say(PIRN__ITEM_FLAG__EVENT, 500, 9999, ""), "the run failed");
	assert_string_equal(
		say(PIRN__ITEM_FLAG__EVENT, 500, PIRN__REASON__POISON, ""), "the run failed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_failed_events_say_something),
		cmocka_unit_test(what_the_body_says),
		cmocka_unit_test(long_ones_are_cut_between_characters),
		cmocka_unit_test(what_the_worker_knows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
