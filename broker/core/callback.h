/* Telling somebody outside of an end: a delivery whose event, or whose service's manifest,
 * names a URL ends together with an event for the service BRK_CALLBACK_SERVICE, in one
 * SETTLE (emit.h); a worker that can speak HTTP takes it from there, with retries and an
 * end of its own. So each end is told of once, or as often as the URL's owner refuses it.
 *
 * The event is a CloudEvent in binary mode, and its data says what a question about the
 * id would: state, reason, status, attempts, and the answer, where it was kept and is small
 * (and there is room: BRK_SENT_SHARE).
 *
 * Nobody but brokers may send to that service, since where its requests go is in their
 * headers; and its own ends are told to nobody.
 */
#ifndef BROKER_CORE_CALLBACK_H
#define BROKER_CORE_CALLBACK_H

#include "broker/core/emit.h"

#define BRK_CALLBACK_SERVICE "pirn-callback"
#define BRK_CALLBACK_RESULT  (64u * 1024) /* the largest answer that goes along */

/* Nobody may send to it. UNTRUSTED; NULL: false. */
bool brk_callback_is(const char *service);
/* What tells of the end, with its times set; NULL: nobody is to be told. payload: the answer. Ends the process without
 * memory. */
struct brk_emits *brk_callback_of(struct brk_core *core, const struct brk_delivery *delivery,
	const struct brk_end *end, const struct brk_payload *payload);

#endif
