#include "broker/core/hope.h"

#include "broker/core/parts.h"

#define RETRY_AFTER_MS 1000u

void brk_hope_begin(struct brk_core *core, struct brk_service *service)
{
	enum base_err err;

	service->workerless_ms = core->now_ms;
	base_heap_remove(&core->hopes, &service->hope);
	if (core->conf.hope_ms == 0)
		return;
	/* There is room: brk_service_new reserved it. */
	err = base_heap_push(&core->hopes, &service->hope, core->now_ms + core->conf.hope_ms);
	(void)err;
}

void brk_hope_forget(struct brk_core *core, struct brk_service *service)
{
	base_heap_remove(&core->hopes, &service->hope);
}

bool brk_hope_is_over(const struct brk_core *core, const struct brk_service *service)
{
	return service->n_ready == 0 && core->now_ms - service->workerless_ms >= core->conf.hope_ms;
}

/* False: the list of actions is full. */
static bool end(struct brk_core *core, struct brk_service *service)
{
	struct brk_call *call;

	while ((call = brk_queue_newest(&service->queue)) &&
		call->queued_ms >= service->workerless_ms) {
		if (!brk_act_has_room(core))
			return false;
		brk_settle_refused(core, call, PIRN__REASON__NO_WORKER, RETRY_AFTER_MS);
	}
	return true;
}

void brk_hope_tick(struct brk_core *core)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&core->hopes)) && node->due <= core->now_ms) {
		struct brk_service *service = base_heap_of(node, struct brk_service, hope);

		if (!end(core, service))
			return;
		base_heap_remove(&core->hopes, node);
	}
}

uint64_t brk_hope_due(const struct brk_core *core)
{
	const struct base_heap_node *first = base_heap_first(&core->hopes);

	return first ? first->due : UINT64_MAX;
}
