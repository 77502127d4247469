#include "tests/harness/up.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/harness/wait.h"

#define WORDS 40

void up_spawn(struct up *u, const char *const *flags)
{
	const char *argv[WORDS + 1] = { "pirn", "up", "--http", "127.0.0.1:0", "--admin",
		"127.0.0.1:0", "--log", "json" };
	size_t n = 8;

	if (!u->data[0])
		harness_new_dir("data", u->data, sizeof u->data);
	argv[n++] = "--data";
	argv[n++] = u->data;
	if (u->services[0]) {
		argv[n++] = "--services";
		argv[n++] = u->services;
	}
	for (; flags && *flags && n < WORDS; flags++)
		argv[n++] = *flags;
	u->process = harness_spawn("up", NULL, argv, u->environment);
}

void up_wait_ready(struct up *u, unsigned times)
{
	char text[100];

	wait_until(UP_MS, !harness_is_running(u->process) ||
				  harness_log_count(u->process, "up_ready", NULL, NULL) >= times);
	assert_true(harness_is_running(u->process));
	assert_true(harness_log_field(u->process, "up_ready", "http", text, sizeof text));
	(void)snprintf(u->http, sizeof u->http, "http://%s", text);
	assert_true(harness_log_field(u->process, "up_ready", "admin", text, sizeof text));
	(void)snprintf(u->admin, sizeof u->admin, "http://%s", text);
}

void up_start(struct up *u, const char *const *flags)
{
	up_spawn(u, flags);
	up_wait_ready(u, 1);
}

void up_stop(struct up *u)
{
	harness_signal(u->process, SIGTERM);
	assert_int_equal(harness_wait(u->process, UP_MS), 0);
	assert_int_equal(harness_working_in(u->data), 0);
	harness_free(&u->process);
}
