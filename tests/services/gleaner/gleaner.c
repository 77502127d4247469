/* For sources: the run of an entry counts its id in the hash "entries" and keeps its body
 * under "body ID"; a change of a key counts in the hash "keys", under its name and what
 * happened to it.
 */
#include <pirn/service.h>

#include <stdio.h>
#include <string.h>

static const char *header(struct pirn_request *req, const char *name)
{
	const char *value = pirn_request_header(req, name);

	return value ? value : "";
}

static bool is_sound(struct pirn_request *req)
{
	return strcmp(header(req, "ce-specversion"), "1.0") == 0 &&
	       strcmp(header(req, "content-type"), "application/json") == 0 &&
	       strncmp(header(req, "ce-source"), "redis:", 6) == 0 &&
	       strncmp(pirn_request_target(req), "/v1/redis/", 10) == 0 &&
	       strcmp(pirn_request_method(req), "POST") == 0 && pirn_request_is_event(req);
}

static int glean_entry(struct pirn_request *req, const void *body, size_t size)
{
	char key[64];
	int64_t n;
	int err;

	snprintf(key, sizeof key, "body %s", header(req, "ce-id"));
	err = pirn_hash_add(req, "entries", header(req, "ce-id"), 1, &n);
	return err ? err : pirn_key_set(req, key, body, size < 1024 ? size : 1024, 0);
}

static int glean_key(struct pirn_request *req, const char *op)
{
	char field[256];
	int64_t n;

	snprintf(field, sizeof field, "%.200s|%.40s", header(req, "ce-subject"), op);
	return pirn_hash_add(req, "keys", field, 1, &n);
}

static int glean(struct pirn_request *req, struct pirn_response *res)
{
	static const char keys[] = "pirn.redis.key.";
	const char *type = header(req, "ce-type");
	size_t size;
	const void *body = pirn_request_body(req, &size);
	int err;

	if (!is_sound(req))
		return pirn_respond_problem(res, 400, NULL, "not an event of a source");
	if (strcmp(type, "pirn.redis.entry") == 0)
		err = glean_entry(req, body, size);
	else if (strncmp(type, keys, sizeof keys - 1) == 0)
		err = glean_key(req, type + sizeof keys - 1);
	else
		return pirn_respond_problem(res, 400, NULL, "%s: what is that?", type);
	return err ? err : pirn_respond_json(res, 200, "{}");
}

PIRN_SERVICE(.handler = glean);
