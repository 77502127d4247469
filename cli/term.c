#include "cli/term.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool cli_term_colours(FILE *out)
{
	const char *refused = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return isatty(fileno(out)) && !(refused && *refused) &&
	       !(term && strcmp(term, "dumb") == 0);
}

const char *cli_term_style(FILE *out, enum cli_style style)
{
	static const char *const codes[] = { "\033[0m", "\033[1m", "\033[2m", "\033[31m",
		"\033[32m", "\033[33m" };

	return cli_term_colours(out) ? codes[style] : "";
}

size_t cli_term_width(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xC0) != 0x80;
	return n;
}

void cli_table_init(struct cli_table *t, size_t n_columns, unsigned right)
{
	assert(n_columns <= CLI_TABLE_COLUMNS);
	*t = (struct cli_table){ .n_columns = n_columns, .right = right };
}

void cli_table_fini(struct cli_table *t)
{
	for (size_t i = 0; i < t->n_cells; i++)
		free(t->cells[i]);
	free(t->cells);
}

static bool grow(struct cli_table *t)
{
	size_t room = t->room ? 2 * t->room : 32;
	char **cells;

	if (t->n_cells < t->room)
		return true;
	cells = realloc(t->cells, room * sizeof *cells);
	if (!cells)
		return false;
	t->cells = cells;
	t->room = room;
	return true;
}

void cli_table_cell(struct cli_table *t, const char *format, ...)
{
	char *text = NULL;
	va_list args;

	if (t->failed)
		return;
	va_start(args, format);
	if (vasprintf(&text, format, args) < 0)
		text = NULL;
	va_end(args);
	if (!text || !grow(t)) {
		free(text);
		t->failed = true;
		return;
	}
	t->cells[t->n_cells++] = text;
}

static void print_cell(const char *text, size_t width, bool right, bool last, FILE *out)
{
	int pad = (int)(width - cli_term_width(text));

	if (right)
		fprintf(out, "%*s%s", pad, "", text);
	else
		fprintf(out, "%s%*s", text, last ? 0 : pad, "");
	if (!last)
		fputs("  ", out);
}

void cli_table_print(const struct cli_table *t, FILE *out)
{
	size_t widths[CLI_TABLE_COLUMNS] = { 0 };

	for (size_t i = 0; i < t->n_cells; i++) {
		size_t width = cli_term_width(t->cells[i]);

		if (width > widths[i % t->n_columns])
			widths[i % t->n_columns] = width;
	}
	for (size_t i = 0; i < t->n_cells; i++) {
		size_t column = i % t->n_columns;
		bool last = column == t->n_columns - 1;

		if (i == 0)
			fputs(cli_term_style(out, CLI_BOLD), out);
		print_cell(t->cells[i], widths[column], t->right >> column & 1u, last, out);
		if (i == t->n_columns - 1)
			fputs(cli_term_style(out, CLI_PLAIN), out);
		if (last)
			fputc('\n', out);
	}
}
