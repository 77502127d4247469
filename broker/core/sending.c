#include "broker/core/sending.h"

#include <string.h>

#include "broker/core/emit.h"
#include "broker/core/parts.h"

#define RETRY_AFTER_MS 1000u
#define ID_SIZE        16u

/* ---- the answer ----------------------------------------------------------- */

/* Whatever it was, the run has happened, and the caller has named no unknown service: so it has a reason of its
 * own. What gets better by itself is 503, a mistake of the service's is not. */
static struct brk_keyed_answer refusal(struct brk_core *core, uint32_t reason)
{
	switch (reason) {
	case PIRN__REASON__OVERLOADED:
	case PIRN__REASON__QUEUE_FULL:
		return (struct brk_keyed_answer){ 503, PIRN__REASON__UNSENT,
			brk_overload_retry_ms(core), { 0 } };
	case PIRN__REASON__NOT_DURABLE:
	case PIRN__REASON__KEYS_FULL:
		return (struct brk_keyed_answer){ 503, PIRN__REASON__UNSENT, RETRY_AFTER_MS,
			{ 0 } };
	case PIRN__REASON__UNDECIDED:
	case PIRN__REASON__MOVED:
		return (struct brk_keyed_answer){ 503, PIRN__REASON__UNDECIDED, RETRY_AFTER_MS,
			{ 0 } };
	case PIRN__REASON__UNSUPPORTED:
		return (struct brk_keyed_answer){ 501, reason, 0, { 0 } };
	default:
		return (struct brk_keyed_answer){ 502, PIRN__REASON__UNSENT, 0, { 0 } };
	}
}

static void refuse(struct brk_core *core, struct brk_call *call, uint32_t reason)
{
	struct brk_keyed_answer answer = refusal(core, reason);

	core->figures.unsent++;
	if (answer.status == 502)
		brk_act_log(core, BRK_LOG_sent_refused, call->service->name, reason);
	brk_settle_answer(core, call, &answer);
}

/* The call ends with this input, and its memory with it; the answer is sent after. */
static void answer_held(struct brk_core *core, struct brk_call *call)
{
	struct brk_keyed_answer answer = { .status = call->held_status,
		.retry_after_ms = call->held_after_ms,
		.payload = call->payload };
	size_t size = (size_t)brk_call_size(call);
	uint8_t *room = size > 0 ? brk_answer_room(core, size) : NULL;

	if (size > 0 && !room) {
		refuse(core, call, PIRN__REASON__UNDECIDED);
		return;
	}
	if (size > 0)
		memcpy(room, call->payload.bytes, size);
	answer.payload.bytes = room;
	answer.payload.block = NULL;
	brk_settle_answer(core, call, &answer);
}

/* ---- marks that a repetition finds ------------------------------------------ */

/* Of an id that no event has. */
static uint64_t lane_of(const struct brk_emitter *emitter)
{
	uint8_t id[ID_SIZE];
	uint64_t lane;

	brk_emit_id(emitter, UINT32_MAX, id);
	memcpy(&lane, id + 6, sizeof lane);
	return lane;
}

/* The same whatever the repetition sends: the first one counts. */
static bool add_key(struct brk_core *core, const struct brk_emitter *emitter, struct brk_arrival *a)
{
	uint8_t bytes[2 * ID_SIZE];

	brk_emit_id(emitter, (uint32_t)a->number - 1, bytes);
	memcpy(bytes + ID_SIZE, bytes, ID_SIZE);
	a->key_size = a->hash_size = ID_SIZE;
	a->guard = base_pool_copy(&core->pool, bytes, sizeof bytes);
	return a->guard != NULL;
}

static uint64_t decide_at(const struct brk_core *core, const struct brk_call *call)
{
	uint64_t left = call->deadline_ms > core->now_ms ? call->deadline_ms - core->now_ms : 0;
	uint64_t hurry = left / BRK_SENDING_SHARE;

	left -= hurry < BRK_SENDING_HURRY_MS ? hurry : BRK_SENDING_HURRY_MS;
	return core->now_ms + (left < core->conf.decide_ms ? left : core->conf.decide_ms);
}

static bool address(
	struct brk_core *core, const struct brk_call *call, const struct brk_emitter *emitter)
{
	struct brk_fan *fan = &core->fan;
	bool repeats = call->flags & PIRN__ITEM_FLAG__IDEMPOTENT;

	for (uint32_t i = 0; i < fan->n_arrivals; i++) {
		struct brk_arrival *a = &fan->arrivals[i];

		a->sent = a->waits = true;
		a->slot = call->slot;
		a->generation = call->generation;
		a->decide_at = decide_at(core, call);
		a->together = i + 1 < fan->n_arrivals;
		if (call->claim && !add_key(core, emitter, a))
			return false;
		a->has_lane = repeats && !call->claim;
		a->lane = a->has_lane ? lane_of(emitter) : 0;
	}
	return true;
}

/* ---- holding ---------------------------------------------------------------- */

/* The answer takes the request's place. False: there is no room, and nothing has changed. */
static bool hold(
	struct brk_core *core, struct brk_call *call, const struct brk_keyed_answer *answer)
{
	uint64_t size = (uint64_t)answer->payload.meta_size + answer->payload.data_size;
	uint64_t others = core->kept_bytes - brk_call_size(call);
	struct base_block *block = NULL;

	if (size > core->conf.max_bytes || others > core->conf.max_bytes - size)
		return false;
	if (size > 0 &&
		!(block = base_pool_copy(&core->pool, answer->payload.bytes, (uint32_t)size)))
		return false;
	base_block_unref(&call->block);
	core->kept_bytes = others + size;
	call->block = block;
	call->payload = answer->payload;
	call->payload.bytes = block ? block->data : NULL;
	call->payload.block = block;
	call->held_status = answer->status;
	call->held_after_ms = answer->retry_after_ms;
	call->n_sending = core->fan.n_arrivals;
	return true;
}

static uint32_t store(struct brk_core *core, struct brk_call *call,
	const struct brk_emitter *emitter, const struct brk_keyed_answer *answer)
{
	struct brk_fan *fan = &core->fan;
	struct brk_parcel parcel = {
		fan->arrivals, fan->payloads, fan->n_arrivals, fan->deliveries
	};

	if (!address(core, call, emitter) || !hold(core, call, answer))
		return PIRN__REASON__OVERLOADED;
	return brk_ledger_store(core, &parcel) ? PIRN__REASON__OVERLOADED : PIRN__REASON__NONE;
}

static uint32_t judge(const struct brk_core *core, const struct brk_call *call)
{
	if (!core->conf.events)
		return PIRN__REASON__UNSUPPORTED;
	if (!call->has_id)
		return PIRN__REASON__MALFORMED;
	return brk_owner_takes_events(core) ? PIRN__REASON__NONE : PIRN__REASON__NOT_DURABLE;
}

void brk_sending_begin(struct brk_core *core, struct brk_call *call,
	const struct brk_keyed_answer *answer, const uint8_t *sent, size_t size)
{
	struct brk_emitter emitter = { .id = call->id,
		.service = call->service,
		.trace = call->has_trace ? call->trace : NULL,
		.by_call = true };
	uint32_t reason = judge(core, call), n_nothing;

	if (reason == PIRN__REASON__NONE)
		reason = brk_emit_read(core, &emitter, sent, size);
	if (reason != PIRN__REASON__NONE) {
		refuse(core, call, reason);
		return;
	}
	n_nothing = core->fan.n_nothing;
	if (core->fan.n_arrivals > 0)
		reason = store(core, call, &emitter, answer);
	if (reason != PIRN__REASON__NONE) {
		brk_fan_undo(core);
		refuse(core, call, reason);
		return;
	}
	core->figures.events_unrouted += n_nothing;
	if (core->fan.n_arrivals > 0 && !BRK_FAULTY(core, CALL_SENDS_LATE))
		brk_call_apply(core, call, BRK_CALL_EV_SEND);
	else
		brk_settle_answer(core, call, answer);
}

void brk_sending_told(struct brk_core *core, const struct brk_arrival *arrival, uint32_t reason)
{
	struct brk_call *call = base_slab_get(&core->slab, arrival->slot, arrival->generation);

	if (!call || call->state != BRK_CALL_SENDING)
		return;
	if (reason != PIRN__REASON__NONE && !BRK_FAULTY(core, CALL_UNSENT_UNSAID))
		refuse(core, call, reason);
	else if (--call->n_sending == 0)
		answer_held(core, call);
}
