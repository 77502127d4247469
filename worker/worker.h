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
 * once. Threads that are still in a handler then are left where they are, and the
 * process ends around them (_exit). What did not end in a drain's time is no failure of
 * the worker's: brokers run it again where they may.
 *
 * A worker that is stuck (session.h) drains, too, and ends with a status of its own, so
 * that its supervisor starts another. One that has more memory than it should
 * (memory.h) drains and starts itself anew.
 */
#ifndef WRK_WORKER_H
#define WRK_WORKER_H

#include "worker/settings.h"

enum wrk_exit {
	WRK_EXIT_OK = 0,
	WRK_EXIT_FAILED = 1, /* could not start, or a second signal cut runs off */
	WRK_EXIT_USAGE = 2,
	WRK_EXIT_STUCK = 4, /* handlers did not return in time and held what it has */
};

/* Returns when the worker has ended. argv as main got it, NULL at its end: for starting anew. */
enum wrk_exit wrk_worker_run(struct wrk_settings *settings, char **argv);

#endif
