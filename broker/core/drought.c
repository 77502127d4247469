#undef NDEBUG
#include "broker/core/drought.h"

#include <assert.h>
#include <utlist.h>

#include "broker/core/parts.h"

static uint32_t about(struct brk_core *core, uint32_t ms)
{
	return ms / 2 + (uint32_t)base_rand_below(&core->rand, ms + 1);
}

bool brk_drought_spares(const struct brk_link *link)
{
	return link->drought.until_ms > 0 && !link->service->parched;
}

static bool is_parched(const struct brk_service *service)
{
	return service->n_dry > 0 && service->n_dry == service->n_ready;
}

/* That all are dry gives their credit back to the calls, and takes it when one is not any more. */
void brk_drought_look(struct brk_core *core, struct brk_service *service)
{
	struct brk_link *link;

	if (service->parched == is_parched(service))
		return;
	service->parched = !service->parched;
	DL_FOREACH2(service->links, link, service_next)
	{
		if (link->drought.until_ms > 0)
			brk_link_recount(link);
	}
	brk_service_touch(core, service);
}

static void begin(struct brk_core *core, struct brk_link *link)
{
	struct brk_drought *d = &link->drought;
	uint64_t until = core->now_ms + about(core, BRK_DROUGHT_MS);

	if (d->until_ms > core->now_ms || link->place == 0 || BRK_FAULTY(core, DROUGHT_UNHEARD))
		return; /* one that gets no work, or too late: what ran before it began tells no more */
	brk_drought_end(core, link); /* it may be over, and its tick behind this */
	if (base_heap_push(&core->droughts, &d->due, until))
		return; /* without memory it gets work */
	d->until_ms = until;
	link->service->n_dry++;
	brk_link_recount(link);
	brk_drought_look(core, link->service);
	brk_service_touch(core, link->service);
}

static bool is_failure(uint32_t reason, uint32_t status)
{
	return reason != PIRN__REASON__NONE || status >= 500 || status == 408 || status == 425 ||
	       status == 429;
}

void brk_drought_ran(struct brk_core *core, struct brk_call *call, uint32_t reason, uint32_t status,
	bool no_state)
{
	struct brk_link *link = call->link;

	if (!no_state || !is_failure(reason, status) || BRK_FAULTY(core, DROUGHT_COUNTED)) {
		brk_breaker_ran(core, call, brk_breaker_verdict(core, call, reason, status));
		return;
	}
	brk_breaker_ran(core, call, BASE_BREAKER_UNKNOWN);
	begin(core, link);
}

void brk_drought_end(struct brk_core *core, struct brk_link *link)
{
	struct brk_drought *d = &link->drought;

	if (d->until_ms == 0)
		return;
	base_heap_remove(&core->droughts, &d->due);
	d->until_ms = 0;
	link->service->n_dry--;
	brk_link_recount(link);
	brk_drought_look(core, link->service);
	brk_service_touch(core, link->service);
}

uint32_t brk_drought_pause_ms(struct brk_core *core)
{
	return about(core, BRK_DROUGHT_MS);
}

void brk_drought_tick(struct brk_core *core)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&core->droughts)) && node->due <= core->now_ms)
		brk_drought_end(core, base_heap_of(node, struct brk_link, drought.due));
}

uint64_t brk_drought_due(const struct brk_core *core)
{
	const struct base_heap_node *node = base_heap_first(&core->droughts);

	return node ? node->due : UINT64_MAX;
}

void brk_drought_check(const struct brk_core *core, const struct brk_service *service)
{
	const struct brk_link *link;
	uint32_t dry = 0;

	DL_FOREACH2(service->links, link, service_next)
	{
		const struct brk_drought *d = &link->drought;

		assert((d->due.place > 0) == (d->until_ms > 0));
		if (d->until_ms == 0)
			continue;
		assert(link->place > 0 && d->due.due == d->until_ms);
		assert(base_heap_has(&core->droughts, &d->due));
		dry++;
	}
	assert(dry == service->n_dry && service->parched == is_parched(service));
}
