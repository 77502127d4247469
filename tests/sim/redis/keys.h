/* The keys of a simulated Redis: key → field → bytes, with times to live, and a log of
 * what changed since it was last on disk, so that a crash can take the newest part
 * back.
 *
 * A string is a key whose one field is empty; a stream has a field for each entry, and
 * so on: what sort a key is shows in its fields. A key without fields is not there.
 *
 * The order of a key's fields is that of their making, as it is in Redis while a hash
 * is small. Nothing here depends on addresses.
 */
#ifndef TESTS_SIM_REDIS_KEYS_H
#define TESTS_SIM_REDIS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "store/words.h"

struct sim_cell {
	UT_hash_handle hh;
	struct store_arg field, value;
};

struct sim_key {
	UT_hash_handle hh;
	struct store_arg name;
	struct sim_cell *cells;
	uint64_t expires_ms; /* 0: never */
};

struct sim_undo;

struct sim_keys {
	struct sim_key *keys;
	uint64_t now_ms; /* set by the owner; what expires is gone from then on */
	struct sim_undo *log;
	size_t n_log, log_room;
	uint64_t first; /* the number of the log's first change */
};

void sim_keys_init(struct sim_keys *k);
void sim_keys_fini(struct sim_keys *k);

/* Borrowed until the next change; NULL: not there. */
const struct sim_key *sim_keys_find(struct sim_keys *k, struct store_arg key);
bool sim_keys_get(
	struct sim_keys *k, struct store_arg key, struct store_arg field, struct store_arg *value);
size_t sim_keys_count(struct sim_keys *k, struct store_arg key); /* fields */

/* Copies all three. True: the field is new. */
bool sim_keys_set(
	struct sim_keys *k, struct store_arg key, struct store_arg field, struct store_arg value);
bool sim_keys_delete(struct sim_keys *k, struct store_arg key, struct store_arg field);
bool sim_keys_unlink(struct sim_keys *k, struct store_arg key);
/* 0: never; in the past: the key goes at once. */
void sim_keys_expire(struct sim_keys *k, struct store_arg key, uint64_t at_ms);

/* The number of the next change. What is before `mark` can no longer be undone; rollback undoes
 * everything from `mark` on. */
uint64_t sim_keys_mark(const struct sim_keys *k);
void sim_keys_forget(struct sim_keys *k, uint64_t mark);
void sim_keys_rollback(struct sim_keys *k, uint64_t mark);

#endif
