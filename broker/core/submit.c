/* SUBMIT and CANCEL: what a client sends. An item is refused before anything of it
 * is kept, or becomes a call that will be answered exactly once.
 */
#include "broker/core/callback.h"
#include "broker/core/parts.h"

#define RETRY_AFTER_MS 1000u

struct brk_payload brk_payload_next(
	const struct brk_message *m, const Pirn__Item *item, size_t *offset)
{
	struct brk_payload payload = {
		.bytes = m->body + *offset,
		.meta_size = item->meta_size,
		.data_size = item->data_size,
		.block = m->block,
	};

	*offset += (size_t)item->meta_size + item->data_size;
	return payload;
}

void brk_refuse(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	uint32_t reason, uint32_t retry_after_ms)
{
	struct brk_action *a = brk_act_item(core, peer->id, PIRN__KIND__REFUSED);

	a->item.has_slot = a->item.has_generation = a->item.has_reason = true;
	a->item.slot = item->slot;
	a->item.generation = item->generation;
	a->item.reason = reason;
	a->item.has_retry_after_ms = retry_after_ms > 0;
	a->item.retry_after_ms = retry_after_ms;
	core->figures.refused++;
}

/* Of the item alone, in the order of what a client can do about it. */
static uint32_t judge_item(const struct brk_core *core, const Pirn__Item *item)
{
	if (item->has_id && item->id.len != 16)
		return PIRN__REASON__MALFORMED;
	if (item->has_trace && item->trace.len != BRK_TRACE_SIZE)
		return PIRN__REASON__MALFORMED;
	if ((uint64_t)item->meta_size + item->data_size > core->conf.max_item_bytes)
		return PIRN__REASON__TOO_LARGE;
	if (core->draining)
		return PIRN__REASON__DRAINING;
	if (item->has_left_ms && item->left_ms == 0)
		return PIRN__REASON__DEADLINE;
	return PIRN__REASON__NONE;
}

/* Somebody waits before it, or no worker is free. */
static bool must_wait(const struct brk_core *core, const struct brk_service *service)
{
	return service->queue.n > 0 || !brk_dispatch_is_possible(core, service);
}

uint32_t brk_submit_judge(
	struct brk_core *core, struct brk_service *service, uint64_t size, uint32_t *retry_after_ms)
{
	uint32_t reason;

	if (!service)
		return PIRN__REASON__UNKNOWN_SERVICE;
	if (brk_hope_is_over(core, service))
		return PIRN__REASON__NO_WORKER;
	if (!base_breaker_is_calm(&service->guard.breaker) &&
		(reason = brk_breaker_judge(core, service, retry_after_ms)))
		return reason;
	reason = brk_overload_judge(core, service, size);
	return reason && must_wait(core, service) ? reason : PIRN__REASON__NONE;
}

static uint32_t retry_after(struct brk_core *core, uint32_t reason)
{
	switch (reason) {
	case PIRN__REASON__NO_WORKER:
		return RETRY_AFTER_MS;
	case PIRN__REASON__OVERLOADED:
	case PIRN__REASON__QUEUE_FULL:
		return brk_overload_retry_ms(core);
	default:
		return 0;
	}
}

/* Seven calls went past waiting events: this one takes its place in the queue. */
static bool may_be_events_turn(const struct brk_core *core, const struct brk_service *service)
{
	return service->calls_in_row >= BRK_CALLS_IN_ROW && brk_run_is_wanted(core, service);
}

static void submit(struct brk_core *core, struct brk_peer *peer, struct brk_service *service,
	const Pirn__Item *item, const struct brk_payload *payload)
{
	uint32_t reason = judge_item(core, item);
	struct brk_call *call;
	uint32_t wait_ms = 0;

	if (reason == PIRN__REASON__NONE)
		reason = brk_submit_judge(
			core, service, (uint64_t)payload->meta_size + payload->data_size, &wait_ms);
	if (reason == PIRN__REASON__NONE && brk_call_new(core, peer, service, item, payload, &call))
		reason = PIRN__REASON__OVERLOADED;
	if (reason != PIRN__REASON__NONE) {
		brk_refuse(core, peer, item, reason, wait_ms ? wait_ms : retry_after(core, reason));
		return;
	}
	brk_again_earn(core, call);
	if (item->has_key)
		reason = brk_keyed_claim(core, call, item);
	if (reason != PIRN__REASON__NONE) {
		brk_refuse(core, peer, item, reason, RETRY_AFTER_MS);
		brk_call_apply(core, call, BRK_CALL_EV_END);
		return;
	}
	core->figures.submitted++;
	if (!call->claim)
		brk_submit_place(core, call);
}

void brk_submit_place(struct brk_core *core, struct brk_call *call)
{
	const struct brk_service *service = call->service;

	if (service->queue.n == 0 && brk_dispatch_is_possible(core, service) &&
		!may_be_events_turn(core, service))
		brk_dispatch_one(core, call);
	else
		brk_call_apply(core, call, BRK_CALL_EV_QUEUE);
}

/* A batch mostly names one service: it is looked up when the name changes. */
void brk_submit(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m)
{
	struct brk_service *service = NULL;
	size_t offset = 0;

	for (size_t i = 0; i < m->head->n_items; i++) {
		const Pirn__Item *item = m->head->items[i];
		size_t run = brk_fan_run(m->head, i);
		struct brk_payload payload;

		if (run > 0) {
			brk_fan_submit(core, peer, m, i, run, &offset);
			i += run - 1;
			continue;
		}
		payload = brk_payload_next(m, item, &offset);
		if (!service || !item->service || strcmp(service->name, item->service) != 0)
			service = brk_callback_is(item->service)
					  ? NULL
					  : brk_service_find(core, item->service);
		/* Two open calls under one name could not be told apart in the answers. */
		if (item->flags & PIRN__ITEM_FLAG__EVENT)
			brk_accept_submit(core, peer, service, item, &payload);
		else if (brk_call_find(core, peer, item->slot, item->generation))
			core->figures.malformed++;
		else
			submit(core, peer, service, item, &payload);
	}
}

void brk_submit_cancel(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m)
{
	for (size_t i = 0; i < m->head->n_items; i++) {
		const Pirn__Item *item = m->head->items[i];
		struct brk_call *call = brk_call_find(core, peer, item->slot, item->generation);

		if (!call) { /* a question, or its answer is on the way: the two have crossed */
			brk_watch_cancel(core, peer, item);
			continue;
		}
		core->figures.cancelled++;
		brk_settle_dropped(core, call);
	}
}
