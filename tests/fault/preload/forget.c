/* Preloaded into redis-server: what is written below appendonlydir/ stays in memory
 * until fsync or fdatasync, and goes with the process. kill -9 alone tests no promise
 * of durability, because the kernel keeps what was written; with this it is what a
 * power cut is to a disk: of un-fsynced data nothing is left (a real disk would keep
 * some of it, or torn pieces).
 *
 * One list of changes (bytes at a place, bytes at the end, a new length) per file,
 * found by device and inode, so that data outlives the descriptor: close() does not
 * write it, fsync() of another descriptor of the same file does. A rename takes effect
 * at once, with or without the data. Buffered streams (FILE) pass by: Redis writes
 * only snapshots with them, and fsyncs those before it uses them.
 *
 * Anything that cannot be done right aborts: a test must not pass by accident.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define FILES 64
#define FDS   4096

enum kind { APPEND, AT, LENGTH };

struct change {
	enum kind kind;
	int64_t at; /* AT: where; LENGTH: the new one */
	size_t size;
};

struct file {
	dev_t device;
	ino_t inode;
	int fd;           /* our own, good after the user's is closed */
	uint8_t *changes; /* each a struct change and its bytes */
	size_t size, room;
};

static struct file files[FILES];
static size_t n_files;
static struct file *of_fd[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int (*real_open)(const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_close)(int);

static _Noreturn void give_up(const char *what)
{
	dprintf(2, "forget: %s: %s\n", what, strerror(errno));
	abort();
}

static void *find(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	if (!function)
		give_up(name);
	return function;
}

/* A pointer to an object becomes one to a function as POSIX says. */
#define FIND(pointer, name) (*(void **)&(pointer) = find(name))

/* A fork while another thread has the lock would leave the child locked out for ever. */
static void take(void)
{
	pthread_mutex_lock(&lock);
}

static void leave(void)
{
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void start(void)
{
	if (real_open)
		return;
	pthread_atfork(take, leave, leave);
	FIND(real_write, "write");
	FIND(real_pwrite, "pwrite");
	FIND(real_fsync, "fsync");
	FIND(real_fdatasync, "fdatasync");
	FIND(real_ftruncate, "ftruncate");
	FIND(real_close, "close");
	FIND(real_open, "open");
}

/* ---- what is kept ------------------------------------------------------------ */

static struct file *file_of(int fd)
{
	return fd >= 0 && fd < FDS ? of_fd[fd] : NULL;
}

static struct file *file_with(const struct stat *st)
{
	for (size_t i = 0; i < n_files; i++)
		if (files[i].device == st->st_dev && files[i].inode == st->st_ino)
			return &files[i];
	if (n_files == FILES)
		give_up("too many files");
	files[n_files] = (struct file){ .device = st->st_dev, .inode = st->st_ino, .fd = -1 };
	return &files[n_files++];
}

static void keep(struct file *f, struct change change, const void *bytes)
{
	size_t need = f->size + sizeof change + change.size;

	if (need > f->room) {
		f->room = need * 2;
		f->changes = realloc(f->changes, f->room);
		if (!f->changes)
			give_up("memory");
	}
	memcpy(f->changes + f->size, &change, sizeof change);
	if (change.size)
		memcpy(f->changes + f->size + sizeof change, bytes, change.size);
	f->size = need;
}

static void apply(const struct file *f, const struct change *c, const uint8_t *bytes)
{
	size_t done = 0;

	if (c->kind == LENGTH && real_ftruncate(f->fd, c->at) != 0)
		give_up("ftruncate");
	while (done < c->size) {
		ssize_t n = c->kind == AT ? real_pwrite(f->fd, bytes + done, c->size - done,
						    c->at + (off_t)done)
					  : real_write(f->fd, bytes + done, c->size - done);

		if (n <= 0)
			give_up("write");
		done += (size_t)n;
	}
}

/* Now the kernel has it; the caller fsyncs. */
static void remember(struct file *f)
{
	for (size_t at = 0; at < f->size;) {
		struct change change;

		memcpy(&change, f->changes + at, sizeof change);
		at += sizeof change;
		apply(f, &change, f->changes + at);
		at += change.size;
	}
	f->size = 0;
}

static void watch(int fd, const char *path, int flags)
{
	struct stat st;
	struct file *f;

	if (fd < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & O_DIRECTORY) ||
		!strstr(path, "appendonlydir"))
		return;
	if (fd >= FDS || fstat(fd, &st) != 0)
		give_up(path);
	pthread_mutex_lock(&lock);
	f = file_with(&st);
	if (f->fd < 0)
		f->fd = dup(fd);
	if (f->fd < 0)
		give_up("dup");
	of_fd[fd] = f;
	pthread_mutex_unlock(&lock);
}

/* ---- in place of the system's ---------------------------------------------------- */

static int open_any(const char *path, int flags, mode_t mode)
{
	int fd;

	start();
	fd = real_open(path, flags, mode);
	watch(fd, path, flags);
	return fd;
}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		va_list rest; \
		mode_t mode = 0; \
\
		va_start(rest, flags); \
		if (flags & (O_CREAT | O_TMPFILE)) \
			mode = va_arg(rest, mode_t); \
		va_end(rest); \
		return open_any(path, flags, mode); \
	}
int open64(const char *path, int flags, ...);
OPEN(open)
OPEN(open64)

ssize_t write(int fd, const void *bytes, size_t size)
{
	struct file *f;

	start();
	pthread_mutex_lock(&lock);
	f = file_of(fd);
	if (f)
		keep(f, (struct change){ APPEND, 0, size }, bytes);
	pthread_mutex_unlock(&lock);
	return f ? (ssize_t)size : real_write(fd, bytes, size);
}

ssize_t writev(int fd, const struct iovec *parts, int n)
{
	ssize_t sum = 0;

	for (int i = 0; i < n; i++) {
		ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);

		if (done < 0)
			return sum ? sum : done;
		sum += done;
		if ((size_t)done < parts[i].iov_len)
			break;
	}
	return sum;
}

static ssize_t pwrite_any(int fd, const void *bytes, size_t size, off_t at)
{
	struct file *f;

	start();
	pthread_mutex_lock(&lock);
	f = file_of(fd);
	if (f)
		keep(f, (struct change){ AT, at, size }, bytes);
	pthread_mutex_unlock(&lock);
	return f ? (ssize_t)size : real_pwrite(fd, bytes, size, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at)
{
	return pwrite_any(fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at);
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t at)
{
	return pwrite_any(fd, bytes, size, at);
}

static int ftruncate_any(int fd, off_t size)
{
	struct file *f;

	start();
	pthread_mutex_lock(&lock);
	f = file_of(fd);
	if (f)
		keep(f, (struct change){ LENGTH, size, 0 }, NULL);
	pthread_mutex_unlock(&lock);
	return f ? 0 : real_ftruncate(fd, size);
}

int ftruncate(int fd, off_t size)
{
	return ftruncate_any(fd, size);
}

int ftruncate64(int fd, off_t size);
int ftruncate64(int fd, off_t size)
{
	return ftruncate_any(fd, size);
}

static void settle(int fd)
{
	struct file *f;

	start();
	pthread_mutex_lock(&lock);
	f = file_of(fd);
	if (f)
		remember(f);
	pthread_mutex_unlock(&lock);
}

int fsync(int fd)
{
	settle(fd);
	return real_fsync(fd);
}

int fdatasync(int fd)
{
	settle(fd);
	return real_fdatasync(fd);
}

int close(int fd)
{
	start();
	pthread_mutex_lock(&lock);
	if (fd >= 0 && fd < FDS)
		of_fd[fd] = NULL;
	pthread_mutex_unlock(&lock);
	return real_close(fd);
}
