/* Questions to brokers. One to all ends when all that were asked have answered,
 * refused or fallen; one to any broker goes from broker to broker until one has
 * answered. Both end when their time is up.
 */
#include "client/parts.h"

#include <stdlib.h>
#include <utlist.h>

#include "net/block.h"

static void drop(struct client_engine *e, struct client_query *q)
{
	base_heap_remove(&e->heap, &q->record.timed);
	DL_DELETE(e->queries, q);
	base_block_unref(&q->block);
	base_slab_give(&e->slab, q->record.slot);
}

static void end(struct client_engine *e, struct client_query *q)
{
	client_answer_fn *fn = q->fn;
	void *arg = q->arg;

	drop(e, q);
	fn(arg, NULL);
}

static void expire(struct client_engine *e, struct client_record *record)
{
	end(e, base_heap_of(record, struct client_query, record));
}

/* The question's bytes, of which a link may keep a share. NULL: memory. */
static struct base_block *pack(struct client_engine *e, const Pirn__Query *query)
{
	size_t size = pirn__query__get_packed_size(query);
	uint8_t *bytes = malloc(size + 1);
	const struct net_payload payload = { .data = bytes, .data_size = (uint32_t)size };
	struct base_block *block;

	if (!bytes)
		return NULL;
	pirn__query__pack(query, bytes);
	block = size > NET_COPY_MAX ? net_block_new(&payload)
				    : base_pool_copy(&e->pool, bytes, (uint32_t)size);
	free(bytes);
	return block;
}

static bool ask_link(struct client_query *q, struct client_link *link, struct base_block *block)
{
	const struct net_payload payload = {
		.data = block->data, .data_size = block->size, .block = block
	};
	Pirn__Item item = PIRN__ITEM__INIT;

	item.has_slot = item.has_generation = 1;
	item.slot = q->record.slot;
	item.generation = q->record.generation;
	if (net_link_item(link->net, PIRN__KIND__QUERY, &item, &payload))
		return false;
	q->awaited |= link->bit;
	return true;
}

static void ask_all(struct client_engine *e, struct client_query *q, struct base_block *block)
{
	for (size_t i = 0; i < net_links_up(e->links); i++) {
		struct client_link *link = net_link_user(net_links_at(e->links, i));
		if (link)
			ask_link(q, link, block);
	}
}

/* One that was not asked yet; one that drains only when there is no other. In turn. */
static struct client_link *next_link(struct client_engine *e, const struct client_query *q)
{
	struct client_link *draining = NULL;
	size_t n = net_links_up(e->links);

	for (size_t i = 0; i < n; i++) {
		struct client_link *link = net_link_user(net_links_at(e->links, (i + e->turn) % n));

		if (!link || (q->asked & link->bit))
			continue;
		if (!net_link_draining(link->net))
			return link;
		draining = link;
	}
	return draining;
}

static bool ask_next(struct client_engine *e, struct client_query *q)
{
	struct client_link *link;

	e->turn++;
	while ((link = next_link(e, q))) {
		q->asked |= link->bit;
		if (ask_link(q, link, q->block))
			return true;
	}
	return false;
}

/* In the list and in the heap, but not asked yet: whoever asks sets the time. */
static enum base_err begin(
	struct client_engine *e, client_answer_fn *fn, void *arg, struct client_query **out)
{
	uint32_t slot, generation;
	struct client_query *q;

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
	DL_APPEND(e->queries, q);
	*out = q;
	return BASE_OK;
}

static enum base_err set_due(struct client_engine *e, struct client_query *q, uint32_t ms)
{
	enum base_err err =
		base_heap_push(&e->heap, &q->record.timed, net_loop_now_ms(e->loop) + ms);

	if (err)
		drop(e, q);
	else
		client_engine_arm(e);
	return err;
}

enum base_err client_engine_query(struct client_engine *e, const Pirn__Query *query,
	uint32_t timeout_ms, client_answer_fn *fn, void *arg)
{
	struct base_block *block = pack(e, query);
	struct client_query *q;
	enum base_err err;

	if (!block)
		return BASE_NOMEM;
	err = begin(e, fn, arg, &q);
	if (!err) {
		ask_all(e, q, block);
		err = set_due(e, q, q->awaited ? timeout_ms : 0);
	}
	base_block_unref(&block);
	return err;
}

enum base_err client_engine_ask(struct client_engine *e, const Pirn__Query *query,
	uint32_t timeout_ms, client_answer_fn *fn, void *arg)
{
	struct base_block *block = pack(e, query);
	struct client_query *q;
	enum base_err err;

	if (!block)
		return BASE_NOMEM;
	err = begin(e, fn, arg, &q);
	if (err) {
		base_block_unref(&block);
		return err;
	}
	q->block = block;
	return set_due(e, q, ask_next(e, q) ? timeout_ms : 0);
}

enum base_err client_query_later(
	struct client_engine *e, uint32_t ms, client_answer_fn *fn, void *arg)
{
	struct client_query *q;
	enum base_err err = begin(e, fn, arg, &q);

	return err ? err : set_due(e, q, ms);
}

void client_query_done(
	struct client_engine *e, struct client_link *link, struct client_record *record)
{
	struct client_query *q = base_heap_of(record, struct client_query, record);

	if (!(q->awaited & link->bit))
		return;
	q->awaited &= ~link->bit;
	if (q->awaited == 0 && !(q->block && ask_next(e, q)))
		end(e, q);
}

/* Of a question to any broker the first answer is the end. */
static void tell_only(struct client_engine *e, struct client_query *q, const Pirn__Answer *answer)
{
	client_answer_fn *fn = q->fn;
	void *arg = q->arg;

	drop(e, q);
	fn(arg, answer);
}

/* UNTRUSTED: an answer that cannot be read is none. */
static void take_answer(struct client_engine *e, struct client_link *link,
	struct client_record *record, const struct net_payload *payload)
{
	struct client_query *q = base_heap_of(record, struct client_query, record);
	uint32_t slot = record->slot, generation = record->generation;
	ProtobufCAllocator allocator = net_arena_allocator(&e->arena);
	const Pirn__Answer *answer;

	if (!(q->awaited & link->bit))
		return;
	base_arena_reset(&e->arena);
	answer = pirn__answer__unpack(&allocator, payload->data_size, payload->data);
	if (answer && q->block)
		tell_only(e, q, answer);
	else if (answer)
		q->fn(q->arg, answer);
	base_arena_reset(&e->arena);
	record = base_slab_get(&e->slab, slot, generation);
	if (record)
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
