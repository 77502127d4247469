/* The state operations of one run that records (store/ops.h): an event's, or that of a
 * call which may be run again. A run that asks for what an earlier run of its delivery
 * asked for gets the same answer, and nothing is done twice.
 *
 * Each use has a name: the operation, its key (and hash field), and that this is the
 * run's n-th use of the pair. So a corrected handler, which asks for something more or
 * less in between, replays what still fits. Values are not part of it: a set that is
 * recorded is done, whatever another run would write there.
 *
 * Reads have no record of their own. They are kept here until the run's next write, and
 * recorded with it; so a retry replays up to the last write, and reads fresh after it.
 * What is kept is bounded as a delivery's records are; a run that has read more than
 * that may go on reading, and its next write is refused (LIMIT).
 *
 * When the connection breaks under an operation, it is asked again under its name as
 * soon as Redis is back: it happens once all the same. LEASE and SUPERSEDED end the run's
 * dealings with the state, and so does the broker's CANCEL: nobody waits for it any more.
 *
 * Of one thread. Memory lives until the run ends.
 */
#ifndef WRK_REPLAY_H
#define WRK_REPLAY_H

#include "base/arena.h"
#include "worker/run.h"
#include "worker/state.h"

#define WRK_REPLAY_OPS    1000 /* a delivery's, as functions.lua has it */
#define WRK_REPLAY_BYTES  ((size_t)262144)
#define WRK_REPLAY_CHAINS 256

struct wrk_use;

struct wrk_replay {
	struct store_run run;
	const struct wrk_run *of;      /* NULL: the run does not record */
	struct wrk_executor *executor; /* the thread's, which is told that it waits; may be NULL */
	struct base_arena arena;
	struct wrk_use *uses[WRK_REPLAY_CHAINS];
	struct store_read_record *reads; /* since the last write */
	size_t n_reads, reads_room, reads_bytes;
	bool too_much;         /* read, to be recorded */
	bool recorded;         /* the delivery has records, or may have */
	bool doubted;          /* a write whose answer was lost may still come to Redis */
	enum store_code ended; /* DONE, or why the run may do nothing any more */
};

void wrk_replay_init(struct wrk_replay *r, struct wrk_executor *executor);
void wrk_replay_fini(struct wrk_replay *r);
/* run has the flag RECORD; service is borrowed until close. */
void wrk_replay_open(struct wrk_replay *r, const struct wrk_run *run, const char *service);
void wrk_replay_close(struct wrk_replay *r);

/* As wrk_state_do, for op's service and within the run's time; the executor knows that the thread
 * blocks. DENIED: *why is LEASE, SUPERSEDED or
 * LIMIT. */
BASE_MUSTUSE enum base_err wrk_replay_do(struct wrk_replay *r, struct wrk_state *s,
	struct wrk_state_call **call, const struct store_op *op,
	const struct wrk_state_result **result, enum store_code *why);

/* Whether earlier runs recorded writes that this one did not ask for; asks Redis when there were
 * earlier runs. When it cannot be known: false. */
bool wrk_replay_diverged(struct wrk_replay *r, struct wrk_state *s, struct wrk_state_call **call);

#endif
