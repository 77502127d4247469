/* What the service "effect" has left behind (tests/services/effect), and what of events
 * still lies in Redis.
 */
#ifndef TESTS_FAULT_EFFECTS_H
#define TESTS_FAULT_EFFECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/harness/redis.h"

#define EFFECTS_SERVICE "effect"

struct effects {
	unsigned *of; /* by serial */
	size_t n;     /* of them */
	uint64_t sum, total; /* of the fields; and the counter, which must be the same */
	uint64_t distinct;
};

/* Effects of events that are named e<number>; _of: of the same program under another service's name. */
void effects_read(struct harness_redis *redis, struct effects *out);
void effects_read_of(struct harness_redis *redis, const char *service, struct effects *out);
void effects_free(struct effects *e);
unsigned effects_of(const struct effects *e, unsigned serial);

/* Entries in all journals: 0 when every accepted event has ended. */
uint64_t effects_backlog(struct harness_redis *redis);
/* Whether a dead letter has this id (26 characters); and how many there are. */
bool effects_is_dead(struct harness_redis *redis, const char *id);
unsigned effects_dead(struct harness_redis *redis);
unsigned effects_dead_of(struct harness_redis *redis, const char *service);

/* ---- runs -------------------------------------------------------------------------- */

struct run {
	char what; /* '+': it began, '-': it ended */
	char name[24];
	unsigned attempt;
	pid_t pid;
	int err; /* of an end: enum pirn_err */
};

/* All beginnings and ends in their order; free() it. */
struct run *effects_runs(const char *path, size_t *n);

#endif
