/* Writing. A repeated field may stand in a message in pieces, each with the
 * field's tag and a length in front: so an item is packed right where it will
 * lie, and a batch's head is whole at any time.
 */
#include "net/frame.h"

#include <assert.h>
#include <string.h>

#include "net/item.h"

/* Tags of Head: field number << 3 | wire type. */
#define TAG_KIND   0x08
#define TAG_ITEM   0x12
#define TAG_CREDIT 0x1a

#define RECORD_FRAME 6           /* tag and length */
#define RECORD_SPARE 512         /* what one item's or credit's head takes at most, as a rule … */
#define MAX_RECORD   (16 * 1024) /* … and one that says for whom an event is; tag and length included */

void net_batch_init(struct net_batch *b)
{
	*b = (struct net_batch){ 0 };
	base_buf_init(&b->head);
	base_buf_init(&b->body);
}

void net_batch_fini(struct net_batch *b)
{
	base_buf_fini(&b->head);
	base_buf_fini(&b->body);
}

static size_t put_varint(uint8_t *at, size_t value)
{
	size_t n = 0;

	while (value >= 0x80) {
		at[n++] = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	at[n++] = (uint8_t)value;
	return n;
}

void net_batch_start(struct net_batch *b, uint32_t kind)
{
	uint8_t *at;

	assert(kind > 0);
	base_buf_reset(&b->head);
	base_buf_reset(&b->body);
	b->kind = kind;
	b->n_items = b->n_credits = 0;
	b->large = (struct net_payload){ 0 };
	at = base_buf_room(&b->head, 6);
	if (!at)
		return; /* sticky: net_batch_item will say so */
	at[0] = TAG_KIND;
	base_buf_grew(&b->head, 1 + put_varint(at + 1, kind));
}

static bool has_head_room(const struct net_batch *b)
{
	return b->head.size + RECORD_SPARE <= NET_MAX_HEAD;
}

bool net_batch_has_room(const struct net_batch *b, size_t payload_size)
{
	if (b->n_items == 0)
		return has_head_room(b);
	return b->n_items < NET_MAX_ITEMS && has_head_room(b) && !b->large.meta && !b->large.data &&
	       payload_size <= NET_COPY_MAX && b->body.size + payload_size <= NET_MAX_BODY;
}

bool net_batch_has_credit_room(const struct net_batch *b)
{
	return b->n_credits < NET_MAX_ITEMS && has_head_room(b);
}

/* Tag, length, message. */
static enum base_err put_record(struct base_buf *head, uint8_t tag, const ProtobufCMessage *m)
{
	size_t size = protobuf_c_message_get_packed_size(m);
	uint8_t *at;
	size_t n;

	if (size > MAX_RECORD - RECORD_FRAME)
		return BASE_TOO_LARGE;
	if (head->size + size + RECORD_FRAME > NET_MAX_HEAD)
		return BASE_FULL;
	at = base_buf_room(head, size + RECORD_FRAME);
	if (!at)
		return BASE_NOMEM;
	at[0] = tag;
	n = 1 + put_varint(at + 1, size);
	n += protobuf_c_message_pack(m, at + n);
	base_buf_grew(head, n);
	return BASE_OK;
}

/* The same of an item, whose size is only known when it stands there. Its length takes one byte as a rule, and is
 * taken to do so until it does not. */
static enum base_err put_item(struct base_buf *head, const Pirn__Item *item)
{
	size_t bound = net_item_bound(item), size, frame;
	uint8_t *at;

	if (item->base.n_unknown_fields > 0)
		return put_record(head, TAG_ITEM, &item->base);
	if (bound > MAX_RECORD + RECORD_SPARE)
		return BASE_TOO_LARGE;
	at = base_buf_room(head, bound + RECORD_FRAME);
	if (!at)
		return BASE_NOMEM;
	size = net_item_pack(item, at + 2);
	if (size > MAX_RECORD - RECORD_FRAME)
		return BASE_TOO_LARGE;
	if (head->size + size + RECORD_FRAME > NET_MAX_HEAD)
		return BASE_FULL;
	at[0] = TAG_ITEM;
	if (size >= 0x80)
		memmove(at + 3, at + 2, size); /* below 2^14 */
	frame = 1 + put_varint(at + 1, size);
	base_buf_grew(head, frame + size);
	return BASE_OK;
}

static void put_payload(struct base_buf *body, uint8_t *at, const struct net_payload *p)
{
	if (p->meta_size)
		memcpy(at, p->meta, p->meta_size);
	if (p->data_size)
		memcpy(at + p->meta_size, p->data, p->data_size);
	base_buf_grew(body, (size_t)p->meta_size + p->data_size);
}

static void set_size(protobuf_c_boolean *has, uint32_t *field, uint32_t size)
{
	*has = size > 0;
	*field = size;
}

static enum base_err add(
	struct net_batch *b, Pirn__Item *item, const struct net_payload *p, bool large)
{
	size_t size = (size_t)p->meta_size + p->data_size;
	uint8_t *at = NULL;
	enum base_err err;

	if (size > 0 && !large) {
		at = base_buf_room(&b->body, size);
		if (!at)
			return BASE_NOMEM;
	}
	set_size(&item->has_meta_size, &item->meta_size, p->meta_size);
	set_size(&item->has_data_size, &item->data_size, p->data_size);
	err = put_item(&b->head, item);
	if (err)
		return err;
	if (at)
		put_payload(&b->body, at, p);
	if (large)
		b->large = *p;
	b->n_items++;
	return BASE_OK;
}

enum base_err net_batch_item(
	struct net_batch *b, Pirn__Item *item, const struct net_payload *payload)
{
	static const struct net_payload none;
	const struct net_payload *p = payload ? payload : &none;
	size_t size = (size_t)p->meta_size + p->data_size;

	if (size > NET_MAX_ITEM)
		return BASE_TOO_LARGE;
	if (!net_batch_has_room(b, size))
		return BASE_FULL;
	return add(b, item, p, size > NET_COPY_MAX);
}

/* ---- runs ------------------------------------------------------------------ */

/* Whether the heads fit shows when they stand there. */
static bool has_run_room(const struct net_batch *b, size_t n, size_t bodies)
{
	return b->n_items + n <= NET_MAX_ITEMS && b->body.size + bodies <= NET_MAX_BODY &&
	       !b->large.meta && !b->large.data;
}

enum base_err net_batch_run(
	struct net_batch *b, Pirn__Item *items, const struct net_payload *payloads, size_t n)
{
	size_t bodies = 0, head = b->head.size, body = b->body.size, before = b->n_items;
	enum base_err err = BASE_OK;

	for (size_t i = 0; i < n; i++)
		bodies += (size_t)payloads[i].meta_size + payloads[i].data_size;
	if (!has_run_room(b, n, bodies))
		return b->n_items > 0 ? BASE_FULL : BASE_TOO_LARGE;
	for (size_t i = 0; !err && i < n; i++)
		err = add(b, &items[i], &payloads[i], false);
	if (err) { /* as it was */
		b->head.size = head;
		b->body.size = body;
		b->n_items = before;
	}
	return err == BASE_FULL && before == 0 ? BASE_TOO_LARGE : err;
}

enum base_err net_batch_credit(struct net_batch *b, const Pirn__Credit *credit)
{
	enum base_err err;

	if (!net_batch_has_credit_room(b))
		return BASE_FULL;
	err = put_record(&b->head, TAG_CREDIT, &credit->base);
	if (!err)
		b->n_credits++;
	return err;
}
