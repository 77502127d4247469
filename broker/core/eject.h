/* Ejection: a worker that fails a service BRK_EJECT_FAILURES times in a row gets none of it
 * for BRK_EJECT_MS times the number of its ejections so far; runs that it has go on. Never
 * more than half of a service's workers are out at once, and of those that are out the
 * one that comes back first does so earlier when workers leave and the rule demands it. So
 * a lone worker is never ejected: that a whole service fails is the breaker's matter.
 *
 * The number of ejections falls by one for each BRK_EJECT_MS that the worker was in
 * without being ejected again. It counts to BRK_EJECT_TIMES, so that a worker that has healed
 * is not out for longer than five minutes.
 */
#ifndef BROKER_CORE_EJECT_H
#define BROKER_CORE_EJECT_H

#include "base/breaker.h"
#include "base/heap.h"
#include "broker/core/core.h"

#define BRK_EJECT_FAILURES 5
#define BRK_EJECT_MS       10000u
#define BRK_EJECT_TIMES    30u

struct brk_link;
struct brk_service;

/* In each link. */
struct brk_ejection {
	uint32_t failures; /* in a row */
	uint32_t times;
	uint64_t until_ms;         /* out until then; 0: in */
	uint64_t since_ms;         /* in since then */
	struct base_heap_node due; /* out: in core->ejected */
};

/* A run of that worker is over. True: the worker is out, maybe for just that run; what it says is of
 * the worker and not of the service. */
bool brk_eject_ran(struct brk_core *core, struct brk_link *link, enum base_breaker_end end);
bool brk_eject_is_out(const struct brk_link *link);
/* It may not be one of the service's workers any more: then it is not out, either. For
 * brk_link_refresh, before it decides. */
void brk_eject_refresh(struct brk_core *core, struct brk_link *link);
/* Workers went: the rule of the half is kept. */
void brk_eject_look(struct brk_core *core, struct brk_service *service);
void brk_eject_tick(struct brk_core *core);
uint64_t brk_eject_due(const struct brk_core *core);
void brk_eject_check(const struct brk_core *core, const struct brk_service *service);

#endif
