/* store/journal.c and the Functions behind it against a real redis-server: what each
 * one checks, changes and answers, and that a refusal changes nothing. */
#include "tests/unit/journal_fixture.h"

#include "base/ulid.h"

/* ---- owners */

static void epochs_count_up_and_own_a_journal(void **state)
{
	(void)state;
	struct got a = open_epoch(0), b = open_epoch(0);
	assert_int_equal(a.code, STORE_DONE);
	assert_int_equal(a.epoch, 1);
	assert_int_equal(a.journal, 1);
	assert_int_equal(a.n_journals, 0);
	assert_true(a.now_ms > UINT64_C(1600000000000));
	assert_int_equal(b.epoch, 2);
	assert_int_equal(b.journal, 2);
	struct got g = beat(1);
	assert_int_equal(g.n_owners, 2);
	assert_int_equal(g.n_owned, 2);
	assert_int_equal(g.beats[g.owners[0] == 1 ? 0 : 1], 2);
	assert_int_equal(g.beats[g.owners[0] == 1 ? 1 : 0], 1);
}

static void a_new_epoch_takes_what_the_old_one_had(void **state)
{
	(void)state;
	open_epoch(0);
	open_epoch(0);
	beat(1);
	assert_int_equal(adopt(1, 2, 1).n_journals, 1);
	struct got g = open_epoch(1);
	assert_int_equal(g.code, STORE_DONE);
	assert_int_equal(g.epoch, 3);
	assert_int_equal(g.journal, 1);
	assert_int_equal(g.n_journals, 1);
	assert_int_equal(g.journals[0], 2);
	REDIS("3\n2", "HGETALL pirn:{0}:owners");
	CHANGES_NOTHING(g = open_epoch(1));
	assert_int_equal(g.code, STORE_FENCED);
	assert_int_equal(g.number, 3);
	CHANGES_NOTHING(g = beat(1));
	assert_int_equal(g.code, STORE_FENCED);
	free(harness_redis_command(server, "FLUSHALL"));
	g = beat(3);
	assert_int_equal(g.code, STORE_FENCED);
	assert_int_equal(g.number, 0); /* below 3: Redis lost its data */
}

static void adoption_needs_the_beat_as_seen(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	open_epoch(0);
	beat(2);
	CHANGES_NOTHING(g = adopt(1, 2, 1));
	assert_int_equal(g.code, STORE_DONE);
	assert_int_equal(g.n_journals, 0);
	CHANGES_NOTHING(g = adopt(1, 9, 1));
	assert_int_equal(g.n_journals, 0);
	CHANGES_NOTHING(g = adopt(9, 2, 2));
	assert_int_equal(g.code, STORE_FENCED);
	g = adopt(1, 2, 2);
	assert_int_equal(g.n_journals, 1);
	assert_int_equal(g.journals[0], 2);
	REDIS("1+", "HGET pirn:{0}:journals 2");
	CHANGES_NOTHING(g = beat(2));
	assert_int_equal(g.code, STORE_FENCED);
	CHANGES_NOTHING(g = adopt(2, 1, 1));
	assert_int_equal(g.code, STORE_FENCED);
	assert_int_equal(
		store_journal_adopt(f.redis, 1, 1, 1, on_adopted, NULL), BASE_INVALID);
}

static void who_leaves_is_fenced_and_adopted_at_once(void **state)
{
	(void)state;
	open_epoch(0);
	open_epoch(0);
	struct got g = CALL(store_journal_leave, 2, on_count);
	assert_int_equal(g.n, 1);
	CHANGES_NOTHING(g = beat(2));
	assert_int_equal(g.code, STORE_FENCED);
	CHANGES_NOTHING(g = open_epoch(2));
	assert_int_equal(g.code, STORE_FENCED);
	g = beat(1);
	assert_int_equal(g.beats[g.owners[0] == 2 ? 0 : 1], 0);
	assert_int_equal(adopt(1, 2, 0).n_journals, 1);
	g = CALL(store_journal_drop, 1, 2, on_count);
	assert_int_equal(g.n, 1);
}

static void only_an_empty_adopted_journal_is_dropped(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	open_epoch(0);
	assert_int_equal(store_events(2, 2, 1, 10, 2).code, STORE_DONE);
	adopt(1, 2, 1);
	CHANGES_NOTHING(g = CALL(store_journal_drop, 1, 2, on_count));
	assert_int_equal(g.code, STORE_DONE);
	assert_int_equal(g.n, 0);
	CHANGES_NOTHING(g = CALL(store_journal_drop, 1, 1, on_count)); /* one's own */
	assert_int_equal(g.code, STORE_FENCED);
	CHANGES_NOTHING(g = CALL(store_journal_drop, 2, 2, on_count));
	assert_int_equal(g.code, STORE_FENCED);
	assert_int_equal(
		settle(1, 1, 1, ENDS(2, 2, 1, 2, ended(0, 10), ended(1, 11)), 1).code, STORE_DONE);
	g = CALL(store_journal_drop, 1, 2, on_count);
	assert_int_equal(g.n, 1);
	REDIS("0", "EXISTS pirn:{0}:journal:2 pirn:{0}:done:2");
	REDIS("1\n1", "HGETALL pirn:{0}:journals");
}

/* ---- store */

static void a_stored_entry_is_read_again(void **state)
{
	(void)state;
	open_epoch(0);
	struct got g = store_events(1, 1, 1, 10, 3);
	assert_int_equal(g.code, STORE_DONE);
	assert_true(g.entry);
	assert_int_equal(g.n, 0);
	REDIS("1", "XLEN pirn:{0}:journal:1");
	REDIS("1", "GETBIT pirn:{0}:lane:0000000000000007:0 12");
	REDIS("0", "GETBIT pirn:{0}:lane:0000000000000007:0 13");
	char *left = harness_redis_command(server, "PTTL pirn:{0}:lane:0000000000000007:0");
	assert_in_range(atoi(left), 500000, 600000);
	free(left);
}

static void the_same_store_again_changes_nothing(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	store_events(1, 1, 1, 10, 3);
	CHANGES_NOTHING(g = store_events(1, 1, 1, 10, 3));
	assert_int_equal(g.code, STORE_DONE);
	assert_false(g.entry);
	assert_int_equal(g.n, 3);
	assert_int_equal(g.duplicates[2].why, STORE_WHY_LANE);
	CHANGES_NOTHING(g = store_events(1, 1, 2, 10, 3));
	assert_false(g.entry);
	CHANGES_NOTHING(g = store_events(1, 1, 1, 50, 1)); /* other events under a turn that was */
	assert_int_equal(g.code, STORE_REPEATED);
	assert_int_equal(store_events(1, 1, 3, 60, 1).code, STORE_DONE);
	CHANGES_NOTHING(g = store_events(1, 1, 2, 70, 1));
	assert_int_equal(g.code, STORE_REPEATED);
}

static void duplicates_in_a_new_entry_are_ended(void **state)
{
	(void)state;
	struct batch b;
	open_epoch(0);
	store_events(1, 1, 1, 10, 1);
	batch_init(&b);
	batch_add(&b, 9, 1);
	batch_add(&b, 10, 2);
	batch_add(&b, 11, 1);
	batch_add(&b, 11, 1); /* twice in one call */
	struct got g = store_batch(&b, 1, 1, 2);
	assert_true(g.entry);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.duplicates[0].item, 1);
	assert_int_equal(g.duplicates[1].item, 3);
	char *bitmap = harness_redis_command(server, "HGET pirn:{0}:done:1 1-2");
	assert_int_equal((uint8_t)bitmap[0], 0x68); /* of five: 1, 2 and 4 */
	free(bitmap);
	assert_int_equal(settle(1, 1, 3, ENDS(1, 1, 2, 5, ended(0, 9), ended(3, 11)), 1).code,
		STORE_DONE);
	REDIS("1", "HLEN pirn:{0}:done:1"); /* the first entry's, which is empty yet */
	REDIS("1", "XLEN pirn:{0}:journal:1");
	batch_fini(&b);
}

static void the_same_number_twice_in_one_call(void **state)
{
	(void)state;
	struct batch b;
	open_epoch(0);
	batch_init(&b);
	const uint64_t numbers[] = { 20, 21, 22, 21, 40, 20 };
	for (size_t i = 0; i < 6; i++)
		batch_add(&b, numbers[i], 1);
	struct got g = store_batch(&b, 1, 1, 1);
	assert_true(g.entry);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.duplicates[0].item, 3);
	assert_int_equal(g.duplicates[1].item, 5);
	char *bitmap = harness_redis_command(server, "HGET pirn:{0}:done:1 1-1");
	assert_int_equal((uint8_t)bitmap[0], 0x14);
	free(bitmap);
	batch_fini(&b);
}

/* Events that go as one run, of which one was there before. */
static void a_run_with_a_hole(void **state)
{
	(void)state;
	open_epoch(0);
	assert_true(store_events(1, 1, 1, 65536 + 45, 1).entry);
	struct got g = store_events(1, 1, 2, 65536 + 10, 32);
	assert_int_equal(g.n, 0);
	g = store_events(1, 1, 3, 65536 + 30, 32); /* 30 to 41 and 45 are there */
	assert_int_equal(g.n, 13);
	assert_int_equal(g.duplicates[11].item, 11);
	assert_int_equal(g.duplicates[12].item, 15);
	REDIS("52", "BITCOUNT pirn:{0}:lane:0000000000000007:1");
}

static void lanes_know_large_numbers_apart(void **state)
{
	(void)state;
	struct batch b;
	const uint64_t numbers[] = { 5, 65541, (UINT64_C(1) << 60) + 5, UINT64_MAX };
	open_epoch(0);
	batch_init(&b);
	for (size_t i = 0; i < 4; i++)
		batch_add(&b, numbers[i], 1);
	batch_add(&b, 5, 1)->lane = UINT64_MAX - 1;
	struct got g = store_batch(&b, 1, 1, 1);
	assert_int_equal(g.n, 0);
	assert_int_equal(store_batch(&b, 1, 1, 2).n, 5);
	REDIS("1", "GETBIT pirn:{0}:lane:fffffffffffffffe:0 5");
	REDIS("1", "GETBIT pirn:{0}:lane:0000000000000007:281474976710655 65535");
	batch_fini(&b);
}

static void store_is_fenced(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	open_epoch(0);
	CHANGES_NOTHING(g = store_events(3, 1, 1, 10, 1));
	assert_int_equal(g.code, STORE_FENCED);
	assert_int_equal(g.number, 2);
	CHANGES_NOTHING(g = store_events(2, 1, 1, 10, 1));
	assert_int_equal(g.code, STORE_FENCED);
	adopt(1, 2, 1);
	CHANGES_NOTHING(g = store_events(2, 2, 1, 10, 1));
	assert_int_equal(g.code, STORE_FENCED);
	CHANGES_NOTHING(g = store_events(1, 2, 1, 10, 1)); /* adopted: nothing is appended */
	assert_int_equal(g.code, STORE_FENCED);
}

static struct got store_keyed(
	uint64_t turn, uint64_t number, const char *key, const char *hash)
{
	struct batch b;
	batch_init(&b);
	struct store_item *item = batch_add(&b, number, 1);
	item->guard = STORE_GUARD_KEY;
	item->scope = "echo";
	item->key = STORE_ARG(key);
	item->hash = STORE_ARG(hash);
	struct got g = store_batch(&b, 1, 1, turn);
	batch_fini(&b);
	return g;
}

static void dedupe_keys(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	assert_true(store_keyed(1, 10, "k: 1", "hash").entry);
	char *left = harness_redis_command(server, "KEYS pirn:{0}:dedupe:*");
	assert_string_equal(left, "pirn:{0}:dedupe:echo:k: 1");
	free(left);
	CHANGES_NOTHING(g = store_keyed(2, 11, "k: 1", "hash"));
	assert_false(g.entry);
	assert_int_equal(g.duplicates[0].why, STORE_WHY_KEY);
	assert_string_equal(g.duplicates[0].id, "event00000000010");
	CHANGES_NOTHING(g = store_keyed(2, 12, "k: 1", "other"));
	assert_int_equal(g.duplicates[0].why, STORE_WHY_BODY);
	CHANGES_NOTHING(g = store_keyed(2, 10, "k: 1", "hash")); /* its own resubmission */
	assert_int_equal(g.duplicates[0].why, STORE_WHY_LANE);
	bounds.dedupe_max = 600;
	assert_true(store_keyed(2, 13, "k2", "hash").entry);
	CHANGES_NOTHING(g = store_keyed(3, 14, "k3", "hash"));
	assert_int_equal(g.duplicates[0].why, STORE_WHY_FULL);
	assert_true(store_events(1, 1, 3, 14, 1).entry); /* without a key it fits, in the same lane */
}

static struct got store_hashed(uint64_t turn, uint64_t number, const char *hash)
{
	struct batch b;
	batch_init(&b);
	struct store_item *item = batch_add(&b, number, 1);
	item->guard = STORE_GUARD_KEY;
	item->scope = "*";
	item->key = STORE_ARG("key");
	item->hash = (struct store_arg){ hash, 16 };
	item->ttl_ms = 600000;
	struct got g = store_batch(&b, 1, 1, turn);
	batch_fini(&b);
	return g;
}

/* A key that says it all has a hash of zeros, which takes no room; an older broker wrote it. */
static void a_hash_of_zeros(void **state)
{
	(void)state;
	static const char zeros[16], other[16] = { [15] = 1 };
	struct got g;
	open_epoch(0);
	assert_true(store_hashed(1, 10, zeros).entry);
	REDIS("16",
		"EVAL return(#redis.call('HVALS',redis.call('KEYS','pirn:{0}:known:*')[1])[1]) 0");
	for (int i = 0; i < 2; i++) {
		CHANGES_NOTHING(g = store_hashed(2, 11, zeros));
		assert_int_equal(g.duplicates[0].why, STORE_WHY_KEY);
		assert_string_equal(g.duplicates[0].id, "event00000000010");
		CHANGES_NOTHING(g = store_hashed(2, 12, other));
		assert_int_equal(g.duplicates[0].why, STORE_WHY_BODY);
		REDIS(i ? "48" : "32",
			"EVAL return(function(k,f)redis.call('HSET',k,f,redis.call('HGET',k,f)..string.rep('\\0',16))"
			"return(redis.call('HSTRLEN',k,f))end)(redis.call('KEYS','pirn:{0}:known:*')[1],'*:key') 0");
	}
}

static uint64_t number_of(const char *command)
{
	char *text = harness_redis_command(server, "%s", command);
	uint64_t n = strtoull(text, NULL, 10);

	free(text);
	return n;
}

#define TEN_MINUTES 600000

/* Events from number `first` on, each with the key of its number that is known for ten minutes. */
static void add_known(struct batch *b, uint64_t first, const char *const *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct store_item *item = batch_add(b, first + i, 1);
		item->guard = STORE_GUARD_KEY;
		item->scope = "*";
		item->key = STORE_ARG(keys[i]);
		item->hash = STORE_ARG("hash");
		item->ttl_ms = TEN_MINUTES;
	}
}

static struct got store_known(uint64_t turn, uint64_t first, const char *const *keys, size_t n)
{
	struct batch b;

	batch_init(&b);
	add_known(&b, first, keys, n);
	struct got g = store_batch(&b, 1, 1, turn);
	batch_fini(&b);
	return g;
}

/* One with a time of its own stands in a bucket with others, which goes as a whole. */
static void keys_of_their_own_time(void **state)
{
	(void)state;
	static const char *const keys[] = { "one", "two", "ten" }, *const more[] = { "six", "two" };
	uint64_t now_s, at;
	struct got g;

	open_epoch(0);
	now_s = number_of("TIME");
	assert_true(store_known(1, 10, keys, 3).entry);
	char *name = harness_redis_command(server, "KEYS pirn:{0}:known:*");
	at = strtoull(name + strlen("pirn:{0}:known:"), NULL, 10);
	assert_in_range(at, now_s + 600, now_s + 750 + 60);
	assert_int_equal(number_of("HLEN pirn:{0}:dedupe-size"), 1);
	assert_int_equal(number_of("HVALS pirn:{0}:dedupe-size"), 3 * (128 + strlen("*:one")));
	char *expiry = harness_redis_command(server, "EXPIRETIME %s", name);
	assert_true(strtoull(expiry, NULL, 10) > at);
	free(expiry);
	g = store_known(2, 20, more, 2);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.duplicates[0].item, 1);
	assert_int_equal(g.duplicates[0].why, STORE_WHY_KEY);
	assert_string_equal(g.duplicates[0].id, "event00000000011");
	/* Its time over: nothing of it is known any more, and it is removed. */
	free(harness_redis_command(server, "DEL pirn:{0}:dedupe-size"));
	free(harness_redis_command(server, "RENAME %s pirn:{0}:known:%llu", name, (unsigned long long)now_s));
	free(harness_redis_command(server, "HSET pirn:{0}:dedupe-size known:%llu 1000000000", (unsigned long long)now_s));
	free(name);
	g = store_known(3, 30, more, 2);
	assert_int_equal(g.n, 0);
	assert_int_equal(number_of("HLEN pirn:{0}:dedupe-size"), 1);
	char command[80];
	snprintf(command, sizeof command, "EXISTS pirn:{0}:known:%llu", (unsigned long long)now_s);
	assert_int_equal(number_of(command), 0);
	/* A key of the other kind is counted beside it, for a day. */
	assert_true(store_keyed(4, 40, "k2", "hash").entry);
	assert_int_equal(number_of("HLEN pirn:{0}:dedupe-size"), 2);
}

/* What an older Pirn knew is known: such keys had a hash each. And its brokers, while they are still there, ask in
 * their words, and get what the others know. */
static void keys_of_an_older_pirn(void **state)
{
	(void)state;
	static const char *const keys[] = { "old", "new" };
	struct got g;

	open_epoch(0);
	free(harness_redis_command(server, "HSET pirn:{0}:dedupe:*:old h hash i event00000000005"));
	free(harness_redis_command(server, "HSET pirn:{0}:dedupe-size 99999999960 300"));
	g = store_known(1, 10, keys, 2);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.duplicates[0].item, 0);
	assert_int_equal(g.duplicates[0].why, STORE_WHY_KEY);
	assert_string_equal(g.duplicates[0].id, "event00000000005");
#define OLD(turn, key, number, hash) \
	"FCALL pirn1_store 9 pirn:{0}:owners pirn:{0}:journals pirn:{0}:epoch pirn:{0}:journal:1 " \
	"pirn:{0}:done:1 pirn:{0}:timers pirn:{0}:dedupe-size pirn:{0}:lane:7:0 pirn:{0}:dedupe:*:" key \
	" 1 1 " turn " head body 1000000 86400000 1 8 " number " K 9 600000 " hash " event00000000020"
	char *said = harness_redis_command(server, "%s", OLD("2", "new", "20", "hash"));
	assert_non_null(strstr(said, "KEY"));
	assert_non_null(strstr(said, "event00000000011"));
	free(said);
	said = harness_redis_command(server, "%s", OLD("2", "sun", "20", "hash"));
	assert_null(strstr(said, "KEY"));
	free(said);
	g = store_known(3, 30, (const char *const[]){ "sun" }, 1);
	assert_int_equal(g.duplicates[0].why, STORE_WHY_KEY);
	assert_string_equal(g.duplicates[0].id, "event00000000020");
}

/* There is room for two more keys: of three events with one fate none is stored, whatever else is of them. */
static void one_fate(void **state)
{
	(void)state;
	static const char *const keys[] = { "one", "two", "one", "six", "two", "ten" };
	struct batch b;
	struct got g;

	open_epoch(0);
	bounds.dedupe_max = 4 * (128 + strlen("*:one")) - 1;
	assert_true(store_known(1, 10, keys, 1).entry);
	batch_init(&b);
	add_known(&b, 20, keys, 5); /* one is known, two comes twice, six */
	batch_add(&b, 25, 1);
	add_known(&b, 26, &keys[5], 1);
	for (size_t i = 0; i + 1 < b.n; i++)
		b.items[i].together = true;
	g = store_batch(&b, 1, 1, 2);
	assert_false(g.entry);
	assert_int_equal(g.n, 7);
	for (size_t i = 0; i < g.n; i++)
		assert_int_equal(g.duplicates[i].why, i == 0 || i == 2 ? STORE_WHY_KEY : STORE_WHY_FULL);
	/* Nothing of it is known: without ten there is room, and it is stored but for what was known before. */
	b.items[5].together = false;
	g = store_batch(&b, 1, 1, 2);
	assert_true(g.entry);
	assert_int_equal(g.n, 4);
	assert_int_equal(g.duplicates[0].item, 0);
	assert_int_equal(g.duplicates[1].item, 2);
	assert_int_equal(g.duplicates[2].item, 4);
	assert_string_equal(g.duplicates[2].id, "event00000000021");
	assert_int_equal(g.duplicates[3].item, 6);
	assert_int_equal(g.duplicates[3].why, STORE_WHY_FULL);
	batch_fini(&b);
	/* Those that have no fate in common are stored as far as there is room. */
	bounds.dedupe_max = 5 * (128 + strlen("*:one"));
	g = store_known(3, 40, (const char *const[]){ "sun", "sea", "sky" }, 3);
	assert_true(g.entry);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.duplicates[0].item, 2);
	assert_int_equal(g.duplicates[0].why, STORE_WHY_FULL);
}

/* Three requests with one key that came in the same turn. */
static void a_key_thrice(uint64_t turn, uint64_t number, uint32_t ttl_ms)
{
	struct batch b;
	batch_init(&b);
	for (uint64_t i = 0; i < 4; i++) {
		struct store_item *item = batch_add(&b, number + i, 1);
		item->guard = STORE_GUARD_KEY;
		item->scope = "echo";
		item->key = i == 1 ? STORE_ARG("other") : STORE_ARG("again");
		item->hash = i < 3 ? STORE_ARG("hash-") : STORE_ARG("other");
		item->ttl_ms = ttl_ms;
	}
	struct got g = store_batch(&b, 1, 1, turn);
	assert_int_equal(g.n, 2);
	assert_int_equal(g.duplicates[0].item, 2);
	assert_int_equal(g.duplicates[0].why, STORE_WHY_KEY);
	assert_memory_equal(g.duplicates[0].id, id_text(number), 16);
	assert_int_equal(g.duplicates[1].item, 3);
	assert_int_equal(g.duplicates[1].why, STORE_WHY_BODY);
	batch_fini(&b);
}

static void a_key_thrice_in_one_call(void **state)
{
	(void)state;
	open_epoch(0);
	a_key_thrice(1, 10, 600000);
	flush(NULL);
	open_epoch(0);
	a_key_thrice(1, 20, 0);
}

/* Sent again over another connection, in the same turn: what is refused is not said to be stored. */
static void a_number_twice_shares_its_fate(void **state)
{
	(void)state;
	struct batch b;
	open_epoch(0);
	assert_true(store_keyed(1, 10, "k", "hash").entry);
	batch_init(&b);
	for (int i = 0; i < 4; i++) {
		struct store_item *item = batch_add(&b, i % 2 ? 12 : 11, 1);
		if (i % 2)
			continue;
		item->guard = STORE_GUARD_KEY;
		item->scope = "echo";
		item->key = STORE_ARG("k");
		item->hash = STORE_ARG("other");
	}
	struct got g = store_batch(&b, 1, 1, 2);
	assert_true(g.entry);
	assert_int_equal(g.n, 3);
	assert_int_equal(g.duplicates[0].why, STORE_WHY_BODY);
	assert_int_equal(g.duplicates[1].item, 2);
	assert_int_equal(g.duplicates[1].why, STORE_WHY_BODY);
	assert_string_equal(g.duplicates[1].id, "event00000000010");
	assert_int_equal(g.duplicates[2].why, STORE_WHY_LANE);
	batch_fini(&b);
}

static struct got store_slot(uint64_t turn, uint64_t number, uint64_t previous, uint64_t slot)
{
	struct batch b;
	batch_init(&b);
	struct store_item *item = batch_add(&b, number, 1);
	item->has_lane = false;
	item->guard = STORE_GUARD_TIMER;
	item->timer = "echo nightly";
	item->previous_ms = previous;
	item->slot_ms = slot;
	struct got g = store_batch(&b, 1, 1, turn);
	batch_fini(&b);
	return g;
}

static void timers_are_a_chain(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	uint64_t now = beat(1).now_ms;
	assert_true(store_slot(1, 10, 0, now - 5000).entry);
	CHANGES_NOTHING(g = store_slot(2, 11, 0, now - 5000));
	assert_int_equal(g.duplicates[0].why, STORE_WHY_SLOT);
	assert_true(g.duplicates[0].last_ms == now - 5000);
	CHANGES_NOTHING(g = store_slot(2, 11, now - 4000, now - 3000));
	CHANGES_NOTHING(g = store_slot(2, 11, now - 5000, now - 5000));
	CHANGES_NOTHING(g = store_slot(2, 11, now - 5000, now + 600000));
	assert_true(g.duplicates[0].last_ms == now - 5000);
	assert_string_equal(g.duplicates[0].id, "event00000000010");
	assert_true(store_slot(2, 11, now - 5000, now - 4000).entry);
	struct store_item skipped = { .guard = STORE_GUARD_TIMER, .timer = "echo nightly",
		.previous_ms = now - 4000, .slot_ms = now - 3000 };
	struct store_turn turn = { .epoch = 1, .journal = 1, .turn = 3 };
	g = CALL(store_journal_store, &turn, &skipped, 1, &bounds, on_stored);
	assert_int_equal(g.n, 0);
	assert_false(g.entry);
	char *stored = harness_redis_command(server, "HVALS pirn:{0}:timers"), expected[64];
	snprintf(expected, sizeof expected, "%llu event00000000011",
		(unsigned long long)now - 3000);
	assert_string_equal(stored, expected);
	free(stored);
	REDIS("2", "XLEN pirn:{0}:journal:1");
}

/* ---- settle */

static void a_full_entry_goes(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	store_events(1, 1, 1, 10, 3);
	assert_int_equal(settle(1, 1, 2, ENDS(1, 1, 1, 3, ended(2, 12)), 1).code, STORE_DONE);
	REDIS("1", "HLEN pirn:{0}:done:1");
	CHANGES_NOTHING(g = settle(1, 1, 3, ENDS(1, 1, 1, 3, ended(0, 10), ended(2, 12)), 1));
	assert_int_equal(g.code, STORE_SETTLED);
	CHANGES_NOTHING(g = settle(1, 1, 3, ENDS(1, 1, 1, 3, ended(0, 10), ended(0, 10)), 1));
	assert_int_equal(g.code, STORE_SETTLED);
	assert_int_equal(
		settle(1, 1, 3, ENDS(1, 1, 1, 3, ended(0, 10), ended(1, 11)), 1).code, STORE_DONE);
	REDIS("0", "XLEN pirn:{0}:journal:1");
	REDIS("0", "EXISTS pirn:{0}:done:1");
	CHANGES_NOTHING(g = settle(1, 1, 4, ENDS(1, 1, 1, 3, ended(0, 10)), 1));
	assert_int_equal(g.code, STORE_SETTLED);
	CHANGES_NOTHING(g = settle(1, 1, 4, ENDS(1, 1, 7, 3, ended(0, 10)), 1));
	assert_int_equal(g.code, STORE_SETTLED);
}

static void settle_is_fenced(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	open_epoch(0);
	store_events(1, 1, 1, 10, 2);
	store_events(2, 2, 1, 20, 1);
	CHANGES_NOTHING(g = settle(2, 2, 2, ENDS(1, 1, 1, 2, ended(0, 10)), 1));
	assert_int_equal(g.code, STORE_FENCED);
	const struct store_ends both[] = { *ENDS(2, 2, 1, 1, ended(0, 20)),
		*ENDS(1, 1, 1, 2, ended(0, 10)) };
	CHANGES_NOTHING(g = settle(2, 2, 2, both, 2));
	assert_int_equal(g.code, STORE_FENCED);
	adopt(2, 1, 1);
	CHANGES_NOTHING(g = settle(1, 1, 2, ENDS(1, 1, 1, 2, ended(0, 10)), 1));
	assert_int_equal(g.code, STORE_FENCED);
	assert_int_equal(settle(2, 2, 2, both, 2).code, STORE_DONE);
	const struct store_ends twice[] = { *ENDS(1, 1, 1, 2, ended(1, 11)),
		*ENDS(1, 1, 1, 2, ended(1, 11)) };
	CHANGES_NOTHING(g = settle(2, 2, 3, twice, 2));
	assert_int_equal(g.code, STORE_BROKEN);
}

static struct got settle_moving(bool emits, uint64_t turn, uint64_t moved, const struct store_ends *ends)
{
	struct batch b;
	batch_init(&b);
	batch_add(&b, moved, 1);
	b.deliveries[0][0].has_attempt = true;
	b.deliveries[0][0].attempt = 2;
	struct store_turn t = batch_turn(&b, 1, 1, turn);
	struct got g = CALL(store_journal_settle, &t, emits, ends, 1, &bounds, on_settled);
	batch_fini(&b);
	return g;
}

static void a_retry_moves(void **state)
{
	(void)state;
	struct got g;
	const struct store_ends *moved =
		ENDS(1, 1, 1, 1, { .bit = 0, .how = STORE_MOVED });
	open_epoch(0);
	store_events(1, 1, 1, 10, 1);
	CHANGES_NOTHING(g = settle_moving(false, 1, 10, moved));
	assert_int_equal(g.code, STORE_REPEATED);
	assert_int_equal(settle_moving(false, 2, 10, moved).code, STORE_DONE);
	REDIS("1", "XLEN pirn:{0}:journal:1");
	CHANGES_NOTHING(g = settle_moving(false, 2, 10, moved));
	assert_int_equal(g.code, STORE_SETTLED);
	CHANGES_NOTHING(g = settle_moving(false, 3, 10, moved));
	assert_int_equal(g.code, STORE_SETTLED);
}

static void out_of_memory(void **state)
{
	(void)state;
	struct got g;
	const struct store_ends *first = ENDS(1, 1, 1, 2, ended(0, 10));
	const uint8_t ids[1][16] = { "event0000000001" };
	open_epoch(0);
	store_events(1, 1, 1, 10, 2);
	free(harness_redis_command(server, "CONFIG SET maxmemory 1"));
	CHANGES_NOTHING(g = store_events(1, 1, 2, 20, 1));
	assert_int_equal(g.code, STORE_OOM);
	CHANGES_NOTHING(g = settle_moving(true, 2, 30, first));
	assert_int_equal(g.code, STORE_OOM);
	struct store_turn turn = { .epoch = 1, .journal = 1, .turn = 2 };
	CHANGES_NOTHING(g = CALL(store_journal_redrive, &turn, "echo", ids, 1, 100, on_list));
	assert_int_equal(g.code, STORE_OOM);
	assert_int_equal(settle_moving(false, 2, 30, first).code, STORE_DONE);
	assert_int_equal(beat(1).code, STORE_DONE);
	assert_int_equal(CALL(store_journal_result, ids[0], on_list).code, STORE_DONE);
	assert_int_equal(open_epoch(1).code, STORE_DONE);
	free(harness_redis_command(server, "CONFIG SET maxmemory 0"));
}

static struct store_end with_result(uint32_t bit, uint64_t number, const char *service, const char *text)
{
	struct store_end e = ended(bit, number);
	e.service = service;
	e.result = STORE_ARG(text);
	return e;
}

static void results_are_kept(void **state)
{
	(void)state;
	struct batch b;
	open_epoch(0);
	batch_init(&b);
	batch_add(&b, 10, 2);
	store_batch(&b, 1, 1, 1);
	settle(1, 1, 2, ENDS(1, 1, 1, 2, with_result(0, 10, "echo", "one")), 1);
	settle(1, 1, 3, ENDS(1, 1, 1, 2, with_result(1, 10, "mail", "two")), 1);
	struct got g = CALL(store_journal_result, id_text(10), on_list);
	assert_int_equal(g.n_list, 4);
	size_t echo = memcmp(g.list[0].bytes, "echo", 4) == 0 ? 0 : 2;
	assert_memory_equal(g.list[echo + 1].bytes, "one", 3);
	assert_memory_equal(g.list[2 - echo + 1].bytes, "two", 3);
	assert_int_equal(CALL(store_journal_result, id_text(11), on_list).n_list, 0);
	batch_fini(&b);
}

/* A broker before revision 12 says its results one by one; and what an event for many left there before
 * stays when the last of them ends. */
static void results_of_an_older_pirn(void **state)
{
	(void)state;
	static const char old[] =
		"FCALL pirn1_settle 38 pirn:{0}:owners pirn:{0}:journals pirn:{0}:epoch "
		"pirn:{0}:journal:1 pirn:{0}:done:1 pirn:{0}:results pirn:{0}:results:0 "
		"k k k k k k k k k k k k k k k k k k k k k k k k k k k k k k k "
		"1 1 2 head body 1000000 3600000 1 1 4 5 1-1 3 1 0 - 2 6 "
		"event00000000010 echo one event00000000010 mail two";
	struct batch b;
	struct got g;

	open_epoch(0);
	batch_init(&b);
	batch_add(&b, 10, 3);
	store_batch(&b, 1, 1, 1);
	free(harness_redis_command(server, "%s", old));
	g = CALL(store_journal_result, id_text(10), on_list);
	assert_int_equal(g.n_list, 4);
	settle(1, 1, 3, ENDS(1, 1, 1, 3, with_result(2, 10, "third", "3")), 1);
	assert_int_equal(CALL(store_journal_result, id_text(10), on_list).n_list, 6);
	batch_fini(&b);
}

/* Before revision 15 the maps of a blob stood there as they are. */
static void a_blob_of_an_older_pirn(void **state)
{
	(void)state;
	struct got g;

	REDIS("1",
		"EVAL return(function(map)redis.call('SET','pirn:{0}:results:0:7.1.0',"
		"'event00000000010'..struct.pack('>I4I4',24,24+#map)..map)"
		"return(redis.call('ZADD','pirn:{0}:results:0:blobs',%s,'7.1.0'))end)"
		"(cmsgpack.pack({echo='old'})) 0",
		"111559182283824"); /* "event0" as a number */
	g = CALL(store_journal_result, id_text(10), on_list);
	assert_int_equal(g.n_list, 2);
	assert_memory_equal(g.list[1].bytes, "old", 3);
}

/* Hundreds in one call, of all sizes, of events for one service and for many. */
static void many_results_in_one_call(void **state)
{
	(void)state;
	enum { N = 300 };
	static struct store_item items[N];
	static struct store_end ends[N];
	static uint8_t ids[N][17];
	static char text[N + 1], name[] = "service-of-a-name-that-is-longer-than-thirty-one";
	const struct store_turn t = { 1, 1, 1, STORE_ARG("head"), STORE_ARG("body") };
	const struct store_ends entry = { .journal = 1,
		.epoch = 1,
		.turn = 1,
		.n_deliveries = N,
		.ends = ends,
		.n = N };

	bounds.results_max = 200000; /* several chunks */
	memset(text, 'r', N);
	for (uint32_t i = 0; i < N; i++) {
		bool alone = i < 100;
		id_of(alone ? i : 100 + (i - 100) / 20, ids[i]);
		items[i] = (struct store_item){ .n_deliveries = 1 };
		ends[i] = with_result(i, 0, alone ? "echo" : &name[(i - 100) % 20], &text[N - i]);
		ends[i].id = ids[i];
		ends[i].alone = alone;
	}
	open_epoch(0);
	assert_true(CALL(store_journal_store, &t, items, N, &bounds, on_stored).entry);
	assert_int_equal(settle(1, 1, 2, &entry, 1).code, STORE_DONE);
	for (uint64_t i = 0; i < 100; i++) {
		struct got g = CALL(store_journal_result, id_text(i), on_list);
		assert_int_equal(g.n_list, 2);
		assert_int_equal(g.list[1].size, i);
	}
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(
			CALL(store_journal_result, id_text(100 + i), on_list).n_list, 40);
}

/* A result of 200 bytes: the first 8 tell them apart, the others are alike in parts. */
static void fill_result(char text[200], uint32_t number)
{
	snprintf(text, 200, "%08u", number);
	for (uint32_t i = 8; i < 200; i++)
		text[i] = (char)('a' + number * i / 50 % 5);
}

/* One settle of n events that are for one service each, with as many results. */
static void settle_alone(uint64_t turn, const uint8_t (*ids)[16], uint32_t n)
{
	static struct store_item items[64];
	static struct store_end ends[64];
	static char texts[64][200];
	const struct store_turn t = { 1, 1, turn, STORE_ARG("head"), STORE_ARG("body") };
	const struct store_ends entry = { .journal = 1,
		.epoch = 1,
		.turn = turn,
		.n_deliveries = n,
		.ends = ends,
		.n = n };
	for (uint32_t i = 0; i < n; i++) {
		items[i] = (struct store_item){ .n_deliveries = 1 };
		fill_result(texts[i], i);
		ends[i] = ended(i, 0);
		ends[i].id = ids[i];
		ends[i].alone = true;
		ends[i].result = (struct store_arg){ texts[i], sizeof texts[i] };
		ends[i].result_data = i % 3 * 90;
		ends[i].service = i % 4 ? "echo" : "a-longer-name";
	}
	assert_true(CALL(store_journal_store, &t, items, n, &bounds, on_stored).entry);
	assert_int_equal(settle(1, 1, turn + 1, &entry, 1).code, STORE_DONE);
}

static bool is_result(const void *id, uint32_t number)
{
	char text[200];
	struct got g = CALL(store_journal_result, id, on_list);
	fill_result(text, number);
	return g.n_list == 2 && g.list[1].size == 200 &&
	       memcmp(g.list[1].bytes, text, sizeof g.list[1].bytes) == 0;
}

/* They lie in one string, in which an id may stand by chance where none begins. */
static void results_in_a_blob(void **state)
{
	(void)state;
	uint8_t ids[20][16];
	for (uint64_t i = 0; i < 20; i++)
		memcpy(ids[i], id_text(i), 16);
	memcpy(ids[3], "event0zzzzevent0", 16);
	memcpy(ids[4], "event0abcd000000", 16);
	memcpy(ids[17], "event0event0abcd", 16);
	open_epoch(0);
	settle_alone(1, (const uint8_t(*)[16])ids, 17);
	REDIS("0", "EXISTS pirn:{0}:results:0");
	REDIS("1", "ZCARD pirn:{0}:results:0:blobs");
	for (uint32_t i = 0; i < 17; i++)
		assert_true(is_result(ids[i], i));
	assert_int_equal(CALL(store_journal_result, ids[17], on_list).n_list, 0);
	settle_alone(3, (const uint8_t(*)[16])ids, 18);
	assert_true(is_result(ids[17], 17));
	/* What is not near the others in time would not be found there. */
	flush(NULL);
	open_epoch(0);
	ids[19][3]++;
	settle_alone(1, (const uint8_t(*)[16])ids, 20);
	REDIS("20", "HLEN pirn:{0}:results:0");
	assert_true(is_result(ids[19], 19));
	assert_true(is_result(ids[0], 0));
}

/* They are bounded as the others are, and what goes leaves nothing behind. */
static void blobs_go(void **state)
{
	(void)state;
	uint8_t ids[20][16];
	bounds.results_max = 80000; /* one of 5,680 bytes a group */
	open_epoch(0);
	for (uint32_t turn = 0; turn < 40; turn++) {
		for (uint64_t i = 0; i < 20; i++)
			memcpy(ids[i], id_text(turn * 20 + i), 16);
		settle_alone(2 * turn + 1, (const uint8_t(*)[16])ids, 20);
	}
	assert_true(is_result(ids[19], 19));
	assert_true(is_result(id_text(35 * 20 + 7), 7));
	assert_int_equal(CALL(store_journal_result, id_text(7), on_list).n_list, 0);
	char *keys = harness_redis_command(server, "KEYS pirn:{0}:results:*.*");
	size_t n = 1;
	for (const char *at = keys; *at; at++)
		n += *at == '\n';
	assert_in_range(n, 10, 14);
	free(keys);
}

/* Far more results than there is room for: the newest are there, the oldest are not. */
static void results_are_bounded(void **state)
{
	(void)state;
	char text[200];
	size_t kept = 0, memory = 0;
	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	bounds.results_max = 16384;
	open_epoch(0);
	for (uint64_t i = 0; i < 200; i++) {
		store_events(1, 1, 2 * i + 1, i, 1);
		assert_int_equal(settle(1, 1, 2 * i + 2,
					 ENDS(1, 1, 2 * i + 1, 1, with_result(0, i, "echo", text)),
					 1)
					 .code,
			STORE_DONE);
	}
	for (uint64_t i = 0; i < 200; i++) {
		bool there = CALL(store_journal_result, id_text(i), on_list).n_list == 2;
		assert_true(there || !kept); /* once one is there, all newer ones are */
		kept += there;
	}
	assert_in_range(kept, 45, 60); /* 284 bytes each, the oldest eighth goes at a time */
	for (unsigned i = 0; i < 32; i++) {
		char *size = harness_redis_command(server, "MEMORY USAGE pirn:{0}:results:%u", i);
		memory += strtoul(size, NULL, 10);
		free(size);
	}
	assert_in_range(memory, 1, 40000);
	bounds.results_max = 100; /* larger than all there is room for: not kept, and nothing breaks */
	store_events(1, 1, 1000, 1000, 1);
	assert_int_equal(
		settle(1, 1, 1001, ENDS(1, 1, 1000, 1, with_result(0, 1000, "echo", text)), 1).code,
		STORE_DONE);
	assert_int_equal(CALL(store_journal_result, id_text(1000), on_list).n_list, 0);
}

/* ---- dead letters */

static void die(uint64_t turn, uint64_t entry_turn, uint64_t number)
{
	struct batch b;
	batch_init(&b);
	batch_add(&b, number, 1);
	b.deliveries[0][0].has_attempt = b.deliveries[0][0].has_budget = true;
	b.deliveries[0][0].attempt = b.deliveries[0][0].budget = 4;
	struct store_turn t = batch_turn(&b, 1, 1, turn);
	struct store_end e = { .bit = 0, .how = STORE_DEAD, .attempt = 3, .id = id_text(number),
		.service = "echo", .head = t.head, .body = t.body, .result = STORE_ARG("dead") };
	assert_int_equal(settle(1, 1, turn, ENDS(1, 1, entry_turn, 1, e), 1).code, STORE_DONE);
	batch_fini(&b);
}

static void on_redriven(void *arg, const struct store_page *page)
{
	struct got *g = arg;
	struct base_arena arena;
	Pirn__JournalEntry *entry;
	size_t n;
	got_says(g, &page->says);
	g->n = page->n;
	base_arena_init(&arena, 4096, 1 << 20);
	for (size_t i = 0; i < page->n; i++) {
		const struct store_entry *e = &page->entries[i];
		assert_int_equal(store_entry_unpack(&arena, e->head.data, e->head.size,
					 e->body.size, &entry, &n),
			BASE_OK);
		g->n_list = n;
		assert_int_equal(entry->events[0]->deliveries[0]->attempt, 4);
		assert_memory_equal(e->body.data, "0000000010", 10);
		assert_true(e->written_ms > UINT64_C(1600000000000));
	}
	base_arena_fini(&arena);
}

static void letters_are_kept_and_go_back(void **state)
{
	(void)state;
	struct got g;
	const uint8_t ids[3][16] = { "event0000000001", "event0000000001", "event0000000001" };
	uint8_t list[3][16];
	memcpy(list, ids, sizeof list);
	list[0][15] = '0';
	list[1][15] = '9';
	list[2][15] = '1';
	open_epoch(0);
	for (uint64_t i = 0; i < 2; i++) {
		store_events(1, 1, 2 * i + 1, 10 + i, 1);
		die(2 * i + 2, 2 * i + 1, 10 + i);
	}
	REDIS("0", "XLEN pirn:{0}:journal:1");
	REDIS("2", "HLEN pirn:{0}:dead:echo");
	g = CALL(store_journal_dead_get, "echo", list[0], on_list);
	assert_int_equal(g.n_list, 2);
	assert_memory_equal(g.list[1].bytes, "0000000010", 10);
	assert_int_equal(CALL(store_journal_dead_get, "echo", list[1], on_list).n_list, 0);
	g = CALL(store_journal_dead_list, "echo", "0", 100, on_list);
	assert_int_equal(g.n_list, 5);
	assert_memory_equal(g.list[0].bytes, "0", 1);
	struct store_turn turn = { .epoch = 1, .journal = 1, .turn = 4 };
	struct store_turn foreign = { .epoch = 7, .journal = 1, .turn = 9 };
	CHANGES_NOTHING(g = CALL(store_journal_redrive, &foreign, "echo", (const uint8_t(*)[16])list,
				3, 1000, on_list));
	assert_int_equal(g.code, STORE_FENCED);
	turn.turn = 5;
	g = CALL(store_journal_redrive, &turn, "echo", (const uint8_t(*)[16])list, 3, 15, on_list);
	assert_int_equal(g.n_list, 1); /* the second would be over 15 bytes */
	turn.turn = 6;
	g = CALL(store_journal_redrive, &turn, "echo", (const uint8_t(*)[16])list, 3, 15, on_list);
	assert_int_equal(g.n_list, 1);
	assert_memory_equal(g.list[0].bytes, list[2], 16);
	CHANGES_NOTHING(g = CALL(store_journal_redrive, &turn, "echo", (const uint8_t(*)[16])list, 3,
				15, on_list));
	assert_int_equal(g.n_list, 0);
	REDIS("0", "EXISTS pirn:{0}:dead:echo pirn:{0}:dead-body:echo");
	assert_int_equal(CALL(store_journal_result, list[0], on_list).n_list, 0);
	g = CALL(store_journal_read, 1, 1, 4, 1, 1000, on_redriven);
	assert_int_equal(g.n, 1);
	assert_int_equal(g.n_list, 1);
}

static void letters_go_back_together(void **state)
{
	(void)state;
	uint8_t list[2][16];
	memcpy(list[0], id_text(10), 16);
	memcpy(list[1], id_text(11), 16);
	open_epoch(0);
	for (uint64_t i = 0; i < 2; i++) {
		store_events(1, 1, 2 * i + 1, 10 + i, 1);
		die(2 * i + 2, 2 * i + 1, 10 + i);
	}
	struct store_turn turn = { .epoch = 1, .journal = 1, .turn = 2 };
	struct got g;
	CHANGES_NOTHING(g = CALL(store_journal_redrive, &turn, "echo", (const uint8_t(*)[16])list, 2,
				1000, on_list));
	assert_int_equal(g.code, STORE_REPEATED);
	turn.turn = 5;
	g = CALL(store_journal_redrive, &turn, "echo", (const uint8_t(*)[16])list, 2, 1000, on_list);
	assert_int_equal(g.n_list, 2);
	g = CALL(store_journal_read, 1, 1, 4, 1, 1000, on_redriven);
	assert_int_equal(g.n_list, 2); /* one entry with two deliveries */
}

static void purged_letters_are_gone(void **state)
{
	(void)state;
	uint8_t list[2][16];
	memcpy(list[0], id_text(10), 16);
	memcpy(list[1], id_text(11), 16);
	open_epoch(0);
	store_events(1, 1, 1, 10, 1);
	die(2, 1, 10);
	char text[BASE_ULID_TEXT + 1];
	base_ulid_print(list[0], text);
	REDIS("-1", "PTTL pirn:{0}:ops:%s:echo", text); /* kept with the letter */
	struct got g = CALL(store_journal_purge, "echo", (const uint8_t(*)[16])list, 2, on_count);
	assert_int_equal(g.n, 1);
	REDIS("0", "EXISTS pirn:{0}:dead:echo pirn:{0}:dead-body:echo");
	REDIS("1", "PERSIST pirn:{0}:ops:%s:echo", text); /* it had an expiry */
	CHANGES_NOTHING(
		g = CALL(store_journal_purge, "echo", (const uint8_t(*)[16])list, 2, on_count));
	assert_int_equal(g.n, 0);
}

/* ---- reading */

static void on_page(void *arg, const struct store_page *page)
{
	struct got *g = arg;
	got_says(g, &page->says);
	g->n = page->n;
	for (size_t i = 0; i < page->n; i++) {
		g->beats[i % MAX_LIST] = page->entries[i].turn;
		assert_int_equal(page->entries[i].epoch, 1);
		g->entry = store_entry_ended(
			page->entries[i].ended.data, page->entries[i].ended.size, 1);
	}
}

static void pages(void **state)
{
	(void)state;
	open_epoch(0);
	for (uint64_t turn = 1; turn <= 150; turn++)
		store_events(1, 1, turn, 10 * turn, 2);
	settle(1, 1, 151, ENDS(1, 1, 150, 2, ended(1, 1501)), 1);
	struct got g = CALL(store_journal_read, 1, 0, 0, 1000, 1 << 20, on_page);
	assert_int_equal(g.n, 150);
	assert_true(g.entry);
	g = CALL(store_journal_read, 1, 0, 0, 10, 1 << 20, on_page);
	assert_int_equal(g.n, 10);
	assert_int_equal(g.beats[9], 10);
	g = CALL(store_journal_read, 1, 1, 10, 1000, 1, on_page);
	assert_int_equal(g.n, 1); /* one always comes */
	assert_int_equal(g.beats[0], 11);
	g = CALL(store_journal_read, 1, 1, 100, 1000, 1000, on_page);
	assert_in_range(g.n, 5, 15);
	assert_int_equal(CALL(store_journal_read, 1, 1, 150, 10, 1000, on_page).n, 0);
	assert_int_equal(CALL(store_journal_read, 99, 0, 0, 10, 1000, on_page).n, 0);
}

/* ---- requests that cannot be meant */

static void invalid_requests(void **state)
{
	(void)state;
	struct store_turn turn = { .epoch = 1, .journal = 1, .turn = 1 };
	struct store_item item = { .n_deliveries = 1, .guard = STORE_GUARD_KEY };
	assert_int_equal(store_journal_store(f.redis, &turn, &item, 1, &bounds, on_stored, NULL),
		BASE_INVALID);
	assert_int_equal(store_journal_store(f.redis, &turn, &item, 0, &bounds, on_stored, NULL),
		BASE_INVALID);
	struct store_end end = ended(3, 1);
	struct store_ends ends = { .n_deliveries = 3, .ends = &end, .n = 1 };
	assert_int_equal(
		store_journal_settle(f.redis, &turn, false, &ends, 1, &bounds, on_settled, NULL),
		BASE_INVALID);
	end.bit = 2;
	end.service = "No";
	assert_int_equal(
		store_journal_settle(f.redis, &turn, false, &ends, 1, &bounds, on_settled, NULL),
		BASE_INVALID);
	assert_int_equal(
		store_journal_settle(f.redis, &turn, false, NULL, 0, &bounds, on_settled, NULL),
		BASE_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(epochs_count_up_and_own_a_journal, flush),
		cmocka_unit_test_setup(a_new_epoch_takes_what_the_old_one_had, flush),
		cmocka_unit_test_setup(adoption_needs_the_beat_as_seen, flush),
		cmocka_unit_test_setup(who_leaves_is_fenced_and_adopted_at_once, flush),
		cmocka_unit_test_setup(only_an_empty_adopted_journal_is_dropped, flush),
		cmocka_unit_test_setup(a_stored_entry_is_read_again, flush),
		cmocka_unit_test_setup(the_same_store_again_changes_nothing, flush),
		cmocka_unit_test_setup(duplicates_in_a_new_entry_are_ended, flush),
		cmocka_unit_test_setup(the_same_number_twice_in_one_call, flush),
		cmocka_unit_test_setup(a_run_with_a_hole, flush),
		cmocka_unit_test_setup(lanes_know_large_numbers_apart, flush),
		cmocka_unit_test_setup(store_is_fenced, flush),
		cmocka_unit_test_setup(dedupe_keys, flush),
		cmocka_unit_test_setup(a_hash_of_zeros, flush),
		cmocka_unit_test_setup(keys_of_their_own_time, flush),
		cmocka_unit_test_setup(keys_of_an_older_pirn, flush),
		cmocka_unit_test_setup(one_fate, flush),
		cmocka_unit_test_setup(a_key_thrice_in_one_call, flush),
		cmocka_unit_test_setup(a_number_twice_shares_its_fate, flush),
		cmocka_unit_test_setup(timers_are_a_chain, flush),
		cmocka_unit_test_setup(a_full_entry_goes, flush),
		cmocka_unit_test_setup(settle_is_fenced, flush),
		cmocka_unit_test_setup(a_retry_moves, flush),
		cmocka_unit_test_setup(out_of_memory, flush),
		cmocka_unit_test_setup(results_are_kept, flush),
		cmocka_unit_test_setup(results_of_an_older_pirn, flush),
		cmocka_unit_test_setup(many_results_in_one_call, flush),
		cmocka_unit_test_setup(a_blob_of_an_older_pirn, flush),
		cmocka_unit_test_setup(results_in_a_blob, flush),
		cmocka_unit_test_setup(blobs_go, flush),
		cmocka_unit_test_setup(results_are_bounded, flush),
		cmocka_unit_test_setup(letters_are_kept_and_go_back, flush),
		cmocka_unit_test_setup(letters_go_back_together, flush),
		cmocka_unit_test_setup(purged_letters_are_gone, flush),
		cmocka_unit_test_setup(pages, flush),
		cmocka_unit_test_setup(invalid_requests, flush),
	};
	return cmocka_run_group_tests(tests, server_start, server_stop);
}
