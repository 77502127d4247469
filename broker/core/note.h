/* What brokers tell one another of a service's breaker: a BreakerNote in the service's
 * registry entry. Two things stand in it, each with the time it was said, and are merged apart:
 * what was forced, and the latest opening. Of two the later one holds; of two that were said in
 * the same millisecond, the larger. So all who merge the same notes, in whatever order, have
 * the same one in the end.
 */
#ifndef BROKER_CORE_NOTE_H
#define BROKER_CORE_NOTE_H

#include "proto/pirn.pb-c.h"

enum brk_note_news {
	BRK_NOTE_FORCED = 1,
	BRK_NOTE_OPENED = 2,
};

/* Takes over what is later in from: UNTRUSTED, may be NULL; what cannot be is passed over. Returns
 * which parts changed, as brk_note_news. */
unsigned brk_note_merge(Pirn__BreakerNote *into, const Pirn__BreakerNote *from);

#endif
