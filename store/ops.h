/* State operations of a run that may be run again: each is applied once for its
 * delivery, and its result is recorded, so that a later run of the same delivery gets
 * the same answers until it comes to what no run did before (G3). And the claims of
 * calls with an Idempotency-Key, whose re-runs replay in the same way.
 *
 * What is refused: LEASE after the run's lease, SUPERSEDED when a later run recorded
 * something or the delivery ended, LIMIT over 1,000 operations or 256 KiB a delivery.
 * None of them changed anything, and none is worth trying again in this run.
 *
 * Reads are recorded with the run's next write only: the caller keeps the field and
 * the record of each read since its last write, and hands them to the next one. A
 * retry so replays up to the last write of the runs before, and reads fresh after it.
 *
 * An answer's failure (TYPE, OVERFLOW, MISMATCH, NOT_FOUND) is an answer: it is
 * recorded like any other.
 */
#ifndef STORE_OPS_H
#define STORE_OPS_H

#include "store/fcall.h"
#include "store/journal.h"
#include "store/state.h"
#include "store/words.h"

/* A read of this run since its last write. */
struct store_read_record {
	struct store_arg field, record;
};

struct store_run_result {
	struct store_says says;
	bool replayed;     /* an earlier run did it; nothing was done now */
	enum base_err err; /* when says.code is DONE: as store_result.err */
	int64_t number;
	struct store_arg value;  /* KEY_GET, HASH_GET */
	struct store_arg pairs;  /* HASH_ALL: store_record_next */
	struct store_arg record; /* what a read hands to the next write */
};
typedef void store_run_fn(void *arg, const struct store_run_result *result);

/* field names the use: command, key, n-th use of that pair in the run; 1 to 1,100 bytes. Errors as
 * store_op_start. UNTRUSTED: op's parts. */
BASE_MUSTUSE enum base_err store_run_op(struct store_redis *r, const struct store_run *run,
	struct store_arg field, const struct store_read_record *reads, size_t n_reads,
	const struct store_op *op, store_run_fn *fn, void *arg);

/* True for operations that change nothing: their records ride with the next write. */
bool store_op_reads(enum store_op_kind kind);

/* What the delivery's runs have recorded: their fields, packed as pairs are, any number of them. They
 * come in result->pairs. */
BASE_MUSTUSE enum base_err store_run_fields(
	struct store_redis *r, const struct store_run *run, store_run_fn *fn, void *arg);

/* Steps through pairs: the next string, false at the end. at begins as 0. */
bool store_record_next(struct store_arg pairs, size_t *at, struct store_arg *out);

/* ---- calls with an Idempotency-Key */

typedef void store_claimed_fn(void *arg, const struct store_claimed *reply);
BASE_MUSTUSE enum base_err store_claim(struct store_redis *r, const char *scope,
	struct store_arg key, struct store_arg hash, const uint8_t id[16], uint64_t until_ms,
	const struct store_bounds *bounds, store_claimed_fn *fn, void *arg);

/* response data NULL: there is none (or a 5xx): the next claim runs again at once, and replays.
 * Otherwise it is kept for dedupe_ms, and so is a fence in the place of the call's records: no run of it
 * does anything any more. again: this claim had more than one run, so that one may still go on which left no
 * record. STALE: a later run has the key. reply's n is 1. */
BASE_MUSTUSE enum base_err store_answer(struct store_redis *r, const char *scope,
	struct store_arg key, const uint8_t id[16], uint32_t run, const char *service,
	struct store_arg response, bool again, const struct store_bounds *bounds, store_count_fn *fn,
	void *arg);

#endif
