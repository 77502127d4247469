/* Prefer (RFC 7240): the one preference that Pirn knows is respond-async. Others are
 * passed over, as the standard wants it; wait among them, since respond-async is
 * answered at once.
 */
#ifndef GATEWAY_PREFER_H
#define GATEWAY_PREFER_H

#include "gateway/slice.h"

/* Whether one header's value holds respond-async. UNTRUSTED. */
bool gw_prefer_async(struct gw_slice value);

#endif
