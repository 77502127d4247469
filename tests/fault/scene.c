#include "tests/fault/scene.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fault/record.h"

#define PER_SECOND 200
#define IN_FLIGHT  128
#define SHOWN      5
#define ERR_FAILED 1 /* PIRN_ERR_FAILED: the run was told to fail */

unsigned scene_rounds(void)
{
	const char *text = getenv("ROUNDS");
	unsigned n = text ? (unsigned)strtoul(text, NULL, 10) : 0;

	return n ? n : 2;
}

/* ---- the load ------------------------------------------------------------------------ */

static void body(unsigned serial, char *out, size_t room)
{
	(void)snprintf(
		out, room, "e%u sleep=%u fail=%d", serial, 5 + serial * 37 % 150, serial % 10 == 3);
}

static const char *gateway_in_turn(void *arg, unsigned serial)
{
	const struct scene *s = arg;

	return s->f.urls[serial / 2 % s->f.n_gateways];
}

static void start_load(struct scene *s)
{
	s->load = load_start(&(struct load_conf){
		.record = s->record,
		.url = gateway_in_turn,
		.arg = s,
		.brokers = s->f.gateway_list,
		.per_second = s->per_second ? s->per_second : PER_SECOND,
		.in_flight = IN_FLIGHT,
		.body = s->body ? s->body : body,
	});
}

void scene_begin(struct scene *s)
{
	struct fabric *f = &s->f;

	f->n_brokers = f->n_brokers ? f->n_brokers : 2;
	f->n_workers = f->n_workers ? f->n_workers : 2;
	f->n_gateways = f->n_gateways ? f->n_gateways : 2;
	harness_new_dir("scene", s->dir, sizeof s->dir);
	(void)snprintf(s->record, sizeof s->record, "%s/record", s->dir);
	(void)snprintf(s->runs, sizeof s->runs, "%s/runs", s->dir);
	setenv("EFFECT_RUNS", s->runs, 1);
	fabric_start(f);
	if (!f->no_workers)
		wait_until(SCENE_MS, fabric_workers_of(f, EFFECTS_SERVICE) == (int)f->n_workers);
	start_load(s);
	scene_flow(s, 1);
}

void scene_flow(struct scene *s, unsigned n)
{
	uint64_t before = load_accepted(s->load);

	wait_until(SCENE_MS, load_accepted(s->load) >= before + n);
}

void scene_fault(struct scene *s)
{
	s->fault_at = harness_now_ms();
	load_mark(s->load);
}

void scene_drain(struct scene *s)
{
	load_pause(s->load);
	wait_until(SCENE_MS, load_is_quiet(s->load));
	wait_until(SCENE_MS, effects_backlog(s->f.redis) == 0);
}

void scene_resume(struct scene *s)
{
	load_resume(s->load);
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

void scene_recovered(struct scene *s)
{
	wait_until(SCENE_MS, load_first_after(s->load) > 0);
	s->worst_first_ms = larger(s->worst_first_ms, load_first_after(s->load));
	scene_drain(s);
	s->worst_drained_ms = larger(s->worst_drained_ms, harness_now_ms() - s->fault_at);
	s->rounds++;
	scene_resume(s);
}

/* ---- the verdict ------------------------------------------------------------------------- */

static void judge_one(struct scene *s, struct verdict *v, unsigned serial, const struct recorded *e,
	unsigned effects)
{
	bool dead =
		v->letters > 0 && e->fate == RECORD_ACCEPTED && effects_is_dead(s->f.redis, e->id);

	v->sent += e->fate != RECORD_NONE;
	v->accepted += e->fate == RECORD_ACCEPTED;
	v->refused += e->fate == RECORD_REFUSED;
	v->unknown += e->fate == RECORD_UNKNOWN || e->fate == RECORD_SENT;
	v->dead += dead;
	v->dup += effects > 1;
	v->lost += e->fate == RECORD_ACCEPTED && effects == 0 && !dead;
	v->recovered += (e->fate == RECORD_UNKNOWN || e->fate == RECORD_SENT) && effects > 0;
	v->unexpected += (e->fate == RECORD_REFUSED || e->fate == RECORD_NONE) && effects > 0;
	if (v->lost + v->dup + v->unexpected > SHOWN || s->may_lose)
		return;
	if (effects > 1 || (e->fate == RECORD_ACCEPTED && !effects && !dead) ||
		(effects && (e->fate == RECORD_REFUSED || e->fate == RECORD_NONE)))
		print_error("e%u (%s, fate %d): %u effects\n", serial, e->id, e->fate, effects);
}

/* An adopter begins anew with the number of the run that it does not know of: so beginnings count, not
 * their numbers. */
static void count_runs(struct scene *s, struct verdict *v)
{
	size_t n;
	struct run *runs = effects_runs(s->runs, &n);
	bool *seen = calloc(n + v->sent + 1, 1);
	uint64_t again = 0, planned = 0;
	unsigned serial;

	assert_non_null(seen);
	for (size_t i = 0; i < n; i++) {
		if (sscanf(runs[i].name, "e%u", &serial) != 1 || serial >= n + v->sent)
			continue;
		again += runs[i].what == '+' && seen[serial];
		seen[serial] |= runs[i].what == '+';
		planned += runs[i].what == '-' && runs[i].err == ERR_FAILED;
	}
	v->redelivered = again > planned ? again - planned : 0;
	free(seen);
	free(runs);
}

struct verdict scene_judge(struct scene *s)
{
	struct verdict v = { .letters = effects_dead(s->f.redis) };
	struct effects effects;
	size_t n;
	struct recorded *events = record_read(s->record, &n);
	const struct recorded nobody = { .fate = RECORD_NONE };

	effects_read(s->f.redis, &effects);
	for (unsigned i = 0; i < n || i < effects.n; i++)
		judge_one(s, &v, i, i < n ? &events[i] : &nobody, effects_of(&effects, i));
	v.effects = effects.distinct;
	v.total = effects.total;
	v.sum = effects.sum;
	count_runs(s, &v);
	effects_free(&effects);
	free(events);
	return v;
}

static void print_row(const struct scene *s, FILE *out)
{
	const struct verdict *v = &s->verdict;

	fprintf(out,
		"| %-44s | %6u | %8zu | %7zu | %7zu | %4zu | %3zu | %9zu | %4zu | %11" PRIu64
		" | %8" PRIu64 " | %8" PRIu64 " |\n",
		s->name, s->rounds, v->accepted, v->refused, v->unknown, v->lost, v->dup,
		v->recovered, v->dead, v->redelivered, s->worst_first_ms, s->worst_drained_ms);
}

void scene_tell(const struct scene *s)
{
	const char *path = getenv("FAULT_TABLE");
	FILE *file = path ? fopen(path, "ae") : NULL;

	print_row(s, stdout);
	fflush(stdout);
	if (file) {
		print_row(s, file);
		fclose(file);
	}
}

void scene_end(struct scene *s)
{
	const struct verdict *v = &s->verdict;

	scene_drain(s);
	load_stop(&s->load);
	s->verdict = scene_judge(s);
	scene_tell(s);
	assert_true(v->accepted > 0);
	assert_int_equal(v->dup, 0);
	assert_int_equal(v->unexpected, 0);
	if (!s->may_lose) {
		assert_int_equal(v->lost, 0);
		assert_int_equal(v->total, v->sum);
	}
	scene_abort(s);
}

void scene_abort(struct scene *s)
{
	load_stop(&s->load);
	fabric_stop(&s->f);
}

/* ---- life and logs ------------------------------------------------------------------------- */

static void revive(struct harness_process *p)
{
	if (p && !harness_is_running(p))
		harness_again(p);
}

bool scene_supervise(struct scene *s)
{
	if (!harness_redis_is_running(s->f.redis))
		harness_redis_restart(s->f.redis);
	for (unsigned i = 0; i < FABRIC_MAX; i++) {
		revive(s->f.brokers[i]);
		revive(s->f.workers[i]);
		revive(s->f.gateways[i]);
	}
	return true;
}

static unsigned lines(struct harness_process *const *of, const char *id)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < FABRIC_MAX; i++)
		if (of[i])
			sum += harness_log_count(of[i], id, NULL, NULL);
	return sum;
}

unsigned scene_broker_lines(const struct scene *s, const char *id)
{
	return lines(s->f.brokers, id);
}

unsigned scene_worker_lines(const struct scene *s, const char *id)
{
	return lines(s->f.workers, id);
}
