/* The simulation's program.
 *
 *   sim                      seeds for 20 s, then every fault of broker/core/fault.h and of
 *                            tests/sim/redis/redis.h must be found
 *   sim --seeds N            that many seeds from 1 on (--from S: from there), and the faults
 *   sim --seconds T          seeds for that long, and the faults
 *   sim --no-faults ...      not the faults
 *   sim --jobs N ...         in so many children
 *   sim --seed S             replay one, and tell all that happens (--fault NAME: with that fault)
 *   sim --faults             only the faults (--fault NAME: that one), in seeds from 1 on (--from S)
 *
 * Seeds run in a child process, so that whatever ends it (a check here, an assertion in the core, a
 * sanitizer) leaves us to say which seed it was and how to see it again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/mirror.h"

#define MAX_JOBS        8
#define FAULT_SEEDS     1500
#define FAULT_SECONDS   60
#define DEFAULT_SECONDS 20
/* The faults prove the checks, not the memory: under a sanitizer they would only take long. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define DEFAULT_FAULTS false
#else
#define DEFAULT_FAULTS true
#endif
#define SEED_SECONDS 20  /* of the processor; one that takes more runs in a circle */
#define PATIENCE     240 /* times five seconds in which a backlog may end */

/* What the child tells. */
struct report {
	uint64_t seed, seeds, steps, calls, answered, events, accepted;
	struct sim_seen seen;
	char why[256];
};

/* Rules that can be switched off: the core's, then Redis's. */
static const struct fault {
	const char *name, *who, *text;
} faults[] = {
#define X(name, text) { #name, "core", text },
	BRK_FAULTS(X)
#undef X
#define X(name, text) { #name, "Redis", text },
		SIM_REDIS_FAULTS(X)
#undef X
};

/* A rule behind another one: it shows only when that is broken too, and then in these words. */
static const struct behind {
	const char *name, *with, *says;
} behinds[] = {
	{ "BITS_IGNORED", "RESEND_BLINDLY", "was in none" },
};

#define N_FAULTS (sizeof faults / sizeof faults[0])

_Static_assert(SIM_REDIS_FAULT__N <= 32, "a bit each");

/* ---- one seed -------------------------------------------------------------------- */

static void set_up_retry(struct sim *sim, Pirn__Retry *r)
{
	pirn__retry__init(r);
	r->has_attempts = r->has_base_ms = r->has_max_ms = r->has_age_s = true;
	r->attempts = (uint32_t)sim_between(sim, 1, 6);
	r->base_ms = (uint32_t)sim_between(sim, 1, 300);
	r->max_ms = (uint32_t)sim_between(sim, r->base_ms, 1500);
	r->age_s = (uint32_t)(sim_chance(sim, 20) ? sim_between(sim, 5, 12)
						  : sim_between(sim, 60, 600));
}

/* Everything that the breaker may be told, on a scale of seconds. */
static void set_up_breaker(struct sim *sim, Pirn__BreakerConf *b)
{
	pirn__breaker_conf__init(b);
	b->has_window_ms = b->has_calls = b->has_failure_percent = b->has_consecutive =
		b->has_open_ms = b->has_open_max_ms = b->has_probes = b->has_successes =
			b->has_slow_percent = true;
	b->window_ms = (uint32_t)sim_between(sim, 500, 10000);
	b->calls = (uint32_t)sim_between(sim, 3, 20);
	b->failure_percent = (uint32_t)sim_between(sim, 30, 100);
	b->consecutive = sim_chance(sim, 25) ? 0 : (uint32_t)sim_between(sim, 2, 8);
	b->open_ms = (uint32_t)sim_between(sim, 100, 1500);
	b->open_max_ms = (uint32_t)sim_between(sim, b->open_ms, 6000);
	b->probes = (uint32_t)sim_between(sim, 1, 4);
	b->successes = (uint32_t)sim_between(sim, 1, 6);
	b->slow_percent = sim_chance(sim, 20) ? 0 : (uint32_t)sim_between(sim, 60, 95);
	if (sim->lenient) { /* never: what is run again is bounded by its budget alone */
		b->consecutive = 0;
		b->calls = 1000000;
	}
}

static void set_up_queue(struct sim *sim, Pirn__QueueConf *q)
{
	pirn__queue_conf__init(q);
	q->has_target_ms = q->has_interval_ms = sim_chance(sim, 60);
	q->target_ms = q->has_target_ms ? (uint32_t)sim_between(sim, 2, 60) : 0;
	q->interval_ms = q->has_interval_ms ? (uint32_t)sim_between(sim, 10, 300) : 0;
	q->has_age_ms = sim_chance(sim, 15);
	q->age_ms = q->has_age_ms ? (uint32_t)sim_between(sim, 50, 2000) : 0;
	q->has_events = sim_chance(sim, 10);
	q->events = q->has_events ? (uint32_t)sim_between(sim, 10, 60) : 0;
	q->has_event_age_ms = sim_chance(sim, 10);
	q->event_age_ms = q->has_event_age_ms ? (uint32_t)sim_between(sim, 200, 3000) : 0;
	q->has_bytes = sim_chance(sim, 10);
	q->bytes = q->has_bytes ? sim_between(sim, 8192, 65536) : 0;
}

/* A run that goes well must not look slow, however slow the network and the disk. */
static uint32_t least_timeout(const struct sim *sim)
{
	return (uint32_t)(2 * (4 * sim->latency_ms + 4 * sim->server.sync_ms + 60));
}

/* Of events of a type for n services the first n want to hear: the first service has all of these
 * subscriptions, the next has them from the second on, and so forth. */
static Pirn__Subscription *subscriptions(unsigned from)
{
	static Pirn__Subscription all[SIM_FAN];
	Pirn__Subscription *s = &all[from];

	pirn__subscription__init(s);
	s->type = (char *)(uintptr_t)sim_fan_pattern(from + 1);
	return s;
}

static void set_up_subscriptions(Pirn__Manifest *m, unsigned service)
{
	static Pirn__Subscription *list[SIM_FAN];

	for (unsigned i = 0; i < SIM_FAN; i++)
		list[i] = subscriptions(i);
	m->subscriptions = service < SIM_FAN ? &list[service] : NULL;
	m->n_subscriptions = service < SIM_FAN ? SIM_FAN - service : 0;
}

static void set_up_services(struct sim *sim)
{
	for (int s = 0; s < SIM_SERVICES; s++) {
		Pirn__Manifest *m = &sim->manifests[s];

		pirn__manifest__init(m);
		m->service = (char *)(uintptr_t)sim_services[s];
		m->has_queue_items = m->has_concurrency_total = true;
		m->queue_items = sim_chance(sim, 30) ? (uint32_t)sim_between(sim, 20, 60) : 0;
		m->concurrency_total = sim_chance(sim, 30) ? (uint32_t)sim_between(sim, 1, 6) : 0;
		m->has_timeout_ms = true;
		m->timeout_ms = (uint32_t)sim_between(sim, 200, 4000);
		if (m->timeout_ms < least_timeout(sim))
			m->timeout_ms = least_timeout(sim);
		set_up_retry(sim, &sim->retries[s]);
		m->retry = &sim->retries[s];
		set_up_breaker(sim, &sim->breakers[s]);
		m->breaker = &sim->breakers[s];
		set_up_queue(sim, &sim->queues[s]);
		m->queue = &sim->queues[s];
		set_up_subscriptions(m, (unsigned)s);
		if (sim_callback_of_service(sim, (unsigned)s))
			m->callback = (char *)(uintptr_t)SIM_CALLBACK_URL;
	}
}

static void set_up_proc(struct sim *sim, enum sim_role role, unsigned index, bool carries_all)
{
	struct sim_proc *proc = &sim->procs[index];

	proc->role = role;
	proc->index = index;
	for (int s = 0; s < SIM_SERVICES && role == SIM_WORKER; s++) {
		proc->carries[s] = carries_all || sim_chance(sim, 50);
		proc->capacity[s] = (uint32_t)sim_between(sim, 1, sim_chance(sim, 30) ? 20 : 4);
	}
	sim_proc_start(sim, proc);
}

static void set_up(struct sim *sim)
{
	unsigned n = 0;

	base_rand_init(&sim->rand, sim->seed);
	base_heap_init(&sim->agenda);
	sim->now_ms = 1000;
	sim->n_brokers = 1 + (unsigned)sim_below(sim, SIM_BROKERS);
	sim->n_clients = 1 + (unsigned)sim_below(sim, SIM_CLIENTS);
	sim->n_workers = 1 + (unsigned)sim_below(sim, SIM_WORKERS);
	sim->n_liars = (unsigned)sim_below(sim, SIM_LIARS + 1);
	sim->latency_ms = sim_chance(sim, 20) ? sim_between(sim, 20, 300) : sim_below(sim, 6);
	sim->pace_ms = sim_between(sim, 10, 200);
	sim->lenient = sim_chance(sim, 8);
	if (sim->lenient) {
		sim->sick[0] = (struct sim_sickness){ 60000, -1, 100, 0 };
		sim->pace_ms = sim_between(sim, 10, 60);
	}
	sim->slow_percent = sim_below(sim, 15);
	sim->slow_readings_percent = sim_chance(sim, 30) ? (unsigned)sim_between(sim, 30, 80) : 10;
	sim->max_calls = sim_chance(sim, 20) ? (uint32_t)sim_between(sim, 30, 100) : 5000;
	sim->max_bytes = sim_chance(sim, 20) ? 64 * 1024 : 64 * 1024 * 1024;
	sim->max_events = sim_chance(sim, 20) ? (uint32_t)sim_between(sim, 5, 80) : 5000;
	sim->max_event_bytes = sim_chance(sim, 20) ? 16 * 1024 : 64 * 1024 * 1024;
	sim->decide_ms = sim_chance(sim, 20) ? (uint32_t)sim_between(sim, 200, 5000) : 60000;
	sim->event_percent = sim_chance(sim, 15) ? 0 : sim_between(sim, 20, sim->lenient ? 50 : 90);
	sim->fail_percent = sim_chance(sim, 20) ? 0 : sim_below(sim, 60);
	sim->poison_percent = sim_chance(sim, 70) ? 0 : sim_below(sim, 4);
	sim->hope_ms = sim_chance(sim, 50) ? 0 : (uint32_t)sim_between(sim, 100, 3000);
	sim->bounds = (struct store_bounds){ .dedupe_max = sim_chance(sim, 20) ? 3000 : 1 << 20,
		.dedupe_ms = 86400000,
		.results_max = sim_chance(sim, 20) ? 4000 : 1 << 20,
		.result_ttl_ms = 3600000 };
	sim_server_init(sim);
	set_up_services(sim);
	sim_timers_init(sim);
	for (unsigned i = 0; i < sim->n_brokers; i++) {
		sim->brokers[i].index = i;
		sim->brokers[i].next_peer = 1;
		sim_broker_start(sim, &sim->brokers[i]);
	}
	for (unsigned i = 0; i < sim->n_clients; i++)
		set_up_proc(sim, SIM_CLIENT, n++, false);
	for (unsigned i = 0; i < sim->n_workers; i++)
		set_up_proc(sim, SIM_WORKER, n++, i == 0);
	for (unsigned i = 0; i < sim->n_liars; i++)
		set_up_proc(sim, SIM_LIAR, n++, false);
}

static void run_until(struct sim *sim, uint64_t ms)
{
	while (sim_step(sim, ms))
		;
	sim->now_ms = ms;
}

#define HEAL_MS 60000 /* longer than any breaker stays open, twice over */

/* Nothing is wrong any more: a little of everything, through every broker, until all breakers have
 * noticed. What was forced is left to itself again. */
static void warm_up(struct sim *sim)
{
	uint64_t until = sim->now_ms + HEAL_MS;

	while (!sim_force_heal(sim))
		run_until(sim, sim->now_ms + 100);
	while (!sim_mirror_is_calm(sim)) {
		SIM_CHECK(sim, sim->now_ms < until, "a breaker does not close again");
		for (unsigned i = 0; i < SIM_PROCS; i++) {
			struct sim_proc *proc = &sim->procs[i];

			for (unsigned b = 0; b < sim->n_brokers && proc->role == SIM_CLIENT; b++)
				if (proc->conns[b] && proc->conns[b]->phase == SIM_UP)
					for (unsigned s = 0; s < SIM_ADDRESSED; s++)
						sim_client_burst(sim, proc->conns[b], s, 1);
		}
		run_until(sim, sim->now_ms + sim_between(sim, 50, 400));
	}
}

/* Every client can use every broker now: each call must come back well. */
static void prove(struct sim *sim)
{
	for (int round = 0; round < 8; round++) {
		for (unsigned i = 0; i < SIM_PROCS; i++) {
			struct sim_proc *proc = &sim->procs[i];

			for (unsigned b = 0;
				b < sim->n_brokers && proc->alive && proc->role == SIM_CLIENT;
				b++) {
				SIM_CHECK(sim, proc->conns[b] && proc->conns[b]->phase == SIM_UP,
					"client %u is not linked to broker %u in calm", i, b);
				sim_client_submit(sim, proc->conns[b], 1, true);
				sim_event_submit(sim, proc->conns[b], 1, true);
			}
		}
		run_until(sim, sim->now_ms + sim_between(sim, 1, 400));
	}
}

static void check_conn(struct sim *sim, const struct sim_conn *c)
{
	for (int s = 0; s < SIM_SERVICES; s++) {
		if (c->proc->role == SIM_CLIENT)
			SIM_CHECK(sim, c->workers[s] > 0 && c->workers[s] != UINT32_MAX,
				"a client was not told that %s has workers", sim_services[s]);
		else
			SIM_CHECK(sim, c->credit[s].received == c->credit[s].finished,
				"a run never ended");
	}
}

static void check_rest(struct sim *sim)
{
	uint64_t peers[SIM_BROKERS] = { 0 };

	for (unsigned i = 0; i < SIM_PROCS; i++) {
		const struct sim_proc *proc = &sim->procs[i];

		SIM_CHECK(sim, !proc->runs, "a worker still runs something");
		for (unsigned b = 0; b < sim->n_brokers && proc->alive; b++) {
			SIM_CHECK(sim, proc->conns[b] && proc->conns[b]->phase == SIM_UP,
				"peer %u is not linked to broker %u", i, b);
			peers[b]++;
			check_conn(sim, proc->conns[b]);
		}
	}
	for (unsigned b = 0; b < sim->n_brokers; b++) {
		struct brk_figures f;

		brk_core_figures(sim->brokers[b].core, &f);
		SIM_CHECK(sim, f.waiting == 0 && f.running == 0 && f.waiting_bytes == 0,
			"broker %u is not empty at the end", b);
		SIM_CHECK(sim,
			f.events_ready + f.events_running + f.events_waiting + f.events_ending == 0,
			"broker %u holds events at the end", b);
		SIM_CHECK(sim, f.peers == peers[b], "broker %u knows %llu peers, there are %llu", b,
			(unsigned long long)f.peers, (unsigned long long)peers[b]);
	}
}

static void tear_down(struct sim *sim)
{
	struct sim_conn *conn, *next;

	for (unsigned i = 0; i < sim->n_brokers; i++) {
		brk_core_free(&sim->brokers[i].core);
		sim_mirror_stop(&sim->brokers[i]);
	}
	for (conn = sim->conns; conn; conn = next) {
		next = conn->next;
		for (int to = 0; to < 2; to++) {
			struct sim_message *m, *after;

			for (m = conn->queues[to]; m; m = after) {
				after = m->next;
				sim_message_free(m);
			}
		}
		free(conn);
	}
	for (unsigned i = 0; i < sim->n_brokers; i++)
		sim_link_stop(sim, &sim->brokers[i]);
	sim_server_fini(sim);
	sim_registry_fini(sim);
	sim_events_fini(sim);
	free(sim->touched);
	free(sim->keyed);
	sim_timers_fini(sim);
	free(sim->beats);
	sim_drop_events(sim);
	base_heap_fini(&sim->agenda);
	free(sim->calls);
}

/* Where nothing but the budget ends retries, it must come to its end. */
static uint64_t play_ms(struct sim *sim)
{
	uint64_t most = sim_chance(sim, 15) ? 15000 : sim->lenient ? 6000 : 3000;

	return sim_between(sim, sim->lenient ? 3000 : 300, most);
}

void sim_run_seed(struct sim *sim)
{
	set_up(sim);
	sim_trouble_start(sim);
	run_until(sim, sim->now_ms + play_ms(sim));
	sim_heal(sim);
	run_until(sim, sim->now_ms + sim_below(sim, 500));
	sim->quiet = true;
	run_until(sim, sim->now_ms + 16000);
	warm_up(sim);
	prove(sim);
	sim_timers_stop(sim);
	run_until(sim, sim->now_ms + 21000);
	for (int i = 0; i < PATIENCE && !(sim_events_are_over(sim) && sim_book_is_over(sim)); i++)
		run_until(sim, sim->now_ms + 5000);
	run_until(sim, sim->now_ms + 5000); /* the last runs that nobody waits for */
	check_rest(sim);
	sim_book_end(sim);
	sim_events_check_rest(sim);
	sim_keyed_check_rest(sim);
}

/* ---- many ------------------------------------------------------------------------ */

static double seconds_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* What is switched on of `faults`. */
struct mask {
	uint64_t core[BRK_FAULT_WORDS];
	uint32_t redis;
};

static struct mask with(struct mask mask, size_t fault)
{
	if (fault < BRK_FAULT__N)
		mask.core[fault / 64] |= UINT64_C(1) << fault % 64;
	else
		mask.redis |= UINT32_C(1) << (fault - BRK_FAULT__N);
	return mask;
}

/* Of the children that have ended, so that a busy machine does not count. */
static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_CHILDREN, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void add_seen(struct sim_seen *sum, const struct sim_seen *more)
{
	sum->opened += more->opened;
	sum->closed += more->closed;
	sum->adopted += more->adopted;
	sum->ejected += more->ejected;
	sum->given_up += more->given_up;
	sum->again += more->again;
	sum->slots += more->slots;
	sum->skipped += more->skipped;
	sum->dry += more->dry;
	sum->told += more->told;
	sum->hops += more->hops;
	sum->sent += more->sent;
	sum->unsent += more->unsent;
}

static uint64_t play(struct report *report, uint64_t seed, struct mask mask, bool verbose)
{
	static const struct itimerval limit = { .it_value.tv_sec = SEED_SECONDS };
	struct sim *sim = calloc(1, sizeof *sim);
	uint64_t hash;

	report->seed = seed;
	setitimer(ITIMER_PROF, &limit, NULL);
	*sim = (struct sim){ .seed = seed,
		.redis_faults = mask.redis,
		.verbose = verbose,
		.why = report->why,
		.why_room = sizeof report->why };
	memcpy(sim->faults, mask.core, sizeof sim->faults);
	sim_run_seed(sim);
	report->seeds++;
	report->steps += sim->steps;
	report->calls += sim->n_calls;
	for (uint32_t i = 0; i < sim->n_calls; i++)
		report->answered += sim->calls[i].state == CALL_ANSWERED;
	report->events += sim->n_events;
	for (uint32_t i = 0; i < sim->n_events; i++)
		report->accepted += sim->events[i].state == EVENT_ACCEPTED;
	add_seen(&report->seen, &sim->seen);
	hash = sim->trace_hash;
	tear_down(sim);
	free(sim);
	return hash;
}

/* A child that plays every step-th seed from first on. */
struct job {
	struct report *report;
	uint64_t first, n, step;
	struct mask mask;
	bool broken; /* the mask is not empty */
	double until;
	pid_t pid;
	bool well;
};

/* A seed that tells two stories cannot be replayed: every hundredth is told twice. */
static void play_many(const struct job *job)
{
	struct report *report = job->report;

	for (uint64_t i = 0; i < job->n && seconds_now() < job->until; i++) {
		uint64_t seed = job->first + i * job->step;
		uint64_t hash = play(report, seed, job->mask, false);

		if (seed % 100 != 1 || job->broken)
			continue;
		if (play(report, seed, job->mask, false) != hash) {
			snprintf(report->why, sizeof report->why, "two runs of the seed differ");
			_exit(1);
		}
	}
}

static void start(struct job *job)
{
	fflush(stdout);
	memset(job->report, 0, sizeof *job->report);
	job->pid = fork();
	if (job->pid != 0)
		return;
	if (job->broken && !freopen("/dev/null", "w", stderr))
		_exit(2);
	play_many(job);
	_exit(0);
}

/* Well: the child lived to the end. */
static void finish(struct job *job)
{
	int status = 0;

	job->well = job->pid > 0 && waitpid(job->pid, &status, 0) == job->pid && status == 0;
	if (status != 0 && !job->report->why[0])
		snprintf(job->report->why, sizeof job->report->why, "%s",
			!WIFSIGNALED(status)          ? "a sanitizer"
			: WTERMSIG(status) == SIGPROF ? "it runs in a circle"
						      : "an assertion of the core, or a crash");
}

static long wanted_jobs; /* 0: as many as there are processors */

static unsigned n_jobs(void)
{
	long n = wanted_jobs ? wanted_jobs : sysconf(_SC_NPROCESSORS_ONLN);

	return n < 1 ? 1 : n > MAX_JOBS ? MAX_JOBS : (unsigned)n;
}

static void add(struct report *sum, const struct report *more)
{
	sum->seeds += more->seeds;
	sum->steps += more->steps;
	sum->calls += more->calls;
	sum->answered += more->answered;
	sum->events += more->events;
	sum->accepted += more->accepted;
	add_seen(&sum->seen, &more->seen);
}

static unsigned test_seeds(
	const char *program, struct report *reports, uint64_t from, uint64_t n, double seconds)
{
	struct job jobs[MAX_JOBS];
	struct report sum = { 0 };
	unsigned step = n_jobs(), failed = 0;
	double began = seconds_now();

	printf("[ RUN      ] seeds\n");
	for (unsigned i = 0; i < step; i++) {
		jobs[i] = (struct job){ .report = &reports[i],
			.first = from + i,
			.n = (n + step - 1 - i) / step,
			.step = step,
			.until = began + seconds };
		start(&jobs[i]);
	}
	for (unsigned i = 0; i < step; i++) {
		finish(&jobs[i]);
		add(&sum, jobs[i].report);
		if (jobs[i].well)
			continue;
		failed = 1;
		printf("seed %llu: %s\nreplay it: %s --seed %llu\n",
			(unsigned long long)reports[i].seed, reports[i].why, program,
			(unsigned long long)reports[i].seed);
	}
	printf("seeds=%llu\nseeds_per_s=%.0f\ncpu_ms_a_seed=%.1f\nsteps=%llu\ncalls=%llu\nanswered=%llu\n"
	       "events=%llu\naccepted=%llu\nopened=%llu\nclosed=%llu\nadopted=%llu\n"
	       "ejected=%llu\ngiven_up=%llu\nagain=%llu\nslots=%llu\nskipped=%llu\ndry=%llu\n"
	       "told=%llu\nhops=%llu\nsent=%llu\nunsent=%llu\n[%s ] seeds\n",
		(unsigned long long)sum.seeds, (double)sum.seeds / (seconds_now() - began),
		cpu_seconds() * 1000 / (double)(sum.seeds ? sum.seeds : 1),
		(unsigned long long)sum.steps, (unsigned long long)sum.calls,
		(unsigned long long)sum.answered, (unsigned long long)sum.events,
		(unsigned long long)sum.accepted, (unsigned long long)sum.seen.opened,
		(unsigned long long)sum.seen.closed, (unsigned long long)sum.seen.adopted,
		(unsigned long long)sum.seen.ejected, (unsigned long long)sum.seen.given_up,
		(unsigned long long)sum.seen.again, (unsigned long long)sum.seen.slots,
		(unsigned long long)sum.seen.skipped, (unsigned long long)sum.seen.dry,
		(unsigned long long)sum.seen.told, (unsigned long long)sum.seen.hops,
		(unsigned long long)sum.seen.sent, (unsigned long long)sum.seen.unsent,
		failed ? "  FAILED " : "       OK");
	return failed;
}

static size_t fault_called(const char *name)
{
	for (size_t i = 0; i < N_FAULTS; i++)
		if (strcmp(faults[i].name, name) == 0)
			return i;
	fprintf(stderr, "sim: no fault is called %s\n", name);
	exit(2);
}

static const struct behind *behind_of(size_t fault)
{
	for (size_t i = 0; i < sizeof behinds / sizeof behinds[0]; i++)
		if (strcmp(behinds[i].name, faults[fault].name) == 0)
			return &behinds[i];
	return NULL;
}

static struct mask mask_of(size_t fault)
{
	const struct behind *behind = behind_of(fault);
	struct mask mask = with((struct mask){ { 0 }, 0 }, fault);

	return behind ? with(mask, fault_called(behind->with)) : mask;
}

static bool was_found(const struct job *job, size_t i)
{
	const struct behind *behind = behind_of(i);
	bool well = job->well || (behind && !strstr(job->report->why, behind->says));

	printf("[ RUN      ] finds a %s that %s\n", faults[i].who, faults[i].text);
	if (well)
		printf("not found in %llu seeds\n[  FAILED  ] %s\n",
			(unsigned long long)job->report->seeds, faults[i].name);
	else
		printf("seed %llu: %s\n[       OK ] %s\n", (unsigned long long)job->report->seed,
			job->report->why, faults[i].name);
	return !well;
}

/* The fault in front of it may be noticed first, in other words. */
static void search_on(struct job *job, size_t fault, uint64_t last)
{
	const struct behind *behind = behind_of(fault);

	while (behind && !job->well && !strstr(job->report->why, behind->says) &&
		job->report->seed < last) {
		job->first = job->report->seed + 1;
		job->n = last - job->report->seed;
		start(job);
		finish(job);
	}
}

/* one: the only one that is looked for; N_FAULTS: all. */
static unsigned test_faults(struct report *reports, size_t one, uint64_t from)
{
	struct job jobs[MAX_JOBS];
	size_t which[MAX_JOBS];
	unsigned failed = 0, n = 0, step = n_jobs();

	for (size_t i = 0; i < N_FAULTS; i++) {
		if (one == i || one == N_FAULTS) {
			which[n] = i;
			jobs[n] = (struct job){ .report = &reports[n],
				.first = from,
				.n = FAULT_SEEDS,
				.step = 1,
				.mask = mask_of(i),
				.broken = true,
				.until = seconds_now() + FAULT_SECONDS };
			start(&jobs[n++]);
		}
		if (n < step && i + 1 < N_FAULTS)
			continue;
		for (unsigned k = 0; k < n; k++) {
			finish(&jobs[k]);
			search_on(&jobs[k], which[k], from + FAULT_SEEDS - 1);
			failed += !was_found(&jobs[k], which[k]);
		}
		n = 0;
	}
	return failed;
}

static void usage(void)
{
	fprintf(stderr,
		"usage: sim [--seeds N | --seconds T] [--no-faults] [--jobs N] [--from S] | "
		"--faults | --fault NAME [--from S] | "
		"--seed S [--fault NAME]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	struct report *reports = mmap(NULL, MAX_JOBS * sizeof *reports, PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t n = UINT64_MAX / 2, from = 1, seed = 0;
	double seconds = DEFAULT_SECONDS;
	size_t fault = N_FAULTS;
	bool only_faults = false, no_faults = !DEFAULT_FAULTS;
	unsigned failed = 0, tests = 0;

	if (reports == MAP_FAILED)
		return 2;
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--faults") == 0) {
			only_faults = true;
			continue;
		}
		if (strcmp(argv[i], "--no-faults") == 0) {
			no_faults = true;
			continue;
		}
		if (!value)
			usage();
		i++;
		if (strcmp(argv[i - 1], "--seeds") == 0) {
			n = strtoull(value, NULL, 10);
			seconds = 1e9;
		} else if (strcmp(argv[i - 1], "--from") == 0) {
			from = strtoull(value, NULL, 10);
		} else if (strcmp(argv[i - 1], "--jobs") == 0) {
			wanted_jobs = strtol(value, NULL, 10);
		} else if (strcmp(argv[i - 1], "--seconds") == 0) {
			seconds = strtod(value, NULL);
		} else if (strcmp(argv[i - 1], "--seed") == 0) {
			seed = strtoull(value, NULL, 10);
		} else if (strcmp(argv[i - 1], "--fault") == 0) {
			fault = fault_called(value);
			only_faults = true;
		} else {
			usage();
		}
	}
	if (seed) {
		struct mask mask = fault < N_FAULTS ? mask_of(fault) : (struct mask){ { 0 }, 0 };

		play(reports, seed, mask, true);
		printf("seed %llu is well\n", (unsigned long long)seed);
		return 0;
	}
	if (!only_faults) {
		failed += test_seeds(argv[0], reports, from, n, seconds);
		tests++;
	}
	if (only_faults || !no_faults) {
		failed += test_faults(reports, fault, only_faults ? from : 1);
		tests += fault < N_FAULTS ? 1 : (unsigned)N_FAULTS;
	}
	printf("[==========] %u test(s) run.\n[  PASSED  ] %u test(s).\n", tests, tests - failed);
	if (failed)
		printf("[  FAILED  ] %u test(s).\n", failed);
	return failed ? 1 : 0;
}
