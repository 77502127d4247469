#include "gateway/listen.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/forwarded.h"

#define BACKLOG 4096

static bool split_address(const char *address, char *host, size_t room, const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t size = colon ? (size_t)(colon - address) : 0;

	if (!colon || size >= room)
		return false;
	if (size >= 2 && address[0] == '[' && address[size - 1] == ']') {
		address++;
		size -= 2;
	}
	memcpy(host, address, size);
	host[size] = '\0';
	*port = colon + 1;
	return true;
}

static int open_socket(const struct addrinfo *ai)
{
	int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, saved;

	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	(void)close(fd);
	errno = saved;
	return -1;
}

void gw_listen_explain(char **why, const char *address, const char *what)
{
	if (asprintf(why, "cannot listen on %s: %s", address, what) < 0)
		*why = NULL;
}

enum base_err gw_listen_open(const char *address, int *out, char **why)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE },
			*found = NULL;
	char host[256];
	const char *port;
	int failed, saved;

	if (!split_address(address, host, sizeof host, &port)) {
		gw_listen_explain(why, address, "it is not HOST:PORT");
		return BASE_CONFIG;
	}
	failed = getaddrinfo(*host ? host : NULL, port, &hints, &found);
	if (failed) {
		gw_listen_explain(why, address, gai_strerror(failed));
		return BASE_CONFIG;
	}
	*out = open_socket(found);
	saved = errno;
	freeaddrinfo(found);
	if (*out >= 0)
		return BASE_OK;
	gw_listen_explain(why, address, strerror(saved));
	return base_err_from_errno(saved);
}

void gw_listen_name(int fd, const char *asked, char *out, size_t room)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t size = sizeof sa;
	uint8_t addr[GW_ADDR_SIZE];
	char text[GW_ADDR_TEXT], port[8];

	(void)snprintf(out, room, "%s", asked ? asked : "-");
	if (getsockname(fd, (struct sockaddr *)&sa, &size))
		return;
	if (sa.ss_family == AF_UNIX)
		(void)snprintf(out, room, "%s", ((struct sockaddr_un *)(void *)&sa)->sun_path);
	if (!gw_addr_of((struct sockaddr *)&sa, addr) ||
		getnameinfo(
			(struct sockaddr *)&sa, size, NULL, 0, port, sizeof port, NI_NUMERICSERV))
		return;
	gw_addr_print(addr, text);
	(void)snprintf(out, room, strchr(text, ':') ? "[%s]:%s" : "%s:%s", text, port);
}
