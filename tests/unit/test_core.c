/* The broker's core: a call's way from SUBMIT to its end, refusals, losses, questions, memory. */
#include "tests/unit/count_alloc.h"
#include "tests/unit/core_rig.h"

enum { CLIENT = 1, OTHER = 2, A = 5, B = 6 };

static const uint32_t AGAIN = PIRN__ITEM_FLAG__IDEMPOTENT;

static struct rig new_rig(uint64_t granted)
{
	struct rig r = rig_new(NULL);

	rig_client(&r, CLIENT);
	rig_worker(&r, A, "hello", granted);
	return r;
}

static Pirn__Item submit_and_run(struct rig *r, uint32_t slot, uint32_t flags)
{
	rig_submit(r, CLIENT, slot, "hello", flags);
	return rig_one(r, PIRN__KIND__DISPATCH)->item;
}

/* ---- the way through --------------------------------------------------------- */

static void test_a_call(void **state)
{
	struct rig r = new_rig(10);
	Pirn__Item run = submit_and_run(&r, 42, 0);
	const struct brk_action *a;
	struct brk_figures f;

	(void)state;
	rig_result(&r, A, &run, 201, 0);
	rig_is_replied(&r, 42, 0, 201);
	a = rig_nth(&r, PIRN__KIND__REPLY, 0);
	assert_int_equal(a->peer, CLIENT);
	assert_int_equal(a->item.attempt, 1);
	assert_int_equal(a->payload.data_size, 8);
	assert_memory_equal(a->payload.bytes, "response", 8);
	f = rig_figures(&r);
	assert_int_equal(f.submitted, 1);
	assert_int_equal(f.dispatched, 1);
	assert_int_equal(f.replied, 1);
	assert_int_equal(f.waiting + f.running + f.waiting_bytes, 0);
	rig_free(&r);
}

static void test_a_result_counts_once_and_from_its_worker(void **state)
{
	struct rig r = new_rig(10);
	Pirn__Item run = submit_and_run(&r, 1, 0), forged = run;

	(void)state;
	rig_worker(&r, B, "hello", 0);
	rig_result(&r, B, &run, 200, 0);
	forged.generation += 2;
	rig_result(&r, A, &forged, 200, 0);
	forged = run, forged.slot = UINT32_MAX;
	rig_result(&r, A, &forged, 200, 0);
	assert_int_equal(rig_figures(&r).stale, 3);
	assert_int_equal(rig_figures(&r).replied, 0);
	rig_result(&r, A, &run, 200, 0);
	rig_result(&r, A, &run, 200, 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	assert_int_equal(rig_figures(&r).replied, 1);
	assert_int_equal(rig_figures(&r).stale, 4);
	rig_free(&r);
}

static void test_results_are_checked(void **state)
{
	static const struct {
		uint32_t status, reason, out_reason, out_status;
	} rows[] = {
		{ 200, 0, 0, 200 },
		{ 503, 0, 0, 503 },
		{ 100, 0, PIRN__REASON__CRASHED, 502 },
		{ 600, 0, PIRN__REASON__CRASHED, 502 },
		{ 200, 77, PIRN__REASON__CRASHED, 502 },
		{ 200, PIRN__REASON__UNKNOWN_SERVICE, PIRN__REASON__CRASHED, 502 },
		{ 0, PIRN__REASON__CRASHED, PIRN__REASON__CRASHED, 502 },
		{ 0, PIRN__REASON__DEADLINE, PIRN__REASON__DEADLINE, 504 },
		{ 0, PIRN__REASON__TOO_LARGE, PIRN__REASON__TOO_LARGE, 502 },
	};
	struct rig r = new_rig(100);

	(void)state;
	for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		Pirn__Item run = submit_and_run(&r, i, 0);
		rig_result(&r, A, &run, rows[i].status, rows[i].reason);
		rig_is_replied(&r, i, rows[i].out_reason, rows[i].out_status);
		if (rows[i].out_reason)
			assert_int_equal(rig_nth(&r, PIRN__KIND__REPLY, 0)->payload.data_size, 0);
		run = submit_and_run(&r, 50 + i, 0); /* so that the breaker stays closed */
		rig_result(&r, A, &run, 200, 0);
	}
	rig_free(&r);
}

static void test_refusals(void **state)
{
	static char large[10002];
	struct rig r = new_rig(1);
	uint8_t short_id[3] = { 0 };
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;
	Pirn__Head head = PIRN__HEAD__INIT;

	(void)state;
	memset(large, 'x', sizeof large - 1);
	rig_submit(&r, CLIENT, 1, "nobody", 0);
	rig_is_refused(&r, 1, PIRN__REASON__UNKNOWN_SERVICE);
	rig_submit(&r, CLIENT, 2, NULL, 0);
	rig_is_refused(&r, 2, PIRN__REASON__UNKNOWN_SERVICE);
	rig_submit(&r, CLIENT, 3, "hello", PIRN__ITEM_FLAG__EVENT);
	rig_is_refused(&r, 3, PIRN__REASON__UNSUPPORTED);
	rig_item(&r, CLIENT, PIRN__KIND__SUBMIT,
		(struct rig_item){ .service = "hello", .data = large, .slot = 4 });
	rig_is_refused(&r, 4, PIRN__REASON__TOO_LARGE);
	head.kind = PIRN__KIND__SUBMIT;
	head.items = &list;
	head.n_items = 1;
	item.service = (char *)(uintptr_t) "hello";
	item.has_left_ms = true;
	rig_head(&r, CLIENT, &head, NULL, 0);
	rig_is_refused(&r, 0, PIRN__REASON__DEADLINE);
	item.has_left_ms = false;
	item.has_id = true;
	item.id = (ProtobufCBinaryData){ sizeof short_id, short_id };
	rig_head(&r, CLIENT, &head, NULL, 0);
	rig_is_refused(&r, 0, PIRN__REASON__MALFORMED);
	assert_int_equal(rig_figures(&r).refused, 6);
	assert_int_equal(rig_figures(&r).submitted, 0);
	rig_free(&r);
}

static void test_sizes_that_do_not_add_up(void **state)
{
	struct rig r = new_rig(1);
	Pirn__Item items[2] = { PIRN__ITEM__INIT, PIRN__ITEM__INIT },
		   *list[2] = { &items[0], &items[1] };
	Pirn__Head head = PIRN__HEAD__INIT;

	(void)state;
	head.kind = PIRN__KIND__SUBMIT;
	head.items = list;
	head.n_items = 2;
	items[0].service = items[1].service = (char *)(uintptr_t) "hello";
	items[0].data_size = 5;
	items[1].meta_size = UINT32_MAX;
	items[1].data_size = UINT32_MAX;
	rig_head(&r, CLIENT, &head, (const uint8_t *)"0123456789", 10);
	assert_int_equal(r.out->n, 0);
	items[1].meta_size = 0;
	items[1].data_size = 4;
	rig_head(&r, CLIENT, &head, (const uint8_t *)"0123456789", 10);
	assert_int_equal(r.out->n, 0);
	assert_int_equal(rig_figures(&r).malformed, 2);
	rig_free(&r);
}

static void test_an_open_pair_is_not_taken_twice(void **state)
{
	struct rig r = new_rig(10);

	(void)state;
	(void)submit_and_run(&r, 1, 0);
	rig_submit(&r, CLIENT, 1, "hello", 0);
	assert_int_equal(r.out->n, 0);
	assert_int_equal(rig_figures(&r).malformed, 1);
	rig_client(&r, OTHER);
	rig_submit(&r, OTHER, 1, "hello", 0); /* another client's numbers are its own */
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
	rig_free(&r);
}

/* ---- bounds -------------------------------------------------------------------- */

static void test_bounds(void **state)
{
	struct brk_conf conf = rig_conf();
	Pirn__Manifest m = rig_manifest("hello");
	struct rig r;

	(void)state;
	conf.max_calls = 5;
	r = rig_new(&conf);
	rig_client(&r, CLIENT);
	m.has_queue_items = true;
	m.queue_items = 2;
	rig_hello(&r, A, A, PIRN__ROLE__WORKER, &m, 1);
	rig_worker(&r, B, "other", 0);
	for (uint32_t i = 0; i < 3; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	rig_is_refused(&r, 2, PIRN__REASON__QUEUE_FULL);
	assert_true(rig_nth(&r, PIRN__KIND__REFUSED, 0)->item.retry_after_ms > 0);
	for (uint32_t i = 3; i < 7; i++)
		rig_submit(&r, CLIENT, i, "other", 0);
	rig_is_refused(&r, 6, PIRN__REASON__OVERLOADED);
	rig_free(&r);
}

static void test_bytes_are_bounded(void **state)
{
	struct brk_conf conf = rig_conf();
	struct rig r;

	(void)state;
	conf.max_bytes = 20; /* "request" has seven */
	r = rig_new(&conf);
	rig_client(&r, CLIENT);
	rig_worker(&r, A, "hello", 1);
	for (uint32_t i = 0; i < 3; i++)
		rig_submit(&r, CLIENT, i, "hello", 0);
	rig_is_refused(&r, 2, PIRN__REASON__OVERLOADED);
	assert_int_equal(rig_figures(&r).waiting_bytes, 14);
	rig_free(&r);
}

/* ---- other ends ------------------------------------------------------------------ */

static void test_deadlines(void **state)
{
	struct rig r = new_rig(1);
	Pirn__Item run = submit_and_run(&r, 1, 0);

	(void)state;
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_tick(&r, 999);
	rig_tick(&r, 9000);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	assert_true(brk_core_due(r.core) <= r.now_ms + 1);
	rig_send(&r, CLIENT, PIRN__KIND__BEAT);
	rig_send(&r, A, PIRN__KIND__BEAT);
	rig_tick(&r, 1);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 2);
	assert_int_equal(rig_nth(&r, PIRN__KIND__REPLY, 0)->item.status, 504);
	assert_int_equal(rig_nth(&r, PIRN__KIND__REPLY, 1)->item.reason, PIRN__REASON__DEADLINE);
	assert_int_equal(rig_one(&r, PIRN__KIND__CANCEL)->item.slot, run.slot);
	rig_result(&r, A, &run, 200, 0);
	assert_int_equal(rig_figures(&r).stale, 1);
	assert_int_equal(rig_figures(&r).expired, 2);
	rig_submit(&r, CLIENT, 3, "hello", 0); /* the credit is spent all the same */
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	rig_free(&r);
}

/* The tick may be late: what is past its deadline is not sent to anybody. */
static void test_nothing_starts_after_its_deadline(void **state)
{
	struct rig r = new_rig(0);

	(void)state;
	rig_submit(&r, CLIENT, 1, "hello", 0);
	r.now_ms += 10000;
	rig_credit(&r, A, "hello", 5);
	rig_is_replied(&r, 1, PIRN__REASON__DEADLINE, 504);
	assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 0);
	rig_free(&r);
}

static void test_cancel(void **state)
{
	struct rig r = new_rig(1);
	Pirn__Item run = submit_and_run(&r, 1, 0);

	(void)state;
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_client(&r, OTHER);
	rig_item(&r, OTHER, PIRN__KIND__CANCEL, (struct rig_item){ .slot = 1 });
	assert_int_equal(rig_figures(&r).cancelled, 0);
	rig_item(&r, CLIENT, PIRN__KIND__CANCEL, (struct rig_item){ .slot = 2 });
	assert_int_equal(rig_count(&r, PIRN__KIND__CANCEL), 0);
	assert_int_equal(rig_figures(&r).waiting, 0);
	rig_item(&r, CLIENT, PIRN__KIND__CANCEL, (struct rig_item){ .slot = 1 });
	assert_int_equal(rig_one(&r, PIRN__KIND__CANCEL)->peer, A);
	rig_result(&r, A, &run, 200, 0);
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	assert_int_equal(rig_figures(&r).cancelled, 2);
	rig_free(&r);
}

static void test_a_client_is_gone(void **state)
{
	struct rig r = new_rig(1);

	(void)state;
	(void)submit_and_run(&r, 1, 0);
	rig_submit(&r, CLIENT, 2, "hello", 0);
	rig_look(&r, brk_core_gone(r.core, r.now_ms, CLIENT));
	assert_int_equal(rig_count(&r, PIRN__KIND__REPLY), 0);
	assert_int_equal(rig_one(&r, PIRN__KIND__CANCEL)->peer, A);
	assert_int_equal(rig_figures(&r).waiting + rig_figures(&r).running, 0);
	rig_free(&r);
}

static void test_a_worker_is_gone(void **state)
{
	struct rig r = new_rig(2);

	(void)state;
	(void)submit_and_run(&r, 1, 0);
	(void)submit_and_run(&r, 2, AGAIN);
	rig_worker(&r, B, "hello", 2);
	rig_look(&r, brk_core_gone(r.core, r.now_ms, A));
	rig_is_replied(&r, 1, PIRN__REASON__WORKER_LOST, 502);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->peer, B);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->item.attempt, 2);
	assert_memory_equal(rig_one(&r, PIRN__KIND__DISPATCH)->payload.bytes, "request", 7);
	rig_send(&r, B, PIRN__KIND__BYE);
	assert_int_equal(rig_figures(&r).waiting, 1); /* nobody is there; it waits for somebody */
	rig_worker(&r, A, "hello", 2);
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->item.attempt, 3);
	rig_send(&r, A, PIRN__KIND__BYE);
	rig_is_replied(&r, 2, PIRN__REASON__WORKER_LOST, 502);
	assert_int_equal(rig_figures(&r).retried, 2);
	assert_int_equal(rig_figures(&r).lost, 2);
	rig_free(&r);
}

static void test_order_is_kept_when_runs_come_back(void **state)
{
	struct rig r = new_rig(2);

	(void)state;
	for (uint32_t i = 1; i <= 3; i++) {
		rig_item(&r, CLIENT, PIRN__KIND__SUBMIT,
			(struct rig_item){ .service = "hello",
				.data = i == 1   ? "1"
					: i == 2 ? "2"
						 : "3",
				.slot = i,
				.flags = AGAIN });
	}
	rig_look(&r, brk_core_gone(r.core, r.now_ms, A));
	rig_worker(&r, B, "hello", 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(
			rig_nth(&r, PIRN__KIND__DISPATCH, i)->payload.bytes[0], '1' + (int)i);
	rig_free(&r);
}

static void test_a_run_is_handed_back(void **state)
{
	struct rig r = new_rig(5);
	Pirn__Item run = submit_and_run(&r, 1, 0); /* not idempotent, but it was not run */

	(void)state;
	rig_worker(&r, B, "hello", 1);
	rig_result(&r, A, &run, 0, PIRN__REASON__DRAINING);
	assert_int_equal(
		rig_one(&r, PIRN__KIND__DISPATCH)->peer, B); /* A has more credit, and drains */
	assert_int_equal(rig_one(&r, PIRN__KIND__DISPATCH)->item.attempt, 1);
	assert_memory_equal(rig_one(&r, PIRN__KIND__DISPATCH)->payload.bytes, "request", 7);
	rig_free(&r);
}

/* ---- payloads by reference --------------------------------------------------------- */

static unsigned released;

static void release(struct base_block *block)
{
	(void)block;
	released++;
}

static void test_a_block_is_kept_by_reference(void **state)
{
	struct rig r = new_rig(0);
	uint8_t bytes[] = "metadata";
	struct base_block block = { .data = bytes, .size = 8, .refs = 1, .release = release };
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item, run;
	Pirn__Head head = PIRN__HEAD__INIT;
	struct brk_message m = {
		.peer = CLIENT, .head = &head, .body = bytes, .body_size = 8, .block = &block
	};
	const struct brk_action *a;

	(void)state;
	released = 0;
	head.kind = PIRN__KIND__SUBMIT;
	head.items = &list;
	head.n_items = 1;
	item.service = (char *)(uintptr_t) "hello";
	item.meta_size = item.data_size = 4;
	rig_look(&r, brk_core_message(r.core, r.now_ms, &m));
	assert_int_equal(block.refs, 2);
	rig_credit(&r, A, "hello", 1);
	a = rig_one(&r, PIRN__KIND__DISPATCH);
	assert_ptr_equal(a->payload.bytes, bytes);
	assert_ptr_equal(a->payload.block, &block);
	assert_int_equal(a->payload.meta_size, 4);
	run = a->item;
	rig_result(&r, A, &run, 200, 0);
	assert_int_equal(block.refs, 1);
	assert_int_equal(released, 0);
	rig_free(&r);
}

/* ---- questions ------------------------------------------------------------------------ */

static Pirn__Answer *ask(struct rig *r, uint32_t what)
{
	char bytes[3] = { 0x08, (char)what, 0 };
	const struct brk_action *a;
	Pirn__Answer *answer;

	rig_item(r, CLIENT, PIRN__KIND__QUERY, (struct rig_item){ .slot = 9, .data = bytes });
	a = rig_one(r, PIRN__KIND__ANSWER);
	assert_int_equal(a->item.slot, 9);
	answer = pirn__answer__unpack(NULL, a->payload.data_size, a->payload.bytes);
	assert_non_null(answer);
	return answer;
}

static void test_services_answer(void **state)
{
	struct rig r = new_rig(2);
	Pirn__Item run = submit_and_run(&r, 1, 0);
	Pirn__Answer *answer;
	uint64_t n = 0;

	(void)state;
	brk_core_clock(r.core, r.now_ms * 1000 + 250);
	rig_result(&r, A, &run, 200, 0);
	(void)submit_and_run(&r, 2, 0);
	rig_submit(&r, CLIENT, 3, "hello", 0);
	answer = ask(&r, PIRN__QUERY_KIND__SERVICES);
	assert_string_equal(answer->broker, "rig");
	assert_int_equal(answer->n_services, 1);
	assert_string_equal(answer->services[0]->service, "hello");
	assert_int_equal(answer->services[0]->n_workers, 1);
	assert_int_equal(answer->services[0]->workers[0].data[0], A);
	assert_int_equal(answer->services[0]->running, 1);
	assert_int_equal(answer->services[0]->waiting, 1);
	assert_int_equal(answer->services[0]->done, 1);
	for (size_t i = 0; i < answer->services[0]->n_latency; i++)
		n += answer->services[0]->latency[i];
	assert_int_equal(n, 1);
	assert_true(base_hist_bound_us(answer->services[0]->n_latency - 1) >= 250);
	pirn__answer__free_unpacked(answer, NULL);
	rig_free(&r);
}

static void beat(struct rig *r, uint32_t peer, const char *name, double value)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Beat b = PIRN__BEAT__INIT;
	Pirn__Metric metric = PIRN__METRIC__INIT, *list = &metric;
	struct brk_message m = { .peer = peer, .head = &head, .beat = &b };

	head.kind = PIRN__KIND__BEAT;
	metric.name = (char *)(uintptr_t)name;
	metric.has_value = true;
	metric.value = value;
	b.metrics = &list;
	b.n_metrics = 1;
	rig_look(r, brk_core_message(r->core, r->now_ms, &m));
}

static void test_metrics_answer(void **state)
{
	struct rig r = new_rig(2);
	static char long_name[BRK_MAX_BEAT + 1];
	Pirn__Answer *answer;

	(void)state;
	beat(&r, A, "pirn_worker_things", 7);
	memset(long_name, 'x', sizeof long_name - 1);
	beat(&r, A, long_name, 8); /* too much: the one before stays */
	answer = ask(&r, PIRN__QUERY_KIND__METRICS);
	assert_int_equal(answer->n_instances, 2);
	assert_string_equal(answer->instances[0]->name, "rig");
	assert_int_equal(answer->instances[0]->role, PIRN__ROLE__BROKER);
	assert_true(answer->instances[0]->n_metrics > 15);
	assert_int_equal(answer->instances[1]->role, PIRN__ROLE__WORKER);
	assert_int_equal(answer->instances[1]->n_metrics, 1);
	assert_string_equal(answer->instances[1]->metrics[0]->name, "pirn_worker_things");
	pirn__answer__free_unpacked(answer, NULL);
	rig_item(&r, CLIENT, PIRN__KIND__QUERY, (struct rig_item){ .slot = 3, .data = "\xff\xff" });
	rig_is_refused(&r, 3, PIRN__REASON__MALFORMED);
	rig_item(&r, CLIENT, PIRN__KIND__QUERY, (struct rig_item){ .slot = 4, .data = "\x08\x63" });
	rig_is_refused(&r, 4, PIRN__REASON__MALFORMED);
	rig_free(&r);
}

/* ---- memory ------------------------------------------------------------------------------ */

#define BATCH 64

static struct rig_item batch[BATCH];

/* Without rig_look: brk_core_check is not what is counted. */
static void one_turn(struct rig *r, uint64_t *granted, uint32_t round)
{
	for (uint32_t i = 0; i < BATCH; i++)
		batch[i] = (struct rig_item){ .service = "hello",
			.data = "some bytes that have to be kept",
			.slot = i,
			.generation = round,
			.flags = i % 2 ? AGAIN : 0,
			.left_ms = 5000 };
	rig_items(r, CLIENT, PIRN__KIND__SUBMIT, batch, BATCH);
	rig_credit(r, A, "hello", *granted += BATCH);
	for (uint32_t i = 0; i < BATCH; i++) {
		const Pirn__Item *run = &rig_nth(r, PIRN__KIND__DISPATCH, i)->item;
		batch[i] = (struct rig_item){
			.slot = run->slot, .generation = run->generation, .status = 200
		};
	}
	rig_items(r, A, PIRN__KIND__RESULT, batch, BATCH);
	assert_int_equal(rig_count(r, PIRN__KIND__REPLY), BATCH);
	rig_tick(r, 1);
}

static void test_no_malloc_in_the_steady_state(void **state)
{
	struct rig r;
	uint64_t granted = 0;
	unsigned long n;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	r = new_rig(0);
	for (uint32_t i = 0; i < 20; i++)
		one_turn(&r, &granted, i);
	count_alloc_start();
	for (uint32_t i = 20; i < 500; i++)
		one_turn(&r, &granted, i);
	n = count_alloc_stop();
	assert_int_equal(n, 0);
	rig_free(&r);
}

/* Every allocation fails in turn: what was asked is refused or put off, nothing is half done,
 * nothing leaks. */
static void test_out_of_memory(void **state)
{
	Pirn__Manifest m[2] = { rig_manifest("one"), rig_manifest("two") };

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	for (unsigned long nth = 1; nth < 60; nth++) {
		long live = count_alloc_live;
		struct rig r = rig_new(NULL);

		rig_client(&r, CLIENT);
		count_alloc_fail_at(nth);
		rig_hello(&r, A, A, PIRN__ROLE__WORKER, m, 2);
		rig_credit(&r, A, "one", 5);
		rig_submit(&r, CLIENT, 1, "one", 0);
		rig_submit(&r, CLIENT, 2, "two", 0);
		rig_item(&r, CLIENT, PIRN__KIND__QUERY, (struct rig_item){ .data = "\x08\x01" });
		rig_tick(&r, 1000);
		count_alloc_fail_at(0);
		rig_hello(&r, A, A, PIRN__ROLE__WORKER, m, 2);
		rig_credit(&r, A, "one", 5);
		rig_submit(&r, CLIENT, 3, "one", 0);
		assert_int_equal(rig_count(&r, PIRN__KIND__DISPATCH), 1);
		rig_free(&r);
		assert_int_equal(count_alloc_live, live);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_call),
		cmocka_unit_test(test_a_result_counts_once_and_from_its_worker),
		cmocka_unit_test(test_results_are_checked),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_sizes_that_do_not_add_up),
		cmocka_unit_test(test_an_open_pair_is_not_taken_twice),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_bytes_are_bounded),
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_nothing_starts_after_its_deadline),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_a_client_is_gone),
		cmocka_unit_test(test_a_worker_is_gone),
		cmocka_unit_test(test_order_is_kept_when_runs_come_back),
		cmocka_unit_test(test_a_run_is_handed_back),
		cmocka_unit_test(test_a_block_is_kept_by_reference),
		cmocka_unit_test(test_services_answer),
		cmocka_unit_test(test_metrics_answer),
		cmocka_unit_test(test_no_malloc_in_the_steady_state),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
