/* A binary heap of things that fall due. Nodes live inside the caller's own
 * structs; the heap keeps an array of pointers to them, each knows its place, so
 * that removing one is as cheap as adding it. Equal times come out in the order
 * they went in, which keeps the simulation's runs alike on every machine.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct base_heap_node {
	uint64_t due;
	uint64_t order;
	size_t place; /* 1-based; 0: not in a heap */
};

struct base_heap {
	struct base_heap_node **nodes;
	size_t n, capacity;
	uint64_t next_order;
};

void base_heap_init(struct base_heap *h);
void base_heap_fini(struct base_heap *h);
BASE_MUSTUSE enum base_err base_heap_reserve(struct base_heap *h, size_t n);
BASE_MUSTUSE enum base_err base_heap_push(struct base_heap *h, struct base_heap_node *node, uint64_t due);
void base_heap_remove(struct base_heap *h, struct base_heap_node *node); /* nothing when it is in none */
struct base_heap_node *base_heap_first(const struct base_heap *h);       /* NULL when empty */

#define base_heap_of(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

#endif
