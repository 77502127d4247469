/* A failed call that runs again, here in the broker, before its client hears of it. Only an
 * idempotent one (GET, HEAD, PUT, DELETE, OPTIONS, or with an Idempotency-Key), whose worker
 * was lost, whose run took longer than the service's timeout or could not be run, or which was
 * answered 502, 503 or 504; a Retry-After says that it is of no use now. At most BRK_MAX_RUNS
 * runs in all, and only while more of its time is left than a run takes on average.
 *
 * Never while the breaker lets nobody through. Never, after an answer, while the service is
 * overloaded or its queue is full: such a run again stands at the tail as a new call does, and
 * is given up like one. (A run that was lost with its worker goes to the head: it was let in.)
 *
 * And under the service's budget (base/budget.h): retries are at most a tenth of its calls.
 * BRK_AGAIN_SAVED of them may have been saved up, for the moment at which a worker dies with
 * all its runs; with BRK_AGAIN_FIRST a service begins. A run that follows a failed one goes to
 * another worker where one has a place.
 *
 * A call that records (run.h) is sent with the next attempt's number under the same id: what
 * its first run did is replayed, and what that may still do is refused from the second one's
 * first write on. One with a key still holds its claim, which lasts to its deadline: it needs
 * no other.
 */
#ifndef BROKER_CORE_AGAIN_H
#define BROKER_CORE_AGAIN_H

#include "base/budget.h"
#include "broker/core/core.h"

#define BRK_AGAIN_SHARE 100u /* thousandths of a retry that a call earns */
#define BRK_AGAIN_FIRST 32u /* retries that a new service has: as many as run at once in a worker */
#define BRK_AGAIN_SAVED 200u /* and that it may save up */

struct brk_call;

/* A call was taken. */
void brk_again_earn(struct brk_core *core, struct brk_call *call);
/* Its run is over and failed like that (reason NONE: answered with status). True: it waits to run again. */
bool brk_again_try(struct brk_core *core, struct brk_call *call, uint32_t reason, uint32_t status,
	uint32_t retry_after_ms);

#endif
