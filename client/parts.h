/* What the engine's files share: engine (the seam, links and time), call (a
 * call's life), table (who has workers for what), query.
 *
 * A record of the slab is a call or a question; both have a slot and a generation
 * that travel, and a time at which they end. A call is in exactly one list: of the
 * link it was sent to, or of those that wait for a broker.
 */
#ifndef CLIENT_PARTS_H
#define CLIENT_PARTS_H

#include "base/heap.h"
#include "base/rand.h"
#include "base/slab.h"
#include "client/engine.h"
#include "net/hash.h"

#define CLIENT_MAX_LINKS   64 /* bits of a mask; brokers beyond it are not used */
#define CLIENT_SERVICE_MAX 64 /* with the NUL */
#define CLIENT_MAX_RESENDS 2

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
	unsigned n_resends;
	bool idempotent, has_trace;
	uint8_t id[16], trace[25];
	char service[CLIENT_SERVICE_MAX];
	struct base_block *block;    /* NULL: no payload */
	uint32_t meta_size, data_size;
	client_reply_fn *fn;
	void *arg;
};

struct client_query {
	struct client_record record;
	struct client_query *prev, *next;
	uint64_t awaited; /* links that have not answered */
	client_answer_fn *fn;
	void *arg;
};

/* One service, as all brokers see it. */
struct client_service {
	UT_hash_handle hh;
	char name[CLIENT_SERVICE_MAX];
	uint64_t links; /* that have a worker for it */
	Pirn__Entry entry;
};

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
	struct client_call *waiting;
	struct client_query *queries;
	struct client_link *by_bit[CLIENT_MAX_LINKS];
	unsigned next_bit, turn;
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
void client_call_cancel_all(struct client_engine *e);

/* ---- query.c */

void client_query_message(struct client_engine *e, struct client_link *link, const struct net_frame *f);
/* The link will not answer; also when it refused. record is a query's. */
void client_query_done(struct client_engine *e, struct client_link *link, struct client_record *record);
void client_query_link_down(struct client_engine *e, struct client_link *link);
void client_query_end_all(struct client_engine *e);

/* ---- table.c */

void client_table_message(struct client_engine *e, struct client_link *link, const struct net_frame *f);
void client_table_link_down(struct client_engine *e, struct client_link *link);
uint64_t client_table_links(const struct client_engine *e, const char *service); /* 0: nobody that we know */
void client_table_free(struct client_engine *e);

#endif
