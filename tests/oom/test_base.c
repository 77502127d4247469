/* The base floor, and manifests out of YAML, without memory. */
#include "tests/oom/oom.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/conf.h"
#include "base/cron.h"
#include "base/heap.h"
#include "base/json.h"
#include "base/log.h"
#include "base/pool.h"
#include "base/slab.h"
#include "base/stats.h"
#include "store/url.h"
#include "tests/unit/zone_bytes.h"
#include "worker/yaml.h"

/* ---- bytes ---------------------------------------------------------------------------- */

static void buffer_path(void)
{
	struct base_buf b, expected;
	uint8_t *taken;

	base_buf_init(&b);
	base_buf_init(&expected);
	for (int i = 0; i < 200; i++) {
		base_buf_fmt(&expected, "%d,", i);
		base_buf_json(&expected, "a \"word\"\n\xff", 10);
		OOM(base_buf_fmt(&b, "%d,", i));
		OOM(base_buf_json(&b, "a \"word\"\n\xff", 10));
	}
	assert_true(b.failed || b.size == expected.size);
	assert_memory_equal(b.data, expected.data, b.size < 3 ? b.size : 3);
	taken = OOM_GET(base_buf_take(&b));
	if (taken)
		assert_memory_equal(taken, expected.data, expected.size + 1);
	free(taken);
	base_buf_fini(&b);
	base_buf_fini(&expected);
}

static void memory_path(void)
{
	struct base_arena arena;
	struct base_pool pool;
	struct base_slab slab;
	struct base_block *blocks[40];
	uint32_t slots[3000], generation;
	size_t n = 0;

	base_arena_init(&arena, 256, 1 << 20);
	base_pool_init(&pool, 4096);
	base_slab_init(&slab, 24, 3000);
	for (int i = 0; i < 40; i++) {
		char *text = OOM_GET(base_arena_dup(&arena, "twelve bytes", 12));
		bool starved = arena.starved;

		assert_true(text || starved);
		if (text)
			assert_string_equal(text, "twelve bytes");
		blocks[i] = OOM_GET(base_pool_copy(&pool, "block", 6));
		if (blocks[i])
			assert_string_equal(blocks[i]->data, "block");
	}
	for (int i = 0; i < 3000; i++) {
		uint64_t *record = OOM_GET(base_slab_take(&slab, &slots[n], &generation));

		if (record)
			assert_int_equal(record[n++ % 3], 0);
	}
	assert_int_equal(slab.n_used, n);
	for (size_t i = 0; i < n; i++)
		base_slab_give(&slab, slots[i]);
	for (int i = 0; i < 40; i++)
		base_block_unref(&blocks[i]);
	base_slab_fini(&slab);
	base_pool_fini(&pool);
	base_arena_fini(&arena);
}

static void heap_path(void)
{
	struct base_heap_node nodes[300] = { 0 };
	struct base_heap heap;
	uint64_t last = 0;
	size_t n = 0;

	base_heap_init(&heap);
	for (uint64_t i = 0; i < 300; i++) {
		enum base_err err = OOM_GET(base_heap_push(&heap, &nodes[i], i * 7919 % 1000));

		assert_true(err == BASE_OK || err == BASE_NOMEM);
		assert_int_equal(nodes[i].place > 0, err == BASE_OK);
		n += !err;
	}
	for (struct base_heap_node *first; (first = base_heap_first(&heap)); n--) {
		assert_true(first->due >= last);
		last = first->due;
		base_heap_remove(&heap, first);
	}
	assert_int_equal(n, 0);
	base_heap_fini(&heap);
}

/* ---- time ------------------------------------------------------------------------------ */

static void zone_path(void)
{
	uint8_t bytes[512];
	size_t size = zone_bytes(bytes, sizeof bytes, BERLIN);
	struct base_zone *zone = NULL;
	struct base_cron cron;
	char why[128];
	enum base_err err = OOM_GET(base_zone_new(bytes, size, &zone));

	assert_true(err == BASE_OK || err == BASE_NOMEM);
	assert_int_equal(err == BASE_OK, zone != NULL);
	if (zone) {
		assert_int_equal(OOM_GET(base_zone_at(zone, 1782000000).offset_s), 7200);
		assert_true(OOM_GET(base_cron_parse("0 3 * * *", &cron, why, sizeof why)));
		assert_int_equal(OOM_GET(base_cron_next(&cron, zone, 1782000000)), 1782003600);
	}
	base_zone_free(&zone);
}

/* ---- lines and figures --------------------------------------------------------------------- */

static void count_sample(void *arg, const struct base_stat_sample *sample)
{
	assert_non_null(sample->def->name);
	++*(unsigned *)arg;
}

/* Whole lines, and the same, whatever there is: who has no memory still says so. */
static void log_path(void)
{
	static const char text[] = "\"a\\u0062c\"";
	static unsigned n_all;
	char said[4096];
	int fd = memfd_create("log", MFD_CLOEXEC);
	struct base_json json;
	const char *why;
	unsigned n = 0;
	ssize_t size;
	size_t at;

	base_log_init(BASE_INFO, BASE_LOG_JSON, fd);
	OOM({
		base_log(BASE_ERROR, "some_words", LOG_STR("text", "\"quoted\""),
			LOG_BYTES("bytes", "\0\1", 2), LOG_F64("f", 1.5), LOG_I64("i", -1));
		base_stat_process(count_sample, &n);
		free(malloc(1)); /* the path allocates something, for it may do without */
	});
	n_all = n_all ? n_all : n;
	assert_true(n > 0 && n <= n_all);
	size = pread(fd, said, sizeof said - 1, 0);
	assert_true(size > 0 && said[size - 1] == '\n');
	assert_true(base_json_check(said, (size_t)size, 8, &json, &why, &at));
	assert_true(OOM_GET(base_json_check(text, sizeof text - 1, 8, &json, &why, &at)));
	assert_true(OOM_GET(base_json_is(&json, "abc")));
	assert_true(OOM_GET(base_json_text(&json, said, sizeof said)));
	assert_string_equal(said, "abc");
	close(fd);
}

/* ---- words of people ---------------------------------------------------------------------- */

struct settings {
	char *name, *address;
	uint32_t n;
};

static const struct base_conf_row rows[] = {
	{ "name", BASE_CONF_STR, offsetof(struct settings, name), "somebody", 0, 0, NULL,
		"a name" },
	{ "address", BASE_CONF_ADDRESS, offsetof(struct settings, address), NULL, 0, 0, NULL,
		"an address" },
	{ "n", BASE_CONF_U32, offsetof(struct settings, n), "5", 1, 10, NULL, "a number" },
	{ 0 },
};

static void conf_path(void)
{
	static const char text[] = "name = other\n# a comment\naddress = 127.0.0.1:80\nn = 7\n";
	struct settings s = { 0 };
	const struct base_conf_program program = { .name = "test", .rows = rows };
	char why[256];
	enum base_err err =
		OOM_GET(base_conf_parse(rows, &s, text, sizeof text - 1, why, sizeof why));

	assert_true(err == BASE_OK || err == BASE_NOMEM);
	if (!err) {
		assert_string_equal(s.name, "other");
		assert_string_equal(s.address, "127.0.0.1:80");
		assert_int_equal(s.n, 7);
	}
	base_conf_free(&program, &s);
}

/* The whole of a command line; a supervisor does not start again what exits with "wrong". */
static void settings_path(void)
{
	char program_name[] = "test", flag[] = "--name", value[] = "other",
	     address[] = "--address=127.0.0.1:80";
	char *argv[] = { program_name, flag, value, address, NULL };
	struct settings s = { 0 };
	const struct base_conf_program program = { .name = "test", .rows = rows };
	enum base_conf_outcome outcome = OOM_GET(base_conf_read(&program, &s, 4, argv, NULL));

	assert_int_equal(outcome, BASE_CONF_RUN);
	assert_string_equal(s.name, "other");
	base_conf_free(&program, &s);
}

static void url_path(void)
{
	struct store_url url;
	char *why = NULL;
	enum base_err err = OOM_GET(store_url_parse("redis://me:secret@[::1]:6380/3", &url, &why));

	assert_true(err == BASE_OK || err == BASE_NOMEM);
	assert_null(why);
	if (err)
		return;
	assert_string_equal(url.host, "::1");
	assert_non_null(url.user);
	assert_string_equal(url.user, "me");
	assert_string_equal(url.password, "secret");
	assert_string_equal(url.shown, "[::1]:6380/3");
	store_url_fini(&url);
}

static void manifest_path(void)
{
	static const char text[] =
		"service: counter\n"
		"handler: counter.so\n"
		"description: \"Counts: one, two\"\n"
		"events:\n"
		"  - http: { method: POST, path: /counter }\n"
		"  - http: { method: GET, path: \"/counter/{name}\", async: true }\n"
		"timeout: 7s\n"
		"queue: { items: 99 }\n"
		"env: { A: one, B: two, C: three }\n"
		"secrets: { D: /run/secrets/d }\n";
	struct base_manifest *m = NULL;
	char why[WRK_YAML_WHY];
	enum base_err err =
		OOM_GET(wrk_yaml_read("service.yaml", text, sizeof text - 1, &m, why, sizeof why));

	if (err != BASE_OK && err != BASE_NOMEM)
		fail_msg("%s: %s", base_err_name(err), why);
	assert_int_equal(err == BASE_OK, m != NULL);
	if (m) {
		assert_string_equal(m->service, "counter");
		assert_int_equal(m->n_routes, 2);
		assert_string_equal(base_manifest_pair_get(&m->env, "C"), "three");
	}
	base_manifest_free(&m);
}

/* ------------------------------------------------------------------------------------------- */

#define SWEEP(name, path, flags) \
	static void test_##path(void **state) \
	{ \
		(void)state; \
		oom_sweep(name, path, flags); \
	}

SWEEP("base: a buffer", buffer_path, 0)
SWEEP("base: arena, pool, slab", memory_path, 0)
SWEEP("base: a heap", heap_path, 0)
SWEEP("base: a zone", zone_path, 0)
SWEEP("base: a line of the log", log_path, 0)
SWEEP("base: a settings file", conf_path, 0)
SWEEP("base: a command line", settings_path, OOM_MAY_ABORT)
SWEEP("store: a URL", url_path, 0)
SWEEP("worker: a manifest", manifest_path, 0)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buffer_path),
		cmocka_unit_test(test_memory_path),
		cmocka_unit_test(test_heap_path),
		cmocka_unit_test(test_zone_path),
		cmocka_unit_test(test_log_path),
		cmocka_unit_test(test_conf_path),
		cmocka_unit_test(test_settings_path),
		cmocka_unit_test(test_url_path),
		cmocka_unit_test(test_manifest_path),
	};

	return cmocka_run_group_tests_name("base, out of memory", tests, NULL, NULL);
}
