/* What happens in another Redis, as a service gets it: an HTTP request with the headers of a
 * CloudEvent in binary mode. Pure.
 *
 * The fields of a stream's entry are a JSON object. Redis knows bytes, JSON knows texts:
 * a value that is UTF-8 is a string, whatever it looks like; another one is
 * {"base64":"…"}; a field that is there several times has an array of its values, in
 * their order. A name that is not UTF-8 is written base64:….
 *
 * Names and values are UNTRUSTED: whoever may write to the stream chose them.
 */
#ifndef GATEWAY_ENTRY_H
#define GATEWAY_ENTRY_H

#include <stdint.h>

#include "base/buf.h"
#include "gateway/slice.h"

#define GW_ENTRY_ROUTE "/v1/redis/" /* and the stream, or the pattern of keys: an event's target */
#define GW_ENTRY_ID    41           /* two numbers of 20 digits and a dash */
#define GW_ENTRY_KEY   32           /* bytes of a dedupe key */

struct gw_entry_field {
	struct gw_slice name, value;
};

/* NOMEM is the buffer's: look at base_buf_check. */
void gw_entry_json(struct base_buf *out, const struct gw_entry_field *fields, size_t n);
/* {"key":…,"op":…,"db":…} */
void gw_entry_key_json(struct base_buf *out, struct gw_slice key, struct gw_slice op, uint32_t db);

struct gw_entry_head {
	const char *where;       /* host:port/db, for people and for ce-source */
	struct gw_slice what;    /* the stream, or the pattern of keys */
	const char *type;        /* pirn.redis.entry, pirn.redis.key. … */
	struct gw_slice op;      /* and the operation; none: size 0 */
	const char *id;          /* ce-id */
	struct gw_slice subject; /* none: size 0 */
	uint64_t time_ms;        /* 0: not known */
};

void gw_entry_meta(struct base_buf *out, const struct gw_entry_head *head);

/* An entry's id: two decimal numbers with a dash. *ms: the first, if that is a time. UNTRUSTED. */
bool gw_entry_is_id(struct gw_slice id, uint64_t *ms);

/* The same entry has the same key, whoever reads it and however often; one of another stream, group or service, or
 * with other fields, has another. */
void gw_entry_key(const char *const *scope, size_t n_scope, struct gw_slice id,
	struct gw_slice body, uint8_t out[GW_ENTRY_KEY]);

#endif
