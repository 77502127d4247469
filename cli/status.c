/* pirn status ID: what became of an event. */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/ulid.h"
#include "cli/answer.h"

#define POLL_MS 30000u /* of one long poll */

struct settings {
	char *gateway;
	uint32_t timeout_ms;
	bool wait, json;
};

static bool is_end(const char *state)
{
	static const char *const ends[] = { "done", "dead", "expired", "cancelled" };

	for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
		if (state && strcmp(state, ends[i]) == 0)
			return true;
	return false;
}

/* The deliveries of an answer: those of its list, or itself. */
static const json_t *delivery_at(const json_t *answer, size_t i)
{
	const json_t *list = json_object_get(answer, "deliveries");

	if (list)
		return json_array_get(list, i);
	return i == 0 ? answer : NULL;
}

static int exit_of(const json_t *answer)
{
	int status = CLI_OK;
	const json_t *d;

	for (size_t i = 0; (d = delivery_at(answer, i)); i++) {
		const char *state = cli_text(d, "state");
		if (!is_end(state))
			return CLI_NOT_YET;
		if (strcmp(state, "done") != 0)
			status = CLI_FAILED;
	}
	return status;
}

/* ---- for people ----------------------------------------------------------------------- */

static void print_line(const json_t *d, const char *label, const char *key)
{
	const char *text = cli_text(d, key);
	char room[BASE_TEXT_QUOTED];

	if (text)
		printf("%-10s %s\n", label, base_text_word(room, sizeof room, text));
}

static void print_attempts(const json_t *list)
{
	static const char *const words[] = { "ATTEMPT", "STARTED", "TOOK", "STATUS", "WORKER",
		"ERROR" };
	struct cli_table t;
	const json_t *a;
	size_t i;

	if (json_array_size(list) == 0)
		return;
	cli_table_init(&t, sizeof words / sizeof words[0], 0xD);
	for (i = 0; i < sizeof words / sizeof words[0]; i++)
		cli_table_cell(&t, "%s", words[i]);
	json_array_foreach(list, i, a)
	{
		cli_cell_number(&t, a, "attempt");
		cli_cell_text(&t, a, "started");
		if (json_object_get(a, "took_ms"))
			cli_cell_ms(&t, cli_number(a, "took_ms"));
		else
			cli_table_cell(&t, "runs");
		cli_cell_number(&t, a, "status");
		cli_cell_text(&t, a, "worker");
		cli_cell_text(&t, a, json_object_get(a, "error") ? "error" : "reason");
	}
	printf("\n");
	cli_table_print(&t, stdout);
	cli_table_fini(&t);
}

/* Bytes go to a terminal as they are only from pirn invoke, where one asked for nothing else. */
static void print_result(const json_t *result)
{
	const char *body = cli_text(result, "body");
	const char *encoding = cli_text(result, "body_encoding");

	if (!result || !body)
		return;
	printf("\nresult     %.0f\n", cli_number(result, "status"));
	if (encoding && strcmp(encoding, "text") != 0) {
		printf("(no text; --json has it in base64)\n");
		return;
	}
	for (size_t size = strlen(body), n; size > 0; body += n, size -= n) {
		uint32_t code;
		n = base_text_utf8(body, size, &code);
		if (code == '\n' || code == '\t' || !base_text_is_control(code))
			(void)fwrite(body, 1, n, stdout);
		else
			putchar('?');
	}
	if (*body || (body > cli_text(result, "body") && body[-1] != '\n'))
		putchar('\n');
}

static void print_delivery(const json_t *d)
{
	printf("%-10s %.0f", "attempt", cli_number(d, "attempt"));
	if (json_object_get(d, "max_attempts"))
		printf(" of %.0f", cli_number(d, "max_attempts"));
	printf("\n");
	print_line(d, "service", "service");
	print_line(d, "state", "state");
	print_line(d, "reason", "reason");
	print_line(d, "accepted", "accepted");
	print_line(d, "not before", "not_before");
	print_line(d, "ended", "ended");
	print_attempts(json_object_get(d, "attempts"));
	print_result(json_object_get(d, "result"));
}

static void print_answer(const json_t *answer)
{
	const json_t *d;

	print_line(answer, "id", "id");
	for (size_t i = 0; (d = delivery_at(answer, i)); i++) {
		if (i > 0)
			printf("\n");
		print_delivery(d);
	}
}

/* ---- asking --------------------------------------------------------------------------- */

static uint32_t poll_ms(const struct settings *s, uint64_t end_ms)
{
	uint64_t now = base_clock_ms();
	uint64_t left = end_ms > now ? end_ms - now : 0;

	if (!s->wait)
		return 0;
	return left < POLL_MS ? (uint32_t)left : POLL_MS;
}

/* Long polls until it has ended, or the time is over. */
static int ask(const struct settings *s, const char *id, json_t **out)
{
	uint64_t end_ms = s->timeout_ms ? base_clock_ms() + s->timeout_ms : UINT64_MAX;
	char path[128];
	int status;

	for (;;) {
		uint32_t wait_ms = poll_ms(s, end_ms);
		struct cli_http_request request = {
			.base = s->gateway, .path = path, .timeout_ms = wait_ms + CLI_ANSWER_MS
		};
		(void)snprintf(path, sizeof path, "/v1/invocations/%s?wait=%ums", id, wait_ms);
		status = cli_ask(&request, out);
		if (status != CLI_OK || wait_ms == 0 || exit_of(*out) != CLI_NOT_YET ||
			base_clock_ms() >= end_ms)
			return status;
		json_decref(*out);
	}
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;
	uint8_t id[BASE_ULID_SIZE];
	json_t *answer;
	int status;

	(void)n_operands;
	if (!base_ulid_parse(operands[0], id)) {
		char room[BASE_TEXT_QUOTED];
		base_text_quote(room, sizeof room, operands[0], strlen(operands[0]));
		cli_complain(
			"%s is no event's id: 26 letters and digits, as pirn invoke --async prints it",
			room);
		return CLI_USAGE;
	}
	status = ask(s, operands[0], &answer);
	if (status != CLI_OK)
		return status;
	if (s->json)
		cli_print_json(answer);
	else
		print_answer(answer);
	status = exit_of(answer);
	json_decref(answer);
	return status;
}

static const struct base_conf_row rows[] = {
	{ "wait", BASE_CONF_BOOL, offsetof(struct settings, wait), "no", 0, 0, NULL,
		"wait until it has ended" },
	{ "timeout", BASE_CONF_MS, offsetof(struct settings, timeout_ms), "0", 0, 86400000, NULL,
		"how long to wait at most; 0: for ever" },
	{ "gateway", BASE_CONF_STR, offsetof(struct settings, gateway), "http://127.0.0.1:8080", 0,
		0, NULL, "the gateway to ask" },
	{ "json", BASE_CONF_BOOL, offsetof(struct settings, json), "no", 0, 0, NULL, "print JSON" },
	{ 0 },
};

const struct cli_command cli_status = {
	.program = {
		.name = "pirn status",
		.synopsis = "ID [--wait] [--timeout 30s] [--json]",
		.about = "Says what became of an event: its state, its attempts, its result." CLI_EXIT_HELP
			 " Done is 0; dead, expired or cancelled is 1; not ended yet is 75.",
		.rows = rows,
		.operands = true,
	},
	.summary = "say what became of an event",
	.settings_size = sizeof(struct settings),
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
