#include "gateway/feed.h"

#include <stdlib.h>

#include "base/backoff.h"
#include "base/clock.h"

#include <utlist.h>

#define DECIDE_MS 10000u /* how long one attempt may take */
#define BASE_MS   100u
#define MOST_MS   5000u
#define HASH_SIZE 16

struct gw_feed {
	struct gw *gw;
	const char *service;
	gw_feed_fn *fn;
	void *arg;
	uv_timer_t *timer;
	uint64_t armed;    /* UINT64_MAX: not */
	uint64_t retry_at; /* when the first of those is due that wait for another try; UINT64_MAX: none */
	struct gw_feed_item *items;
	struct gw_feed_item *unsaid; /* the first that was not submitted yet: all behind it were not either */
	size_t n, bytes;
};

static void submit(struct gw_feed_item *item);

/* ---- time -------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

static void arm(struct gw_feed *f, uint64_t due)
{
	uint64_t now = base_clock_ms();

	if (due >= f->armed) /* also: never */
		return;
	f->armed = due;
	(void)uv_timer_start(f->timer, on_timer, due > now ? due - now : 0, 0);
}

/* Not the whole list each time something new comes. */
static void submit_new(struct gw_feed *f)
{
	struct gw_feed_item *item;

	while ((item = f->unsaid)) {
		f->unsaid = item->next;
		submit(item);
	}
}

static void submit_again(struct gw_feed *f, uint64_t now)
{
	struct gw_feed_item *item, *next;

	if (now < f->retry_at)
		return;
	f->retry_at = UINT64_MAX;
	DL_FOREACH_SAFE (f->items, item, next) {
		if (item->calls || item->tries == 0)
			continue;
		if (item->due <= now)
			submit(item);
		else if (item->due < f->retry_at)
			f->retry_at = item->due;
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct gw_feed *f = timer->data;

	f->armed = UINT64_MAX;
	submit_new(f);
	submit_again(f, base_clock_ms());
	arm(f, f->retry_at);
}

/* ---- one item ------------------------------------------------------------------------------ */

static void drop(struct gw_feed_item *item)
{
	struct gw_feed *f = item->feed;

	if (f->unsaid == item)
		f->unsaid = item->next;
	DL_DELETE(f->items, item);
	f->n--;
	f->bytes -= item->meta_size + item->data_size;
	free(item);
}

static void end_item(struct gw_feed_item *item, enum gw_feed_end end)
{
	struct gw_feed *f = item->feed;

	f->fn(f->arg, item, end);
	drop(item);
}

static void try_again(struct gw_feed_item *item, uint64_t at_least_ms)
{
	struct gw_feed *f = item->feed;
	uint64_t now = base_clock_ms();

	item->due = now + base_backoff_ms(&f->gw->rand, BASE_MS, MOST_MS, ++item->tries);
	if (item->due < now + at_least_ms)
		item->due = now + (at_least_ms < MOST_MS ? at_least_ms : MOST_MS);
	if (item->due < f->retry_at)
		f->retry_at = item->due;
	arm(f, item->due);
}

static bool is_for_ever(enum _Pirn__Reason reason)
{
	return reason == PIRN__REASON__TOO_LARGE || reason == PIRN__REASON__MALFORMED ||
	       reason == PIRN__REASON__KEY_BODY;
}

static void on_reply(void *arg, const struct client_reply *reply)
{
	struct gw_feed_item *item = arg;

	item->calls = false;
	if (reply->reason == PIRN__REASON__NONE) {
		end_item(item, GW_FEED_ACCEPTED);
	} else if (is_for_ever(reply->reason)) {
		item->why = client_reason_text(reply->reason);
		end_item(item, GW_FEED_REFUSED);
	} else if (reply->reason == PIRN__REASON__UNDECIDED && !item->keyed) {
		end_item(item, GW_FEED_UNKNOWN);
	} else {
		try_again(item, reply->retry_after_ms);
	}
}

static void submit(struct gw_feed_item *item)
{
	static const uint8_t no_hash[HASH_SIZE] = { 0 };
	struct gw_feed *f = item->feed;
	uint8_t trace[GW_TRACE_SIZE] = { 0 };
	struct client_request request = { .service = f->service,
		.trace = trace,
		.timeout_ms = DECIDE_MS,
		.event = true,
		.payload = { .meta = item->payload,
			.meta_size = item->meta_size,
			.data = item->payload + item->meta_size,
			.data_size = item->data_size } };
	enum base_err err;

	if (item->fresh_until && base_clock_ms() >= item->fresh_until) {
		end_item(item, GW_FEED_STALE);
		return;
	}
	gw_trace_start(&f->gw->rand, trace);
	memcpy(request.id, item->id, sizeof request.id);
	if (item->keyed) {
		request.key = item->key;
		request.key_size = sizeof item->key;
		request.hash = no_hash;
		request.key_ttl_ms = f->gw->event_dedupe_ms;
	}
	err = client_engine_call(f->gw->engine, &request, on_reply, item, &item->handle);
	item->calls = !err;
	if (err == BASE_TOO_LARGE) {
		item->why = client_reason_text(PIRN__REASON__TOO_LARGE);
		end_item(item, GW_FEED_REFUSED);
	} else if (err) {
		try_again(item, 0);
	}
}

enum base_err gw_feed_put(struct gw_feed *f, const struct gw_feed_put *put)
{
	size_t size = put->meta->size + put->data->size;
	struct gw_feed_item *item;

	if (base_buf_check(put->meta) || base_buf_check(put->data))
		return BASE_NOMEM;
	item = calloc(1, sizeof *item + size);
	if (!item)
		return BASE_NOMEM;
	item->feed = f;
	item->user = put->user;
	item->fresh_until = put->fresh_until;
	(void)stpncpy(item->name, put->name, sizeof item->name - 1);
	memcpy(item->id, put->id, sizeof item->id);
	item->keyed = put->key != NULL;
	if (put->key)
		memcpy(item->key, put->key, sizeof item->key);
	item->meta_size = (uint32_t)put->meta->size;
	item->data_size = (uint32_t)put->data->size;
	memcpy(item->payload, put->meta->data, put->meta->size);
	memcpy(item->payload + put->meta->size, put->data->data, put->data->size);
	DL_APPEND(f->items, item);
	if (!f->unsaid)
		f->unsaid = item;
	f->n++;
	f->bytes += size;
	arm(f, 0); /* the callback must not come from within */
	return BASE_OK;
}

size_t gw_feed_count(const struct gw_feed *f)
{
	return f->n;
}

size_t gw_feed_bytes(const struct gw_feed *f)
{
	return f->bytes;
}

size_t gw_feed_untried(const struct gw_feed *f)
{
	const struct gw_feed_item *item;
	size_t n = 0;

	DL_FOREACH (f->items, item)
		n += item->tries == 0;
	return n;
}

/* ---- birth and death ------------------------------------------------------------------------- */

struct gw_feed *gw_feed_new(struct gw *gw, const char *service, gw_feed_fn *fn, void *arg)
{
	struct gw_feed *f = calloc(1, sizeof *f);

	if (!f)
		return NULL;
	f->timer = calloc(1, sizeof *f->timer);
	if (!f->timer || uv_timer_init(net_loop_uv(gw->loop), f->timer)) {
		free(f->timer);
		free(f);
		return NULL;
	}
	f->timer->data = f;
	f->gw = gw;
	f->service = service;
	f->fn = fn;
	f->arg = arg;
	f->armed = f->retry_at = UINT64_MAX;
	return f;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

void gw_feed_free(struct gw_feed **fp)
{
	struct gw_feed *f = *fp;
	struct gw_feed_item *item, *next;

	if (!f)
		return;
	DL_FOREACH_SAFE (f->items, item, next) {
		if (item->calls)
			client_engine_cancel(f->gw->engine, item->handle);
		drop(item);
	}
	uv_close((uv_handle_t *)f->timer, on_closed);
	free(f);
	*fp = NULL;
}
