#include "unit.h"

#include <stdio.h>

#include "gateway/route.h"

struct claim {
	const char *service;
	uint64_t first_ms;
	const char *routes[6]; /* "GET /a" */
};

/* A table from claims; the registry is gone when it comes back, as it is in the gateway. */
static struct gw_routes *build(const struct claim *claims, size_t n)
{
	Pirn__Registry registry = PIRN__REGISTRY__INIT;
	static Pirn__Entry entries[16];
	static Pirn__Manifest manifests[16];
	static Pirn__Route routes[16][6];
	static Pirn__Route *route_list[16][6];
	static Pirn__Entry *entry_list[16];
	static char texts[16][6][600];
	struct gw_routes *t = NULL;

	assert_true(n <= 16);
	for (size_t i = 0; i < n; i++) {
		pirn__entry__init(&entries[i]);
		pirn__manifest__init(&manifests[i]);
		manifests[i].service = (char *)(uintptr_t)claims[i].service;
		for (size_t k = 0; k < 6 && claims[i].routes[k]; k++) {
			char *space;
			snprintf(texts[i][k], sizeof texts[i][k], "%s", claims[i].routes[k]);
			space = strchr(texts[i][k], ' ');
			*space = '\0';
			pirn__route__init(&routes[i][k]);
			routes[i][k].method = texts[i][k];
			routes[i][k].path = space + 1;
			route_list[i][k] = &routes[i][k];
			manifests[i].n_routes = k + 1;
		}
		manifests[i].routes = route_list[i];
		entries[i].manifest = &manifests[i];
		entries[i].has_first_ms = true;
		entries[i].first_ms = claims[i].first_ms;
		entry_list[i] = &entries[i];
	}
	registry.n_entries = n;
	registry.entries = entry_list;
	assert_int_equal(gw_routes_new(&registry, &t), BASE_OK);
	memset(texts, 'x', sizeof texts);
	return t;
}

#define BUILD(...) \
	build((const struct claim[]){ __VA_ARGS__ }, \
		sizeof((const struct claim[]){ __VA_ARGS__ }) / sizeof(struct claim))

static enum gw_found match(
	const struct gw_routes *t, const char *method, const char *path, struct gw_match *m)
{
	static struct gw_target target;
	static char room[4096];
	const char *why;

	assert_int_equal(gw_target_parse(&target, path, strlen(path), room, &why), BASE_OK);
	return gw_routes_match(t, &target, gw_method_of(gw_slice_of(method)), m);
}

static void expect(
	const struct gw_routes *t, const char *method, const char *path, const char *route)
{
	struct gw_match m;

	if (match(t, method, path, &m) != GW_FOUND)
		fail_msg("%s %s: not found", method, path);
	assert_string_equal(m.route->path, route);
}

static void literals_come_before_parameters(void **state)
{
	struct gw_routes *t = BUILD({ "s", 1,
		{ "GET /a/b", "GET /a/{x}", "GET /a/{x}/c", "GET /a/b/d", "GET /a/{all*}",
			"GET /" } });

	(void)state;
	expect(t, "GET", "/a/b", "/a/b");
	expect(t, "GET", "/a/z", "/a/{x}");
	expect(t, "GET", "/a/b/d", "/a/b/d");
	expect(t, "GET", "/a/b/c", "/a/{x}/c"); /* the literal b leads nowhere here */
	expect(t, "GET", "/a/b/z/y", "/a/{all*}");
	expect(t, "GET", "/", "/");
	gw_routes_free(&t);
	assert_null(t);
}

static void values_are_decoded(void **state)
{
	struct gw_routes *t = BUILD({ "s", 1, { "GET /u/{id}/f/{path*}", "GET /x/{y}" } });
	struct gw_target target;
	struct gw_match m;
	char room[64], rest[64];
	const char *why, *raw = "/u/a%2Fb/f/c%20d//e";

	(void)state;
	assert_int_equal(gw_target_parse(&target, raw, strlen(raw), room, &why), BASE_OK);
	assert_int_equal(gw_routes_match(t, &target, GW_METHOD_GET, &m), GW_FOUND);
	assert_int_equal(m.route->n_params, 2);
	assert_true(gw_slice_equal(m.route->params[0], GW_SLICE("id")));
	assert_true(gw_slice_equal(m.route->params[1], GW_SLICE("path")));
	assert_true(gw_slice_equal(m.values[0], GW_SLICE("a/b")));
	assert_int_equal(m.rest_from, 3);
	assert_int_equal(gw_match_rest(&m, &target, rest), 6);
	assert_memory_equal(rest, "c d//e", 6);
	gw_routes_free(&t);
}

static void what_does_not_match(void **state)
{
	struct gw_routes *t = BUILD({ "s", 1, { "GET /a/{x}", "GET /r/{x*}" } });
	static const char *const paths[] = { "/", "/a", "/a/", "/a/b/", "/a/b/c", "/A/b", "/r",
		"/r/", "//a/b", "/b" };
	struct gw_match m;

	(void)state;
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
		assert_int_equal(match(t, "GET", paths[i], &m), GW_NO_PATH);
	assert_int_equal(match(t, "GET", "/r/a", &m), GW_FOUND);
	assert_int_equal(match(t, "GET", "*", &m), GW_NO_PATH);
	gw_routes_free(&t);
}

static void an_encoded_literal_is_the_literal(void **state)
{
	struct gw_routes *t = BUILD({ "s", 1, { "GET /hello" } });
	struct gw_match m;

	(void)state;
	expect(t, "GET", "/h%65llo", "/hello");
	assert_int_equal(match(t, "GET", "/hello%2F", &m), GW_NO_PATH);
	gw_routes_free(&t);
}

static void methods(void **state)
{
	struct gw_routes *t =
		BUILD({ "s", 1, { "POST /a/b", "GET /a/{x}", "PUT /c", "HEAD /d", "GET /d" } });
	struct gw_match m;
	char allow[GW_ALLOW_ROOM];

	(void)state;
	expect(t, "GET", "/a/b", "/a/{x}"); /* POST /a/b does not hide it */
	expect(t, "POST", "/a/b", "/a/b");
	assert_int_equal(match(t, "DELETE", "/a/b", &m), GW_NO_METHOD);
	gw_allow_print(m.allow, allow);
	assert_string_equal(allow, "GET, HEAD, POST, OPTIONS");
	assert_int_equal(match(t, "BREW", "/c", &m), GW_NO_METHOD);
	gw_allow_print(m.allow, allow);
	assert_string_equal(allow, "PUT, OPTIONS");
	assert_int_equal(match(t, "HEAD", "/a/z", &m), GW_FOUND);
	assert_true(m.head_by_get);
	assert_int_equal(match(t, "HEAD", "/d", &m), GW_FOUND);
	assert_false(m.head_by_get);
	assert_int_equal(m.route->method, GW_METHOD_HEAD);
	assert_int_equal(match(t, "HEAD", "/c", &m), GW_NO_METHOD);
	assert_int_equal(match(t, "get", "/a/b", &m), GW_NO_METHOD);
	gw_routes_free(&t);
}

static void the_older_service_keeps_a_route(void **state)
{
	struct gw_routes *t = BUILD({ "young", 20, { "GET /a/{x}", "GET /b" } },
		{ "old", 10, { "GET /a/{name}", "POST /a/{y}" } },
		{ "also-old", 10, { "POST /a/{z}" } });
	struct gw_match m;
	const struct gw_refusal *r;

	(void)state;
	assert_int_equal(match(t, "GET", "/a/1", &m), GW_FOUND);
	assert_string_equal(m.route->service->name, "old");
	assert_true(gw_slice_equal(m.route->params[0], GW_SLICE("name")));
	assert_int_equal(match(t, "POST", "/a/1", &m), GW_FOUND);
	assert_string_equal(m.route->service->name, "also-old"); /* as old; the name decides */
	expect(t, "GET", "/b", "/b");
	assert_int_equal(gw_routes_refusals(t), 2);
	r = gw_routes_refusal_at(t, 0);
	assert_string_equal(r->service, "old");
	assert_string_equal(r->owner, "also-old");
	r = gw_routes_refusal_at(t, 1);
	assert_string_equal(r->service, "young");
	assert_string_equal(r->owner, "old");
	assert_string_equal(r->method, "GET");
	assert_string_equal(r->path, "/a/{x}");
	assert_int_equal(gw_routes_count(t), 3);
	gw_routes_free(&t);
}

static void what_the_registry_must_not_say_is_refused(void **state)
{
	struct gw_routes *t = BUILD({ "s", 1,
					    { "BREW /a", "GET a", "GET /v1/x", "GET /{a}/{a}",
						    "GET /ok", "GET /a/../b" } },
		{ "Not A Name", 1, { "GET /n" } });
	struct gw_match m;

	(void)state;
	assert_int_equal(gw_routes_count(t), 1);
	assert_int_equal(gw_routes_refusals(t), 5);
	for (size_t i = 0; i < 5; i++) {
		assert_null(gw_routes_refusal_at(t, i)->owner);
		assert_true(strlen(gw_routes_refusal_at(t, i)->why) > 0);
	}
	expect(t, "GET", "/ok", "/ok");
	assert_int_equal(match(t, "GET", "/n", &m), GW_NO_PATH);
	assert_int_equal(gw_routes_services(t), 1);
	gw_routes_free(&t);
}

static void services_are_found_by_name(void **state)
{
	struct gw_routes *t = BUILD({ "bb", 1, { NULL } }, { "a", 2, { NULL } },
		{ "b", 3, { NULL } }, { "c", 4, { NULL } });

	(void)state;
	assert_string_equal(gw_routes_service_at(t, 0)->name, "a");
	assert_string_equal(gw_routes_service(t, GW_SLICE("b"))->name, "b");
	assert_string_equal(gw_routes_service(t, GW_SLICE("bb"))->name, "bb");
	assert_string_equal(gw_routes_service(t, GW_SLICE("c"))->name, "c");
	assert_null(gw_routes_service(t, GW_SLICE("bbb")));
	assert_null(gw_routes_service(t, GW_SLICE("")));
	gw_routes_free(&t);
	t = build(NULL, 0);
	assert_null(gw_routes_service(t, GW_SLICE("a")));
	gw_routes_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(literals_come_before_parameters),
		cmocka_unit_test(values_are_decoded),
		cmocka_unit_test(what_does_not_match),
		cmocka_unit_test(an_encoded_literal_is_the_literal),
		cmocka_unit_test(methods),
		cmocka_unit_test(the_older_service_keeps_a_route),
		cmocka_unit_test(what_the_registry_must_not_say_is_refused),
		cmocka_unit_test(services_are_found_by_name),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
