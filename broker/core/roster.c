#include "broker/core/roster.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/version.h"
#include "broker/core/callback.h"
#include "broker/core/parts.h"

/* ---- lookup --------------------------------------------------------------- */

struct brk_peer *brk_roster_find(const struct brk_core *core, uint32_t id)
{
	struct brk_peer *peer = NULL;

	HASH_FIND(hh, core->peers, &id, sizeof id, peer);
	return peer;
}

static struct brk_peer *find_boot(const struct brk_core *core, const uint8_t *boot)
{
	struct brk_peer *peer = NULL;

	HASH_FIND(boot_hh, core->peers_by_boot, boot, 16, peer);
	return peer;
}

/* ---- HELLO ---------------------------------------------------------------- */

static const char *complain(struct brk_core *core, const char *text)
{
	snprintf(core->why, sizeof core->why, "%s", text);
	return core->why;
}

static const char *judge_services(struct brk_core *core, const Pirn__Hello *hello)
{
	if (hello->role != PIRN__ROLE__WORKER && hello->n_services > 0)
		return complain(core, "only a worker has services");
	if (hello->n_services > BRK_MAX_LINKS)
		return complain(core, "too many services");
	for (size_t i = 0; i < hello->n_services; i++) {
		const char *why = brk_registry_judge(core, hello->services[i]);

		if (why)
			return why;
		for (size_t j = 0; j < i; j++)
			if (strcmp(hello->services[i]->service, hello->services[j]->service) == 0)
				return complain(core, "a service is announced twice");
	}
	return NULL;
}

/* UNTRUSTED. NULL, or what the peer is told. */
static const char *judge(struct brk_core *core, const Pirn__Hello *hello)
{
	if (hello->version != PIRN_PROTOCOL_VERSION)
		return complain(core, "this broker speaks protocol version 1");
	if (hello->role != PIRN__ROLE__CLIENT && hello->role != PIRN__ROLE__WORKER)
		return complain(core, "the role must be client or worker");
	if (hello->boot.len != 16)
		return complain(core, "a boot id has 16 bytes");
	return judge_services(core, hello);
}

static void set_name(struct brk_peer *peer, const char *name)
{
	size_t n = 0;

	for (; name && name[n] && n < sizeof peer->name - 1; n++)
		peer->name[n] = name[n] > ' ' && name[n] <= '~' ? name[n] : '?';
	peer->name[n] = 0;
	if (n == 0)
		snprintf(peer->name, sizeof peer->name, "peer-%u", peer->id);
}

static struct brk_peer *join(struct brk_core *core, uint32_t id, const Pirn__Hello *hello)
{
	struct brk_peer *peer;

	if (HASH_COUNT(core->peers) >= core->conf.max_peers)
		return NULL;
	peer = calloc(1, sizeof *peer);
	if (!peer)
		return NULL;
	peer->id = id;
	peer->role = hello->role;
	memcpy(peer->boot, hello->boot.data, sizeof peer->boot);
	HASH_ADD(hh, core->peers, id, sizeof peer->id, peer);
	if (!peer->hh.tbl)
		goto fail;
	HASH_ADD(boot_hh, core->peers_by_boot, boot, sizeof peer->boot, peer);
	if (!peer->boot_hh.tbl) {
		HASH_DELETE(hh, core->peers, peer);
		goto fail;
	}
	if (peer->role == PIRN__ROLE__WORKER)
		core->n_workers++;
	else
		core->n_clients++;
	return peer;
fail:
	free(peer);
	return NULL;
}

static void welcome(struct brk_core *core, uint32_t id, const char *refused)
{
	pirn__welcome__init(&core->welcome);
	core->welcome.version = PIRN_PROTOCOL_VERSION;
	core->welcome.boot = (ProtobufCBinaryData){ sizeof core->conf.boot, core->conf.boot };
	core->welcome.name = core->name;
	pirn__beat__init(&core->beat);
	core->beat.has_now_ms = true;
	core->welcome.has_beat_ms = core->welcome.has_max_item_bytes = true;
	core->welcome.has_revision = true;
	core->welcome.revision = PIRN_PROTOCOL_REVISION;
	core->welcome.beat_ms = core->conf.beat_ms;
	core->welcome.max_item_bytes = core->conf.max_item_bytes;
	core->welcome.refused =
		(char *)(uintptr_t)refused; /* protobuf-c knows no const; it only reads */
	brk_act_control(core, id, PIRN__KIND__WELCOME, &core->welcome.base);
}

static void refuse(struct brk_core *core, uint32_t id, struct brk_peer *peer, const char *why)
{
	welcome(core, id, why);
	brk_act_log(core, BRK_LOG_peer_refused, why, id);
	core->figures.peers_refused++;
	if (peer)
		brk_roster_leave(core, peer);
	brk_act(core, BRK_FORGET, id);
}

static bool has_room_for(const struct brk_core *core, const Pirn__Hello *hello)
{
	size_t fresh = 0;

	for (size_t i = 0; i < hello->n_services; i++)
		if (!brk_service_find(core, hello->services[i]->service) &&
			!brk_callback_is(hello->services[i]->service))
			fresh++;
	return brk_service_count(core) + fresh <= core->conf.max_services;
}

static enum base_err announce_one(
	struct brk_core *core, struct brk_peer *peer, const Pirn__Manifest *manifest)
{
	struct brk_service *service = brk_service_find(core, manifest->service);
	struct brk_link *link;

	if (!service)
		service = brk_service_new(core, manifest->service);
	if (!service)
		return BASE_NOMEM;
	link = brk_link_get(core, peer, service);
	if (link && !brk_registry_announce(core, link, manifest)) {
		link->announced = true;
		return BASE_OK;
	}
	if (!service->entry.manifest) {
		if (link)
			brk_link_remove(core, link);
		brk_service_bury(core, service);
	}
	return BASE_NOMEM;
}

/* What the HELLO says replaces what the one before said; credit and runs of a service that stays
 * are kept. */
static enum base_err announce(
	struct brk_core *core, struct brk_peer *peer, const Pirn__Hello *hello)
{
	struct brk_link *link;

	if (!has_room_for(core, hello))
		return BASE_FULL;
	DL_FOREACH2(peer->links, link, peer_next)
	link->announced = false;
	for (size_t i = 0; i < hello->n_services; i++) {
		enum base_err err = announce_one(core, peer, hello->services[i]);

		if (err)
			return err;
	}
	DL_FOREACH2(peer->links, link, peer_next)
	brk_link_refresh(core, link);
	return BASE_OK;
}

/* A session that goes on here must be known here: joined anew, its credit would count from
 * different moments on the two sides. */
static bool is_lost_session(
	const struct brk_core *core, const struct brk_peer *peer, const Pirn__Hello *hello)
{
	return hello->has_again && hello->again &&
	       (!peer || find_boot(core, hello->boot.data) != peer);
}

static bool is_new_session(const struct brk_peer *peer, const Pirn__Hello *hello)
{
	return peer->role != hello->role || !hello->again;
}

/* The number it comes from may have been another process's, and the process may have had another
 * number. */
static struct brk_peer *same_process(
	struct brk_core *core, struct brk_peer *peer, uint32_t id, const Pirn__Hello *hello)
{
	struct brk_peer *former = find_boot(core, hello->boot.data);

	if (former && former != peer) {
		brk_act_log(core, BRK_LOG_peer_replaced, former->name, former->id);
		brk_act(core, BRK_FORGET, former->id);
		former->orderly = true;
		brk_roster_leave(core, former);
	}
	if (peer && (former != peer || is_new_session(peer, hello))) {
		peer->orderly = former == peer;
		brk_roster_leave(core, peer);
		peer = NULL;
	}
	return peer ? peer : join(core, id, hello);
}

void brk_roster_hello(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m)
{
	const Pirn__Hello *hello = m->hello;
	const struct brk_peer *before = peer;
	const char *why;

	if (!hello) {
		core->figures.malformed++;
		return;
	}
	why = judge(core, hello);
	if (why) {
		refuse(core, m->peer, peer, why);
		return;
	}
	if (is_lost_session(core, peer, hello)) {
		brk_roster_stranger(core, m->peer);
		return;
	}
	peer = same_process(core, peer, m->peer, hello);
	if (!peer) {
		refuse(core, m->peer, NULL, "this broker has all the peers it can take");
		return;
	}
	peer->heard_ms = core->now_ms;
	peer->registry = hello->role == PIRN__ROLE__CLIENT && hello->registry;
	set_name(peer, hello->name);
	if (announce(core, peer, hello)) {
		refuse(core, m->peer, peer, "this broker has all the services it can take");
		return;
	}
	welcome(core, peer->id, NULL);
	if (peer != before)
		brk_act_log(core, BRK_LOG_peer_joined, peer->name, peer->id);
	if (peer->registry)
		brk_registry_push(core, peer);
	if (core->draining)
		brk_roster_ask_drain(core, peer);
}

/* ---- other messages ------------------------------------------------------- */

void brk_roster_beat(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m)
{
	size_t size;
	uint8_t *bytes;

	if (!m->beat || m->beat->n_metrics == 0 || peer->role != PIRN__ROLE__WORKER)
		return;
	size = pirn__beat__get_packed_size(m->beat);
	if (size > BRK_MAX_BEAT) {
		core->figures.malformed++;
		return;
	}
	if (size > peer->beat_size) {
		bytes = realloc(peer->beat, size);
		if (!bytes)
			return; /* the figures before these are as good */
		peer->beat = bytes;
	}
	peer->beat_size = pirn__beat__pack(m->beat, peer->beat);
}

void brk_roster_bye(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m)
{
	(void)m;
	brk_act_log(core, BRK_LOG_peer_gone, peer->name, peer->n_calls + peer->n_running);
	brk_act(core, BRK_FORGET, peer->id);
	peer->orderly = true;
	brk_roster_leave(core, peer);
}

/* An answer to ours, or the peer's own wish: then the answer is a promise that nothing follows
 * it. */
void brk_roster_drain(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m)
{
	struct brk_link *link;

	(void)m;
	if (peer->asked_drain && !peer->answered_drain) {
		peer->answered_drain = true;
		if (peer->role == PIRN__ROLE__CLIENT)
			core->n_asked--;
		return;
	}
	if (!peer->draining)
		brk_act_log(
			core, BRK_LOG_peer_draining, peer->name, peer->n_calls + peer->n_running);
	peer->draining = true;
	DL_FOREACH2(peer->links, link, peer_next)
	brk_link_refresh(core, link);
	brk_act_control(core, peer->id, PIRN__KIND__DRAIN, NULL);
}

void brk_roster_ask_drain(struct brk_core *core, struct brk_peer *peer)
{
	if (peer->asked_drain)
		return;
	peer->asked_drain = true;
	if (peer->role == PIRN__ROLE__CLIENT)
		core->n_asked++;
	brk_act_control(core, peer->id, PIRN__KIND__DRAIN, NULL);
}

/* Peers that share a place share its second: an unknown peer that is not answered now is
 * answered later. */
void brk_roster_stranger(struct brk_core *core, uint32_t id)
{
	struct brk_stranger *s = &core->strangers[id % BRK_STRANGERS];

	if (s->used && core->now_ms - s->resync_ms < BRK_RESYNC_MS)
		return;
	if (BRK_FAULTY(core, NO_RESYNC))
		return;
	*s = (struct brk_stranger){ .peer = id, .used = true, .resync_ms = core->now_ms };
	core->figures.resyncs++;
	brk_act_control(core, id, PIRN__KIND__RESYNC, NULL);
}

/* ---- leaving -------------------------------------------------------------- */

static void leave_client(struct brk_core *core, struct brk_peer *peer)
{
	struct brk_call *call, *next;

	core->n_clients--;
	if (peer->asked_drain && !peer->answered_drain)
		core->n_asked--;
	DL_FOREACH_SAFE2(peer->calls, call, next, client_next)
	{
		core->figures.cancelled++;
		brk_settle_dropped(core, call);
	}
}

/* From the newest to the oldest, each to the head of its queue: so the oldest is first again. */
static void lose_runs(struct brk_core *core, struct brk_link *link)
{
	while (link->running)
		brk_settle_lost(core, link->running->prev);
}

static void leave_worker(struct brk_core *core, struct brk_peer *peer)
{
	struct brk_link *link, *next;

	core->n_workers--;
	peer->draining = true;
	DL_FOREACH2(peer->links, link, peer_next)
	brk_link_refresh(core, link);
	DL_FOREACH_SAFE2(peer->links, link, next, peer_next)
	{
		lose_runs(core, link);
		brk_link_remove(core, link);
	}
}

void brk_roster_leave(struct brk_core *core, struct brk_peer *peer)
{
	if (peer->role == PIRN__ROLE__WORKER)
		leave_worker(core, peer);
	else
		leave_client(core, peer);
	brk_watch_leave(core, peer);
	HASH_DELETE(hh, core->peers, peer);
	HASH_DELETE(boot_hh, core->peers_by_boot, peer);
	LL_PREPEND2(core->buried_peers, peer, buried_next);
}

void brk_peer_free(struct brk_peer *peer)
{
	free(peer->beat);
	free(peer);
}

/* ---- beats ---------------------------------------------------------------- */

/* It may live and only have been cut off: BYE tells it that what it had here is over. */
static void fall_silent(struct brk_core *core, struct brk_peer *peer)
{
	brk_act_log(core, BRK_LOG_peer_silent, peer->name, core->now_ms - peer->heard_ms);
	brk_act_control(core, peer->id, PIRN__KIND__BYE, NULL);
	brk_act(core, BRK_FORGET, peer->id);
	brk_roster_leave(core, peer);
}

/* What timers go by. Redis told it a while ago and it came a while later, so it is never ahead. */
static const ProtobufCMessage *clock_of_redis(struct brk_core *core)
{
	if (!brk_owner_is_trusted(core))
		return NULL;
	core->beat.now_ms = brk_owner_redis_ms(core);
	return &core->beat.base;
}

/* When this tick is late by a beat or more, it is us who did not listen: everybody gets a fresh
 * start. */
void brk_roster_tick(struct brk_core *core)
{
	uint64_t patience = (uint64_t)core->conf.beat_ms * core->conf.missed_beats;
	bool late = core->now_ms - core->beat_at >= core->conf.beat_ms;
	const ProtobufCMessage *time = clock_of_redis(core);
	struct brk_peer *peer, *next;

	HASH_ITER (hh, core->peers, peer, next) {
		if (late)
			peer->heard_ms = core->now_ms;
		if (core->now_ms - peer->heard_ms >= patience)
			fall_silent(core, peer);
		else
			brk_act_control(core, peer->id, PIRN__KIND__BEAT,
				peer->role == PIRN__ROLE__CLIENT ? time : NULL);
	}
}
