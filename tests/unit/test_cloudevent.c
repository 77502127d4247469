/* CloudEvents: every rule of an attribute in all three modes, taken and refused; data byte for byte; and
 * what a service gets. */
#include "gateway/cloudevent.h"
#include "gateway/meta.h"
#include "proto/pirn.pb-c.h"
#include "tests/unit/unit.h"

static struct base_arena arena;
static char why[GW_CE_WHY];

static int set_up(void **state)
{
	(void)state;
	base_arena_init(&arena, 4096, 1u << 20);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	base_arena_fini(&arena);
	return 0;
}

/* ---- modes -------------------------------------------------------------------------- */

static void test_modes(void **state)
{
	static const struct {
		const char *type;
		enum gw_ce_mode mode;
	} rows[] = {
		{ "application/json", GW_CE_BINARY },
		{ "", GW_CE_BINARY },
		{ "text/plain", GW_CE_BINARY },
		{ "application/cloudevent+json", GW_CE_BINARY },
		{ "application/cloudevents+json", GW_CE_STRUCTURED },
		{ "application/cloudevents+json; charset=utf-8", GW_CE_STRUCTURED },
		{ "application/cloudevents+json;charset=UTF-8", GW_CE_STRUCTURED },
		{ "Application/CloudEvents+JSON", GW_CE_STRUCTURED },
		{ "application/cloudevents-batch+json", GW_CE_BATCH },
		{ "application/cloudevents-batch+json ; charset=utf-8", GW_CE_BATCH },
		{ "APPLICATION/CLOUDEVENTS-BATCH+JSON", GW_CE_BATCH },
		{ "application/cloudevents", GW_CE_UNSUPPORTED },
		{ "application/cloudevents+avro", GW_CE_UNSUPPORTED },
		{ "application/cloudevents+jsonx", GW_CE_UNSUPPORTED },
		{ "application/cloudevents-batch", GW_CE_UNSUPPORTED },
		{ "application/cloudevents-batch+protobuf", GW_CE_UNSUPPORTED },
	};

	(void)state;
	assert_int_equal(gw_ce_mode((struct gw_slice){ NULL, 0 }), GW_CE_BINARY);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(gw_ce_mode(gw_slice_of(rows[i].type)), rows[i].mode);
}

/* ---- rules, in all modes ------------------------------------------------------------- */

#define GOOD NULL

/* One attribute, in place of the good event's; why is what is said, GOOD when it is taken. value NULL: it is
 * missing. Written into JSON as it stands here, so without quotes and backslashes. */
static const struct {
	const char *name, *value, *why;
} rules[] = {
	{ "id", "1", GOOD },
	{ "id", "A234-1234-1234", GOOD },
	{ "id", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", GOOD },
	{ "id", NULL, "id: it is missing, and every CloudEvent has one." },
	{ "id", "", "id: it is empty." },
	{ "id", "a\x7f", "id: expected UTF-8 without control characters, got \"a\\u007f\"." },
	{ "id", "a\xc2\x85", "id: expected UTF-8 without control characters, got \"a\\u0085\"." },
	{ "id", "a\xef\xbf\xbf", "id: expected UTF-8 without control characters, got \"a\xef\xbf\xbf\"." },
	{ "id", "a\xef\xb7\x90", "id: expected UTF-8 without control characters, got \"a\xef\xb7\x90\"." },
	{ "source", "/mycontext", GOOD },
	{ "source", "https://github.com/cloudevents/spec/pull", GOOD },
	{ "source", "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66", GOOD },
	{ "source", "mailto:cncf-wg-serverless@lists.cncf.io", GOOD },
	{ "source", "1-555-123-4567", GOOD },
	{ "source", NULL, "source: it is missing, and every CloudEvent has one." },
	{ "source", "", "source: it is empty." },
	{ "source", "a b", "source: expected a URI-reference, got \"a b\"." },
	{ "source", "a<b>", "source: expected a URI-reference, got \"a<b>\"." },
	{ "source", "\xc3\xa9", "source: expected a URI-reference, got \"\xc3\xa9\"." },
	{ "type", "com.example.object.deleted.v2", GOOD },
	{ "type", NULL, "type: it is missing, and every CloudEvent has one." },
	{ "type", "", "type: it is empty." },
	{ "specversion", "1.0", GOOD },
	{ "specversion", NULL, "specversion: it is missing, and every CloudEvent has one." },
	{ "specversion", "", "specversion: expected 1.0, got \"\"." },
	{ "specversion", "0.3", "specversion: expected 1.0, got \"0.3\"." },
	{ "specversion", "1.1", "specversion: expected 1.0, got \"1.1\"." },
	{ "subject", "mynewfile.jpg", GOOD },
	{ "subject", "", "subject: it is empty." },
	{ "dataschema", "https://example.com/schema", GOOD },
	{ "dataschema", "", "dataschema: it is empty." },
	{ "dataschema", "/relative", "dataschema: expected an absolute URI, got \"/relative\"." },
	{ "dataschema", "1x:y", "dataschema: expected an absolute URI, got \"1x:y\"." },
	{ "time", "2018-04-05T17:31:00Z", GOOD },
	{ "time", "1937-01-01T12:00:27.87+00:20", GOOD },
	{ "time", "0001-02-03t04:05:06z", GOOD },
	{ "time", "", "time: it is empty." },
	{ "time", "2018-04-05", "time: expected a time such as 2026-11-21T09:15:02Z (RFC 3339), got \"2018-04-05\"." },
	{ "time", "2018-04-05T17:31:00", "time: expected a time such as 2026-11-21T09:15:02Z (RFC 3339), got \"2018-04-05T17:31:00\"." },
	{ "time", "2018-13-05T17:31:00Z", "time: expected a time such as 2026-11-21T09:15:02Z (RFC 3339), got \"2018-13-05T17:31:00Z\"." },
	{ "comexampleextension1", "value", GOOD },
	{ "ext", "", GOOD },
	{ "0", "x", GOOD },
	{ "my_ext", "x", "\"my_ext\" is no name of an attribute: those are of a-z and 0-9, at most 64." },
	{ "my-ext", "x", "\"my-ext\" is no name of an attribute: those are of a-z and 0-9, at most 64." },
	{ "a123456789012345678901234567890123456789012345678901234567890123", "x", GOOD },
	{ "a1234567890123456789012345678901234567890123456789012345678901234", "x",
		"\"a12345678901234567890123456789012345678901234567890123456789\"\xe2\x80\xa6 is no name of an attribute: those are of a-z and 0-9, at most 64." },
};

static const struct {
	const char *name, *value;
} sound[] = { { "specversion", "1.0" }, { "id", "7" }, { "source", "/test" }, { "type", "test.done" } };

#define N_SOUND 4

struct event {
	const char *names[8], *values[8];
	size_t n;
};

/* The good event with that attribute. */
static struct event event_with(const char *name, const char *value)
{
	struct event e = { .n = 0 };
	bool replaced = false;

	for (size_t i = 0; i < N_SOUND; i++) {
		bool is_it = strcmp(sound[i].name, name) == 0;

		replaced = replaced || is_it;
		if (is_it && !value)
			continue;
		e.names[e.n] = sound[i].name;
		e.values[e.n++] = is_it ? value : sound[i].value;
	}
	if (!replaced) {
		e.names[e.n] = name;
		e.values[e.n++] = value;
	}
	return e;
}

static bool as_binary(const struct event *e, struct gw_ce *ce)
{
	static char names[8][96];
	struct gw_header headers[8];

	for (size_t i = 0; i < e->n; i++) {
		snprintf(names[i], sizeof names[i], "Ce-%s", e->names[i]);
		headers[i] = (struct gw_header){ .name = gw_slice_of(names[i]), .value = gw_slice_of(e->values[i]) };
	}
	return gw_ce_binary(headers, e->n, GW_SLICE("data"), &arena, ce, why);
}

static size_t write_json(const struct event *e, char *out, size_t room)
{
	size_t at = 0;

	for (size_t i = 0; i < e->n; i++)
		at += (size_t)snprintf(out + at, room - at, "%c\"%s\":\"%s\"", i ? ',' : '{', e->names[i],
			e->values[i]);
	return at + (size_t)snprintf(out + at, room - at, "}");
}

static void expect(const char *mode, size_t row, bool taken, const char *prefix)
{
	char expected[GW_CE_WHY];

	if (taken && rules[row].why)
		fail_msg("%s: %s %s was taken", mode, rules[row].name, rules[row].value);
	if (!taken && !rules[row].why)
		fail_msg("%s: %s %s: %s", mode, rules[row].name, rules[row].value, why);
	if (!taken) {
		snprintf(expected, sizeof expected, "%s%s", prefix, rules[row].why);
		assert_string_equal(why, expected);
	}
}

static const struct gw_slice *find(const struct gw_ce *ce, const char *name)
{
	for (size_t i = 0; i < ce->n_attributes; i++)
		if (gw_slice_equal(ce->attributes[i].name, gw_slice_of(name)))
			return &ce->attributes[i].value;
	return NULL;
}

static void has_value(const struct gw_ce *ce, size_t row)
{
	const struct gw_slice *value = find(ce, rules[row].name);

	assert_non_null(value);
	assert_true(gw_slice_equal(*value, gw_slice_of(rules[row].value)));
}

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
		struct event e = event_with(rules[i].name, rules[i].value);
		char json[1024], batch[4096];
		struct gw_ce ce, *list;
		bool taken;
		size_t n;

		base_arena_reset(&arena);
		taken = as_binary(&e, &ce);
		expect("binary", i, taken, "");
		if (taken)
			has_value(&ce, i);

		write_json(&e, json, sizeof json);
		taken = gw_ce_structured(gw_slice_of(json), &arena, &ce, why);
		expect("structured", i, taken, "");
		if (taken)
			has_value(&ce, i);

		snprintf(batch, sizeof batch,
			"[{\"specversion\":\"1.0\",\"id\":\"0\",\"source\":\"s\",\"type\":\"t\"},%s]", json);
		taken = gw_ce_batch(gw_slice_of(batch), 10, &arena, &list, &n, why);
		expect("batch", i, taken, "event 1: ");
		if (taken) {
			assert_int_equal(n, 2);
			has_value(&list[1], i);
		}
	}
}

/* ---- binary --------------------------------------------------------------------------- */

#define HEADER(n, v) { .name = GW_SLICE(n), .value = GW_SLICE(v) }
#define SOUND_HEADERS \
	HEADER("ce-specversion", "1.0"), HEADER("CE-ID", "7"), HEADER("ce-source", "/test"), \
		HEADER("ce-type", "test.done")

static bool with_header(const char *name, const char *value, struct gw_ce *ce)
{
	struct gw_header headers[] = { SOUND_HEADERS,
		{ .name = gw_slice_of(name), .value = gw_slice_of(value) } };

	return gw_ce_binary(headers, 5, GW_SLICE("\0\1\2"), &arena, ce, why);
}

static void test_binary(void **state)
{
	struct gw_ce ce;

	(void)state;
	assert_true(with_header("Content-Type", "image/png", &ce));
	assert_true(gw_slice_equal(ce.content_type, GW_SLICE("image/png")));
	assert_int_equal(ce.data.size, 3);
	assert_memory_equal(ce.data.data, "\0\1\2", 3);
	assert_true(gw_slice_equal(ce.id, GW_SLICE("7")));
	assert_true(gw_slice_equal(ce.source, GW_SLICE("/test")));
	assert_true(gw_slice_equal(ce.type, GW_SLICE("test.done")));
	assert_int_equal(ce.n_attributes, 4);

	/* The specification's own example of encoding. */
	assert_true(with_header("ce-ext", "Euro%20%E2%82%AC%20%F0%9F%98%80", &ce));
	assert_true(gw_slice_equal(*find(&ce, "ext"), GW_SLICE("Euro € 😀")));
	assert_true(with_header("ce-ext", "Euro%20%e2%82%ac", &ce));
	assert_true(gw_slice_equal(*find(&ce, "ext"), GW_SLICE("Euro €")));
	assert_true(with_header("ce-ext", "\"a \\\"b\\\\ %25\"", &ce));
	assert_true(gw_slice_equal(*find(&ce, "ext"), GW_SLICE("a \"b\\ %")));
	assert_true(with_header("ce-ext", "100%", &ce));
	assert_true(gw_slice_equal(*find(&ce, "ext"), GW_SLICE("100%")));
	assert_true(with_header("ce-ext", "€", &ce)); /* the JavaScript SDK does not encode */
	assert_true(gw_slice_equal(*find(&ce, "ext"), GW_SLICE("€")));
	assert_false(with_header("ce-ext", "%C0%A0", &ce));
	assert_non_null(strstr(why, "ext: expected UTF-8"));
	assert_false(with_header("ce-ext", "a%00", &ce));

	assert_false(with_header("ce-datacontenttype", "text/plain", &ce));
	assert_string_equal(why, "datacontenttype: in binary mode it is the Content-Type, not a header of its own.");
	assert_false(with_header("ce-data", "x", &ce));
	assert_string_equal(why, "data: in binary mode it is the body, not a header.");
	assert_false(with_header("ce-id", "8", &ce));
	assert_string_equal(why, "id: it is given twice.");
	assert_false(with_header("Content-Type", "nonsense", &ce));
	assert_string_equal(why, "datacontenttype: expected a media type such as application/json, got \"nonsense\".");
	assert_false(with_header("ce-", "x", &ce));
	assert_true(with_header("Content-Type", "application/json; charset=utf-8", &ce));
}

/* ---- JSON ------------------------------------------------------------------------------ */

#define SOUND_JSON "\"specversion\":\"1.0\",\"id\":\"7\",\"source\":\"/test\",\"type\":\"test.done\""

static const struct {
	const char *members, *content_type, *data, *why;
} bodies[] = {
	{ "", "", "", GOOD },
	{ ",\"data\":{\"a\": 12345678901234567890, \"b\":0.10}", "application/json", "{\"a\": 12345678901234567890, \"b\":0.10}", GOOD },
	{ ",\"data\":\"text\"", "application/json", "\"text\"", GOOD },
	{ ",\"data\":null", "application/json", "null", GOOD },
	{ ",\"data\": 7 ,\"datacontenttype\":\"text/json\"", "text/json", "7", GOOD },
	{ ",\"datacontenttype\":\"application/vnd.x+json; v=1\",\"data\":[1 ,2]", "application/vnd.x+json; v=1", "[1 ,2]", GOOD },
	{ ",\"data\":\"<a>\\u00e9\\n</a>\",\"datacontenttype\":\"text/xml\"", "text/xml", "<a>é\n</a>", GOOD },
	{ ",\"datacontenttype\":\"application/json\"", "application/json", "", GOOD },
	{ ",\"data_base64\":\"AAEC/w==\"", "", "\0\1\2\xff", GOOD },
	{ ",\"data_base64\":\"\",\"datacontenttype\":\"image/png\"", "image/png", "", GOOD },
	{ ",\"data_base64\":null,\"data\":1", "application/json", "1", GOOD },
	{ ",\"subject\":null", "", "", GOOD },
	{ ",\"ext\":7", "", "", GOOD },
	{ ",\"ext\":-2147483648", "", "", GOOD },
	{ ",\"ext\":true", "", "", GOOD },
	{ ",\"data\":1,\"data_base64\":\"AA==\"", "", "", "data: there is data_base64, too." },
	{ ",\"data\":1,\"data\":2", "", "", "data: it is given twice." },
	{ ",\"data_base64\":\"A\"", "", "", "data_base64: that is not base64." },
	{ ",\"data_base64\":7", "", "", "data_base64: expected a string." },
	{ ",\"datacontenttype\":\"text/xml\",\"data\":{}", "", "", "data: expected a string, because datacontenttype is not JSON." },
	{ ",\"datacontenttype\":\"\"", "", "", "datacontenttype: it is empty." },
	{ ",\"datacontenttype\":7", "", "", "datacontenttype: expected a string." },
	{ ",\"datacontenttype\":\"a/b\",\"datacontenttype\":\"a/b\"", "", "", "datacontenttype: it is given twice." },
	{ ",\"ext\":2147483648", "", "", "ext: expected a whole number of 32 bits, or a string, got \"2147483648\"." },
	{ ",\"ext\":-2147483649", "", "", "ext: expected a whole number of 32 bits, or a string, got \"-2147483649\"." },
	{ ",\"ext\":1.5", "", "", "ext: expected a whole number of 32 bits, or a string, got \"1.5\"." },
	{ ",\"ext\":1e2", "", "", "ext: expected a whole number of 32 bits, or a string, got \"1e2\"." },
	{ ",\"ext\":{}", "", "", "ext: expected a string, a number or a boolean, got \"{}\"." },
	{ ",\"ext\":[1]", "", "", "ext: expected a string, a number or a boolean, got \"[1]\"." },
	{ ",\"subject\":7", "", "", "subject: expected a string, got \"7\"." },
	{ ",\"subject\":true", "", "", "subject: expected a string, got \"true\"." },
	{ ",\"id\":\"8\"", "", "", "id: it is given twice." },
	{ ",\"\\u0069d\":\"8\"", "", "", "id: it is given twice." },
	{ ",\"Ext\":\"8\"", "", "", "\"Ext\" is no name of an attribute: those are of a-z and 0-9, at most 64." },
	{ ",\"ext\":\"\\ud800\"", "", "", "The body is not JSON: half of a surrogate pair, at byte 79." },
	{ ",\"data\":\"\\udfff\"", "", "", "The body is not JSON: half of a surrogate pair, at byte 75." },
	{ ",", "", "", "The body is not JSON: expected a member's name, at byte 66." },
};

static void test_bodies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
		size_t size = strcmp(bodies[i].data, "\0\1\2\xff") == 0 && strstr(bodies[i].members, "AAEC") ? 4 : strlen(bodies[i].data);
		char json[1024];
		struct gw_ce ce;
		bool taken;

		base_arena_reset(&arena);
		snprintf(json, sizeof json, "{%s%s}", SOUND_JSON, bodies[i].members);
		taken = gw_ce_structured(gw_slice_of(json), &arena, &ce, why);
		if (taken != !bodies[i].why)
			fail_msg("%s: %s", json, taken ? "was taken" : why);
		if (!taken) {
			assert_string_equal(why, bodies[i].why);
			continue;
		}
		assert_true(gw_slice_equal(ce.content_type, gw_slice_of(bodies[i].content_type)));
		assert_int_equal(ce.data.size, size);
		assert_memory_equal(ce.data.data ? ce.data.data : "", bodies[i].data, size);
	}
}

static void test_batches(void **state)
{
	static const char one[] = "{" SOUND_JSON ",\"data\":[0]}";
	struct gw_ce *list;
	char json[1024];
	size_t n;

	(void)state;
	assert_true(gw_ce_batch(GW_SLICE("[]"), 3, &arena, &list, &n, why));
	assert_int_equal(n, 0);
	snprintf(json, sizeof json, " [ %s , %s,%s ] ", one, one, one);
	assert_true(gw_ce_batch(gw_slice_of(json), 3, &arena, &list, &n, why));
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++)
		assert_true(gw_slice_equal(list[i].data, GW_SLICE("[0]")));
	assert_false(gw_ce_batch(gw_slice_of(json), 2, &arena, &list, &n, why));
	assert_string_equal(why, "A batch has at most 2 events, this one 3.");
	assert_false(gw_ce_batch(gw_slice_of(one), 2, &arena, &list, &n, why));
	assert_string_equal(why, "A batch of CloudEvents is a JSON array.");
	snprintf(json, sizeof json, "[%s,7]", one);
	assert_false(gw_ce_batch(gw_slice_of(json), 3, &arena, &list, &n, why));
	assert_string_equal(why, "event 1: A CloudEvent is a JSON object.");
	assert_false(gw_ce_structured(GW_SLICE("[]"), &arena, &(struct gw_ce){ 0 }, why));
}

static void test_hostile(void **state)
{
	static char deep[4000];
	struct gw_header headers[GW_CE_ATTRIBUTES_MAX + 5] = { SOUND_HEADERS };
	static char names[GW_CE_ATTRIBUTES_MAX + 5][16], value[GW_CE_VALUE_MAX + 2];
	struct base_arena small;
	struct gw_ce ce;

	(void)state;
	memset(deep, '[', sizeof deep);
	assert_false(gw_ce_structured((struct gw_slice){ deep, sizeof deep }, &arena, &ce, why));
	assert_string_equal(why, "The body is not JSON: it is nested too deeply, at byte 64.");
	for (size_t i = 4; i < GW_CE_ATTRIBUTES_MAX + 1; i++) {
		snprintf(names[i], sizeof names[i], "ce-x%zu", i);
		headers[i] = (struct gw_header){ .name = gw_slice_of(names[i]), .value = GW_SLICE("v") };
	}
	assert_true(gw_ce_binary(headers, GW_CE_ATTRIBUTES_MAX, GW_SLICE(""), &arena, &ce, why));
	assert_false(gw_ce_binary(headers, GW_CE_ATTRIBUTES_MAX + 1, GW_SLICE(""), &arena, &ce, why));
	assert_string_equal(why, "There are more than 64 attributes.");
	memset(value, 'x', sizeof value - 1);
	assert_false(with_header("ce-ext", value, &ce));
	assert_string_equal(why, "ext: it is longer than 4096 bytes.");
	base_arena_init(&small, 64, 64);
	assert_false(gw_ce_structured(GW_SLICE("{" SOUND_JSON "}"), &small, &ce, why));
	assert_string_equal(why, "The event does not fit the gateway's memory for reading it.");
	base_arena_fini(&small);
}

/* ---- out -------------------------------------------------------------------------------- */

static void test_pack(void **state)
{
	static const char json[] = "{" SOUND_JSON ",\"ext\":\"Euro € 100%\",\"n\":7,\"data\":1}";
	static const char *const expected[][2] = { { "ce-specversion", "1.0" }, { "ce-id", "7" },
		{ "ce-source", "/test" }, { "ce-type", "test.done" },
		{ "ce-ext", "Euro%20%E2%82%AC%20100%25" }, { "ce-n", "7" },
		{ "Content-Type", "application/json" } };
	Pirn__HttpRequest *request;
	struct gw_header headers[8];
	struct base_buf meta;
	struct gw_ce ce, again;

	(void)state;
	base_buf_init(&meta);
	assert_true(gw_ce_structured(gw_slice_of(json), &arena, &ce, why));
	gw_meta_method(&meta, GW_SLICE("POST"));
	gw_meta_target(&meta, GW_SLICE("/v1/events"));
	gw_ce_pack(&ce, &meta);
	request = pirn__http_request__unpack(NULL, meta.size, meta.data);
	assert_non_null(request);
	assert_int_equal(request->n_headers, 7);
	for (size_t i = 0; i < 7; i++) {
		headers[i].name = (struct gw_slice){ (char *)request->headers[i]->name.data, request->headers[i]->name.len };
		headers[i].value = (struct gw_slice){ (char *)request->headers[i]->value.data, request->headers[i]->value.len };
		assert_true(gw_slice_equal(headers[i].name, gw_slice_of(expected[i][0])));
		assert_true(gw_slice_equal(headers[i].value, gw_slice_of(expected[i][1])));
	}
	/* What a service gets is a CloudEvent in binary mode, and the same. */
	assert_true(gw_ce_binary(headers, 7, ce.data, &arena, &again, why));
	assert_int_equal(again.n_attributes, ce.n_attributes);
	for (size_t i = 0; i < ce.n_attributes; i++)
		assert_true(gw_slice_equal(again.attributes[i].value, ce.attributes[i].value));
	pirn__http_request__free_unpacked(request, NULL);
	base_buf_fini(&meta);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes),
		cmocka_unit_test_setup_teardown(test_rules, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_binary, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bodies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_batches, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hostile, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pack, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
