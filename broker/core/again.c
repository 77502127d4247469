#include "broker/core/parts.h"

void brk_again_earn(struct brk_core *core, struct brk_call *call)
{
	(void)core;
	base_budget_earn(&call->service->budget);
}

/* What another run, elsewhere or a moment later, may do better. Who says Retry-After knows that it is too early. */
static bool is_worth_it(uint32_t reason, uint32_t status, uint32_t retry_after_ms)
{
	switch (reason) {
	case PIRN__REASON__WORKER_LOST:
		return true;
	case PIRN__REASON__CRASHED:
	case PIRN__REASON__OVERLOADED:
	case PIRN__REASON__DEADLINE:
		return retry_after_ms == 0;
	case PIRN__REASON__NONE:
		return retry_after_ms == 0 && status >= 502 && status <= 504;
	default:
		return false;
	}
}

/* More than the last runs took on average: what will not end in time is not begun. */
static bool has_time(const struct brk_core *core, const struct brk_call *call)
{
	uint64_t left_ms = call->deadline_ms > core->now_ms ? call->deadline_ms - core->now_ms : 0;

	return left_ms * 1000 > call->service->run_us;
}

static bool may_run_again(const struct brk_core *core, const struct brk_call *call)
{
	if (!has_time(core, call))
		return false;
	if (!(call->flags & PIRN__ITEM_FLAG__IDEMPOTENT) && !BRK_FAULTY(core, RERUN_UNSAFE))
		return false;
	return call->attempt < BRK_MAX_RUNS || BRK_FAULTY(core, RERUN_FOREVER);
}

/* Lost with its worker it says nothing of the service. Otherwise a sick service, or one that has more than
 * it can do, is not asked more. */
static bool may_bear_it(const struct brk_core *core, const struct brk_call *call, uint32_t reason)
{
	const struct brk_service *service = call->service;

	if (!brk_breaker_lets(core, service))
		return false;
	return reason == PIRN__REASON__WORKER_LOST ||
	       (!service->overload.is_on && brk_overload_judge(core, service,
						    brk_call_size(call)) == PIRN__REASON__NONE);
}

static bool spend(struct brk_core *core, struct brk_service *service)
{
	if (base_budget_spend(&service->budget) || BRK_FAULTY(core, RETRY_BUDGET_IGNORED))
		return true;
	service->retries_refused++;
	return false;
}

bool brk_again_try(struct brk_core *core, struct brk_call *call, uint32_t reason, uint32_t status,
	uint32_t retry_after_ms)
{
	if (BRK_FAULTY(core, RETRY_HEEDLESS))
		retry_after_ms = 0;
	if (!is_worth_it(reason, status, retry_after_ms) || !may_run_again(core, call) ||
		!may_bear_it(core, call, reason) || !spend(core, call->service))
		return false;
	core->figures.retried++;
	call->service->retries++;
	call->shunned = call->link->peer->id;
	brk_call_apply(core, call,
		reason == PIRN__REASON__WORKER_LOST ? BRK_CALL_EV_LOSE : BRK_CALL_EV_RETRY);
	return true;
}
