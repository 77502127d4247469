/* An endpoint's answer, from the bytes of its connection: pure, bytes in, a response out.
 *
 * What is taken for an answer is HTTP/1.1 or 1.0 as RFC 9112 has it, and nothing that two
 * readers could understand in two ways: a length that is no number, two that differ, a coding of the
 * transfer but chunked, folded lines, blanks before a colon. Heads of 1xx go before the answer and are dropped, trailers
 * behind it too. Headers of the connection end here, with those that Connection names.
 *
 * It does not matter how the bytes are cut into pieces. An exchange over TLS is libcurl's, and gives its
 * lines and its body here (wrk_answer_line, wrk_answer_body), so that both are judged by the same rules.
 */
#ifndef WRK_HTTP_ANSWER_H
#define WRK_HTTP_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
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

#define WRK_ANSWER_HEAD_MAX ((size_t)64 * 1024) /* of all heads of an exchange, those of 1xx and trailers included */

enum wrk_answer_part {
	WRK_ANSWER_HEAD,
	WRK_ANSWER_SIZED,      /* a body of so many bytes */
	WRK_ANSWER_CHUNK_SIZE, /* a line */
	WRK_ANSWER_CHUNK,
	WRK_ANSWER_CHUNK_END, /* the line's end behind it */
	WRK_ANSWER_TRAILER,
	WRK_ANSWER_ENDLESS, /* a body that the connection's end ends */
	WRK_ANSWER_WHOLE,
};

struct wrk_hop;

/* Used again for each exchange. */
struct wrk_answer {
	struct pirn_response res;
	enum wrk_http_end end; /* what was found wrong with it first; OK: nothing yet */
	enum wrk_answer_part part;
	bool began; /* a byte of it came */
	bool to_head; /* the request was HEAD: no body comes, whatever the head says */
	bool in_head;
	bool keeps;   /* the connection may be used again, once this is whole */
	bool chunked, sized;
	unsigned status;
	uint64_t left;      /* bytes of the body, or of the chunk */
	size_t head_bytes;
	struct wrk_hop *hops; /* values of Connection; in the arena */
	struct base_buf line; /* of one that has not ended yet, what came */
};

void wrk_answer_init(struct wrk_answer *a);
void wrk_answer_fini(struct wrk_answer *a);
/* It will be written into the run. The arena is the caller's. */
void wrk_answer_open(struct wrk_answer *a, struct base_arena *arena, struct wrk_run *run,
	size_t max_bytes, bool to_head);

/* UNTRUSTED: what came, in order. False: nothing more is wanted, the part is WHOLE or the end is not OK. What comes behind
 * the answer is nobody's: the connection is not kept then. */
BASE_MUSTUSE bool wrk_answer_take(struct wrk_answer *a, const void *data, size_t size);
/* The connection ended: that ends some answers (the part is WHOLE then), and cuts the others (CUT). */
void wrk_answer_cut(struct wrk_answer *a);

/* UNTRUSTED, from whom reads the framing himself: one line of a head with its end, be it a trailer, and a part of the
 * body. False: the exchange is to end. */
BASE_MUSTUSE bool wrk_answer_line(struct wrk_answer *a, const char *line, size_t size);
BASE_MUSTUSE bool wrk_answer_body(struct wrk_answer *a, const void *data, size_t size);

/* It is whole: what is to be passed on is written into the run. Not OK: it cannot be. */
BASE_MUSTUSE enum wrk_http_end wrk_answer_seal(struct wrk_answer *a, struct wrk_run *run);

/* What Retry-After says, from now on; 0: nothing. At most a day. Before the seal or after it. */
uint32_t wrk_answer_retry_after_ms(const struct wrk_answer *a);

#endif
