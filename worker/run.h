/* One run of a service: from DISPATCH to RESULT.
 *
 * The record is the loop's; while its task is with the executor it belongs to the
 * thread that runs it, which reads the upper part and writes the lower one.
 * Records are used again with their buffers, so that a run in a steady state
 * allocates nothing.
 */
#ifndef WRK_RUN_H
#define WRK_RUN_H

#include <stdatomic.h>

#include "base/buf.h"
#include "base/heap.h"
#include "base/ulid.h"
#include "worker/executor.h"

#define WRK_TRACE_SIZE 25 /* trace id, parent id, flags */
#define WRK_RUN_WHY    201

#define WRK_STATELESS_US 1000000u /* waited for so long, Redis did not answer */

struct wrk_service;
struct wrk_endpoint;
struct wrk_run;

/* What the executor calls; a run's kind. A service's runs are of the native kind, a job of the loop's
 * own that may block (loading a service) is another. */
typedef void wrk_run_fn(void *local, struct wrk_run *run);

struct wrk_run {
	struct wrk_task task; /* first: a task of ours is the start of a run */
	wrk_run_fn *fn;
	struct wrk_service *service;
	struct wrk_endpoint *endpoint; /* the service's; NULL: it is native */
	struct wrk_run *prev, *next; /* the session's: all that are under way */

	/* The request. */
	uint32_t broker, broker_epoch; /* whose it is: see session.c */
	uint32_t slot, generation;     /* the broker's; echoed */
	uint32_t flags;                /* ItemFlag */
	uint32_t attempt, attempts;    /* attempts 0: not limited */
	uint32_t epoch;                /* these three: with RECORD, store/ops.h */
	uint64_t lease_end_ms, keep_until_ms;
	uint64_t deadline_us; /* monotonic */
	struct base_heap_node due; /* the session's, by the deadline */
	uint8_t id[BASE_ULID_SIZE];
	uint8_t trace[WRK_TRACE_SIZE];
	bool has_trace;
	bool mute;             /* its broker would drop what it sends */
	bool held;             /* not with the executor yet: beyond what the service may run at once */
	bool given_up;         /* answered at its deadline; the handler has not returned */
	bool hurried;          /* its time is its caller's: four fifths of the service's, or less */
	/* An operation of state waits for its answer since then (monotonic); 1: one got none. 0: neither.
	 * The thread writes it; the loop looks when it gives the run up. */
	_Atomic(uint64_t) stateless_us;
	atomic_bool cancelled; /* nobody wants the answer; the thread looks at it too */
	atomic_bool stopped;   /* its carrier is to end it */
	struct base_buf in;    /* meta and data, adjacent; NUL-terminated */
	size_t meta_size, data_size;

	/* The answer. */
	uint32_t status, reason;
	uint32_t retry_after_ms; /* 0: none */
	uint32_t took_us;
	bool late;                        /* it ended after its deadline, or has not yet */
	bool recorded, diverged, doubted; /* as the RESULT's flags */
	char why[WRK_RUN_WHY];            /* what people are told of a failure; "": what the answer says */
	struct base_buf meta, body;
	struct base_buf emits; /* a packed Emits: what the run sends */
	uint32_t n_emits, emit_bytes, emit_size; /* size: of emits, once they stand behind the body */
};

#endif
