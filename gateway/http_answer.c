/* Answers: from struct gw_answer to bytes, and to the socket.
 *
 * A small body, or one that is not in a block, is copied behind the head, so that an answer is
 * mostly one piece. It is not sent where it is made, which may be deep in somebody's callback,
 * but in the connection's next turn; by then the request has not ended, and may still be looked at.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "gateway/http_parts.h"
#include "gateway/problem.h"

#define SLOWEST_BYTES_PER_S (16u * 1024)
#define COPIED_BYTES        (4u * 1024) /* a block up to this is copied all the same */

/* ---- its bytes ------------------------------------------------------------------------ */

static void add_slice(struct base_buf *out, struct gw_slice s)
{
	base_buf_add(out, s.data, s.size);
}

static void add_number(struct base_buf *out, uint64_t n)
{
	char text[20];
	size_t at = sizeof text;

	do
		text[--at] = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	base_buf_add(out, text + at, sizeof text - at);
}

/* The line is made once a second. */
static void add_date(struct gw_http *h, struct base_buf *out)
{
	time_t now = time(NULL);
	struct tm utc;

	if (now != h->date_s) {
		h->date_s = now;
		h->date[0] = '\0';
		if (gmtime_r(&now, &utc))
			(void)strftime(h->date, sizeof h->date,
				"Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
	}
	base_buf_str(out, h->date);
}

static void add_start(struct gw_http *h, struct base_buf *out, unsigned status)
{
	add_slice(out, GW_SLICE("HTTP/1.1 "));
	add_number(out, status);
	base_buf_chr(out, ' ');
	base_buf_str(out, gw_status_phrase(status));
	add_slice(out, GW_SLICE("\r\n"));
	add_date(h, out);
}

static void add_line(struct base_buf *out, struct gw_slice name, struct gw_slice value)
{
	add_slice(out, name);
	add_slice(out, GW_SLICE(": "));
	add_slice(out, value);
	add_slice(out, GW_SLICE("\r\n"));
}

/* A header without a value says nothing, and is left out. What frames the answer, or says whether
 * the connection goes on, is ours to say. */
static bool add_field(struct base_buf *out, const char *name, const char *value)
{
	struct gw_slice n = gw_slice_of(name), v = gw_slice_of(value ? value : "");

	if (!gw_wire_is_token(n) || !gw_wire_is_value(v))
		return false;
	switch (gw_header_known(n)) {
	case GW_HEADER_CONTENT_LENGTH:
	case GW_HEADER_TRANSFER_ENCODING:
	case GW_HEADER_CONNECTION:
		return false;
	default:
		if (v.size > 0)
			add_line(out, n, v);
		return true;
	}
}

static bool has_no_body(unsigned status)
{
	return status == 204 || status == 304;
}

static bool add_head(struct gw_record *r, const struct gw_answer *a)
{
	struct gw_http *h = r->pub.http;
	struct base_buf *out = &r->out;

	add_start(h, out, a->status);
	for (size_t i = 0; i < a->n_fields; i++)
		if (!add_field(out, a->fields[i].name, a->fields[i].value))
			return false;
	if (a->content_type && !add_field(out, "Content-Type", a->content_type))
		return false;
	add_line(out, GW_SLICE("X-Request-Id"), gw_slice_of(r->pub.id_text));
	if (r->close || h->last)
		add_slice(out, GW_SLICE("Connection: close\r\n"));
	else if (r->http_1_0)
		add_slice(out, GW_SLICE("Connection: keep-alive\r\n"));
	if (!has_no_body(a->status)) {
		add_slice(out, GW_SLICE("Content-Length: "));
		add_number(out, a->size);
		add_slice(out, GW_SLICE("\r\n"));
	}
	add_slice(out, GW_SLICE("\r\n"));
	return true;
}

static void add_body(struct gw_record *r, const struct gw_answer *a)
{
	if (a->block && a->size > COPIED_BYTES) {
		r->block = base_block_ref(a->block);
		r->body = (struct gw_slice){ a->body, a->size };
	} else {
		base_buf_add(&r->out, a->body, a->size);
	}
}

/* ---- answering ------------------------------------------------------------------------ */

static void settle(struct gw_record *r, unsigned status, uint64_t bytes)
{
	assert(!r->answered);
	r->answered = true;
	r->close = r->close || r->pub.http->last;
	r->pub.status = status;
	r->pub.bytes = bytes;
	if (r->conn->stage == GW_STAGE_WAIT)
		gw_conn_due(r->conn);
}

enum base_err gw_http_answer(struct gw_request *q, const struct gw_answer *a)
{
	struct gw_record *r = gw_record_of(q);
	bool bodiless = has_no_body(a->status) || gw_slice_equal(q->method, GW_SLICE("HEAD"));
	enum base_err err = BASE_INVALID;

	assert(a->status >= 200 && a->status <= 599);
	base_buf_reset(&r->out);
	if (add_head(r, a)) {
		if (!bodiless)
			add_body(r, a);
		err = base_buf_check(&r->out);
	}
	if (err) {
		base_block_unref(&r->block);
		r->body.size = 0;
		base_buf_reset(&r->out);
		return err;
	}
	settle(r, a->status, bodiless ? 0 : a->size);
	return BASE_OK;
}

bool gw_http_is_answered(const struct gw_request *q)
{
	return gw_record_of(q)->answered;
}

const struct gw_problem gw_no_memory = {
	.status = 503, .detail = "The gateway is out of memory.", .retry_after_s = 1
};

void gw_http_problem(struct gw_request *q, const struct gw_problem *p)
{
	struct gw_field fields[2];
	struct gw_answer a = {
		.status = p->status, .content_type = GW_PROBLEM_TYPE, .fields = fields
	};
	struct base_buf body;
	char seconds[16];

	base_buf_init(&body);
	gw_problem_write(&body, p->status, p->detail, q->id_text);
	if (p->retry_after_s) {
		(void)snprintf(seconds, sizeof seconds, "%u", p->retry_after_s);
		fields[a.n_fields++] = (struct gw_field){ "Retry-After", seconds };
	}
	if (p->allow)
		fields[a.n_fields++] = (struct gw_field){ "Allow", p->allow };
	a.body = body.data;
	a.size = body.size;
	if (base_buf_check(&body) != BASE_OK || gw_http_answer(q, &a) != BASE_OK) {
		gw_record_of(q)->close = true;
		settle(gw_record_of(q), 0, 0);
	}
	base_buf_fini(&body);
}

/* What does not fit into the socket is not sent. */
void gw_answer_bare(struct gw_conn *c, const struct gw_problem *p)
{
	struct base_buf body, whole;

	base_buf_init(&body);
	base_buf_init(&whole);
	gw_problem_write(&body, p->status, p->detail, NULL);
	add_start(c->http, &whole, p->status);
	if (p->retry_after_s)
		base_buf_fmt(&whole, "Retry-After: %u\r\n", p->retry_after_s);
	base_buf_fmt(&whole,
		"Content-Type: " GW_PROBLEM_TYPE
		"\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
		body.size);
	base_buf_add(&whole, body.data, body.size);
	if (base_buf_check(&body) == BASE_OK && base_buf_check(&whole) == BASE_OK)
		(void)send(c->fd, whole.data, whole.size, MSG_NOSIGNAL);
	base_buf_fini(&body);
	base_buf_fini(&whole);
}

void gw_answer_continue(struct gw_conn *c)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	ssize_t n = send(c->fd, text, sizeof text - 1, MSG_NOSIGNAL);

	/* Who gets none sends its body after a while; but half of it? */
	if (n > 0 && n < (ssize_t)sizeof text - 1)
		gw_conn_cut(c);
}

/* ---- sending ---------------------------------------------------------------------------- */

/* The time for sending starts; a long answer may take longer. */
static void start_sending(struct gw_record *r)
{
	const struct gw_http_conf *conf = &r->pub.http->conf;
	uint64_t rate = conf->slowest_bytes_per_s ? conf->slowest_bytes_per_s : SLOWEST_BYTES_PER_S;
	uint64_t per_turn = rate * conf->idle_ms / 1000 + 1;

	r->conn->extensions = (unsigned)(r->pub.bytes / per_turn);
	gw_conn_stage(r->conn, GW_STAGE_SEND);
	gw_record_drop(r);
	gw_room_set(r->conn, GW_HOLD_ANSWER, r->out.size + r->body.size);
	(void)gw_room_fits(r->pub.http, r->conn);
}

/* The next request is expected, or none. */
static void finish(struct gw_record *r)
{
	struct gw_conn *c = r->conn;
	bool close = r->close, nothing_else = r->whole && !c->readable && c->in.size == c->in_at;

	gw_record_close(r);
	if (!close)
		gw_conn_stage(c, GW_STAGE_IDLE);
	else if (nothing_else)
		gw_conn_cut(c);
	else
		gw_conn_close(c);
}

static size_t left(const struct gw_record *r, struct iovec v[2])
{
	size_t first = r->sent < r->out.size ? r->sent : r->out.size, second = r->sent - first;

	v[0] = (struct iovec){ r->out.data + first, r->out.size - first };
	v[1] = (struct iovec){ (void *)(uintptr_t)(r->body.data + second), r->body.size - second };
	return v[0].iov_len + v[1].iov_len;
}

static ssize_t send_rest(struct gw_record *r, struct iovec v[2])
{
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

	if (v[1].iov_len == 0)
		return send(r->conn->fd, v[0].iov_base, v[0].iov_len, MSG_NOSIGNAL);
	return sendmsg(r->conn->fd, &m, MSG_NOSIGNAL);
}

bool gw_answer_send(struct gw_record *r)
{
	struct iovec v[2];

	if (r->pub.status == 0) { /* there was no memory for an answer */
		gw_conn_cut(r->conn);
		return true;
	}
	while (left(r, v) > 0) {
		ssize_t n = send_rest(r, v);
		if (n >= 0) {
			r->sent += (size_t)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN) {
			if (r->conn->stage != GW_STAGE_SEND)
				start_sending(r);
			return false;
		}
		r->pub.bytes = 0;
		gw_conn_cut(r->conn);
		return true;
	}
	finish(r);
	return true;
}
