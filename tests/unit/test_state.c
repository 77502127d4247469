/* store/state.c against a real redis-server: what each operation answers, that what
 * is refused changes nothing, and how Redis's own errors are told. */
#include "tests/unit/store_fixture.h"

#include "store/state.h"

static struct harness_redis *server;
static struct fixture f;

static int start(void **state)
{
	(void)state;
	server = harness_redis_start(false, NULL);
	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = harness_redis_url(server),
				    .library = store_functions_lua });
	WAIT_FOR(&f, f.ups == 1);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fixture_fini(&f);
	harness_redis_stop(&server);
	return 0;
}

static int flush(void **state)
{
	(void)state;
	free(harness_redis_command(server, "FLUSHALL"));
	return 0;
}

struct outcome {
	bool came;
	enum base_err err;
	int64_t number;
	size_t size, n_pairs;
	char value[64], first[64], second[64];
};

static void copy(char *to, size_t room, const struct store_reply *from)
{
	snprintf(to, room, "%.*s", (int)from->size, from->text);
}

static void on_result(void *arg, const struct store_result *result)
{
	struct outcome *o = arg;
	assert_false(o->came);
	o->came = true;
	o->err = result->err;
	o->number = result->number;
	o->size = result->value.size;
	if (result->value.data)
		memcpy(o->value, result->value.data,
			o->size < sizeof o->value ? o->size : sizeof o->value - 1);
	if (result->pairs && (o->n_pairs = result->pairs->n / 2)) {
		struct store_reply field = store_reply_at(result->pairs, 0),
				   value = store_reply_at(result->pairs, 1);
		copy(o->first, sizeof o->first, &field);
		copy(o->second, sizeof o->second, &value);
	}
}

static struct outcome run(struct store_op op)
{
	struct outcome o = { 0 };
	op.service = "svc";
	enum base_err err = store_op_start(f.redis, &op, on_result, &o);
	if (err) {
		assert_false(o.came);
		return (struct outcome){ .err = err };
	}
	WAIT_FOR(&f, o.came);
	return o;
}

#define OP(...) run((struct store_op){ __VA_ARGS__ })
#define TEXT(t) \
	{ \
		(t), sizeof(t) - 1 \
	}

static void counters(void **state)
{
	(void)state;
	assert_int_equal(OP(.kind = STORE_COUNTER_GET, .key = TEXT("c")).number, 0);
	assert_int_equal(OP(.kind = STORE_COUNTER_ADD, .key = TEXT("c"), .number = 5).number, 5);
	assert_int_equal(OP(.kind = STORE_COUNTER_ADD, .key = TEXT("c"), .number = -7).number, -2);
	struct outcome o = OP(.kind = STORE_COUNTER_GET, .key = TEXT("c"));
	assert_int_equal(o.err, BASE_OK);
	assert_int_equal(o.number, -2);
	assert_true(harness_redis_says(server, "-2", "GET pirn:{0}:state:svc:c"));
}

static void overflow_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(
		OP(.kind = STORE_COUNTER_ADD, .key = TEXT("c"), .number = INT64_MAX).number,
		INT64_MAX);
	assert_int_equal(
		OP(.kind = STORE_COUNTER_ADD, .key = TEXT("c"), .number = 1).err, BASE_OVERFLOW);
	assert_int_equal(OP(.kind = STORE_COUNTER_GET, .key = TEXT("c")).number, INT64_MAX);
	assert_int_equal(
		OP(.kind = STORE_COUNTER_ADD, .key = TEXT("d"), .number = INT64_MIN).number,
		INT64_MIN);
	assert_int_equal(
		OP(.kind = STORE_COUNTER_ADD, .key = TEXT("d"), .number = -1).err, BASE_OVERFLOW);
	assert_int_equal(OP(.kind = STORE_COUNTER_GET, .key = TEXT("d")).number, INT64_MIN);
	assert_int_equal(OP(.kind = STORE_HASH_ADD, .key = TEXT("h"), .field = TEXT("f"),
				 .number = INT64_MAX)
				 .number,
		INT64_MAX);
	assert_int_equal(
		OP(.kind = STORE_HASH_ADD, .key = TEXT("h"), .field = TEXT("f"), .number = 1).err,
		BASE_OVERFLOW);
	assert_string_equal(OP(.kind = STORE_HASH_GET, .key = TEXT("h"), .field = TEXT("f")).value,
		"9223372036854775807");
}

static void keys(void **state)
{
	(void)state;
	assert_int_equal(OP(.kind = STORE_KEY_GET, .key = TEXT("k")).err, BASE_NOT_FOUND);
	assert_int_equal(
		OP(.kind = STORE_KEY_SET, .key = TEXT("k"), .value = TEXT("a\0b")).err, BASE_OK);
	struct outcome o = OP(.kind = STORE_KEY_GET, .key = TEXT("k"));
	assert_int_equal(o.size, 3);
	assert_memory_equal(o.value, "a\0b", 3);
	assert_int_equal(
		OP(.kind = STORE_KEY_SET, .key = TEXT("k"), .value = { "", 0 }).err, BASE_OK);
	o = OP(.kind = STORE_KEY_GET, .key = TEXT("k"));
	assert_int_equal(o.err, BASE_OK);
	assert_int_equal(o.size, 0);
	assert_int_equal(OP(.kind = STORE_KEY_DELETE, .key = TEXT("k")).number, 1);
	assert_int_equal(OP(.kind = STORE_KEY_DELETE, .key = TEXT("k")).number, 0);
}

static bool gone(const char *key)
{
	char *reply = harness_redis_command(server, "EXISTS %s", key);
	bool none = strcmp(reply, "0") == 0;
	free(reply);
	return none;
}

static void time_to_live(void **state)
{
	(void)state;
	assert_int_equal(
		OP(.kind = STORE_KEY_SET, .key = TEXT("k"), .value = TEXT("x"), .ttl_ms = 100000)
			.err,
		BASE_OK);
	char *left = harness_redis_command(server, "PTTL pirn:{0}:state:svc:k");
	assert_in_range(atoi(left), 1, 100000);
	free(left);
	assert_int_equal(
		OP(.kind = STORE_KEY_SET, .key = TEXT("k"), .value = TEXT("x")).err, BASE_OK);
	assert_true(harness_redis_says(server, "-1", "PTTL pirn:{0}:state:svc:k"));
	assert_int_equal(OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .expected = TEXT("x"),
				 .value = TEXT("y"), .ttl_ms = 20)
				 .err,
		BASE_OK);
	while (!gone("pirn:{0}:state:svc:k"))
		;
	assert_int_equal(OP(.kind = STORE_KEY_GET, .key = TEXT("k")).err, BASE_NOT_FOUND);
	assert_int_equal(OP(.kind = STORE_KEY_SET, .key = TEXT("k"), .value = TEXT("x"),
				 .ttl_ms = UINT64_MAX)
				 .err,
		BASE_RANGE);
}

static void compare_and_set(void **state)
{
	(void)state;
	assert_int_equal(OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .expected = TEXT(""),
				 .value = TEXT("1"))
				 .err,
		BASE_MISMATCH);
	assert_int_equal(
		OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .value = TEXT("")).err, BASE_OK);
	assert_int_equal(
		OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .value = TEXT("2")).err, BASE_MISMATCH);
	assert_int_equal(OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .expected = TEXT("other"),
				 .value = TEXT("2"))
				 .err,
		BASE_MISMATCH);
	assert_int_equal(OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .expected = TEXT(""),
				 .value = TEXT("3\0"))
				 .err,
		BASE_OK);
	assert_int_equal(OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .expected = TEXT("3"),
				 .value = TEXT("4"))
				 .err,
		BASE_MISMATCH);
	assert_int_equal(OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .expected = TEXT("3\0"),
				 .value = TEXT("4"))
				 .err,
		BASE_OK);
	assert_string_equal(OP(.kind = STORE_KEY_GET, .key = TEXT("k")).value, "4");
}

static void hashes(void **state)
{
	(void)state;
	assert_int_equal(OP(.kind = STORE_HASH_ALL, .key = TEXT("h")).n_pairs, 0);
	assert_int_equal(OP(.kind = STORE_HASH_GET, .key = TEXT("h"), .field = TEXT("f")).err,
		BASE_NOT_FOUND);
	assert_int_equal(
		OP(.kind = STORE_HASH_SET, .key = TEXT("h"), .field = TEXT("f"), .value = TEXT("v"))
			.number,
		1);
	assert_int_equal(
		OP(.kind = STORE_HASH_SET, .key = TEXT("h"), .field = TEXT("f"), .value = TEXT("w"))
			.number,
		0);
	struct outcome o = OP(.kind = STORE_HASH_ALL, .key = TEXT("h"));
	assert_int_equal(o.n_pairs, 1);
	assert_string_equal(o.first, "f");
	assert_string_equal(o.second, "w");
	assert_int_equal(
		OP(.kind = STORE_HASH_ADD, .key = TEXT("h"), .field = TEXT("n"), .number = 3)
			.number,
		3);
	assert_int_equal(
		OP(.kind = STORE_HASH_DELETE, .key = TEXT("h"), .field = TEXT("f")).number, 1);
	assert_int_equal(
		OP(.kind = STORE_HASH_DELETE, .key = TEXT("h"), .field = TEXT("f")).number, 0);
}

static void the_wrong_sort_is_type(void **state)
{
	(void)state;
	assert_int_equal(
		OP(.kind = STORE_KEY_SET, .key = TEXT("text"), .value = TEXT("abc")).err, BASE_OK);
	assert_int_equal(OP(.kind = STORE_HASH_SET, .key = TEXT("hash"), .field = TEXT("f"),
				 .value = TEXT("abc"))
				 .err,
		BASE_OK);
	assert_int_equal(
		OP(.kind = STORE_COUNTER_ADD, .key = TEXT("text"), .number = 1).err, BASE_TYPE);
	assert_int_equal(OP(.kind = STORE_COUNTER_GET, .key = TEXT("text")).err, BASE_TYPE);
	assert_int_equal(
		OP(.kind = STORE_COUNTER_ADD, .key = TEXT("hash"), .number = 1).err, BASE_TYPE);
	assert_int_equal(OP(.kind = STORE_COUNTER_GET, .key = TEXT("hash")).err, BASE_TYPE);
	assert_int_equal(OP(.kind = STORE_KEY_GET, .key = TEXT("hash")).err, BASE_TYPE);
	assert_int_equal(
		OP(.kind = STORE_KEY_CAS, .key = TEXT("hash"), .value = TEXT("x")).err, BASE_TYPE);
	assert_int_equal(OP(.kind = STORE_HASH_ALL, .key = TEXT("text")).err, BASE_TYPE);
	assert_int_equal(OP(.kind = STORE_HASH_SET, .key = TEXT("text"), .field = TEXT("f"),
				 .value = TEXT("x"))
				 .err,
		BASE_TYPE);
	assert_int_equal(
		OP(.kind = STORE_HASH_ADD, .key = TEXT("hash"), .field = TEXT("f"), .number = 1)
			.err,
		BASE_TYPE);
	assert_string_equal(OP(.kind = STORE_KEY_GET, .key = TEXT("text")).value, "abc");
	assert_string_equal(
		OP(.kind = STORE_HASH_GET, .key = TEXT("hash"), .field = TEXT("f")).value, "abc");
}

static void numbers_that_are_no_counters(void **state)
{
	(void)state;
	static const char *const texts[] = { "", " 1", "1 ", "+1", "01", "-0", "1.0",
		"9223372036854775808", "-9223372036854775809", "123456789012345678901234567890" };
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		assert_int_equal(
			OP(.kind = STORE_KEY_SET, .key = TEXT("n"), .value = STORE_ARG(texts[i]))
				.err,
			BASE_OK);
		assert_int_equal(OP(.kind = STORE_COUNTER_GET, .key = TEXT("n")).err, BASE_TYPE);
	}
}

static void limits(void **state)
{
	(void)state;
	static char big[STORE_VALUE_MAX + 1];
	assert_int_equal(
		OP(.kind = STORE_KEY_SET, .key = TEXT("k"), .value = { big, sizeof big }).err,
		BASE_TOO_LARGE);
	assert_int_equal(OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .value = TEXT("x"),
				 .expected = { big, sizeof big })
				 .err,
		BASE_TOO_LARGE);
	assert_int_equal(
		OP(.kind = STORE_KEY_SET, .key = TEXT("k"), .value = { big, sizeof big - 1 }).err,
		BASE_OK);
	assert_int_equal(OP(.kind = STORE_KEY_GET, .key = TEXT("k")).size, STORE_VALUE_MAX);
	assert_int_equal(OP(.kind = STORE_KEY_SET, .key = TEXT("k")).err, BASE_INVALID);
	assert_int_equal(
		OP(.kind = STORE_KEY_SET, .key = { big, 513 }, .value = TEXT("x")).err, BASE_RANGE);
	assert_int_equal(OP(.kind = STORE_KEY_GET).err, BASE_RANGE);
	assert_int_equal(OP(.kind = STORE_HASH_GET, .key = TEXT("h")).err, BASE_RANGE);
	assert_int_equal(OP(.kind = STORE_HASH_GET, .key = TEXT("h"), .field = { big, 513 }).err,
		BASE_RANGE);
}

static void two_services_share_nothing(void **state)
{
	(void)state;
	struct outcome a = { 0 }, b = { 0 };
	const struct store_op first = {
		.kind = STORE_COUNTER_ADD, .service = "a", .key = TEXT("n"), .number = 1
	};
	const struct store_op second = {
		.kind = STORE_COUNTER_ADD, .service = "b", .key = TEXT("n"), .number = 10
	};
	assert_int_equal(store_op_start(f.redis, &first, on_result, &a), BASE_OK);
	assert_int_equal(store_op_start(f.redis, &second, on_result, &b), BASE_OK);
	WAIT_FOR(&f, a.came && b.came);
	assert_int_equal(a.number, 1);
	assert_int_equal(b.number, 10);
}

static void out_of_memory_is_full(void **state)
{
	(void)state;
	free(harness_redis_command(server, "CONFIG SET maxmemory 1"));
	assert_int_equal(
		OP(.kind = STORE_COUNTER_ADD, .key = TEXT("c"), .number = 1).err, BASE_FULL);
	assert_int_equal(
		OP(.kind = STORE_KEY_CAS, .key = TEXT("c"), .value = TEXT("1")).err, BASE_FULL);
	free(harness_redis_command(server, "CONFIG SET maxmemory 0"));
	assert_int_equal(OP(.kind = STORE_COUNTER_GET, .key = TEXT("c")).number, 0);
}

static void a_fall_is_unknown_and_then_unavailable(void **state)
{
	(void)state;
	struct outcome o = { 0 };
	const struct store_op add = {
		.kind = STORE_COUNTER_ADD, .service = "svc", .key = TEXT("c"), .number = 1
	};
	harness_redis_pause(server);
	assert_int_equal(store_op_start(f.redis, &add, on_result, &o), BASE_OK);
	harness_redis_kill(server);
	WAIT_FOR(&f, o.came);
	assert_int_equal(o.err, BASE_IO);
	assert_int_equal(store_op_start(f.redis, &add, on_result, &o), BASE_UNAVAILABLE);
	harness_redis_restart(server);
	WAIT_FOR(&f, store_redis_up(f.redis));
	assert_int_equal(OP(.kind = STORE_COUNTER_ADD, .key = TEXT("c"), .number = 0).err, BASE_OK);
}

static void a_lost_function_is_unavailable_and_comes_back(void **state)
{
	(void)state;
	free(harness_redis_command(server, "FUNCTION FLUSH"));
	assert_int_equal(OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .value = TEXT("x")).err,
		BASE_UNAVAILABLE);
	assert_int_equal(
		OP(.kind = STORE_KEY_CAS, .key = TEXT("k"), .value = TEXT("x")).err, BASE_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(counters, flush),
		cmocka_unit_test_setup(overflow_changes_nothing, flush),
		cmocka_unit_test_setup(keys, flush),
		cmocka_unit_test_setup(time_to_live, flush),
		cmocka_unit_test_setup(compare_and_set, flush),
		cmocka_unit_test_setup(hashes, flush),
		cmocka_unit_test_setup(the_wrong_sort_is_type, flush),
		cmocka_unit_test_setup(numbers_that_are_no_counters, flush),
		cmocka_unit_test_setup(limits, flush),
		cmocka_unit_test_setup(two_services_share_nothing, flush),
		cmocka_unit_test_setup(out_of_memory_is_full, flush),
		cmocka_unit_test_setup(a_fall_is_unknown_and_then_unavailable, flush),
		cmocka_unit_test_setup(a_lost_function_is_unavailable_and_comes_back, flush),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
