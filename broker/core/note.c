#include "broker/core/note.h"

#include <stdbool.h>

/* Year 10889: whoever says a later one would have the last word for ever. */
#define LATEST_MS   (UINT64_C(1) << 48)
#define MAX_OPEN_MS (48u * 3600 * 1000)

static bool is_time(protobuf_c_boolean has, uint64_t ms)
{
	return has && ms > 0 && ms < LATEST_MS;
}

static bool merge_force(Pirn__BreakerNote *into, const Pirn__BreakerNote *from)
{
	uint32_t force = from->has_force ? from->force : PIRN__BREAKER_FORCE__AUTO;

	if (!is_time(from->has_force_ms, from->force_ms) ||
		force > PIRN__BREAKER_FORCE__FORCED_CLOSED)
		return false;
	if (into->has_force_ms &&
		(from->force_ms < into->force_ms ||
			(from->force_ms == into->force_ms && force <= into->force)))
		return false;
	into->has_force = into->has_force_ms = 1;
	into->force = force;
	into->force_ms = from->force_ms;
	return true;
}

static bool merge_opening(Pirn__BreakerNote *into, const Pirn__BreakerNote *from)
{
	if (!is_time(from->has_opened_ms, from->opened_ms) || !from->has_open_ms ||
		from->open_ms > MAX_OPEN_MS)
		return false;
	if (into->has_opened_ms &&
		(from->opened_ms < into->opened_ms ||
			(from->opened_ms == into->opened_ms && from->open_ms <= into->open_ms)))
		return false;
	into->has_opened_ms = into->has_open_ms = into->has_openings = 1;
	into->opened_ms = from->opened_ms;
	into->open_ms = from->open_ms;
	into->openings = from->has_openings && from->openings > 0 ? from->openings : 1;
	return true;
}

unsigned brk_note_merge(Pirn__BreakerNote *into, const Pirn__BreakerNote *from)
{
	unsigned news = 0;

	if (!from)
		return 0;
	if (merge_force(into, from))
		news |= BRK_NOTE_FORCED;
	if (merge_opening(into, from))
		news |= BRK_NOTE_OPENED;
	return news;
}
