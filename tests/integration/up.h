/* `pirn up` for the tests that look at it from outside. Each has a data directory
 * and ports of its own; the actual ports are in its up_ready line.
 */
#ifndef TESTS_INTEGRATION_UP_H
#define TESTS_INTEGRATION_UP_H

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "tests/harness/http.h"
#include "tests/harness/process.h"
#include "tests/harness/wait.h"

#define UP_MS 30000
#define UP_WORDS 40

struct up {
	char data[PATH_MAX];
	char services[PATH_MAX]; /* "": the program's own */
	char http[128], admin[128];
	struct harness_process *process;
};

/* Starts it without waiting. flags: more of them, NULL-terminated, or NULL. */
static inline void up_spawn(struct up *u, const char *const *flags)
{
	const char *argv[UP_WORDS + 1] = { "pirn", "up", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log", "json" };
	size_t n = 8;

	if (!u->data[0])
		harness_new_dir("data", u->data, sizeof u->data);
	argv[n++] = "--data";
	argv[n++] = u->data;
	if (u->services[0]) {
		argv[n++] = "--services";
		argv[n++] = u->services;
	}
	for (; flags && *flags && n < UP_WORDS; flags++)
		argv[n++] = *flags;
	u->process = harness_spawn("up", NULL, argv, NULL);
}

static inline void up_wait_ready(struct up *u, unsigned times)
{
	char text[100];

	wait_until(UP_MS, !harness_is_running(u->process) || harness_log_count(u->process, "up_ready", NULL, NULL) >= times);
	assert_true(harness_is_running(u->process));
	assert_true(harness_log_field(u->process, "up_ready", "http", text, sizeof text));
	(void)snprintf(u->http, sizeof u->http, "http://%s", text);
	assert_true(harness_log_field(u->process, "up_ready", "admin", text, sizeof text));
	(void)snprintf(u->admin, sizeof u->admin, "http://%s", text);
}

static inline void up_start(struct up *u, const char *const *flags)
{
	up_spawn(u, flags);
	up_wait_ready(u, 1);
}

#endif
