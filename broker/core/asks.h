/* What was asked of Redis and is not told yet: a ticket each, with what it was about. One
 * handler per kind, in the table of asks.c.
 */
#ifndef BROKER_CORE_ASKS_H
#define BROKER_CORE_ASKS_H

#include <stdint.h>

#include "broker/core/core.h"

struct brk_asked {
	enum brk_ask_kind kind;
	uint32_t slot, generation; /* the ticket */
	uint32_t connection;       /* core->connection when it was asked */
	uint32_t epoch;            /* core->owner.epoch then */
	void *about;               /* the asker's; must live until it is told, or be forgotten */
	uint64_t number;           /* the asker's */
};

/* What a READ is for: its number. */
enum brk_read { BRK_READ_PAGE, BRK_READ_COMMIT, BRK_READ_OWN };

/* One more BRK_ASK; its ticket, kind and epoch are set, the rest is the caller's to fill before the next
 * action is made. NULL: no memory, and there is no action. */
struct brk_ask *brk_ask(
	struct brk_core *core, enum brk_ask_kind kind, void *about, uint64_t number);

/* The asker is no more: nobody is told. Takes 0. */
void brk_asks_forget(struct brk_core *core, uint64_t ticket);

/* What handlers get; told->says is looked at by them. */
typedef void brk_told_fn(
	struct brk_core *core, const struct brk_asked *asked, const struct brk_told *told);

void brk_asks_told(struct brk_core *core, const struct brk_told *told);

/* owner.c, adopt.c */
brk_told_fn brk_owner_opened, brk_owner_beat, brk_owner_left;
brk_told_fn brk_adopt_told, brk_adopt_dropped, brk_adopt_page, brk_adopt_own;
/* commit.c, recover.c */
brk_told_fn brk_commit_told, brk_recover_told;
/* watch.c: RESULT, REDRIVE, PURGE, DEAD_LIST, DEAD_GET */
brk_told_fn brk_watch_told;
/* keyed.c: CLAIM, ANSWER */
brk_told_fn brk_keyed_told;

#endif
