#include "gateway/meta.h"

/* Field numbers of pirn.proto. */
enum { REQUEST_METHOD = 1, REQUEST_TARGET, REQUEST_HEADERS, REQUEST_REMOTE, REQUEST_PARAMS };
enum { RESPONSE_HEADERS = 1 };
enum { HEADER_NAME = 1, HEADER_VALUE };

enum { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };

#define VARINT_MAX 10
#define TAG(field) ((uint8_t)((field) << 3 | WIRE_BYTES)) /* fields below 16: one byte */

static size_t varint_size(size_t value)
{
	size_t n = 1;

	while (value >>= 7)
		n++;
	return n;
}

static uint8_t *put_varint(uint8_t *at, size_t value)
{
	for (; value > 0x7f; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	return at;
}

static uint8_t *put_bytes(uint8_t *at, unsigned field, struct gw_slice s)
{
	*at++ = TAG(field);
	at = put_varint(at, s.size);
	if (s.size)
		memcpy(at, s.data, s.size);
	return at + s.size;
}

static void add_bytes(struct base_buf *out, unsigned field, struct gw_slice s)
{
	size_t most = 1 + VARINT_MAX + s.size;
	uint8_t *at = base_buf_room(out, most);

	if (at)
		base_buf_grew(out, (size_t)(put_bytes(at, field, s) - at));
}

static void add_pair(
	struct base_buf *out, unsigned field, struct gw_slice name, struct gw_slice value)
{
	size_t inner =
		2 + varint_size(name.size) + name.size + varint_size(value.size) + value.size;
	uint8_t *start = base_buf_room(out, 1 + VARINT_MAX + inner), *at = start;

	if (!start)
		return;
	*at++ = TAG(field);
	at = put_varint(at, inner);
	at = put_bytes(at, HEADER_NAME, name);
	at = put_bytes(at, HEADER_VALUE, value);
	base_buf_grew(out, (size_t)(at - start));
}

void gw_meta_method(struct base_buf *out, struct gw_slice method)
{
	add_bytes(out, REQUEST_METHOD, method);
}

void gw_meta_target(struct base_buf *out, struct gw_slice target)
{
	add_bytes(out, REQUEST_TARGET, target);
}

void gw_meta_header(struct base_buf *out, struct gw_slice name, struct gw_slice value)
{
	add_pair(out, REQUEST_HEADERS, name, value);
}

void gw_meta_remote(struct base_buf *out, struct gw_slice remote)
{
	add_bytes(out, REQUEST_REMOTE, remote);
}

void gw_meta_param(struct base_buf *out, struct gw_slice name, struct gw_slice value)
{
	add_pair(out, REQUEST_PARAMS, name, value);
}

/* ---- reading --------------------------------------------------------------- */

static bool take_varint(struct gw_meta_reader *r, uint64_t *out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
		uint8_t byte = *r->at++;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (byte < 0x80) {
			*out = value;
			return true;
		}
	}
	return false;
}

static bool take_bytes(struct gw_meta_reader *r, struct gw_slice *out)
{
	uint64_t size;

	if (!take_varint(r, &size) || size > (uint64_t)(r->end - r->at))
		return false;
	*out = (struct gw_slice){ (const char *)r->at, (size_t)size };
	r->at += size;
	return true;
}

static bool skip(struct gw_meta_reader *r, unsigned wire)
{
	uint64_t ignored;
	struct gw_slice bytes;
	size_t fixed = wire == WIRE_64 ? 8 : 4;

	if (wire == WIRE_VARINT)
		return take_varint(r, &ignored);
	if (wire == WIRE_BYTES)
		return take_bytes(r, &bytes);
	if ((wire != WIRE_64 && wire != WIRE_32) || (size_t)(r->end - r->at) < fixed)
		return false;
	r->at += fixed;
	return true;
}

/* 1: the wanted bytes field, 0: the end, -1: broken. Others are skipped. */
static int next_bytes(
	struct gw_meta_reader *r, uint64_t *field, uint64_t last_field, struct gw_slice *out)
{
	while (r->at < r->end) {
		uint64_t tag;
		if (!take_varint(r, &tag) || tag >> 3 == 0)
			return -1;
		*field = tag >> 3;
		if (*field <= last_field && (tag & 7) == WIRE_BYTES)
			return take_bytes(r, out) ? 1 : -1;
		if (*field <= last_field || !skip(r, (unsigned)(tag & 7)))
			return -1;
	}
	return 0;
}

static bool read_pair(struct gw_slice message, struct gw_slice *name, struct gw_slice *value)
{
	struct gw_meta_reader r = { (const uint8_t *)message.data,
		(const uint8_t *)message.data + message.size };
	struct gw_slice bytes;
	bool has_name = false, has_value = false;
	uint64_t field;
	int found;

	while ((found = next_bytes(&r, &field, HEADER_VALUE, &bytes)) > 0) {
		*(field == HEADER_NAME ? name : value) = bytes;
		*(field == HEADER_NAME ? &has_name : &has_value) = true;
	}
	return found == 0 && has_name && has_value;
}

int gw_meta_next(struct gw_meta_reader *r, struct gw_slice *name, struct gw_slice *value)
{
	struct gw_slice message;
	uint64_t field;
	int found = next_bytes(r, &field, RESPONSE_HEADERS, &message);

	if (found <= 0)
		return found;
	return read_pair(message, name, value) ? 1 : -1;
}
