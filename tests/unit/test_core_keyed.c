/* Calls with an Idempotency-Key: claimed, run, their answers kept; and whatever can come in
 * between. */
#include "tests/unit/core_asked.h"
#include "tests/unit/count_alloc.h"

/* An answer as it is kept: status, meta size, meta, data. */
static const uint8_t kept[] = "\x00\xc9\x00\x00\x00\x02mmdata";

static void keep_answer(struct asked *k, const uint8_t *bytes, size_t size)
{
	k->key = (struct asked_key){ .there = true, .hash = ASKED_HASH, .run = 1, .size = size };
	memcpy(k->key.id, asked_id(77).data, 16);
	k->key.response = malloc(size + 1);
	memcpy(k->key.response, bytes, size);
}

static Pirn__Item claim_and_run(struct asked *k, uint32_t slot)
{
	asked_call(k, (struct asked_call){ .slot = slot });
	assert_int_equal(k->rig.out->n, 1); /* the claim */
	tiny_tell(k->t);
	return rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
}

static void result(struct asked *k, const Pirn__Item *run, uint32_t status, uint32_t reason)
{
	tiny_result(k->t, A, run,
		(struct rig_item){ .status = status, .reason = reason, .data = "response" });
}

static bool is_free(const struct asked *k)
{
	return k->key.until_ms <= tiny_ms(k->t);
}

/* ---- the way through -------------------------------------------------------------- */

static void test_run_and_repeat(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	const struct brk_action *a;
	Pirn__Item run;

	(void)state;
	run = claim_and_run(k, 1);
	assert_int_equal(run.flags, PIRN__ITEM_FLAG__IDEMPOTENT | PIRN__ITEM_FLAG__RECORD);
	assert_int_equal(run.attempt, 1);
	assert_int_equal(run.epoch, 0);
	assert_int_equal(run.lease_end_ms, tiny_ms(k->t) + 11000);
	assert_int_equal(k->key.until_ms, run.lease_end_ms);
	assert_int_equal(run.keep_until_ms, tiny_ms(k->t) + 60000);
	assert_memory_equal(run.id.data, asked_id(1).data, 16);
	result(k, &run, 201, 0);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0); /* not before it is kept */
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 201);
	a = rig_one(&k->rig, PIRN__KIND__REPLY);
	assert_int_equal(a->payload.data_size, 8);
	assert_memory_equal(a->payload.bytes, "response", 8);
	assert_int_equal(a->item.flags, 0);
	asked_call(k, (struct asked_call){ .slot = 2 });
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 2, PIRN__REASON__NONE, 201);
	a = rig_one(&k->rig, PIRN__KIND__REPLY);
	assert_memory_equal(a->payload.bytes, "response", 8);
	assert_memory_equal(a->item.id.data, asked_id(1).data, 16);
	assert_int_equal(a->item.flags, PIRN__ITEM_FLAG__REPLAYED);
	assert_int_equal(rig_figures(&k->rig).dispatched, 1);
	asked_free(k);
}

static void test_busy(void **state)
{
	struct asked *k = asked_new(NULL, 10);

	(void)state;
	claim_and_run(k, 1);
	asked_call(k, (struct asked_call){ .slot = 2 });
	tiny_tell(k->t);
	rig_is_refused(&k->rig, 2, PIRN__REASON__KEY_BUSY);
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__REFUSED)->item.retry_after_ms, 11000);
	asked_free(k);
}

static void test_kept_by_another_broker(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	const struct brk_action *a;

	(void)state;
	keep_answer(k, kept, sizeof kept - 1);
	asked_call(k, (struct asked_call){ .slot = 1 });
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 201);
	a = rig_one(&k->rig, PIRN__KIND__REPLY);
	assert_int_equal(a->payload.meta_size, 2);
	assert_int_equal(a->payload.data_size, 4);
	assert_memory_equal(a->payload.bytes, "mmdata", 6);
	assert_memory_equal(a->item.id.data, asked_id(77).data, 16);
	asked_free(k);
}

static void test_an_event_had_the_key(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	const struct brk_action *a;

	(void)state;
	keep_answer(k, kept, sizeof kept - 1);
	free(k->key.response);
	k->key.response = NULL;
	k->key.event = true;
	asked_call(k, (struct asked_call){ .slot = 1 });
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 202);
	a = rig_one(&k->rig, PIRN__KIND__REPLY);
	assert_memory_equal(a->item.id.data, asked_id(77).data, 16);
	assert_int_equal(a->item.flags, PIRN__ITEM_FLAG__REPLAYED);
	assert_int_equal(a->payload.data_size, 0);
	asked_free(k);
}

static void test_another_body(void **state)
{
	struct asked *k = asked_new(NULL, 10);

	(void)state;
	claim_and_run(k, 1);
	asked_call(k, (struct asked_call){ .slot = 2, .hash = "otherotherother!" });
	tiny_tell(k->t);
	rig_is_refused(&k->rig, 2, PIRN__REASON__KEY_BODY);
	asked_free(k);
}

static void test_no_room_for_keys(void **state)
{
	struct asked *k = asked_new(NULL, 10);

	(void)state;
	k->full = true;
	asked_call(k, (struct asked_call){ .slot = 1 });
	tiny_tell(k->t);
	rig_is_refused(&k->rig, 1, PIRN__REASON__KEYS_FULL);
	asked_free(k);
}

/* ---- what is kept -------------------------------------------------------------------- */

/* As often as the broker runs it. */
static void result_of_all(struct asked *k, Pirn__Item run, uint32_t status, uint32_t reason)
{
	result(k, &run, status, reason);
	while (rig_count(&k->rig, PIRN__KIND__DISPATCH) > 0) {
		uint32_t before = run.attempt;

		run = rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
		assert_true(run.attempt > before);
		assert_memory_equal(run.id.data, asked_id(1).data, 16);
		result(k, &run, status, reason);
	}
}

static void test_what_is_kept(void **state)
{
	static const struct {
		uint32_t status, reason;
		bool kept;
	} cases[] = {
		{ 200, 0, true },
		{ 302, 0, true },
		{ 404, 0, true },
		{ 499, 0, true },
		{ 408, 0, false },
		{ 425, 0, false },
		{ 429, 0, false },
		{ 500, 0, false },
		{ 599, 0, false },
		{ 0, 0, false },
		{ 100, 0, false },
		{ 70000, 0, false },
		{ 0, PIRN__REASON__CRASHED, false },
		{ 200, PIRN__REASON__DEADLINE, false },
		{ 0, PIRN__REASON__TOO_LARGE, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct asked *k = asked_new(NULL, 10);
		Pirn__Item run = claim_and_run(k, 1);

		result_of_all(k, run, cases[i].status, cases[i].reason);
		tiny_tell(k->t);
		assert_int_equal(rig_one(&k->rig, PIRN__KIND__REPLY)->item.slot, 1);
		assert_int_equal(k->key.response != NULL, cases[i].kept);
		assert_true(is_free(k));
		asked_free(k);
	}
}

static void test_again_after_a_failure(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = claim_and_run(k, 1);
	uint32_t last = run.attempt + BRK_MAX_RUNS - 1;

	(void)state;
	result_of_all(k, run, 503, 0);
	assert_int_equal(rig_figures(&k->rig).dispatched, BRK_MAX_RUNS);
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 503);
	run = claim_and_run(k, 2);
	assert_true(run.attempt > last);
	assert_memory_equal(run.id.data, asked_id(1).data, 16); /* it replays what the first did */
	result(k, &run, 200, 0);
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 2, PIRN__REASON__NONE, 200);
	asked_free(k);
}

/* ---- what Redis does not tell ---------------------------------------------------------- */

static void test_a_claim_fails(void **state)
{
	static const struct {
		enum store_code code;
		uint32_t reason;
	} cases[] = { { STORE_LOST, PIRN__REASON__UNDECIDED },
		{ STORE_BROKEN, PIRN__REASON__UNDECIDED },
		{ STORE_AWAY, PIRN__REASON__NOT_DURABLE },
		{ STORE_OOM, PIRN__REASON__NOT_DURABLE } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct asked *k = asked_new(NULL, 10);

		k->next[BRK_ASK_CLAIM] = cases[i].code;
		asked_call(k, (struct asked_call){ .slot = 1 });
		tiny_tell(k->t);
		rig_is_refused(&k->rig, 1, cases[i].reason);
		assert_int_equal(rig_figures(&k->rig).dispatched, 0);
		asked_free(k);
	}
}

/* The same key again finds out, when the claim has run out. */
static void test_a_claim_happened_and_nobody_said_so(void **state)
{
	struct asked *k = asked_new(NULL, 10);

	(void)state;
	asked_call(k, (struct asked_call){ .slot = 1 });
	tiny_tell_as(k->t, STORE_LOST);
	rig_is_refused(&k->rig, 1, PIRN__REASON__UNDECIDED);
	tiny_connect(k->t, false);
	tiny_connect(k->t, true);
	tiny_run(k->t);
	asked_call(k, (struct asked_call){ .slot = 2 });
	tiny_tell(k->t);
	rig_is_refused(&k->rig, 2, PIRN__REASON__KEY_BUSY);
	tiny_pass(k->t, 11000);
	assert_true(claim_and_run(k, 3).attempt > 1);
	asked_free(k);
}

static void test_an_answer_fails(void **state)
{
	static const enum store_code codes[] = { STORE_LOST, STORE_AWAY, STORE_STALE,
		STORE_BROKEN };

	(void)state;
	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
		struct asked *k = asked_new(NULL, 10);
		Pirn__Item run = claim_and_run(k, 1);

		k->next[BRK_ASK_ANSWER] = codes[i];
		result(k, &run, 200, 0);
		tiny_tell(k->t);
		rig_is_replied(&k->rig, 1, PIRN__REASON__UNDECIDED, 503);
		assert_int_equal(rig_one(&k->rig, PIRN__KIND__REPLY)->payload.data_size, 0);
		/* What is not kept anyway is told as it is. */
		tiny_run(k->t);
		if (!brk_owner_is_open(k->rig.core)) {
			tiny_connect(k->t, false);
			tiny_connect(k->t, true);
		}
		tiny_pass(k->t, 11000);
		run = claim_and_run(k, 2);
		k->next[BRK_ASK_ANSWER] = codes[i];
		result(k, &run, 500, 0);
		tiny_tell(k->t);
		rig_is_replied(&k->rig, 2, PIRN__REASON__NONE, 500);
		asked_free(k);
	}
}

static void test_an_answer_was_kept_and_nobody_said_so(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = claim_and_run(k, 1);

	(void)state;
	result(k, &run, 200, 0);
	tiny_tell_as(k->t, STORE_LOST);
	rig_is_replied(&k->rig, 1, PIRN__REASON__UNDECIDED, 503);
	tiny_connect(k->t, false);
	tiny_connect(k->t, true);
	tiny_run(k->t);
	asked_call(k, (struct asked_call){ .slot = 2 });
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 2, PIRN__REASON__NONE, 200);
	assert_int_equal(rig_figures(&k->rig).dispatched, 1);
	asked_free(k);
}

static void test_redis_is_away(void **state)
{
	struct asked *k = asked_new(NULL, 10);

	(void)state;
	tiny_connect(k->t, false);
	asked_call(k, (struct asked_call){ .slot = 1 });
	rig_is_refused(&k->rig, 1, PIRN__REASON__NOT_DURABLE);
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__REFUSED)->item.retry_after_ms, 1000);
	asked_free(k);
}

static void test_no_events_here(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct asked k = { 0 };
	struct tiny t = { .rig = &k.rig };

	(void)state;
	conf.events = false;
	k.rig = rig_new(&conf);
	k.t = &t;
	rig_client(&k.rig, CLIENT);
	rig_worker(&k.rig, A, "hello", 1);
	asked_call(&k, (struct asked_call){ .slot = 1 });
	rig_is_refused(&k.rig, 1, PIRN__REASON__UNSUPPORTED);
	rig_free(&k.rig);
}

static void test_malformed(void **state)
{
	struct asked *k = asked_new(NULL, 10);

	(void)state;
	asked_call(k, (struct asked_call){ .slot = 1, .no_id = true });
	rig_is_refused(&k->rig, 1, PIRN__REASON__MALFORMED);
	asked_call(k, (struct asked_call){ .slot = 2, .hash = "short" });
	rig_is_refused(&k->rig, 2, PIRN__REASON__MALFORMED);
	asked_call(k, (struct asked_call){ .slot = 3, .key_size = 256 });
	rig_is_refused(&k->rig, 3, PIRN__REASON__MALFORMED);
	assert_int_equal(k->t->n_asks[BRK_ASK_CLAIM], 0);
	asked_call(k, (struct asked_call){ .slot = 4, .key_size = 255 });
	assert_int_equal(k->t->n_asks[BRK_ASK_CLAIM], 1);
	asked_free(k);
}

/* UNTRUSTED: it was in Redis. */
static void test_what_is_no_answer(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} cases[] = { { "", 0 }, { "\x00\xc8\x00\x00\x00", 5 }, { "\x00\xc8\x00\x00\x00\x03mm", 8 },
		{ "\x00\xc8\xff\xff\xff\xffmm", 8 }, { "\x00\x00\x00\x00\x00\x00mm", 8 },
		{ "\x02\x58\x00\x00\x00\x00mm", 8 }, { "\xff\xc8\x00\x00\x00\x00mm", 8 } };

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct asked *k = asked_new(NULL, 10);

		keep_answer(k, (const uint8_t *)cases[i].bytes, cases[i].size);
		asked_call(k, (struct asked_call){ .slot = 1 });
		tiny_tell(k->t);
		rig_is_refused(&k->rig, 1, PIRN__REASON__NOT_DURABLE);
		asked_free(k);
	}
}

static void test_a_large_answer(void **state)
{
	enum { SIZE = 16 << 20 };
	struct brk_conf conf = tiny_conf();
	uint8_t *large = calloc(1, SIZE + 6);
	const struct brk_action *a;
	struct asked *k;

	(void)state;
	conf.max_item_bytes = SIZE;
	k = asked_new(&conf, 10);
	large[1] = 200;
	large[SIZE + 5] = 'z';
	keep_answer(k, large, SIZE + 6);
	free(large);
	asked_call(k, (struct asked_call){ .slot = 1 });
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 200);
	a = rig_one(&k->rig, PIRN__KIND__REPLY);
	assert_int_equal(a->payload.data_size, SIZE);
	assert_int_equal(a->payload.bytes[SIZE - 1], 'z');
	asked_free(k);
}

/* ---- workers, deadlines, clients ----------------------------------------------------------- */

static void test_a_worker_is_lost(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item first = claim_and_run(k, 1), run;

	(void)state;
	rig_worker(&k->rig, B, "hello", 1);
	rig_send(&k->rig, A, PIRN__KIND__BYE);
	run = rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__DISPATCH)->peer, B);
	assert_int_equal(run.attempt, first.attempt + 1);
	assert_memory_equal(run.id.data, first.id.data, 16);
	tiny_result(k->t, B, &run, (struct rig_item){ .status = 200, .data = "response" });
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 200);
	asked_free(k);
}

/* Runs of a later claim supersede all of an earlier one's, which may still go on somewhere. */
static void test_tokens_grow(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	uint32_t last = claim_and_run(k, 1).attempt;
	Pirn__Item run;

	(void)state;
	for (uint32_t peer = 20; peer < 20 + BRK_MAX_RUNS - 1; peer++) {
		rig_send(&k->rig, peer == 20 ? A : peer - 1, PIRN__KIND__BYE);
		rig_worker(&k->rig, peer, "hello", 1);
		run = rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
		assert_true(run.attempt > last);
		last = run.attempt;
	}
	rig_send(&k->rig, 20 + BRK_MAX_RUNS - 2, PIRN__KIND__BYE);
	tiny_take(k->t);
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__WORKER_LOST, 502);
	assert_true(is_free(k));
	rig_worker(&k->rig, B, "hello", 1);
	assert_true(claim_and_run(k, 2).attempt > last);
	asked_free(k);
}

static void test_deadline_while_claiming(void **state)
{
	struct asked *k = asked_new(NULL, 10);

	(void)state;
	asked_call(k, (struct asked_call){ .slot = 1, .left_ms = 100 });
	tiny_tick(k->t, 100);
	rig_is_replied(&k->rig, 1, PIRN__REASON__DEADLINE, 504);
	tiny_run(k->t); /* it was claimed, and is given back */
	assert_int_equal(k->t->n_asks[BRK_ASK_ANSWER], 1);
	assert_true(is_free(k));
	assert_int_equal(rig_figures(&k->rig).dispatched, 0);
	asked_free(k);
}

/* What Redis says is heard before the tick: nothing starts without time. */
static void test_deadline_before_its_tick(void **state)
{
	struct asked *k = asked_new(NULL, 10);

	(void)state;
	asked_call(k, (struct asked_call){ .slot = 1, .left_ms = 100 });
	k->rig.now_ms += 100;
	tiny_tell(k->t);
	rig_is_refused(&k->rig, 1, PIRN__REASON__DEADLINE);
	tiny_run(k->t); /* its claim is given back */
	assert_true(is_free(k));
	asked_free(k);
}

static void test_deadline_while_waiting(void **state)
{
	struct asked *k = asked_new(NULL, 0);

	(void)state;
	asked_call(k, (struct asked_call){ .slot = 1, .left_ms = 100 });
	tiny_tell(k->t);
	assert_int_equal(rig_figures(&k->rig).waiting, 1);
	tiny_tick(k->t, 100);
	while (rig_count(&k->rig, PIRN__KIND__REPLY) == 0)
		tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__DEADLINE, 504);
	assert_true(is_free(k));
	asked_free(k);
}

static void test_deadline_while_running(void **state)
{
	struct asked *k = asked_new(NULL, 10);

	(void)state;
	asked_call(k, (struct asked_call){ .slot = 1, .left_ms = 100 });
	tiny_tell(k->t);
	tiny_tick(k->t, 100);
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__CANCEL)->peer, A);
	while (rig_count(&k->rig, PIRN__KIND__REPLY) == 0)
		tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__DEADLINE, 504);
	assert_true(is_free(k));
	asked_free(k);
}

/* An answer that is on its way into Redis came in time. */
static void test_deadline_while_answering(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run = claim_and_run(k, 1);

	(void)state;
	result(k, &run, 200, 0);
	tiny_tick(k->t, 20000);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 200);
	asked_free(k);
}

enum moment { CLAIMING, WAITING, RUNNING, ANSWERING, N_MOMENTS };

static struct asked *until(enum moment moment)
{
	struct asked *k = asked_new(NULL, moment >= RUNNING ? 1 : 0);

	rig_client(&k->rig, OTHER);
	asked_call(k, (struct asked_call){ .peer = OTHER, .slot = 1 });
	if (moment >= WAITING)
		tiny_tell(k->t);
	if (moment == ANSWERING) {
		Pirn__Item run = rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;

		result(k, &run, 200, 0);
	}
	return k;
}

static void test_the_client_is_gone(void **state)
{
	(void)state;
	for (enum moment moment = CLAIMING; moment < N_MOMENTS; moment++) {
		struct asked *k = until(moment);

		rig_send(&k->rig, OTHER, PIRN__KIND__BYE);
		tiny_take(k->t);
		assert_int_equal(rig_count(&k->rig, PIRN__KIND__CANCEL), moment == RUNNING);
		tiny_run(k->t);
		assert_int_equal(rig_count(&k->rig, PIRN__KIND__REPLY), 0);
		assert_true(is_free(k));
		assert_int_equal(k->key.response != NULL, moment == ANSWERING);
		asked_free(k);
	}
}

static void test_cancelled(void **state)
{
	(void)state;
	for (enum moment moment = CLAIMING; moment < N_MOMENTS; moment++) {
		struct asked *k = until(moment);

		rig_item(&k->rig, OTHER, PIRN__KIND__CANCEL,
			(struct rig_item){ .slot = 1, .generation = 1 });
		tiny_take(k->t);
		tiny_run(k->t);
		assert_true(is_free(k));
		assert_int_equal(rig_figures(&k->rig).cancelled, 1);
		asked_free(k);
	}
}

/* What was taken runs to its end, and the broker stays for it. */
static void test_drain(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item run;

	(void)state;
	asked_call(k, (struct asked_call){ .slot = 1 });
	rig_look(&k->rig, brk_core_drain(k->rig.core, k->rig.now_ms));
	tiny_take(k->t);
	tiny_tell(k->t);
	run = rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
	result(k, &run, 200, 0);
	assert_false(brk_core_drained(k->rig.core));
	tiny_tell(k->t);
	rig_is_replied(&k->rig, 1, PIRN__REASON__NONE, 200);
	asked_call(k, (struct asked_call){ .slot = 2 });
	rig_is_refused(&k->rig, 2, PIRN__REASON__DRAINING);
	asked_free(k);
}

/* Nothing more will be told: each client hears of its call now. */
static void test_end(void **state)
{
	(void)state;
	for (enum moment moment = CLAIMING; moment < N_MOMENTS; moment++) {
		struct asked *k = until(moment);
		const struct brk_action *a;

		rig_look(&k->rig, brk_core_end(k->rig.core, k->rig.now_ms));
		a = rig_one(&k->rig, moment >= RUNNING ? PIRN__KIND__REPLY : PIRN__KIND__REFUSED);
		assert_int_equal(a->peer, OTHER);
		assert_int_equal(a->item.reason, PIRN__REASON__DRAINING);
		tiny_take(k->t);
		if (moment != CLAIMING)
			assert_true(is_free(k));
		asked_free(k);
	}
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static void announce(struct asked *k, uint32_t queue_items)
{
	Pirn__Manifest m = rig_manifest("hello");

	m.has_queue_items = true;
	m.queue_items = queue_items;
	rig_hello(&k->rig, B, B, PIRN__ROLE__WORKER, &m, 1);
}

/* Those that come while others are claimed count when they are to wait. */
static void test_the_queue_is_full(void **state)
{
	struct asked *k = asked_new(NULL, 0);

	(void)state;
	announce(k, 1);
	asked_call(k, (struct asked_call){ .slot = 1 });
	rig_submit(&k->rig, CLIENT, 2, "hello", 0);
	tiny_tell(k->t);
	rig_is_refused(&k->rig, 1, PIRN__REASON__QUEUE_FULL);
	tiny_take(k->t);
	tiny_tell(k->t);
	assert_true(is_free(k));
	assert_int_equal(rig_figures(&k->rig).waiting, 1);
	asked_free(k);
}

static void test_the_last_worker_left(void **state)
{
	struct asked *k = asked_new(NULL, 1);

	(void)state;
	asked_call(k, (struct asked_call){ .slot = 1 });
	rig_send(&k->rig, A, PIRN__KIND__BYE);
	tiny_tell(k->t);
	rig_is_refused(&k->rig, 1, PIRN__REASON__NO_WORKER);
	tiny_tell(k->t);
	assert_true(is_free(k));
	asked_free(k);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static size_t answers(const struct asked *k)
{
	return rig_count(&k->rig, PIRN__KIND__REPLY) + rig_count(&k->rig, PIRN__KIND__REFUSED);
}

/* One step of a call's way, with one allocation after the other failing: each call is answered once. */
static void without_memory(enum moment moment)
{
	unsigned long at = 0, used;

	do {
		struct asked *k = asked_new(NULL, 10);
		Pirn__Item run;
		size_t n;

		if (moment == ANSWERING)
			run = claim_and_run(k, 1);
		count_alloc_start();
		count_alloc_fail_at(++at);
		if (moment == ANSWERING)
			rig_result(&k->rig, A, &run, 200, 0);
		else
			asked_call(k, (struct asked_call){ .slot = 1 });
		used = count_alloc_stop();
		count_alloc_fail_at(0);
		if (moment == ANSWERING)
			tiny_take(k->t);
		n = answers(k);
		while (n == 0) {
			const struct brk_action *a = rig_nth(&k->rig, PIRN__KIND__DISPATCH, 0);

			if (a) {
				run = a->item;
				result(k, &run, 200, 0);
			} else {
				tiny_tell(k->t);
			}
			n += answers(k);
		}
		assert_int_equal(n, 1);
		tiny_pass(k->t, 500);
		assert_int_equal(answers(k), 0);
		assert_true(is_free(k));
		asked_free(k);
	} while (used >= at);
}

static void test_without_memory(void **state)
{
	(void)state;
	if (!COUNT_ALLOC)
		skip();
	without_memory(CLAIMING);
	without_memory(ANSWERING);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_run_and_repeat),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_kept_by_another_broker),
		cmocka_unit_test(test_an_event_had_the_key),
		cmocka_unit_test(test_another_body),
		cmocka_unit_test(test_no_room_for_keys),
		cmocka_unit_test(test_what_is_kept),
		cmocka_unit_test(test_again_after_a_failure),
		cmocka_unit_test(test_a_claim_fails),
		cmocka_unit_test(test_a_claim_happened_and_nobody_said_so),
		cmocka_unit_test(test_an_answer_fails),
		cmocka_unit_test(test_an_answer_was_kept_and_nobody_said_so),
		cmocka_unit_test(test_redis_is_away),
		cmocka_unit_test(test_no_events_here),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_what_is_no_answer),
		cmocka_unit_test(test_a_large_answer),
		cmocka_unit_test(test_a_worker_is_lost),
		cmocka_unit_test(test_tokens_grow),
		cmocka_unit_test(test_deadline_while_claiming),
		cmocka_unit_test(test_deadline_before_its_tick),
		cmocka_unit_test(test_deadline_while_waiting),
		cmocka_unit_test(test_deadline_while_running),
		cmocka_unit_test(test_deadline_while_answering),
		cmocka_unit_test(test_the_client_is_gone),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_the_queue_is_full),
		cmocka_unit_test(test_the_last_worker_left),
		cmocka_unit_test(test_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
