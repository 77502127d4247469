/* GET /hello?name=World answers {"message":"Hello, World!"}. */
#include <pirn/service.h>

#include <string.h>

static int hello(struct pirn_request *req, struct pirn_response *res)
{
	size_t size;
	const char *name = pirn_request_query(req, "name", &size);
	const char *quoted;

	if (!name || size == 0)
		return pirn_respond_json(res, 200, "{\"message\":\"Hello, Pirn!\"}");
	if (!pirn_utf8_valid(name, size))
		return pirn_respond_problem(res, 400, NULL, "name is not UTF-8");
	quoted = pirn_json_string(req, name, size);
	return pirn_respond_json(res, 200, "{\"message\":\"Hello, %.*s!\"}", (int)strlen(quoted) - 2, quoted + 1);
}

PIRN_SERVICE(.handler = hello);
