/* Requests: read from a connection, one after the other. Nothing is read from it while its
 * request is being answered, so that a client that sends on fills its own buffers, and what came
 * with a request waits here until its turn (at most GW_READ_BYTES).
 */
#include <errno.h>
#include <sys/socket.h>

#include "gateway/http_parts.h"

#define READS_MOST    16u /* of one connection in a turn: then others have theirs */
#define REQUESTS_MOST 64u
#define DISCARD_BYTES (64u * 1024) /* of a body whose head was refused, to keep the connection */
#define WHOLE_BYTES   (64u * 1024) /* a body up to this gets its room at once */
#define BEHIND_BYTES  (GW_READ_BYTES / 8) /* are read behind what was kept */

/* ---- a request's life ---------------------------------------------------------------- */

static void refuse_large(struct gw_record *r)
{
	r->close = true;
	gw_http_refuse(&r->pub, 413,
		"The request's body is larger than this gateway or the service takes.");
}

/* It is answered, or somebody works on that. */
static void finish(struct gw_record *r)
{
	struct gw_http *h = r->pub.http;
	struct gw_conn *c = r->conn;

	r->whole = true;
	gw_conn_stage(c, GW_STAGE_WAIT);
	if (!r->answered)
		h->events.on_request(h->events.arg, &r->pub);
	if (r->answered)
		(void)gw_answer_send(r);
}

/* Before the whole body was there; what is still to come of it ends with the connection. */
static void end_early(struct gw_record *r)
{
	r->close = true;
	gw_conn_stage(r->conn, GW_STAGE_WAIT);
	(void)gw_answer_send(r);
}

/* To read a body only to throw it away is worth a connection, if it is small and on its way. */
static bool is_worth_reading(const struct gw_record *r)
{
	return !r->chunked && r->content_length <= DISCARD_BYTES && !r->pub.known[GW_HEADER_EXPECT];
}

static void ask_head(struct gw_record *r)
{
	struct gw_http *h = r->pub.http;
	bool close = r->close;

	r->close = close || !is_worth_reading(r); /* an answer that comes now says so */
	h->events.on_head(h->events.arg, &r->pub);
	if (!r->answered)
		r->close = close;
}

static void begin_body(struct gw_record *r, bool more_is_here)
{
	if (r->answered && r->close) {
		end_early(r);
		return;
	}
	r->discard = r->answered;
	gw_conn_stage(r->conn, GW_STAGE_BODY);
	if (r->pub.known[GW_HEADER_EXPECT] && !r->http_1_0 && !more_is_here)
		gw_answer_continue(r->conn);
}

static void begin(struct gw_conn *c, struct gw_slice head, bool more_is_here)
{
	struct gw_record *r = gw_record_open(c, head);
	bool body;

	if (!r) {
		gw_conn_refuse(c, &gw_no_memory);
		return;
	}
	if (!gw_head_read(r)) {
		end_early(r);
		return;
	}
	ask_head(r);
	body = r->content_length > 0 || r->chunked;
	if (body && !r->answered && r->content_length > r->pub.max_body)
		refuse_large(r);
	r->pub.body_at = r->pub.payload.size;
	gw_room_set(c, GW_HOLD_HEAD, r->head.capacity + r->headers_room * sizeof *r->headers);
	gw_room_set(c, GW_HOLD_BODY, r->pub.payload.capacity);
	if (body)
		begin_body(r, more_is_here);
	else
		finish(r);
}

/* ---- bodies ---------------------------------------------------------------------------- */

static void keep_body(struct gw_record *r, struct gw_slice data)
{
	struct gw_request *q = &r->pub;

	if (r->received == 0 && r->content_length <= WHOLE_BYTES)
		(void)base_buf_room(&q->payload, (size_t)r->content_length);
	base_buf_add(&q->payload, data.data, data.size);
	if (base_buf_check(&q->payload) != BASE_OK) {
		r->close = true;
		gw_http_problem(q, &gw_no_memory);
		return;
	}
	gw_room_set(r->conn, GW_HOLD_BODY, q->payload.size);
	if (gw_room_fits(q->http, r->conn))
		return;
	r->close = true;
	gw_http_problem(q, &(struct gw_problem){ .status = 503,
				   .detail = "The gateway has no room for another body now.",
				   .retry_after_s = 1 });
}

static bool end_large(struct gw_record *r)
{
	refuse_large(r);
	gw_record_drop(r);
	end_early(r);
	return false;
}

/* False: the body ends here, with an answer. */
static bool upload(struct gw_record *r, struct gw_slice data)
{
	if (r->discard) {
		r->received += data.size;
		return true;
	}
	if (data.size > r->pub.max_body - r->received)
		refuse_large(r);
	else
		keep_body(r, data);
	r->received += data.size;
	if (!r->answered)
		return true;
	gw_record_drop(r);
	end_early(r);
	return false;
}

static bool take_counted(struct gw_record *r, struct gw_slice *in)
{
	uint64_t left = r->content_length - r->received;
	struct gw_slice data = gw_slice_take(in, left < in->size ? (size_t)left : in->size);

	if (!upload(r, data))
		return false;
	if (r->received < r->content_length)
		return false;
	finish(r);
	return true;
}

static bool take_chunked(struct gw_record *r, struct gw_slice *in)
{
	struct gw_slice data;

	for (;;) {
		switch (gw_chunks_take(&r->chunks, in, &data)) {
		case GW_CHUNK_DATA:
			if (!upload(r, data))
				return false;
			break;
		case GW_CHUNK_END:
			finish(r);
			return true;
		case GW_CHUNK_BAD:
			r->close = true;
			gw_http_refuse(&r->pub, 400, "The body's chunks cannot be read.");
			end_early(r);
			return false;
		default:
			return gw_chunks_ahead(&r->chunks) > r->pub.max_body - r->received && end_large(r);
		}
	}
}

/* ---- heads ----------------------------------------------------------------------------- */

/* What lies in *in is a head, or was to become one. It may be in what was just read, where
 * gw_conn_refuse would not find it. */
static void refuse_head(struct gw_conn *c, struct gw_slice *in, unsigned status, const char *detail)
{
	(void)gw_head_open_half(c, *in);
	in->size = 0;
	gw_conn_refuse(c, &(struct gw_problem){ .status = status, .detail = detail });
}

static void refuse_long(struct gw_conn *c, struct gw_slice *in)
{
	if (c->find.line == 0)
		refuse_head(c, in, 414, "The request line is too long.");
	else
		refuse_head(c, in, 431, "The request line and the headers together are too large.");
}

static bool take_head(struct gw_conn *c, struct gw_slice *in)
{
	size_t most = (size_t)c->http->conf.max_head;
	struct gw_slice head;
	enum gw_wire found;

	if (c->find.seen == 0)
		(void)gw_slice_take(in, gw_wire_blank(in->data, in->size));
	if (in->size == 0)
		return false;
	found = gw_wire_find(&c->find, in->data, in->size < most ? in->size : most);
	if (found == GW_WIRE_BAD) {
		refuse_head(c, in, 400, "This is not a request of HTTP/1.1, whose lines end in CR and LF.");
		return false;
	}
	if (found == GW_WIRE_MORE) {
		if (in->size >= most)
			refuse_long(c, in);
		else if (c->stage != GW_STAGE_HEAD)
			gw_conn_stage(c, GW_STAGE_HEAD);
		return false;
	}
	head = gw_slice_take(in, c->find.seen);
	memset(&c->find, 0, sizeof c->find);
	begin(c, head, in->size > 0);
	return true;
}

/* ---- reading ----------------------------------------------------------------------------- */

static bool reads(const struct gw_conn *c)
{
	return c->stage == GW_STAGE_HEAD || c->stage == GW_STAGE_BODY || c->stage == GW_STAGE_IDLE ||
	       c->stage == GW_STAGE_FRESH;
}

/* Uses what is there, until a request waits, or more is needed. */
static void use(struct gw_conn *c, struct gw_slice *in, unsigned *requests)
{
	bool more = true;

	while (more && reads(c) && *requests < REQUESTS_MOST) {
		if (c->stage == GW_STAGE_BODY)
			more = in->size > 0 && (c->record->chunked ? take_chunked(c->record, in)
								   : take_counted(c->record, in));
		else if ((more = take_head(c, in)))
			++*requests;
	}
}

/* What is left stays: in our own buffer, which somebody idle does not have. */
static void keep(struct gw_conn *c, struct gw_slice in)
{
	const char *own = (const char *)c->in.data;

	if (c->stage == GW_STAGE_LINGER || c->stage == GW_STAGE_CUT)
		return;
	if (in.size == 0) {
		gw_conn_drop_input(c);
	} else if (c->in.size > c->in_at) {
		c->in_at = (size_t)(in.data - own);
	} else {
		base_buf_add(&c->in, in.data, in.size);
		if (base_buf_check(&c->in) != BASE_OK) {
			gw_conn_cut(c);
			return;
		}
	}
	gw_room_set(c, GW_HOLD_INPUT, c->in.capacity);
	if (c->in.capacity > 0)
		(void)gw_room_fits(c->http, c);
}

/* More, behind what was kept. */
static ssize_t read_behind(struct gw_conn *c)
{
	uint8_t *room;
	ssize_t n;

	if (c->in_at > 0) {
		memmove(c->in.data, c->in.data + c->in_at, c->in.size - c->in_at);
		c->in.size -= c->in_at;
		c->in_at = 0;
	}
	room = base_buf_room(&c->in, BEHIND_BYTES);
	if (!room) {
		errno = ENOMEM;
		return -1;
	}
	n = recv(c->fd, room, BEHIND_BYTES, 0);
	if (n > 0)
		base_buf_grew(&c->in, (size_t)n);
	return n;
}

/* Reads once. False: there was nothing, and nobody is to be asked again. */
static bool read_some(struct gw_conn *c, struct gw_slice *in)
{
	bool behind = c->in.size > c->in_at;
	ssize_t n = behind ? read_behind(c) : recv(c->fd, c->http->scratch, GW_READ_BYTES, 0);

	if (n > 0) {
		c->heard = true;
		if ((size_t)n < (behind ? BEHIND_BYTES : GW_READ_BYTES) && !c->ended)
			c->readable = false;
		*in = behind ? gw_conn_input(c) : (struct gw_slice){ c->http->scratch, (size_t)n };
		return true;
	}
	if (n < 0 && errno == EINTR) {
		*in = gw_conn_input(c);
		return true;
	}
	c->readable = false;
	if (n == 0 || errno != EAGAIN)
		gw_conn_cut(c);
	return false;
}

static void read_on(struct gw_conn *c)
{
	struct gw_slice in = gw_conn_input(c);
	unsigned requests = 0, n = 0;

	if (in.size > 0) {
		use(c, &in, &requests);
		keep(c, in);
	}
	while (reads(c) && c->readable && n++ < READS_MOST && requests < REQUESTS_MOST &&
		read_some(c, &in)) {
		use(c, &in, &requests);
		keep(c, in);
	}
	if (reads(c) && (c->readable || requests == REQUESTS_MOST))
		gw_conn_due(c);
}

void gw_serve(struct gw_conn *c)
{
	if (c->stage == GW_STAGE_WAIT && c->record->answered)
		(void)gw_answer_send(c->record);
	if (c->stage == GW_STAGE_LINGER)
		gw_conn_throw(c);
	if (reads(c))
		read_on(c);
}
