#include "tests/unit/unit.h"

#include <math.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

/* Lines go to a file in memory. What comes back is without the time, whose shape is checked. */
static int fd = -1;
static char content[1 << 20];

static size_t written(void)
{
	ssize_t n = pread(fd, content, sizeof content - 1, 0);

	assert_true(n >= 0);
	content[n] = '\0';
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return (size_t)n;
}

static void check_time(const char *time)
{
	static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ";

	for (size_t i = 0; shape[i]; i++)
		if (shape[i] == 'd')
			assert_in_range(time[i], '0', '9');
		else
			assert_int_equal(time[i], shape[i]);
}

static const char *text_line(void)
{
	assert_true(written() > 25);
	check_time(content);
	return content + 25;
}

static const char *json_line(void)
{
	static const char head[] = "{\"time\":\"";

	assert_true(written() > 40);
	assert_memory_equal(content, head, sizeof head - 1);
	check_time(content + sizeof head - 1);
	return content + sizeof head - 1 + 24;
}

static void start(enum base_log_level level, enum base_log_format format)
{
	if (fd < 0)
		fd = memfd_create("log", MFD_CLOEXEC);
	assert_true(fd >= 0);
	base_log_init(level, format, fd);
}

static void a_line_has_level_id_and_fields(void **state)
{
	(void)state;
	start(BASE_INFO, BASE_LOG_TEXT);
	base_log(BASE_INFO, "broker_ready");
	assert_string_equal(text_line(), "info broker_ready\n");
	base_log(BASE_WARN, "worker_gone", LOG_STR("peer", "w1"), LOG_U64("calls", 3),
		LOG_I64("delta", -7), LOG_F64("load", 0.25), LOG_BYTES("boot", "abcdef", 3),
		LOG_STR("none", NULL), LOG_ERR(BASE_NOMEM));
	assert_string_equal(text_line(),
		"warn worker_gone peer=w1 calls=3 delta=-7 load=0.25 boot=abc none=- error=\"out of memory\"\n");
	base_log(BASE_ERROR, "edges", LOG_U64("most", UINT64_MAX), LOG_I64("least", INT64_MIN));
	assert_string_equal(
		text_line(), "error edges most=18446744073709551615 least=-9223372036854775808\n");
}

static void a_line_in_json(void **state)
{
	(void)state;
	start(BASE_DEBUG, BASE_LOG_JSON);
	base_log(BASE_DEBUG, "broker_ready", LOG_STR("endpoint", "tcp://0.0.0.0:7400"),
		LOG_U64("n", 1), LOG_F64("half", 0.5), LOG_STR("none", NULL),
		LOG_BYTES("empty", "", 0));
	assert_string_equal(json_line(),
		"\",\"level\":\"debug\",\"id\":\"broker_ready\",\"endpoint\":\"tcp://0.0.0.0:7400\","
		"\"n\":1,\"half\":0.5,\"none\":null,\"empty\":\"\"}\n");
	base_log(BASE_INFO, "odd", LOG_F64("nan", (double)NAN),
		LOG_STR("text", "a \"b\"\n\x01\xff\\"));
	assert_string_equal(json_line(), "\",\"level\":\"info\",\"id\":\"odd\",\"nan\":null,"
					 "\"text\":\"a \\\"b\\\"\\n\\u0001\xef\xbf\xbd\\\\\"}\n");
}

static void bytes_never_forge_a_line(void **state)
{
	/* clang-format off */
	static const struct {
		const char *value;
		size_t size;
		const char *line;
	} rows[] = {
		{ "x", 1, "x" },
		{ "", 0, "\"\"" },
		{ "-", 1, "\"-\"" },
		{ "a b", 3, "\"a b\"" },
		{ "a=b", 3, "\"a=b\"" },
		{ "a\"b", 3, "\"a\\\"b\"" },
		{ "a\\b", 3, "\"a\\\\b\"" },
		{ "x\n2026-01-01T00:00:00.000Z error forged", 39, "\"x\\n2026-01-01T00:00:00.000Z error forged\"" },
		{ "\r\t\0\x1b[2J", 7, "\"\\r\\t\\u0000\\u001b[2J\"" },
		{ "\xff\xfe", 2, "\"\\xff\\xfe\"" },
		{ "\xc2\x9b" "2J", 4, "\"\\u009b2J\"" },         /* a terminal's CSI */
		{ "\xe2\x80\xa8", 3, "\"\\u2028\"" },            /* a line separator */
		{ "\xe2\x80\xae" "txt", 6, "\"\\u202etxt\"" },   /* right to left */
		{ "J\xc3\xbcrgen", 7, "J\xc3\xbcrgen" },
	};
	/* clang-format on */

	(void)state;
	start(BASE_INFO, BASE_LOG_TEXT);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char expected[200];
		base_log(BASE_INFO, "id", LOG_BYTES("v", rows[i].value, rows[i].size));
		(void)snprintf(expected, sizeof expected, "info id v=%s\n", rows[i].line);
		assert_string_equal(text_line(), expected);
	}
}

static void lines_below_the_level_are_dropped(void **state)
{
	(void)state;
	start(BASE_WARN, BASE_LOG_TEXT);
	assert_int_equal(base_log_level(), BASE_WARN);
	base_log(BASE_DEBUG, "no");
	base_log(BASE_INFO, "no");
	assert_int_equal(written(), 0);
	base_log(BASE_WARN, "yes");
	assert_string_equal(text_line(), "warn yes\n");
}

/* Every size around the limit: a line stays whole, ends once, and says that it was cut. */
static void long_values_are_cut(void **state)
{
	static char value[9000];

	(void)state;
	for (int json = 0; json < 2; json++) {
		start(BASE_INFO, json ? BASE_LOG_JSON : BASE_LOG_TEXT);
		for (size_t size = 3900; size < 4200; size++) {
			memset(value, size % 2 ? 'a' : '\x01', sizeof value);
			base_log(BASE_INFO, "id", LOG_BYTES("v", value, size),
				LOG_BYTES("w", value, size), LOG_U64("n", 1));
			size_t n = written();
			assert_true(n <= 4096);
			assert_int_equal(content[n - 1], '\n');
			assert_int_equal(strcspn(content, "\n"), n - 1);
			assert_non_null(strstr(content, json ? ",\"cut\":true}" : " cut=yes"));
			if (json)
				assert_int_equal(content[n - 2], '}');
		}
	}
}

static void a_cut_value_ends_between_characters(void **state)
{
	static char value[9000];
	const char *end;

	(void)state;
	for (size_t i = 0; i + 3 <= sizeof value; i += 3)
		memcpy(value + i, "\xe2\x82\xac", 3);
	start(BASE_INFO, BASE_LOG_TEXT);
	for (size_t shift = 0; shift < 3; shift++) {
		base_log(BASE_INFO, "id", LOG_BYTES("pad", "abc", shift + 1),
			LOG_BYTES("v", value, sizeof value));
		(void)written();
		end = strstr(content, " cut=yes\n");
		assert_non_null(end);
		assert_memory_equal(end - 6, "\xe2\x82\xac\xe2\x80\xa6", 6);
	}
}

static void *many_lines(void *arg)
{
	for (int i = 0; i < 500; i++)
		base_log(BASE_INFO, "thread", LOG_U64("number", *(const unsigned *)arg),
			LOG_STR("text", "some words here"));
	return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
	pthread_t threads[4];
	unsigned numbers[4];
	unsigned counts[4] = { 0 };
	unsigned lines = 0;
	int pipe_fds[2];

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	base_log_init(BASE_INFO, BASE_LOG_TEXT, pipe_fds[1]);
	for (unsigned i = 0; i < 4; i++) {
		numbers[i] = i;
		assert_int_equal(pthread_create(&threads[i], NULL, many_lines, &numbers[i]), 0);
	}
	FILE *in = fdopen(pipe_fds[0], "r");
	assert_non_null(in);
	while (lines < 2000) {
		char line[256], end[32];
		unsigned number;
		assert_non_null(fgets(line, sizeof line, in));
		assert_int_equal(sscanf(line + 25, "info thread number=%u text=\"some words %31s",
					 &number, end),
			2);
		assert_string_equal(end, "here\"");
		assert_true(number < 4);
		counts[number]++;
		lines++;
	}
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(counts[i], 500);
	}
	(void)fclose(in);
	(void)close(pipe_fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_line_has_level_id_and_fields),
		cmocka_unit_test(a_line_in_json),
		cmocka_unit_test(bytes_never_forge_a_line),
		cmocka_unit_test(lines_below_the_level_are_dropped),
		cmocka_unit_test(long_values_are_cut),
		cmocka_unit_test(a_cut_value_ends_between_characters),
		cmocka_unit_test(lines_of_threads_do_not_mix),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
