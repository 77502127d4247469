#include "net/item.h"

#include <stdbool.h>
#include <string.h>

#include "net/frame.h"

/* Item's fields by their numbers, which is the order that protobuf-c packs them in. A field that is
 * missing here is one that is never sent, and the test says so. */
#define FIELDS(U32, U64, FIXED, BYTES, TEXT) \
	U32(1, slot) \
	U32(2, generation) \
	BYTES(3, id) \
	TEXT(4, service) \
	U32(5, flags) \
	U32(6, attempt) \
	U32(7, left_ms) \
	U32(8, meta_size) \
	U32(9, data_size) \
	U32(10, status) \
	U32(11, reason) \
	U32(12, retry_after_ms) \
	BYTES(13, trace) \
	FIXED(14, lane) \
	U64(15, number) \
	BYTES(16, key) \
	BYTES(17, hash) \
	U64(18, delay_ms) \
	U64(19, not_before_ms) \
	U32(20, attempts) \
	U32(21, epoch) \
	U64(22, lease_end_ms) \
	U64(23, keep_until_ms) \
	TEXT(24, error) \
	TEXT(25, type) \
	TEXT(26, source) \
	TEXT(27, subject) \
	TEXT(28, timer) \
	U64(29, previous_ms) \
	U64(30, slot_ms) \
	U32(31, emit_size) \
	U32(32, hops) \
	TEXT(33, callback) \
	U32(34, key_ttl_ms)

enum { VARINT = 0, EIGHT = 1, SIZED = 2 };

#define TAG(number, type) ((number) << 3 | (type))
#define TAG_MAX    2 /* bytes: numbers up to 255 */
#define VARINT_MAX 10

/* ---- packing ---------------------------------------------------------------- */

static inline uint8_t *put_varint(uint8_t *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	return at;
}

static inline uint8_t *put_tag(uint8_t *at, unsigned tag)
{
	if (tag < 0x80) {
		*at++ = (uint8_t)tag;
		return at;
	}
	*at++ = (uint8_t)(tag | 0x80);
	*at++ = (uint8_t)(tag >> 7);
	return at;
}

static inline uint8_t *put_bytes(uint8_t *at, unsigned tag, const void *bytes, size_t size)
{
	at = put_varint(put_tag(at, tag), size);
	if (size > 0)
		memcpy(at, bytes, size);
	return at + size;
}

static inline uint8_t *put_fixed(uint8_t *at, uint64_t value)
{
	for (unsigned i = 0; i < 8; i++)
		*at++ = (uint8_t)(value >> 8 * i);
	return at;
}

size_t net_item_bound(const Pirn__Item *item)
{
	size_t size = 0;

#define NUMBER(number, name)     size += TAG_MAX + VARINT_MAX;
#define BYTES(number, name)      size += TAG_MAX + VARINT_MAX + (item->has_##name ? item->name.len : 0);
#define TEXT(number, name)       size += TAG_MAX + VARINT_MAX + (item->name ? strlen(item->name) : 0);
	FIELDS(NUMBER, NUMBER, NUMBER, BYTES, TEXT)
#undef NUMBER
#undef BYTES
#undef TEXT
	return size;
}

size_t net_item_pack(const Pirn__Item *item, uint8_t *start)
{
	uint8_t *at = start;

#define NUMBER(number, name) \
	if (item->has_##name) \
		at = put_varint(put_tag(at, TAG(number, VARINT)), item->name);
#define FIXED(number, name) \
	if (item->has_##name) \
		at = put_fixed(put_tag(at, TAG(number, EIGHT)), item->name);
#define BYTES(number, name) \
	if (item->has_##name) \
		at = put_bytes(at, TAG(number, SIZED), item->name.data, item->name.len);
#define TEXT(number, name) \
	if (item->name) \
		at = put_bytes(at, TAG(number, SIZED), item->name, strlen(item->name));
	FIELDS(NUMBER, NUMBER, FIXED, BYTES, TEXT)
#undef NUMBER
#undef FIXED
#undef BYTES
#undef TEXT
	return (size_t)(at - start);
}

/* ---- reading ---------------------------------------------------------------- */

/* What is left of the bytes. */
struct reader {
	const uint8_t *at, *end;
};

static inline bool get_long(struct reader *r, uint64_t *out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
		uint8_t byte = *r->at++;

		if (shift == 63 && byte > 1)
			return false;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*out = value;
			return true;
		}
	}
	return false;
}

static inline bool get_varint(struct reader *r, uint64_t *out)
{
	if (r->at < r->end && *r->at < 0x80) {
		*out = *r->at++;
		return true;
	}
	return get_long(r, out);
}

static inline bool get_u32(struct reader *r, uint32_t *out)
{
	uint64_t value;

	if (!get_varint(r, &value) || value > UINT32_MAX)
		return false;
	*out = (uint32_t)value;
	return true;
}

static inline bool get_fixed(struct reader *r, uint64_t *out)
{
	uint64_t value = 0;

	if (r->end - r->at < 8)
		return false;
	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)*r->at++ << 8 * i;
	*out = value;
	return true;
}

static inline bool get_sized(struct reader *r, const uint8_t **bytes, size_t *size)
{
	uint64_t value;

	if (!get_varint(r, &value) || value > (uint64_t)(r->end - r->at))
		return false;
	*bytes = r->at;
	*size = (size_t)value;
	r->at += *size;
	return true;
}

/* An empty one has no bytes to point at. */
static inline bool get_bytes(struct reader *r, ProtobufCBinaryData *out)
{
	const uint8_t *bytes;
	size_t size;

	if (!get_sized(r, &bytes, &size) || size == 0)
		return false;
	out->data = (uint8_t *)(uintptr_t)bytes;
	out->len = size;
	return true;
}

/* A copy, for its NUL; most often what the item before it has, too. */
static bool get_text(struct reader *r, struct base_arena *arena, char *before, char **out)
{
	const uint8_t *bytes;
	size_t size;

	if (!get_sized(r, &bytes, &size))
		return false;
	if (before && strlen(before) == size && memcmp(before, bytes, size) == 0)
		*out = before;
	else
		*out = base_arena_dup(arena, bytes, size);
	return *out != NULL;
}

/* before: the item that was read before it; of the first one itself. */
static bool read_item(
	struct reader r, struct base_arena *arena, const Pirn__Item *before, Pirn__Item *item)
{
	pirn__item__init(item);
	while (r.at < r.end) {
		unsigned tag = *r.at++;
		bool read = false;

		if (tag >= 0x80) {
			if (r.at == r.end || *r.at >= 0x80)
				return false;
			tag = (tag & 0x7f) | (unsigned)*r.at++ << 7;
		}
		switch (tag) {
#define NUMBER(number, name, get) \
	case TAG(number, VARINT): \
		read = !item->has_##name && get(&r, &item->name); \
		item->has_##name = true; \
		break;
#define U32(number, name) NUMBER(number, name, get_u32)
#define U64(number, name) NUMBER(number, name, get_varint)
#define FIXED(number, name) \
	case TAG(number, EIGHT): \
		read = !item->has_##name && get_fixed(&r, &item->name); \
		item->has_##name = true; \
		break;
#define BYTES(number, name) \
	case TAG(number, SIZED): \
		read = !item->has_##name && get_bytes(&r, &item->name); \
		item->has_##name = true; \
		break;
#define TEXT(number, name) \
	case TAG(number, SIZED): \
		read = !item->name && get_text(&r, arena, before->name, &item->name); \
		break;
			FIELDS(U32, U64, FIXED, BYTES, TEXT)
		default:
			break;
		}
		if (!read)
			return false;
	}
	return true;
}

enum { HEAD_KIND = TAG(1, VARINT), HEAD_ITEM = TAG(2, SIZED), HEAD_CREDIT = TAG(3, SIZED) };

struct counts {
	size_t items, credits;
	uint32_t kind;
};

static bool count(struct reader r, struct counts *out)
{
	const uint8_t *bytes;
	size_t size;

	*out = (struct counts){ 0 };
	while (r.at < r.end) {
		uint8_t tag = *r.at++;

		if (tag == HEAD_KIND) {
			if (out->kind || !get_u32(&r, &out->kind))
				return false;
			continue;
		}
		if ((tag != HEAD_ITEM && tag != HEAD_CREDIT) || !get_sized(&r, &bytes, &size))
			return false;
		*(tag == HEAD_ITEM ? &out->items : &out->credits) += 1;
	}
	return out->kind > 0 && out->items <= NET_MAX_ITEMS && out->credits <= NET_MAX_ITEMS;
}

static bool read_items(struct reader r, struct base_arena *arena, Pirn__Head *head, Pirn__Item *room)
{
	ProtobufCAllocator allocator = net_arena_allocator(arena);
	const Pirn__Item *before = room;

	while (r.at < r.end) {
		uint8_t tag = *r.at++;
		const uint8_t *bytes;
		size_t size;

		if (tag == HEAD_KIND) {
			if (!get_u32(&r, &head->kind))
				return false;
			continue;
		}
		if (!get_sized(&r, &bytes, &size))
			return false;
		if (tag == HEAD_ITEM) {
			Pirn__Item *item = room + head->n_items;

			if (!read_item((struct reader){ bytes, bytes + size }, arena, before, item))
				return false;
			head->items[head->n_items++] = item;
			before = item;
		} else {
			Pirn__Credit *credit = pirn__credit__unpack(&allocator, size, bytes);

			if (!credit)
				return false;
			head->credits[head->n_credits++] = credit;
		}
	}
	return true;
}

Pirn__Head *net_head_read(struct base_arena *arena, const uint8_t *bytes, size_t size)
{
	const struct reader r = { bytes, bytes + size };
	struct counts n;
	Pirn__Head *head;
	Pirn__Item *room = NULL;

	if (size == 0 || !count(r, &n))
		return NULL;
	head = base_arena_alloc(arena, sizeof *head);
	if (!head)
		return NULL;
	pirn__head__init(head);
	if (n.items > 0) {
		head->items = base_arena_alloc(arena, n.items * sizeof *head->items);
		room = base_arena_alloc(arena, n.items * sizeof *room);
		if (!head->items || !room)
			return NULL;
	}
	if (n.credits > 0) {
		head->credits = base_arena_alloc(arena, n.credits * sizeof *head->credits);
		if (!head->credits)
			return NULL;
	}
	return read_items(r, arena, head, room) ? head : NULL;
}
