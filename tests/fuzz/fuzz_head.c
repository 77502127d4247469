/* A message of any bytes: two bytes of head size, the head, the body. What is
 * taken for a message is one: its payloads lie in the body and fill it, and
 * written again it is read again as the same. Heads that are read by hand are
 * held against protobuf-c's. Control bodies are unpacked as a
 * broker and its peers do.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "net/frame.h"
#include "net/item.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct base_arena arena, second;

static void check_payloads(const struct net_frame *f)
{
	size_t offset = 0;

	for (size_t i = 0; i < f->head->n_items; i++) {
		const Pirn__Item *item = f->head->items[i];
		struct net_payload p = net_frame_payload(f, item, &offset);
		const size_t bytes = (size_t)p.meta_size + p.data_size;

		assert(bytes == 0 ||
			(p.meta >= f->body && p.data + p.data_size <= f->body + f->body_size));
		assert(!item->has_id || item->id.len == 16);
		assert(!item->has_trace || item->trace.len == 25);
	}
	assert(f->head->n_items == 0 || offset == f->body_size);
}

static void check_equal(const struct net_frame *f, const struct net_frame *g)
{
	assert(g->head->kind == f->head->kind);
	assert(g->head->n_items == f->head->n_items);
	for (size_t i = 0; i < f->head->n_items; i++) {
		const Pirn__Item *a = f->head->items[i], *b = g->head->items[i];

		assert(a->slot == b->slot && a->generation == b->generation &&
			a->status == b->status);
		assert(a->meta_size == b->meta_size && a->data_size == b->data_size &&
			a->reason == b->reason);
		assert(!a->service == !b->service &&
			(!a->service || strcmp(a->service, b->service) == 0));
	}
}

/* Both readers: what is read by hand is what protobuf-c reads, field by field. */
static void compare_readers(const uint8_t *bytes, size_t size)
{
	Pirn__Head *ours, *theirs;
	size_t packed;
	uint8_t *a, *b;

	base_arena_reset(&second);
	ours = net_head_read(&second, bytes, size);
	if (!ours)
		return;
	theirs = pirn__head__unpack(NULL, size, bytes);
	assert(theirs);
	packed = pirn__head__get_packed_size(theirs);
	assert(pirn__head__get_packed_size(ours) == packed);
	a = malloc(packed);
	b = malloc(packed);
	assert(a && b);
	pirn__head__pack(ours, a);
	pirn__head__pack(theirs, b);
	assert(memcmp(a, b, packed) == 0);
	free(a);
	free(b);
	pirn__head__free_unpacked(theirs, NULL);
}

/* Through the writer: what does not fit is refused, the rest must come back. */
static void write_again(const struct net_frame *f)
{
	struct net_batch batch;
	struct net_frame again;
	size_t offset = 0;
	const uint8_t *body;
	bool whole = true;

	net_batch_init(&batch);
	net_batch_start(&batch, f->head->kind);
	for (size_t i = 0; i < f->head->n_items && whole; i++) {
		struct net_payload p = net_frame_payload(f, f->head->items[i], &offset);
		Pirn__Item item = *f->head->items[i];

		item.base.n_unknown_fields = 0;
		whole = net_batch_item(&batch, &item, &p) == BASE_OK;
	}
	if (whole && batch.n_items > 0) {
		bool large = batch.large.meta_size > 0 || batch.large.data_size > 0;

		body = large ? f->body : batch.body.data;
		assert(large || memcmp(batch.body.data, f->body, f->body_size) == 0);
		base_arena_reset(&second);
		assert(net_frame_open(&second, batch.head.data, batch.head.size, body, f->body_size,
			       &again) == BASE_OK);
		check_equal(f, &again);
	}
	net_batch_fini(&batch);
}

static void unpack_control(const struct net_frame *f)
{
	ProtobufCAllocator allocator = net_arena_allocator(&arena);

	switch (f->head->kind) {
	case PIRN__KIND__HELLO:
		(void)pirn__hello__unpack(&allocator, f->body_size, f->body);
		break;
	case PIRN__KIND__WELCOME:
		(void)pirn__welcome__unpack(&allocator, f->body_size, f->body);
		break;
	case PIRN__KIND__BEAT:
		(void)pirn__beat__unpack(&allocator, f->body_size, f->body);
		break;
	case PIRN__KIND__REGISTRY:
		(void)pirn__registry__unpack(&allocator, f->body_size, f->body);
		break;
	default:
		break;
	}
	assert(arena.used <= arena.max_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_frame f;
	size_t head_size;

	if (size < 2)
		return 0;
	head_size = (size_t)data[0] << 8 | data[1];
	if (head_size > size - 2)
		head_size = size - 2;
	if (!arena.max_bytes) {
		base_arena_init(&arena, 64 * 1024, 8 * 1024 * 1024);
		base_arena_init(&second, 64 * 1024, 8 * 1024 * 1024);
	}
	compare_readers(data + 2, head_size);
	base_arena_reset(&arena);
	if (net_frame_open(
		    &arena, data + 2, head_size, data + 2 + head_size, size - 2 - head_size, &f))
		return 0;
	check_payloads(&f);
	if (f.head->n_items > 0)
		write_again(&f);
	else
		unpack_control(&f);
	return 0;
}
