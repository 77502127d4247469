/* One libuv loop a process, and ZeroMQ sockets in it.
 *
 * A turn has three stages, run in this order before the loop blocks:
 *
 *   READ   take everything that has arrived (ZeroMQ sockets until empty)
 *   RUN    think (HTTP requests that came, and answers; ticks)
 *   FLUSH  send one message to each destination that has something
 *
 * All stages run in a uv_prepare handle. That is where ZMQ_FD's edge trigger is
 * answered: the descriptor only wakes the loop, and ZMQ_EVENTS is looked at again
 * every turn, also after sends. A stage that could go on says so, and the loop
 * does not block but polls and comes back (so no socket starves the timers).
 *
 * Timers, signals and child processes are libuv's own; use net_loop_uv().
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"

struct net_loop;

enum net_stage { NET_READ, NET_RUN, NET_FLUSH, NET_STAGE__N };

/* Returns true when there is more to do: the loop then does not block. */
typedef bool net_stage_fn(void *arg);

struct net_hook; /* one registered function */

BASE_MUSTUSE enum base_err net_loop_new(struct net_loop **out);
/* Every handle must have been closed by its owner; closes what the loop itself made. Takes NULL. */
void net_loop_free(struct net_loop **loop);
uv_loop_t *net_loop_uv(struct net_loop *loop);
void *net_loop_zmq(struct net_loop *loop); /* the process's ZeroMQ context, made at first use: 1 I/O thread, ZMQ_BLOCKY 0 */

/* Waits until what was sent has left, as long as its sockets linger; all of them are closed. net_loop_free does so;
 * who ends the process without it must, or the last words are lost. */
void net_loop_end_zmq(struct net_loop *loop);

BASE_MUSTUSE enum base_err net_loop_hook(struct net_loop *loop, enum net_stage stage, net_stage_fn *fn, void *arg, struct net_hook **out);
void net_loop_unhook(struct net_hook **hook); /* safe inside a hook */

/* Watches a ZeroMQ socket's descriptor, only so that the loop wakes up; the owner reads in a READ hook. */
struct net_wake;
BASE_MUSTUSE enum base_err net_loop_wake_on(struct net_loop *loop, void *zmq_socket, struct net_wake **out);
void net_wake_free(struct net_wake **wake); /* before the socket is closed */

/* Whether the socket must be read this turn; asking answers until the next sign. The first turn, and one that
 * comes late, count as signs: a process that was stopped reads its inbox before it believes its timers.
 * A socket that was read until EAGAIN and not sent on since has nothing until then: looking at it all the
 * same costs three system calls a turn. */
bool net_wake_take(struct net_wake *wake);
/* There is more, or a send may have swallowed the sign: as if it had come. */
void net_wake_again(struct net_wake *wake);

/* Makes the next poll not block, from within the loop's thread. */
void net_loop_again(struct net_loop *loop);

/* The calling thread, and those that it starts from now on, never take a processor from whoever wakes
 * them (SCHED_BATCH): they wait until it sleeps, or its share is over. Our processes wake one another for
 * each batch; if each at once took the place of the one that just sent to it, batches would stay small,
 * and there would be two switches more for each, and interrupts between processors. For processes of our
 * own, at their beginning; where the system refuses, or somebody chose another way, all stays as it is. */
void net_loop_give_way(void);

/* Runs until net_loop_stop. now_ms and now_us are monotonic, read once a turn. */
void net_loop_run(struct net_loop *loop);
void net_loop_stop(struct net_loop *loop);
uint64_t net_loop_now_ms(const struct net_loop *loop);
uint64_t net_loop_now_us(const struct net_loop *loop);

/* SIGTERM and SIGINT call fn(arg, times) in the loop; times counts them. Also ignores SIGPIPE. */
typedef void net_signal_fn(void *arg, unsigned times);
BASE_MUSTUSE enum base_err net_loop_on_terminate(struct net_loop *loop, net_signal_fn *fn, void *arg);

#endif
