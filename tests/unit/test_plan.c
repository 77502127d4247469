/* What a timer does next: the policies one by one, and several gateways at one chain, with clocks that
 * are wrong and answers that are lost. */
#include "base/rand.h"
#include "gateway/plan.h"
#include "tests/unit/unit.h"

#define MINUTE 60000u
#define START  UINT64_C(1770000000000) /* 2026-02-02 02:40:00 */

static const uint8_t id_a[BASE_ULID_SIZE] = { 1 };

static struct gw_plan plan_of(const char *cron, enum gw_missed missed, bool overlap)
{
	struct gw_plan_conf conf = { .missed = missed, .overlap = overlap };
	struct gw_plan p;
	char why[256];

	assert_true(base_cron_parse(cron, &conf.cron, why, sizeof why));
	gw_plan_init(&p, &conf);
	return p;
}

static struct gw_plan known_at(const char *cron, enum gw_missed missed, bool overlap, uint64_t last_ms)
{
	struct gw_plan p = plan_of(cron, missed, overlap);

	assert_int_equal(gw_plan_next(&p, START).what, GW_PLAN_LEARN);
	gw_plan_refused(&p, START, last_ms, NULL);
	return p;
}

static void expect(struct gw_plan *p, uint64_t now_ms, enum gw_plan_do what, uint64_t previous, uint64_t slot)
{
	struct gw_plan_step step = gw_plan_next(p, now_ms);

	assert_int_equal(step.what, what);
	if (what == GW_PLAN_WAIT) {
		assert_int_equal(step.due_ms, slot);
		return;
	}
	if (what == GW_PLAN_ASK)
		return;
	assert_int_equal(step.previous_ms, previous);
	assert_int_equal(step.slot_ms, slot);
}

static void test_a_new_timer_begins_now(void **state)
{
	struct gw_plan p = plan_of("* * * * *", GW_MISSED_ALL, false);

	(void)state;
	assert_int_equal(gw_plan_upcoming(&p), UINT64_MAX);
	expect(&p, START + 1234, GW_PLAN_LEARN, 0, START + 1000);
	gw_plan_accepted(&p, START + 1000, NULL);
	assert_int_equal(gw_plan_upcoming(&p), START + MINUTE);
	expect(&p, START + 1234, GW_PLAN_WAIT, 0, START + MINUTE);
	expect(&p, START + MINUTE, GW_PLAN_FIRE, START + 1000, START + MINUTE);
	gw_plan_accepted(&p, START + MINUTE, id_a);
	expect(&p, START + MINUTE, GW_PLAN_WAIT, 0, START + 2 * MINUTE);
}

static void test_another_gateway_was_first(void **state)
{
	struct gw_plan p = known_at("* * * * *", GW_MISSED_ONCE, true, START);

	(void)state;
	expect(&p, START + MINUTE + 3, GW_PLAN_FIRE, START, START + MINUTE);
	gw_plan_refused(&p, START + MINUTE + 5, START + MINUTE, id_a);
	expect(&p, START + MINUTE + 5, GW_PLAN_WAIT, 0, START + 2 * MINUTE);
}

static void test_missed(void **state)
{
	struct gw_plan all = known_at("* * * * *", GW_MISSED_ALL, true, START);
	struct gw_plan once = known_at("* * * * *", GW_MISSED_ONCE, true, START);
	struct gw_plan skip = known_at("* * * * *", GW_MISSED_SKIP, true, START);
	struct gw_plan late = known_at("* * * * *", GW_MISSED_SKIP, true, START);
	uint64_t now = START + 60 * MINUTE + GW_PLAN_LATE_MS;

	(void)state;
	for (unsigned i = 1; i <= 60; i++) {
		expect(&all, now, GW_PLAN_FIRE, START + (i - 1) * MINUTE, START + i * MINUTE);
		gw_plan_accepted(&all, START + i * MINUTE, id_a);
	}
	expect(&all, now, GW_PLAN_WAIT, 0, START + 61 * MINUTE);
	expect(&once, now, GW_PLAN_FIRE, START, START + 60 * MINUTE);
	gw_plan_accepted(&once, START + 60 * MINUTE, id_a);
	expect(&once, now, GW_PLAN_WAIT, 0, START + 61 * MINUTE);
	expect(&skip, now, GW_PLAN_SKIP, START, START + 60 * MINUTE);
	gw_plan_accepted(&skip, START + 60 * MINUTE, NULL);
	expect(&skip, now, GW_PLAN_WAIT, 0, START + 61 * MINUTE);
	expect(&late, now - 1, GW_PLAN_FIRE, START, START + 60 * MINUTE);
}

static void test_overlap(void **state)
{
	struct gw_plan p = known_at("* * * * *", GW_MISSED_ONCE, false, START);

	(void)state;
	expect(&p, START + MINUTE, GW_PLAN_FIRE, START, START + MINUTE);
	gw_plan_accepted(&p, START + MINUTE, id_a);
	expect(&p, START + 2 * MINUTE, GW_PLAN_ASK, 0, 0);
	assert_memory_equal(p.running, id_a, sizeof id_a);
	gw_plan_told(&p, true);
	expect(&p, START + 2 * MINUTE, GW_PLAN_SKIP, START + MINUTE, START + 2 * MINUTE);
	gw_plan_accepted(&p, START + 2 * MINUTE, NULL);
	expect(&p, START + 3 * MINUTE, GW_PLAN_ASK, 0, 0); /* the same run still */
	gw_plan_told(&p, false);
	expect(&p, START + 3 * MINUTE, GW_PLAN_FIRE, START + 2 * MINUTE, START + 3 * MINUTE);
	gw_plan_refused(&p, START + 3 * MINUTE, START + 3 * MINUTE, id_a);
	expect(&p, START + 4 * MINUTE, GW_PLAN_ASK, 0, 0);
	gw_plan_failed(&p, START + 4 * MINUTE, GW_PLAN_AGAIN_MS);
	expect(&p, START + 4 * MINUTE, GW_PLAN_WAIT, 0, START + 4 * MINUTE + GW_PLAN_AGAIN_MS);
	expect(&p, START + 4 * MINUTE + GW_PLAN_AGAIN_MS, GW_PLAN_ASK, 0, 0);
}

static void test_a_clock_that_is_ahead(void **state)
{
	struct gw_plan p = known_at("* * * * *", GW_MISSED_ONCE, true, START);

	(void)state;
	expect(&p, START + MINUTE, GW_PLAN_FIRE, START, START + MINUTE);
	gw_plan_refused(&p, START + MINUTE, START, NULL); /* the slot is too far ahead */
	expect(&p, START + MINUTE, GW_PLAN_WAIT, 0, START + MINUTE + GW_PLAN_AGAIN_MS);
	expect(&p, START + MINUTE + GW_PLAN_AGAIN_MS, GW_PLAN_FIRE, START, START + MINUTE);
}

static void test_redis_forgot(void **state)
{
	struct gw_plan p = known_at("* * * * *", GW_MISSED_ALL, true, START);

	(void)state;
	expect(&p, START + MINUTE, GW_PLAN_FIRE, START, START + MINUTE);
	gw_plan_refused(&p, START + MINUTE, 0, NULL);
	assert_int_equal(gw_plan_upcoming(&p), UINT64_MAX);
	expect(&p, START + MINUTE, GW_PLAN_WAIT, 0, START + MINUTE + GW_PLAN_AGAIN_MS);
	expect(&p, START + 2 * MINUTE + 7, GW_PLAN_LEARN, 0, START + 2 * MINUTE);
}

static void test_never_again(void **state)
{
	struct gw_plan_conf conf = { .overlap = true };
	struct gw_plan p;
	char why[256];

	(void)state;
	assert_true(base_cron_parse("0 0 29 2 *", &conf.cron, why, sizeof why));
	gw_plan_init(&p, &conf);
	assert_int_equal(gw_plan_next(&p, START).what, GW_PLAN_LEARN);
	gw_plan_refused(&p, START, UINT64_C(9000000000000000), NULL);
	expect(&p, START, GW_PLAN_WAIT, 0, gw_plan_upcoming(&p));
}

/* A year's slots are not all run. */
static void test_all_has_an_end(void **state)
{
	const uint64_t day = 24 * 60 * MINUTE, now = START + 365 * day;
	struct gw_plan p = known_at("* * * * *", GW_MISSED_ALL, true, START);
	uint64_t leap = now / MINUTE * MINUTE - (uint64_t)GW_PLAN_ALL_MOST * MINUTE;
	unsigned n = 0;

	(void)state;
	expect(&p, now, GW_PLAN_SKIP, START, leap);
	gw_plan_accepted(&p, leap, NULL);
	for (;; n++) {
		struct gw_plan_step step = gw_plan_next(&p, now);

		if (step.what == GW_PLAN_WAIT)
			break;
		assert_int_equal(step.what, GW_PLAN_FIRE);
		assert_true(step.slot_ms == leap + (n + 1) * (uint64_t)MINUTE);
		gw_plan_accepted(&p, step.slot_ms, id_a);
	}
	assert_int_equal(n, GW_PLAN_ALL_MOST);
}

/* Other times: what they would have been before that was nobody's to run. */
static void test_other_times(void **state)
{
	static const enum gw_missed all[] = { GW_MISSED_SKIP, GW_MISSED_ONCE, GW_MISSED_ALL };
	const uint64_t day = 24 * 60 * MINUTE, now = START + 300 * day + 20000;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct gw_plan p = plan_of("* * * * *", all[i], true);

		p.conf.since_ms = now - GW_PLAN_LATE_MS;
		assert_int_equal(gw_plan_next(&p, now).what, GW_PLAN_LEARN);
		gw_plan_refused(&p, now, START, id_a);
		expect(&p, now, GW_PLAN_SKIP, START, now - GW_PLAN_LATE_MS);
		gw_plan_accepted(&p, now - GW_PLAN_LATE_MS, NULL);
		expect(&p, (now / MINUTE + 1) * MINUTE, GW_PLAN_FIRE, now - GW_PLAN_LATE_MS,
			(now / MINUTE + 1) * MINUTE);
	}
	/* One whose chain has gone on is left alone, and one whose next slot is to come. */
	for (size_t i = 0; i < 2; i++) {
		struct gw_plan p = plan_of(i ? "* * * * *" : "0 0 1 1 *", GW_MISSED_ALL, true);

		p.conf.since_ms = now - GW_PLAN_LATE_MS;
		assert_int_equal(gw_plan_next(&p, now).what, GW_PLAN_LEARN);
		gw_plan_refused(&p, now, i ? now - GW_PLAN_LATE_MS + 1000 : now - day, NULL);
		assert_int_equal(gw_plan_next(&p, now).what, GW_PLAN_WAIT);
	}
}

static void test_a_clock_that_is_set_back(void **state)
{
	struct gw_plan p = known_at("* * * * *", GW_MISSED_ONCE, true, START);

	(void)state;
	assert_int_equal(gw_plan_next(&p, START + 1000 * MINUTE).what, GW_PLAN_FIRE);
	gw_plan_failed(&p, START + 1000 * MINUTE, GW_PLAN_AGAIN_MS);
	expect(&p, START + MINUTE, GW_PLAN_FIRE, START, START + MINUTE);
}

/* ---- several gateways, one chain ---------------------------------------------------- */

#define GATEWAYS 3
#define SLOTS    20000

/* Redis's side, as the Function has it. */
struct chain {
	uint64_t now_ms, last_ms;
	bool has_id;
	uint8_t id[BASE_ULID_SIZE];
	uint64_t fired[SLOTS];
	size_t n;
};

static bool submit(struct chain *c, const struct gw_plan_step *step, const uint8_t *id)
{
	if (step->previous_ms != c->last_ms || step->slot_ms <= c->last_ms || step->slot_ms > c->now_ms + 1000)
		return false;
	c->last_ms = step->slot_ms;
	if (!id)
		return true;
	c->has_id = true;
	memcpy(c->id, id, sizeof c->id);
	assert_true(c->n < SLOTS);
	c->fired[c->n++] = step->slot_ms;
	return true;
}

static void act(struct chain *c, struct gw_plan *p, struct base_rand *r, int64_t skew_ms)
{
	uint64_t now = (uint64_t)((int64_t)c->now_ms + skew_ms);
	struct gw_plan_step step = gw_plan_next(p, now);
	uint8_t id[BASE_ULID_SIZE];
	bool taken;

	if (step.what == GW_PLAN_WAIT)
		return;
	if (step.what == GW_PLAN_ASK) {
		gw_plan_told(p, base_rand_below(r, 2) == 0);
		return;
	}
	if (base_rand_below(r, 10) == 0) { /* it never arrives */
		gw_plan_failed(p, now, GW_PLAN_AGAIN_MS);
		return;
	}
	base_rand_system(id, sizeof id);
	taken = submit(c, &step, step.what == GW_PLAN_FIRE ? id : NULL);
	if (base_rand_below(r, 10) == 0) /* the answer is lost */
		gw_plan_failed(p, now, GW_PLAN_AGAIN_MS);
	else if (taken)
		gw_plan_accepted(p, step.slot_ms, step.what == GW_PLAN_FIRE ? id : NULL);
	else
		gw_plan_refused(p, now, c->last_ms, c->has_id ? c->id : NULL);
}

static void one_chain(uint64_t seed, enum gw_missed missed)
{
	static const int64_t skews[] = { 0, 0, 0, 400, -700, 3600000, -3600000, 86400000, -86400000 };
	static struct chain c;
	struct gw_plan plans[GATEWAYS];
	int64_t skew[GATEWAYS] = { 0 };
	struct base_rand r;
	uint64_t begin, expected, at;

	base_rand_init(&r, seed);
	c = (struct chain){ .now_ms = START + base_rand_below(&r, MINUTE) };
	for (int i = 0; i < GATEWAYS; i++)
		plans[i] = plan_of("*/3 * * * *", missed, true);
	begin = c.now_ms;
	while (c.now_ms < begin + 600 * MINUTE) {
		int who = (int)base_rand_below(&r, GATEWAYS);

		/* The first has the right clock, and is only away sometimes. */
		if (who > 0 && base_rand_below(&r, 200) == 0)
			skew[who] = skews[base_rand_below(&r, 9)];
		if (base_rand_below(&r, 300) == 0) /* killed, and another one in its place */
			plans[who] = plan_of("*/3 * * * *", missed, true);
		act(&c, &plans[who], &r, skew[who]);
		c.now_ms += base_rand_below(&r, 500) == 0 ? base_rand_below(&r, 20 * MINUTE) : base_rand_below(&r, 2000);
	}
	assert_true(c.n > (missed == GW_MISSED_ALL ? 150 : 20));
	for (size_t i = 1; i < c.n; i++)
		assert_true(c.fired[i] > c.fired[i - 1]);
	if (missed != GW_MISSED_ALL)
		return;
	/* Each slot, once, in order. */
	expected = (begin / (3 * MINUTE) + 1) * 3 * MINUTE;
	for (size_t i = 0; i < c.n; i++) {
		at = c.fired[i];
		if (i == 0)
			expected = at; /* the chain begins where the first gateway was heard, with a skew of its own */
		assert_int_equal(at, expected);
		expected += 3 * MINUTE;
	}
	assert_true(c.fired[c.n - 1] + 60 * MINUTE > c.now_ms);
}

static void test_chains(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++)
		one_chain(seed, (enum gw_missed)(seed % 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_new_timer_begins_now),
		cmocka_unit_test(test_another_gateway_was_first),
		cmocka_unit_test(test_missed),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_a_clock_that_is_ahead),
		cmocka_unit_test(test_redis_forgot),
		cmocka_unit_test(test_never_again),
		cmocka_unit_test(test_all_has_an_end),
		cmocka_unit_test(test_other_times),
		cmocka_unit_test(test_a_clock_that_is_set_back),
		cmocka_unit_test(test_chains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
