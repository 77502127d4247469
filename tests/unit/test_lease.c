/* Who listens: the rules one by one, and then several gateways that are paused, killed and misled
 * by lost answers, of which never two believe that it is them. */
#include "base/rand.h"
#include "gateway/lease.h"
#include "tests/unit/unit.h"

#define NOW UINT64_C(1770000000000)
#define AT  UINT64_C(5000)

static void expect_say(struct gw_lease *l, uint64_t now_ms, uint64_t at, uint64_t previous, uint64_t slot)
{
	struct gw_lease_step step = gw_lease_next(l, now_ms, at);

	assert_true(step.say);
	assert_true(step.previous_ms == previous && step.slot_ms == slot);
}

static void expect_wait(struct gw_lease *l, uint64_t now_ms, uint64_t at, uint64_t due)
{
	struct gw_lease_step step = gw_lease_next(l, now_ms, at);

	assert_false(step.say);
	assert_true(step.due == due);
}

static void test_the_first_one_has_it(void **state)
{
	struct gw_lease l = { 0 };

	(void)state;
	assert_false(gw_lease_is_held(&l, AT));
	expect_wait(&l, 0, AT, AT + GW_LEASE_AGAIN_MS); /* nobody has said what time it is */
	expect_say(&l, NOW, AT, 0, NOW);
	expect_wait(&l, NOW, AT, UINT64_MAX);
	assert_false(gw_lease_is_held(&l, AT));
	gw_lease_accepted(&l);
	/* From when it was said, not from when it was answered. */
	assert_true(gw_lease_is_held(&l, AT + GW_LEASE_MS - GW_LEASE_SPARE_MS - 1));
	assert_false(gw_lease_is_held(&l, AT + GW_LEASE_MS - GW_LEASE_SPARE_MS));
}

static void test_the_holder_renews(void **state)
{
	struct gw_lease l = { 0 };

	(void)state;
	expect_say(&l, NOW, AT, 0, NOW);
	gw_lease_accepted(&l);
	expect_wait(&l, NOW + 10, AT + 10, AT + GW_LEASE_RENEW_MS);
	expect_say(&l, NOW + 1000, AT + 1000, NOW, NOW + 1000);
	gw_lease_accepted(&l);
	assert_true(gw_lease_is_held(&l, AT + 3000));
	/* The brokers' clock seems to have gone back: the chain goes on all the same. */
	expect_say(&l, NOW + 500, AT + 2000, NOW + 1000, NOW + 1001);
	/* Nobody answered: it is tried again, and held as long as the last answer says. */
	gw_lease_failed(&l, AT + 2400);
	expect_wait(&l, NOW + 2500, AT + 2500, AT + 2400 + GW_LEASE_AGAIN_MS);
	assert_true(gw_lease_is_held(&l, AT + 3000));
	expect_say(&l, NOW + 2900, AT + 2900, NOW + 1000, NOW + 2900);
	/* Another one has it. */
	gw_lease_refused(&l, NOW + 2800, AT + 2910);
	assert_false(gw_lease_is_held(&l, AT + 2910));
	expect_wait(&l, NOW + 2950, AT + 2950, AT + 2950 + 2850);
}

static void test_the_others_wait_for_three_seconds(void **state)
{
	struct gw_lease l = { 0 };

	(void)state;
	expect_say(&l, NOW, AT, 0, NOW);
	gw_lease_refused(&l, NOW - 700, AT + 5);
	expect_wait(&l, NOW + 5, AT + 5, AT + 5 + 2295);
	expect_say(&l, NOW + 2300, AT + 2300, NOW - 700, NOW + 2300);
	gw_lease_refused(&l, NOW + 2000, AT + 2310); /* it was renewed meanwhile */
	expect_wait(&l, NOW + 2310, AT + 2310, AT + 2310 + 2690);
	expect_say(&l, NOW + 5000, AT + 5000, NOW + 2000, NOW + 5000);
	gw_lease_accepted(&l);
	assert_true(gw_lease_is_held(&l, AT + 5000));
	gw_lease_drop(&l);
	assert_false(gw_lease_is_held(&l, AT + 5000));
	/* Who gave it up does not take it back before anybody else may. */
	expect_wait(&l, NOW + 5100, AT + 5100, AT + 5100 + 2900);
}

static void test_redis_has_lost_it(void **state)
{
	struct gw_lease l = { 0 };

	(void)state;
	expect_say(&l, NOW, AT, 0, NOW);
	gw_lease_accepted(&l);
	expect_say(&l, NOW + 1000, AT + 1000, NOW, NOW + 1000);
	gw_lease_refused(&l, 0, AT + 1000);
	assert_false(gw_lease_is_held(&l, AT + 1000));
	expect_wait(&l, NOW + 1001, AT + 1001, AT + 1000 + GW_LEASE_AGAIN_MS);
	expect_say(&l, NOW + 1500, AT + 1500, 0, NOW + 1500);
	/* Its slot was ahead of the brokers' clock. */
	gw_lease_refused(&l, 0, AT + 1500);
	expect_wait(&l, NOW + 1501, AT + 1501, AT + 1500 + GW_LEASE_AGAIN_MS);
}

/* ---- several of them -------------------------------------------------------------------- */

#define N       4
#define STEP_MS 20u
#define CALM_MS 60000u
#define END_MS  80000u

struct one {
	struct gw_lease lease;
	uint64_t lag;           /* how far its idea of the brokers' clock is behind */
	uint64_t offset;        /* of its own clock */
	uint64_t stopped_until; /* paused, or dead and started anew */
	bool forgets;           /* dead */
	bool said, decided, accepted, lost;
	uint64_t previous, slot, arrives, answers, last;
};

struct world {
	struct one ones[N];
	struct base_rand rand;
	uint64_t t, last;
	unsigned changes, holder;
};

static uint64_t chance(struct world *w, uint64_t n)
{
	return base_rand_below(&w->rand, n);
}

static uint64_t clock_of(const struct world *w, const struct one *o)
{
	return w->t + o->offset;
}

/* The broker, in the order of arrival. A word of a process that stopped is on its way all the same. */
static void decide(struct world *w, struct one *o)
{
	if (!o->said || o->decided || w->t < o->arrives)
		return;
	o->decided = true;
	o->accepted = o->previous == w->last && o->slot > w->last && o->slot <= NOW + w->t + 1000;
	if (o->accepted)
		w->last = o->slot;
	o->last = w->last;
}

static void hear(struct world *w, struct one *o)
{
	uint64_t at = clock_of(w, o);

	if (!o->said || w->t < o->answers)
		return;
	o->said = false;
	if (o->lost || !o->decided)
		gw_lease_failed(&o->lease, at);
	else if (o->accepted)
		gw_lease_accepted(&o->lease);
	else
		gw_lease_refused(&o->lease, o->last, at);
}

static void speak(struct world *w, struct one *o)
{
	struct gw_lease_step step = gw_lease_next(&o->lease, NOW + w->t - o->lag, clock_of(w, o));

	if (!step.say)
		return;
	o->said = true;
	o->decided = o->accepted = false;
	o->previous = step.previous_ms;
	o->slot = step.slot_ms;
	o->arrives = w->t + chance(w, 200);
	o->answers = o->arrives + chance(w, 200);
	o->lost = w->t < CALM_MS && chance(w, 20) == 0;
	if (o->lost)
		o->answers = w->t + 2000;
}

static void hurt(struct world *w, struct one *o)
{
	if (w->t >= CALM_MS || chance(w, 400) > 0)
		return;
	o->stopped_until = w->t + chance(w, 8000);
	o->forgets = chance(w, 2) == 0;
}

static void live(struct world *w, struct one *o)
{
	decide(w, o);
	if (w->t < o->stopped_until)
		return;
	if (o->forgets) {
		o->forgets = false;
		o->said = false;
		o->lease = (struct gw_lease){ 0 };
	}
	hear(w, o);
	if (!o->said)
		speak(w, o);
	hurt(w, o);
}

/* How many believe that they have it, at this moment; the dead believe nothing. */
static unsigned believers(struct world *w)
{
	unsigned n = 0;

	for (unsigned i = 0; i < N; i++) {
		const struct one *o = &w->ones[i];

		if (o->forgets || !gw_lease_is_held(&o->lease, clock_of(w, o)))
			continue;
		n++;
		w->changes += w->holder != i;
		w->holder = i;
	}
	return n;
}

static unsigned run(uint64_t seed)
{
	struct world w = { .holder = N };
	uint64_t nobody_since = 0;

	base_rand_init(&w.rand, seed);
	for (unsigned i = 0; i < N; i++) {
		w.ones[i].lag = chance(&w, GW_LEASE_SPARE_MS - 1);
		w.ones[i].offset = chance(&w, 1u << 30);
	}
	for (; w.t < END_MS; w.t += STEP_MS) {
		unsigned n;

		for (unsigned i = 0; i < N; i++)
			live(&w, &w.ones[i]);
		n = believers(&w);
		if (n > 1)
			fail_msg("seed %llu, %llu ms: %u of them", (unsigned long long)seed,
				(unsigned long long)w.t, n);
		if (n == 1 || w.t < CALM_MS + 8000)
			nobody_since = w.t;
		if (w.t - nobody_since > 5000)
			fail_msg("seed %llu: nobody for 5 s", (unsigned long long)seed);
	}
	return w.changes;
}

static void test_never_two(void **state)
{
	unsigned changes = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++)
		changes += run(seed);
	assert_true(changes > 300); /* it did go from one to another */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_one_has_it),
		cmocka_unit_test(test_the_holder_renews),
		cmocka_unit_test(test_the_others_wait_for_three_seconds),
		cmocka_unit_test(test_redis_has_lost_it),
		cmocka_unit_test(test_never_two),
	};

	return cmocka_run_group_tests_name("lease", tests, NULL, NULL);
}
