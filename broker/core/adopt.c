/* What other brokers leave behind: who is stalled, taking his journals, reading them page
 * by page as room allows, and dropping them when they are empty.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/parts.h"

#define PAGE_ENTRIES 64
#define PAGE_BYTES   STORE_ENTRY_BODY
#define AGAIN_MS     200   /* after a page that did not fit, or that Redis did not give */
#define NOT_EMPTY_MS 60000 /* a journal that we have nothing of, and that is not empty */

/* ---- who is stalled ------------------------------------------------------- */

static struct brk_rival *rival_get(struct brk_owner *owner, uint32_t epoch)
{
	for (size_t i = 0; i < owner->n_rivals; i++)
		if (owner->rivals[i].epoch == epoch)
			return &owner->rivals[i];
	if (owner->n_rivals == owner->rivals_capacity) {
		size_t capacity = owner->rivals_capacity ? 2 * owner->rivals_capacity : 8;
		struct brk_rival *more = realloc(owner->rivals, capacity * sizeof *more);

		if (!more)
			return NULL;
		owner->rivals = more;
		owner->rivals_capacity = capacity;
	}
	owner->rivals[owner->n_rivals] = (struct brk_rival){ .epoch = epoch };
	return &owner->rivals[owner->n_rivals++];
}

/* Beats that follow one another faster (there is one after each OPEN) count as one. */
static void look_at(struct brk_owner *owner, const struct store_owner *seen)
{
	struct brk_rival *rival = rival_get(owner, seen->epoch);

	if (!rival)
		return;
	if (rival->beat != seen->beat) {
		rival->unchanged = 0;
		rival->counted_ms = owner->trusted_ms;
	} else if (owner->trusted_ms - rival->counted_ms >= BRK_BEAT_MS) {
		rival->unchanged++;
		rival->counted_ms = owner->trusted_ms;
	}
	rival->beat = seen->beat;
	rival->seen = true;
}

static void forget_unseen(struct brk_owner *owner)
{
	size_t n = 0;

	for (size_t i = 0; i < owner->n_rivals; i++) {
		if (!owner->rivals[i].seen)
			continue;
		owner->rivals[n] = owner->rivals[i];
		owner->rivals[n++].seen = false;
	}
	owner->n_rivals = n;
}

/* A beat of 0: it left. The beats of ours that count are at least BRK_BEAT_MS apart, and each was
 * answered before the next was asked: a pause of Redis, or of this process, makes nobody look
 * stalled. */
static bool is_stalled(const struct brk_core *core, const struct brk_rival *rival)
{
	return rival->beat == 0 || rival->unchanged >= BRK_STALLED || BRK_FAULTY(core, ADOPT_LIVE);
}

static void ask_adopt(struct brk_core *core, const struct brk_rival *rival)
{
	struct brk_ask *ask = brk_ask(core, BRK_ASK_ADOPT, &core->owner, rival->epoch);

	if (!ask)
		return;
	ask->adopt.victim = rival->epoch;
	ask->adopt.seen = rival->beat;
	core->owner.adopting = true;
}

/* A journal of ours that is not in the books: an ADOPT whose answer was lost. */
static void take_unknown(struct brk_core *core, const struct store_beat *beat)
{
	for (size_t i = 0; i < beat->n_journals; i++)
		if (beat->journals[i].epoch == core->owner.epoch && beat->journals[i].adopted)
			brk_adopt_take(core, beat->journals[i].journal);
}

void brk_adopt_look(struct brk_core *core, const struct store_beat *beat)
{
	struct brk_owner *owner = &core->owner;

	for (size_t i = 0; i < beat->n_owners; i++)
		if (beat->owners[i].epoch != owner->epoch)
			look_at(owner, &beat->owners[i]);
	forget_unseen(owner);
	take_unknown(core, beat);
	for (size_t i = 0; i < owner->n_rivals && !owner->adopting && !core->draining; i++)
		if (is_stalled(core, &owner->rivals[i]))
			ask_adopt(core, &owner->rivals[i]);
}

void brk_adopt_take(struct brk_core *core, uint32_t number)
{
	struct brk_journal *journal = brk_journal_find(core, number);

	if (journal || !brk_journal_new(core, number, true))
		return;
	brk_act_log(core, BRK_LOG_journal_adopted, core->name, number);
	core->figures.adoptions++;
}

void brk_adopt_told(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	core->owner.adopting = false;
	if (told->says->code == STORE_LOST)
		brk_owner_lost(core, asked);
	if (told->says->code == STORE_FENCED)
		brk_owner_fenced(core, asked, told->says);
	if (told->says->code != STORE_DONE || asked->epoch != core->owner.epoch)
		return;
	for (size_t i = 0; i < told->adopted->n; i++)
		brk_adopt_take(core, told->adopted->journals[i]);
	brk_adopt_read(core);
}

/* ---- reading -------------------------------------------------------------- */

static void ask_page(struct brk_core *core, struct brk_journal *journal)
{
	struct brk_ask *ask = brk_ask(core, BRK_ASK_READ, journal, BRK_READ_PAGE);

	if (!ask)
		return;
	journal->ticket = ask->ticket;
	ask->journal = journal->number;
	ask->read.after_epoch = journal->read_epoch;
	ask->read.after_turn = journal->read_turn;
	ask->read.max_entries = PAGE_ENTRIES;
	ask->read.max_bytes = PAGE_BYTES;
}

static void ask_drop(struct brk_core *core, struct brk_journal *journal)
{
	struct brk_ask *ask = brk_ask(core, BRK_ASK_DROP, journal, journal->number);

	if (!ask)
		return;
	journal->ticket = ask->ticket;
	ask->journal = journal->number;
}

static void ask_own(struct brk_core *core)
{
	struct brk_owner *owner = &core->owner;
	struct brk_ask *ask;

	if (owner->n_own_reads == 0 || owner->reading_own)
		return;
	ask = brk_ask(core, BRK_ASK_READ, owner, BRK_READ_OWN);
	if (!ask)
		return;
	owner->reading_own = true;
	ask->journal = core->ledger.own->number;
	ask->read.after_epoch = owner->own_reads[0].epoch;
	ask->read.after_turn = owner->own_reads[0].turn - 1;
	ask->read.max_entries = 1;
	ask->read.max_bytes = 1;
}

void brk_adopt_read(struct brk_core *core)
{
	struct brk_journal *journal;

	if (!brk_owner_is_open(core) || core->draining)
		return;
	if (core->now_ms >= core->owner.own_retry_at)
		ask_own(core);
	LL_FOREACH (core->ledger.journals, journal) {
		if (!journal->adopted || journal->ticket || core->now_ms < journal->retry_at)
			continue;
		if (!journal->loaded && brk_load_has_room(core))
			ask_page(core, journal);
		else if (journal->loaded && !journal->entries)
			ask_drop(core, journal);
	}
}

static void take_page(
	struct brk_core *core, struct brk_journal *journal, const struct store_page *page)
{
	journal->loaded = page->n == 0;
	for (size_t i = 0; i < page->n; i++) {
		const struct store_entry *entry = &page->entries[i];

		if ((i == 0 || !BRK_FAULTY(core, SKIP_PAGE)) &&
			!brk_load_entry(core, journal, entry)) {
			journal->retry_at = core->now_ms + AGAIN_MS;
			return;
		}
		journal->read_epoch = entry->epoch;
		journal->read_turn = entry->turn;
	}
}

/* The reply to an ask about a journal was no good. */
static void failed(struct brk_core *core, struct brk_journal *journal,
	const struct brk_asked *asked, const struct store_says *says)
{
	journal->retry_at = core->now_ms + AGAIN_MS;
	if (says->code == STORE_LOST)
		brk_owner_lost(core, asked);
	else if (says->code == STORE_FENCED)
		brk_owner_fenced(core, asked, says);
}

void brk_adopt_page(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	struct brk_journal *journal = asked->about;

	journal->ticket = 0;
	if (told->says->code == STORE_DONE)
		take_page(core, journal, told->page);
	else
		failed(core, journal, asked, told->says);
	brk_adopt_read(core);
}

void brk_adopt_dropped(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	struct brk_journal *journal = asked->about;

	journal->ticket = 0;
	if (told->says->code != STORE_DONE) {
		failed(core, journal, asked, told->says);
	} else if (told->count->n == 0) {
		journal->retry_at = core->now_ms + NOT_EMPTY_MS;
		brk_act_log(core, BRK_LOG_journal_not_empty, core->name, journal->number);
	} else {
		brk_journal_free(core, journal);
	}
}

/* ---- one's own entries that a Function wrote ------------------------------- */

void brk_load_own(struct brk_core *core, uint32_t epoch, uint64_t turn)
{
	struct brk_owner *owner = &core->owner;

	if (owner->n_own_reads == owner->own_reads_capacity) {
		size_t capacity = owner->own_reads_capacity ? 2 * owner->own_reads_capacity : 8;
		struct brk_own_read *more = realloc(owner->own_reads, capacity * sizeof *more);

		if (!more)
			base_no_memory(
				"redriven events"); /* would lie there unseen: somebody must adopt them */
		owner->own_reads = more;
		owner->own_reads_capacity = capacity;
	}
	owner->own_reads[owner->n_own_reads++] = (struct brk_own_read){ epoch, turn };
	brk_adopt_read(core);
}

static bool take_own(struct brk_core *core, const struct store_page *page)
{
	const struct brk_own_read *wanted = &core->owner.own_reads[0];

	if (page->n == 0 || page->entries[0].epoch != wanted->epoch ||
		page->entries[0].turn != wanted->turn)
		return true; /* it did not happen */
	return brk_load_entry(core, core->ledger.own, &page->entries[0]);
}

void brk_adopt_own(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told)
{
	struct brk_owner *owner = &core->owner;

	owner->reading_own = false;
	if (told->says->code == STORE_LOST)
		brk_owner_lost(core, asked);
	if (owner->n_own_reads == 0 || asked->epoch != owner->epoch)
		return;
	if (told->says->code != STORE_DONE || !take_own(core, told->page)) {
		owner->own_retry_at = core->now_ms + AGAIN_MS;
		return;
	}
	owner->n_own_reads--;
	memmove(owner->own_reads, owner->own_reads + 1,
		owner->n_own_reads * sizeof *owner->own_reads);
	ask_own(core);
}

bool brk_owner_is_loaded(const struct brk_core *core)
{
	const struct brk_journal *journal;

	if (!brk_owner_is_open(core) || core->owner.n_own_reads > 0)
		return false;
	LL_FOREACH (core->ledger.journals, journal)
		if (!journal->loaded)
			return false;
	return true;
}
