/* What the events of an entry, or the results of a blob, have in common, kept once.
 *
 * Events that came together are alike: their metas are the same headers but for an id or
 * two, their heads the same lane and sizes. So of each piece (a meta, or an event's part of
 * the head) only that is kept in which it differs from the piece before it; and of a result,
 * which is looked up alone, in which it differs from the first of its blob. The payloads'
 * data are kept as they are. Redis copies, hashes and syncs each byte that it is given, and
 * the entries of batches become half as large.
 *
 * Nobody but the Functions reads this form (functions.lua: piece_at): they give entries and
 * results back as they were, to brokers of all ages.
 *
 *   piece = size [data size] run... [data]      run = same other bytes
 *
 * All numbers are big-endian, of 2 bytes; the data's size, which heads do not have, is of
 * 4. A run is `same` bytes that stand in the piece before, and `other` bytes that follow
 * here; there are as many runs as make up the size. Before the first of the other bytes
 * the same ones are counted from the front of both pieces, behind them from the back.
 */
#ifndef STORE_SHARED_H
#define STORE_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/fcall.h"
#include "store/words.h"

/* Makes *head and *body, of a turn with these items, such ones, in the call's memory. False, and both are as
 * they were: there are less than two events, the items do not say their sizes, it is not worth it, or there is
 * no memory. */
bool store_shared_pack(struct store_fcall *c, const struct store_item *items, size_t n,
	struct store_arg *head, struct store_arg *body);

/* A piece with data, by itself. */
#define STORE_PIECE_MAX  UINT16_MAX
#define STORE_PIECE_MORE 10u /* what it takes more, if it is like none */
struct store_piece {
	const uint8_t *bytes;
	size_t size; /* STORE_PIECE_MAX at most */
};
/* The end of what was written; `to` has room for it. */
uint8_t *store_shared_put(uint8_t *to, const struct store_piece *piece,
	const struct store_piece *before, struct store_arg data);

#endif
