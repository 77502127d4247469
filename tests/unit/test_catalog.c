/* broker/catalog.c against a real redis-server: two brokers' catalogs in one loop. */
#include "tests/unit/store_fixture.h"

#include "broker/catalog.h"
#include "store/keys.h"

#define MAX_SEEN 64

/* One broker's half: its connection, its catalog, and what it was told. */
struct broker {
	struct store_redis *redis;
	struct brk_catalog *catalog;
	unsigned ups;
	size_t n_told;
	char told[MAX_SEEN][64];
	uint64_t told_ms[MAX_SEEN], told_first[MAX_SEEN];
	Pirn__BreakerNote note; /* what it was told last of a breaker */
};

static struct harness_redis *server;
static struct fixture f;
static struct broker a, b;

static void on_entry(void *arg, const Pirn__Entry *entry)
{
	struct broker *broker = arg;
	assert_true(broker->n_told < MAX_SEEN);
	snprintf(broker->told[broker->n_told], sizeof broker->told[0], "%s", entry->manifest->service);
	broker->told_first[broker->n_told] = entry->first_ms;
	if (entry->breaker)
		broker->note = *entry->breaker;
	broker->told_ms[broker->n_told++] = entry->announced_ms;
}

static void on_up(void *arg)
{
	struct broker *broker = arg;
	broker->ups++;
	brk_catalog_up(broker->catalog, broker->redis);
}

static void on_down(void *arg, const char *why)
{
	(void)why;
	brk_catalog_down(((struct broker *)arg)->catalog);
}

static void open_broker(struct broker *broker)
{
	const struct brk_catalog_conf conf = { .max_services = 8, .poll_ms = 10 };
	const struct store_redis_events events = { on_up, on_down, broker };
	char *why = NULL;
	*broker = (struct broker){ 0 };
	assert_int_equal(brk_catalog_new(f.loop, &conf, on_entry, broker, &broker->catalog), BASE_OK);
	assert_int_equal(store_redis_new(f.loop,
				 &(struct store_redis_conf){ .url = harness_redis_url(server), .library = store_functions_lua },
				 &events, &broker->redis, &why), BASE_OK);
	WAIT_FOR(&f, broker->ups == 1);
}

static void close_broker(struct broker *broker)
{
	store_redis_free(&broker->redis);
	brk_catalog_free(&broker->catalog);
}

static int start(void **state)
{
	(void)state;
	server = harness_redis_start(false, NULL);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	harness_redis_stop(&server);
	return 0;
}

static int open_both(void **state)
{
	(void)state;
	free(harness_redis_command(server, "FLUSHALL"));
	fixture_init(&f);
	open_broker(&a);
	open_broker(&b);
	return 0;
}

static int close_both(void **state)
{
	(void)state;
	close_broker(&a);
	close_broker(&b);
	fixture_fini(&f);
	return 0;
}

static void keep_noted(struct broker *broker, const char *service, uint64_t first_ms,
	uint64_t announced_ms, Pirn__BreakerNote *note)
{
	char name[64];
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Entry entry = PIRN__ENTRY__INIT;
	snprintf(name, sizeof name, "%s", service);
	manifest.service = name;
	entry.manifest = &manifest;
	entry.has_first_ms = entry.has_announced_ms = entry.has_workers = true;
	entry.first_ms = first_ms;
	entry.announced_ms = announced_ms;
	entry.workers = 3;
	entry.breaker = note;
	assert_int_equal(brk_catalog_keep(broker->catalog, &entry), BASE_OK);
}

static void keep(struct broker *broker, const char *service, uint64_t first_ms, uint64_t announced_ms)
{
	keep_noted(broker, service, first_ms, announced_ms, NULL);
}

/* 0: it says nothing of that. */
static Pirn__BreakerNote note_of(uint32_t force, uint64_t force_ms, uint64_t opened_ms)
{
	Pirn__BreakerNote note = PIRN__BREAKER_NOTE__INIT;
	note.has_force = note.has_force_ms = force_ms > 0;
	note.force = force;
	note.force_ms = force_ms;
	note.has_opened_ms = note.has_open_ms = note.has_openings = opened_ms > 0;
	note.opened_ms = opened_ms;
	note.open_ms = opened_ms > 0 ? 5000 : 0;
	note.openings = opened_ms > 0 ? 2 : 0;
	return note;
}

#define SAVED(broker) (brk_catalog_unsaved((broker)->catalog) == 0)

/* The announcement that Redis holds for the service; 0: none. */
static uint64_t stored_ms(const char *service)
{
	uint64_t ms = 0;
	char *text = harness_redis_command(server, "HEXISTS %s %s", STORE_KEY_REGISTRY, service);
	bool there = strcmp(text, "1") == 0;
	free(text);
	if (!there)
		return 0;
	/* A third catalog reads it for us: what it is told is what stands there. */
	struct broker reader;
	open_broker(&reader);
	WAIT_FOR(&f, reader.n_told > 0);
	for (size_t i = 0; i < reader.n_told; i++) {
		if (strcmp(reader.told[i], service) == 0)
			ms = reader.told_ms[i];
	}
	close_broker(&reader);
	return ms;
}

static void what_one_keeps_the_other_learns(void **state)
{
	(void)state;
	keep(&a, "hello", 5, 10);
	assert_int_equal(brk_catalog_unsaved(a.catalog), 1);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	assert_string_equal(b.told[0], "hello");
	assert_int_equal(b.told_ms[0], 10);
	assert_int_equal(b.told_first[0], 5);
	assert_int_equal(a.n_told, 0); /* its own */
	assert_true(harness_redis_says(server, "1", "GET %s", STORE_KEY_REGISTRY_VERSION));
}

static void a_restart_remembers(void **state)
{
	(void)state;
	keep(&a, "hello", 5, 10);
	keep(&a, "echo", 5, 11);
	WAIT_FOR(&f, SAVED(&a));
	close_broker(&a);
	open_broker(&a);
	WAIT_FOR(&f, a.n_told == 2);
	assert_true(SAVED(&a));
}

static void the_last_announcement_counts(void **state)
{
	(void)state;
	keep(&a, "hello", 5, 20);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	keep(&b, "hello", 5, 15); /* late: a's is newer, and a puts it back */
	WAIT_FOR(&f, SAVED(&b) && b.n_told == 2);
	assert_int_equal(b.told_ms[1], 20);
	assert_int_equal(stored_ms("hello"), 20);
	keep(&b, "hello", 5, 30);
	WAIT_FOR(&f, SAVED(&b) && a.n_told == 1);
	assert_int_equal(a.told_ms[0], 30);
	assert_int_equal(stored_ms("hello"), 30);
}

static void the_first_sight_that_is_older_counts(void **state)
{
	(void)state;
	keep(&a, "hello", 5, 10);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	keep(&b, "hello", 9, 20);
	WAIT_FOR(&f, SAVED(&b) && a.n_told == 1 && b.n_told == 2 && SAVED(&a));
	assert_int_equal(b.told_first[1], 5); /* a wrote the two together */
	assert_int_equal(b.told_ms[1], 20);
}

static void what_is_dropped_stays_away(void **state)
{
	(void)state;
	keep(&a, "old", 5, 10);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	brk_catalog_drop(a.catalog, "old");
	brk_catalog_drop(a.catalog, "never-known");
	WAIT_FOR(&f, SAVED(&a));
	keep(&a, "new", 5, 11);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 2); /* so b has read the hash without the old one */
	assert_true(SAVED(&b));
	assert_true(harness_redis_says(server, "new", "HKEYS %s", STORE_KEY_REGISTRY));
}

static void without_redis_it_is_kept_and_written_later(void **state)
{
	(void)state;
	harness_redis_kill(server);
	keep(&a, "hello", 5, 10);
	WAIT_FOR(&f, !store_redis_up(a.redis) && !store_redis_up(b.redis));
	keep(&a, "echo", 5, 10);
	keep(&a, "gone", 5, 10);
	brk_catalog_drop(a.catalog, "gone");
	assert_false(SAVED(&a));
	harness_redis_restart(server);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 2);
	assert_true(harness_redis_says(server, "2", "HLEN %s", STORE_KEY_REGISTRY));
}

static void lost_data_is_written_again(void **state)
{
	(void)state;
	keep(&a, "hello", 5, 10);
	keep(&a, "echo", 5, 10);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 2);
	free(harness_redis_command(server, "FLUSHALL"));
	char *length = NULL;
	do {
		free(length);
		uv_run(net_loop_uv(f.loop), UV_RUN_ONCE);
		length = harness_redis_command(server, "HLEN %s", STORE_KEY_REGISTRY);
	} while (strcmp(length, "2") != 0);
	free(length);
}

static void garbage_is_written_over_or_left_alone(void **state)
{
	(void)state;
	keep(&a, "hello", 5, 10);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	free(harness_redis_command(server, "HSET %s hello garbage strange garbage", STORE_KEY_REGISTRY));
	free(harness_redis_command(server, "HSET %s hello2 x", STORE_KEY_REGISTRY));
	free(harness_redis_command(server, "INCR %s", STORE_KEY_REGISTRY_VERSION));
	char *value = NULL;
	do {
		free(value);
		uv_run(net_loop_uv(f.loop), UV_RUN_ONCE);
		value = harness_redis_command(server, "HGET %s hello", STORE_KEY_REGISTRY);
	} while (strcmp(value, "garbage") == 0);
	free(value);
	assert_true(harness_redis_says(server, "garbage", "HGET %s strange", STORE_KEY_REGISTRY));
	assert_int_equal(a.n_told, 0);
	assert_int_equal(b.n_told, 1);
}

static void an_entry_under_another_name_is_garbage(void **state)
{
	(void)state;
	keep(&a, "hello", 5, 10);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	free(harness_redis_command(server, "EVAL redis.call('HSET',KEYS[1],'other',redis.call('HGET',KEYS[1],'hello')) 1 %s",
		STORE_KEY_REGISTRY));
	free(harness_redis_command(server, "INCR %s", STORE_KEY_REGISTRY_VERSION));
	keep(&a, "last", 5, 11);
	WAIT_FOR(&f, b.n_told == 2);
	assert_string_equal(b.told[1], "last");
}

static void it_is_bounded(void **state)
{
	(void)state;
	char name[16];
	Pirn__Manifest manifest = PIRN__MANIFEST__INIT;
	Pirn__Entry entry = PIRN__ENTRY__INIT;
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof name, "s%d", i);
		keep(&a, name, 1, 1);
	}
	manifest.service = name;
	entry.manifest = &manifest;
	snprintf(name, sizeof name, "one-more");
	assert_int_equal(brk_catalog_keep(a.catalog, &entry), BASE_FULL);
	WAIT_FOR(&f, SAVED(&a));
}

/* ---- what is said of breakers */

static bool says(const Pirn__BreakerNote *note, uint32_t force, uint64_t force_ms, uint64_t opened_ms)
{
	return note->force == force && note->force_ms == force_ms && note->opened_ms == opened_ms;
}

/* What Redis says of hello's breaker: a third broker reads it. */
static Pirn__BreakerNote stored_note(void)
{
	Pirn__BreakerNote note;
	struct broker reader;
	open_broker(&reader);
	WAIT_FOR(&f, reader.n_told > 0);
	note = reader.note;
	close_broker(&reader);
	return note;
}

static void a_note_goes_to_the_others(void **state)
{
	(void)state;
	Pirn__BreakerNote note = note_of(0, 0, 1000), told;
	keep(&a, "hello", 5, 10);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	keep_noted(&a, "hello", 5, 10, &note); /* the same announcement */
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 2);
	assert_true(says(&b.note, 0, 0, 1000));
	assert_int_equal(b.note.open_ms, 5000);
	assert_int_equal(b.note.openings, 2);
	assert_int_equal(a.n_told, 0); /* its own */
	told = stored_note();
	assert_true(says(&told, 0, 0, 1000));
}

static void each_part_of_a_note_goes_by_its_own_time(void **state)
{
	(void)state;
	Pirn__BreakerNote forced = note_of(1, 900, 1000), opened = note_of(2, 800, 2000), told;
	keep_noted(&a, "hello", 5, 10, &forced);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	keep_noted(&b, "hello", 5, 10, &opened); /* its forcing is older, its opening newer */
	WAIT_FOR(&f, SAVED(&a) && SAVED(&b) && a.n_told == 1);
	assert_true(says(&a.note, 1, 900, 2000));
	told = stored_note();
	assert_true(says(&told, 1, 900, 2000));
	keep(&b, "hello", 5, 11); /* a new manifest that says nothing of it forgets nothing */
	WAIT_FOR(&f, SAVED(&b) && a.n_told == 2);
	told = stored_note();
	assert_true(says(&told, 1, 900, 2000));
	assert_int_equal(stored_ms("hello"), 11);
}

static void a_note_that_is_not_newer_is_written_over(void **state)
{
	(void)state;
	Pirn__BreakerNote newer = note_of(1, 900, 2000), older = note_of(2, 800, 1000), told;
	keep_noted(&a, "hello", 5, 10, &newer);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	brk_catalog_down(b.catalog);
	brk_catalog_down(a.catalog);
	struct broker third;
	open_broker(&third);
	WAIT_FOR(&f, third.n_told == 1);
	free(harness_redis_command(server, "DEL %s %s", STORE_KEY_REGISTRY, STORE_KEY_REGISTRY_VERSION));
	close_broker(&third);
	open_broker(&third);
	keep_noted(&third, "hello", 5, 10, &older); /* it knows of nothing else */
	WAIT_FOR(&f, SAVED(&third));
	brk_catalog_up(a.catalog, a.redis);
	WAIT_FOR(&f, third.n_told == 1 && SAVED(&a));
	assert_true(says(&third.note, 1, 900, 2000));
	assert_int_equal(a.n_told, 0);
	close_broker(&third);
	told = stored_note();
	assert_true(says(&told, 1, 900, 2000));
}

static void a_note_that_cannot_be_is_none(void **state)
{
	(void)state;
	Pirn__BreakerNote wild = note_of(77, 900, UINT64_MAX), good = note_of(1, 800, 1000), told;
	keep_noted(&a, "hello", 5, 10, &wild);
	WAIT_FOR(&f, SAVED(&a) && b.n_told == 1);
	told = stored_note();
	assert_true(says(&told, 0, 0, 0));
	keep_noted(&b, "hello", 5, 10, &good);
	WAIT_FOR(&f, SAVED(&b) && a.n_told == 1);
	assert_true(says(&a.note, 1, 800, 1000));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_both, close_both)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_one_keeps_the_other_learns),
		TEST(a_restart_remembers),
		TEST(the_last_announcement_counts),
		TEST(the_first_sight_that_is_older_counts),
		TEST(what_is_dropped_stays_away),
		TEST(without_redis_it_is_kept_and_written_later),
		TEST(lost_data_is_written_again),
		TEST(garbage_is_written_over_or_left_alone),
		TEST(an_entry_under_another_name_is_garbage),
		TEST(it_is_bounded),
		TEST(a_note_goes_to_the_others),
		TEST(each_part_of_a_note_goes_by_its_own_time),
		TEST(a_note_that_is_not_newer_is_written_over),
		TEST(a_note_that_cannot_be_is_none),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
