#include "broker/core/run.h"

#include <assert.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/parts.h"

#define AGELESS_MS (30ull * 24 * 3600 * 1000) /* as old as a manifest lets an event grow */

/* ---- before ---------------------------------------------------------------- */

bool brk_run_is_wanted(const struct brk_core *core, const struct brk_service *service)
{
	return service->events[BRK_DELIVERY_READY].n > 0 && !service->parched && !core->draining &&
	       brk_owner_is_trusted(core) && core->n_runs < core->conf.max_calls;
}

void brk_run_wake_all(struct brk_core *core)
{
	struct brk_service *service, *next;

	HASH_ITER (hh, core->services, service, next)
		if (service->events[BRK_DELIVERY_READY].n > 0)
			brk_service_touch(core, service);
}

uint32_t brk_run_attempts(const struct brk_delivery *delivery)
{
	uint32_t attempts = delivery->service->retry.attempts;

	return attempts ? delivery->budget - 1 + attempts : 0;
}

/* Min(now, trust) is now: nothing is sent beyond the trust. */
static uint64_t lease_end(const struct brk_core *core, uint64_t left_ms)
{
	return brk_owner_redis_ms(core) + left_ms + BRK_LEASE_MS;
}

static void note_lease(const struct brk_core *core, struct brk_delivery *delivery)
{
	uint64_t end = lease_end(core, delivery->service->timeout_ms);

	if (end > delivery->fence_ms)
		delivery->fence_ms = end;
}

bool brk_run_is_too_old(const struct brk_core *core, const struct brk_service *service)
{
	const struct brk_delivery *delivery = service->events[BRK_DELIVERY_READY].head;

	return delivery->not_after_ms > 0 && delivery->not_after_ms <= brk_owner_redis_ms(core);
}

struct brk_call *brk_run_new(struct brk_core *core, struct brk_service *service)
{
	struct brk_delivery *delivery = service->events[BRK_DELIVERY_READY].head;
	struct brk_call *call =
		brk_call_new_run(core, delivery, core->now_ms + service->timeout_ms + BRK_LEASE_MS);

	if (!call)
		return NULL;
	delivery->call = call;
	note_lease(core, delivery);
	brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_RUN);
	return call;
}

/* ---- DISPATCH -------------------------------------------------------------- */

/* When its records may go at the latest, should nobody settle it: a margin after its last moment. One that
 * has none may be run again much later. */
static uint64_t keep_until(const struct brk_delivery *delivery, uint64_t lease)
{
	uint64_t last = delivery->not_after_ms ? delivery->not_after_ms : lease + AGELESS_MS;

	last += delivery->service->timeout_ms;
	return (last > lease ? last : lease) + BRK_KEEP_MS;
}

static void describe_event(
	const struct brk_core *core, const struct brk_delivery *delivery, Pirn__Item *item)
{
	uint64_t lease = lease_end(core, delivery->service->timeout_ms);

	item->has_flags = item->has_attempts = item->has_epoch = true;
	item->flags = PIRN__ITEM_FLAG__EVENT | PIRN__ITEM_FLAG__RECORD;
	if (delivery->deaths >= BRK_DEATHS_ALONE && !BRK_FAULTY(core, FORGET_DEATHS))
		item->flags |= PIRN__ITEM_FLAG__ALONE;
	item->left_ms = delivery->service->timeout_ms;
	item->attempt = BRK_FAULTY(core, NO_RUN_TOKEN) ? 1 : delivery->attempt;
	item->attempts = brk_run_attempts(delivery);
	item->epoch = BRK_FAULTY(core, NO_RUN_TOKEN) ? 1 : core->owner.epoch;
	if (BRK_FAULTY(core, LEASE_TOO_LONG))
		lease += 3600 * 1000;
	item->lease_end_ms = lease;
	item->keep_until_ms = keep_until(delivery, lease);
}

/* A call that may run again records, too, so that its second run replays what the first did. */
static void describe_call(
	const struct brk_core *core, const struct brk_call *call, Pirn__Item *item)
{
	item->has_flags = item->has_epoch = true;
	item->flags |= PIRN__ITEM_FLAG__RECORD;
	item->epoch = 0;
	item->lease_end_ms = lease_end(core, item->left_ms);
	item->keep_until_ms = item->lease_end_ms + BRK_KEEP_MS;
	brk_keyed_describe(core, call, item);
}

void brk_run_describe(const struct brk_core *core, const struct brk_call *call, Pirn__Item *item)
{
	if (call->delivery)
		describe_event(core, call->delivery, item);
	else if ((call->flags & PIRN__ITEM_FLAG__IDEMPOTENT) && call->has_id &&
		 brk_owner_redis_ms(core) > 0)
		describe_call(core, call, item);
	else
		return;
	item->has_lease_end_ms = item->has_keep_until_ms = true;
}

/* ---- after ----------------------------------------------------------------- */

/* The call goes; its delivery is RUNNING without a run. */
static struct brk_delivery *part(struct brk_core *core, struct brk_call *call)
{
	struct brk_delivery *delivery = call->delivery;

	delivery->call = NULL;
	brk_call_apply(core, call, BRK_CALL_EV_END);
	return delivery;
}

/* UNTRUSTED: what a worker may say of a run; anything else is a broken one. */
static uint32_t reason_of(
	const struct brk_core *core, const Pirn__Item *item, const struct brk_payload *payload)
{
	switch (item->reason) {
	case PIRN__REASON__NONE:
		if (item->status < 200 || item->status > 599)
			return PIRN__REASON__CRASHED;
		if ((uint64_t)payload->meta_size + payload->data_size > core->conf.max_item_bytes)
			return PIRN__REASON__TOO_LARGE;
		return PIRN__REASON__NONE;
	case PIRN__REASON__DEADLINE:
	case PIRN__REASON__TOO_LARGE:
	case PIRN__REASON__CANCELLED:
	case PIRN__REASON__MALFORMED:
	case PIRN__REASON__OVERLOADED:
	case PIRN__REASON__LEASE:
	case PIRN__REASON__NOT_DURABLE:
		return item->reason;
	default:
		return PIRN__REASON__CRASHED;
	}
}

void brk_run_result(struct brk_core *core, struct brk_call *call, const Pirn__Item *item,
	const struct brk_payload *payload)
{
	uint32_t reason = reason_of(core, item, payload);
	struct brk_outcome outcome = { .reason = reason,
		.status = reason == PIRN__REASON__NONE ? item->status : 0,
		.retry_after_ms = item->retry_after_ms,
		.recorded = item->flags & PIRN__ITEM_FLAG__RECORDED,
		.doubt = item->flags & PIRN__ITEM_FLAG__DOUBTED,
		.no_state = item->flags & PIRN__ITEM_FLAG__NO_STATE,
		.error = item->error,
		.worker = call->link->peer->name };
	uint64_t started_us = call->dispatched_us;

	brk_drought_ran(core, call, reason, outcome.status, outcome.no_state);
	if (reason == PIRN__REASON__NONE) {
		outcome.payload = *payload;
		outcome.sent_size = item->emit_size;
		if (outcome.sent_size > 0)
			outcome.sent = payload->bytes + payload->meta_size + payload->data_size;
	}
	core->figures.events_diverged += (item->flags & PIRN__ITEM_FLAG__DIVERGED) != 0;
	brk_ending_run(core, part(core, call), started_us, &outcome);
}

void brk_run_unrun(struct brk_core *core, struct brk_call *call)
{
	struct brk_delivery *delivery = part(core, call);

	brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_UNRUN);
	if (!delivery->entry) /* Redis lost it: it is being stored anew */
		brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_MOVE);
}

/* A death is charged to what ran in the worker; a worker that went in order has not died. */
void brk_run_lost(struct brk_core *core, struct brk_call *call)
{
	const struct brk_peer *worker = call->link->peer;
	struct brk_outcome outcome = { .reason = PIRN__REASON__WORKER_LOST,
		.recorded = true,
		.doubt = true,
		.worker = worker->name };
	uint64_t started_us = call->dispatched_us;
	bool died = !worker->orderly && !BRK_FAULTY(core, FORGET_DEATHS);
	struct brk_delivery *delivery;

	brk_breaker_ran(
		core, call, brk_breaker_verdict(core, call, PIRN__REASON__WORKER_LOST, 0));
	delivery = part(core, call);

	if (died && delivery->deaths < UINT16_MAX)
		delivery->deaths++;
	core->figures.events_redelivered++;
	brk_ending_run(core, delivery, started_us, &outcome);
}

void brk_run_expired(struct brk_core *core, struct brk_call *call)
{
	struct brk_outcome outcome = { .reason = PIRN__REASON__DEADLINE,
		.recorded = true,
		.doubt = true,
		.worker = call->link->peer->name };
	uint64_t started_us = call->dispatched_us;

	brk_settle_tell_worker(core, call);
	brk_breaker_ran(core, call, brk_breaker_verdict(core, call, PIRN__REASON__DEADLINE, 0));
	brk_ending_run(core, part(core, call), started_us, &outcome);
}

void brk_run_drop(struct brk_core *core, struct brk_delivery *delivery)
{
	assert(delivery->call);
	brk_settle_tell_worker(core, delivery->call);
	brk_breaker_ran(core, delivery->call, BASE_BREAKER_UNKNOWN);
	part(core, delivery->call);
}
