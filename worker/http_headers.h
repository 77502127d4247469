/* The headers that a manifest gives to all requests of its endpoint, an API key mostly:
 *
 *   secrets: { SHOP_KEY: /run/secrets/shop }
 *   headers: { Authorization: "Bearer ${SHOP_KEY}" }
 *
 * ${NAME} is the content of the file that `secrets` names, or else the worker's environment variable
 * PIRN_ENDPOINT_NAME: with a prefix, so that no manifest has another of the worker's variables sent to a host of its
 * choice. $$ is one $. They are put together when the service is loaded, stay in the worker's memory, and are wiped at
 * the service's end (of the requests that had them, and of libcurl's buffers, the memory is only used again); a sentence about them names the header and the secret, never a value.
 */
#ifndef WRK_HTTP_HEADERS_H
#define WRK_HTTP_HEADERS_H

#include <stddef.h>

#include "base/err.h"
#include "base/manifest.h"

#define WRK_HTTP_HEADERS_VARIABLE "PIRN_ENDPOINT_"

struct wrk_http_headers {
	struct base_manifest_pair *items; /* the manifest's names, and values as they are sent */
	size_t n;
};

/* folder is where files begin. INVALID: nobody has a secret of that name, or what it holds cannot stand in a header;
 * why says which. Otherwise a file's error, or NOMEM. *out is empty then. */
BASE_MUSTUSE enum base_err wrk_http_headers_make(const struct base_manifest *manifest,
	const char *folder, struct wrk_http_headers *out, char *why, size_t why_room);
void wrk_http_headers_fini(struct wrk_http_headers *headers);

#endif
