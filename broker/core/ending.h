/* How a delivery's run ends, and what follows: done, another run later, or dead; and the
 * ends without a run (expired, cancelled). Each becomes an end that a SETTLE carries; the
 * delivery is ENDING or MOVING until that was answered, and nobody hears of it before.
 *
 * What a run's answer means: 2xx and 3xx are done; 408, 425, 429, 5xx and every reason are
 * failures, which run again while the budget and the event's age allow; any other 4xx is
 * dead at once. A lost worker counts as a death of the delivery, too. A failure for want of
 * Pirn's own Redis costs no attempt: the budget of attempts begins one later.
 */
#ifndef BROKER_CORE_ENDING_H
#define BROKER_CORE_ENDING_H

#include "broker/core/core.h"
#include "broker/core/delivery.h"
#include "broker/core/ledger.h"

#define BRK_DEATHS_ALONE  2 /* from here on it runs alone in its worker */
#define BRK_DEATHS_POISON 5
#define BRK_MAX_RESULT    (1u << 20) /* bytes of meta and data that are kept of a result */

/* What a run came to. */
struct brk_outcome {
	uint32_t status, reason, retry_after_ms;
	bool recorded; /* it left records, or nobody knows */
	bool no_state; /* it failed for want of Redis: drought.h */
	bool doubt;    /* it may still go on, or what it sent may still come to Redis */
	const char *error, *worker;
	struct brk_payload payload;
	const uint8_t *sent; /* a packed Emits; UNTRUSTED */
	size_t sent_size;
};

/* A RUNNING delivery, whose run has ended. */
void brk_ending_run(struct brk_core *core, struct brk_delivery *delivery, uint64_t started_us,
	struct brk_outcome *outcome);
/* A READY or WAITING one that is too old. */
void brk_ending_expire(struct brk_core *core, struct brk_delivery *delivery);
/* Cancels it. What waits ends at once; what runs has its result discarded and its later operations refused;
 * what moves ends as soon as it has. False: it ends already, or is not stored yet. */
bool brk_event_cancel(struct brk_core *core, struct brk_delivery *delivery);
/* It is READY or WAITING now: what came through too many services ends. */
void brk_ending_look(struct brk_core *core, struct brk_delivery *delivery);
/* An end was answered: tells of it (brk_query_ended), and gives the delivery back. */
void brk_ending_settled(struct brk_core *core, struct brk_end *end);

#endif
