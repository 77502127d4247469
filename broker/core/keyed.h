/* Calls with an Idempotency-Key, by two of Redis's Functions:
 *
 *   SUBMIT ─▶ claim ─┬─ RUN ─▶ runs as any call, under the key's first id ─▶ answer ─▶ REPLY
 *                    ├─ ANSWER, EVENT: what the first one got
 *                    └─ BUSY 409, BODY 422, FULL 503
 *
 * The reply leaves when the answer was told: who repeats the key then gets the same. An
 * answer that a repetition could better (5xx, 408, 425, 429, none) is not kept: the key is
 * free again, and the next run replays what this one did to state. What Redis did not tell
 * is UNDECIDED: the same key again finds out.
 *
 * A kept response is: status (2 bytes, big-endian), meta size (4), meta, data.
 */
#ifndef BROKER_CORE_KEYED_H
#define BROKER_CORE_KEYED_H

#include "broker/core/call.h"
#include "broker/core/core.h"

struct brk_claim;

#define BRK_CLAIM_MARGIN_MS 1000 /* a claim outlives its call's deadline by this */

struct brk_keyed_answer {
	uint32_t status, reason, retry_after_ms;
	struct brk_payload payload;
};

/* A NEW call, whose item has a key: asks for it. Anything but NONE: why it was not taken, and the call
 * is as it was. */
uint32_t brk_keyed_claim(struct brk_core *core, struct brk_call *call, const Pirn__Item *item);
/* A run has ended, or will not be: true when the answer has to wait for Redis; then the call is
 * ANSWERING. */
bool brk_keyed_finish(
	struct brk_core *core, struct brk_call *call, const struct brk_keyed_answer *answer);
/* The call ends now, whatever Redis says: its claim is given back when it can be. */
void brk_keyed_release(struct brk_core *core, struct brk_call *call);
/* What a DISPATCH of a call with a key says beyond another one's: its run's number, its records' time. */
void brk_keyed_describe(const struct brk_core *core, const struct brk_call *call, Pirn__Item *item);
void brk_keyed_fini(struct brk_core *core);

#endif
