/* The sources of a manifest: other databases. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/manifest.h"
#include "base/text.h"

#define OP_MAX 32

static const char lower[] = "abcdefghijklmnopqrstuvwxyz";
static const char ten[] = "0123456789";

/* ---- URLs ---------------------------------------------------------------------------- */

/* Letters, digits and _, no digit first. */
static bool is_name(const char *text, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (text[i] != '_' && !(text[i] >= 'A' && text[i] <= 'Z') &&
			!strchr(lower, text[i]) && !strchr(ten, text[i]))
			return false;
	return size > 0 && size <= BASE_MANIFEST_NAME_MAX && !strchr(ten, text[0]);
}

size_t base_manifest_url_name(const char *url, char out[BASE_MANIFEST_NAME_MAX + 1])
{
	size_t size = strlen(url);

	if (url[0] != '$')
		return 0;
	url++;
	size--;
	if (size > 2 && url[0] == '{' && url[size - 1] == '}') {
		url++;
		size -= 2;
	}
	if (!is_name(url, size))
		return 0;
	memcpy(out, url, size);
	out[size] = '\0';
	return size + 1;
}

enum base_err base_manifest_url_check(const char *url, char *why, size_t why_room)
{
	char name[BASE_MANIFEST_NAME_MAX + 1];
	char quoted[BASE_TEXT_QUOTED];

	if (base_manifest_url_name(url, name) > 0)
		return BASE_OK;
	/* First, so that it is not repeated: what stands before it may be a password. */
	if (strchr(url, '@')) {
		if (why)
			(void)snprintf(why, why_room,
				"expected no user and password, because a manifest travels and is shown; "
				"say url: $NAME, and give the gateways PIRN_SOURCE_NAME");
		return BASE_INVALID;
	}
	if (strlen(url) <= 512 && !strchr(url, '$') && base_text_is_utf8(url, strlen(url)) &&
		(strncmp(url, "redis://", 8) == 0 || strncmp(url, "unix://", 7) == 0))
		return BASE_OK;
	base_text_quote(quoted, sizeof quoted, url, strlen(url));
	if (why)
		(void)snprintf(why, why_room,
			"expected a URL such as redis://host:6379/0, or $NAME alone, got %s",
			quoted);
	return BASE_INVALID;
}

/* ---- operations ---------------------------------------------------------------------- */

bool base_manifest_is_op(const char *op)
{
	size_t size = strlen(op);

	if (size == 0 || size > OP_MAX || strchr("._-", op[0]))
		return false;
	for (size_t i = 0; i < size; i++)
		if (!strchr(lower, op[i]) && !strchr(ten, op[i]) && !strchr("._-", op[i]))
			return false;
	return true;
}

/* Lists have room for the next power of two. */
static void *grown(void *items, size_t n, size_t size)
{
	if ((n & (n - 1)) != 0)
		return items;
	return realloc(items, (n ? n * 2 : 1) * size);
}

static enum base_err no_memory(char *why, size_t room)
{
	(void)snprintf(why, room, "%s", base_err_text(BASE_NOMEM));
	return BASE_NOMEM;
}

enum base_err base_manifest_add_op(
	struct base_manifest_words *ops, const char *op, char *why, size_t why_room)
{
	char quoted[BASE_TEXT_QUOTED];
	char **items, *copy;

	if (!base_manifest_is_op(op)) {
		base_text_quote(quoted, sizeof quoted, op, strlen(op));
		(void)snprintf(why, why_room, "expected an operation such as set, got %s", quoted);
		return BASE_INVALID;
	}
	for (size_t i = 0; i < ops->n; i++)
		if (strcmp(ops->items[i], op) == 0) {
			(void)snprintf(why, why_room, "%s is given twice", op);
			return BASE_EXISTS;
		}
	if (ops->n == BASE_MANIFEST_OPS_MAX) {
		(void)snprintf(why, why_room, "expected at most %d operations",
			BASE_MANIFEST_OPS_MAX);
		return BASE_FULL;
	}
	copy = strdup(op);
	items = copy ? grown(ops->items, ops->n, sizeof *items) : NULL;
	if (!items) {
		free(copy);
		return no_memory(why, why_room);
	}
	ops->items = items;
	ops->items[ops->n++] = copy;
	return BASE_OK;
}

/* ---- sources --------------------------------------------------------------------------- */

void base_manifest_source_fini(struct base_manifest_source *source)
{
	free(source->name);
	free(source->url);
	free(source->stream);
	free(source->group);
	free(source->keys);
	for (size_t i = 0; i < source->ops.n; i++)
		free(source->ops.items[i]);
	free(source->ops.items);
	*source = (struct base_manifest_source){ 0 };
}

static const char *misfit(const struct base_manifest_source *s)
{
	if (!s->stream == !s->keys)
		return s->stream ? "expected one of stream and keys, got both"
				 : "expected one of stream and keys, got neither";
	if (s->group && !s->stream)
		return "group: expected stream with it, got keys";
	if (s->ops.n > 0 && !s->keys)
		return "ops: expected keys with it, got stream";
	if (s->keys && s->ops.n == 0)
		return "ops: is missing; expected a list such as [set, del, expired]";
	if (s->name && strlen(s->name) > BASE_MANIFEST_SOURCE_NAME_MAX)
		return "name: expected at most 48 characters";
	return NULL;
}

static enum base_err judge(const struct base_manifest *m, const struct base_manifest_source *source,
	char *why, size_t room)
{
	const char *fault = misfit(source);

	if (fault) {
		(void)snprintf(why, room, "%s", fault);
		return BASE_INVALID;
	}
	if (m->n_sources == BASE_MANIFEST_SOURCES_MAX) {
		(void)snprintf(why, room, "expected at most %d of them", BASE_MANIFEST_SOURCES_MAX);
		return BASE_FULL;
	}
	for (size_t i = 0; i < m->n_sources; i++)
		if (strcmp(m->sources[i].name, source->name) == 0) {
			(void)snprintf(why, room, "there is another one named %s", source->name);
			return BASE_EXISTS;
		}
	return BASE_OK;
}

enum base_err base_manifest_add_source(
	struct base_manifest *m, struct base_manifest_source *source, char *why, size_t why_room)
{
	struct base_manifest_source *sources;
	enum base_err err;

	if (!source->name && asprintf(&source->name, "redis-%zu", m->n_sources + 1) < 0) {
		source->name = NULL;
		return no_memory(why, why_room);
	}
	err = judge(m, source, why, why_room);
	if (err)
		return err;
	sources = grown(m->sources, m->n_sources, sizeof *sources);
	if (!sources)
		return no_memory(why, why_room);
	m->sources = sources;
	m->sources[m->n_sources++] = *source;
	*source = (struct base_manifest_source){ 0 };
	return BASE_OK;
}
