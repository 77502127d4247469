#include "worker/replay.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "store/keys.h"

#define ARENA_FIRST ((size_t)16 * 1024)
#define ARENA_MAX   ((size_t)32 * 1024 * 1024)
#define FIELD_ROOM  (2 * STORE_STATE_KEY_MAX + 64)
#define NAP_US      20000u /* between two tries of an operation that Redis puts off */

/* The operations in names; what is recorded is read by later versions too. */
static const char *const words[STORE_OP__N] = {
	[STORE_COUNTER_ADD] = "add",
	[STORE_COUNTER_GET] = "count",
	[STORE_KEY_GET] = "get",
	[STORE_KEY_SET] = "set",
	[STORE_KEY_DELETE] = "drop",
	[STORE_KEY_CAS] = "swap",
	[STORE_HASH_GET] = "hget",
	[STORE_HASH_SET] = "hset",
	[STORE_HASH_DELETE] = "hdrop",
	[STORE_HASH_ADD] = "hadd",
	[STORE_HASH_ALL] = "hall",
};

/* How often the run used an operation with a key. */
struct wrk_use {
	struct wrk_use *next;
	uint32_t n;
	uint32_t size;
	char name[]; /* not terminated */
};

/* ---- life ------------------------------------------------------------------ */

void wrk_replay_init(struct wrk_replay *r, struct wrk_executor *executor)
{
	*r = (struct wrk_replay){ .executor = executor };
	base_arena_init(&r->arena, ARENA_FIRST, ARENA_MAX);
}

void wrk_replay_fini(struct wrk_replay *r)
{
	base_arena_fini(&r->arena);
}

void wrk_replay_open(struct wrk_replay *r, const struct wrk_run *run, const char *service)
{
	memset(r->uses, 0, sizeof r->uses);
	r->of = run;
	r->run = (struct store_run){ .service = service,
		.attempt = run->attempt,
		.epoch = run->epoch,
		.lease_end_ms = run->lease_end_ms,
		.keep_until_ms = run->keep_until_ms };
	memcpy(r->run.id, run->id, sizeof r->run.id);
	r->reads = NULL;
	r->n_reads = r->reads_room = r->reads_bytes = 0;
	r->too_much = r->recorded = r->doubted = false;
	r->ended = STORE_DONE;
}

void wrk_replay_close(struct wrk_replay *r)
{
	if (!r->of)
		return;
	r->of = NULL;
	base_arena_reset(&r->arena);
}

/* ---- names ----------------------------------------------------------------- */

struct name {
	size_t size;
	char bytes[FIELD_ROOM];
};

static void name_add(struct name *name, const struct store_arg *part)
{
	assert(part->size <= sizeof name->bytes - name->size);
	if (part->size > 0)
		memcpy(name->bytes + name->size, part->data, part->size);
	name->size += part->size;
}

/* "add 6 visits", "hset 4 userName": the size tells the key from the field. */
static void name_of(struct name *name, const struct store_op *op)
{
	name->size = (size_t)snprintf(
		name->bytes, sizeof name->bytes, "%s %zu ", words[op->kind], op->key.size);
	name_add(name, &op->key);
	name_add(name, &op->field);
}

static uint32_t chain_of(const char *bytes, size_t size)
{
	uint32_t sum = 2166136261u; /* FNV-1a */

	for (size_t i = 0; i < size; i++)
		sum = (sum ^ (uint8_t)bytes[i]) * 16777619u;
	return sum % WRK_REPLAY_CHAINS;
}

static struct wrk_use *use_find(const struct wrk_replay *r, const char *bytes, size_t size)
{
	struct wrk_use *use = r->uses[chain_of(bytes, size)];

	while (use && (use->size != size || memcmp(use->name, bytes, size) != 0))
		use = use->next;
	return use;
}

static struct wrk_use *use_get(struct wrk_replay *r, const struct name *name)
{
	struct wrk_use *use = use_find(r, name->bytes, name->size);
	struct wrk_use **chain = &r->uses[chain_of(name->bytes, name->size)];

	if (use)
		return use;
	use = base_arena_alloc(&r->arena, sizeof *use + name->size);
	if (!use)
		return NULL;
	use->next = *chain;
	use->n = 0;
	use->size = (uint32_t)name->size;
	memcpy(use->name, name->bytes, name->size);
	return *chain = use;
}

/* The field of this use: its name and number. NOMEM: it is not counted. */
static enum base_err field_of(
	struct wrk_replay *r, const struct store_op *op, struct name *field, struct wrk_use **usep)
{
	struct wrk_use *use;

	name_of(field, op);
	use = *usep = use_get(r, field);
	if (!use)
		return BASE_NOMEM;
	use->n++;
	field->size += (size_t)snprintf(field->bytes + field->size,
		sizeof field->bytes - field->size, " %u", (unsigned)use->n);
	return BASE_OK;
}

/* ---- reads until the next write -------------------------------------------- */

static bool reads_grow(struct wrk_replay *r)
{
	size_t room = r->reads_room ? r->reads_room * 2 : 16;
	struct store_read_record *reads;

	if (r->n_reads < r->reads_room)
		return true;
	reads = base_arena_alloc(&r->arena, room * sizeof *reads);
	if (!reads)
		return false;
	if (r->n_reads > 0)
		memcpy(reads, r->reads, r->n_reads * sizeof *reads);
	r->reads = reads;
	r->reads_room = room;
	return true;
}

static bool dup_arg(struct wrk_replay *r, struct store_arg *out, const void *data, size_t size)
{
	*out = (struct store_arg){ base_arena_dup(&r->arena, data, size), size };
	return out->data != NULL;
}

static void reads_drop(struct wrk_replay *r)
{
	r->n_reads = r->reads_bytes = 0;
}

/* What does not fit makes the next write impossible, not this read. */
static void read_keep(
	struct wrk_replay *r, const struct name *field, const struct wrk_state_result *result)
{
	struct store_read_record *read;

	r->reads_bytes += field->size + result->record.size;
	if (r->too_much)
		return;
	r->arena.starved = r->arena.starved || result->record.failed;
	r->too_much = result->record.failed || r->reads_bytes > WRK_REPLAY_BYTES ||
		      r->n_reads + 1 >= WRK_REPLAY_OPS || !reads_grow(r);
	read = r->too_much ? NULL : &r->reads[r->n_reads];
	if (read && dup_arg(r, &read->field, field->bytes, field->size) &&
		dup_arg(r, &read->record, result->record.data, result->record.size)) {
		r->n_reads++;
		return;
	}
	r->too_much = true;
	reads_drop(r);
}

/* ---- operations ------------------------------------------------------------ */

static bool is_over(const struct wrk_replay *r)
{
	return r->ended != STORE_DONE || atomic_load(&r->of->cancelled);
}

static void nap(uint64_t deadline_us)
{
	uint64_t until = base_clock_us() + NAP_US;
	struct timespec at;

	if (until > deadline_us)
		until = deadline_us;
	at = (struct timespec){ (time_t)(until / 1000000), (long)(until % 1000000 * 1000) };
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0)
		;
}

/* The answer that came has made the thread one that works. */
static void block_again(const struct wrk_replay *r)
{
	if (!r->executor)
		return;
	wrk_executor_unblock(r->executor);
	wrk_executor_block(r->executor);
}

/* Whether nothing is known of the operation, and Redis may be asked again. */
static bool may_ask_again(enum base_err err)
{
	return err == BASE_IO || err == BASE_UNAVAILABLE || err == BASE_FULL;
}

/* Even when a second try tells what came of it: the first one may be on its way, in a connection that was given
 * up, and must find the record. */
static void note_doubt(struct wrk_replay *r, const struct store_op *op)
{
	if (!store_op_reads(op->kind))
		r->recorded = r->doubted = true;
}

/* Asks until it is known whether it happened. Only what may have happened is asked again. */
static enum base_err ask(struct wrk_replay *r, struct wrk_state *s, struct wrk_state_call **call,
	const struct wrk_state_record *record, const struct wrk_state_result **result)
{
	uint64_t deadline_us = r->of->deadline_us;
	enum base_err err = wrk_state_do_record(s, call, record, deadline_us, result);
	bool at_once = true;

	if (err != BASE_IO)
		return err;
	note_doubt(r, record->op);
	while (may_ask_again(err)) {
		block_again(r);
		if (!at_once)
			nap(deadline_us);
		if (!wrk_state_await_up(s, deadline_us) || base_clock_us() >= deadline_us)
			return BASE_TIMEOUT;
		if (is_over(r))
			return BASE_IO;
		err = wrk_state_do_record(s, call, record, deadline_us, result);
		at_once = false;
	}
	return err;
}

/* Errors after which it is not known whether the operation happened. */
static bool is_doubt(enum base_err err)
{
	return err == BASE_TIMEOUT || err == BASE_IO || err == BASE_PROTOCOL;
}

/* What became of a use. One that surely did not happen was none: the next one has its number. */
static void heed(struct wrk_replay *r, const struct store_op *op, struct wrk_use *use,
	const struct name *field, enum base_err err, const struct wrk_state_result *result)
{
	bool reads = store_op_reads(op->kind);

	if (is_doubt(err)) {
		note_doubt(r, op);
	} else if (!result || result->code != STORE_DONE) {
		use->n--;
	} else if (result->replayed) {
		r->recorded = true;
	} else if (reads) {
		read_keep(r, field, result);
	} else {
		r->recorded = true;
		reads_drop(r);
	}
}

enum base_err wrk_replay_do(struct wrk_replay *r, struct wrk_state *s, struct wrk_state_call **call,
	const struct store_op *op, const struct wrk_state_result **result, enum store_code *why)
{
	struct wrk_state_record record = { .op = op, .run = &r->run };
	struct wrk_use *use;
	struct name field;
	enum base_err err;

	*result = NULL;
	*why = r->ended ? r->ended : STORE_SUPERSEDED;
	if (is_over(r))
		return BASE_DENIED;
	*why = STORE_LIMIT;
	if (r->too_much && !store_op_reads(op->kind))
		return r->arena.starved ? BASE_NOMEM : BASE_DENIED;
	if (op->key.size > STORE_STATE_KEY_MAX || op->field.size > STORE_STATE_KEY_MAX)
		return BASE_RANGE; /* before a long one costs much */
	err = field_of(r, op, &field, &use);
	if (err)
		return err;
	record.field = (struct store_arg){ field.bytes, field.size };
	record.reads = r->reads;
	record.n_reads = r->n_reads;
	err = ask(r, s, call, &record, result);
	heed(r, op, use, &field, err, *result);
	if (err != BASE_DENIED)
		return err;
	*why = (*result)->code;
	if (*why != STORE_LIMIT)
		r->ended = *why;
	return err;
}

/* ---- the end --------------------------------------------------------------- */

static bool is_write(const char *name, size_t size)
{
	const char *blank = memchr(name, ' ', size);
	size_t n = blank ? (size_t)(blank - name) : size;

	for (size_t kind = 0; kind < STORE_OP__N; kind++)
		if (strlen(words[kind]) == n && memcmp(words[kind], name, n) == 0)
			return !store_op_reads((enum store_op_kind)kind);
	return true;
}

/* UNTRUSTED: a field of the hash, which another version may have named. */
static bool was_asked(const struct wrk_replay *r, const char *field, size_t size)
{
	const char *blank = memrchr(field, ' ', size);
	const struct wrk_use *use;
	char number[16];
	size_t digits;

	if (!blank)
		return false;
	digits = size - (size_t)(blank - field) - 1;
	if (digits >= sizeof number)
		return false;
	memcpy(number, blank + 1, digits);
	number[digits] = '\0';
	use = use_find(r, field, (size_t)(blank - field));
	return use && strtoul(number, NULL, 10) <= use->n;
}

bool wrk_replay_diverged(struct wrk_replay *r, struct wrk_state *s, struct wrk_state_call **call)
{
	struct wrk_state_record record = { .run = &r->run };
	const struct wrk_state_result *result;
	struct store_arg list, field;
	size_t at = 0;

	if (r->run.attempt < 2 || is_over(r))
		return false;
	if (wrk_state_do_record(s, call, &record, r->of->deadline_us, &result) != BASE_OK)
		return false;
	list = (struct store_arg){ result->record.data, result->record.size };
	r->recorded |= list.size > 0;
	while (store_record_next(list, &at, &field))
		if (is_write(field.data, field.size) && !was_asked(r, field.data, field.size))
			return true;
	return false;
}
