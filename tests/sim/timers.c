#include "tests/sim/timers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/clock.h"
#include "gateway/plan.h"
#include "tests/sim/sim.h"

#define NOBODY   UINT32_MAX
#define AHEAD_MS 1000 /* a slot may be accepted so long before its time */
#define LAG_MS   6000 /* in calm: a plan's rest, a clock's slowness, a network's */

struct timer {
	struct gw_plan_conf conf;
	unsigned service;
	uint64_t full_ms; /* when a slot was last refused for want of room; 0: never */
};

struct plan {
	struct gw_plan plan;
	uint32_t number; /* the event that is under way; NOBODY: none */
};

/* A client's, for one life. */
struct runner {
	struct client_clock clock;
	int64_t wrong_ms; /* by how much it believes another time; 0: it believes the brokers */
	struct plan plans[SIM_TIMERS];
};

struct sim_timers {
	struct timer timers[SIM_TIMERS];
	struct runner runners[SIM_PROCS];
	bool stopped;
};

/* What Redis holds of a timer. */
struct chain {
	uint64_t last_ms;
	uint32_t running; /* the event of its last run; NOBODY: none */
};

static const char *const names[SIM_TIMERS] = { "t0", "t1", "t2" };
static const struct store_arg chains_key = { "sim:timers", 10 };
static const struct store_arg slots_key = { "sim:slots", 9 };

const char *sim_timer_name(unsigned timer)
{
	return names[timer];
}

unsigned sim_timer_service(const struct sim *sim, unsigned timer)
{
	return sim->timers->timers[timer].service;
}

/* ---- notes in Redis */

static struct chain load_chain(struct sim *sim, unsigned timer)
{
	struct chain chain = { 0, NOBODY };
	struct store_arg value;

	if (sim_keys_get(&sim->server.redis.keys, chains_key,
		    (struct store_arg){ &timer, sizeof timer }, &value))
		memcpy(&chain, value.data, sizeof chain);
	return chain;
}

struct slot_field {
	uint64_t timer, slot_ms;
};

/* False: it is none. number: NOBODY for one that was skipped. */
static bool find_slot(struct sim *sim, unsigned timer, uint64_t slot_ms, uint32_t *number)
{
	struct slot_field field = { timer, slot_ms };
	struct store_arg value;

	if (!sim_keys_get(&sim->server.redis.keys, slots_key,
		    (struct store_arg){ &field, sizeof field }, &value))
		return false;
	memcpy(number, value.data, sizeof *number);
	return true;
}

static void note(struct sim *sim, unsigned timer, const struct chain *chain, uint32_t number)
{
	struct slot_field field = { timer, chain->last_ms };

	sim_keys_set(&sim->server.redis.keys, chains_key,
		(struct store_arg){ &timer, sizeof timer },
		(struct store_arg){ chain, sizeof *chain });
	sim_keys_set(&sim->server.redis.keys, slots_key, (struct store_arg){ &field, sizeof field },
		(struct store_arg){ &number, sizeof number });
}

/* ---- the chain, as it grows */

static bool find_timer(const struct sim *sim, const char *name, unsigned *timer)
{
	char text[80];

	for (*timer = 0; sim->timers && *timer < SIM_TIMERS; (*timer)++) {
		snprintf(text, sizeof text, "%s/%s", sim_services[sim_timer_service(sim, *timer)],
			names[*timer]);
		if (strcmp(text, name) == 0)
			return true;
	}
	return false;
}

/* NOBODY: it was skipped. */
static uint32_t event_of(struct sim *sim, unsigned timer, const struct store_item *item)
{
	uint32_t number;
	const struct sim_slot *slot;

	if (item->id.size == 0)
		return NOBODY;
	SIM_CHECK(sim,
		sim_event_has_id(sim,
			item->id.data, sim_services[sim_timer_service(sim, timer)], &number) &&
			number < sim->n_events,
		"a slot of timer %u is no event of ours", timer);
	slot = &sim->events[number].slot;
	SIM_CHECK(sim,
		slot->is && !slot->skip && slot->timer == timer && slot->slot_ms == item->slot_ms &&
			slot->previous_ms == item->previous_ms,
		"event %u is stored for another slot than its own", number);
	return number;
}

/* What the timer's policies make of the step from one slot to the next. */
static void check_policy(
	struct sim *sim, unsigned timer, const struct chain *before, const struct store_item *item)
{
	const struct gw_plan_conf *conf = &sim->timers->timers[timer].conf;
	int64_t next = base_cron_next(&conf->cron, NULL, (int64_t)(before->last_ms / 1000));

	if (before->last_ms == 0)
		return; /* its beginning */
	SIM_CHECK(sim,
		conf->missed != GW_MISSED_ALL || !conf->overlap ||
			item->slot_ms == (uint64_t)next * 1000,
		"timer %u goes from slot %llu to %llu, with missed: all", timer,
		(unsigned long long)before->last_ms, (unsigned long long)item->slot_ms);
	SIM_CHECK(sim, item->slot_ms % (conf->cron.every_s * UINT64_C(1000)) == 0,
		"timer %u has no slot %llu", timer, (unsigned long long)item->slot_ms);
	if (conf->overlap || item->id.size == 0 || before->running == NOBODY)
		return;
	SIM_CHECK(sim,
		sim_event_note(sim, before->running).end != END_NONE ||
			sim_event_note(sim, before->running).redriven > 0,
		"timer %u runs again while event %u goes on", timer, before->running);
}

void sim_timers_moved(struct sim *sim, const struct store_item *item)
{
	struct chain before, chain;
	unsigned timer;
	uint32_t number;

	if (!find_timer(sim, item->timer, &timer))
		sim_fail(sim, "a timer %s that nobody has", item->timer);
	before = load_chain(sim, timer);
	SIM_CHECK(sim, !find_slot(sim, timer, item->slot_ms, &number),
		"slot %llu of timer %u is accepted twice (DUP)", (unsigned long long)item->slot_ms,
		timer);
	SIM_CHECK(sim, item->previous_ms == before.last_ms && item->slot_ms > before.last_ms,
		"timer %u goes from slot %llu to %llu, and the last one is %llu", timer,
		(unsigned long long)item->previous_ms, (unsigned long long)item->slot_ms,
		(unsigned long long)before.last_ms);
	SIM_CHECK(sim, item->slot_ms <= sim_server_now(sim) + AHEAD_MS,
		"slot %llu of timer %u comes before its time", (unsigned long long)item->slot_ms,
		timer);
	check_policy(sim, timer, &before, item);
	number = event_of(sim, timer, item);
	sim_trace(sim, "timer %u moves to %llu, %s %u", timer, (unsigned long long)item->slot_ms,
		number == NOBODY ? "no event" : "event", number);
	chain = (struct chain){ item->slot_ms, number == NOBODY ? before.running : number };
	note(sim, timer, &chain, number);
	sim->seen.slots += number != NOBODY;
	sim->seen.skipped += number == NOBODY;
}

void sim_timers_check_event(struct sim *sim, uint32_t number, bool stored)
{
	const struct sim_slot *slot = &sim->events[number].slot;
	uint32_t found;
	bool there;

	if (!slot->is)
		return;
	there = find_slot(sim, slot->timer, slot->slot_ms, &found) && found == number;
	SIM_CHECK(sim, !stored || !slot->skip, "event %u is stored, and its slot was skipped",
		number);
	SIM_CHECK(
		sim, !stored || there, "event %u is stored, and its slot is not its (DUP)", number);
	SIM_CHECK(sim, stored || !there, "event %u has its slot, and is not stored (LOST)", number);
}

/* ---- what brokers say */

void sim_timers_told_time(struct sim *sim, uint64_t now_ms)
{
	SIM_CHECK(sim, now_ms > 0 && now_ms <= sim_server_now(sim), "a broker is ahead of Redis");
}

/* A slot that was skipped has nothing to be known by: others may have moved to it at once. */
static void check_taken(struct sim *sim, uint32_t number)
{
	const struct sim_slot *slot = &sim->events[number].slot;
	uint32_t found;

	SIM_CHECK(sim,
		find_slot(sim, slot->timer, slot->slot_ms, &found) &&
			found == (slot->skip ? NOBODY : number),
		"event %u is ACCEPTED, and its slot is not in the chain", number);
}

static void check_last(struct sim *sim, uint32_t number, const Pirn__Item *item)
{
	const struct sim_slot *slot = &sim->events[number].slot;
	uint32_t found, running;

	if (item->slot_ms > 0)
		SIM_CHECK(sim, find_slot(sim, slot->timer, item->slot_ms, &found),
			"event %u is told of a last slot that is none", number);
	if (!item->has_id)
		return;
	SIM_CHECK(sim,
		item->id.len == 16 &&
			sim_event_has_id(sim, item->id.data,
				sim_services[sim_timer_service(sim, slot->timer)], &running) &&
			running < sim->n_events && sim->events[running].slot.is &&
			sim->events[running].slot.timer == slot->timer &&
			sim->events[running].slot.slot_ms <= item->slot_ms,
		"event %u is told of a run that is none of its timer", number);
}

void sim_timers_decided(struct sim *sim, uint32_t number, const struct brk_action *a)
{
	SIM_CHECK(sim, sim->events[number].slot.is || a->item.reason != PIRN__REASON__SLOT,
		"event %u is no slot, and is refused as one", number);
	if (!sim->events[number].slot.is)
		return;
	if (a->message == PIRN__KIND__ACCEPTED)
		check_taken(sim, number);
	else if (a->item.reason == PIRN__REASON__SLOT)
		check_last(sim, number, &a->item);
}

/* ---- clients */

/* False: it does not know the time. */
static bool now_of(const struct sim *sim, const struct runner *r, uint64_t *now_ms)
{
	if (r->wrong_ms == 0)
		return client_clock_now(&r->clock, sim->now_ms, now_ms);
	*now_ms = (uint64_t)((int64_t)sim_server_now(sim) + r->wrong_ms);
	return true;
}

static void submit(struct sim *sim, struct sim_proc *proc, unsigned timer,
	const struct gw_plan_step *step, uint64_t now_ms)
{
	struct plan *p = &sim->timers->runners[proc->index].plans[timer];
	struct sim_slot slot = { .is = true,
		.skip = step->what != GW_PLAN_FIRE,
		.timer = timer,
		.previous_ms = step->previous_ms,
		.slot_ms = step->slot_ms };

	p->number = NOBODY;
	if (!sim_event_submit_slot(sim, proc, &slot, &p->number))
		gw_plan_failed(&p->plan, now_ms, GW_PLAN_AGAIN_MS);
}

/* A chain that began an hour ago would have an hour's slots: who knows no better waits for the others. */
static bool may_begin(struct sim *sim, unsigned timer, const struct runner *r)
{
	return r->wrong_ms >= -1000 || load_chain(sim, timer).last_ms > 0;
}

static void take_step(
	struct sim *sim, struct sim_proc *proc, unsigned timer, struct plan *p, uint64_t now_ms)
{
	struct gw_plan_step step = gw_plan_next(&p->plan, now_ms);
	uint32_t running;

	if (step.what == GW_PLAN_WAIT)
		return;
	if (step.what != GW_PLAN_ASK) {
		submit(sim, proc, timer, &step, now_ms);
		return;
	}
	memcpy(&running, p->plan.running + 4, sizeof running);
	if (sim_chance(sim, 10))
		gw_plan_failed(&p->plan, now_ms, GW_PLAN_AGAIN_MS);
	else
		gw_plan_told(&p->plan, sim_event_note(sim, running).end == END_NONE);
}

static void work_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_proc *proc = arg;
	struct runner *r = &sim->timers->runners[proc->index];
	uint64_t now_ms;

	if (!proc->alive || proc->life != life || sim->timers->stopped)
		return;
	if (sim->calm)
		r->wrong_ms = 0;
	if (proc->paused_until <= sim->now_ms && now_of(sim, r, &now_ms))
		for (unsigned t = 0; t < SIM_TIMERS; t++)
			if (r->plans[t].number == NOBODY && may_begin(sim, t, r))
				take_step(sim, proc, t, &r->plans[t], now_ms);
	sim_at(sim, sim->now_ms + sim_between(sim, 5, 100), work_event, proc, life);
}

void sim_timers_beat(struct sim *sim, struct sim_proc *proc, uint64_t now_ms)
{
	if (sim->timers && now_ms > 0)
		client_clock_hear(&sim->timers->runners[proc->index].clock, sim->now_ms, now_ms);
}

void sim_timers_answered(struct sim *sim, uint32_t number, uint32_t kind, const Pirn__Item *item)
{
	const struct sim_event *e = &sim->events[number];
	struct runner *r;
	struct plan *p;
	uint8_t id[16];
	uint64_t now_ms = 0;

	if (!e->slot.is || e->client->life != e->client_life)
		return;
	r = &sim->timers->runners[e->client->index];
	p = &r->plans[e->slot.timer];
	if (p->number != number)
		return;
	p->number = NOBODY;
	if (item && (item->reason == PIRN__REASON__QUEUE_FULL ||
			    item->reason == PIRN__REASON__OVERLOADED))
		sim->timers->timers[e->slot.timer].full_ms = sim->now_ms;
	(void)now_of(sim, r, &now_ms);
	sim_event_id(sim, number, id);
	if (kind == PIRN__KIND__ACCEPTED)
		gw_plan_accepted(&p->plan, e->slot.slot_ms, e->slot.skip ? NULL : id);
	else if (item && item->reason == PIRN__REASON__SLOT)
		gw_plan_refused(
			&p->plan, now_ms, item->slot_ms, item->has_id ? item->id.data : NULL);
	else
		gw_plan_failed(&p->plan, now_ms, GW_PLAN_AGAIN_MS);
}

/* ---- life */

static int64_t some_error(struct sim *sim)
{
	static const int64_t errors[] = { 0, 0, 0, 40, -300, 900, 2500, -7000, 3600000, -3600000,
		86400000, -86400000 };

	return errors[sim_below(sim, sizeof errors / sizeof *errors)];
}

void sim_timers_start(struct sim *sim, struct sim_proc *proc)
{
	struct runner *r;

	if (!sim->timers)
		return;
	r = &sim->timers->runners[proc->index];
	*r = (struct runner){ .wrong_ms = sim->calm ? 0 : some_error(sim) };
	for (unsigned t = 0; t < SIM_TIMERS; t++) {
		gw_plan_init(&r->plans[t].plan, &sim->timers->timers[t].conf);
		r->plans[t].number = NOBODY;
	}
	sim_at(sim, sim->now_ms + sim_below(sim, 100), work_event, proc, proc->life);
}

/* A queue that is full of what the troubles left takes no slots either. */
static bool goes_on(struct sim *sim, unsigned t)
{
	const struct timer *timer = &sim->timers->timers[t];
	uint64_t every_ms = timer->conf.cron.every_s * UINT64_C(1000);

	return load_chain(sim, t).last_ms + every_ms + LAG_MS >= sim_server_now(sim) ||
	       (timer->full_ms > 0 && timer->full_ms + LAG_MS >= sim->now_ms);
}

void sim_timers_stop(struct sim *sim)
{
	for (unsigned t = 0; sim->timers && t < SIM_TIMERS; t++)
		SIM_CHECK(sim, goes_on(sim, t), "timer %u has stopped at %llu", t,
			(unsigned long long)load_chain(sim, t).last_ms);
	if (sim->timers)
		sim->timers->stopped = true;
}

void sim_timers_init(struct sim *sim)
{
	if (sim->seed % 4 != 2)
		return;
	sim->timers = calloc(1, sizeof *sim->timers);
	for (unsigned t = 0; t < SIM_TIMERS; t++) {
		struct timer *timer = &sim->timers->timers[t];

		timer->service = (unsigned)sim_below(sim, SIM_ADDRESSED);
		timer->conf = (struct gw_plan_conf){
			.cron = base_cron_every((uint32_t)sim_between(sim, 1, 3)),
			.missed = (enum gw_missed)sim_below(sim, 3),
			.overlap = sim_chance(sim, 50),
		};
	}
	sim->timers->timers[0].conf.missed = GW_MISSED_ALL;
	sim->timers->timers[0].conf.overlap = true;
}

void sim_timers_fini(struct sim *sim)
{
	free(sim->timers);
	sim->timers = NULL;
}
