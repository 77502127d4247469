/* Dead letters: dead:<service> is id → head, dead-body:<service> id → payload. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/redis/parts.h"

static struct store_arg heads_key(struct sim_asking *a)
{
	return sim_text(a->arena, "dead:%s", a->ask->dead.service);
}

static struct store_arg bodies_key(struct sim_asking *a)
{
	return sim_text(a->arena, "dead-body:%s", a->ask->dead.service);
}

static struct store_arg id_of(struct sim_asking *a, size_t i)
{
	return (struct store_arg){ a->ask->dead.ids[i], 16 };
}

static struct store_arg body_of(struct sim_asking *a, struct store_arg id)
{
	struct store_arg body = { "", 0 };

	(void)sim_keys_get(&a->r->keys, bodies_key(a), id, &body);
	return body;
}

/* ---- redrive */

static bool was_named(struct sim_asking *a, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (sim_same(id_of(a, k), id_of(a, i)))
			return true;
	return false;
}

static struct store_arg joined(struct sim_asking *a, const struct store_arg *list, size_t n)
{
	size_t size = 0, at = 0;
	uint8_t *bytes;

	for (size_t i = 0; i < n; i++)
		size += list[i].size;
	bytes = sim_alloc(a->arena, size);
	for (size_t i = 0; i < n; i++) {
		if (list[i].size > 0)
			memcpy(bytes + at, list[i].data, list[i].size);
		at += list[i].size;
	}
	return (struct store_arg){ bytes, size };
}

struct moving {
	struct store_arg *ids, *heads, *bodies;
	size_t n;
};

static struct moving choose(struct sim_asking *a)
{
	size_t n = a->ask->dead.n;
	uint64_t used = 0;
	struct moving m = { sim_alloc(a->arena, n * sizeof *m.ids),
		sim_alloc(a->arena, n * sizeof *m.heads), sim_alloc(a->arena, n * sizeof *m.bodies),
		0 };

	for (size_t i = 0; i < n; i++) {
		struct store_arg head, body = body_of(a, id_of(a, i));

		if (was_named(a, i) || !sim_keys_get(&a->r->keys, heads_key(a), id_of(a, i), &head))
			continue;
		if (m.n > 0 && used + body.size > a->ask->dead.max_bytes)
			break;
		used += body.size;
		m.ids[m.n] = sim_keep(a->arena, id_of(a, i));
		m.heads[m.n] = head;
		m.bodies[m.n++] = body;
	}
	return m;
}

static void forget(struct sim_asking *a, struct store_arg id)
{
	sim_keys_delete(&a->r->keys, heads_key(a), id);
	sim_keys_delete(&a->r->keys, bodies_key(a), id);
}

void sim_do_redrive(struct sim_asking *a)
{
	const struct store_turn *t = &a->ask->dead.turn;
	struct moving m;
	struct store_arg head;

	if (!sim_may_append(a, t->epoch, t->journal)) {
		sim_fenced(a);
		return;
	}
	m = choose(a);
	if (m.n == 0)
		return;
	head = joined(a, m.heads, m.n);
	if (SIM_FAULTY(a->r, LETTER_LOST)) {
		for (size_t i = 0; i < m.n; i++)
			forget(a, m.ids[i]);
		return;
	}
	if (!sim_append(a, t, head, joined(a, m.bodies, m.n)))
		return;
	for (size_t i = 0; i < m.n; i++) {
		forget(a, m.ids[i]);
		sim_results_remove(a, m.ids[i].data, a->ask->dead.service);
	}
	sim_tell_added(a, SIM_REDRIVEN, t, head, (struct store_arg){ "", 0 });
	a->reply->list.items = m.ids;
	a->reply->list.n = m.n;
}

/* ---- purge */

static void purge_one(struct sim_asking *a, size_t i)
{
	const struct sim_change change = {
		.kind = SIM_PURGED, .id = a->ask->dead.ids[i], .service = a->ask->dead.service
	};

	sim_keys_delete(&a->r->keys, bodies_key(a), id_of(a, i));
	sim_keys_expire(&a->r->keys,
		sim_ops_key(a->arena, a->ask->dead.ids[i], a->ask->dead.service),
		a->r->keys.now_ms + SIM_DAY_MS);
	if (a->r->watch)
		a->r->watch(a->r->watch_arg, a->r, &change);
}

/* Until their records go they refuse a run that is still about. */
void sim_do_purge(struct sim_asking *a)
{
	for (size_t i = 0; i < a->ask->dead.n; i++) {
		if (!sim_keys_delete(&a->r->keys, heads_key(a), id_of(a, i)))
			continue;
		a->reply->count.n++;
		purge_one(a, i);
	}
}

/* ---- reading */

static uint64_t place_of(struct store_arg id)
{
	const uint8_t *bytes = id.data;
	uint64_t hash = 14695981039346656037u;

	for (size_t i = 0; i < id.size; i++)
		hash = (hash ^ bytes[i]) * 1099511628211u;
	return hash >> 1;
}

static int compare_places(const void *left, const void *right)
{
	uint64_t a = place_of(((const struct sim_pair *)left)->field),
		 b = place_of(((const struct sim_pair *)right)->field);

	return (a > b) - (a < b);
}

/* The cursor is the place to go on at, so that what stays is told of whatever comes and goes. */
void sim_do_dead_list(struct sim_asking *a)
{
	struct store_list *out = &a->reply->list;
	uint64_t from = sim_number(sim_word(a->ask->dead.cursor));
	size_t n, i = 0, room = a->ask->dead.about ? a->ask->dead.about : 1;
	struct sim_pair *pairs = sim_pairs(a->arena, a->r, heads_key(a), &n);
	struct store_arg *items = sim_alloc(a->arena, (2 * n + 1) * sizeof *items);

	qsort(pairs, n, sizeof *pairs, compare_places);
	while (i < n && place_of(pairs[i].field) < from)
		i++;
	for (out->n = 1; i < n && room > 0; i++, room--) {
		items[out->n++] = pairs[i].field;
		items[out->n++] = pairs[i].value;
	}
	items[0] = i < n ? sim_text(a->arena, "%llu", (unsigned long long)place_of(pairs[i].field))
			 : sim_word("0");
	out->items = items;
}

void sim_do_dead_get(struct sim_asking *a)
{
	struct store_arg *items = sim_alloc(a->arena, 2 * sizeof *items);

	a->reply->list.items = items;
	if (!sim_keys_get(&a->r->keys, heads_key(a), id_of(a, 0), &items[0]))
		return;
	items[0] = sim_keep(a->arena, items[0]);
	items[1] = sim_keep(a->arena, body_of(a, id_of(a, 0)));
	a->reply->list.n = 2;
}
