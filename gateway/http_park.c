/* Who is suspended, and who watches the sockets of those who are.
 *
 * A request that waits for its answer is suspended; for that libmicrohttpd takes its socket out of its
 * epoll set. Afterwards it believes that the socket is readable, finds out by a recv that it is not, and
 * adds the socket again: three system calls a request, where the request itself takes two. So we
 *
 *   - suspend after the daemon's run instead of in the handler. Libmicrohttpd then knows that there is
 *     nothing to read before the answer, and does not try;
 *   - suspend a connection once more as soon as its answer is sent, before libmicrohttpd looks: it is
 *     parked. Its socket is in an epoll set of ours, edge-triggered, from its first parking on until it
 *     is closed; when something comes it is resumed, and the recv that follows finds it.
 *
 * Libmicrohttpd calls suspending safe in its handlers only. What it means are its own threads; it has none
 * here, and between two runs of the daemon a connection is in no list but those that suspending takes it
 * out of (read in 0.9.75 and 1.0.1).
 *
 * An edge is seen once, and what came must not be forgotten. So what comes while a connection is not parked
 * is noted, and whether it has been read is looked up before such a one is parked; so it is after requests
 * that came together. One hole is left: a client that sends, at once, one request and the beginning of
 * another, more than a buffer full of it, has a rest lying there. Nobody is parked for longer than PARK_MS;
 * whoever is given back is looked at.
 *
 * Libmicrohttpd walks over all that are suspended whenever it resumes one. So only those are parked that are
 * in use just now, and not more than PARKED_MOST.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "gateway/http_parts.h"

#define PARKED_MOST 256u
#define PARK_MS     100u
#define EVENTS_MOST 64

enum base_err gw_park_init(struct gw_http *h)
{
	h->park_fd = epoll_create1(EPOLL_CLOEXEC);
	return h->park_fd < 0 ? BASE_IO : BASE_OK;
}

void gw_park_fini(struct gw_http *h)
{
	if (h->park_fd >= 0)
		(void)close(h->park_fd);
	h->park_fd = -1;
}

static bool watch(struct gw_conn *c)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = c };

	if (!c->watched)
		c->watched = epoll_ctl(c->http->park_fd, EPOLL_CTL_ADD, c->fd, &event) == 0;
	return c->watched;
}

/* The end of what the client sends counts as something. */
static bool is_read(const struct gw_conn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

static void enter(struct gw_conn *c)
{
	struct gw_http *h = c->http;

	if (h->n_parked == PARKED_MOST || (c->came && !is_read(c)) || !watch(c))
		return;
	MHD_suspend_connection(c->mhd);
	c->came = false;
	c->parked = true;
	DL_APPEND2(h->parked, c, park_prev, park_next);
	h->n_parked++;
	h->parkings++;
}

void gw_park_leave(struct gw_conn *c)
{
	struct gw_http *h = c->http;

	if (!c->parked)
		return;
	c->parked = false;
	DL_DELETE2(h->parked, c, park_prev, park_next);
	h->n_parked--;
	MHD_resume_connection(c->mhd);
	h->ready = true;
}

void gw_park_forget(struct gw_conn *c)
{
	if (c->watched)
		(void)epoll_ctl(c->http->park_fd, EPOLL_CTL_DEL, c->fd, NULL);
	c->watched = false;
}

void gw_park_wait(struct gw_record *r)
{
	if (!r->waits)
		DL_APPEND2(r->pub.http->waiting, r, wait_prev, wait_next);
	r->waits = true;
}

void gw_park_wait_over(struct gw_record *r)
{
	if (r->waits)
		DL_DELETE2(r->pub.http->waiting, r, wait_prev, wait_next);
	r->waits = false;
}

/* Who was answered in the meantime is asked for the answer in the daemon's next run. */
static void suspend_waiting(struct gw_http *h)
{
	struct gw_record *r;

	while ((r = h->waiting)) {
		gw_park_wait_over(r);
		if (r->answered) {
			h->ready = true;
			continue;
		}
		r->suspended = r->conn->unwatched = true;
		MHD_suspend_connection(r->mhd);
	}
}

/* Those who became idle in the run that is just over are the last of their list. Whose request did not
 * wait is still watched by libmicrohttpd. */
static void park_idle(struct gw_http *h)
{
	struct gw_conn *c = h->stages[GW_STAGE_IDLE].last;

	for (; c && c->just_idle; c = c->prev) {
		c->just_idle = false;
		if (c->unwatched && !h->ending)
			enter(c);
		c->unwatched = false;
	}
}

void gw_park_settle(struct gw_http *h)
{
	suspend_waiting(h);
	park_idle(h);
}

void gw_park_wake(struct gw_http *h)
{
	struct epoll_event events[EVENTS_MOST];
	int n;

	do {
		n = epoll_wait(h->park_fd, events, EVENTS_MOST, 0);
		for (int i = 0; i < n; i++) {
			struct gw_conn *c = events[i].data.ptr;
			if (c->parked)
				gw_park_leave(c);
			else
				c->came = true;
		}
	} while (n == EVENTS_MOST);
}

void gw_park_expire(struct gw_http *h, uint64_t now_ms)
{
	while (h->parked && h->parked->since_ms + PARK_MS <= now_ms)
		gw_park_leave(h->parked);
}

uint64_t gw_park_due(const struct gw_http *h)
{
	return h->parked ? h->parked->since_ms + PARK_MS : UINT64_MAX;
}

void gw_park_end(struct gw_http *h)
{
	while (h->parked)
		gw_park_leave(h->parked);
}
