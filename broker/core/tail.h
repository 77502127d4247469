/* What passes, for whoever looks on: events that were accepted, ends of their deliveries,
 * attempts that failed, calls that were answered.
 *
 * Nobody is subscribed to it. While somebody has asked within the last BRK_TAIL_MS, what
 * passes is noted in a ring; a question (TAIL) brings the cursor of the last answer and gets
 * what was noted since. So a watcher that goes away leaves nothing behind, one that is slow
 * misses what the ring has lost meanwhile (and is told how much), and with nobody there all
 * of this is one comparison. The ring's memory is taken at the first question.
 *
 * The type of an event is known when it comes; a delivery does not keep it. For the ends it
 * is looked up in what was noted, as long as that stands there.
 */
#ifndef BROKER_CORE_TAIL_H
#define BROKER_CORE_TAIL_H

#include "broker/core/core.h"

#define BRK_TAIL_NOTES 1024u /* power of two */
#define BRK_TAIL_TEXT  128u  /* of a type, source or subject, with the NUL; the rest is cut */
#define BRK_TAIL_MS    10000u

struct brk_asker;
struct brk_call;
struct brk_delivery;
struct brk_peer;
struct brk_service;

struct brk_tail_topic {
	uint8_t id[16];
	char type[BRK_TAIL_TEXT], source[BRK_TAIL_TEXT], subject[BRK_TAIL_TEXT];
};

struct brk_tail_note {
	uint8_t id[16];
	uint32_t what, status, reason, attempt;
	uint64_t at_ms, took_us;
	char service[64];
	uint64_t topic; /* the number of a topic; 0: none */
};

struct brk_tail {
	uint64_t until_ms;             /* in now_ms's time; 0: nobody looks on */
	uint64_t n_notes, n_topics;    /* made so far; number i lies at i modulo BRK_TAIL_NOTES */
	struct brk_tail_note *notes;   /* NULL: nobody ever has */
	struct brk_tail_topic *topics; /* as many */
	uint64_t by_id[BRK_TAIL_NOTES]; /* the number of the topic whose id falls there last; 0: none */
};

#define BRK_TAILED(core) ((core)->tail.until_ms > (core)->now_ms)

/* Each only when BRK_TAILED. */
void brk_tail_topic(struct brk_core *core, const Pirn__Item *item); /* an event without a service comes */
void brk_tail_accepted(struct brk_core *core, const struct brk_delivery *delivery);
/* what: a NoteKind. took_us 0: not known. */
void brk_tail_delivery(struct brk_core *core, const struct brk_delivery *delivery, uint32_t what,
	uint32_t status, uint32_t reason);
void brk_tail_call(struct brk_core *core, const struct brk_call *call, uint32_t status, uint32_t reason);

/* True: it was a TAIL. */
bool brk_tail_query(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	const Pirn__Query *query);
void brk_tail_fini(struct brk_core *core);

#endif
