#include "gateway/http.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "gateway/http_parts.h"
#include "gateway/listen.h"

#define MAX_HELD       (768u * 1024 * 1024)
#define IDLE_GRACE_MS  500  /* when draining: for idle connections, … */
#define FRESH_GRACE_MS 2000 /* … and for those whose first request is on its way, or never comes */
#define LINGER_MS      2000u /* for a client to read its last answer, and to close */
#define EVENTS_MOST    64
#define ROUNDS_MOST    16 /* of so many events in a turn */

/* ---- in the loop ------------------------------------------------------------- */

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	((struct gw_http *)poll->data)->ready = true;
}

static void on_timer(uv_timer_t *timer)
{
	struct gw_http *h = timer->data;

	h->timer_due_ms = 0;
	h->ready = true;
}

/* A timer that runs earlier than needed is left alone: it looks again when it ends. */
static void arm(struct gw_http *h)
{
	uint64_t now_ms = net_loop_now_ms(h->loop), due_ms = gw_conn_next_due(h);

	if (due_ms == UINT64_MAX || (h->timer_due_ms && h->timer_due_ms <= due_ms))
		return;
	h->timer_due_ms = due_ms;
	(void)uv_timer_start(&h->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

static void on_event(struct gw_conn *c, uint32_t events)
{
	if (c->stage == GW_STAGE_CUT)
		return;
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->readable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		c->ended = true;
	if (c->stage == GW_STAGE_SEND)
		(void)gw_answer_send(c->record);
	gw_serve(c);
}

/* Connections first, then new ones: who has sent something is not in the way of those who come. */
static void take_events(struct gw_http *h)
{
	struct epoll_event events[EVENTS_MOST];
	bool others = false;
	unsigned rounds = 0;
	int n;

	do {
		n = epoll_wait(h->epoll_fd, events, EVENTS_MOST, 0);
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				on_event(events[i].data.ptr, events[i].events);
			else
				others = true;
		}
	} while (n == EVENTS_MOST && ++rounds < ROUNDS_MOST);
	if (n == EVENTS_MOST)
		h->ready = true;
	if (others)
		gw_conn_accept(h);
}

/* Those that became due in the meantime wait for the next turn. */
static void serve_due(struct gw_http *h)
{
	struct gw_conn *c = h->due, *next;

	h->due = NULL;
	for (; c; c = next) {
		next = c->next_due;
		c->due = false;
		gw_serve(c);
	}
}

static bool on_run(void *arg)
{
	struct gw_http *h = arg;

	if (!h->ready)
		return false;
	h->ready = false;
	serve_due(h);
	take_events(h);
	gw_conn_expire(h, net_loop_now_ms(h->loop));
	gw_conn_reap(h);
	arm(h);
	return h->ready;
}

/* Somebody answered after RUN: the loop must not block on it. */
static bool on_flush(void *arg)
{
	return ((struct gw_http *)arg)->ready;
}

/* ---- starting and ending ------------------------------------------------------ */

static void on_closed(uv_handle_t *handle)
{
	struct gw_http *h = handle->data;

	if (--h->open_handles == 0)
		free(h);
}

static enum base_err attach(struct gw_http *h)
{
	struct epoll_event event = { .events = EPOLLIN };
	enum base_err err;

	if (epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, h->listen_fd, &event))
		return BASE_IO;
	if (uv_poll_init(net_loop_uv(h->loop), &h->poll, h->epoll_fd))
		return BASE_IO;
	h->poll.data = h->timer.data = h;
	h->open_handles++;
	if (uv_poll_start(&h->poll, UV_READABLE, on_readable) ||
		uv_timer_init(net_loop_uv(h->loop), &h->timer))
		return BASE_IO;
	h->open_handles++;
	err = net_loop_hook(h->loop, NET_RUN, on_run, h, &h->run_hook);
	if (!err)
		err = net_loop_hook(h->loop, NET_FLUSH, on_flush, h, &h->flush_hook);
	return err;
}

static struct gw_http *make(
	struct net_loop *loop, const struct gw_http_conf *conf, const struct gw_http_events *events)
{
	struct gw_http *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	h->loop = loop;
	h->conf = *conf;
	h->events = *events;
	h->listen_fd = conf->listen_fd;
	h->max_held = conf->max_held ? conf->max_held : MAX_HELD;
	h->stage_ms[GW_STAGE_HEAD] = conf->head_ms;
	h->stage_ms[GW_STAGE_BODY] = conf->body_ms;
	h->stage_ms[GW_STAGE_SEND] = conf->idle_ms;
	h->stage_ms[GW_STAGE_IDLE] = conf->idle_ms;
	h->stage_ms[GW_STAGE_LINGER] = conf->idle_ms < LINGER_MS ? conf->idle_ms : LINGER_MS;
	h->ready = true; /* what was opened before us may have connections already */
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return h;
}

static void close_listener(struct gw_http *h)
{
	if (h->listen_fd < 0)
		return;
	(void)epoll_ctl(h->epoll_fd, EPOLL_CTL_DEL, h->listen_fd, NULL); /* it may have copies */
	(void)close(h->listen_fd);
	h->listen_fd = -1;
}

enum base_err gw_http_new(struct net_loop *loop, const struct gw_http_conf *conf,
	const struct gw_http_events *events, struct gw_http **out, char **why)
{
	struct gw_http *h = make(loop, conf, events);
	enum base_err err = !h ? BASE_NOMEM : h->epoll_fd < 0 ? BASE_IO : BASE_OK;

	*why = NULL;
	if (!err && h->listen_fd < 0)
		err = gw_listen_open(conf->address, &h->listen_fd, why);
	if (!err) {
		gw_listen_name(h->listen_fd, conf->address, h->address, sizeof h->address);
		err = attach(h);
	}
	if (err) {
		gw_http_free(&h);
		return err;
	}
	*out = h;
	return BASE_OK;
}

/* What was answered last goes out, as far as the sockets take it. */
static void send_last(struct gw_http *h)
{
	struct gw_record *r, *next;

	for (r = h->records; r; r = next) {
		next = r->next;
		if (r->answered && r->conn->stage == GW_STAGE_WAIT)
			(void)gw_answer_send(r);
	}
}

void gw_http_free(struct gw_http **hp)
{
	struct gw_http *h = *hp;
	unsigned handles;

	if (!h)
		return;
	*hp = NULL;
	net_loop_unhook(&h->run_hook);
	net_loop_unhook(&h->flush_hook);
	handles = h->open_handles;
	if (handles > 0) /* before its descriptor is closed */
		uv_close((uv_handle_t *)&h->poll, on_closed);
	if (handles > 1)
		uv_close((uv_handle_t *)&h->timer, on_closed);
	send_last(h);
	close_listener(h);
	gw_conn_fini(h);
	gw_record_fini(h);
	if (h->epoll_fd >= 0)
		(void)close(h->epoll_fd);
	if (handles == 0)
		free(h);
}

void gw_http_say_last(struct gw_http *h)
{
	h->last = true;
}

/* What the kernel has accepted already is taken first. A connection that is idle now may have its
 * next request on the way, so it is given a moment: under load each gets one more answer, which
 * says that it is the last. */
void gw_http_drain(struct gw_http *h)
{
	size_t before;

	if (h->draining)
		return;
	do {
		before = h->n_connections;
		gw_conn_accept(h);
	} while (h->n_connections > before);
	h->draining = h->last = true;
	h->ready = true;
	close_listener(h);
	gw_conn_hurry(h, IDLE_GRACE_MS, FRESH_GRACE_MS);
	net_loop_again(h->loop);
}

const char *gw_http_address(const struct gw_http *h)
{
	return h->address;
}

size_t gw_http_connections(const struct gw_http *h)
{
	return h->n_connections;
}

size_t gw_http_requests(const struct gw_http *h)
{
	return h->n_requests;
}

uint64_t gw_http_cut(const struct gw_http *h)
{
	return h->n_cut;
}

uint64_t gw_http_evicted(const struct gw_http *h)
{
	return h->n_evicted;
}

uint64_t gw_http_held(const struct gw_http *h)
{
	return h->held;
}
