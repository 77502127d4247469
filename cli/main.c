/* pirn: the command line. `pirn up` runs everything in the foreground, the others
 * make, build, call and list services. See cli/cli.h. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"

static int unknown(const char *word)
{
	struct base_text_guess guess = { .word = word };
	char quoted[BASE_TEXT_QUOTED];

	for (size_t i = 0; cli_commands[i]; i++)
		base_text_offer(&guess, cli_command_name(cli_commands[i]));
	base_text_quote(quoted, sizeof quoted, word, strlen(word));
	if (guess.best)
		fprintf(stderr, "pirn: %s is not a command; did you mean \"%s\"?\n", quoted,
			guess.best);
	else
		fprintf(stderr, "pirn: %s is not a command; `pirn help` lists them\n", quoted);
	return CLI_USAGE;
}

int main(int argc, char **argv)
{
	const struct cli_command *command;
	const char *word = argc > 1 ? argv[1] : NULL;

	signal(SIGPIPE, SIG_IGN);
	if (!word) {
		cli_print_usage(stderr);
		return CLI_USAGE;
	}
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
		word = "help";
	else if (strcmp(word, "--version") == 0)
		word = "version";
	command = cli_command_find(word);
	return command ? cli_command_run(command, argc - 1, argv + 1) : unknown(word);
}
