/* Routes: the first line is a request ("METHOD TARGET"), each further one a claim
 * ("service METHOD path"). The table takes or refuses every claim; what it finds for the
 * request has values for all of its parameters.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "gateway/route.h"

#define MAX_CLAIMS 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct claims {
	Pirn__Registry registry;
	Pirn__Entry entries[MAX_CLAIMS], *entry_list[MAX_CLAIMS];
	Pirn__Manifest manifests[MAX_CLAIMS];
	Pirn__Route routes[MAX_CLAIMS], *route_list[MAX_CLAIMS];
};

/* The next word or line of *at, cut off with a NUL; an empty one at the end. */
static char *cut(char **at, char separator)
{
	char *start = *at, *end = strchr(start, separator);

	if (end)
		*end++ = '\0';
	*at = end ? end : start + strlen(start);
	return start;
}

static void read_claims(struct claims *c, char *text)
{
	pirn__registry__init(&c->registry);
	c->registry.entries = c->entry_list;
	for (size_t i = 0; i < MAX_CLAIMS && *text; i++) {
		char *line = cut(&text, '\n');
		pirn__entry__init(&c->entries[i]);
		pirn__manifest__init(&c->manifests[i]);
		pirn__route__init(&c->routes[i]);
		c->entry_list[i] = &c->entries[i];
		c->route_list[i] = &c->routes[i];
		c->entries[i].manifest = &c->manifests[i];
		c->entries[i].first_ms = i % 5;
		c->manifests[i].service = cut(&line, ' ');
		c->routes[i].method = cut(&line, ' ');
		c->routes[i].path = line;
		c->manifests[i].n_routes = 1;
		c->manifests[i].routes = &c->route_list[i];
		c->registry.n_entries = i + 1;
	}
}

static void try_request(const struct gw_routes *t, char *request)
{
	static struct gw_target target;
	char *method = cut(&request, ' ');
	size_t size = strlen(request), rest_size;
	char *room = malloc(size + 1), *rest = malloc(size + 1);
	struct gw_match m;
	const char *why;

	assert(room && rest);
	if (gw_target_parse(&target, request, size, room, &why) == BASE_OK &&
	    gw_routes_match(t, &target, gw_method_of(gw_slice_of(method)), &m) == GW_FOUND) {
		assert(m.route->n_params <= BASE_MANIFEST_PARAMS_MAX);
		for (size_t i = 0; i < m.route->n_params; i++)
			assert(m.values[i].size > 0 || m.rest_from != SIZE_MAX);
		if (m.rest_from != SIZE_MAX) {
			rest_size = gw_match_rest(&m, &target, rest);
			assert(rest_size > 0 && rest_size <= size);
		}
	}
	free(room);
	free(rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = calloc(1, size + 1), *at = text, *request;
	struct gw_routes *t = NULL;
	static struct claims c;

	if (!text)
		return 0;
	memcpy(text, data, size);
	request = cut(&at, '\n');
	read_claims(&c, at);
	if (gw_routes_new(&c.registry, &t) == BASE_OK) {
		assert(gw_routes_count(t) + gw_routes_refusals(t) <= c.registry.n_entries);
		try_request(t, request);
	}
	gw_routes_free(&t);
	free(text);
	return 0;
}
