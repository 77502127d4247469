#include "cli/fabric_notes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NOTE_MAX 4096 /* a longer one is cut */

struct cli_notes {
	uv_poll_t poll; /* first: what is freed when it is closed */
	int fd;
	cli_notes_fn *fn;
	void *arg;
};

/* UNTRUSTED: lines NAME=value, of which two are for us. */
static void read_words(struct cli_notes *notes, pid_t pid, char *text)
{
	char *rest = NULL;

	for (const char *line = strtok_r(text, "\n", &rest); line;
		line = strtok_r(NULL, "\n", &rest)) {
		if (strcmp(line, "READY=1") == 0)
			notes->fn(notes->arg, pid, CLI_NOTE_READY);
		else if (strcmp(line, "STOPPING=1") == 0)
			notes->fn(notes->arg, pid, CLI_NOTE_STOPPING);
	}
}

static pid_t sender_of(struct msghdr *message)
{
	struct ucred who;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&who, CMSG_DATA(c), sizeof who);
		return who.pid;
	}
	return 0;
}

/* Descriptors that somebody sends along do not arrive: there is room for the credentials alone. */
static bool read_one(struct cli_notes *notes)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	char text[NOTE_MAX + 1];
	struct iovec part = { text, NOTE_MAX };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof control };
	ssize_t n;
	pid_t pid;

	do
		n = recvmsg(notes->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return false;
	text[n] = '\0';
	pid = sender_of(&message);
	if (pid > 0)
		read_words(notes, pid, text);
	return true;
}

void cli_notes_read(struct cli_notes *notes)
{
	while (read_one(notes))
		;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	cli_notes_read(poll->data);
}

static int open_socket(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1;

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0 &&
		bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
		chmod(path, 0600) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle);
}

enum base_err cli_notes_new(struct net_loop *loop, const char *path, cli_notes_fn *fn, void *arg,
	struct cli_notes **out)
{
	struct cli_notes *notes = calloc(1, sizeof *notes);

	if (!notes)
		return BASE_NOMEM;
	*notes = (struct cli_notes){ .fd = open_socket(path), .fn = fn, .arg = arg };
	if (notes->fd < 0 || uv_poll_init(net_loop_uv(loop), &notes->poll, notes->fd) != 0) {
		if (notes->fd >= 0)
			close(notes->fd);
		free(notes);
		return BASE_IO;
	}
	notes->poll.data = notes;
	(void)uv_poll_start(&notes->poll, UV_READABLE, on_readable);
	*out = notes;
	return BASE_OK;
}

void cli_notes_free(struct cli_notes **np)
{
	struct cli_notes *notes = *np;

	if (!notes)
		return;
	*np = NULL;
	(void)uv_poll_stop(&notes->poll);
	close(notes->fd);
	uv_close((uv_handle_t *)&notes->poll, on_closed);
}
