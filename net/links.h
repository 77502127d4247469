/* A peer's side of the network: one DEALER to each broker, kept up by itself.
 *
 * brokers is a list of endpoints: tcp://HOST:PORT or ipc://PATH, comma-separated.
 * A HOST that is a name may stand for several brokers: it is resolved every 2 s
 * (uv_getaddrinfo), each address gets a DEALER, addresses that vanish lose theirs
 * once the link is down or drained. Two links that reach the same broker (same
 * boot id in WELCOME) are reduced to the newer one, because a broker forgets the
 * older connection of a process that says HELLO on a new one.
 *
 * A link's life: connect → HELLO → WELCOME (up) → beats both ways → down. It is
 * down when its connection breaks (socket monitor), when nothing was heard for 3
 * beats, at BYE, or at RESYNC (the broker does not know us: HELLO again, and all
 * that was on its way is lost as with any other fall). Before a link declares a
 * broker silent it reads its inbox (this process may be the late one). A link
 * that was down comes back by itself with jittered back-off.
 *
 * A broker that sent DRAIN stays up, for answers, but is not offered for new work.
 */
#ifndef NET_LINKS_H
#define NET_LINKS_H

#include "net/frame.h"
#include "net/loop.h"

struct net_links;
struct net_link; /* one broker; good between on_up and on_down */

struct net_links_conf {
	const char *brokers;
	enum _Pirn__Role role;
	const char *name;             /* for people */
	uint8_t boot[16];
	bool registry;                /* ask for REGISTRY pushes */
	Pirn__Manifest **services;    /* a worker's; borrowed; net_links_hello_again after a change */
	size_t n_services;
};

struct net_links_events {
	void (*on_up)(void *arg, struct net_link *link, const Pirn__Welcome *welcome);
	void (*on_down)(void *arg, struct net_link *link);  /* all that was under way on it is lost */
	void (*on_drain)(void *arg, struct net_link *link); /* the broker takes no new work; DRAIN was answered */
	/* One well-formed data, CREDIT, REGISTRY or DRAIN-answer message (HELLO's family and BEAT are handled
	 * inside). Good until it returns; block as in router.h. */
	void (*on_message)(void *arg, struct net_link *link, const struct net_frame *frame, struct base_block *block);
	/* Fills the metrics of the next BEAT (a worker's figures); may be NULL. The message is borrowed until the next call. */
	const Pirn__Beat *(*on_beat)(void *arg);
	/* A broker's BEAT said what time it is by Redis's clock; may be NULL. */
	void (*on_time)(void *arg, struct net_link *link, uint64_t now_ms);
	void *arg;
};

BASE_MUSTUSE enum base_err net_links_new(struct net_loop *loop, const struct net_links_conf *conf,
                                         const struct net_links_events *events, struct net_links **out, char **why);
void net_links_free(struct net_links **l); /* says BYE, lingers at most 500 ms */

size_t net_links_up(const struct net_links *l);            /* how many are up */
struct net_link *net_links_at(struct net_links *l, size_t i); /* the i-th that is up; order is stable between changes */
const char *net_link_name(const struct net_link *k);       /* the broker's name, or its endpoint */
const uint8_t *net_link_boot(const struct net_link *k);
bool net_link_draining(const struct net_link *k);
void net_link_set_user(struct net_link *k, void *user);
void *net_link_user(const struct net_link *k);

/* Something of it was lost, and would be missed: it falls in the next READ, and comes up again by itself. why
 * is a literal. */
void net_link_break(struct net_link *k, const char *why);

/* Gathers in the link's batch; leaves in FLUSH, or at once when full. */
BASE_MUSTUSE enum base_err net_link_item(struct net_link *k, uint32_t kind, Pirn__Item *item, const struct net_payload *payload);
BASE_MUSTUSE enum base_err net_link_run(struct net_link *k, uint32_t kind, Pirn__Item *items,
	const struct net_payload *payloads, size_t n); /* all in one message: net/outbox.h */
/* Credits ride with a RESULT batch when one is open, otherwise in a CREDIT message. */
BASE_MUSTUSE enum base_err net_link_credit(struct net_link *k, const Pirn__Credit *credit);
BASE_MUSTUSE enum base_err net_link_control(struct net_link *k, uint32_t kind, const ProtobufCMessage *message);

/* Tells every broker that we take no new work. Its promise that nothing follows arrives once as on_message(DRAIN),
 * from each that is up now; a link that falls before, or comes up later, gives none. */
void net_links_drain(struct net_links *l);
void net_links_set_services(struct net_links *l, Pirn__Manifest **services, size_t n_services); /* borrowed; for the next HELLO */
void net_links_hello_again(struct net_links *l);           /* the manifests changed; keeps what is under way */

#endif
