/* pirn queue: events that wait and run, by service, and how fast they come and go. Rates
 * are the difference of two readings of the brokers' counters.
 */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/manifest.h"
#include "cli/answer.h"

struct settings {
	char *admin;
	uint32_t interval_ms;
	bool json;
};

/* Counters of an answer's events, and what their rates are called. */
static const struct {
	const char *counter, *rate, *heading;
} rates[] = {
	{ "accepted", "accepted_per_s", "IN/S" },
	{ "done", "done_per_s", "DONE/S" },
	{ "retried", "retried_per_s", "RETRIED/S" },
	{ "dead", "dead_per_s", "DEAD/S" },
};
static const char *const depths[] = { "ready", "running", "waiting" };

#define N_RATES  (sizeof rates / sizeof rates[0])
#define N_DEPTHS (sizeof depths / sizeof depths[0])

static int read_once(const struct settings *s, json_t **out)
{
	struct cli_http_request request = {
		.base = s->admin, .path = "/v1/services", .timeout_ms = CLI_ANSWER_MS
	};

	return cli_ask(&request, out);
}

static const json_t *find(const json_t *list, const char *service)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(list, i, entry)
	{
		const char *name = cli_text(entry, "service");
		if (name && strcmp(name, service) == 0)
			return entry;
	}
	return NULL;
}

/* A broker that came or went moves its sums to or fro: a rate is not negative for it. */
static double rate_of(const json_t *before, const json_t *after, const char *key, double seconds)
{
	double difference = cli_number(after, key) - cli_number(before, key);

	return before && difference > 0 && seconds > 0 ? difference / seconds : 0;
}

/* The service's events with the rates added; a new reference. */
static json_t *entry_of(const json_t *before, const json_t *after, double seconds)
{
	const json_t *was = json_object_get(before, "events");
	json_t *events = json_deep_copy(json_object_get(after, "events"));

	if (!events)
		events = json_object();
	for (size_t i = 0; i < N_RATES; i++)
		json_object_set_new(events, rates[i].rate,
			json_real(rate_of(was, events, rates[i].counter, seconds)));
	json_object_set(events, "service", json_object_get(after, "service"));
	return events;
}

static json_t *compare(const json_t *before, const json_t *after, const char *only, double seconds)
{
	const json_t *old = json_object_get(before, "services"), *entry;
	json_t *queues = json_array();
	size_t i;

	json_array_foreach(json_object_get(after, "services"), i, entry)
	{
		const char *name = cli_text(entry, "service");
		if (name && (!only || strcmp(only, name) == 0))
			json_array_append_new(queues, entry_of(find(old, name), entry, seconds));
	}
	return queues;
}

static void show(const json_t *queues)
{
	struct cli_table t;
	const json_t *q;
	size_t i;

	cli_table_init(&t, 2 + N_DEPTHS + N_RATES, 0x1FE);
	cli_table_cell(&t, "SERVICE");
	cli_table_cell(&t, "READY");
	cli_table_cell(&t, "RUNNING");
	cli_table_cell(&t, "WAITING");
	cli_table_cell(&t, "OLDEST");
	for (i = 0; i < N_RATES; i++)
		cli_table_cell(&t, "%s", rates[i].heading);
	json_array_foreach(queues, i, q)
	{
		cli_cell_text(&t, q, "service");
		for (size_t k = 0; k < N_DEPTHS; k++)
			cli_cell_number(&t, q, depths[k]);
		if (cli_number(q, "oldest_ms") > 0)
			cli_cell_ms(&t, cli_number(q, "oldest_ms"));
		else
			cli_table_cell(&t, "-");
		for (size_t k = 0; k < N_RATES; k++)
			cli_table_cell(&t, "%.*f", cli_number(q, rates[k].rate) < 10 ? 1 : 0,
				cli_number(q, rates[k].rate));
	}
	if (json_array_size(queues) == 0)
		printf("No service is known yet.\n");
	else
		cli_table_print(&t, stdout);
	cli_table_fini(&t);
}

static void pause_ms(uint32_t ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&t, &t) != 0)
		;
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;
	const char *only = n_operands ? operands[0] : NULL;
	json_t *before = NULL, *after = NULL, *queues;
	uint64_t began_ms = base_clock_ms();
	int status = read_once(s, &before);

	if (status == CLI_OK) {
		pause_ms(s->interval_ms);
		status = read_once(s, &after);
	}
	if (status == CLI_OK) {
		queues = compare(before, after, only, (double)(base_clock_ms() - began_ms) / 1000);
		if (only && json_array_size(queues) == 0) {
			cli_complain("no service of this name is known");
			status = CLI_FAILED;
		} else if (s->json) {
			cli_print_json(queues);
		} else {
			show(queues);
		}
		json_decref(queues);
	}
	json_decref(before);
	json_decref(after);
	return status;
}

static const struct base_conf_row rows[] = {
	{ "admin", BASE_CONF_STR, offsetof(struct settings, admin), "http://127.0.0.1:8081", 0, 0,
		NULL, "a gateway's address for administration" },
	{ "interval", BASE_CONF_MS, offsetof(struct settings, interval_ms), "1s", 10, 60000, NULL,
		"the time over which rates are taken" },
	{ "json", BASE_CONF_BOOL, offsetof(struct settings, json), "no", 0, 0, NULL, "print JSON" },
	{ 0 },
};

const struct cli_command cli_queue = {
	.program = {
		.name = "pirn queue",
		.synopsis = "[SERVICE] [--json]",
		.about = "Lists events by service: those that are ready, run, and wait for a later time; the age of the oldest; how many a second come, are done, are retried and die." CLI_EXIT_HELP,
		.rows = rows,
		.operands = true,
	},
	.summary = "list the events that wait, by service",
	.settings_size = sizeof(struct settings),
	.max_operands = 1,
	.run = run,
};
