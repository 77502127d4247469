/* Memory that runs out, at every place in turn.
 *
 *   static void path(void)
 *   {
 *           struct base_buf b;                       // what stands before: with memory
 *           base_buf_init(&b);
 *           OOM(base_buf_str(&b, "text"));           // what is tried: here allocations may fail
 *           assert_true(b.failed || b.size == 4);    // right, or refused
 *           base_buf_fini(&b);
 *   }
 *   oom_sweep("a buffer", path, 0);
 *
 * oom_sweep runs the path once and counts the allocations inside OOM(), N. Then, for n = 1 … N,
 * it runs it anew in a process of its own
 *
 *   ONE    where the n-th fails,
 *   FROM   where the n-th and all after it fail,
 *   SOME   where the n-th and every seventh after it fail,
 *
 * and each of these processes must end well: the path's own assertions hold, and every block is back
 * (the path frees what it made). With OOM_MAY_ABORT it may also end by abort(), called by our own code
 * in so many words or by libuv or libzmq, which give up like this; an assertion that fails is no such end,
 * nor is a signal, an exit, or a hang.
 *
 * Of a long path a sample is taken: OOM_RUNS processes (90), drawn by OOM_SEED (the time). OOM_FULL=1 takes
 * all. What fails prints the line that plays it again: OOM_ONLY='name/mode/n'.
 *
 * The allocator here stands before the C library's for the whole process, libraries included; under
 * AddressSanitizer it hands on to the sanitizer's, so that what an error path touches is watched, too.
 * Only the thread that is inside OOM() is refused anything. To be included by one file of a test program.
 */
#ifndef TESTS_OOM_OOM_H
#define TESTS_OOM_OOM_H

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define OOM_MAY_ABORT 1u /* the path stands for a process, which a supervisor would start again */
#define OOM_THREADS   2u /* blocks of other threads come and go: what is out at the end says nothing */

#define OOM_RUNS    90
#define OOM_HANG_S  60
#define OOM_FRAMES  14
#define OOM_API     __attribute__((unused)) static

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OOM_ASAN 1
#elif __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define OOM_NONE 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define OOM_ASAN 1
#elif defined(__SANITIZE_THREAD__)
#define OOM_NONE 1 /* its allocator cannot be stood before */
#endif

enum oom_mode { OOM_ONE, OOM_FROM, OOM_SOME, OOM_MODE__N };

static const char *const oom_modes[] = { "ONE", "FROM", "SOME" };

/* What the child tells: in memory that both have. */
struct oom_shared {
	unsigned long n;       /* allocations inside OOM() */
	unsigned long refused;
	long leaked;
	char aborted_by[128];  /* the object that called abort() */
	int n_frames;          /* of the first refusal */
	void *frames[OOM_FRAMES];
};

static struct oom_shared *oom_shared;
static _Thread_local unsigned oom_depth; /* > 0: inside OOM() */
static enum oom_mode oom_mode;
static unsigned long oom_nth; /* 0: never */
static unsigned long oom_n;
static atomic_long oom_live;  /* blocks that are out */

#define OOM(...) \
	do { \
		oom_depth++; \
		__VA_ARGS__; \
		oom_depth--; \
	} while (0)

/* The same as an expression. */
#define OOM_GET(expression) \
	__extension__({ \
		oom_depth++; \
		__typeof__(expression) oom_got_ = (expression); \
		oom_depth--; \
		oom_got_; \
	})

/* ---- the allocator ------------------------------------------------------------------ */

OOM_API bool oom_is_due(void)
{
	if (oom_nth == 0 || oom_n < oom_nth)
		return false;
	switch (oom_mode) {
	case OOM_ONE:
		return oom_n == oom_nth;
	case OOM_SOME:
		return (oom_n - oom_nth) % 7 == 0;
	default:
		return true;
	}
}

OOM_API bool oom_refuses(void)
{
	unsigned depth = oom_depth;

	if (depth == 0)
		return false;
	oom_n++;
	if (!oom_is_due())
		return false;
	if (oom_shared && oom_shared->refused++ == 0) {
		oom_depth = 0;
		oom_shared->n_frames = backtrace(oom_shared->frames, OOM_FRAMES);
		oom_depth = depth;
	}
	errno = ENOMEM;
	return true;
}

#ifndef OOM_NONE
#ifdef OOM_ASAN
#define OOM_REAL(name) __interceptor_##name
#else
#define OOM_REAL(name) __libc_##name
#endif
void *OOM_REAL(malloc)(size_t size);
void *OOM_REAL(calloc)(size_t n, size_t size);
void *OOM_REAL(realloc)(void *old, size_t size);
void *OOM_REAL(memalign)(size_t alignment, size_t size);
void OOM_REAL(free)(void *block);

static void *oom_made(void *block)
{
	if (block)
		atomic_fetch_add_explicit(&oom_live, 1, memory_order_relaxed);
	return block;
}

void *malloc(size_t size)
{
	return oom_refuses() ? NULL : oom_made(OOM_REAL(malloc)(size));
}

void *calloc(size_t n, size_t size)
{
	return oom_refuses() ? NULL : oom_made(OOM_REAL(calloc)(n, size));
}

void *realloc(void *old, size_t size)
{
	if (!old)
		return malloc(size);
	if (size == 0) {
		free(old);
		return NULL;
	}
	return oom_refuses() ? NULL : OOM_REAL(realloc)(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return oom_refuses() ? NULL : oom_made(OOM_REAL(memalign)(alignment, size));
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *block = aligned_alloc(alignment, size);

	if (!block)
		return ENOMEM;
	*out = block;
	return 0;
}

void free(void *block)
{
	if (block)
		atomic_fetch_sub_explicit(&oom_live, 1, memory_order_relaxed);
	OOM_REAL(free)(block);
}

char *strndup(const char *text, size_t max)
{
	size_t size = strnlen(text, max);
	char *copy = malloc(size + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text, size);
	copy[size] = '\0';
	return copy;
}

char *strdup(const char *text)
{
	return strndup(text, SIZE_MAX);
}

/* assert() does not come by here. */
void abort(void)
{
	Dl_info info = { 0 };

	oom_depth = 0;
	if (oom_shared && dladdr(__builtin_return_address(0), &info) && info.dli_fname)
		snprintf(oom_shared->aborted_by, sizeof oom_shared->aborted_by, "%s",
			strrchr(info.dli_fname, '/') ? strrchr(info.dli_fname, '/') + 1
						     : info.dli_fname);
	signal(SIGABRT, SIG_DFL);
	raise(SIGABRT);
	_exit(127);
}
#endif

/* ---- one run ------------------------------------------------------------------------- */

static int oom_said = -1; /* what the child wrote */

_Noreturn OOM_API void oom_child(void (*path)(void), unsigned flags)
{
	long live;

	for (int s = 1; s < 32; s++)
		if (s != SIGKILL && s != SIGSTOP && s != SIGPIPE)
			signal(s, SIG_DFL); /* cmocka has handlers of its own */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	dup2(oom_said, STDOUT_FILENO);
	dup2(oom_said, STDERR_FILENO);
	alarm(OOM_HANG_S);
	live = atomic_load(&oom_live);
	path();
	oom_shared->n = oom_n;
	if (!(flags & OOM_THREADS))
		oom_shared->leaked = atomic_load(&oom_live) - live;
	fflush(NULL);
	_exit(0);
}

/* The wait status. */
OOM_API int oom_run(void (*path)(void), unsigned flags, enum oom_mode mode, unsigned long nth)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	memset(oom_shared, 0, sizeof *oom_shared);
	assert_int_equal(ftruncate(oom_said, 0), 0);
	assert_int_equal(lseek(oom_said, 0, SEEK_SET), 0);
	oom_mode = mode;
	oom_nth = nth;
	oom_n = 0;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		oom_child(path, flags);
	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	oom_nth = 0;
	return status;
}

OOM_API bool oom_aborted_cleanly(int status)
{
	const char *by = oom_shared->aborted_by;

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
	       (strcmp(by, program_invocation_short_name) == 0 || strncmp(by, "libuv", 5) == 0 ||
		       strncmp(by, "libzmq", 6) == 0 || strncmp(by, "libstdc++", 9) == 0);
}

OOM_API void oom_show(int status, const char *name, const char *mode, unsigned long nth)
{
	char said[8192];
	ssize_t n = pread(oom_said, said, sizeof said - 1, 0);

	said[n > 0 ? n : 0] = '\0';
	fprintf(stderr, "OOM_ONLY='%s/%s/%lu': ", name, mode, nth);
	if (WIFSIGNALED(status))
		fprintf(stderr, "signal %d %s\n", WTERMSIG(status), oom_shared->aborted_by);
	else
		fprintf(stderr, "status %d, %ld blocks leaked\n", WEXITSTATUS(status),
			oom_shared->leaked);
	fprintf(stderr, "%s\nrefused first (%lu in all) at:\n", said, oom_shared->refused);
	fflush(stderr);
	backtrace_symbols_fd(oom_shared->frames, oom_shared->n_frames, STDERR_FILENO);
}

/* ---- the sweep ------------------------------------------------------------------------ */

struct oom_tally {
	unsigned long n, runs, right, aborted, bad;
};

OOM_API void oom_try(const char *name, void (*path)(void), unsigned flags, enum oom_mode mode,
	unsigned long nth, struct oom_tally *t)
{
	int status = oom_run(path, flags, mode, nth);
	bool right = WIFEXITED(status) && WEXITSTATUS(status) == 0 && oom_shared->leaked == 0;
	bool aborted = (flags & OOM_MAY_ABORT) && oom_aborted_cleanly(status);

	t->runs++;
	t->right += right;
	t->aborted += aborted;
	if (right || aborted)
		return;
	if (t->bad++ < 5)
		oom_show(status, name, oom_modes[mode], nth);
}

/* A generator of its own: the sample depends on the seed and the path's name, not on who ran before. */
OOM_API uint64_t oom_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

OOM_API uint64_t oom_number(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

OOM_API uint64_t oom_seed(void)
{
	static uint64_t seed;

	if (!seed)
		seed = oom_number("OOM_SEED", (uint64_t)time(NULL));
	return seed;
}

OOM_API void oom_try_only(const char *only, const char *name, void (*path)(void), unsigned flags,
	struct oom_tally *t)
{
	size_t size = strlen(name);
	char mode[8];
	unsigned long nth;

	if (strncmp(only, name, size) != 0 || sscanf(only + size, "/%7[A-Z]/%lu", mode, &nth) != 2)
		return;
	for (int i = 0; i < OOM_MODE__N; i++)
		if (strcmp(mode, oom_modes[i]) == 0)
			oom_try(name, path, flags, (enum oom_mode)i, nth, t);
}

OOM_API void oom_sample(
	const char *name, void (*path)(void), unsigned flags, struct oom_tally *t)
{
	uint64_t all = t->n * OOM_MODE__N, runs = oom_number("OOM_RUNS", OOM_RUNS);
	uint64_t chance = oom_seed();

	if (getenv("OOM_FULL") || runs > all)
		runs = all;
	for (const char *at = name; *at; at++)
		chance = chance * 31 + (uint8_t)*at;
	/* One of each stretch of equal length: all parts of the path get their share. */
	for (uint64_t i = 0; i < runs; i++) {
		uint64_t from = all * i / runs, to = all * (i + 1) / runs;
		uint64_t at = from + oom_next(&chance) % (to - from);

		oom_try(name, path, flags, (enum oom_mode)(at % OOM_MODE__N), at / OOM_MODE__N + 1,
			t);
	}
}

OOM_API struct oom_tally oom_sweep(const char *name, void (*path)(void), unsigned flags)
{
	struct oom_tally t = { 0 };
	const char *only = getenv("OOM_ONLY");
	void *warm[1];
	int status;

#ifdef OOM_NONE
	skip();
#endif
	if (!oom_shared) {
		oom_shared = mmap(NULL, sizeof *oom_shared, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		oom_said = memfd_create("said", MFD_CLOEXEC);
		assert_true(oom_shared != MAP_FAILED && oom_said >= 0);
		(void)backtrace(warm, 1); /* it loads a library at first */
	}
	if (!(flags & OOM_THREADS))
		path(); /* what the libraries keep for ever, they have from now on */
	status = oom_run(path, flags, OOM_ONE, 0);
	if (status || oom_shared->leaked) {
		oom_show(status, name, "NONE", 0);
		fail_msg("%s: wrong with all the memory there is", name);
	}
	t.n = oom_shared->n;
	if (t.n == 0)
		fail_msg("%s: allocates nothing", name);
	if (only)
		oom_try_only(only, name, path, flags, &t);
	else
		oom_sample(name, path, flags, &t);
	printf("%-34s %5lu allocations %6lu runs %6lu right %5lu aborted\n", name, t.n, t.runs,
		t.right, t.aborted);
	fflush(stdout);
	if (t.bad > 0)
		fail_msg("%s: %lu of %lu went wrong (OOM_SEED=%llu)", name, t.bad, t.runs,
			(unsigned long long)oom_seed());
	return t;
}

#endif
