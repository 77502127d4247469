#include "broker/core/parts.h"

void brk_overload_configure(
	struct brk_core *core, struct brk_service *service, const Pirn__QueueConf *conf)
{
	(void)core;
	(void)service;
	(void)conf;
}

void brk_overload_forget(struct brk_core *core, struct brk_service *service)
{
	(void)core;
	(void)service;
}

uint32_t brk_overload_judge(
	const struct brk_core *core, const struct brk_service *service, uint64_t size)
{
	(void)core;
	(void)size;
	if (service->queue_items > 0 && service->queue.n >= service->queue_items)
		return PIRN__REASON__QUEUE_FULL;
	return PIRN__REASON__NONE;
}

uint32_t brk_overload_judge_event(
	const struct brk_core *core, const struct brk_service *service, uint64_t size)
{
	(void)core;
	(void)service;
	(void)size;
	return PIRN__REASON__NONE;
}

void brk_overload_came(struct brk_core *core, struct brk_call *call)
{
	(void)core;
	(void)call;
}

void brk_overload_left(struct brk_core *core, struct brk_call *call)
{
	(void)core;
	(void)call;
}

struct brk_call *brk_overload_next(const struct brk_core *core, const struct brk_service *service)
{
	(void)core;
	return brk_queue_first(&service->queue);
}

void brk_overload_tick(struct brk_core *core)
{
	(void)core;
}

uint64_t brk_overload_due(const struct brk_core *core)
{
	(void)core;
	return UINT64_MAX;
}
