#include "cli/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOCK_TRIES    200
#define LOCK_PAUSE_NS (10 * 1000 * 1000)

/* The folder of our own executable, without a slash at its end. */
static enum base_err own_folder(char out[PATH_MAX])
{
	ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
	char *slash;

	if (n < 0)
		return base_err_from_errno(errno);
	out[n] = '\0';
	slash = strrchr(out, '/');
	if (!slash)
		return BASE_NOT_FOUND;
	*slash = '\0';
	return BASE_OK;
}

/* out = the first of folder/candidates[i] where probe lies in it ("" for itself). */
static enum base_err first_of(
	const char *const *candidates, const char *probe, char *out, size_t room)
{
	char folder[PATH_MAX];
	char path[2 * PATH_MAX];
	char real[PATH_MAX];
	enum base_err err = own_folder(folder);

	if (err)
		return err;
	for (; *candidates; candidates++) {
		snprintf(path, sizeof path, "%s/%s/%s", folder, *candidates, probe);
		if (access(path, R_OK) != 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", folder, *candidates);
		if (!realpath(path, real) || strlen(real) >= room)
			continue;
		memcpy(out, real, strlen(real) + 1);
		return BASE_OK;
	}
	return BASE_NOT_FOUND;
}

enum base_err cli_layout_program(const char *name, char *out, size_t room)
{
	char folder[PATH_MAX];
	enum base_err err = own_folder(folder);
	int n;

	if (err)
		return err;
	n = snprintf(out, room, "%s/%s", folder, name);
	if (n < 0 || (size_t)n >= room)
		return BASE_TOO_LARGE;
	return access(out, X_OK) == 0 ? BASE_OK : BASE_NOT_FOUND;
}

enum base_err cli_layout_services(char *out, size_t room)
{
	static const char *const candidates[] = { "../services", "../share/pirn/services", NULL };

	return first_of(candidates, "", out, room);
}

enum base_err cli_layout_include(char *out, size_t room)
{
	static const char *const candidates[] = { "../../../include", "../include", NULL };

	return first_of(candidates, "pirn/service.h", out, room);
}

enum base_err cli_layout_in_path(const char *name, char *out, size_t room)
{
	const char *path = getenv("PATH");

	if (!path || !*path)
		path = "/usr/local/bin:/usr/bin:/bin";
	for (const char *end; *path; path = *end ? end + 1 : end) {
		int n;

		end = path + strcspn(path, ":");
		n = snprintf(out, room, "%.*s/%s", (int)(end - path), path, name);
		if (end > path && n > 0 && (size_t)n < room && access(out, X_OK) == 0)
			return BASE_OK;
	}
	return BASE_NOT_FOUND;
}

enum base_err cli_layout_mkdirs(const char *path)
{
	char part[PATH_MAX];
	size_t size = strlen(path);

	if (size == 0 || size >= sizeof part)
		return BASE_TOO_LARGE;
	for (size_t i = 1; i <= size; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return base_err_from_errno(errno);
	}
	return access(path, W_OK | X_OK) == 0 ? BASE_OK : base_err_from_errno(errno);
}

static pid_t read_owner(int fd)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	return n > 0 ? (pid_t)atol(text) : 0;
}

static void write_owner(int fd)
{
	char text[32];
	int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());

	/* The number is for people; the lock itself is the kernel's. */
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, (size_t)n, 0) != n)
		return;
}

enum base_err cli_layout_lock(const char *path, int *out, pid_t *owner)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE_NS };
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0)
		return base_err_from_errno(errno);
	for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; tries++) {
		*owner = read_owner(fd);
		if (tries == LOCK_TRIES || (*owner > 0 && kill(*owner, 0) == 0)) {
			close(fd);
			return BASE_EXISTS;
		}
		nanosleep(&pause, NULL);
	}
	write_owner(fd);
	*out = fd;
	return BASE_OK;
}
