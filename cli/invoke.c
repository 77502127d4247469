/* pirn invoke SERVICE: one call through a gateway, or one event. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/manifest.h"
#include "base/ulid.h"
#include "cli/answer.h"

#define BODY_MAX  (64u * 1024 * 1024)
#define MARGIN_MS 2000 /* the gateway answers 504 itself; wait for that */

struct settings {
	char *data, *content_type, *gateway, *delay, *key;
	uint32_t timeout_ms;
	bool async;
};

static enum base_err read_all(FILE *in, struct base_buf *out)
{
	for (;;) {
		uint8_t *room = base_buf_room(out, 65536);
		size_t n = room ? fread(room, 1, 65536, in) : 0;

		base_buf_grew(out, n);
		if (n == 0)
			break;
		if (out->size > BODY_MAX)
			return BASE_TOO_LARGE;
	}
	return ferror(in) ? BASE_IO : base_buf_check(out);
}

/* TEXT, @FILE, or - for standard input. */
static bool read_body(const char *data, struct base_buf *out)
{
	const char *path = data && data[0] == '@' ? data + 1 : NULL;
	enum base_err err;
	FILE *file;

	if (!data)
		return true;
	if (!path && strcmp(data, "-") != 0) {
		base_buf_str(out, data);
		err = base_buf_check(out);
	} else if (!path) {
		err = read_all(stdin, out);
	} else {
		file = fopen(path, "re");
		if (!file) {
			cli_complain("%s: %s", path, strerror(errno));
			return false;
		}
		err = read_all(file, out);
		fclose(file);
	}
	if (err)
		cli_complain("--data %s: %s", data, base_err_text(err));
	return !err;
}

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

/* The event's id alone, so that a script can keep it. */
static int show_accepted(const struct cli_http_response *response)
{
	json_t *answer = json_loadb((const char *)response->body.data, response->body.size,
		JSON_REJECT_DUPLICATES, NULL);
	const char *id = cli_text(answer, "id");
	uint8_t ignored[BASE_ULID_SIZE];
	int status = CLI_FAILED;

	if (response->status != 202) {
		cli_tell_problem(response);
	} else if (!id || !base_ulid_parse(id, ignored)) {
		cli_complain("the gateway answers 202 and no event's id");
	} else {
		printf("%s\n", id);
		status = CLI_OK;
	}
	json_decref(answer);
	return status;
}

#define HEADERS_MAX 6
#define HEADER_ROOM 600

struct headers {
	char texts[HEADERS_MAX][HEADER_ROOM];
	const char *list[HEADERS_MAX + 1];
	size_t n;
};

static void add_header(struct headers *h, const char *name, const char *value)
{
	(void)snprintf(h->texts[h->n], HEADER_ROOM, "%s: %s", name, value);
	h->list[h->n] = h->texts[h->n];
	h->n++;
}

static void set_headers(const struct settings *s, struct headers *h)
{
	char timeout[32];

	h->n = 0;
	memset(h->list, 0, sizeof h->list);
	add_header(h, "Content-Type", s->content_type);
	(void)snprintf(timeout, sizeof timeout, "%ums", s->timeout_ms);
	if (s->timeout_ms)
		add_header(h, "Pirn-Timeout", timeout);
	if (s->async)
		add_header(h, "Prefer", "respond-async");
	if (s->delay)
		add_header(h, "Pirn-Delay", s->delay);
	if (s->key)
		add_header(h, "Idempotency-Key", s->key);
}

static int call(const struct settings *s, const char *service, const struct base_buf *body)
{
	struct cli_http_response response;
	struct headers headers;
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
	status = s->async ? show_accepted(&response) : show(&response);
	cli_http_fini(&response);
	return status;
}

/* What becomes a header is one line, and fits. */
static bool is_line(const char *flag, const char *text)
{
	if (!text || (!strpbrk(text, "\r\n") && strlen(text) < HEADER_ROOM - 64))
		return true;
	cli_complain("--%s: a line break cannot stand in it, nor more than 500 characters", flag);
	return false;
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
	if (!is_line("content-type", s->content_type) || !is_line("delay", s->delay) ||
		!is_line("key", s->key))
		return CLI_USAGE;
	if (s->delay && !s->async) {
		cli_complain("--delay is for events: add --async");
		return CLI_USAGE;
	}
	base_buf_init(&body);
	if (read_body(s->data, &body))
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
