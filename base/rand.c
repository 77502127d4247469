#include "base/rand.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

/* splitmix64 spreads any seed, 0 included, over the whole state. */
static uint64_t spread(uint64_t *x)
{
	uint64_t z = *x += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

void base_rand_init(struct base_rand *r, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++)
		r->s[i] = spread(&seed);
}

static uint64_t rotate(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

uint64_t base_rand_next(struct base_rand *r)
{
	uint64_t *s = r->s;
	uint64_t result = rotate(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

uint64_t base_rand_below(struct base_rand *r, uint64_t bound)
{
	uint64_t skip, x;

	assert(bound > 0);
	/* The numbers below 2^64 mod bound are one too many for their remainders: draw again. */
	skip = (0 - bound) % bound;
	do
		x = base_rand_next(r);
	while (x < skip);
	return x % bound;
}

void base_rand_system(void *out, size_t size)
{
	uint8_t *at = out;

	while (size > 0) {
		ssize_t n = getrandom(at, size, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			abort();
		at += n;
		size -= (size_t)n;
	}
}
