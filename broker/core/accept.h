/* Taking events in: a SUBMIT with the flag EVENT is judged, kept as ARRIVING, and answered
 * once: ACCEPTED when Redis has it, REFUSED when it was not or will not be stored,
 * UNDECIDED when nobody knows in time.
 *
 * Nothing is looked up in memory: whether an event was stored before is what its lane's
 * bits say, and they are in Redis.
 */
#ifndef BROKER_CORE_ACCEPT_H
#define BROKER_CORE_ACCEPT_H

#include "broker/core/core.h"
#include "broker/core/ledger.h"

struct brk_peer;
struct brk_service;

void brk_accept_submit(struct brk_core *core, struct brk_peer *peer, struct brk_service *service,
	const Pirn__Item *item, const struct brk_payload *payload);
/* To whoever waits for it; nothing when nobody does. id: of the key's first event, NULL: its own. */
void brk_accept_yes(struct brk_core *core, struct brk_arrival *arrival, const uint8_t *id);
void brk_accept_no(struct brk_core *core, struct brk_arrival *arrival, uint32_t reason);
/* The timer's slot is not the next one: last_ms is the last, running the id of its last run, NULL: none. That is
 * how all gateways but one end every slot, and no refusal that would be counted. */
void brk_accept_no_slot(struct brk_core *core, struct brk_arrival *arrival, uint64_t last_ms,
	const uint8_t *running);
/* It will not be stored by us: its deliveries, if any, are forgotten. */
void brk_accept_drop(struct brk_core *core, struct brk_arrival *arrival,
	struct brk_delivery *const *deliveries, uint32_t reason);

/* ---- for fan.c: the steps of which a SUBMIT is made */

/* Why it is not taken, whomever it is for; NONE: go on. UNTRUSTED. */
uint32_t brk_accept_judge(const struct brk_core *core, const Pirn__Item *item);
/* Why that service takes no more. */
uint32_t brk_accept_judge_room(
	const struct brk_core *core, const struct brk_service *service, uint64_t size);
/* Why the broker takes no more of what runs send: it may hold BRK_SENT_SHARE times as much as of what clients
 * send. */
#define BRK_SENT_SHARE 2u
#define BRK_MOST_SHARE 4u /* and as many again with what tells of their ends */
uint32_t brk_accept_judge_sent(const struct brk_core *core, uint64_t size);
/* The arrival without its deliveries; its guard is made. False: memory. */
bool brk_accept_begin(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	struct brk_arrival *out);
/* One delivery of it, ARRIVING. NULL: memory. */
struct brk_delivery *brk_accept_delivery(struct brk_core *core, struct brk_service *service,
	const Pirn__Item *item, const struct brk_payload *payload);
/* It is in a commit: what was promised is answered. */
void brk_accept_taken(struct brk_core *core, struct brk_arrival *arrival);
/* It was not taken. */
void brk_accept_refuse(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item,
	uint32_t reason);
/* ACCEPTED, though nothing is kept of it. */
void brk_accept_nothing(struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item);

#endif
