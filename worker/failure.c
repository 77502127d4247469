#include "worker/failure.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "proto/pirn.pb-c.h"

#define JSON_MAX  8192u /* a larger body is not parsed for the sake of one line */
#define DEPTH_MAX 32u

static const char *const reasons[] = {
	[PIRN__REASON__NO_WORKER] = "another run was to be alone in the worker",
	[PIRN__REASON__DEADLINE] = "its time was over before it began",
	[PIRN__REASON__TOO_LARGE] = "the response was too large",
	[PIRN__REASON__CRASHED] = "the response broke the contract of a handler",
	[PIRN__REASON__MALFORMED] = "the request could not be read",
	[PIRN__REASON__OVERLOADED] = "the worker was out of memory",
	[PIRN__REASON__DRAINING] = "the worker was about to end",
	[PIRN__REASON__CANCELLED] = "cancelled",
	[PIRN__REASON__LEASE] = "its lease was over, or a later run had begun",
};

/* One line of it, whole characters, no controls; false: nothing is left. UNTRUSTED. */
static bool copy_line(char *out, const char *text, size_t size)
{
	size_t n = 0, at = 0;

	while (at < size &&
		(text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n'))
		at++;
	while (at < size) {
		uint32_t code;
		size_t length = base_text_utf8(text + at, size - at, &code);

		if (code == '\n' && length == 1)
			break;
		if (length == 0 || base_text_is_control(code)) {
			at += length ? length : 1;
			continue;
		}
		if (n + length >= WRK_FAILURE_SIZE)
			break;
		memcpy(out + n, text + at, length);
		n += length;
		at += length;
	}
	out[n] = '\0';
	return n > 0;
}

/* Read without memory: in a worker that has none, this is what says so. */
static bool say_json(char *out, const char *body, size_t size)
{
	static const char *const names[] = { "detail", "error", "message", "title" };
	char text[JSON_MAX + 1];
	struct base_json json, found;
	const char *why;
	size_t at;

	if (size == 0 || size > JSON_MAX || body[0] != '{' ||
		!base_json_check(body, size, DEPTH_MAX, &json, &why, &at))
		return false;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (base_json_get(&json, names[i], &found) && found.kind == BASE_JSON_STRING &&
			base_json_text(&found, text, sizeof text) && *text)
			return copy_line(out, text, strlen(text));
	return false;
}

static void say_reason(const struct wrk_run *run, char *out)
{
	const char *text =
		run->reason < sizeof reasons / sizeof *reasons ? reasons[run->reason] : NULL;

	if (run->reason == PIRN__REASON__DEADLINE && run->late)
		text = "timed out, and the handler had not returned";
	(void)snprintf(out, WRK_FAILURE_SIZE, "%s", text ? text : "the run failed");
}

static void say_answer(const struct wrk_run *run, char *out)
{
	const char *body = (const char *)run->body.data;

	if (run->late && run->status >= 500)
		(void)snprintf(out, WRK_FAILURE_SIZE, "timed out after %" PRIu32 ".%" PRIu32 " s",
			run->took_us / 1000000, run->took_us / 100000 % 10);
	else if (!say_json(out, body, run->body.size) && !copy_line(out, body, run->body.size))
		(void)snprintf(out, WRK_FAILURE_SIZE, "status %" PRIu32, run->status);
}

bool wrk_failure_say(const struct wrk_run *run, char out[WRK_FAILURE_SIZE])
{
	bool failed = run->reason != PIRN__REASON__NONE || run->status >= 400;

	if (!failed || !(run->flags & PIRN__ITEM_FLAG__EVENT))
		return false;
	if (run->why[0])
		(void)copy_line(out, run->why, strlen(run->why));
	else if (run->reason != PIRN__REASON__NONE)
		say_reason(run, out);
	else
		say_answer(run, out);
	return true;
}
