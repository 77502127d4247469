#include "broker/core/parts.h"

void brk_eject_ran(struct brk_core *core, struct brk_link *link, enum base_breaker_end end)
{
	(void)core;
	(void)link;
	(void)end;
}

bool brk_eject_is_out(const struct brk_link *link)
{
	(void)link;
	return false;
}

void brk_eject_look(struct brk_core *core, struct brk_service *service)
{
	(void)core;
	(void)service;
}

void brk_eject_tick(struct brk_core *core)
{
	(void)core;
}

uint64_t brk_eject_due(const struct brk_core *core)
{
	(void)core;
	return UINT64_MAX;
}
