/* A ZeroMQ socket's monitor, as a callback: a connection was made (its handshake
 * is over), a connection broke, or a handshake failed. fd is the descriptor, the
 * same number that ZMQ_SRCFD gives for a message; it may have been used again
 * since. The events are told by libzmq's thread before the socket itself has seen
 * them, so what is done about one may have to be tried again a moment later.
 */
#ifndef NET_MONITOR_H
#define NET_MONITOR_H

#include "net/loop.h"

enum net_monitor_event { NET_CONNECTED, NET_DISCONNECTED, NET_HANDSHAKE_FAILED };

struct net_monitor;

typedef void net_monitor_fn(void *arg, enum net_monitor_event event, int fd);

/* Before the socket is bound or connected. */
BASE_MUSTUSE enum base_err net_monitor_new(struct net_loop *loop, void *socket, struct net_monitor **out);
void net_monitor_free(struct net_monitor **m); /* before the socket is closed; takes NULL */
/* Tells everything that has happened; fn must not free the monitor. */
void net_monitor_read(struct net_monitor *m, net_monitor_fn *fn, void *arg);

#endif
