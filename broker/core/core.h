/* The broker's decisions, as a pure machine: one input at a time (a message, a
 * peer that is gone, a registry entry that was read, a tick) and a list of
 * actions out. No socket, no clock, no randomness, no thread: time is an argument
 * and chance comes from a seed. The same core runs in pirn-broker, in the
 * simulation and in the unit tests; it links with base and the generated heads
 * and with nothing else.
 *
 * Files: core (this seam, the message table), roster (peers and what they
 * announced), registry (what serves what, and its pushes), service (one service:
 * its workers, their credit), queue, call (one record: its states, the one function
 * that changes them), submit, dispatch (deficit round robin, who gets it), credit
 * (the protocol's two ways), settle (results, losses, deadlines), query, check.
 * parts.h is the inside; log_ids.h lists what BRK_LOG says.
 *
 * Events: accept (taken in), fan (for all who subscribe: subscribe; several with one fate), emit (what an event's
 * run sends) and sending (what a call's does), delivery (one record: its states), run (an attempt, which is
 * a call without a client), ending (what follows it), ledger (the books of what stands
 * where: entry, commit with store and settling, recover, rewrite, pack), owner (epoch,
 * beat, clock; adopt and load: what others leave), asks (what Redis was asked and has not
 * told). About them: watch (one event, who waits for its end), page (the list), letters
 * (the dead ones), answer (what is said). keyed: calls with an Idempotency-Key.
 *
 * All memory of the steady state comes from slabs and pools that were grown
 * before: no malloc per item (tests/unit counts them).
 *
 * What a peer says is UNTRUSTED: what is malformed (a size that does not add up, a
 * kind that its role may not send, credit for a service it never announced) is
 * counted and has no effect. Order of the actions is the order of sending.
 */
#ifndef BROKER_CORE_CORE_H
#define BROKER_CORE_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/pool.h"
#include "broker/core/ask.h"
#include "proto/pirn.pb-c.h"

struct brk_core;

struct brk_conf {
	const char *name;
	uint8_t boot[16];
	uint32_t max_calls; /* waiting and running together; beyond: OVERLOADED */
	uint64_t max_bytes; /* of payloads kept, waiting and running; beyond: OVERLOADED */
	uint32_t max_item_bytes;
	uint32_t beat_ms;      /* 1,000 */
	uint32_t missed_beats; /* 3: then a peer is gone */
	uint32_t max_peers;
	uint32_t max_services;
	uint64_t forget_ms; /* 24 h: a service without workers */
	uint32_t hope_ms;   /* so long a service without workers takes calls: hope.h. 0: not at all */
	uint64_t seed;

	/* Events. All bounds are of what is loaded here, adopted events too. */
	bool events;              /* false: no Redis, each event is UNSUPPORTED */
	bool strict;              /* an event that nobody subscribes to is refused */
	uint32_t max_events;      /* deliveries; beyond: QUEUE_FULL */
	uint64_t max_event_bytes; /* of their payloads; beyond: OVERLOADED */
	uint32_t decide_ms;       /* 60,000: an event not stored by then is UNDECIDED */
	bool gather;              /* a commit waits for the one before, unless it is full */
	uint32_t settle_ms;       /* no store for so long: a settle goes by itself */
	uint32_t ends_ms;         /* so long a few ends wait for more, while stores go without them */
	struct store_bounds bounds;
};

/* The payload of an item: meta and data, adjacent bytes. In an action they may be the bytes of the
 * message that caused it: good as long as both that message and the actions are. */
struct brk_payload {
	const uint8_t *bytes;
	uint32_t meta_size;
	uint32_t data_size;
	struct base_block
		*block; /* the owner, when the bytes can be kept by reference; NULL: copy */
};

/* One message, as the shell unpacked it. payload i belongs to head->items[i]. All borrowed. The
 * core keeps the payload of every open call: by reference when there is a block, else as a copy. */
struct brk_message {
	uint32_t peer;
	const Pirn__Head *head;
	const uint8_t *body;
	size_t body_size;
	struct base_block *block; /* of the body, when it can be kept; NULL: copy */
	/* Control bodies, unpacked by the shell, one of them by kind, NULL otherwise: */
	const Pirn__Hello *hello;
	const Pirn__Beat *beat;
};

enum brk_action_kind {
	BRK_SEND_ITEM,    /* item + payload to peer; the shell batches */
	BRK_SEND_CREDIT,  /* credit to peer */
	BRK_SEND_CONTROL, /* kind + control message to peer, in order with the items */
	BRK_FORGET,       /* the peer is none of ours any more */
	BRK_KEEP_SERVICE, /* service + packed manifest into the registry in Redis */
	BRK_DROP_SERVICE, /* forgotten after forget_ms */
	BRK_ASK,          /* ask: to Redis; brk_core_told brings the reply */
	BRK_LOG,          /* an id of the table in log_ids.h with one text and one number */
};

struct brk_action {
	enum brk_action_kind kind;
	uint32_t peer;
	uint32_t message;                /* SEND_ITEM, SEND_CONTROL: a Pirn kind */
	Pirn__Item item;                 /* SEND_ITEM; its pointers are borrowed like the payload */
	struct brk_payload payload;      /* SEND_ITEM */
	Pirn__Credit credit;             /* SEND_CREDIT */
	const ProtobufCMessage *control; /* SEND_CONTROL; NULL: empty body */
	const Pirn__Entry *entry;        /* KEEP_SERVICE, DROP_SERVICE */
	struct brk_ask ask;              /* ASK */
	const char *log_id;              /* LOG */
	const char *log_text;
	uint64_t log_number;
};

/* The actions of one input, in order. Everything they point at is good until the next call into
 * the core. */
struct brk_actions {
	struct brk_action *list;
	size_t n, capacity;
};

BASE_MUSTUSE enum base_err brk_core_new(const struct brk_conf *conf, struct brk_core **out);
void brk_core_free(struct brk_core **core);

/* Optional, before an input: the same moment as its now_ms in microseconds. Only the latency
 * figures use it; without it they are of whole milliseconds. */
void brk_core_clock(struct brk_core *core, uint64_t now_us);

/* Each returns the actions; the struct is the core's and is reused. now_ms is monotonic, never
 * goes back. Out of memory in the middle is refused to the sender (OVERLOADED), never half done.
 * (The list itself has room for the answers to any one message from the start; when it must grow
 * beyond that and cannot, dispatch and expiry go on at the next tick, and an answer that must
 * leave now aborts the process.) */
const struct brk_actions *brk_core_message(
	struct brk_core *core, uint64_t now_ms, const struct brk_message *m);
const struct brk_actions *brk_core_gone(struct brk_core *core, uint64_t now_ms, uint32_t peer);
const struct brk_actions *brk_core_tick(struct brk_core *core, uint64_t now_ms, uint64_t unix_ms);
/* An entry that was read from Redis at start or told by another broker; older than what is
 * known: ignored. */
const struct brk_actions *brk_core_entry(
	struct brk_core *core, uint64_t now_ms, const Pirn__Entry *entry);
/* The connection to Redis is there (asks may be made: OPEN comes first), or is not. */
const struct brk_actions *brk_core_store(struct brk_core *core, uint64_t now_ms, bool up);
/* The reply to an ask. */
const struct brk_actions *brk_core_told(
	struct brk_core *core, uint64_t now_ms, const struct brk_told *told);
/* Whether this Redis keeps what it is given (or its user said that he knows): without it every event is
 * NOT_DURABLE. False until told. The sentences go into REGISTRY; borrowed until they are replaced. */
const struct brk_actions *brk_core_durable(struct brk_core *core, uint64_t now_ms, bool durable,
	const char *const *sentences, size_t n);
/* The end of a turn of the loop: what it stored and settled leaves as one STORE and one SETTLE. To be
 * called whenever brk_core_pending, before the loop sleeps. */
const struct brk_actions *brk_core_turn(struct brk_core *core, uint64_t now_ms);
bool brk_core_pending(const struct brk_core *core);
/* SIGTERM: tells every peer DRAIN, refuses SUBMIT with DRAINING, finishes what it has. The first
 * DRAIN that a peer sends after ours is its answer (workers go on working for us); any other is
 * a peer's own wish. */
const struct brk_actions *brk_core_drain(struct brk_core *core, uint64_t now_ms);
bool brk_core_drained(
	const struct brk_core *core); /* nothing waits or runs, and every client answered DRAIN */
/* The end of a drain: BYE to everybody; what is left is answered DRAINING (REFUSED when it never
 * ran, so that the client may send it elsewhere; REPLY when it was running). No peer is known
 * after it. */
const struct brk_actions *brk_core_end(struct brk_core *core, uint64_t now_ms);

/* When the next tick is wanted, in now_ms's time; not later than the next beat. In the past or
 * now: at once. */
uint64_t brk_core_due(const struct brk_core *core);

/* Figures of the shell (network, Redis, process), which go into the answer to QUERY METRICS
 * beside the core's. Borrowed until they are replaced. */
void brk_core_extra(struct brk_core *core, Pirn__Metric *const *metrics, size_t n);

struct brk_figures {
	uint64_t submitted, refused, dispatched, replied, retried, expired, lost, cancelled, stale,
		malformed, resyncs, peers_refused;
	uint64_t unsent; /* calls whose run went well, and could not send */
	uint64_t peers, clients, workers, services, waiting, running, sending, waiting_bytes;
	/* events */
	uint64_t accepted, duplicates, events_unrouted, events_refused, events_done, events_dead, events_expired,
		events_cancelled, events_retried, events_redelivered, events_diverged, events_emitted, adoptions,
		fenced, opened, settled, moved;
	uint64_t events_ready, events_running, events_waiting, events_ending, events_bytes, entries;
};
void brk_core_figures(const struct brk_core *core, struct brk_figures *out);

/* Asserts every invariant (queues and counts agree, each call in one list, credit conserved,
 * bounds kept). Slow; the tests call it after every step. */
void brk_core_check(const struct brk_core *core);

#endif
