#include "net/peers.h"

#include <stdlib.h>
#include <string.h>

#define SLOT_BITS      14
#define MAX_GENERATION ((UINT32_MAX >> SLOT_BITS) - 1)

_Static_assert(NET_MAX_PEERS == 1 << SLOT_BITS, "a slot fits its bits");

struct net_peer *net_peers_find(const struct net_peers *p, const void *id, size_t id_size)
{
	struct net_peer *peer;

	HASH_FIND(hh, p->by_id, id, id_size, peer);
	return peer;
}

struct net_peer *net_peers_get(const struct net_peers *p, uint32_t number)
{
	struct net_peer *peer = p->slots[number % NET_MAX_PEERS];

	return peer && peer->number == number ? peer : NULL;
}

/* In turn, so that a generation lasts as long as possible. */
static bool find_slot(struct net_peers *p, uint32_t *slot)
{
	for (uint32_t i = 0; i < NET_MAX_PEERS; i++) {
		uint32_t at = (p->cursor + i) % NET_MAX_PEERS;
		if (p->slots[at] || p->generations[at] >= MAX_GENERATION)
			continue;
		p->cursor = at + 1;
		*slot = at;
		return true;
	}
	return false;
}

struct net_peer *net_peers_add(
	struct net_peers *p, struct net_outbox *box, void *socket, const void *id, size_t id_size)
{
	struct net_peer *peer;
	uint32_t slot;

	if (!find_slot(p, &slot))
		return NULL;
	peer = calloc(1, sizeof *peer + id_size);
	if (!peer)
		return NULL;
	memcpy(peer->id, id, id_size);
	peer->number = ++p->generations[slot] << SLOT_BITS | slot;
	peer->fd = -1;
	net_dest_init(&peer->dest, box, socket, peer->id, id_size);
	HASH_ADD_KEYPTR(hh, p->by_id, peer->id, id_size, peer);
	if (!peer->hh.tbl) {
		free(peer);
		return NULL;
	}
	p->slots[slot] = peer;
	p->n++;
	return peer;
}

void net_peers_remove(struct net_peers *p, struct net_peer *peer)
{
	p->slots[peer->number % NET_MAX_PEERS] = NULL;
	p->n--;
	HASH_DEL(p->by_id, peer);
	net_dest_fini(&peer->dest);
	free(peer);
}
