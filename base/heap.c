#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>

#define FIRST_ROOM 16

/* Places: from 1 on in the heap, where the parent of a place is its half; in the row with this bit. */
#define IN_ROW (~(SIZE_MAX >> 1))

void base_heap_init(struct base_heap *h)
{
	*h = (struct base_heap){ 0 };
}

void base_heap_fini(struct base_heap *h)
{
	free(h->nodes);
	free(h->row);
	base_heap_init(h);
}

static bool is_before(const struct base_heap_node *a, const struct base_heap_node *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

/* ---- the row ---------------------------------------------------------------- */

static struct base_heap_node **row_at(const struct base_heap *h, size_t number)
{
	return &h->row[number & (h->row_capacity - 1)];
}

static void set_row(struct base_heap *h, size_t number, struct base_heap_node *node)
{
	*row_at(h, number) = node;
	node->place = number | IN_ROW;
}

/* Without its gaps. */
static void close_ranks(struct base_heap *h)
{
	size_t to = h->first;

	for (size_t from = h->first; from != h->last; from++) {
		struct base_heap_node *node = *row_at(h, from);

		if (node)
			set_row(h, to++, node);
	}
	h->last = to;
}

static bool widen(struct base_heap *h, size_t capacity)
{
	struct base_heap_node **wider = malloc(capacity * sizeof *wider);
	size_t before = h->row_capacity;

	if (!wider)
		return false;
	for (size_t i = h->first; i != h->last; i++)
		wider[i & (capacity - 1)] = h->row[i & (before - 1)];
	free(h->row);
	h->row = wider;
	h->row_capacity = capacity;
	return true;
}

/* There is room for h->capacity nodes, gaps or not. A row that is half gaps is only closed, so that each gap is
 * paid for by one that left. */
static void make_row_room(struct base_heap *h)
{
	size_t length = h->last - h->first;

	if (length == h->row_capacity && (h->n_row <= length / 2 || !widen(h, h->row_capacity * 2)))
		close_ranks(h);
}

static bool goes_into_row(const struct base_heap *h, uint64_t due)
{
	return h->n_row == 0 || (*row_at(h, h->last - 1))->due <= due;
}

static void leave_row(struct base_heap *h, size_t number)
{
	*row_at(h, number) = NULL;
	if (--h->n_row == 0) {
		h->first = h->last;
		return;
	}
	while (!*row_at(h, h->first))
		h->first++;
	while (!*row_at(h, h->last - 1))
		h->last--;
}

/* ---- the heap --------------------------------------------------------------- */

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
		if (child > h->n_nodes)
			break;
		if (child < h->n_nodes && is_before(h->nodes[child], h->nodes[child - 1]))
			child++;
		if (!is_before(h->nodes[child - 1], node))
			break;
		put(h, place, h->nodes[child - 1]);
		place = child;
	}
	put(h, place, node);
}

static void leave_heap(struct base_heap *h, size_t place)
{
	struct base_heap_node *last = h->nodes[--h->n_nodes];

	if (place > h->n_nodes)
		return; /* it was the last */
	if (place > 1 && is_before(last, h->nodes[place / 2 - 1]))
		rise(h, place, last);
	else
		sink(h, place, last);
}

/* ---- both ------------------------------------------------------------------- */

/* Room for all of them in either, so that a node that changes its time never needs memory. */
enum base_err base_heap_reserve(struct base_heap *h, size_t n)
{
	struct base_heap_node **nodes;
	size_t row = FIRST_ROOM;

	if (n <= h->capacity)
		return BASE_OK;
	if (n > SIZE_MAX / 2 / sizeof *nodes)
		return BASE_NOMEM;
	while (row < n)
		row *= 2;
	if (row > h->row_capacity && !widen(h, row))
		return BASE_NOMEM;
	nodes = realloc(h->nodes, n * sizeof *nodes);
	if (!nodes)
		return BASE_NOMEM;
	h->nodes = nodes;
	h->capacity = n;
	return BASE_OK;
}

enum base_err base_heap_push(struct base_heap *h, struct base_heap_node *node, uint64_t due)
{
	assert(node->place == 0);
	if (h->n == h->capacity) {
		enum base_err err = base_heap_reserve(h, h->capacity ? h->capacity * 2 : FIRST_ROOM);
		if (err)
			return err;
	}
	node->due = due;
	node->order = h->next_order++;
	h->n++;
	if (goes_into_row(h, due)) {
		make_row_room(h);
		set_row(h, h->last++, node);
		h->n_row++;
	} else {
		rise(h, ++h->n_nodes, node);
	}
	return BASE_OK;
}

bool base_heap_has(const struct base_heap *h, const struct base_heap_node *node)
{
	size_t number = node->place & ~IN_ROW;

	if (node->place & IN_ROW)
		return number - h->first < h->last - h->first && *row_at(h, number) == node;
	return number > 0 && number <= h->n_nodes && h->nodes[number - 1] == node;
}

void base_heap_remove(struct base_heap *h, struct base_heap_node *node)
{
	size_t place = node->place;

	if (place == 0)
		return;
	assert(base_heap_has(h, node));
	node->place = 0;
	h->n--;
	if (place & IN_ROW)
		leave_row(h, place & ~IN_ROW);
	else
		leave_heap(h, place);
}

struct base_heap_node *base_heap_first(const struct base_heap *h)
{
	struct base_heap_node *low = h->n_nodes ? h->nodes[0] : NULL;
	struct base_heap_node *row = h->n_row ? *row_at(h, h->first) : NULL;

	return !low || (row && is_before(row, low)) ? row : low;
}

void base_heap_check(const struct base_heap *h)
{
	const struct base_heap_node *before = NULL;
	size_t n = 0;

	for (size_t place = 1; place <= h->n_nodes; place++) {
		assert(h->nodes[place - 1]->place == place);
		assert(place == 1 || !is_before(h->nodes[place - 1], h->nodes[place / 2 - 1]));
	}
	assert(h->last - h->first <= h->row_capacity);
	for (size_t i = h->first; i != h->last; i++) {
		const struct base_heap_node *node = *row_at(h, i);

		if (!node)
			continue;
		assert(node->place == (i | IN_ROW) && (!before || is_before(before, node)));
		before = node;
		n++;
	}
	assert(n == h->n_row && n + h->n_nodes == h->n);
	assert(n == 0 ? h->first == h->last : *row_at(h, h->first) && *row_at(h, h->last - 1));
}
