/* Links that are cut or hang while both ends live: gateways and clients to a broker,
 * workers to a broker, a broker to Redis, workers to Redis. Each stretch is a proxy's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fault/proxy.h"
#include "tests/fault/scene.h"

#define FLOW    100
#define BROKERS 2

enum stretch {
	GATEWAYS,
	WORKERS,
	REDIS,
	STATE,
	STRETCHES
}; /* STATE: workers to Redis, one for all */

static struct proxy *proxies[STRETCHES][BROKERS];

static void add(char *list, size_t room, const char *endpoint)
{
	size_t size = strlen(list);

	(void)snprintf(list + size, room - size, "%s%s", size ? "," : "", endpoint);
}

static void lay(struct fabric *f, enum stretch which, unsigned i, const char *target, char *out)
{
	static const char *const names[] = { "gateways", "workers", "redis", "state" };

	(void)snprintf(out, 200, "%s://%.150s/%s-%u.sock", which >= REDIS ? "unix" : "ipc", f->dir,
		names[which], i);
	proxies[which][i] = proxy_start(out, target);
}

static void through_proxies(struct fabric *f)
{
	char state[200];

	lay(f, STATE, 0, f->redis_url, state);
	(void)snprintf(f->worker_redis, sizeof f->worker_redis, "%s", state);
	f->gateway_list[0] = f->worker_list[0] = '\0';
	for (unsigned i = 0; i < BROKERS; i++) {
		char endpoint[200];

		lay(f, GATEWAYS, i, f->endpoints[i], endpoint);
		add(f->gateway_list, sizeof f->gateway_list, endpoint);
		lay(f, WORKERS, i, f->endpoints[i], endpoint);
		add(f->worker_list, sizeof f->worker_list, endpoint);
		lay(f, REDIS, i, f->redis_url, endpoint);
		(void)snprintf(f->broker_redis[i], sizeof f->broker_redis[i], "%s", endpoint);
	}
}

static int tear_down(void **state)
{
	scene_abort(*state);
	for (unsigned i = 0; i < STRETCHES; i++)
		for (unsigned j = 0; j < BROKERS; j++)
			proxy_stop(&proxies[i][j]);
	return 0;
}

/* ---- who notices ----------------------------------------------------------------------- */

static unsigned links_lost(struct harness_process *const *of, unsigned broker)
{
	char name[32];
	unsigned sum = 0;

	(void)snprintf(name, sizeof name, "broker-%u", broker + 1);
	for (unsigned i = 0; i < 2; i++)
		sum += harness_log_count(of[i], "link_down", "broker", name);
	return sum;
}

static unsigned noticed(const struct scene *s, enum stretch which, unsigned broker)
{
	switch (which) {
	case GATEWAYS:
		return links_lost(s->f.gateways, broker);
	case WORKERS:
		return links_lost(s->f.workers, broker);
	case STATE:
		return scene_worker_lines(s, "redis_down");
	default:
		return harness_log_count(s->f.brokers[1 - broker], "journal_adopted", NULL, NULL);
	}
}

/* Each round takes the stretch to another broker away until somebody acts on it. */
static void without(struct scene *s, enum stretch which, enum proxy_mode mode)
{
	s->f.reroute = through_proxies;
	scene_begin(s);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		unsigned broker = which == STATE ? 0 : i % BROKERS;
		unsigned before = noticed(s, which, broker);
		unsigned wanted = which == REDIS ? 1 : 2;

		scene_flow(s, FLOW);
		scene_fault(s);
		proxy_set(proxies[which][broker], mode);
		wait_until(SCENE_MS, noticed(s, which, broker) >= before + wanted);
		scene_flow(s, FLOW);
		if (mode == PROXY_DEAF)
			proxy_set(proxies[which][broker], PROXY_CUT);
		proxy_set(proxies[which][broker], PROXY_WHOLE);
		scene_recovered(s);
		wait_until(SCENE_MS, fabric_workers_of(&s->f, EFFECTS_SERVICE) == 2);
		if (which == REDIS)
			wait_until(SCENE_MS, harness_logged(s->f.brokers[broker], "fenced"));
	}
	scene_end(s);
}

static void test_gateways_cut(void **state)
{
	static struct scene s = { .name = "gateways -/- broker, cut" };

	*state = &s;
	without(&s, GATEWAYS, PROXY_CUT);
}

static void test_gateways_frozen(void **state)
{
	static struct scene s = { .name = "gateways ... broker, hangs" };

	*state = &s;
	without(&s, GATEWAYS, PROXY_FROZEN);
}

static void test_workers_cut(void **state)
{
	static struct scene s = { .name = "workers -/- broker, cut" };

	*state = &s;
	without(&s, WORKERS, PROXY_CUT);
}

static void test_workers_frozen(void **state)
{
	static struct scene s = { .name = "workers ... broker, hangs" };

	*state = &s;
	without(&s, WORKERS, PROXY_FROZEN);
}

static void test_redis_cut(void **state)
{
	static struct scene s = { .name = "broker -/- Redis, cut until adopted" };

	*state = &s;
	without(&s, REDIS, PROXY_CUT);
}

/* What it had sent arrives when its journals are another's. */
static void test_redis_frozen(void **state)
{
	static struct scene s = { .name = "broker ... Redis, hangs until adopted" };

	*state = &s;
	without(&s, REDIS, PROXY_FROZEN);
}

/* It happened, and nobody told. */
static void test_redis_deaf(void **state)
{
	static struct scene s = { .name = "broker --> Redis, answers lost" };

	*state = &s;
	without(&s, REDIS, PROXY_DEAF);
}

static void test_state_cut(void **state)
{
	static struct scene s = { .name = "workers -/- Redis, cut" };

	*state = &s;
	without(&s, STATE, PROXY_CUT);
	assert_true(s.verdict.redelivered > 0);
}

/* The worker asks again in the same run when it can, so there need not be another one. */
static void test_state_deaf(void **state)
{
	static struct scene s = { .name = "workers --> Redis, answers lost" };

	*state = &s;
	without(&s, STATE, PROXY_DEAF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_gateways_cut, tear_down),
		cmocka_unit_test_teardown(test_gateways_frozen, tear_down),
		cmocka_unit_test_teardown(test_workers_cut, tear_down),
		cmocka_unit_test_teardown(test_workers_frozen, tear_down),
		cmocka_unit_test_teardown(test_redis_cut, tear_down),
		cmocka_unit_test_teardown(test_redis_frozen, tear_down),
		cmocka_unit_test_teardown(test_redis_deaf, tear_down),
		cmocka_unit_test_teardown(test_state_cut, tear_down),
		cmocka_unit_test_teardown(test_state_deaf, tear_down),
	};

	return harness_main("cut", tests);
}
