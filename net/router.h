/* The broker's side of the network: one ROUTER, bound to one or more endpoints,
 * any number of peers. Peers are numbered here: a number is never used twice in
 * a process's life. Nothing is sent before the end of the turn: items of one kind
 * to one peer gather in a batch, which leaves in the FLUSH stage or when full.
 *
 * ROUTER_MANDATORY is on: a peer that has vanished is reported through on_gone,
 * never a silent drop. A connection that breaks is noticed through the socket's
 * monitor: each peer it may have been is sent a BEAT, and the one that cannot be
 * reached is gone; so a killed peer is known in milliseconds, not after the
 * missed beats (those remain for peers that hang or whose machine is cut off,
 * and are the core's business).
 *
 * What is not a message (other ZMTP peers, mangled heads, wrong sizes) is counted
 * and dropped here, logged at most once a second; nobody else notices.
 */
#ifndef NET_ROUTER_H
#define NET_ROUTER_H

#include "net/frame.h"
#include "net/loop.h"

struct net_router;

struct net_router_events {
	/* One whole, well-formed message. frame and its bytes are good until it returns; large
	 * single payloads (over NET_COPY_MAX) can be kept: *block is then a wrapped ZeroMQ message
	 * that the callee may ref, otherwise NULL. */
	void (*on_message)(void *arg, uint32_t peer, const struct net_frame *frame, struct base_block *block);
	void (*on_gone)(void *arg, uint32_t peer); /* the number is never used again */
	/* After READ, before FLUSH, once a turn in which anything happened: a place for ticks. May be NULL. */
	void (*on_turn)(void *arg);
	void *arg;
};

struct net_router_stats {
	uint64_t messages_in, messages_out, bytes_in, bytes_out, malformed, unreachable, peers;
};

/* endpoints: comma-separated, tcp://0.0.0.0:7400,ipc:///run/pirn/broker.sock. CONFIG or EXISTS (address in
 * use) with *why, a heap sentence that names the endpoint. */
BASE_MUSTUSE enum base_err net_router_new(struct net_loop *loop, const char *endpoints, const struct net_router_events *events,
                                          struct net_router **out, char **why);
void net_router_free(struct net_router **r); /* sends what is pending, lingers at most 500 ms */

/* Data: gathers in the peer's batch. GONE: no such peer. The payload is copied, or, over NET_COPY_MAX with a block, referenced. */
BASE_MUSTUSE enum base_err net_router_item(struct net_router *r, uint32_t peer, uint32_t kind, Pirn__Item *item, const struct net_payload *payload);
/* On the RESULT side there is none; a broker's own credits (used, waiting) travel as CREDIT. */
BASE_MUSTUSE enum base_err net_router_credit(struct net_router *r, uint32_t peer, const Pirn__Credit *credit);
/* Control: leaves at once, after the peer's pending batch, so that order is kept. message may be NULL. */
BASE_MUSTUSE enum base_err net_router_control(struct net_router *r, uint32_t peer, uint32_t kind, const ProtobufCMessage *message);
/* Forgets a peer (after BYE, or one that broke the protocol); on_gone is not called. */
void net_router_forget(struct net_router *r, uint32_t peer);
/* As of the last turn's end. */
const struct net_router_stats *net_router_stats(const struct net_router *r);

#endif
