#include "cli/fabric_control.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG     8
#define CLIENTS_MAX 16
#define UNKNOWN     "the request is not one that this version knows"

struct client {
	uv_pipe_t pipe; /* first */
	struct cli_control *control;
	struct client *next;
	bool asked; /* its line was there */
	char line[CLI_CONTROL_LINE];
	size_t size;
};

struct cli_control {
	uv_pipe_t pipe; /* first */
	cli_control_fn *fn;
	void *arg;
	struct client *clients;
	unsigned n_clients;
	struct client *watcher; /* is told how its restart goes */
};

enum cli_group cli_control_group(const char *word)
{
	static const char *const words[CLI_GROUP__N] = { NULL, "broker", "worker", "gateway" };

	for (enum cli_group g = CLI_BROKERS; g < CLI_GROUP__N; g++)
		if (strcmp(word, words[g]) == 0)
			return g;
	return CLI_GROUP__N;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

static void drop(struct client *client)
{
	struct cli_control *c = client->control;
	struct client **at = &c->clients;

	while (*at != client)
		at = &(*at)->next;
	*at = client->next;
	c->n_clients--;
	if (c->watcher == client)
		c->watcher = NULL;
	uv_close((uv_handle_t *)&client->pipe, on_closed);
}

/* The few lines of a restart fit into the socket. Who does not read them misses them. */
static void say(struct client *client, const char *line)
{
	uv_buf_t parts[2] = { uv_buf_init((char *)(uintptr_t)line, (unsigned)strlen(line)),
		uv_buf_init((char *)(uintptr_t) "\n", 1) };

	(void)uv_try_write((uv_stream_t *)&client->pipe, parts, 2);
}

void cli_control_say(struct cli_control *c, bool last, const char *format, ...)
{
	char line[CLI_CONTROL_LINE];
	va_list args;

	if (!c->watcher)
		return;
	va_start(args, format);
	(void)vsnprintf(line, sizeof line, format, args);
	va_end(args);
	say(c->watcher, line);
	if (last)
		drop(c->watcher);
}

/* ---- requests -------------------------------------------------------------------- */

/* UNTRUSTED, though it comes from our own user. False: it makes no sense. */
static bool read_request(char *line, bool groups[CLI_GROUP__N])
{
	char *rest = NULL;
	const char *word = strtok_r(line, " ", &rest);
	bool any = false;

	if (!word || strcmp(word, "restart") != 0)
		return false;
	while ((word = strtok_r(NULL, " ", &rest))) {
		enum cli_group group = cli_control_group(word);

		if (group == CLI_GROUP__N)
			return false;
		groups[group] = any = true;
	}
	for (enum cli_group g = CLI_BROKERS; !any && g < CLI_GROUP__N; g++)
		groups[g] = true;
	return true;
}

static void on_request(struct client *client)
{
	struct cli_control *c = client->control;
	struct client *watcher = c->watcher;
	bool groups[CLI_GROUP__N] = { false };
	char answer[CLI_CONTROL_LINE];
	const char *refusal = UNKNOWN;

	client->asked = true;
	if (read_request(client->line, groups)) {
		/* What it begins may end at once, and is told then. */
		c->watcher = client;
		refusal = c->fn(c->arg, groups);
	}
	if (!refusal)
		return;
	c->watcher = watcher;
	(void)snprintf(answer, sizeof answer, "refused %s", refusal);
	say(client, answer);
	drop(client);
}

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
	struct client *client = (struct client *)(void *)handle;

	(void)wanted;
	*out = uv_buf_init(
		client->line + client->size, (unsigned)(sizeof client->line - 1 - client->size));
}

/* After its line only its end is of interest: what else it sends fills the rest of the room, and then
 * there is none, which libuv tells as an error. */
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *room)
{
	struct client *client = (struct client *)(void *)stream;
	char *end;

	(void)room;
	if (n < 0) {
		drop(client);
		return;
	}
	client->size += (size_t)n;
	client->line[client->size] = '\0';
	end = strchr(client->line, '\n');
	if (!end || client->asked)
		return;
	*end = '\0';
	on_request(client);
}

static void on_connection(uv_stream_t *stream, int status)
{
	struct cli_control *c = (struct cli_control *)(void *)stream;
	struct client *client = status < 0 ? NULL : calloc(1, sizeof *client);

	if (!client)
		return;
	if (uv_pipe_init(stream->loop, &client->pipe, 0) != 0) {
		free(client);
		return;
	}
	client->control = c;
	client->next = c->clients;
	c->clients = client;
	c->n_clients++;
	if (uv_accept(stream, (uv_stream_t *)&client->pipe) != 0 || c->n_clients > CLIENTS_MAX ||
		uv_read_start((uv_stream_t *)&client->pipe, on_room, on_read) != 0)
		drop(client);
}

/* ---- life -------------------------------------------------------------------------- */

enum base_err cli_control_new(
	struct net_loop *loop, int fd, cli_control_fn *fn, void *arg, struct cli_control **out)
{
	struct cli_control *c = calloc(1, sizeof *c);

	if (!c)
		return BASE_NOMEM;
	c->fn = fn;
	c->arg = arg;
	if (uv_pipe_init(net_loop_uv(loop), &c->pipe, 0) != 0) {
		free(c);
		return BASE_IO;
	}
	if (uv_pipe_open(&c->pipe, fd) != 0) {
		uv_close((uv_handle_t *)&c->pipe, on_closed);
		return BASE_IO;
	}
	*out = c;
	if (uv_listen((uv_stream_t *)&c->pipe, BACKLOG, on_connection) == 0)
		return BASE_OK;
	cli_control_free(out);
	return BASE_IO;
}

void cli_control_free(struct cli_control **cp)
{
	struct cli_control *c = *cp;

	if (!c)
		return;
	*cp = NULL;
	while (c->clients)
		drop(c->clients);
	uv_close((uv_handle_t *)&c->pipe, on_closed);
}
