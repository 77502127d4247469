#include "broker/core/watch.h"

#include "broker/core/parts.h"

/* Nobody can ask for an end yet, so nobody waits for one. */
void brk_query_ended(
	struct brk_core *core, const struct brk_delivery *delivery, const struct brk_end *end)
{
	(void)core;
	(void)delivery;
	(void)end;
}

void brk_query_forgotten(struct brk_core *core, const struct brk_delivery *delivery)
{
	(void)core;
	(void)delivery;
}
