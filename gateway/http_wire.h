/* HTTP/1.1 as bytes (RFC 9112): where a head ends, what its lines say, and the chunks of a
 * body. Pure: no sockets, no memory, nothing of Pirn's. All of it is UNTRUSTED.
 *
 * Where the RFC lets a server be lenient this one is not, because two servers that are lenient
 * in different ways can be played against each other: a line ends in CR LF and in nothing else,
 * a header does not go on in a second line, its name is a token that touches its colon, and what
 * is in a chunk's first line is digits, or an extension after them.
 */
#ifndef GATEWAY_HTTP_WIRE_H
#define GATEWAY_HTTP_WIRE_H

#include <stdint.h>

#include "gateway/slice.h"

enum gw_wire { GW_WIRE_MORE, GW_WIRE_WHOLE, GW_WIRE_BAD };

/* Empty lines before a request, which some clients send after a body: how many bytes they are. */
size_t gw_wire_blank(const char *data, size_t size);

/* How far a head was looked through; zeroed for a new one. Bytes are looked at once, however
 * they come. */
struct gw_wire_find {
	size_t seen; /* WHOLE: the size of the head, its empty line included */
	size_t line; /* where the last line that was begun begins; 0: no line is whole yet */
};

/* data begins where the head does. BAD: this is no head, whatever may still come. */
enum gw_wire gw_wire_find(struct gw_wire_find *f, const char *data, size_t size);

/* The next line of a whole head, without its CR LF; empty: the last one. */
struct gw_slice gw_wire_next(struct gw_slice *head);

struct gw_wire_first {
	struct gw_slice method, target; /* a token; no blank and no control character in it */
	bool http_1_0;
};

/* 0, or the status to refuse it with. A minor version above 1 is read as 1. */
unsigned gw_wire_first(struct gw_slice line, struct gw_wire_first *out);

/* NULL, or what is wrong, as a sentence. value is without white space around it. */
const char *gw_wire_header(struct gw_slice line, struct gw_slice *name, struct gw_slice *value);

bool gw_wire_is_tchar(char c); /* tchar of RFC 9110: what tokens are made of */
bool gw_wire_is_token(struct gw_slice s);
bool gw_wire_is_value(struct gw_slice s); /* no control character but the tab */

#define GW_CHUNK_LINE_MOST 1024u /* a chunk's first line */
#define GW_TRAILERS_MOST   8192u /* all lines after the last chunk */

/* Where a body in chunks is; zeroed for a new one. */
struct gw_chunks {
	uint64_t left; /* of the chunk's data, or what its size is so far */
	unsigned line; /* bytes of this line, or of all trailers */
	unsigned state;
};

enum gw_chunk { GW_CHUNK_MORE, GW_CHUNK_DATA, GW_CHUNK_END, GW_CHUNK_BAD };

/* Takes from the beginning of *in. DATA: *data is a piece of the body, in *in; call again. MORE:
 * *in is used up. END: the body is over, *in is what follows it. Trailers are read, and forgotten. */
enum gw_chunk gw_chunks_take(struct gw_chunks *c, struct gw_slice *in, struct gw_slice *data);

/* What the chunk that is being read has still to bring: that is known before it comes. */
uint64_t gw_chunks_ahead(const struct gw_chunks *c);

#endif
