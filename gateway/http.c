#include "gateway/http.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "gateway/http_parts.h"
#include "gateway/listen.h"

/* Of a connection, over max_head: what libmicrohttpd notes of each header, and the answer's head. It
 * wipes the whole pool after each request, which is why this is not more. */
#define POOL_SPARE_BYTES (16u * 1024)
#define DRAIN_BYTES \
	(1024u * 1024) /* of a chunked body over the limit, before the connection is cut */
#define MAX_HELD       (768u * 1024 * 1024)
#define DISCARD_BYTES  (64u * 1024) /* of a body whose head was refused, to keep the connection */
#define RUNS_MOST      4            /* of the daemon in a turn */
#define IDLE_GRACE_MS  500          /* when draining: for idle connections, … */
#define FRESH_GRACE_MS 2000 /* … and for those whose first request is on its way, or never comes */

/* At its default level a libmicrohttpd that has levels redirects a target with a space in it
 * (301, to a place that the client chose), and takes a bare LF for the end of a chunk's line. */
#if MHD_VERSION >= 0x00097701
#define DISCIPLINE MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1
#else
#define DISCIPLINE MHD_OPTION_STRICT_FOR_CLIENT, 0 /* more would close without an answer */
#endif

/* ---- a request's life -------------------------------------------------------- */

/* The request line is there; libmicrohttpd unescapes uri in place afterwards. */
static void *on_target(void *arg, const char *uri, struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct gw_conn *c = info ? info->socket_context : NULL;

	(void)arg;
	if (!c)
		return NULL;
	if (c->stage == GW_STAGE_IDLE || c->stage == GW_STAGE_FRESH)
		gw_conn_stage(c, GW_STAGE_HEAD);
	if (c->just_idle) { /* it came with the one before, and so may more have than is read yet */
		c->just_idle = false;
		c->came = true;
	}
	if (c->held == 0)
		gw_room_find(c, uri);
	if (c->held < c->http->pool_bytes) {
		gw_room_hold(c, c->http->pool_bytes - c->held);
		(void)gw_room_fits(c->http, c);
	}
	return gw_record_open(c, mhd, uri);
}

static void refuse_large(struct gw_record *r)
{
	r->close = true;
	gw_http_refuse(&r->pub, 413,
		"The request's body is larger than this gateway or the service takes.");
}

static void refuse_ending(struct gw_record *r)
{
	r->close = true;
	gw_http_refuse(&r->pub, 503, "The gateway is about to end.");
}

static enum MHD_Result begin(struct gw_record *r, const char *method, const char *version)
{
	struct gw_http *h = r->pub.http;
	bool body;

	r->begun = true;
	if (gw_head_read(r, method, version)) {
		if (h->ending)
			refuse_ending(r);
		else
			h->events.on_head(h->events.arg, &r->pub);
	}
	body = r->content_length > 0 || r->chunked;
	if (body && !r->answered && r->content_length > r->pub.max_body)
		refuse_large(r);
	r->pub.body_at = r->pub.payload.size;
	r->held = r->pub.payload.capacity;
	gw_room_hold(r->conn, r->held);
	if (!body)
		return MHD_YES;
	/* Queued now, the answer ends the connection without reading the body. */
	if (r->answered && (r->close || r->chunked || r->content_length > DISCARD_BYTES ||
				   r->pub.known[GW_HEADER_EXPECT]))
		return gw_answer_queue(r);
	gw_conn_stage(r->conn, GW_STAGE_BODY);
	return MHD_YES;
}

static void keep_body(struct gw_record *r, const char *data, size_t size)
{
	struct gw_request *q = &r->pub;

	base_buf_add(&q->payload, data, size);
	if (base_buf_check(&q->payload) != BASE_OK) {
		gw_http_refuse(q, 503, "The gateway is out of memory.");
		return;
	}
	if (q->payload.size <= r->held)
		return;
	gw_room_hold(r->conn, q->payload.size - r->held);
	r->held = q->payload.size;
	if (!gw_room_fits(q->http, r->conn))
		gw_http_problem(
			q, &(struct gw_problem){ .status = 503,
				   .detail = "The gateway has no room for another body now.",
				   .retry_after_s = 1 });
}

static enum MHD_Result upload(struct gw_record *r, const char *data, size_t size)
{
	struct gw_request *q = &r->pub;

	if (r->conn->stage == GW_STAGE_CUT)
		return MHD_YES;
	r->received += size;
	if (!r->discard) {
		if (r->received > q->max_body)
			refuse_large(r);
		else
			keep_body(r, data, size);
		if (r->discard)
			gw_record_drop(r);
	}
	if (r->chunked && r->received > q->max_body + DRAIN_BYTES && r->conn->stage != GW_STAGE_CUT)
		gw_conn_cut_with(r->conn, r, 413,
			"The request's body is larger than this gateway or the service takes.");
	return MHD_YES;
}

static enum MHD_Result finish(struct gw_record *r)
{
	struct gw_http *h = r->pub.http;

	if (!r->answered && h->ending)
		refuse_ending(r);
	if (!r->answered)
		h->events.on_request(h->events.arg, &r->pub);
	if (r->answered)
		return gw_answer_queue(r);
	gw_conn_stage(r->conn, GW_STAGE_WAIT);
	gw_park_wait(r);
	return MHD_YES;
}

static enum MHD_Result on_access(void *arg, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *data, size_t *size, void **context)
{
	struct gw_record *r = *context;
	enum MHD_Result result;

	(void)arg;
	(void)mhd;
	(void)url;
	if (!r)
		return MHD_NO;
	if (!r->begun)
		return begin(r, method, version);
	if (*size == 0)
		return finish(r);
	result = upload(r, data, *size);
	*size = 0;
	return result;
}

static void on_completed(
	void *arg, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode code)
{
	struct gw_record *r = *context;
	struct gw_conn *c;

	(void)arg;
	if (!r)
		return;
	c = r->conn;
	if (!r->answered && r->pub.status == 0) { /* libmicrohttpd may have refused it itself */
		const union MHD_ConnectionInfo *info =
			MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
		if (info)
			r->pub.status = info->http_status;
	}
	*context = NULL;
	gw_record_close(r);
	if (code != MHD_REQUEST_TERMINATED_COMPLETED_OK)
		return;
	gw_conn_stage(c, GW_STAGE_IDLE);
	c->just_idle = true;
}

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
	gw_conn_expire(h, net_loop_now_ms(h->loop));
}

/* A timer that runs earlier than needed is left alone: it looks again when it ends. */
static void arm(struct gw_http *h, uint64_t due_ms)
{
	uint64_t now_ms = net_loop_now_ms(h->loop);

	if (due_ms == UINT64_MAX || (h->timer_due_ms && h->timer_due_ms <= due_ms))
		return;
	h->timer_due_ms = due_ms;
	(void)uv_timer_start(&h->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 1, 0);
}

/* Libmicrohttpd has more to do at once. */
static bool has_more(struct gw_http *h)
{
	MHD_UNSIGNED_LONG_LONG timeout;

	return MHD_get_timeout(h->daemon, &timeout) == MHD_YES && timeout == 0;
}

static void run_once(struct gw_http *h)
{
	gw_refusal_run(h);
	gw_park_settle(h);
}

/* An answer takes three runs: one makes its head, one sends it, and one is over it. */
static void run_daemon(struct gw_http *h)
{
	unsigned runs = 0;

	do
		run_once(h);
	while (++runs < RUNS_MOST && has_more(h));
}

static bool on_run(void *arg)
{
	struct gw_http *h = arg;
	uint64_t due_ms;
	MHD_UNSIGNED_LONG_LONG timeout;

	if (!h->ready)
		return false;
	h->ready = false;
	gw_park_wake(h);
	run_daemon(h);
	gw_room_settle(h);
	due_ms = gw_conn_due(h);
	if (MHD_get_timeout(h->daemon, &timeout) == MHD_YES) {
		uint64_t at_ms = net_loop_now_ms(h->loop) + timeout;
		h->ready = h->ready || timeout == 0;
		if (timeout && at_ms < due_ms)
			due_ms = at_ms;
	}
	arm(h, due_ms);
	return h->ready;
}

/* Somebody answered after RUN: the loop must not block on it. */
static bool on_flush(void *arg)
{
	return ((struct gw_http *)arg)->ready;
}

/* ---- starting and ending ------------------------------------------------------ */

/* The listening socket is the daemon's on success. */
static bool start_daemon(struct gw_http *h, int fd)
{
	h->daemon = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
		on_access, h, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned)h->conf.max_connections + GW_HTTP_SPARE_CONNECTIONS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, h->pool_bytes, MHD_OPTION_NOTIFY_CONNECTION,
		gw_conn_notify, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
		MHD_OPTION_URI_LOG_CALLBACK, on_target, h, DISCIPLINE, MHD_OPTION_END);
	return h->daemon != NULL;
}

static void on_closed(uv_handle_t *handle)
{
	struct gw_http *h = handle->data;

	if (--h->open_handles == 0)
		free(h);
}

static bool poll_on(struct gw_http *h, uv_poll_t *poll, int fd)
{
	if (uv_poll_init(net_loop_uv(h->loop), poll, fd))
		return false;
	poll->data = h;
	h->open_handles++;
	return uv_poll_start(poll, UV_READABLE, on_readable) == 0;
}

static enum base_err attach(struct gw_http *h)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	enum base_err err;

	if (!info || !poll_on(h, &h->poll, info->epoll_fd) ||
		!poll_on(h, &h->park_poll, h->park_fd) ||
		uv_timer_init(net_loop_uv(h->loop), &h->timer))
		return BASE_IO;
	h->timer.data = h;
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
	h->max_held = conf->max_held ? conf->max_held : MAX_HELD;
	h->pool_bytes = (size_t)conf->max_head + POOL_SPARE_BYTES;
	h->stage_ms[GW_STAGE_HEAD] = conf->head_ms;
	h->stage_ms[GW_STAGE_BODY] = conf->body_ms;
	h->stage_ms[GW_STAGE_SEND] = conf->idle_ms;
	h->stage_ms[GW_STAGE_IDLE] = conf->idle_ms;
	h->ready = true; /* what was opened before us may have connections already */
	return h;
}

enum base_err gw_http_new(struct net_loop *loop, const struct gw_http_conf *conf,
	const struct gw_http_events *events, struct gw_http **out, char **why)
{
	struct gw_http *h = make(loop, conf, events);
	int fd = conf->listen_fd;
	enum base_err err = h ? gw_park_init(h) : BASE_NOMEM;

	*why = NULL;
	if (!err && fd < 0)
		err = gw_listen_open(conf->address, &fd, why);
	if (err)
		goto fail;
	gw_listen_name(fd, conf->address, h->address, sizeof h->address);
	if (!start_daemon(h, fd)) {
		gw_listen_explain(why, h->address, "the HTTP server did not start");
		(void)close(fd);
		err = BASE_IO;
		goto fail;
	}
	err = attach(h);
	if (err)
		goto fail;
	*out = h;
	return BASE_OK;
fail:
	if (h && h->daemon) {
		gw_http_free(&h);
	} else if (h) {
		gw_park_fini(h);
		free(h);
	}
	return err;
}

/* libmicrohttpd refuses to end while requests are suspended. */
static void resume_all(struct gw_http *h)
{
	for (struct gw_record *r = h->records; r; r = r->next) {
		if (!r->suspended)
			continue;
		r->answered = true;
		r->suspended = false;
		MHD_resume_connection(r->mhd);
	}
	gw_park_end(h);
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
	if (handles > 0) /* before the daemon closes the descriptor */
		uv_close((uv_handle_t *)&h->poll, on_closed);
	if (handles > 1)
		uv_close((uv_handle_t *)&h->park_poll, on_closed);
	if (handles > 2)
		uv_close((uv_handle_t *)&h->timer, on_closed);
	resume_all(h);
	h->ending = true;
	run_daemon(h); /* sends what was answered last */
	MHD_stop_daemon(h->daemon);
	gw_record_fini(h);
	gw_conn_fini(h);
	gw_park_fini(h);
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
	MHD_socket fd;
	size_t before;

	if (h->draining)
		return;
	do {
		before = h->n_connections;
		run_once(h); /* accepts a few each time */
	} while (h->n_connections > before);
	h->draining = h->last = true;
	h->ready = true;
	fd = MHD_quiesce_daemon(h->daemon);
	if (fd != MHD_INVALID_SOCKET)
		(void)close(fd);
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

size_t gw_http_parked(const struct gw_http *h)
{
	return h->n_parked;
}

uint64_t gw_http_parkings(const struct gw_http *h)
{
	return h->parkings;
}
