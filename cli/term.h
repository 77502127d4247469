/* Output for people: colour where it is wanted, tables whose columns line up.
 */
#ifndef CLI_TERM_H
#define CLI_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum cli_style { CLI_PLAIN, CLI_BOLD, CLI_DIM, CLI_RED, CLI_GREEN, CLI_YELLOW };

/* A terminal, and neither NO_COLOR nor TERM=dumb. */
bool cli_term_colours(FILE *out);

/* The sequence that begins a style, "" where colour is not wanted; CLI_PLAIN ends it. */
const char *cli_term_style(FILE *out, enum cli_style style);

/* How many columns UTF-8 text takes, one a code point. */
size_t cli_term_width(const char *text);

#define CLI_TABLE_COLUMNS 12

/* A table in memory; its cells are copied. Columns in the mask `right` are aligned to the right. */
struct cli_table {
	size_t n_columns;
	unsigned right;
	char **cells;
	size_t n_cells, room;
	bool failed;
};

void cli_table_init(struct cli_table *t, size_t n_columns, unsigned right);
void cli_table_fini(struct cli_table *t);
void cli_table_cell(struct cli_table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cli_table_print(const struct cli_table *t, FILE *out); /* the first row is the heading */

#endif
