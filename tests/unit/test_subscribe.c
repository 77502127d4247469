#include "tests/unit/unit.h"

#include "base/rand.h"
#include "broker/core/subscribe.h"

#define SERVICES 40

static struct brk_subscribe x;
static struct brk_subscriber services[SERVICES];

static int set_up(void **state)
{
	(void)state;
	memset(services, 0, sizeof services);
	return brk_subscribe_init(&x, 42) == BASE_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	for (size_t i = 0; i < SERVICES; i++)
		brk_subscribe_clear(&x, &services[i]);
	brk_subscribe_check(&x);
	brk_subscribe_fini(&x);
	return 0;
}

static struct brk_topic topic_of(const char *type, const char *source, const char *subject)
{
	const char *texts[BRK_TOPIC__N] = { type, source, subject };
	struct brk_topic topic;

	for (int i = 0; i < BRK_TOPIC__N; i++) {
		topic.part[i].text = texts[i];
		topic.part[i].size = texts[i] ? strlen(texts[i]) : 0;
	}
	return topic;
}

static void subscribe(size_t service, const char *type, const char *source, const char *subject)
{
	struct brk_subscription one = { { type, source, subject } };

	assert_int_equal(brk_subscribe_set(&x, &services[service], &one, 1), BASE_OK);
	brk_subscribe_check(&x);
}

/* As bits of the services' places; each may come once only. */
static uint64_t match(const char *type, const char *source, const char *subject)
{
	struct brk_topic topic = topic_of(type, source, subject);
	struct brk_subscriber *found[SERVICES];
	size_t n = brk_subscribe_match(&x, &topic, found, SERVICES);
	uint64_t bits = 0;

	assert_true(n <= SERVICES);
	for (size_t i = 0; i < n; i++) {
		uint64_t bit = 1ull << (found[i] - services);

		assert_int_equal(bits & bit, 0);
		bits |= bit;
	}
	return bits;
}

/* ---- one pattern ---------------------------------------------------------- */

static void test_patterns(void **state)
{
	static const struct {
		const char *pattern, *text;
		bool matches;
	} rows[] = {
		{ "order.created", "order.created", true },
		{ "order.created", "order.create", false },
		{ "order.created", "order.created.", false },
		{ "order.*", "order.", true },
		{ "order.*", "order.created.late", true },
		{ "order.*", "order", false },
		{ "*", "", true },
		{ "*", "anything/at all", true },
		{ "", "", true },
		{ "", "a", false },
		{ "*.created", "order.created", true },
		{ "*.created", ".created", true },
		{ "*.created", "created", false },
		{ "a*a", "a", false },
		{ "a*a", "aa", true },
		{ "ab*ba", "aba", false },
		{ "ab*ba", "abba", true },
		{ "*a*b*", "xxaxxbxx", true },
		{ "*a*b*", "xxbxxaxx", false },
		{ "*ab*ab*", "abab", true },
		{ "*ab*ab*", "aabb", false },
		{ "a**b", "ab", true },
		{ "**", "", true },
		{ "a*bc*bc", "abcbc", true },
		{ "a*bc*bc", "abc", false },
		{ "Order.*", "order.created", false },
		{ "?", "a", false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		bool is = brk_pattern_matches(rows[i].pattern, strlen(rows[i].pattern),
			rows[i].text, strlen(rows[i].text));

		if (is != rows[i].matches)
			fail_msg("'%s' and '%s': %d", rows[i].pattern, rows[i].text, is);
	}
}

/* What takes exponential time with backtracking: 2^60 ways, or one pass. */
static void test_hostile_pattern(void **state)
{
	char pattern[BRK_PATTERN_MAX + 1], text[4096];

	(void)state;
	for (size_t i = 0; i < sizeof pattern - 1; i++)
		pattern[i] = i % 2 ? 'a' : '*';
	memset(text, 'a', sizeof text);
	assert_true(brk_pattern_matches(pattern, sizeof pattern - 1, text, sizeof text));
	pattern[sizeof pattern - 2] = 'b';
	pattern[sizeof pattern - 3] = 'b';
	assert_false(brk_pattern_matches(pattern, sizeof pattern - 1, text, sizeof text));
}

/* ---- the index ------------------------------------------------------------ */

static void test_all_three_must_match(void **state)
{
	(void)state;
	subscribe(0, "order.*", NULL, NULL);
	subscribe(1, "order.*", "/shop", NULL);
	subscribe(2, "order.*", "/shop", "vip-*");
	subscribe(3, NULL, "/shop", NULL);
	subscribe(4, "*", NULL, NULL);
	assert_int_equal(match("order.created", "/shop", "vip-1"), 0x1f);
	assert_int_equal(match("order.created", "/shop", "other"), 0x1b);
	assert_int_equal(match("order.created", "/shop", NULL), 0x1b);
	assert_int_equal(match("order.created", "/else", "vip-1"), 0x11);
	assert_int_equal(match("user.created", "/shop", "vip-1"), 0x18);
	assert_int_equal(match("user.created", "/else", NULL), 0x10);
}

static void test_each_once(void **state)
{
	struct brk_subscription list[] = { { { "order.*", NULL, NULL } },
		{ { "*.created", NULL, NULL } }, { { "order.created", NULL, NULL } },
		{ { "order.created", NULL, NULL } } };

	(void)state;
	assert_int_equal(brk_subscribe_set(&x, &services[7], list, 4), BASE_OK);
	subscribe(8, "order.created", NULL, NULL);
	assert_int_equal(match("order.created", "", ""), 1u << 7 | 1u << 8);
}

static void test_replaced_and_cleared(void **state)
{
	(void)state;
	assert_int_equal(match("a", "", ""), 0);
	subscribe(0, "a", NULL, NULL);
	subscribe(1, "a", NULL, NULL);
	assert_int_equal(match("a", "", ""), 3);
	subscribe(0, "b", NULL, NULL);
	assert_int_equal(match("a", "", ""), 2);
	assert_int_equal(match("b", "", ""), 1);
	brk_subscribe_clear(&x, &services[1]);
	assert_int_equal(match("a", "", ""), 0);
	assert_int_equal(brk_subscribe_set(&x, &services[0], NULL, 0), BASE_OK);
	assert_int_equal(match("b", "", ""), 0);
	assert_int_equal(x.n_nodes, 0);
}

static void test_more_than_room(void **state)
{
	struct brk_topic topic = topic_of("a", "", "");
	struct brk_subscriber *found[2];

	(void)state;
	for (size_t i = 0; i < 5; i++)
		subscribe(i, "a", NULL, NULL);
	assert_int_equal(brk_subscribe_match(&x, &topic, found, 2), 5);
	assert_ptr_not_equal(found[0], found[1]);
}

/* One type, a source each: none of them stands behind the others. */
static void test_spreads(void **state)
{
	char source[SERVICES][16];

	(void)state;
	for (size_t i = 0; i < SERVICES; i++) {
		snprintf(source[i], sizeof source[i], "/tenant/%zu", i);
		subscribe(i, "order.created", source[i], NULL);
	}
	assert_int_equal(x.n_nodes, SERVICES);
	for (size_t i = 0; i < SERVICES; i++)
		assert_int_equal(match("order.created", source[i], NULL), 1ull << i);
}

static void test_long_values(void **state)
{
	char pattern[BRK_PATTERN_MAX + 1], text[4096];

	(void)state;
	memset(pattern, 'a', sizeof pattern);
	pattern[sizeof pattern - 1] = '\0';
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = '\0';
	subscribe(0, pattern, NULL, NULL);
	assert_int_equal(match(pattern, "", ""), 1);
	assert_int_equal(match(text, "", ""), 0);
	pattern[sizeof pattern - 2] = '*';
	subscribe(1, pattern, NULL, NULL);
	assert_int_equal(match(text, "", ""), 2);
	assert_int_equal(match(text, text, text), 2);
}

/* ---- against the naive way ------------------------------------------------ */

/* All the ways there are, tried in turn. */
static bool naive(const char *pattern, const char *text)
{
	if (*pattern == '\0')
		return *text == '\0';
	if (*pattern == '*')
		return naive(pattern + 1, text) || (*text && naive(pattern, text + 1));
	return *pattern == *text && naive(pattern + 1, text + 1);
}

struct known {
	char text[3][48];
	bool has[3];
};

static struct known known[SERVICES][4];
static size_t n_known[SERVICES];

static void random_text(struct base_rand *rand, char *out, const char *letters, size_t most)
{
	size_t n = base_rand_below(rand, most + 1);

	for (size_t i = 0; i < n; i++)
		out[i] = letters[base_rand_below(rand, strlen(letters))];
	out[n] = '\0';
}

/* One of few, so that patterns and events have much in common. */
static void random_value(struct base_rand *rand, char out[48])
{
	struct base_rand words;

	base_rand_init(&words, base_rand_below(rand, 12));
	random_text(&words, out, "ab.", 40);
	if (out[0] && base_rand_below(rand, 2) == 0)
		out[base_rand_below(rand, strlen(out))] = "ab."[base_rand_below(rand, 3)];
}

/* A short one of anything, or a value of which up to three stretches became stars. */
static void random_pattern(struct base_rand *rand, char out[48])
{
	if (base_rand_below(rand, 2) == 0) {
		random_text(rand, out, "aab.*", 6);
		return;
	}
	random_value(rand, out);
	for (uint64_t stars = base_rand_below(rand, 4); stars > 0; stars--) {
		size_t size = strlen(out), from = base_rand_below(rand, size + 1);
		size_t to = from + base_rand_below(rand, (size - from) / 2 + 1);

		if (size == 47)
			break;
		memmove(out + from + 1, out + to, size - to + 1);
		out[from] = '*';
	}
}

static void subscribe_at_random(struct base_rand *rand, size_t service)
{
	struct brk_subscription list[4] = { 0 };

	n_known[service] = base_rand_below(rand, 5);
	for (size_t i = 0; i < n_known[service]; i++) {
		struct known *one = &known[service][i];

		for (int part = 0; part < BRK_TOPIC__N; part++) {
			one->has[part] = base_rand_below(rand, 3) > 0;
			random_pattern(rand, one->text[part]);
			list[i].part[part] = one->has[part] ? one->text[part] : NULL;
		}
	}
	assert_int_equal(
		brk_subscribe_set(&x, &services[service], list, n_known[service]), BASE_OK);
}

static uint64_t match_naively(char text[3][48])
{
	uint64_t bits = 0;

	for (size_t s = 0; s < SERVICES; s++) {
		for (size_t i = 0; i < n_known[s]; i++) {
			const struct known *one = &known[s][i];
			bool all = true;

			for (int part = 0; part < BRK_TOPIC__N; part++)
				all = all &&
				      (!one->has[part] || naive(one->text[part], text[part]));
			bits |= (uint64_t)all << s;
		}
	}
	return bits;
}

/* How many of the places' lengths are in use: bits, a byte for each place. */
static uint32_t lengths_in_use(void)
{
	uint32_t bits = 0;

	for (unsigned place = 0; place < BRK_PLACES; place++)
		for (unsigned i = 0; i < BRK_WINDOWS; i++)
			for (int part = 0; part < BRK_TOPIC__N; part++)
				if (x.lengths[part][place][1u << i] > 0)
					bits |= 1u << (8 * place + i);
	return bits;
}

static void test_as_the_naive_way(void **state)
{
	struct base_rand rand;
	size_t n_matched = 0;
	uint32_t used = 0;

	(void)state;
	base_rand_init(&rand, 7);
	memset(n_known, 0, sizeof n_known);
	for (int round = 0; round < 3000; round++) {
		char text[3][48];
		uint64_t found;

		subscribe_at_random(&rand, base_rand_below(&rand, SERVICES));
		used |= lengths_in_use();
		if (round % 100 == 0)
			brk_subscribe_check(&x);
		for (int event = 0; event < 10; event++) {
			for (int part = 0; part < BRK_TOPIC__N; part++)
				if (base_rand_below(&rand, 2) == 0)
					random_text(&rand, text[part], "aab.", 8);
				else
					random_value(&rand, text[part]);
			found = match(text[0], text[1], text[2]);
			if (found != match_naively(text))
				fail_msg("round %d: '%s' '%s' '%s'", round, text[0], text[1],
					text[2]);
			n_matched += found != 0;
		}
	}
	assert_in_range(n_matched, 1000, 29999);
	assert_int_equal(used >> 8, 0x1f1f1f); /* front, back, inside: of 1, 2, 4, 8, 16 bytes */
	assert_int_not_equal(used & 0xff, 0);
}

/* A thousand, none of which says how its values begin: few are compared. */
static void test_no_front(void **state)
{
	static const struct {
		const char *before, *after;
	} shapes[] = { { "*", "created" }, { "*", "*" }, { "com.*", "*.created" }, { "*a*", "*" } };
	char types[SERVICES][48], event[48];

	(void)state;
	for (size_t shape = 0; shape < sizeof shapes / sizeof shapes[0]; shape++) {
		for (size_t i = 0; i < SERVICES; i++) {
			snprintf(types[i], sizeof types[i], "%s.order%zu.%s",
				shapes[shape].before, i + 100, shapes[shape].after);
			subscribe(i, types[i], NULL, NULL);
		}
		assert_true(x.n_nodes > SERVICES / 2);
		for (size_t i = 0; i < SERVICES; i++) {
			snprintf(event, sizeof event, "com.acme.order%zu.is.created", i + 100);
			assert_int_equal(match(event, "/", NULL), shape == 0 ? 0 : 1ull << i);
			snprintf(event, sizeof event, "com.acme.order%zu.created", i + 100);
			assert_int_equal(match(event, "/", NULL), shape == 2 ? 0 : 1ull << i);
		}
	}
}

/* A literal that stands in a value many times is looked at once, and found wherever it is. */
static void test_repeated(void **state)
{
	char text[4096];

	(void)state;
	for (size_t i = 0; i < SERVICES; i++)
		subscribe(i, i % 2 ? "*aa*b*" : "*aa*c*", NULL, NULL);
	memset(text, 'a', sizeof text);
	text[sizeof text - 1] = '\0';
	assert_int_equal(match(text, "", ""), 0);
	text[sizeof text - 2] = 'b';
	assert_int_equal(match(text, "", ""), 0xaaaaaaaaaaull);
	assert_int_equal(match("a", "aa", "aab"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns),
		cmocka_unit_test(test_hostile_pattern),
		cmocka_unit_test_setup_teardown(test_all_three_must_match, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_each_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_replaced_and_cleared, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_more_than_room, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_spreads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_values, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_front, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_repeated, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_as_the_naive_way, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
