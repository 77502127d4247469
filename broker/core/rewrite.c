/* Rewriting: what still lives of old entries that are mostly done moves together into a new
 * one, to give memory back, here (an entry keeps its whole body) and in Redis (a stream
 * keeps a node of 4 KB as long as one entry of it is there).
 *
 * A few entries are looked at after each beat, journal by journal, round and round. An
 * entry is taken when at most a quarter of it lives, or when it is so small that it has a
 * node to itself; and only when there are some of them, so that what they become is not
 * taken again: so each event is rewritten a few times in its life at most.
 */
#include <utlist.h>

#include "broker/core/parts.h"

#define LOOKED_AT    1024 /* entries of one journal, after each beat */
#define TAKEN        512  /* entries at once, at most */
#define WORTH_IT     8    /* and at least: their heads alone fill more than a quarter of a node */
#define OLD_MS       10000
#define NODE_BYTES   4096u
#define HEAD_BYTES   150u /* of an event, about */
#define SPARSE_SHARE 4u

static bool rests(const struct brk_entry *entry)
{
	for (uint32_t bit = 0; bit < entry->n; bit++) {
		const struct brk_delivery *delivery = entry->deliveries[bit];

		if (delivery && delivery->state != BRK_DELIVERY_READY &&
			delivery->state != BRK_DELIVERY_WAITING)
			return false;
	}
	return true;
}

static bool is_sparse(const struct brk_entry *entry)
{
	uint64_t all = entry->body->size + (uint64_t)entry->n * HEAD_BYTES;
	uint64_t living = all * entry->n_live / entry->n;

	return living * SPARSE_SHARE <= (all > NODE_BYTES ? all : NODE_BYTES);
}

/* Deliveries of one event share a payload here, and would not where they move to. */
static bool shrinks(const struct brk_entry *entry)
{
	uint64_t bytes = 0;

	for (uint32_t bit = 0; bit < entry->n; bit++)
		if (entry->deliveries[bit])
			bytes += brk_delivery_size(entry->deliveries[bit]);
	return bytes <= entry->body->size;
}

static bool is_worth_taking(const struct brk_core *core, const struct brk_entry *entry)
{
	return entry->written_ms + OLD_MS <= brk_owner_redis_ms(core) && is_sparse(entry) &&
	       rests(entry) && shrinks(entry);
}

struct taken {
	struct brk_entry *entries[TAKEN];
	size_t n;
};

static void look(struct brk_core *core, struct brk_journal *journal, struct taken *taken)
{
	struct brk_entry *entry = journal->look ? journal->look : journal->entries;

	for (int i = 0; entry && i < LOOKED_AT && taken->n < TAKEN; i++, entry = entry->next)
		if (is_worth_taking(core, entry))
			taken->entries[taken->n++] = entry;
	journal->look = entry;
}

static void move(struct brk_core *core, struct brk_entry *entry)
{
	for (uint32_t bit = 0; bit < entry->n; bit++) {
		struct brk_delivery *delivery = entry->deliveries[bit];
		struct brk_end end = { .delivery = delivery, .how = STORE_MOVED };

		if (!delivery)
			continue;
		delivery->flags |= BRK_DELIVERY_REWRITTEN;
		brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_MOVE);
		brk_ledger_settle(core, &end);
	}
}

/* Those that were found and are too few are found again in the next round. */
void brk_rewrite_look(struct brk_core *core)
{
	struct brk_journal *journal;
	struct taken taken = { .n = 0 };

	if (!brk_owner_is_open(core) || core->draining || core->ledger.settles.n_open > 1)
		return;
	LL_FOREACH (core->ledger.journals, journal)
		look(core, journal, &taken);
	if (taken.n < WORTH_IT)
		return;
	for (size_t i = 0; i < taken.n; i++)
		move(core, taken.entries[i]);
}
