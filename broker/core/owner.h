/* Who owns what: the broker's epoch, its beat, Redis's clock, the other brokers' beats
 * and what is taken over from them.
 *
 *   AWAY ──connection──▶ OPENING ──epoch──▶ OWNER ──drained──▶ LEAVING ──▶ LEFT
 *    ▲                      │ FENCED: all is forgotten, and again without the old one
 *    └──────── connection lost: the epoch is kept, to be opened anew
 *
 * Events run only while BRK_TRUST_MS have not passed since the last answered beat was
 * asked. Redis's time is its last word plus what went by here since: never ahead of its
 * clock, since the word was older than its arrival.
 */
#ifndef BROKER_CORE_OWNER_H
#define BROKER_CORE_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/asks.h"
#include "broker/core/core.h"

struct brk_journal;

#define BRK_TRUST_MS 3000
#define BRK_LEASE_MS 1000  /* how far a run's lease goes beyond its timeout */
#define BRK_KEEP_MS  60000 /* and its records beyond that */
#define BRK_BEAT_MS  1000
#define BRK_STALLED  3 /* answered beats that saw no change */

enum brk_owner_state {
	BRK_OWNER_AWAY,
	BRK_OWNER_OPENING,
	BRK_OWNER_OWNER,
	BRK_OWNER_LEAVING,
	BRK_OWNER_LEFT,
};

/* Another broker, as the beats showed it. */
struct brk_rival {
	uint32_t epoch;
	uint64_t beat;
	uint32_t unchanged;  /* answered beats of ours since its last change, a second apart */
	uint64_t counted_ms; /* when the last of them was asked */
	bool seen;           /* by the last one */
};

struct brk_own_read {
	uint32_t epoch;
	uint64_t turn;
};

struct brk_owner {
	enum brk_owner_state state;
	uint32_t epoch;                 /* the last one that was had; 0: none */
	uint64_t redis_ms, redis_at_ms; /* Redis's time, and when it was heard; 0: not known */
	uint64_t beat_asked_ms;         /* when the beat was asked that is under way */
	uint64_t
		trusted_ms; /* when the last answered one was asked; events run until BRK_TRUST_MS later */
	uint64_t beat; /* our own, as the last answered one told; 0: none of this epoch yet */
	bool opening, beating, adopting;
	uint64_t beat_at, open_at;      /* the next one; open_at UINT64_MAX: none */
	struct brk_own_read *own_reads; /* entries of ours that a Function wrote: to be read */
	size_t n_own_reads, own_reads_capacity;
	bool reading_own;
	uint64_t own_retry_at;
	struct brk_rival *rivals;
	size_t n_rivals, rivals_capacity;
	uint32_t *owners; /* that own a journal, as the last beat told: for INVOCATION */
	size_t n_owners, owners_capacity;
	bool durable;
	bool lost_data; /* said so, and nothing was stored since */
	const char *const *sentences;
	size_t n_sentences;
};

void brk_owner_fini(struct brk_core *core);
void brk_owner_store(struct brk_core *core, bool up);
void brk_owner_tick(struct brk_core *core);
uint64_t brk_owner_due(const struct brk_core *core);
/* A reply said FENCED: what is here is somebody else's, or Redis has lost its data. */
void brk_owner_fenced(
	struct brk_core *core, const struct brk_asked *asked, const struct store_says *says);
/* An ask went down with its connection: until the next one nothing more is asked. */
void brk_owner_lost(struct brk_core *core, const struct brk_asked *asked);
/* Nobody knows what a reply means: a new epoch, after which nothing of the old one can happen. */
void brk_owner_reopen(struct brk_core *core);
/* Drained: leaves its journals to the others. */
void brk_owner_leave(struct brk_core *core);
/* Redis told its time. */
void brk_owner_heard(struct brk_core *core, uint64_t redis_ms);

/* Whether commits may be sent; whether events may run, which is stricter. */
bool brk_owner_is_open(const struct brk_core *core);
bool brk_owner_is_trusted(const struct brk_core *core);
/* Drained: it has left, or has nothing to leave, or cannot. */
bool brk_owner_is_gone(const struct brk_core *core);
/* Whether REGISTRY tells that events are taken. */
bool brk_owner_takes_events(const struct brk_core *core);
/* Redis's time now, 0: not known yet. */
uint64_t brk_owner_redis_ms(const struct brk_core *core);
/* A moment of Redis's time in now_ms's; at once when it is past or the clock is not known. */
uint64_t brk_owner_local_ms(const struct brk_core *core, uint64_t redis_ms);
/* Every journal that this broker owns was read to its end. */
bool brk_owner_is_loaded(const struct brk_core *core);

/* ---- adopt.c: what others leave */

void brk_adopt_look(struct brk_core *core, const struct store_beat *beat); /* who is stalled */
void brk_adopt_read(
	struct brk_core *core); /* the next pages, as room allows; drops what is empty */

void brk_adopt_take(struct brk_core *core, uint32_t journal); /* it is this broker's now */
/* Reads that entry of one's own journal, which a Function wrote (a redrive), or may have written: none there
 * is fine. Until it was read brk_owner_is_loaded is false. */
void brk_load_own(struct brk_core *core, uint32_t epoch, uint64_t turn);

/* ---- load.c: deliveries out of an entry */

/* True: its living deliveries are here now (or it has none, or cannot be read: said in the log). False:
 * there is no room for them now. UNTRUSTED. */
bool brk_load_entry(
	struct brk_core *core, struct brk_journal *journal, const struct store_entry *entry);
/* Whether a page may be read: what is adopted leaves a quarter of the bounds to what comes in. */
bool brk_load_has_room(const struct brk_core *core);

#endif
