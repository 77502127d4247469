/* Timers on real processes: each slot once, whatever becomes of the gateways and of their
 * clocks; what was missed; runs that overlap; firing by hand. The service `ticker` writes
 * down the slots that it ran, in Redis: they are read from there.
 *
 * PIRN_TIMER_ROUNDS=N has N rounds of everything at once; 6 without it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/when.h"
#include "tests/harness/fabric.h"

#define GATEWAYS 3
#define MOST     4096
#define HOUR_MS  3600000u

static struct fabric f = { .n_brokers = 2, .n_gateways = GATEWAYS };

static const char manifest[] =
	"service: ticker\n"
	"handler: ticker.so\n"
	"events:\n"
	"  - timer: { name: tick, every: 1s, missed: all, overlap: allow, data: { a: [1, x] } }\n"
	"  - timer: { name: slow, every: 1s, data: { nap_ms: 2500 } }\n"
	"  - timer: { name: beside, every: 1s, overlap: allow, missed: all, data: { nap_ms: 2500 } }\n"
	"  - timer: { name: gone-all, cron: \"0 * * * *\", missed: all, overlap: allow }\n"
	"  - timer: { name: gone-once, cron: \"0 * * * *\", missed: once }\n"
	"  - timer: { name: gone-skip, cron: \"0 * * * *\", missed: skip }\n"
	"  - timer: { name: far, cron: \"30 2 29 feb *\", zone: UTC }\n"
	"timeout: 10s\n"
	"concurrency: 64\n"
	"breaker: { slow: 100%, consecutive: 1000000, calls: 1000000 }\n";

/* hello, counter with its nightly timer, and ticker with the timers above. */
static void lay_services(void)
{
	static char dir[PATH_MAX];
	char all[PATH_MAX], command[8 * PATH_MAX], path[PATH_MAX + 64];
	FILE *file;

	fabric_link_services(all, sizeof all);
	harness_new_dir("timed", dir, sizeof dir);
	snprintf(command, sizeof command,
		"mkdir '%s/ticker' && cp -rL '%s/hello' '%s/counter' '%s/' && cp '%s/ticker/ticker.so' '%s/ticker/'",
		dir, all, all, dir, all, dir);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof path, "%s/ticker/service.yaml", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(manifest, file) >= 0);
	assert_int_equal(fclose(file), 0);
	f.services = dir;
}

static uint64_t redis_ms(void)
{
	char *text = harness_redis_command(f.redis, "TIME");
	unsigned long long s = strtoull(text, NULL, 10);

	free(text);
	return s * 1000;
}

/* Three hours of nothing: what the chain says is that nobody was there. */
static uint64_t hour_before(unsigned n)
{
	return (redis_ms() / HOUR_MS - n) * HOUR_MS;
}

static void set_last(const char *timer, uint64_t ms)
{
	free(harness_redis_command(
		f.redis, "HSET pirn:{0}:timers ticker/%s %llu", timer, (unsigned long long)ms));
}

static void before_brokers(struct fabric *fabric)
{
	static const char *const timers[] = { "gone-all", "gone-once", "gone-skip" };

	(void)fabric;
	/* The last one would not count as missed in the first seconds of an hour. */
	wait_until(PATIENCE_MS, redis_ms() % HOUR_MS > 15000);
	for (size_t i = 0; i < 3; i++)
		set_last(timers[i], hour_before(3));
}

static int start(void **state)
{
	(void)state;
	lay_services();
	f.reroute = before_brokers;
	fabric_start(&f);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "ticker") == 1);
	wait_until(PATIENCE_MS, fabric_workers_of(&f, "counter") == 1);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

/* ---- what was run ---------------------------------------------------------------------- */

struct slots {
	uint64_t at[MOST];
	size_t n;
};

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Each was run once, or the test fails. */
static void read_slots(const char *timer, struct slots *out)
{
	char *text = harness_redis_command(f.redis, "HGETALL pirn:{0}:state:ticker:%s", timer);
	char *save = NULL;

	out->n = 0;
	for (char *time = strtok_r(text, "\n", &save); time; time = strtok_r(NULL, "\n", &save)) {
		const char *count = strtok_r(NULL, "\n", &save);

		assert_true(out->n < MOST);
		assert_true(base_when_parse(time, strlen(time), &out->at[out->n++]));
		assert_non_null(count);
		if (strcmp(count, "1") != 0)
			print_error("%s %s: %s times\n", timer, time, count);
		assert_string_equal(count, "1");
	}
	free(text);
	qsort(out->at, out->n, sizeof out->at[0], by_time);
}

static size_t count(const char *timer)
{
	static struct slots s;

	read_slots(timer, &s);
	return s.n;
}

/* None twice, none missing. */
static void check_all(const char *timer)
{
	static struct slots s;

	read_slots(timer, &s);
	for (size_t i = 1; i < s.n; i++) {
		if (s.at[i] != s.at[i - 1] + 1000)
			print_error("%s: %llu ms between slots %zu and %zu\n", timer,
				(unsigned long long)(s.at[i] - s.at[i - 1]), i - 1, i);
		assert_true(s.at[i] == s.at[i - 1] + 1000);
	}
}

static void go_on(size_t more)
{
	size_t enough = count("tick") + more;

	wait_until(PATIENCE_MS, count("tick") >= enough);
}

/* ---- tests ----------------------------------------------------------------------------- */

static void test_each_slot_once(void **state)
{
	(void)state;
	go_on(5);
	check_all("tick");
	assert_true(harness_redis_says(
		f.redis, "{\"a\":[1,\"x\"]}", "GET pirn:{0}:state:ticker:data-tick"));
}

static void test_what_was_missed(void **state)
{
	static struct slots all, once;

	(void)state;
	wait_until(PATIENCE_MS, count("gone-all") >= 3 && count("gone-once") >= 1);
	read_slots("gone-all", &all);
	read_slots("gone-once", &once);
	assert_int_equal(once.n, 1);
	assert_true(once.at[0] >= all.at[2] && once.at[0] % HOUR_MS == 0);
	for (size_t i = 0; i < all.n; i++)
		assert_true(all.at[i] == all.at[0] + i * HOUR_MS);
	/* Skipped, and not because it was not looked at: the chain has moved on, without a run. */
	wait_until(PATIENCE_MS,
		!harness_redis_says(f.redis, "0", "HSTRLEN pirn:{0}:timers ticker/gone-skip"));
	wait_until(PATIENCE_MS, ({
		char *last =
			harness_redis_command(f.redis, "HGET pirn:{0}:timers ticker/gone-skip");
		bool moved = strtoull(last, NULL, 10) >= all.at[2];
		free(last);
		moved;
	}));
	assert_int_equal(count("gone-skip"), 0);
}

static void test_runs_beside_one_another(void **state)
{
	static struct slots s;

	(void)state;
	wait_until(PATIENCE_MS, count("slow") >= 3 && count("beside") >= 5);
	read_slots("slow", &s);
	for (size_t i = 1; i < s.n; i++)
		assert_true(s.at[i] - s.at[i - 1] >= 2000);
	check_all("beside");
}

/* Somebody is always killed or paused, and comes back; now and then all of them at once. */
static void test_gateways_come_and_go(void **state)
{
	(void)state;
	srand(7);
	for (int round = 0; round < 4; round++) {
		struct harness_process *one = f.gateways[rand() % GATEWAYS];
		bool kill = rand() % 2;

		if (round % 4 == 3) {
			for (int i = 0; i < GATEWAYS; i++)
				harness_kill_hard(f.gateways[i]);
			for (int i = 0; i < GATEWAYS; i++)
				harness_again(f.gateways[i]);
			go_on(1);
			continue;
		}
		if (kill)
			harness_kill_hard(one);
		else
			harness_pause(one);
		go_on(2);
		if (kill)
			harness_again(one);
		else
			harness_resume(one);
		go_on(1);
	}
	check_all("tick");
}

/* ---- clocks ---------------------------------------------------------------------------- */

#define FAKETIME_LIBRARY "libfaketime.so.1"

static bool find_faketime(char *out, size_t room)
{
	static const char *const folders[] = { "/usr/lib/x86_64-linux-gnu/faketime",
		"/usr/lib/aarch64-linux-gnu/faketime", "/usr/lib/faketime" };

	for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
		snprintf(out, room, "LD_PRELOAD=%s/" FAKETIME_LIBRARY, folders[i]);
		if (access(strchr(out, '/'), R_OK) == 0)
			return true;
	}
	return false;
}

static void set_clock(const char *path, const char *offset)
{
	char temporary[PATH_MAX + 8];
	FILE *file;

	snprintf(temporary, sizeof temporary, "%s.new", path);
	file = fopen(temporary, "w");
	assert_non_null(file);
	assert_true(fprintf(file, "%s\n", offset) > 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(temporary, path), 0);
}

static const char *const steps[] = { "+1h", "-1h", "+1d", "-1d", "+0" };

#define N_STEPS (sizeof steps / sizeof steps[0])

static char clock_path[PATH_MAX - 64];

/* A fourth gateway, whose wall clock is what the file says. It skips the test where libfaketime is not. */
static struct harness_process *start_stepped(void)
{
	char library[PATH_MAX], file[PATH_MAX], http[64];
	const char *environment[] = { library, file, "FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1", NULL };
	struct harness_process *stepped;
	bool there = find_faketime(library, sizeof library);

	if (!there && !getenv("CI"))
		skip();
	assert_true(there);
	snprintf(clock_path, sizeof clock_path, "%.4000s/clock", f.dir);
	snprintf(file, sizeof file, "FAKETIME_TIMESTAMP_FILE=%s", clock_path);
	set_clock(clock_path, "+0");
	snprintf(http, sizeof http, "127.0.0.1:%u", harness_free_port());
	stepped = harness_spawn("stepped", f.dir,
		(const char *const[]){ "pirn-gateway", "--brokers", f.gateway_list, "--http", http,
			"--admin", "off", "--name", "stepped", "--log", "json", NULL },
		environment);
	wait_until(PATIENCE_MS, harness_logged(stepped, "gateway_ready"));
	return stepped;
}

/* The wall clock of the one gateway there is jumps about, in the midst of its work. */
static void test_a_clock_is_stepped(void **state)
{
	struct harness_process *stepped = start_stepped();

	(void)state;
	for (int i = 0; i < GATEWAYS; i++)
		harness_kill_hard(f.gateways[i]);
	for (size_t i = 0; i < N_STEPS; i++) {
		set_clock(clock_path, steps[i]);
		go_on(3);
	}
	assert_true(harness_is_running(stepped));
	harness_free(&stepped);
	for (int i = 0; i < GATEWAYS; i++)
		harness_again(f.gateways[i]);
	go_on(2);
	check_all("tick");
}

/* ---- all of it ------------------------------------------------------------------------- */

static int rounds(void)
{
	const char *text = getenv("PIRN_TIMER_ROUNDS");

	return text ? atoi(text) : 6;
}

/* One of the gateways that stand is away for two slots; now and then so is a broker. */
static void one_round(int round)
{
	struct harness_process *one = f.gateways[rand() % 2 * 2];
	struct harness_process *broker = round % 3 == 1 ? f.brokers[rand() % 2] : NULL;
	bool kill = rand() % 2;

	set_clock(clock_path, steps[(size_t)round % N_STEPS]);
	if (kill)
		harness_kill_hard(one);
	else
		harness_pause(one);
	if (broker)
		harness_kill_hard(broker);
	go_on(2);
	if (broker)
		harness_again(broker);
	if (kill)
		harness_again(one);
	else
		harness_resume(one);
}

/* Gateways and brokers killed, gateways paused, the clock of one stepped; and one of them sleeps through all
 * of that, for longer than anybody waits for it (a broker for its beat: 3 s) and than it waits for anything (the
 * acceptance of a slot: 10 s). It wakes up with the slot that was next then. */
static void test_everything_at_once(void **state)
{
	struct harness_process *stepped = start_stepped();
	char *before = harness_redis_command(f.redis, "TIME"), *now;

	(void)state;
	srand(11);
	harness_pause(f.gateways[1]);
	for (int round = 0; round < rounds(); round++)
		one_round(round);
	wait_until(PATIENCE_MS, ({
		now = harness_redis_command(f.redis, "TIME");
		bool long_ago = strtoull(now, NULL, 10) > strtoull(before, NULL, 10) + 11;
		free(now);
		long_ago;
	}));
	free(before);
	harness_resume(f.gateways[1]);
	go_on(4);
	check_all("tick");
	assert_true(harness_is_running(stepped));
	harness_free(&stepped);
	go_on(2);
	check_all("tick");
}

/* ---- by hand --------------------------------------------------------------------------- */

static int pirn_timers(const char *word, const char *name, const char *flag, char *out, size_t room)
{
	const char *argv[] = { "pirn", "timers", "--admin", f.admin, NULL, NULL, NULL, NULL };
	const char *words[] = { word, name, flag };
	struct harness_process *p;
	size_t n = 4;
	char *text;
	int status;

	for (size_t i = 0; i < 3; i++)
		if (words[i])
			argv[n++] = words[i];
	status = harness_run("timers", NULL, argv, NULL, &p);
	text = harness_output(p);
	snprintf(out, room, "%s", text);
	free(text);
	harness_free(&p);
	return status;
}

static json_t *listed(const char *name)
{
	struct harness_answer a = harness_get(f.admin, "/v1/timers");
	json_t *root = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL), *timer, *found = NULL;
	size_t i;

	assert_int_equal(a.status, 200);
	assert_int_equal(json_array_size(json_object_get(root, "timers")), 8);
	json_array_foreach(json_object_get(root, "timers"), i, timer)
	{
		if (strcmp(json_string_value(json_object_get(timer, "name")), name) == 0)
			found = json_incref(timer);
	}
	json_decref(root);
	harness_answer_free(&a);
	assert_non_null(found);
	return found;
}

static const char *text(const json_t *o, const char *key)
{
	const char *value = json_string_value(json_object_get(o, key));

	return value ? value : "(none)";
}

static bool knows_next(const char *name)
{
	json_t *timer = listed(name);
	bool knows = json_is_string(json_object_get(timer, "next"));

	json_decref(timer);
	return knows;
}

static void test_they_are_listed(void **state)
{
	json_t *far;
	char out[8192];

	(void)state;
	wait_until(PATIENCE_MS, knows_next("far"));
	far = listed("far");
	assert_string_equal(text(far, "service"), "ticker");
	assert_string_equal(text(far, "cron"), "30 2 29 feb *");
	assert_string_equal(text(far, "zone"), "UTC");
	assert_string_equal(text(far, "missed"), "once");
	assert_string_equal(text(far, "overlap"), "skip");
	assert_non_null(strstr(text(far, "next"), "-02-29T02:30:00.000Z"));
	assert_true(json_is_null(json_object_get(far, "fault")));
	json_decref(far);
	assert_int_equal(pirn_timers("list", NULL, NULL, out, sizeof out), 0);
	assert_non_null(strstr(out, "30 2 29 feb *"));
	assert_non_null(strstr(out, "every 1s"));
	assert_non_null(strstr(out, "-02-29T02:30:00.000Z"));
	assert_int_equal(harness_status(f.http, "GET", "/v1/timers", NULL), 404);
}

static void test_one_is_fired(void **state)
{
	struct harness_answer a;
	json_t *root;
	char out[4096], target[128];

	(void)state;
	assert_int_equal(count("far"), 0);
	assert_int_equal(pirn_timers("fire", "far", NULL, out, sizeof out), 0);
	assert_non_null(strstr(out, "ticker/far: fired as "));
	wait_until(PATIENCE_MS, count("far") == 1);
	a = harness_post(f.admin, "/v1/timers/ticker/far/fire", "");
	assert_int_equal(a.status, 202);
	root = json_loads(a.body, 0, NULL);
	assert_string_equal(text(root, "location"), harness_answer_header(&a, "location"));
	snprintf(target, sizeof target, "%s?wait=30s", text(root, "location"));
	json_decref(root);
	harness_answer_free(&a);
	a = harness_get(f.http, target);
	assert_int_equal(a.status, 200);
	assert_non_null(strstr(a.body, "\"done\""));
	harness_answer_free(&a);
	assert_int_equal(count("far"), 2);
	assert_int_equal(pirn_timers("fire", "ticker/far", "--json", out, sizeof out), 0);
	wait_until(PATIENCE_MS, count("far") == 3);
	/* Its chain knows nothing of that. */
	root = listed("far");
	assert_true(json_is_null(json_object_get(root, "running")));
	json_decref(root);
	assert_int_equal(pirn_timers("fire", "nobody", NULL, out, sizeof out), 1);
	assert_int_equal(pirn_timers("fire", "hello/far", NULL, out, sizeof out), 1);
	assert_int_equal(pirn_timers("fire", "No", NULL, out, sizeof out), 2);
	assert_int_equal(pirn_timers("fire", NULL, NULL, out, sizeof out), 2);
	assert_int_equal(harness_status(f.admin, "POST", "/v1/timers/ticker/nobody/fire", ""), 404);
	assert_int_equal(harness_status(f.admin, "POST", "/v1/timers/No/Way/fire", ""), 404);
	assert_int_equal(harness_status(f.admin, "GET", "/v1/timers/ticker/far/fire", NULL), 405);
}

/* The example in services/, as the README has it. */
static void test_the_counter_counts_by_night(void **state)
{
	char out[4096];

	(void)state;
	assert_true(harness_redis_says(f.redis, "0", "EXISTS pirn:{0}:state:counter:counter"));
	assert_int_equal(pirn_timers("fire", "nightly", NULL, out, sizeof out), 0);
	assert_non_null(strstr(out, "counter/nightly: fired as "));
	wait_until(PATIENCE_MS,
		harness_redis_says(f.redis, "0", "GET pirn:{0}:state:counter:counter"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_slot_once),
		cmocka_unit_test(test_what_was_missed),
		cmocka_unit_test(test_runs_beside_one_another),
		cmocka_unit_test(test_they_are_listed),
		cmocka_unit_test(test_one_is_fired),
		cmocka_unit_test(test_the_counter_counts_by_night),
		cmocka_unit_test(test_gateways_come_and_go),
		cmocka_unit_test(test_a_clock_is_stepped),
		cmocka_unit_test(test_everything_at_once),
	};

	return harness_finish(cmocka_run_group_tests_name("timers", tests, start, stop));
}
