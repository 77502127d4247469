/* CloudEvents through POST /v1/events to the services that subscribe, on real processes: three modes, fan-out,
 * duplicates, batches with one fate, what is refused; from the C library, `pirn send`, the examples; and seen by
 * `pirn tail`. The services are `hearer` under several names: what they heard is read from Redis.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <pirn/client.h>

#include "tests/harness/fabric.h"

#define STRUCTURED "application/cloudevents+json"
#define BATCH      "application/cloudevents-batch+json"
#define MOST       512 /* events of a batch */

static const char *const strict[] = { "--strict", NULL };
static struct fabric f = { .n_brokers = 2, .n_gateways = 2, .broker_flags = strict };

/* ---- services --------------------------------------------------------------------------- */

static const struct {
	const char *name, *events, *fate;
} services[] = {
	{ "hear-a", "  - event: { type: \"order.*\" }\n  - event: { type: \"rule.*\" }\n", "200" },
	{ "hear-b", "  - event: { type: \"order.*\", source: \"/shop*\" }\n", "400" },
	{ "hear-c",
		"  - event: { type: \"*.created\", subject: \"1*\" }\n  - event: { type: \"order.fate\" }\n",
		"500" },
};

static void lay_service(const char *dir, const char *so, size_t i)
{
	char path[PATH_MAX], command[2 * PATH_MAX];
	FILE *file;

	snprintf(command, sizeof command, "mkdir '%.2000s/%s' && cp -L '%.2000s' '%.2000s/%s/'", dir,
		services[i].name, so, dir, services[i].name);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof path, "%.2000s/%s/service.yaml", dir, services[i].name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fprintf(file,
			    "service: %s\nhandler: hearer.so\nevents:\n%senv: { FATE: \"%s\" }\n"
			    "retry: { attempts: 2, base: 1ms, max: 1ms }\n"
			    "breaker: { slow: 100%%, consecutive: 1000000, calls: 1000000 }\n",
			    services[i].name, services[i].events, services[i].fate) > 0);
	assert_int_equal(fclose(file), 0);
}

static void lay_services(void)
{
	static char dir[PATH_MAX];
	char all[PATH_MAX - 64], so[PATH_MAX], command[4 * PATH_MAX];

	fabric_link_services(all, sizeof all);
	harness_new_dir("heard", dir, sizeof dir);
	snprintf(command, sizeof command, "cp -rL '%s/hello' '%s/hello'", all, dir);
	assert_int_equal(system(command), 0);
	snprintf(so, sizeof so, "%s/hearer/hearer.so", all);
	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
		lay_service(dir, so, i);
	f.services = dir;
}

static int start(void **state)
{
	(void)state;
	lay_services();
	fabric_start(&f);
	for (size_t i = 0; i < sizeof services / sizeof services[0]; i++)
		wait_until(PATIENCE_MS, fabric_workers_of(&f, services[i].name) == 1);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fabric_stop(&f);
	return 0;
}

/* ---- what was heard ----------------------------------------------------------------------- */

static unsigned long times(const char *service, const char *id)
{
	char *text = harness_redis_command(f.redis, "HGET pirn:{0}:state:%s:ids %s", service, id);
	unsigned long n = strtoul(text, NULL, 10);

	free(text);
	return n;
}

static unsigned long heard_in_all(const char *service)
{
	char *text = harness_redis_command(f.redis, "HLEN pirn:{0}:state:%s:ids", service);
	unsigned long n = strtoul(text, NULL, 10);

	free(text);
	return n;
}

static bool body_is(const char *service, const char *id, const char *body)
{
	return harness_redis_says(f.redis, body, "HGET pirn:{0}:state:%s:bodies %s", service, id);
}

static bool head_has(const char *service, const char *id, const char *line)
{
	char *text = harness_redis_command(f.redis, "HGET pirn:{0}:state:%s:heads %s", service, id);
	bool has = strstr(text, line) != NULL;

	if (!has)
		print_error("no '%s' in:\n%s\n", line, text);
	free(text);
	return has;
}

/* ---- sending -------------------------------------------------------------------------------- */

static struct harness_answer post(const char *type, const char *body)
{
	char header[128];
	const char *headers[] = { header, NULL };

	snprintf(header, sizeof header, "Content-Type: %s", type);
	return harness_call(&(struct harness_call){
		.base = f.http, .target = "/v1/events", .body = body, .headers = headers });
}

static unsigned status_of(struct harness_answer a, const char *word)
{
	unsigned status = a.status;

	if (word && !strstr(a.body, word))
		print_error("no '%s' in %u: %s\n", word, a.status, a.body);
	assert_true(!word || strstr(a.body, word));
	harness_answer_free(&a);
	return status;
}

static json_t *json_of(const struct harness_answer *a)
{
	json_t *root = json_loads(a->body, JSON_REJECT_DUPLICATES, NULL);

	if (!root)
		print_error("%u: %s %s\n", a->status, a->body, a->error);
	assert_non_null(root);
	return root;
}

static const char *text(const json_t *o, const char *key)
{
	const char *value = json_string_value(json_object_get(o, key));

	return value ? value : "(none)";
}

static double counted(const char *name)
{
	double n = harness_metric(f.admin, name, NULL);

	return n < 0 ? 0 : n;
}

/* ---- the three modes -------------------------------------------------------------------------- */

static void test_binary(void **state)
{
	static const char *const headers[] = { "ce-specversion: 1.0", "ce-id: bin-1",
		"ce-source: /shop/1", "ce-type: order.paid", "ce-subject: caf%C3%A9",
		"ce-time: 2026-11-21T09:15:02.5+01:00", "ce-dataschema: https://example.com/s",
		"ce-rank: 7", "Content-Type: text/x; a=b", "Authorization: Bearer secret",
		"Cookie: secret",
		"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", NULL };
	struct harness_answer a = harness_call(&(struct harness_call){ .base = f.http,
		.target = "/v1/events",
		.body = "\"a\\u0000\"  {,}",
		.headers = headers });
	json_t *root = json_of(&a);

	(void)state;
	assert_int_equal(a.status, 202);
	assert_string_equal(text(root, "location"), harness_answer_header(&a, "location"));
	json_decref(root);
	harness_answer_free(&a);
	wait_until(PATIENCE_MS, times("hear-a", "bin-1") == 1 && times("hear-b", "bin-1") == 1);
	assert_true(body_is("hear-a", "bin-1", "\"a\\u0000\"  {,}"));
	assert_true(head_has("hear-a", "bin-1", "POST /v1/events\n"));
	assert_true(head_has("hear-a", "bin-1", "ce-subject: caf%C3%A9\n"));
	assert_true(head_has("hear-a", "bin-1", "ce-time: 2026-11-21T09:15:02.5+01:00\n"));
	assert_true(head_has("hear-a", "bin-1", "ce-rank: 7\n"));
	assert_true(head_has("hear-a", "bin-1", "Content-Type: text/x; a=b\n"));
	assert_true(
		head_has("hear-a", "bin-1", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-"));
	assert_true(harness_redis_says(f.redis, "0", "HEXISTS pirn:{0}:state:hear-c:ids bin-1"));
	a = harness_get(f.http, "/v1/invocations?state=dead");
	harness_answer_free(&a);
}

static void test_structured(void **state)
{
	(void)state;
	assert_int_equal(
		status_of(
			post(STRUCTURED "; charset=utf-8",
				"{\"specversion\":\"1.0\",\"id\":\"str-1\",\"source\":\"/shop\",\"type\":\"order.created\","
				"\"subject\":\"17\",\"data\":{ \"n\": 12345678901234567890, \"x\":0.1 }}"),
			NULL),
		202);
	assert_int_equal(
		status_of(
			post(STRUCTURED,
				"{\"specversion\":\"1.0\",\"id\":\"str-2\",\"source\":\"/shop\",\"type\":\"order.x\","
				"\"datacontenttype\":\"text/plain\",\"data\":\"caf\\u00e9\"}"),
			NULL),
		202);
	assert_int_equal(
		status_of(
			post(STRUCTURED,
				"{\"specversion\":\"1.0\",\"id\":\"str-3\",\"source\":\"/shop\",\"type\":\"order.x\","
				"\"data_base64\":\"aGkA\"}"),
			NULL),
		202);
	for (size_t i = 0; i < 3; i++)
		wait_until(PATIENCE_MS, times(services[i].name, "str-1") == 1);
	assert_true(body_is("hear-a", "str-1", "{ \"n\": 12345678901234567890, \"x\":0.1 }"));
	assert_true(head_has("hear-a", "str-1", "Content-Type: application/json\n"));
	wait_until(PATIENCE_MS, times("hear-b", "str-2") == 1 && times("hear-b", "str-3") == 1);
	assert_true(body_is("hear-b", "str-2", "caf\xc3\xa9"));
	assert_true(harness_redis_says(f.redis, "3", "HSTRLEN pirn:{0}:state:hear-b:bodies str-3"));
}

static void test_batch(void **state)
{
	struct harness_answer a = post(BATCH,
		"[{\"specversion\":\"1.0\",\"id\":\"bat-1\",\"source\":\"/shop\",\"type\":\"order.a\",\"data\":1},"
		"{\"specversion\":\"1.0\",\"id\":\"bat-2\",\"source\":\"/other\",\"type\":\"order.b\",\"data\":2},"
		"{\"specversion\":\"1.0\",\"id\":\"bat-1\",\"source\":\"/shop\",\"type\":\"order.a\",\"data\":3}]");
	json_t *root = json_of(&a);

	(void)state;
	assert_int_equal(a.status, 202);
	assert_int_equal(json_array_size(root), 3);
	assert_string_equal(
		text(json_array_get(root, 0), "id"), text(json_array_get(root, 2), "id"));
	assert_true(json_is_true(json_object_get(json_array_get(root, 2), "replayed")));
	assert_string_not_equal(
		text(json_array_get(root, 0), "id"), text(json_array_get(root, 1), "id"));
	json_decref(root);
	harness_answer_free(&a);
	wait_until(PATIENCE_MS, times("hear-a", "bat-1") == 1 && times("hear-a", "bat-2") == 1 &&
					times("hear-b", "bat-1") == 1);
	assert_true(body_is("hear-a", "bat-1", "1"));
	assert_true(harness_redis_says(f.redis, "0", "HEXISTS pirn:{0}:state:hear-b:ids bat-2"));
	assert_int_equal(status_of(post(BATCH, "[]"), "[]"), 202);
}

/* ---- fan-out ------------------------------------------------------------------------------------ */

static const char *state_of(const json_t *root, const char *service)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(root, "deliveries"), i, one)
	{
		if (strcmp(text(one, "service"), service) == 0)
			return text(one, "state");
	}
	return "(none)";
}

/* One is done at once, one is dead at once, one is dead after its second attempt: of one event. */
static void test_each_has_its_own_end(void **state)
{
	struct harness_answer a = post(STRUCTURED,
		"{\"specversion\":\"1.0\",\"id\":\"own\",\"source\":\"/shop\",\"type\":\"order.fate\",\"data\":0}");
	json_t *root = json_of(&a);
	char target[128];

	(void)state;
	assert_int_equal(a.status, 202);
	snprintf(target, sizeof target, "%s?wait=60s", text(root, "location"));
	json_decref(root);
	harness_answer_free(&a);
	a = harness_call(
		&(struct harness_call){ .base = f.urls[1], .target = target, .timeout_ms = 90000 });
	root = json_of(&a);
	assert_int_equal(json_array_size(json_object_get(root, "deliveries")), 3);
	assert_string_equal(state_of(root, "hear-a"), "done");
	assert_string_equal(state_of(root, "hear-b"), "dead");
	assert_string_equal(state_of(root, "hear-c"), "dead");
	json_decref(root);
	harness_answer_free(&a);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(times(services[i].name, "own"),
			1); /* once, however many attempts: state is replayed */
	a = harness_get(f.admin, "/v1/dead/hear-c");
	assert_non_null(strstr(a.body, "exhausted"));
	harness_answer_free(&a);
}

static void test_nobody_subscribes(void **state)
{
	(void)state;
	assert_int_equal(
		status_of(
			post(STRUCTURED,
				"{\"specversion\":\"1.0\",\"id\":\"n\",\"source\":\"/shop\",\"type\":\"nobody.knows\"}"),
			"subscribes"),
		404);
	assert_int_equal(
		status_of(
			post(BATCH,
				"[{\"specversion\":\"1.0\",\"id\":\"n1\",\"source\":\"/shop\",\"type\":\"order.a\"},"
				"{\"specversion\":\"1.0\",\"id\":\"n2\",\"source\":\"/shop\",\"type\":\"nobody.knows\"}]"),
			"subscribes"),
		404);
	/* It can be sent again without the other: nothing of it was kept, its key neither. */
	assert_int_equal(times("hear-a", "n1"), 0);
	assert_int_equal(
		status_of(
			post(BATCH,
				"[{\"specversion\":\"1.0\",\"id\":\"n1\",\"source\":\"/shop\",\"type\":\"order.a\"}]"),
			NULL),
		202);
	wait_until(PATIENCE_MS, times("hear-a", "n1") == 1);
}

/* ---- duplicates ---------------------------------------------------------------------------------- */

static void test_source_and_id_are_the_key(void **state)
{
	static const char event[] =
		"{\"specversion\":\"1.0\",\"id\":\"dup\",\"source\":\"/shop\",\"type\":\"order.a\",\"data\":%d}";
	struct pirn_client *client = NULL;
	struct harness_answer a;
	char body[256], first[64], id[PIRN_ID_SIZE], why[256];
	json_t *root;

	(void)state;
	snprintf(body, sizeof body, event, 1);
	a = post(STRUCTURED, body);
	assert_int_equal(a.status, 202);
	assert_null(harness_answer_header(&a, "idempotency-replayed"));
	root = json_of(&a);
	snprintf(first, sizeof first, "%s", text(root, "id"));
	json_decref(root);
	harness_answer_free(&a);
	snprintf(body, sizeof body, event, 2);
	a = post(STRUCTURED, body);
	assert_int_equal(a.status, 202);
	assert_string_equal(harness_answer_header(&a, "idempotency-replayed"), "true");
	root = json_of(&a);
	assert_string_equal(text(root, "id"), first);
	json_decref(root);
	harness_answer_free(&a);
	assert_int_equal(pirn_client_open(&PIRN_OPTIONS(.brokers = f.brokers_list), &client, why,
				 sizeof why),
		PIRN_CLIENT_OK);
	assert_int_equal(
		pirn_client_send(client,
			&PIRN_EVENT(.type = "order.a", .source = "/shop", .event_id = "dup"), id),
		PIRN_CLIENT_OK);
	assert_string_equal(id, first);
	assert_int_equal(
		pirn_client_send(client,
			&PIRN_EVENT(.type = "order.a", .source = "/shop2", .event_id = "dup2",
				.subject = "caf\xc3\xa9", .body = "3", .body_size = 1,
				.content_type = "text/plain", .want_result = true),
			id),
		PIRN_CLIENT_OK);
	assert_string_not_equal(id, first);
	wait_until(PATIENCE_MS, times("hear-a", "dup2") == 1 && times("hear-b", "dup2") == 1);
	assert_true(head_has("hear-a", "dup2", "ce-subject: caf%C3%A9\n"));
	assert_true(head_has("hear-a", "dup2", "ce-specversion: 1.0\n"));
	assert_true(head_has("hear-a", "dup2", "Content-Type: text/plain\n"));
	assert_true(body_is("hear-a", "dup2", "3"));
	assert_int_equal(times("hear-a", "dup"), 1);
	assert_true(body_is("hear-a", "dup", "1"));
	assert_int_equal(pirn_client_send(client,
				 &PIRN_EVENT(.type = "nobody.knows", .source = "/shop"), id),
		PIRN_CLIENT_NO_SUBSCRIBER);
	pirn_client_close(&client);
}

/* ---- what is refused ------------------------------------------------------------------------------- */

static void test_a_bad_one_spoils_the_batch(void **state)
{
	double accepted = counted("pirn_gateway_events_accepted_total");
	unsigned long before = heard_in_all("hear-a");

	(void)state;
	assert_int_equal(
		status_of(
			post(BATCH,
				"[{\"specversion\":\"1.0\",\"id\":\"sp-1\",\"source\":\"/shop\",\"type\":\"order.a\"},"
				"{\"specversion\":\"1.0\",\"id\":\"sp-2\",\"source\":\"/shop\",\"type\":\"order.a\",\"time\":\"soon\"}]"),
			"event 1: time"),
		400);
	/* What follows shows that nothing is still on its way. */
	assert_int_equal(
		status_of(
			post(STRUCTURED,
				"{\"specversion\":\"1.0\",\"id\":\"sp-3\",\"source\":\"/shop\",\"type\":\"order.a\"}"),
			NULL),
		202);
	wait_until(PATIENCE_MS, times("hear-a", "sp-3") == 1);
	assert_int_equal(times("hear-a", "sp-1"), 0);
	assert_int_equal(heard_in_all("hear-a"), before + 1);
	assert_true(counted("pirn_gateway_events_accepted_total") == accepted + 1);
}

/* An attribute as it is in a structured event's text (NULL: without it), as a header's value, and whether it is good. */
static const struct {
	const char *name, *json, *header;
	bool good;
} rules[] = {
	{ "id", "\"r-\xc3\xa9\"", "r-%C3%A9", true },
	{ "id", NULL, NULL, false },
	{ "id", "\"\"", "", false },
	{ "id", "7", NULL, false },
	{ "source", "\"urn:x:y\"", "urn:x:y", true },
	{ "source", "\"a b\"", "a%20b", false },
	{ "source", NULL, NULL, false },
	{ "type", "\"rule.b\"", "rule.b", true },
	{ "type", NULL, NULL, false },
	{ "type", "\"rule.\\u0007\"", "rule.%07", false },
	{ "specversion", "\"1.0\"", "1.0", true },
	{ "specversion", "\"0.3\"", "0.3", false },
	{ "specversion", NULL, NULL, false },
	{ "subject", "\"s\"", "s", true },
	{ "subject", "\"\"", NULL, false },
	{ "dataschema", "\"https://example.com/\"", "https://example.com/", true },
	{ "dataschema", "\"relative\"", "relative", false },
	{ "time", "\"2024-02-29T23:59:60Z\"", "2024-02-29T23:59:60Z", true },
	{ "time", "\"2023-02-29T00:00:00Z\"", "2023-02-29T00:00:00Z", false },
	{ "datacontenttype", "\"text/plain\"", NULL, true },
	{ "datacontenttype", "\"text\"", NULL, false },
	{ "rank2", "true", "true", true },
	{ "rank2", "2147483648", NULL, false },
	{ "rank2", "{}", NULL, false },
	{ "Rank", "1", NULL, false },
};

static void write_rule(size_t i, unsigned n, char *json, size_t room)
{
	static const char *const plain[][2] = { { "specversion", "\"1.0\"" }, { "id", NULL },
		{ "source", "\"/rule\"" }, { "type", "\"rule.a\"" } };
	size_t size = (size_t)snprintf(json, room, "{\"data\":\"x\"");

	for (size_t k = 0; k < 4; k++)
		if (strcmp(plain[k][0], rules[i].name) != 0 && plain[k][1])
			size += (size_t)snprintf(
				json + size, room - size, ",\"%s\":%s", plain[k][0], plain[k][1]);
	if (strcmp(rules[i].name, "id") != 0)
		size += (size_t)snprintf(json + size, room - size, ",\"id\":\"rule-%zu-%u\"", i, n);
	if (rules[i].json)
		size += (size_t)snprintf(
			json + size, room - size, ",\"%s\":%s", rules[i].name, rules[i].json);
	snprintf(json + size, room - size, "}");
}

static unsigned post_rule_binary(size_t i)
{
	char lines[6][128];
	const char *headers[7] = { NULL };
	size_t n = 0;

	static const char *const plain[][2] = { { "specversion", "1.0" }, { "source", "/rule" },
		{ "type", "rule.a" } };
	for (size_t k = 0; k < 3; k++)
		if (strcmp(plain[k][0], rules[i].name) != 0)
			snprintf(
				lines[n++], sizeof lines[0], "ce-%s: %s", plain[k][0], plain[k][1]);
	if (strcmp(rules[i].name, "id") != 0)
		snprintf(lines[n++], sizeof lines[0], "ce-id: rule-%zu-b", i);
	if (rules[i].header)
		snprintf(lines[n++], sizeof lines[0], "ce-%s%s %s", rules[i].name,
			*rules[i].header ? ":" : ";", rules[i].header);
	for (size_t k = 0; k < n; k++)
		headers[k] = lines[k];
	return status_of(
		harness_call(&(struct harness_call){
			.base = f.http, .target = "/v1/events", .body = "x", .headers = headers }),
		rules[i].good ? NULL : rules[i].name);
}

/* tests/unit/test_cloudevent.c has many more; these go all the way. */
static void test_rules_in_three_modes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		const char *word = rules[i].good ? NULL : rules[i].name;
		unsigned expected = rules[i].good ? 202 : 400;
		char json[1024], batch[1100];

		write_rule(i, 1, json, sizeof json);
		if (status_of(post(STRUCTURED, json), word) != expected)
			fail_msg("structured, %s", json);
		write_rule(i, 2, json, sizeof json);
		snprintf(batch, sizeof batch, "[%s]", json);
		if (status_of(post(BATCH, batch), word) != expected)
			fail_msg("batch, %s", json);
		if ((rules[i].header || !rules[i].json) && post_rule_binary(i) != expected)
			fail_msg("binary, %s", json);
	}
	wait_until(PATIENCE_MS, times("hear-a", "rule-21-b") == 1);
}

static char *deep(size_t n)
{
	char *body = malloc(2 * n + 200);
	size_t size;

	assert_non_null(body);
	size = (size_t)sprintf(body,
		"{\"specversion\":\"1.0\",\"id\":\"deep\",\"source\":\"/s\",\"type\":\"order.a\",\"data\":");
	memset(body + size, '[', n);
	memset(body + size + n, ']', n);
	strcpy(body + size + 2 * n, "}");
	return body;
}

static void test_hostile_json(void **state)
{
	static const char *const bodies[] = {
		"",
		"{",
		"[",
		"null",
		"{\"specversion\":\"1.0\"",
		"{\"specversion\":\"1.0\",\"specversion\":\"1.0\",\"id\":\"h\",\"source\":\"/s\",\"type\":\"order.a\"}",
		"{\"specversion\":\"1.0\",\"id\":\"h\",\"source\":\"/s\",\"type\":\"order.a\",\"data\":1,\"data\":2}",
		"{\"specversion\":\"1.0\",\"id\":\"\\ud800\",\"source\":\"/s\",\"type\":\"order.a\"}",
		"{\"specversion\":\"1.0\",\"id\":\"\\udc00\\ud800\",\"source\":\"/s\",\"type\":\"order.a\"}",
		"{\"specversion\":\"1.0\",\"id\":\"\xff\",\"source\":\"/s\",\"type\":\"order.a\"}",
		"{\"specversion\":\"1.0\",\"id\":\"h\",\"source\":\"/s\",\"type\":\"order.a\"} x",
		"{\"specversion\":\"1.0\",\"id\":\"h\",\"source\":\"/s\",\"type\":\"order.a\",\"data_base64\":\"*\"}",
	};
	char *body;

	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
		if (status_of(post(STRUCTURED, bodies[i]), NULL) != 400)
			fail_msg("%s", bodies[i]);
	body = deep(200000);
	assert_int_equal(status_of(post(STRUCTURED, body), "not JSON"), 400);
	free(body);
	body = deep(40);
	assert_int_equal(status_of(post(STRUCTURED, body), NULL), 202);
	free(body);
	body = malloc(2 << 20);
	assert_non_null(body);
	memset(body, ' ', 2 << 20);
	body[(2 << 20) - 1] = '\0';
	assert_int_equal(status_of(post(STRUCTURED, body), NULL), 413);
	free(body);
	assert_int_equal(harness_status(f.http, NULL, "/readyz", NULL), 200);
}

static char *many(unsigned n, const char *id, const char *type)
{
	char *body = malloc(100u * n + 8), *end = body;

	assert_non_null(body);
	*end++ = '[';
	for (unsigned i = 0; i < n; i++)
		end += sprintf(end,
			"%s{\"specversion\":\"1.0\",\"id\":\"%s-%u\",\"source\":\"/shop\",\"type\":\"%s\",\"subject\":\"1\"}",
			i ? "," : "", id, i, type);
	strcpy(end, "]");
	return body;
}

static void test_batches_are_bounded(void **state)
{
	char *body = many(MOST + 1, "most", "order.a");

	(void)state;
	assert_int_equal(status_of(post(BATCH, body), "at most 512 events"), 413);
	free(body);
	body = many(MOST, "wide", "order.created"); /* for three services */
	assert_int_equal(status_of(post(BATCH, body), "1024 deliveries"), 413);
	free(body);
	body = many(MOST, "full", "order.a"); /* for two */
	assert_int_equal(status_of(post(BATCH, body), NULL), 202);
	assert_int_equal(status_of(post(BATCH, body), "\"replayed\":true"), 202);
	free(body);
	wait_until(PATIENCE_MS, times("hear-b", "full-511") == 1 && times("hear-a", "full-0") == 1);
	assert_int_equal(times("hear-a", "most-0"), 0);
	assert_int_equal(times("hear-a", "wide-0"), 0);
}

/* ---- the command line ------------------------------------------------------------------------------- */

static struct harness_process *tail(const char *name, const char *const *more)
{
	const char *argv[16] = { "pirn", "tail", "--admin", f.admin };
	struct harness_process *p;
	size_t n = 4;

	while (*more)
		argv[n++] = *more++;
	p = harness_spawn(name, NULL, argv, NULL);
	wait_until(PATIENCE_MS, harness_wrote(p, "Watching"));
	return p;
}

static int pirn_send(const char *const *more, char *out, size_t room)
{
	const char *argv[20] = { "pirn", "send", "--gateway", f.http };
	struct harness_process *p;
	size_t n = 4;
	char *output;
	int status;

	while (*more)
		argv[n++] = *more++;
	status = harness_run("send", NULL, argv, NULL, &p);
	output = harness_output(p);
	snprintf(out, room, "%s", output);
	free(output);
	harness_free(&p);
	return status;
}

#define SEND(...) pirn_send((const char *const[]){ __VA_ARGS__, NULL }, out, sizeof out)

static void test_send_and_tail(void **state)
{
	struct harness_process *all = tail("tail",
		(const char *const[]){ "--type", "order.cli*", "--count", "4", "--json", NULL });
	struct harness_process *one =
		tail("tail-b", (const char *const[]){ "--service", "hear-b", "--type", "*.cli",
				       "--count", "2", NULL });
	char out[4096], *seen;

	(void)state;
	assert_int_equal(SEND("--type", "order.cli", "--source", "/shop", "--subject",
				 "caf\xc3\xa9 1", "--id", "cli-1", "--data", "{\"a\":1}"),
		0);
	assert_int_equal(strlen(out), 27);
	wait_until(PATIENCE_MS, times("hear-a", "cli-1") == 1 && times("hear-b", "cli-1") == 1);
	assert_true(body_is("hear-a", "cli-1", "{\"a\":1}"));
	assert_true(head_has("hear-a", "cli-1", "ce-subject: caf%C3%A9%201\n"));
	assert_int_equal(harness_wait(all, PATIENCE_MS), 0);
	assert_int_equal(harness_wait(one, PATIENCE_MS), 0);
	seen = harness_output(all);
	assert_non_null(strstr(seen, "\"what\":\"accepted\""));
	assert_non_null(strstr(seen, "\"what\":\"done\""));
	assert_non_null(strstr(seen, "\"type\":\"order.cli\""));
	assert_non_null(strstr(seen, "\"service\":\"hear-b\""));
	free(seen);
	seen = harness_output(one);
	assert_non_null(strstr(seen, " order.cli -> hear-b"));
	assert_null(strstr(seen, "hear-a"));
	free(seen);
	harness_free(&all);
	harness_free(&one);
	assert_int_equal(SEND("--type", "nobody.knows"), 1);
	assert_int_equal(SEND("--data", "x"), 2);
	assert_int_equal(SEND("--type", "", "--data", "x"), 2);
	assert_int_equal(SEND("--type", "t", "--source", "a b"), 1);
	assert_int_equal(harness_status(f.admin, NULL, "/v1/tail?colour=red", NULL), 400);
	assert_int_equal(harness_status(f.http, NULL, "/v1/tail", NULL), 404);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_binary),
		cmocka_unit_test(test_structured),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_each_has_its_own_end),
		cmocka_unit_test(test_nobody_subscribes),
		cmocka_unit_test(test_source_and_id_are_the_key),
		cmocka_unit_test(test_a_bad_one_spoils_the_batch),
		cmocka_unit_test(test_rules_in_three_modes),
		cmocka_unit_test(test_hostile_json),
		cmocka_unit_test(test_batches_are_bounded),
		cmocka_unit_test(test_send_and_tail),
	};

	return harness_finish(cmocka_run_group_tests_name("cloudevents", tests, start, stop));
}
