#include "tests/fault/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINES      64
#define LINE_BYTES 65536
#define TURN_MS    5

/* One direction of a connection; n bytes wait in it. */
struct way {
	size_t n;
	uint8_t bytes[LINE_BYTES];
};

struct line {
	int fd[2];        /* who came, the target; -1: free */
	struct way to[2]; /* to[i] is on its way to fd[i] */
};

struct place {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_un un;
	};
	socklen_t size;
};

struct proxy {
	struct place target;
	int listener;
	pthread_t thread;
	atomic_int wanted, is;
	atomic_bool ends;
	atomic_uint_fast64_t taken;
	struct line *lines;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "proxy: %s: %s\n", what, strerror(errno));
	abort();
}

static struct place read_place(const char *endpoint)
{
	struct place place = { .size = 0 };
	const char *rest = strstr(endpoint, "://");
	char host[64];
	unsigned port;

	if (!rest)
		die(endpoint);
	rest += 3;
	if (rest[0] == '/') {
		place.un.sun_family = AF_UNIX;
		if (strlen(rest) >= sizeof place.un.sun_path)
			die(endpoint);
		strcpy(place.un.sun_path, rest);
		place.size = sizeof place.un;
		return place;
	}
	place.in.sin_family = AF_INET;
	if (sscanf(rest, "%63[0-9.]:%u", host, &port) != 2 ||
		inet_pton(AF_INET, host, &place.in.sin_addr) != 1)
		die(endpoint);
	place.in.sin_port = htons((uint16_t)port);
	place.size = sizeof place.in;
	return place;
}

static int new_socket(const struct place *place)
{
	int fd = socket(place->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int on = 1;

	if (fd < 0)
		die("socket");
	if (place->any.sa_family == AF_INET) {
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	}
	return fd;
}

/* ---- connections ------------------------------------------------------------------- */

/* With a reset where there is one, so that the other end sees a broken connection, not an orderly end. */
static void hang_up(struct line *line)
{
	const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	for (int i = 0; i < 2; i++) {
		if (line->fd[i] < 0)
			continue;
		(void)setsockopt(line->fd[i], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
		close(line->fd[i]);
		line->fd[i] = -1;
		line->to[i].n = 0;
	}
}

static void connect_through(struct proxy *p, int came)
{
	struct line *line = p->lines;
	int out;

	while (line < p->lines + LINES && line->fd[0] >= 0)
		line++;
	if (line == p->lines + LINES)
		die("too many connections");
	out = new_socket(&p->target);
	line->fd[0] = came;
	line->fd[1] = out;
	line->to[0].n = line->to[1].n = 0;
	if (connect(out, &p->target.any, p->target.size) != 0)
		hang_up(line);
	else if (fcntl(came, F_SETFL, O_NONBLOCK) != 0 || fcntl(out, F_SETFL, O_NONBLOCK) != 0)
		die("fcntl");
}

static void take(struct proxy *p)
{
	int came = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC);

	if (came < 0)
		return;
	atomic_fetch_add(&p->taken, 1);
	if (p->is == PROXY_CUT)
		close(came);
	else
		connect_through(p, came);
}

static bool broke(ssize_t n)
{
	return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

/* From fd[from] to the other one; false: an end is gone. */
static bool carry(struct line *line, int from)
{
	struct way *way = &line->to[!from];
	ssize_t n;

	if (way->n < LINE_BYTES) {
		n = recv(line->fd[from], way->bytes + way->n, LINE_BYTES - way->n, 0);
		if (broke(n))
			return false;
		way->n += n > 0 ? (size_t)n : 0;
	}
	if (way->n == 0)
		return true;
	n = send(line->fd[!from], way->bytes, way->n, MSG_NOSIGNAL);
	if (broke(n))
		return false;
	if (n > 0) {
		way->n -= (size_t)n;
		memmove(way->bytes, way->bytes + n, way->n);
	}
	return true;
}

static void watch_line(const struct line *line, struct pollfd *at)
{
	for (int i = 0; i < 2; i++) {
		short wants = line->to[!i].n < LINE_BYTES ? POLLIN : 0;

		if (line->to[i].n > 0)
			wants |= POLLOUT;
		at[i] = (struct pollfd){ line->fd[i], wants, 0 };
	}
}

/* False: an end is gone. */
static bool serve(const struct proxy *p, struct line *line, const struct pollfd *at)
{
	if (!at[0].revents && !at[1].revents)
		return true;
	if (!carry(line, 0))
		return false;
	return p->is == PROXY_DEAF ? !(at[1].revents & POLLHUP) : carry(line, 1);
}

static void turn(struct proxy *p)
{
	struct pollfd fds[2 * LINES + 1] = { { p->listener, POLLIN, 0 } };

	for (unsigned i = 0; i < LINES; i++) {
		watch_line(&p->lines[i], &fds[1 + 2 * i]);
		if (p->is == PROXY_FROZEN)
			fds[1 + 2 * i].fd = fds[2 + 2 * i].fd = -1;
		if (p->is == PROXY_DEAF) {
			fds[1 + 2 * i].events &= ~POLLOUT;
			fds[2 + 2 * i].events &= ~POLLIN;
		}
	}
	if (poll(fds, 2 * LINES + 1, TURN_MS) <= 0)
		return;
	for (unsigned i = 0; i < LINES; i++)
		if (!serve(p, &p->lines[i], &fds[1 + 2 * i]))
			hang_up(&p->lines[i]);
	if (fds[0].revents)
		take(p);
}

static void *run(void *arg)
{
	struct proxy *p = arg;

	while (!p->ends) {
		int mode = p->wanted;

		for (unsigned i = 0; mode == PROXY_CUT && i < LINES; i++)
			hang_up(&p->lines[i]);
		p->is = mode;
		turn(p);
	}
	for (unsigned i = 0; i < LINES; i++)
		hang_up(&p->lines[i]);
	return NULL;
}

/* ---- from outside --------------------------------------------------------------------- */

struct proxy *proxy_start(const char *listen_at, const char *target)
{
	struct proxy *p = calloc(1, sizeof *p);
	struct place place = read_place(listen_at);

	if (!p || !(p->lines = calloc(LINES, sizeof *p->lines)))
		die("memory");
	for (unsigned i = 0; i < LINES; i++)
		p->lines[i].fd[0] = p->lines[i].fd[1] = -1;
	p->target = read_place(target);
	p->listener = new_socket(&place);
	if (bind(p->listener, &place.any, place.size) != 0 || listen(p->listener, 64) != 0)
		die(listen_at);
	if (pthread_create(&p->thread, NULL, run, p) != 0)
		die("thread");
	return p;
}

void proxy_stop(struct proxy **pp)
{
	struct proxy *p = *pp;

	if (!p)
		return;
	p->ends = true;
	pthread_join(p->thread, NULL);
	close(p->listener);
	free(p->lines);
	free(p);
	*pp = NULL;
}

void proxy_set(struct proxy *p, enum proxy_mode mode)
{
	p->wanted = mode;
	while (p->is != (int)mode)
		usleep(1000);
}

uint64_t proxy_taken(struct proxy *p)
{
	return p->taken;
}
