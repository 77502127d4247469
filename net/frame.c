/* Reading: everything that can be checked without knowing the peer. What passes
 * here is a message whose sizes add up; whether the peer may send it, and what
 * its items mean, is for the layers above.
 */
#include "net/frame.h"

#include <assert.h>
#include <string.h>

#include "net/item.h"

enum shape {
	UNKNOWN,
	CONTROL, /* the body is one message, or empty */
	DATA,    /* items with payloads; RESULT may carry credits too */
	CREDITS, /* credits, and nothing else */
};

static const uint8_t shapes[] = {
	[PIRN__KIND__HELLO] = CONTROL,
	[PIRN__KIND__WELCOME] = CONTROL,
	[PIRN__KIND__BEAT] = CONTROL,
	[PIRN__KIND__BYE] = CONTROL,
	[PIRN__KIND__RESYNC] = CONTROL,
	[PIRN__KIND__DRAIN] = CONTROL,
	[PIRN__KIND__REGISTRY] = CONTROL,
	[PIRN__KIND__SUBMIT] = DATA,
	[PIRN__KIND__ACCEPTED] = DATA,
	[PIRN__KIND__REFUSED] = DATA,
	[PIRN__KIND__REPLY] = DATA,
	[PIRN__KIND__CANCEL] = DATA,
	[PIRN__KIND__DISPATCH] = DATA,
	[PIRN__KIND__RESULT] = DATA,
	[PIRN__KIND__QUERY] = DATA,
	[PIRN__KIND__ANSWER] = DATA,
	[PIRN__KIND__CREDIT] = CREDITS,
};

#define ID_SIZE    16
#define TRACE_SIZE 25
#define KEY_MAX    255
#define HASH_SIZE  16
#define ERROR_MAX  200

static void *arena_alloc(void *arena, size_t size)
{
	return base_arena_alloc(arena, size);
}

static void arena_free(void *arena, void *pointer)
{
	(void)arena;
	(void)pointer;
}

ProtobufCAllocator net_arena_allocator(struct base_arena *arena)
{
	return (ProtobufCAllocator){
		.alloc = arena_alloc, .free = arena_free, .allocator_data = arena
	};
}

static bool is_item_sound(const Pirn__Item *item)
{
	return (!item->has_id || item->id.len == ID_SIZE) &&
	       (!item->has_trace || item->trace.len == TRACE_SIZE) &&
	       (!item->has_key || (item->key.len >= 1 && item->key.len <= KEY_MAX)) &&
	       (!item->has_hash || item->hash.len == HASH_SIZE) &&
	       (!item->error || strlen(item->error) <= ERROR_MAX);
}

static bool add_up(const Pirn__Head *head, size_t body_size)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < head->n_items; i++) {
		if (!is_item_sound(head->items[i]))
			return false;
		sum += (uint64_t)head->items[i]->meta_size + head->items[i]->data_size;
	}
	return sum == body_size;
}

static bool is_message(const Pirn__Head *head, size_t body_size)
{
	enum shape shape = head->kind < sizeof shapes ? (enum shape)shapes[head->kind] : UNKNOWN;
	bool credits = head->n_credits > 0;

	switch (shape) {
	case UNKNOWN:
		return false;
	case CONTROL:
		return head->n_items == 0 && !credits && body_size <= NET_MAX_BODY;
	case CREDITS:
		return head->n_items == 0 && head->n_credits <= NET_MAX_ITEMS && body_size == 0;
	case DATA:
		if (head->n_items == 0 || head->n_items > NET_MAX_ITEMS)
			return false;
		if (credits &&
			(head->kind != PIRN__KIND__RESULT || head->n_credits > NET_MAX_ITEMS))
			return false;
		if (body_size > (head->n_items == 1 ? NET_MAX_ITEM : NET_MAX_BODY))
			return false;
		return add_up(head, body_size);
	}
	return false;
}

enum base_err net_frame_open(struct base_arena *arena, const void *head, size_t head_size,
	const void *body, size_t body_size, struct net_frame *out)
{
	ProtobufCAllocator allocator = net_arena_allocator(arena);
	Pirn__Head *h;

	if (head_size > NET_MAX_HEAD || body_size > NET_MAX_ITEM)
		return BASE_PROTOCOL;
	h = net_head_read(arena, head, head_size);
	if (!h && !arena->starved)
		h = pirn__head__unpack(&allocator, head_size, head);
	if (!h && arena->starved)
		return BASE_NOMEM;
	if (!h || !is_message(h, body_size))
		return BASE_PROTOCOL;
	*out = (struct net_frame){ .head = h, .body = body, .body_size = body_size };
	return BASE_OK;
}

struct net_payload net_frame_payload(
	const struct net_frame *f, const Pirn__Item *item, size_t *offset)
{
	struct net_payload p = { .meta_size = item->meta_size, .data_size = item->data_size };
	size_t size = (size_t)p.meta_size + p.data_size;

	assert(size <= f->body_size && *offset <= f->body_size - size);
	if (size == 0)
		return p;
	p.meta = f->body + *offset;
	p.data = p.meta + p.meta_size;
	*offset += size;
	return p;
}
