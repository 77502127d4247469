/* The gateway's own figures, and the text that all figures become. */
#include "unit.h"

#include <stdlib.h>

#include "gateway/metrics.h"
#include "gateway/prom.h"

static struct gw_routes *table(const char *const *names)
{
	Pirn__Registry registry = PIRN__REGISTRY__INIT;
	Pirn__Entry entries[4], *entry_list[4];
	Pirn__Manifest manifests[4];
	struct gw_routes *t;

	for (size_t i = 0; names[i]; i++) {
		pirn__entry__init(&entries[i]);
		pirn__manifest__init(&manifests[i]);
		manifests[i].service = (char *)(uintptr_t)names[i];
		entries[i].manifest = &manifests[i];
		entry_list[i] = &entries[i];
		registry.n_entries = i + 1;
	}
	registry.entries = entry_list;
	assert_int_equal(gw_routes_new(&registry, &t), BASE_OK);
	return t;
}

static struct gw_served *served(const struct gw_routes *t, const char *name)
{
	return gw_routes_service(t, gw_slice_of(name))->user;
}

static void sink(void *arg, const struct base_stat_sample *sample)
{
	gw_prom_add(arg, "gw", sample);
}

static void print_metrics(const struct gw_metrics *m, struct base_buf *out)
{
	struct gw_prom p;

	gw_prom_init(&p);
	gw_metrics_walk(m, sink, &p);
	base_buf_reset(out);
	assert_int_equal(gw_prom_print(&p, out), BASE_OK);
	gw_prom_fini(&p);
}

#define EXPECT(buf, line) assert_non_null(strstr((char *)(buf).data, line "\n"))
#define EXPECT_NOT(buf, text) assert_null(strstr((char *)(buf).data, text))

static void requests_are_counted_by_service_code_and_method(void **state)
{
	struct gw_metrics m;
	struct gw_routes *t = table((const char *const[]){ "hello", NULL });
	struct base_buf out;

	(void)state;
	base_buf_init(&out);
	gw_metrics_init(&m);
	assert_int_equal(gw_metrics_follow(&m, t), BASE_OK);
	for (int i = 0; i < 3; i++) {
		struct gw_served *s = gw_metrics_begin(&m, NULL);
		gw_metrics_move(&m, &s, served(t, "hello"));
		gw_metrics_end(&m, s, i ? GW_METHOD_GET : GW_METHOD_POST, i ? 200 : 502, 1000);
	}
	gw_metrics_end(&m, gw_metrics_begin(&m, NULL), GW_METHOD_OTHER, 404, 10);
	(void)gw_metrics_begin(&m, served(t, "hello"));
	print_metrics(&m, &out);
	EXPECT(out,
		"pirn_gateway_requests_total{service=\"hello\",code=\"200\",method=\"GET\",instance=\"gw\"} 2");
	EXPECT(out,
		"pirn_gateway_requests_total{service=\"hello\",code=\"502\",method=\"POST\",instance=\"gw\"} 1");
	EXPECT(out,
		"pirn_gateway_requests_total{service=\"\",code=\"404\",method=\"OTHER\",instance=\"gw\"} 1");
	EXPECT(out, "pirn_gateway_requests_in_flight{service=\"hello\",instance=\"gw\"} 1");
	EXPECT(out, "pirn_gateway_requests_in_flight{service=\"\",instance=\"gw\"} 0");
	EXPECT(out,
		"pirn_gateway_request_duration_seconds_count{service=\"hello\",instance=\"gw\"} 3");
	EXPECT(out,
		"pirn_gateway_request_duration_seconds_sum{service=\"hello\",instance=\"gw\"} 0.003");
	EXPECT(out,
		"pirn_gateway_request_duration_seconds_bucket{service=\"hello\",instance=\"gw\",le=\"+Inf\"} 3");
	gw_metrics_fini(&m);
	gw_routes_free(&t);
	base_buf_fini(&out);
}

static void a_forgotten_service_lives_as_long_as_its_requests(void **state)
{
	struct gw_metrics m;
	struct gw_routes *both = table((const char *const[]){ "a", "b", NULL }),
			 *one = table((const char *const[]){ "b", NULL });
	struct gw_served *a;
	struct base_buf out;

	(void)state;
	base_buf_init(&out);
	gw_metrics_init(&m);
	assert_int_equal(gw_metrics_follow(&m, both), BASE_OK);
	a = gw_metrics_begin(&m, served(both, "a"));
	assert_int_equal(gw_metrics_follow(&m, one), BASE_OK);
	assert_string_equal(a->name, "a");
	print_metrics(&m, &out);
	EXPECT(out, "pirn_gateway_requests_in_flight{service=\"a\",instance=\"gw\"} 1");
	gw_metrics_end(&m, a, GW_METHOD_GET, 200, 1);
	print_metrics(&m, &out);
	EXPECT_NOT(out, "service=\"a\"");
	EXPECT(out, "pirn_gateway_requests_in_flight{service=\"b\",instance=\"gw\"} 0");
	gw_metrics_fini(&m);
	gw_routes_free(&both);
	gw_routes_free(&one);
	base_buf_fini(&out);
}

/* ---- the text ---------------------------------------------------------------------- */

static Pirn__Metric metric(
	const char *name, enum base_stat_type type, const char *labels, double value)
{
	Pirn__Metric m = PIRN__METRIC__INIT;

	m.name = (char *)(uintptr_t)name;
	m.type = type;
	m.help = (char *)(uintptr_t) "Some\nhelp.";
	m.labels = (char *)(uintptr_t)labels;
	m.value = value;
	return m;
}

static void add(struct gw_prom *p, const char *instance, Pirn__Metric m)
{
	Pirn__Instance i = PIRN__INSTANCE__INIT;
	Pirn__Metric *list[1] = { &m };

	i.name = (char *)(uintptr_t)instance;
	i.n_metrics = 1;
	i.metrics = list;
	gw_prom_instance(p, instance, &i);
}

static void all_lines_of_a_metric_stand_together(void **state)
{
	struct gw_prom p;
	struct base_buf out;

	(void)state;
	gw_prom_init(&p);
	base_buf_init(&out);
	add(&p, "w1", metric("b_total", BASE_STAT_COUNTER, "", 1));
	add(&p, "w1", metric("a", BASE_STAT_GAUGE, "x=\"y\"", 2.5));
	add(&p, "w2", metric("b_total", BASE_STAT_COUNTER, NULL, 3));
	add(&p, "w2", metric("b_total", BASE_STAT_COUNTER, NULL, 4));  /* a series that is there */
	add(&p, "w3", metric("b_total", BASE_STAT_GAUGE, NULL, 5));    /* another type */
	assert_int_equal(gw_prom_print(&p, &out), BASE_OK);
	assert_string_equal((char *)out.data,
		"# HELP a Some\\nhelp.\n# TYPE a gauge\na{x=\"y\",instance=\"w1\"} 2.5\n"
		"# HELP b_total Some\\nhelp.\n# TYPE b_total counter\n"
		"b_total{instance=\"w1\"} 1\nb_total{instance=\"w2\"} 3\n");
	assert_int_equal(p.refused, 2);
	gw_prom_fini(&p);
	base_buf_fini(&out);
}

static void what_the_format_forbids_is_left_out(void **state)
{
	static const char *const names[] = { "", "1a", "a-b", "a b", "a\n", "a_bucket", "a_sum",
		"a_count" };
	static const char *const labels[] = { "x", "x=y", "x=\"y", "x=\"y\"z", "x=\"y\",", "=\"y\"",
		"1x=\"y\"", "x=\"a\nb\"", "instance=\"me\"", "x=\"\\q\"", "x=\"y\\", "x=\"\xff\"",
		"x=\"y\"} 1\nevil{y=\"z\"" };
	struct gw_prom p;
	struct base_buf out;

	(void)state;
	gw_prom_init(&p);
	base_buf_init(&out);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		add(&p, "w", metric(names[i], BASE_STAT_GAUGE, "", 1));
	for (size_t i = 0; i < sizeof labels / sizeof *labels; i++)
		add(&p, "w", metric("ok", BASE_STAT_GAUGE, labels[i], 1));
	add(&p, "w", metric("ok", (enum base_stat_type)77, "", 1));
	assert_int_equal(
		p.refused, sizeof names / sizeof *names + sizeof labels / sizeof *labels + 1);
	assert_int_equal(gw_prom_print(&p, &out), BASE_OK);
	assert_int_equal(out.size, 0);
	gw_prom_fini(&p);
	base_buf_fini(&out);
}

static void instances_are_escaped(void **state)
{
	struct gw_prom p;
	struct base_buf out;

	(void)state;
	gw_prom_init(&p);
	base_buf_init(&out);
	add(&p, "a\"b\\c\nd", metric("ok", BASE_STAT_GAUGE, "x=\"\\\\\\\"\\n\"", 1));
	assert_int_equal(gw_prom_print(&p, &out), BASE_OK);
	EXPECT(out, "ok{x=\"\\\\\\\"\\n\",instance=\"a\\\"b\\\\c\\nd\"} 1");
	gw_prom_fini(&p);
	base_buf_fini(&out);
}

static void histograms_are_folded_and_cumulative(void **state)
{
	struct base_hist hist = { 0 };
	uint64_t counts[BASE_HIST_BUCKETS + 5];
	struct gw_prom p;
	struct base_buf out;
	Pirn__Metric m = metric("h_seconds", BASE_STAT_HISTOGRAM, "", 0);
	uint64_t last = 0;
	double last_le = 0;
	unsigned n_buckets = 0;

	(void)state;
	gw_prom_init(&p);
	base_buf_init(&out);
	for (uint64_t us = 1; us < 100000000; us = us * 3 / 2 + 1)
		base_hist_add(&hist, us);
	base_hist_add(&hist, UINT64_MAX);
	memset(counts, 0, sizeof counts);
	memcpy(counts, hist.counts, sizeof hist.counts);
	m.buckets = counts;
	m.n_buckets = sizeof counts / sizeof *counts; /* more than there are: cut */
	m.sum = 12.5;
	add(&p, "w", m);
	assert_int_equal(gw_prom_print(&p, &out), BASE_OK);
	for (char *at = (char *)out.data; (at = strstr(at, "_bucket{")); at++, n_buckets++) {
		char *le = strstr(at, "le=\"") + 4, *value = strstr(at, "} ") + 2;
		uint64_t count = strtoull(value, NULL, 10);
		assert_true(count >= last);
		last = count;
		if (strncmp(le, "+Inf", 4) == 0) {
			assert_int_equal(count, hist.n);
			continue;
		}
		assert_true(strtod(le, NULL) > last_le);
		last_le = strtod(le, NULL);
	}
	assert_in_range(n_buckets, 10, 40);
	assert_true(last_le > 60);
	EXPECT(out, "h_seconds_sum{instance=\"w\"} 12.5");
	gw_prom_fini(&p);
	base_buf_fini(&out);
}

static void odd_numbers(void **state)
{
	struct gw_prom p;
	struct base_buf out;

	(void)state;
	gw_prom_init(&p);
	base_buf_init(&out);
	add(&p, "w", metric("a", BASE_STAT_GAUGE, "", (double)__builtin_nanf("")));
	add(&p, "w", metric("b", BASE_STAT_GAUGE, "", (double)__builtin_inff()));
	add(&p, "w", metric("c", BASE_STAT_GAUGE, "", 9007199254740991.0));
	add(&p, "w", metric("d", BASE_STAT_GAUGE, "", -0.125));
	assert_int_equal(gw_prom_print(&p, &out), BASE_OK);
	EXPECT(out, "a{instance=\"w\"} NaN");
	EXPECT(out, "b{instance=\"w\"} +Inf");
	EXPECT(out, "d{instance=\"w\"} -0.125");
	gw_prom_fini(&p);
	base_buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_counted_by_service_code_and_method),
		cmocka_unit_test(a_forgotten_service_lives_as_long_as_its_requests),
		cmocka_unit_test(all_lines_of_a_metric_stand_together),
		cmocka_unit_test(what_the_format_forbids_is_left_out),
		cmocka_unit_test(instances_are_escaped),
		cmocka_unit_test(histograms_are_folded_and_cumulative),
		cmocka_unit_test(odd_numbers),
	};

	return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
