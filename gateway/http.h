/* HTTP/1.1 on one address, inside our loop.
 *
 * A listener has an epoll set of its own, which the loop watches as one descriptor; what came is
 * served in the RUN stage, and so is what was answered since.
 *
 * A request's life:
 *
 *   head ──on_head──▶ body ──on_request──▶ (waits) ──gw_http_answer──▶ sent ──on_done
 *
 * on_head may answer at once: a small body is then read and thrown away, a large one
 * is not read and the connection closed. on_request comes when everything is there, and
 * somebody answers once, at once or later. on_done comes for every request whose head was
 * there, whatever became of it, and for what was refused before (with a method and a target only
 * if the first line was whole); the record is gone after it.
 *
 * What is refused here, as application/problem+json, before anybody else looks: what is not
 * HTTP/1.1 or 1.0 (400, 505) by the strict reading of http_wire.h; a head over max_head or of more
 * than GW_HEADERS_MOST headers (431; 414 if its first line alone is too long); framing that two
 * servers could read differently (Content-Length twice, or beside Transfer-Encoding; no Host, or
 * two: 400; a transfer coding other than chunked: 501); a body over max_body (413: before it is
 * read when Content-Length says so). The connection is closed after these; what the client still
 * sends is read and thrown away for a moment, so that it gets the answer.
 *
 * Deadlines: one for the head, one for the body, one for sending the answer, one for an idle
 * connection. They count from the beginning and not from the last byte: a byte a second would live
 * for ever. All of a kind have the same length, so each kind is a list in the order of its ends,
 * and one timer serves all. A request that waits for its answer has none: whoever took it has.
 *
 * Room is bounded, too: connections by their number and by what they hold. Beyond that idle
 * ones are closed, oldest first, and then the slowest, so that the others are served
 * (http_room.c).
 *
 * A client that goes away while its request waits is not noticed until it is answered.
 */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include "base/buf.h"
#include "base/pool.h"
#include "base/rand.h"
#include "base/ulid.h"
#include "gateway/forwarded.h"
#include "gateway/slice.h"
#include "net/loop.h"

#define GW_REQUEST_ID_MAX 128u
#define GW_HEADERS_MOST   256u /* of a request; beyond them 431 */
/* Beside max_connections: those that are answered for the last time, until their clients notice. */
#define GW_HTTP_SPARE_CONNECTIONS 128u

struct gw_http;

/* Headers that somebody here looks at; an index into gw_request.known. */
#define GW_KNOWN_HEADERS(X) \
	X(CONNECTION, "Connection") \
	X(CONTENT_LENGTH, "Content-Length") \
	X(CONTENT_TYPE, "Content-Type") \
	X(EXPECT, "Expect") \
	X(FORWARDED, "Forwarded") \
	X(HOST, "Host") \
	X(IDEMPOTENCY_KEY, "Idempotency-Key") \
	X(KEEP_ALIVE, "Keep-Alive") \
	X(PIRN_CALLBACK, "Pirn-Callback") \
	X(PIRN_DELAY, "Pirn-Delay") \
	X(PIRN_NOT_BEFORE, "Pirn-Not-Before") \
	X(PIRN_TIMEOUT, "Pirn-Timeout") \
	X(PREFER, "Prefer") \
	X(PROXY_CONNECTION, "Proxy-Connection") \
	X(TE, "TE") \
	X(TRACEPARENT, "traceparent") \
	X(TRACESTATE, "tracestate") \
	X(TRAILER, "Trailer") \
	X(TRANSFER_ENCODING, "Transfer-Encoding") \
	X(UPGRADE, "Upgrade") \
	X(X_FORWARDED_FOR, "X-Forwarded-For") \
	X(X_FORWARDED_HOST, "X-Forwarded-Host") \
	X(X_FORWARDED_PROTO, "X-Forwarded-Proto") \
	X(X_REQUEST_ID, "X-Request-Id")

enum gw_known {
#define X(name, text) GW_HEADER_##name,
	GW_KNOWN_HEADERS(X)
#undef X
	GW_HEADER__N,
	GW_HEADER_OTHER = GW_HEADER__N
};

enum gw_known gw_header_known(struct gw_slice name);

struct gw_header {
	struct gw_slice name, value;
	enum gw_known known; /* in a request; elsewhere nobody looks at it */
};

/* One request, from its request line until its answer is sent. Slices are good as long. */
struct gw_request {
	struct gw_http *http;
	struct gw_slice method;
	struct gw_slice target;                  /* raw, as on the request line */
	const struct gw_header *headers;         /* in the order they came */
	size_t n_headers;
	const struct gw_header *known[GW_HEADER__N]; /* the first of that name, or NULL */
	uint8_t id[BASE_ULID_SIZE];
	char id_text[GW_REQUEST_ID_MAX + 1];     /* X-Request-Id: the client's if it is decent, or id */
	const uint8_t *peer;                     /* GW_ADDR_SIZE bytes; ::1 for a unix socket's */
	const char *peer_text;                   /* an address; "unix:" */
	uint64_t started_us;                     /* when the head was there */

	/* on_head may lower it, and may put bytes into payload (they are not counted as body). */
	uint64_t max_body;
	struct base_buf payload;                 /* what on_head put there, then the body */
	size_t body_at;                          /* where the body begins in payload */

	unsigned status;                         /* for on_done: 0 when there was no answer */
	uint64_t bytes;                          /* for on_done: of the answer's body */
	void *user;                              /* user_bytes zeroed bytes for the handlers */
};

struct gw_http_events {
	/* The head is there and sound. May answer. */
	void (*on_head)(void *arg, struct gw_request *r);
	/* All is there, and on_head did not answer. */
	void (*on_request)(void *arg, struct gw_request *r);
	/* The answer is sent, or the client was lost. status 0: it went before there was an answer. */
	void (*on_done)(void *arg, const struct gw_request *r);
	void *arg;
};

struct gw_http_conf {
	const char *address; /* HOST:PORT; port 0 takes a free one */
	int listen_fd;       /* -1, or a listening socket that is used instead, and is ours then */
	uint64_t max_head, max_body;
	/* Beyond them idle and slow ones go. Takes GW_HTTP_SPARE_CONNECTIONS more files. */
	uint32_t max_connections;
	uint64_t max_held; /* bytes that connections, bodies and answers hold together; 0: 768 MiB */
	uint32_t head_ms, body_ms, idle_ms;
	/* A reader that takes less for longer than idle_ms is cut; 0: 16 KiB. */
	uint32_t slowest_bytes_per_s;
	size_t user_bytes;      /* of gw_request.user */
	struct base_rand *rand; /* for ids; shared by all that run in the loop */
	struct base_ulid_maker *ulids;
};

/* On an error *why is a sentence that names the address; free() it. */
BASE_MUSTUSE enum base_err gw_http_new(struct net_loop *loop, const struct gw_http_conf *conf,
	const struct gw_http_events *events, struct gw_http **out, char **why);
/* Cuts what is left; on_done is called for each request. */
void gw_http_free(struct gw_http **h);

const char *gw_http_address(const struct gw_http *h); /* HOST:PORT as it is bound */
size_t gw_http_connections(const struct gw_http *h);
size_t gw_http_requests(const struct gw_http *h);  /* of which on_done has not come */
uint64_t gw_http_cut(const struct gw_http *h);     /* connections that a deadline ended, so far */
uint64_t gw_http_evicted(const struct gw_http *h); /* that were closed to make room */
uint64_t gw_http_held(const struct gw_http *h);    /* bytes, of max_held */

/* From now on every answer says Connection: close; connections are taken as before. */
void gw_http_say_last(struct gw_http *h);
/* That, and takes no new connection: what the kernel has accepted is taken first, and the listening
 * socket is closed, of which somebody else may have a copy. Closes those that stay idle for half a
 * second, and those that have never sent anything after two. */
void gw_http_drain(struct gw_http *h);

struct gw_field {
	const char *name, *value;
};

struct gw_answer {
	unsigned status;                /* 200 to 599 */
	const char *content_type;       /* NULL: none */
	const struct gw_field *fields;  /* further headers, repeated ones too */
	size_t n_fields;
	const void *body;               /* copied, unless block is set */
	size_t size;
	struct base_block *block;       /* NULL, or owns body: kept until it is sent */
};

/* Answers r, which must not have been answered. INVALID: a header holds what no header may, the
 * request is still unanswered; NOMEM: the same. */
BASE_MUSTUSE enum base_err gw_http_answer(struct gw_request *r, const struct gw_answer *a);
bool gw_http_is_answered(const struct gw_request *r);
/* Whether the client of a request that waits has closed its connection, or its end of it: a system
 * call. For those who wait long for something that nobody else needs. */
bool gw_http_is_gone(const struct gw_request *r);

/* Answers with a problem; retry_after_s 0: no such header; allow NULL: no such header. Never fails
 * to answer: without memory the connection is closed. */
struct gw_problem {
	unsigned status;
	const char *detail;
	unsigned retry_after_s;
	const char *allow;
};
extern const struct gw_problem gw_no_memory; /* of the gateway: 503, and Retry-After */
void gw_http_problem(struct gw_request *r, const struct gw_problem *p);
#define gw_http_refuse(r, code, text) \
	gw_http_problem((r), &(struct gw_problem){ .status = (code), .detail = (text) })

#endif
