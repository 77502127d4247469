#include "broker/core/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/parts.h"

#define FIRST_ACTIONS   (2 * BRK_MAX_ITEMS)
#define POOL_KEPT_BYTES (32u * 1024 * 1024)
#define ARENA_FIRST     (64u * 1024)
#define ARENA_MAX       (64u * 1024 * 1024)
#define SAID_FIRST      (16u * BRK_MAX_ITEMS)
#define SAID_MAX        (1024u * 1024)
#define PAGES_FIRST     (256u * 1024)
#define PAGES_MAX       (64u * 1024 * 1024)
#define STARVED_MS      20 /* until memory is asked for again */
#define OVERSLEPT_MS    500 /* a tick that comes so much too late */

/* ---- actions -------------------------------------------------------------- */

static bool grow_actions(struct brk_core *core, size_t capacity)
{
	struct brk_action *list = realloc(core->out.list, capacity * sizeof *list);

	if (!list)
		return false;
	core->out.list = list;
	core->out.capacity = capacity;
	return true;
}

bool brk_act_has_room(struct brk_core *core)
{
	if (core->out.n >= BRK_VOLUNTARY_ACTIONS)
		return false;
	return core->out.n + 2 <= core->out.capacity || grow_actions(core, core->out.capacity * 2);
}

/* An answer that is owed and has no room: as bad as a crash, and peers know how to live with
 * that. */
struct brk_action *brk_act(struct brk_core *core, enum brk_action_kind kind, uint32_t peer)
{
	struct brk_action *a;

	if (core->out.n == core->out.capacity && !grow_actions(core, core->out.capacity * 2))
		base_no_memory("an answer that is owed");
	a = &core->out.list[core->out.n++];
	a->kind = kind;
	a->peer = peer;
	return a;
}

struct brk_action *brk_act_item(struct brk_core *core, uint32_t peer, uint32_t message)
{
	struct brk_action *a = brk_act(core, BRK_SEND_ITEM, peer);

	a->message = message;
	a->item = core->blank_item;
	a->payload = (struct brk_payload){ 0 };
	return a;
}

void brk_act_control(
	struct brk_core *core, uint32_t peer, uint32_t message, const ProtobufCMessage *body)
{
	struct brk_action *a = brk_act(core, BRK_SEND_CONTROL, peer);

	a->message = message;
	a->control = body;
}

void brk_act_log(struct brk_core *core, enum brk_log_id id, const char *text, uint64_t number)
{
	struct brk_action *a = brk_act(core, BRK_LOG, 0);

	a->log_id = brk_log_name(id);
	a->log_text = text;
	a->log_number = number;
}

static const struct {
	const char *name;
	enum base_log_level level;
} log_ids[] = {
#define X(id, level, meaning) [BRK_LOG_##id] = { #id, BASE_##level },
	BRK_LOG_IDS(X)
#undef X
};

const char *brk_log_name(enum brk_log_id id)
{
	return log_ids[id].name;
}

enum base_log_level brk_log_level(const char *id)
{
	for (size_t i = 0; i < BRK_LOG__N; i++)
		if (strcmp(log_ids[i].name, id) == 0)
			return log_ids[i].level;
	return BASE_INFO;
}

/* ---- life ----------------------------------------------------------------- */

/* A settled entry may be there beside the one that replaces it: room for as many again. */
static void init_events(struct brk_core *core, const struct brk_conf *conf)
{
	uint32_t max = conf->max_events ? conf->max_events : 1;
	uint32_t most = max < UINT32_MAX / BRK_MOST_SHARE / 2 ? BRK_MOST_SHARE * max : max;

	base_slab_init(&core->deliveries, sizeof(struct brk_delivery), most);
	/* Each may be the last one of its entry. */
	base_slab_init(&core->entries, sizeof(struct brk_entry), most + 1024 * BRK_COMMITS);
	base_slab_init(&core->asked, sizeof(struct brk_asked), BRK_MAX_ASKED);
	base_heap_init(&core->timers);
	base_heap_init(&core->watch.due);
	base_rand_init(&core->rand, conf->seed);
	base_buf_init(&core->scratch);
	base_arena_init(&core->said, SAID_FIRST, SAID_MAX);
	base_arena_init(&core->pages, PAGES_FIRST, PAGES_MAX);
	core->owner.open_at = UINT64_MAX;
}

static void init_parts(struct brk_core *core, const struct brk_conf *conf)
{
	core->conf = *conf;
	snprintf(core->name, sizeof core->name, "%s", conf->name ? conf->name : "broker");
	core->conf.name = core->name;
	pirn__item__init(&core->blank_item);
	pirn__credit__init(&core->blank_credit);
	pirn__registry__init(&core->registry);
	/* As many runs of events as calls. */
	base_slab_init(&core->slab, sizeof(struct brk_call),
		conf->events ? 2 * conf->max_calls : conf->max_calls);
	base_pool_init(&core->pool, POOL_KEPT_BYTES);
	base_heap_init(&core->deadlines);
	base_heap_init(&core->notices);
	base_heap_init(&core->guards);
	base_heap_init(&core->overloads);
	base_heap_init(&core->ejected);
	base_heap_init(&core->droughts);
	base_heap_init(&core->hopes);
	base_arena_init(&core->arena, ARENA_FIRST, ARENA_MAX);
	for (size_t i = 0; i < 2; i++)
		base_buf_init(&core->answers[i]);
	init_events(core, conf);
}

enum base_err brk_core_new(const struct brk_conf *conf, struct brk_core **out)
{
	struct brk_core *core = calloc(1, sizeof *core);

	if (!core)
		return BASE_NOMEM;
	init_parts(core, conf);
	core->strangers = calloc(BRK_STRANGERS, sizeof *core->strangers);
	if (!core->strangers || !grow_actions(core, FIRST_ACTIONS) ||
		brk_call_index_init(&core->index, conf->seed) ||
		brk_delivery_index_init(&core->by_id, conf->seed) || brk_ledger_init(core) ||
		brk_fan_init(core)) {
		brk_core_free(&core);
		return BASE_NOMEM;
	}
	*out = core;
	return BASE_OK;
}

static void dig(struct brk_core *core)
{
	struct brk_peer *peer, *next_peer;
	struct brk_service *service, *next_service;

	LL_FOREACH_SAFE2(core->buried_peers, peer, next_peer, buried_next)
	brk_peer_free(peer);
	core->buried_peers = NULL;
	LL_FOREACH_SAFE2(core->buried_services, service, next_service, touched_next)
	brk_service_free(service);
	core->buried_services = NULL;
}

static void drop_everybody(struct brk_core *core)
{
	struct brk_peer *peer, *next;
	struct brk_service *service, *next_service;

	HASH_ITER (hh, core->peers, peer, next)
		if (peer->role == PIRN__ROLE__CLIENT)
			brk_roster_leave(core, peer);
	HASH_ITER (hh, core->peers, peer, next)
		brk_roster_leave(core, peer);
	HASH_ITER (hh, core->services, service, next_service) {
		service->touched = false;
		brk_service_bury(core, service);
	}
}

void brk_core_free(struct brk_core **corep)
{
	struct brk_core *core = *corep;

	*corep = NULL;
	if (!core)
		return;
	if (core->out.list && core->index.buckets && core->by_id.buckets) {
		brk_ledger_forget(core, PIRN__REASON__NONE);
		drop_everybody(core);
	}
	dig(core);
	base_slab_fini(&core->slab);
	brk_ledger_fini(core);
	brk_fan_fini(core);
	brk_owner_fini(core);
	brk_watch_fini(core);
	brk_tail_fini(core);
	brk_keyed_fini(core);
	brk_answer_fini(core);
	brk_delivery_index_fini(&core->by_id);
	base_buf_fini(&core->scratch);
	base_arena_fini(&core->said);
	base_arena_fini(&core->pages);
	base_slab_fini(&core->deliveries);
	base_slab_fini(&core->entries);
	base_slab_fini(&core->asked);
	base_heap_fini(&core->timers);
	base_pool_fini(&core->pool);
	base_heap_fini(&core->deadlines);
	base_heap_fini(&core->notices);
	base_heap_fini(&core->guards);
	base_heap_fini(&core->overloads);
	base_heap_fini(&core->ejected);
	base_heap_fini(&core->droughts);
	base_heap_fini(&core->hopes);
	base_arena_fini(&core->arena);
	for (size_t i = 0; i < 2; i++)
		base_buf_fini(&core->answers[i]);
	brk_call_index_fini(&core->index);
	free(core->registry.entries);
	free(core->strangers);
	free(core->out.list);
	free(core);
}

/* ---- an input ------------------------------------------------------------- */

/* A tick was due, and did not come, nor anything else. */
static bool overslept(const struct brk_core *core, uint64_t now_ms)
{
	return now_ms > core->now_ms + OVERSLEPT_MS &&
	       now_ms > brk_core_due(core) + OVERSLEPT_MS;
}

static void begin(struct brk_core *core, uint64_t now_ms)
{
	bool woke = overslept(core, now_ms);

	dig(core);
	core->input++;
	core->out.n = 0;
	core->answered[0] = core->answered[1] = false;
	base_arena_reset(&core->said);
	brk_answer_begin(core);
	if (now_ms > core->now_ms)
		core->now_ms = now_ms;
	core->now_us = core->fine_us ? core->fine_us : core->now_ms * 1000;
	if (woke)
		core->woke_us = core->now_us;
}

/* Runs have ended, and Redis knows: now the others may have the journals. */
static void leave_when_drained(struct brk_core *core)
{
	if (core->draining && core->slab.n_used == 0 && brk_ledger_is_empty(core))
		brk_owner_leave(core);
}

static const struct brk_actions *finish(struct brk_core *core)
{
	struct brk_service *service;

	leave_when_drained(core);
	LL_FOREACH2(core->touched, service, touched_next)
	{
		brk_breaker_look(core, service);
		brk_dispatch_wake(core, service);
	}
	brk_dispatch_run(core);
	while ((service = core->touched)) {
		core->touched = service->touched_next;
		service->touched = false;
		brk_credit_notice(core, service);
	}
	return &core->out;
}

void brk_core_clock(struct brk_core *core, uint64_t now_us)
{
	core->fine_us = now_us;
}

void brk_core_extra(struct brk_core *core, Pirn__Metric *const *metrics, size_t n)
{
	core->extra = metrics;
	core->n_extra = n;
}

uint64_t brk_unix_ms(const struct brk_core *core)
{
	return core->unix_ms + (core->now_ms - core->unix_at_ms);
}

void brk_core_break(struct brk_core *core, enum brk_fault fault)
{
	core->broken = true;
	core->faults[fault / 64] |= UINT64_C(1) << fault % 64;
}

/* ---- messages ------------------------------------------------------------- */

#define CLIENT (1u << PIRN__ROLE__CLIENT)
#define WORKER (1u << PIRN__ROLE__WORKER)

/* One row and one function for each kind that a peer may send. */
static const struct handler {
	uint32_t kind;
	unsigned roles;
	bool has_payloads; /* head.items, with the body as their payloads */
	void (*handle)(struct brk_core *, struct brk_peer *, const struct brk_message *);
} handlers[] = {
	{ PIRN__KIND__SUBMIT, CLIENT, true, brk_submit },
	{ PIRN__KIND__RESULT, WORKER, true, brk_settle_result },
	{ PIRN__KIND__CREDIT, WORKER, false, brk_credit_message },
	{ PIRN__KIND__BEAT, CLIENT | WORKER, false, brk_roster_beat },
	{ PIRN__KIND__HELLO, CLIENT | WORKER, false, brk_roster_hello },
	{ PIRN__KIND__CANCEL, CLIENT, true, brk_submit_cancel },
	{ PIRN__KIND__QUERY, CLIENT, true, brk_query },
	{ PIRN__KIND__DRAIN, CLIENT | WORKER, false, brk_roster_drain },
	{ PIRN__KIND__BYE, CLIENT | WORKER, false, brk_roster_bye },
};

static const struct handler *find_handler(uint32_t kind)
{
	for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++)
		if (handlers[i].kind == kind)
			return &handlers[i];
	return NULL;
}

/* UNTRUSTED: whatever the shell checked, no payload leaves the body. */
static bool sizes_add_up(const struct brk_message *m)
{
	uint64_t sum = 0;

	if (m->head->n_items > BRK_MAX_ITEMS)
		return false;
	for (size_t i = 0; i < m->head->n_items; i++)
		sum += (uint64_t)m->head->items[i]->meta_size + m->head->items[i]->data_size;
	return sum == m->body_size;
}

static void take_message(struct brk_core *core, const struct brk_message *m)
{
	const struct handler *handler = find_handler(m->head->kind);
	struct brk_peer *peer = brk_roster_find(core, m->peer);

	if (!handler) {
		core->figures.malformed++;
		return;
	}
	if (peer)
		peer->heard_ms = core->now_ms;
	if (handler->kind == PIRN__KIND__HELLO) {
		handler->handle(core, peer, m);
		return;
	}
	if (!peer) {
		if (handler->kind != PIRN__KIND__BYE)
			brk_roster_stranger(core, m->peer);
		return;
	}
	if (!(handler->roles & 1u << peer->role) || (handler->has_payloads && !sizes_add_up(m))) {
		core->figures.malformed++;
		return;
	}
	handler->handle(core, peer, m);
}

const struct brk_actions *brk_core_message(
	struct brk_core *core, uint64_t now_ms, const struct brk_message *m)
{
	begin(core, now_ms);
	take_message(core, m);
	return finish(core);
}

/* ---- other inputs --------------------------------------------------------- */

const struct brk_actions *brk_core_gone(struct brk_core *core, uint64_t now_ms, uint32_t id)
{
	struct brk_peer *peer;

	begin(core, now_ms);
	peer = brk_roster_find(core, id);
	if (peer) {
		brk_act_log(core, BRK_LOG_peer_gone, peer->name, peer->n_calls + peer->n_running);
		brk_roster_leave(core, peer);
	}
	return finish(core);
}

static void beat(struct brk_core *core)
{
	if (core->beat_at == 0)
		core->beat_at = core->now_ms;
	if (core->now_ms < core->beat_at)
		return;
	brk_roster_tick(core);
	brk_registry_forget(core);
	brk_rewrite_look(core);
	core->beat_at = core->now_ms + core->conf.beat_ms;
}

const struct brk_actions *brk_core_tick(struct brk_core *core, uint64_t now_ms, uint64_t unix_ms)
{
	begin(core, now_ms);
	core->unix_ms = unix_ms;
	core->unix_at_ms = core->now_ms;
	brk_settle_expire(core);
	brk_breaker_tick(core);
	brk_eject_tick(core);
	brk_drought_tick(core);
	brk_overload_tick(core);
	brk_hope_tick(core);
	brk_delivery_tick(core);
	brk_watch_tick(core);
	brk_ledger_tick(core);
	brk_owner_tick(core);
	beat(core);
	brk_registry_tick(core);
	brk_credit_tick(core);
	return finish(core);
}

const struct brk_actions *brk_core_entry(
	struct brk_core *core, uint64_t now_ms, const Pirn__Entry *entry)
{
	begin(core, now_ms);
	brk_registry_entry(core, entry);
	return finish(core);
}

const struct brk_actions *brk_core_store(struct brk_core *core, uint64_t now_ms, bool up)
{
	begin(core, now_ms);
	brk_owner_store(core, up);
	return finish(core);
}

const struct brk_actions *brk_core_told(
	struct brk_core *core, uint64_t now_ms, const struct brk_told *told)
{
	begin(core, now_ms);
	brk_asks_told(core, told);
	return finish(core);
}

const struct brk_actions *brk_core_durable(struct brk_core *core, uint64_t now_ms, bool durable,
	const char *const *sentences, size_t n)
{
	begin(core, now_ms);
	core->owner.durable = durable;
	core->owner.sentences = sentences;
	core->owner.n_sentences = n;
	brk_registry_changed(core);
	return finish(core);
}

const struct brk_actions *brk_core_turn(struct brk_core *core, uint64_t now_ms)
{
	begin(core, now_ms);
	brk_ledger_turn(core);
	return finish(core);
}

bool brk_core_pending(const struct brk_core *core)
{
	return brk_ledger_pending(core);
}

const struct brk_actions *brk_core_drain(struct brk_core *core, uint64_t now_ms)
{
	struct brk_peer *peer, *next;

	begin(core, now_ms);
	if (!core->draining)
		brk_act_log(core, BRK_LOG_drain_started, core->name, core->slab.n_used);
	core->draining = true;
	brk_watch_drain(core);
	HASH_ITER (hh, core->peers, peer, next)
		brk_roster_ask_drain(core, peer);
	return finish(core);
}

bool brk_core_drained(const struct brk_core *core)
{
	return core->draining && core->slab.n_used == 0 && core->n_asked == 0 &&
	       brk_owner_is_gone(core);
}

const struct brk_actions *brk_core_end(struct brk_core *core, uint64_t now_ms)
{
	struct brk_peer *peer, *next;
	struct brk_call *call, *next_call;

	begin(core, now_ms);
	core->draining = true;
	brk_ledger_forget(core, PIRN__REASON__MOVED);
	HASH_ITER (hh, core->peers, peer, next)
		DL_FOREACH_SAFE2(peer->calls, call, next_call, client_next)
	brk_settle_end(core, call);
	HASH_ITER (hh, core->peers, peer, next) {
		brk_act_control(core, peer->id, PIRN__KIND__BYE, NULL);
		brk_roster_leave(core, peer);
	}
	return finish(core);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t brk_core_due(const struct brk_core *core)
{
	const struct base_heap_node *call = base_heap_first(&core->deadlines);
	const struct base_heap_node *notice = base_heap_first(&core->notices);
	uint64_t due = earlier(core->beat_at, brk_registry_due(core));

	if (core->turns && !core->starved)
		return core->now_ms;
	if (core->turns)
		due = earlier(due, core->now_ms + STARVED_MS);
	due = earlier(due, brk_owner_due(core));
	due = earlier(due, brk_ledger_due(core));
	due = earlier(due, brk_watch_due(core));
	due = earlier(due, brk_delivery_due(core));
	due = earlier(due, brk_breaker_due(core));
	due = earlier(due, brk_eject_due(core));
	due = earlier(due, brk_drought_due(core));
	due = earlier(due, brk_overload_due(core));
	due = earlier(due, brk_hope_due(core));
	if (call)
		due = earlier(due, call->due);
	if (notice)
		due = earlier(due, notice->due);
	return due;
}

void brk_core_figures(const struct brk_core *core, struct brk_figures *out)
{
	*out = core->figures;
	out->peers = HASH_COUNT(core->peers);
	out->clients = core->n_clients;
	out->workers = core->n_workers;
	out->services = HASH_COUNT(core->services);
	out->waiting = core->n_waiting;
	out->running = core->n_running;
	out->sending = core->n_sending;
	out->waiting_bytes = core->kept_bytes;
	out->events_ready = core->n_events[BRK_DELIVERY_READY];
	out->events_running = core->n_events[BRK_DELIVERY_RUNNING];
	out->events_waiting = core->n_events[BRK_DELIVERY_WAITING];
	out->events_ending =
		core->n_events[BRK_DELIVERY_ENDING] + core->n_events[BRK_DELIVERY_MOVING];
	out->events_bytes = core->event_bytes;
	out->entries = core->entries.n_used;
}
