/* For events: counts each by its ce-id in the hash ids, and keeps its body and its head ("name: value" a line)
 * under that in the hashes bodies and heads. The type *.fate is answered with the status FATE, after all that.
 */
#include <pirn/service.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_ROOM 8192

static int keep(struct pirn_request *req, const char *id)
{
	char *head = pirn_scratch(req, HEAD_ROOM);
	struct pirn_pair pair;
	const void *body;
	size_t n = 0, size;
	int err;

	n += (size_t)snprintf(
		head, HEAD_ROOM, "%s %s\n", pirn_request_method(req), pirn_request_target(req));
	for (size_t i = 0; pirn_request_header_at(req, i, &pair) && n < HEAD_ROOM; i++)
		n += (size_t)snprintf(head + n, HEAD_ROOM - n, "%s: %.*s\n", pair.name,
			(int)pair.value_size, (const char *)pair.value);
	err = pirn_hash_set(req, "heads", id, head, n < HEAD_ROOM ? n : HEAD_ROOM - 1);
	if (err)
		return err;
	body = pirn_request_body(req, &size);
	return pirn_hash_set(req, "bodies", id, body, size);
}

static int hear(struct pirn_request *req, struct pirn_response *res)
{
	const char *id = pirn_request_header(req, "ce-id"),
		   *type = pirn_request_header(req, "ce-type");
	const char *fate = pirn_env("FATE");
	int64_t times;
	int err;

	if (!id || !type || !pirn_request_is_event(req))
		return pirn_respond_problem(res, 400, NULL, "not a CloudEvent");
	err = keep(req, id);
	if (!err) /* last: who sees it counted finds the rest */
		err = pirn_hash_add(req, "ids", id, 1, &times);
	if (err)
		return err;
	if (fate && strlen(type) > 5 && strcmp(type + strlen(type) - 5, ".fate") == 0)
		return pirn_respond_problem(res, (unsigned)atoi(fate), NULL, "as it was to be");
	return pirn_respond_json(res, 200, "{}");
}

PIRN_SERVICE(.handler = hear);
