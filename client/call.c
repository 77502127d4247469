/* A call's life: placed on a link, or waiting for one; answered, refused, lost
 * with its link, out of time, or cancelled. Callbacks run only from the loop's
 * stages, and may start and cancel calls: nothing here holds on to a list's
 * neighbour across a callback.
 */
#include "client/parts.h"

#include <assert.h>
#include <string.h>
#include <utlist.h>

#include "net/block.h"

/* ---- lists ----------------------------------------------------------------- */

static struct client_call **list_of(struct client_engine *e, const struct client_call *call)
{
	return call->link ? &call->link->calls : &e->waiting;
}

static void enlist(struct client_engine *e, struct client_call *call, struct client_link *link)
{
	struct client_call **list;

	call->link = link;
	if (link)
		link->n_calls++;
	list = list_of(e, call);
	DL_APPEND(*list, call);
}

void client_call_unlist(struct client_engine *e, struct client_call *call)
{
	struct client_call **list = list_of(e, call);

	DL_DELETE(*list, call);
	if (call->link)
		call->link->n_calls--;
	call->link = NULL;
}

/* ---- the end --------------------------------------------------------------- */

static uint64_t bytes_of(const struct client_call *call)
{
	return (uint64_t)call->meta_size + call->data_size + (call->key ? call->key->size : 0) +
	       (call->topic ? call->topic->size : 0) + (call->callback ? call->callback->size : 0);
}

void client_call_discard(struct client_engine *e, struct client_call *call)
{
	base_heap_remove(&e->heap, &call->record.timed);
	e->bytes -= bytes_of(call);
	base_block_unref(&call->block);
	base_block_unref(&call->key);
	base_block_unref(&call->topic);
	base_block_unref(&call->callback);
	e->n_calls--;
	base_slab_give(&e->slab, call->record.slot);
}

static void finish(
	struct client_engine *e, struct client_call *call, const struct client_reply *reply)
{
	client_reply_fn *fn = call->fn;
	void *arg = call->arg;

	client_call_unlist(e, call);
	client_call_discard(e, call);
	fn(arg, reply);
}

void client_call_fail(
	struct client_engine *e, struct client_call *call, enum _Pirn__Reason reason)
{
	struct client_reply reply = { .reason = reason };

	/* It may have been stored: whatever happened last, that is what there is to say. */
	if (call->in_doubt && reason != PIRN__REASON__CANCELLED)
		reply.reason = PIRN__REASON__UNDECIDED;
	reply.status = client_reason_status(reply.reason);
	memcpy(reply.id, call->id, sizeof reply.id);
	if (call->batch)
		client_batch_fail(e, call, &reply);
	else
		finish(e, call, &reply);
}

/* ---- placing --------------------------------------------------------------- */

/* What its broker must know: an older one would pass over the new fields, and take a timer's slot or one event of a
 * batch for an event of its own. */
static uint32_t revision_for(const struct client_call *call)
{
	return call->slot_ms > 0 || call->topic || call->callback || call->batch ? 1 : 0;
}

static bool is_offered(const struct client_link *link, const struct client_call *call)
{
	return link && !net_link_draining(link->net) && !(call->refused_by & link->bit) &&
	       link->revision >= revision_for(call);
}

/* The one with the fewest calls of ours; ties in turn. Links outside among only when there is no other. */
static struct client_link *pick(
	struct client_engine *e, const struct client_call *call, uint64_t among)
{
	struct client_link *best = NULL;
	size_t n = net_links_up(e->links);
	bool best_in = false;

	for (size_t i = 0; i < n; i++) {
		struct client_link *link = net_link_user(net_links_at(e->links, (i + e->turn) % n));
		bool in;

		if (!is_offered(link, call))
			continue;
		in = (link->bit & among) != 0;
		if (best && (best_in > in || (best_in == in && best->n_calls <= link->n_calls)))
			continue;
		best = link;
		best_in = in;
	}
	e->turn++;
	return best;
}

static void fill_key(const struct client_call *call, Pirn__Item *item)
{
	if (!call->key || call->slot_ms > 0)
		return;
	item->has_hash = item->has_key = 1;
	item->hash.data = (uint8_t *)(uintptr_t)call->key->data;
	item->hash.len = CLIENT_HASH_SIZE;
	item->key.data = item->hash.data + CLIENT_HASH_SIZE;
	item->key.len = call->key->size - CLIENT_HASH_SIZE;
}

static void fill_topic(const struct client_call *call, Pirn__Item *item)
{
	char *text = (char *)call->topic->data;

	item->type = text;
	text += strlen(text) + 1;
	item->source = *text ? text : NULL;
	text += strlen(text) + 1;
	item->subject = *text ? text : NULL;
}

void client_call_fill(const struct client_engine *e, const struct client_call *call, uint64_t now,
	Pirn__Item *item)
{
	item->has_slot = item->has_generation = 1;
	item->slot = call->record.slot;
	item->generation = call->record.generation;
	item->has_id = 1;
	item->id.data = (uint8_t *)(uintptr_t)call->id;
	item->id.len = sizeof call->id;
	if (call->topic)
		fill_topic(call, item);
	else
		item->service = (char *)(uintptr_t)call->service;
	item->has_left_ms = 1;
	item->left_ms = call->deadline_at > now ? (uint32_t)(call->deadline_at - now) : 0;
	item->has_flags = call->idempotent;
	item->flags = call->idempotent ? PIRN__ITEM_FLAG__IDEMPOTENT : 0;
	item->has_trace = call->has_trace;
	item->trace.data = (uint8_t *)(uintptr_t)call->trace;
	item->trace.len = sizeof call->trace;
	fill_key(call, item);
	item->callback = call->callback ? (char *)(uintptr_t)call->callback->data : NULL;
	if (call->event)
		client_event_fill(e, call, now, item);
}

struct net_payload client_call_payload(const struct client_call *call)
{
	struct net_payload payload = {
		.meta_size = call->meta_size, .data_size = call->data_size, .block = call->block
	};

	if (call->block) {
		payload.meta = call->block->data;
		payload.data = call->block->data + call->meta_size;
	}
	return payload;
}

static enum base_err send_to(
	struct client_engine *e, struct client_call *call, struct client_link *link)
{
	Pirn__Item item = PIRN__ITEM__INIT;
	struct net_payload payload = client_call_payload(call);

	if (call->batch)
		return client_batch_send(e, call, link);
	client_call_fill(e, call, net_loop_now_ms(e->loop), &item);
	return net_link_item(link->net, PIRN__KIND__SUBMIT, &item, &payload);
}

enum base_err client_call_set_due(struct client_engine *e, struct client_call *call, uint64_t due)
{
	enum base_err err;

	if (call->record.timed.place && call->record.timed.due == due)
		return BASE_OK;
	base_heap_remove(&e->heap, &call->record.timed);
	err = base_heap_push(&e->heap, &call->record.timed, due);
	if (!err)
		client_engine_arm(e);
	return err;
}

/* How long a call that has no broker waits before it is looked at again. */
static uint64_t waiting_due(struct client_engine *e, struct client_call *call)
{
	uint64_t due = call->in_doubt ? client_event_retry_at(e, call) : call->wait_until;

	return due < call->deadline_at ? due : call->deadline_at;
}

/* Sends the call, or lets it wait. The call is in no list before; after an error still in none. */
enum base_err client_call_place(struct client_engine *e, struct client_call *call)
{
	uint64_t among = call->event ? client_table_takers(e, call->topic ? "" : call->service)
				     : client_table_links(e, call->service);
	bool in_time = call->deadline_at > net_loop_now_ms(e->loop); /* or its timer is behind us */
	struct client_link *link = NULL;
	enum base_err err = client_call_set_due(e, call, call->deadline_at);

	if (err)
		return err; /* before it has left: what has left cannot be refused any more */
	err = BASE_GONE;
	while (err == BASE_GONE && in_time && (link = pick(e, call, among))) {
		err = send_to(e, call, link);
		if (err == BASE_GONE)
			call->refused_by |= link->bit; /* it falls this very turn */
	}
	if (err && err != BASE_GONE)
		return err;
	enlist(e, call, err ? NULL : link);
	if (!err)
		return BASE_OK;
	err = client_call_set_due(e, call, waiting_due(e, call));
	assert(!err); /* it had a place */
	return BASE_OK;
}

void client_call_again(struct client_engine *e, struct client_call *call)
{
	client_call_unlist(e, call);
	if (!client_call_place(e, call))
		return;
	enlist(e, call, NULL);
	client_call_fail(e, call, PIRN__REASON__OVERLOADED);
}

static void send_cancel(const struct client_call *call)
{
	Pirn__Item item = PIRN__ITEM__INIT;

	/* An event stays: who asked for it hangs up, or it was heard of too late. */
	if (!call->link || call->event)
		return;
	item.has_slot = item.has_generation = item.has_id = 1;
	item.slot = call->record.slot;
	item.generation = call->record.generation;
	item.id.data = (uint8_t *)(uintptr_t)call->id;
	item.id.len = sizeof call->id;
	/* A link that cannot take it is about to fall, and then there is nothing to cancel. */
	(void)!net_link_item(call->link->net, PIRN__KIND__CANCEL, &item, NULL);
}

static void expire(struct client_engine *e, struct client_record *record)
{
	struct client_call *call = base_heap_of(record, struct client_call, record);
	enum _Pirn__Reason reason = PIRN__REASON__DEADLINE;

	if (call->event && client_event_overdue(e, call))
		return;
	if (call->deadline_at > net_loop_now_ms(e->loop))
		reason = call->reason ? call->reason : PIRN__REASON__NO_BROKER;
	send_cancel(call);
	client_call_fail(e, call, reason);
}

/* ---- the user's side ------------------------------------------------------- */

/* Its bytes and nothing else, in our order. */
static bool fits_block(const struct net_payload *p)
{
	return p->block && p->block->size == (uint64_t)p->meta_size + p->data_size &&
	       (p->meta_size == 0 || p->meta == p->block->data) &&
	       (p->data_size == 0 || p->data == p->block->data + p->meta_size);
}

static enum base_err keep_payload(
	struct client_engine *e, struct client_call *call, const struct net_payload *p)
{
	uint32_t size = p->meta_size + p->data_size;
	uint8_t small[NET_COPY_MAX];

	call->meta_size = p->meta_size;
	call->data_size = p->data_size;
	if (size == 0)
		return BASE_OK;
	if (fits_block(p)) {
		call->block = base_block_ref(p->block);
	} else if (size > NET_COPY_MAX) {
		call->block = net_block_new(p); /* sent, and kept, by reference */
	} else if (p->meta_size == 0 || p->data == p->meta + p->meta_size) {
		call->block = base_pool_copy(&e->pool, p->meta_size ? p->meta : p->data, size);
	} else {
		memcpy(small, p->meta, p->meta_size);
		if (p->data_size)
			memcpy(small + p->meta_size, p->data, p->data_size);
		call->block = base_pool_copy(&e->pool, small, size);
	}
	return call->block ? BASE_OK : BASE_NOMEM;
}

/* The three, each with its NUL. */
static enum base_err keep_topic(
	struct client_engine *e, struct client_call *call, const struct client_request *request)
{
	const char *const parts[] = { request->type, request->source, request->subject };
	char all[3 * (CLIENT_TOPIC_MAX + 1)], *end = all;

	if (request->service)
		return BASE_OK;
	for (size_t i = 0; i < 3; i++)
		end = stpcpy(end, parts[i] ? parts[i] : "") + 1;
	call->topic = base_pool_copy(&e->pool, all, (uint32_t)(end - all));
	return call->topic ? BASE_OK : BASE_NOMEM;
}

static enum base_err keep_callback(
	struct client_engine *e, struct client_call *call, const struct client_request *request)
{
	char text[CLIENT_CALLBACK_MAX + 1];

	if (request->callback_size == 0)
		return BASE_OK;
	memcpy(text, request->callback, request->callback_size);
	text[request->callback_size] = '\0';
	call->callback = base_pool_copy(&e->pool, text, (uint32_t)request->callback_size + 1);
	return call->callback ? BASE_OK : BASE_NOMEM;
}

static enum base_err keep_key(
	struct client_engine *e, struct client_call *call, const struct client_request *request)
{
	uint8_t both[CLIENT_HASH_SIZE + CLIENT_KEY_MAX];

	if (request->timer) {
		call->key = base_pool_copy(
			&e->pool, request->timer, (uint32_t)strlen(request->timer) + 1);
		return call->key ? BASE_OK : BASE_NOMEM;
	}
	if (request->key_size == 0)
		return BASE_OK;
	memcpy(both, request->hash, CLIENT_HASH_SIZE);
	memcpy(both + CLIENT_HASH_SIZE, request->key, request->key_size);
	call->key =
		base_pool_copy(&e->pool, both, (uint32_t)(CLIENT_HASH_SIZE + request->key_size));
	return call->key ? BASE_OK : BASE_NOMEM;
}

uint64_t client_call_wait_until(const struct client_engine *e)
{
	uint64_t now = net_loop_now_ms(e->loop);
	uint64_t back_at = e->left_at + (uint64_t)CLIENT_PATIENCE * e->conf.connect_wait_ms;
	uint64_t until = now + e->conf.connect_wait_ms;

	return e->left_at > 0 && back_at > until ? back_at : until;
}

static void fill_call(
	struct client_engine *e, struct client_call *call, const struct client_request *request)
{
	uint64_t now = net_loop_now_ms(e->loop);

	call->record.expire = expire;
	call->deadline_at = now + request->timeout_ms;
	call->wait_until = client_call_wait_until(e);
	call->idempotent = request->idempotent;
	call->has_trace = request->trace != NULL;
	if (request->trace)
		memcpy(call->trace, request->trace, sizeof call->trace);
	memcpy(call->id, request->id, sizeof call->id);
	if (request->service)
		strcpy(call->service, request->service);
	if (request->event)
		client_event_init(e, call, request);
}

static bool is_slot(const struct client_request *request)
{
	size_t size = strlen(request->timer);

	return request->event && size > 0 && size < CLIENT_SERVICE_MAX && request->key_size == 0 &&
	       request->slot_ms > request->previous_ms;
}

static bool is_part(const char *text)
{
	return !text || strnlen(text, CLIENT_TOPIC_MAX + 1) <= CLIENT_TOPIC_MAX;
}

/* For whom it is. */
static bool is_addressed(const struct client_request *request)
{
	size_t name = request->service ? strlen(request->service) : 0;

	if (request->service)
		return name > 0 && name < CLIENT_SERVICE_MAX && !request->type;
	return request->event && !request->timer && request->type && request->type[0] &&
	       is_part(request->type) && is_part(request->source) && is_part(request->subject);
}

enum base_err client_call_check(
	const struct client_engine *e, const struct client_request *request)
{
	const struct net_payload *p = &request->payload;
	uint64_t size = (uint64_t)p->meta_size + p->data_size;

	if (e->closing)
		return BASE_CANCELLED;
	if (!is_addressed(request))
		return BASE_INVALID;
	if (request->callback_size > CLIENT_CALLBACK_MAX || (request->callback_size > 0 && !request->event))
		return BASE_INVALID;
	if (request->key_size > CLIENT_KEY_MAX || (request->key_size > 0 && !request->hash))
		return BASE_INVALID;
	if (request->timer && !is_slot(request))
		return BASE_INVALID;
	if (size > NET_MAX_ITEM)
		return BASE_TOO_LARGE;
	if (e->n_calls >= e->conf.max_calls || e->bytes + size > e->conf.max_bytes)
		return BASE_FULL;
	return BASE_OK;
}

struct client_call *client_call_make(
	struct client_engine *e, const struct client_request *request, enum base_err *err)
{
	uint32_t slot, generation;
	struct client_call *call = base_slab_take(&e->slab, &slot, &generation);

	*err = BASE_NOMEM;
	if (!call)
		return NULL;
	call->record.slot = slot;
	call->record.generation = generation;
	fill_call(e, call, request);
	*err = keep_payload(e, call, &request->payload);
	if (!*err)
		*err = keep_key(e, call, request);
	if (!*err)
		*err = keep_topic(e, call, request);
	if (!*err)
		*err = keep_callback(e, call, request);
	e->bytes += bytes_of(call);
	e->n_calls++;
	if (!*err)
		return call;
	client_call_discard(e, call);
	return NULL;
}

enum base_err client_engine_call(struct client_engine *e, const struct client_request *request,
	client_reply_fn *fn, void *arg, uint64_t *handle)
{
	enum base_err err = client_call_check(e, request);
	struct client_call *call;

	if (err)
		return err;
	call = client_call_make(e, request, &err);
	if (!call)
		return err;
	call->fn = fn;
	call->arg = arg;
	err = client_call_place(e, call);
	if (err) {
		client_call_discard(e, call);
		return err;
	}
	if (!call->event)
		base_budget_earn(&e->resends);
	if (handle)
		*handle = (uint64_t)call->record.generation << 32 | call->record.slot;
	return BASE_OK;
}

static struct client_call *find_call(
	const struct client_engine *e, uint32_t slot, uint32_t generation)
{
	struct client_record *record = base_slab_get(&e->slab, slot, generation);

	return record && !record->is_query ? base_heap_of(record, struct client_call, record)
					   : NULL;
}

void client_engine_cancel(struct client_engine *e, uint64_t handle)
{
	struct client_call *call = find_call(e, (uint32_t)handle, (uint32_t)(handle >> 32));

	if (!call)
		return;
	send_cancel(call);
	client_call_unlist(e, call);
	client_call_discard(e, call);
}

/* ---- the brokers' side ----------------------------------------------------- */

static uint32_t sound_status(const Pirn__Item *item, enum _Pirn__Reason reason)
{
	if (reason == PIRN__REASON__TOO_LARGE && item->has_status)
		return item->status == 502 ? 502 : 413;
	if (reason == PIRN__REASON__UNSENT && item->status == 502)
		return 502;
	if (reason != PIRN__REASON__NONE)
		return client_reason_status(reason);
	return item->status;
}

/* UNTRUSTED: an answer without a status of HTTP's is no answer. */
static struct client_reply reply_of(const Pirn__Item *item, bool refused)
{
	struct client_reply reply = { .reason = (enum _Pirn__Reason)item->reason,
		.retry_after_ms = item->retry_after_ms,
		.attempts = item->attempt };

	if (reply.reason == PIRN__REASON__NONE && refused)
		reply.reason = PIRN__REASON__OVERLOADED;
	if (reply.reason == PIRN__REASON__NONE && (item->status < 100 || item->status > 599))
		reply.reason = PIRN__REASON__CRASHED;
	reply.status = sound_status(item, reply.reason);
	return reply;
}

bool client_call_has_other(struct client_engine *e, const struct client_call *call)
{
	for (size_t i = 0; i < net_links_up(e->links); i++)
		if (is_offered(net_link_user(net_links_at(e->links, i)), call))
			return true;
	return false;
}

/* Another broker may have what this one lacks; one that has just started lacks everything. One that
 * drains comes back, or another comes. */
static bool try_elsewhere(
	struct client_engine *e, struct client_call *call, enum _Pirn__Reason reason)
{
	bool lacks = reason == PIRN__REASON__NO_WORKER || reason == PIRN__REASON__UNKNOWN_SERVICE;

	if (!lacks && reason != PIRN__REASON__DRAINING)
		return false;
	if (!lacks)
		e->left_at = net_loop_now_ms(e->loop);
	call->refused_by |= call->link->bit;
	/* Who knows the service knows better: 503 rather than 404. */
	if (reason != PIRN__REASON__UNKNOWN_SERVICE || call->reason != PIRN__REASON__NO_WORKER)
		call->reason = reason;
	if (lacks && !client_call_has_other(e, call))
		return false;
	if (call->deadline_at <= net_loop_now_ms(e->loop))
		return false;
	call->wait_until = client_call_wait_until(e);
	client_call_again(e, call);
	return true;
}

/* A key's first request may be this one, when it was sent twice: that is no replay then. */
static void note_first(
	struct client_reply *reply, const struct client_call *call, const Pirn__Item *item)
{
	const uint8_t *first = item->has_id ? item->id.data : NULL;

	reply->replayed = (item->flags & PIRN__ITEM_FLAG__REPLAYED) != 0 &&
			  !(first && memcmp(first, call->id, sizeof call->id) == 0);
	memcpy(reply->id, reply->replayed && first ? first : call->id, sizeof reply->id);
}

static void answer(struct client_engine *e, struct client_call *call, const Pirn__Item *item,
	const struct net_payload *payload, bool refused)
{
	struct client_reply reply = reply_of(item, refused);

	if (refused && try_elsewhere(e, call, reply.reason))
		return;
	if (refused && reply.reason == PIRN__REASON__UNKNOWN_SERVICE &&
		call->reason != reply.reason) {
		reply.reason = call->reason;
		reply.status = client_reason_status(reply.reason);
	}
	note_first(&reply, call, item);
	reply.payload = *payload;
	finish(e, call, &reply);
}

static void note_last(struct client_reply *reply, const Pirn__Item *item)
{
	reply->slot_ms = item->slot_ms;
	reply->has_running = item->has_id;
	if (item->has_id)
		memcpy(reply->id, item->id.data, sizeof reply->id);
}

/* ACCEPTED is the one way to have taken an event; what else a broker says of it is a refusal. */
struct client_reply client_call_reply(
	const struct client_call *call, const Pirn__Item *item, bool accepted)
{
	struct client_reply reply = { .status = 202 };

	if (!accepted)
		reply = reply_of(item, true);
	note_first(&reply, call, item);
	return reply;
}

static void decide(
	struct client_engine *e, struct client_call *call, const Pirn__Item *item, bool accepted)
{
	struct client_reply reply = client_call_reply(call, item, accepted);

	if (!accepted) {
		if (client_event_refused(e, call, reply.reason))
			return;
		if (call->in_doubt && !client_event_is_settled_by(reply.reason))
			reply.reason = PIRN__REASON__UNDECIDED;
		else if (reply.reason == PIRN__REASON__UNKNOWN_SERVICE)
			reply.reason = call->reason;
		reply.status = client_reason_status(reply.reason);
	}
	if (reply.reason == PIRN__REASON__SLOT)
		note_last(&reply, item);
	finish(e, call, &reply);
}

void client_call_message(struct client_engine *e, struct client_link *link,
	const struct net_frame *f, struct base_block *block)
{
	uint32_t kind = f->head->kind;
	size_t offset = 0;

	for (size_t i = 0; i < f->head->n_items; i++) {
		const Pirn__Item *item = f->head->items[i];
		struct net_payload payload = net_frame_payload(f, item, &offset);
		struct client_record *record =
			base_slab_get(&e->slab, item->slot, item->generation);
		struct client_call *call;

		payload.block = block;
		if (!record)
			continue; /* cancelled, or out of time: the answer crossed our CANCEL */
		if (record->is_query) {
			client_query_done(e, link, record);
			continue;
		}
		call = base_heap_of(record, struct client_call, record);
		if ((call->batch ? client_batch_link(call) : call->link) != link)
			continue;
		if (call->batch)
			client_batch_heard(e, call, item, kind == PIRN__KIND__ACCEPTED);
		else if (call->event)
			decide(e, call, item, kind == PIRN__KIND__ACCEPTED);
		else if (kind != PIRN__KIND__ACCEPTED)
			answer(e, call, item, &payload, kind == PIRN__KIND__REFUSED);
	}
}

/* A key is claimed before its call runs: the second one waits its turn, or gets the first one's answer. */
static bool may_resend(struct client_engine *e, const struct client_call *call)
{
	if (call->event)
		return true;
	if (!(call->idempotent || call->key) || call->n_resends == CLIENT_MAX_RESENDS)
		return false;
	return base_budget_spend(&e->resends);
}

void client_call_link_down(struct client_engine *e, struct client_link *link)
{
	while (link->calls) {
		struct client_call *call = link->calls;

		if (!may_resend(e, call)) {
			client_call_fail(e, call, PIRN__REASON__WORKER_LOST);
			continue;
		}
		call->n_resends++;
		call->in_doubt = call->event;
		call->wait_until = client_call_wait_until(e);
		client_call_again(e, call);
	}
}

void client_call_retry_waiting(struct client_engine *e)
{
	struct client_call *call;
	size_t n = 0;

	DL_COUNT(e->waiting, call, n);
	while (n-- > 0 && e->waiting)
		client_call_again(e, e->waiting); /* what waits on goes to the end */
}

void client_call_cancel_all(struct client_engine *e)
{
	while (e->waiting)
		client_call_fail(e, e->waiting, PIRN__REASON__CANCELLED);
	for (unsigned i = 0; i < CLIENT_MAX_LINKS; i++)
		while (e->by_bit[i] && e->by_bit[i]->calls)
			client_call_fail(e, e->by_bit[i]->calls, PIRN__REASON__CANCELLED);
}
