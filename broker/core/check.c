/* Walks everything and asserts what must hold between inputs. The numbers are
 * counted anew from the lists, so that a count and a list that disagree are found
 * at the step that parted them.
 */
#undef NDEBUG
#include <assert.h>
#include <string.h>
#include <utlist.h>

#include "broker/core/emit.h"
#include "broker/core/parts.h"

struct totals {
	uint32_t waiting, running, claiming, sending, answering, calls, clients, workers, asked;
	uint64_t bytes;
	uint32_t runs, out, dry;
	uint32_t events[BRK_DELIVERY_STATE__N];
	uint32_t deliveries, timers, standing, entries, overloads, hopes;
	uint64_t event_bytes;
};

static void check_call(
	const struct brk_core *core, const struct brk_call *call, enum brk_call_state state)
{
	assert(call->state == state);
	assert(base_slab_get(&core->slab, call->slot, call->generation) == call);
	assert(base_heap_has(&core->deadlines, &call->deadline));
	assert(call->deadline.due == call->deadline_ms ||
		(state == BRK_CALL_RUNNING && call->deadline.due < call->deadline_ms));
	if (call->delivery) {
		assert(call->delivery->call == call && !call->client);
		assert(call->attempt == call->delivery->attempt && call->block);
		return;
	}
	assert(call->attempt <= BRK_MAX_RUNS);
	assert((call->block != NULL) == (brk_call_size(call) > 0));
	assert(call->client && brk_roster_find(core, call->client->id) == call->client);
}

static void check_queue(
	const struct brk_core *core, const struct brk_service *service, struct totals *t)
{
	const struct brk_call *call;
	bool own = false; /* from queue.oldest on */
	uint64_t bytes = 0;
	uint32_t n = 0;

	DL_FOREACH (service->queue.calls, call) {
		check_call(core, call, BRK_CALL_WAITING);
		assert(call->service == service && !call->link && !call->delivery);
		assert(call->attempt < BRK_MAX_RUNS && call->queued_ms <= core->now_ms);
		if (call == service->queue.oldest)
			own = true;
		else if (n > 0 && own)
			assert(call->queued_ms >= call->prev->queued_ms);
		else if (n > 0)
			assert(call->queued_ms <= call->prev->queued_ms);
		bytes += brk_call_size(call);
		n++;
	}
	assert(n == service->queue.n && own == (service->queue.oldest != NULL));
	assert(bytes == service->overload.waiting_bytes);
	t->waiting += n;
}

/* Whoever may have waited for too long is looked at in time. */
static void check_overload(const struct brk_core *core, const struct brk_service *service)
{
	const struct brk_overload *o = &service->overload;
	bool timed = o->is_on || service->queue.oldest || (service->queue.n > 0 && o->age_ms > 0);

	assert(o->target_ms > 0 && o->interval_ms > 0 && o->since_ms <= core->now_ms);
	assert(o->due.place > 0 || !timed);
	assert(o->due.place == 0 || base_heap_has(&core->overloads, &o->due));
	if (o->due.place > 0 && o->is_on)
		assert(o->due.due <= o->until_ms || o->until_ms <= core->now_ms);
}

static void check_link(const struct brk_core *core, const struct brk_link *link, struct totals *t)
{
	const struct brk_service *service = link->service;
	const struct brk_call *call;
	uint32_t n = 0;

	DL_FOREACH (link->running, call) {
		check_call(core, call, BRK_CALL_RUNNING);
		assert(call->link == link && call->service == service && call->attempt > 0);
		t->runs += call->delivery != NULL;
		n++;
	}
	assert(n == link->n_running);
	assert(link->used <= link->granted_peak && n <= link->used);
	if (brk_drought_spares(link))
		assert(link->free == 0);
	else
		assert(link->free == (link->granted > link->used ? link->granted - link->used : 0));
	assert((link->place > 0) ==
		(link->announced && !link->peer->draining && !brk_eject_is_out(link)));
	assert(link->place == 0 || service->ready[link->place - 1] == link);
	assert(link->place <= 1 || service->ready[link->place / 2 - 1]->free >= link->free);
	assert(brk_roster_find(core, link->peer->id) == link->peer);
	assert(brk_service_find(core, service->name) == service);
}

/* ---- events ----------------------------------------------------------------- */

static bool is_timed(const struct brk_delivery *d)
{
	return d->state == BRK_DELIVERY_WAITING ||
	       (d->state == BRK_DELIVERY_READY && d->not_after_ms > 0);
}

/* Without an entry it is in a store that was not answered: new, or lost by Redis. */
static void check_place(const struct brk_delivery *d)
{
	if (d->state == BRK_DELIVERY_READY || d->state == BRK_DELIVERY_WAITING)
		assert(d->entry);
	if (d->state == BRK_DELIVERY_ARRIVING)
		assert(!d->entry);
	if (!d->entry)
		return;
	assert(d->bit < d->entry->n && d->entry->deliveries[d->bit] == d);
	assert(d->body_at + brk_delivery_size(d) <= d->entry->body->size);
}

static void check_delivery(
	const struct brk_core *core, const struct brk_delivery *d, struct totals *t)
{
	check_place(d);
	assert((d->call != NULL) == (d->state == BRK_DELIVERY_RUNNING));
	assert(!d->call || (d->call->delivery == d && d->call->state == BRK_CALL_RUNNING));
	assert((d->timer.place > 0) == is_timed(d));
	assert(d->budget >= 1 && brk_delivery_find(core, d->id, d->service));
	t->timers += is_timed(d);
	t->standing += d->entry != NULL;
	t->event_bytes += brk_delivery_size(d);
}

static void check_events(
	const struct brk_core *core, const struct brk_service *service, struct totals *t)
{
	const struct brk_delivery *d;
	uint64_t before = t->event_bytes;

	for (int state = BRK_DELIVERY_ARRIVING; state < BRK_DELIVERY_GONE; state++) {
		uint32_t n = 0;

		DL_FOREACH (service->events[state].head, d) {
			assert(d->state == state && d->service == service);
			check_delivery(core, d, t);
			n++;
		}
		assert(n == service->events[state].n);
		t->events[state] += n;
		t->deliveries += n;
	}
	assert(t->event_bytes - before == service->overload.open_event_bytes);
}

static uint32_t count_live(const struct brk_entry *entry)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < entry->n; i++)
		n += entry->deliveries[i] != NULL;
	return n;
}

static void check_journals(const struct brk_core *core, struct totals *t)
{
	const struct brk_journal *journal;
	const struct brk_entry *entry;

	LL_FOREACH (core->ledger.journals, journal) {
		uint32_t n = 0;

		DL_FOREACH (journal->entries, entry) {
			assert(entry->journal == journal && entry->n_live > 0);
			assert(count_live(entry) == entry->n_live);
			t->standing -= entry->n_live;
			n++;
		}
		assert(n == journal->n_entries);
		t->entries += n;
	}
	assert(t->entries == core->entries.n_used && t->standing == 0);
}

/* Deliveries that stores have under way. */
static uint32_t check_stores(const struct brk_core *core)
{
	const struct brk_commit *commit;
	uint32_t n = 0, open = 0;

	DL_FOREACH (core->ledger.stores.list, commit) {
		uint32_t bit = 0;

		assert(commit->kind == BRK_ASK_STORE);
		for (uint32_t i = 0; i < commit->n; i++) {
			const struct brk_arrival *arrival = &commit->arrivals[i];

			assert(arrival->n > 0 ? arrival->delivery != NULL
					      : !arrival->delivery && arrival->slot_ms > 0 &&
							arrival->guard);
			assert(arrival->bit == bit);
			assert(arrival->n == 0 || commit->deliveries[bit] == arrival->delivery);
			for (; bit < arrival->bit + arrival->n; bit++)
				assert(!commit->deliveries[bit]->entry &&
					memcmp(commit->deliveries[bit]->id, arrival->delivery->id,
						16) == 0);
		}
		assert(bit == commit->n_deliveries);
		n += bit;
		open += commit->state >= BRK_COMMIT_ASKED;
	}
	assert(open == core->ledger.stores.n_open && open <= BRK_COMMITS);
	return n;
}

static uint32_t check_emits(const struct brk_end *end)
{
	uint32_t n = 0;

	for (const struct brk_emits *one = end->emits; one; one = one->next) {
		uint32_t sum = 0;

		for (uint32_t i = 0; i < one->n; i++)
			sum += one->events[i].n;
		assert(sum == one->n_deliveries && sum > 0);
		for (uint32_t i = 0; i < one->n_deliveries; i++)
			assert(one->deliveries[i]->state == BRK_DELIVERY_ARRIVING &&
				!one->deliveries[i]->entry);
		n += sum;
	}
	return n;
}

/* And those that settles bring. */
static uint32_t check_settles(const struct brk_core *core)
{
	const struct brk_commit *commit;
	uint32_t n = 0, open = 0, emitted = 0;

	DL_FOREACH (core->ledger.settles.list, commit) {
		uint32_t bits = 0;

		assert(commit->kind == BRK_ASK_SETTLE && commit->n > 0);
		for (uint32_t i = 0; i < commit->n; i++) {
			const struct brk_delivery *d = commit->ends[i].delivery;

			assert(d->entry && d->state == (commit->ends[i].how == STORE_MOVED
								       ? BRK_DELIVERY_MOVING
								       : BRK_DELIVERY_ENDING));
			bits += commit->ends[i].how == STORE_MOVED;
			bits += check_emits(&commit->ends[i]);
			emitted += check_emits(&commit->ends[i]);
		}
		assert(bits == commit->n_deliveries);
		n += commit->n;
		open += commit->state >= BRK_COMMIT_ASKED;
	}
	assert(open == core->ledger.settles.n_open && open <= BRK_COMMITS);
	for (size_t i = 0; i < core->ledger.n_homeless; i++, n++)
		emitted += check_emits(&core->ledger.homeless[i]);
	for (size_t i = 0; i < core->ledger.n_held; i++, n++)
		emitted += check_emits(&core->ledger.held[i]);
	assert(n >= core->n_events[BRK_DELIVERY_ENDING]);
	return emitted;
}

static void check_all_events(const struct brk_core *core, struct totals *t)
{
	for (int state = BRK_DELIVERY_ARRIVING; state < BRK_DELIVERY_GONE; state++)
		assert(t->events[state] == core->n_events[state]);
	assert(t->deliveries == core->deliveries.n_used && t->deliveries == core->by_id.n);
	assert(t->deliveries == 0 || t->deliveries <= core->deliveries.max_records);
	base_heap_check(&core->timers);
	base_heap_check(&core->deadlines);
	assert(t->timers == core->timers.n && t->event_bytes == core->event_bytes);
	assert(t->runs == core->n_runs && t->runs == t->events[BRK_DELIVERY_RUNNING]);
	check_journals(core, t);
	assert(check_stores(core) + check_settles(core) >= core->n_events[BRK_DELIVERY_ARRIVING]);
}

static void check_service(
	const struct brk_core *core, const struct brk_service *service, struct totals *t)
{
	const struct brk_link *link;
	uint32_t running = 0, ready = 0;

	check_queue(core, service, t);
	check_overload(core, service);
	t->overloads += service->overload.due.place > 0;
	t->hopes += service->hope.place > 0;
	assert(service->hope.place == 0 || service->n_ready == 0);
	DL_FOREACH2(service->links, link, service_next)
	{
		check_link(core, link, t);
		running += link->n_running;
		ready += link->place > 0;
	}
	assert(running == service->n_running && ready == service->n_ready);
	assert(service->entry.manifest &&
		strcmp(service->entry.manifest->service, service->name) == 0);
	assert(service->entry.workers == ready + service->n_out);
	brk_breaker_check(core, service);
	brk_eject_check(core, service);
	t->out += service->n_out;
	brk_drought_check(core, service);
	t->dry += service->n_dry;
	assert(!service->touched);
	assert(!service->row || service->row->place > 0);
	/* Nothing that could run waits, unless the list of actions was full. */
	assert(service->in_turn || !brk_dispatch_is_wanted(core, service) ||
		!brk_dispatch_is_possible(core, service));
	t->running += running;
	check_events(core, service, t);
}

/* A call that asks Redis stands in no queue and at no worker. */
static void check_asking(const struct brk_core *core, const struct brk_call *call, struct totals *t)
{
	bool claiming = call->state == BRK_CALL_CLAIMING;
	bool answering = call->state == BRK_CALL_ANSWERING;
	bool sending = call->state == BRK_CALL_SENDING;

	if (claiming || answering)
		assert(call->claim && !call->link);
	else if (sending)
		assert(call->n_sending > 0 && !call->link);
	else
		assert(call->state == BRK_CALL_WAITING || call->state == BRK_CALL_RUNNING);
	assert((call->deadline.place > 0) == !(answering || sending));
	assert(base_slab_get(&core->slab, call->slot, call->generation) == call);
	t->claiming += claiming;
	t->answering += answering;
	t->sending += sending;
}

static void check_peer(const struct brk_core *core, const struct brk_peer *peer, struct totals *t)
{
	const struct brk_call *call;
	const struct brk_link *link;
	uint32_t calls = 0, links = 0, running = 0;

	DL_FOREACH2(peer->calls, call, client_next)
	{
		assert(call->client == peer);
		check_asking(core, call, t);
		t->bytes += brk_call_size(call);
		calls++;
	}
	DL_FOREACH2(peer->links, link, peer_next)
	{
		assert(link->peer == peer);
		running += link->n_running;
		links++;
	}
	assert(calls == peer->n_calls && links == peer->n_links && running == peer->n_running);
	assert(links == 0 || peer->role == PIRN__ROLE__WORKER);
	assert(calls == 0 || peer->role == PIRN__ROLE__CLIENT);
	assert(peer->beat_size <= BRK_MAX_BEAT && peer->n_links <= BRK_MAX_LINKS);
	t->calls += calls;
	t->clients += peer->role == PIRN__ROLE__CLIENT;
	t->workers += peer->role == PIRN__ROLE__WORKER;
	t->asked += peer->role == PIRN__ROLE__CLIENT && peer->asked_drain && !peer->answered_drain;
}

static void check_index(const struct brk_core *core)
{
	uint32_t n = 0;

	for (size_t i = 0; i <= core->index.mask; i++)
		for (const struct brk_call *call = core->index.buckets[i]; call;
			call = call->index_next)
			n++;
	assert(n == core->index.n && n + core->n_runs == core->slab.n_used);
}

void brk_core_check(const struct brk_core *core)
{
	struct totals t = { 0 };

	for (const struct brk_service *s = core->services; s; s = s->hh.next)
		check_service(core, s, &t);
	for (const struct brk_peer *p = core->peers; p; p = p->hh.next)
		check_peer(core, p, &t);
	check_index(core);
	assert(t.waiting == core->n_waiting && t.running == core->n_running);
	assert(t.calls + t.runs ==
		t.waiting + t.running + t.claiming + t.sending + t.answering);
	assert(t.sending == core->n_sending);
	assert(t.calls + t.runs == core->slab.n_used && t.calls <= core->conf.max_calls);
	assert(t.calls + t.runs == core->deadlines.n + t.sending + t.answering);
	assert(t.out == core->ejected.n && t.dry == core->droughts.n);
	check_all_events(core, &t);
	brk_watch_check(core);
	brk_subscribe_check(&core->subscribe);
	assert(t.overloads == core->overloads.n);
	assert(t.hopes == core->hopes.n);
	assert(t.bytes == core->kept_bytes && t.bytes <= core->conf.max_bytes);
	assert(t.clients == core->n_clients && t.workers == core->n_workers &&
		t.asked == core->n_asked);
	assert(HASH_COUNT(core->peers) == t.clients + t.workers &&
		HASH_COUNT(core->peers) <= core->conf.max_peers);
	assert(brk_service_count(core) <= core->conf.max_services);
	assert(core->figures.submitted ==
		core->figures.replied + core->figures.cancelled + t.calls + core->n_returned);
	assert(!core->touched);
}
