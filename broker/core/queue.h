/* What waits for one service: its calls. What came by itself stands in the order in which
 * it came; what came back from a worker (handed back, or lost with it) stands before
 * all of that. Who is next is decided in brk_overload_next and nowhere else; events have
 * lists of their own (delivery.h).
 */
#ifndef BROKER_CORE_QUEUE_H
#define BROKER_CORE_QUEUE_H

#include <stdint.h>

#include "broker/core/call.h"

struct brk_queue {
	struct brk_call *calls; /* utlist: the head's prev is the tail */
	struct brk_call
		*oldest; /* the first of those that came by themselves; NULL: there is none */
	uint32_t n;
};

void brk_queue_push(struct brk_queue *q, struct brk_call *call);
void brk_queue_push_front(struct brk_queue *q, struct brk_call *call); /* it came back */
void brk_queue_remove(struct brk_queue *q, struct brk_call *call);
struct brk_call *brk_queue_first(const struct brk_queue *q); /* NULL when empty */
struct brk_call *brk_queue_newest(
	const struct brk_queue *q); /* of those that came by themselves; NULL: none */
/* Of those that came back the one that has waited longest since; NULL: none. */
struct brk_call *brk_queue_last_back(const struct brk_queue *q);

#endif
