/* Idempotency-Key (the IETF's draft): what it looks like, and what makes two requests
 * the same.
 *
 * A key is a structured field's string ("…"), or bare as many clients send it; both
 * spellings of the same text are the same key. Its scope is the service.
 *
 * The fingerprint is BLAKE2b of the method, the target, whether it is to be an event,
 * the content type and the body, each with its length before it. It holds no secret,
 * because every gateway must get the same one; what it must be is free of collisions,
 * or somebody who knows a key could fetch its stored answer with a request that he made
 * to fit. Whether it is an event counts because the answers differ: a call's key gives
 * back a response, an event's its id.
 */
#ifndef GATEWAY_KEY_H
#define GATEWAY_KEY_H

#include <stdint.h>

#include "gateway/slice.h"

#define GW_KEY_MAX  255
#define GW_KEY_HASH 16

/* The key's bytes into out; how many, or 0 when value is no key: neither a string nor visible
 * characters without quotes, empty, or longer than GW_KEY_MAX. UNTRUSTED. */
size_t gw_key_read(struct gw_slice value, uint8_t out[GW_KEY_MAX]);

struct gw_key_request {
	struct gw_slice method, target, content_type, body;
	bool event;
};

void gw_key_hash(const struct gw_key_request *r, uint8_t out[GW_KEY_HASH]);

#endif
