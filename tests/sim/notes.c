/* What Redis holds of each event, noted as the Functions change it, and the invariants of
 * the delivery protocol on it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ulid.h"
#include "tests/sim/events.h"
#include "tests/sim/sim.h"

#define CLOCK_LAG_MS 4000 /* how far a broker's idea of Redis's time may be behind */

#define KEPT_DEATHS 2 /* most that a redriven letter begins with */

#define FOREIGN UINT32_MAX /* a liar's event: it counts for the streams, and for nothing else */

static const struct store_arg events_key = { "sim:event", 9 };

static struct store_arg field_of(const uint32_t *number)
{
	return (struct store_arg){ number, sizeof *number };
}

static struct sim_note load(struct sim *sim, uint32_t number)
{
	struct sim_note note = { 0 };
	struct store_arg value;

	if (sim_keys_get(&sim->server.redis.keys, events_key, field_of(&number), &value))
		memcpy(&note, value.data, sizeof note);
	return note;
}

struct sim_note sim_event_note(struct sim *sim, uint32_t number)
{
	return load(sim, number);
}

static void store(struct sim *sim, uint32_t number, const struct sim_note *note)
{
	sim_keys_set(&sim->server.redis.keys, events_key, field_of(&number),
		(struct store_arg){ note, sizeof *note });
}

static void touch(struct sim *sim, uint32_t number)
{
	if (sim->n_touched == sim->touched_room) {
		sim->touched_room = sim->touched_room ? sim->touched_room * 2 : 64;
		sim->touched = realloc(sim->touched, sim->touched_room * sizeof *sim->touched);
	}
	sim->touched[sim->n_touched++] = number;
}

static uint32_t number_of(const struct sim *sim, const uint8_t *id, const char *service)
{
	uint32_t number;

	return sim_event_has_id(sim, id, service, &number) && number < sim->n_events ? number
										    : FOREIGN;
}

/* ---- entries */

struct bits_key {
	char text[80];
};

static struct store_arg bits_key(
	struct bits_key *out, uint32_t journal, uint32_t epoch, uint64_t turn)
{
	int n = snprintf(out->text, sizeof out->text, "sim:bits:%u:%u-%llu", journal, epoch,
		(unsigned long long)turn);

	return (struct store_arg){ out->text, (size_t)n };
}

struct stander {
	uint32_t number, attempt, budget, hops;
	uint64_t not_before_ms;
	bool callback;
	struct store_arg payload; /* data NULL: it is not known */
};

/* What a callback says, or nothing. */
struct said {
	uint8_t id[16];
	char service[64], state[16];
};

static bool read_word(const char *text, const char *name, char *out, size_t room)
{
	char mark[24];
	const char *at;
	size_t n;

	snprintf(mark, sizeof mark, "\"%s\":\"", name);
	at = strstr(text, mark);
	n = at ? strcspn(at += strlen(mark), "\"") : room;
	if (n >= room)
		return false;
	memcpy(out, at, n);
	out[n] = '\0';
	return true;
}

static struct said read_callback(struct sim *sim, struct store_arg data)
{
	struct said said;
	char text[1024], id[64];
	size_t n = data.size < sizeof text - 1 ? data.size : sizeof text - 1;

	memcpy(text, data.data, n);
	text[n] = '\0';
	SIM_CHECK(sim,
		read_word(text, "id", id, sizeof id) && base_ulid_parse(id, said.id) &&
			read_word(text, "service", said.service, sizeof said.service) &&
			read_word(text, "state", said.state, sizeof said.state),
		"a callback that says nothing");
	return said;
}

/* A new one: of whose end it tells stands in it. */
static uint32_t meet_callback(struct sim *sim, const Pirn__JournalEvent *e, struct store_arg payload)
{
	struct said said = read_callback(sim, (struct store_arg){
		(const uint8_t *)payload.data + e->meta_size, e->data_size });
	uint32_t parent = number_of(sim, said.id, said.service), number;

	if (parent == FOREIGN)
		return FOREIGN;
	SIM_CHECK(sim, sim->events[parent].tells == 0, "event %u tells of the end of a callback",
		parent);
	number = sim_event_callback(sim, parent, e->meta_size + e->data_size);
	sim_event_name(sim, number, e->id.data);
	return number;
}

/* Who comes for the first time under an id that its broker has made. */
static uint32_t meet(struct sim *sim, const Pirn__JournalEvent *e, const char *service,
	struct store_arg payload)
{
	uint32_t number = number_of(sim, e->id.data, service);

	if (number != FOREIGN || !payload.data)
		return number;
	if (sim_service(service) == (int)SIM_CALLBACK)
		return meet_callback(sim, e, payload);
	if (!sim_event_said(sim, payload.data, payload.size, &number))
		return FOREIGN;
	sim_event_name(sim, number, e->id.data);
	return number_of(sim, e->id.data, service);
}

/* A payload, when the body is there. */
static struct store_arg part_of(struct store_arg body, size_t at, const Pirn__JournalEvent *e)
{
	size_t size = (size_t)e->meta_size + e->data_size;

	if (!body.data || at + size > body.size)
		return (struct store_arg){ NULL, 0 };
	return (struct store_arg){ (const uint8_t *)body.data + at, size };
}

static struct stander stander_of(struct sim *sim, const Pirn__JournalEvent *e,
	const Pirn__JournalDelivery *d, struct store_arg payload)
{
	return (struct stander){ .number = meet(sim, e, d->service, payload),
		.attempt = d->has_attempt ? d->attempt : 1,
		.budget = d->budget > 0 ? d->budget : 1,
		.hops = e->hops,
		.not_before_ms = d->not_before_ms,
		.callback = e->callback != NULL,
		.payload = { (const uint8_t *)payload.data + (payload.data ? e->meta_size : 0),
			payload.data ? e->data_size : 0 } };
}

/* The events of an entry, by bit; a room of STORE_ENTRY_DELIVERIES. */
static size_t unpack(
	struct sim *sim, Pirn__JournalEntry *entry, struct store_arg body, struct stander *out)
{
	size_t n = 0, at = 0;

	SIM_CHECK(sim, entry && entry->n_events > 0, "an entry that is none");
	for (size_t i = 0; i < entry->n_events; i++) {
		const Pirn__JournalEvent *e = entry->events[i];
		struct store_arg payload = part_of(body, at, e);

		SIM_CHECK(sim, e->id.len == 16 && e->n_deliveries > 0, "an event without parts");
		for (size_t k = 0; k < e->n_deliveries; k++) {
			SIM_CHECK(sim, n < STORE_ENTRY_DELIVERIES, "an entry that is too long");
			out[n++] = stander_of(sim, e, e->deliveries[k], payload);
		}
		at += (size_t)e->meta_size + e->data_size;
	}
	return n;
}

/* One Idempotency-Key, one event. */
static void check_key(struct sim *sim, uint32_t number)
{
	const struct sim_event *e = &sim->events[number];
	struct store_arg key = { "sim:keys", 8 }, before;
	uint32_t field = e->key * SIM_SERVICES + e->service;

	SIM_CHECK(sim,
		e->key == 0 ||
			!sim_keys_get(&sim->server.redis.keys, key, field_of(&field), &before),
		"event %u is stored and is not the first of its key (DUP)", number);
	if (e->key > 0)
		sim_keys_set(&sim->server.redis.keys, key, field_of(&field), field_of(&number));
}

static bool has_bit(uint64_t bits, uint32_t attempt)
{
	return attempt < 64 && bits & UINT64_C(1) << attempt;
}

/* A run that failed for want of Redis is not counted; any other is. Who heard both of an attempt may
 * have gone by either. */
static void check_budget(
	struct sim *sim, const struct stander *stander, const struct sim_note *before)
{
	const struct sim_event *e = &sim->events[stander->number];
	bool dry = has_bit(e->dry, before->attempt), wet = has_bit(e->wet, before->attempt);
	uint32_t expected = before->budget + (stander->attempt > before->attempt && dry);

	/* What a run sends stands nowhere before. */
	if (before->stored == 0 || stander->attempt > before->attempt + 1 || (dry && wet))
		return;
	SIM_CHECK(sim, stander->budget == expected,
		"event %u has attempt %u next, which counts from %u on and not from %u",
		stander->number, stander->attempt, stander->budget, expected);
}

/* Hops grow by one, and a callback stays, whoever writes the event anew. A letter that was one hop too far
 * goes on at the last one. */
static void check_origin(
	struct sim *sim, const struct stander *stander, const struct sim_note *note)
{
	const struct sim_event *e = &sim->events[stander->number];

	SIM_CHECK(sim,
		stander->hops == e->hops ||
			(note->redriven > 0 && e->hops > SIM_HOPS && stander->hops == SIM_HOPS),
		"event %u came through %u runs, and its entry says %u", stander->number, e->hops,
		stander->hops);
	SIM_CHECK(sim, stander->callback == e->callback,
		"event %u has a callback, or has none, and its entry says otherwise",
		stander->number);
}

/* It is known which end of which delivery it tells of: that has just come to be. */
static void add_callback(struct sim *sim, const struct stander *stander)
{
	uint32_t number = sim->events[stander->number].tells - 1;
	struct said said = read_callback(sim, stander->payload);
	struct sim_note note = load(sim, number);

	SIM_CHECK(sim,
		(strcmp(said.state, "dead") == 0) == (note.end == END_LETTER) &&
			(!note.done || strcmp(said.state, "done") == 0),
		"event %u is said to be %s", number, said.state);
	note.told++;
	sim->seen.told++;
	store(sim, number, &note);
	touch(sim, number);
}

static void add_one(struct sim *sim, enum sim_change_kind kind, const struct stander *stander)
{
	uint32_t number = stander->number;
	struct sim_note note = load(sim, number);
	bool sent = sim->events[number].parent > 0 || sim->events[number].tells > 0;

	sim_trace(sim, "event %u stands in an entry (%d)", number, (int)kind);
	if (kind != SIM_ADDED && kind != SIM_REDRIVEN)
		check_budget(sim, stander, &note);
	check_origin(sim, stander, &note);
	note.live++;
	if (note.stored == 0 && sim->events[number].tells > 0)
		add_callback(sim, stander);
	/* What a run sends, and what tells of an end, comes with the settle of that. */
	note.stored += kind == SIM_ADDED || (kind == SIM_MOVED && note.stored == 0 && sent);
	note.attempt = stander->attempt;
	note.budget = stander->budget;
	note.not_before_ms = stander->not_before_ms;
	if (kind == SIM_ADDED)
		check_key(sim, number);
	if (kind == SIM_REDRIVEN) {
		SIM_CHECK(sim, note.end == END_LETTER, "event %u is redriven and was no letter",
			number);
		note.end = END_NONE;
		note.redriven++;
		if (sim->events[number].died > KEPT_DEATHS)
			sim->events[number].died = KEPT_DEATHS;
	}
	store(sim, number, &note);
	touch(sim, number);
}

static void added(struct sim *sim, const struct sim_change *c)
{
	static struct stander standers[STORE_ENTRY_DELIVERIES];
	uint32_t numbers[STORE_ENTRY_DELIVERIES];
	Pirn__JournalEntry *entry = pirn__journal_entry__unpack(NULL, c->head.size, c->head.data);
	size_t n = unpack(sim, entry, c->body, standers);
	struct bits_key room = { "" };

	pirn__journal_entry__free_unpacked(entry, NULL);
	for (uint32_t i = 0; i < n; i++) {
		numbers[i] = standers[i].number;
		if (numbers[i] != FOREIGN && !store_entry_ended(c->ended.data, c->ended.size, i))
			add_one(sim, c->kind, &standers[i]);
	}
	sim_keys_set(&sim->server.redis.keys, bits_key(&room, c->journal, c->epoch, c->turn),
		(struct store_arg){ "", 0 }, (struct store_arg){ numbers, n * sizeof *numbers });
}

/* ---- ends */

/* I3: a run that ended done has all it asked for. */
static void check_done(
	struct sim *sim, uint32_t number, const struct sim_note *note, const struct store_end *end)
{
	const struct sim_event *e = &sim->events[number];

	if (end->attempt >= 64 || !(e->ok_attempts & UINT64_C(1) << end->attempt))
		return;
	for (unsigned i = 0; i < SIM_EVENT_OPS; i++)
		SIM_CHECK(sim,
			note->applied[i] == 1 || !sim_event_asks(number, end->attempt, i) ||
				!sim_op_writes(i),
			"event %u is done, and its operation %u was applied %u times", number, i,
			note->applied[i]);
}

/* LOST in another guise: an end without a run that succeeded. */
static void check_why(
	struct sim *sim, uint32_t number, const struct sim_note *note, const struct store_end *end)
{
	const struct sim_event *e = &sim->events[number];
	uint64_t age_ms = (uint64_t)sim->retries[e->service].age_s * 1000;
	bool old = sim_server_now(sim) + CLOCK_LAG_MS >= e->made_ms + age_ms;

	SIM_CHECK(sim,
		e->cancelled || old || note->redriven > 0 ||
			(end->attempt < 64 && (e->ok_attempts & UINT64_C(1) << end->attempt)),
		"event %u ended after attempt %u, which did not succeed", number, end->attempt);
}

/* I8 */
static void check_fence(struct sim *sim, uint32_t number, const struct store_end *end)
{
	const struct sim_event *e = &sim->events[number];

	if (end->no_records)
		return;
	if (end->only_run)
		SIM_CHECK(
			sim, e->runs <= 1, "event %u ended by its only run of %u", number, e->runs);
	else
		SIM_CHECK(sim, end->fence_ms >= e->fence_ms,
			"event %u has a run with a lease %llu ms beyond its fence", number,
			(unsigned long long)(e->fence_ms - end->fence_ms));
}

/* Step 11: each death of a worker is counted, where nothing but that can have gone wrong. And what came
 * through too many runs is dead for that reason alone. */
static void check_dead(struct sim *sim, uint32_t number, const struct sim_note *note,
	const struct store_end *end)
{
	const struct sim_event *e = &sim->events[number];
	Pirn__JournalEntry *letter =
		pirn__journal_entry__unpack(NULL, end->head.size, end->head.data);
	uint32_t deaths, reason;

	SIM_CHECK(sim, letter && letter->n_events == 1 && letter->events[0]->n_deliveries == 1,
		"a letter that is none");
	deaths = letter->events[0]->deliveries[0]->deaths;
	reason = letter->events[0]->deliveries[0]->reason;
	pirn__journal_entry__free_unpacked(letter, NULL);
	SIM_CHECK(sim, deaths >= e->died || !sim_trouble_is_of_workers(sim),
		"event %u is dead after %u deaths of workers, and counts %u", number, e->died,
		deaths);
	SIM_CHECK(sim,
		(reason == PIRN__REASON__HOPS) == (e->hops > SIM_HOPS && note->redriven == 0),
		"event %u came through %u runs, and is dead for reason %u", number, e->hops,
		reason);
	sim->seen.hops += reason == PIRN__REASON__HOPS;
}

/* For certain: neither its age nor anybody who cancelled it can have ended it. */
static bool is_done(struct sim *sim, uint32_t number, const struct store_end *end)
{
	const struct sim_event *e = &sim->events[number];
	uint64_t age_ms = (uint64_t)sim->retries[e->service].age_s * 1000;

	return !e->cancelled && sim_server_now(sim) + CLOCK_LAG_MS < e->made_ms + age_ms &&
	       end->attempt < 64 && (e->ok_attempts & UINT64_C(1) << end->attempt);
}

static void left(struct sim *sim, uint32_t number, const struct store_end *end)
{
	struct sim_note note = load(sim, number);

	sim_trace(sim, "event %u leaves its entry: %d, attempt %u", number, (int)end->how,
		end->attempt);
	SIM_CHECK(sim, note.live > 0, "event %u leaves an entry and was in none", number);
	note.live--;
	if (end->how != STORE_MOVED) {
		note.ends++;
		note.end = end->how == STORE_DEAD ? END_LETTER : END_OVER;
		SIM_CHECK(sim, number == number_of(sim, end->id, end->service),
			"an end of another event");
	}
	if (end->how == STORE_DEAD)
		check_dead(sim, number, &note, end);
	SIM_CHECK(sim,
		end->how == STORE_DEAD || sim->events[number].hops <= SIM_HOPS || note.redriven > 0,
		"event %u came through too many runs, and ended otherwise: %d", number, end->how);
	if (end->how == STORE_ENDED) {
		check_fence(sim, number, end);
		check_done(sim, number, &note, end);
		check_why(sim, number, &note, end);
		note.done = is_done(sim, number, end);
	}
	store(sim, number, &note);
	touch(sim, number);
}

static void bit(struct sim *sim, const struct sim_change *c)
{
	struct bits_key room = { "" };
	struct store_arg value;
	uint32_t number;
	bool there = sim_keys_get(&sim->server.redis.keys,
		bits_key(&room, c->journal, c->epoch, c->turn), (struct store_arg){ "", 0 },
		&value);

	SIM_CHECK(sim,
		there && (c->end->bit + 1) * sizeof number <= value.size &&
			c->n_deliveries * sizeof number == value.size,
		"a bit of no entry");
	memcpy(&number, (const uint8_t *)value.data + c->end->bit * sizeof number, sizeof number);
	if (number != FOREIGN)
		left(sim, number, c->end);
}

/* ---- operations and letters */

/* I4, and nothing after the lease */
static void applied(struct sim *sim, const struct sim_change *c)
{
	uint32_t number = number_of(sim, c->id, c->service), keyed;
	unsigned op = (unsigned)(((const char *)c->field.data)[c->field.size - 1] - '0');
	struct sim_note note;

	if (sim_keyed_is(sim, c->id, 16, &keyed))
		sim_keyed_applied(sim, keyed, op);
	if (number == FOREIGN)
		return;
	note = load(sim, number);
	SIM_CHECK(sim, note.end == END_NONE,
		"operation %u of event %u was applied after its end, by attempt %u of epoch %u", op,
		number, c->run->attempt, c->run->epoch);
	SIM_CHECK(sim, sim->server.redis.keys.now_ms <= c->run->lease_end_ms,
		"operation %u of event %u was applied after its run's lease", op, number);
	note.applied[op]++;
	store(sim, number, &note);
	touch(sim, number);
}

static void purged(struct sim *sim, const struct sim_change *c)
{
	uint32_t number = number_of(sim, c->id, c->service);
	struct sim_note note;

	if (number == FOREIGN)
		return;
	note = load(sim, number);
	note.end = END_PURGED;
	store(sim, number, &note);
}

/* ---- beats */

static void note_beat(struct sim *sim, uint32_t epoch)
{
	while (epoch >= sim->n_beats) {
		sim->beats = realloc(sim->beats, (sim->n_beats + 64) * sizeof *sim->beats);
		memset(sim->beats + sim->n_beats, 0, 64 * sizeof *sim->beats);
		sim->n_beats += 64;
	}
	sim->beats[epoch] = sim_server_now(sim);
}

/* Step 7: who is adopted has not beaten for a while, or has left. */
static void adopted(struct sim *sim, const struct sim_change *c)
{
	uint32_t victim = c->epoch;

	SIM_CHECK(sim,
		victim < sim->n_beats &&
			(c->has_left || sim_server_now(sim) - sim->beats[victim] >= 1900),
		"epoch %u is adopted %llu ms after its beat", victim,
		(unsigned long long)(sim_server_now(sim) - sim->beats[victim]));
}

static const struct store_duplicate *duplicate(const struct store_stored *reply, size_t item)
{
	for (size_t i = 0; i < reply->n; i++)
		if (reply->duplicates[i].item == item)
			return &reply->duplicates[i];
	return NULL;
}

/* Of events that have one fate none is stored when there is no room for the key of one. */
static void check_fate(struct sim *sim, const struct brk_ask *ask, const struct store_stored *reply)
{
	const struct store_item *items = ask->store.items;

	for (size_t i = 0, last; i < ask->store.n; i = last + 1) {
		unsigned n_full = 0, n_stored = 0;

		for (last = i; items[last].together && last + 1 < ask->store.n;)
			last++;
		for (size_t k = i; k <= last; k++) {
			const struct store_duplicate *d = duplicate(reply, k);

			n_full += d && d->why == STORE_WHY_FULL;
			n_stored += !d;
		}
		SIM_CHECK(sim, n_full == 0 || n_stored == 0,
			"%u of %zu events with one fate are stored, and for %u there is no room",
			n_stored, last - i + 1, n_full);
	}
}

void sim_events_served(struct sim *sim, const struct brk_ask *ask, const struct sim_reply *reply)
{
	if (reply->says.code != STORE_DONE)
		return;
	sim_keyed_served(sim, ask, reply);
	if (ask->kind == BRK_ASK_STORE)
		check_fate(sim, ask, &reply->stored);
	if (ask->kind == BRK_ASK_BEAT)
		note_beat(sim, ask->epoch);
	if (ask->kind == BRK_ASK_OPEN)
		note_beat(sim, reply->opened.epoch);
}

static void moved_on(struct sim *sim, const struct sim_change *c)
{
	sim_timers_moved(sim, c->item);
}

void sim_events_watch(void *arg, struct sim_redis *redis, const struct sim_change *change)
{
	static void (*const handlers[])(struct sim * sim, const struct sim_change *c) = {
		[SIM_ADDED] = added,
		[SIM_MOVED] = added,
		[SIM_REDRIVEN] = added,
		[SIM_BIT] = bit,
		[SIM_APPLIED] = applied,
		[SIM_PURGED] = purged,
		[SIM_ADOPTED] = adopted,
		[SIM_SLOT] = moved_on,
	};

	(void)redis;
	handlers[change->kind](arg, change);
}

/* ---- one event */

/* child: + 1; 0: none */
static void check_sent(struct sim *sim, uint32_t number, uint32_t child)
{
	SIM_CHECK(sim, child > 0, "event %u is done, and has not sent all", number);
	for (uint32_t i = 0; i < sim_event_family(sim, child - 1); i++)
		SIM_CHECK(sim,
			load(sim, child - 1 + i).stored == 1 || sim->events[child - 1].nobody,
			"event %u is done, and event %u that it sends is not there (LOST)", number,
			child - 1 + i);
}

/* One callback for each end. Of a service's own a broker may not have heard that only knows its name: but
 * one where it ran. */
static void check_told(struct sim *sim, uint32_t number, const struct sim_note *note)
{
	const struct sim_event *e = &sim->events[number];
	bool may = e->callback ||
		   (e->tells == 0 && sim_callback_of_service(sim, e->service));

	SIM_CHECK(sim, note->told <= (may ? note->ends : 0),
		"event %u has ended %u times, and has %u callbacks (DUP)", number, note->ends,
		note->told);
	SIM_CHECK(sim,
		note->told == note->ends || !(e->callback || (may && note->done && !note->redriven)),
		"event %u has ended %u times, and has %u callbacks (LOST)", number, note->ends,
		note->told);
}

static void check_event(struct sim *sim, uint32_t number)
{
	const struct sim_event *e = &sim->events[number];
	struct sim_note note = load(sim, number);

	SIM_CHECK(sim, note.live <= 1, "event %u lives in %u entries (DUP)", number, note.live);
	SIM_CHECK(sim, note.stored <= 1, "event %u was stored %u times (DUP)", number, note.stored);
	SIM_CHECK(sim, note.ends <= 1 + note.redriven, "event %u ended twice (DUP)", number);
	SIM_CHECK(sim, note.live == 0 || note.end == END_NONE, "event %u lives after its end",
		number);
	SIM_CHECK(sim, note.stored == 0 || note.live == 1 || note.end != END_NONE,
		"event %u is gone without an end (LOST)", number);
	SIM_CHECK(sim, !e->promised || note.stored == 1, "event %u was promised (LOST)", number);
	if (e->parent > 0)
		SIM_CHECK(sim, note.stored == 0 || load(sim, e->parent - 1).end == END_OVER,
			"event %u is there, and event %u that sends it has not ended well (DUP)",
			number, e->parent - 1);
	SIM_CHECK(sim, note.stored == 0 || !e->nobody, "event %u is there, and is for nobody", number);
	for (unsigned i = 0; note.done && i < sim_event_sends(sim, number); i++)
		check_sent(sim, number, e->sends[i]);
	if (e->caller > 0)
		sim_book_check_sent(sim, e->caller - 1);
	check_told(sim, number, &note);
	for (unsigned i = 0; i < SIM_EVENT_OPS; i++)
		SIM_CHECK(sim, note.applied[i] <= 1,
			"operation %u of event %u was applied twice (DUP)", i, number);
	sim_timers_check_event(sim, number, note.stored > 0);
}

void sim_events_check_step(struct sim *sim)
{
	for (size_t i = 0; i < sim->n_touched; i++)
		check_event(sim, sim->touched[i]);
	sim->n_touched = 0;
	if (sim->server.steps % 500 == 0)
		sim_events_check_all(sim);
}

/* ---- all of Redis */

static bool starts(const struct sim_key *key, const char *front)
{
	return key->name.size > strlen(front) && memcmp(key->name.data, front, strlen(front)) == 0;
}

static uint32_t suffix(const struct sim_key *key, const char *front)
{
	return (uint32_t)strtoul((const char *)key->name.data + strlen(front), NULL, 10);
}

/* I5 */
static void check_owners(struct sim *sim)
{
	struct sim_keys *keys = &sim->server.redis.keys;
	const struct sim_key *journals = sim_keys_find(keys, (struct store_arg){ "journals", 8 });
	struct store_arg beat, owner;

	for (const struct sim_cell *c = journals ? journals->cells : NULL; c; c = c->hh.next) {
		owner = c->value;
		if (((const char *)owner.data)[owner.size - 1] == '+')
			owner.size--;
		SIM_CHECK(sim, sim_keys_get(keys, (struct store_arg){ "owners", 6 }, owner, &beat),
			"journal %.*s is owned by %.*s, who is no owner", (int)c->field.size,
			(const char *)c->field.data, (int)owner.size, (const char *)owner.data);
	}
}

/* I6: what lives in the streams is what the notes say. */
static void count_entry(struct sim *sim, uint32_t journal, struct store_arg id, uint32_t *live)
{
	struct sim_keys *keys = &sim->server.redis.keys;
	struct store_arg value, bitmap = { "", 0 };
	char name[80], done[32];
	int n = snprintf(name, sizeof name, "sim:bits:%u:%.*s", journal, (int)id.size,
		(const char *)id.data);
	bool there = sim_keys_get(
		keys, (struct store_arg){ name, (size_t)n }, (struct store_arg){ "", 0 }, &value);

	SIM_CHECK(sim, there, "an entry that nobody was told of");
	n = snprintf(done, sizeof done, "done:%u", journal);
	(void)sim_keys_get(keys, (struct store_arg){ done, (size_t)n }, id, &bitmap);
	for (size_t i = 0; i < value.size / sizeof(uint32_t); i++) {
		uint32_t number;

		memcpy(&number, (const uint8_t *)value.data + i * sizeof number, sizeof number);
		if (number != FOREIGN && !store_entry_ended(bitmap.data, bitmap.size, i))
			live[number]++;
	}
}

static void check_letter(struct sim *sim, uint32_t number)
{
	struct store_arg head, id;
	uint8_t bytes[16];
	char key[80];

	if (load(sim, number).end != END_LETTER)
		return;
	sim_event_id(sim, number, bytes);
	id = (struct store_arg){ bytes, 16 };
	snprintf(key, sizeof key, "dead:%s", sim_services[sim->events[number].service]);
	SIM_CHECK(sim,
		sim_keys_get(
			&sim->server.redis.keys, (struct store_arg){ key, strlen(key) }, id, &head),
		"the letter of event %u is gone (LOST)", number);
}

static void check_streams(struct sim *sim)
{
	uint32_t *live = calloc(sim->n_events + 1, sizeof *live);

	for (const struct sim_key *k = sim->server.redis.keys.keys; k; k = k->hh.next)
		for (const struct sim_cell *c = starts(k, "journal:") ? k->cells : NULL; c;
			c = c->hh.next)
			count_entry(sim, suffix(k, "journal:"), c->field, live);
	for (uint32_t i = 0; i < sim->n_events; i++) {
		check_letter(sim, i);
		SIM_CHECK(sim, live[i] == load(sim, i).live,
			"event %u lives %u times in the streams", i, live[i]);
		check_event(sim, i);
	}
	free(live);
}

/* I11 */
static void check_done_keys(struct sim *sim)
{
	struct sim_keys *keys = &sim->server.redis.keys;

	for (const struct sim_key *k = keys->keys; k; k = k->hh.next) {
		struct store_arg value, stream;
		char name[32];

		if (!starts(k, "done:"))
			continue;
		stream = (struct store_arg){ name,
			(size_t)snprintf(name, sizeof name, "journal:%u", suffix(k, "done:")) };
		for (const struct sim_cell *c = k->cells; c; c = c->hh.next)
			SIM_CHECK(sim, sim_keys_get(keys, stream, c->field, &value),
				"ended bits of an entry that is not there");
	}
}

/* I11: records of what has ended go by themselves, or stand by their letter. */
static void check_records(struct sim *sim)
{
	for (const struct sim_key *k = sim->server.redis.keys.keys; k; k = k->hh.next) {
		char service[64] = "";
		uint8_t id[16];
		uint32_t number;
		enum sim_end end;

		if (!starts(k, "ops:"))
			continue;
		for (int i = 0; i < 16; i++) {
			char hex[3] = { ((const char *)k->name.data)[4 + 2 * i],
				((const char *)k->name.data)[5 + 2 * i], '\0' };

			id[i] = (uint8_t)strtoul(hex, NULL, 16);
		}
		if (k->name.size > 37)
			memcpy(service, (const char *)k->name.data + 37, k->name.size - 37);
		number = number_of(sim, id, service);
		end = number == FOREIGN ? END_NONE : load(sim, number).end;
		SIM_CHECK(sim, k->expires_ms > 0 || end == END_NONE || end == END_LETTER,
			"the records of event %u stay for good", number);
	}
}

void sim_events_check_all(struct sim *sim)
{
	check_owners(sim);
	check_streams(sim);
	check_done_keys(sim);
	check_records(sim);
}

/* ---- at rest */

static void check_decision(struct sim *sim, uint32_t number)
{
	const struct sim_event *e = &sim->events[number];
	struct sim_note note = load(sim, number);

	SIM_CHECK(sim, e->state != EVENT_SENT && e->state != EVENT_WAITS,
		"event %u has no decision", number);
	SIM_CHECK(sim, note.live == 0, "event %u has not ended", number);
	SIM_CHECK(sim, e->state != EVENT_REFUSED || e->submissions > 1 || note.stored == 0,
		"event %u was REFUSED and stored", number);
	SIM_CHECK(sim, !e->must_succeed || e->state == EVENT_ACCEPTED,
		"event %u, in calm, was not accepted", number);
	SIM_CHECK(sim, !e->must_succeed || note.end == END_OVER,
		"event %u, in calm, did not end well", number);
}

bool sim_events_are_over(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->n_events; i++)
		if (load(sim, i).live > 0 || sim->events[i].state == EVENT_SENT ||
			sim->events[i].state == EVENT_WAITS)
			return false;
	return true;
}

static void check_empty(struct sim *sim)
{
	size_t owned = 0;

	for (const struct sim_key *k = sim->server.redis.keys.keys; k; k = k->hh.next) {
		SIM_CHECK(sim, !starts(k, "journal:") && !starts(k, "done:"),
			"%.*s is not empty at the end", (int)k->name.size,
			(const char *)k->name.data);
		if (k->name.size == 8 && memcmp(k->name.data, "journals", 8) == 0)
			owned = HASH_COUNT(k->cells);
	}
	SIM_CHECK(sim, owned <= sim->n_brokers, "%zu journals of %u brokers at the end", owned,
		sim->n_brokers);
}

void sim_events_check_rest(struct sim *sim)
{
	sim_events_check_all(sim);
	for (uint32_t i = 0; i < sim->n_events; i++)
		check_decision(sim, i);
	check_empty(sim);
}

bool sim_events_any_letter(struct sim *sim, uint32_t *number)
{
	uint32_t first;

	if (sim->n_events == 0)
		return false;
	first = (uint32_t)sim_below(sim, sim->n_events);
	for (uint32_t i = 0; i < sim->n_events; i++) {
		uint32_t n = (first + i) % sim->n_events;

		if (load(sim, n).end != END_LETTER)
			continue;
		*number = n;
		return true;
	}
	return false;
}
