/* How long to wait before trying again: exponential, with full jitter (each try is uniform
 * between nothing and its bound), so that those who failed together do not come back
 * together.
 */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

#include "base/rand.h"

/* min(max, base * 2^(nth - 1)); nth counts from 1. */
static inline uint64_t base_backoff_bound(uint64_t base_ms, uint64_t max_ms, uint32_t nth)
{
	uint32_t shift = nth > 0 ? nth - 1 : 0;

	return shift >= 64 || base_ms > max_ms >> shift ? max_ms : base_ms << shift;
}

/* Uniform in 0 … the bound, both included. */
static inline uint64_t base_backoff_ms(
	struct base_rand *rand, uint64_t base_ms, uint64_t max_ms, uint32_t nth)
{
	return base_rand_below(rand, base_backoff_bound(base_ms, max_ms, nth) + 1);
}

#endif
