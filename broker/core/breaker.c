#include "broker/core/parts.h"

void brk_breaker_init(struct brk_core *core, struct brk_service *service)
{
	(void)core;
	(void)service;
}

void brk_breaker_forget(struct brk_core *core, struct brk_service *service)
{
	(void)core;
	(void)service;
}

void brk_breaker_configure(
	struct brk_core *core, struct brk_service *service, const Pirn__BreakerConf *conf)
{
	(void)core;
	(void)service;
	(void)conf;
}

void brk_breaker_noted(
	struct brk_core *core, struct brk_service *service, const Pirn__BreakerNote *note)
{
	(void)core;
	(void)service;
	(void)note;
}

uint32_t brk_breaker_judge(
	struct brk_core *core, struct brk_service *service, uint32_t *retry_after_ms)
{
	(void)core;
	(void)service;
	(void)retry_after_ms;
	return PIRN__REASON__NONE;
}

bool brk_breaker_lets(const struct brk_core *core, const struct brk_service *service)
{
	(void)core;
	(void)service;
	return true;
}

void brk_breaker_take(struct brk_core *core, struct brk_call *call)
{
	(void)core;
	(void)call;
}

enum base_breaker_end brk_breaker_verdict(
	const struct brk_core *core, const struct brk_call *call, uint32_t reason, uint32_t status)
{
	(void)core;
	(void)call;
	(void)reason;
	(void)status;
	return BASE_BREAKER_UNKNOWN;
}

void brk_breaker_ran(struct brk_core *core, struct brk_call *call, enum base_breaker_end end)
{
	brk_eject_ran(core, call->link, end);
}

void brk_breaker_force(
	struct brk_core *core, struct brk_service *service, enum base_breaker_force force)
{
	(void)core;
	(void)service;
	(void)force;
}

void brk_breaker_tick(struct brk_core *core)
{
	(void)core;
}

uint64_t brk_breaker_due(const struct brk_core *core)
{
	(void)core;
	return UINT64_MAX;
}
