/* A run's request as it goes to an HTTP endpoint: pure, run in, lines out.
 *
 * Where it goes: an endpoint that has a path gets all requests there, with the
 * request's query behind its own; one that ends with its host gets them at the path
 * they came to. Either way Pirn-Target says what stood on the request line.
 *
 * What goes along: the request's headers, as they came, but for those of the
 * connection, Host, and whatever begins with Pirn-, which is ours: Pirn-Call-Id or
 * Pirn-Event-Id (the same in every attempt: what an endpoint tells repetitions by),
 * Pirn-Attempt, Pirn-Service, Pirn-Timeout (how long the answer may take). And who
 * asked: X-Forwarded-For, -Host and -Proto, unless a trusted proxy has said it.
 */
#ifndef WRK_HTTP_REQUEST_H
#define WRK_HTTP_REQUEST_H

#include <curl/curl.h>

#include "base/arena.h"
#include "worker/run.h"

struct wrk_http_request {
	const char *method;
	const char *target; /* of the request line */
	bool has_body;      /* be it empty */
	struct curl_slist *headers; /* for libcurl, its own ones struck out */
	const char *callback; /* Pirn-Callback-Url; NULL: none */
};

/* path NULL: the request keeps its own. All that comes out lies in the arena. PROTOCOL: the run's meta is
 * no request, NOMEM. UNTRUSTED: the run. */
BASE_MUSTUSE enum base_err wrk_http_request_make(struct base_arena *arena,
	const struct wrk_run *run, const char *service, const char *path,
	struct wrk_http_request *out);

/* One header more. NOMEM. */
BASE_MUSTUSE enum base_err wrk_http_request_add(struct base_arena *arena,
	struct wrk_http_request *request, const char *name, const char *value);

/* The same, in place of all that have this name, whoever gave them. */
BASE_MUSTUSE enum base_err wrk_http_request_set(struct base_arena *arena,
	struct wrk_http_request *request, const char *name, const char *value);

#endif
