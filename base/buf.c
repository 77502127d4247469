#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

#define FIRST_BYTES 64u

/* What data points at while nothing is allocated: only ever a NUL, which nobody overwrites with
 * anything else, because capacity 0 makes the first byte of content allocate. */
static uint8_t nothing[1];

void base_buf_init(struct base_buf *b)
{
	*b = (struct base_buf){ .data = nothing };
}

void base_buf_fini(struct base_buf *b)
{
	if (b->data != nothing)
		free(b->data);
	base_buf_init(b);
}

void base_buf_reset(struct base_buf *b)
{
	b->size = 0;
	b->failed = false;
	if (b->data != nothing)
		b->data[0] = '\0';
}

/* capacity counts the NUL. */
static bool grow(struct base_buf *b, size_t needed)
{
	size_t capacity = b->capacity ? b->capacity : FIRST_BYTES;
	uint8_t *data;

	while (capacity < needed) {
		if (capacity > SIZE_MAX / 2) {
			capacity = needed;
			break;
		}
		capacity *= 2;
	}
	data = realloc(b->data == nothing ? NULL : b->data, capacity);
	if (!data)
		return false;
	if (b->data == nothing)
		data[0] = '\0';
	b->data = data;
	b->capacity = capacity;
	return true;
}

uint8_t *base_buf_room(struct base_buf *b, size_t size)
{
	if (b->failed)
		return NULL;
	if (size > PTRDIFF_MAX - 1 - b->size) {
		b->failed = true;
		return NULL;
	}
	if (b->size + size + 1 > b->capacity && !grow(b, b->size + size + 1)) {
		b->failed = true;
		return NULL;
	}
	return b->data + b->size;
}

void base_buf_grew(struct base_buf *b, size_t size)
{
	assert(size == 0 || (b->capacity > b->size && size < b->capacity - b->size));
	b->size += size;
	if (b->data != nothing)
		b->data[b->size] = '\0';
}

void base_buf_add(struct base_buf *b, const void *data, size_t size)
{
	uint8_t *room;

	if (size == 0)
		return;
	room = base_buf_room(b, size);
	if (!room)
		return;
	memcpy(room, data, size);
	base_buf_grew(b, size);
}

void base_buf_str(struct base_buf *b, const char *text)
{
	base_buf_add(b, text, strlen(text));
}

void base_buf_chr(struct base_buf *b, char c)
{
	base_buf_add(b, &c, 1);
}

void base_buf_fmt(struct base_buf *b, const char *format, ...)
{
	va_list args;
	uint8_t *room;
	int n;

	va_start(args, format);
	n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n < 0) {
		b->failed = true;
		return;
	}
	room = base_buf_room(b, (size_t)n);
	if (!room)
		return;
	va_start(args, format);
	if (vsnprintf((char *)room, (size_t)n + 1, format, args) == n)
		base_buf_grew(b, (size_t)n);
	else
		b->failed = true; /* it may allocate, too */
	va_end(args);
}

static void json_escape(struct base_buf *b, uint8_t c)
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	for (size_t i = 0; shorts[i]; i += 2)
		if ((uint8_t)shorts[i] == c) {
			base_buf_chr(b, '\\');
			base_buf_chr(b, shorts[i + 1]);
			return;
		}
	base_buf_fmt(b, "\\u%04x", (unsigned)c);
}

void base_buf_json(struct base_buf *b, const void *text, size_t size)
{
	const uint8_t *at = text;
	const uint8_t *end = at + size;
	const uint8_t *plain = at; /* what has not been copied yet begins here */
	uint32_t code;

	base_buf_chr(b, '"');
	while (at < end) {
		size_t length;
		if (*at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') {
			at++;
			continue;
		}
		length = base_text_utf8(at, (size_t)(end - at), &code);
		if (length > 1) {
			at += length;
			continue;
		}
		base_buf_add(b, plain, (size_t)(at - plain));
		if (length == 0)
			base_buf_str(b, "\xEF\xBF\xBD");
		else
			json_escape(b, *at);
		plain = ++at;
	}
	base_buf_add(b, plain, (size_t)(at - plain));
	base_buf_chr(b, '"');
}

enum base_err base_buf_check(const struct base_buf *b)
{
	return b->failed ? BASE_NOMEM : BASE_OK;
}

uint8_t *base_buf_take(struct base_buf *b)
{
	uint8_t *data;

	if (b->failed)
		return NULL;
	if (b->data == nothing && !grow(b, 1)) {
		b->failed = true;
		return NULL;
	}
	data = b->data;
	base_buf_init(b);
	return data;
}
