/* store/ops.c and its Functions: an operation is applied once for its delivery
 * whichever run asks, later runs get its result, and what is too late, superseded or
 * too much changes nothing; claims of calls with an Idempotency-Key. */
#include "tests/unit/journal_fixture.h"

#include "base/ulid.h"

#define FAR UINT64_C(4000000000000)

static struct store_run run_of(uint32_t attempt, uint32_t epoch)
{
	struct store_run run = { .service = "echo",
		.attempt = attempt,
		.epoch = epoch,
		.lease_end_ms = FAR,
		.keep_until_ms = FAR };
	memcpy(run.id, id_text(10), 16);
	return run;
}

static struct got apply_with(struct store_run run, const char *field,
	const struct store_read_record *reads, size_t n, struct store_op op)
{
	op.service = "echo";
	if (!op.key.data)
		op.key = STORE_ARG("k");
	return CALL(store_run_op, &run, STORE_ARG(field), reads, n, &op, on_run);
}

#define APPLY(run, field, ...) apply_with(run, field, NULL, 0, (struct store_op){ __VA_ARGS__ })
#define ADD(run, field, by)    APPLY(run, field, .kind = STORE_COUNTER_ADD, .number = (by))
#define TEXT(t) { (t), sizeof(t) - 1 }

static const char *ops_key(void)
{
	static char key[128];
	char text[BASE_ULID_TEXT + 1];
	base_ulid_print(id_text(10), text);
	snprintf(key, sizeof key, "pirn:{0}:ops:%s:echo", text);
	return key;
}

static void applied_once(void **state)
{
	(void)state;
	struct got g = ADD(run_of(1, 5), "f1", 7);
	assert_int_equal(g.code, STORE_DONE);
	assert_false(g.replayed);
	assert_int_equal(g.value_number, 7);
	CHANGES_NOTHING(g = ADD(run_of(1, 5), "f1", 7));
	assert_true(g.replayed);
	assert_int_equal(g.value_number, 7);
	CHANGES_NOTHING(g = ADD(run_of(2, 9), "f1", 7));
	assert_true(g.replayed);
	assert_int_equal(ADD(run_of(2, 9), "f2", 1).value_number, 8);
	REDIS("8", "GET pirn:{0}:state:echo:k");
	REDIS("4000000000000", "PEXPIRETIME %s", ops_key());
}

static void numbers_are_exact(void **state)
{
	(void)state;
	assert_int_equal(ADD(run_of(1, 1), "a", INT64_MAX - 1).value_number, INT64_MAX - 1);
	assert_int_equal(ADD(run_of(1, 1), "b", 1).value_number, INT64_MAX);
	struct got g = ADD(run_of(1, 1), "c", 1);
	assert_int_equal(g.err, BASE_OVERFLOW);
	REDIS("9223372036854775807", "GET pirn:{0}:state:echo:k");
	CHANGES_NOTHING(g = ADD(run_of(2, 1), "b", 1));
	assert_int_equal(g.value_number, INT64_MAX);
	CHANGES_NOTHING(g = ADD(run_of(2, 1), "c", 1)); /* a failure is replayed too */
	assert_int_equal(g.err, BASE_OVERFLOW);
	g = APPLY(run_of(1, 1), "h", .kind = STORE_HASH_ADD, .key = TEXT("h"), .field = TEXT("x"),
		.number = INT64_MIN);
	assert_int_equal(g.value_number, INT64_MIN);
}

static void too_late_or_superseded(void **state)
{
	(void)state;
	struct got g;
	struct store_run late = run_of(1, 1);
	late.lease_end_ms = 1000;
	CHANGES_NOTHING(g = ADD(late, "a", 1));
	assert_int_equal(g.code, STORE_LEASE);
	ADD(run_of(2, 300), "a", 1);
	CHANGES_NOTHING(g = ADD(run_of(1, 4000000000u), "b", 1));
	assert_int_equal(g.code, STORE_SUPERSEDED);
	assert_int_equal(g.number, 2);
	CHANGES_NOTHING(g = ADD(run_of(2, 299), "b", 1));
	assert_int_equal(g.code, STORE_SUPERSEDED);
	CHANGES_NOTHING(g = ADD(run_of(2, 299), "a", 1)); /* not even what is recorded */
	assert_int_equal(g.code, STORE_SUPERSEDED);
	assert_int_equal(ADD(run_of(2, 300), "b", 1).code, STORE_DONE);
	assert_int_equal(ADD(run_of(2, 4294967295u), "c", 1).code, STORE_DONE);
	CHANGES_NOTHING(g = ADD(run_of(2, 4294967294u), "d", 1)); /* one apart, beyond 2^53 */
	assert_int_equal(g.code, STORE_SUPERSEDED);
}

static void reads_ride_with_the_next_write(void **state)
{
	(void)state;
	struct got read, g;
	free(harness_redis_command(server, "SET pirn:{0}:state:echo:other before"));
	CHANGES_NOTHING(read = APPLY(run_of(1, 1), "r1", .kind = STORE_KEY_GET,
				.key = TEXT("other")));
	assert_string_equal(read.value, "before");
	const struct store_read_record records[] = { { STORE_ARG("r1"),
		{ read.record, read.record_size } } };
	g = apply_with(run_of(1, 1), "w1", records, 1,
		(struct store_op){ .kind = STORE_COUNTER_ADD, .number = 1 });
	assert_int_equal(g.code, STORE_DONE);
	free(harness_redis_command(server, "SET pirn:{0}:state:echo:other after"));
	g = APPLY(run_of(2, 1), "r1", .kind = STORE_KEY_GET, .key = TEXT("other"));
	assert_true(g.replayed);
	assert_string_equal(g.value, "before");
	g = APPLY(run_of(2, 1), "r2", .kind = STORE_KEY_GET, .key = TEXT("other"));
	assert_false(g.replayed);
	assert_string_equal(g.value, "after");
}

static void every_operation(void **state)
{
	(void)state;
	struct store_run run = run_of(1, 1);
	struct got g = APPLY(run, "1", .kind = STORE_KEY_SET, .value = TEXT("a\0b"));
	assert_int_equal(g.err, BASE_OK);
	g = APPLY(run, "2", .kind = STORE_KEY_GET);
	assert_int_equal(g.value_size, 3);
	g = APPLY(run, "3", .kind = STORE_KEY_CAS, .expected = TEXT("x"), .value = TEXT("y"));
	assert_int_equal(g.err, BASE_MISMATCH);
	g = APPLY(run, "4", .kind = STORE_KEY_CAS, .expected = TEXT("a\0b"), .value = TEXT("y"),
		.ttl_ms = 100000);
	assert_int_equal(g.err, BASE_OK);
	g = ADD(run, "5", 1);
	assert_int_equal(g.err, BASE_TYPE);
	g = APPLY(run, "6", .kind = STORE_COUNTER_GET);
	assert_int_equal(g.err, BASE_TYPE);
	g = APPLY(run, "7", .kind = STORE_KEY_DELETE);
	assert_int_equal(g.value_number, 1);
	assert_int_equal(APPLY(run, "8", .kind = STORE_KEY_GET).err, BASE_NOT_FOUND);
	g = APPLY(run, "9", .kind = STORE_COUNTER_GET);
	assert_int_equal(g.err, BASE_OK);
	assert_int_equal(g.value_number, 0);
	g = APPLY(run, "10", .kind = STORE_HASH_SET, .field = TEXT("f"), .value = TEXT("v"));
	assert_int_equal(g.value_number, 1);
	assert_string_equal(APPLY(run, "11", .kind = STORE_HASH_GET, .field = TEXT("f")).value, "v");
	g = APPLY(run, "12", .kind = STORE_HASH_ALL);
	struct store_arg pairs = { g.record + 1, g.record_size - 1 }, next;
	size_t at = 0;
	assert_true(store_record_next(pairs, &at, &next));
	assert_memory_equal(next.data, "f", 1);
	assert_true(store_record_next(pairs, &at, &next));
	assert_memory_equal(next.data, "v", 1);
	assert_false(store_record_next(pairs, &at, &next));
	g = APPLY(run, "13", .kind = STORE_HASH_DELETE, .field = TEXT("f"));
	assert_int_equal(g.value_number, 1);
	CHANGES_NOTHING(g = APPLY(run_of(2, 2), "3", .kind = STORE_KEY_CAS, .value = TEXT("z")));
	assert_int_equal(g.err, BASE_MISMATCH);
	assert_true(g.replayed);
	assert_true(store_op_reads(STORE_HASH_ALL));
	assert_false(store_op_reads(STORE_KEY_CAS));
}

static void limits(void **state)
{
	(void)state;
	struct got g;
	char field[32];
	static char big[200000];
	for (int i = 0; i < 1000; i++) {
		snprintf(field, sizeof field, "f%d", i);
		assert_int_equal(ADD(run_of(1, 1), field, 1).code, STORE_DONE);
	}
	CHANGES_NOTHING(g = ADD(run_of(1, 1), "one more", 1));
	assert_int_equal(g.code, STORE_LIMIT);
	assert_true(ADD(run_of(1, 1), "f0", 1).replayed);
	flush(NULL);
	memset(big, 's', sizeof big);
	const struct store_read_record records[] = { { STORE_ARG("r1"), { big, sizeof big } },
		{ STORE_ARG("r2"), { big, sizeof big } } };
	const struct store_op add = { .kind = STORE_COUNTER_ADD, .number = 1 };
	CHANGES_NOTHING(g = apply_with(run_of(1, 1), "w", records, 2, add));
	assert_int_equal(g.code, STORE_LIMIT);
	assert_int_equal(apply_with(run_of(1, 1), "w", records, 1, add).code, STORE_DONE);
	CHANGES_NOTHING(g = apply_with(run_of(1, 1), "v", records + 1, 1, add));
	assert_int_equal(g.code, STORE_LIMIT);
}

static struct got end_it(uint64_t turn, struct store_end end)
{
	store_events(1, 1, turn, 10 + turn * 100, 1);
	end.id = id_text(10);
	end.service = "echo";
	return settle(1, 1, turn + 1, ENDS(1, 1, turn, 1, end), 1);
}

static void an_end_fences_what_comes_later(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	uint64_t now = beat(1).now_ms;
	ADD(run_of(1, 1), "a", 1);
	assert_int_equal(end_it(1, (struct store_end){ .how = STORE_ENDED, .attempt = 2,
					   .fence_ms = now + 100000 })
				 .code,
		STORE_DONE);
	CHANGES_NOTHING(g = ADD(run_of(2, 4294967294u), "b", 1));
	assert_int_equal(g.code, STORE_SUPERSEDED);
	char expires[32];
	snprintf(expires, sizeof expires, "%llu", (unsigned long long)now + 160000);
	REDIS(expires, "PEXPIRETIME %s", ops_key());
	flush(NULL);
	open_epoch(0);
	ADD(run_of(1, 1), "a", 1);
	end_it(1, (struct store_end){ .how = STORE_ENDED, .only_run = true });
	REDIS("0", "EXISTS %s", ops_key());
	REDIS("1", "GET pirn:{0}:state:echo:k");
}

static void a_letter_keeps_the_records_for_the_redrive(void **state)
{
	(void)state;
	struct got g;
	open_epoch(0);
	ADD(run_of(3, 1), "a", 5);
	end_it(1, (struct store_end){ .how = STORE_DEAD, .attempt = 3, .head = TEXT("h"),
			  .body = TEXT("") });
	REDIS("-1", "PEXPIRETIME %s", ops_key());
	CHANGES_NOTHING(g = ADD(run_of(3, 9), "b", 1));
	assert_int_equal(g.code, STORE_SUPERSEDED);
	CHANGES_NOTHING(g = ADD(run_of(4, 1), "a", 5));
	assert_true(g.replayed);
	assert_int_equal(ADD(run_of(4, 1), "b", 1).value_number, 6);
	REDIS("4000000000000", "PEXPIRETIME %s", ops_key());
}

static void bad_requests(void **state)
{
	(void)state;
	struct store_run run = run_of(1, 1);
	struct store_op op = { .kind = STORE_COUNTER_ADD, .service = "echo" };
	assert_int_equal(store_run_op(f.redis, &run, STORE_ARG("f"), NULL, 0, &op, on_run, NULL),
		BASE_RANGE);
	op.key = STORE_ARG("k");
	assert_int_equal(
		store_run_op(f.redis, &run, STORE_ARG(""), NULL, 0, &op, on_run, NULL), BASE_INVALID);
	op.service = "mail"; /* a run works on its own service's state */
	assert_int_equal(
		store_run_op(f.redis, &run, STORE_ARG("f"), NULL, 0, &op, on_run, NULL), BASE_INVALID);
	size_t at = 0;
	struct store_arg next;
	assert_false(store_record_next((struct store_arg){ "\0\0\0\5abcd", 8 }, &at, &next));
	assert_false(store_record_next((struct store_arg){ "\xff\xff\xff\xff", 4 }, &at, &next));
}

/* ---- claims */

static struct got claim(const char *hash, uint64_t number, uint64_t until)
{
	return CALL(store_claim, "post /pay", STORE_ARG("key"), STORE_ARG(hash), id_text(number),
		until, &bounds, on_claimed);
}

static struct got answer_call_again(
	uint64_t number, uint32_t run, struct store_arg response, bool again)
{
	return CALL(store_answer, "post /pay", STORE_ARG("key"), id_text(number), run, "echo",
		response, again, &bounds, on_count);
}

static struct got answer_call(uint64_t number, uint32_t run, struct store_arg response)
{
	return answer_call_again(number, run, response, false);
}

/* Its broker was lost, and it came by another one: it is not in its own way. */
static void claimed_again_by_the_same_request(void **state)
{
	(void)state;
	assert_int_equal(claim("h", 10, FAR).run, 1);
	ADD(run_of(1, 0), "a", 1);
	struct got g = claim("h", 10, FAR);
	assert_int_equal(g.kind, STORE_CLAIM_RUN);
	assert_int_equal(g.run, 2);
	assert_true(ADD(run_of(2, 0), "a", 1).replayed);
	CHANGES_NOTHING(g = answer_call(10, 1, (struct store_arg)TEXT("late")));
	assert_int_equal(g.code, STORE_STALE);
	CHANGES_NOTHING(g = claim("h", 11, FAR));
	assert_int_equal(g.kind, STORE_CLAIM_BUSY);
	/* Whoever has it now is meant, not whoever was the first. */
	assert_int_equal(answer_call(10, 2, (struct store_arg){ NULL, 0 }).n, 1);
	g = claim("h", 11, FAR);
	assert_int_equal(g.run, 3);
	CHANGES_NOTHING(g = claim("h", 10, FAR));
	assert_int_equal(g.kind, STORE_CLAIM_BUSY);
	assert_int_equal(claim("h", 11, FAR).run, 4);
}

static void claims(void **state)
{
	(void)state;
	struct got g = claim("h", 10, FAR);
	assert_int_equal(g.kind, STORE_CLAIM_RUN);
	assert_int_equal(g.run, 1);
	CHANGES_NOTHING(g = claim("h", 11, FAR));
	assert_int_equal(g.kind, STORE_CLAIM_BUSY);
	CHANGES_NOTHING(g = claim("other", 11, FAR));
	assert_int_equal(g.kind, STORE_CLAIM_BODY);
	ADD(run_of(1, 0), "a", 1);
	assert_int_equal(answer_call(10, 1, (struct store_arg){ NULL, 0 }).n, 1); /* a 503 */
	g = claim("h", 12, FAR);
	assert_int_equal(g.kind, STORE_CLAIM_RUN);
	assert_int_equal(g.run, 2);
	assert_memory_equal(g.id, id_text(10), 16); /* the first id, so that its operations replay */
	assert_true(ADD(run_of(2, 0), "a", 1).replayed);
	CHANGES_NOTHING(g = answer_call(10, 1, (struct store_arg)TEXT("late")));
	assert_int_equal(g.code, STORE_STALE);
	CHANGES_NOTHING(g = answer_call(12, 2, (struct store_arg)TEXT("not its id")));
	assert_int_equal(g.code, STORE_STALE);
	assert_int_equal(answer_call(10, 2, (struct store_arg)TEXT("201")).n, 1);
	/* The first run may still go on: nothing of what it asks for is done a second time. */
	REDIS("1", "HLEN %s", ops_key());
	CHANGES_NOTHING(g = ADD(run_of(1, 0), "a", 1));
	assert_int_equal(g.code, STORE_SUPERSEDED);
	CHANGES_NOTHING(g = answer_call(10, 2, (struct store_arg)TEXT("201")));
	assert_int_equal(g.code, STORE_DONE);
	CHANGES_NOTHING(g = claim("h", 13, FAR));
	assert_int_equal(g.kind, STORE_CLAIM_ANSWER);
	assert_string_equal(g.value, "201");
}

/* Its first run was lost before it wrote anything, and may still be about to. */
static void a_run_that_left_no_record_is_fenced(void **state)
{
	(void)state;
	assert_int_equal(claim("h", 10, FAR).run, 1);
	assert_int_equal(answer_call_again(10, 1, (struct store_arg)TEXT("200"), true).n, 1);
	REDIS("1", "HLEN %s", ops_key());
	struct got g;
	CHANGES_NOTHING(g = ADD(run_of(1, 0), "a", 1));
	assert_int_equal(g.code, STORE_SUPERSEDED);
}

static void claims_run_out(void **state)
{
	(void)state;
	claim("h", 10, 1000);
	struct got g = claim("h", 11, FAR);
	assert_int_equal(g.kind, STORE_CLAIM_RUN);
	assert_int_equal(g.run, 2);
	CHANGES_NOTHING(g = answer_call(10, 1, (struct store_arg){ NULL, 0 }));
	assert_int_equal(g.code, STORE_STALE);
	flush(NULL);
	bounds.dedupe_max = 100;
	CHANGES_NOTHING(g = claim("h", 10, FAR));
	assert_int_equal(g.kind, STORE_CLAIM_FULL);
}

static void a_key_that_an_event_has(void **state)
{
	(void)state;
	struct batch b;
	open_epoch(0);
	batch_init(&b);
	struct store_item *item = batch_add(&b, 77, 1);
	item->guard = STORE_GUARD_KEY;
	item->scope = "post /pay";
	item->key = STORE_ARG("key");
	item->hash = STORE_ARG("h");
	store_batch(&b, 1, 1, 1);
	batch_fini(&b);
	struct got g;
	CHANGES_NOTHING(g = claim("h", 10, FAR));
	assert_int_equal(g.kind, STORE_CLAIM_EVENT);
	assert_memory_equal(g.id, id_text(77), 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(applied_once, flush),
		cmocka_unit_test_setup(numbers_are_exact, flush),
		cmocka_unit_test_setup(too_late_or_superseded, flush),
		cmocka_unit_test_setup(reads_ride_with_the_next_write, flush),
		cmocka_unit_test_setup(every_operation, flush),
		cmocka_unit_test_setup(limits, flush),
		cmocka_unit_test_setup(an_end_fences_what_comes_later, flush),
		cmocka_unit_test_setup(a_letter_keeps_the_records_for_the_redrive, flush),
		cmocka_unit_test_setup(bad_requests, flush),
		cmocka_unit_test_setup(claims, flush),
		cmocka_unit_test_setup(claimed_again_by_the_same_request, flush),
		cmocka_unit_test_setup(a_run_that_left_no_record_is_fenced, flush),
		cmocka_unit_test_setup(claims_run_out, flush),
		cmocka_unit_test_setup(a_key_that_an_event_has, flush),
	};
	return cmocka_run_group_tests(tests, server_start, server_stop);
}
