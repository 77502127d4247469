/* Clients and their events. A client numbers its events in a lane; whatever happens to a
 * connection, an event without a decision is sent again, to any broker, with the same lane
 * and number, until the client does not wait any more.
 */
#include "tests/sim/events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "tests/sim/sim.h"

#define MAGIC       0x45564e54u
#define MAX_PAYLOAD 512
#define KEY_MS      3600000u
#define MARK_SIZE   8u

/* An id that a broker made. */
struct sim_name {
	UT_hash_handle hh;
	uint8_t id[16];
	uint32_t first;
};

uint32_t sim_event_first(const struct sim *sim, uint32_t number)
{
	const struct sim_event *e = &sim->events[number];

	return e->fan > 0 ? number - e->service : number;
}

void sim_event_id(const struct sim *sim, uint32_t number, uint8_t id[16])
{
	uint32_t magic = MAGIC, first = number;

	memset(id, 0, 16);
	if (number < sim->n_events) {
		first = sim_event_first(sim, number);
		id[8] = sim->events[number].fan > 0;
	}
	memcpy(id, &magic, sizeof magic);
	memcpy(id + 4, &first, sizeof first);
	if (number < sim->n_events && sim->events[first].named)
		memcpy(id, sim->events[first].id, 16);
}

/* A made one begins as the id does from which it was made, and has no zeros at its end. */
static bool is_plain(const uint8_t id[16])
{
	static const uint8_t zeros[7];
	uint32_t magic;

	memcpy(&magic, id, sizeof magic);
	return magic == MAGIC && memcmp(id + 9, zeros, sizeof zeros) == 0;
}

bool sim_event_has_id(
	const struct sim *sim, const uint8_t id[16], const char *service, uint32_t *number)
{
	int s = sim_service(service);
	const struct sim_name *name;
	bool fanned = id[8] == 1;

	memcpy(number, id + 4, sizeof *number);
	if (!is_plain(id)) {
		HASH_FIND(hh, sim->names, id, 16, name);
		if (!name)
			return false;
		*number = name->first;
		fanned = sim->events[name->first].fan > 0;
	}
	if (fanned && s > 0)
		*number += (uint32_t)s;
	return true;
}

bool sim_event_is(const struct sim *sim, const Pirn__Item *item, uint32_t *number)
{
	return item->has_id && item->id.len == 16 &&
	       sim_event_has_id(sim, item->id.data, item->service, number);
}

void sim_event_name(struct sim *sim, uint32_t number, const uint8_t id[16])
{
	uint32_t first = sim_event_first(sim, number);
	struct sim_event *e = &sim->events[first];
	struct sim_name *name;

	SIM_CHECK(sim, !e->named, "event %u has another id than in the attempt before", number);
	name = calloc(1, sizeof *name);
	e->named = true;
	memcpy(e->id, id, 16);
	memcpy(name->id, id, 16);
	name->first = first;
	HASH_ADD(hh, sim->names, id, sizeof name->id, name);
}

void sim_events_fini(struct sim *sim)
{
	struct sim_name *name, *next;

	HASH_ITER (hh, sim->names, name, next) {
		HASH_DEL(sim->names, name);
		free(name);
	}
	free(sim->events);
}

uint32_t sim_event_family(const struct sim *sim, uint32_t number)
{
	return sim->events[number].fan > 0 ? sim->events[number].fan : 1;
}

/* They wait for one answer: what the first one's state is, all have. */
static void follow(struct sim *sim, uint32_t number)
{
	const struct sim_event *e = &sim->events[number];

	for (uint32_t i = 1; i < sim_event_family(sim, number); i++) {
		struct sim_event *other = &sim->events[number + i];

		other->state = e->state;
		other->submissions = e->submissions;
	}
}

static bool is_first(const struct sim *sim, uint32_t number)
{
	return sim_event_first(sim, number) == number;
}

uint64_t sim_mix(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t x = a * 0x9e3779b97f4a7c15u ^ b * 0xbf58476d1ce4e5b9u ^ c * 0x94d049bb133111ebu;

	x ^= x >> 31;
	x *= 0xff51afd7ed558ccdu;
	return x ^ x >> 29;
}

/* ---- making */

static uint32_t next_number(struct sim *sim)
{
	uint32_t number = sim->n_events++;

	if (number >= sim->events_room) {
		sim->events_room = sim->events_room ? sim->events_room * 2 : 256;
		sim->events = realloc(sim->events, sim->events_room * sizeof *sim->events);
	}
	return number;
}

/* In every fourth run: the others are for what has room to happen only where services have less to do. */
static bool fans(const struct sim *sim)
{
	return sim->seed % 4 == 1;
}

const char *sim_fan_type(unsigned n)
{
	static const char *const types[SIM_FAN + 1] = { "fan0.out", "fan1.out", "fan2.out",
		"fan3.out" };

	return types[n];
}

const char *sim_fan_pattern(unsigned n)
{
	static const char *const patterns[SIM_FAN + 1] = { "fan0.*", "fan1.*", "fan2.*", "fan3.*" };

	return patterns[n];
}

/* Several deliveries, which are alike but for their service. Keys are the services' own here. */
static void fan_out(struct sim *sim, uint32_t number, unsigned n)
{
	sim->events[number].fan = n;
	sim->events[number].service = 0;
	sim->events[number].key = 0;
	for (uint32_t i = 1; i < n; i++) {
		uint32_t other = next_number(sim);

		sim->events[other] = sim->events[number];
		sim->events[other].service = i;
	}
}

static bool runs_send(const struct sim *sim)
{
	return sim->seed % 4 >= 2;
}

bool sim_callback_of_service(const struct sim *sim, unsigned service)
{
	return service == SIM_CALLBACK || (service == SIM_FAN && sim->seed % 3 == 0);
}

static uint32_t new_event(struct sim *sim, struct sim_proc *proc, bool must_succeed, bool may_fan)
{
	struct sim_event *e;
	uint32_t number = next_number(sim);

	if (proc->lane == 0 || sim_chance(sim, 3)) {
		proc->lane = 1 + sim_below(sim, UINT64_MAX - 1);
		proc->lane_number = sim_chance(sim, 10) ? 65530 : 0;
	}
	e = &sim->events[number];
	*e = (struct sim_event){
		.client = proc,
		.client_life = proc->life,
		.service = (unsigned)sim_below(sim, SIM_ADDRESSED),
		.lane = proc->lane,
		.number = ++proc->lane_number,
		.must_succeed = must_succeed,
		.made_ms = sim_server_now(sim),
		.size = (uint32_t)sim_below(sim, sim_chance(sim, 10) ? MAX_PAYLOAD : 64),
		.poison = !must_succeed && sim_chance(sim, (unsigned)sim->poison_percent),
	};
	e->give_up_at = sim->now_ms + (must_succeed ? 600000 : sim_between(sim, 100, 60000));
	e->flags = PIRN__ITEM_FLAG__EVENT;
	if (sim_chance(sim, 50))
		e->flags |= PIRN__ITEM_FLAG__WANT_RESULT;
	if (!must_succeed && sim_chance(sim, 8))
		e->flags |= PIRN__ITEM_FLAG__ACK_MEMORY;
	if (!must_succeed && sim_chance(sim, 12)) {
		e->key = 1 + (uint32_t)sim_below(sim, SIM_EVENT_KEYS);
		e->body = (uint32_t)sim_below(sim, 10) == 0;
	}
	if (sim_chance(sim, 10))
		e->delay_ms = sim_below(sim, 3000);
	e->callback = sim_chance(sim, 12);
	if (!must_succeed && runs_send(sim) && sim_chance(sim, 4)) {
		e->hops = (uint32_t)sim_between(sim, SIM_HOPS - 4, SIM_HOPS + 2);
		e->loops = true;
	}
	if (may_fan && fans(sim) && sim_chance(sim, 25))
		fan_out(sim, number, 1 + (unsigned)sim_below(sim, SIM_FAN));
	return number;
}

/* ---- what runs send */

/* In two of four runs, every fifth event, down to its grandchildren; and those in a circle. */
unsigned sim_event_sends(const struct sim *sim, uint32_t number)
{
	const struct sim_event *e = &sim->events[number];

	if (e->loops)
		return 1;
	/* Where there is no room for it, or nobody of that name yet, its run has failed. */
	if (!runs_send(sim) || e->must_succeed || e->generations >= 2 || e->tells > 0 ||
		sim_mix(number, sim->seed, 7) % 5 != 0)
		return 0;
	return 1 + (unsigned)(sim_mix(number, sim->seed, 8) % SIM_SENDS);
}

/* Half of those for a service go to the same one: what others know of it, its broker may not yet. */
static void address(struct sim *sim, uint32_t number, uint32_t child, unsigned i)
{
	struct sim_event *e = &sim->events[child];
	uint64_t dice = sim_mix(number, i, 9);
	unsigned n = (unsigned)(dice / 16 % (SIM_FAN + 1));

	if (e->loops)
		e->service = (e->service + 1) % SIM_ADDRESSED;
	else if (dice % 16 < 5 && n == 0)
		e->nobody = true;
	else if (dice % 16 < 5)
		fan_out(sim, child, n);
	else if (dice % 2)
		e->service = (unsigned)(dice / 16 % SIM_ADDRESSED);
}

uint32_t sim_event_child(struct sim *sim, uint32_t number, unsigned i)
{
	struct sim_event *e;
	uint32_t child;

	if (sim->events[number].sends[i] > 0)
		return sim->events[number].sends[i] - 1;
	child = next_number(sim);
	e = &sim->events[number];
	sim->events[child] = (struct sim_event){ .state = EVENT_SENT_BY_RUN,
		.service = e->service,
		.parent = number + 1,
		.generations = e->generations + 1,
		.hops = 1 + (e->hops < SIM_HOPS ? e->hops : SIM_HOPS), /* more, and it was redriven */
		.loops = e->loops,
		.unnamed = sim_mix(number, i, 10) % 2,
		.made_ms = sim_server_now(sim),
		.flags = PIRN__ITEM_FLAG__EVENT,
		.size = MARK_SIZE + (uint32_t)sim_below(sim, 64) };
	address(sim, number, child, i);
	sim->events[number].sends[i] = child + 1;
	return child;
}

bool sim_event_fans(struct sim *sim, uint32_t number)
{
	for (unsigned i = 0; i < sim_event_sends(sim, number); i++) {
		uint32_t child = sim_event_child(sim, number, i); /* the book may move */

		if (sim->events[child].fan > 0)
			return true;
	}
	return false;
}

bool sim_event_sends_badly(const struct sim *sim, uint32_t number, uint32_t attempt)
{
	return !sim->calm && sim_event_sends(sim, number) > 0 &&
	       sim_mix(number, attempt, 11) % 8 == 0;
}

/* What its broker has to name says itself who it is. */
void sim_event_payload(const struct sim *sim, uint32_t number, uint8_t *out)
{
	uint32_t first = sim_event_first(sim, number), mark[2] = { first, MAGIC };

	sim_book_payload(first, sim->events[first].size, false, out);
	if (sim->events[first].unnamed)
		memcpy(out, mark, sizeof mark);
}

bool sim_event_said(const struct sim *sim, const uint8_t *payload, size_t size, uint32_t *number)
{
	uint32_t mark[2];

	if (size < sizeof mark)
		return false;
	memcpy(mark, payload, sizeof mark);
	*number = mark[0];
	return mark[1] == MAGIC && mark[0] < sim->n_events && sim->events[mark[0]].unnamed;
}

uint32_t sim_event_callback(struct sim *sim, uint32_t parent, uint32_t size)
{
	uint32_t number = next_number(sim);

	sim->events[number] = (struct sim_event){ .state = EVENT_SENT_BY_RUN,
		.service = SIM_CALLBACK,
		.tells = parent + 1,
		.made_ms = sim_server_now(sim),
		.flags = PIRN__ITEM_FLAG__EVENT,
		.size = size };
	return number;
}

uint32_t sim_event_of_call(struct sim *sim, uint32_t call)
{
	uint32_t number = next_number(sim);

	sim->events[number] = (struct sim_event){ .state = EVENT_SENT_BY_RUN,
		.service = sim->calls[call].service,
		.caller = call + 1,
		.generations = 1,
		.hops = 1,
		.made_ms = sim_server_now(sim),
		.flags = PIRN__ITEM_FLAG__EVENT,
		.size = MARK_SIZE + (uint32_t)sim_below(sim, 64) };
	return number;
}

/* ---- sending */

static void add_key(const struct sim_event *e, struct sim_item *item)
{
	if (!e->key)
		return;
	snprintf(item->key, sizeof item->key, "key-%u", e->key);
	memset(item->hash, (int)e->body, sizeof item->hash);
	item->pb.has_key = item->pb.has_hash = true;
	item->pb.key = (ProtobufCBinaryData){ strlen(item->key), (uint8_t *)item->key };
	item->pb.has_key_ttl_ms = e->key % 2 == 0; /* of one key, always or never */
	item->pb.key_ttl_ms = item->pb.has_key_ttl_ms ? KEY_MS : 0;
	item->pb.hash = (ProtobufCBinaryData){ 16, item->hash };
}

static void add_slot(const struct sim_event *e, struct sim_item *item)
{
	if (!e->slot.is)
		return;
	item->pb.timer = (char *)(uintptr_t)sim_timer_name(e->slot.timer);
	item->pb.has_previous_ms = item->pb.has_slot_ms = true;
	item->pb.previous_ms = e->slot.previous_ms;
	item->pb.slot_ms = e->slot.slot_ms;
}

static void add_item(struct sim *sim, struct sim_message *m, uint32_t number)
{
	struct sim_event *e = &sim->events[number];
	uint8_t payload[MAX_PAYLOAD], id[16];
	struct sim_item *item;
	uint32_t meta = (uint32_t)sim_below(sim, e->size + 1);

	sim_event_payload(sim, number, payload);
	item = sim_message_item(m, payload, meta, e->size - meta);
	sim_event_id(sim, number, id);
	sim_item_id(item, id, sizeof id);
	item->pb.has_hops = e->hops > 0;
	item->pb.hops = e->hops;
	if (e->callback)
		item->pb.callback = (char *)(uintptr_t)SIM_CALLBACK_URL;
	if (e->fan > 0)
		item->pb.type = (char *)(uintptr_t)sim_fan_type(e->fan);
	else
		sim_item_service(item, sim_services[e->service]);
	e->generation = (uint32_t)sim_below(sim, UINT32_MAX);
	item->pb.has_slot = item->pb.has_generation = item->pb.has_left_ms = true;
	item->pb.has_flags = item->pb.has_lane = item->pb.has_number = true;
	item->pb.slot = SIM_EVENT_SLOT + number;
	item->pb.generation = e->generation;
	item->pb.left_ms = (uint32_t)(e->give_up_at - sim->now_ms);
	item->pb.flags = e->flags;
	item->pb.lane = e->lane;
	item->pb.number = e->number;
	item->pb.has_delay_ms = e->delay_ms > 0;
	item->pb.delay_ms = e->delay_ms;
	add_key(e, item);
	add_slot(e, item);
}

static void give_up_event(struct sim *sim, void *arg, uint64_t number)
{
	struct sim_event *e = &sim->events[number];

	(void)arg;
	if (e->state != EVENT_SENT && e->state != EVENT_WAITS)
		return;
	e->state = EVENT_UNKNOWN;
	follow(sim, (uint32_t)number);
	sim_timers_answered(sim, (uint32_t)number, 0, NULL);
}

static void send_one(struct sim *sim, struct sim_conn *conn, struct sim_message *m, uint32_t number)
{
	struct sim_event *e = &sim->events[number];

	add_item(sim, m, number);
	e->state = EVENT_SENT;
	e->conn = conn;
	e->session = conn->session;
	e->submissions++;
	follow(sim, number);
}

void sim_event_submit(struct sim *sim, struct sim_conn *conn, unsigned n, bool must_succeed)
{
	struct sim_message *m = sim_message_new(PIRN__KIND__SUBMIT);
	bool together = fans(sim) && sim_chance(sim, 20);

	for (; n > 0; n--) {
		uint32_t number = new_event(sim, conn->proc, must_succeed, conn->fans);

		if (together && n > 1)
			sim->events[number].flags |= PIRN__ITEM_FLAG__TOGETHER;
		send_one(sim, conn, m, number);
		sim_at(sim, sim->events[number].give_up_at, give_up_event, NULL, number);
	}
	sim_send(sim, conn, TO_BROKER, m);
}

/* ---- again */

static struct sim_conn *any_link(struct sim *sim, const struct sim_proc *proc, bool fans)
{
	unsigned first = (unsigned)sim_below(sim, sim->n_brokers);

	for (unsigned i = 0; i < sim->n_brokers; i++) {
		struct sim_conn *conn = proc->conns[(first + i) % sim->n_brokers];

		if (conn && conn->phase == SIM_UP && !conn->draining && (conn->fans || !fans))
			return conn;
	}
	return NULL;
}

/* With ACK_MEMORY or without: a slot is on disk before it is ACCEPTED. */
bool sim_event_submit_slot(
	struct sim *sim, struct sim_proc *proc, const struct sim_slot *slot, uint32_t *number)
{
	struct sim_conn *conn = any_link(sim, proc, false);
	struct sim_message *m;
	struct sim_event *e;

	if (!conn)
		return false;
	*number = new_event(sim, proc, false, false);
	e = &sim->events[*number];
	e->slot = *slot;
	e->service = sim_timer_service(sim, slot->timer);
	e->key = 0;
	e->delay_ms = 0;
	e->callback = false;
	if (slot->skip) {
		e->flags |= PIRN__ITEM_FLAG__SKIP_SLOT;
		e->size = 0;
	}
	m = sim_message_new(PIRN__KIND__SUBMIT);
	send_one(sim, conn, m, *number);
	sim_at(sim, e->give_up_at, give_up_event, NULL, *number);
	sim_send(sim, conn, TO_BROKER, m);
	return true;
}

static void again_event(struct sim *sim, void *arg, uint64_t number)
{
	struct sim_event *e = &sim->events[number];
	struct sim_message *m;
	struct sim_conn *conn;

	(void)arg;
	if (e->state != EVENT_WAITS || !e->client->alive || e->client->life != e->client_life)
		return;
	conn = e->client->paused_until > sim->now_ms ? NULL : any_link(sim, e->client, e->fan > 0);
	if (!conn || e->give_up_at <= sim->now_ms) {
		sim_at(sim, sim->now_ms + 50, again_event, NULL, number);
		return;
	}
	m = sim_message_new(PIRN__KIND__SUBMIT);
	send_one(sim, conn, m, (uint32_t)number);
	sim_send(sim, conn, TO_BROKER, m);
}

static void again(struct sim *sim, uint32_t number)
{
	sim->events[number].state = EVENT_WAITS;
	follow(sim, number);
	sim_at(sim, sim->now_ms + sim_below(sim, 120), again_event, NULL, number);
}

static void again_later(struct sim *sim, uint32_t number)
{
	sim->events[number].state = EVENT_WAITS;
	follow(sim, number);
	sim_at(sim, sim->now_ms + sim_between(sim, 500, 2000), again_event, NULL, number);
}

void sim_event_lost(struct sim *sim, struct sim_conn *conn)
{
	for (uint32_t i = 0; i < sim->n_events; i++) {
		struct sim_event *e = &sim->events[i];

		if (is_first(sim, i) && e->state == EVENT_SENT && e->conn == conn &&
			e->session == conn->session)
			again(sim, i);
	}
}

void sim_event_client_died(struct sim *sim, struct sim_proc *proc)
{
	proc->lane = 0;
	for (uint32_t i = 0; i < sim->n_events; i++) {
		struct sim_event *e = &sim->events[i];

		if (e->client == proc && (e->state == EVENT_SENT || e->state == EVENT_WAITS))
			e->state = EVENT_UNKNOWN;
	}
}

/* ---- decisions */

/* The event that an ACCEPTED promises: its own, or the key's first. */
static uint32_t promised(struct sim *sim, uint32_t number, const Pirn__Item *item)
{
	uint32_t first;
	const struct sim_event *e = &sim->events[number];

	if (!(item->flags & PIRN__ITEM_FLAG__REPLAYED))
		return number;
	SIM_CHECK(sim, e->key, "event %u is REPLAYED and has no key", number);
	SIM_CHECK(sim, sim_event_is(sim, item, &first) && first < sim->n_events,
		"event %u is REPLAYED as none of ours", number);
	SIM_CHECK(sim, sim->events[first].key == e->key && sim->events[first].service == e->service,
		"event %u is REPLAYED as %u, which has another key", number, first);
	return first;
}

/* I9: it is in Redis by now. */
static void check_accepted(
	struct sim *sim, uint32_t number, uint32_t first, const struct sim_event *e)
{
	struct sim_note note = sim_event_note(sim, first);
	bool memory = (e->flags & PIRN__ITEM_FLAG__ACK_MEMORY) && !e->key;

	SIM_CHECK(sim, note.live + (note.end != END_NONE) > 0 || memory,
		"event %u is ACCEPTED and %u is not in Redis", number, first);
	if (e->fan > 0 || first == number)
		sim->events[first].promised = sim->events[first].promised || !memory;
}

void sim_event_decided(struct sim *sim, const struct brk_action *a)
{
	uint32_t number = a->item.slot - SIM_EVENT_SLOT, first;
	const struct sim_event *e = &sim->events[number];

	sim_trace(sim, "event %u: kind %u, reason %u", number, a->message, a->item.reason);
	SIM_CHECK(sim, number < sim->n_events, "an answer to no event");
	SIM_CHECK(sim, a->message != PIRN__KIND__REPLY, "event %u gets a REPLY", number);
	SIM_CHECK(
		sim, a->item.reason != PIRN__REASON__NO_WORKER, "event %u lacks a worker", number);
	sim_timers_decided(sim, number, a);
	if (a->message != PIRN__KIND__ACCEPTED || e->slot.skip)
		return;
	first = promised(sim, number, &a->item);
	for (uint32_t i = 0; i < sim_event_family(sim, number); i++)
		check_accepted(sim, number, first + i, e);
}

void sim_event_answered(
	struct sim *sim, struct sim_conn *conn, uint32_t kind, const Pirn__Item *item)
{
	uint32_t number = item->slot - SIM_EVENT_SLOT;
	struct sim_event *e = &sim->events[number];

	SIM_CHECK(sim, number < sim->n_events, "an answer to no event");
	if (e->state == EVENT_UNKNOWN)
		return;
	SIM_CHECK(sim,
		e->state == EVENT_SENT && e->conn == conn && e->session == conn->session &&
			e->generation == item->generation,
		"an answer to event %u, which does not wait for it", number);
	if (kind == PIRN__KIND__ACCEPTED)
		e->state = EVENT_ACCEPTED;
	else if (item->reason == PIRN__REASON__MOVED)
		again(sim, number);
	else if (e->must_succeed && (item->reason == PIRN__REASON__QUEUE_FULL ||
					    item->reason == PIRN__REASON__OVERLOADED))
		again_later(sim, number); /* the backlog of the troubles has to go first */
	else if (e->must_succeed && e->submissions < 50)
		again(sim, number);
	else
		e->state = item->reason == PIRN__REASON__UNDECIDED ? EVENT_UNKNOWN : EVENT_REFUSED;
	follow(sim, number);
	if (e->state != EVENT_WAITS)
		sim_timers_answered(sim, number, kind, item);
}

/* ---- dispatches */

/* Its run is the one that Redis's entry wants, not an earlier one, and not before its time. A broker
 * that was adopted and does not know may be behind; one that ran from memory is ahead of all. */
static void check_turn(struct sim *sim, uint32_t number, const Pirn__Item *item)
{
	const struct sim_event *e = &sim->events[number];
	struct sim_note note = sim_event_note(sim, number);
	uint32_t attempts = sim->retries[e->service].attempts;

	attempts += (uint32_t)__builtin_popcountll(e->dry);
	SIM_CHECK(sim, note.redriven > 0 || item->attempt <= attempts,
		"event %u runs as attempt %u of %u", number, item->attempt, attempts);
	if (note.live == 0)
		return;
	SIM_CHECK(sim, item->attempt <= note.attempt,
		"event %u runs as attempt %u, and Redis has %u as the next", number, item->attempt,
		note.attempt);
	SIM_CHECK(sim, item->attempt < note.attempt || sim_server_now(sim) >= note.not_before_ms,
		"event %u runs %llu ms before its time", number,
		(unsigned long long)(note.not_before_ms - sim_server_now(sim)));
}

/* Step 5. */
static void check_lease(struct sim *sim, uint32_t number, const Pirn__Item *item)
{
	uint64_t timeout = sim->manifests[sim->events[number].service].timeout_ms;

	SIM_CHECK(sim, item->epoch < sim->n_beats, "event %u runs under no epoch", number);
	SIM_CHECK(sim, item->lease_end_ms <= sim->beats[item->epoch] + 3000 + timeout + 1000,
		"event %u runs with a lease beyond what its broker's last beat allows", number);
}

void sim_event_dispatched(struct sim *sim, const struct brk_action *a)
{
	uint32_t number;
	struct sim_event *e;

	if (!(a->item.flags & PIRN__ITEM_FLAG__EVENT) || !sim_event_is(sim, &a->item, &number) ||
		number >= sim->n_events)
		return;
	e = &sim->events[number];
	SIM_CHECK(sim, a->item.flags & PIRN__ITEM_FLAG__RECORD, "event %u runs without records",
		number);
	SIM_CHECK(sim, a->item.attempt >= 1 && a->item.epoch >= 1 && a->item.lease_end_ms > 0,
		"event %u runs without a token", number);
	sim_trace(sim, "event %u is dispatched, attempt %u of epoch %u", number, a->item.attempt,
		a->item.epoch);
	SIM_CHECK(sim, e->hops <= SIM_HOPS || sim_event_note(sim, number).redriven > 0,
		"event %u runs, and came through %u runs", number, e->hops);
	check_turn(sim, number, &a->item);
	check_lease(sim, number, &a->item);
	if (a->item.lease_end_ms > e->fence_ms)
		e->fence_ms = a->item.lease_end_ms;
	if (a->item.attempt > e->attempt)
		e->attempt = a->item.attempt;
}

/* ---- questions */

static void ask_about(struct sim *sim, Pirn__Query *query, uint8_t *id)
{
	uint32_t number = INT32_MAX, n = sim->n_events < 200 ? sim->n_events : 200;

	if (n > 0)
		number = sim->n_events - 1 - (uint32_t)sim_below(sim, n);
	if (query->what >= PIRN__QUERY_KIND__DEAD_GET)
		(void)sim_events_any_letter(sim, &number);
	sim_event_id(sim, number, id);
	query->has_id = true;
	query->id = (ProtobufCBinaryData){ 16, id };
	if (number < sim->n_events) {
		query->service = (char *)(uintptr_t)sim_services[sim->events[number].service];
		for (uint32_t i = 0; query->what == PIRN__QUERY_KIND__CANCEL_INVOCATION &&
				     i < sim_event_family(sim, number);
			i++)
			sim->events[sim_event_first(sim, number) + i].cancelled = true;
	}
}

struct sim_message *sim_event_question(struct sim *sim)
{
	static const uint32_t kinds[] = { PIRN__QUERY_KIND__INVOCATION,
		PIRN__QUERY_KIND__INVOCATION, PIRN__QUERY_KIND__INVOCATIONS,
		PIRN__QUERY_KIND__CANCEL_INVOCATION, PIRN__QUERY_KIND__DEAD_LIST,
		PIRN__QUERY_KIND__DEAD_GET, PIRN__QUERY_KIND__DEAD_REDRIVE,
		PIRN__QUERY_KIND__DEAD_REDRIVE, PIRN__QUERY_KIND__DEAD_PURGE };
	struct sim_message *m = sim_message_new(PIRN__KIND__QUERY);
	Pirn__Query query = PIRN__QUERY__INIT;
	ProtobufCBinaryData ids[1];
	uint8_t bytes[256], id[16];

	query.has_what = true;
	query.what = kinds[sim_below(sim, sizeof kinds / sizeof *kinds)];
	ask_about(sim, &query, id);
	ids[0] = query.id;
	query.n_ids = 1;
	query.ids = ids;
	query.has_wait_ms = sim_chance(sim, 50);
	query.wait_ms = (uint32_t)sim_below(sim, 4000);
	sim_message_item(m, bytes, 0, (uint32_t)pirn__query__pack(&query, bytes))->pb.slot =
		UINT32_MAX;
	return m;
}

/* I9: an end is told of when it is in Redis. */
void sim_event_told(struct sim *sim, const Pirn__Answer *answer)
{
	for (size_t i = 0; i < answer->n_invocations; i++) {
		const Pirn__Invocation *inv = answer->invocations[i];
		uint32_t number;

		if (inv->id.len != 16 || !sim_event_has_id(sim, inv->id.data, inv->service, &number) ||
			number >= sim->n_events)
			continue;
		SIM_CHECK(sim,
			inv->state < PIRN__INVOCATION_STATE__DONE ||
				sim_event_note(sim, number).ends > 0,
			"event %u is said to have ended, and has not", number);
	}
}
