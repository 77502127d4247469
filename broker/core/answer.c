#include "broker/core/answer.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core/parts.h"

#define KEPT_BYTES (64u * 1024)

/* ---- memory --------------------------------------------------------------- */

ProtobufCAllocator brk_answer_allocator(struct brk_core *core)
{
	return brk_arena_allocator(&core->arena);
}

void *brk_answer_get(struct brk_core *core, size_t n, size_t size)
{
	void *p = base_arena_alloc(&core->arena, n * size + 1);

	if (p)
		memset(p, 0, n * size);
	return p;
}

void brk_answer_init(struct brk_core *core, Pirn__Answer *answer)
{
	base_arena_reset(&core->arena);
	pirn__answer__init(answer);
	answer->broker = core->name;
}

Pirn__Invocation *brk_answer_invocation(struct brk_core *core, Pirn__Answer *answer, size_t room)
{
	Pirn__Invocation *one = brk_answer_get(core, 1, sizeof *one);

	if (!answer->invocations)
		answer->invocations = brk_answer_get(core, room, sizeof *answer->invocations);
	if (!one || !answer->invocations)
		return NULL;
	pirn__invocation__init(one);
	answer->invocations[answer->n_invocations++] = one;
	return one;
}

/* ---- what lives ------------------------------------------------------------ */

uint32_t brk_answer_state(const struct brk_delivery *delivery)
{
	switch ((enum brk_delivery_state)delivery->state) {
	case BRK_DELIVERY_RUNNING:
		return PIRN__INVOCATION_STATE__RUNNING;
	case BRK_DELIVERY_ENDING:
		return PIRN__INVOCATION_STATE__ENDING;
	case BRK_DELIVERY_WAITING:
	case BRK_DELIVERY_MOVING: /* between two attempts */
		return PIRN__INVOCATION_STATE__WAITING;
	default:
		return PIRN__INVOCATION_STATE__READY;
	}
}

/* UNTRUSTED when they came out of Redis: whatever does not unpack is no history. */
static Pirn__JournalDelivery *unpack_past(
	struct brk_core *core, const struct brk_delivery *delivery)
{
	ProtobufCAllocator allocator = brk_answer_allocator(core);

	if (!delivery->past)
		return NULL;
	return pirn__journal_delivery__unpack(
		&allocator, delivery->past->size, delivery->past->data);
}

/* The run that goes on stands last in the history, without an end. */
static bool add_running(
	struct brk_core *core, const struct brk_delivery *delivery, Pirn__Invocation *out)
{
	Pirn__JournalAttempt **list =
		brk_answer_get(core, out->n_history + 1, sizeof(Pirn__JournalAttempt *));
	Pirn__JournalAttempt *run = brk_answer_get(core, 1, sizeof *run);
	const struct brk_call *call = delivery->call;
	uint64_t ago_ms = (core->now_us - call->dispatched_us) / 1000;

	if (!list || !run)
		return false;
	pirn__journal_attempt__init(run);
	run->has_attempt = run->has_started_ms = true;
	run->attempt = delivery->attempt;
	run->started_ms = brk_owner_redis_ms(core) - ago_ms;
	run->worker = call->link ? call->link->peer->name : NULL;
	if (out->n_history)
		memcpy(list, out->history, out->n_history * sizeof *list);
	list[out->n_history++] = run;
	out->history = list;
	return true;
}

bool brk_answer_live(struct brk_core *core, struct brk_delivery *delivery, Pirn__Invocation *out)
{
	Pirn__JournalDelivery *past = unpack_past(core, delivery);
	uint32_t attempts = brk_run_attempts(delivery);

	out->id = (ProtobufCBinaryData){ sizeof delivery->id, delivery->id };
	out->service = delivery->service->name;
	out->state = brk_answer_state(delivery);
	out->has_attempt = out->has_accepted_ms = true;
	out->attempt = delivery->attempt;
	out->has_attempts = attempts > 0;
	out->attempts = attempts;
	out->accepted_ms = delivery->accepted_ms;
	out->has_not_before_ms = out->state == PIRN__INVOCATION_STATE__WAITING;
	out->not_before_ms = delivery->not_before_ms;
	out->has_deaths = delivery->deaths > 0;
	out->deaths = delivery->deaths;
	if (past) {
		out->history = past->history;
		out->n_history = past->n_history;
	}
	return delivery->state != BRK_DELIVERY_RUNNING || !delivery->call ||
	       add_running(core, delivery, out);
}

/* ---- what has ended --------------------------------------------------------- */

uint32_t brk_answer_end_state(uint32_t end)
{
	switch (end) {
	case PIRN__JOURNAL_END__END_DONE:
		return PIRN__INVOCATION_STATE__DONE;
	case PIRN__JOURNAL_END__END_EXPIRED:
		return PIRN__INVOCATION_STATE__EXPIRED_END;
	case PIRN__JOURNAL_END__END_CANCELLED:
		return PIRN__INVOCATION_STATE__CANCELLED_END;
	default:
		return PIRN__INVOCATION_STATE__DEAD;
	}
}

bool brk_answer_ended(struct brk_core *core, const uint8_t id[16], struct store_arg service,
	struct store_arg result, Pirn__Invocation *out)
{
	ProtobufCAllocator allocator = brk_answer_allocator(core);
	Pirn__JournalResult *r = pirn__journal_result__unpack(&allocator, result.size, result.data);

	out->id.data = base_arena_dup(&core->arena, id, 16);
	out->service = base_arena_dup(&core->arena, service.data, service.size);
	if (!r || !out->id.data || !out->service)
		return false;
	out->id.len = 16;
	out->state = brk_answer_end_state(r->end);
	out->has_attempt = out->has_accepted_ms = out->has_ended_ms = true;
	out->attempt = r->attempt;
	out->accepted_ms = r->accepted_ms;
	out->ended_ms = r->ended_ms;
	out->has_reason = r->has_reason;
	out->reason = r->reason;
	out->has_status = r->has_status;
	out->status = r->status;
	out->history = r->history;
	out->n_history = r->n_history;
	out->has_meta = r->has_meta;
	out->meta = r->meta;
	out->has_data = r->has_data;
	out->data = r->data;
	return true;
}

Pirn__JournalEvent *brk_answer_letter(struct brk_core *core, struct store_arg head)
{
	ProtobufCAllocator allocator = brk_answer_allocator(core);
	Pirn__JournalEntry *entry = pirn__journal_entry__unpack(&allocator, head.size, head.data);

	if (!entry || entry->n_events != 1 || entry->events[0]->n_deliveries != 1)
		return NULL;
	return entry->events[0]->deliveries[0]->service ? entry->events[0] : NULL;
}

bool brk_answer_dead(struct brk_core *core, const uint8_t id[16], const Pirn__JournalEvent *event,
	Pirn__Invocation *out)
{
	const Pirn__JournalDelivery *d = event->deliveries[0];
	const Pirn__JournalAttempt *last = d->n_history ? d->history[d->n_history - 1] : NULL;

	out->id.data = base_arena_dup(&core->arena, id, 16);
	if (!out->id.data)
		return false;
	out->id.len = 16;
	out->service = d->service;
	out->state = brk_answer_end_state(d->end);
	out->has_attempt = d->attempt > 1; /* the next one's number stands there */
	out->attempt = d->attempt > 1 ? d->attempt - 1 : 0;
	out->has_accepted_ms = event->has_accepted_ms;
	out->accepted_ms = event->accepted_ms;
	out->has_ended_ms = d->has_ended_ms;
	out->ended_ms = d->ended_ms;
	out->has_reason = d->has_reason;
	out->reason = d->reason;
	out->has_status = last && last->has_status;
	out->status = last ? last->status : 0;
	out->history = d->history;
	out->n_history = d->n_history;
	out->has_deaths = d->has_deaths;
	out->deaths = d->deaths;
	return true;
}

/* ---- sending --------------------------------------------------------------- */

void brk_answer_horizon(struct brk_core *core, Pirn__Answer *answer)
{
	answer->has_epoch = answer->has_loaded = true;
	answer->epoch = brk_owner_is_open(core) ? core->owner.epoch : 0;
	answer->owners = core->owner.owners;
	answer->n_owners = core->owner.n_owners;
	answer->loaded = brk_owner_is_trusted(core) && brk_owner_is_loaded(core);
}

/* A buffer that nobody uses in this input. NULL: memory. */
static struct base_buf *next_buffer(struct brk_core *core)
{
	struct base_buf *more;
	size_t n = core->n_replies ? 2 * core->n_replies : 8;

	if (core->n_replied == core->n_replies) {
		more = realloc(core->replies, n * sizeof *more);
		if (!more)
			return NULL;
		core->replies = more;
		while (core->n_replies < n)
			base_buf_init(&core->replies[core->n_replies++]);
	}
	return &core->replies[core->n_replied++];
}

/* A large one is not kept for the small ones that follow. */
void brk_answer_begin(struct brk_core *core)
{
	while (core->n_replied > 0) {
		struct base_buf *buf = &core->replies[--core->n_replied];

		if (buf->size > KEPT_BYTES)
			base_buf_fini(buf);
		else
			base_buf_reset(buf);
	}
}

uint8_t *brk_answer_room(struct brk_core *core, size_t size)
{
	struct base_buf *buf = next_buffer(core);
	uint8_t *room = buf ? base_buf_room(buf, size) : NULL;

	if (room)
		base_buf_grew(buf, size);
	return room;
}

void brk_answer_fini(struct brk_core *core)
{
	for (size_t i = 0; i < core->n_replies; i++)
		base_buf_fini(&core->replies[i]);
	free(core->replies);
}

void brk_answer_refuse(struct brk_core *core, const struct brk_asker *asker, uint32_t reason)
{
	const struct brk_peer *peer = brk_roster_find(core, asker->peer);
	Pirn__Item item = core->blank_item;

	item.slot = asker->slot;
	item.generation = asker->generation;
	if (peer)
		brk_refuse(core, peer, &item, reason, 0);
}

static void send(
	struct brk_core *core, const struct brk_asker *asker, const struct base_buf *packed)
{
	struct brk_action *a = brk_act_item(core, asker->peer, PIRN__KIND__ANSWER);

	a->item.has_slot = a->item.has_generation = true;
	a->item.slot = asker->slot;
	a->item.generation = asker->generation;
	a->payload.bytes = packed->data;
	a->payload.data_size = (uint32_t)packed->size;
}

void brk_answer_send(
	struct brk_core *core, const struct brk_asker *asker, const Pirn__Answer *answer)
{
	size_t size = pirn__answer__get_packed_size(answer);
	struct base_buf *buf;
	uint8_t *room;

	if (!brk_roster_find(core, asker->peer)) {
		base_arena_reset(&core->arena);
		return;
	}
	if (size > core->conf.max_item_bytes) {
		brk_answer_refuse(core, asker, PIRN__REASON__TOO_LARGE);
	} else if (core->arena
			   .starved) { /* parts that could not be read for want of it are missing */
		brk_answer_refuse(core, asker, PIRN__REASON__OVERLOADED);
	} else if (!(buf = next_buffer(core)) || !(room = base_buf_room(buf, size))) {
		brk_answer_refuse(core, asker, PIRN__REASON__OVERLOADED);
	} else {
		base_buf_grew(buf, pirn__answer__pack(answer, room));
		send(core, asker, buf);
	}
	base_arena_reset(&core->arena);
}

void brk_answer_reason(struct brk_core *core, const struct brk_asker *asker, uint32_t reason)
{
	Pirn__Answer answer;

	brk_answer_init(core, &answer);
	answer.has_reason = true;
	answer.reason = reason;
	brk_answer_send(core, asker, &answer);
}

uint32_t brk_answer_reason_of(enum store_code code)
{
	switch (code) {
	case STORE_DONE:
		return PIRN__REASON__NONE;
	case STORE_LOST:
	case STORE_BROKEN:
		return PIRN__REASON__UNDECIDED;
	default:
		return PIRN__REASON__NOT_DURABLE;
	}
}
