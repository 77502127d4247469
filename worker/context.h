/* A stack, and where one is on it: what a fiber (worker/fibers.h) is made of. One thread goes from
 * one to another; a context never changes its thread.
 *
 * A page below each stack may not be touched: who needs more ends by SIGSEGV, as with threads, and
 * overwrites nothing. The sanitizers, which keep books of stacks, are told of each change.
 */
#ifndef WRK_CONTEXT_H
#define WRK_CONTEXT_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <ucontext.h>

#define WRK_CONTEXT_STACK ((size_t)1024 * 1024) /* what is not touched takes no memory */

struct wrk_context {
	ucontext_t place; /* where it begins */
	jmp_buf here;     /* where it was left */
	bool begun;
	char *memory; /* the page and the stack; NULL: a thread's own */
	/* The sanitizers': */
	const void *stack;
	size_t stack_size;
	void *books;
};

/* The calling thread, as it stands. */
void wrk_context_init_thread(struct wrk_context *c);
/* A new stack; main, which must not return, is called there at the first switch. False: out of memory. */
bool wrk_context_init(struct wrk_context *c, void (*main)(void));
void wrk_context_fini(struct wrk_context *c); /* nobody is on it, or will be again */

/* Leaves from, which is where one is, and comes back when somebody switches to it. */
void wrk_context_switch(struct wrk_context *from, struct wrk_context *to);
/* The first thing main does; from is where it came from. */
void wrk_context_arrive(struct wrk_context *from);

#endif
