#include "base/conf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_parts.h"
#include "base/log.h"
#include "base/text.h"

/* ---- the rows ------------------------------------------------------------- */

/* What every program can be told; its values live here, not in the program's settings. */
static struct common {
	char *config;
	unsigned log;
	unsigned log_level;
} common;

/* clang-format off */
const struct base_conf_row base_conf_common[] = {
	{ "config", BASE_CONF_STR, offsetof(struct common, config), NULL, 0, 0, NULL, "a file of settings: name = value, one a line" },
	{ "log", BASE_CONF_CHOICE, offsetof(struct common, log), "text", 0, 0, "text|json", "how log lines are written" },
	{ "log-level", BASE_CONF_CHOICE, offsetof(struct common, log_level), "info", 0, 0, "debug|info|warn|error", "the least level that is logged" },
	{ 0 },
};
/* clang-format on */

#define N_COMMON (sizeof base_conf_common / sizeof base_conf_common[0] - 1)

void base_conf_start_log(void)
{
	base_log_init((enum base_log_level)common.log_level, (enum base_log_format)common.log, 2);
}

/* The program's rows come first, so that --help begins with what is its own. */
bool base_conf_nth(
	const struct base_conf_row *rows, void *settings, unsigned i, struct base_conf_place *place)
{
	unsigned n = 0;
	const struct base_conf_row *row;
	char *base = settings;

	while (n < i && rows[n].name)
		n++;
	assert(n < BASE_CONF_ROWS_MAX - N_COMMON);
	row = &rows[n];
	if (!row->name) {
		row = &base_conf_common[i - n < N_COMMON ? i - n : N_COMMON];
		base = (char *)&common;
	}
	if (!row->name)
		return false;
	*place = (struct base_conf_place){ row, base ? base + row->offset : NULL, i };
	return true;
}

bool base_conf_find(const struct base_conf_row *rows, void *settings, const char *name,
	struct base_conf_place *place)
{
	for (unsigned i = 0; base_conf_nth(rows, settings, i, place); i++)
		if (strcmp(place->row->name, name) == 0)
			return true;
	return false;
}

const char *base_conf_guess(const struct base_conf_row *rows, const char *name)
{
	struct base_text_guess guess = { .word = name };
	struct base_conf_place place;

	for (unsigned i = 0; base_conf_nth(rows, NULL, i, &place); i++)
		base_text_offer(&guess, place.row->name);
	return guess.best;
}

void base_conf_variable(const char *name, char out[BASE_CONF_NAME_BYTES + 8])
{
	size_t n = 5;

	memcpy(out, "PIRN_", n);
	for (; *name && n < BASE_CONF_NAME_BYTES + 7; name++) {
		char c = *name == '-' ? '_' : *name;
		out[n++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
	}
	out[n] = '\0';
}

/* ---- converters ----------------------------------------------------------- */

/* Digits at the beginning of text; NULL when there are none or the number is over 64 bits. */
static const char *read_digits(const char *text, uint64_t *value)
{
	uint64_t n = 0;

	if (*text < '0' || *text > '9')
		return NULL;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(n, 10u, &n) ||
			__builtin_add_overflow(n, (uint64_t)(*text - '0'), &n))
			return NULL;
	*value = n;
	return text;
}

bool base_conf_u64(const char *text, uint64_t *value)
{
	uint64_t n;
	const char *rest = read_digits(text, &n);

	if (!rest || *rest)
		return false;
	*value = n;
	return true;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static bool read_unit(const char *text, const struct unit *units, uint64_t *value)
{
	uint64_t n;
	const char *rest = read_digits(text, &n);

	if (!rest)
		return false;
	while (units->name && strcmp(rest, units->name) != 0)
		units++;
	if (!units->name || __builtin_mul_overflow(n, units->factor, &n))
		return false;
	*value = n;
	return true;
}

/* clang-format off */
static const struct unit ms_units[] = {
	{ "d", 86400000 }, { "h", 3600000 }, { "m", 60000 }, { "s", 1000 }, { "ms", 1 }, { 0 },
};

static const struct unit bytes_units[] = {
	{ "g", 1u << 30 }, { "G", 1u << 30 }, { "m", 1u << 20 }, { "M", 1u << 20 },
	{ "k", 1u << 10 }, { "K", 1u << 10 }, { "", 1 }, { 0 },
};
/* clang-format on */

bool base_conf_ms(const char *text, uint64_t *ms)
{
	return read_unit(text, ms_units, ms);
}

bool base_conf_bytes(const char *text, uint64_t *bytes)
{
	return read_unit(text, bytes_units, bytes);
}

/* A name, an IPv4 address, or an IPv6 address in brackets; whether it is there shows when it is used. */
static bool is_host(const char *text, size_t size)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

	if (size > 2 && text[0] == '[' && text[size - 1] == ']')
		return strspn(text + 1, "0123456789abcdefABCDEF:.") == size - 2 &&
		       memchr(text, ':', size);
	return size > 0 && size <= 253 && text[0] != '-' && strspn(text, letters) == size;
}

static bool is_address(const char *text)
{
	const char *colon = strrchr(text, ':');
	uint64_t port;

	return colon && base_conf_u64(colon + 1, &port) && port <= 65535 &&
	       is_host(text, (size_t)(colon - text));
}

static bool read_bool(const char *text, bool *value)
{
	static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };

	for (unsigned i = 0; i < 8; i++)
		if (strcmp(text, words[i]) == 0) {
			*value = i % 2;
			return true;
		}
	return false;
}

static bool read_choice(const char *choices, const char *text, unsigned *value)
{
	size_t size = strlen(text);

	for (unsigned i = 0;; i++) {
		size_t length = strcspn(choices, "|");
		if (length == size && memcmp(choices, text, size) == 0) {
			*value = i;
			return true;
		}
		if (choices[length] == '\0')
			return false;
		choices += length + 1;
	}
}

/* ---- what was expected ------------------------------------------------------ */

static void print_number(const struct base_conf_row *row, uint64_t n, char *out, size_t room)
{
	const struct unit *unit = row->type == BASE_CONF_MS ? ms_units : bytes_units;

	if (row->type == BASE_CONF_U32 || n == 0) {
		(void)snprintf(out, room, "%llu", (unsigned long long)n);
		return;
	}
	while (n % unit->factor)
		unit++;
	(void)snprintf(out, room, "%llu%s", (unsigned long long)(n / unit->factor), unit->name);
}

static uint64_t most(const struct base_conf_row *row)
{
	if (row->max)
		return row->max;
	return row->type == BASE_CONF_BYTES ? UINT64_MAX : UINT32_MAX;
}

static void expect_number(const struct base_conf_row *row, const char *what, char *out, size_t room)
{
	char min[32];
	char max[32];

	print_number(row, row->min, min, sizeof min);
	print_number(row, most(row), max, sizeof max);
	if (row->max)
		(void)snprintf(out, room, "%s, from %s to %s", what, min, max);
	else if (row->min)
		(void)snprintf(out, room, "%s, at least %s", what, min);
	else
		(void)snprintf(out, room, "%s", what);
}

static void expect_choice(const char *choices, char *out, size_t room)
{
	size_t n = 0;

	for (; *choices && n + 6 < room; choices++) {
		const char *more = strchr(choices + 1, '|') ? ", " : " or ";
		if (*choices != '|')
			out[n++] = *choices;
		else
			n += (size_t)snprintf(out + n, room - n, "%s", more);
	}
	out[n] = '\0';
}

void base_conf_expected(const struct base_conf_row *row, char *out, size_t room)
{
	switch (row->type) {
	case BASE_CONF_STR:
		(void)snprintf(out, room, "a text");
		break;
	case BASE_CONF_U32:
		expect_number(row, "a whole number", out, room);
		break;
	case BASE_CONF_MS:
		expect_number(row, "a duration such as 5s", out, room);
		break;
	case BASE_CONF_BYTES:
		expect_number(row, "a size such as 64k", out, room);
		break;
	case BASE_CONF_BOOL:
		(void)snprintf(out, room, "yes or no");
		break;
	case BASE_CONF_CHOICE:
		expect_choice(row->choices, out, room);
		break;
	case BASE_CONF_ADDRESS:
		(void)snprintf(out, room, "HOST:PORT such as 127.0.0.1:8080%s%s",
			row->choices ? ", or " : "", row->choices ? row->choices : "");
		break;
	}
}

/* ---- one value -------------------------------------------------------------- */

static enum base_err store_text(char **field, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return BASE_NOMEM;
	free(*field);
	*field = copy;
	return BASE_OK;
}

static enum base_err read_number(const struct base_conf_row *row, const char *value, uint64_t *n)
{
	bool ok = row->type == BASE_CONF_BYTES ? base_conf_bytes(value, n)
		  : row->type == BASE_CONF_MS  ? base_conf_ms(value, n) || base_conf_u64(value, n)
					       : base_conf_u64(value, n);

	if (!ok)
		return BASE_INVALID;
	return *n < row->min || *n > most(row) ? BASE_RANGE : BASE_OK;
}

static bool takes_address(const struct base_conf_row *row, const char *value)
{
	return is_address(value) || (row->choices && strcmp(value, row->choices) == 0);
}

static enum base_err convert(const struct base_conf_place *place, const char *value)
{
	uint64_t n = 0;
	enum base_err err;

	switch (place->row->type) {
	case BASE_CONF_STR:
		return store_text(place->field, value);
	case BASE_CONF_ADDRESS:
		return takes_address(place->row, value) ? store_text(place->field, value)
							: BASE_INVALID;
	case BASE_CONF_BOOL:
		return read_bool(value, place->field) ? BASE_OK : BASE_INVALID;
	case BASE_CONF_CHOICE:
		return read_choice(place->row->choices, value, place->field) ? BASE_OK
									     : BASE_INVALID;
	case BASE_CONF_U32:
	case BASE_CONF_MS:
	case BASE_CONF_BYTES:
		break;
	}
	err = read_number(place->row, value, &n);
	if (err)
		return err;
	if (place->row->type == BASE_CONF_BYTES)
		*(uint64_t *)place->field = n;
	else
		*(uint32_t *)place->field = (uint32_t)n;
	return BASE_OK;
}

enum base_err base_conf_store(
	const struct base_conf_place *place, const char *value, char *why, size_t room)
{
	enum base_err err = convert(place, value);
	char expected[256];
	char quoted[BASE_TEXT_QUOTED];

	if (err == BASE_NOMEM)
		(void)snprintf(why, room, "%s", base_err_text(err));
	if (err == BASE_OK || err == BASE_NOMEM)
		return err;
	base_conf_expected(place->row, expected, sizeof expected);
	base_text_quote(quoted, sizeof quoted, value, strlen(value));
	(void)snprintf(why, room, "expected %s, got %s", expected, quoted);
	return err;
}

enum base_err base_conf_defaults(const struct base_conf_row *rows, void *settings)
{
	struct base_conf_place place;

	for (unsigned i = 0; base_conf_nth(rows, settings, i, &place); i++) {
		if (!place.row->standard)
			continue;
		enum base_err err = convert(&place, place.row->standard);
		assert(err == BASE_OK ||
			err == BASE_NOMEM); /* a row that refuses its own default is ours */
		if (err)
			return err;
	}
	return BASE_OK;
}

enum base_err base_conf_set(const struct base_conf_row *rows, void *settings, const char *name,
	const char *value, const char **why)
{
	static _Thread_local char sentence[BASE_CONF_WHY_BYTES];
	struct base_conf_place place;
	const char *guess;

	*why = sentence;
	if (base_conf_find(rows, settings, name, &place))
		return base_conf_store(&place, value, sentence, sizeof sentence);
	guess = base_conf_guess(rows, name);
	(void)snprintf(sentence, sizeof sentence,
		guess ? "there is no such setting; did you mean %s?" : "there is no such setting",
		guess);
	return BASE_NOT_FOUND;
}

void base_conf_free(const struct base_conf_program *program, void *settings)
{
	struct base_conf_place place;

	for (unsigned i = 0; base_conf_nth(program->rows, settings, i, &place); i++)
		if (place.row->type == BASE_CONF_STR || place.row->type == BASE_CONF_ADDRESS) {
			char **text = place.field;
			free(*text);
			*text = NULL;
		}
}
