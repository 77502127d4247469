#include "gateway/problem.h"

#include "gateway/jsonout.h"

/* Those that the gateway itself answers with; a service's own errors are its own. */
static const struct {
	unsigned status;
	const char *phrase;
} phrases[] = {
	{ 400, "Bad Request" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 408, "Request Timeout" },
	{ 409, "Conflict" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 417, "Expectation Failed" },
	{ 422, "Unprocessable Content" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
	{ 505, "HTTP Version Not Supported" },
};

const char *gw_status_phrase(unsigned status)
{
	for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Error";
}

void gw_problem_write(
	struct base_buf *out, unsigned status, const char *detail, const char *request_id)
{
	struct gw_json j = gw_json_on(out);

	gw_json_open(&j, NULL, '{');
	gw_json_str(&j, "type", "about:blank");
	gw_json_str(&j, "title", gw_status_phrase(status));
	gw_json_u64(&j, "status", status);
	gw_json_str(&j, "detail", detail);
	if (request_id)
		gw_json_str(&j, "request_id", request_id);
	gw_json_close(&j, '}');
	base_buf_chr(out, '\n');
}
