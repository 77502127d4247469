/* What all commands of `pirn` share. A command is one file and one row in
 * commands.c: its name, a line for the list, its settings (base/conf.h gives it
 * flags, environment, --help) and its function. main.c looks the row up, reads
 * the settings and calls.
 *
 * Rules of the house: results go to stdout, everything else to stderr; a failure
 * is one line that begins with "pirn COMMAND: "; --json prints one JSON document
 * and nothing else; colour appears on a terminal only, and not under NO_COLOR.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/conf.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,       /* what was asked for failed */
	CLI_USAGE = 2,        /* wrong flags or operands */
	CLI_UNAVAILABLE = 69, /* nobody answered there (sysexits' EX_UNAVAILABLE) */
	CLI_NOT_YET = 75,     /* pirn status: it has not ended (sysexits' EX_TEMPFAIL) */
};

#define CLI_EXIT_HELP "\n\nExit status: 0 it worked, 1 it failed, 2 wrong usage, 69 nobody answers there."

struct cli_command {
	struct base_conf_program program; /* its name is "pirn NAME" */
	const char *summary;              /* for `pirn help` */
	size_t settings_size;
	unsigned min_operands, max_operands;
	/* settings are read and checked; the enum cli_exit that it returns is the exit status. */
	int (*run)(const void *settings, int n_operands, char **operands);
};

/* One definition a command's file; commands.c lists them. */
extern const struct cli_command cli_up, cli_restart, cli_new, cli_build, cli_invoke, cli_send, cli_status, cli_queue, cli_dead, cli_breaker, cli_timers, cli_sources, cli_tail,
	cli_services, cli_health, cli_version, cli_help;

extern const struct cli_command *const cli_commands[]; /* NULL ends it */
const struct cli_command *cli_command_find(const char *name);
const char *cli_command_name(const struct cli_command *command); /* without "pirn " */

/* argv[0] is the command's name. Returns the exit status. */
int cli_command_run(const struct cli_command *command, int argc, char **argv);
void cli_print_usage(FILE *out);

/* "pirn COMMAND: …" on stderr; the newline is added. Once a failure. */
void cli_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
