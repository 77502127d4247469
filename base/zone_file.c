#include "base/zone_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLDER "/usr/share/zoneinfo"

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";

bool base_zone_is_name(const char *name)
{
	size_t size;

	if (strnlen(name, BASE_ZONE_NAME_MAX + 1) > BASE_ZONE_NAME_MAX)
		return false;
	for (;; name += size + 1) {
		size = strcspn(name, "/");
		if (size == 0 || name[0] == '.' || strspn(name, letters) < size)
			return false;
		if (name[size] == '\0')
			return true;
	}
}

static bool is_utc(const char *name)
{
	static const char *const names[] = { "UTC", "Etc/UTC", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu",
		"Universal", "Etc/Universal", "GMT", "Etc/GMT" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static enum base_err read_all(int fd, uint8_t *bytes, size_t size)
{
	size_t at = 0;
	ssize_t n;

	while (at < size && (n = read(fd, bytes + at, size - at)) != 0) {
		if (n < 0)
			return base_err_from_errno(errno);
		at += (size_t)n;
	}
	return at == size ? BASE_OK : BASE_IO;
}

/* A folder is no zone: Europe. */
static enum base_err load(int fd, struct base_zone **out)
{
	struct stat st;
	uint8_t *bytes;
	enum base_err err;

	if (fstat(fd, &st))
		return base_err_from_errno(errno);
	if (!S_ISREG(st.st_mode) || st.st_size > (off_t)BASE_ZONE_BYTES_MAX)
		return BASE_INVALID;
	bytes = malloc((size_t)st.st_size + 1);
	if (!bytes)
		return BASE_NOMEM;
	err = read_all(fd, bytes, (size_t)st.st_size);
	if (!err)
		err = base_zone_new(bytes, (size_t)st.st_size, out);
	free(bytes);
	return err;
}

enum base_err base_zone_load(const char *name, struct base_zone **out)
{
	const char *folder = getenv("TZDIR");
	char path[PATH_MAX];
	enum base_err err;
	int fd;

	if (!base_zone_is_name(name))
		return BASE_INVALID;
	if (is_utc(name)) {
		*out = NULL;
		return BASE_OK;
	}
	if (snprintf(path, sizeof path, "%s/%s", folder && *folder ? folder : FOLDER, name) >=
		(int)sizeof path)
		return BASE_INVALID;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? BASE_NOT_FOUND
							   : base_err_from_errno(errno);
	err = load(fd, out);
	close(fd);
	return err;
}
