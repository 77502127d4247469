/* An allocator that counts, and fails when told. To be included by one file of a
 * test program; it stands before the C library's malloc. Under a sanitizer, which
 * has to own malloc itself, counting is off and such tests skip themselves.
 *
 *   count_alloc_start();  …  assert_int_equal(count_alloc_stop(), 0);
 *   count_alloc_fail_at(3);  …the third allocation from here fails, and all after it…  count_alloc_fail_at(0);
 *   count_alloc_live is how many blocks are out: the same before and after means that nothing leaked.
 */
#ifndef TESTS_COUNT_ALLOC_H
#define TESTS_COUNT_ALLOC_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
	__has_feature(memory_sanitizer)
#define COUNT_ALLOC 0
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNT_ALLOC 0
#endif
#ifndef COUNT_ALLOC
#define COUNT_ALLOC 1
#endif

static unsigned long count_alloc_n;
static unsigned long count_alloc_fails; /* 0: never */
__attribute__((unused)) static long count_alloc_live;

static inline void count_alloc_start(void)
{
	count_alloc_n = 0;
}

static inline unsigned long count_alloc_stop(void)
{
	return count_alloc_n;
}

static inline void count_alloc_fail_at(unsigned long nth)
{
	count_alloc_n = 0;
	count_alloc_fails = nth;
}

#if COUNT_ALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *old, size_t size);
void __libc_free(void *block);

static bool count_alloc_refuses(void)
{
	count_alloc_n++;
	if (count_alloc_fails == 0 || count_alloc_n < count_alloc_fails)
		return false;
	errno = ENOMEM;
	return true;
}

static void *count_alloc_made(void *block)
{
	count_alloc_live += block != NULL;
	return block;
}

void *malloc(size_t size)
{
	return count_alloc_refuses() ? NULL : count_alloc_made(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
	return count_alloc_refuses() ? NULL : count_alloc_made(__libc_calloc(n, size));
}

void *realloc(void *old, size_t size)
{
	if (count_alloc_refuses())
		return NULL;
	return old ? __libc_realloc(old, size) : count_alloc_made(__libc_realloc(NULL, size));
}

void free(void *block)
{
	count_alloc_live -= block != NULL;
	__libc_free(block);
}
#endif

#endif
