/* One HTTP exchange, for commands that ask a gateway: libcurl's easy interface,
 * blocking, with a bound on time and on what comes back.
 */
#ifndef CLI_HTTP_H
#define CLI_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define CLI_HTTP_MAX (64u * 1024 * 1024) /* longest answer */

struct cli_http_request {
	const char *base;         /* http://HOST:PORT, or HOST:PORT */
	const char *path;         /* begins with / */
	const void *body;         /* NULL: GET, otherwise POST */
	size_t body_size;
	const char *const *headers; /* "Name: value", NULL ends them; NULL: none */
	uint32_t timeout_ms;
};

struct cli_http_response {
	unsigned status;
	char content_type[128];
	struct base_buf body;
};

/* UNAVAILABLE: nobody answered; TIMEOUT: not in time; INVALID: not a URL; the rest is rare. why says
 * it in a sentence. On BASE_OK out is the caller's to cli_http_fini. */
BASE_MUSTUSE enum base_err cli_http(const struct cli_http_request *request, struct cli_http_response *out, char *why,
                                    size_t why_room);
void cli_http_fini(struct cli_http_response *response);

#endif
