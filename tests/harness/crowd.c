#include "tests/harness/crowd.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TICK_MS     5
#define OPEN_A_TICK 64 /* so that the listener's backlog is not what is tested */
#define EVENTS      512
#define PIPELINED   40 /* one large answer may fit into the sockets' buffers */
#define MARK        "HTTP/1.1 "
#define MARK_SIZE   (sizeof MARK - 1)

struct member {
	int fd; /* -1: not connected */
	enum crowd_kind kind;
	bool settled;
	bool told;                /* some status */
	uint64_t due_ms;          /* the next byte; when closed: the next try */
	size_t sent;              /* bytes of it all */
	char tail[MARK_SIZE + 2]; /* of what was read: a status line may come in pieces */
	size_t n_tail;
};

struct crowd {
	struct crowd_conf conf;
	struct sockaddr_in address;
	struct member *members;
	size_t n_members;
	int epoll_fd;
	char *noise;     /* what is sent where it does not matter */
	char head[4096]; /* what the one at hand sends first */
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	struct crowd_counts counts[CROWD__N];
	bool dismissed[CROWD__N];
	bool stop;
};

#define NOISE_SIZE 16384u

static const char *const names[] = {
#define X(name, text) text,
	CROWD_KINDS(X)
#undef X
};

const char *crowd_name(enum crowd_kind kind)
{
	return names[kind];
}

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "crowd: %s (%s)\n", what, strerror(errno));
	abort();
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

size_t crowd_room(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur > 256 ? (size_t)limit.rlim_cur - 256 : 0;
}

/* ---- what each kind sends ------------------------------------------------------------ */

static struct crowd_counts *counts_of(struct crowd *c, const struct member *m)
{
	return &c->counts[m->kind];
}

/* Sends what still fits of a text that begins at the member's byte `from`; true: all of it is away. */
static bool send_text(struct member *m, const char *text, size_t size, size_t from)
{
	while (m->sent >= from && m->sent < from + size) {
		ssize_t n = send(m->fd, text + (m->sent - from), size - (m->sent - from),
			MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		m->sent += (size_t)n;
	}
	return true;
}

/* As much as the socket takes, without an end; not more than some at once, for the others' sake. */
static void send_noise(struct crowd *c, struct member *m, const char *text, size_t size)
{
	for (unsigned i = 0; i < 16; i++) {
		ssize_t n = send(m->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0)
			m->sent += (size_t)n;
		if (n < (ssize_t)size)
			break;
	}
	(void)c;
}

static size_t write_head(struct crowd *c, const struct member *m)
{
	const char *target = c->conf.target ? c->conf.target : "/hello";
	const char *large = c->conf.large ? c->conf.large : target;
	const char *post = c->conf.post ? c->conf.post : "/v1/invoke/hello";
	unsigned long body = c->conf.body ? c->conf.body : 1024ul * 1024;
	int n = 0;

	switch (m->kind) {
	case CROWD_IDLE:
		n = snprintf(c->head, sizeof c->head, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
		break;
	case CROWD_GARBAGE:
		n = snprintf(c->head, sizeof c->head,
			"GET %s HTTP/1.1\r\nHost: x\r\n\r\n\x16\x03\x01 is not : a\r\nrequest\r\n\r\n",
			target);
		break;
	case CROWD_UNREAD:
		for (unsigned i = 0; i < PIPELINED; i++)
			n += snprintf(c->head + n, sizeof c->head - (size_t)n,
				"GET %s HTTP/1.1\r\nHost: x\r\n\r\n", large);
		break;
	case CROWD_SLOW_HEAD:
	case CROWD_HUGE_HEAD:
		n = snprintf(c->head, sizeof c->head, "GET %s HTTP/1.1\r\nHost: x\r\nX: ", target);
		break;
	case CROWD_SLOW_BODY:
	case CROWD_STALLED:
	case CROWD_RESET:
		n = snprintf(c->head, sizeof c->head,
			"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %lu\r\n\r\n", post, body);
		break;
	case CROWD_ENDLESS:
		n = snprintf(c->head, sizeof c->head,
			"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
			"40000000\r\n",
			post);
		break;
	case CROWD_LARGE:
		n = snprintf(c->head, sizeof c->head,
			"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1073741824\r\n\r\n", post);
		break;
	default:
		break;
	}
	return (size_t)n;
}

static void end(struct crowd *c, struct member *m)
{
	struct crowd_counts *counts = counts_of(c, m);

	(void)close(m->fd);
	m->fd = -1;
	counts->open--;
	counts->ended++;
	counts->mute += !m->told;
	if (m->settled)
		counts->settled--;
	m->due_ms = now_ms() + (c->conf.again_ms ? c->conf.again_ms : 100);
}

static void settle(struct crowd *c, struct member *m)
{
	if (m->settled)
		return;
	m->settled = true;
	counts_of(c, m)->settled++;
}

/* A reset instead of an end. */
static void reset(struct crowd *c, struct member *m)
{
	struct linger hard = { .l_onoff = 1 };

	(void)setsockopt(m->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	settle(c, m);
	m->told = true; /* it does not wait for one */
	end(c, m);
}

/* What a member does when its socket can be written, or its time has come. */
static void act(struct crowd *c, struct member *m)
{
	size_t head = write_head(c, m);
	size_t body = c->conf.body ? c->conf.body : 1024ul * 1024;

	if (m->fd < 0 || !send_text(m, c->head, head, 0))
		return;
	switch (m->kind) {
	case CROWD_SILENT:
	case CROWD_UNREAD:
		settle(c, m);
		break;
	case CROWD_SLOW_HEAD:
	case CROWD_SLOW_BODY:
		settle(c, m);
		if (now_ms() < m->due_ms)
			break;
		if (send(m->fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
			m->sent++;
		m->due_ms = now_ms() + (c->conf.byte_ms ? c->conf.byte_ms : 1000);
		break;
	case CROWD_STALLED:
		while (m->sent < head + body - 1) {
			size_t left = head + body - 1 - m->sent;
			ssize_t n = send(m->fd, c->noise, left < NOISE_SIZE ? left : NOISE_SIZE,
				MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n <= 0)
				return;
			m->sent += (size_t)n;
		}
		settle(c, m);
		break;
	case CROWD_RESET:
		send_noise(c, m, c->noise, 1000);
		reset(c, m);
		break;
	case CROWD_ENDLESS:
	case CROWD_LARGE:
	case CROWD_HUGE_HEAD:
		settle(c, m);
		send_noise(c, m, c->noise, NOISE_SIZE);
		break;
	default:
		break;
	}
}

/* ---- what is said to them --------------------------------------------------------------- */

static void note_status(struct crowd *c, struct member *m, const char *digits)
{
	unsigned status = (unsigned)(digits[0] - '0') * 100 + (unsigned)(digits[1] - '0') * 10 +
			  (unsigned)(digits[2] - '0');

	m->told = true;
	if (status < 600)
		counts_of(c, m)->status[status]++;
	if (m->kind == CROWD_IDLE || m->kind == CROWD_GARBAGE)
		settle(c, m);
}

static void take(struct crowd *c, struct member *m, const char *data, size_t size)
{
	char room[sizeof m->tail + 65536];
	const char *at = room, *found;
	size_t n = m->n_tail + size;

	memcpy(room, m->tail, m->n_tail);
	memcpy(room + m->n_tail, data, size);
	while ((found = memmem(at, n - (size_t)(at - room), MARK, MARK_SIZE)) &&
		(size_t)(found - room) + MARK_SIZE + 3 <= n) {
		note_status(c, m, found + MARK_SIZE);
		at = found + MARK_SIZE + 3;
	}
	n -= (size_t)(at - room);
	m->n_tail = n < sizeof m->tail ? n : sizeof m->tail;
	memcpy(m->tail, at + n - m->n_tail, m->n_tail);
}

/* False: the server has closed it. */
static bool hear(struct crowd *c, struct member *m)
{
	char data[65536];

	for (;;) {
		ssize_t n = recv(m->fd, data, sizeof data, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n <= 0)
			return false;
		take(c, m, data, (size_t)n);
	}
}

/* The server hangs up on one that does not read: what it was told lies unread before the end. */
static bool is_over(struct crowd *c, struct member *m, uint32_t events)
{
	if (m->kind != CROWD_UNREAD)
		return !hear(c, m);
	if (!(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
		return false;
	(void)hear(c, m);
	return true;
}

/* ---- connections -------------------------------------------------------------------------- */

static void connect_one(struct crowd *c, struct member *m)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.ptr = m };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int small = 4096;

	m->due_ms = now_ms() + (c->conf.again_ms ? c->conf.again_ms : 100);
	if (fd >= 0 && m->kind == CROWD_UNREAD)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
	if (fd < 0 ||
		(connect(fd, (const struct sockaddr *)&c->address, sizeof c->address) != 0 &&
			errno != EINPROGRESS) ||
		epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
		counts_of(c, m)->failed++;
		if (fd >= 0)
			(void)close(fd);
		return;
	}
	*m = (struct member){ .fd = fd, .kind = m->kind, .due_ms = m->due_ms };
	counts_of(c, m)->opened++;
	counts_of(c, m)->open++;
}

static bool needs_time(const struct member *m)
{
	return m->kind == CROWD_SLOW_HEAD || m->kind == CROWD_SLOW_BODY ||
	       m->kind == CROWD_ENDLESS || m->kind == CROWD_LARGE || m->kind == CROWD_HUGE_HEAD;
}

static void tick(struct crowd *c)
{
	uint64_t now = now_ms();
	unsigned opened = 0;

	for (size_t i = 0; i < c->n_members; i++) {
		struct member *m = &c->members[i];
		if (m->due_ms > now)
			continue;
		if (m->fd >= 0 && needs_time(m))
			act(c, m);
		else if (m->fd < 0 && !c->dismissed[m->kind] && opened++ < OPEN_A_TICK)
			connect_one(c, m);
	}
}

static void *run(void *arg)
{
	struct crowd *c = arg;
	uint64_t next = 0;

	for (;;) {
		struct epoll_event events[EVENTS];
		int n = epoll_wait(c->epoll_fd, events, EVENTS, TICK_MS);

		pthread_mutex_lock(&c->lock);
		for (int i = 0; i < n; i++) {
			struct member *m = events[i].data.ptr;
			if (m->fd >= 0 && (events[i].events & ~(uint32_t)EPOLLOUT) &&
				is_over(c, m, events[i].events))
				end(c, m);
			else if (events[i].events & EPOLLOUT)
				act(c, m);
		}
		if (now_ms() >= next) {
			tick(c);
			next = now_ms() + TICK_MS;
		}
		n = c->stop;
		pthread_mutex_unlock(&c->lock);
		if (n)
			return NULL;
	}
}

/* ---- outside ------------------------------------------------------------------------------ */

static void read_address(struct crowd *c)
{
	const char *base = c->conf.base, *colon;
	char host[64];

	if (strncmp(base, "http://", 7) == 0)
		base += 7;
	colon = strchr(base, ':');
	if (!colon || (size_t)(colon - base) >= sizeof host)
		die("the address is not http://HOST:PORT");
	memcpy(host, base, (size_t)(colon - base));
	host[colon - base] = '\0';
	c->address.sin_family = AF_INET;
	c->address.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &c->address.sin_addr) != 1)
		die("the host is not an IPv4 address");
}

struct crowd *crowd_start(const struct crowd_conf *conf)
{
	struct crowd *c = calloc(1, sizeof *c);
	size_t n = 0;

	if (!c || !(c->noise = malloc(NOISE_SIZE)))
		die("out of memory");
	c->conf = *conf;
	memset(c->noise, 'x', NOISE_SIZE);
	read_address(c);
	(void)crowd_room();
	for (unsigned k = 0; k < CROWD__N; k++)
		c->n_members += conf->n[k];
	c->members = calloc(c->n_members + 1, sizeof *c->members);
	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!c->members || c->epoll_fd < 0)
		die("out of memory or descriptors");
	for (unsigned k = 0; k < CROWD__N; k++)
		for (unsigned i = 0; i < conf->n[k]; i++)
			c->members[n++] = (struct member){ .fd = -1, .kind = (enum crowd_kind)k };
	if (pthread_mutex_init(&c->lock, NULL) || pthread_create(&c->thread, NULL, run, c))
		die("no thread");
	return c;
}

struct crowd_counts crowd_counts(struct crowd *c, enum crowd_kind kind)
{
	struct crowd_counts counts;

	pthread_mutex_lock(&c->lock);
	counts = c->counts[kind];
	pthread_mutex_unlock(&c->lock);
	return counts;
}

/* Of those that come and go, each has been there once. */
static bool is_there(const struct crowd *c, unsigned kind)
{
	const struct crowd_counts *n = &c->counts[kind];

	switch (kind) {
	case CROWD_SILENT:
	case CROWD_IDLE:
	case CROWD_SLOW_HEAD:
	case CROWD_SLOW_BODY:
	case CROWD_STALLED:
	case CROWD_UNREAD:
		return n->settled >= c->conf.n[kind];
	default:
		return n->ended >= c->conf.n[kind];
	}
}

bool crowd_ready(struct crowd *c)
{
	bool ready = true;

	pthread_mutex_lock(&c->lock);
	for (unsigned k = 0; k < CROWD__N; k++)
		ready = ready && is_there(c, k);
	pthread_mutex_unlock(&c->lock);
	return ready;
}

void crowd_dismiss(struct crowd *c, enum crowd_kind kind)
{
	pthread_mutex_lock(&c->lock);
	c->dismissed[kind] = true;
	pthread_mutex_unlock(&c->lock);
}

void crowd_stop(struct crowd **cp)
{
	struct crowd *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_mutex_unlock(&c->lock);
	(void)pthread_join(c->thread, NULL);
	for (size_t i = 0; i < c->n_members; i++)
		if (c->members[i].fd >= 0)
			(void)close(c->members[i].fd);
	(void)close(c->epoll_fd);
	(void)pthread_mutex_destroy(&c->lock);
	free(c->members);
	free(c->noise);
	free(c);
}
