/* The peer that the HTTP benches measure against: libmicrohttpd alone, one thread and
 * epoll, answering every request with what the hello service says to nobody in
 * particular. nginx's proxy_pass stands in front of it for the call benches; bare, it is
 * what our HTTP layer is held against.
 *
 *   mhd_hello PORT     (127.0.0.1; prints "ready" and runs until it is killed)
 */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const char body[] = "{\"message\":\"Hello, Pirn!\"}";

static enum MHD_Result answer(void *arg, struct MHD_Connection *connection, const char *url, const char *method,
                              const char *version, const char *data, size_t *size, void **context)
{
	static int head_seen;
	struct MHD_Response *response;
	enum MHD_Result queued;

	(void)arg;
	(void)url;
	(void)method;
	(void)version;
	(void)data;
	if (!*context) {
		*context = &head_seen;
		return MHD_YES;
	}
	if (*size) {
		*size = 0;
		return MHD_YES;
	}
	response = MHD_create_response_from_buffer(sizeof body - 1, (void *)(size_t)body, MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", "application/json");
	queued = MHD_queue_response(connection, MHD_HTTP_OK, response);
	MHD_destroy_response(response);
	return queued;
}

/* Its own thread of epoll would wait in the middle of a turn whenever exactly 128 connections had
 * something to say, as 256 busy ones often do; when we wait for it, it does not. */
static void serve(struct MHD_Daemon *daemon)
{
	const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD);
	struct pollfd ready = { .fd = info->epoll_fd, .events = POLLIN };
	MHD_UNSIGNED_LONG_LONG left_ms;

	for (;;) {
		bool bounded = MHD_get_timeout(daemon, &left_ms) == MHD_YES;

		if (!bounded || left_ms > 0)
			(void)poll(&ready, 1, bounded && left_ms < 1000 ? (int)left_ms : 1000);
		if (MHD_run(daemon) != MHD_YES)
			exit(1);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct MHD_Daemon *daemon;

	if (argc != 2 || atoi(argv[1]) <= 0 || atoi(argv[1]) > 65535) {
		fprintf(stderr, "usage: mhd_hello PORT\n");
		return 2;
	}
	address.sin_port = htons((uint16_t)atoi(argv[1]));
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, answer, NULL, MHD_OPTION_SOCK_ADDR,
	                          (struct sockaddr *)&address, MHD_OPTION_CONNECTION_LIMIT, 1000u, MHD_OPTION_END);
	if (!daemon) {
		fprintf(stderr, "mhd_hello: cannot listen on 127.0.0.1:%s\n", argv[1]);
		return 1;
	}
	printf("ready\n");
	fflush(stdout);
	serve(daemon);
}
