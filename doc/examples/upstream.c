/* A service that asks another server, behind a breaker:
 *
 *	service: upstream
 *	handler: upstream.so
 *	timeout: 2s
 *	env: { HOST: 10.0.0.9, PORT: "7000" }
 *
 * It connects, reads one line, and answers with it. Two things keep a server that is down or silent
 * from taking all of the service's threads along: what is waited for has an end (the time that is
 * left), and after a few failures nobody waits at all until a probe has found it well again.
 */
#include <pirn/service.h>

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int connect_to(const struct addrinfo *to, const struct timeval *patience)
{
	int fd = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, to->ai_protocol);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, patience, sizeof *patience); /* of connect(), too */
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, patience, sizeof *patience);
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
		return fd;
	close(fd);
	return -1;
}

/* The server's line, without its end; false: there was none in time. */
static bool ask(uint64_t left_ms, char *line, size_t room)
{
	struct timeval patience = { .tv_sec = (time_t)(left_ms / 2000),
		.tv_usec = (suseconds_t)(left_ms / 2 % 1000 * 1000) }; /* for each of the two */
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *to;
	ssize_t n;
	int fd;

	if (left_ms < 2 || getaddrinfo(pirn_env("HOST"), pirn_env("PORT"), &hints, &to) != 0)
		return false;
	fd = connect_to(to, &patience);
	freeaddrinfo(to);
	if (fd < 0)
		return false;
	n = recv(fd, line, room - 1, 0);
	close(fd);
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\r\n")] = '\0';
	return n > 0;
}

static int upstream(struct pirn_request *req, struct pirn_response *res)
{
	char line[256];
	int err = pirn_breaker_enter(req, "upstream");
	bool ok;

	if (err)
		return err; /* open: 503, and when to come again */
	ok = ask(pirn_request_left_ms(req), line, sizeof line);
	pirn_breaker_leave(req, "upstream", ok);
	if (!ok)
		return pirn_respond_problem(res, 502, NULL, "the server did not answer");
	return pirn_respond_json(res, 200, "{\"line\":%s}", pirn_json_string(req, line, strlen(line)));
}

/* It comes back quickly: half a second of rest is enough for it. */
static int init(void)
{
	static const struct pirn_breaker_options options = { .consecutive = 3, .open_ms = 500 };

	return pirn_breaker_set("upstream", &options);
}

PIRN_SERVICE(.handler = upstream, .init = init);
