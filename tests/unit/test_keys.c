#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "store/keys.h"

static void a_state_key(void **state)
{
	(void)state;
	struct store_key key;
	assert_int_equal(store_key_state(&key, "counter", "a:b", 3), BASE_OK);
	const char wanted[] = "pirn:{0}:state:counter:a:b";
	assert_int_equal(key.size, sizeof wanted - 1);
	assert_memory_equal(key.bytes, wanted, key.size);
	assert_ptr_equal(store_key_arg(&key).data, key.bytes);
	assert_int_equal(store_key_arg(&key).size, key.size);
}

static void any_bytes_are_a_key(void **state)
{
	(void)state;
	struct store_key key;
	char longest[STORE_STATE_KEY_MAX];
	char service[STORE_SERVICE_MAX + 1] = { 0 };
	memset(longest, 0xff, sizeof longest);
	memset(service, 'a', STORE_SERVICE_MAX);
	assert_int_equal(store_key_state(&key, service, longest, sizeof longest), BASE_OK);
	assert_memory_equal(key.bytes + key.size - sizeof longest, longest, sizeof longest);
	assert_int_equal(store_key_state(&key, "s", "\0\r\n", 3), BASE_OK);
	assert_memory_equal(key.bytes + key.size - 3, "\0\r\n", 3);
}

static void what_is_outside_the_limits_is_refused(void **state)
{
	(void)state;
	struct store_key key = { .size = 7 };
	char longer[STORE_STATE_KEY_MAX + 1] = { 0 };
	char service[STORE_SERVICE_MAX + 2] = { 0 };
	memset(service, 'a', STORE_SERVICE_MAX + 1);
	assert_int_equal(store_key_state(&key, "s", longer, sizeof longer), BASE_RANGE);
	assert_int_equal(store_key_state(&key, "s", "", 0), BASE_RANGE);
	assert_int_equal(store_key_state(&key, "s", NULL, 0), BASE_RANGE);
	assert_int_equal(store_key_state(&key, "", "k", 1), BASE_RANGE);
	assert_int_equal(store_key_state(&key, NULL, "k", 1), BASE_RANGE);
	assert_int_equal(store_key_state(&key, service, "k", 1), BASE_RANGE);
	assert_int_equal(store_key_state(&key, "a:b", "k", 1), BASE_RANGE); /* it would be service a's key b:k */
	assert_int_equal(key.size, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_state_key),
		cmocka_unit_test(any_bytes_are_a_key),
		cmocka_unit_test(what_is_outside_the_limits_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
