/* BLAKE2b (RFC 7693) without a key, in one go over several pieces: for fingerprints
 * that nobody must be able to make collide. Several times as fast as SHA-256 in plain C,
 * so a large body does not stop a loop for long.
 *
 *   struct base_blake2b h;
 *   base_blake2b_init(&h, 16);
 *   base_blake2b_add(&h, data, size);
 *   base_blake2b_end(&h, out);
 */
#ifndef BASE_BLAKE2B_H
#define BASE_BLAKE2B_H

#include <stddef.h>
#include <stdint.h>

#define BASE_BLAKE2B_MAX 64 /* bytes of the longest sum */

struct base_blake2b {
	uint64_t state[8];
	uint64_t total; /* bytes compressed */
	uint8_t block[128];
	size_t filled; /* of block */
	size_t out_size;
};

void base_blake2b_init(struct base_blake2b *h, size_t out_size); /* 1 to BASE_BLAKE2B_MAX */
void base_blake2b_add(struct base_blake2b *h, const void *data, size_t size);
void base_blake2b_end(struct base_blake2b *h, uint8_t *out); /* out_size bytes; h is used up */

#endif
