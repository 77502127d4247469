/* base/breaker.c: every state and event in a table, its window and its times by examples, then
 * random walks beside a model that keeps each end of a run in a list and knows no generations.
 */
#include "tests/unit/unit.h"

#include "base/breaker.h"
#include "base/rand.h"

#define START_MS 1000000u
#define CHANCE   1234567u

static const struct base_breaker_conf conf = {
	.window_ms = 10000,
	.calls = 10,
	.failure_percent = 50,
	.consecutive = 3,
	.open_ms = 1000,
	.open_max_ms = 4000,
	.probes = 2,
	.successes = 3,
	.probe_ms = 500,
};

static struct base_breaker fresh(const struct base_breaker_conf *c)
{
	struct base_breaker b;

	base_breaker_init(&b, c ? c : &conf, START_MS);
	base_breaker_check(&b);
	return b;
}

static bool give(
	struct base_breaker *b, uint64_t now, base_breaker_pass pass, enum base_breaker_end end)
{
	bool changed = base_breaker_give(b, now, pass, end, CHANCE);

	base_breaker_check(b);
	return changed;
}

/* One run from its pass to its end. */
static bool run(struct base_breaker *b, uint64_t now, enum base_breaker_end end)
{
	base_breaker_pass pass = base_breaker_take(b, now);

	assert_true(pass != 0);
	return give(b, now, pass, end);
}

static void runs(struct base_breaker *b, uint64_t now, enum base_breaker_end end, int n)
{
	while (n-- > 0)
		run(b, now, end);
}

static void open_it(struct base_breaker *b, uint64_t now)
{
	runs(b, now, BASE_BREAKER_FAILED, 3);
	assert_int_equal(b->state, BASE_BREAKER_OPEN);
}

/* ---- the table ---------------------------------------------------------------- */

/* Where each begins: a step before what would change it, with a pass of before and one of now. */
enum from { CLOSED, OPEN, HALF_OPEN, FORCED_OPEN, FORCED_CLOSED, FROM__N };

struct bench {
	struct base_breaker b;
	base_breaker_pass earlier, current;
	uint64_t early, late; /* around the moment at which something happens by itself */
};

static struct bench set_up(enum from from)
{
	struct bench s = { .b = fresh(NULL) };

	s.earlier = base_breaker_take(&s.b, START_MS);
	s.early = START_MS;
	s.late = START_MS + 100000;
	if (from == CLOSED) {
		assert_false(base_breaker_force(&s.b, START_MS, BASE_BREAKER_AUTO));
		assert_true(base_breaker_force(&s.b, START_MS, BASE_BREAKER_FORCED_OPEN));
		assert_true(base_breaker_force(&s.b, START_MS, BASE_BREAKER_AUTO));
		runs(&s.b, START_MS, BASE_BREAKER_FAILED, 2);
	}
	if (from == OPEN || from == HALF_OPEN) {
		open_it(&s.b, START_MS);
		s.late = s.b.until_ms;
		s.early = s.late - 1;
	}
	if (from == HALF_OPEN) {
		runs(&s.b, s.late, BASE_BREAKER_OK, 2);
		s.current = base_breaker_take(&s.b, s.late);
		s.early = s.late + conf.probe_ms - 1;
		s.late = s.early + 1;
	}
	if (from == FORCED_OPEN)
		base_breaker_force(&s.b, START_MS, BASE_BREAKER_FORCED_OPEN);
	if (from == FORCED_CLOSED)
		base_breaker_force(&s.b, START_MS, BASE_BREAKER_FORCED_CLOSED);
	if (from == CLOSED || from == FORCED_CLOSED)
		s.current = base_breaker_take(&s.b, START_MS);
	if (!s.current) /* nobody was given one: what it would look like */
		s.current = (uint64_t)s.b.generation << 32 | 1;
	base_breaker_check(&s.b);
	return s;
}

static char letter_of(const struct base_breaker *b)
{
	if (b->force != BASE_BREAKER_AUTO)
		return b->force == BASE_BREAKER_FORCED_OPEN ? 'F' : 'L';
	return "COH"[b->state];
}

#define GIVES(X) X(OK) X(FAILED) X(UNKNOWN)

enum event {
	TAKE_EARLY,
	TAKE_LATE,
#define X(end) GIVE_##end, GIVE_##end##_EARLIER, GIVE_##end##_FOREIGN, GIVE_##end##_NONE,
	GIVES(X)
#undef X
		TICK_EARLY,
	TICK_LATE,
	ADOPT_PAST,
	ADOPT_NOW,
	ADOPT_SHORTER,
	ADOPT_LONGER,
	FORCE_AUTO,
	FORCE_OPEN,
	FORCE_CLOSED,
	EVENT__N
};

/* To which state, one letter for each in the order of enum from; '.': no change of state. */
static const char *const table[EVENT__N] = {
	[TAKE_EARLY] = ".....",
	[TAKE_LATE] = ".H...",
	[GIVE_OK] = "..C..",
	[GIVE_OK_EARLIER] = ".....",
	[GIVE_OK_FOREIGN] = ".....",
	[GIVE_OK_NONE] = ".....",
	[GIVE_FAILED] = "O.O..",
	[GIVE_FAILED_EARLIER] = ".....",
	[GIVE_FAILED_FOREIGN] = ".....",
	[GIVE_FAILED_NONE] = ".....",
	[GIVE_UNKNOWN] = ".....",
	[GIVE_UNKNOWN_EARLIER] = ".....",
	[GIVE_UNKNOWN_FOREIGN] = ".....",
	[GIVE_UNKNOWN_NONE] = ".....",
	[TICK_EARLY] = ".....",
	[TICK_LATE] = ".HO..",
	[ADOPT_PAST] = ".....",
	[ADOPT_NOW] = ".....",
	[ADOPT_SHORTER] = "O.O..",
	[ADOPT_LONGER] = "O.O..",
	[FORCE_AUTO] = "...CC",
	[FORCE_OPEN] = "FFF.F",
	[FORCE_CLOSED] = "LLLL.",
};

static bool happen(struct bench *s, enum event event)
{
	static const enum base_breaker_end ends[] = { BASE_BREAKER_OK, BASE_BREAKER_FAILED,
		BASE_BREAKER_UNKNOWN };
	uint64_t until = s->b.until_ms > s->early ? s->b.until_ms : s->early + 100;
	enum base_breaker_state state = s->b.state;

	if (event >= GIVE_OK && event < TICK_EARLY) {
		base_breaker_pass passes[] = { s->current, s->earlier,
			s->current + (UINT64_C(1) << 32), 0 };

		return give(&s->b, s->early, passes[(event - GIVE_OK) % 4],
			ends[(event - GIVE_OK) / 4]);
	}
	switch (event) {
	case TAKE_EARLY:
		base_breaker_take(&s->b, s->early);
		return state != s->b.state;
	case TAKE_LATE:
		base_breaker_take(&s->b, s->late);
		return state != s->b.state;
	case TICK_EARLY:
		return base_breaker_tick(&s->b, s->early, CHANCE);
	case TICK_LATE:
		return base_breaker_tick(&s->b, s->late, CHANCE);
	case ADOPT_PAST:
		return base_breaker_adopt(&s->b, s->early, s->early - 1, 2);
	case ADOPT_NOW:
		return base_breaker_adopt(&s->b, s->early, s->early, 2);
	case ADOPT_SHORTER:
		return base_breaker_adopt(&s->b, s->early, until - 1, 0);
	case ADOPT_LONGER:
		return base_breaker_adopt(&s->b, s->early, until + 1, 7);
	default:
		return base_breaker_force(
			&s->b, s->early, (enum base_breaker_force)(event - FORCE_AUTO));
	}
}

static void every_state_and_event(void **state)
{
	(void)state;
	for (int event = 0; event < EVENT__N; event++) {
		assert_int_equal(strlen(table[event]), FROM__N);
		for (int from = 0; from < FROM__N; from++) {
			struct bench s = set_up((enum from)from);
			uint32_t generation = s.b.generation;
			char before = letter_of(&s.b), want = table[event][from];
			uint64_t total = 0, total_before = 0;
			bool changed;

			for (int i = 0; i < BASE_BREAKER_STATE__N; i++)
				total_before += s.b.transitions[i];
			changed = happen(&s, (enum event)event);
			base_breaker_check(&s.b);
			for (int i = 0; i < BASE_BREAKER_STATE__N; i++)
				total += s.b.transitions[i];
			if (changed != (want != '.') ||
				letter_of(&s.b) != (want == '.' ? before : want))
				fail_msg("event %d in %c: %c, not %c", event, before,
					letter_of(&s.b), want);
			assert_int_equal(s.b.generation != generation, want != '.');
			assert_int_equal(total - total_before, want != '.');
		}
	}
}

static void who_gets_a_pass(void **state)
{
	static const bool early[] = { true, false, true, false, true },
			  late[] = { true, true, true, false, true };

	(void)state;
	for (int from = 0; from < FROM__N; from++) {
		struct bench s = set_up((enum from)from);

		assert_int_equal(base_breaker_lets(&s.b), early[from]);
		assert_int_equal(base_breaker_take(&s.b, s.early) != 0, early[from]);
		s = set_up((enum from)from);
		assert_int_equal(base_breaker_take(&s.b, s.late) != 0, late[from]);
		s = set_up((enum from)from);
		assert_int_equal(base_breaker_wait_ms(&s.b, s.early) == 0, early[from]);
	}
}

/* ---- the window ------------------------------------------------------------------ */

static void count(const struct base_breaker *b, uint64_t now, uint32_t ok, uint32_t failed)
{
	uint32_t is_ok, is_failed;

	base_breaker_window(b, now, &is_ok, &is_failed);
	assert_int_equal(is_ok, ok);
	assert_int_equal(is_failed, failed);
}

static void a_row_of_failures_opens(void **state)
{
	struct base_breaker b = fresh(NULL);

	(void)state;
	runs(&b, START_MS, BASE_BREAKER_FAILED, 2);
	run(&b, START_MS, BASE_BREAKER_UNKNOWN); /* does not break the row */
	assert_int_equal(b.in_row, 2);
	run(&b, START_MS, BASE_BREAKER_OK); /* does */
	runs(&b, START_MS, BASE_BREAKER_FAILED, 2);
	assert_int_equal(b.state, BASE_BREAKER_CLOSED);
	assert_true(run(&b, START_MS, BASE_BREAKER_FAILED));
	assert_int_equal(b.state, BASE_BREAKER_OPEN);
	count(&b, START_MS, 0, 0);
}

static void a_share_of_failures_opens(void **state)
{
	struct base_breaker_conf c = conf;
	struct base_breaker b;

	(void)state;
	c.consecutive = 0; /* never by the row */
	b = fresh(&c);
	runs(&b, START_MS, BASE_BREAKER_FAILED, 9); /* one fewer than calls */
	assert_int_equal(b.state, BASE_BREAKER_CLOSED);
	assert_true(run(&b, START_MS, BASE_BREAKER_FAILED));

	b = fresh(&c);
	runs(&b, START_MS, BASE_BREAKER_OK, 11);
	runs(&b, START_MS, BASE_BREAKER_FAILED, 10); /* 10 of 21 */
	assert_int_equal(b.state, BASE_BREAKER_CLOSED);
	assert_true(run(&b, START_MS, BASE_BREAKER_FAILED)); /* 11 of 22 */

	c.failure_percent = 100;
	b = fresh(&c);
	run(&b, START_MS, BASE_BREAKER_OK);
	runs(&b, START_MS, BASE_BREAKER_FAILED, 1000);
	assert_int_equal(b.state, BASE_BREAKER_CLOSED);
	count(&b, START_MS, 1, 1000);
}

static void what_is_old_leaves_the_window(void **state)
{
	struct base_breaker_conf c = conf;
	struct base_breaker b;

	(void)state;
	c.consecutive = 0;
	b = fresh(&c);
	runs(&b, START_MS, BASE_BREAKER_FAILED, 9);
	count(&b, START_MS + 9999, 0, 9); /* the last moment of the tenth bucket */
	count(&b, START_MS + 10000, 0, 0);
	run(&b, START_MS + 10000, BASE_BREAKER_FAILED);
	assert_int_equal(b.state, BASE_BREAKER_CLOSED);
	count(&b, START_MS + 10000, 0, 1);
	/* One each second: ten of them stay. */
	for (uint64_t now = START_MS + 20000; now < START_MS + 60000; now += 1000)
		run(&b, now, BASE_BREAKER_OK);
	count(&b, START_MS + 59999, 10, 0);
	count(&b, START_MS + 60000, 9, 0);
	count(&b, START_MS + 68999, 1, 0);
	count(&b, UINT64_MAX / 2, 0, 0);
}

/* ---- times ------------------------------------------------------------------------ */

static void it_opens_for_longer_each_time(void **state)
{
	static const uint64_t lengths[] = { 1000, 2000, 4000, 4000, 4000 };
	struct base_breaker b = fresh(NULL);
	uint64_t now = START_MS;

	(void)state;
	open_it(&b, now);
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		assert_int_equal(b.openings, i + 1);
		assert_in_range(b.until_ms - now, lengths[i] * 9 / 10, lengths[i] * 11 / 10);
		assert_int_equal(base_breaker_wait_ms(&b, now), b.until_ms - now);
		assert_int_equal(base_breaker_due(&b), b.until_ms);
		now = b.until_ms;
		assert_false(base_breaker_tick(&b, now - 1, 0));
		assert_true(base_breaker_tick(&b, now, 0));
		assert_int_equal(b.state, BASE_BREAKER_HALF_OPEN);
		assert_true(run(&b, now, BASE_BREAKER_FAILED));
	}
	assert_true(base_breaker_tick(&b, b.until_ms, 0));
	runs(&b, b.until_ms, BASE_BREAKER_OK, 3);
	assert_int_equal(b.state, BASE_BREAKER_CLOSED);
	now = b.until_ms;
	open_it(&b, now); /* it was closed: from the beginning */
	assert_in_range(b.until_ms - now, 900, 1100);
}

static void a_tenth_more_or_less(void **state)
{
	uint64_t least = UINT64_MAX, most = 0;
	struct base_rand rand;

	(void)state;
	base_rand_init(&rand, 5);
	for (int i = 0; i < 20000; i++) {
		struct base_breaker b = fresh(NULL);
		uint64_t length;

		runs(&b, START_MS, BASE_BREAKER_FAILED, 2);
		base_breaker_give(&b, START_MS, base_breaker_take(&b, START_MS),
			BASE_BREAKER_FAILED, (uint32_t)base_rand_next(&rand));
		length = b.until_ms - START_MS;
		assert_in_range(length, 900, 1100);
		least = length < least ? length : least;
		most = length > most ? length : most;
	}
	assert_int_equal(least, 900);
	assert_int_equal(most, 1100);
}

/* ---- probes ----------------------------------------------------------------------- */

static struct base_breaker half_open(const struct base_breaker_conf *c, uint64_t *now)
{
	struct base_breaker b = fresh(c);

	runs(&b, START_MS, BASE_BREAKER_FAILED, 3);
	*now = b.until_ms;
	assert_true(base_breaker_tick(&b, *now, 0));
	return b;
}

static void so_many_probes_at_a_time(void **state)
{
	base_breaker_pass a, z;
	uint64_t now;
	struct base_breaker b = half_open(NULL, &now);

	(void)state;
	a = base_breaker_take(&b, now);
	z = base_breaker_take(&b, now);
	assert_true(a && z && a != z);
	assert_false(base_breaker_lets(&b));
	assert_int_equal(base_breaker_take(&b, now), 0);
	assert_true(base_breaker_wait_ms(&b, now) > 0);
	assert_int_equal(base_breaker_probing(&b), 2);
	assert_false(give(&b, now, a, BASE_BREAKER_UNKNOWN)); /* the place, and nothing else */
	assert_int_equal(b.in_row, 0);
	assert_false(give(&b, now, a, BASE_BREAKER_OK)); /* once */
	assert_int_equal(b.in_row, 0);
	assert_int_equal(base_breaker_probing(&b), 1);
	assert_true(base_breaker_take(&b, now) != 0);
	assert_true(give(&b, now, z, BASE_BREAKER_FAILED));
	assert_int_equal(base_breaker_probing(&b), 0);
}

static void a_lost_probe_expires(void **state)
{
	base_breaker_pass a, z;
	uint64_t now;
	struct base_breaker b = half_open(NULL, &now);

	(void)state;
	a = base_breaker_take(&b, now);
	z = base_breaker_take(&b, now + 100);
	assert_int_equal(base_breaker_due(&b), now + 500);
	give(&b, now + 200, a, BASE_BREAKER_OK);
	assert_int_equal(base_breaker_due(&b), now + 600);
	assert_false(base_breaker_tick(&b, now + 599, 0));
	assert_true(base_breaker_tick(&b, now + 600, 0));
	assert_int_equal(b.state, BASE_BREAKER_OPEN);
	assert_int_equal(b.openings, 2);
	assert_false(give(&b, now + 700, z, BASE_BREAKER_OK)); /* it comes after all */
	assert_int_equal(b.state, BASE_BREAKER_OPEN);

	b = half_open(NULL, &now); /* and when it comes before the tick */
	a = base_breaker_take(&b, now);
	assert_true(give(&b, now + 500, a, BASE_BREAKER_OK));
	assert_int_equal(b.state, BASE_BREAKER_OPEN);
}

static void what_was_begun_before_says_nothing_after(void **state)
{
	uint64_t now;
	struct base_breaker b = fresh(NULL);
	base_breaker_pass old = base_breaker_take(&b, START_MS);

	(void)state;
	open_it(&b, START_MS);
	now = b.until_ms;
	base_breaker_tick(&b, now, 0);
	for (int i = 0; i < 10; i++)
		assert_false(give(&b, now, old, i % 2 ? BASE_BREAKER_OK : BASE_BREAKER_FAILED));
	assert_int_equal(b.state, BASE_BREAKER_HALF_OPEN);
	assert_int_equal(b.in_row, 0);
	runs(&b, now, BASE_BREAKER_OK, 3);
	for (int i = 0; i < 10; i++)
		assert_false(give(&b, now, old, BASE_BREAKER_FAILED));
	assert_int_equal(b.state, BASE_BREAKER_CLOSED);
	count(&b, now, 0, 0);
}

/* Passes that nobody was given, with the generation of now. */
static void what_is_no_pass_does_nothing(void **state)
{
	uint64_t now;
	struct base_breaker b = fresh(NULL);
	uint64_t until;

	(void)state;
	open_it(&b, START_MS);
	until = b.until_ms;
	for (uint64_t i = 0; i < 20; i++)
		assert_false(
			give(&b, START_MS, (uint64_t)b.generation << 32 | i, BASE_BREAKER_FAILED));
	assert_int_equal(b.openings, 1);
	assert_int_equal(b.until_ms, until);
	count(&b, START_MS, 0, 0);
	b = half_open(NULL, &now);
	for (int i = 0; i < 20; i++)
		assert_false(give(&b, now, (uint64_t)b.generation << 32, BASE_BREAKER_OK));
	assert_int_equal(b.in_row, 0);
}

/* ---- others' openings, other settings ---------------------------------------------- */

static void others_openings(void **state)
{
	struct base_breaker b = fresh(NULL);

	(void)state;
	assert_true(base_breaker_adopt(&b, START_MS, START_MS + 2000, 3));
	assert_int_equal(b.until_ms, START_MS + 2000);
	assert_int_equal(b.openings, 3);
	assert_false(base_breaker_adopt(&b, START_MS, START_MS + 1000, 1)); /* ours is longer */
	assert_int_equal(b.until_ms, START_MS + 2000);
	assert_int_equal(b.openings, 3);
	assert_false(base_breaker_adopt(&b, START_MS, START_MS + 3000, 1));
	assert_int_equal(b.until_ms, START_MS + 3000);
	assert_false(
		base_breaker_adopt(&b, START_MS, UINT64_MAX, UINT32_MAX)); /* as long as may be */
	assert_int_equal(b.until_ms, START_MS + 4400);
	base_breaker_check(&b);
	assert_true(base_breaker_tick(&b, b.until_ms, 0));
	assert_true(run(&b, b.until_ms, BASE_BREAKER_FAILED)); /* neither overflow nor for ever */
	assert_int_equal(b.openings, UINT32_MAX);

	b = fresh(NULL);
	assert_true(base_breaker_adopt(&b, START_MS, START_MS + 100, 0));
	assert_int_equal(b.openings, 1);
	base_breaker_check(&b);
}

static void other_settings_keep_the_state(void **state)
{
	struct base_breaker_conf c = conf;
	uint64_t now;
	struct base_breaker b = fresh(NULL);

	(void)state;
	runs(&b, START_MS, BASE_BREAKER_FAILED, 2);
	c.consecutive = 1; /* fewer than there are: the next one decides */
	base_breaker_set(&b, &c);
	base_breaker_check(&b);
	assert_int_equal(b.state, BASE_BREAKER_CLOSED);
	count(&b, START_MS, 0, 2);
	assert_true(run(&b, START_MS, BASE_BREAKER_FAILED));

	b = half_open(NULL, &now);
	runs(&b, now, BASE_BREAKER_OK, 2);
	assert_true(base_breaker_take(&b, now) && base_breaker_take(&b, now));
	c = conf;
	c.probes = c.successes = 1;
	base_breaker_set(&b, &c);
	base_breaker_check(&b);
	assert_int_equal(b.state, BASE_BREAKER_HALF_OPEN);
	assert_int_equal(base_breaker_probing(&b), 2); /* they go on */
	assert_false(base_breaker_lets(&b));

	b = fresh(NULL);
	runs(&b, START_MS, BASE_BREAKER_FAILED, 2);
	c = conf;
	c.window_ms = 60000; /* its buckets are of another width */
	base_breaker_set(&b, &c);
	count(&b, START_MS, 0, 0);
	run(&b, START_MS, BASE_BREAKER_OK);
	count(&b, START_MS + 54000, 1, 0);
}

static void settings_out_of_bounds(void **state)
{
	struct base_breaker_conf c = { .probes = 1000, .failure_percent = 1000 };
	struct base_breaker b = fresh(&c);

	(void)state;
	assert_int_equal(b.conf.probes, BASE_BREAKER_PROBES);
	assert_int_equal(b.conf.failure_percent, 100);
	assert_true(run(&b, START_MS, BASE_BREAKER_FAILED)); /* calls 1, 100 percent */
	assert_true(b.until_ms >= START_MS && b.conf.open_max_ms >= b.conf.open_ms);
	assert_true(base_breaker_tick(&b, b.until_ms, 0));
	assert_true(run(&b, b.until_ms + 1, BASE_BREAKER_FAILED) || b.state == BASE_BREAKER_OPEN);
	base_breaker_check(&b);
}

static void the_generation_goes_around(void **state)
{
	struct base_breaker b = fresh(NULL);

	(void)state;
	b.generation = UINT32_MAX;
	open_it(&b, START_MS);
	base_breaker_check(&b);
	assert_int_equal(b.generation, 1); /* 0 is no pass */
}

static void states_have_names(void **state)
{
	(void)state;
	assert_string_equal(base_breaker_state_name(BASE_BREAKER_CLOSED), "closed");
	assert_string_equal(base_breaker_state_name(BASE_BREAKER_OPEN), "open");
	assert_string_equal(base_breaker_state_name(BASE_BREAKER_HALF_OPEN), "half-open");
}

/* ---- random walks --------------------------------------------------------------------- */

#define WALKS    300
#define STEPS    400
#define MAX_ENDS (STEPS + 1)
#define MAX_HELD 64

/* A run that somebody holds: which life of the breaker it was begun in. */
struct held {
	base_breaker_pass pass;
	uint32_t life;
	uint64_t since;
};

/* What the essay says, kept another way: every end with its time, every probe with its own. */
struct model {
	struct base_breaker_conf conf;
	char state; /* C O H F L */
	uint32_t life, openings, row;
	uint64_t until;
	struct {
		uint64_t at;
		bool failed;
	} ends[MAX_ENDS];
	size_t n_ends;
	struct held held[MAX_HELD];
	size_t n_held;
};

static void enter(struct model *m, char state)
{
	m->state = state;
	m->life++;
	m->row = 0;
	m->n_ends = 0;
	if (state == 'C' || state == 'F' || state == 'L')
		m->openings = 0;
}

/* Its length is checked where it is chosen, and taken from there. */
static void model_opens(struct model *m, const struct base_breaker *b, uint64_t now)
{
	uint64_t length = m->conf.open_ms;

	enter(m, 'O');
	m->openings++;
	for (uint32_t i = 1; i < m->openings; i++)
		length = length * 2 < m->conf.open_max_ms ? length * 2 : m->conf.open_max_ms;
	assert_in_range(b->until_ms - now, length * 9 / 10, length * 11 / 10 + 1);
	m->until = b->until_ms;
}

static void model_counts(const struct model *m, uint64_t now, uint32_t *ok, uint32_t *failed)
{
	uint64_t width = m->conf.window_ms / 10;

	*ok = *failed = 0;
	for (size_t i = 0; i < m->n_ends; i++)
		if (m->ends[i].at / width + 10 > now / width)
			(*(m->ends[i].failed ? failed : ok))++;
}

static uint32_t model_probing(const struct model *m)
{
	uint32_t n = 0;

	for (size_t i = 0; i < m->n_held; i++)
		n += m->state == 'H' && m->held[i].life == m->life;
	return n;
}

static void model_ends(struct model *m, const struct base_breaker *b, uint64_t now,
	const struct held *h, enum base_breaker_end end)
{
	uint32_t ok, failed;

	if (h->life != m->life || end == BASE_BREAKER_UNKNOWN)
		if (!(h->life == m->life && m->state == 'H' && now - h->since >= m->conf.probe_ms))
			return;
	if (m->state == 'H') {
		if (end == BASE_BREAKER_FAILED || now - h->since >= m->conf.probe_ms)
			model_opens(m, b, now);
		else if (++m->row == m->conf.successes)
			enter(m, 'C');
		return;
	}
	if (m->state != 'C')
		return;
	m->ends[m->n_ends].at = now;
	m->ends[m->n_ends++].failed = end == BASE_BREAKER_FAILED;
	m->row = end == BASE_BREAKER_FAILED ? m->row + 1 : 0;
	model_counts(m, now, &ok, &failed);
	if (end == BASE_BREAKER_FAILED &&
		((m->conf.consecutive && m->row >= m->conf.consecutive) ||
			(ok + failed >= m->conf.calls &&
				failed * 100 >= m->conf.failure_percent * (ok + failed))))
		model_opens(m, b, now);
}

static void model_ticks(struct model *m, const struct base_breaker *b, uint64_t now)
{
	if (m->state == 'O' && now >= m->until) {
		enter(m, 'H');
		return;
	}
	for (size_t i = 0; i < m->n_held; i++)
		if (m->state == 'H' && m->held[i].life == m->life &&
			now - m->held[i].since >= m->conf.probe_ms) {
			model_opens(m, b, now);
			return;
		}
}

static void compare(const struct model *m, const struct base_breaker *b, uint64_t now)
{
	uint32_t ok, failed, is_ok, is_failed;
	bool lets = m->state == 'C' || m->state == 'L' ||
		    (m->state == 'H' && model_probing(m) < m->conf.probes);

	base_breaker_check(b);
	assert_int_equal(letter_of(b), m->state);
	assert_int_equal(b->openings, m->openings);
	assert_int_equal(base_breaker_probing(b), model_probing(m));
	assert_int_equal(base_breaker_lets(b), lets);
	assert_int_equal(base_breaker_wait_ms(b, now) == 0, lets);
	model_counts(m, now, &ok, &failed);
	base_breaker_window(b, now, &is_ok, &is_failed);
	assert_int_equal(is_ok, ok);
	assert_int_equal(is_failed, failed);
	if (m->state == 'O')
		assert_int_equal(b->until_ms, m->until);
}

static void step_take(struct model *m, struct base_breaker *b, uint64_t now)
{
	base_breaker_pass pass;
	bool could;

	if (m->n_held == MAX_HELD)
		return;
	if (m->state == 'O' && now >= m->until)
		enter(m, 'H');
	could = m->state == 'C' || m->state == 'L' ||
		(m->state == 'H' && model_probing(m) < m->conf.probes);
	if (base_breaker_is_calm(b) && now % 2) /* the short way is the same way */
		pass = base_breaker_take_calm(b);
	else
		pass = base_breaker_take(b, now);
	assert_int_equal(pass != 0, could);
	if (pass)
		m->held[m->n_held++] = (struct held){ pass, m->life, now };
}

static void step_give(struct model *m, struct base_breaker *b, struct base_rand *rand, uint64_t now,
	uint32_t sickness)
{
	uint32_t dice = (uint32_t)base_rand_below(rand, 100);
	enum base_breaker_end end = dice < sickness ? BASE_BREAKER_FAILED
				    : dice < 95     ? BASE_BREAKER_OK
						    : BASE_BREAKER_UNKNOWN;
	uint32_t life = m->life;
	struct held h;
	size_t i;
	bool changed;

	if (m->n_held == 0)
		return;
	i = (size_t)base_rand_below(rand, m->n_held);
	h = m->held[i];
	m->held[i] = m->held[--m->n_held];
	if (end == BASE_BREAKER_OK && now % 2 && base_breaker_give_ok(b, now, h.pass))
		changed = false;
	else
		changed = base_breaker_give(b, now, h.pass, end, (uint32_t)base_rand_next(rand));
	model_ends(m, b, now, &h, end);
	assert_int_equal(changed, m->life != life);
}

static void step_tick(struct model *m, struct base_breaker *b, struct base_rand *rand, uint64_t now)
{
	bool changed = base_breaker_tick(b, now, (uint32_t)base_rand_next(rand));
	uint32_t life = m->life;

	model_ticks(m, b, now);
	assert_int_equal(changed, m->life != life);
}

static void step_adopt(
	struct model *m, struct base_breaker *b, struct base_rand *rand, uint64_t now)
{
	uint64_t until = now - 100 + base_rand_below(rand, 2 * m->conf.open_max_ms);
	uint32_t openings = (uint32_t)base_rand_below(rand, 6), before = m->openings;
	uint64_t most = now + m->conf.open_max_ms + m->conf.open_max_ms / 10;

	base_breaker_adopt(b, now, until, openings);
	if (until <= now || m->state == 'F' || m->state == 'L')
		return;
	until = until < most ? until : most;
	if (m->state != 'O') {
		enter(m, 'O');
		m->until = until;
	} else if (until > m->until) {
		m->until = until;
	}
	m->openings = openings > before ? openings : before;
	m->openings = m->openings ? m->openings : 1;
}

static void step_force(
	struct model *m, struct base_breaker *b, struct base_rand *rand, uint64_t now)
{
	enum base_breaker_force force = (enum base_breaker_force)base_rand_below(rand, 3);
	char now_forced = m->state == 'F' || m->state == 'L' ? m->state : 'C';

	base_breaker_force(b, now, force);
	if (now_forced != "CFL"[force])
		enter(m, "CFL"[force]);
}

static void walk(uint64_t seed)
{
	struct base_rand rand;
	static struct model m;
	struct base_breaker b;
	uint64_t now = START_MS;
	uint32_t sickness;

	base_rand_init(&rand, seed);
	m = (struct model){ .conf = conf, .state = 'C', .life = 1 };
	m.conf.consecutive = (uint32_t)base_rand_below(&rand, 6);
	m.conf.probes = 1 + (uint32_t)base_rand_below(&rand, BASE_BREAKER_PROBES);
	m.conf.calls = 1 + (uint32_t)base_rand_below(&rand, 30);
	sickness = (uint32_t)base_rand_below(&rand, 95);
	base_breaker_init(&b, &m.conf, now);
	for (int i = 0; i < STEPS; i++) {
		uint32_t dice = (uint32_t)base_rand_below(&rand, 1000);

		if (dice < 450) {
			step_take(&m, &b, now);
		} else if (dice < 850) {
			step_give(&m, &b, &rand, now, sickness);
		} else if (dice < 980) {
			now += base_rand_below(&rand, dice < 960 ? 300 : 5000);
			step_tick(&m, &b, &rand, now);
		} else if (dice < 993) {
			step_adopt(&m, &b, &rand, now);
		} else {
			step_force(&m, &b, &rand, now);
		}
		compare(&m, &b, now);
		if (base_rand_below(&rand, 100) == 0)
			sickness = (uint32_t)base_rand_below(&rand, 95);
	}
}

static void random_walks(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= WALKS; seed++)
		walk(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_and_event),
		cmocka_unit_test(who_gets_a_pass),
		cmocka_unit_test(a_row_of_failures_opens),
		cmocka_unit_test(a_share_of_failures_opens),
		cmocka_unit_test(what_is_old_leaves_the_window),
		cmocka_unit_test(it_opens_for_longer_each_time),
		cmocka_unit_test(a_tenth_more_or_less),
		cmocka_unit_test(so_many_probes_at_a_time),
		cmocka_unit_test(a_lost_probe_expires),
		cmocka_unit_test(what_was_begun_before_says_nothing_after),
		cmocka_unit_test(what_is_no_pass_does_nothing),
		cmocka_unit_test(others_openings),
		cmocka_unit_test(other_settings_keep_the_state),
		cmocka_unit_test(settings_out_of_bounds),
		cmocka_unit_test(the_generation_goes_around),
		cmocka_unit_test(states_have_names),
		cmocka_unit_test(random_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
