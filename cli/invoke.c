/* pirn invoke SERVICE: one call through a gateway. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/manifest.h"
#include "cli/cli.h"
#include "cli/http.h"

#define BODY_MAX  (64u * 1024 * 1024)
#define MARGIN_MS 2000 /* the gateway answers 504 itself; wait for that */

struct settings {
	char *data, *content_type, *gateway;
	uint32_t timeout_ms;
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

/* A problem (RFC 9457), UNTRUSTED, as one line. */
static void tell_problem(const struct cli_http_response *response)
{
	json_t *problem =
		json_loadb((const char *)response->body.data, response->body.size, 0, NULL);
	const char *title = json_string_value(json_object_get(problem, "title"));
	const char *detail = json_string_value(json_object_get(problem, "detail"));

	if (title && detail)
		cli_complain("%u %s: %s", response->status, title, detail);
	else
		cli_complain("%u%s%s", response->status, title ? " " : "", title ? title : "");
	json_decref(problem);
}

static int show(const struct cli_http_response *response)
{
	bool ok = response->status >= 200 && response->status < 300;
	bool problem = strncmp(response->content_type, "application/problem+json", 24) == 0;

	if (!ok)
		tell_problem(response);
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

static int call(const struct settings *s, const char *service, const struct base_buf *body)
{
	struct cli_http_response response;
	char path[128];
	char type[256];
	char timeout[64];
	char why[512];
	const char *headers[] = { type, timeout, NULL };
	struct cli_http_request request = {
		.base = s->gateway,
		.path = path,
		.body = body->data,
		.body_size = body->size,
		.headers = headers,
		.timeout_ms = s->timeout_ms + MARGIN_MS,
	};
	enum base_err err;
	int status;

	(void)snprintf(path, sizeof path, "/v1/invoke/%s", service);
	(void)snprintf(type, sizeof type, "Content-Type: %s", s->content_type);
	(void)snprintf(timeout, sizeof timeout, "Pirn-Timeout: %ums", s->timeout_ms);
	if (!s->timeout_ms) {
		headers[1] = NULL;
		request.timeout_ms = 0;
	}
	err = cli_http(&request, &response, why, sizeof why);
	if (err) {
		cli_complain("%s: %s", s->gateway, why);
		return err == BASE_UNAVAILABLE ? CLI_UNAVAILABLE : CLI_FAILED;
	}
	status = show(&response);
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
	if (strpbrk(s->content_type, "\r\n")) {
		cli_complain("--content-type: a line break cannot stand in it");
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
		"how long the call may take; 0: as long as its service's manifest says" },
	{ "gateway", BASE_CONF_STR, offsetof(struct settings, gateway), "http://127.0.0.1:8080", 0,
		0, NULL, "the gateway to ask" },
	{ 0 },
};

const struct cli_command cli_invoke = {
	.program = {
		.name = "pirn invoke",
		.synopsis = "SERVICE [--data TEXT|@FILE|-] [options]",
		.about = "Calls a service and prints the body of its answer. An answer other than 2xx is told on stderr." CLI_EXIT_HELP,
		.rows = rows,
		.operands = true,
	},
	.summary = "call a service",
	.settings_size = sizeof(struct settings),
	.min_operands = 1,
	.max_operands = 1,
	.run = run,
};
