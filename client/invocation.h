/* What became of events: questions whose answer takes all brokers together.
 *
 * A broker tells of the deliveries in its own hands, and of those that have ended,
 * which it looks up in Redis. So every broker is asked, and their answers are
 * united: of what two of them say about one delivery (id and service) the later
 * holds: the higher attempt; of the same attempt the end; of two that are alive
 * what the newer epoch says.
 *
 * That an id is unknown takes more than finding nothing: every epoch that owns
 * journals, by what any of the answers says, must itself have answered, with all
 * its journals read. Otherwise the event may lie where nobody looked, and the word
 * is CANNOT_SAY. While there is time left (wait_ms) that is asked again, a little
 * later: an adoption takes a few seconds.
 *
 * wait_ms: the owner holds its answer back until the delivery has ended, at most
 * so long. 0 asks what is known now. A broker that does not answer at all holds the
 * question up for a second beyond that.
 */
#ifndef CLIENT_INVOCATION_H
#define CLIENT_INVOCATION_H

#include "client/engine.h"

enum client_verdict {
	CLIENT_FOUND,
	CLIENT_UNKNOWN, /* 404: nobody has, or ever had, an event of this id (or its result was not kept) */
	CLIENT_CANNOT_SAY /* 503, come again in a second; reason says why */
};

struct client_invocations {
	enum client_verdict verdict; /* a list is always FOUND, unless nobody answered */
	enum _Pirn__Reason
		reason; /* CANNOT_SAY: NO_BROKER, NOT_DURABLE, UNSUPPORTED, CANCELLED, UNDECIDED … */
	Pirn__Invocation *const *
		list; /* by id and then service; one of each; borrowed until the callback returns */
	size_t n;
	size_t cancelled; /* client_invocation_cancel: deliveries that it ended */
	bool partial; /* a broker that was asked did not answer, or could not; a list may lack what it has */
};

/* Called once for each question that was taken, in the loop, never from within the function that asks. */
typedef void client_invocation_fn(void *arg, const struct client_invocations *told);

struct client_question;

/* What became of id. out may be NULL; it is for client_question_forget and good until fn was called.
 * FULL, NOMEM, CANCELLED (the engine ends): fn is not called. */
BASE_MUSTUSE enum base_err client_invocation_ask(struct client_engine *e, const uint8_t id[16],
	uint32_t wait_ms, client_invocation_fn *fn, void *arg, struct client_question **out);

/* Cancels what of id has not ended, and then tells what became of it, as above. */
BASE_MUSTUSE enum base_err client_invocation_cancel(struct client_engine *e, const uint8_t id[16],
	uint32_t wait_ms, client_invocation_fn *fn, void *arg, struct client_question **out);

/* Those that have not ended, oldest first. */
struct client_invocation_filter {
	const char *service;  /* NULL: all */
	uint32_t state;       /* a Pirn InvocationState; 0: all */
	uint32_t limit;       /* at most 1,000; 0: 100 */
	const uint8_t *after; /* 16 bytes, only later ids; NULL: from the start */
};

BASE_MUSTUSE enum base_err client_invocation_list(struct client_engine *e,
	const struct client_invocation_filter *filter, client_invocation_fn *fn, void *arg,
	struct client_question **out);

/* Nobody wants the answer any more: fn is not called. *q is NULL then. Takes NULL. */
void client_question_forget(struct client_question **q);

const char *client_invocation_state_name(
	uint32_t state); /* "ready", "dead", …; "unknown" for none of them */
bool client_invocation_has_ended(uint32_t state);

#endif
