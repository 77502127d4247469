#include "worker/yaml_parts.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#define PATH_SHOWN 256u /* of a path in a message: its end tells the most */

/* ---- messages ---------------------------------------------------------------- */

static struct wrk_yaml_place place_of(yaml_mark_t mark)
{
	return (struct wrk_yaml_place){ (unsigned)mark.line + 1, (unsigned)mark.column + 1 };
}

struct wrk_yaml_place wrk_yaml_here(const struct wrk_yaml *r)
{
	return place_of(r->event.start_mark);
}

enum base_err wrk_yaml_complain(
	struct wrk_yaml *r, enum base_err err, struct wrk_yaml_place place, const char *format, ...)
{
	size_t size = strlen(r->path);
	const char *path = size > PATH_SHOWN ? r->path + size - PATH_SHOWN : r->path;
	char sentence[BASE_MANIFEST_WHY + 256];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(sentence, sizeof sentence, format, args);
	va_end(args);
	(void)snprintf(
		r->why, r->why_room, "%s:%u:%u: %s", path, place.line, place.column, sentence);
	return err;
}

static bool is_null(const yaml_event_t *event)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };

	if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
		return false;
	for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
		if (strcmp((const char *)event->data.scalar.value, nulls[i]) == 0)
			return true;
	return false;
}

const char *wrk_yaml_came(const struct wrk_yaml *r, char out[BASE_TEXT_QUOTED])
{
	switch (r->event.type) {
	case YAML_SCALAR_EVENT:
		if (is_null(&r->event))
			return "nothing";
		base_text_quote(out, BASE_TEXT_QUOTED, (const char *)r->event.data.scalar.value,
			r->event.data.scalar.length);
		return out;
	case YAML_MAPPING_START_EVENT:
		return "a mapping";
	case YAML_SEQUENCE_START_EVENT:
		return "a list";
	default:
		return "nothing";
	}
}

/* ---- the bytes ---------------------------------------------------------------- */

/* libyaml's own reader errors know an offset only; this one knows the place. */
static bool is_text(uint32_t code)
{
	return code == '\t' || code == '\n' || code == '\r' || (code >= 0x20 && code < 0x7F) ||
	       code == 0x85 || (code >= 0xA0 && code < 0xFFFE && code != 0xFEFF) || code >= 0x10000;
}

enum base_err wrk_yaml_check_bytes(struct wrk_yaml *r, const char *text, size_t size)
{
	struct wrk_yaml_place place = { 1, 1 };
	uint32_t code;

	for (size_t at = 0; at < size;) {
		size_t length = base_text_utf8(text + at, size - at, &code);
		if (length == 0)
			return wrk_yaml_complain(r, BASE_CONFIG, place,
				"expected UTF-8 text, got byte 0x%02x",
				(unsigned)(uint8_t)text[at]);
		if (!is_text(code))
			return wrk_yaml_complain(r, BASE_CONFIG, place,
				"expected text, got the control character U+%04X", (unsigned)code);
		place.column++;
		if (code == '\n')
			place = (struct wrk_yaml_place){ place.line + 1, 1 };
		at += length;
	}
	return BASE_OK;
}

/* ---- libyaml's events ----------------------------------------------------------- */

enum base_err wrk_yaml_open(struct wrk_yaml *r, const char *text, size_t size)
{
	if (!yaml_parser_initialize(&r->parser))
		return wrk_yaml_complain(r, BASE_NOMEM, (struct wrk_yaml_place){ 1, 1 }, "%s",
			base_err_text(BASE_NOMEM));
	yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, size);
	return BASE_OK;
}

void wrk_yaml_close(struct wrk_yaml *r)
{
	if (r->has_event)
		yaml_event_delete(&r->event);
	r->has_event = false;
	yaml_parser_delete(&r->parser);
}

static enum base_err refuse_syntax(struct wrk_yaml *r)
{
	const yaml_parser_t *p = &r->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return wrk_yaml_complain(
			r, BASE_NOMEM, place_of(p->mark), "%s", base_err_text(BASE_NOMEM));
	return wrk_yaml_complain(r, BASE_CONFIG, place_of(p->problem_mark), "expected YAML: %s",
		p->problem ? p->problem : "it cannot be read");
}

/* What YAML has beyond plain data, on any node. */
static enum base_err refuse_extras(
	struct wrk_yaml *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		return wrk_yaml_complain(
			r, BASE_CONFIG, wrk_yaml_here(r), "expected plain data, got an anchor");
	if (tag)
		return wrk_yaml_complain(
			r, BASE_CONFIG, wrk_yaml_here(r), "expected plain data, got a tag");
	return BASE_OK;
}

static enum base_err check_event(struct wrk_yaml *r)
{
	const yaml_event_t *e = &r->event;

	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return wrk_yaml_complain(
			r, BASE_CONFIG, wrk_yaml_here(r), "expected plain data, got an alias");
	case YAML_SCALAR_EVENT:
		return refuse_extras(r, e->data.scalar.anchor, e->data.scalar.tag);
	case YAML_SEQUENCE_START_EVENT:
		r->depth++;
		return refuse_extras(r, e->data.sequence_start.anchor, e->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		r->depth++;
		return refuse_extras(r, e->data.mapping_start.anchor, e->data.mapping_start.tag);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		r->depth--;
		return BASE_OK;
	case YAML_DOCUMENT_START_EVENT:
		if (e->data.document_start.tag_directives.start !=
			e->data.document_start.tag_directives.end)
			return wrk_yaml_complain(r, BASE_CONFIG, wrk_yaml_here(r),
				"expected plain data, got a tag directive");
		return BASE_OK;
	default:
		return BASE_OK;
	}
}

enum base_err wrk_yaml_next(struct wrk_yaml *r)
{
	enum base_err err;

	if (r->has_event)
		yaml_event_delete(&r->event);
	r->has_event = false;
	if (!yaml_parser_parse(&r->parser, &r->event))
		return refuse_syntax(r);
	r->has_event = true;
	err = check_event(r);
	assert(err || r->depth <= WRK_YAML_DEPTH); /* only the schema makes the reader go deeper */
	return err;
}

/* ---- values ------------------------------------------------------------------- */

enum base_err wrk_yaml_expect(
	struct wrk_yaml *r, yaml_event_type_t type, const char *name, const char *expected)
{
	char came[BASE_TEXT_QUOTED];

	if (r->event.type == type)
		return BASE_OK;
	return wrk_yaml_complain(r, BASE_CONFIG, wrk_yaml_here(r), "%s: expected %s, got %s", name,
		expected, wrk_yaml_came(r, came));
}

/* The current event as text; it lives until wrk_yaml_next(). */
enum base_err wrk_yaml_text(
	struct wrk_yaml *r, const char *name, const char *expected, const char **text)
{
	enum base_err err = wrk_yaml_expect(r, YAML_SCALAR_EVENT, name, expected);
	char came[BASE_TEXT_QUOTED];

	if (err)
		return err;
	if (is_null(&r->event))
		return wrk_yaml_complain(r, BASE_CONFIG, wrk_yaml_here(r),
			"%s: expected %s, got nothing", name, expected);
	*text = (const char *)r->event.data.scalar.value;
	if (strlen(*text) != r->event.data.scalar.length)
		return wrk_yaml_complain(r, BASE_CONFIG, wrk_yaml_here(r),
			"%s: expected a text without NUL, got %s", name, wrk_yaml_came(r, came));
	return BASE_OK;
}

enum base_err wrk_yaml_key(struct wrk_yaml *r, const char *map, char key[WRK_YAML_KEY])
{
	char came[BASE_TEXT_QUOTED];
	const char *separator = *map ? ": " : "";

	if (r->event.type != YAML_SCALAR_EVENT)
		return wrk_yaml_complain(r, BASE_CONFIG, wrk_yaml_here(r),
			"%s%sexpected a key, got %s", map, separator, wrk_yaml_came(r, came));
	(void)snprintf(key, WRK_YAML_KEY, "%s", (const char *)r->event.data.scalar.value);
	if (strlen(key) != r->event.data.scalar.length)
		return wrk_yaml_complain(r, BASE_CONFIG, wrk_yaml_here(r),
			"%s%sexpected a key of at most %u bytes, without NUL, got %s", map,
			separator, WRK_YAML_KEY - 1, wrk_yaml_came(r, came));
	return BASE_OK;
}
