/* The worker as a whole: puts loop, Redis, executor, session and services
 * together, and sees to its beginning and its end.
 *
 * Beginning: all manifests are read (a mistake ends the start), all services
 * loaded in threads of the executor, and only then the links are opened, so that
 * the first HELLO is complete.
 *
 * Services that come later are loaded and announced. One that changed cannot be
 * loaded twice into a process: the worker drains and starts itself anew (execv),
 * provided that the new manifest reads and the new object is whole.
 *
 * End: SIGTERM drains, for at most the time of the settings; a second one ends at
 * once. Threads that are still in a handler then are left where they are.
 */
#ifndef WRK_WORKER_H
#define WRK_WORKER_H

#include "worker/settings.h"

enum wrk_exit {
	WRK_EXIT_OK = 0,
	WRK_EXIT_FAILED = 1, /* could not start, or runs were cut off */
	WRK_EXIT_USAGE = 2,
};

/* Returns when the worker has ended. argv as main got it, NULL at its end: for starting anew. */
enum wrk_exit wrk_worker_run(struct wrk_settings *settings, char **argv);

#endif
