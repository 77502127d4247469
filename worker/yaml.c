#include "worker/yaml.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "store/url.h"
#include "worker/yaml_parts.h"

/* A mapping that is being read along its table. */
struct map {
	const struct base_manifest_key *keys;
	void *record;
	const char *name; /* "" at the top, otherwise what stands before the dot in messages */
	struct wrk_yaml_place start;
	struct wrk_yaml_place *seen; /* WRK_YAML_ROWS of them, by row */
};

/* The full name of a key in messages: retry.base */
static const char *full_name(const struct map *map, const char *key, char out[2 * WRK_YAML_KEY])
{
	(void)snprintf(out, 2 * WRK_YAML_KEY, "%s%s%s", map->name, *map->name ? "." : "", key);
	return out;
}

/* ---- values ---------------------------------------------------------------- */

static enum base_err read_scalar(
	struct wrk_yaml *r, const struct base_manifest_key *key, void *record, const char *name)
{
	char expected[160];
	char why[BASE_MANIFEST_WHY];
	const char *text;
	enum base_err err;

	base_manifest_expected(key, expected, sizeof expected);
	err = wrk_yaml_text(r, name, expected, &text);
	if (err)
		return err;
	err = base_manifest_set(key, record, text, why, sizeof why);
	return err ? wrk_yaml_complain(r, err == BASE_NOMEM ? err : BASE_CONFIG, wrk_yaml_here(r),
			     "%s: %s", name, why)
		   : BASE_OK;
}

typedef enum base_err add_fn(struct base_manifest_pairs *pairs, const char *name, const char *value,
	char *why, size_t why_room);

static enum base_err read_pairs(
	struct wrk_yaml *r, struct base_manifest_pairs *pairs, add_fn *add, const char *map)
{
	char key[WRK_YAML_KEY];
	char shown[BASE_TEXT_QUOTED];
	char name[2 * WRK_YAML_KEY];
	char why[BASE_MANIFEST_WHY];
	const char *text;
	struct wrk_yaml_place place;
	enum base_err err =
		wrk_yaml_expect(r, YAML_MAPPING_START_EVENT, map, "a mapping of NAME: text");

	while (!err && !(err = wrk_yaml_next(r)) && r->event.type != YAML_MAPPING_END_EVENT) {
		place = wrk_yaml_here(r);
		if ((err = wrk_yaml_key(r, map, key)) || (err = wrk_yaml_next(r)))
			break;
		(void)snprintf(name, sizeof name, "%.64s.%s", map,
			base_text_word(shown, sizeof shown, key));
		err = wrk_yaml_text(r, name, "a text", &text);
		if (err)
			break;
		err = add(pairs, key, text, why, sizeof why);
		if (err)
			err = wrk_yaml_complain(r, err == BASE_NOMEM ? err : BASE_CONFIG, place,
				"%s: %s", name, why);
	}
	return err;
}

/* ---- mappings along a table ---------------------------------------------------------- */

static enum base_err read_value(
	struct wrk_yaml *r, const struct base_manifest_key *key, void *record, const char *name);

/* Lists the names of a table: "a, b, c". */
static void list_names(const struct base_manifest_key *keys, char *out, size_t room)
{
	size_t n = 0;

	out[0] = '\0';
	for (; keys->name && n < room; keys++)
		n += (size_t)snprintf(out + n, room - n, "%s%s", n ? ", " : "", keys->name);
}

/* prefix: the mapping that it stands in, or nothing at the top. */
static enum base_err refuse_name(struct wrk_yaml *r, struct wrk_yaml_place place,
	const struct base_manifest_key *keys, const char *prefix, const char *what,
	const char *name)
{
	const char *guess = base_manifest_nearest(keys, name);
	const char *colon = *prefix ? ": " : "";
	char quoted[BASE_TEXT_QUOTED];
	char names[256];

	base_text_quote(quoted, sizeof quoted, name, strlen(name));
	if (guess)
		return wrk_yaml_complain(r, BASE_CONFIG, place,
			"%s%sthere is no %s %s; did you mean %s?", prefix, colon, what, quoted,
			guess);
	list_names(keys, names, sizeof names);
	return wrk_yaml_complain(r, BASE_CONFIG, place, "%s%sthere is no %s %s; expected one of %s",
		prefix, colon, what, quoted, names);
}

static enum base_err read_entry(struct wrk_yaml *r, struct map *map)
{
	char key[WRK_YAML_KEY];
	char name[2 * WRK_YAML_KEY];
	const struct base_manifest_key *row;
	struct wrk_yaml_place place = wrk_yaml_here(r);
	struct wrk_yaml_place *first;
	enum base_err err = wrk_yaml_key(r, map->name, key);

	if (err)
		return err;
	full_name(map, key, name);
	row = base_manifest_find(map->keys, key);
	if (!row)
		return refuse_name(r, place, map->keys, map->name, "key", key);
	first = &map->seen[row - map->keys];
	if (first->line)
		return wrk_yaml_complain(r, BASE_CONFIG, place,
			"%s: is given twice, first in line %u", name, first->line);
	*first = place;
	err = wrk_yaml_next(r);
	return err ? err : read_value(r, row, map->record, name);
}

static enum base_err check_required(struct wrk_yaml *r, const struct map *map)
{
	char expected[160];
	char name[2 * WRK_YAML_KEY];

	for (size_t i = 0; map->keys[i].name; i++) {
		if (!map->keys[i].required || map->seen[i].line)
			continue;
		base_manifest_expected(&map->keys[i], expected, sizeof expected);
		return wrk_yaml_complain(r, BASE_CONFIG, map->start, "%s: is missing; expected %s",
			full_name(map, map->keys[i].name, name), expected);
	}
	return BASE_OK;
}

static enum base_err read_map(struct wrk_yaml *r, struct map *map)
{
	enum base_err err = wrk_yaml_expect(
		r, YAML_MAPPING_START_EVENT, *map->name ? map->name : "manifest", "a mapping");

	map->start = wrk_yaml_here(r);
	while (!err && !(err = wrk_yaml_next(r)) && r->event.type != YAML_MAPPING_END_EVENT)
		err = read_entry(r, map);
	return err ? err : check_required(r, map);
}

/* ---- events --------------------------------------------------------------------------- */

static enum base_err read_http(struct wrk_yaml *r, const struct base_manifest_key *kind)
{
	struct base_manifest_route route = { 0 };
	struct wrk_yaml_place seen[WRK_YAML_ROWS] = { { 0 } };
	struct map map = { .keys = kind->keys, .record = &route, .name = kind->name, .seen = seen };
	char why[BASE_MANIFEST_WHY];
	enum base_err err;

	err = base_manifest_defaults(kind->keys, &route);
	if (err) {
		err = wrk_yaml_complain(r, err, wrk_yaml_here(r), "%s", base_err_text(err));
		goto fail;
	}
	err = read_map(r, &map);
	if (err)
		goto fail;
	err = base_manifest_add_route(r->manifest, &route, why, sizeof why);
	if (err) {
		err = wrk_yaml_complain(r, err == BASE_NOMEM ? err : BASE_CONFIG, map.start,
			"%s: %s", kind->name, why);
		goto fail;
	}
	return BASE_OK;
fail:
	base_manifest_route_fini(&route);
	return err;
}

static enum base_err read_timer(struct wrk_yaml *r, const struct base_manifest_key *kind)
{
	struct base_manifest_timer timer = { 0 };
	struct wrk_yaml_place seen[WRK_YAML_ROWS] = { { 0 } };
	struct map map = { .keys = kind->keys, .record = &timer, .name = kind->name, .seen = seen };
	char why[BASE_MANIFEST_WHY];
	enum base_err err = base_manifest_defaults(kind->keys, &timer);

	if (err) {
		err = wrk_yaml_complain(r, err, wrk_yaml_here(r), "%s", base_err_text(err));
		goto fail;
	}
	err = read_map(r, &map);
	if (err)
		goto fail;
	err = base_manifest_add_timer(r->manifest, &timer, why, sizeof why);
	if (err) {
		err = wrk_yaml_complain(r, err == BASE_NOMEM ? err : BASE_CONFIG, map.start,
			"%s: %s", kind->name, why);
		goto fail;
	}
	return BASE_OK;
fail:
	base_manifest_timer_fini(&timer);
	return err;
}

static enum base_err read_subscription(struct wrk_yaml *r, const struct base_manifest_key *kind)
{
	struct base_manifest_subscription subscription = { 0 };
	struct wrk_yaml_place seen[WRK_YAML_ROWS] = { { 0 } };
	struct map map = {
		.keys = kind->keys, .record = &subscription, .name = kind->name, .seen = seen
	};
	char why[BASE_MANIFEST_WHY];
	enum base_err err = read_map(r, &map);

	if (!err) {
		err = base_manifest_add_subscription(r->manifest, &subscription, why, sizeof why);
		if (err)
			err = wrk_yaml_complain(r, err == BASE_NOMEM ? err : BASE_CONFIG, map.start,
				"%s: %s", kind->name, why);
	}
	base_manifest_subscription_fini(&subscription);
	return err;
}

/* What the table cannot say of a URL: whether there is a host in it, and a port that can be. */
static enum base_err check_url(struct wrk_yaml *r, const struct map *map, const char *text)
{
	char name[BASE_MANIFEST_NAME_MAX + 1];
	struct store_url url;
	char *why = NULL;
	enum base_err err;

	if (base_manifest_url_name(text, name) > 0)
		return BASE_OK;
	err = store_url_parse(text, &url, &why);
	if (!err)
		store_url_fini(&url);
	else
		(void)wrk_yaml_complain(r, err, map->start, "%s: url: %s", map->name,
			why ? why : base_err_text(err));
	free(why);
	return err;
}

static enum base_err read_redis(struct wrk_yaml *r, const struct base_manifest_key *kind)
{
	struct base_manifest_source source = { 0 };
	struct wrk_yaml_place seen[WRK_YAML_ROWS] = { { 0 } };
	struct map map = { .keys = kind->keys, .record = &source, .name = kind->name, .seen = seen };
	char why[BASE_MANIFEST_WHY];
	enum base_err err = read_map(r, &map);

	if (err || (err = check_url(r, &map, source.url)))
		goto fail;
	err = base_manifest_add_source(r->manifest, &source, why, sizeof why);
	if (err) {
		err = wrk_yaml_complain(r, err == BASE_NOMEM ? err : BASE_CONFIG, map.start,
			"%s: %s", kind->name, why);
		goto fail;
	}
	return BASE_OK;
fail:
	base_manifest_source_fini(&source);
	return err;
}

/* The kinds that are served, and who reads them; the schema's table has their keys. */
static const struct {
	const char *kind;
	enum base_err (*read)(struct wrk_yaml *r, const struct base_manifest_key *kind);
} readers[] = {
	{ "http", read_http },
	{ "timer", read_timer },
	{ "event", read_subscription },
	{ "redis", read_redis },
};

static enum base_err read_kind(
	struct wrk_yaml *r, const struct base_manifest_key *kinds, char name[WRK_YAML_KEY])
{
	const struct base_manifest_key *kind;
	struct wrk_yaml_place place = wrk_yaml_here(r);
	enum base_err err = wrk_yaml_key(r, "events", name);

	if (err)
		return err;
	kind = base_manifest_find(kinds, name);
	if (!kind)
		return refuse_name(r, place, kinds, "events", "kind", name);
	if (!kind->keys)
		return wrk_yaml_complain(
			r, BASE_CONFIG, place, "%s: not supported by this version", name);
	err = wrk_yaml_next(r);
	if (err)
		return err;
	for (size_t i = 0;; i++) {
		assert(i < sizeof readers / sizeof readers[0]); /* a kind with keys has a reader */
		if (strcmp(readers[i].kind, name) == 0)
			return readers[i].read(r, kind);
	}
}

/* One entry: a mapping of exactly one kind. */
static enum base_err read_event(struct wrk_yaml *r, const struct base_manifest_key *kinds)
{
	char name[WRK_YAML_KEY];
	char other[WRK_YAML_KEY];
	char shown[BASE_TEXT_QUOTED];
	enum base_err err = wrk_yaml_expect(
		r, YAML_MAPPING_START_EVENT, "events", "an entry such as http: {…}");
	struct wrk_yaml_place start = wrk_yaml_here(r);

	if (err || (err = wrk_yaml_next(r)))
		return err;
	if (r->event.type == YAML_MAPPING_END_EVENT)
		return wrk_yaml_complain(r, BASE_CONFIG, start,
			"events: expected an entry such as http: {…}, got an empty one");
	if ((err = read_kind(r, kinds, name)) || (err = wrk_yaml_next(r)))
		return err;
	if (r->event.type == YAML_MAPPING_END_EVENT)
		return BASE_OK;
	err = wrk_yaml_key(r, "events", other);
	return err ? err
		   : wrk_yaml_complain(r, BASE_CONFIG, wrk_yaml_here(r),
			     "events: expected one kind an entry, got %s and %s", name,
			     base_text_word(shown, sizeof shown, other));
}

static enum base_err read_events(
	struct wrk_yaml *r, const struct base_manifest_key *kinds, const char *name)
{
	enum base_err err = wrk_yaml_expect(r, YAML_SEQUENCE_START_EVENT, name, "a list");

	while (!err && !(err = wrk_yaml_next(r)) && r->event.type != YAML_SEQUENCE_END_EVENT)
		err = read_event(r, kinds);
	return err;
}

static enum base_err read_ops(
	struct wrk_yaml *r, struct base_manifest_words *ops, const char *name)
{
	char why[BASE_MANIFEST_WHY];
	const char *text;
	enum base_err err = wrk_yaml_expect(
		r, YAML_SEQUENCE_START_EVENT, name, "a list such as [set, del, expired]");

	while (!err && !(err = wrk_yaml_next(r)) && r->event.type != YAML_SEQUENCE_END_EVENT) {
		err = wrk_yaml_text(r, name, "an operation such as set", &text);
		if (err)
			break;
		err = base_manifest_add_op(ops, text, why, sizeof why);
		if (err)
			err = wrk_yaml_complain(r, err == BASE_NOMEM ? err : BASE_CONFIG,
				wrk_yaml_here(r), "%s: %s", name, why);
	}
	return err;
}

static enum base_err read_value(
	struct wrk_yaml *r, const struct base_manifest_key *key, void *record, const char *name)
{
	struct wrk_yaml_place seen[WRK_YAML_ROWS] = { { 0 } };
	void *field = (char *)record + key->offset;
	struct map map = { .keys = key->keys, .record = field, .name = name, .seen = seen };

	switch (key->type) {
	case BASE_MANIFEST_MAP:
		return read_map(r, &map);
	case BASE_MANIFEST_PAIRS:
		return read_pairs(r, field, base_manifest_add_pair, name);
	case BASE_MANIFEST_HEADERS:
		return read_pairs(r, field, base_manifest_add_header, name);
	case BASE_MANIFEST_EVENTS:
		return read_events(r, key->keys, name);
	case BASE_MANIFEST_OPS:
		return read_ops(r, field, name);
	case BASE_MANIFEST_DATA:
		return wrk_yaml_data(r, name, field);
	default:
		return read_scalar(r, key, record, name);
	}
}

/* ---- the document ------------------------------------------------------------------------ */

static enum base_err check_whole(struct wrk_yaml *r)
{
	char why[BASE_MANIFEST_WHY];
	const char *key;
	const struct base_manifest_key *row;
	enum base_err err = base_manifest_check(r->manifest, &key, why, sizeof why);

	if (!err)
		return BASE_OK;
	row = base_manifest_find(base_manifest_schema(), key);
	assert(row);
	return wrk_yaml_complain(
		r, BASE_CONFIG, r->top[row - base_manifest_schema()], "%s: %s", key, why);
}

static enum base_err read_document(struct wrk_yaml *r)
{
	struct map map = {
		.keys = base_manifest_schema(), .record = r->manifest, .name = "", .seen = r->top
	};
	enum base_err err;

	if ((err = wrk_yaml_next(r)) || (err = wrk_yaml_next(r)))
		return err;
	if (r->event.type == YAML_STREAM_END_EVENT)
		return wrk_yaml_complain(r, BASE_CONFIG, (struct wrk_yaml_place){ 1, 1 },
			"expected a manifest, got nothing");
	if ((err = wrk_yaml_next(r)) || (err = read_map(r, &map)) || (err = wrk_yaml_next(r)) ||
		(err = wrk_yaml_next(r)))
		return err;
	if (r->event.type != YAML_STREAM_END_EVENT)
		return wrk_yaml_complain(
			r, BASE_CONFIG, wrk_yaml_here(r), "expected one document, got another");
	return check_whole(r);
}

static enum base_err parse(struct wrk_yaml *r, const char *text, size_t size)
{
	enum base_err err = wrk_yaml_open(r, text, size);

	if (err)
		return err;
	err = read_document(r);
	wrk_yaml_close(r);
	return err;
}

enum base_err wrk_yaml_read(const char *path, const char *text, size_t size,
	struct base_manifest **out, char *why, size_t why_room)
{
	struct wrk_yaml r = { .path = path, .why = why, .why_room = why_room };
	struct wrk_yaml_place top = { 1, 1 };
	enum base_err err;

	if (size > WRK_YAML_BYTES)
		return wrk_yaml_complain(&r, BASE_TOO_LARGE, top,
			"expected at most %u bytes, got %zu", WRK_YAML_BYTES, size);
	if (size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
		text += 3; /* the byte order mark that some editors write */
		size -= 3;
	}
	err = wrk_yaml_check_bytes(&r, text, size);
	if (err)
		return err;
	r.manifest = base_manifest_new();
	if (!r.manifest)
		return wrk_yaml_complain(&r, BASE_NOMEM, top, "%s", base_err_text(BASE_NOMEM));
	err = parse(&r, text, size);
	if (err) {
		base_manifest_free(&r.manifest);
		return err;
	}
	*out = r.manifest;
	return BASE_OK;
}
