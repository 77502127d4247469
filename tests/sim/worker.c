/* A worker: shares its capacity for each service out over the brokers as credit,
 * moves it to those that report a backlog, runs what it is sent, and never has more
 * runs than capacity: that is what the broker's word about credit is worth to it.
 *
 * For every service: the sum over all sessions of (promised - finished), and the
 * runs of sessions that are over, is at most the capacity.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/sim.h"

static bool is_current(const struct sim_run *run)
{
	return run->conn->proc == run->proc && run->conn->phase == SIM_UP &&
	       run->conn->session == run->session;
}

/* ---- credit ----------------------------------------------------------------------- */

static uint64_t in_use(const struct sim *sim, const struct sim_proc *proc, unsigned service)
{
	uint64_t n = proc->occupied[service];

	for (unsigned b = 0; b < sim->n_brokers; b++) {
		const struct sim_conn *c = proc->conns[b];

		if (c && c->phase == SIM_UP)
			n += c->credit[service].promised - c->credit[service].finished;
	}
	return n;
}

static void add_credit(struct sim_message *m, const struct sim_conn *conn, unsigned service)
{
	struct sim_credit *credit = sim_message_credit(m, sim_services[service]);

	credit->pb.has_granted = true;
	credit->pb.granted = conn->credit[service].granted;
}

static void send_credit(struct sim *sim, struct sim_conn *conn, unsigned service)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__CREDIT);

	add_credit(m, conn, service);
	sim_send(sim, conn, TO_BROKER, m);
}

static bool is_hungry(const struct sim *sim, const struct sim_proc *proc, unsigned service)
{
	for (unsigned b = 0; b < sim->n_brokers; b++) {
		const struct sim_conn *c = proc->conns[b];

		if (c && c->phase == SIM_UP && c->credit[service].waiting > 0)
			return true;
	}
	return false;
}

/* One with a backlog first. When all of those still owe an answer, credit is kept for them:
 * given to another it would be taken back at once. */
static struct sim_conn *who_gets_credit(struct sim *sim, struct sim_proc *proc, unsigned service)
{
	unsigned first = (unsigned)sim_below(sim, sim->n_brokers);
	bool hungry = is_hungry(sim, proc, service);
	struct sim_conn *any = NULL;

	for (unsigned i = 0; i < sim->n_brokers; i++) {
		struct sim_conn *c = proc->conns[(first + i) % sim->n_brokers];

		if (!c || c->phase != SIM_UP || c->credit[service].retracting)
			continue;
		if (c->credit[service].waiting > 0)
			return c;
		any = c;
	}
	return hungry ? NULL : any;
}

static void grant(struct sim *sim, struct sim_proc *proc, unsigned service)
{
	struct sim_conn *conn;

	while (proc->alive && !proc->draining && proc->carries[service] &&
		in_use(sim, proc, service) < proc->capacity[service] &&
		(conn = who_gets_credit(sim, proc, service))) {
		conn->credit[service].granted++;
		conn->credit[service].promised = conn->credit[service].granted;
		send_credit(sim, conn, service);
	}
}

/* Until the broker has answered, what was granted may still be used. */
static void take_back(struct sim *sim, struct sim_conn *conn, unsigned service)
{
	uint64_t idle = conn->credit[service].granted - conn->credit[service].received;

	conn->credit[service].retracting = true;
	conn->credit[service].granted -= sim_between(sim, 1, idle);
	send_credit(sim, conn, service);
}

static void move_credit(struct sim *sim, struct sim_proc *proc, unsigned service)
{
	for (unsigned b = 0; b < sim->n_brokers; b++) {
		struct sim_conn *c = proc->conns[b];

		if (!c || c->phase != SIM_UP || c->credit[service].retracting)
			continue;
		if (c->credit[service].granted > c->credit[service].received &&
			c->credit[service].waiting == 0) {
			take_back(sim, c, service);
			return;
		}
	}
}

/* A backlog that was told of stays until the broker says that it is gone: it says so once. */
static void rebalance(struct sim *sim, struct sim_proc *proc, unsigned service)
{
	grant(sim, proc, service);
	if (!proc->draining && is_hungry(sim, proc, service))
		move_credit(sim, proc, service);
}

static void credit_message(struct sim *sim, struct sim_conn *conn, const Pirn__Credit *credit)
{
	int s = sim_service(credit->service);

	SIM_CHECK(sim, s >= 0, "credit for a service of nobody");
	SIM_CHECK(sim, credit->used == conn->credit[s].received,
		"the broker says it used %llu, %llu arrived", (unsigned long long)credit->used,
		(unsigned long long)conn->credit[s].received);
	conn->credit[s].waiting = credit->waiting;
	if (credit->lowered) {
		SIM_CHECK(sim,
			conn->credit[s].retracting && credit->granted == conn->credit[s].granted,
			"a wrong answer to less credit");
		conn->credit[s].retracting = false;
		if (credit->used > credit->granted)
			conn->credit[s].granted = credit->used;
		conn->credit[s].promised = conn->credit[s].granted;
	}
	rebalance(sim, conn->proc, (unsigned)s);
}

/* ---- runs ------------------------------------------------------------------------- */

/* In any of the ways in which a run may fail. */
static void fail(struct sim *sim, struct sim_item *item)
{
	static const uint32_t statuses[] = { 500, 502, 503, 504, 429, 408, 404 };
	static const uint32_t reasons[] = { PIRN__REASON__CRASHED, 99, PIRN__REASON__OVERLOADED,
		PIRN__REASON__DEADLINE, PIRN__REASON__TOO_LARGE };

	item->pb.status = statuses[sim_below(sim, sizeof statuses / sizeof *statuses)];
	if (sim->lenient) { /* all of them worth another run */
		item->pb.status = 503;
		return;
	}
	item->pb.has_reason = sim_chance(sim, 30);
	if (item->pb.has_reason)
		item->pb.reason = reasons[sim_below(sim, sizeof reasons / sizeof *reasons)];
	item->pb.has_retry_after_ms = sim_chance(sim, 20);
	item->pb.retry_after_ms = item->pb.has_retry_after_ms ? 300 : 0;
}

static void answer(struct sim *sim, struct sim_run *run)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__RESULT);
	uint8_t payload[16384];
	uint32_t size = run->known ? run->size : 0;
	bool fails = !run->event && !run->keyed &&
		     ((!sim->calm && sim_chance(sim, 5)) ||
			     sim_sick_fails(sim, run->proc, run->service));
	struct sim_item *item;

	if (run->known && !fails)
		sim_book_payload(run->number, size, true, payload);
	item = sim_message_item(m, payload, 0, fails ? 0 : size);
	item->pb.has_slot = item->pb.has_generation = item->pb.has_status = true;
	item->pb.slot = run->slot;
	item->pb.generation = run->generation;
	item->pb.status = 200;
	if (run->event || run->keyed)
		sim_run_fill(sim, run, item), sim_run_send(sim, run, m, item);
	else if (fails)
		fail(sim, item);
	else if (run->known)
		sim_run_send_of_call(sim, run->number, m, item);
	run->conn->credit[run->service].finished++;
	/* Half of the time the new credit rides on the result. */
	if (!run->proc->draining && !run->conn->credit[run->service].retracting &&
		sim_chance(sim, 50) &&
		in_use(sim, run->proc, run->service) < run->proc->capacity[run->service]) {
		run->conn->credit[run->service].granted++;
		run->conn->credit[run->service].promised = run->conn->credit[run->service].granted;
		add_credit(m, run->conn, run->service);
	}
	sim_send(sim, run->conn, TO_BROKER, m);
}

static void remove_run(struct sim *sim, struct sim_run *run)
{
	struct sim_proc *proc = run->proc;
	unsigned service = run->service;

	DL_DELETE(proc->runs, run);
	proc->running[service]--;
	free(run);
	rebalance(sim, proc, service);
	sim_worker_leave(sim, proc);
}

void sim_worker_end(struct sim *sim, struct sim_run *run)
{
	if (is_current(run))
		answer(sim, run);
	else
		run->proc->occupied[run->service]--;
	remove_run(sim, run);
}

/* number: the run's serial, by which it is found: it may have been forgotten meanwhile */
static void end_event(struct sim *sim, void *arg, uint64_t serial)
{
	struct sim_proc *proc = arg;
	struct sim_run *run;

	DL_SEARCH_SCALAR(proc->runs, run, serial, serial);
	if (!run)
		return;
	if (proc->paused_until > sim->now_ms) {
		sim_at(sim, proc->paused_until, end_event, proc, serial);
		return;
	}
	if (run->known)
		sim->calls[run->number].ran_to_end = true;
	sim_worker_end(sim, run);
}

static uint64_t duration(struct sim *sim)
{
	if (!sim->calm && sim_chance(sim, (unsigned)sim->slow_percent))
		return sim_between(sim, 100, 4000);
	return sim_below(sim, 20);
}

/* A liar's event is one without a book: it runs as a call does. */
static void begin_run(struct sim *sim, struct sim_run *run, const Pirn__Item *item)
{
	struct sim_call *call = sim_book_find(sim, item);
	uint32_t event;

	if ((item->flags & PIRN__ITEM_FLAG__EVENT) && sim_event_is(sim, item, &event) &&
		event < sim->n_events) {
		run->known = true;
		run->number = event;
		run->event = true;
		sim_run_begin(sim, run, item);
		return;
	}
	if ((item->flags & PIRN__ITEM_FLAG__RECORD) && item->has_id &&
		sim_keyed_is(sim, item->id.data, item->id.len, &event)) {
		run->known = run->keyed = true;
		run->number = event;
		sim_run_begin(sim, run, item);
		return;
	}
	if (call) {
		run->known = true;
		run->number = (uint32_t)(call - sim->calls);
		call->runs++;
	}
	sim_at(sim, sim->now_ms + duration(sim) + sim_sick_ms(sim, run->proc, run->service),
		end_event, run->proc, run->serial);
}

static void start_run(
	struct sim *sim, struct sim_conn *conn, unsigned service, const Pirn__Item *item)
{
	struct sim_proc *proc = conn->proc;
	struct sim_run *run = calloc(1, sizeof *run);

	run->proc = proc;
	run->conn = conn;
	run->session = conn->session;
	run->service = service;
	run->slot = item->slot;
	run->generation = item->generation;
	run->serial = ++sim->sessions;
	run->size = item->meta_size + item->data_size;
	DL_APPEND(proc->runs, run);
	proc->running[service]++;
	SIM_CHECK(sim, proc->running[service] <= proc->capacity[service],
		"%u runs of %s in worker %u, which takes %u", proc->running[service], item->service,
		proc->index, proc->capacity[service]);
	begin_run(sim, run, item);
}

static void hand_back(
	struct sim *sim, struct sim_conn *conn, unsigned service, const Pirn__Item *item)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__RESULT);
	struct sim_item *back = sim_message_item(m, NULL, 0, 0);

	conn->credit[service].finished++;
	back->pb.has_slot = back->pb.has_generation = back->pb.has_reason = true;
	back->pb.slot = item->slot;
	back->pb.generation = item->generation;
	back->pb.reason = PIRN__REASON__DRAINING;
	sim_send(sim, conn, TO_BROKER, m);
}

static void check_payload(struct sim *sim, const Pirn__Item *item, const uint8_t *payload)
{
	const struct sim_call *call = sim_book_find(sim, item);
	uint32_t size = item->meta_size + item->data_size, number, sent;
	uint8_t expected[16384];
	unsigned service;

	if (call) {
		number = (uint32_t)(call - sim->calls);
		sent = call->size;
		service = call->service;
	} else if (sim_event_is(sim, item, &number) && number < sim->n_events) {
		sent = sim->events[number].size;
		service = sim->events[number].service;
	} else {
		return;
	}
	SIM_CHECK(sim, size == sent, "a payload of %u bytes became %u", sent, size);
	SIM_CHECK(sim, strcmp(item->service, sim_services[service]) == 0,
		"an item to the wrong service");
	if (call)
		sim_book_payload(number, size, false, expected);
	else if (sim->events[number].tells > 0)
		return; /* its words were looked at */
	else
		sim_event_payload(sim, number, expected);
	SIM_CHECK(sim, size == 0 || memcmp(payload, expected, size) == 0,
		"a payload has changed on its way");
}

static void dispatched(
	struct sim *sim, struct sim_conn *conn, const Pirn__Item *item, const uint8_t *payload)
{
	int s = sim_service(item->service);

	SIM_CHECK(sim, s >= 0 && conn->proc->carries[s],
		"DISPATCH of a service that the worker does not carry");
	conn->credit[s].received++;
	check_payload(sim, item, payload);
	if (conn->proc->draining && sim_chance(sim, 60))
		hand_back(sim, conn, (unsigned)s, item);
	else
		start_run(sim, conn, (unsigned)s, item);
}

/* CANCEL may be followed or not: a result that comes all the same is stale. */
static void cancelled(struct sim *sim, struct sim_conn *conn, const Pirn__Item *item)
{
	struct sim_run *run, *next;

	DL_FOREACH_SAFE (conn->proc->runs, run, next) {
		if (run->conn != conn || run->slot != item->slot ||
			run->generation != item->generation)
			continue;
		if (!is_current(run) || sim_chance(sim, 50))
			return;
		conn->credit[run->service].finished++;
		remove_run(sim, run);
		return;
	}
}

void sim_worker_message(struct sim *sim, struct sim_conn *conn, struct sim_message *m)
{
	size_t offset = 0;

	for (size_t i = 0; i < m->n_credits; i++)
		credit_message(sim, conn, &m->credits[i].pb);
	for (size_t i = 0; i < m->n_items && conn->proc; i++) {
		const Pirn__Item *item = &m->items[i].pb;

		if (m->kind == PIRN__KIND__DISPATCH)
			dispatched(sim, conn, item, m->body + offset);
		else if (m->kind == PIRN__KIND__CANCEL)
			cancelled(sim, conn, item);
		else
			sim_fail(sim, "kind %u to a worker", m->kind);
		offset += (size_t)item->meta_size + item->data_size;
	}
}

/* ---- sessions ----------------------------------------------------------------------- */

void sim_worker_up(struct sim *sim, struct sim_conn *conn)
{
	for (unsigned s = 0; s < SIM_SERVICES; s++)
		grant(sim, conn->proc, s);
	if (conn->proc->draining) {
		conn->drain_sent = true;
		sim_send(sim, conn, TO_BROKER, sim_message_new(PIRN__KIND__DRAIN));
	}
}

/* Its runs go on, and occupy the worker, but nobody wants their results. */
void sim_worker_lost(struct sim *sim, struct sim_conn *conn)
{
	struct sim_proc *proc = conn->proc;
	struct sim_run *run;

	DL_FOREACH (proc->runs, run)
		if (is_current(run) && run->conn == conn)
			proc->occupied[run->service]++;
	conn->phase = SIM_DOWN;
	for (unsigned s = 0; s < SIM_SERVICES; s++)
		grant(sim, proc, s);
}

void sim_worker_die(struct sim *sim, struct sim_proc *proc)
{
	struct sim_run *run, *next;

	sim_link_drop(sim, proc);
	DL_FOREACH_SAFE (proc->runs, run, next) {
		DL_DELETE(proc->runs, run);
		free(run);
	}
	memset(proc->occupied, 0, sizeof proc->occupied);
	memset(proc->running, 0, sizeof proc->running);
}

void sim_worker_leave(struct sim *sim, struct sim_proc *proc)
{
	if (!proc->draining || !proc->alive || proc->runs)
		return;
	for (unsigned b = 0; b < sim->n_brokers; b++)
		if (proc->conns[b] && proc->conns[b]->phase == SIM_UP &&
			!proc->conns[b]->drain_answered)
			return;
	for (unsigned b = 0; b < sim->n_brokers; b++)
		if (proc->conns[b])
			sim_send(sim, proc->conns[b], TO_BROKER, sim_message_new(PIRN__KIND__BYE));
	sim_proc_kill(sim, proc);
}

static void give_up_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_proc *proc = arg;

	if (proc->alive && proc->life == life)
		sim_proc_kill(sim, proc);
}

void sim_worker_drain(struct sim *sim, struct sim_proc *proc)
{
	if (!proc->alive || proc->draining)
		return;
	sim_trace(sim, "worker %u drains", proc->index);
	proc->draining = true;
	for (unsigned b = 0; b < sim->n_brokers; b++) {
		struct sim_conn *c = proc->conns[b];

		if (!c || c->phase != SIM_UP)
			continue;
		c->drain_sent = true;
		sim_send(sim, c, TO_BROKER, sim_message_new(PIRN__KIND__DRAIN));
	}
	sim_at(sim, sim->now_ms + 5000, give_up_event, proc, proc->life);
}

/* ---- for the others ------------------------------------------------------------------- */

void sim_worker_retract(struct sim *sim, struct sim_proc *proc)
{
	unsigned s = (unsigned)sim_below(sim, SIM_SERVICES);

	move_credit(sim, proc, s);
}

bool sim_worker_find_run(struct sim *sim, uint32_t *slot, uint32_t *generation)
{
	unsigned first = (unsigned)sim_below(sim, SIM_PROCS);

	for (unsigned i = 0; i < SIM_PROCS; i++) {
		const struct sim_run *run = sim->procs[(first + i) % SIM_PROCS].runs;

		if (!run)
			continue;
		*slot = run->slot;
		*generation = run->generation;
		return true;
	}
	return false;
}
