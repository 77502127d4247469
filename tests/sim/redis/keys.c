#include "tests/sim/redis/keys.h"

#include <stdlib.h>
#include <string.h>

/* How it was before one change. value.data NULL: the field was not there. field.data NULL: the
 * change was one of the time to live. */
struct sim_undo {
	struct store_arg key, field, value;
	uint64_t expires_ms;
};

static struct store_arg copy(struct store_arg a)
{
	uint8_t *bytes = malloc(a.size + 1);

	if (a.size > 0)
		memcpy(bytes, a.data, a.size);
	bytes[a.size] = '\0';
	return (struct store_arg){ bytes, a.size };
}

static void drop(struct store_arg a)
{
	free((void *)(uintptr_t)a.data);
}

static const void *at(struct store_arg a)
{
	return a.data ? a.data : "";
}

void sim_keys_init(struct sim_keys *k)
{
	*k = (struct sim_keys){ 0 };
}

/* ---- keys and cells, without the log */

static struct sim_key *find_key(struct sim_keys *k, struct store_arg name)
{
	struct sim_key *key;

	HASH_FIND(hh, k->keys, at(name), name.size, key);
	return key;
}

static struct sim_key *need_key(struct sim_keys *k, struct store_arg name)
{
	struct sim_key *key = find_key(k, name);

	if (key)
		return key;
	key = calloc(1, sizeof *key);
	key->name = copy(name);
	HASH_ADD_KEYPTR(hh, k->keys, key->name.data, key->name.size, key);
	return key;
}

static struct sim_cell *find_cell(const struct sim_key *key, struct store_arg field)
{
	struct sim_cell *cell;

	HASH_FIND(hh, key->cells, at(field), field.size, cell);
	return cell;
}

static void put_cell(struct sim_key *key, struct store_arg field, struct store_arg value)
{
	struct sim_cell *cell = find_cell(key, field);

	if (cell) {
		drop(cell->value);
		cell->value = value;
		return;
	}
	cell = calloc(1, sizeof *cell);
	cell->field = copy(field);
	cell->value = value;
	HASH_ADD_KEYPTR(hh, key->cells, cell->field.data, cell->field.size, cell);
}

static void remove_cell(struct sim_key *key, struct sim_cell *cell)
{
	HASH_DELETE(hh, key->cells, cell);
	drop(cell->field);
	drop(cell->value);
	free(cell);
}

static void remove_if_empty(struct sim_keys *k, struct sim_key *key)
{
	if (key->cells)
		return;
	HASH_DELETE(hh, k->keys, key);
	drop(key->name);
	free(key);
}

/* ---- the log */

static void note(struct sim_keys *k, struct sim_undo undo)
{
	if (k->n_log == k->log_room) {
		k->log_room = k->log_room ? k->log_room * 2 : 64;
		k->log = realloc(k->log, k->log_room * sizeof *k->log);
	}
	k->log[k->n_log++] = undo;
}

static void note_cell(struct sim_keys *k, struct store_arg key, struct store_arg field,
	const struct sim_cell *before)
{
	struct sim_undo undo = { .key = copy(key), .field = copy(field) };

	if (before)
		undo.value = copy(before->value);
	note(k, undo);
}

static void note_expiry(struct sim_keys *k, const struct sim_key *key)
{
	note(k, (struct sim_undo){ .key = copy(key->name), .expires_ms = key->expires_ms });
}

static void free_undo(struct sim_undo *undo)
{
	drop(undo->key);
	drop(undo->field);
	drop(undo->value);
}

static void undo_one(struct sim_keys *k, const struct sim_undo *undo)
{
	struct sim_key *key;

	if (undo->field.data && !undo->value.data) {
		key = find_key(k, undo->key);
		remove_cell(key, find_cell(key, undo->field));
		remove_if_empty(k, key);
		return;
	}
	key = need_key(k, undo->key);
	if (undo->field.data)
		put_cell(key, undo->field, copy(undo->value));
	else
		key->expires_ms = undo->expires_ms;
}

uint64_t sim_keys_mark(const struct sim_keys *k)
{
	return k->first + k->n_log;
}

void sim_keys_forget(struct sim_keys *k, uint64_t mark)
{
	size_t n = mark > k->first ? (size_t)(mark - k->first) : 0;

	for (size_t i = 0; i < n; i++)
		free_undo(&k->log[i]);
	k->n_log -= n;
	k->first += n;
	if (k->n_log > 0)
		memmove(k->log, k->log + n, k->n_log * sizeof *k->log);
}

void sim_keys_rollback(struct sim_keys *k, uint64_t mark)
{
	while (k->n_log > 0 && sim_keys_mark(k) > mark) {
		k->n_log--;
		undo_one(k, &k->log[k->n_log]);
		free_undo(&k->log[k->n_log]);
	}
}

/* ---- from outside */

/* A key's time to live is undone before its last field is, so that no key stands without fields. */
static void unlink_key(struct sim_keys *k, struct sim_key *key)
{
	struct sim_cell *cell, *next;

	if (key->expires_ms) {
		note_expiry(k, key);
		key->expires_ms = 0;
	}
	HASH_ITER (hh, key->cells, cell, next) {
		note_cell(k, key->name, cell->field, cell);
		remove_cell(key, cell);
	}
	remove_if_empty(k, key);
}

static struct sim_key *live_key(struct sim_keys *k, struct store_arg name)
{
	struct sim_key *key = find_key(k, name);

	if (!key || !key->expires_ms || key->expires_ms > k->now_ms)
		return key;
	unlink_key(k, key);
	return NULL;
}

const struct sim_key *sim_keys_find(struct sim_keys *k, struct store_arg key)
{
	return live_key(k, key);
}

bool sim_keys_get(
	struct sim_keys *k, struct store_arg name, struct store_arg field, struct store_arg *value)
{
	const struct sim_key *key = live_key(k, name);
	const struct sim_cell *cell = key ? find_cell(key, field) : NULL;

	if (cell)
		*value = cell->value;
	return cell != NULL;
}

size_t sim_keys_count(struct sim_keys *k, struct store_arg name)
{
	const struct sim_key *key = live_key(k, name);

	return key ? HASH_COUNT(key->cells) : 0;
}

bool sim_keys_set(
	struct sim_keys *k, struct store_arg name, struct store_arg field, struct store_arg value)
{
	struct sim_key *key = live_key(k, name);
	const struct sim_cell *before = key ? find_cell(key, field) : NULL;
	bool fresh = !before;
	struct store_arg kept = copy(value); /* it may be the old one's */

	note_cell(k, name, field, before);
	if (!key)
		key = need_key(k, name);
	put_cell(key, field, kept);
	return fresh;
}

bool sim_keys_delete(struct sim_keys *k, struct store_arg name, struct store_arg field)
{
	struct sim_key *key = live_key(k, name);
	struct sim_cell *cell = key ? find_cell(key, field) : NULL;

	if (!cell)
		return false;
	if (HASH_COUNT(key->cells) == 1) {
		unlink_key(k, key);
		return true;
	}
	note_cell(k, name, field, cell);
	remove_cell(key, cell);
	return true;
}

bool sim_keys_unlink(struct sim_keys *k, struct store_arg name)
{
	struct sim_key *key = live_key(k, name);

	if (key)
		unlink_key(k, key);
	return key != NULL;
}

void sim_keys_expire(struct sim_keys *k, struct store_arg name, uint64_t at_ms)
{
	struct sim_key *key = live_key(k, name);

	if (!key || key->expires_ms == at_ms)
		return;
	if (at_ms && at_ms <= k->now_ms) {
		unlink_key(k, key);
		return;
	}
	note_expiry(k, key);
	key->expires_ms = at_ms;
}

void sim_keys_fini(struct sim_keys *k)
{
	struct sim_key *key, *next;
	struct sim_cell *cell, *after;

	HASH_ITER (hh, k->keys, key, next) {
		HASH_ITER (hh, key->cells, cell, after)
			remove_cell(key, cell);
		remove_if_empty(k, key);
	}
	for (size_t i = 0; i < k->n_log; i++)
		free_undo(&k->log[i]);
	free(k->log);
}
