/* pirn dead: the dead letters of a service: list them, look at one, send them back into
 * the queue, throw them away.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/manifest.h"
#include "base/text.h"
#include "base/ulid.h"
#include "cli/answer.h"

#define LIMIT_MOST 1000u
#define IDS_MOST   10000u

struct settings {
	char *admin, *reason, *status, *before, *after;
	uint32_t limit;
	bool all, yes, json;
};

static bool has_filter(const struct settings *s)
{
	return s->reason || s->status || s->before || s->after;
}

/* ---- paths ------------------------------------------------------------------------------ */

static void add_param(struct base_buf *path, const char *name, const char *value)
{
	if (!value)
		return;
	base_buf_fmt(path, "%c%s=", memchr(path->data, '?', path->size) ? '&' : '?', name);
	for (; *value; value++)
		base_buf_fmt(path, "%%%02X", (unsigned char)*value);
}

static void add_filter(struct base_buf *path, const struct settings *s)
{
	add_param(path, "reason", s->reason);
	add_param(path, "status", s->status);
	add_param(path, "before", s->before);
	add_param(path, "after", s->after);
}

static int get(const struct settings *s, const struct base_buf *path, json_t **out)
{
	struct cli_http_request request = {
		.base = s->admin, .path = (const char *)path->data, .timeout_ms = 3 * CLI_ANSWER_MS
	};

	if (base_buf_check(path) == BASE_OK)
		return cli_ask(&request, out);
	cli_complain("out of memory");
	return CLI_FAILED;
}

/* ---- list -------------------------------------------------------------------------------- */

static int list_services(const struct settings *s)
{
	struct cli_table t;
	struct base_buf path;
	json_t *answer = NULL;
	const json_t *entry;
	size_t i;
	int status;

	base_buf_init(&path);
	base_buf_str(&path, "/v1/dead");
	status = get(s, &path, &answer);
	base_buf_fini(&path);
	if (status != CLI_OK)
		return status;
	cli_table_init(&t, 2, 0x2);
	cli_table_cell(&t, "SERVICE");
	cli_table_cell(&t, "LETTERS");
	json_array_foreach(json_object_get(answer, "services"), i, entry)
	{
		cli_cell_text(&t, entry, "service");
		cli_table_cell(&t, "%.0f%s", cli_number(entry, "letters"),
			json_is_true(json_object_get(entry, "more")) ? " or more" : "");
	}
	if (s->json)
		cli_print_json(answer);
	else if (i == 0)
		printf("No service has dead letters.\n");
	else
		cli_table_print(&t, stdout);
	cli_table_fini(&t);
	json_decref(answer);
	return CLI_OK;
}

static int fetch_page(const struct settings *s, const char *service, const char *cursor,
	uint32_t limit, json_t **out)
{
	struct base_buf path;
	char number[16];
	int status;

	base_buf_init(&path);
	base_buf_fmt(&path, "/v1/dead/%s", service);
	add_filter(&path, s);
	(void)snprintf(number, sizeof number, "%u", limit < LIMIT_MOST ? limit : LIMIT_MOST);
	add_param(&path, "limit", number);
	add_param(&path, "cursor", cursor);
	status = get(s, &path, out);
	base_buf_fini(&path);
	return status;
}

/* Up to limit letters (0: all), appended to list; *more: there are others. */
static int fetch(const struct settings *s, const char *service, json_t *list, bool *more)
{
	char cursor[64] = "";

	do {
		size_t n = json_array_size(list);
		uint32_t left = s->limit ? s->limit - (uint32_t)n : LIMIT_MOST;
		const char *next;
		json_t *page;
		int status = fetch_page(s, service, cursor[0] ? cursor : NULL, left, &page);

		if (status != CLI_OK)
			return status;
		json_array_extend(list, json_object_get(page, "letters"));
		next = cli_text(page, "cursor");
		(void)snprintf(cursor, sizeof cursor, "%s", next ? next : "");
		json_decref(page);
	} while (cursor[0] && (s->limit == 0 || json_array_size(list) < s->limit));
	*more = cursor[0] != '\0';
	return CLI_OK;
}

static int by_death(const void *a, const void *b)
{
	const char *first = cli_text(*(json_t *const *)a, "died");
	const char *second = cli_text(*(json_t *const *)b, "died");

	return strcmp(first ? first : "", second ? second : "");
}

/* Redis gives them in no order. Borrowed pointers; free() the array. */
static json_t **sorted(const json_t *list)
{
	size_t n = json_array_size(list);
	json_t **letters = calloc(n + 1, sizeof *letters);

	for (size_t i = 0; letters && i < n; i++)
		letters[i] = json_array_get(list, i);
	if (letters && n)
		qsort(letters, n, sizeof *letters, by_death);
	return letters;
}

static void letter_row(struct cli_table *t, const json_t *letter)
{
	const json_t *attempts = json_object_get(letter, "attempts");
	const json_t *last = json_array_get(attempts, json_array_size(attempts) - 1);

	cli_cell_text(t, letter, "id");
	cli_cell_text(t, letter, "died");
	cli_cell_text(t, letter, "reason");
	cli_cell_number(t, letter, "status");
	cli_cell_number(t, last, "attempt");
	cli_cell_text(t, last, "error");
}

static void show_letters(const json_t *list, bool more)
{
	static const char *const words[] = { "ID", "DIED", "REASON", "STATUS", "ATTEMPT", "ERROR" };
	json_t **letters = sorted(list);
	struct cli_table t;

	cli_table_init(&t, sizeof words / sizeof words[0], 0x18);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		cli_table_cell(&t, "%s", words[i]);
	for (size_t i = 0; letters && letters[i]; i++)
		letter_row(&t, letters[i]);
	if (letters && letters[0])
		cli_table_print(&t, stdout);
	else if (letters)
		printf("No dead letters.\n");
	if (more)
		printf("There are more: --limit 0 lists all.\n");
	cli_table_fini(&t);
	free(letters);
}

static int list(const struct settings *s, const char *service, int n_ids, char **ids)
{
	json_t *letters;
	bool more;
	int status;

	(void)n_ids;
	(void)ids;
	if (!service)
		return list_services(s);
	letters = json_array();
	status = fetch(s, service, letters, &more);
	if (status == CLI_OK && s->json)
		cli_print_json(letters);
	else if (status == CLI_OK)
		show_letters(letters, more);
	json_decref(letters);
	return status;
}

/* ---- show -------------------------------------------------------------------------------- */

static int show(const struct settings *s, const char *service, int n_ids, char **ids)
{
	struct base_buf path;
	json_t *letter = NULL;
	int status;

	(void)n_ids;
	base_buf_init(&path);
	base_buf_fmt(&path, "/v1/dead/%s/%s", service, ids[0]);
	status = get(s, &path, &letter);
	base_buf_fini(&path);
	if (status != CLI_OK)
		return status;
	/* One letter is for reading, and has no columns. jansson escapes what a terminal would act on. */
	json_dumpf(letter, stdout,
		s->json ? JSON_COMPACT : JSON_INDENT(2) | JSON_ENSURE_ASCII | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(letter);
	return CLI_OK;
}

/* ---- redrive and purge --------------------------------------------------------------------- */

/* A new reference. */
static json_t *which(const struct settings *s, int n_ids, char **ids)
{
	json_t *body = json_object();

	if (s->all)
		json_object_set_new(body, "all", json_true());
	if (s->reason)
		json_object_set_new(body, "reason", json_string(s->reason));
	if (s->status)
		json_object_set_new(body, "status", json_string(s->status));
	if (s->before)
		json_object_set_new(body, "before", json_string(s->before));
	if (s->after)
		json_object_set_new(body, "after", json_string(s->after));
	if (n_ids) {
		json_t *list = json_array();
		for (int i = 0; i < n_ids; i++)
			json_array_append_new(list, json_string(ids[i]));
		json_object_set_new(body, "ids", list);
	}
	return body;
}

static int move(const struct settings *s, const char *service, const char *action, const char *done,
	json_t *which)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	char *body = json_dumps(which, JSON_COMPACT);
	char path[128];
	struct cli_http_request request = {
		.base = s->admin, .path = path, .body = body, .headers = headers
	};
	json_t *answer;
	double missing;
	int status = CLI_FAILED;

	(void)snprintf(path, sizeof path, "/v1/dead/%s/%s", service, action);
	if (body) {
		request.body_size = strlen(body);
		status = cli_ask(
			&request, &answer); /* however long it takes: there may be millions */
	}
	free(body);
	if (status != CLI_OK)
		return status;
	missing = cli_number(answer, "not_found");
	if (s->json)
		cli_print_json(answer);
	else
		printf("%.0f %s\n", cli_number(answer, done), done);
	if (missing > 0)
		cli_complain("%.0f were not there", missing);
	json_decref(answer);
	return missing > 0 ? CLI_FAILED : CLI_OK;
}

static bool names_letters(const struct settings *s, int n_ids)
{
	if ((n_ids > 0) + s->all + has_filter(s) == 1)
		return true;
	cli_complain(
		"say which letters: their ids, or --all, or --reason, --status, --before, --after");
	return false;
}

static int redrive(const struct settings *s, const char *service, int n_ids, char **ids)
{
	json_t *body;
	int status;

	if (!names_letters(s, n_ids))
		return CLI_USAGE;
	body = which(s, n_ids, ids);
	status = move(s, service, "redrive", "redriven", body);
	json_decref(body);
	return status;
}

/* What is purged is gone; somebody at a terminal is asked, a script has decided. */
static bool is_meant(const struct settings *s, const char *service, int n_ids)
{
	char answer[16] = "";

	if (s->yes || !isatty(STDIN_FILENO))
		return true;
	if (n_ids)
		fprintf(stderr, "Throw away %d dead letters of %s for good? [y/N] ", n_ids,
			service);
	else
		fprintf(stderr, "Throw away %s dead letters of %s for good? [y/N] ",
			s->all ? "all" : "all matching", service);
	return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int purge(const struct settings *s, const char *service, int n_ids, char **ids)
{
	json_t *body;
	int status;

	if (!names_letters(s, n_ids))
		return CLI_USAGE;
	if (!is_meant(s, service, n_ids)) {
		cli_complain("nothing was thrown away");
		return CLI_FAILED;
	}
	body = which(s, n_ids, ids);
	status = move(s, service, "purge", "purged", body);
	json_decref(body);
	return status;
}

/* ---- the command --------------------------------------------------------------------------- */

static const struct action {
	const char *name;
	bool needs_service;
	int min_ids, max_ids;
	int (*run)(const struct settings *s, const char *service, int n_ids, char **ids);
} actions[] = {
	{ "list", false, 0, 0, list },
	{ "show", true, 1, 1, show },
	{ "redrive", true, 0, IDS_MOST, redrive },
	{ "purge", true, 0, IDS_MOST, purge },
};

static const struct action *find_action(const char *name)
{
	for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(actions[i].name, name) == 0)
			return &actions[i];
	return NULL;
}

static bool are_ids(int n, char **ids)
{
	char room[BASE_TEXT_QUOTED];
	uint8_t id[BASE_ULID_SIZE];

	for (int i = 0; i < n; i++)
		if (!base_ulid_parse(ids[i], id)) {
			base_text_quote(room, sizeof room, ids[i], strlen(ids[i]));
			cli_complain("%s is no event's id", room);
			return false;
		}
	return true;
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct action *action = find_action(operands[0]);
	const char *service = n_operands > 1 ? operands[1] : NULL;
	int n_ids = n_operands > 2 ? n_operands - 2 : 0;

	if (!action) {
		cli_complain("expected list, show, redrive or purge");
		return CLI_USAGE;
	}
	if (action->needs_service && !service) {
		cli_complain("%s needs a service's name", action->name);
		return CLI_USAGE;
	}
	if (service && !base_manifest_is_service(service)) {
		cli_complain("the second word cannot be a service's name");
		return CLI_USAGE;
	}
	if (n_ids < action->min_ids || n_ids > action->max_ids) {
		cli_complain("too %s ids for %s", n_ids < action->min_ids ? "few" : "many",
			action->name);
		return CLI_USAGE;
	}
	if (!are_ids(n_ids, operands + 2))
		return CLI_USAGE;
	return action->run(settings, service, n_ids, operands + 2);
}

static const struct base_conf_row rows[] = {
	{ "all", BASE_CONF_BOOL, offsetof(struct settings, all), "no", 0, 0, NULL,
		"redrive, purge: all of the service" },
	{ "reason", BASE_CONF_STR, offsetof(struct settings, reason), NULL, 0, 0, NULL,
		"those that died of it: exhausted, poison, worker_lost, ..." },
	{ "status", BASE_CONF_STR, offsetof(struct settings, status), NULL, 0, 0, NULL,
		"those whose last attempt was answered so: 500" },
	{ "before", BASE_CONF_STR, offsetof(struct settings, before), NULL, 0, 0, NULL,
		"those that died before: 2030-01-31T09:00:00Z" },
	{ "after", BASE_CONF_STR, offsetof(struct settings, after), NULL, 0, 0, NULL,
		"those that died then or later" },
	{ "limit", BASE_CONF_U32, offsetof(struct settings, limit), "100", 0, 1000000, NULL,
		"list: about how many; 0: all" },
	{ "yes", BASE_CONF_BOOL, offsetof(struct settings, yes), "no", 0, 0, NULL,
		"purge: do not ask" },
	{ "admin", BASE_CONF_STR, offsetof(struct settings, admin), "http://127.0.0.1:8081", 0, 0,
		NULL, "a gateway's address for administration" },
	{ "json", BASE_CONF_BOOL, offsetof(struct settings, json), "no", 0, 0, NULL, "print JSON" },
	{ 0 },
};

const struct cli_command cli_dead = {
	.program = {
		.name = "pirn dead",
		.synopsis = "list [SERVICE] | show SERVICE ID | redrive SERVICE ID... | purge SERVICE ID... [options]",
		.about = "Events that ended without success: lists them, shows one with its attempts and its request, sends them back into the queue, throws them away. redrive and purge take ids, or --all, or a filter." CLI_EXIT_HELP,
		.rows = rows,
		.operands = true,
	},
	.summary = "list, look at, redrive or purge dead letters",
	.settings_size = sizeof(struct settings),
	.min_operands = 1,
	.max_operands = 2 + IDS_MOST,
	.run = run,
};
