/* A service's state in Redis: counters, keys and hashes, as single asynchronous
 * operations. Names, limits and words are fixed here and in keys.h; the worker
 * turns them into the blocking calls of pirn/service.h. Plain operations: the
 * replay-safe ones of durable events come beside them.
 *
 * Keys are pirn:{0}:state:<service>:<key>. A key or field is 1 to 512 bytes, a value
 * at most 1 MiB, a time to live at most 100 years. A service's counters, keys and
 * hashes share one space of names: an operation on the wrong sort is TYPE.
 *
 * Counters are signed 64-bit numbers. An addition that would leave that range is
 * OVERFLOW and changes nothing.
 */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include "store/redis.h"

enum store_op_kind {
	STORE_COUNTER_ADD, /* → number; OVERFLOW changes nothing; TYPE when it is no counter */
	STORE_COUNTER_GET, /* → number; 0 when absent */
	STORE_KEY_GET,     /* → value; NOT_FOUND */
	STORE_KEY_SET,     /* ttl_ms 0: keeps for good */
	STORE_KEY_DELETE,  /* → number: 1 when it was there; takes counters and hashes too */
	STORE_KEY_CAS,     /* sets value when the stored one is expected (expected NULL: when absent); MISMATCH */
	STORE_HASH_GET,    /* field → value; NOT_FOUND */
	STORE_HASH_SET,    /* → number: 1 when the field is new */
	STORE_HASH_DELETE, /* → number */
	STORE_HASH_ADD,    /* field += number → number; OVERFLOW */
	STORE_HASH_ALL,    /* → pairs */
	STORE_OP__N
};

#define STORE_VALUE_MAX (1024 * 1024)

struct store_op {
	enum store_op_kind kind;
	const char *service;
	struct store_arg key, field, value, expected; /* data NULL: none */
	int64_t number;
	uint64_t ttl_ms;
};

struct store_result {
	/* UNAVAILABLE: Redis refused it for now, nothing happened; FULL: it is out of memory,
	 * nothing happened; IO: unknown whether it happened; DENIED: Redis will not let us; the
	 * op's own above. */
	enum base_err err;
	const char *why;   /* Redis's own words when it refused; NULL otherwise; borrowed */
	int64_t number;
	struct store_arg value;           /* borrowed until fn returns */
	const struct store_reply *pairs;  /* HASH_ALL: field, value, field, … */
};

typedef void store_op_fn(void *arg, const struct store_result *result);

/* RANGE or TOO_LARGE for a key or value outside its limits, INVALID for one that is missing;
 * UNAVAILABLE, FULL as in redis.h. fn comes later, once; never when an error was returned.
 * UNTRUSTED: everything in op but kind. The connection must have been made with the library of
 * functions.lua (store/functions_lua.h). */
BASE_MUSTUSE enum base_err store_op_start(struct store_redis *r, const struct store_op *op, store_op_fn *fn, void *arg);

#endif
