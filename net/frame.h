/* Messages on the wire: a head frame (protobuf) and a body frame (payloads, one
 * after another). See proto/PROTOCOL.md.
 *
 * Reading: net_frame_open checks everything that can be checked without knowing
 * the peer (sizes, known kind, at most 1,024 items, the payloads' sizes add up to
 * the body's) and unpacks the head into an arena. Payloads are pointers into the
 * body; they are never unpacked here. (item.h says how heads are.)
 *
 * Writing: net_batch packs each item straight behind the one before (a repeated
 * field may be written piece by piece), so nothing is kept but two byte buffers.
 * A batch is of one kind. Payloads of up to NET_COPY_MAX are copied behind one
 * another; a larger one travels alone, its bytes by reference.
 */
#ifndef NET_FRAME_H
#define NET_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/pool.h"
#include "proto/pirn.pb-c.h"

#define NET_MAX_ITEMS 1024
#define NET_MAX_HEAD (128 * 1024)
#define NET_MAX_BODY (1024 * 1024)        /* of a batch of several items, and of a control message */
#define NET_MAX_ITEM (16 * 1024 * 1024)   /* of a single item that travels alone; ZMQ_MAXMSGSIZE */
#define NET_COPY_MAX (16 * 1024)

/* protobuf-c's allocator over an arena; the returned struct is good while the arena is. */
ProtobufCAllocator net_arena_allocator(struct base_arena *arena);

struct net_frame {
	Pirn__Head *head;          /* in the arena; the items' byte strings lie in the message, as a rule */
	const uint8_t *body;       /* borrowed from the message */
	size_t body_size;
};

/* UNTRUSTED bytes. PROTOCOL when they are not a message, NOMEM when there is no memory to see that; the arena is
 * left to the caller to reset. */
BASE_MUSTUSE enum base_err net_frame_open(struct base_arena *arena, const void *head, size_t head_size,
                                          const void *body, size_t body_size, struct net_frame *out);

/* One payload of an item: meta, then data. As received they are adjacent; a sender's need not be. */
struct net_payload {
	const uint8_t *meta;
	const uint8_t *data;
	uint32_t meta_size;
	uint32_t data_size;
	struct base_block *block;  /* NULL, or who owns the bytes: a large one is then sent by reference */
};

/* Walks items and payloads side by side: start with *offset = 0. */
struct net_payload net_frame_payload(const struct net_frame *f, const Pirn__Item *item, size_t *offset);

/* A message being built. */
struct net_batch {
	uint32_t kind;
	struct base_buf head;
	struct base_buf body;
	size_t n_items;
	size_t n_credits;
	struct net_payload large; /* the one payload over NET_COPY_MAX, borrowed: send before its owner lets go */
};

void net_batch_init(struct net_batch *b);
void net_batch_fini(struct net_batch *b);
void net_batch_start(struct net_batch *b, uint32_t kind); /* resets, memory kept */
bool net_batch_has_room(const struct net_batch *b, size_t payload_size);
bool net_batch_has_credit_room(const struct net_batch *b);
/* item->meta_size and data_size are set from payload; both sizes 0 and payload NULL: none. FULL: no room, send
 * it first; TOO_LARGE: over NET_MAX_ITEM, or an item whose own head is out of all proportion; NOMEM. After any
 * of them the batch is as it was. */
BASE_MUSTUSE enum base_err net_batch_item(struct net_batch *b, Pirn__Item *item, const struct net_payload *payload);
/* Several items that are to be in one message, all or none; their payloads are copied whatever their size. FULL:
 * not with what is there already, send that first; TOO_LARGE: they are more than one message takes. */
BASE_MUSTUSE enum base_err net_batch_run(
	struct net_batch *b, Pirn__Item *items, const struct net_payload *payloads, size_t n);
BASE_MUSTUSE enum base_err net_batch_credit(struct net_batch *b, const Pirn__Credit *credit);

#endif
