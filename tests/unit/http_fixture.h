/* For the tests of the gateway's HTTP: raw clients and the server's loop in one thread.
 * A client's socket does not block; whoever waits turns the loop and looks again, until
 * the fact is there or a minute is over, which only a failing test sees.
 */
#ifndef HTTP_FIXTURE_H
#define HTTP_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "net/loop.h"

#define PATIENCE_MS 60000u

struct client {
	int fd;
	bool closed;           /* the server's end is */
	struct base_buf in;    /* NUL-terminated */
};

static inline void on_tick(uv_timer_t *timer)
{
	(void)timer;
}

/* One turn; returns within some milliseconds even when nothing happens. The timer repeats, because
 * one that is due before the loop begins to wait is over by then. */
static inline void turn(struct net_loop *loop)
{
	uv_timer_t *tick = malloc(sizeof *tick);

	assert_non_null(tick);
	assert_int_equal(uv_timer_init(net_loop_uv(loop), tick), 0);
	assert_int_equal(uv_timer_start(tick, on_tick, 2, 2), 0);
	uv_run(net_loop_uv(loop), UV_RUN_ONCE);
	uv_close((uv_handle_t *)tick, (uv_close_cb)free);
	uv_run(net_loop_uv(loop), UV_RUN_NOWAIT);
}

static inline struct client client_open(const char *address)
{
	struct client c = { .fd = socket(AF_INET, SOCK_STREAM, 0) };
	struct sockaddr_in sa = { .sin_family = AF_INET };

	base_buf_init(&c.in);
	sa.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_true(c.fd >= 0);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&sa, sizeof sa), 0);
	return c;
}

static inline void client_close(struct client *c)
{
	close(c->fd);
	base_buf_fini(&c->in);
}

static inline void client_read(struct client *c)
{
	ssize_t n;

	while (!c->closed) {
		uint8_t *room = base_buf_room(&c->in, 65536);
		assert_non_null(room);
		n = recv(c->fd, room, 65536, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0) {
			c->closed = true;
			return;
		}
		base_buf_grew(&c->in, (size_t)n);
		c->in.data[c->in.size] = '\0';
	}
}

/* Sends all of it while the server runs; false: the server's end is closed. */
static inline bool client_send(
	struct net_loop *loop, struct client *c, const void *data, size_t size)
{
	size_t sent = 0;

	while (sent < size) {
		ssize_t n = send(
			c->fd, (const char *)data + sent, size - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN)
			return false;
		if (n > 0)
			sent += (size_t)n;
		turn(loop);
		client_read(c);
	}
	return true;
}

static inline bool client_say(struct net_loop *loop, struct client *c, const char *text)
{
	return client_send(loop, c, text, strlen(text));
}

/* A turn, and a look at what came; c may be NULL. Fails the test when end_ms is over. */
static inline void step(
	struct net_loop *loop, struct client *c, uint64_t end_ms, const char *condition)
{
	if (base_clock_ms() > end_ms)
		fail_msg("waited in vain for %s; got: %s", condition,
			c ? (const char *)c->in.data : "");
	turn(loop);
	if (c)
		client_read(c);
}

#define until(loop, client, condition) \
	do { \
		uint64_t end_ = base_clock_ms() + PATIENCE_MS; \
		while (!(condition)) \
			step(loop, client, end_, #condition); \
	} while (0)

/* The value of a header in the first response, in out; false: it is not there. Names are compared as
 * they are written. */
static inline bool response_header(const struct client *c, const char *name, char *out, size_t room)
{
	char wanted[128];
	const char *text = (const char *)c->in.data, *end = strstr(text, "\r\n\r\n"), *at,
		   *line_end;

	snprintf(wanted, sizeof wanted, "\r\n%s: ", name);
	at = strstr(text, wanted);
	if (!at || !end || at > end)
		return false;
	at += strlen(wanted);
	line_end = strstr(at, "\r\n");
	snprintf(out, room, "%.*s", (int)(line_end - at), at);
	return true;
}

/* Behind the head of the first response; NULL: the head is not whole. */
static inline const char *response_body(const struct client *c)
{
	const char *end = strstr((const char *)c->in.data, "\r\n\r\n");

	return end ? end + 4 : NULL;
}

/* Whether the first response is there to its end, by its Content-Length (or by its head alone). */
static inline bool response_whole(const struct client *c, bool bodiless)
{
	char length[32];
	const char *body = response_body(c);

	if (!body)
		return false;
	if (bodiless || !response_header(c, "Content-Length", length, sizeof length))
		return true;
	return c->in.size - (size_t)(body - (const char *)c->in.data) >= (size_t)atol(length);
}

static inline unsigned response_status(const struct client *c)
{
	const char *text = (const char *)c->in.data;

	return strncmp(text, "HTTP/1.1 ", 9) == 0 ? (unsigned)atoi(text + 9) : 0;
}

/* Forgets the first response, for the next one on the same connection. */
static inline void response_forget(struct client *c)
{
	base_buf_reset(&c->in);
}

static inline void expect_problem(struct client *c, unsigned status)
{
	char type[64], member[32];

	assert_int_equal(response_status(c), status);
	assert_true(response_header(c, "Content-Type", type, sizeof type));
	assert_string_equal(type, "application/problem+json");
	snprintf(member, sizeof member, "\"status\":%u", status);
	assert_non_null(strstr(response_body(c), member));
	assert_non_null(strstr(response_body(c), "\"detail\":\""));
}

#endif
