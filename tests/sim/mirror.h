/* What a broker's core has in hand, as it shows from outside: its open calls, its runs, its
 * breakers, who is ejected, who waits for how long. Written against the headers (breaker.h,
 * eject.h, overload.h, again.h) and not against the code behind them, from what goes into the
 * core and what comes out of it, action by action; the rules of those headers are checked on
 * it. That it is the true picture is checked after every input: it must count as many calls
 * that wait and that run as the core does.
 *
 * mirror.c follows calls and runs; guard.c has breakers and ejections; flow.c has queues,
 * controlled delay and retries.
 */
#ifndef TESTS_SIM_MIRROR_H
#define TESTS_SIM_MIRROR_H

#include <uthash.h>

#include "base/breaker.h"
#include "tests/sim/sim.h"

#define MIRROR_TAGS 4
#define MIRROR_MAX_RUNS 3u /* most of a call that may run again */

enum mirror_state {
	MIRROR_NEW,    /* submitted by this input */
	MIRROR_CLAIMS, /* asks Redis for its key */
	MIRROR_WAITS,
	MIRROR_RUNS,
	MIRROR_PENDING, /* its run ended in this input; what follows is not known yet */
	MIRROR_SENDS,   /* its run went well, and what it sends is on the way to Redis */
	MIRROR_ANSWERS, /* asks Redis to keep its answer */
};

/* How its last run ended. */
enum mirror_end { MIRROR_UNRUN, MIRROR_ANSWERED, MIRROR_LOST, MIRROR_LATE };

struct mirror_name {
	const struct sim_conn *conn;
	uint32_t slot, generation;
};

struct mirror_call {
	UT_hash_handle hh;
	struct mirror_name name;
	enum mirror_state state;
	int service; /* -1: a liar's */
	bool idempotent, honest, keyed;
	unsigned copies, n_tags;    /* NEW: items of that name in the message */
	uint32_t tags[MIRROR_TAGS]; /* a liar's payloads */
	uint32_t key;               /* keyed: which */
	uint64_t ticket;            /* CLAIMS: of the question */
	uint32_t first, key_run;    /* keyed: whose id it runs under, and its run of it; 0: none yet */
	uint64_t deadline_ms, size, seq;
	uint64_t queued_ms; /* WAITS: since when … */
	uint64_t clock_ms;  /* … and since when without a reason why it may */
	uint64_t target_ms, patience_ms; /* the largest that held meanwhile */
	bool returned;      /* WAITS: from a worker, at the head */
	unsigned runs;
	enum mirror_end end; /* PENDING */
	bool worth_it;       /* ANSWERED, in a way that another run may mend */
	const struct sim_conn *shunned;
	uint32_t shunned_peer;
};

struct mirror_run {
	UT_hash_handle hh;
	struct {
		uint32_t slot, generation;
	} name;
	struct sim_conn *conn;
	struct mirror_call *call; /* NULL: an event's */
	int service;
	uint32_t event, attempt; /* event UINT32_MAX: it is none, or a liar's */
	uint32_t pass; /* the breaker's generation */
	uint64_t seq, began_ms, deadline_ms;
};

struct mirror_verdict {
	uint64_t at_ms;
	bool ok;
};

struct mirror_guard {
	enum base_breaker_state state;
	uint32_t force, generation, in_row;
	uint32_t openings_least, openings_most; /* another broker's may have been taken over */
	uint64_t until_least, until_most;
	struct mirror_verdict *window;
	size_t n_window, window_room;
	unsigned expected;            /* changes of state that have not been told yet, a bit each */
	bool to_publish;              /* an opening, or what was forced */
	bool to_force, to_adopt;      /* what another broker noted is news in this input */
	uint64_t force_ms, opened_ms; /* the latest that was heard or said */
};

struct mirror_flow {
	uint64_t run_us;
	uint64_t milli_budget;
	uint64_t witness_ms; /* when it was last seen that calls had waited for an interval */
	uint64_t since_ms;   /* when the queue was empty, or quick */
	uint64_t shed_ms;    /* when a call was last given up for its delay */
	uint64_t interval_most; /* the largest lately, in this span or the one before */
	uint64_t interval_now, interval_before, interval_ms;
	bool surely_on;
	bool came; /* by this input, and waits */
	bool workers; /* has some, as of the last input */
};

enum sim_input {
	SIM_IN_OTHER,
	SIM_IN_MESSAGE,
	SIM_IN_GONE,
	SIM_IN_TICK,
	SIM_IN_ENTRY,
	SIM_IN_TOLD,
	SIM_IN_END
};

struct sim_cause {
	enum sim_input kind;
	struct sim_conn *conn;
	const struct sim_message *m;
	const Pirn__Entry *entry;
	const struct brk_told *told;
};

struct sim_mirror {
	struct sim_cause cause;
	struct mirror_call *calls;
	struct mirror_run *runs;
	uint64_t seq;
	uint64_t late_ms; /* when the broker last did not run */
	uint64_t last_ms, due_ms, woke_ms; /* its last input, its wish then, when it last came too late */
	bool known[SIM_SERVICES];
	bool announced[SIM_SERVICES]; /* more than its name is known: its settings, too */
	struct sim_member welcome; /* what the HELLO of this input says */
	struct mirror_guard guards[SIM_SERVICES];
	struct mirror_flow flows[SIM_SERVICES];
	int set_service; /* the cause is a BREAKER_SET; -1: it is not */
	uint32_t set_force;
};

/* ---- mirror.c */
void sim_mirror_start(struct sim *sim, struct sim_broker *broker);
void sim_mirror_stop(struct sim_broker *broker);
void sim_mirror_before(struct sim *sim, struct sim_broker *broker, const struct sim_cause *cause);
void sim_mirror_action(struct sim *sim, struct sim_broker *broker, struct sim_conn *conn,
	const struct brk_action *a);
void sim_mirror_after(struct sim *sim, struct sim_broker *broker);
bool sim_mirror_fans(const struct sim_broker *broker); /* it knows all who subscribe */
bool sim_mirror_is_calm(const struct sim *sim); /* all breakers are closed, nobody is out */

/* ---- guard.c */
void mirror_guard_init(struct mirror_guard *g);
bool mirror_is_open(const struct mirror_guard *g);
/* The end of a run: the worker's matter, then the breaker's. */
void mirror_guard_ran(struct sim *sim, struct sim_broker *broker, const struct mirror_run *run,
	enum base_breaker_end end);
enum base_breaker_end mirror_verdict(
	const struct sim *sim, const struct mirror_run *run, uint32_t reason, uint32_t status);
/* It failed for want of Redis. */
bool mirror_is_dry(const Pirn__Item *result, uint32_t reason);
void mirror_guard_dry(struct sim *sim, struct sim_broker *broker, const struct mirror_run *run);
bool mirror_is_late(const struct sim *sim, const struct mirror_run *run);
void mirror_guard_dispatch(struct sim *sim, struct sim_broker *broker, struct mirror_run *run);
void mirror_guard_refused(struct sim *sim, struct sim_broker *broker, int service,
	const Pirn__Item *item, unsigned waiting);
void mirror_guard_log(struct sim *sim, struct sim_broker *broker, const struct brk_action *a);
void mirror_guard_kept(struct sim *sim, struct sim_broker *broker, const Pirn__Entry *entry);
void mirror_guard_entry(struct sim *sim, struct sim_broker *broker, const Pirn__Entry *entry);
void mirror_guard_forced(struct sim *sim, struct sim_broker *broker, int service, uint32_t force);
void mirror_guard_after(struct sim *sim, struct sim_broker *broker);
void mirror_guard_answer(struct sim *sim, struct sim_broker *broker, const struct brk_action *a);

/* ---- flow.c */
void mirror_flow_init(struct sim *sim, struct mirror_flow *f);
void mirror_flow_ran(struct sim *sim, struct sim_broker *broker, const struct mirror_run *run);
void mirror_flow_took(struct sim *sim, struct sim_broker *broker, const struct mirror_call *call);
void mirror_flow_waits(struct sim *sim, struct sim_broker *broker, struct mirror_call *call);
/* Before it leaves the queue. */
void mirror_flow_dispatch(struct sim *sim, struct sim_broker *broker, struct mirror_call *call,
	const struct sim_conn *conn);
void mirror_flow_again(struct sim *sim, struct sim_broker *broker, struct mirror_call *call);
void mirror_flow_given_up(struct sim *sim, struct sim_broker *broker, struct mirror_call *call);
void mirror_flow_refused(struct sim *sim, struct sim_broker *broker, const struct mirror_call *call,
	const Pirn__Item *item, unsigned waiting, uint64_t bytes);
void mirror_flow_after(struct sim *sim, struct sim_broker *broker);

#endif
