#include "base/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 1024u
#define LINE  64u
#define NONE  UINT32_MAX

/* Of each record, all of a chunk's together in front of it: so a record whose size is a number of cache lines
 * begins with one, and neighbours share a line of these. The generation is odd while the record is taken; it grows
 * by one at take and at give, by two when it is renewed, so 0 is never a valid one, and a pair is good again only
 * after 2^31 uses of its slot. */
struct header {
	uint32_t generation;
	uint32_t next_free;
};

void base_slab_init(struct base_slab *s, size_t record_bytes, uint32_t max_records)
{
	assert(record_bytes > 0 && record_bytes < SIZE_MAX / CHUNK / 2);
	assert(max_records < NONE);
	*s = (struct base_slab){
		.record_bytes = (record_bytes + 15) & ~(size_t)15,
		.max_records = max_records,
		.free_head = NONE,
	};
}

void base_slab_fini(struct base_slab *s)
{
	for (size_t i = 0; i < s->n_chunks; i++)
		free(s->chunks[i]);
	free(s->chunks);
	*s = (struct base_slab){ .free_head = NONE };
}

/* A chunk: its address as malloc gave it is kept, the records begin at the next cache line behind the headers. */
static struct header *header_of(const struct base_slab *s, uint32_t slot)
{
	return (struct header *)s->chunks[slot / CHUNK] + slot % CHUNK;
}

static void *record_of(const struct base_slab *s, uint32_t slot)
{
	uintptr_t records = (uintptr_t)((struct header *)s->chunks[slot / CHUNK] + CHUNK);

	return (uint8_t *)((records + LINE - 1) & ~(uintptr_t)(LINE - 1)) + slot % CHUNK * s->record_bytes;
}

static bool add_chunk(struct base_slab *s)
{
	uint32_t first = (uint32_t)s->n_chunks * CHUNK;
	uint32_t n = s->max_records - first < CHUNK ? s->max_records - first : CHUNK;
	void **chunks = realloc(s->chunks, (s->n_chunks + 1) * sizeof *chunks);

	if (!chunks)
		return false;
	s->chunks = chunks;
	s->chunks[s->n_chunks] = calloc(1, CHUNK * sizeof(struct header) + LINE + n * s->record_bytes);
	if (!s->chunks[s->n_chunks])
		return false;
	s->n_chunks++;
	for (uint32_t i = 0; i < n; i++)
		header_of(s, first + i)->next_free = i + 1 < n ? first + i + 1 : NONE;
	s->free_head = first;
	return true;
}

void *base_slab_take(struct base_slab *s, uint32_t *slot, uint32_t *generation)
{
	struct header *h;

	if (s->n_used >= s->max_records)
		return NULL;
	if (s->free_head == NONE && !add_chunk(s))
		return NULL;
	*slot = s->free_head;
	h = header_of(s, *slot);
	assert(h->generation % 2 == 0);
	s->free_head = h->next_free;
	s->n_used++;
	*generation = ++h->generation;
	return memset(record_of(s, *slot), 0, s->record_bytes);
}

void *base_slab_get(const struct base_slab *s, uint32_t slot, uint32_t generation)
{
	struct header *h;

	if (slot >= s->max_records || slot / CHUNK >= s->n_chunks)
		return NULL;
	h = header_of(s, slot);
	return h->generation == generation && generation % 2 == 1 ? record_of(s, slot) : NULL;
}

uint32_t base_slab_renew(struct base_slab *s, uint32_t slot)
{
	struct header *h;

	assert(slot < s->max_records && slot / CHUNK < s->n_chunks);
	h = header_of(s, slot);
	assert(h->generation % 2 == 1);
	h->generation += 2;
	return h->generation;
}

void base_slab_give(struct base_slab *s, uint32_t slot)
{
	struct header *h;

	assert(slot < s->max_records && slot / CHUNK < s->n_chunks);
	h = header_of(s, slot);
	assert(h->generation % 2 == 1);
	h->generation++;
	h->next_free = s->free_head;
	s->free_head = slot;
	s->n_used--;
}
