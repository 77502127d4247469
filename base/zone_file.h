/* Time zones by their names, from the system's files: $TZDIR, or /usr/share/zoneinfo.
 *
 * A name is one or more words of letters, digits, _ + - and dots between slashes, such as
 * Europe/Berlin or Etc/GMT+5; no word is empty or begins with a dot, so nothing outside
 * the folder is ever opened. UTC, and its names in the database, need no file.
 */
#ifndef BASE_ZONE_FILE_H
#define BASE_ZONE_FILE_H

#include <stdbool.h>

#include "base/zone.h"

#define BASE_ZONE_NAME_MAX 63

bool base_zone_is_name(const char *name); /* UNTRUSTED */

/* *out NULL with OK: UTC. INVALID: not a name, or not a zone's file; NOT_FOUND: there is none of that name; NOMEM,
 * IO. UNTRUSTED name. */
BASE_MUSTUSE enum base_err base_zone_load(const char *name, struct base_zone **out);

#endif
