/* Preloaded into Pirn's own programs (others that inherit it are left alone): memory is scarce.
 * The file named by SCARCE holds two numbers of 32 bits. The first one the test changes as it likes: of
 * so many allocations one fails, by chance; 0: none does. Every thread, every library, every size. The
 * second one counts those that failed, in all processes.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static _Atomic uint32_t *one_in; /* and how many failed; NULL: not a program of ours */
static _Atomic uint64_t state;
static _Thread_local unsigned spared;

__attribute__((constructor)) static void start(void)
{
	const char *path = getenv("SCARCE");
	struct timespec now;
	void *map;
	int fd;

	if (!path || strncmp(program_invocation_short_name, "pirn-", 5) != 0)
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		abort();
	map = mmap(NULL, 2 * sizeof *one_in, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		abort();
	clock_gettime(CLOCK_MONOTONIC, &now);
	atomic_store(&state, (uint64_t)now.tv_nsec << 20 ^ (uint64_t)getpid());
	one_in = map;
}

static bool is_refused(void)
{
	uint32_t n = one_in ? atomic_load_explicit(one_in, memory_order_relaxed) : 0;
	uint64_t z;

	if (n == 0 || spared > 0)
		return false;
	z = atomic_fetch_add(&state, 0x9e3779b97f4a7c15u);
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	if (z % n != 0)
		return false;
	atomic_fetch_add(&one_in[1], 1);
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return is_refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return is_refused() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *old, size_t size)
{
	return is_refused() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return is_refused() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *block = aligned_alloc(alignment, size);

	if (!block)
		return ENOMEM;
	*out = block;
	return 0;
}

/* libpgm asks for a protocol's number when libzmq starts, and the C library does not survive that without
 * memory. */
int getprotobyname_r(
	const char *name, struct protoent *out, char *room, size_t size, struct protoent **found)
{
	int (*real)(const char *, struct protoent *, char *, size_t, struct protoent **);
	int err;

	*(void **)&real = dlsym(RTLD_NEXT, "getprotobyname_r");
	spared++;
	err = real(name, out, room, size, found);
	spared--;
	return err;
}
