#include "worker/query.h"

#include <string.h>

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* How many bytes of text are one %XX, whose byte is then *c; 0: none. */
static size_t escape(const char *text, size_t size, char *c)
{
	if (size < 3 || text[0] != '%' || hex(text[1]) < 0 || hex(text[2]) < 0)
		return 0;
	*c = (char)(hex(text[1]) * 16 + hex(text[2]));
	return 3;
}

size_t wrk_query_decode(char *out, const char *text, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; n++) {
		size_t escaped = escape(text + i, size - i, &out[n]);

		if (escaped == 0)
			out[n] = text[i] == '+' ? ' ' : text[i];
		i += escaped > 0 ? escaped : 1;
	}
	out[n] = '\0';
	return n;
}

size_t wrk_query_decode_attribute(char *out, const char *text, size_t size)
{
	bool quoted = size >= 2 && text[0] == '"' && text[size - 1] == '"';
	size_t n = 0, i = quoted, end = quoted ? size - 1 : size;

	for (; i < end; n++) {
		size_t escaped = escape(text + i, end - i, &out[n]);

		if (quoted && text[i] == '\\' && i + 1 < end)
			i++;
		if (escaped == 0)
			out[n] = text[i];
		i += escaped > 0 ? escaped : 1;
	}
	out[n] = '\0';
	return n;
}

/* The end of the piece that begins at text: the next & or the end. */
static const char *piece_end(const char *text, const char *end)
{
	const char *amp = memchr(text, '&', (size_t)(end - text));

	return amp ? amp : end;
}

static size_t count(const char *text, const char *end)
{
	size_t n = 0;

	for (const char *next; text < end; text = next + 1) {
		next = piece_end(text, end);
		n += next > text;
	}
	return n < WRK_QUERY_MAX ? n : WRK_QUERY_MAX;
}

static bool decode_piece(
	struct base_arena *arena, const char *text, const char *end, struct pirn_pair *pair)
{
	size_t size = (size_t)(end - text);
	const char *equals = memchr(text, '=', size);
	size_t name_size = equals ? (size_t)(equals - text) : size;
	char *name = base_arena_alloc(arena, size + 2); /* both texts and their NULs */
	char *value;

	if (!name)
		return false;
	pair->name = name;
	pair->name_size = wrk_query_decode(name, text, name_size);
	value = name + pair->name_size + 1;
	pair->value = value;
	pair->value_size = equals ? wrk_query_decode(value, equals + 1, size - name_size - 1)
				  : wrk_query_decode(value, "", 0);
	return true;
}

enum base_err wrk_query_parse(struct base_arena *arena, const char *text, size_t size,
	struct pirn_pair **pairs, size_t *n_pairs)
{
	const char *end = text + size;
	size_t n = count(text, end), i = 0;
	struct pirn_pair *list = base_arena_alloc(arena, (n + 1) * sizeof *list);

	if (!list)
		return BASE_NOMEM;
	for (const char *next; text < end && i < n; text = next + 1) {
		next = piece_end(text, end);
		if (next > text && !decode_piece(arena, text, next, &list[i++]))
			return BASE_NOMEM;
	}
	*pairs = list;
	*n_pairs = n;
	return BASE_OK;
}
