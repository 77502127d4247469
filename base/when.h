/* Points in time as people and JSON write them: RFC 3339, in Unix milliseconds here.
 * Pure arithmetic: no time zone of the machine plays a part.
 */
#ifndef BASE_WHEN_H
#define BASE_WHEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BASE_WHEN_TEXT 24 /* 2026-11-21T09:15:02.123Z, without the NUL */

/* 1970 to 9999, in UTC; later times are cut to the end of 9999. */
void base_when_print(uint64_t unix_ms, char out[BASE_WHEN_TEXT + 1]);

/* 2026-11-21T09:15:02Z, 2026-11-21t10:15:02.5+01:00. Digits beyond milliseconds are dropped; a leap
 * second counts as the next one. False: it is none, or before 1970. UNTRUSTED. */
bool base_when_parse(const char *text, size_t size, uint64_t *unix_ms);

#endif
