#include "tests/fault/swarm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/pirn.pb-c.h"
#include "tests/harness/wait.h"

#define IN_MAX       8192 /* of one link; a welcome, a beat, a dispatch: all far smaller */
#define OUT_MAX      1024
#define EVENTS       512
#define BEAT_MS      1000
#define AGAIN_MS     20
#define GREETING     64
#define CREDIT       64
#define CALL_MS      60000
#define ZMTP_MORE    1
#define ZMTP_LONG    2
#define ZMTP_COMMAND 4

struct link {
	int fd; /* -1: to be made again at due */
	bool is_worker, greeted, welcome, calls;
	bool forgotten; /* its call, by a broker that took it for dead */
	uint8_t boot[16];
	uint64_t due;              /* without a connection: to make one; else: to beat */
	uint32_t generation, runs; /* calls that were sent; runs that were done */
	size_t n_in, n_head;
	uint8_t in[IN_MAX],
		head[IN_MAX]; /* head: the first frame of a message, until its second is there */
};

struct swarm {
	pthread_t thread;
	struct sockaddr_in address;
	int epoll;
	unsigned n;
	struct link *links;
	atomic_bool ends, cut, call;
	atomic_uint welcome;
	atomic_uint_fast64_t welcomes, turned_away, called, answered, failed, cut_off;
};

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "swarm: %s (%s)\n", what, strerror(errno));
	abort();
}

/* ---- connections --------------------------------------------------------------------- */

static void fall(struct swarm *s, struct link *l, uint64_t now)
{
	const struct linger reset = { .l_onoff = 1 };

	if (l->fd < 0)
		return;
	(void)setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	close(l->fd);
	l->fd = -1;
	l->due = now + AGAIN_MS;
	s->welcome -= l->welcome;
	s->cut_off += l->calls || l->forgotten;
	l->welcome = l->calls = l->greeted = l->forgotten = false;
	l->n_in = l->n_head = 0;
}

static void send_bytes(struct swarm *s, struct link *l, const void *bytes, size_t size)
{
	if (l->fd >= 0 && send(l->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)size)
		fall(s, l, harness_now_ms());
}

/* A message's two frames: a head and a body, both short. */
static void send_message(struct swarm *s, struct link *l, const Pirn__Head *head,
	const ProtobufCMessage *body, const char *payload)
{
	uint8_t out[OUT_MAX];
	size_t head_size = pirn__head__get_packed_size(head);
	size_t body_size = body ? protobuf_c_message_get_packed_size(body) : strlen(payload);
	uint8_t *at = out;

	if (head_size > 255 || body_size > 255)
		die("a message is too long");
	*at++ = ZMTP_MORE;
	*at++ = (uint8_t)head_size;
	at += pirn__head__pack(head, at);
	*at++ = 0;
	*at++ = (uint8_t)body_size;
	if (body)
		protobuf_c_message_pack(body, at);
	else
		memcpy(at, payload, body_size);
	send_bytes(s, l, out, (size_t)(at - out) + body_size);
}

static void send_control(
	struct swarm *s, struct link *l, uint32_t kind, const ProtobufCMessage *body)
{
	Pirn__Head head = PIRN__HEAD__INIT;

	head.kind = kind;
	send_message(s, l, &head, body, "");
}

static void say_hello(struct swarm *s, struct link *l)
{
	static char name[] = SWARM_SERVICE;
	Pirn__Hello hello = PIRN__HELLO__INIT;
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Manifest *manifests[] = { &manifest };

	manifest.service = name;
	hello.version = 1;
	hello.role = l->is_worker ? PIRN__ROLE__WORKER : PIRN__ROLE__CLIENT;
	hello.name = name;
	hello.boot = (ProtobufCBinaryData){ sizeof l->boot, l->boot };
	hello.n_services = l->is_worker;
	hello.services = manifests;
	send_control(s, l, PIRN__KIND__HELLO, &hello.base);
}

/* ZMTP 3.1's greeting with the NULL mechanism, and a READY that says DEALER. */
static void greet(struct swarm *s, struct link *l)
{
	static const uint8_t bytes[GREETING] = { 0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 3, 0, 'N', 'U',
		'L', 'L' };
	static const uint8_t ready[] = { ZMTP_COMMAND, 28, 5, 'R', 'E', 'A', 'D', 'Y', 11, 'S', 'o',
		'c', 'k', 'e', 't', '-', 'T', 'y', 'p', 'e', 0, 0, 0, 6, 'D', 'E', 'A', 'L', 'E',
		'R' };

	send_bytes(s, l, bytes, sizeof bytes);
	send_bytes(s, l, ready, sizeof ready);
}

/* On loopback a connection is there at once, or refused at once, or its SYN was dropped: then the
 * kernel tries again, and what is written now waits in the socket. */
static void make(struct swarm *s, struct link *l, uint64_t now)
{
	const int on = 1;

	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		die("too few file descriptors");
	(void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	l->due = now + BEAT_MS;
	if (connect(l->fd, (const struct sockaddr *)&s->address, sizeof s->address) != 0 &&
		errno != EINPROGRESS) {
		fall(s, l, now);
		return;
	}
	struct epoll_event e = { .events = EPOLLOUT, .data.ptr = l };

	if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, l->fd, &e) != 0)
		die("epoll");
}

/* ---- what the broker says ------------------------------------------------------------- */

static void grant(struct swarm *s, struct link *l)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Credit credit = PIRN__CREDIT__INIT;
	Pirn__Credit *credits[] = { &credit };
	static char name[] = SWARM_SERVICE;

	head.kind = PIRN__KIND__CREDIT;
	head.n_credits = 1;
	head.credits = credits;
	credit.service = name;
	credit.has_granted = true;
	credit.granted = l->runs + CREDIT;
	send_message(s, l, &head, NULL, "");
}

static void send_call(struct swarm *s, struct link *l)
{
	static char name[] = SWARM_SERVICE;
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Item item = PIRN__ITEM__INIT;
	Pirn__Item *items[] = { &item };

	l->calls = true;
	s->called += !l->forgotten;
	l->forgotten = false;
	item.has_slot = item.has_generation = item.has_left_ms = item.has_data_size = true;
	item.slot = 1;
	item.generation = ++l->generation;
	item.has_id = true;
	item.id = (ProtobufCBinaryData){ sizeof l->boot, l->boot };
	item.service = name;
	item.left_ms = CALL_MS;
	item.data_size = 4;
	head.kind = PIRN__KIND__SUBMIT;
	head.n_items = 1;
	head.items = items;
	send_message(s, l, &head, NULL, "call");
}

static void on_welcome(struct swarm *s, struct link *l, const uint8_t *body, size_t size)
{
	Pirn__Welcome *welcome = pirn__welcome__unpack(NULL, size, body);

	if (!welcome)
		die("a WELCOME that is none");
	if (welcome->refused) {
		s->turned_away++;
		fall(s, l, harness_now_ms());
	} else if (!l->welcome) {
		l->welcome = true;
		l->runs = 0;
		s->welcome++;
		s->welcomes++;
	}
	pirn__welcome__free_unpacked(welcome, NULL);
	if (l->welcome && l->is_worker)
		grant(s, l);
	if (l->welcome && l->forgotten)
		send_call(s, l);
}

static void do_run(struct swarm *s, struct link *l, const Pirn__Item *dispatched)
{
	Pirn__Head head = PIRN__HEAD__INIT;
	Pirn__Item item = PIRN__ITEM__INIT;
	Pirn__Item *items[] = { &item };

	l->runs++;
	item.has_slot = item.has_generation = item.has_data_size = item.has_status = true;
	item.slot = dispatched->slot;
	item.generation = dispatched->generation;
	item.data_size = 2;
	item.status = 200;
	head.kind = PIRN__KIND__RESULT;
	head.n_items = 1;
	head.items = items;
	send_message(s, l, &head, NULL, "ok");
}

static void on_item(struct swarm *s, struct link *l, uint32_t kind, const Pirn__Item *item)
{
	if (kind == PIRN__KIND__DISPATCH) {
		do_run(s, l, item);
		return;
	}
	if ((kind != PIRN__KIND__REPLY && kind != PIRN__KIND__REFUSED) || !l->calls ||
		item->generation != l->generation)
		return;
	l->calls = false;
	if (kind == PIRN__KIND__REPLY && item->status == 200)
		s->answered++;
	else
		s->failed++;
}

/* We were silent for too long, as on a machine that is too slow for so many. What was asked is asked anew. */
static void resync(struct swarm *s, struct link *l)
{
	s->welcome -= l->welcome;
	l->forgotten = l->forgotten || l->calls;
	l->welcome = l->calls = false;
	say_hello(s, l);
}

static void on_message(struct swarm *s, struct link *l, const uint8_t *body, size_t size)
{
	Pirn__Head *head = pirn__head__unpack(NULL, l->n_head, l->head);

	if (!head)
		die("a head that is none");
	if (head->kind == PIRN__KIND__WELCOME) {
		on_welcome(s, l, body, size);
	} else if (head->kind == PIRN__KIND__RESYNC) {
		resync(s, l);
	}
	for (size_t i = 0; i < head->n_items && l->fd >= 0; i++)
		on_item(s, l, head->kind, head->items[i]);
	if (head->kind == PIRN__KIND__DISPATCH && l->fd >= 0)
		grant(s, l);
	pirn__head__free_unpacked(head, NULL);
}

static void pong(struct swarm *s, struct link *l, const uint8_t *bytes, size_t size)
{
	uint8_t out[64] = { ZMTP_COMMAND, 5, 4, 'P', 'O', 'N', 'G' };
	size_t context = size - 7;

	if (size < 7 || memcmp(bytes, "\4PING", 5) != 0 || context > 16)
		return;
	memcpy(out + 7, bytes + 7, context);
	out[1] = (uint8_t)(5 + context);
	send_bytes(s, l, out, 7 + context);
}

/* READY: now messages may follow, not before. PING: its time to live and what comes back in the PONG. */
static void on_command(struct swarm *s, struct link *l, const uint8_t *bytes, size_t size)
{
	if (size >= 6 && memcmp(bytes, "\5READY", 6) == 0)
		say_hello(s, l);
	else
		pong(s, l, bytes, size);
}

static void on_frame(
	struct swarm *s, struct link *l, unsigned flags, const uint8_t *bytes, size_t size)
{
	if (flags & ZMTP_COMMAND) {
		on_command(s, l, bytes, size);
	} else if (flags & ZMTP_MORE) {
		memcpy(l->head, bytes, size);
		l->n_head = size;
	} else {
		on_message(s, l, bytes, size);
		l->n_head = 0;
	}
}

/* What the next frame takes of the n bytes; 0: it is not whole yet. */
static size_t one_frame(struct swarm *s, struct link *l, const uint8_t *at, size_t n)
{
	const size_t start = n > 0 && at[0] & ZMTP_LONG ? 9 : 2;
	uint64_t size = 0;

	if (n < start)
		return 0;
	for (size_t i = 1; i < start; i++)
		size = size << 8 | at[i];
	if (size > IN_MAX - start)
		die("a frame is longer than expected");
	if (n < start + size)
		return 0;
	on_frame(s, l, at[0], at + start, size);
	return start + size;
}

static void digest(struct swarm *s, struct link *l)
{
	size_t used = 0;
	size_t took;

	if (!l->greeted) {
		if (l->n_in < GREETING)
			return;
		l->greeted = true;
		used = GREETING;
	}
	while (l->fd >= 0 && (took = one_frame(s, l, l->in + used, l->n_in - used)) > 0)
		used += took;
	if (l->fd < 0)
		return;
	l->n_in -= used;
	memmove(l->in, l->in + used, l->n_in);
}

static void on_ready(struct swarm *s, struct link *l, uint32_t events)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = l };
	ssize_t n;

	if (events & EPOLLOUT && !(events & (EPOLLERR | EPOLLHUP))) {
		(void)epoll_ctl(s->epoll, EPOLL_CTL_MOD, l->fd, &e);
		greet(s, l);
		return;
	}
	n = recv(l->fd, l->in + l->n_in, IN_MAX - l->n_in, MSG_DONTWAIT);
	if (n > 0) {
		l->n_in += (size_t)n;
		digest(s, l);
	} else if (n == 0 || errno != EAGAIN) {
		fall(s, l, harness_now_ms());
	}
}

/* ---- the thread ------------------------------------------------------------------------ */

static void tend(struct swarm *s, struct link *l, uint64_t now, bool cut, bool call)
{
	if (cut)
		fall(s, l, now - AGAIN_MS);
	if (call && l->welcome && !l->is_worker && !l->calls)
		send_call(s, l);
	if (l->due > now)
		return;
	if (l->fd < 0) {
		make(s, l, now);
		return;
	}
	l->due = now + BEAT_MS;
	if (l->welcome)
		send_control(s, l, PIRN__KIND__BEAT, NULL);
}

static void *run(void *arg)
{
	struct swarm *s = arg;
	struct epoll_event events[EVENTS];
	uint64_t tended = 0;

	while (!s->ends) {
		int n = epoll_wait(s->epoll, events, EVENTS, 5);
		uint64_t now = harness_now_ms();

		for (int i = 0; i < n; i++)
			on_ready(s, events[i].data.ptr, events[i].events);
		if (n == EVENTS && now < tended + 100)
			continue; /* what has arrived comes first, up to a point */
		tended = now;
		bool cut = atomic_exchange(&s->cut, false);
		bool call = atomic_exchange(&s->call, false);

		for (unsigned i = 0; i < s->n; i++)
			tend(s, &s->links[i], now, cut, call);
	}
	return NULL;
}

/* ---- from outside ------------------------------------------------------------------------ */

struct swarm *swarm_start(const char *endpoint, unsigned clients, unsigned workers)
{
	struct swarm *s = calloc(1, sizeof *s);
	const char *colon = strrchr(endpoint, ':');

	if (!s || !(s->links = calloc(clients + workers, sizeof *s->links)))
		die("out of memory");
	s->n = clients + workers;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	s->address = (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(colon + 1)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	for (unsigned i = 0; i < s->n; i++) {
		struct link *l = &s->links[i];

		l->fd = -1;
		l->is_worker = i < workers;
		memcpy(l->boot, &i, sizeof i);
		l->boot[15] = 0x5a;
	}
	if (s->epoll < 0 || pthread_create(&s->thread, NULL, run, s) != 0)
		die("a thread");
	return s;
}

void swarm_stop(struct swarm **sp)
{
	struct swarm *s = *sp;

	if (!s)
		return;
	*sp = NULL;
	s->ends = true;
	pthread_join(s->thread, NULL);
	for (unsigned i = 0; i < s->n; i++)
		if (s->links[i].fd >= 0)
			close(s->links[i].fd);
	close(s->epoll);
	free(s->links);
	free(s);
}

unsigned swarm_welcome(struct swarm *s)
{
	return s->welcome;
}

uint64_t swarm_welcomes(struct swarm *s)
{
	return s->welcomes;
}

uint64_t swarm_turned_away(struct swarm *s)
{
	return s->turned_away;
}

void swarm_cut(struct swarm *s)
{
	s->cut = true;
}

void swarm_call(struct swarm *s)
{
	s->call = true;
}

uint64_t swarm_called(struct swarm *s)
{
	return s->called;
}

uint64_t swarm_answered(struct swarm *s)
{
	return s->answered;
}

uint64_t swarm_failed(struct swarm *s)
{
	return s->failed;
}

uint64_t swarm_cut_off(struct swarm *s)
{
	return s->cut_off;
}
