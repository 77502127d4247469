/* What waits for one service: calls, first in, first out; what comes back from a
 * worker goes to the head. Durable events get a second lane here, and at least one
 * pop in eight; the lane is chosen in brk_queue_first and nowhere else.
 */
#ifndef BROKER_CORE_QUEUE_H
#define BROKER_CORE_QUEUE_H

#include <stdint.h>

#include "broker/core/call.h"

struct brk_queue {
	struct brk_call *calls; /* utlist: the head's prev is the tail */
	uint32_t n;
};

void brk_queue_push(struct brk_queue *q, struct brk_call *call);
void brk_queue_push_front(struct brk_queue *q, struct brk_call *call);
void brk_queue_remove(struct brk_queue *q, struct brk_call *call);
struct brk_call *brk_queue_first(const struct brk_queue *q); /* NULL when empty */

#endif
