/* The judge himself: what is lost, double, recovered or nobody's is found in a record and
 * a Redis that were made by hand. And the shims: they bite, and only when they should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ulid.h"
#include "tests/fault/record.h"
#include "tests/fault/scene.h"

#define STATE "pirn:{0}:state:effect:"

static struct scene s;

static int set_up(void **state)
{
	(void)state;
	harness_new_dir("verdict", s.dir, sizeof s.dir);
	(void)snprintf(s.record, sizeof s.record, "%s/record", s.dir);
	(void)snprintf(s.runs, sizeof s.runs, "%s/runs", s.dir);
	s.f.redis = harness_redis_start(false, NULL);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	harness_redis_stop(&s.f.redis);
	s = (struct scene){ 0 };
	return 0;
}

static void effect(unsigned serial, unsigned times)
{
	free(harness_redis_command(s.f.redis, "HSET " STATE "effects e%u %u", serial, times));
	free(harness_redis_command(s.f.redis, "INCRBY " STATE "total %u", times));
}

static void test_each_kind_is_found(void **state)
{
	static const char letter[BASE_ULID_SIZE + 1] = "sixteen-of-these";
	struct record *r = record_open(s.record);
	char id[BASE_ULID_TEXT + 1];
	struct verdict v;

	(void)state;
	base_ulid_print((const uint8_t *)letter, id);
	for (unsigned i = 0; i < 9; i++)
		record_sent(r, i, "http", i == 8);
	record_accepted(r, 0, "01HZ0000000000000000000000"); /* there once */
	record_accepted(r, 1, "01HZ0000000000000000000001"); /* lost */
	record_accepted(r, 2, "01HZ0000000000000000000002"); /* twice */
	record_accepted(r, 3, id);                           /* dead */
	record_refused(r, 4, 503);                           /* there all the same */
	record_refused(r, 5, 503);
	record_unknown(r, 6); /* recovered */
	/* 7: never heard of, and there; recovered. 8: in doubt, refused, and then accepted */
	record_unknown(r, 8);
	record_refused(r, 8, 503);
	record_accepted(r, 8, "01HZ0000000000000000000008");
	record_close(&r);
	effect(0, 1);
	effect(2, 2);
	effect(4, 1);
	effect(6, 1);
	effect(7, 1);
	effect(8, 1);
	effect(30, 1); /* nobody sent it */
	free(harness_redis_command(s.f.redis, "HSET pirn:{0}:dead:effect %s x", letter));
	v = scene_judge(&s);
	assert_int_equal(v.sent, 9);
	assert_int_equal(v.accepted, 5);
	assert_int_equal(v.refused, 2);
	assert_int_equal(v.unknown, 2);
	assert_int_equal(v.lost, 1);
	assert_int_equal(v.dup, 1);
	assert_int_equal(v.dead, 1);
	assert_int_equal(v.recovered, 2);
	assert_int_equal(v.unexpected, 2);
	assert_int_equal(v.effects, 7);
	assert_int_equal(v.sum, 8);
	assert_int_equal(v.total, 8);
}

static void test_in_doubt_stays_in_doubt(void **state)
{
	struct record *r = record_open(s.record);
	struct verdict v;

	(void)state;
	record_sent(r, 0, "library", true);
	record_unknown(r, 0);
	record_refused(r, 0, 503); /* of the second try */
	record_close(&r);
	effect(0, 1);
	v = scene_judge(&s);
	assert_int_equal(v.unexpected, 0);
	assert_int_equal(v.recovered, 1);
}

static void test_the_counter_alone_shows_half_a_replay(void **state)
{
	struct record *r = record_open(s.record);
	struct verdict v;

	(void)state;
	record_sent(r, 0, "library", false);
	record_accepted(r, 0, "01HZ0000000000000000000000");
	record_close(&r);
	effect(0, 1);
	free(harness_redis_command(s.f.redis, "INCR " STATE "total"));
	v = scene_judge(&s);
	assert_int_equal(v.dup, 0);
	assert_int_equal(v.total, v.sum + 1);
}

/* ---- shims ------------------------------------------------------------------------------ */

static struct harness_redis *redis_on(const char *shim, const char *more, const char *fsync)
{
	static char preload[PATH_MAX + 16];
	static const char *environment[3];
	char path[PATH_MAX];

	(void)snprintf(
		preload, sizeof preload, "LD_PRELOAD=%s", harness_build(shim, path, sizeof path));
	environment[0] = preload;
	environment[1] = more;
	return harness_redis_start_in(
		environment, false, (const char *const[]){ "--appendfsync", fsync, NULL });
}

static void expect_after_power_cut(const char *fsync, const char *expected)
{
	struct harness_redis *r = redis_on("tests/fault/forget.so", NULL, fsync);

	assert_true(harness_redis_says(r, "OK", "SET x 1"));
	harness_redis_kill(r);
	harness_redis_restart(r);
	assert_true(harness_redis_says(r, expected, "GET x"));
	harness_redis_stop(&r);
}

static void test_what_was_not_fsynced_is_forgotten(void **state)
{
	(void)state;
	expect_after_power_cut("no", "(nil)");
	expect_after_power_cut("always", "1");
}

static bool is_rewriting(struct harness_redis *r)
{
	char *info = harness_redis_command(r, "INFO persistence");
	bool done = strstr(info, "aof_rewrite_in_progress:0") &&
		    strstr(info, "aof_rewrite_scheduled:0");

	free(info);
	return !done;
}

static void test_a_rewritten_file_is_kept(void **state)
{
	struct harness_redis *r = redis_on("tests/fault/forget.so", NULL, "always");

	(void)state;
	assert_true(harness_redis_says(r, "OK", "SET x 1"));
	free(harness_redis_command(r, "BGREWRITEAOF"));
	wait_until(SCENE_MS, !is_rewriting(r));
	assert_true(harness_redis_says(r, "OK", "SET y 2"));
	harness_redis_kill(r);
	harness_redis_restart(r);
	assert_true(harness_redis_says(r, "1", "GET x"));
	assert_true(harness_redis_says(r, "2", "GET y"));
	harness_redis_stop(&r);
}

static void test_a_full_disk_ends_redis(void **state)
{
	char full[PATH_MAX + 16];
	char line[PATH_MAX + 32];
	struct harness_redis *r;
	FILE *file;

	(void)state;
	(void)snprintf(full, sizeof full, "%s/full", s.dir);
	(void)snprintf(line, sizeof line, "NOSPACE=%s", full);
	r = redis_on("tests/fault/nospace.so", line, "always");
	assert_true(harness_redis_says(r, "OK", "SET x 1"));
	file = fopen(full, "we");
	assert_non_null(file);
	fclose(file);
	harness_redis_try(r, "SET y 1");
	wait_until(SCENE_MS, !harness_redis_is_running(r));
	assert_int_equal(remove(full), 0);
	harness_redis_restart(r);
	assert_true(harness_redis_says(r, "1", "GET x"));
	assert_true(harness_redis_says(r, "(nil)", "GET y"));
	harness_redis_stop(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_each_kind_is_found, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_in_doubt_stays_in_doubt, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_the_counter_alone_shows_half_a_replay, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_was_not_fsynced_is_forgotten, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_rewritten_file_is_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_full_disk_ends_redis, set_up, tear_down),
	};

	return harness_main("verdict", tests);
}
