#include "net/block.h"

#include <stdlib.h>
#include <string.h>

struct wrapped {
	struct base_block block;
	zmq_msg_t msg;
};

static void release(struct base_block *b)
{
	struct wrapped *w = b->owner;

	zmq_msg_close(&w->msg);
	free(w);
}

static void fill_in(struct wrapped *w)
{
	w->block = (struct base_block){ .data = zmq_msg_data(&w->msg),
		.size = (uint32_t)zmq_msg_size(&w->msg),
		.refs = 1,
		.release = release,
		.owner = w };
}

struct base_block *net_block_take(zmq_msg_t *msg)
{
	struct wrapped *w = malloc(sizeof *w);

	if (!w)
		return NULL;
	zmq_msg_init(&w->msg);
	zmq_msg_move(&w->msg, msg);
	fill_in(w);
	return &w->block;
}

static enum base_err copy(const struct net_payload *p, zmq_msg_t *out)
{
	uint8_t *at;

	if (zmq_msg_init_size(out, (size_t)p->meta_size + p->data_size) != 0)
		return BASE_NOMEM;
	at = zmq_msg_data(out);
	if (p->meta_size)
		memcpy(at, p->meta, p->meta_size);
	if (p->data_size)
		memcpy(at + p->meta_size, p->data, p->data_size);
	return BASE_OK;
}

struct base_block *net_block_new(const struct net_payload *payload)
{
	struct wrapped *w = malloc(sizeof *w);

	if (!w || copy(payload, &w->msg)) {
		free(w);
		return NULL;
	}
	fill_in(w);
	return &w->block;
}

/* The whole of a block of ours, and nothing but it. */
static bool is_whole(const struct net_payload *p)
{
	const struct base_block *b = p->block;

	return b && b->release == release && b->size == (uint64_t)p->meta_size + p->data_size &&
	       (p->meta_size == 0 || p->meta == b->data) &&
	       (p->data_size == 0 || p->data == b->data + p->meta_size);
}

enum base_err net_block_message(const struct net_payload *payload, zmq_msg_t *out)
{
	struct wrapped *w;

	if (!is_whole(payload))
		return copy(payload, out);
	w = payload->block->owner;
	zmq_msg_init(out);
	if (zmq_msg_copy(out, &w->msg) == 0)
		return BASE_OK;
	zmq_msg_close(out);
	return BASE_NOMEM;
}
