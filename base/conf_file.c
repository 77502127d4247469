/* The settings file: lines of "name = value". UNTRUSTED text from end to end. */
#include <stdio.h>
#include <string.h>

#include "base/conf_parts.h"
#include "base/text.h"

#define VALUE_BYTES 4096u

struct line {
	const char *at, *end; /* of what has not been read; no newline inside */
	char name[BASE_CONF_NAME_BYTES];
	char value[VALUE_BYTES];
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static void skip_blanks(struct line *l)
{
	while (l->at < l->end && is_blank(*l->at))
		l->at++;
}

static void trim_end(struct line *l)
{
	while (l->end > l->at && is_blank(l->end[-1]))
		l->end--;
}

static enum base_err read_name(struct line *l, char *why, size_t room)
{
	char quoted[BASE_TEXT_QUOTED];
	const char *equals = memchr(l->at, '=', (size_t)(l->end - l->at));
	size_t size;

	if (!equals) {
		base_text_quote(quoted, sizeof quoted, l->at, (size_t)(l->end - l->at));
		(void)snprintf(why, room, "expected name = value, got %s", quoted);
		return BASE_INVALID;
	}
	size = (size_t)(equals - l->at);
	while (size > 0 && is_blank(l->at[size - 1]))
		size--;
	if (size == 0 || size >= sizeof l->name || memchr(l->at, '\0', size)) {
		base_text_quote(quoted, sizeof quoted, l->at, size);
		(void)snprintf(
			why, room, "expected the name of a setting before =, got %s", quoted);
		return BASE_INVALID;
	}
	memcpy(l->name, l->at, size);
	l->name[size] = '\0';
	l->at = equals + 1;
	return BASE_OK;
}

/* What stands between double quotes; behind them only a comment may follow. */
static bool unquote(struct line *l)
{
	const char *close = memchr(l->at + 1, '"', (size_t)(l->end - l->at - 1));
	const char *rest;

	if (!close)
		return false;
	for (rest = close + 1; rest < l->end && is_blank(*rest); rest++)
		;
	if (rest < l->end && *rest != '#')
		return false;
	l->at++;
	l->end = close;
	return true;
}

static void cut_comment(struct line *l)
{
	for (const char *at = l->at; at < l->end; at++)
		if (*at == '#' && (at == l->at || is_blank(at[-1]))) {
			l->end = at;
			break;
		}
	trim_end(l);
}

static enum base_err read_value(struct line *l, char *why, size_t room)
{
	size_t size;

	skip_blanks(l);
	if (l->at < l->end && *l->at == '"') {
		if (!unquote(l)) {
			(void)snprintf(why, room, "%s: expected one \"quoted\" value", l->name);
			return BASE_INVALID;
		}
	} else {
		cut_comment(l);
	}
	size = (size_t)(l->end - l->at);
	if (size >= sizeof l->value || memchr(l->at, '\0', size) ||
		!base_text_is_utf8(l->at, size)) {
		(void)snprintf(why, room, "%s: expected at most %u bytes of UTF-8 text", l->name,
			VALUE_BYTES - 1);
		return BASE_INVALID;
	}
	memcpy(l->value, l->at, size);
	l->value[size] = '\0';
	return BASE_OK;
}

/* PIRN_LEASE_MS is the other spelling of lease-ms. */
static void use_plain_name(struct line *l)
{
	char *from = l->name + 5;
	char *to = l->name;

	if (strncmp(l->name, "PIRN_", 5) != 0)
		return;
	for (; *from; from++) {
		char c = *from == '_' ? '-' : *from;
		*to++ = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	*to = '\0';
}

static enum base_err find(const struct base_conf_row *rows, void *settings, struct line *l,
	struct base_conf_place *place, char *why, size_t room)
{
	char quoted[BASE_TEXT_QUOTED];
	const char *guess;

	base_text_quote(quoted, sizeof quoted, l->name, strlen(l->name));
	use_plain_name(l);
	if (!base_conf_find(rows, settings, l->name, place)) {
		guess = base_conf_guess(rows, l->name);
		(void)snprintf(why, room,
			guess ? "there is no setting %s; did you mean %s?"
			      : "there is no setting %s",
			quoted, guess);
		return BASE_NOT_FOUND;
	}
	if (strcmp(l->name, "config") == 0) {
		(void)snprintf(why, room, "config cannot stand in a settings file");
		return BASE_INVALID;
	}
	return BASE_OK;
}

static enum base_err apply(const struct base_conf_row *rows, void *settings, struct line *l,
	bool *seen, char *why, size_t room)
{
	struct base_conf_place place;
	char sentence[BASE_CONF_WHY_BYTES];
	enum base_err err;

	skip_blanks(l);
	trim_end(l);
	if (l->at == l->end || *l->at == '#')
		return BASE_OK;
	if ((err = read_name(l, why, room)) || (err = find(rows, settings, l, &place, why, room)) ||
		(err = read_value(l, why, room)))
		return err;
	if (seen[place.index]) {
		(void)snprintf(why, room, "%s: is set twice", l->name);
		return BASE_EXISTS;
	}
	seen[place.index] = true;
	err = base_conf_store(&place, l->value, sentence, sizeof sentence);
	if (err)
		(void)snprintf(why, room, "%s: %.400s", l->name, sentence);
	return err;
}

enum base_err base_conf_lines(const struct base_conf_row *rows, void *settings, const char *text,
	size_t size, unsigned *line, char *why, size_t room)
{
	bool seen[BASE_CONF_ROWS_MAX] = { false };
	const char *end = text + size;

	for (*line = 1; text < end; ++*line) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		struct line l = { .at = text, .end = newline ? newline : end };
		enum base_err err = apply(rows, settings, &l, seen, why, room);
		if (err)
			return err;
		text = newline ? newline + 1 : end;
	}
	return BASE_OK;
}

enum base_err base_conf_parse(const struct base_conf_row *rows, void *settings, const char *text,
	size_t size, char *why, size_t why_room)
{
	char sentence[BASE_CONF_WHY_BYTES];
	unsigned line;
	enum base_err err =
		base_conf_lines(rows, settings, text, size, &line, sentence, sizeof sentence);

	if (err)
		(void)snprintf(why, why_room, "line %u: %s", line, sentence);
	return err;
}
