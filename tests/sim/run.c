/* What a worker does with an event: its handler's state operations one after another, under
 * the run's token, and then an answer. A handler's behaviour follows from the event and the
 * attempt, so that a later run of it may ask for more, or for less.
 *
 * A run goes on whatever became of the broker that sent it, and after its lease; only its
 * worker's death ends it early.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/events.h"
#include "tests/sim/mirror.h"

/* What the operations are: two counters, a read whose record rides with the next write, a key. */
static const struct {
	const char *command;
	bool writes;
} ops[SIM_EVENT_OPS] = { { "INCRBY", true }, { "GET", false }, { "HINCRBY", true },
	{ "INCRBY", true } };

bool sim_op_writes(unsigned op)
{
	return ops[op].writes;
}

bool sim_event_asks(uint32_t number, uint32_t attempt, unsigned op)
{
	return sim_mix(number, op, 1) % 3 != 0 &&
	       sim_mix(number, op * 64 + (uint64_t)attempt, 2) % 8 != 0;
}

/* ---- one operation */

static void build(const struct sim_run *run, struct sim_op *op, char *key, char *field)
{
	*op = (struct sim_op){ .run = run->run, .command = ops[run->step].command };
	snprintf(field, 16, "op%u", run->step);
	snprintf(key, 32, "%c%u-%u", run->keyed ? 'k' : 'e', run->number, run->step);
	op->field = (struct store_arg){ field, strlen(field) };
	op->key = (struct store_arg){ key, strlen(key) };
	if (strcmp(op->command, "HINCRBY") == 0)
		op->args[op->n_args++] = (struct store_arg){ "f", 1 };
	if (ops[run->step].writes)
		op->args[op->n_args++] = (struct store_arg){ "1", 1 };
}

static void next_event(struct sim *sim, void *arg, uint64_t serial);

static void go_on(struct sim *sim, const struct sim_run *run)
{
	uint64_t ms = sim_below(sim, 3);

	if (!sim->calm && sim_chance(sim, (unsigned)sim->slow_percent))
		ms = sim_between(sim, 20, 3000);
	if (run->step == 0)
		ms += sim_sick_ms(sim, run->proc, run->service);
	sim_at(sim, sim->now_ms + ms, next_event, run->proc, run->serial);
}

static struct sim_run *find(struct sim_proc *proc, uint64_t serial)
{
	struct sim_run *run;

	DL_SEARCH_SCALAR(proc->runs, run, serial, serial);
	return run;
}

static void start_op(struct sim *sim, struct sim_run *run)
{
	struct sim_op op;
	char key[32], field[16];
	struct store_arg reads[2] = { { "op1", 3 }, { run->read, run->read_size } };

	build(run, &op, key, field);
	if (ops[run->step].writes && run->read_size > 0) {
		op.reads = reads;
		op.n_reads = 1;
	}
	run->asked = true;
	sim_link_op(sim, run->proc, &op, run->serial);
}

static void next_event(struct sim *sim, void *arg, uint64_t serial)
{
	struct sim_proc *proc = arg;
	struct sim_run *run = find(proc, serial);

	if (!run)
		return;
	if (proc->paused_until > sim->now_ms) {
		sim_at(sim, proc->paused_until, next_event, proc, serial);
		return;
	}
	while (run->step < SIM_EVENT_OPS &&
		!sim_event_asks(run->number, run->run.attempt, run->step))
		run->step++;
	if (run->step < SIM_EVENT_OPS && !run->failed)
		start_op(sim, run);
	else
		sim_worker_end(sim, run);
}

static void note_result(struct sim *sim, struct sim_run *run, const struct sim_op_reply *reply)
{
	if (!reply) { /* nobody knows whether it was applied */
		run->failed = run->recorded = run->no_state = true;
		return;
	}
	if (reply->code) {
		run->failed = true;
		run->no_state = reply->code == STORE_OOM;
		run->reason = reply->code == STORE_LEASE || reply->code == STORE_SUPERSEDED
				      ? PIRN__REASON__LEASE
				      : PIRN__REASON__NONE;
		return;
	}
	if (!ops[run->step].writes) {
		run->read_size = reply->record.size < sizeof run->read ? reply->record.size : 0;
		memcpy(run->read, reply->record.data, run->read_size);
		return;
	}
	run->recorded = true;
	run->read_size = 0;
	SIM_CHECK(sim, reply->record.size == 2 && memcmp(reply->record.data, "i1", 2) == 0,
		"operation %u of event %u has counted further (DUP)", run->step, run->number);
}

void sim_run_answered(
	struct sim *sim, struct sim_proc *proc, uint64_t serial, const struct sim_op_reply *reply)
{
	struct sim_run *run = find(proc, serial);

	if (!run || !run->asked)
		return;
	run->asked = false;
	note_result(sim, run, reply);
	run->step++;
	go_on(sim, run);
}

void sim_runs_lost(struct sim *sim, struct sim_proc *proc)
{
	struct sim_run *run;

	DL_FOREACH (proc->runs, run)
		if (run->asked)
			sim_run_answered(sim, proc, run->serial, NULL);
}

/* ---- beginning and end */

static void poison_event(struct sim *sim, void *arg, uint64_t serial)
{
	struct sim_proc *proc = arg;

	if (!proc->alive || !find(proc, serial) || sim->calm)
		return;
	sim->events[find(proc, serial)->number].died++;
	sim_proc_kill(sim, proc);
}

void sim_run_begin(struct sim *sim, struct sim_run *run, const Pirn__Item *item)
{
	memcpy(run->run.id, item->id.data, 16);
	run->run.service = sim_services[run->service];
	run->run.attempt = item->attempt;
	run->run.epoch = item->epoch;
	run->run.lease_end_ms = item->lease_end_ms;
	run->run.keep_until_ms = item->keep_until_ms;
	if (run->event)
		sim->events[run->number].runs++;
	if (run->event && sim->events[run->number].poison)
		sim_at(sim, sim->now_ms, poison_event, run->proc, run->serial);
	if (run->keyed)
		sim_trace(sim, "call %u runs, attempt %u, lease until %llu", run->number,
			item->attempt,
			(unsigned long long)(item->lease_end_ms + sim->now_ms -
					     sim_server_now(sim)));
	go_on(sim, run);
}

/* What its attempt comes to. What goes to all who subscribe is sent by way of a broker that knows them. */
static uint32_t status_of(struct sim *sim, const struct sim_run *run)
{
	static const uint32_t others[] = { 500, 503, 429, 408, 404, 502, 500, 503 };
	uint64_t dice = sim_mix(run->number, run->run.attempt, 3);

	if (run->failed || sim_sick_fails(sim, run->proc, run->service))
		return 500;
	if (!sim->calm && dice % 100 < sim->fail_percent)
		return others[dice / 100 % 8];
	if (run->event && sim_event_fans(sim, run->number) &&
		!(run->conn->broker && sim_mirror_fans(run->conn->broker)))
		return 503;
	return dice % 5 ? 200 : 204;
}

/* ---- what it sends */

static void add_emit(Pirn__Emits *emits, const char *service, const char *type)
{
	Pirn__Emit *emit = emits->events[emits->n_events++];

	pirn__emit__init(emit);
	emit->service = (char *)(uintptr_t)service;
	emit->type = (char *)(uintptr_t)type;
}

static void add_child(
	struct sim *sim, Pirn__Emits *emits, uint32_t child, uint8_t *payload, uint8_t *id)
{
	const struct sim_event *e = &sim->events[child];
	uint32_t meta = (uint32_t)sim_below(sim, e->size + 1);
	bool typed = e->fan > 0 || e->nobody;
	Pirn__Emit *emit;

	add_emit(emits, typed ? NULL : sim_services[e->service],
		typed ? sim_fan_type(e->fan) : NULL);
	emit = emits->events[emits->n_events - 1];
	sim_event_payload(sim, child, payload);
	emit->meta = (ProtobufCBinaryData){ meta, payload };
	emit->data = (ProtobufCBinaryData){ e->size - meta, payload + meta };
	if (e->unnamed)
		return;
	sim_event_id(sim, child, id);
	emit->has_id = true;
	emit->id = (ProtobufCBinaryData){ 16, id };
}

static void append(
	const Pirn__Emits *emits, struct sim_message *m, struct sim_item *result)
{
	size_t size = pirn__emits__get_packed_size(emits);

	m->body = realloc(m->body, m->body_size + size);
	m->body_size += pirn__emits__pack(emits, m->body + m->body_size);
	result->pb.data_size += (uint32_t)size;
	result->pb.has_emit_size = true;
	result->pb.emit_size = (uint32_t)size;
}

/* Behind its answer. One that failed may send as well: it is not to be taken. */
void sim_run_send(
	struct sim *sim, struct sim_run *run, struct sim_message *m, struct sim_item *result)
{
	Pirn__Emit room[SIM_SENDS + 1], *list[SIM_SENDS + 1];
	Pirn__Emits emits = PIRN__EMITS__INIT;
	uint8_t payloads[SIM_SENDS][128], ids[SIM_SENDS][16];
	uint32_t attempt = run->run.attempt;

	if (!run->event || sim_event_sends(sim, run->number) == 0 ||
		(result->pb.status >= 400 && sim_mix(run->number, attempt, 6) % 2))
		return;
	emits.events = list;
	for (unsigned i = 0; i <= SIM_SENDS; i++)
		list[i] = &room[i];
	for (unsigned i = 0; i < sim_event_sends(sim, run->number); i++)
		add_child(sim, &emits, sim_event_child(sim, run->number, i), payloads[i], ids[i]);
	if (sim_event_sends_badly(sim, run->number, attempt))
		add_emit(&emits, "nobody", NULL);
	append(&emits, m, result);
}

/* A call's: what cannot be taken makes its answer another one. */
void sim_run_send_of_call(
	struct sim *sim, uint32_t call, struct sim_message *m, struct sim_item *result)
{
	Pirn__Emit room[SIM_CALL_SENDS + 1], *list[SIM_CALL_SENDS + 1];
	Pirn__Emits emits = PIRN__EMITS__INIT;
	uint8_t payloads[SIM_CALL_SENDS][128], ids[SIM_CALL_SENDS][16];
	uint32_t first;

	if (!sim_book_sends(sim, call, &first))
		return;
	emits.events = list;
	for (unsigned i = 0; i <= SIM_CALL_SENDS; i++)
		list[i] = &room[i];
	for (uint32_t i = 0; i < SIM_CALL_SENDS; i++)
		add_child(sim, &emits, first + i, payloads[i], ids[i]);
	if (sim_mix(call, 0, 15) % 8 == 0)
		add_emit(&emits, "nobody", NULL);
	append(&emits, m, result);
}

void sim_run_fill(struct sim *sim, struct sim_run *run, struct sim_item *result)
{
	uint32_t status = status_of(sim, run);

	sim_trace(sim, "event %u: attempt %u answers %u", run->number, run->run.attempt, status);
	result->pb.status = status;
	result->pb.has_flags = true;
	result->pb.flags = (run->recorded ? PIRN__ITEM_FLAG__RECORDED : 0u) |
			   (run->no_state ? PIRN__ITEM_FLAG__NO_STATE : 0u);
	result->pb.has_reason = run->failed && run->reason;
	result->pb.reason = result->pb.has_reason ? run->reason : PIRN__REASON__NONE;
	if (status == 503 || status == 429) {
		result->pb.has_retry_after_ms = true;
		result->pb.retry_after_ms = (uint32_t)sim_mix(run->number, 4, 5) % 400;
	}
	if (run->event && status < 400 && run->run.attempt < 64 &&
		!sim_event_sends_badly(sim, run->number, run->run.attempt))
		sim->events[run->number].ok_attempts |= UINT64_C(1) << run->run.attempt;
}
