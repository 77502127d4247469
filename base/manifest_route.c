/* The routes of a manifest: what a path may look like, and which two are the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/manifest.h"
#include "base/text.h"

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
static const char pchars[] =
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@";

struct param {
	const char *name;
	size_t size;
};

struct path {
	const char *text;
	struct param params[BASE_MANIFEST_PARAMS_MAX];
	size_t n_params;
	const char *fault; /* what is wrong with it; NULL: nothing yet */
};

static bool is_param_name(const char *name, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (!strchr(letters, name[i]) && (i == 0 || name[i] < '0' || name[i] > '9'))
			return false;
	return size > 0 && size <= BASE_MANIFEST_NAME_MAX;
}

static bool is_known(const struct path *p, const struct param *param)
{
	for (size_t i = 0; i < p->n_params; i++)
		if (p->params[i].size == param->size &&
			memcmp(p->params[i].name, param->name, param->size) == 0)
			return true;
	return false;
}

/* at stands on the brace, size reaches to the end of the segment. */
static bool take_param(struct path *p, const char *at, size_t size, bool last)
{
	bool rest = size > 3 && at[size - 2] == '*';
	struct param param = { at + 1, size < 3 ? 0 : size - 2 - rest };

	if (size < 3 || at[size - 1] != '}')
		p->fault = "expected a parameter such as {name}, alone between slashes";
	else if (!is_param_name(param.name, param.size))
		p->fault = "expected a parameter's name of letters, digits and _, at most 63";
	else if (is_known(p, &param))
		p->fault = "expected each parameter once";
	else if (rest && !last)
		p->fault = "expected {name*} as the last segment only";
	else if (p->n_params == BASE_MANIFEST_PARAMS_MAX)
		p->fault = "expected at most 16 parameters";
	else
		p->params[p->n_params++] = param;
	return !p->fault;
}

static bool take_literal(struct path *p, const char *at, size_t size)
{
	if ((size == 1 && at[0] == '.') || (size == 2 && at[0] == '.' && at[1] == '.'))
		p->fault = "expected no . or .. segment";
	else if (memchr(at, '{', size) || memchr(at, '}', size))
		p->fault = "expected a parameter such as {name}, alone between slashes";
	else if (memchr(at, '?', size))
		p->fault = "expected no ?: a query is not part of a route";
	else if (strspn(at, pchars) < size)
		p->fault = "expected letters, digits and -._~!$&'()*+,;=:@";
	return !p->fault;
}

static bool is_reserved(const char *path)
{
	return strcmp(path, "/v1") == 0 || strncmp(path, "/v1/", 4) == 0 ||
	       strcmp(path, "/healthz") == 0 || strcmp(path, "/readyz") == 0 ||
	       strcmp(path, "/metrics") == 0;
}

static void walk(struct path *p)
{
	const char *at = p->text;

	if (strcmp(at, "/") == 0)
		return;
	while (*at == '/') {
		size_t size = strcspn(++at, "/");
		if (size == 0) {
			p->fault = at[0] == '/' ? "expected no //" : "expected no / at the end";
			return;
		}
		if (at[0] == '{' ? !take_param(p, at, size, at[size] == '\0')
				 : !take_literal(p, at, size))
			return;
		at += size;
	}
}

enum base_err base_manifest_path_check(const char *path, char *why, size_t why_room)
{
	struct path p = { .text = path };
	char quoted[BASE_TEXT_QUOTED];

	if (path[0] != '/')
		p.fault = "expected a path that begins with /";
	else if (strlen(path) > BASE_MANIFEST_PATH_MAX)
		p.fault = "expected a path of at most 512 bytes";
	else if (is_reserved(path))
		p.fault =
			"expected a path outside /v1/, /healthz, /readyz and /metrics, which are Pirn's own";
	else
		walk(&p);
	if (!p.fault)
		return BASE_OK;
	if (why) {
		base_text_quote(quoted, sizeof quoted, path, strlen(path));
		(void)snprintf(why, why_room, "%s, got %s", p.fault, quoted);
	}
	return BASE_INVALID;
}

/* Whether two right paths match the same requests: names of parameters do not count, {a} and {a*} do. */
static bool is_same_shape(const char *a, const char *b)
{
	while (*a && *b) {
		size_t na = strcspn(a, "/");
		size_t nb = strcspn(b, "/");
		if (*a == '{' && *b == '{') {
			if ((a[na - 2] == '*') != (b[nb - 2] == '*'))
				return false;
		} else if (na != nb || memcmp(a, b, na) != 0) {
			return false;
		}
		a += na + (a[na] == '/');
		b += nb + (b[nb] == '/');
	}
	return *a == *b;
}

static enum base_err append(struct base_manifest *m, struct base_manifest_route *route)
{
	struct base_manifest_route *routes = m->routes;

	/* room for the next power of two */
	if ((m->n_routes & (m->n_routes - 1)) == 0) {
		routes = realloc(routes, (m->n_routes ? m->n_routes * 2 : 1) * sizeof *routes);
		if (!routes)
			return BASE_NOMEM;
		m->routes = routes;
	}
	routes[m->n_routes++] = *route;
	*route = (struct base_manifest_route){ 0 };
	return BASE_OK;
}

enum base_err base_manifest_add_route(
	struct base_manifest *m, struct base_manifest_route *route, char *why, size_t why_room)
{
	enum base_err err;

	if (m->n_routes == BASE_MANIFEST_ROUTES_MAX) {
		(void)snprintf(
			why, why_room, "expected at most %d routes", BASE_MANIFEST_ROUTES_MAX);
		return BASE_FULL;
	}
	for (size_t i = 0; i < m->n_routes; i++)
		if (strcmp(m->routes[i].method, route->method) == 0 &&
			is_same_shape(m->routes[i].path, route->path)) {
			(void)snprintf(why, why_room, "%s %.200s is the same route as %.200s",
				route->method, route->path, m->routes[i].path);
			return BASE_EXISTS;
		}
	err = append(m, route);
	if (err)
		(void)snprintf(why, why_room, "%s", base_err_text(err));
	return err;
}
