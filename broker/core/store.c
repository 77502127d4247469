/* STORE: what came in goes into Redis, and who sent it hears of it. */
#include <assert.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/pack.h"
#include "broker/core/parts.h"

/* ---- collecting ----------------------------------------------------------- */

static struct brk_room room_of(const struct brk_parcel *parcel)
{
	struct brk_room room = { .events = parcel->n };

	for (uint32_t i = 0; i < parcel->n; i++) {
		const struct brk_payload *payload = &parcel->payloads[i];

		room.bytes += (uint64_t)payload->meta_size + payload->data_size;
		room.deliveries += parcel->arrivals[i].n;
	}
	return room;
}

static enum base_err write_one(struct brk_commit *commit, const struct brk_arrival *arrival,
	struct brk_delivery *const *deliveries, const struct brk_payload *payload)
{
	uint32_t bit = commit->n_deliveries;

	if (arrival->n > 0 && brk_commit_write(commit, deliveries, arrival->n, arrival, payload))
		return BASE_NOMEM;
	commit->arrivals[commit->n] = *arrival;
	commit->arrivals[commit->n++].bit = bit;
	return BASE_OK;
}

/* Back to where it was before a parcel that does not fit into memory. */
static void unwrite(struct brk_core *core, struct brk_commit *commit, uint32_t n, size_t head_size)
{
	if (commit->n > n) {
		uint32_t bit = commit->arrivals[n].bit;

		commit->body.size = commit->body_at[bit];
		commit->n_deliveries = bit;
		commit->head.size = head_size;
		commit->n = n;
	}
	if (n == 0)
		brk_commit_give(core, commit);
}

enum base_err brk_ledger_store(struct brk_core *core, const struct brk_parcel *parcel)
{
	struct brk_room room = room_of(parcel);
	struct brk_commit *commit = brk_commit_get(core, BRK_ASK_STORE, &room);
	struct brk_delivery *const *deliveries = parcel->deliveries;
	uint32_t n;
	size_t head_size;

	if (!commit)
		return BASE_NOMEM;
	n = commit->n;
	head_size = commit->head.size;
	for (uint32_t i = 0; i < parcel->n; deliveries += parcel->arrivals[i++].n) {
		if (write_one(commit, &parcel->arrivals[i], deliveries, &parcel->payloads[i])) {
			unwrite(core, commit, n, head_size);
			return BASE_NOMEM;
		}
	}
	for (; n < commit->n; n++)
		if (commit->arrivals[n].waits && commit->arrivals[n].decide_at < commit->decide_at)
			commit->decide_at = commit->arrivals[n].decide_at;
	return BASE_OK;
}

/* ---- sending -------------------------------------------------------------- */

static struct store_item item_of(const struct brk_core *core, const struct brk_arrival *arrival)
{
	const struct brk_delivery *delivery = arrival->delivery;
	struct store_item item = { .n_deliveries = arrival->n,
		.has_lane = arrival->has_lane && !BRK_FAULTY(core, LOSE_LANE),
		.together = arrival->together,
		.lane = arrival->lane,
		.number = arrival->number };

	if (delivery) {
		item.meta_size = delivery->meta_size;
		item.data_size = delivery->data_size;
	}
	if (!arrival->guard)
		return item;
	if (delivery)
		item.id = (struct store_arg){ delivery->id, sizeof delivery->id };
	if (arrival->slot_ms > 0) {
		item.guard = STORE_GUARD_TIMER;
		item.timer = (const char *)arrival->guard->data;
		item.previous_ms = arrival->previous_ms;
		item.slot_ms = arrival->slot_ms;
		return item;
	}
	item.guard = STORE_GUARD_KEY;
	item.scope = arrival->fanned ? BRK_SCOPE_FANNED : delivery->service->name;
	if (arrival->sent)
		item.scope = BRK_SCOPE_SENT;
	item.ttl_ms = arrival->key_ttl_ms;
	item.key = (struct store_arg){ arrival->guard->data, arrival->key_size };
	item.hash =
		(struct store_arg){ arrival->guard->data + arrival->key_size, arrival->hash_size };
	return item;
}

void brk_stores_send(struct brk_core *core, struct brk_commit *commit, struct brk_ask *ask)
{
	for (uint32_t i = 0; i < commit->n; i++)
		core->ledger.items[i] = item_of(core, &commit->arrivals[i]);
	ask->store.turn = brk_commit_turn(commit);
	ask->store.items = core->ledger.items;
	ask->store.n = commit->n;
}

/* ---- again ---------------------------------------------------------------- */

static struct brk_payload payload_in(
	const struct brk_commit *commit, const struct brk_arrival *arrival)
{
	const struct brk_delivery *delivery = arrival->delivery;

	if (!delivery)
		return (struct brk_payload){ 0 };
	return (struct brk_payload){ .bytes = commit->body.data + commit->body_at[arrival->bit],
		.meta_size = delivery->meta_size,
		.data_size = delivery->data_size };
}

/* Its bits in the lane live for ten minutes only: what nobody waits for any more may have been stored
 * elsewhere, and is let go. */
static bool is_wanted(const struct brk_arrival *arrival)
{
	return arrival->waits || arrival->promised;
}

/* How many from the i-th on have one fate. Those that do not wait equally long have lost it. */
static uint32_t run_from(const struct brk_commit *commit, uint32_t i)
{
	uint32_t n = 1;

	while (commit->arrivals[i + n - 1].together && i + n < commit->n)
		n++;
	for (uint32_t k = i; k < i + n; k++)
		if (!is_wanted(&commit->arrivals[k]))
			return 1;
	return n;
}

static void drop(struct brk_core *core, struct brk_commit *commit, uint32_t i)
{
	struct brk_arrival *arrival = &commit->arrivals[i];

	if (arrival->promised)
		base_no_memory("an event that was promised");
	brk_accept_drop(
		core, arrival, commit->deliveries + arrival->bit, PIRN__REASON__NOT_DURABLE);
}

/* n of them, one run. */
static void again(struct brk_core *core, struct brk_commit *commit, uint32_t i, uint32_t n)
{
	struct brk_arrival *arrivals = &commit->arrivals[i];
	struct brk_parcel parcel = { arrivals, core->fan.payloads, n,
		commit->deliveries + arrivals->bit };

	arrivals[n - 1].together = false;
	for (uint32_t k = 0; k < n; k++)
		core->fan.payloads[k] = payload_in(commit, &arrivals[k]);
	if (is_wanted(arrivals) && !brk_ledger_store(core, &parcel))
		return;
	for (uint32_t k = i; k < i + n; k++)
		drop(core, commit, k);
}

void brk_stores_again(struct brk_core *core, struct brk_commit *commit)
{
	brk_commit_seal(core, commit);
	for (uint32_t i = 0, n; i < commit->n; i += n) {
		n = run_from(commit, i);
		again(core, commit, i, n);
	}
	brk_commit_give(core, commit);
}

/* ---- answers -------------------------------------------------------------- */

/* Redis lost it, and it ended meanwhile: its end can be settled now. */
static bool come_home(struct brk_core *core, const struct brk_delivery *delivery)
{
	struct brk_ledger *ledger = &core->ledger;

	for (size_t i = 0; i < ledger->n_homeless; i++) {
		struct brk_end end = ledger->homeless[i];

		if (end.delivery != delivery)
			continue;
		ledger->homeless[i] = ledger->homeless[--ledger->n_homeless];
		brk_ledger_settle(core, &end);
		return true;
	}
	return false;
}

void brk_stores_stand(struct brk_core *core, const struct brk_commit *commit,
	struct brk_entry *entry, uint32_t bit, bool is_new)
{
	struct brk_delivery *delivery = commit->deliveries[bit];

	if (delivery->accepted_ms == 0)
		delivery->accepted_ms = entry->written_ms;
	if (delivery->not_after_ms == 0)
		delivery->not_after_ms =
			brk_service_not_after(delivery->service, entry->written_ms);
	brk_entry_enter(entry, delivery, bit, commit->body_at[bit]);
	if (is_new)
		delivery->service->events_accepted++;
	if (is_new && BRK_TAILED(core))
		brk_tail_accepted(core, delivery);
	if (delivery->state != BRK_DELIVERY_RUNNING && !come_home(core, delivery)) {
		brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_STORED);
		if (delivery->flags & BRK_DELIVERY_CANCEL)
			brk_event_cancel(core, delivery);
		else
			brk_ending_look(core, delivery);
	}
}

/* A timer's skipped slot has no delivery, and perhaps no entry: its chain has moved, and that is all. */
static void stands(
	struct brk_core *core, struct brk_commit *commit, struct brk_entry *entry, uint32_t i)
{
	struct brk_arrival *arrival = &commit->arrivals[i];

	core->figures.accepted += arrival->has_lane && arrival->n > 0 && !arrival->sent;
	core->figures.events_emitted += arrival->sent;
	for (uint32_t bit = arrival->bit; bit < arrival->bit + arrival->n; bit++)
		brk_stores_stand(core, commit, entry, bit, arrival->has_lane || arrival->sent);
	brk_accept_yes(core, arrival, NULL);
	base_block_unref(&arrival->guard);
}

static void is_duplicate(struct brk_core *core, struct brk_commit *commit, uint32_t i,
	const struct store_duplicate *found)
{
	struct brk_arrival *arrival = &commit->arrivals[i];
	bool has_id = found->id.data && found->id.size == 16;

	core->figures.duplicates++;
	switch (found->why) {
	case STORE_WHY_SLOT:
		brk_accept_no_slot(core, arrival, found->last_ms, has_id ? found->id.data : NULL);
		break;
	case STORE_WHY_LANE:
		brk_accept_yes(core, arrival, NULL);
		break;
	case STORE_WHY_KEY:
		brk_accept_yes(core, arrival, has_id ? found->id.data : NULL);
		break;
	case STORE_WHY_BODY:
		brk_accept_no(core, arrival, PIRN__REASON__KEY_BODY);
		break;
	case STORE_WHY_FULL:
		brk_accept_no(core, arrival, PIRN__REASON__KEYS_FULL);
		break;
	}
	brk_accept_drop(core, arrival, commit->deliveries + arrival->bit, PIRN__REASON__NONE);
}

/* The duplicates come in the order of the items. */
static void stored(
	struct brk_core *core, struct brk_commit *commit, const struct store_stored *reply)
{
	struct brk_entry *entry =
		reply->entry ? brk_commit_entry(core, commit, reply->now_ms) : NULL;
	size_t next = 0;

	brk_owner_heard(core, reply->now_ms);
	for (uint32_t i = 0; i < commit->n; i++) {
		if (next < reply->n && reply->duplicates[next].item == i)
			is_duplicate(core, commit, i, &reply->duplicates[next++]);
		else if (entry || commit->arrivals[i].n == 0)
			stands(core, commit, entry, i);
	}
	if (entry)
		brk_entry_close(core, entry);
	brk_commit_give(core, commit);
}

/* Nothing was changed. Senders may ask another broker, or later; what was promised stays here. */
static void refused(struct brk_core *core, struct brk_commit *commit)
{
	for (uint32_t i = 0; i < commit->n; i++)
		if (commit->arrivals[i].waits)
			brk_accept_no(core, &commit->arrivals[i], PIRN__REASON__NOT_DURABLE);
	brk_stores_again(core, commit);
}

void brk_stores_told(struct brk_core *core, struct brk_commit *commit, const struct brk_told *told)
{
	if (told->says->code == STORE_DONE)
		stored(core, commit, told->stored);
	else if (told->says->code == STORE_FENCED)
		brk_stores_again(core, commit); /* by an epoch that is not ours any more */
	else
		refused(core, commit);
}

/* How many of n arrivals the entry does not have. Of a slot that was skipped it shows nothing: its lane's
 * bit does. */
static uint32_t n_missing(
	const struct brk_commit *commit, const struct store_entry *found, uint32_t i, uint32_t n)
{
	uint32_t missing = 0;

	for (uint32_t k = i; k < i + n; k++) {
		const struct brk_arrival *arrival = &commit->arrivals[k];

		missing += arrival->n == 0 ||
			   store_entry_ended(found->ended.data, found->ended.size, arrival->bit);
	}
	return missing;
}

void brk_stores_happened(
	struct brk_core *core, struct brk_commit *commit, const struct store_entry *found)
{
	struct brk_entry *entry = brk_commit_entry(core, commit, found->written_ms);

	brk_commit_seal(core, commit);
	for (uint32_t i = 0, n; i < commit->n; i += n) {
		n = run_from(commit, i);
		if (n > 1 && n_missing(commit, found, i, n) < n)
			n = 1; /* what of it is missing was known before */
		if (n_missing(commit, found, i, n) == n)
			again(core, commit, i, n);
		else
			stands(core, commit, entry, i);
	}
	brk_entry_close(core, entry);
	brk_commit_give(core, commit);
}
