/* include/pirn/service.h, events: what a run sends is packed when it is said, one Emit behind the other, and
 * stands behind the answer's body in the RESULT.
 *
 * Its id is made here, of the run's id, the service and the place among the others, so that the event
 * knows it (ce-id) and every attempt sends the same. A call that came without an id sends nothing: what it
 * sent would be called as what the next one sends. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/manifest.h"
#include "worker/request.h"

#define EMITS_MAX   64u
#define EMITS_BYTES (256u * 1024)
#define TOPIC_MAX   4096u
#define TYPE_MAX    255u
#define TAG_EVENTS  0x0a /* Emits.events */
#define VARINT_MAX  5

/* ---- ids ------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t value)
{
	h = (h ^ value) * 0x9E3779B97F4A7C15u;
	h = (h ^ h >> 32) * 0xD6E8FEB86659FD93u;
	return h ^ h >> 32;
}

static uint64_t hash_of(const struct pirn_request *req, uint64_t seed)
{
	uint64_t h = seed, half;

	for (size_t i = 0; i < 2; i++) {
		memcpy(&half, req->run->id + 8 * i, sizeof half);
		h = mix(h, half);
	}
	for (const char *c = wrk_native_name(req->native); *c; c++)
		h = mix(h, (uint8_t)*c);
	return mix(h, req->run->n_emits);
}

/* A ULID of the moment of the run's own. */
static void make_id(const struct pirn_request *req, uint8_t id[BASE_ULID_SIZE])
{
	uint64_t a = hash_of(req, 1), b = hash_of(req, 2);

	memcpy(id, req->run->id, 6);
	memcpy(id + 6, &a, 8);
	memcpy(id + 14, &b, 2);
}

/* ---- what is said ------------------------------------------------------------ */

static bool is_text(const char *text, size_t most)
{
	size_t size = strnlen(text, most + 1);

	if (size == 0 || size > most)
		return false;
	for (size_t i = 0; i < size; i++)
		if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	return pirn_utf8_valid(text, size);
}

static bool is_sound(const struct pirn_emitted *event)
{
	if ((event->size > 0 && !event->data) ||
		(event->content_type && !is_text(event->content_type, TYPE_MAX)))
		return false;
	if (event->service)
		return !event->type && !event->source && !event->subject &&
		       base_manifest_is_service(event->service);
	return event->type && is_text(event->type, TOPIC_MAX) &&
	       (!event->source || is_text(event->source, TOPIC_MAX)) &&
	       (!event->subject || is_text(event->subject, TOPIC_MAX));
}

/* ---- packing ----------------------------------------------------------------- */

struct headers {
	Pirn__Header list[6], *pointers[6];
	size_t n;
};

static ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

/* As CloudEvents writes a header's value. NULL: there is no memory. */
static const char *encode(struct base_arena *arena, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	char *out = base_arena_alloc(arena, 3 * strlen(text) + 1), *at = out;

	for (; out && *text; text++) {
		uint8_t c = (uint8_t)*text;

		if (c > ' ' && c <= '~' && c != '"' && c != '%') {
			*at++ = *text;
			continue;
		}
		*at++ = '%';
		*at++ = digits[c >> 4];
		*at++ = digits[c & 15];
	}
	if (out)
		*at = '\0';
	return out;
}

static void add_header(struct headers *h, const char *name, const char *value)
{
	Pirn__Header *one = &h->list[h->n];

	if (!value)
		return;
	pirn__header__init(one);
	one->name = bytes_of(name);
	one->value = bytes_of(value);
	h->pointers[h->n++] = one;
}

static bool add_attribute(
	struct base_arena *arena, struct headers *h, const char *name, const char *text)
{
	const char *value = text ? encode(arena, text) : NULL;

	add_header(h, name, value);
	return !text || value;
}

static bool pack_meta(struct pirn_request *req, const struct pirn_emitted *event,
	const char *source, const char *id, ProtobufCBinaryData *out)
{
	Pirn__HttpRequest http = PIRN__HTTP_REQUEST__INIT;
	struct headers headers = { .n = 0 };

	http.method = bytes_of("POST");
	http.target = bytes_of(event->type ? "/v1/events" : "/");
	add_header(&headers, "content-type",
		event->content_type ? event->content_type : "application/json");
	if (event->type) {
		add_header(&headers, "ce-specversion", "1.0");
		add_header(&headers, "ce-id", id);
		if (!add_attribute(&req->arena, &headers, "ce-type", event->type) ||
			!add_attribute(&req->arena, &headers, "ce-source", source) ||
			!add_attribute(&req->arena, &headers, "ce-subject", event->subject))
			return false;
	}
	http.headers = headers.pointers;
	http.n_headers = headers.n;
	out->len = pirn__http_request__get_packed_size(&http);
	out->data = base_arena_alloc(&req->arena, out->len);
	if (out->data)
		(void)pirn__http_request__pack(&http, out->data);
	return out->data != NULL;
}

static uint8_t *put_varint(uint8_t *at, size_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	return at;
}

static int append(struct wrk_run *run, const Pirn__Emit *emit)
{
	size_t size = pirn__emit__get_packed_size(emit);
	uint8_t *start = base_buf_room(&run->emits, 1 + VARINT_MAX + size), *at = start;

	if (!at) {
		run->emits.failed = false; /* what is in it is whole */
		return PIRN_ERR_NOMEM;
	}
	*at++ = TAG_EVENTS;
	at = put_varint(at, size);
	at += pirn__emit__pack(emit, at);
	base_buf_grew(&run->emits, (size_t)(at - start));
	run->n_emits++;
	run->emit_bytes += (uint32_t)(emit->meta.len + emit->data.len);
	return PIRN_OK;
}

static bool has_id(const struct wrk_run *run)
{
	static const uint8_t none[BASE_ULID_SIZE];

	return memcmp(run->id, none, sizeof none) != 0;
}

int pirn_emit(struct pirn_request *req, const struct pirn_emitted *event)
{
	struct wrk_run *run = req->sends;
	char source[sizeof "/services/" + BASE_MANIFEST_NAME_MAX], id[BASE_ULID_TEXT + 1];
	Pirn__Emit emit = PIRN__EMIT__INIT;
	uint8_t bytes[BASE_ULID_SIZE];

	if (!run || !has_id(run) || !is_sound(event))
		return PIRN_ERR_INVALID;
	if (run->mute)
		return PIRN_ERR_UNAVAILABLE;
	if (run->n_emits == 0)
		base_buf_reset(&run->emits);
	if (run->n_emits == EMITS_MAX || event->size > EMITS_BYTES - run->emit_bytes)
		return PIRN_ERR_LIMIT;
	(void)snprintf(source, sizeof source, "/services/%s", wrk_native_name(req->native));
	make_id(req, bytes);
	base_ulid_print(bytes, id);
	emit.type = (char *)(uintptr_t)event->type;
	emit.subject = (char *)(uintptr_t)event->subject;
	emit.service = (char *)(uintptr_t)event->service;
	if (event->type)
		emit.source = event->source ? (char *)(uintptr_t)event->source : source;
	emit.has_id = true;
	emit.id = (ProtobufCBinaryData){ sizeof bytes, bytes };
	emit.data = (ProtobufCBinaryData){ event->size, (uint8_t *)(uintptr_t)event->data };
	if (!pack_meta(req, event, emit.source, id, &emit.meta)) {
		req->failed = true;
		return PIRN_ERR_NOMEM;
	}
	if (emit.meta.len > EMITS_BYTES - run->emit_bytes - event->size)
		return PIRN_ERR_LIMIT;
	return append(run, &emit);
}

int pirn_emit_json(struct pirn_request *req, const char *type, const char *subject,
	const char *format, ...)
{
	struct pirn_emitted event = { .type = type, .subject = subject };
	va_list args, again;
	char *text;
	int size;

	va_start(args, format);
	va_copy(again, args);
	size = vsnprintf(NULL, 0, format, args);
	text = size >= 0 ? pirn_scratch(req, (size_t)size + 1) : NULL;
	if (text)
		(void)vsnprintf(text, (size_t)size + 1, format, again);
	va_end(again);
	va_end(args);
	if (!text)
		return PIRN_ERR_NOMEM;
	event.data = text;
	event.size = (size_t)size;
	return pirn_emit(req, &event);
}

/* ---- the end ------------------------------------------------------------------- */

enum wrk_fault wrk_emits_seal(struct wrk_run *run)
{
	if (run->n_emits == 0 || run->status >= 400)
		return WRK_FAULT_NONE;
	base_buf_add(&run->body, run->emits.data, run->emits.size);
	if (run->body.failed)
		return WRK_FAULT_NOMEM;
	run->emit_size = (uint32_t)run->emits.size;
	return WRK_FAULT_NONE;
}
