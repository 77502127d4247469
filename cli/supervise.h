/* What `pirn up` decides: when a child starts, when it is started again or replaced,
 * who is stopped first, who is killed, and when all is over. Pure: time and chance
 * are arguments, and what is to be done comes out as actions that the shell
 * (fabric.c) takes one by one after every input.
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
 * Places and asides. Each child has its place, and normally one process in it. A
 * gateway or worker that says that it is going to end (somebody sent it SIGTERM,
 * it found itself stuck) is moved aside, where it may finish, and its place is
 * filled at once: nobody waits for its drain. A broker cannot be: the name of its
 * socket is its own, so another one starts when it has ended. Whoever leaves with
 * a status other than 0 has failed all the same: that counts for the back-off of
 * its place. There are only so many asides; without a free one a child is started
 * again when it has ended.
 *
 * A restart replaces children one after another, brokers first, as they start.
 * The next process of a gateway or worker comes aside, while the one before goes
 * on; when it is ready they change places, and the old one is told to end. A
 * broker is told to end, and started again. The next child's turn is when the new
 * process is ready and the old one has ended. A process that ends before it is
 * ready, or is not ready in time, ends the restart: the old one of a gateway or
 * worker is still there, and what had not its turn stays as it was.
 *
 * Stopping is bounded by the drain: what is left of the gateways is killed when 5/8
 * of it are over, then workers at 6/8, brokers at 7/8, Redis at its end; so a group
 * that hangs leaves time for the others to end well. A second request to stop kills
 * everything at once. Nobody is told twice to end, since the second time means "at
 * once" to all programs of Pirn. Who leaves while all is up has its group's part of
 * the drain, too, and a little more.
 *
 * The states of what stands in a place, and of an aside; an edge that is not listed
 * is a bug:
 *
 *   IDLE ──spawn──▶ RUNNING ──died──▶ WAITING ──spawn──▶ RUNNING
 *   RUNNING ──end──▶ ENDING ──died──▶ WAITING       a broker that leaves
 *   RUNNING ──leave──▶ WAITING                      its process is aside now
 *   RUNNING, ENDING ──stop──▶ STOPPING ──died──▶ ENDED
 *   IDLE, WAITING ──stop──▶ ENDED
 *
 *   IDLE ──take──▶ LEAVING ──died──▶ IDLE           it was in a place
 *   IDLE ──come──▶ COMING ──take──▶ LEAVING         the two have changed places
 *   COMING ──stop──▶ LEAVING                        it is not needed any more
 *   COMING ──died, fill──▶ IDLE                     fill: into a place that is empty
 */
#ifndef CLI_SUPERVISE_H
#define CLI_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_CHILDREN_MAX 160
#define CLI_ASIDES_MAX 32
#define CLI_PROCESSES_MAX (CLI_CHILDREN_MAX + CLI_ASIDES_MAX)
#define CLI_HEALTHY_MS 10000u     /* that long alive: earlier deaths are forgotten */
#define CLI_VOLUNTARY_MS 1000u    /* that long alive, then exit status 0: not a failure */
#define CLI_BACKOFF_BASE_MS 1000u
#define CLI_BACKOFF_CAP_MS 30000u
#define CLI_LEAVE_MS 2000u        /* over its part of the drain: then who leaves is killed */
#define CLI_READY_MS 60000u       /* a restart: that long until a process must be ready */

enum cli_group { CLI_REDIS, CLI_BROKERS, CLI_WORKERS, CLI_GATEWAYS, CLI_GROUP__N };

#define CLI_CHILD_STATES(X) \
	X(IDLE) X(RUNNING) X(ENDING) X(WAITING) X(STOPPING) X(ENDED) X(COMING) X(LEAVING)
#define CLI_CHILD_EVENTS(X) X(SPAWN) X(DIED) X(STOP) X(END) X(LEAVE) X(TAKE) X(COME) X(FILL)
#define CLI_CHILD_EDGES(X) \
	X(IDLE, SPAWN, RUNNING) \
	X(IDLE, STOP, ENDED) \
	X(RUNNING, DIED, WAITING) \
	X(RUNNING, STOP, STOPPING) \
	X(RUNNING, END, ENDING) \
	X(RUNNING, LEAVE, WAITING) \
	X(ENDING, DIED, WAITING) \
	X(ENDING, STOP, STOPPING) \
	X(WAITING, SPAWN, RUNNING) \
	X(WAITING, STOP, ENDED) \
	X(STOPPING, DIED, ENDED) \
	X(IDLE, TAKE, LEAVING) \
	X(IDLE, COME, COMING) \
	X(COMING, TAKE, LEAVING) \
	X(COMING, STOP, LEAVING) \
	X(COMING, DIED, IDLE) \
	X(COMING, FILL, IDLE) \
	X(LEAVING, DIED, IDLE)

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

/* Children 0 to n - 1 are the places; from CLI_CHILDREN_MAX on, the asides. */
struct cli_child {
	enum cli_group group;
	unsigned index;         /* within its group, from 0 */
	enum cli_child_state state;
	unsigned failures;      /* in a row; of a place */
	uint64_t started_at;
	uint64_t due_at;        /* WAITING: when it starts again */
	uint64_t kill_at;       /* ENDING, LEAVING: the end of its patience */
	size_t place;           /* an aside's that is not IDLE: whose process it was, or will be */
	bool ready;             /* the process has said so */
	bool old;               /* it was there when its place's turn in a restart began */
	bool killed;            /* SIGKILL was sent */
};

enum cli_action_kind {
	CLI_SPAWN,    /* start child; a start that fails is a death: cli_supervise_died */
	CLI_TERM,     /* SIGTERM to child */
	CLI_KILL,     /* SIGKILL to child */
	CLI_SWAP,     /* the processes of child and other change places; one may be none */
	CLI_READY,    /* everything is up; once */
	CLI_REPLACED, /* child's turn in the restart is over */
	CLI_RESTARTED, /* the restart has ended, well */
	CLI_NOT_RESTARTED, /* it has ended because of child: see restart.failure */
	CLI_END       /* everything has ended; the last action */
};

struct cli_action {
	enum cli_action_kind kind;
	size_t child; /* but for READY, RESTARTED, END */
	size_t other; /* SWAP */
};

enum cli_failure {
	CLI_FAILURE_DIED,    /* the new process ended before it was ready */
	CLI_FAILURE_LATE,    /* it was not ready in time */
	CLI_FAILURE_STOPPED, /* everything is being stopped */
};

struct cli_restart {
	bool on;
	bool groups[CLI_GROUP__N]; /* that are to be replaced */
	size_t at;                 /* whose turn it is */
	bool begun;                /* its turn has begun */
	size_t aside;              /* where its next, or the one before, is; CLI_PROCESSES_MAX: nowhere */
	uint64_t late_at;          /* the new process must be ready until then; 0: none was started yet */
	enum cli_failure failure;  /* of the last one that did not end well */
};

struct cli_supervise {
	enum cli_phase phase;
	enum cli_group group;   /* the one that starts or stops */
	struct cli_child children[CLI_PROCESSES_MAX];
	size_t n;               /* places */
	uint64_t drain_ms;
	uint64_t stop_at;       /* when stopping began */
	bool hurry;             /* a second request came */
	bool failed;            /* a child ended before all was up */
	size_t culprit;         /* that child */
	struct cli_restart restart;
	struct cli_action actions[4 * CLI_PROCESSES_MAX];
	size_t n_actions, next_action;
	uint32_t walked[CLI_CHILD_STATE__N]; /* by state: the events (bits) that it has seen. For tests. */
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

/* A process said READY, or STOPPING. */
void cli_supervise_is_ready(struct cli_supervise *s, size_t child, uint64_t now_ms);
void cli_supervise_leaves(struct cli_supervise *s, size_t child, uint64_t now_ms, uint64_t chance);

/* Replaces the children of these groups; Redis is none of them. False, and nothing happens: not all is up, or
 * another restart goes on. */
bool cli_supervise_restart(struct cli_supervise *s, const bool groups[CLI_GROUP__N], uint64_t now_ms);

bool cli_supervise_next(struct cli_supervise *s, struct cli_action *out); /* false: none left */
uint64_t cli_supervise_due(const struct cli_supervise *s);                /* when to tick next; UINT64_MAX: never */
int cli_supervise_status(const struct cli_supervise *s);                  /* the exit status */
void cli_supervise_check(const struct cli_supervise *s);                  /* asserts the invariants */

/* The part of the drain after which a group is killed. */
uint64_t cli_supervise_share(uint64_t drain_ms, enum cli_group group);

/* How long before start number failures + 1; 0 for the first failure. */
uint64_t cli_supervise_backoff(unsigned failures, uint64_t chance);

const char *cli_group_name(enum cli_group group); /* "redis-server", "pirn-broker", … */

static inline bool cli_child_is_aside(size_t child)
{
	return child >= CLI_CHILDREN_MAX;
}

/* The child that an index means: a place's is itself. */
static inline size_t cli_child_place(const struct cli_supervise *s, size_t child)
{
	return cli_child_is_aside(child) ? s->children[child].place : child;
}

#endif
