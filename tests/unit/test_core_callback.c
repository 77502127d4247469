/* Telling somebody outside of an end: one event for the reserved service, in the settle of the end. */
#include "broker/core/callback.h"
#include "base/ulid.h"
#include "tests/unit/core_asked.h"

#define URL "https://example.com/hook?a=1"

static void submit(struct asked *k, const char *service, const char *url, uint32_t flags)
{
	Pirn__Item item = PIRN__ITEM__INIT, *list = &item;
	Pirn__Head head = PIRN__HEAD__INIT;

	item.service = (char *)(uintptr_t)service;
	item.has_slot = item.has_generation = item.has_id = item.has_lane = item.has_number = true;
	item.slot = 42;
	item.generation = 1;
	item.id = (ProtobufCBinaryData){ 16, (uint8_t *)(uintptr_t)asked_id(42).data };
	item.flags = flags;
	item.lane = 77;
	item.number = 42;
	item.callback = (char *)(uintptr_t)url;
	head.kind = PIRN__KIND__SUBMIT;
	head.items = &list;
	head.n_items = 1;
	rig_head(&k->rig, CLIENT, &head, NULL, 0);
	tiny_take(k->t);
}

static Pirn__Item run(struct asked *k, const char *url)
{
	submit(k, "hello", url, PIRN__ITEM_FLAG__EVENT);
	tiny_turn(k->t);
	tiny_tell(k->t);
	return rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
}

static void answer(struct asked *k, Pirn__Item run, uint32_t status)
{
	Pirn__HttpResponse response = PIRN__HTTP_RESPONSE__INIT;
	Pirn__Header type = PIRN__HEADER__INIT, *list = &type;
	Pirn__Item item = PIRN__ITEM__INIT, *items = &item;
	Pirn__Head head = PIRN__HEAD__INIT;
	uint8_t body[256];
	size_t size;

	type.name = (ProtobufCBinaryData){ 12, (uint8_t *)(uintptr_t) "Content-Type" };
	type.value = (ProtobufCBinaryData){ 10, (uint8_t *)(uintptr_t) "text/plain" };
	response.headers = &list;
	response.n_headers = 1;
	size = pirn__http_response__pack(&response, body);
	memcpy(body + size, "hello", 5);
	item.has_slot = item.has_generation = item.has_status = true;
	item.has_meta_size = item.has_data_size = true;
	item.slot = run.slot;
	item.generation = run.generation;
	item.status = status;
	item.meta_size = (uint32_t)size;
	item.data_size = 5;
	head.kind = PIRN__KIND__RESULT;
	head.items = &items;
	head.n_items = 1;
	rig_head(&k->rig, A, &head, body, size + 5);
	tiny_take(k->t);
}

/* The last entry is the event that tells, and says so. */
static void is_told(struct asked *k, const char *state, const char *data)
{
	const struct tiny_entry *e = &k->t->entries[k->t->n - 1];
	Pirn__JournalEntry *entry = pirn__journal_entry__unpack(NULL, e->head_size, e->head);
	Pirn__HttpRequest *http;
	char expected[64], text[BASE_ULID_TEXT + 1], said[512], id[128];
	const Pirn__JournalEvent *event;

	assert_non_null(entry);
	assert_int_equal(entry->n_events, 1);
	event = entry->events[0];
	assert_int_equal(event->n_deliveries, 1);
	assert_string_equal(event->deliveries[0]->service, BRK_CALLBACK_SERVICE);
	assert_null(event->callback);
	http = pirn__http_request__unpack(NULL, event->meta_size, e->body);
	assert_non_null(http);
	assert_memory_equal(http->target.data, "/callback", http->target.len);
	assert_int_equal(http->n_headers, 7);
	assert_memory_equal(http->headers[0]->name.data, "pirn-callback-url", 17);
	assert_int_equal(http->headers[0]->value.len, strlen(URL));
	assert_memory_equal(http->headers[0]->value.data, URL, strlen(URL));
	base_ulid_print(asked_id(42).data, text);
	snprintf(id, sizeof id, "%s.hello", text);
	assert_int_equal(http->headers[2]->value.len, strlen(id));
	assert_memory_equal(http->headers[2]->value.data, id, strlen(id));
	snprintf(expected, sizeof expected, "pirn.invocation.%s", state);
	assert_int_equal(http->headers[3]->value.len, strlen(expected));
	assert_memory_equal(http->headers[3]->value.data, expected, strlen(expected));
	pirn__http_request__free_unpacked(http, NULL);
	snprintf(said, sizeof said, "{\"id\":\"%s\",\"service\":\"hello\",\"state\":\"%s\",%s}", text,
		state, data);
	assert_int_equal(event->data_size, strlen(said));
	assert_memory_equal(e->body + event->meta_size, said, strlen(said));
	pirn__journal_entry__free_unpacked(entry, NULL);
}

static void test_done(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item item = run(k, URL);

	(void)state;
	answer(k, item, 200);
	tiny_run(k->t);
	assert_int_equal(k->t->n, 2);
	is_told(k, "done",
		"\"status\":200,\"reason\":null,\"attempts\":1,\"content_type\":\"text/plain\","
		"\"data_base64\":\"aGVsbG8=\"");
	assert_int_equal(rig_figures(&k->rig).events_done, 1);
	assert_int_equal(rig_figures(&k->rig).events_ready, 1); /* until somebody can call */
	asked_free(k);
}

static void test_dead_and_cancelled(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item item = run(k, URL);

	(void)state;
	answer(k, item, 404);
	tiny_run(k->t);
	is_told(k, "dead",
		"\"status\":404,\"reason\":null,\"attempts\":1,\"content_type\":\"text/plain\","
		"\"data_base64\":\"aGVsbG8=\"");
	assert_int_equal(k->t->dead, 1);
	asked_free(k);
	k = asked_new(NULL, 0);
	submit(k, "hello", URL, PIRN__ITEM_FLAG__EVENT);
	tiny_run(k->t);
	(void)asked_get(k, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 42));
	tiny_run(k->t);
	is_told(k, "cancelled", "\"status\":null,\"reason\":\"cancelled\",\"attempts\":0");
	asked_free(k);
}

/* Nothing holds back what tells of an end: without room the answer does not go along, and each may stand in an
 * entry of its own. */
static void test_without_room(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item item = run(k, URL);

	(void)state;
	assert_true(k->rig.core->entries.max_records >= k->rig.core->deliveries.max_records);
	k->rig.core->conf.max_event_bytes = 1;
	answer(k, item, 200);
	tiny_run(k->t);
	is_told(k, "done", "\"status\":200,\"reason\":null,\"attempts\":1");
	asked_free(k);
}

/* As many services as the broker takes, and nobody has announced the one that tells. */
static void test_without_a_place(void **state)
{
	struct brk_conf conf = tiny_conf();
	struct asked *k;
	Pirn__Item item;

	(void)state;
	conf.max_services = 1;
	k = asked_new(&conf, 10);
	item = run(k, URL);
	answer(k, item, 200);
	tiny_run(k->t);
	is_told(k, "done",
		"\"status\":200,\"reason\":null,\"attempts\":1,\"content_type\":\"text/plain\","
		"\"data_base64\":\"aGVsbG8=\"");
	assert_int_equal(HASH_COUNT(k->rig.core->services), 2);
	rig_worker(&k->rig, B, BRK_CALLBACK_SERVICE, 1);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 1);
	rig_worker(&k->rig, 9, "another", 0);
	assert_non_null(((const Pirn__Welcome *)rig_one(&k->rig, PIRN__KIND__WELCOME)->control)->refused);
	asked_free(k);
}

/* A run that is tried again has not ended. */
static void test_retried(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Item item = run(k, URL);

	(void)state;
	answer(k, item, 500);
	tiny_run(k->t);
	assert_int_equal(k->t->moved, 1);
	assert_int_equal(rig_figures(&k->rig).events_ready + rig_figures(&k->rig).events_waiting, 1);
	item = asked_run_next(k);
	answer(k, item, 200);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_done, 1);
	assert_int_equal(rig_figures(&k->rig).events_ready, 1);
	asked_free(k);
}

/* By its service's manifest; nobody is told of the ends of what tells. */
static void test_by_the_manifest(void **state)
{
	struct asked *k = asked_new(NULL, 0);
	Pirn__Manifest m = rig_manifest("hello");
	Pirn__Item item;

	(void)state;
	m.callback = (char *)(uintptr_t)URL;
	rig_hello(&k->rig, A, A, PIRN__ROLE__WORKER, &m, 1);
	rig_credit(&k->rig, A, "hello", 10);
	tiny_take(k->t);
	rig_worker(&k->rig, B, BRK_CALLBACK_SERVICE, 10);
	tiny_take(k->t);
	item = run(k, NULL);
	answer(k, item, 200);
	tiny_turn(k->t);
	tiny_tell(k->t);
	item = rig_one(&k->rig, PIRN__KIND__DISPATCH)->item;
	assert_string_equal(item.service, BRK_CALLBACK_SERVICE);
	tiny_result(k->t, B, &item, (struct rig_item){ .status = 200, .data = "" });
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_done, 2);
	assert_int_equal(k->rig.core->deliveries.n_used, 0);
	assert_int_equal(k->t->n, 2);
	asked_free(k);
}

/* Where it calls is in its headers: nobody else may say that. */
static void test_reserved(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Manifest m = rig_manifest("pirn-other");
	char *url = malloc(BRK_CALLBACK_MAX + 2);
	const struct brk_action *a;

	(void)state;
	assert_non_null(url);
	rig_worker(&k->rig, B, BRK_CALLBACK_SERVICE, 10);
	tiny_take(k->t);
	submit(k, BRK_CALLBACK_SERVICE, NULL, PIRN__ITEM_FLAG__EVENT);
	rig_is_refused(&k->rig, 42, PIRN__REASON__UNKNOWN_SERVICE);
	submit(k, BRK_CALLBACK_SERVICE, NULL, 0);
	rig_is_refused(&k->rig, 42, PIRN__REASON__UNKNOWN_SERVICE);
	submit(k, BRK_CALLBACK_SERVICE, NULL,
		PIRN__ITEM_FLAG__EVENT | PIRN__ITEM_FLAG__TOGETHER);
	rig_is_refused(&k->rig, 42, PIRN__REASON__UNKNOWN_SERVICE);
	rig_hello(&k->rig, 9, 9, PIRN__ROLE__WORKER, &m, 1);
	a = rig_one(&k->rig, PIRN__KIND__WELCOME);
	assert_non_null(((const Pirn__Welcome *)a->control)->refused);
	memset(url, 'a', BRK_CALLBACK_MAX + 1);
	url[BRK_CALLBACK_MAX + 1] = '\0';
	submit(k, "hello", url, PIRN__ITEM_FLAG__EVENT);
	rig_is_refused(&k->rig, 42, PIRN__REASON__MALFORMED);
	submit(k, "hello", "a\nb", PIRN__ITEM_FLAG__EVENT);
	rig_is_refused(&k->rig, 42, PIRN__REASON__MALFORMED);
	submit(k, "hello", "", PIRN__ITEM_FLAG__EVENT);
	rig_is_refused(&k->rig, 42, PIRN__REASON__MALFORMED);
	free(url);
	asked_free(k);
}

/* Whoever adopts it knows of it. */
static void test_adopted(void **state)
{
	struct asked *k = asked_new(NULL, 0);
	struct brk_conf conf = tiny_conf();
	const struct brk_delivery *d;

	(void)state;
	submit(k, "hello", URL, PIRN__ITEM_FLAG__EVENT);
	tiny_run(k->t);
	brk_ledger_forget(k->rig.core, PIRN__REASON__NONE);
	k->t->left[1] = true;
	rig_free(&k->rig);
	k->rig = rig_new(&conf);
	rig_look(&k->rig, brk_core_durable(k->rig.core, k->rig.now_ms, true, NULL, 0));
	tiny_connect(k->t, true);
	tiny_pass(k->t, 5000);
	d = brk_delivery_first(k->rig.core, asked_id(42).data);
	assert_non_null(d);
	assert_non_null(d->callback);
	assert_string_equal((const char *)d->callback->data, URL);
	asked_free(k);
}

static void last_id(const struct asked *k, uint8_t id[16])
{
	const struct tiny_entry *e = &k->t->entries[k->t->n - 1];
	Pirn__JournalEntry *entry = pirn__journal_entry__unpack(NULL, e->head_size, e->head);

	assert_non_null(entry);
	assert_string_equal(entry->events[0]->deliveries[0]->service, BRK_CALLBACK_SERVICE);
	memcpy(id, entry->events[0]->id.data, 16);
	pirn__journal_entry__free_unpacked(entry, NULL);
}

/* A letter that went back and never ran ends a second time: that is another event, which must not take the
 * place of the first. */
static void test_ends_again(void **state)
{
	struct asked *k = asked_new(NULL, 1);
	Pirn__Item item = run(k, URL);
	Pirn__Query query = asked_dead(PIRN__QUERY_KIND__DEAD_REDRIVE);
	ProtobufCBinaryData ids = asked_id(42);
	uint8_t dead[16], cancelled[16];

	(void)state;
	answer(k, item, 404);
	tiny_run(k->t);
	last_id(k, dead);
	query.ids = &ids;
	query.n_ids = 1;
	assert_int_equal(asked_get(k, query)->count, 1);
	tiny_pass(k->t, 1000);
	(void)asked_get(k, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 42));
	tiny_run(k->t);
	is_told(k, "cancelled", "\"status\":null,\"reason\":\"cancelled\",\"attempts\":1");
	last_id(k, cancelled);
	assert_memory_not_equal(dead, cancelled, 16);
	asked_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_done),
		cmocka_unit_test(test_dead_and_cancelled),
		cmocka_unit_test(test_without_room),
		cmocka_unit_test(test_without_a_place),
		cmocka_unit_test(test_retried),
		cmocka_unit_test(test_by_the_manifest),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_adopted),
		cmocka_unit_test(test_ends_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
