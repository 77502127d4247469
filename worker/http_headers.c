#include "worker/http_headers.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/header.h"
#include "worker/secret.h"

struct making {
	const struct base_manifest *manifest;
	const char *folder;
	const char *header; /* of this name */
	char *value;        /* so far */
	size_t size;
	char *why;
	size_t why_room;
};

__attribute__((format(printf, 3, 4))) static enum base_err refuse(
	const struct making *m, enum base_err err, const char *format, ...)
{
	int n = snprintf(m->why, m->why_room, "headers.%s: ", m->header);
	va_list args;

	va_start(args, format);
	if (n >= 0 && (size_t)n < m->why_room)
		(void)vsnprintf(m->why + n, m->why_room - (size_t)n, format, args);
	va_end(args);
	return err;
}

static enum base_err append(struct making *m, const char *text, size_t size)
{
	if (size > BASE_MANIFEST_HEADER_MAX - m->size)
		return refuse(m, BASE_INVALID, "is over %d bytes", BASE_MANIFEST_HEADER_MAX);
	memcpy(m->value + m->size, text, size);
	m->size += size;
	m->value[m->size] = '\0';
	return BASE_OK;
}

static enum base_err append_secret(struct making *m, const char *name, const char *secret)
{
	size_t size = strlen(secret);

	if (!wrk_header_is_value(secret, size))
		return refuse(m, BASE_INVALID, "%s holds a line break or another control", name);
	return append(m, secret, size);
}

static enum base_err append_variable(struct making *m, const char *name)
{
	char variable[sizeof WRK_HTTP_HEADERS_VARIABLE + BASE_MANIFEST_NAME_MAX];
	const char *secret;

	(void)snprintf(variable, sizeof variable, WRK_HTTP_HEADERS_VARIABLE "%s", name);
	secret = getenv(variable);
	if (secret)
		return append_secret(m, name, secret);
	return refuse(m, BASE_INVALID, "%s is neither in secrets nor is there %s in the environment",
		name, variable);
}

static enum base_err append_named(struct making *m, const char *name)
{
	const char *file = base_manifest_pair_get(&m->manifest->secrets, name);
	char path[PATH_MAX], *secret = NULL;
	enum base_err err;

	if (!file)
		return append_variable(m, name);
	err = wrk_secret_read(wrk_secret_path(m->folder, file, path), &secret);
	if (err)
		return refuse(m, err, "secret %s: %s: %s", name, path, base_err_text(err));
	err = append_secret(m, name, secret);
	wrk_secret_free(&secret);
	return err;
}

static enum base_err expand(struct making *m, const char *text)
{
	char name[BASE_MANIFEST_NAME_MAX + 1];
	enum base_err err = BASE_OK;

	while (*text && !err) {
		size_t plain = strcspn(text, "$"), named = base_manifest_reference(text, name);

		if (named > 0)
			err = append_named(m, name);
		else if (plain == 0)
			err = append(m, "$", 1);
		else
			err = append(m, text, plain);
		text += named > 0 ? named : plain > 0 ? plain : text[1] == '$' ? 2 : 1;
	}
	return err;
}

/* The value as it will be sent, in a place of its own. */
static enum base_err make(
	struct making *m, const struct base_manifest_pair *from, struct base_manifest_pair *to)
{
	enum base_err err;

	m->header = from->name;
	m->size = 0;
	m->value[0] = '\0';
	err = expand(m, from->value);
	if (err)
		return err;
	to->name = strdup(from->name);
	to->value = strdup(m->value);
	return to->name && to->value ? BASE_OK : refuse(m, BASE_NOMEM, "out of memory");
}

enum base_err wrk_http_headers_make(const struct base_manifest *manifest, const char *folder,
	struct wrk_http_headers *out, char *why, size_t why_room)
{
	const struct base_manifest_pairs *from = &manifest->headers;
	char value[BASE_MANIFEST_HEADER_MAX + 1];
	struct making m = { .manifest = manifest,
		.folder = folder,
		.header = "",
		.value = value,
		.why = why,
		.why_room = why_room };
	enum base_err err = BASE_OK;

	*out = (struct wrk_http_headers){ 0 };
	if (from->n == 0)
		return BASE_OK;
	out->items = calloc(from->n, sizeof *out->items);
	if (!out->items)
		return refuse(&m, BASE_NOMEM, "out of memory");
	while (!err && out->n < from->n) {
		err = make(&m, &from->items[out->n], &out->items[out->n]);
		out->n++;
	}
	explicit_bzero(value, sizeof value);
	if (err)
		wrk_http_headers_fini(out);
	return err;
}

void wrk_http_headers_fini(struct wrk_http_headers *headers)
{
	for (size_t i = 0; i < headers->n; i++) {
		wrk_secret_free(&headers->items[i].value);
		free(headers->items[i].name);
	}
	free(headers->items);
	*headers = (struct wrk_http_headers){ 0 };
}
