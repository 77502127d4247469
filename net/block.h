/* Large payloads by reference: a base_block around a ZeroMQ message. A received
 * body can be kept and sent on without a copy, because zmq_msg_copy shares the
 * bytes (its count is atomic: libzmq's own thread lets go of its share later; our
 * block's plain count stays in the loop's thread).
 */
#ifndef NET_BLOCK_H
#define NET_BLOCK_H

#include <stddef.h>
#include <zmq.h>

#include "base/pool.h"
#include "net/frame.h"

/* Takes the message's bytes over (*msg is empty afterwards). NULL: memory, *msg is as it was. */
struct base_block *net_block_take(zmq_msg_t *msg);

/* A fresh one that holds meta and data behind one another. NULL: memory. */
struct base_block *net_block_new(const struct net_payload *payload);

/* Makes *out a message of the payload's bytes: shared when its block is one of the above and holds exactly
 * them, copied otherwise. NOMEM: *out is not initialized. */
BASE_MUSTUSE enum base_err net_block_message(const struct net_payload *payload, zmq_msg_t *out);

#endif
