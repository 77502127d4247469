#include "cli/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"

const struct cli_command *const cli_commands[] = {
	&cli_up,
	&cli_restart,
	&cli_new,
	&cli_build,
	&cli_invoke,
	&cli_send,
	&cli_status,
	&cli_queue,
	&cli_dead,
	&cli_breaker,
	&cli_timers,
	&cli_sources,
	&cli_tail,
	&cli_services,
	&cli_health,
	&cli_version,
	&cli_help,
	NULL,
};

static const struct cli_command *running;

const char *cli_command_name(const struct cli_command *command)
{
	return command->program.name + strlen("pirn ");
}

const struct cli_command *cli_command_find(const char *name)
{
	for (size_t i = 0; cli_commands[i]; i++)
		if (strcmp(cli_command_name(cli_commands[i]), name) == 0)
			return cli_commands[i];
	return NULL;
}

void cli_complain(const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", running ? running->program.name : "pirn");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void cli_print_usage(FILE *out)
{
	fprintf(out, "Usage: pirn COMMAND [options]\n\n");
	for (size_t i = 0; cli_commands[i]; i++)
		fprintf(out, "  %-10s %s\n", cli_command_name(cli_commands[i]),
			cli_commands[i]->summary);
	fprintf(out, "\npirn COMMAND --help says more. Pirn %s.%s\n", PIRN_VERSION, CLI_EXIT_HELP);
}

static int run_with(const struct cli_command *c, void *settings, int argc, char **argv)
{
	int n = 0;

	switch (base_conf_read(&c->program, settings, argc, argv, &n)) {
	case BASE_CONF_DONE:
		return CLI_OK;
	case BASE_CONF_WRONG:
		return CLI_USAGE;
	case BASE_CONF_RUN:
		break;
	}
	if ((unsigned)n < c->min_operands || (unsigned)n > c->max_operands) {
		cli_complain("%s. Usage: %s %s",
			(unsigned)n < c->min_operands ? "too few words" : "too many words",
			c->program.name, c->program.synopsis);
		return CLI_USAGE;
	}
	return c->run(settings, n, argv + 1);
}

int cli_command_run(const struct cli_command *command, int argc, char **argv)
{
	void *settings = calloc(1, command->settings_size ? command->settings_size : 1);
	int status;

	running = command;
	if (!settings) {
		cli_complain("out of memory");
		return CLI_FAILED;
	}
	status = run_with(command, settings, argc, argv);
	base_conf_free(&command->program, settings);
	free(settings);
	return status;
}
