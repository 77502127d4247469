/* An HTTP endpoint for tests that does whatever a bad one may do. It listens on loopback
 * (127.0.0.1), with a thread for each connection, and does what the request's query says:
 *
 *   do=echo      200 with the request's body, and a header for each of its own: X-Got-NAME
 *   do=status&code=N[&after=S]   that status; after: with a Retry-After
 *   do=redirect  302 to /elsewhere
 *   do=hold      answers when the test lets it
 *   do=drip      a head, then a byte of the body every 20 ms, without end
 *   do=huge      a body of 3 GB, announced; do=flood: the same, chunked
 *   do=reset     reads the request, then resets; do=close: closes; do=half: half of the body, then closes
 *   do=garbage   bytes that are no HTTP
 *   do=headers   headers without end; do=line: one header without end; do=early: heads of 103 without end
 *   do=odd       status 999; do=fold: a folded header; do=leave: 200, then closes the connection
 *   do=hops      headers of the connection, and those that its Connection headers name: X-Hop-1, X-Hop-2, X-Hop-3; X-End is not
 *
 * Without do it answers 200 and "ok". Everything that came is kept.
 */
#ifndef TESTS_HARNESS_ENDPOINT_H
#define TESTS_HARNESS_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>

struct endpoint;

struct endpoint *endpoint_start(void);
void endpoint_stop(struct endpoint **e);
unsigned endpoint_port(const struct endpoint *e);

/* As if its process had been killed: all connections are reset, nobody listens. And back again, at the same port. */
void endpoint_kill(struct endpoint *e);
void endpoint_revive(struct endpoint *e);

unsigned endpoint_seen(struct endpoint *e, const char *text); /* requests whose head or body has this */
unsigned endpoint_holding(struct endpoint *e);                /* that wait for endpoint_release */
void endpoint_release(struct endpoint *e);                    /* those that wait now */
unsigned endpoint_open(struct endpoint *e);                   /* connections */
unsigned endpoint_connects(struct endpoint *e);               /* ever */
/* All that were kept, one after another; none of its functions may be called meanwhile. */
void endpoint_each(struct endpoint *e, void (*visit)(void *arg, const char *request), void *arg);
char *endpoint_last(struct endpoint *e, const char *text);    /* the last such request, whole; NULL; free() it */

#endif
