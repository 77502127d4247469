/* POST /echo answers with the same body and Content-Type. */
#include <pirn/service.h>

static int echo(struct pirn_request *req, struct pirn_response *res)
{
	const char *type = pirn_request_header(req, "Content-Type");
	size_t size;
	const void *body = pirn_request_body(req, &size);

	if (type)
		pirn_respond_header(res, "Content-Type", type);
	pirn_respond_status(res, 200);
	pirn_respond_write(res, body, size);
	return 0;
}

PIRN_SERVICE(.handler = echo);
