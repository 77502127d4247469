/* Binding a ROUTER to a list of endpoints, with what libzmq does not check. */
#ifndef NET_BIND_H
#define NET_BIND_H

#include "base/err.h"

/* endpoints as in net_router_new; a host of * is any address. EXISTS: one is in use; CONFIG: one cannot
 * work. Then *why is a heap sentence that names it (NULL when memory is out). */
BASE_MUSTUSE enum base_err net_bind_all(void *zmq_socket, const char *endpoints, char **why);

#endif
