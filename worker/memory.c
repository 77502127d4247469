#include "worker/memory.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum wrk_memory_verdict wrk_memory_look(struct wrk_memory *m, uint64_t resident, uint64_t now_ms)
{
	if (m->bound == 0 || resident <= m->bound)
		return WRK_MEMORY_FINE;
	if (m->last_ms == 0 || now_ms >= m->last_ms + WRK_MEMORY_REST_MS)
		return WRK_MEMORY_ANEW;
	if (m->said)
		return WRK_MEMORY_FINE;
	m->said = true;
	return WRK_MEMORY_TOO_LOW;
}

/* ---- the cgroup's bound --------------------------------------------------------- */

/* The number in a file; UINT64_MAX when there is none in it ("max"), or no such file. */
static uint64_t number_in(const char *path)
{
	FILE *file = fopen(path, "re");
	char text[64] = "", *end;
	unsigned long long n;

	if (!file)
		return UINT64_MAX;
	if (!fgets(text, sizeof text, file))
		text[0] = '\0';
	(void)fclose(file);
	errno = 0;
	n = strtoull(text, &end, 10);
	return end == text || errno != 0 ? UINT64_MAX : n;
}

/* The least bound of a group and of those that it is in. path is cut on the way up. A container sees
 * its own group as the root, whatever its path is called outside. */
static uint64_t least_of(const char *root, const char *mount, char *path, const char *name)
{
	uint64_t least = UINT64_MAX;
	char file[3 * PATH_MAX];
	char *slash;

	for (;;) {
		uint64_t bound;

		(void)snprintf(file, sizeof file, "%s%s%s/%s", root, mount, path, name);
		bound = number_in(file);
		if (bound < least)
			least = bound;
		slash = strrchr(path, '/');
		if (!slash)
			return least;
		*slash = '\0';
	}
}

/* A line of /proc/self/cgroup: "0::/path" of version 2, "7:memory:/path" of version 1. */
static uint64_t bound_of_line(const char *root, char *line)
{
	char *path;

	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, "0::/", 4) == 0)
		return least_of(root, "/sys/fs/cgroup", line + 3, "memory.max");
	path = strstr(line, ":memory:/");
	return path ? least_of(root, "/sys/fs/cgroup/memory", path + 8, "memory.limit_in_bytes")
		    : UINT64_MAX;
}

static uint64_t cgroup_bound(const char *root)
{
	uint64_t least = UINT64_MAX;
	char path[PATH_MAX], line[PATH_MAX];
	FILE *file;

	(void)snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
	file = fopen(path, "re");
	if (!file)
		return least;
	while (fgets(line, sizeof line, file)) {
		uint64_t bound = bound_of_line(root, line);

		if (bound < least)
			least = bound;
	}
	(void)fclose(file);
	return least;
}

uint64_t wrk_memory_bound(uint64_t setting, const char *root, uint64_t machine)
{
	uint64_t bound;

	if (setting > 0)
		return setting;
	bound = cgroup_bound(root);
	return bound < machine ? bound / 5 * 4 : 0;
}

/* ---- what there is -------------------------------------------------------------- */

uint64_t wrk_memory_machine(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);

	return pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

uint64_t wrk_memory_resident(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long total, resident = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%lu %lu", &total, &resident) != 2)
		resident = 0;
	(void)fclose(file);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
