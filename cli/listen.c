#include "cli/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define HOST_ROOM 256

static bool split(const char *address, char host[HOST_ROOM], const char **port)
{
	const char *colon = strrchr(address, ':');
	const char *begin = address;
	const char *end = colon;

	if (!colon)
		return false;
	if (*begin == '[' && end > begin && end[-1] == ']') {
		begin++;
		end--;
	}
	if (end <= begin || end - begin >= HOST_ROOM)
		return false;
	memcpy(host, begin, (size_t)(end - begin));
	host[end - begin] = '\0';
	*port = colon + 1;
	return true;
}

static int open_one(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		info->ai_protocol);
	int on = 1;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
		return fd;
	int failure = errno;
	close(fd);
	errno = failure;
	return -1;
}

/* From here a wildcard is reached at loopback. */
static void make_reachable(struct sockaddr_storage *address)
{
	struct sockaddr_in *four = (struct sockaddr_in *)address;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;

	if (address->ss_family == AF_INET && four->sin_addr.s_addr == htonl(INADDR_ANY))
		four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (address->ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr))
		six->sin6_addr = in6addr_loopback;
}

static void describe(struct cli_fabric_listener *l)
{
	char host[80];
	char port[16];
	bool six = l->address.ss_family == AF_INET6;

	if (getnameinfo((struct sockaddr *)&l->address, sizeof l->address, host, sizeof host, port,
		    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		(void)snprintf(l->text, sizeof l->text, "%s%s%s:%s", six ? "[" : "", host,
			six ? "]" : "", port);
}

static enum base_err listen_on(
	const struct addrinfo *list, struct cli_fabric_listener *out, char *why, size_t why_room)
{
	struct cli_fabric_listener l = { .fd = -1 };
	socklen_t size = sizeof l.address;
	int failure = 0;

	for (; list && l.fd < 0; list = list->ai_next) {
		l.fd = open_one(list);
		failure = errno;
	}
	if (l.fd < 0) {
		(void)snprintf(why, why_room, "%s",
			failure == EADDRINUSE ? "the port is in use by another program"
					      : strerror(failure));
		return failure == EADDRINUSE ? BASE_EXISTS : base_err_from_errno(failure);
	}
	if (getsockname(l.fd, (struct sockaddr *)&l.address, &size) != 0) {
		(void)snprintf(why, why_room, "%s", strerror(errno));
		close(l.fd);
		return BASE_IO;
	}
	make_reachable(&l.address);
	describe(&l);
	*out = l;
	return BASE_OK;
}

enum base_err cli_listen(
	const char *address, struct cli_fabric_listener *out, char *why, size_t why_room)
{
	const struct addrinfo wish = {
		.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE
	};
	struct addrinfo *list = NULL;
	const char *port;
	char host[HOST_ROOM];
	enum base_err err;
	int rc;

	if (!split(address, host, &port)) {
		(void)snprintf(why, why_room, "expected HOST:PORT such as 127.0.0.1:8080");
		return BASE_INVALID;
	}
	rc = getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, port, &wish, &list);
	if (rc != 0) {
		(void)snprintf(why, why_room, "%s", gai_strerror(rc));
		return BASE_NOT_FOUND;
	}
	err = listen_on(list, out, why, why_room);
	freeaddrinfo(list);
	return err;
}

enum base_err cli_listen_private(
	const char *path, struct cli_fabric_listener *out, char *why, size_t why_room)
{
	struct cli_fabric_listener l = { .fd = -1 };
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	const struct addrinfo info = { .ai_family = AF_UNIX,
		.ai_socktype = SOCK_STREAM,
		.ai_addr = (struct sockaddr *)&un,
		.ai_addrlen = sizeof un };

	(void)snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
	(void)snprintf(l.path, sizeof l.path, "%s", path);
	l.fd = open_one(&info);
	if (l.fd >= 0 && chmod(path, 0600) == 0) {
		*out = l;
		return BASE_OK;
	}
	(void)snprintf(why, why_room, "%s", strerror(errno));
	if (l.fd >= 0)
		close(l.fd);
	return BASE_IO;
}
