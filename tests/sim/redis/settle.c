/* How deliveries leave their entries. Everything is looked at first: SETTLED and FENCED
 * leave all as it was. */
#include <string.h>

#include "tests/sim/redis/parts.h"

#define GRACE_MS 60000 /* how long records outlive the fence that they are */

/* ---- what is asked, held against what is there */

static bool is_ended(struct sim_asking *a, const struct store_ends *e, struct store_arg bitmap)
{
	const struct store_end *ends = e->ends;

	if (SIM_FAULTY(a->r, BITS_IGNORED))
		return false;
	for (size_t i = 0; i < e->n; i++) {
		if (store_entry_ended(bitmap.data, bitmap.size, ends[i].bit))
			return true;
		for (size_t k = 0; k < i; k++)
			if (ends[k].bit == ends[i].bit)
				return true;
	}
	return false;
}

static struct store_arg bitmap_of(struct sim_asking *a, const struct store_ends *e)
{
	struct store_arg bitmap = { "", 0 };

	(void)sim_keys_get(&a->r->keys, sim_done_key(a->arena, e->journal),
		sim_entry_id(a->arena, e->epoch, e->turn), &bitmap);
	return bitmap;
}

static enum store_code check_entry(struct sim_asking *a, const struct store_ends *e)
{
	struct store_arg value, stream = sim_stream_key(a->arena, e->journal);
	bool adopted;

	if (sim_owner_of(a->r, a->arena, e->journal, &adopted) != a->ask->settle.turn.epoch &&
		!SIM_FAULTY(a->r, FENCE_IGNORED))
		return STORE_FENCED;
	if (!sim_keys_get(&a->r->keys, stream, sim_entry_id(a->arena, e->epoch, e->turn), &value) &&
		!SIM_FAULTY(a->r, BITS_IGNORED))
		return STORE_SETTLED;
	return is_ended(a, e, bitmap_of(a, e)) ? STORE_SETTLED : STORE_DONE;
}

static enum store_code check(struct sim_asking *a)
{
	const struct store_turn *t = &a->ask->settle.turn;
	enum store_code code = STORE_DONE;

	if (!sim_may_append(a, t->epoch, t->journal))
		return STORE_FENCED;
	for (size_t i = 0; i < a->ask->settle.n && !code; i++)
		code = check_entry(a, &a->ask->settle.entries[i]);
	return code;
}

/* ---- what is done */

static void tell_bit(struct sim_asking *a, const struct store_ends *e, const struct store_end *end)
{
	const struct sim_change change = { .kind = SIM_BIT,
		.journal = e->journal,
		.epoch = e->epoch,
		.turn = e->turn,
		.n_deliveries = e->n_deliveries,
		.end = end };

	if (a->r->watch)
		a->r->watch(a->r->watch_arg, a->r, &change);
}

static uint32_t count_bits(const uint8_t *bitmap, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += store_entry_ended(bitmap, (n + 7) / 8, i);
	return count;
}

static void flip_bits(struct sim_asking *a, const struct store_ends *e)
{
	struct store_arg done = sim_done_key(a->arena, e->journal),
			 id = sim_entry_id(a->arena, e->epoch, e->turn), before = bitmap_of(a, e);
	size_t size = (e->n_deliveries + 7) / 8;
	uint8_t *bitmap = sim_alloc(a->arena, size);

	if (before.size > 0)
		memcpy(bitmap, before.data, before.size < size ? before.size : size);
	for (size_t i = 0; i < e->n; i++) {
		sim_set_bit(bitmap, e->ends[i].bit);
		tell_bit(a, e, &e->ends[i]);
	}
	if (count_bits(bitmap, e->n_deliveries) < e->n_deliveries) {
		sim_keys_set(&a->r->keys, done, id, (struct store_arg){ bitmap, size });
		return;
	}
	sim_keys_delete(&a->r->keys, sim_stream_key(a->arena, e->journal), id);
	sim_keys_delete(&a->r->keys, done, id);
}

/* No run of this attempt reaches the token, and every run of the next is above. */
static void fence(struct sim_asking *a, const struct store_end *end)
{
	struct store_arg key = sim_ops_key(a->arena, end->id, end->service), stored,
			 token = sim_token(a->arena, end->attempt, UINT32_MAX);

	if (SIM_FAULTY(a->r, NO_FENCE)) {
		sim_keys_unlink(&a->r->keys, key);
		return;
	}
	if (!sim_keys_get(&a->r->keys, key, sim_word(":run"), &stored) ||
		sim_token_below(stored, token))
		sim_keys_set(&a->r->keys, key, sim_word(":run"), token);
}

static void bury(struct sim_asking *a, const struct store_end *end)
{
	struct store_arg id = { end->id, 16 };
	struct sim_keys *keys = &a->r->keys;

	fence(a, end);
	sim_keys_expire(keys, sim_ops_key(a->arena, end->id, end->service), 0);
	sim_keys_set(keys, sim_text(a->arena, "dead:%s", end->service), id, end->head);
	sim_keys_set(keys, sim_text(a->arena, "dead-body:%s", end->service), id, end->body);
}

static void end_one(struct sim_asking *a, const struct store_end *end)
{
	if (end->how == STORE_DEAD) {
		bury(a, end);
	} else if (end->how == STORE_ENDED && !end->no_records && end->only_run) {
		sim_keys_unlink(&a->r->keys, sim_ops_key(a->arena, end->id, end->service));
	} else if (end->how == STORE_ENDED && !end->no_records) {
		fence(a, end);
		if (!SIM_FAULTY(a->r, NO_EXPIRY))
			sim_keys_expire(&a->r->keys, sim_ops_key(a->arena, end->id, end->service),
				end->fence_ms + GRACE_MS);
	}
}

static size_t list_results(struct sim_asking *a, bool alone, struct sim_result *list)
{
	size_t n = 0;

	for (size_t i = 0; i < a->ask->settle.n; i++)
		for (size_t k = 0; k < a->ask->settle.entries[i].n; k++) {
			const struct store_end *end = &a->ask->settle.entries[i].ends[k];

			if (end->result.data && (end->alone && end->how == STORE_ENDED) == alone)
				list[n++] = (struct sim_result){
					end->id, end->service, end->result, alone
				};
		}
	return n;
}

static void keep_results(struct sim_asking *a)
{
	size_t n = 0;
	struct sim_result *list;

	for (size_t i = 0; i < a->ask->settle.n; i++)
		n += a->ask->settle.entries[i].n;
	list = sim_alloc(a->arena, n * sizeof *list);
	n = list_results(a, true, list);
	n += list_results(a, false, list + n);
	if (n > 0)
		sim_results_add(a, list, n);
}

void sim_do_settle(struct sim_asking *a)
{
	const struct store_turn *t = &a->ask->settle.turn;
	enum store_code code = check(a);

	if (code == STORE_FENCED) {
		sim_fenced(a);
		return;
	}
	if (code) {
		sim_refuse(a, code);
		return;
	}
	if (t->head.data && !sim_append(a, t, t->head, t->body))
		return;
	for (size_t i = 0; i < a->ask->settle.n; i++)
		flip_bits(a, &a->ask->settle.entries[i]);
	if (t->head.data)
		sim_tell_added(a, SIM_MOVED, t, t->head, (struct store_arg){ "", 0 });
	for (size_t i = 0; i < a->ask->settle.n; i++)
		for (size_t k = 0; k < a->ask->settle.entries[i].n; k++)
			end_one(a, &a->ask->settle.entries[i].ends[k]);
	keep_results(a);
	a->reply->settled.now_ms = a->r->keys.now_ms;
}
