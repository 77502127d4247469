/* What may wait (G6), and who waits no longer: so that what is admitted stays fast however
 * much more is asked for.
 *
 * Bounds of a service's queue (manifest: queue) refuse at SUBMIT: count and bytes with
 * QUEUE_FULL (429). A call that has waited for queue.age is answered OVERLOADED (503).
 *
 * Controlled delay (CoDel, with the limits of a server instead of a router's): a service
 * is overloaded from the moment on at which calls have waited without a break for
 * interval (100 ms); until its queue is empty, or empties faster than target. While it is,
 * a call waits for target (5 ms) at most, then it is answered OVERLOADED; and the newest
 * is dispatched first, because its client is the likeliest to wait still. When it is not,
 * calls wait to their deadline, first come first served.
 *
 * Runs that are longer than the limits would starve their workers that way: a slot would
 * mostly become free while nobody is allowed to wait. So target is at least the mean of
 * the service's last runs and interval at least twice that, and the newest call is never
 * given up for its delay alone.
 *
 * Events have bounds of their own (queue.events, event_bytes, event_age), which refuse them
 * before they are accepted; nothing that was accepted is given up here.
 */
#ifndef BROKER_CORE_OVERLOAD_H
#define BROKER_CORE_OVERLOAD_H

#include "base/heap.h"
#include "broker/core/core.h"

struct brk_call;
struct brk_service;

/* In each service. */
struct brk_overload {
	uint64_t bytes, event_bytes; /* bounds out of the manifest; 0: none */
	uint32_t age_ms, target_ms, interval_ms, events, event_age_ms;
	uint64_t waiting_bytes;      /* of calls in the queue */
	uint64_t since_ms;           /* since when calls have waited without a break; 0: none waits */
	bool is_on;
	struct base_heap_node due;   /* in core->overloads: when somebody has waited too long */
	uint64_t shed;               /* calls, ever */
};

void brk_overload_configure(
	struct brk_core *core, struct brk_service *service, const Pirn__QueueConf *conf);
void brk_overload_forget(struct brk_core *core, struct brk_service *service);

/* NONE, or why a call of that size may not wait. */
uint32_t brk_overload_judge(
	const struct brk_core *core, const struct brk_service *service, uint64_t size);
/* NONE, or why an event of that size is not accepted. */
uint32_t brk_overload_judge_event(
	const struct brk_core *core, const struct brk_service *service, uint64_t size);

/* The call came to the queue, or left it: call.c's matter alone. */
void brk_overload_came(struct brk_core *core, struct brk_call *call);
void brk_overload_left(struct brk_core *core, struct brk_call *call);
/* Whom to dispatch next; the queue is not empty. */
struct brk_call *brk_overload_next(const struct brk_core *core, const struct brk_service *service);

void brk_overload_tick(struct brk_core *core);
uint64_t brk_overload_due(const struct brk_core *core);

#endif
