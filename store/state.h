/* A service's state in Redis: counters, keys and hashes, as single asynchronous
 * operations. Names, limits and words are fixed here and in keys.h; the worker
 * turns them into the blocking calls of pirn/service.h. Plain operations: the
 * replay-safe ones of durable events come beside them.
 *
 * Keys are pirn:{0}:state:<service>:<key>. A key is 1 to 512 bytes, a value at
 * most 1 MiB.
 */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "store/redis.h"

enum store_op_kind {
	STORE_COUNTER_ADD, /* → number; OVERFLOW changes nothing; TYPE when it is no counter */
	STORE_COUNTER_GET, /* → number; 0 when absent */
	STORE_KEY_GET,     /* → value; NOT_FOUND */
	STORE_KEY_SET,     /* ttl_ms 0: keeps for good */
	STORE_KEY_DELETE,  /* → number: 1 when it was there */
	STORE_KEY_CAS,     /* sets value when the stored one is expected (expected NULL: when absent); MISMATCH */
	STORE_HASH_GET,    /* field → value; NOT_FOUND */
	STORE_HASH_SET,    /* → number: 1 when the field is new */
	STORE_HASH_DELETE, /* → number */
	STORE_HASH_ADD,    /* field += number → number; OVERFLOW */
	STORE_HASH_ALL,    /* → pairs */
};

struct store_op {
	enum store_op_kind kind;
	const char *service;
	struct store_arg key, field, value, expected; /* data NULL: none */
	int64_t number;
	uint64_t ttl_ms;
};

struct store_result {
	enum base_err err; /* UNAVAILABLE: Redis is not there; IO: unknown whether it happened; the op's own above */
	int64_t number;
	struct store_arg value;           /* borrowed until fn returns */
	const struct store_reply *pairs;  /* HASH_ALL: field, value, field, … */
};

typedef void store_op_fn(void *arg, const struct store_result *result);

/* RANGE or TOO_LARGE for a key or value outside its limits; UNAVAILABLE, FULL as in redis.h. fn comes later, once. */
BASE_MUSTUSE enum base_err store_op_start(struct store_redis *r, const struct store_op *op, store_op_fn *fn, void *arg);

#endif
