/* A worker whose services leak starts itself anew before the kernel ends it: the bound on
 * its resident memory. Looked at with each beat.
 *
 * Never twice within a minute: a worker that is above its bound again so soon has a bound
 * that is too low for what it carries, and says so rather than spend its time on
 * beginnings. When the minute is over and it still is, it starts anew once more.
 */
#ifndef WRK_MEMORY_H
#define WRK_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#define WRK_MEMORY_REST_MS 60000u

struct wrk_memory {
	uint64_t bound;   /* bytes; 0: none */
	uint64_t last_ms; /* when it last started anew for this; 0: never */
	bool said;        /* that the bound is too low */
};

enum wrk_memory_verdict {
	WRK_MEMORY_FINE,
	WRK_MEMORY_ANEW,    /* drain, and start anew */
	WRK_MEMORY_TOO_LOW, /* to be said: it did so less than a minute ago */
};

enum wrk_memory_verdict wrk_memory_look(
	struct wrk_memory *m, uint64_t resident, uint64_t now_ms);

/* What stands under --max-memory, or four fifths of the cgroup's bound; 0: none. root is put before
 * the paths of /proc and /sys: "" outside of tests. machine: how much memory it has. */
uint64_t wrk_memory_bound(uint64_t setting, const char *root, uint64_t machine);

uint64_t wrk_memory_machine(void);
uint64_t wrk_memory_resident(void); /* 0: not known */

#endif
