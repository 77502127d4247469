/* doc/operations.md against what really runs: its metrics are those of /metrics, what is
 * logged is in its list, and its backup can be restored. (Its tables against the sources: tools/docs.) */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "tests/harness/fabric.h"
#include "tests/harness/up.h"

#define PAGE "doc/operations.md"
#define MANY 1024

/* ---- the page ------------------------------------------------------------------- */

/* What stands between two texts of the page, the first of its kind; free() it. */
static char *page_between(const char *from, const char *to)
{
	FILE *file = fopen(PAGE, "re");
	char *page = NULL, *begin, *end;
	size_t room = 0;

	assert_non_null(file);
	assert_true(getdelim(&page, &room, '\0', file) > 0);
	fclose(file);
	begin = strstr(page, from);
	assert_non_null(begin);
	begin += strlen(from);
	end = strstr(begin, to);
	assert_non_null(end);
	begin = strndup(begin, (size_t)(end - begin));
	free(page);
	return begin;
}

/* ---- metrics -------------------------------------------------------------------- */

struct list {
	char *lines[MANY];
	size_t n;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "name type" of each line of the page's table, or of Prometheus's text. */
static void list_types(struct list *l, char *text, bool is_page)
{
	char *rest = NULL, name[128], type[32], line[200];

	for (char *at = strtok_r(text, "\n", &rest); at; at = strtok_r(NULL, "\n", &rest)) {
		if (sscanf(at, is_page ? "| `%127[a-z_]` | %31[a-z]" : "# TYPE %127s %31s", name,
			    type) != 2)
			continue;
		assert_true(l->n < MANY);
		(void)snprintf(line, sizeof line, "%s %s", name, type);
		l->lines[l->n++] = strdup(line);
	}
	qsort(l->lines, l->n, sizeof *l->lines, by_text);
}

static void list_free(struct list *l)
{
	while (l->n)
		free(l->lines[--l->n]);
}

static void test_metrics_are_those_of_the_page(void **state)
{
	struct list page = { 0 }, real = { 0 };
	struct fabric f = { 0 };
	struct harness_answer answer;
	char *table = page_between("\n<!-- metrics -->\n", "<!-- end -->");

	(void)state;
	fabric_start(&f);
	wait_until(PATIENCE_MS, harness_metric(f.admin, "pirn_worker_runs_total", NULL) >= 0);
	answer = harness_get(f.admin, "/metrics");
	assert_int_equal(answer.status, 200);
	list_types(&real, answer.body, false);
	list_types(&page, table, true);
	for (size_t i = 0; i < page.n && i < real.n; i++)
		assert_string_equal(page.lines[i], real.lines[i]);
	assert_int_equal(page.n, real.n);
	assert_true(real.n > 50);
	harness_answer_free(&answer);
	fabric_stop(&f);
	list_free(&page);
	list_free(&real);
	free(table);
}

/* ---- log ids -------------------------------------------------------------------- */

/* The page lists the line's id with the line's level. */
static void check_line(const char *table, const json_t *line)
{
	const char *id = json_string_value(json_object_get(line, "id"));
	const char *level = json_string_value(json_object_get(line, "level"));
	char row[160];
	char *at, *levels;

	assert_non_null(id);
	assert_non_null(level);
	(void)snprintf(row, sizeof row, "\n| `%s` | ", id);
	at = strstr(table, row);
	if (!at)
		fail_msg("%s is logged and not in " PAGE, id);
	at += strlen(row);
	levels = strndup(at, strcspn(at, "|"));
	if (!strstr(levels, level) && !strstr(levels, "any"))
		fail_msg("%s is logged as %s and stands as %sin " PAGE, id, level, levels);
	free(levels);
}

static unsigned check_output(const char *table, const struct harness_process *p)
{
	char *output = harness_output(p), *rest = NULL;
	unsigned n = 0;

	for (char *at = strtok_r(output, "\n", &rest); at; at = strtok_r(NULL, "\n", &rest)) {
		json_t *line = json_loads(at, 0, NULL);

		if (!line)
			continue;
		check_line(table, line);
		json_decref(line);
		n++;
	}
	free(output);
	return n;
}

static void test_what_is_logged_is_in_the_page(void **state)
{
	struct fabric f = { .n_brokers = 2, .n_workers = 2,
		.gateway_flags = (const char *const[]){ "--log-level", "debug", NULL },
		.worker_flags = (const char *const[]){ "--log-level", "debug", NULL } };
	struct up u = { 0 };
	char *table = page_between("\n<!-- logs -->\n", "<!-- end -->");

	(void)state;
	fabric_start(&f);
	harness_kill_hard(f.workers[1]);
	harness_kill_hard(f.brokers[1]);
	harness_redis_kill(f.redis);
	wait_until(PATIENCE_MS, harness_logged(f.workers[0], "redis_down") &&
				  harness_logged(f.workers[0], "link_down") &&
				  harness_logged(f.brokers[0], "store_down") &&
				  harness_logged(f.brokers[0], "peer_gone"));
	for (struct harness_process *const *p =
			(struct harness_process *[]){ f.gateways[0], f.workers[0], f.brokers[0], NULL };
		*p; p++) {
		harness_signal(*p, SIGTERM);
		assert_int_equal(harness_wait(*p, 40000), 0);
		assert_true(check_output(table, *p) > 5);
	}
	fabric_stop(&f);
	up_start(&u, NULL);
	harness_signal(u.process, SIGTERM);
	assert_int_equal(harness_wait(u.process, UP_MS), 0);
	assert_true(check_output(table, u.process) > 20);
	harness_free(&u.process);
	free(table);
}

/* ---- backup and restore ----------------------------------------------------------- */

static int64_t counter(const struct up *u)
{
	struct harness_answer answer = harness_get(u->http, "/counter");
	json_t *body = json_loads(answer.body, 0, NULL);
	int64_t value = (int64_t)json_integer_value(json_object_get(body, "counter"));

	assert_int_equal(answer.status, 200);
	json_decref(body);
	harness_answer_free(&answer);
	return value;
}

/* The commands of the page as they stand there, in a folder where var is the data directory; only
 * /backup is another place. */
static void run_backup(const char *folder, const char *data)
{
	char *commands = page_between("**While Redis runs.**", "\n```\n\n");
	char *script = strstr(commands, "```sh\n"), path[PATH_MAX], shell[2 * PATH_MAX + 64];
	FILE *file;

	assert_non_null(script);
	(void)snprintf(path, sizeof path, "%.2000s/backup.sh", folder);
	file = fopen(path, "we");
	assert_non_null(file);
	(void)fprintf(file, "set -eu; cd '%s'; mkdir backup; ln -s '%s' var\n", folder, data);
	for (const char *at = script + strlen("```sh\n"), *hit; *at; at = hit) {
		hit = strstr(at, " /backup/");
		hit = hit ? hit + 1 : at + strlen(at);
		(void)fprintf(file, "%.*s%s", (int)(hit - at), at, *hit ? "." : "");
	}
	(void)fprintf(file, "\nmv backup/pirn-* copy\n");
	assert_int_equal(fclose(file), 0);
	(void)snprintf(shell, sizeof shell, "bash '%s' >'%s.log' 2>&1", path, path);
	assert_int_equal(system(shell), 0);
	free(commands);
}

static void test_a_backup_is_restored(void **state)
{
	struct harness_call add = { .target = "/counter", .body = "{\"increment\":1}",
		.headers = (const char *const[]){ "Content-Type: application/json", NULL } };
	struct harness_load_counts counts;
	struct harness_load *load;
	struct up u = { 0 }, restored = { 0 };
	char folder[PATH_MAX], command[3 * PATH_MAX];
	int64_t before, after;

	(void)state;
	harness_new_dir("backup", folder, sizeof folder);
	up_start(&u, NULL);
	add.base = u.http;
	load = harness_load_start(&add, 2);
	wait_until(PATIENCE_MS, harness_load_ok(load) > 20);
	before = counter(&u);
	run_backup(folder, u.data);
	after = counter(&u);
	counts = harness_load_stop(&load);
	assert_int_equal(counts.failed, 0);
	assert_int_equal(counter(&u), counts.ok);
	up_stop(&u);

	harness_new_dir("data", restored.data, sizeof restored.data);
	(void)snprintf(command, sizeof command,
		"mkdir '%.2000s/redis' && cp -a '%.2000s/copy' '%.2000s/redis/appendonlydir'",
		restored.data, folder, restored.data);
	assert_int_equal(system(command), 0);
	up_start(&restored, NULL);
	assert_in_range(counter(&restored), before, after);
	assert_int_equal(harness_status(restored.http, NULL, "/hello", NULL), 200);
	up_stop(&restored);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_metrics_are_those_of_the_page),
		cmocka_unit_test(test_what_is_logged_is_in_the_page),
		cmocka_unit_test(test_a_backup_is_restored),
	};

	return harness_main("docs", tests);
}
