/* A histogram of durations in microseconds with a fixed, small set of buckets:
 * four per doubling from 1 µs to over 1,000 s, so a quantile is off by at most
 * 19 %. Fixed buckets add up across processes, which is all that p99 over several
 * brokers needs.
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stddef.h>
#include <stdint.h>

#define BASE_HIST_BUCKETS 124

struct base_hist {
	uint64_t counts[BASE_HIST_BUCKETS];
	uint64_t n;
	uint64_t sum_us;
};

void base_hist_add(struct base_hist *h, uint64_t us);
void base_hist_merge(struct base_hist *into, const uint64_t *counts, size_t n_counts); /* UNTRUSTED: longer ones are cut */
uint64_t base_hist_bound_us(size_t bucket); /* upper bound, inclusive; UINT64_MAX for the last */
uint64_t base_hist_quantile_us(const struct base_hist *h, double q); /* upper bound of the bucket that holds it; 0 when empty */

#endif
