#include "broker/core/emit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/manifest.h"
#include "broker/core/parts.h"

#define SOURCE_ROOM (sizeof "/services/" + BASE_MANIFEST_NAME_MAX)

/* ---- ids ------------------------------------------------------------------ */

static uint64_t mix(uint64_t h, uint64_t value)
{
	h = (h ^ value) * 0x9E3779B97F4A7C15u;
	h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
	return h ^ h >> 32;
}

static uint64_t hash_of(const struct brk_emitter *emitter, uint64_t seed, uint64_t place)
{
	uint64_t h = seed, half;

	for (size_t i = 0; i < 2; i++) {
		memcpy(&half, emitter->id + 8 * i, sizeof half);
		h = mix(h, half);
	}
	for (const char *c = emitter->service->name; *c; c++)
		h = mix(h, (uint8_t)*c);
	return mix(h, place);
}

/* As a ULID of the same moment: the first six bytes are its time. */
void brk_emit_id(const struct brk_emitter *emitter, uint64_t place, uint8_t id[16])
{
	uint64_t a = hash_of(emitter, 1, place), b = hash_of(emitter, 2, place);

	memcpy(id, emitter->id, 6);
	memcpy(id + 6, &a, 8);
	memcpy(id + 14, &b, 2);
}

/* ---- reading -------------------------------------------------------------- */

static bool is_sound(const Pirn__Emit *emit)
{
	if (emit->has_id && emit->id.len != 16)
		return false;
	if (emit->service)
		return !emit->type && !emit->source && !emit->subject;
	return emit->type != NULL;
}

static uint32_t judge(const Pirn__Emits *emits)
{
	uint64_t size = 0;

	if (emits->n_events > BRK_EMITS_MAX)
		return PIRN__REASON__TOO_LARGE;
	for (size_t i = 0; i < emits->n_events; i++) {
		if (!is_sound(emits->events[i]))
			return PIRN__REASON__MALFORMED;
		size += (uint64_t)emits->events[i]->meta.len + emits->events[i]->data.len;
	}
	return size > BRK_EMITS_BYTES ? PIRN__REASON__TOO_LARGE : PIRN__REASON__NONE;
}

/* Meta and data, adjacent. */
static bool payload_of(
	struct base_arena *arena, const Pirn__Emit *emit, struct brk_payload *payload)
{
	uint8_t *bytes = base_arena_alloc(arena, emit->meta.len + emit->data.len + 1);

	if (!bytes)
		return false;
	if (emit->meta.len > 0)
		memcpy(bytes, emit->meta.data, emit->meta.len);
	if (emit->data.len > 0)
		memcpy(bytes + emit->meta.len, emit->data.data, emit->data.len);
	*payload = (struct brk_payload){ .bytes = bytes,
		.meta_size = (uint32_t)emit->meta.len,
		.data_size = (uint32_t)emit->data.len };
	return true;
}

static uint32_t add(struct brk_core *core, const struct brk_emitter *emitter,
	const Pirn__Emit *emit, uint32_t place)
{
	struct brk_arrival arrival = { .number = place + 1 };
	char source[SOURCE_ROOM];
	Pirn__Item item = core->blank_item;
	struct brk_payload payload;
	uint8_t id[16];

	if (!payload_of(&core->pages, emit, &payload))
		return PIRN__REASON__OVERLOADED;
	if (emit->has_id)
		memcpy(id, emit->id.data, sizeof id);
	else
		brk_emit_id(emitter, place, id);
	(void)snprintf(source, sizeof source, "/services/%s", emitter->service->name);
	item.id = (ProtobufCBinaryData){ sizeof id, id };
	item.type = emit->type;
	item.source = emit->source ? emit->source : source;
	item.subject = emit->subject;
	item.service = emit->service;
	item.hops = emitter->hops + !BRK_FAULTY(core, HOPS_UNCOUNTED);
	item.has_trace = emitter->trace != NULL;
	item.trace = (ProtobufCBinaryData){ BRK_TRACE_SIZE, (uint8_t *)(uintptr_t)emitter->trace };
	return brk_fan_add(core, &arrival, &item, &payload);
}

uint32_t brk_emit_read(struct brk_core *core, const struct brk_emitter *emitter,
	const uint8_t *bytes, size_t size)
{
	ProtobufCAllocator allocator = brk_arena_allocator(&core->pages);
	Pirn__Emits *emits;
	uint32_t reason;

	brk_fan_begin(core);
	core->fan.sent = !emitter->by_call;
	if (size > BRK_EMITS_ROOM)
		return PIRN__REASON__TOO_LARGE;
	base_arena_reset(&core->pages);
	emits = pirn__emits__unpack(&allocator, size, bytes);
	if (!emits)
		return core->pages.starved ? PIRN__REASON__OVERLOADED : PIRN__REASON__MALFORMED;
	reason = judge(emits);
	for (size_t i = 0; i < emits->n_events && reason == PIRN__REASON__NONE; i++)
		reason = add(core, emitter, emits->events[i], (uint32_t)i);
	if (BRK_FAULTY(core, EMIT_HALF))
		reason = PIRN__REASON__NONE;
	/* One place is left for what tells of the end. */
	if (reason == PIRN__REASON__NONE && core->fan.n_deliveries == STORE_ENTRY_DELIVERIES)
		reason = PIRN__REASON__TOO_LARGE;
	if (reason != PIRN__REASON__NONE)
		brk_fan_undo(core);
	return reason;
}

/* ---- what goes with an end ------------------------------------------------ */

static size_t size_of(const struct brk_payload *payload)
{
	return (size_t)payload->meta_size + payload->data_size;
}

static struct brk_emits *emits_new(uint32_t n, uint32_t n_deliveries, size_t bytes)
{
	struct brk_emits *emits = calloc(1, sizeof *emits);

	if (emits) {
		emits->events = calloc(n, sizeof *emits->events);
		emits->deliveries = calloc(n_deliveries, sizeof(struct brk_delivery *));
		emits->bytes = malloc(bytes + 1);
	}
	if (!emits || !emits->events || !emits->deliveries || !emits->bytes)
		base_no_memory("what a run sends");
	emits->n = n;
	emits->n_deliveries = n_deliveries;
	return emits;
}

struct brk_emits *brk_emit_take(struct brk_core *core)
{
	struct brk_fan *fan = &core->fan;
	struct brk_emits *emits;
	size_t bytes = 0;

	core->figures.events_unrouted += fan->n_nothing;
	if (fan->n_arrivals == 0)
		return NULL;
	for (uint32_t i = 0; i < fan->n_arrivals; i++)
		bytes += size_of(&fan->payloads[i]);
	emits = emits_new(fan->n_arrivals, fan->n_deliveries, bytes);
	memcpy(emits->deliveries, fan->deliveries,
		fan->n_deliveries * sizeof(struct brk_delivery *));
	bytes = 0;
	for (uint32_t i = 0; i < fan->n_arrivals; i++) {
		struct brk_sent *sent = &emits->events[i];

		*sent = (struct brk_sent){ fan->arrivals[i].n, fan->payloads[i] };
		sent->payload.bytes = emits->bytes + bytes;
		if (size_of(&sent->payload) > 0)
			memcpy(emits->bytes + bytes, fan->payloads[i].bytes,
				size_of(&sent->payload));
		bytes += size_of(&sent->payload);
	}
	return emits;
}

struct brk_emits *brk_emit_owed(struct brk_core *core, const struct brk_emitter *emitter,
	const char *service, uint64_t place, const struct brk_payload *payload)
{
	struct brk_service *to = brk_service_named(core, service);
	Pirn__Item item = core->blank_item;
	uint8_t id[16];

	brk_emit_id(emitter, place, id);
	item.id = (ProtobufCBinaryData){ sizeof id, id };
	item.service = (char *)(uintptr_t)service;
	item.has_trace = emitter->trace != NULL;
	item.trace = (ProtobufCBinaryData){ BRK_TRACE_SIZE, (uint8_t *)(uintptr_t)emitter->trace };
	brk_fan_begin(core);
	if (!to || brk_fan_owe(core, to, &item, payload) != PIRN__REASON__NONE)
		base_no_memory("what tells of an end");
	return brk_emit_take(core);
}

uint32_t brk_emits_deliveries(const struct brk_emits *emits)
{
	uint32_t n = 0;

	for (; emits; emits = emits->next)
		n += emits->n_deliveries;
	return n;
}

uint64_t brk_emits_bytes(const struct brk_emits *emits)
{
	uint64_t n = 0;

	for (; emits; emits = emits->next)
		for (uint32_t i = 0; i < emits->n; i++)
			n += size_of(&emits->events[i].payload);
	return n;
}

void brk_emits_write(struct brk_commit *commit, const struct brk_emits *emits)
{
	for (; emits; emits = emits->next) {
		struct brk_delivery *const *deliveries = emits->deliveries;

		for (uint32_t i = 0; i < emits->n; deliveries += emits->events[i++].n)
			if (brk_commit_write(commit, deliveries, emits->events[i].n, NULL,
				    &emits->events[i].payload))
				base_no_memory("what a run sends");
	}
}

void brk_emits_free(struct brk_emits **emits)
{
	while (*emits) {
		struct brk_emits *one = *emits;

		*emits = one->next;
		free(one->events);
		free(one->deliveries);
		free(one->bytes);
		free(one);
	}
}

void brk_emits_drop(struct brk_core *core, struct brk_emits **emits)
{
	for (const struct brk_emits *one = *emits; one; one = one->next)
		for (uint32_t i = 0; i < one->n_deliveries; i++)
			brk_delivery_apply(core, one->deliveries[i], BRK_DELIVERY_EV_FORGET);
	brk_emits_free(emits);
}
