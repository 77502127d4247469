/* What an entry of a journal holds: the events that one turn of a broker's loop
 * stored, or moved (retries, rewriting, dead letters that go back).
 *
 * An entry is a stream entry of three fields:
 *
 *   t   when it was written, Redis's time, decimal milliseconds (the Function adds it)
 *   h   the head: a packed JournalEntry (proto/pirn.proto)
 *   b   the body: the events' payloads, one after another; never unpacked here
 *
 * Of many events that came together store/shared.h keeps both in half the room.
 *
 * The head's deliveries are counted through the whole entry, from 0 on: that is the
 * bit of a delivery in the journal's `done`. Their order is fixed with the entry.
 *
 * An event of 200 B that is stored alone costs about 330 bytes in Redis, in a batch
 * about 270 (bench/functions.c measures it).
 *
 * The generated structs are used as they are, so that the broker's pure core can
 * make and read entries without this floor; here they are checked, packed and
 * unpacked.
 */
#ifndef STORE_ENTRY_H
#define STORE_ENTRY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "proto/pirn.pb-c.h"
#include "store/words.h"

/* Whether this is an entry: sizes of ids, bounds above, a service's name in each delivery, payloads
 * that add up to body_size. *n_deliveries is written only on OK. INVALID: a part is missing or
 * malformed; RANGE: too many of something, or none; TOO_LARGE: the body. UNTRUSTED. */
BASE_MUSTUSE enum base_err store_entry_check(
	const Pirn__JournalEntry *head, size_t body_size, size_t *n_deliveries);

/* Appends the packed head to out (NOMEM). head has passed the check. */
BASE_MUSTUSE enum base_err store_entry_pack(const Pirn__JournalEntry *head, struct base_buf *out);

/* Unpacks and checks a head; all it allocates is in the arena, and it does not point into the bytes.
 * PROTOCOL: not a packed JournalEntry, or the arena is full (protobuf-c does not say which: give it
 * 64 times head_size); otherwise as the check. *out and *n_deliveries are written only on OK.
 * UNTRUSTED. */
BASE_MUSTUSE enum base_err store_entry_unpack(struct base_arena *arena, const void *head,
	size_t head_size, size_t body_size, Pirn__JournalEntry **out, size_t *n_deliveries);

#endif
