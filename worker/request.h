/* A request and its response, as a handler sees them through include/pirn/service.h.
 * Both are a thread's, used again for each run; what they hand out lies in the
 * request's arena until the run ends. The response's body is written straight into
 * the run's buffer.
 */
#ifndef WRK_REQUEST_H
#define WRK_REQUEST_H

#include "base/arena.h"
#include "proto/pirn.pb-c.h"
#include "pirn/service.h"
#include "worker/breakers.h"
#include "worker/native.h"
#include "worker/replay.h"
#include "worker/run.h"
#include "worker/state.h"

#define WRK_ARENA_FIRST  ((size_t)16 * 1024)
#define WRK_ARENA_MAX    ((size_t)32 * 1024 * 1024)
#define WRK_PASSES       16                  /* breakers that a run may be in at once */
#define WRK_HEADERS_MAX  128                 /* of a response */
#define WRK_HEADER_BYTES ((size_t)32 * 1024) /* of a response, all names and values */

struct pirn_request {
	struct base_arena arena;
	const struct wrk_run *run;
	struct wrk_run *sends; /* the same, for what it sends; NULL: not in the handler */
	struct wrk_native *native;
	const char *method, *target, *path;
	Pirn__HttpRequest *http; /* NULL: did not come over HTTP */
	struct pirn_pair *query; /* NULL: not read yet */
	size_t n_query;
	bool failed; /* memory was out */
	char id[BASE_ULID_TEXT + 1];
	char trace[56]; /* 00-…-…-01 */

	struct wrk_state *state; /* the thread's; NULL: this executor has none */
	_Atomic(uint64_t) *stateless_us; /* the run's; NULL: nobody asks */
	struct wrk_executor *executor;
	struct wrk_state_call *call;
	struct wrk_replay replay; /* open while a run records */
	struct wrk_pass passes[WRK_PASSES];
	uint64_t open_ms; /* how long the breaker that refused the run last will be open; 0: none did */
};

/* Opens the run's meta. PROTOCOL: it is not a request. UNTRUSTED. */
BASE_MUSTUSE enum base_err wrk_request_open(
	struct pirn_request *req, const struct wrk_run *run, struct wrk_native *native);
void wrk_request_close(struct pirn_request *req); /* what was handed out is gone */
/* The handler has returned: what it entered and did not leave has failed. */
void wrk_request_leave_breakers(struct pirn_request *req);

/* The first thing a handler did that its contract forbids, or that went wrong; the later ones win nothing. */
enum wrk_fault {
	WRK_FAULT_NONE,
	WRK_FAULT_NOMEM,
	WRK_FAULT_TOO_LARGE,
	WRK_FAULT_STATUS, /* outside of 200 … 599 */
	WRK_FAULT_HEADER, /* a name or value that cannot stand in a header, or too many */
};

struct pirn_response {
	struct base_arena *arena;
	struct base_buf *body;
	size_t max_bytes;
	enum wrk_fault fault;
	unsigned status; /* 0: not set */
	Pirn__Header *headers[WRK_HEADERS_MAX];
	size_t n_headers, header_bytes;
};

void wrk_response_open(
	struct pirn_response *res, struct base_arena *arena, struct wrk_run *run, size_t max_bytes);

/* Writes status, headers and body into the run. Not NONE: the run's answer is not written. */
enum wrk_fault wrk_response_seal(struct pirn_response *res, struct wrk_run *run);

/* Puts what the run sends behind its body; a run that did not go well sends nothing. */
enum wrk_fault wrk_emits_seal(struct wrk_run *run);

/* Takes back all headers of that name. */
void wrk_response_drop(struct pirn_response *res, const char *name, size_t size);

/* The value of a header that was set, or NULL. */
const char *wrk_response_header(const struct pirn_response *res, const char *name);

/* "Not Found"; "Error" for a number without a name. */
const char *wrk_status_text(unsigned status);

#endif
