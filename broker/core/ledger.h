/* The broker's books: which journals are its own, which entries lie in them, which
 * delivery stands where; and the commits, by which they change.
 *
 * A commit is one STORE or one SETTLE. The newest of each kind collects what the inputs
 * bring; brk_ledger_turn sends it, under the next turn's number, when none of its kind is
 * unanswered (conf.gather); what comes meanwhile goes together, so that commits grow with
 * the load. A few ends that nobody waits for let stores go without them for a moment
 * (conf.ends_ms). A full one leaves as long as fewer than BRK_COMMITS of the kind are
 * unanswered. A commit is kept until it was told what became of it: one that went down
 * with its connection is looked up under the next epoch (recover.c), and what had not
 * happened is collected again. Nothing is ever sent a second time as it was.
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
	struct brk_entry *look; /* where rewriting goes on; NULL: at the start */
	/* adopted ones: */
	uint32_t read_epoch; /* the last entry that was taken over: reading goes on behind it */
	uint64_t read_turn;
	uint64_t ticket;        /* of the READ, or the DROP, that is under way; 0: none */
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
	uint32_t mark;   /* settle list: its place in the one that is made, + 1 */
	uint32_t slot;   /* in the slab */
	struct base_block *body;
	struct brk_delivery **deliveries; /* by bit; NULL: it has left */
	struct brk_delivery *one;         /* their room when n is 1 */
	struct base_block *room;          /* otherwise */
};

/* ---- commits */

/* An event on its way into Redis, and who waits for the answer. */
struct brk_arrival {
	struct brk_delivery *delivery; /* the first of its deliveries; NULL: a timer's skipped slot, which has none */
	uint32_t bit, n; /* where they stand in the commit's entry, and how many there are */
	uint32_t peer, slot, generation;
	bool waits;    /* the sender has no answer yet */
	bool promised; /* it was accepted before: it must be stored, whatever comes */
	bool has_lane; /* false: it is stored anew after Redis has lost it */
	bool fanned;   /* it named no service */
	bool together; /* it has the fate of the next one */
	bool sent;     /* by a call's run: slot and generation are that call's here, and nobody else's */
	uint64_t lane, number;
	uint64_t decide_at;       /* in now_ms's time: then it is UNDECIDED */
	struct base_block *guard; /* key, then hash; or a timer's name; NULL: none */
	uint16_t key_size, hash_size;
	uint32_t key_ttl_ms; /* 0: the bounds' */
	uint64_t previous_ms, slot_ms; /* of a timer; slot 0: it is none */
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
	uint32_t result_data;      /* how many of its bytes, the last, are the response's data */
	struct brk_emits *emits;   /* events that leave with it (emit.h); NULL: none */
};

enum brk_commit_state {
	BRK_COMMIT_COLLECTING,
	BRK_COMMIT_SEALED, /* to be sent as it is */
	BRK_COMMIT_ASKED,
	BRK_COMMIT_LOST,     /* its connection broke, or nobody knows what the reply means */
	BRK_COMMIT_CHECKING, /* a READ looks whether it happened */
};

struct brk_commit {
	enum brk_ask_kind kind; /* STORE or SETTLE */
	enum brk_commit_state state;
	struct brk_commit *prev, *next;
	uint64_t ticket;         /* of the ask that is under way; 0: none */
	uint32_t epoch, journal; /* as it was asked */
	uint64_t turn;
	struct base_buf head, body;                              /* of the entry */
	struct brk_delivery *deliveries[STORE_ENTRY_DELIVERIES]; /* of the entry, by bit */
	uint32_t body_at[STORE_ENTRY_DELIVERIES]; /* and where their payloads begin */
	uint32_t n_deliveries;
	union {
		struct brk_arrival arrivals[STORE_ENTRY_DELIVERIES]; /* STORE: one for each event */
		struct brk_end ends[STORE_ENTRY_DELIVERIES];         /* SETTLE */
	};
	uint32_t n;         /* of them */
	bool emits;         /* SETTLE: some of its ends send events */
	uint64_t letters;   /* SETTLE: bytes of letters and results */
	bool pressing;      /* SETTLE: somebody waits for one of its ends, or what follows it does */
	uint64_t began_at;  /* in now_ms's time */
	uint64_t decide_at; /* STORE: the earliest of its arrivals; UINT64_MAX: nobody waits */
};

struct brk_commits {
	struct brk_commit *list; /* oldest first; the last may be collecting */
	uint32_t n_open;         /* ASKED, LOST or CHECKING */
};

typedef void brk_told_commit(
	struct brk_core *core, struct brk_commit *commit, const struct brk_told *told);

struct brk_ledger {
	struct brk_journal *journals;
	struct brk_journal *own; /* where commits go; NULL: no epoch yet */
	uint64_t turn;           /* the last that was used under the epoch */
	struct brk_commits stores, settles;
	struct brk_commit *spare;
	uint32_t n_spare;
	uint64_t stored_at; /* the last STORE was sent, in now_ms's time */
	uint64_t retry_at; /* Redis took nothing: no commit is sent before */
	uint64_t check_at; /* Redis told nothing: no lost one is looked up before */
	struct brk_end
		*homeless; /* ends of what Redis has lost: settled when it stands there again */
	size_t n_homeless, homeless_capacity;
	struct brk_end *held; /* ends whose events Redis has no memory for: settled again at held_at */
	size_t n_held, held_capacity;
	uint64_t held_at;
	/* of one ask; good until the next input */
	struct store_item *items;
	struct store_ends *lists;
	struct store_end *ends;
};

BASE_MUSTUSE enum base_err brk_ledger_init(struct brk_core *core);
void brk_ledger_fini(struct brk_core *core); /* after brk_ledger_forget */

/* Events that arrive together: their deliveries stand one after another in the one list, arrival->n of
 * them for each, and have no entry. */
struct brk_parcel {
	const struct brk_arrival *arrivals;
	const struct brk_payload *payloads;
	uint32_t n;
	struct brk_delivery *const *deliveries;
};
/* Adds them to one STORE, the one that collects or another. Payloads are copied, guards taken. NOMEM:
 * nothing changed. */
BASE_MUSTUSE enum base_err brk_ledger_store(struct brk_core *core, const struct brk_parcel *parcel);
/* The ends that are collected wait no longer than they must: somebody asks for one of them now. */
void brk_ledger_press(struct brk_core *core);
/* Adds it to the SETTLE that collects; its delivery is MOVING or ENDING. Takes end's blocks and emits. A MOVED
 * delivery is written as it is now. There must be memory. */
void brk_ledger_settle(struct brk_core *core, const struct brk_end *end);

/* So much waits to be settled that nobody should add to it by himself: a million events may grow too old
 * at once. */
bool brk_ledger_is_behind(const struct brk_core *core);
bool brk_ledger_pending(const struct brk_core *core); /* a turn would send something */
void brk_ledger_turn(struct brk_core *core);
uint64_t brk_ledger_due(const struct brk_core *core);
void brk_ledger_tick(struct brk_core *core);           /* who waits for too long is told so */
bool brk_ledger_is_empty(const struct brk_core *core); /* no commit, sent or not */
/* The next turn's number, for a REDRIVE; false: no commit may be sent now. */
bool brk_ledger_take_turn(struct brk_core *core, struct store_turn *out);

/* ---- commit.c: what they have in common */

/* One that collects, with room for so much more in its entry. */
struct brk_room {
	uint64_t bytes;
	uint32_t deliveries, events; /* SETTLE: events are ends */
};
struct brk_commit *brk_commit_get(
	struct brk_core *core, enum brk_ask_kind kind, const struct brk_room *room);
void brk_commit_seal(struct brk_core *core, struct brk_commit *commit);
/* Out of its list; its arrivals or ends must be somebody else's by now. */
void brk_commit_give(struct brk_core *core, struct brk_commit *commit);
/* Adds one event with n deliveries to the commit's entry. NOMEM: nothing changed. */
BASE_MUSTUSE enum base_err brk_commit_write(struct brk_commit *commit,
	struct brk_delivery *const *deliveries, uint32_t n, const struct brk_arrival *arrival,
	const struct brk_payload *payload);
/* The entry that a commit has made, still without deliveries; NULL: it made none. */
struct brk_entry *brk_commit_entry(
	struct brk_core *core, const struct brk_commit *commit, uint64_t written_ms);

/* What its ask says of the turn. */
struct store_turn brk_commit_turn(const struct brk_commit *commit);

/* ---- store.c, settling.c: the two kinds */

void brk_stores_send(struct brk_core *core, struct brk_commit *commit, struct brk_ask *ask);
void brk_settles_send(struct brk_core *core, struct brk_commit *commit, struct brk_ask *ask);
brk_told_commit brk_stores_told, brk_settles_told;
/* It happened; what it stored stands there, but for what the bitmap shows as ended: those are stored
 * again, to learn why. */
void brk_stores_happened(
	struct brk_core *core, struct brk_commit *commit, const struct store_entry *found);
void brk_settles_happened(struct brk_core *core, struct brk_commit *commit, uint64_t now_ms);
/* It did not: all of it is collected again, but for those that nobody waits for any more. */
void brk_stores_again(struct brk_core *core, struct brk_commit *commit);
void brk_settles_again(struct brk_core *core, struct brk_commit *commit);

/* An end whose delivery stands in no entry now: settled as soon as it does. */
void brk_ledger_keep(struct brk_core *core, const struct brk_end *end);
/* What was held is settled again. */
void brk_ledger_release(struct brk_core *core);
/* It will not be settled by us: what hangs off it goes. */
void brk_end_drop(struct brk_core *core, struct brk_end *end);
/* A delivery that is to stand in an entry now does; new: it has just been accepted. */
void brk_stores_stand(struct brk_core *core, const struct brk_commit *commit,
	struct brk_entry *entry, uint32_t bit, bool is_new);

/* ---- recover.c: what nobody was told about */

/* Looks up what was lost, now that there is an epoch. */
void brk_recover(struct brk_core *core);
/* Everything is somebody else's now: senders hear MOVED, workers CANCEL, and all is forgotten. What was
 * promised without being stored is kept, to be stored anew. reason NONE: nobody hears, nothing is kept. */
void brk_ledger_forget(struct brk_core *core, uint32_t reason);
/* Redis has lost everything: what lives here is stored anew. */
void brk_ledger_restore(struct brk_core *core);

/* ---- rewrite.c */

/* Moves what lives of old, mostly ended entries together. */
void brk_rewrite_look(struct brk_core *core);

/* ---- entries */

/* A copy of an entry's body. NULL: memory. */
struct base_block *brk_body_new(struct brk_core *core, const uint8_t *bytes, size_t size);
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
