/* The Redis of a simulation as a process, and the connections to it: a broker's, on which
 * its core's asks go in order, and a worker's, for the operations of its runs.
 *
 * What is executed is answered when it is on disk. A crash takes back what was not, or a
 * part of it; the process is away for a while, then loading. A connection that breaks may
 * have its first requests executed all the same, even much later, and nobody is told.
 */
#ifndef TESTS_SIM_LINK_H
#define TESTS_SIM_LINK_H

#include "tests/sim/redis/redis.h"

struct sim;
struct sim_broker;
struct sim_proc;
struct sim_link;
struct sim_held;

#define SIM_COMMAND_MS 4000 /* a broker gives a connection up that does not answer for so long */

/* What a core asked and was not told yet. */
struct sim_open_ask {
	struct sim_open_ask *prev, *next;
	uint64_t ticket;
	enum brk_ask_kind kind;
	struct sim_link *link; /* NULL: it could not be sent */
};

struct sim_server {
	struct sim_redis redis;
	bool up;
	uint64_t life, loading_until, paused_until;
	uint64_t sync_ms; /* how long a write takes until it is on disk, at most */
	uint64_t skew_ms; /* its clock's */
	bool syncing;
	struct sim_held *held; /* executed, not on disk */
	unsigned errors;       /* so many asks are answered with an error that should not be */
	struct sim_link *links;
	uint64_t steps;
};

void sim_server_init(struct sim *sim);
void sim_server_fini(struct sim *sim);
uint64_t sim_server_now(const struct sim *sim); /* Redis's time */
void sim_server_crash(struct sim *sim);
void sim_server_pause(struct sim *sim, uint64_t ms);
void sim_server_fill(struct sim *sim, uint64_t ms); /* out of memory */
void sim_server_heal(struct sim *sim);

/* The broker's shell: connects for as long as the core lives. */
void sim_link_start(struct sim *sim, struct sim_broker *broker);
void sim_link_stop(struct sim *sim, struct sim_broker *broker); /* its process is gone */
void sim_link_ask(struct sim *sim, struct sim_broker *broker, const struct brk_ask *ask);
/* Both ends may live; the broker notices at once, or after a while. */
void sim_link_cut(struct sim *sim, struct sim_broker *broker, bool told);
void sim_link_clog(struct sim_broker *broker, uint64_t until_ms);

/* A worker's: op is copied. sim_run_answered comes once, unless the worker dies before. */
void sim_link_op(struct sim *sim, struct sim_proc *proc, const struct sim_op *op, uint64_t serial);
void sim_link_drop(struct sim *sim, struct sim_proc *proc); /* cut; sent operations may be late */

#endif
