/* A piece of somebody else's text: borrowed, not NUL-terminated. Heads and targets
 * are cut into these without copying; whoever made the slice says how long it is good.
 */
#ifndef GATEWAY_SLICE_H
#define GATEWAY_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct gw_slice {
	const char *data; /* not NULL, unless "none" means something to its user */
	size_t size;
};

#define GW_SLICE(literal) ((struct gw_slice){ (literal), sizeof(literal) - 1 })

static inline struct gw_slice gw_slice_of(const char *text)
{
	return (struct gw_slice){ text, strlen(text) };
}

static inline bool gw_slice_equal(struct gw_slice a, struct gw_slice b)
{
	return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ASCII letters in either case, as header names want it. */
static inline bool gw_slice_like(struct gw_slice a, struct gw_slice b)
{
	return a.size == b.size && (a.size == 0 || strncasecmp(a.data, b.data, a.size) == 0);
}

/* Without blanks and tabs at either end. */
static inline struct gw_slice gw_slice_trim(struct gw_slice s)
{
	while (s.size && (s.data[0] == ' ' || s.data[0] == '\t')) {
		s.data++;
		s.size--;
	}
	while (s.size && (s.data[s.size - 1] == ' ' || s.data[s.size - 1] == '\t'))
		s.size--;
	return s;
}

/* The first bytes, so many of them; *rest is what follows. */
static inline struct gw_slice gw_slice_take(struct gw_slice *rest, size_t size)
{
	struct gw_slice piece = { rest->data, size };

	*rest = (struct gw_slice){ rest->data + size, rest->size - size };
	return piece;
}

/* What stands before the first such byte, or all there is; *rest is what follows it. */
static inline struct gw_slice gw_slice_cut(struct gw_slice *rest, char at)
{
	const char *end = rest->size ? memchr(rest->data, at, rest->size) : NULL;
	struct gw_slice piece = gw_slice_take(rest, end ? (size_t)(end - rest->data) : rest->size);

	if (end)
		(void)gw_slice_take(rest, 1);
	return piece;
}

#endif
