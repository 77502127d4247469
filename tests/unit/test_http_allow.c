/* worker/http_allow.c: which addresses are public, and what the setting's rules name. */
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "worker/http_allow.h"

static struct sockaddr_storage address(const char *text)
{
	struct sockaddr_storage out = { 0 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
		memcpy(&out, &in, sizeof in);
	} else {
		assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
		memcpy(&out, &in6, sizeof in6);
	}
	return out;
}

static void addresses(void **state)
{
	static const struct {
		const char *text;
		bool is_public;
	} rows[] = {
		{ "1.1.1.1", true },
		{ "9.255.255.255", true },
		{ "10.0.0.0", false },
		{ "10.255.255.255", false },
		{ "11.0.0.0", true },
		{ "0.0.0.0", false },
		{ "0.1.2.3", false },
		{ "1.0.0.0", true },
		{ "100.63.255.255", true },
		{ "100.64.0.0", false },
		{ "100.127.255.255", false },
		{ "100.128.0.0", true },
		{ "126.255.255.255", true },
		{ "127.0.0.1", false },
		{ "127.255.255.255", false },
		{ "128.0.0.0", true },
		{ "169.253.255.255", true },
		{ "169.254.169.254", false },
		{ "169.255.0.0", true },
		{ "172.15.255.255", true },
		{ "172.16.0.0", false },
		{ "172.31.255.255", false },
		{ "172.32.0.0", true },
		{ "192.0.0.8", false },
		{ "192.0.1.0", true },
		{ "192.0.2.1", false },
		{ "192.88.99.1", false },
		{ "192.167.255.255", true },
		{ "192.168.0.1", false },
		{ "192.169.0.0", true },
		{ "198.17.255.255", true },
		{ "198.18.0.1", false },
		{ "198.19.255.255", false },
		{ "198.51.100.7", false },
		{ "203.0.113.7", false },
		{ "223.255.255.255", true },
		{ "224.0.0.1", false },
		{ "239.255.255.255", false },
		{ "240.0.0.1", false },
		{ "255.255.255.255", false },
		{ "::", false },
		{ "::1", false },
		{ "::2", false },
		{ "::8.8.8.8", false }, /* "compatible": nobody routes it */
		{ "::ffff:8.8.8.8", true },
		{ "::ffff:127.0.0.1", false },
		{ "::ffff:10.1.2.3", false },
		{ "::ffff:169.254.169.254", false },
		{ "64:ff9b::8.8.8.8", true },
		{ "64:ff9b::10.0.0.1", false },
		{ "64:ff9b::127.0.0.1", false },
		{ "64:ff9b::1:0:0", false }, /* beyond the 96 bits */
		{ "64:ff9b:1::8.8.8.8", false },
		{ "::ffff:0:8.8.8.8", false },
		{ "100::1", false },
		{ "1fff:ffff::", false },
		{ "2001:4860:4860::8888", true },
		{ "2606:4700::1111", true },
		{ "2001::1", false },
		{ "2001:1ff:ffff::", false },
		{ "2001:200::", true },
		{ "2001:db8::1", false },
		{ "2001:db9::1", true },
		{ "2002:0808:0808::1", true },
		{ "2002:7f00:1::1", false },
		{ "2002:a00:1::1", false },
		{ "2002:c0a8:101::", false },
		{ "3ffe:ffff::", true },
		{ "3fff::1", false },
		{ "3fff:fff::1", false },
		{ "3fff:1000::1", true },
		{ "4000::1", false },
		{ "5f00::1", false },
		{ "fc00::1", false },
		{ "fd12:3456::1", false },
		{ "fe80::1", false },
		{ "febf::1", false },
		{ "fec0::1", false },
		{ "ff02::1", false },
	};
	struct sockaddr_storage none = { .ss_family = AF_UNIX };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sockaddr_storage a = address(rows[i].text);

		if (wrk_allow_is_public((struct sockaddr *)&a) != rows[i].is_public)
			fail_msg("%s", rows[i].text);
	}
	assert_false(wrk_allow_is_public((struct sockaddr *)&none));
}

static bool has(const char *rules, bool named_only, const char *host, uint16_t port, const char *at)
{
	struct sockaddr_storage a = address(at);
	struct wrk_allow allow;
	char why[256] = "";
	bool found;

	if (wrk_allow_parse(rules, &allow, why, sizeof why) != BASE_OK)
		fail_msg("%s: %s", rules, why);
	allow.named_only = named_only;
	found = wrk_allow_has(&allow, host, port, (struct sockaddr *)&a);
	wrk_allow_fini(&allow);
	return found;
}

static void rules(void **state)
{
	static const struct {
		const char *rules, *host;
		uint16_t port;
		const char *at;
		bool yes;
	} rows[] = {
		{ NULL, "example.org", 443, "93.184.215.14", true },
		{ "", "app", 80, "10.0.0.1", false },
		{ "app", "app", 80, "10.0.0.1", true },
		{ "app", "APP.", 3000, "127.0.0.1", true },
		{ "App.", "app", 80, "fd00::1", true },
		{ "app", "app2", 80, "10.0.0.1", false },
		{ "app", "an.app", 80, "10.0.0.1", false },
		{ "app:3000", "app", 3000, "10.0.0.1", true },
		{ "app:3000", "app", 3001, "10.0.0.1", false },
		{ "other, app:3000", "app", 3000, "10.0.0.1", true },
		{ "*.internal", "a.internal", 80, "10.0.0.1", true },
		{ "*.internal", "a.b.Internal", 80, "10.0.0.1", true },
		{ "*.internal", "internal", 80, "10.0.0.1", false },
		{ "*.internal", "notinternal", 80, "10.0.0.1", false },
		{ "*.internal:81", "a.internal", 80, "10.0.0.1", false },
		{ "10.0.0.0/8", "app", 80, "10.255.0.1", true },
		{ "10.0.0.0/8", "app", 80, "11.0.0.1", true },
		{ "10.0.0.0/8", "app", 80, "192.168.0.1", false },
		{ "10.0.0.0/8", "app", 80, "::ffff:10.0.0.1", true },
		{ "10.0.0.0/8", "app", 80, "64:ff9b::10.0.0.1", false },
		{ "10.0.0.0/9", "app", 80, "10.128.0.1", false },
		{ "127.0.0.1", "127.0.0.1", 80, "127.0.0.1", true },
		{ "127.0.0.1", "127.0.0.1", 80, "127.0.0.2", false },
		{ "127.0.0.1:80", "127.0.0.1", 80, "127.0.0.1", true },
		{ "127.0.0.1:80", "127.0.0.1", 81, "127.0.0.1", false },
		{ "0.0.0.0/0", "x", 81, "127.0.0.1", true },
		{ "0.0.0.0/0", "x", 81, "::1", false },
		{ "::1", "x", 81, "::1", true },
		{ "[::1]:81", "x", 81, "::1", true },
		{ "[::1]:81", "x", 80, "::1", false },
		{ "fd00::/8", "x", 80, "fd12::1", true },
		{ "fd00::/8", "x", 80, "fe80::1", false },
		{ "::/0", "x", 80, "127.0.0.1", true }, /* all of both */
		{ "localhost", "127.0.0.1", 80, "127.0.0.1", false }, /* as it stands in the URL */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (has(rows[i].rules, false, rows[i].host, rows[i].port, rows[i].at) !=
			rows[i].yes)
			fail_msg("\"%s\": %s:%u at %s", rows[i].rules, rows[i].host, rows[i].port,
				rows[i].at);
}

static void named_only(void **state)
{
	(void)state;
	assert_false(has("app", true, "example.org", 443, "93.184.215.14"));
	assert_true(has("app,example.org", true, "example.org", 443, "93.184.215.14"));
	assert_true(has("93.0.0.0/8", true, "example.org", 443, "93.184.215.14"));
}

static void wrong_rules(void **state)
{
	static const char *const texts[] = { "app:", "app:0", "app:65536", "app:x", "*", "*.",
		"a*b", ".internal", "http://app", "app/hook", "10.0.0.0/33", "10.0.0.0/-1",
		"10.0.0", "fd00::/129", "[::1", "::1]", "[::1]x", "10.0.0.0/8:80/", "app,*", "a..",
		"fe80::1%eth0", "1.2.3.4.5", "\xc3\xa4pp" };
	char why[256];

	(void)state;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct wrk_allow a = { 0 };

		why[0] = '\0';
		if (wrk_allow_parse(texts[i], &a, why, sizeof why) != BASE_CONFIG)
			fail_msg("%s", texts[i]);
		assert_non_null(strstr(why, "expected hosts"));
		assert_int_equal(a.n, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(rules),
		cmocka_unit_test(named_only),
		cmocka_unit_test(wrong_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
