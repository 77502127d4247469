/* Results in a ring of 32 groups, bounded in bytes: `results` says which groups there are,
 * results:<n> is id and service → bytes. */
#include <string.h>

#include "tests/sim/redis/parts.h"

#define GROUPS 32u

struct ring {
	uint64_t first;
	uint32_t n;
	struct {
		uint64_t at_ms, bytes;
	} groups[GROUPS]; /* oldest first */
};

static const struct store_arg ring_key = { "results", 7 }, empty = { "", 0 };

static struct ring *load(struct sim_asking *a)
{
	struct ring *ring = sim_alloc(a->arena, sizeof *ring);
	struct store_arg value;

	if (sim_keys_get(&a->r->keys, ring_key, empty, &value))
		memcpy(ring, value.data, sizeof *ring);
	return ring;
}

static struct store_arg group_key(struct sim_asking *a, const struct ring *ring, uint32_t i)
{
	return sim_text(a->arena, "results:%llu", (unsigned long long)((ring->first + i) % GROUPS));
}

static uint64_t drop_oldest(struct sim_asking *a, struct ring *ring)
{
	uint64_t bytes = ring->groups[0].bytes;

	sim_keys_unlink(&a->r->keys, group_key(a, ring, 0));
	ring->n--;
	ring->first++;
	memmove(ring->groups, ring->groups + 1, ring->n * sizeof ring->groups[0]);
	return bytes;
}

static void open_group(struct sim_asking *a, struct ring *ring)
{
	ring->groups[ring->n].at_ms = a->r->keys.now_ms;
	ring->groups[ring->n++].bytes = 0;
}

static bool is_closed(const struct sim_asking *a, const struct ring *ring, uint64_t bytes)
{
	const uint32_t last = ring->n - 1;

	return ring->n == 0 || (ring->groups[last].bytes + bytes) * 8 > a->bounds->results_max ||
	       ring->groups[last].at_ms * 8 + a->bounds->result_ttl_ms < a->r->keys.now_ms * 8;
}

static struct store_arg field_of(struct sim_asking *a, const uint8_t *id, const char *service)
{
	uint8_t *field = sim_alloc(a->arena, 16 + strlen(service));

	memcpy(field, id, 16);
	memcpy(field + 16, service, strlen(service));
	return (struct store_arg){ field, 16 + strlen(service) };
}

/* The group that takes so many bytes; NULL data: whatever goes, there is no room. */
static struct store_arg place(
	struct sim_asking *a, struct ring *ring, uint64_t bytes, uint64_t *total)
{
	if (bytes > a->bounds->results_max)
		return (struct store_arg){ NULL, 0 };
	if (is_closed(a, ring, bytes)) {
		if (ring->n == GROUPS)
			*total -= drop_oldest(a, ring);
		open_group(a, ring);
	}
	while (*total + bytes > a->bounds->results_max)
		*total -= drop_oldest(a, ring);
	if (ring->n == 0)
		open_group(a, ring);
	ring->groups[ring->n - 1].bytes += bytes;
	*total += bytes;
	return group_key(a, ring, ring->n - 1);
}

/* One that is alone replaces whatever is there under its id. */
static void add_one(struct sim_asking *a, struct store_arg key, const struct sim_result *result)
{
	size_t n;
	struct sim_pair *pairs = sim_pairs(a->arena, a->r, key, &n);

	for (size_t i = 0; i < n && result->alone; i++)
		if (memcmp(pairs[i].field.data, result->id, 16) == 0)
			sim_keys_delete(&a->r->keys, key, pairs[i].field);
	sim_keys_set(&a->r->keys, key, field_of(a, result->id, result->service), result->bytes);
	sim_keys_expire(&a->r->keys, key, a->r->keys.now_ms + a->bounds->result_ttl_ms);
}

static uint64_t bytes_of(const struct sim_result *result)
{
	return result->bytes.size + strlen(result->service) + 16 + 64;
}

/* They come in chunks of an eighth of what may be kept, or of one: each goes to one group. */
static size_t add_chunk(struct sim_asking *a, struct ring *ring, const struct sim_result *list,
	size_t n, uint64_t *total)
{
	uint64_t bytes = bytes_of(list);
	struct store_arg key;
	size_t count = 1;

	while (count < n && list[count].alone == list->alone &&
		bytes + bytes_of(&list[count]) <= a->bounds->results_max / 8)
		bytes += bytes_of(&list[count++]);
	key = place(a, ring, bytes, total);
	for (size_t i = 0; i < count && key.data; i++)
		add_one(a, key, &list[i]);
	return count;
}

void sim_results_add(struct sim_asking *a, const struct sim_result *list, size_t n)
{
	struct ring *ring = load(a);
	uint64_t total = 0, ttl = a->bounds->result_ttl_ms;

	while (ring->n > 0 && (ring->groups[0].at_ms + ttl) * 8 + ttl < a->r->keys.now_ms * 8)
		(void)drop_oldest(a, ring);
	for (uint32_t i = 0; i < ring->n; i++)
		total += ring->groups[i].bytes;
	for (size_t i = 0; i < n;)
		i += add_chunk(a, ring, &list[i], n - i, &total);
	sim_keys_set(&a->r->keys, ring_key, empty, (struct store_arg){ ring, sizeof *ring });
	sim_keys_expire(&a->r->keys, ring_key, a->r->keys.now_ms + ttl * 2);
}

void sim_results_remove(struct sim_asking *a, const uint8_t *id, const char *service)
{
	for (unsigned i = 0; i < GROUPS; i++)
		sim_keys_delete(
			&a->r->keys, sim_text(a->arena, "results:%u", i), field_of(a, id, service));
}

/* Where the service's bytes go: those of a later group replace those of an earlier one. */
static void put(
	struct store_arg *items, size_t *n, struct store_arg service, struct store_arg bytes)
{
	size_t i = 0;

	while (i < *n && !sim_same(items[i], service))
		i += 2;
	items[i] = service;
	items[i + 1] = bytes;
	if (i == *n)
		*n += 2;
}

void sim_do_result(struct sim_asking *a)
{
	const struct ring *ring = load(a);
	struct store_list *out = &a->reply->list;
	struct store_arg *items = sim_alloc(a->arena, 2 * 64 * sizeof *items);

	for (unsigned i = 0; i < GROUPS; i++) {
		size_t n;
		struct sim_pair *pairs = sim_pairs(a->arena, a->r, group_key(a, ring, i), &n);

		for (size_t k = 0; k < n && out->n < 2 * 63; k++)
			if (memcmp(pairs[k].field.data, a->ask->dead.ids[0], 16) == 0)
				put(items, &out->n,
					(struct store_arg){ (const char *)pairs[k].field.data + 16,
						pairs[k].field.size - 16 },
					pairs[k].value);
	}
	out->items = items;
}
