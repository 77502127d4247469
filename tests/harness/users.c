#include "tests/harness/users.h"

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/rand.h"

#define PATIENCE_S 60
#define ROOM       (64u * 1024)
#define TOLD       5 /* failures */

struct kind {
	struct users_kind conf;
	atomic_uint serial;
	atomic_uint_fast64_t ok, failed, ended;
};

struct users {
	struct sockaddr_in address;
	struct kind kinds[USERS_KINDS];
	unsigned n_kinds, n_threads;
	pthread_t *threads;
	atomic_bool stops;
	atomic_uint told;
};

struct user {
	struct users *all;
	struct kind *kind;
	struct base_rand chance;
	int fd;    /* -1: none */
	bool used; /* it has had an answer */
	size_t size;
	char answer[ROOM + 1];
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "users: %s: %s\n", what, strerror(errno));
	abort();
}

/* ---- one request ------------------------------------------------------------------ */

enum outcome { GOOD, ENDED_IDLE, BAD };

static void hang_up(struct user *u)
{
	if (u->fd >= 0)
		close(u->fd);
	u->fd = -1;
	u->used = false;
}

static enum outcome bad(struct user *u, const char *what, int failure)
{
	if (atomic_fetch_add(&u->all->told, 1) < TOLD)
		fprintf(stderr, "users: %.40s, %s connection: %s: %s; %zu bytes: %.600s\n",
			u->kind->conf.request, u->used ? "kept" : "fresh", what,
			failure ? strerror(failure) : "-", u->size, u->answer);
	hang_up(u);
	return BAD;
}

static bool dial(struct user *u)
{
	const struct timeval patience = { .tv_sec = PATIENCE_S };

	u->used = false;
	u->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (u->fd < 0)
		die("socket");
	(void)setsockopt(u->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	(void)setsockopt(u->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	return connect(u->fd, (const struct sockaddr *)&u->all->address, sizeof u->all->address) ==
	       0;
}

static bool send_all(int fd, const char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		data += n;
		size -= (size_t)n;
	}
	return true;
}

static const char *header(const char *head, const char *name)
{
	const char *at = strcasestr(head, name);

	return at ? at + strlen(name) : NULL;
}

/* The size of the whole answer, once its head is there; 0: it is not. */
static size_t whole_size(const char *answer)
{
	const char *end = strstr(answer, "\r\n\r\n");
	const char *length = end ? header(answer, "\r\nContent-Length:") : NULL;

	if (!end)
		return 0;
	return (size_t)(end + 4 - answer) +
	       (length && length < end ? strtoul(length, NULL, 10) : 0);
}

static enum outcome read_answer(struct user *u)
{
	size_t whole;

	u->size = 0;
	u->answer[0] = '\0';
	while ((whole = whole_size(u->answer)) == 0 || u->size < whole) {
		ssize_t n = recv(u->fd, u->answer + u->size, ROOM - u->size, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 && u->used && u->size == 0 && (n == 0 || errno == ECONNRESET)) {
			hang_up(u);
			return ENDED_IDLE;
		}
		if (n <= 0)
			return bad(u, "no whole answer", n < 0 ? errno : 0);
		u->size += (size_t)n;
		u->answer[u->size] = '\0';
	}
	return GOOD;
}

static enum outcome ask(struct user *u, const char *request, size_t size)
{
	unsigned status = 0;
	enum outcome outcome;

	u->size = 0;
	u->answer[0] = '\0';
	if (u->fd < 0 && !dial(u))
		return bad(u, "not connected", errno);
	if (!send_all(u->fd, request, size) && !u->used)
		return bad(u, "not sent", errno);
	outcome = read_answer(u);
	if (outcome != GOOD)
		return outcome;
	if (sscanf(u->answer, "HTTP/1.1 %u", &status) != 1 || status != u->kind->conf.status)
		return bad(u, "not the answer", 0);
	u->used = true;
	if (u->kind->conf.fresh || header(u->answer, "\r\nConnection: close"))
		hang_up(u);
	return GOOD;
}

static void one_request(struct user *u)
{
	const struct users_kind *k = &u->kind->conf;
	char body[256] = "", request[1024];
	enum outcome outcome;
	int n;

	if (k->body) {
		const char *mark = strstr(k->body, "%u");
		int before = mark ? (int)(mark - k->body) : (int)strlen(k->body);

		if (mark)
			(void)snprintf(body, sizeof body, "%.*s%u%s", before, k->body,
				atomic_fetch_add(&u->kind->serial, 1), mark + 2);
		else
			(void)snprintf(body, sizeof body, "%s", k->body);
	}
	n = snprintf(request, sizeof request,
		"%.*s HTTP/1.1%s\r\nHost: users\r\n%sContent-Length: %zu\r\n\r\n%s",
		(int)strcspn(k->request, "\r"), k->request, k->request + strcspn(k->request, "\r"),
		k->fresh ? "Connection: close\r\n" : "", strlen(body), body);
	outcome = ask(u, request, (size_t)n);
	if (outcome == ENDED_IDLE) {
		atomic_fetch_add(&u->kind->ended, 1);
		outcome = ask(u, request, (size_t)n);
	}
	atomic_fetch_add(outcome == GOOD ? &u->kind->ok : &u->kind->failed, 1);
}

/* ---- threads ------------------------------------------------------------------------ */

static void rest(struct user *u)
{
	const struct users_kind *k = &u->kind->conf;
	unsigned ms = k->pause_ms +
		      (k->jitter_ms ? (unsigned)base_rand_below(&u->chance, k->jitter_ms) : 0);
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static void *run(void *arg)
{
	struct user *u = arg;

	while (!u->all->stops) {
		one_request(u);
		rest(u);
	}
	hang_up(u);
	free(u);
	return NULL;
}

static void start_one(struct users *all, struct kind *kind)
{
	struct user *u = calloc(1, sizeof *u);
	pthread_t *threads = realloc(all->threads, (all->n_threads + 1) * sizeof *threads);

	if (!u || !threads)
		die("memory");
	*u = (struct user){ .all = all, .kind = kind, .fd = -1 };
	base_rand_init(&u->chance, all->n_threads + 1);
	all->threads = threads;
	if (pthread_create(&threads[all->n_threads++], NULL, run, u) != 0)
		die("a thread");
}

struct users *users_start(const char *address, const struct users_kind *kinds, unsigned n)
{
	struct users *u = calloc(1, sizeof *u);
	char host[64];
	unsigned port;

	if (!u || n > USERS_KINDS)
		die("start");
	if (strncmp(address, "http://", 7) == 0)
		address += 7;
	if (sscanf(address, "%63[0-9.]:%u", host, &port) != 2)
		die(address);
	u->address =
		(struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	if (inet_pton(AF_INET, host, &u->address.sin_addr) != 1)
		die(address);
	u->n_kinds = n;
	for (unsigned i = 0; i < n; i++) {
		u->kinds[i].conf = kinds[i];
		for (unsigned j = 0; j < kinds[i].threads; j++)
			start_one(u, &u->kinds[i]);
	}
	return u;
}

struct users_count users_count(const struct users *u, unsigned kind)
{
	const struct kind *k = &u->kinds[kind];

	return (struct users_count){ .ok = k->ok, .failed = k->failed, .ended = k->ended };
}

struct users_count users_total(const struct users *u)
{
	struct users_count sum = { 0 };

	for (unsigned i = 0; i < u->n_kinds; i++) {
		struct users_count one = users_count(u, i);

		sum.ok += one.ok;
		sum.failed += one.failed;
		sum.ended += one.ended;
	}
	return sum;
}

void users_stop(struct users **up, struct users_count *counts)
{
	struct users *u = *up;

	if (!u)
		return;
	*up = NULL;
	u->stops = true;
	for (unsigned i = 0; i < u->n_threads; i++)
		pthread_join(u->threads[i], NULL);
	for (unsigned i = 0; counts && i < u->n_kinds; i++)
		counts[i] = users_count(u, i);
	free(u->threads);
	free(u);
}
