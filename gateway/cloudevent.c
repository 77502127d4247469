#include "gateway/cloudevent.h"

#include <sodium/utils.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "base/text.h"
#include "base/when.h"
#include "gateway/http_wire.h"
#include "gateway/meta.h"

#define CE_PREFIX "ce-"

/* While one event is read. */
struct reading {
	struct gw_ce *ce;
	struct base_arena *arena;
	char *why;
	unsigned seen; /* of the rules: a bit each */
	struct gw_ce_attribute attributes[GW_CE_ATTRIBUTES_MAX]; /* of which an event uses a tenth */
};

static bool wrong(struct reading *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(struct reading *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(r->why, GW_CE_WHY, format, args);
	va_end(args);
	return false;
}

static bool no_memory(struct reading *r)
{
	return wrong(r, "The event does not fit the gateway's memory for reading it.");
}

static bool starts_like(struct gw_slice s, const char *prefix)
{
	size_t n = strlen(prefix);

	return s.size >= n && strncasecmp(s.data, prefix, n) == 0;
}

/* Batches first: their type begins like the other. */
enum gw_ce_mode gw_ce_mode(struct gw_slice type)
{
	static const char batch[] = "application/cloudevents-batch";
	static const char single[] = "application/cloudevents";
	size_t n;

	if (!type.data || !starts_like(type, single))
		return GW_CE_BINARY;
	n = starts_like(type, batch) ? sizeof batch - 1 : sizeof single - 1;
	type.data += n;
	type.size -= n;
	if (!starts_like(type, "+json") ||
		(type.size > 5 && type.data[5] != ';' && type.data[5] != ' ' && type.data[5] != '\t'))
		return GW_CE_UNSUPPORTED;
	return n == sizeof batch - 1 ? GW_CE_BATCH : GW_CE_STRUCTURED;
}

/* ---- rules of values --------------------------------------------------------------- */

/* CloudEvents' String: no controls, no non-characters; surrogates are no UTF-8 anyway. */
static bool is_string(struct gw_slice s)
{
	uint32_t code;

	for (size_t i = 0, n; i < s.size; i += n) {
		n = 1;
		if (s.data[i] >= 0x20 && s.data[i] < 0x7f)
			continue;
		n = base_text_utf8(s.data + i, s.size - i, &code);
		if (n == 0 || code < 0x20 || (code >= 0x7f && code <= 0x9f))
			return false;
		if ((code & 0xfffe) == 0xfffe || (code >= 0xfdd0 && code <= 0xfdef))
			return false;
	}
	return true;
}

static bool is_version(struct gw_slice s)
{
	return gw_slice_equal(s, GW_SLICE("1.0"));
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* RFC 3986's characters, and whole percent encodings. */
static bool is_uri_reference(struct gw_slice s)
{
	for (size_t i = 0; i < s.size; i++) {
		char c = s.data[i];
		if (c == '%') {
			if (s.size - i < 3 || !is_hex(s.data[i + 1]) || !is_hex(s.data[i + 2]))
				return false;
		} else if (c <= ' ' || c >= 0x7f || strchr("\"<>\\^`{|}", c)) {
			return false;
		}
	}
	return s.size > 0;
}

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_uri(struct gw_slice s)
{
	size_t n = 0;

	while (n < s.size && (is_alpha(s.data[n]) || (n > 0 && s.data[n] && strchr("0123456789+-.", s.data[n]))))
		n++;
	return n > 0 && n + 1 < s.size && s.data[n] == ':' && is_uri_reference(s);
}

/* Of any year: one before 1970 is looked at as its like 400 years later, or more. */
static bool is_timestamp(struct gw_slice s)
{
	char text[64];
	unsigned year = 0;
	uint64_t ms;

	if (s.size < 5 || s.size >= sizeof text)
		return false;
	memcpy(text, s.data, s.size);
	for (int i = 0; i < 4; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		year = year * 10 + (unsigned)(text[i] - '0');
	}
	year = 2000 + year % 400;
	for (int i = 3; i >= 0; i--, year /= 10)
		text[i] = (char)('0' + year % 10);
	return base_when_parse(text, s.size, &ms);
}

/* type/subtype; what follows a semicolon is the parameters' matter. */
static bool is_media_type(struct gw_slice s)
{
	size_t n = 0, slash;

	while (n < s.size && gw_wire_is_tchar(s.data[n]))
		n++;
	if (n == 0 || n == s.size || s.data[n] != '/')
		return false;
	slash = n++;
	while (n < s.size && gw_wire_is_tchar(s.data[n]))
		n++;
	if (n == slash + 1)
		return false;
	while (n < s.size && (s.data[n] == ' ' || s.data[n] == '\t'))
		n++;
	return n == s.size || s.data[n] == ';';
}

/* What the attributes of the specification must be; extensions are strings. */
static const struct rule {
	struct gw_slice name;
	bool required;
	bool (*is_good)(struct gw_slice value);
	const char *expected;
	size_t offset; /* of the slice in gw_ce; SIZE_MAX: only in the list */
} rules[] = {
#define NAME(text) { text, sizeof text - 1 }
	{ NAME("specversion"), true, is_version, "1.0", SIZE_MAX },
	{ NAME("id"), true, NULL, NULL, offsetof(struct gw_ce, id) },
	{ NAME("source"), true, is_uri_reference, "a URI-reference", offsetof(struct gw_ce, source) },
	{ NAME("type"), true, NULL, NULL, offsetof(struct gw_ce, type) },
	{ NAME("subject"), false, NULL, NULL, offsetof(struct gw_ce, subject) },
	{ NAME("dataschema"), false, is_uri, "an absolute URI", SIZE_MAX },
	{ NAME("time"), false, is_timestamp, "a time such as 2026-11-21T09:15:02Z (RFC 3339)", SIZE_MAX },
#undef NAME
};

#define N_RULES (sizeof rules / sizeof rules[0])

static const struct rule *rule_of(struct gw_slice name)
{
	for (size_t i = 0; i < N_RULES; i++)
		if (gw_slice_equal(name, rules[i].name))
			return &rules[i];
	return NULL;
}

/* The attributes need no beginning: they are large. */
static void begin(struct reading *r, struct gw_ce *ce)
{
	r->ce = ce;
	r->seen = 0;
	*ce = (struct gw_ce){ 0 };
}

/* ---- attributes --------------------------------------------------------------------- */

static bool is_name(struct gw_slice name)
{
	if (name.size == 0 || name.size > GW_CE_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.size; i++)
		if (!((name.data[i] >= 'a' && name.data[i] <= 'z') ||
			    (name.data[i] >= '0' && name.data[i] <= '9')))
			return false;
	return true;
}

static bool complain_of_name(struct reading *r, struct gw_slice name)
{
	char quoted[BASE_TEXT_QUOTED];

	base_text_quote(quoted, sizeof quoted, name.data, name.size);
	return wrong(r, "%s is no name of an attribute: those are of a-z and 0-9, at most %d.", quoted,
		GW_CE_NAME_MAX);
}

static bool complain_of_value(
	struct reading *r, struct gw_slice name, const char *expected, struct gw_slice value)
{
	char quoted[BASE_TEXT_QUOTED];

	base_text_quote(quoted, sizeof quoted, value.data, value.size);
	return wrong(r, "%.*s: expected %s, got %s.", (int)name.size, name.data, expected, quoted);
}

static bool check_value(
	struct reading *r, struct gw_slice name, const struct rule *rule, struct gw_slice value)
{
	if (value.size > GW_CE_VALUE_MAX)
		return wrong(r, "%.*s: it is longer than %d bytes.", (int)name.size, name.data, GW_CE_VALUE_MAX);
	if (!is_string(value))
		return complain_of_value(r, name, "UTF-8 without control characters", value);
	if (rule && rule->is_good != is_version && value.size == 0)
		return wrong(r, "%.*s: it is empty.", (int)name.size, name.data);
	if (rule && rule->is_good && !rule->is_good(value))
		return complain_of_value(r, name, rule->expected, value);
	return true;
}

/* A value that is decoded; the rule is that of its name, if there is one. */
static bool add(
	struct reading *r, struct gw_slice name, const struct rule *rule, struct gw_slice value)
{
	struct gw_ce *ce = r->ce;

	if (!rule && !is_name(name))
		return complain_of_name(r, name);
	for (size_t i = 0; i < ce->n_attributes; i++)
		if (gw_slice_equal(r->attributes[i].name, name))
			return wrong(r, "%.*s: it is given twice.", (int)name.size, name.data);
	if (!check_value(r, name, rule, value))
		return false;
	if (ce->n_attributes == GW_CE_ATTRIBUTES_MAX)
		return wrong(r, "There are more than %d attributes.", GW_CE_ATTRIBUTES_MAX);
	r->attributes[ce->n_attributes++] = (struct gw_ce_attribute){ name, value };
	if (rule)
		r->seen |= 1u << (rule - rules);
	if (rule && rule->offset != SIZE_MAX)
		memcpy((char *)ce + rule->offset, &value, sizeof value);
	return true;
}

static bool finish(struct reading *r)
{
	struct gw_ce *ce = r->ce;

	for (size_t i = 0; i < N_RULES; i++)
		if (rules[i].required && !(r->seen >> i & 1))
			return wrong(r, "%s: it is missing, and every CloudEvent has one.", rules[i].name.data);
	if (ce->content_type.size > 0 && !is_media_type(ce->content_type))
		return complain_of_value(r, GW_SLICE("datacontenttype"),
			"a media type such as application/json", ce->content_type);
	ce->attributes =
		base_arena_dup(r->arena, r->attributes, ce->n_attributes * sizeof *r->attributes);
	return ce->attributes || no_memory(r);
}

/* ---- binary mode -------------------------------------------------------------------- */

static int hex_of(char c)
{
	return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

/* Out of quotes, if it stands in such, and then out of percent encoding. UTF-8 is looked at later. */
static bool decode(struct reading *r, struct gw_slice in, struct gw_slice *out)
{
	bool quoted = in.size >= 2 && in.data[0] == '"' && in.data[in.size - 1] == '"';
	char *to = base_arena_alloc(r->arena, in.size + 1);
	size_t n = 0;

	if (!to)
		return no_memory(r);
	if (quoted) {
		in.data++;
		in.size -= 2;
	}
	for (size_t i = 0; i < in.size; i++) {
		if (quoted && in.data[i] == '\\' && i + 1 < in.size)
			i++;
		to[n++] = in.data[i];
	}
	*out = (struct gw_slice){ to, 0 };
	for (size_t i = 0; i < n; i++) {
		char c = to[i];
		if (c == '%' && n - i >= 3 && is_hex(to[i + 1]) && is_hex(to[i + 2])) {
			c = (char)(hex_of(to[i + 1]) << 4 | hex_of(to[i + 2]));
			i += 2;
		}
		to[out->size++] = c;
	}
	return true;
}

/* Header names come in any case; attributes have but one. */
static bool lower(struct reading *r, struct gw_slice in, struct gw_slice *out)
{
	char *to = base_arena_alloc(r->arena, in.size + 1);

	if (!to)
		return no_memory(r);
	for (size_t i = 0; i < in.size; i++)
		to[i] = (char)(in.data[i] >= 'A' && in.data[i] <= 'Z' ? in.data[i] | 0x20 : in.data[i]);
	*out = (struct gw_slice){ to, in.size };
	return true;
}

static bool read_header(struct reading *r, const struct gw_header *h)
{
	struct gw_slice name = h->name, value;

	name.data += sizeof CE_PREFIX - 1;
	name.size -= sizeof CE_PREFIX - 1;
	if (!lower(r, name, &name) || !decode(r, gw_slice_trim(h->value), &value))
		return false;
	if (gw_slice_equal(name, GW_SLICE("datacontenttype")))
		return wrong(r, "datacontenttype: in binary mode it is the Content-Type, not a header of its own.");
	if (gw_slice_equal(name, GW_SLICE("data")))
		return wrong(r, "data: in binary mode it is the body, not a header.");
	return add(r, name, rule_of(name), value);
}

bool gw_ce_binary(const struct gw_header *headers, size_t n, struct gw_slice body,
	struct base_arena *arena, struct gw_ce *out, char why[GW_CE_WHY])
{
	struct reading r;

	r.arena = arena;
	r.why = why;
	begin(&r, out);
	out->data = body;
	for (size_t i = 0; i < n; i++) {
		if (starts_like(headers[i].name, CE_PREFIX)) {
			if (!read_header(&r, &headers[i]))
				return false;
		} else if (gw_slice_like(headers[i].name, GW_SLICE("Content-Type"))) {
			out->content_type = gw_slice_trim(headers[i].value);
		}
	}
	return finish(&r);
}

/* ---- JSON ---------------------------------------------------------------------------- */

/* A string without escapes, as nearly all are, stays where it stands. */
static bool take_string(struct reading *r, const struct base_json *json, struct gw_slice *out)
{
	struct base_buf buf;
	char *copy;

	*out = (struct gw_slice){ json->text + 1, json->size - 2 };
	if (!memchr(out->data, '\\', out->size))
		return true;
	base_buf_init(&buf);
	base_json_unescape(json, &buf);
	copy = buf.failed ? NULL : base_arena_dup(r->arena, buf.data, buf.size);
	r->arena->starved = r->arena->starved || buf.failed;
	*out = (struct gw_slice){ copy, buf.size };
	base_buf_fini(&buf);
	return copy || no_memory(r);
}

/* CloudEvents' Integer: 32 bits, no fraction, no exponent. */
static bool is_integer(const struct base_json *json)
{
	size_t i = json->text[0] == '-', digits = json->size - i;
	int64_t value = 0;

	if (digits > 10)
		return false;
	for (; i < json->size; i++) {
		if (json->text[i] < '0' || json->text[i] > '9')
			return false;
		value = value * 10 + (json->text[i] - '0');
	}
	return json->text[0] == '-' ? value <= INT64_C(2147483648) : value <= INT32_MAX;
}

static bool read_member(struct reading *r, struct gw_slice name, const struct base_json *json)
{
	struct gw_slice value = { json->text, json->size };
	const struct rule *rule = rule_of(name);

	switch (json->kind) {
	case BASE_JSON_NULL:
		return true;
	case BASE_JSON_STRING:
		if (!take_string(r, json, &value))
			return false;
		break;
	case BASE_JSON_TRUE:
	case BASE_JSON_FALSE:
		break;
	case BASE_JSON_NUMBER:
		if (!is_integer(json))
			return complain_of_value(r, name, "a whole number of 32 bits, or a string", value);
		break;
	default:
		return complain_of_value(r, name, "a string, a number or a boolean", value);
	}
	if (rule && json->kind != BASE_JSON_STRING)
		return complain_of_value(r, name, "a string", value);
	return add(r, name, rule, value);
}

static bool read_content_type(struct reading *r, const struct base_json *json)
{
	if (json->kind == BASE_JSON_NULL)
		return true;
	if (json->kind != BASE_JSON_STRING)
		return wrong(r, "datacontenttype: expected a string.");
	if (r->ce->content_type.size > 0)
		return wrong(r, "datacontenttype: it is given twice.");
	if (!take_string(r, json, &r->ce->content_type))
		return false;
	if (r->ce->content_type.size == 0)
		return wrong(r, "datacontenttype: it is empty.");
	return true;
}

static bool is_json_type(struct gw_slice type)
{
	struct gw_slice s = gw_slice_trim(gw_slice_cut(&type, ';'));

	return s.size > 5 && strncasecmp(s.data + s.size - 4, "json", 4) == 0 &&
	       (s.data[s.size - 5] == '/' || s.data[s.size - 5] == '+');
}

static bool read_base64(struct reading *r, const struct base_json *json)
{
	struct gw_slice text;
	uint8_t *bytes;
	size_t n;

	if (json->kind != BASE_JSON_STRING)
		return wrong(r, "data_base64: expected a string.");
	if (!take_string(r, json, &text))
		return false;
	bytes = base_arena_alloc(r->arena, text.size + 1);
	if (!bytes)
		return no_memory(r);
	if (sodium_base642bin(bytes, text.size, text.data, text.size, NULL, &n, NULL,
		    sodium_base64_VARIANT_ORIGINAL) != 0)
		return wrong(r, "data_base64: that is not base64.");
	r->ce->data = (struct gw_slice){ (const char *)bytes, n };
	return true;
}

/* JSON stays as it stands; a string of another type is the text it stands for. */
static bool read_data(struct reading *r, const struct base_json *json)
{
	struct gw_ce *ce = r->ce;

	if (ce->content_type.size == 0)
		ce->content_type = GW_SLICE("application/json");
	ce->data = (struct gw_slice){ json->text, json->size };
	if (is_json_type(ce->content_type))
		return true;
	if (json->kind != BASE_JSON_STRING)
		return wrong(r, "data: expected a string, because datacontenttype is not JSON.");
	return take_string(r, json, &ce->data);
}

/* data is read last: the content type says what it is. */
static bool read_object(struct reading *r, const struct base_json *object)
{
	struct base_json_walk walk;
	struct base_json key, json, data = { 0 }, coded = { 0 };
	struct gw_slice name;

	if (object->kind != BASE_JSON_OBJECT)
		return wrong(r, "A CloudEvent is a JSON object.");
	walk = base_json_walk(object);
	while (base_json_next(&walk, &key, &json)) {
		bool is_data, is_coded;

		if (!take_string(r, &key, &name))
			return false;
		is_data = gw_slice_equal(name, GW_SLICE("data"));
		is_coded = gw_slice_equal(name, GW_SLICE("data_base64"));
		if ((is_data && data.text) || (is_coded && coded.text))
			return wrong(r, "%s: it is given twice.", is_data ? "data" : "data_base64");
		if (is_data) {
			data = json;
		} else if (is_coded) {
			coded = json;
		} else if (gw_slice_equal(name, GW_SLICE("datacontenttype"))) {
			if (!read_content_type(r, &json))
				return false;
		} else if (!read_member(r, name, &json)) {
			return false;
		}
	}
	if (coded.text && coded.kind == BASE_JSON_NULL)
		coded.text = NULL;
	if (data.text && coded.text)
		return wrong(r, "data: there is data_base64, too.");
	if (coded.text && !read_base64(r, &coded))
		return false;
	if (data.text && !read_data(r, &data))
		return false;
	return finish(r);
}

static bool check_text(struct reading *r, struct gw_slice body, struct base_json *out)
{
	const char *why;
	size_t at;

	if (base_json_check(body.data, body.size, GW_CE_DEPTH_MAX, out, &why, &at))
		return true;
	return wrong(r, "The body is not JSON: %s, at byte %zu.", why, at);
}

bool gw_ce_structured(
	struct gw_slice body, struct base_arena *arena, struct gw_ce *out, char why[GW_CE_WHY])
{
	struct reading r;
	struct base_json json;

	r.arena = arena;
	r.why = why;
	begin(&r, out);
	return check_text(&r, body, &json) && read_object(&r, &json);
}

/* The elements of an array, of which `most` are kept; all are counted. */
static size_t list_elements(const struct base_json *array, struct base_json *out, size_t most)
{
	struct base_json_walk walk = base_json_walk(array);
	struct base_json element;
	size_t n = 0;

	for (; base_json_next(&walk, NULL, &element); n++)
		if (n < most)
			out[n] = element;
	return n;
}

bool gw_ce_batch(struct gw_slice body, size_t most, struct base_arena *arena, struct gw_ce **list,
	size_t *n, char why[GW_CE_WHY])
{
	struct reading r;
	char detail[GW_CE_WHY];
	struct base_json json, *elements;
	size_t count;

	r.arena = arena;
	r.why = why;
	*n = 0;
	if (!check_text(&r, body, &json))
		return false;
	if (json.kind != BASE_JSON_ARRAY)
		return wrong(&r, "A batch of CloudEvents is a JSON array.");
	elements = base_arena_alloc(arena, most * sizeof *elements);
	if (!elements)
		return no_memory(&r);
	count = list_elements(&json, elements, most);
	*n = count;
	if (count > most)
		return wrong(&r, "A batch has at most %zu events, this one %zu.", most, count);
	*list = base_arena_alloc(arena, count * sizeof **list);
	if (!*list)
		return no_memory(&r);
	for (*n = 0; *n < count; ++*n) {
		r.why = detail;
		begin(&r, &(*list)[*n]);
		if (read_object(&r, &elements[*n]))
			continue;
		r.why = why;
		return wrong(&r, "event %zu: %s", *n, detail);
	}
	return true;
}

/* ---- out ------------------------------------------------------------------------------ */

static bool must_encode(char c)
{
	return c <= ' ' || c >= 0x7f || c == '"' || c == '%';
}

static void encode(struct base_buf *out, struct gw_slice value)
{
	size_t plain = 0, i = 0;

	for (; i < value.size; i++) {
		if (!must_encode(value.data[i]))
			continue;
		base_buf_add(out, value.data + plain, i - plain);
		base_buf_fmt(out, "%%%02X", (unsigned)(unsigned char)value.data[i]);
		plain = i + 1;
	}
	base_buf_add(out, value.data + plain, i - plain);
}

void gw_ce_pack(const struct gw_ce *ce, struct base_buf *out)
{
	const size_t prefix = sizeof CE_PREFIX - 1;
	char name[sizeof CE_PREFIX + GW_CE_NAME_MAX] = CE_PREFIX;
	struct base_buf value;

	base_buf_init(&value);
	for (size_t i = 0; i < ce->n_attributes; i++) {
		const struct gw_ce_attribute *a = &ce->attributes[i];

		memcpy(name + prefix, a->name.data, a->name.size);
		base_buf_reset(&value);
		encode(&value, a->value);
		out->failed = out->failed || value.failed;
		gw_meta_header(out, (struct gw_slice){ name, prefix + a->name.size },
			(struct gw_slice){ (const char *)value.data, value.size });
	}
	if (ce->content_type.size > 0)
		gw_meta_header(out, GW_SLICE("Content-Type"), ce->content_type);
	base_buf_fini(&value);
}
