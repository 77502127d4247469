/* What a run that failed has to say for itself: one line for people, which goes with its
 * RESULT into the event's history.
 */
#ifndef WRK_FAILURE_H
#define WRK_FAILURE_H

#include <stdbool.h>

#include "worker/run.h"

#define WRK_FAILURE_SIZE 201 /* 200 bytes, and NUL */

/* The problem's detail, the first line of the body, or what the worker knows. False: it did not fail, or
 * is no event's. UNTRUSTED: the body is the service's. */
bool wrk_failure_say(const struct wrk_run *run, char out[WRK_FAILURE_SIZE]);

#endif
