#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/notify.h"

#define SAFE_FD 32 /* above all that the child is given */

/* Between fork and exec: only what is safe after fork. Returns on failure, with errno. */
static void become(const struct cli_process *p, char *const *environment, pid_t parent)
{
	int copies[CLI_FDS_MAX];
	sigset_t none;
	int null;

	if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		return;
	if (getppid() != parent) /* it died before the death signal was set */
		_exit(1);
	for (int n = 1; n < NSIG; n++)
		(void)signal(n, SIG_DFL);
	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) != 0 || (p->folder && chdir(p->folder) != 0))
		return;
	for (size_t i = 0; i < p->n_fds; i++)
		if ((copies[i] = fcntl(p->fds[i], F_DUPFD_CLOEXEC, SAFE_FD)) < 0)
			return;
	for (size_t i = 0; i < p->n_fds; i++)
		if (dup2(copies[i], CLI_FIRST_FD + (int)i) < 0)
			return;
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0)
		return;
	(void)execve(p->path, (char *const *)p->argv, environment);
}

/* What went wrong in the child, or 0: the pipe closes when exec has worked. */
static int read_failure(int fd)
{
	int failure = 0;
	ssize_t n;

	do
		n = read(fd, &failure, sizeof failure);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof failure ? failure : 0;
}

static _Noreturn void report(int fd)
{
	int failure = errno;
	ssize_t n = write(fd, &failure, sizeof failure);

	_exit(n == (ssize_t)sizeof failure ? 126 : 127);
}

/* Ours, with another NOTIFY_SOCKET; NULL without memory. */
static char **make_environment(const char *notify)
{
	const size_t name = strlen(NET_NOTIFY_VARIABLE);
	size_t n = 0;
	char **out;

	while (environ[n])
		n++;
	out = calloc(n + 2, sizeof *out);
	if (!out)
		return NULL;
	n = 0;
	for (char **line = environ; *line; line++)
		if (strncmp(*line, NET_NOTIFY_VARIABLE, name) != 0 || (*line)[name] != '=')
			out[n++] = *line;
	if (notify)
		out[n] = (char *)(uintptr_t)notify;
	return out;
}

static enum base_err spawn_with(const struct cli_process *p, char *const *environment, pid_t *out)
{
	pid_t parent = getpid();
	sigset_t all;
	sigset_t before;
	int tell[2];
	int failure;
	pid_t pid;

	/* Far away from the numbers that the child is given. */
	if (pipe2(tell, O_CLOEXEC) != 0)
		return base_err_from_errno(errno);
	int far = fcntl(tell[1], F_DUPFD_CLOEXEC, SAFE_FD);
	close(tell[1]);
	if (far < 0) {
		close(tell[0]);
		return base_err_from_errno(errno);
	}
	/* The loop's signal handlers must not run in the child: they write to our loop. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = fork();
	if (pid == 0) {
		become(p, environment, parent);
		report(far);
	}
	failure = pid < 0 ? errno : 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(far);
	if (pid > 0)
		failure = read_failure(tell[0]);
	close(tell[0]);
	if (failure) {
		if (pid > 0)
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
		return base_err_from_errno(failure);
	}
	*out = pid;
	return BASE_OK;
}

enum base_err cli_process_spawn(const struct cli_process *p, pid_t *out)
{
	char **environment = make_environment(p->notify);
	enum base_err err = environment ? spawn_with(p, environment, out) : BASE_NOMEM;

	free(environment);
	return err;
}
