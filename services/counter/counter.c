/* POST /counter {"increment":2} adds and answers {"counter":n}; GET /counter reads.
 * Over a call without HTTP it adds, too, and so does its timer.
 */
#include <pirn/service.h>

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define COUNTER "counter"

/* The increment of a JSON text; NULL, or what is wrong with it. UNTRUSTED. */
static const char *read_increment(const char *text, size_t size, int64_t *increment, char *why, size_t why_room)
{
	json_error_t error;
	json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	json_t *value = json_object_get(root, "increment");
	const char *wrong = NULL;

	if (!root) {
		snprintf(why, why_room, "line %d, column %d: %s", error.line, error.column, error.text);
		wrong = why;
	} else if (!json_is_object(root)) {
		wrong = "the body must be a JSON object such as {\"increment\":1}";
	} else if (!value) {
		wrong = "increment is missing";
	} else if (!json_is_integer(value)) {
		wrong = "increment must be an integer of 64 bits";
	} else {
		*increment = json_integer_value(value);
	}
	json_decref(root);
	return wrong;
}

static int answer(struct pirn_response *res, int64_t value)
{
	return pirn_respond_json(res, 200, "{\"counter\":%" PRId64 "}", value);
}

static int add(struct pirn_request *req, struct pirn_response *res)
{
	char why[256];
	size_t size;
	const char *body = pirn_request_body(req, &size);
	int64_t increment = 0, value;
	const char *wrong = read_increment(body, size, &increment, why, sizeof why);
	int err;

	if (wrong)
		return pirn_respond_problem(res, 400, NULL, "%s", wrong);
	err = pirn_counter_add(req, COUNTER, increment, &value);
	if (err == PIRN_ERR_OVERFLOW)
		return pirn_respond_problem(res, 400, NULL, "the counter would overflow; it is unchanged");
	return err ? err : answer(res, value);
}

static int counter(struct pirn_request *req, struct pirn_response *res)
{
	int64_t value;
	int err;

	if (strcmp(pirn_request_method(req), "POST") == 0)
		return add(req, res);
	err = pirn_counter_get(req, COUNTER, &value);
	return err ? err : answer(res, value);
}

PIRN_SERVICE(.handler = counter);
