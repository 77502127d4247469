#include "base/clock.h"

#include <assert.h>
#include <time.h>

static uint64_t read_us(clockid_t clock)
{
	struct timespec now;
	int failed = clock_gettime(clock, &now);

	assert(!failed); /* both clocks are always there on Linux */
	(void)failed;
	return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

uint64_t base_clock_us(void)
{
	return read_us(CLOCK_MONOTONIC);
}

uint64_t base_clock_ms(void)
{
	return read_us(CLOCK_MONOTONIC) / 1000u;
}

uint64_t base_clock_unix_ms(void)
{
	return read_us(CLOCK_REALTIME) / 1000u;
}
