/* store/redis.c against a real redis-server: order, bounds, what is known after a
 * fall, and that it heals by itself. */
#include "tests/unit/store_fixture.h"

#include "store/check.h"
#include "store/url.h"

static struct harness_redis *server;

static int start_server(void **state)
{
	(void)state;
	server = harness_redis_start(true, NULL);
	return 0;
}

static int stop_server(void **state)
{
	(void)state;
	harness_redis_stop(&server);
	return 0;
}

static void open_up(struct fixture *f, const struct store_redis_conf *conf)
{
	fixture_init(f);
	fixture_connect(f, conf);
	WAIT_FOR(f, f->ups == 1);
	assert_true(store_redis_up(f->redis));
	assert_string_equal(store_redis_why(f->redis), "");
}

/* ---- URLs */

static void urls(void **state)
{
	(void)state;
	struct store_url url;
	char *why;
	assert_int_equal(store_url_parse("redis://h", &url, &why), BASE_OK);
	assert_string_equal(url.shown, "h:6379");
	assert_null(url.password);
	store_url_fini(&url);
	assert_int_equal(
		store_url_parse("redis://ann:p%40ss%3A@[::1]:7000/3", &url, &why), BASE_OK);
	assert_string_equal(url.user, "ann");
	assert_string_equal(url.password, "p@ss:");
	assert_string_equal(url.host, "::1");
	assert_string_equal(url.shown, "[::1]:7000/3");
	assert_int_equal(url.db, 3);
	store_url_fini(&url);
	assert_int_equal(store_url_parse("redis://:pw@h:1/", &url, &why), BASE_OK);
	assert_null(url.user);
	assert_string_equal(url.password, "pw");
	store_url_fini(&url);
	assert_int_equal(store_url_parse("unix:///run/r.sock?db=2", &url, &why), BASE_OK);
	assert_true(url.local);
	assert_int_equal(url.port, 0);
	assert_string_equal(url.shown, "/run/r.sock?db=2");
	store_url_fini(&url);
}

static void wrong_urls(void **state)
{
	(void)state;
	static const char *const wrong[] = { "", "localhost", "http://h", "rediss://h", "redis://",
		"redis://h:0", "redis://h:65536", "redis://h:x", "redis://h:", "redis://h/x",
		"redis://h/99999999999", "redis://u@h", "redis://:secret%4@h",
		"redis://:secret%00@h", "redis://[::1", "redis://[::1]x", "unix://run/x",
		"unix:///x?db=", "unix:///x?y=1", "unix:///x?db=-1" };
	char too_long[160] = "unix:///";
	memset(too_long + 8, 'a', 120);
	for (size_t i = 0; i <= sizeof wrong / sizeof *wrong; i++) {
		const char *text = i < sizeof wrong / sizeof *wrong ? wrong[i] : too_long;
		struct store_url url;
		char *why = NULL;
		assert_int_equal(store_url_parse(text, &url, &why), BASE_CONFIG);
		assert_non_null(why);
		assert_null(strstr(why, "secret"));
		free(why);
	}
}

static void wrong_url_is_told(void **state)
{
	(void)state;
	struct fixture f;
	char *why = NULL;
	fixture_init(&f);
	const struct store_redis_events events = { fixture_on_up, fixture_on_down, &f };
	assert_int_equal(store_redis_new(f.loop, &(struct store_redis_conf){ .url = "redis://h:0" },
				 &events, &f.redis, &why),
		BASE_CONFIG);
	assert_non_null(strstr(why, "port"));
	free(why);
	fixture_fini(&f);
}

/* ---- order, types, both transports */

struct order {
	int64_t next;
	bool wrong;
};

static void in_order(void *arg, const struct store_reply *reply)
{
	struct order *order = arg;
	order->wrong |= reply->type != STORE_INT || reply->integer != ++order->next;
}

static void pipelined_on(const char *url)
{
	struct fixture f;
	struct order order = { 0 };
	open_up(&f, &(struct store_redis_conf){
			    .url = url, .name = "test", .library = store_functions_lua });
	free(harness_redis_command(server, "DEL order"));
	const struct store_arg incr[] = { STORE_ARG("INCR"), STORE_ARG("order") };
	for (int i = 0; i < 4000; i++)
		assert_int_equal(store_redis_command(f.redis, incr, 2, in_order, &order), BASE_OK);
	assert_int_equal(store_redis_stats(f.redis)->open, 4000);
	WAIT_FOR(&f, order.next == 4000);
	assert_false(order.wrong);
	assert_int_equal(store_redis_stats(f.redis)->open, 0);
	assert_int_equal(store_redis_stats(f.redis)->commands, 4000);
	fixture_fini(&f);
}

static void pipelined_over_unix(void **state)
{
	(void)state;
	pipelined_on(harness_redis_url(server));
}

static void pipelined_over_tcp(void **state)
{
	(void)state;
	pipelined_on(harness_redis_tcp(server));
}

static void a_name_is_resolved(void **state)
{
	(void)state;
	struct fixture f;
	char url[64];
	snprintf(url, sizeof url, "redis://127.1:%u/3", harness_redis_port(server));
	struct answer a = { 0 };
	open_up(&f, &(struct store_redis_conf){ .url = url });
	assert_int_equal(
		COMMAND(&f, &a, STORE_ARG("SET"), STORE_ARG("in-db-3"), STORE_ARG("x")), BASE_OK);
	WAIT_FOR(&f, a.came);
	fixture_fini(&f);
	assert_true(harness_redis_says(server, "(nil)", "GET in-db-3"));
}

static void no_such_name(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = "redis://no-such-host.invalid" });
	WAIT_FOR(&f, f.downs == 1);
	assert_non_null(strstr(f.why, "no-such-host.invalid"));
	fixture_fini(&f);
}

struct nested {
	bool came, right;
};

static void look_at_nested(void *arg, const struct store_reply *reply)
{
	struct nested *n = arg;
	n->came = true;
	if (reply->type != STORE_ARRAY || reply->n != 3)
		return;
	struct store_reply text = store_reply_at(reply, 0), list = store_reply_at(reply, 1),
			   nil = store_reply_at(reply, 2);
	n->right = text.type == STORE_STR && text.size == 3 && !memcmp(text.text, "a\0b", 3) &&
		   list.type == STORE_ARRAY && list.n == 2 &&
		   store_reply_at(&list, 1).integer == 2 && nil.type == STORE_NIL;
}

static void replies_of_every_type(void **state)
{
	(void)state;
	struct fixture f;
	struct nested n = { 0 };
	struct answer status = { 0 }, error = { 0 };
	open_up(&f, &(struct store_redis_conf){ .url = harness_redis_url(server) });
	const struct store_arg eval[] = { STORE_ARG("EVAL"),
		STORE_ARG("return {ARGV[1], {1, 2}, false}"), STORE_ARG("0"), { "a\0b", 3 } };
	assert_int_equal(store_redis_command(f.redis, eval, 4, look_at_nested, &n), BASE_OK);
	assert_int_equal(
		COMMAND(&f, &status, STORE_ARG("SET"), STORE_ARG("k"), STORE_ARG("")), BASE_OK);
	assert_int_equal(COMMAND(&f, &error, STORE_ARG("INCR"), STORE_ARG("k")), BASE_OK);
	WAIT_FOR(&f, error.came);
	assert_true(n.came && n.right);
	assert_int_equal(status.type, STORE_STATUS);
	assert_string_equal(status.text, "OK");
	assert_int_equal(error.type, STORE_ERROR);
	assert_non_null(strstr(error.text, "not an integer"));
	assert_int_equal(store_redis_stats(f.redis)->errors, 1);
	fixture_fini(&f);
}

static void a_large_value_comes_back(void **state)
{
	(void)state;
	struct fixture f;
	struct answer set = { 0 }, length = { 0 };
	size_t size = 3u << 20; /* more than a socket takes at once */
	char *value = malloc(size);
	assert_non_null(value);
	memset(value, 'x', size);
	open_up(&f, &(struct store_redis_conf){ .url = harness_redis_url(server) });
	assert_int_equal(
		COMMAND(&f, &set, STORE_ARG("SET"), STORE_ARG("large"), { value, size }), BASE_OK);
	free(value);
	assert_int_equal(COMMAND(&f, &length, STORE_ARG("STRLEN"), STORE_ARG("large")), BASE_OK);
	WAIT_FOR(&f, length.came);
	assert_int_equal(length.integer, size);
	fixture_fini(&f);
}

/* ---- bounds */

static void bounds_refuse(void **state)
{
	(void)state;
	struct fixture f;
	struct answer a[3] = { { 0 } };
	open_up(&f,
		&(struct store_redis_conf){
			.url = harness_redis_url(server), .max_commands = 2, .max_bytes = 4096 });
	assert_int_equal(COMMAND(&f, &a[0], STORE_ARG("PING")), BASE_OK);
	assert_int_equal(COMMAND(&f, &a[1], STORE_ARG("PING")), BASE_OK);
	assert_int_equal(COMMAND(&f, &a[2], STORE_ARG("PING")), BASE_FULL);
	WAIT_FOR(&f, a[1].came);
	char big[5000];
	memset(big, 'x', sizeof big);
	assert_int_equal(COMMAND(&f, &a[2], STORE_ARG("ECHO"), { big, sizeof big }), BASE_FULL);
	assert_int_equal(COMMAND(&f, &a[2], STORE_ARG("ECHO"), { big, 3000 }), BASE_OK);
	WAIT_FOR(&f, a[2].came);
	assert_int_equal(a[2].type, STORE_STR);
	fixture_fini(&f);
}

/* ---- falls */

static void killed_and_restarted(void **state)
{
	(void)state;
	struct fixture f;
	struct answer before = { 0 }, during = { 0 }, after = { 0 };
	open_up(&f, &(struct store_redis_conf){ .url = harness_redis_url(server) });
	assert_int_equal(
		COMMAND(&f, &before, STORE_ARG("SET"), STORE_ARG("kept"), STORE_ARG("1")), BASE_OK);
	WAIT_FOR(&f, before.came);
	harness_redis_pause(server); /* so that the next command is surely under way when it dies */
	assert_int_equal(COMMAND(&f, &during, STORE_ARG("INCR"), STORE_ARG("kept")), BASE_OK);
	harness_redis_kill(server);
	WAIT_FOR(&f, f.downs == 1);
	assert_true(during.came);
	assert_int_equal(during.type, STORE_UNKNOWN);
	assert_false(store_redis_up(f.redis));
	assert_int_equal(COMMAND(&f, &after, STORE_ARG("PING")), BASE_UNAVAILABLE);
	assert_int_equal(store_redis_stats(f.redis)->unknown, 1);

	harness_redis_spawn(server);
	WAIT_FOR(&f, f.ups == 2);
	assert_int_equal(f.downs, 1); /* however many attempts it took */
	assert_int_equal(COMMAND(&f, &after, STORE_ARG("GET"), STORE_ARG("kept")), BASE_OK);
	WAIT_FOR(&f, after.came);
	assert_int_equal(after.type, STORE_STR);
	fixture_fini(&f);
}

static void a_silent_server_is_dropped(void **state)
{
	(void)state;
	struct fixture f;
	struct answer a = { 0 };
	open_up(&f,
		&(struct store_redis_conf){
			.url = harness_redis_tcp(server), .command_ms = 100, .connect_ms = 100 });
	harness_redis_pause(server);
	assert_int_equal(COMMAND(&f, &a, STORE_ARG("PING")), BASE_OK);
	WAIT_FOR(&f, f.downs == 1);
	assert_int_equal(a.type, STORE_UNKNOWN);
	assert_non_null(strstr(f.why, "within 100 ms"));
	harness_redis_resume(server);
	WAIT_FOR(&f, f.ups == 2);
	assert_int_equal(f.downs, 1);
	fixture_fini(&f);
}

/* When it was we who slept, the answer lies in the socket: nothing may be dropped. */
static void our_own_sleep_drops_nothing(void **state)
{
	(void)state;
	struct fixture f;
	struct answer a = { 0 };
	open_up(&f,
		&(struct store_redis_conf){ .url = harness_redis_url(server), .command_ms = 30 });
	assert_int_equal(COMMAND(&f, &a, STORE_ARG("PING")), BASE_OK);
	uv_run(net_loop_uv(f.loop), UV_RUN_NOWAIT);
	uint64_t end = uv_hrtime() + UINT64_C(100) * 1000 * 1000;
	while (uv_hrtime() < end) /* busy, past the deadline */
		;
	WAIT_FOR(&f, a.came);
	assert_int_equal(a.type, STORE_STATUS);
	assert_int_equal(f.downs, 0);
	fixture_fini(&f);
}

static void nobody_listens(void **state)
{
	(void)state;
	struct fixture f;
	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = "redis://127.0.0.1:1" });
	WAIT_FOR(&f, f.downs == 1);
	assert_non_null(strstr(f.why, "refused"));
	assert_string_equal(store_redis_why(f.redis), f.why);
	struct answer a = { 0 };
	assert_int_equal(COMMAND(&f, &a, STORE_ARG("PING")), BASE_UNAVAILABLE);
	fixture_fini(&f);
	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = "unix:///no/such/socket" });
	WAIT_FOR(&f, f.downs == 1);
	assert_non_null(strstr(f.why, "No such file"));
	fixture_fini(&f);
}

static void starts_before_redis(void **state)
{
	(void)state;
	struct fixture f;
	harness_redis_kill(server);
	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = harness_redis_url(server) });
	WAIT_FOR(&f, f.downs == 1);
	harness_redis_spawn(server);
	WAIT_FOR(&f, f.ups == 1);
	fixture_fini(&f);
}

static void password(void **state)
{
	(void)state;
	static const char *const options[] = { "--requirepass", "right", NULL };
	struct harness_redis *locked = harness_redis_start(true, options);
	struct fixture f;
	char url[96];

	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = harness_redis_url(locked) });
	WAIT_FOR(&f, f.downs == 1);
	assert_non_null(strstr(f.why, "wants a password"));
	fixture_fini(&f);

	snprintf(url, sizeof url, "redis://:wrong@127.0.0.1:%u", harness_redis_port(locked));
	fixture_init(&f);
	fixture_connect(&f, &(struct store_redis_conf){ .url = url });
	WAIT_FOR(&f, f.downs == 1);
	assert_non_null(strstr(f.why, "refused the user or the password"));
	assert_null(strstr(f.why, "wrong@"));
	fixture_fini(&f);

	snprintf(url, sizeof url, "redis://default:right@127.0.0.1:%u", harness_redis_port(locked));
	open_up(&f, &(struct store_redis_conf){ .url = url, .library = store_functions_lua });
	assert_null(strstr(store_redis_shown(f.redis), "right"));
	fixture_fini(&f);
	harness_redis_stop(&locked);
}

static bool loading_seen;

static void note_loading(void *arg, const char *why)
{
	fixture_on_down(arg, why);
	loading_seen |= strstr(why, "loading") != NULL;
}

/* A server that is still reading its file answers LOADING: it is not up, and becomes so by itself. */
static void loading_is_not_up(void **state)
{
	(void)state;
	static const char *const options[] = { "--enable-debug-command", "yes", "--key-load-delay",
		"3000", "--loading-process-events-interval-bytes", "1024", "--rdbcompression", "no",
		NULL };
	struct harness_redis *slow = harness_redis_start(false, options);
	free(harness_redis_command(slow, "DEBUG POPULATE 500 key 100"));
	free(harness_redis_command(
		slow, "CONFIG SET appendonly no")); /* and yes again: a file with all of it */
	free(harness_redis_command(slow, "CONFIG SET appendonly yes"));
	for (bool busy = true; busy;) {
		char *info = harness_redis_command(slow, "INFO persistence");
		busy = strstr(info, "aof_rewrite_in_progress:1") ||
		       strstr(info, "aof_rewrite_scheduled:1");
		free(info);
	}
	harness_redis_kill(slow);
	harness_redis_spawn(slow);

	struct fixture f;
	char *why = NULL;
	loading_seen = false;
	fixture_init(&f);
	const struct store_redis_events events = { fixture_on_up, note_loading, &f };
	/* Until the socket is there the attempts fail for want of it: look at what is said later too. */
	assert_int_equal(store_redis_new(f.loop,
				 &(struct store_redis_conf){ .url = harness_redis_url(slow) },
				 &events, &f.redis, &why),
		BASE_OK);
	WAIT_FOR(&f, loading_seen || strstr(store_redis_why(f.redis), "loading") || f.ups);
	assert_int_equal(f.ups, 0);
	WAIT_FOR(&f, f.ups == 1);
	fixture_fini(&f);
	harness_redis_stop(&slow);
}

/* ---- freeing inside callbacks */

struct suicide {
	struct fixture *f;
	unsigned replies, unknown;
};

static void free_it(void *arg, const struct store_reply *reply)
{
	struct suicide *s = arg;
	s->replies++;
	s->unknown += reply->type == STORE_UNKNOWN;
	store_redis_free(&s->f->redis);
}

static void freed_in_a_reply(void **state)
{
	(void)state;
	struct fixture f;
	struct suicide s = { &f, 0, 0 };
	const struct store_arg ping = STORE_ARG("PING");
	open_up(&f, &(struct store_redis_conf){ .url = harness_redis_url(server) });
	for (int i = 0; i < 10; i++)
		assert_int_equal(store_redis_command(f.redis, &ping, 1, free_it, &s), BASE_OK);
	WAIT_FOR(&f, s.replies == 10);
	assert_int_equal(s.unknown, 9);
	assert_int_equal(f.downs, 0);
	fixture_fini(&f);
}

static void free_on_down(void *arg, const char *why)
{
	struct fixture *f = arg;
	fixture_on_down(f, why);
	store_redis_free(&f->redis);
}

static void freed_in_on_down(void **state)
{
	(void)state;
	struct fixture f;
	char *why;
	fixture_init(&f);
	const struct store_redis_events events = { fixture_on_up, free_on_down, &f };
	assert_int_equal(store_redis_new(f.loop,
				 &(struct store_redis_conf){ .url = harness_redis_url(server) },
				 &events, &f.redis, &why),
		BASE_OK);
	WAIT_FOR(&f, f.ups == 1);
	harness_redis_kill(server);
	WAIT_FOR(&f, f.downs == 1);
	assert_null(f.redis);
	harness_redis_restart(server);
	fixture_fini(&f);
}

static void freed_while_connecting(void **state)
{
	(void)state;
	static const char *const urls_to_try[] = { "redis://localhost:1", "redis://127.0.0.1:1",
		NULL };
	for (size_t turns = 0; turns < 4; turns++) {
		for (size_t i = 0; urls_to_try[i]; i++) {
			struct fixture f;
			fixture_init(&f);
			fixture_connect(&f, &(struct store_redis_conf){ .url = urls_to_try[i] });
			for (size_t n = 0; n < turns; n++)
				uv_run(net_loop_uv(f.loop), UV_RUN_NOWAIT);
			fixture_fini(&f);
		}
	}
}

/* ---- the library of Functions */

#define LIBRARY(revision, body) \
	"#!lua name=pirn1\nlocal revision = " #revision "\n" \
	"redis.register_function{function_name='pirn1_revision', callback=function() return revision end, flags={'no-writes'}}\n" \
	"redis.register_function('pirn1_test', function() return '" body "' end)\n"

static void connect_with(struct fixture *f, const char *library)
{
	open_up(f,
		&(struct store_redis_conf){ .url = harness_redis_url(server), .library = library });
}

static void the_newer_library_stays(void **state)
{
	(void)state;
	struct fixture f;
	free(harness_redis_command(server, "FUNCTION FLUSH"));
	connect_with(&f, LIBRARY(5, "five"));
	fixture_fini(&f);
	assert_true(harness_redis_says(server, "five", "FCALL pirn1_test 0"));
	connect_with(&f, LIBRARY(4, "four"));
	fixture_fini(&f);
	assert_true(harness_redis_says(server, "five", "FCALL pirn1_test 0"));
	connect_with(&f, LIBRARY(6, "six"));
	fixture_fini(&f);
	assert_true(harness_redis_says(server, "six", "FCALL pirn1_test 0"));
	free(harness_redis_command(server, "FUNCTION FLUSH"));
}

static void a_flushed_library_comes_back(void **state)
{
	(void)state;
	struct fixture f;
	struct answer lost = { 0 }, again = { 0 };
	connect_with(&f, LIBRARY(1, "here"));
	free(harness_redis_command(server, "FUNCTION FLUSH"));
	assert_int_equal(
		COMMAND(&f, &lost, STORE_ARG("FCALL"), STORE_ARG("pirn1_test"), STORE_ARG("0")),
		BASE_OK);
	WAIT_FOR(&f, lost.came);
	assert_int_equal(lost.type, STORE_ERROR);
	assert_int_equal(
		COMMAND(&f, &again, STORE_ARG("FCALL"), STORE_ARG("pirn1_test"), STORE_ARG("0")),
		BASE_OK);
	WAIT_FOR(&f, again.came);
	assert_string_equal(again.text, "here");
	assert_int_equal(f.downs, 0);
	fixture_fini(&f);
	free(harness_redis_command(server, "FUNCTION FLUSH"));
}

static void a_library_without_revision_is_replaced(void **state)
{
	(void)state;
	struct fixture f;
	struct answer a = { 0 };
	free(harness_redis_command(server, "FUNCTION FLUSH"));
	open_up(&f, &(struct store_redis_conf){ .url = harness_redis_url(server) });
	assert_int_equal(
		COMMAND(&f, &a, STORE_ARG("FUNCTION"), STORE_ARG("LOAD"),
			STORE_ARG(
				"#!lua name=pirn1\nredis.register_function('x', function() return 1 end)\n")),
		BASE_OK);
	WAIT_FOR(&f, a.came);
	assert_string_equal(a.text, "pirn1");
	fixture_fini(&f);
	connect_with(&f, LIBRARY(1, "ours"));
	fixture_fini(&f);
	assert_true(harness_redis_says(server, "ours", "FCALL pirn1_test 0"));
	free(harness_redis_command(server, "FUNCTION FLUSH"));
}

/* ---- settings of the server */

static void take_check(void *arg, const struct store_check *check)
{
	*(struct store_check *)arg = *check;
}

static void settings_are_judged(void **state)
{
	(void)state;
	struct fixture f;
	struct store_check check = { .n = 99 };
	open_up(&f, &(struct store_redis_conf){ .url = harness_redis_url(server) });
	assert_int_equal(store_check_start(f.redis, take_check, &check), BASE_OK);
	WAIT_FOR(&f, check.n != 99);
	assert_true(check.known);
	assert_int_equal(check.n, 0);
	free(harness_redis_command(
		server, "CONFIG SET appendfsync everysec maxmemory-policy allkeys-lru"));
	check.n = 99;
	assert_int_equal(store_check_start(f.redis, take_check, &check), BASE_OK);
	WAIT_FOR(&f, check.n != 99);
	assert_true(check.known);
	assert_int_equal(check.n, 2);
	free(harness_redis_command(
		server, "CONFIG SET appendfsync always maxmemory-policy noeviction"));
	fixture_fini(&f);
}

static void forbidden_settings_are_unknown(void **state)
{
	(void)state;
	struct fixture f;
	char url[96];
	struct store_check check = { .n = 99 };
	free(harness_redis_command(server, "ACL SETUSER weak on >pw ~* +@all -config"));
	snprintf(url, sizeof url, "redis://weak:pw@127.0.0.1:%u", harness_redis_port(server));
	open_up(&f, &(struct store_redis_conf){ .url = url });
	assert_int_equal(store_check_start(f.redis, take_check, &check), BASE_OK);
	WAIT_FOR(&f, check.n != 99);
	assert_false(check.known);
	fixture_fini(&f);
}

/* ---- what is published */

struct heard {
	struct fixture *f;
	unsigned n;
	bool wrong;
};

static struct heard heard;

/* Events and messages have one arg, which is the fixture's. */
static void hear(void *arg, const struct store_reply *reply)
{
	char expected[16];
	struct store_reply text = store_reply_at(reply, reply->n - 1);
	assert_ptr_equal(arg, heard.f);
	snprintf(expected, sizeof expected, "%u", heard.n++);
	heard.wrong |= text.type != STORE_STR || strcmp(text.text, expected) != 0;
}

static void what_is_published_comes_in_order(void **state)
{
	(void)state;
	struct fixture f;
	struct answer subscribed = { 0 }, unsubscribed = { 0 }, pong = { 0 };
	heard = (struct heard){ .f = &f };
	open_up(&f, &(struct store_redis_conf){
			    .url = harness_redis_url(server), .on_message = hear });
	assert_int_equal(
		COMMAND(&f, &subscribed, STORE_ARG("PSUBSCRIBE"), STORE_ARG("news*")), BASE_OK);
	WAIT_FOR(&f, subscribed.came);
	assert_int_equal(subscribed.type, STORE_ARRAY);
	for (unsigned i = 0; i < 100; i++)
		free(harness_redis_command(server, "PUBLISH news-%u %u", i % 3, i));
	WAIT_FOR(&f, heard.n == 100);
	assert_false(heard.wrong);
	assert_int_equal(
		COMMAND(&f, &unsubscribed, STORE_ARG("PUNSUBSCRIBE"), STORE_ARG("news*")), BASE_OK);
	assert_int_equal(COMMAND(&f, &pong, STORE_ARG("PING")), BASE_OK);
	WAIT_FOR(&f, pong.came);
	assert_string_equal(pong.text, "PONG");
	assert_int_equal(f.downs, 0);
	fixture_fini(&f);
}

/* ---- who is no Redis */

/* Says something to whoever connects, again and again as long as he stays. */
struct liar {
	uv_tcp_t server, peer;
	uv_write_t write;
	char url[64];
	const char *says;
	size_t size;
	bool busy;
};

static void on_written(uv_write_t *write, int status)
{
	struct liar *l = write->data;
	uv_buf_t buf = uv_buf_init((char *)(uintptr_t)l->says, (unsigned)l->size);
	if (status != 0 || uv_write(&l->write, (uv_stream_t *)&l->peer, &buf, 1, on_written) != 0)
		l->busy = false;
}

static void on_peer(uv_stream_t *stream, int status)
{
	struct liar *l = stream->data;
	assert_int_equal(status, 0);
	if (l->peer.data)
		return; /* the second one waits for ever */
	uv_tcp_init(stream->loop, &l->peer);
	l->peer.data = l;
	assert_int_equal(uv_accept(stream, (uv_stream_t *)&l->peer), 0);
	l->busy = true;
	on_written(&l->write, 0);
}

static void lie(struct liar *l, struct fixture *f, const char *says, size_t size)
{
	struct sockaddr_in at;
	int room = sizeof at;
	*l = (struct liar){ .says = says, .size = size };
	l->write.data = l->server.data = l;
	uv_tcp_init(net_loop_uv(f->loop), &l->server);
	uv_ip4_addr("127.0.0.1", 0, &at);
	assert_int_equal(uv_tcp_bind(&l->server, (struct sockaddr *)&at, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&l->server, 4, on_peer), 0);
	assert_int_equal(uv_tcp_getsockname(&l->server, (struct sockaddr *)&at, &room), 0);
	snprintf(l->url, sizeof l->url, "redis://127.0.0.1:%u", ntohs(at.sin_port));
}

static void end_lie(struct liar *l, struct fixture *f)
{
	WAIT_FOR(f, !l->busy);
	uv_close((uv_handle_t *)&l->server, NULL);
	uv_close((uv_handle_t *)&l->peer, NULL);
}

static void answers_that_nobody_asked_for(void **state)
{
	static const struct {
		const char *says, *why;
	} lies[] = {
		{ "+OK ready\r\n", "belongs to no command" }, /* as a mail server says it */
		{ "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", "belongs to no command" },
		{ "*0\r\n*-1\r\n$-1\r\n:1\r\n", "belongs to no command" },
		{ "HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error" },
		{ "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n", "" },
	};
	(void)state;
	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		struct fixture f;
		struct liar l;
		fixture_init(&f);
		lie(&l, &f, lies[i].says, strlen(lies[i].says));
		fixture_connect(&f, &(struct store_redis_conf){ .url = l.url });
		WAIT_FOR(&f, f.downs == 1);
		if (!strstr(f.why, lies[i].why))
			print_error("%s: %s\n", lies[i].says, f.why);
		assert_non_null(strstr(f.why, lies[i].why));
		end_lie(&l, &f);
		fixture_fini(&f);
	}
}

/* A text without an end, and an array whose elements are texts like it. */
static void an_answer_that_never_ends(void **state)
{
	static const char *const lies[] = { "$1000000000\r\n", "*100000000\r\n" };
	static char text[1 << 16];
	(void)state;
	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		struct fixture f;
		struct liar l;
		size_t head = strlen(lies[i]);
		fixture_init(&f);
		for (size_t at = 0; at < sizeof text; at++)
			text[at] = at < head ? lies[i][at] : ":1\r\n"[(at - head) % 4];
		lie(&l, &f, text, head + (sizeof text - head) / 4 * 4);
		/* 64 KiB of numbers, or the second copy: its array is the next element of the first. */
		fixture_connect(&f, &(struct store_redis_conf){ .url = l.url, .max_reply = 256u << 10 });
		WAIT_FOR(&f, f.downs == 1);
		assert_int_equal(store_redis_stats(f.redis)->too_large, 1);
		end_lie(&l, &f);
		fixture_fini(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(urls),
		cmocka_unit_test(wrong_urls),
		cmocka_unit_test(wrong_url_is_told),
		cmocka_unit_test(pipelined_over_unix),
		cmocka_unit_test(pipelined_over_tcp),
		cmocka_unit_test(a_name_is_resolved),
		cmocka_unit_test(no_such_name),
		cmocka_unit_test(replies_of_every_type),
		cmocka_unit_test(a_large_value_comes_back),
		cmocka_unit_test(bounds_refuse),
		cmocka_unit_test(killed_and_restarted),
		cmocka_unit_test(a_silent_server_is_dropped),
		cmocka_unit_test(our_own_sleep_drops_nothing),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(starts_before_redis),
		cmocka_unit_test(password),
		cmocka_unit_test(loading_is_not_up),
		cmocka_unit_test(freed_in_a_reply),
		cmocka_unit_test(freed_in_on_down),
		cmocka_unit_test(freed_while_connecting),
		cmocka_unit_test(the_newer_library_stays),
		cmocka_unit_test(a_flushed_library_comes_back),
		cmocka_unit_test(a_library_without_revision_is_replaced),
		cmocka_unit_test(what_is_published_comes_in_order),
		cmocka_unit_test(answers_that_nobody_asked_for),
		cmocka_unit_test(an_answer_that_never_ends),
		cmocka_unit_test(settings_are_judged),
		cmocka_unit_test(forbidden_settings_are_unknown),
	};
	return cmocka_run_group_tests(tests, start_server, stop_server);
}
