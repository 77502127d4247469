#include "gateway/lease.h"

#include <assert.h>

#define NEVER UINT64_MAX

bool gw_lease_is_held(const struct gw_lease *l, uint64_t at)
{
	return l->mine && at < l->until;
}

static struct gw_lease_step wait_until(uint64_t due)
{
	return (struct gw_lease_step){ .due = due };
}

static struct gw_lease_step say(
	struct gw_lease *l, uint64_t previous_ms, uint64_t slot_ms, uint64_t at)
{
	l->under_way = true;
	l->said_ms = slot_ms;
	l->said_at = at;
	return (struct gw_lease_step){ .say = true, .previous_ms = previous_ms, .slot_ms = slot_ms };
}

struct gw_lease_step gw_lease_next(struct gw_lease *l, uint64_t now_ms, uint64_t at)
{
	if (l->under_way)
		return wait_until(NEVER);
	if (at < l->not_before)
		return wait_until(l->not_before);
	if (now_ms == 0)
		return wait_until(at + GW_LEASE_AGAIN_MS);
	if (!l->known)
		return say(l, 0, now_ms, at);
	if (l->mine && at < l->renew_at)
		return wait_until(l->renew_at);
	if (!l->mine && now_ms < l->last_ms + GW_LEASE_MS)
		return wait_until(at + (l->last_ms + GW_LEASE_MS - now_ms));
	/* The brokers' clock may have been a little behind when it was told last. */
	return say(l, l->last_ms, now_ms > l->last_ms ? now_ms : l->last_ms + 1, at);
}

void gw_lease_accepted(struct gw_lease *l)
{
	assert(l->under_way);
	l->under_way = false;
	l->known = l->mine = true;
	l->last_ms = l->said_ms;
	l->renew_at = l->said_at + GW_LEASE_RENEW_MS;
	l->until = l->said_at + GW_LEASE_MS - GW_LEASE_SPARE_MS;
}

void gw_lease_refused(struct gw_lease *l, uint64_t last_ms, uint64_t at)
{
	assert(l->under_way);
	l->under_way = l->mine = false;
	/* Nothing new: the slot is ahead of the brokers' clock, or the chain is gone. */
	if (last_ms == 0 || (l->known && last_ms == l->last_ms))
		l->not_before = at + GW_LEASE_AGAIN_MS;
	l->known = last_ms > 0;
	l->last_ms = last_ms;
}

void gw_lease_failed(struct gw_lease *l, uint64_t at)
{
	assert(l->under_way);
	l->under_way = false;
	l->not_before = at + GW_LEASE_AGAIN_MS;
}

void gw_lease_drop(struct gw_lease *l)
{
	l->mine = false;
	l->until = 0;
}
