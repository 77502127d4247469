/* worker/http_sign.c against the example of Standard Webhooks' own specification. */
#include "tests/unit/unit.h"

#include "worker/http_sign.h"

#define SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ID     "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define BODY   "{\"test\": 2432232314}"
#define SIGNED "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static void the_example(void **state)
{
	struct wrk_signer s;
	char why[256], out[WRK_SIGN_TEXT];

	(void)state;
	assert_int_equal(wrk_signer_parse(SECRET, &s, why, sizeof why), BASE_OK);
	assert_int_equal(s.n, 1);
	wrk_sign(&s, ID, 1614265330, BODY, strlen(BODY), out);
	assert_string_equal(out, SIGNED);
	wrk_sign(&s, ID, 1614265331, BODY, strlen(BODY), out);
	assert_string_not_equal(out, SIGNED);
	wrk_signer_fini(&s);
}

static void keys_that_change(void **state)
{
	struct wrk_signer s;
	char why[256], out[WRK_SIGN_TEXT];

	(void)state;
	assert_int_equal(
		wrk_signer_parse("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA,\n" SECRET "\n", &s, why,
			sizeof why),
		BASE_OK);
	assert_int_equal(s.n, 2);
	wrk_sign(&s, ID, 1614265330, BODY, strlen(BODY), out);
	assert_int_equal(strlen(out), 2 * 47 + 1);
	assert_string_equal(out + 48, SIGNED);
	wrk_signer_fini(&s);
	assert_int_equal(wrk_signer_parse(NULL, &s, why, sizeof why), BASE_OK);
	assert_int_equal(s.n, 0);
	wrk_sign(&s, ID, 1614265330, BODY, strlen(BODY), out);
	assert_string_equal(out, "");
}

static void wrong_keys(void **state)
{
	static const char *const texts[] = { "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_MfKQ",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!", SECRET ",whsec_x",
		"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		"AAAAA",
		SECRET " " SECRET " " SECRET " " SECRET " " SECRET };

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct wrk_signer s = { .n = 0 };
		char why[256] = "";

		if (wrk_signer_parse(texts[i], &s, why, sizeof why) != BASE_CONFIG)
			fail_msg("%s", texts[i]);
		assert_ptr_equal(strstr(why, "expected "), why);
		assert_null(strstr(why, "MfKQ9")); /* a log is no place for it */
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example),
		cmocka_unit_test(keys_that_change),
		cmocka_unit_test(wrong_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
