/* Users who notice everything: threads that send requests one after another, over
 * connections that they keep and over fresh ones, at a steady pace, while a test
 * restarts things beneath them. Each request must get a whole answer with a status
 * of 2xx; anything else is a failure, which is counted, and told if it is one of the
 * first.
 *
 * One thing is none (RFC 9112, section 9.5): a server may close a connection that is
 * kept and idle, at the moment at which its user sends the next request. When such a
 * connection ends before any byte of the answer, the request goes once more, over a
 * fresh one, and there nothing is forgiven.
 */
#ifndef TESTS_HARNESS_USERS_H
#define TESTS_HARNESS_USERS_H

#include <stdint.h>

#define USERS_KINDS 12

struct users_kind {
	const char *request;  /* a line: "GET /hello", and headers after it, each "\r\nName: value" */
	const char *body;     /* NULL: none; one %u in it becomes a serial of the kind, from 0 */
	unsigned threads;
	unsigned pause_ms;    /* between an answer and the next request … */
	unsigned jitter_ms;   /* … and as much more at random */
	unsigned fresh;       /* each connection has one request */
	unsigned status;      /* that must come */
};

struct users;

struct users_count {
	uint64_t ok, failed;
	uint64_t ended; /* connections that ended while they were idle, and the request went once more */
};

/* address: 127.0.0.1:8080, or the same as a URL. kinds: USERS_KINDS at most; copied, what they point to is
 * borrowed. */
struct users *users_start(const char *address, const struct users_kind *kinds, unsigned n);
struct users_count users_count(const struct users *u, unsigned kind); /* so far */
struct users_count users_total(const struct users *u);
void users_stop(struct users **u, struct users_count *counts); /* what is under way ends first; counts: of each kind, or NULL */

#endif
