/* The state of include/pirn/service.h, on worker/state.h. */
#include <string.h>

#include "base/clock.h"
#include "worker/request.h"

static int code_of(enum base_err err)
{
	switch (err) {
	case BASE_OK:
		return PIRN_OK;
	case BASE_UNAVAILABLE:
	case BASE_FULL:
		return PIRN_ERR_UNAVAILABLE;
	case BASE_IO:
	case BASE_GONE:
		return PIRN_ERR_UNKNOWN;
	case BASE_TIMEOUT:
		return PIRN_ERR_TIMEOUT;
	case BASE_NOMEM:
		return PIRN_ERR_NOMEM;
	case BASE_NOT_FOUND:
		return PIRN_ERR_NOT_FOUND;
	case BASE_MISMATCH:
		return PIRN_ERR_MISMATCH;
	case BASE_OVERFLOW:
		return PIRN_ERR_OVERFLOW;
	case BASE_TYPE:
		return PIRN_ERR_TYPE;
	case BASE_TOO_LARGE:
		return PIRN_ERR_TOO_LARGE;
	case BASE_INVALID:
	case BASE_RANGE:
		return PIRN_ERR_INVALID;
	default:
		return PIRN_ERR_FAILED;
	}
}

/* Of a run that records: what its delivery's other runs did counts too. */
static int replay_do(
	struct pirn_request *req, const struct store_op *op, const struct wrk_state_result **result)
{
	enum store_code why;
	enum base_err err = wrk_replay_do(&req->replay, req->state, &req->call, op, result, &why);

	if (err != BASE_DENIED)
		return code_of(err);
	return why == STORE_LIMIT ? PIRN_ERR_LIMIT : PIRN_ERR_LEASE;
}

static int plain_do(
	struct pirn_request *req, const struct store_op *op, const struct wrk_state_result **result)
{
	return code_of(wrk_state_do(req->state, &req->call, op, req->run->deadline_us, result));
}

/* What the run that waits since then has to say of Redis: while it waits the loop may give it up. That the run's time
 * is over says nothing, unless it waited for long: the time may be its caller's. */
static bool is_unanswered(int err, uint64_t since_us)
{
	if (err == PIRN_ERR_TIMEOUT)
		return base_clock_us() - since_us >= WRK_STATELESS_US;
	return err == PIRN_ERR_UNAVAILABLE || err == PIRN_ERR_UNKNOWN;
}

static int state_do(
	struct pirn_request *req, struct store_op *op, const struct wrk_state_result **result)
{
	uint64_t now_us = base_clock_us(), before = 0;
	int err;

	if (!req->state)
		return PIRN_ERR_UNAVAILABLE;
	/* Waiting would end at once, but the loop might have started it by then. */
	if (now_us >= req->run->deadline_us)
		return PIRN_ERR_TIMEOUT;
	if (req->stateless_us)
		before = atomic_exchange(req->stateless_us, now_us);
	op->service = wrk_native_name(req->native);
	if (req->executor)
		wrk_executor_block(req->executor);
	err = req->replay.of ? replay_do(req, op, result) : plain_do(req, op, result);
	if (req->executor)
		wrk_executor_unblock(req->executor);
	if (req->stateless_us)
		atomic_store(req->stateless_us, is_unanswered(err, now_us) ? 1 : before);
	return err;
}

/* An operation whose answer is a number; value may be NULL. */
static int number_do(struct pirn_request *req, struct store_op *op, int64_t *value)
{
	const struct wrk_state_result *result;
	int err = state_do(req, op, &result);

	if (!err && value)
		*value = result->number;
	return err;
}

static int existed_do(struct pirn_request *req, struct store_op *op, bool *existed)
{
	int64_t n = 0;
	int err = number_do(req, op, &n);

	if (!err && existed)
		*existed = n > 0;
	return err;
}

/* An operation whose answer is bytes: they are copied into the request's arena. */
static int value_do(struct pirn_request *req, struct store_op *op, const void **value, size_t *size)
{
	const struct wrk_state_result *result;
	int err = state_do(req, op, &result);
	void *copy;

	if (err)
		return err;
	if (!result->has_value)
		return PIRN_ERR_NOT_FOUND;
	copy = base_arena_dup(&req->arena, result->bytes.data, result->bytes.size);
	if (!copy)
		return PIRN_ERR_NOMEM;
	*value = copy;
	if (size)
		*size = result->bytes.size;
	return PIRN_OK;
}

/* A value of no bytes is a value: never NULL, which stands for "none". */
static struct store_arg bytes(const void *data, size_t size)
{
	return (struct store_arg){ data ? data : "", size };
}

/* ---- counters -------------------------------------------------------------- */

int pirn_counter_add(struct pirn_request *req, const char *counter, int64_t by, int64_t *value)
{
	struct store_op op = { .kind = STORE_COUNTER_ADD, .key = STORE_ARG(counter), .number = by };

	return number_do(req, &op, value);
}

int pirn_counter_get(struct pirn_request *req, const char *counter, int64_t *value)
{
	struct store_op op = { .kind = STORE_COUNTER_GET, .key = STORE_ARG(counter) };

	return number_do(req, &op, value);
}

/* ---- keys ------------------------------------------------------------------ */

int pirn_key_get(struct pirn_request *req, const char *key, const void **value, size_t *size)
{
	struct store_op op = { .kind = STORE_KEY_GET, .key = STORE_ARG(key) };

	return value_do(req, &op, value, size);
}

int pirn_key_set(
	struct pirn_request *req, const char *key, const void *value, size_t size, uint64_t ttl_ms)
{
	struct store_op op = { .kind = STORE_KEY_SET,
		.key = STORE_ARG(key),
		.value = bytes(value, size),
		.ttl_ms = ttl_ms };

	return number_do(req, &op, NULL);
}

int pirn_key_delete(struct pirn_request *req, const char *key, bool *existed)
{
	struct store_op op = { .kind = STORE_KEY_DELETE, .key = STORE_ARG(key) };

	return existed_do(req, &op, existed);
}

int pirn_key_swap(struct pirn_request *req, const char *key, const void *expected,
	size_t expected_size, const void *value, size_t size, uint64_t ttl_ms)
{
	struct store_op op = { .kind = STORE_KEY_CAS,
		.key = STORE_ARG(key),
		.value = bytes(value, size),
		.ttl_ms = ttl_ms };

	if (expected)
		op.expected = bytes(expected, expected_size);
	return number_do(req, &op, NULL);
}

/* ---- hashes ---------------------------------------------------------------- */

int pirn_hash_get(struct pirn_request *req, const char *hash, const char *field, const void **value,
	size_t *size)
{
	struct store_op op = {
		.kind = STORE_HASH_GET, .key = STORE_ARG(hash), .field = STORE_ARG(field)
	};

	return value_do(req, &op, value, size);
}

int pirn_hash_set(struct pirn_request *req, const char *hash, const char *field, const void *value,
	size_t size)
{
	struct store_op op = { .kind = STORE_HASH_SET,
		.key = STORE_ARG(hash),
		.field = STORE_ARG(field),
		.value = bytes(value, size) };

	return number_do(req, &op, NULL);
}

int pirn_hash_delete(struct pirn_request *req, const char *hash, const char *field, bool *existed)
{
	struct store_op op = {
		.kind = STORE_HASH_DELETE, .key = STORE_ARG(hash), .field = STORE_ARG(field)
	};

	return existed_do(req, &op, existed);
}

int pirn_hash_add(
	struct pirn_request *req, const char *hash, const char *field, int64_t by, int64_t *value)
{
	struct store_op op = { .kind = STORE_HASH_ADD,
		.key = STORE_ARG(hash),
		.field = STORE_ARG(field),
		.number = by };

	return number_do(req, &op, value);
}

/* Cuts the next text off what state.c packed. */
static const char *unpack_text(const uint8_t **at, size_t *size)
{
	const char *text;
	uint32_t n;

	memcpy(&n, *at, sizeof n);
	text = (const char *)*at + sizeof n;
	*at += sizeof n + n + 1;
	*size = n;
	return text;
}

static int unpack_pairs(struct pirn_request *req, const struct wrk_state_result *result,
	const struct pirn_pair **fields, size_t *n_fields)
{
	const uint8_t *at = base_arena_dup(&req->arena, result->bytes.data, result->bytes.size);
	struct pirn_pair *list;
	uint32_t n;

	if (!at)
		return PIRN_ERR_NOMEM;
	memcpy(&n, at, sizeof n);
	at += sizeof n;
	list = base_arena_alloc(&req->arena, (n + (size_t)1) * sizeof *list);
	if (!list)
		return PIRN_ERR_NOMEM;
	for (uint32_t i = 0; i < n; i++) {
		list[i].name = unpack_text(&at, &list[i].name_size);
		list[i].value = unpack_text(&at, &list[i].value_size);
	}
	*fields = list;
	*n_fields = n;
	return PIRN_OK;
}

int pirn_hash_all(struct pirn_request *req, const char *hash, const struct pirn_pair **fields,
	size_t *n_fields)
{
	struct store_op op = { .kind = STORE_HASH_ALL, .key = STORE_ARG(hash) };
	const struct wrk_state_result *result;
	int err = state_do(req, &op, &result);

	if (!err && result->bytes.size < sizeof(uint32_t)) {
		*fields = NULL; /* no pairs came: an absent hash */
		*n_fields = 0;
	} else if (!err) {
		err = unpack_pairs(req, result, fields, n_fields);
	}
	return err;
}
