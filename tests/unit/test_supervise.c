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

/* The actions since the last look, as text: "S0 S1 T2 K3 READY END". */
static const char *actions(struct cli_supervise *s)
{
	static char text[1024];
	struct cli_action a;
	size_t size = 0;

	text[0] = '\0';
	cli_supervise_check(s);
	while (cli_supervise_next(s, &a)) {
		const char *space = size ? " " : "";
		size_t room = sizeof text - size;

		assert_true(room > 16);
		if (a.kind == CLI_READY || a.kind == CLI_END)
			size += (size_t)snprintf(text + size, room, "%s%s", space,
				a.kind == CLI_READY ? "READY" : "END");
		else
			size += (size_t)snprintf(
				text + size, room, "%s%c%zu", space, "STK"[a.kind], a.child);
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

/* Any sequence of inputs keeps the invariants and, once stopped, ends. */
static void test_any_sequence_ends(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 2000; seed++) {
		struct cli_supervise s;
		struct base_rand r;
		uint64_t now = 0;

		base_rand_init(&r, seed);
		cli_supervise_init(&s, counts, 8000);
		cli_supervise_start(&s, now);
		actions(&s);
		for (int step = 0; s.phase != CLI_DONE; step++) {
			size_t i = (size_t)base_rand_below(&r, s.n);
			bool alive = s.children[i].state == CLI_CHILD_RUNNING ||
				     s.children[i].state == CLI_CHILD_STOPPING;

			assert_true(step < 5000);
			now += base_rand_below(&r, 400);
			switch (base_rand_below(&r, step < 100 ? 5 : 7)) {
			case 0:
				cli_supervise_ready(
					&s, (enum cli_group)base_rand_below(&r, CLI_GROUP__N), now);
				break;
			case 1:
				if (alive && (step > 20 || seed % 2))
					cli_supervise_died(&s, i, base_rand_below(&r, 2) == 0, now,
						base_rand_next(&r));
				break;
			case 5:
				cli_supervise_stop(&s, now);
				break;
			default:
				cli_supervise_tick(&s, now);
			}
			actions(&s);
		}
		for (size_t i = 0; i < s.n; i++)
			assert_int_equal(s.children[i].state, CLI_CHILD_ENDED);
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
		cmocka_unit_test(test_any_sequence_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
