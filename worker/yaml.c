#include "worker/yaml.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/text.h"

#define KEYS_MAX   32u  /* rows of one table */
#define KEY_BYTES  128u /* no key that has a meaning is longer */
#define PATH_SHOWN 256u /* of a path in a message: its end tells the most */

struct place {
	unsigned line, column; /* from 1; line 0: nowhere */
};

struct reader {
	yaml_parser_t parser;
	yaml_event_t event; /* the current one; next() deletes it */
	bool has_event;
	unsigned depth;
	const char *path;
	char *why;
	size_t why_room;
	struct base_manifest *manifest;
	struct place top[KEYS_MAX]; /* where each top-level key stands */
};

/* A mapping that is being read along its table. */
struct map {
	const struct base_manifest_key *keys;
	void *record;
	const char *name; /* "" at the top, otherwise what stands before the dot in messages */
	struct place start;
	struct place *seen; /* KEYS_MAX of them, by row */
};

/* ---- messages ---------------------------------------------------------------- */

static struct place place_of(yaml_mark_t mark)
{
	return (struct place){ (unsigned)mark.line + 1, (unsigned)mark.column + 1 };
}

static struct place here(const struct reader *r)
{
	return place_of(r->event.start_mark);
}

/* path:line:column: sentence. Returns err, so that a complaint is one line where it is made. */
static __attribute__((format(printf, 4, 5))) enum base_err complain(
	struct reader *r, enum base_err err, struct place place, const char *format, ...)
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

/* The full name of a key in messages: retry.base */
static const char *full_name(const struct map *map, const char *key, char out[2 * KEY_BYTES])
{
	(void)snprintf(out, 2 * KEY_BYTES, "%s%s%s", map->name, *map->name ? "." : "", key);
	return out;
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

/* What the current event is, for "got …". */
static const char *what_came(const struct reader *r, char out[BASE_TEXT_QUOTED])
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

/* ---- libyaml's events ----------------------------------------------------------- */

static enum base_err refuse_syntax(struct reader *r)
{
	const yaml_parser_t *p = &r->parser;

	if (p->error == YAML_MEMORY_ERROR)
		return complain(r, BASE_NOMEM, place_of(p->mark), "%s", base_err_text(BASE_NOMEM));
	return complain(r, BASE_CONFIG, place_of(p->problem_mark), "expected YAML: %s",
		p->problem ? p->problem : "it cannot be read");
}

/* What YAML has beyond plain data, on any node. */
static enum base_err refuse_extras(
	struct reader *r, const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		return complain(r, BASE_CONFIG, here(r), "expected plain data, got an anchor");
	if (tag)
		return complain(r, BASE_CONFIG, here(r), "expected plain data, got a tag");
	return BASE_OK;
}

static enum base_err check_event(struct reader *r)
{
	const yaml_event_t *e = &r->event;

	switch (e->type) {
	case YAML_ALIAS_EVENT:
		return complain(r, BASE_CONFIG, here(r), "expected plain data, got an alias");
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
			return complain(r, BASE_CONFIG, here(r),
				"expected plain data, got a tag directive");
		return BASE_OK;
	default:
		return BASE_OK;
	}
}

static enum base_err next(struct reader *r)
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

/* ---- values ------------------------------------------------------------------------ */

static enum base_err expect_type(
	struct reader *r, yaml_event_type_t type, const char *name, const char *expected)
{
	char came[BASE_TEXT_QUOTED];

	if (r->event.type == type)
		return BASE_OK;
	return complain(r, BASE_CONFIG, here(r), "%s: expected %s, got %s", name, expected,
		what_came(r, came));
}

/* The current event as text; it lives until next(). */
static enum base_err take_text(
	struct reader *r, const char *name, const char *expected, const char **text)
{
	enum base_err err = expect_type(r, YAML_SCALAR_EVENT, name, expected);
	char came[BASE_TEXT_QUOTED];

	if (err)
		return err;
	if (is_null(&r->event))
		return complain(
			r, BASE_CONFIG, here(r), "%s: expected %s, got nothing", name, expected);
	*text = (const char *)r->event.data.scalar.value;
	if (strlen(*text) != r->event.data.scalar.length)
		return complain(r, BASE_CONFIG, here(r), "%s: expected a text without NUL, got %s",
			name, what_came(r, came));
	return BASE_OK;
}

static enum base_err read_scalar(
	struct reader *r, const struct base_manifest_key *key, void *record, const char *name)
{
	char expected[160];
	char why[BASE_MANIFEST_WHY];
	const char *text;
	enum base_err err;

	base_manifest_expected(key, expected, sizeof expected);
	err = take_text(r, name, expected, &text);
	if (err)
		return err;
	err = base_manifest_set(key, record, text, why, sizeof why);
	return err ? complain(
			     r, err == BASE_NOMEM ? err : BASE_CONFIG, here(r), "%s: %s", name, why)
		   : BASE_OK;
}

/* The current event as a key, copied. */
static enum base_err take_key(struct reader *r, const char *map, char key[KEY_BYTES])
{
	char came[BASE_TEXT_QUOTED];
	const char *separator = *map ? ": " : "";

	if (r->event.type != YAML_SCALAR_EVENT)
		return complain(r, BASE_CONFIG, here(r), "%s%sexpected a key, got %s", map,
			separator, what_came(r, came));
	(void)snprintf(key, KEY_BYTES, "%s", (const char *)r->event.data.scalar.value);
	if (strlen(key) != r->event.data.scalar.length)
		return complain(r, BASE_CONFIG, here(r),
			"%s%sexpected a key of at most %u bytes, without NUL, got %s", map,
			separator, KEY_BYTES - 1, what_came(r, came));
	return BASE_OK;
}

static enum base_err read_pairs(
	struct reader *r, struct base_manifest_pairs *pairs, const char *map)
{
	char key[KEY_BYTES];
	char shown[BASE_TEXT_QUOTED];
	char name[2 * KEY_BYTES];
	char why[BASE_MANIFEST_WHY];
	const char *text;
	struct place place;
	enum base_err err =
		expect_type(r, YAML_MAPPING_START_EVENT, map, "a mapping of NAME: text");

	while (!err && !(err = next(r)) && r->event.type != YAML_MAPPING_END_EVENT) {
		place = here(r);
		if ((err = take_key(r, map, key)) || (err = next(r)))
			break;
		(void)snprintf(name, sizeof name, "%.64s.%s", map,
			base_text_word(shown, sizeof shown, key));
		err = take_text(r, name, "a text", &text);
		if (err)
			break;
		err = base_manifest_add_pair(pairs, key, text, why, sizeof why);
		if (err)
			err = complain(r, err == BASE_NOMEM ? err : BASE_CONFIG, place, "%s: %s",
				name, why);
	}
	return err;
}

/* ---- mappings along a table ---------------------------------------------------------- */

static enum base_err read_value(
	struct reader *r, const struct base_manifest_key *key, void *record, const char *name);

/* Lists the names of a table: "a, b, c". */
static void list_names(const struct base_manifest_key *keys, char *out, size_t room)
{
	size_t n = 0;

	out[0] = '\0';
	for (; keys->name && n < room; keys++)
		n += (size_t)snprintf(out + n, room - n, "%s%s", n ? ", " : "", keys->name);
}

/* prefix: the mapping that it stands in, or nothing at the top. */
static enum base_err refuse_name(struct reader *r, struct place place,
	const struct base_manifest_key *keys, const char *prefix, const char *what,
	const char *name)
{
	const char *guess = base_manifest_nearest(keys, name);
	const char *colon = *prefix ? ": " : "";
	char quoted[BASE_TEXT_QUOTED];
	char names[256];

	base_text_quote(quoted, sizeof quoted, name, strlen(name));
	if (guess)
		return complain(r, BASE_CONFIG, place, "%s%sthere is no %s %s; did you mean %s?",
			prefix, colon, what, quoted, guess);
	list_names(keys, names, sizeof names);
	return complain(r, BASE_CONFIG, place, "%s%sthere is no %s %s; expected one of %s", prefix,
		colon, what, quoted, names);
}

static enum base_err read_entry(struct reader *r, struct map *map)
{
	char key[KEY_BYTES];
	char name[2 * KEY_BYTES];
	const struct base_manifest_key *row;
	struct place place = here(r);
	struct place *first;
	enum base_err err = take_key(r, map->name, key);

	if (err)
		return err;
	full_name(map, key, name);
	row = base_manifest_find(map->keys, key);
	if (!row)
		return refuse_name(r, place, map->keys, map->name, "key", key);
	first = &map->seen[row - map->keys];
	if (first->line)
		return complain(r, BASE_CONFIG, place, "%s: is given twice, first in line %u", name,
			first->line);
	*first = place;
	err = next(r);
	return err ? err : read_value(r, row, map->record, name);
}

static enum base_err check_required(struct reader *r, const struct map *map)
{
	char expected[160];
	char name[2 * KEY_BYTES];

	for (size_t i = 0; map->keys[i].name; i++) {
		if (!map->keys[i].required || map->seen[i].line)
			continue;
		base_manifest_expected(&map->keys[i], expected, sizeof expected);
		return complain(r, BASE_CONFIG, map->start, "%s: is missing; expected %s",
			full_name(map, map->keys[i].name, name), expected);
	}
	return BASE_OK;
}

static enum base_err read_map(struct reader *r, struct map *map)
{
	enum base_err err = expect_type(
		r, YAML_MAPPING_START_EVENT, *map->name ? map->name : "manifest", "a mapping");

	map->start = here(r);
	while (!err && !(err = next(r)) && r->event.type != YAML_MAPPING_END_EVENT)
		err = read_entry(r, map);
	return err ? err : check_required(r, map);
}

/* ---- events --------------------------------------------------------------------------- */

static enum base_err read_http(struct reader *r, const struct base_manifest_key *kind)
{
	struct base_manifest_route route = { 0 };
	struct place seen[KEYS_MAX] = { { 0 } };
	struct map map = { .keys = kind->keys, .record = &route, .name = kind->name, .seen = seen };
	char why[BASE_MANIFEST_WHY];
	enum base_err err;

	err = base_manifest_defaults(kind->keys, &route);
	if (err) {
		err = complain(r, err, here(r), "%s", base_err_text(err));
		goto fail;
	}
	err = read_map(r, &map);
	if (err)
		goto fail;
	err = base_manifest_add_route(r->manifest, &route, why, sizeof why);
	if (err) {
		err = complain(r, err == BASE_NOMEM ? err : BASE_CONFIG, map.start, "%s: %s",
			kind->name, why);
		goto fail;
	}
	return BASE_OK;
fail:
	base_manifest_route_fini(&route);
	return err;
}

/* The kinds that are served, and who reads them; the schema's table has their keys. */
static const struct {
	const char *kind;
	enum base_err (*read)(struct reader *r, const struct base_manifest_key *kind);
} readers[] = {
	{ "http", read_http },
};

static enum base_err read_kind(
	struct reader *r, const struct base_manifest_key *kinds, char name[KEY_BYTES])
{
	const struct base_manifest_key *kind;
	struct place place = here(r);
	enum base_err err = take_key(r, "events", name);

	if (err)
		return err;
	kind = base_manifest_find(kinds, name);
	if (!kind)
		return refuse_name(r, place, kinds, "events", "kind", name);
	if (!kind->keys)
		return complain(r, BASE_CONFIG, place, "%s: not supported by this version", name);
	err = next(r);
	if (err)
		return err;
	for (size_t i = 0;; i++) {
		assert(i < sizeof readers / sizeof readers[0]); /* a kind with keys has a reader */
		if (strcmp(readers[i].kind, name) == 0)
			return readers[i].read(r, kind);
	}
}

/* One entry: a mapping of exactly one kind. */
static enum base_err read_event(struct reader *r, const struct base_manifest_key *kinds)
{
	char name[KEY_BYTES];
	char other[KEY_BYTES];
	char shown[BASE_TEXT_QUOTED];
	enum base_err err =
		expect_type(r, YAML_MAPPING_START_EVENT, "events", "an entry such as http: {…}");
	struct place start = here(r);

	if (err || (err = next(r)))
		return err;
	if (r->event.type == YAML_MAPPING_END_EVENT)
		return complain(r, BASE_CONFIG, start,
			"events: expected an entry such as http: {…}, got an empty one");
	if ((err = read_kind(r, kinds, name)) || (err = next(r)))
		return err;
	if (r->event.type == YAML_MAPPING_END_EVENT)
		return BASE_OK;
	err = take_key(r, "events", other);
	return err ? err
		   : complain(r, BASE_CONFIG, here(r),
			     "events: expected one kind an entry, got %s and %s", name,
			     base_text_word(shown, sizeof shown, other));
}

static enum base_err read_events(
	struct reader *r, const struct base_manifest_key *kinds, const char *name)
{
	enum base_err err = expect_type(r, YAML_SEQUENCE_START_EVENT, name, "a list");

	while (!err && !(err = next(r)) && r->event.type != YAML_SEQUENCE_END_EVENT)
		err = read_event(r, kinds);
	return err;
}

static enum base_err read_value(
	struct reader *r, const struct base_manifest_key *key, void *record, const char *name)
{
	struct place seen[KEYS_MAX] = { { 0 } };
	void *field = (char *)record + key->offset;
	struct map map = { .keys = key->keys, .record = field, .name = name, .seen = seen };

	switch (key->type) {
	case BASE_MANIFEST_MAP:
		return read_map(r, &map);
	case BASE_MANIFEST_PAIRS:
		return read_pairs(r, field, name);
	case BASE_MANIFEST_EVENTS:
		return read_events(r, key->keys, name);
	default:
		return read_scalar(r, key, record, name);
	}
}

/* ---- the document ------------------------------------------------------------------------ */

/* libyaml's own reader errors know an offset only; this one knows the place. */
static bool is_text(uint32_t code)
{
	return code == '\t' || code == '\n' || code == '\r' || (code >= 0x20 && code < 0x7F) ||
	       code == 0x85 || (code >= 0xA0 && code < 0xFFFE && code != 0xFEFF) || code >= 0x10000;
}

static enum base_err check_bytes(struct reader *r, const char *text, size_t size)
{
	struct place place = { 1, 1 };
	uint32_t code;

	for (size_t at = 0; at < size;) {
		size_t length = base_text_utf8(text + at, size - at, &code);
		if (length == 0)
			return complain(r, BASE_CONFIG, place,
				"expected UTF-8 text, got byte 0x%02x",
				(unsigned)(uint8_t)text[at]);
		if (!is_text(code))
			return complain(r, BASE_CONFIG, place,
				"expected text, got the control character U+%04X", (unsigned)code);
		place.column++;
		if (code == '\n')
			place = (struct place){ place.line + 1, 1 };
		at += length;
	}
	return BASE_OK;
}

static enum base_err check_whole(struct reader *r)
{
	char why[BASE_MANIFEST_WHY];
	const char *key;
	const struct base_manifest_key *row;
	enum base_err err = base_manifest_check(r->manifest, &key, why, sizeof why);

	if (!err)
		return BASE_OK;
	row = base_manifest_find(base_manifest_schema(), key);
	assert(row);
	return complain(r, BASE_CONFIG, r->top[row - base_manifest_schema()], "%s: %s", key, why);
}

static enum base_err read_document(struct reader *r)
{
	struct map map = {
		.keys = base_manifest_schema(), .record = r->manifest, .name = "", .seen = r->top
	};
	enum base_err err;

	if ((err = next(r)) || (err = next(r)))
		return err;
	if (r->event.type == YAML_STREAM_END_EVENT)
		return complain(
			r, BASE_CONFIG, (struct place){ 1, 1 }, "expected a manifest, got nothing");
	if ((err = next(r)) || (err = read_map(r, &map)) || (err = next(r)) || (err = next(r)))
		return err;
	if (r->event.type != YAML_STREAM_END_EVENT)
		return complain(r, BASE_CONFIG, here(r), "expected one document, got another");
	return check_whole(r);
}

static enum base_err parse(struct reader *r, const char *text, size_t size)
{
	enum base_err err;

	if (!yaml_parser_initialize(&r->parser))
		return complain(
			r, BASE_NOMEM, (struct place){ 1, 1 }, "%s", base_err_text(BASE_NOMEM));
	yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&r->parser, (const unsigned char *)text, size);
	err = read_document(r);
	if (r->has_event)
		yaml_event_delete(&r->event);
	yaml_parser_delete(&r->parser);
	return err;
}

enum base_err wrk_yaml_read(const char *path, const char *text, size_t size,
	struct base_manifest **out, char *why, size_t why_room)
{
	struct reader r = { .path = path, .why = why, .why_room = why_room };
	struct place top = { 1, 1 };
	enum base_err err;

	if (size > WRK_YAML_BYTES)
		return complain(&r, BASE_TOO_LARGE, top, "expected at most %u bytes, got %zu",
			WRK_YAML_BYTES, size);
	if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
		text += 3; /* the byte order mark that some editors write */
		size -= 3;
	}
	err = check_bytes(&r, text, size);
	if (err)
		return err;
	r.manifest = base_manifest_new();
	if (!r.manifest)
		return complain(&r, BASE_NOMEM, top, "%s", base_err_text(BASE_NOMEM));
	err = parse(&r, text, size);
	if (err) {
		base_manifest_free(&r.manifest);
		return err;
	}
	*out = r.manifest;
	return BASE_OK;
}
