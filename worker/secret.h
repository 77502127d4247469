/* Values that are kept in files: a manifest names the file, and the worker reads it when the service is
 * loaded. Nothing of a value is ever logged, or told to anybody.
 */
#ifndef WRK_SECRET_H
#define WRK_SECRET_H

#include "base/err.h"

/* The file's content without its last line break; a relative path begins at the folder. The caller ends it with
 * wrk_secret_free. Not OK: base_err_text says why; TOO_LARGE over 64 KiB. */
BASE_MUSTUSE enum base_err wrk_secret_read(const char *folder, const char *file, char **out);
void wrk_secret_free(char **secret); /* wipes it; takes NULL */

#endif
