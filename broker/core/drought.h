/* Drought: a worker that cannot reach Pirn's Redis, or is refused by it. Runs that need state
 * fail there, and say so: their RESULT has the flag NO_STATE. Such a failure is no evidence
 * against the service, nor against the worker in general: the breaker and the ejection take
 * it for nothing, and an event's attempt is not counted (ending.c). Otherwise every outage of
 * Redis would open the breakers of all that keep state, and hold it back for long after.
 *
 * Something has to hold back those that would only fail, though. So the worker is dry for
 * BRK_DROUGHT_MS, half of it more or less by chance, from the first such failure on:
 *
 * - it gets nothing of that service while another worker of it is not dry;
 * - while all are, events wait. Calls go to the workers as ever: there the service itself
 *   answers, at once (the worker does not wait for a Redis that is not there), and what needs no
 *   state goes well.
 *
 * The next failure of that kind, when that is over, begins it anew: while Redis is away, the
 * events that a service has places for are tried about twice a second, at the cost of a
 * settle each; when Redis is back they go on within that time, at the pace of their credit.
 *
 * A dry worker stays in the heap of the ready ones, without free credit. It says nothing
 * that can be abused: a caller's short time that is over in a wait for Redis is not told of
 * as one (worker/request.h).
 */
#ifndef BROKER_CORE_DROUGHT_H
#define BROKER_CORE_DROUGHT_H

#include "base/heap.h"
#include "broker/core/core.h"

#define BRK_DROUGHT_MS 500u

struct brk_call;
struct brk_link;
struct brk_service;

/* In each link. */
struct brk_drought {
	uint64_t until_ms;         /* dry until then; 0: it is not. Dry ones are ready ones */
	struct base_heap_node due; /* dry: in core->droughts */
};

/* The run of a RUNNING call was answered (reason NONE: with status): that goes to the breaker, or, when it
 * failed for want of state, the worker is dry. Before the call's state changes. */
void brk_drought_ran(struct brk_core *core, struct brk_call *call, uint32_t reason, uint32_t status,
	bool no_state);
void brk_drought_end(struct brk_core *core, struct brk_link *link); /* if it is dry */
/* Its credit is of no use now. */
bool brk_drought_spares(const struct brk_link *link);
/* Workers came or went. */
void brk_drought_look(struct brk_core *core, struct brk_service *service);
/* When an event that failed that way runs again. */
uint32_t brk_drought_pause_ms(struct brk_core *core);
void brk_drought_tick(struct brk_core *core);
uint64_t brk_drought_due(const struct brk_core *core);
void brk_drought_check(const struct brk_core *core, const struct brk_service *service);

#endif
