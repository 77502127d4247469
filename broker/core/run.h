/* A delivery's run is a call without a client: so dispatch, credit, the worker's loss and
 * the matching of results are one mechanism for both. It begins RUNNING and ends; it never
 * waits in a queue of calls.
 */
#ifndef BROKER_CORE_RUN_H
#define BROKER_CORE_RUN_H

#include "broker/core/core.h"
#include "broker/core/ending.h"

struct brk_call;
struct brk_link;
struct brk_service;

/* Whether the service has an event that could be sent now, apart from credit. */
bool brk_run_is_wanted(const struct brk_core *core, const struct brk_service *service);
/* The first ready delivery must not run any more. */
bool brk_run_is_too_old(const struct brk_core *core, const struct brk_service *service);
/* Events of whatever service had to wait, and may run now. */
void brk_run_wake_all(struct brk_core *core);
/* It becomes a run, for dispatch to choose its worker. NULL: no memory. */
struct brk_call *brk_run_new(struct brk_core *core, struct brk_service *service);
/* The attempt that is its last, by its budget and the service's manifest as it is now; 0: not limited. */
uint32_t brk_run_attempts(const struct brk_delivery *delivery);
/* Fills what a DISPATCH says beyond a call's: the run's token, its lease, its attempts. */
void brk_run_describe(const struct brk_core *core, const struct brk_call *call, Pirn__Item *item);

void brk_run_result(struct brk_core *core, struct brk_call *call, const Pirn__Item *item,
	const struct brk_payload *payload);
void brk_run_unrun(struct brk_core *core, struct brk_call *call);   /* handed back */
void brk_run_lost(struct brk_core *core, struct brk_call *call);    /* with its worker */
void brk_run_expired(struct brk_core *core, struct brk_call *call); /* its lease is over */
/* Nobody wants its result any more: the worker is told, the call ends, the delivery stays RUNNING
 * without a run for the caller to move on. */
void brk_run_drop(struct brk_core *core, struct brk_delivery *delivery);

#endif
