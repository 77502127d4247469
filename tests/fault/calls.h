/* Calls while things break: open loop, as load.h's events, and told apart by what became of
 * each. A call has a time (Pirn-Timeout) and its sender waits far longer, so that who
 * answers late, or not at all, is found out.
 */
#ifndef TESTS_FAULT_CALLS_H
#define TESTS_FAULT_CALLS_H

#include <stdint.h>

struct calls_conf {
	const char *(*url)(void *arg, unsigned serial); /* a gateway's */
	void *arg;
	unsigned per_second;
	unsigned timeout_ms; /* Pirn-Timeout */
	unsigned margin_ms;  /* an answer that comes so long after it is late, the machine's own stalls left out */
};

struct calls_counts {
	uint64_t sent;
	uint64_t ok, refused, expired, lost; /* 2xx; 429 and 503; 504; 502 */
	uint64_t other, none;                /* any other status; no answer at all */
	uint64_t late;                       /* of all of them */
	uint64_t worst_ms;
};

struct calls;

/* Every second one is a GET of /hello, which may run again, the others POST to echo. */
struct calls *calls_start(const struct calls_conf *conf); /* conf is copied */
uint64_t calls_ok(const struct calls *c);                 /* so far */
/* Sends no more and waits for what is under way. */
struct calls_counts calls_stop(struct calls **c); /* takes NULL */

#endif
