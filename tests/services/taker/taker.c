/* Counts each event that comes, by its subject and data, in the hash "taken". */
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
	       strcmp(header(req, "ce-type"), "test.sent") == 0 &&
	       strcmp(header(req, "ce-source"), "/services/sender") == 0 &&
	       strcmp(header(req, "ce-id"), pirn_request_id(req)) == 0 &&
	       strcmp(header(req, "content-type"), "application/json") == 0 &&
	       strcmp(pirn_request_target(req), "/v1/events") == 0 &&
	       strcmp(pirn_request_method(req), "POST") == 0 && pirn_request_is_event(req);
}

static int take(struct pirn_request *req, struct pirn_response *res)
{
	char name[128];
	int err;

	if (!is_sound(req))
		return pirn_respond_problem(res, 400, NULL, "not what sender sends");
	snprintf(name, sizeof name, "%s %s", header(req, "ce-subject"),
		(const char *)pirn_request_body(req, NULL));
	err = pirn_hash_add(req, "taken", name, 1, NULL);
	return err ? err : pirn_respond_json(res, 200, "{}");
}

PIRN_SERVICE(.handler = take);
