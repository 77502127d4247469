/* Thousands of peers of one broker, in one thread: each a TCP connection that speaks ZMTP
 * and Pirn's protocol by hand, because thousands of libzmq sockets would come one after the
 * other, and these come at once.
 *
 * Workers announce the service "swarm", grant credit for it and answer what they are
 * sent; clients send calls to it when they are told to. All beat. A link that breaks is
 * made again at once, and every few milliseconds until it is there: no back-off, as badly
 * behaved as can be. What is counted is what the broker said.
 */
#ifndef TESTS_FAULT_SWARM_H
#define TESTS_FAULT_SWARM_H

#include <stdint.h>

#define SWARM_SERVICE "swarm"

struct swarm;

/* endpoint: tcp://127.0.0.1:PORT. */
struct swarm *swarm_start(const char *endpoint, unsigned clients, unsigned workers);
void swarm_stop(struct swarm **s); /* takes NULL */

unsigned swarm_welcome(struct swarm *s);   /* links that are welcome now */
uint64_t swarm_welcomes(struct swarm *s);  /* ever */
uint64_t swarm_turned_away(struct swarm *s); /* HELLOs that were refused, ever */

void swarm_cut(struct swarm *s);  /* breaks every link (RST); they come again at once */
/* Every client that is welcome sends a call. */
void swarm_call(struct swarm *s);
uint64_t swarm_called(struct swarm *s);   /* calls that were sent … */
uint64_t swarm_answered(struct swarm *s); /* … answered with 200 … */
uint64_t swarm_failed(struct swarm *s);   /* … refused, or answered with anything else … */
uint64_t swarm_cut_off(struct swarm *s);  /* … and those whose link broke first */

#endif
