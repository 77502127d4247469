/* The broker's books: which journals are its own, which entries lie in them, which
 * delivery stands where; and the commits, by which they change.
 *
 * A commit is one STORE or one SETTLE. The newest of each kind collects what the inputs
 * bring; brk_ledger_turn sends them, under the next turn's number, as long as fewer than
 * BRK_COMMITS of the kind are unanswered; what comes meanwhile goes together, so that
 * commits grow with the load. A commit is kept until it was told what became of it: one
 * that went down with its connection is looked up under the next epoch (recover.c), and
 * what had not happened is collected again. Nothing is ever sent a second time as it was.
 *
 * An entry's body is one block, and its deliveries' payloads are parts of it. It goes when
 * its last delivery has left it, by an end or by a move.
 */
#ifndef BROKER_CORE_LEDGER_H
#define BROKER_CORE_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/pool.h"
#include "broker/core/core.h"
#include "broker/core/delivery.h"

#define BRK_COMMITS 4 /* of a kind, unanswered */

/* ---- journals and entries */

struct brk_journal {
	uint32_t number;
	bool adopted; /* read, settled and dropped; nothing is appended to it */
	struct brk_journal *next;
	struct brk_entry *entries; /* those with a living delivery, in the order they came here */
	uint32_t n_entries;
	/* adopted ones: */
	uint32_t read_epoch; /* the last entry that was taken over: reading goes on behind it */
	uint64_t read_turn;
	bool reading;           /* a READ, or the DROP, is under way */
	bool loaded;            /* there is no more to read */
	uint64_t retry_at;      /* in now_ms's time; nothing is asked before */
	uint64_t fence_base_ms; /* Redis's time: runs of the owner before were sent before this */
};

struct brk_entry {
	struct brk_journal *journal;
	struct brk_entry *prev, *next;
	uint32_t epoch;
	uint64_t turn;
	uint64_t written_ms;
	uint32_t n;      /* deliveries, as Redis counts them */
	uint32_t n_live; /* those that are here */
	uint32_t mark;   /* commit.c: place in the list that is being made, + 1 */
	struct base_block *body;
	struct brk_delivery **deliveries; /* by bit; NULL: it has left */
	struct brk_delivery *one;         /* their room when n is 1 */
	struct base_block *room;          /* otherwise */
};

/* ---- commits */

/* An event on its way into Redis, and who waits for the answer. */
struct brk_arrival {
	struct brk_delivery *delivery;
	uint32_t peer, slot, generation;
	bool waits;    /* the sender has no answer yet */
	bool has_lane; /* false: stored anew after Redis lost it */
	uint64_t lane, number;
	uint64_t decide_at;       /* in now_ms's time: then it is UNDECIDED */
	struct base_block *guard; /* key, then hash; NULL: none */
	uint16_t key_size, hash_size;
};

/* A delivery that leaves its entry. */
struct brk_end {
	struct brk_delivery *delivery;
	enum store_how how;
	bool no_records, only_run; /* as in struct store_end */
	uint32_t end;              /* a JournalEnd; 0: MOVED */
	uint32_t reason, status;
	uint64_t ended_ms;
	struct base_block *letter; /* DEAD: a packed entry */
	struct base_block *result; /* a packed JournalResult; NULL: none to keep */
};

enum brk_commit_state {
	BRK_COMMIT_COLLECTING,
	BRK_COMMIT_ASKED,    /* on its way, or told LOST and not looked up yet */
	BRK_COMMIT_LOST,     /* its connection broke */
	BRK_COMMIT_CHECKING, /* a READ looks whether it happened */
};

struct brk_commit {
	enum brk_ask_kind kind; /* STORE or SETTLE */
	enum brk_commit_state state;
	struct brk_commit *prev, *next;
	uint32_t epoch, journal; /* as it was asked */
	uint64_t turn;
	struct base_buf head, body;                              /* of the entry */
	struct brk_delivery *deliveries[STORE_ENTRY_DELIVERIES]; /* of the entry, by bit */
	uint32_t n_deliveries;
	union {
		struct brk_arrival arrivals[STORE_ENTRY_DELIVERIES]; /* STORE: one each */
		struct brk_end ends[STORE_ENTRY_DELIVERIES];         /* SETTLE */
	};
	uint32_t n;         /* of them */
	uint64_t letters;   /* SETTLE: bytes of letters and results */
	uint64_t decide_at; /* STORE: the earliest of its arrivals */
};

struct brk_ledger {
	struct brk_journal *journals;
	struct brk_journal *own;             /* where commits go; NULL: no epoch yet */
	uint64_t turn;                       /* the last that was used under the epoch */
	struct brk_commit *stores, *settles; /* oldest first; the last may be collecting */
	struct brk_commit *free_commits;
	uint32_t n_free;
	uint32_t n_stores, n_settles; /* unanswered */
	uint64_t retry_at;            /* Redis took nothing: no commit is sent before */
	uint32_t n_entries;
	struct brk_end
		*homeless; /* ends of what Redis has lost: settled when it stands there again */
	size_t n_homeless, homeless_capacity;
	/* of one ask; good until the next input */
	struct store_item *items;
	struct store_ends *list;
	struct store_end *ends;
};

BASE_MUSTUSE enum base_err brk_ledger_init(struct brk_core *core);
void brk_ledger_fini(struct brk_core *core);

/* Adds it to the STORE that collects; its delivery is ARRIVING, or MOVING when Redis has lost it.
 * payload is copied. NOMEM: nothing changed. */
BASE_MUSTUSE enum base_err brk_ledger_store(struct brk_core *core,
	const struct brk_arrival *arrival, const struct brk_payload *payload);
/* Adds it to the SETTLE that collects; its delivery is MOVING or ENDING and has an entry. Takes end's
 * blocks. A MOVED delivery is written as it is now. Out of memory it is kept for later. */
void brk_ledger_settle(struct brk_core *core, const struct brk_end *end);

bool brk_ledger_pending(const struct brk_core *core); /* a turn would send something */
void brk_ledger_turn(struct brk_core *core);
uint64_t brk_ledger_due(const struct brk_core *core);
void brk_ledger_tick(struct brk_core *core); /* who waits for too long is told so */

void brk_ledger_stored(
	struct brk_core *core, struct brk_commit *commit, const struct brk_told *told);
void brk_ledger_settled(
	struct brk_core *core, struct brk_commit *commit, const struct brk_told *told);

/* The turn for a REDRIVE; false: there is no epoch now. */
bool brk_ledger_take_turn(struct brk_core *core, struct store_turn *out);

/* ---- entries */

/* A new one with room for n deliveries, none of which stands in it yet; takes a reference to body.
 * NULL: memory. */
struct brk_entry *brk_entry_new(struct brk_core *core, struct brk_journal *journal, uint32_t epoch,
	uint64_t turn, uint64_t written_ms, uint32_t n, struct base_block *body);
void brk_entry_enter(
	struct brk_entry *entry, struct brk_delivery *delivery, uint32_t bit, uint32_t body_at);
/* The last one to leave ends the entry. */
void brk_entry_leave(struct brk_core *core, struct brk_delivery *delivery);
void brk_entry_close(struct brk_core *core, struct brk_entry *entry); /* goes when it is empty */

struct brk_journal *brk_journal_find(const struct brk_core *core, uint32_t number);
struct brk_journal *brk_journal_new(
	struct brk_core *core, uint32_t number, bool adopted);             /* NULL: memory */
void brk_journal_free(struct brk_core *core, struct brk_journal *journal); /* has no entries */

#endif
