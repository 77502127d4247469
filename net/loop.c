/* The turn. libuv runs timers, idle and prepare handles, polls, and comes back;
 * the three stages sit in the one prepare handle, so they see whatever timers and
 * descriptors' callbacks left for them, and run right before the loop blocks.
 *
 * Not blocking is asked for with an idle handle: while one is active libuv polls
 * with a timeout of 0. It is stopped at the start of each turn and started again
 * by whoever still has work.
 *
 * Hooks are never freed while a stage walks them: net_loop_unhook only clears the
 * function, and the turn's end sweeps.
 */
#include "net/loop.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <zmq.h>

#include "base/clock.h"
#include "base/log.h"

#define CLOSING_MS 1000
#define LATE_MS    50 /* between two turns */

struct net_hook {
	struct net_hook *next;
	struct net_loop *loop;
	net_stage_fn *fn; /* NULL: unhooked, swept at the end of the turn */
	void *arg;
};

struct net_wake {
	uv_poll_t poll;
	struct net_loop *loop;
	bool pending;
};

struct net_loop {
	uv_loop_t uv;
	uv_prepare_t prepare;
	uv_idle_t idle;
	uv_signal_t signals[2];
	void *zmq;
	struct net_hook *hooks[NET_STAGE__N];
	net_signal_fn *on_signal;
	void *signal_arg;
	unsigned n_signals;
	uint64_t turn_ms, turn_us;
	bool late;  /* this turn */
	bool dirty; /* a hook waits to be swept */
	bool stopping;
};

static void on_idle(uv_idle_t *idle)
{
	(void)idle; /* its being there is what counts */
}

void net_loop_again(struct net_loop *loop)
{
	uv_idle_start(&loop->idle, on_idle);
}

static bool run_stage(struct net_loop *loop, enum net_stage stage)
{
	bool more = false;

	for (struct net_hook *h = loop->hooks[stage]; h; h = h->next)
		if (h->fn && h->fn(h->arg))
			more = true;
	return more;
}

static void sweep(struct net_loop *loop)
{
	loop->dirty = false;
	for (int i = 0; i < NET_STAGE__N; i++) {
		struct net_hook **at = &loop->hooks[i];
		while (*at) {
			struct net_hook *h = *at;
			if (h->fn) {
				at = &h->next;
				continue;
			}
			*at = h->next;
			free(h);
		}
	}
}

static void read_clock(struct net_loop *loop)
{
	uint64_t last_ms = loop->turn_ms;

	uv_update_time(&loop->uv);
	loop->turn_ms = uv_now(&loop->uv);
	loop->late = loop->turn_ms - last_ms > LATE_MS;
	loop->turn_us = base_clock_us();
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct net_loop *loop = prepare->data;
	bool more = false;

	read_clock(loop);
	uv_idle_stop(&loop->idle);
	for (int i = 0; i < NET_STAGE__N; i++)
		more |= run_stage(loop, (enum net_stage)i);
	if (loop->dirty)
		sweep(loop);
	if (more)
		net_loop_again(loop);
}

enum base_err net_loop_new(struct net_loop **out)
{
	struct net_loop *loop = calloc(1, sizeof *loop);
	int rc;

	if (!loop)
		return BASE_NOMEM;
	rc = uv_loop_init(&loop->uv);
	if (rc) {
		free(loop);
		return base_err_from_errno(-rc);
	}
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_idle_init(&loop->uv, &loop->idle);
	loop->prepare.data = loop;
	uv_prepare_start(&loop->prepare, on_prepare);
	read_clock(loop);
	*out = loop;
	return BASE_OK;
}

/* A look-up of a name that hangs in the resolver cannot be cancelled; a process that ends does not
 * wait for it longer than CLOSING_MS, and leaves the loop's few bytes to the system. */
static bool close_uv(struct net_loop *loop)
{
	uint64_t end = base_clock_ms() + CLOSING_MS;

	while (uv_run(&loop->uv, UV_RUN_NOWAIT) && base_clock_ms() < end)
		uv_sleep(1);
	return uv_loop_close(&loop->uv) == 0;
}

void net_loop_end_zmq(struct net_loop *loop)
{
	if (loop->zmq)
		while (zmq_ctx_term(loop->zmq) != 0 && errno == EINTR)
			;
	loop->zmq = NULL;
}

void net_loop_free(struct net_loop **loopp)
{
	struct net_loop *loop = *loopp;

	if (!loop)
		return;
	*loopp = NULL;
	for (int i = 0; i < NET_STAGE__N; i++)
		for (struct net_hook *h = loop->hooks[i]; h; h = h->next)
			h->fn = NULL;
	sweep(loop);
	uv_close((uv_handle_t *)&loop->prepare, NULL);
	uv_close((uv_handle_t *)&loop->idle, NULL);
	if (loop->on_signal)
		for (int i = 0; i < 2; i++)
			uv_close((uv_handle_t *)&loop->signals[i], NULL);
	net_loop_end_zmq(loop);
	if (close_uv(loop))
		free(loop);
	else
		base_log(BASE_WARN, "loop_not_closed");
}

uv_loop_t *net_loop_uv(struct net_loop *loop)
{
	return &loop->uv;
}

void *net_loop_zmq(struct net_loop *loop)
{
	if (loop->zmq)
		return loop->zmq;
	loop->zmq = zmq_ctx_new();
	if (!loop->zmq)
		return NULL;
	zmq_ctx_set(loop->zmq, ZMQ_IO_THREADS, 1);
	zmq_ctx_set(loop->zmq, ZMQ_BLOCKY, 0);
	return loop->zmq;
}

enum base_err net_loop_hook(struct net_loop *loop, enum net_stage stage, net_stage_fn *fn,
	void *arg, struct net_hook **out)
{
	struct net_hook *h = calloc(1, sizeof *h);
	struct net_hook **at = &loop->hooks[stage];

	assert(fn && stage < NET_STAGE__N);
	if (!h)
		return BASE_NOMEM;
	*h = (struct net_hook){ .loop = loop, .fn = fn, .arg = arg };
	while (*at)
		at = &(*at)->next;
	*at = h;
	*out = h;
	return BASE_OK;
}

void net_loop_unhook(struct net_hook **hook)
{
	struct net_hook *h = *hook;

	if (!h)
		return;
	*hook = NULL;
	h->fn = NULL;
	h->loop->dirty = true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct net_wake *wake = poll->data;

	(void)status;
	(void)events;
	wake->pending = true; /* the prepare handle runs next, and its owner reads */
}

enum base_err net_loop_wake_on(struct net_loop *loop, void *zmq_socket, struct net_wake **out)
{
	struct net_wake *wake;
	int fd = -1;
	size_t size = sizeof fd;
	int rc;

	if (zmq_getsockopt(zmq_socket, ZMQ_FD, &fd, &size) != 0)
		return base_err_from_errno(errno);
	wake = calloc(1, sizeof *wake);
	if (!wake)
		return BASE_NOMEM;
	rc = uv_poll_init(&loop->uv, &wake->poll, fd);
	if (rc) {
		free(wake);
		return base_err_from_errno(-rc);
	}
	wake->poll.data = wake;
	wake->loop = loop;
	wake->pending = true; /* the edge may lie behind us */
	uv_poll_start(&wake->poll, UV_READABLE, on_readable);
	net_loop_again(loop);
	*out = wake;
	return BASE_OK;
}

bool net_wake_take(struct net_wake *wake)
{
	bool pending = wake->pending || wake->loop->late;

	wake->pending = false;
	return pending;
}

void net_wake_again(struct net_wake *wake)
{
	wake->pending = true;
	net_loop_again(wake->loop);
}

static void on_wake_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void net_wake_free(struct net_wake **wake)
{
	struct net_wake *w = *wake;

	if (!w)
		return;
	*wake = NULL;
	uv_poll_stop(&w->poll);
	uv_close((uv_handle_t *)&w->poll, on_wake_closed);
}

void net_loop_give_way(void)
{
	struct sched_param none = { 0 };

	if (sched_getscheduler(0) == SCHED_OTHER)
		(void)sched_setscheduler(0, SCHED_BATCH, &none);
}

void net_loop_run(struct net_loop *loop)
{
	while (!loop->stopping)
		uv_run(&loop->uv, UV_RUN_DEFAULT);
	loop->stopping = false;
}

void net_loop_stop(struct net_loop *loop)
{
	loop->stopping = true;
	uv_stop(&loop->uv);
}

/* libuv reads its clock when a poll returns: when that is ahead of the turn's, we are in a
 * descriptor's or timer's callback, and the turn's time is from before the wait. */
uint64_t net_loop_now_ms(const struct net_loop *loop)
{
	return uv_now(&loop->uv);
}

uint64_t net_loop_now_us(const struct net_loop *loop)
{
	return uv_now(&loop->uv) == loop->turn_ms ? loop->turn_us : base_clock_us();
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct net_loop *loop = handle->data;

	(void)number;
	loop->on_signal(loop->signal_arg, ++loop->n_signals);
}

enum base_err net_loop_on_terminate(struct net_loop *loop, net_signal_fn *fn, void *arg)
{
	static const int numbers[2] = { SIGTERM, SIGINT };

	assert(fn && !loop->on_signal);
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < 2; i++) {
		uv_signal_init(&loop->uv, &loop->signals[i]);
		loop->signals[i].data = loop;
	}
	loop->on_signal = fn;
	loop->signal_arg = arg;
	for (int i = 0; i < 2; i++) {
		int rc = uv_signal_start(&loop->signals[i], on_signal, numbers[i]);
		if (rc)
			return base_err_from_errno(-rc);
	}
	return BASE_OK;
}
