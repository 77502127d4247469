/* Memory is scarce in real brokers, workers and gateways (preload/scarce.c), while events and calls
 * come: one allocation of so many fails, anywhere. Answers are right, or refusals; a process lives, or gives
 * up in so many words and is started again; and of what was accepted nothing is lost or done twice. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/fault/scene.h"

#define FLOW      60 /* events accepted in each round while memory is scarce */
#define ONE_IN    300
#define ABORTED   (128 + SIGABRT)
#define COULD_NOT 1  /* statuses of programs that could not start … */
#define NO_MEMORY 70 /* … a broker's */

static _Atomic uint32_t *one_in; /* and the number of allocations that failed: preload/scarce.c */
static unsigned n_aborted, n_brokers_aborted, n_not_started, n_calls, n_refused, n_unknown;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* the sanitizer's allocator cannot be stood before */
#else
#define SANITIZED 0
#endif

static int set_up(void **state)
{
	static char file[PATH_MAX + 16];
	char path[PATH_MAX];
	int fd;

	(void)state;
	harness_new_dir("scarce", path, sizeof path);
	(void)snprintf(file, sizeof file, "%s/one-in", path);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 2 * sizeof *one_in), 0);
	one_in = mmap(NULL, 2 * sizeof *one_in, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(one_in != MAP_FAILED);
	close(fd);
	setenv("SCARCE", file, 1);
	setenv("LD_PRELOAD", harness_build("tests/fault/scarce.so", path, sizeof path), 1);
	return 0;
}

static int tear_down(void **state)
{
	*one_in = 0;
	unsetenv("LD_PRELOAD");
	unsetenv("SCARCE");
	if (*state)
		scene_abort(*state);
	return 0;
}

/* Nothing but a deliberate end: an assertion of ours that fails ends in SIGABRT, too, and says so. */
static bool look(struct harness_process *p)
{
	int status;

	if (!p || harness_is_running(p))
		return false;
	status = harness_wait(p, SCENE_MS);
	if (status != ABORTED && status != COULD_NOT && status != NO_MEMORY)
		fail_msg("a process ended with status %d", status);
	if (harness_wrote(p, ": Assertion `"))
		fail_msg("an assertion failed for want of memory");
	n_aborted += status == ABORTED;
	n_not_started += status != ABORTED;
	harness_again(p);
	return true;
}

static bool supervise(struct scene *s)
{
	for (unsigned i = 0; i < FABRIC_MAX; i++) {
		n_brokers_aborted += look(s->f.brokers[i]);
		look(s->f.workers[i]);
		look(s->f.gateways[i]);
	}
	return true;
}

/* The right words, or a refusal, or a connection that ended with its gateway. */
static bool call(struct scene *s)
{
	char target[64];
	char expected[64];
	struct harness_answer a;

	(void)snprintf(target, sizeof target, "/hello?name=n%u", n_calls);
	(void)snprintf(expected, sizeof expected, "n%u", n_calls);
	a = harness_call(&(struct harness_call){ .base = s->f.urls[n_calls % s->f.n_gateways],
		.target = target,
		.timeout_ms = 3000 });
	if (a.status == 200)
		assert_non_null(strstr(a.body, expected));
	else if (a.status == 404 && n_brokers_aborted > 0)
		n_unknown++; /* of a broker that could not read the registry and has not met its workers yet */
	else if (a.status != 0 && a.status < 500)
		fail_msg("%s: %u %s", target, a.status, a.body);
	n_refused += a.status != 200;
	n_calls++;
	harness_answer_free(&a);
	return true;
}

static void test_memory_is_scarce(void **state)
{
	/* redis-server has an allocator of its own */
	static const char *const as_ever[] = { "LD_PRELOAD=", NULL };
	static struct scene s = { .name = "memory is scarce everywhere",
		.f = { .redis_environment = as_ever } };

	if (SANITIZED)
		skip();
	*state = &s;
	scene_begin(&s);
	/* Events would wait for an open one, longer each time, and long after memory is back. */
	assert_int_equal(
		harness_status(s.f.admin, "POST", "/v1/breakers/effect", "{\"force\":\"closed\"}"),
		200);
	for (unsigned i = 0; i < scene_rounds(); i++) {
		uint64_t before;

		scene_flow(&s, FLOW / 2);
		scene_fault(&s);
		before = load_accepted(s.load);
		*one_in = ONE_IN;
		wait_until(SCENE_MS,
			supervise(&s) && call(&s) && load_accepted(s.load) >= before + FLOW);
		*one_in = 0;
		wait_until(SCENE_MS, supervise(&s) && load_first_after(s.load) > 0);
		scene_recovered(&s);
		supervise(&s);
	}
	scene_end(&s);
	printf("%u allocations failed; %u gave up, %u could not start; %u of %u calls were refused, %u as unknown\n",
		one_in[1], n_aborted, n_not_started, n_refused, n_calls, n_unknown);
	assert_true(one_in[1] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_memory_is_scarce, set_up, tear_down),
	};

	return harness_main("scarce", tests);
}
