#include "tests/harness/wait.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/harness/process.h"

#define PAUSE_MS 5

static char directory[128];

/* TEST_FILTER='test_a_broker*' runs some of a program's tests. */
__attribute__((constructor)) static void set_filter(void)
{
	cmocka_set_test_filter(getenv("TEST_FILTER"));
}

uint64_t harness_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t harness_wait_end(uint64_t timeout_ms)
{
	return harness_now_ms() + timeout_ms;
}

void harness_wait_pause(uint64_t end, const char *condition, const char *file, int line)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000 * 1000 };

	if (harness_now_ms() >= end) {
		print_error("this did not become true in time: %s\n", condition);
		_fail(file, line);
	}
	nanosleep(&pause, NULL);
}

const char *harness_dir(void)
{
	const char *tmp = getenv("TMPDIR");

	if (directory[0])
		return directory;
	if (!tmp || strlen(tmp) > 40)
		tmp = "/tmp";
	(void)snprintf(directory, sizeof directory, "%s/pirn-test-XXXXXX", tmp);
	if (!mkdtemp(directory)) {
		perror("harness: mkdtemp");
		abort();
	}
	return directory;
}

void harness_new_dir(const char *prefix, char *out, unsigned room)
{
	static unsigned n;

	(void)snprintf(out, room, "%s/%s%u", harness_dir(), prefix, ++n);
	if (mkdir(out, 0755) != 0) {
		perror("harness: mkdir");
		abort();
	}
}

int harness_finish(int failed)
{
	char command[256];

	if (failed)
		harness_dump_logs();
	harness_end_all();
	if (directory[0] && failed && getenv("TEST_KEEP")) {
		fprintf(stderr, "harness: all logs are in %s\n", directory);
	} else if (directory[0]) {
		(void)snprintf(command, sizeof command, "rm -rf '%s'", directory);
		if (system(command) != 0)
			fprintf(stderr, "harness: %s is left behind\n", directory);
	}
	return failed;
}
