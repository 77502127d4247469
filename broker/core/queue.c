#include "broker/core/queue.h"

#include <stddef.h>
#include <utlist.h>

void brk_queue_push(struct brk_queue *q, struct brk_call *call)
{
	DL_APPEND(q->calls, call);
	q->n++;
}

void brk_queue_push_front(struct brk_queue *q, struct brk_call *call)
{
	DL_PREPEND(q->calls, call);
	q->n++;
}

void brk_queue_remove(struct brk_queue *q, struct brk_call *call)
{
	DL_DELETE(q->calls, call);
	call->prev = call->next = NULL;
	q->n--;
}

struct brk_call *brk_queue_first(const struct brk_queue *q)
{
	return q->calls;
}
