/* Deliveries out of an entry that another broker wrote, or a Function. UNTRUSTED bytes: what
 * cannot be an entry is left where it is, and said.
 *
 * Whoever owned them may have sent a run that still goes on: so such a delivery's end is
 * fenced by the last moment at which a lease of that owner's can be open.
 */
#include <string.h>

#include "base/manifest.h"
#include "broker/core/emit.h"
#include "broker/core/pack.h"
#include "broker/core/parts.h"

/* Protobuf-c's structs against their packed bytes, in what brokers write. A full entry whose events all failed
 * often has a head of 3 MB. What is made to take more finds the arena full. */
#define HEAD_AMPLIFIES     8
#define BRK_MAX_TIMEOUT_MS (3600u * 1000) /* the longest that a manifest may say */

/* ---- judging -------------------------------------------------------------- */

static bool is_event(const Pirn__JournalEvent *event)
{
	if (!event->has_id || event->id.len != 16 || event->n_deliveries == 0)
		return false;
	if (event->has_trace && event->trace.len != BRK_TRACE_SIZE)
		return false;
	if (event->callback && strnlen(event->callback, BRK_CALLBACK_MAX + 1) > BRK_CALLBACK_MAX)
		return false;
	for (size_t i = 0; i < event->n_deliveries; i++) {
		const Pirn__JournalDelivery *d = event->deliveries[i];

		if (!d->service || !base_manifest_is_service(d->service) ||
			d->n_history > STORE_HISTORY_MAX)
			return false;
	}
	return true;
}

/* The number of its deliveries; 0: it is no entry. */
static uint32_t judge(const Pirn__JournalEntry *head, uint64_t body_size)
{
	uint64_t size = 0, n = 0;

	for (size_t i = 0; i < head->n_events; i++) {
		const Pirn__JournalEvent *event = head->events[i];

		if (!is_event(event))
			return 0;
		size += (uint64_t)event->meta_size + event->data_size;
		n += event->n_deliveries;
	}
	return n <= STORE_ENTRY_DELIVERIES && size == body_size ? (uint32_t)n : 0;
}

static Pirn__JournalEntry *unpack(struct brk_core *core, const struct store_entry *entry)
{
	ProtobufCAllocator allocator = brk_arena_allocator(&core->pages);

	base_arena_reset(&core->pages);
	if (entry->head.size > core->pages.max_bytes / HEAD_AMPLIFIES)
		return NULL;
	return pirn__journal_entry__unpack(&allocator, entry->head.size, entry->head.data);
}

/* ---- room ----------------------------------------------------------------- */

struct load {
	struct brk_journal *journal;
	const struct store_entry *from;
	struct brk_entry *entry;
	uint32_t n, live;
	uint64_t bytes; /* of the living */
};

static bool has_ended(const struct brk_core *core, const struct store_entry *from, uint32_t bit)
{
	if (BRK_FAULTY(core, IGNORE_ENDED_BITS))
		return false;
	return store_entry_ended(from->ended.data, from->ended.size, bit);
}

static void count(const struct brk_core *core, struct load *load, const Pirn__JournalEntry *head)
{
	uint32_t bit = 0;

	for (size_t i = 0; i < head->n_events; i++) {
		for (size_t j = 0; j < head->events[i]->n_deliveries; j++, bit++) {
			if (has_ended(core, load->from, bit))
				continue;
			load->live++;
			load->bytes +=
				(uint64_t)head->events[i]->meta_size + head->events[i]->data_size;
		}
	}
}

bool brk_load_has_room(const struct brk_core *core)
{
	return core->deliveries.n_used <= core->conf.max_events / 4 * 3 &&
	       core->event_bytes <= core->conf.max_event_bytes / 4 * 3;
}

/* An entry that is larger than what is left to what is adopted may come when nothing else is here. */
static bool fits(const struct brk_core *core, const struct load *load)
{
	uint32_t used = core->deliveries.n_used;

	if (used + load->live > core->conf.max_events)
		return false;
	if (used == 0)
		return true;
	return used + load->live <= core->conf.max_events / 4 * 3 &&
	       core->event_bytes + load->bytes <= core->conf.max_event_bytes / 4 * 3;
}

/* ---- taking --------------------------------------------------------------- */

static void copy_history(
	struct brk_core *core, struct brk_delivery *delivery, const Pirn__JournalDelivery *from)
{
	for (size_t i = 0; i < from->n_history; i++)
		brk_pack_attempt(core, delivery, from->history[i]);
}

/* A letter that went back has its budget anew: not the next failure of any kind is to be called poison. */
static uint16_t deaths_of(const Pirn__JournalDelivery *from)
{
	uint32_t most = from->end == PIRN__JOURNAL_END__END_DEAD ? BRK_DEATHS_ALONE : UINT16_MAX;

	return (uint16_t)(from->deaths < most ? from->deaths : most);
}

/* A letter that went back may run once: who sent it was asked to mend the circle. */
static uint8_t hops_of(const struct brk_core *core, const Pirn__JournalEvent *event,
	const Pirn__JournalDelivery *from)
{
	uint32_t most = from->end == PIRN__JOURNAL_END__END_DEAD ? BRK_HOPS_MAX : UINT8_MAX;

	if (BRK_FAULTY(core, HOPS_FORGOTTEN))
		most = 0;
	return (uint8_t)(event->hops < most ? event->hops : most);
}

static struct base_block *callback_of(struct brk_core *core, const Pirn__JournalEvent *event)
{
	struct base_block *url;

	if (!event->callback || BRK_FAULTY(core, CALLBACK_FORGOTTEN))
		return NULL;
	url = base_pool_copy(&core->pool, event->callback, (uint32_t)strlen(event->callback) + 1);
	if (!url)
		base_no_memory("adopted events");
	return url;
}

/* What the owner before went by when it sent a run. Of a service that nobody has told us of it may be
 * anything that a manifest may say. */
static uint32_t longest_run(const struct brk_service *service)
{
	return service->entry.announced_ms > 0 ? service->longest_ms : BRK_MAX_TIMEOUT_MS;
}

static void fill(struct brk_core *core, struct brk_delivery *delivery, const struct load *load,
	const Pirn__JournalEvent *event, const Pirn__JournalDelivery *from)
{
	const struct brk_service *service = delivery->service;
	uint64_t written = load->from->written_ms;

	delivery->flags = BRK_DELIVERY_DOUBT;
	if (load->journal->adopted)
		delivery->flags |= BRK_DELIVERY_FOREIGN;
	if (event->flags & PIRN__JOURNAL_FLAG__KEEP_RESULT)
		delivery->flags |= BRK_DELIVERY_KEEP_RESULT;
	if (event->flags & PIRN__JOURNAL_FLAG__FANNED)
		delivery->flags |= BRK_DELIVERY_FANNED;
	if (event->has_trace) {
		delivery->flags |= BRK_DELIVERY_TRACED;
		memcpy(delivery->trace, event->trace.data, sizeof delivery->trace);
	}
	delivery->attempt = from->attempt > 0 ? from->attempt - 1 : 0;
	delivery->budget = from->budget > 0 ? from->budget : 1;
	delivery->deaths = deaths_of(from);
	delivery->hops = hops_of(core, event, from);
	delivery->callback = callback_of(core, event);
	delivery->accepted_ms = event->accepted_ms ? event->accepted_ms : written;
	delivery->not_before_ms = from->not_before_ms;
	delivery->not_after_ms =
		from->not_after_ms ? from->not_after_ms : brk_service_not_after(service, written);
	/* A letter's last run was sent before the letter went back, by whomever. */
	if (written < load->journal->fence_base_ms)
		written = load->journal->fence_base_ms;
	delivery->fence_ms = written + BRK_TRUST_MS + longest_run(service) + 2 * BRK_LEASE_MS;
	copy_history(core, delivery, from);
}

/* Every broker hears of every service; one that nobody told us of is made by its name, and gets its
 * settings when somebody announces it. */
struct brk_service *brk_service_named(struct brk_core *core, const char *name)
{
	struct brk_service *service = brk_service_find(core, name);
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Entry entry = PIRN__ENTRY__INIT;

	if (service)
		return service;
	manifest.service = (char *)(uintptr_t)name; /* protobuf-c knows no const; it is only read */
	entry.manifest = &manifest;
	brk_registry_entry(core, &entry);
	return brk_service_find(core, name);
}

static void take_one(struct brk_core *core, struct load *load, const Pirn__JournalEvent *event,
	const Pirn__JournalDelivery *from, uint32_t bit, uint32_t body_at)
{
	struct brk_service *service = brk_service_find(core, from->service);
	struct brk_delivery *delivery =
		brk_delivery_new(core, service, event->id.data, event->meta_size, event->data_size);

	if (!delivery)
		base_no_memory(
			"adopted events"); /* half an entry would be lost: better that all of it is adopted */
	fill(core, delivery, load, event, from);
	brk_entry_enter(load->entry, delivery, bit, body_at);
	brk_delivery_apply(core, delivery, BRK_DELIVERY_EV_STORED);
	brk_ending_look(core, delivery);
}

static void take(struct brk_core *core, struct load *load, const Pirn__JournalEntry *head)
{
	uint32_t bit = 0, at = 0;

	for (size_t i = 0; i < head->n_events; i++) {
		const Pirn__JournalEvent *event = head->events[i];

		for (size_t j = 0; j < event->n_deliveries; j++, bit++)
			if (!has_ended(core, load->from, bit))
				take_one(core, load, event, event->deliveries[j], bit, at);
		at += event->meta_size + event->data_size;
	}
}

static bool know_services(struct brk_core *core, const Pirn__JournalEntry *head)
{
	for (size_t i = 0; i < head->n_events; i++)
		for (size_t j = 0; j < head->events[i]->n_deliveries; j++)
			if (!brk_service_named(core, head->events[i]->deliveries[j]->service))
				return false;
	return true;
}

static bool make_entry(struct brk_core *core, struct load *load)
{
	const struct store_entry *from = load->from;
	struct base_block *body = brk_body_new(core, from->body.data, from->body.size);

	if (!body)
		return false;
	load->entry = brk_entry_new(
		core, load->journal, from->epoch, from->turn, from->written_ms, load->n, body);
	base_block_unref(&body);
	return load->entry != NULL;
}

bool brk_load_entry(
	struct brk_core *core, struct brk_journal *journal, const struct store_entry *from)
{
	struct load load = { .journal = journal, .from = from };
	Pirn__JournalEntry *head = unpack(core, from);

	if (!head && core->pages.starved)
		return false; /* it may be sound: to pass it over would lose it */
	load.n = head ? judge(head, from->body.size) : 0;
	if (load.n == 0) {
		brk_act_log(core, BRK_LOG_entry_unreadable, core->name, from->turn);
		return true;
	}
	count(core, &load, head);
	if (load.live == 0)
		return true;
	if (!fits(core, &load) || !know_services(core, head) || !make_entry(core, &load))
		return false;
	take(core, &load, head);
	return true;
}
