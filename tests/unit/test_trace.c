#include "unit.h"

#include "gateway/trace.h"

#define GOOD "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static bool parses(const char *text)
{
	uint8_t trace[GW_TRACE_SIZE];

	return gw_trace_parse(gw_slice_of(text), trace);
}

static void a_valid_one_comes_back(void **state)
{
	uint8_t trace[GW_TRACE_SIZE];
	char text[GW_TRACE_TEXT + 1];

	(void)state;
	assert_true(gw_trace_parse(GW_SLICE(GOOD), trace));
	gw_trace_print(trace, text);
	assert_string_equal(text, GOOD);
}

static void versions_to_come_are_read_as_00(void **state)
{
	uint8_t trace[GW_TRACE_SIZE];
	char text[GW_TRACE_TEXT + 1];

	(void)state;
	assert_true(gw_trace_parse(
		GW_SLICE("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"), trace));
	gw_trace_print(trace, text);
	assert_string_equal(text, GOOD);
	assert_true(parses("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
	assert_false(parses("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more"));
}

static void invalid_ones_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "00", GOOD "-", GOOD "x",
		"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
		"00-00000000000000000000000000000000-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
		"00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
		"00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
	};

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(parses(bad[i]));
}

static void a_step_keeps_trace_and_flags(void **state)
{
	struct base_rand rand;
	uint8_t before[GW_TRACE_SIZE], after[GW_TRACE_SIZE];

	(void)state;
	base_rand_init(&rand, 1);
	assert_true(gw_trace_parse(GW_SLICE(GOOD), before));
	memcpy(after, before, sizeof after);
	gw_trace_step(&rand, after);
	assert_memory_equal(after, before, 16);
	assert_memory_not_equal(after + 16, before + 16, 8);
	assert_int_equal(after[24], before[24]);
}

static void a_new_trace_is_valid_and_not_the_last_one(void **state)
{
	struct base_rand rand;
	uint8_t a[GW_TRACE_SIZE], b[GW_TRACE_SIZE];
	char text[GW_TRACE_TEXT + 1];

	(void)state;
	base_rand_init(&rand, 2);
	gw_trace_start(&rand, a);
	gw_trace_start(&rand, b);
	assert_memory_not_equal(a, b, 16);
	gw_trace_print(a, text);
	assert_true(parses(text));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_valid_one_comes_back),
		cmocka_unit_test(versions_to_come_are_read_as_00),
		cmocka_unit_test(invalid_ones_are_refused),
		cmocka_unit_test(a_step_keeps_trace_and_flags),
		cmocka_unit_test(a_new_trace_is_valid_and_not_the_last_one),
	};

	return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
