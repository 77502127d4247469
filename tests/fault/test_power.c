/* Power cuts. kill -9 leaves in the kernel what a process wrote; here Redis runs on files
 * that forget what was not fsynced (preload/forget.c). That it bites shows the first
 * test: with appendfsync everysec, accepted knowingly, accepted events are lost. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fault/scene.h"

#define FLOW 150

static int tear_down(void **state)
{
	scene_abort(*state);
	return 0;
}

static void on_forgetful_files(struct scene *s)
{
	static const char *environment[2];
	static char preload[PATH_MAX + 16];
	char path[PATH_MAX];

	(void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s",
		harness_build("tests/fault/forget.so", path, sizeof path));
	environment[0] = preload;
	s->f.redis_environment = environment;
}

static void power_cut(struct scene *s, bool redis_only)
{
	harness_redis_kill(s->f.redis);
	for (unsigned i = 0; i < 2 && !redis_only; i++) {
		harness_kill_hard(s->f.brokers[i]);
		harness_kill_hard(s->f.workers[i]);
		harness_kill_hard(s->f.gateways[i]);
	}
	scene_supervise(s);
}

static void cut_power(struct scene *s, bool redis_only)
{
	on_forgetful_files(s);
	scene_begin(s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		scene_flow(s, FLOW);
		scene_fault(s);
		power_cut(s, redis_only);
		scene_recovered(s);
	}
	scene_end(s);
}

static void test_everysec_loses(void **state)
{
	static const char *const knowingly[] = { "--durability", "everysec", NULL };
	static const char *const everysec[] = { "--appendfsync", "everysec", NULL };
	static struct scene s = { .name = "power cut, everysec (it must lose)",
		.may_lose = true,
		.f = { .broker_flags = knowingly, .redis_options = everysec } };

	*state = &s;
	cut_power(&s, false);
	assert_true(s.verdict.lost > 0);
}

static void test_always_loses_nothing(void **state)
{
	static struct scene s = { .name = "power cut, always" };

	*state = &s;
	cut_power(&s, false);
}

static void test_only_redis_lost_its_power(void **state)
{
	static struct scene s = { .name = "power cut of Redis alone, always" };

	*state = &s;
	cut_power(&s, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_everysec_loses, tear_down),
		cmocka_unit_test_teardown(test_always_loses_nothing, tear_down),
		cmocka_unit_test_teardown(test_only_redis_lost_its_power, tear_down),
	};

	return harness_main("power", tests);
}
