#include "base/hist.h"

/* Bucket i ends at the rounded 2^((i + 5) / 4). Below 8 µs a quarter of a doubling is less than a
 * microsecond; there the buckets are the whole numbers 1 to 7, so that no two have the same bound. */
#define WHOLE 7u
#define SHIFT 5u
#define LAST  (BASE_HIST_BUCKETS - 1)

uint64_t base_hist_bound_us(size_t bucket)
{
	/* 2^0, 2^(1/4), 2^(1/2), 2^(3/4), each times 2^32 */
	static const uint64_t quarter[4] = { 4294967296u, 5107605667u, 6074001000u, 7223245206u };
	size_t k = bucket + SHIFT;

	if (bucket >= LAST)
		return UINT64_MAX;
	if (bucket < WHOLE)
		return bucket + 1;
	return ((quarter[k % 4] << k / 4) + ((uint64_t)1 << 31)) >> 32;
}

static size_t bucket_of(uint64_t us)
{
	size_t bucket;

	if (us <= WHOLE)
		return us ? (size_t)us - 1 : 0;
	bucket = 4u * (63u - (unsigned)__builtin_clzll(us)) - SHIFT;
	if (bucket > LAST)
		return LAST;
	while (us > base_hist_bound_us(bucket))
		bucket++;
	return bucket;
}

/* Counts that came from a peer may be anything: they stop at the top instead of starting anew. */
static uint64_t add_up(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void base_hist_add(struct base_hist *h, uint64_t us)
{
	h->counts[bucket_of(us)]++;
	h->n++;
	h->sum_us = add_up(h->sum_us, us);
}

void base_hist_merge(struct base_hist *into, const uint64_t *counts, size_t n_counts)
{
	if (n_counts > BASE_HIST_BUCKETS)
		n_counts = BASE_HIST_BUCKETS;
	for (size_t i = 0; i < n_counts; i++) {
		into->counts[i] = add_up(into->counts[i], counts[i]);
		into->n = add_up(into->n, counts[i]);
	}
}

uint64_t base_hist_quantile_us(const struct base_hist *h, double q)
{
	uint64_t rank = 1;
	uint64_t seen = 0;

	if (h->n == 0)
		return 0;
	if (q >= 1.0) {
		rank = h->n;
	} else if (q > 0.0) {
		double exact = q * (double)h->n;
		rank = (uint64_t)exact;
		if ((double)rank < exact || rank == 0)
			rank++;
	}
	for (size_t i = 0; i < BASE_HIST_BUCKETS; i++) {
		seen = add_up(seen, h->counts[i]);
		if (seen >= rank)
			return base_hist_bound_us(i);
	}
	return base_hist_bound_us(LAST);
}
