/* The request target as it stood on the request line, cut into decoded segments.
 *
 * Routing looks at this and never at a URL that somebody unescaped before: %2F is
 * a byte of its segment there, not a separator. Each segment is percent-decoded on
 * its own, after the path was cut at its slashes. Query strings are not looked into.
 *
 * Refused, with a sentence for the client: bytes that no target may have (controls,
 * blanks, #), a % without two hex digits, %00, and segments that are . or .. however
 * they are written: a proxy in front and a service behind would disagree on what
 * they mean. Bytes over 0x7F are let through, because clients send them.
 */
#ifndef GATEWAY_TARGET_H
#define GATEWAY_TARGET_H

#include "base/err.h"
#include "gateway/slice.h"

#define GW_SEGMENTS_MAX 256

struct gw_target {
	struct gw_slice path;   /* raw, begins with /; "*" for OPTIONS * */
	struct gw_slice query;  /* raw, behind the ?; data is NULL when there is no ? */
	struct gw_slice
		origin; /* path and query: what an absolute target is without scheme and host */
	bool asterisk;
	size_t n_segments;      /* "/" has one, which is empty; "*" has none */
	struct gw_slice
		segments[GW_SEGMENTS_MAX]; /* decoded; in raw, or in room when they had a % */
};

/* Takes origin form, absolute form (http:// and https://) and *. UNTRUSTED raw; room has at least
 * size bytes, and must live as long as raw and *t. INVALID: *why is a sentence for the client. */
BASE_MUSTUSE enum base_err gw_target_parse(
	struct gw_target *t, const char *raw, size_t size, char *room, const char **why);

/* Percent-decodes into out, which has in.size bytes; -1 when a % is broken. UNTRUSTED. */
long gw_target_decode(struct gw_slice in, char *out);

#endif
