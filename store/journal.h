/* The delivery protocol's words to Redis: a typed request and a typed reply for each
 * of its Functions (functions.lua, which says what keys hold). Nothing is remembered
 * here; what lies where is the broker's core's to know.
 *
 * | Function | refused by            | changes                                         |
 * |----------|-----------------------|-------------------------------------------------|
 * | open     | FENCED                | next epoch; the old one's beat and journals pass |
 * | beat     | FENCED                | beat + 1                                        |
 * | adopt    | FENCED                | the victim's journals, if its beat is as seen   |
 * | leave    | FENCED                | beat 0: adoptable at once; FENCED from then on  |
 * | drop     | FENCED                | an adopted journal that is empty goes           |
 * | read     |                       | nothing; a page of entries with their bitmaps   |
 * | store    | FENCED REPEATED OOM   | an entry, lane bits, dedupe keys, timers        |
 * | settle   | FENCED REPEATED SETTLED | bits, an entry of what moves, results, letters, records |
 * | emit     | the same, and OOM     | settle with events that a run sends             |
 * | redrive  | FENCED REPEATED OOM   | letters become an entry                         |
 * | purge    |                       | letters go                                      |
 * | result   |                       | nothing                                         |
 *
 * Every one may be AWAY or LOST too. Each is one step: it happened whole, or (any
 * code but DONE, LOST and BROKEN) not at all.
 *
 * After LOST, and a new epoch by open(old): the old connection's commands are fenced
 * by then. A store happened if its entry is there (read); it may be sent again under a
 * new turn anyhow, since its lane bits, keys and slots make duplicates of what is
 * there. A settle happened if the bits are set (read; no entry: all of it ended); what
 * is not there is sent again, and only that, because SETTLED refuses the whole.
 *
 * Epochs are numbers from 1 on; a journal's name is the epoch that made it. Times are
 * Redis's, Unix milliseconds. What a reply points to is borrowed until fn returns. fn
 * comes once, never when the call itself returned an error: UNAVAILABLE or FULL as
 * store_redis_command, INVALID for a request that cannot be meant, NOMEM. The
 * connection must have been made with the library of functions.lua.
 */
#ifndef STORE_JOURNAL_H
#define STORE_JOURNAL_H

#include "store/entry.h"
#include "store/fcall.h"
#include "store/redis.h"
#include "store/words.h"

/* ---- owners and journals */

typedef void store_opened_fn(void *arg, const struct store_opened *reply);
/* old 0: none. FENCED: the old one was adopted, or Redis lost its data. */
BASE_MUSTUSE enum base_err store_journal_open(
	struct store_redis *r, uint32_t old, store_opened_fn *fn, void *arg);

typedef void store_beat_fn(void *arg, const struct store_beat *reply);
BASE_MUSTUSE enum base_err store_journal_beat(
	struct store_redis *r, uint32_t epoch, store_beat_fn *fn, void *arg);

typedef void store_adopted_fn(void *arg, const struct store_adopted *reply);
/* seen: the victim's beat, as the last beats told it. */
BASE_MUSTUSE enum base_err store_journal_adopt(struct store_redis *r, uint32_t epoch,
	uint32_t victim, uint64_t seen, store_adopted_fn *fn, void *arg);

typedef void store_count_fn(void *arg, const struct store_count *reply);
/* n: the journals it leaves behind. */
BASE_MUSTUSE enum base_err store_journal_leave(
	struct store_redis *r, uint32_t epoch, store_count_fn *fn, void *arg);
/* n: 1 when it went, 0 when it is not empty. FENCED also for one's own, which is never dropped. */
BASE_MUSTUSE enum base_err store_journal_drop(
	struct store_redis *r, uint32_t epoch, uint32_t journal, store_count_fn *fn, void *arg);

/* ---- reading */

typedef void store_page_fn(void *arg, const struct store_page *reply);
/* The entries after epoch-turn (0-0: from the start), at most max_entries, and max_bytes of heads and
 * bodies; but always one when there is one. */
BASE_MUSTUSE enum base_err store_journal_read(struct store_redis *r, uint32_t journal,
	uint32_t after_epoch, uint64_t after_turn, uint32_t max_entries, uint64_t max_bytes,
	store_page_fn *fn, void *arg);

/* ---- store */

typedef void store_stored_fn(void *arg, const struct store_stored *reply);
/* At most 1,024 items. INVALID: a guard without its parts. */
BASE_MUSTUSE enum base_err store_journal_store(struct store_redis *r, const struct store_turn *turn,
	const struct store_item *items, size_t n, const struct store_bounds *bounds,
	store_stored_fn *fn, void *arg);

/* ---- settle */

typedef void store_settled_fn(void *arg, const struct store_settled *reply);
/* emits: turn's entry holds events that runs sent. Then Redis refuses all of it when it is out of
 * memory, and the caller settles those runs as failed. Each entry stands in entries once. */
BASE_MUSTUSE enum base_err store_journal_settle(struct store_redis *r,
	const struct store_turn *turn, bool emits, const struct store_ends *entries, size_t n,
	const struct store_bounds *bounds, store_settled_fn *fn, void *arg);

/* ---- after the end */

typedef void store_list_fn(void *arg, const struct store_list *reply);

/* items: service, packed JournalResult, for each delivery of that event that has one. */
BASE_MUSTUSE enum base_err store_journal_result(
	struct store_redis *r, const uint8_t id[16], store_list_fn *fn, void *arg);
/* items: the ids that moved, in their order in turn's entry; at most max_bytes of bodies, at least one.
 * No items: no letter has such an id, and the turn is not used up. turn's head and body are not
 * looked at. The entry's deliveries have no not_after: it is the entry's time + the service's age. */
BASE_MUSTUSE enum base_err store_journal_redrive(struct store_redis *r,
	const struct store_turn *turn, const char *service, const uint8_t (*ids)[16], size_t n,
	uint64_t max_bytes, store_list_fn *fn, void *arg);
/* n: how many went. */
BASE_MUSTUSE enum base_err store_journal_purge(struct store_redis *r, const char *service,
	const uint8_t (*ids)[16], size_t n, store_count_fn *fn, void *arg);

/* items: the cursor to go on with ("0": that was all), then id, head, id, head, … in no order; a letter
 * may come twice. cursor "0" begins. */
BASE_MUSTUSE enum base_err store_journal_dead_list(struct store_redis *r, const char *service,
	const char *cursor, uint32_t about, store_list_fn *fn, void *arg);
/* items: head, payload; none when there is no such letter. */
BASE_MUSTUSE enum base_err store_journal_dead_get(struct store_redis *r, const char *service,
	const uint8_t id[16], store_list_fn *fn, void *arg);

#endif
