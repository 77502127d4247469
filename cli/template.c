#include "cli/template.h"

/* $N is the service's name, $I the same as an identifier, $U a URL. */
static const char manifest[] = "service: $N\n"
			       "handler: $N.so\n"
			       "description: says hello\n"
			       "events:\n"
			       "  - http: { method: GET, path: /$N }\n"
			       "timeout: 5s\n";

static const char source[] =
	"/* GET /$N?name=World */\n"
	"#include <pirn/service.h>\n"
	"\n"
	"static int $I(struct pirn_request *req, struct pirn_response *res)\n"
	"{\n"
	"\tsize_t size = 5;\n"
	"\tconst char *name = pirn_request_query(req, \"name\", &size);\n"
	"\n"
	"\treturn pirn_respond_json(res, 200, \"{\\\"service\\\":\\\"$N\\\",\\\"hello\\\":%s}\",\n"
	"\t\tpirn_json_string(req, name ? name : \"World\", size));\n"
	"}\n"
	"\n"
	"PIRN_SERVICE(.handler = $I);\n";

static const char endpoint[] = "service: $N\n"
			       "handler: $U\n"
			       "description: is an HTTP endpoint\n"
			       "events:\n"
			       "  - http: { method: GET, path: /$N }\n"
			       "  - http: { method: POST, path: /$N }\n"
			       "timeout: 5s\n"
			       "concurrency: 32\n";

static void fill(const char *text, const char *name, const char *url, struct base_buf *out)
{
	for (; *text; text++) {
		if (text[0] != '$') {
			base_buf_chr(out, *text);
			continue;
		}
		text++;
		if (*text == 'N')
			base_buf_str(out, name);
		else if (*text == 'U')
			base_buf_str(out, url);
		else
			cli_template_identifier(name, out);
	}
}

void cli_template_manifest(const char *name, struct base_buf *out)
{
	fill(manifest, name, NULL, out);
}

void cli_template_endpoint(const char *name, const char *url, struct base_buf *out)
{
	fill(endpoint, name, url, out);
}

void cli_template_source(const char *name, struct base_buf *out)
{
	fill(source, name, NULL, out);
}

void cli_template_identifier(const char *name, struct base_buf *out)
{
	base_buf_str(out, "handle_");
	for (; *name; name++)
		base_buf_chr(out, *name == '-' ? '_' : *name);
}
