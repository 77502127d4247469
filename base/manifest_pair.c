/* What a manifest gives a service by name: env and secrets, and the headers of an HTTP endpoint. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/manifest.h"
#include "base/text.h"

/* ---- lists ----------------------------------------------------------------------------- */

const char *base_manifest_pair_get(const struct base_manifest_pairs *pairs, const char *name)
{
	for (size_t i = 0; i < pairs->n; i++)
		if (strcmp(pairs->items[i].name, name) == 0)
			return pairs->items[i].value;
	return NULL;
}

static enum base_err append(struct base_manifest_pairs *pairs, const char *name, const char *value)
{
	struct base_manifest_pair pair = { strdup(name), strdup(value) };
	struct base_manifest_pair *items = pairs->items;

	if (!pair.name || !pair.value)
		goto fail;
	if ((pairs->n & (pairs->n - 1)) == 0) { /* there is room for the next power of two */
		items = realloc(items, (pairs->n ? pairs->n * 2 : 1) * sizeof *items);
		if (!items)
			goto fail;
		pairs->items = items;
	}
	items[pairs->n++] = pair;
	return BASE_OK;
fail:
	free(pair.name);
	free(pair.value);
	return BASE_NOMEM;
}

/* Neither is there yet, and there is room. */
static enum base_err add(struct base_manifest_pairs *pairs, bool is_there, size_t max,
	const struct base_manifest_pair *pair, char *why, size_t why_room)
{
	enum base_err err;

	if (is_there) {
		(void)snprintf(why, why_room, "is given twice");
		return BASE_EXISTS;
	}
	if (pairs->n >= max) {
		(void)snprintf(why, why_room, "expected at most %zu names", max);
		return BASE_FULL;
	}
	err = append(pairs, pair->name, pair->value);
	if (err)
		(void)snprintf(why, why_room, "%s", base_err_text(err));
	return err;
}

/* ---- env and secrets ------------------------------------------------------------------- */

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* How many bytes of the text are [A-Za-z_][A-Za-z0-9_]*. */
static size_t identifier(const char *text)
{
	size_t n = 0;

	while (is_letter(text[n]) || text[n] == '_' || (n > 0 && text[n] >= '0' && text[n] <= '9'))
		n++;
	return n;
}

enum base_err base_manifest_add_pair(struct base_manifest_pairs *pairs, const char *name,
	const char *value, char *why, size_t why_room)
{
	struct base_manifest_pair pair = { (char *)(uintptr_t)name, (char *)(uintptr_t)value };
	char quoted[BASE_TEXT_QUOTED];
	size_t size = strlen(name);

	base_text_quote(quoted, sizeof quoted, name, size);
	if (size == 0 || size > BASE_MANIFEST_NAME_MAX || identifier(name) != size) {
		(void)snprintf(
			why, why_room, "expected a name of letters, digits and _, got %s", quoted);
		return BASE_INVALID;
	}
	return add(pairs, base_manifest_pair_get(pairs, name) != NULL, BASE_MANIFEST_PAIRS_MAX, &pair,
		why, why_room);
}

/* ---- headers --------------------------------------------------------------------------- */

static bool is_token(const char *name)
{
	size_t n = 0;

	while (is_letter(name[n]) || (name[n] >= '0' && name[n] <= '9') ||
		(name[n] && strchr("!#$%&'*+-.^_`|~", name[n])))
		n++;
	return n > 0 && n <= BASE_MANIFEST_NAME_MAX && name[n] == '\0';
}

/* The connection's, and what says whose request it is: nobody gives these but the worker. */
static bool is_workers(const char *name)
{
	static const char *const names[] = { "connection", "content-length", "expect", "host",
		"keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (strcasecmp(name, names[i]) == 0)
			return true;
	return strncasecmp(name, "pirn-", 5) == 0 || strncasecmp(name, "webhook-", 8) == 0;
}

size_t base_manifest_reference(const char *text, char name[BASE_MANIFEST_NAME_MAX + 1])
{
	size_t n;

	if (text[0] != '$' || text[1] != '{')
		return 0;
	n = identifier(text + 2);
	if (n == 0 || n > BASE_MANIFEST_NAME_MAX || text[2 + n] != '}')
		return 0;
	memcpy(name, text + 2, n);
	name[n] = '\0';
	return n + 3;
}

/* NULL, or what is wrong with it. */
static const char *value_fault(const char *value)
{
	char name[BASE_MANIFEST_NAME_MAX + 1];

	if (strlen(value) > BASE_MANIFEST_HEADER_MAX)
		return "is too long";
	for (; *value; value++) {
		if (((unsigned char)*value < 0x20 && *value != '\t') || *value == 0x7f)
			return "expected a text without line breaks and other controls";
		if (*value != '$')
			continue;
		if (value[1] != '$' && base_manifest_reference(value, name) == 0)
			return "expected ${NAME}, or $$ for one $";
		value += value[1] == '$';
	}
	return NULL;
}

/* What a value says is told nobody: it may be a key that should have been a secret. */
enum base_err base_manifest_add_header(struct base_manifest_pairs *headers, const char *name,
	const char *value, char *why, size_t why_room)
{
	struct base_manifest_pair pair = { (char *)(uintptr_t)name, (char *)(uintptr_t)value };
	const char *fault = value_fault(value);
	char quoted[BASE_TEXT_QUOTED];
	bool is_there = false;

	base_text_quote(quoted, sizeof quoted, name, strlen(name));
	if (!is_token(name)) {
		(void)snprintf(why, why_room, "expected the name of a header, got %s", quoted);
		return BASE_INVALID;
	}
	if (is_workers(name) || fault) {
		(void)snprintf(why, why_room, "%s",
			fault ? fault : "is a header that the worker itself makes");
		return BASE_INVALID;
	}
	for (size_t i = 0; i < headers->n; i++)
		is_there = is_there || strcasecmp(headers->items[i].name, name) == 0;
	return add(headers, is_there, BASE_MANIFEST_HEADERS_MAX, &pair, why, why_room);
}

bool base_manifest_names_secret(const struct base_manifest_pairs *headers, const char *secret)
{
	char name[BASE_MANIFEST_NAME_MAX + 1];

	for (size_t i = 0; i < headers->n; i++)
		for (const char *at = headers->items[i].value; *at; at++) {
			if (base_manifest_reference(at, name) > 0 && strcmp(name, secret) == 0)
				return true;
			at += at[0] == '$' && at[1] == '$';
		}
	return false;
}
