/* An HttpRequest, read by straight code: a gateway sends a dozen short texts with each call, and
 * protobuf-c walks descriptors for each. What is unusual (an unknown field, a field twice or
 * missing) is left to it.
 */
#ifndef WRK_REQUEST_READ_H
#define WRK_REQUEST_READ_H

#include "base/arena.h"
#include "proto/pirn.pb-c.h"

/* In the arena, every text with a NUL behind it. NULL: protobuf-c is to look, or the arena starves.
 * UNTRUSTED. */
Pirn__HttpRequest *wrk_request_read(struct base_arena *arena, const uint8_t *bytes, size_t size);

#endif
