/* ULIDs: 48 bits of Unix milliseconds, 80 random bits (github.com/ulid/spec).
 * Binary is 16 bytes big-endian; text is 26 characters of Crockford's base 32.
 */
#ifndef BASE_ULID_H
#define BASE_ULID_H

#include <stdbool.h>
#include <stdint.h>

#define BASE_ULID_SIZE 16
#define BASE_ULID_TEXT 26 /* without the NUL */

struct base_rand;

/* Within one millisecond ids grow by one, so they sort in the order they were made. */
struct base_ulid_maker {
	uint8_t last[BASE_ULID_SIZE];
	uint64_t last_ms;
};

void base_ulid_make(struct base_ulid_maker *m, struct base_rand *r, uint64_t unix_ms, uint8_t out[BASE_ULID_SIZE]);
void base_ulid_print(const uint8_t id[BASE_ULID_SIZE], char out[BASE_ULID_TEXT + 1]);
bool base_ulid_parse(const char *text, uint8_t out[BASE_ULID_SIZE]); /* UNTRUSTED text; upper or lower case */

#endif
