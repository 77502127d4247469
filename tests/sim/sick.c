/* Services that are sick for a while, everywhere or in one worker, and the hand that
 * forces breakers.
 */
#include "tests/sim/sim.h"

static bool is_sick(const struct sim *sim, const struct sim_proc *proc, unsigned service)
{
	const struct sim_sickness *sick = &sim->sick[service];

	return !sim->calm && sick->until_ms > sim->now_ms &&
	       (sick->worker < 0 || sick->worker == (int)proc->index);
}

bool sim_sick_fails(struct sim *sim, const struct sim_proc *proc, unsigned service)
{
	return is_sick(sim, proc, service) && sim_chance(sim, sim->sick[service].fail_percent);
}

uint64_t sim_sick_ms(struct sim *sim, const struct sim_proc *proc, unsigned service)
{
	uint64_t timeout = sim->manifests[service].timeout_ms;

	if (!is_sick(sim, proc, service) || !sim_chance(sim, sim->sick[service].slow_percent))
		return 0;
	return timeout * sim_between(sim, 60, 140) / 100;
}

static int any_worker(struct sim *sim)
{
	unsigned first = (unsigned)sim_below(sim, SIM_PROCS);

	for (unsigned i = 0; i < SIM_PROCS; i++)
		if (sim->procs[(first + i) % SIM_PROCS].role == SIM_WORKER)
			return (int)((first + i) % SIM_PROCS);
	return -1;
}

void sim_sick_begin(struct sim *sim)
{
	unsigned service = (unsigned)sim_below(sim, SIM_SERVICES);
	struct sim_sickness *sick = &sim->sick[service];

	if (sick->until_ms > sim->now_ms)
		return;
	*sick = (struct sim_sickness){
		.until_ms = sim->now_ms + sim_between(sim, 100, sim_chance(sim, 30) ? 8000 : 2000),
		.worker = sim_chance(sim, 40) ? any_worker(sim) : -1,
	};
	if (sim->lenient) /* for so long that retries come to the end of their budget */
		*sick = (struct sim_sickness){ .until_ms = sim->now_ms + sim_between(sim, 8000, 60000),
			.worker = -1,
			.fail_percent = 100 };
	else if (sim_chance(sim, 70))
		sick->fail_percent = sim_chance(sim, 60) ? 100 : (unsigned)sim_between(sim, 20, 90);
	else
		sick->slow_percent = sim_chance(sim, 50) ? 100 : (unsigned)sim_between(sim, 20, 90);
	sim_trace(sim, "%s is sick in %d: fails %u, slow %u", sim_services[service], sick->worker,
		sick->fail_percent, sick->slow_percent);
}

/* ---- forced breakers */

static void force(struct sim *sim, struct sim_conn *conn, unsigned service, uint32_t force)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__QUERY);
	Pirn__Query query = PIRN__QUERY__INIT;
	uint8_t bytes[80];

	query.has_what = query.has_force = true;
	query.what = PIRN__QUERY_KIND__BREAKER_SET;
	query.service = (char *)(uintptr_t)sim_services[service];
	query.force = force;
	sim_message_item(m, bytes, 0, (uint32_t)pirn__query__pack(&query, bytes))->pb.slot =
		UINT32_MAX;
	sim_send(sim, conn, TO_BROKER, m);
}

/* A gateway asks every broker; the others hear of it from the registry. */
static bool force_from(struct sim *sim, const struct sim_proc *proc, unsigned service,
	uint32_t what, unsigned percent)
{
	unsigned first = (unsigned)sim_below(sim, sim->n_brokers);
	bool asked = false;

	for (unsigned i = 0; i < sim->n_brokers; i++) {
		struct sim_conn *conn = proc->conns[(first + i) % sim->n_brokers];

		if (!conn || conn->phase != SIM_UP || (asked && !sim_chance(sim, percent)))
			continue;
		force(sim, conn, service, what);
		asked = true;
	}
	return asked;
}

static bool force_now(struct sim *sim, unsigned service, uint32_t what, unsigned percent)
{
	unsigned first = (unsigned)sim_below(sim, SIM_PROCS);

	for (unsigned i = 0; i < SIM_PROCS; i++) {
		const struct sim_proc *proc = &sim->procs[(first + i) % SIM_PROCS];

		if (proc->role == SIM_CLIENT && proc->alive &&
			force_from(sim, proc, service, what, percent))
			return true;
	}
	return false;
}

static void force_one(struct sim *sim, unsigned service)
{
	uint32_t what = (uint32_t)sim_below(sim, 3);

	if (!force_now(sim, service, what, sim_chance(sim, 50) ? 100 : 30))
		return;
	sim_trace(sim, "%s is forced: %u", sim_services[service], what);
	sim->forced |= 1u << service;
}

static void force_again(struct sim *sim, void *arg, uint64_t service)
{
	(void)arg;
	if (!sim->calm)
		force_one(sim, (unsigned)service);
}

/* Somebody changes his mind, while the first word is still on its way. */
void sim_force(struct sim *sim)
{
	unsigned service = (unsigned)sim_below(sim, SIM_SERVICES);

	force_one(sim, service);
	for (uint64_t at = 0; sim_chance(sim, 60);)
		sim_at(sim, sim->now_ms + (at += sim_between(sim, 100, 2500)), force_again, NULL, service);
}

/* Back to AUTO, by way of one broker: the others learn of it by themselves. */
bool sim_force_heal(struct sim *sim)
{
	for (unsigned s = 0; s < SIM_SERVICES; s++) {
		if (!(sim->forced & 1u << s))
			continue;
		if (!force_now(sim, s, PIRN__BREAKER_FORCE__AUTO, 0))
			return false;
		sim->forced &= ~(1u << s);
	}
	return true;
}
