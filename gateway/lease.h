/* Which of several gateways listens: what is lost while nobody does must be heard once, by
 * one of them. Pure: times are arguments, what is to be said to a broker comes out, the
 * answers go back in.
 *
 * The lease is the chain of a timer that has no events (gateway/plan.h, delivery.md, step
 * 9): whoever moves it from the last slot to "now" has it. Its holder moves it every
 * second; the others are told the last slot, and move it themselves once that is
 * GW_LEASE_MS old by the brokers' clock. So it is taken over 3 s after the last sign of
 * its holder.
 *
 * The holder goes by its own monotonic clock, from when it *said* the slot, and gives up
 * GW_LEASE_SPARE_MS before anybody else may take it: one that was paused knows, before it
 * believes anything that lay waiting for it, that it may not be the holder any more.
 */
#ifndef GATEWAY_LEASE_H
#define GATEWAY_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#define GW_LEASE_MS       3000u
#define GW_LEASE_RENEW_MS 1000u
#define GW_LEASE_SPARE_MS 500u
#define GW_LEASE_AGAIN_MS 500u /* after an answer that says nothing */

struct gw_lease {
	bool known;       /* last_ms is what some broker said */
	bool mine;        /* and it was us who moved it there */
	bool under_way;   /* something was said and not answered */
	uint64_t last_ms; /* by the brokers' clock */
	uint64_t said_ms; /* the slot that was said */
	uint64_t said_at;        /* monotonic: when */
	uint64_t renew_at, until; /* of what was accepted: when to say it anew; how long we hold it */
	uint64_t not_before;     /* monotonic */
};

struct gw_lease_step {
	bool say;
	uint64_t previous_ms, slot_ms; /* say */
	uint64_t due;                  /* otherwise: monotonic, when to look again; UINT64_MAX: at the answer */
};

/* What to do now. now_ms: the brokers' clock, 0: nobody has said. After a step that says something one
 * answer has to follow. */
struct gw_lease_step gw_lease_next(struct gw_lease *l, uint64_t now_ms, uint64_t at);

void gw_lease_accepted(struct gw_lease *l);
void gw_lease_refused(struct gw_lease *l, uint64_t last_ms, uint64_t at); /* last_ms 0: there is none */
void gw_lease_failed(struct gw_lease *l, uint64_t at); /* no answer, or one that says nothing */
void gw_lease_drop(struct gw_lease *l); /* we do not want it now; an answer may still come */

bool gw_lease_is_held(const struct gw_lease *l, uint64_t at);

#endif
