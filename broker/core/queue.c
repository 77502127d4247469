#include "broker/core/queue.h"

#include <stddef.h>
#include <utlist.h>

void brk_queue_push(struct brk_queue *q, struct brk_call *call)
{
	DL_APPEND(q->calls, call);
	if (!q->oldest)
		q->oldest = call;
	q->n++;
}

void brk_queue_push_front(struct brk_queue *q, struct brk_call *call)
{
	DL_PREPEND(q->calls, call);
	q->n++;
}

void brk_queue_remove(struct brk_queue *q, struct brk_call *call)
{
	if (q->oldest == call)
		q->oldest = call->next;
	DL_DELETE(q->calls, call);
	call->prev = call->next = NULL;
	q->n--;
}

struct brk_call *brk_queue_first(const struct brk_queue *q)
{
	return q->calls;
}

struct brk_call *brk_queue_newest(const struct brk_queue *q)
{
	return q->oldest ? q->calls->prev : NULL;
}

struct brk_call *brk_queue_last_back(const struct brk_queue *q)
{
	if (q->calls == q->oldest)
		return NULL;
	return q->oldest ? q->oldest->prev : q->calls->prev;
}
