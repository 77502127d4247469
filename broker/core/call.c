#include "broker/core/call.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/parts.h"

#define FIRST_BUCKETS 1024u

/* ---- states --------------------------------------------------------------- */

static const uint8_t next_state[BRK_CALL_STATE__N][BRK_CALL_EV__N] = {
#define X(from, event, to) [BRK_CALL_##from][BRK_CALL_EV_##event] = BRK_CALL_##to,
	BRK_CALL_EDGES(X)
#undef X
};

enum brk_call_state brk_call_next(enum brk_call_state from, enum brk_call_event event)
{
	return next_state[from][event];
}

const char *brk_call_state_name(enum brk_call_state state)
{
	static const char *const names[BRK_CALL_STATE__N] = { [BRK_CALL_ILLEGAL] = "ILLEGAL",
#define X(name) [BRK_CALL_##name] = #name,
		BRK_CALL_STATES(X)
#undef X
	};

	return names[state];
}

/* ---- the index ------------------------------------------------------------ */

enum base_err brk_call_index_init(struct brk_call_index *x, uint64_t seed)
{
	*x = (struct brk_call_index){ .mask = FIRST_BUCKETS - 1, .seed = seed };
	x->buckets = calloc(FIRST_BUCKETS, sizeof *x->buckets);
	return x->buckets ? BASE_OK : BASE_NOMEM;
}

void brk_call_index_fini(struct brk_call_index *x)
{
	free(x->buckets);
	x->buckets = NULL;
}

static uint32_t bucket_of(
	const struct brk_call_index *x, uint32_t client, uint32_t slot, uint32_t generation)
{
	uint64_t h = x->seed ^ ((uint64_t)client << 32 | slot);

	h = (h ^ h >> 31) * 0x9E3779B97F4A7C15u;
	h = (h ^ h >> 29 ^ generation) * 0xD6E8FEB86659FD93u;
	return (uint32_t)(h >> 32) & x->mask;
}

static struct brk_call **chain_of(const struct brk_call_index *x, const struct brk_call *call)
{
	return &x->buckets[bucket_of(
		x, call->client->id, call->client_slot, call->client_generation)];
}

/* Longer chains are slower, not wrong: without memory the index stays as it is. */
static void index_grow(struct brk_call_index *x)
{
	struct brk_call_index wider = *x;

	wider.mask = x->mask * 2 + 1;
	wider.buckets = calloc((size_t)wider.mask + 1, sizeof *wider.buckets);
	if (!wider.buckets)
		return;
	for (size_t i = 0; i <= x->mask; i++) {
		while (x->buckets[i]) {
			struct brk_call *call = x->buckets[i];
			x->buckets[i] = call->index_next;
			LL_PREPEND2(*chain_of(&wider, call), call, index_next);
		}
	}
	free(x->buckets);
	*x = wider;
}

static void index_add(struct brk_call_index *x, struct brk_call *call)
{
	struct brk_call **chain;

	if (x->n > x->mask && x->mask < UINT32_MAX / 2)
		index_grow(x);
	chain = chain_of(x, call);
	call->index_next = *chain;
	*chain = call;
	x->n++;
}

static void index_remove(struct brk_call_index *x, struct brk_call *call)
{
	struct brk_call **at = chain_of(x, call);

	while (*at != call)
		at = &(*at)->index_next;
	*at = call->index_next;
	x->n--;
}

struct brk_call *brk_call_find(
	struct brk_core *core, const struct brk_peer *client, uint32_t slot, uint32_t generation)
{
	struct brk_call *call =
		core->index.buckets[bucket_of(&core->index, client->id, slot, generation)];

	while (call && (call->client != client || call->client_slot != slot ||
			       call->client_generation != generation))
		call = call->index_next;
	return call;
}

/* ---- birth ---------------------------------------------------------------- */

static bool keep_payload(
	struct brk_core *core, struct brk_call *call, const struct brk_payload *payload)
{
	uint32_t size = payload->meta_size + payload->data_size;

	call->payload = *payload;
	call->payload.block = NULL;
	if (size == 0)
		return true;
	if (payload->block) {
		call->block = base_block_ref(payload->block);
		call->payload.block = call->block;
	} else {
		call->block = base_pool_copy(&core->pool, payload->bytes, size);
		if (!call->block)
			return false;
		call->payload.bytes = call->block->data;
	}
	if (BRK_FAULTY(core, WRONG_BYTES))
		call->payload.bytes++;
	core->kept_bytes += size;
	return true;
}

static void note_item(struct brk_call *call, const Pirn__Item *item)
{
	call->client_slot = item->slot;
	call->client_generation = item->generation;
	call->flags = item->flags;
	call->has_id = item->has_id;
	if (item->has_id)
		memcpy(call->id, item->id.data, sizeof call->id);
	call->has_trace = item->has_trace;
	if (item->has_trace)
		memcpy(call->trace, item->trace.data, sizeof call->trace);
}

static uint64_t deadline_of(
	const struct brk_core *core, const struct brk_service *service, const Pirn__Item *item)
{
	uint32_t left_ms = item->has_left_ms ? item->left_ms : service->timeout_ms;

	return core->now_ms + (left_ms < BRK_MAX_LEFT_MS ? left_ms : BRK_MAX_LEFT_MS);
}

enum base_err brk_call_new(struct brk_core *core, struct brk_peer *client,
	struct brk_service *service, const Pirn__Item *item, const struct brk_payload *payload,
	struct brk_call **out)
{
	uint64_t size = (uint64_t)payload->meta_size + payload->data_size;
	uint32_t slot, generation;
	struct brk_call *call;

	if (size > core->conf.max_bytes || core->kept_bytes > core->conf.max_bytes - size ||
		core->slab.n_used - core->n_runs >= core->conf.max_calls)
		return BASE_FULL;
	call = base_slab_take(&core->slab, &slot, &generation);
	if (!call)
		return BASE_FULL;
	call->slot = slot;
	call->generation = generation;
	call->deadline_ms = deadline_of(core, service, item);
	if (base_heap_push(&core->deadlines, &call->deadline, call->deadline_ms))
		goto fail;
	if (!keep_payload(core, call, payload))
		goto fail;
	note_item(call, item);
	call->state = BRK_CALL_NEW;
	call->service = service;
	call->client = client;
	call->arrived_us = core->now_us;
	DL_APPEND2(client->calls, call, client_prev, client_next);
	client->n_calls++;
	index_add(&core->index, call);
	*out = call;
	return BASE_OK;
fail:
	base_heap_remove(&core->deadlines, &call->deadline);
	base_slab_give(&core->slab, slot);
	return BASE_NOMEM;
}

struct brk_call *brk_call_new_run(
	struct brk_core *core, struct brk_delivery *delivery, uint64_t deadline_ms)
{
	uint32_t slot, generation;
	struct brk_call *call = base_slab_take(&core->slab, &slot, &generation);

	if (!call)
		return NULL;
	if (base_heap_push(&core->deadlines, &call->deadline, deadline_ms)) {
		base_slab_give(&core->slab, slot);
		return NULL;
	}
	call->slot = slot;
	call->generation = generation;
	call->deadline_ms = deadline_ms;
	call->state = BRK_CALL_NEW;
	call->service = delivery->service;
	call->delivery = delivery;
	call->attempt = delivery->attempt;
	call->arrived_us = core->now_us;
	call->payload = brk_delivery_payload(delivery);
	call->block = base_block_ref(call->payload.block);
	call->has_id = true;
	memcpy(call->id, delivery->id, sizeof call->id);
	call->has_trace = delivery->flags & BRK_DELIVERY_TRACED;
	memcpy(call->trace, delivery->trace, sizeof call->trace);
	core->n_runs++;
	return call;
}

/* ---- changes -------------------------------------------------------------- */

/* It had a place in the heap: there is room for it. */
static void set_due(struct brk_core *core, struct brk_call *call, uint64_t due)
{
	enum base_err err;

	if (call->deadline.due == due)
		return;
	base_heap_remove(&core->deadlines, &call->deadline);
	err = base_heap_push(&core->deadlines, &call->deadline, due);
	assert(!err);
}

static void leave(struct brk_core *core, struct brk_call *call, enum brk_call_state to)
{
	switch (call->state) {
	case BRK_CALL_WAITING:
		brk_queue_remove(&call->service->queue, call);
		brk_overload_left(core, call, to == BRK_CALL_RUNNING);
		core->n_waiting--;
		break;
	case BRK_CALL_RUNNING:
		DL_DELETE(call->link->running, call);
		call->prev = call->next = NULL;
		call->link->n_running--;
		call->link->peer->n_running--;
		call->service->n_running--;
		core->n_running--;
		call->link = NULL;
		break;
	case BRK_CALL_SENDING:
		core->n_sending--;
		break;
	default:
		break;
	}
}

static void run(struct brk_core *core, struct brk_call *call)
{
	struct brk_link *link = call->link;
	uint64_t end_ms = core->now_ms + call->service->timeout_ms;

	if (!call->delivery && end_ms < call->deadline_ms && !BRK_FAULTY(core, TIMEOUT_FORGOTTEN))
		set_due(core, call, end_ms);
	brk_link_use(core, link);
	DL_APPEND(link->running, call);
	link->n_running++;
	link->peer->n_running++;
	call->service->n_running++;
	core->n_running++;
	call->attempt++;
}

/* A run that came back is under a name of its own: what its worker may yet say of the one before (that
 * it was late, or cancelled) is not the next one's, which may go to the same worker. */
static void wait_turn(struct brk_core *core, struct brk_call *call, enum brk_call_event event)
{
	if (event != BRK_CALL_EV_QUEUE)
		call->generation = base_slab_renew(&core->slab, call->slot);
	if (event == BRK_CALL_EV_HAND_BACK)
		call->attempt--;
	if (event == BRK_CALL_EV_QUEUE || event == BRK_CALL_EV_RETRY)
		brk_queue_push(&call->service->queue, call);
	else
		brk_queue_push_front(&call->service->queue, call);
	call->queued_ms = core->now_ms;
	set_due(core, call, call->deadline_ms);
	brk_overload_came(core, call);
	core->n_waiting++;
}

static void end_of_client(struct brk_core *core, struct brk_call *call)
{
	index_remove(&core->index, call);
	DL_DELETE2(call->client->calls, call, client_prev, client_next);
	call->client->n_calls--;
	if (call->block)
		core->kept_bytes -= brk_call_size(call);
}

static void end(struct brk_core *core, struct brk_call *call)
{
	base_heap_remove(&core->deadlines, &call->deadline);
	if (call->claim)
		brk_keyed_release(core, call);
	if (!call->delivery)
		end_of_client(core, call);
	else if (core->n_runs-- == core->conf.max_calls)
		brk_run_wake_all(core);
	base_block_unref(&call->block);
	base_slab_give(&core->slab, call->slot);
}

void brk_call_apply(struct brk_core *core, struct brk_call *call, enum brk_call_event event)
{
	struct brk_link *link = call->link;
	enum brk_call_state to = brk_call_next(call->state, event);

	assert(to != BRK_CALL_ILLEGAL);
	brk_service_touch(core, call->service);
	leave(core, call, to);
	call->state = to;
	if (to == BRK_CALL_RUNNING) {
		call->link = link;
		run(core, call);
	} else if (to == BRK_CALL_WAITING) {
		wait_turn(core, call, event);
	} else if (to == BRK_CALL_ANSWERING || to == BRK_CALL_SENDING) {
		base_heap_remove(&core->deadlines, &call->deadline); /* it did end in time */
		core->n_sending += to == BRK_CALL_SENDING;
	} else if (to == BRK_CALL_ENDED) {
		end(core, call);
	}
}
