/* libcurl's sockets in the loop.
 *
 * A socket is watched from its opening to its end by one handle. Between two exchanges
 * libcurl says that it wants to hear nothing of a kept connection; the watch stays as
 * it is then, since the next exchange will want the same, and to change it costs two
 * system calls. If something comes meanwhile (the endpoint closes, mostly), the watch ends,
 * and libcurl finds out when it wants to use the connection again.
 */
#include "worker/http_parts.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct wrk_socket *socket_of(const struct wrk_http *h, curl_socket_t fd)
{
	return fd >= 0 && (size_t)fd < h->n_sockets ? h->sockets[fd] : NULL;
}

static bool make_room(struct wrk_http *h, curl_socket_t fd)
{
	size_t n = h->n_sockets ? h->n_sockets : 64;
	struct wrk_socket **sockets;

	while (n <= (size_t)fd)
		n *= 2;
	if (n == h->n_sockets)
		return true;
	sockets = realloc(h->sockets, n * sizeof *sockets);
	if (!sockets)
		return false;
	memset(sockets + h->n_sockets, 0, (n - h->n_sockets) * sizeof *sockets);
	h->sockets = sockets;
	h->n_sockets = n;
	return true;
}

static bool watch(struct wrk_http *h, curl_socket_t fd)
{
	struct wrk_socket *s = make_room(h, fd) ? calloc(1, sizeof *s) : NULL;

	if (!s || uv_poll_init_socket(&h->loop, &s->poll, fd) != 0) {
		free(s);
		return false;
	}
	s->fd = fd;
	s->http = h;
	h->sockets[fd] = s;
	return true;
}

/* ---- opening and closing ---------------------------------------------------------- */

static void note_denied(struct wrk_call *call, const struct sockaddr *address)
{
	char text[INET6_ADDRSTRLEN] = "?";

	if (address->sa_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, text,
			sizeof text);
	else if (address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
			text, sizeof text);
	(void)snprintf(call->denied, sizeof call->denied, "%s", text);
}

/* The last word about where anything goes: this very address is connected to, or nothing is. */
curl_socket_t wrk_socket_open(void *clientp, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct wrk_call *call = clientp;
	struct wrk_http *h = call->http;
	curl_socket_t fd;

	(void)purpose;
	if (!wrk_allow_has(&h->allow, call->target->host, call->target->port, &address->addr)) {
		note_denied(call, &address->addr);
		return CURL_SOCKET_BAD;
	}
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	if (!watch(h, fd)) {
		close(fd);
		return CURL_SOCKET_BAD;
	}
	atomic_fetch_add(&h->connects, 1);
	atomic_fetch_add(&h->connections, 1);
	return fd;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

int wrk_socket_close(void *clientp, curl_socket_t fd)
{
	struct wrk_http *h = clientp;
	struct wrk_socket *s = socket_of(h, fd);

	if (s) {
		h->sockets[fd] = NULL;
		uv_close((uv_handle_t *)&s->poll, on_closed);
		atomic_fetch_sub(&h->connections, 1);
	}
	return close(fd);
}

/* ---- watching ------------------------------------------------------------------------ */

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct wrk_socket *s = (struct wrk_socket *)poll;
	int flags = 0;

	if (status < 0) { /* libuv watches it no more; libcurl asks the socket what it is */
		s->polled = 0;
		flags = CURL_CSELECT_IN | CURL_CSELECT_OUT;
	}
	if (s->wanted == 0) {
		(void)uv_poll_stop(poll);
		s->polled = 0;
		return;
	}
	flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
	flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
	wrk_socket_ready(s->http, s->fd, flags);
}

int wrk_socket_want(CURL *easy, curl_socket_t fd, int what, void *userp, void *socketp)
{
	struct wrk_socket *s = socket_of(userp, fd);

	(void)easy, (void)socketp;
	if (!s)
		return 0;
	s->wanted = what == CURL_POLL_REMOVE ? 0
					     : (what & CURL_POLL_IN ? UV_READABLE : 0) |
						       (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
	if (s->wanted == s->polled || (s->wanted == 0 && s->polled == UV_READABLE))
		return 0;
	if (s->wanted == 0)
		(void)uv_poll_stop(&s->poll);
	else if (uv_poll_start(&s->poll, s->wanted, on_poll) != 0)
		return -1;
	s->polled = s->wanted;
	return 0;
}
