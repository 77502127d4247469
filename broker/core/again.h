/* A failed call that runs again, here in the broker, before its client hears of it. Only an
 * idempotent one (GET, HEAD, PUT, DELETE, OPTIONS, or with an Idempotency-Key), whose worker
 * was lost, or which was answered 502, 503 or 504 without a Retry-After; at most BRK_MAX_RUNS
 * runs in all, within its deadline, never while the breaker is open, and under the service's
 * budget: retries are at most a tenth of its calls (base/budget.h; BRK_AGAIN_SAVED may have
 * been saved up). A run that follows a failed one goes to another worker where there is one.
 */
#ifndef BROKER_CORE_AGAIN_H
#define BROKER_CORE_AGAIN_H

#include "base/budget.h"
#include "broker/core/core.h"

#define BRK_AGAIN_SHARE 100u  /* thousandths of a retry that a call earns */
#define BRK_AGAIN_FIRST 10u   /* retries that a new service has */
#define BRK_AGAIN_SAVED 1000u /* and that it may save up */

struct brk_call;

/* A call was taken. */
void brk_again_earn(struct brk_core *core, struct brk_call *call);
/* Its run is over and failed like that (reason NONE: answered with status). True: it waits to run again. */
bool brk_again_try(struct brk_core *core, struct brk_call *call, uint32_t reason, uint32_t status,
	uint32_t retry_after_ms);

#endif
