/* worker/credit.c: sharing and moving by examples, then random brokers against the
 * invariant of credit.h. The brokers here do what PROTOCOL.md asks of them.
 */
#include "tests/unit/unit.h"

#include "base/rand.h"
#include "worker/credit.h"

/* ---- examples --------------------------------------------------------------- */

static uint64_t told(struct wrk_credit *c, uint32_t link)
{
	uint64_t granted, found = UINT64_MAX;
	uint32_t at;

	while (wrk_credit_next(c, &at, &granted))
		if (at == link)
			found = granted;
	return found;
}

static void first_broker_gets_all(void **state)
{
	struct wrk_credit c;

	(void)state;
	wrk_credit_init(&c, 32);
	wrk_credit_up(&c, 3);
	assert_int_equal(told(&c, 3), 32);
	assert_int_equal(told(&c, 3), UINT64_MAX); /* once */
}

static void result_gives_back_to_where_it_came_from(void **state)
{
	struct wrk_credit c;

	(void)state;
	wrk_credit_init(&c, 2);
	wrk_credit_up(&c, 0);
	(void)told(&c, 0);
	assert_true(wrk_credit_dispatch(&c, 0));
	assert_true(wrk_credit_dispatch(&c, 0));
	assert_false(wrk_credit_dispatch(&c, 0)); /* more than it was granted */
	wrk_credit_result(&c, 0);
	wrk_credit_result(&c, 0);
	wrk_credit_result(&c, 0);
	assert_int_equal(wrk_credit_free(&c, 0), 2);
	assert_int_equal(told(&c, 0), 5); /* three were used, two are free */
}

static void second_broker_gets_its_share(void **state)
{
	struct wrk_credit c;

	(void)state;
	wrk_credit_init(&c, 10);
	wrk_credit_up(&c, 0);
	(void)told(&c, 0);
	wrk_credit_up(&c, 1);
	assert_int_equal(told(&c, 0), 5); /* asked to go down */
	assert_int_equal(wrk_credit_free(&c, 1), 0);
	wrk_credit_lowered(&c, 0, 5, 0);
	assert_int_equal(told(&c, 1), 5);
}

/* Both come up before anybody was told anything: the first is told of its gift, then asked. */
static void gift_is_told_before_it_is_asked_back(void **state)
{
	struct wrk_credit c;
	uint64_t granted;
	uint32_t link;

	(void)state;
	wrk_credit_init(&c, 10);
	wrk_credit_up(&c, 0);
	wrk_credit_up(&c, 1);
	assert_true(wrk_credit_next(&c, &link, &granted));
	assert_int_equal(link, 0);
	assert_int_equal(granted, 10);
	assert_true(wrk_credit_next(&c, &link, &granted));
	assert_int_equal(link, 0);
	assert_int_equal(granted, 5);
	assert_false(wrk_credit_next(&c, &link, &granted));
	wrk_credit_lowered(&c, 0, 5, 0);
	assert_int_equal(wrk_credit_free(&c, 0), 5);
	assert_int_equal(wrk_credit_free(&c, 1), 5);
}

static void credit_moves_to_the_backlog(void **state)
{
	struct wrk_credit c;

	(void)state;
	wrk_credit_init(&c, 1);
	wrk_credit_up(&c, 0);
	(void)told(&c, 0);
	wrk_credit_up(&c, 1);
	assert_int_equal(told(&c, 1), UINT64_MAX);
	wrk_credit_report(&c, 1, 7);
	assert_int_equal(told(&c, 0), 0);
	assert_int_equal(wrk_credit_free(&c, 1), 0); /* not before the answer */
	wrk_credit_lowered(&c, 0, 0, 0);
	assert_int_equal(told(&c, 1), 1);
}

static void credit_that_was_used_meanwhile_does_not_move(void **state)
{
	struct wrk_credit c;

	(void)state;
	wrk_credit_init(&c, 1);
	wrk_credit_up(&c, 0);
	(void)told(&c, 0);
	wrk_credit_up(&c, 1);
	wrk_credit_report(&c, 1, 7);
	assert_int_equal(told(&c, 0), 0);
	assert_true(wrk_credit_dispatch(&c, 0)); /* it has crossed the question */
	wrk_credit_lowered(&c, 0, 0, 0);
	assert_int_equal(told(&c, 1), UINT64_MAX);
	wrk_credit_result(&c, 0);
	assert_int_equal(told(&c, 1), 1);
}

/* Concurrency 1, two brokers that always have work: they take turns. */
static void lone_credit_takes_turns(void **state)
{
	uint64_t granted[2] = { 0 }, used[2] = { 0 };
	struct wrk_credit c;

	(void)state;
	wrk_credit_init(&c, 1);
	wrk_credit_up(&c, 0);
	wrk_credit_up(&c, 1);
	for (int i = 0; i < 1000; i++) {
		uint32_t link;
		uint64_t value;

		for (uint32_t k = 0; k < 2; k++)
			wrk_credit_report(&c, k, 5);
		while (wrk_credit_next(&c, &link, &value)) {
			bool lowered = value < granted[link];

			granted[link] = value;
			if (lowered)
				wrk_credit_lowered(&c, link, value, 5);
		}
		for (uint32_t k = 0; k < 2; k++) {
			if (granted[k] <= used[k])
				continue;
			used[k]++;
			assert_true(wrk_credit_dispatch(&c, k));
			wrk_credit_result(&c, k);
		}
	}
	assert_true(used[0] > 400 && used[1] > 400);
}

/* A broker whose callers come back at once has a backlog as long as before, and does not tell it again. */
static void steady_backlog_is_not_forgotten(void **state)
{
	struct wrk_credit c;

	(void)state;
	wrk_credit_init(&c, 1);
	wrk_credit_up(&c, 0);
	wrk_credit_up(&c, 1);
	(void)told(&c, 0);
	wrk_credit_report(&c, 1, 2);
	assert_int_equal(told(&c, 0), 0);
	wrk_credit_lowered(&c, 0, 0, 0);
	for (uint64_t i = 1; i <= 5; i++) {
		assert_int_equal(told(&c, 1), i);
		assert_true(wrk_credit_dispatch(&c, 1));
		wrk_credit_result(&c, 1);
	}
	assert_true(wrk_credit_dispatch(&c, 1));
	wrk_credit_report(&c, 0, 1);
	wrk_credit_result(&c, 1); /* the other one's turn */
	assert_int_equal(told(&c, 0), 1);
	assert_true(wrk_credit_dispatch(&c, 0));
	wrk_credit_report(&c, 0, 0);
	wrk_credit_result(&c, 0);
	assert_int_equal(told(&c, 1), 7); /* and back to who still has a backlog of 2 */
}

static void lost_broker_gives_its_free_credit_back(void **state)
{
	struct wrk_credit c;

	(void)state;
	wrk_credit_init(&c, 4);
	wrk_credit_up(&c, 0);
	wrk_credit_up(&c, 1);
	(void)told(&c, 0);
	wrk_credit_lowered(&c, 0, 2, 0);
	assert_true(wrk_credit_dispatch(&c, 0));
	wrk_credit_down(&c, 0);
	assert_int_equal(wrk_credit_free(&c, 1), 3); /* one run of the lost one is under way */
	wrk_credit_result(&c, WRK_CREDIT_NONE);
	assert_int_equal(wrk_credit_free(&c, 1), 4);
}

static void stopped_grants_nothing(void **state)
{
	struct wrk_credit c;

	(void)state;
	wrk_credit_init(&c, 4);
	wrk_credit_up(&c, 0);
	(void)told(&c, 0);
	assert_true(wrk_credit_dispatch(&c, 0));
	wrk_credit_stop(&c);
	wrk_credit_result(&c, 0);
	wrk_credit_up(&c, 1);
	assert_int_equal(told(&c, 0), UINT64_MAX);
	assert_int_equal(wrk_credit_free(&c, 1), 0);
}

/* ---- random brokers --------------------------------------------------------- */

#define BROKERS 4
#define CHANNEL 512

enum what { TO_BROKER_CREDIT, TO_WORKER_DISPATCH, TO_WORKER_ANSWER, TO_WORKER_NOTICE };

struct message {
	enum what what;
	uint64_t granted, waiting;
};

/* First in, first out, as a connection. */
struct channel {
	struct message list[CHANNEL];
	unsigned from, n;
};

struct broker {
	bool up;
	uint64_t granted, used, waiting, told_waiting;
	unsigned running; /* with the worker */
	struct channel to_worker, to_broker;
};

struct world {
	struct base_rand rand;
	struct wrk_credit credit;
	struct broker brokers[BROKERS];
	unsigned strangers; /* runs of brokers that fell */
	uint64_t submitted, done, lost;
};

static void put(struct channel *c, enum what what, uint64_t granted, uint64_t waiting)
{
	assert_true(c->n < CHANNEL);
	c->list[(c->from + c->n++) % CHANNEL] = (struct message){ what, granted, waiting };
}

static bool take(struct channel *c, struct message *m)
{
	if (c->n == 0)
		return false;
	*m = c->list[c->from];
	c->from = (c->from + 1) % CHANNEL;
	c->n--;
	return true;
}

/* What this broker may still bring about: dispatches on their way, and what it was or is being granted. */
static uint64_t reach(const struct broker *b)
{
	uint64_t most = b->granted, on_the_way = 0;

	for (unsigned i = 0; i < b->to_broker.n; i++) {
		const struct message *m = &b->to_broker.list[(b->to_broker.from + i) % CHANNEL];

		if (m->granted > most)
			most = m->granted;
	}
	for (unsigned i = 0; i < b->to_worker.n; i++)
		on_the_way += b->to_worker.list[(b->to_worker.from + i) % CHANNEL].what == TO_WORKER_DISPATCH;
	return b->running + on_the_way + (most > b->used ? most - b->used : 0);
}

static void check(const struct world *w)
{
	uint64_t sum = w->strangers;

	for (unsigned i = 0; i < BROKERS; i++)
		if (w->brokers[i].up)
			sum += reach(&w->brokers[i]);
	assert_true(sum <= w->credit.total);
	wrk_credit_check(&w->credit);
}

/* The worker's turn ends: what changed is told. */
static void flush(struct world *w)
{
	uint64_t granted;
	uint32_t link;

	while (wrk_credit_next(&w->credit, &link, &granted))
		put(&w->brokers[link].to_broker, TO_BROKER_CREDIT, granted, 0);
}

static void broker_dispatch(struct broker *b)
{
	while (b->waiting > 0 && b->used < b->granted) {
		b->waiting--;
		b->used++;
		put(&b->to_worker, TO_WORKER_DISPATCH, 0, 0);
	}
}

/* Now and then, and only what differs from what it told last. */
static void broker_notice(struct broker *b)
{
	if ((b->waiting > 0 && b->used < b->granted) || b->told_waiting == b->waiting)
		return;
	put(&b->to_worker, TO_WORKER_NOTICE, b->granted, b->waiting);
	b->told_waiting = b->waiting;
}

static void broker_read(struct broker *b)
{
	struct message m;

	if (!take(&b->to_broker, &m))
		return;
	if (m.granted < b->granted) {
		b->granted = m.granted;
		put(&b->to_worker, TO_WORKER_ANSWER, b->granted, b->waiting);
		b->told_waiting = b->waiting;
	}
	b->granted = m.granted;
	broker_dispatch(b);
}

static void worker_read(struct world *w, uint32_t i)
{
	struct broker *b = &w->brokers[i];
	struct message m;

	if (!take(&b->to_worker, &m))
		return;
	if (m.what == TO_WORKER_DISPATCH) {
		assert_true(wrk_credit_dispatch(&w->credit, i));
		b->running++;
	} else if (m.what == TO_WORKER_ANSWER) {
		wrk_credit_lowered(&w->credit, i, m.granted, m.waiting);
	} else {
		wrk_credit_report(&w->credit, i, m.waiting);
	}
	flush(w);
}

static void run_ends(struct world *w, uint32_t i)
{
	struct broker *b = &w->brokers[i];

	if (b->running == 0)
		return;
	b->running--;
	w->done++;
	wrk_credit_result(&w->credit, i);
	if (base_rand_below(&w->rand, 2) == 0) /* turns sum up */
		flush(w);
}

static void stranger_ends(struct world *w)
{
	if (w->strangers == 0)
		return;
	w->strangers--;
	w->done++;
	wrk_credit_result(&w->credit, WRK_CREDIT_NONE);
	flush(w);
}

static void go_up(struct world *w, uint32_t i)
{
	w->brokers[i] = (struct broker){ .up = true, .waiting = w->brokers[i].waiting };
	wrk_credit_up(&w->credit, i);
	flush(w);
	broker_dispatch(&w->brokers[i]);
}

static void go_down(struct world *w, uint32_t i)
{
	struct broker *b = &w->brokers[i];
	struct message m;

	while (take(&b->to_worker, &m))
		w->lost += m.what == TO_WORKER_DISPATCH;
	w->strangers += b->running;
	b->up = false;
	wrk_credit_down(&w->credit, i);
	flush(w);
}

static void submit(struct world *w, struct broker *b)
{
	uint64_t n = 1 + base_rand_below(&w->rand, 6);
	b->waiting += n;
	w->submitted += n;
	if (b->up)
		broker_dispatch(b);
}

static void step(struct world *w, bool faults)
{
	uint32_t i = (uint32_t)base_rand_below(&w->rand, BROKERS);
	struct broker *b = &w->brokers[i];
	uint64_t chance = base_rand_below(&w->rand, 100);

	if (chance < 2 && faults)
		b->up ? go_down(w, i) : go_up(w, i);
	else if (chance < 12 && faults)
		submit(w, b);
	else if (chance < 16)
		stranger_ends(w);
	else if (chance < 20)
		flush(w);
	else if (!b->up)
		return;
	else if (chance < 25)
		broker_notice(b);
	else if (chance < 45)
		broker_read(b);
	else if (chance < 75)
		worker_read(w, i);
	else
		run_ends(w, i);
	check(w);
}

static bool is_quiet(const struct world *w)
{
	if (w->strangers > 0)
		return false;
	for (unsigned i = 0; i < BROKERS; i++) {
		const struct broker *b = &w->brokers[i];

		if (b->waiting > 0 || b->running > 0 || b->to_worker.n > 0 || b->to_broker.n > 0)
			return false;
	}
	return true;
}

static void play(uint64_t seed, uint32_t total)
{
	struct world *w = calloc(1, sizeof *w);

	base_rand_init(&w->rand, seed);
	wrk_credit_init(&w->credit, total);
	for (int i = 0; i < 4000; i++)
		step(w, true);
	for (uint32_t i = 0; i < BROKERS; i++)
		if (!w->brokers[i].up)
			go_up(w, i);
	for (int i = 0; i < 1000000 && !is_quiet(w); i++) /* whatever waits gets its turn */
		step(w, false);
	if (!is_quiet(w) || w->done + w->lost != w->submitted)
		fail_msg("seed %llu, total %u: %llu submitted, %llu done, %llu lost", (unsigned long long)seed, total,
		         (unsigned long long)w->submitted, (unsigned long long)w->done, (unsigned long long)w->lost);
	free(w);
}

static const uint32_t totals[] = { 1, 2, 3, 8, 64 };

static void random_brokers_never_exceed_the_total(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++)
		play(seed, totals[seed % 5]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_broker_gets_all),
		cmocka_unit_test(result_gives_back_to_where_it_came_from),
		cmocka_unit_test(second_broker_gets_its_share),
		cmocka_unit_test(gift_is_told_before_it_is_asked_back),
		cmocka_unit_test(credit_moves_to_the_backlog),
		cmocka_unit_test(credit_that_was_used_meanwhile_does_not_move),
		cmocka_unit_test(lone_credit_takes_turns),
		cmocka_unit_test(steady_backlog_is_not_forgotten),
		cmocka_unit_test(lost_broker_gives_its_free_credit_back),
		cmocka_unit_test(stopped_grants_nothing),
		cmocka_unit_test(random_brokers_never_exceed_the_total),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
