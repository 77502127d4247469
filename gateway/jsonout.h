/* JSON for answers, written straight into a buffer: the writer knows only where a
 * comma belongs. What it cannot get wrong is quoting; nesting is up to the caller,
 * and asserted.
 *
 *   struct gw_json j = gw_json_on(&buf);
 *   gw_json_open(&j, NULL, '{');
 *   gw_json_str(&j, "service", name);
 *   gw_json_close(&j, '}');
 *
 * The first argument after the writer is the member's key; NULL in an array and at
 * the top.
 */
#ifndef GATEWAY_JSONOUT_H
#define GATEWAY_JSONOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct gw_json {
	struct base_buf *out; /* its sticky error is the writer's */
	unsigned depth;
	bool comma;
};

struct gw_json gw_json_on(struct base_buf *out);
void gw_json_open(struct gw_json *j, const char *key, char bracket);
void gw_json_close(struct gw_json *j, char bracket);
void gw_json_str(struct gw_json *j, const char *key, const char *text); /* text NULL: null */
void gw_json_text(struct gw_json *j, const char *key, const void *text, size_t size);
void gw_json_raw(
	struct gw_json *j, const char *key, const char *json); /* a value, written before */
void gw_json_u64(struct gw_json *j, const char *key, uint64_t value);
void gw_json_f64(struct gw_json *j, const char *key, double value); /* null when it is no number */
void gw_json_bool(struct gw_json *j, const char *key, bool value);

#endif
