/* Byte blocks with a reference count: the payload of a call while it waits.
 * Small ones come from free lists by power of two, so that a broker's steady
 * state never calls malloc; large ones may wrap somebody else's memory (a ZeroMQ
 * message) and give it back through release.
 */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#define BASE_POOL_CLASSES 12 /* 32 B … 64 KiB; above that malloc */

struct base_block {
	const uint8_t *data;
	uint32_t size;
	uint32_t refs;
	struct base_pool *pool;               /* NULL for a wrapped one */
	void (*release)(struct base_block *); /* wrapped ones */
	void *owner;                          /* for release */
};

struct base_pool {
	void *free_lists[BASE_POOL_CLASSES];
	size_t bytes;      /* handed out, rounded up: what a memory bound counts */
	size_t kept_bytes; /* on the free lists */
	size_t max_kept_bytes;
};

void base_pool_init(struct base_pool *p, size_t max_kept_bytes);
void base_pool_fini(struct base_pool *p); /* every block must be back */
struct base_block *base_pool_copy(struct base_pool *p, const void *data, uint32_t size); /* refs 1; NULL: memory */
struct base_block *base_block_ref(struct base_block *b);
void base_block_unref(struct base_block **b); /* takes NULL */

#endif
