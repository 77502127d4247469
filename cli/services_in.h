/* Which services a folder holds, with every manifest read: a mistake is told before
 * anything starts, at its file, line and column.
 */
#ifndef CLI_SERVICES_IN_H
#define CLI_SERVICES_IN_H

#include <stddef.h>

#include "base/err.h"
#include "base/manifest.h"

/* Names in alphabetical order; the caller's, to cli_services_free. A folder without a service.yaml is
 * passed over. */
BASE_MUSTUSE enum base_err cli_services_in(const char *folder, char ***names, size_t *n, char *why, size_t why_room);
void cli_services_free(char ***names, size_t *n);

/* The manifest FOLDER/service.yaml. NOT_FOUND: there is none. */
BASE_MUSTUSE enum base_err cli_manifest_in(const char *folder, struct base_manifest **out, char *why, size_t why_room);

#endif
