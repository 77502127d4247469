/* What the connections of a listener hold, and who goes when it is too much (G6).
 *
 * Held are: libmicrohttpd's pool of a connection from its first request on (until then its
 * pages are untouched, and cost nothing; afterwards it wipes all of them after each
 * request), the bodies of requests, and answers until they are sent. A connection that is
 * cut holds nothing any more: libmicrohttpd frees it in its next run.
 *
 * Ten thousand idle connections would hold half a gigabyte of wiped pools. So one that has
 * been idle for GW_REST_MS gives back those pages of its pool that are nothing but zeroes;
 * they read as zeroes afterwards, so that libmicrohttpd cannot tell. Where the pool is,
 * nobody says; but a request's target lies in it, and not further from its beginning than
 * bytes have come on the connection. While the daemon runs, the pool of one that looks idle
 * may be gone already; so they rest between its runs only, by the timer or, when room is
 * short, at once after the run that asked for it. For so long a quarter more may be held.
 *
 * Beyond the bounds (max_held bytes, max_connections) those go first whom nobody misses: an
 * idle one whose next request is not there yet, the one that has been idle longest; then
 * those that are slowest: with their heads, with their bodies, with reading their answer,
 * the one that began first (when bytes are short: of the first ones, the one that holds
 * most). A well-meaning client is through with each in milliseconds; those that have been
 * there for less than a second go only when there are no others. Whoever waits for a
 * service is never touched. When nobody is left to go, who came last is refused with 503.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/http_parts.h"

#define TRIED_MOST 16 /* of a list: those at its head that are about to be served are left alone */
#define SHORT_OF   "The gateway has no room for so slow a request now. Ask again after Retry-After."

bool gw_conn_has_bytes(const struct gw_conn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void gw_room_hold(struct gw_conn *c, size_t bytes)
{
	if (c->stage == GW_STAGE_CUT)
		return;
	c->held += bytes;
	c->http->held += bytes;
}

void gw_room_keep(struct gw_conn *c, size_t bytes)
{
	if (c->held <= bytes)
		return;
	c->http->held -= c->held - bytes;
	c->held = bytes;
}

/* ---- idle ones ------------------------------------------------------------------- */

/* From 1.0 on libmicrohttpd may keep a target elsewhere: nothing is given back then. */
void gw_room_find(struct gw_conn *c, const char *target)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)target;
	size_t size = c->http->pool_bytes;
	uint64_t received;

	if (MHD_VERSION >= 0x01000000 || !gw_conn_received(c, &received) || received >= size)
		return;
	c->from = (uint8_t *)((at + page - 1) / page * page);
	c->to = (uint8_t *)((at + size - (size_t)received) / page * page);
	if (c->to < c->from)
		c->to = c->from;
}

static bool is_wiped(const uint8_t *from, const uint8_t *to)
{
	return from[0] == 0 && memcmp(from, from + 1, (size_t)(to - from) - 1) == 0;
}

void gw_room_rest(struct gw_http *h)
{
	struct gw_conn *c = h->awake;
	size_t size = (size_t)(c->to - c->from);

	h->awake = c->next;
	if (size == 0 || c->held != h->pool_bytes || !is_wiped(c->from, c->to))
		return;
	if (madvise(c->from, size, MADV_DONTNEED) == 0)
		gw_room_keep(c, h->pool_bytes - size);
}

/* ---- who goes -------------------------------------------------------------------- */

/* Who is sought. */
struct wanted {
	const struct gw_conn *spared;
	uint32_t age_ms;     /* in its stage, at least */
	bool for_connection; /* any will do; otherwise one that holds much */
};

/* Of the oldest of a stage. An idle one, or one without a head, that has bytes waiting is about to move
 * on by itself: they were only not read yet. */
static struct gw_conn *slowest(struct gw_http *h, enum gw_stage stage, const struct wanted *w)
{
	struct gw_conn *c = h->stages[stage].first, *found = NULL;
	uint64_t now_ms = net_loop_now_ms(h->loop);
	bool waits = stage == GW_STAGE_IDLE || stage == GW_STAGE_HEAD;

	for (unsigned i = 0; c && i < TRIED_MOST; i++, c = c->next) {
		if (c->since_ms + w->age_ms > now_ms)
			break;
		if (c == w->spared || (found && c->held <= found->held) ||
			(waits && gw_conn_has_bytes(c)))
			continue;
		found = c;
		if (w->for_connection || waits)
			break;
	}
	return found;
}

static bool cut(struct gw_conn *c)
{
	if (!c)
		return false;
	c->http->n_evicted++;
	if (c->stage == GW_STAGE_BODY || (c->stage == GW_STAGE_HEAD && !gw_conn_is_silent(c)))
		gw_conn_cut_with(c, c->record, 503, SHORT_OF);
	else
		gw_conn_cut(c);
	return true;
}

static bool evict(struct gw_http *h, enum gw_stage stage, const struct wanted *w)
{
	return cut(slowest(h, stage, w));
}

/* Whoever holds more: among the quick a small body is not to make room for a large answer that nobody reads. */
static bool evict_largest(struct gw_http *h, const struct wanted *w)
{
	struct gw_conn *body = slowest(h, GW_STAGE_BODY, w), *send = slowest(h, GW_STAGE_SEND, w);

	return cut(!send || (body && body->held > send->held) ? body : send);
}

/* An idle one, then the slowest; those in their heads hold next to nothing, but they are connections. */
static bool evict_any(struct gw_http *h, const struct wanted *w)
{
	if (evict(h, GW_STAGE_IDLE, w) || (w->for_connection && evict(h, GW_STAGE_HEAD, w)))
		return true;
	if (!w->for_connection && w->age_ms == 0)
		return evict_largest(h, w);
	return evict(h, GW_STAGE_BODY, w) || evict(h, GW_STAGE_SEND, w);
}

/* Who is quick is spared as long as there is anybody who is not. */
static bool make_room(struct gw_http *h, bool for_connection, const struct gw_conn *spared)
{
	struct wanted w = {
		.spared = spared, .age_ms = GW_REST_MS, .for_connection = for_connection
	};

	if (evict_any(h, &w))
		return true;
	w.age_ms = 0;
	return evict_any(h, &w);
}

bool gw_room_fits(struct gw_http *h, const struct gw_conn *spared)
{
	if (h->held <= h->max_held)
		return true;
	if (h->awake && h->held <= h->max_held + h->max_held / 4) {
		h->ready = true; /* gw_room_settle comes soon */
		return true;
	}
	while (h->held > h->max_held)
		if (!make_room(h, false, spared))
			return false;
	return true;
}

void gw_room_settle(struct gw_http *h)
{
	while (h->held > h->max_held && h->awake)
		gw_room_rest(h);
	(void)gw_room_fits(h, NULL);
}

void gw_room_enter(struct gw_conn *c)
{
	struct gw_http *h = c->http;

	if (++h->n_live <= h->conf.max_connections || make_room(h, true, c))
		return;
	h->n_evicted++;
	gw_conn_cut_with(c, NULL, 503,
		"The gateway has no room for another connection now. Ask again after Retry-After.");
}

void gw_room_leave(struct gw_conn *c)
{
	gw_room_keep(c, 0);
	c->http->n_live--;
}
