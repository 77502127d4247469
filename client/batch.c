/* Events with one fate. They go into one message, each with the word TOGETHER but
 * the last, and a broker takes all of them or none. So there is one decision to
 * wait for, and one call in the engine's lists: the first; it stands for the others
 * wherever it is a matter of links and time. An answer comes for each.
 *
 * When the answers are mixed, or a link falls before all have come, those that are
 * open go out again, with the numbers that they had: what was stored is known by them.
 */
#include "client/parts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES \
	168 /* of an item's head, beside its key and topic: lengths and numbers at their largest */
#define FRAME_BYTES 64 /* of a message's */

static struct client_call *first_of(const struct client_call *any)
{
	return any->batch->calls[0];
}

struct client_link *client_batch_link(const struct client_call *any)
{
	return first_of(any)->link;
}

/* ---- sending --------------------------------------------------------------- */

static size_t length(const char *text)
{
	return text ? strlen(text) : 0;
}

bool client_batch_fits(const struct client_request *requests, size_t n)
{
	uint64_t heads = FRAME_BYTES, bodies = 0;

	for (size_t i = 0; i < n; i++) {
		const struct client_request *r = &requests[i];

		heads += HEAD_BYTES + r->key_size + length(r->service) + length(r->type) +
			 length(r->source) + length(r->subject) + r->callback_size;
		bodies += (uint64_t)r->payload.meta_size + r->payload.data_size;
	}
	return n <= NET_MAX_ITEMS && heads <= NET_MAX_HEAD && bodies <= NET_MAX_BODY;
}

/* Those that have no answer. */
enum base_err client_batch_send(
	struct client_engine *e, const struct client_call *call, struct client_link *link)
{
	const struct client_batch *batch = call->batch;
	Pirn__Item *items = malloc(batch->n * sizeof *items);
	struct net_payload *payloads = malloc(batch->n * sizeof *payloads);
	uint64_t now = net_loop_now_ms(e->loop);
	enum base_err err = BASE_NOMEM;
	size_t n = 0;

	for (size_t i = 0; items && payloads && i < batch->n; i++) {
		if (!batch->open[i])
			continue;
		pirn__item__init(&items[n]);
		client_call_fill(e, batch->calls[i], now, &items[n]);
		items[n].left_ms =
			call->deadline_at > now ? (uint32_t)(call->deadline_at - now) : 0;
		items[n].flags |= PIRN__ITEM_FLAG__TOGETHER;
		payloads[n++] = client_call_payload(batch->calls[i]);
	}
	if (items && payloads) {
		items[n - 1].flags &= ~(uint32_t)PIRN__ITEM_FLAG__TOGETHER;
		err = net_link_run(link->net, PIRN__KIND__SUBMIT, items, payloads, n);
	}
	free(items);
	free(payloads);
	return err;
}

/* ---- the end --------------------------------------------------------------- */

static void free_batch(struct client_batch *batch)
{
	if (!batch)
		return;
	free(batch->replies);
	free(batch->calls);
	free(batch->open);
	free(batch);
}

static void finish(struct client_engine *e, struct client_batch *batch)
{
	client_call_unlist(e, batch->calls[0]);
	for (size_t i = 0; i < batch->n; i++)
		client_call_discard(e, batch->calls[i]);
	batch->fn(batch->arg, batch->replies, batch->n);
	free_batch(batch);
}

void client_batch_fail(
	struct client_engine *e, struct client_call *call, const struct client_reply *reply)
{
	struct client_batch *batch = call->batch;

	for (size_t i = 0; i < batch->n; i++) {
		if (!batch->open[i])
			continue;
		batch->replies[i] = *reply;
		memcpy(batch->replies[i].id, batch->calls[i]->id, sizeof reply->id);
	}
	finish(e, batch);
}

/* Why it was not taken; the first that was said, NONE: all were. */
static enum _Pirn__Reason refusal_of(const struct client_batch *batch)
{
	for (size_t i = 0; i < batch->n; i++)
		if (batch->replies[i].reason != PIRN__REASON__NONE)
			return batch->replies[i].reason;
	return PIRN__REASON__NONE;
}

static void reopen(struct client_batch *batch)
{
	for (size_t i = 0; i < batch->n; i++) {
		batch->open[i] = batch->replies[i].reason != PIRN__REASON__NONE;
		batch->n_open += batch->open[i];
	}
}

/* All have an answer. As a single event's: call.c, decide. */
static void decide(struct client_engine *e, struct client_batch *batch)
{
	struct client_call *call = batch->calls[0];
	enum _Pirn__Reason reason = refusal_of(batch);

	if (reason == PIRN__REASON__NONE) {
		finish(e, batch);
		return;
	}
	reopen(batch);
	if (client_event_refused(e, call, reason))
		return;
	for (size_t i = 0; i < batch->n; i++) {
		struct client_reply *reply = &batch->replies[i];

		if (reply->reason != PIRN__REASON__NONE && call->in_doubt &&
			!client_event_is_settled_by(reply->reason))
			reply->reason = PIRN__REASON__UNDECIDED;
		else if (reply->reason == PIRN__REASON__UNKNOWN_SERVICE)
			reply->reason = call->reason;
		if (reply->reason != PIRN__REASON__NONE)
			reply->status = client_reason_status(reply->reason);
	}
	finish(e, batch);
}

void client_batch_heard(
	struct client_engine *e, struct client_call *any, const Pirn__Item *item, bool accepted)
{
	struct client_batch *batch = any->batch;
	size_t i = any->place;

	if (!batch->open[i])
		return; /* UNTRUSTED: said twice */
	batch->replies[i] = client_call_reply(any, item, accepted);
	batch->open[i] = false;
	if (--batch->n_open == 0)
		decide(e, batch);
}

/* ---- the beginning --------------------------------------------------------- */

static struct client_batch *new_batch(size_t n, client_batch_fn *fn, void *arg)
{
	struct client_batch *batch = calloc(1, sizeof *batch);

	if (!batch)
		return NULL;
	batch->fn = fn;
	batch->arg = arg;
	batch->replies = calloc(n, sizeof *batch->replies);
	batch->calls = calloc(n, sizeof(struct client_call *));
	batch->open = calloc(n, sizeof *batch->open);
	if (batch->replies && batch->calls && batch->open)
		return batch;
	free_batch(batch);
	return NULL;
}

static enum base_err fill(struct client_engine *e, struct client_batch *batch,
	const struct client_request *requests, size_t n)
{
	enum base_err err = BASE_OK;

	for (size_t i = 0; !err && i < n; i++) {
		struct client_call *call;

		err = client_call_check(e, &requests[i]);
		if (!err && (!requests[i].event || requests[i].timer))
			err = BASE_INVALID;
		call = err ? NULL : client_call_make(e, &requests[i], &err);
		if (!call)
			return err;
		call->batch = batch;
		call->place = (uint32_t)i;
		batch->open[i] = true;
		batch->calls[batch->n++] = call;
	}
	batch->n_open = n;
	return err;
}

enum base_err client_engine_batch(struct client_engine *e, const struct client_request *requests,
	size_t n, client_batch_fn *fn, void *arg)
{
	struct client_batch *batch;
	enum base_err err;

	assert(n > 0);
	if (!client_batch_fits(requests, n))
		return BASE_TOO_LARGE;
	batch = new_batch(n, fn, arg);
	if (!batch)
		return BASE_NOMEM;
	err = fill(e, batch, requests, n);
	if (!err)
		err = client_call_place(e, batch->calls[0]);
	if (!err)
		return BASE_OK;
	for (size_t i = 0; i < batch->n; i++)
		client_call_discard(e, batch->calls[i]);
	free_batch(batch);
	return err;
}
