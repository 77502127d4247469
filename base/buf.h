/* A growing byte buffer, always NUL-terminated after its size, so that it serves
 * for text too. Growth that fails is kept as a sticky error: build freely, look
 * once at the end. Out of memory is rare enough that a look at the end is the
 * only test that gets written, and so the only one that works.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct base_buf {
	uint8_t *data; /* never NULL after init: an empty buffer points at a static NUL */
	size_t size;
	size_t capacity;
	bool failed;
};

void base_buf_init(struct base_buf *b);
void base_buf_fini(struct base_buf *b);
void base_buf_reset(struct base_buf *b);                    /* size 0, memory kept, error cleared */
uint8_t *base_buf_room(struct base_buf *b, size_t size);    /* at least size bytes after the end, or NULL */
void base_buf_grew(struct base_buf *b, size_t size);        /* that many of them were filled */
void base_buf_add(struct base_buf *b, const void *data, size_t size);
void base_buf_str(struct base_buf *b, const char *text);
void base_buf_chr(struct base_buf *b, char c);
void base_buf_fmt(struct base_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void base_buf_json(struct base_buf *b, const void *text, size_t size); /* a JSON string, quotes included; broken UTF-8 becomes U+FFFD */
BASE_MUSTUSE enum base_err base_buf_check(const struct base_buf *b);   /* OK or NOMEM */
uint8_t *base_buf_take(struct base_buf *b); /* free() it; NULL when failed */

#endif
