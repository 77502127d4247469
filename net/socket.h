/* The options that every ROUTER and DEALER of Pirn has, in one place. */
#ifndef NET_SOCKET_H
#define NET_SOCKET_H

#include "net/loop.h"

/* How long a socket that is closed in good order may go on sending. */
#define NET_LINGER_MS 500

/* How many messages are read in one turn, so that timers and sends get theirs. */
#define NET_READ_TURN 256

/* type: ZMQ_ROUTER or ZMQ_DEALER; ipv6 lets it use such addresses. */
BASE_MUSTUSE enum base_err net_socket_new(struct net_loop *loop, int type, bool ipv6, void **out);
void net_socket_close(void **socket, int linger_ms); /* takes NULL */
/* Whether something can be read; asked after sends, which may swallow the descriptor's edge. */
bool net_socket_readable(void *socket);

#endif
