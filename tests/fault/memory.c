#include "tests/fault/memory.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct memory {
	pthread_t thread;
	const struct fabric *fabric;
	atomic_bool ends;
	struct memory_peaks peaks;
};

/* 0: there is no such process. */
static uint64_t pss_kb(pid_t pid)
{
	char path[64];
	char line[256];
	uint64_t kb = 0;
	FILE *file;

	(void)snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
	file = pid > 0 ? fopen(path, "re") : NULL;
	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "Pss: %" SCNu64, &kb) == 1)
			break;
	if (file)
		fclose(file);
	return kb;
}

static void raise_to(uint64_t *peak, pid_t pid)
{
	uint64_t kb = pss_kb(pid);

	if (kb > *peak)
		*peak = kb;
}

static pid_t pid_of(const struct harness_process *p)
{
	return p ? harness_pid(p) : 0;
}

static void look(struct memory *m)
{
	for (unsigned i = 0; i < FABRIC_MAX; i++) {
		raise_to(&m->peaks.broker_kb, pid_of(m->fabric->brokers[i]));
		raise_to(&m->peaks.worker_kb, pid_of(m->fabric->workers[i]));
		raise_to(&m->peaks.gateway_kb, pid_of(m->fabric->gateways[i]));
	}
	raise_to(&m->peaks.redis_kb, harness_redis_pid(m->fabric->redis));
}

static void *run(void *arg)
{
	struct memory *m = arg;
	const struct timespec turn = { .tv_nsec = 200000000 };

	while (!m->ends) {
		look(m);
		nanosleep(&turn, NULL);
	}
	return NULL;
}

struct memory *memory_start(const struct fabric *f)
{
	struct memory *m = calloc(1, sizeof *m);

	if (!m)
		abort();
	m->fabric = f;
	if (pthread_create(&m->thread, NULL, run, m) != 0)
		abort();
	return m;
}

struct memory_peaks memory_stop(struct memory **mp)
{
	struct memory *m = *mp;
	struct memory_peaks peaks = { 0 };

	if (!m)
		return peaks;
	*mp = NULL;
	m->ends = true;
	pthread_join(m->thread, NULL);
	look(m);
	peaks = m->peaks;
	free(m);
	return peaks;
}
