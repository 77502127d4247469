/* An event that kills each worker that runs it: dead after five deaths, alone from the
 * third run on, and nobody else suffers. The test is the workers' supervisor. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fault/scene.h"

#define FLOW    100
#define DEATHS  5
#define COMPANY 2 /* runs in which others may be in the same worker */
#define OTHERS_MOST \
	(1 + 1 + COMPANY) /* attempts: the last, one that fails on purpose, deaths suffered */

static atomic_bool wanted;
static atomic_uint poison; /* the last poisonous event's serial */

static int tear_down(void **state)
{
	scene_abort(*state);
	return 0;
}

static void some_poison(unsigned serial, char *out, size_t room)
{
	if (atomic_exchange(&wanted, false))
		poison = serial;
	if (serial == poison)
		(void)snprintf(out, room, "e%u sleep=100 die", serial);
	else
		(void)snprintf(out, room, "e%u sleep=%u fail=%d", serial, 5 + serial * 37 % 150,
			serial % 10 == 3);
}

/* ---- what the runs tell --------------------------------------------------------------- */

static bool same_run(const struct run *a, const struct run *b)
{
	return a->pid == b->pid && a->attempt == b->attempt && strcmp(a->name, b->name) == 0;
}

/* Other runs that were in the process when runs[at] began, or that began in it afterwards. */
static unsigned company(const struct run *runs, size_t n, size_t at)
{
	unsigned count = 0;

	for (size_t i = 0; i < n; i++) {
		bool ended = false;

		if (i == at || runs[i].what != '+' || runs[i].pid != runs[at].pid)
			continue;
		for (size_t j = i + 1; j < at && !ended; j++)
			ended = runs[j].what == '-' && same_run(&runs[j], &runs[i]);
		count += !ended;
	}
	return count;
}

static void look_at_poison(const struct run *runs, size_t n, const char *name)
{
	unsigned begun = 0;

	for (size_t i = 0; i < n; i++) {
		if (strcmp(runs[i].name, name) != 0)
			continue;
		assert_int_equal(runs[i].what, '+'); /* no run of it ends */
		assert_int_equal(runs[i].attempt, ++begun);
		if (begun > COMPANY)
			assert_int_equal(company(runs, n, i), 0);
	}
	assert_int_equal(begun, DEATHS);
}

static void look_at_others(const struct run *runs, size_t n, unsigned *most)
{
	for (size_t i = 0; i < n; i++)
		if (runs[i].what == '-' && runs[i].attempt > *most)
			*most = runs[i].attempt;
	assert_true(*most <= OTHERS_MOST);
}

static void test_poison(void **state)
{
	static struct scene s = { .name = "poison: kills its worker", .body = some_poison };
	unsigned most = 0;

	*state = &s;
	poison = UINT32_MAX;
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		char name[24];
		size_t n;
		struct run *runs;

		scene_flow(&s, FLOW);
		scene_fault(&s);
		wanted = true;
		wait_until(SCENE_MS, scene_supervise(&s) && effects_dead(s.f.redis) == i + 1);
		wait_until(SCENE_MS,
			scene_supervise(&s) && fabric_workers_of(&s.f, EFFECTS_SERVICE) == 2);
		scene_recovered(&s);
		runs = effects_runs(s.runs, &n);
		(void)snprintf(name, sizeof name, "e%u", poison);
		look_at_poison(runs, n, name);
		look_at_others(runs, n, &most);
		free(runs);
	}
	scene_end(&s);
	assert_int_equal(s.verdict.dead, s.rounds);
	assert_true(most > 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_poison, tear_down),
	};

	return harness_main("poison", tests);
}
