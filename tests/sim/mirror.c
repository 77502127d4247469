#include "tests/sim/mirror.h"

#include <stdlib.h>
#include <string.h>

#define OVERSLEPT_MS 500

/* ---- calls and runs ------------------------------------------------------------ */

static struct mirror_call *find_call(const struct sim_mirror *mirror, const struct sim_conn *conn,
	uint32_t slot, uint32_t generation)
{
	struct mirror_name name;
	struct mirror_call *call;

	memset(&name, 0, sizeof name);
	name.conn = conn;
	name.slot = slot;
	name.generation = generation;
	HASH_FIND(hh, mirror->calls, &name, sizeof name, call);
	return call;
}

static void drop_call(struct sim_mirror *mirror, struct mirror_call *call)
{
	HASH_DEL(mirror->calls, call);
	free(call);
}

static struct mirror_run *find_run(
	const struct sim_mirror *mirror, uint32_t slot, uint32_t generation)
{
	struct mirror_run *run, probe;

	probe.name.slot = slot;
	probe.name.generation = generation;
	HASH_FIND(hh, mirror->runs, &probe.name, sizeof probe.name, run);
	return run;
}

static void drop_run(struct sim_mirror *mirror, struct mirror_run *run)
{
	HASH_DEL(mirror->runs, run);
	free(run);
}

static unsigned count(const struct sim_mirror *mirror, int service, enum mirror_state state)
{
	unsigned n = 0;

	for (const struct mirror_call *c = mirror->calls; c; c = c->hh.next)
		n += c->state == state && (service < 0 || c->service == service);
	return n;
}

/* The bytes of those that wait for it, or came with this input: no less than what waited when one of
 * these was refused. */
static uint64_t waiting_bytes(const struct sim_mirror *mirror, int service)
{
	uint64_t sum = 0;

	for (const struct mirror_call *c = mirror->calls; c; c = c->hh.next)
		if ((c->state == MIRROR_WAITS || c->state == MIRROR_NEW) && c->service == service)
			sum += c->size;
	return sum;
}

/* ---- the end of a run ------------------------------------------------------------- */

/* What becomes of an event's attempt. */
static void note_attempt(struct sim *sim, const struct mirror_run *run, bool dry)
{
	struct sim_event *e = run->event < sim->n_events ? &sim->events[run->event] : NULL;

	if (!e || run->attempt >= 64)
		return;
	if (dry)
		e->dry |= UINT64_C(1) << run->attempt;
	else
		e->wet |= UINT64_C(1) << run->attempt;
}

static void end_run(struct sim *sim, struct sim_broker *broker, struct mirror_run *run,
	enum mirror_end how, enum base_breaker_end verdict, bool dry)
{
	struct mirror_call *call = run->call;

	if (how != MIRROR_UNRUN)
		note_attempt(sim, run, dry);
	if (run->service >= 0) {
		if (how != MIRROR_UNRUN && (call || how == MIRROR_ANSWERED))
			mirror_flow_ran(sim, broker, run);
		mirror_guard_ran(sim, broker, run, verdict);
		if (dry)
			mirror_guard_dry(sim, broker, run);
	}
	if (call) {
		call->state = MIRROR_PENDING;
		call->end = how;
		call->runs -= how == MIRROR_UNRUN;
		call->shunned = how == MIRROR_UNRUN ? call->shunned : run->conn;
		call->shunned_peer = how == MIRROR_UNRUN ? call->shunned_peer : run->conn->peer;
	}
	drop_run(broker->mirror, run);
}

/* What a worker may say, and what it becomes when it says something else. */
static uint32_t reason_of(const struct mirror_run *run, const Pirn__Item *item)
{
	switch (item->reason) {
	case PIRN__REASON__NONE:
		return item->status < 200 || item->status > 599 ? PIRN__REASON__CRASHED
								: PIRN__REASON__NONE;
	case PIRN__REASON__DEADLINE:
	case PIRN__REASON__TOO_LARGE:
	case PIRN__REASON__CANCELLED:
	case PIRN__REASON__MALFORMED:
	case PIRN__REASON__OVERLOADED:
		return item->reason;
	case PIRN__REASON__LEASE:
	case PIRN__REASON__NOT_DURABLE:
		return run->call ? PIRN__REASON__CRASHED : item->reason;
	default:
		return PIRN__REASON__CRASHED;
	}
}

/* Another run may do better; who says Retry-After knows that it is too early. */
static bool is_worth_it(uint32_t reason, const Pirn__Item *item)
{
	if (item->has_retry_after_ms && item->retry_after_ms > 0)
		return false;
	return reason == PIRN__REASON__CRASHED || reason == PIRN__REASON__OVERLOADED ||
	       reason == PIRN__REASON__DEADLINE ||
	       (reason == PIRN__REASON__NONE && item->status >= 502 && item->status <= 504);
}

static void result(
	struct sim *sim, struct sim_broker *broker, struct sim_conn *conn, const Pirn__Item *item)
{
	struct mirror_run *run = find_run(broker->mirror, item->slot, item->generation);
	struct mirror_call *call;
	bool dry, sends;

	if (!run || run->conn != conn)
		return;
	dry = mirror_is_dry(item, reason_of(run, item));
	if (item->reason == PIRN__REASON__DRAINING) {
		conn->shadow.handed_back = true;
		memset(conn->shadow.out, 0, sizeof conn->shadow.out);
	}
	if (run->call)
		run->call->worth_it = is_worth_it(reason_of(run, item), item);
	call = run->call;
	sends = item->emit_size > 0 && item->status < 400 &&
		reason_of(run, item) == PIRN__REASON__NONE;
	if (item->reason == PIRN__REASON__DRAINING || item->reason == PIRN__REASON__NO_WORKER)
		end_run(sim, broker, run, MIRROR_UNRUN, BASE_BREAKER_UNKNOWN, false);
	else
		end_run(sim, broker, run, MIRROR_ANSWERED,
			dry ? BASE_BREAKER_UNKNOWN
			    : mirror_verdict(sim, run, reason_of(run, item), item->status),
			dry);
	if (call && sends)
		call->state = MIRROR_SENDS;
}

/* A worker is lost once, however much ran there: of those that may count the oldest does. */
static bool is_oldest(const struct sim_mirror *mirror, const struct mirror_run *run)
{
	for (const struct mirror_run *r = mirror->runs; r; r = r->hh.next)
		if (r->conn == run->conn && r->service == run->service && r->pass == run->pass &&
			r->seq < run->seq)
			return false;
	return true;
}

static struct mirror_run *newest_of(const struct sim_mirror *mirror, const struct sim_conn *conn)
{
	struct mirror_run *newest = NULL;

	for (struct mirror_run *r = mirror->runs; r; r = r->hh.next)
		if (r->conn == conn && (!newest || r->seq > newest->seq))
			newest = r;
	return newest;
}

static void leave_worker(
	struct sim *sim, struct sim_broker *broker, struct sim_conn *conn, bool orderly)
{
	struct mirror_run *run;

	conn->shadow.handed_back = true;
	memset(conn->shadow.out, 0, sizeof conn->shadow.out);
	while ((run = newest_of(broker->mirror, conn)))
		end_run(sim, broker, run, MIRROR_LOST,
			!orderly && !mirror_is_late(sim, run) && is_oldest(broker->mirror, run)
				? BASE_BREAKER_FAILED
				: BASE_BREAKER_UNKNOWN,
			false);
}

/* Its runs end with a CANCEL to their workers. */
static void drop_client_call(struct sim_mirror *mirror, struct mirror_call *call)
{
	for (struct mirror_run *r = mirror->runs; r; r = r->hh.next)
		if (r->call == call)
			r->call = NULL;
	drop_call(mirror, call);
}

static void leave_client(struct sim_broker *broker, const struct sim_conn *conn)
{
	struct mirror_call *call, *next;

	HASH_ITER (hh, broker->mirror->calls, call, next)
		if (call->name.conn == conn)
			drop_client_call(broker->mirror, call);
}

static void leave(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn, bool orderly)
{
	uint32_t role = conn->member.role;

	memset(&conn->member, 0, sizeof conn->member);
	if (role == PIRN__ROLE__WORKER)
		leave_worker(sim, broker, conn, orderly);
	if (role == PIRN__ROLE__CLIENT)
		leave_client(broker, conn);
}

/* ---- messages ------------------------------------------------------------------------ */

static bool sizes_add_up(const struct sim_message *m)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->n_items; i++)
		sum += (uint64_t)m->items[i].pb.meta_size + m->items[i].pb.data_size;
	return m->n_items <= 1024 && sum == m->body_size;
}

static void tag(struct mirror_call *call, const struct sim_message *m, size_t offset)
{
	if (!call->honest && call->n_tags < MIRROR_TAGS && offset + 6 <= m->body_size)
		memcpy(&call->tags[call->n_tags++], m->body + offset + 2, 4);
}

static void submitted(struct sim *sim, struct sim_mirror *mirror, struct sim_conn *conn,
	const struct sim_message *m, size_t i, size_t offset)
{
	const Pirn__Item *item = &m->items[i].pb;
	struct mirror_call *call = find_call(mirror, conn, item->slot, item->generation);

	if (call && call->state != MIRROR_NEW)
		return;
	if (!call) {
		call = calloc(1, sizeof *call);
		call->name.conn = conn;
		call->name.slot = item->slot;
		call->name.generation = item->generation;
		HASH_ADD(hh, mirror->calls, name, sizeof call->name, call);
		call->state = MIRROR_NEW;
		call->service = sim_service(item->service);
		call->honest = conn->role == SIM_CLIENT;
		call->keyed = item->has_key;
		call->key = item->has_key ? sim_keyed_key(sim, item->slot) : 0;
		call->idempotent = call->keyed || item->flags & PIRN__ITEM_FLAG__IDEMPOTENT;
		call->deadline_ms = sim->now_ms + item->left_ms;
		call->seq = ++mirror->seq;
		call->size = (uint64_t)item->meta_size + item->data_size;
	}
	call->copies++;
	tag(call, m, offset);
}

static void submit(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn,
	const struct sim_message *m)
{
	size_t offset = 0;

	for (size_t i = 0; i < m->n_items; i++) {
		const Pirn__Item *item = &m->items[i].pb;

		if (!(item->flags & PIRN__ITEM_FLAG__EVENT))
			submitted(sim, broker->mirror, conn, m, i, offset);
		offset += (size_t)item->meta_size + item->data_size;
	}
}

static void cancel(struct sim_broker *broker, const struct sim_conn *conn, const Pirn__Item *item)
{
	struct mirror_call *call = find_call(broker->mirror, conn, item->slot, item->generation);

	if (call)
		drop_client_call(broker->mirror, call);
}

static void hello(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn,
	const struct sim_hello *h)
{
	struct sim_member now = { .role = h->role };
	bool same;

	if (h->boot_size != sizeof now.boot)
		return; /* it is refused, and told so by FORGET */
	memcpy(now.boot, h->boot, sizeof now.boot);
	same = memcmp(conn->member.boot, now.boot, sizeof now.boot) == 0;
	broker->mirror->welcome = now;
	if (conn->member.role == 0 || (h->again && !same) || h->version != 1 || h->role < 1 ||
		h->role > 2)
		return;
	if (same && h->again && h->role == conn->member.role)
		return;
	if (h->role == PIRN__ROLE__CLIENT && h->n_services > 0)
		return;
	if (h->n_services > 0 && h->names[0][0] && sim_service(h->names[0]) < 0 &&
		strcmp(h->names[0], "evil") != 0 && strcmp(h->names[0], "x-1") != 0)
		return;
	leave(sim, broker, conn, same);
}

static void asked(struct sim_mirror *mirror, const struct sim_message *m)
{
	Pirn__Query *query = pirn__query__unpack(NULL, m->body_size, m->body);

	if (query && query->what == PIRN__QUERY_KIND__BREAKER_SET && query->has_force) {
		mirror->set_service = sim_service(query->service);
		mirror->set_force = query->force;
	}
	if (query)
		pirn__query__free_unpacked(query, NULL);
}

static void message(struct sim *sim, struct sim_broker *broker, const struct sim_cause *cause)
{
	const struct sim_message *m = cause->m;
	struct sim_conn *conn = cause->conn;
	uint32_t role = conn->member.role;

	if (m->kind == PIRN__KIND__HELLO && m->hello)
		hello(sim, broker, conn, m->hello);
	if (!sizes_add_up(m))
		return;
	if (m->kind == PIRN__KIND__SUBMIT && role == PIRN__ROLE__CLIENT)
		submit(sim, broker, conn, m);
	for (size_t i = 0; i < m->n_items; i++) {
		if (m->kind == PIRN__KIND__CANCEL && role == PIRN__ROLE__CLIENT)
			cancel(broker, conn, &m->items[i].pb);
		if (m->kind == PIRN__KIND__RESULT && role == PIRN__ROLE__WORKER)
			result(sim, broker, conn, &m->items[i].pb);
	}
	if (m->kind == PIRN__KIND__DRAIN && role == PIRN__ROLE__WORKER && conn->shadow.drained) {
		conn->shadow.handed_back = true;
		memset(conn->shadow.out, 0, sizeof conn->shadow.out);
	}
	if (m->kind == PIRN__KIND__QUERY && m->n_items == 1 && conn->role == SIM_CLIENT &&
		role == PIRN__ROLE__CLIENT)
		asked(broker->mirror, m);
}

/* Whose claim this input tells of; NULL: it does not. */
static struct mirror_call *told_call(const struct sim_mirror *mirror)
{
	const struct brk_told *told = mirror->cause.told;

	for (struct mirror_call *c = told ? mirror->calls : NULL; c; c = c->hh.next)
		if (c->state == MIRROR_CLAIMS && c->ticket == told->ticket)
			return c;
	return NULL;
}

static void told(struct sim *sim, const struct sim_mirror *mirror)
{
	struct mirror_call *call = told_call(mirror);
	const struct store_claimed *claimed = mirror->cause.told->claimed;

	if (call && claimed->says.code == STORE_DONE && claimed->kind == STORE_CLAIM_RUN &&
		sim_keyed_is(sim, claimed->id.data, claimed->id.size, &call->first))
		call->key_run = claimed->run;
}

/* By somebody who knows more than its name. */
static void announced(struct sim_mirror *mirror, const Pirn__Entry *entry)
{
	int service = sim_service(entry->manifest->service);

	if (service >= 0 && entry->announced_ms > 0)
		mirror->announced[service] = true;
}

bool sim_mirror_fans(const struct sim_broker *broker)
{
	for (unsigned s = 0; s < SIM_FAN; s++)
		if (!broker->mirror || !broker->mirror->announced[s])
			return false;
	return true;
}

/* ---- inputs ---------------------------------------------------------------------------- */

void sim_mirror_start(struct sim *sim, struct sim_broker *broker)
{
	broker->mirror = calloc(1, sizeof *broker->mirror);
	broker->mirror->set_service = -1;
	broker->mirror->late_ms = broker->mirror->last_ms = broker->mirror->due_ms = sim->now_ms;
	for (int s = 0; s < SIM_SERVICES; s++) {
		mirror_guard_init(&broker->mirror->guards[s]);
		mirror_flow_init(sim, &broker->mirror->flows[s]);
	}
}

void sim_mirror_stop(struct sim_broker *broker)
{
	struct mirror_call *call, *next_call;
	struct mirror_run *run, *next_run;

	if (!broker->mirror)
		return;
	HASH_ITER (hh, broker->mirror->calls, call, next_call)
		drop_call(broker->mirror, call);
	HASH_ITER (hh, broker->mirror->runs, run, next_run)
		drop_run(broker->mirror, run);
	for (int s = 0; s < SIM_SERVICES; s++)
		free(broker->mirror->guards[s].window);
	free(broker->mirror);
	broker->mirror = NULL;
}

/* An input that comes so much later than the one before, and than was wished: nothing ran meanwhile. */
static void wake(const struct sim *sim, struct sim_mirror *mirror)
{
	if (sim->now_ms > mirror->last_ms + OVERSLEPT_MS &&
		sim->now_ms > mirror->due_ms + OVERSLEPT_MS)
		mirror->woke_ms = sim->now_ms;
	mirror->last_ms = sim->now_ms;
}

void sim_mirror_before(struct sim *sim, struct sim_broker *broker, const struct sim_cause *cause)
{
	struct sim_mirror *mirror = broker->mirror;

	mirror->cause = *cause;
	wake(sim, mirror);
	if (broker->paused_until > mirror->late_ms)
		mirror->late_ms = broker->paused_until;
	if (cause->kind == SIM_IN_MESSAGE)
		message(sim, broker, cause);
	if (cause->kind == SIM_IN_GONE)
		leave(sim, broker, cause->conn, false);
	if (cause->kind == SIM_IN_TOLD)
		told(sim, mirror);
	if (cause->kind == SIM_IN_ENTRY) {
		announced(broker->mirror, cause->entry);
		mirror_guard_entry(sim, broker, cause->entry);
	}
	if (cause->kind == SIM_IN_TICK)
		for (int s = 0; s < SIM_SERVICES; s++)
			mirror->flows[s].surely_on = false;
}

/* ---- actions ------------------------------------------------------------------------------ */

static bool has_tag(const struct mirror_call *call, uint32_t number)
{
	for (unsigned i = 0; i < call->n_tags; i++)
		if (call->tags[i] == number)
			return true;
	return false;
}

/* A run has its service's timeout; a call's own deadline may be earlier, an event has the margin of
 * its lease on top. */
static uint64_t deadline_of(const struct sim *sim, const struct mirror_call *call, int service)
{
	uint64_t end = sim->now_ms + (service < 0 ? 30000 : sim->manifests[service].timeout_ms);

	if (!call)
		return end + 1000;
	return call->deadline_ms < end ? call->deadline_ms : end;
}

/* A run under a key has the id of the key's first call; those that follow one another, when a claim ran out
 * before its call did, are told apart by their numbers. */
static struct mirror_call *find_keyed(
	const struct sim_mirror *mirror, uint32_t first, uint32_t key_run)
{
	for (struct mirror_call *c = mirror->calls; c; c = c->hh.next)
		if (c->keyed && c->key_run == key_run && c->first == first &&
			c->state != MIRROR_ANSWERS)
			return c;
	return NULL;
}

static struct mirror_call *find_dispatched(
	struct sim *sim, const struct sim_mirror *mirror, const struct brk_action *a)
{
	const struct sim_call *honest = sim_book_find(sim, &a->item);
	uint32_t number;

	if (honest)
		return find_call(
			mirror, honest->conn, (uint32_t)(honest - sim->calls), honest->generation);
	if (a->item.has_id && sim_keyed_is(sim, a->item.id.data, a->item.id.len, &number))
		return find_keyed(mirror, number, (a->item.attempt - 1) / MIRROR_MAX_RUNS + 1);
	if (a->payload.meta_size + a->payload.data_size != 6)
		return NULL;
	memcpy(&number, a->payload.bytes + 2, 4);
	for (struct mirror_call *c = mirror->calls; c; c = c->hh.next)
		if (!c->honest && has_tag(c, number))
			return c;
	return NULL;
}

/* G5: never more than the call has left, nor than the service may take. */
static void check_left(struct sim *sim, const struct mirror_run *run, const Pirn__Item *item)
{
	uint64_t margin = run->call ? 0 : 1000;

	SIM_CHECK(sim, run->service < 0 || run->deadline_ms > sim->now_ms,
		"DISPATCH after the deadline");
	SIM_CHECK(sim,
		run->service < 0 || (run->call && !run->call->honest) ||
			item->left_ms == run->deadline_ms - sim->now_ms - margin,
		"DISPATCH with %u ms, and %llu are left", item->left_ms,
		(unsigned long long)(run->deadline_ms - sim->now_ms - margin));
}

static void dispatched(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn,
	const struct brk_action *a)
{
	struct sim_mirror *mirror = broker->mirror;
	struct mirror_run *run = calloc(1, sizeof *run);

	run->name.slot = a->item.slot;
	run->name.generation = a->item.generation;
	run->conn = conn;
	run->service = sim_service(a->item.service);
	run->began_ms = sim->now_ms;
	run->seq = ++mirror->seq;
	run->attempt = a->item.attempt;
	if (!(a->item.flags & PIRN__ITEM_FLAG__EVENT) || !sim_event_is(sim, &a->item, &run->event))
		run->event = UINT32_MAX;
	if (!(a->item.flags & PIRN__ITEM_FLAG__EVENT)) {
		run->call = find_dispatched(sim, mirror, a);
		SIM_CHECK(sim, run->call, "DISPATCH of a call that is not open");
		SIM_CHECK(sim,
			run->call->state == MIRROR_NEW || run->call->state == MIRROR_WAITS ||
				run->call->state == MIRROR_PENDING ||
				run->call->state == MIRROR_CLAIMS,
			"DISPATCH of a call that runs (state %d)", (int)run->call->state);
	}
	run->deadline_ms = deadline_of(sim, run->call, run->service);
	check_left(sim, run, &a->item);
	SIM_CHECK(sim, !find_run(mirror, run->name.slot, run->name.generation),
		"DISPATCH twice in one place");
	if (run->service >= 0) {
		mirror_guard_dispatch(sim, broker, run);
		if (run->call && run->call->state == MIRROR_NEW)
			mirror_flow_took(sim, broker, run->call);
		if (run->call)
			mirror_flow_dispatch(sim, broker, run->call, conn);
	}
	if (run->call) {
		run->call->state = MIRROR_RUNS;
		run->call->runs++;
	}
	HASH_ADD(hh, mirror->runs, name, sizeof run->name, run);
}

/* To a worker: its run is over. By its deadline in a tick, else because nobody wants it any more. */
static void told_to_stop(struct sim *sim, struct sim_broker *broker, const struct sim_conn *conn,
	const Pirn__Item *item)
{
	struct mirror_run *run = find_run(broker->mirror, item->slot, item->generation);
	bool late;

	if (!run || run->conn != conn)
		return;
	late = broker->mirror->cause.kind == SIM_IN_TICK && run->deadline_ms <= sim->now_ms;
	end_run(sim, broker, run, late ? MIRROR_LATE : MIRROR_UNRUN,
		late ? mirror_verdict(sim, run, PIRN__REASON__DEADLINE, 0) : BASE_BREAKER_UNKNOWN,
		false);
}

static void refused(
	struct sim *sim, struct sim_broker *broker, struct sim_conn *conn, const Pirn__Item *item)
{
	struct sim_mirror *mirror = broker->mirror;
	struct mirror_call *call = find_call(mirror, conn, item->slot, item->generation);
	unsigned waiting;

	if (!call || (call->state != MIRROR_NEW && call->state != MIRROR_CLAIMS &&
			     mirror->cause.kind != SIM_IN_END))
		return;
	if (call->service >= 0 && call->state != MIRROR_CLAIMS) {
		waiting = count(mirror, call->service, MIRROR_WAITS) +
			  count(mirror, call->service, MIRROR_NEW) - 1;
		if (item->reason == PIRN__REASON__BREAKER_OPEN ||
			item->reason == PIRN__REASON__BREAKER_FORCED)
			mirror_guard_refused(sim, broker, call->service, item, waiting);
		mirror_flow_refused(sim, broker, call, item, waiting,
			waiting_bytes(mirror, call->service));
		if (call->keyed)
			mirror_flow_took(sim, broker, call);
	}
	if (call->copies > 1)
		call->copies--;
	else
		drop_call(mirror, call);
}

static void replied(
	struct sim *sim, struct sim_broker *broker, struct sim_conn *conn, const Pirn__Item *item)
{
	struct sim_mirror *mirror = broker->mirror;
	struct mirror_call *call = find_call(mirror, conn, item->slot, item->generation);

	if (!call)
		return; /* the book has a word to say about it */
	SIM_CHECK(sim,
		call->state != MIRROR_RUNS || mirror->cause.kind == SIM_IN_END || !call->honest ||
			call->service < 0,
		"REPLY to a call that runs");
	if (call->state == MIRROR_WAITS && call->service >= 0) {
		if (item->reason == PIRN__REASON__BREAKER_OPEN ||
			item->reason == PIRN__REASON__BREAKER_FORCED)
			mirror_guard_refused(sim, broker, call->service, item, UINT32_MAX);
		if (item->reason == PIRN__REASON__OVERLOADED)
			mirror_flow_given_up(sim, broker, call);
	}
	drop_client_call(mirror, call);
}

static void asks(struct sim *sim, struct sim_broker *broker, const struct brk_ask *ask)
{
	struct sim_mirror *mirror = broker->mirror;
	struct mirror_call *call;
	uint32_t number;

	if ((ask->kind != BRK_ASK_CLAIM && ask->kind != BRK_ASK_ANSWER) ||
		!sim_keyed_is(sim, ask->key.id, 16, &number))
		return;
	if (ask->kind == BRK_ASK_ANSWER) {
		call = find_keyed(mirror, number, ask->key.run);
		if (call && call->state == MIRROR_WAITS) /* maybe given up: nobody says */
			mirror->flows[call->service].shed_ms = sim->now_ms;
		if (call)
			call->state = MIRROR_ANSWERS;
		return;
	}
	for (call = mirror->calls; call; call = call->hh.next)
		if (call->keyed && call->name.slot == SIM_KEYED_SLOT + number) {
			mirror_flow_took(sim, broker, call);
			call->state = MIRROR_CLAIMS;
			call->ticket = ask->ticket;
		}
}

static void item_action(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn,
	const struct brk_action *a)
{
	switch (a->message) {
	case PIRN__KIND__DISPATCH:
		dispatched(sim, broker, conn, a);
		break;
	case PIRN__KIND__CANCEL:
		told_to_stop(sim, broker, conn, &a->item);
		break;
	case PIRN__KIND__REFUSED:
		refused(sim, broker, conn, &a->item);
		break;
	case PIRN__KIND__REPLY:
		replied(sim, broker, conn, &a->item);
		break;
	case PIRN__KIND__ANSWER:
		mirror_guard_answer(sim, broker, a);
		break;
	default:
		break;
	}
}

static void forgotten(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn)
{
	leave(sim, broker, conn, broker->mirror->cause.kind == SIM_IN_MESSAGE);
}

void sim_mirror_action(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn,
	const struct brk_action *a)
{
	struct sim_mirror *mirror = broker->mirror;

	if (a->kind == BRK_LOG)
		mirror_guard_log(sim, broker, a);
	if (a->kind == BRK_KEEP_SERVICE) {
		announced(mirror, a->entry);
		mirror_guard_kept(sim, broker, a->entry);
	}
	if (a->kind == BRK_ASK)
		asks(sim, broker, &a->ask);
	if (!conn)
		return;
	if (a->kind == BRK_SEND_ITEM)
		item_action(sim, broker, conn, a);
	if (a->kind == BRK_FORGET)
		forgotten(sim, broker, conn);
	if (a->kind == BRK_SEND_CONTROL && a->message == PIRN__KIND__WELCOME &&
		!((const Pirn__Welcome *)(const void *)a->control)->refused)
		conn->member = mirror->welcome;
}

/* ---- the end of an input ------------------------------------------------------------------- */

/* What was pending and is not answered waits. */
static void settle(struct sim *sim, struct sim_broker *broker)
{
	struct sim_mirror *mirror = broker->mirror;
	struct mirror_call *call, *next;

	HASH_ITER (hh, mirror->calls, call, next) {
		bool came = call->state == MIRROR_NEW ||
			    (call->state == MIRROR_CLAIMS && call == told_call(mirror));

		if (!came && call->state != MIRROR_PENDING)
			continue;
		if (call->state == MIRROR_NEW && call->service >= 0)
			mirror_flow_took(sim, broker, call);
		if (call->state == MIRROR_PENDING && call->service >= 0 &&
			call->end != MIRROR_UNRUN)
			mirror_flow_again(sim, broker, call);
		call->returned = call->state == MIRROR_PENDING && call->end != MIRROR_ANSWERED &&
				 call->end != MIRROR_LATE;
		call->state = MIRROR_WAITS;
		call->copies = 1;
		call->queued_ms = call->clock_ms = sim->now_ms;
		if (came && call->service >= 0)
			mirror->flows[call->service].came = true;
		if (call->service >= 0)
			mirror_flow_waits(sim, broker, call);
	}
}

static void compare(struct sim *sim, struct sim_broker *broker)
{
	struct sim_mirror *mirror = broker->mirror;
	struct brk_figures f;

	brk_core_figures(broker->core, &f);
	SIM_CHECK(sim, f.waiting == count(mirror, -1, MIRROR_WAITS),
		"%llu calls wait in broker %u, and %u should", (unsigned long long)f.waiting,
		broker->index, count(mirror, -1, MIRROR_WAITS));
	SIM_CHECK(sim, f.running == HASH_COUNT(mirror->runs),
		"%llu runs in broker %u, and %u should", (unsigned long long)f.running,
		broker->index, HASH_COUNT(mirror->runs));
}

void sim_mirror_after(struct sim *sim, struct sim_broker *broker)
{
	struct sim_mirror *mirror = broker->mirror;

	wake(sim, mirror); /* the first of an input that has no cause, too */
	mirror->due_ms = brk_core_due(broker->core);
	if (mirror->cause.kind != SIM_IN_END) {
		settle(sim, broker);
		compare(sim, broker);
		mirror_guard_after(sim, broker);
		mirror_flow_after(sim, broker);
	}
	mirror->cause = (struct sim_cause){ SIM_IN_OTHER, NULL, NULL, NULL, NULL };
	mirror->set_service = -1;
}

bool sim_mirror_is_calm(const struct sim *sim)
{
	for (unsigned b = 0; b < sim->n_brokers; b++) {
		const struct sim_mirror *mirror = sim->brokers[b].mirror;

		for (int s = 0; s < SIM_SERVICES; s++)
			if (!mirror || mirror->guards[s].force ||
				(mirror->guards[s].state != BASE_BREAKER_CLOSED &&
					s < (int)SIM_ADDRESSED)) /* nobody can ask the other */
				return false;
	}
	return true;
}
