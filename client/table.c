/* What serves what, as all brokers together see it. A broker's push replaces the
 * one before; whenever one changes the whole is united anew, which is rare (a
 * worker comes or goes) and simple.
 *
 * While no broker is there, what the last one said stays, with no workers: a
 * service that is known does not become unknown because a broker restarts.
 */
#include "client/parts.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define WARNINGS_MAX 64
#define REGISTRY_MAX (32u * 1024 * 1024) /* unpacked; the message itself is at most NET_MAX_BODY */

static void drop_services(struct client_engine *e)
{
	struct client_service *s, *next;

	HASH_ITER (hh, e->services, s, next) {
		HASH_DEL(e->services, s);
		free(s);
	}
}

static bool is_name(const char *name)
{
	size_t size = strlen(name);

	return size > 0 && size < CLIENT_SERVICE_MAX;
}

/* NULL: memory */
static struct client_service *find_or_add(struct client_engine *e, const char *name)
{
	struct client_service *s;
	size_t size = strlen(name);

	HASH_FIND(hh, e->services, name, size, s);
	if (s)
		return s;
	s = calloc(1, sizeof *s);
	if (!s)
		return NULL;
	memcpy(s->name, name, size);
	pirn__entry__init(&s->entry);
	HASH_ADD(hh, e->services, name[0], size, s);
	if (!s->hh.tbl) {
		free(s);
		return NULL;
	}
	return s;
}

/* The manifest that was announced last gives routes and settings; the oldest sight keeps a dispute. */
static void unite(Pirn__Entry *into, const Pirn__Entry *one, bool is_live)
{
	if (!into->manifest || one->announced_ms > into->announced_ms) {
		into->manifest = one->manifest;
		into->has_announced_ms = one->has_announced_ms;
		into->announced_ms = one->announced_ms;
	}
	if (one->has_first_ms && (!into->has_first_ms || one->first_ms < into->first_ms)) {
		into->has_first_ms = 1;
		into->first_ms = one->first_ms;
	}
	into->has_workers = 1;
	if (is_live)
		into->workers += one->workers;
}

/* False: there is no memory for all of it. */
static bool unite_registry(struct client_engine *e, const Pirn__Registry *registry, uint64_t bit)
{
	for (size_t i = 0; i < registry->n_entries; i++) {
		const Pirn__Entry *entry = registry->entries[i];
		struct client_service *s;

		if (!is_name(entry->manifest->service))
			continue;
		s = find_or_add(e, entry->manifest->service);
		if (!s)
			return false;
		unite(&s->entry, entry, bit != 0);
		s->known |= bit;
		if (entry->workers > 0)
			s->links |= bit;
	}
	return true;
}

static int by_name(const struct client_service *a, const struct client_service *b)
{
	return strcmp(a->name, b->name);
}

static void add_warning(Pirn__Registry *to, char *text)
{
	for (size_t i = 0; i < to->n_warnings; i++)
		if (strcmp(to->warnings[i], text) == 0)
			return;
	if (to->n_warnings < WARNINGS_MAX)
		to->warnings[to->n_warnings++] = text;
}

static void unite_states(const struct client_engine *e, Pirn__Registry *to)
{
	to->has_events = 1;
	to->events = e->taking != 0;
	for (unsigned i = 0; i < CLIENT_MAX_LINKS; i++) {
		const Pirn__Registry *one = e->by_bit[i] ? e->by_bit[i]->registry : NULL;
		for (size_t j = 0; one && j < one->n_warnings; j++)
			add_warning(to, one->warnings[j]);
	}
}

/* False: memory, and nobody was told. */
static bool tell(struct client_engine *e)
{
	Pirn__Registry registry = PIRN__REGISTRY__INIT;
	struct client_service *s, *next;
	char *warnings[WARNINGS_MAX];
	Pirn__Entry **list;

	if (!e->events.on_registry)
		return true;
	list = calloc(HASH_COUNT(e->services) + 1, sizeof(Pirn__Entry *));
	if (!list)
		return false;
	HASH_SORT(e->services, by_name);
	HASH_ITER (hh, e->services, s, next)
		list[registry.n_entries++] = &s->entry;
	registry.entries = list;
	registry.warnings = warnings;
	unite_states(e, &registry);
	e->events.on_registry(e->events.arg, &registry);
	free(list);
	return true;
}

/* Half a table would call services unknown: nobody is told of it, and a broker has to tell us again. */
static void start_anew(struct client_engine *e)
{
	for (unsigned i = 0; i < CLIENT_MAX_LINKS; i++)
		if (e->by_bit[i] && e->by_bit[i]->registry) {
			net_link_break(e->by_bit[i]->net, "there is no memory for what it serves");
			return;
		}
}

static void rebuild(struct client_engine *e)
{
	bool live = false, whole = true;

	drop_services(e);
	e->taking = 0;
	for (unsigned i = 0; i < CLIENT_MAX_LINKS; i++)
		if (e->by_bit[i] && e->by_bit[i]->registry) {
			whole &= unite_registry(e, e->by_bit[i]->registry, e->by_bit[i]->bit);
			e->taking |= e->by_bit[i]->registry->events ? e->by_bit[i]->bit : 0;
			live = true;
		}
	if (!live && e->remembered)
		whole &= unite_registry(e, e->remembered, 0);
	if (live && e->remembered) {
		base_arena_fini(&e->remembered_arena);
		e->remembered = NULL;
	}
	if (!whole || !tell(e))
		start_anew(e);
}

/* UNTRUSTED: what cannot be read changes nothing. */
void client_table_message(
	struct client_engine *e, struct client_link *link, const struct net_frame *f)
{
	struct base_arena arena;
	ProtobufCAllocator allocator;
	Pirn__Registry *registry;

	base_arena_init(&arena, 16 * 1024, REGISTRY_MAX);
	allocator = net_arena_allocator(&arena);
	registry = pirn__registry__unpack(&allocator, f->body_size, f->body);
	if (!registry && arena.starved)
		net_link_break(link->net, "there is no memory for what it serves");
	if (!registry) {
		base_log(BASE_WARN, "registry_malformed",
			LOG_STR("broker", net_link_name(link->net)));
		base_arena_fini(&arena);
		return;
	}
	if (link->registry)
		base_arena_fini(&link->arena);
	link->arena = arena;
	link->registry = registry;
	rebuild(e);
}

void client_table_link_down(struct client_engine *e, struct client_link *link)
{
	if (!link->registry)
		return;
	if (e->remembered)
		base_arena_fini(&e->remembered_arena);
	e->remembered_arena = link->arena;
	e->remembered = link->registry;
	link->registry = NULL;
	rebuild(e);
}

uint64_t client_table_links(const struct client_engine *e, const char *service)
{
	struct client_service *s;

	HASH_FIND(hh, e->services, service, strlen(service), s);
	return s ? s->links : 0;
}

/* Those that know the service and take events; else those that may soon do both. */
uint64_t client_table_takers(const struct client_engine *e, const char *service)
{
	struct client_service *s;
	uint64_t both;

	HASH_FIND(hh, e->services, service, strlen(service), s);
	if (!s)
		return e->taking;
	both = s->known & e->taking;
	return both ? both : s->known;
}

void client_table_free(struct client_engine *e)
{
	drop_services(e);
	base_arena_fini(&e->remembered_arena);
}
