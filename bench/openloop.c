/* An open-loop HTTP load: requests leave at their rate whatever becomes of those before,
 * as those of many independent clients do, so that a slow answer does not slow the
 * asking down. A closed loop (wrk) measures an overload it takes part in avoiding.
 *
 *   openloop http://127.0.0.1:8080/path --phases 140:5,600:30,140:15 [--method POST] [--retries 2]
 *
 * A phase is a rate (a second) and its seconds. Latency counts from the moment a request
 * was due, also when it left late. A 429 or 503 is asked again --retries times at most,
 * after its Retry-After and up to a second more by chance, as a well-behaved client would.
 *
 * Prints a line for each phase and, with --each, for each second, by when the attempt was
 * due: done (2xx), refused (429, 503), failed (anything else, or a broken connection),
 * and quantiles of the latency of those that were done and of those that were refused.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/heap.h"
#include "base/rand.h"

#define MAX_PHASES 16
#define MAX_CONNS  8192
#define HEAD_MAX   8192
#define LAST_MS    60000 /* for what is under way at the end */

enum end { DONE, REFUSED, FAILED, ENDS };

struct phase {
	uint64_t rate, start_us, end_us;
};

/* One request; tried again it keeps its place. */
struct ask {
	struct base_heap_node due; /* in us */
	unsigned tries;
	struct ask *next; /* waits for a connection */
};

struct conn {
	int fd;
	struct ask *ask; /* NULL: idle */
	struct conn *next_idle;
	size_t n; /* of the head, so far */
	size_t body_left;
	bool in_body, close;
	unsigned status, retry_after_s;
	char head[HEAD_MAX + 1];
};

/* What became of one attempt. */
struct sample {
	uint64_t due_us;
	uint32_t took_us;
	uint32_t end;
};

struct load {
	struct sockaddr_in address;
	char request[1024];
	size_t request_size;
	struct phase phases[MAX_PHASES];
	unsigned n_phases, retries;
	int epoll, timer;
	struct base_heap heap;
	struct base_rand rand;
	struct ask *first, **last; /* those that wait for a connection */
	struct conn *idle;
	size_t n_conns, under_way;
	uint64_t retried;
	struct sample *samples;
	size_t n_samples, room;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "openloop: %s (%s)\n", what, strerror(errno));
	exit(1);
}

/* ---- what became of it --------------------------------------------------------- */

static void note(struct load *l, const struct ask *ask, enum end end)
{
	if (l->n_samples == l->room) {
		l->room = l->room ? l->room * 2 : 65536;
		l->samples = realloc(l->samples, l->room * sizeof *l->samples);
		if (!l->samples)
			die("memory");
	}
	l->samples[l->n_samples++] = (struct sample){ .due_us = ask->due.due,
		.took_us = (uint32_t)(base_clock_us() - ask->due.due),
		.end = end };
}

static uint64_t end_us(const struct load *l)
{
	return l->phases[l->n_phases - 1].end_us;
}

/* The attempt is over. */
static void settle(struct load *l, struct ask *ask, enum end end, unsigned retry_after_s)
{
	uint64_t again = base_clock_us() + retry_after_s * UINT64_C(1000000) +
			 base_rand_below(&l->rand, 1000000);

	note(l, ask, end);
	l->under_way--;
	if (end != REFUSED || ask->tries >= l->retries || again >= end_us(l)) {
		free(ask);
		return;
	}
	ask->tries++;
	l->retried++;
	if (base_heap_push(&l->heap, &ask->due, again))
		die("memory");
}

/* ---- connections ------------------------------------------------------------------ */

static void give_up(struct load *l, struct conn *c)
{
	struct ask *ask = c->ask;

	close(c->fd);
	l->n_conns--;
	free(c);
	if (ask)
		settle(l, ask, FAILED, 0);
}

static void send_on(struct load *l, struct conn *c, struct ask *ask)
{
	c->ask = ask;
	c->n = 0;
	c->in_body = c->close = false;
	if (send(c->fd, l->request, l->request_size, MSG_NOSIGNAL) != (ssize_t)l->request_size)
		give_up(l, c);
}

static struct conn *connect_one(struct load *l)
{
	struct conn *c = calloc(1, sizeof *c);
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = c };
	const int on = 1;

	if (!c)
		die("memory");
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&l->address, sizeof l->address) != 0)
		die("connect");
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0 ||
		epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
		die("epoll");
	l->n_conns++;
	return c;
}

static void start(struct load *l, struct ask *ask)
{
	struct conn *c = l->idle;

	l->under_way++;
	if (c) {
		l->idle = c->next_idle;
		send_on(l, c, ask);
	} else if (l->n_conns < MAX_CONNS) {
		send_on(l, connect_one(l), ask);
	} else {
		ask->next = NULL;
		*l->last = ask;
		l->last = &ask->next;
	}
}

static void ended(struct load *l, struct conn *c)
{
	struct ask *ask = c->ask, *next = l->first;
	enum end end = c->status / 100 == 2                   ? DONE
		       : c->status == 429 || c->status == 503 ? REFUSED
							      : FAILED;
	unsigned retry_after_s = c->retry_after_s;

	c->ask = NULL;
	if (c->close) {
		give_up(l, c);
	} else if (next) {
		l->first = next->next;
		if (!l->first)
			l->last = &l->first;
		send_on(l, c, next);
	} else {
		c->next_idle = l->idle;
		l->idle = c;
	}
	settle(l, ask, end, retry_after_s);
}

/* ---- answers ------------------------------------------------------------------------ */

static const char *header(const char *head, const char *name)
{
	size_t size = strlen(name);

	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, name, size) == 0 && line[2 + size] == ':')
			return line + 2 + size + 1 + strspn(line + 3 + size, " ");
	return NULL;
}

/* Returns how many bytes of the head's buffer are not the head's; SIZE_MAX: it is not whole yet. */
static size_t read_head(struct conn *c)
{
	char *end = strstr(c->head, "\r\n\r\n");
	const char *length, *again, *close_it;

	if (!end)
		return SIZE_MAX;
	end[2] = '\0';
	if (strncmp(c->head, "HTTP/1.1 ", 9) != 0 || header(c->head, "Transfer-Encoding"))
		die("an answer that is not expected");
	length = header(c->head, "Content-Length");
	again = header(c->head, "Retry-After");
	close_it = header(c->head, "Connection");
	c->status = (unsigned)strtoul(c->head + 9, NULL, 10);
	c->body_left = length ? strtoul(length, NULL, 10) : 0;
	c->retry_after_s = again ? (unsigned)strtoul(again, NULL, 10) : 0;
	c->close = close_it && strncasecmp(close_it, "close", 5) == 0;
	c->in_body = true;
	return (size_t)(c->head + c->n - (end + 4));
}

static void took(struct load *l, struct conn *c, size_t n)
{
	if (!c->in_body) {
		c->n += n;
		c->head[c->n] = '\0';
		n = read_head(c);
		if (n == SIZE_MAX && c->n == HEAD_MAX)
			die("a head is too long");
		if (n == SIZE_MAX)
			return;
	}
	c->body_left -= n < c->body_left ? n : c->body_left;
	if (c->body_left == 0)
		ended(l, c);
}

static void on_readable(struct load *l, struct conn *c)
{
	char *to = c->in_body ? c->head : c->head + c->n;
	ssize_t n = recv(c->fd, to, c->in_body ? HEAD_MAX : HEAD_MAX - c->n, 0);

	if (n > 0 && c->ask) {
		took(l, c, (size_t)n);
		return;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (struct conn **at = &l->idle; !c->ask && *at; at = &(*at)->next_idle)
		if (*at == c) {
			*at = c->next_idle;
			break;
		}
	give_up(l, c);
}

/* ---- the loop -------------------------------------------------------------------------- */

/* The next request that is no second try; its time in *due. False: there are no more. */
static bool next_new(const struct load *l, unsigned *phase, uint64_t *k, uint64_t *due)
{
	while (*phase < l->n_phases) {
		const struct phase *p = &l->phases[*phase];

		*due = p->rate ? p->start_us + *k * 1000000 / p->rate : p->end_us;
		if (*due < p->end_us)
			return true;
		(*phase)++;
		*k = 0;
	}
	return false;
}

static void sleep_until(const struct load *l, uint64_t us)
{
	struct itimerspec t = { .it_value = {
					(time_t)(us / 1000000), (long)(us % 1000000 * 1000) } };

	if (timerfd_settime(l->timer, TFD_TIMER_ABSTIME, &t, NULL) != 0)
		die("timer");
}

static void wait_and_read(struct load *l)
{
	struct epoll_event events[256];
	int n = epoll_wait(l->epoll, events, 256, 1000);
	uint64_t fired;

	for (int i = 0; i < n; i++)
		if (events[i].data.ptr)
			on_readable(l, events[i].data.ptr);
		else if (read(l->timer, &fired, sizeof fired) < 0 && errno != EAGAIN)
			die("timer");
}

static void start_due(struct load *l, uint64_t now, unsigned *phase, uint64_t *k)
{
	const struct base_heap_node *again;
	uint64_t due;

	while (next_new(l, phase, k, &due) && due <= now) {
		struct ask *ask = calloc(1, sizeof *ask);

		if (!ask)
			die("memory");
		ask->due.due = due;
		(*k)++;
		start(l, ask);
	}
	while ((again = base_heap_first(&l->heap)) && again->due <= now) {
		struct ask *ask = base_heap_of(again, struct ask, due);

		base_heap_remove(&l->heap, &ask->due);
		start(l, ask);
	}
}

static void run(struct load *l)
{
	unsigned phase = 0;
	uint64_t k = 0, due = 0;

	for (;;) {
		uint64_t now = base_clock_us();
		const struct base_heap_node *again;
		bool more;

		start_due(l, now, &phase, &k);
		more = next_new(l, &phase, &k, &due);
		again = base_heap_first(&l->heap);
		if (again && (!more || again->due < due))
			due = again->due;
		if (!more && !again && (l->under_way == 0 || now > end_us(l) + LAST_MS * 1000))
			return;
		sleep_until(l, more || again ? due : now + 100000);
		wait_and_read(l);
	}
}

/* ---- telling ------------------------------------------------------------------------------ */

static int by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t quantile(const uint32_t *sorted, size_t n, double q)
{
	return n ? sorted[(size_t)((double)(n - 1) * q)] : 0;
}

static void tell(
	const struct load *l, const char *what, uint64_t number, uint64_t from, uint64_t to)
{
	uint32_t *took_us[ENDS];
	size_t n[ENDS] = { 0 };

	for (int e = 0; e < ENDS; e++)
		if (!(took_us[e] = malloc((l->n_samples + 1) * sizeof **took_us)))
			die("memory");
	for (size_t i = 0; i < l->n_samples; i++) {
		const struct sample *s = &l->samples[i];

		if (s->due_us >= from && s->due_us < to)
			took_us[s->end][n[s->end]++] = s->took_us;
	}
	for (int e = 0; e < ENDS; e++)
		qsort(took_us[e], n[e], sizeof **took_us, by_size);
	printf("%s=%llu done=%zu refused=%zu failed=%zu done_p50_us=%u done_p99_us=%u refused_p50_us=%u refused_p99_us=%u\n",
		what, (unsigned long long)number, n[DONE], n[REFUSED], n[FAILED],
		quantile(took_us[DONE], n[DONE], 0.5), quantile(took_us[DONE], n[DONE], 0.99),
		quantile(took_us[REFUSED], n[REFUSED], 0.5),
		quantile(took_us[REFUSED], n[REFUSED], 0.99));
	for (int e = 0; e < ENDS; e++)
		free(took_us[e]);
}

static void tell_all(const struct load *l, bool each)
{
	for (unsigned i = 0; i < l->n_phases; i++)
		tell(l, "phase", i, l->phases[i].start_us, l->phases[i].end_us);
	for (uint64_t t = l->phases[0].start_us, i = 0; each && t < end_us(l); t += 1000000, i++)
		tell(l, "second", i, t, t + 1000000);
	printf("retried=%llu unanswered=%zu\n", (unsigned long long)l->retried, l->under_way);
}

/* ---- from the command line -------------------------------------------------------------------- */

static void read_url(struct load *l, const char *url, const char *method)
{
	char host[64], path[512] = "/";
	unsigned port;

	if (sscanf(url, "http://%63[^:/]:%u%511s", host, &port, path) < 2 ||
		inet_pton(AF_INET, host, &l->address.sin_addr) != 1)
		die("a URL is http://ADDRESS:PORT/PATH");
	l->address.sin_family = AF_INET;
	l->address.sin_port = htons((uint16_t)port);
	l->request_size = (size_t)snprintf(l->request, sizeof l->request,
		"%s %s HTTP/1.1\r\nHost: %s:%u\r\nContent-Length: 0\r\n\r\n", method, path, host,
		port);
}

static void read_phases(struct load *l, char *text)
{
	uint64_t at = base_clock_us() + 100000;
	char *rest = NULL;

	for (char *one = strtok_r(text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
		unsigned long rate, seconds;

		if (l->n_phases == MAX_PHASES || sscanf(one, "%lu:%lu", &rate, &seconds) != 2)
			die("--phases is RATE:SECONDS,...");
		l->phases[l->n_phases++] =
			(struct phase){ rate, at, at + seconds * UINT64_C(1000000) };
		at += seconds * UINT64_C(1000000);
	}
	if (l->n_phases == 0)
		die("--phases is missing");
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "phases", required_argument, NULL, 'p' },
		{ "method", required_argument, NULL, 'm' },
		{ "retries", required_argument, NULL, 'r' }, { "each", no_argument, NULL, 'e' },
		{ 0 } };
	struct load l = { .last = &l.first };
	struct epoll_event timer = { .events = EPOLLIN };
	struct rlimit files = { MAX_CONNS + 64, MAX_CONNS + 64 };
	const char *method = "GET";
	char *phases = NULL;
	bool each = false;

	for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (o == 'p')
			phases = optarg;
		else if (o == 'm')
			method = optarg;
		else if (o == 'r')
			l.retries = (unsigned)strtoul(optarg, NULL, 10);
		else if (o == 'e')
			each = true;
		else
			return 2;
	}
	if (optind != argc - 1 || !phases)
		die("usage: openloop URL --phases RATE:SECONDS,... [--method M] [--retries N] [--each]");
	(void)setrlimit(RLIMIT_NOFILE, &files); /* where it may: otherwise connect says so */
	base_heap_init(&l.heap);
	base_rand_init(&l.rand, 1);
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	l.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (l.epoll < 0 || l.timer < 0 || epoll_ctl(l.epoll, EPOLL_CTL_ADD, l.timer, &timer) != 0)
		die("epoll");
	read_url(&l, argv[optind], method);
	read_phases(&l, phases);
	run(&l);
	tell_all(&l, each);
	return 0;
}
