#undef NDEBUG
#include "broker/core/eject.h"

#include <assert.h>
#include <stdio.h>
#include <utlist.h>

#include "broker/core/parts.h"

#define WORKER_TEXT (2 * BRK_NAME_SIZE + 4)

/* One that would get work, were it not out. */
static bool is_worker(const struct brk_link *link)
{
	return link->announced && !link->peer->draining;
}

bool brk_eject_is_out(const struct brk_link *link)
{
	return link->ejection.until_ms > 0;
}

/* Of so many workers, in and out. */
static bool may_be_out(const struct brk_core *core, size_t out, size_t workers)
{
	return out <= workers / 2 || BRK_FAULTY(core, EJECT_ALL);
}

/* "worker of service": a worker may be out of one and in for another. */
static void tell(
	struct brk_core *core, enum brk_log_id id, const struct brk_link *link, uint64_t number)
{
	char *text = (char *)brk_answer_room(core, WORKER_TEXT);

	if (text)
		snprintf(text, WORKER_TEXT, "%s of %s", link->peer->name, link->service->name);
	brk_act_log(core, id, text ? text : link->peer->name, number);
}

/* ---- out and in ------------------------------------------------------------- */

static uint32_t times_now(const struct brk_core *core, const struct brk_ejection *e)
{
	uint64_t good = (core->now_ms - e->since_ms) / BRK_EJECT_MS;

	return e->times > good ? e->times - (uint32_t)good : 0;
}

static bool eject(struct brk_core *core, struct brk_link *link)
{
	struct brk_service *service = link->service;
	struct brk_ejection *e = &link->ejection;
	uint32_t times = times_now(core, e) + 1;
	uint64_t until;

	if (!is_worker(link) ||
		!may_be_out(core, service->n_out + 1, service->n_ready + service->n_out))
		return false;
	if (times > BRK_EJECT_TIMES)
		times = BRK_EJECT_TIMES;
	until = core->now_ms + (uint64_t)times * BRK_EJECT_MS;
	if (BRK_FAULTY(core, EJECTED_FOR_GOOD))
		until += 3600 * 1000;
	if (base_heap_push(&core->ejected, &e->due, until))
		return false; /* without memory it stays in */
	e->times = times;
	e->until_ms = until;
	service->n_out++;
	tell(core, BRK_LOG_worker_ejected, link, until - core->now_ms);
	brk_link_refresh(core, link);
	return true;
}

/* Out no more: a new row of failures begins. */
static void clear(struct brk_core *core, struct brk_link *link)
{
	struct brk_ejection *e = &link->ejection;

	base_heap_remove(&core->ejected, &e->due);
	e->until_ms = 0;
	e->failures = 0;
	e->since_ms = core->now_ms;
	link->service->n_out--;
}

static void readmit(struct brk_core *core, struct brk_link *link)
{
	clear(core, link);
	tell(core, BRK_LOG_worker_readmitted, link, link->ejection.times);
	brk_link_refresh(core, link);
}

/* ---- when --------------------------------------------------------------------- */

bool brk_eject_ran(struct brk_core *core, struct brk_link *link, enum base_breaker_end end)
{
	struct brk_ejection *e = &link->ejection;

	if (brk_eject_is_out(link))
		return true;
	if (end == BASE_BREAKER_OK)
		e->failures = 0;
	if (end != BASE_BREAKER_FAILED)
		return false;
	if (e->failures < UINT32_MAX)
		e->failures++;
	return e->failures >= BRK_EJECT_FAILURES && !BRK_FAULTY(core, EJECT_NOBODY) &&
	       eject(core, link);
}

void brk_eject_refresh(struct brk_core *core, struct brk_link *link)
{
	if (brk_eject_is_out(link) && !is_worker(link))
		clear(core, link);
}

static struct brk_link *first_back(struct brk_service *service)
{
	struct brk_link *link, *first = NULL;

	DL_FOREACH2(service->links, link, service_next)
	{
		if (brk_eject_is_out(link) &&
			(!first || link->ejection.until_ms < first->ejection.until_ms))
			first = link;
	}
	return first;
}

void brk_eject_look(struct brk_core *core, struct brk_service *service)
{
	while (service->n_out > 0 &&
		!may_be_out(core, service->n_out, service->n_ready + service->n_out))
		readmit(core, first_back(service));
}

void brk_eject_tick(struct brk_core *core)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&core->ejected)) && node->due <= core->now_ms)
		readmit(core, base_heap_of(node, struct brk_link, ejection.due));
}

uint64_t brk_eject_due(const struct brk_core *core)
{
	const struct base_heap_node *node = base_heap_first(&core->ejected);

	return node ? node->due : UINT64_MAX;
}

void brk_eject_check(const struct brk_core *core, const struct brk_service *service)
{
	const struct brk_link *link;
	uint32_t out = 0;

	DL_FOREACH2(service->links, link, service_next)
	{
		const struct brk_ejection *e = &link->ejection;

		assert((e->due.place > 0) == brk_eject_is_out(link));
		assert(e->times <= BRK_EJECT_TIMES);
		if (!brk_eject_is_out(link))
			continue;
		assert(is_worker(link) && link->place == 0 && e->due.due == e->until_ms);
		assert(base_heap_has(&core->ejected, &e->due));
		out++;
	}
	assert(out == service->n_out);
	assert(may_be_out(core, out, service->n_ready + out));
}
