/* Breakers and ejections, as breaker.h, base/breaker.h and eject.h want them. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/mirror.h"

#define EXPECT(state) (1u << (state))

#define EJECT_FAILURES  5
#define EJECT_MS        10000
#define PROBE_MARGIN_MS 5000
#define DRY_LEAST_MS    250
#define DRY_MOST_MS     750

void mirror_guard_init(struct mirror_guard *g)
{
	free(g->window);
	*g = (struct mirror_guard){ .generation = 1 };
}

static const Pirn__BreakerConf *conf_of(const struct sim *sim, int service)
{
	return sim->manifests[service].breaker;
}

static struct mirror_guard *guard_of(const struct sim_broker *broker, int service)
{
	return &broker->mirror->guards[service];
}

bool mirror_is_open(const struct mirror_guard *g)
{
	if (g->force)
		return g->force == PIRN__BREAKER_FORCE__FORCED_OPEN;
	return g->state == BASE_BREAKER_OPEN;
}

/* ---- verdicts ------------------------------------------------------------------ */

static bool is_slow(const struct sim *sim, const struct mirror_run *run)
{
	const Pirn__Manifest *m = &sim->manifests[run->service];

	return (sim->now_ms - run->began_ms) * 100 >
		       (uint64_t)m->timeout_ms * m->breaker->slow_percent &&
	       m->breaker->slow_percent > 0;
}

/* The broker did not run itself meanwhile: then nobody knows whose fault it is. */
bool mirror_is_late(const struct sim *sim, const struct mirror_run *run)
{
	const struct sim_broker *broker =
		run->conn->broker ? run->conn->broker : &sim->brokers[run->conn->broker_index];

	return run->began_ms < broker->mirror->woke_ms;
}

/* Its caller gave it less time than a slow run takes, and of that a fifth was left at most. */
static bool was_hurried(const struct sim *sim, const struct mirror_run *run)
{
	uint64_t given_ms = run->deadline_ms - run->began_ms;

	return given_ms * 100 <= sim->manifests[run->service].timeout_ms * UINT64_C(80) &&
	       (sim->now_ms - run->began_ms) * 100 >= given_ms * 80;
}

static enum base_breaker_end verdict_of_status(
	const struct sim *sim, const struct mirror_run *run, uint32_t status)
{
	if (status >= 500 || status == 408 || status == 425 || status == 429)
		return was_hurried(sim, run) ? BASE_BREAKER_UNKNOWN : BASE_BREAKER_FAILED;
	return is_slow(sim, run) && !mirror_is_late(sim, run) ? BASE_BREAKER_FAILED
							      : BASE_BREAKER_OK;
}

/* What ended for other reasons than the service's is not counted. */
enum base_breaker_end mirror_verdict(
	const struct sim *sim, const struct mirror_run *run, uint32_t reason, uint32_t status)
{
	if (run->service < 0)
		return BASE_BREAKER_UNKNOWN;
	switch (reason) {
	case PIRN__REASON__NONE:
		return verdict_of_status(sim, run, status);
	case PIRN__REASON__DEADLINE:
		if (mirror_is_late(sim, run))
			return BASE_BREAKER_UNKNOWN;
		return is_slow(sim, run) || sim->now_ms - run->began_ms >=
						    sim->manifests[run->service].timeout_ms
			       ? BASE_BREAKER_FAILED
			       : BASE_BREAKER_UNKNOWN;
	case PIRN__REASON__MALFORMED:
	case PIRN__REASON__CANCELLED:
	case PIRN__REASON__LEASE:
	case PIRN__REASON__DRAINING:
	case PIRN__REASON__NO_WORKER:
		return BASE_BREAKER_UNKNOWN;
	default:
		return BASE_BREAKER_FAILED;
	}
}

/* ---- the breaker ----------------------------------------------------------------- */

static void enter(struct mirror_guard *g, enum base_breaker_state state)
{
	g->state = state;
	g->generation++;
	g->in_row = 0;
	g->n_window = 0;
}

static uint64_t length_of(const Pirn__BreakerConf *conf, uint32_t openings)
{
	uint64_t most = conf->open_max_ms > conf->open_ms ? conf->open_max_ms : conf->open_ms;
	uint64_t ms = conf->open_ms;

	while (--openings > 0 && ms < most)
		ms *= 2;
	return ms < most ? ms : most;
}

static void open_it(struct sim *sim, struct mirror_guard *g, int service)
{
	const Pirn__BreakerConf *conf = conf_of(sim, service);
	uint64_t least, most;

	g->openings_least++;
	g->openings_most++;
	least = length_of(conf, g->openings_least);
	most = length_of(conf, g->openings_most);
	g->until_least = sim->now_ms + least - least / 10;
	g->until_most = sim->now_ms + most - most / 10 + most / 5;
	g->expected |= EXPECT(BASE_BREAKER_OPEN);
	sim->seen.opened++;
	g->to_publish = true;
	sim_trace(sim, "%s should open", sim_services[service]);
	enter(g, BASE_BREAKER_OPEN);
}

static void close_it(struct mirror_guard *g)
{
	g->openings_least = g->openings_most = 0;
	enter(g, BASE_BREAKER_CLOSED);
}

static void remember(struct mirror_guard *g, uint64_t now_ms, bool ok)
{
	if (g->n_window == g->window_room) {
		g->window_room = g->window_room ? 2 * g->window_room : 64;
		g->window = realloc(g->window, g->window_room * sizeof *g->window);
	}
	g->window[g->n_window++] = (struct mirror_verdict){ now_ms, ok };
}

/* In tenths of the window, as the real one counts. */
static bool is_too_much(
	const struct mirror_guard *g, const Pirn__BreakerConf *conf, uint64_t now_ms)
{
	uint64_t width = conf->window_ms / 10 ? conf->window_ms / 10 : 1, n = 0, failed = 0;

	if (conf->consecutive > 0 && g->in_row >= conf->consecutive)
		return true;
	for (size_t i = 0; i < g->n_window; i++) {
		if (g->window[i].at_ms / width + 10 <= now_ms / width)
			continue;
		n++;
		failed += !g->window[i].ok;
	}
	return n >= conf->calls && failed * 100 >= n * conf->failure_percent;
}

static void give_probe(
	struct sim *sim, struct mirror_guard *g, int service, enum base_breaker_end end)
{
	if (end == BASE_BREAKER_FAILED) {
		open_it(sim, g, service);
	} else if (end == BASE_BREAKER_OK && ++g->in_row >= conf_of(sim, service)->successes) {
		close_it(g);
		g->expected |= EXPECT(BASE_BREAKER_CLOSED);
		sim->seen.closed++;
		sim_trace(sim, "%s should close", sim_services[service]);
	}
}

static void give(struct sim *sim, struct mirror_guard *g, const struct mirror_run *run,
	enum base_breaker_end end)
{
	if (run->pass != g->generation || g->force)
		return;
	if (g->state == BASE_BREAKER_HALF_OPEN) {
		if (sim->now_ms >=
			run->began_ms + sim->manifests[run->service].timeout_ms + PROBE_MARGIN_MS)
			end = BASE_BREAKER_FAILED; /* its lease was over */
		give_probe(sim, g, run->service, end);
		return;
	}
	if (end == BASE_BREAKER_UNKNOWN)
		return;
	g->in_row = end == BASE_BREAKER_OK ? 0 : g->in_row + 1;
	remember(g, sim->now_ms, end == BASE_BREAKER_OK);
	if (end == BASE_BREAKER_FAILED && is_too_much(g, conf_of(sim, run->service), sim->now_ms))
		open_it(sim, g, run->service);
}

/* ---- ejection ---------------------------------------------------------------------- */

static bool is_worker(const struct sim_broker *broker, const struct sim_conn *c, int service)
{
	return c->broker == broker && c->role == SIM_WORKER && c->shadow.joined && c->member.role &&
	       !c->shadow.handed_back && c->carries[service];
}

static void count_workers(const struct sim *sim, const struct sim_broker *broker, int service,
	unsigned *workers, unsigned *out)
{
	*workers = *out = 0;
	for (const struct sim_conn *c = sim->conns; c; c = c->next) {
		if (!is_worker(broker, c, service))
			continue;
		*workers += 1;
		*out += c->shadow.out[service].until_ms > 0;
	}
}

static bool may_eject(const struct sim *sim, const struct sim_broker *broker,
	const struct sim_conn *conn, int service)
{
	unsigned workers, out;

	count_workers(sim, broker, service, &workers, &out);
	return is_worker(broker, conn, service) && (out + 1) * 2 <= workers;
}

/* True: it is the worker's matter alone. */
static bool eject_ran(struct sim *sim, struct sim_broker *broker, const struct mirror_run *run,
	enum base_breaker_end end)
{
	struct sim_out *out = &run->conn->shadow.out[run->service];

	if (out->until_ms > 0)
		return true;
	if (end == BASE_BREAKER_OK)
		out->failures = 0;
	if (end != BASE_BREAKER_FAILED)
		return false;
	out->failures++;
	if (out->failures < EJECT_FAILURES || !may_eject(sim, broker, run->conn, run->service))
		return false;
	out->until_ms = sim->now_ms + EJECT_MS;
	out->to_tell = true;
	out->dry_least_ms = out->dry_most_ms = 0;
	return true;
}

/* ---- droughts ------------------------------------------------------------------------ */

bool mirror_is_dry(const Pirn__Item *result, uint32_t reason)
{
	uint32_t status = result->status;

	return result->flags & PIRN__ITEM_FLAG__NO_STATE &&
	       (reason != PIRN__REASON__NONE || status >= 500 || status == 408 || status == 425 ||
		       status == 429);
}

/* While it may be dry already nobody knows whether this begins it anew. */
void mirror_guard_dry(struct sim *sim, struct sim_broker *broker, const struct mirror_run *run)
{
	struct sim_out *out = &run->conn->shadow.out[run->service];

	if (out->until_ms > 0 || !is_worker(broker, run->conn, run->service))
		return;
	if (sim->now_ms >= out->dry_most_ms)
		out->dry_least_ms = sim->now_ms + DRY_LEAST_MS;
	out->dry_most_ms = sim->now_ms + DRY_MOST_MS;
	sim->seen.dry++;
}

/* Events do not go to a dry worker; calls do only when all are. */
static void check_dry(
	struct sim *sim, const struct sim_broker *broker, const struct mirror_run *run)
{
	const char *name = sim_services[run->service];

	if (sim->now_ms >= run->conn->shadow.out[run->service].dry_least_ms)
		return;
	SIM_CHECK(sim, run->call, "an event of %s goes to a worker without Redis", name);
	for (const struct sim_conn *c = sim->conns; c; c = c->next)
		SIM_CHECK(sim,
			!is_worker(broker, c, run->service) ||
				c->shadow.out[run->service].until_ms > 0 ||
				c->shadow.out[run->service].dry_most_ms > sim->now_ms ||
				(broker->mirror->woke_ms ==
						sim->now_ms && /* its tick is behind this */
					c->shadow.out[run->service].dry_most_ms > 0),
			"a call of %s goes to a worker without Redis, and not to peer %u", name,
			c->peer);
}

void mirror_guard_ran(struct sim *sim, struct sim_broker *broker, const struct mirror_run *run,
	enum base_breaker_end end)
{
	struct mirror_guard *g = guard_of(broker, run->service);

	if (eject_ran(sim, broker, run, end))
		end = BASE_BREAKER_UNKNOWN;
	give(sim, g, run, end);
}

/* "peer-7 of alpha" */
static struct sim_out *out_of(
	struct sim *sim, const struct sim_broker *broker, const char *text, int *service)
{
	const char *of = strstr(text, " of ");
	unsigned long peer = strncmp(text, "peer-", 5) == 0 ? strtoul(text + 5, NULL, 10) : 0;

	*service = of ? sim_service(of + 4) : -1;
	for (struct sim_conn *c = sim->conns; c && *service >= 0; c = c->next)
		if (c->broker == broker && c->peer == peer)
			return &c->shadow.out[*service];
	return NULL;
}

static void ejected(struct sim *sim, struct sim_broker *broker, const char *text, uint64_t ms)
{
	int service;
	struct sim_out *out = out_of(sim, broker, text, &service);

	if (service < 0)
		return;
	SIM_CHECK(sim, out && out->to_tell, "%s is ejected for no reason", text);
	SIM_CHECK(sim, ms >= EJECT_MS && ms % EJECT_MS == 0 && ms <= 30 * EJECT_MS,
		"%s is ejected for %llu ms", text, (unsigned long long)ms);
	out->to_tell = false;
	out->dry_least_ms = out->dry_most_ms = 0;
	sim->seen.ejected++;
	out->until_ms = sim->now_ms + ms;
}

/* When its time is over, or when there would be too many out. */
static void readmitted(struct sim *sim, struct sim_broker *broker, const char *text)
{
	int service;
	struct sim_out *out = out_of(sim, broker, text, &service);
	unsigned workers, n_out;

	if (service < 0 || !out)
		return;
	count_workers(sim, broker, service, &workers, &n_out);
	SIM_CHECK(sim, out->until_ms > 0 && (sim->now_ms >= out->until_ms || n_out * 2 > workers),
		"%s is readmitted too early", text);
	out->until_ms = 0;
	out->failures = 0;
}

/* ---- dispatches and refusals ---------------------------------------------------------- */

static unsigned probing(const struct sim_broker *broker, int service)
{
	const struct mirror_guard *g = guard_of(broker, service);
	unsigned n = 0;

	for (const struct mirror_run *r = broker->mirror->runs; r; r = r->hh.next)
		n += r->service == service && r->pass == g->generation;
	return n;
}

void mirror_guard_dispatch(struct sim *sim, struct sim_broker *broker, struct mirror_run *run)
{
	const struct mirror_guard *g = guard_of(broker, run->service);
	const char *name = sim_services[run->service];

	SIM_CHECK(sim, !mirror_is_open(g), "DISPATCH of %s, whose breaker is open", name);
	SIM_CHECK(sim,
		g->force || g->state != BASE_BREAKER_HALF_OPEN ||
			probing(broker, run->service) < conf_of(sim, run->service)->probes,
		"DISPATCH of %s beyond the probes", name);
	SIM_CHECK(sim, run->conn->shadow.out[run->service].until_ms == 0,
		"DISPATCH of %s to an ejected worker", name);
	check_dry(sim, broker, run);
	run->pass = g->generation;
}

void mirror_guard_refused(struct sim *sim, struct sim_broker *broker, int service,
	const Pirn__Item *item, unsigned waiting)
{
	const struct mirror_guard *g = guard_of(broker, service);
	const char *name = sim_services[service];
	bool open = mirror_is_open(g);

	SIM_CHECK(sim,
		open || (!g->force && g->state == BASE_BREAKER_HALF_OPEN && waiting != UINT32_MAX),
		"BREAKER_OPEN of %s, whose breaker is not", name);
	SIM_CHECK(sim, open || probing(broker, service) + waiting >= conf_of(sim, service)->probes,
		"BREAKER_OPEN of %s, which has room for a probe", name);
	SIM_CHECK(sim,
		(item->reason == PIRN__REASON__BREAKER_FORCED) ==
			(g->force == PIRN__BREAKER_FORCE__FORCED_OPEN),
		"BREAKER_OPEN of %s, and somebody has forced it, or not", name);
	SIM_CHECK(sim, item->has_retry_after_ms && item->retry_after_ms > 0,
		"BREAKER_OPEN of %s without a Retry-After", name);
	SIM_CHECK(sim,
		!open || g->force ||
			(sim->now_ms + item->retry_after_ms >= g->until_least &&
				sim->now_ms + item->retry_after_ms <= g->until_most),
		"Retry-After of %s is not when it probes", name);
}

/* ---- what it says ----------------------------------------------------------------------- */

static bool entry_opens(const struct sim_broker *broker, int service)
{
	const struct sim_cause *cause = &broker->mirror->cause;

	return cause->kind == SIM_IN_ENTRY && cause->entry->breaker &&
	       sim_service(cause->entry->manifest->service) == service &&
	       cause->entry->breaker->has_opened_ms;
}

/* A probe whose lease is over, and nobody has told of its end: it counts as failed. */
static bool probe_is_lost(const struct sim *sim, const struct sim_broker *broker, int service)
{
	const struct mirror_guard *g = &broker->mirror->guards[service];
	uint64_t lease = sim->manifests[service].timeout_ms + PROBE_MARGIN_MS;

	for (const struct mirror_run *r = broker->mirror->runs; r; r = r->hh.next)
		if (g->state == BASE_BREAKER_HALF_OPEN && !g->force && r->service == service &&
			r->pass == g->generation && sim->now_ms >= r->began_ms + lease)
			return true;
	return false;
}

/* By ourselves, or because another broker did. */
static void opened(struct sim *sim, struct sim_broker *broker, int service, uint64_t ms)
{
	struct mirror_guard *g = guard_of(broker, service);
	const Pirn__BreakerNote *note;
	uint32_t openings;

	if (!g->expected && probe_is_lost(sim, broker, service))
		open_it(sim, g, service);
	if (g->expected & EXPECT(BASE_BREAKER_OPEN)) {
		SIM_CHECK(sim,
			sim->now_ms + ms >= g->until_least && sim->now_ms + ms <= g->until_most,
			"%s opens for %llu ms", sim_services[service], (unsigned long long)ms);
		g->expected &= ~EXPECT(BASE_BREAKER_OPEN);
		g->until_least = g->until_most = sim->now_ms + ms;
		return;
	}
	SIM_CHECK(sim, entry_opens(broker, service) && !g->force, "%s opens for no reason",
		sim_services[service]);
	note = broker->mirror->cause.entry->breaker;
	SIM_CHECK(sim, ms > 0 && ms <= note->open_ms, "%s opens for longer than it did elsewhere",
		sim_services[service]);
	sim->seen.adopted++;
	openings = note->openings ? note->openings : 1;
	g->openings_least = openings > g->openings_least ? openings : g->openings_least;
	g->openings_most = openings > g->openings_most ? openings : g->openings_most;
	enter(g, BASE_BREAKER_OPEN);
	g->until_least = g->until_most = sim->now_ms + ms;
}

static void half_opened(struct sim *sim, struct sim_broker *broker, int service)
{
	struct mirror_guard *g = guard_of(broker, service);

	SIM_CHECK(sim, !g->force && g->state == BASE_BREAKER_OPEN && sim->now_ms >= g->until_least,
		"%s probes too early", sim_services[service]);
	enter(g, BASE_BREAKER_HALF_OPEN);
}

static void closed(struct sim *sim, struct sim_broker *broker, int service)
{
	struct mirror_guard *g = guard_of(broker, service);

	SIM_CHECK(sim, g->expected & EXPECT(BASE_BREAKER_CLOSED), "%s closes for no reason",
		sim_services[service]);
	g->expected &= ~EXPECT(BASE_BREAKER_CLOSED);
}

static void forced(struct sim *sim, struct sim_broker *broker, int service, uint32_t force)
{
	struct mirror_guard *g = guard_of(broker, service);
	const struct sim_mirror *mirror = broker->mirror;
	const Pirn__Entry *entry = mirror->cause.entry;
	bool told = entry && entry->breaker && entry->breaker->force == force &&
		    sim_service(entry->manifest->service) == service;

	SIM_CHECK(
		sim, !told || g->to_force, "%s is forced as it was before", sim_services[service]);
	SIM_CHECK(sim, told || (mirror->set_service == service && mirror->set_force == force),
		"%s is forced by nobody", sim_services[service]);
	g->to_publish |= !told;
	g->force = force;
	close_it(g);
}

void mirror_guard_log(struct sim *sim, struct sim_broker *broker, const struct brk_action *a)
{
	int service = a->log_text ? sim_service(a->log_text) : -1;

	if (strcmp(a->log_id, "worker_ejected") == 0)
		ejected(sim, broker, a->log_text, a->log_number);
	if (strcmp(a->log_id, "worker_readmitted") == 0)
		readmitted(sim, broker, a->log_text);
	if (service < 0)
		return;
	if (strcmp(a->log_id, "breaker_opened") == 0)
		opened(sim, broker, service, a->log_number);
	if (strcmp(a->log_id, "breaker_half_open") == 0)
		half_opened(sim, broker, service);
	if (strcmp(a->log_id, "breaker_closed") == 0)
		closed(sim, broker, service);
	if (strcmp(a->log_id, "breaker_forced") == 0)
		forced(sim, broker, service, (uint32_t)a->log_number);
	if (strcmp(a->log_id, "service_known") == 0)
		broker->mirror->known[service] = true;
	if (strcmp(a->log_id, "service_forgotten") == 0) {
		broker->mirror->known[service] = false;
		broker->mirror->announced[service] = false;
		mirror_guard_init(guard_of(broker, service));
		mirror_flow_init(sim, &broker->mirror->flows[service]);
	}
}

/* ---- the registry -------------------------------------------------------------------------- */

/* Of two words of the same millisecond the greater one is the last, whichever came first. */
static bool is_later_force(const struct mirror_guard *g, const Pirn__BreakerNote *note)
{
	return note->has_force_ms &&
	       (note->force_ms > g->force_ms ||
		       (note->force_ms == g->force_ms && note->force > g->force));
}

static void note_times(struct mirror_guard *g, const Pirn__BreakerNote *note)
{
	if (note->force_ms > g->force_ms)
		g->force_ms = note->force_ms;
	if (note->opened_ms > g->opened_ms)
		g->opened_ms = note->opened_ms;
}

/* An opening of its own is in the entry at once, with all that the others need of it. */
void mirror_guard_kept(struct sim *sim, struct sim_broker *broker, const Pirn__Entry *entry)
{
	int service = sim_service(entry->manifest->service);
	const Pirn__BreakerNote *note = entry->breaker;
	struct mirror_guard *g;

	if (service < 0 || !note)
		return;
	g = guard_of(broker, service);
	if (g->to_publish && g->state == BASE_BREAKER_OPEN)
		SIM_CHECK(sim,
			note->opened_ms > g->opened_ms &&
				sim->now_ms + note->open_ms >= g->until_least &&
				sim->now_ms + note->open_ms <= g->until_most &&
				note->openings >= g->openings_least &&
				note->openings <= g->openings_most,
			"the opening of %s is noted wrongly", sim_services[service]);
	else if (g->to_publish)
		SIM_CHECK(sim, note->force == g->force && note->force_ms > g->force_ms,
			"the force of %s is noted wrongly", sim_services[service]);
	g->to_publish = false;
	note_times(g, note);
}

/* Before the core sees it: what of it is news. */
void mirror_guard_entry(struct sim *sim, struct sim_broker *broker, const Pirn__Entry *entry)
{
	int service = sim_service(entry->manifest->service);
	const Pirn__BreakerNote *note = entry->breaker;
	struct mirror_guard *g;

	(void)sim;
	if (service < 0 || !note)
		return;
	g = guard_of(broker, service);
	g->to_force = is_later_force(g, note);
	g->to_adopt = note->has_opened_ms && note->opened_ms > g->opened_ms;
	note_times(g, note);
}

/* News must be followed. */
static void check_entry(struct sim *sim, struct sim_broker *broker, const Pirn__Entry *entry)
{
	int service = sim_service(entry->manifest->service);
	const Pirn__BreakerNote *note = entry->breaker;
	struct mirror_guard *g;
	bool adopts;

	if (service < 0 || !note)
		return;
	g = guard_of(broker, service);
	SIM_CHECK(sim, !g->to_force || g->force == note->force,
		"%s is not forced as another broker's is", sim_services[service]);
	adopts = g->to_adopt && !g->force && note->opened_ms > g->force_ms;
	g->to_force = g->to_adopt = false;
	if (!adopts)
		return;
	SIM_CHECK(sim,
		note->opened_ms + note->open_ms <= sim_server_now(sim) ||
			g->state == BASE_BREAKER_OPEN,
		"%s does not open though another broker's did", sim_services[service]);
	if (g->state != BASE_BREAKER_OPEN)
		return;
	if (sim->now_ms + note->open_ms > g->until_most)
		g->until_most = sim->now_ms + note->open_ms;
	if (note->openings > g->openings_most)
		g->openings_most = note->openings;
}

/* ---- the end of an input ---------------------------------------------------------------------- */

static void check_service(struct sim *sim, struct sim_broker *broker, int service)
{
	struct mirror_guard *g = guard_of(broker, service);
	const char *name = sim_services[service];

	SIM_CHECK(sim, !(g->expected & EXPECT(BASE_BREAKER_OPEN)), "%s should have opened", name);
	SIM_CHECK(sim, !(g->expected & EXPECT(BASE_BREAKER_CLOSED)), "%s should have closed", name);
	SIM_CHECK(sim, !g->to_publish, "nobody is told of the breaker of %s", name);
	SIM_CHECK(sim,
		broker->mirror->cause.kind != SIM_IN_TICK || g->force ||
			g->state != BASE_BREAKER_OPEN || sim->now_ms < g->until_most,
		"%s does not probe in time", name);
	for (const struct mirror_call *c = broker->mirror->calls; c && mirror_is_open(g);
		c = c->hh.next)
		SIM_CHECK(sim, c->service != service || c->state != MIRROR_WAITS,
			"a call waits for %s, whose breaker is open", name);
}

static void check_out(
	struct sim *sim, const struct sim_broker *broker, const struct sim_conn *c, int service)
{
	const struct sim_out *out = &c->shadow.out[service];
	unsigned workers, n_out;

	SIM_CHECK(sim, !out->to_tell, "peer %u should have been ejected from %s", c->peer,
		sim_services[service]);
	if (out->until_ms == 0)
		return;
	SIM_CHECK(sim, broker->mirror->cause.kind != SIM_IN_TICK || out->until_ms > sim->now_ms,
		"peer %u is ejected from %s for too long", c->peer, sim_services[service]);
	count_workers(sim, broker, service, &workers, &n_out);
	SIM_CHECK(sim, n_out * 2 <= workers, "%u of %u workers of %s are ejected", n_out, workers,
		sim_services[service]);
}

void mirror_guard_after(struct sim *sim, struct sim_broker *broker)
{
	const struct sim_mirror *mirror = broker->mirror;

	if (mirror->cause.kind == SIM_IN_ENTRY)
		check_entry(sim, broker, mirror->cause.entry);
	if (mirror->set_service >= 0 && mirror->known[mirror->set_service])
		SIM_CHECK(sim, guard_of(broker, mirror->set_service)->force == mirror->set_force,
			"%s is not forced as it was asked", sim_services[mirror->set_service]);
	for (int s = 0; s < SIM_SERVICES; s++)
		check_service(sim, broker, s);
	for (const struct sim_conn *c = sim->conns; c; c = c->next)
		for (int s = 0; s < SIM_SERVICES && c->broker == broker; s++)
			check_out(sim, broker, c, s);
}

/* ---- questions ------------------------------------------------------------------------------------ */

static void check_answer(
	struct sim *sim, const struct sim_broker *broker, const Pirn__Breaker *breaker)
{
	int service = sim_service(breaker->service);
	const struct mirror_guard *g;
	unsigned workers, out;

	if (service < 0)
		return;
	g = guard_of(broker, service);
	SIM_CHECK(sim, breaker->state == g->state && breaker->force == g->force,
		"the breaker of %s is said to be %u and forced %u, and is %u and %u",
		breaker->service, breaker->state, breaker->force, g->state, g->force);
	SIM_CHECK(sim,
		breaker->state != BASE_BREAKER_HALF_OPEN ||
			breaker->probing == probing(broker, service),
		"%s is said to have %u probes, and has %u", breaker->service, breaker->probing,
		probing(broker, service));
	count_workers(sim, broker, service, &workers, &out);
	SIM_CHECK(sim, breaker->n_ejected == out, "%zu workers of %s are said to be ejected of %u",
		breaker->n_ejected, breaker->service, out);
}

void mirror_guard_answer(struct sim *sim, struct sim_broker *broker, const struct brk_action *a)
{
	Pirn__Answer *answer = pirn__answer__unpack(NULL, a->payload.data_size, a->payload.bytes);

	for (size_t i = 0; answer && i < answer->n_breakers; i++)
		check_answer(sim, broker, answer->breakers[i]);
	if (answer)
		pirn__answer__free_unpacked(answer, NULL);
}
