/* HTTP endpoints from within: what http.c (thread, loop, runs), http_call.c (one exchange),
 * http_wire.c (connections that are ours, and exchanges over them) and http_socket.c (libcurl's sockets in
 * the loop) share. All of it is the thread's, but for what is said to be guarded.
 */
#ifndef WRK_HTTP_PARTS_H
#define WRK_HTTP_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include <curl/curl.h>
#include <uv.h>

#define HASH_FUNCTION     HASH_FNV
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "base/heap.h"
#include "worker/http.h"
#include "worker/http_answer.h"
#include "worker/http_headers.h"
#include "worker/http_request.h"
#include "worker/http_resolve.h"
#include "worker/http_sign.h"
#include "worker/http_target.h"

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
	bool repeatable;
	bool again; /* over a kept connection nothing came back; now by a new one */
	enum wrk_call_stage stage;
	unsigned sent; /* requests, this one and its repetitions */
	uint64_t start_us;
	struct base_arena arena;
	struct wrk_http_request request;
	struct curl_slist *resolve;
	struct wrk_answer answer;
	struct wrk_wire *wire; /* that it goes over; NULL: libcurl's, or none yet */
	struct base_buf head;  /* for the wire: the request up to its body */
	size_t written;        /* of head and body, onto this wire */
	char denied[64]; /* the address that might not be called */
	char error[CURL_ERROR_SIZE];
};

/* A connection without TLS, which libcurl made, and which is ours since then. */
struct wrk_wire {
	uv_poll_t poll; /* first */
	struct wrk_http *http;
	struct wrk_place *place;
	struct wrk_wire *prev, *next;   /* resting at this place, the longest first */
	struct wrk_wire *older, *newer; /* resting anywhere */
	struct wrk_call *call;          /* NULL: it rests */
	uint64_t rests_us;              /* since */
	int fd;
	int polled; /* UV_READABLE, UV_WRITABLE */
	bool used;  /* an exchange came to its end over it */
};

/* Where connections go to. */
struct wrk_place {
	UT_hash_handle hh;
	char *url;      /* a target's */
	unsigned wires; /* with 0 it is gone */
	struct wrk_wire *resting;
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
	bool rung;
	uv_check_t heard;
	uv_prepare_t turn;
	uv_timer_t timer, clock, rest; /* libcurl's; deadlines; connections that rest */
	CURLM *multi;
	bool kick; /* libcurl wants to be called without delay */
	struct wrk_resolver *resolver;
	struct base_heap deadlines;
	struct wrk_call *calls, *idle;
	size_t n_idle;
	struct wrk_task *ended, *ended_last; /* in this turn */
	struct wrk_socket **sockets;         /* libcurl's, by descriptor */
	size_t n_sockets;
	struct wrk_place *places;    /* by url */
	struct wrk_wire *rest_first; /* the one that rests longest */
	size_t n_rest;
	char *bytes; /* what a socket gave; WRK_WIRE_READ of them */
};

/* ---- http_call.c ------------------------------------------------------------------- */

struct wrk_call *wrk_call_new(struct wrk_http *h); /* NULL: out of memory */
void wrk_call_free(struct wrk_call *call);
/* Makes the request. Not OK: the run is answered. */
BASE_MUSTUSE bool wrk_call_open(struct wrk_call *call, struct wrk_run *run);
/* The handle is ready to go to one of these addresses; false: the call is over, and is answered. */
BASE_MUSTUSE bool wrk_call_aim(struct wrk_call *call, const struct wrk_addresses *found);
/* These write the run's answer: libcurl is done with it; its answer is whole, or found wrong; it is over (why
 * may be NULL); its time is over; nobody wants it. */
void wrk_call_end(struct wrk_call *call, CURLcode code);
void wrk_call_finish(struct wrk_call *call, const char *why);
void wrk_call_fail(struct wrk_call *call, enum wrk_http_end end, const char *why);
void wrk_call_expire(struct wrk_call *call);
void wrk_call_cancel(struct wrk_call *call);
void wrk_call_close(struct wrk_call *call); /* gives back what it held */

/* A run that no call was made for. */
void wrk_call_answer_reason(struct wrk_run *run, uint32_t status, uint32_t reason);

/* ---- http_wire.c ---------------------------------------------------------------------- */

#define WRK_WIRE_READ ((size_t)64 * 1024)

/* Sends the call's request over a connection that rests. False: there is none. */
BASE_MUSTUSE bool wrk_wire_reuse(struct wrk_call *call);
/* The same over the one that libcurl has made, which stays libcurl's to close. NOMEM: nothing was done. */
BASE_MUSTUSE enum base_err wrk_wire_begin(struct wrk_call *call, curl_socket_t theirs);
/* The call is at its end: its connection rests when it may, or is closed. */
void wrk_wire_leave(struct wrk_call *call);
void wrk_wires_rest(uv_timer_t *timer); /* closes what has rested too long */
void wrk_wires_close(struct wrk_http *h); /* all; nothing runs */

/* http.c's: the answer is whole or wrong, and why; it goes once more, by a new connection. */
void wrk_http_over(struct wrk_call *call, const char *why);
void wrk_http_again(struct wrk_call *call);

/* ---- http_socket.c ------------------------------------------------------------------ */

/* For libcurl; clientp of the first is the call, of the others the wrk_http. */
curl_socket_t wrk_socket_open(void *clientp, curlsocktype purpose, struct curl_sockaddr *address);
int wrk_socket_close(void *clientp, curl_socket_t fd);
int wrk_socket_want(CURL *easy, curl_socket_t fd, int what, void *userp, void *socketp);
void wrk_socket_ready(struct wrk_http *h, curl_socket_t fd, int events); /* http.c's */

#endif
