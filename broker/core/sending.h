/* What a call's run sends. A call is not kept on disk, so there is no end in Redis that its
 * events could leave with, as a delivery's do (emit.h). They are stored instead before its
 * caller hears that it went well:
 *
 *   RESULT (below 400, with events) ─▶ judged ─▶ SENDING: one STORE ─▶ REPLY
 *                                        └ not taken: 503 or 502      └ refused, or silent: 503
 *
 * All of a run's events are judged and stored together, with what clients submit, under the
 * same bounds (G6), and the answer waits for Redis: a caller who hears 2xx or 3xx knows that
 * they are kept (G1). A run that failed, or answered 400 and above, sends nothing.
 *
 * What a caller hears, and what is there then:
 *
 *   200 to 399               all of them
 *   503 UNSENT               none: Redis is away or full, the broker or a service that they are for has no
 *                            room, or there is none for another Idempotency-Key
 *   502 UNSENT               none: nobody has that name, no subscriber (strict), too much, or
 *                            no list of events. That is the service's mistake
 *   501 UNSUPPORTED          none: this broker has no Redis
 *   503 UNDECIDED            all or none: Redis did not say in time, or the broker lost its journals
 *   nothing (the broker or the way to it died, the caller went)    all or none
 *
 * None of these counts in the breaker, which has counted the run by its answer. The run has happened, though, and what it did to state stays: it is not run again by
 * itself. Who calls again runs it again, and then it sends again, except that
 *
 *   - a call that is repeated under the same id (a client sends GET, HEAD, PUT, DELETE again when its
 *     broker was lost) has a lane of its own, made of its id: the n-th event is stored once, within
 *     the ten minutes for which Redis knows a lane;
 *   - one with an Idempotency-Key runs under the key's first id, and its n-th event has a dedupe key
 *     made of that: it is stored once for as long as keys are known (24 h), whichever brokers ran it.
 *     The answer is kept after the events, so that no kept answer lacks any. Each event needs room
 *     among the keys; where that ends none of the run's is stored.
 *
 * The n-th is the n-th: a repetition that sends something else there sends nothing there.
 *
 * A SENDING call holds no place in a worker and needs none; it is one of the broker's calls (max_calls),
 * and its answer counts among what they keep (max_bytes), in place of its request. It ends within the
 * call's time: a little before, so that the answer still gets there in time. Whoever cancels, or is
 * gone, just does not hear of it: the run went well, and what it sends goes on. A broker that drains
 * waits for Redis; when its patience is over these are UNDECIDED, and those with a key DRAINING: whoever
 * asks again with it hears what became of it.
 *
 * A RESULT that comes without events passes all this by.
 */
#ifndef BROKER_CORE_SENDING_H
#define BROKER_CORE_SENDING_H

#include "broker/core/core.h"
#include "broker/core/ledger.h"

#define BRK_SENDING_HURRY_MS 500u /* at most so long before the call's deadline it is given up … */
#define BRK_SENDING_SHARE    8u   /* … but no more than this part of what is left */
#define BRK_SCOPE_SENT       "*sent" /* of the dedupe keys; no service is called so */

struct brk_call;
struct brk_keyed_answer;

/* A RUNNING call has gone well, and sends what the packed Emits say (UNTRUSTED). It is SENDING, or has
 * been answered. */
void brk_sending_begin(struct brk_core *core, struct brk_call *call,
	const struct brk_keyed_answer *answer, const uint8_t *sent, size_t size);

/* One of them is stored (NONE), or will not be. To be called once for an arrival that waits; its call may be
 * gone. */
void brk_sending_told(struct brk_core *core, const struct brk_arrival *arrival, uint32_t reason);

#endif
