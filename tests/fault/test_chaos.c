/* Many faults at once, by chance: whatever is killed, paused or restarted in whatever
 * order, also while the one before is not over (an adopter that dies at adopting, a
 * Redis that dies while a broker finds out what it had kept). SEED=n repeats the choice;
 * the machine's timing it does not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rand.h"
#include "tests/fault/scene.h"

#define STEPS    8    /* faults a round */
#define FLOW     20   /* accepted between two faults, at most */
#define PAUSE_MS 4500 /* longer than three beats */

static struct base_rand chance;
static struct {
	struct harness_process *process;
	uint64_t until;
} paused;

static int tear_down(void **state)
{
	scene_abort(*state);
	return 0;
}

static uint64_t seed(void)
{
	const char *text = getenv("SEED");

	return text ? strtoull(text, NULL, 10) : harness_now_ms();
}

static void wake(bool now)
{
	if (!paused.process || (!now && harness_now_ms() < paused.until))
		return;
	harness_resume(paused.process);
	paused.process = NULL;
}

static void pause_one(struct harness_process *victim)
{
	if (paused.process || !harness_is_running(victim))
		return;
	harness_pause(victim);
	paused.process = victim;
	paused.until = harness_now_ms() + PAUSE_MS;
}

static void kill_one(struct harness_process *victim)
{
	if (victim == paused.process)
		paused.process = NULL;
	harness_kill_hard(victim);
}

static void break_something(struct scene *s)
{
	unsigned i = (unsigned)base_rand_below(&chance, 2);

	switch (base_rand_below(&chance, 8)) {
	case 0:
		kill_one(s->f.gateways[i]);
		break;
	case 1:
	case 2:
		kill_one(s->f.brokers[i]);
		break;
	case 3:
		kill_one(s->f.workers[i]);
		break;
	case 4:
		harness_redis_kill(s->f.redis);
		break;
	case 5:
		pause_one(s->f.brokers[i]);
		break;
	case 6:
		pause_one(s->f.workers[i]);
		break;
	default:
		kill_one(s->f.brokers[0]);
		kill_one(s->f.brokers[1]);
	}
}

/* So many more were accepted, or some time went by: nothing may be there that accepts. */
static bool enough(const struct scene *s, uint64_t before, uint64_t until)
{
	return load_accepted(s->load) >= before + FLOW || harness_now_ms() >= until;
}

static void test_chaos(void **state)
{
	static struct scene s = { .name = "anything, at any time" };
	uint64_t number = seed();

	*state = &s;
	print_message("SEED=%llu\n", (unsigned long long)number);
	base_rand_init(&chance, number);
	scene_begin(&s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		scene_fault(&s);
		for (unsigned step = 0; step < STEPS; step++) {
			uint64_t before = load_accepted(s.load);
			uint64_t until = harness_now_ms() + base_rand_below(&chance, 1500);

			break_something(&s);
			wait_until(SCENE_MS, enough(&s, before, until));
			wake(false);
			scene_supervise(&s);
		}
		wake(true);
		scene_fault(&s); /* the recovery from the last of them */
		scene_recovered(&s);
		wait_until(SCENE_MS, fabric_workers_of(&s.f, EFFECTS_SERVICE) == 2);
	}
	scene_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_chaos, tear_down),
	};

	return harness_main("chaos", tests);
}
