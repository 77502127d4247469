/* The core's ejection of workers: who is put out, for how long, and that what is left is right:
 * the half of them, credit, the service's breaker, lists.
 */
#include "tests/unit/core_asked.h"

#include "base/rand.h"

#define FIRST 20 /* peer numbers of workers */

/* ---- words ---------------------------------------------------------------------- */

static void come(struct asked *k, uint32_t worker, bool closed)
{
	Pirn__BreakerConf never = PIRN__BREAKER_CONF__INIT;
	Pirn__Manifest m = rig_manifest("hello");

	never.has_consecutive = never.has_calls = true;
	never.calls = 1000000;
	if (closed)
		m.breaker = &never;
	rig_hello(&k->rig, worker, worker, PIRN__ROLE__WORKER, &m, 1);
}

/* A bench with so many workers, without credit. closed: of a service whose breaker does not open. */
static struct asked *bench(uint32_t workers, bool closed)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k;

	conf.max_peers = 100;
	conf.max_calls = 1000;
	k = asked_new(&conf, 0);
	rig_send(&k->rig, A, PIRN__KIND__BYE);
	for (uint32_t i = 0; i < workers; i++)
		come(k, FIRST + i, closed);
	return k;
}

static struct brk_service *hello(const struct asked *k)
{
	return brk_service_find(k->rig.core, "hello");
}

static struct brk_link *link_of(const struct asked *k, uint32_t worker)
{
	return brk_link_find(brk_roster_find(k->rig.core, worker), "hello");
}

static bool is_out(const struct asked *k, uint32_t worker)
{
	return brk_eject_is_out(link_of(k, worker));
}

static size_t logged(const struct asked *k, const char *id)
{
	size_t n = 0;

	for (size_t i = 0; i < k->rig.out->n; i++)
		n += k->rig.out->list[i].kind == BRK_LOG &&
		     strcmp(k->rig.out->list[i].log_id, id) == 0;
	return n;
}

static void call(struct asked *k)
{
	static uint32_t slot;

	rig_submit(&k->rig, CLIENT, slot++, "hello", 0);
}

/* A call that runs there, because nobody else has credit. */
static Pirn__Item run_at(struct asked *k, uint32_t worker)
{
	const struct brk_action *a;

	rig_credit(&k->rig, worker, "hello", link_of(k, worker)->used + 1);
	call(k);
	a = rig_one(&k->rig, PIRN__KIND__DISPATCH);
	assert_int_equal(a->peer, worker);
	return a->item;
}

static void answer(struct asked *k, uint32_t worker, const Pirn__Item *run, uint32_t status)
{
	tiny_result(k->t, worker, run, (struct rig_item){ .status = status });
}

static void answers(struct asked *k, uint32_t worker, uint32_t n, uint32_t status)
{
	while (n-- > 0) {
		Pirn__Item run = run_at(k, worker);

		answer(k, worker, &run, status);
	}
}

static void eject(struct asked *k, uint32_t worker)
{
	answers(k, worker, BRK_EJECT_FAILURES - 1, 500);
	assert_false(is_out(k, worker));
	answers(k, worker, 1, 500);
	assert_true(is_out(k, worker));
	assert_int_equal(logged(k, "worker_ejected"), 1);
}

static void pass_until(struct asked *k, uint64_t ms)
{
	tiny_pass(k->t, ms - k->rig.now_ms);
}

/* ---- who -------------------------------------------------------------------------- */

static void never_more_than_half(void **state)
{
	static const uint32_t sizes[] = { 1, 2, 3, 4, 5, 8 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct asked *k = bench(sizes[i], true);

		for (uint32_t w = 0; w < sizes[i]; w++) {
			answers(k, FIRST + w, BRK_EJECT_FAILURES, 500);
			assert_int_equal(is_out(k, FIRST + w), w < sizes[i] / 2);
		}
		assert_int_equal(hello(k)->n_out, sizes[i] / 2);
		assert_int_equal(hello(k)->n_ready, sizes[i] - sizes[i] / 2);
		assert_int_equal(hello(k)->entry.workers, sizes[i]);
		answers(k, FIRST + sizes[i] - 1, 20, 500); /* no place to put it */
		assert_false(is_out(k, FIRST + sizes[i] - 1));
		asked_free(k);
	}
}

static void only_failures_in_a_row(void **state)
{
	struct asked *k = bench(2, true);
	Pirn__Item run;

	(void)state;
	for (int i = 0; i < 10; i++) {
		answers(k, FIRST, 4, 500);
		answers(k, FIRST, 1, 404);
	}
	assert_false(is_out(k, FIRST));
	answers(k, FIRST, 4, 429);
	run = run_at(k, FIRST); /* says nothing: the row goes on */
	rig_item(&k->rig, FIRST, PIRN__KIND__RESULT,
		(struct rig_item){ .slot = run.slot,
			.generation = run.generation,
			.reason = PIRN__REASON__CANCELLED });
	assert_false(is_out(k, FIRST));
	answers(k, FIRST, 1, 500);
	assert_true(is_out(k, FIRST));
	asked_free(k);
}

static void out_of_one_service_and_in_for_another(void **state)
{
	struct asked *k = bench(1, true);
	Pirn__Manifest m[2] = { rig_manifest("hello"), rig_manifest("other") };

	(void)state;
	rig_hello(&k->rig, 50, 50, PIRN__ROLE__WORKER, m, 2);
	answers(k, 50, BRK_EJECT_FAILURES, 500);
	assert_true(is_out(k, 50));
	rig_credit(&k->rig, 50, "other", 1);
	rig_submit(&k->rig, CLIENT, 900, "other", 0);
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__DISPATCH)->peer, 50);
	asked_free(k);
}

/* ---- for how long -------------------------------------------------------------------- */

static void it_gets_nothing_and_then_all(void **state)
{
	struct asked *k = bench(2, true);
	uint64_t since;

	(void)state;
	eject(k, FIRST);
	since = k->rig.now_ms;
	rig_credit(&k->rig, FIRST, "hello", link_of(k, FIRST)->used + 100);
	assert_int_equal(link_of(k, FIRST)->free, 100);
	call(k);
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 7 });
	tiny_run(k->t);
	assert_int_equal(hello(k)->n_running, 0);
	assert_int_equal(rig_figures(&k->rig).events_ready, 1);
	pass_until(k, since + BRK_EJECT_MS - 1);
	assert_int_equal(hello(k)->n_running, 0);
	assert_true(brk_core_due(k->rig.core) <= since + BRK_EJECT_MS);
	call(k);
	tiny_tick(k->t, 1);
	assert_int_equal(logged(k, "worker_readmitted"), 1);
	assert_int_equal(hello(k)->n_out, 0);
	assert_int_equal(link_of(k, FIRST)->n_running, rig_count(&k->rig, PIRN__KIND__DISPATCH));
	assert_in_range(link_of(k, FIRST)->n_running, 2, 3); /* what still waits */
	asked_free(k);
}

static uint64_t out_for(struct asked *k)
{
	uint64_t left;

	eject(k, FIRST);
	left = link_of(k, FIRST)->ejection.until_ms - k->rig.now_ms;
	pass_until(k, link_of(k, FIRST)->ejection.until_ms);
	assert_false(is_out(k, FIRST));
	return left;
}

static void longer_each_time(void **state)
{
	struct asked *k = bench(2, true);

	(void)state;
	for (uint64_t n = 1; n <= 4; n++)
		assert_int_equal(out_for(k), n * BRK_EJECT_MS);
	/* Two less for twenty seconds that went well, a third one for those that are not over. */
	tiny_pass(k->t, 2 * BRK_EJECT_MS + BRK_EJECT_MS / 2);
	assert_int_equal(out_for(k), 3 * BRK_EJECT_MS);
	tiny_pass(k->t, 10 * BRK_EJECT_MS);
	assert_int_equal(out_for(k), BRK_EJECT_MS);
	asked_free(k);
}

static void but_not_for_ever(void **state)
{
	struct asked *k = bench(2, true);

	(void)state;
	link_of(k, FIRST)->ejection.times = BRK_EJECT_TIMES - 1;
	link_of(k, FIRST)->ejection.since_ms = k->rig.now_ms;
	for (int i = 0; i < 3; i++)
		assert_int_equal(out_for(k), BRK_EJECT_TIMES * BRK_EJECT_MS);
	asked_free(k);
}

static void a_new_row_begins_when_it_is_back(void **state)
{
	struct asked *k = bench(2, true);

	(void)state;
	out_for(k);
	answers(k, FIRST, BRK_EJECT_FAILURES - 1, 500);
	assert_false(is_out(k, FIRST));
	asked_free(k);
}

/* ---- workers go ------------------------------------------------------------------------- */

enum way { BYE, GONE, DRAIN, NOT_CARRIED, WAY__N };

static void leave(struct asked *k, uint32_t worker, enum way way)
{
	Pirn__Manifest m = rig_manifest("other");
	Pirn__Manifest *list = &m;
	Pirn__Hello again = PIRN__HELLO__INIT;
	uint8_t boot[16] = { (uint8_t)worker };

	if (way == BYE || way == DRAIN) {
		rig_send(&k->rig, worker, way == BYE ? PIRN__KIND__BYE : PIRN__KIND__DRAIN);
	} else if (way == GONE) {
		rig_look(&k->rig, brk_core_gone(k->rig.core, k->rig.now_ms, worker));
	} else {
		again.version = 1;
		again.role = PIRN__ROLE__WORKER;
		again.boot = (ProtobufCBinaryData){ 16, boot };
		again.has_again = again.again = true;
		again.services = &list;
		again.n_services = 1;
		rig_say_hello(&k->rig, worker, &again);
	}
	tiny_take(k->t);
}

static void the_last_one_is_back_at_once(void **state)
{
	(void)state;
	for (int way = 0; way < WAY__N; way++) {
		struct asked *k = bench(2, true);

		eject(k, FIRST);
		leave(k, FIRST + 1, (enum way)way);
		assert_false(is_out(k, FIRST));
		assert_int_equal(hello(k)->n_ready, 1);
		assert_int_equal(hello(k)->entry.workers, 1);
		answers(k, FIRST, 1, 200);
		asked_free(k);
	}
}

static void the_one_that_comes_back_first_is_back(void **state)
{
	struct asked *k = bench(5, true);

	(void)state;
	eject(k, FIRST);
	tiny_pass(k->t, 100);
	eject(k, FIRST + 1);
	leave(k, FIRST + 2, GONE);
	assert_int_equal(hello(k)->n_out, 2); /* of four */
	leave(k, FIRST + 3, GONE);
	assert_int_equal(hello(k)->n_out, 1); /* of three */
	assert_false(is_out(k, FIRST));
	assert_true(is_out(k, FIRST + 1));
	leave(k, FIRST + 4, GONE);
	assert_int_equal(hello(k)->n_out, 1); /* of two */
	leave(k, FIRST, GONE);
	assert_int_equal(hello(k)->n_out, 0);
	assert_int_equal(hello(k)->n_ready, 1);
	leave(k, FIRST + 1, GONE);
	call(k);
	assert_int_equal(
		rig_one(&k->rig, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__NO_WORKER);
	asked_free(k);
}

static void one_that_is_out_leaves(void **state)
{
	(void)state;
	for (int way = 0; way < WAY__N; way++) {
		struct asked *k = bench(2, true);

		eject(k, FIRST);
		leave(k, FIRST, (enum way)way);
		assert_int_equal(hello(k)->n_out, 0);
		assert_int_equal(hello(k)->entry.workers, 1);
		assert_int_equal(k->rig.core->ejected.n, 0);
		answers(k, FIRST + 1, BRK_EJECT_FAILURES, 500);
		assert_false(is_out(k, FIRST + 1));
		tiny_pass(k->t, 2 * BRK_EJECT_MS);
		asked_free(k);
	}
}

static void runs_that_it_has_go_on(void **state)
{
	struct asked *k = bench(2, true);
	Pirn__Item run = run_at(k, FIRST);

	(void)state;
	eject(k, FIRST);
	answer(k, FIRST, &run, 200);
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__REPLY)->item.status, 200);
	assert_true(is_out(k, FIRST));
	leave(k, FIRST, GONE);
	asked_free(k);
}

/* ---- beside the breaker -------------------------------------------------------------------- */

static void counts(const struct asked *k, uint32_t ok, uint32_t failed)
{
	uint32_t is_ok, is_failed;

	base_breaker_window(&hello(k)->guard.breaker, k->rig.now_ms, &is_ok, &is_failed);
	assert_int_equal(is_ok, ok);
	assert_int_equal(is_failed, failed);
}

static void one_bad_worker_does_not_open_the_breaker(void **state)
{
	struct asked *k = bench(3, false);
	Pirn__Item runs[30];

	(void)state;
	for (size_t i = 0; i < 30; i++)
		runs[i] = run_at(k, FIRST);
	for (size_t i = 0; i < 30; i++)
		answer(k, FIRST, &runs[i], 500);
	assert_true(is_out(k, FIRST));
	counts(k, 0, 4); /* neither the one that put it out, nor what came after */
	assert_int_equal(hello(k)->guard.breaker.state, BASE_BREAKER_CLOSED);
	answers(k, FIRST + 1, 5, 200);
	asked_free(k);
}

static void a_service_that_fails_everywhere_does(void **state)
{
	struct asked *k = bench(4, false);
	uint32_t failed = 0;

	(void)state;
	for (uint32_t i = 0; hello(k)->guard.breaker.state == BASE_BREAKER_CLOSED; i++, failed++)
		answers(k, FIRST + i % 4, 1, 500);
	assert_int_equal(failed, 5);
	asked_free(k);

	k = bench(4, false); /* one after another: the fifth of the first one is that one's */
	for (failed = 0; hello(k)->guard.breaker.state == BASE_BREAKER_CLOSED; failed++)
		answers(k, FIRST + failed / 5, 1, 500);
	assert_int_equal(failed, 6);
	asked_free(k);

	k = bench(1, false);
	answers(k, FIRST, 5, 500);
	assert_int_equal(hello(k)->guard.breaker.state, BASE_BREAKER_OPEN);
	asked_free(k);
}

/* A call after the other, at whoever has the most credit. */
static uint32_t next_at(struct asked *k, Pirn__Item *run)
{
	const struct brk_action *a;

	call(k);
	a = rig_one(&k->rig, PIRN__KIND__DISPATCH);
	*run = a->item;
	return a->peer;
}

static struct asked *uneven_bench(void)
{
	struct asked *k = bench(2, false);

	rig_credit(&k->rig, FIRST, "hello", 50); /* so it gets them all */
	rig_credit(&k->rig, FIRST + 1, "hello", 5);
	return k;
}

static void the_fifth_failure_in_a_row_is_anothers_and_opens(void **state)
{
	struct asked *k = uneven_bench();
	Pirn__Item run;

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		uint32_t worker = next_at(k, &run);

		assert_int_equal(hello(k)->guard.breaker.state, BASE_BREAKER_CLOSED);
		assert_int_equal(worker, i < 4 ? FIRST : FIRST + 1);
		answer(k, worker, &run, 500);
	}
	assert_int_equal(hello(k)->guard.breaker.state, BASE_BREAKER_OPEN);
	asked_free(k);
}

static void a_good_one_tells_that_it_is_the_worker(void **state)
{
	struct asked *k = uneven_bench();
	Pirn__Item run;
	uint32_t bad = 0;

	(void)state;
	for (uint32_t i = 0; i < 20; i++) {
		uint32_t worker = next_at(k, &run);

		bad += worker == FIRST;
		answer(k, worker, &run, worker == FIRST ? 500 : 200);
		rig_credit(&k->rig, FIRST + 1, "hello", link_of(k, FIRST + 1)->used + 5);
	}
	assert_int_equal(bad, BRK_EJECT_FAILURES);
	assert_true(is_out(k, FIRST));
	assert_int_equal(hello(k)->guard.breaker.state, BASE_BREAKER_CLOSED);
	asked_free(k);
}

static void a_probe_at_a_worker_that_is_put_out_frees_its_place(void **state)
{
	struct asked *k = bench(2, false);
	const struct base_breaker *b = &hello(k)->guard.breaker;
	Pirn__Item run;

	(void)state;
	answers(k, FIRST, 4, 500);
	answers(k, FIRST + 1, 1, 500);
	assert_int_equal(b->state, BASE_BREAKER_OPEN);
	pass_until(k, b->until_ms);
	assert_int_equal(b->state, BASE_BREAKER_HALF_OPEN);
	run = run_at(k, FIRST);
	answer(k, FIRST, &run, 500); /* its fifth */
	assert_true(is_out(k, FIRST));
	assert_int_equal(b->state, BASE_BREAKER_HALF_OPEN);
	assert_int_equal(base_breaker_probing(b), 0);
	answers(k, FIRST + 1, 5, 200);
	assert_int_equal(b->state, BASE_BREAKER_CLOSED);
	asked_free(k);
}

/* ---- lists ------------------------------------------------------------------------------------ */

static void it_is_told(void **state)
{
	struct asked *k = bench(2, true);
	Pirn__Query query = PIRN__QUERY__INIT;
	const Pirn__Answer *said;

	(void)state;
	eject(k, FIRST);
	query.has_what = true;
	query.what = PIRN__QUERY_KIND__BREAKERS;
	said = asked_get(k, query);
	assert_int_equal(said->breakers[0]->n_ejected, 1);
	assert_string_equal(said->breakers[0]->ejected[0], "peer-20");
	query.what = PIRN__QUERY_KIND__SERVICES;
	assert_int_equal(asked_get(k, query)->services[0]->n_workers, 2); /* it is there */
	query.what = PIRN__QUERY_KIND__METRICS;
	said = asked_get(k, query);
	for (size_t i = 0; i < said->instances[0]->n_metrics; i++) {
		const Pirn__Metric *m = said->instances[0]->metrics[i];

		if (strcmp(m->name, "pirn_service_ejected_workers") == 0)
			assert_true(m->value == 1);
		if (strcmp(m->name, "pirn_service_workers") == 0)
			assert_true(m->value == 2);
	}
	asked_free(k);
}

/* ---- everything in any order --------------------------------------------------------------------- */

#define STEPS 3000
#define SEEDS 40

/* Its newest run ends somehow. */
static void end_one(struct asked *k, struct base_rand *rand, uint32_t worker)
{
	struct brk_link *link = link_of(k, worker);
	Pirn__Item run = PIRN__ITEM__INIT;
	uint32_t sick = worker % 2 ? 20 : 85, dice = (uint32_t)base_rand_below(rand, 100);
	uint32_t status = dice < sick ? 500 : dice < 95 ? 200 : 0;

	if (!link || !link->running)
		return;
	run.slot = link->running->prev->slot;
	run.generation = link->running->prev->generation;
	tiny_result(k->t, worker, &run,
		(struct rig_item){
			.status = status, .reason = status ? 0 : PIRN__REASON__NO_WORKER });
}

/* Mostly they stay. */
static void come_or_go(struct asked *k, struct base_rand *rand, uint32_t worker, bool closed)
{
	const struct brk_peer *peer = brk_roster_find(k->rig.core, worker);

	if (peer && (peer->draining || !link_of(k, worker)))
		leave(k, worker, BYE);
	else if (peer && base_rand_below(rand, 4) > 0)
		return;
	else if (peer)
		leave(k, worker, (enum way)base_rand_below(rand, WAY__N));
	else
		come(k, worker, closed);
	tiny_take(k->t);
}

/* brk_core_check looks at credit, the half, the heaps and the breaker after every step. */
static void step(struct asked *k, struct base_rand *rand, bool closed)
{
	uint32_t worker = FIRST + (uint32_t)base_rand_below(rand, 7);
	uint64_t dice = base_rand_below(rand, 100);
	struct brk_link *link = NULL;

	if (brk_roster_find(k->rig.core, worker))
		link = link_of(k, worker);
	if (dice < 35)
		call(k), tiny_take(k->t);
	else if (dice < 75 && link)
		end_one(k, rand, worker);
	else if (dice < 85 && link)
		rig_credit(&k->rig, worker, "hello", link->used + base_rand_below(rand, 10));
	else if (dice < 95)
		tiny_pass(k->t, base_rand_below(rand, 500));
	else
		come_or_go(k, rand, worker, closed);
}

static void in_any_order(void **state)
{
	uint64_t most = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct asked *k = bench(3, seed % 2);
		struct base_rand rand;

		base_rand_init(&rand, seed);
		for (int i = 0; i < STEPS; i++) {
			step(k, &rand, seed % 2);
			most = hello(k)->n_out > most ? hello(k)->n_out : most;
		}
		asked_free(k);
	}
	assert_true(most >= 2); /* otherwise it has seen little */
}

static void a_bug_can_be_switched_on(void **state)
{
	struct asked *k = bench(2, true);

	(void)state;
	brk_core_break(k->rig.core, BRK_FAULT_EJECT_ALL);
	eject(k, FIRST);
	eject(k, FIRST + 1);
	asked_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_more_than_half),
		cmocka_unit_test(only_failures_in_a_row),
		cmocka_unit_test(out_of_one_service_and_in_for_another),
		cmocka_unit_test(it_gets_nothing_and_then_all),
		cmocka_unit_test(longer_each_time),
		cmocka_unit_test(but_not_for_ever),
		cmocka_unit_test(a_new_row_begins_when_it_is_back),
		cmocka_unit_test(the_last_one_is_back_at_once),
		cmocka_unit_test(the_one_that_comes_back_first_is_back),
		cmocka_unit_test(one_that_is_out_leaves),
		cmocka_unit_test(runs_that_it_has_go_on),
		cmocka_unit_test(one_bad_worker_does_not_open_the_breaker),
		cmocka_unit_test(a_service_that_fails_everywhere_does),
		cmocka_unit_test(the_fifth_failure_in_a_row_is_anothers_and_opens),
		cmocka_unit_test(a_good_one_tells_that_it_is_the_worker),
		cmocka_unit_test(a_probe_at_a_worker_that_is_put_out_frees_its_place),
		cmocka_unit_test(it_is_told),
		cmocka_unit_test(in_any_order),
		cmocka_unit_test(a_bug_can_be_switched_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
