/* Endpoints as people write them, and names that stand for addresses. */
#include "tests/unit/net_fixture.h"

#include "net/resolve.h"

static enum base_err parse(const char *text, struct net_endpoint *e)
{
	const char *why = NULL;
	enum base_err err = net_endpoint_parse(text, strlen(text), e, &why);

	if (err) {
		assert_int_equal(err, BASE_INVALID);
		assert_non_null(why);
	}
	return err;
}

static void good_ones(void **state)
{
	static const struct {
		const char *text;
		enum net_endpoint_kind kind;
	} good[] = {
		{ "tcp://127.0.0.1:7400", NET_ENDPOINT_LITERAL },
		{ "tcp://[::1]:7400", NET_ENDPOINT_LITERAL },
		{ "tcp://broker:1", NET_ENDPOINT_NAME },
		{ "tcp://broker-2.example.org:65535", NET_ENDPOINT_NAME },
		{ "ipc:///run/pirn/broker.sock", NET_ENDPOINT_LITERAL },
		{ "ipc://var/broker", NET_ENDPOINT_LITERAL },
	};
	struct net_endpoint e;

	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		assert_int_equal(parse(good[i].text, &e), BASE_OK);
		assert_int_equal(e.kind, good[i].kind);
		assert_string_equal(e.text, good[i].text);
	}
	assert_int_equal(parse("tcp://a.b:70", &e), BASE_OK);
	assert_string_equal(e.host, "a.b");
	assert_string_equal(e.port, "70");
}

static void bad_ones(void **state)
{
	static const char *const bad[] = { "", "tcp://", "broker:7400", "tcp://broker",
		"tcp://:7400", "tcp://broker:", "tcp://broker:0", "tcp://broker:65536",
		"tcp://broker:7400x", "tcp://bro ker:7400", "tcp://[::1:7400",
		"tcp://[nonsense]:7400", "tcp://::1:7400", "ipc://", "udp://broker:7400",
		"tcp://-x:1", "tcp://br\xc3\xb6ker:1", "TCP://broker:7400" };
	static char longest[NET_ENDPOINT_MAX + 10];
	struct net_endpoint e;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(parse(bad[i], &e), BASE_INVALID);
	memset(longest, 'a', sizeof longest - 1);
	memcpy(longest, "ipc://", 6);
	assert_int_equal(parse(longest, &e), BASE_INVALID);
	memcpy(longest, "tcp://", 6);
	memcpy(longest + 290, ":7400", 6);
	assert_int_equal(parse(longest, &e), BASE_INVALID);
}

struct heard {
	unsigned times;
	size_t n;
	char first[NET_ENDPOINT_MAX];
	bool sorted;
};

static void on_resolved(void *arg, const char *const *endpoints, size_t n)
{
	struct heard *h = arg;

	h->times++;
	h->n = n;
	h->sorted = true;
	strcpy(h->first, endpoints[0]);
	for (size_t i = 1; i < n; i++)
		h->sorted &= strcmp(endpoints[i - 1], endpoints[i]) < 0;
}

static void a_name_is_looked_up(void **state)
{
	struct net_resolver *r;
	struct net_endpoint e;
	struct heard h = { 0 };
	struct fixture f;

	(void)state;
	fixture_init(&f);
	/* A name that getaddrinfo knows without /etc/hosts: a bare system has none. */
	assert_int_equal(parse("tcp://127.1:7400", &e), BASE_OK);
	assert_int_equal(net_resolver_new(f.loop, &e, on_resolved, &h, &r), BASE_OK);
	UNTIL(&f, h.times > 0);
	assert_true(h.n >= 1 && h.sorted);
	assert_string_equal(h.first, "tcp://127.0.0.1:7400");
	net_resolver_free(&r);
	assert_null(r);
	fixture_fini(&f);
}

/* A look-up that is under way when its owner goes away must not call it. */
static void a_resolver_can_be_freed_at_any_time(void **state)
{
	struct net_resolver *r;
	struct net_endpoint e;
	struct heard h = { 0 };
	struct fixture f;

	(void)state;
	fixture_init(&f);
	assert_int_equal(parse("tcp://localhost:7400", &e), BASE_OK);
	assert_int_equal(net_resolver_new(f.loop, &e, on_resolved, &h, &r), BASE_OK);
	net_resolver_free(&r);
	fixture_fini(&f);
	assert_int_equal(h.times, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_ones),
		cmocka_unit_test(bad_ones),
		cmocka_unit_test(a_name_is_looked_up),
		cmocka_unit_test(a_resolver_can_be_freed_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
