#include "worker/crash.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "worker/request.h"

/* A line of the log takes no memory and no lock of ours, but is not made for this place: should it hang,
 * the alarm ends the process all the same. The signal itself, unblocked at the return, ends it otherwise. */
static void on_crash(int number)
{
	const struct wrk_where *where = wrk_native_where();

	(void)signal(SIGALRM, SIG_DFL);
	(void)alarm(1);
	base_log(BASE_ERROR, "worker_crashed", LOG_STR("signal", strsignal(number)),
		LOG_STR("service", where->native ? wrk_native_name(where->native) : NULL),
		LOG_STR("run", where->request ? pirn_request_id(where->request) : NULL));
	(void)raise(number);
}

void wrk_crash_watch(void)
{
	static const int numbers[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT };
	struct sigaction action = { .sa_flags = (int)(SA_RESETHAND | SA_ONSTACK) };

	action.sa_handler = on_crash;
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		(void)sigaction(numbers[i], &action, NULL);
}

/* A line of the log is built on the stack: that wants more than the system's least. */
#define STACK_SIZE 65536u

static _Thread_local void *stack;

void wrk_crash_enter(void)
{
	stack_t own = { .ss_size = STACK_SIZE };

	stack = own.ss_sp = malloc(STACK_SIZE);
	if (stack)
		(void)sigaltstack(&own, NULL);
}

void wrk_crash_leave(void)
{
	stack_t none = { .ss_flags = SS_DISABLE };

	(void)sigaltstack(&none, NULL);
	free(stack);
	stack = NULL;
}
