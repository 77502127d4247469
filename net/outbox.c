#include "net/outbox.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <zmq.h>

#include "net/block.h"

/* A burst to many destinations leaves at most this many batches behind. */
#define KEEP_SPOOLS 16

struct net_spool {
	struct net_batch batch;
	struct net_spool *next;
};

/* A message that is ready to leave. */
struct net_sealed {
	zmq_msg_t head, body;
	struct net_sealed *next;
};

void net_outbox_init(
	struct net_outbox *box, void (*on_broken)(void *, struct net_dest *), void *arg)
{
	*box = (struct net_outbox){ .on_broken = on_broken, .arg = arg };
}

void net_outbox_fini(struct net_outbox *box)
{
	assert(!box->busy);
	while (box->free) {
		struct net_spool *s = box->free;
		box->free = s->next;
		net_batch_fini(&s->batch);
		free(s);
	}
}

void net_dest_init(
	struct net_dest *d, struct net_outbox *box, void *socket, const void *id, size_t id_size)
{
	*d = (struct net_dest){ .box = box, .socket = socket, .id = id, .id_size = id_size };
	d->tail = &d->waiting;
}

static struct net_spool *lend(struct net_outbox *box)
{
	struct net_spool *s = box->free;

	if (s) {
		box->free = s->next;
		box->n_free--;
		return s;
	}
	s = malloc(sizeof *s);
	if (s)
		net_batch_init(&s->batch);
	return s;
}

static void give_back(struct net_dest *d)
{
	struct net_spool *s = d->spool;

	if (!s)
		return;
	d->spool = NULL;
	if (d->box->n_free == KEEP_SPOOLS) {
		net_batch_fini(&s->batch);
		free(s);
		return;
	}
	d->box->n_free++;
	s->next = d->box->free;
	d->box->free = s;
}

static void mark_busy(struct net_dest *d)
{
	if (d->is_busy)
		return;
	d->is_busy = true;
	DL_APPEND(d->box->busy, d);
}

static void mark_idle(struct net_dest *d)
{
	if (!d->is_busy)
		return;
	d->is_busy = false;
	DL_DELETE(d->box->busy, d);
}

static void close_sealed(struct net_sealed *s)
{
	zmq_msg_close(&s->head);
	zmq_msg_close(&s->body);
}

static void drop_waiting(struct net_dest *d)
{
	while (d->waiting) {
		struct net_sealed *s = d->waiting;
		d->waiting = s->next;
		close_sealed(s);
		free(s);
	}
	d->tail = &d->waiting;
	d->n_waiting = d->waiting_bytes = 0;
}

void net_dest_fini(struct net_dest *d)
{
	drop_waiting(d);
	if (d->box)
		give_back(d);
	if (d->is_busy)
		mark_idle(d);
}

static enum base_err broken(struct net_dest *d)
{
	if (!d->broken) {
		d->broken = true;
		drop_waiting(d);
		give_back(d);
		mark_idle(d);
		d->box->on_broken(d->box->arg, d);
	}
	return BASE_GONE;
}

void net_dest_break(struct net_dest *d)
{
	(void)!broken(d);
}

static int send_frame(struct net_dest *d, zmq_msg_t *msg, int more)
{
	int rc;

	do
		rc = zmq_msg_send(msg, d->socket, ZMQ_DONTWAIT | more);
	while (rc < 0 && errno == EINTR);
	return rc;
}

static int send_id(struct net_dest *d)
{
	int rc;

	do
		rc = zmq_send(d->socket, d->id, d->id_size, ZMQ_DONTWAIT | ZMQ_SNDMORE);
	while (rc < 0 && errno == EINTR);
	return rc;
}

/* Only the first frame can be refused: once it is taken libzmq takes the others too, or drops the
 * whole message because the connection broke (which its monitor tells us). FULL: *s is as it was. */
static enum base_err send_now(struct net_dest *d, struct net_sealed *s)
{
	size_t bytes = zmq_msg_size(&s->head) + zmq_msg_size(&s->body);
	int rc = d->id ? send_id(d) : 0;

	if (rc >= 0)
		rc = send_frame(d, &s->head, ZMQ_SNDMORE);
	if (rc < 0)
		return errno == EAGAIN ? BASE_FULL : BASE_GONE;
	d->box->sent = true;
	if (send_frame(d, &s->body, 0) < 0)
		return BASE_GONE;
	d->box->messages_out++;
	d->box->bytes_out += bytes;
	return BASE_OK;
}

static enum base_err wait(struct net_dest *d, struct net_sealed *s)
{
	size_t bytes = zmq_msg_size(&s->head) + zmq_msg_size(&s->body);
	struct net_sealed *kept = NULL;

	if (d->n_waiting < NET_OUT_MAX_WAITING && d->waiting_bytes < NET_OUT_MAX_BYTES)
		kept = malloc(sizeof *kept);
	if (!kept) {
		close_sealed(s);
		return broken(d);
	}
	zmq_msg_init(&kept->head);
	zmq_msg_init(&kept->body);
	zmq_msg_move(&kept->head, &s->head);
	zmq_msg_move(&kept->body, &s->body);
	close_sealed(s);
	kept->next = NULL;
	*d->tail = kept;
	d->tail = &kept->next;
	d->n_waiting++;
	d->waiting_bytes += bytes;
	mark_busy(d);
	return BASE_OK;
}

/* OK: nothing waits any more. FULL: the queue is still full. */
static enum base_err retry_waiting(struct net_dest *d)
{
	while (d->waiting) {
		struct net_sealed *s = d->waiting;
		enum base_err err = send_now(d, s);

		if (err == BASE_FULL)
			return err;
		if (err)
			return broken(d);
		d->waiting = s->next;
		if (!d->waiting)
			d->tail = &d->waiting;
		d->n_waiting--;
		close_sealed(s);
		free(s);
	}
	d->waiting_bytes = 0;
	return BASE_OK;
}

/* Consumes *s: sent, or waiting, or the destination is broken. */
static enum base_err dispatch(struct net_dest *d, struct net_sealed *s)
{
	enum base_err err = retry_waiting(d);

	if (!err)
		err = send_now(d, s);
	if (err == BASE_FULL)
		return wait(d, s);
	close_sealed(s);
	return err ? broken(d) : BASE_OK;
}

static bool copy_to(zmq_msg_t *msg, const struct base_buf *b)
{
	if (zmq_msg_init_size(msg, b->size) != 0)
		return false;
	if (b->size)
		memcpy(zmq_msg_data(msg), b->data, b->size);
	return true;
}

static enum base_err seal(const struct net_batch *b, struct net_sealed *s)
{
	bool large = b->large.meta_size > 0 || b->large.data_size > 0;

	if (!copy_to(&s->head, &b->head))
		return BASE_NOMEM;
	if (large ? !net_block_message(&b->large, &s->body) : copy_to(&s->body, &b->body))
		return BASE_OK;
	zmq_msg_close(&s->head);
	return BASE_NOMEM;
}

/* Out of memory here would lose items that were taken: the destination is given up instead. */
static enum base_err send_batch(struct net_dest *d)
{
	struct net_sealed s;
	enum base_err err;

	if (!d->spool)
		return BASE_OK;
	if (d->spool->batch.n_items + d->spool->batch.n_credits == 0) {
		give_back(d);
		return BASE_OK;
	}
	err = seal(&d->spool->batch, &s);
	if (err)
		return broken(d);
	give_back(d);
	return dispatch(d, &s);
}

static void flush_one(struct net_dest *d)
{
	enum base_err err = retry_waiting(d);

	if (!err)
		err = send_batch(d);
	if (!err && !d->waiting)
		mark_idle(d);
}

/* A batch of a destination whose queue is full stays open, and grows. */
bool net_outbox_flush(struct net_outbox *box)
{
	struct net_dest *d, *next;
	bool sent;

	DL_FOREACH_SAFE (box->busy, d, next)
		flush_one(d);
	sent = box->sent;
	box->sent = false;
	return sent;
}

/* The open batch of that kind, with what is in the way sent before. */
static enum base_err open_batch(struct net_dest *d, uint32_t kind, bool has_room)
{
	if (d->broken)
		return BASE_GONE;
	if (d->spool && (d->spool->batch.kind != kind || !has_room)) {
		enum base_err err = send_batch(d);
		if (err)
			return err;
	}
	if (d->spool)
		return BASE_OK;
	d->spool = lend(d->box);
	if (!d->spool)
		return BASE_NOMEM;
	net_batch_start(&d->spool->batch, kind);
	mark_busy(d);
	return BASE_OK;
}

enum base_err net_dest_item(
	struct net_dest *d, uint32_t kind, Pirn__Item *item, const struct net_payload *p)
{
	size_t size = p ? (size_t)p->meta_size + p->data_size : 0;
	enum base_err err;

	if (size > NET_MAX_ITEM)
		return BASE_TOO_LARGE;
	err = open_batch(d, kind, !d->spool || net_batch_has_room(&d->spool->batch, size));
	if (err)
		return err;
	err = net_batch_item(&d->spool->batch, item, p);
	if (err == BASE_FULL && d->spool->batch.n_items > 0) { /* its head is a long one */
		err = open_batch(d, kind, false);
		if (!err)
			err = net_batch_item(&d->spool->batch, item, p);
	}
	if (err)
		return err;
	return size > NET_COPY_MAX ? send_batch(d) : BASE_OK;
}

enum base_err net_dest_run(struct net_dest *d, uint32_t kind, Pirn__Item *items,
	const struct net_payload *payloads, size_t n)
{
	enum base_err err = open_batch(d, kind, true);

	if (!err)
		err = net_batch_run(&d->spool->batch, items, payloads, n);
	if (err != BASE_FULL)
		return err;
	err = open_batch(d, kind, false);
	return err ? err : net_batch_run(&d->spool->batch, items, payloads, n);
}

enum base_err net_dest_credit(struct net_dest *d, const Pirn__Credit *credit)
{
	struct net_batch *b = d->spool ? &d->spool->batch : NULL;
	uint32_t kind = PIRN__KIND__CREDIT;
	enum base_err err;

	if (b && b->kind == PIRN__KIND__RESULT && b->n_items > 0 && net_batch_has_credit_room(b))
		kind = PIRN__KIND__RESULT;
	err = open_batch(d, kind, !b || net_batch_has_credit_room(b));
	return err ? err : net_batch_credit(&d->spool->batch, credit);
}

enum base_err net_dest_control(struct net_dest *d, uint32_t kind, const ProtobufCMessage *message)
{
	size_t size = message ? protobuf_c_message_get_packed_size(message) : 0;
	Pirn__Head head = PIRN__HEAD__INIT;
	struct net_sealed s;
	enum base_err err;

	if (size > NET_MAX_BODY)
		return BASE_TOO_LARGE;
	if (d->broken)
		return BASE_GONE;
	err = send_batch(d);
	if (err)
		return err;
	head.kind = kind;
	if (zmq_msg_init_size(&s.head, pirn__head__get_packed_size(&head)) != 0)
		return BASE_NOMEM;
	if (zmq_msg_init_size(&s.body, size) != 0) {
		zmq_msg_close(&s.head);
		return BASE_NOMEM;
	}
	pirn__head__pack(&head, zmq_msg_data(&s.head));
	if (message)
		protobuf_c_message_pack(message, zmq_msg_data(&s.body));
	return dispatch(d, &s);
}
