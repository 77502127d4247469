#include "net/socket.h"

#include <errno.h>
#include <zmq.h>

#include "net/frame.h"

#define QUEUE_MESSAGES \
	1000 /* batches, each way and peer; credit and the outbox bound what is in them */
#define HANDSHAKE_MS 5000

struct option {
	int name;
	int value;
};

/* Beats find a peer that hangs; heartbeats and keep-alive clear away connections whose other
 * machine is gone, so that their descriptors do not pile up. */
static const struct option common[] = {
	{ ZMQ_LINGER, 0 },
	{ ZMQ_SNDHWM, QUEUE_MESSAGES },
	{ ZMQ_RCVHWM, QUEUE_MESSAGES },
	{ ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS },
	{ ZMQ_HEARTBEAT_IVL, 5000 },
	{ ZMQ_HEARTBEAT_TIMEOUT, 15000 },
	{ ZMQ_TCP_KEEPALIVE, 1 },
	{ ZMQ_TCP_KEEPALIVE_IDLE, 30 },
	{ ZMQ_TCP_KEEPALIVE_INTVL, 10 },
	{ ZMQ_TCP_KEEPALIVE_CNT, 3 },
};

/* It tries again by itself until it has its first connection. Not ZMQ_IMMEDIATE: with that, libzmq
 * throws away what has arrived and was not yet read when a connection ends, and a broker's last
 * answers and its BYE come right before its end. What it queues in our place is no more than what
 * the link says between a connection's end and its being noticed; a broker that gets such a thing
 * on a next connection does not know its sender. */
static const struct option dealer[] = {
	{ ZMQ_RECONNECT_IVL, 50 },
	{ ZMQ_RECONNECT_IVL_MAX, 1000 },
	{ ZMQ_CONNECT_TIMEOUT, HANDSHAKE_MS },
};

static const struct option router[] = {
	{ ZMQ_ROUTER_MANDATORY, 1 },
	{ ZMQ_BACKLOG, 1024 },
};

static bool set_all(void *socket, const struct option *options, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (zmq_setsockopt(socket, options[i].name, &options[i].value, sizeof(int)) != 0)
			return false;
	return true;
}

#define SET_ALL(socket, options) set_all((socket), (options), sizeof(options) / sizeof *(options))

enum base_err net_socket_new(struct net_loop *loop, int type, bool ipv6, void **out)
{
	void *context = net_loop_zmq(loop);
	void *socket = context ? zmq_socket(context, type) : NULL;
	const int64_t max_bytes = NET_MAX_ITEM;
	const int on = 1;
	bool done;

	if (!socket)
		return base_err_from_errno(errno);
	done = SET_ALL(socket, common) &&
	       zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &max_bytes, sizeof max_bytes) == 0;
	done = done && (type == ZMQ_DEALER ? SET_ALL(socket, dealer) : SET_ALL(socket, router));
	done = done && (!ipv6 || zmq_setsockopt(socket, ZMQ_IPV6, &on, sizeof on) == 0);
	if (!done) {
		enum base_err err = base_err_from_errno(errno);
		zmq_close(socket);
		return err;
	}
	*out = socket;
	return BASE_OK;
}

void net_socket_close(void **socket, int linger_ms)
{
	if (!*socket)
		return;
	zmq_setsockopt(*socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
	zmq_close(*socket);
	*socket = NULL;
}

bool net_socket_readable(void *socket)
{
	int events = 0;
	size_t size = sizeof events;

	return zmq_getsockopt(socket, ZMQ_EVENTS, &events, &size) == 0 && (events & ZMQ_POLLIN);
}
