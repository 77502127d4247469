#include "broker/core/overload.h"

#include "broker/core/parts.h"

/* What a manifest says that says nothing of them; as in base/manifest.c. */
#define TARGET_MS   5u
#define INTERVAL_MS 100u
#define CONCURRENCY 32u

#define BALANCE   8u /* so many have to end before a balance says anything … */
#define INTERVALS 5u /* … but it waits no longer than that for them */

#define RETRY_LEAST_MS 500u
#define RETRY_MOST_MS  1500u

#define WAITS 3u /* of the mean; half more than the longest where slots become free in step */

/* ---- settings ------------------------------------------------------------- */

/* UNTRUSTED: any number; 0 ms of target or interval would be no limit that can be kept. */
void brk_overload_configure(
	struct brk_core *core, struct brk_service *service, const Pirn__QueueConf *conf)
{
	struct brk_overload *o = &service->overload;
	Pirn__QueueConf none = PIRN__QUEUE_CONF__INIT;

	(void)core;
	if (!conf)
		conf = &none;
	o->bytes = conf->bytes;
	o->age_ms = conf->age_ms;
	o->target_ms = conf->target_ms ? conf->target_ms : TARGET_MS;
	o->interval_ms = conf->interval_ms ? conf->interval_ms : INTERVAL_MS;
	o->events = conf->events;
	o->event_bytes = conf->event_bytes;
	o->event_age_ms = conf->event_age_ms;
}

void brk_overload_forget(struct brk_core *core, struct brk_service *service)
{
	base_heap_remove(&core->overloads, &service->overload.due);
}

/* ---- bounds --------------------------------------------------------------- */

/* Of what the broker can hold it has more than its share. */
static bool has_its_share(uint64_t mine, uint64_t held, uint64_t most)
{
	return mine > 0 && mine / BRK_OVERLOAD_SHARE >= (most > held ? most - held : 0);
}

uint32_t brk_overload_judge(
	const struct brk_core *core, const struct brk_service *service, uint64_t size)
{
	const struct brk_overload *o = &service->overload;

	if (service->queue_items > 0 && service->queue.n >= service->queue_items &&
		!BRK_FAULTY(core, QUEUE_UNBOUNDED))
		return PIRN__REASON__QUEUE_FULL;
	if (o->bytes > 0 && o->waiting_bytes + size > o->bytes)
		return PIRN__REASON__QUEUE_FULL;
	if (has_its_share(
		    service->queue.n, core->slab.n_used - core->n_runs, core->conf.max_calls) ||
		has_its_share(o->waiting_bytes, core->kept_bytes, core->conf.max_bytes))
		return PIRN__REASON__OVERLOADED;
	return PIRN__REASON__NONE;
}

static uint64_t open_events(const struct brk_service *service)
{
	uint64_t n = 0;

	for (int state = BRK_DELIVERY_ARRIVING; state < BRK_DELIVERY_GONE; state++)
		n += service->events[state].n;
	return n;
}

/* Of the one that runs next: it waits since it was accepted, or since its delay or its last retry's pause was
 * over. */
static uint64_t event_age_ms(const struct brk_core *core, const struct brk_service *service)
{
	const struct brk_delivery *first = service->events[BRK_DELIVERY_READY].head;
	uint64_t now = brk_owner_redis_ms(core), since;

	if (!first)
		return 0;
	since = first->accepted_ms > first->not_before_ms ? first->accepted_ms
							  : first->not_before_ms;
	return now > since ? now - since : 0;
}

uint32_t brk_overload_judge_event(
	const struct brk_core *core, const struct brk_service *service, uint64_t size)
{
	const struct brk_overload *o = &service->overload;

	if (o->events > 0 && open_events(service) >= o->events)
		return PIRN__REASON__QUEUE_FULL;
	if (o->event_bytes > 0 && o->open_event_bytes + size > o->event_bytes)
		return PIRN__REASON__QUEUE_FULL;
	if (o->event_age_ms > 0 && event_age_ms(core, service) > o->event_age_ms)
		return PIRN__REASON__QUEUE_FULL;
	return PIRN__REASON__NONE;
}

uint32_t brk_overload_retry_ms(struct brk_core *core)
{
	return RETRY_LEAST_MS +
	       (uint32_t)base_rand_below(&core->rand, RETRY_MOST_MS - RETRY_LEAST_MS + 1);
}

/* ---- limits --------------------------------------------------------------- */

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t target_us(const struct brk_service *service)
{
	uint64_t run_us =
		service->run_us > 0 ? service->run_us : (uint64_t)service->timeout_ms * 1000;

	return larger((uint64_t)service->overload.target_ms * 1000, run_us);
}

/* How many may run at once, as far as the manifest tells. */
static uint64_t places(const struct brk_service *service)
{
	const Pirn__Manifest *m = service->entry.manifest;
	uint64_t n = (m && m->has_concurrency ? m->concurrency : CONCURRENCY) *
		     (uint64_t)service->n_ready;

	if (service->concurrency_total > 0)
		n = smaller(n, service->concurrency_total);
	return larger(n, 1);
}

/* Who waited for less than that is no sign of an overload. */
static uint64_t patience_us(const struct brk_service *service)
{
	return larger(target_us(service), service->run_us * BRK_OVERLOAD_CHANCE / places(service));
}

/* Whole milliseconds, as ticks are: the first one at which it is reached. */
static uint64_t target_ms(const struct brk_service *service)
{
	return (target_us(service) + 999) / 1000;
}

/* How long a call may wait now that the service is overloaded. */
static uint64_t limit_ms(const struct brk_service *service)
{
	const struct brk_overload *o = &service->overload;

	return smaller(target_ms(service), larger(o->target_ms, o->limit_ms));
}

static uint64_t interval_ms(const struct brk_service *service)
{
	return larger(service->overload.interval_ms, 2 * target_ms(service));
}

/* ---- workers -------------------------------------------------------------- */

/* The first of them has most credit left. */
static bool has_granted(const struct brk_service *service)
{
	for (size_t i = 0; i < service->n_ready; i++)
		if (service->ready[i]->granted_peak > 0)
			return true;
	return false;
}

void brk_overload_refresh(struct brk_core *core, struct brk_service *service)
{
	struct brk_overload *o = &service->overload;
	bool before = o->is_served;

	o->is_served = has_granted(service);
	if (o->is_served && !before)
		o->served_ms = o->since_ms = core->now_ms;
}

/* Since when it waits for something that is there. */
static uint64_t waits_since(const struct brk_call *call)
{
	return larger(call->queued_ms, call->service->overload.served_ms);
}

/* ---- coming and going ----------------------------------------------------- */

/* The first that is given up if nothing else happens. NULL: nobody. */
static struct brk_call *first_to_go(const struct brk_core *core, const struct brk_service *service)
{
	const struct brk_queue *q = &service->queue;
	struct brk_call *call = BRK_FAULTY(core, SHED_HANDED_BACK) ? q->calls : q->oldest;

	return call == brk_queue_newest(q) ? NULL : call;
}

static uint64_t age_due(const struct brk_service *service)
{
	const struct brk_call *oldest = service->queue.oldest,
			      *back = brk_queue_last_back(&service->queue);
	uint64_t due = UINT64_MAX;

	if (service->overload.age_ms == 0)
		return due;
	if (oldest)
		due = oldest->queued_ms + service->overload.age_ms;
	return back ? smaller(due, back->queued_ms + service->overload.age_ms) : due;
}

static uint64_t due_of(const struct brk_core *core, const struct brk_service *service)
{
	const struct brk_overload *o = &service->overload;
	const struct brk_call *call = o->is_on ? first_to_go(core, service) : NULL;
	uint64_t due = age_due(service);

	if (o->is_on)
		due = smaller(due, o->until_ms);
	else if (service->queue.oldest)
		due = smaller(due, o->since_ms + interval_ms(service));
	return call ? smaller(due, waits_since(call) + limit_ms(service)) : due;
}

/* There is room: brk_service_new reserved it. */
static void set_due(struct brk_core *core, struct brk_overload *o, uint64_t due)
{
	enum base_err err;

	base_heap_remove(&core->overloads, &o->due);
	err = base_heap_push(&core->overloads, &o->due, due);
	(void)err;
}

/* Dues are only ever moved forward here. That a call left makes its service's due later; the tick finds out. */
void brk_overload_came(struct brk_core *core, struct brk_call *call)
{
	struct brk_service *service = call->service;
	struct brk_overload *o = &service->overload;
	uint64_t due;

	o->waiting_bytes += brk_call_size(call);
	if (service->queue.oldest == call)
		o->since_ms = core->now_ms;
	/* Who was the newest until now may be late already: that is no delay of ours. */
	due = larger(due_of(core, service), core->now_ms);
	if (o->due.place == 0 || due < o->due.due)
		set_due(core, o, due);
}

void brk_overload_left(struct brk_core *core, struct brk_call *call, bool runs)
{
	struct brk_service *service = call->service;
	struct brk_overload *o = &service->overload;
	uint64_t waited_ms = core->now_ms - waits_since(call);

	o->waiting_bytes -= brk_call_size(call);
	if (!runs)
		return;
	if (waited_ms * 1000 < patience_us(service))
		o->since_ms = core->now_ms;
	o->waits_ms += waited_ms;
	o->dispatched++;
}

struct brk_call *brk_overload_next(const struct brk_core *core, const struct brk_service *service)
{
	const struct brk_queue *q = &service->queue;
	bool newest = service->overload.is_on;

	if (BRK_FAULTY(core, NEWEST_FIRST))
		newest = true;
	if (BRK_FAULTY(core, OLDEST_FIRST))
		newest = false;
	return newest && q->calls == q->oldest ? brk_queue_newest(q) : q->calls;
}

/* ---- giving up ------------------------------------------------------------ */

static void give_up(struct brk_core *core, struct brk_call *call)
{
	call->service->overload.shed++;
	brk_settle_refused(core, call, PIRN__REASON__OVERLOADED, brk_overload_retry_ms(core));
}

/* False: the list of actions is full. */
static bool give_up_late(struct brk_core *core, struct brk_service *service)
{
	struct brk_call *call;

	while ((call = first_to_go(core, service)) &&
		waits_since(call) + limit_ms(service) / (BRK_FAULTY(core, SHED_EARLY) ? 2 : 1) <=
			core->now_ms) {
		if (BRK_FAULTY(core, SHED_NOBODY))
			return true;
		if (!brk_act_has_room(core))
			return false;
		give_up(core, call);
	}
	return true;
}

static bool give_up_aged(struct brk_core *core, struct brk_service *service)
{
	while (age_due(service) <= core->now_ms) {
		struct brk_call *call = brk_queue_last_back(&service->queue);

		if (!call || call->queued_ms + service->overload.age_ms > core->now_ms)
			call = service->queue.oldest;
		if (!brk_act_has_room(core))
			return false;
		give_up(core, call);
	}
	return true;
}

/* ---- on and off ----------------------------------------------------------- */

static void begin_interval(const struct brk_core *core, struct brk_service *service)
{
	struct brk_overload *o = &service->overload;

	o->until_ms = core->now_ms + interval_ms(service);
	o->intervals = 1;
	o->waits_ms = o->dispatched = 0;
	o->given_up = o->shed;
	o->ended = service->done + service->failed;
}

static uint64_t given_up_now(const struct brk_service *service)
{
	return service->overload.shed - service->overload.given_up;
}

/* Those that were given up have ended, too. */
static uint64_t ended_now(const struct brk_service *service)
{
	return service->done + service->failed - service->overload.ended - given_up_now(service);
}

static bool is_still_overloaded(const struct brk_service *service)
{
	uint64_t given_up = given_up_now(service);

	return given_up > 0 && given_up * BRK_OVERLOAD_ENDED >= ended_now(service);
}

/* With few places few can end in an interval, and by chance nobody may have been given up for them. */
static bool is_too_early(const struct brk_service *service)
{
	uint64_t can_end_us = interval_ms(service) * 1000 * places(service);

	return can_end_us < BALANCE * service->run_us && ended_now(service) < BALANCE &&
	       service->overload.intervals < INTERVALS;
}

static void stop(const struct brk_core *core, struct brk_service *service)
{
	service->overload.is_on = false;
	service->overload.since_ms = core->now_ms;
}

static void judge(const struct brk_core *core, struct brk_service *service, uint64_t late_ms)
{
	struct brk_overload *o = &service->overload;

	if (!o->is_served || late_ms > interval_ms(service)) {
		stop(core, service);
	} else if (!o->is_on) {
		if (!service->queue.oldest || core->now_ms < o->since_ms + interval_ms(service))
			return;
		o->is_on = true;
		o->limit_ms = UINT64_MAX;
		begin_interval(core, service);
	} else if (core->now_ms >= o->until_ms) {
		bool early = is_too_early(service);

		if (!early && !is_still_overloaded(service)) {
			stop(core, service);
			return;
		}
		if (given_up_now(service) > 0)
			o->limit_ms = o->dispatched ? WAITS * o->waits_ms / o->dispatched : 0;
		if (early) {
			o->until_ms = core->now_ms + interval_ms(service);
			o->intervals++;
		} else {
			begin_interval(core, service);
		}
	}
}

/* False: it has to go on in the next tick. */
static bool look(struct brk_core *core, struct brk_service *service, uint64_t late_ms)
{
	judge(core, service, late_ms);
	return give_up_aged(core, service) &&
	       (!service->overload.is_on || give_up_late(core, service));
}

void brk_overload_tick(struct brk_core *core)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&core->overloads)) && node->due <= core->now_ms) {
		struct brk_service *service = base_heap_of(node, struct brk_service, overload.due);
		uint64_t due;

		if (!brk_act_has_room(core))
			return;
		base_heap_remove(&core->overloads, node);
		if (!look(core, service, core->now_ms - node->due)) {
			set_due(core, &service->overload, core->now_ms);
			return;
		}
		due = due_of(core, service);
		if (due < UINT64_MAX)
			set_due(core, &service->overload, larger(due, core->now_ms + 1));
	}
}

uint64_t brk_overload_due(const struct brk_core *core)
{
	const struct base_heap_node *first = base_heap_first(&core->overloads);

	return first ? first->due : UINT64_MAX;
}
