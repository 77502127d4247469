#include "net/notify.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_US 200000 /* a supervisor that reads nothing must not stop us */

/* UNTRUSTED: whoever started us wrote it. False: it names no socket. */
static bool read_address(const char *text, struct sockaddr_un *out, socklen_t *size)
{
	size_t length = text ? strlen(text) : 0;

	if (length < 2 || length >= sizeof out->sun_path || (text[0] != '/' && text[0] != '@'))
		return false;
	*out = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(out->sun_path, text, length);
	*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
	if (text[0] == '@')
		out->sun_path[0] = '\0';
	return true;
}

/* The kernel adds who we are, when the other side has asked for it. */
static void say(const char *word)
{
	const struct timeval patience = { .tv_usec = PATIENCE_US };
	struct sockaddr_un to;
	socklen_t size;
	int fd;

	if (!read_address(getenv(NET_NOTIFY_VARIABLE), &to, &size))
		return;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	(void)!sendto(fd, word, strlen(word), MSG_NOSIGNAL, (const struct sockaddr *)&to, size);
	close(fd);
}

void net_notify_ready(void)
{
	say("READY=1");
}

void net_notify_stopping(void)
{
	say("STOPPING=1");
}
