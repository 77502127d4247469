/* Starting a child of `pirn up`: in its own process group (Ctrl-C at the terminal
 * is for the supervisor alone), with a death signal, so that no child outlives a
 * supervisor that was killed, and with nothing inherited but what is listed, and the
 * environment; in that only NOTIFY_SOCKET is its own.
 */
#ifndef CLI_PROCESS_H
#define CLI_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define CLI_FIRST_FD 3 /* fds[i] is descriptor CLI_FIRST_FD + i in the child */
#define CLI_FDS_MAX 4

struct cli_process {
	const char *path;        /* of the executable */
	const char *const *argv; /* argv[0] is what it is called */
	const char *folder;      /* to run in; NULL: ours */
	const char *notify;      /* "NOTIFY_SOCKET=…"; NULL: it has none */
	int fds[CLI_FDS_MAX];
	size_t n_fds;
};

/* NOT_FOUND, DENIED, NOMEM, IO: it could not be started; then there is no child. */
BASE_MUSTUSE enum base_err cli_process_spawn(const struct cli_process *p, pid_t *out);

#endif
