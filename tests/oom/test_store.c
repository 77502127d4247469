/* The store without memory: entries, and the journal's words to a real Redis and back. What is told of a
 * command is true afterwards: what was refused did not happen, what is DONE did, and what an answer says is
 * what Redis says to one who has memory. Only what is LOST or BROKEN may be either.
 */
#include "tests/oom/oom.h"

#include "net/loop.h"

static bool armed;

#define uv_run(...) (armed ? OOM_GET(uv_run(__VA_ARGS__)) : uv_run(__VA_ARGS__))

#include "tests/unit/journal_fixture.h"

#define EVENTS 8

#define ARMED(...) \
	do { \
		armed = true; \
		__VA_ARGS__; \
		armed = false; \
	} while (0)

/* ---- entries ----------------------------------------------------------------------------- */

static void entry_path(void)
{
	struct base_arena arena;
	struct base_buf packed;
	Pirn__JournalEntry *back;
	struct batch b;
	size_t n = 0;
	enum base_err err;

	batch_init(&b);
	for (uint64_t i = 0; i < 20; i++)
		batch_add(&b, i, 1 + (uint32_t)i % 4);
	base_buf_init(&packed);
	base_arena_init(&arena, 64, 1u << 20);
	err = OOM_GET(store_entry_pack(&b.head, &packed));
	assert_true(err == BASE_OK || err == BASE_NOMEM);
	if (err) {
		base_buf_reset(&packed);
		assert_int_equal(store_entry_pack(&b.head, &packed), BASE_OK);
	}
	err = OOM_GET(store_entry_unpack(&arena, packed.data, packed.size, b.body.size, &back, &n));
	assert_true(err == BASE_OK || arena.starved);
	if (!err) {
		assert_int_equal(back->n_events, 20);
		assert_memory_equal(back->events[19]->id.data, b.ids[19], 16);
		assert_string_equal(back->events[19]->deliveries[3]->service, services[3]);
	}
	base_arena_fini(&arena);
	base_buf_fini(&packed);
	batch_fini(&b);
}

/* ---- a connection -------------------------------------------------------------------------- */

static bool is_up(void)
{
	return f.redis && store_redis_up(f.redis);
}

/* There is a connection again, which has nothing to fall for. */
static void recover(void)
{
	struct answer a;

	do {
		a = (struct answer){ 0 };
		WAIT_FOR(&f, is_up());
		if (COMMAND(&f, &a, STORE_ARG("ECHO"), STORE_ARG("x")) == BASE_OK)
			WAIT_FOR(&f, a.came);
	} while (!a.came || a.type == STORE_UNKNOWN);
}

static void connect_anew(void)
{
	const struct store_redis_conf conf = {
		.url = harness_redis_url(server), .name = "oom", .library = store_functions_lua
	};
	const struct store_redis_events events = { fixture_on_up, fixture_on_down, &f };
	char *why = NULL;
	enum base_err err;

	fixture_init(&f);
	err = OOM_GET(store_redis_new(f.loop, &conf, &events, &f.redis, &why));
	assert_true(err == BASE_OK || err == BASE_NOMEM);
	assert_null(why);
	if (err)
		assert_int_equal(store_redis_new(f.loop, &conf, &events, &f.redis, &why), BASE_OK);
	ARMED(WAIT_FOR(&f, f.ups > 0 || f.downs > 0));
	WAIT_FOR(&f, is_up());
}

static void connection_path(void)
{
	struct answer a = { 0 };
	enum base_err err;

	connect_anew();
	err = OOM_GET(COMMAND(&f, &a, STORE_ARG("ECHO"), STORE_ARG("some words")));
	if (!err) {
		ARMED(WAIT_FOR(&f, a.came));
		assert_true(a.type == STORE_UNKNOWN || a.type == STORE_STR);
		if (a.type == STORE_STR)
			assert_string_equal(a.text, "some words");
	}
	fixture_fini(&f);
}

/* ---- the journal ---------------------------------------------------------------------------- */

/* As CALL, where there may be no memory. */
#define TRY(function, ...) \
	__extension__({ \
		struct got got_ = { 0 }; \
		WAIT_FOR(&f, is_up()); \
		got_.err = OOM_GET(function(f.redis, __VA_ARGS__, &got_)); \
		if (!got_.err) \
			ARMED(WAIT_FOR(&f, got_.came)); \
		recover(); \
		got_; \
	})

static bool happened(const struct got *g)
{
	return !g->err && g->code == STORE_DONE;
}

/* What was refused, at once or by Redis, did not happen. */
static bool may_have(const struct got *g)
{
	if (!g->err)
		assert_true(
			g->code == STORE_DONE || g->code == STORE_LOST || g->code == STORE_BROKEN);
	return !g->err;
}

static struct seen {
	bool came;
	size_t n, n_ended;
	uint8_t heads[1024];
	size_t size;
} pages[2];

static void on_page(void *arg, const struct store_page *reply)
{
	struct seen *s = arg;

	assert_false(s->came);
	s->came = true;
	s->n = SIZE_MAX;
	if (reply->says.code != STORE_DONE)
		return;
	s->n = reply->n;
	for (size_t i = 0; i < reply->n; i++) {
		assert_true(s->size + reply->entries[i].head.size <= sizeof s->heads);
		memcpy(s->heads + s->size, reply->entries[i].head.data,
			reply->entries[i].head.size);
		s->size += reply->entries[i].head.size;
	}
}

static struct seen *read_journal(void)
{
	memset(pages, 0, sizeof pages);
	assert_int_equal(
		store_journal_read(f.redis, 1, 0, 0, 100, 1 << 20, on_page, &pages[0]), BASE_OK);
	WAIT_FOR(&f, pages[0].came);
	if (OOM_GET(store_journal_read(f.redis, 1, 0, 0, 100, 1 << 20, on_page, &pages[1])) ==
		BASE_OK) {
		ARMED(WAIT_FOR(&f, pages[1].came));
		if (pages[1].n != SIZE_MAX) {
			assert_int_equal(pages[1].n, pages[0].n);
			assert_int_equal(pages[1].size, pages[0].size);
			assert_memory_equal(pages[1].heads, pages[0].heads, pages[0].size);
		}
	}
	recover();
	return &pages[0];
}

static bool try_store(void)
{
	struct store_turn turn;
	struct batch b;
	struct got g;
	size_t n;

	batch_init(&b);
	for (uint64_t i = 0; i < EVENTS; i++)
		batch_add(&b, 100 + i, 2);
	turn = batch_turn(&b, 1, 1, 1);
	g = TRY(store_journal_store, &turn, b.items, b.n, &bounds, on_stored);
	n = read_journal()->n;
	assert_true(n == 1 || !happened(&g));
	assert_true(n == 0 || may_have(&g));
	if (happened(&g))
		assert_int_equal(g.n, 0);
	if (n == 0) {
		assert_true(store_batch(&b, 1, 1, 1).entry);
	} else { /* sent again after a doubt it is a duplicate, every part of it */
		turn.turn = 2;
		g = CALL(store_journal_store, &turn, b.items, b.n, &bounds, on_stored);
		assert_int_equal(g.code, STORE_DONE);
		assert_false(g.entry);
		assert_int_equal(g.n, EVENTS);
	}
	batch_fini(&b);
	return n == 1;
}

/* All of them end, with a result or as dead letters. */
static void try_settle(void)
{
	struct store_turn turn = { .epoch = 1, .journal = 1, .turn = 5 };
	struct store_end ends[2 * EVENTS];
	struct store_ends entry = { .journal = 1,
		.epoch = 1,
		.turn = 1,
		.n_deliveries = 2 * EVENTS,
		.ends = ends,
		.n = 2 * EVENTS };
	struct got g;
	size_t n;

	for (uint32_t i = 0; i < 2 * EVENTS; i++)
		ends[i] = (struct store_end){ .bit = i,
			.how = STORE_ENDED,
			.only_run = true,
			.attempt = 1,
			.id = id_text(100 + i / 2),
			.service = services[i % 2] };
	g = TRY(store_journal_settle, &turn, false, &entry, 1, &bounds, on_settled);
	n = read_journal()->n;
	assert_true(n == 0 || !happened(&g));
	assert_true(n == 1 || may_have(&g));
}

static void journal_path(void)
{
	struct got g;

	free(harness_redis_command(server, "FLUSHALL"));
	bounds = ample;
	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = harness_redis_url(server),
				    .library = store_functions_lua });
	WAIT_FOR(&f, is_up());
	assert_int_equal(open_epoch(0).epoch, 1);
	assert_int_equal(open_epoch(0).epoch, 2);
	g = TRY(store_journal_beat, 1, on_beat);
	if (happened(&g)) {
		assert_int_equal(g.n_owners, 2);
		assert_int_equal(g.n_owned, 2);
		assert_int_equal(g.beats[g.owners[0] == 1 ? 0 : 1], 2);
	} else {
		(void)may_have(&g);
	}
	try_store();
	try_settle();
	g = TRY(store_journal_adopt, 1, 2, 1, on_adopted);
	if (happened(&g)) {
		assert_int_equal(g.n_journals, 1);
		assert_int_equal(g.journals[0], 2);
	} else if (!may_have(&g)) {
		assert_int_equal(adopt(1, 2, 1).n_journals, 1);
	}
	g = TRY(store_journal_open, 1, on_opened);
	if (happened(&g))
		assert_int_equal(g.n_journals, 1);
	else if (!may_have(&g))
		assert_int_equal(open_epoch(1).code, STORE_DONE);
	g = TRY(store_journal_dead_list, "echo", "0", 100, on_list);
	if (happened(&g))
		assert_true(g.n_list == 1 && g.list[0].bytes[0] == '0');
	fixture_fini(&f);
}

/* ---- what a run does with its service's state ------------------------------------------------ */

static struct store_op counter(int64_t by)
{
	return (struct store_op){ .kind = STORE_COUNTER_ADD,
		.service = "echo",
		.key = STORE_ARG("visits"),
		.number = by };
}

/* Asked again under its name, it is done once all the same. */
static void record_path(void)
{
	struct store_run run = { .service = "echo",
		.attempt = 1,
		.epoch = 1,
		.lease_end_ms = UINT64_C(1) << 42,
		.keep_until_ms = UINT64_C(1) << 42 };
	struct store_op op = counter(3), all = {
		.kind = STORE_HASH_ALL, .service = "echo", .key = STORE_ARG("table")
	};
	struct got g;
	bool done;

	free(harness_redis_command(server, "FLUSHALL"));
	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = harness_redis_url(server),
				    .library = store_functions_lua });
	WAIT_FOR(&f, is_up());
	assert_int_equal(open_epoch(0).epoch, 1);
	memcpy(run.id, id_text(1), 16);
	g = TRY(store_run_op, &run, STORE_ARG("add 6 visits 1"), NULL, 0, &op, on_run);
	done = happened(&g);
	if (done)
		assert_int_equal(g.value_number, 3);
	g = CALL(store_run_op, &run, STORE_ARG("add 6 visits 1"), NULL, 0, &op, on_run);
	assert_int_equal(g.code, STORE_DONE);
	assert_int_equal(g.value_number, 3);
	assert_true(g.replayed || !done);
	g = TRY(store_run_op, &run, STORE_ARG("hall 5 table1"), NULL, 0, &all, on_run);
	if (happened(&g))
		assert_int_equal(g.value_size, 0);
	fixture_fini(&f);
}

/* ------------------------------------------------------------------------------------------- */

static int begin(void **state)
{
	(void)state;
	server = harness_redis_start(false, NULL);
	return 0;
}

static int end(void **state)
{
	(void)state;
	harness_redis_stop(&server);
	return 0;
}

#define SWEEP(name, path, flags) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, flags); \
	}

SWEEP("store: an entry", entry_path, 0)
SWEEP("store: a connection", connection_path, OOM_MAY_ABORT | OOM_LOSES | OOM_FEW)
SWEEP("store: a journal", journal_path, OOM_MAY_ABORT | OOM_LOSES | OOM_FEW)
SWEEP("store: a run's operations", record_path, OOM_MAY_ABORT | OOM_LOSES | OOM_FEW)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry_path),
		cmocka_unit_test(test_connection_path),
		cmocka_unit_test(test_journal_path),
		cmocka_unit_test(test_record_path),
	};

	return cmocka_run_group_tests_name("store, out of memory", tests, begin, end);
}
