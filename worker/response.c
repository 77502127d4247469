/* What a handler answers. Nothing is refused where it is said: the first fault is
 * kept, and native.c answers for it once the handler has returned.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "worker/header.h"
#include "worker/request.h"

void wrk_response_open(
	struct pirn_response *res, struct base_arena *arena, struct wrk_run *run, size_t max_bytes)
{
	base_buf_reset(&run->meta);
	base_buf_reset(&run->body);
	run->n_emits = run->emit_bytes = run->emit_size = 0;
	res->arena = arena;
	res->body = &run->body;
	res->max_bytes = max_bytes;
	pirn_respond_reset(res);
}

static void fault(struct pirn_response *res, enum wrk_fault what)
{
	if (res->fault == WRK_FAULT_NONE)
		res->fault = what;
}

void pirn_respond_reset(struct pirn_response *res)
{
	res->fault = WRK_FAULT_NONE;
	res->status = 0;
	res->n_headers = 0;
	res->header_bytes = 0;
	base_buf_reset(res->body);
}

void pirn_respond_status(struct pirn_response *res, unsigned status)
{
	if (status < 200 || status > 599)
		fault(res, WRK_FAULT_STATUS);
	else
		res->status = status;
}

/* ---- headers --------------------------------------------------------------- */

static bool is_named(const Pirn__Header *h, const char *name, size_t size)
{
	return h->name.len == size && strncasecmp((const char *)h->name.data, name, size) == 0;
}

void wrk_response_drop(struct pirn_response *res, const char *name, size_t size)
{
	size_t kept = 0;

	for (size_t i = 0; i < res->n_headers; i++) {
		Pirn__Header *h = res->headers[i];

		if (is_named(h, name, size))
			res->header_bytes -= h->name.len + h->value.len;
		else
			res->headers[kept++] = h;
	}
	res->n_headers = kept;
}

static bool set_bytes(struct base_arena *arena, ProtobufCBinaryData *out, const char *from)
{
	out->len = strlen(from);
	out->data = base_arena_dup(arena, from, out->len);
	return out->data != NULL;
}

void pirn_respond_header_add(struct pirn_response *res, const char *name, const char *value)
{
	Pirn__Header *h;
	size_t size;

	if (!wrk_header_is_name(name, strlen(name)) ||
		!wrk_header_is_value(value, strlen(value))) {
		fault(res, WRK_FAULT_HEADER);
		return;
	}
	if (wrk_header_is_framing(name, strlen(name)))
		return;
	size = strlen(name) + strlen(value);
	if (res->n_headers == WRK_HEADERS_MAX || size > WRK_HEADER_BYTES - res->header_bytes) {
		fault(res, WRK_FAULT_HEADER);
		return;
	}
	h = base_arena_alloc(res->arena, sizeof *h);
	if (!h || (pirn__header__init(h), !set_bytes(res->arena, &h->name, name)) ||
		!set_bytes(res->arena, &h->value, value)) {
		fault(res, WRK_FAULT_NOMEM);
		return;
	}
	res->headers[res->n_headers++] = h;
	res->header_bytes += size;
}

void pirn_respond_header(struct pirn_response *res, const char *name, const char *value)
{
	wrk_response_drop(res, name, strlen(name));
	pirn_respond_header_add(res, name, value);
}

const char *wrk_response_header(const struct pirn_response *res, const char *name)
{
	size_t size = strlen(name);

	for (size_t i = 0; i < res->n_headers; i++)
		if (is_named(res->headers[i], name, size))
			return (const char *)res->headers[i]->value.data;
	return NULL;
}

/* ---- the body -------------------------------------------------------------- */

static bool has_room(struct pirn_response *res, size_t size)
{
	if (size > res->max_bytes - res->body->size)
		fault(res, WRK_FAULT_TOO_LARGE);
	return res->fault == WRK_FAULT_NONE;
}

void pirn_respond_write(struct pirn_response *res, const void *data, size_t size)
{
	if (size > 0 && has_room(res, size))
		base_buf_add(res->body, data, size);
}

void pirn_respond_text(struct pirn_response *res, const char *text)
{
	pirn_respond_write(res, text, strlen(text));
}

__attribute__((format(printf, 2, 0))) static void body_vprintf(
	struct pirn_response *res, const char *format, va_list args)
{
	va_list again;
	uint8_t *room;
	int size;

	va_copy(again, args);
	size = vsnprintf(NULL, 0, format, args);
	if (size < 0) {
		fault(res, WRK_FAULT_NOMEM);
	} else if (has_room(res, (size_t)size)) {
		room = base_buf_room(res->body, (size_t)size + 1);
		if (room && vsnprintf((char *)room, (size_t)size + 1, format, again) != size)
			fault(res, WRK_FAULT_NOMEM);
		else if (room)
			base_buf_grew(res->body, (size_t)size);
	}
	va_end(again);
}

void pirn_respond_printf(struct pirn_response *res, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	body_vprintf(res, format, args);
	va_end(args);
}

int pirn_respond_json(struct pirn_response *res, unsigned status, const char *format, ...)
{
	va_list args;

	base_buf_reset(res->body);
	pirn_respond_status(res, status);
	pirn_respond_header(res, "Content-Type", "application/json");
	va_start(args, format);
	body_vprintf(res, format, args);
	va_end(args);
	return 0;
}

static void body_json(struct pirn_response *res, const char *text, size_t size)
{
	if (!has_room(res, size))
		return;
	base_buf_json(res->body, text, size);
	(void)has_room(res, 0); /* with its escapes it may be over the bound now */
}

int pirn_respond_problem(
	struct pirn_response *res, unsigned status, const char *title, const char *detail, ...)
{
	char text[1024];
	va_list args;

	pirn_respond_reset(res);
	pirn_respond_status(res, status);
	pirn_respond_header(res, "Content-Type", "application/problem+json");
	if (!title)
		title = wrk_status_text(status);
	pirn_respond_text(res, "{\"type\":\"about:blank\",\"title\":");
	body_json(res, title, strlen(title));
	pirn_respond_printf(res, ",\"status\":%u", status);
	if (detail) {
		va_start(args, detail);
		vsnprintf(text, sizeof text, detail, args);
		va_end(args);
		pirn_respond_text(res, ",\"detail\":");
		body_json(res, text, strlen(text));
	}
	pirn_respond_text(res, "}");
	return 0;
}

const char *pirn_json_string(struct pirn_request *req, const char *text, size_t size)
{
	struct base_buf buf;
	const char *out;

	base_buf_init(&buf);
	base_buf_json(&buf, text, size);
	out = base_buf_check(&buf) == BASE_OK ? base_arena_dup(&req->arena, buf.data, buf.size)
					      : NULL;
	base_buf_fini(&buf);
	if (!out)
		req->failed = true;
	return out ? out : "\"\"";
}

bool pirn_utf8_valid(const char *text, size_t size)
{
	return base_text_is_utf8(text, size);
}

/* ---- the end --------------------------------------------------------------- */

static bool pack_headers(struct pirn_response *res, struct wrk_run *run)
{
	Pirn__HttpResponse message = PIRN__HTTP_RESPONSE__INIT;
	uint8_t *room;
	size_t size;

	message.n_headers = res->n_headers;
	message.headers = res->headers;
	size = pirn__http_response__get_packed_size(&message);
	room = base_buf_room(&run->meta, size);
	if (!room)
		return false;
	base_buf_grew(&run->meta, pirn__http_response__pack(&message, room));
	return true;
}

enum wrk_fault wrk_response_seal(struct pirn_response *res, struct wrk_run *run)
{
	if (res->fault == WRK_FAULT_NONE && run->body.size > res->max_bytes)
		res->fault = WRK_FAULT_TOO_LARGE;
	if (res->fault == WRK_FAULT_NONE &&
		(run->body.failed || (res->n_headers > 0 && !pack_headers(res, run))))
		res->fault = WRK_FAULT_NOMEM;
	if (res->fault == WRK_FAULT_NONE)
		run->status = res->status ? res->status : run->body.size > 0 ? 200 : 204;
	return res->fault;
}

const char *wrk_status_text(unsigned status)
{
	static const struct {
		unsigned status;
		const char *text;
	} names[] = {
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 402, "Payment Required" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 406, "Not Acceptable" },
		{ 408, "Request Timeout" },
		{ 409, "Conflict" },
		{ 410, "Gone" },
		{ 411, "Length Required" },
		{ 412, "Precondition Failed" },
		{ 413, "Content Too Large" },
		{ 415, "Unsupported Media Type" },
		{ 422, "Unprocessable Content" },
		{ 428, "Precondition Required" },
		{ 429, "Too Many Requests" },
		{ 500, "Internal Server Error" },
		{ 501, "Not Implemented" },
		{ 502, "Bad Gateway" },
		{ 503, "Service Unavailable" },
		{ 504, "Gateway Timeout" },
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].status == status)
			return names[i].text;
	return "Error";
}
