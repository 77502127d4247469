/* The simulation: broker cores, clients, workers and a few hostile peers on a
 * simulated network, all in one thread, in virtual time, out of one seed.
 *
 * The cores are the real ones. Everything around them is a model, written against
 * the protocol and not against the core, that checks what it is told: a client
 * knows which answers it may get, a worker knows its own credit, the book (book.c)
 * knows of every call how often it ran and who answered it, the mirror (mirror.h) what
 * each broker has in hand: who waits and runs there, its breakers, whom it ejected. After
 * every input that did something brk_core_check walks the core.
 *
 * A run has four parts: trouble (whatever the seed enables: cuts, clogs, deaths,
 * pauses, drains, lies, sick services, bursts, forced breakers), healing (everything is
 * restarted, nothing new goes wrong, until every breaker is closed), proof (fresh calls,
 * each of which must succeed), and rest: all must be empty and the figures add up.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/heap.h"
#include "base/rand.h"
#include "broker/core/core.h"
#include "broker/core/fault.h"
#include "tests/sim/events.h"
#include "tests/sim/link.h"

#define SIM_BROKERS    3
#define SIM_CLIENTS    4
#define SIM_WORKERS    5
#define SIM_LIARS      2
#define SIM_PROCS      (SIM_CLIENTS + SIM_WORKERS + SIM_LIARS)
#define SIM_SERVICES   5
#define SIM_ADDRESSED  4u /* of those may clients send to; the last one is told of ends by brokers */
#define SIM_CALLBACK   4u
#define SIM_BEAT_MS    1000
#define SIM_SILENCE_MS 3500 /* then a peer takes its broker for dead */
#define SIM_UNIX_MS    1800000000000u

enum sim_role { SIM_CLIENT, SIM_WORKER, SIM_LIAR };

struct sim;
struct sim_proc;
struct sim_broker;

/* ---- world.c: time, chance, verdict ---------------------------------------- */

typedef void sim_event_fn(struct sim *sim, void *arg, uint64_t number);

void sim_at(struct sim *sim, uint64_t due_ms, sim_event_fn *fn, void *arg, uint64_t number);
bool sim_step(struct sim *sim,
	uint64_t until_ms); /* runs the next event; false: none is due until then */
void sim_drop_events(struct sim *sim);
uint64_t sim_below(struct sim *sim, uint64_t bound);
bool sim_chance(struct sim *sim, unsigned percent);
uint64_t sim_between(struct sim *sim, uint64_t low, uint64_t high); /* inclusive */
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void sim_fail(struct sim *sim, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
#define SIM_CHECK(sim, condition, ...) ((condition) ? (void)0 : sim_fail((sim), __VA_ARGS__))

/* ---- net.c: connections ---------------------------------------------------- */

struct sim_item {
	Pirn__Item pb; /* its pointers point into this struct */
	uint8_t id[32];
	uint8_t trace[32];
	char service[64];
	char key[32];
	uint8_t hash[16];
};

struct sim_credit {
	Pirn__Credit pb;
	char service[64];
};

struct sim_hello {
	uint32_t version, role;
	uint8_t boot[16];
	size_t boot_size;
	bool registry, again;
	size_t n_services;
	Pirn__Manifest manifests[SIM_SERVICES + 1];
	char names[SIM_SERVICES + 1][64];
	char versions[SIM_SERVICES + 1][16];
};

struct sim_message {
	struct sim_message *prev, *next;
	uint32_t kind; /* 0: the connection's end */
	size_t n_items, n_credits, item_room, credit_room;
	struct sim_item *items;
	struct sim_credit *credits;
	uint8_t *body;
	size_t body_size;
	struct sim_hello *hello;
	bool refused;                   /* WELCOME */
	uint32_t workers[SIM_SERVICES]; /* REGISTRY: UINT32_MAX: not in it */
	bool fans;                      /* and whether all who should subscribe do */
	uint64_t now_ms;                /* a broker's BEAT; 0: it does not say */
};

enum sim_direction { TO_BROKER, TO_PEER };

/* How a worker does with a service, as its broker sees it. */
struct sim_out {
	uint32_t failures; /* in a row */
	uint64_t until_ms; /* ejected until then; 0: it is not */
	bool to_tell;      /* the broker should say so in this input */
	uint64_t dry_least_ms, dry_most_ms; /* it gets no events until the one; it may get none until the other */
};

/* Whom a broker takes the peer for. */
struct sim_member {
	uint32_t role; /* 0: a stranger */
	uint8_t boot[16];
};

/* What the broker's side is bound by towards this peer, kept beside the core and by other means. */
struct sim_shadow {
	bool joined;
	bool handed_back; /* gets nothing more: it drains, or handed a run back */
	struct sim_out out[SIM_SERVICES];
	bool drained; /* the worker's DRAIN was answered, or it handed a run back */
	bool asked;   /* our DRAIN was sent and not answered yet */
	struct {
		uint64_t granted, used;
		bool ever; /* some was granted */
	} credit[SIM_SERVICES];
};

enum sim_phase { SIM_DOWN, SIM_HELLO, SIM_UP };

struct sim_conn {
	struct sim_conn *next;
	struct sim_broker *broker; /* NULL once the broker's process is gone */
	struct sim_proc *proc;     /* NULL once the peer's is */
	enum sim_role role;
	bool carries[SIM_SERVICES];
	unsigned broker_index;
	uint32_t peer;      /* its number at the broker */
	uint64_t resync_ms; /* when that number was last told RESYNC; 0: never */
	bool cut;           /* what is sent from now on is lost */
	struct sim_message *queues[2];
	uint64_t last_due[2], clogged_until[2];
	struct sim_shadow shadow;
	struct sim_member member; /* mirror.c's */

	/* the peer's side */
	enum sim_phase phase;
	uint64_t session; /* a new number at every WELCOME that starts one */
	uint64_t heard_ms;
	bool draining; /* the broker asked for no new work */
	bool drain_sent, drain_answered;
	struct {
		uint64_t granted, received, finished;
		uint64_t
			promised; /* the most it may still use: more than granted while that is taken back */
		bool retracting;
		uint32_t waiting;
	} credit[SIM_SERVICES];
	uint32_t workers[SIM_SERVICES]; /* the last REGISTRY */
	bool fans;                      /* in this session */
};

struct sim_message *sim_message_new(uint32_t kind);
void sim_message_free(struct sim_message *m);
struct sim_item *sim_message_item(
	struct sim_message *m, const uint8_t *payload, uint32_t meta_size, uint32_t data_size);
struct sim_credit *sim_message_credit(struct sim_message *m, const char *service);
void sim_item_id(struct sim_item *item, const uint8_t *id, size_t size);
void sim_item_service(struct sim_item *item, const char *service);

struct sim_conn *sim_connect(struct sim *sim, struct sim_proc *proc, struct sim_broker *broker);
void sim_send(struct sim *sim, struct sim_conn *conn, enum sim_direction to,
	struct sim_message *m); /* takes m */
/* A random prefix of what is on its way still arrives. told: both ends hear of it then; else
 * only silence does. */
void sim_cut(struct sim *sim, struct sim_conn *conn, bool told);
void sim_clog(struct sim *sim, struct sim_conn *conn, uint64_t until_ms);

/* ---- registry.c ------------------------------------------------------------ */

struct sim_packed {
	uint8_t *bytes; /* NULL: none */
	size_t size;
};

struct sim_post;

void sim_registry_start(struct sim *sim, struct sim_broker *broker);
void sim_registry_keep(struct sim *sim, struct sim_broker *broker, const Pirn__Entry *entry);
void sim_registry_fini(struct sim *sim);

/* ---- broker.c -------------------------------------------------------------- */

struct sim_broker {
	unsigned index;
	struct brk_core *core; /* NULL: dead */
	uint64_t life;
	uint32_t next_peer;
	uint64_t paused_until;
	uint64_t tick_at; /* scheduled; UINT64_MAX: none */
	bool draining;
	bool turning;          /* its turn's end is scheduled */
	struct sim_link *link; /* to Redis; NULL: none */
	struct sim_open_ask *asks;
	struct sim_packed kept[SIM_SERVICES]; /* what its shell knows of the registry */
	struct sim_post *posts;               /* entries on their way to the core */
	struct sim_mirror *mirror;
};

void sim_broker_start(struct sim *sim, struct sim_broker *broker);
void sim_broker_kill(struct sim *sim, struct sim_broker *broker);
void sim_broker_pause(struct sim *sim, struct sim_broker *broker, uint64_t ms);
void sim_broker_drain(struct sim *sim, struct sim_broker *broker);
/* The shell gives a peer up, as when nothing more can be sent to it; the peer learns of it by
 * RESYNC. */
void sim_broker_forget(struct sim *sim, struct sim_conn *conn);
void sim_broker_message(
	struct sim *sim, struct sim_conn *conn, struct sim_message *m); /* m.kind 0: gone */
void sim_broker_tick(struct sim *sim, struct sim_broker *broker);
void sim_broker_store(struct sim *sim, struct sim_broker *broker, bool up);
void sim_broker_told(struct sim *sim, struct sim_broker *broker, const struct brk_told *told);
void sim_broker_entry(struct sim *sim, struct sim_broker *broker, const Pirn__Entry *entry);

/* ---- procs: client.c, worker.c, liar.c -------------------------------------- */

struct sim_run {
	struct sim_run *prev, *next;
	struct sim_proc *proc;
	struct sim_conn *conn;
	uint64_t session, serial;
	unsigned service;
	uint32_t slot, generation;
	bool known; /* number is in the book (of calls, or of events) */
	uint32_t number, size;
	/* an event's: run.c */
	bool keyed; /* a call's with an Idempotency-Key; number is that of the key's first */
	bool event, asked, failed, recorded;
	bool no_state; /* Redis did not answer it, or has no room */
	struct store_run run;
	unsigned step;
	uint32_t reason;
	char read[32]; /* a read's record, for the next write */
	size_t read_size;
};

struct sim_proc {
	enum sim_role role;
	unsigned index; /* in sim->procs */
	bool alive;
	uint64_t life;
	uint8_t boot[16];
	uint64_t paused_until;
	struct sim_conn *conns[SIM_BROKERS];
	/* a worker's */
	bool carries[SIM_SERVICES];
	uint32_t capacity[SIM_SERVICES];
	uint32_t occupied[SIM_SERVICES]; /* by runs of sessions that are over */
	uint32_t running[SIM_SERVICES];
	struct sim_run *runs;
	bool draining;
	unsigned manifest_version;
	struct sim_link *link; /* to Redis; NULL: none */
	/* a client's */
	uint64_t lane, lane_number;
};

void sim_proc_start(struct sim *sim, struct sim_proc *proc);
void sim_proc_kill(struct sim *sim, struct sim_proc *proc);
void sim_proc_pause(struct sim *sim, struct sim_proc *proc, uint64_t ms);
void sim_proc_message(
	struct sim *sim, struct sim_conn *conn, struct sim_message *m); /* kind 0: cut */
void sim_proc_hello(struct sim *sim, struct sim_conn *conn);
void sim_session_over(struct sim *sim, struct sim_conn *conn);

void sim_client_start(struct sim *sim, struct sim_proc *proc);
void sim_client_message(struct sim *sim, struct sim_conn *conn, struct sim_message *m);
void sim_client_submit(struct sim *sim, struct sim_conn *conn, unsigned n, bool must_succeed);
/* All at once, to one service, and patient. */
void sim_client_burst(struct sim *sim, struct sim_conn *conn, unsigned service, unsigned n);
void sim_client_lost(struct sim *sim, struct sim_conn *conn);

void sim_worker_up(struct sim *sim, struct sim_conn *conn);
void sim_worker_message(struct sim *sim, struct sim_conn *conn, struct sim_message *m);
void sim_worker_lost(struct sim *sim, struct sim_conn *conn);
void sim_worker_die(struct sim *sim, struct sim_proc *proc);
void sim_worker_drain(struct sim *sim, struct sim_proc *proc);
void sim_worker_leave(struct sim *sim, struct sim_proc *proc);   /* when its drain is over */
void sim_worker_end(struct sim *sim, struct sim_run *run);       /* answers, and gives it back */
void sim_worker_retract(struct sim *sim, struct sim_proc *proc); /* for no reason */
bool sim_worker_find_run(struct sim *sim, uint32_t *slot, uint32_t *generation); /* somebody's */

void sim_liar_start(struct sim *sim, struct sim_proc *proc);

/* ---- book.c: what is true of every call -------------------------------------- */

#define SIM_CALL_RUNS 3u

enum sim_call_state { CALL_OPEN, CALL_ANSWERED, CALL_CANCELLED, CALL_LOST };

struct sim_call {
	enum sim_call_state state;
	unsigned client, service;
	struct sim_conn *conn;
	uint64_t session;
	uint32_t generation, left_ms, size;
	bool idempotent, must_succeed;
	uint64_t deadline; /* the broker's; 0: not arrived */
	uint64_t run_end;  /* the last run's, by its service's timeout */
	unsigned dispatches, runs, answers_sent, answers, tries;
	bool ran_to_end;
	/* What its runs send: each its own events. */
	bool sends, unsent; /* unsent: it was told that none is there */
	uint32_t sent[SIM_CALL_RUNS]; /* + 1: the first, of SIM_CALL_SENDS; 0: that run sent none */
	unsigned n_sent;
};

#define SIM_CALL_SENDS 2u /* events of one run */

uint32_t sim_book_call(struct sim *sim, struct sim_conn *conn, unsigned service);
struct sim_call *sim_book_find(struct sim *sim, const Pirn__Item *item); /* by id; NULL: a liar's */
void sim_book_id(uint32_t number, uint8_t id[16]);
void sim_book_payload(uint32_t number, uint32_t size, bool response, uint8_t *out);
void sim_book_submitted(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn,
	const struct sim_message *m);
void sim_book_dispatched(struct sim *sim, struct sim_conn *conn, const struct brk_action *a);
void sim_book_answered(struct sim *sim, struct sim_conn *conn, const struct brk_action *a);
bool sim_book_is_over(const struct sim *sim); /* every call has its answer */
void sim_book_end(struct sim *sim);
/* True: that run of the call sends, and its events are new in the book, from *first on. */
bool sim_book_sends(struct sim *sim, uint32_t number, uint32_t *first);
void sim_book_check_sent(struct sim *sim, uint32_t number); /* what stands in Redis of it */

/* ---- keyed.c: calls with an Idempotency-Key ----------------------------------- */

#define SIM_KEYED_SLOT 0x60000000u /* slots from here on are theirs */

struct sim_keyed;

void sim_keyed_submit(struct sim *sim, struct sim_conn *conn);
void sim_keyed_lost(struct sim *sim, struct sim_conn *conn); /* the session is over */
void sim_keyed_answered(struct sim *sim, struct sim_conn *conn, uint32_t kind,
	const Pirn__Item *item, const uint8_t *payload);
uint32_t sim_keyed_key(const struct sim *sim, uint32_t slot);
bool sim_keyed_is(struct sim *sim, const uint8_t *id, size_t size, uint32_t *number);
void sim_keyed_served(
	struct sim *sim, const struct brk_ask *ask, const struct sim_reply *reply); /* DONE */
void sim_keyed_applied(struct sim *sim, uint32_t number, unsigned op);
void sim_keyed_check_rest(struct sim *sim);

/* ---- sick.c ----------------------------------------------------------------- */

/* What happened, so that it is known that it did. */
struct sim_seen {
	uint64_t opened, closed, adopted, ejected, given_up, again, slots, skipped, dry;
	uint64_t told, hops;   /* callbacks; events that were a hop too far */
	uint64_t sent, unsent; /* calls that heard so */
};

struct sim_sickness {
	uint64_t until_ms;
	int worker; /* index of the only one that is sick; -1: all are */
	unsigned fail_percent, slow_percent;
};

void sim_sick_begin(struct sim *sim);
bool sim_sick_fails(struct sim *sim, const struct sim_proc *proc, unsigned service);
/* So much longer the run takes. */
uint64_t sim_sick_ms(struct sim *sim, const struct sim_proc *proc, unsigned service);
void sim_force(struct sim *sim);
bool sim_force_heal(struct sim *sim); /* false: nobody could be asked */

/* ---- trouble.c -------------------------------------------------------------- */

void sim_trouble_start(struct sim *sim);
bool sim_trouble_is_of_workers(
	const struct sim *sim); /* all that it has: they die, drain, change */
void sim_heal(struct sim *sim);

/* ---- main.c ------------------------------------------------------------------ */

struct sim {
	uint64_t seed;
	bool verbose;
	uint64_t faults[BRK_FAULT_WORDS]; /* of broker/core/fault.h, a bit each */
	uint32_t redis_faults; /* of tests/sim/redis/redis.h */
	uint64_t now_ms;
	uint64_t steps, trace_hash;
	struct base_rand rand;
	struct base_heap agenda;

	unsigned n_brokers, n_clients, n_workers, n_liars;
	struct sim_broker brokers[SIM_BROKERS];
	struct sim_proc procs[SIM_PROCS];
	struct sim_conn *conns;
	uint64_t sessions;
	Pirn__Manifest manifests[SIM_SERVICES];
	struct sim_packed registry[SIM_SERVICES];

	struct sim_call *calls;
	uint32_t n_calls, calls_room;
	uint32_t n_again; /* that will be sent again, in calm */

	struct sim_server server;
	struct store_bounds bounds;
	struct sim_event *events;
	uint32_t n_events, events_room;
	struct sim_name *names; /* of events, which their brokers made */
	struct sim_timers *timers; /* NULL: there are none in this run */
	struct sim_keyed *keyed;
	uint32_t n_keyed, keyed_room;
	uint32_t *touched; /* by the last step */
	size_t n_touched, touched_room;
	uint64_t *beats; /* by epoch: when it last beat, Redis's time */
	size_t n_beats;
	uint32_t max_events;
	uint64_t max_event_bytes;
	uint32_t decide_ms, hope_ms;
	uint64_t event_percent, fail_percent, poison_percent;
	Pirn__Retry retries[SIM_SERVICES];
	Pirn__BreakerConf breakers[SIM_SERVICES];
	Pirn__QueueConf queues[SIM_SERVICES];
	struct sim_sickness sick[SIM_SERVICES];
	unsigned forced; /* services, a bit each */
	bool lenient;    /* no breaker opens in this seed, and who is sick is so for long */
	struct sim_seen seen;
	uint32_t lies;

	bool calm;           /* nothing goes wrong any more */
	bool quiet;          /* clients send nothing by themselves any more */
	unsigned troubles;   /* a bit for each kind that this seed has */
	uint64_t trouble_ms; /* how far apart */
	uint64_t latency_ms, slow_percent, pace_ms;
	unsigned slow_readings_percent; /* of the registry */
	uint32_t max_calls, max_bytes;
	char *why; /* of the process that watches */
	size_t why_room;
};

extern const char *const sim_services[SIM_SERVICES];
int sim_service(const char *name); /* -1: none of ours */
void sim_run_seed(struct sim *sim);

#endif
