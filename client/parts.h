/* What the engine's files share: engine (the seam, links and time), call (a
 * call's life), event (what is different for events), table (who has workers for
 * what), query, invocation (questions that all brokers answer together).
 *
 * A record of the slab is a call or a question; both have a slot and a generation
 * that travel, and a time at which they end. A call is in exactly one list: of the
 * link it was sent to, or of those that wait for a broker.
 */
#ifndef CLIENT_PARTS_H
#define CLIENT_PARTS_H

#include "base/budget.h"
#include "base/heap.h"
#include "base/rand.h"
#include "base/slab.h"
#include "client/clock.h"
#include "client/engine.h"
#include "client/key.h"
#include "net/hash.h"

#define CLIENT_MAX_LINKS   64 /* bits of a mask; brokers beyond it are not used */
#define CLIENT_SERVICE_MAX 64 /* with the NUL */
#define CLIENT_MAX_RESENDS 2

/* Of resends, in base/budget.h's thousandths: see engine.h. */
#define CLIENT_RESENDS_SHARE 100u
#define CLIENT_RESENDS_FIRST (1000u * BASE_BUDGET_ONE)
#define CLIENT_RESENDS_SAVED (1000u * BASE_BUDGET_ONE)

struct client_record {
	struct base_heap_node timed;
	void (*expire)(struct client_engine *, struct client_record *);
	uint32_t slot, generation;
	bool is_query;
};

struct client_link {
	struct net_link *net;
	struct client_call *calls;
	size_t n_calls;
	uint64_t bit;
	uint32_t revision;        /* of what the broker knows: WELCOME's */
	struct base_arena arena;  /* of the registry */
	Pirn__Registry *registry; /* as it was last pushed; NULL: not yet */
};

struct client_call {
	struct client_record record;
	struct client_call *prev, *next;
	struct client_link *link;    /* NULL: waits for a broker */
	uint64_t deadline_at, wait_until;
	uint64_t refused_by;         /* links that had no worker, or drain */
	enum _Pirn__Reason reason;   /* of the last refusal */
	unsigned n_resends, n_waits;
	bool idempotent, has_trace;
	bool event, want_result, ack_memory;
	bool in_doubt;               /* an event that left, and whose decision was not heard: it may be stored */
	bool excused;                /* its time was prolonged, because we were late ourselves */
	uint64_t number;             /* in the engine's lane */
	uint64_t delay_until_at;     /* 0: no delay */
	uint64_t not_before_ms;
	uint8_t id[16], trace[25];
	char service[CLIENT_SERVICE_MAX];
	struct base_block *key;      /* CLIENT_HASH_SIZE bytes of hash, then the key; a timer's: its name; NULL: none */
	uint32_t key_ttl_ms;
	uint64_t previous_ms, slot_ms; /* of a timer; slot 0: it is none */
	bool skip;
	struct base_block *callback; /* a URL and its NUL; NULL: none */
	struct base_block *topic;    /* type, source and subject, NUL-terminated each; NULL: it has a service */
	struct client_batch *batch;  /* NULL: it is on its own */
	uint32_t place;              /* in the batch */
	struct base_block *block;    /* NULL: no payload */
	uint32_t meta_size, data_size;
	client_reply_fn *fn;
	void *arg;
};

/* Calls with one fate. The first one is in the list, in the heap and in charge of where they go and when they
 * end; the others are records, so that answers find them. */
struct client_batch {
	client_batch_fn *fn;
	void *arg;
	size_t n, n_open;             /* open: no answer came since they were sent last */
	struct client_reply *replies; /* n, as all that follow */
	struct client_call **calls;
	bool *open;
};

struct client_query {
	struct client_record record;
	struct client_query *prev, *next;
	uint64_t awaited; /* links that have not answered */
	struct base_block *block; /* the question, when it is for one broker: NULL for all others */
	uint64_t asked;           /* links that had it, then */
	client_answer_fn *fn;
	void *arg;
};

/* One service, as all brokers see it. */
struct client_service {
	UT_hash_handle hh;
	char name[CLIENT_SERVICE_MAX];
	uint64_t links; /* that have a worker for it */
	uint64_t known; /* that know it */
	Pirn__Entry entry;
};

/* How many times as long as for any broker a call waits when one has said that it goes: it is being replaced, which
 * takes seconds where there is much to do. */
#define CLIENT_PATIENCE 5

struct client_engine {
	struct net_loop *loop;
	struct net_links *links;
	struct client_engine_conf conf;
	struct client_engine_events events;
	struct net_hook *run_hook;
	uv_timer_t *timer;
	uint64_t timer_at; /* UINT64_MAX: not armed */
	struct base_slab slab;
	struct base_pool pool;
	struct base_heap heap;
	struct base_arena arena; /* of one answer */
	uint64_t bytes;          /* of payloads that are kept */
	size_t n_calls;
	struct base_budget resends; /* of calls that may have run */
	struct client_call *waiting;
	struct client_query *queries;
	struct client_link *by_bit[CLIENT_MAX_LINKS];
	unsigned next_bit, turn;
	uint64_t taking; /* links whose brokers say that they take events */
	uint64_t lane, last_number; /* of events: numbered through all links, so that a resubmission is known by it */
	uint64_t turn_at, excused_until; /* see client_event_late */
	uint64_t left_at; /* when a broker last said that it goes; 0: none did */
	struct base_rand rand;
	struct client_clock clock;
	struct client_service *services;
	struct base_arena remembered_arena;
	Pirn__Registry *remembered; /* of the last broker, while none is there */
	bool closing;
};

/* ---- engine.c */

void client_engine_arm(struct client_engine *e);

/* ---- call.c */

void client_call_message(struct client_engine *e, struct client_link *link, const struct net_frame *f, struct base_block *block);
void client_call_link_down(struct client_engine *e, struct client_link *link);
void client_call_retry_waiting(struct client_engine *e);
uint64_t client_call_wait_until(const struct client_engine *e); /* for a broker, beginning now */
void client_call_cancel_all(struct client_engine *e);
/* To another link, or among those that wait for one. It was accepted before: it cannot be given back any more. */
void client_call_again(struct client_engine *e, struct client_call *call);
bool client_call_has_other(struct client_engine *e, const struct client_call *call); /* a link that has not refused it */
enum base_err client_call_set_due(struct client_engine *e, struct client_call *call, uint64_t due);

void client_call_fail(struct client_engine *e, struct client_call *call, enum _Pirn__Reason reason);
enum base_err client_call_check(const struct client_engine *e, const struct client_request *request);
/* A record with all that is kept of request, and in no list; NULL: memory. */
struct client_call *client_call_make(
	struct client_engine *e, const struct client_request *request, enum base_err *err);
enum base_err client_call_place(struct client_engine *e, struct client_call *call); /* it is in no list */
void client_call_unlist(struct client_engine *e, struct client_call *call);
void client_call_discard(struct client_engine *e, struct client_call *call);
void client_call_fill(const struct client_engine *e, const struct client_call *call, uint64_t now, Pirn__Item *item);
struct net_payload client_call_payload(const struct client_call *call);
struct client_reply client_call_reply(
	const struct client_call *call, const Pirn__Item *item, bool accepted); /* what the item says */

/* ---- batch.c: call is the batch's first, unless it says any */

enum base_err client_batch_send(struct client_engine *e, const struct client_call *call, struct client_link *link);
void client_batch_heard(struct client_engine *e, struct client_call *any, const Pirn__Item *item, bool accepted);
void client_batch_fail(struct client_engine *e, struct client_call *call, const struct client_reply *reply);
struct client_link *client_batch_link(const struct client_call *any); /* where it was sent */

/* ---- event.c */

void client_event_init(struct client_engine *e, struct client_call *call, const struct client_request *request);
void client_event_fill(const struct client_engine *e, const struct client_call *call, uint64_t now, Pirn__Item *item);
/* Each is true when the event goes on, to another broker or a little later; false: this is its end. */
bool client_event_refused(struct client_engine *e, struct client_call *call, enum _Pirn__Reason reason);
bool client_event_is_settled_by(enum _Pirn__Reason reason); /* whatever was sent before */
bool client_event_overdue(struct client_engine *e, struct client_call *call);
uint64_t client_event_retry_at(struct client_engine *e, struct client_call *call);
/* Once a turn: notices that this process did not run for a while. */
void client_event_late(struct client_engine *e, uint64_t now);

/* ---- query.c */

void client_query_message(struct client_engine *e, struct client_link *link, const struct net_frame *f);
/* The link will not answer; also when it refused. record is a query's. */
void client_query_done(struct client_engine *e, struct client_link *link, struct client_record *record);
void client_query_link_down(struct client_engine *e, struct client_link *link);
void client_query_end_all(struct client_engine *e);
/* A question to nobody: fn(arg, NULL) in so many ms, or when the engine ends. */
enum base_err client_query_later(struct client_engine *e, uint32_t ms, client_answer_fn *fn, void *arg);

/* ---- table.c */

void client_table_message(struct client_engine *e, struct client_link *link, const struct net_frame *f);
void client_table_link_down(struct client_engine *e, struct client_link *link);
uint64_t client_table_links(const struct client_engine *e, const char *service); /* 0: nobody that we know */
uint64_t client_table_takers(const struct client_engine *e, const char *service); /* for its events, likewise */
void client_table_free(struct client_engine *e);

#endif
