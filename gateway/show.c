#include "gateway/show.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/ulid.h"
#include "base/when.h"
#include "client/invocation.h"
#include "gateway/meta.h"

/* ---- words and times --------------------------------------------------------------- */

static void fold(const char *from, char out[GW_REASON_ROOM], int (*change)(int))
{
	size_t n = strnlen(from, GW_REASON_ROOM - 1);

	for (size_t i = 0; i < n; i++)
		out[i] = (char)change((unsigned char)from[i]);
	out[n] = '\0';
}

void gw_reason_print(uint32_t reason, char out[GW_REASON_ROOM])
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
		&pirn__reason__descriptor, reason <= INT32_MAX ? (int)reason : -1);

	fold(v ? v->name : "UNKNOWN", out, tolower);
}

bool gw_reason_parse(const char *text, uint32_t *out)
{
	const ProtobufCEnumValue *v;
	char name[GW_REASON_ROOM];

	fold(text, name, toupper);
	v = protobuf_c_enum_descriptor_get_value_by_name(&pirn__reason__descriptor, name);
	if (!v)
		return false;
	*out = (uint32_t)v->value;
	return true;
}

void gw_show_id(struct gw_json *j, const char *key, ProtobufCBinaryData id)
{
	char text[BASE_ULID_TEXT + 1] = "";

	if (id.len == BASE_ULID_SIZE)
		base_ulid_print(id.data, text);
	gw_json_str(j, key, text);
}

void gw_show_time(struct gw_json *j, const char *key, uint64_t unix_ms)
{
	char text[BASE_WHEN_TEXT + 1];

	base_when_print(unix_ms, text);
	gw_json_str(j, key, text);
}

static void show_reason(struct gw_json *j, bool has, uint32_t reason)
{
	char text[GW_REASON_ROOM];

	if (!has || reason == PIRN__REASON__NONE)
		return;
	gw_reason_print(reason, text);
	gw_json_str(j, "reason", text);
}

/* ---- bodies ------------------------------------------------------------------------ */

static void add_base64(struct base_buf *out, const uint8_t *data, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t *at = base_buf_room(out, (size + 2) / 3 * 4);

	if (!at)
		return;
	for (size_t i = 0; i < size; i += 3) {
		size_t n = size - i < 3 ? size - i : 3;
		uint32_t bits = (uint32_t)data[i] << 16;
		bits |= n > 1 ? (uint32_t)data[i + 1] << 8 : 0;
		bits |= n > 2 ? data[i + 2] : 0;
		*at++ = (uint8_t)digits[bits >> 18];
		*at++ = (uint8_t)digits[bits >> 12 & 63];
		*at++ = n > 1 ? (uint8_t)digits[bits >> 6 & 63] : '=';
		*at++ = n > 2 ? (uint8_t)digits[bits & 63] : '=';
	}
	base_buf_grew(out, (size + 2) / 3 * 4);
}

/* Many JSON readers stop at a NUL, so that is no text here. */
static bool is_text(const void *data, size_t size)
{
	return size == 0 || (!memchr(data, '\0', size) && base_text_is_utf8(data, size));
}

void gw_show_body(struct gw_json *j, const void *data, size_t size)
{
	struct base_buf coded;

	if (is_text(data, size)) {
		gw_json_text(j, "body", size ? data : "", size);
		gw_json_str(j, "body_encoding", "text");
		return;
	}
	base_buf_init(&coded);
	add_base64(&coded, data, size);
	if (base_buf_check(&coded) != BASE_OK)
		j->out->failed = true;
	gw_json_text(j, "body", coded.data, coded.size);
	gw_json_str(j, "body_encoding", "base64");
	base_buf_fini(&coded);
}

/* ["name", "value"]: a header may stand there more than once. */
static void show_header(struct gw_json *j, struct gw_slice name, struct gw_slice value)
{
	gw_json_open(j, NULL, '[');
	gw_json_text(j, NULL, name.data, name.size);
	gw_json_text(j, NULL, value.data, value.size);
	gw_json_close(j, ']');
}

/* ---- invocations ------------------------------------------------------------------- */

static void show_attempt(struct gw_json *j, const Pirn__JournalAttempt *a)
{
	gw_json_open(j, NULL, '{');
	gw_json_u64(j, "attempt", a->attempt);
	gw_show_time(j, "started", a->started_ms);
	if (a->has_took_ms)
		gw_json_u64(j, "took_ms", a->took_ms);
	if (a->has_status && a->status)
		gw_json_u64(j, "status", a->status);
	show_reason(j, a->has_reason, a->reason);
	if (a->worker && *a->worker)
		gw_json_str(j, "worker", a->worker);
	if (a->error && *a->error)
		gw_json_str(j, "error", a->error);
	gw_json_close(j, '}');
}

void gw_show_attempts(struct gw_json *j, Pirn__JournalAttempt *const *list, size_t n)
{
	gw_json_open(j, "attempts", '[');
	for (size_t i = 0; i < n; i++)
		show_attempt(j, list[i]);
	gw_json_close(j, ']');
}

static void show_result(struct gw_json *j, const Pirn__Invocation *i)
{
	struct gw_meta_reader reader = { i->meta.data, i->meta.data + i->meta.len };
	struct gw_slice name, value;

	gw_json_open(j, "result", '{');
	gw_json_u64(j, "status", i->status);
	gw_json_open(j, "headers", '[');
	while (i->has_meta && gw_meta_next(&reader, &name, &value) > 0)
		show_header(j, name, value);
	gw_json_close(j, ']');
	gw_show_body(j, i->data.data, i->has_data ? i->data.len : 0);
	gw_json_close(j, '}');
}

void gw_show_delivery(struct gw_json *j, const Pirn__Invocation *i)
{
	gw_json_str(j, "service", i->service);
	gw_json_str(j, "state", client_invocation_state_name(i->state));
	if (i->has_accepted_ms)
		gw_show_time(j, "accepted", i->accepted_ms);
	if (i->state == PIRN__INVOCATION_STATE__WAITING && i->has_not_before_ms)
		gw_show_time(j, "not_before", i->not_before_ms);
	if (i->has_ended_ms)
		gw_show_time(j, "ended", i->ended_ms);
	show_reason(j, i->has_reason, i->reason);
	gw_json_u64(j, "attempt", i->attempt);
	if (i->has_attempts && i->attempts)
		gw_json_u64(j, "max_attempts", i->attempts);
	if (i->has_deaths && i->deaths)
		gw_json_u64(j, "deaths", i->deaths);
	gw_show_attempts(j, i->history, i->n_history);
	if (i->state == PIRN__INVOCATION_STATE__DONE || i->has_meta || i->has_data)
		show_result(j, i);
}

void gw_show_invocation(struct gw_json *j, Pirn__Invocation *const *list, size_t n)
{
	gw_json_open(j, NULL, '{');
	gw_show_id(j, "id", list[0]->id);
	if (n == 1) {
		gw_show_delivery(j, list[0]);
	} else {
		gw_json_open(j, "deliveries", '[');
		for (size_t i = 0; i < n; i++) {
			gw_json_open(j, NULL, '{');
			gw_show_delivery(j, list[i]);
			gw_json_close(j, '}');
		}
		gw_json_close(j, ']');
	}
	gw_json_close(j, '}');
}

/* ---- dead letters ------------------------------------------------------------------ */

static struct gw_slice slice_of(ProtobufCBinaryData b)
{
	return (struct gw_slice){ b.len ? (const char *)b.data : "", b.len };
}

static void *take_memory(void *starved, size_t size)
{
	void *p = malloc(size);

	if (!p)
		*(bool *)starved = true;
	return p;
}

static void give_memory(void *starved, void *p)
{
	(void)starved;
	free(p);
}

/* What it says, as the service would see it; a client may have sent something else than HTTP. */
static void show_request(struct gw_json *j, const Pirn__Letter *letter)
{
	bool starved = false;
	ProtobufCAllocator allocator = { take_memory, give_memory, &starved };
	Pirn__HttpRequest *r =
		pirn__http_request__unpack(&allocator, letter->meta.len, letter->meta.data);

	if (!r && starved)
		j->out->failed = true;
	gw_json_open(j, "request", '{');
	if (r) {
		gw_json_text(j, "method", slice_of(r->method).data, r->method.len);
		gw_json_text(j, "target", slice_of(r->target).data, r->target.len);
		gw_json_open(j, "headers", '[');
		for (size_t i = 0; i < r->n_headers; i++)
			show_header(
				j, slice_of(r->headers[i]->name), slice_of(r->headers[i]->value));
		gw_json_close(j, ']');
		pirn__http_request__free_unpacked(r, &allocator);
	}
	gw_show_body(j, letter->data.data, letter->has_data ? letter->data.len : 0);
	gw_json_close(j, '}');
}

void gw_show_letter(struct gw_json *j, const Pirn__Letter *letter, bool whole)
{
	const Pirn__JournalEvent *e = letter->event;
	const Pirn__JournalDelivery *d = e->n_deliveries ? e->deliveries[0] : NULL;

	gw_json_open(j, NULL, '{');
	gw_show_id(j, "id", letter->id);
	if (d) {
		gw_json_str(j, "service", d->service);
		show_reason(j, d->has_reason, d->reason);
		if (d->n_history && d->history[d->n_history - 1]->status)
			gw_json_u64(j, "status", d->history[d->n_history - 1]->status);
	}
	if (e->has_accepted_ms)
		gw_show_time(j, "accepted", e->accepted_ms);
	if (d && d->has_ended_ms)
		gw_show_time(j, "died", d->ended_ms);
	gw_json_u64(j, "bytes", e->data_size);
	if (d && d->deaths)
		gw_json_u64(j, "deaths", d->deaths);
	gw_show_attempts(j, d ? d->history : NULL, d ? d->n_history : 0);
	if (whole)
		show_request(j, letter);
	gw_json_close(j, '}');
}
