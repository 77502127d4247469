/* One delivery: an event for one service, from SUBMIT (or from a journal's page) until
 * its end is in Redis. Records, states, and the ways to find them.
 *
 * A delivery is in exactly one state, and brk_delivery_apply is the only function that
 * changes it; the same function moves the record between its service's lists, keeps the
 * counts and the timer:
 *
 *   ARRIVING ──STORED──▶ READY ──RUN──▶ RUNNING ──END──▶ ENDING ──GONE──▶ (given back)
 *                         ▲  ◀─UNRUN──────┘  │
 *                      STORED                └──MOVE──▶ MOVING ──STORED──▶ READY
 *
 * STORED leads to WAITING instead when not_before_ms is still to come; DUE leads from
 * there to READY. READY and WAITING may MOVE as well (rewriting, an entry that Redis has
 * lost), and END (cancelled, too old). FORGET ends all of them: nothing is owed to Redis
 * any more, or it is somebody else's now.
 *
 * A record is small, since a million of them may wait: the payload lies in its entry's
 * body, and what only few have (a history) hangs off it. Several may have the same id: one
 * for each service that the event fans out to, and one that arrives a second time, until its
 * store says so.
 */
#ifndef BROKER_CORE_DELIVERY_H
#define BROKER_CORE_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/pool.h"
#include "broker/core/core.h"

struct brk_call;
struct brk_entry;
struct brk_service;

#define BRK_CALLBACK_MAX 2048u /* bytes of a URL */

#define BRK_DELIVERY_STATES(X) \
	X(ARRIVING) /* its store was not answered */ \
	X(READY)    /* waits for a worker */ \
	X(RUNNING)  /* call is its run */ \
	X(WAITING)  /* for not_before_ms */ \
	X(MOVING)   /* on the way into another entry: no run begins before that is answered */ \
	X(ENDING)   /* its end was not answered: nobody hears of it */

#define BRK_DELIVERY_EVENTS(X) \
	X(STORED) /* it stands in its entry: to the tail of what is ready, or it waits */ \
	X(DUE)    /* not_before_ms is there */ \
	X(RUN)    /* delivery->call was set; one attempt more */ \
	X(UNRUN)  /* the run came back unrun: to the head, and the attempt does not count */ \
	X(MOVE)   /* a settle, or a store, has it now */ \
	X(END)    /* a settle has its end */ \
	X(GONE)   /* that is answered: the record is given back */ \
	X(FORGET) /* the record is given back */

/* from, event, to */
#define BRK_DELIVERY_EDGES(X) \
	X(ARRIVING, STORED, READY) \
	X(ARRIVING, FORGET, GONE) \
	X(READY, RUN, RUNNING) \
	X(READY, MOVE, MOVING) \
	X(READY, END, ENDING) \
	X(READY, FORGET, GONE) \
	X(RUNNING, UNRUN, READY) \
	X(RUNNING, MOVE, MOVING) \
	X(RUNNING, END, ENDING) \
	X(RUNNING, FORGET, GONE) \
	X(WAITING, DUE, READY) \
	X(WAITING, MOVE, MOVING) \
	X(WAITING, END, ENDING) \
	X(WAITING, FORGET, GONE) \
	X(MOVING, STORED, READY) \
	X(MOVING, FORGET, GONE) \
	X(ENDING, GONE, GONE) \
	X(ENDING, FORGET, GONE)

enum brk_delivery_state {
	BRK_DELIVERY_ILLEGAL,
#define X(name) BRK_DELIVERY_##name,
	BRK_DELIVERY_STATES(X)
#undef X
		BRK_DELIVERY_GONE,
	BRK_DELIVERY_STATE__N
};

enum brk_delivery_event {
#define X(name) BRK_DELIVERY_EV_##name,
	BRK_DELIVERY_EVENTS(X)
#undef X
		BRK_DELIVERY_EV__N
};

enum brk_delivery_flag {
	BRK_DELIVERY_KEEP_RESULT = 1, /* somebody may ask for its result */
	BRK_DELIVERY_TRACED = 2,
	BRK_DELIVERY_DOUBT = 4,  /* a run but the last may have left records, or may still go on */
	BRK_DELIVERY_CANCEL = 8, /* to be cancelled as soon as its move is answered */
	BRK_DELIVERY_REWRITTEN = 32, /* it keeps its place among the ready */
	BRK_DELIVERY_FOREIGN = 16,   /* its owner before may have sent the run that comes next */
	BRK_DELIVERY_FANNED = 64,    /* the event has, or had, other deliveries */
};

struct brk_delivery {
	struct base_heap_node timer;      /* WAITING: not_before_ms; READY: not_after_ms */
	struct brk_delivery *prev, *next; /* the service's list of that state */
	struct brk_delivery *id_next;     /* the index */
	struct brk_service *service;
	struct brk_entry *entry; /* NULL while ARRIVING, and when Redis has lost it */
	struct brk_call *call;   /* RUNNING */
	struct base_block
		*past; /* packed: a JournalDelivery with nothing but its history; NULL: none */
	struct base_block *callback; /* a URL and its NUL; NULL: none of its own */
	uint64_t accepted_ms, not_before_ms, not_after_ms; /* Redis's time; 0: none */
	uint64_t fence_ms;                      /* no run of it has a lease that ends later */
	uint32_t slot;                          /* in the slab */
	uint32_t body_at, meta_size, data_size; /* in the body of its entry, or of its store */
	uint32_t attempt; /* of the last run, over its life; 0: none yet */
	uint32_t budget;  /* the attempt at which its budget began */
	uint16_t bit;     /* in its entry, or in its store's */
	uint16_t deaths;
	uint8_t state; /* enum brk_delivery_state */
	uint8_t flags;
	uint8_t hops; /* through how many runs it came */
	uint8_t id[16];
	uint8_t trace[25];
};
_Static_assert(sizeof(struct brk_delivery) <= 192, "three cache lines, of which a million may wait");
_Static_assert(STORE_ENTRY_DELIVERIES <= UINT16_MAX, "a bit fits");

/* Deliveries of one service in one state, in the order they came to it. */
struct brk_delivery_list {
	struct brk_delivery *head; /* utlist: the head's prev is the tail */
	uint32_t n;
};

/* By id: chains in an array that doubles. */
struct brk_delivery_index {
	struct brk_delivery **buckets;
	uint32_t mask, n;
	uint64_t seed;
};

BASE_MUSTUSE enum base_err brk_delivery_index_init(struct brk_delivery_index *x, uint64_t seed);
void brk_delivery_index_fini(struct brk_delivery_index *x);

/* An ARRIVING one, found by its id from now on; its sizes are counted. NULL: memory. Whoever calls looks
 * at the bounds. */
struct brk_delivery *brk_delivery_new(struct brk_core *core, struct brk_service *service,
	const uint8_t id[16], uint32_t meta_size, uint32_t data_size);

/* Those with that id, in no order: for (d = first; d; d = next(d)). A record that is given back on the
 * way must be the one before. NULL: there is none (more). */
struct brk_delivery *brk_delivery_first(const struct brk_core *core, const uint8_t id[16]);
struct brk_delivery *brk_delivery_next(const struct brk_delivery *delivery);
struct brk_delivery *brk_delivery_find(
	const struct brk_core *core, const uint8_t id[16], const struct brk_service *service);

/* After GONE and FORGET the record is no more, and has left its entry. RUNNING is only left when the run
 * (delivery->call) has ended: see run.h. */
void brk_delivery_apply(
	struct brk_core *core, struct brk_delivery *delivery, enum brk_delivery_event event);

enum brk_delivery_state brk_delivery_state_after(
	enum brk_delivery_state from, enum brk_delivery_event event);
const char *brk_delivery_state_name(enum brk_delivery_state state);

/* The payload, as long as the delivery has an entry. */
struct brk_payload brk_delivery_payload(const struct brk_delivery *delivery);
/* What is due: WAITING becomes READY; what is too old ends. */
void brk_delivery_tick(struct brk_core *core);
uint64_t brk_delivery_due(const struct brk_core *core);

static inline uint64_t brk_delivery_size(const struct brk_delivery *delivery)
{
	return (uint64_t)delivery->meta_size + delivery->data_size;
}

#endif
