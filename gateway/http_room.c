/* What the connections of a listener hold, and who goes when it is too much (G6).
 *
 * Held are: what came and is not used yet (a part of a head, or requests that came before their
 * turn), the bodies of requests, and answers until they are sent. An idle connection holds
 * nothing. One that is cut gives all of it back at once.
 *
 * Beyond the bounds (max_held bytes, max_connections) those go first whom nobody misses: an idle
 * one whose next request is not there yet, the one that has been idle longest; then those that are
 * slowest: with their heads, with their bodies, with reading their answer, the one that began first
 * (when bytes are short: of the first ones, the one that holds most). A well-meaning client is
 * through with each in milliseconds; those that have been there for less than a second go only when
 * there are no others. Whoever waits for a service is never touched. When nobody is left to go, who
 * came last is refused with 503.
 */
#include "gateway/http_parts.h"

#define TRIED_MOST 16 /* of a list: those at its head that are about to be served are left alone */
#define QUICK_MS   1000u
#define SHORT_OF   "The gateway has no room for so slow a request now. Ask again after Retry-After."
#define NO_ROOM    "The gateway has no room for another connection now. Ask again after Retry-After."

void gw_room_set(struct gw_conn *c, enum gw_hold kind, size_t bytes)
{
	size_t before = c->holds[kind];

	if (c->left || before == bytes)
		return;
	c->holds[kind] = bytes;
	c->held += bytes - before;
	c->http->held += bytes - before;
}

/* ---- who goes -------------------------------------------------------------------- */

/* Who is sought. */
struct wanted {
	const struct gw_conn *spared;
	uint32_t age_ms;     /* in its stage, at least */
	bool for_connection; /* any will do; otherwise one that holds something, and rather much */
};

/* Of the oldest of a stage. An idle one, or one without a head, that has bytes waiting is about to
 * move on by itself: they were only not read yet. */
static struct gw_conn *slowest(struct gw_http *h, enum gw_stage stage, const struct wanted *w)
{
	struct gw_conn *c = h->stages[stage].first, *found = NULL;
	uint64_t now_ms = net_loop_now_ms(h->loop);
	bool waits = stage == GW_STAGE_IDLE || stage == GW_STAGE_HEAD;

	for (unsigned i = 0; c && i < TRIED_MOST; i++, c = c->next) {
		if (c->since_ms + w->age_ms > now_ms)
			break;
		if (c == w->spared || (found && c->held <= found->held) ||
			(!w->for_connection && c->held == 0) || (waits && gw_conn_has_bytes(c)))
			continue;
		found = c;
		if (w->for_connection || waits)
			break;
	}
	return found;
}

static bool let_go(struct gw_conn *c)
{
	if (!c)
		return false;
	c->http->n_evicted++;
	if (c->stage == GW_STAGE_BODY || (c->stage == GW_STAGE_HEAD && c->heard))
		gw_conn_refuse(c,
			&(struct gw_problem){
				.status = 503, .detail = SHORT_OF, .retry_after_s = 1 });
	else
		gw_conn_cut(c);
	return true;
}

static bool evict(struct gw_http *h, enum gw_stage stage, const struct wanted *w)
{
	return let_go(slowest(h, stage, w));
}

/* Whoever holds more: among the quick a small body is not to make room for a large answer that
 * nobody reads. */
static bool evict_largest(struct gw_http *h, const struct wanted *w)
{
	struct gw_conn *body = slowest(h, GW_STAGE_BODY, w), *send = slowest(h, GW_STAGE_SEND, w);

	return let_go(!send || (body && body->held > send->held) ? body : send);
}

/* One that is idle, then the slowest. */
static bool evict_any(struct gw_http *h, const struct wanted *w)
{
	if ((w->for_connection && evict(h, GW_STAGE_IDLE, w)) || evict(h, GW_STAGE_HEAD, w))
		return true;
	if (!w->for_connection && w->age_ms == 0)
		return evict_largest(h, w);
	return evict(h, GW_STAGE_BODY, w) || evict(h, GW_STAGE_SEND, w);
}

/* Who is quick is spared as long as there is anybody who is not. */
static bool make_room(struct gw_http *h, bool for_connection, const struct gw_conn *spared)
{
	struct wanted w = {
		.spared = spared, .age_ms = QUICK_MS, .for_connection = for_connection
	};

	if (evict_any(h, &w))
		return true;
	w.age_ms = 0;
	return evict_any(h, &w);
}

bool gw_room_fits(struct gw_http *h, const struct gw_conn *spared)
{
	while (h->held > h->max_held)
		if (!make_room(h, false, spared))
			return false;
	return true;
}

bool gw_room_for_another(struct gw_http *h, const struct gw_conn *spared)
{
	return make_room(h, true, spared);
}

void gw_room_enter(struct gw_conn *c)
{
	struct gw_http *h = c->http;

	if (++h->n_live <= h->conf.max_connections || gw_room_for_another(h, c))
		return;
	h->n_evicted++;
	gw_conn_refuse(
		c, &(struct gw_problem){ .status = 503, .detail = NO_ROOM, .retry_after_s = 1 });
}

void gw_room_leave(struct gw_conn *c)
{
	if (c->left)
		return;
	for (unsigned i = 0; i < GW_HOLD__N; i++)
		gw_room_set(c, i, 0);
	c->left = true;
	c->http->n_live--;
}
