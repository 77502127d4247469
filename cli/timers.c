/* pirn timers: which timers there are, when they last ran and run next; and to have one run now.
 */
#include <string.h>

#include "base/manifest.h"
#include "cli/answer.h"

struct settings {
	char *admin;
	bool json;
};

#define NAME_ROOM (2 * (BASE_MANIFEST_NAME_MAX + 1))

/* ---- the list ----------------------------------------------------------------------------- */

static int ask(const struct settings *s, json_t **answer)
{
	struct cli_http_request request = {
		.base = s->admin, .path = "/v1/timers", .timeout_ms = CLI_ANSWER_MS
	};

	return cli_ask(&request, answer);
}

static void when_cell(struct cli_table *t, const json_t *timer)
{
	const char *cron = cli_text(timer, "cron");

	if (cron)
		cli_table_cell(t, "%s", cron);
	else
		cli_table_cell(t, "every %.0fs", cli_number(timer, "every_ms") / 1000);
}

static void timer_row(struct cli_table *t, const json_t *timer)
{
	const char *fault = cli_text(timer, "fault");

	cli_cell_text(t, timer, "service");
	cli_cell_text(t, timer, "name");
	when_cell(t, timer);
	cli_cell_text(t, timer, "zone");
	cli_cell_text(t, timer, "missed");
	cli_cell_text(t, timer, "overlap");
	cli_cell_text(t, timer, "last");
	if (fault)
		cli_table_cell(t, "not served: %s", fault);
	else
		cli_cell_text(t, timer, "next");
}

static void show(const json_t *timers)
{
	static const char *const words[] = { "SERVICE", "TIMER", "WHEN", "ZONE", "MISSED",
		"OVERLAP", "LAST", "NEXT" };
	struct cli_table t;
	const json_t *timer;
	size_t i;

	cli_table_init(&t, sizeof words / sizeof words[0], 0);
	for (i = 0; i < sizeof words / sizeof words[0]; i++)
		cli_table_cell(&t, "%s", words[i]);
	json_array_foreach(timers, i, timer)
	{
		timer_row(&t, timer);
	}
	if (i == 0)
		printf("No service has a timer.\n");
	else
		cli_table_print(&t, stdout);
	cli_table_fini(&t);
}

static int list(const struct settings *s)
{
	json_t *answer;
	int status = ask(s, &answer);

	if (status != CLI_OK)
		return status;
	if (s->json)
		cli_print_json(answer);
	else
		show(json_object_get(answer, "timers"));
	json_decref(answer);
	return CLI_OK;
}

/* ---- firing -------------------------------------------------------------------------------- */

/* NAME alone: the one service that has a timer of that name. */
static int find(const struct settings *s, const char *name, char out[NAME_ROOM])
{
	json_t *answer;
	const json_t *timer;
	int status = ask(s, &answer);
	size_t i, n = 0;

	if (status != CLI_OK)
		return status;
	json_array_foreach(json_object_get(answer, "timers"), i, timer)
	{
		const char *service = cli_text(timer, "service"), *text = cli_text(timer, "name");

		if (!service || !text || strcmp(text, name) != 0)
			continue;
		(void)snprintf(out, NAME_ROOM, "%.63s/%s", service, name);
		n++;
	}
	json_decref(answer);
	if (n == 1)
		return CLI_OK;
	if (n == 0)
		cli_complain("no service has a timer %s", name);
	else
		cli_complain("%zu services have a timer %s: say SERVICE/%s", n, name, name);
	return CLI_FAILED;
}

static int fire(const struct settings *s, const char *name)
{
	char full[NAME_ROOM], path[NAME_ROOM + 32];
	struct cli_http_request request = {
		.base = s->admin, .path = path, .body = "", .timeout_ms = CLI_ANSWER_MS
	};
	json_t *answer;
	int status = CLI_OK;

	if (strchr(name, '/'))
		(void)snprintf(full, sizeof full, "%s", name);
	else
		status = find(s, name, full);
	if (status != CLI_OK)
		return status;
	(void)snprintf(path, sizeof path, "/v1/timers/%s/fire", full);
	status = cli_ask(&request, &answer);
	if (status != CLI_OK)
		return status;
	if (s->json)
		cli_print_json(answer);
	else
		printf("%s: fired as %s\n", full, cli_text(answer, "id"));
	json_decref(answer);
	return CLI_OK;
}

/* ---- the command --------------------------------------------------------------------------- */

/* NAME, or SERVICE/NAME. */
static bool is_name(const char *text)
{
	char service[BASE_MANIFEST_NAME_MAX + 1];
	const char *slash = strchr(text, '/');

	if (!slash)
		return base_manifest_is_service(text);
	if (slash - text > BASE_MANIFEST_NAME_MAX)
		return false;
	memcpy(service, text, (size_t)(slash - text));
	service[slash - text] = '\0';
	return base_manifest_is_service(service) && base_manifest_is_service(slash + 1);
}

static int run(const void *settings, int n_operands, char **operands)
{
	if (n_operands == 0 || (n_operands == 1 && strcmp(operands[0], "list") == 0))
		return list(settings);
	if (n_operands != 2 || strcmp(operands[0], "fire") != 0) {
		cli_complain("expected list, or fire and a timer's name");
		return CLI_USAGE;
	}
	if (!is_name(operands[1])) {
		cli_complain("expected a timer as NAME or SERVICE/NAME");
		return CLI_USAGE;
	}
	return fire(settings, operands[1]);
}

static const struct base_conf_row rows[] = {
	{ "admin", BASE_CONF_STR, offsetof(struct settings, admin), "http://127.0.0.1:8081", 0, 0,
		NULL, "a gateway's address for administration" },
	{ "json", BASE_CONF_BOOL, offsetof(struct settings, json), "no", 0, 0, NULL, "print JSON" },
	{ 0 },
};

const struct cli_command cli_timers = {
	.program = {
		.name = "pirn timers",
		.synopsis = "[list] | fire NAME | fire SERVICE/NAME [--json]",
		.about = "The timers of all services: when each was last due and is due next, in UTC. fire: has one happen now, besides its times." CLI_EXIT_HELP,
		.rows = rows,
		.operands = true,
	},
	.summary = "show the timers, or fire one now",
	.settings_size = sizeof(struct settings),
	.min_operands = 0,
	.max_operands = 2,
	.run = run,
};
