/* What every peer does, whatever its role: it keeps one connection to each broker,
 * says HELLO, beats, notices silence, and starts anew when told to.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static bool is_paused(const struct sim *sim, const struct sim_proc *proc)
{
	return proc->paused_until > sim->now_ms;
}

/* ---- connecting ---------------------------------------------------------------- */

static void connect_event(struct sim *sim, void *arg, uint64_t number);

/* number: the life in which it was wanted, and the broker */
static void connect_later(struct sim *sim, struct sim_proc *proc, unsigned broker, uint64_t ms)
{
	sim_at(sim, sim->now_ms + ms, connect_event, proc, proc->life << 8 | broker);
}

static void connect_event(struct sim *sim, void *arg, uint64_t number)
{
	struct sim_proc *proc = arg;
	unsigned index = number & 0xff;
	struct sim_broker *broker = &sim->brokers[index];

	if (!proc->alive || proc->life != number >> 8 || proc->conns[index])
		return;
	if (!broker->core || is_paused(sim, proc)) {
		connect_later(sim, proc, index, sim_between(sim, 50, 300));
		return;
	}
	proc->conns[index] = sim_connect(sim, proc, broker);
	if (proc->role != SIM_LIAR)
		sim_proc_hello(sim, proc->conns[index]);
}

static void say_services(
	const struct sim *sim, const struct sim_proc *proc, struct sim_hello *hello)
{
	for (int s = 0; s < SIM_SERVICES; s++) {
		size_t i = hello->n_services;

		if (!proc->carries[s])
			continue;
		hello->manifests[i] = sim->manifests[s];
		hello->versions[i][0] = (char)('0' + proc->manifest_version % 10);
		hello->manifests[i].version = hello->versions[i];
		hello->n_services++;
	}
}

static uint32_t role_of(const struct sim_proc *proc)
{
	return proc->role == SIM_WORKER ? PIRN__ROLE__WORKER : PIRN__ROLE__CLIENT;
}

void sim_proc_hello(struct sim *sim, struct sim_conn *conn)
{
	struct sim_proc *proc = conn->proc;
	struct sim_message *m = sim_message_new(PIRN__KIND__HELLO);

	m->hello = calloc(1, sizeof *m->hello);
	m->hello->version = 1;
	m->hello->role = role_of(proc);
	memcpy(m->hello->boot, proc->boot, sizeof proc->boot);
	m->hello->boot_size = sizeof proc->boot;
	m->hello->registry = proc->role == SIM_CLIENT;
	m->hello->again = conn->phase == SIM_UP;
	if (proc->role == SIM_WORKER)
		say_services(sim, proc, m->hello);
	if (conn->phase == SIM_DOWN)
		conn->phase = SIM_HELLO;
	sim_send(sim, conn, TO_BROKER, m);
}

/* ---- endings -------------------------------------------------------------------- */

void sim_session_over(struct sim *sim, struct sim_conn *conn)
{
	if (conn->phase == SIM_UP && conn->proc->role == SIM_CLIENT) {
		sim_client_lost(sim, conn);
		sim_event_lost(sim, conn);
		sim_keyed_lost(sim, conn);
	}
	if (conn->phase == SIM_UP && conn->proc->role == SIM_WORKER)
		sim_worker_lost(sim, conn);
	conn->phase = SIM_DOWN;
	conn->draining = conn->drain_sent = conn->drain_answered = false;
	memset(conn->credit, 0, sizeof conn->credit);
}

static void abandon(struct sim *sim, struct sim_conn *conn)
{
	struct sim_proc *proc = conn->proc;

	sim_session_over(sim, conn);
	sim_cut(sim, conn, true);
	proc->conns[conn->broker_index] = NULL;
	conn->proc = NULL;
	if (proc->alive)
		connect_later(sim, proc, conn->broker_index, sim_between(sim, 10, 400));
}

/* ---- beats ---------------------------------------------------------------------- */

static void beat_one(struct sim *sim, struct sim_conn *conn)
{
	if (sim->now_ms - conn->heard_ms > SIM_SILENCE_MS)
		abandon(sim, conn);
	else
		sim_send(sim, conn, TO_BROKER, sim_message_new(PIRN__KIND__BEAT));
}

static void beat_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_proc *proc = arg;

	if (!proc->alive || proc->life != life)
		return;
	if (is_paused(sim, proc)) {
		sim_at(sim, proc->paused_until, beat_event, proc, life);
		return;
	}
	for (unsigned b = 0; b < sim->n_brokers; b++)
		if (proc->conns[b])
			beat_one(sim, proc->conns[b]);
	sim_at(sim, sim->now_ms + SIM_BEAT_MS, beat_event, proc, life);
}

/* ---- messages ------------------------------------------------------------------- */

static void welcomed(struct sim *sim, struct sim_conn *conn, const struct sim_message *m)
{
	SIM_CHECK(sim, !m->refused, "a good HELLO was refused");
	if (conn->phase == SIM_UP)
		return; /* the answer to a HELLO that changed the manifests */
	conn->phase = SIM_UP;
	conn->session = ++sim->sessions;
	conn->fans = false;
	if (conn->proc->role == SIM_WORKER)
		sim_worker_up(sim, conn);
}

/* While WELCOME is on its way, RESYNC is about what we sent before HELLO. */
static void resync(struct sim *sim, struct sim_conn *conn)
{
	if (conn->phase != SIM_UP)
		return;
	sim_session_over(sim, conn);
	sim_proc_hello(sim, conn);
}

static void asked_to_drain(struct sim *sim, struct sim_conn *conn)
{
	if (conn->drain_sent && !conn->drain_answered) {
		conn->drain_answered = true;
		sim_worker_leave(sim, conn->proc);
		return;
	}
	conn->draining = true;
	sim_send(sim, conn, TO_BROKER, sim_message_new(PIRN__KIND__DRAIN));
}

void sim_proc_message(struct sim *sim, struct sim_conn *conn, struct sim_message *m)
{
	struct sim_proc *proc = conn->proc;

	conn->heard_ms = sim->now_ms;
	if (m->kind == 0 || m->kind == PIRN__KIND__BYE) {
		abandon(sim, conn);
	} else if (proc->role == SIM_LIAR) {
		return;
	} else if (m->kind == PIRN__KIND__WELCOME) {
		welcomed(sim, conn, m);
	} else if (m->kind == PIRN__KIND__RESYNC) {
		resync(sim, conn);
	} else if (conn->phase != SIM_UP) {
		return;
	} else if (m->kind == PIRN__KIND__DRAIN) {
		asked_to_drain(sim, conn);
	} else if (m->kind == PIRN__KIND__BEAT && proc->role == SIM_CLIENT) {
		sim_timers_beat(sim, proc, m->now_ms);
	} else if (m->kind == PIRN__KIND__REGISTRY) {
		conn->fans = m->fans;
		memcpy(conn->workers, m->workers, sizeof conn->workers);
	} else if (proc->role == SIM_CLIENT) {
		sim_client_message(sim, conn, m);
	} else {
		sim_worker_message(sim, conn, m);
	}
}

/* ---- life ------------------------------------------------------------------------ */

void sim_proc_start(struct sim *sim, struct sim_proc *proc)
{
	proc->alive = true;
	proc->draining = false;
	proc->life++;
	proc->paused_until = 0;
	memset(proc->boot, 0, sizeof proc->boot);
	proc->boot[0] = (uint8_t)(proc->index + 1);
	memcpy(proc->boot + 8, &proc->life, sizeof proc->life);
	for (unsigned b = 0; b < sim->n_brokers; b++)
		connect_later(sim, proc, b, sim_below(sim, 20));
	sim_at(sim, sim->now_ms + SIM_BEAT_MS, beat_event, proc, proc->life);
	if (proc->role == SIM_CLIENT) {
		sim_client_start(sim, proc);
		sim_timers_start(sim, proc);
	}
	if (proc->role == SIM_LIAR)
		sim_liar_start(sim, proc);
}

static void restart(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_proc *proc = arg;

	if (!proc->alive && proc->life == life)
		sim_proc_start(sim, proc);
}

void sim_proc_kill(struct sim *sim, struct sim_proc *proc)
{
	if (!proc->alive)
		return;
	sim_trace(sim, "peer process %u dies", proc->index);
	proc->alive = false;
	for (unsigned b = 0; b < sim->n_brokers; b++)
		if (proc->conns[b])
			abandon(sim, proc->conns[b]);
	if (proc->role == SIM_WORKER)
		sim_worker_die(sim, proc);
	if (proc->role == SIM_CLIENT)
		sim_event_client_died(sim, proc);
	if (proc->role != SIM_LIAR || !sim->calm)
		sim_at(sim, sim->now_ms + sim_between(sim, 20, 3000), restart, proc, proc->life);
}

/* The one who slept may be the late one: it forgives its brokers the silence. */
void sim_proc_pause(struct sim *sim, struct sim_proc *proc, uint64_t ms)
{
	sim_trace(sim, "peer process %u stops for %llu ms", proc->index, (unsigned long long)ms);
	proc->paused_until = sim->now_ms + ms;
	for (unsigned b = 0; b < sim->n_brokers; b++)
		if (proc->conns[b])
			proc->conns[b]->heard_ms = proc->paused_until;
}
