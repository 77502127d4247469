/* What is true of every call, seen from outside: who sent it, how often it was
 * dispatched and ran, how often it was answered and with what.
 */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define MAGIC 0x5049524eu /* of ids that are in the book; a liar's are not */

uint32_t sim_book_call(struct sim *sim, struct sim_conn *conn, unsigned service)
{
	struct sim_call *call;

	if (sim->n_calls == sim->calls_room) {
		sim->calls_room = sim->calls_room ? sim->calls_room * 2 : 256;
		sim->calls = realloc(sim->calls, sim->calls_room * sizeof *sim->calls);
	}
	call = &sim->calls[sim->n_calls];
	*call = (struct sim_call){
		.client = conn->proc->index,
		.service = service,
		.conn = conn,
		.session = conn->session,
		.generation = (uint32_t)sim_below(sim, UINT32_MAX),
	};
	return sim->n_calls++;
}

void sim_book_id(uint32_t number, uint8_t id[16])
{
	uint32_t magic = MAGIC;

	memset(id, 0, 16);
	memcpy(id, &magic, sizeof magic);
	memcpy(id + 4, &number, sizeof number);
}

struct sim_call *sim_book_find(struct sim *sim, const Pirn__Item *item)
{
	uint32_t magic, number;

	if (!item->has_id || item->id.len != 16)
		return NULL;
	memcpy(&magic, item->id.data, sizeof magic);
	memcpy(&number, item->id.data + 4, sizeof number);
	return magic == MAGIC && number < sim->n_calls ? &sim->calls[number] : NULL;
}

void sim_book_payload(uint32_t number, uint32_t size, bool response, uint8_t *out)
{
	for (uint32_t i = 0; i < size; i++)
		out[i] = (uint8_t)((number * 31 + i * 7) ^ (response ? 0xA5 : 0));
}

/* The broker's clock decides what a deadline is: it starts when the SUBMIT arrives. */
void sim_book_submitted(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn,
	const struct sim_message *m)
{
	(void)broker;
	for (size_t i = 0; i < m->n_items; i++) {
		struct sim_call *call = sim_book_find(sim, &m->items[i].pb);

		if (call && call->conn == conn)
			call->deadline = sim->now_ms + call->left_ms;
	}
}

void sim_book_dispatched(struct sim *sim, struct sim_conn *conn, const struct brk_action *a)
{
	struct sim_call *call = sim_book_find(sim, &a->item);
	uint64_t end;

	(void)conn;
	if (!call)
		return;
	call->dispatches++;
	call->run_end = sim->now_ms + sim->manifests[call->service].timeout_ms;
	end = call->run_end < call->deadline ? call->run_end : call->deadline;
	SIM_CHECK(sim, call->deadline > 0, "DISPATCH of a call that never arrived");
	SIM_CHECK(sim, sim->now_ms < call->deadline, "DISPATCH after the deadline");
	SIM_CHECK(sim, a->item.left_ms == end - sim->now_ms,
		"DISPATCH with a wrong time left");
	SIM_CHECK(sim, call->answers_sent == 0, "DISPATCH of a call that was answered");
	SIM_CHECK(sim, a->item.attempt >= 1 && a->item.attempt <= (call->idempotent ? 3u : 1u),
		"attempt %u of a call that is%s idempotent", a->item.attempt,
		call->idempotent ? "" : " not");
}

static void check_reason(struct sim *sim, const struct sim_call *call, const struct brk_action *a)
{
	uint32_t reason = a->item.reason;

	if (a->message == PIRN__KIND__REFUSED)
		SIM_CHECK(sim, reason != PIRN__REASON__NONE, "REFUSED without a reason");
	if (a->message == PIRN__KIND__REPLY && reason == PIRN__REASON__NONE)
		SIM_CHECK(sim, call->ran_to_end, "REPLY to a call that did not run");
	if (a->message == PIRN__KIND__REPLY && reason == PIRN__REASON__WORKER_LOST)
		SIM_CHECK(sim, call->dispatches > 0, "WORKER_LOST without a worker");
	if (a->message == PIRN__KIND__REPLY && reason == PIRN__REASON__DEADLINE &&
		!call->ran_to_end)
		SIM_CHECK(sim,
			sim->now_ms >= call->deadline ||
				(call->dispatches > 0 && sim->now_ms >= call->run_end),
			"DEADLINE before the deadline");
}

/* ---- what its runs send */

bool sim_book_sends(struct sim *sim, uint32_t number, uint32_t *first)
{
	uint32_t n = sim->calls[number].n_sent;

	if (!sim->calls[number].sends || n == SIM_CALL_RUNS)
		return false;
	*first = sim_event_of_call(sim, number);
	for (uint32_t i = 1; i < SIM_CALL_SENDS; i++)
		(void)sim_event_of_call(sim, number);
	sim->calls[number].sent[n] = *first + 1;
	sim->calls[number].n_sent++;
	return true;
}

/* Runs whose events stand in Redis, or stood there. */
static unsigned count_sent(struct sim *sim, const struct sim_call *call, uint32_t number)
{
	unsigned n = 0;

	for (unsigned run = 0; run < call->n_sent; run++) {
		uint32_t stored = 0;

		for (uint32_t i = 0; i < SIM_CALL_SENDS; i++)
			stored += sim_event_note(sim, call->sent[run] - 1 + i).stored;
		SIM_CHECK(sim, stored == 0 || stored == SIM_CALL_SENDS,
			"%u of %u events are there that a run of call %u sends", stored,
			SIM_CALL_SENDS, number);
		n += stored > 0;
	}
	return n;
}

void sim_book_check_sent(struct sim *sim, uint32_t number)
{
	const struct sim_call *call = &sim->calls[number];
	unsigned n = count_sent(sim, call, number);

	SIM_CHECK(sim, n <= 1, "what %u runs of call %u send is there (DUP)", n, number);
	SIM_CHECK(sim, n == 0 || !call->unsent,
		"call %u was told that what it sends is not there, and it is", number);
}

/* Whoever hears that it went well, knows that it is there. */
static void check_sent(struct sim *sim, struct sim_call *call, const struct brk_action *a)
{
	if (!call->sends || a->message != PIRN__KIND__REPLY)
		return;
	call->unsent = a->item.reason == PIRN__REASON__UNSENT;
	sim->seen.unsent += call->unsent;
	sim->seen.sent += a->item.reason == PIRN__REASON__NONE && a->item.status < 400;
	sim_book_check_sent(sim, a->item.slot);
	SIM_CHECK(sim,
		a->item.reason != PIRN__REASON__NONE || a->item.status >= 400 ||
			count_sent(sim, call, a->item.slot) == 1,
		"call %u went well, and what it sends is not there (LOST)", a->item.slot);
}

void sim_book_answered(struct sim *sim, struct sim_conn *conn, const struct brk_action *a)
{
	struct sim_call *call;

	if (conn->role == SIM_LIAR)
		return;
	SIM_CHECK(sim, conn->role == SIM_CLIENT, "an answer to a worker");
	if (a->item.slot >= SIM_KEYED_SLOT)
		return; /* its client looks at it; or a question's */
	if (a->item.slot >= SIM_EVENT_SLOT) {
		sim_event_decided(sim, a);
		return;
	}
	if (a->item.slot >= sim->n_calls)
		return; /* a question's */
	call = &sim->calls[a->item.slot];
	SIM_CHECK(sim, a->item.generation == call->generation, "an answer with a wrong generation");
	SIM_CHECK(sim, call->conn == conn, "an answer to a peer that did not ask");
	SIM_CHECK(sim, call->answers_sent++ == 0, "call %u is answered twice", a->item.slot);
	check_reason(sim, call, a);
	check_sent(sim, call, a);
}

bool sim_book_is_over(const struct sim *sim)
{
	for (uint32_t i = 0; i < sim->n_calls; i++)
		if (sim->calls[i].state == CALL_OPEN)
			return false;
	return sim->n_again == 0;
}

void sim_book_end(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->n_calls; i++) {
		const struct sim_call *call = &sim->calls[i];

		SIM_CHECK(sim, call->state != CALL_OPEN, "call %u was never answered", i);
		SIM_CHECK(sim, !call->must_succeed || call->state == CALL_ANSWERED,
			"call %u, in calm, was lost", i);
		SIM_CHECK(sim, call->runs <= (call->idempotent ? 3u : 1u), "call %u ran %u times",
			i, call->runs);
	}
}
