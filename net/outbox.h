/* What leaves: one batch for each destination of a turn. Router and links share
 * this; a destination is a peer behind a ROUTER (it has a routing id) or the one
 * broker behind a DEALER (it has none).
 *
 * Items gather until the FLUSH stage, until the batch is full, until an item of
 * another kind or a control message follows (so order is kept), or until a large
 * payload is added, which leaves at once because its bytes are borrowed. Batches
 * belong to the outbox and are lent to destinations that have something: memory
 * follows the number of busy destinations, not that of all.
 *
 * Nothing ever blocks. When a destination's ZeroMQ queue is full its messages
 * wait here, at most NET_OUT_MAX_WAITING of them and NET_OUT_MAX_BYTES; one that
 * still does not read is as good as gone (G6). That, and a peer that cannot be
 * reached, is told once through on_broken, which must only take a note: it is
 * called from within sends. A broken destination swallows nothing: all further
 * sends answer GONE.
 */
#ifndef NET_OUTBOX_H
#define NET_OUTBOX_H

#include "net/frame.h"

#define NET_OUT_MAX_WAITING 256
#define NET_OUT_MAX_BYTES   (8u * 1024 * 1024)

struct net_dest;

struct net_outbox {
	struct net_dest *busy;  /* those with a batch or waiting messages */
	struct net_spool *free; /* batches nobody has */
	size_t n_free;
	void (*on_broken)(void *arg, struct net_dest *dest);
	void *arg;
	uint64_t messages_out, bytes_out;
	bool sent; /* since the last flush: ZMQ_EVENTS must be looked at */
};

struct net_dest {
	struct net_outbox *box;
	void *socket;
	const uint8_t *id; /* routing id, borrowed; NULL behind a DEALER */
	size_t id_size;
	struct net_spool *spool;
	struct net_sealed *waiting, **tail;
	size_t n_waiting, waiting_bytes;
	bool is_busy, broken;
	struct net_dest *prev, *next;
};

void net_outbox_init(struct net_outbox *box, void (*on_broken)(void *, struct net_dest *), void *arg);
void net_outbox_fini(struct net_outbox *box); /* every destination is gone before */
/* Sends what can be sent; true when anything was, since the last flush. */
bool net_outbox_flush(struct net_outbox *box);

void net_dest_init(struct net_dest *d, struct net_outbox *box, void *socket, const void *id, size_t id_size);
void net_dest_break(struct net_dest *d); /* given up, as if it could not be reached: on_broken is called */
void net_dest_fini(struct net_dest *d); /* what was not sent is dropped */

/* GONE: broken. TOO_LARGE, NOMEM: this one was not taken, the destination is as it was. */
BASE_MUSTUSE enum base_err net_dest_item(struct net_dest *d, uint32_t kind, Pirn__Item *item, const struct net_payload *p);
/* The same of several that are to be in one message; their payloads are copied. TOO_LARGE: it takes less. */
BASE_MUSTUSE enum base_err net_dest_run(struct net_dest *d, uint32_t kind, Pirn__Item *items,
	const struct net_payload *payloads, size_t n);
/* Rides on an open RESULT batch, otherwise in a CREDIT message. */
BASE_MUSTUSE enum base_err net_dest_credit(struct net_dest *d, const Pirn__Credit *credit);
BASE_MUSTUSE enum base_err net_dest_control(struct net_dest *d, uint32_t kind, const ProtobufCMessage *message);

#endif
