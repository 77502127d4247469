#include "unit.h"

#include <netinet/in.h>

#include "gateway/forwarded.h"

static void addresses(void **state)
{
	static const struct {
		const char *text, *printed; /* NULL: refused */
	} cases[] = {
		{ "192.0.2.1", "192.0.2.1" },
		{ "192.0.2.1:80", "192.0.2.1" },
		{ "2001:db8::1", "2001:db8::1" },
		{ "[2001:db8::1]", "2001:db8::1" },
		{ "[2001:db8::1]:443", "2001:db8::1" },
		{ "::ffff:192.0.2.7", "192.0.2.7" },
		{ "", NULL },
		{ "unknown", NULL },
		{ "_hidden", NULL },
		{ "192.0.2", NULL },
		{ "192.0.2.1:", NULL },
		{ "192.0.2.1:x", NULL },
		{ "[2001:db8::1", NULL },
		{ "[2001:db8::1]x", NULL },
		{ "[192.0.2.1]:123456", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint8_t addr[GW_ADDR_SIZE];
		char text[GW_ADDR_TEXT];
		assert_int_equal(
			gw_addr_parse(gw_slice_of(cases[i].text), addr), cases[i].printed != NULL);
		if (!cases[i].printed)
			continue;
		gw_addr_print(addr, text);
		assert_string_equal(text, cases[i].printed);
	}
}

static bool listed(const char *nets, const char *address)
{
	struct gw_nets n;
	uint8_t addr[GW_ADDR_SIZE];
	char why[128];
	bool found;

	assert_int_equal(gw_nets_parse(nets, &n, why, sizeof why), BASE_OK);
	assert_true(gw_addr_parse(gw_slice_of(address), addr));
	found = gw_nets_have(&n, addr);
	gw_nets_fini(&n);
	return found;
}

static void networks(void **state)
{
	(void)state;
	assert_true(listed("10.0.0.0/8", "10.255.1.2"));
	assert_false(listed("10.0.0.0/8", "11.0.0.1"));
	assert_true(listed("192.0.2.128/25", "192.0.2.200"));
	assert_false(listed("192.0.2.128/25", "192.0.2.100"));
	assert_true(listed("192.0.2.1", "192.0.2.1"));
	assert_false(listed("192.0.2.1", "192.0.2.2"));
	assert_true(listed(" 10.0.0.0/8 , fd00::/8", "fd12::1"));
	assert_true(listed("0.0.0.0/0", "203.0.113.9"));
	assert_false(listed("0.0.0.0/0", "2001:db8::1"));
	assert_false(listed("", "127.0.0.1"));
	assert_false(listed(NULL, "127.0.0.1"));
}

static void bad_networks_are_told(void **state)
{
	static const char *const bad[] = { "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "host",
		"::/129", "10.0.0.0/8,nonsense", "1.2.3.4:80" };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct gw_nets n = { NULL, 0 };
		char why[128] = "";
		assert_int_equal(gw_nets_parse(bad[i], &n, why, sizeof why), BASE_CONFIG);
		assert_non_null(strstr(why, "expected networks"));
		assert_null(n.items);
	}
}

/* 10/8 is trusted; the peer is 10.0.0.1. */
static void expect_client(const char *const *forwarded, const char *const *xff, const char *client)
{
	struct gw_slice values[2][4];
	struct gw_hops hops[2] = { { values[0], 0 }, { values[1], 0 } };
	struct gw_nets trusted;
	uint8_t addr[GW_ADDR_SIZE];
	char why[128], text[GW_ADDR_TEXT];

	assert_int_equal(gw_nets_parse("10.0.0.0/8", &trusted, why, sizeof why), BASE_OK);
	assert_true(gw_addr_parse(GW_SLICE("10.0.0.1"), addr));
	for (; forwarded && *forwarded; forwarded++)
		values[0][hops[0].n++] = gw_slice_of(*forwarded);
	for (; xff && *xff; xff++)
		values[1][hops[1].n++] = gw_slice_of(*xff);
	gw_forwarded_walk(&trusted, hops[0], hops[1], addr);
	gw_addr_print(addr, text);
	assert_string_equal(text, client);
	gw_nets_fini(&trusted);
}

#define LIST(...) (const char *const[]){ __VA_ARGS__, NULL }

static void the_walk_goes_from_the_right(void **state)
{
	(void)state;
	expect_client(NULL, NULL, "10.0.0.1");
	expect_client(NULL, LIST("203.0.113.9"), "203.0.113.9");
	expect_client(NULL, LIST("1.1.1.1, 203.0.113.9"),
		"203.0.113.9"); /* the left is the client's own claim */
	expect_client(NULL, LIST("1.1.1.1, 203.0.113.9, 10.0.0.7,10.0.0.8"), "203.0.113.9");
	expect_client(NULL, LIST("1.1.1.1", "203.0.113.9", "10.0.0.7"), "203.0.113.9");
	expect_client(NULL, LIST("10.0.0.9, 10.0.0.8"), "10.0.0.9");
	expect_client(NULL, LIST("203.0.113.9, rubbish, 10.0.0.8"), "10.0.0.8");
	expect_client(NULL, LIST(""), "10.0.0.1");
	expect_client(NULL, LIST("203.0.113.9,"), "10.0.0.1");
}

static void forwarded_wins_over_x_forwarded_for(void **state)
{
	(void)state;
	expect_client(LIST("for=203.0.113.9"), LIST("1.1.1.1"), "203.0.113.9");
	expect_client(
		LIST("proto=https;For=\"[2001:db8::5]:443\";by=10.0.0.1"), NULL, "2001:db8::5");
	expect_client(LIST("for=1.1.1.1, for=203.0.113.9;host=\"a,b;c\", for=10.0.0.2"), NULL,
		"203.0.113.9");
	expect_client(LIST("for=_secret, for=10.0.0.2"), NULL, "10.0.0.2");
	expect_client(LIST("for=unknown"), LIST("1.1.1.1"), "10.0.0.1");
	expect_client(LIST("by=203.0.113.9"), NULL, "10.0.0.1");
	expect_client(LIST("for=\"1.1.1.1"), NULL, "10.0.0.1");
}

static void an_untrusted_peer_says_nothing(void **state)
{
	struct gw_slice value = GW_SLICE("1.1.1.1");
	struct gw_nets trusted;
	uint8_t addr[GW_ADDR_SIZE], before[GW_ADDR_SIZE];
	char why[128];

	(void)state;
	assert_int_equal(gw_nets_parse("10.0.0.0/8", &trusted, why, sizeof why), BASE_OK);
	assert_true(gw_addr_parse(GW_SLICE("203.0.113.1"), addr));
	memcpy(before, addr, sizeof addr);
	gw_forwarded_walk(
		&trusted, (struct gw_hops){ NULL, 0 }, (struct gw_hops){ &value, 1 }, addr);
	assert_memory_equal(addr, before, sizeof addr);
	gw_nets_fini(&trusted);
}

static void socket_addresses(void **state)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr = { htonl(0xC0000201) } };
	struct sockaddr local = { .sa_family = AF_UNIX };
	uint8_t addr[GW_ADDR_SIZE];
	char text[GW_ADDR_TEXT];

	(void)state;
	assert_true(gw_addr_of((struct sockaddr *)&v4, addr));
	gw_addr_print(addr, text);
	assert_string_equal(text, "192.0.2.1");
	assert_false(gw_addr_of(&local, addr));
	assert_false(gw_addr_of(NULL, addr));
	gw_addr_print(addr, text);
	assert_string_equal(text, "::1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses),
		cmocka_unit_test(networks),
		cmocka_unit_test(bad_networks_are_told),
		cmocka_unit_test(the_walk_goes_from_the_right),
		cmocka_unit_test(forwarded_wins_over_x_forwarded_for),
		cmocka_unit_test(an_untrusted_peer_says_nothing),
		cmocka_unit_test(socket_addresses),
	};

	return cmocka_run_group_tests_name("forwarded", tests, NULL, NULL);
}
