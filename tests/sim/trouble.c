/* What goes wrong, and when. A seed draws some kinds of trouble and leaves out the
 * others: that reaches corners which a mixture of everything always hides.
 */
#include "tests/sim/sim.h"

static struct sim_conn *any_conn(struct sim *sim)
{
	struct sim_proc *proc = &sim->procs[sim_below(sim, SIM_PROCS)];

	return proc->conns[sim_below(sim, sim->n_brokers)];
}

static struct sim_broker *any_broker(struct sim *sim)
{
	return &sim->brokers[sim_below(sim, sim->n_brokers)];
}

static struct sim_proc *any_proc(struct sim *sim, enum sim_role role)
{
	unsigned first = (unsigned)sim_below(sim, SIM_PROCS);

	for (unsigned i = 0; i < SIM_PROCS; i++) {
		struct sim_proc *proc = &sim->procs[(first + i) % SIM_PROCS];

		if (proc->role == role && proc->alive)
			return proc;
	}
	return NULL;
}

static void cut_told(struct sim *sim)
{
	struct sim_conn *conn = any_conn(sim);

	if (conn)
		sim_cut(sim, conn, true);
}

static void cut_silently(struct sim *sim)
{
	struct sim_conn *conn = any_conn(sim);

	if (conn)
		sim_cut(sim, conn, false);
}

static void clog_one(struct sim *sim)
{
	struct sim_conn *conn = any_conn(sim);

	if (conn)
		sim_clog(sim, conn,
			sim->now_ms + sim_between(sim, 10, sim_chance(sim, 20) ? 6000 : 500));
}

static void kill_worker(struct sim *sim)
{
	struct sim_proc *proc = any_proc(sim, SIM_WORKER);

	if (proc)
		sim_proc_kill(sim, proc);
}

static void kill_client(struct sim *sim)
{
	struct sim_proc *proc = any_proc(sim, SIM_CLIENT);

	if (proc)
		sim_proc_kill(sim, proc);
}

static void kill_broker(struct sim *sim)
{
	sim_broker_kill(sim, any_broker(sim));
}

static void pause_peer(struct sim *sim)
{
	struct sim_proc *proc = any_proc(sim, sim_chance(sim, 70) ? SIM_WORKER : SIM_CLIENT);

	if (proc)
		sim_proc_pause(sim, proc, sim_between(sim, 50, 7000));
}

static void pause_broker(struct sim *sim)
{
	sim_broker_pause(sim, any_broker(sim), sim_between(sim, 50, 7000));
}

static void drain_worker(struct sim *sim)
{
	struct sim_proc *proc = any_proc(sim, SIM_WORKER);

	if (proc)
		sim_worker_drain(sim, proc);
}

static void drain_broker(struct sim *sim)
{
	sim_broker_drain(sim, any_broker(sim));
}

static void change_manifests(struct sim *sim)
{
	struct sim_proc *proc = any_proc(sim, SIM_WORKER);

	if (!proc)
		return;
	proc->manifest_version++;
	for (unsigned b = 0; b < sim->n_brokers; b++)
		if (proc->conns[b] && proc->conns[b]->phase == SIM_UP)
			sim_proc_hello(sim, proc->conns[b]);
}

static void retract(struct sim *sim)
{
	struct sim_proc *proc = any_proc(sim, SIM_WORKER);

	if (proc && !proc->draining)
		sim_worker_retract(sim, proc);
}

static void forget_one(struct sim *sim)
{
	struct sim_conn *conn = any_conn(sim);

	if (conn)
		sim_broker_forget(sim, conn);
}

static void spurious_tick(struct sim *sim)
{
	sim_broker_tick(sim, any_broker(sim));
}

static void cut_redis(struct sim *sim)
{
	sim_link_cut(sim, any_broker(sim), sim_chance(sim, 50));
}

static void clog_redis(struct sim *sim)
{
	sim_link_clog(any_broker(sim),
		sim->now_ms + sim_between(sim, 10, sim_chance(sim, 20) ? 6000 : 500));
}

/* One that answers too early shows it only then. */
static void kill_redis(struct sim *sim)
{
	bool early = sim->redis_faults & 1u << SIM_REDIS_EARLY_REPLY;

	if (sim_chance(sim, 30) || early)
		sim_server_crash(sim);
}

static void pause_redis(struct sim *sim)
{
	if (sim_chance(sim, 30))
		sim_server_pause(sim, sim_between(sim, 20, sim_chance(sim, 30) ? 9000 : 800));
}

static void fill_redis(struct sim *sim)
{
	sim_server_fill(sim, sim_between(sim, 50, 3000));
}

static void break_redis(struct sim *sim)
{
	sim->server.errors = 1 + (unsigned)sim_below(sim, 3);
}

static void drop_worker_redis(struct sim *sim)
{
	struct sim_proc *proc = any_proc(sim, SIM_WORKER);

	if (proc)
		sim_link_drop(sim, proc);
}

/* More than can run: some are given up. */
static void burst(struct sim *sim)
{
	struct sim_proc *proc = any_proc(sim, SIM_CLIENT);
	struct sim_conn *conn = proc ? proc->conns[sim_below(sim, sim->n_brokers)] : NULL;

	if (conn && conn->phase == SIM_UP && !conn->draining && sim_chance(sim, 30))
		sim_client_burst(sim, conn, (unsigned)sim_below(sim, SIM_ADDRESSED),
			(unsigned)sim_between(sim, 5, 100));
}

static void (*const troubles[])(struct sim *) = {
	cut_told,
	cut_silently,
	clog_one,
	kill_worker,
	kill_client,
	kill_broker,
	pause_peer,
	pause_broker,
	drain_worker,
	drain_broker,
	change_manifests,
	retract,
	spurious_tick,
	forget_one,
	cut_redis,
	clog_redis,
	kill_redis,
	pause_redis,
	fill_redis,
	break_redis,
	drop_worker_redis,
	sim_sick_begin,
	burst,
	sim_force,
};

#define N_TROUBLES (sizeof troubles / sizeof troubles[0])

static void trouble_event(struct sim *sim, void *arg, uint64_t number)
{
	unsigned kind = (unsigned)sim_below(sim, N_TROUBLES);

	if (sim->calm)
		return;
	if (sim->troubles & 1u << kind)
		troubles[kind](sim);
	sim_at(sim, sim->now_ms + sim_between(sim, 1, sim->trouble_ms), trouble_event, arg, number);
}

bool sim_trouble_is_of_workers(const struct sim *sim)
{
	for (size_t i = 0; i < N_TROUBLES; i++)
		if ((sim->troubles & 1u << i) && troubles[i] != kill_worker &&
			troubles[i] != drain_worker && troubles[i] != change_manifests &&
			troubles[i] != retract && troubles[i] != sim_sick_begin &&
			troubles[i] != burst && troubles[i] != sim_force)
			return false;
	return true;
}

void sim_trouble_start(struct sim *sim)
{
	sim->troubles = (unsigned)sim_below(sim, 1u << N_TROUBLES);
	sim->trouble_ms = sim_between(sim, 4, 150);
	if (sim_chance(sim, 10))
		sim->troubles = 0;
	if (sim_chance(sim, 5)) { /* nothing but dying workers, in the middle of long runs */
		sim->troubles = 1u << 3;
		sim->trouble_ms = sim_between(sim, 20, 100);
		sim->slow_percent = 80;
	}
	if (sim_chance(sim, 5)) { /* brokers that sleep for about as long as they are waited for */
		sim->troubles = 1u << 7 | 1u << 15;
		sim->trouble_ms = sim_between(sim, 200, 1500);
	}
	if (sim_chance(sim, 3)) { /* a Redis that dies between a change and the disk */
		sim->troubles = 1u << 16;
		sim->trouble_ms = sim_between(sim, 5, 300);
		sim->server.sync_ms = sim_between(sim, 30, 60);
	}
	if (sim_chance(
		    sim, 15)) { /* nothing but sick services, bursts and a hand at the breakers */
		sim->troubles = 1u << 21 | 1u << 22 | (sim_chance(sim, 30) ? 1u << 23 : 0);
		sim->trouble_ms = sim_between(sim, 50, 400);
	}
	sim_at(sim, sim->now_ms, trouble_event, NULL, 0);
}

void sim_heal(struct sim *sim)
{
	sim->calm = true;
	sim_trace(sim, "calm");
	sim_server_heal(sim);
	for (struct sim_conn *c = sim->conns; c; c = c->next)
		c->clogged_until[TO_BROKER] = c->clogged_until[TO_PEER] = 0;
	for (unsigned i = 0; i < SIM_PROCS; i++) {
		struct sim_proc *proc = &sim->procs[i];

		if (proc->alive && proc->role == SIM_LIAR)
			sim_proc_kill(sim, proc);
	}
}
