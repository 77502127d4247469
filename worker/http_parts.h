/* HTTP endpoints from within: what http.c (thread, loop, runs), http_call.c (one exchange on
 * one handle of libcurl's) and http_socket.c (sockets in the loop) share. All of it is the
 * thread's, but for what is said to be guarded.
 */
#ifndef WRK_HTTP_PARTS_H
#define WRK_HTTP_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include <curl/curl.h>
#include <uv.h>

#include "base/heap.h"
#include "worker/http.h"
#include "worker/http_headers.h"
#include "worker/http_request.h"
#include "worker/http_resolve.h"
#include "worker/http_sign.h"
#include "worker/http_target.h"
#include "worker/request.h"

/* How an exchange ended. name, what its caller is told */
#define WRK_HTTP_ENDS(X) \
	X(OK, "") \
	X(NAME, "The endpoint's name could not be resolved.") \
	X(DENIED, "The endpoint's address is not one that this worker may call.") \
	X(CONNECT, "The endpoint could not be reached.") \
	X(TLS, "The endpoint could not be spoken to over TLS.") \
	X(CUT, "The endpoint closed the connection before its answer was complete.") \
	X(GARBAGE, "The endpoint answered with something that is not HTTP/1.1.") \
	X(HEAD, "The endpoint's headers are too large, or not such as can be passed on.") \
	X(STATUS, "The endpoint answered with a status that no answer has.") \
	X(REDIRECT, "The endpoint redirects, and redirects are not followed.") \
	X(TOO_LARGE, "The endpoint's answer is too large.") \
	X(NOMEM, "The worker is out of memory.") \
	X(OTHER, "The endpoint could not be called.")

enum wrk_http_end {
#define X(name, text) WRK_HTTP_##name,
	WRK_HTTP_ENDS(X)
#undef X
};

enum wrk_call_stage { WRK_CALL_RESOLVES, WRK_CALL_CONNECTS, WRK_CALL_WAITS, WRK_CALL_READS };

struct wrk_endpoint {
	const char *service;
	struct wrk_target target;
	struct wrk_http_headers headers; /* of the manifest, with their secrets */
	struct wrk_signer *signer; /* of callbacks: each run has a target of its own; NULL: it is not they */
	/* The thread's: it was told that exchanges come to nothing, and when that may be told next. */
	bool failing;
	uint64_t tell_us;
};

/* One exchange. Used again with its handle. */
struct wrk_call {
	struct wrk_call *prev, *next; /* under way, or idle */
	struct wrk_http *http;
	struct wrk_run *run;
	const struct wrk_target *target;
	struct wrk_target own; /* a callback's */
	struct wrk_lookup lookup;
	struct base_heap_node due;
	CURL *easy;
	bool added; /* to the multi */
	bool in_head, repeatable;
	enum wrk_call_stage stage;
	enum wrk_http_end end; /* what a callback found out; OK: nothing */
	unsigned sent;         /* requests, this one and its repetitions */
	size_t head_bytes;
	uint64_t start_us;
	struct base_arena arena;
	struct wrk_http_request request;
	struct curl_slist *resolve;
	struct curl_slist *hops; /* values of the answer's Connection headers; in the arena */
	struct pirn_response res;
	char denied[64]; /* the address that might not be called */
	char error[CURL_ERROR_SIZE];
};

struct wrk_socket {
	uv_poll_t poll; /* first */
	curl_socket_t fd;
	struct wrk_http *http;
	int wanted, polled; /* UV_READABLE, UV_WRITABLE */
};

struct wrk_http {
	struct wrk_http_conf conf;
	struct wrk_allow allow;
	struct wrk_carrier carrier;
	pthread_mutex_t lock;
	/* Guarded by the lock. */
	struct wrk_task *inbox, *inbox_last;
	struct wrk_task *done, *done_last;
	bool ending, woken; /* woken: bell was rung, and nobody has looked since */
	/* Not guarded. */
	bool started; /* the loop's: there is a thread */
	atomic_bool stopping; /* some run is to be stopped */
	atomic_uint_least64_t connects, denied;
	atomic_uint connections, running;
	/* The thread's. */
	pthread_t thread;
	uv_loop_t loop;
	int bell_fd; /* an eventfd; uv_async_t would spin while its sender is still within write */
	uv_poll_t bell;
	uv_prepare_t turn;
	uv_timer_t timer, clock; /* libcurl's; deadlines */
	CURLM *multi;
	bool kick; /* libcurl wants to be called without delay */
	struct wrk_resolver *resolver;
	struct base_heap deadlines;
	struct wrk_call *calls, *idle;
	size_t n_idle;
	struct wrk_task *ended, *ended_last; /* in this turn */
	struct wrk_socket **sockets;         /* by descriptor */
	size_t n_sockets;
};

/* ---- http_call.c ------------------------------------------------------------------- */

struct wrk_call *wrk_call_new(struct wrk_http *h); /* NULL: out of memory */
void wrk_call_free(struct wrk_call *call);
/* Makes the request. Not OK: the run is answered. */
BASE_MUSTUSE bool wrk_call_open(struct wrk_call *call, struct wrk_run *run);
/* The handle is ready to go to one of these addresses; false: the call is over, and end says how. */
BASE_MUSTUSE bool wrk_call_aim(struct wrk_call *call, const struct wrk_addresses *found);
/* These write the run's answer: libcurl is done with it; it is over (why may be NULL); its time is over;
 * nobody wants it. */
void wrk_call_end(struct wrk_call *call, CURLcode code);
void wrk_call_fail(struct wrk_call *call, enum wrk_http_end end, const char *why);
void wrk_call_expire(struct wrk_call *call);
void wrk_call_cancel(struct wrk_call *call);
void wrk_call_close(struct wrk_call *call); /* gives back what it held */

/* A run that no call was made for. */
void wrk_call_answer_reason(struct wrk_run *run, uint32_t status, uint32_t reason);

/* ---- http_socket.c ------------------------------------------------------------------ */

/* For libcurl; clientp of the first is the call, of the others the wrk_http. */
curl_socket_t wrk_socket_open(void *clientp, curlsocktype purpose, struct curl_sockaddr *address);
int wrk_socket_close(void *clientp, curl_socket_t fd);
int wrk_socket_want(CURL *easy, curl_socket_t fd, int what, void *userp, void *socketp);
void wrk_socket_ready(struct wrk_http *h, curl_socket_t fd, int events); /* http.c's */

#endif
