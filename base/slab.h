/* Records of one size, addressed by slot and generation. The pair travels in
 * messages and comes back in their answers, so that nobody looks an answer up in
 * a hash, and a late or forged answer finds a generation that is not its own.
 * Chunks of 1,024 never move: pointers are good until the record is given back.
 */
#ifndef BASE_SLAB_H
#define BASE_SLAB_H

#include <stddef.h>
#include <stdint.h>

struct base_slab {
	void **chunks;
	size_t n_chunks;
	size_t record_bytes;
	uint32_t max_records;
	uint32_t n_used;
	uint32_t free_head; /* UINT32_MAX: none */
};

void base_slab_init(struct base_slab *s, size_t record_bytes, uint32_t max_records);
void base_slab_fini(struct base_slab *s);
void *base_slab_take(struct base_slab *s, uint32_t *slot, uint32_t *generation); /* zeroed; NULL: max_records or memory */
void *base_slab_get(const struct base_slab *s, uint32_t slot, uint32_t generation); /* UNTRUSTED numbers; NULL: stale */
uint32_t base_slab_renew(struct base_slab *s, uint32_t slot); /* a taken one: its generation is over, this is the next */
void base_slab_give(struct base_slab *s, uint32_t slot); /* its generation is over */

#endif
