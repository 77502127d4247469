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
 *   SOME   where the n-th and every seventh after it fail, sixteen of them: then there is memory again, since
 *          what is tried again could else meet its seventh at the same place for ever,
 *
 * and each of these processes must end well: the path's own assertions hold, and every block is back
 * (the path frees what it made). With OOM_MAY_ABORT it may also end by abort(), called by our own code
 * in so many words or by libuv, libzmq or hiredis, which give up like this; an assertion that fails is no such end,
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
#define OOM_THREADS \
	2u /* blocks of other threads come and go: what is out at the end says nothing */

#define OOM_LOSES 8u  /* a library loses a block where it is refused one; ours does not */
#define OOM_FEW   16u /* each run waits, and none can be beside another: a quarter */
#define OOM_SLOW  4u  /* each run waits for this and that: an eighth of the sample, all at once */

#define OOM_RUNS   90
#define OOM_HANG_S 60
#define OOM_JOBS   12
#define OOM_FRAMES 14
#define OOM_API    __attribute__((unused)) static

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
#ifdef OOM_ASAN
#include <sanitizer/lsan_interface.h>
#endif

enum oom_mode { OOM_ONE, OOM_FROM, OOM_SOME, OOM_MODE__N };

static const char *const oom_modes[] = { "ONE", "FROM", "SOME" };

/* What the child tells: in memory that both have. */
struct oom_shared {
	unsigned long n; /* allocations inside OOM() */
	unsigned long refused;
	long leaked;
	char aborted_by[128]; /* the object that called abort() */
	int n_frames;         /* of the first refusal */
	void *frames[OOM_FRAMES];
};

static struct oom_shared *oom_shared;
static _Thread_local unsigned oom_depth; /* > 0: inside OOM() */
static enum oom_mode oom_mode;
static unsigned long oom_nth; /* 0: never */
static unsigned long oom_n;
static atomic_long oom_live; /* blocks that are out */

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
		return (oom_n - oom_nth) % 7 == 0 && (oom_n - oom_nth) / 7 < 16;
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

/* Threads of ours may have it blocked. */
_Noreturn OOM_API void oom_die(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGABRT);
	signal(SIGABRT, SIG_DFL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	raise(SIGABRT);
	_exit(127);
}

/* assert() does not come by here. */
void abort(void)
{
	Dl_info info = { 0 };
	void *frames[OOM_FRAMES];

	oom_depth = 0;
	backtrace_symbols_fd(frames, backtrace(frames, OOM_FRAMES),
		STDERR_FILENO); /* it is shown only if this was wrong */
	if (oom_shared && dladdr(__builtin_return_address(0), &info) && info.dli_fname)
		snprintf(oom_shared->aborted_by, sizeof oom_shared->aborted_by, "%s",
			strrchr(info.dli_fname, '/') ? strrchr(info.dli_fname, '/') + 1
						     : info.dli_fname);
	oom_die();
}
#endif

/* ---- one run ------------------------------------------------------------------------- */

struct oom_tally {
	unsigned long n, runs, right, aborted, bad;
};

struct oom_path {
	const char *name;
	void (*run)(void);
	unsigned flags;
	struct oom_tally tally;
};

/* A process that runs the path. Slow paths mostly wait: several at once. */
static struct oom_job {
	pid_t pid;
	int said; /* what it wrote */
	enum oom_mode mode;
	unsigned long nth;
	struct oom_shared *shared;
} oom_jobs[OOM_JOBS];

_Noreturn OOM_API void oom_child(const struct oom_path *p, const struct oom_job *job)
{
	long live;

	for (int s = 1; s < 32; s++)
		if (s != SIGKILL && s != SIGSTOP && s != SIGPIPE)
			signal(s, SIG_DFL); /* cmocka has handlers of its own */
	setenv("CMOCKA_TEST_ABORT", "1", 1);
	dup2(job->said, STDOUT_FILENO);
	dup2(job->said, STDERR_FILENO);
	alarm(OOM_HANG_S);
	oom_shared = job->shared;
	oom_mode = job->mode;
	oom_nth = job->nth;
	oom_n = 0;
	live = atomic_load(&oom_live);
	p->run();
	oom_shared->n = oom_n;
	if (!(p->flags & OOM_THREADS))
		oom_shared->leaked = atomic_load(&oom_live) - live;
#ifdef OOM_ASAN
	if (oom_shared->leaked)
		(void)__lsan_do_recoverable_leak_check();
#endif
	fflush(NULL);
	_exit(0);
}

OOM_API void oom_start(
	const struct oom_path *p, struct oom_job *job, enum oom_mode mode, unsigned long nth)
{
	fflush(NULL);
	if (!job->shared) {
		job->shared = mmap(NULL, sizeof *job->shared, PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		job->said = memfd_create("said", MFD_CLOEXEC);
		assert_true(job->shared != MAP_FAILED && job->said >= 0);
	}
	memset(job->shared, 0, sizeof *job->shared);
	assert_int_equal(ftruncate(job->said, 0), 0);
	assert_int_equal(lseek(job->said, 0, SEEK_SET), 0);
	job->mode = mode;
	job->nth = nth;
	job->pid = fork();
	assert_true(job->pid >= 0);
	if (job->pid == 0)
		oom_child(p, job);
}

OOM_API bool oom_aborted_cleanly(const struct oom_job *job, int status)
{
	const char *by = job->shared->aborted_by;

	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
	       (strcmp(by, program_invocation_short_name) == 0 || strncmp(by, "libuv", 5) == 0 ||
		       strncmp(by, "libzmq", 6) == 0 || strncmp(by, "libstdc++", 9) == 0 ||
		       strncmp(by, "libhiredis", 10) == 0 || strncmp(by, "libcurl", 7) == 0);
}

OOM_API void oom_show(const struct oom_path *p, const struct oom_job *job, int status)
{
	char said[8192];
	ssize_t n = pread(job->said, said, sizeof said - 1, 0);

	said[n > 0 ? n : 0] = '\0';
	fprintf(stderr, "OOM_ONLY='%s/%s/%lu': ", p->name, oom_modes[job->mode], job->nth);
	if (WIFSIGNALED(status))
		fprintf(stderr, "signal %d %s\n", WTERMSIG(status), job->shared->aborted_by);
	else
		fprintf(stderr, "status %d, %ld blocks leaked\n", WEXITSTATUS(status),
			job->shared->leaked);
	fprintf(stderr, "%s\nrefused first (%lu in all) at:\n", said, job->shared->refused);
	fflush(stderr);
	backtrace_symbols_fd(job->shared->frames, job->shared->n_frames, STDERR_FILENO);
}

OOM_API void oom_end(struct oom_path *p, struct oom_job *job)
{
	int status = 0;
	bool right, aborted;

	while (waitpid(job->pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	job->pid = 0;
	right = WIFEXITED(status) && WEXITSTATUS(status) == 0 && job->shared->leaked >= 0 &&
		(unsigned long)job->shared->leaked <=
			(p->flags & OOM_LOSES ? job->shared->refused : 0);
	aborted = (p->flags & OOM_MAY_ABORT) && oom_aborted_cleanly(job, status);
	p->tally.runs++;
	p->tally.right += right;
	p->tally.aborted += aborted;
	if (!right && !aborted && p->tally.bad++ < 5)
		oom_show(p, job, status);
}

OOM_API void oom_end_all(struct oom_path *p)
{
	for (size_t i = 0; i < OOM_JOBS; i++)
		if (oom_jobs[i].pid > 0)
			oom_end(p, &oom_jobs[i]);
}

/* ---- the sweep ------------------------------------------------------------------------ */

OOM_API void oom_try(struct oom_path *p, enum oom_mode mode, unsigned long nth)
{
	static size_t turn;
	struct oom_job *job = &oom_jobs[p->flags & OOM_SLOW ? turn++ % OOM_JOBS : 0];

	if (job->pid > 0)
		oom_end(p, job);
	oom_start(p, job, mode, nth);
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

OOM_API void oom_try_only(struct oom_path *p, const char *only)
{
	size_t size = strlen(p->name);
	char mode[8];
	unsigned long nth;

	if (strncmp(only, p->name, size) != 0 ||
		sscanf(only + size, "/%7[A-Z]/%lu", mode, &nth) != 2)
		return;
	for (int i = 0; i < OOM_MODE__N; i++)
		if (strcmp(mode, oom_modes[i]) == 0)
			oom_try(p, (enum oom_mode)i, nth);
}

OOM_API void oom_sample(struct oom_path *p)
{
	uint64_t all = p->tally.n * OOM_MODE__N, runs = oom_number("OOM_RUNS", OOM_RUNS);
	uint64_t chance = oom_seed();

	if (p->flags & OOM_SLOW)
		runs = runs / 8 + 1;
	if (p->flags & OOM_FEW)
		runs = runs / 4 + 1;
	if (getenv("OOM_FULL") || runs > all)
		runs = all;
	for (const char *at = p->name; *at; at++)
		chance = chance * 31 + (uint8_t)*at;
	/* One of each stretch of equal length: all parts of the path get their share. */
	for (uint64_t i = 0; i < runs; i++) {
		uint64_t from = all * i / runs, to = all * (i + 1) / runs;
		uint64_t at = from + oom_next(&chance) % (to - from);

		oom_try(p, (enum oom_mode)(at % OOM_MODE__N), at / OOM_MODE__N + 1);
	}
}

OOM_API double oom_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The leak checker does not see what the loader keeps through our malloc. */
OOM_API void oom_warm(void *frames[1])
{
#ifdef OOM_ASAN
	__lsan_disable();
#endif
	(void)backtrace(frames, 1);
#ifdef OOM_ASAN
	__lsan_enable();
#endif
}

/* With all the memory that there is: how much it takes. */
OOM_API void oom_count(struct oom_path *p)
{
	struct oom_job *job = &oom_jobs[0];
	void *warm[1];

	oom_warm(warm); /* it loads a library at first */
	if (!(p->flags & OOM_THREADS))
		p->run(); /* what the libraries keep for ever, they have from now on */
	oom_start(p, job, OOM_ONE, 0);
	oom_end(p, job);
	if (p->tally.right != 1)
		fail_msg("%s: wrong with all the memory there is", p->name);
	p->tally = (struct oom_tally){ .n = job->shared->n };
	if (p->tally.n == 0)
		fail_msg("%s: allocates nothing", p->name);
}

OOM_API struct oom_tally oom_sweep(const char *name, void (*run)(void), unsigned flags)
{
	struct oom_path p = { .name = name, .run = run, .flags = flags };
	const char *only = getenv("OOM_ONLY");
	double began = oom_seconds();

#ifdef OOM_NONE
	skip();
#endif
	oom_count(&p);
	if (only)
		oom_try_only(&p, only);
	else
		oom_sample(&p);
	oom_end_all(&p);
	printf("%-34s %5lu allocations %6lu runs %6lu right %5lu aborted %5.1f s\n", name,
		p.tally.n, p.tally.runs, p.tally.right, p.tally.aborted, oom_seconds() - began);
	fflush(stdout);
	if (p.tally.bad > 0)
		fail_msg("%s: %lu of %lu went wrong (OOM_SEED=%llu)", name, p.tally.bad,
			p.tally.runs, (unsigned long long)oom_seed());
	return p.tally;
}

#endif
