/* Waiting for a fact, instead of sleeping.
 *
 *   wait_until(PATIENCE_MS, harness_logged(worker, "worker_ready", NULL));
 *
 * Looks every few milliseconds and goes on at once when the condition holds; when
 * the time is over the test fails with the condition's text. Bounds are generous:
 * they are for machines that are busy with something else.
 */
#ifndef TESTS_HARNESS_WAIT_H
#define TESTS_HARNESS_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#define PATIENCE_MS 120000

#define wait_until(timeout_ms, condition) \
	do { \
		uint64_t wait_end_ = harness_wait_end(timeout_ms); \
		while (!(condition)) \
			harness_wait_pause(wait_end_, #condition, __FILE__, __LINE__); \
	} while (0)

uint64_t harness_now_ms(void);
uint64_t harness_wait_end(uint64_t timeout_ms);
/* Pauses a moment; fails the test when it is later than end. */
void harness_wait_pause(uint64_t end, const char *condition, const char *file, int line);

/* main() of a test program: runs the group (cmocka), shows the ends of all children's logs when a test
 * failed, and removes this program's directory (TEST_KEEP=1: not when a test failed). */
#define harness_main(name, tests) harness_finish(cmocka_run_group_tests_name(name, tests, NULL, NULL))
int harness_finish(int failed);

/* The directory of this test program, made at first use under $TMPDIR; short enough for sockets. */
const char *harness_dir(void);
/* A new directory in it. */
void harness_new_dir(const char *prefix, char *out, unsigned room);

#endif
