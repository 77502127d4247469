/* What one timer does next. Pure: time is an argument, in the brokers' clock (Redis's), and
 * what is to be said to a broker comes out; the answers go back in.
 *
 * A timer's slots are a chain that stands in Redis (delivery.md, step 9): whoever says
 * (previous slot, slot) while the previous one is the last is the one that moves it. So
 * every gateway does this for every timer, and for each slot one of them wins; the others
 * are told the last slot and go on from there. What this machine believes can be old, but
 * never does harm.
 *
 *   UNKNOWN ──LEARN──▶ (answered) ──▶ KNOWN ──FIRE or SKIP──▶ (answered) ──▶ KNOWN …
 *                                       └──ASK: does the last run go on?──▶ KNOWN
 *
 * Slots that are over when we look (nobody was there) are missed ones if the latest of
 * them is GW_PLAN_LATE_MS old: they are run all, the latest alone, or none. Otherwise it
 * was only us who were late, and the latest is run.
 *
 * All is at most GW_PLAN_ALL_MOST: the chain leaps over those before. And when a timer is
 * given other times, the slots that they would have had before that were never anybody's:
 * the chain leaps to since_ms, rather than have a year's slots run at once.
 */
#ifndef GATEWAY_PLAN_H
#define GATEWAY_PLAN_H

#include "base/cron.h"
#include "base/ulid.h"

#define GW_PLAN_LATE_MS  10000u
#define GW_PLAN_AGAIN_MS 1000u /* after an answer that says nothing */
#define GW_PLAN_ALL_MOST 10000u
#define GW_PLAN_REST_MS  30000u /* most that gw_plan_failed is told to wait */

enum gw_missed { GW_MISSED_SKIP, GW_MISSED_ONCE, GW_MISSED_ALL };

struct gw_plan_conf {
	struct base_cron cron;
	const struct base_zone *zone; /* NULL: UTC; borrowed */
	enum gw_missed missed;
	bool overlap; /* a slot runs while the run of the one before goes on */
	uint64_t since_ms; /* slots up to then are none; 0: all are. A whole second */
};

enum gw_plan_do {
	GW_PLAN_WAIT,  /* nothing before due_ms */
	GW_PLAN_LEARN, /* submit a skipped slot, previous 0: begins the chain, or tells where it is */
	GW_PLAN_ASK,   /* ask what became of `running` */
	GW_PLAN_FIRE,  /* submit slot_ms, with its event */
	GW_PLAN_SKIP   /* submit slot_ms as a skipped one */
};

struct gw_plan_step {
	enum gw_plan_do what;
	uint64_t due_ms;               /* WAIT; UINT64_MAX: there is no slot any more */
	uint64_t previous_ms, slot_ms; /* LEARN, FIRE, SKIP */
};

struct gw_plan {
	struct gw_plan_conf conf;
	bool known;            /* last_ms is what some broker said */
	bool under_way;        /* a step was taken and not answered */
	bool counted;          /* of the slots that are over, those beyond ALL_MOST are let go */
	bool asked;            /* the last run was asked for and goes on: the slot that is due is skipped */
	uint64_t last_ms;
	bool has_running;      /* an id stands with the last slot */
	uint8_t running[BASE_ULID_SIZE];
	uint64_t not_before_ms; /* after an answer that said nothing */
};

void gw_plan_init(struct gw_plan *p, const struct gw_plan_conf *conf);

/* The step to take now. Unless it is WAIT, one answer has to follow before it is called again. */
struct gw_plan_step gw_plan_next(struct gw_plan *p, uint64_t now_ms);

/* The answers. accepted: the slot that we said is the last one now; id of its event, NULL for a skipped one. */
void gw_plan_accepted(struct gw_plan *p, uint64_t slot_ms, const uint8_t *id);
/* Refused: this is the last slot; running: the id that stands with it, NULL: none. */
void gw_plan_refused(struct gw_plan *p, uint64_t now_ms, uint64_t last_ms, const uint8_t *running);
/* What was asked for goes on, or has ended (also: nobody knows it any more). */
void gw_plan_told(struct gw_plan *p, bool goes_on);
/* No answer, or one that says nothing (no broker, overloaded): it is tried again, so much later. */
void gw_plan_failed(struct gw_plan *p, uint64_t now_ms, uint32_t rest_ms);

/* The slot after the last one, for lists; UINT64_MAX: none, or not known yet. */
uint64_t gw_plan_upcoming(const struct gw_plan *p);

#endif
