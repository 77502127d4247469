#include "tests/unit/unit.h"

#include "base/manifest.h"
#include "tests/unit/count_alloc.h"

static const struct base_manifest_key *key(const char *name)
{
	const struct base_manifest_key *row = base_manifest_find(base_manifest_schema(), name);

	assert_non_null(row);
	return row;
}

static const struct base_manifest_key *http_key(const char *name)
{
	const struct base_manifest_key *http = base_manifest_find(key("events")->keys, "http");

	assert_non_null(http);
	return base_manifest_find(http->keys, name);
}

static void defaults_are_the_designs(void **state)
{
	struct base_manifest *m = base_manifest_new();

	(void)state;
	assert_non_null(m);
	assert_null(m->service);
	assert_null(m->handler);
	assert_int_equal(m->n_routes, 0);
	assert_int_equal(m->timeout_ms, 5000);
	assert_int_equal(m->concurrency, 32);
	assert_int_equal(m->concurrency_total, 0);
	assert_int_equal(m->queue.items, 0);
	assert_int_equal(m->max_body_bytes, 0);
	assert_int_equal(m->retry.attempts, 10);
	assert_int_equal(m->retry.base_ms, 1000);
	assert_int_equal(m->retry.max_ms, 300000);
	assert_int_equal(m->retry.age_ms, 6 * 3600 * 1000);
	assert_int_equal(m->breaker.window_ms, 10000);
	assert_int_equal(m->breaker.calls, 20);
	assert_int_equal(m->breaker.failure_percent, 50);
	assert_int_equal(m->breaker.consecutive, 5);
	assert_int_equal(m->breaker.open_ms, 5000);
	base_manifest_free(&m);
	assert_null(m);
	base_manifest_free(&m);
}

static void check_table(const struct base_manifest_key *keys)
{
	char why[BASE_MANIFEST_WHY];
	char expected[160];
	struct base_manifest unused = { 0 };

	for (size_t i = 0; keys[i].name; i++) {
		assert_true(i < 32); /* what a reader makes room for */
		assert_ptr_equal(base_manifest_find(keys, keys[i].name), &keys[i]);
		assert_true(strlen(keys[i].help) > 3);
		base_manifest_expected(&keys[i], expected, sizeof expected);
		assert_true(strlen(expected) > 3 && strlen(expected) < sizeof expected - 1);
		assert_false(keys[i].required && keys[i].standard);
		if (keys[i].max)
			assert_true(keys[i].max > keys[i].min && keys[i].max <= UINT32_MAX);
		if (keys[i].type == BASE_MANIFEST_MAP || keys[i].type == BASE_MANIFEST_EVENTS) {
			if (keys[i].keys)
				check_table(keys[i].keys);
			assert_int_equal(base_manifest_set(&keys[i], &unused, "x", why, sizeof why),
				BASE_TYPE);
		}
	}
}

static void the_table_is_sound(void **state)
{
	(void)state;
	check_table(base_manifest_schema());
	assert_null(base_manifest_find(base_manifest_schema(), "nonsense"));
	assert_null(base_manifest_find(base_manifest_schema(), ""));
	assert_string_equal(base_manifest_nearest(base_manifest_schema(), "timeot"), "timeout");
	assert_null(base_manifest_nearest(base_manifest_schema(), "colour"));
}

static void bounds_are_inclusive(void **state)
{
	/* clang-format off */
	static const struct {
		const char *name, *text;
		enum base_err err;
	} rows[] = {
		{ "timeout", "1ms", BASE_OK },         { "timeout", "1h", BASE_OK },          { "timeout", "0s", BASE_RANGE },
		{ "timeout", "3600001ms", BASE_RANGE },{ "timeout", "5", BASE_INVALID },      { "timeout", "5 parsecs", BASE_INVALID },
		{ "timeout", "1.5s", BASE_INVALID },   { "timeout", "-5s", BASE_INVALID },    { "timeout", "99999999999999999999d", BASE_INVALID },
		{ "concurrency", "1", BASE_OK },       { "concurrency", "10000", BASE_OK },   { "concurrency", "0", BASE_RANGE },
		{ "concurrency", "10001", BASE_RANGE },{ "concurrency", "4294967328", BASE_RANGE },
		{ "concurrency", "0x20", BASE_INVALID },{ "concurrency", "1e3", BASE_INVALID },
		{ "max_body", "64m", BASE_OK },        { "max_body", "67108865", BASE_RANGE },{ "max_body", "1mb", BASE_INVALID },
		{ "service", "a", BASE_OK },           { "service", "a-1", BASE_OK },         { "service", "", BASE_INVALID },
		{ "service", "A", BASE_INVALID },      { "service", "1a", BASE_INVALID },     { "service", "-a", BASE_INVALID },
		{ "service", "a_b", BASE_INVALID },    { "service", "a b", BASE_INVALID },    { "service", "\xc3\xbc", BASE_INVALID },
		{ "handler", "hello.so", BASE_OK },    { "handler", "../hello.so", BASE_INVALID }, { "handler", "/lib/x.so", BASE_INVALID },
		{ "handler", ".so", BASE_INVALID },    { "handler", "", BASE_INVALID },
		{ "description", "", BASE_RANGE },     { "description", "\xff", BASE_INVALID }, { "version", "1.0", BASE_OK },
	};
	/* clang-format on */

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct base_manifest *m = base_manifest_new();
		char why[BASE_MANIFEST_WHY];
		assert_int_equal(
			base_manifest_set(key(rows[i].name), m, rows[i].text, why, sizeof why),
			rows[i].err);
		if (rows[i].err) {
			assert_int_equal(m->timeout_ms, 5000);
			assert_int_equal(m->concurrency, 32);
			assert_null(m->service);
			assert_non_null(strstr(why, "expected "));
			assert_non_null(strstr(why, ", got \""));
		}
		base_manifest_free(&m);
	}
}

static void a_service_name_is_at_most_63(void **state)
{
	char name[80];

	(void)state;
	memset(name, 'a', sizeof name);
	name[63] = '\0';
	assert_true(base_manifest_is_service(name));
	name[63] = 'a';
	name[64] = '\0';
	assert_false(base_manifest_is_service(name));
	assert_true(base_manifest_is_service("z-"));
	assert_false(base_manifest_is_service("hello\n"));
}

static void methods(void **state)
{
	static const char *const good[] = { "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE",
		"OPTIONS" };
	static const char *const bad[] = { "", "get", "GETS", "GE", "TRACE", "CONNECT", "GET ",
		"*" };

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		assert_true(base_manifest_is_method(good[i]));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_false(base_manifest_is_method(bad[i]));
}

static void right_paths(void **state)
{
	/* clang-format off */
	static const char *const rows[] = {
		"/",          "/hello",      "/a/b/c",       "/{id}",        "/a/{id}",      "/a/{id}/b/{other}", "/files/{path*}",
		"/{rest*}",   "/v1x",        "/v2/x",        "/healthz/x",   "/a.b-c_d~e",   "/a/...",            "/!$&'()*+,;=:@",
		"/{_a1}",     "/*",          "/a/{id}/{r*}", "/metrics2",    "/{v1}/x",
	};
	/* clang-format on */
	char why[BASE_MANIFEST_WHY];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(base_manifest_path_check(rows[i], why, sizeof why), BASE_OK);
}

static void wrong_paths(void **state)
{
	/* clang-format off */
	static const struct {
		const char *path, *why;
	} rows[] = {
		{ "", "expected a path that begins with /, got \"\"" },
		{ "hello", "expected a path that begins with /, got \"hello\"" },
		{ "//", "expected no //, got \"//\"" },
		{ "/a//b", "expected no //, got \"/a//b\"" },
		{ "/a/", "expected no / at the end, got \"/a/\"" },
		{ "/a/{id}/", "expected no / at the end, got \"/a/{id}/\"" },
		{ "/a?b", "expected no ?: a query is not part of a route, got \"/a?b\"" },
		{ "/a#b", "expected letters, digits and -._~!$&'()*+,;=:@, got \"/a#b\"" },
		{ "/a b", "expected letters, digits and -._~!$&'()*+,;=:@, got \"/a b\"" },
		{ "/a%20b", "expected letters, digits and -._~!$&'()*+,;=:@, got \"/a%20b\"" },
		{ "/\xc3\xbc", "expected letters, digits and -._~!$&'()*+,;=:@, got \"/\xc3\xbc\"" },
		{ "/a\nb", "expected letters, digits and -._~!$&'()*+,;=:@, got \"/a\\nb\"" },
		{ "/.", "expected no . or .. segment, got \"/.\"" },
		{ "/a/../b", "expected no . or .. segment, got \"/a/../b\"" },
		{ "/{", "expected a parameter such as {name}, alone between slashes, got \"/{\"" },
		{ "/{}", "expected a parameter such as {name}, alone between slashes, got \"/{}\"" },
		{ "/{id", "expected a parameter such as {name}, alone between slashes, got \"/{id\"" },
		{ "/id}", "expected a parameter such as {name}, alone between slashes, got \"/id}\"" },
		{ "/a{id}", "expected a parameter such as {name}, alone between slashes, got \"/a{id}\"" },
		{ "/{id}a", "expected a parameter such as {name}, alone between slashes, got \"/{id}a\"" },
		{ "/{a}{b}", "expected a parameter's name of letters, digits and _, at most 63, got \"/{a}{b}\"" },
		{ "/{*}", "expected a parameter's name of letters, digits and _, at most 63, got \"/{*}\"" },
		{ "/{1a}", "expected a parameter's name of letters, digits and _, at most 63, got \"/{1a}\"" },
		{ "/{a-b}", "expected a parameter's name of letters, digits and _, at most 63, got \"/{a-b}\"" },
		{ "/{a**}", "expected a parameter's name of letters, digits and _, at most 63, got \"/{a**}\"" },
		{ "/{id}/{id}", "expected each parameter once, got \"/{id}/{id}\"" },
		{ "/{id}/{id*}", "expected each parameter once, got \"/{id}/{id*}\"" },
		{ "/{a*}/b", "expected {name*} as the last segment only, got \"/{a*}/b\"" },
		{ "/v1", "expected a path outside /v1/, /healthz, /readyz and /metrics, which are Pirn's own, got \"/v1\"" },
		{ "/v1/", "expected a path outside /v1/, /healthz, /readyz and /metrics, which are Pirn's own, got \"/v1/\"" },
		{ "/v1/x", "expected a path outside /v1/, /healthz, /readyz and /metrics, which are Pirn's own, got \"/v1/x\"" },
		{ "/healthz", "expected a path outside /v1/, /healthz, /readyz and /metrics, which are Pirn's own, got \"/healthz\"" },
		{ "/readyz", "expected a path outside /v1/, /healthz, /readyz and /metrics, which are Pirn's own, got \"/readyz\"" },
		{ "/metrics", "expected a path outside /v1/, /healthz, /readyz and /metrics, which are Pirn's own, got \"/metrics\"" },
	};
	/* clang-format on */
	char why[BASE_MANIFEST_WHY];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(
			base_manifest_path_check(rows[i].path, why, sizeof why), BASE_INVALID);
		assert_string_equal(why, rows[i].why);
		assert_int_equal(base_manifest_path_check(rows[i].path, NULL, 0), BASE_INVALID);
	}
}

static void paths_have_bounds(void **state)
{
	char path[600];
	char why[BASE_MANIFEST_WHY];
	size_t n = 0;

	(void)state;
	memset(path, 'a', sizeof path);
	path[0] = '/';
	path[BASE_MANIFEST_PATH_MAX] = '\0';
	assert_int_equal(base_manifest_path_check(path, why, sizeof why), BASE_OK);
	path[BASE_MANIFEST_PATH_MAX] = 'a';
	path[BASE_MANIFEST_PATH_MAX + 1] = '\0';
	assert_int_equal(base_manifest_path_check(path, why, sizeof why), BASE_INVALID);
	for (unsigned i = 0; i < BASE_MANIFEST_PARAMS_MAX; i++)
		n += (size_t)snprintf(path + n, sizeof path - n, "/{p%u}", i);
	assert_int_equal(base_manifest_path_check(path, why, sizeof why), BASE_OK);
	(void)snprintf(path + n, sizeof path - n, "/{one_more}");
	assert_int_equal(base_manifest_path_check(path, why, sizeof why), BASE_INVALID);
	assert_memory_equal(why, "expected at most 16 parameters", 30);
}

static enum base_err add_route(
	struct base_manifest *m, const char *method, const char *path, char *why)
{
	struct base_manifest_route route = { 0 };
	enum base_err err;

	assert_int_equal(
		base_manifest_set(http_key("method"), &route, method, why, BASE_MANIFEST_WHY),
		BASE_OK);
	assert_int_equal(
		base_manifest_set(http_key("path"), &route, path, why, BASE_MANIFEST_WHY), BASE_OK);
	err = base_manifest_add_route(m, &route, why, BASE_MANIFEST_WHY);
	if (err == BASE_OK)
		assert_null(route.method);
	else
		assert_string_equal(route.path, path); /* still the caller's */
	base_manifest_route_fini(&route);
	return err;
}

static void a_route_stands_once(void **state)
{
	/* clang-format off */
	static const struct {
		const char *method, *path;
		enum base_err err;
	} rows[] = {
		{ "GET", "/a/{id}", BASE_OK },       { "GET", "/a/{id}", BASE_EXISTS },  { "GET", "/a/{other}", BASE_EXISTS },
		{ "POST", "/a/{id}", BASE_OK },      { "GET", "/a/{id*}", BASE_OK },     { "GET", "/a/{x*}", BASE_EXISTS },
		{ "GET", "/a", BASE_OK },            { "GET", "/a/b", BASE_OK },         { "GET", "/a/{id}/c", BASE_OK },
		{ "GET", "/a/{x}/c", BASE_EXISTS },  { "GET", "/", BASE_OK },            { "GET", "/", BASE_EXISTS },
		{ "GET", "/ab", BASE_OK },           { "GET", "/{x}", BASE_OK },         { "GET", "/{y}/b", BASE_OK },
	};
	/* clang-format on */
	struct base_manifest *m = base_manifest_new();
	char why[BASE_MANIFEST_WHY];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(add_route(m, rows[i].method, rows[i].path, why), rows[i].err);
	assert_int_equal(add_route(m, "GET", "/{z}/b", why), BASE_EXISTS);
	assert_string_equal(why, "GET /{z}/b is the same route as /{y}/b");
	assert_int_equal(m->n_routes, 10);
	base_manifest_free(&m);
}

static void routes_and_pairs_are_bounded(void **state)
{
	struct base_manifest *m = base_manifest_new();
	char why[BASE_MANIFEST_WHY];
	char text[32];

	(void)state;
	for (int i = 0; i < BASE_MANIFEST_ROUTES_MAX; i++) {
		(void)snprintf(text, sizeof text, "/r%d", i);
		assert_int_equal(add_route(m, "GET", text, why), BASE_OK);
	}
	assert_int_equal(add_route(m, "GET", "/more", why), BASE_FULL);
	assert_string_equal(why, "expected at most 256 routes");
	assert_string_equal(m->routes[255].path, "/r255");
	for (int i = 0; i < BASE_MANIFEST_PAIRS_MAX; i++) {
		(void)snprintf(text, sizeof text, "N%d", i);
		assert_int_equal(
			base_manifest_add_pair(&m->env, text, "v", why, sizeof why), BASE_OK);
	}
	assert_int_equal(base_manifest_add_pair(&m->env, "MORE", "v", why, sizeof why), BASE_FULL);
	base_manifest_free(&m);
}

static void pairs(void **state)
{
	static const char *const bad[] = { "", "1A", "A-B", "A B", "A=B", "\xc3\xbc", "A\n" };
	struct base_manifest_pairs *env;
	struct base_manifest *m = base_manifest_new();
	char why[BASE_MANIFEST_WHY];

	(void)state;
	env = &m->env;
	assert_null(base_manifest_pair_get(env, "A"));
	assert_int_equal(base_manifest_add_pair(env, "A", "1", why, sizeof why), BASE_OK);
	assert_int_equal(base_manifest_add_pair(env, "_b2", "", why, sizeof why), BASE_OK);
	assert_int_equal(base_manifest_add_pair(env, "A", "2", why, sizeof why), BASE_EXISTS);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(
			base_manifest_add_pair(env, bad[i], "x", why, sizeof why), BASE_INVALID);
	assert_string_equal(base_manifest_pair_get(env, "A"), "1");
	assert_string_equal(base_manifest_pair_get(env, "_b2"), "");
	assert_int_equal(env->n, 2);
	base_manifest_free(&m);
}

static void fields_must_agree(void **state)
{
	struct base_manifest *m = base_manifest_new();
	char why[BASE_MANIFEST_WHY];
	const char *at;

	(void)state;
	assert_int_equal(base_manifest_check(m, &at, why, sizeof why), BASE_INVALID);
	assert_string_equal(at, "service");
	assert_int_equal(base_manifest_set(key("service"), m, "x", why, sizeof why), BASE_OK);
	assert_int_equal(base_manifest_check(m, &at, why, sizeof why), BASE_INVALID);
	assert_string_equal(at, "handler");
	assert_int_equal(base_manifest_set(key("handler"), m, "x.so", why, sizeof why), BASE_OK);
	assert_int_equal(base_manifest_check(m, &at, why, sizeof why), BASE_OK);
	m->retry.base_ms = m->retry.max_ms + 1;
	assert_int_equal(base_manifest_check(m, &at, why, sizeof why), BASE_INVALID);
	assert_string_equal(at, "retry");
	m->retry.base_ms = m->retry.max_ms;
	assert_int_equal(base_manifest_add_pair(&m->env, "A", "1", why, sizeof why), BASE_OK);
	assert_int_equal(
		base_manifest_add_pair(&m->secrets, "A", "/run/a", why, sizeof why), BASE_OK);
	assert_int_equal(base_manifest_check(m, &at, why, sizeof why), BASE_EXISTS);
	assert_string_equal(at, "secrets");
	assert_string_equal(why, "A is in env, too");
	base_manifest_free(&m);
}

static enum base_err build(struct base_manifest **out)
{
	char why[BASE_MANIFEST_WHY];
	struct base_manifest *m = base_manifest_new();
	struct base_manifest_route route = { 0 };
	enum base_err err = BASE_NOMEM;

	if (!m)
		return err;
	if ((err = base_manifest_set(key("service"), m, "x", why, sizeof why)) ||
		(err = base_manifest_set(http_key("method"), &route, "GET", why, sizeof why)) ||
		(err = base_manifest_set(http_key("path"), &route, "/x", why, sizeof why)) ||
		(err = base_manifest_add_route(m, &route, why, sizeof why)) ||
		(err = base_manifest_add_pair(&m->env, "A", "1", why, sizeof why)) ||
		(err = base_manifest_add_pair(&m->env, "B", "2", why, sizeof why))) {
		base_manifest_route_fini(&route);
		base_manifest_free(&m);
		return err;
	}
	*out = m;
	return BASE_OK;
}

static void every_allocation_may_fail(void **state)
{
	struct base_manifest *m = NULL;
	unsigned long nth = 1;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	for (;; nth++) {
		long live = count_alloc_live;
		enum base_err err;
		count_alloc_fail_at(nth);
		err = build(&m);
		count_alloc_fail_at(0);
		if (err == BASE_OK)
			break;
		assert_int_equal(err, BASE_NOMEM);
		assert_int_equal(count_alloc_live, live);
		assert_null(m);
	}
	assert_true(nth > 8);
	base_manifest_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_the_designs),
		cmocka_unit_test(the_table_is_sound),
		cmocka_unit_test(bounds_are_inclusive),
		cmocka_unit_test(a_service_name_is_at_most_63),
		cmocka_unit_test(methods),
		cmocka_unit_test(right_paths),
		cmocka_unit_test(wrong_paths),
		cmocka_unit_test(paths_have_bounds),
		cmocka_unit_test(a_route_stands_once),
		cmocka_unit_test(routes_and_pairs_are_bounded),
		cmocka_unit_test(pairs),
		cmocka_unit_test(fields_must_agree),
		cmocka_unit_test(every_allocation_may_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
