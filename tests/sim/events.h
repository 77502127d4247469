/* The book of events: who submitted what, what he was told, what ran, and what stands in
 * Redis. One event is one delivery here; one that fans out to n services is n of them with numbers in a
 * row, for the first n services, who all have the id, the slot and the payload of the first. So every
 * invariant is held for each delivery by itself.
 *
 * Runs send events, up to three: for a service, or of a type that none to SIM_FAN services subscribe to;
 * with ids of their own, or with such as the broker makes. Some go in a circle, which only the bound of
 * the hops ends. A delivery's callback is an event for the last service that only brokers send; it
 * comes into the book when it stands in Redis, and is known by what it says.
 *
 * What Redis holds of an event is noted in Redis's own keys (struct sim_note, under
 * "sim:event"), by the simulated Functions as they change it; so a crash that takes a
 * change back takes the note back. What was promised or done outside stays, whatever Redis
 * forgets: the two are held against each other after every step (I1 to I4, I7 to I9), and
 * Redis's keys against the notes now and then (I5, I6, I11).
 */
#ifndef TESTS_SIM_EVENTS_H
#define TESTS_SIM_EVENTS_H

#include "tests/sim/redis/redis.h"
#include "tests/sim/timers.h"
#include "proto/pirn.pb-c.h"

struct sim;
struct sim_conn;
struct sim_proc;
struct sim_run;
struct sim_item;
struct sim_message;
struct brk_action;

#define SIM_EVENT_SLOT 0x40000000u /* slots from here on are events' */
#define SIM_EVENT_OPS  4u          /* most operations of a handler */
#define SIM_EVENT_KEYS 12u         /* Idempotency-Keys that the clients use */
#define SIM_FAN        3u          /* services that subscribe; the others do not */
#define SIM_SENDS      3u          /* most events that a run sends */
#define SIM_HOPS       16u         /* beyond it no event runs */

#define SIM_CALLBACK_URL "http://outside/told"

enum sim_event_state {
	EVENT_WAITS,    /* to be sent (again) */
	EVENT_SENT,     /* over conn, in that session */
	EVENT_ACCEPTED, /* a promise */
	EVENT_REFUSED,
	EVENT_UNKNOWN, /* nobody waits for the answer any more */
	EVENT_SENT_BY_RUN, /* nobody ever does: parent's runs send it, or brokers do */
};

struct sim_event {
	enum sim_event_state state;
	struct sim_proc *client;
	uint64_t client_life;
	struct sim_conn *conn;
	uint64_t session, give_up_at;
	unsigned service;
	uint32_t generation, size, flags, key, body; /* key 0: none */
	uint64_t lane, number, delay_ms;
	uint64_t made_ms; /* Redis's time */
	unsigned submissions;
	bool must_succeed, poison;
	unsigned fan;  /* deliveries of its type; its number - service is its first; 0: it has an address */
	bool callback; /* and names one */
	uint32_t hops;
	bool loops;    /* its run sends one, and so on */
	bool unnamed, named; /* its broker makes its id; and has */
	uint8_t id[16];      /* when it is named */
	bool nobody;         /* of a type that nobody subscribes to */
	struct sim_slot slot; /* a timer's */
	bool promised; /* a broker has said ACCEPTED, and meant on disk */
	uint32_t parent, sends[SIM_SENDS]; /* + 1; whose runs send it, what its runs send; 0: none (yet) */
	uint32_t tells; /* + 1; of whose end it is; 0: it is no callback */
	uint32_t caller; /* + 1; the call whose run sends it; 0: none */
	unsigned generations;   /* of parents */
	/* what happened outside of Redis */
	uint64_t fence_ms;    /* the latest lease of its runs */
	unsigned runs;        /* that a worker began */
	uint64_t ok_attempts; /* a bit for each attempt whose run answered well */
	uint64_t dry, wet; /* … of which a broker heard that it failed for want of Redis; or ended otherwise */
	unsigned died;        /* of those, in the middle, with their worker */
	bool cancelled;       /* somebody wanted it to be */
	uint32_t attempt;     /* the highest that was dispatched */
};

enum sim_end { END_NONE, END_OVER, END_LETTER, END_PURGED };

/* What Redis holds of it. */
struct sim_note {
	uint32_t live, stored, ends, redriven;
	bool done; /* for certain: what its runs send is there */
	uint32_t told; /* callbacks that were stored */
	enum sim_end end;
	uint32_t applied[SIM_EVENT_OPS];
	uint32_t attempt;       /* of its next run, as the entry says */
	uint32_t budget;        /* as well: with which one its attempts begin to count */
	uint64_t not_before_ms; /* as well */
};

/* ---- clients */
void sim_event_submit(struct sim *sim, struct sim_conn *conn, unsigned n, bool must_succeed);
/* A timer's, over any link; false: there is none, and no event. */
bool sim_event_submit_slot(
	struct sim *sim, struct sim_proc *proc, const struct sim_slot *slot, uint32_t *number);
void sim_event_answered(struct sim *sim, struct sim_conn *conn, uint32_t kind,
	const Pirn__Item *item);                             /* at the client */
void sim_event_lost(struct sim *sim, struct sim_conn *conn); /* the session is over */
void sim_event_client_died(struct sim *sim, struct sim_proc *proc);
struct sim_message *sim_event_question(struct sim *sim);
void sim_event_told(struct sim *sim, const Pirn__Answer *answer);

/* ---- brokers */
/* By id and service (none: the first of them); false: a call's, or a liar's. */
bool sim_event_is(const struct sim *sim, const Pirn__Item *item, uint32_t *number);
bool sim_event_has_id(
	const struct sim *sim, const uint8_t id[16], const char *service, uint32_t *number);
uint32_t sim_event_first(const struct sim *sim, uint32_t number); /* whose payload it has */
void sim_event_dispatched(struct sim *sim, const struct brk_action *a);
void sim_events_served(struct sim *sim, const struct brk_ask *ask, const struct sim_reply *reply);
void sim_event_decided(struct sim *sim, const struct brk_action *a); /* on the way out */

/* ---- workers: run.c */
void sim_run_begin(struct sim *sim, struct sim_run *run, const Pirn__Item *item);
void sim_run_fill(struct sim *sim, struct sim_run *run, struct sim_item *result);
/* How many events a run sends that answers well, and which: the same in every attempt. */
unsigned sim_event_sends(const struct sim *sim, uint32_t number);
uint32_t sim_event_child(struct sim *sim, uint32_t number, unsigned i);
bool sim_event_fans(struct sim *sim, uint32_t number); /* one of those is of a type */
/* This attempt's list holds one that cannot be taken. */
bool sim_event_sends_badly(const struct sim *sim, uint32_t number, uint32_t attempt);
uint32_t sim_event_family(const struct sim *sim, uint32_t number); /* deliveries from this first one on */
const char *sim_fan_type(unsigned n);                              /* for the first n services */
const char *sim_fan_pattern(unsigned n);
void sim_event_payload(const struct sim *sim, uint32_t number, uint8_t *out); /* size bytes */
uint32_t sim_event_of_call(struct sim *sim, uint32_t call); /* a new one */
void sim_run_send_of_call(struct sim *sim, uint32_t call, struct sim_message *m, struct sim_item *result);
void sim_run_send(struct sim *sim, struct sim_run *run, struct sim_message *m, struct sim_item *result);
/* NULL: the connection broke; it may have happened or not. */
void sim_run_answered(
	struct sim *sim, struct sim_proc *proc, uint64_t serial, const struct sim_op_reply *reply);
void sim_runs_lost(struct sim *sim, struct sim_proc *proc);
bool sim_event_asks(uint32_t number, uint32_t attempt, unsigned op); /* of its handler */
bool sim_op_writes(unsigned op);

/* ---- invariants: notes.c */
void sim_events_watch(void *arg, struct sim_redis *redis, const struct sim_change *change);
void sim_events_check_step(struct sim *sim); /* what the last step touched */
void sim_events_check_all(struct sim *sim);  /* all notes, all of Redis */
void sim_events_check_rest(struct sim *sim);
bool sim_events_are_over(struct sim *sim); /* none lives, each has its decision */
struct sim_note sim_event_note(struct sim *sim, uint32_t number);
bool sim_events_any_letter(struct sim *sim, uint32_t *number);

void sim_event_id(const struct sim *sim, uint32_t number, uint8_t id[16]);
/* It came under this id, which its broker has made; always the same. */
void sim_event_name(struct sim *sim, uint32_t number, const uint8_t id[16]);
/* Whose payload that is, of those that are not named by who sends them. */
bool sim_event_said(const struct sim *sim, const uint8_t *payload, size_t size, uint32_t *number);
uint32_t sim_event_callback(struct sim *sim, uint32_t parent, uint32_t size); /* a new one */
bool sim_callback_of_service(const struct sim *sim, unsigned service); /* its manifest names one */
void sim_events_fini(struct sim *sim);
uint64_t sim_mix(uint64_t a, uint64_t b, uint64_t c); /* the same for the same */

#endif
