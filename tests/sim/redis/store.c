/* Streams of entries, and what is appended to them. A field of a stream is an entry's id,
 * its value: the time it was written, the size of its head, head, body. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/redis/parts.h"

#define LANE_MS 600000u

struct store_arg sim_stream_key(struct base_arena *arena, uint32_t journal)
{
	return sim_text(arena, "journal:%u", journal);
}

struct store_arg sim_top_key(struct base_arena *arena, uint32_t journal)
{
	return sim_text(arena, "top:%u", journal);
}

struct store_arg sim_done_key(struct base_arena *arena, uint32_t journal)
{
	return sim_text(arena, "done:%u", journal);
}

struct store_arg sim_entry_id(struct base_arena *arena, uint32_t epoch, uint64_t turn)
{
	return sim_text(arena, "%u-%llu", epoch, (unsigned long long)turn);
}

void sim_set_bit(uint8_t *bitmap, uint32_t bit)
{
	bitmap[bit / 8] |= (uint8_t)(0x80u >> bit % 8);
}

/* ---- appending */

struct front {
	uint64_t written_ms;
	uint64_t turn;
	uint32_t epoch, head_size;
};

static bool is_above_top(struct sim_asking *a, const struct store_turn *turn)
{
	struct store_arg key = sim_top_key(a->arena, turn->journal);
	uint64_t epoch = sim_field_number(a->r, key, sim_word("epoch"));

	return turn->epoch > epoch ||
	       (turn->epoch == epoch && turn->turn > sim_field_number(a->r, key, sim_word("turn")));
}

bool sim_append(struct sim_asking *a, const struct store_turn *turn, struct store_arg head,
	struct store_arg body)
{
	struct store_arg top = sim_top_key(a->arena, turn->journal);
	struct front front = { a->r->keys.now_ms, turn->turn, turn->epoch, (uint32_t)head.size };
	uint8_t *value = sim_alloc(a->arena, sizeof front + head.size + body.size);

	if (!is_above_top(a, turn)) {
		sim_refuse(a, STORE_REPEATED);
		return false;
	}
	memcpy(value, &front, sizeof front);
	memcpy(value + sizeof front, head.data, head.size);
	if (body.size > 0)
		memcpy(value + sizeof front + head.size, body.data, body.size);
	sim_keys_set(&a->r->keys, sim_stream_key(a->arena, turn->journal),
		sim_entry_id(a->arena, turn->epoch, turn->turn),
		(struct store_arg){ value, sizeof front + head.size + body.size });
	sim_set_number(a, top, sim_word("epoch"), turn->epoch);
	sim_set_number(a, top, sim_word("turn"), turn->turn);
	return true;
}

void sim_tell_added(struct sim_asking *a, enum sim_change_kind kind, const struct store_turn *turn,
	struct store_arg head, struct store_arg ended)
{
	const struct sim_change change = { .kind = kind,
		.journal = turn->journal,
		.epoch = turn->epoch,
		.turn = turn->turn,
		.head = head,
		.body = turn->body,
		.ended = ended };

	if (a->r->watch)
		a->r->watch(a->r->watch_arg, a->r, &change);
}

/* ---- reading */

static int compare_entries(const void *left, const void *right)
{
	const struct store_entry *a = left, *b = right;

	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	return (a->turn > b->turn) - (a->turn < b->turn);
}

static struct store_entry unpack(struct store_arg value)
{
	const uint8_t *bytes = value.data;
	struct front front;
	size_t body;

	memcpy(&front, bytes, sizeof front);
	body = sizeof front + front.head_size;
	return (struct store_entry){ front.epoch, front.turn, front.written_ms,
		{ bytes + sizeof front, front.head_size }, { bytes + body, value.size - body },
		{ "", 0 } };
}

static bool is_after(const struct store_entry *e, uint32_t epoch, uint64_t turn)
{
	return e->epoch > epoch || (e->epoch == epoch && e->turn > turn);
}

/* The entries after an id, in order. */
static struct store_entry *entries_after(
	struct sim_asking *a, uint32_t epoch, uint64_t turn, size_t *n)
{
	const struct sim_key *key =
		sim_keys_find(&a->r->keys, sim_stream_key(a->arena, a->ask->journal));
	struct store_entry *list =
		sim_alloc(a->arena, (key ? HASH_COUNT(key->cells) : 0) * sizeof *list);

	*n = 0;
	for (const struct sim_cell *c = key ? key->cells : NULL; c; c = c->hh.next) {
		list[*n] = unpack(c->value);
		*n += is_after(&list[*n], epoch, turn);
	}
	qsort(list, *n, sizeof *list, compare_entries);
	return list;
}

static void copy_entry(struct sim_asking *a, struct store_entry *e)
{
	struct store_arg bitmap;

	e->head = sim_keep(a->arena, e->head);
	e->body = sim_keep(a->arena, e->body);
	if (sim_keys_get(&a->r->keys, sim_done_key(a->arena, a->ask->journal),
		    sim_entry_id(a->arena, e->epoch, e->turn), &bitmap))
		e->ended = sim_keep(a->arena, bitmap);
}

void sim_do_read(struct sim_asking *a)
{
	struct store_page *out = &a->reply->page;
	uint64_t used = 0;
	size_t n;
	struct store_entry *list =
		entries_after(a, a->ask->read.after_epoch, a->ask->read.after_turn, &n);

	for (size_t i = 0; i < n && out->n < a->ask->read.max_entries; i++) {
		uint64_t size = list[i].head.size + list[i].body.size;

		if (out->n > 0 && used + size > a->ask->read.max_bytes)
			break;
		used += size;
		copy_entry(a, &list[i]);
		out->n++;
		if (used >= a->ask->read.max_bytes)
			break;
	}
	out->entries = list;
}

/* ---- store */

/* Why each item is none; STORED for one that is. */
#define STORED ((enum store_why)(STORE_WHY_FULL + 1))

struct plan {
	enum store_why *why;
	struct store_duplicate *duplicates;
	size_t n_duplicates;
	uint64_t used; /* bytes of dedupe keys */
	bool counted, added;
	bool full; /* nothing of this fate is stored */
	uint8_t *bitmap;
	uint32_t bits, live;
};

static struct store_arg lane_key(struct sim_asking *a, const struct store_item *item)
{
	return sim_text(a->arena, "lane:%016llx:%llu", (unsigned long long)item->lane,
		(unsigned long long)item->number >> 16);
}

static struct store_arg lane_field(struct sim_asking *a, const struct store_item *item)
{
	return sim_text(a->arena, "%llu", (unsigned long long)item->number);
}

static bool is_lane_duplicate(struct sim_asking *a, size_t i)
{
	const struct store_item *item = &a->ask->store.items[i];
	struct store_arg value;

	return item->has_lane && !SIM_FAULTY(a->r, LANE_IGNORED) &&
	       sim_keys_get(&a->r->keys, lane_key(a, item), lane_field(a, item), &value);
}

static void duplicate(
	struct plan *p, size_t i, enum store_why why, struct store_arg id, uint64_t last_ms)
{
	p->why[i] = why;
	p->duplicates[p->n_duplicates++] = (struct store_duplicate){ i, why, id, last_ms };
}

/* Its number stands before it in this call: it shares the fate of that one. */
static bool plan_twin(struct sim_asking *a, struct plan *p, size_t i)
{
	const struct store_item *items = a->ask->store.items;
	size_t k = 0;

	while (k < i &&
		!(items[k].has_lane && items[i].has_lane && items[k].lane == items[i].lane &&
			items[k].number == items[i].number))
		k++;
	if (k == i || SIM_FAULTY(a->r, LANE_IGNORED))
		return false;
	for (size_t d = 0; d < p->n_duplicates; d++) {
		const struct store_duplicate *twin = &p->duplicates[d];

		if (twin->item != k)
			continue;
		duplicate(p, i, twin->why, twin->id, twin->last_ms);
		return true;
	}
	duplicate(p, i, STORE_WHY_LANE, (struct store_arg){ "", 0 }, 0);
	return true;
}

/* The item of this call that has the key already, or NULL. */
static const struct store_item *same_key(struct sim_asking *a, const struct plan *p, size_t i)
{
	const struct store_item *items = a->ask->store.items;

	for (size_t k = 0; k < i; k++)
		if (p->why[k] == STORED && items[k].guard == STORE_GUARD_KEY &&
			(items[k].ttl_ms > 0) == (items[i].ttl_ms > 0) &&
			strcmp(items[k].scope, items[i].scope) == 0 &&
			sim_same(items[k].key, items[i].key))
			return &items[k];
	return NULL;
}

static bool stands(struct sim_asking *a, struct store_arg key, struct store_arg *hash,
	struct store_arg *id)
{
	return sim_keys_get(&a->r->keys, key, sim_word("h"), hash) &&
	       sim_keys_get(&a->r->keys, key, sim_word("i"), id);
}

static bool known_key(struct sim_asking *a, const struct plan *p, size_t i, struct store_arg *hash,
	struct store_arg *id)
{
	const struct store_item *item = &a->ask->store.items[i], *before = same_key(a, p, i);

	if (SIM_FAULTY(a->r, KEY_IGNORED))
		return false;
	if (before) {
		*hash = before->hash;
		*id = before->id;
		return true;
	}
	/* The real one looks for keys of both kinds, because there was one kind once. */
	return (item->ttl_ms > 0 &&
		       stands(a, sim_known_key(a->arena, item->scope, item->key), hash, id)) ||
	       stands(a, sim_dedupe_key(a->arena, item->scope, item->key), hash, id);
}

static uint64_t key_bytes(struct sim_asking *a, const struct store_item *item)
{
	if (item->ttl_ms > 0)
		return SIM_KNOWN_BYTES + strlen(item->scope) + 1 + item->key.size;
	return SIM_EVENT_BYTES + sim_dedupe_key(a->arena, item->scope, item->key).size +
	       strlen(SIM_KEY_PREFIX);
}

static void plan_key(struct sim_asking *a, struct plan *p, size_t i)
{
	const struct store_item *item = &a->ask->store.items[i];
	struct store_arg hash, id;
	uint64_t bytes = key_bytes(a, item);

	if (!p->counted)
		p->used = sim_dedupe_used(a);
	p->counted = true;
	if (known_key(a, p, i, &hash, &id)) {
		duplicate(p, i, sim_same(hash, item->hash) ? STORE_WHY_KEY : STORE_WHY_BODY,
			sim_keep(a->arena, id), 0);
	} else if (p->full || p->used + bytes > a->bounds->dedupe_max) {
		duplicate(p, i, STORE_WHY_FULL, (struct store_arg){ "", 0 }, 0);
	} else {
		p->used += bytes;
		p->added = true;
	}
}

/* The last slot of a timer, after what this call has stored before item i. */
static uint64_t last_slot(struct sim_asking *a, const struct plan *p, size_t i)
{
	const struct store_item *items = a->ask->store.items;

	for (size_t k = i; k-- > 0;)
		if (p->why[k] == STORED && items[k].guard == STORE_GUARD_TIMER &&
			strcmp(items[k].timer, items[i].timer) == 0)
			return items[k].slot_ms;
	return sim_field_number(a->r, sim_word("timers"), sim_word(items[i].timer));
}

/* And the id of its last run. */
static struct store_arg last_run(struct sim_asking *a, const struct plan *p, size_t i)
{
	const struct store_item *items = a->ask->store.items;
	struct store_arg value;

	for (size_t k = i; k-- > 0;)
		if (p->why[k] == STORED && items[k].guard == STORE_GUARD_TIMER &&
			items[k].id.size > 0 && strcmp(items[k].timer, items[i].timer) == 0)
			return items[k].id;
	if (!sim_keys_get(&a->r->keys, sim_word("timers"), sim_word(items[i].timer), &value) ||
		value.size <= 16)
		return (struct store_arg){ "", 0 };
	return (struct store_arg){ (const char *)value.data + value.size - 16, 16 };
}

static void plan_timer(struct sim_asking *a, struct plan *p, size_t i)
{
	const struct store_item *item = &a->ask->store.items[i];
	uint64_t last = last_slot(a, p, i);

	bool early = item->slot_ms > a->r->keys.now_ms + 1000 && !SIM_FAULTY(a->r, SLOT_EARLY);
	bool other = (last != item->previous_ms || item->slot_ms <= last) &&
		     !SIM_FAULTY(a->r, SLOT_IGNORED);

	if (early || other)
		duplicate(p, i, STORE_WHY_SLOT, sim_keep(a->arena, last_run(a, p, i)), last);
}

static void plan_item(struct sim_asking *a, struct plan *p, size_t i)
{
	const struct store_item *item = &a->ask->store.items[i];

	p->why[i] = STORED;
	if (is_lane_duplicate(a, i))
		duplicate(p, i, STORE_WHY_LANE, (struct store_arg){ "", 0 }, 0);
	else if (plan_twin(a, p, i))
		;
	else if (item->guard == STORE_GUARD_KEY)
		plan_key(a, p, i);
	else if (item->guard == STORE_GUARD_TIMER)
		plan_timer(a, p, i);
	else if (p->full)
		duplicate(p, i, STORE_WHY_FULL, (struct store_arg){ "", 0 }, 0);
	if (p->why[i] == STORED)
		p->live += item->n_deliveries;
	for (uint32_t b = 0; b < item->n_deliveries && p->why[i] != STORED; b++)
		sim_set_bit(p->bitmap, p->bits + b);
	p->bits += item->n_deliveries;
}

/* Those from i to last have one fate. */
static void plan_all(struct sim_asking *a, struct plan *p, size_t i, size_t last)
{
	const struct plan before = *p;
	bool full = false;

	for (size_t k = i; k <= last; k++) {
		plan_item(a, p, k);
		full = full || p->why[k] == STORE_WHY_FULL;
	}
	if (!full || SIM_FAULTY(a->r, FATE_SPLIT))
		return;
	*p = before;
	p->full = i < last;
	for (size_t k = i; k <= last; k++)
		plan_item(a, p, k);
	p->full = false;
}

static struct plan make_plan(struct sim_asking *a)
{
	size_t n = a->ask->store.n;
	struct plan p = { .why = sim_alloc(a->arena, n * sizeof *p.why),
		.duplicates = sim_alloc(a->arena, n * sizeof *p.duplicates) };
	size_t bits = 0;

	for (size_t i = 0; i < n; i++)
		bits += a->ask->store.items[i].n_deliveries;
	p.bitmap = sim_alloc(a->arena, (bits + 7) / 8);
	for (size_t i = 0, last; i < n; i = last + 1) {
		last = i;
		while (a->ask->store.items[last].together && last + 1 < n)
			last++;
		plan_all(a, &p, i, last);
	}
	return p;
}

/* A slot that is skipped has no event: the one before stays the running one. */
static void mark_timer(struct sim_asking *a, const struct store_item *item)
{
	const struct sim_change change = { .kind = SIM_SLOT, .item = item };
	struct store_arg before, id = item->id, slot;
	uint8_t *value;

	if (a->r->watch)
		a->r->watch(a->r->watch_arg, a->r, &change);
	if (SIM_FAULTY(a->r, SLOT_FORGOTTEN))
		return;

	if (id.size == 0 &&
		sim_keys_get(&a->r->keys, sim_word("timers"), sim_word(item->timer), &before) &&
		before.size > 16)
		id = (struct store_arg){ (const char *)before.data + before.size - 16, 16 };
	slot = sim_text(a->arena, "%llu ", (unsigned long long)item->slot_ms);
	value = sim_alloc(a->arena, slot.size + id.size);
	memcpy(value, slot.data, slot.size);
	if (id.size > 0)
		memcpy(value + slot.size, id.data, id.size);
	sim_keys_set(&a->r->keys, sim_word("timers"), sim_word(item->timer),
		(struct store_arg){ value, slot.size + id.size });
}

static void mark_key(struct sim_asking *a, const struct store_item *item)
{
	struct sim_keys *keys = &a->r->keys;
	uint64_t until = keys->now_ms + a->bounds->dedupe_ms;
	struct store_arg key;

	if (item->ttl_ms > 0) {
		key = sim_known_key(a->arena, item->scope, item->key);
		until = sim_known_add(a, key_bytes(a, item), item->ttl_ms);
	} else {
		key = sim_dedupe_key(a->arena, item->scope, item->key);
		sim_dedupe_add(a, key_bytes(a, item), a->bounds->dedupe_ms);
	}
	sim_keys_set(keys, key, sim_word("h"), item->hash);
	sim_keys_set(keys, key, sim_word("i"), item->id);
	sim_keys_expire(keys, key, until);
}

static void mark_item(struct sim_asking *a, const struct store_item *item)
{
	struct sim_keys *keys = &a->r->keys;

	if (item->has_lane) {
		sim_keys_set(keys, lane_key(a, item), lane_field(a, item), sim_word("1"));
		sim_keys_expire(keys, lane_key(a, item), keys->now_ms + LANE_MS);
	}
	if (item->guard == STORE_GUARD_KEY) {
		mark_key(a, item);
	} else if (item->guard == STORE_GUARD_TIMER) {
		mark_timer(a, item);
	}
}

static bool write_entry(struct sim_asking *a, const struct plan *p)
{
	const struct store_turn *t = &a->ask->store.turn;
	struct store_arg bitmap = { p->bitmap, (p->bits + 7) / 8 };

	if (!sim_append(a, t, t->head, t->body))
		return false;
	if (p->live < p->bits)
		sim_keys_set(&a->r->keys, sim_done_key(a->arena, t->journal),
			sim_entry_id(a->arena, t->epoch, t->turn), bitmap);
	sim_tell_added(a, SIM_ADDED, t, t->head, bitmap);
	return true;
}

void sim_do_store(struct sim_asking *a)
{
	struct store_stored *out = &a->reply->stored;
	const struct store_turn *t = &a->ask->store.turn;
	struct plan p;

	if (!sim_may_append(a, t->epoch, t->journal)) {
		sim_fenced(a);
		return;
	}
	p = make_plan(a);
	if (p.live > 0 && !write_entry(a, &p))
		return;
	if (p.added)
		sim_dedupe_tidy(a);
	for (size_t i = 0; i < a->ask->store.n; i++)
		if (p.why[i] == STORED)
			mark_item(a, &a->ask->store.items[i]);
	out->now_ms = a->r->keys.now_ms;
	out->entry = p.live > 0;
	out->duplicates = p.duplicates;
	out->n = p.n_duplicates;
}
