#include "worker/service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/version.h"
#include "worker/yaml.h"

#define MANIFEST "service.yaml"

/* ---- reading --------------------------------------------------------------- */

/* Up to room bytes of a file; more is for the caller to refuse. */
static enum base_err read_file(const char *path, char *out, size_t room, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;
	size_t at = 0;

	if (fd < 0)
		return base_err_from_errno(errno);
	while (at < room && (n = read(fd, out + at, room - at)) > 0)
		at += (size_t)n;
	close(fd);
	if (at < room && n < 0)
		return base_err_from_errno(errno);
	*size = at;
	return BASE_OK;
}

/* FNV-1a over what makes the service what it is. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_file(uint64_t hash, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t chunk[16384];
	ssize_t n;

	if (fd < 0)
		return hash;
	while ((n = read(fd, chunk, sizeof chunk)) > 0)
		hash = hash_bytes(hash, chunk, (size_t)n);
	close(fd);
	return hash;
}

/* "1.4+5f2a09c1", or the second half alone: changes when the manifest or the code does. */
static void print_version(
	const struct wrk_service *s, const char *text, size_t size, char *out, size_t room)
{
	uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), text, size);
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/%s", s->folder, s->manifest->handler);
	if (!base_manifest_is_url(s->manifest->handler))
		hash = hash_file(hash, path);
	snprintf(out, room, "%s%s%08x", s->manifest->version ? s->manifest->version : "",
		s->manifest->version ? "+" : "", (unsigned)(hash ^ hash >> 32));
}

/* ---- the wire's form ------------------------------------------------------- */

static Pirn__Route **wire_routes(struct base_arena *arena, const struct base_manifest *m)
{
	Pirn__Route **list = base_arena_alloc(arena, (m->n_routes + 1) * sizeof *list);

	for (size_t i = 0; list && i < m->n_routes; i++) {
		Pirn__Route *route = list[i] = base_arena_alloc(arena, sizeof *route);

		if (!route)
			return NULL;
		pirn__route__init(route);
		route->method = m->routes[i].method;
		route->path = m->routes[i].path;
		route->has_async = m->routes[i].async;
		route->async = m->routes[i].async;
		route->has_ack_memory = m->routes[i].ack_memory;
		route->ack_memory = m->routes[i].ack_memory;
	}
	return list;
}

static Pirn__Timer **wire_timers(struct base_arena *arena, const struct base_manifest *m)
{
	Pirn__Timer **list = base_arena_alloc(arena, (m->n_timers + 1) * sizeof *list);

	for (size_t i = 0; list && i < m->n_timers; i++) {
		const struct base_manifest_timer *from = &m->timers[i];
		Pirn__Timer *timer = list[i] = base_arena_alloc(arena, sizeof *timer);

		if (!timer)
			return NULL;
		pirn__timer__init(timer);
		timer->name = from->name;
		timer->cron = from->cron;
		timer->has_every_ms = from->every_ms > 0;
		timer->every_ms = from->every_ms;
		timer->zone = from->zone;
		timer->has_data = from->data != NULL;
		if (from->data)
			timer->data = (ProtobufCBinaryData){ strlen(from->data), (uint8_t *)from->data };
		timer->has_missed = timer->has_overlap = true;
		timer->missed = from->missed;
		timer->overlap = from->overlap;
	}
	return list;
}

static Pirn__Subscription **wire_subscriptions(
	struct base_arena *arena, const struct base_manifest *m)
{
	Pirn__Subscription **list =
		base_arena_alloc(arena, (m->n_subscriptions + 1) * sizeof *list);

	for (size_t i = 0; list && i < m->n_subscriptions; i++) {
		Pirn__Subscription *one = list[i] = base_arena_alloc(arena, sizeof *one);

		if (!one)
			return NULL;
		pirn__subscription__init(one);
		one->type = m->subscriptions[i].type;
		one->source = m->subscriptions[i].source;
		one->subject = m->subscriptions[i].subject;
	}
	return list;
}

static Pirn__Source **wire_sources(struct base_arena *arena, const struct base_manifest *m)
{
	Pirn__Source **list = base_arena_alloc(arena, (m->n_sources + 1) * sizeof *list);

	for (size_t i = 0; list && i < m->n_sources; i++) {
		const struct base_manifest_source *from = &m->sources[i];
		Pirn__Source *source = list[i] = base_arena_alloc(arena, sizeof *source);

		if (!source)
			return NULL;
		pirn__source__init(source);
		source->name = from->name;
		source->url = from->url;
		source->stream = from->stream;
		source->group = from->group;
		source->keys = from->keys;
		source->n_ops = from->ops.n;
		source->ops = from->ops.items;
	}
	return list;
}

static void wire_retry(Pirn__Retry *out, const struct base_manifest_retry *from)
{
	pirn__retry__init(out);
	out->has_attempts = out->has_base_ms = out->has_max_ms = out->has_age_s = true;
	out->attempts = from->attempts;
	out->base_ms = from->base_ms;
	out->max_ms = from->max_ms;
	out->age_s = from->age_ms / 1000;
}

static void wire_breaker(Pirn__BreakerConf *out, const struct base_manifest_breaker *from)
{
	pirn__breaker_conf__init(out);
	out->has_window_ms = out->has_calls = out->has_failure_percent = out->has_consecutive =
		out->has_open_ms = true;
	out->window_ms = from->window_ms;
	out->calls = from->calls;
	out->failure_percent = from->failure_percent;
	out->consecutive = from->consecutive;
	out->open_ms = from->open_ms;
	out->has_open_max_ms = out->has_probes = out->has_successes = out->has_slow_percent = true;
	out->open_max_ms = from->open_max_ms;
	out->probes = from->probes;
	out->successes = from->successes;
	out->slow_percent = from->slow_percent;
}

static void wire_queue(Pirn__QueueConf *out, const struct base_manifest_queue *from)
{
	pirn__queue_conf__init(out);
	out->has_bytes = out->has_age_ms = out->has_target_ms = out->has_interval_ms =
		out->has_events = out->has_event_bytes = out->has_event_age_ms = true;
	out->bytes = from->bytes;
	out->age_ms = from->age_ms;
	out->target_ms = from->target_ms;
	out->interval_ms = from->interval_ms;
	out->events = from->events;
	out->event_bytes = from->event_bytes;
	out->event_age_ms = from->event_age_ms;
}

static void wire_numbers(Pirn__Manifest *w, const struct base_manifest *m)
{
	w->service = m->service;
	w->description = m->description;
	w->callback = m->callback;
	w->has_timeout_ms = w->has_concurrency = w->has_concurrency_total = true;
	w->has_queue_items = w->has_max_body_bytes = true;
	w->timeout_ms = m->timeout_ms;
	w->concurrency = m->concurrency;
	w->concurrency_total = m->concurrency_total;
	w->queue_items = m->queue.items;
	w->max_body_bytes = m->max_body_bytes;
}

static enum base_err make_wire(struct wrk_service *s, const char *version)
{
	Pirn__Manifest *w = base_arena_alloc(&s->arena, sizeof *w);
	Pirn__Retry *retry = base_arena_alloc(&s->arena, sizeof *retry);
	Pirn__BreakerConf *breaker = base_arena_alloc(&s->arena, sizeof *breaker);
	Pirn__QueueConf *queue = base_arena_alloc(&s->arena, sizeof *queue);

	if (!w || !retry || !breaker || !queue)
		return BASE_NOMEM;
	pirn__manifest__init(w);
	wire_numbers(w, s->manifest);
	wire_retry(retry, &s->manifest->retry);
	wire_breaker(breaker, &s->manifest->breaker);
	w->retry = retry;
	w->breaker = breaker;
	wire_queue(queue, &s->manifest->queue);
	w->queue = queue;
	w->n_routes = s->manifest->n_routes;
	w->routes = wire_routes(&s->arena, s->manifest);
	w->n_timers = s->manifest->n_timers;
	w->timers = wire_timers(&s->arena, s->manifest);
	w->n_subscriptions = s->manifest->n_subscriptions;
	w->subscriptions = wire_subscriptions(&s->arena, s->manifest);
	w->n_sources = s->manifest->n_sources;
	w->sources = wire_sources(&s->arena, s->manifest);
	w->version = base_arena_dup(&s->arena, version, strlen(version));
	s->wire = w;
	return w->routes && w->timers && w->subscriptions && w->sources && w->version ? BASE_OK
										      : BASE_NOMEM;
}

/* ---- life ------------------------------------------------------------------ */

static enum base_err read_into(struct wrk_service *s, char *why, size_t why_room)
{
	char path[PATH_MAX], version[256];
	char *text = malloc(WRK_YAML_BYTES + 1);
	size_t size = 0;
	enum base_err err = text ? BASE_OK : BASE_NOMEM;

	snprintf(path, sizeof path, "%s/" MANIFEST, s->folder);
	if (!err)
		err = read_file(path, text, WRK_YAML_BYTES + 1, &size);
	if (err)
		snprintf(why, why_room, "%s: %s", path, base_err_text(err));
	else
		err = wrk_yaml_read(path, text, size, &s->manifest, why, why_room);
	if (!err) {
		print_version(s, text, size, version, sizeof version);
		err = make_wire(s, version);
		if (err)
			snprintf(why, why_room, "%s: %s", path, base_err_text(err));
	}
	free(text);
	return err;
}

static struct wrk_service *service_new(const char *folder)
{
	struct wrk_service *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	base_arena_init(&s->arena, 1024, (size_t)1 << 20);
	s->held_end = &s->held;
	s->folder = strdup(folder);
	if (!s->folder)
		wrk_service_free(&s);
	return s;
}

static void share_out(struct wrk_service *s)
{
	s->slots = s->manifest->concurrency;
	wrk_credit_init(&s->credit, s->slots);
}

enum base_err wrk_service_read(
	const char *folder, struct wrk_service **out, char *why, size_t why_room)
{
	struct wrk_service *s = service_new(folder);
	enum base_err err = BASE_NOMEM;

	if (!s)
		snprintf(why, why_room, "%s: out of memory", folder);
	else
		err = read_into(s, why, why_room);
	if (err) {
		wrk_service_free(&s);
		return err;
	}
	share_out(s);
	*out = s;
	return BASE_OK;
}

/* Receivers are strangers to one another: that many of them fail says nothing of the next one, so no
 * breaker opens. */
static struct base_manifest *callbacks_manifest(void)
{
	struct base_manifest *m = base_manifest_new();

	if (!m)
		return NULL;
	m->service = strdup(WRK_CALLBACKS);
	m->handler = strdup("the outcomes of events, to those who asked for them");
	m->timeout_ms = 30000;
	m->concurrency = 64;
	m->retry.age_ms = 24 * 3600000u;
	m->breaker.calls = m->breaker.consecutive = 1000000;
	m->breaker.failure_percent = m->breaker.slow_percent = 100;
	if (!m->service || !m->handler)
		base_manifest_free(&m);
	return m;
}

enum base_err wrk_service_of_callbacks(
	const char *secret, struct wrk_service **out, char *why, size_t why_room)
{
	struct wrk_service *s = service_new("");
	enum base_err err = BASE_NOMEM;

	if (s && (s->manifest = callbacks_manifest()))
		err = make_wire(s, PIRN_VERSION);
	snprintf(why, why_room, "%s", base_err_text(err));
	if (!err)
		err = wrk_endpoint_of_callbacks(secret, &s->endpoint, why, why_room);
	if (err) {
		wrk_service_free(&s);
		return err;
	}
	share_out(s);
	*out = s;
	return BASE_OK;
}

static enum base_err load_endpoint(
	struct wrk_service *s, struct wrk_http *http, char *why, size_t why_room)
{
	char reason[WRK_NATIVE_WHY];
	enum base_err err = wrk_endpoint_new(
		http, s->manifest, s->folder, &s->endpoint, reason, sizeof reason);

	if (err)
		snprintf(why, why_room, "%.*s/" MANIFEST ": %s", 256, s->folder, reason);
	return err;
}

enum base_err wrk_service_load(struct wrk_service *s, size_t max_response, struct wrk_http *http,
	char *why, size_t why_room)
{
	enum base_err err;

	if (base_manifest_is_url(s->manifest->handler))
		return load_endpoint(s, http, why, why_room);
	err = wrk_native_load(s->folder, s->manifest, max_response, &s->native, why, why_room);
	if (!err)
		err = wrk_native_init(s->native, why, why_room);
	if (err)
		wrk_native_free(&s->native);
	return err;
}

void wrk_service_free(struct wrk_service **sp)
{
	struct wrk_service *s = *sp;

	if (!s)
		return;
	wrk_native_free(&s->native);
	wrk_endpoint_free(&s->endpoint);
	base_manifest_free(&s->manifest);
	base_arena_fini(&s->arena);
	free(s->folder);
	free(s);
	*sp = NULL;
}
