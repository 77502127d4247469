/* An operation becomes a command name and its arguments, as functions.lua lists them;
 * what comes back is a record: a letter, and a value. */
#include "store/ops.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/ulid.h"
#include "store/keys.h"

#define FIELD_MAX 1100 /* two keys, and some words */
#define TTL_MAX_MS (UINT64_C(100) * 366 * 86400 * 1000)

static const struct row {
	const char *command;
	bool reads, field, value, number, ttl;
} rows[STORE_OP__N] = {
	[STORE_COUNTER_ADD] = { "INCRBY", .number = true },
	[STORE_COUNTER_GET] = { "GET", .reads = true },
	[STORE_KEY_GET] = { "GET", .reads = true },
	[STORE_KEY_SET] = { "SET", .value = true, .ttl = true },
	[STORE_KEY_DELETE] = { .command = "UNLINK" },
	[STORE_KEY_CAS] = { "CAS", .value = true, .ttl = true },
	[STORE_HASH_GET] = { "HGET", .reads = true, .field = true },
	[STORE_HASH_SET] = { "HSET", .field = true, .value = true },
	[STORE_HASH_DELETE] = { "HDEL", .field = true },
	[STORE_HASH_ADD] = { "HINCRBY", .field = true, .number = true },
	[STORE_HASH_ALL] = { "HGETALL", .reads = true },
};

struct pending {
	enum store_op_kind kind;
	union {
		store_run_fn *run;
		store_claimed_fn *claimed;
		store_count_fn *count;
	} fn;
	void *arg;
};

bool store_op_reads(enum store_op_kind kind)
{
	return kind < STORE_OP__N && rows[kind].reads;
}

static enum base_err start(struct store_fcall *c, struct store_redis *r, const char *function,
	store_reply_fn *on_reply, struct pending pending)
{
	struct pending *kept = malloc(sizeof *kept);
	enum base_err err = BASE_NOMEM;
	if (kept) {
		*kept = pending;
		err = store_fcall_send(c, r, function, on_reply, kept);
	}
	if (err)
		free(kept);
	store_fcall_fini(c);
	return err;
}

static struct pending take(void *arg)
{
	struct pending taken = *(struct pending *)arg;
	free(arg);
	return taken;
}

static struct store_says says_of(const struct store_reply *reply)
{
	struct store_says says = { .why = reply->type == STORE_ERROR ? reply->text : "" };
	says.code = store_code_of(reply, &says.number);
	return says;
}

static const struct store_says broken = { .code = STORE_BROKEN,
	.why = "a Function's answer has another shape than this program knows" };

/* ---- records */

bool store_record_next(struct store_arg pairs, size_t *at, struct store_arg *out)
{
	const uint8_t *bytes = pairs.data;
	if (!bytes || *at > pairs.size || pairs.size - *at < 4)
		return false;
	const uint8_t *front = bytes + *at;
	size_t size = (size_t)front[0] << 24 | (size_t)front[1] << 16 | (size_t)front[2] << 8 |
		      (size_t)front[3];
	if (size > pairs.size - *at - 4)
		return false;
	*out = (struct store_arg){ front + 4, size };
	*at += 4 + size;
	return true;
}

/* Strings behind their sizes, an even number of them, and nothing after the last. */
static bool are_pairs(struct store_arg pairs)
{
	size_t at = 0, n = 0;
	struct store_arg next;
	while (store_record_next(pairs, &at, &next))
		n++;
	return at == pairs.size && n % 2 == 0;
}

/* A counter as Redis writes it: no blank, no plus, no leading zero. */
static bool read_signed(struct store_arg text, int64_t *out)
{
	char again[24], terminated[24];
	if (text.size == 0 || text.size >= sizeof again)
		return false;
	memcpy(terminated, text.data, text.size);
	terminated[text.size] = '\0';
	int64_t value = strtoll(terminated, NULL, 10);
	int size = snprintf(again, sizeof again, "%" PRId64, value);
	if ((size_t)size != text.size || memcmp(again, text.data, text.size) != 0)
		return false;
	*out = value;
	return true;
}

static bool is_text(struct store_arg a, const char *text)
{
	return a.size == strlen(text) && memcmp(a.data, text, a.size) == 0;
}

static enum base_err read_text(
	enum store_op_kind kind, struct store_arg value, struct store_run_result *out)
{
	if (kind == STORE_COUNTER_GET)
		return read_signed(value, &out->number) ? BASE_OK : BASE_TYPE;
	out->value = value;
	return BASE_OK;
}

static enum base_err read_number(
	enum store_op_kind kind, struct store_arg value, struct store_run_result *out)
{
	if (!read_signed(value, &out->number))
		return BASE_IO;
	return kind == STORE_KEY_CAS && out->number == 0 ? BASE_MISMATCH : BASE_OK;
}

/* IO for a record that is none. UNTRUSTED. */
static enum base_err read_record(enum store_op_kind kind, struct store_run_result *out)
{
	const char *bytes = out->record.data;
	if (out->record.size == 0)
		return BASE_IO;
	const struct store_arg value = { bytes + 1, out->record.size - 1 };
	switch (bytes[0]) {
	case 'i':
		return read_number(kind, value, out);
	case 's':
		return read_text(kind, value, out);
	case 'n':
		return kind == STORE_COUNTER_GET ? BASE_OK : BASE_NOT_FOUND;
	case 'o':
		return BASE_OK;
	case 'e':
		return is_text(value, "OVERFLOW") ? BASE_OVERFLOW
		       : is_text(value, "TYPE")   ? BASE_TYPE
						  : BASE_IO;
	case 'a':
		out->pairs = value;
		return are_pairs(value) ? BASE_OK : BASE_IO;
	default:
		return BASE_IO;
	}
}

static void on_run(void *arg, const struct store_reply *reply)
{
	struct pending p = take(arg);
	struct store_run_result out = { .says = says_of(reply) };
	struct store_reader in = { .reply = reply };
	if (!out.says.code) {
		out.replayed = is_text(store_read_bytes(&in), "OLD");
		out.record = store_read_bytes(&in);
		out.err = in.broken ? BASE_IO : read_record(p.kind, &out);
		if (out.err == BASE_IO)
			out = (struct store_run_result){ .says = broken };
	}
	p.fn.run(p.arg, &out);
}

/* ---- operations */

static enum base_err check(const struct store_op *op, const struct row *row)
{
	if (row->field && (!op->field.data || op->field.size == 0 || op->field.size > STORE_STATE_KEY_MAX))
		return BASE_RANGE;
	if (row->value && !op->value.data)
		return BASE_INVALID;
	if (row->value && op->value.size > STORE_VALUE_MAX)
		return BASE_TOO_LARGE;
	if (op->kind == STORE_KEY_CAS && op->expected.data && op->expected.size > STORE_VALUE_MAX)
		return BASE_TOO_LARGE;
	return row->ttl && op->ttl_ms > TTL_MAX_MS ? BASE_RANGE : BASE_OK;
}

static void add_token(struct store_fcall *c, const struct store_run *run)
{
	uint8_t *token = base_arena_alloc(&c->arena, 8);
	if (!token) {
		c->failed = true;
		return;
	}
	for (int i = 0; i < 4; i++) {
		token[i] = (uint8_t)(run->attempt >> (24 - 8 * i));
		token[4 + i] = (uint8_t)(run->epoch >> (24 - 8 * i));
	}
	store_fcall_bytes(c, token, 8);
}

static void add_signed(struct store_fcall *c, int64_t number)
{
	char text[24];
	int size = snprintf(text, sizeof text, "%" PRId64, number);
	void *kept = base_arena_dup(&c->arena, text, (size_t)size);
	if (!kept)
		c->failed = true;
	store_fcall_bytes(c, kept, kept ? (size_t)size : 0);
}

static void add_command(struct store_fcall *c, const struct store_op *op)
{
	const struct row *row = &rows[op->kind];
	store_fcall_text(c, row->command);
	if (row->field)
		store_fcall_bytes(c, op->field.data, op->field.size);
	if (op->kind == STORE_KEY_CAS) {
		bool has = op->expected.data != NULL;
		store_fcall_text(c, has ? "1" : "0");
		store_fcall_bytes(c, op->expected.data, has ? op->expected.size : 0);
	}
	if (row->value)
		store_fcall_bytes(c, op->value.data, op->value.size);
	if (row->number)
		add_signed(c, op->number);
	if (row->ttl)
		store_fcall_number(c, op->ttl_ms);
}

static void ops_key(struct store_fcall *c, const uint8_t *id, const char *service)
{
	char text[BASE_ULID_TEXT + 1];
	base_ulid_print(id, text);
	store_fcall_key_format(c, STORE_KEY_OPS, text, service);
}

enum base_err store_run_op(struct store_redis *r, const struct store_run *run,
	struct store_arg field, const struct store_read_record *reads, size_t n_reads,
	const struct store_op *op, store_run_fn *fn, void *arg)
{
	assert(op->kind < STORE_OP__N);
	struct store_key key;
	struct store_fcall c;
	enum base_err err = store_key_state(&key, op->service, op->key.data, op->key.size);
	if (!err)
		err = check(op, &rows[op->kind]);
	if (err)
		return err;
	if (!field.data || field.size == 0 || field.size > FIELD_MAX || !run->service ||
		strcmp(run->service, op->service) != 0)
		return BASE_INVALID;
	if (store_op_reads(op->kind)) /* they ride with writes only */
		n_reads = 0;
	store_fcall_init(&c);
	ops_key(&c, run->id, run->service);
	store_fcall_key_bytes(&c, key.bytes, key.size);
	add_token(&c, run);
	store_fcall_number(&c, run->lease_end_ms);
	store_fcall_number(&c, run->keep_until_ms);
	store_fcall_bytes(&c, field.data, field.size);
	store_fcall_number(&c, n_reads);
	for (size_t i = 0; i < n_reads; i++) {
		store_fcall_bytes(&c, reads[i].field.data, reads[i].field.size);
		store_fcall_bytes(&c, reads[i].record.data, reads[i].record.size);
	}
	add_command(&c, op);
	return start(&c, r, "pirn1_op", on_run, (struct pending){ op->kind, { .run = fn }, arg });
}

/* ---- what is recorded */

/* The names that op() in functions.lua gave, without the two that are not operations. UNTRUSTED. */
static bool pack_fields(struct base_buf *out, const struct store_reply *reply)
{
	for (size_t i = 0; i < reply->n; i++) {
		struct store_reply name = store_reply_at(reply, i);
		if (name.type != STORE_STR)
			return false;
		if (name.size == 0 || name.text[0] != 'o')
			continue;
		uint32_t size = (uint32_t)(name.size - 1);
		const uint8_t front[] = { (uint8_t)(size >> 24), (uint8_t)(size >> 16),
			(uint8_t)(size >> 8), (uint8_t)size };
		base_buf_add(out, front, sizeof front);
		base_buf_add(out, name.text + 1, size);
	}
	return reply->type == STORE_ARRAY;
}

static void on_fields(void *arg, const struct store_reply *reply)
{
	struct pending p = take(arg);
	struct store_run_result out = { .says = says_of(reply) };
	struct base_buf fields;
	base_buf_init(&fields);
	if (!out.says.code && !pack_fields(&fields, reply))
		out.says = broken;
	out.err = base_buf_check(&fields);
	out.pairs = (struct store_arg){ fields.data, fields.size };
	p.fn.run(p.arg, &out);
	base_buf_fini(&fields);
}

enum base_err store_run_fields(
	struct store_redis *r, const struct store_run *run, store_run_fn *fn, void *arg)
{
	struct pending *pending = malloc(sizeof *pending);
	struct store_fcall c;
	enum base_err err = BASE_NOMEM;
	if (!pending)
		return err;
	*pending = (struct pending){ .fn = { .run = fn }, .arg = arg };
	store_fcall_init(&c);
	ops_key(&c, run->id, run->service);
	if (!c.failed) {
		const struct store_arg args[] = { STORE_ARG("HKEYS"), c.keys[0] };
		err = store_redis_command(r, args, 2, on_fields, pending);
	}
	store_fcall_fini(&c);
	if (err)
		free(pending);
	return err;
}

/* ---- claims */

static bool read_claim(struct store_reader *in, struct store_claimed *out)
{
	static const char *const words[] = { [STORE_CLAIM_RUN] = "RUN",
		[STORE_CLAIM_BUSY] = "BUSY", [STORE_CLAIM_ANSWER] = "ANSWER",
		[STORE_CLAIM_EVENT] = "EVENT", [STORE_CLAIM_BODY] = "BODY",
		[STORE_CLAIM_FULL] = "FULL" };
	struct store_arg word = store_read_bytes(in);
	size_t kind = 0;
	while (kind < sizeof words / sizeof *words && !is_text(word, words[kind]))
		kind++;
	if (kind == sizeof words / sizeof *words)
		return false;
	out->kind = (enum store_claim_kind)kind;
	if (out->kind != STORE_CLAIM_FULL)
		out->id = store_read_bytes(in);
	if (out->kind == STORE_CLAIM_RUN)
		out->run = (uint32_t)store_read_number(in);
	else if (out->kind == STORE_CLAIM_BUSY)
		out->until_ms = store_read_number(in);
	else if (out->kind == STORE_CLAIM_ANSWER)
		out->response = store_read_bytes(in);
	return !in->broken;
}

static void on_claimed(void *arg, const struct store_reply *reply)
{
	struct pending p = take(arg);
	struct store_claimed out = { .says = says_of(reply) };
	struct store_reader in = { .reply = reply };
	if (!out.says.code && !read_claim(&in, &out))
		out = (struct store_claimed){ .says = broken };
	p.fn.claimed(p.arg, &out);
}

enum base_err store_claim(struct store_redis *r, const char *scope, struct store_arg key,
	struct store_arg hash, const uint8_t id[16], uint64_t until_ms,
	const struct store_bounds *bounds, store_claimed_fn *fn, void *arg)
{
	struct store_fcall c;
	if (!scope || key.size == 0 || hash.size == 0)
		return BASE_INVALID;
	store_fcall_init(&c);
	store_fcall_key_scoped(&c, STORE_KEY_DEDUPE, scope, key.data, key.size);
	store_fcall_key(&c, STORE_KEY_DEDUPE_SIZE);
	store_fcall_bytes(&c, hash.data, hash.size);
	store_fcall_bytes(&c, id, 16);
	store_fcall_number(&c, until_ms);
	store_fcall_number(&c, bounds->dedupe_max);
	store_fcall_number(&c, bounds->dedupe_ms);
	return start(&c, r, "pirn1_claim", on_claimed,
		(struct pending){ .fn = { .claimed = fn }, .arg = arg });
}

static void on_count(void *arg, const struct store_reply *reply)
{
	struct pending p = take(arg);
	struct store_count out = { .says = says_of(reply) };
	if (!out.says.code && reply->type != STORE_INT)
		out.says = broken;
	out.n = out.says.code ? 0 : (uint64_t)reply->integer;
	p.fn.count(p.arg, &out);
}

enum base_err store_answer(struct store_redis *r, const char *scope, struct store_arg key,
	const uint8_t id[16], uint32_t run, const char *service, struct store_arg response,
	bool again, const struct store_bounds *bounds, store_count_fn *fn, void *arg)
{
	struct store_fcall c;
	struct store_key name;
	if (!scope || key.size == 0 || store_key_state(&name, service, "k", 1) != BASE_OK)
		return BASE_INVALID;
	store_fcall_init(&c);
	store_fcall_key_scoped(&c, STORE_KEY_DEDUPE, scope, key.data, key.size);
	store_fcall_key(&c, STORE_KEY_DEDUPE_SIZE);
	ops_key(&c, id, service);
	store_fcall_bytes(&c, id, 16);
	store_fcall_number(&c, run);
	store_fcall_number(&c, response.data ? 1 + again : 0);
	store_fcall_bytes(&c, response.data, response.data ? response.size : 0);
	store_fcall_number(&c, bounds->dedupe_ms);
	return start(
		&c, r, "pirn1_answer", on_count, (struct pending){ .fn = { .count = fn }, .arg = arg });
}
