/* The meta of a call's payload, as bytes: Pirn__HttpRequest out, Pirn__HttpResponse in.
 *
 * Both are flat lists of short byte strings, and this is the gateway's hottest work, so
 * they are written and read in one pass, straight from the request's slices and without
 * an object a header. tests/unit/test_meta.c holds them against protobuf-c.
 */
#ifndef GATEWAY_META_H
#define GATEWAY_META_H

#include <stdint.h>

#include "base/buf.h"
#include "gateway/slice.h"

void gw_meta_method(struct base_buf *out, struct gw_slice method);
void gw_meta_target(struct base_buf *out, struct gw_slice target);
void gw_meta_header(struct base_buf *out, struct gw_slice name, struct gw_slice value);
void gw_meta_remote(struct base_buf *out, struct gw_slice remote);
void gw_meta_param(struct base_buf *out, struct gw_slice name, struct gw_slice value);

struct gw_meta_reader {
	const uint8_t *at, *end;
};

/* The next header of an HttpResponse: 1, and its slices point into the message; 0 at the end;
 * -1 when the bytes are no HttpResponse. UNTRUSTED. Unknown fields are skipped. */
int gw_meta_next(struct gw_meta_reader *r, struct gw_slice *name, struct gw_slice *value);

#endif
