/* The lower half of the manifest reader, for worker/yaml.c only: libyaml's parser,
 * one event at a time, without what Pirn refuses of YAML, and complaints that
 * begin with their place.
 */
#ifndef WRK_YAML_PARTS_H
#define WRK_YAML_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "base/text.h"
#include "worker/yaml.h"

#define WRK_YAML_KEY  128u /* no key that has a meaning is longer, its NUL included */
#define WRK_YAML_ROWS 32u  /* rows of one table */

struct wrk_yaml_place {
	unsigned line, column; /* from 1; line 0: nowhere */
};

struct wrk_yaml {
	yaml_parser_t parser;
	yaml_event_t event; /* the current one, while has_event; wrk_yaml_next deletes it */
	bool has_event;
	unsigned depth;
	const char *path;
	char *why;
	size_t why_room;
	struct base_manifest *manifest;
	struct wrk_yaml_place top[WRK_YAML_ROWS]; /* where each top-level key stands */
};

/* Finds what is not UTF-8 text before libyaml does, which would tell an offset only. */
BASE_MUSTUSE enum base_err wrk_yaml_check_bytes(struct wrk_yaml *r, const char *text, size_t size);

/* After open succeeded, close frees the parser and the current event. text is borrowed until then. */
BASE_MUSTUSE enum base_err wrk_yaml_open(struct wrk_yaml *r, const char *text, size_t size);
void wrk_yaml_close(struct wrk_yaml *r);

/* Makes the next event the current one; refuses aliases, anchors, tags, and broken YAML. */
BASE_MUSTUSE enum base_err wrk_yaml_next(struct wrk_yaml *r);
struct wrk_yaml_place wrk_yaml_here(const struct wrk_yaml *r); /* where the current event begins */

/* path:line:column: sentence, into why. Returns err, so that a complaint is one statement. */
__attribute__((format(printf, 4, 5))) enum base_err wrk_yaml_complain(struct wrk_yaml *r,
	enum base_err err, struct wrk_yaml_place place, const char *format, ...);

/* What the current event is, for "got ...". */
const char *wrk_yaml_came(const struct wrk_yaml *r, char out[BASE_TEXT_QUOTED]);

/* Complains unless the current event is of that type; name is the key's, expected what it takes. */
BASE_MUSTUSE enum base_err wrk_yaml_expect(
	struct wrk_yaml *r, yaml_event_type_t type, const char *name, const char *expected);

/* The current event as text, which lives until wrk_yaml_next; a plain null is no text. */
BASE_MUSTUSE enum base_err wrk_yaml_text(
	struct wrk_yaml *r, const char *name, const char *expected, const char **text);

/* The current event, with all that is in it, as JSON. *out is the caller's, when it is OK. name: of the key. */
BASE_MUSTUSE enum base_err wrk_yaml_data(struct wrk_yaml *r, const char *name, char **out);

/* The current event as a key of the mapping of that name ("" at the top), copied. */
BASE_MUSTUSE enum base_err wrk_yaml_key(
	struct wrk_yaml *r, const char *map, char key[WRK_YAML_KEY]);

#endif
