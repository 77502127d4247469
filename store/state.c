/* One row an operation: the command, which of the op's parts follow it, and how its
 * answer is read. CAS is the one that Redis has no command for: a Function
 * (functions.lua).
 */
#include "store/state.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/keys.h"

#define TTL_MAX_MS (UINT64_C(100) * 366 * 86400 * 1000)
#define MAX_ARGS   8

enum answer {
	NUMBER,  /* an integer */
	DECIMAL, /* text that is a counter's number; nil is 0 */
	VALUE,   /* text; nil is NOT_FOUND */
	DONE,    /* a status */
	SWAPPED, /* 1, or 0: MISMATCH */
	PAIRS,   /* an array of even length */
};

static const struct row {
	const char *command;
	bool field, value, number;
	enum answer answer;
} rows[STORE_OP__N] = {
	[STORE_COUNTER_ADD] = { "INCRBY", .number = true, .answer = NUMBER },
	[STORE_COUNTER_GET] = { "GET", .answer = DECIMAL },
	[STORE_KEY_GET] = { "GET", .answer = VALUE },
	[STORE_KEY_SET] = { "SET", .value = true, .answer = DONE },
	[STORE_KEY_DELETE] = { "UNLINK", .answer = NUMBER },
	[STORE_KEY_CAS] = { "FCALL", .value = true, .answer = SWAPPED },
	[STORE_HASH_GET] = { "HGET", .field = true, .answer = VALUE },
	[STORE_HASH_SET] = { "HSET", .field = true, .value = true, .answer = NUMBER },
	[STORE_HASH_DELETE] = { "HDEL", .field = true, .answer = NUMBER },
	[STORE_HASH_ADD] = { "HINCRBY", .field = true, .number = true, .answer = NUMBER },
	[STORE_HASH_ALL] = { "HGETALL", .answer = PAIRS },
};

/* What Redis's words mean. The first match counts; errors that are not listed are DENIED. */
static const struct {
	const char *words;
	bool anywhere;
	enum base_err err;
} errors[] = {
	{ "WRONGTYPE", true, BASE_TYPE }, /* inside a Function's error it may stand further back */
	{ "would overflow", true, BASE_OVERFLOW },
	{ "not an integer", true, BASE_TYPE },
	{ "ERR Function not found", false, BASE_UNAVAILABLE }, /* redis.c loads it meanwhile */
	{ "OOM", false, BASE_FULL },
	{ "LOADING", false, BASE_UNAVAILABLE },
	{ "BUSY", false, BASE_UNAVAILABLE },
	{ "READONLY", false, BASE_UNAVAILABLE },
	{ "MASTERDOWN", false, BASE_UNAVAILABLE },
	{ "MISCONF", false, BASE_UNAVAILABLE },
	{ "NOREPLICAS", false, BASE_UNAVAILABLE },
	{ "CLUSTERDOWN", false, BASE_UNAVAILABLE },
	{ "TRYAGAIN", false, BASE_UNAVAILABLE },
};

struct pending {
	enum store_op_kind kind;
	store_op_fn *fn;
	void *arg;
};

static enum base_err translate(const struct store_reply *reply)
{
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		const char *words = errors[i].words;
		bool same = errors[i].anywhere ? strstr(reply->text, words) != NULL
					       : strncmp(reply->text, words, strlen(words)) == 0;
		if (same)
			return errors[i].err;
	}
	return BASE_DENIED;
}

/* A counter as INCRBY writes it: no blank, no plus, no leading zero. */
static bool read_decimal(const struct store_reply *reply, int64_t *out)
{
	char again[24];
	if (reply->size == 0 || reply->size >= sizeof again)
		return false;
	int64_t value = strtoll(reply->text, NULL, 10);
	int size = snprintf(again, sizeof again, "%" PRId64, value);
	if ((size_t)size != reply->size || memcmp(again, reply->text, reply->size) != 0)
		return false;
	*out = value;
	return true;
}

/* The answer as the row wants it, or IO for one that Redis should not have given. */
static enum base_err read_answer(
	enum answer answer, const struct store_reply *reply, struct store_result *result)
{
	switch (answer) {
	case NUMBER:
		result->number = reply->integer;
		return reply->type == STORE_INT ? BASE_OK : BASE_IO;
	case SWAPPED:
		if (reply->type != STORE_INT)
			return BASE_IO;
		return reply->integer == 1 ? BASE_OK : BASE_MISMATCH;
	case DONE:
		return reply->type == STORE_STATUS ? BASE_OK : BASE_IO;
	case DECIMAL:
		if (reply->type == STORE_NIL)
			return BASE_OK;
		if (reply->type != STORE_STR)
			return BASE_IO;
		return read_decimal(reply, &result->number) ? BASE_OK : BASE_TYPE;
	case VALUE:
		if (reply->type == STORE_NIL)
			return BASE_NOT_FOUND;
		result->value = (struct store_arg){ reply->text, reply->size };
		return reply->type == STORE_STR ? BASE_OK : BASE_IO;
	case PAIRS:
		result->pairs = reply;
		return reply->type == STORE_ARRAY && reply->n % 2 == 0 ? BASE_OK : BASE_IO;
	}
	return BASE_BUG;
}

static void on_reply(void *arg, const struct store_reply *reply)
{
	struct pending pending = *(struct pending *)arg;
	struct store_result result = { 0 };
	free(arg);
	if (reply->type == STORE_UNKNOWN) {
		result.err = BASE_IO;
	} else if (reply->type == STORE_ERROR) {
		result.err = translate(reply);
		result.why = reply->text;
	} else {
		result.err = read_answer(rows[pending.kind].answer, reply, &result);
	}
	pending.fn(pending.arg, &result);
}

static enum base_err check(const struct store_op *op, const struct row *row)
{
	bool cas = op->kind == STORE_KEY_CAS;
	if (row->field &&
		(!op->field.data || op->field.size == 0 || op->field.size > STORE_STATE_KEY_MAX))
		return BASE_RANGE;
	if (row->value && !op->value.data)
		return BASE_INVALID;
	if (row->value && op->value.size > STORE_VALUE_MAX)
		return BASE_TOO_LARGE;
	if (cas && op->expected.data && op->expected.size > STORE_VALUE_MAX)
		return BASE_TOO_LARGE;
	return op->ttl_ms > TTL_MAX_MS ? BASE_RANGE : BASE_OK;
}

static size_t write_cas(struct store_arg *args, const struct store_op *op,
	const struct store_arg *key, const char *ttl)
{
	bool has = op->expected.data != NULL;
	const struct store_arg words[] = { STORE_ARG("FCALL"), STORE_ARG("pirn1_cas"),
		STORE_ARG("1"), *key, STORE_ARG(has ? "1" : "0"),
		has ? op->expected : STORE_ARG(""), op->value, STORE_ARG(ttl) };
	_Static_assert(sizeof words / sizeof *words <= MAX_ARGS, "the command fits");
	memcpy(args, words, sizeof words);
	return sizeof words / sizeof *words;
}

static size_t write_plain(struct store_arg *args, const struct store_op *op,
	const struct store_arg *key, const char *number, const char *ttl)
{
	const struct row *row = &rows[op->kind];
	size_t n = 0;
	args[n++] = STORE_ARG(row->command);
	args[n++] = *key;
	if (row->field)
		args[n++] = op->field;
	if (row->value)
		args[n++] = op->value;
	if (row->number)
		args[n++] = STORE_ARG(number);
	if (op->kind == STORE_KEY_SET && op->ttl_ms) {
		args[n++] = STORE_ARG("PX");
		args[n++] = STORE_ARG(ttl);
	}
	assert(n <= MAX_ARGS);
	return n;
}

enum base_err store_op_start(
	struct store_redis *r, const struct store_op *op, store_op_fn *fn, void *arg)
{
	assert(op->kind < STORE_OP__N);
	struct store_key name;
	struct store_arg args[MAX_ARGS];
	char number[24], ttl[24];
	enum base_err err = store_key_state(&name, op->service, op->key.data, op->key.size);
	if (err || (err = check(op, &rows[op->kind])))
		return err;
	struct pending *pending = malloc(sizeof *pending);
	if (!pending)
		return BASE_NOMEM;
	*pending = (struct pending){ op->kind, fn, arg };
	snprintf(number, sizeof number, "%" PRId64, op->number);
	snprintf(ttl, sizeof ttl, "%" PRIu64, op->ttl_ms);
	const struct store_arg key = store_key_arg(&name);
	size_t n = op->kind == STORE_KEY_CAS ? write_cas(args, op, &key, ttl)
					     : write_plain(args, op, &key, number, ttl);
	err = store_redis_command(r, args, n, on_reply, pending);
	if (err)
		free(pending);
	return err;
}
