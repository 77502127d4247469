/* Redis, for the threads that run services: blocking calls out of any number of
 * threads onto the one connection of the loop's thread.
 *
 * A thread leaves its operation in a list, wakes the loop with the first one, and
 * sleeps. The loop starts all that it finds in one go (they leave in one write),
 * copies each reply and wakes its thread. While Redis is down nobody gets that
 * far: the call ends at once.
 *
 * A call whose time is up is left behind: its record then belongs to the loop,
 * which frees it when the reply comes, or store/redis.h gives it up.
 */
#ifndef WRK_STATE_H
#define WRK_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/state.h"

struct wrk_state;

/* One thread's place for one operation at a time; and its result. */
struct wrk_state_call;

/* Starts an operation; store_op_start outside of tests. */
typedef enum base_err wrk_state_start_fn(
	void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg);

struct wrk_state_conf {
	wrk_state_start_fn *start; /* in the loop's thread */
	void (*wake)(void *arg);   /* from any thread: call wrk_state_turn */
	void *arg;
};

struct wrk_state_result {
	int64_t number;
	struct base_buf
		bytes; /* a value; or pairs: a uint32_t of their count, then for each text its uint32_t size, its bytes and a NUL */
	bool has_value;
};

BASE_MUSTUSE enum base_err wrk_state_new(const struct wrk_state_conf *conf, struct wrk_state **out);
void wrk_state_free(
	struct wrk_state **s); /* no thread waits in it, and every started operation has ended */

/* The loop's thread. */
void wrk_state_set_up(struct wrk_state *s, bool up);
void wrk_state_turn(struct wrk_state *s); /* starts what was left */

struct wrk_state_figures {
	uint64_t operations, failures; /* a failure: not answered by Redis */
};
void wrk_state_figures(const struct wrk_state *s, struct wrk_state_figures *out);

/* A thread's side. Blocks until the result is there, or deadline_us (monotonic): TIMEOUT. UNAVAILABLE
 * at once when Redis is down. *call is NULL at first and kept by the thread between its operations;
 * the result is good until the next one. What op points at is only read while this blocks. */
BASE_MUSTUSE enum base_err wrk_state_do(struct wrk_state *s, struct wrk_state_call **call,
	const struct store_op *op, uint64_t deadline_us, const struct wrk_state_result **result);
void wrk_state_call_free(struct wrk_state_call **call);

#endif
