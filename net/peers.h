/* The peers behind a ROUTER: by routing id (as libzmq tells who sent a message)
 * and by number (as the rest of the program speaks of them).
 *
 * A number is a slot and the slot's generation, so it is found without a hash and
 * is never used twice; a slot whose generations are used up stays empty.
 */
#ifndef NET_PEERS_H
#define NET_PEERS_H

#include "net/hash.h"

#include "net/outbox.h"

/* More than a broker takes (--max-peers), so that those beyond it can be told so. */
#define NET_MAX_PEERS 16384

struct net_peer {
	UT_hash_handle hh; /* by id */
	uint32_t number;
	int fd;            /* of the connection its HELLO came by; -1: unknown */
	unsigned probe;    /* how often it was probed since its connection may have broken; 0: no suspicion */
	uint64_t probe_at; /* when next */
	bool gone;         /* cannot be reached; on_gone is due */
	struct net_peer *next_gone;
	struct net_dest dest;
	uint8_t id[];
};

struct net_peers {
	struct net_peer *by_id;
	size_t n;
	uint32_t cursor;
	struct net_peer *slots[NET_MAX_PEERS];
	uint32_t generations[NET_MAX_PEERS];
};

struct net_peer *net_peers_find(const struct net_peers *p, const void *id, size_t id_size);
struct net_peer *net_peers_get(const struct net_peers *p, uint32_t number);
/* NULL: NET_MAX_PEERS are there, or memory. */
struct net_peer *net_peers_add(struct net_peers *p, struct net_outbox *box, void *socket, const void *id, size_t id_size);
void net_peers_remove(struct net_peers *p, struct net_peer *peer); /* frees it */

#endif
