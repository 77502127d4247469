#include "tests/unit/unit.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/log.h"
#include "base/version.h"

struct settings {
	char *name;
	char *listen;
	char *admin;
	uint32_t workers;
	uint32_t lease_ms;
	uint64_t max_body;
	bool access_log;
	bool strict;
	unsigned durability;
};

#define AT(member) offsetof(struct settings, member)

static const struct base_conf_row rows[] = {
	{ "name", BASE_CONF_STR, AT(name), NULL, 0, 0, NULL, "what it is called" },
	{ "listen", BASE_CONF_ADDRESS, AT(listen), "127.0.0.1:7400", 0, 0, NULL,
		"where it listens" },
	{ "admin", BASE_CONF_ADDRESS, AT(admin), "127.0.0.1:7401", 0, 0, "off",
		"where it is looked after" },
	{ "workers", BASE_CONF_U32, AT(workers), "2", 1, 64, NULL, "how many" },
	{ "lease-ms", BASE_CONF_MS, AT(lease_ms), "30s", 100, 86400000, NULL,
		"how long a worker may hold an event" },
	{ "max-body", BASE_CONF_BYTES, AT(max_body), "1m", 0, 0, NULL, "the largest body" },
	{ "access-log", BASE_CONF_BOOL, AT(access_log), "yes", 0, 0, NULL, "log requests" },
	{ "strict", BASE_CONF_BOOL, AT(strict), "no", 0, 0, NULL, "be strict" },
	{ "durability", BASE_CONF_CHOICE, AT(durability), "always", 0, 0, "always|everysec|none",
		"how safe" },
	{ 0 },
};

static const struct base_conf_program program = {
	.name = "pirn-test",
	.synopsis = "[options]",
	.about = "A program under test.",
	.rows = rows,
};
static char *no_strict_name(const void *settings, const char **option)
{
	const struct settings *s = settings;

	*option = "--strict";
	return s->strict && s->name ? strdup("expected none with --name") : NULL;
}

static const struct base_conf_program program_with_fault = {
	.name = "pirn-test",
	.synopsis = "[options]",
	.about = "A program under test.",
	.rows = rows,
	.fault = no_strict_name,
};
static const struct base_conf_program program_with_operands = {
	.name = "pirn-test",
	.synopsis = "[options] WORD...",
	.about = "A program under test.",
	.rows = rows,
	.operands = true,
};

/* ---- one value ------------------------------------------------------------- */

static void values_are_converted(void **state)
{
	struct settings s = { 0 };
	const char *why;

	(void)state;
	assert_int_equal(base_conf_set(rows, &s, "name", "", &why), BASE_OK);
	assert_string_equal(s.name, "");
	assert_int_equal(base_conf_set(rows, &s, "name", "second", &why), BASE_OK);
	assert_string_equal(s.name, "second");
	assert_int_equal(base_conf_set(rows, &s, "listen", "[::1]:80", &why), BASE_OK);
	assert_string_equal(s.listen, "[::1]:80");
	assert_int_equal(base_conf_set(rows, &s, "workers", "64", &why), BASE_OK);
	assert_int_equal(s.workers, 64);
	assert_int_equal(
		base_conf_set(rows, &s, "max-body", "18446744073709551615", &why), BASE_OK);
	assert_true(s.max_body == UINT64_MAX);
	assert_int_equal(base_conf_set(rows, &s, "durability", "none", &why), BASE_OK);
	assert_int_equal(s.durability, 2);
	base_conf_free(&program, &s);
	assert_null(s.name);
	assert_null(s.listen);
}

static void durations_and_sizes(void **state)
{
	/* clang-format off */
	static const struct {
		const char *name, *text;
		uint64_t value;
	} good[] = {
		{ "lease-ms", "100", 100 },        { "lease-ms", "500ms", 500 },   { "lease-ms", "5s", 5000 },
		{ "lease-ms", "2m", 120000 },      { "lease-ms", "1h", 3600000 },  { "lease-ms", "1d", 86400000 },
		{ "max-body", "0", 0 },            { "max-body", "1", 1 },         { "max-body", "64k", 65536 },
		{ "max-body", "64K", 65536 },      { "max-body", "2m", 2097152 },  { "max-body", "3G", 3221225472u },
	};
	/* clang-format on */
	struct settings s = { 0 };
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(
			base_conf_set(rows, &s, good[i].name, good[i].text, &why), BASE_OK);
		assert_true((good[i].name[0] == 'l' ? s.lease_ms : s.max_body) == good[i].value);
	}
}

static void converters_for_others(void **state)
{
	static const char *const no_ms[] = { "", "5", "s", "5 s", " 5s", "5s ", "-5s", "+5s",
		"1.5s", "5S", "5sec", "5ss", "18446744073709551615s", "99999999999999999999ms",
		"0x5s" };
	static const char *const no_number[] = { "", " 1", "1 ", "-1", "+1", "1e3", "0x1",
		"18446744073709551616", "a" };
	static const char *const no_bytes[] = { "", "k", "1kb", "1t", "1.5m", "-1",
		"17179869184g" };
	uint64_t n = 77;

	(void)state;
	for (size_t i = 0; i < sizeof no_ms / sizeof no_ms[0]; i++)
		assert_false(base_conf_ms(no_ms[i], &n));
	for (size_t i = 0; i < sizeof no_number / sizeof no_number[0]; i++)
		assert_false(base_conf_u64(no_number[i], &n));
	for (size_t i = 0; i < sizeof no_bytes / sizeof no_bytes[0]; i++)
		assert_false(base_conf_bytes(no_bytes[i], &n));
	assert_true(n == 77);
	assert_true(base_conf_u64("18446744073709551615", &n) && n == UINT64_MAX);
	assert_true(base_conf_u64("007", &n) && n == 7);
	assert_true(base_conf_ms("0ms", &n) && n == 0);
	assert_true(base_conf_ms("3d", &n) && n == 259200000);
	assert_true(
		base_conf_bytes("17179869183g", &n) && n == 17179869183u * (uint64_t)1073741824);
}

static void what_is_wrong_is_told_and_changes_nothing(void **state)
{
	/* clang-format off */
	static const struct {
		const char *name, *value, *why;
		enum base_err err;
	} bad[] = {
		{ "workers", "many", "expected a whole number, from 1 to 64, got \"many\"", BASE_INVALID },
		{ "workers", "0", "expected a whole number, from 1 to 64, got \"0\"", BASE_RANGE },
		{ "workers", "65", "expected a whole number, from 1 to 64, got \"65\"", BASE_RANGE },
		{ "workers", "4294967297", "expected a whole number, from 1 to 64, got \"4294967297\"", BASE_RANGE },
		{ "workers", "", "expected a whole number, from 1 to 64, got \"\"", BASE_INVALID },
		{ "workers", "-1", "expected a whole number, from 1 to 64, got \"-1\"", BASE_INVALID },
		{ "lease-ms", "5 parsecs", "expected a duration such as 5s, from 100ms to 1d, got \"5 parsecs\"", BASE_INVALID },
		{ "lease-ms", "99", "expected a duration such as 5s, from 100ms to 1d, got \"99\"", BASE_RANGE },
		{ "max-body", "1t", "expected a size such as 64k, got \"1t\"", BASE_INVALID },
		{ "strict", "maybe", "expected yes or no, got \"maybe\"", BASE_INVALID },
		{ "durability", "never", "expected always, everysec or none, got \"never\"", BASE_INVALID },
		{ "durability", "always|none", "expected always, everysec or none, got \"always|none\"", BASE_INVALID },
		{ "durability", "", "expected always, everysec or none, got \"\"", BASE_INVALID },
		{ "worker", "2", "there is no such setting; did you mean workers?", BASE_NOT_FOUND },
		{ "nonsense", "2", "there is no such setting", BASE_NOT_FOUND },
		{ "workers", "\n\x1b\xff", "expected a whole number, from 1 to 64, got \"\\n\\u001b\\xff\"", BASE_INVALID },
	};
	/* clang-format on */
	struct settings s = { .workers = 3, .lease_ms = 4, .max_body = 5, .durability = 1 };
	struct settings before = s;
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(
			base_conf_set(rows, &s, bad[i].name, bad[i].value, &why), bad[i].err);
		assert_string_equal(why, bad[i].why);
		assert_memory_equal(&s, &before, sizeof s);
	}
}

static void addresses(void **state)
{
	static const char *const good[] = { "127.0.0.1:8080", "localhost:1",
		"broker-1.example.org:65535", "[::1]:0", "[fe80::1.2.3.4]:80", "0.0.0.0:0",
		"my_host:7400" };
	static const char *const bad[] = { "", ":80", "localhost", "localhost:", "localhost:65536",
		"::1:80", "[::1]", "[]:80", "[abc]:80", "[::1]80", "a b:80", "tcp://a:80", "a:80 ",
		"a:+80", "-a:80", "a:80\n", "[::1:80", "a:b:80", "user@host:80",
		"localhost:8080x" };
	struct settings s = { 0 };
	const char *why;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(base_conf_set(rows, &s, "listen", good[i], &why), BASE_OK);
		assert_string_equal(s.listen, good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(base_conf_set(rows, &s, "listen", bad[i], &why), BASE_INVALID);
		assert_non_null(strstr(why, "expected HOST:PORT such as 127.0.0.1:8080, got \""));
	}
	assert_string_equal(s.listen, "my_host:7400");
	base_conf_free(&program, &s);
}

static void an_address_or_a_word(void **state)
{
	static const char *const bad[] = { "", "of", "offf", "OFF", "nonsense", ":80" };
	struct settings s = { 0 };
	const char *why;

	(void)state;
	assert_int_equal(base_conf_set(rows, &s, "admin", "127.0.0.1:8081", &why), BASE_OK);
	assert_int_equal(base_conf_set(rows, &s, "admin", "off", &why), BASE_OK);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_equal(base_conf_set(rows, &s, "admin", bad[i], &why), BASE_INVALID);
		assert_non_null(strstr(why, "such as 127.0.0.1:8080, or off, got \""));
	}
	assert_string_equal(s.admin, "off");
	base_conf_free(&program, &s);
}

/* ---- the file --------------------------------------------------------------- */

static void a_file_is_read(void **state)
{
	static const char text[] = "# settings\n"
				   "\n"
				   "  name = a name with spaces   # and a comment\r\n"
				   "workers=7\n"
				   "\tlease-ms\t=\t5s\t\n"
				   "PIRN_MAX_BODY=64k\n"
				   "access-log = off#\n"
				   "durability = \"everysec\" # quoted\n"
				   "strict = on";
	static const char fixed[] = "name = \"# not a = comment \"\naccess-log = off\nstrict =yes";
	struct settings s = { 0 };
	char why[256];

	(void)state;
	assert_int_equal(
		base_conf_parse(rows, &s, text, sizeof text - 1, why, sizeof why), BASE_INVALID);
	assert_string_equal(why, "line 7: access-log: expected yes or no, got \"off#\"");
	assert_string_equal(s.name, "a name with spaces");
	assert_int_equal(s.workers, 7);
	assert_int_equal(s.lease_ms, 5000);
	assert_true(s.max_body == 65536);
	assert_int_equal(
		base_conf_parse(rows, &s, fixed, sizeof fixed - 1, why, sizeof why), BASE_OK);
	assert_string_equal(s.name, "# not a = comment ");
	assert_false(s.access_log);
	assert_true(s.strict);
	assert_int_equal(base_conf_parse(rows, &s, "", 0, why, sizeof why), BASE_OK);
	assert_int_equal(base_conf_parse(rows, &s, "name =", 6, why, sizeof why), BASE_OK);
	assert_string_equal(s.name, "");
	base_conf_free(&program, &s);
}

static void a_wrong_file_is_told_by_its_line(void **state)
{
	/* clang-format off */
	static const struct {
		const char *text, *why;
	} bad[] = {
		{ "workers 5", "line 1: expected name = value, got \"workers 5\"" },
		{ "[section]", "line 1: expected name = value, got \"[section]\"" },
		{ "\n\n = 5", "line 3: expected the name of a setting before =, got \"\"" },
		{ "wrokers = 5", "line 1: there is no setting \"wrokers\"; did you mean workers?" },
		{ "PIRN_WORKER = 5", "line 1: there is no setting \"PIRN_WORKER\"; did you mean workers?" },
		{ "colour = red", "line 1: there is no setting \"colour\"" },
		{ "workers = 5\nworkers = 5", "line 2: workers: is set twice" },
		{ "workers = 5\n\nPIRN_WORKERS = 5", "line 3: workers: is set twice" },
		{ "workers = \"5", "line 1: workers: expected one \"quoted\" value" },
		{ "workers = \"5\" 6", "line 1: workers: expected one \"quoted\" value" },
		{ "workers = 500", "line 1: workers: expected a whole number, from 1 to 64, got \"500\"" },
		{ "name = \xff", "line 1: name: expected at most 4095 bytes of UTF-8 text" },
		{ "config = other", "line 1: config cannot stand in a settings file" },
		{ "log-level = loud", "line 1: log-level: expected debug, info, warn or error, got \"loud\"" },
		{ "\xef\xbb\xbfworkers = 5", "line 1: there is no setting \"\xef\xbb\xbfworkers\"; did you mean workers?" },
	};
	/* clang-format on */
	char long_line[6000] = "name = ";
	struct settings s = { 0 };
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		assert_int_not_equal(base_conf_parse(rows, &s, bad[i].text, strlen(bad[i].text),
					     why, sizeof why),
			BASE_OK);
		assert_string_equal(why, bad[i].why);
	}
	assert_int_equal(
		base_conf_parse(rows, &s, "name = a\0b", 10, why, sizeof why), BASE_INVALID);
	assert_int_equal(base_conf_parse(rows, &s, "na\0me = a", 9, why, sizeof why), BASE_INVALID);
	memset(long_line + 7, 'a', sizeof long_line - 7);
	assert_int_equal(base_conf_parse(rows, &s, long_line, sizeof long_line, why, sizeof why),
		BASE_INVALID);
	memset(long_line, 'a', 100);
	long_line[100] = '=';
	assert_int_equal(base_conf_parse(rows, &s, long_line, sizeof long_line, why, sizeof why),
		BASE_INVALID);
	base_conf_free(&program, &s);
}

/* ---- the whole: flags, environment, file ---------------------------------------- */

static char out[1 << 16];
static char err[1 << 16];
static int n_operands;

static void slurp_fd(int fd, char *text, size_t room)
{
	ssize_t n = pread(fd, text, room - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	(void)close(fd);
}

/* Runs base_conf_read with stdout and stderr caught. */
static enum base_conf_outcome read_args(
	const struct base_conf_program *p, struct settings *s, char **argv)
{
	int saved[3] = { 0, dup(1), dup(2) };
	int caught[3] = { 0, memfd_create("out", 0), memfd_create("err", 0) };
	int argc = 0;
	enum base_conf_outcome outcome;

	while (argv[argc])
		argc++;
	memset(s, 0, sizeof *s);
	n_operands = -1;
	for (int i = 1; i <= 2; i++) {
		(void)fflush(i == 1 ? stdout : stderr);
		assert_true(dup2(caught[i], i) == i);
	}
	outcome = base_conf_read(p, s, argc, argv, &n_operands);
	for (int i = 1; i <= 2; i++) {
		(void)fflush(i == 1 ? stdout : stderr);
		assert_true(dup2(saved[i], i) == i);
		(void)close(saved[i]);
	}
	slurp_fd(caught[1], out, sizeof out);
	slurp_fd(caught[2], err, sizeof err);
	return outcome;
}

static char strings[][16] = { "pirn-test" };
#define READ(s, ...) read_args(&program, (s), (char *[]){ strings[0], __VA_ARGS__, NULL })
#define W(text)      ((char[]){ text })

static void defaults_come_from_the_table(void **state)
{
	struct settings s;
	char *argv[] = { strings[0], NULL };

	(void)state;
	assert_int_equal(read_args(&program, &s, argv), BASE_CONF_RUN);
	assert_null(s.name);
	assert_string_equal(s.listen, "127.0.0.1:7400");
	assert_int_equal(s.workers, 2);
	assert_int_equal(s.lease_ms, 30000);
	assert_true(s.max_body == 1 << 20);
	assert_true(s.access_log);
	assert_false(s.strict);
	assert_int_equal(s.durability, 0);
	assert_int_equal(n_operands, 0);
	assert_string_equal(out, "");
	assert_string_equal(err, "");
	assert_int_equal(base_log_level(), BASE_INFO);
	base_conf_free(&program, &s);
}

static void flags_have_several_shapes(void **state)
{
	struct settings s;

	(void)state;
	assert_int_equal(READ(&s, W("--workers"), W("7"), W("--lease-ms=5s"), W("--no-access-log"),
				 W("--strict"), W("--name="), W("--durability"), W("none"),
				 W("--log-level"), W("error")),
		BASE_CONF_RUN);
	assert_int_equal(s.workers, 7);
	assert_int_equal(s.lease_ms, 5000);
	assert_false(s.access_log);
	assert_true(s.strict);
	assert_string_equal(s.name, "");
	assert_int_equal(s.durability, 2);
	assert_int_equal(base_log_level(), BASE_ERROR);
	base_conf_free(&program, &s);
	assert_int_equal(READ(&s, W("--strict=no"), W("--access-log=off"), W("--workers=3"),
				 W("--workers=4")),
		BASE_CONF_RUN);
	assert_false(s.strict);
	assert_false(s.access_log);
	assert_int_equal(s.workers, 4);
	base_conf_free(&program, &s);
}

static void the_stronger_source_wins(void **state)
{
	static const char text[] = "workers = 11\nlease-ms = 11s\nmax-body = 11\n";
	char config[64];
	struct settings s;
	int fd = memfd_create("settings", 0);

	(void)state;
	assert_true(write(fd, text, sizeof text - 1) == (ssize_t)(sizeof text - 1));
	(void)snprintf(config, sizeof config, "--config=/proc/self/fd/%d", fd);
	(void)setenv("PIRN_WORKERS", "12", 1);
	(void)setenv("PIRN_LEASE_MS", "12s", 1);
	(void)setenv("PIRN_STRICT", "", 1); /* as if it were not set */
	(void)setenv("PIRN_WHATEVER", "another program's", 1);
	assert_int_equal(READ(&s, config, W("--workers=13")), BASE_CONF_RUN);
	assert_int_equal(s.workers, 13);
	assert_int_equal(s.lease_ms, 12000);
	assert_true(s.max_body == 11);
	assert_false(s.strict);
	base_conf_free(&program, &s);

	/* the file's name may come from the environment, and an overridden mistake is still one */
	(void)setenv("PIRN_CONFIG", config + 9, 1);
	(void)setenv("PIRN_WORKERS", "lots", 1);
	assert_int_equal(READ(&s, W("--workers=13")), BASE_CONF_WRONG);
	assert_string_equal(err,
		"pirn-test: PIRN_WORKERS: expected a whole number, from 1 to 64, got \"lots\"\n");
	assert_int_equal(s.workers, 11);
	base_conf_free(&program, &s);
	(void)unsetenv("PIRN_CONFIG");
	(void)unsetenv("PIRN_WORKERS");
	(void)unsetenv("PIRN_LEASE_MS");
	(void)unsetenv("PIRN_STRICT");
	(void)close(fd);
}

static void mistakes_are_one_line(void **state)
{
	/* clang-format off */
	static const struct {
		const char *word, *value, *line;
	} bad[] = {
		{ "--workers", "many", "--workers: expected a whole number, from 1 to 64, got \"many\"" },
		{ "--wrokers=2", NULL, "--wrokers=2: there is no such option; did you mean --workers?" },
		{ "--colour", "red", "--colour: there is no such option; --help lists them" },
		{ "-x", NULL, "-x: there is no such option; --help lists them" },
		{ "-workers", "2", "-workers: there is no such option; did you mean --workers?" },
		{ "--=2", NULL, "--=2: there is no such option; --help lists them" },
		{ "--workers", NULL, "--workers: expected a whole number, from 1 to 64, got nothing" },
		{ "--workers", "--strict", "--workers: expected a whole number, from 1 to 64, got nothing" },
		{ "--no-workers", NULL, "--no-workers: there is no such option; did you mean --workers?" },
		{ "--no-strict=yes", NULL, "--no-strict=yes: there is no such option; did you mean --strict?" },
		{ "--strict=maybe", NULL, "--strict: expected yes or no, got \"maybe\"" },
		{ "word", NULL, "word: expected an option that begins with --" },
		{ "two\nlines", NULL, "\"two\\nlines\": expected an option that begins with --" },
		{ "--config=/nonexistent/file", NULL, "/nonexistent/file: expected a settings file: not found" },
		{ "--config=/", NULL, "/: expected a settings file: invalid value" },
		{ "--log=xml", NULL, "--log: expected text or json, got \"xml\"" },
	};
	/* clang-format on */
	struct settings s;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char word[64], value[64], line[256];
		(void)snprintf(word, sizeof word, "%s", bad[i].word);
		(void)snprintf(value, sizeof value, "%s", bad[i].value ? bad[i].value : "");
		(void)snprintf(line, sizeof line, "pirn-test: %s\n", bad[i].line);
		assert_int_equal(READ(&s, word, bad[i].value ? value : NULL), BASE_CONF_WRONG);
		assert_string_equal(err, line);
		assert_string_equal(out, "");
		base_conf_free(&program, &s);
	}
}

static void a_files_mistake_names_file_and_line(void **state)
{
	static const char text[] = "# fine\nworkers = 99\n";
	char path[32], config[64], line[256];
	struct settings s;
	int fd = memfd_create("settings", 0);

	(void)state;
	assert_true(write(fd, text, sizeof text - 1) == (ssize_t)(sizeof text - 1));
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	(void)snprintf(config, sizeof config, "--config=%s", path);
	(void)snprintf(line, sizeof line,
		"pirn-test: %s:2: workers: expected a whole number, from 1 to 64, got \"99\"\n",
		path);
	assert_int_equal(READ(&s, config), BASE_CONF_WRONG);
	assert_string_equal(err, line);
	base_conf_free(&program, &s);
	assert_int_equal(ftruncate(fd, 70000), 0);
	assert_int_equal(READ(&s, config), BASE_CONF_WRONG);
	assert_non_null(strstr(err, "expected a settings file: too large\n"));
	base_conf_free(&program, &s);
	(void)close(fd);
}

static void operands_move_to_the_front(void **state)
{
	struct settings s;
	char *argv[] = { strings[0], W("first"), W("--workers"), W("5"), W("-"), W("--strict"),
		W("--"), W("--last"), NULL };

	(void)state;
	assert_int_equal(read_args(&program_with_operands, &s, argv), BASE_CONF_RUN);
	assert_int_equal(n_operands, 3);
	assert_string_equal(argv[1], "first");
	assert_string_equal(argv[2], "-");
	assert_string_equal(argv[3], "--last");
	assert_int_equal(s.workers, 5);
	assert_true(s.strict);
	base_conf_free(&program, &s);
}

static void check_reads_all_and_says_ok(void **state)
{
	struct settings s;

	(void)state;
	assert_int_equal(READ(&s, W("--check"), W("--workers=5")), BASE_CONF_DONE);
	assert_string_equal(out, "ok\n");
	assert_string_equal(err, "");
	base_conf_free(&program, &s);
	assert_int_equal(READ(&s, W("--check"), W("--workers=500")), BASE_CONF_WRONG);
	assert_string_equal(out, "");
	base_conf_free(&program, &s);
}

static void the_program_looks_at_all_of_it(void **state)
{
	char *right[] = { W("pirn-test"), W("--check"), W("--strict"), NULL };
	char *wrong[] = { W("pirn-test"), W("--check"), W("--strict"), W("--name=n"), NULL };
	char *start[] = { W("pirn-test"), W("--strict"), W("--name=n"), NULL };
	struct settings s;

	(void)state;
	assert_int_equal(read_args(&program_with_fault, &s, right), BASE_CONF_DONE);
	assert_string_equal(out, "ok\n");
	base_conf_free(&program, &s);
	assert_int_equal(read_args(&program_with_fault, &s, wrong), BASE_CONF_WRONG);
	assert_string_equal(out, "");
	assert_string_equal(err, "pirn-test: --strict: expected none with --name\n");
	base_conf_free(&program, &s);
	assert_int_equal(read_args(&program_with_fault, &s, start), BASE_CONF_WRONG);
	base_conf_free(&program, &s);
}

static void help_is_an_aligned_table(void **state)
{
	struct settings s;
	size_t column;
	char *line;
	unsigned lines = 0;

	(void)state;
	assert_int_equal(READ(&s, W("--help")), BASE_CONF_DONE);
	assert_memory_equal(out, "Usage: pirn-test [options]\n\nA program under test.\n\n", 50);
	line = strstr(out, "  option");
	assert_non_null(line);
	column = (size_t)(strstr(line, "meaning") - line);
	for (const struct base_conf_row *row = rows; row->name; row++) {
		char *help = strstr(out, row->help);
		assert_non_null(help);
		line = help;
		while (line[-1] != '\n')
			line--;
		assert_int_equal(help - line, column);
		assert_non_null(strstr(line, row->name));
		if (row->standard)
			assert_non_null(strstr(line, row->standard));
		lines++;
	}
	assert_int_equal(lines, 9);
	assert_non_null(strstr(out, "--no-access-log "));
	assert_non_null(strstr(out, "--log-level debug|info|warn|error"));
	assert_non_null(strstr(out, "--config TEXT"));
	assert_int_equal(READ(&s, W("-h")), BASE_CONF_DONE);
}

static void help_makes_the_table_of_the_documentation(void **state)
{
	struct settings s;
	unsigned n = 0;

	(void)state;
	assert_int_equal(READ(&s, W("--help=markdown")), BASE_CONF_DONE);
	assert_non_null(strstr(out,
		"\n| `--lease-ms` | `PIRN_LEASE_MS` | `30s` | how long a worker may hold an event "
		"| a duration such as 5s, from 100ms to 1d |\n"));
	assert_non_null(
		strstr(out, "\n| `--name` | `PIRN_NAME` |  | what it is called | a text |\n"));
	for (const char *at = out; *at; at++)
		n += *at == '\n';
	assert_int_equal(n, 2 + 9 + 3);
}

static void version_is_told(void **state)
{
	struct settings s;

	(void)state;
	assert_int_equal(READ(&s, W("--version"), W("--nonsense")), BASE_CONF_DONE);
	assert_string_equal(out, "pirn-test " PIRN_VERSION "\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_converted),
		cmocka_unit_test(durations_and_sizes),
		cmocka_unit_test(converters_for_others),
		cmocka_unit_test(what_is_wrong_is_told_and_changes_nothing),
		cmocka_unit_test(addresses),
		cmocka_unit_test(an_address_or_a_word),
		cmocka_unit_test(a_file_is_read),
		cmocka_unit_test(a_wrong_file_is_told_by_its_line),
		cmocka_unit_test(defaults_come_from_the_table),
		cmocka_unit_test(flags_have_several_shapes),
		cmocka_unit_test(the_stronger_source_wins),
		cmocka_unit_test(mistakes_are_one_line),
		cmocka_unit_test(a_files_mistake_names_file_and_line),
		cmocka_unit_test(operands_move_to_the_front),
		cmocka_unit_test(check_reads_all_and_says_ok),
		cmocka_unit_test(the_program_looks_at_all_of_it),
		cmocka_unit_test(help_is_an_aligned_table),
		cmocka_unit_test(help_makes_the_table_of_the_documentation),
		cmocka_unit_test(version_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
