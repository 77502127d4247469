/* What the core writes into Redis: heads of entries, dead letters, results, and the history
 * that they share.
 *
 * A history is kept packed, as the bytes of a repeated field 7: that is its number in
 * JournalDelivery and in JournalResult alike, so that it is appended to either, and one
 * attempt to it, without being unpacked. A fresh event's head is written by hand, in one
 * pass: there is one for each event that comes in.
 */
#ifndef BROKER_CORE_PACK_H
#define BROKER_CORE_PACK_H

#include "base/buf.h"
#include "broker/core/delivery.h"
#include "broker/core/ledger.h"

/* Appends one event with these deliveries of it, as they are now, to the head of an entry; they agree in
 * all but their services and times. arrival: whose lane goes with it; NULL: none. NOMEM: out is as it
 * was. */
BASE_MUSTUSE enum base_err brk_pack_event(struct brk_delivery *const *deliveries, uint32_t n,
	const struct brk_arrival *arrival, struct base_buf *out);

/* Adds an attempt to the delivery's history; the oldest goes when there are STORE_HISTORY_MAX. Without
 * memory the history stays as it was. */
void brk_pack_attempt(
	struct brk_core *core, struct brk_delivery *delivery, const Pirn__JournalAttempt *attempt);

/* The entry that a dead delivery becomes. NULL: memory. */
struct base_block *brk_pack_letter(
	struct brk_core *core, const struct brk_delivery *delivery, const struct brk_end *end);
/* payload: the response; only what BRK_MAX_RESULT allows of it is kept, all or nothing. NULL: memory. */
struct base_block *brk_pack_result(struct brk_core *core, const struct brk_delivery *delivery,
	const struct brk_end *end, const struct brk_payload *payload, uint32_t *data_size);

#endif
