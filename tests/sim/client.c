/* A client: sends calls at random, now and then takes one back or asks a question,
 * and accepts only the answers that it may get.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define MAX_PAYLOAD 8192

/* ---- sending ---------------------------------------------------------------------- */

static uint32_t random_size(struct sim *sim)
{
	if (sim_chance(sim, 10))
		return 0;
	return (uint32_t)(sim_chance(sim, 5) ? sim_below(sim, MAX_PAYLOAD) : sim_below(sim, 300));
}

static uint32_t random_left(struct sim *sim)
{
	static const uint32_t choices[] = { 1, 5, 20, 100, 500, 2000, 5000 };

	return choices[sim_below(sim, sizeof choices / sizeof choices[0])];
}

/* left_ms 0: as much as chance will have. */
static void add_call(struct sim *sim, struct sim_conn *conn, struct sim_message *m,
	unsigned service, uint32_t left_ms, bool must_succeed)
{
	uint32_t number = sim_book_call(sim, conn, service);
	struct sim_call *call = &sim->calls[number];
	uint8_t payload[MAX_PAYLOAD], id[16];
	struct sim_item *item;
	uint32_t meta;

	call->must_succeed = must_succeed;
	call->size = random_size(sim);
	call->left_ms = left_ms ? left_ms : random_left(sim);
	call->idempotent = sim_chance(sim, sim->lenient ? 90 : 50);
	call->sends = !must_succeed && sim->seed % 4 >= 2 && sim_mix(number, sim->seed, 16) % 4 == 0;
	meta = (uint32_t)sim_below(sim, call->size + 1);
	sim_book_payload(number, call->size, false, payload);
	item = sim_message_item(m, payload, meta, call->size - meta);
	sim_book_id(number, id);
	sim_item_id(item, id, sizeof id);
	sim_item_service(item, sim_services[service]);
	item->pb.has_slot = item->pb.has_generation = item->pb.has_left_ms = item->pb.has_flags =
		true;
	item->pb.slot = number;
	item->pb.generation = call->generation;
	item->pb.left_ms = call->left_ms;
	item->pb.flags = call->idempotent ? PIRN__ITEM_FLAG__IDEMPOTENT : 0;
	item->pb.has_trace = sim_chance(sim, 30);
	item->pb.trace.len = 25;
}

/* Where retries shall come to the end of their budget, most are of the service that is sick. */
static unsigned any_service(struct sim *sim)
{
	return sim->lenient && sim_chance(sim, 70) ? 0 : (unsigned)sim_below(sim, SIM_ADDRESSED);
}

void sim_client_submit(struct sim *sim, struct sim_conn *conn, unsigned n, bool must_succeed)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__SUBMIT);

	while (n-- > 0)
		add_call(sim, conn, m, any_service(sim), must_succeed ? 20000 : 0, must_succeed);
	sim_send(sim, conn, TO_BROKER, m);
}

void sim_client_burst(struct sim *sim, struct sim_conn *conn, unsigned service, unsigned n)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__SUBMIT);

	while (n-- > 0)
		add_call(sim, conn, m, service, (uint32_t)sim_between(sim, 500, 5000), false);
	sim_send(sim, conn, TO_BROKER, m);
}

static void cancel_one(struct sim *sim, struct sim_conn *conn)
{
	for (uint32_t i = sim->n_calls; i > 0 && i + 200 > sim->n_calls; i--) {
		struct sim_call *call = &sim->calls[i - 1];
		struct sim_message *m;
		struct sim_item *item;

		if (call->conn != conn || call->session != conn->session ||
			call->state != CALL_OPEN)
			continue;
		m = sim_message_new(PIRN__KIND__CANCEL);
		item = sim_message_item(m, NULL, 0, 0);
		item->pb.has_slot = item->pb.has_generation = true;
		item->pb.slot = i - 1;
		item->pb.generation = call->generation;
		call->state = CALL_CANCELLED;
		sim_send(sim, conn, TO_BROKER, m);
		return;
	}
}

static void ask(struct sim *sim, struct sim_conn *conn)
{
	Pirn__Query query = PIRN__QUERY__INIT;
	uint8_t bytes[32];
	struct sim_message *m = sim_message_new(PIRN__KIND__QUERY);

	query.has_what = true;
	query.what =
		sim_chance(sim, 50) ? PIRN__QUERY_KIND__BREAKERS : 1 + (uint32_t)sim_below(sim, 2);
	sim_message_item(m, bytes, 0, (uint32_t)pirn__query__pack(&query, bytes))->pb.slot =
		UINT32_MAX;
	sim_send(sim, conn, TO_BROKER, m);
}

static struct sim_conn *pick(struct sim *sim, struct sim_proc *proc)
{
	unsigned first = (unsigned)sim_below(sim, sim->n_brokers);

	for (unsigned i = 0; i < sim->n_brokers; i++) {
		struct sim_conn *conn = proc->conns[(first + i) % sim->n_brokers];

		if (conn && conn->phase == SIM_UP && !conn->draining)
			return conn;
	}
	return NULL;
}

static void work_event(struct sim *sim, void *arg, uint64_t life)
{
	struct sim_proc *proc = arg;
	struct sim_conn *conn;

	if (!proc->alive || proc->life != life)
		return;
	conn = pick(sim, proc);
	if (conn && !sim->quiet && proc->paused_until <= sim->now_ms) {
		if (sim_chance(sim, (unsigned)sim->event_percent))
			sim_event_submit(sim, conn,
				1 + (unsigned)sim_below(sim, sim_chance(sim, 10) ? 30 : 3), false);
		else
			sim_client_submit(sim, conn,
				1 + (unsigned)sim_below(sim, sim_chance(sim, 10) ? 40 : 4), false);
		if (sim_chance(sim, 15))
			cancel_one(sim, conn);
		if (sim_chance(sim, 3))
			ask(sim, conn);
		if (sim->event_percent > 0 && sim_chance(sim, 10))
			sim_keyed_submit(sim, conn);
		if (sim->event_percent > 0 && sim_chance(sim, 6))
			sim_send(sim, conn, TO_BROKER, sim_event_question(sim));
	}
	sim_at(sim, sim->now_ms + sim_between(sim, 1, sim->pace_ms), work_event, proc, life);
}

void sim_client_start(struct sim *sim, struct sim_proc *proc)
{
	sim_at(sim, sim->now_ms + sim_below(sim, 50), work_event, proc, proc->life);
}

/* ---- answers ------------------------------------------------------------------------ */

static void check_reply(struct sim *sim, const struct sim_call *call, uint32_t number,
	const Pirn__Item *item, const uint8_t *payload)
{
	uint32_t size = item->meta_size + item->data_size;
	uint8_t expected[MAX_PAYLOAD];

	if (item->reason != PIRN__REASON__NONE)
		return;
	if (item->status != 200) {
		SIM_CHECK(sim, size == 0, "a failure with a payload");
		return;
	}
	sim_book_payload(number, call->size, true, expected);
	SIM_CHECK(sim, size == call->size && (size == 0 || memcmp(payload, expected, size) == 0),
		"call %u is answered with other bytes", number);
}

static void again_event(struct sim *sim, void *arg, uint64_t number)
{
	struct sim_call *call = &sim->calls[number];
	struct sim_message *m = sim_message_new(PIRN__KIND__SUBMIT);

	(void)arg;
	sim->n_again--;
	add_call(sim, call->conn, m, call->service, 20000, true);
	sim->calls[sim->n_calls - 1].tries = sim->calls[number].tries + 1;
	sim_send(sim, sim->calls[number].conn, TO_BROKER, m);
}

/* In calm a call comes back well; more than can run at once, or than a small broker or a short queue takes,
 * may be too much even then, where events that fan out fill the workers, and is to be sent again (whether
 * that is right is flow.c's matter). */
static void check_calm(struct sim *sim, uint32_t number, uint32_t kind, const Pirn__Item *item)
{
	struct sim_call *call = &sim->calls[number];
	bool given_up = item->reason == PIRN__REASON__OVERLOADED ||
			item->reason == PIRN__REASON__QUEUE_FULL;

	if (!call->must_succeed)
		return;
	SIM_CHECK(sim,
		given_up || (kind == PIRN__KIND__REPLY && item->status == 200 && item->reason == 0),
		"call %u, in calm: kind %u, status %u, reason %u", number, kind, item->status,
		item->reason);
	SIM_CHECK(sim, call->tries < 100, "call %u, in calm, is given up again and again", number);
	if (!given_up)
		return;
	sim->n_again++;
	sim_at(sim, sim->now_ms + sim_between(sim, 100, 1000), again_event, NULL, number);
}

static void answered(struct sim *sim, struct sim_conn *conn, uint32_t kind, const Pirn__Item *item,
	const uint8_t *payload)
{
	struct sim_call *call;

	if (item->slot == UINT32_MAX)
		return; /* a question that was refused */
	if (item->slot >= SIM_KEYED_SLOT) {
		sim_keyed_answered(sim, conn, kind, item, payload);
		return;
	}
	if (item->slot >= SIM_EVENT_SLOT) {
		sim_event_answered(sim, conn, kind, item);
		return;
	}
	SIM_CHECK(sim, kind != PIRN__KIND__ACCEPTED, "ACCEPTED for a call");
	SIM_CHECK(sim, item->slot < sim->n_calls, "an answer to nothing");
	call = &sim->calls[item->slot];
	SIM_CHECK(sim,
		call->conn == conn && call->generation == item->generation &&
			call->session == conn->session,
		"an answer to a call of another session");
	SIM_CHECK(sim, call->answers++ == 0, "two answers");
	SIM_CHECK(sim, call->state != CALL_LOST, "an answer after the session was over");
	if (call->state == CALL_OPEN)
		call->state = CALL_ANSWERED;
	check_calm(sim, item->slot, kind, item);
	if (kind == PIRN__KIND__REPLY)
		check_reply(sim, call, item->slot, item, payload);
}

void sim_client_message(struct sim *sim, struct sim_conn *conn, struct sim_message *m)
{
	size_t offset = 0;

	for (size_t i = 0; i < m->n_items; i++) {
		const Pirn__Item *item = &m->items[i].pb;
		size_t size = (size_t)item->meta_size + item->data_size;

		if (m->kind == PIRN__KIND__REPLY || m->kind == PIRN__KIND__REFUSED ||
			m->kind == PIRN__KIND__ACCEPTED) {
			answered(sim, conn, m->kind, item, m->body + offset);
		} else if (m->kind == PIRN__KIND__ANSWER) {
			Pirn__Answer *answer = pirn__answer__unpack(NULL, size, m->body + offset);

			SIM_CHECK(sim, answer, "an ANSWER that is none");
			sim_event_told(sim, answer);
			pirn__answer__free_unpacked(answer, NULL);
		} else {
			sim_fail(sim, "kind %u to a client", m->kind);
		}
		offset += size;
	}
}

void sim_client_lost(struct sim *sim, struct sim_conn *conn)
{
	for (uint32_t i = 0; i < sim->n_calls; i++) {
		struct sim_call *call = &sim->calls[i];

		if (call->conn == conn && call->session == conn->session &&
			call->state == CALL_OPEN)
			call->state = CALL_LOST;
	}
}
