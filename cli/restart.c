/* pirn restart: has a `pirn up` replace its processes, one after another, and tells how
 * it goes. cli/fabric_control.h has the few words that the two say to each other.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/fabric_control.h"

struct settings {
	char *data;
};

/* From within the directory, because a socket's path is short. The one we were in is not needed again. */
static FILE *reach(const char *data)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = CLI_CONTROL_SOCKET };
	int fd = chdir(data) == 0 ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
	FILE *stream = NULL;

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
		stream = fdopen(fd, "r+");
	if (stream)
		return stream;
	cli_complain("no `pirn up` runs on %s: %s", data, strerror(errno));
	if (fd >= 0)
		close(fd);
	return NULL;
}

static bool ask(FILE *up, int n, char *const *groups)
{
	bool said = fputs("restart", up) >= 0;

	for (int i = 0; i < n && said; i++)
		said = fprintf(up, " %s", groups[i]) > 0;
	return said && fputc('\n', up) != EOF && fflush(up) == 0;
}

/* "CHILD WHY" */
static void explain(char *words)
{
	static const struct {
		const char *word, *sentence;
	} reasons[] = {
		{ "died", "the new process ended before it was ready" },
		{ "late", "the new process was not ready in time" },
		{ "stopped", "everything is being stopped" },
	};
	char *space = strchr(words, ' ');
	const char *why = space ? space + 1 : "";

	if (space)
		*space = '\0';
	for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
		if (strcmp(why, reasons[i].word) == 0)
			why = reasons[i].sentence;
	cli_complain("%s: %s; what comes after it was left as it is", words, why);
}

/* True: that was the last line. */
static bool take(char *line, int *status)
{
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, "replaced ", 9) == 0) {
		printf("%s\n", line);
		fflush(stdout);
		return false;
	}
	*status = CLI_FAILED;
	if (strcmp(line, "done") == 0)
		*status = CLI_OK;
	else if (strncmp(line, "failed ", 7) == 0)
		explain(line + 7);
	else if (strncmp(line, "refused ", 8) == 0)
		cli_complain("%s", line + 8);
	else
		return false; /* of a newer one */
	return true;
}

static int follow(FILE *up)
{
	char line[CLI_CONTROL_LINE];
	int status = CLI_FAILED;

	while (fgets(line, sizeof line, up))
		if (take(line, &status))
			return status;
	cli_complain("`pirn up` ended, or let go of us, before it was done");
	return CLI_FAILED;
}

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;
	int status;
	FILE *up;

	for (int i = 0; i < n_operands; i++)
		if (cli_control_group(operands[i]) == CLI_GROUP__N) {
			cli_complain("%s: expected gateway, worker or broker", operands[i]);
			return CLI_USAGE;
		}
	up = reach(s->data);
	if (!up)
		return CLI_UNAVAILABLE;
	status = ask(up, n_operands, operands) ? follow(up) : CLI_FAILED;
	fclose(up);
	return status;
}

static const struct base_conf_row rows[] = {
	{ "data", BASE_CONF_STR, offsetof(struct settings, data), "var", 0, 0, NULL,
		"the directory that `pirn up` works in" },
	{ 0 },
};

const struct cli_command cli_restart = {
	.program = {
		.name = "pirn restart",
		.synopsis = "[gateway|worker|broker]… [--data DIR]",
		.about = "Replaces the processes of a running `pirn up`, one after another: all, or those that are\n"
			 "named. The next one goes when the one before is ready, and no call or event is lost. A new\n"
			 "process that does not come up ends the restart." CLI_EXIT_HELP,
		.rows = rows,
		.operands = true,
	},
	.summary = "replace the processes of `pirn up`, one after another",
	.settings_size = sizeof(struct settings),
	.max_operands = 3,
	.run = run,
};
