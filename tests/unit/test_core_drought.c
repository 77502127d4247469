/* The core's droughts: workers that have lost Redis, what is kept from them, and that such a
 * failure counts against nobody.
 */
#include "tests/unit/core_asked.h"

#include "base/rand.h"

#define LONGEST (BRK_DROUGHT_MS * 3 / 2)

/* ---- words ---------------------------------------------------------------------- */

static struct asked *bench(uint32_t a, uint32_t b)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k = asked_new(&conf, 0);

	rig_credit(&k->rig, A, "hello", a);
	if (b > 0)
		rig_worker(&k->rig, B, "hello", b);
	tiny_take(k->t);
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

static void call(struct asked *k)
{
	static uint32_t slot = 1000;

	rig_submit(&k->rig, CLIENT, slot++, "hello", 0);
}

static Pirn__Item run_call(struct asked *k, uint32_t worker)
{
	const struct brk_action *a;

	call(k);
	a = rig_one(&k->rig, PIRN__KIND__DISPATCH);
	assert_int_equal(a->peer, worker);
	return a->item;
}

/* What became of it, from the worker that has it; with the credit that comes back. */
static void answer(
	struct asked *k, uint32_t worker, const Pirn__Item *run, uint32_t status, bool dry)
{
	tiny_result(k->t, worker, run,
		(struct rig_item){
			.status = status, .flags = dry ? PIRN__ITEM_FLAG__NO_STATE : 0 });
}

static void submit_event(struct asked *k, uint32_t slot)
{
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = slot });
}

/* Ticks until it is sent; the last input did it, and *a says how. */
static const struct brk_action *await_dispatch(struct asked *k, uint64_t most_ms)
{
	uint64_t until = k->rig.now_ms + most_ms;
	const struct brk_action *a;

	while (!(a = rig_nth(&k->rig, PIRN__KIND__DISPATCH, 0)) && k->rig.now_ms < until)
		tiny_step(k->t);
	assert_non_null(a);
	return a;
}

/* ---- one of them ------------------------------------------------------------------ */

static void a_dry_worker_gets_nothing_while_another_has_redis(void **state)
{
	struct asked *k = bench(20, 2);
	Pirn__Item run = run_call(k, A), at_b[2]; /* it has the most credit */

	(void)state;
	answer(k, A, &run, 503, true);
	assert_int_equal(link_of(k, A)->free, 0);
	at_b[0] = run_call(k, B);
	at_b[1] = run_call(k, B);
	call(k); /* that one has no credit left: it waits */
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 0);
	submit_event(k, 1);
	tiny_run(k->t);
	assert_int_equal(link_of(k, A)->n_running, 0);
	answer(k, B, &at_b[0], 200, false);
	answer(k, B, &at_b[1], 200, false);
	tiny_pass(k->t, LONGEST);
	assert_int_equal(link_of(k, A)->n_running, 2);
	asked_free(k);
}

/* A broker that was stopped hears of a failure before it ticks: what is over by then is begun anew. */
static void one_that_is_over_begins_anew(void **state)
{
	struct asked *k = bench(20, 2);
	Pirn__Item first = run_call(k, A), second = run_call(k, A);

	(void)state;
	answer(k, A, &first, 503, true);
	k->rig.now_ms += LONGEST;
	answer(k, A, &second, 503, true);
	tiny_pass(k->t, 1);
	assert_true(link_of(k, A)->drought.until_ms > k->rig.now_ms);
	assert_int_equal(link_of(k, A)->free, 0);
	assert_int_equal(hello(k)->n_dry, 1);
	asked_free(k);
}

static void all_may_have_it(void **state)
{
	struct asked *k = bench(5, 5);
	Pirn__Item a = run_call(k, A), b = run_call(k, B);

	(void)state;
	answer(k, A, &a, 503, true);
	assert_false(hello(k)->parched);
	answer(k, B, &b, 503, true);
	assert_true(hello(k)->parched);
	submit_event(k, 1);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_ready, 1); /* it waits, without a run */
	assert_int_equal(hello(k)->n_running, 0);
	a = run_call(k, A); /* calls are answered by the service itself */
	answer(k, A, &a, 200, false);
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__REPLY)->item.status, 200);
	await_dispatch(k, LONGEST + 200);
	asked_free(k);
}

static void a_lone_one(void **state)
{
	struct asked *k = bench(5, 0);
	Pirn__Item run = run_call(k, A);

	(void)state;
	answer(k, A, &run, 503, true);
	assert_true(hello(k)->parched);
	rig_worker(&k->rig, B, "hello", 1); /* no more */
	tiny_take(k->t);
	assert_false(hello(k)->parched);
	assert_int_equal(link_of(k, A)->free, 0);
	run = run_call(k, B);
	rig_send(&k->rig, B, PIRN__KIND__BYE); /* again */
	tiny_take(k->t);
	assert_true(hello(k)->parched);
	assert_int_equal(link_of(k, A)->free, 4);
	rig_send(&k->rig, A, PIRN__KIND__DRAIN);
	tiny_take(k->t);
	assert_false(hello(k)->parched);
	assert_int_equal(hello(k)->n_dry, 0);
	asked_free(k);
}

/* ---- what it does not count for ------------------------------------------------------ */

static void neither_breaker_nor_ejection_hears_of_it(void **state)
{
	struct asked *k = bench(200, 200);
	uint32_t ok, failed;

	(void)state;
	for (int i = 0; i < 60; i++) {
		call(k);
		const struct brk_action *a = rig_one(&k->rig, PIRN__KIND__DISPATCH);
		Pirn__Item run = a->item;

		answer(k, a->peer, &run, i % 3 ? 503 : 500, true);
		assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 1);
	}
	assert_int_equal(hello(k)->guard.breaker.state, BASE_BREAKER_CLOSED);
	assert_int_equal(hello(k)->n_out, 0);
	base_breaker_window(&hello(k)->guard.breaker, k->rig.now_ms, &ok, &failed);
	assert_int_equal(ok + failed, 0);
	asked_free(k);
}

/* It says so, and went well all the same; or it is the caller's mistake. */
static void only_a_failure_is_one(void **state)
{
	struct asked *k = bench(10, 0);
	Pirn__Item run = run_call(k, A);

	(void)state;
	answer(k, A, &run, 200, true);
	run = run_call(k, A);
	answer(k, A, &run, 404, true);
	assert_int_equal(hello(k)->n_dry, 0);
	asked_free(k);
}

static void an_attempt_is_not_counted(void **state)
{
	static const bool dry[] = { false, true, true, false, true, true, true, true, false };
	struct asked *k = bench(50, 0);
	Pirn__Manifest m = rig_manifest("hello");
	Pirn__Retry retry = PIRN__RETRY__INIT;
	uint32_t n = sizeof dry / sizeof dry[0];

	(void)state;
	retry.has_attempts = true;
	retry.attempts = 3;
	m.retry = &retry;
	rig_hello(&k->rig, B, B, PIRN__ROLE__WORKER, &m, 1);
	rig_credit(&k->rig, B, "hello", 100);
	rig_send(&k->rig, A, PIRN__KIND__BYE);
	tiny_take(k->t);
	submit_event(k, 1);
	for (uint32_t i = 0; i < n; i++) {
		Pirn__Item run = await_dispatch(k, 60000)->item;

		assert_int_equal(run.attempt, i + 1);
		assert_int_equal(k->n_letters, 0);
		answer(k, B, &run, 503, dry[i]);
	}
	tiny_run(k->t);
	assert_int_equal(k->n_letters, 1); /* three were counted */
	asked_free(k);
}

/* ---- all together -------------------------------------------------------------------- */

/* brk_core_check looks on after each input. */
static void a_walk(void **state)
{
	struct base_rand rand;
	struct asked *k = bench(1, 1);
	Pirn__Item runs[64];
	uint32_t at[64], n = 0, dry = 0;

	(void)state;
	base_rand_init(&rand, 7);
	for (uint32_t i = 0; i < 4000; i++) {
		uint32_t worker = base_rand_below(&rand, 2) ? A : B;
		const struct brk_action *a;

		rig_credit(&k->rig, worker, "hello",
			link_of(k, worker)->used + base_rand_below(&rand, 3));
		for (size_t j = 0; n < 64 && (a = rig_nth(&k->rig, PIRN__KIND__DISPATCH, j));
			j++, n++)
			runs[n] = a->item, at[n] = a->peer;
		if (n < 60 && base_rand_below(&rand, 2)) {
			call(k);
			a = rig_nth(&k->rig, PIRN__KIND__DISPATCH, 0);
			if (a)
				runs[n] = a->item, at[n++] = a->peer;
		} else if (n > 0) {
			n--;
			answer(k, at[n], &runs[n], 503, base_rand_below(&rand, 2));
			for (size_t j = 0; (a = rig_nth(&k->rig, PIRN__KIND__DISPATCH, j));
				j++, n++)
				runs[n] = a->item, at[n] = a->peer;
		}
		dry += hello(k)->n_dry;
	}
	assert_true(dry > 100);
	asked_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dry_worker_gets_nothing_while_another_has_redis),
		cmocka_unit_test(one_that_is_over_begins_anew),
		cmocka_unit_test(all_may_have_it),
		cmocka_unit_test(a_lone_one),
		cmocka_unit_test(neither_breaker_nor_ejection_hears_of_it),
		cmocka_unit_test(only_a_failure_is_one),
		cmocka_unit_test(an_attempt_is_not_counted),
		cmocka_unit_test(a_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
