/* SETTLE: what ended, or moves, leaves its entry. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/emit.h"
#include "broker/core/pack.h"
#include "broker/core/parts.h"

/* ---- collecting ----------------------------------------------------------- */

static uint64_t letters_of(const struct brk_end *end)
{
	uint64_t letter = end->letter ? end->letter->size + brk_delivery_size(end->delivery) : 0;

	return letter + (end->result ? end->result->size : 0);
}

/* Without memory there is no way on: what has ended must be settled, or it runs again. Then that is
 * what happens, by way of whoever adopts it. */
static struct brk_commit *get(struct brk_core *core, const struct brk_end *end)
{
	bool moves = end->how == STORE_MOVED;
	struct brk_room room = { .bytes = moves ? brk_delivery_size(end->delivery)
						: brk_emits_bytes(end->emits),
		.deliveries = moves ? 1 : brk_emits_deliveries(end->emits),
		.events = 1 };
	struct brk_commit *commit = brk_commit_get(core, BRK_ASK_SETTLE, &room);

	if (!commit)
		base_no_memory("ends");
	return commit;
}

static void append(struct brk_end **list, size_t *n, size_t *capacity, const struct brk_end *end)
{
	if (*n == *capacity) {
		size_t wanted = *capacity ? 2 * *capacity : 64;
		struct brk_end *more = realloc(*list, wanted * sizeof *more);

		if (!more)
			base_no_memory("ends without an entry");
		*list = more;
		*capacity = wanted;
	}
	(*list)[(*n)++] = *end;
}

void brk_ledger_keep(struct brk_core *core, const struct brk_end *end)
{
	struct brk_ledger *ledger = &core->ledger;

	append(&ledger->homeless, &ledger->n_homeless, &ledger->homeless_capacity, end);
}

static void hold(struct brk_core *core, const struct brk_end *end)
{
	struct brk_ledger *ledger = &core->ledger;

	if (ledger->n_held == 0)
		ledger->held_at = core->now_ms + BRK_HELD_MS;
	append(&ledger->held, &ledger->n_held, &ledger->held_capacity, end);
}

void brk_ledger_release(struct brk_core *core)
{
	struct brk_ledger *ledger = &core->ledger;

	for (size_t i = 0; i < ledger->n_held; i++)
		brk_ledger_settle(core, &ledger->held[i]);
	ledger->n_held = 0;
}

void brk_end_drop(struct brk_core *core, struct brk_end *end)
{
	base_block_unref(&end->letter);
	base_block_unref(&end->result);
	brk_emits_drop(core, &end->emits);
}

/* The next attempt, what the run sent, or whoever waits for the end. */
static bool is_pressing(struct brk_core *core, const struct brk_end *end)
{
	return end->how == STORE_MOVED || end->emits || brk_query_is_awaited(core, end->delivery);
}

void brk_ledger_press(struct brk_core *core)
{
	struct brk_commit *list = core->ledger.settles.list;

	if (list && list->prev->state == BRK_COMMIT_COLLECTING)
		list->prev->pressing = true;
}

static void settle(struct brk_core *core, const struct brk_end *end)
{
	struct brk_payload payload = brk_delivery_payload(end->delivery);
	struct brk_commit *commit = get(core, end);

	if (end->how == STORE_MOVED &&
		brk_commit_write(commit, &end->delivery, 1, NULL, &payload))
		base_no_memory("an attempt that goes on");
	brk_emits_write(commit, end->emits);
	commit->emits = commit->emits || end->emits;
	commit->pressing = commit->pressing || is_pressing(core, end);
	commit->ends[commit->n++] = *end;
	commit->letters += letters_of(end);
}

void brk_ledger_settle(struct brk_core *core, const struct brk_end *end)
{
	if (end->delivery->entry)
		settle(core, end);
	else
		brk_ledger_keep(core, end);
}

/* ---- sending -------------------------------------------------------------- */

static int by_entry(const void *a, const void *b)
{
	const struct brk_delivery *x = (*(const struct brk_end *const *)a)->delivery;
	const struct brk_delivery *y = (*(const struct brk_end *const *)b)->delivery;
	const struct brk_entry *e = x->entry, *f = y->entry;

	if (e->journal->number != f->journal->number)
		return e->journal->number < f->journal->number ? -1 : 1;
	if (e->epoch != f->epoch)
		return e->epoch < f->epoch ? -1 : 1;
	if (e->turn != f->turn)
		return e->turn < f->turn ? -1 : 1;
	return x->bit < y->bit ? -1 : 1;
}

/* Mostly they are in order already: what was stored first ends first. */
static void sort(const struct brk_end **ends, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		if (by_entry(&ends[i - 1], &ends[i]) > 0) {
			qsort(ends, n, sizeof *ends, by_entry);
			return;
		}
	}
}

static struct store_arg arg_of(const struct base_block *block)
{
	return block ? (struct store_arg){ block->data, block->size }
		     : (struct store_arg){ NULL, 0 };
}

static struct store_end end_of(const struct brk_end *from)
{
	const struct brk_delivery *delivery = from->delivery;
	struct store_end end = { .bit = delivery->bit, .how = from->how };

	if (from->how == STORE_MOVED)
		return end;
	end.no_records = from->no_records;
	end.only_run = from->only_run;
	end.fence_ms = delivery->fence_ms;
	end.attempt = delivery->attempt;
	end.id = delivery->id;
	end.service = delivery->service->name;
	end.result = arg_of(from->result);
	end.result_data = from->result_data;
	end.alone = !(delivery->flags & BRK_DELIVERY_FANNED);
	end.head = arg_of(from->letter);
	if (from->letter) {
		struct brk_payload payload = brk_delivery_payload(delivery);

		end.body = (struct store_arg){ payload.bytes, brk_delivery_size(delivery) };
	}
	return end;
}

static void list_entry(struct store_ends *list, const struct brk_entry *entry)
{
	list->journal = entry->journal->number;
	list->epoch = entry->epoch;
	list->turn = entry->turn;
	list->n_deliveries = entry->n;
	list->n = 0;
}

void brk_settles_send(struct brk_core *core, struct brk_commit *commit, struct brk_ask *ask)
{
	const struct brk_end *ends[STORE_ENTRY_DELIVERIES];
	const struct brk_entry *last = NULL;
	struct store_ends *lists = core->ledger.lists;
	size_t n = 0;

	for (uint32_t i = 0; i < commit->n; i++)
		ends[i] = &commit->ends[i];
	sort(ends, commit->n);
	for (uint32_t i = 0; i < commit->n; i++) {
		core->ledger.ends[i] = end_of(ends[i]);
		if (ends[i]->delivery->entry != last) {
			last = ends[i]->delivery->entry;
			list_entry(&lists[n], last);
			lists[n++].ends = &core->ledger.ends[i];
		}
		lists[n - 1].n++;
	}
	ask->settle.turn = brk_commit_turn(commit);
	ask->settle.entries = lists;
	ask->settle.n = n;
	ask->settle.emits = commit->emits;
}

/* ---- again ---------------------------------------------------------------- */

void brk_settles_again(struct brk_core *core, struct brk_commit *commit)
{
	brk_commit_seal(core, commit);
	for (uint32_t i = 0; i < commit->n; i++) {
		if (BRK_FAULTY(core, EMIT_ONCE))
			brk_emits_drop(core, &commit->ends[i].emits);
		brk_ledger_settle(core, &commit->ends[i]);
	}
	brk_commit_give(core, commit);
}

/* One of them has ended before, which is against all rules; which one, halving tells. Each half is
 * sealed, so that it is not mixed with others. */
static void halve(struct brk_core *core, struct brk_commit *commit)
{
	uint32_t half = commit->n / 2;

	brk_commit_seal(core, commit);
	if (core->ledger.settles.list->prev->state == BRK_COMMIT_COLLECTING)
		brk_commit_seal(core, core->ledger.settles.list->prev);
	for (uint32_t i = 0; i < commit->n; i++) {
		struct brk_commit *last;

		brk_ledger_settle(core, &commit->ends[i]);
		last = core->ledger.settles.list->prev;
		if (i + 1 == half || i + 1 == commit->n)
			brk_commit_seal(core, last);
	}
	brk_commit_give(core, commit);
}

/* It is not ours to end. */
static void ended_before(struct brk_core *core, struct brk_commit *commit)
{
	struct brk_end *end = &commit->ends[0];

	brk_act_log(core, BRK_LOG_ended_before, end->delivery->service->name, end->how);
	brk_end_drop(core, end);
	brk_query_forgotten(core, end->delivery);
	brk_delivery_apply(core, end->delivery, BRK_DELIVERY_EV_FORGET);
	brk_commit_give(core, commit);
}

/* ---- answers -------------------------------------------------------------- */

static void moved(
	struct brk_core *core, struct brk_commit *commit, struct brk_entry *entry, uint32_t bit)
{
	struct brk_delivery *delivery = commit->deliveries[bit];

	brk_entry_leave(core, delivery);
	brk_entry_enter(entry, delivery, bit, commit->body_at[bit]);
	core->figures.moved++;
	brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_STORED);
	if (delivery->flags & BRK_DELIVERY_CANCEL)
		brk_event_cancel(core, delivery);
}

/* The bit behind the last of them. */
static uint32_t emitted(struct brk_core *core, const struct brk_commit *commit,
	struct brk_entry *entry, struct brk_end *end, uint32_t bit)
{
	uint32_t n = brk_emits_deliveries(end->emits);

	for (const struct brk_emits *one = end->emits; one; one = one->next)
		core->figures.events_emitted += one->n;
	brk_emits_free(&end->emits);
	for (; n > 0; n--)
		brk_stores_stand(core, commit, entry, bit++, true);
	return bit;
}

void brk_settles_happened(struct brk_core *core, struct brk_commit *commit, uint64_t now_ms)
{
	struct brk_entry *entry = brk_commit_entry(core, commit, now_ms);
	uint32_t bit = 0;

	for (uint32_t i = 0; i < commit->n; i++) {
		if (commit->ends[i].how == STORE_MOVED) {
			moved(core, commit, entry, bit++);
			continue;
		}
		bit = emitted(core, commit, entry, &commit->ends[i], bit);
		brk_ending_settled(core, &commit->ends[i]);
	}
	core->figures.settled += commit->n;
	if (entry)
		brk_entry_close(core, entry);
	brk_commit_give(core, commit);
}

/* Redis is out of memory for what runs send: the ends that send nothing have nothing to wait for. */
static void refused(struct brk_core *core, struct brk_commit *commit)
{
	brk_commit_seal(core, commit);
	for (uint32_t i = 0; i < commit->n; i++) {
		if (commit->ends[i].emits)
			hold(core, &commit->ends[i]);
		else
			brk_ledger_settle(core, &commit->ends[i]);
	}
	brk_commit_give(core, commit);
}

void brk_settles_told(struct brk_core *core, struct brk_commit *commit, const struct brk_told *told)
{
	switch (told->says->code) {
	case STORE_DONE:
		brk_owner_heard(core, told->settled->now_ms);
		brk_settles_happened(core, commit, told->settled->now_ms);
		break;
	case STORE_SETTLED:
		if (commit->n == 1)
			ended_before(core, commit);
		else
			halve(core, commit);
		break;
	case STORE_OOM:
		refused(core, commit);
		break;
	default: /* nothing was changed */
		brk_settles_again(core, commit);
	}
}
