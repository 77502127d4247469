#include "worker/worker.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rand.h"
#include "base/version.h"
#include "net/notify.h"
#include "store/functions_lua.h"
#include "worker/crash.h"
#include "worker/figures.h"
#include "worker/loader.h"
#include "worker/memory.h"
#include "worker/request.h"
#include "worker/session.h"

#define AGAIN "PIRN_WORKER_AGAIN" /* set by a worker that starts itself anew */
#define MEMORY_AT \
	"PIRN_WORKER_MEMORY_AT" /* and by one that does so for its memory: when, monotonic, ms */

/* Well under the 5 s that a run has by default: a Redis that hangs is answered 503, not 504. */
#define REDIS_MS 2000

struct worker {
	struct wrk_settings *settings;
	struct net_loop *loop;
	struct net_hook *hook, *flush_hook;
	struct store_redis *redis;
	struct wrk_state *state;
	struct wrk_executor *executor;
	struct wrk_http *http;
	struct wrk_session *session;
	struct wrk_loader *loader;
	struct wrk_beat *beat;
	struct wrk_memory memory;
	uv_async_t wake;
	uv_timer_t end;
	bool handles;
	bool redis_heard; /* it is up, or its first connection failed */
	bool started;     /* the links are open */
	bool forgiving;   /* a service that does not load does not end the start */
	bool draining, anew;
	bool few_said; /* that there are fewer threads than services may want */
	bool cut;      /* the end did not wait for all */
	enum wrk_exit code;
};

/* A service on its way into the session. */
struct job {
	struct wrk_run run; /* first */
	struct worker *worker;
	struct wrk_folder_entry *entry;
	struct wrk_service *service;
	enum base_err err;
	char why[WRK_NATIVE_WHY];
};

/* ---- threads --------------------------------------------------------------- */

static void *enter(void *arg, struct wrk_executor *e)
{
	struct worker *w = arg;
	struct wrk_thread *thread = wrk_thread_new(e, w->state);

	if (thread)
		wrk_crash_enter();
	return thread;
}

static void leave(void *arg, void *local)
{
	struct wrk_thread *thread = local;

	(void)arg;
	wrk_crash_leave();
	wrk_thread_free(&thread);
}

static void run_task(void *arg, void *local, struct wrk_task *task)
{
	struct wrk_run *run = (struct wrk_run *)task;

	(void)arg;
	run->fn(local, run);
}

static void run_service(void *local, struct wrk_run *run)
{
	wrk_native_run(run->service->native, local, run);
}

static void wake(void *arg)
{
	struct worker *w = arg;

	uv_async_send(&w->wake);
}

static void on_wake(uv_async_t *handle)
{
	(void)handle; /* the hooks of the turn look at everything */
}

static bool turn(void *arg)
{
	struct worker *w = arg;

	wrk_executor_listen(w->executor);
	wrk_state_turn(w->state);
	return false;
}

static bool flush(void *arg)
{
	struct worker *w = arg;

	wrk_state_flush(w->state);
	return false;
}

/* ---- services -------------------------------------------------------------- */

static void stop(struct worker *w, enum wrk_exit code)
{
	w->code = code;
	net_loop_stop(w->loop);
}

static void bound_threads(struct worker *w)
{
	uint64_t n = 2;

	for (struct wrk_service *s = wrk_session_services(w->session); s; s = s->hh.next)
		n += s->endpoint ? 0 : s->manifest->concurrency;
	if (n > w->settings->max_threads) {
		if (wrk_loader_left(w->loader) == 0 && !w->few_said)
			base_log(BASE_INFO, "threads_few", LOG_U64("wanted", n),
				LOG_U64("most", w->settings->max_threads));
		w->few_said = w->few_said || wrk_loader_left(w->loader) == 0;
		n = w->settings->max_threads;
	}
	wrk_executor_bound(w->executor, (uint32_t)n);
}

static void open_links(struct worker *w)
{
	char *why = NULL;
	enum base_err err = wrk_session_start(w->session, &why);

	w->started = true;
	if (!err)
		return;
	base_log(BASE_ERROR, "brokers_wrong", LOG_STR("brokers", w->settings->brokers),
		LOG_STR("why", why ? why : base_err_text(err)));
	free(why);
	stop(w, err == BASE_CONFIG || err == BASE_INVALID ? WRK_EXIT_USAGE : WRK_EXIT_FAILED);
}

/* Calls come as soon as the links are open: what they need must be there. A Redis that cannot be
 * reached is waited for until its first connection has failed, then services run without. */
static void open_when_ready(struct worker *w)
{
	if (w->started || w->draining || w->code != WRK_EXIT_OK)
		return;
	if (w->redis_heard && wrk_loader_left(w->loader) == 0)
		open_links(w);
}

static void on_loaded(void *arg, enum base_err err, size_t left)
{
	struct worker *w = arg;

	(void)left;
	bound_threads(w);
	if (w->started || w->draining)
		return;
	if (err && !w->forgiving)
		stop(w, WRK_EXIT_FAILED);
	else
		open_when_ready(w);
}

static void on_job(void *arg, struct wrk_run *run)
{
	struct worker *w = arg;

	wrk_loader_done(w->loader, run);
}

/* ---- the end --------------------------------------------------------------- */

static void on_drained(void *arg)
{
	struct worker *w = arg;
	struct wrk_session_figures f;

	wrk_session_figures(w->session, &f);
	if (f.under_way > f.overdue)
		base_log(BASE_WARN, "drain_cut", LOG_U64("runs", f.under_way - f.overdue));
	w->cut = w->cut || f.under_way > 0;
	net_loop_stop(w->loop);
}

static void on_end(uv_timer_t *timer)
{
	struct worker *w = timer->data;

	wrk_session_cut(w->session);
}

static void drain(struct worker *w, const char *why)
{
	struct wrk_session_figures f;

	wrk_session_figures(w->session, &f);
	base_log(BASE_INFO, "worker_drains", LOG_STR("for", why), LOG_U64("runs", f.under_way));
	w->draining = true;
	if (!w->anew)
		net_notify_stopping();
	wrk_loader_stop(w->loader);
	uv_timer_start(&w->end, on_end, w->settings->drain_ms, 0);
	wrk_session_drain(w->session);
}

static void on_change(void *arg, const char *name)
{
	struct worker *w = arg;

	w->anew = true;
	drain(w, name);
}

/* It ends rather than starts anew: what hangs may be outside of it, and its supervisor knows how to
 * wait longer each time. */
static void on_stuck(void *arg, const char *service)
{
	struct worker *w = arg;
	struct wrk_session_figures f;

	wrk_session_figures(w->session, &f);
	base_log(BASE_ERROR, "worker_stuck", LOG_STR("service", service),
		LOG_U64("overdue", f.overdue));
	if (w->draining)
		return;
	w->code = WRK_EXIT_STUCK;
	drain(w, "stuck");
}

static void look_at_memory(struct worker *w)
{
	uint64_t resident = w->memory.bound > 0 ? wrk_memory_resident() : 0;
	uint64_t now_ms = base_clock_ms();
	char at[32];

	switch (wrk_memory_look(&w->memory, resident, now_ms)) {
	case WRK_MEMORY_FINE:
		return;
	case WRK_MEMORY_TOO_LOW:
		base_log(BASE_ERROR, "worker_memory_low", LOG_U64("resident", resident),
			LOG_U64("bound", w->memory.bound));
		return;
	case WRK_MEMORY_ANEW:
		break;
	}
	base_log(BASE_WARN, "worker_memory", LOG_U64("resident", resident),
		LOG_U64("bound", w->memory.bound));
	w->anew = true;
	(void)snprintf(at, sizeof at, "%llu", (unsigned long long)now_ms);
	(void)setenv(MEMORY_AT, at, 1);
	drain(w, "memory");
}

static void on_terminate(void *arg, unsigned times)
{
	struct worker *w = arg;

	if (times == 1) {
		if (w->draining && w->anew)
			net_notify_stopping();
		w->anew = false;
		if (!w->draining)
			drain(w, "signal");
		return;
	}
	base_log(BASE_WARN, "worker_cut_short", LOG_U64("signals", times));
	w->cut = true;
	w->anew = false;
	stop(w, WRK_EXIT_FAILED);
}

/* ---- events ---------------------------------------------------------------- */

static void on_ready(void *arg)
{
	struct worker *w = arg;

	base_log(BASE_INFO, "worker_ready", LOG_STR("name", w->settings->name),
		LOG_U64("services", HASH_COUNT(wrk_session_services(w->session))));
	net_notify_ready();
}

static const Pirn__Beat *on_beat(void *arg)
{
	struct worker *w = arg;
	struct wrk_sources sources = { w->session, w->executor, w->state, w->redis, w->http };

	if (!w->draining)
		look_at_memory(w);
	return wrk_beat_fill(w->beat, &sources);
}

static void on_redis_up(void *arg)
{
	struct worker *w = arg;

	base_log(BASE_INFO, "redis_up", LOG_STR("redis", store_redis_shown(w->redis)));
	wrk_state_set_up(w->state, true);
	w->redis_heard = true;
	open_when_ready(w);
}

static void on_redis_down(void *arg, const char *why)
{
	struct worker *w = arg;

	wrk_state_set_up(w->state, false);
	base_log(BASE_WARN, "redis_down", LOG_STR("why", why));
	w->redis_heard = true;
	open_when_ready(w);
}

/* ---- the beginning --------------------------------------------------------- */

static enum base_err start_op(void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg)
{
	struct worker *w = arg;

	return store_op_start(w->redis, op, fn, fn_arg);
}

static enum base_err start_record(
	void *arg, const struct wrk_state_record *record, store_run_fn *fn, void *fn_arg)
{
	struct worker *w = arg;

	if (!record->op)
		return store_run_fields(w->redis, record->run, fn, fn_arg);
	return store_run_op(w->redis, record->run, record->field, record->reads, record->n_reads,
		record->op, fn, fn_arg);
}

static enum base_err make_loop(struct worker *w)
{
	enum base_err err = net_loop_new(&w->loop);

	if (err)
		return err;
	uv_async_init(net_loop_uv(w->loop), &w->wake, on_wake);
	uv_timer_init(net_loop_uv(w->loop), &w->end);
	w->end.data = w;
	w->handles = true;
	err = net_loop_on_terminate(w->loop, on_terminate, w);
	return err ? err : net_loop_hook(w->loop, NET_RUN, turn, w, &w->hook);
}

static enum base_err make_redis(struct worker *w)
{
	struct wrk_state_conf state = { .start = start_op,
		.record = start_record,
		.wake = wake,
		.arg = w,
		.vain_ms = REDIS_MS / 2 };
	struct store_redis_conf conf = {
		.url = w->settings->redis,
		.name = w->settings->name,
		.library = store_functions_lua,
		.command_ms = REDIS_MS,
	};
	struct store_redis_events events = { on_redis_up, on_redis_down, w };
	char *why = NULL;
	enum base_err err = wrk_state_new(&state, &w->state);

	if (err)
		return err;
	err = store_redis_new(w->loop, &conf, &events, &w->redis, &why);
	if (err)
		base_log(BASE_ERROR, "redis_wrong", LOG_STR("redis", w->settings->redis),
			LOG_STR("why", why ? why : base_err_text(err)));
	free(why);
	return err;
}

static enum base_err make_executor(struct worker *w)
{
	struct wrk_executor_conf conf = {
		.min_threads = w->settings->threads,
		.max_threads = w->settings->max_threads,
		.enter = enter,
		.leave = leave,
		.run = run_task,
		.wake = wake,
		.arg = w,
	};
	enum base_err err = wrk_executor_new(&conf, &w->executor);

	if (!err)
		wrk_state_set_executor(w->state, w->executor);
	return err;
}

static enum base_err make_http(struct worker *w)
{
	struct wrk_http_conf conf = {
		.allow = w->settings->http_allow,
		.named_only = !w->settings->http_public,
		.ca = w->settings->http_ca,
		.connect_ms = w->settings->http_connect_ms,
		.max_response = w->settings->max_response,
		.wake = wake,
		.arg = w,
	};
	char why[256];
	enum base_err err = wrk_http_new(&conf, &w->http, why, sizeof why);

	if (err)
		base_log(BASE_ERROR, "http_allow_wrong", LOG_STR("why", why));
	return err;
}

static enum base_err make_session(struct worker *w)
{
	struct wrk_session_conf conf = {
		.loop = w->loop,
		.executor = w->executor,
		.carrier = wrk_http_carrier(w->http),
		.brokers = w->settings->brokers,
		.name = w->settings->name,
		.run = run_service,
		.on_ready = on_ready,
		.on_drained = on_drained,
		.on_job = on_job,
		.on_beat = on_beat,
		.max_threads = w->settings->max_threads,
		.stuck_ms = w->settings->stuck_ms,
		.on_stuck = on_stuck,
		.arg = w,
	};

	base_rand_system(conf.boot, sizeof conf.boot);
	return wrk_session_new(&conf, &w->session);
}

/* At most so much of a file of secrets. */
#define SECRET_MAX 4096

/* A file that is named and holds no key is a mistake: without one nothing is signed. */
static enum base_err read_secret(
	const struct wrk_settings *settings, char out[SECRET_MAX], char *why, size_t room)
{
	const char *path = settings->callback_secret_file;
	enum base_err err = BASE_OK;
	FILE *file;
	size_t n;

	snprintf(out, SECRET_MAX, "%s", settings->callback_secret ? settings->callback_secret : "");
	if (!path || *out)
		return BASE_OK;
	file = fopen(path, "re");
	n = file ? fread(out, 1, SECRET_MAX - 1, file) : 0;
	if (!file || ferror(file))
		err = base_err_from_errno(errno);
	snprintf(why, room, "%s", base_err_text(err));
	if (file)
		fclose(file);
	out[n] = '\0';
	if (!err && out[strspn(out, ", \t\r\n")] == '\0') {
		snprintf(why, room, "the file of keys has none");
		err = BASE_CONFIG;
	}
	return err;
}

static enum base_err make_callbacks(struct worker *w)
{
	struct wrk_service *service = NULL;
	char why[256], secret[SECRET_MAX];
	enum base_err err;

	if (!w->settings->callbacks)
		return BASE_OK;
	err = read_secret(w->settings, secret, why, sizeof why);
	if (!err)
		err = wrk_service_of_callbacks(secret, &service, why, sizeof why);
	explicit_bzero(secret, sizeof secret);
	if (!err)
		err = wrk_session_add(w->session, &service);
	if (err)
		base_log(BASE_ERROR, "callbacks_wrong", LOG_STR("why", why));
	wrk_service_free(&service);
	return err == BASE_NOT_FOUND || err == BASE_DENIED ? BASE_CONFIG : err;
}

static enum base_err make_loader(struct worker *w)
{
	struct wrk_loader_conf conf = {
		.loop = w->loop,
		.executor = w->executor,
		.session = w->session,
		.http = w->http,
		.folder = w->settings->services,
		.carry = w->settings->carry,
		.max_response = w->settings->max_response,
		.on_loaded = on_loaded,
		.on_change = on_change,
		.arg = w,
	};

	return wrk_loader_new(&conf, &w->loader);
}

static enum base_err make(struct worker *w)
{
	enum base_err err = make_loop(w);

	if (!err)
		err = make_redis(w);
	if (!err)
		err = make_executor(w);
	if (!err)
		err = make_http(w);
	if (!err)
		err = make_session(w);
	if (!err)
		err = make_callbacks(w);
	if (!err)
		err = make_loader(w);
	/* The last of all hooks: whoever hears of Redis's answers in this turn has done so. */
	if (!err)
		err = net_loop_hook(w->loop, NET_FLUSH, flush, w, &w->flush_hook);
	if (!err && !(w->beat = wrk_beat_new()))
		err = BASE_NOMEM;
	if (err)
		base_log(BASE_ERROR, "worker_failed", LOG_ERR(err));
	return err;
}

static void close_handles(struct worker *w)
{
	net_loop_unhook(&w->hook);
	net_loop_unhook(&w->flush_hook);
	if (w->handles) {
		uv_close((uv_handle_t *)&w->wake, NULL);
		uv_close((uv_handle_t *)&w->end, NULL);
	}
	net_loop_free(&w->loop);
}

static void unmake(struct worker *w)
{
	wrk_executor_free(&w->executor);
	wrk_http_free(&w->http);
	wrk_loader_free(&w->loader);
	wrk_session_free(&w->session);
	store_redis_free(&w->redis);
	wrk_state_free(&w->state);
	wrk_beat_free(&w->beat);
	close_handles(w);
}

/* After a cut threads may be in a handler still: what they use stays. But what was said has to be heard. */
static void leave_behind(struct worker *w)
{
	wrk_session_leave(w->session);
	net_loop_end_zmq(w->loop);
}

/* The program itself, with its settings. A newer one in the same place is taken. */
static void start_anew(char **argv)
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);

	path[n > 0 ? n : 0] = '\0';
	(void)setenv(AGAIN, "1", 1);
	(void)execv(path, argv);
	(void)execv("/proc/self/exe", argv);
	base_log(BASE_ERROR, "restart_failed", LOG_STR("program", path));
}

/* What the one before left, who was this very process. */
static void take_over(struct worker *w)
{
	const char *at = getenv(MEMORY_AT);

	w->forgiving = getenv(AGAIN) != NULL;
	w->memory.last_ms = at && w->forgiving ? strtoull(at, NULL, 10) : 0;
	w->memory.bound = wrk_memory_bound(w->settings->max_memory, "", wrk_memory_machine());
	(void)unsetenv(AGAIN);
}

enum wrk_exit wrk_worker_run(struct wrk_settings *settings, char **argv)
{
	struct worker w = { .settings = settings };
	enum base_err err;

	take_over(&w);
	net_loop_give_way();
	/* A thread in a handler holds little; an arena for each would hold much. */
	(void)mallopt(M_ARENA_MAX, 2);
	err = make(&w);
	if (err) {
		unmake(&w);
		return err == BASE_CONFIG || err == BASE_INVALID ? WRK_EXIT_USAGE : WRK_EXIT_FAILED;
	}
	base_log(BASE_INFO, "worker_starts", LOG_STR("name", settings->name),
		LOG_STR("version", PIRN_VERSION), LOG_STR("brokers", settings->brokers),
		LOG_STR("services", settings->services));
	err = wrk_loader_start(w.loader);
	if (err && !w.forgiving) {
		w.code = WRK_EXIT_FAILED;
	} else {
		open_when_ready(&w);
		wrk_loader_watch(w.loader);
		if (w.code == WRK_EXIT_OK)
			net_loop_run(w.loop);
	}
	w.cut = w.cut || wrk_loader_left(w.loader) > 0;
	base_log(BASE_INFO, w.anew ? "worker_restarts" : "worker_ends",
		LOG_U64("status", (unsigned)w.code));
	if (w.cut)
		leave_behind(&w);
	else
		unmake(&w);
	if (w.anew)
		start_anew(argv);
	if (w.cut)
		_exit((int)w.code);
	return w.code;
}
