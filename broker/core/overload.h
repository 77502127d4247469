/* What may wait (G6), and who waits no longer: so that what is admitted stays fast however
 * much more is asked for.
 *
 * Bounds. A call that must wait is refused when the service's queue has queue.items or
 * queue.bytes (QUEUE_FULL, 429), or when as many of its calls, or bytes of them, wait
 * already as are three times what the broker has left (OVERLOADED, 503): so one service
 * alone has three quarters of the room at most, two that ask without end three sevenths
 * each, and there is always some for the next one. A call that has waited for queue.age is
 * answered OVERLOADED.
 *
 * Controlled delay (CoDel, with the limits of a server instead of a router's): a service
 * becomes overloaded when, for interval (100 ms), calls have waited without a break and none
 * was dispatched that had waited less than target (5 ms), nor less than the service takes for
 * BRK_OVERLOAD_CHANCE calls: so many stand before few places by chance now and then, at four
 * fifths of what these can do, and are gone again. (With one place and no such patience 5 to
 * 15 of 100 calls were refused at that load.) While it is, a call waits for
 * target, then it is answered OVERLOADED; and the newest is dispatched first, because its
 * client is the likeliest to wait still. When it is not, calls wait to their deadline, first
 * come first served.
 *
 * The end is judged by the balance of each interval: it stays overloaded while at least one
 * call was given up for four that ended, which is what a quarter more than it can do looks
 * like. (Where few can end in an interval a balance lasts longer: until eight have, or five intervals.) An empty queue would be a poor sign: newest first and with all that is old thrown
 * out, it is empty now and then at three times the load, and each time calls would wait for
 * another interval until that is seen.
 *
 * Runs that are longer than the limits would starve their workers that way: a slot would
 * mostly become free while nobody is allowed to wait. So target is at least the mean of the
 * service's last runs (of its timeout, as long as none has ended) and interval at least twice
 * that; and the newest call is never given up for its delay alone. Where many run at once that
 * is longer than need be: from its second interval on an overload lets nobody wait for more
 * than three times the mean wait of those who were dispatched in the interval before. (The
 * longest wait would be a poor measure: one pause of this machine in an interval would let
 * everybody wait for as long in the next.)
 *
 * Not given up for their delay either: calls that came back from a worker (handed back by one
 * that drains, or lost with it). They were let in before, are no more than the workers'
 * places, and go first in both modes; queue.age counts from their return. Nor does anybody
 * wait for too long while no worker is there, or when this process itself did not run: both
 * say nothing of the load, and the interval begins anew. (One that has just come and granted
 * nothing yet is not there either. When the first has, the delay of all who wait begins: a
 * restart of the only worker costs nobody's call.)
 *
 * Retry-After is a second, half of it more or less by chance, so that those who were refused
 * together do not come back together.
 *
 * Events have bounds of their own (queue.events, event_bytes, event_age), which refuse them
 * before they are accepted (QUEUE_FULL); nothing that was accepted is given up here.
 */
#ifndef BROKER_CORE_OVERLOAD_H
#define BROKER_CORE_OVERLOAD_H

#include "base/heap.h"
#include "broker/core/core.h"

struct brk_call;
struct brk_service;

#define BRK_OVERLOAD_SHARE 3u /* a service's calls may be so many times the room that is left */
#define BRK_OVERLOAD_CHANCE 16u
#define BRK_OVERLOAD_ENDED 4u /* it goes on while one is given up for so many that end */

/* In each service. */
struct brk_overload {
	uint64_t bytes, event_bytes; /* bounds out of the manifest; 0: none */
	uint32_t age_ms, target_ms, interval_ms, events, event_age_ms;
	uint64_t waiting_bytes;    /* of calls in the queue */
	uint64_t open_event_bytes; /* of deliveries that have not ended */
	uint64_t since_ms;         /* calls wait: since when none waited for less than target */
	bool is_served;            /* a worker has granted something … */
	uint64_t served_ms;        /* … and since when the service is: no delay is counted from before */
	bool is_on;
	uint32_t intervals;       /* is_on: that this balance lasts */
	uint64_t until_ms;        /* is_on: when this interval's balance is drawn … */
	uint64_t ended, given_up; /* … and what both were when it began */
	uint64_t dispatched;      /* in it … */
	uint64_t waits_ms;        /* … and how long they waited, all together */
	uint64_t limit_ms;        /* what those of the interval before allow */
	struct base_heap_node
		due;   /* in core->overloads: not later than when something is to be done */
	uint64_t shed; /* calls given up for their delay or age, ever */
};

void brk_overload_configure(
	struct brk_core *core, struct brk_service *service, const Pirn__QueueConf *conf);
void brk_overload_forget(struct brk_core *core, struct brk_service *service);
/* After a change of the workers, or of what they granted. */
void brk_overload_refresh(struct brk_core *core, struct brk_service *service);

/* NONE, or why a call of that size may not wait. */
uint32_t brk_overload_judge(
	const struct brk_core *core, const struct brk_service *service, uint64_t size);
/* NONE, or why an event of that size is not accepted. */
uint32_t brk_overload_judge_event(
	const struct brk_core *core, const struct brk_service *service, uint64_t size);

/* The call came to the queue, or left it, to run or otherwise: call.c's matter alone. */
void brk_overload_came(struct brk_core *core, struct brk_call *call);
void brk_overload_left(struct brk_core *core, struct brk_call *call, bool runs);
/* Whom to dispatch next; the queue is not empty. */
struct brk_call *brk_overload_next(const struct brk_core *core, const struct brk_service *service);
/* What to say as Retry-After to whom a bound refuses. */
uint32_t brk_overload_retry_ms(struct brk_core *core);

void brk_overload_tick(struct brk_core *core);
uint64_t brk_overload_due(const struct brk_core *core);

#endif
