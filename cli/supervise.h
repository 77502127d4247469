/* What `pirn up` decides: when a child starts, when it is started again, who is
 * stopped first, who is killed, and when all is over. Pure: time and chance are
 * arguments, and what is to be done comes out as actions that the shell (up.c)
 * takes one by one after every input.
 *
 * Children stand in groups. They start group by group, each when the shell has
 * seen that the group before is ready (a fact: Redis answers, a socket accepts),
 * and stop in the reverse order, each group when the one before has ended:
 *
 *   start   redis → brokers → workers → gateways → UP
 *   stop    gateways → workers → brokers → redis → DONE
 *
 * A child that ends before everything was up has found something wrong (a bad
 * manifest, a Redis that refuses): all is stopped, and the exit status is 1. Later
 * a child that ends is started again: at once the first time, then after a wait
 * with full jitter, from 1 s doubling to 30 s. 10 s of life make it healthy: it
 * begins anew. One that ended by its own will (exit status 0, such as a worker
 * that saw a new service) after a second of life is no failure at all.
 *
 * Stopping is bounded by the drain: what is left of the gateways is killed when 5/8
 * of it are over, then workers at 6/8, brokers at 7/8, Redis at its end; so a group
 * that hangs leaves time for the others to end well. A second request to stop kills
 * everything at once.
 *
 * A child's states; an edge that is not listed is a bug:
 *
 *   IDLE ──spawn──▶ RUNNING ──died──▶ WAITING ──spawn──▶ RUNNING
 *   RUNNING ──stop──▶ STOPPING ──died──▶ ENDED
 *   IDLE, WAITING ──stop──▶ ENDED
 */
#ifndef CLI_SUPERVISE_H
#define CLI_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_CHILDREN_MAX 160
#define CLI_HEALTHY_MS 10000u     /* that long alive: earlier deaths are forgotten */
#define CLI_VOLUNTARY_MS 1000u    /* that long alive, then exit status 0: not a failure */
#define CLI_BACKOFF_BASE_MS 1000u
#define CLI_BACKOFF_CAP_MS 30000u

enum cli_group { CLI_REDIS, CLI_BROKERS, CLI_WORKERS, CLI_GATEWAYS, CLI_GROUP__N };

#define CLI_CHILD_STATES(X) X(IDLE) X(RUNNING) X(WAITING) X(STOPPING) X(ENDED)
#define CLI_CHILD_EVENTS(X) X(SPAWN) X(DIED) X(STOP)
#define CLI_CHILD_EDGES(X) \
	X(IDLE, SPAWN, RUNNING) \
	X(IDLE, STOP, ENDED) \
	X(RUNNING, DIED, WAITING) \
	X(RUNNING, STOP, STOPPING) \
	X(WAITING, SPAWN, RUNNING) \
	X(WAITING, STOP, ENDED) \
	X(STOPPING, DIED, ENDED)

enum cli_child_state {
	CLI_CHILD_ILLEGAL,
#define X(name) CLI_CHILD_##name,
	CLI_CHILD_STATES(X)
#undef X
	CLI_CHILD_STATE__N
};

enum cli_child_event {
#define X(name) CLI_CHILD_EV_##name,
	CLI_CHILD_EVENTS(X)
#undef X
	CLI_CHILD_EV__N
};

enum cli_phase { CLI_STARTING, CLI_UP, CLI_STOPPING, CLI_DONE };

struct cli_child {
	enum cli_group group;
	unsigned index;         /* within its group, from 0 */
	enum cli_child_state state;
	unsigned failures;      /* in a row */
	uint64_t started_at;
	uint64_t due_at;        /* WAITING: when it starts again */
	bool killed;            /* SIGKILL was sent */
};

enum cli_action_kind {
	CLI_SPAWN,  /* start child; a start that fails is a death: cli_supervise_died */
	CLI_TERM,   /* SIGTERM to child */
	CLI_KILL,   /* SIGKILL to child */
	CLI_READY,  /* everything is up; once */
	CLI_END     /* everything has ended; the last action */
};

struct cli_action {
	enum cli_action_kind kind;
	size_t child; /* SPAWN, TERM, KILL */
};

struct cli_supervise {
	enum cli_phase phase;
	enum cli_group group;   /* the one that starts or stops */
	struct cli_child children[CLI_CHILDREN_MAX];
	size_t n;
	uint64_t drain_ms;
	uint64_t stop_at;       /* when stopping began */
	bool hurry;             /* a second request came */
	bool failed;            /* a child ended before all was up */
	size_t culprit;         /* that child */
	struct cli_action actions[2 * CLI_CHILDREN_MAX + 2];
	size_t n_actions, next_action;
};

/* counts: children of each group, 0 allowed (a Redis of somebody else's); CLI_CHILDREN_MAX at most in all. */
void cli_supervise_init(struct cli_supervise *s, const unsigned counts[CLI_GROUP__N], uint64_t drain_ms);

/* Inputs. After each the shell takes all actions with cli_supervise_next. */
void cli_supervise_start(struct cli_supervise *s, uint64_t now_ms);
void cli_supervise_ready(struct cli_supervise *s, enum cli_group group, uint64_t now_ms); /* ignored unless that group is starting */
void cli_supervise_died(struct cli_supervise *s, size_t child, bool voluntary, uint64_t now_ms, uint64_t chance);
void cli_supervise_stop(struct cli_supervise *s, uint64_t now_ms); /* again: in a hurry */
void cli_supervise_fail(struct cli_supervise *s, uint64_t now_ms); /* stop, and exit with 1 */
void cli_supervise_tick(struct cli_supervise *s, uint64_t now_ms);

bool cli_supervise_next(struct cli_supervise *s, struct cli_action *out); /* false: none left */
uint64_t cli_supervise_due(const struct cli_supervise *s);                /* when to tick next; UINT64_MAX: never */
int cli_supervise_status(const struct cli_supervise *s);                  /* the exit status */
void cli_supervise_check(const struct cli_supervise *s);                  /* asserts the invariants */

/* The part of the drain after which a group is killed. */
uint64_t cli_supervise_share(uint64_t drain_ms, enum cli_group group);

/* How long before start number failures + 1; 0 for the first failure. */
uint64_t cli_supervise_backoff(unsigned failures, uint64_t chance);

const char *cli_group_name(enum cli_group group); /* "redis-server", "pirn-broker", … */

#endif
