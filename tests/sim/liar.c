/* A hostile peer: says HELLO or does not, then anything: answers to other peers'
 * runs, credit for what it never announced, sizes that do not add up, kinds that
 * its role may not send, calls with broken parts. Nobody else may notice.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

static struct sim_message *lie_hello(struct sim *sim, const struct sim_proc *proc)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__HELLO);
	struct sim_hello *hello = calloc(1, sizeof *hello);
	static const char *const names[] = { "evil", "Evil", "", "alpha ", "x-1" };

	m->hello = hello;
	hello->version = sim_chance(sim, 90) ? 1 : (uint32_t)sim_below(sim, 5);
	hello->role = sim_chance(sim, 90) ? 1 + (uint32_t)sim_below(sim, 2)
					  : (uint32_t)sim_below(sim, 100);
	hello->boot_size = sim_chance(sim, 95) ? 16 : sim_below(sim, 16);
	memcpy(hello->boot, proc->boot, 16);
	hello->boot[5] = (uint8_t)sim_below(sim, 3);
	hello->registry = sim_chance(sim, 50);
	hello->again = sim_chance(sim, 20);
	if (hello->role == PIRN__ROLE__WORKER && sim_chance(sim, 70)) {
		pirn__manifest__init(&hello->manifests[0]);
		strcpy(hello->names[0], names[sim_below(sim, sim_chance(sim, 80) ? 1 : 5)]);
		hello->manifests[0].service = hello->names[0];
		hello->n_services = 1;
	}
	return m;
}

static struct sim_message *lie_results(struct sim *sim)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__RESULT);

	for (uint64_t n = sim_below(sim, 4); n > 0; n--) {
		uint32_t slot = (uint32_t)sim_below(sim, 64),
			 generation = (uint32_t)sim_below(sim, 40);
		struct sim_item *item;

		if (sim_chance(sim, 70))
			(void)sim_worker_find_run(sim, &slot, &generation);
		item = sim_message_item(m, (const uint8_t *)"lies", 0, 4);
		item->pb.slot = slot;
		item->pb.generation = generation;
		item->pb.status = (uint32_t)sim_below(sim, 700);
		item->pb.reason = sim_chance(sim, 50) ? 0 : (uint32_t)sim_below(sim, 16);
	}
	return m;
}

static struct sim_message *lie_credit(struct sim *sim)
{
	struct sim_message *m =
		sim_message_new(sim_chance(sim, 80) ? PIRN__KIND__CREDIT : PIRN__KIND__RESULT);
	const char *service =
		sim_chance(sim, 50) ? "evil" : sim_services[sim_below(sim, SIM_SERVICES)];
	struct sim_credit *credit = sim_message_credit(m, service);

	credit->pb.has_granted = sim_chance(sim, 90);
	credit->pb.granted =
		sim_chance(sim, 50) ? sim_below(sim, 10) : UINT64_MAX - sim_below(sim, 3);
	return m;
}

static struct sim_message *lie_calls(struct sim *sim)
{
	static const char *const names[] = { "alpha", "beta", "gamma", "delta", "evil" };
	struct sim_message *m = sim_message_new(PIRN__KIND__SUBMIT);

	for (uint64_t n = sim_below(sim, 4); n > 0; n--) {
		uint8_t bytes[6] = { 'a', 'b' };
		struct sim_item *item;

		sim->lies++; /* what tells it from others when it is dispatched */
		memcpy(bytes + 2, &sim->lies, 4);
		item = sim_message_item(m, bytes, 2, 4);
		item->pb.slot = (uint32_t)sim_below(sim, 8);
		item->pb.generation = (uint32_t)sim_below(sim, 4);
		item->pb.has_left_ms = true;
		item->pb.left_ms = item->pb.slot * 7; /* and so is this */
		item->pb.flags = (uint32_t)sim_below(sim, 8);
		if (item->pb.flags & PIRN__ITEM_FLAG__EVENT)
			item->pb.slot += 8; /* its answers are an event's */
		if (item->pb.slot % 6 <
			5) /* by slot: mirror.c could not tell two of a name apart */
			sim_item_service(item, names[item->pb.slot % 6]);
		if (sim_chance(sim, 20))
			sim_item_id(item, (const uint8_t *)"0123456789abcdef0", sim_below(sim, 18));
		item->pb.has_trace = sim_chance(sim, 20);
		item->pb.trace.len = sim_below(sim, 32);
	}
	if (sim_chance(sim, 20) && m->n_items > 0)
		m->items[0].pb.data_size = (uint32_t)sim_below(sim, UINT32_MAX);
	return m;
}

static struct sim_message *lie_cancel(struct sim *sim)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__CANCEL);
	struct sim_item *item = sim_message_item(m, NULL, 0, 0);

	item->pb.slot = sim->n_calls ? sim->n_calls - 1 : 0;
	item->pb.generation = sim->n_calls ? sim->calls[sim->n_calls - 1].generation : 0;
	return m;
}

static struct sim_message *lie_question(struct sim *sim)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__QUERY);
	uint8_t bytes[8];

	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)sim_below(sim, 256);
	sim_message_item(m, bytes, 0, (uint32_t)sim_below(sim, sizeof bytes + 1));
	return m;
}

static struct sim_message *lie(struct sim *sim, const struct sim_proc *proc)
{
	switch (sim_below(sim, 9)) {
	case 0:
	case 1:
		return lie_hello(sim, proc);
	case 2:
	case 3:
		return lie_results(sim);
	case 4:
		return lie_credit(sim);
	case 5:
		return lie_calls(sim);
	case 6:
		return lie_cancel(sim);
	case 7:
		return lie_question(sim);
	default:
		return sim_message_new(1 + (uint32_t)sim_below(sim, 30));
	}
}

static void lie_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_proc *proc = arg;

	if (!proc->alive || proc->life != life)
		return;
	for (unsigned b = 0; b < sim->n_brokers; b++)
		if (proc->conns[b] && sim_chance(sim, 60))
			sim_send(sim, proc->conns[b], TO_BROKER, lie(sim, proc));
	sim_at(sim, sim->now_ms + sim_between(sim, 1, 40), lie_event, proc, life);
}

void sim_liar_start(struct sim *sim, struct sim_proc *proc)
{
	sim_at(sim, sim->now_ms + sim_below(sim, 50), lie_event, proc, proc->life);
}
