/* `pirn up` for the tests that look at it from outside. Each has a data directory
 * and ports of its own; the actual ports are in its up_ready line.
 */
#ifndef TESTS_HARNESS_UP_H
#define TESTS_HARNESS_UP_H

#include <limits.h>

#include "tests/harness/process.h"

#define UP_MS 120000

struct up {
	char data[PATH_MAX];     /* made when it is "" */
	char services[PATH_MAX]; /* "": the program's own */
	const char *const *environment; /* as harness_spawn's */
	char http[128], admin[128];
	struct harness_process *process;
};

/* Starts it without waiting. flags: more of them, NULL-terminated, or NULL. */
void up_spawn(struct up *u, const char *const *flags);
/* Waits until it has said so often that it is ready, and notes where it listens. */
void up_wait_ready(struct up *u, unsigned times);
void up_start(struct up *u, const char *const *flags); /* both */
/* SIGTERM; it must end with 0 and leave nobody behind. */
void up_stop(struct up *u);

#endif
