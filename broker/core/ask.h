/* What the core wants of Redis, and what it is told: the other half of its seam.
 *
 * The core asks (an action, BRK_ASK); the shell carries it to Redis in the words of
 * store/journal.h and store/ops.h, on one connection, in the order of the actions; the
 * reply comes back as an input, brk_core_told, with the ticket that the ask had. Every
 * ask is told about exactly once, in any order. An ask that could not even be sent is
 * told AWAY, in a later input; one that went down with its connection LOST. After
 * brk_core_store(false) all that is open is told so; the core does not rely on which
 * comes first.
 *
 * What an ask points at is good until the next call into the core, what is told until
 * that call returns.
 */
#ifndef BROKER_CORE_ASK_H
#define BROKER_CORE_ASK_H

#include "store/words.h"

struct brk_core;

/* kind, struct of the reply: what of the union below it fills, and what it is told */
#define BRK_ASKS(X) \
	X(OPEN, opened) \
	X(BEAT, beat) \
	X(ADOPT, adopted) \
	X(LEAVE, count) \
	X(DROP, count) \
	X(READ, page) \
	X(STORE, stored) \
	X(SETTLE, settled) \
	X(RESULT, list) \
	X(REDRIVE, list) \
	X(PURGE, count) \
	X(DEAD_LIST, list) \
	X(DEAD_GET, list) \
	X(CLAIM, claimed) \
	X(ANSWER, count)

enum brk_ask_kind {
#define X(name, reply) BRK_ASK_##name,
	BRK_ASKS(X)
#undef X
		BRK_ASK__N
};

struct brk_ask {
	uint64_t ticket; /* from 1 on, never used twice in a core's life */
	enum brk_ask_kind kind;
	uint32_t epoch;   /* OPEN: the old one or 0; BEAT ADOPT LEAVE DROP: mine */
	uint32_t journal; /* DROP, READ */
	union {
		struct {
			uint32_t victim;
			uint64_t seen;
		} adopt;
		struct {
			uint32_t after_epoch, max_entries;
			uint64_t after_turn, max_bytes;
		} read;
		struct {
			struct store_turn turn;
			const struct store_item *items;
			size_t n;
		} store;
		struct {
			struct store_turn turn; /* head NULL: nothing moves, nothing is sent */
			const struct store_ends *entries;
			size_t n;
			bool emits; /* the entry has what runs send: OOM refuses it */
		} settle;
		struct {
			struct store_turn turn;   /* REDRIVE */
			const char *service;      /* not RESULT */
			const uint8_t (*ids)[16]; /* RESULT, DEAD_GET: one */
			size_t n;
			uint64_t max_bytes; /* REDRIVE */
			const char *cursor; /* DEAD_LIST; "0" begins */
			uint32_t about;
		} dead;
		struct {
			const char *scope;
			struct store_arg key, hash;
			uint8_t id[16];
			uint64_t until_ms;         /* CLAIM */
			uint32_t run;              /* ANSWER */
			struct store_arg response; /* ANSWER; data NULL: none to keep */
			bool again; /* ANSWER: there was another run before, which may go on */
		} key;
	};
};

struct brk_told {
	uint64_t ticket;
	enum brk_ask_kind kind;
	union {
		const struct store_says
			*says; /* first in each of the others; when its code is not DONE
		                                * nothing else of them may be looked at */
		const struct store_opened *opened;
		const struct store_beat *beat;
		const struct store_adopted *adopted;
		const struct store_count *count;
		const struct store_page *page;
		const struct store_stored *stored;
		const struct store_settled *settled;
		const struct store_list *list;
		const struct store_claimed *claimed;
	};
};

const char *brk_ask_name(enum brk_ask_kind kind); /* "STORE" */

#endif
