#include "broker/core/pack.h"

#include <stdlib.h>
#include <string.h>

#include "broker/core/parts.h"

/* ---- the wire ------------------------------------------------------------- */

#define VARINT           0
#define BYTES            2
#define TAG(field, type) ((uint8_t)((field) << 3 | (type)))

#define EVENT_DELIVERIES TAG(9, BYTES)
#define HISTORY          TAG(7, BYTES)
#define HEAD_EVENTS      TAG(1, BYTES)

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	return at;
}

static uint8_t *put_number(uint8_t *at, uint8_t tag, uint64_t value)
{
	if (value == 0)
		return at;
	*at++ = tag;
	return put_varint(at, value);
}

static uint8_t *put_bytes(uint8_t *at, uint8_t tag, const void *bytes, size_t size)
{
	*at++ = tag;
	at = put_varint(at, size);
	memcpy(at, bytes, size);
	return at + size;
}

static unsigned varint_size(uint64_t value)
{
	unsigned size = 1;

	while (value >>= 7)
		size++;
	return size;
}

/* ---- events --------------------------------------------------------------- */

#define DELIVERY_MAX (BRK_NAME_SIZE + 96) /* without a history */
#define EVENT_MAX    (176 + BRK_CALLBACK_MAX) /* without its deliveries */

/* Each part behind the other, so that their sizes are known when they are put together. */
struct parts {
	uint8_t event[EVENT_MAX], delivery[DELIVERY_MAX];
	size_t event_size, delivery_size;
};

static const struct base_block nothing;

static const struct base_block *past_of(const struct brk_delivery *delivery)
{
	return delivery->past ? delivery->past : &nothing;
}

/* deliveries of a letter say more about themselves */
static uint8_t *put_delivery(uint8_t *at, const struct brk_delivery *d, const struct brk_end *dead)
{
	uint32_t next = d->attempt + 1, budget = dead ? next : d->budget;

	at = put_bytes(at, TAG(1, BYTES), d->service->name, strlen(d->service->name));
	at = put_number(at, TAG(2, VARINT), next > 1 ? next : 0);
	at = put_number(at, TAG(3, VARINT), budget > 1 ? budget : 0);
	at = put_number(at, TAG(4, VARINT), dead ? 0 : d->not_before_ms);
	at = put_number(at, TAG(5, VARINT), dead ? 0 : d->not_after_ms);
	at = put_number(at, TAG(6, VARINT), d->deaths);
	if (dead) {
		at = put_number(at, TAG(8, VARINT), PIRN__JOURNAL_END__END_DEAD);
		at = put_number(at, TAG(9, VARINT), dead->reason);
		at = put_number(at, TAG(10, VARINT), dead->ended_ms);
	}
	return at;
}

static uint32_t flags_of(const struct brk_delivery *d)
{
	uint32_t flags = 0;

	if (d->flags & BRK_DELIVERY_KEEP_RESULT)
		flags |= PIRN__JOURNAL_FLAG__KEEP_RESULT;
	if (d->flags & BRK_DELIVERY_FANNED)
		flags |= PIRN__JOURNAL_FLAG__FANNED;
	return flags;
}

static uint8_t *put_event(
	uint8_t *at, const struct brk_delivery *d, const struct brk_arrival *arrival)
{
	at = put_bytes(at, TAG(1, BYTES), d->id, sizeof d->id);
	if (arrival && arrival->has_lane) {
		uint8_t lane[STORE_ENTRY_LANE];

		for (size_t i = 0; i < sizeof lane; i++)
			lane[i] = (uint8_t)(arrival->lane >> (56 - 8 * i));
		at = put_bytes(at, TAG(2, BYTES), lane, sizeof lane);
		at = put_number(at, TAG(3, VARINT), arrival->number);
	}
	at = put_number(at, TAG(4, VARINT), d->accepted_ms);
	at = put_number(at, TAG(5, VARINT), flags_of(d));
	at = put_number(at, TAG(6, VARINT), d->meta_size);
	at = put_number(at, TAG(7, VARINT), d->data_size);
	if (d->flags & BRK_DELIVERY_TRACED)
		at = put_bytes(at, TAG(8, BYTES), d->trace, sizeof d->trace);
	at = put_number(at, TAG(10, VARINT), d->hops);
	if (d->callback)
		at = put_bytes(at, TAG(11, BYTES), d->callback->data, d->callback->size - 1);
	return at;
}

static enum base_err put_together(
	const struct parts *parts, const struct base_block *past, struct base_buf *out)
{
	size_t delivery = parts->delivery_size + past->size;
	size_t event = parts->event_size + 1 + varint_size(delivery) + delivery;
	uint8_t *start = base_buf_room(out, 1 + varint_size(event) + event), *at = start;

	if (!at)
		return BASE_NOMEM;
	*at++ = HEAD_EVENTS;
	at = put_varint(at, event);
	memcpy(at, parts->event, parts->event_size);
	at += parts->event_size;
	*at++ = EVENT_DELIVERIES;
	at = put_varint(at, delivery);
	memcpy(at, parts->delivery, parts->delivery_size);
	at += parts->delivery_size;
	if (past->size > 0)
		memcpy(at, past->data, past->size);
	base_buf_grew(out, (size_t)(at - start) + past->size);
	return BASE_OK;
}

static enum base_err pack(const struct brk_delivery *delivery, const struct brk_arrival *arrival,
	const struct brk_end *dead, struct base_buf *out)
{
	struct parts parts;

	parts.event_size = (size_t)(put_event(parts.event, delivery, arrival) - parts.event);
	parts.delivery_size =
		(size_t)(put_delivery(parts.delivery, delivery, dead) - parts.delivery);
	return put_together(&parts, past_of(delivery), out);
}

/* Of several: the sizes first, then each once more. */
static size_t delivery_size(const struct brk_delivery *delivery)
{
	uint8_t bytes[DELIVERY_MAX];

	return (size_t)(put_delivery(bytes, delivery, NULL) - bytes) + past_of(delivery)->size;
}

static uint8_t *put_one_of_many(uint8_t *at, const struct brk_delivery *delivery)
{
	const struct base_block *past = past_of(delivery);

	*at++ = EVENT_DELIVERIES;
	at = put_varint(at, delivery_size(delivery));
	at = put_delivery(at, delivery, NULL);
	if (past->size > 0)
		memcpy(at, past->data, past->size);
	return at + past->size;
}

static enum base_err pack_many(struct brk_delivery *const *deliveries, uint32_t n,
	const struct brk_arrival *arrival, struct base_buf *out)
{
	uint8_t event[EVENT_MAX], *start, *at;
	size_t event_size = (size_t)(put_event(event, deliveries[0], arrival) - event);
	size_t size = event_size;

	for (uint32_t i = 0; i < n; i++) {
		size_t one = delivery_size(deliveries[i]);

		size += 1 + varint_size(one) + one;
	}
	start = at = base_buf_room(out, 1 + varint_size(size) + size);
	if (!at)
		return BASE_NOMEM;
	*at++ = HEAD_EVENTS;
	at = put_varint(at, size);
	memcpy(at, event, event_size);
	at += event_size;
	for (uint32_t i = 0; i < n; i++)
		at = put_one_of_many(at, deliveries[i]);
	base_buf_grew(out, (size_t)(at - start));
	return BASE_OK;
}

enum base_err brk_pack_event(struct brk_delivery *const *deliveries, uint32_t n,
	const struct brk_arrival *arrival, struct base_buf *out)
{
	if (n == 1)
		return pack(deliveries[0], arrival, NULL, out);
	return pack_many(deliveries, n, arrival, out);
}

struct base_block *brk_pack_letter(
	struct brk_core *core, const struct brk_delivery *delivery, const struct brk_end *end)
{
	struct base_buf *out = &core->scratch;

	base_buf_reset(out);
	if (pack(delivery, NULL, end, out))
		return NULL;
	return base_pool_copy(&core->pool, out->data, (uint32_t)out->size);
}

/* ---- history -------------------------------------------------------------- */

/* Our own bytes: each record is a tag, a size below 2^14, and that many bytes. */
static size_t record_size(const uint8_t *record)
{
	size_t size = record[1] & 0x7f;

	if (record[1] < 0x80)
		return 2 + size;
	return 3 + (size | (size_t)record[2] << 7);
}

static size_t count_records(const struct base_block *past)
{
	size_t n = 0;

	for (size_t at = 0; at < past->size; n++)
		at += record_size(past->data + at);
	return n;
}

void brk_pack_attempt(
	struct brk_core *core, struct brk_delivery *delivery, const Pirn__JournalAttempt *attempt)
{
	const struct base_block *past = past_of(delivery);
	size_t skip = count_records(past) >= STORE_HISTORY_MAX ? record_size(past->data) : 0;
	size_t size = pirn__journal_attempt__get_packed_size(attempt);
	struct base_buf *out = &core->scratch;
	struct base_block *longer;
	uint8_t *at;

	base_buf_reset(out);
	base_buf_add(out, past->data ? past->data + skip : NULL, past->size - skip);
	at = base_buf_room(out, size + 4);
	if (!at || base_buf_check(out))
		base_no_memory("what an attempt came to");
	*at++ = HISTORY;
	at = put_varint(at, size);
	at += pirn__journal_attempt__pack(attempt, at);
	longer = base_pool_copy(&core->pool, out->data, (uint32_t)(at - out->data));
	if (!longer)
		base_no_memory("what an attempt came to");
	base_block_unref(&delivery->past);
	delivery->past = longer;
}

/* ---- results -------------------------------------------------------------- */

struct base_block *brk_pack_result(struct brk_core *core, const struct brk_delivery *delivery,
	const struct brk_end *end, const struct brk_payload *payload, uint32_t *data_size)
{
	const struct base_block *past = past_of(delivery);
	bool fits = (uint64_t)payload->meta_size + payload->data_size <= BRK_MAX_RESULT;
	size_t meta = fits ? payload->meta_size : 0, data = fits ? payload->data_size : 0;
	struct base_buf *out = &core->scratch;
	uint8_t *start, *at;

	base_buf_reset(out);
	start = at = base_buf_room(out, past->size + meta + data + 96);
	if (!at)
		return NULL;
	at = put_number(at, TAG(1, VARINT), end->end);
	at = put_number(at, TAG(2, VARINT), end->reason);
	at = put_number(at, TAG(3, VARINT), end->status);
	at = put_number(at, TAG(4, VARINT), delivery->accepted_ms);
	at = put_number(at, TAG(5, VARINT), end->ended_ms);
	at = put_number(at, TAG(6, VARINT), delivery->attempt);
	if (past->size > 0)
		memcpy(at, past->data, past->size);
	at += past->size;
	if (meta > 0)
		at = put_bytes(at, TAG(8, BYTES), payload->bytes, meta);
	if (data > 0)
		at = put_bytes(at, TAG(9, BYTES), payload->bytes + meta, data);
	*data_size = (uint32_t)data;
	return base_pool_copy(&core->pool, start, (uint32_t)(at - start));
}
