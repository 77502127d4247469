/* Redis, for the threads that run services: blocking calls out of any number of
 * threads onto the one connection of the loop's thread.
 *
 * A thread leaves its operation in a list, wakes the loop with the first one, and
 * sleeps. The loop starts all that it finds in one go (they leave in one write),
 * copies each reply, and wakes the threads of all replies when its turn ends. While Redis is down nobody gets that
 * far: the call ends at once.
 *
 * Operations of runs that record (store/ops.h) go the same way, by another function; what is
 * theirs alone stands in replay.h and state_record.c.
 *
 * A breaker stands before Redis, for the time in which the connection is there and nothing
 * comes back: after a few operations that were waited for in vain the others fail at once,
 * like those while Redis is down, until a few probes were answered. An operation that was
 * sent is not touched by it: what was in doubt stays in doubt. One that is lost soon says
 * nothing of Redis (the connection broke, which is told at once), and a reply that refuses
 * costs nobody time. The breaker is the loop's; the threads look at one number.
 *
 * A call whose time is up is left behind: its record then belongs to the loop,
 * which frees it when the reply comes, or store/redis.h gives it up.
 */
#ifndef WRK_STATE_H
#define WRK_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/breaker.h"
#include "base/buf.h"
#include "store/ops.h"

struct wrk_state;

/* One thread's place for one operation at a time; and its result. */
struct wrk_state_call;

/* Starts an operation; store_op_start outside of tests. */
typedef enum base_err wrk_state_start_fn(
	void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg);

/* An operation of a run that records; op NULL asks for the fields that are recorded. */
struct wrk_state_record {
	const struct store_op *op;
	const struct store_run *run;
	struct store_arg field;
	const struct store_read_record *reads; /* since the run's last write */
	size_t n_reads;
};
/* store_run_op, or store_run_fields, outside of tests. */
typedef enum base_err wrk_state_record_fn(
	void *arg, const struct wrk_state_record *record, store_run_fn *fn, void *fn_arg);

struct wrk_state_conf {
	wrk_state_start_fn *start;   /* in the loop's thread */
	wrk_state_record_fn *record; /* the same */
	void (*wake)(void *arg);     /* from any thread: call wrk_state_turn */
	void *arg;
	uint64_t (*now_ms)(void);    /* NULL: the monotonic clock. From any thread */
	uint32_t vain_ms;            /* lost after so long: it was waited for in vain; 0: 1,000 */
};

struct wrk_state_result {
	int64_t number;
	struct base_buf
		bytes; /* a value; or pairs: a uint32_t of their count, then for each text its uint32_t size, its bytes and a NUL */
	bool has_value;
	/* Of an operation that records: */
	enum store_code code; /* __N: it was not even started */
	bool replayed;
	struct base_buf record; /* a read's, or the fields */
};

BASE_MUSTUSE enum base_err wrk_state_new(const struct wrk_state_conf *conf, struct wrk_state **out);
void wrk_state_free(
	struct wrk_state **s); /* no thread waits in it, and every started operation has ended */

/* Whose threads these are, so that it knows when they sleep; before the first operation. Without
 * one, threads are anybody's. */
struct wrk_executor;
void wrk_state_set_executor(struct wrk_state *s, struct wrk_executor *executor);

/* The loop's thread. */
void wrk_state_set_up(struct wrk_state *s, bool up);
void wrk_state_turn(struct wrk_state *s); /* starts what was left */
void wrk_state_flush(
	struct wrk_state *s); /* wakes those whose operations ended: at each turn's end */

struct wrk_state_figures {
	uint64_t operations, failures; /* a failure: not answered by Redis */
	enum base_breaker_state breaker;
};
void wrk_state_figures(const struct wrk_state *s, struct wrk_state_figures *out);

/* A thread's side. Blocks until the result is there, or deadline_us (monotonic): TIMEOUT. UNAVAILABLE
 * at once when Redis is down, or the breaker open. *call is NULL at first and kept by the thread between its operations;
 * the result is good until the next one. What op points at is only read while this blocks. */
BASE_MUSTUSE enum base_err wrk_state_do(struct wrk_state *s, struct wrk_state_call **call,
	const struct store_op *op, uint64_t deadline_us, const struct wrk_state_result **result);
/* The same for a run that records. result is written unless the call never got that far (NULL):
 * DENIED: result->code says why. IO: it may have happened or not; asked again with the same field it
 * happens once. PROTOCOL: an answer that should not be, and it may have happened. */
BASE_MUSTUSE enum base_err wrk_state_do_record(struct wrk_state *s, struct wrk_state_call **call,
	const struct wrk_state_record *record, uint64_t deadline_us,
	const struct wrk_state_result **result);
/* Blocks until Redis is up; false: it was not before deadline_us. */
bool wrk_state_await_up(struct wrk_state *s, uint64_t deadline_us);
void wrk_state_call_free(struct wrk_state_call **call);

/* Writes what a run's operation gave, as if it were a plain one's (state_record.c). */
BASE_MUSTUSE enum base_err wrk_state_copy_record(
	struct wrk_state_result *out, const struct store_run_result *from);

#endif
