/* Whether this Redis keeps what Pirn promises: append-only file, fsync always, no
 * eviction, no pause of fsync while the file is rewritten. Each thing that is wrong
 * comes as a sentence that says what to change. (Eviction loses journals without any
 * crash, so it is not better than the others.)
 *
 * A server that forbids CONFIG (managed ones do) cannot be asked; that is told as
 * unknown, and is no mistake.
 */
#ifndef STORE_CHECK_H
#define STORE_CHECK_H

#include "store/redis.h"

#define STORE_CHECK_MAX 4

struct store_check {
	bool known;                             /* Redis let itself be asked for all of it */
	size_t n;                               /* what is known to be wrong: each may lose what was accepted */
	const char *sentences[STORE_CHECK_MAX]; /* static texts */
};

/* check is borrowed. Not called when the connection breaks first: ask again on the next on_up. */
typedef void store_check_fn(void *arg, const struct store_check *check);

/* UNAVAILABLE, FULL, NOMEM: as store_redis_command. */
BASE_MUSTUSE enum base_err store_check_start(struct store_redis *r, store_check_fn *fn, void *arg);

#endif
