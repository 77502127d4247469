#include "broker/core/accept.h"

#include <stdio.h>
#include <string.h>

#include "base/manifest.h"
#include "broker/core/parts.h"

#define RETRY_AFTER_MS 1000u
#define KEY_MAX        255u
#define HASH_SIZE      16u
#define DELAY_MAX_MS   (366ull * 24 * 3600 * 1000)
#define TIMER_ROOM     (2 * (BASE_MANIFEST_NAME_MAX + 1)) /* service, slash, name, NUL */

/* ---- judging -------------------------------------------------------------- */

static bool is_skipped(const Pirn__Item *item)
{
	return item->timer && (item->flags & PIRN__ITEM_FLAG__SKIP_SLOT);
}

/* UNTRUSTED. Its moment is its slot, and its slot is its key; one that is skipped carries nothing. */
static bool is_timer_sound(const Pirn__Item *item)
{
	if (!item->timer)
		return !(item->flags & PIRN__ITEM_FLAG__SKIP_SLOT);
	if (!base_manifest_is_service(item->timer) || item->has_key || item->delay_ms > 0 ||
		item->not_before_ms > 0 || item->slot_ms <= item->previous_ms)
		return false;
	return !is_skipped(item) || (item->meta_size == 0 && item->data_size == 0);
}

/* UNTRUSTED. It becomes a header; what it means is for whoever calls it. */
static bool is_url(const char *text)
{
	size_t size = strnlen(text, BRK_CALLBACK_MAX + 1);

	if (size == 0 || size > BRK_CALLBACK_MAX)
		return false;
	for (size_t i = 0; i < size; i++)
		if ((uint8_t)text[i] <= 0x20 || (uint8_t)text[i] >= 0x7f)
			return false;
	return true;
}

/* UNTRUSTED. */
static bool is_well_formed(const Pirn__Item *item)
{
	if (!is_timer_sound(item))
		return false;
	if (!item->has_id || item->id.len != 16 || !item->has_lane || item->number == 0)
		return false;
	if (item->has_trace && item->trace.len != BRK_TRACE_SIZE)
		return false;
	if (item->callback && !is_url(item->callback))
		return false;
	if (!item->has_key)
		return !item->has_hash;
	return item->key.len >= 1 && item->key.len <= KEY_MAX && item->has_hash &&
	       item->hash.len == HASH_SIZE;
}

static uint32_t judge_room(const struct brk_core *core, uint64_t size)
{
	if (core->deliveries.n_used >= core->conf.max_events)
		return PIRN__REASON__QUEUE_FULL;
	if (core->event_bytes + size > core->conf.max_event_bytes)
		return PIRN__REASON__OVERLOADED;
	return PIRN__REASON__NONE;
}

static uint64_t size_of(const Pirn__Item *item)
{
	return (uint64_t)item->meta_size + item->data_size;
}

/* This and the next in the order of what a sender can do about it. */
static uint32_t judge_item(const struct brk_core *core, const Pirn__Item *item)
{
	if (!core->conf.events)
		return PIRN__REASON__UNSUPPORTED;
	if (!is_well_formed(item))
		return PIRN__REASON__MALFORMED;
	if (size_of(item) > core->conf.max_item_bytes)
		return PIRN__REASON__TOO_LARGE;
	if (core->draining)
		return PIRN__REASON__DRAINING;
	if (item->has_left_ms && item->left_ms == 0)
		return PIRN__REASON__DEADLINE;
	return PIRN__REASON__NONE;
}

static uint32_t judge_time(const struct brk_core *core, const Pirn__Item *item)
{
	if (!brk_owner_takes_events(core))
		return PIRN__REASON__NOT_DURABLE;
	/* Its moment is one of Redis's clock. */
	if ((item->delay_ms > 0 || item->not_before_ms > 0) && brk_owner_redis_ms(core) == 0)
		return PIRN__REASON__NOT_DURABLE;
	return PIRN__REASON__NONE;
}

uint32_t brk_accept_judge(const struct brk_core *core, const Pirn__Item *item)
{
	uint32_t reason = judge_item(core, item);

	return reason ? reason : judge_time(core, item);
}

uint32_t brk_accept_judge_room(
	const struct brk_core *core, const struct brk_service *service, uint64_t size)
{
	uint32_t reason = judge_room(core, size);

	return reason ? reason : brk_overload_judge_event(core, service, size);
}

/* The bounds of what comes from outside would let runs wait for one another: what ends makes room, and it
 * cannot end before what it sends is taken. */
uint32_t brk_accept_judge_sent(const struct brk_core *core, uint64_t size)
{
	if (core->deliveries.n_used / BRK_SENT_SHARE >= core->conf.max_events)
		return PIRN__REASON__QUEUE_FULL;
	if (core->event_bytes + size > BRK_SENT_SHARE * core->conf.max_event_bytes)
		return PIRN__REASON__OVERLOADED;
	return PIRN__REASON__NONE;
}

static uint32_t judge(
	const struct brk_core *core, const struct brk_service *service, const Pirn__Item *item)
{
	uint32_t reason = judge_item(core, item);

	if (reason == PIRN__REASON__NONE && !service)
		reason = PIRN__REASON__UNKNOWN_SERVICE;
	if (reason == PIRN__REASON__NONE)
		reason = judge_time(core, item);
	if (reason != PIRN__REASON__NONE || is_skipped(item))
		return reason;
	return brk_accept_judge_room(core, service, size_of(item));
}

static uint32_t retry_after(struct brk_core *core, uint32_t reason)
{
	switch (reason) {
	case PIRN__REASON__OVERLOADED:
	case PIRN__REASON__QUEUE_FULL:
		return brk_overload_retry_ms(core);
	case PIRN__REASON__NOT_DURABLE:
	case PIRN__REASON__KEYS_FULL:
	case PIRN__REASON__UNDECIDED:
		return RETRY_AFTER_MS;
	default:
		return 0;
	}
}

/* ---- answers -------------------------------------------------------------- */

/* NULL: it is gone, or another process has its number: then the answer would be stale there, which
 * harms nobody. A batch is mostly of one peer. */
static const struct brk_peer *sender_of(struct brk_core *core, struct brk_arrival *arrival)
{
	if (!arrival->waits)
		return NULL;
	arrival->waits = false;
	return brk_roster_find(core, arrival->peer);
}

/* True: that was all. */
static bool tell_call(struct brk_core *core, struct brk_arrival *arrival, uint32_t reason)
{
	if (arrival->sent && arrival->waits) {
		arrival->waits = false;
		brk_sending_told(core, arrival, reason);
	}
	return arrival->sent;
}

void brk_accept_yes(struct brk_core *core, struct brk_arrival *arrival, const uint8_t *id)
{
	const struct brk_peer *peer;
	struct brk_action *a;

	if (tell_call(core, arrival, PIRN__REASON__NONE))
		return;
	peer = sender_of(core, arrival);
	if (!peer)
		return;
	if (id && !(id = base_arena_dup(&core->said, id, 16))) {
		arrival->waits = true;
		brk_accept_no(core, arrival, PIRN__REASON__OVERLOADED);
		return;
	}
	a = brk_act_item(core, peer->id, PIRN__KIND__ACCEPTED);
	a->item.has_slot = a->item.has_generation = true;
	a->item.slot = arrival->slot;
	a->item.generation = arrival->generation;
	if (!arrival->delivery)
		return;
	a->item.has_id = true;
	a->item.has_flags = id != NULL;
	a->item.flags = id ? PIRN__ITEM_FLAG__REPLAYED : 0;
	/* The record may go with this input, its memory does not. */
	a->item.id =
		(ProtobufCBinaryData){ 16, id ? (uint8_t *)(uintptr_t)id : arrival->delivery->id };
}

void brk_accept_no(struct brk_core *core, struct brk_arrival *arrival, uint32_t reason)
{
	const struct brk_peer *peer;
	Pirn__Item item = core->blank_item;

	if (tell_call(core, arrival, reason))
		return;
	peer = sender_of(core, arrival);
	core->figures.events_refused++;
	if (!peer)
		return;
	item.slot = arrival->slot;
	item.generation = arrival->generation;
	brk_refuse(core, peer, &item, reason, retry_after(core, reason));
}

void brk_accept_no_slot(
	struct brk_core *core, struct brk_arrival *arrival, uint64_t last_ms, const uint8_t *running)
{
	const struct brk_peer *peer = sender_of(core, arrival);
	struct brk_action *a;

	if (!peer)
		return;
	if (running && !(running = base_arena_dup(&core->said, running, 16))) {
		arrival->waits = true;
		brk_accept_no(core, arrival, PIRN__REASON__OVERLOADED);
		return;
	}
	a = brk_act_item(core, peer->id, PIRN__KIND__REFUSED);
	a->item.has_slot = a->item.has_generation = a->item.has_reason = a->item.has_slot_ms = true;
	a->item.slot = arrival->slot;
	a->item.generation = arrival->generation;
	a->item.reason = PIRN__REASON__SLOT;
	a->item.slot_ms = last_ms;
	a->item.has_id = running != NULL;
	a->item.id = (ProtobufCBinaryData){ running ? 16 : 0, (uint8_t *)(uintptr_t)running };
}

void brk_accept_nothing(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item)
{
	const uint8_t *id = base_arena_dup(&core->said, item->id.data, 16);
	struct brk_action *a;

	if (!id) {
		brk_accept_refuse(core, peer, item, PIRN__REASON__OVERLOADED);
		return;
	}
	a = brk_act_item(core, peer->id, PIRN__KIND__ACCEPTED);
	a->item.has_slot = a->item.has_generation = a->item.has_id = true;
	a->item.slot = item->slot;
	a->item.generation = item->generation;
	a->item.id = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)id };
}

void brk_accept_drop(struct brk_core *core, struct brk_arrival *arrival,
	struct brk_delivery *const *deliveries, uint32_t reason)
{
	if (arrival->waits)
		brk_accept_no(core, arrival, reason);
	for (uint32_t i = 0; i < arrival->n; i++) {
		if (deliveries[i]->state == BRK_DELIVERY_RUNNING)
			brk_run_drop(core, deliveries[i]);
		brk_delivery_apply(core, deliveries[i], BRK_DELIVERY_EV_FORGET);
	}
	base_block_unref(&arrival->guard);
}

/* ---- arriving ------------------------------------------------------------- */

/* 0: at once. */
static uint64_t not_before(const struct brk_core *core, const Pirn__Item *item)
{
	uint64_t now = brk_owner_redis_ms(core), at = 0;

	if (item->delay_ms > 0)
		at = now + (item->delay_ms < DELAY_MAX_MS ? item->delay_ms : DELAY_MAX_MS);
	if (item->not_before_ms > at)
		at = item->not_before_ms;
	return at > now ? at : 0;
}

static void note(struct brk_core *core, struct brk_delivery *delivery, const Pirn__Item *item)
{
	if (item->flags & PIRN__ITEM_FLAG__WANT_RESULT)
		delivery->flags |= BRK_DELIVERY_KEEP_RESULT;
	delivery->hops = (uint8_t)(item->hops < UINT8_MAX ? item->hops : UINT8_MAX);
	if (item->has_trace) {
		delivery->flags |= BRK_DELIVERY_TRACED;
		memcpy(delivery->trace, item->trace.data, sizeof delivery->trace);
	}
	delivery->not_before_ms = not_before(core, item);
	/* Its age counts from when it may run: otherwise a long delay would end it unrun. */
	if (delivery->not_before_ms > 0)
		delivery->not_after_ms =
			brk_service_not_after(delivery->service, delivery->not_before_ms);
}

/* Redis knows it as service/name. */
static bool keep_timer(
	struct brk_core *core, struct brk_arrival *arrival, const Pirn__Item *item)
{
	char name[TIMER_ROOM];
	int size = snprintf(name, sizeof name, "%s/%s", item->service, item->timer);

	arrival->previous_ms = item->previous_ms;
	arrival->slot_ms = item->slot_ms;
	arrival->guard = base_pool_copy(&core->pool, name, (uint32_t)size + 1);
	return arrival->guard != NULL;
}

static bool keep_guard(struct brk_core *core, struct brk_arrival *arrival, const Pirn__Item *item)
{
	uint8_t bytes[KEY_MAX + HASH_SIZE];

	if (item->timer)
		return keep_timer(core, arrival, item);
	if (!item->has_key)
		return true;
	memcpy(bytes, item->key.data, item->key.len);
	memcpy(bytes + item->key.len, item->hash.data, item->hash.len);
	arrival->key_size = (uint16_t)item->key.len;
	arrival->hash_size = (uint16_t)item->hash.len;
	arrival->key_ttl_ms = item->key_ttl_ms;
	if (item->key_ttl_ms > core->conf.bounds.dedupe_ms)
		arrival->key_ttl_ms = (uint32_t)core->conf.bounds.dedupe_ms;
	arrival->guard =
		base_pool_copy(&core->pool, bytes, (uint32_t)(item->key.len + item->hash.len));
	return arrival->guard != NULL;
}

static struct brk_arrival arrival_of(
	const struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item)
{
	uint32_t left = core->conf.decide_ms;

	if (item->has_left_ms && item->left_ms < left)
		left = item->left_ms;
	return (struct brk_arrival){ .peer = peer->id,
		.slot = item->slot,
		.generation = item->generation,
		.waits = true,
		.has_lane = true,
		.lane = item->lane,
		.number = item->number,
		.decide_at = core->now_ms + left };
}

bool brk_accept_begin(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	struct brk_arrival *out)
{
	*out = arrival_of(core, peer, item);
	out->promised =
		(item->flags & PIRN__ITEM_FLAG__ACK_MEMORY) && !item->has_key && !item->timer;
	out->waits = !out->promised;
	return keep_guard(core, out, item);
}

struct brk_delivery *brk_accept_delivery(struct brk_core *core, struct brk_service *service,
	const Pirn__Item *item, const struct brk_payload *payload)
{
	struct brk_delivery *delivery = brk_delivery_new(
		core, service, item->id.data, payload->meta_size, payload->data_size);

	if (!delivery)
		return NULL;
	note(core, delivery, item);
	if (item->callback &&
		!(delivery->callback = base_pool_copy(&core->pool, item->callback,
			  (uint32_t)strlen(item->callback) + 1)))
		brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_FORGET), delivery = NULL;
	return delivery;
}

void brk_accept_taken(struct brk_core *core, struct brk_arrival *arrival)
{
	if (!arrival->promised && !BRK_FAULTY(core, ACCEPT_EARLY))
		return;
	arrival->waits = true;
	brk_accept_yes(core, arrival, NULL);
}

void brk_accept_refuse(
	struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item, uint32_t reason)
{
	core->figures.events_refused++;
	brk_refuse(core, peer, item, reason, retry_after(core, reason));
}

static bool arrive(struct brk_core *core, const struct brk_peer *peer, struct brk_service *service,
	const Pirn__Item *item, const struct brk_payload *payload)
{
	bool wanted = !is_skipped(item);
	struct brk_arrival arrival;
	struct brk_parcel parcel = { &arrival, payload, 1, &arrival.delivery };

	if (!brk_accept_begin(core, peer, item, &arrival))
		return false;
	if (wanted)
		arrival.delivery = brk_accept_delivery(core, service, item, payload);
	arrival.n = arrival.delivery != NULL;
	if (arrival.n != wanted || brk_ledger_store(core, &parcel)) {
		arrival.waits = false;
		brk_accept_drop(core, &arrival, &arrival.delivery, PIRN__REASON__NONE);
		return false;
	}
	brk_accept_taken(core, &arrival);
	return true;
}

void brk_accept_submit(struct brk_core *core, struct brk_peer *peer, struct brk_service *service,
	const Pirn__Item *item, const struct brk_payload *payload)
{
	uint32_t reason = judge(core, service, item);

	if (reason == PIRN__REASON__NONE && !arrive(core, peer, service, item, payload))
		reason = PIRN__REASON__OVERLOADED;
	if (reason != PIRN__REASON__NONE)
		brk_accept_refuse(core, peer, item, reason);
}
