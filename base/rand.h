/* Random numbers. base_rand is a small deterministic generator (xoshiro256**)
 * for jitter, sampling and the simulation; it is seeded by its user and never
 * used for secrets. base_rand_system is the kernel's getrandom, for boot ids.
 */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct base_rand {
	uint64_t s[4];
};

void base_rand_init(struct base_rand *r, uint64_t seed);
uint64_t base_rand_next(struct base_rand *r);
uint64_t base_rand_below(struct base_rand *r, uint64_t bound); /* 0 … bound - 1, unbiased; bound > 0 */
void base_rand_system(void *out, size_t size);                 /* aborts if the kernel has none */

#endif
