/* Who waits and for how long, who is given up, and what runs again: as overload.h and again.h
 * want it. */
#include "tests/sim/mirror.h"

#define TARGET_MS   5u
#define INTERVAL_MS 100u

#define CHANCE    16u
#define INTERVALS 11u /* two balances of five, and one more */

#define EARNS 100u /* thousandths of a retry */
#define FIRST 32000u
#define SAVED 200000u

static struct mirror_flow *flow_of(const struct sim_broker *broker, int service)
{
	return &broker->mirror->flows[service];
}

static const Pirn__QueueConf *conf_of(const struct sim *sim, int service)
{
	static const Pirn__QueueConf none = PIRN__QUEUE_CONF__INIT;

	return sim->manifests[service].queue ? sim->manifests[service].queue : &none;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void mirror_flow_init(struct sim *sim, struct mirror_flow *f)
{
	*f = (struct mirror_flow){ .milli_budget = FIRST, .since_ms = sim->now_ms };
}

/* ---- limits ---------------------------------------------------------------------- */

/* At least the mean of the last runs; of the timeout, as long as none has ended. */
static uint64_t target_ms(const struct sim *sim, const struct mirror_flow *f, int service)
{
	uint64_t run_us =
		f->run_us ? f->run_us : (uint64_t)sim->manifests[service].timeout_ms * 1000;
	uint32_t target = conf_of(sim, service)->target_ms;

	return larger(target ? target : TARGET_MS, (run_us + 999) / 1000);
}

/* Before few places more may stand by chance. */
static uint64_t patience_ms(const struct sim *sim, const struct mirror_flow *f, int service)
{
	uint64_t target = target_ms(sim, f, service), total = sim->manifests[service].concurrency_total;

	return total > 0 ? larger(target, (f->run_us * CHANCE / total + 999) / 1000) : target;
}

static uint64_t interval_for(const struct sim *sim, int service, uint64_t target)
{
	uint32_t interval = conf_of(sim, service)->interval_ms;

	return larger(interval ? interval : INTERVAL_MS, 2 * target);
}

void mirror_flow_ran(struct sim *sim, struct sim_broker *broker, const struct mirror_run *run)
{
	struct mirror_flow *f = flow_of(broker, run->service);
	uint64_t took_us = (sim->now_ms - run->began_ms) * 1000;

	f->run_us = f->run_us ? (7 * f->run_us + took_us) / 8 : took_us;
	if (f->run_us == 0)
		f->run_us = 1;
	for (struct mirror_call *c = broker->mirror->calls; c; c = c->hh.next)
		if (c->service == run->service && c->state == MIRROR_WAITS) {
			c->target_ms = larger(c->target_ms, target_ms(sim, f, run->service));
			c->patience_ms = larger(c->patience_ms, patience_ms(sim, f, run->service));
		}
}

/* Whether newest first, or giving up, can be right: calls waited without a break for an interval,
 * or somebody was given up, not longer ago than two balances last. */
static bool may_be_on(const struct sim *sim, const struct mirror_flow *f)
{
	return larger(f->witness_ms, f->shed_ms) + INTERVALS * f->interval_most + 1 >= sim->now_ms;
}

/* Somebody waits. */
static void look_since(struct sim *sim, struct mirror_flow *f, int service)
{
	if (sim->now_ms - f->since_ms >= interval_for(sim, service, target_ms(sim, f, service)))
		f->witness_ms = sim->now_ms;
}

static void note_interval(struct sim *sim, struct mirror_flow *f, int service)
{
	uint64_t interval = interval_for(sim, service, target_ms(sim, f, service));

	if (f->interval_ms + INTERVALS * f->interval_most < sim->now_ms) {
		f->interval_before = f->interval_now;
		f->interval_now = 0;
		f->interval_ms = sim->now_ms;
	}
	f->interval_now = larger(f->interval_now, interval);
	f->interval_most = larger(f->interval_now, f->interval_before);
}

/* ---- coming ------------------------------------------------------------------------ */

void mirror_flow_took(struct sim *sim, struct sim_broker *broker, const struct mirror_call *call)
{
	struct mirror_flow *f;

	(void)sim;
	if (call->service < 0)
		return;
	f = flow_of(broker, call->service);
	f->milli_budget = f->milli_budget + EARNS < SAVED ? f->milli_budget + EARNS : SAVED;
}

void mirror_flow_waits(struct sim *sim, struct sim_broker *broker, struct mirror_call *call)
{
	call->target_ms = target_ms(sim, flow_of(broker, call->service), call->service);
	call->patience_ms = patience_ms(sim, flow_of(broker, call->service), call->service);
}

void mirror_flow_refused(struct sim *sim, struct sim_broker *broker, const struct mirror_call *call,
	const Pirn__Item *item, unsigned waiting, uint64_t bytes)
{
	const Pirn__Manifest *m = &sim->manifests[call->service];
	uint64_t most = conf_of(sim, call->service)->bytes;

	(void)broker;
	if (item->reason != PIRN__REASON__QUEUE_FULL)
		return;
	SIM_CHECK(sim,
		(m->queue_items > 0 && waiting >= m->queue_items) || (most > 0 && bytes > most),
		"QUEUE_FULL of %s, where %u wait with %llu bytes", sim_services[call->service],
		waiting, (unsigned long long)bytes);
	SIM_CHECK(sim, item->retry_after_ms > 0, "QUEUE_FULL without a Retry-After");
}

/* ---- going ---------------------------------------------------------------------------- */

/* Its worker failed it: then to another one, where one has a place. */
static void check_shunned(struct sim *sim, struct sim_broker *broker,
	const struct mirror_call *call, const struct sim_conn *conn)
{
	if (call->shunned != conn || call->shunned_peer != conn->peer)
		return;
	for (const struct sim_conn *c = sim->conns; c; c = c->next)
		SIM_CHECK(sim,
			c == conn || c->broker != broker || c->role != SIM_WORKER ||
				!c->member.role || c->shadow.handed_back ||
				!c->carries[call->service] ||
				c->shadow.out[call->service].until_ms > 0 ||
				c->shadow.out[call->service].dry_most_ms > sim->now_ms ||
				c->shadow.credit[call->service].granted <=
					c->shadow.credit[call->service].used,
			"a call goes back to the worker that failed it, though peer %u has a place",
			c->peer);
}

static void check_order(struct sim *sim, struct sim_broker *broker, const struct mirror_call *call)
{
	struct mirror_flow *f = flow_of(broker, call->service);
	uint64_t oldest = call->queued_ms, newest = call->queued_ms;

	for (const struct mirror_call *c = broker->mirror->calls; c; c = c->hh.next) {
		if (c->service != call->service || c->state != MIRROR_WAITS)
			continue;
		SIM_CHECK(sim, !c->returned, "a call goes before one that came back");
		oldest = c->queued_ms < oldest ? c->queued_ms : oldest;
		newest = larger(newest, c->queued_ms);
	}
	look_since(sim, f, call->service);
	SIM_CHECK(sim, call->queued_ms == oldest || call->queued_ms == newest,
		"a call goes first that is neither the oldest nor the newest");
	SIM_CHECK(sim, call->queued_ms == oldest || may_be_on(sim, f),
		"the newest call goes first, and %s is not overloaded",
		sim_services[call->service]);
	SIM_CHECK(sim, call->queued_ms == newest || !f->surely_on,
		"the oldest call goes first, and %s is overloaded", sim_services[call->service]);
}

static void restart_clocks(struct sim *sim, struct sim_broker *broker, int service)
{
	for (struct mirror_call *c = broker->mirror->calls; c; c = c->hh.next)
		if (c->service == service && c->state == MIRROR_WAITS)
			c->clock_ms = sim->now_ms;
}

void mirror_flow_dispatch(struct sim *sim, struct sim_broker *broker, struct mirror_call *call,
	const struct sim_conn *conn)
{
	struct mirror_flow *f = flow_of(broker, call->service);
	bool waited = call->state == MIRROR_WAITS;

	check_shunned(sim, broker, call, conn);
	if (waited && !call->returned)
		check_order(sim, broker, call);
	if (call->state == MIRROR_PENDING && call->end != MIRROR_UNRUN)
		mirror_flow_again(sim, broker, call);
	if (call->state == MIRROR_PENDING || call->returned)
		restart_clocks(sim, broker, call->service);
	if (call->state == MIRROR_PENDING ||
		(waited && sim->now_ms - call->queued_ms < patience_ms(sim, f, call->service)))
		f->since_ms = sim->now_ms;
}

void mirror_flow_again(struct sim *sim, struct sim_broker *broker, struct mirror_call *call)
{
	struct mirror_flow *f = flow_of(broker, call->service);
	const char *name = sim_services[call->service];

	SIM_CHECK(sim, call->idempotent, "a call of %s runs again and is not idempotent", name);
	SIM_CHECK(sim, call->end != MIRROR_ANSWERED || call->worth_it,
		"a call of %s runs again that was answered for good", name);
	SIM_CHECK(
		sim, call->runs < MIRROR_MAX_RUNS, "a call of %s runs again after %u runs", name, call->runs);
	SIM_CHECK(sim, !call->honest || call->deadline_ms > sim->now_ms,
		"a call of %s runs again after its deadline", name);
	SIM_CHECK(sim, !mirror_is_open(&broker->mirror->guards[call->service]),
		"a call of %s runs again, and the breaker is open", name);
	SIM_CHECK(sim, f->milli_budget >= 1000, "%s runs calls again beyond its budget", name);
	f->milli_budget -= 1000;
	sim->seen.again++;
}

/* An overload that goes on: its limit may be less than the mean of the runs. */
static bool goes_on(const struct sim *sim, const struct mirror_flow *f)
{
	return f->shed_ms > 0 && f->shed_ms + INTERVALS * f->interval_most + 1 >= sim->now_ms;
}

/* OVERLOADED, and it had waited. */
void mirror_flow_given_up(struct sim *sim, struct sim_broker *broker, struct mirror_call *call)
{
	struct mirror_flow *f = flow_of(broker, call->service);
	uint64_t waited = sim->now_ms - call->queued_ms;
	uint32_t age = conf_of(sim, call->service)->age_ms;
	uint32_t least = conf_of(sim, call->service)->target_ms;
	const char *name = sim_services[call->service];

	look_since(sim, f, call->service);
	if (age > 0 && waited >= age) {
		f->shed_ms = sim->now_ms; /* an overload that goes on counts them */
		return;
	}
	SIM_CHECK(sim, !call->returned, "a call of %s is given up that came back from a worker",
		name);
	SIM_CHECK(sim, waited >= (least ? least : TARGET_MS),
		"a call of %s is given up after %llu ms", name, (unsigned long long)waited);
	SIM_CHECK(sim, waited >= target_ms(sim, f, call->service) || goes_on(sim, f),
		"a call of %s is given up after %llu ms, and may wait for %llu", name,
		(unsigned long long)waited, (unsigned long long)target_ms(sim, f, call->service));
	SIM_CHECK(
		sim, may_be_on(sim, f), "a call of %s is given up, and it is not overloaded", name);
	f->shed_ms = sim->now_ms;
	f->surely_on = true;
	sim->seen.given_up++;
}

/* ---- the end of an input -------------------------------------------------------------------- */

struct queue {
	unsigned n;
	uint64_t newest_ms, bytes;
};

static struct queue look(const struct sim_mirror *mirror, int service)
{
	struct queue q = { 0, 0, 0 };

	for (const struct mirror_call *c = mirror->calls; c; c = c->hh.next) {
		if (c->service != service || c->state != MIRROR_WAITS)
			continue;
		q.n++;
		q.bytes += c->size;
		if (!c->returned)
			q.newest_ms = larger(q.newest_ms, c->queued_ms);
	}
	return q;
}

/* One that has granted nothing yet has only just come. */
static bool has_workers(const struct sim *sim, const struct sim_broker *broker, int service)
{
	for (const struct sim_conn *c = sim->conns; c; c = c->next)
		if (c->broker == broker && c->role == SIM_WORKER && c->member.role &&
			!c->shadow.handed_back && c->carries[service] &&
			c->shadow.credit[service].ever && c->shadow.out[service].until_ms == 0)
			return true;
	return false;
}

/* In order of arrival nobody waits for longer than the patience and an interval after it, without
 * the service being found overloaded and him being given up; but the newest, and who came
 * back. (Others that come back may go before him, and be quick: his time begins anew.) */
static void check_wait(struct sim *sim, struct sim_broker *broker, struct mirror_call *call,
	const struct queue *q, bool workers)
{
	uint64_t interval = interval_for(sim, call->service, call->target_ms);

	if (!workers || call->queued_ms == q->newest_ms)
		call->clock_ms = sim->now_ms;
	if (broker->mirror->late_ms > call->clock_ms)
		call->clock_ms = broker->mirror->late_ms;
	if (broker->mirror->cause.kind != SIM_IN_TICK || call->returned ||
		call->clock_ms > sim->now_ms)
		return;
	SIM_CHECK(sim, sim->now_ms - call->clock_ms <= call->patience_ms + interval + 1,
		"a call has waited for %s for %llu ms, %llu of them for no reason: %llu + %llu are allowed",
		sim_services[call->service], (unsigned long long)(sim->now_ms - call->queued_ms),
		(unsigned long long)(sim->now_ms - call->clock_ms),
		(unsigned long long)call->patience_ms, (unsigned long long)interval);
	SIM_CHECK(sim,
		conf_of(sim, call->service)->age_ms == 0 ||
			!broker->mirror->announced[call->service] ||
			sim->now_ms - call->queued_ms < conf_of(sim, call->service)->age_ms,
		"a call has waited for %s for %llu ms and is older than it may be",
		sim_services[call->service], (unsigned long long)(sim->now_ms - call->queued_ms));
}

static void check_service(struct sim *sim, struct sim_broker *broker, int service)
{
	struct mirror_flow *f = flow_of(broker, service);
	const Pirn__Manifest *m = &sim->manifests[service];
	bool knows = broker->mirror->announced[service]; /* otherwise it goes by the defaults */
	struct queue q = look(broker->mirror, service);
	bool workers = has_workers(sim, broker, service);
	bool had = f->workers;

	f->workers = workers;
	note_interval(sim, f, service);
	SIM_CHECK(sim, !f->came || !knows || m->queue_items == 0 || q.n <= m->queue_items,
		"%u calls wait for %s, which takes %u", q.n, m->service, m->queue_items);
	SIM_CHECK(sim,
		!f->came || !knows || conf_of(sim, service)->bytes == 0 ||
			q.bytes <= conf_of(sim, service)->bytes,
		"%llu bytes wait for %s", (unsigned long long)q.bytes, m->service);
	f->came = false;
	if (q.n == 0) {
		f->since_ms = sim->now_ms;
		return;
	}
	look_since(sim, f, service);
	for (struct mirror_call *c = broker->mirror->calls; c; c = c->hh.next)
		if (c->service == service && c->state == MIRROR_WAITS)
			check_wait(sim, broker, c, &q, workers && had);
}

void mirror_flow_after(struct sim *sim, struct sim_broker *broker)
{
	for (int s = 0; s < SIM_SERVICES; s++)
		check_service(sim, broker, s);
}
