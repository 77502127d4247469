/* The core's circuit breakers: what opens one, what goes through, who is told what, and how
 * brokers hear of one another. The machine alone is test_breaker's.
 */
#include "tests/unit/core_asked.h"

#include "broker/core/note.h"

#define MANY 1000000u

/* ---- words ---------------------------------------------------------------------- */

static struct brk_service *hello(const struct asked *k)
{
	return brk_service_find(k->rig.core, "hello");
}

static const struct base_breaker *breaker(const struct asked *k)
{
	return &hello(k)->guard.breaker;
}

static void is_state(const struct asked *k, enum base_breaker_state state)
{
	assert_int_equal(breaker(k)->state, state);
}

static void counts(const struct asked *k, uint32_t ok, uint32_t failed)
{
	uint32_t is_ok, is_failed;

	base_breaker_window(breaker(k), k->rig.now_ms, &is_ok, &is_failed);
	assert_int_equal(is_ok, ok);
	assert_int_equal(is_failed, failed);
}

static struct asked *bench(uint64_t granted)
{
	return asked_new(NULL, granted);
}

/* The same with a manifest. Credit counts from its HELLO on. */
static struct asked *bench_of(Pirn__BreakerConf *conf, uint32_t timeout_ms, uint64_t granted)
{
	struct asked *k = asked_new(NULL, 0);
	Pirn__Manifest m = rig_manifest("hello");

	m.breaker = conf;
	m.has_timeout_ms = timeout_ms > 0;
	m.timeout_ms = timeout_ms;
	rig_hello(&k->rig, A, A, PIRN__ROLE__WORKER, &m, 1);
	if (granted > 0)
		rig_credit(&k->rig, A, "hello", granted);
	return k;
}

static void call(struct asked *k, uint32_t slot)
{
	rig_submit(&k->rig, CLIENT, slot, "hello", 0);
	tiny_take(k->t);
}

static void result(struct asked *k, const Pirn__Item *run, uint32_t status, uint32_t reason)
{
	tiny_result(k->t, A, run, (struct rig_item){ .status = status, .reason = reason });
}

static Pirn__Item call_and_run(struct asked *k, uint32_t slot)
{
	call(k, slot);
	return rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
}

static void answered(struct asked *k, uint32_t slot, uint32_t status)
{
	Pirn__Item run = call_and_run(k, slot);

	result(k, &run, status, 0);
	rig_is_replied(&k->rig, slot, PIRN__REASON__NONE, status);
}

/* Calls with slots from 1000 on, one after another. */
static void answer_many(struct asked *k, uint32_t n, uint32_t status)
{
	for (uint32_t i = 0; i < n; i++)
		answered(k, 1000 + i, status);
}

static void open_it(struct asked *k)
{
	answer_many(k, 5, 500);
	is_state(k, BASE_BREAKER_OPEN);
}

static size_t logged(const struct asked *k, const char *id)
{
	size_t n = 0;

	for (size_t i = 0; i < k->rig.out->n; i++)
		n += k->rig.out->list[i].kind == BRK_LOG &&
		     strcmp(k->rig.out->list[i].log_id, id) == 0;
	return n;
}

/* Everything is answered until a moment before it probes; the tick at that moment is the last input. */
static void wait_for_probes(struct asked *k)
{
	uint64_t until = breaker(k)->until_ms;

	is_state(k, BASE_BREAKER_OPEN);
	assert_true(brk_core_due(k->rig.core) <= until);
	tiny_pass(k->t, until - 1 - k->rig.now_ms);
	is_state(k, BASE_BREAKER_OPEN);
	tiny_tick(k->t, 1);
	is_state(k, BASE_BREAKER_HALF_OPEN);
	assert_int_equal(logged(k, "breaker_half_open"), 1);
}

static struct asked *half_open(uint64_t granted)
{
	struct asked *k = bench(granted);

	open_it(k);
	wait_for_probes(k);
	return k;
}

static void event(struct asked *k, uint32_t slot)
{
	tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = slot });
	tiny_run(k->t);
}

static void is_refused(const struct asked *k, uint32_t slot, uint32_t least_ms, uint32_t most_ms)
{
	rig_is_refused(&k->rig, slot, PIRN__REASON__BREAKER_OPEN);
	assert_in_range(
		rig_nth(&k->rig, PIRN__KIND__REFUSED, 0)->item.retry_after_ms, least_ms, most_ms);
}

static Pirn__Query set_query(const char *service, uint32_t force)
{
	Pirn__Query query = PIRN__QUERY__INIT;

	query.has_what = query.has_force = true;
	query.what = PIRN__QUERY_KIND__BREAKER_SET;
	query.service = (char *)(uintptr_t)service;
	query.force = force;
	return query;
}

static Pirn__BreakerNote opened(uint64_t opened_ms, uint32_t open_ms, uint32_t openings)
{
	Pirn__BreakerNote note = PIRN__BREAKER_NOTE__INIT;

	note.has_opened_ms = note.has_open_ms = note.has_openings = true;
	note.opened_ms = opened_ms;
	note.open_ms = open_ms;
	note.openings = openings;
	return note;
}

static Pirn__BreakerNote forced(uint32_t force, uint64_t force_ms)
{
	Pirn__BreakerNote note = PIRN__BREAKER_NOTE__INIT;

	note.has_force = note.has_force_ms = true;
	note.force = force;
	note.force_ms = force_ms;
	return note;
}

/* An entry as another broker wrote it; announced_ms 1: of an old manifest. */
static void read_entry(
	struct asked *k, const char *service, uint64_t announced_ms, Pirn__BreakerNote note)
{
	Pirn__Manifest m = rig_manifest(service);
	Pirn__Entry entry = PIRN__ENTRY__INIT;

	entry.manifest = &m;
	entry.has_first_ms = entry.has_announced_ms = true;
	entry.first_ms = UINT64_C(1) << 50; /* never the older one */
	entry.announced_ms = announced_ms;
	entry.breaker = &note;
	rig_look(&k->rig, brk_core_entry(k->rig.core, k->rig.now_ms, &entry));
	tiny_take(k->t);
}

/* ---- what opens it ------------------------------------------------------------------ */

static void five_failures_in_a_row_open_it(void **state)
{
	struct asked *k = bench(MANY);

	(void)state;
	answer_many(k, 4, 500);
	answered(k, 1, 200);
	answer_many(k, 4, 503);
	is_state(k, BASE_BREAKER_CLOSED);
	answered(k, 2, 500);
	is_state(k, BASE_BREAKER_OPEN);
	assert_int_equal(logged(k, "breaker_opened"), 1);
	call(k, 3);
	is_refused(k, 3, 4500, 5500);
	assert_int_equal(hello(k)->guard.refused, 1);
	assert_int_equal(rig_figures(&k->rig).dispatched, 10);
	asked_free(k);
}

static void a_share_in_the_window_opens_it(void **state)
{
	struct asked *k = bench(MANY);
	uint32_t n = 0;

	(void)state;
	for (; breaker(k)->state == BASE_BREAKER_CLOSED; n++)
		answered(k, n, n % 2 ? 500 : 200);
	assert_int_equal(n, 20);
	asked_free(k);

	k = bench(MANY);
	for (n = 0; n < 100; n++) /* no more than 19 in a window */
		answered(k, n, n % 2 ? 500 : 200), tiny_pass(k->t, 600);
	is_state(k, BASE_BREAKER_CLOSED);
	asked_free(k);
}

static void another_service_is_not_touched(void **state)
{
	struct asked *k = bench(MANY);

	(void)state;
	rig_worker(&k->rig, B, "other", 10);
	open_it(k);
	rig_submit(&k->rig, CLIENT, 1, "other", 0);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 1);
	asked_free(k);
}

static void what_an_answer_means(void **state)
{
	enum { OK, FAILED, NOTHING };
	static const struct {
		uint32_t status, reason;
		int call, event;
	} rows[] = {
		{ 200, 0, OK, OK }, { 204, 0, OK, OK }, { 302, 0, OK, OK }, { 400, 0, OK, OK },
		{ 404, 0, OK, OK }, { 499, 0, OK, OK }, { 408, 0, FAILED, FAILED },
		{ 425, 0, FAILED, FAILED }, { 429, 0, FAILED, FAILED }, { 500, 0, FAILED, FAILED },
		{ 599, 0, FAILED, FAILED },
		{ 100, 0, FAILED, FAILED }, /* no status of a response: CRASHED */
		{ 0, PIRN__REASON__CRASHED, FAILED, FAILED },
		{ 0, PIRN__REASON__TOO_LARGE, FAILED, FAILED },
		{ 0, PIRN__REASON__OVERLOADED, FAILED, FAILED }, { 0, 77, FAILED, FAILED },
		{ 0, PIRN__REASON__NOT_DURABLE, FAILED, FAILED },
		{ 0, PIRN__REASON__DEADLINE, NOTHING,
			NOTHING }, /* it had no time, and needed none */
		{ 0, PIRN__REASON__CANCELLED, NOTHING, NOTHING },
		{ 0, PIRN__REASON__MALFORMED, NOTHING, NOTHING },
		{ 0, PIRN__REASON__NO_WORKER, NOTHING, NOTHING },
		{ 0, PIRN__REASON__DRAINING, NOTHING, NOTHING },
		{ 0, PIRN__REASON__LEASE, FAILED, NOTHING }, /* a call has none */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct asked *k = bench(MANY);
		Pirn__Item run = call_and_run(k, 1);

		result(k, &run, rows[i].status, rows[i].reason);
		counts(k, rows[i].call == OK, rows[i].call == FAILED);
		asked_free(k);
		k = bench(MANY);
		tiny_submit(k->t, CLIENT, (struct tiny_event){ .slot = 1 });
		run = asked_run_next(k);
		result(k, &run, rows[i].status, rows[i].reason);
		counts(k, rows[i].event == OK, rows[i].event == FAILED);
		asked_free(k);
	}
}

static void a_slow_run_counts_as_failed(void **state)
{
	Pirn__BreakerConf conf = PIRN__BREAKER_CONF__INIT;
	struct asked *k = bench_of(NULL, 1000, MANY);
	Pirn__Item run = call_and_run(k, 1);

	(void)state;
	tiny_pass(k->t, 800); /* not more than 80 percent */
	result(k, &run, 200, 0);
	counts(k, 1, 0);
	run = call_and_run(k, 2);
	tiny_pass(k->t, 801);
	result(k, &run, 200, 0);
	rig_is_replied(&k->rig, 2, PIRN__REASON__NONE, 200); /* its caller has it nevertheless */
	counts(k, 1, 1);
	run = call_and_run(k, 3);
	tiny_pass(k->t, 801);
	result(k, &run, 404, 0);
	counts(k, 1, 2);
	asked_free(k);

	conf.has_slow_percent = true;
	k = bench_of(&conf, 1000, MANY);
	run = call_and_run(k, 1);
	tiny_pass(k->t, 999);
	result(k, &run, 200, 0);
	counts(k, 1, 0);
	asked_free(k);
}

static void a_callers_deadline_is_not_the_services(void **state)
{
	struct asked *k = bench_of(NULL, 1000, MANY);
	struct rig_item item = { .service = "hello", .data = "request", .left_ms = 800 };

	(void)state;
	for (item.slot = 0; item.slot < 20; item.slot++)
		rig_item(&k->rig, CLIENT, PIRN__KIND__SUBMIT, item);
	tiny_pass(k->t, 800);
	assert_int_equal(rig_figures(&k->rig).expired, 20);
	counts(k, 0, 0);
	item.left_ms = 1000;
	rig_item(&k->rig, CLIENT, PIRN__KIND__SUBMIT, item);
	tiny_pass(k->t, 1000);
	assert_int_equal(rig_figures(&k->rig).expired, 21);
	counts(k, 0, 1);
	asked_free(k);
}

static Pirn__Item hurried_call(struct asked *k, uint32_t slot, uint32_t left_ms)
{
	rig_item(&k->rig, CLIENT, PIRN__KIND__SUBMIT,
		(struct rig_item){
			.service = "hello", .data = "request", .slot = slot, .left_ms = left_ms });
	tiny_take(k->t);
	return rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
}

/* A handler that sees that its time is over says so as it likes, often with 504, and a moment before our
 * own timer: that is its caller's impatience as much as a DEADLINE is. */
static void what_a_hurried_handler_says_is_not_the_services(void **state)
{
	static const struct {
		uint32_t left_ms, took_ms, status;
		uint32_t ok, failed;
	} rows[] = {
		{ 100, 80, 504, 0, 0 },
		{ 100, 99, 503, 0, 0 },
		{ 100, 99, 429, 0, 0 },
		{ 100, 79, 504, 0, 1 }, /* it had time left */
		{ 100, 99, 200, 1, 0 },
		{ 1, 0, 500, 0, 1 },
		{ 800, 640, 500, 0, 0 },
		{ 801, 700, 500, 0, 1 }, /* nearly all that the service allows itself */
		{ 1000, 999, 500, 0, 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct asked *k = bench_of(NULL, 1000, MANY);
		Pirn__Item run = hurried_call(k, 1, rows[i].left_ms);

		tiny_pass(k->t, rows[i].took_ms);
		result(k, &run, rows[i].status, 0);
		rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, rows[i].status);
		counts(k, rows[i].ok, rows[i].failed);
		asked_free(k);
	}
}

/* An overload would open the breaker otherwise, and make it an outage. */
static void what_waiting_left_of_a_deadline_is_not_the_services(void **state)
{
	struct asked *k = bench_of(NULL, 1000, 1);
	Pirn__Item run = call_and_run(k, 1);

	(void)state;
	rig_item(&k->rig, CLIENT, PIRN__KIND__SUBMIT,
		(struct rig_item){
			.service = "hello", .data = "request", .slot = 2, .left_ms = 1000 });
	tiny_pass(k->t, 700);
	result(k, &run, 200, 0);
	rig_credit(&k->rig, A, "hello", 2);
	assert_int_equal(rig_figures(&k->rig).dispatched, 2);
	tiny_pass(k->t, 300);
	assert_int_equal(rig_figures(&k->rig).expired, 1);
	counts(k, 1, 0);
	asked_free(k);
}

static void a_lost_worker_counts_once(void **state)
{
	struct asked *k = bench(MANY);

	(void)state;
	rig_worker(&k->rig, B, "hello", MANY);
	for (uint32_t i = 0; i < 40; i++)
		call(k, i);
	assert_true(brk_roster_find(k->rig.core, A)->n_running >= 6);
	rig_look(&k->rig, brk_core_gone(k->rig.core, k->rig.now_ms, A));
	is_state(k, BASE_BREAKER_CLOSED);
	counts(k, 0, 1);
	asked_free(k);
}

static void losses_in_a_row_open_it(void **state)
{
	struct asked *k = bench(MANY);

	(void)state;
	for (uint32_t i = 0; i < 5; i++) {
		is_state(k, BASE_BREAKER_CLOSED);
		rig_worker(&k->rig, 20 + i, "hello", MANY + 1);
		call(k, i);
		rig_look(&k->rig, brk_core_gone(k->rig.core, k->rig.now_ms, 20 + i));
	}
	is_state(k, BASE_BREAKER_OPEN);
	asked_free(k);
}

static void a_worker_that_leaves_in_order_has_not_failed(void **state)
{
	struct asked *k = bench(MANY);

	(void)state;
	rig_worker(&k->rig, B, "hello", 1);
	for (uint32_t i = 0; i < 10; i++)
		call(k, i);
	rig_send(&k->rig, A, PIRN__KIND__BYE);
	is_state(k, BASE_BREAKER_CLOSED);
	counts(k, 0, 0);
	asked_free(k);
}

/* ---- while it is open ------------------------------------------------------------------ */

static void events_wait_and_burn_no_attempt(void **state)
{
	struct asked *k = bench(MANY);
	uint64_t dispatched;

	(void)state;
	open_it(k);
	dispatched = rig_figures(&k->rig).dispatched;
	for (uint32_t i = 1; i <= 10; i++)
		event(k, i);
	assert_int_equal(rig_figures(&k->rig).accepted, 10);
	for (int round = 0; round < 4; round++) {
		Pirn__Item run;

		wait_for_probes(k);
		assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 3);
		assert_int_equal(rig_figures(&k->rig).dispatched, dispatched + 3);
		run = rig_nth(&k->rig, PIRN__KIND__DISPATCH, 0)->item;
		result(k, &run, 500, 0);
		is_state(k, BASE_BREAKER_OPEN);
		assert_int_equal(breaker(k)->openings, 2 + round);
		for (uint32_t i = 0; i < 2; i++) { /* the others come back unrun */
			const struct brk_link *link = hello(k)->links;

			run = (Pirn__Item)PIRN__ITEM__INIT;
			run.slot = link->running->slot;
			run.generation = link->running->generation;
			result(k, &run, 0, PIRN__REASON__NO_WORKER);
			assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 0);
		}
		dispatched += 3;
	}
	/* One run of each round counts, and nothing else does. */
	for (uint32_t i = 1, attempts = 0; i <= 10; i++) {
		attempts += asked_one(k, i)->attempt;
		assert_true(i < 10 || attempts == 4);
	}
	asked_free(k);
}

static void calls_that_wait_are_answered_at_once(void **state)
{
	struct asked *k = bench(5);
	Pirn__Item runs[5];
	const struct brk_action *a;

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		runs[i] = call_and_run(k, i);
	for (uint32_t i = 10; i < 30; i++)
		call(k, i);
	assert_int_equal(rig_figures(&k->rig).waiting, 20);
	for (uint32_t i = 0; i < 4; i++)
		result(k, &runs[i], 500, 0);
	assert_int_equal(rig_figures(&k->rig).waiting, 20);
	result(k, &runs[4], 500, 0);
	assert_int_equal(rig_figures(&k->rig).waiting, 0);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 21);
	for (size_t i = 1; i < 21; i++) {
		a = rig_nth(&k->rig, PIRN__KIND__REPLY, i);
		assert_int_equal(a->item.slot, 9 + i);
		assert_int_equal(a->item.reason, PIRN__REASON__BREAKER_OPEN);
		assert_int_equal(a->item.status, 503);
		assert_in_range(a->item.retry_after_ms, 4500, 5500);
	}
	assert_int_equal(hello(k)->guard.refused, 20);
	asked_free(k);
}

static void more_of_them_than_one_input_can_answer(void **state)
{
	static struct rig_item items[1000];
	struct brk_conf conf = tiny_conf();
	struct asked *k;
	Pirn__Item runs[5];

	(void)state;
	conf.max_calls = 20000; /* a service may have only its share of them */
	k = asked_new(&conf, 5);
	for (uint32_t i = 0; i < 5; i++)
		runs[i] = call_and_run(k, 10000 + i);
	for (uint32_t n = 0; n < 5; n++) {
		for (uint32_t i = 0; i < 1000; i++)
			items[i] = (struct rig_item){
				.service = "hello", .slot = n * 1000 + i, .left_ms = 60000
			};
		rig_items(&k->rig, CLIENT, PIRN__KIND__SUBMIT, items, 1000);
	}
	assert_int_equal(rig_figures(&k->rig).waiting, 5000);
	for (uint32_t i = 0; i < 5; i++)
		result(k, &runs[i], 500, 0);
	assert_in_range(rig_figures(&k->rig).waiting, 1, 4999);
	assert_true(k->rig.out->n <= BRK_VOLUNTARY_ACTIONS + 1);
	assert_true(brk_core_due(k->rig.core) <= k->rig.now_ms);
	tiny_tick(k->t, 0);
	assert_int_equal(rig_figures(&k->rig).waiting, 0);
	assert_int_equal(rig_figures(&k->rig).replied, 5005);
	assert_true(brk_core_due(k->rig.core) > k->rig.now_ms);
	asked_free(k);
}

static void calls_that_come_back_are_answered_at_once(void **state)
{
	struct asked *k = bench(MANY);
	Pirn__Item run = call_and_run(k, 1), again;

	(void)state;
	rig_submit(&k->rig, CLIENT, 2, "hello", PIRN__ITEM_FLAG__IDEMPOTENT);
	again = rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
	open_it(k);
	result(k, &run, 0, PIRN__REASON__NO_WORKER);
	rig_is_replied(&k->rig, 1, PIRN__REASON__BREAKER_OPEN, 503);
	result(k, &again, 503, 0); /* would run again, were it closed */
	rig_is_replied(&k->rig, 2, PIRN__REASON__NONE, 503);
	asked_free(k);
}

static void a_key_of_a_call_that_never_ran_is_free(void **state)
{
	struct asked *k = bench(5);
	Pirn__Item runs[5];

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		runs[i] = call_and_run(k, 10 + i);
	asked_call(k, (struct asked_call){ .slot = 1 });
	tiny_tell(k->t); /* it is the key's, and waits for credit */
	assert_int_equal(rig_figures(&k->rig).waiting, 1);
	for (uint32_t i = 0; i < 5; i++)
		result(k, &runs[i], 500, 0);
	is_state(k, BASE_BREAKER_OPEN);
	assert_int_equal(rig_figures(&k->rig).waiting, 0);
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__BREAKER_OPEN, 503);
	assert_null(k->key.response);
	assert_true(k->key.until_ms <= tiny_ms(k->t));
	asked_free(k);
}

static void a_key_that_is_told_when_it_is_open(void **state)
{
	struct asked *k = bench(MANY);

	(void)state;
	asked_call(k, (struct asked_call){ .slot = 1 });
	open_it(k);
	tiny_tell(k->t);
	is_refused(k, 1, 4500, 5500);
	tiny_run(k->t);
	assert_null(k->key.response);
	assert_true(k->key.until_ms <= tiny_ms(k->t));
	asked_free(k);
}

/* Credit would be of no use here, and may be wanted at another broker. */
static void workers_hear_of_no_backlog(void **state)
{
	struct asked *k = bench(5);

	(void)state;
	open_it(k);
	for (uint32_t i = 1; i <= 10; i++)
		event(k, i);
	assert_int_equal(rig_figures(&k->rig).events_ready, 10);
	assert_int_equal(hello(k)->told_waiting, 0);
	wait_for_probes(k);
	tiny_pass(k->t, 100);
	assert_int_equal(hello(k)->told_waiting, 10); /* there is no credit for the probes */
	asked_free(k);
}

/* ---- half-open --------------------------------------------------------------------------- */

static void three_at_a_time_calls_and_events(void **state)
{
	struct asked *k = bench(MANY);
	Pirn__Item runs[3];
	uint32_t most = 0;

	(void)state;
	open_it(k);
	for (uint32_t i = 1; i <= 2; i++)
		event(k, i);
	wait_for_probes(k);
	for (size_t i = 0; i < 2; i++)
		runs[i] = rig_nth(&k->rig, PIRN__KIND__DISPATCH, i)->item;
	runs[2] = call_and_run(k, 100);
	call(k, 101);
	is_refused(k, 101, 1, 5500);
	event(k, 3);
	assert_int_equal(rig_figures(&k->rig).events_ready, 1);
	for (uint32_t i = 0; i < 5; i++) { /* each that ends lets one more in */
		is_state(k, BASE_BREAKER_HALF_OPEN);
		assert_int_equal(hello(k)->n_running, 3);
		most = hello(k)->n_running > most ? hello(k)->n_running : most;
		result(k, &runs[0], 200, 0);
		tiny_run(k->t);
		runs[0] = runs[1];
		runs[1] = runs[2];
		if (i == 4)
			break;
		if (hello(k)->n_running < 3)
			runs[2] = call_and_run(k, 200 + i);
		else { /* the event took the place */
			runs[2].slot = hello(k)->links->running->prev->slot;
			runs[2].generation = hello(k)->links->running->prev->generation;
		}
	}
	assert_int_equal(most, 3);
	is_state(k, BASE_BREAKER_CLOSED);
	for (uint32_t i = 0; i < 10; i++)
		call_and_run(k, 300 + i);
	asked_free(k);
}

static void it_closes_and_all_that_waits_goes(void **state)
{
	struct asked *k = bench(MANY);
	size_t ran = 0;

	(void)state;
	open_it(k);
	for (uint32_t i = 1; i <= 30; i++)
		event(k, i);
	wait_for_probes(k);
	while (breaker(k)->state == BASE_BREAKER_HALF_OPEN) {
		struct brk_link *link = hello(k)->links;
		Pirn__Item run = PIRN__ITEM__INIT;

		assert_int_equal(link->n_running, 3);
		run.slot = link->running->slot;
		run.generation = link->running->generation;
		result(k, &run, 200, 0);
		ran++;
	}
	assert_int_equal(ran, 5);
	assert_int_equal(logged(k, "breaker_closed"), 1);
	assert_int_equal(hello(k)->n_running, 25); /* in the same input */
	asked_free(k);
}

static void calls_wait_only_for_places_that_there_are(void **state)
{
	struct asked *k = half_open(5); /* its credit is used up */

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		call(k, i);
	assert_int_equal(rig_figures(&k->rig).waiting, 3);
	call(k, 3);
	is_refused(k, 3, 1, 5500);
	rig_credit(&k->rig, A, "hello", 6);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 1);
	call(k, 4);
	is_refused(k, 4, 1, 5500);
	asked_free(k);
}

/* An input that is no tick may be the first after the moment: whoever waits goes with it, though the one that
 * came is refused for another reason. */
static void the_tick_may_be_late(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k;

	(void)state;
	conf.max_calls = 1;
	k = asked_new(&conf, MANY);
	call_and_run(k, 1);
	read_entry(k, "hello", 1, opened(tiny_ms(k->t), 1000, 1));
	event(k, 2);
	is_state(k, BASE_BREAKER_OPEN);
	k->rig.now_ms = breaker(k)->until_ms;
	call(k, 3);
	assert_int_equal(
		rig_one(&k->rig, PIRN__KIND__REFUSED)->item.reason, PIRN__REASON__OVERLOADED);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 1);
	is_state(k, BASE_BREAKER_HALF_OPEN);
	asked_free(k);
}

static void one_failure_opens_it_again(void **state)
{
	struct asked *k = half_open(MANY);
	Pirn__Item runs[3];

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		runs[i] = call_and_run(k, i);
	result(k, &runs[0], 200, 0);
	result(k, &runs[1], 500, 0);
	is_state(k, BASE_BREAKER_OPEN);
	assert_in_range(breaker(k)->until_ms - k->rig.now_ms, 9000, 11000);
	result(k, &runs[2], 200, 0); /* of before */
	is_state(k, BASE_BREAKER_OPEN);
	asked_free(k);
}

static void results_of_before_say_nothing(void **state)
{
	struct asked *k = bench(MANY);
	Pirn__Item old[20];

	(void)state;
	for (uint32_t i = 0; i < 20; i++)
		old[i] = call_and_run(k, i);
	open_it(k);
	wait_for_probes(k);
	for (uint32_t i = 0; i < 10; i++) {
		result(k, &old[i], i % 2 ? 200 : 500, 0);
		is_state(k, BASE_BREAKER_HALF_OPEN);
	}
	for (uint32_t i = 0; i < 5; i++)
		answered(k, 100 + i, 200);
	is_state(k, BASE_BREAKER_CLOSED);
	for (uint32_t i = 10; i < 20; i++)
		result(k, &old[i], 500, 0);
	is_state(k, BASE_BREAKER_CLOSED);
	counts(k, 0, 0);
	asked_free(k);
}

static void a_probe_that_comes_back_unrun_frees_its_place(void **state)
{
	struct asked *k = half_open(MANY);
	Pirn__Item run;

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		run = call_and_run(k, i);
	result(k, &run, 0, PIRN__REASON__NO_WORKER);
	assert_int_equal(
		rig_count(&k->rig, PIRN__KIND__DISPATCH), 1); /* and it is the next to take it */
	rig_item(&k->rig, CLIENT, PIRN__KIND__CANCEL, (struct rig_item){ .slot = 0 });
	assert_int_equal(base_breaker_probing(breaker(k)), 2);
	call_and_run(k, 4);
	is_state(k, BASE_BREAKER_HALF_OPEN);
	asked_free(k);
}

static void a_probes_worker_is_lost(void **state)
{
	struct asked *k = bench(MANY);

	(void)state;
	call_and_run(k, 77); /* older than the probes, and of no weight */
	open_it(k);
	wait_for_probes(k);
	rig_worker(&k->rig, B, "hello", 1);
	for (uint32_t i = 0; i < 3; i++)
		call(k, i);
	assert_int_equal(base_breaker_probing(breaker(k)), 3);
	rig_look(&k->rig, brk_core_gone(k->rig.core, k->rig.now_ms, A));
	is_state(k, BASE_BREAKER_OPEN);
	assert_int_equal(breaker(k)->openings, 2);
	asked_free(k);
}

static void a_probe_that_is_never_answered_has_failed(void **state)
{
	struct asked *k = bench_of(NULL, 1000, MANY);
	struct rig_item item = { .service = "hello", .data = "request", .left_ms = 3600000 };

	(void)state;
	open_it(k);
	wait_for_probes(k);
	rig_item(&k->rig, CLIENT, PIRN__KIND__SUBMIT, item);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 1);
	tiny_pass(k->t, 999);
	is_state(k, BASE_BREAKER_HALF_OPEN);
	tiny_pass(k->t, 1); /* the service's timeout, however long the caller would wait */
	is_state(k, BASE_BREAKER_OPEN);
	asked_free(k);
}

/* ---- forced, asked, published --------------------------------------------------------------- */

static void forced_by_a_question(void **state)
{
	struct asked *k = bench(MANY);
	Pirn__Answer *answer;

	(void)state;
	answer = asked_get(k, set_query("hello", PIRN__BREAKER_FORCE__FORCED_OPEN));
	assert_int_equal(answer->n_breakers, 1);
	assert_string_equal(answer->breakers[0]->service, "hello");
	assert_int_equal(answer->breakers[0]->force, PIRN__BREAKER_FORCE__FORCED_OPEN);
	assert_int_equal(logged(k, "breaker_forced"), 1);
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 1);
	assert_int_equal(hello(k)->entry.breaker->force, PIRN__BREAKER_FORCE__FORCED_OPEN);
	assert_int_equal(hello(k)->entry.breaker->force_ms, tiny_ms(k->t));
	call(k, 1);
	rig_is_refused(&k->rig, 1, PIRN__REASON__BREAKER_FORCED);
	assert_true(rig_nth(&k->rig, PIRN__KIND__REFUSED, 0)->item.retry_after_ms > 0);
	event(k, 2);
	tiny_pass(k->t, 120000);
	assert_int_equal(rig_figures(&k->rig).dispatched, 0);
	asked_get(k, set_query("hello", PIRN__BREAKER_FORCE__FORCED_OPEN)); /* it is so already, here */
	assert_int_equal(logged(k, "breaker_forced"), 0);
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 1);
	answer = asked_get(k, set_query("hello", PIRN__BREAKER_FORCE__FORCED_CLOSED));
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 1); /* the event */
	for (uint32_t i = 10; i < 40; i++)
		answered(k, i, 500);
	asked_get(k, set_query("hello", PIRN__BREAKER_FORCE__AUTO));
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 1);
	is_state(k, BASE_BREAKER_CLOSED);
	counts(k, 0, 0); /* begins anew */
	open_it(k);
	asked_free(k);
}

static void calls_that_wait_when_it_is_forced(void **state)
{
	struct asked *k = bench(0);

	(void)state;
	for (uint32_t i = 0; i < 5; i++)
		call(k, i);
	asked_ask(k, 900, set_query("hello", PIRN__BREAKER_FORCE__FORCED_OPEN));
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 5);
	asked_free(k);
}

static void asked_about(void **state)
{
	struct asked *k = bench(MANY);
	Pirn__Query query = set_query(NULL, 0);
	Pirn__Answer *answer;
	Pirn__Breaker *b;

	(void)state;
	rig_worker(&k->rig, B, "other", 10);
	answered(k, 1, 200);
	answer_many(k, 4, 500);
	query.what = PIRN__QUERY_KIND__BREAKERS;
	answer = asked_get(k, query);
	assert_int_equal(answer->n_breakers, 2);
	assert_string_equal(answer->broker, "rig");
	query.service = (char *)(uintptr_t) "hello";
	b = asked_get(k, query)->breakers[0];
	assert_int_equal(b->state, PIRN__BREAKER_STATE__CLOSED);
	assert_int_equal(b->ok, 1);
	assert_int_equal(b->failed, 4);
	assert_int_equal(b->wait_ms + b->openings + b->probing + b->opened_total, 0);
	answered(k, 2, 500);
	call(k, 3);
	b = asked_get(k, query)->breakers[0];
	assert_int_equal(b->state, PIRN__BREAKER_STATE__OPEN);
	assert_in_range(b->wait_ms, 4500, 5500);
	assert_int_equal(b->openings, 1);
	assert_int_equal(b->opened_total, 1);
	assert_int_equal(b->refused_total, 1);
	wait_for_probes(k);
	call_and_run(k, 4);
	b = asked_get(k, query)->breakers[0];
	assert_int_equal(b->state, PIRN__BREAKER_STATE__HALF_OPEN);
	assert_int_equal(b->probing, 1);
	query.service = (char *)(uintptr_t) "nobody";
	assert_int_equal(asked_get(k, query)->n_breakers, 0);
	answer = asked_get(k, set_query("nobody", PIRN__BREAKER_FORCE__FORCED_OPEN));
	assert_int_equal(answer->n_breakers, 0);
	asked_free(k);
}

static void questions_that_are_none(void **state)
{
	struct asked *k = bench(MANY);
	Pirn__Query query = set_query("hello", 3);

	(void)state;
	asked_ask(k, 1, query);
	rig_is_refused(&k->rig, 1, PIRN__REASON__MALFORMED);
	query = set_query("hello", 1);
	query.has_force = false;
	asked_ask(k, 2, query);
	rig_is_refused(&k->rig, 2, PIRN__REASON__MALFORMED);
	asked_ask(k, 3, set_query(NULL, 1));
	rig_is_refused(&k->rig, 3, PIRN__REASON__MALFORMED);
	assert_int_equal(breaker(k)->force, BASE_BREAKER_AUTO);
	asked_free(k);
}

static double metric(struct asked *k, const char *name, const char *labels)
{
	Pirn__Query query = PIRN__QUERY__INIT;
	const Pirn__Instance *broker;

	query.has_what = true;
	query.what = PIRN__QUERY_KIND__METRICS;
	broker = asked_get(k, query)->instances[0];
	for (size_t i = 0; i < broker->n_metrics; i++)
		if (strcmp(broker->metrics[i]->name, name) == 0 && broker->metrics[i]->labels &&
			strcmp(broker->metrics[i]->labels, labels) == 0)
			return broker->metrics[i]->value;
	fail_msg("no %s{%s}", name, labels);
	return 0;
}

static const char *told_state(struct asked *k)
{
	Pirn__Query query = PIRN__QUERY__INIT;

	query.has_what = true;
	query.what = PIRN__QUERY_KIND__SERVICES;
	return asked_get(k, query)->services[0]->breaker;
}

static void figures_and_lists(void **state)
{
	static const char transitions[] = "pirn_service_breaker_transitions_total";
	struct asked *k = bench(MANY);

	(void)state;
	assert_string_equal(told_state(k), "closed");
	open_it(k);
	call(k, 1);
	assert_string_equal(told_state(k), "open");
	assert_true(metric(k, "pirn_service_breaker_state", "service=\"hello\"") == 1);
	assert_true(metric(k, "pirn_service_breaker_refused_total", "service=\"hello\"") == 1);
	assert_true(metric(k, transitions, "service=\"hello\",to=\"open\"") == 1);
	assert_true(metric(k, transitions, "service=\"hello\",to=\"half-open\"") == 0);
	wait_for_probes(k);
	assert_string_equal(told_state(k), "half-open");
	assert_true(metric(k, "pirn_service_breaker_state", "service=\"hello\"") == 2);
	assert_true(metric(k, transitions, "service=\"hello\",to=\"half-open\"") == 1);
	asked_get(k, set_query("hello", PIRN__BREAKER_FORCE__FORCED_OPEN));
	assert_string_equal(told_state(k), "forced open");
	assert_true(metric(k, "pirn_service_breaker_forced", "service=\"hello\"") == 1);
	asked_get(k, set_query("hello", PIRN__BREAKER_FORCE__FORCED_CLOSED));
	assert_string_equal(told_state(k), "forced closed");
	asked_free(k);
}

/* ---- other brokers ----------------------------------------------------------------------------- */

static void our_opening_is_published(void **state)
{
	struct asked *k = bench(MANY);
	const Pirn__BreakerNote *note;
	uint64_t first_ms;

	(void)state;
	tiny_pass(k->t, 100);
	assert_false(k->rig.core->registry_stale);
	answer_many(k, 4, 500);
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 0);
	assert_null(hello(k)->entry.breaker);
	answered(k, 1, 500);
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 1);
	note = hello(k)->entry.breaker;
	first_ms = note->opened_ms;
	assert_int_equal(first_ms, tiny_ms(k->t)); /* Redis's time */
	assert_int_equal(note->open_ms, breaker(k)->until_ms - k->rig.now_ms);
	assert_int_equal(note->openings, 1);
	assert_false(note->has_force);
	assert_false(k->rig.core->registry_stale); /* clients need none of it */
	wait_for_probes(k);
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 0);
	answered(k, 2, 500);
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 1);
	assert_true(note->opened_ms > first_ms);
	assert_int_equal(note->openings, 2);
	asked_free(k);
}

static void anothers_opening_is_adopted(void **state)
{
	struct asked *k = bench(MANY);
	uint64_t now;

	(void)state;
	tiny_pass(k->t, 100);
	now = tiny_ms(k->t);
	read_entry(k, "hello", 1, opened(now - 1000, 5000, 3));
	is_state(k, BASE_BREAKER_OPEN);
	assert_int_equal(breaker(k)->until_ms - k->rig.now_ms, 4000);
	assert_int_equal(breaker(k)->openings, 3);
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 0); /* it is not ours to tell */
	assert_int_equal(logged(k, "breaker_opened"), 1);
	assert_false(k->rig.core->registry_stale);
	call(k, 1);
	is_refused(k, 1, 4000, 4000);
	read_entry(k, "hello", 1, opened(now - 1000, 5000, 3)); /* no news */
	read_entry(k, "hello", 1, opened(now - 2000, 60000, 9));
	assert_int_equal(breaker(k)->until_ms - k->rig.now_ms, 4000);
	wait_for_probes(k);
	read_entry(k, "hello", 1, opened(now - 1000, 5000, 3));
	is_state(k, BASE_BREAKER_HALF_OPEN);
	read_entry(k, "hello", 1, opened(tiny_ms(k->t), 5000, 4));
	is_state(k, BASE_BREAKER_OPEN);
	asked_free(k);
}

static void what_is_over_or_cannot_be_is_not_adopted(void **state)
{
	struct asked *k = bench(MANY);
	uint64_t now = tiny_ms(k->t);
	Pirn__BreakerNote empty = PIRN__BREAKER_NOTE__INIT;

	(void)state;
	read_entry(k, "hello", 1, empty);
	read_entry(k, "hello", 1, opened(now - 6000, 5000, 1));
	read_entry(k, "hello", 1, opened(UINT64_MAX, 5000, 1));
	read_entry(k, "hello", 1, opened(UINT64_MAX - 10, UINT32_MAX, UINT32_MAX));
	read_entry(k, "hello", 1, opened(now, UINT32_MAX, 1));
	read_entry(k, "hello", 1, opened(0, 0, 0));
	read_entry(k, "hello", 1, forced(7, now));
	read_entry(k, "hello", 1, forced(1, 0));
	read_entry(k, "hello", 1, forced(1, UINT64_MAX));
	is_state(k, BASE_BREAKER_CLOSED);
	assert_int_equal(breaker(k)->force, BASE_BREAKER_AUTO);
	read_entry(k, "hello", 1, opened(now + 3600000, 5000, 1)); /* its clock is ahead */
	is_state(k, BASE_BREAKER_OPEN);
	assert_int_equal(breaker(k)->until_ms - k->rig.now_ms, 5000);
	asked_free(k);
}

static void what_is_forced_elsewhere_is_forced_here(void **state)
{
	struct asked *k = bench(MANY);
	uint64_t now = tiny_ms(k->t);

	(void)state;
	read_entry(k, "hello", 1, forced(PIRN__BREAKER_FORCE__FORCED_OPEN, now));
	assert_int_equal(breaker(k)->force, BASE_BREAKER_FORCED_OPEN);
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 0);
	read_entry(k, "hello", 1, forced(PIRN__BREAKER_FORCE__AUTO, now - 1)); /* before */
	assert_int_equal(breaker(k)->force, BASE_BREAKER_FORCED_OPEN);
	read_entry(k, "hello", 1, forced(PIRN__BREAKER_FORCE__AUTO, now + 1));
	assert_int_equal(breaker(k)->force, BASE_BREAKER_AUTO);
	read_entry(k, "hello", 1, opened(now, 60000, 1)); /* noted before the last word */
	is_state(k, BASE_BREAKER_CLOSED);
	read_entry(k, "hello", 1, opened(now + 2, 60000, 1));
	is_state(k, BASE_BREAKER_OPEN);
	/* Ours is later than whatever was read, though our clock is not. */
	read_entry(k, "hello", 1, forced(PIRN__BREAKER_FORCE__FORCED_CLOSED, now + 100000));
	asked_get(k, set_query("hello", PIRN__BREAKER_FORCE__FORCED_OPEN));
	assert_int_equal(hello(k)->entry.breaker->force_ms, now + 100001);
	asked_free(k);
}

/* It was told before it had read the registry, and as it seemed to it nothing was new. */
static void a_word_that_changes_nothing_here_is_the_last_one(void **state)
{
	struct asked *k = bench(MANY);

	(void)state;
	asked_get(k, set_query("hello", PIRN__BREAKER_FORCE__AUTO));
	assert_int_equal(rig_acts(&k->rig, BRK_KEEP_SERVICE), 1);
	assert_true(hello(k)->entry.breaker->has_force_ms);
	read_entry(k, "hello", 1, forced(PIRN__BREAKER_FORCE__FORCED_OPEN, tiny_ms(k->t) - 1000));
	assert_int_equal(breaker(k)->force, BASE_BREAKER_AUTO);
	asked_free(k);
}

static void a_broker_that_starts_later_knows(void **state)
{
	struct asked *k = bench(MANY);
	Pirn__BreakerNote note = forced(PIRN__BREAKER_FORCE__FORCED_OPEN, 5);

	(void)state;
	read_entry(k, "new", 10, note);
	assert_int_equal(brk_service_find(k->rig.core, "new")->guard.breaker.force,
		BASE_BREAKER_FORCED_OPEN);
	rig_worker(&k->rig, B, "new", 10);
	rig_submit(&k->rig, CLIENT, 1, "new", 0);
	rig_is_refused(&k->rig, 1, PIRN__REASON__BREAKER_FORCED);
	assert_int_equal(brk_service_find(k->rig.core, "new")->entry.breaker->force_ms, 5);
	asked_free(k);
}

/* Whatever the order: all have the same in the end. */
static void notes_are_merged_alike(void **state)
{
	Pirn__BreakerNote notes[] = { forced(1, 10), forced(2, 10), forced(0, 9), opened(5, 100, 1),
		opened(5, 90, 7), opened(4, 1000, 2) };
	size_t n = sizeof notes / sizeof notes[0];

	(void)state;
	for (size_t first = 0; first < n; first++) {
		Pirn__BreakerNote into = PIRN__BREAKER_NOTE__INIT;

		for (size_t i = 0; i < n; i++)
			brk_note_merge(&into, &notes[(first + i) % n]);
		assert_int_equal(into.force, 2);
		assert_int_equal(into.force_ms, 10);
		assert_int_equal(into.opened_ms, 5);
		assert_int_equal(into.open_ms, 100);
		assert_int_equal(into.openings, 1);
		assert_int_equal(brk_note_merge(&into, &into), 0);
		assert_int_equal(brk_note_merge(&into, NULL), 0);
	}
}

/* ---- settings ------------------------------------------------------------------------------------- */

static void settings_of_the_manifest(void **state)
{
	Pirn__BreakerConf conf = PIRN__BREAKER_CONF__INIT;
	struct asked *k;

	(void)state;
	conf.has_consecutive = conf.has_open_ms = conf.has_probes = conf.has_successes = true;
	conf.consecutive = 2;
	conf.open_ms = 1000;
	conf.probes = conf.successes = 1;
	k = bench_of(&conf, 0, MANY);
	answer_many(k, 2, 500);
	is_state(k, BASE_BREAKER_OPEN);
	assert_in_range(breaker(k)->until_ms - k->rig.now_ms, 900, 1100);
	wait_for_probes(k);
	call_and_run(k, 1);
	call(k, 2);
	is_refused(k, 2, 1, 60000);
	asked_free(k);
}

static void settings_change_and_the_state_stays(void **state)
{
	struct asked *k = bench(MANY);
	Pirn__BreakerConf conf = PIRN__BREAKER_CONF__INIT;
	Pirn__Manifest m = rig_manifest("hello");
	uint64_t until;

	(void)state;
	open_it(k);
	until = breaker(k)->until_ms;
	conf.has_probes = conf.has_successes = true;
	conf.probes = 1;
	conf.successes = 2;
	m.breaker = &conf;
	rig_hello(&k->rig, B, B, PIRN__ROLE__WORKER, &m, 1);
	is_state(k, BASE_BREAKER_OPEN);
	assert_int_equal(breaker(k)->until_ms, until);
	wait_for_probes(k);
	call_and_run(k, 1);
	call(k, 2);
	is_refused(k, 2, 1, 60000);
	conf.probes = 2;
	rig_hello(&k->rig, 7, 7, PIRN__ROLE__WORKER, &m, 1);
	is_state(k, BASE_BREAKER_HALF_OPEN);
	call_and_run(k, 3);
	asked_free(k);
}

static void settings_that_cannot_be(void **state)
{
	Pirn__BreakerConf conf = PIRN__BREAKER_CONF__INIT;
	const struct base_breaker_conf *to;
	struct asked *k;

	(void)state;
	conf.has_window_ms = conf.has_calls = conf.has_failure_percent = conf.has_open_ms = true;
	conf.has_open_max_ms = conf.has_probes = conf.has_successes = true;
	k = bench_of(&conf, 0, MANY); /* all 0: as if they were not there */
	to = &breaker(k)->conf;
	assert_int_equal(to->window_ms, base_breaker_standard.window_ms);
	assert_int_equal(to->calls, base_breaker_standard.calls);
	assert_int_equal(to->failure_percent, base_breaker_standard.failure_percent);
	assert_int_equal(to->open_ms, base_breaker_standard.open_ms);
	assert_int_equal(to->open_max_ms, base_breaker_standard.open_max_ms);
	assert_int_equal(to->probes, base_breaker_standard.probes);
	assert_int_equal(to->successes, base_breaker_standard.successes);
	assert_int_equal(to->probe_ms, BRK_DEFAULT_TIMEOUT_MS + BRK_PROBE_MARGIN_MS);
	asked_free(k);
	conf.window_ms = conf.calls = conf.open_ms = conf.open_max_ms = conf.probes =
		conf.successes = UINT32_MAX;
	conf.failure_percent = 100;
	conf.has_consecutive = conf.has_slow_percent = true;
	conf.slow_percent = UINT32_MAX;
	k = bench_of(&conf, BRK_MAX_LEFT_MS, MANY);
	answer_many(k, 40, 500);
	is_state(k, BASE_BREAKER_CLOSED);
	to = &breaker(k)->conf;
	assert_int_equal(to->probes, BASE_BREAKER_PROBES);
	assert_int_equal(to->window_ms, 600000);
	assert_int_equal(to->open_ms, 3600000);
	assert_int_equal(to->open_max_ms, 86400000);
	assert_int_equal(to->successes, 1000);
	asked_free(k);
}

/* ---- the end ---------------------------------------------------------------------------------------- */

static void a_drain_does_not_wait_for_it(void **state)
{
	struct asked *k = bench(MANY);

	(void)state;
	open_it(k);
	for (uint32_t i = 1; i <= 5; i++)
		event(k, i);
	rig_look(&k->rig, brk_core_drain(k->rig.core, k->rig.now_ms));
	tiny_take(k->t);
	rig_send(&k->rig, CLIENT, PIRN__KIND__DRAIN);
	tiny_run(k->t);
	tiny_pass(k->t, 1000);
	assert_true(brk_core_drained(k->rig.core));
	asked_free(k);
}

static void a_service_is_forgotten_with_its_breaker(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k;

	(void)state;
	conf.forget_ms = 2000;
	k = asked_new(&conf, MANY);
	open_it(k);
	rig_send(&k->rig, A, PIRN__KIND__BYE);
	tiny_pass(k->t, 4000);
	assert_null(hello(k));
	assert_int_equal(k->rig.core->guards.n, 0);
	tiny_pass(k->t, 10000);
	asked_free(k);
}

/* ---- bugs that are switched on: the checks above see them ---------------------------------------------- */

static struct asked *broken(enum brk_fault fault, uint64_t granted)
{
	struct asked *k = bench(granted);

	open_it(k);
	brk_core_break(k->rig.core, fault);
	return k;
}

static void bugs_can_be_switched_on(void **state)
{
	struct asked *k = broken(BRK_FAULT_BREAKER_IGNORED, MANY);
	Pirn__Item run;

	(void)state;
	call_and_run(k, 1);
	asked_free(k);

	k = broken(BRK_FAULT_PROBES_UNBOUNDED, MANY);
	wait_for_probes(k);
	for (uint32_t i = 0; i < 20; i++)
		call_and_run(k, i);
	asked_free(k);

	k = broken(BRK_FAULT_PASS_FORGOTTEN, MANY);
	wait_for_probes(k);
	for (uint32_t i = 0; i < 3; i++)
		run = call_and_run(k, i);
	result(k, &run, 0, PIRN__REASON__NO_WORKER);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 0);
	for (uint32_t i = 0; i < 2; i++)
		rig_item(&k->rig, CLIENT, PIRN__KIND__CANCEL, (struct rig_item){ .slot = i });
	is_state(k, BASE_BREAKER_HALF_OPEN);
	assert_int_equal(base_breaker_probing(breaker(k)), 3);
	tiny_pass(k->t, BRK_DEFAULT_TIMEOUT_MS + BRK_PROBE_MARGIN_MS); /* but not for ever */
	assert_int_equal(base_breaker_probing(breaker(k)), 0);
	assert_int_equal(breaker(k)->openings, 2);
	asked_free(k);

	k = bench(0);
	brk_core_break(k->rig.core, BRK_FAULT_OPEN_QUEUE_KEPT);
	call(k, 1);
	asked_ask(k, 900, set_query("hello", PIRN__BREAKER_FORCE__FORCED_OPEN));
	assert_int_equal(rig_figures(&k->rig).waiting, 1);
	asked_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(five_failures_in_a_row_open_it),
		cmocka_unit_test(a_share_in_the_window_opens_it),
		cmocka_unit_test(another_service_is_not_touched),
		cmocka_unit_test(what_an_answer_means),
		cmocka_unit_test(a_slow_run_counts_as_failed),
		cmocka_unit_test(a_callers_deadline_is_not_the_services),
		cmocka_unit_test(what_a_hurried_handler_says_is_not_the_services),
		cmocka_unit_test(what_waiting_left_of_a_deadline_is_not_the_services),
		cmocka_unit_test(a_lost_worker_counts_once),
		cmocka_unit_test(losses_in_a_row_open_it),
		cmocka_unit_test(a_worker_that_leaves_in_order_has_not_failed),
		cmocka_unit_test(events_wait_and_burn_no_attempt),
		cmocka_unit_test(calls_that_wait_are_answered_at_once),
		cmocka_unit_test(more_of_them_than_one_input_can_answer),
		cmocka_unit_test(calls_that_come_back_are_answered_at_once),
		cmocka_unit_test(a_key_of_a_call_that_never_ran_is_free),
		cmocka_unit_test(a_key_that_is_told_when_it_is_open),
		cmocka_unit_test(workers_hear_of_no_backlog),
		cmocka_unit_test(three_at_a_time_calls_and_events),
		cmocka_unit_test(it_closes_and_all_that_waits_goes),
		cmocka_unit_test(calls_wait_only_for_places_that_there_are),
		cmocka_unit_test(the_tick_may_be_late),
		cmocka_unit_test(one_failure_opens_it_again),
		cmocka_unit_test(results_of_before_say_nothing),
		cmocka_unit_test(a_probe_that_comes_back_unrun_frees_its_place),
		cmocka_unit_test(a_probes_worker_is_lost),
		cmocka_unit_test(a_probe_that_is_never_answered_has_failed),
		cmocka_unit_test(forced_by_a_question),
		cmocka_unit_test(calls_that_wait_when_it_is_forced),
		cmocka_unit_test(asked_about),
		cmocka_unit_test(questions_that_are_none),
		cmocka_unit_test(figures_and_lists),
		cmocka_unit_test(our_opening_is_published),
		cmocka_unit_test(anothers_opening_is_adopted),
		cmocka_unit_test(what_is_over_or_cannot_be_is_not_adopted),
		cmocka_unit_test(what_is_forced_elsewhere_is_forced_here),
		cmocka_unit_test(a_word_that_changes_nothing_here_is_the_last_one),
		cmocka_unit_test(a_broker_that_starts_later_knows),
		cmocka_unit_test(notes_are_merged_alike),
		cmocka_unit_test(settings_of_the_manifest),
		cmocka_unit_test(settings_change_and_the_state_stays),
		cmocka_unit_test(settings_that_cannot_be),
		cmocka_unit_test(a_drain_does_not_wait_for_it),
		cmocka_unit_test(a_service_is_forgotten_with_its_breaker),
		cmocka_unit_test(bugs_can_be_switched_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
