/* pirn help [COMMAND] */
#include <string.h>

#include "cli/cli.h"

static int run(const void *settings, int n_operands, char **operands)
{
	const struct cli_command *command;
	char flag[] = "--help";
	char *argv[3] = { NULL, flag, NULL };

	(void)settings;
	if (n_operands == 0) {
		cli_print_usage(stdout);
		return CLI_OK;
	}
	command = cli_command_find(operands[0]);
	if (!command) {
		cli_complain("there is no command \"%s\"; `pirn help` lists them", operands[0]);
		return CLI_USAGE;
	}
	argv[0] = operands[0];
	return cli_command_run(command, 2, argv);
}

static const struct base_conf_row rows[] = { { 0 } };

const struct cli_command cli_help = {
	.program = {
		.name = "pirn help",
		.synopsis = "[COMMAND]",
		.about = "Lists the commands, or says what one of them does.",
		.rows = rows,
		.operands = true,
	},
	.summary = "list the commands, or explain one",
	.max_operands = 1,
	.run = run,
};
