/* What the tests of the delivery protocol share: one server, one connection, each call
 * made and waited for, its answer copied; entries made of numbered deliveries; and a
 * digest of everything that is in Redis. */
#ifndef TESTS_UNIT_JOURNAL_FIXTURE_H
#define TESTS_UNIT_JOURNAL_FIXTURE_H

#include "tests/unit/store_fixture.h"

#include "store/journal.h"
#include "store/ops.h"

#define MAX_LIST 64

static struct harness_redis *server;
static struct fixture f;
static struct store_bounds bounds;

static const struct store_bounds ample = { .dedupe_max = 1 << 20, .dedupe_ms = 86400000,
	.results_max = 1 << 20, .result_ttl_ms = 3600000 };

static inline int server_start(void **state)
{
	(void)state;
	server = harness_redis_start(false, NULL);
	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = harness_redis_url(server),
				    .library = store_functions_lua });
	WAIT_FOR(&f, f.ups == 1);
	return 0;
}

static inline int server_stop(void **state)
{
	(void)state;
	fixture_fini(&f);
	harness_redis_stop(&server);
	return 0;
}

static inline int flush(void **state)
{
	(void)state;
	bounds = ample;
	free(harness_redis_command(server, "FLUSHALL"));
	return 0;
}

#define REDIS(expected, ...) assert_true(harness_redis_says(server, expected, __VA_ARGS__))

/* ---- everything in Redis as one number: keys, values, expiries */

static inline struct answer digest(void)
{
	static const char script[] =
		"local keys = redis.call('KEYS', '*') table.sort(keys) local all = {} "
		"for _, k in ipairs(keys) do all[#all+1] = k .. redis.call('DUMP', k) .. "
		"redis.call('PEXPIRETIME', k) end return redis.sha1hex(table.concat(all))";
	struct answer a = { 0 };
	assert_int_equal(
		COMMAND(&f, &a, STORE_ARG("EVAL"), STORE_ARG(script), STORE_ARG("0")), BASE_OK);
	WAIT_FOR(&f, a.came);
	assert_int_equal(a.type, STORE_STR);
	return a;
}

/* The statement leaves everything in Redis as it is. */
#define CHANGES_NOTHING(statement) \
	do { \
		struct answer before = digest(); \
		statement; \
		struct answer after = digest(); \
		assert_string_equal(before.text, after.text); \
	} while (0)

/* ---- answers, copied */

struct got {
	bool came;
	enum store_code code;
	uint64_t number, now_ms, n;
	uint32_t epoch, journal;
	bool entry, replayed;
	uint32_t journals[MAX_LIST];
	uint64_t beats[MAX_LIST];
	size_t n_journals, n_owners, n_owned;
	struct store_owned owned[MAX_LIST];
	uint32_t owners[MAX_LIST];
	struct {
		size_t item;
		enum store_why why;
		char id[17];
		uint64_t last_ms;
	} duplicates[MAX_LIST];
	size_t n_list;
	struct {
		size_t size;
		char bytes[128];
	} list[MAX_LIST];
	enum base_err err;
	int64_t value_number;
	char value[64], record[64];
	size_t record_size, value_size;
	enum store_claim_kind kind;
	char id[17];
	uint32_t run;
};

static inline void got_says(struct got *g, const struct store_says *says)
{
	assert_false(g->came);
	g->came = true;
	g->code = says->code;
	g->number = says->number;
	if (says->code == STORE_BROKEN)
		fprintf(stderr, "broken: %s\n", says->why);
}

static inline void on_opened(void *arg, const struct store_opened *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->now_ms = reply->now_ms;
	g->epoch = reply->epoch;
	g->journal = reply->journal;
	g->n_journals = reply->n_adopted;
	for (size_t i = 0; i < reply->n_adopted; i++)
		g->journals[i] = reply->adopted[i];
}

static inline void on_beat(void *arg, const struct store_beat *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->now_ms = reply->now_ms;
	g->n_owners = reply->n_owners;
	g->n_owned = reply->n_journals;
	for (size_t i = 0; i < reply->n_owners; i++) {
		g->owners[i] = reply->owners[i].epoch;
		g->beats[i] = reply->owners[i].beat;
	}
	for (size_t i = 0; i < reply->n_journals; i++)
		g->owned[i] = reply->journals[i];
}

static inline void on_adopted(void *arg, const struct store_adopted *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->n_journals = reply->n;
	for (size_t i = 0; i < reply->n; i++)
		g->journals[i] = reply->journals[i];
}

static inline void on_count(void *arg, const struct store_count *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->n = reply->n;
}

static inline void on_stored(void *arg, const struct store_stored *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->now_ms = reply->now_ms;
	g->entry = reply->entry;
	g->n = reply->n;
	for (size_t i = 0; i < reply->n && i < MAX_LIST; i++) {
		g->duplicates[i].item = reply->duplicates[i].item;
		g->duplicates[i].why = reply->duplicates[i].why;
		g->duplicates[i].last_ms = reply->duplicates[i].last_ms;
		snprintf(g->duplicates[i].id, sizeof g->duplicates[i].id, "%.*s",
			(int)reply->duplicates[i].id.size,
			(const char *)reply->duplicates[i].id.data);
	}
}

static inline void on_settled(void *arg, const struct store_settled *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->now_ms = reply->now_ms;
}

static inline void on_list(void *arg, const struct store_list *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->n_list = reply->n;
	for (size_t i = 0; i < reply->n && i < MAX_LIST; i++) {
		g->list[i].size = reply->items[i].size;
		memcpy(g->list[i].bytes, reply->items[i].data,
			reply->items[i].size < 128 ? reply->items[i].size : 128);
	}
}

static inline void on_run(void *arg, const struct store_run_result *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->replayed = reply->replayed;
	g->err = reply->err;
	g->value_number = reply->number;
	g->value_size = reply->pairs.data ? reply->pairs.size : reply->value.size;
	g->record_size = reply->record.size;
	if (reply->value.data && reply->value.size < sizeof g->value)
		memcpy(g->value, reply->value.data, reply->value.size);
	if (reply->record.data && reply->record.size < sizeof g->record)
		memcpy(g->record, reply->record.data, reply->record.size);
}

static inline void on_claimed(void *arg, const struct store_claimed *reply)
{
	struct got *g = arg;
	got_says(g, &reply->says);
	g->kind = reply->kind;
	g->run = reply->run;
	if (reply->id.size == 16)
		memcpy(g->id, reply->id.data, 16);
	if (reply->response.data && reply->response.size < sizeof g->value)
		memcpy(g->value, reply->response.data, reply->response.size);
}

/* Makes a call with its last argument &g, and waits: got g = CALL(store_journal_beat, epoch, on_beat). */
#define CALL(function, ...) \
	__extension__({ \
		struct got got_ = { 0 }; \
		assert_int_equal(function(f.redis, __VA_ARGS__, &got_), BASE_OK); \
		WAIT_FOR(&f, got_.came); \
		got_; \
	})

static inline struct got open_epoch(uint32_t old)
{
	return CALL(store_journal_open, old, on_opened);
}

static inline struct got beat(uint32_t epoch)
{
	return CALL(store_journal_beat, epoch, on_beat);
}

static inline struct got adopt(uint32_t epoch, uint32_t victim, uint64_t seen)
{
	return CALL(store_journal_adopt, epoch, victim, seen, on_adopted);
}

/* ---- entries of numbered events, each with a payload of ten bytes */

#define MAX_EVENTS 32

struct batch {
	Pirn__JournalEntry head;
	Pirn__JournalEvent events[MAX_EVENTS], *event_list[MAX_EVENTS];
	Pirn__JournalDelivery deliveries[MAX_EVENTS][4], *delivery_lists[MAX_EVENTS][4];
	uint8_t ids[MAX_EVENTS][17];
	struct base_buf packed, body;
	struct store_item items[MAX_EVENTS];
	size_t n;
};

static const char *const services[] = { "echo", "mail", "count", "log" };

static inline void batch_init(struct batch *b)
{
	*b = (struct batch){ .head = PIRN__JOURNAL_ENTRY__INIT };
	base_buf_init(&b->packed);
	base_buf_init(&b->body);
}

static inline void batch_fini(struct batch *b)
{
	base_buf_fini(&b->packed);
	base_buf_fini(&b->body);
}

static inline void id_of(uint64_t number, uint8_t out[17])
{
	snprintf((char *)out, 17, "event%011llu", (unsigned long long)number % 100000000000);
}

/* Event `number` for the first n services, from lane 7 under the same number; more guards are for
 * the caller to set in the item it returns. n 0: no event, a timer's skipped slot. */
static inline struct store_item *batch_add(struct batch *b, uint64_t number, uint32_t n)
{
	size_t i = b->n++;
	Pirn__JournalEvent *e = &b->events[i];
	assert_true(i < MAX_EVENTS && n <= 4);
	pirn__journal_event__init(e);
	id_of(number, b->ids[i]);
	e->has_id = e->has_data_size = true;
	e->id = (ProtobufCBinaryData){ 16, b->ids[i] };
	e->data_size = 10;
	for (uint32_t j = 0; j < n; j++) {
		pirn__journal_delivery__init(&b->deliveries[i][j]);
		b->deliveries[i][j].service = (char *)services[j];
		b->delivery_lists[i][j] = &b->deliveries[i][j];
	}
	e->deliveries = b->delivery_lists[i];
	e->n_deliveries = n;
	b->items[i] = (struct store_item){ .n_deliveries = n, .has_lane = true, .lane = 7,
		.number = number, .id = { b->ids[i], n > 0 ? 16 : 0 } };
	b->head.events = b->event_list;
	if (n == 0) /* a timer's skipped slot */
		return &b->items[i];
	base_buf_fmt(&b->body, "%010llu", (unsigned long long)number % 10000000000);
	b->event_list[b->head.n_events++] = e;
	return &b->items[i];
}

static inline struct store_turn batch_turn(
	struct batch *b, uint32_t epoch, uint32_t journal, uint64_t turn)
{
	size_t n;
	if (b->head.n_events == 0)
		return (struct store_turn){ .epoch = epoch, .journal = journal, .turn = turn };
	base_buf_reset(&b->packed);
	assert_int_equal(store_entry_check(&b->head, b->body.size, &n), BASE_OK);
	assert_int_equal(store_entry_pack(&b->head, &b->packed), BASE_OK);
	return (struct store_turn){ epoch, journal, turn, { b->packed.data, b->packed.size },
		{ b->body.data, b->body.size } };
}

static inline struct got store_batch(
	struct batch *b, uint32_t epoch, uint32_t journal, uint64_t turn)
{
	struct store_turn t = batch_turn(b, epoch, journal, turn);
	return CALL(store_journal_store, &t, b->items, b->n, &bounds, on_stored);
}

/* Stores events first … first + n - 1, each for one service. */
static inline struct got store_events(
	uint32_t epoch, uint32_t journal, uint64_t turn, uint64_t first, size_t n)
{
	struct batch b;
	batch_init(&b);
	for (size_t i = 0; i < n; i++)
		batch_add(&b, first + i, 1);
	struct got g = store_batch(&b, epoch, journal, turn);
	batch_fini(&b);
	return g;
}

/* ---- ends */

static inline const uint8_t *id_text(uint64_t number)
{
	static uint8_t ring[64][17];
	static unsigned at;
	uint8_t *out = ring[at++ % 64];
	id_of(number, out);
	return out;
}

static inline struct store_end ended(uint32_t bit, uint64_t number)
{
	return (struct store_end){ .bit = bit, .how = STORE_ENDED, .only_run = true, .attempt = 1,
		.id = id_text(number), .service = "echo" };
}

/* One call that settles ends of one entry, and moves nothing. */
static inline struct got settle(uint32_t epoch, uint32_t journal, uint64_t turn,
	const struct store_ends *entries, size_t n)
{
	struct store_turn t = { .epoch = epoch, .journal = journal, .turn = turn };
	return CALL(store_journal_settle, &t, false, entries, n, &bounds, on_settled);
}

#define ENDS(j, e, t, deliveries, ...) \
	(&(struct store_ends){ .journal = (j), .epoch = (e), .turn = (t), \
		.n_deliveries = (deliveries), .ends = (struct store_end[]){ __VA_ARGS__ }, \
		.n = sizeof((struct store_end[]){ __VA_ARGS__ }) / sizeof(struct store_end) })

#endif
