/* What a run sends (a packed Emits, a worker's bytes), read by a core that knows three services and
 * some subscriptions. Read beside it, without a core: what is taken is sound, within the bounds, and
 * all of it, byte for byte; what is not leaves nothing behind.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "broker/core/callback.h"
#include "broker/core/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct brk_core *core;

static void announce(const char *name, const char *type, const char *source)
{
	Pirn__Subscription one = PIRN__SUBSCRIPTION__INIT, *list = &one;
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Entry entry = PIRN__ENTRY__INIT;

	one.type = (char *)(uintptr_t)type;
	one.source = (char *)(uintptr_t)source;
	manifest.service = (char *)(uintptr_t)name;
	manifest.subscriptions = &list;
	manifest.n_subscriptions = type ? 1 : 0;
	entry.manifest = &manifest;
	(void)brk_core_entry(core, 1000, &entry);
	assert(brk_service_find(core, name));
}

static void begin(void)
{
	const struct brk_conf conf = { .name = "fuzz",
		.boot = "0123456789abcde",
		.max_calls = 8,
		.max_bytes = 1 << 20,
		.max_item_bytes = 1 << 20,
		.beat_ms = 1000,
		.missed_beats = 3,
		.max_peers = 4,
		.max_services = 8,
		.forget_ms = 86400000,
		.seed = 7,
		.events = true,
		.max_events = 200,
		.max_event_bytes = 400000 };

	if (core)
		return;
	assert(brk_core_new(&conf, &core) == BASE_OK);
	announce("hello", NULL, NULL);
	announce("bill", "order.*", NULL);
	announce("audit", "*", "/services/*");
	announce(BRK_CALLBACK_SERVICE, NULL, NULL);
}

/* A second opinion: how many deliveries it makes. -1: it must not be taken. */
static int deliveries_of(const Pirn__Emit *emit)
{
	const char *source = emit->source ? emit->source : "/services/hello";

	if (emit->has_id && emit->id.len != 16)
		return -1;
	if (emit->service) {
		if (emit->type || emit->source || emit->subject)
			return -1;
		return strcmp(emit->service, "hello") == 0 || strcmp(emit->service, "bill") == 0 ||
				       strcmp(emit->service, "audit") == 0
			       ? 1
			       : -1;
	}
	if (!emit->type || strlen(emit->type) == 0 || strlen(emit->type) > BRK_TOPIC_MAX ||
		strlen(source) > BRK_TOPIC_MAX ||
		(emit->subject && strlen(emit->subject) > BRK_TOPIC_MAX))
		return -1;
	return (strncmp(emit->type, "order.", 6) == 0) + (strncmp(source, "/services/", 10) == 0);
}

/* How many in all. */
static long judge(const Pirn__Emits *emits, long *n_events)
{
	uint64_t bytes = 0;
	long n = 0;

	*n_events = 0;
	if (!emits || emits->n_events > BRK_EMITS_MAX)
		return -1;
	for (size_t i = 0; i < emits->n_events; i++) {
		int one = deliveries_of(emits->events[i]);

		if (one < 0)
			return -1;
		bytes += emits->events[i]->meta.len + emits->events[i]->data.len;
		n += one;
		*n_events += one > 0;
	}
	return bytes > BRK_EMITS_BYTES ? -1 : n;
}

/* Those that somebody takes, in their order. */
static void compare(const Pirn__Emits *emits, const struct brk_emits *taken)
{
	struct brk_delivery *const *deliveries = taken->deliveries;
	size_t at = 0;

	for (size_t i = 0; i < emits->n_events; i++) {
		const Pirn__Emit *from = emits->events[i];
		const struct brk_payload *to = &taken->events[at].payload;

		if (deliveries_of(from) == 0)
			continue;
		assert(at < taken->n && (int)taken->events[at].n == deliveries_of(from));
		assert(to->meta_size == from->meta.len && to->data_size == from->data.len);
		assert(to->meta_size == 0 || memcmp(to->bytes, from->meta.data, to->meta_size) == 0);
		assert(to->data_size == 0 ||
			memcmp(to->bytes + to->meta_size, from->data.data, to->data_size) == 0);
		for (uint32_t j = 0; j < taken->events[at].n; j++, deliveries++) {
			assert((*deliveries)->hops == 4 &&
				(*deliveries)->state == BRK_DELIVERY_ARRIVING);
			assert(!from->has_id || memcmp((*deliveries)->id, from->id.data, 16) == 0);
			assert(!from->service ||
				strcmp((*deliveries)->service->name, from->service) == 0);
		}
		at++;
	}
	assert(at == taken->n && deliveries == taken->deliveries + taken->n_deliveries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t id[16] = "parent of it all";
	struct brk_emitter emitter = { .id = id, .hops = 3 };
	Pirn__Emits *emits;
	struct brk_emits *taken;
	long n, n_events;
	uint32_t reason;

	begin();
	emitter.service = brk_service_find(core, "hello");
	reason = brk_emit_read(core, &emitter, data, size);
	emits = size <= BRK_EMITS_ROOM ? pirn__emits__unpack(NULL, size, data) : NULL;
	n = judge(emits, &n_events);
	if (reason == PIRN__REASON__NONE) {
		assert(emits && n >= 0);
		taken = brk_emit_take(core);
		assert(n == (taken ? (long)taken->n_deliveries : 0));
		assert(n_events == (taken ? (long)taken->n : 0));
		if (taken) {
			assert(brk_emits_deliveries(taken) == taken->n_deliveries);
			compare(emits, taken);
			brk_emits_drop(core, &taken);
		}
	} else {
		/* What is sound is refused for want of room only. */
		assert(n < 0 || reason == PIRN__REASON__OVERLOADED ||
			reason == PIRN__REASON__QUEUE_FULL);
	}
	assert(core->deliveries.n_used == 0 && core->event_bytes == 0);
	(void)brk_core_tick(core, 1000, 1800000000000u);
	brk_core_check(core);
	if (emits)
		pirn__emits__free_unpacked(emits, NULL);
	return 0;
}
