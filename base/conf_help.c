/* The table of settings, printed for people: --help and --help=markdown. */
#include <string.h>

#include "base/conf_parts.h"

static const char *placeholder(const struct base_conf_row *row)
{
	switch (row->type) {
	case BASE_CONF_U32:
		return "N";
	case BASE_CONF_MS:
		return "TIME";
	case BASE_CONF_BYTES:
		return "SIZE";
	case BASE_CONF_ADDRESS:
		return "HOST:PORT";
	case BASE_CONF_CHOICE:
		return row->choices;
	case BASE_CONF_STR:
		return "TEXT";
	case BASE_CONF_BOOL:
		break;
	}
	return "";
}

static void print_flag(const struct base_conf_row *row, char *out, size_t room)
{
	/* A switch that is on can only be wanted off. */
	bool off =
		row->type == BASE_CONF_BOOL && row->standard && strcmp(row->standard, "yes") == 0;
	const char *value = placeholder(row);

	(void)snprintf(
		out, room, "--%s%s%s%s", off ? "no-" : "", row->name, *value ? " " : "", value);
}

static const char *standard(const struct base_conf_row *row)
{
	return row->standard && *row->standard ? row->standard : "-";
}

static int wider(int width, const char *text)
{
	int length = (int)strlen(text);

	return length > width ? length : width;
}

static const struct {
	const char *flag, *help;
} actions[] = {
	{ "--check", "read and check every setting, print ok, and end" },
	{ "--help", "print this; --help=markdown prints the table for the documentation" },
	{ "--version", "print the version" },
};

#define N_ACTIONS (sizeof actions / sizeof actions[0])

void base_conf_help(const struct base_conf_program *program, FILE *out)
{
	struct base_conf_place place;
	char flag[128];
	int flags = (int)strlen("--version");
	int standards = (int)strlen("default");

	for (unsigned i = 0; base_conf_nth(program->rows, NULL, i, &place); i++) {
		print_flag(place.row, flag, sizeof flag);
		flags = wider(flags, flag);
		standards = wider(standards, standard(place.row));
	}
	(void)fprintf(
		out, "Usage: %s %s\n\n%s\n\n", program->name, program->synopsis, program->about);
	(void)fprintf(out, "  %-*s  %-*s  %s\n", flags, "option", standards, "default", "meaning");
	for (unsigned i = 0; base_conf_nth(program->rows, NULL, i, &place); i++) {
		print_flag(place.row, flag, sizeof flag);
		(void)fprintf(out, "  %-*s  %-*s  %s\n", flags, flag, standards,
			standard(place.row), place.row->help);
	}
	for (unsigned i = 0; i < N_ACTIONS; i++)
		(void)fprintf(out, "  %-*s  %-*s  %s\n", flags, actions[i].flag, standards, "",
			actions[i].help);
	(void)fprintf(out,
		"\nEvery option is also an environment variable (--log-level is PIRN_LOG_LEVEL) and a line of\n"
		"the settings file (log-level = info). The command line wins, then the environment, then\n"
		"the file.\n");
}

/* A | would end the table's cell. */
static void print_cell(FILE *out, const char *text)
{
	for (; *text; text++)
		(void)fprintf(out, *text == '|' ? "\\|" : "%c", *text);
}

void base_conf_markdown(const struct base_conf_program *program, FILE *out)
{
	struct base_conf_place place;
	char variable[BASE_CONF_NAME_BYTES + 8];
	char expected[256];

	(void)fprintf(
		out, "| option | variable | default | meaning | takes |\n|---|---|---|---|---|\n");
	for (unsigned i = 0; base_conf_nth(program->rows, NULL, i, &place); i++) {
		base_conf_variable(place.row->name, variable);
		base_conf_expected(place.row, expected, sizeof expected);
		(void)fprintf(out, "| `--%s` | `%s` | ", place.row->name, variable);
		if (place.row->standard && *place.row->standard)
			(void)fprintf(out, "`%s`", place.row->standard);
		(void)fprintf(out, " | ");
		print_cell(out, place.row->help);
		(void)fprintf(out, " | ");
		print_cell(out, expected);
		(void)fprintf(out, " |\n");
	}
}
