/* What serves what. A manifest comes from a worker's HELLO, or as an entry (from
 * Redis at the start, or told by another broker); the one that was announced last
 * gives a service's settings. Clients that asked get the whole list when they say
 * HELLO, and again when it changes, at most every BRK_REGISTRY_MS.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/manifest.h"
#include "base/zone_file.h"
#include "broker/core/callback.h"
#include "broker/core/parts.h"

#define MAX_MANIFEST    (64u * 1024)
#define MAX_TEXT        1024u
#define MAX_TIMEOUT_MS  BRK_MAX_LEFT_MS
#define MAX_CONCURRENCY 65536u
#define FNV_START       14695981039346656037u

/* What a manifest says that says nothing of them; as in base/manifest.c. */
#define RETRY_ATTEMPTS 10u
#define RETRY_BASE_MS  1000u
#define RETRY_MAX_MS   (300u * 1000)
#define RETRY_AGE_MS   (6u * 3600 * 1000)

/* ---- judging -------------------------------------------------------------- */

static const char *complain(struct brk_core *core, const Pirn__Manifest *m, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static const char *complain(struct brk_core *core, const Pirn__Manifest *m, const char *format, ...)
{
	int n = snprintf(core->why, sizeof core->why, "manifest of %.64s: ", m->service);
	va_list args;

	va_start(args, format);
	vsnprintf(core->why + n, sizeof core->why - (size_t)n, format, args);
	va_end(args);
	return core->why;
}

static bool is_short(const char *text)
{
	return !text || strnlen(text, MAX_TEXT + 1) <= MAX_TEXT;
}

static const char *judge_routes(struct brk_core *core, const Pirn__Manifest *m)
{
	char why[128];

	if (m->n_routes > BASE_MANIFEST_ROUTES_MAX)
		return complain(core, m, "too many routes");
	for (size_t i = 0; i < m->n_routes; i++) {
		if (!base_manifest_is_method(m->routes[i]->method))
			return complain(core, m, "route %zu: unknown method", i + 1);
		if (base_manifest_path_check(m->routes[i]->path, why, sizeof why))
			return complain(core, m, "route %zu: %s", i + 1, why);
	}
	return NULL;
}

static bool has_twin(const Pirn__Manifest *m, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (strcmp(m->timers[k]->name, m->timers[i]->name) == 0)
			return true;
	return false;
}

/* What an expression and a zone mean is for the gateways. */
static const char *judge_timers(struct brk_core *core, const Pirn__Manifest *m)
{
	if (m->n_timers > BASE_MANIFEST_TIMERS_MAX)
		return complain(core, m, "too many timers");
	for (size_t i = 0; i < m->n_timers; i++) {
		const Pirn__Timer *t = m->timers[i];

		if (!base_manifest_is_service(t->name) || has_twin(m, i))
			return complain(core, m, "timer %zu: its name", i + 1);
		if (!t->cron == !t->has_every_ms ||
			(t->cron && strnlen(t->cron, BASE_MANIFEST_CRON_MAX + 1) >
					    BASE_MANIFEST_CRON_MAX) ||
			(t->has_every_ms && (t->every_ms == 0 || t->every_ms % 1000 != 0)))
			return complain(core, m, "timer %zu: its times", i + 1);
		if (t->zone && !base_zone_is_name(t->zone))
			return complain(core, m, "timer %zu: its zone", i + 1);
		if (t->has_missed && t->missed > 2)
			return complain(core, m, "timer %zu: missed out of range", i + 1);
	}
	return NULL;
}

static bool is_named(const Pirn__Manifest *m, size_t i)
{
	const char *name = m->sources[i]->name;

	for (size_t k = 0; k < i; k++)
		if (strcmp(m->sources[k]->name, name) == 0)
			return false;
	return base_manifest_is_service(name) && strlen(name) <= BASE_MANIFEST_SOURCE_NAME_MAX;
}

static const char *judge_sources(struct brk_core *core, const Pirn__Manifest *m)
{
	if (m->n_sources > BASE_MANIFEST_SOURCES_MAX)
		return complain(core, m, "too many sources");
	for (size_t i = 0; i < m->n_sources; i++) {
		const Pirn__Source *s = m->sources[i];

		if (!is_named(m, i))
			return complain(core, m, "source %zu: its name", i + 1);
		/* Never repeated: it may hold what should not be there. */
		if (base_manifest_url_check(s->url, NULL, 0))
			return complain(core, m, "source %zu: its url", i + 1);
		if (!s->stream == !s->keys || (s->group && !s->stream) ||
			(s->keys && s->n_ops == 0))
			return complain(core, m, "source %zu: not one of stream and keys", i + 1);
		if (s->n_ops > BASE_MANIFEST_OPS_MAX)
			return complain(core, m, "source %zu: too many ops", i + 1);
		for (size_t k = 0; k < s->n_ops; k++)
			if (!base_manifest_is_op(s->ops[k]))
				return complain(core, m, "source %zu: its ops", i + 1);
	}
	return NULL;
}

const char *brk_registry_judge(struct brk_core *core, const Pirn__Manifest *m)
{
	const char *why;

	if (!base_manifest_is_service(m->service))
		return complain(core, m, "the service's name is not [a-z][a-z0-9-]{0,62}");
	if (strncmp(m->service, "pirn-", 5) == 0 && !brk_callback_is(m->service))
		return complain(core, m, "names that begin with pirn- are Pirn's own");
	if (m->callback && strnlen(m->callback, BRK_CALLBACK_MAX + 1) > BRK_CALLBACK_MAX)
		return complain(core, m, "callback too long");
	if (m->has_timeout_ms && (m->timeout_ms == 0 || m->timeout_ms > MAX_TIMEOUT_MS))
		return complain(core, m, "timeout out of range");
	if (m->has_concurrency && (m->concurrency == 0 || m->concurrency > MAX_CONCURRENCY))
		return complain(core, m, "concurrency out of range");
	if (!is_short(m->version) || !is_short(m->description))
		return complain(core, m, "version or description too long");
	if (m->breaker && m->breaker->failure_percent > 100)
		return complain(core, m, "more than 100 percent");
	if (pirn__manifest__get_packed_size(m) > MAX_MANIFEST)
		return complain(core, m, "too large");
	if (brk_fan_judge(m))
		return complain(core, m, "%s", brk_fan_judge(m));
	why = judge_timers(core, m);
	if (!why)
		why = judge_sources(core, m);
	return why ? why : judge_routes(core, m);
}

/* ---- taking --------------------------------------------------------------- */

struct packed {
	uint8_t *bytes;
	size_t size;
};

static enum base_err pack(const Pirn__Manifest *manifest, struct packed *out)
{
	out->size = pirn__manifest__get_packed_size(manifest);
	out->bytes = malloc(out->size + 1);
	if (!out->bytes)
		return BASE_NOMEM;
	pirn__manifest__pack(manifest, out->bytes);
	return BASE_OK;
}

static bool is_same(const struct brk_service *service, const struct packed *p)
{
	return service->packed && service->packed_size == p->size &&
	       memcmp(service->packed, p->bytes, p->size) == 0;
}

static void set_retry(struct brk_service *service, const Pirn__Retry *from)
{
	struct brk_retry *retry = &service->retry;

	*retry = (struct brk_retry){ RETRY_ATTEMPTS, RETRY_BASE_MS, RETRY_MAX_MS, RETRY_AGE_MS };
	if (!from)
		return;
	if (from->has_attempts)
		retry->attempts = from->attempts;
	if (from->has_base_ms)
		retry->base_ms = from->base_ms;
	if (from->has_max_ms)
		retry->max_ms = from->max_ms;
	if (from->has_age_s)
		retry->age_ms = (uint64_t)from->age_s * 1000;
}

/* Takes p's bytes on BASE_OK. */
static enum base_err adopt(struct brk_core *core, struct brk_service *service, struct packed *p)
{
	Pirn__Manifest *manifest = pirn__manifest__unpack(NULL, p->size, p->bytes);

	if (!manifest)
		return BASE_NOMEM;
	if (brk_fan_subscribe(core, service, manifest)) {
		pirn__manifest__free_unpacked(manifest, NULL);
		return BASE_NOMEM;
	}
	if (service->entry.manifest)
		pirn__manifest__free_unpacked(service->entry.manifest, NULL);
	free(service->packed);
	service->packed = p->bytes;
	service->packed_size = p->size;
	p->bytes = NULL;
	service->entry.manifest = manifest;
	service->queue_items = manifest->queue_items;
	set_retry(service, manifest->retry);
	service->concurrency_total = manifest->concurrency_total;
	service->timeout_ms =
		manifest->has_timeout_ms ? manifest->timeout_ms : BRK_DEFAULT_TIMEOUT_MS;
	brk_breaker_configure(core, service, manifest->breaker);
	brk_overload_configure(core, service, manifest->queue);
	if (service->timeout_ms > service->longest_ms)
		service->longest_ms = service->timeout_ms;
	brk_service_touch(core, service); /* more of it may run at once now */
	brk_registry_changed(core);
	brk_act_log(core, BRK_LOG_service_known, service->name, manifest->n_routes);
	return BASE_OK;
}

static void keep(struct brk_core *core, struct brk_service *service)
{
	brk_act(core, BRK_KEEP_SERVICE, 0)->entry = &service->entry;
}

static void set_times(struct brk_service *service, uint64_t first_ms, uint64_t announced_ms)
{
	service->entry.has_first_ms = service->entry.has_announced_ms = true;
	service->entry.first_ms = first_ms;
	service->entry.announced_ms = announced_ms;
}

static uint64_t mix(uint64_t hash, const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ bytes[i]) * 1099511628211u;
	return hash;
}

static bool is_remembered(const struct brk_service *service, uint64_t announcement)
{
	for (size_t i = 0; i < BRK_ANNOUNCEMENTS; i++)
		if (service->announcements[i] == announcement)
			return true;
	return false;
}

static void remember(struct brk_service *service, uint64_t announcement)
{
	if (!is_remembered(service, announcement))
		service->announcements[service->n_announcements++ % BRK_ANNOUNCEMENTS] =
			announcement;
}

/* A process that comes back with what it announced before does not announce it anew: otherwise an
 * old worker that reconnects would take the settings back from the new ones. A new process with an
 * old manifest does, and one that changes its manifest while it is here: so one goes back to it. */
static bool is_news(const struct brk_link *link, uint64_t announcement)
{
	if (link->announcement)
		return link->announcement != announcement;
	return !is_remembered(link->service, announcement);
}

enum base_err brk_registry_announce(
	struct brk_core *core, struct brk_link *link, const Pirn__Manifest *manifest)
{
	struct brk_service *service = link->service;
	uint64_t now = brk_unix_ms(core), before = service->entry.announced_ms;
	struct packed p;
	enum base_err err = pack(manifest, &p);
	uint64_t announcement;

	if (err)
		return err;
	announcement = mix(mix(FNV_START, p.bytes, p.size), link->peer->boot, 16);
	if (!is_same(service, &p) && is_news(link, announcement)) {
		err = adopt(core, service, &p);
		if (err)
			goto done;
		set_times(service, service->entry.has_first_ms ? service->entry.first_ms : now,
			now > before ? now : before + 1);
		keep(core, service);
	}
	remember(service, announcement);
	link->announcement = announcement;
done:
	free(p.bytes);
	return err;
}

/* Nobody tells it a second time, and a service that is not known would be denied to those who ask for it. */
static const char unknown[] = "a service that others announced";

/* The older first sight is the true one, whoever saw it. */
static void merge_entry(struct brk_core *core, struct brk_service *service,
	const Pirn__Entry *entry, struct packed *p)
{
	uint64_t first_ms = service->entry.first_ms, announced_ms = service->entry.announced_ms;
	bool is_older = entry->has_first_ms && entry->first_ms < first_ms;

	if (is_older)
		first_ms = entry->first_ms;
	if (entry->announced_ms > announced_ms) {
		if (!is_same(service, p) && adopt(core, service, p))
			base_no_memory(unknown);
		set_times(service, first_ms, entry->announced_ms);
	} else if (is_older) {
		set_times(service, first_ms, announced_ms);
		keep(core, service);
		brk_registry_changed(core);
	}
}

/* UNTRUSTED, like what a peer says. */
void brk_registry_entry(struct brk_core *core, const Pirn__Entry *entry)
{
	const char *why = brk_registry_judge(core, entry->manifest);
	struct brk_service *service;
	struct packed p;

	if (why) {
		brk_act_log(core, BRK_LOG_service_refused, why, 0);
		return;
	}
	if (pack(entry->manifest, &p))
		base_no_memory(unknown);
	service = brk_service_find(core, entry->manifest->service);
	if (service) {
		merge_entry(core, service, entry, &p);
	} else if (brk_service_has_place(core, entry->manifest->service)) {
		service = brk_service_new(core, entry->manifest->service);
		if (!service || adopt(core, service, &p))
			base_no_memory(unknown);
		set_times(service, entry->has_first_ms ? entry->first_ms : brk_unix_ms(core),
			entry->announced_ms);
	}
	free(p.bytes);
	if (service)
		brk_breaker_noted(core, service, entry->breaker);
}

/* ---- telling -------------------------------------------------------------- */

void brk_registry_changed(struct brk_core *core)
{
	core->registry_stale = true;
}

static bool collect(struct brk_core *core)
{
	Pirn__Registry *registry = &core->registry;
	size_t n = HASH_COUNT(core->services);
	struct brk_service *service, *next;

	if (n > core->registry_capacity) {
		Pirn__Entry **entries = realloc(registry->entries, n * sizeof(Pirn__Entry *));

		if (!entries)
			return false;
		registry->entries = entries;
		core->registry_capacity = n;
	}
	registry->has_events = core->conf.events;
	registry->events = brk_owner_takes_events(core);
	registry->warnings = (char **)(uintptr_t)core->owner.sentences; /* only read */
	registry->n_warnings = core->owner.n_sentences;
	registry->n_entries = 0;
	HASH_ITER (hh, core->services, service, next)
		registry->entries[registry->n_entries++] = &service->entry;
	return true;
}

void brk_registry_push(struct brk_core *core, const struct brk_peer *peer)
{
	if (collect(core))
		brk_act_control(core, peer->id, PIRN__KIND__REGISTRY, &core->registry.base);
	else
		brk_registry_changed(core);
}

uint64_t brk_registry_due(const struct brk_core *core)
{
	return core->registry_stale ? core->registry_ms + BRK_REGISTRY_MS : UINT64_MAX;
}

void brk_registry_tick(struct brk_core *core)
{
	struct brk_peer *peer, *next;

	if (core->now_ms < brk_registry_due(core) || !collect(core))
		return;
	core->registry_stale = false;
	core->registry_ms = core->now_ms;
	HASH_ITER (hh, core->peers, peer, next)
		if (peer->registry)
			brk_act_control(core, peer->id, PIRN__KIND__REGISTRY, &core->registry.base);
}

static bool is_forgotten(const struct brk_core *core, const struct brk_service *service)
{
	return !service->links && service->queue.n == 0 && service->n_running == 0 &&
	       !brk_service_has_events(service) && !service->touched &&
	       core->now_ms - service->workerless_ms >= core->conf.forget_ms;
}

void brk_registry_forget(struct brk_core *core)
{
	struct brk_service *service, *next;

	HASH_ITER (hh, core->services, service, next) {
		if (!is_forgotten(core, service))
			continue;
		brk_act(core, BRK_DROP_SERVICE, 0)->entry = &service->entry;
		brk_act_log(core, BRK_LOG_service_forgotten, service->name,
			core->now_ms - service->workerless_ms);
		brk_service_bury(core, service);
		brk_registry_changed(core);
	}
}
