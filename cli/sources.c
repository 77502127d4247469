/* pirn sources: what other Redis events come out of, and how that fares at a gateway. */
#include "base/text.h"
#include "cli/answer.h"

struct settings {
	char *admin;
	bool json;
};

static void source_row(struct cli_table *t, const json_t *source)
{
	const char *stream = cli_text(source, "stream"), *fault = cli_text(source, "fault");
	const char *name = stream ? stream : cli_text(source, "keys");
	char room[BASE_TEXT_QUOTED];
	bool listens = json_is_true(json_object_get(source, "listening"));

	cli_cell_text(t, source, "service");
	cli_cell_text(t, source, "name");
	cli_cell_text(t, source, "url");
	cli_table_cell(t, "%s %s", stream ? "stream" : "keys",
		name ? base_text_word(room, sizeof room, name) : "-");
	cli_table_cell(t, "%.0f", cli_number(source, "accepted"));
	cli_table_cell(t, "%.0f", cli_number(source, "unsettled"));
	if (fault) /* the worst that it can be is down */
		cli_table_cell(t, "down: %s", base_text_word(room, sizeof room, fault));
	else if (listens)
		cli_table_cell(t, "listens");
	else
		cli_cell_text(t, source, "state");
}

static void show(const json_t *sources)
{
	static const char *const words[] = { "SERVICE", "SOURCE", "URL", "WHAT", "ACCEPTED", "UNSETTLED",
		"STATE" };
	struct cli_table t;
	const json_t *source;
	size_t i;

	cli_table_init(&t, sizeof words / sizeof words[0], 0);
	for (i = 0; i < sizeof words / sizeof words[0]; i++)
		cli_table_cell(&t, "%s", words[i]);
	json_array_foreach(sources, i, source)
	{
		source_row(&t, source);
	}
	if (i == 0)
		printf("No source is read at this gateway.\n");
	else
		cli_table_print(&t, stdout);
	cli_table_fini(&t);
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;
	struct cli_http_request request = {
		.base = s->admin, .path = "/v1/sources", .timeout_ms = CLI_ANSWER_MS
	};
	json_t *answer;
	int status = cli_ask(&request, &answer);

	(void)n_operands, (void)operands;
	if (status != CLI_OK)
		return status;
	if (s->json)
		cli_print_json(answer);
	else
		show(json_object_get(answer, "sources"));
	json_decref(answer);
	return CLI_OK;
}

static const struct base_conf_row rows[] = {
	{ "admin", BASE_CONF_STR, offsetof(struct settings, admin), "http://127.0.0.1:8081", 0, 0,
		NULL, "a gateway's address for administration" },
	{ "json", BASE_CONF_BOOL, offsetof(struct settings, json), "no", 0, 0, NULL, "print JSON" },
	{ 0 },
};

const struct cli_command cli_sources = {
	.program = {
		.name = "pirn sources",
		.synopsis = "[--json]",
		.about = "The Redis streams and keys out of which services have events, and how each fares at this gateway: every gateway reads all streams, one of them listens to keys." CLI_EXIT_HELP,
		.rows = rows,
	},
	.summary = "show the sources in other Redis",
	.settings_size = sizeof(struct settings),
	.run = run,
};
