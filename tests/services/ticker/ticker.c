/* For timers: the run of one counts its slot (ce-time) in the hash of its name, and keeps
 * the last data in the key data-name. {"nap_ms":N} has the run take so long.
 */
#include <pirn/service.h>

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void nap(const char *data, size_t size)
{
	json_t *root = json_loadb(data, size, JSON_DECODE_ANY, NULL);
	json_int_t ms = json_integer_value(json_object_get(root, "nap_ms"));
	struct timespec left = { .tv_sec = (time_t)(ms / 1000),
		.tv_nsec = (long)(ms % 1000) * 1000000 };

	json_decref(root);
	while (nanosleep(&left, &left))
		;
}

static const char *header(struct pirn_request *req, const char *name)
{
	const char *value = pirn_request_header(req, name);

	return value ? value : "";
}

static bool is_sound(struct pirn_request *req)
{
	char target[128], source[] = "/timers/ticker";

	snprintf(target, sizeof target, "/v1/timers/%s", header(req, "ce-subject"));
	return strcmp(header(req, "ce-specversion"), "1.0") == 0 &&
	       strcmp(header(req, "ce-type"), "pirn.timer") == 0 &&
	       strcmp(header(req, "ce-source"), source) == 0 &&
	       strcmp(header(req, "ce-id"), pirn_request_id(req)) == 0 &&
	       strcmp(header(req, "content-type"), "application/json") == 0 &&
	       strcmp(pirn_request_target(req), target) == 0 && pirn_request_is_event(req);
}

static int tick(struct pirn_request *req, struct pirn_response *res)
{
	size_t size;
	const char *data = pirn_request_body(req, &size);
	char key[96];
	int64_t n;
	int err;

	if (!is_sound(req))
		return pirn_respond_problem(res, 400, NULL, "not a timer's event");
	nap(data, size);
	err = pirn_hash_add(req, header(req, "ce-subject"), header(req, "ce-time"), 1, &n);
	if (err)
		return err;
	snprintf(key, sizeof key, "data-%s", header(req, "ce-subject"));
	err = pirn_key_set(req, key, data, size, 0);
	return err ? err : pirn_respond_json(res, 200, "{}");
}

PIRN_SERVICE(.handler = tick);
