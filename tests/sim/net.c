/* Connections like TCP's: in order, each message at its own time, and when one
 * breaks, a prefix of what was on its way still arrives.
 */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/sim.h"

/* ---- messages --------------------------------------------------------------- */

struct sim_message *sim_message_new(uint32_t kind)
{
	struct sim_message *m = calloc(1, sizeof *m);

	m->kind = kind;
	return m;
}

void sim_message_free(struct sim_message *m)
{
	free(m->items);
	free(m->credits);
	free(m->body);
	free(m->hello);
	free(m);
}

static void fix_pointers(struct sim_item *item)
{
	item->pb.id.data = item->id;
	item->pb.trace.data = item->trace;
	item->pb.key.data = (uint8_t *)item->key;
	item->pb.hash.data = item->hash;
	item->pb.service = item->service[0] ? item->service : NULL;
}

struct sim_item *sim_message_item(
	struct sim_message *m, const uint8_t *payload, uint32_t meta_size, uint32_t data_size)
{
	size_t size = (size_t)meta_size + data_size;
	struct sim_item *item;

	if (m->n_items == m->item_room) {
		m->item_room = m->item_room ? m->item_room * 2 : 4;
		m->items = realloc(m->items, m->item_room * sizeof *m->items);
		for (size_t i = 0; i < m->n_items; i++)
			fix_pointers(&m->items[i]);
	}
	item = &m->items[m->n_items++];
	memset(item, 0, sizeof *item);
	pirn__item__init(&item->pb);
	fix_pointers(item);
	item->pb.has_meta_size = item->pb.has_data_size = true;
	item->pb.meta_size = meta_size;
	item->pb.data_size = data_size;
	if (size > 0 && payload) {
		m->body = realloc(m->body, m->body_size + size);
		memcpy(m->body + m->body_size, payload, size);
		m->body_size += size;
	}
	return item;
}

void sim_item_id(struct sim_item *item, const uint8_t *id, size_t size)
{
	item->pb.has_id = true;
	item->pb.id.len = size;
	memcpy(item->id, id, size);
}

void sim_item_service(struct sim_item *item, const char *service)
{
	strncpy(item->service, service, sizeof item->service - 1);
	item->pb.service = item->service;
}

struct sim_credit *sim_message_credit(struct sim_message *m, const char *service)
{
	struct sim_credit *credit;

	if (m->n_credits == m->credit_room) {
		m->credit_room = m->credit_room ? m->credit_room * 2 : 4;
		m->credits = realloc(m->credits, m->credit_room * sizeof *m->credits);
		for (size_t i = 0; i < m->n_credits; i++)
			m->credits[i].pb.service = m->credits[i].service;
	}
	credit = &m->credits[m->n_credits++];
	memset(credit, 0, sizeof *credit);
	pirn__credit__init(&credit->pb);
	strncpy(credit->service, service, sizeof credit->service - 1);
	credit->pb.service = credit->service;
	return credit;
}

/* ---- connections ------------------------------------------------------------ */

static void deliver(struct sim *sim, void *arg, uint64_t direction);

static uint64_t pause_of(const struct sim_conn *conn, enum sim_direction to)
{
	if (to == TO_BROKER)
		return conn->broker ? conn->broker->paused_until : 0;
	return conn->proc ? conn->proc->paused_until : 0;
}

/* One event a message; each event takes the first of its queue, so the order holds whatever the
 * times are. */
static void deliver(struct sim *sim, void *arg, uint64_t direction)
{
	struct sim_conn *conn = arg;
	enum sim_direction to = direction == TO_BROKER ? TO_BROKER : TO_PEER;
	struct sim_message *m = conn->queues[to];
	uint64_t hold = pause_of(conn, to);

	if (!m)
		return;
	if (conn->clogged_until[to] > hold)
		hold = conn->clogged_until[to];
	if (hold > sim->now_ms) {
		sim_at(sim, hold, deliver, conn, direction);
		return;
	}
	DL_DELETE(conn->queues[to], m);
	if (to == TO_BROKER && conn->broker)
		sim_broker_message(sim, conn, m);
	else if (to == TO_PEER && conn->proc)
		sim_proc_message(sim, conn, m);
	sim_message_free(m);
}

struct sim_conn *sim_connect(struct sim *sim, struct sim_proc *proc, struct sim_broker *broker)
{
	struct sim_conn *conn = calloc(1, sizeof *conn);

	conn->proc = proc;
	conn->role = proc->role;
	memcpy(conn->carries, proc->carries, sizeof conn->carries);
	conn->broker = broker;
	conn->broker_index = broker->index;
	conn->peer = broker->next_peer++;
	conn->heard_ms = sim->now_ms;
	conn->next = sim->conns;
	sim->conns = conn;
	return conn;
}

static void enqueue(
	struct sim *sim, struct sim_conn *conn, enum sim_direction to, struct sim_message *m)
{
	uint64_t due = sim->now_ms + sim_below(sim, sim->latency_ms + 1);

	if (due < conn->last_due[to])
		due = conn->last_due[to];
	conn->last_due[to] = due;
	DL_APPEND(conn->queues[to], m);
	sim_at(sim, due, deliver, conn, to);
}

void sim_send(struct sim *sim, struct sim_conn *conn, enum sim_direction to, struct sim_message *m)
{
	if (conn->cut)
		sim_message_free(m);
	else
		enqueue(sim, conn, to, m);
}

static void lose_tail(struct sim *sim, struct sim_conn *conn, enum sim_direction to)
{
	struct sim_message *m, *next;
	uint64_t n = 0, keep;

	DL_COUNT(conn->queues[to], m, n);
	keep = sim_below(sim, n + 1);
	DL_FOREACH_SAFE (conn->queues[to], m, next) {
		if (keep > 0) {
			keep--;
			continue;
		}
		DL_DELETE(conn->queues[to], m);
		sim_message_free(m);
	}
}

void sim_cut(struct sim *sim, struct sim_conn *conn, bool told)
{
	if (conn->cut)
		return;
	sim_trace(sim, "cut peer %u of broker %u%s", conn->peer, conn->broker_index,
		told ? "" : ", silently");
	for (int to = TO_BROKER; to <= TO_PEER; to++) {
		lose_tail(sim, conn, to ? TO_PEER : TO_BROKER);
		if (told)
			enqueue(sim, conn, to ? TO_PEER : TO_BROKER, sim_message_new(0));
	}
	conn->cut = true;
}

void sim_clog(struct sim *sim, struct sim_conn *conn, uint64_t until_ms)
{
	unsigned which = 1 + (unsigned)sim_below(sim, 3);

	sim_trace(sim, "clog peer %u of broker %u", conn->peer, conn->broker_index);
	for (int to = TO_BROKER; to <= TO_PEER; to++)
		if (which & 1u << to)
			conn->clogged_until[to] = until_ms;
}
