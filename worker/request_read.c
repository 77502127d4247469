#include "worker/request_read.h"

#include <string.h>

/* number << 3 | 2 (sized) */
enum { METHOD = 0x0a, TARGET = 0x12, HEADER = 0x1a, REMOTE = 0x22, PARAM = 0x2a };
enum { NAME = 0x0a, VALUE = 0x12 };

struct reader {
	const uint8_t *at, *end;
};

/* Tag, size, and a reader over so many bytes. Sizes of up to three bytes: a head is no longer. */
static inline bool get_field(struct reader *r, uint8_t *tag, struct reader *field)
{
	size_t size = 0;

	if (r->at == r->end)
		return false;
	*tag = *r->at++;
	for (unsigned shift = 0; shift < 21 && r->at < r->end; shift += 7) {
		uint8_t byte = *r->at++;

		size |= (size_t)(byte & 0x7f) << shift;
		if (byte & 0x80)
			continue;
		if (size > (size_t)(r->end - r->at))
			return false;
		*field = (struct reader){ r->at, r->at + size };
		r->at += size;
		return true;
	}
	return false;
}

/* Once a message. */
static inline bool copy_text(struct base_arena *arena, struct reader from, ProtobufCBinaryData *out)
{
	if (out->data)
		return false;
	out->len = (size_t)(from.end - from.at);
	out->data = base_arena_dup(arena, from.at, out->len);
	return out->data != NULL;
}

static bool read_pair(struct base_arena *arena, struct reader r, Pirn__Header *out)
{
	struct reader field;
	uint8_t tag;

	pirn__header__init(out);
	while (r.at < r.end) {
		if (!get_field(&r, &tag, &field) || (tag != NAME && tag != VALUE) ||
			!copy_text(arena, field, tag == NAME ? &out->name : &out->value))
			return false;
	}
	return out->name.data && out->value.data;
}

static bool read_fields(
	struct base_arena *arena, struct reader r, Pirn__HttpRequest *out, Pirn__Header *room)
{
	struct reader field;
	bool read = true;
	uint8_t tag;

	while (read && r.at < r.end) {
		if (!get_field(&r, &tag, &field))
			return false;
		switch (tag) {
		case METHOD:
			read = copy_text(arena, field, &out->method);
			break;
		case TARGET:
			read = copy_text(arena, field, &out->target);
			break;
		case REMOTE:
			read = copy_text(arena, field, &out->remote);
			out->has_remote = true;
			break;
		case HEADER:
			read = read_pair(arena, field, room);
			out->headers[out->n_headers++] = room++;
			break;
		default:
			read = read_pair(arena, field, room);
			out->params[out->n_params++] = room++;
			break;
		}
	}
	return read && out->method.data && out->target.data;
}

static bool count(struct reader r, size_t *headers, size_t *params)
{
	struct reader field;
	uint8_t tag;

	*headers = *params = 0;
	while (r.at < r.end) {
		if (!get_field(&r, &tag, &field))
			return false;
		*headers += tag == HEADER;
		*params += tag == PARAM;
		if (tag != HEADER && tag != PARAM && tag != METHOD && tag != TARGET && tag != REMOTE)
			return false;
	}
	return true;
}

Pirn__HttpRequest *wrk_request_read(struct base_arena *arena, const uint8_t *bytes, size_t size)
{
	const struct reader r = { bytes, bytes + size };
	size_t headers, params;
	Pirn__HttpRequest *out;
	Pirn__Header *room;

	if (!count(r, &headers, &params))
		return NULL;
	out = base_arena_alloc(arena, sizeof *out);
	if (!out)
		return NULL;
	pirn__http_request__init(out);
	out->headers = base_arena_alloc(arena, (headers + params + 1) * sizeof *out->headers);
	room = base_arena_alloc(arena, (headers + params + 1) * sizeof *room);
	if (!out->headers || !room)
		return NULL;
	out->params = out->headers + headers;
	return read_fields(arena, r, out, room) ? out : NULL;
}
