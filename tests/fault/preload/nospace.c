/* Preloaded into redis-server: while the file named by NOSPACE exists, the disk is full:
 * a write below appendonlydir/ takes half of what it is given, and the next one fails
 * with ENOSPC, as a file system does when the last block is gone. So the append-only
 * file has a torn end, too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ssize_t (*real_write)(int, const void *, size_t);
static const char *sentinel;
static bool had_half;

static void start(void)
{
	if (real_write)
		return;
	*(void **)&real_write = dlsym(RTLD_NEXT, "write");
	sentinel = getenv("NOSPACE");
	if (!real_write || !sentinel)
		abort();
}

static bool is_data(int fd)
{
	char link[64];
	char path[4096];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n < 0)
		return false;
	path[n] = '\0';
	return strstr(path, "/appendonlydir/") != NULL;
}

ssize_t write(int fd, const void *bytes, size_t size)
{
	start();
	if (access(sentinel, F_OK) != 0) {
		had_half = false;
		return real_write(fd, bytes, size);
	}
	if (!is_data(fd))
		return real_write(fd, bytes, size);
	if (had_half || size < 2) {
		errno = ENOSPC;
		return -1;
	}
	had_half = true;
	return real_write(fd, bytes, size / 2);
}
