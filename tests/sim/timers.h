/* Clients that run timers, as gateways do: with the gateway's own plan (gateway/plan.h) and
 * the brokers' clock as their beats tell it (client/clock.h), or with a clock that is wrong
 * by seconds, an hour or a day. Each client submits each slot of each timer.
 *
 * A slot is a sim_event besides (events.h): all that holds for events holds for it. What
 * Redis holds of a chain is noted in Redis's keys, as with events: "sim:timers" has the last
 * slot of each timer and its run, "sim:slots" which event each slot became.
 *
 * Checked: each slot follows the last one (I10), at most a second ahead of its time; it
 * becomes one event, and no event is stored but by its slot; with overlap: skip the run
 * before has ended; with missed: all no slot is left out; who is told of a slot, or of the
 * last one, is told what stands on disk (I9); at rest, all timers went on.
 */
#ifndef TESTS_SIM_TIMERS_H
#define TESTS_SIM_TIMERS_H

#include "broker/core/core.h"
#include "tests/sim/redis/redis.h"

#define SIM_TIMERS 3u

struct sim;
struct sim_conn;
struct sim_proc;
struct sim_timers;

/* What a timer's event stands for. */
struct sim_slot {
	bool is; /* false: the event is no timer's */
	bool skip;
	unsigned timer;
	uint64_t previous_ms, slot_ms;
};

void sim_timers_init(struct sim *sim); /* in every fourth run there are some */
void sim_timers_fini(struct sim *sim);
const char *sim_timer_name(unsigned timer);
unsigned sim_timer_service(const struct sim *sim, unsigned timer);

/* ---- clients */
void sim_timers_start(struct sim *sim, struct sim_proc *proc); /* a life begins */
void sim_timers_beat(struct sim *sim, struct sim_proc *proc, uint64_t now_ms);
/* An event of ours has its decision, or will have none: item NULL. */
void sim_timers_answered(struct sim *sim, uint32_t number, uint32_t kind, const Pirn__Item *item);
void sim_timers_stop(struct sim *sim); /* calm has shown that they go on; nothing more is begun */

/* ---- brokers */
void sim_timers_told_time(struct sim *sim, uint64_t now_ms); /* by a beat, on its way out */
void sim_timers_decided(struct sim *sim, uint32_t number, const struct brk_action *a);

/* ---- Redis */
void sim_timers_moved(struct sim *sim, const struct store_item *item);
void sim_timers_check_event(struct sim *sim, uint32_t number, bool stored);

#endif
