#include "tests/unit/unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/stats.h"

static void label_values_are_escaped(void **state)
{
	static const struct {
		const char *text, *escaped;
	} rows[] = {
		{ "", "" },
		{ "hello", "hello" },
		{ "a\"b", "a\\\"b" },
		{ "a\\b", "a\\\\b" },
		{ "a\nb", "a\\nb" },
		{ "\"\\\n", "\\\"\\\\\\n" },
		{ "\xc3\xbc", "\xc3\xbc" },
	};
	char out[64];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		base_stat_escape(out, 2 * strlen(rows[i].text) + 1, rows[i].text);
		assert_string_equal(out, rows[i].escaped);
	}
}

static void little_room_cuts_and_never_splits_an_escape(void **state)
{
	char out[8];

	(void)state;
	for (size_t room = 1; room < 8; room++) {
		memset(out, 'x', sizeof out);
		base_stat_escape(out, room, "\"\"\"\"");
		assert_int_equal(strlen(out), (room - 1) / 2 * 2);
		for (size_t i = room; i < sizeof out; i++)
			assert_int_equal(out[i], 'x');
	}
	out[0] = 'x';
	base_stat_escape(out, 0, "text");
	assert_int_equal(out[0], 'x');
}

struct figures {
	unsigned n;
	double cpu, resident, fds;
};

static void sink(void *arg, const struct base_stat_sample *sample)
{
	struct figures *f = arg;

	f->n++;
	assert_string_equal(sample->labels, "");
	assert_true(strlen(sample->def->help) > 0);
	assert_null(sample->hist);
	if (strcmp(sample->def->name, "process_cpu_seconds_total") == 0) {
		assert_int_equal(sample->def->type, BASE_STAT_COUNTER);
		f->cpu = sample->value;
	}
	if (strcmp(sample->def->name, "process_resident_memory_bytes") == 0)
		f->resident = sample->value;
	if (strcmp(sample->def->name, "process_open_fds") == 0)
		f->fds = sample->value;
}

static void the_process_is_described(void **state)
{
	struct figures before = { 0 };
	struct figures after = { 0 };
	int fds[5];

	(void)state;
	base_stat_process(sink, &before);
	for (int i = 0; i < 5; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	base_stat_process(sink, &after);
	for (int i = 0; i < 5; i++)
		(void)close(fds[i]);
	assert_true(before.n >= 3);
	assert_true(before.cpu > 0);
	assert_true(after.cpu >= before.cpu);
	assert_true(before.resident > 100 * 1024);
	assert_true(after.fds == before.fds + 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(label_values_are_escaped),
		cmocka_unit_test(little_room_cuts_and_never_splits_an_escape),
		cmocka_unit_test(the_process_is_described),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
