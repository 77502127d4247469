#include "worker/worker.h"

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
#include "store/functions_lua.h"
#include "worker/elf.h"
#include "worker/figures.h"
#include "worker/folder.h"
#include "worker/request.h"
#include "worker/session.h"

#define LOOK_MS 250
#define AGAIN "PIRN_WORKER_AGAIN" /* set by a worker that starts itself anew */

struct worker {
	struct wrk_settings *settings;
	struct net_loop *loop;
	struct net_hook *hook;
	struct store_redis *redis;
	struct wrk_state *state;
	struct wrk_executor *executor;
	struct wrk_session *session;
	struct wrk_folder *folder;
	struct wrk_beat *beat;
	uv_async_t wake;
	uv_timer_t look, end;
	bool handles;
	size_t loading;   /* services, in the executor */
	bool started;     /* the links are open */
	bool forgiving;   /* a service that does not load does not end the start */
	bool draining, anew;
	bool cut;         /* the end did not wait for all */
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

	return wrk_thread_new(e, w->state);
}

static void leave(void *arg, void *local)
{
	struct wrk_thread *thread = local;

	(void)arg;
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

	wrk_state_turn(w->state);
	return false;
}

/* ---- services -------------------------------------------------------------- */

static void stop(struct worker *w, enum wrk_exit code)
{
	w->code = code;
	net_loop_stop(w->loop);
}

static void run_job(void *local, struct wrk_run *run)
{
	struct job *job = (struct job *)run;

	(void)local;
	job->err = wrk_service_load(job->service, job->worker->settings->max_response, job->why, sizeof job->why);
}

static void refused(const struct wrk_folder_entry *entry, const char *why)
{
	base_log(BASE_ERROR, "service_refused", LOG_STR("folder", entry->path), LOG_STR("why", why));
}

/* Reads the entry's manifest and has the executor load the rest. */
static enum base_err load(struct worker *w, struct wrk_folder_entry *entry)
{
	struct job *job = calloc(1, sizeof *job);
	char why[WRK_SERVICE_WHY] = "out of memory";
	enum base_err err = job ? wrk_service_read(entry->path, &job->service, why, sizeof why) : BASE_NOMEM;

	if (err) {
		refused(entry, why);
		free(job);
		return err;
	}
	job->run.fn = run_job;
	job->worker = w;
	job->entry = entry;
	w->loading++;
	wrk_executor_push(w->executor, &job->run.task, base_clock_us());
	return BASE_OK;
}

static void bound_threads(struct worker *w)
{
	uint64_t n = 2;

	for (struct wrk_service *s = wrk_session_services(w->session); s; s = s->hh.next)
		n += s->manifest->concurrency;
	wrk_executor_bound(w->executor, n < w->settings->max_threads ? (uint32_t)n : w->settings->max_threads);
}

static void drain(struct worker *w, const char *why);

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
	stop(w, WRK_EXIT_USAGE);
}

/* The service is loaded, or refused. */
static enum base_err job_end(struct worker *w, struct job *job)
{
	struct wrk_service *service = job->service;
	enum base_err err = job->err;

	if (!err) {
		err = wrk_session_add(w->session, &job->service);
		if (err)
			snprintf(job->why, sizeof job->why, "service %s is carried already, from another folder",
			         service->manifest->service);
	}
	if (err) {
		refused(job->entry, job->why);
		wrk_service_free(&job->service);
		return err;
	}
	job->entry->user = service;
	bound_threads(w);
	base_log(BASE_INFO, "service_loaded", LOG_STR("service", service->manifest->service),
	         LOG_STR("version", service->wire->version), LOG_U64("concurrency", service->manifest->concurrency),
	         LOG_STR("folder", service->folder));
	return BASE_OK;
}

static void on_job(void *arg, struct wrk_run *run)
{
	struct worker *w = arg;
	struct job *job = (struct job *)run;
	enum base_err err = job_end(w, job);

	free(job);
	w->loading--;
	if (w->started || w->draining)
		return;
	if (err && !w->forgiving)
		stop(w, WRK_EXIT_FAILED);
	else if (w->loading == 0 && w->code == WRK_EXIT_OK)
		open_links(w);
}

/* A service that is loaded has changed. Only for what can be loaded the worker goes down. */
static void reload(struct worker *w, struct wrk_folder_entry *entry)
{
	char why[WRK_SERVICE_WHY], path[PATH_MAX];
	struct wrk_service *service = NULL;
	enum base_err err = wrk_service_read(entry->path, &service, why, sizeof why);

	if (!err) {
		snprintf(path, sizeof path, "%s/%s", entry->path, service->manifest->handler);
		err = wrk_elf_check(path, why, sizeof why);
	}
	wrk_service_free(&service);
	if (err) {
		refused(entry, why);
		return;
	}
	w->anew = true;
	drain(w, entry->name);
}

static void on_look(uv_timer_t *timer)
{
	struct worker *w = timer->data;

	if (w->draining || !wrk_folder_look(w->folder))
		return;
	for (struct wrk_folder_entry *e = wrk_folder_entries(w->folder); e && !w->draining; e = e->next) {
		if (!e->there || e->settled != e->print || e->settled == e->taken)
			continue;
		e->taken = e->settled;
		if (e->user)
			reload(w, e);
		else
			(void)load(w, e);
	}
}

/* What is there at the start counts without a second look. */
static enum base_err first_look(struct worker *w)
{
	enum base_err err = BASE_OK;
	const char *missing;

	if (!wrk_folder_look(w->folder))
		base_log(BASE_WARN, "services_missing", LOG_STR("folder", w->settings->services));
	for (size_t i = 0; (missing = wrk_folder_missing(w->folder, i)); i++)
		base_log(BASE_WARN, "service_missing", LOG_STR("service", missing), LOG_STR("folder", w->settings->services));
	for (struct wrk_folder_entry *e = wrk_folder_entries(w->folder); e; e = e->next) {
		enum base_err failed = load(w, e);

		e->taken = e->print;
		if (failed && !w->forgiving)
			err = failed;
	}
	return err;
}

/* ---- the end --------------------------------------------------------------- */

static void on_drained(void *arg)
{
	struct worker *w = arg;
	struct wrk_session_figures f;

	wrk_session_figures(w->session, &f);
	w->cut = w->cut || w->loading > 0;
	if (f.under_way > 0) {
		base_log(BASE_WARN, "drain_cut", LOG_U64("runs", f.under_way));
		w->cut = true;
		w->code = WRK_EXIT_FAILED;
	}
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
	uv_timer_start(&w->end, on_end, w->settings->drain_ms, 0);
	wrk_session_drain(w->session);
}

static void on_terminate(void *arg, unsigned times)
{
	struct worker *w = arg;

	if (times == 1) {
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
}

static const Pirn__Beat *on_beat(void *arg)
{
	struct worker *w = arg;
	struct wrk_sources sources = { w->session, w->executor, w->state, w->redis };

	return wrk_beat_fill(w->beat, &sources);
}

static void on_redis_up(void *arg)
{
	struct worker *w = arg;

	base_log(BASE_INFO, "redis_up", LOG_STR("redis", store_redis_shown(w->redis)));
	wrk_state_set_up(w->state, true);
}

static void on_redis_down(void *arg, const char *why)
{
	struct worker *w = arg;

	wrk_state_set_up(w->state, false);
	base_log(BASE_WARN, "redis_down", LOG_STR("why", why));
}

/* ---- the beginning --------------------------------------------------------- */

static enum base_err start_op(void *arg, const struct store_op *op, store_op_fn *fn, void *fn_arg)
{
	struct worker *w = arg;

	return store_op_start(w->redis, op, fn, fn_arg);
}

static enum base_err make_loop(struct worker *w)
{
	enum base_err err = net_loop_new(&w->loop);

	if (err)
		return err;
	uv_async_init(net_loop_uv(w->loop), &w->wake, on_wake);
	uv_timer_init(net_loop_uv(w->loop), &w->look);
	uv_timer_init(net_loop_uv(w->loop), &w->end);
	w->look.data = w->end.data = w;
	w->handles = true;
	err = net_loop_on_terminate(w->loop, on_terminate, w);
	return err ? err : net_loop_hook(w->loop, NET_RUN, turn, w, &w->hook);
}

static enum base_err make_redis(struct worker *w)
{
	struct wrk_state_conf state = { start_op, wake, w };
	struct store_redis_conf conf = { .url = w->settings->redis, .name = w->settings->name, .library = store_functions_lua };
	struct store_redis_events events = { on_redis_up, on_redis_down, w };
	char *why = NULL;
	enum base_err err = wrk_state_new(&state, &w->state);

	if (err)
		return err;
	err = store_redis_new(w->loop, &conf, &events, &w->redis, &why);
	if (err)
		base_log(BASE_ERROR, "redis_wrong", LOG_STR("redis", w->settings->redis), LOG_STR("why", why ? why : base_err_text(err)));
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

	return wrk_executor_new(&conf, &w->executor);
}

static enum base_err make_session(struct worker *w)
{
	struct wrk_session_conf conf = {
		.loop = w->loop,
		.executor = w->executor,
		.brokers = w->settings->brokers,
		.name = w->settings->name,
		.run = run_service,
		.on_ready = on_ready,
		.on_drained = on_drained,
		.on_job = on_job,
		.on_beat = on_beat,
		.arg = w,
	};

	base_rand_system(conf.boot, sizeof conf.boot);
	return wrk_session_new(&conf, &w->session);
}

static enum base_err make(struct worker *w)
{
	enum base_err err = make_loop(w);

	if (!err)
		err = make_redis(w);
	if (!err)
		err = make_executor(w);
	if (!err)
		err = make_session(w);
	if (!err)
		err = wrk_folder_new(w->settings->services, w->settings->carry, &w->folder);
	if (!err && !(w->beat = wrk_beat_new()))
		err = BASE_NOMEM;
	if (err)
		base_log(BASE_ERROR, "worker_failed", LOG_ERR(err));
	return err;
}

static void close_handles(struct worker *w)
{
	net_loop_unhook(&w->hook);
	if (w->handles) {
		uv_close((uv_handle_t *)&w->wake, NULL);
		uv_close((uv_handle_t *)&w->look, NULL);
		uv_close((uv_handle_t *)&w->end, NULL);
	}
	net_loop_free(&w->loop);
}

static void unmake(struct worker *w)
{
	wrk_executor_free(&w->executor);
	wrk_session_free(&w->session);
	store_redis_free(&w->redis);
	wrk_state_free(&w->state);
	wrk_folder_free(&w->folder);
	wrk_beat_free(&w->beat);
	close_handles(w);
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

enum wrk_exit wrk_worker_run(struct wrk_settings *settings, char **argv)
{
	struct worker w = { .settings = settings, .forgiving = getenv(AGAIN) != NULL };
	enum base_err err;

	(void)unsetenv(AGAIN);
	(void)mallopt(M_ARENA_MAX, 2); /* a thread in a handler holds little; an arena for each would hold much */
	err = make(&w);
	if (err) {
		unmake(&w);
		return err == BASE_CONFIG || err == BASE_INVALID ? WRK_EXIT_USAGE : WRK_EXIT_FAILED;
	}
	base_log(BASE_INFO, "worker_starts", LOG_STR("name", settings->name), LOG_STR("version", PIRN_VERSION),
	         LOG_STR("brokers", settings->brokers), LOG_STR("services", settings->services));
	err = first_look(&w);
	if (!err && w.loading == 0)
		open_links(&w);
	if (!err && w.code == WRK_EXIT_OK) {
		uv_timer_start(&w.look, on_look, LOOK_MS, LOOK_MS);
		net_loop_run(w.loop);
	}
	if (err)
		w.code = WRK_EXIT_FAILED;
	base_log(BASE_INFO, w.anew ? "worker_restarts" : "worker_ends", LOG_U64("status", (unsigned)w.code));
	if (w.cut)
		wrk_session_leave(w.session); /* threads may be in a handler still: what they use stays */
	else
		unmake(&w);
	if (w.anew)
		start_anew(argv);
	if (w.cut)
		_exit((int)w.code);
	return w.code;
}
