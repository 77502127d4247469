#include "broker/catalog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/manifest.h"
#include "broker/core/note.h"
#include "net/frame.h"
#include "net/hash.h"
#include "store/keys.h"

#define POLL_MS     1000
#define MAX_ENTRY   (128u * 1024)
#define ARENA_FIRST (16u * 1024)
#define ARENA_MAX   (4u * 1024 * 1024)

struct kept {
	UT_hash_handle hh;
	char service[BASE_MANIFEST_NAME_MAX + 1];
	uint8_t *bytes; /* NULL: dropped, and Redis does not know it yet */
	size_t size;
	uint64_t first_ms, announced_ms;
	Pirn__BreakerNote note; /* as it stands in bytes */
	uint64_t generation; /* of what stands here; an acknowledgement names the one it is for */
	uint64_t seen;       /* the reading that found it in Redis */
	bool unsaved, sending;
};

struct brk_catalog {
	struct net_loop *loop;
	struct brk_catalog_conf conf;
	brk_catalog_fn *on_entry;
	void *arg;
	struct store_redis *redis; /* NULL: down */
	struct kept *all;
	size_t n_unsaved;
	uv_timer_t timer;
	int64_t version;       /* of what we know of Redis; -1: nothing was read yet */
	int64_t version_ahead; /* of the reading under way */
	uint64_t generations;
	uint64_t reading; /* number of the reading under way or done */
	bool is_reading, read_again;
	bool fresh; /* the first reading of a connection: what is missing was lost */
	bool complained;
	struct base_arena arena;
};

struct writing {
	struct brk_catalog *catalog;
	uint64_t generation;
	char service[BASE_MANIFEST_NAME_MAX + 1];
};

static void read_all(struct brk_catalog *c);

/* ---- entries */

static struct kept *find(struct brk_catalog *c, const char *service)
{
	struct kept *k;
	HASH_FIND_STR(c->all, service, k);
	return k;
}

static void mark(struct brk_catalog *c, struct kept *k, bool unsaved)
{
	if (k->unsaved != unsaved)
		c->n_unsaved += unsaved ? 1 : (size_t)-1;
	k->unsaved = unsaved;
}

static void forget(struct brk_catalog *c, struct kept *k)
{
	mark(c, k, false);
	HASH_DEL(c->all, k);
	free(k->bytes);
	free(k);
}

/* The wire's form, without what is true of one broker only. */
static enum base_err pack(
	struct brk_catalog *c, const Pirn__Entry *entry, uint64_t first_ms, struct kept *out)
{
	Pirn__Entry copy = PIRN__ENTRY__INIT;
	copy.manifest = entry->manifest;
	copy.has_first_ms = copy.has_announced_ms = true;
	copy.first_ms = first_ms;
	copy.announced_ms = entry->announced_ms;
	brk_note_merge(&out->note, entry->breaker);
	copy.breaker = out->note.has_force_ms || out->note.has_opened_ms ? &out->note : NULL;
	size_t size = pirn__entry__get_packed_size(&copy);
	if (size > MAX_ENTRY)
		return BASE_TOO_LARGE;
	uint8_t *bytes = malloc(size);
	if (!bytes)
		return BASE_NOMEM;
	out->size = pirn__entry__pack(&copy, bytes);
	free(out->bytes);
	out->bytes = bytes;
	out->first_ms = first_ms;
	out->announced_ms = entry->announced_ms;
	out->generation = ++c->generations;
	return BASE_OK;
}

static enum base_err take(
	struct brk_catalog *c, const Pirn__Entry *entry, uint64_t first_ms, struct kept **out)
{
	const char *service = entry->manifest->service;
	struct kept *k = find(c, service);
	bool is_new = !k;
	if (is_new && HASH_COUNT(c->all) >= c->conf.max_services)
		return BASE_FULL;
	if (is_new && !(k = calloc(1, sizeof *k)))
		return BASE_NOMEM;
	if (is_new)
		pirn__breaker_note__init(&k->note);
	enum base_err err = pack(c, entry, first_ms, k);
	if (err) {
		if (is_new)
			free(k);
		return err;
	}
	if (is_new) {
		strcpy(k->service, service);
		HASH_ADD_STR(c->all, service, k);
		if (!k->hh.tbl) {
			free(k->bytes);
			free(k);
			return BASE_NOMEM;
		}
	}
	*out = k;
	return BASE_OK;
}

/* ---- writing */

static void on_written(void *arg, const struct store_reply *reply)
{
	struct writing w = *(struct writing *)arg;
	struct brk_catalog *c = w.catalog;
	struct kept *k = find(c, w.service);
	free(arg);
	if (k)
		k->sending = false;
	if (reply->type == STORE_ERROR && !c->complained)
		base_log(BASE_WARN, "registry_not_written", LOG_STR("service", w.service),
			LOG_BYTES("why", reply->text, reply->size));
	c->complained =
		reply->type == STORE_ERROR || (c->complained && reply->type == STORE_UNKNOWN);
	if (reply->type != STORE_INT)
		return;
	if (c->version >= 0 && reply->integer == c->version + 1)
		c->version++; /* nobody else changed it in between; otherwise the next look reads it all */
	if (!k || k->generation != w.generation)
		return;
	if (k->bytes)
		mark(c, k, false);
	else
		forget(c, k);
}

static bool write_one(struct brk_catalog *c, struct kept *k)
{
	struct writing *w = malloc(sizeof *w);
	if (!w)
		return false;
	*w = (struct writing){ .catalog = c, .generation = k->generation };
	strcpy(w->service, k->service);
	const struct store_arg args[] = { STORE_ARG("FCALL"), STORE_ARG("pirn1_registry"),
		STORE_ARG("2"), STORE_ARG(STORE_KEY_REGISTRY),
		STORE_ARG(STORE_KEY_REGISTRY_VERSION), STORE_ARG(k->service),
		{ k->bytes, k->bytes ? k->size : 0 } };
	if (store_redis_command(c->redis, args, sizeof args / sizeof *args, on_written, w)) {
		free(w);
		return false;
	}
	k->sending = true;
	return true;
}

/* One write of a service at a time: its answer tells whether another is needed. */
static void write_unsaved(struct brk_catalog *c)
{
	struct kept *k, *next;
	if (!c->redis || c->n_unsaved == 0)
		return;
	HASH_ITER (hh, c->all, k, next) {
		if (k->unsaved && !k->sending && !write_one(c, k))
			return; /* down or full: the next poll goes on */
	}
}

/* ---- reading */

/* UNTRUSTED. NULL: no entry of that service. */
static Pirn__Entry *unpack(
	struct brk_catalog *c, const struct store_reply *field, const struct store_reply *value)
{
	ProtobufCAllocator allocator = net_arena_allocator(&c->arena);
	if (field->type != STORE_STR || value->type != STORE_STR || value->size > MAX_ENTRY)
		return NULL;
	base_arena_reset(&c->arena);
	Pirn__Entry *entry =
		pirn__entry__unpack(&allocator, value->size, (const uint8_t *)value->text);
	if (!entry || !entry->has_announced_ms ||
		!base_manifest_is_service(entry->manifest->service) ||
		strlen(entry->manifest->service) != field->size ||
		memcmp(entry->manifest->service, field->text, field->size) != 0)
		return NULL;
	if (!entry->has_first_ms)
		entry->first_ms = entry->announced_ms;
	entry->has_first_ms = true;
	entry->has_workers = false;
	return entry;
}

/* What is said of the breaker is merged apart from the rest: its news are in notes of older manifests,
 * too. *behind: Redis lacks something of ours. Returns whether ours lacked something. */
static bool merge_note(struct kept *k, const Pirn__Entry *entry, bool *behind)
{
	Pirn__BreakerNote theirs = PIRN__BREAKER_NOTE__INIT;
	unsigned news;
	brk_note_merge(&theirs, entry->breaker);
	news = brk_note_merge(&k->note, &theirs);
	*behind = brk_note_merge(&theirs, &k->note) != 0;
	return news != 0;
}

/* The note changed, and nothing else. */
static enum base_err pack_again(struct brk_catalog *c, struct kept *k)
{
	Pirn__Entry *entry = pirn__entry__unpack(NULL, k->size, k->bytes);
	if (!entry)
		return BASE_NOMEM;
	enum base_err err = pack(c, entry, k->first_ms, k);
	pirn__entry__free_unpacked(entry, NULL);
	return err;
}

static void merge(struct brk_catalog *c, const Pirn__Entry *entry)
{
	struct kept *k = find(c, entry->manifest->service);
	bool behind = false, news;
	if (k)
		k->seen = c->reading;
	if (k && !k->bytes && k->announced_ms >= entry->announced_ms)
		return; /* dropped here; the drop is on its way */
	news = k && k->bytes && merge_note(k, entry, &behind);
	if (k && k->announced_ms >= entry->announced_ms) {
		if (news && pack_again(c, k))
			return;
		if (k->announced_ms > entry->announced_ms || k->first_ms < entry->first_ms ||
			behind)
			mark(c, k, true);
		if (entry->first_ms < k->first_ms || news)
			c->on_entry(c->arg,
				entry); /* the core takes the older first sight, and says KEEP */
		return;
	}
	bool ours_is_older = k && k->first_ms < entry->first_ms;
	if (take(c, entry, ours_is_older ? k->first_ms : entry->first_ms, &k) == BASE_OK) {
		k->seen = c->reading;
		mark(c, k, ours_is_older || behind);
	}
	c->on_entry(c->arg, entry);
}

/* There was no memory to look at it: it is left as it is, and read again with the next poll. */
static void pass_over(struct brk_catalog *c, const struct store_reply *field)
{
	struct kept *k = NULL;
	HASH_FIND(hh, c->all, field->text, field->size, k);
	if (k)
		k->seen = c->reading;
	c->version = -1;
}

/* What stands there is none: ours goes over it, when we have one. */
static bool mend(struct brk_catalog *c, const struct store_reply *field)
{
	struct kept *k = NULL;
	if (field->type == STORE_STR)
		HASH_FIND(hh, c->all, field->text, field->size, k);
	if (k) {
		k->seen = c->reading;
		mark(c, k, true);
	}
	return k != NULL;
}

static void sweep_missing(struct brk_catalog *c)
{
	struct kept *k, *next;
	HASH_ITER (hh, c->all, k, next) {
		if (k->seen == c->reading || k->unsaved)
			continue;
		if (c->fresh)
			mark(c, k, true);
		else
			forget(c, k);
	}
	c->fresh = false;
}

static void on_all(void *arg, const struct store_reply *reply)
{
	struct brk_catalog *c = arg;
	size_t broken = 0;
	c->is_reading = false;
	if (reply->type == STORE_ERROR)
		base_log(
			BASE_WARN, "registry_not_read", LOG_BYTES("why", reply->text, reply->size));
	if (reply->type != STORE_ARRAY)
		return;
	c->version = c->version_ahead;
	for (size_t i = 0; i + 1 < reply->n; i += 2) {
		struct store_reply field = store_reply_at(reply, i),
				   value = store_reply_at(reply, i + 1);
		const Pirn__Entry *entry = unpack(c, &field, &value);
		if (entry)
			merge(c, entry);
		else if (c->arena.starved)
			pass_over(c, &field);
		else
			broken += !mend(c, &field);
	}
	base_arena_reset(&c->arena);
	if (broken)
		base_log(BASE_WARN, "registry_entries_broken", LOG_U64("entries", broken));
	sweep_missing(c);
	write_unsaved(c);
	if (c->conf.on_read && c->version != -1) /* nothing was passed over */
		c->conf.on_read(c->arg);
	if (c->read_again)
		read_all(c);
}

static bool read_version(const struct store_reply *reply, int64_t *version)
{
	if (reply->type == STORE_NIL)
		*version = 0;
	else if (reply->type == STORE_STR)
		*version = strtoll(reply->text, NULL, 10);
	else
		return false;
	return true;
}

/* Read before the hash: what is read is at least as new as the version that is remembered. */
static void on_version_first(void *arg, const struct store_reply *reply)
{
	struct brk_catalog *c = arg;
	(void)read_version(reply, &c->version_ahead);
}

static void read_all(struct brk_catalog *c)
{
	static const struct store_arg get[] = { { "GET", 3 },
		{ STORE_KEY_REGISTRY_VERSION, sizeof STORE_KEY_REGISTRY_VERSION - 1 } };
	static const struct store_arg all[] = { { "HGETALL", 7 },
		{ STORE_KEY_REGISTRY, sizeof STORE_KEY_REGISTRY - 1 } };
	c->read_again = c->is_reading;
	if (c->is_reading || !c->redis)
		return;
	c->reading++;
	c->is_reading = store_redis_command(c->redis, get, 2, on_version_first, c) == BASE_OK &&
			store_redis_command(c->redis, all, 2, on_all, c) == BASE_OK;
}

static void on_version(void *arg, const struct store_reply *reply)
{
	struct brk_catalog *c = arg;
	int64_t version;
	if (!read_version(reply, &version))
		return;
	if (version < c->version)
		c->fresh = true; /* the data went back in time */
	if (version != c->version)
		read_all(c);
	write_unsaved(c);
}

static void on_timer(uv_timer_t *timer)
{
	struct brk_catalog *c = timer->data;
	static const struct store_arg get[] = { { "GET", 3 },
		{ STORE_KEY_REGISTRY_VERSION, sizeof STORE_KEY_REGISTRY_VERSION - 1 } };
	if (c->redis && !c->is_reading &&
		store_redis_command(c->redis, get, 2, on_version, c) != BASE_OK)
		return; /* down or full: the next time */
}

/* ---- life */

enum base_err brk_catalog_new(struct net_loop *loop, const struct brk_catalog_conf *conf,
	brk_catalog_fn *on_entry, void *arg, struct brk_catalog **out)
{
	struct brk_catalog *c = calloc(1, sizeof *c);
	if (!c)
		return BASE_NOMEM;
	*c = (struct brk_catalog){
		.loop = loop, .conf = *conf, .on_entry = on_entry, .arg = arg, .version = -1
	};
	if (c->conf.poll_ms == 0)
		c->conf.poll_ms = POLL_MS;
	base_arena_init(&c->arena, ARENA_FIRST, ARENA_MAX);
	uv_timer_init(net_loop_uv(loop), &c->timer);
	c->timer.data = c;
	*out = c;
	return BASE_OK;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void brk_catalog_free(struct brk_catalog **cp)
{
	struct brk_catalog *c = *cp;
	struct kept *k, *next;
	if (!c)
		return;
	*cp = NULL;
	HASH_ITER (hh, c->all, k, next)
		forget(c, k);
	base_arena_fini(&c->arena);
	uv_close((uv_handle_t *)&c->timer, on_closed);
}

void brk_catalog_up(struct brk_catalog *c, struct store_redis *redis)
{
	c->redis = redis;
	c->fresh = true;
	c->complained = false;
	uv_timer_start(&c->timer, on_timer, c->conf.poll_ms, c->conf.poll_ms);
	read_all(c);
}

void brk_catalog_down(struct brk_catalog *c)
{
	c->redis = NULL;
	uv_timer_stop(&c->timer);
}

enum base_err brk_catalog_keep(struct brk_catalog *c, const Pirn__Entry *entry)
{
	struct kept *k;
	enum base_err err = take(c, entry, entry->first_ms, &k);
	if (err)
		return err;
	mark(c, k, true);
	if (!c->is_reading) /* the reading ends with a write of all that is unsaved */
		write_unsaved(c);
	return BASE_OK;
}

void brk_catalog_drop(struct brk_catalog *c, const char *service)
{
	struct kept *k = find(c, service);
	if (!k || !k->bytes)
		return;
	free(k->bytes);
	k->bytes = NULL;
	pirn__breaker_note__init(&k->note);
	k->generation = ++c->generations;
	mark(c, k, true);
	write_unsaved(c);
}

size_t brk_catalog_unsaved(const struct brk_catalog *c)
{
	return c->n_unsaved;
}
