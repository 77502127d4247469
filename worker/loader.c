#include "worker/loader.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/elf.h"
#include "worker/folder.h"

#define LOOK_MS    250
#define GONE_LOOKS 4 /* in a row without a service, after which it is gone */

struct wrk_loader {
	struct wrk_loader_conf conf;
	struct wrk_folder *folder;
	uv_timer_t timer;
	size_t left;
	bool stopped;
};

/* A service on its way into the session. */
struct job {
	struct wrk_run run; /* first */
	size_t max_response;
	struct wrk_http *http;
	struct wrk_folder_entry *entry;
	struct wrk_service *service;
	enum base_err err;
	char why[WRK_NATIVE_WHY];
};

/* One that there is no memory for would be missed until its folder changes. */
static void refused(const struct wrk_folder_entry *entry, enum base_err err, const char *why)
{
	if (err == BASE_NOMEM)
		base_no_memory("a service");
	base_log(
		BASE_ERROR, "service_refused", LOG_STR("folder", entry->path), LOG_STR("why", why));
}

static void run_job(void *local, struct wrk_run *run)
{
	struct job *job = (struct job *)run;

	(void)local;
	job->err = wrk_service_load(
		job->service, job->max_response, job->http, job->why, sizeof job->why);
}

/* Reads the entry's manifest and has the executor load the rest. */
static enum base_err load(struct wrk_loader *l, struct wrk_folder_entry *entry)
{
	struct job *job = calloc(1, sizeof *job);
	char why[WRK_SERVICE_WHY] = "out of memory";
	enum base_err err = BASE_NOMEM;

	if (job)
		err = wrk_service_read(entry->path, &job->service, why, sizeof why);
	if (err) {
		refused(entry, err, why);
		free(job);
		return err;
	}
	job->run.fn = run_job;
	job->max_response = l->conf.max_response;
	job->http = l->conf.http;
	job->entry = entry;
	l->left++;
	wrk_executor_push(l->conf.executor, &job->run.task, base_clock_us());
	return BASE_OK;
}

static enum base_err hand_over(struct wrk_loader *l, struct job *job)
{
	struct wrk_service *service = job->service;
	enum base_err err = job->err;

	if (!err) {
		err = wrk_session_add(l->conf.session, &job->service);
		if (err == BASE_UNAVAILABLE) { /* there once more, and its old code still here */
			wrk_service_free(&job->service);
			if (!l->stopped)
				l->conf.on_change(l->conf.arg, job->entry->name);
			return BASE_OK;
		}
		if (err)
			snprintf(job->why, sizeof job->why,
				"service %s is carried already, from another folder",
				service->manifest->service);
	}
	if (err) {
		refused(job->entry, err, job->why);
		wrk_service_free(&job->service);
		return err;
	}
	job->entry->user = service;
	base_log(BASE_INFO, "service_loaded", LOG_STR("service", service->manifest->service),
		LOG_STR("version", service->wire->version),
		LOG_U64("concurrency", service->manifest->concurrency),
		LOG_STR("folder", service->folder));
	return BASE_OK;
}

void wrk_loader_done(struct wrk_loader *l, struct wrk_run *run)
{
	struct job *job = (struct job *)run;
	enum base_err err = hand_over(l, job);

	free(job);
	l->left--;
	l->conf.on_loaded(l->conf.arg, err, l->left);
}

/* A service that is loaded has changed. Only for what can be loaded the worker goes down. */
static void reload(struct wrk_loader *l, struct wrk_folder_entry *entry)
{
	char why[WRK_SERVICE_WHY], path[PATH_MAX];
	struct wrk_service *service = NULL;
	enum base_err err = wrk_service_read(entry->path, &service, why, sizeof why);

	if (!err && !base_manifest_is_url(service->manifest->handler)) {
		snprintf(path, sizeof path, "%s/%s", entry->path, service->manifest->handler);
		err = wrk_elf_check(path, why, sizeof why);
	}
	wrk_service_free(&service);
	if (err)
		refused(entry, err, why);
	else
		l->conf.on_change(l->conf.arg, entry->name);
}

/* Its runs end, nothing new comes. What was refused is tried anew: the same service, in a folder of
 * another name. */
static void withdraw(struct wrk_loader *l, struct wrk_folder_entry *entry)
{
	struct wrk_service *service = entry->user;

	base_log(BASE_INFO, "service_withdrawn", LOG_STR("service", service->manifest->service),
		LOG_STR("folder", entry->path));
	wrk_session_remove(l->conf.session, service);
	entry->taken = 0;
	for (struct wrk_folder_entry *e = wrk_folder_entries(l->folder); e; e = e->next)
		if (!e->user)
			e->taken = 0;
}

static void on_look(uv_timer_t *timer)
{
	struct wrk_loader *l = timer->data;
	struct wrk_folder_entry *e;

	if (!wrk_folder_look(l->folder))
		return;
	for (e = wrk_folder_entries(l->folder); e && !l->stopped; e = e->next) {
		if (e->user && e->taken && e->absent >= GONE_LOOKS)
			withdraw(l, e);
		if (!e->there || e->settled != e->print || e->settled == e->taken)
			continue;
		e->taken = e->settled;
		if (e->user)
			reload(l, e);
		else
			(void)load(l, e);
	}
}

/* What is there at the start counts without a second look. */
enum base_err wrk_loader_start(struct wrk_loader *l)
{
	enum base_err err = BASE_OK;
	const char *missing;

	if (!wrk_folder_look(l->folder))
		base_log(BASE_WARN, "services_missing", LOG_STR("folder", l->conf.folder));
	for (size_t i = 0; (missing = wrk_folder_missing(l->folder, i)); i++)
		base_log(BASE_WARN, "service_missing", LOG_STR("service", missing),
			LOG_STR("folder", l->conf.folder));
	for (struct wrk_folder_entry *e = wrk_folder_entries(l->folder); e; e = e->next) {
		enum base_err failed = load(l, e);

		e->taken = e->print;
		err = err ? err : failed;
	}
	return err;
}

void wrk_loader_watch(struct wrk_loader *l)
{
	uv_timer_start(&l->timer, on_look, LOOK_MS, LOOK_MS);
}

void wrk_loader_stop(struct wrk_loader *l)
{
	l->stopped = true;
	uv_timer_stop(&l->timer);
}

size_t wrk_loader_left(const struct wrk_loader *l)
{
	return l->left;
}

enum base_err wrk_loader_new(const struct wrk_loader_conf *conf, struct wrk_loader **out)
{
	struct wrk_loader *l = calloc(1, sizeof *l);
	enum base_err err;

	if (!l)
		return BASE_NOMEM;
	l->conf = *conf;
	err = wrk_folder_new(conf->folder, conf->carry, &l->folder);
	if (err) {
		free(l);
		return err;
	}
	uv_timer_init(net_loop_uv(conf->loop), &l->timer);
	l->timer.data = l;
	*out = l;
	return BASE_OK;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void wrk_loader_free(struct wrk_loader **lp)
{
	struct wrk_loader *l = *lp;

	if (!l)
		return;
	*lp = NULL;
	wrk_folder_free(&l->folder);
	uv_close((uv_handle_t *)&l->timer, on_closed);
}
