#include "base/json.h"

#include <assert.h>
#include <string.h>

#include "base/text.h"

/* ---- checking ------------------------------------------------------------------- */

struct check {
	const char *at, *end, *why;
	unsigned depth, depth_max;
	uint8_t objects[BASE_JSON_DEPTH_MAX / 8]; /* a bit a level: it is an object */
};

static bool wrong(struct check *c, const char *why)
{
	c->why = why;
	return false;
}

static bool is_blank(char b)
{
	return b == ' ' || b == '\t' || b == '\n' || b == '\r';
}

static const char *skip_blanks(const char *at, const char *end)
{
	while (at < end && is_blank(*at))
		at++;
	return at;
}

static bool is_digit(char b)
{
	return b >= '0' && b <= '9';
}

static bool digits(struct check *c)
{
	if (c->at == c->end || !is_digit(*c->at))
		return wrong(c, "expected a digit");
	while (c->at < c->end && is_digit(*c->at))
		c->at++;
	return true;
}

static bool number(struct check *c)
{
	if (*c->at == '-')
		c->at++;
	if (c->at < c->end && *c->at == '0')
		c->at++;
	else if (!digits(c))
		return false;
	if (c->at < c->end && *c->at == '.') {
		c->at++;
		if (!digits(c))
			return false;
	}
	if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
		c->at++;
		if (c->at < c->end && (*c->at == '+' || *c->at == '-'))
			c->at++;
		return digits(c);
	}
	return true;
}

static int hex(char b)
{
	if (is_digit(b))
		return b - '0';
	if (b >= 'a' && b <= 'f')
		return b - 'a' + 10;
	return b >= 'A' && b <= 'F' ? b - 'A' + 10 : -1;
}

/* Four hexadecimal digits; -1: they are not there. */
static int32_t unit(const char *at, const char *end)
{
	int32_t value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		if (hex(at[i]) < 0)
			return -1;
		value = value * 16 + hex(at[i]);
	}
	return value;
}

static bool is_high(int32_t code)
{
	return code >= 0xd800 && code < 0xdc00;
}

static bool is_low(int32_t code)
{
	return code >= 0xdc00 && code < 0xe000;
}

/* at is behind the backslash. */
static bool escape(struct check *c)
{
	int32_t code;

	if (c->at == c->end)
		return wrong(c, "a string does not end");
	if (*c->at != 'u') {
		if (!*c->at || !strchr("\"\\/bfnrt", *c->at))
			return wrong(c, "there is no such escape");
		c->at++;
		return true;
	}
	code = unit(c->at + 1, c->end);
	if (code < 0)
		return wrong(c, "expected four hexadecimal digits");
	if (is_low(code))
		return wrong(c, "half of a surrogate pair");
	c->at += 5;
	if (!is_high(code))
		return true;
	if (c->end - c->at < 6 || c->at[0] != '\\' || c->at[1] != 'u' ||
		!is_low(unit(c->at + 2, c->end)))
		return wrong(c, "half of a surrogate pair");
	c->at += 6;
	return true;
}

#define EIGHT(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Whether one of eight bytes is zero: borrowed from, such a byte is the first whose top bit appears. */
static uint64_t zeros(uint64_t bytes)
{
	return (bytes - EIGHT(0x01)) & ~bytes & EIGHT(0x80);
}

/* Whether none of eight bytes is a control, a quote, a backslash or the part of a longer character. */
static bool is_plain(const char *at)
{
	uint64_t bytes;

	memcpy(&bytes, at, sizeof bytes);
	return !((bytes & EIGHT(0x80)) | ((bytes - EIGHT(0x20)) & ~bytes & EIGHT(0x80)) |
		 zeros(bytes ^ EIGHT('"')) | zeros(bytes ^ EIGHT('\\')));
}

/* Most of a document is this: so it goes by a pointer of its own, which the compiler keeps in a register. */
static const char *plain_end(const char *at, const char *end)
{
	while (end - at >= 8 && is_plain(at))
		at += 8;
	while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' &&
		*at != '\\')
		at++;
	return at;
}

static bool string(struct check *c)
{
	uint32_t code;

	c->at = plain_end(c->at + 1, c->end);
	while (c->at < c->end && *c->at != '"') {
		if (*c->at == '\\') {
			c->at++;
			if (!escape(c))
				return false;
		} else if ((unsigned char)*c->at < 0x20) {
			return wrong(c, "a control character stands in a string");
		} else {
			size_t n = base_text_utf8(c->at, (size_t)(c->end - c->at), &code);

			if (n == 0)
				return wrong(c, "that is not UTF-8");
			c->at += n;
		}
		c->at = plain_end(c->at, c->end);
	}
	if (c->at == c->end)
		return wrong(c, "a string does not end");
	c->at++;
	return true;
}

static bool word(struct check *c, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0)
		return wrong(c, "expected a value");
	c->at += n;
	return true;
}

/* A value that holds none; nested ones are value's matter. */
static bool scalar(struct check *c)
{
	switch (*c->at) {
	case '"':
		return string(c);
	case 't':
		return word(c, "true");
	case 'f':
		return word(c, "false");
	case 'n':
		return word(c, "null");
	default:
		if (*c->at == '-' || is_digit(*c->at))
			return number(c);
		return wrong(c, "expected a value");
	}
}

static bool in_object(const struct check *c)
{
	return c->objects[(c->depth - 1) / 8] >> (c->depth - 1) % 8 & 1;
}

static bool enter(struct check *c)
{
	uint8_t bit = (uint8_t)(1u << c->depth % 8);

	if (c->depth == c->depth_max)
		return wrong(c, "it is nested too deeply");
	c->objects[c->depth / 8] &= (uint8_t)~bit;
	if (*c->at == '{')
		c->objects[c->depth / 8] |= bit;
	c->depth++;
	c->at = skip_blanks(c->at + 1, c->end);
	return true;
}

static bool key(struct check *c)
{
	c->at = skip_blanks(c->at, c->end);
	if (c->at == c->end || *c->at != '"')
		return wrong(c, "expected a member's name");
	if (!string(c))
		return false;
	c->at = skip_blanks(c->at, c->end);
	if (c->at == c->end || *c->at != ':')
		return wrong(c, "expected a colon");
	c->at++;
	return true;
}

/* Behind a value: closes what ends here. *more: another value must follow. */
static bool close_levels(struct check *c, bool *more)
{
	*more = false;
	while (c->depth > 0) {
		c->at = skip_blanks(c->at, c->end);
		if (c->at == c->end)
			return wrong(c, "it ends too early");
		if (*c->at == ',') {
			c->at++;
			*more = true;
			return !in_object(c) || key(c);
		}
		if (*c->at != (in_object(c) ? '}' : ']'))
			return wrong(c, in_object(c) ? "expected a comma or }" : "expected a comma or ]");
		c->at++;
		c->depth--;
	}
	return true;
}

static bool value(struct check *c)
{
	bool more = true;

	while (more) {
		c->at = skip_blanks(c->at, c->end);
		if (c->at == c->end)
			return wrong(c, "it ends too early");
		if (*c->at == '{' || *c->at == '[') {
			char end = *c->at == '{' ? '}' : ']';

			if (!enter(c))
				return false;
			if (c->at < c->end && *c->at == end) {
				c->at++;
				c->depth--;
			} else {
				if (in_object(c) && !key(c))
					return false;
				continue;
			}
		} else if (!scalar(c)) {
			return false;
		}
		if (!close_levels(c, &more))
			return false;
	}
	return true;
}

static enum base_json_kind kind_of(char first)
{
	switch (first) {
	case 'n':
		return BASE_JSON_NULL;
	case 'f':
		return BASE_JSON_FALSE;
	case 't':
		return BASE_JSON_TRUE;
	case '"':
		return BASE_JSON_STRING;
	case '[':
		return BASE_JSON_ARRAY;
	case '{':
		return BASE_JSON_OBJECT;
	default:
		return BASE_JSON_NUMBER;
	}
}

bool base_json_check(const char *text, size_t size, unsigned depth_max, struct base_json *out,
	const char **why, size_t *at)
{
	struct check c = { .at = text, .end = text + size, .depth_max = depth_max };
	const char *from = skip_blanks(text, c.end), *until;

	assert(depth_max <= BASE_JSON_DEPTH_MAX);
	if (!value(&c))
		goto fail;
	until = c.at;
	c.at = skip_blanks(c.at, c.end);
	if (c.at < c.end) {
		c.why = "something follows the value";
		goto fail;
	}
	*out = (struct base_json){ kind_of(*from), from, (size_t)(until - from) };
	return true;
fail:
	*why = c.why;
	*at = (size_t)(c.at - text);
	return false;
}

/* ---- walking: what was checked --------------------------------------------------- */

/* It has been checked: there is a quote. Most strings hold no escape, and then the library finds it faster than a
 * loop over bytes. */
static const char *end_of_string(const char *at, const char *end)
{
	const char *quote;

	at++;
	quote = memchr(at, '"', (size_t)(end - at));
	while ((at = memchr(at, '\\', (size_t)(quote - at))) != NULL) {
		at += 2;
		if (at > quote)
			quote = memchr(at, '"', (size_t)(end - at));
	}
	return quote + 1;
}

static const char *end_of_nested(const char *at, const char *end)
{
	size_t depth = 0;

	do {
		if (*at == '"') {
			at = end_of_string(at, end);
			continue;
		}
		if (*at == '{' || *at == '[')
			depth++;
		else if (*at == '}' || *at == ']')
			depth--;
		at++;
	} while (depth > 0);
	return at;
}

/* The end of the value that begins at `at`. */
static const char *end_of(const char *at, const char *end)
{
	if (*at == '"')
		return end_of_string(at, end);
	if (*at == '{' || *at == '[')
		return end_of_nested(at, end);
	while (at < end && *at != ',' && *at != '}' && *at != ']' && !is_blank(*at))
		at++;
	return at;
}

struct base_json_walk base_json_walk(const struct base_json *json)
{
	assert(json->kind == BASE_JSON_OBJECT || json->kind == BASE_JSON_ARRAY);
	return (struct base_json_walk){ json->text + 1, json->text + json->size - 1 };
}

static const char *take_value(const char *at, const char *end, struct base_json *out)
{
	const char *from = skip_blanks(at, end);

	at = end_of(from, end);
	*out = (struct base_json){ kind_of(*from), from, (size_t)(at - from) };
	return skip_blanks(at, end);
}

bool base_json_next(struct base_json_walk *walk, struct base_json *name, struct base_json *json)
{
	walk->at = skip_blanks(walk->at, walk->end);
	if (walk->at == walk->end)
		return false;
	walk->at = take_value(walk->at, walk->end, json);
	if (walk->at < walk->end && *walk->at == ':') {
		if (name)
			*name = *json;
		walk->at = take_value(walk->at + 1, walk->end, json);
	}
	if (walk->at < walk->end)
		walk->at++; /* a comma */
	return true;
}

static size_t put_utf8(char out[4], uint32_t code)
{
	if (code < 0x80) {
		out[0] = (char)code;
		return 1;
	}
	if (code < 0x800) {
		out[0] = (char)(0xc0 | code >> 6);
		out[1] = (char)(0x80 | (code & 0x3f));
		return 2;
	}
	if (code < 0x10000) {
		out[0] = (char)(0xe0 | code >> 12);
		out[1] = (char)(0x80 | (code >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code >> 18);
	out[1] = (char)(0x80 | (code >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code & 0x3f));
	return 4;
}

/* *at is behind the backslash, and behind the escape afterwards; what it stands for has so many bytes. */
static size_t take_escape(const char **at, const char *end, char out[4])
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *known = strchr(from, **at);
	int32_t code, low;

	if (**at != 'u') {
		out[0] = known ? to[known - from] : **at;
		++*at;
		return 1;
	}
	code = unit(*at + 1, end);
	*at += 5;
	if (is_high(code)) {
		low = unit(*at + 2, end);
		*at += 6;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	return put_utf8(out, (uint32_t)code);
}

void base_json_unescape(const struct base_json *json, struct base_buf *out)
{
	const char *at = json->text + 1, *end = json->text + json->size - 1;
	char bytes[4];

	assert(json->kind == BASE_JSON_STRING);
	while (at < end) {
		const char *plain = memchr(at, '\\', (size_t)(end - at));

		if (!plain)
			plain = end;
		base_buf_add(out, at, (size_t)(plain - at));
		at = plain;
		if (at++ < end)
			base_buf_add(out, bytes, take_escape(&at, end, bytes));
	}
}

bool base_json_text(const struct base_json *json, char *out, size_t room)
{
	const char *at = json->text + 1, *end = json->text + json->size - 1;
	size_t size = 0, n;
	char bytes[4];

	assert(json->kind == BASE_JSON_STRING);
	for (; at < end; size += n) {
		n = 1;
		bytes[0] = *at++;
		if (bytes[0] == '\\')
			n = take_escape(&at, end, bytes);
		if (size + n >= room || bytes[0] == '\0')
			return false;
		memcpy(out + size, bytes, n);
	}
	if (room > 0)
		out[size] = '\0';
	return room > 0;
}

/* Says no when it is no, and never because there was no memory. */
bool base_json_is(const struct base_json *json, const char *text)
{
	const char *at = json->text + 1, *end = json->text + json->size - 1;
	size_t left = strlen(text), n;
	char bytes[4];

	if (json->kind != BASE_JSON_STRING)
		return false;
	for (; at < end; text += n, left -= n) {
		if (*at != '\\') {
			if (left == 0 || *at++ != *text)
				return false;
			n = 1;
			continue;
		}
		at++;
		n = take_escape(&at, end, bytes);
		if (n > left || memcmp(bytes, text, n) != 0)
			return false;
	}
	return left == 0;
}

bool base_json_get(const struct base_json *object, const char *name, struct base_json *out)
{
	struct base_json_walk walk;
	struct base_json key_found, found;

	if (object->kind != BASE_JSON_OBJECT)
		return false;
	walk = base_json_walk(object);
	while (base_json_next(&walk, &key_found, &found))
		if (base_json_is(&key_found, name)) {
			*out = found;
			return true;
		}
	return false;
}
