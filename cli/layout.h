/* Where things lie: found from where the executable lies, so that a tree can be
 * moved and nothing is compiled in.
 *
 *                  in a tree                     installed
 *   programs       build/MODE/bin/               PREFIX/bin/
 *   services       build/MODE/services/          PREFIX/share/pirn/services/
 *   headers        include/pirn/ (of the tree)   PREFIX/include/pirn/
 *
 * And the data directory of `pirn up`: run/ (sockets), redis/ (append-only file,
 * log), and a lock, so that no two run on the same data.
 */
#ifndef CLI_LAYOUT_H
#define CLI_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Each writes an absolute path. NOT_FOUND: it is not there. */
BASE_MUSTUSE enum base_err cli_layout_program(const char *name, char *out, size_t room); /* beside the executable */
BASE_MUSTUSE enum base_err cli_layout_services(char *out, size_t room);
BASE_MUSTUSE enum base_err cli_layout_include(char *out, size_t room);
BASE_MUSTUSE enum base_err cli_layout_in_path(const char *name, char *out, size_t room); /* along PATH */

/* mkdir -p. */
BASE_MUSTUSE enum base_err cli_layout_mkdirs(const char *path);

/* Takes the lock on a data directory. The descriptor that comes back is given to Redis, too: after
 * a kill -9 of ours the lock stays until Redis has let go of its files. Such a dead owner is waited
 * for (2 s at most). EXISTS: *owner, alive, has it. */
BASE_MUSTUSE enum base_err cli_layout_lock(const char *path, int *fd, pid_t *owner);

#endif
