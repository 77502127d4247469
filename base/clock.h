/* Clocks. Pure code takes its time as an argument; only shells call these. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

uint64_t base_clock_ms(void);      /* monotonic, milliseconds */
uint64_t base_clock_us(void);      /* monotonic, microseconds */
uint64_t base_clock_unix_ms(void); /* wall clock, Unix time in milliseconds */

#endif
