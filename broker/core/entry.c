/* Journals and entries: where deliveries stand. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/parts.h"

/* ---- journals ------------------------------------------------------------- */

struct brk_journal *brk_journal_find(const struct brk_core *core, uint32_t number)
{
	struct brk_journal *journal;

	LL_SEARCH_SCALAR(core->ledger.journals, journal, number, number);
	return journal;
}

struct brk_journal *brk_journal_new(struct brk_core *core, uint32_t number, bool adopted)
{
	struct brk_journal *journal = calloc(1, sizeof *journal);

	if (!journal)
		return NULL;
	journal->number = number;
	journal->adopted = adopted;
	journal->loaded = !adopted;
	journal->fence_base_ms = brk_owner_redis_ms(core);
	LL_APPEND(core->ledger.journals, journal);
	return journal;
}

void brk_journal_free(struct brk_core *core, struct brk_journal *journal)
{
	assert(!journal->entries);
	LL_DELETE(core->ledger.journals, journal);
	if (core->ledger.own == journal)
		core->ledger.own = NULL;
	free(journal);
}

/* ---- bodies --------------------------------------------------------------- */

#define POOLED_BYTES 512u

static void release_body(struct base_block *block)
{
	free(block);
}

/* Bodies may wait for days: a large one takes what it needs, and not what the pool would round it up
 * to. There is one for many events. */
struct base_block *brk_body_new(struct brk_core *core, const uint8_t *bytes, size_t size)
{
	struct base_block *block;

	if (size <= POOLED_BYTES)
		return base_pool_copy(&core->pool, bytes, (uint32_t)size);
	block = malloc(sizeof *block + size);
	if (!block)
		return NULL;
	memcpy(block + 1, bytes, size);
	*block = (struct base_block){ .data = (const uint8_t *)(block + 1),
		.size = (uint32_t)size,
		.refs = 1,
		.release = release_body };
	return block;
}

/* ---- entries -------------------------------------------------------------- */

static bool make_room(struct brk_core *core, struct brk_entry *entry, uint32_t n)
{
	static const struct brk_delivery *const none[STORE_ENTRY_DELIVERIES];

	entry->deliveries = &entry->one;
	if (n == 1)
		return true;
	entry->room =
		base_pool_copy(&core->pool, none, n * (uint32_t)sizeof(struct brk_delivery *));
	if (!entry->room)
		return false;
	/* Ours alone: the block's bytes may be written. */
	entry->deliveries = (struct brk_delivery **)(uintptr_t)entry->room->data;
	return true;
}

struct brk_entry *brk_entry_new(struct brk_core *core, struct brk_journal *journal, uint32_t epoch,
	uint64_t turn, uint64_t written_ms, uint32_t n, struct base_block *body)
{
	uint32_t slot, generation;
	struct brk_entry *entry = base_slab_take(&core->entries, &slot, &generation);

	assert(n > 0 && n <= STORE_ENTRY_DELIVERIES);
	if (!entry)
		return NULL;
	if (!make_room(core, entry, n)) {
		base_slab_give(&core->entries, slot);
		return NULL;
	}
	entry->slot = slot;
	entry->journal = journal;
	entry->epoch = epoch;
	entry->turn = turn;
	entry->written_ms = written_ms;
	entry->n = n;
	entry->body = base_block_ref(body);
	DL_APPEND(journal->entries, entry);
	journal->n_entries++;
	return entry;
}

void brk_entry_enter(
	struct brk_entry *entry, struct brk_delivery *delivery, uint32_t bit, uint32_t body_at)
{
	assert(!delivery->entry && bit < entry->n && !entry->deliveries[bit]);
	entry->deliveries[bit] = delivery;
	entry->n_live++;
	delivery->entry = entry;
	delivery->bit = (uint16_t)bit;
	delivery->body_at = body_at;
}

void brk_entry_close(struct brk_core *core, struct brk_entry *entry)
{
	if (entry->n_live > 0)
		return;
	if (entry->journal->look == entry)
		entry->journal->look = entry->next;
	DL_DELETE(entry->journal->entries, entry);
	entry->journal->n_entries--;
	base_block_unref(&entry->body);
	base_block_unref(&entry->room);
	base_slab_give(&core->entries, entry->slot);
}

void brk_entry_leave(struct brk_core *core, struct brk_delivery *delivery)
{
	struct brk_entry *entry = delivery->entry;

	assert(entry->deliveries[delivery->bit] == delivery);
	entry->deliveries[delivery->bit] = NULL;
	entry->n_live--;
	delivery->entry = NULL;
	brk_entry_close(core, entry);
}
