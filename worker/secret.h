/* Values that are kept in files: a manifest names the file, and the worker reads it when the service is
 * loaded. Nothing of a value is ever logged, or told to anybody.
 */
#ifndef WRK_SECRET_H
#define WRK_SECRET_H

#include <limits.h>

#include "base/err.h"

/* Where the file is that a manifest names so: a relative path begins at the folder. Returns out. */
const char *wrk_secret_path(const char *folder, const char *file, char out[PATH_MAX]);

/* The content of the file at that path, without its last line break. The caller ends it with
 * wrk_secret_free. Not OK: base_err_text says why; TOO_LARGE over 64 KiB. */
BASE_MUSTUSE enum base_err wrk_secret_read(const char *path, char **out);
void wrk_secret_free(char **secret); /* wipes it; takes NULL */

#endif
