#include "tests/unit/unit.h"

#include "base/heap.h"
#include "base/rand.h"
#include "tests/unit/count_alloc.h"

struct thing {
	int number;
	struct base_heap_node node;
	bool in;
};

static struct thing *first(const struct base_heap *h)
{
	struct base_heap_node *node = base_heap_first(h);

	return node ? base_heap_of(node, struct thing, node) : NULL;
}

static void equal_times_come_out_as_they_went_in(void **state)
{
	struct thing things[100] = { 0 };
	struct base_heap h;

	(void)state;
	base_heap_init(&h);
	assert_null(base_heap_first(&h));
	for (int i = 0; i < 100; i++) {
		things[i].number = i;
		assert_int_equal(base_heap_push(&h, &things[i].node, (uint64_t)(i % 3)), BASE_OK);
	}
	for (int due = 0; due < 3; due++)
		for (int i = due; i < 100; i += 3) {
			assert_int_equal(first(&h)->number, i);
			base_heap_remove(&h, base_heap_first(&h));
			base_heap_check(&h);
		}
	assert_null(base_heap_first(&h));
	base_heap_fini(&h);
}

static void times_at_the_edges(void **state)
{
	struct thing a = { .number = 1 }, b = { .number = 2 }, c = { .number = 3 };
	struct base_heap h;

	(void)state;
	base_heap_init(&h);
	assert_int_equal(base_heap_push(&h, &a.node, UINT64_MAX), BASE_OK);
	assert_int_equal(base_heap_push(&h, &b.node, 0), BASE_OK);
	assert_int_equal(base_heap_push(&h, &c.node, (uint64_t)1 << 63), BASE_OK);
	assert_int_equal(first(&h)->number, 2);
	base_heap_remove(&h, &b.node);
	assert_int_equal(first(&h)->number, 3);
	base_heap_remove(&h, &c.node);
	assert_int_equal(first(&h)->number, 1);
	base_heap_remove(&h, &c.node); /* in none: nothing happens */
	assert_int_equal(h.n, 1);
	base_heap_remove(&h, &a.node);
	base_heap_fini(&h);
}

/* The one of the array that a heap must have first: least due, then least order. */
static struct thing *least(struct thing *things, int n)
{
	struct thing *best = NULL;

	for (int i = 0; i < n; i++) {
		struct thing *t = &things[i];
		if (t->in && (!best || t->node.due < best->node.due ||
				     (t->node.due == best->node.due &&
					     t->node.order < best->node.order)))
			best = t;
	}
	return best;
}

/* In order, or nearly, or in none at all. */
static void do_what_an_array_would(uint64_t pace, uint64_t spread)
{
	enum { N = 60 };
	struct thing things[N] = { 0 };
	struct base_heap h;
	struct base_rand r;

	base_heap_init(&h);
	base_rand_init(&r, 11);
	for (int step = 0; step < 20000; step++) {
		struct thing *t = &things[base_rand_below(&r, N)];
		if (t->in) {
			base_heap_remove(&h, &t->node);
			assert_int_equal(t->node.place, 0);
			assert_false(base_heap_has(&h, &t->node));
		} else {
			uint64_t due = (uint64_t)step * pace + base_rand_below(&r, spread);

			assert_int_equal(base_heap_push(&h, &t->node, due), BASE_OK);
			assert_true(base_heap_has(&h, &t->node));
		}
		t->in = !t->in;
		base_heap_check(&h);
		assert_ptr_equal(first(&h), least(things, N));
	}
	base_heap_fini(&h);
}

static void it_does_what_an_array_would(void **state)
{
	(void)state;
	do_what_an_array_would(0, 20);
	do_what_an_array_would(1, 1);
	do_what_an_array_would(1, 3);
	do_what_an_array_would(1, 60);
}

/* What comes in order is never sorted; and what is taken out of the middle leaves no gaps for ever, though the
 * oldest stays. */
static void in_order_it_is_a_row(void **state)
{
	struct thing oldest = { 0 }, things[100] = { 0 };
	struct base_heap h;

	(void)state;
	base_heap_init(&h);
	assert_int_equal(base_heap_push(&h, &oldest.node, 1), BASE_OK);
	for (uint64_t i = 0; i < 100000; i++) {
		struct thing *t = &things[i * 7 % 100];

		base_heap_remove(&h, &t->node);
		assert_int_equal(base_heap_push(&h, &t->node, 2 + i / 3), BASE_OK);
		assert_int_equal(h.n_nodes, 0);
		assert_ptr_equal(first(&h), &oldest);
		if (i % 1000 == 0)
			base_heap_check(&h);
	}
	assert_int_equal(h.n, 101);
	assert_true(h.row_capacity <= 256);
	base_heap_fini(&h);
}

static void reserved_room_is_not_allocated_again(void **state)
{
	static struct thing things[1000];
	struct base_heap h;

	(void)state;
	base_heap_init(&h);
	assert_int_equal(base_heap_reserve(&h, 1000), BASE_OK);
	count_alloc_start();
	for (int i = 0; i < 1000; i++)
		assert_int_equal(base_heap_push(&h, &things[i].node, (uint64_t)i), BASE_OK);
	for (int i = 0; i < 1000; i++) {
		base_heap_remove(&h, &things[i].node);
		assert_int_equal(base_heap_push(&h, &things[i].node, (uint64_t)(1000 - i)), BASE_OK);
	}
	assert_int_equal(base_heap_reserve(&h, 10), BASE_OK);
	assert_int_equal(count_alloc_stop(), 0);
	assert_int_equal(base_heap_reserve(&h, SIZE_MAX), BASE_NOMEM);
	assert_int_equal(h.n, 1000);
	base_heap_fini(&h);
}

static void no_memory_leaves_the_node_out(void **state)
{
	struct thing t = { 0 };
	struct base_heap h;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	base_heap_init(&h);
	count_alloc_fail_at(1);
	assert_int_equal(base_heap_push(&h, &t.node, 1), BASE_NOMEM);
	count_alloc_fail_at(0);
	assert_int_equal(t.node.place, 0);
	assert_int_equal(h.n, 0);
	assert_int_equal(base_heap_push(&h, &t.node, 1), BASE_OK);
	base_heap_fini(&h);
}

static void another_time_needs_no_memory(void **state)
{
	struct thing things[1000] = { 0 };
	struct base_heap h;

	(void)state;
	base_heap_init(&h);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(base_heap_push(&h, &things[i].node, (uint64_t)(2000 + i)), BASE_OK);
	count_alloc_fail_at(1);
	for (uint64_t i = 0; i < 5000; i++) {
		struct thing *t = &things[i * 7 % 1000];

		base_heap_remove(&h, &t->node);
		assert_int_equal(base_heap_push(&h, &t->node, i < 2500 ? i * 31 % 2000 : 4000 + i), BASE_OK);
		if (i % 100 == 0)
			base_heap_check(&h);
	}
	count_alloc_fail_at(0);
	base_heap_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_times_come_out_as_they_went_in),
		cmocka_unit_test(times_at_the_edges),
		cmocka_unit_test(it_does_what_an_array_would),
		cmocka_unit_test(in_order_it_is_a_row),
		cmocka_unit_test(reserved_room_is_not_allocated_again),
		cmocka_unit_test(no_memory_leaves_the_node_out),
		cmocka_unit_test(another_time_needs_no_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
