#include "broker/core/parts.h"

void brk_again_earn(struct brk_core *core, struct brk_call *call)
{
	(void)core;
	(void)call;
}

static bool may_run_again(const struct brk_core *core, const struct brk_call *call)
{
	if (call->deadline.due <= core->now_ms)
		return false;
	if (!(call->flags & PIRN__ITEM_FLAG__IDEMPOTENT) && !BRK_FAULTY(core, RERUN_UNSAFE))
		return false;
	return call->attempt < BRK_MAX_RUNS || BRK_FAULTY(core, RERUN_FOREVER);
}

bool brk_again_try(struct brk_core *core, struct brk_call *call, uint32_t reason, uint32_t status,
	uint32_t retry_after_ms)
{
	(void)status;
	(void)retry_after_ms;
	if (reason != PIRN__REASON__WORKER_LOST || !may_run_again(core, call))
		return false;
	core->figures.retried++;
	brk_call_apply(core, call, BRK_CALL_EV_LOSE);
	return true;
}
