#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>

void base_heap_init(struct base_heap *h)
{
	*h = (struct base_heap){ 0 };
}

void base_heap_fini(struct base_heap *h)
{
	free(h->nodes);
	base_heap_init(h);
}

enum base_err base_heap_reserve(struct base_heap *h, size_t n)
{
	struct base_heap_node **nodes;

	if (n <= h->capacity)
		return BASE_OK;
	if (n > SIZE_MAX / sizeof *nodes)
		return BASE_NOMEM;
	nodes = realloc(h->nodes, n * sizeof *nodes);
	if (!nodes)
		return BASE_NOMEM;
	h->nodes = nodes;
	h->capacity = n;
	return BASE_OK;
}

static bool is_before(const struct base_heap_node *a, const struct base_heap_node *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

/* Places count from 1: the parent of place is place / 2. */
static void put(struct base_heap *h, size_t place, struct base_heap_node *node)
{
	h->nodes[place - 1] = node;
	node->place = place;
}

static void rise(struct base_heap *h, size_t place, struct base_heap_node *node)
{
	while (place > 1 && is_before(node, h->nodes[place / 2 - 1])) {
		put(h, place, h->nodes[place / 2 - 1]);
		place /= 2;
	}
	put(h, place, node);
}

static void sink(struct base_heap *h, size_t place, struct base_heap_node *node)
{
	for (;;) {
		size_t child = place * 2;
		if (child > h->n)
			break;
		if (child < h->n && is_before(h->nodes[child], h->nodes[child - 1]))
			child++;
		if (!is_before(h->nodes[child - 1], node))
			break;
		put(h, place, h->nodes[child - 1]);
		place = child;
	}
	put(h, place, node);
}

enum base_err base_heap_push(struct base_heap *h, struct base_heap_node *node, uint64_t due)
{
	assert(node->place == 0);
	if (h->n == h->capacity) {
		enum base_err err = base_heap_reserve(h, h->capacity ? h->capacity * 2 : 16);
		if (err)
			return err;
	}
	node->due = due;
	node->order = h->next_order++;
	h->n++;
	rise(h, h->n, node);
	return BASE_OK;
}

void base_heap_remove(struct base_heap *h, struct base_heap_node *node)
{
	size_t place = node->place;
	struct base_heap_node *last;

	if (place == 0)
		return;
	assert(place <= h->n && h->nodes[place - 1] == node);
	node->place = 0;
	last = h->nodes[--h->n];
	if (last == node)
		return;
	if (place > 1 && is_before(last, h->nodes[place / 2 - 1]))
		rise(h, place, last);
	else
		sink(h, place, last);
}

struct base_heap_node *base_heap_first(const struct base_heap *h)
{
	return h->n ? h->nodes[0] : NULL;
}
