/* Connections and their deadlines. A stage's list is in the order of its ends because
 * every entry gets the same time; moving a connection is two list operations, and the
 * timer looks at four list heads.
 */
#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "gateway/http_parts.h"
#include "gateway/problem.h"

static void unlink_conn(struct gw_conn *c)
{
	struct gw_list *list;

	if (c->stage >= GW_STAGE__TIMED)
		return;
	list = &c->http->stages[c->stage];
	if (c->http->awake == c)
		c->http->awake = c->next;
	*(c->prev ? &c->prev->next : &list->first) = c->next;
	*(c->next ? &c->next->prev : &list->last) = c->prev;
	c->prev = c->next = NULL;
}

static void link_conn(struct gw_conn *c)
{
	struct gw_list *list;

	if (c->stage >= GW_STAGE__TIMED)
		return;
	list = &c->http->stages[c->stage];
	c->since_ms = net_loop_now_ms(c->http->loop);
	c->due_ms = c->since_ms + c->http->stage_ms[c->stage];
	c->prev = list->last;
	c->next = NULL;
	*(list->last ? &list->last->next : &list->first) = c;
	list->last = c;
	if (c->stage == GW_STAGE_IDLE && !c->http->awake)
		c->http->awake = c;
}

void gw_conn_stage(struct gw_conn *c, enum gw_stage stage)
{
	if (c->stage == GW_STAGE_CUT)
		return;
	unlink_conn(c);
	c->stage = stage;
	link_conn(c);
}

static void start(struct gw_http *h, struct MHD_Connection *mhd, void **context)
{
	const union MHD_ConnectionInfo *info;
	struct gw_conn *c = h->free_conns;

	if (c)
		h->free_conns = c->next;
	else
		c = malloc(sizeof *c);
	*context = c;
	if (!c)
		return; /* its requests are closed at once */
	memset(c, 0, sizeof *c);
	c->http = h;
	c->mhd = mhd;
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	c->fd = info ? info->connect_fd : -1;
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	(void)gw_addr_of(info ? info->client_addr : NULL, c->addr);
	gw_addr_print(c->addr, c->addr_text);
	c->stage = GW_STAGE_HEAD;
	link_conn(c);
	gw_room_enter(c);
}

bool gw_http_is_gone(const struct gw_request *q)
{
	struct pollfd p = { .fd = gw_record_of(q)->conn->fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) == 1 && p.revents != 0;
}

void gw_conn_notify(void *arg, struct MHD_Connection *mhd, void **context,
	enum MHD_ConnectionNotificationCode code)
{
	struct gw_http *h = arg;
	struct gw_conn *c = *context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		h->n_connections++;
		start(h, mhd, context);
		return;
	}
	h->n_connections--;
	h->ready = true; /* at its limit the daemon listens again only in its next run */
	if (!c)
		return;
	if (c->stage != GW_STAGE_CUT)
		gw_room_leave(c);
	unlink_conn(c);
	gw_park_forget(c);
	c->next = h->free_conns;
	h->free_conns = c;
	*context = NULL;
}

/* What it has not read of its answer is of no use without the rest, and shall not wait in the kernel. */
static void forget_unread(struct gw_conn *c)
{
	struct linger now = { .l_onoff = 1 };

	(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void gw_conn_cut(struct gw_conn *c)
{
	if (c->stage == GW_STAGE_SEND)
		forget_unread(c);
	if (c->stage != GW_STAGE_CUT)
		gw_room_leave(c);
	gw_conn_stage(c, GW_STAGE_CUT);
	gw_park_leave(c);
	(void)shutdown(c->fd, SHUT_RDWR);
}

static void add_date(struct base_buf *head)
{
	char text[64];
	time_t now = time(NULL);
	struct tm utc;

	if (gmtime_r(&now, &utc) &&
		strftime(text, sizeof text, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc))
		base_buf_str(head, text);
}

static void write_problem(struct base_buf *whole, struct base_buf *body, unsigned status,
	const char *detail, const char *id)
{
	gw_problem_write(body, status, detail, id);
	base_buf_fmt(whole, "HTTP/1.1 %u %s\r\n", status, gw_status_phrase(status));
	add_date(whole);
	if (id)
		base_buf_fmt(whole, "X-Request-Id: %s\r\n", id);
	if (status == 503)
		base_buf_str(whole, "Retry-After: 1\r\n");
	base_buf_fmt(whole,
		"Content-Type: " GW_PROBLEM_TYPE
		"\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
		body->size);
	base_buf_add(whole, body->data, body->size);
}

/* libmicrohttpd takes no response while a request arrives, and has sent nothing for it either: so
 * these bytes are the first of the answer. What does not fit into the socket is not sent. */
void gw_conn_cut_with(struct gw_conn *c, struct gw_record *r, unsigned status, const char *detail)
{
	struct base_buf body, whole;

	base_buf_init(&body);
	base_buf_init(&whole);
	if (r && !r->pub.id_text[0])
		gw_head_ids(&r->pub);
	write_problem(&whole, &body, status, detail, r ? r->pub.id_text : NULL);
	if (base_buf_check(&body) == BASE_OK && base_buf_check(&whole) == BASE_OK &&
		send(c->fd, whole.data, whole.size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 && r) {
		r->pub.status = status;
		r->pub.bytes = body.size;
	}
	base_buf_fini(&body);
	base_buf_fini(&whole);
	gw_conn_cut(c);
}

/* tcpi_bytes_received, by its place in the kernel's struct: the C library's ends before it. */
#define BYTES_RECEIVED_AT 128u

bool gw_conn_received(const struct gw_conn *c, uint64_t *bytes)
{
	uint8_t info[BYTES_RECEIVED_AT + sizeof(uint64_t)];
	socklen_t size = sizeof info;

	if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, info, &size) || size < sizeof info)
		return false;
	memcpy(bytes, info + BYTES_RECEIVED_AT, sizeof *bytes);
	return true;
}

/* Whether nothing has ever come from it; a browser opens such ones in advance. */
bool gw_conn_is_silent(const struct gw_conn *c)
{
	uint64_t received;

	return !c->record && gw_conn_received(c, &received) && received == 0;
}

void gw_conn_hurry(struct gw_http *h, uint32_t idle_ms, uint32_t fresh_ms)
{
	uint64_t due_ms = net_loop_now_ms(h->loop) + idle_ms;
	struct gw_conn *c, *next;

	h->stage_ms[GW_STAGE_FRESH] = fresh_ms;
	if (h->stage_ms[GW_STAGE_IDLE] > idle_ms)
		h->stage_ms[GW_STAGE_IDLE] = idle_ms;
	for (c = h->stages[GW_STAGE_IDLE].first; c; c = c->next)
		if (c->due_ms > due_ms)
			c->due_ms = due_ms;
	for (c = h->stages[GW_STAGE_HEAD].first; c; c = next) {
		next = c->next;
		if (gw_conn_is_silent(c))
			gw_conn_stage(c, GW_STAGE_FRESH);
	}
}

static void expire_one(struct gw_conn *c)
{
	/* A request came while its time ran out. */
	if ((c->stage == GW_STAGE_IDLE || c->stage == GW_STAGE_FRESH) && gw_conn_has_bytes(c)) {
		gw_conn_stage(c, GW_STAGE_HEAD);
		return;
	}
	if (c->stage == GW_STAGE_SEND && c->extensions > 0) {
		c->extensions--;
		gw_conn_stage(c, GW_STAGE_SEND);
		return;
	}
	c->http->n_cut++;
	if (c->stage == GW_STAGE_HEAD && !gw_conn_is_silent(c))
		gw_conn_cut_with(c, c->record, 408, "The request's head did not arrive in time.");
	else if (c->stage == GW_STAGE_BODY)
		gw_conn_cut_with(c, c->record, 408, "The request's body did not arrive in time.");
	else
		gw_conn_cut(c);
}

void gw_conn_expire(struct gw_http *h, uint64_t now_ms)
{
	while (h->awake && h->awake->since_ms + GW_REST_MS <= now_ms)
		gw_room_rest(h);
	gw_park_expire(h, now_ms);
	for (unsigned s = 0; s < GW_STAGE__TIMED; s++)
		while (h->stages[s].first && h->stages[s].first->due_ms <= now_ms)
			expire_one(h->stages[s].first);
}

uint64_t gw_conn_due(const struct gw_http *h)
{
	uint64_t due = h->awake ? h->awake->since_ms + GW_REST_MS : UINT64_MAX;
	uint64_t park_due = gw_park_due(h);

	if (park_due < due)
		due = park_due;
	for (unsigned s = 0; s < GW_STAGE__TIMED; s++)
		if (h->stages[s].first && h->stages[s].first->due_ms < due)
			due = h->stages[s].first->due_ms;
	return due;
}

void gw_conn_fini(struct gw_http *h)
{
	struct gw_conn *c;

	assert(h->n_connections == 0);
	while ((c = h->free_conns)) {
		h->free_conns = c->next;
		free(c);
	}
}
