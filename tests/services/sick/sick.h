/* The board of a sick service: a file that the test and every worker have mapped. The test
 * says there how runs go, from one moment to the next; each run says there that it began
 * and ended. So what is counted is what happened in the service, whatever was answered,
 * and whoever was killed meanwhile.
 *
 * $SICK_BOARDS/NAME is the file; NAME is the manifest's env BOARD. Without it, or without
 * such a file, every run is fine.
 */
#ifndef TESTS_SERVICES_SICK_H
#define TESTS_SERVICES_SICK_H

#include <stdatomic.h>

#define SICK_RUNS 65536

struct sick_run {
	atomic_uint pid, attempt, is_event;
	atomic_ullong began_us, ended_us; /* of the monotonic clock; 0: not yet */
};

struct sick_board {
	/* the test's */
	atomic_uint status;    /* that runs are answered with; 0: 200 */
	atomic_uint sick_pid;  /* only that process answers so, others 200; 0: all */
	atomic_uint sleep_ms;  /* how long a run takes */
	atomic_uint hold;      /* runs wait while it is set, whatever their time */
	atomic_uint hang;      /* runs that begin while it is set never end */
	/* the runs' */
	atomic_uint running, most; /* now; at once since it was last set to 0 */
	atomic_uint n, failed;     /* runs that began; that were answered with status */
	struct sick_run runs[SICK_RUNS]; /* in the order in which they began */
};

#endif
