/* JSON text as it stands: checked against the grammar (RFC 8259), and walked without being
 * turned into anything. A value is a stretch of the text, so that what passes through
 * passes byte for byte: numbers of twenty digits, 0.1, escapes, white space.
 *
 * (jansson, which the command line has, refuses large numbers and prints others anew, and so
 * cannot carry somebody else's data; and where there is no memory it reads behind its own.)
 *
 * base_json_check looks at a whole text once: grammar, UTF-8, depth, escaped surrogates
 * that have no other half. What walks afterwards relies on it.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define BASE_JSON_DEPTH_MAX 512 /* most that a caller may allow */

enum base_json_kind {
	BASE_JSON_NULL,
	BASE_JSON_FALSE,
	BASE_JSON_TRUE,
	BASE_JSON_NUMBER,
	BASE_JSON_STRING,
	BASE_JSON_ARRAY,
	BASE_JSON_OBJECT
};

/* A part of the text, borrowed from it; a string with its quotes, no white space around. */
struct base_json {
	enum base_json_kind kind;
	const char *text;
	size_t size;
};

/* One value and white space, nothing else. Nested depth_max deep at most: [] is 1 deep. On an error *why is a
 * sentence and *at the byte it is about. UNTRUSTED text; it need not end in a NUL. */
BASE_MUSTUSE bool base_json_check(const char *text, size_t size, unsigned depth_max,
	struct base_json *out, const char **why, size_t *at);

/* The members of an object, or the elements of an array, in their order. */
struct base_json_walk {
	const char *at, *end;
};
struct base_json_walk base_json_walk(const struct base_json *value); /* of an object or array */
/* key may be NULL for an array's. False: that was all. */
bool base_json_next(struct base_json_walk *walk, struct base_json *key, struct base_json *value);

/* Appends what a string stands for, as UTF-8. */
void base_json_unescape(const struct base_json *string, struct base_buf *out);
/* The same as a text of less than room bytes, which needs no memory. False: it is longer, or holds a NUL. */
BASE_MUSTUSE bool base_json_text(const struct base_json *string, char *out, size_t room);
/* Whether a string stands for that text; neither takes this any memory. */
bool base_json_is(const struct base_json *string, const char *text);
/* The member of that name; the first of several. False: there is none. */
bool base_json_get(const struct base_json *object, const char *name, struct base_json *out);

#endif
