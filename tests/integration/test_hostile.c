/* Clients that mean no good, thousands at once, in front of a real gateway (G6, G8): slow
 * heads and bodies, idle and silent connections, answers that nobody reads, bodies and
 * heads without an end, resets, garbage. What well-meaning clients notice of it: nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/harness/crowd.h"
#include "tests/harness/fabric.h"
#include "tests/harness/up.h"

#define SPARE       128 /* connections that were closed to make room, and are not gone yet */
#define BODY_BYTES  (100u * 1024)
/* What a gateway may hold by default, 256 MiB, and what 13,000 connections and the rest of it take. */
#define MOST_KB (300ul * 1024)

/* ---- what there is to see ---------------------------------------------------------- */

static unsigned long pss_kb(pid_t pid)
{
	char path[64], line[256];
	unsigned long kb = 0;
	FILE *file;

	(void)snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", (long)pid);
	file = fopen(path, "re");
	assert_non_null(file);
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "Pss: %lu kB", &kb) == 1)
			break;
	(void)fclose(file);
	assert_true(kb > 0);
	return kb;
}

static double users_of(const char *admin, const char *metric)
{
	double n = harness_metric(admin, metric, "listener=\"users\"");

	assert_true(n >= 0);
	return n;
}

/* Every answer of a kind had one of these statuses, and there was one. One who still sends when the
 * connection is closed may be told nothing: the reset overtakes the answer; he comes again. */
static void expect_statuses(struct crowd *c, enum crowd_kind kind, unsigned first, unsigned other)
{
	struct crowd_counts n;

	print_message("%s: %u ...\n", crowd_name(kind), first);
	wait_until(PATIENCE_MS, crowd_counts(c, kind).status[first] > 0);
	n = crowd_counts(c, kind);
	assert_int_equal(n.failed, 0);
	for (unsigned s = 0; s < 600; s++)
		if (n.status[s] && s != first && s != other)
			fail_msg("%s: %u answers with %u", crowd_name(kind), n.status[s], s);
}

/* ---- those who mean well ------------------------------------------------------------- */

/* Quick calls, bodies, and a new connection for each. */
struct others {
	struct harness_call hello, body, newcomer;
	struct harness_load *loads[3];
	char bytes[BODY_BYTES + 1];
};

static void start_others(struct others *o, const char *http)
{
	static const char *const close_after[] = { "Connection: close", NULL };

	memset(o->bytes, 'b', BODY_BYTES);
	o->hello = (struct harness_call){ .base = http, .target = "/hello" };
	o->body = (struct harness_call){ .base = http, .target = "/echo", .body = o->bytes };
	o->newcomer =
		(struct harness_call){ .base = http, .target = "/hello", .headers = close_after };
	o->loads[0] = harness_load_start(&o->hello, 2);
	o->loads[1] = harness_load_start(&o->body, 1);
	o->loads[2] = harness_load_start(&o->newcomer, 1);
}

/* Each of them has been served n times more. */
static void await_others(struct others *o, uint64_t n)
{
	for (size_t i = 0; i < 3; i++) {
		uint64_t until = harness_load_ok(o->loads[i]) + n;
		wait_until(PATIENCE_MS, harness_load_ok(o->loads[i]) >= until);
	}
}

static void stop_others(struct others *o)
{
	for (size_t i = 0; i < 3; i++) {
		struct harness_load_counts n = harness_load_stop(&o->loads[i]);
		if (n.failed)
			fail_msg("%llu of %llu failed: %s", (unsigned long long)n.failed,
				(unsigned long long)(n.failed + n.ok), n.first);
	}
}

/* ---- all kinds at once ----------------------------------------------------------------- */

/* As many idle and silent ones as this machine's limit of open files has room for. */
static void fit_room(struct crowd_conf *conf)
{
	size_t room = crowd_room(), wanted = 0;

	for (unsigned k = 0; k < CROWD__N; k++)
		wanted += conf->n[k];
	if (wanted <= room)
		return;
	print_message("ulimit -n has room for %zu connections instead of %zu\n", room, wanted);
	assert_true(wanted - room < conf->n[CROWD_IDLE] + conf->n[CROWD_SILENT]);
	while (wanted > room) {
		unsigned *n = &conf->n[CROWD_SILENT];
		if (*n == 0)
			n = &conf->n[CROWD_IDLE];
		--*n;
		wanted--;
	}
}

static void open_up(struct up *u)
{
	static const char *const quiet[] = { "PIRN_ACCESS_LOG=no", NULL };

	fabric_link_services(u->services, sizeof u->services);
	u->environment = quiet;
	up_start(u, NULL);
}

static void test_the_others_are_served(void **state)
{
	struct crowd_conf conf = { .large = "/trouble/bytes/1000000",
		.post = "/echo",
		.again_ms = 500,
		.n = { [CROWD_SILENT] = 1000,
			[CROWD_IDLE] = 10000,
			[CROWD_SLOW_HEAD] = 300,
			[CROWD_SLOW_BODY] = 200,
			[CROWD_STALLED] = 100,
			[CROWD_UNREAD] = 50,
			[CROWD_RESET] = 50,
			[CROWD_GARBAGE] = 50,
			[CROWD_ENDLESS] = 10,
			[CROWD_LARGE] = 10,
			[CROWD_HUGE_HEAD] = 50 } };
	struct up u = { 0 };
	struct others others;
	struct crowd *crowd;
	pid_t gateway;
	unsigned long kb;

	(void)state;
	memset(&others, 0, sizeof others);
	open_up(&u);
	gateway = harness_child_named(harness_pid(u.process), "pirn-gateway");
	assert_true(gateway > 0);
	fit_room(&conf);
	conf.base = u.http;
	start_others(&others, u.http);
	crowd = crowd_start(&conf);
	wait_until(PATIENCE_MS, crowd_ready(crowd));
	await_others(&others, 300);
	kb = pss_kb(gateway);
	if (kb > MOST_KB)
		fail_msg("the gateway takes %lu kB", kb);
	assert_true(users_of(u.admin, "pirn_gateway_connections") >= conf.n[CROWD_IDLE]);
	stop_others(&others);
	assert_int_equal(crowd_counts(crowd, CROWD_SILENT).failed, 0);
	expect_statuses(crowd, CROWD_IDLE, 200, 200);
	expect_statuses(crowd, CROWD_GARBAGE, 400, 200);
	expect_statuses(crowd, CROWD_ENDLESS, 413, 413);
	expect_statuses(crowd, CROWD_LARGE, 413, 413);
	expect_statuses(crowd, CROWD_HUGE_HEAD, 431, 431);
	crowd_stop(&crowd);
	wait_until(PATIENCE_MS, users_of(u.admin, "pirn_gateway_connections") == 0);
	wait_until(PATIENCE_MS, users_of(u.admin, "pirn_gateway_held_bytes") == 0);
	assert_true(pss_kb(gateway) < kb);
	assert_int_equal(harness_child_named(harness_pid(u.process), "pirn-gateway"), gateway);
	up_stop(&u);
}

/* ---- deadlines -------------------------------------------------------------------------- */

static void await_ends(struct crowd *c, enum crowd_kind kind, unsigned n)
{
	struct crowd_counts counts;

	wait_until(PATIENCE_MS, crowd_counts(c, kind).opened >= n);
	crowd_dismiss(c, kind);
	wait_until(PATIENCE_MS, crowd_counts(c, kind).open == 0);
	counts = crowd_counts(c, kind);
	assert_true(counts.ended == counts.opened && counts.failed == 0);
}

static void test_every_slow_one_is_cut(void **state)
{
	static const char *const flags[] = { "--head-timeout", "500ms", "--body-timeout", "1s",
		"--idle-timeout", "1s", "--no-access-log", NULL };
	static const enum crowd_kind kinds[] = { CROWD_SILENT, CROWD_IDLE, CROWD_SLOW_HEAD,
		CROWD_SLOW_BODY, CROWD_STALLED };
	struct crowd_conf conf = { .large = "/trouble/bytes/100000",
		.post = "/echo",
		.body = 10000,
		.byte_ms = 50,
		.n = { [CROWD_SILENT] = 100,
			[CROWD_IDLE] = 100,
			[CROWD_SLOW_HEAD] = 100,
			[CROWD_SLOW_BODY] = 100,
			[CROWD_STALLED] = 20,
			[CROWD_UNREAD] = 10 } };
	struct fabric f = { .gateway_flags = flags };
	struct others others;
	struct crowd *crowd;

	(void)state;
	memset(&others, 0, sizeof others);
	fabric_start(&f);
	conf.base = f.http;
	start_others(&others, f.http);
	crowd = crowd_start(&conf);
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		await_ends(crowd, kinds[i], conf.n[kinds[i]]);
	await_others(&others, 50);
	stop_others(&others);
	assert_int_equal(
		crowd_counts(crowd, CROWD_SILENT).mute, crowd_counts(crowd, CROWD_SILENT).ended);
	assert_int_equal(crowd_counts(crowd, CROWD_IDLE).mute, 0);
	expect_statuses(crowd, CROWD_IDLE, 200, 200);
	for (size_t i = 2; i < 5; i++) {
		struct crowd_counts n = crowd_counts(crowd, kinds[i]);
		expect_statuses(crowd, kinds[i], 408, 408);
		assert_int_equal(n.status[408], n.ended);
	}
	/* What an unread one is not sent any more it cannot see; the gateway has let go of it. */
	crowd_dismiss(crowd, CROWD_UNREAD);
	wait_until(PATIENCE_MS, users_of(f.admin, "pirn_gateway_connections") == 0);
	assert_true(users_of(f.admin, "pirn_gateway_connections_cut_total") >= 430);
	assert_true(users_of(f.admin, "pirn_gateway_connections_evicted_total") == 0);
	crowd_stop(&crowd);
	fabric_stop(&f);
}

/* ---- more than there is room for ---------------------------------------------------------- */

static void test_idle_and_slow_ones_make_room(void **state)
{
	const char *const flags[] = { "--max-connections", "100", "--max-held", "8m",
		"--no-access-log", NULL };
	struct crowd_conf conf = { .large = "/trouble/bytes/1000000",
		.post = "/echo",
		.byte_ms = 50,
		.again_ms = 3000,
		.n = { [CROWD_SILENT] = 30,
			[CROWD_IDLE] = 50,
			[CROWD_SLOW_HEAD] = 30,
			[CROWD_SLOW_BODY] = 30,
			[CROWD_STALLED] = 10,
			[CROWD_UNREAD] = 10 } };
	struct fabric f = { .gateway_flags = flags };
	struct others others;
	struct crowd *crowd;

	(void)state;
	memset(&others, 0, sizeof others);
	fabric_start(&f);
	conf.base = f.http;
	crowd = crowd_start(&conf);
	for (unsigned k = 0; k < CROWD__N; k++) /* each has been there, and some have had to go */
		wait_until(
			PATIENCE_MS, crowd_counts(crowd, (enum crowd_kind)k).opened >= conf.n[k]);
	wait_until(PATIENCE_MS, users_of(f.admin, "pirn_gateway_connections_evicted_total") > 60);
	start_others(&others, f.http);
	await_others(&others, 300);
	assert_true(pss_kb(harness_pid(f.gateways[0])) < 64 * 1024);
	stop_others(&others);
	assert_true(users_of(f.admin, "pirn_gateway_connections") <= 100 + SPARE);
	expect_statuses(crowd, CROWD_IDLE, 200, 503);
	crowd_stop(&crowd);
	wait_until(PATIENCE_MS, users_of(f.admin, "pirn_gateway_connections") == 0);
	assert_true(users_of(f.admin, "pirn_gateway_held_bytes") == 0);
	fabric_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_others_are_served),
		cmocka_unit_test(test_every_slow_one_is_cut),
		cmocka_unit_test(test_idle_and_slow_ones_make_room),
	};

	return harness_main("hostile clients", tests);
}
