#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN     16u
#define CHUNK_MAX ((size_t)1 << 20) /* chunks double up to here */

struct base_arena_chunk {
	struct base_arena_chunk *next; /* older */
	size_t bytes;
	alignas(16) uint8_t data[];
};

void base_arena_init(struct base_arena *a, size_t first_bytes, size_t max_bytes)
{
	assert(first_bytes > 0);
	*a = (struct base_arena){ .first_bytes = (first_bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1),
		.max_bytes = max_bytes };
}

static void open_chunk(struct base_arena *a, struct base_arena_chunk *chunk)
{
	a->chunks = chunk;
	a->at = chunk ? chunk->data : NULL;
	a->end = chunk ? chunk->data + chunk->bytes : NULL;
}

void base_arena_reset(struct base_arena *a)
{
	struct base_arena_chunk *chunk = a->chunks;

	while (chunk && chunk->next) {
		struct base_arena_chunk *older = chunk->next;
		free(chunk);
		chunk = older;
	}
	open_chunk(a, chunk);
	a->used = 0;
	a->starved = false;
}

void base_arena_fini(struct base_arena *a)
{
	base_arena_reset(a);
	free(a->chunks);
	open_chunk(a, NULL);
}

/* The first chunk is first_bytes even when the first allocation is larger, because it is the one
 * that stays: one large head must not make an arena that is large for ever, nor one that is small. */
static size_t next_bytes(const struct base_arena *a, size_t size)
{
	size_t bytes = a->first_bytes;

	if (a->chunks && a->chunks->bytes > bytes / 2)
		bytes = a->chunks->bytes * 2 < CHUNK_MAX ? a->chunks->bytes * 2 : CHUNK_MAX;
	if (bytes > a->max_bytes - a->used)
		bytes = a->max_bytes - a->used;
	return bytes > size ? bytes : size;
}

static struct base_arena_chunk *add_chunk(struct base_arena *a, size_t bytes)
{
	struct base_arena_chunk *chunk = malloc(sizeof *chunk + bytes);

	if (!chunk) {
		a->starved = true;
		return NULL;
	}
	chunk->bytes = bytes;
	chunk->next = a->chunks;
	open_chunk(a, chunk);
	return chunk;
}

void *base_arena_alloc(struct base_arena *a, size_t size)
{
	void *out;

	if (size == 0)
		size = 1;
	if (size > a->max_bytes || size > SIZE_MAX / 2)
		return NULL;
	size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (size > a->max_bytes || a->used > a->max_bytes - size)
		return NULL;
	if (!a->chunks && size > a->first_bytes && !add_chunk(a, a->first_bytes))
		return NULL;
	if ((size_t)(a->end - a->at) < size && !add_chunk(a, next_bytes(a, size)))
		return NULL;
	out = a->at;
	a->at += size;
	a->used += size;
	return out;
}

void *base_arena_dup(struct base_arena *a, const void *data, size_t size)
{
	uint8_t *copy;

	if (size == SIZE_MAX)
		return NULL;
	copy = base_arena_alloc(a, size + 1);
	if (!copy)
		return NULL;
	if (size > 0)
		memcpy(copy, data, size);
	copy[size] = '\0';
	return copy;
}
