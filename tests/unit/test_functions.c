/* The Functions when things break: lost replies, kill -9, flushes of the data and of
 * the library. What was answered stays, and saying it again adds nothing. */
#include "tests/unit/journal_fixture.h"

#define STORES 40

/* On a connection of its own that ends before the answer is read: Redis executes it all the same. */
static void unheard(void (*send)(struct store_redis *r))
{
	struct fixture own;
	fixture_init(&own);
	fixture_connect(&own, &(struct store_redis_conf){ .url = harness_redis_url(server),
				      .library = store_functions_lua });
	WAIT_FOR(&own, own.ups == 1);
	harness_redis_pause(server);
	send(own.redis);
	for (int i = 0; i < 10; i++)
		uv_run(net_loop_uv(own.loop), UV_RUN_NOWAIT);
	fixture_fini(&own);
	harness_redis_resume(server);
}

static void settled_lost(void *arg, const struct store_settled *reply)
{
	(void)arg;
	assert_int_equal(reply->says.code, STORE_LOST);
}

static void stored_lost(void *arg, const struct store_stored *reply)
{
	(void)arg;
	assert_int_equal(reply->says.code, STORE_LOST);
}

static void send_store(struct store_redis *r)
{
	struct batch b;
	batch_init(&b);
	for (uint64_t i = 0; i < 5; i++)
		batch_add(&b, 10 + i, 1);
	struct store_turn t = batch_turn(&b, 1, 1, 1);
	assert_int_equal(
		store_journal_store(r, &t, b.items, b.n, &bounds, stored_lost, NULL), BASE_OK);
	batch_fini(&b);
}

static const struct store_ends *two_ends(void)
{
	static struct store_end ends[2];
	static struct store_ends entry = {
		.journal = 1, .epoch = 1, .turn = 1, .n_deliveries = 5, .ends = ends, .n = 2
	};
	ends[0] = ended(0, 10);
	ends[1] = ended(3, 13);
	ends[1].result = STORE_ARG("result");
	return &entry;
}

static void send_settle(struct store_redis *r)
{
	struct store_turn t = { .epoch = 1, .journal = 1, .turn = 2 };
	assert_int_equal(store_journal_settle(
				 r, &t, false, two_ends(), 1, &bounds, settled_lost, NULL),
		BASE_OK);
}

static bool redis_is(const char *expected, const char *command)
{
	char *reply = harness_redis_command(server, "%s", command);
	bool same = strcmp(reply, expected) == 0;
	free(reply);
	return same;
}

static void a_lost_reply(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	unheard(send_store);
	while (!redis_is("1", "XLEN pirn:{0}:journal:1"))
		;
	CHANGES_NOTHING(g = store_events(1, 1, 1, 10, 5));
	assert_int_equal(g.n, 5);
	unheard(send_settle);
	while (redis_is("", "HGET pirn:{0}:done:1 1-1"))
		;
	CHANGES_NOTHING(g = settle(1, 1, 2, two_ends(), 1));
	assert_int_equal(g.code, STORE_SETTLED);
	CHANGES_NOTHING(g = settle(1, 1, 3, two_ends(), 1));
	assert_int_equal(g.code, STORE_SETTLED);
}

/* ---- kill -9 while many are under way */

struct sent {
	bool came;
	enum store_code code;
};

static void on_sent(void *arg, const struct store_stored *reply)
{
	struct sent *s = arg;
	assert_false(s->came);
	s->came = true;
	s->code = reply->says.code;
}

static bool all_came(const struct sent *sent)
{
	size_t n = 0;
	while (n < STORES && sent[n].came)
		n++;
	return n == STORES;
}

static void start_store(uint64_t turn, uint64_t first, struct sent *sent)
{
	struct batch b;
	batch_init(&b);
	for (uint64_t i = 0; i < 3; i++)
		batch_add(&b, first + i, 1);
	struct store_turn t = batch_turn(&b, 1, 1, turn);
	assert_int_equal(
		store_journal_store(f.redis, &t, b.items, b.n, &bounds, on_sent, sent), BASE_OK);
	batch_fini(&b);
}

static void on_entries(void *arg, const struct store_page *page)
{
	struct got *g = arg;
	got_says(g, &page->says);
	g->n = page->n;
	for (size_t i = 0; i < page->n; i++) {
		if (page->entries[i].turn < MAX_LIST)
			g->beats[page->entries[i].turn]++;
	}
}

/* Kills in the midst, with the first `after` answers heard. */
static void kill_after(size_t after)
{
	struct sent sent[STORES] = { 0 };
	flush(NULL);
	open_epoch(0);
	for (size_t i = 0; i < STORES; i++)
		start_store(1 + i, 10 * i, &sent[i]);
	WAIT_FOR(&f, after == 0 || sent[after - 1].came);
	unsigned downs = f.downs;
	harness_redis_kill(server);
	WAIT_FOR(&f, f.downs > downs && all_came(sent));
	harness_redis_restart(server);
	WAIT_FOR(&f, store_redis_up(f.redis));
	struct got g = CALL(store_journal_read, 1, 0, 0, 1000, 1 << 20, on_entries);
	for (size_t i = 0; i < STORES; i++) {
		if (sent[i].code == STORE_DONE)
			assert_int_equal(g.beats[1 + i], 1);
		else
			assert_int_equal(sent[i].code, STORE_LOST);
	}
	/* Under the new epoch all of it again: each event is there once in the end. */
	struct got opened = open_epoch(1);
	assert_int_equal(opened.journal, 1);
	size_t again = 0;
	for (size_t i = 0; i < STORES; i++) {
		struct got s = store_events(opened.epoch, 1, 1 + i, 10 * i, 3);
		assert_int_equal(s.n, g.beats[1 + i] ? 3 : 0);
		again += s.entry;
	}
	assert_int_equal(again + g.n, STORES);
	assert_int_equal(store_events(1, 1, 99, 5000, 1).code, STORE_FENCED);
}

static void kill_9(void **state)
{
	(void)state;
	kill_after(0);
	kill_after(1);
	kill_after(STORES / 2);
	kill_after(STORES);
}

/* ---- flushes */

static void data_lost(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	store_events(1, 1, 1, 10, 1);
	free(harness_redis_command(server, "FLUSHALL"));
	CHANGES_NOTHING(g = store_events(1, 1, 2, 20, 1)); /* the library is still there */
	assert_int_equal(g.code, STORE_FENCED);
	assert_int_equal(g.number, 0);
	assert_int_equal(open_epoch(0).epoch, 1);
}

static void library_lost(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	free(harness_redis_command(server, "SCRIPT FLUSH"));
	assert_int_equal(beat(1).code, STORE_DONE);
	free(harness_redis_command(server, "FUNCTION FLUSH"));
	CHANGES_NOTHING(g = store_events(1, 1, 1, 10, 1));
	assert_int_equal(g.code, STORE_AWAY);
	g = store_events(1, 1, 1, 10, 1); /* loaded again meanwhile */
	assert_int_equal(g.code, STORE_DONE);
	assert_true(g.entry);
}

static void not_reachable(void **state)
{
	(void)state;
	struct got g = { 0 };
	harness_redis_pause(server);
	assert_int_equal(store_journal_beat(f.redis, 1, on_beat, &g), BASE_OK);
	harness_redis_kill(server);
	WAIT_FOR(&f, g.came);
	assert_int_equal(g.code, STORE_LOST);
	assert_int_equal(store_journal_beat(f.redis, 1, on_beat, &g), BASE_UNAVAILABLE);
	harness_redis_restart(server);
	WAIT_FOR(&f, store_redis_up(f.redis));
}

/* A thousand events in one call, the most there may be. */
static void a_whole_turn(void **state)
{
	(void)state;
	static struct store_item items[STORE_ENTRY_DELIVERIES];
	static struct store_end ends[STORE_ENTRY_DELIVERIES];
	struct got g;
	open_epoch(0);
	for (size_t i = 0; i < STORE_ENTRY_DELIVERIES; i++) {
		items[i] = (struct store_item){
			.n_deliveries = 1, .has_lane = true, .lane = i % 3, .number = i };
		ends[i] = ended((uint32_t)i, i);
	}
	struct store_turn t = { 1, 1, 1, STORE_ARG("head"), STORE_ARG("body") };
	g = CALL(store_journal_store, &t, items, STORE_ENTRY_DELIVERIES, &bounds, on_stored);
	assert_int_equal(g.code, STORE_DONE);
	assert_int_equal(g.n, 0);
	g = CALL(store_journal_store, &t, items, STORE_ENTRY_DELIVERIES, &bounds, on_stored);
	assert_int_equal(g.n, STORE_ENTRY_DELIVERIES);
	assert_false(g.entry);
	struct store_ends entry = { .journal = 1, .epoch = 1, .turn = 1,
		.n_deliveries = STORE_ENTRY_DELIVERIES, .ends = ends, .n = STORE_ENTRY_DELIVERIES - 1 };
	assert_int_equal(settle(1, 1, 2, &entry, 1).code, STORE_DONE);
	assert_true(redis_is("1", "XLEN pirn:{0}:journal:1"));
	entry.ends = &ends[STORE_ENTRY_DELIVERIES - 1];
	entry.n = 1;
	assert_int_equal(settle(1, 1, 3, &entry, 1).code, STORE_DONE);
	assert_true(redis_is("0", "XLEN pirn:{0}:journal:1"));
	assert_true(redis_is("0", "EXISTS pirn:{0}:done:1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_lost_reply, flush),
		cmocka_unit_test_setup(kill_9, flush),
		cmocka_unit_test_setup(data_lost, flush),
		cmocka_unit_test_setup(library_lost, flush),
		cmocka_unit_test_setup(not_reachable, flush),
		cmocka_unit_test_setup(a_whole_turn, flush),
	};
	return cmocka_run_group_tests(tests, server_start, server_stop);
}
