#include "broker/core/delivery.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/parts.h"

#define FIRST_BUCKETS 1024u

/* ---- states --------------------------------------------------------------- */

static const uint8_t next_state[BRK_DELIVERY_STATE__N][BRK_DELIVERY_EV__N] = {
#define X(from, event, to) [BRK_DELIVERY_##from][BRK_DELIVERY_EV_##event] = BRK_DELIVERY_##to,
	BRK_DELIVERY_EDGES(X)
#undef X
};

enum brk_delivery_state brk_delivery_state_after(
	enum brk_delivery_state from, enum brk_delivery_event event)
{
	return next_state[from][event];
}

const char *brk_delivery_state_name(enum brk_delivery_state state)
{
	static const char *const names[BRK_DELIVERY_STATE__N] = {
		[BRK_DELIVERY_ILLEGAL] = "ILLEGAL",
		[BRK_DELIVERY_GONE] = "GONE",
#define X(name) [BRK_DELIVERY_##name] = #name,
		BRK_DELIVERY_STATES(X)
#undef X
	};

	return names[state];
}

/* ---- the index ------------------------------------------------------------ */

enum base_err brk_delivery_index_init(struct brk_delivery_index *x, uint64_t seed)
{
	*x = (struct brk_delivery_index){ .mask = FIRST_BUCKETS - 1, .seed = seed };
	x->buckets = calloc(FIRST_BUCKETS, sizeof *x->buckets);
	return x->buckets ? BASE_OK : BASE_NOMEM;
}

void brk_delivery_index_fini(struct brk_delivery_index *x)
{
	free(x->buckets);
	x->buckets = NULL;
}

/* Ids of one millisecond count up in their last byte, which is b's highest: a product carries nothing
 * down from there, so it is folded before. */
static struct brk_delivery **chain_of(const struct brk_delivery_index *x, const uint8_t *id)
{
	uint64_t a, b, h;

	memcpy(&a, id, sizeof a);
	memcpy(&b, id + sizeof a, sizeof b);
	h = (x->seed ^ a) * 0x9E3779B97F4A7C15u;
	h ^= h >> 29 ^ b;
	h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
	return &x->buckets[(uint32_t)(h >> 32) & x->mask];
}

static struct brk_delivery *turned_round(struct brk_delivery *chain)
{
	struct brk_delivery *out = NULL, *one;

	while ((one = chain)) {
		chain = one->id_next;
		LL_PREPEND2(out, one, id_next);
	}
	return out;
}

/* Longer chains are slower, not wrong: without memory the index stays as it is. What was behind another one
 * still is: somebody may be on his way along the chain. */
static void index_grow(struct brk_delivery_index *x)
{
	struct brk_delivery_index wider = *x;

	wider.mask = x->mask * 2 + 1;
	wider.buckets = calloc((size_t)wider.mask + 1, sizeof *wider.buckets);
	if (!wider.buckets)
		return;
	for (size_t i = 0; i <= x->mask; i++) {
		struct brk_delivery *chain = turned_round(x->buckets[i]), *delivery;

		while ((delivery = chain)) {
			chain = delivery->id_next;
			LL_PREPEND2(*chain_of(&wider, delivery->id), delivery, id_next);
		}
	}
	free(x->buckets);
	*x = wider;
}

static void index_add(struct brk_delivery_index *x, struct brk_delivery *delivery)
{
	struct brk_delivery **chain;

	if (x->n > x->mask && x->mask < UINT32_MAX / 2)
		index_grow(x);
	chain = chain_of(x, delivery->id);
	delivery->id_next = *chain;
	*chain = delivery;
	x->n++;
}

static void index_remove(struct brk_delivery_index *x, struct brk_delivery *delivery)
{
	struct brk_delivery **at = chain_of(x, delivery->id);

	while (*at != delivery)
		at = &(*at)->id_next;
	*at = delivery->id_next;
	x->n--;
}

static struct brk_delivery *same_id(struct brk_delivery *delivery, const uint8_t *id)
{
	while (delivery && memcmp(delivery->id, id, sizeof delivery->id) != 0)
		delivery = delivery->id_next;
	return delivery;
}

struct brk_delivery *brk_delivery_first(const struct brk_core *core, const uint8_t id[16])
{
	return same_id(*chain_of(&core->by_id, id), id);
}

struct brk_delivery *brk_delivery_next(const struct brk_delivery *delivery)
{
	return same_id(delivery->id_next, delivery->id);
}

struct brk_delivery *brk_delivery_find(
	const struct brk_core *core, const uint8_t id[16], const struct brk_service *service)
{
	struct brk_delivery *delivery = brk_delivery_first(core, id);

	while (delivery && delivery->service != service)
		delivery = brk_delivery_next(delivery);
	return delivery;
}

/* ---- birth ---------------------------------------------------------------- */

/* Room for one more timer, so that setting one never fails. */
static bool reserve_timer(struct brk_core *core)
{
	size_t capacity = core->timers.capacity;

	if (core->deliveries.n_used < capacity)
		return true;
	return !base_heap_reserve(&core->timers, capacity ? capacity * 2 : 1024);
}

struct brk_delivery *brk_delivery_new(struct brk_core *core, struct brk_service *service,
	const uint8_t id[16], uint32_t meta_size, uint32_t data_size)
{
	uint32_t slot, generation;
	struct brk_delivery *delivery;

	if (!reserve_timer(core))
		return NULL;
	delivery = base_slab_take(&core->deliveries, &slot, &generation);
	if (!delivery)
		return NULL;
	delivery->slot = slot;
	delivery->service = service;
	delivery->state = BRK_DELIVERY_ARRIVING;
	delivery->meta_size = meta_size;
	delivery->data_size = data_size;
	delivery->budget = 1;
	memcpy(delivery->id, id, sizeof delivery->id);
	index_add(&core->by_id, delivery);
	core->event_bytes += brk_delivery_size(delivery);
	service->overload.open_event_bytes += brk_delivery_size(delivery);
	DL_APPEND(service->events[delivery->state].head, delivery);
	service->events[delivery->state].n++;
	core->n_events[delivery->state]++;
	return delivery;
}

struct brk_payload brk_delivery_payload(const struct brk_delivery *delivery)
{
	return (struct brk_payload){
		.bytes = delivery->entry->body->data + delivery->body_at,
		.meta_size = delivery->meta_size,
		.data_size = delivery->data_size,
		.block = delivery->entry->body,
	};
}

/* ---- changes -------------------------------------------------------------- */

static void give_back(struct brk_core *core, struct brk_delivery *delivery)
{
	if (delivery->entry)
		brk_entry_leave(core, delivery);
	index_remove(&core->by_id, delivery);
	core->event_bytes -= brk_delivery_size(delivery);
	delivery->service->overload.open_event_bytes -= brk_delivery_size(delivery);
	base_block_unref(&delivery->past);
	base_block_unref(&delivery->callback);
	base_slab_give(&core->deliveries, delivery->slot);
}

static void set_timer(struct brk_core *core, struct brk_delivery *delivery, uint64_t redis_ms)
{
	uint64_t due = brk_owner_local_ms(core, redis_ms);

	base_heap_remove(&core->timers, &delivery->timer);
	if (base_heap_push(&core->timers, &delivery->timer, due))
		abort(); /* brk_delivery_new reserved the room */
}

/* Rewritten as one of the oldest that are ready: it is not to wait behind all the others for that. */
static bool keeps_its_place(
	const struct brk_delivery *delivery, const struct brk_delivery_list *list)
{
	return delivery->state == BRK_DELIVERY_READY && list->head &&
	       (delivery->flags & BRK_DELIVERY_REWRITTEN) &&
	       delivery->accepted_ms <= list->head->accepted_ms;
}

static void enter(
	struct brk_core *core, struct brk_delivery *delivery, enum brk_delivery_event event)
{
	struct brk_delivery_list *list = &delivery->service->events[delivery->state];

	if (event == BRK_DELIVERY_EV_UNRUN || keeps_its_place(delivery, list))
		DL_PREPEND(list->head, delivery);
	else
		DL_APPEND(list->head, delivery);
	list->n++;
	core->n_events[delivery->state]++;
	if (delivery->state == BRK_DELIVERY_WAITING)
		set_timer(core, delivery, delivery->not_before_ms);
	else if (delivery->state == BRK_DELIVERY_READY && delivery->not_after_ms > 0)
		set_timer(core, delivery, delivery->not_after_ms);
}

static void leave(struct brk_core *core, struct brk_delivery *delivery)
{
	struct brk_delivery_list *list = &delivery->service->events[delivery->state];

	DL_DELETE(list->head, delivery);
	list->n--;
	core->n_events[delivery->state]--;
	base_heap_remove(&core->timers, &delivery->timer);
}

void brk_delivery_apply(
	struct brk_core *core, struct brk_delivery *delivery, enum brk_delivery_event event)
{
	enum brk_delivery_state to = brk_delivery_state_after(delivery->state, event);

	assert(to != BRK_DELIVERY_ILLEGAL);
	leave(core, delivery);
	brk_service_touch(core, delivery->service);
	if (event == BRK_DELIVERY_EV_STORED && delivery->not_before_ms > brk_owner_redis_ms(core) &&
		!BRK_FAULTY(core, FORGET_NOT_BEFORE))
		to = BRK_DELIVERY_WAITING;
	if (to == BRK_DELIVERY_GONE) {
		give_back(core, delivery);
		return;
	}
	if (event == BRK_DELIVERY_EV_RUN)
		delivery->attempt++;
	else if (event == BRK_DELIVERY_EV_UNRUN)
		delivery->attempt--;
	delivery->state = (uint8_t)to;
	enter(core, delivery, event);
	if (event == BRK_DELIVERY_EV_STORED)
		delivery->flags &= (uint8_t)~BRK_DELIVERY_REWRITTEN;
}

/* ---- time ----------------------------------------------------------------- */

static bool is_too_old(const struct brk_delivery *delivery, uint64_t now_ms)
{
	return delivery->not_after_ms > 0 && delivery->not_after_ms <= now_ms;
}

/* Redis's clock may have been set: what is due here may not be due there. */
static void fall_due(struct brk_core *core, struct brk_delivery *delivery)
{
	uint64_t now = brk_owner_redis_ms(core);

	if (is_too_old(delivery, now))
		brk_ending_expire(core, delivery);
	else if (delivery->state == BRK_DELIVERY_READY)
		set_timer(core, delivery, delivery->not_after_ms);
	else if (delivery->not_before_ms > now)
		set_timer(core, delivery, delivery->not_before_ms);
	else
		brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_DUE);
}

void brk_delivery_tick(struct brk_core *core)
{
	struct base_heap_node *node;

	while (!brk_ledger_is_behind(core) && (node = base_heap_first(&core->timers)) &&
		node->due <= core->now_ms)
		fall_due(core, base_heap_of(node, struct brk_delivery, timer));
}

uint64_t brk_delivery_due(const struct brk_core *core)
{
	const struct base_heap_node *node = base_heap_first(&core->timers);

	return node && !brk_ledger_is_behind(core) ? node->due : UINT64_MAX;
}
