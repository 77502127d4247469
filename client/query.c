/* Questions to every broker. A question ends when all that were asked have
 * answered, refused or fallen, or when its time is up.
 */
#include "client/parts.h"

#include <utlist.h>

static void end(struct client_engine *e, struct client_query *q)
{
	client_answer_fn *fn = q->fn;
	void *arg = q->arg;

	base_heap_remove(&e->heap, &q->record.timed);
	DL_DELETE(e->queries, q);
	base_slab_give(&e->slab, q->record.slot);
	fn(arg, NULL);
}

static void expire(struct client_engine *e, struct client_record *record)
{
	end(e, base_heap_of(record, struct client_query, record));
}

static uint64_t ask(struct client_engine *e, const struct client_query *q, const Pirn__Query *query)
{
	uint8_t bytes[64];
	struct net_payload payload = { .data = bytes };
	uint64_t asked = 0;

	if (pirn__query__get_packed_size(query) > sizeof bytes)
		return 0;
	payload.data_size = (uint32_t)pirn__query__pack(query, bytes);
	for (size_t i = 0; i < net_links_up(e->links); i++) {
		struct net_link *net = net_links_at(e->links, i);
		struct client_link *link = net_link_user(net);
		Pirn__Item item = PIRN__ITEM__INIT;

		item.has_slot = item.has_generation = 1;
		item.slot = q->record.slot;
		item.generation = q->record.generation;
		if (link && !net_link_item(net, PIRN__KIND__QUERY, &item, &payload))
			asked |= link->bit;
	}
	return asked;
}

enum base_err client_engine_query(struct client_engine *e, const Pirn__Query *query,
	uint32_t timeout_ms, client_answer_fn *fn, void *arg)
{
	uint64_t now = net_loop_now_ms(e->loop);
	uint32_t slot, generation;
	struct client_query *q;
	enum base_err err;

	if (e->closing)
		return BASE_CANCELLED;
	q = base_slab_take(&e->slab, &slot, &generation);
	if (!q)
		return BASE_FULL;
	*q = (struct client_query){
		.record = { .expire = expire,
			.slot = slot,
			.generation = generation,
			.is_query = true },
		.fn = fn,
		.arg = arg,
	};
	q->awaited = ask(e, q, query);
	err = base_heap_push(&e->heap, &q->record.timed, q->awaited ? now + timeout_ms : now);
	if (err) {
		base_slab_give(&e->slab, slot);
		return err;
	}
	DL_APPEND(e->queries, q);
	client_engine_arm(e);
	return BASE_OK;
}

void client_query_done(
	struct client_engine *e, struct client_link *link, struct client_record *record)
{
	struct client_query *q = base_heap_of(record, struct client_query, record);

	if (!(q->awaited & link->bit))
		return;
	q->awaited &= ~link->bit;
	if (q->awaited == 0)
		end(e, q);
}

static void take_answer(struct client_engine *e, struct client_link *link,
	struct client_record *record, const struct net_payload *payload)
{
	struct client_query *q = base_heap_of(record, struct client_query, record);
	ProtobufCAllocator allocator = net_arena_allocator(&e->arena);
	const Pirn__Answer *answer;

	if (!(q->awaited & link->bit))
		return;
	base_arena_reset(&e->arena);
	answer = pirn__answer__unpack(&allocator, payload->data_size, payload->data);
	if (answer)
		q->fn(q->arg, answer);
	base_arena_reset(&e->arena);
	client_query_done(e, link, record);
}

void client_query_message(
	struct client_engine *e, struct client_link *link, const struct net_frame *f)
{
	size_t offset = 0;

	for (size_t i = 0; i < f->head->n_items; i++) {
		const Pirn__Item *item = f->head->items[i];
		struct net_payload payload = net_frame_payload(f, item, &offset);
		struct client_record *record =
			base_slab_get(&e->slab, item->slot, item->generation);

		if (record && record->is_query)
			take_answer(e, link, record, &payload);
	}
}

void client_query_link_down(struct client_engine *e, struct client_link *link)
{
	struct client_query *q = e->queries;

	while (q) {
		struct client_query *next = q->next;
		if (q->awaited & link->bit) {
			client_query_done(e, link, &q->record);
			next = e->queries; /* a callback may have changed the list: from the start */
		}
		q = next;
	}
}

void client_query_end_all(struct client_engine *e)
{
	while (e->queries)
		end(e, e->queries);
}
