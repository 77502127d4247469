/* The inside of journal.c, settle.c and results.c: a call under way, and what they both write.
 */
#ifndef STORE_JOURNAL_PARTS_H
#define STORE_JOURNAL_PARTS_H

#include "store/journal.h"

/* Kept from a call to its answer; freed by whoever reads the answer. */
struct store_pending {
	union {
		store_opened_fn *opened;
		store_beat_fn *beat;
		store_adopted_fn *adopted;
		store_count_fn *count;
		store_page_fn *page;
		store_stored_fn *stored;
		store_settled_fn *settled;
		store_list_fn *list;
	} fn;
	void *arg;
};

/* Sends the call and ends it; the pending one is the answer's, or freed after an error. */
BASE_MUSTUSE enum base_err store_journal_send(struct store_fcall *c, struct store_redis *r,
	const char *function, store_reply_fn *on_reply, struct store_pending pending);
struct store_pending store_journal_take(void *pending); /* its copy, freed */

/* owners, journals, epoch; what every Function under an epoch begins with. */
void store_journal_owner_keys(struct store_fcall *c);
/* and the stream and done of the journal that is appended to */
void store_journal_turn_keys(struct store_fcall *c, uint32_t journal);

/* `results` and its groups; the number of the first. */
size_t store_journal_results_keys(struct store_fcall *c);
/* Where they are, and the n_results that ends have; the last words of a settle. */
void store_journal_add_results(struct store_fcall *c, const struct store_ends *entries, size_t n,
	size_t n_results, uint64_t results_max);

struct store_says store_journal_says(const struct store_reply *reply);
/* What an answer of another shape is: BROKEN. */
struct store_says store_journal_broken(void);

void store_journal_on_count(void *pending, const struct store_reply *reply);

#endif
