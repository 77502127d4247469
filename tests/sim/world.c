#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/sim.h"

struct event {
	struct base_heap_node node;
	sim_event_fn *fn;
	void *arg;
	uint64_t number;
};

const char *const sim_services[SIM_SERVICES] = { "alpha", "beta", "gamma", "delta",
	"pirn-callback" };

int sim_service(const char *name)
{
	for (int i = 0; name && i < SIM_SERVICES; i++)
		if (strcmp(sim_services[i], name) == 0)
			return i;
	return -1;
}

void sim_at(struct sim *sim, uint64_t due_ms, sim_event_fn *fn, void *arg, uint64_t number)
{
	struct event *e = calloc(1, sizeof *e);

	e->fn = fn;
	e->arg = arg;
	e->number = number;
	if (base_heap_push(&sim->agenda, &e->node, due_ms > sim->now_ms ? due_ms : sim->now_ms))
		abort();
}

bool sim_step(struct sim *sim, uint64_t until_ms)
{
	struct base_heap_node *node = base_heap_first(&sim->agenda);
	struct event *e, copy;

	if (!node || node->due > until_ms)
		return false;
	e = base_heap_of(node, struct event, node);
	base_heap_remove(&sim->agenda, node);
	sim->now_ms = e->node.due;
	sim->steps++;
	copy = *e;
	free(e);
	copy.fn(sim, copy.arg, copy.number);
	return true;
}

void sim_drop_events(struct sim *sim)
{
	struct base_heap_node *node;

	while ((node = base_heap_first(&sim->agenda))) {
		base_heap_remove(&sim->agenda, node);
		free(base_heap_of(node, struct event, node));
	}
}

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
	return base_rand_below(&sim->rand, bound);
}

bool sim_chance(struct sim *sim, unsigned percent)
{
	return sim_below(sim, 100) < percent;
}

uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high)
{
	return low + sim_below(sim, high - low + 1);
}

/* Every line goes into the hash, printed or not: two runs of a seed must tell the same story. */
void sim_trace(struct sim *sim, const char *format, ...)
{
	char line[256];
	va_list args;
	int n;

	sim->trace_hash =
		(sim->trace_hash ^ sim->now_ms ^ (uint64_t)(uintptr_t)format[0]) * 1099511628211u;
	if (!sim->verbose)
		return;
	va_start(args, format);
	n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (n > 0)
		printf("%8llu  %s\n", (unsigned long long)sim->now_ms, line);
}

_Noreturn void sim_fail(struct sim *sim, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(sim->why, sim->why_room, format, args);
	va_end(args);
	if (sim->verbose)
		printf("%8llu  FAILED: %s\n", (unsigned long long)sim->now_ms, sim->why);
	fflush(stdout);
	_exit(1);
}
