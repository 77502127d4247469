#include "tests/harness/redis.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#define MAX_OPTIONS 16
#define START_MS 120000

struct harness_redis {
	struct harness_redis *next;
	pid_t owner; /* a fork of the test must not stop it */
	char dir[128];
	char url[192];
	char socket[160];
	char tcp[64];
	const char *password;
	char *options[MAX_OPTIONS];
	size_t n_options;
	const char *const *environment;
	unsigned port;
	pid_t pid;
};

/* Those that run: a test that fails jumps out before it could stop its own. */
static struct harness_redis *running;

static void die(const struct harness_redis *r, const char *what)
{
	fprintf(stderr, "harness: redis-server: %s (%s)\n", what, strerror(errno));
	if (r) {
		char command[256];
		snprintf(command, sizeof command, "tail -n 20 '%s/log' >&2", r->dir);
		if (system(command) != 0)
			fprintf(stderr, "harness: no log\n");
	}
	abort();
}

static void nap(void)
{
	const struct timespec ms5 = { .tv_nsec = 5 * 1000 * 1000 };
	nanosleep(&ms5, NULL);
}

static unsigned free_port(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t size = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
		getsockname(fd, (struct sockaddr *)&address, &size) != 0)
		die(NULL, "no free port");
	close(fd);
	return ntohs(address.sin_port);
}

static void become_server(struct harness_redis *r, pid_t parent)
{
	char port[16];
	char log[160];
	snprintf(port, sizeof port, "%u", r->port);
	snprintf(log, sizeof log, "%s/log", r->dir);
	const char *argv[32 + MAX_OPTIONS] = { "redis-server", "--port", port, "--bind",
		"127.0.0.1", "--unixsocket", r->socket, "--dir", r->dir, "--appendonly", "yes",
		"--appendfsync", "always", "--maxmemory-policy", "noeviction", "--save", "",
		"--daemonize", "no" };
	size_t n = 19;
	for (size_t i = 0; i < r->n_options; i++)
		argv[n++] = r->options[i];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	setpgid(0, 0);
	int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0) {
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
	}
	for (const char *const *line = r->environment; line && *line; line++)
		putenv((char *)*line);
	execvp(argv[0], (char **)argv);
	_exit(127);
}

void harness_redis_spawn(struct harness_redis *r)
{
	if (r->pid)
		die(r, "started twice");
	unlink(r->socket);
	pid_t parent = getpid();
	r->pid = fork();
	if (r->pid < 0)
		die(r, "cannot fork");
	if (r->pid == 0)
		become_server(r, parent);
}

/* A context, logged in; NULL while the server is not there. */
static redisContext *dial(const struct harness_redis *r)
{
	const struct timeval patience = { .tv_sec = 5 };
	redisContext *c = redisConnectUnixWithTimeout(r->socket, patience);
	if (!c || c->err) {
		if (c)
			redisFree(c);
		return NULL;
	}
	redisSetTimeout(c, patience);
	if (r->password) {
		redisReply *reply = redisCommand(c, "AUTH %s", r->password);
		if (reply)
			freeReplyObject(reply);
	}
	return c;
}

static bool answers(const struct harness_redis *r)
{
	redisContext *c = dial(r);
	if (!c)
		return false;
	redisReply *reply = redisCommand(c, "PING");
	bool up = reply && reply->str &&
		  (!strcmp(reply->str, "PONG") || !strncmp(reply->str, "NOAUTH", 6));
	if (reply)
		freeReplyObject(reply);
	redisFree(c);
	return up;
}

static void wait_until_up(struct harness_redis *r)
{
	for (unsigned waited_ms = 0; !answers(r); waited_ms += 5) {
		if (waitpid(r->pid, NULL, WNOHANG) != 0)
			die(r, "it ended at once");
		if (waited_ms > START_MS)
			die(r, "it does not answer");
		nap();
	}
}

void harness_redis_restart(struct harness_redis *r)
{
	harness_redis_spawn(r);
	wait_until_up(r);
}

static void stop_all(void)
{
	while (running && running->owner == getpid()) {
		struct harness_redis *r = running;
		harness_redis_stop(&r);
	}
}

struct harness_redis *harness_redis_start(bool tcp, const char *const *options)
{
	return harness_redis_start_in(NULL, tcp, options);
}

struct harness_redis *harness_redis_start_in(
	const char *const *environment, bool tcp, const char *const *options)
{
	struct harness_redis *r = calloc(1, sizeof *r);
	if (!r)
		die(NULL, "out of memory");
	r->environment = environment;
	const char *tmp = getenv("TMPDIR");
	if (!tmp || strlen(tmp) > 60) /* a unix socket's path has 107 bytes */
		tmp = "/tmp";
	snprintf(r->dir, sizeof r->dir, "%s/pirn-redis-XXXXXX", tmp);
	if (!mkdtemp(r->dir))
		die(NULL, "no directory");
	snprintf(r->socket, sizeof r->socket, "%s/redis.sock", r->dir);
	snprintf(r->url, sizeof r->url, "unix://%s", r->socket);
	for (; options && options[r->n_options]; r->n_options++) {
		if (r->n_options == MAX_OPTIONS ||
			!(r->options[r->n_options] = strdup(options[r->n_options])))
			die(NULL, "too many options");
		if (r->n_options && !strcmp(r->options[r->n_options - 1], "--requirepass"))
			r->password = r->options[r->n_options];
	}
	if (tcp) {
		r->port = free_port();
		snprintf(r->tcp, sizeof r->tcp, "redis://127.0.0.1:%u", r->port);
	}
	static bool registered;
	if (!registered)
		atexit(stop_all);
	registered = true;
	r->owner = getpid();
	r->next = running;
	running = r;
	harness_redis_restart(r);
	return r;
}

bool harness_redis_is_running(struct harness_redis *r)
{
	if (r->pid && waitpid(r->pid, NULL, WNOHANG) == r->pid)
		r->pid = 0;
	return r->pid != 0;
}

void harness_redis_kill(struct harness_redis *r)
{
	if (!r->pid)
		return;
	kill(r->pid, SIGKILL);
	while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
		;
	r->pid = 0;
}

void harness_redis_stop(struct harness_redis **rp)
{
	struct harness_redis *r = *rp;
	if (!r)
		return;
	*rp = NULL;
	for (struct harness_redis **at = &running; *at; at = &(*at)->next) {
		if (*at == r) {
			*at = r->next;
			break;
		}
	}
	harness_redis_kill(r);
	char command[192];
	snprintf(command, sizeof command, "rm -rf '%s'", r->dir);
	if (system(command) != 0)
		fprintf(stderr, "harness: %s is left behind\n", r->dir);
	for (size_t i = 0; i < r->n_options; i++)
		free(r->options[i]);
	free(r);
}

void harness_redis_pause(struct harness_redis *r)
{
	kill(r->pid, SIGSTOP);
	while (waitpid(r->pid, NULL, WUNTRACED) < 0 && errno == EINTR)
		;
}

void harness_redis_resume(struct harness_redis *r)
{
	kill(r->pid, SIGCONT);
}

const char *harness_redis_url(const struct harness_redis *r)
{
	return r->url;
}

const char *harness_redis_tcp(const struct harness_redis *r)
{
	return r->tcp;
}

const char *harness_redis_dir(const struct harness_redis *r)
{
	return r->dir;
}

unsigned harness_redis_port(const struct harness_redis *r)
{
	return r->port;
}

pid_t harness_redis_pid(const struct harness_redis *r)
{
	return r->pid;
}

static void print(FILE *out, const redisReply *reply)
{
	switch (reply->type) {
	case REDIS_REPLY_INTEGER:
		fprintf(out, "%lld", reply->integer);
		break;
	case REDIS_REPLY_NIL:
		fputs("(nil)", out);
		break;
	case REDIS_REPLY_ARRAY:
		for (size_t i = 0; i < reply->elements; i++) {
			if (i)
				fputc('\n', out);
			print(out, reply->element[i]);
		}
		break;
	default:
		fwrite(reply->str, 1, (size_t)reply->len, out);
	}
}

static char *ask(struct harness_redis *r, char *line)
{
	const char *words[128];
	int n = 0;
	char *rest = NULL;
	for (char *word = strtok_r(line, " ", &rest); word && n < 128;
		word = strtok_r(NULL, " ", &rest))
		words[n++] = word;
	redisContext *c = dial(r);
	if (!c)
		die(r, "cannot connect");
	redisReply *reply = redisCommandArgv(c, n, words, NULL);
	if (!reply)
		die(r, "no reply");
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	if (!out)
		die(r, "out of memory");
	print(out, reply);
	fclose(out);
	freeReplyObject(reply);
	redisFree(c);
	return text;
}

__attribute__((format(printf, 2, 0))) static char *vcommand(
	struct harness_redis *r, const char *format, va_list args)
{
	char *line = NULL;
	if (vasprintf(&line, format, args) < 0)
		die(r, "out of memory");
	char *text = ask(r, line);
	free(line);
	return text;
}

char *harness_redis_command(struct harness_redis *r, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = vcommand(r, format, args);
	va_end(args);
	return text;
}

bool harness_redis_says(struct harness_redis *r, const char *expected, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	char *text = vcommand(r, format, args);
	va_end(args);
	bool same = strcmp(text, expected) == 0;
	if (!same)
		fprintf(stderr, "harness: Redis says \"%s\", not \"%s\"\n", text, expected);
	free(text);
	return same;
}

void harness_redis_try(struct harness_redis *r, const char *command)
{
	redisContext *c = dial(r);
	redisReply *reply = c ? redisCommand(c, command) : NULL;

	if (reply)
		freeReplyObject(reply);
	if (c)
		redisFree(c);
}
