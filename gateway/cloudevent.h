/* CloudEvents 1.0 over HTTP, in: a request in binary, structured or batched mode becomes
 * events, each checked attribute by attribute; and an event becomes the request in binary
 * mode that a service gets, whatever mode it came in.
 *
 * Data passes byte for byte: the JSON formats' `data` is a stretch of the text it came in
 * (base/json.h), but for a string that is another type's text, and for data_base64.
 * Values of attributes are kept decoded, as UTF-8.
 *
 * Where the specification leaves a choice: an attribute whose value is null, or whose header
 * is empty, is not there (a required one is then missing); a whole batch is refused for one
 * event, by its place; an event format other than JSON is UNSUPPORTED. Sources: CloudEvents
 * 1.0.2, spec.md, formats/json-format.md, bindings/http-protocol-binding.md.
 */
#ifndef GATEWAY_CLOUDEVENT_H
#define GATEWAY_CLOUDEVENT_H

#include "base/arena.h"
#include "base/buf.h"
#include "gateway/http.h"

#define GW_CE_ATTRIBUTES_MAX 64
#define GW_CE_NAME_MAX       64
#define GW_CE_VALUE_MAX      4096
#define GW_CE_DEPTH_MAX      64
#define GW_CE_BATCH_MAX      512 /* events; with their attributes they fit a message */
#define GW_CE_WHY            256

enum gw_ce_mode { GW_CE_BINARY, GW_CE_STRUCTURED, GW_CE_BATCH, GW_CE_UNSUPPORTED };

struct gw_ce_attribute {
	struct gw_slice name, value;
};

/* Slices point into the request, or into the arena, as the attributes do. */
struct gw_ce {
	struct gw_slice id, source, type;
	struct gw_slice subject; /* size 0: none */
	struct gw_slice content_type; /* size 0: none */
	struct gw_slice data; /* size 0: none, or empty */
	size_t n_attributes;
	const struct gw_ce_attribute *attributes; /* all, those above and specversion too, but not the content type;
	                                           * in the order they came */
};

/* By the request's Content-Type; data NULL: it has none. */
enum gw_ce_mode gw_ce_mode(struct gw_slice content_type);

/* False: why says what is wrong, with the attribute's name; or, of a batch, "event 3: " first. When the arena
 * is starved, there was no memory, and the event may be sound. All UNTRUSTED. */
BASE_MUSTUSE bool gw_ce_binary(const struct gw_header *headers, size_t n, struct gw_slice body,
	struct base_arena *arena, struct gw_ce *out, char why[GW_CE_WHY]);
BASE_MUSTUSE bool gw_ce_structured(
	struct gw_slice body, struct base_arena *arena, struct gw_ce *out, char why[GW_CE_WHY]);
/* *list is the arena's. An empty batch is one. False, and *n above most: that was too many. */
BASE_MUSTUSE bool gw_ce_batch(struct gw_slice body, size_t most, struct base_arena *arena,
	struct gw_ce **list, size_t *n, char why[GW_CE_WHY]);

/* The headers of binary mode, as the meta of a request (gateway/meta.h). */
void gw_ce_pack(const struct gw_ce *ce, struct base_buf *out);

#endif
