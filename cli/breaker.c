/* pirn breaker: what the brokers' circuit breakers do, and how to force them.
 */
#include <string.h>

#include "base/manifest.h"
#include "cli/answer.h"

struct settings {
	char *admin;
	bool json;
};

/* ---- what they say ------------------------------------------------------------------------ */

/* The sum over a service's brokers. */
static double sum(const json_t *service, const char *key)
{
	const json_t *row;
	double n = 0;
	size_t i;

	json_array_foreach(json_object_get(service, "brokers"), i, row)
	{
		n += cli_number(row, key);
	}
	return n;
}

/* Until the first of them probes. */
static double shortest_wait(const json_t *service)
{
	const json_t *row;
	double least = 0;
	size_t i;

	json_array_foreach(json_object_get(service, "brokers"), i, row)
	{
		double ms = cli_number(row, "wait_ms");
		if (ms > 0 && (least <= 0 || ms < least))
			least = ms;
	}
	return least;
}

/* Workers that any broker has ejected. */
static size_t count_ejected(const json_t *service)
{
	json_t *names = json_object();
	const json_t *row, *name;
	size_t i, k, n;

	json_array_foreach(json_object_get(service, "brokers"), i, row)
	{
		json_array_foreach(json_object_get(row, "ejected"), k, name)
		{
			json_object_set_new(names, json_string_value(name), json_true());
		}
	}
	n = json_object_size(names);
	json_decref(names);
	return n;
}

static void service_row(struct cli_table *t, const json_t *service)
{
	const char *force = cli_text(service, "force");

	cli_cell_text(t, service, "service");
	cli_cell_text(t, service, "state");
	if (force && strcmp(force, "auto") == 0)
		cli_table_cell(t, "-");
	else
		cli_cell_text(t, service, "force");
	if (shortest_wait(service) > 0)
		cli_cell_ms(t, shortest_wait(service));
	else
		cli_table_cell(t, "-");
	cli_table_cell(t, "%.0f", sum(service, "ok"));
	cli_table_cell(t, "%.0f", sum(service, "failed"));
	cli_table_cell(t, "%.0f", sum(service, "opened_total"));
	cli_table_cell(t, "%.0f", sum(service, "refused_total"));
	cli_table_cell(t, "%zu", count_ejected(service));
}

static void show(const json_t *services)
{
	static const char *const words[] = { "SERVICE", "STATE", "FORCED", "PROBES IN", "OK",
		"FAILED", "OPENED", "REFUSED", "EJECTED" };
	struct cli_table t;
	const json_t *service;
	size_t i;

	cli_table_init(&t, sizeof words / sizeof words[0], 0x1F8);
	for (i = 0; i < sizeof words / sizeof words[0]; i++)
		cli_table_cell(&t, "%s", words[i]);
	json_array_foreach(services, i, service)
	{
		service_row(&t, service);
	}
	if (i == 0)
		printf("No service is known yet.\n");
	else
		cli_table_print(&t, stdout);
	cli_table_fini(&t);
}

/* On stderr: whoever reads must know that the figures are not all there are. */
static void tell_missing(const json_t *answer, const char *consequence)
{
	double asked = cli_number(answer, "asked"), answered = cli_number(answer, "answered");

	if (answered < asked)
		cli_complain("%.0f of %.0f brokers did not answer%s", asked - answered, asked,
			consequence);
}

/* ---- the actions --------------------------------------------------------------------------- */

static int list(const struct settings *s, const char *service)
{
	char path[128] = "/v1/breakers";
	struct cli_http_request request = {
		.base = s->admin, .path = path, .timeout_ms = CLI_ANSWER_MS
	};
	json_t *answer, *services;
	int status;

	if (service)
		(void)snprintf(path, sizeof path, "/v1/breakers/%s", service);
	status = cli_ask(&request, &answer);
	if (status != CLI_OK)
		return status;
	services = service ? json_pack("[O]", answer)
			   : json_incref(json_object_get(answer, "services"));
	if (s->json)
		cli_print_json(answer);
	else
		show(services);
	tell_missing(answer, "");
	json_decref(services);
	json_decref(answer);
	return CLI_OK;
}

static int force(const struct settings *s, const char *service, const char *word)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	char path[128], body[64];
	struct cli_http_request request = { .base = s->admin,
		.path = path,
		.body = body,
		.headers = headers,
		.timeout_ms = CLI_ANSWER_MS };
	json_t *answer;
	int status;

	(void)snprintf(path, sizeof path, "/v1/breakers/%s", service);
	request.body_size = (size_t)snprintf(body, sizeof body, "{\"force\":\"%s\"}", word);
	status = cli_ask(&request, &answer);
	if (status != CLI_OK)
		return status;
	if (s->json)
		cli_print_json(answer);
	else if (strcmp(word, "auto") == 0)
		printf("%s: no longer forced\n", service);
	else
		printf("%s: forced %s; it stays so until `pirn breaker auto %s`\n", service, word,
			service);
	tell_missing(answer, "; they learn of it through the registry");
	json_decref(answer);
	return CLI_OK;
}

/* ---- the command --------------------------------------------------------------------------- */

static const struct {
	const char *name, *force;
} actions[] = {
	{ "list", NULL },
	{ "open", "open" },
	{ "close", "closed" },
	{ "auto", "auto" },
};

#define N_ACTIONS (sizeof actions / sizeof actions[0])

static int run(const void *settings, int n_operands, char **operands)
{
	const char *service = n_operands > 1 ? operands[1] : NULL;
	size_t i = 0;

	while (i < N_ACTIONS && strcmp(actions[i].name, operands[0]) != 0)
		i++;
	if (i == N_ACTIONS) {
		cli_complain("expected list, open, close or auto");
		return CLI_USAGE;
	}
	if (actions[i].force && !service) {
		cli_complain("%s needs a service's name", actions[i].name);
		return CLI_USAGE;
	}
	if (service && !base_manifest_is_service(service)) {
		cli_complain("the second word cannot be a service's name");
		return CLI_USAGE;
	}
	return actions[i].force ? force(settings, service, actions[i].force)
				: list(settings, service);
}

static const struct base_conf_row rows[] = {
	{ "admin", BASE_CONF_STR, offsetof(struct settings, admin), "http://127.0.0.1:8081", 0, 0,
		NULL, "a gateway's address for administration" },
	{ "json", BASE_CONF_BOOL, offsetof(struct settings, json), "no", 0, 0, NULL, "print JSON" },
	{ 0 },
};

const struct cli_command cli_breaker = {
	.program = {
		.name = "pirn breaker",
		.synopsis = "list [SERVICE] | open SERVICE | close SERVICE | auto SERVICE [--json]",
		.about = "The circuit breakers of services, in all brokers together. list shows them. open: calls get 503 at once, events wait. close: everything is let through, whatever fails. auto: no longer forced, the breaker decides. What is forced stays so until auto, also when brokers start anew." CLI_EXIT_HELP,
		.rows = rows,
		.operands = true,
	},
	.summary = "show the circuit breakers, or force one",
	.settings_size = sizeof(struct settings),
	.min_operands = 1,
	.max_operands = 2,
	.run = run,
};
