/* The words of the delivery protocol: what is asked of Redis, and what it replies, as
 * plain structs. No function, and nothing of a library: the broker's pure core speaks
 * in them (broker/core/ask.h), journal.h and ops.h carry them to the real Redis, the
 * simulation to its own. What each Function refuses and changes stands in journal.h.
 *
 * Epochs are numbers from 1 on; a journal's name is the epoch that made it. Times are
 * Redis's, Unix milliseconds. What a reply points to is borrowed until its receiver
 * returns.
 */
#ifndef STORE_WORDS_H
#define STORE_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct store_arg {
	const void *data;
	size_t size;
};
#define STORE_ARG(text) ((struct store_arg){ (text), strlen(text) })

/* Why a Function did not do it; its error's first word. name, word, what it means. */
#define STORE_CODES(X) \
	X(DONE, "", "it did") \
	X(FENCED, "FENCED", "the epoch owns nothing any more") \
	X(REPEATED, "REPEATED", "this turn's entry, or a later one, is there") \
	X(SETTLED, "SETTLED", "one of the deliveries has ended before") \
	X(LEASE, "LEASE", "the run's lease is over") \
	X(SUPERSEDED, "SUPERSEDED", "a later run has begun, or the delivery ended") \
	X(LIMIT, "LIMIT", "the delivery has too many operations") \
	X(STALE, "STALE", "a later run has the key") \
	X(OOM, "OOM", "Redis is out of memory") \
	X(AWAY, "", "Redis takes no commands now") \
	X(LOST, "", "the connection broke: it may have happened or not") \
	X(BROKEN, "", "an answer or an error that should not be")

/* All but DONE, LOST and BROKEN mean that nothing was changed. */
enum store_code {
#define X(name, word, text) STORE_##name,
	STORE_CODES(X)
#undef X
		STORE_CODE__N
};

/* First in every reply; the rest is only there when code is DONE. */
struct store_says {
	enum store_code code;
	uint64_t
		number; /* FENCED: the last epoch of Redis; below one's own, it has lost its data */
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
struct store_adopted {
	struct store_says says;
	const uint32_t *journals; /* none: it beat meanwhile, or is not there */
	size_t n;
};
struct store_count {
	struct store_says says;
	uint64_t n;
};

/* ---- entries */

#define STORE_ENTRY_DELIVERIES 1024      /* most deliveries of an entry, and so most events */
#define STORE_ENTRY_BODY       (1 << 20) /* most bytes of a body with more than one event */
#define STORE_ENTRY_LANE       8         /* bytes of a lane's name */
#define STORE_HISTORY_MAX      10        /* most attempts that a delivery's history keeps */
#define STORE_HISTORY_TEXT     256 /* most bytes of worker and error of one attempt, together */

/* Whether a delivery has ended by the bitmap in `done`: as Redis counts, bit 0 is the highest of the
 * first byte. Beyond its end all bits are 0. */
static inline bool store_entry_ended(const void *bitmap, size_t size, size_t bit)
{
	return bit / 8 < size && (((const uint8_t *)bitmap)[bit / 8] & (0x80u >> bit % 8));
}

struct store_entry {
	uint32_t epoch;
	uint64_t turn;
	uint64_t written_ms;
	struct store_arg head, body,
		ended; /* ended: store_entry_ended(ended.data, ended.size, bit) */
};
struct store_page {
	struct store_says says;
	const struct store_entry *entries;
	size_t n; /* none: there is no more */
};

/* Who appends what where. Turns of an epoch grow by one; store, settle and redrive share them. */
struct store_turn {
	uint32_t epoch, journal;
	uint64_t turn;
	struct store_arg head,
		body; /* packed by store_entry_pack; data NULL: nothing is appended */
};

/* ---- store */

enum store_guard { STORE_GUARD_NONE, STORE_GUARD_KEY, STORE_GUARD_TIMER };

/* One submitted event, in the entry's order. */
struct store_item {
	uint32_t n_deliveries; /* as in the entry; 0: a timer's skipped slot, which has no event */
	bool has_lane;
	bool together; /* with the next one: when there is no room for a key of either, neither is stored; no timer */
	uint64_t lane, number; /* the lane's 8 bytes as a number */
	uint32_t meta_size, data_size; /* of its payload; when all say so, the entry takes less room (store/shared.h) */
	enum store_guard guard;
	/* KEY: */
	const char *scope;
	struct store_arg key, hash,
		id; /* hash: of the body, any bytes; id: 16 bytes, TIMER's too (or empty) */
	/* How long the key is known, up to a quarter longer: then it is one of its own kind, which no call has; 0: the
	 * bounds' dedupe_ms. */
	uint32_t ttl_ms;
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
	STORE_WHY_SLOT, /* not the next slot, or not its time yet: last_ms is the last one, id the last run's */
	STORE_WHY_FULL, /* dedupe_max, for it or another of its fate: 503 */
};
struct store_duplicate {
	size_t item;
	enum store_why why;
	struct store_arg id; /* KEY, BODY; SLOT: empty when none ran */
	uint64_t last_ms;    /* SLOT */
};
struct store_stored {
	struct store_says says;
	uint64_t now_ms; /* when the entry was written */
	bool entry; /* false: there was nothing new to write, and the turn's number is not used up */
	const struct store_duplicate
		*duplicates; /* items that are not stored: the rest is, durably */
	size_t n;
};

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
	bool only_run;     /* its one run ended by itself: the records go at once */
	uint64_t fence_ms; /* otherwise: the last moment at which a run's lease may still be open */
	/* ENDED without only_run, DEAD: the number of the last run (0: none) */
	uint32_t attempt;
	const uint8_t *id;   /* 16 bytes; ENDED, DEAD */
	const char *service; /* ENDED, DEAD */
	/* DEAD: a packed entry of this delivery alone, ready to go back: attempt + 1, budget = attempt + 1,
	 * no not_after; end, reason and ended_ms set */
	struct store_arg head, body;
	struct store_arg result; /* ENDED, DEAD: a packed JournalResult to keep; data NULL: none */
	uint32_t result_data; /* so many of its last bytes are the response's data: the rest is shared (store/shared.h) */
	bool alone; /* the event has, and had, no other delivery: nothing else is kept under its id */
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

/* ---- after the end */

struct store_list {
	struct store_says says;
	const struct store_arg *items;
	size_t n;
};

/* ---- runs and claims (ops.h) */

/* One run of a delivery, or of a call under its id. */
struct store_run {
	uint8_t id[16];
	const char *service;
	uint32_t attempt, epoch; /* a call's: its run's number, 0 */
	uint64_t lease_end_ms;   /* Redis's time; nothing is applied after it */
	uint64_t keep_until_ms;  /* the records live until then, unless the delivery ends before */
};

enum store_claim_kind {
	STORE_CLAIM_RUN, /* run it, under this id and run number; also when this very request (its id) has it:
	                  * it came again, by another broker */
	STORE_CLAIM_BUSY,   /* another run goes on until until_ms: 409 */
	STORE_CLAIM_ANSWER, /* response is the first one's */
	STORE_CLAIM_EVENT,  /* an event was accepted under this key: 202 with its id */
	STORE_CLAIM_BODY,   /* the key with another body: 422 */
	STORE_CLAIM_FULL,   /* dedupe_max: 503 */
};
struct store_claimed {
	struct store_says says;
	enum store_claim_kind kind;
	struct store_arg id;
	uint32_t run;
	uint64_t until_ms;
	struct store_arg response;
};

#endif
