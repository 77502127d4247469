#include "tests/unit/unit.h"

#include "tests/unit/count_alloc.h"
#include "worker/yaml.h"

static struct base_manifest *m;
static char why[WRK_YAML_WHY];

static enum base_err read_bytes(const char *text, size_t size)
{
	/* exactly as long as the text: a sanitizer sees one byte too far */
	char *copy = malloc(size ? size : 1);
	enum base_err err;

	assert_non_null(copy);
	memcpy(copy, text, size);
	base_manifest_free(&m);
	why[0] = '\0';
	err = wrk_yaml_read("services/x/service.yaml", copy, size, &m, why, sizeof why);
	free(copy);
	assert_int_equal(err == BASE_OK, m != NULL);
	return err;
}

static enum base_err read_text(const char *text)
{
	return read_bytes(text, strlen(text));
}

static int teardown(void **state)
{
	(void)state;
	base_manifest_free(&m);
	return 0;
}

#define MINIMAL "service: x\nhandler: x.so\n"

static void the_designs_manifest(void **state)
{
	(void)state;
	assert_int_equal(
		read_text(
			"service: counter\n"
			"handler: counter.so\n"
			"description: \"Counts: one, two\"\n"
			"version: 1.0\n"
			"events:\n"
			"  - http:  { method: POST, path: /counter }\n"
			"  - http:\n"
			"      path: /counter/{name}   # a comment\n"
			"      method: GET\n"
			"      async: true\n"
			"      ack: memory\n"
			"timeout: 7s\n"
			"concurrency: 3\n"
			"concurrency_total: 12\n"
			"queue: {items: 99}\n"
			"max_body: 64k\n"
			"retry:   { attempts: 9, base: 2s, max: 6m, age: 7h }\n"
			"breaker: { window: 11s, calls: 21, failures: 51%, consecutive: 6, open: 4s }\n"
			"env:\n"
			"  GREETING: Hello, \xc3\xbc\n"
			"  EMPTY: \"\"\n"
			"  NUMBER: 0x10\n"
			"  TRUE: true\n"
			"secrets: { DB: /run/secrets/db }\n"),
		BASE_OK);
	assert_string_equal(m->service, "counter");
	assert_string_equal(m->handler, "counter.so");
	assert_string_equal(m->description, "Counts: one, two");
	assert_string_equal(m->version, "1.0");
	assert_int_equal(m->n_routes, 2);
	assert_string_equal(m->routes[0].method, "POST");
	assert_string_equal(m->routes[0].path, "/counter");
	assert_false(m->routes[0].async);
	assert_false(m->routes[0].ack_memory);
	assert_string_equal(m->routes[1].method, "GET");
	assert_string_equal(m->routes[1].path, "/counter/{name}");
	assert_true(m->routes[1].async);
	assert_true(m->routes[1].ack_memory);
	assert_int_equal(m->timeout_ms, 7000);
	assert_int_equal(m->concurrency, 3);
	assert_int_equal(m->concurrency_total, 12);
	assert_int_equal(m->queue.items, 99);
	assert_int_equal(m->max_body_bytes, 65536);
	assert_int_equal(m->retry.attempts, 9);
	assert_int_equal(m->retry.base_ms, 2000);
	assert_int_equal(m->retry.max_ms, 360000);
	assert_int_equal(m->retry.age_ms, 7 * 3600000);
	assert_int_equal(m->breaker.window_ms, 11000);
	assert_int_equal(m->breaker.calls, 21);
	assert_int_equal(m->breaker.failure_percent, 51);
	assert_int_equal(m->breaker.consecutive, 6);
	assert_int_equal(m->breaker.open_ms, 4000);
	assert_int_equal(m->env.n, 4);
	assert_string_equal(base_manifest_pair_get(&m->env, "GREETING"), "Hello, \xc3\xbc");
	assert_string_equal(base_manifest_pair_get(&m->env, "EMPTY"), "");
	assert_string_equal(base_manifest_pair_get(&m->env, "NUMBER"), "0x10");
	assert_string_equal(base_manifest_pair_get(&m->env, "TRUE"), "true");
	assert_string_equal(base_manifest_pair_get(&m->secrets, "DB"), "/run/secrets/db");
}

static void timers_of_all_kinds(void **state)
{
	(void)state;
	assert_int_equal(read_text(MINIMAL
				 "events:\n"
				 "  - timer: { name: nightly, cron: \"0 3 * * mon-fri\", zone: Etc/UTC, data: { increment: 0 } }\n"
				 "  - http: { method: GET, path: /a }\n"
				 "  - timer:\n"
				 "      name: often\n"
				 "      every: 2m\n"
				 "      missed: all\n"
				 "      overlap: allow\n"
				 "  - timer: { name: hourly, cron: \"@hourly\", missed: skip, overlap: skip }\n"),
		BASE_OK);
	assert_int_equal(m->n_timers, 3);
	assert_int_equal(m->n_routes, 1);
	assert_string_equal(m->timers[0].name, "nightly");
	assert_string_equal(m->timers[0].cron, "0 3 * * mon-fri");
	assert_string_equal(m->timers[0].zone, "Etc/UTC");
	assert_string_equal(m->timers[0].data, "{\"increment\":0}");
	assert_int_equal(m->timers[0].every_ms, 0);
	assert_int_equal(m->timers[0].missed, BASE_MANIFEST_MISSED_ONCE);
	assert_false(m->timers[0].overlap);
	assert_string_equal(m->timers[1].name, "often");
	assert_null(m->timers[1].cron);
	assert_null(m->timers[1].zone);
	assert_null(m->timers[1].data);
	assert_int_equal(m->timers[1].every_ms, 120000);
	assert_int_equal(m->timers[1].missed, BASE_MANIFEST_MISSED_ALL);
	assert_true(m->timers[1].overlap);
	assert_int_equal(m->timers[2].missed, BASE_MANIFEST_MISSED_SKIP);
	assert_false(m->timers[2].overlap);
}

/* The core schema of YAML 1.2: what is in quotes is text, and so is what only looks like a word of YAML 1.1. */
static void data_becomes_json(void **state)
{
	static const char *const rows[][2] = {
		{ "5", "5" }, { "-5", "-5" }, { "+5", "5" }, { "010", "10" }, { "-007", "-7" }, { "0", "0" },
		{ "0o17", "15" }, { "0x1F", "31" }, { "0x", "\"0x\"" }, { "0o8", "\"0o8\"" },
		{ "0xffffffffffffffff", "18446744073709551615" },
		{ "123456789012345678901234567890", "123456789012345678901234567890" },
		{ "1.5", "1.5" }, { ".5", "0.5" }, { "5.", "5" }, { "-.5e3", "-0.5e3" }, { "1e+10", "1e+10" },
		{ "00.50", "0.50" }, { ".", "\".\"" }, { "1e", "\"1e\"" }, { "1.2.3", "\"1.2.3\"" }, { "-a", "\"-a\"" },
		{ "true", "true" }, { "False", "false" }, { "yes", "\"yes\"" }, { "no", "\"no\"" },
		{ "null", "null" }, { "~", "null" }, { "", "null" }, { "\"\"", "\"\"" }, { "\"5\"", "\"5\"" },
		{ "'true'", "\"true\"" }, { "\"null\"", "\"null\"" }, { "2026-11-21", "\"2026-11-21\"" },
		{ "\"a\\n\\\"b\"", "\"a\\n\\\"b\"" }, { "\"\\0\"", "\"\\u0000\"" },
		{ "[]", "[]" }, { "{}", "{}" }, { "[1, [two, {}], ~]", "[1,[\"two\",{}],null]" },
		{ "{ a: 1, 5: [x], true: {b: c} }", "{\"a\":1,\"5\":[\"x\"],\"true\":{\"b\":\"c\"}}" },
		{ "\n        - 1\n        - a: |\n            text\n", "[1,{\"a\":\"text\\n\"}]" },
		{ "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]", "[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]" },
	};
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		snprintf(text, sizeof text,
			MINIMAL "events:\n  - timer:\n      name: a\n      every: 5s\n      data: %s\n",
			rows[i][0]);
		assert_int_equal(read_text(text), BASE_OK);
		assert_string_equal(m->timers[0].data, rows[i][1]);
		base_manifest_free(&m);
	}
}

static void sources_of_all_kinds(void **state)
{
	(void)state;
	assert_int_equal(
		read_text(MINIMAL
			"events:\n"
			"  - redis: { url: $SHOP, stream: orders }\n"
			"  - redis: { name: mine, url: \"redis://h:1/2\", stream: \"a b\", group: g }\n"
			"  - redis:\n"
			"      url: ${SHOP}\n"
			"      keys: user:*\n"
			"      ops:\n"
			"        - set\n"
			"        - rename_to\n"),
		BASE_OK);
	assert_int_equal(m->n_sources, 3);
	assert_string_equal(m->sources[0].name, "redis-1");
	assert_string_equal(m->sources[0].url, "$SHOP");
	assert_string_equal(m->sources[0].stream, "orders");
	assert_null(m->sources[0].group);
	assert_null(m->sources[0].keys);
	assert_int_equal(m->sources[0].ops.n, 0);
	assert_string_equal(m->sources[1].name, "mine");
	assert_string_equal(m->sources[1].stream, "a b");
	assert_string_equal(m->sources[1].group, "g");
	assert_string_equal(m->sources[2].name, "redis-3");
	assert_null(m->sources[2].stream);
	assert_string_equal(m->sources[2].keys, "user:*");
	assert_int_equal(m->sources[2].ops.n, 2);
	assert_string_equal(m->sources[2].ops.items[1], "rename_to");
}

static void sources_have_bounds(void **state)
{
	static char text[8192];
	size_t n = (size_t)snprintf(text, sizeof text, MINIMAL "events:\n");

	(void)state;
	for (int i = 0; i < 17; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "  - redis: { url: $A, stream: s }\n");
	assert_int_equal(read_text(text), BASE_CONFIG);
	assert_string_equal(why, "services/x/service.yaml:20:12: redis: expected at most 16 of them");
	n = (size_t)snprintf(text, sizeof text, MINIMAL "events:\n  - redis:\n      url: $A\n      keys: k\n      ops:\n");
	for (int i = 0; i < 33; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "        - op%d\n", i);
	assert_int_equal(read_text(text), BASE_CONFIG);
	assert_string_equal(why, "services/x/service.yaml:40:11: redis.ops: expected at most 32 operations");
}

static void timers_have_bounds(void **state)
{
	static char text[60000];
	size_t n = (size_t)snprintf(text, sizeof text, MINIMAL "events:\n");

	(void)state;
	for (int i = 0; i < 65; i++)
		n += (size_t)snprintf(text + n, sizeof text - n, "  - timer: { name: t%d, every: 5s }\n", i);
	assert_int_equal(read_text(text), BASE_CONFIG);
	assert_string_equal(why, "services/x/service.yaml:68:12: timer: expected at most 64 timers");
	n = (size_t)snprintf(text, sizeof text, MINIMAL "events:\n");
	for (int i = 0; i < 2; i++)
		n += (size_t)snprintf(text + n, sizeof text - n,
			"  - timer: { name: t%d, every: 5s, data: \"%020000d\" }\n", i, 0);
	assert_int_equal(read_text(text), BASE_CONFIG);
	assert_string_equal(why,
		"services/x/service.yaml:5:12: timer: data: expected at most 32768 bytes of all timers together, got 40004");
}

static void what_is_left_out_has_its_default(void **state)
{
	(void)state;
	assert_int_equal(
		read_text(MINIMAL "retry: { attempts: 3 }\nbreaker: {}\nevents: []\nenv: {}\n"),
		BASE_OK);
	assert_int_equal(m->timeout_ms, 5000);
	assert_int_equal(m->concurrency, 32);
	assert_int_equal(m->retry.attempts, 3);
	assert_int_equal(m->retry.base_ms, 1000);
	assert_int_equal(m->breaker.calls, 20);
	assert_int_equal(m->n_routes, 0);
}

static void what_it_subscribes_to(void **state)
{
	(void)state;
	assert_int_equal(
		read_text(MINIMAL
			"events:\n"
			"  - event: { type: \"order.*\" }\n"
			"  - event:\n"
			"      subject: vip-*\n"
			"      type: order.created\n"
			"      source: /shop/\xc3\xbc\n"
			"  - http: { method: GET, path: /a }\n"),
		BASE_OK);
	assert_int_equal(m->n_subscriptions, 2);
	assert_string_equal(m->subscriptions[0].type, "order.*");
	assert_null(m->subscriptions[0].source);
	assert_null(m->subscriptions[0].subject);
	assert_string_equal(m->subscriptions[1].type, "order.created");
	assert_string_equal(m->subscriptions[1].source, "/shop/\xc3\xbc");
	assert_string_equal(m->subscriptions[1].subject, "vip-*");
	assert_int_equal(m->n_routes, 1);
}

static void at_most_64_subscriptions(void **state)
{
	char text[8192] = MINIMAL "events:\n";

	(void)state;
	for (int i = 0; i < 64; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text),
			"  - event: { type: t%d }\n", i);
	assert_int_equal(read_text(text), BASE_OK);
	assert_int_equal(m->n_subscriptions, 64);
	strcat(text, "  - event: { type: more }\n");
	assert_int_equal(read_text(text), BASE_CONFIG);
}

static void other_shapes_of_the_same(void **state)
{
	static const char *const rows[] = {
		"---\n" MINIMAL "...\n",
		"%YAML 1.1\n---\n" MINIMAL,
		"{service: x, handler: x.so}",
		"{\"service\": \"x\", \"handler\": \"x.so\"}",
		"\xef\xbb\xbf" MINIMAL,
		"service: x\r\nhandler: x.so\r\n",
		"# comment\n\nhandler: 'x.so'\nservice: |-\n  x\n",
		MINIMAL "timeout: \"5s\"\nconcurrency: '32'\n",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		assert_int_equal(read_text(rows[i]), BASE_OK);
		assert_string_equal(m->service, "x");
		assert_string_equal(m->handler, "x.so");
		assert_int_equal(m->timeout_ms, 5000);
	}
}

/* Each mistake, and the whole message but for the file's name. */
/* clang-format off */
static const struct {
	const char *text, *why;
} mistakes[] = {
	/* nothing, or not a mapping */
	{ "", "1:1: expected a manifest, got nothing" },
	{ "# only a comment\n", "1:1: expected a manifest, got nothing" },
	{ "---\n", "2:1: manifest: expected a mapping, got nothing" },
	{ "text", "1:1: manifest: expected a mapping, got \"text\"" },
	{ "- service: x\n", "1:1: manifest: expected a mapping, got a list" },
	/* required */
	{ "handler: x.so\n", "1:1: service: is missing; expected a name of up to 63 characters such as my-service: a-z first, then a-z, 0-9 and -" },
	{ "\n\nservice: x\n", "3:1: handler: is missing; expected a file name without a folder, such as hello.so, or a URL such as http://app:3000/hook" },
	{ "{}", "1:1: service: is missing; expected a name of up to 63 characters such as my-service: a-z first, then a-z, 0-9 and -" },
	/* keys */
	{ MINIMAL "timeot: 5s\n", "3:1: there is no key \"timeot\"; did you mean timeout?" },
	{ MINIMAL "concurrency-total: 5\n", "3:1: there is no key \"concurrency-total\"; did you mean concurrency_total?" },
	{ MINIMAL "colour: red\n", "3:1: there is no key \"colour\"; expected one of service, handler, description, version, callback, events, timeout, concurrency, concurrency_total, max_body, retry, breaker, queue, env, secrets, headers" },
	{ MINIMAL "retry: { atempts: 3 }\n", "3:10: retry: there is no key \"atempts\"; did you mean attempts?" },
	{ MINIMAL "retry: { jitter: no }\n", "3:10: retry: there is no key \"jitter\"; expected one of attempts, base, max, age" },
	{ MINIMAL "service: y\n", "3:1: service: is given twice, first in line 1" },
	{ MINIMAL "retry:\n  base: 1s\n  max: 2s\n  base: 1s\n", "6:3: retry.base: is given twice, first in line 4" },
	{ MINIMAL "retry: {}\nretry: {}\n", "4:1: retry: is given twice, first in line 3" },
	{ MINIMAL "? [a]\n: b\n", "3:3: expected a key, got a list" },
	{ MINIMAL "? {a: b}\n: b\n", "3:3: expected a key, got a mapping" },
	{ MINIMAL "\"a\\0b\": c\n", "3:1: expected a key of at most 127 bytes, without NUL, got \"a\\u0000b\"" },
	{ MINIMAL "\"a\\nb\": c\n", "3:1: there is no key \"a\\nb\"; expected one of service, handler, description, version, callback, events, timeout, concurrency, concurrency_total, max_body, retry, breaker, queue, env, secrets, headers" },
	{ MINIMAL "<<: {a: b}\n", "3:1: there is no key \"<<\"; expected one of service, handler, description, version, callback, events, timeout, concurrency, concurrency_total, max_body, retry, breaker, queue, env, secrets, headers" },
	/* values */
	{ "service: x\nhandler: x.so\nversion: 1\ntimeout: 5 parsecs\n", "4:10: timeout: expected a duration such as 5s, from 1ms to 1h, got \"5 parsecs\"" },
	{ MINIMAL "timeout: 5\n", "3:10: timeout: expected a duration such as 5s, from 1ms to 1h, got \"5\"" },
	{ MINIMAL "timeout: 2h\n", "3:10: timeout: expected a duration such as 5s, from 1ms to 1h, got \"2h\"" },
	{ MINIMAL "timeout:\n", "3:9: timeout: expected a duration such as 5s, from 1ms to 1h, got nothing" },
	{ MINIMAL "timeout: ~\n", "3:10: timeout: expected a duration such as 5s, from 1ms to 1h, got nothing" },
	{ MINIMAL "timeout: [5s]\n", "3:10: timeout: expected a duration such as 5s, from 1ms to 1h, got a list" },
	{ MINIMAL "timeout: {s: 5}\n", "3:10: timeout: expected a duration such as 5s, from 1ms to 1h, got a mapping" },
	{ MINIMAL "concurrency: lots\n", "3:14: concurrency: expected a whole number, from 1 to 10000, got \"lots\"" },
	{ MINIMAL "concurrency: 0\n", "3:14: concurrency: expected a whole number, from 1 to 10000, got \"0\"" },
	{ MINIMAL "max_body: 65m\n", "3:11: max_body: expected a size such as 64k, from 0 to 64m, got \"65m\"" },
	{ MINIMAL "breaker: { failures: 50 }\n", "3:22: breaker.failures: expected a percentage such as 50%, from 1% to 100%, got \"50\"" },
	{ MINIMAL "breaker: { failures: 101% }\n", "3:22: breaker.failures: expected a percentage such as 50%, from 1% to 100%, got \"101%\"" },
	{ MINIMAL "retry: 3\n", "3:8: retry: expected a mapping, got \"3\"" },
	{ MINIMAL "retry: [3]\n", "3:8: retry: expected a mapping, got a list" },
	{ MINIMAL "retry: { base: 10m }\n", "3:1: retry: expected base to be at most max" },
	{ "service: X\nhandler: x.so\n", "1:10: service: expected a name of up to 63 characters such as my-service: a-z first, then a-z, 0-9 and -, got \"X\"" },
	{ "service: x\nhandler: ../x.so\n", "2:10: handler: expected a file name without a folder, such as hello.so, or a URL such as http://app:3000/hook, got \"../x.so\"" },
	{ "service: x\nhandler: ftp://x/\n", "2:10: handler: expected a file name without a folder, such as hello.so, or a URL such as http://app:3000/hook, got \"ftp://x/\"" },
	{ "service: x\nhandler: http://\n", "2:10: handler: expected a host, got \"http://\"" },
	{ "service: x\nhandler: http://:80/\n", "2:10: handler: expected a host, got \"http://:80/\"" },
	{ "service: x\nhandler: http://me:too@x/\n", "2:10: handler: expected no user and no password before the host: a manifest is no place for secrets, got \"http://me:too@x/\"" },
	{ "service: x\nhandler: http://x/#y\n", "2:10: handler: expected no fragment (#...): it is not sent, got \"http://x/#y\"" },
	{ "service: x\nhandler: http://x/\xc3\xbc\n", "2:10: handler: expected visible ASCII characters only, others as %XX (a name as xn--...), got \"http://x/\xc3\xbc\"" },
	{ "service: x\nhandler: http://x/\nenv: { A: b }\n", "3:1: env: is for native services: an HTTP endpoint has an environment of its own" },
	{ "service: x\nhandler: http://x/\nsecrets: { A: b }\n", "3:1: secrets: an HTTP endpoint gets secrets in headers, and none has ${A}" },
	{ "service: x\nhandler: http://x/\nsecrets: { A: b }\nheaders: { X: '$${A}' }\n", "3:1: secrets: an HTTP endpoint gets secrets in headers, and none has ${A}" },
	{ MINIMAL "headers: { A: b }\n", "3:1: headers: is for HTTP endpoints: a native service reads env and secrets" },
	{ "service: x\nhandler: http://x/\nheaders: { host: b }\n", "3:12: headers.host: is a header that the worker itself makes" },
	{ "service: x\nhandler: http://x/\nheaders: { Pirn-Service: b }\n", "3:12: headers.Pirn-Service: is a header that the worker itself makes" },
	{ "service: x\nhandler: http://x/\nheaders: { \"A: B\": b }\n", "3:12: headers.\"A: B\": expected the name of a header, got \"A: B\"" },
	{ "service: x\nhandler: http://x/\nheaders: { A: b, a: c }\n", "3:18: headers.a: is given twice" },
	{ "service: x\nhandler: http://x/\nheaders: { A: \"b\\r\\nC: d\" }\n", "3:12: headers.A: expected a text without line breaks and other controls" },
	{ "service: x\nhandler: http://x/\nheaders: { A: 'a $B' }\n", "3:12: headers.A: expected ${NAME}, or $$ for one $" },
	{ "service: x\nhandler: http://x/\nheaders: { A: '${B' }\n", "3:12: headers.A: expected ${NAME}, or $$ for one $" },
	{ "service: x\nhandler: http://x/\nheaders: A\n", "3:10: headers: expected a mapping of NAME: text, got \"A\"" },
	{ "service: pirn-callback\nhandler: x.so\n", "1:1: service: names that begin with pirn- are Pirn's own" },
	{ MINIMAL "callback: app\n", "3:11: callback: expected a URL such as https://app.example/done, got \"app\"" },
	{ MINIMAL "callback: http://me:too@app/\n", "3:11: callback: expected no user and no password before the host: a manifest is no place for secrets, got \"http://me:too@app/\"" },
	{ MINIMAL "description: ''\n", "3:14: description: expected a text of 1 to 1024 bytes, got \"\"" },
	{ MINIMAL "description: \"a\\0b\"\n", "3:14: description: expected a text without NUL, got \"a\\u0000b\"" },
	{ MINIMAL "description: [a]\n", "3:14: description: expected a text of 1 to 1024 bytes, got a list" },
	{ "service: \"\xc3\xbc\"\nhandler: x.so\n", "1:10: service: expected a name of up to 63 characters such as my-service: a-z first, then a-z, 0-9 and -, got \"\xc3\xbc\"" },
	{ "{handler: \"\xc3\xbc.so\", service: X}", "1:11: handler: expected a file name without a folder, such as hello.so, or a URL such as http://app:3000/hook, got \"\xc3\xbc.so\"" },
	{ "{description: \"\xc3\xbc\xe2\x82\xac\", service: X}", "1:30: service: expected a name of up to 63 characters such as my-service: a-z first, then a-z, 0-9 and -, got \"X\"" },
	/* events */
	{ MINIMAL "events: http\n", "3:9: events: expected a list, got \"http\"" },
	{ MINIMAL "events: {http: {}}\n", "3:9: events: expected a list, got a mapping" },
	{ MINIMAL "events:\n  - http\n", "4:5: events: expected an entry such as http: {\xe2\x80\xa6}, got \"http\"" },
	{ MINIMAL "events:\n  - {}\n", "4:5: events: expected an entry such as http: {\xe2\x80\xa6}, got an empty one" },
	{ MINIMAL "events:\n  -\n", "4:4: events: expected an entry such as http: {\xe2\x80\xa6}, got nothing" },
	{ MINIMAL "events: [[]]\n", "3:10: events: expected an entry such as http: {\xe2\x80\xa6}, got a list" },
	{ MINIMAL "events:\n  - htpp: {}\n", "4:5: events: there is no kind \"htpp\"; did you mean http?" },
	{ MINIMAL "events:\n  - carrier-pigeon: {}\n", "4:5: events: there is no kind \"carrier-pigeon\"; expected one of http, timer, event, redis, queue" },
	{ MINIMAL "events:\n  - timer: { cron: \"0 3 * * *\" }\n", "4:12: timer.name: is missing; expected a name of up to 63 characters such as my-service: a-z first, then a-z, 0-9 and -" },
	{ MINIMAL "events:\n  - timer: { name: No, cron: \"0 3 * * *\" }\n", "4:20: timer.name: expected a name of up to 63 characters such as my-service: a-z first, then a-z, 0-9 and -, got \"No\"" },
	{ MINIMAL "events:\n  - timer: { name: a }\n", "4:12: timer: expected one of cron and every, got neither" },
	{ MINIMAL "events:\n  - timer: { name: a, cron: \"@daily\", every: 5s }\n", "4:12: timer: expected one of cron and every, got both" },
	{ MINIMAL "events:\n  - timer: { name: a, cron: \"0 24 * * *\" }\n", "4:29: timer.cron: hour: expected 0 to 23, got \"24\"" },
	{ MINIMAL "events:\n  - timer: { name: a, cron: \"0 0 30 feb *\" }\n", "4:29: timer.cron: day of month: none of the months has such a day" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 1500ms }\n", "4:12: timer: every: expected whole seconds" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 500ms }\n", "4:30: timer.every: expected a duration such as 5s, from 1s to 30d, got \"500ms\"" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 5s, zone: UTC }\n", "4:12: timer: zone: expected cron with it, got every" },
	{ MINIMAL "events:\n  - timer: { name: a, cron: \"@daily\", zone: Nowhere/Town }\n", "4:45: timer.zone: expected a time zone such as Europe/Berlin, got \"Nowhere/Town\"" },
	{ MINIMAL "events:\n  - timer: { name: a, cron: \"@daily\", zone: ../UTC }\n", "4:45: timer.zone: expected a time zone such as Europe/Berlin, got \"../UTC\"" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 5s, missed: twice }\n", "4:42: timer.missed: expected skip, once or all, got \"twice\"" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 5s, overlap: yes }\n", "4:43: timer.overlap: expected skip or allow, got \"yes\"" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 5s }\n  - timer: { name: a, every: 6s }\n", "5:12: timer: there is another timer a" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 5s, data: { x: 1, \"x\": 2 } }\n", "4:40: timer.data: a key is given twice" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 5s, data: [.inf] }\n", "4:41: timer.data: expected a number that JSON has, got \".inf\"" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 5s, data: { [x]: 1 } }\n", "4:42: timer.data: expected a key, got a list" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 5s, data: [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]] }\n", "4:56: timer.data: expected at most 16 lists and mappings in one another" },
	{ MINIMAL "events:\n  - timer: { name: lease-a, every: 5s }\n", "4:12: timer: name: expected none that begins with lease-" },
	{ MINIMAL "events:\n  - redis: { stream: s }\n", "4:12: redis.url: is missing; expected a URL such as redis://host:6379/0, or $NAME" },
	{ MINIMAL "events:\n  - redis: { url: \"redis://:secret@h\", stream: s }\n", "4:19: redis.url: expected no user and password, because a manifest travels and is shown; say url: $NAME, and give the gateways PIRN_SOURCE_NAME" },
	{ MINIMAL "events:\n  - redis: { url: \"http://h\", stream: s }\n", "4:19: redis.url: expected a URL such as redis://host:6379/0, or $NAME alone, got \"http://h\"" },
	{ MINIMAL "events:\n  - redis: { url: \"redis://$HOST/1\", stream: s }\n", "4:19: redis.url: expected a URL such as redis://host:6379/0, or $NAME alone, got \"redis://$HOST/1\"" },
	{ MINIMAL "events:\n  - redis: { url: $1, stream: s }\n", "4:19: redis.url: expected a URL such as redis://host:6379/0, or $NAME alone, got \"$1\"" },
	{ MINIMAL "events:\n  - redis: { url: \"redis://h:0\", stream: s }\n", "4:12: redis: url: the URL of Redis is wrong: its port is not between 1 and 65535" },
	{ MINIMAL "events:\n  - redis: { url: $A }\n", "4:12: redis: expected one of stream and keys, got neither" },
	{ MINIMAL "events:\n  - redis: { url: $A, stream: s, keys: k, ops: [set] }\n", "4:12: redis: expected one of stream and keys, got both" },
	{ MINIMAL "events:\n  - redis: { url: $A, keys: k }\n", "4:12: redis: ops: is missing; expected a list such as [set, del, expired]" },
	{ MINIMAL "events:\n  - redis: { url: $A, keys: k, ops: set }\n", "4:37: redis.ops: expected a list such as [set, del, expired], got \"set\"" },
	{ MINIMAL "events:\n  - redis: { url: $A, keys: k, ops: [SET] }\n", "4:38: redis.ops: expected an operation such as set, got \"SET\"" },
	{ MINIMAL "events:\n  - redis: { url: $A, keys: k, ops: [[set]] }\n", "4:38: redis.ops: expected an operation such as set, got a list" },
	{ MINIMAL "events:\n  - redis: { url: $A, keys: k, ops: [set, set] }\n", "4:43: redis.ops: set is given twice" },
	{ MINIMAL "events:\n  - redis: { url: $A, keys: k, ops: [set], group: g }\n", "4:12: redis: group: expected stream with it, got keys" },
	{ MINIMAL "events:\n  - redis: { url: $A, stream: s, ops: [set] }\n", "4:12: redis: ops: expected keys with it, got stream" },
	{ MINIMAL "events:\n  - redis: { name: a, url: $A, stream: s }\n  - redis: { name: a, url: $A, stream: t }\n", "5:12: redis: there is another one named a" },
	{ MINIMAL "events:\n  - redis: { url: $A, stream: \"\" }\n", "4:31: redis.stream: expected a text of 1 to 512 bytes, got \"\"" },
	{ MINIMAL "events:\n  - timer: { name: a, every: 5s, data: *b }\n", "4:40: expected plain data, got an alias" },
	{ MINIMAL "events:\n  - event: { source: a }\n", "4:12: event.type: is missing; expected a pattern of 1 to 255 bytes such as order.*, without control characters" },
	{ MINIMAL "events:\n  - event: { type: \"\" }\n", "4:20: event.type: expected a pattern of 1 to 255 bytes such as order.*, without control characters, got \"\"" },
	{ MINIMAL "events:\n  - event: { type: \"a\\tb\" }\n", "4:20: event.type: expected a pattern of 1 to 255 bytes such as order.*, without control characters, got \"a\\u0009b\"" },
	{ MINIMAL "events:\n  - event: { type: a, typ: b }\n", "4:23: event: there is no key \"typ\"; did you mean type?" },
	{ MINIMAL "events:\n  - event: { type: a }\n  - event: { type: a }\n", "5:12: event: is given twice" },
	{ MINIMAL "events:\n  - queue: { name: a }\n", "4:5: queue: not supported by this version" },
	{ MINIMAL "events:\n  - http: { method: GET, path: /a }\n    timer: { name: b }\n", "5:5: events: expected one kind an entry, got http and timer" },
	{ MINIMAL "events:\n  - http: { method: GET, path: /a }\n    http: { method: GET, path: /b }\n", "5:5: events: expected one kind an entry, got http and http" },
	{ MINIMAL "events:\n  - http: { method: GET, path: /a }\n    \"a\\nb\": {}\n", "5:5: events: expected one kind an entry, got http and \"a\\nb\"" },
	{ MINIMAL "events:\n  - http: /a\n", "4:11: http: expected a mapping, got \"/a\"" },
	{ MINIMAL "events:\n  - http:\n", "4:10: http: expected a mapping, got nothing" },
	{ MINIMAL "events:\n  - http: { method: GET }\n", "4:11: http.path: is missing; expected a path such as /a/{id}" },
	{ MINIMAL "events:\n  - http: { path: /a }\n", "4:11: http.method: is missing; expected one of GET HEAD POST PUT PATCH DELETE OPTIONS" },
	{ MINIMAL "events:\n  - http: { method: get, path: /a }\n", "4:21: http.method: expected one of GET HEAD POST PUT PATCH DELETE OPTIONS, got \"get\"" },
	{ MINIMAL "events:\n  - http: { method: GET, path: a }\n", "4:32: http.path: expected a path that begins with /, got \"a\"" },
	{ MINIMAL "events:\n  - http: { method: GET, path: /v1/a }\n", "4:32: http.path: expected a path outside /v1/, /healthz, /readyz and /metrics, which are Pirn's own, got \"/v1/a\"" },
	{ MINIMAL "events:\n  - http: { method: GET, path: /a, async: yes }\n", "4:43: http.async: expected true or false, got \"yes\"" },
	{ MINIMAL "events:\n  - http: { method: GET, path: /a, ack: none }\n", "4:41: http.ack: expected disk or memory, got \"none\"" },
	{ MINIMAL "events:\n  - http: { method: GET, path: /a, pth: /b }\n", "4:36: http: there is no key \"pth\"; did you mean path?" },
	{ MINIMAL "events:\n  - http: { method: GET, path: /a, path: /b }\n", "4:36: http.path: is given twice, first in line 4" },
	{ MINIMAL "events:\n  - http: { method: GET, path: \"/a/{x}\" }\n  - http: { method: GET, path: \"/a/{y}\" }\n", "5:11: http: GET /a/{y} is the same route as /a/{x}" },
	/* env and secrets */
	{ MINIMAL "env: text\n", "3:6: env: expected a mapping of NAME: text, got \"text\"" },
	{ MINIMAL "env: [A]\n", "3:6: env: expected a mapping of NAME: text, got a list" },
	{ MINIMAL "env: { A-B: text }\n", "3:8: env.A-B: expected a name of letters, digits and _, got \"A-B\"" },
	{ MINIMAL "env: { A: 1, A: 2 }\n", "3:14: env.A: is given twice" },
	{ MINIMAL "env: { A: }\n", "3:11: env.A: expected a text, got nothing" },
	{ MINIMAL "env: { A: null }\n", "3:11: env.A: expected a text, got nothing" },
	{ MINIMAL "env: { A: [1] }\n", "3:11: env.A: expected a text, got a list" },
	{ MINIMAL "env: { A: [[[[[[[[[[1]]]]]]]]]] }\n", "3:11: env.A: expected a text, got a list" },
	{ MINIMAL "env: { \"A\\nB\": [1] }\n", "3:16: env.\"A\\nB\": expected a text, got a list" },
	{ MINIMAL "env: { [A]: 1 }\n", "3:8: env: expected a key, got a list" },
	{ MINIMAL "secrets: { A: /run/a }\nenv: { A: b }\n", "3:1: secrets: A is in env, too" },
	/* what YAML has beyond plain data */
	{ MINIMAL "timeout: &a 5s\n", "3:10: expected plain data, got an anchor" },
	{ MINIMAL "timeout: *a\n", "3:10: expected plain data, got an alias" },
	{ MINIMAL "env: &a { A: b }\n", "3:6: expected plain data, got an anchor" },
	{ MINIMAL "events: &a []\n", "3:9: expected plain data, got an anchor" },
	{ MINIMAL "timeout: !!str 5s\n", "3:10: expected plain data, got a tag" },
	{ MINIMAL "timeout: ! 5s\n", "3:10: expected plain data, got a tag" },
	{ "!x { service: x }\n", "1:1: expected plain data, got a tag" },
	{ MINIMAL "retry: !!map {}\n", "3:8: expected plain data, got a tag" },
	{ MINIMAL "&a timeout: 5s\n", "3:1: expected plain data, got an anchor" },
	{ "%TAG !e! tag:example.org,2000:\n---\n" MINIMAL, "1:1: expected plain data, got a tag directive" },
	{ MINIMAL "---\n" MINIMAL, "3:1: expected one document, got another" },
	{ MINIMAL "...\n---\n", "4:1: expected one document, got another" },
	/* not YAML at all */
	{ "service: x\n\thandler: x.so\n", "2:1: expected YAML: found a tab character that violates indentation" },
	{ "service: x: y\n", "1:11: expected YAML: mapping values are not allowed in this context" },
	{ MINIMAL "events: [ {\n", "4:1: expected YAML: did not find expected node content" },
	{ MINIMAL "description: \"abc\n", "4:1: expected YAML: found unexpected end of stream" },
	{ "service: \"\\q\"\n", "1:11: expected YAML: found unknown escape character" },
	{ "service: x\nhandler: \xff\n", "2:10: expected UTF-8 text, got byte 0xff" },
	{ "# \xc3\xbc\xe2\x82\xac \xc3\n", "1:6: expected UTF-8 text, got byte 0xc3" },
	{ "service: x\nhandler: \x07\n", "2:10: expected text, got the control character U+0007" },
	{ "service: x\nhandler: \xef\xbb\xbfx.so\n", "2:10: expected text, got the control character U+FEFF" },
	{ "\xff\xfes\0e\0", "1:1: expected UTF-8 text, got byte 0xff" }, /* UTF-16 */
};
/* clang-format on */

static void every_mistake_is_told_at_its_place(void **state)
{
	unsigned failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
		char expected[WRK_YAML_WHY];
		(void)snprintf(
			expected, sizeof expected, "services/x/service.yaml:%s", mistakes[i].why);
		assert_int_equal(read_text(mistakes[i].text), BASE_CONFIG);
		if (strcmp(why, expected) != 0) {
			print_error("%s\nexpected: %s\ngot:      %s\n\n", mistakes[i].text,
				expected, why);
			failed++;
		}
		assert_null(strchr(why, '\n'));
	}
	assert_int_equal(failed, 0);
}

static void a_nul_byte_is_refused(void **state)
{
	(void)state;
	assert_int_equal(read_bytes(MINIMAL "env: {A: \0}", sizeof MINIMAL + 10), BASE_CONFIG);
	assert_string_equal(why,
		"services/x/service.yaml:3:10: expected text, got the control character U+0000");
}

static void a_size_is_the_limit(void **state)
{
	static char text[WRK_YAML_BYTES + 1];

	(void)state;
	memset(text, '#', sizeof text);
	memcpy(text, MINIMAL, sizeof MINIMAL - 1);
	assert_int_equal(read_bytes(text, WRK_YAML_BYTES), BASE_OK);
	assert_int_equal(read_bytes(text, WRK_YAML_BYTES + 1), BASE_TOO_LARGE);
	assert_string_equal(
		why, "services/x/service.yaml:1:1: expected at most 65536 bytes, got 65537");
}

static void a_deep_text_costs_nothing(void **state)
{
	static char text[WRK_YAML_BYTES];

	(void)state;
	memset(text, '[', sizeof text);
	assert_int_equal(read_bytes(text, sizeof text), BASE_CONFIG);
	memset(text, '{', sizeof text);
	assert_int_equal(read_bytes(text, sizeof text), BASE_CONFIG);
	for (size_t i = 0; i + 2 <= sizeof text; i += 2)
		memcpy(text + i, "- ", 2);
	assert_int_equal(read_bytes(text, sizeof text), BASE_CONFIG);
	for (size_t i = 0; i + 2 <= sizeof text; i += 2)
		memcpy(text + i, "? ", 2);
	assert_int_equal(read_bytes(text, sizeof text), BASE_CONFIG);
}

static void long_values_fit_the_message(void **state)
{
	static char text[20000];
	static char path[5000];
	int n = snprintf(text, sizeof text, MINIMAL "timeout: ");

	(void)state;
	memset(text + n, 'y', 10000);
	assert_int_equal(read_text(text), BASE_CONFIG);
	assert_true(strlen(why) < 256);
	memset(text, 'k', 127);
	memcpy(text + 127, ": 1\n", 5);
	assert_int_equal(read_text(text), BASE_CONFIG);
	assert_non_null(strstr(why, ":1:1: there is no key \"kkkkk"));
	memset(text, 'k', 128);
	memcpy(text + 128, ": 1\n", 5);
	assert_int_equal(read_text(text), BASE_CONFIG);
	assert_non_null(
		strstr(why, ":1:1: expected a key of at most 127 bytes, without NUL, got \"kkkkk"));
	memset(path, 'p', sizeof path - 1);
	base_manifest_free(&m);
	assert_int_equal(wrk_yaml_read(path, "colour: 1\n", 10, &m, why, sizeof why), BASE_CONFIG);
	assert_non_null(strstr(why, ":1:1: there is no key \"colour\"; expected one of service, "));
	assert_non_null(strstr(why, "secrets"));
	assert_int_equal(wrk_yaml_read(path, "colour: 1\n", 10, &m, why, 20), BASE_CONFIG);
	assert_int_equal(strlen(why), 19);
}

static void every_allocation_may_fail(void **state)
{
	static const char text[] =
		MINIMAL "events:\n  - http: { method: GET, path: /a }\nenv: { A: b }\n";
	unsigned long nth = 1;

	(void)state;
	if (!COUNT_ALLOC)
		skip();
	base_manifest_free(&m);
	for (;; nth++) {
		long live = count_alloc_live;
		enum base_err err;
		count_alloc_fail_at(nth);
		err = wrk_yaml_read("x", text, sizeof text - 1, &m, why, sizeof why);
		count_alloc_fail_at(0);
		if (err == BASE_OK)
			break;
		assert_int_equal(err, BASE_NOMEM);
		assert_int_equal(count_alloc_live, live);
		assert_null(m);
		assert_non_null(strstr(why, "out of memory"));
	}
	assert_true(nth > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_designs_manifest, teardown),
		cmocka_unit_test_teardown(timers_of_all_kinds, teardown),
		cmocka_unit_test_teardown(data_becomes_json, teardown),
		cmocka_unit_test_teardown(timers_have_bounds, teardown),
		cmocka_unit_test_teardown(sources_of_all_kinds, teardown),
		cmocka_unit_test_teardown(sources_have_bounds, teardown),
		cmocka_unit_test_teardown(what_is_left_out_has_its_default, teardown),
		cmocka_unit_test_teardown(what_it_subscribes_to, teardown),
		cmocka_unit_test_teardown(at_most_64_subscriptions, teardown),
		cmocka_unit_test_teardown(other_shapes_of_the_same, teardown),
		cmocka_unit_test_teardown(every_mistake_is_told_at_its_place, teardown),
		cmocka_unit_test_teardown(a_nul_byte_is_refused, teardown),
		cmocka_unit_test_teardown(a_size_is_the_limit, teardown),
		cmocka_unit_test_teardown(a_deep_text_costs_nothing, teardown),
		cmocka_unit_test_teardown(long_values_fit_the_message, teardown),
		cmocka_unit_test_teardown(every_allocation_may_fail, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
