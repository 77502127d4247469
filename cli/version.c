/* pirn version */
#include "base/version.h"
#include "cli/cli.h"

struct settings {
	bool json;
};

static int run(const void *settings, int n_operands, char **operands)
{
	const struct settings *s = settings;

	(void)n_operands;
	(void)operands;
	if (s->json)
		printf("{\"version\":\"%s\",\"protocol\":%d}\n", PIRN_VERSION,
			PIRN_PROTOCOL_VERSION);
	else
		printf("pirn %s\n", PIRN_VERSION);
	return CLI_OK;
}

static const struct base_conf_row rows[] = {
	{ "json", BASE_CONF_BOOL, offsetof(struct settings, json), "no", 0, 0, NULL, "print JSON" },
	{ 0 },
};

const struct cli_command cli_version = {
	.program = {
		.name = "pirn version",
		.synopsis = "[--json]",
		.about = "Prints the version of Pirn.",
		.rows = rows,
	},
	.summary = "print the version",
	.settings_size = sizeof(struct settings),
	.run = run,
};
