/* A service that crashes takes its worker down (doc/operations.md). Before
 * that, one line says which service and which run it was.
 */
#ifndef WRK_CRASH_H
#define WRK_CRASH_H

/* Once at start: SEGV, BUS, FPE, ILL and ABRT are logged as worker_crashed, and then have their usual end. */
void wrk_crash_watch(void);

/* Around the life of a thread that runs services: a stack of its own for that line, because the commonest
 * crash beside a wrong pointer is a stack that is full. Without memory it does without. */
void wrk_crash_enter(void);
void wrk_crash_leave(void);

#endif
