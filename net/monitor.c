#include "net/monitor.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "base/err.h"

#define EVENTS \
	(ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | \
		ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | \
		ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

/* libzmq tells of an event with its endpoint's name, and does not look whether there was memory for that
 * message: it writes where nothing is (4.3.4, in the thread that does its I/O, with all signals blocked). But it
 * makes messages by this function, which it calls as any other that it exports, so that the one in the program
 * comes before its own, and can give up in so many words. Calls of ours go on and see what they get. Where
 * libzmq does not come by here (linked statically, or in libpirn, whose names are its own) nothing changes. */
typedef int init_fn(zmq_msg_t *msg, size_t size);

static pthread_once_t found = PTHREAD_ONCE_INIT;
static init_fn *init_next;

static void find_next(void)
{
	*(void **)&init_next = dlsym(RTLD_NEXT, "zmq_msg_init_size");
}

static void release(void *data, void *hint)
{
	(void)hint;
	free(data);
}

/* Without libzmq's own. */
static int init_with_data(zmq_msg_t *msg, size_t size)
{
	void *data = malloc(size ? size : 1);

	if (data && zmq_msg_init_data(msg, data, size, release, NULL) == 0)
		return 0;
	free(data);
	errno = ENOMEM;
	return -1;
}

static bool is_libzmqs(const void *address)
{
	Dl_info caller, library;

	return init_next && dladdr(address, &caller) && dladdr(*(void **)&init_next, &library) &&
	       caller.dli_fbase == library.dli_fbase;
}

__attribute__((weak)) int zmq_msg_init_size(zmq_msg_t *msg, size_t size)
{
	int rc;

	(void)pthread_once(&found, find_next);
	rc = init_next ? init_next(msg, size) : init_with_data(msg, size);
	if (rc != 0 && is_libzmqs(__builtin_return_address(0)))
		base_no_memory("a message of libzmq");
	return rc;
}

struct net_monitor {
	void *watched;
	void *pair;
	struct net_wake *wake;
};

/* libzmq's thread writes the events, and would wait for us if this end's queue were bounded. */
static enum base_err connect_pair(struct net_monitor *m, void *context, const char *address)
{
	const int zero = 0;

	m->pair = zmq_socket(context, ZMQ_PAIR);
	if (!m->pair)
		return base_err_from_errno(errno);
	zmq_setsockopt(m->pair, ZMQ_LINGER, &zero, sizeof zero);
	zmq_setsockopt(m->pair, ZMQ_RCVHWM, &zero, sizeof zero);
	if (zmq_connect(m->pair, address) != 0)
		return base_err_from_errno(errno);
	return BASE_OK;
}

enum base_err net_monitor_new(struct net_loop *loop, void *socket, struct net_monitor **out)
{
	struct net_monitor *m = calloc(1, sizeof *m);
	enum base_err err = BASE_NOMEM;
	/* Never one twice: libzmq forgets a closed socket's address some time later. */
	static atomic_uint_fast64_t number;
	char address[64];

	if (!m)
		return err;
	snprintf(address, sizeof address, "inproc://pirn-monitor-%" PRIuFAST64, ++number);
	if (zmq_socket_monitor(socket, address, EVENTS) != 0) {
		err = base_err_from_errno(errno);
		free(m);
		return err;
	}
	m->watched = socket;
	err = connect_pair(m, net_loop_zmq(loop), address);
	if (!err)
		err = net_loop_wake_on(loop, m->pair, &m->wake);
	if (err) {
		net_monitor_free(&m);
		return err;
	}
	*out = m;
	return BASE_OK;
}

void net_monitor_free(struct net_monitor **mp)
{
	struct net_monitor *m = *mp;

	if (!m)
		return;
	*mp = NULL;
	net_wake_free(&m->wake);
	zmq_socket_monitor(m->watched, NULL, 0);
	if (m->pair)
		zmq_close(m->pair);
	free(m);
}

static bool next_event(struct net_monitor *m, enum net_monitor_event *event, int *fd)
{
	uint8_t record[6];
	char endpoint[1];
	uint16_t what;
	int32_t value;

	/* Frame 1: 16 bits of event, 32 of value, in this machine's order. Frame 2: an address. */
	if (zmq_recv(m->pair, record, sizeof record, ZMQ_DONTWAIT) != (int)sizeof record)
		return false;
	if (zmq_recv(m->pair, endpoint, sizeof endpoint, ZMQ_DONTWAIT) < 0)
		return false;
	memcpy(&what, record, sizeof what);
	memcpy(&value, record + sizeof what, sizeof value);
	*fd = value;
	*event = what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED ? NET_CONNECTED
		 : what == ZMQ_EVENT_DISCONNECTED      ? NET_DISCONNECTED
						       : NET_HANDSHAKE_FAILED;
	return true;
}

void net_monitor_read(struct net_monitor *m, net_monitor_fn *fn, void *arg)
{
	enum net_monitor_event event;
	int fd;

	if (!net_wake_take(m->wake))
		return;
	while (next_event(m, &event, &fd))
		fn(arg, event, fd);
}
