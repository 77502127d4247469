/* Redis without room: its disk is full, or its memory. What does not fit is refused, what
 * was accepted stays, and all goes on when there is room again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fault/scene.h"

#define FLOW    100
#define REFUSED 30
#define PLAIN   40

static int tear_down(void **state)
{
	scene_abort(*state);
	return 0;
}

static void refuses(struct scene *s, unsigned n)
{
	uint64_t before = load_refused(s->load);

	wait_until(SCENE_MS, load_refused(s->load) >= before + n);
}

/* ---- disk ---------------------------------------------------------------------------- */

static void touch(const char *path)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fclose(file);
}

/* With `always` a Redis that cannot write its file ends; whoever starts it again finds the disk full
 * until it is not. */
static void test_the_disk_is_full(void **state)
{
	static struct scene s = { .name = "Redis: disk full, then room again" };
	static const char *environment[3];
	static char preload[PATH_MAX + 16], sentinel[PATH_MAX], path[PATH_MAX];

	*state = &s;
	(void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s",
		harness_build("tests/fault/nospace.so", path, sizeof path));
	(void)snprintf(sentinel, sizeof sentinel, "NOSPACE=%s/full", harness_dir());
	environment[0] = preload;
	environment[1] = sentinel;
	s.f.redis_environment = environment;
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		const char *full = sentinel + strlen("NOSPACE=");

		scene_flow(&s, FLOW);
		scene_fault(&s);
		touch(full);
		wait_until(SCENE_MS, !harness_redis_is_running(s.f.redis));
		refuses(&s, REFUSED);
		harness_redis_spawn(s.f.redis);
		wait_until(SCENE_MS, !harness_redis_is_running(s.f.redis));
		refuses(&s, REFUSED);
		assert_int_equal(remove(full), 0);
		harness_redis_restart(s.f.redis);
		scene_recovered(&s);
	}
	scene_end(&s);
	assert_true(s.verdict.refused >= 2 * REFUSED);
}

/* ---- memory ---------------------------------------------------------------------------- */

static void set_memory(struct scene *s, const char *size)
{
	assert_true(harness_redis_says(s->f.redis, "OK", "CONFIG SET maxmemory %s", size));
}

/* Events without an operation of state: Redis is needed for their end only. */
static void send_plain(struct scene *s)
{
	static const char *const headers[] = { "Prefer: respond-async", NULL };

	for (unsigned i = 0; i < PLAIN; i++) {
		struct harness_answer a = harness_call(&(struct harness_call){ .base = s->f.urls[0],
			.target = "/v1/invoke/" EFFECTS_SERVICE,
			.body = "plain sleep=400 plain",
			.headers = headers });

		assert_int_equal(a.status, 202);
		harness_answer_free(&a);
	}
}

static unsigned plain_ended(const struct scene *s)
{
	size_t n;
	struct run *runs = effects_runs(s->runs, &n);
	unsigned count = 0;

	for (size_t i = 0; i < n; i++)
		count += runs[i].what == '-' && strcmp(runs[i].name, "plain") == 0;
	free(runs);
	return count;
}

static void test_the_memory_is_full(void **state)
{
	static struct scene s = { .name = "Redis: out of memory, then room again" };

	*state = &s;
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		uint64_t accepted;

		scene_flow(&s, FLOW);
		scene_drain(&s);
		send_plain(&s);
		set_memory(&s, "1mb");
		assert_true(effects_backlog(s.f.redis) > 0);
		wait_until(SCENE_MS, effects_backlog(s.f.redis) == 0); /* settled all the same */
		assert_int_equal(plain_ended(&s), (i + 1) * PLAIN);
		accepted = load_accepted(s.load);
		scene_resume(&s);
		refuses(&s, REFUSED);
		assert_int_equal(load_accepted(s.load), accepted);
		set_memory(&s, "0");
		scene_flow(&s, FLOW);
		scene_fault(&s);
		set_memory(&s, "1mb"); /* now with runs whose operations are refused */
		refuses(&s, REFUSED);
		set_memory(&s, "0");
		scene_recovered(&s);
	}
	scene_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_the_disk_is_full, tear_down),
		cmocka_unit_test_teardown(test_the_memory_is_full, tear_down),
	};

	return harness_main("redis", tests);
}
