/* A bump allocator for what lives until a point in time: heads until the end of
 * a turn, a request's parts until its run ends. Nothing is freed alone; reset
 * keeps the first chunk, so a steady state allocates nothing. max_bytes bounds
 * what a hostile head may make protobuf-c allocate (it amplifies about 50 times).
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_arena_chunk;

struct base_arena {
	struct base_arena_chunk *chunks; /* newest first */
	uint8_t *at, *end;
	size_t used, first_bytes, max_bytes;
	bool starved; /* since the last reset the system refused memory: what could not be read may be sound */
};

void base_arena_init(struct base_arena *a, size_t first_bytes, size_t max_bytes); /* allocates on first use */
void base_arena_fini(struct base_arena *a);
void base_arena_reset(struct base_arena *a);
void *base_arena_alloc(struct base_arena *a, size_t size); /* 16-byte aligned; NULL: out of memory or over max_bytes */
void *base_arena_dup(struct base_arena *a, const void *data, size_t size); /* a copy, NUL-terminated */

#endif
