/* A peer's side: links that come up, break, drain, double and come back. */
#include "tests/unit/net_fixture.h"

#include "net/links.h"

static struct fixture f;
static struct fake_broker *brokers[2];
static struct net_links *links;

static struct {
	unsigned up, down, drain, messages, drained, beats_asked;
	uint32_t last_kind;
	uint32_t last_slot;
	size_t last_body;
	bool had_block;
	struct net_link *link; /* the last that came up */
	const Pirn__Beat *beat;
} seen;

static void on_up(void *arg, struct net_link *link, const Pirn__Welcome *welcome)
{
	assert_ptr_equal(arg, &seen);
	assert_non_null(welcome);
	seen.up++;
	seen.link = link;
	net_link_set_user(link, &seen);
}

static void on_down(void *arg, struct net_link *link)
{
	(void)arg;
	assert_ptr_equal(net_link_user(link), &seen);
	seen.down++;
}

static void on_drain(void *arg, struct net_link *link)
{
	(void)arg;
	assert_true(net_link_draining(link));
	seen.drain++;
}

static void on_message(
	void *arg, struct net_link *link, const struct net_frame *frame, struct base_block *block)
{
	(void)arg;
	(void)link;
	seen.last_kind = frame->head->kind;
	if (frame->head->kind == PIRN__KIND__DRAIN) {
		seen.drained++;
		return;
	}
	seen.messages++;
	seen.last_body = frame->body_size;
	seen.had_block = block != NULL;
	if (frame->head->n_items)
		seen.last_slot = frame->head->items[0]->slot;
}

static const Pirn__Beat *on_beat(void *arg)
{
	(void)arg;
	seen.beats_asked++;
	return seen.beat;
}

static enum base_err try_connect(const char *endpoints, char **why)
{
	const struct net_links_events events = { .on_up = on_up,
		.on_down = on_down,
		.on_drain = on_drain,
		.on_message = on_message,
		.on_beat = on_beat,
		.arg = &seen };
	struct net_links_conf conf = {
		.brokers = endpoints, .role = PIRN__ROLE__WORKER, .name = "test"
	};

	memset(conf.boot, 0x77, sizeof conf.boot);
	return net_links_new(f.loop, &conf, &events, &links, why);
}

static void connect_to(const char *endpoints)
{
	char *why = NULL;

	assert_int_equal(try_connect(endpoints, &why), BASE_OK);
	assert_null(why);
}

static int set_up(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof seen);
	fixture_init(&f);
	brokers[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 1);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	net_links_free(&links);
	for (int i = 0; i < 2; i++)
		if (brokers[i])
			fake_free(&brokers[i]);
	fixture_fini(&f);
	return 0;
}

/* ---- up and down ---------------------------------------------------------------- */

static void a_link_comes_up(void **state)
{
	(void)state;
	connect_to(fixture_ipc(&f, "one"));
	assert_int_equal(net_links_up(links), 0);
	UNTIL(&f, seen.up == 1);
	assert_int_equal(net_links_up(links), 1);
	assert_ptr_equal(net_links_at(links, 0), seen.link);
	assert_string_equal(net_link_name(seen.link), "broker-1");
	assert_memory_equal(net_link_boot(seen.link), brokers[0]->boot, 16);
	assert_int_equal(brokers[0]->hellos, 1);
}

static void a_broker_may_come_later(void **state)
{
	(void)state;
	connect_to(fixture_ipc(&f, "two"));
	brokers[1] = fake_new(f.loop, fixture_ipc(&f, "two"), 2);
	UNTIL(&f, seen.up == 1);
	assert_string_equal(net_link_name(seen.link), "broker-2");
}

static void a_broken_connection_is_noticed_and_made_anew(void **state)
{
	(void)state;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	fake_free(&brokers[0]); /* says nothing: the monitor tells */
	UNTIL(&f, seen.down == 1);
	assert_int_equal(net_links_up(links), 0);
	brokers[0] = fake_new(f.loop, fixture_ipc(&f, "one"), 9);
	UNTIL(&f, seen.up == 2);
	assert_string_equal(net_link_name(seen.link), "broker-9");
}

/* A broker that ends says its last words right before: they count. */
static void what_came_before_the_end_is_read(void **state)
{
	(void)state;
	connect_to(fixture_ipc(&f, "one"));
	for (uint32_t round = 1; round <= 10; round++) {
		struct fake_broker *b = brokers[0];

		UNTIL(&f, seen.up == round && b->n_peers > 0);
		assert_int_equal(
			fake_send(b, b->peers[0], PIRN__KIND__DISPATCH, round, 1, 0, 0, "x", 1),
			BASE_OK);
		fake_free(&brokers[0]);
		UNTIL(&f, seen.down == round);
		assert_int_equal(seen.messages, round);
		assert_int_equal(seen.last_slot, round);
		brokers[0] = fake_new(f.loop, fixture_ipc(&f, "one"), (uint8_t)round);
	}
}

static void bye_and_resync_end_a_link(void **state)
{
	static const uint32_t ends[] = { PIRN__KIND__BYE, PIRN__KIND__RESYNC };

	(void)state;
	connect_to(fixture_ipc(&f, "one"));
	for (unsigned i = 0; i < 2; i++) {
		struct fake_broker *b = brokers[0];
		UNTIL(&f, seen.up == i + 1);
		assert_int_equal(
			net_router_control(b->router, b->peers[b->n_peers - 1], ends[i], NULL),
			BASE_OK);
		UNTIL(&f, seen.down == i + 1);
	}
	UNTIL(&f, seen.up == 3);
	assert_int_equal(brokers[0]->hellos, 3);
}

static void a_silent_broker_is_given_up(void **state)
{
	(void)state;
	brokers[0]->beat_ms = 20;
	brokers[0]->beats = false;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	UNTIL(&f, seen.down == 1);
	assert_true(brokers[0]->beats_heard > 0);
	brokers[0]->beats = true;
	UNTIL(&f, seen.up == 2);
}

static void beats_keep_a_link_and_carry_figures(void **state)
{
	Pirn__Metric metric = PIRN__METRIC__INIT;
	Pirn__Metric *metrics[] = { &metric };
	Pirn__Beat beat = PIRN__BEAT__INIT;

	(void)state;
	metric.name = (char *)(uintptr_t) "pirn_worker_runs_total";
	beat.metrics = metrics;
	beat.n_metrics = 1;
	seen.beat = &beat;
	brokers[0]->beat_ms = 10;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, brokers[0]->beats_heard >= 30);
	assert_int_equal(seen.up, 1);
	assert_int_equal(seen.down, 0);
	assert_int_equal(brokers[0]->metrics, brokers[0]->beats_heard);
	assert_true(seen.beats_asked >= 30);
}

static void a_refused_peer_tries_again(void **state)
{
	(void)state;
	brokers[0]->refuse = "no such role";
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, brokers[0]->hellos == 1);
	brokers[0]->refuse = NULL;
	UNTIL(&f, seen.up == 1);
	assert_int_equal(seen.down, 0);
}

static void another_version_is_refused(void **state)
{
	(void)state;
	brokers[0]->version = 2;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, brokers[0]->hellos == 1 && brokers[0]->gone == 1);
	assert_int_equal(seen.up, 0);
}

/* ---- messages -------------------------------------------------------------------- */

static void items_and_credits_arrive(void **state)
{
	static uint8_t large[64 * 1024];
	struct net_payload payload = {
		.meta = large, .meta_size = 10, .data = large + 10, .data_size = 5
	};
	Pirn__Credit credit = PIRN__CREDIT__INIT;
	Pirn__Item item = PIRN__ITEM__INIT;
	struct fake_broker *b = brokers[0];

	(void)state;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	item.has_slot = 1;
	for (uint32_t i = 0; i < 3; i++) {
		item.slot = i;
		assert_int_equal(
			net_link_item(seen.link, PIRN__KIND__RESULT, &item, &payload), BASE_OK);
	}
	assert_int_equal(net_link_credit(seen.link, &credit), BASE_OK);
	UNTIL(&f, b->n_items == 3);
	assert_int_equal(b->messages, 2); /* HELLO, and one batch with the credit on it */
	payload.data_size = sizeof large - 10;
	assert_int_equal(net_link_item(seen.link, PIRN__KIND__RESULT, &item, &payload), BASE_OK);
	UNTIL(&f, b->n_items == 4);
	assert_int_equal(
		fake_send(b, b->peers[0], PIRN__KIND__DISPATCH, 5, 1, 0, 0, "x", 1), BASE_OK);
	UNTIL(&f, seen.messages == 1);
	assert_int_equal(seen.last_slot, 5);
	assert_false(seen.had_block);
	assert_int_equal(
		fake_send(b, b->peers[0], PIRN__KIND__DISPATCH, 6, 1, 0, 0, large, sizeof large),
		BASE_OK);
	UNTIL(&f, seen.messages == 2);
	assert_true(seen.had_block);
	assert_int_equal(seen.last_body, sizeof large);
}

static void nothing_can_be_sent_on_a_link_that_is_down(void **state)
{
	Pirn__Item item = PIRN__ITEM__INIT;
	struct net_link *link;

	(void)state;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	link = seen.link;
	fake_free(&brokers[0]);
	UNTIL(&f, seen.down == 1);
	assert_int_equal(net_link_item(link, PIRN__KIND__SUBMIT, &item, NULL), BASE_GONE);
	assert_int_equal(net_link_control(link, PIRN__KIND__BEAT, NULL), BASE_GONE);
}

/* A newer broker may say what we do not know yet; that takes nothing away. */
static void unknown_kinds_are_dropped(void **state)
{
	struct fake_broker *b = brokers[0];

	(void)state;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	assert_int_equal(net_router_control(b->router, b->peers[0], 99, NULL), BASE_OK);
	assert_int_equal(
		fake_send(b, b->peers[0], PIRN__KIND__DISPATCH, 5, 1, 0, 0, "x", 1), BASE_OK);
	UNTIL(&f, seen.messages == 1);
	assert_int_equal(seen.down, 0);
}

/* ---- draining -------------------------------------------------------------------- */

static void a_draining_broker_is_answered(void **state)
{
	struct fake_broker *b = brokers[0];

	(void)state;
	b->no_drain = true;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	assert_int_equal(
		net_router_control(b->router, b->peers[0], PIRN__KIND__DRAIN, NULL), BASE_OK);
	UNTIL(&f, seen.drain == 1 && b->drains == 1);
	assert_int_equal(net_links_up(links), 1); /* for the answers that are still to come */
	assert_int_equal(seen.drained, 0);
}

static void our_own_drain_is_answered_once(void **state)
{
	(void)state;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	net_links_drain(links);
	net_links_drain(links);
	UNTIL(&f, seen.drained == 1);
	assert_int_equal(brokers[0]->drains, 2); /* asked twice: see hear_answer */
	assert_int_equal(seen.drain, 0);
}

/* The broker drains too, and its DRAIN crosses ours; it takes our first for the answer to its own and
 * says nothing more to it. Only its answer to our second means that it has heard us. */
static void drains_that_cross(void **state)
{
	struct fake_broker *b = brokers[0];

	(void)state;
	b->no_drain = true;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	net_links_drain(links);
	assert_int_equal(
		net_router_control(b->router, b->peers[0], PIRN__KIND__DRAIN, NULL), BASE_OK);
	UNTIL(&f, b->drains == 2);
	assert_int_equal(seen.drained, 0);
	assert_int_equal(
		net_router_control(b->router, b->peers[0], PIRN__KIND__DRAIN, NULL), BASE_OK);
	UNTIL(&f, seen.drained == 1);
	assert_int_equal(b->drains, 2);
}

static void bye_is_said_at_the_end(void **state)
{
	(void)state;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	net_links_free(&links);
	UNTIL(&f, brokers[0]->byes == 1);
	assert_int_equal(seen.down, 0);
}

/* ---- several --------------------------------------------------------------------- */

static void several_brokers(void **state)
{
	char both[256];

	(void)state;
	brokers[1] = fake_new(f.loop, fixture_ipc(&f, "two"), 2);
	snprintf(both, sizeof both, "%s,%s", fixture_ipc(&f, "one"), fixture_ipc(&f, "two"));
	connect_to(both);
	UNTIL(&f, net_links_up(links) == 2);
	assert_ptr_not_equal(net_links_at(links, 0), net_links_at(links, 1));
	fake_free(&brokers[0]);
	UNTIL(&f, seen.down == 1);
	assert_int_equal(net_links_up(links), 1);
	assert_string_equal(net_link_name(net_links_at(links, 0)), "broker-2");
}

/* One broker under two addresses: one link, and the other takes over when its address goes. */
static void two_ways_to_one_broker_are_one_link(void **state)
{
	char both[256];

	(void)state;
	brokers[1] = fake_new(f.loop, fixture_ipc(&f, "two"), 1); /* the same boot id */
	snprintf(both, sizeof both, "%s,%s", fixture_ipc(&f, "one"), fixture_ipc(&f, "two"));
	connect_to(both);
	UNTIL(&f, seen.up == 2 && seen.down == 1);
	assert_int_equal(net_links_up(links), 1);
	UNTIL(&f, brokers[0]->gone + brokers[1]->gone == 1);
	fake_free(&brokers[brokers[0]->gone ? 1 : 0]); /* the one that is linked */
	UNTIL(&f, seen.up == 3);
	assert_int_equal(net_links_up(links), 1);
}

static void the_same_endpoint_twice_is_one_link(void **state)
{
	char both[256];

	(void)state;
	snprintf(both, sizeof both, "%s,%s", fixture_ipc(&f, "one"), fixture_ipc(&f, "one"));
	brokers[0]->beat_ms = 20;
	connect_to(both);
	UNTIL(&f, brokers[0]->beats_heard == 3); /* later there is still one */
	assert_int_equal(brokers[0]->hellos, 1);
}

static void a_name_is_followed(void **state)
{
	unsigned port = fixture_port();
	char name[64];

	(void)state;
	snprintf(name, sizeof name, "tcp://127.0.0.1:%u", port);
	brokers[1] = fake_new(f.loop, name, 2);
	/* A name to us, which getaddrinfo knows without /etc/hosts: a bare system has none. */
	snprintf(name, sizeof name, "tcp://127.1:%u", port);
	connect_to(name);
	UNTIL(&f, seen.up == 1);
	assert_string_equal(net_link_name(seen.link), "broker-2");
}

static void services_can_be_announced_again(void **state)
{
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Manifest *services[] = { &manifest };

	(void)state;
	manifest.service = (char *)(uintptr_t) "hello";
	brokers[0]->beat_ms = 20;
	connect_to(fixture_ipc(&f, "one"));
	UNTIL(&f, seen.up == 1);
	net_links_set_services(links, services, 1);
	net_links_hello_again(links);
	UNTIL(&f, brokers[0]->hellos == 2);
	assert_int_equal(brokers[0]->hellos_again, 1);
	UNTIL(&f, brokers[0]->beats_heard == 3);
	assert_int_equal(seen.up, 1); /* what is under way stays */
	assert_int_equal(seen.down, 0);
}

static void wrong_lists_are_told(void **state)
{
	static const char *const wrong[] = { "", "nonsense", "tcp://127.0.0.1:7400,",
		"tcp://127.0.0.1", "ipc://x,tcp://:1" };

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		char *why = NULL;
		assert_int_equal(try_connect(wrong[i], &why), BASE_CONFIG);
		assert_non_null(why);
		assert_null(links);
		free(why);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_link_comes_up),
		TEST(a_broker_may_come_later),
		TEST(a_broken_connection_is_noticed_and_made_anew),
		TEST(what_came_before_the_end_is_read),
		TEST(bye_and_resync_end_a_link),
		TEST(a_silent_broker_is_given_up),
		TEST(beats_keep_a_link_and_carry_figures),
		TEST(a_refused_peer_tries_again),
		TEST(another_version_is_refused),
		TEST(items_and_credits_arrive),
		TEST(nothing_can_be_sent_on_a_link_that_is_down),
		TEST(unknown_kinds_are_dropped),
		TEST(a_draining_broker_is_answered),
		TEST(our_own_drain_is_answered_once),
		TEST(drains_that_cross),
		TEST(bye_is_said_at_the_end),
		TEST(several_brokers),
		TEST(two_ways_to_one_broker_are_one_link),
		TEST(the_same_endpoint_twice_is_one_link),
		TEST(a_name_is_followed),
		TEST(services_can_be_announced_again),
		TEST(wrong_lists_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
