/* Sends events from its runs. The body says what:
 *
 *   n=10 fail=2   ten of type test.sent, their data the place of each; the first two runs fail when
 *                 they have said so
 *   loop          one to itself, with the same body; each run counts in "loops"
 *   to=NAME       one to that service
 */
#include <pirn/service.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned word(const char *body, const char *name)
{
	const char *at = strstr(body, name);

	return at ? (unsigned)strtoul(at + strlen(name), NULL, 10) : 0;
}

static int loop(struct pirn_request *req, struct pirn_response *res, const char *body)
{
	struct pirn_emitted self = { .service = "sender",
		.content_type = "text/plain",
		.data = body,
		.size = strlen(body) };
	int err = pirn_counter_add(req, "loops", 1, NULL);

	if (!err)
		err = pirn_emit(req, &self);
	return err ? err : pirn_respond_json(res, 200, "{}");
}

static int send_to(struct pirn_request *req, struct pirn_response *res, const char *service)
{
	const struct pirn_emitted one = { .service = service };
	int err = pirn_emit(req, &one);

	return err ? err : pirn_respond_json(res, 200, "{}");
}

static int send(struct pirn_request *req, struct pirn_response *res)
{
	const char *body = pirn_request_body(req, NULL);
	unsigned n = word(body, "n="), fail = word(body, "fail=");

	if (strcmp(body, "loop") == 0)
		return loop(req, res, body);
	if (strncmp(body, "to=", 3) == 0)
		return send_to(req, res, body + 3);
	for (unsigned i = 0; i < n; i++) {
		int err = pirn_emit_json(req, "test.sent", pirn_request_id(req), "{\"place\":%u}", i);

		if (err)
			return err;
	}
	if (pirn_request_attempt(req) <= fail)
		return PIRN_ERR_FAILED;
	return pirn_respond_json(res, 200, "{\"sent\":%u}", n);
}

PIRN_SERVICE(.handler = send);
