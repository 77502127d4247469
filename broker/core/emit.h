/* What a run sends. (A delivery's run: the rest, and what follows; of a call's, the reading
 * alone: sending.h.) Its events come at the end of its RESULT, and leave with its end: in
 * the very SETTLE that ends the delivery as done, so that they are in Redis if and only
 * if it ended so. A run that failed sends nothing, and whatever becomes of the SETTLE (its
 * reply lost, another epoch), it is one step: it happened with them, or not at all, and
 * then the same events, with the same ids, go with the next one.
 *
 * Whom they are for is asked once, when the result comes; their deliveries are ARRIVING
 * until the SETTLE is answered. What cannot be taken (nobody of that name, no room) is the
 * run's failure, which runs again later.
 *
 * Redis out of memory refuses such a SETTLE, and takes those that send nothing. The ends
 * that it holds stay ENDING, and are settled again every BRK_HELD_MS: neither is the run
 * for nothing, nor does anybody hear of an end that has not happened.
 *
 * An id that the worker did not say is made from that of the run, its service and the
 * place in the list: the same for each attempt, and for each run of a call.
 *
 * Hops: each event says through how many runs it came, so that services which feed one
 * another (or themselves) come to an end: beyond BRK_HOPS_MAX a delivery never runs, and
 * becomes a dead letter (HOPS).
 */
#ifndef BROKER_CORE_EMIT_H
#define BROKER_CORE_EMIT_H

#include "broker/core/core.h"
#include "broker/core/ledger.h"

#define BRK_EMITS_MAX   64u                  /* events of a run */
#define BRK_EMITS_BYTES (256u * 1024)        /* of their payloads */
#define BRK_EMITS_ROOM  (2u * BRK_EMITS_BYTES + 64u * 1024) /* of the message that holds them */
#define BRK_HELD_MS     500u
#define BRK_HOPS_MAX    16u

/* Who sends. */
struct brk_emitter {
	const uint8_t *id; /* 16 bytes */
	const struct brk_service *service;
	const uint8_t *trace; /* NULL: none */
	uint32_t hops;        /* of what it was run by */
	bool by_call;         /* what it sends has the bounds of what clients send: sending.h */
};

/* Of the event at that place of its list, when the worker did not say one. */
void brk_emit_id(const struct brk_emitter *emitter, uint64_t place, uint8_t id[16]);

/* Events that leave together, and their deliveries, one after another. */
struct brk_emits {
	struct brk_emits *next;
	uint32_t n, n_deliveries;
	struct brk_sent {
		uint32_t n; /* deliveries */
		struct brk_payload payload;
	} *events;
	struct brk_delivery **deliveries;
	uint8_t *bytes; /* all payloads */
};

/* Reads a packed Emits; what it holds is in core->fan then, all or nothing. NONE, or why it is not taken. UNTRUSTED. */
uint32_t brk_emit_read(struct brk_core *core, const struct brk_emitter *emitter,
	const uint8_t *bytes, size_t size);
/* What brk_emit_read has left there; NULL: nothing to store. Ends the process without memory: its run is over. */
struct brk_emits *brk_emit_take(struct brk_core *core);

/* One event that the broker itself owes for a delivery's end, for one service, made by its name when nobody has
 * announced it; place: of its id. It is taken whatever the bounds are. */
struct brk_emits *brk_emit_owed(struct brk_core *core, const struct brk_emitter *emitter,
	const char *service, uint64_t place, const struct brk_payload *payload);

/* Of all that hang together. */
uint32_t brk_emits_deliveries(const struct brk_emits *emits);
uint64_t brk_emits_bytes(const struct brk_emits *emits);
/* Into the commit's entry. There must be memory. */
void brk_emits_write(struct brk_commit *commit, const struct brk_emits *emits);
/* They stand in an entry: frees the list. */
void brk_emits_free(struct brk_emits **emits);
/* They will not be stored: their deliveries go, too. */
void brk_emits_drop(struct brk_core *core, struct brk_emits **emits);

#endif
