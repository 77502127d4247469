/* The broker's core: who gets what, and the protocol of credit. */
#include "tests/unit/core_rig.h"

enum { CLIENT = 1, A = 5, B = 6, C = 7 };

static struct rig new_rig(void)
{
	struct rig r = rig_new(NULL);

	rig_client(&r, CLIENT);
	return r;
}

static void test_in_the_same_input(void **state)
{
	struct rig r = new_rig();
	const struct brk_action *a;

	(void)state;
	rig_worker(&r, A, "hello", 1);
	rig_item(&r, CLIENT, PIRN__KIND__SUBMIT,
		(struct rig_item){ .service = "hello",
			.data = "abc",
			.slot = 4,
			.flags = PIRN__ITEM_FLAG__IDEMPOTENT,
			.left_ms = 700 });
	a = rig_one(&r, PIRN__KIND__DISPATCH);
	assert_int_equal(a->peer, A);
	assert_string_equal(a->item.service, "hello");
	assert_int_equal(a->item.attempt, 1);
	assert_int_equal(a->item.left_ms, 700);
	assert_int_equal(a->item.flags, PIRN__ITEM_FLAG__IDEMPOTENT);
	assert_int_equal(a->payload.data_size, 3);
	assert_memory_equal(a->payload.bytes, "abc", 3);
	rig_free(&r);
}

static void test_never_beyond_credit(void **state)
{
	struct rig r = new_rig();

	(void)state;
	rig_worker(&r, A, "hello", 2);
	for (uint32_t i = 0; i < 5; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	assert_int_equal(rig_figures(&r).running, 2);
	assert_int_equal(rig_figures(&r).waiting, 3);
	rig_credit(&r, A, "hello", 3);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->item.left_ms, 10000);
	rig_credit(&r, A, "hello", 3); /* a sum: said twice it is the same */
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	rig_credit(&r, A, "hello", UINT64_MAX);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 2);
	rig_free(&r);
}

static void test_credit_rides_on_results(void **state)
{
	struct rig r = new_rig();
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Credit credit = PIRN__CREDIT__INIT, *credits = &credit;
	Pirn__Item result = PIRN__ITEM__INIT, *items = &result;
	const Pirn__Item *run;

	(void)state;
	rig_worker(&r, A, "hello", 1);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	run = &rig_one(&r, PIRN__KIND__DISPATCH)->item;
	result.slot = run->slot;
	result.generation = run->generation;
	result.status = 204;
	rig_submit(&r, CLIENT, 2, "hello", 0);
	credit.service = (char *)(uintptr_t) "hello";
	credit.has_granted = true;
	credit.granted = 2;
	head.kind = PIRN__KIND__RESULT;
	head.items = &items;
	head.n_items = 1;
	head.credits = &credits;
	head.n_credits = 1;
	rig_head(&r, A, &head, NULL, 0);
	rig_is_replied(&r, 1, 0, 204);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
	rig_free(&r);
}

static void test_credit_is_taken_back(void **state)
{
	struct rig r = new_rig();
	const struct brk_action *a;

	(void)state;
	rig_worker(&r, A, "hello", 5);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_credit(&r, A, "hello", 1); /* two are used already */
	a = rig_one(&r, PIRN__KIND__CREDIT);
	assert_int_equal(a->peer, A);
	assert_int_equal(a->credit.granted, 1);
	assert_int_equal(a->credit.used, 2);
	assert_int_equal(a->credit.waiting, 0);
	assert_true(a->credit.lowered);
	rig_submit(&r, CLIENT, 3, "hello", 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	rig_credit(&r, A, "hello", 2);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	rig_credit(&r, A, "hello", 3);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
	rig_free(&r);
}

static void test_a_backlog_is_told(void **state)
{
	struct rig r = new_rig();
	const struct brk_action *a;

	(void)state;
	rig_worker(&r, A, "hello", 0);
	rig_worker(&r, B, "hello", 0);
	rig_worker(&r, C, "other", 0);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__CREDIT), 2);
	a = rig_nth(&r, PIRN__KIND__CREDIT, 0);
	assert_int_equal(a->credit.waiting, 1);
	assert_int_equal(a->credit.granted, 0);
	assert_false(a->credit.lowered);
	for (uint32_t i = 2; i < 8; i++) {
		rig_submit(&r, CLIENT, i, "hello", 0);
		assert_int_equal(rig_count(&r, PIRN__KIND__CREDIT), 0); /* not yet */
	}
	assert_true(brk_core_due(r.core) <= r.now_ms + BRK_NOTICE_MS);
	rig_tick(&r, BRK_NOTICE_MS);
	assert_int_equal(rig_count(&r, PIRN__KIND__CREDIT), 2);
	assert_int_equal(rig_nth(&r, PIRN__KIND__CREDIT, 1)->credit.waiting, 7);
	rig_tick(&r, BRK_NOTICE_MS);
	assert_int_equal(rig_count(&r, PIRN__KIND__CREDIT), 0); /* nothing new to tell */
	rig_credit(&r, A, "hello", 7);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 7);
	rig_tick(&r, BRK_NOTICE_MS);
	rig_tick(&r, BRK_NOTICE_MS);
	assert_int_equal(rig_figures(&r).waiting, 0);
	rig_free(&r);
}

static void test_the_end_of_a_backlog_is_told_once(void **state)
{
	struct rig r = new_rig();

	(void)state;
	rig_worker(&r, A, "hello", 0);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__CREDIT)->credit.waiting, 1);
	rig_tick(&r, BRK_NOTICE_MS);
	rig_credit(&r, A, "hello", 1);
	assert_int_equal(rig_one(&r, PIRN__KIND__CREDIT)->credit.waiting, 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__CREDIT)->credit.used, 1);
	rig_tick(&r, BRK_NOTICE_MS);
	assert_int_equal(rig_count(&r, PIRN__KIND__CREDIT), 0);
	rig_free(&r);
}

static void test_a_worker_that_comes_later_is_told(void **state)
{
	struct rig r = new_rig();

	(void)state;
	rig_worker(&r, A, "hello", 0);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	rig_tick(&r, BRK_NOTICE_MS);
	rig_worker(&r, B, "hello", 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__CREDIT)->peer, B);
	assert_int_equal(rig_one(&r, PIRN__KIND__CREDIT)->credit.waiting, 1);
	rig_free(&r);
}

static void test_most_credit_wins(void **state)
{
	struct rig r = new_rig();
	uint32_t got[8] = { 0 };

	(void)state;
	rig_worker(&r, A, "hello", 2);
	rig_worker(&r, B, "hello", 10);
	rig_worker(&r, C, "hello", 4);
	for (uint32_t i = 0; i < 6; i++) {
		rig_submit(&r, CLIENT, i, "hello", 0);
		assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, B);
	}
	for (uint32_t i = 6; i < 16; i++) {
		rig_submit(&r, CLIENT, i, "hello", 0);
		got[rig_one(&r, PIRN__KIND__DISPATCH)->peer]++;
	}
	assert_int_equal(got[A], 2);
	assert_int_equal(got[B], 4);
	assert_int_equal(got[C], 4);
	rig_free(&r);
}

/* One run of "hello" that takes so long. */
static void run_for(struct rig *r, uint32_t slot, uint64_t us)
{
	const struct brk_action *a;
	Pirn__Item run;
	uint32_t worker;

	brk_core_clock(r->core, r->now_ms * 1000);
	rig_submit(r, CLIENT, slot, "hello", 0);
	a = rig_one(r, PIRN__KIND__DISPATCH);
	run = a->item;
	worker = a->peer;
	brk_core_clock(r->core, r->now_ms * 1000 + us);
	rig_result(r, worker, &run, 200, 0);
}

/* n calls in one message; how many of them went to A. */
static size_t share_of_a(struct rig *r, uint32_t first_slot, size_t n)
{
	struct rig_item items[16];
	size_t share = 0;

	for (uint32_t i = 0; i < n; i++)
		items[i] = (struct rig_item){
			.service = "hello", .slot = first_slot + i, .left_ms = 1000
		};
	rig_items(r, CLIENT, PIRN__KIND__SUBMIT, items, n);
	assert_int_equal(rig_count(r, PIRN__KIND__DISPATCH), n);
	for (size_t i = 0; i < n; i++)
		share += rig_nth(r, PIRN__KIND__DISPATCH, i)->peer == A;
	return share;
}

/* Two workers that have as much credit when A has run once. */
static struct rig new_pair(void)
{
	struct rig r = new_rig();

	rig_worker(&r, A, "hello", 21);
	rig_worker(&r, B, "hello", 20);
	return r;
}

static void test_short_runs_stay_together(void **state)
{
	struct rig r = new_pair();

	(void)state;
	run_for(&r, 0, 50);
	assert_int_equal(share_of_a(&r, 10, 8), 8);
	assert_int_equal(share_of_a(&r, 20, 8), 0); /* the other has more credit now */
	assert_int_equal(share_of_a(&r, 30, 1) + share_of_a(&r, 40, 1), 1);
	rig_free(&r);
}

static void test_long_runs_are_spread(void **state)
{
	static const struct {
		uint64_t us;
		size_t n, share;
	} table[] = {
		{ 60000000, 2, 1 },
		{ 11000, 2, 1 }, /* one by one */
		{ 9000, 2, 2 },
		{ 9000, 4, 2 }, /* two by two */
		{ 5000, 4, 4 },
		{ 5000, 8, 4 }, /* four by four */
		{ 2000, 8, 8 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		struct rig r = new_pair();

		run_for(&r, 0, table[i].us);
		assert_int_equal(share_of_a(&r, 10, table[i].n), table[i].share);
		rig_free(&r);
	}
}

static void test_unknown_runs_are_spread(void **state)
{
	struct rig r = new_pair();

	(void)state;
	assert_int_equal(share_of_a(&r, 10, 9), 5);
	rig_free(&r);
}

/* It was short, and is not any more: soon it is spread. And the other way round. */
static void test_a_change_of_pace_is_followed(void **state)
{
	struct rig r = new_rig();
	size_t share;

	(void)state;
	rig_worker(&r, A, "hello", 60);
	rig_worker(&r, B, "hello", 60);
	run_for(&r, 0, 100);
	for (uint32_t i = 1; i < 5; i++)
		run_for(&r, i, 50000);
	assert_in_range(share_of_a(&r, 10, 8), 3, 5);
	for (uint32_t i = 30; i < 60; i++)
		run_for(&r, i, 100);
	share = share_of_a(&r, 70, 8);
	assert_true(share == 0 || share == 8);
	rig_free(&r);
}

static void test_a_row_ends_with_the_credit(void **state)
{
	struct rig r = new_rig();

	(void)state;
	rig_worker(&r, A, "hello", 7);
	rig_worker(&r, B, "hello", 4);
	run_for(&r, 0, 50);
	assert_int_equal(share_of_a(&r, 10, 10), 6);
	rig_free(&r);
}

static void test_a_row_does_not_outlive_its_worker(void **state)
{
	struct rig r = new_pair();

	(void)state;
	run_for(&r, 0, 50);
	assert_int_equal(share_of_a(&r, 10, 3), 3);
	rig_look(&r, brk_core_gone(r.core, r.now_ms, A));
	assert_int_equal(share_of_a(&r, 20, 3), 0);
	rig_free(&r);
}

static void test_concurrency_total(void **state)
{
	struct rig r = new_rig();
	Pirn__Manifest m = rig_manifest("hello");
	Pirn__Item run;

	(void)state;
	m.has_concurrency_total = true;
	m.concurrency_total = 2;
	rig_hello(&r, A, A, PIRN__ROLE__WORKER, &m, 1);
	rig_credit(&r, A, "hello", 10);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	run = rig_one(&r, PIRN__KIND__DISPATCH)->item;
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_submit(&r, CLIENT, 3, "hello", 0);
	assert_int_equal(rig_figures(&r).running, 2);
	assert_int_equal(rig_count(&r, PIRN__KIND__CREDIT), 0); /* more credit would not help */
	rig_result(&r, A, &run, 200, 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
	rig_free(&r);
}

/* Two services with a backlog, one of small payloads and one of large ones: each gets as many
 * bytes. */
static void test_services_take_turns(void **state)
{
	static char large[8001];
	struct brk_conf conf = rig_conf();
	Pirn__Manifest m[2] = { rig_manifest("small"), rig_manifest("large") };
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Credit credits[2], *list[2] = { &credits[0], &credits[1] };
	struct rig r;
	size_t larges = 0;

	(void)state;
	conf.max_bytes = 2000000;
	conf.max_calls = 200;
	r = rig_new(&conf);
	rig_client(&r, CLIENT);
	rig_hello(&r, A, A, PIRN__ROLE__WORKER, m, 2);
	memset(large, 'x', sizeof large - 1);
	for (uint32_t i = 0; i < 40; i++)
		rig_item(&r, CLIENT, PIRN__KIND__SUBMIT,
			(struct rig_item){
				.service = "large", .data = large, .slot = i, .left_ms = 1000 });
	for (uint32_t i = 40; i < 100; i++)
		rig_submit(&r, CLIENT, i, "small", 0);
	for (int i = 0; i < 2; i++) {
		pirn__credit__init(&credits[i]);
		credits[i].service = m[i].service;
		credits[i].has_granted = true;
		credits[i].granted = 100;
	}
	head.kind = PIRN__KIND__CREDIT;
	head.credits = list;
	head.n_credits = 2;
	rig_head(&r, A, &head, NULL, 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 100);
	/* The sixty small ones cost one quantum and a bit: they are not behind forty large ones. */
	for (size_t i = 0, smalls = 0; smalls < 60; i++) {
		if (strcmp(rig_nth(&r, PIRN__KIND__DISPATCH, i)->item.service, "small") == 0)
			smalls++;
		else
			larges++;
	}
	assert_in_range(larges, 0, 4);
	rig_free(&r);
}

static void test_a_full_list_goes_on_at_the_next_tick(void **state)
{
	struct brk_conf conf = rig_conf();
	static struct rig_item items[1000];
	struct rig r;

	(void)state;
	conf.max_calls = 8000;
	r = rig_new(&conf);
	rig_client(&r, CLIENT);
	rig_worker(&r, A, "hello", 0);
	for (uint32_t i = 0; i < 5000; i++)
		items[i % 1000] =
			(struct rig_item){ .service = "hello", .slot = i, .left_ms = 1000 };
	for (uint32_t n = 0; n < 5; n++) {
		for (uint32_t i = 0; i < 1000; i++)
			items[i] = (struct rig_item){
				.service = "hello", .slot = n * 1000 + i, .left_ms = 60000
			};
		rig_items(&r, CLIENT, PIRN__KIND__SUBMIT, items, 1000);
	}
	rig_credit(&r, A, "hello", 5000);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), BRK_VOLUNTARY_ACTIONS);
	assert_true(brk_core_due(r.core) <= r.now_ms);
	rig_tick(&r, 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 5000 - BRK_VOLUNTARY_ACTIONS);
	assert_int_equal(rig_figures(&r).waiting, 0);
	rig_look(&r,
		brk_core_gone(r.core, r.now_ms, A)); /* what is owed does not stop at the mark */
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 5000);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_the_same_input),
		cmocka_unit_test(test_never_beyond_credit),
		cmocka_unit_test(test_credit_rides_on_results),
		cmocka_unit_test(test_credit_is_taken_back),
		cmocka_unit_test(test_a_backlog_is_told),
		cmocka_unit_test(test_the_end_of_a_backlog_is_told_once),
		cmocka_unit_test(test_a_worker_that_comes_later_is_told),
		cmocka_unit_test(test_most_credit_wins),
		cmocka_unit_test(test_short_runs_stay_together),
		cmocka_unit_test(test_long_runs_are_spread),
		cmocka_unit_test(test_unknown_runs_are_spread),
		cmocka_unit_test(test_a_change_of_pace_is_followed),
		cmocka_unit_test(test_a_row_ends_with_the_credit),
		cmocka_unit_test(test_a_row_does_not_outlive_its_worker),
		cmocka_unit_test(test_concurrency_total),
		cmocka_unit_test(test_services_take_turns),
		cmocka_unit_test(test_a_full_list_goes_on_at_the_next_tick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
