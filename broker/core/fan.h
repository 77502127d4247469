/* Events that are taken together: one that names no service goes to every service that
 * subscribes to it, and a run of events whose items say TOGETHER has one fate.
 *
 * All of a run is judged, delivery by delivery, before any of it is kept: each service's
 * bounds, and the broker's, count what the run itself brings. Then it goes into one commit,
 * so that Redis has all of it or nothing. An event is one there, with its payload once, and
 * as many deliveries as services; from then on each delivery is on its own: attempts, end,
 * result, letter.
 *
 * An event that nobody subscribes to is accepted and counted, and nothing of it is kept; a
 * strict broker refuses it. (Brokers listen only after they have read the registry: what was
 * announced before is known.)
 *
 * Duplicates are told by lane and key as for any event; a key's scope, a service elsewhere, is
 * BRK_SCOPE_FANNED for all that name none. Who subscribes is asked anew when an event comes
 * again, but if it was stored it is a duplicate, whoever subscribed meanwhile.
 */
#ifndef BROKER_CORE_FAN_H
#define BROKER_CORE_FAN_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/core/core.h"
#include "broker/core/ledger.h"
#include "broker/core/subscribe.h"

#define BRK_SCOPE_FANNED "*" /* no service is called so */
#define BRK_TOPIC_MAX    4096u

struct brk_peer;
struct brk_service;

/* What one run is made in; nothing of it outlives the input. */
struct brk_fan {
	struct brk_subscriber **found;    /* STORE_ENTRY_DELIVERIES */
	struct brk_delivery **deliveries; /* as many */
	struct brk_arrival *arrivals;     /* as many */
	struct brk_payload *payloads;     /* as many */
	const Pirn__Item **nothing;       /* as many: those that nobody wants */
	uint32_t n_deliveries, n_arrivals, n_nothing;
	bool sent; /* by a delivery's run: beyond the bounds of what comes from outside */
	bool owed; /* by the broker: no bound holds it back */
};

BASE_MUSTUSE enum base_err brk_fan_init(struct brk_core *core);
void brk_fan_fini(struct brk_core *core);

/* How many items from the first on are one run that is to be taken here; 0: it is an event with an
 * address, or a call. */
size_t brk_fan_run(const Pirn__Head *head, size_t first);
/* Takes and answers them. offset: of the first one's payload; behind the last one's afterwards. */
void brk_fan_submit(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m,
	size_t first, size_t n, size_t *offset);

/* ---- for emit.c: the same in steps, without a client */

void brk_fan_begin(struct brk_core *core); /* nothing is in core->fan */
/* Adds an event, by the item's type or service, with its id, trace and hops; item and payload are
 * borrowed. NONE, or why not: then brk_fan_undo. UNTRUSTED. */
uint32_t brk_fan_add(struct brk_core *core, const struct brk_arrival *arrival,
	const Pirn__Item *item, const struct brk_payload *payload);
/* Adds one that must be taken, for this service. */
uint32_t brk_fan_owe(struct brk_core *core, struct brk_service *service, const Pirn__Item *item,
	const struct brk_payload *payload);
/* None of it will be stored. */
void brk_fan_undo(struct brk_core *core);

/* What a manifest subscribes to, NULL when that is as it should be. UNTRUSTED. */
const char *brk_fan_judge(const Pirn__Manifest *manifest);
/* It counts from now on. NOMEM: what was before does. */
BASE_MUSTUSE enum base_err brk_fan_subscribe(
	struct brk_core *core, struct brk_service *service, const Pirn__Manifest *manifest);

#endif
