/* glibc's swapcontext makes two system calls for the signals' mask, which all contexts of a thread share here:
 * with it a change costs five times as much. So it serves for the first time only, and where a sanitizer wants to
 * know; else it is _setjmp and _longjmp. Those are checked, if one asks for that, for jumps into frames that are gone,
 * and would take every stack but the thread's own for such.
 */
#undef _FORTIFY_SOURCE
#include "worker/context.h"

#include <assert.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define ADDRESSES
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define THREADS
#include <sanitizer/tsan_interface.h>
#endif

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

void wrk_context_init_thread(struct wrk_context *c)
{
	*c = (struct wrk_context){ 0 };
#ifdef THREADS
	c->books = __tsan_get_current_fiber();
#endif
}

/* Apart, because getcontext returns twice to the compiler's mind. */
static void set_place(struct wrk_context *c, void (*main)(void))
{
	int rc = getcontext(&c->place);

	assert(rc == 0);
	c->place.uc_stack.ss_sp = c->memory + page_size();
	c->place.uc_stack.ss_size = WRK_CONTEXT_STACK;
	makecontext(&c->place, main, 0);
}

bool wrk_context_init(struct wrk_context *c, void (*main)(void))
{
	size_t page = page_size();
	char *memory = mmap(NULL, page + WRK_CONTEXT_STACK, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return false;
	*c = (struct wrk_context){ .memory = memory,
		.stack = memory + page,
		.stack_size = WRK_CONTEXT_STACK };
	if (mprotect(memory, page, PROT_NONE) != 0) {
		(void)munmap(memory, page + WRK_CONTEXT_STACK);
		return false;
	}
#ifdef THREADS
	c->books = __tsan_create_fiber(0);
#endif
	set_place(c, main);
	return true;
}

void wrk_context_fini(struct wrk_context *c)
{
	if (!c->memory)
		return;
#ifdef THREADS
	__tsan_destroy_fiber(c->books);
#endif
	(void)munmap(c->memory, page_size() + WRK_CONTEXT_STACK);
	c->memory = NULL;
}

#if defined ADDRESSES || defined THREADS
static void change(struct wrk_context *from, struct wrk_context *to)
{
	int rc = swapcontext(&from->place, &to->place);

	assert(rc == 0);
}
#else
static void change(struct wrk_context *from, struct wrk_context *to)
{
	if (_setjmp(from->here) != 0)
		return;
	from->begun = true;
	if (to->begun)
		_longjmp(to->here, 1);
	(void)setcontext(&to->place);
}
#endif

void wrk_context_switch(struct wrk_context *from, struct wrk_context *to)
{
#ifdef ADDRESSES
	__sanitizer_start_switch_fiber(&from->books, to->stack, to->stack_size);
#elif defined THREADS
	__tsan_switch_to_fiber(to->books, 0);
#endif
	change(from, to);
#ifdef ADDRESSES
	__sanitizer_finish_switch_fiber(from->books, NULL, NULL);
#endif
}

void wrk_context_arrive(struct wrk_context *from)
{
#ifdef ADDRESSES
	__sanitizer_finish_switch_fiber(NULL, &from->stack, &from->stack_size);
#else
	(void)from;
#endif
}
