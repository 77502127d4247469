/* worker/http_headers.c: what a manifest adds to an endpoint's requests, and the secrets in it. */
#include "tests/unit/unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "worker/http_headers.h"

static struct base_manifest *manifest;
static struct wrk_http_headers made;
static char file[] = "/tmp/pirn-header-XXXXXX", why[BASE_MANIFEST_WHY];

static void write_secret(const char *text, size_t size)
{
	int fd = open(file, O_WRONLY | O_TRUNC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, size), size);
	close(fd);
}

static void add(const char *name, const char *value)
{
	assert_int_equal(base_manifest_add_header(&manifest->headers, name, value, why, sizeof why), BASE_OK);
}

static enum base_err make(void)
{
	why[0] = '\0';
	return wrk_http_headers_make(manifest, "/tmp", &made, why, sizeof why);
}

static void values(void **state)
{
	(void)state;
	write_secret("s3cret\n", 7);
	assert_int_equal(setenv("PIRN_ENDPOINT_TENANT", "blue", 1), 0);
	add("Authorization", "Bearer ${KEY}");
	add("X-Both", "${TENANT}/${KEY}${KEY}$$${TENANT}$$");
	add("X-Plain", "a {b} }");
	add("X-Empty", "");
	assert_int_equal(make(), BASE_OK);
	assert_int_equal(made.n, 4);
	assert_string_equal(made.items[0].name, "Authorization");
	assert_string_equal(made.items[0].value, "Bearer s3cret");
	assert_string_equal(made.items[1].value, "blue/s3crets3cret$blue$");
	assert_string_equal(made.items[2].value, "a {b} }");
	assert_string_equal(made.items[3].value, "");
}

/* Another of the worker's variables is nobody's to send. */
static void nobody_has_it(void **state)
{
	(void)state;
	assert_int_equal(setenv("PIRN_CALLBACK_SECRET", "hands off", 1), 0);
	add("X", "${PIRN_CALLBACK_SECRET}");
	assert_int_equal(make(), BASE_INVALID);
	assert_string_equal(why,
		"headers.X: PIRN_CALLBACK_SECRET is neither in secrets nor is there PIRN_ENDPOINT_PIRN_CALLBACK_SECRET in the environment");
	assert_int_equal(made.n, 0);
	assert_null(made.items);
}

static void what_cannot_stand_in_a_header(void **state)
{
	static const char *const bad[] = { "s3cret\r\n", "s3cret\nX-Evil: 1\n", "s3cret\n\n", "\x7f" };

	(void)state;
	add("X", "${KEY}");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		write_secret(bad[i], strlen(bad[i]));
		assert_int_equal(make(), BASE_INVALID);
		assert_string_equal(why, "headers.X: KEY holds a line break or another control");
	}
	unlink(file);
	assert_int_equal(make(), BASE_NOT_FOUND);
	assert_non_null(strstr(why, "headers.X: secret KEY: /tmp/pirn-header-"));
}

static void too_long(void **state)
{
	static char big[BASE_MANIFEST_HEADER_MAX];

	(void)state;
	memset(big, 'x', sizeof big);
	write_secret(big, sizeof big);
	add("X", "${KEY}");
	assert_int_equal(make(), BASE_OK);
	assert_int_equal(strlen(made.items[0].value), sizeof big);
	wrk_http_headers_fini(&made);
	add("Y", "${KEY}.");
	assert_int_equal(make(), BASE_INVALID);
	assert_string_equal(why, "headers.Y: is over 8192 bytes");
}

static void a_bounded_number(void **state)
{
	char name[16];

	(void)state;
	for (int i = 0; i < BASE_MANIFEST_HEADERS_MAX; i++) {
		snprintf(name, sizeof name, "X-%d", i);
		add(name, "v");
	}
	assert_int_equal(base_manifest_add_header(&manifest->headers, "X-More", "v", why, sizeof why), BASE_FULL);
}

static int set_up(void **state)
{
	int fd;

	(void)state;
	strcpy(file, "/tmp/pirn-header-XXXXXX");
	fd = mkstemp(file);
	if (fd < 0)
		return -1;
	close(fd);
	manifest = base_manifest_new();
	if (!manifest || base_manifest_add_pair(&manifest->secrets, "KEY", file, why, sizeof why))
		return -1;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(file);
	wrk_http_headers_fini(&made);
	base_manifest_free(&manifest);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(values, set_up, tear_down),
		cmocka_unit_test_setup_teardown(nobody_has_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_cannot_stand_in_a_header, set_up, tear_down),
		cmocka_unit_test_setup_teardown(too_long, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_bounded_number, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
