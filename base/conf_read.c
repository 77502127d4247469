/* Gathers a program's settings: command line, environment, file. Everything is
 * checked, also what a stronger source overrides, so that a mistake shows at the
 * start and not on the day when the flag above it goes away.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_parts.h"
#include "base/text.h"
#include "base/version.h"

#define FILE_BYTES (64u * 1024u)

struct reading {
	const struct base_conf_program *program;
	void *settings;
	int argc, at;
	char **argv;
	int n_operands;
	bool only_operands; /* behind -- */
	bool check;
	const char *flags
		[BASE_CONF_ROWS_MAX]; /* by place.index; NULL: not given. The last one counts */
};

static enum base_conf_outcome wrong(const struct reading *r, const char *where, const char *why)
{
	(void)fprintf(stderr, "%s: %s: %s\n", r->program->name, where, why);
	return BASE_CONF_WRONG;
}

/* ---- the command line ------------------------------------------------------ */

static enum base_conf_outcome unknown_flag(
	const struct reading *r, const char *word, const char *name)
{
	char quoted[BASE_TEXT_QUOTED];
	char why[128];
	const char *guess = base_conf_guess(r->program->rows, name);

	if (guess)
		(void)snprintf(
			why, sizeof why, "there is no such option; did you mean --%s?", guess);
	else
		(void)snprintf(why, sizeof why, "there is no such option; --help lists them");
	return wrong(r, base_text_word(quoted, sizeof quoted, word), why);
}

static enum base_conf_outcome take_operand(struct reading *r)
{
	char quoted[BASE_TEXT_QUOTED];
	char *word = r->argv[r->at++];

	if (!r->program->operands)
		return wrong(r, base_text_word(quoted, sizeof quoted, word),
			"expected an option that begins with --");
	r->argv[++r->n_operands] = word;
	return BASE_CONF_RUN;
}

/* The value of a flag that has none of its own: yes for a switch, otherwise the next word. */
static enum base_conf_outcome take_value(
	struct reading *r, const struct base_conf_place *place, const char **value)
{
	char flag[BASE_CONF_NAME_BYTES + 8];
	char expected[256];
	char why[300];

	if (place->row->type == BASE_CONF_BOOL) {
		*value = "yes";
		return BASE_CONF_RUN;
	}
	if (r->at < r->argc && strncmp(r->argv[r->at], "--", 2) != 0) {
		*value = r->argv[r->at++];
		return BASE_CONF_RUN;
	}
	(void)snprintf(flag, sizeof flag, "--%s", place->row->name);
	base_conf_expected(place->row, expected, sizeof expected);
	(void)snprintf(why, sizeof why, "expected %s, got nothing", expected);
	return wrong(r, flag, why);
}

/* --no-name, for switches; rows come first, so that a row may be called no-something. */
static bool is_negated(struct reading *r, const char *name, struct base_conf_place *place)
{
	return strncmp(name, "no-", 3) == 0 &&
	       base_conf_find(r->program->rows, r->settings, name + 3, place) &&
	       place->row->type == BASE_CONF_BOOL;
}

static enum base_conf_outcome take_flag(struct reading *r, const char *word)
{
	struct base_conf_place place;
	char name[BASE_CONF_NAME_BYTES];
	const char *equals = strchr(word, '=');
	size_t size = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
	const char *value = equals ? equals + 1 : NULL;

	if (size == 0 || size >= sizeof name)
		return unknown_flag(r, word, "");
	memcpy(name, word + 2, size);
	name[size] = '\0';
	if (!base_conf_find(r->program->rows, r->settings, name, &place)) {
		if (equals || !is_negated(r, name, &place))
			return unknown_flag(r, word, name);
		value = "no";
	}
	if (!value) {
		enum base_conf_outcome outcome = take_value(r, &place, &value);
		if (outcome != BASE_CONF_RUN)
			return outcome;
	}
	r->flags[place.index] = value;
	return BASE_CONF_RUN;
}

static enum base_conf_outcome take_action(struct reading *r, const char *word, bool *taken)
{
	*taken = true;
	if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
		base_conf_help(r->program, stdout);
		return BASE_CONF_DONE;
	}
	if (strcmp(word, "--help=markdown") == 0) {
		base_conf_markdown(r->program, stdout);
		return BASE_CONF_DONE;
	}
	if (strcmp(word, "--version") == 0) {
		(void)printf("%s %s\n", r->program->name, PIRN_VERSION);
		return BASE_CONF_DONE;
	}
	*taken = strcmp(word, "--check") == 0;
	r->check |= *taken;
	return BASE_CONF_RUN;
}

static enum base_conf_outcome take_word(struct reading *r)
{
	const char *word = r->argv[r->at];
	enum base_conf_outcome outcome;
	bool taken;

	if (r->only_operands || word[0] != '-' || word[1] == '\0')
		return take_operand(r);
	r->at++;
	if (strcmp(word, "--") == 0) {
		r->only_operands = true;
		return BASE_CONF_RUN;
	}
	outcome = take_action(r, word, &taken);
	if (taken)
		return outcome;
	if (word[1] != '-')
		return unknown_flag(r, word, word + 1);
	return take_flag(r, word);
}

/* ---- applying ----------------------------------------------------------------- */

static enum base_conf_outcome apply(struct reading *r, const struct base_conf_place *place,
	const char *where, const char *value)
{
	char why[BASE_CONF_WHY_BYTES];
	enum base_err err = base_conf_store(place, value, why, sizeof why);

	if (err == BASE_NOMEM)
		base_no_memory(where); /* nothing is wrong with it: a supervisor must try again */
	return err ? wrong(r, where, why) : BASE_CONF_RUN;
}

static const char *from_environment(
	const struct base_conf_row *row, char variable[BASE_CONF_NAME_BYTES + 8])
{
	const char *value;

	base_conf_variable(row->name, variable);
	value = getenv(variable);
	return value && *value ? value : NULL;
}

static enum base_conf_outcome apply_environment(struct reading *r)
{
	struct base_conf_place place;
	char variable[BASE_CONF_NAME_BYTES + 8];

	for (unsigned i = 0; base_conf_nth(r->program->rows, r->settings, i, &place); i++) {
		const char *value = from_environment(place.row, variable);
		enum base_conf_outcome outcome =
			value ? apply(r, &place, variable, value) : BASE_CONF_RUN;
		if (outcome != BASE_CONF_RUN)
			return outcome;
	}
	return BASE_CONF_RUN;
}

static enum base_conf_outcome apply_flags(struct reading *r)
{
	struct base_conf_place place;
	char flag[BASE_CONF_NAME_BYTES + 8];

	for (unsigned i = 0; base_conf_nth(r->program->rows, r->settings, i, &place); i++) {
		enum base_conf_outcome outcome = BASE_CONF_RUN;
		(void)snprintf(flag, sizeof flag, "--%s", place.row->name);
		if (r->flags[i])
			outcome = apply(r, &place, flag, r->flags[i]);
		if (outcome != BASE_CONF_RUN)
			return outcome;
	}
	return BASE_CONF_RUN;
}

/* One byte more than is allowed, to see that there is more. *size is what was read. */
static enum base_err slurp(const char *path, char **text, size_t *size)
{
	FILE *file = fopen(path, "re");
	enum base_err err = BASE_OK;
	char *data;

	if (!file)
		return base_err_from_errno(errno);
	data = malloc(FILE_BYTES + 1);
	if (!data) {
		err = BASE_NOMEM;
		goto fail;
	}
	errno = 0;
	*size = fread(data, 1, FILE_BYTES + 1, file);
	if (ferror(file)) {
		err = base_err_from_errno(errno);
		goto fail;
	}
	if (*size > FILE_BYTES) {
		err = BASE_TOO_LARGE;
		goto fail;
	}
	(void)fclose(file);
	*text = data;
	return BASE_OK;
fail:
	free(data);
	(void)fclose(file);
	return err;
}

static enum base_conf_outcome apply_file(struct reading *r, const char *path)
{
	char quoted[BASE_TEXT_QUOTED];
	char where[BASE_TEXT_QUOTED + 16];
	char why[BASE_CONF_WHY_BYTES];
	char *text = NULL;
	size_t size = 0;
	unsigned line;
	enum base_err err = slurp(path, &text, &size);

	if (err == BASE_NOMEM)
		base_no_memory("the settings file");
	if (err) {
		(void)snprintf(why, sizeof why, "expected a settings file: %s", base_err_text(err));
		return wrong(r, base_text_word(quoted, sizeof quoted, path), why);
	}
	err = base_conf_lines(r->program->rows, r->settings, text, size, &line, why, sizeof why);
	free(text);
	if (!err)
		return BASE_CONF_RUN;
	if (err == BASE_NOMEM)
		base_no_memory("a setting of the settings file");
	(void)snprintf(
		where, sizeof where, "%s:%u", base_text_word(quoted, sizeof quoted, path), line);
	return wrong(r, where, why);
}

/* The file's own name comes from a flag or the environment, before the file can be read. */
static enum base_conf_outcome apply_config(struct reading *r)
{
	struct base_conf_place place;
	char variable[BASE_CONF_NAME_BYTES + 8];
	const char *path;
	bool found = base_conf_find(r->program->rows, r->settings, "config", &place);

	assert(found);
	path = found ? r->flags[place.index] : NULL;
	if (!path)
		path = from_environment(place.row, variable);
	return path ? apply_file(r, path) : BASE_CONF_RUN;
}

static enum base_conf_outcome ask_program(const struct reading *r)
{
	const char *option = NULL;
	char *fault = r->program->fault ? r->program->fault(r->settings, &option) : NULL;

	if (!fault)
		return BASE_CONF_RUN;
	(void)wrong(r, option, fault);
	free(fault);
	return BASE_CONF_WRONG;
}

enum base_conf_outcome base_conf_read(const struct base_conf_program *program, void *settings,
	int argc, char **argv, int *n_operands)
{
	struct reading r = {
		.program = program, .settings = settings, .argc = argc, .argv = argv, .at = 1
	};
	enum base_conf_outcome outcome = BASE_CONF_RUN;

	while (outcome == BASE_CONF_RUN && r.at < r.argc)
		outcome = take_word(&r);
	if (outcome == BASE_CONF_RUN && base_conf_defaults(program->rows, settings))
		base_no_memory("settings");
	if (outcome == BASE_CONF_RUN)
		outcome = apply_config(&r);
	if (outcome == BASE_CONF_RUN)
		outcome = apply_environment(&r);
	if (outcome == BASE_CONF_RUN)
		outcome = apply_flags(&r);
	if (outcome == BASE_CONF_RUN)
		outcome = ask_program(&r);
	if (outcome != BASE_CONF_RUN)
		return outcome;
	if (r.check) {
		(void)printf("ok\n");
		return BASE_CONF_DONE;
	}
	base_conf_start_log();
	if (n_operands)
		*n_operands = r.n_operands;
	return BASE_CONF_RUN;
}
