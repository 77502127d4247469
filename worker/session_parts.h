/* The session from within: what session.c (links, messages, turns), session_runs.c (a
 * run's life) and session_late.c (deadlines, and what is stuck) share.
 */
#ifndef WRK_SESSION_PARTS_H
#define WRK_SESSION_PARTS_H

#include "worker/session.h"

struct wrk_broker {
	struct net_link *link; /* NULL: free */
	uint32_t epoch;
	bool drained; /* it answered our DRAIN, or never had credit */
	bool deaf;    /* it is older than pirn_emit, and would drop what runs send */
};

struct wrk_session {
	struct wrk_session_conf conf;
	struct net_links *links;
	struct net_hook *hook;
	uv_timer_t watch, clock; /* looks after the executor; deadlines */
	bool watch_runs;
	int closing;            /* of the two, at the end */
	struct base_heap deadlines; /* of the runs */
	uint64_t clock_at_us;   /* what the clock is set to */
	bool clock_rang;        /* in this turn */
	uint64_t threads_stuck_at_us, alone_stuck_at_us; /* 0: they are not */
	bool stuck;             /* was told */
	struct wrk_broker brokers[WRK_CREDIT_LINKS];
	struct wrk_service *services;
	Pirn__Manifest **manifests; /* what HELLO carries */
	size_t n_manifests;
	struct wrk_run *runs;      /* under way */
	struct wrk_run *free_runs; /* by next */
	size_t n_free_runs;
	uint32_t started;      /* runs that the executor has, all services' */
	struct wrk_run *alone; /* the one among them that no other may run beside; NULL: none */
	struct wrk_run *gate;  /* waits to be it; NULL: none does */
	struct wrk_service *due; /* whose credit has to be told */
	bool ready, draining, cut, drained;
	struct wrk_session_figures figures;
};

/* That name's service, or NULL. UNTRUSTED; may be NULL. */
struct wrk_service *wrk_session_find(struct wrk_session *s, const char *name);

/* Whether the broker that sent the run is still there to hear of it. */
bool wrk_session_wants(const struct wrk_session *s, const struct wrk_run *run);

/* A DISPATCH: its items become runs, or are answered. */
void wrk_session_dispatch(struct wrk_session *s, uint32_t broker, const struct net_frame *frame);

/* What waited to be alone starts when it may. Once a turn. */
void wrk_session_open_gate(struct wrk_session *s);

/* The executor is done with a run: its result leaves. */
void wrk_session_done(struct wrk_session *s, struct wrk_run *run);

/* Ends a run that has not started; false: it has, and will end by itself. */
bool wrk_session_withdraw(
	struct wrk_session *s, struct wrk_run *run, uint32_t status, uint32_t reason);

/* Ends what has started, if its kind lets itself be ended. It comes back by itself. */
void wrk_session_stop(struct wrk_session *s, struct wrk_run *run);

/* What is over is over: answers what has not started, gives up what has. Once a turn; looks only when
 * the clock rang. */
void wrk_session_look_late(struct wrk_session *s);
/* Somebody's deadline may be the first one now. Once a turn. */
void wrk_session_set_clock(struct wrk_session *s);
/* A given-up run came to its end after all. */
void wrk_session_returned(struct wrk_session *s, struct wrk_run *run);
/* Sends what stands for the run's answer, which is its thread's own still. */
void wrk_session_send_instead(
	struct wrk_session *s, const struct wrk_run *run, const struct wrk_run *answer);
/* How many runs at once each service may have now. */
void wrk_session_share_threads(struct wrk_session *s);

/* The broker is gone: nobody waits for what it sent, and what has not started will not. */
void wrk_session_forget(struct wrk_session *s, uint32_t broker, uint32_t epoch);

/* The service's credit changed: it is told at the end of the turn. */
void wrk_session_credit_due(struct wrk_session *s, struct wrk_service *service);
void wrk_session_tell_credits(struct wrk_session *s);

void wrk_session_free_runs(struct wrk_session *s);

#endif
