/* Who runs next. Credit is per service, so services do not compete for workers but
 * for the room in one turn's messages: they take turns in a ring, each with a
 * quantum of bytes (deficit round robin), so that a service with a long backlog of
 * large payloads does not hold up the small calls of another.
 *
 * In the ring are the services that have something waiting, a worker with free
 * credit, and room under their concurrency_total. It is empty at the end of an
 * input unless the list of actions was full.
 *
 * To whom: the worker with the most free credit. What one input sets free goes to it
 * in a row, though, not to all workers in turns: messages of one item cost several
 * times what they cost in a batch, on both sides. A row is worth ROW_US of run time
 * at most, going by the mean of the service's last runs as they look from here. So
 * runs of milliseconds, or short ones that queue up in their workers, are spread,
 * and so are those of a service of which nothing is known yet. A run that follows a
 * failed one goes to another worker, whoever's row it is. And so does the run whose failure
 * would be one too many for the breaker, when the failures before it in a row were all of
 * one worker: whether that worker is bad or the service is, another one can tell.
 */
#include <assert.h>
#include <utlist.h>

#include "broker/core/parts.h"

#define QUANTUM   (16u * 1024)
#define COST_ITEM 256u
#define COST_MAX  (64u * 1024)
#define ROW_US    20000u

bool brk_dispatch_is_possible(const struct brk_core *core, const struct brk_service *service)
{
	if (brk_service_is_full(service))
		return false;
	if (!base_breaker_is_calm(&service->guard.breaker) && !brk_breaker_lets(core, service))
		return false;
	if (BRK_FAULTY(core, OVER_CREDIT) && service->n_ready > 0)
		return true;
	return brk_service_has_credit(service);
}

bool brk_dispatch_is_wanted(const struct brk_core *core, const struct brk_service *service)
{
	return service->queue.n > 0 || brk_run_is_wanted(core, service);
}

bool brk_dispatch_event_first(const struct brk_core *core, const struct brk_service *service)
{
	if (service->queue.n > 0 && service->calls_in_row < BRK_CALLS_IN_ROW)
		return false;
	return brk_run_is_wanted(core, service);
}

static void row_start(const struct brk_core *core, struct brk_service *service)
{
	uint64_t worth = service->run_us > 0 ? ROW_US / service->run_us : 0;

	service->row = service->ready[0];
	service->row_input = core->input;
	service->row_left = worth > 0 ? worth : 1;
}

/* A mean that the last eight weigh most in; never 0 again, which is "unknown". */
void brk_dispatch_ran(const struct brk_core *core, const struct brk_call *call)
{
	struct brk_service *service = call->service;
	uint64_t took_us =
		core->now_us > call->dispatched_us ? core->now_us - call->dispatched_us : 0;

	service->run_us = service->run_us > 0 ? (7 * service->run_us + took_us) / 8 : took_us;
	if (service->run_us == 0)
		service->run_us = 1;
}

/* The one with the most free credit but that one, which is at the heap's top or hides behind none. NULL: no
 * other has any. */
static struct brk_link *another(const struct brk_service *service, uint32_t shunned)
{
	struct brk_link *best = NULL;

	for (size_t i = 0; i < 3 && i < service->n_ready; i++) {
		struct brk_link *link = service->ready[i];

		if (link->peer->id != shunned && link->free > (best ? best->free : 0))
			best = link;
	}
	return best;
}

/* One failure more would open the breaker, and all of that row so far were this worker's. */
static bool is_doubtful(const struct brk_service *service, const struct brk_link *link)
{
	const struct base_breaker *b = &service->guard.breaker;

	return b->in_row > 0 && base_breaker_is_calm(b) && b->in_row + 1 == b->conf.consecutive &&
	       link->ejection.failures >= b->in_row;
}

static struct brk_link *choose(struct brk_core *core, struct brk_service *service, uint32_t shunned)
{
	struct brk_link *link;

	if (BRK_FAULTY(core, DISPATCH_TO_DRAINING)) {
		DL_FOREACH2(service->links, link, service_next)
		{
			if (link->peer->draining && link->free > 0)
				return link;
		}
	}
	if (BRK_FAULTY(core, EJECTED_DISPATCH)) {
		DL_FOREACH2(service->links, link, service_next)
		{
			if (brk_eject_is_out(link) && link->free > 0)
				return link;
		}
	}
	if (shunned && !BRK_FAULTY(core, SAME_WORKER) && (link = another(service, shunned)))
		return link;
	if (!service->row || service->row_input != core->input || service->row_left == 0 ||
		service->row->free == 0)
		row_start(core, service);
	if (is_doubtful(service, service->row) && !BRK_FAULTY(core, SAME_WORKER) &&
		(link = another(service, service->row->peer->id)))
		return link;
	service->row_left--;
	return service->row;
}

static void send(struct brk_core *core, struct brk_call *call)
{
	struct brk_action *a = brk_act_item(core, call->link->peer->id, PIRN__KIND__DISPATCH);
	Pirn__Item *item = &a->item;

	item->has_slot = item->has_generation = item->has_attempt = item->has_left_ms = true;
	item->slot = call->slot;
	item->generation = call->generation;
	item->attempt = call->attempt;
	item->left_ms = (uint32_t)(call->deadline.due - core->now_ms);
	if (BRK_FAULTY(core, TIMEOUT_NOT_SHRUNK))
		item->left_ms = (uint32_t)(call->deadline_ms - call->arrived_us / 1000);
	item->service = call->service->name;
	item->has_flags = call->flags != 0;
	item->flags = call->flags;
	item->has_id = call->has_id;
	item->id = (ProtobufCBinaryData){ sizeof call->id, call->id };
	item->has_trace = call->has_trace;
	item->trace = (ProtobufCBinaryData){ sizeof call->trace, call->trace };
	a->payload = call->payload;
	brk_run_describe(core, call, item);
	core->figures.dispatched++;
}

void brk_dispatch_one(struct brk_core *core, struct brk_call *call)
{
	call->service->calls_in_row = call->delivery ? 0 : call->service->calls_in_row + 1;
	call->link = choose(core, call->service, call->shunned);
	if (base_breaker_is_calm(&call->service->guard.breaker))
		call->pass = base_breaker_take_calm(&call->service->guard.breaker);
	else
		brk_breaker_take(core, call);
	call->dispatched_us = core->now_us;
	brk_call_apply(core, call, BRK_CALL_EV_DISPATCH);
	send(core, call);
}

void brk_dispatch_wake(struct brk_core *core, struct brk_service *service)
{
	if (service->in_turn || !brk_dispatch_is_wanted(core, service) ||
		!brk_dispatch_is_possible(core, service))
		return;
	service->in_turn = true;
	DL_APPEND2(core->turns, service, turn_prev, turn_next);
}

void brk_dispatch_forget(struct brk_core *core, struct brk_service *service)
{
	if (!service->in_turn)
		return;
	DL_DELETE2(core->turns, service, turn_prev, turn_next);
	service->in_turn = false;
	service->deficit = 0;
}

static uint64_t cost_of(uint64_t size)
{
	uint64_t cost = COST_ITEM + size;

	return cost < COST_MAX ? cost : COST_MAX;
}

static uint64_t cost_of_next(
	const struct brk_core *core, const struct brk_service *service, bool event)
{
	if (event)
		return cost_of(brk_delivery_size(service->events[BRK_DELIVERY_READY].head));
	return cost_of(brk_call_size(brk_overload_next(core, service)));
}

/* False: there is no memory for a run. */
static bool dispatch_event(struct brk_core *core, struct brk_service *service)
{
	struct brk_call *run;

	if (brk_run_is_too_old(core, service)) {
		brk_ending_expire(core, service->events[BRK_DELIVERY_READY].head);
		return true;
	}
	run = brk_run_new(core, service);
	if (run)
		brk_dispatch_one(core, run);
	return run != NULL;
}

static bool dispatch_next(struct brk_core *core, struct brk_service *service, bool event)
{
	struct brk_call *call;

	if (event)
		return dispatch_event(core, service);
	call = brk_overload_next(core, service);
	if (call->deadline.due <= core->now_ms)
		brk_settle_expired(core, call);
	else
		brk_dispatch_one(core, call);
	return true;
}

/* Spends the service's deficit; false when it has nothing more to dispatch. One that lacks memory for a run
 * keeps its turn: nothing else would wake it. */
static bool take_turn(struct brk_core *core, struct brk_service *service)
{
	service->deficit += QUANTUM;
	while (brk_dispatch_is_wanted(core, service) && brk_dispatch_is_possible(core, service)) {
		bool event = brk_dispatch_event_first(core, service);
		uint64_t cost = cost_of_next(core, service, event);

		if (service->deficit < cost || !brk_act_has_room(core))
			return true;
		service->deficit -= cost;
		if (!dispatch_next(core, service, event)) {
			core->starved = true;
			return true;
		}
	}
	return false;
}

void brk_dispatch_run(struct brk_core *core)
{
	core->starved = false;
	while (core->turns && !core->starved && brk_act_has_room(core)) {
		struct brk_service *service = core->turns;

		if (!take_turn(core, service)) {
			brk_dispatch_forget(core, service);
			continue;
		}
		DL_DELETE2(core->turns, service, turn_prev, turn_next);
		DL_APPEND2(core->turns, service, turn_prev, turn_next);
	}
}
