/* Sends events while things break, and writes down what it is told (record.h).
 *
 * Open loop: events leave at their rate whatever becomes of those before, as real
 * senders do; bounded, so that nothing piles up here: in_flight by each way, and none
 * is made up for after more than a second. Half of them go by HTTP, to the gateways in
 * turn, each on a connection of its own (libcurl would send a request again by itself
 * on a connection that it used before); half by the client library. Half of each have
 * an Idempotency-Key: when such an event is unknown it is sent again under it until it
 * is decided. A third of all are delayed, so that some always lie waiting.
 */
#ifndef TESTS_FAULT_LOAD_H
#define TESTS_FAULT_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The body of an event. */
typedef void load_body_fn(unsigned serial, char *out, size_t room);

struct load_conf {
	const char *record;     /* path */
	const char *(*url)(void *arg, unsigned serial); /* where to POST */
	void *arg;
	const char *brokers;    /* for the client library */
	unsigned per_second, in_flight;
	load_body_fn *body;
};

struct load;

struct load *load_start(const struct load_conf *conf); /* conf is copied, what it points to is borrowed */
void load_pause(struct load *l);  /* no new events; what is under way goes on */
void load_resume(struct load *l);
bool load_is_quiet(struct load *l); /* nothing is under way, nothing is to be sent again */

uint64_t load_accepted(const struct load *l); /* so far */
uint64_t load_refused(const struct load *l);
uint64_t load_unknown(const struct load *l);

void load_mark(struct load *l);                /* from now on … */
uint64_t load_first_after(const struct load *l); /* … in ms: until the first event was accepted that was sent since; 0: none yet */

void load_stop(struct load **l); /* what is under way becomes unknown; takes NULL */

#endif
