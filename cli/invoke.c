/* pirn invoke SERVICE: one call through a gateway, or one event. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/manifest.h"
#include "cli/answer.h"
#include "cli/data.h"

#define MARGIN_MS 2000 /* the gateway answers 504 itself; wait for that */

struct settings {
	char *data, *content_type, *gateway, *delay, *key;
	uint32_t timeout_ms;
	bool async;
};

static int show(const struct cli_http_response *response)
{
	bool ok = response->status >= 200 && response->status < 300;
	bool problem = strncmp(response->content_type, "application/problem+json", 24) == 0;

	if (!ok)
		cli_tell_problem(response);
	if (ok || !problem) {
		(void)fwrite(response->body.data, 1, response->body.size, stdout);
		/* A shell's prompt should not stand behind the answer; a pipe gets the bytes alone. */
		if (response->body.size && response->body.data[response->body.size - 1] != '\n' &&
			isatty(STDOUT_FILENO))
			putchar('\n');
	}
	if (fflush(stdout) != 0) {
		cli_complain("%s", strerror(errno));
		return CLI_FAILED;
	}
	return ok ? CLI_OK : CLI_FAILED;
}

static void set_headers(const struct settings *s, struct cli_headers *h)
{
	char timeout[32];

	*h = (struct cli_headers){ 0 };
	cli_header_add(h, "Content-Type", s->content_type);
	(void)snprintf(timeout, sizeof timeout, "%ums", s->timeout_ms);
	if (s->timeout_ms)
		cli_header_add(h, "Pirn-Timeout", timeout);
	if (s->async)
		cli_header_add(h, "Prefer", "respond-async");
	cli_header_add(h, "Pirn-Delay", s->delay);
	cli_header_add(h, "Idempotency-Key", s->key);
}

static int call(const struct settings *s, const char *service, const struct base_buf *body)
{
	struct cli_http_response response;
	struct cli_headers headers;
	char path[128];
	char why[512];
	struct cli_http_request request = {
		.base = s->gateway,
		.path = path,
		.body = body->data,
		.body_size = body->size,
		.headers = headers.list,
		.timeout_ms = s->timeout_ms ? s->timeout_ms + MARGIN_MS : 0,
	};
	enum base_err err;
	int status;

	(void)snprintf(path, sizeof path, "/v1/invoke/%s", service);
	set_headers(s, &headers);
	err = cli_http(&request, &response, why, sizeof why);
	if (err) {
		cli_complain("%s: %s", s->gateway, why);
		return err == BASE_UNAVAILABLE ? CLI_UNAVAILABLE : CLI_FAILED;
	}
	status = s->async ? cli_show_accepted(&response) : show(&response);
	cli_http_fini(&response);
	return status;
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;
	struct base_buf body;
	int status = CLI_FAILED;

	(void)n_operands;
	if (!base_manifest_is_service(operands[0])) {
		cli_complain(
			"\"%s\" cannot be a service's name: a-z, 0-9 and -, beginning with a letter, %d at most",
			operands[0], BASE_MANIFEST_NAME_MAX);
		return CLI_USAGE;
	}
	if (!cli_header_is_line("content-type", s->content_type) || !cli_header_is_line("delay", s->delay) ||
		!cli_header_is_line("key", s->key))
		return CLI_USAGE;
	if (s->delay && !s->async) {
		cli_complain("--delay is for events: add --async");
		return CLI_USAGE;
	}
	base_buf_init(&body);
	if (cli_data_read(s->data, &body))
		status = call(s, operands[0], &body);
	base_buf_fini(&body);
	return status;
}

static const struct base_conf_row rows[] = {
	{ "data", BASE_CONF_STR, offsetof(struct settings, data), NULL, 0, 0, NULL,
		"the body: TEXT, @FILE, or - for standard input (default: empty)" },
	{ "content-type", BASE_CONF_STR, offsetof(struct settings, content_type),
		"application/json", 0, 0, NULL, "what the body is" },
	{ "timeout", BASE_CONF_MS, offsetof(struct settings, timeout_ms), "0", 0, 3600000, NULL,
		"how long the call may take, or an event's acceptance; 0: as long as its service's manifest says (an event: 30s)" },
	{ "async", BASE_CONF_BOOL, offsetof(struct settings, async), "no", 0, 0, NULL,
		"make it an event: print its id once it is accepted" },
	{ "delay", BASE_CONF_STR, offsetof(struct settings, delay), NULL, 0, 0, NULL,
		"an event's: do not run it before so long, such as 10m" },
	{ "key", BASE_CONF_STR, offsetof(struct settings, key), NULL, 0, 0, NULL,
		"an Idempotency-Key: the same again gets the first answer" },
	{ "gateway", BASE_CONF_STR, offsetof(struct settings, gateway), "http://127.0.0.1:8080", 0,
		0, NULL, "the gateway to ask" },
	{ 0 },
};

const struct cli_command cli_invoke = {
	.program = {
		.name = "pirn invoke",
		.synopsis = "SERVICE [--data TEXT|@FILE|-] [--async] [options]",
		.about = "Calls a service and prints the body of its answer, or with --async leaves it an event and prints that one's id (see pirn status). An answer other than 2xx is told on stderr." CLI_EXIT_HELP,
		.rows = rows,
		.operands = true,
	},
	.summary = "call a service, or send it an event",
	.settings_size = sizeof(struct settings),
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
