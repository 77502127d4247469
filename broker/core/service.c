#include "broker/core/service.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/callback.h"
#include "broker/core/parts.h"

/* ---- services ------------------------------------------------------------- */

struct brk_service *brk_service_find(const struct brk_core *core, const char *name)
{
	struct brk_service *service = NULL;

	if (name)
		HASH_FIND_STR(core->services, name, service);
	return service;
}

size_t brk_service_count(const struct brk_core *core)
{
	return HASH_COUNT(core->services) - (brk_service_find(core, BRK_CALLBACK_SERVICE) != NULL);
}

bool brk_service_has_place(const struct brk_core *core, const char *name)
{
	return brk_callback_is(name) || brk_service_count(core) < core->conf.max_services;
}

struct brk_service *brk_service_new(struct brk_core *core, const char *name)
{
	struct brk_service *service;

	assert(strlen(name) < sizeof service->name);
	if (!brk_service_has_place(core, name))
		return NULL;
	if (base_heap_reserve(&core->notices, HASH_COUNT(core->services) + 1) ||
		base_heap_reserve(&core->guards, HASH_COUNT(core->services) + 1) ||
		base_heap_reserve(&core->overloads, HASH_COUNT(core->services) + 1) ||
		base_heap_reserve(&core->hopes, HASH_COUNT(core->services) + 1))
		return NULL;
	service = calloc(1, sizeof *service);
	if (!service)
		return NULL;
	snprintf(service->name, sizeof service->name, "%s", name);
	pirn__entry__init(&service->entry);
	HASH_ADD_STR(core->services, name, service);
	if (!service->hh.tbl) {
		free(service);
		return NULL;
	}
	service->budget = (struct base_budget){ BRK_AGAIN_FIRST * BASE_BUDGET_ONE,
		BRK_AGAIN_SAVED * BASE_BUDGET_ONE, BRK_AGAIN_SHARE };
	brk_breaker_init(core, service);
	brk_hope_begin(core, service);
	return service;
}

void brk_service_bury(struct brk_core *core, struct brk_service *service)
{
	assert(!service->links && service->queue.n == 0 && service->n_running == 0 &&
		!service->touched && !brk_service_has_events(service));
	brk_dispatch_forget(core, service);
	base_heap_remove(&core->notices, &service->notice);
	brk_breaker_forget(core, service);
	brk_overload_forget(core, service);
	brk_hope_forget(core, service);
	brk_subscribe_clear(&core->subscribe, &service->subscriber);
	HASH_DEL(core->services, service);
	LL_PREPEND2(core->buried_services, service, touched_next);
}

void brk_service_free(struct brk_service *service)
{
	if (service->entry.manifest)
		pirn__manifest__free_unpacked(service->entry.manifest, NULL);
	free(service->packed);
	free(service->ready);
	free(service);
}

void brk_service_touch(struct brk_core *core, struct brk_service *service)
{
	if (service->touched)
		return;
	service->touched = true;
	LL_PREPEND2(core->touched, service, touched_next);
}

uint64_t brk_service_not_after(const struct brk_service *service, uint64_t from_ms)
{
	return service->retry.age_ms ? from_ms + service->retry.age_ms : 0;
}

bool brk_service_has_events(const struct brk_service *service)
{
	for (int state = BRK_DELIVERY_ARRIVING; state < BRK_DELIVERY_GONE; state++)
		if (service->events[state].n > 0)
			return true;
	return false;
}

bool brk_service_has_credit(const struct brk_service *service)
{
	return service->n_ready > 0 && service->ready[0]->free > 0;
}

bool brk_service_is_full(const struct brk_service *service)
{
	return service->concurrency_total > 0 && service->n_running >= service->concurrency_total;
}

/* ---- the heap of workers by free credit ----------------------------------- */

static void put(struct brk_service *s, size_t place, struct brk_link *link)
{
	s->ready[place - 1] = link;
	link->place = place;
}

static void rise(struct brk_service *s, struct brk_link *link)
{
	size_t place = link->place;

	while (place > 1 && link->free > s->ready[place / 2 - 1]->free) {
		put(s, place, s->ready[place / 2 - 1]);
		place /= 2;
	}
	put(s, place, link);
}

static void sink(struct brk_service *s, struct brk_link *link)
{
	size_t place = link->place;

	for (;;) {
		size_t child = place * 2;

		if (child > s->n_ready)
			break;
		if (child < s->n_ready && s->ready[child]->free > s->ready[child - 1]->free)
			child++;
		if (s->ready[child - 1]->free <= link->free)
			break;
		put(s, place, s->ready[child - 1]);
		place = child;
	}
	put(s, place, link);
}

/* The room was made in brk_link_get: a link always finds a place. */
static void ready_add(struct brk_service *s, struct brk_link *link)
{
	assert(s->n_ready < s->ready_capacity);
	s->n_ready++;
	put(s, s->n_ready, link);
	rise(s, link);
}

static void ready_remove(struct brk_service *s, struct brk_link *link)
{
	struct brk_link *last = s->ready[s->n_ready - 1];
	size_t place = link->place;

	s->n_ready--;
	link->place = 0;
	if (s->row == link)
		s->row = NULL;
	if (last == link)
		return;
	put(s, place, last);
	rise(s, last);
	sink(s, last);
}

static bool ready_reserve(struct brk_service *s, size_t n)
{
	struct brk_link **ready;

	if (n <= s->ready_capacity)
		return true;
	ready = realloc(s->ready, 2 * n * sizeof *ready);
	if (!ready)
		return false;
	s->ready = ready;
	s->ready_capacity = 2 * n;
	return true;
}

/* ---- links ---------------------------------------------------------------- */

struct brk_link *brk_link_find(const struct brk_peer *peer, const char *service)
{
	struct brk_link *link = NULL;

	if (service)
		HASH_FIND_STR(peer->links_by_name, service, link);
	return link;
}

struct brk_link *brk_link_get(
	struct brk_core *core, struct brk_peer *peer, struct brk_service *service)
{
	struct brk_link *link = brk_link_find(peer, service->name), *other;
	size_t n = 0;

	(void)core;
	if (link)
		return link;
	DL_COUNT2(service->links, other, n, service_next);
	if (peer->n_links >= BRK_MAX_LINKS || !ready_reserve(service, n + 1))
		return NULL;
	link = calloc(1, sizeof *link);
	if (!link)
		return NULL;
	link->service = service;
	link->peer = peer;
	HASH_ADD_KEYPTR(hh, peer->links_by_name, service->name, strlen(service->name), link);
	if (!link->hh.tbl) {
		free(link);
		return NULL;
	}
	DL_APPEND2(peer->links, link, peer_prev, peer_next);
	DL_APPEND2(service->links, link, service_prev, service_next);
	peer->n_links++;
	return link;
}

void brk_link_remove(struct brk_core *core, struct brk_link *link)
{
	struct brk_peer *peer = link->peer;

	assert(!link->running);
	link->announced = false;
	brk_link_refresh(core, link);
	HASH_DEL(peer->links_by_name, link);
	DL_DELETE2(peer->links, link, peer_prev, peer_next);
	DL_DELETE2(link->service->links, link, service_prev, service_next);
	peer->n_links--;
	free(link);
}

void brk_link_refresh(struct brk_core *core, struct brk_link *link)
{
	struct brk_service *service = link->service;
	size_t before = service->n_ready;
	bool wanted;

	brk_eject_refresh(core, link);
	service->entry.has_workers = true;
	service->entry.workers = (uint32_t)service->n_ready + service->n_out;
	wanted = link->announced && !link->peer->draining && !brk_eject_is_out(link);
	if (wanted == (link->place > 0))
		return;
	if (!wanted)
		brk_drought_end(core, link);
	if (wanted)
		ready_add(service, link);
	else
		ready_remove(service, link);
	brk_eject_look(core, service);
	brk_drought_look(core, service);
	service->told_some = true;
	service->entry.workers = (uint32_t)service->n_ready + service->n_out;
	brk_overload_refresh(core, service);
	brk_service_touch(core, service);
	if (service->n_ready == 0)
		brk_hope_begin(core, service);
	else
		brk_hope_forget(core, service);
	if (before == 0 || service->n_ready == 0)
		brk_registry_changed(core);
}

void brk_link_recount(struct brk_link *link)
{
	uint64_t before = link->free;

	link->free = link->granted > link->used ? link->granted - link->used : 0;
	if (brk_drought_spares(link))
		link->free = 0;
	if (link->place == 0 || link->free == before)
		return;
	if (link->free > before)
		rise(link->service, link);
	else
		sink(link->service, link);
}

void brk_link_use(struct brk_core *core, struct brk_link *link)
{
	assert(link->free > 0 || BRK_FAULTY(core, OVER_CREDIT));
	link->used += BRK_FAULTY(core, USE_TWICE) ? 2 : 1;
	brk_link_recount(link);
}

void brk_link_grant(struct brk_core *core, struct brk_link *link, uint64_t granted)
{
	bool first = link->granted_peak == 0 && granted > 0;

	link->granted = granted;
	if (granted > link->granted_peak)
		link->granted_peak = granted;
	brk_link_recount(link);
	if (first)
		brk_overload_refresh(core, link->service);
	brk_service_touch(core, link->service);
}
