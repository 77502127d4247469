/* The delivery protocol's words to Redis: a typed request and a typed reply for each
 * of its Functions (functions.lua, which says what keys hold). Nothing is remembered
 * here; what lies where is the broker's core's to know.
 *
 * | Function | refused by            | changes                                         |
 * |----------|-----------------------|-------------------------------------------------|
 * | open     | FENCED                | next epoch; the old one's beat and journals pass |
 * | beat     | FENCED                | beat + 1                                        |
 * | adopt    | FENCED                | the victim's journals, if its beat is as seen   |
 * | leave    | FENCED                | beat 0: adoptable at once; FENCED from then on  |
 * | drop     | FENCED                | an adopted journal that is empty goes           |
 * | read     |                       | nothing; a page of entries with their bitmaps   |
 * | store    | FENCED REPEATED OOM   | an entry, lane bits, dedupe keys, timers        |
 * | settle   | FENCED REPEATED SETTLED | bits, an entry of what moves, results, letters, records |
 * | emit     | the same, and OOM     | settle with events that a run sends             |
 * | redrive  | FENCED REPEATED OOM   | letters become an entry                         |
 * | purge    |                       | letters go                                      |
 * | result   |                       | nothing                                         |
 *
 * Every one may be AWAY or LOST too. Each is one step: it happened whole, or (any
 * code but DONE, LOST and BROKEN) not at all.
 *
 * After LOST, and a new epoch by open(old): the old connection's commands are fenced
 * by then. A store happened if its entry is there (read); it may be sent again under a
 * new turn anyhow, since its lane bits, keys and slots make duplicates of what is
 * there. A settle happened if the bits are set (read; no entry: all of it ended); what
 * is not there is sent again, and only that, because SETTLED refuses the whole.
 *
 * Epochs are numbers from 1 on; a journal's name is the epoch that made it. Times are
 * Redis's, Unix milliseconds. What a reply points to is borrowed until fn returns. fn
 * comes once, never when the call itself returned an error: UNAVAILABLE or FULL as
 * store_redis_command, INVALID for a request that cannot be meant, NOMEM. The
 * connection must have been made with the library of functions.lua.
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "store/entry.h"
#include "store/fcall.h"
#include "store/redis.h"

/* First in every reply; the rest is only there when code is DONE. */
struct store_says {
	enum store_code code;
	uint64_t number; /* FENCED: the last epoch of Redis; below one's own, it has lost its data */
	const char *why; /* Redis's words, for the log; never NULL */
};

/* ---- owners and journals */

struct store_opened {
	struct store_says says;
	uint64_t now_ms;
	uint32_t epoch, journal; /* the journal to append to */
	const uint32_t *adopted; /* what else it owns */
	size_t n_adopted;
};
typedef void store_opened_fn(void *arg, const struct store_opened *reply);
/* old 0: none. FENCED: the old one was adopted, or Redis lost its data. */
BASE_MUSTUSE enum base_err store_journal_open(
	struct store_redis *r, uint32_t old, store_opened_fn *fn, void *arg);

struct store_owner {
	uint32_t epoch;
	uint64_t beat; /* 0: it left */
};
struct store_owned {
	uint32_t journal, epoch;
	bool adopted;
};
struct store_beat {
	struct store_says says;
	uint64_t now_ms;
	const struct store_owner *owners;
	size_t n_owners;
	const struct store_owned *journals;
	size_t n_journals;
};
typedef void store_beat_fn(void *arg, const struct store_beat *reply);
BASE_MUSTUSE enum base_err store_journal_beat(
	struct store_redis *r, uint32_t epoch, store_beat_fn *fn, void *arg);

struct store_adopted {
	struct store_says says;
	const uint32_t *journals; /* none: it beat meanwhile, or is not there */
	size_t n;
};
typedef void store_adopted_fn(void *arg, const struct store_adopted *reply);
/* seen: the victim's beat, as the last beats told it. */
BASE_MUSTUSE enum base_err store_journal_adopt(struct store_redis *r, uint32_t epoch,
	uint32_t victim, uint64_t seen, store_adopted_fn *fn, void *arg);

struct store_count {
	struct store_says says;
	uint64_t n;
};
typedef void store_count_fn(void *arg, const struct store_count *reply);
/* n: the journals it leaves behind. */
BASE_MUSTUSE enum base_err store_journal_leave(
	struct store_redis *r, uint32_t epoch, store_count_fn *fn, void *arg);
/* n: 1 when it went, 0 when it is not empty. FENCED also for one's own, which is never dropped. */
BASE_MUSTUSE enum base_err store_journal_drop(struct store_redis *r, uint32_t epoch,
	uint32_t journal, store_count_fn *fn, void *arg);

/* ---- reading */

struct store_entry {
	uint32_t epoch;
	uint64_t turn;
	uint64_t written_ms;
	struct store_arg head, body, ended; /* ended: store_entry_ended(ended.data, ended.size, bit) */
};
struct store_page {
	struct store_says says;
	const struct store_entry *entries;
	size_t n; /* none: there is no more */
};
typedef void store_page_fn(void *arg, const struct store_page *reply);
/* The entries after epoch-turn (0-0: from the start), at most max_entries, and max_bytes of heads and
 * bodies; but always one when there is one. */
BASE_MUSTUSE enum base_err store_journal_read(struct store_redis *r, uint32_t journal,
	uint32_t after_epoch, uint64_t after_turn, uint32_t max_entries, uint64_t max_bytes,
	store_page_fn *fn, void *arg);

/* ---- store */

/* Who appends what where. Turns of an epoch grow by one; store, settle and redrive share them. */
struct store_turn {
	uint32_t epoch, journal;
	uint64_t turn;
	struct store_arg head, body; /* packed by store_entry_pack; data NULL: nothing is appended */
};

enum store_guard { STORE_GUARD_NONE, STORE_GUARD_KEY, STORE_GUARD_TIMER };

/* One submitted event, in the entry's order. */
struct store_item {
	uint32_t n_deliveries; /* as in the entry; 0: a timer's skipped slot, which has no event */
	bool has_lane;
	uint64_t lane, number; /* the lane's 8 bytes as a number */
	enum store_guard guard;
	/* KEY: */
	const char *scope;
	struct store_arg key, hash, id; /* hash: of the body, any bytes; id: 16 bytes, TIMER's too (or empty) */
	/* TIMER: slots in Unix milliseconds; previous 0 for the first */
	const char *timer;
	uint64_t previous_ms, slot_ms;
};

struct store_bounds {
	uint64_t dedupe_max;  /* bytes of dedupe keys and kept responses */
	uint64_t dedupe_ms;   /* how long they are kept */
	uint64_t results_max; /* bytes of results */
	uint64_t result_ttl_ms;
};

enum store_why {
	STORE_WHY_LANE, /* this number was stored before */
	STORE_WHY_KEY,  /* the same key and body before: id is the first event's (or call's) */
	STORE_WHY_BODY, /* the key with another body before: 422 */
	STORE_WHY_SLOT, /* not the next slot, or not its time yet; last_ms is the last one */
	STORE_WHY_FULL, /* dedupe_max: 503 */
};
struct store_duplicate {
	size_t item;
	enum store_why why;
	struct store_arg id; /* KEY, BODY */
	uint64_t last_ms;    /* SLOT */
};
struct store_stored {
	struct store_says says;
	uint64_t now_ms; /* when the entry was written */
	bool entry;      /* false: there was nothing new to write, and the turn's number is not used up */
	const struct store_duplicate *duplicates; /* items that are not stored: the rest is, durably */
	size_t n;
};
typedef void store_stored_fn(void *arg, const struct store_stored *reply);
/* At most 1,024 items. INVALID: a guard without its parts. */
BASE_MUSTUSE enum base_err store_journal_store(struct store_redis *r, const struct store_turn *turn,
	const struct store_item *items, size_t n, const struct store_bounds *bounds,
	store_stored_fn *fn, void *arg);

/* ---- settle */

enum store_how {
	STORE_MOVED, /* it stands in this turn's entry now (a retry, rewriting) */
	STORE_ENDED, /* done, expired or cancelled */
	STORE_DEAD,  /* becomes a dead letter */
};

/* How a delivery left its entry. */
struct store_end {
	uint32_t bit;
	enum store_how how;
	/* ENDED: */
	bool no_records; /* it never ran, or runs recorded nothing and cannot any more: nothing to do */
	bool only_run;   /* its one run ended by itself: the records go at once */
	uint64_t fence_ms; /* otherwise: the last moment at which a run's lease may still be open */
	/* ENDED without only_run, DEAD: the number of the last run (0: none) */
	uint32_t attempt;
	const uint8_t *id;   /* 16 bytes; ENDED, DEAD */
	const char *service; /* ENDED, DEAD */
	/* DEAD: a packed entry of this delivery alone, ready to go back: attempt + 1, budget = attempt + 1,
	 * no not_after; end, reason and ended_ms set */
	struct store_arg head, body;
	struct store_arg result; /* ENDED, DEAD: a packed JournalResult to keep; data NULL: none */
};
struct store_ends {
	uint32_t journal; /* owned, adopted ones too */
	uint32_t epoch;   /* the entry's id */
	uint64_t turn;
	uint32_t n_deliveries; /* of the entry, ended ones too */
	const struct store_end *ends;
	size_t n;
};
struct store_settled {
	struct store_says says;
	uint64_t now_ms;
};
typedef void store_settled_fn(void *arg, const struct store_settled *reply);
/* emits: turn's entry holds events that runs sent. Then Redis refuses all of it when it is out of
 * memory, and the caller settles those runs as failed. Each entry stands in entries once. */
BASE_MUSTUSE enum base_err store_journal_settle(struct store_redis *r, const struct store_turn *turn,
	bool emits, const struct store_ends *entries, size_t n, const struct store_bounds *bounds,
	store_settled_fn *fn, void *arg);

/* ---- after the end */

struct store_list {
	struct store_says says;
	const struct store_arg *items;
	size_t n;
};
typedef void store_list_fn(void *arg, const struct store_list *reply);

/* items: service, packed JournalResult, for each delivery of that event that has one. */
BASE_MUSTUSE enum base_err store_journal_result(
	struct store_redis *r, const uint8_t id[16], store_list_fn *fn, void *arg);
/* items: the ids that moved, in their order in turn's entry; at most max_bytes of bodies, at least one.
 * No items: no letter has such an id, and the turn is not used up. turn's head and body are not
 * looked at. The entry's deliveries have no not_after: it is the entry's time + the service's age. */
BASE_MUSTUSE enum base_err store_journal_redrive(struct store_redis *r, const struct store_turn *turn,
	const char *service, const uint8_t (*ids)[16], size_t n, uint64_t max_bytes,
	store_list_fn *fn, void *arg);
/* n: how many went. */
BASE_MUSTUSE enum base_err store_journal_purge(struct store_redis *r, const char *service,
	const uint8_t (*ids)[16], size_t n, store_count_fn *fn, void *arg);

/* items: the cursor to go on with ("0": that was all), then id, head, id, head, … in no order; a letter
 * may come twice. cursor "0" begins. */
BASE_MUSTUSE enum base_err store_journal_dead_list(struct store_redis *r, const char *service,
	const char *cursor, uint32_t about, store_list_fn *fn, void *arg);
/* items: head, payload; none when there is no such letter. */
BASE_MUSTUSE enum base_err store_journal_dead_get(struct store_redis *r, const char *service,
	const uint8_t id[16], store_list_fn *fn, void *arg);

#endif
