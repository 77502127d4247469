/* The supervisor's decisions: order, restarts, back-off, bounded stopping. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "cli/supervise.h"

/* One Redis, one broker, two workers, two gateways: children 0, 1, 2 3, 4 5. */
static const unsigned counts[CLI_GROUP__N] = { 1, 1, 2, 2 };

/* An aside is a letter: a, b, … */
static void print_child(char out[8], size_t child)
{
	if (cli_child_is_aside(child))
		(void)snprintf(out, 8, "%c", (char)('a' + (child - CLI_CHILDREN_MAX)));
	else
		(void)snprintf(out, 8, "%zu", child);
}

/* The actions since the last look, as text: "S0 S1 T2 K3 X2a READY END"; X swaps, R is replaced. */
static const char *actions(struct cli_supervise *s)
{
	static const char *const words[] = { [CLI_READY] = "READY",
		[CLI_END] = "END",
		[CLI_RESTARTED] = "DONE",
		[CLI_NOT_RESTARTED] = "FAILED" };
	static const char letters[] = { [CLI_SPAWN] = 'S',
		[CLI_TERM] = 'T',
		[CLI_KILL] = 'K',
		[CLI_SWAP] = 'X',
		[CLI_REPLACED] = 'R' };
	static char text[4096];
	struct cli_action a;
	size_t size = 0;

	text[0] = '\0';
	cli_supervise_check(s);
	while (cli_supervise_next(s, &a)) {
		const char *space = size ? " " : "";
		size_t room = sizeof text - size;
		char child[8], other[8] = "";

		assert_true(room > 24);
		print_child(child, a.child);
		if (a.kind == CLI_SWAP)
			print_child(other, a.other);
		if (a.kind < sizeof letters && letters[a.kind])
			size += (size_t)snprintf(text + size, room, "%s%c%s%s", space,
				letters[a.kind], child, other);
		else
			size += (size_t)snprintf(text + size, room, "%s%s", space, words[a.kind]);
	}
	return text;
}

static void bring_up(struct cli_supervise *s, uint64_t now)
{
	cli_supervise_init(s, counts, 8000);
	cli_supervise_start(s, now);
	for (enum cli_group g = CLI_REDIS; g < CLI_GROUP__N; g++)
		cli_supervise_ready(s, g, now);
	assert_int_equal(s->phase, CLI_UP);
	actions(s);
}

static void test_groups_start_in_order(void **state)
{
	struct cli_supervise s;

	(void)state;
	cli_supervise_init(&s, counts, 8000);
	cli_supervise_start(&s, 100);
	assert_string_equal(actions(&s), "S0");
	cli_supervise_ready(&s, CLI_BROKERS, 101); /* not their turn */
	assert_string_equal(actions(&s), "");
	cli_supervise_ready(&s, CLI_REDIS, 102);
	assert_string_equal(actions(&s), "S1");
	cli_supervise_ready(&s, CLI_BROKERS, 103);
	assert_string_equal(actions(&s), "S2 S3");
	cli_supervise_ready(&s, CLI_WORKERS, 104);
	assert_string_equal(actions(&s), "S4 S5");
	assert_int_equal(s.phase, CLI_STARTING);
	cli_supervise_ready(&s, CLI_GATEWAYS, 105);
	assert_string_equal(actions(&s), "READY");
	cli_supervise_ready(&s, CLI_GATEWAYS, 106);
	assert_string_equal(actions(&s), "");
	assert_true(cli_supervise_due(&s) == UINT64_MAX);
}

static void test_an_empty_group_is_passed_over(void **state)
{
	static const unsigned foreign_redis[CLI_GROUP__N] = { 0, 1, 1, 0 };
	struct cli_supervise s;

	(void)state;
	cli_supervise_init(&s, foreign_redis, 8000);
	cli_supervise_start(&s, 0);
	assert_string_equal(actions(&s), "S0");
	cli_supervise_ready(&s, CLI_BROKERS, 0);
	assert_string_equal(actions(&s), "S1");
	cli_supervise_ready(&s, CLI_WORKERS, 0);
	assert_string_equal(actions(&s), "READY");
	cli_supervise_stop(&s, 1);
	assert_string_equal(actions(&s), "T1");
	cli_supervise_died(&s, 1, true, 2, 0);
	assert_string_equal(actions(&s), "T0");
	cli_supervise_died(&s, 0, true, 3, 0);
	assert_string_equal(actions(&s), "END");
	assert_int_equal(cli_supervise_status(&s), 0);
}

static void test_a_death_while_starting_ends_everything(void **state)
{
	struct cli_supervise s;

	(void)state;
	cli_supervise_init(&s, counts, 8000);
	cli_supervise_start(&s, 0);
	cli_supervise_ready(&s, CLI_REDIS, 0);
	cli_supervise_ready(&s, CLI_BROKERS, 0);
	actions(&s);
	cli_supervise_died(&s, 3, false, 10, 0);
	assert_string_equal(actions(&s), "T2");
	assert_int_equal(s.culprit, 3);
	cli_supervise_died(&s, 2, true, 20, 0);
	assert_string_equal(actions(&s), "T1");
	cli_supervise_died(&s, 1, true, 30, 0);
	assert_string_equal(actions(&s), "T0");
	cli_supervise_died(&s, 0, true, 40, 0);
	assert_string_equal(actions(&s), "END");
	assert_int_equal(cli_supervise_status(&s), 1);
}

static void test_a_dead_child_starts_again_at_once_then_later(void **state)
{
	struct cli_supervise s;
	uint64_t now = 1000;

	(void)state;
	bring_up(&s, now);
	now += 50;
	cli_supervise_died(&s, 2, false, now, 999);
	assert_string_equal(actions(&s), "S2");
	now += 50;
	cli_supervise_died(&s, 2, false, now, 499);
	assert_string_equal(actions(&s), "");
	assert_int_equal(cli_supervise_due(&s), now + 500);
	cli_supervise_tick(&s, now + 499);
	assert_string_equal(actions(&s), "");
	cli_supervise_tick(&s, now + 500);
	assert_string_equal(actions(&s), "S2");
	assert_true(cli_supervise_due(&s) == UINT64_MAX);
	now += 500 + CLI_HEALTHY_MS; /* healthy: forgotten */
	cli_supervise_died(&s, 2, false, now, 499);
	assert_string_equal(actions(&s), "S2");
}

static void test_leaving_by_its_own_will_is_no_failure(void **state)
{
	struct cli_supervise s;
	uint64_t now = 0;

	(void)state;
	bring_up(&s, now);
	for (int i = 0; i < 5; i++) {
		now += CLI_VOLUNTARY_MS;
		cli_supervise_died(&s, 3, true, now, 7);
		assert_string_equal(actions(&s), "S3");
		assert_int_equal(s.children[3].failures, 0);
	}
	/* but not in a circle */
	cli_supervise_died(&s, 3, true, now, 7);
	assert_string_equal(actions(&s), "S3");
	cli_supervise_died(&s, 3, true, now, 7);
	assert_string_equal(actions(&s), "");
	assert_int_equal(cli_supervise_due(&s), now + 8);
}

static void test_backoff_doubles_to_its_cap_with_full_jitter(void **state)
{
	static const uint64_t limits[] = { 0, 0, 1000, 2000, 4000, 8000, 16000, 30000, 30000 };
	struct base_rand r;

	(void)state;
	base_rand_init(&r, 4711);
	for (unsigned n = 0; n < sizeof limits / sizeof limits[0]; n++) {
		assert_int_equal(cli_supervise_backoff(n, 0), limits[n] ? 1 : 0);
		if (limits[n])
			assert_int_equal(cli_supervise_backoff(n, limits[n] - 1), limits[n]);
		for (int i = 0; i < 1000; i++)
			assert_true(cli_supervise_backoff(n, base_rand_next(&r)) <= limits[n]);
	}
	assert_true(cli_supervise_backoff(UINT32_MAX, UINT64_MAX) <= CLI_BACKOFF_CAP_MS);
}

static void test_groups_stop_in_reverse(void **state)
{
	struct cli_supervise s;

	(void)state;
	bring_up(&s, 0);
	cli_supervise_stop(&s, 100);
	assert_string_equal(actions(&s), "T4 T5");
	cli_supervise_died(&s, 5, true, 110, 0);
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, 4, true, 120, 0);
	assert_string_equal(actions(&s), "T2 T3");
	cli_supervise_died(&s, 2, true, 130, 0);
	cli_supervise_died(&s, 3, true, 130, 0);
	assert_string_equal(actions(&s), "T1");
	cli_supervise_died(&s, 1, true, 140, 0);
	assert_string_equal(actions(&s), "T0");
	cli_supervise_died(&s, 0, true, 150, 0);
	assert_string_equal(actions(&s), "END");
	assert_int_equal(s.phase, CLI_DONE);
	assert_int_equal(cli_supervise_status(&s), 0);
	assert_true(cli_supervise_due(&s) == UINT64_MAX);
}

static void test_nothing_is_started_again_while_stopping(void **state)
{
	struct cli_supervise s;

	(void)state;
	bring_up(&s, 0);
	cli_supervise_died(&s, 2, false, 10, 0);
	cli_supervise_died(&s, 2, false, 20, 400); /* waits until 421 */
	actions(&s);
	cli_supervise_stop(&s, 100);
	assert_string_equal(actions(&s), "T4 T5");
	cli_supervise_died(&s, 1, false, 105, 0); /* a broker dies out of turn */
	assert_string_equal(actions(&s), "");
	cli_supervise_tick(&s, 500);
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, 4, true, 510, 0);
	cli_supervise_died(&s, 5, true, 510, 0);
	assert_string_equal(actions(&s), "T3");
	cli_supervise_died(&s, 3, true, 520, 0);
	assert_string_equal(actions(&s), "T0");
}

static void test_who_hangs_is_killed_within_the_drain(void **state)
{
	struct cli_supervise s;

	(void)state;
	bring_up(&s, 0);
	cli_supervise_stop(&s, 1000);
	actions(&s);
	assert_int_equal(cli_supervise_due(&s), 1000 + 5000);
	cli_supervise_tick(&s, 5999);
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, 4, true, 5999, 0);
	cli_supervise_tick(&s, 6000);
	assert_string_equal(actions(&s), "K5");
	cli_supervise_tick(&s, 6001);
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, 5, false, 6002, 0);
	assert_string_equal(actions(&s), "T2 T3");
	cli_supervise_tick(&s, 7000);
	assert_string_equal(actions(&s), "K2 K3");
	cli_supervise_died(&s, 2, false, 7001, 0);
	cli_supervise_died(&s, 3, false, 7001, 0);
	assert_string_equal(actions(&s), "T1");
	cli_supervise_tick(&s, 8000);
	assert_string_equal(actions(&s), "K1");
	cli_supervise_died(&s, 1, false, 8001, 0);
	assert_string_equal(actions(&s), "T0");
	cli_supervise_tick(&s, 9000);
	assert_string_equal(actions(&s), "K0");
	cli_supervise_died(&s, 0, false, 9001, 0);
	assert_string_equal(actions(&s), "END");
}

static void test_a_second_request_kills_at_once(void **state)
{
	struct cli_supervise s;

	(void)state;
	bring_up(&s, 0);
	cli_supervise_stop(&s, 1000);
	actions(&s);
	cli_supervise_stop(&s, 1001);
	assert_string_equal(actions(&s), "K0 K1 K2 K3 K4 K5");
	for (size_t i = 0; i < 5; i++)
		cli_supervise_died(&s, i, false, 1002, 0);
	assert_string_equal(actions(&s), "");
	cli_supervise_stop(&s, 1003);
	cli_supervise_died(&s, 5, false, 1004, 0);
	assert_string_equal(actions(&s), "END");
}

static void test_a_stop_while_starting_ends_what_has_started(void **state)
{
	struct cli_supervise s;

	(void)state;
	cli_supervise_init(&s, counts, 8000);
	cli_supervise_start(&s, 0);
	cli_supervise_ready(&s, CLI_REDIS, 0);
	actions(&s);
	cli_supervise_stop(&s, 1);
	assert_string_equal(actions(&s), "T1");
	cli_supervise_ready(&s, CLI_BROKERS, 2); /* too late */
	cli_supervise_died(&s, 1, true, 3, 0);
	assert_string_equal(actions(&s), "T0");
	cli_supervise_died(&s, 0, true, 4, 0);
	assert_string_equal(actions(&s), "END");
	assert_int_equal(cli_supervise_status(&s), 0);
}

/* ---- leaving ------------------------------------------------------------------- */

#define A               CLI_CHILDREN_MAX /* the first aside */
#define PATIENCE(group) (cli_supervise_share(8000, group) + CLI_LEAVE_MS)

static void test_who_leaves_has_its_successor_at_once(void **state)
{
	struct cli_supervise s;
	uint64_t now = 20000;

	(void)state;
	bring_up(&s, 0);
	cli_supervise_leaves(&s, 4, now, 0); /* a gateway */
	assert_string_equal(actions(&s), "X4a S4");
	cli_supervise_leaves(&s, 2, now, 0); /* a worker */
	assert_string_equal(actions(&s), "X2b S2");
	assert_int_equal(cli_supervise_due(&s), now + PATIENCE(CLI_GATEWAYS));
	cli_supervise_leaves(&s, A, now, 0); /* it has said so before */
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, A, true, now + 1, 0);
	cli_supervise_tick(&s, now + PATIENCE(CLI_WORKERS) - 1);
	assert_string_equal(actions(&s), "");
	cli_supervise_tick(&s, now + PATIENCE(CLI_WORKERS));
	assert_string_equal(actions(&s), "Kb");
	cli_supervise_died(&s, A + 1, false, now + 9000, 0);
	assert_string_equal(actions(&s), "");
	assert_true(cli_supervise_due(&s) == UINT64_MAX);
	assert_int_equal(s.children[4].failures, 0);
	assert_int_equal(s.children[2].failures, 1); /* it had to be killed */
}

static void test_a_broker_that_leaves_is_followed_when_it_has_ended(void **state)
{
	struct cli_supervise s;

	(void)state;
	bring_up(&s, 0);
	cli_supervise_leaves(&s, 1, 2000, 0);
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, 1, true, 3000, 0);
	assert_string_equal(actions(&s), "S1");
	cli_supervise_leaves(&s, 1, 5000, 0);
	cli_supervise_tick(&s, 5000 + PATIENCE(CLI_BROKERS));
	assert_string_equal(actions(&s), "K1");
}

/* One that leaves again and again with a bad status is started again later and later. */
static void test_leaving_with_a_failure_counts(void **state)
{
	struct cli_supervise s;
	uint64_t now = 0;

	(void)state;
	bring_up(&s, now);
	now += 5000;
	cli_supervise_leaves(&s, 3, now, 400);
	assert_string_equal(actions(&s), "X3a S3");
	cli_supervise_died(&s, A, false, now, 0);
	now += 5000;
	cli_supervise_leaves(&s, 3, now, 400);
	assert_string_equal(actions(&s), "X3a S3");
	cli_supervise_died(&s, A, false, now, 0);
	now += 5000;
	cli_supervise_leaves(&s, 3, now, 400);
	assert_string_equal(actions(&s), "X3a");
	assert_int_equal(cli_supervise_due(&s), now + 401);
	cli_supervise_tick(&s, now + 401);
	assert_string_equal(actions(&s), "S3");
	cli_supervise_died(&s, A, false, now, 0);
	now += 401 + CLI_HEALTHY_MS;
	cli_supervise_leaves(&s, 3, now, 400);
	assert_string_equal(actions(&s), "X3a S3");
}

static void test_without_an_aside_it_is_followed_when_it_has_ended(void **state)
{
	struct cli_supervise s;
	uint64_t now = 0;

	(void)state;
	bring_up(&s, now);
	for (size_t i = 0; i < CLI_ASIDES_MAX; i++) {
		now += CLI_VOLUNTARY_MS;
		cli_supervise_leaves(&s, 4, now, 0);
	}
	actions(&s);
	cli_supervise_leaves(&s, 5, now, 0);
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, 5, true, now, 0);
	assert_string_equal(actions(&s), "S5");
}

/* A second SIGTERM would end them at once. */
static void test_who_leaves_is_not_told_again(void **state)
{
	struct cli_supervise s;

	(void)state;
	bring_up(&s, 0);
	cli_supervise_leaves(&s, 4, 2000, 0);
	cli_supervise_leaves(&s, 1, 2000, 0);
	assert_string_equal(actions(&s), "X4a S4");
	cli_supervise_stop(&s, 2100);
	assert_string_equal(actions(&s), "T4 T5");
	cli_supervise_leaves(&s, 2, 2200, 0); /* somebody else told it */
	cli_supervise_died(&s, 4, true, 2300, 0);
	cli_supervise_died(&s, 5, true, 2300, 0);
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, A, true, 2400, 0);
	assert_string_equal(actions(&s), "T3");
	cli_supervise_died(&s, 2, true, 2500, 0);
	cli_supervise_died(&s, 3, true, 2500, 0);
	assert_string_equal(actions(&s), "");
	cli_supervise_tick(&s, 2100 + 7000); /* of the stop; its own patience were longer */
	assert_string_equal(actions(&s), "K1");
	cli_supervise_died(&s, 1, false, 9200, 0);
	assert_string_equal(actions(&s), "T0");
}

/* ---- restarts --------------------------------------------------------------------- */

static const bool all_groups[CLI_GROUP__N] = { true, true, true, true };
static const bool only_workers[CLI_GROUP__N] = { [CLI_WORKERS] = true };

static void test_a_restart_replaces_one_after_another(void **state)
{
	struct cli_supervise s;
	uint64_t now = 20000;

	(void)state;
	bring_up(&s, 0);
	assert_true(cli_supervise_restart(&s, all_groups, now));
	assert_string_equal(actions(&s), "T1");
	assert_false(cli_supervise_restart(&s, all_groups, now));
	cli_supervise_leaves(&s, 1, now, 0); /* as it was told */
	cli_supervise_died(&s, 1, true, now, 0);
	assert_string_equal(actions(&s), "S1");
	assert_int_equal(cli_supervise_due(&s), now + CLI_READY_MS);
	cli_supervise_is_ready(&s, 1, now);
	assert_string_equal(actions(&s), "R1 Sa");
	cli_supervise_is_ready(&s, A, now); /* the worker's next */
	assert_string_equal(actions(&s), "X2a Ta");
	cli_supervise_leaves(&s, A, now, 0);
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, A, true, now, 0);
	assert_string_equal(actions(&s), "R2 Sa");
	cli_supervise_is_ready(&s, A, now);
	cli_supervise_died(&s, A, true, now, 0);
	assert_string_equal(actions(&s), "X3a Ta R3 Sa");
	cli_supervise_is_ready(&s, A, now);
	cli_supervise_died(&s, A, true, now, 0);
	assert_string_equal(actions(&s), "X4a Ta R4 Sa");
	cli_supervise_is_ready(&s, A, now);
	cli_supervise_died(&s, A, true, now, 0);
	assert_string_equal(actions(&s), "X5a Ta R5 DONE");
	assert_true(cli_supervise_due(&s) == UINT64_MAX);
	for (size_t i = 0; i < s.n; i++)
		assert_int_equal(s.children[i].failures, 0);
	assert_true(cli_supervise_restart(&s, only_workers, now));
	assert_string_equal(actions(&s), "Sa");
}

static void test_a_new_process_that_fails_leaves_the_old_one(void **state)
{
	struct cli_supervise s;
	uint64_t now = 20000;

	(void)state;
	bring_up(&s, 0);
	assert_true(cli_supervise_restart(&s, only_workers, now));
	assert_string_equal(actions(&s), "Sa");
	cli_supervise_died(&s, A, false, now, 0);
	assert_string_equal(actions(&s), "FAILED");
	assert_int_equal(s.restart.failure, CLI_FAILURE_DIED);
	assert_int_equal(s.children[2].state, CLI_CHILD_RUNNING);
	assert_true(cli_supervise_restart(&s, only_workers, now));
	assert_string_equal(actions(&s), "Sa");
	cli_supervise_tick(&s, now + CLI_READY_MS - 1);
	assert_string_equal(actions(&s), "");
	now += CLI_READY_MS;
	cli_supervise_tick(&s, now);
	assert_string_equal(actions(&s), "FAILED Ta");
	assert_int_equal(s.restart.failure, CLI_FAILURE_LATE);
	cli_supervise_is_ready(&s, A, now); /* too late */
	assert_string_equal(actions(&s), "");
	cli_supervise_tick(&s, now + PATIENCE(CLI_WORKERS));
	assert_string_equal(actions(&s), "Ka");
	cli_supervise_died(&s, A, false, now, 0);
	assert_string_equal(actions(&s), "");
	assert_int_equal(s.children[2].state, CLI_CHILD_RUNNING);
}

static void test_a_broker_that_does_not_come_back_ends_the_restart(void **state)
{
	static const bool brokers[CLI_GROUP__N] = { [CLI_BROKERS] = true };
	struct cli_supervise s;
	uint64_t now = 20000;

	(void)state;
	bring_up(&s, 0);
	assert_true(cli_supervise_restart(&s, brokers, now));
	cli_supervise_died(&s, 1, true, now, 0);
	assert_string_equal(actions(&s), "T1 S1");
	cli_supervise_died(&s, 1, false, now, 0);
	assert_string_equal(actions(&s), "FAILED S1"); /* and is started again, as any that dies */
	cli_supervise_died(&s, 1, false, now, 7);
	assert_int_equal(cli_supervise_due(&s), now + 8);
}

/* Whatever becomes of the old one while its next is on its way, that one takes its place. */
static void test_the_next_takes_the_place_of_one_that_goes(void **state)
{
	struct cli_supervise s;
	uint64_t now = 20000;

	(void)state;
	bring_up(&s, 0);
	assert_true(cli_supervise_restart(&s, only_workers, now));
	cli_supervise_died(&s, 2, false, now, 0);
	assert_string_equal(actions(&s), "Sa X2a");
	cli_supervise_is_ready(&s, 2, now);
	assert_string_equal(actions(&s), "R2 Sa");
	cli_supervise_leaves(&s, 3, now, 0);
	assert_string_equal(actions(&s), "X3a");
	cli_supervise_died(&s, 3, false, now, 0); /* now it is awaited here */
	assert_string_equal(actions(&s), "FAILED S3");
}

static void test_a_stop_ends_a_restart(void **state)
{
	struct cli_supervise s;
	uint64_t now = 20000;

	(void)state;
	bring_up(&s, 0);
	assert_true(cli_supervise_restart(&s, only_workers, now));
	cli_supervise_stop(&s, now);
	assert_string_equal(actions(&s), "Sa FAILED T4 T5");
	assert_int_equal(s.restart.failure, CLI_FAILURE_STOPPED);
	assert_false(cli_supervise_restart(&s, only_workers, now));
	cli_supervise_died(&s, 4, true, now, 0);
	cli_supervise_died(&s, 5, true, now, 0);
	assert_string_equal(actions(&s), "T2 T3 Ta");
	cli_supervise_died(&s, 2, true, now, 0);
	cli_supervise_died(&s, 3, true, now, 0);
	assert_string_equal(actions(&s), "");
	cli_supervise_died(&s, A, true, now, 0);
	assert_string_equal(actions(&s), "T1");
}

/* ---- all of it ---------------------------------------------------------------------- */

static bool is_alive(const struct cli_child *c)
{
	return c->state == CLI_CHILD_RUNNING || c->state == CLI_CHILD_ENDING ||
	       c->state == CLI_CHILD_STOPPING || c->state == CLI_CHILD_COMING ||
	       c->state == CLI_CHILD_LEAVING;
}

/* One that lives, an aside in one of three cases; when there is none, the last that was looked at. */
static size_t somebody(const struct cli_supervise *s, struct base_rand *r)
{
	bool aside = base_rand_below(r, 3) == 0;
	size_t first = aside ? A : 0, n = aside ? CLI_ASIDES_MAX : s->n;
	size_t at = (size_t)base_rand_below(r, n);

	for (size_t tries = 0; tries < n && !is_alive(&s->children[first + at]); tries++)
		at = (at + 1) % n;
	return first + at;
}

static void random_input(struct cli_supervise *s, struct base_rand *r, uint64_t now, bool stops)
{
	size_t i = somebody(s, r);
	bool groups[CLI_GROUP__N];

	for (int g = 0; g < CLI_GROUP__N; g++)
		groups[g] = base_rand_below(r, 2);
	switch (base_rand_below(r, stops ? 9 : 8)) {
	case 0:
		cli_supervise_ready(s, (enum cli_group)base_rand_below(r, CLI_GROUP__N), now);
		break;
	case 1:
		if (is_alive(&s->children[i]) && s->phase != CLI_STARTING)
			cli_supervise_died(
				s, i, base_rand_below(r, 2) == 0, now, base_rand_next(r));
		break;
	case 2:
	case 3:
		if (is_alive(&s->children[i]))
			cli_supervise_is_ready(s, i, now);
		break;
	case 4:
		if (is_alive(&s->children[i]) && base_rand_below(r, 3) == 0)
			cli_supervise_leaves(s, i, now, base_rand_next(r));
		break;
	case 5:
		(void)cli_supervise_restart(s, groups, now);
		break;
	case 8:
		cli_supervise_stop(s, now);
		break;
	default:
		cli_supervise_tick(s, now);
	}
}

/* Any sequence of inputs keeps the invariants and, once stopped, ends; and together they walk along every
 * edge that there is, and no other. */
static void test_any_sequence_ends(void **state)
{
	static const struct {
		enum cli_child_state from;
		enum cli_child_event event;
	} edges[] = {
#define X(from, event, to) { CLI_CHILD_##from, CLI_CHILD_EV_##event },
		CLI_CHILD_EDGES(X)
#undef X
	};
	uint32_t walked[CLI_CHILD_STATE__N] = { 0 };

	(void)state;
	for (uint64_t seed = 1; seed <= 3000; seed++) {
		struct cli_supervise s;
		struct base_rand r;
		uint64_t now = 0;

		base_rand_init(&r, seed);
		cli_supervise_init(&s, counts, 8000);
		cli_supervise_start(&s, now);
		actions(&s);
		for (int step = 0; s.phase != CLI_DONE; step++) {
			assert_true(step < 20000);
			now += base_rand_below(&r, 400);
			random_input(&s, &r, now, step > 200 || (step > 4 && seed % 5 == 0));
			actions(&s);
		}
		for (size_t i = 0; i < s.n; i++)
			assert_int_equal(s.children[i].state, CLI_CHILD_ENDED);
		for (int i = 0; i < CLI_CHILD_STATE__N; i++)
			walked[i] |= s.walked[i];
	}
	for (size_t i = 0; i < sizeof edges / sizeof edges[0]; i++) {
		if (!(walked[edges[i].from] & 1u << edges[i].event))
			print_error("edge %zu of the table was never walked\n", i);
		assert_true(walked[edges[i].from] & 1u << edges[i].event);
	}
}

/* Deaths while all starts. */
static void test_any_death_while_starting_ends(void **state)
{
	(void)state;
	for (size_t dead = 0; dead < 6; dead++) {
		struct cli_supervise s;

		cli_supervise_init(&s, counts, 8000);
		cli_supervise_start(&s, 0);
		for (enum cli_group g = CLI_REDIS; s.children[dead].state == CLI_CHILD_IDLE; g++)
			cli_supervise_ready(&s, g, 0);
		actions(&s);
		cli_supervise_leaves(&s, dead, 1, 0); /* nobody follows it */
		assert_string_equal(actions(&s), "");
		cli_supervise_died(&s, dead, true, 1, 0);
		for (size_t i = s.n; i-- > 0;)
			if (is_alive(&s.children[i]))
				cli_supervise_died(&s, i, true, 2, 0);
		actions(&s);
		assert_int_equal(s.phase, CLI_DONE);
		assert_int_equal(s.culprit, dead);
		assert_int_equal(cli_supervise_status(&s), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups_start_in_order),
		cmocka_unit_test(test_an_empty_group_is_passed_over),
		cmocka_unit_test(test_a_death_while_starting_ends_everything),
		cmocka_unit_test(test_a_dead_child_starts_again_at_once_then_later),
		cmocka_unit_test(test_leaving_by_its_own_will_is_no_failure),
		cmocka_unit_test(test_backoff_doubles_to_its_cap_with_full_jitter),
		cmocka_unit_test(test_groups_stop_in_reverse),
		cmocka_unit_test(test_nothing_is_started_again_while_stopping),
		cmocka_unit_test(test_who_hangs_is_killed_within_the_drain),
		cmocka_unit_test(test_a_second_request_kills_at_once),
		cmocka_unit_test(test_a_stop_while_starting_ends_what_has_started),
		cmocka_unit_test(test_who_leaves_has_its_successor_at_once),
		cmocka_unit_test(test_a_broker_that_leaves_is_followed_when_it_has_ended),
		cmocka_unit_test(test_leaving_with_a_failure_counts),
		cmocka_unit_test(test_without_an_aside_it_is_followed_when_it_has_ended),
		cmocka_unit_test(test_who_leaves_is_not_told_again),
		cmocka_unit_test(test_a_restart_replaces_one_after_another),
		cmocka_unit_test(test_a_new_process_that_fails_leaves_the_old_one),
		cmocka_unit_test(test_a_broker_that_does_not_come_back_ends_the_restart),
		cmocka_unit_test(test_the_next_takes_the_place_of_one_that_goes),
		cmocka_unit_test(test_a_stop_ends_a_restart),
		cmocka_unit_test(test_any_sequence_ends),
		cmocka_unit_test(test_any_death_while_starting_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
