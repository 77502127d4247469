#include "net/bind.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

#include "base/buf.h"
#include "net/resolve.h"

/* libzmq unlinks whatever socket file is in its way, a running broker's too. */
static bool is_in_use(const char *endpoint)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	bool in_use;
	int fd;

	if (strncmp(endpoint, "ipc://", 6) != 0 || strlen(endpoint + 6) >= sizeof address.sun_path)
		return false;
	strcpy(address.sun_path, endpoint + 6);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	in_use = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 || errno == EAGAIN;
	close(fd);
	if (in_use)
		errno = EADDRINUSE;
	return in_use;
}

/* libzmq takes ports above 65,535, cut to 16 bits, so the text is looked at first. */
static const char *fault_of(const char *endpoint)
{
	struct net_endpoint parsed;
	const char *why, *any = "tcp://*:";
	char text[NET_ENDPOINT_MAX];

	if (strncmp(endpoint, any, strlen(any)) == 0) {
		snprintf(text, sizeof text, "tcp://0.0.0.0:%s", endpoint + strlen(any));
		endpoint = text;
	}
	return net_endpoint_parse(endpoint, strlen(endpoint), &parsed, &why) ? why : NULL;
}

static const char *try_to_bind(void *router, const char *endpoint, enum base_err *err)
{
	const int ipv6 = strchr(endpoint, '[') != NULL;
	const char *fault = fault_of(endpoint);

	*err = BASE_CONFIG;
	if (fault)
		return fault;
	zmq_setsockopt(router, ZMQ_IPV6, &ipv6, sizeof ipv6);
	if (!is_in_use(endpoint) && zmq_bind(router, endpoint) == 0)
		return NULL;
	if (errno == ENOMEM)
		*err = BASE_NOMEM;
	if (errno != EADDRINUSE)
		return zmq_strerror(errno);
	*err = BASE_EXISTS;
	return "the address is in use";
}

static enum base_err bind_one(void *router, const char *endpoint, char **why)
{
	enum base_err err;
	const char *fault = try_to_bind(router, endpoint, &err);
	struct base_buf text;

	if (!fault)
		return BASE_OK;
	base_buf_init(&text);
	base_buf_fmt(&text, "cannot listen on %s: %s", endpoint, fault);
	*why = (char *)base_buf_take(&text);
	return err;
}

enum base_err net_bind_all(void *router, const char *endpoints, char **why)
{
	char *list = strdup(endpoints);
	enum base_err err = list ? BASE_CONFIG : BASE_NOMEM;
	char *rest = list, *one;

	while (list && (one = strsep(&rest, ","))) {
		err = bind_one(router, one, why);
		if (err)
			break;
	}
	free(list);
	return err;
}
