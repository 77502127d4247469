/* A value of YAML as JSON: what a plain scalar means is YAML 1.2's core schema (so no is a
 * text, and 010 is ten); in quotes everything is a text. Lists and mappings nest
 * BASE_MANIFEST_DATA_DEPTH deep, no key of a mapping is there twice.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "worker/yaml_parts.h"

struct data {
	struct wrk_yaml *yaml;
	const char *name; /* of the key, in messages */
	struct base_buf out;
};

static enum base_err complain(struct data *d, const char *what)
{
	char came[BASE_TEXT_QUOTED];

	return wrk_yaml_complain(d->yaml, BASE_CONFIG, wrk_yaml_here(d->yaml),
		"%s: expected %s, got %s", d->name, what, wrk_yaml_came(d->yaml, came));
}

/* ---- numbers ------------------------------------------------------------------------- */

static const char digits[] = "0123456789";

/* 0o17, 0x1F. False: it is neither, or too large for a number that keeps its digits. */
static bool put_based(struct base_buf *out, const char *text)
{
	bool octal = text[0] == '0' && text[1] == 'o';
	const char *all = octal ? "01234567" : "0123456789abcdefABCDEF";
	size_t most = octal ? 21 : 16;

	if (text[0] != '0' || (text[1] != 'o' && text[1] != 'x') || text[2] == '\0' ||
		strlen(text + 2) > most || text[2 + strspn(text + 2, all)] != '\0')
		return false;
	base_buf_fmt(out, "%llu", strtoull(text + 2, NULL, octal ? 8 : 16));
	return true;
}

/* JSON wants a digit on either side of the point, and no zeros or plus in front. */
static bool put_decimal(struct base_buf *out, const char *text)
{
	const char *at = text, *whole, *fraction = "", *exponent = "";
	size_t n_whole, n_fraction = 0;

	at += *at == '-' || *at == '+';
	whole = at;
	n_whole = strspn(at, digits);
	at += n_whole;
	if (*at == '.') {
		fraction = at + 1;
		n_fraction = strspn(fraction, digits);
		at = fraction + n_fraction;
	}
	if (n_whole + n_fraction == 0)
		return false;
	if (*at == 'e' || *at == 'E') {
		exponent = at++;
		at += *at == '-' || *at == '+';
		if (!strspn(at, digits))
			return false;
		at += strspn(at, digits);
	}
	if (*at != '\0')
		return false;
	for (; n_whole > 1 && *whole == '0'; n_whole--)
		whole++;
	base_buf_fmt(out, "%s%.*s", *text == '-' ? "-" : "", (int)n_whole, whole);
	base_buf_fmt(out, "%s%s%.*s%s", n_whole ? "" : "0", n_fraction ? "." : "", (int)n_fraction,
		fraction, exponent);
	return true;
}

/* ---- scalars ------------------------------------------------------------------------- */

static bool is_one_of(const char *text, const char *const words[3])
{
	for (int i = 0; i < 3; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

static bool is_no_number(const char *text)
{
	static const char *const infinite[3] = { ".inf", ".Inf", ".INF" };
	static const char *const none[3] = { ".nan", ".NaN", ".NAN" };

	return is_one_of(text + (*text == '-' || *text == '+'), infinite) || is_one_of(text, none);
}

static enum base_err put_plain(struct data *d, const char *text, size_t size)
{
	static const char *const null[3] = { "null", "Null", "NULL" };
	static const char *const yes[3] = { "true", "True", "TRUE" };
	static const char *const no[3] = { "false", "False", "FALSE" };
	const char *word = NULL;

	if (size == 0 || strcmp(text, "~") == 0 || is_one_of(text, null))
		word = "null";
	else if (is_one_of(text, yes))
		word = "true";
	else if (is_one_of(text, no))
		word = "false";
	if (word)
		base_buf_str(&d->out, word);
	else if (is_no_number(text))
		return complain(d, "a number that JSON has");
	else if (!put_based(&d->out, text) && !put_decimal(&d->out, text))
		base_buf_json(&d->out, text, size);
	return BASE_OK;
}

static enum base_err put_scalar(struct data *d)
{
	const char *text = (const char *)d->yaml->event.data.scalar.value;
	size_t size = d->yaml->event.data.scalar.length;

	if (d->yaml->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		return put_plain(d, text, size);
	base_buf_json(&d->out, text, size);
	return BASE_OK;
}

/* ---- lists and mappings ---------------------------------------------------------------- */

static enum base_err put_value(struct data *d, unsigned depth);

static enum base_err put_list(struct data *d, unsigned depth)
{
	enum base_err err;

	base_buf_chr(&d->out, '[');
	for (bool first = true; !(err = wrk_yaml_next(d->yaml)); first = false) {
		if (d->yaml->event.type == YAML_SEQUENCE_END_EVENT)
			break;
		if (!first)
			base_buf_chr(&d->out, ',');
		if ((err = put_value(d, depth)))
			break;
	}
	base_buf_chr(&d->out, ']');
	return err;
}

static enum base_err put_member(struct data *d, unsigned depth)
{
	enum base_err err;

	if (d->yaml->event.type != YAML_SCALAR_EVENT)
		return complain(d, "a key");
	base_buf_json(&d->out, d->yaml->event.data.scalar.value, d->yaml->event.data.scalar.length);
	base_buf_chr(&d->out, ':');
	err = wrk_yaml_next(d->yaml);
	return err ? err : put_value(d, depth);
}

/* Keys that are the same are written the same here. */
static bool has_twins(const struct base_json *object)
{
	struct base_json_walk walk = base_json_walk(object), rest;
	struct base_json key, other, value;

	while (base_json_next(&walk, &key, &value)) {
		rest = walk;
		while (base_json_next(&rest, &other, &value))
			if (key.size == other.size && memcmp(key.text, other.text, key.size) == 0)
				return true;
	}
	return false;
}

static enum base_err put_mapping(struct data *d, unsigned depth)
{
	struct wrk_yaml_place start = wrk_yaml_here(d->yaml);
	size_t from = d->out.size;
	struct base_json object;
	enum base_err err;

	base_buf_chr(&d->out, '{');
	for (bool first = true; !(err = wrk_yaml_next(d->yaml)); first = false) {
		if (d->yaml->event.type == YAML_MAPPING_END_EVENT)
			break;
		if (!first)
			base_buf_chr(&d->out, ',');
		if ((err = put_member(d, depth)))
			break;
	}
	base_buf_chr(&d->out, '}');
	if (err || base_buf_check(&d->out))
		return err;
	object = (struct base_json){ BASE_JSON_OBJECT, (const char *)d->out.data + from,
		d->out.size - from };
	return has_twins(&object) ? wrk_yaml_complain(d->yaml, BASE_CONFIG, start,
					    "%s: a key is given twice", d->name)
				  : BASE_OK;
}

static enum base_err put_value(struct data *d, unsigned depth)
{
	if (d->out.size > BASE_MANIFEST_DATA_MAX)
		return wrk_yaml_complain(d->yaml, BASE_CONFIG, wrk_yaml_here(d->yaml),
			"%s: expected at most %u bytes", d->name, BASE_MANIFEST_DATA_MAX);
	if (d->yaml->event.type == YAML_SCALAR_EVENT)
		return put_scalar(d);
	if (depth == BASE_MANIFEST_DATA_DEPTH)
		return wrk_yaml_complain(d->yaml, BASE_CONFIG, wrk_yaml_here(d->yaml),
			"%s: expected at most %d lists and mappings in one another", d->name,
			BASE_MANIFEST_DATA_DEPTH);
	return d->yaml->event.type == YAML_SEQUENCE_START_EVENT ? put_list(d, depth + 1)
								: put_mapping(d, depth + 1);
}

enum base_err wrk_yaml_data(struct wrk_yaml *r, const char *name, char **out)
{
	struct data d = { .yaml = r, .name = name };
	struct wrk_yaml_place place = wrk_yaml_here(r);
	enum base_err err;

	base_buf_init(&d.out);
	err = put_value(&d, 0);
	if (!err && (base_buf_check(&d.out) || !(*out = strndup((char *)d.out.data, d.out.size))))
		err = wrk_yaml_complain(r, BASE_NOMEM, place, "%s", base_err_text(BASE_NOMEM));
	base_buf_fini(&d.out);
	return err;
}
