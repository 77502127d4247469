/* pirn tail: what passes, as it passes. The gateway is asked for news several times a second
 * (GET /v1/tail says why it is not the other way round).
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/manifest.h"
#include "base/text.h"
#include "cli/answer.h"

#define PATTERN_MAX 255 /* as a subscription's */
#define PAUSE_MS    200
#define CURSOR_ROOM 4300
#define PATH_ROOM   (3 * (CURSOR_ROOM + 512))

struct settings {
	char *type, *service, *admin;
	uint32_t count;
	bool json;
};

struct watch {
	const struct settings *s;
	char cursor[CURSOR_ROOM];
	uint32_t seen;
	bool began;
};

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c && strchr("-._~:,", c));
}

static void add_parameter(char *path, const char *name, const char *value)
{
	char *end = path + strlen(path);

	if (!value || !*value)
		return;
	end += sprintf(end, "%c%s=", strchr(path, '?') ? '&' : '?', name);
	for (; *value; value++) {
		if (is_plain(*value))
			*end++ = *value;
		else
			end += sprintf(end, "%%%02X", (unsigned)(unsigned char)*value);
	}
	*end = '\0';
}

/* ---- showing ------------------------------------------------------------------------------- */

static void print_word(const json_t *note, const char *key, const char *before)
{
	char room[BASE_TEXT_QUOTED];
	const char *text = cli_text(note, key);

	if (text)
		printf("%s%s", before, base_text_word(room, sizeof room, text));
}

/* 18:03:22.123 done      01KA… order.created -> mail 200, attempt 1 */
static void show(const json_t *note)
{
	const char *at = cli_text(note, "at");
	char what[BASE_TEXT_QUOTED], id[BASE_TEXT_QUOTED];

	printf("%.12s", at && strlen(at) > 23 ? at + 11 : "");
	printf(" %-9s %s",
		base_text_word(
			what, sizeof what, cli_text(note, "what") ? cli_text(note, "what") : "?"),
		base_text_word(id, sizeof id, cli_text(note, "id") ? cli_text(note, "id") : "?"));
	print_word(note, "type", " ");
	print_word(note, "service", " -> ");
	if (json_object_get(note, "status"))
		printf(" %.0f", cli_number(note, "status"));
	print_word(note, "reason", " ");
	if (cli_number(note, "attempt") > 1)
		printf(", attempt %.0f", cli_number(note, "attempt"));
	if (json_object_get(note, "took_ms"))
		printf(", %.1f ms", cli_number(note, "took_ms"));
	putchar('\n');
}

/* True: enough was seen. */
static bool show_all(struct watch *w, const json_t *answer)
{
	double missed = cli_number(answer, "missed");
	const json_t *note;
	size_t i;

	if (missed > 0 && w->s->json)
		printf("{\"missed\":%.0f}\n", missed);
	else if (missed > 0)
		printf("... %.0f more passed than could be shown\n", missed);
	json_array_foreach(json_object_get(answer, "notes"), i, note)
	{
		if (w->s->json)
			cli_print_json(note);
		else
			show(note);
		if (++w->seen == w->s->count)
			return true;
	}
	return false;
}

/* ---- asking -------------------------------------------------------------------------------- */

static int ask(struct watch *w, json_t **answer)
{
	static char path[PATH_ROOM];
	struct cli_http_request request = {
		.base = w->s->admin, .path = path, .timeout_ms = CLI_ANSWER_MS
	};
	const char *cursor;
	int status;

	strcpy(path, "/v1/tail");
	add_parameter(path, "service", w->s->service);
	add_parameter(path, "type", w->s->type);
	add_parameter(path, "cursor", w->cursor);
	status = cli_ask(&request, answer);
	if (status != CLI_OK)
		return status;
	cursor = cli_text(*answer, "cursor");
	(void)snprintf(w->cursor, sizeof w->cursor, "%s", cursor ? cursor : "");
	return CLI_OK;
}

static int look_on(struct watch *w)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	json_t *answer;
	bool enough, more;
	int status;

	do {
		status = ask(w, &answer);
		if (status != CLI_OK)
			return status;
		if (!w->began)
			fprintf(stderr, "Watching; Ctrl-C ends it.\n");
		w->began = true;
		enough = show_all(w, answer);
		more = json_array_size(json_object_get(answer, "notes")) > 0;
		json_decref(answer);
		if (fflush(stdout) != 0) {
			cli_complain("%s", strerror(errno));
			return CLI_FAILED;
		}
		if (!enough && !more)
			(void)nanosleep(&pause, NULL);
	} while (!enough);
	return CLI_OK;
}

static int run(const void *settings, int n_operands, char **operands)
{
	struct watch w = { .s = settings };

	(void)n_operands;
	(void)operands;
	if (w.s->service && !base_manifest_is_service(w.s->service)) {
		cli_complain("--service: that cannot be a service's name");
		return CLI_USAGE;
	}
	if (w.s->type && (!*w.s->type || strlen(w.s->type) > PATTERN_MAX)) {
		cli_complain("--type: a pattern of 1 to %d bytes, such as order.*", PATTERN_MAX);
		return CLI_USAGE;
	}
	return look_on(&w);
}

static const struct base_conf_row rows[] = {
	{ "type", BASE_CONF_STR, offsetof(struct settings, type), NULL, 0, 0, NULL,
		"events of these types alone: a pattern such as order.*" },
	{ "service", BASE_CONF_STR, offsetof(struct settings, service), NULL, 0, 0, NULL,
		"what concerns this service alone" },
	{ "count", BASE_CONF_U32, offsetof(struct settings, count), "0", 0, UINT32_MAX, NULL,
		"end after so many lines; 0: never" },
	{ "json", BASE_CONF_BOOL, offsetof(struct settings, json), "no", 0, 0, NULL,
		"print JSON, a line for each" },
	{ "admin", BASE_CONF_STR, offsetof(struct settings, admin), "http://127.0.0.1:8081", 0, 0,
		NULL, "a gateway's address for administration" },
	{ 0 },
};

const struct cli_command cli_tail = {
	.program = {
		.name = "pirn tail",
		.synopsis = "[--type PATTERN] [--service SERVICE] [--count N] [--json]",
		.about = "Shows what passes, as it passes: events that are accepted, the ends of their deliveries, attempts that fail, calls that are answered. When more passes than can be told, it says how much was left out." CLI_EXIT_HELP,
		.rows = rows,
	},
	.summary = "show what passes, live",
	.settings_size = sizeof(struct settings),
	.run = run,
};
