#include "unit.h"

#include "gateway/target.h"

static enum base_err parse(struct gw_target *t, const char *raw, const char **why)
{
	static char room[70000];

	return gw_target_parse(t, raw, strlen(raw), room, why);
}

static void expect_segments(const char *raw, size_t n, const char *const *expected)
{
	struct gw_target t;
	const char *why;

	assert_int_equal(parse(&t, raw, &why), BASE_OK);
	assert_int_equal(t.n_segments, n);
	for (size_t i = 0; i < n; i++)
		assert_true(gw_slice_equal(t.segments[i], gw_slice_of(expected[i])));
}

static void segments_are_cut_before_they_are_decoded(void **state)
{
	(void)state;
	expect_segments("/", 1, (const char *const[]){ "" });
	expect_segments("/a", 1, (const char *const[]){ "a" });
	expect_segments("/a/b?c=/d", 2, (const char *const[]){ "a", "b" });
	expect_segments("/a/", 2, (const char *const[]){ "a", "" });
	expect_segments("//a", 2, (const char *const[]){ "", "a" });
	expect_segments("/a%2Fb/c", 2, (const char *const[]){ "a/b", "c" });
	expect_segments("/%61%20%C3%B6", 1, (const char *const[]){ "a \xC3\xB6" });
	expect_segments("/a%25", 1, (const char *const[]){ "a%" });
	expect_segments("/...", 1, (const char *const[]){ "..." });
	expect_segments("/\xC3\xB6", 1, (const char *const[]){ "\xC3\xB6" });
}

static void the_query_stays_raw(void **state)
{
	struct gw_target t;
	const char *why;

	(void)state;
	assert_int_equal(parse(&t, "/a%20b?c=%zz&d=?", &why), BASE_OK);
	assert_true(gw_slice_equal(t.path, GW_SLICE("/a%20b")));
	assert_true(gw_slice_equal(t.query, GW_SLICE("c=%zz&d=?")));
	assert_int_equal(parse(&t, "/a", &why), BASE_OK);
	assert_null(t.query.data);
	assert_int_equal(parse(&t, "/a?", &why), BASE_OK);
	assert_non_null(t.query.data);
	assert_int_equal(t.query.size, 0);
}

static void absolute_targets_lose_scheme_and_host(void **state)
{
	struct gw_target t;
	const char *why;

	(void)state;
	assert_int_equal(parse(&t, "http://example.org:80/a/b?c", &why), BASE_OK);
	assert_true(gw_slice_equal(t.origin, GW_SLICE("/a/b?c")));
	assert_int_equal(t.n_segments, 2);
	assert_int_equal(parse(&t, "HTTPS://example.org", &why), BASE_OK);
	assert_true(gw_slice_equal(t.origin, GW_SLICE("/")));
	assert_int_equal(parse(&t, "http:///a", &why), BASE_INVALID);
	assert_int_equal(parse(&t, "ftp://example.org/a", &why), BASE_INVALID);
}

static void the_asterisk_is_no_path(void **state)
{
	struct gw_target t;
	const char *why;

	(void)state;
	assert_int_equal(parse(&t, "*", &why), BASE_OK);
	assert_true(t.asterisk);
	assert_int_equal(t.n_segments, 0);
	assert_int_equal(parse(&t, "**", &why), BASE_INVALID);
}

static void bad_targets_are_refused_with_a_sentence(void **state)
{
	static const char *const bad[] = { "", "a", "example.org:443", "/a b", "/a\tb", "/a#b",
		"/a\x7f", "/%", "/%4", "/%4g", "/%zz", "/%00", "/a/%00b", "/.", "/..", "/a/../b",
		"/a/./b", "/%2e%2E/b", "/a/.%2e", "http://x/../y" };
	struct gw_target t;

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		const char *why = NULL;
		assert_int_equal(parse(&t, bad[i], &why), BASE_INVALID);
		assert_non_null(why);
		assert_int_equal(why[strlen(why) - 1], '.');
	}
}

static void segments_are_bounded(void **state)
{
	char raw[2 * GW_SEGMENTS_MAX + 3];
	struct gw_target t;
	const char *why;

	(void)state;
	for (size_t i = 0; i < GW_SEGMENTS_MAX; i++)
		memcpy(raw + 2 * i, "/a", 3);
	assert_int_equal(parse(&t, raw, &why), BASE_OK);
	assert_int_equal(t.n_segments, GW_SEGMENTS_MAX);
	memcpy(raw + 2 * GW_SEGMENTS_MAX, "/", 2);
	assert_int_equal(parse(&t, raw, &why), BASE_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_are_cut_before_they_are_decoded),
		cmocka_unit_test(the_query_stays_raw),
		cmocka_unit_test(absolute_targets_lose_scheme_and_host),
		cmocka_unit_test(the_asterisk_is_no_path),
		cmocka_unit_test(bad_targets_are_refused_with_a_sentence),
		cmocka_unit_test(segments_are_bounded),
	};

	return cmocka_run_group_tests_name("target", tests, NULL, NULL);
}
