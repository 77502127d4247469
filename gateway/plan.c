#include "gateway/plan.h"

#include <assert.h>
#include <string.h>

#define NEVER UINT64_MAX

static int64_t seconds(uint64_t ms)
{
	return (int64_t)(ms / 1000);
}

static uint64_t after(const struct gw_plan *p, uint64_t ms)
{
	int64_t slot = base_cron_next(&p->conf.cron, p->conf.zone, seconds(ms));

	return slot == BASE_CRON_NEVER ? NEVER : (uint64_t)slot * 1000;
}

static uint64_t latest(const struct gw_plan *p, uint64_t now_ms)
{
	int64_t slot = base_cron_latest(
		&p->conf.cron, p->conf.zone, seconds(p->last_ms), seconds(now_ms));

	return slot == BASE_CRON_NEVER ? NEVER : (uint64_t)slot * 1000;
}

void gw_plan_init(struct gw_plan *p, const struct gw_plan_conf *conf)
{
	*p = (struct gw_plan){ .conf = *conf };
}

uint64_t gw_plan_upcoming(const struct gw_plan *p)
{
	return p->known ? after(p, p->last_ms) : NEVER;
}

static struct gw_plan_step wait_until(uint64_t due_ms)
{
	return (struct gw_plan_step){ .what = GW_PLAN_WAIT, .due_ms = due_ms };
}

/* Begins at the last whole second: the first slot is the next one, whatever the clock says. */
static struct gw_plan_step learn(struct gw_plan *p, uint64_t now_ms)
{
	p->under_way = true;
	return (struct gw_plan_step){ .what = GW_PLAN_LEARN, .slot_ms = now_ms / 1000 * 1000 };
}

/* The last of the slots that are over and nobody is to run, whatever missed says; 0: there are none. */
static uint64_t leap_to(struct gw_plan *p, uint64_t due_ms, uint64_t now_ms)
{
	int64_t slot;

	if (due_ms <= p->conf.since_ms && p->conf.since_ms <= now_ms)
		return p->conf.since_ms;
	if (p->conf.missed != GW_MISSED_ALL || p->counted)
		return 0;
	p->counted = true; /* once a delay: it may take a while */
	slot = base_cron_nth_latest(&p->conf.cron, p->conf.zone, seconds(p->last_ms),
		seconds(now_ms), GW_PLAN_ALL_MOST);
	return slot == BASE_CRON_NEVER ? 0 : (uint64_t)slot * 1000;
}

/* Which slot is next, of those that are over, and whether it is run. */
static struct gw_plan_step choose(struct gw_plan *p, uint64_t due_ms, uint64_t now_ms)
{
	struct gw_plan_step step = { .what = GW_PLAN_FIRE, .previous_ms = p->last_ms };
	uint64_t leap_ms = leap_to(p, due_ms, now_ms);

	if (leap_ms > 0) {
		step.what = GW_PLAN_SKIP;
		step.slot_ms = leap_ms;
		return step;
	}
	step.slot_ms = p->conf.missed == GW_MISSED_ALL ? due_ms : latest(p, now_ms);
	if (p->conf.missed == GW_MISSED_SKIP && now_ms - step.slot_ms >= GW_PLAN_LATE_MS)
		step.what = GW_PLAN_SKIP;
	return step;
}

/* A rest that is longer than any was begun by a clock that has been set back since. */
static bool is_resting(const struct gw_plan *p, uint64_t now_ms)
{
	return now_ms < p->not_before_ms && p->not_before_ms - now_ms <= GW_PLAN_REST_MS;
}

struct gw_plan_step gw_plan_next(struct gw_plan *p, uint64_t now_ms)
{
	struct gw_plan_step step;
	uint64_t due_ms;

	assert(!p->under_way);
	if (is_resting(p, now_ms))
		return wait_until(p->not_before_ms);
	if (!p->known)
		return learn(p, now_ms);
	due_ms = after(p, p->last_ms);
	if (due_ms > now_ms) {
		p->counted = false;
		return wait_until(due_ms);
	}
	step = choose(p, due_ms, now_ms);
	p->under_way = true;
	if (step.what == GW_PLAN_FIRE && !p->conf.overlap && p->has_running) {
		if (!p->asked)
			return (struct gw_plan_step){ .what = GW_PLAN_ASK };
		step.what = GW_PLAN_SKIP; /* it goes on */
	}
	return step;
}

void gw_plan_accepted(struct gw_plan *p, uint64_t slot_ms, const uint8_t *id)
{
	p->under_way = false;
	p->known = true;
	p->asked = false;
	p->last_ms = slot_ms;
	if (!id) /* skipped: the run before stays the last one */
		return;
	p->has_running = true;
	memcpy(p->running, id, sizeof p->running);
}

/* When the last slot is the one that we said, the slot is ahead of the brokers' clock, and ours is wrong. */
void gw_plan_refused(struct gw_plan *p, uint64_t now_ms, uint64_t last_ms, const uint8_t *running)
{
	p->under_way = false;
	if (last_ms == 0 || (p->known && last_ms == p->last_ms))
		p->not_before_ms = now_ms + GW_PLAN_AGAIN_MS;
	p->known = last_ms > 0; /* 0: Redis knows it no more, and it begins anew */
	p->asked = false;
	p->last_ms = last_ms;
	p->has_running = running != NULL;
	if (running)
		memcpy(p->running, running, sizeof p->running);
}

void gw_plan_told(struct gw_plan *p, bool goes_on)
{
	p->under_way = false;
	p->asked = goes_on;
	p->has_running = goes_on;
}

void gw_plan_failed(struct gw_plan *p, uint64_t now_ms, uint32_t rest_ms)
{
	assert(rest_ms <= GW_PLAN_REST_MS);
	p->under_way = false;
	p->asked = false;
	p->not_before_ms = now_ms + rest_ms;
}
