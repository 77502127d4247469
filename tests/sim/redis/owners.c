/* Who owns what: `owners` is epoch → beat, `journals` journal → epoch, with a "+" behind
 * it when it was adopted. */
#include <string.h>

#include "tests/sim/redis/parts.h"

static const struct store_arg owners = { "owners", 6 }, journals = { "journals", 8 },
			      epoch_key = { "epoch", 5 }, empty = { "", 0 };

static struct store_arg number(struct base_arena *arena, uint64_t n)
{
	return sim_text(arena, "%llu", (unsigned long long)n);
}

static struct store_arg owner_text(struct base_arena *arena, uint32_t epoch, bool adopted)
{
	return sim_text(arena, "%u%s", epoch, adopted ? "+" : "");
}

static bool is_adopted(struct store_arg owner)
{
	return owner.size > 0 && ((const char *)owner.data)[owner.size - 1] == '+';
}

bool sim_is_owner(struct sim_redis *r, struct base_arena *arena, uint32_t epoch)
{
	return SIM_FAULTY(r, FENCE_IGNORED) ||
	       sim_field_number(r, owners, number(arena, epoch)) > 0;
}

uint32_t sim_owner_of(
	struct sim_redis *r, struct base_arena *arena, uint32_t journal, bool *adopted)
{
	struct store_arg owner;

	if (!sim_keys_get(&r->keys, journals, number(arena, journal), &owner))
		return 0;
	*adopted = is_adopted(owner);
	return (uint32_t)sim_number(owner);
}

bool sim_may_append(struct sim_asking *a, uint32_t epoch, uint32_t journal)
{
	bool adopted = false;

	if (SIM_FAULTY(a->r, FENCE_IGNORED))
		return true;
	return sim_is_owner(a->r, a->arena, epoch) &&
	       sim_owner_of(a->r, a->arena, journal, &adopted) == epoch && !adopted;
}

void sim_refuse(struct sim_asking *a, enum store_code code)
{
	a->reply->says = (struct store_says){ .code = code, .why = "refused" };
}

void sim_fenced(struct sim_asking *a)
{
	sim_refuse(a, STORE_FENCED);
	a->reply->says.number = sim_field_number(a->r, epoch_key, empty);
}

/* ---- open */

static uint64_t new_epoch(struct sim_asking *a)
{
	uint64_t epoch = sim_field_number(a->r, epoch_key, empty) + 1;

	sim_set_number(a, epoch_key, empty, epoch);
	return epoch;
}

/* All that `from` owns becomes to's. Reply: the adopted ones; *own: the other, if there is one. */
static uint32_t *pass_on(struct sim_asking *a, uint32_t from, uint32_t to, uint32_t *own, size_t *n)
{
	size_t n_all;
	struct sim_pair *all = sim_pairs(a->arena, a->r, journals, &n_all);
	uint32_t *adopted = sim_alloc(a->arena, n_all * sizeof *adopted);

	*n = 0;
	for (size_t i = 0; i < n_all; i++) {
		bool was = is_adopted(all[i].value);

		if (!from || sim_number(all[i].value) != from)
			continue;
		if (was)
			adopted[(*n)++] = (uint32_t)sim_number(all[i].field);
		else
			*own = (uint32_t)sim_number(all[i].field);
		sim_keys_set(&a->r->keys, journals, all[i].field, owner_text(a->arena, to, was));
	}
	return adopted;
}

void sim_do_open(struct sim_asking *a)
{
	uint32_t old = a->ask->epoch, own = 0;
	struct store_opened *out = &a->reply->opened;
	uint64_t beat = 1;

	if (old && !sim_is_owner(a->r, a->arena, old)) {
		sim_fenced(a);
		return;
	}
	if (old)
		beat = sim_field_number(a->r, owners, number(a->arena, old));
	out->now_ms = a->r->keys.now_ms;
	out->epoch = (uint32_t)new_epoch(a);
	out->adopted = pass_on(a, old, out->epoch, &own, &out->n_adopted);
	if (!own) {
		own = out->epoch;
		sim_keys_set(&a->r->keys, journals, number(a->arena, own),
			owner_text(a->arena, own, false));
	}
	out->journal = own;
	if (old)
		sim_keys_delete(&a->r->keys, owners, number(a->arena, old));
	sim_set_number(a, owners, number(a->arena, out->epoch), beat);
}

/* ---- beat */

void sim_do_beat(struct sim_asking *a)
{
	struct store_beat *out = &a->reply->beat;
	struct store_arg mine = number(a->arena, a->ask->epoch);
	struct store_owner *o;
	struct store_owned *j;
	struct sim_pair *pairs;

	if (!sim_is_owner(a->r, a->arena, a->ask->epoch)) {
		sim_fenced(a);
		return;
	}
	sim_set_number(a, owners, mine, sim_field_number(a->r, owners, mine) + 1);
	out->now_ms = a->r->keys.now_ms;
	pairs = sim_pairs(a->arena, a->r, owners, &out->n_owners);
	out->owners = o = sim_alloc(a->arena, out->n_owners * sizeof *o);
	for (size_t i = 0; i < out->n_owners; i++)
		o[i] = (struct store_owner){ (uint32_t)sim_number(pairs[i].field),
			sim_number(pairs[i].value) };
	pairs = sim_pairs(a->arena, a->r, journals, &out->n_journals);
	out->journals = j = sim_alloc(a->arena, out->n_journals * sizeof *j);
	for (size_t i = 0; i < out->n_journals; i++)
		j[i] = (struct store_owned){ (uint32_t)sim_number(pairs[i].field),
			(uint32_t)sim_number(pairs[i].value), is_adopted(pairs[i].value) };
}

/* ---- adopt, leave, drop */

static uint32_t *take_all(struct sim_asking *a, uint32_t victim, uint32_t epoch, size_t *n)
{
	size_t n_all;
	struct sim_pair *all = sim_pairs(a->arena, a->r, journals, &n_all);
	uint32_t *taken = sim_alloc(a->arena, n_all * sizeof *taken);

	*n = 0;
	for (size_t i = 0; i < n_all; i++) {
		if (sim_number(all[i].value) != victim)
			continue;
		if (*n > 0 && SIM_FAULTY(a->r, ADOPT_HALF))
			break;
		taken[(*n)++] = (uint32_t)sim_number(all[i].field);
		sim_keys_set(
			&a->r->keys, journals, all[i].field, owner_text(a->arena, epoch, true));
	}
	return taken;
}

void sim_do_adopt(struct sim_asking *a)
{
	struct store_adopted *out = &a->reply->adopted;
	struct store_arg victim = number(a->arena, a->ask->adopt.victim), beat;
	struct sim_change change = { .kind = SIM_ADOPTED, .epoch = a->ask->adopt.victim };

	if (!sim_is_owner(a->r, a->arena, a->ask->epoch)) {
		sim_fenced(a);
		return;
	}
	if (a->ask->epoch == a->ask->adopt.victim) {
		sim_refuse(a, STORE_BROKEN);
		return;
	}
	if (!sim_keys_get(&a->r->keys, owners, victim, &beat) ||
		(sim_number(beat) != a->ask->adopt.seen && !SIM_FAULTY(a->r, ADOPT_BLIND)))
		return;
	change.has_left = sim_number(beat) == 0;
	out->journals = take_all(a, a->ask->adopt.victim, a->ask->epoch, &out->n);
	sim_keys_delete(&a->r->keys, owners, victim);
	if (a->r->watch)
		a->r->watch(a->r->watch_arg, a->r, &change);
}

void sim_do_leave(struct sim_asking *a)
{
	struct store_arg mine = number(a->arena, a->ask->epoch);
	size_t n;
	struct sim_pair *all;

	if (!sim_is_owner(a->r, a->arena, a->ask->epoch)) {
		sim_fenced(a);
		return;
	}
	all = sim_pairs(a->arena, a->r, journals, &n);
	for (size_t i = 0; i < n; i++)
		a->reply->count.n += sim_number(all[i].value) == a->ask->epoch;
	if (a->reply->count.n > 0)
		sim_set_number(a, owners, mine, 0);
	else
		sim_keys_delete(&a->r->keys, owners, mine);
}

void sim_do_drop(struct sim_asking *a)
{
	uint32_t journal = a->ask->journal;
	struct store_arg stream = sim_stream_key(a->arena, journal);
	bool adopted = false;

	if (!sim_is_owner(a->r, a->arena, a->ask->epoch) ||
		sim_owner_of(a->r, a->arena, journal, &adopted) != a->ask->epoch || !adopted) {
		sim_fenced(a);
		return;
	}
	if (sim_keys_count(&a->r->keys, stream) > 0)
		return;
	sim_keys_unlink(&a->r->keys, sim_top_key(a->arena, journal));
	sim_keys_unlink(&a->r->keys, sim_done_key(a->arena, journal));
	sim_keys_delete(&a->r->keys, journals, number(a->arena, journal));
	a->reply->count.n = 1;
}
