#include "tests/unit/unit.h"

#include "base/pool.h"
#include "base/rand.h"
#include "tests/unit/count_alloc.h"

static uint8_t source[200000];

static void a_copy_is_a_copy(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 31, 32, 33, 64, 65, 1000, 65535, 65536, 65537,
		200000 };
	struct base_pool p;

	(void)state;
	base_pool_init(&p, 1 << 20);
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct base_block *b = base_pool_copy(&p, source, sizes[i]);
		assert_non_null(b);
		assert_int_equal(b->size, sizes[i]);
		assert_int_equal(b->refs, 1);
		assert_memory_equal(b->data, source, sizes[i]);
		assert_true(p.bytes >= sizes[i]);
		base_block_unref(&b);
		assert_null(b);
		assert_int_equal(p.bytes, 0);
	}
	base_pool_fini(&p);
}

static void the_last_reference_gives_it_back(void **state)
{
	struct base_pool p;
	struct base_block *a, *b;

	(void)state;
	base_pool_init(&p, 1 << 20);
	a = base_pool_copy(&p, "payload", 7);
	b = base_block_ref(a);
	assert_ptr_equal(a, b);
	base_block_unref(&a);
	assert_true(p.bytes > 0);
	assert_memory_equal(b->data, "payload", 7);
	base_block_unref(&b);
	assert_int_equal(p.bytes, 0);
	base_block_unref(&b); /* NULL by now */
	base_pool_fini(&p);
}

static void what_is_kept_is_bounded(void **state)
{
	struct base_block *blocks[100];
	struct base_pool p;

	(void)state;
	base_pool_init(&p, 10000);
	for (int i = 0; i < 100; i++)
		blocks[i] = base_pool_copy(&p, source, 1000);
	assert_true(p.bytes >= 100000);
	for (int i = 0; i < 100; i++)
		base_block_unref(&blocks[i]);
	assert_true(p.kept_bytes > 8000);
	assert_true(p.kept_bytes <= 10000);
	base_pool_fini(&p);
	base_pool_init(&p, 0);
	blocks[0] = base_pool_copy(&p, source, 10);
	base_block_unref(&blocks[0]);
	assert_int_equal(p.kept_bytes, 0);
	base_pool_fini(&p);
}

static int released;

static void release(struct base_block *b)
{
	assert_string_equal(b->owner, "owner");
	released++;
}

static void somebody_elses_memory_goes_back_to_them(void **state)
{
	static char owner[] = "owner";
	struct base_block wrapped = {
		.data = source, .size = 5, .refs = 1, .release = release, .owner = owner
	};
	struct base_block *a = &wrapped;
	struct base_block *b = base_block_ref(a);

	(void)state;
	base_block_unref(&a);
	assert_int_equal(released, 0);
	base_block_unref(&b);
	assert_int_equal(released, 1);
}

static void a_steady_state_allocates_nothing(void **state)
{
	struct base_block *blocks[500];
	struct base_pool p;
	struct base_rand r;

	(void)state;
	base_pool_init(&p, 64 << 20);
	for (int round = 0; round < 5; round++) {
		base_rand_init(&r, 9); /* the same sizes again */
		if (round == 1)
			count_alloc_start();
		for (int i = 0; i < 500; i++)
			assert_non_null(blocks[i] = base_pool_copy(
						&p, source, (uint32_t)base_rand_below(&r, 65537)));
		for (int i = 0; i < 500; i++)
			base_block_unref(&blocks[i]);
	}
	assert_int_equal(count_alloc_stop(), 0);
	base_pool_fini(&p);
}

static void no_memory_is_null_and_counts_nothing(void **state)
{
	struct base_pool p;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	base_pool_init(&p, 1000);
	count_alloc_fail_at(1);
	assert_null(base_pool_copy(&p, source, 100));
	count_alloc_fail_at(0);
	assert_int_equal(p.bytes, 0);
	base_pool_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_is_a_copy),
		cmocka_unit_test(the_last_reference_gives_it_back),
		cmocka_unit_test(what_is_kept_is_bounded),
		cmocka_unit_test(somebody_elses_memory_goes_back_to_them),
		cmocka_unit_test(a_steady_state_allocates_nothing),
		cmocka_unit_test(no_memory_is_null_and_counts_nothing),
	};

	for (size_t i = 0; i < sizeof source; i++)
		source[i] = (uint8_t)(i * 7 + i / 256);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
