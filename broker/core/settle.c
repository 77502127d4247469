/* How a call ends, or comes back: a worker's result, the loss of a worker, the
 * deadline, a client that does not want it any more. Each end but the last is one
 * REPLY; nothing else in the core answers a call that was accepted.
 */
#include <stdlib.h>
#include <utlist.h>

#include "broker/core/parts.h"

uint32_t brk_reason_status(uint32_t reason)
{
	static const uint16_t status[] = {
		[PIRN__REASON__UNKNOWN_SERVICE] = 404,
		[PIRN__REASON__NO_WORKER] = 503,
		[PIRN__REASON__OVERLOADED] = 503,
		[PIRN__REASON__QUEUE_FULL] = 429,
		[PIRN__REASON__DEADLINE] = 504,
		[PIRN__REASON__WORKER_LOST] = 502,
		[PIRN__REASON__DRAINING] = 503,
		[PIRN__REASON__TOO_LARGE] = 502,
		[PIRN__REASON__MALFORMED] = 400,
		[PIRN__REASON__UNSUPPORTED] = 501,
		[PIRN__REASON__BREAKER_OPEN] = 503,
		[PIRN__REASON__CANCELLED] = 502,
		[PIRN__REASON__CRASHED] = 502,
		[PIRN__REASON__NOT_DURABLE] = 503,
		[PIRN__REASON__UNDECIDED] = 503,
		[PIRN__REASON__NO_SUBSCRIBER] = 404,
		[PIRN__REASON__BREAKER_FORCED] = 503,
	};

	return reason < sizeof status / sizeof status[0] ? status[reason] : 502;
}

/* ---- the answer ----------------------------------------------------------- */

struct answer {
	uint32_t reason;
	uint32_t status;
	uint32_t retry_after_ms;
	bool no_state; /* drought.h */
	struct brk_payload payload;
};

static uint32_t client_of(const struct brk_core *core, const struct brk_call *call)
{
	struct brk_peer *next = call->client->hh.next;

	return BRK_FAULTY(core, WRONG_CLIENT) && next ? next->id : call->client->id;
}

static void reply(struct brk_core *core, const struct brk_call *call, const struct answer *answer)
{
	struct brk_action *a = brk_act_item(core, client_of(core, call), PIRN__KIND__REPLY);
	Pirn__Item *item = &a->item;

	item->has_slot = item->has_generation = item->has_status = item->has_attempt = true;
	item->slot = call->client_slot;
	item->generation = call->client_generation;
	item->status = answer->status;
	item->attempt = call->attempt;
	item->has_reason = answer->reason != PIRN__REASON__NONE;
	item->reason = answer->reason;
	item->has_retry_after_ms = answer->retry_after_ms > 0;
	item->retry_after_ms = answer->retry_after_ms;
	a->payload = answer->payload;
	core->figures.replied++;
}

/* What counts against a service: see "What a run's answer means" in the design. */
static bool is_failure(const struct answer *answer)
{
	if (answer->reason != PIRN__REASON__NONE)
		return true;
	return answer->status >= 500 || answer->status == 408 || answer->status == 425 ||
	       answer->status == 429;
}

static void conclude(struct brk_core *core, struct brk_call *call, const struct answer *answer)
{
	struct brk_service *service = call->service;

	base_hist_add(&service->latency,
		core->now_us > call->arrived_us ? core->now_us - call->arrived_us : 0);
	if (is_failure(answer))
		service->failed++;
	else
		service->done++;
	if (BRK_TAILED(core))
		brk_tail_call(core, call, answer->status, answer->reason);
	core->figures.lost += answer->reason == PIRN__REASON__WORKER_LOST;
	core->figures.expired += answer->reason == PIRN__REASON__DEADLINE;
	if (call->claim &&
		brk_keyed_finish(core, call,
			&(struct brk_keyed_answer){ answer->status, answer->reason,
				answer->retry_after_ms, answer->payload }))
		return;
	if (!BRK_FAULTY(core, SWALLOW_REPLY) || call->attempt != 1)
		reply(core, call, answer);
	if (BRK_FAULTY(core, REPLY_TWICE))
		reply(core, call, answer);
	brk_call_apply(core, call, BRK_CALL_EV_END);
}

void brk_settle_answer(
	struct brk_core *core, struct brk_call *call, const struct brk_keyed_answer *answer)
{
	struct answer said = { .reason = answer->reason,
		.status = answer->status,
		.retry_after_ms = answer->retry_after_ms,
		.payload = answer->payload };

	conclude(core, call, &said);
}

static void finish(struct brk_core *core, struct brk_call *call, const struct answer *answer)
{
	if (call->state == BRK_CALL_RUNNING) {
		brk_dispatch_ran(core, call);
		brk_drought_ran(
			core, call, answer->reason, answer->status, answer->no_state);
		if (is_failure(answer) && brk_again_try(core, call, answer->reason,
						  answer->status, answer->retry_after_ms))
			return;
	}
	conclude(core, call, answer);
}

static void finish_for(struct brk_core *core, struct brk_call *call, uint32_t reason)
{
	struct answer answer = { .reason = reason, .status = brk_reason_status(reason) };

	finish(core, call, &answer);
}

void brk_settle_refused(
	struct brk_core *core, struct brk_call *call, uint32_t reason, uint32_t retry_after_ms)
{
	struct answer answer = { .reason = reason,
		.status = brk_reason_status(reason),
		.retry_after_ms = retry_after_ms };

	finish(core, call, &answer);
}

void brk_settle_tell_worker(struct brk_core *core, const struct brk_call *call)
{
	struct brk_action *a;

	if (call->state != BRK_CALL_RUNNING)
		return;
	a = brk_act_item(core, call->link->peer->id, PIRN__KIND__CANCEL);
	a->item.has_slot = a->item.has_generation = true;
	a->item.slot = call->slot;
	a->item.generation = call->generation;
}

/* ---- results -------------------------------------------------------------- */

/* UNTRUSTED: a worker may say what only a run can know; anything else is a broken run. */
static struct answer answer_of(
	const struct brk_core *core, const Pirn__Item *item, const struct brk_payload *payload)
{
	struct answer answer = {
		.reason = item->reason, .status = item->status, .payload = *payload
	};

	switch (item->reason) {
	case PIRN__REASON__NONE:
		if (item->status < 200 || item->status > 599)
			answer.reason = PIRN__REASON__CRASHED;
		else if ((uint64_t)payload->meta_size + payload->data_size >
			 core->conf.max_item_bytes)
			answer.reason = PIRN__REASON__TOO_LARGE;
		break;
	case PIRN__REASON__DEADLINE:
	case PIRN__REASON__TOO_LARGE:
	case PIRN__REASON__CANCELLED:
	case PIRN__REASON__MALFORMED:
	case PIRN__REASON__OVERLOADED:
		break;
	default:
		answer.reason = PIRN__REASON__CRASHED;
	}
	if (item->has_retry_after_ms)
		answer.retry_after_ms = item->retry_after_ms;
	if (answer.reason != PIRN__REASON__NONE) {
		answer.status = brk_reason_status(answer.reason);
		answer.payload = (struct brk_payload){ 0 };
	}
	return answer;
}

static struct brk_call *find_run(
	struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item)
{
	struct brk_call *call = base_slab_get(&core->slab, item->slot, item->generation);

	if (!call || call->state != BRK_CALL_RUNNING)
		return NULL;
	return call->link->peer == peer || BRK_FAULTY(core, FOREIGN_RESULT) ? call : NULL;
}

/* Unrun. */
static void hand_back(struct brk_core *core, struct brk_call *call)
{
	brk_breaker_ran(core, call, BASE_BREAKER_UNKNOWN);
	if (call->delivery)
		brk_run_unrun(core, call);
	else
		brk_call_apply(core, call, BRK_CALL_EV_HAND_BACK);
}

/* The worker drains, so nothing more goes there, whether its DRAIN was heard or not. */
static void hand_back_for_good(struct brk_core *core, struct brk_peer *peer, struct brk_call *call)
{
	struct brk_link *link;

	if (!peer->draining) {
		peer->draining = true;
		DL_FOREACH2(peer->links, link, peer_next)
		brk_link_refresh(core, link);
	}
	hand_back(core, call);
}

/* The run counts as what it is; what follows is not the service's doing. What it sends is behind the answer. */
static void send_first(
	struct brk_core *core, struct brk_call *call, const struct answer *answer, size_t size)
{
	const struct brk_payload *payload = &answer->payload;
	struct brk_keyed_answer held = { .status = answer->status,
		.retry_after_ms = answer->retry_after_ms,
		.payload = *payload };

	brk_dispatch_ran(core, call);
	brk_drought_ran(core, call, answer->reason, answer->status, answer->no_state);
	brk_sending_begin(core, call, &held,
		payload->bytes + payload->meta_size + payload->data_size, size);
}

static void one_result(struct brk_core *core, struct brk_peer *peer, struct brk_call *call,
	const Pirn__Item *item, const struct brk_payload *payload)
{
	struct answer answer;

	if (item->reason == PIRN__REASON__DRAINING) {
		hand_back_for_good(core, peer, call);
		return;
	}
	if (item->reason == PIRN__REASON__NO_WORKER) {
		hand_back(core, call);
		return;
	}
	if (call->delivery) {
		brk_dispatch_ran(core, call);
		brk_run_result(core, call, item, payload);
		return;
	}
	answer = answer_of(core, item, payload);
	answer.no_state = item->flags & PIRN__ITEM_FLAG__NO_STATE;
	if (item->emit_size > 0 && answer.reason == PIRN__REASON__NONE && answer.status < 400)
		send_first(core, call, &answer, item->emit_size);
	else
		finish(core, call, &answer);
}

/* What the run sends is no part of its answer. UNTRUSTED: one that says more than came is broken. */
static bool cut_off(const Pirn__Item *item, struct brk_payload *payload)
{
	if (item->emit_size > payload->data_size)
		return false;
	payload->data_size -= item->emit_size;
	return true;
}

void brk_settle_result(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m)
{
	size_t offset = 0;

	for (size_t i = 0; i < m->head->n_items; i++) {
		const Pirn__Item *item = m->head->items[i];
		struct brk_payload payload = brk_payload_next(m, item, &offset);
		struct brk_call *call = find_run(core, peer, item);
		Pirn__Item broken = *item;

		if (!cut_off(item, &payload)) {
			broken.reason = PIRN__REASON__MALFORMED;
			broken.emit_size = 0;
		}
		if (call)
			one_result(core, peer, call, &broken, &payload);
		else
			core->figures.stale++;
	}
	brk_credit_apply(core, peer, m->head);
}

/* ---- other ends ----------------------------------------------------------- */

void brk_settle_lost(struct brk_core *core, struct brk_call *call)
{
	if (call->delivery) {
		brk_run_lost(core, call);
		return;
	}
	if (BRK_FAULTY(core, SWALLOW_LOST)) {
		brk_breaker_ran(core, call, BASE_BREAKER_UNKNOWN);
		brk_call_apply(core, call, BRK_CALL_EV_END);
		return;
	}
	finish_for(core, call, PIRN__REASON__WORKER_LOST);
}

void brk_settle_dropped(struct brk_core *core, struct brk_call *call)
{
	brk_settle_tell_worker(core, call);
	if (call->state == BRK_CALL_RUNNING)
		brk_breaker_ran(core, call, BASE_BREAKER_UNKNOWN);
	brk_call_apply(core, call, BRK_CALL_EV_END);
}

void brk_settle_expired(struct brk_core *core, struct brk_call *call)
{
	if (call->delivery) {
		brk_run_expired(core, call);
		return;
	}
	brk_settle_tell_worker(core, call);
	finish_for(core, call, PIRN__REASON__DEADLINE);
}

/* Only in a core that a test has broken. */
static void postpone(struct brk_core *core, struct brk_call *call)
{
	call->deadline_ms += 3600 * 1000;
	base_heap_remove(&core->deadlines, &call->deadline);
	if (base_heap_push(&core->deadlines, &call->deadline, call->deadline_ms))
		abort();
}

void brk_settle_expire(struct brk_core *core)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&core->deadlines)) && node->due <= core->now_ms) {
		struct brk_call *call = base_heap_of(node, struct brk_call, deadline);

		if (!brk_act_has_room(core))
			return;
		if (BRK_FAULTY(core, FORGET_DEADLINE) && call->state == BRK_CALL_WAITING)
			postpone(core, call);
		else
			brk_settle_expired(core, call);
	}
}

/* One that never ran may be sent elsewhere by its client: a refusal says so. */
void brk_settle_end(struct brk_core *core, struct brk_call *call)
{
	Pirn__Item item = core->blank_item;

	if (call->state == BRK_CALL_RUNNING || call->attempt > 0) {
		brk_settle_tell_worker(core, call);
		brk_keyed_release(core, call); /* what Redis says of its key comes too late */
		finish_for(core, call, PIRN__REASON__DRAINING);
		return;
	}
	item.slot = call->client_slot;
	item.generation = call->client_generation;
	brk_refuse(core, call->client, &item, PIRN__REASON__DRAINING, 0);
	core->n_returned++;
	brk_call_apply(core, call, BRK_CALL_EV_END);
}
