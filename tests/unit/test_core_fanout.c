/* Events without an address: each subscriber gets a delivery of its own, and what comes together has one
 * fate. */
#include "base/ulid.h"
#include "tests/unit/core_asked.h"

enum { C = 7 };

struct sent {
	const char *service, *type, *source, *subject, *data, *key;
	uint32_t flags;
	bool call;
	const char *timer; /* from slot 0 to slot 1000; SKIP_SLOT in flags: data must be "" */
	const char *callback;
};

/* Slots, numbers and ids count from slot on. */
static void send(struct asked *k, uint32_t slot, const struct sent *list, size_t n)
{
	static Pirn__Item items[BRK_MAX_ITEMS], *pointers[BRK_MAX_ITEMS];
	static uint8_t ids[BRK_MAX_ITEMS][16], body[1 << 16];
	Pirn__Head head = PIRN__HEAD__INIT;
	size_t size = 0;

	for (size_t i = 0; i < n; i++) {
		Pirn__Item *item = pointers[i] = &items[i];
		const char *data = list[i].data ? list[i].data : "data";

		pirn__item__init(item);
		memcpy(ids[i], asked_id(slot + (uint32_t)i).data, 16);
		item->service = (char *)(uintptr_t)list[i].service;
		item->type = (char *)(uintptr_t)list[i].type;
		item->source = (char *)(uintptr_t)list[i].source;
		item->subject = (char *)(uintptr_t)list[i].subject;
		item->has_slot = item->has_generation = item->has_id = true;
		item->has_lane = item->has_number = true;
		item->slot = slot + (uint32_t)i;
		item->generation = 1;
		item->id = (ProtobufCBinaryData){ 16, ids[i] };
		item->flags = list[i].flags | (list[i].call ? 0 : PIRN__ITEM_FLAG__EVENT);
		item->lane = 77;
		item->number = slot + i;
		item->has_key = item->has_hash = list[i].key != NULL;
		if (list[i].key) {
			item->key = (ProtobufCBinaryData){ strlen(list[i].key),
				(uint8_t *)(uintptr_t)list[i].key };
			item->hash = (ProtobufCBinaryData){ 16, (uint8_t *)ASKED_HASH };
		}
		item->timer = (char *)(uintptr_t)list[i].timer;
		item->callback = (char *)(uintptr_t)list[i].callback;
		item->has_slot_ms = item->timer != NULL;
		item->slot_ms = 1000;
		item->data_size = (uint32_t)strlen(data);
		memcpy(body + size, data, strlen(data));
		size += strlen(data);
	}
	head.kind = PIRN__KIND__SUBMIT;
	head.items = pointers;
	head.n_items = n;
	rig_head(&k->rig, CLIENT, &head, body, size);
	tiny_take(k->t);
}

static void send_one(struct asked *k, uint32_t slot, const char *type)
{
	send(k, slot, &(struct sent){ .type = type, .flags = PIRN__ITEM_FLAG__WANT_RESULT }, 1);
}

static void announce(struct asked *k, uint32_t worker, const char *service,
	const char *const *types, uint64_t granted)
{
	Pirn__Manifest m = rig_manifest(service);
	Pirn__Subscription list[BRK_SUBSCRIPTIONS_MAX + 1], *pointers[BRK_SUBSCRIPTIONS_MAX + 1];
	Pirn__Retry retry = PIRN__RETRY__INIT;

	for (; types && types[m.n_subscriptions]; m.n_subscriptions++) {
		pointers[m.n_subscriptions] = &list[m.n_subscriptions];
		pirn__subscription__init(&list[m.n_subscriptions]);
		list[m.n_subscriptions].type = (char *)(uintptr_t)types[m.n_subscriptions];
	}
	m.subscriptions = pointers;
	retry.has_attempts = true;
	retry.attempts = 3;
	m.retry = &retry;
	rig_hello(&k->rig, worker, worker, PIRN__ROLE__WORKER, &m, 1);
	if (granted > 0)
		rig_credit(&k->rig, worker, service, granted);
	tiny_take(k->t);
}

static void subscribe(
	struct asked *k, uint32_t worker, const char *service, const char *type, uint64_t granted)
{
	announce(k, worker, service, (const char *const[]){ type, NULL }, granted);
}

/* "bill" and "mail" want orders, "hello" nothing. */
static struct asked *orders(uint64_t granted)
{
	struct asked *k = asked_new(NULL, granted);

	subscribe(k, B, "bill", "order.*", granted);
	subscribe(k, C, "mail", "order.created", granted);
	return k;
}

/* What the last input sends that worker to run. */
static Pirn__Item run_of(const struct asked *k, uint32_t worker)
{
	for (size_t i = 0;; i++) {
		const struct brk_action *a = rig_nth(&k->rig, PIRN__KIND__DISPATCH, i);

		assert_non_null(a);
		if (a->peer == worker)
			return a->item;
	}
}

static void answer(struct asked *k, uint32_t worker, Pirn__Item run, uint32_t status)
{
	tiny_result(k->t, worker, &run, (struct rig_item){ .status = status, .data = "done" });
}

static Pirn__JournalEntry *entry_of(const struct tiny_entry *e)
{
	Pirn__JournalEntry *entry = pirn__journal_entry__unpack(NULL, e->head_size, e->head);

	assert_non_null(entry);
	return entry;
}

static uint32_t state_of(const Pirn__Answer *a, const char *service)
{
	uint32_t state = 0;

	for (size_t i = 0; i < a->n_invocations; i++) {
		if (strcmp(a->invocations[i]->service, service) != 0)
			continue;
		assert_int_equal(state, 0);
		state = a->invocations[i]->state;
	}
	return state;
}

static Pirn__Answer *look(struct asked *k, uint32_t slot)
{
	return asked_get(k, asked_query(PIRN__QUERY_KIND__INVOCATION, slot));
}

/* ---- one event, several services ------------------------------------------------ */

static void test_each_its_own(void **state)
{
	struct asked *k = orders(10);
	const struct brk_action *a;
	Pirn__JournalEntry *entry;
	Pirn__Item bill, mail;

	(void)state;
	send_one(k, 42, "order.created");
	assert_int_equal(k->rig.out->n, 0);
	tiny_turn(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ACCEPTED), 0);
	tiny_tell(k->t);
	a = rig_one(&k->rig, PIRN__KIND__ACCEPTED);
	assert_int_equal(a->item.slot, 42);
	assert_memory_equal(a->item.id.data, asked_id(42).data, 16);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__DISPATCH), 2);
	bill = run_of(k, B);
	mail = run_of(k, C);
	assert_int_equal(k->t->n, 1);
	assert_int_equal(k->t->entries[0].body_size, 4); /* once */
	entry = entry_of(&k->t->entries[0]);
	assert_int_equal(entry->n_events, 1);
	assert_int_equal(entry->events[0]->n_deliveries, 2);
	for (size_t i = 0; i < 2; i++) {
		const char *service = entry->events[0]->deliveries[i]->service;

		assert_string_equal(service, strcmp(service, "bill") == 0 ? "bill" : "mail");
	}
	assert_string_not_equal(
		entry->events[0]->deliveries[0]->service, entry->events[0]->deliveries[1]->service);
	pirn__journal_entry__free_unpacked(entry, NULL);
	answer(k, B, bill, 200);
	answer(k, C, mail, 500);
	tiny_run(k->t);
	assert_int_equal(k->t->ends, 1);
	assert_int_equal(k->t->moved, 1);
	assert_int_equal(rig_figures(&k->rig).accepted, 1);
	assert_int_equal(rig_figures(&k->rig).events_done, 1);
	mail = asked_run_next(k);
	assert_int_equal(mail.attempt, 2);
	assert_string_equal(mail.service, "mail");
	answer(k, C, mail, 404);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_dead, 1);
	assert_int_equal(rig_figures(&k->rig).entries, 0);
	asked_free(k);
}

static void test_source_and_subject(void **state)
{
	struct asked *k = asked_new(NULL, 10);
	Pirn__Manifest m = rig_manifest("shop");
	Pirn__Subscription one = PIRN__SUBSCRIPTION__INIT, *list = &one;
	struct sent sent[] = { { .type = "a", .source = "/shop/1", .subject = "x" },
		{ .type = "a", .source = "/shop/1" }, { .type = "a", .subject = "x" } };

	(void)state;
	one.type = (char *)"*";
	one.source = (char *)"/shop/*";
	one.subject = (char *)"x";
	m.subscriptions = &list;
	m.n_subscriptions = 1;
	rig_hello(&k->rig, B, B, PIRN__ROLE__WORKER, &m, 1);
	send(k, 1, sent, 3);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).accepted, 1);
	assert_int_equal(rig_figures(&k->rig).events_unrouted, 2);
	asked_free(k);
}

static void test_nobody(void **state)
{
	struct asked *k = orders(10);
	struct brk_conf conf = tiny_conf();

	(void)state;
	send_one(k, 1, "user.created");
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__ACCEPTED)->item.slot, 1);
	assert_memory_equal(
		rig_nth(&k->rig, PIRN__KIND__ACCEPTED, 0)->item.id.data, asked_id(1).data, 16);
	assert_false(brk_core_pending(k->rig.core));
	assert_int_equal(rig_figures(&k->rig).events_unrouted, 1);
	asked_free(k);
	conf.strict = true;
	k = asked_new(&conf, 10);
	send_one(k, 1, "user.created");
	rig_is_refused(&k->rig, 1, PIRN__REASON__NO_SUBSCRIBER);
	assert_int_equal(rig_figures(&k->rig).events_unrouted, 0);
	asked_free(k);
}

/* Nobody's, while Redis is away: it could have been somebody's that is not heard of. */
static void test_not_durable(void **state)
{
	struct asked *k = orders(10);

	(void)state;
	tiny_cut(k->t);
	send_one(k, 1, "user.created");
	rig_is_refused(&k->rig, 1, PIRN__REASON__NOT_DURABLE);
	asked_free(k);
}

static void test_malformed(void **state)
{
	struct asked *k = orders(10);
	char *long_text = malloc(BRK_TOPIC_MAX + 2);

	(void)state;
	assert_non_null(long_text);
	memset(long_text, 'a', BRK_TOPIC_MAX + 1);
	long_text[BRK_TOPIC_MAX + 1] = '\0';
	send_one(k, 1, "");
	rig_is_refused(&k->rig, 1, PIRN__REASON__MALFORMED);
	send_one(k, 2, long_text);
	rig_is_refused(&k->rig, 2, PIRN__REASON__MALFORMED);
	send(k, 3, &(struct sent){ .type = "order.created", .source = long_text }, 1);
	rig_is_refused(&k->rig, 3, PIRN__REASON__MALFORMED);
	send(k, 4, &(struct sent){ .type = NULL }, 1);
	rig_is_refused(&k->rig, 4, PIRN__REASON__UNKNOWN_SERVICE);
	send_one(k, 5, long_text + 1);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ACCEPTED), 1);
	free(long_text);
	asked_free(k);
}

/* ---- one fate -------------------------------------------------------------------- */

#define TOGETHER PIRN__ITEM_FLAG__TOGETHER

static void test_together(void **state)
{
	struct asked *k = orders(0);
	struct sent sent[] = { { .type = "order.created", .flags = TOGETHER },
		{ .service = "hello", .flags = TOGETHER }, { .type = "nobody", .flags = TOGETHER },
		{ .type = "order.paid" }, { .type = "order.late" } };

	(void)state;
	send(k, 1, sent, 5);
	assert_int_equal(rig_one(&k->rig, PIRN__KIND__ACCEPTED)->item.slot, 3);
	tiny_turn(k->t);
	assert_int_equal(k->t->n_asks[BRK_ASK_STORE], 1);
	tiny_tell(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ACCEPTED), 4);
	assert_int_equal(rig_figures(&k->rig).events_ready, 5);
	asked_free(k);
}

/* Whatever is wrong with one of them is wrong with all, and nothing is kept of any. */
static void all_are_refused(struct asked *k, const struct sent *sent, size_t n, uint32_t reason)
{
	send(k, 1, sent, n);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__REFUSED), n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(rig_nth(&k->rig, PIRN__KIND__REFUSED, i)->item.reason, reason);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ACCEPTED), 0);
	assert_false(brk_core_pending(k->rig.core));
	assert_int_equal(rig_figures(&k->rig).events_bytes, 0);
	assert_int_equal(k->rig.core->deliveries.n_used, 0);
	assert_int_equal(rig_figures(&k->rig).events_unrouted, 0);
}

static void test_none_of_them(void **state)
{
	struct asked *k = orders(10);
	struct sent unknown[] = { { .type = "order.created", .flags = TOGETHER },
		{ .type = "nobody", .flags = TOGETHER }, { .service = "unknown" } };
	struct sent malformed[] = { { .type = "order.created", .flags = TOGETHER, .key = "k" },
		{ .type = "" } };
	struct sent call[] = { { .type = "order.created", .flags = TOGETHER },
		{ .service = "hello", .call = true } };

	(void)state;
	all_are_refused(k, unknown, 3, PIRN__REASON__UNKNOWN_SERVICE);
	all_are_refused(k, malformed, 2, PIRN__REASON__MALFORMED);
	all_are_refused(k, call, 2, PIRN__REASON__MALFORMED);
	asked_free(k);
}

/* Each service's bound counts what the run itself brings. */
static void test_bounds(void **state)
{
	struct asked *k = asked_new(NULL, 0);
	Pirn__Manifest m = rig_manifest("small");
	Pirn__QueueConf queue = PIRN__QUEUE_CONF__INIT;
	Pirn__Subscription one = PIRN__SUBSCRIPTION__INIT, *list = &one;
	struct sent sent[3] = { { .type = "a", .flags = TOGETHER },
		{ .type = "a", .flags = TOGETHER }, { .type = "a" } };

	(void)state;
	one.type = (char *)"a";
	m.subscriptions = &list;
	m.n_subscriptions = 1;
	queue.has_events = true;
	queue.events = 2;
	m.queue = &queue;
	rig_hello(&k->rig, B, B, PIRN__ROLE__WORKER, &m, 1);
	subscribe(k, C, "large", "a", 0);
	all_are_refused(k, sent, 3, PIRN__REASON__QUEUE_FULL);
	send(k, 10, sent + 1, 2);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_ready, 4);
	send(k, 20, sent + 2, 1);
	rig_is_refused(&k->rig, 20, PIRN__REASON__QUEUE_FULL);
	asked_free(k);
}

static void test_too_many_deliveries(void **state)
{
	static struct sent sent[STORE_ENTRY_DELIVERIES / 2 + 1];
	struct asked *k = orders(0);
	size_t n = STORE_ENTRY_DELIVERIES / 2 + 1;

	(void)state;
	for (size_t i = 0; i < n; i++)
		sent[i] = (struct sent){
			.type = "order.created", .data = "", .flags = i + 1 < n ? TOGETHER : 0
		};
	all_are_refused(k, sent, n, PIRN__REASON__TOO_LARGE);
	send(k, 1, sent + 1, n - 1);
	tiny_turn(k->t);
	assert_int_equal(k->t->n_asks[BRK_ASK_STORE], 1);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_ready, STORE_ENTRY_DELIVERIES);
	asked_free(k);
}

/* What does not fit into the entry that is collected goes into the next, all of it. */
static void test_a_full_entry(void **state)
{
	static struct sent sent[STORE_ENTRY_DELIVERIES / 2 - 1];
	struct asked *k = orders(0);
	size_t n = STORE_ENTRY_DELIVERIES / 2 - 1;

	(void)state;
	for (size_t i = 0; i < n; i++)
		sent[i] = (struct sent){ .type = "order.created", .data = "" };
	send(k, 1, sent, n);
	send(k, 1000, &(struct sent){ .service = "hello" }, 1);
	send_one(k, 1001, "order.created");
	tiny_run(k->t);
	assert_int_equal(k->t->n, 2);
	assert_int_equal(k->t->entries[0].n, STORE_ENTRY_DELIVERIES - 1);
	assert_int_equal(k->t->entries[1].n, 2);
	asked_free(k);
}

/* ---- again ------------------------------------------------------------------------ */

/* A run whose store did not happen goes into one entry when it is stored again, too, though there is room for its
 * first in the one that was collected meanwhile. */
static void test_together_again(void **state)
{
	static struct sent sent[STORE_ENTRY_DELIVERIES / 2];
	struct sent run[] = { { .service = "hello", .flags = TOGETHER }, { .service = "hello" } };
	struct asked *k = orders(0);
	size_t n = STORE_ENTRY_DELIVERIES / 2;

	(void)state;
	for (size_t i = 0; i + 1 < n; i++)
		sent[i] = (struct sent){ .type = "order.created", .data = "" };
	sent[n - 1] = (struct sent){ .service = "hello", .data = "" };
	send(k, 1, run, 2);
	k->t->next = STORE_LOST;
	tiny_turn(k->t);
	send(k, 1000, sent, n);
	tiny_cut(k->t);
	tiny_connect(k->t, true);
	tiny_run(k->t);
	assert_int_equal(k->t->n, 2);
	assert_int_equal(k->t->entries[0].n, STORE_ENTRY_DELIVERIES - 1);
	assert_int_equal(k->t->entries[1].n, 2);
	assert_int_equal(rig_figures(&k->rig).accepted, n + 2);
	asked_free(k);
}

/* Redis has room for no key of a run, and its reply is lost; the entry has what else was stored in that turn. The
 * run is asked for again as one. */
static size_t stores[4], n_stores; /* how many have the fate of the next one */

static bool has_no_room(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	if (ask->kind != BRK_ASK_STORE)
		return asked_do(t, ask, told);
	stores[n_stores] = 0;
	for (size_t i = 0; i < ask->store.n; i++)
		stores[n_stores] += ask->store.items[i].together;
	t->full = n_stores++ == 0;
	return asked_do(t, ask, told);
}

static void test_together_without_room(void **state)
{
	struct sent run[] = { { .type = "order.created", .key = "k", .flags = TOGETHER },
		{ .type = "order.created", .flags = TOGETHER }, { .service = "hello" } };
	struct asked *k = orders(0);

	(void)state;
	n_stores = 0;
	k->t->more = has_no_room;
	send_one(k, 1, "order.created");
	send(k, 2, run, 3);
	tiny_turn(k->t);
	tiny_cut(k->t);
	tiny_connect(k->t, true);
	tiny_run(k->t);
	assert_int_equal(n_stores, 2);
	assert_int_equal(stores[0], 2);
	assert_int_equal(stores[1], 2);
	assert_int_equal(rig_figures(&k->rig).accepted, 4);
	asked_free(k);
}

/* A key of an event without an address is not a service's. */
static bool sees_scope(struct tiny *t, const struct brk_ask *ask, struct tiny_told *told)
{
	for (size_t i = 0; ask->kind == BRK_ASK_STORE && i < ask->store.n; i++)
		if (ask->store.items[i].guard == STORE_GUARD_KEY)
			assert_string_equal(ask->store.items[i].scope, BRK_SCOPE_FANNED);
	return asked_do(t, ask, told);
}

static void test_duplicates(void **state)
{
	struct asked *k = orders(0);
	struct sent keyed = { .type = "order.created", .key = "source and id" };

	(void)state;
	k->t->more = sees_scope;
	send_one(k, 5, "order.created");
	tiny_run(k->t);
	send_one(k, 5, "order.created");
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).accepted, 1);
	assert_int_equal(rig_figures(&k->rig).duplicates, 1);
	assert_int_equal(rig_figures(&k->rig).events_ready, 2);
	send(k, 6, &keyed, 1);
	tiny_run(k->t);
	send(k, 7, &keyed, 1);
	tiny_turn(k->t);
	tiny_tell(k->t);
	assert_memory_equal(
		rig_one(&k->rig, PIRN__KIND__ACCEPTED)->item.id.data, asked_id(6).data, 16);
	assert_int_equal(rig_figures(&k->rig).events_ready, 4);
	asked_free(k);
}

/* The reply is lost: it had happened, or it had not. */
static void test_lost_reply(void **state)
{
	struct asked *k = orders(0);

	(void)state;
	send_one(k, 5, "order.created");
	tiny_turn(k->t);
	tiny_cut(k->t);
	tiny_connect(k->t, true);
	tiny_pass(k->t, 2000);
	assert_int_equal(k->t->n, 1);
	assert_int_equal(rig_figures(&k->rig).accepted, 1);
	assert_int_equal(rig_figures(&k->rig).events_ready, 2);
	k->t->next = STORE_LOST;
	send_one(k, 6, "order.created");
	tiny_turn(k->t);
	tiny_cut(k->t);
	assert_int_equal(k->t->n, 1);
	tiny_connect(k->t, true);
	tiny_pass(k->t, 2000);
	assert_int_equal(k->t->n, 2);
	assert_int_equal(k->t->entries[1].n, 2);
	assert_int_equal(rig_figures(&k->rig).accepted, 2);
	assert_int_equal(rig_figures(&k->rig).events_ready, 4);
	asked_free(k);
}

/* A slot is one service's: it neither fans out nor shares a fate. */
static void test_timers_do_not_fan_out(void **state)
{
	struct asked *k = orders(0);
	struct sent sent[] = { { .type = "order.created", .flags = TOGETHER },
		{ .service = "hello", .timer = "nightly" } };

	(void)state;
	send(k, 1, &(struct sent){ .type = "order.created", .timer = "nightly" }, 1);
	rig_is_refused(&k->rig, 1, PIRN__REASON__MALFORMED);
	all_are_refused(k, sent, 2, PIRN__REASON__MALFORMED);
	sent[0] = (struct sent){ .service = "hello", .timer = "nightly", .flags = TOGETHER };
	sent[1] = (struct sent){ .type = "order.created" };
	all_are_refused(k, sent, 2, PIRN__REASON__MALFORMED);
	assert_false(brk_core_pending(k->rig.core));
	asked_free(k);
}

/* Slots with and without an event, and events for none, one and two, in one commit, whose reply is lost. */
static void test_beside_timers(void **state)
{
	struct asked *k = orders(0);
	struct sent sent[] = { { .type = "order.created" },
		{ .service = "hello",
			.timer = "skipped",
			.flags = PIRN__ITEM_FLAG__SKIP_SLOT,
			.data = "" },
		{ .type = "order.paid" }, { .service = "hello", .data = "x" }, { .type = "nobody" } };

	(void)state;
	send(k, 1, sent, 5);
	tiny_turn(k->t);
	assert_int_equal(k->t->n_asks[BRK_ASK_STORE], 1);
	assert_int_equal(k->t->n, 1);
	assert_int_equal(k->t->entries[0].n, 4);
	assert_int_equal(k->t->timer.last_ms, 1000);
	tiny_cut(k->t);
	tiny_connect(k->t, true);
	tiny_pass(k->t, 2000);
	assert_int_equal(rig_figures(&k->rig).accepted, 3);
	assert_int_equal(rig_figures(&k->rig).events_ready, 4);
	assert_int_equal(rig_figures(&k->rig).events_refused, 0);
	assert_int_equal(k->t->entries[0].n, 4);
	asked_free(k);
}

/* ---- what is told of it ----------------------------------------------------------- */

static void test_each_is_told(void **state)
{
	struct asked *k = orders(10);
	const Pirn__Answer *a;
	Pirn__Item bill, mail;

	(void)state;
	send_one(k, 42, "order.created");
	tiny_turn(k->t);
	tiny_tell(k->t);
	bill = run_of(k, B);
	mail = run_of(k, C);
	a = look(k, 42);
	assert_int_equal(a->n_invocations, 2);
	assert_int_equal(state_of(a, "mail"), PIRN__INVOCATION_STATE__RUNNING);
	answer(k, B, bill, 200);
	tiny_run(k->t);
	a = look(k, 42);
	assert_int_equal(a->n_invocations, 2);
	assert_int_equal(state_of(a, "bill"), PIRN__INVOCATION_STATE__DONE);
	assert_int_equal(state_of(a, "mail"), PIRN__INVOCATION_STATE__RUNNING);
	answer(k, C, mail, 500);
	tiny_run(k->t);
	a = look(k, 42);
	assert_int_equal(state_of(a, "bill"), PIRN__INVOCATION_STATE__DONE);
	assert_int_equal(state_of(a, "mail"), PIRN__INVOCATION_STATE__WAITING);
	mail = asked_run_next(k);
	answer(k, C, mail, 200);
	tiny_run(k->t);
	a = look(k, 42);
	assert_int_equal(a->n_invocations, 2);
	assert_int_equal(state_of(a, "mail"), PIRN__INVOCATION_STATE__DONE);
	asked_free(k);
}

/* Whoever waits for the end waits for the last one. */
static void test_waits_for_all(void **state)
{
	struct asked *k = orders(10);
	Pirn__Query query = asked_query(PIRN__QUERY_KIND__INVOCATION, 42);
	Pirn__Item bill, mail;

	(void)state;
	send_one(k, 42, "order.created");
	tiny_turn(k->t);
	tiny_tell(k->t);
	bill = run_of(k, B);
	mail = run_of(k, C);
	query.has_wait_ms = true;
	query.wait_ms = 30000;
	asked_ask(k, 900, query);
	answer(k, B, bill, 200);
	tiny_run(k->t);
	assert_int_equal(rig_count(&k->rig, PIRN__KIND__ANSWER), 0);
	answer(k, C, mail, 200);
	while (rig_count(&k->rig, PIRN__KIND__ANSWER) == 0)
		tiny_step(k->t);
	assert_int_equal(asked_look(k, 900)->n_invocations, 2);
	asked_free(k);
}

static void test_cancelled(void **state)
{
	struct asked *k = orders(0);
	const Pirn__Answer *a;

	(void)state;
	send_one(k, 42, "order.created");
	tiny_run(k->t);
	a = asked_get(k, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 42));
	assert_int_equal(a->count, 2);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_cancelled, 2);
	assert_int_equal(rig_figures(&k->rig).entries, 0);
	asked_free(k);
}

/* What tells of the first one's end makes the index of ids grow, and that turns its chains round. */
static void test_cancelled_while_the_index_grows(void **state)
{
	static struct sent sent[1024 - 3];
	struct asked *k = orders(0);
	size_t n = sizeof sent / sizeof sent[0];
	const Pirn__Answer *a;

	(void)state;
	subscribe(k, 9, "ship", "order.created", 0);
	for (size_t i = 0; i < n; i++)
		sent[i] = (struct sent){ .service = "hello", .data = "" };
	send(k, 1000, sent, n);
	send(k, 42, &(struct sent){ .type = "order.created", .callback = "https://a.example/" },
		1);
	tiny_run(k->t);
	assert_int_equal(k->rig.core->by_id.n, k->rig.core->by_id.mask + 1);
	a = asked_get(k, asked_query(PIRN__QUERY_KIND__CANCEL_INVOCATION, 42));
	assert_int_equal(a->count, 3);
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_cancelled, 3);
	asked_free(k);
}

static void test_pages_are_whole(void **state)
{
	struct asked *k = orders(0);
	Pirn__Query query = asked_query(PIRN__QUERY_KIND__INVOCATIONS, 0);
	char cursor[BASE_ULID_TEXT + 1];
	const Pirn__Answer *a;

	(void)state;
	for (uint32_t slot = 1; slot <= 3; slot++)
		send_one(k, slot, "order.created");
	tiny_run(k->t);
	query.has_limit = true;
	query.limit = 3;
	a = asked_get(k, query);
	assert_int_equal(a->n_invocations, 4);
	assert_memory_equal(a->invocations[3]->id.data, asked_id(2).data, 16);
	base_ulid_print(a->invocations[3]->id.data, cursor);
	query.cursor = cursor;
	a = asked_get(k, query);
	assert_int_equal(a->n_invocations, 2);
	assert_memory_equal(a->invocations[0]->id.data, asked_id(3).data, 16);
	asked_free(k);
}

/* ---- adopted ----------------------------------------------------------------------- */

/* Another broker reads what this one left: one delivery has ended, the other lives on. */
static void test_adopted(void **state)
{
	struct asked *k = orders(10);
	Pirn__Item bill;
	const Pirn__Answer *a;

	(void)state;
	send_one(k, 42, "order.created");
	tiny_turn(k->t);
	tiny_tell(k->t);
	bill = run_of(k, B);
	answer(k, B, bill, 200);
	tiny_run(k->t);
	rig_look(&k->rig, brk_core_gone(k->rig.core, k->rig.now_ms, C));
	tiny_run(k->t);
	brk_ledger_forget(k->rig.core, PIRN__REASON__NONE);
	assert_int_equal(k->rig.core->deliveries.n_used, 0);
	k->t->left[1] = true;
	rig_free(&k->rig);
	{
		struct brk_conf conf = tiny_conf();

		k->rig = rig_new(&conf);
	}
	rig_look(&k->rig, brk_core_durable(k->rig.core, k->rig.now_ms, true, NULL, 0));
	tiny_connect(k->t, true);
	tiny_pass(k->t, 5000);
	rig_client(&k->rig, CLIENT);
	assert_int_equal(rig_figures(&k->rig).adoptions, 1);
	a = look(k, 42);
	assert_int_equal(a->n_invocations, 2);
	assert_int_equal(state_of(a, "bill"), PIRN__INVOCATION_STATE__DONE);
	assert_true(state_of(a, "mail") == PIRN__INVOCATION_STATE__READY ||
		    state_of(a, "mail") == PIRN__INVOCATION_STATE__WAITING);
	asked_free(k);
}

/* ---- who subscribes ----------------------------------------------------------------- */

static void test_a_new_manifest(void **state)
{
	struct asked *k = orders(0);

	(void)state;
	subscribe(k, 11, "mail", "user.*", 0);
	send_one(k, 1, "order.created");
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_ready, 1);
	send_one(k, 2, "user.created");
	tiny_run(k->t);
	assert_int_equal(rig_figures(&k->rig).events_ready, 2);
	assert_int_equal(rig_figures(&k->rig).events_unrouted, 0);
	asked_free(k);
}

static void test_bad_manifests(void **state)
{
	static const char *many[BRK_SUBSCRIPTIONS_MAX + 2];
	struct asked *k = asked_new(NULL, 0);
	char text[BRK_PATTERN_MAX + 2];
	const char *bad[] = { "", text, "a\nb", "\xff", "\x7f" };

	(void)state;
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = '\0';
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		const struct brk_action *a;

		subscribe(k, B, "bad", bad[i], 0);
		a = rig_one(&k->rig, PIRN__KIND__WELCOME);
		assert_non_null(((const Pirn__Welcome *)a->control)->refused);
	}
	for (size_t i = 0; i <= BRK_SUBSCRIPTIONS_MAX; i++)
		many[i] = "a";
	announce(k, B, "bad", many, 0);
	assert_non_null(
		((const Pirn__Welcome *)rig_one(&k->rig, PIRN__KIND__WELCOME)->control)->refused);
	many[BRK_SUBSCRIPTIONS_MAX] = NULL;
	announce(k, B, "good", many, 0);
	assert_null(
		((const Pirn__Welcome *)rig_one(&k->rig, PIRN__KIND__WELCOME)->control)->refused);
	asked_free(k);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_its_own),
		cmocka_unit_test(test_source_and_subject),
		cmocka_unit_test(test_nobody),
		cmocka_unit_test(test_not_durable),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_together),
		cmocka_unit_test(test_none_of_them),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_too_many_deliveries),
		cmocka_unit_test(test_a_full_entry),
		cmocka_unit_test(test_together_again),
		cmocka_unit_test(test_together_without_room),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_lost_reply),
		cmocka_unit_test(test_timers_do_not_fan_out),
		cmocka_unit_test(test_beside_timers),
		cmocka_unit_test(test_each_is_told),
		cmocka_unit_test(test_waits_for_all),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_cancelled_while_the_index_grows),
		cmocka_unit_test(test_pages_are_whole),
		cmocka_unit_test(test_adopted),
		cmocka_unit_test(test_a_new_manifest),
		cmocka_unit_test(test_bad_manifests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
