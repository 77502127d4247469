/* What may stand in an HTTP header, for requests that leave and answers that come back. */
#ifndef WRK_HEADER_H
#define WRK_HEADER_H

#include <stdbool.h>
#include <stddef.h>

bool wrk_header_is_name(const char *name, size_t size); /* RFC 9110's token. UNTRUSTED */

/* No controls: a line break would begin a header of somebody else's choosing. UNTRUSTED */
bool wrk_header_is_value(const char *value, size_t size);

/* Headers of the connection and of framing, which whoever sends makes himself. */
bool wrk_header_is_framing(const char *name, size_t size);

#endif
