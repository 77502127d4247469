/* QUERY → ANSWER: what this broker knows, for /metrics and `pirn services`. An
 * answer is built once an input however often it is asked for in it, in an arena,
 * and packed into a buffer of the core's. Breakers are answered each time: forcing one
 * changes what the next question is told.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/stats.h"
#include "broker/core/parts.h"

/* name, type, field of brk_figures, help */
#define FIGURES(X) \
	X("pirn_broker_submitted_total", COUNTER, submitted, "Calls that were taken.") \
	X("pirn_broker_refused_total", COUNTER, refused, "Calls that were refused.") \
	X("pirn_broker_dispatched_total", COUNTER, dispatched, "Runs that were sent to workers.") \
	X("pirn_broker_replied_total", COUNTER, replied, "Calls that were answered.") \
	X("pirn_broker_retried_total", COUNTER, retried, "Calls that ran again after a run had failed.") \
	X("pirn_broker_expired_total", COUNTER, expired, "Calls that ended for want of time.") \
	X("pirn_broker_lost_total", COUNTER, lost, "Calls that were lost with their worker.") \
	X("pirn_broker_cancelled_total", COUNTER, cancelled, \
		"Calls whose client did not want the answer.") \
	X("pirn_broker_stale_total", COUNTER, stale, "Results of runs that nobody waits for.") \
	X("pirn_broker_malformed_total", COUNTER, malformed, \
		"Messages or parts that broke the protocol.") \
	X("pirn_broker_peers_refused_total", COUNTER, peers_refused, \
		"HELLOs that were refused.") \
	X("pirn_broker_resyncs_total", COUNTER, resyncs, \
		"Unknown peers that were asked for HELLO.") \
	X("pirn_broker_clients", GAUGE, clients, "Clients that are linked.") \
	X("pirn_broker_workers", GAUGE, workers, "Workers that are linked.") \
	X("pirn_broker_services", GAUGE, services, "Services that are known.") \
	X("pirn_broker_waiting", GAUGE, waiting, "Calls that wait for a worker.") \
	X("pirn_broker_running", GAUGE, running, "Calls that run in workers.") \
	X("pirn_broker_sending", GAUGE, sending, \
		"Calls that are answered when Redis has the events that they send.") \
	X("pirn_broker_unsent_total", COUNTER, unsent, \
		"Calls that went well and failed, since their events could not be stored.") \
	X("pirn_broker_kept_bytes", GAUGE, waiting_bytes, "Payloads of open calls.") \
	X("pirn_broker_events_accepted_total", COUNTER, accepted, "Events that Redis has.") \
	X("pirn_broker_events_duplicates_total", COUNTER, duplicates, \
		"Events that were there before, by lane or key.") \
	X("pirn_broker_events_unrouted_total", COUNTER, events_unrouted, \
		"Events that nobody subscribes to.") \
	X("pirn_broker_events_emitted_total", COUNTER, events_emitted, \
		"Events that runs have sent.") \
	X("pirn_broker_events_refused_total", COUNTER, events_refused, \
		"Events that were not accepted.") \
	X("pirn_broker_events_done_total", COUNTER, events_done, "Deliveries that are done.") \
	X("pirn_broker_events_dead_total", COUNTER, events_dead, \
		"Deliveries that became dead letters.") \
	X("pirn_broker_events_expired_total", COUNTER, events_expired, \
		"Deliveries that were too old before they ran.") \
	X("pirn_broker_events_cancelled_total", COUNTER, events_cancelled, \
		"Deliveries that were cancelled.") \
	X("pirn_broker_events_retried_total", COUNTER, events_retried, \
		"Failed attempts that another one follows.") \
	X("pirn_broker_events_redelivered_total", COUNTER, events_redelivered, \
		"Attempts that were lost with their worker.") \
	X("pirn_broker_events_diverged_total", COUNTER, events_diverged, \
		"Runs that did not ask for writes that earlier ones had recorded.") \
	X("pirn_broker_events_settled_total", COUNTER, settled, \
		"Deliveries that left an entry: ended or moved.") \
	X("pirn_broker_events_moved_total", COUNTER, moved, \
		"Deliveries that were written anew: retries, entries that were mostly done.") \
	X("pirn_broker_events_ready", GAUGE, events_ready, "Deliveries that wait for a worker.") \
	X("pirn_broker_events_running", GAUGE, events_running, "Deliveries that run.") \
	X("pirn_broker_events_waiting", GAUGE, events_waiting, \
		"Deliveries that are delayed, or wait for another attempt.") \
	X("pirn_broker_events_ending", GAUGE, events_ending, \
		"Deliveries whose end or move Redis has not confirmed.") \
	X("pirn_broker_events_bytes", GAUGE, events_bytes, "Payloads of loaded deliveries.") \
	X("pirn_broker_entries", GAUGE, entries, "Journal entries with a loaded delivery.") \
	X("pirn_broker_opened_total", COUNTER, opened, "Epochs that this broker was given.") \
	X("pirn_broker_adoptions_total", COUNTER, adoptions, \
		"Journals of other brokers that were taken over.") \
	X("pirn_broker_fenced_total", COUNTER, fenced, \
		"Times that another broker had taken over this one's journals.")

static const struct figure {
	const char *name, *help;
	uint32_t type;
	size_t offset;
} figures[] = {
#define X(name, type, field, help) \
	{ name, help, BASE_STAT_##type, offsetof(struct brk_figures, field) },
	FIGURES(X)
#undef X
};

#define N_FIGURES   (sizeof figures / sizeof figures[0])
#define MAX_QUERY   (64u * 1024) /* a thousand ids */
#define PER_SERVICE 17

/* ---- memory --------------------------------------------------------------- */

static void *arena_alloc(void *arena, size_t size)
{
	return base_arena_alloc(arena, size ? size : 1);
}

static void arena_free(void *arena, void *p)
{
	(void)arena;
	(void)p;
}

ProtobufCAllocator brk_arena_allocator(struct base_arena *arena)
{
	return (ProtobufCAllocator){ arena_alloc, arena_free, arena };
}

static ProtobufCAllocator allocator_of(struct brk_core *core)
{
	return brk_arena_allocator(&core->arena);
}

static void *get(struct brk_core *core, size_t n, size_t size)
{
	void *p = base_arena_alloc(&core->arena, n * size + 1);

	if (p)
		memset(p, 0, n * size);
	return p;
}

/* protobuf-c's messages hold no const; packing only reads. */
static char *text_of(const char *text)
{
	return (char *)(uintptr_t)text;
}

/* ---- SERVICES ------------------------------------------------------------- */

static size_t used_buckets(const struct base_hist *hist)
{
	size_t n = BASE_HIST_BUCKETS;

	while (n > 0 && hist->counts[n - 1] == 0)
		n--;
	return n;
}

static bool list_workers(
	struct brk_core *core, struct brk_service *service, Pirn__ServiceState *state)
{
	struct brk_link *link;
	size_t n = 0;

	DL_COUNT2(service->links, link, n, service_next);
	state->workers = get(core, n, sizeof *state->workers);
	if (!state->workers)
		return false;
	DL_FOREACH2(service->links, link, service_next)
	{
		if (link->place > 0 || brk_eject_is_out(link))
			state->workers[state->n_workers++] =
				(ProtobufCBinaryData){ sizeof link->peer->boot, link->peer->boot };
	}
	return true;
}

/* Lists are in the order of arrival in their state: the oldest is about the first of one. */
static uint64_t oldest_ms(const struct brk_core *core, const struct brk_service *service)
{
	uint64_t now = brk_owner_redis_ms(core), first = now;

	for (int state = BRK_DELIVERY_READY; state < BRK_DELIVERY_GONE; state++) {
		const struct brk_delivery *head = service->events[state].head;

		if (head && head->accepted_ms < first)
			first = head->accepted_ms;
	}
	return now - first;
}

static void fill_events(
	const struct brk_core *core, const struct brk_service *service, Pirn__ServiceState *state)
{
	if (!core->conf.events)
		return;
	state->has_events_ready = state->has_events_running = state->has_events_waiting =
		state->has_oldest_ms = state->has_events_accepted = state->has_events_done =
			state->has_events_dead = state->has_events_expired =
				state->has_events_cancelled = state->has_events_retried = true;
	state->events_ready = service->events[BRK_DELIVERY_READY].n;
	state->events_running = service->events[BRK_DELIVERY_RUNNING].n;
	state->events_waiting =
		service->events[BRK_DELIVERY_WAITING].n + service->events[BRK_DELIVERY_MOVING].n;
	state->oldest_ms = oldest_ms(core, service);
	state->events_accepted = service->events_accepted;
	state->events_done = service->events_done;
	state->events_dead = service->events_dead;
	state->events_expired = service->events_expired;
	state->events_cancelled = service->events_cancelled;
	state->events_retried = service->events_retried;
}

static bool fill_service(
	struct brk_core *core, struct brk_service *service, Pirn__ServiceState *state)
{
	pirn__service_state__init(state);
	state->service = service->name;
	state->has_running = state->has_waiting = state->has_done = state->has_failed = true;
	state->running = service->n_running;
	state->waiting = service->queue.n;
	state->done = service->done;
	state->failed = service->failed;
	state->n_latency = used_buckets(&service->latency);
	state->latency = service->latency.counts;
	state->has_first_ms = state->has_announced_ms = true;
	state->first_ms = service->entry.first_ms;
	state->announced_ms = service->entry.announced_ms;
	state->breaker = text_of(brk_breaker_text(service));
	fill_events(core, service, state);
	return list_workers(core, service, state);
}

static bool fill_services(struct brk_core *core, Pirn__Answer *answer)
{
	size_t n = HASH_COUNT(core->services);
	Pirn__ServiceState *states = get(core, n, sizeof *states);
	struct brk_service *service, *next;

	answer->services = get(core, n, sizeof *answer->services);
	if (!states || !answer->services)
		return false;
	HASH_ITER (hh, core->services, service, next) {
		answer->services[answer->n_services] = &states[answer->n_services];
		if (!fill_service(core, service, &states[answer->n_services++]))
			return false;
	}
	return true;
}

/* ---- METRICS -------------------------------------------------------------- */

struct metrics {
	Pirn__Metric *next;
	Pirn__Metric **list;
	size_t n;
};

static Pirn__Metric *add(
	struct metrics *to, const char *name, const char *help, uint32_t type, double value)
{
	Pirn__Metric *m = to->next++;

	pirn__metric__init(m);
	m->name = text_of(name);
	m->help = text_of(help);
	m->has_type = m->has_value = true;
	m->type = type;
	m->value = value;
	to->list[to->n++] = m;
	return m;
}

/* One for each state that it can come into, apart by a label. */
static bool add_transitions(
	struct brk_core *core, struct metrics *to, const struct base_breaker *b, const char *service)
{
	size_t room = sizeof "service=\"\",to=\"half-open\"" + BRK_NAME_SIZE;

	for (int state = 0; state < BASE_BREAKER_STATE__N; state++) {
		char *labels = get(core, 1, room);

		if (!labels)
			return false;
		snprintf(labels, room, "service=\"%s\",to=\"%s\"", service,
			base_breaker_state_name((enum base_breaker_state)state));
		add(to, "pirn_service_breaker_transitions_total",
			"Times that the service's breaker came into that state.", BASE_STAT_COUNTER,
			(double)b->transitions[state])
			->labels = labels;
	}
	return true;
}

static bool add_guard(struct brk_core *core, struct metrics *to, const struct brk_service *s)
{
	const struct brk_guard *guard = &s->guard;

	add(to, "pirn_service_breaker_state",
		"The service's breaker: 0 closed, 1 open, 2 half-open.", BASE_STAT_GAUGE,
		guard->breaker.state);
	add(to, "pirn_service_breaker_forced", "Whether it is forced: 0 not, 1 open, 2 closed.",
		BASE_STAT_GAUGE, guard->breaker.force);
	add(to, "pirn_service_breaker_refused_total", "Calls that the service's breaker refused.",
		BASE_STAT_COUNTER, (double)guard->refused);
	add(to, "pirn_service_ejected_workers",
		"Workers that get none of the service for a while.", BASE_STAT_GAUGE, s->n_out);
	return add_transitions(core, to, &guard->breaker, s->name);
}

static bool add_service(struct brk_core *core, struct metrics *to, struct brk_service *s)
{
	size_t room = sizeof "service=\"\"" + BRK_NAME_SIZE, first = to->n;
	char *labels = get(core, 1, room);
	Pirn__Metric *m;

	if (!labels)
		return false;
	snprintf(labels, room, "service=\"%s\"", s->name); /* a name needs no escapes */
	add(to, "pirn_service_workers", "Workers of the service, linked to this broker.",
		BASE_STAT_GAUGE, s->entry.workers);
	add(to, "pirn_service_waiting", "Calls of the service that wait.", BASE_STAT_GAUGE,
		s->queue.n);
	add(to, "pirn_service_running", "Calls of the service that run.", BASE_STAT_GAUGE,
		s->n_running);
	add(to, "pirn_service_done_total", "Calls of the service that went well.",
		BASE_STAT_COUNTER, (double)s->done);
	add(to, "pirn_service_failed_total", "Calls of the service that failed.", BASE_STAT_COUNTER,
		(double)s->failed);
	m = add(to, "pirn_service_call_seconds", "From a call's arrival to its answer.",
		BASE_STAT_HISTOGRAM, 0);
	m->has_value = false;
	m->has_sum = true;
	m->sum = (double)s->latency.sum_us / 1e6;
	m->n_buckets = used_buckets(&s->latency);
	m->buckets = s->latency.counts;
	add(to, "pirn_service_overloaded",
		"Whether calls of the service wait for too long, and the newest go first.",
		BASE_STAT_GAUGE, s->overload.is_on);
	add(to, "pirn_service_shed_total",
		"Calls of the service that were given up because they had waited for too long.",
		BASE_STAT_COUNTER, (double)s->overload.shed);
	add(to, "pirn_service_call_retries_total", "Calls of the service that ran again.",
		BASE_STAT_COUNTER, (double)s->retries);
	add(to, "pirn_service_retry_refused_total",
		"Failed calls of the service that did not run again, because its budget of retries was spent.",
		BASE_STAT_COUNTER, (double)s->retries_refused);
	if (!add_guard(core, to, s))
		return false;
	assert(to->n - first <= PER_SERVICE);
	for (size_t i = first; i < to->n; i++)
		if (!to->list[i]->labels)
			to->list[i]->labels = labels;
	return true;
}

static bool add_broker(struct brk_core *core, Pirn__Instance *instance)
{
	size_t n = N_FIGURES + PER_SERVICE * HASH_COUNT(core->services) + core->n_extra;
	struct metrics to = { .next = get(core, n, sizeof *to.next),
		.list = get(core, n, sizeof *to.list) };
	struct brk_service *service, *next;
	struct brk_figures now;

	if (!to.next || !to.list)
		return false;
	brk_core_figures(core, &now);
	for (size_t i = 0; i < N_FIGURES; i++) {
		const uint64_t *value = (const void *)((const char *)&now + figures[i].offset);
		add(&to, figures[i].name, figures[i].help, figures[i].type, (double)*value);
	}
	HASH_ITER (hh, core->services, service, next)
		if (!add_service(core, &to, service))
			return false;
	for (size_t i = 0; i < core->n_extra; i++)
		to.list[to.n++] = core->extra[i];
	instance->name = core->name;
	instance->boot = (ProtobufCBinaryData){ sizeof core->conf.boot, core->conf.boot };
	instance->has_role = true;
	instance->role = PIRN__ROLE__BROKER;
	instance->metrics = to.list;
	instance->n_metrics = to.n;
	return true;
}

/* A worker's own word, as its last BEAT gave it. */
static bool add_worker(struct brk_core *core, struct brk_peer *peer, Pirn__Instance *instance)
{
	ProtobufCAllocator allocator = allocator_of(core);
	Pirn__Beat *beat = pirn__beat__unpack(&allocator, peer->beat_size, peer->beat);

	if (!beat)
		return false;
	instance->name = peer->name;
	instance->boot = (ProtobufCBinaryData){ sizeof peer->boot, peer->boot };
	instance->has_role = true;
	instance->role = peer->role;
	instance->metrics = beat->metrics;
	instance->n_metrics = beat->n_metrics;
	return true;
}

static bool fill_metrics(struct brk_core *core, Pirn__Answer *answer)
{
	size_t n = 1 + core->n_workers;
	Pirn__Instance *instances = get(core, n, sizeof *instances);
	struct brk_peer *peer, *next;

	answer->instances = get(core, n, sizeof *answer->instances);
	if (!instances || !answer->instances)
		return false;
	for (size_t i = 0; i < n; i++) {
		pirn__instance__init(&instances[i]);
		answer->instances[i] = &instances[i];
	}
	if (!add_broker(core, &instances[answer->n_instances++]))
		return false;
	HASH_ITER (hh, core->peers, peer, next)
		if (peer->beat_size > 0 &&
			!add_worker(core, peer, &instances[answer->n_instances++]))
			return false;
	return true;
}

/* ---- BREAKERS ------------------------------------------------------------- */

static bool list_ejected(
	struct brk_core *core, const struct brk_service *service, Pirn__Breaker *breaker)
{
	struct brk_link *link;

	breaker->ejected = get(core, service->n_out, sizeof *breaker->ejected);
	if (!breaker->ejected)
		return false;
	DL_FOREACH2(service->links, link, service_next)
	{
		if (brk_eject_is_out(link))
			breaker->ejected[breaker->n_ejected++] = link->peer->name;
	}
	return true;
}

static bool fill_breaker(
	struct brk_core *core, struct brk_service *service, Pirn__Breaker *breaker)
{
	const struct base_breaker *b = &service->guard.breaker;

	pirn__breaker__init(breaker);
	breaker->service = service->name;
	breaker->state = b->state;
	breaker->has_force = breaker->has_wait_ms = breaker->has_openings = breaker->has_ok =
		breaker->has_failed = breaker->has_probing = breaker->has_opened_total =
			breaker->has_refused_total = true;
	breaker->force = b->force;
	if (b->state == BASE_BREAKER_OPEN)
		breaker->wait_ms = (uint32_t)base_breaker_wait_ms(b, core->now_ms);
	breaker->openings = b->openings;
	base_breaker_window(b, core->now_ms, &breaker->ok, &breaker->failed);
	breaker->probing = base_breaker_probing(b);
	breaker->opened_total = b->transitions[BASE_BREAKER_OPEN];
	breaker->refused_total = service->guard.refused;
	return list_ejected(core, service, breaker);
}

/* Of one service, or of all: NULL. */
static bool fill_breakers(struct brk_core *core, struct brk_service *only, Pirn__Answer *answer)
{
	size_t n = only ? 1 : HASH_COUNT(core->services);
	Pirn__Breaker *breakers = get(core, n, sizeof *breakers);
	struct brk_service *service, *next;

	answer->breakers = get(core, n, sizeof *answer->breakers);
	if (!breakers || !answer->breakers)
		return false;
	HASH_ITER (hh, core->services, service, next) {
		if (only && service != only)
			continue;
		answer->breakers[answer->n_breakers] = &breakers[answer->n_breakers];
		if (!fill_breaker(core, service, &breakers[answer->n_breakers++]))
			return false;
	}
	return true;
}

static bool is_forcing(const Pirn__Query *query)
{
	return query->service && query->has_force &&
	       query->force <= PIRN__BREAKER_FORCE__FORCED_CLOSED;
}

/* True: it was one of these. query lies in the arena, which the answer empties. */
static bool answer_breakers(struct brk_core *core, const struct brk_peer *peer,
	const Pirn__Item *item, const Pirn__Query *query)
{
	const struct brk_asker asker = { peer->id, item->slot, item->generation };
	struct brk_service *service = brk_service_find(core, query->service);
	bool sets = query->what == PIRN__QUERY_KIND__BREAKER_SET;
	bool nobody = query->service && !service;
	Pirn__Answer answer;

	if (query->what != PIRN__QUERY_KIND__BREAKERS && (!sets || !is_forcing(query)))
		return false;
	if (sets && service)
		brk_breaker_force(core, service, (enum base_breaker_force)query->force);
	brk_answer_init(core, &answer);
	if (nobody || fill_breakers(core, service, &answer))
		brk_answer_send(core, &asker, &answer);
	else
		brk_answer_refuse(core, &asker, PIRN__REASON__OVERLOADED);
	return true;
}

/* ---- the message ---------------------------------------------------------- */

static bool build(struct brk_core *core, uint32_t what, struct base_buf *out)
{
	Pirn__Answer answer = PIRN__ANSWER__INIT;
	uint8_t *room;
	size_t size;
	bool filled;

	base_arena_reset(&core->arena);
	base_buf_reset(out);
	answer.broker = core->name;
	filled = what == PIRN__QUERY_KIND__SERVICES ? fill_services(core, &answer)
						    : fill_metrics(core, &answer);
	if (!filled)
		return false;
	size = pirn__answer__get_packed_size(&answer);
	room = base_buf_room(out, size);
	if (room)
		base_buf_grew(out, pirn__answer__pack(&answer, room));
	base_arena_reset(&core->arena);
	return room != NULL;
}

/* UNTRUSTED bytes, into the arena. NULL: not a question. */
static Pirn__Query *read_query(struct brk_core *core, const struct brk_payload *payload)
{
	ProtobufCAllocator allocator = allocator_of(core);

	base_arena_reset(&core->arena);
	if (payload->meta_size > 0 || payload->data_size > MAX_QUERY)
		return NULL;
	return pirn__query__unpack(&allocator, payload->data_size, payload->bytes);
}

static void answer_one(
	struct brk_core *core, const struct brk_peer *peer, const Pirn__Item *item, uint32_t what)
{
	struct base_buf *buf = &core->answers[what - 1];
	struct brk_action *a;

	if (!core->answered[what - 1]) {
		if (!build(core, what, buf)) {
			brk_refuse(core, peer, item, PIRN__REASON__OVERLOADED, 0);
			return;
		}
		core->answered[what - 1] = true;
	}
	if (buf->size > core->conf.max_item_bytes) {
		brk_refuse(core, peer, item, PIRN__REASON__TOO_LARGE, 0);
		return;
	}
	a = brk_act_item(core, peer->id, PIRN__KIND__ANSWER);
	a->item.has_slot = a->item.has_generation = true;
	a->item.slot = item->slot;
	a->item.generation = item->generation;
	a->payload.bytes = buf->data;
	a->payload.data_size = (uint32_t)buf->size;
}

void brk_query(struct brk_core *core, struct brk_peer *peer, const struct brk_message *m)
{
	size_t offset = 0;

	for (size_t i = 0; i < m->head->n_items; i++) {
		const Pirn__Item *item = m->head->items[i];
		struct brk_payload payload = brk_payload_next(m, item, &offset);
		Pirn__Query *query = read_query(core, &payload);
		uint32_t what = query ? query->what : 0;

		if (what == PIRN__QUERY_KIND__SERVICES || what == PIRN__QUERY_KIND__METRICS)
			answer_one(core, peer, item, what);
		else if (!query && core->arena.starved)
			brk_refuse(core, peer, item, PIRN__REASON__OVERLOADED, 0);
		else if (!query || !(answer_breakers(core, peer, item, query) ||
					   brk_tail_query(core, peer, item, query) ||
					   brk_watch_query(core, peer, item, query)))
			brk_refuse(core, peer, item, PIRN__REASON__MALFORMED, 0);
	}
}
