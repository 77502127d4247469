/* Peers of the broker's core: HELLO and its bounds, sessions, silence, RESYNC, DRAIN, the
 * registry. */
#include "base/version.h"
#include "tests/unit/core_rig.h"

enum { CLIENT = 1, OTHER = 2, WORKER = 5, SECOND = 6 };

static const Pirn__Welcome *welcome_of(const struct rig *r)
{
	return (const void *)rig_one(r, PIRN__KIND__WELCOME)->control;
}

static void test_welcome(void **state)
{
	struct rig r = rig_new(NULL);
	const Pirn__Welcome *w;

	(void)state;
	rig_client(&r, CLIENT);
	w = welcome_of(&r);
	assert_int_equal(w->revision, PIRN_PROTOCOL_REVISION);
	assert_int_equal(w->version, PIRN_PROTOCOL_VERSION);
	assert_null(w->refused);
	assert_string_equal(w->name, "rig");
	assert_int_equal(w->beat_ms, 1000);
	assert_int_equal(w->max_item_bytes, 10000);
	assert_memory_equal(w->boot.data, "0123456789abcde", 16);
	assert_int_equal(rig_count(&r, PIRN__KIND__REGISTRY), 1);
	rig_free(&r);
}

static void refused(struct rig *r, Pirn__Hello *hello, const char *why)
{
	rig_say_hello(r, OTHER, hello);
	assert_non_null(welcome_of(r)->refused);
	assert_non_null(strstr(welcome_of(r)->refused, why));
	assert_int_equal(rig_acts(r, BRK_FORGET), 1);
	assert_int_equal(rig_figures(r).peers, 0);
	assert_int_equal(rig_figures(r).services, 0);
}

static void test_hello_is_checked(void **state)
{
	struct rig r = rig_new(NULL);
	uint8_t boot[16] = { 9 };
	Pirn__Route route = PIRN__ROUTE__INIT, *routes = &route;
	Pirn__Manifest m = rig_manifest("hello"), twice = m, *list[] = { &m, &twice };
	Pirn__Hello good = PIRN__HELLO__INIT, h;

	(void)state;
	good.version = 1;
	good.role = PIRN__ROLE__WORKER;
	good.boot = (ProtobufCBinaryData){ sizeof boot, boot };
	good.services = list;
	good.n_services = 1;
	h = good, h.version = 2, refused(&r, &h, "version");
	h = good, h.role = PIRN__ROLE__BROKER, refused(&r, &h, "role");
	h = good, h.boot.len = 15, refused(&r, &h, "16 bytes");
	h = good, h.role = PIRN__ROLE__CLIENT, refused(&r, &h, "only a worker");
	h = good, h.n_services = 2, refused(&r, &h, "twice");
	m.service = (char *)(uintptr_t) "Hello", refused(&r, &good, "name");
	m = rig_manifest("hello"), m.has_timeout_ms = true, refused(&r, &good, "timeout");
	m = rig_manifest("hello"), m.has_concurrency = true, m.concurrency = 1000000,
	refused(&r, &good, "concurrency");
	m = rig_manifest("hello"), m.routes = &routes, m.n_routes = 1;
	route.method = (char *)(uintptr_t) "BREW", route.path = (char *)(uintptr_t) "/x",
	refused(&r, &good, "method");
	route.method = (char *)(uintptr_t) "GET", route.path = (char *)(uintptr_t) "x//",
	refused(&r, &good, "route 1");
	rig_send(&r, OTHER, PIRN__KIND__HELLO); /* a body that could not be unpacked */
	assert_int_equal(rig_figures(&r).malformed, 1);
	route.path = (char *)(uintptr_t) "/x";
	rig_say_hello(&r, OTHER, &good);
	assert_null(welcome_of(&r)->refused);
	rig_free(&r);
}

static Pirn__Timer sound_timer(void)
{
	Pirn__Timer t = PIRN__TIMER__INIT;

	t.name = (char *)(uintptr_t) "nightly";
	t.cron = (char *)(uintptr_t) "0 3 * * *";
	return t;
}

/* What they mean is the gateways' to say; what they are is looked at here. UNTRUSTED. */
static void test_timers_are_checked(void **state)
{
	struct rig r = rig_new(NULL);
	uint8_t boot[16] = { 9 };
	char cron[258];
	Pirn__Timer t = sound_timer(), twin = t, *timers[65] = { &t, &twin };
	Pirn__Manifest m = rig_manifest("hello"), *list[] = { &m };
	Pirn__Hello hello = PIRN__HELLO__INIT;

	(void)state;
	memset(cron, '*', sizeof cron - 1);
	cron[sizeof cron - 1] = '\0';
	hello.version = 1;
	hello.role = PIRN__ROLE__WORKER;
	hello.boot = (ProtobufCBinaryData){ sizeof boot, boot };
	hello.services = list;
	hello.n_services = 1;
	m.timers = timers;
	m.n_timers = 2, refused(&r, &hello, "timer 2: its name");
	for (size_t i = 0; i < 65; i++)
		timers[i] = &t;
	m.n_timers = 65, refused(&r, &hello, "too many timers");
	m.n_timers = 1;
	t.name = (char *)(uintptr_t) "a/b", refused(&r, &hello, "timer 1: its name");
	t = sound_timer(), t.has_every_ms = true, t.every_ms = 1000, refused(&r, &hello, "its times");
	t = sound_timer(), t.cron = NULL, refused(&r, &hello, "its times");
	t.has_every_ms = true, refused(&r, &hello, "its times");
	t.every_ms = 1500, refused(&r, &hello, "its times");
	t = sound_timer(), t.cron = cron, refused(&r, &hello, "its times");
	t = sound_timer(), t.zone = (char *)(uintptr_t) "../x", refused(&r, &hello, "its zone");
	t = sound_timer(), t.has_missed = true, t.missed = 3, refused(&r, &hello, "missed");
	t = sound_timer(), t.zone = (char *)(uintptr_t) "Nowhere/Town";
	rig_say_hello(&r, OTHER, &hello);
	assert_null(welcome_of(&r)->refused);
	rig_free(&r);
}

static void test_bounds(void **state)
{
	struct rig r;
	struct brk_conf conf = rig_conf();
	Pirn__Manifest m[3] = { rig_manifest("a"), rig_manifest("b"), rig_manifest("c") };

	(void)state;
	conf.max_peers = 2;
	conf.max_services = 2;
	r = rig_new(&conf);
	rig_hello(&r, WORKER, WORKER, PIRN__ROLE__WORKER, m, 3);
	assert_non_null(welcome_of(&r)->refused);
	assert_int_equal(rig_figures(&r).services, 0);
	rig_hello(&r, WORKER, WORKER, PIRN__ROLE__WORKER, m, 2);
	assert_null(welcome_of(&r)->refused);
	rig_client(&r, CLIENT);
	rig_client(&r, OTHER);
	assert_non_null(welcome_of(&r)->refused);
	assert_int_equal(rig_figures(&r).peers, 2);
	rig_free(&r);
}

static void test_a_stranger_is_told_once_a_second(void **state)
{
	struct rig r = rig_new(NULL);

	(void)state;
	rig_send(&r, 77, PIRN__KIND__BEAT);
	assert_int_equal(rig_one(&r, PIRN__KIND__RESYNC)->peer, 77);
	rig_submit(&r, 77, 1, "hello", 0);
	assert_int_equal(r.out->n, 0);
	r.now_ms += 999;
	rig_send(&r, 77, PIRN__KIND__CREDIT);
	assert_int_equal(r.out->n, 0);
	r.now_ms += 1;
	rig_send(&r, 77, PIRN__KIND__CREDIT);
	assert_int_equal(rig_count(&r, PIRN__KIND__RESYNC), 1);
	rig_send(&r, 78, PIRN__KIND__BYE);
	assert_int_equal(r.out->n, 0);
	assert_int_equal(rig_figures(&r).resyncs, 2);
	rig_free(&r);
}

static void say_again(struct rig *r, uint32_t peer, bool again, const char *service)
{
	uint8_t boot[16] = { (uint8_t)peer };
	Pirn__Manifest m = rig_manifest(service), *list = &m;
	Pirn__Hello h = PIRN__HELLO__INIT;

	h.version = 1;
	h.role = PIRN__ROLE__WORKER;
	h.boot = (ProtobufCBinaryData){ sizeof boot, boot };
	h.services = &list;
	h.n_services = 1;
	h.has_again = true;
	h.again = again;
	rig_say_hello(r, peer, &h);
}

static void test_a_process_replaces_itself(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Manifest m = rig_manifest("hello");

	(void)state;
	rig_client(&r, CLIENT);
	rig_worker(&r, WORKER, "hello", 1);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, WORKER);
	rig_hello(&r, SECOND, WORKER, PIRN__ROLE__WORKER, &m, 1);
	rig_is_replied(&r, 1, PIRN__REASON__WORKER_LOST, 502);
	assert_int_equal(rig_acts(&r, BRK_FORGET), 1);
	assert_int_equal(rig_figures(&r).workers, 1);
	rig_send(&r, WORKER, PIRN__KIND__BEAT); /* the old connection is a stranger's now */
	assert_int_equal(rig_count(&r, PIRN__KIND__RESYNC), 1);
	rig_free(&r);
}

static void test_hello_again_keeps_credit_and_calls(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Item run;

	(void)state;
	rig_client(&r, CLIENT);
	rig_worker(&r, WORKER, "hello", 2);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	say_again(&r, WORKER, true, "other"); /* hello is carried no more */
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_is_refused(&r, 2, PIRN__REASON__NO_WORKER);
	rig_result(&r, WORKER, &run, 200, 0);
	rig_is_replied(&r, 1, 0, 200);
	say_again(&r, WORKER, true, "hello");
	rig_submit(&r, CLIENT, 3, "hello", 0); /* by the second of the two credits */
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
	rig_submit(&r, CLIENT, 4, "hello", 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	rig_free(&r);
}

static void test_sessions_are_told_apart(void **state)
{
	struct rig r = rig_new(NULL);

	(void)state;
	say_again(&r, WORKER, true, "hello"); /* goes on, says the peer; not here */
	assert_int_equal(rig_count(&r, PIRN__KIND__RESYNC), 1);
	assert_int_equal(rig_figures(&r).peers, 0);
	rig_client(&r, CLIENT);
	rig_worker(&r, WORKER, "hello", 5);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	say_again(&r, WORKER, false, "hello"); /* starts anew, says the peer */
	rig_is_replied(&r, 1, PIRN__REASON__WORKER_LOST, 502);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	rig_free(&r);
}

static void test_silence(void **state)
{
	struct rig r = rig_new(NULL);

	(void)state;
	rig_client(&r, CLIENT);
	rig_client(&r, OTHER);
	for (int i = 0; i < 2; i++) {
		rig_tick(&r, 1000);
		assert_int_equal(rig_count(&r, PIRN__KIND__BEAT), 2);
		rig_send(&r, OTHER, PIRN__KIND__BEAT);
	}
	rig_tick(&r, 1000);
	assert_int_equal(rig_one(&r, PIRN__KIND__BYE)->peer, CLIENT);
	assert_int_equal(rig_one(&r, PIRN__KIND__BEAT)->peer, OTHER);
	assert_int_equal(rig_figures(&r).peers, 1);
	rig_free(&r);
}

static void test_who_was_late_blames_nobody(void **state)
{
	struct rig r = rig_new(NULL);

	(void)state;
	rig_client(&r, CLIENT);
	rig_tick(&r, 60000);
	assert_int_equal(rig_figures(&r).peers, 1);
	rig_tick(&r, 1000);
	rig_tick(&r, 1000);
	assert_int_equal(rig_figures(&r).peers, 1);
	rig_tick(&r, 1000);
	assert_int_equal(rig_figures(&r).peers, 0);
	rig_free(&r);
}

static void test_a_worker_drains(void **state)
{
	struct rig r = rig_new(NULL);
	const Pirn__Registry *registry;
	Pirn__Item run;

	(void)state;
	rig_client(&r, CLIENT);
	rig_worker(&r, WORKER, "hello", 5);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	rig_tick(&r, 100);
	rig_send(&r, WORKER, PIRN__KIND__DRAIN);
	assert_int_equal(rig_one(&r, PIRN__KIND__DRAIN)->peer, WORKER);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_is_refused(&r, 2, PIRN__REASON__NO_WORKER);
	assert_true(rig_nth(&r, PIRN__KIND__REFUSED, 0)->item.retry_after_ms > 0);
	rig_result(&r, WORKER, &run, 200, 0);
	rig_is_replied(&r, 1, 0, 200);
	rig_tick(&r, 20);
	registry = (const void *)rig_one(&r, PIRN__KIND__REGISTRY)->control;
	assert_int_equal(registry->n_entries, 1);
	assert_int_equal(registry->entries[0]->workers, 0);
	rig_send(&r, WORKER, PIRN__KIND__BYE);
	assert_int_equal(rig_figures(&r).workers, 0);
	rig_free(&r);
}

/* It, or the broker, is just being restarted. */
static void test_calls_wait_for_a_worker_that_left_just_now(void **state)
{
	struct brk_conf conf = rig_conf();
	struct rig r;

	(void)state;
	conf.hope_ms = 2000;
	r = rig_new(&conf);
	rig_client(&r, CLIENT);
	rig_worker(&r, WORKER, "hello", 2);
	rig_send(&r, WORKER, PIRN__KIND__BYE);
	rig_tick(&r, 1999);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__REFUSED), 0);
	assert_int_equal(rig_figures(&r).waiting, 1);
	rig_worker(&r, SECOND, "hello", 2);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, SECOND);
	rig_send(&r, SECOND, PIRN__KIND__BYE);
	rig_tick(&r, 2000);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_is_refused(&r, 2, PIRN__REASON__NO_WORKER);
	rig_submit(&r, CLIENT, 3, "nobody", 0);
	rig_is_refused(&r, 3, PIRN__REASON__UNKNOWN_SERVICE);
	/* In vain: whoever came in hope is told when it is over. */
	rig_worker(&r, WORKER, "hello", 1);
	rig_submit(&r, CLIENT, 4, "hello", 0);
	rig_submit(&r, CLIENT, 5, "hello", 0); /* waits for a worker that is there */
	rig_tick(&r, 1);
	rig_send(&r, WORKER, PIRN__KIND__DRAIN);
	rig_submit(&r, CLIENT, 6, "hello", 0);
	assert_int_equal(rig_figures(&r).waiting, 2);
	assert_true(brk_core_due(r.core) <= r.now_ms + 2000);
	rig_tick(&r, 1999);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	rig_tick(&r, 1);
	rig_is_replied(&r, 6, PIRN__REASON__NO_WORKER, 503);
	assert_true(rig_one(&r, PIRN__KIND__REPLY)->item.retry_after_ms > 0);
	assert_int_equal(rig_figures(&r).waiting, 1);
	rig_worker(&r, SECOND, "hello", 2);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, SECOND);
	rig_free(&r);
}

static void test_the_broker_drains(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Item run;

	(void)state;
	rig_client(&r, CLIENT);
	rig_worker(&r, WORKER, "hello", 1);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_look(&r, brk_core_drain(r.core, r.now_ms));
	assert_int_equal(rig_count(&r, PIRN__KIND__DRAIN), 2);
	rig_submit(&r, CLIENT, 3, "hello", 0);
	rig_is_refused(&r, 3, PIRN__REASON__DRAINING);
	rig_send(&r, WORKER, PIRN__KIND__DRAIN); /* its answer: it goes on working for us */
	assert_int_equal(rig_count(&r, PIRN__KIND__DRAIN), 0);
	rig_send(&r, CLIENT, PIRN__KIND__DRAIN);
	assert_int_equal(r.out->n, 0);
	assert_false(brk_core_drained(r.core));
	rig_result(&r, WORKER, &run, 200, 0);
	rig_credit(&r, WORKER, "hello", 2);
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	rig_result(&r, WORKER, &run, 200, 0);
	assert_true(brk_core_drained(r.core));
	rig_client(&r, OTHER); /* one who comes now is welcome, and told */
	assert_int_equal(rig_one(&r, PIRN__KIND__DRAIN)->peer, OTHER);
	assert_false(brk_core_drained(r.core));
	rig_look(&r, brk_core_gone(r.core, r.now_ms, OTHER));
	assert_true(brk_core_drained(r.core));
	rig_free(&r);
}

static void test_the_end(void **state)
{
	struct rig r = rig_new(NULL);

	(void)state;
	rig_client(&r, CLIENT);
	rig_worker(&r, WORKER, "hello", 1);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_look(&r, brk_core_drain(r.core, r.now_ms));
	rig_look(&r, brk_core_end(r.core, r.now_ms));
	rig_is_replied(
		&r, 1, PIRN__REASON__DRAINING, 503); /* it ran: nobody may send it elsewhere */
	assert_int_equal(rig_one(&r, PIRN__KIND__REFUSED)->item.slot, 2);
	assert_int_equal(rig_one(&r, PIRN__KIND__CANCEL)->peer, WORKER);
	assert_int_equal(rig_count(&r, PIRN__KIND__BYE), 2);
	assert_int_equal(rig_figures(&r).peers, 0);
	rig_free(&r);
}

static void test_registry(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Manifest m = rig_manifest("hello");
	const Pirn__Registry *registry;

	(void)state;
	rig_client(&r, CLIENT);
	registry = (const void *)rig_one(&r, PIRN__KIND__REGISTRY)->control;
	assert_int_equal(registry->n_entries, 0);
	rig_worker(&r, WORKER, "hello", 0);
	assert_int_equal(rig_acts(&r, BRK_KEEP_SERVICE), 1);
	assert_int_equal(rig_count(&r, PIRN__KIND__REGISTRY), 0);
	assert_true(brk_core_due(r.core) <= r.now_ms + BRK_REGISTRY_MS);
	rig_tick(&r, BRK_REGISTRY_MS);
	registry = (const void *)rig_one(&r, PIRN__KIND__REGISTRY)->control;
	assert_int_equal(registry->n_entries, 1);
	assert_string_equal(registry->entries[0]->manifest->service, "hello");
	assert_int_equal(registry->entries[0]->workers, 1);
	assert_int_equal(registry->entries[0]->first_ms, RIG_UNIX_MS + 5000);
	rig_worker(&r, SECOND, "hello",
		0); /* the same manifest, one worker more: nobody has to know */
	assert_int_equal(rig_acts(&r, BRK_KEEP_SERVICE), 0);
	rig_tick(&r, BRK_REGISTRY_MS);
	assert_int_equal(rig_count(&r, PIRN__KIND__REGISTRY), 0);
	m.version = (char *)(uintptr_t) "2";
	rig_hello(&r, SECOND, SECOND, PIRN__ROLE__WORKER, &m, 1);
	assert_int_equal(rig_acts(&r, BRK_KEEP_SERVICE), 1);
	rig_worker(
		&r, WORKER, "hello", 0); /* the old one comes back with what it announced before */
	assert_int_equal(rig_acts(&r, BRK_KEEP_SERVICE), 0);
	rig_tick(&r, BRK_REGISTRY_MS);
	registry = (const void *)rig_one(&r, PIRN__KIND__REGISTRY)->control;
	assert_string_equal(registry->entries[0]->manifest->version, "2");
	assert_int_equal(registry->entries[0]->first_ms, RIG_UNIX_MS + 5000);
	rig_free(&r);
}

static const Pirn__Entry *entry_of(struct rig *r, const char *service)
{
	const struct brk_service *s = brk_service_find(r->core, service);

	assert_non_null(s);
	return &s->entry;
}

static void say_version(struct rig *r, uint32_t peer, const char *version)
{
	uint8_t boot[16] = { (uint8_t)peer };
	Pirn__Manifest m = rig_manifest("hello"), *list = &m;
	Pirn__Hello h = PIRN__HELLO__INIT;

	m.version = (char *)(uintptr_t)version;
	h.version = 1;
	h.role = PIRN__ROLE__WORKER;
	h.boot = (ProtobufCBinaryData){ sizeof boot, boot };
	h.services = &list;
	h.n_services = 1;
	h.has_again = h.again = true;
	rig_say_hello(r, peer, &h);
	assert_null(welcome_of(r)->refused);
}

/* Who announces what: a live change counts, both ways; a return with what is known does not. */
static void test_who_announces_last(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Manifest m = rig_manifest("hello");

	(void)state;
	rig_worker(&r, WORKER, "hello", 0);
	say_version(&r, WORKER, "2");
	assert_string_equal(entry_of(&r, "hello")->manifest->version, "2");
	say_version(&r, WORKER, NULL);
	assert_null(entry_of(&r, "hello")->manifest->version);
	m.version = (char *)(uintptr_t) "3";
	rig_hello(&r, SECOND, SECOND, PIRN__ROLE__WORKER, &m, 1);
	assert_string_equal(entry_of(&r, "hello")->manifest->version, "3");
	rig_look(&r, brk_core_gone(r.core, r.now_ms, WORKER));
	rig_worker(&r, WORKER, "hello", 0); /* the same process, on a new connection */
	assert_string_equal(entry_of(&r, "hello")->manifest->version, "3");
	m.version = NULL;
	rig_hello(&r, CLIENT, CLIENT, PIRN__ROLE__WORKER, &m, 1); /* another process */
	assert_null(entry_of(&r, "hello")->manifest->version);
	rig_free(&r);
}

static void tell(struct rig *r, Pirn__Manifest *m, uint64_t first_ms, uint64_t announced_ms)
{
	Pirn__Entry e = PIRN__ENTRY__INIT;

	e.manifest = m;
	e.has_first_ms = e.has_announced_ms = true;
	e.first_ms = first_ms;
	e.announced_ms = announced_ms;
	rig_look(r, brk_core_entry(r->core, r->now_ms, &e));
}

static void test_entries(void **state)
{
	struct rig r = rig_new(NULL);
	Pirn__Manifest m = rig_manifest("hello"), bad = rig_manifest("Bad");

	(void)state;
	m.version = (char *)(uintptr_t) "5";
	tell(&r, &m, 100, 500);
	assert_int_equal(entry_of(&r, "hello")->first_ms, 100);
	m.version = (char *)(uintptr_t) "4";
	tell(&r, &m, 200, 400); /* older: not heard */
	assert_string_equal(entry_of(&r, "hello")->manifest->version, "5");
	tell(&r, &m, 50, 400); /* but it was seen first */
	assert_int_equal(entry_of(&r, "hello")->first_ms, 50);
	assert_int_equal(rig_acts(&r, BRK_KEEP_SERVICE), 1);
	m.version = (char *)(uintptr_t) "6";
	tell(&r, &m, 70, 600);
	assert_string_equal(entry_of(&r, "hello")->manifest->version, "6");
	assert_int_equal(entry_of(&r, "hello")->first_ms, 50);
	assert_int_equal(rig_acts(&r, BRK_KEEP_SERVICE), 0);
	tell(&r, &bad, 1, 1);
	assert_int_equal(rig_figures(&r).services, 1);
	rig_client(&r, CLIENT);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	rig_is_refused(&r, 1, PIRN__REASON__NO_WORKER);
	rig_free(&r);
}

static void test_a_service_is_forgotten(void **state)
{
	struct rig r;
	struct brk_conf conf = rig_conf();

	(void)state;
	conf.forget_ms = 5000;
	r = rig_new(&conf);
	rig_worker(&r, WORKER, "hello", 0);
	rig_look(&r, brk_core_gone(r.core, r.now_ms, WORKER));
	rig_tick(&r, 4000);
	assert_int_equal(rig_figures(&r).services, 1);
	rig_tick(&r, 1000);
	assert_int_equal(rig_acts(&r, BRK_DROP_SERVICE), 1);
	assert_int_equal(rig_figures(&r).services, 0);
	rig_client(&r, CLIENT);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	rig_is_refused(&r, 1, PIRN__REASON__UNKNOWN_SERVICE);
	rig_free(&r);
}

static void test_roles(void **state)
{
	struct rig r = rig_new(NULL);

	(void)state;
	rig_client(&r, CLIENT);
	rig_worker(&r, WORKER, "hello", 1);
	rig_submit(&r, WORKER, 1, "hello", 0);
	assert_int_equal(r.out->n, 0);
	rig_credit(&r, CLIENT, "hello", 5);
	rig_credit(&r, WORKER, "nobody", 5);
	rig_send(&r, CLIENT, PIRN__KIND__RESULT);
	rig_send(&r, CLIENT, 99);
	assert_int_equal(rig_figures(&r).malformed, 5);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_welcome),
		cmocka_unit_test(test_hello_is_checked),
		cmocka_unit_test(test_timers_are_checked),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_a_stranger_is_told_once_a_second),
		cmocka_unit_test(test_a_process_replaces_itself),
		cmocka_unit_test(test_hello_again_keeps_credit_and_calls),
		cmocka_unit_test(test_sessions_are_told_apart),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_who_was_late_blames_nobody),
		cmocka_unit_test(test_a_worker_drains),
		cmocka_unit_test(test_calls_wait_for_a_worker_that_left_just_now),
		cmocka_unit_test(test_the_broker_drains),
		cmocka_unit_test(test_the_end),
		cmocka_unit_test(test_registry),
		cmocka_unit_test(test_who_announces_last),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_a_service_is_forgotten),
		cmocka_unit_test(test_roles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
