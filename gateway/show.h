/* Events as JSON: what became of one, and what lies among the dead letters. Times are
 * RFC 3339 in UTC, reasons are the protocol's words in lower case, bodies are text when
 * they are UTF-8 and base64 otherwise (body_encoding says which). Everything shown comes
 * from brokers: UNTRUSTED.
 */
#ifndef GATEWAY_SHOW_H
#define GATEWAY_SHOW_H

#include "gateway/jsonout.h"
#include "proto/pirn.pb-c.h"

#define GW_REASON_ROOM 32

/* "exhausted"; "unknown" for a number that is none. */
void gw_reason_print(uint32_t reason, char out[GW_REASON_ROOM]);
bool gw_reason_parse(const char *text, uint32_t *out); /* UNTRUSTED */

void gw_show_id(struct gw_json *j, const char *key, ProtobufCBinaryData id);
void gw_show_time(struct gw_json *j, const char *key, uint64_t unix_ms);
void gw_show_attempts(struct gw_json *j, Pirn__JournalAttempt *const *list, size_t n);
/* The members body and body_encoding. */
void gw_show_body(struct gw_json *j, const void *data, size_t size);

/* The members of one delivery; the object around them is the caller's. */
void gw_show_delivery(struct gw_json *j, const Pirn__Invocation *i);

/* An event: flat when it has one delivery, and with an array deliveries when it has several. n > 0;
 * all of one id. */
void gw_show_invocation(struct gw_json *j, Pirn__Invocation *const *list, size_t n);

/* A dead letter; whole: with the request that it is. */
void gw_show_letter(struct gw_json *j, const Pirn__Letter *letter, bool whole);

#endif
