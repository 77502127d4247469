/* Who runs a service's runs. Native services are run by the executor's threads, which
 * the session knows well; another kind of executor gives it one of these, and its
 * services point to it. All functions are called from the loop.
 *
 * What is carried can be stopped, which a thread in a handler cannot: so a run that
 * nobody wants any more, or whose time is over, comes back at once. A carrier keeps its
 * runs' deadlines itself, and answers for those that miss it; the session looks a second
 * later whether it did.
 */
#ifndef WRK_CARRIER_H
#define WRK_CARRIER_H

#include <stdbool.h>

struct wrk_run;
struct wrk_task;

#define WRK_CARRIER_GRACE_US 1000000u

struct wrk_carrier {
	/* A chain, linked by next, the last one's NULL. */
	void (*push)(void *arg, struct wrk_task *first);
	/* Takes a run back that has not started; false: too late, it will be done. */
	bool (*withdraw)(void *arg, struct wrk_task *task);
	/* Ends what has started: it will be done soon, whatever it says then. */
	void (*stop)(void *arg, struct wrk_run *run);
	/* What was done since the last call, linked by next; NULL: nothing. */
	struct wrk_task *(*done)(void *arg);
	void *arg;
};

#endif
