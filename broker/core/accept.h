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
/* It will not be stored by us: the delivery is forgotten. */
void brk_accept_drop(struct brk_core *core, struct brk_arrival *arrival, uint32_t reason);

#endif
