/* An engine and up to two brokers that do as they are told, for what sends events
 * and asks after them. To be included by one file of a test program.
 */
#ifndef TESTS_ENGINE_RIG_H
#define TESTS_ENGINE_RIG_H

#include "tests/unit/net_fixture.h"

#include "client/engine.h"

static struct fixture f;
static struct fake_broker *b[2];
static struct client_engine *engine;

static struct rig_registry {
	unsigned times;
	bool events;
	size_t n_warnings;
	char first[32], last[32];
} rig_registry;

static inline void rig_on_registry(void *arg, const Pirn__Registry *r)
{
	struct rig_registry *told = arg;

	told->times++;
	told->events = r->events;
	told->n_warnings = r->n_warnings;
	if (r->n_warnings == 0)
		return;
	snprintf(told->first, sizeof told->first, "%s", r->warnings[0]);
	snprintf(told->last, sizeof told->last, "%s", r->warnings[r->n_warnings - 1]);
}

static inline void rig_brokers(unsigned n_brokers)
{
	if (n_brokers > 0)
		b[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 1);
	if (n_brokers > 1)
		b[1] = fake_new(f.loop, fixture_ipc(&f, "two"), 2);
}

static inline void rig_engine(unsigned n_brokers, uint32_t connect_wait_ms)
{
	const struct client_engine_events events = { .on_registry = rig_on_registry,
		.arg = &rig_registry };
	struct client_engine_conf conf = { .name = "test", .connect_wait_ms = connect_wait_ms };
	char both[256], *why = NULL;

	snprintf(both, sizeof both, "%s,%s", fixture_ipc(&f, "one"), fixture_ipc(&f, "two"));
	conf.brokers = n_brokers > 1 ? both : fixture_ipc(&f, "one");
	assert_int_equal(client_engine_new(f.loop, &conf, &events, &engine, &why), BASE_OK);
	UNTIL(&f, client_engine_brokers(engine) == n_brokers);
}

static inline void rig_start(unsigned n_brokers, uint32_t connect_wait_ms)
{
	rig_brokers(n_brokers);
	rig_engine(n_brokers, connect_wait_ms);
}

static inline int rig_set_up(void **state)
{
	(void)state;
	memset(&rig_registry, 0, sizeof rig_registry);
	fixture_init(&f);
	return 0;
}

static inline int rig_tear_down(void **state)
{
	(void)state;
	client_engine_free(&engine);
	for (int i = 0; i < 2; i++)
		if (b[i])
			fake_free(&b[i]);
	fixture_fini(&f);
	return 0;
}

/* The broker that got the only item so far. */
static inline int rig_who(void)
{
	assert_int_equal(b[0]->n_items + b[1]->n_items, 1);
	return b[0]->n_items ? 0 : 1;
}

static inline void rig_refuse(
	struct fake_broker *broker, const struct fake_item *to, enum _Pirn__Reason reason)
{
	assert_int_equal(fake_send(broker, to->peer, PIRN__KIND__REFUSED, to->slot, to->generation,
				 0, (uint32_t)reason, NULL, 0),
		BASE_OK);
}

#define RIG_TEST(name) cmocka_unit_test_setup_teardown(name, rig_set_up, rig_tear_down)

#endif
