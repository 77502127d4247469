/* What is different for events. They are numbered in the engine's lane, and go to
 * any broker with the same lane and number as often as it takes: the number's bit
 * in Redis tells a resubmission from a new event, so that a link that falls, or a
 * broker that lost its journals, costs time and nothing else.
 *
 * From the moment that an event has left and its answer was lost it is in doubt:
 * it may be stored, whatever another broker says of it since. Such an event ends
 * with ACCEPTED or as UNDECIDED, never with a refusal, which would invite the
 * sender to send it anew under another number. Two refusals settle it. KEY_BODY: its
 * key stands for another event, so it cannot have been stored. SLOT: the timer's chain
 * is elsewhere, and to send its slot anew is always safe.
 */
#include "client/parts.h"

#define DECIDE_MS 60000
#define WAIT_MS   100  /* the first pause when there is no broker to go to, doubled … */
#define MAX_WAIT  2000 /* … up to here */
#define LATE_MS   200  /* a timer that fires later than that: we did not run */
#define PAUSE_MS  2500 /* nor did we when there was no turn for so long: there are beats */
#define EXCUSE_MS 2000 /* to read what has arrived, and to resubmit what has not */

void client_event_init(
	struct client_engine *e, struct client_call *call, const struct client_request *request)
{
	uint64_t now = net_loop_now_ms(e->loop);
	uint32_t timeout_ms = request->timeout_ms;

	if (timeout_ms == 0 || timeout_ms > DECIDE_MS)
		timeout_ms = DECIDE_MS;
	call->event = true;
	call->want_result = request->want_result;
	call->ack_memory = request->ack_memory;
	call->number = ++e->last_number;
	call->deadline_at = now + timeout_ms;
	call->not_before_ms = request->not_before_ms;
	call->key_ttl_ms = request->key_ttl_ms;
	if (request->timer) {
		call->previous_ms = request->previous_ms;
		call->slot_ms = request->slot_ms;
		call->skip = request->skip;
	}
	if (request->delay_ms > 0)
		call->delay_until_at = now + request->delay_ms;
}

static void fill_timer(const struct client_call *call, Pirn__Item *item)
{
	item->timer = (char *)call->key->data;
	item->has_previous_ms = item->has_slot_ms = 1;
	item->previous_ms = call->previous_ms;
	item->slot_ms = call->slot_ms;
	item->flags |= call->skip ? PIRN__ITEM_FLAG__SKIP_SLOT : 0;
}

/* The delay began with the first submission. */
void client_event_fill(const struct client_engine *e, const struct client_call *call, uint64_t now,
	Pirn__Item *item)
{
	item->has_flags = 1;
	item->flags |= PIRN__ITEM_FLAG__EVENT;
	item->flags |= call->want_result ? PIRN__ITEM_FLAG__WANT_RESULT : 0;
	item->flags |= call->ack_memory ? PIRN__ITEM_FLAG__ACK_MEMORY : 0;
	item->has_lane = item->has_number = 1;
	item->lane = e->lane;
	item->number = call->number;
	item->has_delay_ms = call->delay_until_at > now;
	item->delay_ms = call->delay_until_at > now ? call->delay_until_at - now : 0;
	item->has_not_before_ms = call->not_before_ms > 0;
	item->not_before_ms = call->not_before_ms;
	item->has_key_ttl_ms = call->key_ttl_ms > 0;
	item->key_ttl_ms = call->key_ttl_ms;
	if (call->slot_ms > 0)
		fill_timer(call, item);
}

/* Half of it is chance: what waits for the same broker must not come back as one. */
uint64_t client_event_retry_at(struct client_engine *e, struct client_call *call)
{
	uint64_t pause = MAX_WAIT;

	if (call->n_waits < 5 && (uint64_t)WAIT_MS << call->n_waits < MAX_WAIT)
		pause = (uint64_t)WAIT_MS << call->n_waits;
	call->n_waits++;
	return net_loop_now_ms(e->loop) + pause / 2 + base_rand_below(&e->rand, pause / 2 + 1);
}

bool client_event_is_settled_by(enum _Pirn__Reason reason)
{
	return reason == PIRN__REASON__KEY_BODY || reason == PIRN__REASON__SLOT;
}

/* Another broker may have what this one lacks. */
static bool is_lack(enum _Pirn__Reason reason)
{
	return reason == PIRN__REASON__NOT_DURABLE || reason == PIRN__REASON__UNKNOWN_SERVICE ||
	       reason == PIRN__REASON__NO_WORKER || reason == PIRN__REASON__NO_SUBSCRIBER;
}

bool client_event_refused(
	struct client_engine *e, struct client_call *call, enum _Pirn__Reason reason)
{
	uint64_t now = net_loop_now_ms(e->loop);
	bool goes_on;

	if (client_event_is_settled_by(reason))
		return false;
	if (reason == PIRN__REASON__MOVED || reason == PIRN__REASON__UNDECIDED)
		call->in_doubt = true;
	/* Who knows the service knows better: 503 rather than 404. */
	if (reason != PIRN__REASON__UNKNOWN_SERVICE || !is_lack(call->reason))
		call->reason = reason;
	call->refused_by |= call->link->bit;
	goes_on = call->in_doubt || reason == PIRN__REASON__DRAINING ||
		  (is_lack(reason) && client_call_has_other(e, call));
	if (!goes_on || call->deadline_at <= now)
		return false;
	call->wait_until = client_call_wait_until(e);
	client_call_again(e, call);
	return true;
}

/* We were late, and its time ran out meanwhile: what came for it may still lie unread in a socket, or its link
 * has fallen by our silence. Once. */
static bool excuse(struct client_engine *e, struct client_call *call, uint64_t now)
{
	if (call->excused || e->excused_until <= now)
		return false;
	call->excused = true;
	call->deadline_at = e->excused_until;
	return true;
}

bool client_event_overdue(struct client_engine *e, struct client_call *call)
{
	uint64_t now = net_loop_now_ms(e->loop);

	if (!call->link && !call->in_doubt)
		return false;
	if (call->deadline_at <= now && !excuse(e, call, now)) {
		call->in_doubt = true; /* it left, and no answer came */
		return false;
	}
	if (call->link)
		return client_call_set_due(e, call, call->deadline_at) == BASE_OK;
	call->refused_by = 0; /* the pause is over: all of them again */
	client_call_again(e, call);
	return true;
}

void client_event_late(struct client_engine *e, uint64_t now)
{
	bool timer = e->timer_at != UINT64_MAX && now > e->timer_at + LATE_MS;
	bool pause = e->turn_at > 0 && now > e->turn_at + PAUSE_MS && net_links_up(e->links) > 0;

	if (timer || pause)
		e->excused_until = now + EXCUSE_MS;
	e->turn_at = now;
}
