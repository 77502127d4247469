/* What a process counts. Each program declares its figures once, in a table; a
 * row makes the name in /metrics, its help text and its line in
 * doc/operations.md. Single-threaded: every program's figures belong to its loop
 * thread; other threads hand theirs over in batches.
 */
#ifndef BASE_STATS_H
#define BASE_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "base/hist.h"

enum base_stat_type { BASE_STAT_COUNTER, BASE_STAT_GAUGE, BASE_STAT_HISTOGRAM };

struct base_stat_def {
	const char *name; /* Prometheus's: pirn_gateway_requests_total */
	enum base_stat_type type;
	const char *help;
};

/* One series: a figure with its labels. The owner keeps the number and walks its own series when asked. */
struct base_stat_sample {
	const struct base_stat_def *def;
	const char *labels;           /* between the braces, escaped: service="hello",code="200"; or "" */
	double value;                 /* counter, gauge */
	const struct base_hist *hist; /* histogram */
};

typedef void base_stat_sink(void *arg, const struct base_stat_sample *sample);

/* Escapes for a label value (\ " newline) into out, which has room for 2 × strlen + 1. */
void base_stat_escape(char *out, size_t room, const char *text);

/* CPU seconds, resident bytes and open descriptors of this process, as Prometheus's clients name them. */
void base_stat_process(base_stat_sink *sink, void *arg);

#endif
