/* Timers: for each one that a service's manifest has, its slots are submitted as events, by
 * every gateway; the chain in Redis lets each slot happen once (gateway/plan.h says why).
 * This file has the timers of the registry, in order of what is due, and carries the plan's
 * steps to the brokers and their answers back.
 *
 * The time is the brokers' (client_engine_now_ms): nothing happens before one of them has
 * told it, and this machine's wall clock may say what it likes. Once a second it is looked
 * whether the brokers' clock was set.
 *
 * A change of the registry leaves alone what did not change. When it gives a timer other
 * times, the slots that these had before are none: several gateways hear of it at nearly the
 * same moment, so that counts from GW_PLAN_LATE_MS before, and what is just due is run.
 * A gateway that drains begins nothing; the others go on.
 *
 * Ten thousand timers may be due at once: so many steps are under way at most, and a look
 * ends after a few milliseconds, that requests get their turn, and their room in the engine.
 */
#ifndef GATEWAY_TIMER_H
#define GATEWAY_TIMER_H

#include "base/hist.h"
#include "base/manifest.h"
#include "base/pool.h"
#include "base/ulid.h"
#include "client/engine.h"
#include "gateway/plan.h"

#define GW_TIMERS_MAX  10000u                             /* more are not served */
#define GW_TIMER_NAME  (2 * (BASE_MANIFEST_NAME_MAX + 1)) /* service/name, with its NUL */
#define GW_TIMER_ROUTE "/v1/timers/" /* and a name: the target of a timer's event */

struct gw;
struct gw_timers;

/* What is known of one, for lists; borrowed until the next change. */
struct gw_timer_view {
	const char *service, *name;
	const char *cron; /* NULL: every_ms */
	uint32_t every_ms;
	const char *zone;
	enum gw_missed missed;
	bool overlap;
	const char *fault;      /* why it is not served; NULL: it is */
	bool known;             /* the rest is what a broker said */
	uint64_t last_ms;       /* Unix time; 0: none */
	uint64_t next_ms;       /* UINT64_MAX: none, or not known */
	const uint8_t *running; /* the last run that is not known to have ended; NULL: none */
};

/* Of this gateway; added up over all of them, each slot was moved to once. */
struct gw_timer_figures {
	uint64_t served, refused; /* timers; refused: malformed, zone not known, too many */
	uint64_t fired;           /* slots that became events */
	uint64_t skipped;         /* steps of a chain without an event: it began, or slots were left out */
	uint64_t beaten;          /* slots that another gateway had fired or skipped before */
	uint64_t failed;          /* steps without an answer that says where the chain is */
	struct base_hist lateness; /* from a slot to its acceptance */
};

/* NULL: no memory. */
struct gw_timers *gw_timers_new(struct gw *gw);
void gw_timers_free(
	struct gw_timers **t); /* takes NULL; before the loop goes, and before the engine */

/* registry is UNTRUSTED. */
void gw_timers_follow(struct gw_timers *t, const Pirn__Registry *registry);

size_t gw_timers_count(const struct gw_timers *t);
/* Borrowed until the next turn. */
const struct gw_timer_figures *gw_timers_figures(struct gw_timers *t);
/* Each in order of service and name. */
typedef void gw_timer_fn(void *arg, const struct gw_timer_view *view);
void gw_timers_each(struct gw_timers *t, gw_timer_fn *fn, void *arg);

/* Submits its event now, outside the chain: fn as for client_engine_call. NOT_FOUND: there is no such timer.
 * id: of the event. */
BASE_MUSTUSE enum base_err gw_timers_fire(struct gw_timers *t, const char *service,
	const char *name, uint8_t id[BASE_ULID_SIZE], client_reply_fn *fn, void *arg);

#endif
