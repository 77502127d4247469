/* How much memory a fabric's processes take at most, while something happens: a thread
 * looks at their PSS five times a second, stopped ones included.
 */
#ifndef TESTS_FAULT_MEMORY_H
#define TESTS_FAULT_MEMORY_H

#include <stdint.h>

#include "tests/harness/fabric.h"

struct memory;

struct memory_peaks {
	uint64_t broker_kb, worker_kb, gateway_kb, redis_kb; /* of the largest of each */
};

struct memory *memory_start(const struct fabric *f); /* borrowed */
struct memory_peaks memory_stop(struct memory **m);  /* takes NULL */

#endif
