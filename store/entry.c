#include "store/entry.h"

#include <assert.h>
#include <string.h>

#include "net/frame.h"
#include "store/keys.h"

#define TRACE_SIZE 25

static bool is_attempt(const Pirn__JournalAttempt *a)
{
	size_t size = (a->worker ? strlen(a->worker) : 0) + (a->error ? strlen(a->error) : 0);
	return size <= STORE_HISTORY_TEXT;
}

static bool is_delivery(const Pirn__JournalDelivery *d)
{
	struct store_key key;
	if (store_key_state(&key, d->service, "k", 1) != BASE_OK)
		return false;
	if (d->n_history > STORE_HISTORY_MAX)
		return false;
	for (size_t i = 0; i < d->n_history; i++) {
		if (!is_attempt(d->history[i]))
			return false;
	}
	return (!d->has_attempt || d->attempt > 0) && (!d->has_budget || d->budget > 0);
}

static bool is_event(const Pirn__JournalEvent *e)
{
	if (!e->has_id || e->id.len != 16 || (e->has_lane && e->lane.len != STORE_ENTRY_LANE) ||
		(e->has_trace && e->trace.len != TRACE_SIZE) || e->n_deliveries == 0)
		return false;
	for (size_t i = 0; i < e->n_deliveries; i++) {
		if (!is_delivery(e->deliveries[i]))
			return false;
	}
	return true;
}

enum base_err store_entry_check(
	const Pirn__JournalEntry *head, size_t body_size, size_t *n_deliveries)
{
	uint64_t sum = 0;
	size_t n = 0;
	if (head->n_events == 0 || head->n_events > STORE_ENTRY_DELIVERIES)
		return BASE_RANGE;
	for (size_t i = 0; i < head->n_events; i++) {
		const Pirn__JournalEvent *e = head->events[i];
		if (e->n_deliveries > STORE_ENTRY_DELIVERIES - n)
			return BASE_RANGE;
		if (!is_event(e))
			return BASE_INVALID;
		n += e->n_deliveries;
		sum += (uint64_t)e->meta_size + e->data_size;
	}
	if (sum != body_size)
		return BASE_INVALID;
	if (head->n_events > 1 && body_size > STORE_ENTRY_BODY)
		return BASE_TOO_LARGE;
	*n_deliveries = n;
	return BASE_OK;
}

enum base_err store_entry_pack(const Pirn__JournalEntry *head, struct base_buf *out)
{
	size_t size = pirn__journal_entry__get_packed_size(head);
	uint8_t *room = base_buf_room(out, size);
	if (!room)
		return BASE_NOMEM;
	size_t packed = pirn__journal_entry__pack(head, room);
	assert(packed == size);
	base_buf_grew(out, packed);
	return base_buf_check(out);
}

enum base_err store_entry_unpack(struct base_arena *arena, const void *head, size_t head_size,
	size_t body_size, Pirn__JournalEntry **out, size_t *n_deliveries)
{
	ProtobufCAllocator allocator = net_arena_allocator(arena);
	Pirn__JournalEntry *entry = pirn__journal_entry__unpack(&allocator, head_size, head);
	if (!entry)
		return BASE_PROTOCOL;
	enum base_err err = store_entry_check(entry, body_size, n_deliveries);
	if (!err)
		*out = entry;
	return err;
}
