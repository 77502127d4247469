/* One link of net/links.h: the DEALER to one address, and its life.
 *
 *   WAITING ──time──▶ CONNECTING ──handshake──▶ GREETING ──WELCOME──▶ UP
 *      ▲  ▲                │                       │                  │
 *      │  └────────────────┴──────── fall ─────────┴──────────────────┤
 *      └──── the other link fell ──── TWIN ◀── same boot id elsewhere ┘
 *
 * A fall throws the DEALER away: with it goes everything that was queued for, or
 * had arrived from, a connection that is no more. There is no second way to lose
 * a connection, so RESYNC, BYE, silence and a closed socket all end here.
 *
 * A broker takes a HELLO with a boot id that it knows for the same process on a
 * new connection, and forgets the old one. So of two links to one broker it is the
 * newer that lives; the older becomes its TWIN, without a connection, until the
 * newer one falls.
 *
 * Private to net/link.c and net/links.c.
 */
#ifndef NET_LINK_H
#define NET_LINK_H

#include "base/rand.h"
#include "net/links.h"
#include "net/monitor.h"
#include "net/outbox.h"
#include "net/resolve.h"

enum net_link_state { NET_LINK_WAITING, NET_LINK_CONNECTING, NET_LINK_GREETING, NET_LINK_UP, NET_LINK_TWIN };

struct net_link {
	struct net_links *links;
	char endpoint[NET_ENDPOINT_MAX];
	enum net_link_state state;
	uv_timer_t timer;         /* WAITING: open again; CONNECTING: complain; GREETING: give up; UP: beat */
	bool timer_fired;         /* looked at in READ, after the inbox was read */
	void *socket;
	struct net_wake *wake;
	struct net_monitor *monitor;
	struct net_dest dest;
	bool connected;           /* the monitor's news */
	const char *broken;       /* why the link must fall; NULL: it need not */
	unsigned falls;           /* since it was up; drives the back-off */
	bool refused, complained; /* said once an outage */
	bool leaving;             /* its address is no longer behind the name */
	bool draining;            /* the broker takes no new work */
	unsigned drain_asked, drain_heard;
	uint64_t heard_at, beat_due_at, malformed_at;
	uint32_t beat_ms;
	uint8_t boot[16];
	char name[128];
	void *user;
};

struct net_links_target {
	struct net_endpoint endpoint;
	struct net_links *links;
	struct net_resolver *resolver; /* NAME only */
	char **addresses;              /* what it stands for now */
	size_t n_addresses;
};

struct net_links {
	struct net_loop *loop;
	struct net_links_conf conf; /* strings owned, services borrowed */
	struct net_links_events events;
	struct net_outbox outbox;
	struct base_arena arena;
	struct base_rand rand;
	struct net_hook *read_hook, *flush_hook;
	struct net_links_target *targets;
	size_t n_targets;
	struct net_link **all;
	size_t n_all;
	struct net_link **up; /* as large as all */
	size_t n_up;
	bool sweep;           /* a link is leaving */
};

/* ---- link.c */

struct net_link *net_link_new(struct net_links *l, const char *endpoint); /* WAITING, opens at once; NULL: memory */
void net_link_free(struct net_link **k, bool goodbye); /* says BYE when it is up and goodbye; no on_down */
/* One READ: monitor, inbox, timer, fall. True: more is there. */
bool net_link_turn(struct net_link *k);
void net_link_wake_twin(struct net_link *k); /* opens at once when it is a TWIN */
void net_link_greet(struct net_link *k, bool again); /* HELLO; again: only the manifests changed */
void net_link_ask_drain(struct net_link *k);

/* ---- links.c, for link.c */

void net_links_came_up(struct net_link *k, const Pirn__Welcome *welcome);
void net_links_went_down(struct net_link *k);
struct net_link *net_links_find_boot(struct net_links *l, const uint8_t boot[16]); /* among those that are up */

#endif
