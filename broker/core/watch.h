/* Questions about events: what became of one, what there is, cancel it, dead letters; and
 * those who wait for an end.
 *
 * What lives is told out of memory; what has ended, and dead letters, Redis is asked for.
 * A question is a record while an ask of its is open, or while it waits for an end; it
 * is answered once. Its asker may be gone by then: the answer goes nowhere.
 */
#ifndef BROKER_CORE_WATCH_H
#define BROKER_CORE_WATCH_H

#include "broker/core/core.h"
#include "broker/core/answer.h"
#include "broker/core/delivery.h"
#include "broker/core/ledger.h"

#define BRK_MAX_QUESTIONS 65536
#define BRK_MAX_WAIT_MS   60000
#define BRK_MAX_LISTED    1000
#define BRK_DEAD_PLACES   256 /* services whose dead letters are looked through for one id */

struct brk_peer;
struct brk_watched;

struct brk_question {
	struct brk_question *prev, *next; /* all of them */
	struct brk_question *id_prev, *id_next;
	struct brk_watched *watched; /* it waits for an end */
	struct base_heap_node due;   /* then: until when */
	struct brk_asker asker;
	uint32_t what; /* a QueryKind */
	uint32_t open; /* asks that are not told yet */
	bool answered;
	bool unsure; /* it came when an event of its id might have been about to come here */
	uint8_t id[16];
};

struct brk_watch {
	struct brk_question *questions;
	uint32_t n;
	struct brk_watched *watched; /* uthash by id */
	struct base_heap due;
};

/* True: it was one of ours, and is answered or will be. query lies in the arena. */
bool brk_watch_query(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	const Pirn__Query *query);
void brk_watch_cancel(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item);
void brk_watch_leave(struct brk_core *core, const struct brk_peer *peer); /* it is gone */
void brk_watch_tick(struct brk_core *core);
uint64_t brk_watch_due(const struct brk_core *core);
void brk_watch_drain(struct brk_core *core); /* who waits is told what there is now */
void brk_watch_fini(struct brk_core *core);
void brk_watch_check(const struct brk_core *core);

/* Somebody waits for its event's end. */
bool brk_query_is_awaited(struct brk_core *core, const struct brk_delivery *delivery);
/* The delivery has ended, durably; the record goes right after. end->result, when there is one,
 * holds the packed JournalResult. */
void brk_query_ended(
	struct brk_core *core, const struct brk_delivery *delivery, const struct brk_end *end);
/* The delivery is not this broker's any more: another one will tell. */
void brk_query_forgotten(struct brk_core *core, const struct brk_delivery *delivery);

/* ---- between watch.c, page.c and letters.c */

struct brk_asked;

/* One more ask for it; NULL: memory. */
struct brk_ask *brk_question_ask(
	struct brk_core *core, enum brk_ask_kind kind, struct brk_question *q, uint64_t number);
/* Answered, or never to be: it goes when no ask of its is open any more. */
void brk_question_over(struct brk_core *core, struct brk_question *q);
uint32_t brk_question_limit(const Pirn__Query *query);

typedef void brk_question_fn(
	struct brk_core *core, struct brk_question *q, const Pirn__Query *query);
brk_question_fn brk_page_list;
brk_question_fn brk_letters_list, brk_letters_get, brk_letters_redrive, brk_letters_purge;
void brk_letters_told(struct brk_core *core, struct brk_question *q, const struct brk_asked *asked,
	const struct brk_told *told);

#endif
