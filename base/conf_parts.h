/* What the three files of conf share, and nobody else: conf.c turns one text into
 * one field, conf_read.c gathers the texts (flags, environment, file), conf_help.c
 * prints the table. A program's rows and the common ones are seen as one list.
 */
#ifndef BASE_CONF_PARTS_H
#define BASE_CONF_PARTS_H

#include <stdio.h>

#include "base/conf.h"

#define BASE_CONF_ROWS_MAX   128u
#define BASE_CONF_NAME_BYTES 64u
#define BASE_CONF_WHY_BYTES  512u

extern const struct base_conf_row base_conf_common[]; /* config, log, log-level */

/* One row and where its value lives. */
struct base_conf_place {
	const struct base_conf_row *row;
	void *field;
	unsigned index; /* in the list of both tables, below BASE_CONF_ROWS_MAX */
};

/* The i-th of all rows; false behind the last. settings may be NULL where the field is not touched. */
bool base_conf_nth(const struct base_conf_row *rows, void *settings, unsigned i,
	struct base_conf_place *place);
bool base_conf_find(const struct base_conf_row *rows, void *settings, const char *name,
	struct base_conf_place *place);
const char *base_conf_guess(
	const struct base_conf_row *rows, const char *name); /* NULL: nothing is near */

/* Sets the field, or says what was expected and what came. UNTRUSTED value. */
BASE_MUSTUSE enum base_err base_conf_store(
	const struct base_conf_place *place, const char *value, char *why, size_t room);
BASE_MUSTUSE enum base_err base_conf_defaults(const struct base_conf_row *rows, void *settings);

/* base_conf_parse with the number of the line apart from the sentence. */
BASE_MUSTUSE enum base_err base_conf_lines(const struct base_conf_row *rows, void *settings,
	const char *text, size_t size, unsigned *line, char *why, size_t room);

void base_conf_variable(const char *name, char out[BASE_CONF_NAME_BYTES + 8]); /* PIRN_LEASE_MS */
void base_conf_expected(const struct base_conf_row *row, char *out, size_t room);

void base_conf_help(const struct base_conf_program *program, FILE *out);
void base_conf_markdown(const struct base_conf_program *program, FILE *out);

/* What of the common rows was asked for. */
void base_conf_start_log(void);

#endif
