/* Reads a service's manifest: libyaml's events, walked along base_manifest's
 * schema table. The only YAML in Pirn.
 *
 * A mistake is told once, at its place, with what was expected and what came:
 *
 *   services/x/service.yaml:4:10: timeout: expected a duration such as 5s, got "5 parsecs"
 *
 * Lines and columns count from 1, columns in characters. What YAML has beyond
 * plain data is refused: aliases, anchors, tags, several documents, encodings
 * other than UTF-8; so are duplicate and unknown keys, texts with NUL bytes, and
 * files over WRK_YAML_BYTES. Nesting goes exactly as deep as the schema, and a timer's
 * data BASE_MANIFEST_DATA_DEPTH deeper (at most WRK_YAML_DEPTH, which is asserted):
 * anything deeper is refused.
 */
#ifndef WRK_YAML_H
#define WRK_YAML_H

#include <stddef.h>

#include "base/err.h"
#include "base/manifest.h"

#define WRK_YAML_DEPTH (8 + BASE_MANIFEST_DATA_DEPTH)
#define WRK_YAML_BYTES (64u * 1024u)
#define WRK_YAML_WHY   1024 /* room that holds every message; a longer value is quoted in part */

/* Compiles UNTRUSTED text. On BASE_OK *out is the caller's, to base_manifest_free(); otherwise *out
 * is unchanged and why holds one line without its newline. CONFIG: a mistake in the text.
 * TOO_LARGE: over WRK_YAML_BYTES. NOMEM. path only stands in messages (a long one by its end). */
BASE_MUSTUSE enum base_err wrk_yaml_read(const char *path, const char *text, size_t size,
	struct base_manifest **out, char *why, size_t why_room);

#endif
