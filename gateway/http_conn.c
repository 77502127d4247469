/* Connections: how they come, their stages and deadlines, and how they end. A stage's list is
 * in the order of its ends because every entry gets the same time; moving a connection is two
 * list operations, and the timer looks at six list heads.
 *
 * All sockets are in one epoll set, edge-triggered, from their beginning to their end: nothing is
 * added or taken out for a request. An edge is seen once, so `readable` remembers it until the
 * kernel says that there is no more.
 *
 * A connection may have to go at any place, also while its own request is served. So to cut it
 * closes the socket, and the rest is done at the end of the turn (gw_conn_reap).
 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/http_parts.h"

#define ACCEPTS_MOST 64u  /* in a turn */
#define DEAF_MS      100u /* when there are no descriptors left for a new connection */
#define LINGERS_MOST 15u  /* times its time, while something comes */
#define THROWS_MOST  16u  /* in a turn: then others have theirs */

/* ---- stages ------------------------------------------------------------------------ */

static void unlink_conn(struct gw_conn *c)
{
	struct gw_list *list;

	if (c->stage >= GW_STAGE__TIMED)
		return;
	list = &c->http->stages[c->stage];
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
}

void gw_conn_stage(struct gw_conn *c, enum gw_stage stage)
{
	if (c->stage == GW_STAGE_CUT)
		return;
	unlink_conn(c);
	c->stage = stage;
	link_conn(c);
}

void gw_conn_due(struct gw_conn *c)
{
	struct gw_http *h = c->http;

	h->ready = true;
	if (c->due || c->stage == GW_STAGE_CUT)
		return;
	c->due = true;
	c->next_due = NULL;
	*(h->due ? &h->due_last->next_due : &h->due) = c;
	h->due_last = c;
}

/* ---- beginnings -------------------------------------------------------------------- */

static struct gw_conn *take_conn(struct gw_http *h)
{
	struct gw_conn *c = h->free_conns;

	if (c)
		h->free_conns = c->next;
	else
		c = malloc(sizeof *c);
	if (c)
		memset(c, 0, sizeof *c);
	return c;
}

void gw_conn_drop_input(struct gw_conn *c)
{
	if (c->in.capacity > 0) {
		base_buf_fini(&c->in);
		base_buf_init(&c->in);
	}
	c->in_at = 0;
}

static void give_conn(struct gw_http *h, struct gw_conn *c)
{
	gw_conn_drop_input(c);
	c->next = h->free_conns;
	h->free_conns = c;
}

static bool watch(struct gw_conn *c)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c };

	return epoll_ctl(c->http->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) == 0;
}

/* Those that are over, and only wait for the client to notice, go when they are too many. */
static void bound_lingering(struct gw_http *h)
{
	if (h->n_connections > h->conf.max_connections + GW_HTTP_SPARE_CONNECTIONS &&
		h->stages[GW_STAGE_LINGER].first)
		gw_conn_cut(h->stages[GW_STAGE_LINGER].first);
}

static void begin(struct gw_http *h, int fd, const struct sockaddr *sa)
{
	struct gw_conn *c = take_conn(h);
	int on = 1;

	if (!c) {
		(void)close(fd);
		return;
	}
	base_buf_init(&c->in);
	c->http = h;
	c->fd = fd;
	if (gw_addr_of(sa, c->addr))
		gw_addr_print(c->addr, c->addr_text);
	else
		(void)strcpy(c->addr_text, "unix:"); /* as other servers call one without an address */
	if (!watch(c)) {
		(void)close(fd);
		give_conn(h, c);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* not one of a unix socket */
	h->n_connections++;
	c->stage = GW_STAGE_HEAD;
	link_conn(c);
	gw_room_enter(c);
	bound_lingering(h);
}

bool gw_conn_has_bytes(const struct gw_conn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* The client of this one will wait; a loop that asks again at once would help nobody. */
static void go_deaf(struct gw_http *h)
{
	(void)epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, h->listen_fd, NULL);
	h->deaf = true;
	h->deaf_ms = net_loop_now_ms(h->loop) + DEAF_MS;
	(void)gw_room_for_another(h, NULL);
}

void gw_conn_accept(struct gw_http *h)
{
	for (unsigned i = 0; i < ACCEPTS_MOST && h->listen_fd >= 0; i++) {
		struct sockaddr_storage sa = { 0 };
		socklen_t size = sizeof sa;
		int fd = accept4(h->listen_fd, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			begin(h, fd, (const struct sockaddr *)&sa);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			go_deaf(h);
		if (errno != EINTR && errno != ECONNABORTED)
			return;
	}
	h->ready = true; /* there may be more */
}

bool gw_http_is_gone(const struct gw_request *q)
{
	struct pollfd p = { .fd = gw_record_of(q)->conn->fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) == 1 && p.revents != 0;
}

/* ---- ends ---------------------------------------------------------------------------- */

/* What it has not read of its answer is of no use without the rest, and need not wait for it. */
static void forget_unread(struct gw_conn *c)
{
	struct linger now = { .l_onoff = 1 };

	(void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void gw_conn_cut(struct gw_conn *c)
{
	struct gw_http *h = c->http;

	if (c->stage == GW_STAGE_CUT)
		return;
	if (c->stage == GW_STAGE_SEND)
		forget_unread(c);
	gw_room_leave(c);
	gw_conn_stage(c, GW_STAGE_CUT);
	(void)close(c->fd);
	c->fd = -1;
	c->next = h->dead;
	h->dead = c;
	h->ready = true;
}

/* A request that nobody has seen the whole head of gets a record, too, of which its first line is
 * known or nothing: it is answered, counted and logged like others. */
void gw_conn_refuse(struct gw_conn *c, const struct gw_problem *p)
{
	struct gw_record *r = c->record;

	if (!r)
		r = gw_head_open_half(c, gw_conn_input(c));
	if (!r) {
		gw_answer_bare(c, p);
		gw_conn_close(c);
		return;
	}
	r->close = true;
	if (!r->answered)
		gw_http_problem(&r->pub, p);
	gw_record_drop(r);
	gw_conn_drop_input(c);
	gw_room_set(c, GW_HOLD_INPUT, 0);
	gw_conn_stage(c, GW_STAGE_WAIT);
	gw_conn_due(c);
}

/* To close a socket in which something lies unread tells the client to forget what it has not read
 * either: the answer. So what comes is read, for a while: by time, because how much a client sends
 * before it looks up depends on how large the buffers between us are, and on who gets a processor. */
void gw_conn_close(struct gw_conn *c)
{
	if (c->stage == GW_STAGE_CUT)
		return;
	gw_room_leave(c);
	gw_conn_drop_input(c);
	if (shutdown(c->fd, SHUT_WR) != 0) {
		gw_conn_cut(c);
		return;
	}
	c->extensions = LINGERS_MOST - 1;
	c->thrown = false;
	gw_conn_stage(c, GW_STAGE_LINGER);
	gw_conn_due(c);
}

void gw_conn_throw(struct gw_conn *c)
{
	for (unsigned n_reads = 0; c->readable && n_reads < THROWS_MOST; n_reads++) {
		ssize_t n = recv(c->fd, c->http->scratch, GW_READ_BYTES, 0);
		if (n > 0) {
			c->thrown = true;
		} else if (n < 0 && errno == EAGAIN) {
			c->readable = false;
		} else if (n == 0 || errno != EINTR) {
			gw_conn_cut(c);
			return;
		}
	}
	if (c->readable)
		gw_conn_due(c);
}

/* ---- deadlines ------------------------------------------------------------------------ */

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
		if (!c->heard)
			gw_conn_stage(c, GW_STAGE_FRESH);
	}
}

static bool goes_on(const struct gw_conn *c)
{
	return c->stage == GW_STAGE_SEND ||
	       (c->stage == GW_STAGE_LINGER && c->thrown && !c->http->draining);
}

static void expire_one(struct gw_conn *c)
{
	/* A request came while its time ran out. */
	if ((c->stage == GW_STAGE_IDLE || c->stage == GW_STAGE_FRESH) && gw_conn_has_bytes(c)) {
		gw_conn_stage(c, GW_STAGE_HEAD);
		return;
	}
	if (goes_on(c) && c->extensions > 0) {
		c->extensions--;
		c->thrown = false;
		gw_conn_stage(c, c->stage);
		return;
	}
	if (c->stage != GW_STAGE_LINGER)
		c->http->n_cut++;
	if (c->stage == GW_STAGE_HEAD && c->heard)
		gw_conn_refuse(c, &(struct gw_problem){ .status = 408,
					  .detail = "The request's head did not arrive in time." });
	else if (c->stage == GW_STAGE_BODY)
		gw_conn_refuse(c, &(struct gw_problem){ .status = 408,
					  .detail = "The request's body did not arrive in time." });
	else
		gw_conn_cut(c);
}

static void hear_again(struct gw_http *h)
{
	struct epoll_event event = { .events = EPOLLIN };

	h->deaf = h->listen_fd >= 0 &&
		  epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, h->listen_fd, &event) != 0;
	h->deaf_ms += DEAF_MS;
}

void gw_conn_expire(struct gw_http *h, uint64_t now_ms)
{
	if (h->deaf && h->deaf_ms <= now_ms)
		hear_again(h);
	for (unsigned s = 0; s < GW_STAGE__TIMED; s++)
		while (h->stages[s].first && h->stages[s].first->due_ms <= now_ms)
			expire_one(h->stages[s].first);
}

uint64_t gw_conn_next_due(const struct gw_http *h)
{
	uint64_t due_ms = h->deaf ? h->deaf_ms : UINT64_MAX;

	for (unsigned s = 0; s < GW_STAGE__TIMED; s++)
		if (h->stages[s].first && h->stages[s].first->due_ms < due_ms)
			due_ms = h->stages[s].first->due_ms;
	return due_ms;
}

/* ---- the dead --------------------------------------------------------------------------- */

static void bury(struct gw_conn *c)
{
	if (c->record)
		gw_record_close(c->record);
	c->http->n_connections--;
	give_conn(c->http, c);
}

/* One that is due is still on that list, and goes after it was taken from there. */
void gw_conn_reap(struct gw_http *h)
{
	struct gw_conn *dead = h->dead, *c;

	h->dead = NULL;
	while ((c = dead)) {
		dead = c->next;
		if (c->due) {
			c->next = h->dead;
			h->dead = c;
		} else {
			bury(c);
		}
	}
}

static void cut_all(struct gw_http *h)
{
	struct gw_record *r, *next;

	for (r = h->records; r; r = next) {
		next = r->next;
		gw_conn_cut(r->conn);
	}
	for (unsigned s = 0; s < GW_STAGE__TIMED; s++)
		while (h->stages[s].first)
			gw_conn_cut(h->stages[s].first);
}

void gw_conn_fini(struct gw_http *h)
{
	struct gw_conn *c;

	cut_all(h);
	for (c = h->due; c; c = c->next_due)
		c->due = false;
	h->due = NULL;
	gw_conn_reap(h);
	assert(h->n_connections == 0 && h->held == 0);
	while ((c = h->free_conns)) {
		h->free_conns = c->next;
		free(c);
	}
}
