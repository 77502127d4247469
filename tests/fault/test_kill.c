/* kill -9 of one part, or of all at once, under load: what was accepted is there, once. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fault/scene.h"

#define FLOW 100

static int tear_down(void **state)
{
	scene_abort(*state);
	return 0;
}

/* One after another, each in its round. */
static void kill_in_turn(struct scene *s, struct harness_process *const *victims, unsigned n)
{
	scene_begin(s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		scene_flow(s, FLOW);
		scene_fault(s);
		harness_kill_hard(victims[i % n]);
		scene_flow(s, FLOW / 2);
		harness_again(victims[i % n]);
		scene_recovered(s);
	}
	scene_end(s);
}

static void test_a_gateway(void **state)
{
	static struct scene s = { .name = "kill -9 a gateway, of two" };

	*state = &s;
	kill_in_turn(&s, s.f.gateways, 2);
}

static void test_a_broker(void **state)
{
	static struct scene s = { .name = "kill -9 a broker, of two" };

	*state = &s;
	kill_in_turn(&s, s.f.brokers, 2);
}

static void test_the_only_broker(void **state)
{
	static struct scene s = { .name = "kill -9 the only broker", .f = { .n_brokers = 1 } };

	*state = &s;
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		scene_flow(&s, FLOW);
		scene_fault(&s);
		harness_kill_hard(s.f.brokers[0]);
		harness_again(s.f.brokers[0]);
		scene_recovered(&s);
	}
	scene_end(&s);
}

static void test_a_worker(void **state)
{
	static struct scene s = { .name = "kill -9 a worker, of two" };

	*state = &s;
	kill_in_turn(&s, s.f.workers, 2);
	assert_true(s.verdict.redelivered > 0);
}

static void test_redis(void **state)
{
	static struct scene s = { .name = "kill -9 redis-server" };

	*state = &s;
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		scene_flow(&s, FLOW);
		scene_fault(&s);
		harness_redis_kill(s.f.redis);
		harness_redis_restart(s.f.redis);
		scene_recovered(&s);
	}
	scene_end(&s);
}

static void test_everything(void **state)
{
	static struct scene s = { .name = "kill -9 everything at once" };

	*state = &s;
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		scene_flow(&s, FLOW);
		scene_fault(&s);
		for (unsigned j = 0; j < 2; j++) {
			harness_signal(s.f.brokers[j], SIGKILL);
			harness_signal(s.f.workers[j], SIGKILL);
			harness_signal(s.f.gateways[j], SIGKILL);
		}
		harness_redis_kill(s.f.redis);
		for (unsigned j = 0; j < 2; j++) {
			harness_kill_hard(s.f.brokers[j]);
			harness_kill_hard(s.f.workers[j]);
			harness_kill_hard(s.f.gateways[j]);
		}
		scene_supervise(&s);
		scene_recovered(&s);
	}
	scene_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_a_gateway, tear_down),
		cmocka_unit_test_teardown(test_a_broker, tear_down),
		cmocka_unit_test_teardown(test_the_only_broker, tear_down),
		cmocka_unit_test_teardown(test_a_worker, tear_down),
		cmocka_unit_test_teardown(test_redis, tear_down),
		cmocka_unit_test_teardown(test_everything, tear_down),
	};

	return harness_main("kill", tests);
}
