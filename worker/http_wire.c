/* Connections without TLS, and the exchanges over them.
 *
 * libcurl makes them: it tries a name's addresses beside each other, asks http_socket.c before each, and gives up
 * in time. From then on they are ours, since an exchange costs it three times what it costs here. A connection
 * carries one exchange at a time and rests in between, at most REST_US; the one that rested last is used first, so that
 * those which are too many grow old. Whatever comes to one that rests ends it: the endpoint's end, mostly.
 *
 * A request that nothing came back for, over a connection that was used before, may have met its end on the
 * way: it goes once more, by a new one, if it may be repeated or none of it had left.
 */
#include "worker/http_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#define REST_US   118000000u /* what servers close after is more, mostly: 60 s to 120 s and over */
#define LOOK_MS   10000u
#define RESTS_MAX 4096u

/* ---- places -------------------------------------------------------------------------- */

static struct wrk_place *place_of(struct wrk_http *h, const char *url)
{
	struct wrk_place *place;

	HASH_FIND_STR(h->places, url, place);
	if (place)
		return place;
	place = calloc(1, sizeof *place);
	if (!place || !(place->url = strdup(url))) {
		free(place);
		return NULL;
	}
	HASH_ADD_KEYPTR(hh, h->places, place->url, strlen(place->url), place);
	if (place->hh.tbl)
		return place;
	free(place->url);
	free(place);
	return NULL;
}

static void place_leave(struct wrk_http *h, struct wrk_place *place)
{
	if (place->wires > 0)
		return;
	HASH_DEL(h->places, place);
	free(place->url);
	free(place);
}

/* ---- connections ----------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void wake_up(struct wrk_wire *w)
{
	struct wrk_http *h = w->http;

	DL_DELETE(w->place->resting, w);
	DL_DELETE2(h->rest_first, w, older, newer);
	h->n_rest--;
}

static void close_wire(struct wrk_wire *w)
{
	struct wrk_http *h = w->http;

	if (!w->call)
		wake_up(w);
	w->place->wires--;
	place_leave(h, w->place);
	uv_close((uv_handle_t *)&w->poll, on_closed);
	close(w->fd);
	atomic_fetch_sub(&h->connections, 1);
}

static void rest(struct wrk_wire *w)
{
	struct wrk_http *h = w->http;

	if (h->n_rest == RESTS_MAX)
		close_wire(h->rest_first);
	w->call = NULL;
	w->used = true;
	w->rests_us = uv_now(&h->loop) * 1000;
	DL_APPEND(w->place->resting, w);
	DL_APPEND2(h->rest_first, w, older, newer);
	h->n_rest++;
	if (!uv_is_active((uv_handle_t *)&h->rest))
		(void)uv_timer_start(&h->rest, wrk_wires_rest, LOOK_MS, 0);
}

void wrk_wires_rest(uv_timer_t *timer)
{
	struct wrk_http *h = timer->data;
	uint64_t now_us = uv_now(&h->loop) * 1000;

	while (h->rest_first && now_us - h->rest_first->rests_us >= REST_US)
		close_wire(h->rest_first);
	if (h->rest_first)
		(void)uv_timer_start(timer, wrk_wires_rest, LOOK_MS, 0);
}

void wrk_wires_close(struct wrk_http *h)
{
	while (h->rest_first)
		close_wire(h->rest_first);
}

/* ---- a request -------------------------------------------------------------------------- */

static size_t size_of(const struct wrk_call *call)
{
	return call->head.size + call->run->data_size;
}

static ssize_t send_some(int fd, const struct wrk_call *call)
{
	const struct wrk_run *run = call->run;
	size_t in_head = call->written < call->head.size ? call->head.size - call->written : 0;
	size_t in_body = in_head > 0 ? 0 : call->written - call->head.size;
	struct iovec parts[2] = { { call->head.data + call->head.size - in_head, in_head },
		{ run->in.data + run->meta_size + in_body, run->data_size - in_body } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	if (run->data_size == 0)
		return send(fd, parts[0].iov_base, in_head, MSG_NOSIGNAL);
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct wrk_wire *w, int events)
{
	if (w->polled != events)
		(void)uv_poll_start(&w->poll, events, on_poll);
	w->polled = events;
}

/* As much as the connection takes. One that takes nothing any more may still have something to say, and otherwise its
 * end is read soon. */
static void send_more(struct wrk_wire *w)
{
	struct wrk_call *call = w->call;
	bool full = false;

	while (!full && call->written < size_of(call)) {
		ssize_t n = send_some(w->fd, call);

		if (n >= 0)
			call->written += (size_t)n;
		else if (errno == EAGAIN)
			full = true;
		else if (errno != EINTR)
			break;
	}
	watch(w, full ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static void begin(struct wrk_wire *w, struct wrk_call *call)
{
	w->call = call;
	call->wire = w;
	call->written = 0;
	call->sent++;
	call->stage = WRK_CALL_WAITS;
	send_more(w);
}

bool wrk_wire_reuse(struct wrk_call *call)
{
	struct wrk_place *place;
	struct wrk_wire *w;

	HASH_FIND_STR(call->http->places, call->target->url, place);
	if (!place || !place->resting)
		return false;
	w = place->resting->prev; /* utlist's last */
	wake_up(w);
	begin(w, call);
	return true;
}

enum base_err wrk_wire_begin(struct wrk_call *call, curl_socket_t theirs)
{
	struct wrk_http *h = call->http;
	struct wrk_place *place = place_of(h, call->target->url);
	struct wrk_wire *w = calloc(1, sizeof *w);
	int fd = fcntl(theirs, F_DUPFD_CLOEXEC, 0); /* libcurl closes its own when it likes to */

	if (!place || !w || fd < 0 || uv_poll_init_socket(&h->loop, &w->poll, fd) != 0) {
		if (place)
			place_leave(h, place);
		if (fd >= 0)
			close(fd);
		free(w);
		return BASE_NOMEM;
	}
	w->http = h;
	w->fd = fd;
	w->place = place;
	place->wires++;
	atomic_fetch_add(&h->connections, 1);
	begin(w, call);
	return BASE_OK;
}

void wrk_wire_leave(struct wrk_call *call)
{
	struct wrk_wire *w = call->wire;
	const struct wrk_answer *a = &call->answer;

	call->wire = NULL;
	if (!w)
		return;
	if (a->part == WRK_ANSWER_WHOLE && a->keeps && call->written == size_of(call))
		rest(w);
	else
		close_wire(w);
}

/* ---- its answer ---------------------------------------------------------------------------- */

static bool may_go_again(const struct wrk_wire *w)
{
	const struct wrk_call *call = w->call;

	return call->answer.end == WRK_HTTP_CUT && !call->answer.began && w->used && !call->again &&
	       (call->repeatable || call->written == 0);
}

static void ended(struct wrk_wire *w, const char *why)
{
	struct wrk_call *call = w->call;

	if (!may_go_again(w)) {
		wrk_http_over(call, why);
		return;
	}
	wrk_wire_leave(call);
	call->answer.end = WRK_HTTP_OK;
	wrk_http_again(call);
}

/* Whether to go on reading at once: nothing will tell of what is left on a broken one. */
static void receive(struct wrk_wire *w, bool broken)
{
	struct wrk_http *h = w->http;
	struct wrk_call *call = w->call;
	ssize_t n;

	do {
		n = recv(w->fd, h->bytes, WRK_WIRE_READ, 0);
		if (n < 0 && !broken && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0)
			break;
		call->stage = WRK_CALL_READS;
		if (!wrk_answer_take(&call->answer, h->bytes, (size_t)n)) {
			ended(w, NULL);
			return;
		}
	} while (broken);
	if (n <= 0) {
		const char *why = n < 0 ? strerror(errno) : NULL;

		wrk_answer_cut(&call->answer);
		ended(w, why);
	}
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct wrk_wire *w = (struct wrk_wire *)poll;

	if (!w->call) {
		close_wire(w);
		return;
	}
	if (status >= 0 && events & UV_WRITABLE)
		send_more(w);
	if (status < 0 || events & UV_READABLE)
		receive(w, status < 0);
}
