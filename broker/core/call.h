/* One call: its record, its states, and the ways to find it.
 *
 * A call is in exactly one state, and brk_call_apply is the only function that
 * changes it; the same function moves the record between the lists and keeps every
 * count, so that no caller can forget one.
 *
 *   NEW ──QUEUE──▶ WAITING ──DISPATCH──▶ RUNNING ──END──▶ (given back)
 *    │                ▲   └──END──▶         │
 *    └──DISPATCH──────┼─────────────────────▶
 *                     └──HAND_BACK, LOSE────┘
 *
 * One with an Idempotency-Key is CLAIMING first, and ANSWERING before its end; one whose run
 * sends events is SENDING before that.
 *
 * A record is found by slot and generation of its own (they travel to the worker
 * and back; each run has another generation), and by the client's slot and generation through an index, for CANCEL
 * and to refuse a pair that is open already. The payload is kept until the call
 * ends: a run may come back unrun (DRAINING), and an idempotent one may be lost.
 *
 * An event's run is a call, too, with a delivery instead of a client: it goes from NEW to
 * RUNNING and ends there; what follows is the delivery's matter (run.h).
 */
#ifndef BROKER_CORE_CALL_H
#define BROKER_CORE_CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/breaker.h"
#include "base/heap.h"
#include "base/pool.h"
#include "broker/core/core.h"

struct brk_claim;
struct brk_delivery;
struct brk_link;
struct brk_peer;
struct brk_service;

#define BRK_TRACE_SIZE 25

#define BRK_CALL_STATES(X) X(NEW) X(CLAIMING) X(WAITING) X(RUNNING) X(SENDING) X(ANSWERING) X(ENDED)

#define BRK_CALL_EVENTS(X) \
	X(CLAIM)     /* Redis is asked for its key: keyed.h */ \
	X(ANSWER)    /* and for keeping its answer */ \
	X(SEND)      /* and for what its run sends: sending.h */ \
	X(QUEUE)     /* to the tail of its service's queue */ \
	X(DISPATCH)  /* to call->link, which has credit */ \
	X(HAND_BACK) /* not run: to the head, and the attempt does not count */ \
	X(LOSE)      /* its worker is gone: to the head */ \
	X(RETRY)     /* its run failed: to the tail, as if it had just come */ \
	X(END)       /* answered, dropped or cancelled: the record is given back */

/* from, event, to */
#define BRK_CALL_EDGES(X) \
	X(NEW, CLAIM, CLAIMING) \
	X(CLAIMING, QUEUE, WAITING) \
	X(CLAIMING, DISPATCH, RUNNING) \
	X(CLAIMING, END, ENDED) \
	X(NEW, QUEUE, WAITING) \
	X(NEW, DISPATCH, RUNNING) \
	X(NEW, END, ENDED) \
	X(WAITING, DISPATCH, RUNNING) \
	X(WAITING, END, ENDED) \
	X(WAITING, ANSWER, ANSWERING) \
	X(RUNNING, ANSWER, ANSWERING) \
	X(RUNNING, SEND, SENDING) \
	X(SENDING, ANSWER, ANSWERING) \
	X(SENDING, END, ENDED) \
	X(ANSWERING, END, ENDED) \
	X(RUNNING, HAND_BACK, WAITING) \
	X(RUNNING, LOSE, WAITING) \
	X(RUNNING, RETRY, WAITING) \
	X(RUNNING, END, ENDED)

enum brk_call_state {
	BRK_CALL_ILLEGAL,
#define X(name) BRK_CALL_##name,
	BRK_CALL_STATES(X)
#undef X
		BRK_CALL_STATE__N
};

enum brk_call_event {
#define X(name) BRK_CALL_EV_##name,
	BRK_CALL_EVENTS(X)
#undef X
		BRK_CALL_EV__N
};

struct brk_call {
	struct base_heap_node deadline; /* RUNNING: of the run, if that is earlier */
	uint64_t deadline_ms;           /* of the call */
	enum brk_call_state state;
	uint32_t slot, generation;
	uint32_t client_slot, client_generation;
	uint32_t flags;
	uint32_t attempt; /* of the last dispatch; 0: none yet */
	struct brk_service *service;
	struct brk_peer *client;       /* NULL: an event's run */
	struct brk_delivery *delivery; /* NULL: a call of a client's */
	struct brk_claim *claim;       /* its Idempotency-Key; NULL: none */
	struct brk_link *link;         /* RUNNING: where */
	struct brk_call *prev, *next;  /* the queue, or the link's runs */
	struct brk_call *client_prev, *client_next;
	struct brk_call *index_next;
	uint64_t arrived_us, dispatched_us; /* the latter: the last time */
	uint64_t queued_ms;                 /* WAITING: since when */
	base_breaker_pass pass;             /* RUNNING: of the service's breaker */
	uint32_t shunned; /* the peer that failed it last: not there, if there is another; 0: none */
	struct base_block *block;           /* who owns payload's bytes; NULL: there are none */
	struct brk_payload payload;         /* SENDING: of the answer, whose head these are: */
	uint32_t held_status, held_after_ms;
	uint32_t n_sending; /* SENDING: events that are not told yet */
	bool has_id, has_trace;
	uint8_t id[16];
	uint8_t trace[BRK_TRACE_SIZE];
};

/* Open calls by (client, its slot, its generation): chains in an array that doubles. */
struct brk_call_index {
	struct brk_call **buckets;
	uint32_t mask; /* buckets - 1 */
	uint32_t n;
	uint64_t seed; /* slots are the peers' choice: they must not choose the chain, too */
};

BASE_MUSTUSE enum base_err brk_call_index_init(struct brk_call_index *x, uint64_t seed);
void brk_call_index_fini(struct brk_call_index *x);
struct brk_call *brk_call_find(
	struct brk_core *core, const struct brk_peer *client, uint32_t slot, uint32_t generation);

/* A NEW call of client for service, its deadline set, its payload kept. FULL: max_calls or
 * max_bytes. The item's sizes were checked. */
BASE_MUSTUSE enum base_err brk_call_new(struct brk_core *core, struct brk_peer *client,
	struct brk_service *service, const Pirn__Item *item, const struct brk_payload *payload,
	struct brk_call **out);

/* A NEW run of delivery, whose payload it holds on to. NULL: no memory, or no room. */
struct brk_call *brk_call_new_run(
	struct brk_core *core, struct brk_delivery *delivery, uint64_t deadline_ms);

/* DISPATCH: call->link was set; the run of a call ends with the service's timeout, or with the call's own
 * deadline. After END the record is gone. */
void brk_call_apply(struct brk_core *core, struct brk_call *call, enum brk_call_event event);

enum brk_call_state brk_call_next(enum brk_call_state from, enum brk_call_event event);
const char *brk_call_state_name(enum brk_call_state state);

static inline uint64_t brk_call_size(const struct brk_call *call)
{
	return (uint64_t)call->payload.meta_size + call->payload.data_size;
}

#endif
