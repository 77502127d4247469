/* The peers: who said HELLO, what they announced, when they were last heard.
 *
 * A peer is known by two names: its number, which is the connection's, and its
 * boot id, which is the process's. A process that comes back on a new connection
 * takes the place of its former self, whose work is lost like that of a dead one.
 */
#ifndef BROKER_CORE_ROSTER_H
#define BROKER_CORE_ROSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "broker/core/core.h"
#include "broker/core/service.h"

#define BRK_MAX_LINKS 256         /* services of one worker */
#define BRK_MAX_BEAT  (64 * 1024) /* bytes of figures kept of one worker */
#define BRK_RESYNC_MS 1000        /* between two RESYNCs to one unknown peer */
#define BRK_STRANGERS 1024        /* unknown peers whose last RESYNC is remembered */

struct brk_peer {
	uint32_t id;
	uint8_t boot[16];
	uint32_t role;
	char name[BRK_NAME_SIZE];
	UT_hash_handle hh, boot_hh;
	bool registry;
	bool draining;    /* it asked for no new work */
	bool asked_drain; /* we asked it */
	bool answered_drain;
	bool orderly; /* it said BYE, or begins anew: what it leaves was not killed */
	uint64_t heard_ms;
	struct brk_call *calls; /* a client's open ones */
	uint32_t n_calls;
	struct brk_link *links; /* a worker's, in the order of its announcement */
	struct brk_link *links_by_name;
	uint32_t n_links;
	uint32_t n_running; /* in it, over all links */
	uint8_t *beat;      /* its last BEAT, packed */
	size_t beat_size;
	struct brk_peer *buried_next;
};

struct brk_stranger {
	uint32_t peer;
	bool used;
	uint64_t resync_ms;
};

struct brk_peer *brk_roster_find(const struct brk_core *core, uint32_t id);

/* Handlers of messages; see the table in core.c. */
void brk_roster_hello(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m);
void brk_roster_beat(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m);
void brk_roster_bye(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m);
void brk_roster_drain(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m);

void brk_roster_stranger(struct brk_core *core, uint32_t id); /* not HELLO: RESYNC */
/* The peer is no more: its calls are dropped (a client's) or lost (a worker's). */
void brk_roster_leave(struct brk_core *core, struct brk_peer *peer);
void brk_roster_ask_drain(struct brk_core *core, struct brk_peer *peer);
void brk_roster_tick(
	struct brk_core *core); /* one beat: the silent are gone, the others hear of us */
void brk_peer_free(struct brk_peer *peer);

#endif
