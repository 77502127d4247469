#include "broker/core/callback.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/ulid.h"
#include "broker/core/parts.h"

#define HEADERS     8
#define SOURCE_ROOM (sizeof "/v1/invocations/" + BASE_ULID_TEXT)
#define ID_ROOM     (BASE_ULID_TEXT + 1 + BRK_NAME_SIZE)

bool brk_callback_is(const char *service)
{
	return service && strcmp(service, BRK_CALLBACK_SERVICE) == 0;
}

/* ---- what is said ----------------------------------------------------------- */

static const char *state_of(const struct brk_end *end)
{
	switch (end->end) {
	case PIRN__JOURNAL_END__END_DONE:
		return "done";
	case PIRN__JOURNAL_END__END_DEAD:
		return "dead";
	case PIRN__JOURNAL_END__END_EXPIRED:
		return "expired";
	default:
		return "cancelled";
	}
}

/* As the gateway names it. */
static void add_reason(struct base_buf *out, uint32_t reason)
{
	const ProtobufCEnumValue *value =
		protobuf_c_enum_descriptor_get_value(&pirn__reason__descriptor, (int)reason);

	if (reason == PIRN__REASON__NONE || !value) {
		base_buf_str(out, "null");
		return;
	}
	base_buf_chr(out, '"');
	for (const char *c = value->name; *c; c++)
		base_buf_chr(out, (char)tolower((unsigned char)*c));
	base_buf_chr(out, '"');
}

static void add_base64(struct base_buf *out, const uint8_t *bytes, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < size; i += 3) {
		uint32_t b = (uint32_t)bytes[i] << 16;

		b |= i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0;
		b |= i + 2 < size ? bytes[i + 2] : 0;
		base_buf_chr(out, digits[b >> 18]);
		base_buf_chr(out, digits[b >> 12 & 63]);
		base_buf_chr(out, i + 1 < size ? digits[b >> 6 & 63] : '=');
		base_buf_chr(out, i + 2 < size ? digits[b & 63] : '=');
	}
}

/* UNTRUSTED: a worker's. */
static void add_content_type(struct base_buf *out, const struct brk_payload *payload)
{
	Pirn__HttpResponse *http =
		pirn__http_response__unpack(NULL, payload->meta_size, payload->bytes);

	for (size_t i = 0; http && i < http->n_headers; i++) {
		const Pirn__Header *h = http->headers[i];

		if (h->name.len != strlen("content-type") ||
			strncasecmp((const char *)h->name.data, "content-type", h->name.len) != 0)
			continue;
		base_buf_str(out, ",\"content_type\":");
		base_buf_json(out, h->value.data, h->value.len);
		break;
	}
	if (http)
		pirn__http_response__free_unpacked(http, NULL);
}

/* No bound holds back what tells of an end, so the answer, which may be far larger than the event was, goes
 * along only while what runs send would be taken. */
static bool has_room(const struct brk_core *core, const struct brk_payload *payload)
{
	return core->event_bytes + payload->meta_size + payload->data_size <=
	       BRK_SENT_SHARE * core->conf.max_event_bytes;
}

static void add_result(
	const struct brk_core *core, struct base_buf *out, const struct brk_payload *payload)
{
	if (!payload->bytes || payload->data_size > BRK_CALLBACK_RESULT ||
		payload->meta_size > BRK_CALLBACK_RESULT || !has_room(core, payload))
		return;
	add_content_type(out, payload);
	base_buf_str(out, ",\"data_base64\":\"");
	add_base64(out, payload->bytes + payload->meta_size, payload->data_size);
	base_buf_chr(out, '"');
}

static void add_data(struct brk_core *core, const struct brk_delivery *delivery,
	const struct brk_end *end, const char *id, const struct brk_payload *payload)
{
	struct base_buf *out = &core->scratch;

	base_buf_fmt(out, "{\"id\":\"%s\",\"service\":\"%s\",\"state\":\"%s\",\"status\":", id,
		delivery->service->name, state_of(end));
	if (end->status > 0)
		base_buf_fmt(out, "%u", end->status);
	else
		base_buf_str(out, "null");
	base_buf_str(out, ",\"reason\":");
	add_reason(out, end->reason);
	base_buf_fmt(out, ",\"attempts\":%u", delivery->attempt);
	add_result(core, out, payload);
	base_buf_chr(out, '}');
}

/* ---- its request ------------------------------------------------------------- */

static ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){ strlen(text), (uint8_t *)(uintptr_t)text };
}

static void add_meta(struct base_buf *out, const struct brk_delivery *delivery, const char *url,
	const struct brk_end *end, const char *id)
{
	char source[SOURCE_ROOM], ce_id[ID_ROOM], type[64];
	const char *const headers[HEADERS][2] = { { "pirn-callback-url", url },
		{ "ce-specversion", "1.0" }, { "ce-id", ce_id }, { "ce-type", type },
		{ "ce-source", source }, { "ce-subject", delivery->service->name },
		{ "content-type", "application/json" } };
	Pirn__HttpRequest http = PIRN__HTTP_REQUEST__INIT;
	Pirn__Header list[HEADERS], *pointers[HEADERS];
	uint8_t *room;

	snprintf(source, sizeof source, "/v1/invocations/%s", id);
	snprintf(ce_id, sizeof ce_id, "%s.%s", id, delivery->service->name);
	snprintf(type, sizeof type, "pirn.invocation.%s", state_of(end));
	http.method = bytes_of("POST");
	http.target = bytes_of("/callback");
	for (; headers[http.n_headers][0]; http.n_headers++) {
		Pirn__Header *h = pointers[http.n_headers] = &list[http.n_headers];

		pirn__header__init(h);
		h->name = bytes_of(headers[http.n_headers][0]);
		h->value = bytes_of(headers[http.n_headers][1]);
	}
	http.headers = pointers;
	room = base_buf_room(out, pirn__http_request__get_packed_size(&http));
	if (room)
		base_buf_grew(out, pirn__http_request__pack(&http, room));
}

/* ---- the event ---------------------------------------------------------------- */

/* NULL: nobody is to be told. */
static const char *url_of(
	const struct brk_core *core, const struct brk_delivery *delivery, const struct brk_end *end)
{
	const Pirn__Manifest *manifest = delivery->service->entry.manifest;

	if (BRK_FAULTY(core, CALLBACK_UNTOLD) && end->reason != PIRN__REASON__NONE)
		return NULL;
	if (brk_callback_is(delivery->service->name) && !BRK_FAULTY(core, CALLBACK_OF_CALLBACK))
		return NULL;
	if (delivery->callback)
		return (const char *)delivery->callback->data;
	return manifest ? manifest->callback : NULL;
}

/* A letter that went back ends once more, maybe without a run between: then only the moment tells the two apart.
 * None of a list's places is so large. */
static uint64_t place_of(const struct brk_end *end)
{
	return UINT64_MAX - end->ended_ms;
}

struct brk_emits *brk_callback_of(struct brk_core *core, const struct brk_delivery *delivery,
	const struct brk_end *end, const struct brk_payload *payload)
{
	const struct brk_emitter emitter = { .id = delivery->id,
		.service = delivery->service,
		.trace = delivery->flags & BRK_DELIVERY_TRACED ? delivery->trace : NULL };
	const char *url = url_of(core, delivery, end);
	struct base_buf *out = &core->scratch;
	char id[BASE_ULID_TEXT + 1];
	struct brk_payload said = { 0 };

	if (!url)
		return NULL;
	base_ulid_print(delivery->id, id);
	base_buf_reset(out);
	add_meta(out, delivery, url, end, id);
	said.meta_size = (uint32_t)out->size;
	add_data(core, delivery, end, id, payload);
	if (base_buf_check(out))
		base_no_memory("what tells of an end");
	said.data_size = (uint32_t)out->size - said.meta_size;
	said.bytes = out->data;
	return brk_emit_owed(core, &emitter, BRK_CALLBACK_SERVICE, place_of(end), &said);
}
