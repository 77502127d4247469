/* What becomes of commits when nobody was told whether they happened, and of everything
 * when it is not ours any more.
 *
 * A commit that went down with its connection cannot happen any more once there is a new
 * epoch; then one READ tells whether it did: a store made an entry, a settle took its first
 * delivery out of one. Only what did not happen is collected again, as what it is now.
 */
#include <assert.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/emit.h"
#include "broker/core/parts.h"

#define CHECK_MS 200 /* between two looks when Redis does not answer one */

/* ---- looking -------------------------------------------------------------- */

/* Where to look: the entry before it, and what should be behind. */
struct place {
	uint32_t journal, epoch;
	uint64_t turn;
};

static struct place place_of(const struct brk_commit *commit)
{
	const struct brk_entry *entry;

	if (commit->kind == BRK_ASK_STORE)
		return (struct place){ commit->journal, commit->epoch, commit->turn };
	entry = commit->ends[0].delivery->entry;
	return (struct place){ entry->journal->number, entry->epoch, entry->turn };
}

static void check(struct brk_core *core, struct brk_commit *commit)
{
	struct place place = place_of(commit);
	struct brk_ask *ask = brk_ask(core, BRK_ASK_READ, commit, BRK_READ_COMMIT);

	if (!ask)
		return;
	commit->ticket = ask->ticket;
	commit->state = BRK_COMMIT_CHECKING;
	ask->journal = place.journal;
	ask->read.after_epoch = place.epoch;
	ask->read.after_turn = place.turn - 1;
	ask->read.max_entries = 1;
	ask->read.max_bytes = 1;
}

static void again(struct brk_core *core, struct brk_commit *commit)
{
	if (commit->kind == BRK_ASK_STORE)
		brk_stores_again(core, commit);
	else
		brk_settles_again(core, commit);
}

static void recover(struct brk_core *core, struct brk_commit *list)
{
	struct brk_commit *commit, *next;

	DL_FOREACH_SAFE (list, commit, next) {
		if (commit->state != BRK_COMMIT_LOST)
			continue;
		if (BRK_FAULTY(core, RESEND_BLINDLY))
			again(core, commit);
		else
			check(core, commit);
	}
}

void brk_recover(struct brk_core *core)
{
	if (!brk_owner_is_open(core) || core->now_ms < core->ledger.check_at)
		return;
	recover(core, core->ledger.stores.list);
	recover(core, core->ledger.settles.list);
}

/* ---- what was seen -------------------------------------------------------- */

static void store_seen(
	struct brk_core *core, struct brk_commit *commit, const struct store_entry *found)
{
	if (found)
		brk_stores_happened(core, commit, found);
	else
		brk_stores_again(core, commit);
}

static void settle_seen(
	struct brk_core *core, struct brk_commit *commit, const struct store_entry *found)
{
	uint32_t bit = commit->ends[0].delivery->bit;

	if (found && !store_entry_ended(found->ended.data, found->ended.size, bit))
		brk_settles_again(core, commit);
	else
		brk_settles_happened(core, commit, brk_owner_redis_ms(core));
}

static const struct store_entry *find(
	const struct brk_commit *commit, const struct store_page *page)
{
	struct place place = place_of(commit);

	if (page->n == 0 || page->entries[0].epoch != place.epoch ||
		page->entries[0].turn != place.turn)
		return NULL;
	return &page->entries[0];
}

void brk_recover_told(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	struct brk_commit *commit = asked->about;

	commit->ticket = 0;
	if (told->says->code != STORE_DONE) {
		commit->state = BRK_COMMIT_LOST;
		core->ledger.check_at = core->now_ms + CHECK_MS;
		if (told->says->code == STORE_LOST)
			brk_owner_lost(core, asked);
	} else if (commit->kind == BRK_ASK_STORE) {
		store_seen(core, commit, find(commit, told->page));
	} else {
		settle_seen(core, commit, find(commit, told->page));
	}
}

/* ---- forgetting ----------------------------------------------------------- */

/* What was accepted and is nowhere but here is stored in the journal that comes. */
static void forget_store(struct brk_core *core, struct brk_commit *commit, uint32_t reason)
{
	for (uint32_t i = 0; i < commit->n; i++) {
		struct brk_arrival *arrival = &commit->arrivals[i];

		if (arrival->waits && reason != PIRN__REASON__NONE)
			brk_accept_no(core, arrival, reason);
		if (reason == PIRN__REASON__NONE)
			arrival->waits = arrival->promised = false;
	}
	brk_stores_again(core, commit);
}

static void forget_settle(struct brk_core *core, struct brk_commit *commit)
{
	for (uint32_t i = 0; i < commit->n; i++)
		brk_end_drop(core, &commit->ends[i]);
	brk_commit_give(core, commit);
}

static void forget_commits(struct brk_core *core, uint32_t reason)
{
	struct brk_ledger *ledger = &core->ledger;
	struct brk_commit *last, *commit, *next;

	while (ledger->settles.list)
		forget_settle(core, ledger->settles.list);
	last = ledger->stores.list ? ledger->stores.list->prev : NULL;
	if (last && last->state == BRK_COMMIT_COLLECTING)
		brk_commit_seal(core, last);
	DL_FOREACH_SAFE (ledger->stores.list, commit, next) {
		forget_store(core, commit, reason);
		if (commit == last)
			break;
	}
}

static void forget_homeless(struct brk_core *core)
{
	struct brk_ledger *ledger = &core->ledger;

	for (size_t i = 0; i < ledger->n_homeless; i++)
		brk_end_drop(core, &ledger->homeless[i]);
	ledger->n_homeless = 0;
}

static void forget_held(struct brk_core *core)
{
	struct brk_ledger *ledger = &core->ledger;

	for (size_t i = 0; i < ledger->n_held; i++)
		brk_end_drop(core, &ledger->held[i]);
	ledger->n_held = 0;
}

static void forget_delivery(struct brk_core *core, struct brk_delivery *delivery)
{
	if (delivery->state == BRK_DELIVERY_RUNNING)
		brk_run_drop(core, delivery);
	brk_query_forgotten(core, delivery);
	brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_FORGET);
}

/* Those without an entry are on their way into one, by a promise. */
static void forget_service(struct brk_core *core, struct brk_service *service)
{
	struct brk_delivery *delivery, *next;

	for (int state = BRK_DELIVERY_READY; state < BRK_DELIVERY_GONE; state++) {
		DL_FOREACH_SAFE (service->events[state].head, delivery, next) {
			if (delivery->entry)
				forget_delivery(core, delivery);
		}
	}
}

static void forget_journals(struct brk_core *core)
{
	struct brk_journal *journal, *next;

	LL_FOREACH_SAFE (core->ledger.journals, journal, next) {
		brk_asks_forget(core, journal->ticket);
		brk_journal_free(core, journal);
	}
	core->ledger.turn = 0;
}

void brk_ledger_forget(struct brk_core *core, uint32_t reason)
{
	struct brk_service *service, *next;

	if (reason == PIRN__REASON__NONE)
		forget_homeless(core);
	forget_held(core);
	forget_commits(core, reason);
	HASH_ITER (hh, core->services, service, next)
		forget_service(core, service);
	forget_journals(core);
}

/* ---- Redis has lost its data ---------------------------------------------- */

/* A retry that was on its way is in the delivery; an end has to be said again. */
static void restore_settle(struct brk_core *core, struct brk_commit *commit)
{
	for (uint32_t i = 0; i < commit->n; i++)
		if (commit->ends[i].how != STORE_MOVED)
			brk_ledger_keep(core, &commit->ends[i]);
	brk_commit_give(core, commit);
}

static void restore_delivery(struct brk_core *core, struct brk_delivery *delivery)
{
	struct brk_payload payload = brk_delivery_payload(delivery);
	struct brk_arrival arrival = { .delivery = delivery, .n = 1, .promised = true };
	struct brk_parcel parcel = { &arrival, &payload, 1, &delivery };

	if (delivery->state == BRK_DELIVERY_READY || delivery->state == BRK_DELIVERY_WAITING)
		brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_MOVE);
	if (brk_ledger_store(core, &parcel))
		base_no_memory("an event that moves");
	brk_entry_leave(core, delivery);
}

static void restore_entry(struct brk_core *core, struct brk_entry *entry)
{
	uint32_t left = entry->n_live;

	for (uint32_t bit = 0; left > 0; bit++) {
		if (!entry->deliveries[bit])
			continue;
		left--; /* the entry goes with the last one */
		restore_delivery(core, entry->deliveries[bit]);
	}
}

static void restore_stores(struct brk_core *core)
{
	struct brk_commit *commit, *next;
	struct brk_commit *last = core->ledger.stores.list ? core->ledger.stores.list->prev : NULL;

	if (last && last->state == BRK_COMMIT_COLLECTING)
		brk_commit_seal(core, last);
	DL_FOREACH_SAFE (core->ledger.stores.list, commit, next) {
		brk_stores_again(core, commit);
		if (commit == last)
			break;
	}
}

void brk_ledger_restore(struct brk_core *core)
{
	struct brk_journal *journal;

	while (core->ledger.settles.list)
		restore_settle(core, core->ledger.settles.list);
	for (size_t i = 0; i < core->ledger.n_held; i++)
		brk_ledger_keep(core, &core->ledger.held[i]);
	core->ledger.n_held = 0;
	restore_stores(core);
	LL_FOREACH (core->ledger.journals, journal)
		while (journal->entries)
			restore_entry(core, journal->entries);
	forget_journals(core);
}
