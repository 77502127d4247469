/* Records: what is kept of each request from its head until its answer is sent. One that is
 * done goes to a free list with the memory that it got, so that a busy gateway allocates
 * nothing for a request.
 */
#include <assert.h>
#include <stdlib.h>

#include "gateway/http_parts.h"

#define KEPT_BYTES   (64u * 1024) /* a record whose body grew beyond this gives its memory back */
#define KEPT_MORE    (4u * 1024)  /* the same for its head, and its answer */
#define KEPT_HEADERS 64u
#define KEPT_RECORDS 256u

static struct gw_record *take_record(struct gw_http *h)
{
	struct gw_record *r = h->free_records;

	if (r) {
		h->free_records = r->next;
		h->n_free_records--;
		return r;
	}
	r = calloc(1, sizeof *r + h->conf.user_bytes);
	if (!r)
		return NULL;
	base_buf_init(&r->pub.payload);
	base_buf_init(&r->head);
	base_buf_init(&r->out);
	return r;
}

static void reset_buf(struct base_buf *b, size_t kept)
{
	if (b->capacity > kept) {
		base_buf_fini(b);
		base_buf_init(b);
	}
	base_buf_reset(b);
}

void gw_record_drop(struct gw_record *r)
{
	reset_buf(&r->pub.payload, KEPT_BYTES);
	gw_room_set(r->conn, GW_HOLD_BODY, 0);
}

/* Zeroes everything but the memory that is kept. */
static void reset_record(struct gw_record *r, size_t user_bytes)
{
	struct gw_record kept = *r;

	reset_buf(&kept.pub.payload, KEPT_BYTES);
	reset_buf(&kept.head, KEPT_MORE);
	reset_buf(&kept.out, KEPT_MORE);
	if (kept.headers_room > KEPT_HEADERS) {
		free(kept.headers);
		kept.headers = NULL;
		kept.headers_room = 0;
	}
	memset(r, 0, sizeof *r + user_bytes);
	r->pub.payload = kept.pub.payload;
	r->head = kept.head;
	r->out = kept.out;
	r->headers = kept.headers;
	r->headers_room = kept.headers_room;
}

static void link_record(struct gw_record *r)
{
	struct gw_http *h = r->pub.http;

	r->prev = NULL;
	r->next = h->records;
	if (h->records)
		h->records->prev = r;
	h->records = r;
	h->n_requests++;
}

static void free_record(struct gw_record *r)
{
	base_buf_fini(&r->pub.payload);
	base_buf_fini(&r->head);
	base_buf_fini(&r->out);
	free(r->headers);
	free(r);
}

/* Ten thousand that were slow at once shall not be remembered for ever. */
static void free_list_add(struct gw_http *h, struct gw_record *r)
{
	if (h->n_free_records == KEPT_RECORDS) {
		free_record(r);
		return;
	}
	h->n_free_records++;
	r->next = h->free_records;
	h->free_records = r;
}

struct gw_record *gw_record_open(struct gw_conn *c, struct gw_slice head)
{
	struct gw_http *h = c->http;
	struct gw_record *r = take_record(h);

	if (!r)
		return NULL;
	base_buf_add(&r->head, head.data, head.size);
	if (base_buf_check(&r->head) != BASE_OK) {
		reset_record(r, h->conf.user_bytes);
		free_list_add(h, r);
		return NULL;
	}
	r->pub.http = h;
	r->pub.method = r->pub.target = r->body = GW_SLICE("");
	r->pub.peer = c->addr;
	r->pub.peer_text = c->addr_text;
	r->pub.max_body = h->conf.max_body;
	r->pub.user = r->user;
	r->pub.started_us = net_loop_now_us(h->loop);
	r->conn = c;
	c->record = r;
	link_record(r);
	return r;
}

void gw_record_close(struct gw_record *r)
{
	struct gw_http *h = r->pub.http;

	h->events.on_done(h->events.arg, &r->pub);
	gw_room_set(r->conn, GW_HOLD_HEAD, 0);
	gw_room_set(r->conn, GW_HOLD_BODY, 0);
	gw_room_set(r->conn, GW_HOLD_ANSWER, 0);
	r->conn->record = NULL;
	*(r->prev ? &r->prev->next : &h->records) = r->next;
	if (r->next)
		r->next->prev = r->prev;
	h->n_requests--;
	base_block_unref(&r->block);
	reset_record(r, h->conf.user_bytes);
	free_list_add(h, r);
}

void gw_record_fini(struct gw_http *h)
{
	struct gw_record *r;

	assert(!h->records);
	while ((r = h->free_records)) {
		h->free_records = r->next;
		free_record(r);
	}
}
