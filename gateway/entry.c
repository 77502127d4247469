#include "gateway/entry.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "base/when.h"
#include "gateway/meta.h"

#define NONE        SIZE_MAX
#define SOME_MS     978307200000u   /* 2001: an entry's id before that is no time */
#define END_MS      253402300800000 /* the year 10000 */
#define HEADER_ROOM 2048u           /* of a header's value; more is cut, the body has it all */

/* ---- a value ------------------------------------------------------------------------- */

static void put_base64(struct base_buf *out, struct gw_slice bytes)
{
	size_t room = sodium_base64_encoded_len(bytes.size, sodium_base64_VARIANT_ORIGINAL);
	uint8_t *at = base_buf_room(out, room);

	if (!at)
		return;
	sodium_bin2base64((char *)at, room, (const uint8_t *)bytes.data, bytes.size,
		sodium_base64_VARIANT_ORIGINAL);
	base_buf_grew(out, room - 1); /* it counts its NUL */
}

static void put_value(struct base_buf *out, struct gw_slice value)
{
	if (base_text_is_utf8(value.data, value.size)) {
		base_buf_json(out, value.data, value.size);
		return;
	}
	base_buf_str(out, "{\"base64\":\"");
	put_base64(out, value);
	base_buf_str(out, "\"}");
}

static void put_name(struct base_buf *out, struct gw_slice name)
{
	if (base_text_is_utf8(name.data, name.size)) {
		base_buf_json(out, name.data, name.size);
		return;
	}
	base_buf_str(out, "\"base64:");
	put_base64(out, name);
	base_buf_chr(out, '"');
}

/* ---- fields ---------------------------------------------------------------------------- */

/* A field and the next one of its name, by their places. */
struct link {
	const struct gw_entry_field *field;
	size_t place, next;
	bool follows; /* it is not the first of its name */
};

static int by_name(const void *a, const void *b)
{
	const struct link *x = a, *y = b;
	struct gw_slice n = x->field->name, m = y->field->name;
	size_t shorter = n.size < m.size ? n.size : m.size;
	int order = shorter ? memcmp(n.data, m.data, shorter) : 0;

	if (order == 0)
		order = (n.size > m.size) - (n.size < m.size);
	return order ? order : (x->place > y->place) - (x->place < y->place);
}

static int by_place(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	return (x->place > y->place) - (x->place < y->place);
}

/* NULL: no memory. n > 0. */
static struct link *link_fields(const struct gw_entry_field *fields, size_t n)
{
	struct link *links = calloc(n, sizeof *links);

	if (!links)
		return NULL;
	for (size_t i = 0; i < n; i++)
		links[i] = (struct link){ &fields[i], i, NONE, false };
	qsort(links, n, sizeof *links, by_name);
	for (size_t i = 1; i < n; i++)
		if (gw_slice_equal(links[i - 1].field->name, links[i].field->name)) {
			links[i - 1].next = links[i].place;
			links[i].follows = true;
		}
	qsort(links, n, sizeof *links, by_place);
	return links;
}

static void put_field(struct base_buf *out, const struct link *links, size_t i)
{
	bool several = links[i].next != NONE;

	put_name(out, links[i].field->name);
	base_buf_str(out, several ? ":[" : ":");
	put_value(out, links[i].field->value);
	while ((i = links[i].next) != NONE) {
		base_buf_chr(out, ',');
		put_value(out, links[i].field->value);
	}
	if (several)
		base_buf_chr(out, ']');
}

void gw_entry_json(struct base_buf *out, const struct gw_entry_field *fields, size_t n)
{
	struct link *links = n ? link_fields(fields, n) : NULL;

	if (n && !links) {
		out->failed = true;
		return;
	}
	base_buf_chr(out, '{');
	for (size_t i = 0; i < n; i++) {
		if (links[i].follows)
			continue;
		if (i > 0) /* the first one never follows */
			base_buf_chr(out, ',');
		put_field(out, links, i);
	}
	base_buf_chr(out, '}');
	free(links);
}

void gw_entry_key_json(struct base_buf *out, struct gw_slice key, struct gw_slice op, uint32_t db)
{
	base_buf_str(out, "{\"key\":");
	put_value(out, key);
	base_buf_str(out, ",\"op\":");
	put_value(out, op);
	base_buf_fmt(out, ",\"db\":%u}", (unsigned)db);
}

/* ---- the head ---------------------------------------------------------------------------- */

/* Bytes that plain has stay, others become %XX; cut at HEADER_ROOM, and not within one. */
static void put_escaped(struct base_buf *out, struct gw_slice s, bool (*plain)(unsigned char c))
{
	size_t start = out->size;

	for (size_t i = 0; i < s.size && out->size - start < HEADER_ROOM; i++) {
		unsigned char c = (unsigned char)s.data[i];

		if (plain(c))
			base_buf_chr(out, (char)c);
		else
			base_buf_fmt(out, "%%%02X", c);
	}
}

/* What a segment of a path may have. */
static bool in_path(unsigned char c)
{
	return c && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    strchr("-._~!$&'()*+,;=:@", c));
}

/* What a header's value may have (CloudEvents, HTTP binding, 3.1.3.2). */
static bool in_header(unsigned char c)
{
	return c > 0x20 && c < 0x7F && c != '"' && c != '%';
}

static struct gw_slice slice_of(const struct base_buf *b)
{
	return (struct gw_slice){ (const char *)b->data, b->size };
}

static void put_header(struct base_buf *out, const char *name, struct gw_slice value)
{
	gw_meta_header(out, gw_slice_of(name), value);
}

/* Each text is made in room before it is put. */
static void put_texts(struct base_buf *out, const struct gw_entry_head *head, struct base_buf *room)
{
	base_buf_str(room, GW_ENTRY_ROUTE);
	put_escaped(room, head->what, in_path);
	gw_meta_target(out, slice_of(room));
	base_buf_reset(room);
	base_buf_fmt(room, "redis:%s/", head->where);
	put_escaped(room, head->what, in_path);
	put_header(out, "ce-source", slice_of(room));
	base_buf_reset(room);
	base_buf_str(room, head->type);
	put_escaped(room, head->op, in_header);
	put_header(out, "ce-type", slice_of(room));
	if (head->subject.size == 0)
		return;
	base_buf_reset(room);
	put_escaped(room, head->subject, in_header);
	put_header(out, "ce-subject", slice_of(room));
}

void gw_entry_meta(struct base_buf *out, const struct gw_entry_head *head)
{
	char when[BASE_WHEN_TEXT + 1];
	struct base_buf room;

	base_buf_init(&room);
	gw_meta_method(out, GW_SLICE("POST"));
	put_texts(out, head, &room);
	put_header(out, "Content-Type", GW_SLICE("application/json"));
	put_header(out, "ce-specversion", GW_SLICE("1.0"));
	put_header(out, "ce-id", gw_slice_of(head->id));
	if (head->time_ms > 0) {
		base_when_print(head->time_ms, when);
		put_header(out, "ce-time", gw_slice_of(when));
	}
	if (base_buf_check(&room))
		out->failed = true;
	base_buf_fini(&room);
}

/* ---- identity ------------------------------------------------------------------------------ */

static size_t digits(struct gw_slice s, size_t at)
{
	size_t n = 0;

	while (at + n < s.size && s.data[at + n] >= '0' && s.data[at + n] <= '9')
		n++;
	return n <= 20 ? n : 0;
}

bool gw_entry_is_id(struct gw_slice id, uint64_t *ms)
{
	size_t first = digits(id, 0), second;

	if (first == 0 || first == id.size || id.data[first] != '-')
		return false;
	second = digits(id, first + 1);
	if (second == 0 || first + 1 + second != id.size)
		return false;
	*ms = 0;
	for (size_t i = 0; i < first && first < 16; i++)
		*ms = *ms * 10 + (uint64_t)(id.data[i] - '0');
	if (*ms < SOME_MS || *ms >= END_MS)
		*ms = 0;
	return true;
}

static void add(crypto_generichash_state *h, const void *data, size_t size)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < sizeof bytes; i++)
		bytes[i] = (uint8_t)((uint64_t)size >> 8 * i);
	crypto_generichash_update(h, bytes, sizeof bytes);
	crypto_generichash_update(h, data, size);
}

void gw_entry_key(const char *const *scope, size_t n_scope, struct gw_slice id,
	struct gw_slice body, uint8_t out[GW_ENTRY_KEY])
{
	crypto_generichash_state h;

	crypto_generichash_init(&h, NULL, 0, GW_ENTRY_KEY);
	for (size_t i = 0; i < n_scope; i++)
		add(&h, scope[i], strlen(scope[i]));
	add(&h, id.data, id.size);
	add(&h, body.data, body.size);
	crypto_generichash_final(&h, out, GW_ENTRY_KEY);
}
