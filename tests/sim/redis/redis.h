/* A simulated Redis with the delivery protocol's Functions: what store/functions.lua
 * does, on the keys of keys.h, in the words of store/words.h. It is written from the
 * Function's specification; tests/unit/test_sim_redis.c holds it against the real one.
 *
 * Each call is one step and returns a reply of its own, which lives as long as its
 * caller wants. Time, memory and what is on disk are the caller's to say.
 *
 * A watcher is told of each change of a delivery as it is made, and may keep notes of
 * its own in the same keys, under names that begin with "sim:": a crash that takes the
 * change back takes the notes back.
 *
 * faults switches rules of the protocol off, one by one, to show that the simulation
 * notices.
 */
#ifndef TESTS_SIM_REDIS_REDIS_H
#define TESTS_SIM_REDIS_REDIS_H

#include "base/arena.h"
#include "broker/core/ask.h"
#include "tests/sim/redis/keys.h"

/* name, what this Redis does */
#define SIM_REDIS_FAULTS(X) \
	X(FENCE_IGNORED, "does what an epoch asks that owns nothing any more") \
	X(ADOPT_BLIND, "gives a broker's journals away though it beat meanwhile") \
	X(ADOPT_HALF, "gives an adopter one journal of several") \
	X(LANE_IGNORED, "stores a number of a lane twice") \
	X(KEY_IGNORED, "stores two events of one Idempotency-Key") \
	X(FATE_SPLIT, "stores what there is room for of events that have one fate") \
	X(BITS_IGNORED, "ends a delivery that has ended") \
	X(LEASE_IGNORED, "applies operations after the run's lease") \
	X(RUN_IGNORED, "applies operations of a run when a later one has begun") \
	X(NO_REPLAY, "applies an operation again that an earlier run did") \
	X(NO_FENCE, "drops a delivery's records at its end, whatever runs are still about") \
	X(NO_EXPIRY, "keeps the records of ended deliveries for good") \
	X(LETTER_LOST, "removes dead letters that it did not move") \
	X(CLAIM_SHARED, "gives a key to a second call while the first one runs") \
	X(STALE_ANSWER, "keeps the answer of a run when a later one has the key") \
	X(SLOT_IGNORED, "stores a timer's slot whatever the last one is") \
	X(SLOT_EARLY, "stores a timer's slot long before its time") \
	X(SLOT_FORGOTTEN, "stores a timer's slot and does not move the chain") \
	X(EARLY_REPLY, "answers before it is on disk")

enum sim_redis_fault {
#define X(name, text) SIM_REDIS_##name,
	SIM_REDIS_FAULTS(X)
#undef X
		SIM_REDIS_FAULT__N
};

struct sim_redis;

/* What happened to a delivery. Of an entry's bits: their ids stand in head, or were told before. */
enum sim_change_kind {
	SIM_ADDED,    /* an entry was written: head, and the bits that ended with it */
	SIM_MOVED,    /* as ADDED, by a settle: what moved here */
	SIM_REDRIVEN, /* as ADDED, from letters */
	SIM_BIT,      /* end: this delivery left its entry; what it says has been checked */
	SIM_APPLIED,  /* a state operation was applied (and not replayed) */
	SIM_PURGED,   /* a letter went */
	SIM_ADOPTED,  /* epoch lost its journals to another */
	SIM_SLOT,     /* item: a timer's slot was stored */
};
struct sim_change {
	enum sim_change_kind kind;
	uint32_t journal, epoch;
	uint64_t turn;
	struct store_arg head, ended; /* ADDED */
	struct store_arg body;        /* ADDED, MOVED */
	const struct store_end *end;  /* BIT */
	uint32_t n_deliveries;        /* BIT: of the entry, as the caller says */
	const uint8_t *id;            /* APPLIED, PURGED */
	const char *service;
	const struct store_run *run; /* APPLIED */
	struct store_arg field;
	bool has_left; /* ADOPTED: by itself */
	const struct store_item *item; /* SLOT */
};
typedef void sim_redis_watch_fn(
	void *arg, struct sim_redis *redis, const struct sim_change *change);

struct sim_redis {
	struct sim_keys keys;
	bool out_of_memory;
	uint32_t faults;           /* 1u << SIM_REDIS_… */
	sim_redis_watch_fn *watch; /* or NULL */
	void *watch_arg;
};

struct sim_reply {
	struct base_arena arena;
	struct brk_told told;
	union {
		struct store_says says;
		struct store_opened opened;
		struct store_beat beat;
		struct store_adopted adopted;
		struct store_count count;
		struct store_page page;
		struct store_stored stored;
		struct store_settled settled;
		struct store_list list;
		struct store_claimed claimed;
	};
};

void sim_redis_init(struct sim_redis *r, uint64_t now_ms);
void sim_redis_fini(struct sim_redis *r);

struct sim_reply *sim_redis_ask(
	struct sim_redis *r, const struct brk_ask *ask, const struct store_bounds *bounds);
/* A reply that nothing was asked for: AWAY, LOST, BROKEN. */
struct sim_reply *sim_redis_say(enum brk_ask_kind kind, uint64_t ticket, enum store_code code);
void sim_reply_free(struct sim_reply *reply);

/* ---- operations of a run */

struct sim_op {
	struct store_run run;
	struct store_arg field, key;
	const struct store_arg *reads; /* field, record, field, record, … */
	size_t n_reads;                /* pairs */
	const char *command;           /* as functions.lua lists them: "INCRBY" */
	struct store_arg args[4];
	size_t n_args;
};
struct sim_op_reply {
	struct base_arena arena;
	enum store_code code;
	uint64_t number;
	bool replayed;
	struct store_arg record;
};
/* Fills *out; sim_op_reply_fini it. */
void sim_redis_op(struct sim_redis *r, const struct sim_op *op, struct sim_op_reply *out);
void sim_op_reply_fini(struct sim_op_reply *reply);

#endif
