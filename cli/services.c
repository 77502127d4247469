/* pirn services: what the fabric serves. */
#include <string.h>

#include <jansson.h>

#include "cli/cli.h"
#include "cli/http.h"
#include "cli/term.h"

#define ANSWER_MS 10000

struct settings {
	char *admin;
	bool json;
};

static double number(const json_t *entry, const char *key)
{
	return json_number_value(json_object_get(entry, key));
}

static void duration_cell(struct cli_table *t, const json_t *entry, const char *key)
{
	const json_t *value = json_object_get(entry, key);
	double ms = json_number_value(value);

	if (!json_is_number(value))
		cli_table_cell(t, "-");
	else if (ms < 10)
		cli_table_cell(t, "%.2f ms", ms);
	else if (ms < 10000)
		cli_table_cell(t, "%.0f ms", ms);
	else
		cli_table_cell(t, "%.1f s", ms / 1000);
}

static void text_cell(struct cli_table *t, const json_t *entry, const char *key)
{
	const char *text = json_string_value(json_object_get(entry, key));

	cli_table_cell(t, "%s", text && *text ? text : "-");
}

static void heading(struct cli_table *t)
{
	static const char *const words[] = { "SERVICE", "WORKERS", "RUNNING", "WAITING", "DONE",
		"FAILED", "P50", "P99", "BREAKER" };

	cli_table_init(t, sizeof words / sizeof words[0], 0xFE);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		cli_table_cell(t, "%s", words[i]);
}

/* What is wrong with the brokers' Redis, UNTRUSTED, on stderr: whoever reads the table must see it. */
static void show_warnings(const json_t *answer)
{
	const json_t *warnings = json_object_get(answer, "warnings"), *w;
	char room[512];
	size_t i;

	json_array_foreach(warnings, i, w)
	{
		const char *text = json_string_value(w);
		size_t n = 0;
		for (; text && text[n] && n < sizeof room - 1; n++)
			room[n] = (unsigned char)text[n] < ' ' || text[n] == 0x7f ? '?' : text[n];
		room[n] = '\0';
		cli_complain("warning: %s", room);
	}
	if (json_is_false(json_object_get(answer, "events")))
		cli_complain("events are not accepted now; calls are served");
}

static void show(const json_t *list)
{
	static const char *const counts[] = { "workers", "running", "waiting", "done", "failed" };
	struct cli_table t;
	const json_t *entry;
	size_t i;

	heading(&t);
	json_array_foreach(list, i, entry)
	{
		text_cell(&t, entry, "service");
		for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++)
			cli_table_cell(&t, "%.0f", number(entry, counts[k]));
		duration_cell(&t, entry, "p50_ms");
		duration_cell(&t, entry, "p99_ms");
		text_cell(&t, entry, "breaker");
	}
	if (json_array_size(list) == 0)
		printf("No service is known yet.\n");
	else
		cli_table_print(&t, stdout);
	cli_table_fini(&t);
}

/* UNTRUSTED JSON: whatever answered at that address. */
static int show_answer(const struct settings *s, const struct cli_http_response *response)
{
	json_t *answer = json_loadb((const char *)response->body.data, response->body.size,
		JSON_REJECT_DUPLICATES, NULL);
	const json_t *list = json_object_get(answer, "services");
	int status = CLI_FAILED;

	if (response->status != 200 || !json_is_array(list)) {
		cli_complain("%s answers %u and no list of services", s->admin, response->status);
	} else if (s->json) {
		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
		status = CLI_OK;
	} else {
		show(list);
		show_warnings(answer);
		status = CLI_OK;
	}
	json_decref(answer);
	return status;
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;
	struct cli_http_request request = {
		.base = s->admin, .path = "/v1/services", .timeout_ms = ANSWER_MS
	};
	struct cli_http_response response;
	char why[512];
	enum base_err err = cli_http(&request, &response, why, sizeof why);
	int status;

	(void)n_operands;
	(void)operands;
	if (err) {
		cli_complain("%s: %s", s->admin, why);
		return err == BASE_INVALID ? CLI_USAGE : CLI_UNAVAILABLE;
	}
	status = show_answer(s, &response);
	cli_http_fini(&response);
	return status;
}

static const struct base_conf_row rows[] = {
	{ "admin", BASE_CONF_STR, offsetof(struct settings, admin), "http://127.0.0.1:8081", 0, 0,
		NULL, "a gateway's address for administration" },
	{ "json", BASE_CONF_BOOL, offsetof(struct settings, json), "no", 0, 0, NULL, "print JSON" },
	{ 0 },
};

const struct cli_command cli_services = {
	.program = {
		.name = "pirn services",
		.synopsis = "[--admin URL] [--json]",
		.about = "Lists the services that are known: workers, runs, calls that wait, latency." CLI_EXIT_HELP,
		.rows = rows,
	},
	.summary = "list the services",
	.settings_size = sizeof(struct settings),
	.run = run,
};
