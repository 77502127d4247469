#include "tests/harness/endpoint.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST_OPEN 1024
#define MOST_KEPT 65536
#define HEAD_MAX  65536

struct endpoint {
	int listener; /* -1: it is dead */
	unsigned port;
	pthread_t acceptor;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool ending;
	int open[MOST_OPEN];
	unsigned n_open, connects, holding, releases, threads;
	char *kept[MOST_KEPT];
	unsigned n_kept;
};

struct visit {
	struct endpoint *endpoint;
	int fd;
	char head[HEAD_MAX];
	size_t size; /* of what was read */
	char *body;
	size_t body_size;
};

/* ---- bytes ------------------------------------------------------------------------- */

/* False: the other end is gone, or we are to be. */
static bool say(struct visit *v, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		ssize_t n = send(v->fd, at, size, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		at += n;
		size -= (size_t)n;
	}
	return true;
}

static bool say_text(struct visit *v, const char *text)
{
	return say(v, text, strlen(text));
}

__attribute__((format(printf, 2, 3))) static bool say_format(
	struct visit *v, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return say_text(v, text);
}

static void reset(int fd)
{
	struct linger now = { 1, 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

/* Whether the other end is still there after so long. */
static bool pause_ms(struct visit *v, int ms)
{
	struct pollfd p = { v->fd, POLLIN, 0 };
	char byte;

	return poll(&p, 1, ms) == 0 || recv(v->fd, &byte, 1, MSG_PEEK) > 0;
}

/* ---- requests ------------------------------------------------------------------------- */

static const char *field(const struct visit *v, const char *name)
{
	for (const char *at = v->head; (at = strchr(at, '\n')); at++)
		if (strncasecmp(at + 1, name, strlen(name)) == 0 && at[1 + strlen(name)] == ':')
			return at + strlen(name) + 2;
	return NULL;
}

/* One request; false: there is none any more. */
static bool hear(struct visit *v)
{
	const char *length;
	size_t head, rest;
	char *end = NULL;

	v->size = 0;
	while (!end && v->size + 1 < sizeof v->head) {
		ssize_t n = recv(v->fd, v->head + v->size, sizeof v->head - 1 - v->size, 0);

		if (n <= 0)
			return false;
		v->size += (size_t)n;
		v->head[v->size] = '\0';
		end = strstr(v->head, "\r\n\r\n");
	}
	if (!end)
		return false;
	head = (size_t)(end - v->head) + 4;
	length = field(v, "Content-Length");
	v->body_size = length && length < end ? strtoul(length, NULL, 10) : 0;
	rest = v->size - head;
	v->body = calloc(1, v->body_size + 1);
	memcpy(v->body, end + 4, rest < v->body_size ? rest : v->body_size);
	while (rest < v->body_size) {
		ssize_t n = recv(v->fd, v->body + rest, v->body_size - rest, 0);

		if (n <= 0)
			return false;
		rest += (size_t)n;
	}
	end[2] = '\0';
	return true;
}

/* False: it came when we were dead already. */
static bool keep(struct visit *v)
{
	struct endpoint *e = v->endpoint;
	char *whole = NULL;
	bool lives;

	if (asprintf(&whole, "%s\r\n%s", v->head, v->body) < 0)
		abort();
	pthread_mutex_lock(&e->lock);
	if (e->n_kept == MOST_KEPT)
		abort();
	lives = !e->ending;
	if (lives)
		e->kept[e->n_kept++] = whole;
	pthread_mutex_unlock(&e->lock);
	if (!lives)
		free(whole);
	return lives;
}

static bool is_asked(const struct visit *v, const char *what)
{
	char text[64];
	const char *at, *end = strstr(v->head, " HTTP/");

	(void)snprintf(text, sizeof text, "do=%s", what);
	at = strstr(v->head, text);
	return at && at < end && (at[strlen(text)] == '&' || at[strlen(text)] == ' ');
}

static unsigned number(const struct visit *v, const char *name)
{
	const char *at = strstr(v->head, name);

	return at ? (unsigned)strtoul(at + strlen(name), NULL, 10) : 0;
}

/* ---- answers: false ends the connection --------------------------------------------------- */

static bool answer_echo(struct visit *v)
{
	char head[HEAD_MAX + 4096];
	size_t n = 0;

	n += (size_t)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n",
		v->body_size);
	for (char *at = strchr(v->head, '\n'); at && at[1] && n < sizeof head - 2048;
		at = strchr(at + 1, '\n'))
		n += (size_t)snprintf(head + n, sizeof head - n, "X-Got-%.*s\r\n",
			(int)strcspn(at + 1, "\r"), at + 1);
	n += (size_t)snprintf(head + n, sizeof head - n, "\r\n");
	return say(v, head, n) && (strncmp(v->head, "HEAD ", 5) == 0 || say(v, v->body, v->body_size));
}

static bool answer_status(struct visit *v)
{
	unsigned code = number(v, "code="), after = number(v, "after=");
	char line[64] = "";

	if (after)
		(void)snprintf(line, sizeof line, "Retry-After: %u\r\n", after);
	return say_format(v, "HTTP/1.1 %u It\r\n%sContent-Length: 5\r\n\r\n%.5u", code, line, code);
}

static bool answer_hold(struct visit *v)
{
	struct endpoint *e = v->endpoint;
	unsigned releases;
	bool here = true;

	pthread_mutex_lock(&e->lock);
	releases = e->releases;
	e->holding++;
	while (here && releases == e->releases && !e->ending) {
		pthread_mutex_unlock(&e->lock);
		here = pause_ms(v, 5);
		pthread_mutex_lock(&e->lock);
	}
	e->holding--;
	here = here && !e->ending; /* one that dies says nothing any more */
	pthread_mutex_unlock(&e->lock);
	return here && say_text(v, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nheld");
}

static bool answer_drip(struct visit *v)
{
	bool here = say_text(v, "HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");

	while (here && !v->endpoint->ending)
		here = pause_ms(v, 20) && say_text(v, "x");
	return false;
}

static bool answer_huge(struct visit *v, bool chunked)
{
	char piece[65536];
	bool here = say_text(v, chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
					: "HTTP/1.1 200 OK\r\nContent-Length: 3000000000\r\n\r\n");

	memset(piece, 'x', sizeof piece);
	for (uint64_t sent = 0; here && sent < 3000000000u && !v->endpoint->ending;
		sent += sizeof piece)
		here = (!chunked || say_text(v, "10000\r\n")) && say(v, piece, sizeof piece) &&
		       (!chunked || say_text(v, "\r\n"));
	return false;
}

static bool answer_endless(struct visit *v, const char *first, const char *again)
{
	bool here = say_text(v, first);

	while (here && !v->endpoint->ending)
		here = say_text(v, again);
	return false;
}

static bool answer(struct visit *v)
{
	if (is_asked(v, "echo"))
		return answer_echo(v);
	if (is_asked(v, "status"))
		return answer_status(v);
	if (is_asked(v, "redirect"))
		return say_text(v, "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
	if (is_asked(v, "hold"))
		return answer_hold(v);
	if (is_asked(v, "drip"))
		return answer_drip(v);
	if (is_asked(v, "huge") || is_asked(v, "flood"))
		return answer_huge(v, is_asked(v, "flood"));
	if (is_asked(v, "reset"))
		reset(v->fd);
	if (is_asked(v, "reset") || is_asked(v, "close"))
		return false;
	if (is_asked(v, "half"))
		return say_text(v, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf") && false;
	if (is_asked(v, "garbage"))
		return say_text(v, "\x16\x03\x01 what is this?\r\n\r\n") && false;
	if (is_asked(v, "headers"))
		return answer_endless(v, "HTTP/1.1 200 OK\r\n", "X-More: of the same\r\n");
	if (is_asked(v, "line"))
		return answer_endless(v, "HTTP/1.1 200 OK\r\nX-Long: ", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	if (is_asked(v, "early"))
		return answer_endless(v, "", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
	if (is_asked(v, "odd"))
		return say_text(v, "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n");
	if (is_asked(v, "fold"))
		return say_text(v, "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 0\r\n\r\n");
	if (is_asked(v, "hops"))
		return say_text(v,
			"HTTP/1.1 200 OK\r\nX-Hop-1: 1\r\nConnection: keep-alive, x-hop-1,\tX-Hop-2\r\n"
			"X-Hop-2: 2\r\nX-End: 4\r\nX-Hop-3: 3\r\nconnection: X-Hop-3,,\r\n"
			"Content-Length: 2\r\n\r\nok");
	if (is_asked(v, "leave"))
		return say_text(v, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") && false;
	return say_text(v, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

/* ---- connections ----------------------------------------------------------------------------- */

static void forget(struct visit *v)
{
	struct endpoint *e = v->endpoint;

	pthread_mutex_lock(&e->lock);
	for (unsigned i = 0; i < e->n_open; i++)
		if (e->open[i] == v->fd)
			e->open[i] = e->open[--e->n_open];
	close(v->fd);
	e->threads--;
	pthread_cond_broadcast(&e->changed);
	pthread_mutex_unlock(&e->lock);
}

static void *serve(void *arg)
{
	struct visit *v = arg;
	bool more = true;

	while (more) {
		v->body = NULL;
		more = hear(v) && keep(v) && answer(v);
		free(v->body);
	}
	forget(v);
	free(v);
	return NULL;
}

static void receive(struct endpoint *e, int fd)
{
	struct visit *v = calloc(1, sizeof *v);
	pthread_attr_t attr;
	pthread_t id;

	assert(v);
	v->endpoint = e;
	v->fd = fd;
	pthread_mutex_lock(&e->lock);
	assert(e->n_open < MOST_OPEN);
	e->open[e->n_open++] = fd;
	e->connects++;
	e->threads++;
	pthread_mutex_unlock(&e->lock);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&id, &attr, serve, v) != 0)
		abort();
	pthread_attr_destroy(&attr);
}

static void *accept_all(void *arg)
{
	struct endpoint *e = arg;
	int fd;

	while ((fd = accept4(e->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		receive(e, fd);
	return NULL;
}

static void begin(struct endpoint *e)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		.sin_port = htons((uint16_t)e->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof at;
	int on = 1;

	e->ending = false;
	e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	(void)setsockopt(e->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (bind(e->listener, (struct sockaddr *)&at, sizeof at) != 0 ||
		listen(e->listener, 1024) != 0 ||
		getsockname(e->listener, (struct sockaddr *)&at, &size) != 0 ||
		pthread_create(&e->acceptor, NULL, accept_all, e) != 0) {
		perror("endpoint");
		abort();
	}
	e->port = ntohs(at.sin_port);
}

/* ---- for tests ----------------------------------------------------------------------------------- */

struct endpoint *endpoint_start(void)
{
	struct endpoint *e = calloc(1, sizeof *e);

	assert(e);
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->changed, NULL);
	begin(e);
	return e;
}

void endpoint_kill(struct endpoint *e)
{
	if (e->listener < 0)
		return;
	(void)shutdown(e->listener, SHUT_RDWR);
	pthread_join(e->acceptor, NULL);
	close(e->listener);
	e->listener = -1;
	pthread_mutex_lock(&e->lock);
	e->ending = true;
	for (unsigned i = 0; i < e->n_open; i++) {
		reset(e->open[i]);
		(void)shutdown(e->open[i], SHUT_RD);
	}
	while (e->threads > 0)
		pthread_cond_wait(&e->changed, &e->lock);
	pthread_mutex_unlock(&e->lock);
}

void endpoint_revive(struct endpoint *e)
{
	begin(e);
}

void endpoint_stop(struct endpoint **ep)
{
	struct endpoint *e = *ep;

	if (!e)
		return;
	endpoint_kill(e);
	while (e->n_kept)
		free(e->kept[--e->n_kept]);
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e);
	*ep = NULL;
}

unsigned endpoint_port(const struct endpoint *e)
{
	return e->port;
}

unsigned endpoint_seen(struct endpoint *e, const char *text)
{
	unsigned n = 0;

	pthread_mutex_lock(&e->lock);
	for (unsigned i = 0; i < e->n_kept; i++)
		n += strstr(e->kept[i], text) != NULL;
	pthread_mutex_unlock(&e->lock);
	return n;
}

void endpoint_each(struct endpoint *e, void (*visit)(void *arg, const char *request), void *arg)
{
	pthread_mutex_lock(&e->lock);
	for (unsigned i = 0; i < e->n_kept; i++)
		visit(arg, e->kept[i]);
	pthread_mutex_unlock(&e->lock);
}

char *endpoint_last(struct endpoint *e, const char *text)
{
	char *found = NULL;

	pthread_mutex_lock(&e->lock);
	for (unsigned i = e->n_kept; i > 0 && !found; i--)
		if (strstr(e->kept[i - 1], text))
			found = strdup(e->kept[i - 1]);
	pthread_mutex_unlock(&e->lock);
	return found;
}

static unsigned read_locked(struct endpoint *e, const unsigned *number)
{
	unsigned n;

	pthread_mutex_lock(&e->lock);
	n = *number;
	pthread_mutex_unlock(&e->lock);
	return n;
}

unsigned endpoint_holding(struct endpoint *e)
{
	return read_locked(e, &e->holding);
}

unsigned endpoint_open(struct endpoint *e)
{
	return read_locked(e, &e->n_open);
}

unsigned endpoint_connects(struct endpoint *e)
{
	return read_locked(e, &e->connects);
}

void endpoint_release(struct endpoint *e)
{
	pthread_mutex_lock(&e->lock);
	e->releases++;
	pthread_mutex_unlock(&e->lock);
}
