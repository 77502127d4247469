#include "worker/http_parts.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

#define KEPT_CALLS   256u
#define CONNECTS_MAX 4096L /* that are kept; libcurl closes the oldest beyond it */

/* ---- a run's way through the thread -------------------------------------------------- */

static void end_run(struct wrk_http *h, struct wrk_run *run)
{
	struct wrk_task *task = &run->task;

	task->next = NULL;
	*(h->ended ? &h->ended_last->next : &h->ended) = task;
	h->ended_last = task;
}

static struct wrk_call *take_call(struct wrk_http *h)
{
	struct wrk_call *call = h->idle;

	if (!call)
		return wrk_call_new(h);
	h->idle = call->next;
	h->n_idle--;
	return call;
}

static void give_back(struct wrk_http *h, struct wrk_call *call)
{
	if (h->n_idle == KEPT_CALLS) {
		wrk_call_free(call);
		return;
	}
	call->next = h->idle;
	h->idle = call;
	h->n_idle++;
}

/* The run has its answer. With the handle goes its connection, unless the exchange came to its end. */
static void close_call(struct wrk_http *h, struct wrk_call *call)
{
	struct wrk_run *run = call->run;

	if (call->added)
		(void)curl_multi_remove_handle(h->multi, call->easy);
	call->added = false;
	base_heap_remove(&h->deadlines, &call->due);
	DL_DELETE(h->calls, call);
	atomic_fetch_sub(&h->running, 1);
	wrk_call_close(call);
	give_back(h, call);
	end_run(h, run);
}

static void go(struct wrk_http *h, struct wrk_call *call, const struct wrk_addresses *addresses)
{
	if (wrk_call_aim(call, addresses)) {
		call->added = curl_multi_add_handle(h->multi, call->easy) == CURLM_OK;
		if (call->added)
			return;
		wrk_call_fail(call, WRK_HTTP_NOMEM, NULL);
	}
	close_call(h, call);
}

static void on_found(struct wrk_lookup *l, const struct wrk_addresses *addresses, const char *why)
{
	struct wrk_call *call = base_heap_of(l, struct wrk_call, lookup);
	struct wrk_http *h = call->http;

	if (addresses) {
		go(h, call, addresses);
		return;
	}
	wrk_call_fail(call, WRK_HTTP_NAME, why);
	close_call(h, call);
}

static void set_out(struct wrk_http *h, struct wrk_call *call)
{
	const struct wrk_addresses *known = NULL;

	if (!call->target->literal) {
		known = wrk_resolver_known(h->resolver, call->target->host);
		call->lookup.fn = on_found;
		if (!known && wrk_resolver_ask(h->resolver, call->target->host, &call->lookup) == BASE_OK)
			return;
		if (!known) {
			wrk_call_fail(call, WRK_HTTP_NOMEM, NULL);
			close_call(h, call);
			return;
		}
	}
	go(h, call, known);
}

static void start(struct wrk_http *h, struct wrk_run *run)
{
	struct wrk_call *call;

	run->retry_after_ms = 0;
	run->took_us = 0;
	run->why[0] = '\0';
	run->late = run->recorded = run->diverged = run->doubted = false;
	if (base_clock_us() >= run->deadline_us) {
		wrk_call_answer_reason(run, 504, PIRN__REASON__DEADLINE);
		end_run(h, run);
		return;
	}
	call = take_call(h);
	if (!call || base_heap_push(&h->deadlines, &call->due, run->deadline_us)) {
		if (call)
			give_back(h, call);
		wrk_call_answer_reason(run, 503, PIRN__REASON__OVERLOADED);
		end_run(h, run);
		return;
	}
	DL_APPEND(h->calls, call);
	atomic_fetch_add(&h->running, 1);
	if (wrk_call_open(call, run))
		set_out(h, call);
	else
		close_call(h, call);
}

/* Exchanges that libcurl is done with. */
static void reap(struct wrk_http *h)
{
	const CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(h->multi, &left))) {
		CURLcode code = message->data.result;
		char *private = NULL;
		struct wrk_call *call;

		if (message->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
		call = (struct wrk_call *)(void *)private;
		if (code == CURLE_COULDNT_CONNECT || code == CURLE_OPERATION_TIMEDOUT)
			wrk_resolver_doubt(h->resolver, call->target->host);
		wrk_call_end(call, code);
		close_call(h, call);
	}
}

/* ---- libcurl in the loop ---------------------------------------------------------------- */

static void act(struct wrk_http *h, curl_socket_t fd, int events)
{
	int running;

	(void)curl_multi_socket_action(h->multi, fd, events, &running);
	reap(h);
}

void wrk_socket_ready(struct wrk_http *h, curl_socket_t fd, int events)
{
	act(h, fd, events);
}

static void on_timer(uv_timer_t *timer)
{
	act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout_wanted(CURLM *multi, long ms, void *arg)
{
	struct wrk_http *h = arg;

	(void)multi;
	h->kick = ms == 0;
	if (ms > 0) {
		uv_update_time(&h->loop);
		uv_timer_start(&h->timer, on_timer, (uint64_t)ms, 0);
	} else {
		uv_timer_stop(&h->timer);
	}
	return 0;
}

/* ---- turns -------------------------------------------------------------------------------- */

static void stop_those_told(struct wrk_http *h)
{
	struct wrk_call *call, *next;

	if (!atomic_exchange(&h->stopping, false))
		return;
	for (call = h->calls; call; call = next) {
		next = call->next;
		if (!atomic_load(&call->run->stopped))
			continue;
		wrk_call_cancel(call);
		close_call(h, call);
	}
}

static void expire(struct wrk_http *h)
{
	struct base_heap_node *node;
	uint64_t now_us = base_clock_us();

	while ((node = base_heap_first(&h->deadlines)) && node->due <= now_us) {
		struct wrk_call *call = base_heap_of(node, struct wrk_call, due);

		wrk_call_expire(call);
		close_call(h, call);
	}
}

static void on_clock(uv_timer_t *timer)
{
	expire(timer->data);
}

static void set_clock(struct wrk_http *h)
{
	const struct base_heap_node *first = base_heap_first(&h->deadlines);
	uint64_t now_us = base_clock_us(), ms;

	if (!first) {
		uv_timer_stop(&h->clock);
		return;
	}
	ms = first->due > now_us ? (first->due - now_us + 999) / 1000 : 0;
	/* Runs that end before their time leave the clock where it is. */
	if (uv_is_active((uv_handle_t *)&h->clock) && uv_timer_get_due_in(&h->clock) <= ms)
		return;
	uv_update_time(&h->loop);
	uv_timer_start(&h->clock, on_clock, ms, 0);
}

static void deliver(struct wrk_http *h)
{
	if (!h->ended)
		return;
	pthread_mutex_lock(&h->lock);
	*(h->done ? &h->done_last->next : &h->done) = h->ended;
	h->done_last = h->ended_last;
	pthread_mutex_unlock(&h->lock);
	h->ended = h->ended_last = NULL;
	h->conf.wake(h->conf.arg);
}

/* Before the loop sleeps. */
static void on_turn(uv_prepare_t *turn)
{
	struct wrk_http *h = turn->data;

	for (unsigned i = 0; h->kick && i < 8; i++) {
		h->kick = false;
		act(h, CURL_SOCKET_TIMEOUT, 0);
	}
	if (h->kick)
		uv_timer_start(&h->timer, on_timer, 0, 0);
	set_clock(h);
	deliver(h);
}

static struct wrk_task *take_inbox(struct wrk_http *h, bool *ending)
{
	struct wrk_task *first;

	pthread_mutex_lock(&h->lock);
	first = h->inbox;
	h->inbox = h->inbox_last = NULL;
	for (struct wrk_task *t = first; t; t = t->next)
		t->queued = false;
	h->woken = false;
	*ending = h->ending;
	pthread_mutex_unlock(&h->lock);
	return first;
}

static void on_bell(uv_poll_t *bell, int status, int events)
{
	struct wrk_http *h = bell->data;
	struct wrk_task *task, *next;
	uint64_t rung;
	bool ending;

	(void)status, (void)events;
	(void)!read(h->bell_fd, &rung, sizeof rung); /* before the look: what comes after it rings again */
	for (task = take_inbox(h, &ending); task; task = next) {
		next = task->next;
		start(h, (struct wrk_run *)task);
	}
	stop_those_told(h);
	if (ending)
		uv_stop(&h->loop);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void close_all(struct wrk_http *h)
{
	while (h->calls) {
		struct wrk_call *call = h->calls;

		wrk_call_cancel(call);
		close_call(h, call);
	}
	while (h->idle) {
		struct wrk_call *call = h->idle;

		h->idle = call->next;
		wrk_call_free(call);
	}
	(void)curl_multi_cleanup(h->multi);
	wrk_resolver_free(&h->resolver);
	uv_close((uv_handle_t *)&h->bell, NULL);
	uv_close((uv_handle_t *)&h->turn, NULL);
	uv_close((uv_handle_t *)&h->timer, NULL);
	uv_close((uv_handle_t *)&h->clock, NULL);
	(void)uv_run(&h->loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&h->loop);
	close(h->bell_fd);
	base_heap_fini(&h->deadlines);
	free(h->sockets);
	h->sockets = NULL; /* a start that failed is tried again */
	h->n_sockets = 0;
}

static void *thread_main(void *arg)
{
	struct wrk_http *h = arg;

	(void)pthread_setname_np(pthread_self(), "pirn-http");
	(void)uv_run(&h->loop, UV_RUN_DEFAULT);
	close_all(h);
	return NULL;
}

static void init_handles(struct wrk_http *h)
{
	(void)uv_poll_start(&h->bell, UV_READABLE, on_bell);
	(void)uv_prepare_init(&h->loop, &h->turn);
	(void)uv_timer_init(&h->loop, &h->timer);
	(void)uv_timer_init(&h->loop, &h->clock);
	h->bell.data = h->turn.data = h->timer.data = h->clock.data = h;
	(void)uv_prepare_start(&h->turn, on_turn);
}

static bool set_up_multi(struct wrk_http *h)
{
	h->multi = curl_multi_init();
	return h->multi &&
	       curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, wrk_socket_want) == CURLM_OK &&
	       curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) == CURLM_OK &&
	       curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted) == CURLM_OK &&
	       curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) == CURLM_OK &&
	       curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, CONNECTS_MAX) == CURLM_OK &&
	       curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING) == CURLM_OK;
}

/* A connection is a descriptor. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= 65536)
		return;
	limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Signals are the main thread's. */
static bool start_thread(struct wrk_http *h)
{
	sigset_t all, before;
	bool ok;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	ok = pthread_create(&h->thread, NULL, thread_main, h) == 0;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ok;
}

static bool hang_bell(struct wrk_http *h)
{
	h->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->bell_fd < 0)
		return false;
	if (uv_poll_init(&h->loop, &h->bell, h->bell_fd) == 0)
		return true;
	close(h->bell_fd);
	return false;
}

/* With the first run: who has none pays for nothing. */
static bool start_all(struct wrk_http *h)
{
	if (h->started)
		return true;
	raise_limit();
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || uv_loop_init(&h->loop) != 0)
		return false;
	if (!hang_bell(h)) {
		(void)uv_loop_close(&h->loop);
		return false;
	}
	base_heap_init(&h->deadlines);
	init_handles(h);
	h->started = set_up_multi(h) && wrk_resolver_new(&h->loop, &h->resolver) == BASE_OK &&
		     start_thread(h);
	if (!h->started)
		close_all(h);
	return h->started;
}

/* ---- the loop's side --------------------------------------------------------------------------- */

static void ring(struct wrk_http *h)
{
	const uint64_t once = 1;

	(void)!write(h->bell_fd, &once, sizeof once); /* it fails when 2^64 rang: nobody sleeps then */
}

/* There is no thread, for want of memory say. The next run tries once more. */
static void refuse_all(struct wrk_http *h, struct wrk_task *first)
{
	struct wrk_task *last = first;

	for (struct wrk_task *t = first; t; t = t->next) {
		struct wrk_run *run = (struct wrk_run *)t;

		wrk_call_answer_reason(run, 503, PIRN__REASON__OVERLOADED);
		run->retry_after_ms = 1000;
		last = t;
	}
	*(h->done ? &h->done_last->next : &h->done) = first;
	h->done_last = last;
	h->conf.wake(h->conf.arg);
}

static void push(void *arg, struct wrk_task *first)
{
	struct wrk_http *h = arg;
	struct wrk_task *next;
	bool sleeps;

	if (!start_all(h)) {
		refuse_all(h, first);
		return;
	}

	pthread_mutex_lock(&h->lock);
	for (; first; first = next) {
		next = first->next;
		first->prev = h->inbox_last;
		first->next = NULL;
		first->queued = true;
		*(h->inbox ? &h->inbox_last->next : &h->inbox) = first;
		h->inbox_last = first;
	}
	sleeps = !h->woken;
	h->woken = true;
	pthread_mutex_unlock(&h->lock);
	if (sleeps)
		ring(h);
}

static bool withdraw(void *arg, struct wrk_task *task)
{
	struct wrk_http *h = arg;
	bool queued;

	pthread_mutex_lock(&h->lock);
	queued = task->queued;
	if (queued) {
		*(task->prev ? &task->prev->next : &h->inbox) = task->next;
		*(task->next ? &task->next->prev : &h->inbox_last) = task->prev;
		task->queued = false;
	}
	pthread_mutex_unlock(&h->lock);
	return queued;
}

static void stop(void *arg, struct wrk_run *run)
{
	struct wrk_http *h = arg;

	if (!h->started)
		return;
	atomic_store(&run->stopped, true);
	atomic_store(&h->stopping, true);
	ring(h);
}

static struct wrk_task *done(void *arg)
{
	struct wrk_http *h = arg;
	struct wrk_task *first;

	pthread_mutex_lock(&h->lock);
	first = h->done;
	h->done = h->done_last = NULL;
	pthread_mutex_unlock(&h->lock);
	return first;
}

const struct wrk_carrier *wrk_http_carrier(struct wrk_http *h)
{
	return &h->carrier;
}

/* ---- life ------------------------------------------------------------------------------------------ */

enum base_err wrk_http_new(
	const struct wrk_http_conf *conf, struct wrk_http **out, char *why, size_t why_room)
{
	struct wrk_http *h = calloc(1, sizeof *h);
	enum base_err err = BASE_NOMEM;

	if (!h)
		(void)snprintf(why, why_room, "%s", base_err_text(err));
	else
		err = wrk_allow_parse(conf->allow, &h->allow, why, why_room);
	if (err) {
		free(h);
		return err;
	}
	h->conf = *conf;
	h->allow.named_only = conf->named_only;
	h->carrier = (struct wrk_carrier){ push, withdraw, stop, done, h };
	pthread_mutex_init(&h->lock, NULL);
	*out = h;
	return BASE_OK;
}

void wrk_http_free(struct wrk_http **hp)
{
	struct wrk_http *h = *hp;

	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	h->ending = true;
	pthread_mutex_unlock(&h->lock);
	if (h->started) {
		ring(h);
		pthread_join(h->thread, NULL);
	}
	pthread_mutex_destroy(&h->lock);
	wrk_allow_fini(&h->allow);
	free(h);
	*hp = NULL;
}

void wrk_http_figures(const struct wrk_http *h, struct wrk_http_figures *out)
{
	*out = (struct wrk_http_figures){ atomic_load(&h->connects), atomic_load(&h->denied),
		atomic_load(&h->connections), atomic_load(&h->running) };
}

/* ---- endpoints ----------------------------------------------------------------------------------------- */

static enum base_err open_endpoint(
	struct wrk_http *h, struct wrk_endpoint *e, const char *url, char *why, size_t room)
{
	char expected[256], quoted[BASE_TEXT_QUOTED];
	enum base_err err = wrk_target_parse(url, &e->target, expected, sizeof expected);

	if (err) {
		base_text_quote(quoted, sizeof quoted, url, strlen(url));
		(void)snprintf(why, room, "handler: %s, got %s", expected, quoted);
		return err;
	}
	if (e->target.literal && !wrk_allow_has(&h->allow, e->target.host, e->target.port,
					 (const struct sockaddr *)&e->target.address)) {
		(void)snprintf(why, room,
			"handler: %s is not a public address, and --http-allow does not name it",
			e->target.host);
		return BASE_DENIED;
	}
	return BASE_OK;
}

enum base_err wrk_endpoint_new(struct wrk_http *h, const struct base_manifest *manifest,
	const char *folder, struct wrk_endpoint **out, char *why, size_t why_room)
{
	struct wrk_endpoint *e = calloc(1, sizeof *e);
	enum base_err err = BASE_NOMEM;

	if (!e) {
		(void)snprintf(why, why_room, "%s", base_err_text(err));
		return err;
	}
	e->service = manifest->service;
	err = open_endpoint(h, e, manifest->handler, why, why_room);
	if (!err)
		err = wrk_http_headers_make(manifest, folder, &e->headers, why, why_room);
	if (err)
		wrk_endpoint_free(&e);
	else
		*out = e;
	return err;
}

enum base_err wrk_endpoint_of_callbacks(
	const char *secret, struct wrk_endpoint **out, char *why, size_t why_room)
{
	struct wrk_endpoint *e = calloc(1, sizeof *e);
	struct wrk_signer *signer = calloc(1, sizeof *signer);
	enum base_err err = BASE_NOMEM;

	if (!e || !signer)
		(void)snprintf(why, why_room, "%s", base_err_text(err));
	else
		err = wrk_signer_parse(secret, signer, why, why_room);
	if (err) {
		free(e);
		free(signer);
		return err;
	}
	e->service = WRK_CALLBACKS;
	e->signer = signer;
	*out = e;
	return BASE_OK;
}

void wrk_endpoint_free(struct wrk_endpoint **ep)
{
	struct wrk_endpoint *e = *ep;

	if (!e)
		return;
	if (e->signer)
		wrk_signer_fini(e->signer);
	free(e->signer);
	wrk_target_fini(&e->target);
	wrk_http_headers_fini(&e->headers);
	free(e);
	*ep = NULL;
}
