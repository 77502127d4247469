/* A stretch of wire between two parts that can be taken away while both ends live: it
 * takes connections on one endpoint and carries their bytes to another, both ways.
 *
 *   whole    carries
 *   frozen   carries nothing, breaks nothing: what is sent waits in sockets, new
 *            connections are taken and lead nowhere. When it is whole again all that
 *            waited arrives, late
 *   deaf     carries to the target, and nothing back: what is asked is done, and the answer
 *            waits. Cut it then, and the answer is lost
 *   cut      what was there is broken, new connections are broken at once
 *
 * One thread each. Endpoints are tcp://HOST:PORT, ipc://PATH or unix://PATH.
 */
#ifndef TESTS_FAULT_PROXY_H
#define TESTS_FAULT_PROXY_H

#include <stdint.h>

enum proxy_mode { PROXY_WHOLE, PROXY_FROZEN, PROXY_DEAF, PROXY_CUT };

struct proxy;

struct proxy *proxy_start(const char *listen, const char *target);
void proxy_stop(struct proxy **p);
void proxy_set(struct proxy *p, enum proxy_mode mode); /* returns when it is so */
uint64_t proxy_taken(struct proxy *p);                 /* connections that were taken so far */

#endif
