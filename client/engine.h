/* Calls through brokers, without a thread of its own: the gateway runs one in its
 * loop, the public library runs one in a thread (client/thread.c).
 *
 * A call goes to one broker: of those that are up, not draining and have a worker
 * for the service, the one with the fewest calls of ours under way (ties in turn).
 * REFUSED with NO_WORKER or DRAINING while another broker may have one: sent
 * there, within the deadline, once per broker. A broker that is lost: its
 * idempotent calls are sent again elsewhere, at most twice; the others fail with
 * WORKER_LOST (502). With no broker up at all a call waits for one, at most
 * connect_wait_ms and never past its deadline: brokers restart. After one has said that
 * it goes, five times as long: it is being replaced.
 *
 * Resends are under a budget (base/budget.h), because those calls may have run:
 * a tenth of the calls, and a thousand from the start or saved up, so that
 * one lost broker with all that it had is no storm, and brokers that fall again and
 * again are none either. Beyond it a call fails with WORKER_LOST. What was REFUSED
 * did not run, and what never left did not either: they go on freely, and so do
 * events, of which one number is stored once.
 *
 * Records are in a slab; slot and generation travel. What is sent says the time
 * that is left, so that waiting here shrinks it, and nothing is sent with none.
 * Deadlines are enforced here too (a broker may hang): REASON DEADLINE when the
 * time is up, plus a CANCEL.
 * Bounded: max_calls and max_bytes; beyond them a call is FULL at once (G6).
 */
#ifndef CLIENT_ENGINE_H
#define CLIENT_ENGINE_H

#include "net/links.h"

struct client_engine;

struct client_engine_conf {
	const char *brokers;
	const char *name;
	uint32_t max_calls;       /* default 65,536 when 0 */
	uint64_t max_bytes;       /* of requests kept for a resend; default 256 MiB when 0 */
	uint32_t connect_wait_ms; /* default 2,000 when 0 */
};

#define CLIENT_CALLBACK_MAX 2048 /* bytes of a URL */
#define CLIENT_TOPIC_MAX 4096 /* bytes of an event's type, source or subject */

struct client_request {
	const char *service;      /* NULL: an event for all who subscribe to it */
	uint8_t id[16];
	const uint8_t *trace;     /* 25 bytes, or NULL */
	uint32_t timeout_ms;
	bool idempotent;
	/* An Idempotency-Key, 1 to 255 bytes, and 16 bytes that are the same for the same request; size 0: none. */
	const uint8_t *key, *hash;
	size_t key_size;
	uint32_t key_ttl_ms; /* an event's: how long the key is known; 0: as long as the brokers know any */
	/* An event: the reply is 202 once it is accepted. timeout_ms is then how long to wait for the decision
	 * (60,000 at most; UNDECIDED after it). Resent when a broker is lost: it is stored once all the same. */
	bool event;
	bool want_result;           /* somebody may ask for what became of it */
	bool ack_memory;            /* accepted before it is on disk */
	/* An event: where the outcome of each of its deliveries goes, a URL of CLIENT_CALLBACK_MAX bytes at most; size 0: nowhere. */
	const char *callback;
	size_t callback_size;
	uint64_t delay_ms, not_before_ms; /* not before: a duration; a Unix time. 0: at once */
	/* Without a service: what the event is. type is there, source and subject may be NULL. */
	const char *type, *source, *subject;
	/* An event that is a timer's slot: accepted when previous_ms is the timer's last one, otherwise refused with
	 * SLOT. skip: the slot passes without an event. Unix times; NULL: no timer. No key, no delay then. */
	const char *timer;
	uint64_t previous_ms, slot_ms;
	bool skip;
	struct net_payload payload; /* borrowed for the call to client_engine_call only */
};

struct client_reply {
	enum _Pirn__Reason reason; /* NONE: the service answered */
	uint32_t status;           /* the service's, or the HTTP status that goes with reason */
	uint32_t retry_after_ms;
	uint32_t attempts;
	bool replayed;              /* what the key's first request got */
	uint8_t id[16];             /* of the accepted event: of the first one when replayed. Otherwise the request's */
	/* SLOT: the timer's last slot, 0: none; id is of its last run then, if it has one. */
	uint64_t slot_ms;
	bool has_running;
	struct net_payload payload; /* borrowed until the callback returns */
};

/* Called exactly once for each accepted call, in the loop, never from within client_engine_call. */
typedef void client_reply_fn(void *arg, const struct client_reply *reply);

/* The registry as all brokers together see it: entries by service name, workers added up; each warning once;
 * events when any of them takes events. */
struct client_engine_events {
	void (*on_registry)(void *arg, const Pirn__Registry *registry); /* borrowed until it returns; may be NULL */
	void *arg;
};

BASE_MUSTUSE enum base_err client_engine_new(struct net_loop *loop, const struct client_engine_conf *conf,
                                             const struct client_engine_events *events, struct client_engine **out, char **why);
/* Calls still open are answered CANCELLED first. */
void client_engine_free(struct client_engine **e);

/* FULL (bounds), TOO_LARGE (item over the wire's limit), NOMEM. handle may be NULL; it is for client_engine_cancel. */
BASE_MUSTUSE enum base_err client_engine_call(struct client_engine *e, const struct client_request *request,
                                              client_reply_fn *fn, void *arg, uint64_t *handle);
void client_engine_cancel(struct client_engine *e, uint64_t handle); /* fn is not called after it; stale handles are ignored */

/* Several events with one fate: all are accepted, or none is. What was not heard of all is UNDECIDED for the
 * others; those may be sent anew under their keys. fn: called once, from the loop, with their replies in order. */
typedef void client_batch_fn(void *arg, const struct client_reply *replies, size_t n);

/* At least one, events all, none with a handle or a timer; timeout_ms, delay_ms and not_before_ms are the first
 * one's. Errors as above; TOO_LARGE also when they are more than one message takes: client_batch_fits. */
BASE_MUSTUSE enum base_err client_engine_batch(struct client_engine *e, const struct client_request *requests,
                                               size_t n, client_batch_fn *fn, void *arg);
/* Whether they go into one message. */
bool client_batch_fits(const struct client_request *requests, size_t n);

/* Asks every broker that is up; fn once per answer, and once with answer NULL at the end (all answered, or timeout_ms). */
typedef void client_answer_fn(void *arg, const Pirn__Answer *answer);
BASE_MUSTUSE enum base_err client_engine_query(struct client_engine *e, const Pirn__Query *query, uint32_t timeout_ms,
                                               client_answer_fn *fn, void *arg);

/* Asks one broker that is up, and another one when that is lost; fn once with its answer, or once with NULL
 * (none is up, or timeout_ms). For what any broker knows: dead letters. */
BASE_MUSTUSE enum base_err client_engine_ask(struct client_engine *e, const Pirn__Query *query, uint32_t timeout_ms,
                                             client_answer_fn *fn, void *arg);

/* What time it is by Redis's clock, Unix time: as near as the brokers' beats tell it, a little behind rather than
 * ahead. False: none has told in the last minute. */
bool client_engine_now_ms(const struct client_engine *e, uint64_t *now_ms);

size_t client_engine_open(const struct client_engine *e);    /* calls under way */
size_t client_engine_brokers(const struct client_engine *e); /* links up and not draining */
const char *client_reason_text(enum _Pirn__Reason reason);   /* for people: "no worker is there for the service" */
unsigned client_reason_status(enum _Pirn__Reason reason);    /* the HTTP status that goes with it */

#endif
