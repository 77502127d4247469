#include "gateway/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/source_parts.h"
#include "net/hash.h"
#include "store/url.h"

#define TICK_MS  200u
#define URL_MAX  1024u
#define PATH_MOST 4096u

struct gw_sources {
	struct gw *gw;
	struct gw_sources_conf conf;
	uv_timer_t *timer;
	struct gw_source *sources;
	size_t refused; /* beyond GW_SOURCES_MAX */
};

/* ---- how it fares ------------------------------------------------------------------------ */

void gw_source_well(struct gw_source *s, const char *where)
{
	if (s->well)
		return;
	s->well = true;
	s->fault[0] = '\0';
	base_log(BASE_INFO, "source_up", LOG_STR("source", s->key), LOG_STR("redis", where));
}

void gw_source_fault(struct gw_source *s, const char *where, const char *why, const char *what)
{
	char fault[sizeof s->fault];

	s->well = false;
	snprintf(fault, sizeof fault, "%s", why);
	if (strcmp(fault, s->fault) == 0)
		return;
	memcpy(s->fault, fault, sizeof s->fault);
	s->faults++;
	base_log(BASE_ERROR, "source_fault", LOG_STR("source", s->key), LOG_STR("redis", where),
		LOG_STR("why", why), LOG_STR("do", what ? what : "-"));
}

bool gw_source_starts(const struct store_reply *reply, const char *code)
{
	return reply->type == STORE_ERROR && strncmp(reply->text, code, strlen(code)) == 0;
}

void gw_source_error(struct gw_source *s, const char *where, const struct store_reply *reply)
{
	char why[256];
	const char *what = NULL;

	if (reply->type != STORE_ERROR) {
		gw_source_fault(s, where, "an answer that is none",
			"is it a Redis, and one of 6.2 or newer?");
		return;
	}
	if (gw_source_starts(reply, "WRONGTYPE"))
		what = "name a key that is a stream, or one that is not there";
	else if (gw_source_starts(reply, "NOPERM") || gw_source_starts(reply, "NOAUTH"))
		what = "give its user the commands, keys and channels that doc/sources.md lists";
	else if (strstr(reply->text, "unknown command") || strstr(reply->text, "syntax error"))
		what = "it takes Redis 6.2 or newer";
	snprintf(why, sizeof why, "%.240s", reply->text);
	gw_source_fault(s, where, why, what);
}

void gw_source_refuse(struct gw_source *s, const char *where, const char *name, const char *why)
{
	s->refused++;
	base_log(BASE_ERROR, "source_event_refused", LOG_STR("source", s->key),
		LOG_STR("redis", where), LOG_STR("entry", name), LOG_STR("why", why));
}

bool gw_source_is_foreign(struct gw_source *s, const char *where, const struct store_reply *reply)
{
	if (reply->type != STORE_INT || reply->integer == 0)
		return true;
	gw_source_fault(s, where, "it is Pirn's own Redis, where events would make events",
		"name another one, or another database of it");
	return false;
}

/* ---- what the kinds ask for ---------------------------------------------------------------- */

uint32_t gw_source_claim_ms(const struct gw_source *s)
{
	return s->all->conf.claim_ms;
}

uint64_t gw_source_max_body(const struct gw_source *s)
{
	return s->all->conf.max_body;
}

size_t gw_source_max_reply(const struct gw_source *s)
{
	size_t twice = (size_t)s->all->conf.max_body * 2;

	return twice > GW_SOURCE_REPLY ? twice : GW_SOURCE_REPLY;
}

void gw_source_id(struct gw_source *s, uint8_t out[BASE_ULID_SIZE])
{
	uint64_t now_ms;

	if (!client_engine_now_ms(s->gw->engine, &now_ms))
		now_ms = base_clock_unix_ms();
	base_ulid_make(&s->gw->ulids, &s->gw->rand, now_ms, out);
}

uint32_t gw_source_db(const char *text)
{
	struct store_url url;
	char *why = NULL;
	uint32_t db = 0;

	if (store_url_parse(text, &url, &why) == BASE_OK) {
		db = url.db;
		store_url_fini(&url);
	}
	free(why);
	return db;
}

/* ---- URLs ------------------------------------------------------------------------------------ */

/* The first line of a file. */
static bool read_file(const char *path, char out[URL_MAX])
{
	FILE *file = fopen(path, "re");
	bool ok = file && fgets(out, URL_MAX, file);

	if (file)
		fclose(file);
	if (ok)
		out[strcspn(out, "\r\n")] = '\0';
	return ok && out[0];
}

/* False: it is not known here. */
static bool find_url(const struct gw_source *s, char out[URL_MAX])
{
	char name[BASE_MANIFEST_NAME_MAX + 1];
	char variable[sizeof GW_SOURCE_VARIABLE + BASE_MANIFEST_NAME_MAX + 8];
	const char *value;

	if (base_manifest_url_name(s->conf->url, name) == 0) {
		(void)snprintf(out, URL_MAX, "%s", s->conf->url);
		return true;
	}
	(void)snprintf(variable, sizeof variable, GW_SOURCE_VARIABLE "%s", name);
	value = getenv(variable);
	if (value && *value && strlen(value) < URL_MAX) {
		(void)snprintf(out, URL_MAX, "%s", value);
		return true;
	}
	strcat(variable, "_FILE");
	value = getenv(variable);
	return value && *value && strlen(value) < PATH_MOST && read_file(value, out);
}

static void start(struct gw_source *s)
{
	char url[URL_MAX];

	if (!find_url(s, url)) {
		if (!s->told_missing)
			base_log(BASE_INFO, "source_not_here", LOG_STR("source", s->key),
				LOG_STR("url", s->conf->url));
		s->told_missing = true;
	} else if (s->conf->stream) {
		s->stream = gw_stream_new(s, url);
	} else {
		s->listener = gw_listener_new(s, url);
	}
	explicit_bzero(url, sizeof url);
	s->retry_at = base_clock_ms() + GW_SOURCE_AGAIN_MS;
}

/* ---- one source's life ------------------------------------------------------------------------- */

static void free_source(struct gw_source *s)
{
	gw_stream_free(&s->stream);
	gw_listener_free(&s->listener);
	if (s->hh.tbl)
		HASH_DEL(s->all->sources, s);
	pirn__source__free_unpacked(s->conf, NULL);
	free(s->packed);
	free(s);
}

/* UNTRUSTED: what a broker let through. */
static bool is_sound(const char *service, const Pirn__Source *conf)
{
	if (!base_manifest_is_service(service) || !base_manifest_is_service(conf->name) ||
		strlen(conf->name) > BASE_MANIFEST_SOURCE_NAME_MAX ||
		base_manifest_url_check(conf->url, NULL, 0) || !conf->stream == !conf->keys ||
		conf->n_ops > BASE_MANIFEST_OPS_MAX)
		return false;
	return conf->stream ? *conf->stream && strlen(conf->stream) <= 512 &&
				      (!conf->group || strlen(conf->group) <= 128)
			    : *conf->keys && strlen(conf->keys) <= 512;
}

/* Takes packed. */
static void new_source(
	struct gw_sources *all, const char *service, const char *key, uint8_t *packed, size_t size)
{
	struct gw_source *s = calloc(1, sizeof *s);

	if (!s)
		base_no_memory("a source");
	s->all = all;
	s->gw = all->gw;
	s->packed = packed;
	s->packed_size = size;
	s->seen = true;
	s->conf = pirn__source__unpack(NULL, size, packed);
	memcpy(s->service, service, strnlen(service, sizeof s->service - 1));
	memcpy(s->key, key, strnlen(key, sizeof s->key - 1));
	HASH_ADD_STR(all->sources, key, s);
	if (!s->conf || !s->hh.tbl)
		base_no_memory("a source");
	start(s);
}

static void follow_one(struct gw_sources *all, const char *service, const Pirn__Source *conf)
{
	char key[GW_SOURCE_KEY];
	struct gw_source *s;
	size_t size = pirn__source__get_packed_size(conf);
	uint8_t *packed;

	if (!is_sound(service, conf))
		return;
	snprintf(key, sizeof key, "%s/%s", service, conf->name);
	HASH_FIND_STR(all->sources, key, s);
	if (s && s->seen) /* twice */
		return;
	packed = malloc(size + 1);
	if (!packed)
		base_no_memory("a source");
	pirn__source__pack(conf, packed);
	if (s && s->packed_size == size && memcmp(s->packed, packed, size) == 0) {
		s->seen = true;
		free(packed);
		return;
	}
	if (s)
		free_source(s);
	if (HASH_COUNT(all->sources) < GW_SOURCES_MAX) {
		new_source(all, service, key, packed, size);
		return;
	}
	all->refused++;
	free(packed);
}

/* ---- all of them --------------------------------------------------------------------------------- */

static void on_tick(uv_timer_t *timer)
{
	struct gw_sources *all = timer->data;
	struct gw_source *s;

	for (s = all->sources; s; s = s->hh.next) {
		if (s->stream)
			gw_stream_tick(s->stream);
		else if (s->listener)
			gw_listener_tick(s->listener);
		else if (base_clock_ms() >= s->retry_at)
			start(s);
	}
}

void gw_sources_follow(struct gw_sources *all, const Pirn__Registry *registry)
{
	struct gw_source *s, *next;
	size_t refused = all->refused;

	all->refused = 0;
	for (s = all->sources; s; s = s->hh.next)
		s->seen = false;
	for (size_t i = 0; i < registry->n_entries; i++) {
		const Pirn__Manifest *m = registry->entries[i]->manifest;

		for (size_t k = 0; k < m->n_sources; k++)
			follow_one(all, m->service, m->sources[k]);
	}
	HASH_ITER (hh, all->sources, s, next)
		if (!s->seen)
			free_source(s);
	if (all->refused > 0 && all->refused != refused)
		base_log(BASE_ERROR, "sources_refused", LOG_U64("refused", all->refused),
			LOG_U64("most", GW_SOURCES_MAX));
	if (!all->sources)
		(void)uv_timer_stop(all->timer);
	else if (!uv_is_active((const uv_handle_t *)all->timer))
		(void)uv_timer_start(all->timer, on_tick, 0, TICK_MS);
}

size_t gw_sources_open(const struct gw_sources *all)
{
	size_t open = 0;

	for (const struct gw_source *s = all->sources; s; s = s->hh.next) {
		open += s->stream ? gw_stream_busy(s->stream) : 0;
		open += s->listener ? gw_listener_open(s->listener) : 0;
	}
	return open;
}

/* ---- what is shown ------------------------------------------------------------------------------------ */

static size_t unsettled(const struct gw_source *s)
{
	if (s->stream)
		return gw_stream_open(s->stream);
	return s->listener ? gw_listener_open(s->listener) : 0;
}

static int by_key(const struct gw_source *a, const struct gw_source *b)
{
	return strcmp(a->key, b->key);
}

void gw_sources_each(struct gw_sources *all, gw_source_fn *fn, void *arg)
{
	HASH_SORT(all->sources, by_key);
	for (const struct gw_source *s = all->sources; s; s = s->hh.next)
		fn(arg, &(struct gw_source_view){
				.service = s->service,
				.name = s->conf->name,
				.url = s->conf->url,
				.stream = s->conf->stream,
				.group = s->conf->group,
				.keys = s->conf->keys,
				.ops = (const char *const *)s->conf->ops,
				.n_ops = s->conf->n_ops,
				.here = s->stream || s->listener,
				.up = s->well,
				.listens = s->listener && gw_listener_listens(s->listener),
				.fault = s->fault[0] ? s->fault : NULL,
				.unsettled = unsettled(s),
				.accepted = s->accepted,
				.refused = s->refused,
				.taken = s->taken,
				.lost = s->lost,
			});
}

/* ---- figures --------------------------------------------------------------------------------------- */

static const struct base_stat_def defs[] = {
	{ "pirn_gateway_source_up", BASE_STAT_GAUGE, "1: the source works here." },
	{ "pirn_gateway_source_listening", BASE_STAT_GAUGE,
		"1: this gateway is the one that listens to these keys." },
	{ "pirn_gateway_source_unsettled", BASE_STAT_GAUGE,
		"Entries and notifications that were read and are not settled yet." },
	{ "pirn_gateway_source_events_total", BASE_STAT_COUNTER,
		"Events of the source that were accepted." },
	{ "pirn_gateway_source_refused_total", BASE_STAT_COUNTER,
		"Entries and notifications that never can be an event." },
	{ "pirn_gateway_source_taken_over_total", BASE_STAT_COUNTER,
		"Entries that another reader had, and did not acknowledge." },
	{ "pirn_gateway_source_lost_total", BASE_STAT_COUNTER,
		"Notifications that were heard and could not be kept." },
	{ "pirn_gateway_source_faults_total", BASE_STAT_COUNTER,
		"Times that something new was wrong with the source." },
};

static void walk_one(const struct gw_source *s, base_stat_sink *sink, void *arg)
{
	char labels[GW_SOURCE_KEY + 32];
	const double values[] = { s->well, s->listener && gw_listener_listens(s->listener),
		(double)unsettled(s),
		(double)s->accepted, (double)s->refused, (double)s->taken, (double)s->lost,
		(double)s->faults };

	(void)snprintf(labels, sizeof labels, "service=\"%s\",source=\"%s\"", s->service,
		s->conf->name);
	for (size_t i = 0; i < sizeof defs / sizeof defs[0]; i++)
		sink(arg, &(struct base_stat_sample){
				  .def = &defs[i], .labels = labels, .value = values[i] });
}

void gw_sources_walk(const struct gw_sources *all, base_stat_sink *sink, void *arg)
{
	for (const struct gw_source *s = all->sources; s; s = s->hh.next)
		walk_one(s, sink, arg);
}

/* ---- birth and death --------------------------------------------------------------------------------- */

struct gw_sources *gw_sources_new(struct gw *gw, const struct gw_sources_conf *conf)
{
	struct gw_sources *all = calloc(1, sizeof *all);

	if (!all)
		return NULL;
	all->timer = calloc(1, sizeof *all->timer);
	if (!all->timer || uv_timer_init(net_loop_uv(gw->loop), all->timer)) {
		free(all->timer);
		free(all);
		return NULL;
	}
	all->gw = gw;
	all->conf = *conf;
	all->timer->data = all;
	return all;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

void gw_sources_free(struct gw_sources **allp)
{
	struct gw_sources *all = *allp;
	struct gw_source *s, *next;

	if (!all)
		return;
	HASH_ITER (hh, all->sources, s, next)
		free_source(s);
	uv_close((uv_handle_t *)all->timer, on_closed);
	free(all);
	*allp = NULL;
}
