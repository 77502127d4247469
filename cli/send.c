/* pirn send: a CloudEvent, for every service that subscribes to its type. */
#include <string.h>

#include "base/clock.h"
#include "base/rand.h"
#include "base/text.h"
#include "base/ulid.h"
#include "cli/answer.h"
#include "cli/data.h"

#define MARGIN_MS 2000 /* the gateway answers 503 itself; wait for that */

struct settings {
	char *type, *source, *subject, *id, *data, *content_type, *delay, *gateway;
	uint32_t timeout_ms;
};

/* As CloudEvents writes a header's value: what is no plain character is percent-encoded. False: it does not
 * fit, or is none. */
static bool encode(const char *flag, const char *text, char *out, size_t room)
{
	size_t n = 0;

	if (!*text || !base_text_is_utf8(text, strlen(text))) {
		cli_complain("--%s: %s", flag, *text ? "it is not UTF-8" : "it is empty");
		return false;
	}
	for (; *text && n + 4 < room; text++) {
		if (*text <= ' ' || *text > '~' || *text == '"' || *text == '%')
			n += (size_t)snprintf(
				out + n, room - n, "%%%02X", (unsigned)(unsigned char)*text);
		else
			out[n++] = *text;
	}
	out[n] = '\0';
	if (*text)
		cli_complain("--%s: it is longer than a header may be here", flag);
	return !*text;
}

static bool add_attribute(
	struct cli_headers *h, const char *flag, const char *name, const char *text)
{
	char value[CLI_HEADER_ROOM - 32];

	if (!text)
		return true;
	if (!encode(flag, text, value, sizeof value))
		return false;
	cli_header_add(h, name, value);
	return true;
}

/* An id of its own, so that what is sent again underneath is the same. */
static void make_id(char out[BASE_ULID_TEXT + 1])
{
	struct base_ulid_maker maker = { .last_ms = 0 };
	uint8_t id[BASE_ULID_SIZE];
	struct base_rand rand;
	uint64_t seed;

	base_rand_system(&seed, sizeof seed);
	base_rand_init(&rand, seed);
	base_ulid_make(&maker, &rand, base_clock_unix_ms(), id);
	base_ulid_print(id, out);
}

static bool set_headers(const struct settings *s, struct cli_headers *h)
{
	char id[BASE_ULID_TEXT + 1], timeout[32];

	*h = (struct cli_headers){ 0 };
	make_id(id);
	cli_header_add(h, "ce-specversion", "1.0");
	(void)snprintf(timeout, sizeof timeout, "%ums", s->timeout_ms);
	if (s->timeout_ms)
		cli_header_add(h, "Pirn-Timeout", timeout);
	cli_header_add(h, "Pirn-Delay", s->delay);
	cli_header_add(h, "Content-Type", s->content_type);
	return add_attribute(h, "type", "ce-type", s->type) &&
	       add_attribute(h, "source", "ce-source", s->source) &&
	       add_attribute(h, "subject", "ce-subject", s->subject) &&
	       add_attribute(h, "id", "ce-id", s->id ? s->id : id);
}

static int post(
	const struct settings *s, const struct cli_headers *headers, const struct base_buf *body)
{
	struct cli_http_response response;
	struct cli_http_request request = {
		.base = s->gateway,
		.path = "/v1/events",
		.body = body->data,
		.body_size = body->size,
		.headers = headers->list,
		.timeout_ms = s->timeout_ms ? s->timeout_ms + MARGIN_MS : 0,
	};
	char why[512];
	enum base_err err = cli_http(&request, &response, why, sizeof why);
	int status;

	if (err) {
		cli_complain("%s: %s", s->gateway, why);
		return err == BASE_UNAVAILABLE ? CLI_UNAVAILABLE : CLI_FAILED;
	}
	status = cli_show_accepted(&response);
	cli_http_fini(&response);
	return status;
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;
	struct cli_headers headers;
	struct base_buf body;
	int status = CLI_FAILED;

	(void)n_operands;
	(void)operands;
	if (!s->type) {
		cli_complain("--type is missing: what happened, such as order.created");
		return CLI_USAGE;
	}
	if (!cli_header_is_line("content-type", s->content_type) ||
		!cli_header_is_line("delay", s->delay) || !set_headers(s, &headers))
		return CLI_USAGE;
	base_buf_init(&body);
	if (cli_data_read(s->data, &body))
		status = post(s, &headers, &body);
	base_buf_fini(&body);
	return status;
}

static const struct base_conf_row rows[] = {
	{ "type", BASE_CONF_STR, offsetof(struct settings, type), NULL, 0, 0, NULL,
		"what happened, such as order.created: services subscribe to it" },
	{ "source", BASE_CONF_STR, offsetof(struct settings, source), "/pirn/send", 0, 0, NULL,
		"where it happened, a URI-reference" },
	{ "subject", BASE_CONF_STR, offsetof(struct settings, subject), NULL, 0, 0, NULL,
		"to what it happened" },
	{ "id", BASE_CONF_STR, offsetof(struct settings, id), NULL, 0, 0, NULL,
		"with the source, what it is known by: the same again is not sent on (default: a new one)" },
	{ "data", BASE_CONF_STR, offsetof(struct settings, data), NULL, 0, 0, NULL,
		"its data: TEXT, @FILE, or - for standard input (default: none)" },
	{ "content-type", BASE_CONF_STR, offsetof(struct settings, content_type),
		"application/json", 0, 0, NULL, "what the data is" },
	{ "delay", BASE_CONF_STR, offsetof(struct settings, delay), NULL, 0, 0, NULL,
		"do not run it before so long, such as 10m" },
	{ "timeout", BASE_CONF_MS, offsetof(struct settings, timeout_ms), "0", 0, 60000, NULL,
		"how long its acceptance may take; 0: 30s" },
	{ "gateway", BASE_CONF_STR, offsetof(struct settings, gateway), "http://127.0.0.1:8080", 0,
		0, NULL, "the gateway to ask" },
	{ 0 },
};

const struct cli_command cli_send = {
	.program = {
		.name = "pirn send",
		.synopsis = "--type TYPE [--data TEXT|@FILE|-] [options]",
		.about = "Sends an event to every service that subscribes to its type, and prints its id once it is accepted (see pirn status)." CLI_EXIT_HELP,
		.rows = rows,
	},
	.summary = "send an event to all who subscribe to its type",
	.settings_size = sizeof(struct settings),
	.run = run,
};
