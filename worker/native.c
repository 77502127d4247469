#include "worker/native.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/elf.h"
#include "worker/request.h"
#include "worker/secret.h"

struct wrk_native {
	void *library; /* NULL: linked in */
	const struct pirn_service *service;
	const struct base_manifest *manifest;
	char **secrets; /* contents, in the manifest's order */
	struct wrk_breakers *breakers;
	size_t max_response;
	bool initialized;
};

struct wrk_thread {
	struct pirn_request req;
	struct pirn_response res;
};

static _Thread_local struct wrk_where where;

const struct wrk_where *wrk_native_where(void)
{
	return &where;
}

__attribute__((format(printf, 4, 5))) static enum base_err refuse(
	enum base_err err, char *why, size_t room, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, room, format, args);
	va_end(args);
	return err;
}

/* ---- loading --------------------------------------------------------------- */

static enum base_err read_secrets(struct wrk_native *n, const char *folder, char *why, size_t room)
{
	const struct base_manifest_pairs *pairs = &n->manifest->secrets;
	char path[PATH_MAX];

	n->secrets = calloc(pairs->n + 1, sizeof *n->secrets);
	if (!n->secrets)
		return refuse(BASE_NOMEM, why, room, "out of memory");
	for (size_t i = 0; i < pairs->n; i++) {
		enum base_err err = wrk_secret_read(
			wrk_secret_path(folder, pairs->items[i].value, path), &n->secrets[i]);

		if (err)
			return refuse(err, why, room, "secret %s: %s: %s", pairs->items[i].name,
				path, base_err_text(err));
	}
	return BASE_OK;
}

/* UNTRUSTED: whatever a file of that name exports. */
static enum base_err check_service(
	const struct pirn_service *service, const char *path, char *why, size_t room)
{
	if (service->abi != PIRN_SERVICE_ABI)
		return refuse(BASE_MISMATCH, why, room,
			"%s: built for version %u of <pirn/service.h>, this worker has version %u: build it anew",
			path, (unsigned)service->abi, PIRN_SERVICE_ABI);
	if (service->size < sizeof *service)
		return refuse(BASE_INVALID, why, room, "%s: pirn_service_main is %u bytes, not %zu",
			path, (unsigned)service->size, sizeof *service);
	if (!service->handler)
		return refuse(BASE_INVALID, why, room, "%s: PIRN_SERVICE names no .handler", path);
	return BASE_OK;
}

enum base_err wrk_native_adopt(const char *folder, const struct base_manifest *manifest,
	const struct pirn_service *service, size_t max_response, struct wrk_native **out, char *why,
	size_t why_room)
{
	struct wrk_native *n = calloc(1, sizeof *n);
	char path[PATH_MAX];
	enum base_err err;

	if (!n)
		return refuse(BASE_NOMEM, why, why_room, "out of memory");
	(void)snprintf(path, sizeof path, "%s/%s", folder, manifest->handler);
	n->service = service;
	n->manifest = manifest;
	n->max_response = max_response;
	n->breakers = wrk_breakers_new(manifest->service);
	if (!n->breakers) {
		free(n);
		return refuse(BASE_NOMEM, why, why_room, "out of memory");
	}
	err = check_service(service, path, why, why_room);
	if (!err)
		err = read_secrets(n, folder, why, why_room);
	if (err)
		wrk_native_free(&n);
	else
		*out = n;
	return err;
}

enum base_err wrk_native_load(const char *folder, const struct base_manifest *manifest,
	size_t max_response, struct wrk_native **out, char *why, size_t why_room)
{
	char path[PATH_MAX], reason[128];
	const struct pirn_service *service;
	enum base_err err;
	void *library;

	if (snprintf(path, sizeof path, "%s/%s", folder, manifest->handler) >= (int)sizeof path)
		return refuse(BASE_RANGE, why, why_room, "%s: the path is too long", folder);
	err = wrk_elf_check(path, reason, sizeof reason);
	if (err)
		return refuse(err, why, why_room, "%s: %s", path, reason);
	errno = 0;
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return refuse(errno == ENOMEM ? BASE_NOMEM : BASE_INVALID, why, why_room, "%s",
			dlerror());
	service = dlsym(library, "pirn_service_main");
	if (!service)
		err = refuse(BASE_INVALID, why, why_room,
			"%s: has no PIRN_SERVICE (no symbol pirn_service_main)", path);
	else
		err = wrk_native_adopt(folder, manifest, service, max_response, out, why, why_room);
	if (err)
		dlclose(library);
	else
		(*out)->library = library;
	return err;
}

enum base_err wrk_native_init(struct wrk_native *n, char *why, size_t why_room)
{
	int rc = 0;

	if (n->service->init) {
		where = (struct wrk_where){ n, NULL };
		rc = n->service->init();
		where = (struct wrk_where){ 0 };
	}
	if (rc != 0)
		return refuse(
			BASE_DENIED, why, why_room, "init returned %d (%s)", rc, pirn_err_text(rc));
	n->initialized = true;
	return BASE_OK;
}

void wrk_native_free(struct wrk_native **np)
{
	struct wrk_native *n = *np;

	if (!n)
		return;
	if (n->initialized && n->service->fini) {
		where = (struct wrk_where){ n, NULL };
		n->service->fini();
		where = (struct wrk_where){ 0 };
	}
	for (size_t i = 0; n->secrets && i < n->manifest->secrets.n; i++)
		wrk_secret_free(&n->secrets[i]);
	free(n->secrets);
	wrk_breakers_free(&n->breakers);
	if (n->library)
		dlclose(n->library);
	free(n);
	*np = NULL;
}

const char *wrk_native_name(const struct wrk_native *n)
{
	return n->manifest->service;
}

struct wrk_breakers *wrk_native_breakers(const struct wrk_native *n)
{
	return n->breakers;
}

const char *wrk_native_env(const struct wrk_native *n, const char *name)
{
	const struct base_manifest_pairs *secrets = &n->manifest->secrets;

	for (size_t i = 0; i < secrets->n; i++)
		if (strcmp(secrets->items[i].name, name) == 0)
			return n->secrets[i];
	return base_manifest_pair_get(&n->manifest->env, name);
}

/* ---- threads --------------------------------------------------------------- */

struct wrk_thread *wrk_thread_new(struct wrk_executor *executor, struct wrk_state *state)
{
	struct wrk_thread *t = calloc(1, sizeof *t);

	if (t) {
		base_arena_init(&t->req.arena, WRK_ARENA_FIRST, WRK_ARENA_MAX);
		t->req.executor = executor;
		t->req.state = state;
		wrk_replay_init(&t->req.replay, executor);
	}
	return t;
}

void wrk_thread_free(struct wrk_thread **t)
{
	if (!*t)
		return;
	wrk_state_call_free(&(*t)->req.call);
	wrk_replay_fini(&(*t)->req.replay);
	base_arena_fini(&(*t)->req.arena);
	free(*t);
	*t = NULL;
}

/* ---- runs ------------------------------------------------------------------ */

/* An answer of our own, without a body: the gateway has words for the reasons. */
static void answer_reason(struct wrk_run *run, uint32_t status, uint32_t reason)
{
	base_buf_reset(&run->meta);
	base_buf_reset(&run->body);
	run->emit_size = 0;
	run->status = status;
	run->reason = reason;
}

static const struct {
	unsigned status;
	bool retryable;
} outcomes[] = {
#define X(name, number, retry, http, text) [number] = { http, retry },
	PIRN_ERRORS(X)
#undef X
};

/* When it may be tried again: a breaker knows for how long it will be open. */
static void say_when(struct pirn_response *res, const struct pirn_request *req, int err)
{
	uint64_t seconds = err == PIRN_ERR_OPEN ? (req->open_ms + 999) / 1000 : 1;
	char text[24];

	(void)snprintf(text, sizeof text, "%u", seconds > 1 ? (unsigned)seconds : 1u);
	pirn_respond_header(res, "Retry-After", text);
}

/* The handler said that it failed. */
static void answer_error(struct pirn_response *res, const struct wrk_native *n,
	const struct pirn_request *req, int err)
{
	bool known = err > 0 && (size_t)err < sizeof outcomes / sizeof *outcomes;
	unsigned status = known ? outcomes[err].status : 500;

	/* What passes by itself has its own line where it began, such as redis_down. */
	base_log(status < 500 || (known && outcomes[err].retryable) ? BASE_DEBUG : BASE_WARN,
		"run_failed", LOG_STR("service", n->manifest->service),
		LOG_STR("run", pirn_request_id(req)), LOG_I64("code", err),
		LOG_STR("error", pirn_err_text(err)));
	pirn_respond_problem(
		res, status, NULL, "%s", known ? pirn_err_text(err) : "the service failed");
	if (status == 503)
		say_when(res, req, err);
}

static void answer_fault(struct wrk_run *run, const struct wrk_native *n, enum wrk_fault fault)
{
	static const char *const texts[] = {
		[WRK_FAULT_NOMEM] = "out of memory",
		[WRK_FAULT_TOO_LARGE] = "the response is over the bound",
		[WRK_FAULT_STATUS] = "a status outside of 200 to 599",
		[WRK_FAULT_HEADER] = "a header that cannot be sent, or too many of them",
	};
	char id[BASE_ULID_TEXT + 1];

	base_ulid_print(run->id, id);
	base_log(BASE_WARN, "response_refused", LOG_STR("service", n->manifest->service),
		LOG_STR("run", id), LOG_STR("why", texts[fault]));
	if (fault == WRK_FAULT_NOMEM) {
		answer_reason(run, 503, PIRN__REASON__OVERLOADED);
		run->retry_after_ms = 1000;
	} else {
		answer_reason(run, 502,
			fault == WRK_FAULT_TOO_LARGE ? PIRN__REASON__TOO_LARGE
						     : PIRN__REASON__CRASHED);
	}
}

/* What the broker must know of the response without unpacking it. */
static uint32_t retry_after_ms(const struct pirn_response *res)
{
	const char *value = res->n_headers > 0 && res->status >= 400
				    ? wrk_response_header(res, "Retry-After")
				    : NULL;
	unsigned long seconds;
	char *end;

	if (!value || value[0] < '0' || value[0] > '9')
		return 0;
	errno = 0;
	seconds = strtoul(value, &end, 10);
	return *end == '\0' && errno == 0 && seconds <= 86400 ? (uint32_t)seconds * 1000 : 0;
}

static void run_handler(struct wrk_native *n, struct wrk_thread *t, struct wrk_run *run)
{
	enum wrk_fault fault;
	int rc;

	wrk_response_open(&t->res, &t->req.arena, run, n->max_response);
	where = (struct wrk_where){ n, &t->req };
	t->req.sends = run;
	rc = n->service->handler(&t->req, &t->res);
	where = (struct wrk_where){ 0 };
	t->req.sends = NULL;
	wrk_request_leave_breakers(&t->req);
	if (t->req.failed)
		t->res.fault = WRK_FAULT_NOMEM;
	else if (rc != 0)
		answer_error(&t->res, n, &t->req, rc);
	fault = wrk_response_seal(&t->res, run);
	if (fault == WRK_FAULT_NONE)
		fault = wrk_emits_seal(run);
	if (fault != WRK_FAULT_NONE)
		answer_fault(run, n, fault);
	else
		run->retry_after_ms = retry_after_ms(&t->res);
}

static bool ask_diverged(struct pirn_request *req)
{
	bool diverged;

	if (req->executor)
		wrk_executor_block(req->executor);
	diverged = wrk_replay_diverged(&req->replay, req->state, &req->call);
	if (req->executor)
		wrk_executor_unblock(req->executor);
	return diverged;
}

/* What the broker has to know of a run that records, beside its answer. */
static void seal_replay(struct pirn_request *req, struct wrk_run *run)
{
	if (!req->replay.of)
		return;
	if (req->replay.ended != STORE_DONE) /* another run answers, or has answered */
		answer_reason(run, 503, PIRN__REASON__LEASE);
	else if (req->state && run->reason == PIRN__REASON__NONE && run->status < 400)
		run->diverged = ask_diverged(req);
	run->recorded = req->replay.recorded;
	run->doubted = req->replay.doubted;
}

void wrk_native_run(struct wrk_native *n, struct wrk_thread *t, struct wrk_run *run)
{
	uint64_t start_us = base_clock_us();
	enum base_err err;

	run->reason = PIRN__REASON__NONE;
	run->retry_after_ms = 0;
	run->took_us = 0;
	run->late = run->recorded = run->diverged = run->doubted = false;
	atomic_store(&run->stateless_us, 0);
	t->req.stateless_us = &run->stateless_us;
	if (start_us >= run->deadline_us) {
		answer_reason(run, 504, PIRN__REASON__DEADLINE);
		return;
	}
	err = wrk_request_open(&t->req, run, n);
	if (err == BASE_PROTOCOL)
		answer_reason(run, 400, PIRN__REASON__MALFORMED);
	else if (err)
		answer_fault(run, n, WRK_FAULT_NOMEM);
	else
		run_handler(n, t, run);
	run->took_us = (uint32_t)(base_clock_us() - start_us);
	seal_replay(&t->req, run);
	wrk_request_close(&t->req);
	run->late = start_us + run->took_us >= run->deadline_us;
}
