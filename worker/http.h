/* The second kind of executor: services that are HTTP endpoints.
 *
 *   handler: http://app:3000/hook
 *
 * One thread with a loop of its own carries all of them, however many run at once:
 * libcurl's multi interface, told by libuv which sockets are ready. What the session
 * pushes arrives there in batches, and what is done goes back in batches.
 *
 * A run is one exchange of HTTP/1.1 over a connection that is kept for the next one
 * (never more than run at once). The request is worker/http_request.h's; the answer is
 * checked like a handler's (worker/request.h), and comes back byte for byte but for the
 * headers of the connection. Redirects are not followed, proxies of the environment not
 * used. A 3xx answers a call, but an event that is redirected has not been taken: it has
 * failed.
 *
 * What goes wrong is a failed run with a line of its own, and holds up nobody else: a name
 * that is not resolved, an address that may not be called (worker/http_allow.h), a
 * connection that is refused, cut or silent, bytes that are no HTTP, headers without
 * end, a body over the bound. When its time is over, or nobody wants it any more, the
 * exchange ends at once and its connection is closed.
 *
 * Callbacks are the reserved service pirn-callback (WRK_CALLBACKS), which every worker has
 * unless it is told otherwise: each of its events names its own endpoint, in the header
 * Pirn-Callback-Url, and goes there as it is, signed (worker/http_sign.h). Brokers make them of
 * the outcomes of events that were sent with a callback.
 *
 * libcurl sends a request once more by itself when a connection that was kept proves
 * dead before anything came back. For an event, and for a call that may be repeated, that is
 * welcome; any other call then fails, because the endpoint may have done its work.
 */
#ifndef WRK_HTTP_H
#define WRK_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/manifest.h"
#include "worker/carrier.h"
#include "worker/http_allow.h"

struct wrk_http;
struct wrk_endpoint;

struct wrk_http_conf {
	const char *allow;  /* setting http-allow; NULL: none */
	bool named_only;    /* public addresses have to be named, too */
	const char *ca;     /* file of certificates to trust; NULL: the system's */
	uint32_t connect_ms;
	size_t max_response;
	void (*wake)(void *arg); /* from the thread: something is done */
	void *arg;
};

/* The thread starts with the first run. CONFIG: why says what is wrong with allow. */
BASE_MUSTUSE enum base_err wrk_http_new(
	const struct wrk_http_conf *conf, struct wrk_http **out, char *why, size_t why_room);
/* Stops what runs, and ends the thread. The runs are the caller's; takes NULL. */
void wrk_http_free(struct wrk_http **h);

const struct wrk_carrier *wrk_http_carrier(struct wrk_http *h);

/* Where a service's runs go: the manifest's handler. From any thread. DENIED: it names an
 * address that may not be called; INVALID: it is no URL, or a header cannot be made (worker/http_headers.h); why says so.
 * The manifest is borrowed. */
BASE_MUSTUSE enum base_err wrk_endpoint_new(struct wrk_http *h, const struct base_manifest *manifest,
	const char *folder, struct wrk_endpoint **out, char *why, size_t why_room);
/* The one of callbacks. CONFIG: secret is none; why says so. */
#define WRK_CALLBACKS "pirn-callback"
BASE_MUSTUSE enum base_err wrk_endpoint_of_callbacks(
	const char *secret, struct wrk_endpoint **out, char *why, size_t why_room);
void wrk_endpoint_free(struct wrk_endpoint **e); /* nothing of it runs; takes NULL */

struct wrk_http_figures {
	uint64_t connects;    /* connections made, ever */
	uint64_t denied;      /* addresses that might not be called, ever */
	uint32_t connections; /* open now */
	uint32_t running;
};
void wrk_http_figures(const struct wrk_http *h, struct wrk_http_figures *out);

#endif
