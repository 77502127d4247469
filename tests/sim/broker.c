/* A broker: the real core, and a shell around it that does what pirn-broker's does
 * (batches per peer and kind, ticks when they are due), and checks on the way out
 * that the core keeps its word to each peer.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/mirror.h"

/* ---- on the way out ---------------------------------------------------------- */

static struct sim_conn *conn_of(struct sim *sim, const struct sim_broker *broker, uint32_t peer)
{
	for (struct sim_conn *c = sim->conns; c; c = c->next)
		if (c->broker == broker && c->peer == peer)
			return c;
	return NULL;
}

/* Never beyond credit, never after DRAIN was answered. */
static void check_dispatch(struct sim *sim, struct sim_conn *conn, const Pirn__Item *item)
{
	int service = sim_service(item->service);
	struct sim_shadow *shadow = &conn->shadow;

	SIM_CHECK(sim, shadow->joined, "DISPATCH to a peer that is not known");
	SIM_CHECK(sim, !shadow->drained, "DISPATCH to a worker whose DRAIN was answered");
	if (service < 0)
		return;
	shadow->credit[service].used++;
	SIM_CHECK(sim, shadow->credit[service].used <= shadow->credit[service].granted,
		"DISPATCH %llu of %s with %llu granted",
		(unsigned long long)shadow->credit[service].used, item->service,
		(unsigned long long)shadow->credit[service].granted);
}

static void check_item(struct sim *sim, struct sim_conn *conn, const struct brk_action *a)
{
	if (a->message == PIRN__KIND__DISPATCH) {
		check_dispatch(sim, conn, &a->item);
		sim_book_dispatched(sim, conn, a);
		sim_event_dispatched(sim, a);
	} else if (a->message == PIRN__KIND__REPLY || a->message == PIRN__KIND__REFUSED ||
		   a->message == PIRN__KIND__ACCEPTED) {
		sim_book_answered(sim, conn, a);
	}
}

static void add_item(struct sim_message *m, const struct brk_action *a)
{
	struct sim_item *item =
		sim_message_item(m, a->payload.bytes, a->payload.meta_size, a->payload.data_size);
	Pirn__Item *to = &item->pb;
	uint32_t meta_size = to->meta_size, data_size = to->data_size;

	*to = a->item;
	to->service = to->error = NULL;
	to->has_key = to->has_hash = false;
	to->has_meta_size = to->has_data_size = true;
	to->meta_size = meta_size;
	to->data_size = data_size;
	if (a->item.service)
		sim_item_service(item, a->item.service);
	if (a->item.has_id)
		memcpy(item->id, a->item.id.data, a->item.id.len);
	if (a->item.has_trace)
		memcpy(item->trace, a->item.trace.data, a->item.trace.len);
	to->id.data = item->id;
	to->trace.data = item->trace;
}

static void add_credit(struct sim_message *m, const Pirn__Credit *from)
{
	struct sim_credit *credit = sim_message_credit(m, from->service);
	char *service = credit->pb.service;

	credit->pb = *from;
	credit->pb.service = service;
}

static void add_registry(struct sim_message *m, const ProtobufCMessage *control)
{
	const Pirn__Registry *registry = (const void *)control;

	for (int i = 0; i < SIM_SERVICES; i++)
		m->workers[i] = UINT32_MAX;
	m->fans = true;
	for (size_t i = 0; i < registry->n_entries; i++) {
		int service = sim_service(registry->entries[i]->manifest->service);

		if (service < 0)
			continue;
		m->workers[service] = registry->entries[i]->workers;
		if (service < (int)SIM_FAN && registry->entries[i]->manifest->n_subscriptions == 0)
			m->fans = false; /* known by its name only */
	}
	for (unsigned i = 0; i < SIM_FAN; i++)
		m->fans = m->fans && m->workers[i] != UINT32_MAX;
}

static struct sim_message *control_of(
	struct sim *sim, struct sim_conn *conn, const struct brk_action *a)
{
	struct sim_message *m = sim_message_new(a->message);

	if (a->message == PIRN__KIND__REGISTRY)
		add_registry(m, a->control);
	if (a->message == PIRN__KIND__WELCOME)
		m->refused = ((const Pirn__Welcome *)(const void *)a->control)->refused != NULL;
	if (a->message == PIRN__KIND__BEAT && a->control) {
		m->now_ms = ((const Pirn__Beat *)(const void *)a->control)->now_ms;
		sim_timers_told_time(sim, m->now_ms);
	}
	if (a->message == PIRN__KIND__BYE)
		memset(&conn->shadow, 0, sizeof conn->shadow);
	if (a->message == PIRN__KIND__RESYNC) {
		SIM_CHECK(sim, conn->resync_ms == 0 || sim->now_ms - conn->resync_ms >= 1000,
			"RESYNC twice in a second");
		conn->resync_ms = sim->now_ms;
	}
	if (a->message == PIRN__KIND__DRAIN && conn->shadow.joined && !conn->shadow.drained)
		conn->shadow.asked = true;
	return m;
}

/* An open batch: what follows for the same peer with the same kind joins it. */
struct batch {
	struct sim_conn *conn;
	struct sim_message *m;
};

static void flush(struct sim *sim, struct batch *batch)
{
	if (batch->m)
		sim_send(sim, batch->conn, TO_PEER, batch->m);
	batch->m = NULL;
}

static struct sim_message *batch_for(
	struct sim *sim, struct batch *batch, struct sim_conn *conn, uint32_t kind)
{
	if (!batch->m || batch->conn != conn || batch->m->kind != kind || batch->m->n_items >= 64) {
		flush(sim, batch);
		*batch = (struct batch){ conn, sim_message_new(kind) };
	}
	return batch->m;
}

static void renumber(struct sim_broker *broker, struct sim_conn *conn)
{
	memset(&conn->shadow, 0, sizeof conn->shadow);
	conn->peer = broker->next_peer++;
	conn->resync_ms = 0;
}

static void act(
	struct sim *sim, struct sim_broker *broker, struct batch *batch, const struct brk_action *a)
{
	struct sim_conn *conn;

	conn = conn_of(sim, broker, a->peer);
	sim_mirror_action(sim, broker, conn, a);
	if (a->kind == BRK_KEEP_SERVICE)
		sim_registry_keep(sim, broker, a->entry);
	if (a->kind == BRK_KEEP_SERVICE || a->kind == BRK_DROP_SERVICE)
		return; /* what is dropped here comes back with the next reading, and goes again */
	if (a->kind == BRK_LOG) {
		sim_trace(sim, "broker %u: %s %s %llu", broker->index, a->log_id, a->log_text,
			(unsigned long long)a->log_number);
		return;
	}
	if (a->kind == BRK_ASK) {
		sim_link_ask(sim, broker, &a->ask);
		return;
	}
	if (!conn)
		return; /* gone or forgotten */
	switch (a->kind) {
	case BRK_SEND_ITEM:
		check_item(sim, conn, a);
		add_item(batch_for(sim, batch, conn, a->message), a);
		break;
	case BRK_SEND_CREDIT:
		add_credit(batch_for(sim, batch, conn, PIRN__KIND__CREDIT), &a->credit);
		break;
	case BRK_SEND_CONTROL:
		flush(sim, batch);
		sim_send(sim, conn, TO_PEER, control_of(sim, conn, a));
		break;
	default: /* BRK_FORGET: what still comes over that connection comes from a stranger */
		flush(sim, batch);
		renumber(broker, conn);
	}
}

static void tick_event(struct sim *sim, void *arg, uint64_t life);
static void turn_event(struct sim *sim, void *arg, uint64_t life);

/* What comes in the same millisecond may share the turn. */
static void schedule_turn(struct sim *sim, struct sim_broker *broker)
{
	if (broker->turning || !brk_core_pending(broker->core))
		return;
	broker->turning = true;
	sim_at(sim, sim->now_ms, turn_event, broker, broker->life);
}

static void carry_out(struct sim *sim, struct sim_broker *broker, const struct brk_actions *actions)
{
	struct batch batch = { 0 };
	uint64_t due;

	for (size_t i = 0; i < actions->n; i++)
		act(sim, broker, &batch, &actions->list[i]);
	flush(sim, &batch);
	if (actions->n > 0 || sim->steps % 4 == 0) /* it is slow */
		brk_core_check(broker->core);
	sim_mirror_after(sim, broker);
	schedule_turn(sim, broker);
	due = brk_core_due(broker->core);
	if (due < sim->now_ms)
		due = sim->now_ms;
	if (due >= broker->tick_at)
		return;
	broker->tick_at = due;
	sim_at(sim, due, tick_event, broker, broker->life);
}

static void before(struct sim *sim, struct sim_broker *broker, enum sim_input kind)
{
	sim_mirror_before(sim, broker, &(struct sim_cause){ .kind = kind });
}

static void turn_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_broker *broker = arg;

	if (!broker->core || broker->life != life)
		return;
	if (broker->paused_until > sim->now_ms) {
		sim_at(sim, broker->paused_until, turn_event, broker, life);
		return;
	}
	broker->turning = false;
	carry_out(sim, broker, brk_core_turn(broker->core, sim->now_ms));
}

/* ---- Redis --------------------------------------------------------------------- */

/* A Redis that is there keeps what it is given, but for a seed now and then. */
void sim_broker_store(struct sim *sim, struct sim_broker *broker, bool up)
{
	bool before = sim_chance(sim, 50);

	if (up && before)
		carry_out(sim, broker, brk_core_durable(broker->core, sim->now_ms, true, NULL, 0));
	carry_out(sim, broker, brk_core_store(broker->core, sim->now_ms, up));
	if (up && !before)
		carry_out(sim, broker, brk_core_durable(broker->core, sim->now_ms, true, NULL, 0));
}

void sim_broker_told(struct sim *sim, struct sim_broker *broker, const struct brk_told *told)
{
	sim_mirror_before(
		sim, broker, &(struct sim_cause){ .kind = SIM_IN_TOLD, .told = told });
	carry_out(sim, broker, brk_core_told(broker->core, sim->now_ms, told));
}

void sim_broker_entry(struct sim *sim, struct sim_broker *broker, const Pirn__Entry *entry)
{
	sim_mirror_before(sim, broker, &(struct sim_cause){ .kind = SIM_IN_ENTRY, .entry = entry });
	carry_out(sim, broker, brk_core_entry(broker->core, sim->now_ms, entry));
}

/* ---- ticks -------------------------------------------------------------------- */

static void finish_drain(struct sim *sim, struct sim_broker *broker)
{
	before(sim, broker, SIM_IN_END);
	carry_out(sim, broker, brk_core_end(broker->core, sim->now_ms));
	sim_trace(sim, "broker %u has drained", broker->index);
	for (struct sim_conn *c = sim->conns; c; c = c->next) {
		if (c->broker != broker || c->cut)
			continue;
		sim_send(sim, c, TO_PEER, sim_message_new(0));
		c->cut = true;
		c->broker = NULL;
	}
	sim_broker_kill(sim, broker);
}

static void tick_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_broker *broker = arg;

	if (!broker->core || broker->life != life || broker->tick_at > sim->now_ms)
		return;
	if (broker->paused_until > sim->now_ms) {
		broker->tick_at = broker->paused_until;
		sim_at(sim, broker->paused_until, tick_event, broker, life);
		return;
	}
	broker->tick_at = UINT64_MAX;
	sim_broker_tick(sim, broker);
}

void sim_broker_tick(struct sim *sim, struct sim_broker *broker)
{
	if (!broker->core || broker->paused_until > sim->now_ms)
		return;
	before(sim, broker, SIM_IN_TICK);
	carry_out(sim, broker, brk_core_tick(broker->core, sim->now_ms, SIM_UNIX_MS + sim->now_ms));
	if (broker->core && brk_core_drained(broker->core))
		finish_drain(sim, broker);
}

/* ---- on the way in ------------------------------------------------------------- */

static void note_hello(struct sim_conn *conn, const struct sim_hello *hello)
{
	if (hello->again)
		return;
	memset(&conn->shadow, 0, sizeof conn->shadow);
	conn->shadow.joined = true;
}

static void note_credits(struct sim_conn *conn, const struct sim_message *m)
{
	for (size_t i = 0; i < m->n_credits; i++) {
		int service = sim_service(m->credits[i].service);

		if (service < 0 || !conn->carries[service])
			continue;
		conn->shadow.credit[service].granted = m->credits[i].pb.granted;
		conn->shadow.credit[service].ever |= m->credits[i].pb.granted > 0;
	}
}

static void note_drain(struct sim_conn *conn)
{
	if (conn->shadow.asked)
		conn->shadow.asked = false;
	else
		conn->shadow.drained = true;
}

/* What the message entitles the peer to, noted before the core sees it. */
static void note(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn,
	const struct sim_message *m)
{
	if (m->kind == PIRN__KIND__HELLO && m->hello)
		note_hello(conn, m->hello);
	if (m->kind == PIRN__KIND__BYE)
		memset(&conn->shadow, 0, sizeof conn->shadow);
	if (!conn->shadow.joined || conn->role == SIM_LIAR)
		return;
	if (m->kind == PIRN__KIND__SUBMIT)
		sim_book_submitted(sim, broker, conn, m);
	if (m->kind == PIRN__KIND__CREDIT || m->kind == PIRN__KIND__RESULT)
		note_credits(conn, m);
	if (m->kind == PIRN__KIND__DRAIN)
		note_drain(conn);
	for (size_t i = 0; m->kind == PIRN__KIND__RESULT && i < m->n_items; i++)
		if (m->items[i].pb.reason == PIRN__REASON__DRAINING)
			conn->shadow.drained = true;
}

static void unpack_hello(
	const struct sim_hello *from, Pirn__Hello *hello, Pirn__Manifest **services)
{
	pirn__hello__init(hello);
	hello->version = from->version;
	hello->role = from->role;
	hello->boot = (ProtobufCBinaryData){ from->boot_size, (uint8_t *)(uintptr_t)from->boot };
	hello->has_registry = true;
	hello->registry = from->registry;
	hello->has_again = true;
	hello->again = from->again;
	for (size_t i = 0; i < from->n_services; i++)
		services[i] = (Pirn__Manifest *)(uintptr_t)&from->manifests[i];
	hello->services = services;
	hello->n_services = from->n_services;
}

static void hand_over(
	struct sim *sim, struct sim_broker *broker, struct sim_conn *conn, struct sim_message *m)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Hello hello;
	Pirn__Manifest *services[SIM_SERVICES + 1];
	struct brk_message message = {
		.peer = conn->peer, .head = &head, .body = m->body, .body_size = m->body_size
	};

	head.kind = m->kind;
	head.n_items = m->n_items;
	head.items = calloc(m->n_items + 1, sizeof *head.items);
	for (size_t i = 0; i < m->n_items; i++)
		head.items[i] = &m->items[i].pb;
	head.n_credits = m->n_credits;
	head.credits = calloc(m->n_credits + 1, sizeof *head.credits);
	for (size_t i = 0; i < m->n_credits; i++)
		head.credits[i] = &m->credits[i].pb;
	if (m->hello) {
		unpack_hello(m->hello, &hello, services);
		message.hello = &hello;
	}
	carry_out(sim, broker, brk_core_message(broker->core, sim->now_ms, &message));
	free(head.items);
	free(head.credits);
}

void sim_broker_message(struct sim *sim, struct sim_conn *conn, struct sim_message *m)
{
	struct sim_broker *broker = conn->broker;
	uint32_t peer = conn->peer;
	bool stranger;

	sim->trace_hash = (sim->trace_hash ^ m->kind ^ (uint64_t)peer << 8 ^ m->n_items << 24) *
			  1099511628211u;
	sim_trace(sim, "broker %u < peer %u: kind %u, %zu items, %zu credits", broker->index, peer,
		m->kind, m->n_items, m->n_credits);
	if (m->kind == 0) {
		memset(&conn->shadow, 0, sizeof conn->shadow);
		sim_mirror_before(
			sim, broker, &(struct sim_cause){ .kind = SIM_IN_GONE, .conn = conn });
		conn->broker = NULL;
		carry_out(sim, broker, brk_core_gone(broker->core, sim->now_ms, peer));
		return;
	}
	note(sim, broker, conn, m);
	sim_mirror_before(
		sim, broker, &(struct sim_cause){ .kind = SIM_IN_MESSAGE, .conn = conn, .m = m });
	stranger =
		!conn->shadow.joined && m->kind != PIRN__KIND__BYE && m->kind != PIRN__KIND__HELLO;
	hand_over(sim, broker, conn, m);
	SIM_CHECK(sim,
		!stranger || conn->role == SIM_LIAR ||
			(conn->resync_ms > 0 && sim->now_ms - conn->resync_ms < 1000),
		"no RESYNC to a stranger");
	if (broker->core && brk_core_drained(broker->core))
		finish_drain(sim, broker);
}

void sim_broker_forget(struct sim *sim, struct sim_conn *conn)
{
	struct sim_broker *broker = conn->broker;
	uint32_t peer = conn->peer;

	if (!broker || conn->cut || broker->paused_until > sim->now_ms)
		return;
	sim_trace(sim, "broker %u gives peer %u up", broker->index, peer);
	sim_mirror_before(sim, broker, &(struct sim_cause){ .kind = SIM_IN_GONE, .conn = conn });
	renumber(broker, conn);
	carry_out(sim, broker, brk_core_gone(broker->core, sim->now_ms, peer));
}

/* ---- life ------------------------------------------------------------------------ */

void sim_broker_start(struct sim *sim, struct sim_broker *broker)
{
	struct brk_conf conf = {
		.name = "sim",
		.events = true,
		.max_events = sim->max_events,
		.max_event_bytes = sim->max_event_bytes,
		.decide_ms = sim->decide_ms,
		.gather = sim->seed % 4 == 3,
		.settle_ms = sim->seed % 8 == 3 ? 2 : 0,
		.ends_ms = sim->seed % 8 == 3 ? 5 : 0,
		.bounds = sim->bounds,
		.max_calls = sim->max_calls,
		.max_bytes = sim->max_bytes,
		.max_item_bytes = 16384,
		.beat_ms = SIM_BEAT_MS,
		.missed_beats = 3,
		.max_peers = 64,
		.max_services = 16,
		.forget_ms = 60000,
		.hope_ms = sim->hope_ms,
		.seed = sim_below(sim, UINT64_MAX),
	};

	if (broker->core)
		return;
	broker->life++;
	conf.boot[0] = 'B';
	conf.boot[1] = (uint8_t)broker->index;
	memcpy(conf.boot + 8, &broker->life, sizeof broker->life);
	broker->paused_until = 0;
	broker->draining = false;
	broker->tick_at = UINT64_MAX;
	broker->turning = false;
	if (brk_core_new(&conf, &broker->core))
		abort();
	for (unsigned f = 0; f < BRK_FAULT__N; f++)
		if (sim->faults[f / 64] & UINT64_C(1) << f % 64)
			brk_core_break(broker->core, f);
	sim_trace(sim, "broker %u starts", broker->index);
	sim_mirror_start(sim, broker);
	sim_link_start(sim, broker);
	sim_registry_start(sim, broker);
	carry_out(sim, broker, brk_core_tick(broker->core, sim->now_ms, SIM_UNIX_MS + sim->now_ms));
}

static void restart(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_broker *broker = arg;

	if (broker->life == life)
		sim_broker_start(sim, broker);
}

void sim_broker_kill(struct sim *sim, struct sim_broker *broker)
{
	if (!broker->core)
		return;
	sim_trace(sim, "broker %u dies", broker->index);
	for (struct sim_conn *c = sim->conns; c; c = c->next) {
		if (c->broker != broker)
			continue;
		sim_cut(sim, c, true);
		c->broker = NULL;
	}
	sim_link_stop(sim, broker);
	brk_core_free(&broker->core);
	sim_mirror_stop(broker);
	sim_at(sim, sim->now_ms + sim_between(sim, 20, sim_chance(sim, 20) ? 12000 : 3000), restart,
		broker, broker->life);
}

void sim_broker_pause(struct sim *sim, struct sim_broker *broker, uint64_t ms)
{
	if (!broker->core || broker->paused_until > sim->now_ms + ms)
		return;
	sim_trace(sim, "broker %u stops for %llu ms", broker->index, (unsigned long long)ms);
	broker->paused_until = sim->now_ms + ms;
}

static void give_up_drain(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_broker *broker = arg;

	if (broker->core && broker->life == life)
		finish_drain(sim, broker);
}

void sim_broker_drain(struct sim *sim, struct sim_broker *broker)
{
	if (!broker->core || broker->draining)
		return;
	sim_trace(sim, "broker %u drains", broker->index);
	broker->draining = true;
	carry_out(sim, broker, brk_core_drain(broker->core, sim->now_ms));
	sim_at(sim, sim->now_ms + sim_between(sim, 100, 4000), give_up_drain, broker, broker->life);
}
