#include "gateway/target.h"

#include <stdint.h>

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

long gw_target_decode(struct gw_slice in, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < in.size; i++) {
		int high, low;
		if (in.data[i] != '%') {
			out[n++] = in.data[i];
			continue;
		}
		if (in.size - i < 3)
			return -1;
		high = hex_value(in.data[i + 1]);
		low = hex_value(in.data[i + 2]);
		if (high < 0 || low < 0)
			return -1;
		out[n++] = (char)(high << 4 | low);
		i += 2;
	}
	return (long)n;
}

/* What no target may hold, whatever its form. */
static bool has_bad_byte(const char *raw, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		uint8_t c = (uint8_t)raw[i];
		if (c <= ' ' || c == 0x7f || c == '#')
			return true;
	}
	return false;
}

static bool has_prefix(struct gw_slice s, struct gw_slice prefix)
{
	return s.size >= prefix.size &&
	       gw_slice_like((struct gw_slice){ s.data, prefix.size }, prefix);
}

/* Leaves path and query of http://host/path?query; a bare http://host is the path /. */
static bool strip_authority(struct gw_slice *raw)
{
	static const struct gw_slice schemes[] = { { "http://", 7 }, { "https://", 8 } };

	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
		size_t at = schemes[i].size;
		if (!has_prefix(*raw, schemes[i]))
			continue;
		while (at < raw->size && raw->data[at] != '/' && raw->data[at] != '?')
			at++;
		if (at == schemes[i].size)
			return false;
		*raw = at == raw->size ? GW_SLICE("/")
				       : (struct gw_slice){ raw->data + at, raw->size - at };
		return raw->data[0] == '/';
	}
	return false;
}

static bool is_dots(struct gw_slice s)
{
	return (s.size == 1 && s.data[0] == '.') ||
	       (s.size == 2 && s.data[0] == '.' && s.data[1] == '.');
}

/* One segment, decoded where it must be; *room moves behind what was used. */
static const char *take_segment(struct gw_target *t, struct gw_slice raw, char **room)
{
	struct gw_slice segment = raw;

	if (t->n_segments == GW_SEGMENTS_MAX)
		return "The path has too many segments.";
	if (raw.size && memchr(raw.data, '%', raw.size)) {
		long size = gw_target_decode(raw, *room);
		if (size < 0)
			return "A % in the path is not followed by two hexadecimal digits.";
		segment = (struct gw_slice){ *room, (size_t)size };
		*room += size;
		if (memchr(segment.data, '\0', segment.size))
			return "The path holds an encoded NUL byte.";
	}
	if (is_dots(segment))
		return "The path holds a . or .. segment; send it resolved.";
	t->segments[t->n_segments++] = segment;
	return NULL;
}

static const char *cut_path(struct gw_target *t, char *room)
{
	size_t start = 1;

	for (size_t i = 1; i <= t->path.size; i++) {
		const char *why;
		if (i < t->path.size && t->path.data[i] != '/')
			continue;
		why = take_segment(t, (struct gw_slice){ t->path.data + start, i - start }, &room);
		if (why)
			return why;
		start = i + 1;
	}
	return NULL;
}

enum base_err gw_target_parse(
	struct gw_target *t, const char *raw, size_t size, char *room, const char **why)
{
	struct gw_slice rest = { raw, size };
	const char *mark;

	t->n_segments = 0;
	t->asterisk = size == 1 && raw[0] == '*';
	t->path = t->origin = rest;
	t->query = (struct gw_slice){ NULL, 0 };
	if (t->asterisk)
		return BASE_OK;
	*why = "The request target is not a path.";
	if (size == 0)
		return BASE_INVALID;
	if (has_bad_byte(raw, size)) {
		*why = "The request target holds a byte that must be percent-encoded.";
		return BASE_INVALID;
	}
	if (raw[0] != '/' && !strip_authority(&rest))
		return BASE_INVALID;
	t->path = t->origin = rest;
	mark = memchr(rest.data, '?', rest.size);
	if (mark) {
		t->path.size = (size_t)(mark - rest.data);
		t->query = (struct gw_slice){ mark + 1, rest.size - t->path.size - 1 };
	}
	*why = cut_path(t, room);
	return *why ? BASE_INVALID : BASE_OK;
}
