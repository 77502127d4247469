#include "base/pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST 32u

/* A block and its bytes are one allocation. On a free list, owner is the next one. */

void base_pool_init(struct base_pool *p, size_t max_kept_bytes)
{
	*p = (struct base_pool){ .max_kept_bytes = max_kept_bytes };
}

void base_pool_fini(struct base_pool *p)
{
	assert(p->bytes == 0);
	for (unsigned i = 0; i < BASE_POOL_CLASSES; i++) {
		struct base_block *b = p->free_lists[i];
		while (b) {
			struct base_block *next = b->owner;
			free(b);
			b = next;
		}
		p->free_lists[i] = NULL;
	}
	p->kept_bytes = 0;
}

/* The class that holds size bytes; BASE_POOL_CLASSES: none does. */
static unsigned class_of(uint32_t size)
{
	unsigned class = 0;

	while (class < BASE_POOL_CLASSES && size > SMALLEST << class)
		class ++;
	return class;
}

static size_t footprint(uint32_t size)
{
	unsigned class = class_of(size);

	return sizeof(struct base_block) + (class < BASE_POOL_CLASSES ? SMALLEST << class : size);
}

static struct base_block *obtain(struct base_pool *p, uint32_t size)
{
	unsigned class = class_of(size);
	struct base_block *b;

	if (class == BASE_POOL_CLASSES || !p->free_lists[class])
		return malloc(footprint(size));
	b = p->free_lists[class];
	p->free_lists[class] = b->owner;
	p->kept_bytes -= footprint(size);
	return b;
}

struct base_block *base_pool_copy(struct base_pool *p, const void *data, uint32_t size)
{
	struct base_block *b = obtain(p, size);

	if (!b)
		return NULL;
	if (size > 0)
		memcpy(b + 1, data, size);
	*b = (struct base_block){
		.data = (const uint8_t *)(b + 1), .size = size, .refs = 1, .pool = p
	};
	p->bytes += footprint(size);
	return b;
}

struct base_block *base_block_ref(struct base_block *b)
{
	assert(b->refs > 0 && b->refs < UINT32_MAX);
	b->refs++;
	return b;
}

static void put_back(struct base_block *b)
{
	struct base_pool *p = b->pool;
	unsigned class = class_of(b->size);
	size_t bytes = footprint(b->size);

	assert(p->bytes >= bytes);
	p->bytes -= bytes;
	if (class == BASE_POOL_CLASSES || bytes > p->max_kept_bytes ||
		p->kept_bytes > p->max_kept_bytes - bytes) {
		free(b);
		return;
	}
	b->owner = p->free_lists[class];
	p->free_lists[class] = b;
	p->kept_bytes += bytes;
}

void base_block_unref(struct base_block **bp)
{
	struct base_block *b = *bp;

	*bp = NULL;
	if (!b)
		return;
	assert(b->refs > 0);
	if (--b->refs > 0)
		return;
	if (b->pool)
		put_back(b);
	else if (b->release)
		b->release(b);
}
