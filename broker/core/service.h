/* One service: its manifest, its queue, the workers that carry it and their
 * credit, its figures.
 *
 * A link is one worker's side of one service. Its credit is two numbers that only
 * count upwards from WELCOME on: granted (the worker's word) and used (ours, one
 * more at every dispatch). free = granted - used, 0 when the worker took back more
 * than was left. Because both are sums, a lost or late message never leaves the two
 * sides with different ideas for longer than it takes the next one to arrive.
 *
 * The links that may get work stand in a heap by free credit, so that the worker
 * with the most of it is found at once however many there are.
 */
#ifndef BROKER_CORE_SERVICE_H
#define BROKER_CORE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#define HASH_NONFATAL_OOM 1 /* an element that was not added has hh.tbl NULL */
#include <uthash.h>

#include "base/heap.h"
#include "base/hist.h"
#include "base/budget.h"
#include "broker/core/breaker.h"
#include "broker/core/core.h"
#include "broker/core/delivery.h"
#include "broker/core/drought.h"
#include "broker/core/eject.h"
#include "broker/core/overload.h"
#include "broker/core/queue.h"
#include "broker/core/subscribe.h"

#define BRK_NAME_SIZE     64 /* of services and peers, NUL included */
#define BRK_ANNOUNCEMENTS 64
#define BRK_NOTICE_MS     10 /* between two notices of a backlog */

struct brk_peer;

struct brk_link {
	struct brk_service *service;
	struct brk_peer *peer;
	struct brk_link *peer_prev, *peer_next;       /* the peer's links */
	struct brk_link *service_prev, *service_next; /* the service's links */
	UT_hash_handle hh;                            /* of the peer, by service name */
	struct brk_call *running;
	uint32_t n_running;
	bool announced; /* in the worker's last HELLO; otherwise it stays for its runs only */
	uint64_t granted, used;
	uint64_t free; /* granted - used; 0 while a drought spares it */
	uint64_t granted_peak; /* used never passes it */
	size_t place;          /* 1-based, in service->ready; 0: gets no work */
	uint64_t announcement; /* what it said last in this session; 0: nothing yet */
	uint32_t told_waiting;
	struct brk_ejection ejection;
	struct brk_drought drought;
};

/* How failed events run again: out of the manifest, with the defaults of base/manifest.c. */
struct brk_retry {
	uint32_t attempts;                /* 0: not limited */
	uint64_t base_ms, max_ms, age_ms; /* age_ms 0: not limited */
};

struct brk_service {
	char name[BRK_NAME_SIZE];
	UT_hash_handle hh;
	Pirn__Entry entry; /* its manifest is ours */
	uint8_t *packed;   /* the manifest's bytes, to see a change */
	size_t packed_size;
	uint32_t queue_items, concurrency_total, timeout_ms; /* out of the manifest */
	uint32_t longest_ms; /* the longest timeout of its manifests so far: runs may go on under it */

	struct brk_link *links;
	struct brk_link *
		*ready; /* a heap by free credit: announced, and the worker does not drain */
	size_t n_ready, ready_capacity;
	uint32_t n_out; /* links that would be ready, were they not ejected */
	uint32_t n_dry; /* ready ones in a drought … */
	bool parched;   /* … all of them */

	struct brk_queue queue;
	struct brk_guard guard;
	struct brk_overload overload;
	struct base_budget budget; /* of retries */
	struct brk_delivery_list events[BRK_DELIVERY_STATE__N];
	uint32_t calls_in_row; /* dispatched since the last event */
	struct brk_retry retry;
	struct brk_subscriber subscriber; /* fan.h */
	uint32_t n_running;
	uint64_t workerless_ms; /* since when, while n_ready is 0 */
	struct base_heap_node hope; /* hope.h */

	/* dispatch.c: taking turns */
	struct brk_service *turn_prev, *turn_next;
	uint64_t deficit;
	bool in_turn;
	uint64_t run_us;      /* mean of the last runs; 0: none yet */
	struct brk_link *row; /* in input row_input: who gets row_left more; NULL, or ready */
	uint64_t row_input, row_left;
	/* what this input touched */
	struct brk_service *touched_next;
	bool touched;
	/* credit.c: telling the workers of a backlog */
	struct base_heap_node notice;
	uint64_t next_notice_ms;
	uint32_t told_waiting;
	bool told_some; /* not every worker knows told_waiting */

	/* registry.c: the last announcements, each a hash of the process and its manifest */
	uint64_t announcements[BRK_ANNOUNCEMENTS];
	uint32_t n_announcements;

	uint64_t done, failed;
	uint64_t retries, retries_refused; /* runs of calls; the latter for want of budget */
	uint64_t events_accepted, events_done, events_dead, events_expired, events_cancelled,
		events_retried;
	struct base_hist latency;
};

/* The same; made by its name when nobody told us of it. NULL: no room for another. */
struct brk_service *brk_service_named(struct brk_core *core, const char *name);
struct brk_service *brk_service_find(
	const struct brk_core *core, const char *name); /* UNTRUSTED, may be NULL */
/* Those that max_services bounds. The one that tells of ends is none of them: it must be there when one is told of. */
size_t brk_service_count(const struct brk_core *core);
/* One more of that name is not too many. */
bool brk_service_has_place(const struct brk_core *core, const char *name);
/* A new one without a manifest; NULL: memory, or it has no place. */
struct brk_service *brk_service_new(struct brk_core *core, const char *name);
/* Out of the core; its memory lives until the next input, as actions may point at it. */
void brk_service_bury(struct brk_core *core, struct brk_service *service);
void brk_service_free(struct brk_service *service);

/* Something about it changed that dispatch or a notice may have to follow: looked at when the
 * input ends. */
void brk_service_touch(struct brk_core *core, struct brk_service *service);
/* When an event that may run from that moment on is too old; 0: never. */
uint64_t brk_service_not_after(const struct brk_service *service, uint64_t from_ms);
bool brk_service_has_events(const struct brk_service *service); /* that have not ended */
bool brk_service_has_credit(const struct brk_service *service);
bool brk_service_is_full(const struct brk_service *service); /* concurrency_total is reached */

/* The link of that peer and service; made when there is none. NULL: memory, or BRK_MAX_LINKS. */
struct brk_link *brk_link_get(
	struct brk_core *core, struct brk_peer *peer, struct brk_service *service);
struct brk_link *brk_link_find(
	const struct brk_peer *peer, const char *service); /* UNTRUSTED, may be NULL */
void brk_link_remove(
	struct brk_core *core, struct brk_link *link); /* out of both lists; it has no runs */
/* Announced or not, draining or not: in or out of the ready heap, and the worker count with it. */
void brk_link_refresh(struct brk_core *core, struct brk_link *link);
void brk_link_use(struct brk_core *core, struct brk_link *link); /* one credit */
void brk_link_recount(struct brk_link *link); /* its free credit */
void brk_link_grant(struct brk_core *core, struct brk_link *link, uint64_t granted);

#endif
