/* A binary heap of things that fall due. Nodes live inside the caller's own
 * structs; the heap keeps an array of pointers to them, each knows its place, so
 * that removing one is as cheap as adding it. Equal times come out in the order
 * they went in, which keeps the simulation's runs alike on every machine.
 *
 * Nearly all that falls due does so a fixed time after it began, so that it is added in
 * the order in which it falls due, and often leaves in that order, too. What is added so
 * stands in a row beside the heap: a ring, in which adding and removing touch one place,
 * where sinking through a heap of a million nodes misses the cache forty times. What
 * leaves from the middle of the row leaves a gap; gaps at its ends go at once, the others
 * when the ring is full.
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
	size_t place; /* 0: not in a heap; otherwise the heap's own matter */
};

struct base_heap {
	size_t n; /* nodes, wherever they stand */
	uint64_t next_order;
	size_t capacity;               /* so many have room */
	struct base_heap_node **nodes; /* those that stand in no row */
	size_t n_nodes;
	struct base_heap_node **row; /* a ring; NULL: a gap. Its first and its last are none */
	size_t row_capacity;         /* a power of two, or 0 */
	size_t first, last, n_row;   /* the ring's places, counted on for ever: first … last - 1; and its nodes */
};

void base_heap_init(struct base_heap *h);
void base_heap_fini(struct base_heap *h);
/* Room for so many; what is removed can be pushed again without memory, whatever its time. NOMEM: it is as it
 * was. */
BASE_MUSTUSE enum base_err base_heap_reserve(struct base_heap *h, size_t n);
BASE_MUSTUSE enum base_err base_heap_push(struct base_heap *h, struct base_heap_node *node, uint64_t due);
void base_heap_remove(struct base_heap *h, struct base_heap_node *node); /* nothing when it is in none */
struct base_heap_node *base_heap_first(const struct base_heap *h);       /* NULL when empty */
bool base_heap_has(const struct base_heap *h, const struct base_heap_node *node);
void base_heap_check(const struct base_heap *h); /* asserts what holds within it; slow, for tests */

#define base_heap_of(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))

#endif
