/* The core from within: the one struct, and what its files call of one another.
 * Nothing outside broker/core and its unit tests includes this.
 *
 * An input goes: brk_core_* (core.c) → the handler of the message's kind → the
 * services it touched are looked at once, at the end (brk_dispatch_run, then
 * brk_credit_notices). Peers and services that end are buried, not freed: the
 * actions of the same input may point at them.
 */
#ifndef BROKER_CORE_PARTS_H
#define BROKER_CORE_PARTS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/heap.h"
#include "base/pool.h"
#include "base/rand.h"
#include "base/slab.h"
#include "broker/core/accept.h"
#include "broker/core/again.h"
#include "broker/core/answer.h"
#include "broker/core/asks.h"
#include "broker/core/breaker.h"
#include "broker/core/call.h"
#include "broker/core/core.h"
#include "broker/core/delivery.h"
#include "broker/core/drought.h"
#include "broker/core/eject.h"
#include "broker/core/ending.h"
#include "broker/core/fan.h"
#include "broker/core/fault.h"
#include "broker/core/hope.h"
#include "broker/core/keyed.h"
#include "broker/core/ledger.h"
#include "broker/core/log_ids.h"
#include "broker/core/overload.h"
#include "broker/core/owner.h"
#include "broker/core/queue.h"
#include "broker/core/roster.h"
#include "broker/core/run.h"
#include "broker/core/sending.h"
#include "broker/core/service.h"
#include "broker/core/tail.h"
#include "broker/core/watch.h"

#define BRK_MAX_ITEMS          1024
#define BRK_MAX_RUNS           3    /* of an idempotent call */
#define BRK_CALLS_IN_ROW       7    /* then it is an event's turn, when both wait */
#define BRK_REGISTRY_MS        20   /* between two pushes */
#define BRK_VOLUNTARY_ACTIONS  4096 /* dispatch and expiry stop here and go on at the next tick */
#define BRK_DEFAULT_TIMEOUT_MS 30000
#define BRK_MAX_LEFT_MS        (24u * 3600 * 1000)
#define BRK_MAX_ASKED          (1u << 20)

struct brk_core {
	struct brk_conf conf;
	char name[BRK_NAME_SIZE];
	uint64_t now_ms, now_us, fine_us; /* of this input; fine_us: brk_core_clock's, 0: none */
	uint64_t woke_us; /* this process was stopped, or starved, until then */
	uint64_t input;                   /* its number */
	uint64_t unix_ms, unix_at_ms;     /* Unix time at a tick, and when that was */
	bool draining;
	bool broken; /* by a test */
	uint64_t faults[BRK_FAULT_WORDS];

	struct brk_actions out;
	Pirn__Item blank_item;
	Pirn__Credit blank_credit;
	Pirn__Welcome welcome;
	Pirn__Beat beat; /* to clients, when the time is known */
	char why[256];

	struct brk_peer *peers, *peers_by_boot; /* uthash, in order of arrival */
	uint32_t n_clients, n_workers;
	uint32_t n_asked; /* clients whose answer to our DRAIN is missing */
	struct brk_stranger *strangers;
	struct brk_peer *buried_peers;

	struct brk_service *services;
	struct brk_service *buried_services;
	struct brk_service *touched;
	struct brk_service *turns; /* a ring: who may dispatch now */
	bool starved;              /* there was no memory for it: a moment later */
	struct base_heap notices;
	struct base_heap guards, overloads, ejected, droughts, hopes;

	struct base_slab slab;
	struct base_pool pool;
	struct brk_call_index index;
	struct base_heap deadlines;
	uint32_t n_waiting, n_running, n_sending;
	uint64_t kept_bytes;
	uint64_t n_returned; /* accepted, then refused by brk_core_end */

	Pirn__Registry registry; /* its entries point into the services */
	size_t registry_capacity;
	bool registry_stale;  /* clients have to be told */
	uint64_t registry_ms; /* when the last push was */

	struct base_arena arena; /* of one question */
	struct base_buf answers[2];
	bool answered[2];
	Pirn__Metric *const *extra; /* the shell's figures; borrowed */
	size_t n_extra;

	/* Events. */
	struct base_slab deliveries, entries;
	struct brk_delivery_index by_id;
	struct base_heap timers;
	uint64_t event_bytes; /* of payloads, arriving ones too */
	uint32_t n_events[BRK_DELIVERY_STATE__N];
	uint32_t n_runs;               /* calls that are a delivery's */
	struct base_buf scratch;       /* of pack.c */
	struct base_arena said, pages; /* of one input; of one entry that is read */
	struct base_slab asked;
	uint32_t connection; /* to Redis: the count of those that there were */
	bool connected;
	struct brk_watch watch;
	struct brk_tail tail;
	struct brk_claim *claims;
	struct base_buf *replies; /* what answer.c has packed; reused with each input */
	size_t n_replies, n_replied;
	struct brk_owner owner;
	struct brk_ledger ledger;
	struct brk_subscribe subscribe;
	struct brk_fan fan;
	struct base_rand rand;

	uint64_t beat_at;
	struct brk_figures figures;
};

/* ---- core.c: actions ------------------------------------------------------ */

/* One more action; the pointer is good until the next one is added. */
struct brk_action *brk_act(struct brk_core *core, enum brk_action_kind kind, uint32_t peer);
struct brk_action *brk_act_item(struct brk_core *core, uint32_t peer, uint32_t message);
void brk_act_control(
	struct brk_core *core, uint32_t peer, uint32_t message, const ProtobufCMessage *body);
void brk_act_log(struct brk_core *core, enum brk_log_id id, const char *text, uint64_t number);
bool brk_act_has_room(struct brk_core *core); /* for what can wait until the next tick */
uint64_t brk_unix_ms(const struct brk_core *core);
ProtobufCAllocator brk_arena_allocator(struct base_arena *arena);

/* ---- submit.c ------------------------------------------------------------- */

void brk_submit(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m);
void brk_submit_cancel(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m);
void brk_refuse(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	uint32_t reason, uint32_t retry_after_ms);
/* Payload i of a message; start with *offset 0. The sizes were checked when the message came in. */
struct brk_payload brk_payload_next(
	const struct brk_message *m, const Pirn__Item *item, size_t *offset);

/* Why it takes no more calls of that size, and when to ask again (untouched: the reason's usual time);
 * NONE: it does. */
uint32_t brk_submit_judge(struct brk_core *core, struct brk_service *service, uint64_t size,
	uint32_t *retry_after_ms);
/* A call whose claim was told: it is dispatched, or waits. */
void brk_submit_place(struct brk_core *core, struct brk_call *call);

/* ---- dispatch.c ----------------------------------------------------------- */

/* Something waits for it that may run now, calls or events. */
bool brk_dispatch_is_wanted(const struct brk_core *core, const struct brk_service *service);
/* Of both, an event is next. */
bool brk_dispatch_event_first(const struct brk_core *core, const struct brk_service *service);
/* A worker has credit, concurrency_total is not reached, and the breaker lets it through. */
bool brk_dispatch_is_possible(const struct brk_core *core, const struct brk_service *service);
void brk_dispatch_one(struct brk_core *core,
	struct brk_call *call); /* to the worker with the most credit, or the row's */
void brk_dispatch_ran(const struct brk_core *core,
	const struct brk_call *call); /* its run is over: how long it was is remembered */
void brk_dispatch_wake(
	struct brk_core *core, struct brk_service *service); /* into the ring, when it may */
void brk_dispatch_run(struct brk_core *core);
void brk_dispatch_forget(struct brk_core *core, struct brk_service *service); /* out of the ring */

/* ---- credit.c ------------------------------------------------------------- */

void brk_credit_message(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m);
void brk_credit_apply(struct brk_core *core, struct brk_peer *peer, const Pirn__Head *head);
void brk_credit_notice(struct brk_core *core, struct brk_service *service);
void brk_credit_tick(struct brk_core *core);

/* ---- settle.c ------------------------------------------------------------- */

void brk_settle_tell_worker(
	struct brk_core *core, const struct brk_call *call); /* CANCEL, when it runs */
void brk_settle_result(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m);
void brk_settle_lost(struct brk_core *core, struct brk_call *call); /* its worker is gone */
void brk_settle_dropped(
	struct brk_core *core, struct brk_call *call); /* its client does not want it any more */
void brk_settle_expire(struct brk_core *core);         /* all that is due */
void brk_settle_expired(struct brk_core *core, struct brk_call *call);
/* Answers a call that waits: it will not run. */
void brk_settle_refused(
	struct brk_core *core, struct brk_call *call, uint32_t reason, uint32_t retry_after_ms);
void brk_settle_end(struct brk_core *core, struct brk_call *call); /* the broker goes: DRAINING */
/* Its run is over, and has been counted: this is what its client hears, when that is kept (keyed.h). The
 * payload is not the call's own. */
void brk_settle_answer(
	struct brk_core *core, struct brk_call *call, const struct brk_keyed_answer *answer);
uint32_t brk_reason_status(uint32_t reason);

/* ---- registry.c ----------------------------------------------------------- */

/* NULL, or what is wrong with it (in core->why). UNTRUSTED. */
const char *brk_registry_judge(struct brk_core *core, const Pirn__Manifest *manifest);
/* Announced by a worker, or told (entry's times); NOMEM or FULL changes nothing. */
BASE_MUSTUSE enum base_err brk_registry_announce(
	struct brk_core *core, struct brk_link *link, const Pirn__Manifest *manifest);
void brk_registry_entry(struct brk_core *core, const Pirn__Entry *entry);
void brk_registry_changed(struct brk_core *core);
void brk_registry_push(struct brk_core *core, const struct brk_peer *peer);
void brk_registry_tick(struct brk_core *core);
void brk_registry_forget(struct brk_core *core); /* services without a worker for forget_ms */
uint64_t brk_registry_due(const struct brk_core *core);

/* ---- query.c -------------------------------------------------------------- */

void brk_query(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m);

#endif
