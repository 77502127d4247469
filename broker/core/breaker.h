/* A service's circuit breaker in this broker (G4): who asks it, what counts against it,
 * and how brokers tell one another. The machine itself is base/breaker.h.
 *
 * Asked in two places: a call that is submitted is refused while it is open (BREAKER_OPEN,
 * or BREAKER_FORCED when it is by hand, with the time left as Retry-After), and nothing is dispatched beyond what it lets
 * through. So an event waits and burns no attempt. The calls that wait when it opens, or
 * come back to the queue while it is, are answered at once. While it is half-open, the
 * probes are whatever would be dispatched next; a call is refused when those under way and
 * those that wait make up the probes already.
 *
 * Every dispatch takes a pass (call->pass) and every end of a run gives it back, exactly
 * once: what the run's answer means is decided in brk_breaker_verdict and nowhere else.
 * A worker's ejection (eject.h) goes by the same verdict, and comes first: the failure that
 * ejects its worker, and what a worker that is out still brings, is that worker's and does not
 * count against the service. Otherwise one bad worker among good ones, which gets the more
 * the faster it fails, would open the breaker of them all. All the same a service that fails
 * everywhere opens with the `consecutive` failure in a row (5), when it is called one run after
 * another: that one is sent to another worker (dispatch.c). Of runs that are under way together
 * it may be the one after: when the first five to end were of one worker.
 *
 * Every opening of our own is noted in the service's registry entry (BreakerNote), and so
 * is what was forced; what another broker noted is adopted when it is read. Openings
 * that were adopted are not noted again; those that were noted before the last forcing
 * are void.
 */
#ifndef BROKER_CORE_BREAKER_H
#define BROKER_CORE_BREAKER_H

#include "base/breaker.h"
#include "base/heap.h"
#include "broker/core/core.h"

#define BRK_PROBE_MARGIN_MS 5000 /* the lease of a probe beyond the service's timeout */

struct brk_call;
struct brk_service;

/* In each service. */
struct brk_guard {
	struct base_breaker breaker;
	struct base_heap_node due; /* in core->guards, while something will happen by itself */
	uint32_t slow_percent;     /* of the timeout; 0: however long, a run is not slow */
	uint64_t refused;          /* calls, for it being open */
	Pirn__BreakerNote note;    /* what the registry's entry points to */
};

void brk_breaker_init(struct brk_core *core, struct brk_service *service);
void brk_breaker_forget(struct brk_core *core, struct brk_service *service);
/* The manifest's settings from now on, service->timeout_ms among them. UNTRUSTED; NULL: it has none. */
void brk_breaker_configure(
	struct brk_core *core, struct brk_service *service, const Pirn__BreakerConf *conf);
/* What the registry has of it. UNTRUSTED; may be NULL. */
void brk_breaker_noted(
	struct brk_core *core, struct brk_service *service, const Pirn__BreakerNote *note);

/* NONE, or BREAKER_OPEN or BREAKER_FORCED with *retry_after_ms: of a call that was submitted. */
uint32_t brk_breaker_judge(
	struct brk_core *core, struct brk_service *service, uint32_t *retry_after_ms);
/* Whether one more may be dispatched. */
bool brk_breaker_lets(const struct brk_core *core, const struct brk_service *service);
void brk_breaker_take(struct brk_core *core, struct brk_call *call);

/* What the end of a run says of its service; reason NONE: it answered with status. Asked while the call
 * is RUNNING (slow ones count as failed). */
enum base_breaker_end brk_breaker_verdict(
	const struct brk_core *core, const struct brk_call *call, uint32_t reason, uint32_t status);
/* The run of a RUNNING call is over; before its state changes, so that call->link is still there. */
void brk_breaker_ran(struct brk_core *core, struct brk_call *call, enum base_breaker_end end);

/* Nothing is let through for a time: nobody may wait. */
bool brk_breaker_is_open(const struct brk_service *service);
/* The input ends, which touched the service: answers the calls that may not wait, as many as there is
 * room for; the rest at the next tick, which is due at once. */
void brk_breaker_look(struct brk_core *core, struct brk_service *service);

void brk_breaker_force(
	struct brk_core *core, struct brk_service *service, enum base_breaker_force force);
void brk_breaker_tick(struct brk_core *core);
uint64_t brk_breaker_due(const struct brk_core *core);
/* For people: the state, or how it is forced. */
const char *brk_breaker_text(const struct brk_service *service);
void brk_breaker_check(const struct brk_core *core, const struct brk_service *service);

#endif
