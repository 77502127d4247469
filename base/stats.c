#include "base/stats.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void base_stat_escape(char *out, size_t room, const char *text)
{
	size_t n = 0;

	if (room == 0)
		return;
	for (; *text; text++) {
		char c = *text == '\n' ? 'n' : *text;
		bool escaped = *text == '\n' || *text == '"' || *text == '\\';
		if (n + (escaped ? 2 : 1) >= room)
			break;
		if (escaped)
			out[n++] = '\\';
		out[n++] = c;
	}
	out[n] = '\0';
}

/* A figure that the kernel does not tell is -1, and left out. */

static double cpu_seconds(void)
{
	struct timespec used;

	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used))
		return -1;
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static double resident_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	unsigned long total, resident;
	int n;

	if (!file)
		return -1;
	n = fscanf(file, "%lu %lu", &total, &resident);
	(void)fclose(file);
	return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : -1;
}

static double open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;
	double n = -1; /* the directory's own */

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			n++;
	(void)closedir(dir);
	return n;
}

static double max_descriptors(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY
		       ? -1
		       : (double)limit.rlim_cur;
}

static const struct {
	struct base_stat_def def;
	double (*read)(void);
} figures[] = {
	{ { "process_cpu_seconds_total", BASE_STAT_COUNTER, "CPU time used, user and system." },
		cpu_seconds },
	{ { "process_resident_memory_bytes", BASE_STAT_GAUGE, "Resident memory." },
		resident_bytes },
	{ { "process_open_fds", BASE_STAT_GAUGE, "Open file descriptors." }, open_descriptors },
	{ { "process_max_fds", BASE_STAT_GAUGE, "How many file descriptors may be open." },
		max_descriptors },
};

void base_stat_process(base_stat_sink *sink, void *arg)
{
	for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
		struct base_stat_sample sample = {
			.def = &figures[i].def, .labels = "", .value = figures[i].read()
		};
		if (sample.value >= 0)
			sink(arg, &sample);
	}
}
